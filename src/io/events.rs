//! What an acceptor decided: one event for each connection, and one more for each session that has ended.
//!
//! [`Acceptor::with_observer`](crate::Acceptor::with_observer) tells an [`Event`] of each, and
//! [`Acceptor::totals`](crate::Acceptor::totals) counts them.

mod tally;
#[cfg(feature = "tracing")]
mod traced;
mod watch;

pub use tally::Totals;
pub(super) use watch::{Record, Reports, Seat, Tags, Trace, Watch};

use super::error::{BusyReason, LoginError};
use crate::crypto::{KeyId, Suite};
use crate::session::{SessionId, SessionInfo};
use crate::terms::context::Context;
use crate::terms::credential::CredentialKind;
use crate::terms::error::{Reason, RecordError};
use crate::terms::revocation::Revocation;
use core::fmt;
use core::time::Duration;

/// What an [`Acceptor`](crate::Acceptor) has decided, as its observer is told ([`Acceptor::with_observer`](crate::Acceptor::with_observer)):
/// once for each connection that was handed to it, however that ended, and once more for each session when it is over.
///
/// Nothing in it is secret: no password, token, code, key or ticket. What a client claims to be called is told as
/// [`Named`] says. `Display` gives one line of logfmt, of the same fields that the command's log has ([`Event::fields`]).
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Event<'a> {
    /// What was decided.
    pub decision: Decision<'a>,
    /// The connection, as the application described it.
    pub context: &'a Context,
    /// The server name that the client asked for, in its own words: up to 255 bytes of printable ASCII. Empty if it named none, or sent no
    /// hello that could be read, and of a session that has ended.
    pub server_name: &'a str,
    /// The server key that it was answered under.
    pub key_id: Option<KeyId>,
    /// The suite.
    pub suite: Option<Suite>,
    /// Of what kind the credential was that it showed, or that its ticket's chain began with; none where nothing was opened.
    pub credential: Option<CredentialKind>,
    /// The id of the client's own key, where it showed a signature that is that key's.
    pub client_key: Option<KeyId>,
    /// How many further factors were asked for.
    pub factors: usize,
    /// Whom it named.
    pub user: Named<'a>,
    /// How long it took.
    pub timings: Timings,
}

/// What was decided of a connection, or became of a session.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Decision<'a> {
    /// A login was accepted, and the client told so.
    Accepted(&'a SessionInfo),
    /// A client came back by ticket, and is there.
    Resumed(&'a SessionInfo),
    /// A login was refused. The client is told that it was when that is due, and never why.
    Refused(&'a Reason),
    /// There was no room, or the acceptor is stopping: a bound was met before anybody had logged in.
    TurnedAway(BusyReason),
    /// The handshake came to no login: the peer left, was too slow, or broke the protocol; or the transport failed.
    Failed(&'a LoginError),
    /// The application dropped the login's future.
    Abandoned,
    /// A session is over: its stream, and both halves of it, were dropped.
    Ended(Ended<'a>),
}

/// A session that is over.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Ended<'a> {
    /// Whose it was.
    pub principal: &'a str,
    /// Its public name, as at its login.
    pub session: SessionId,
    /// How it ended.
    pub how: End<'a>,
    /// How long it lasted.
    pub lasted: Duration,
    /// Bytes that the client sent and the application read, without what sealing adds.
    pub received: u64,
    /// Bytes that the application wrote, without what sealing adds.
    pub sent: u64,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End<'a> {
    /// Both ends closed.
    Closed,
    /// The client closed; the application dropped the stream without a close.
    ByPeer,
    /// The application closed, and dropped the stream before the client's close had come.
    ByUs,
    /// The application dropped the stream while neither end had closed: the client sees a cut.
    Cut,
    /// A record broke a rule, or the connection ended without a close, or failed ([`RecordError::Truncated`]).
    Broken(RecordError),
    /// It was ended from outside: its principal is not welcome any more, or the application said so.
    Revoked(&'a Revocation),
}

impl End<'_> {
    /// A name that stays the same from release to release.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::ByPeer => "closed-by-peer",
            Self::ByUs => "closed-by-us",
            Self::Cut => "cut",
            Self::Broken(error) => error.code(),
            Self::Revoked(revocation) => revocation.code(),
        }
    }
}

/// Whom a login named.
///
/// People type passwords where their name belongs, and guessers try names that nobody has; neither belongs in a log. So a name that
/// the verifier has not vouched for is told only to an acceptor that was made
/// [`with_unknown_names`](crate::Acceptor::with_unknown_names).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Named<'a> {
    /// Nobody: nothing was opened, or what was shown names nobody, as a token does.
    Nobody,
    /// Somebody whom the verifier knows: it has let them in, or its reason says that there is such an account
    /// ([`Reason::knows_account`]).
    Known(&'a str),
    /// Somebody whom it may not know.
    Unknown {
        /// Their name, where it was asked for.
        name: Option<&'a str>,
        /// The same for the same name as long as this acceptor and its clones live, and otherwise without a meaning: to count by.
        tag: u32,
    },
}

impl Named<'_> {
    /// Its fields, by the names that logs and `tracing` have: `user`, or `user_tag`, with `unknown_user` where that was asked for.
    pub fn fields(&self, mut tell: impl FnMut(&'static str, Field<'_>)) {
        match *self {
            Self::Nobody => {}
            Self::Known(name) => tell("user", Field::Text(name)),
            Self::Unknown { name, tag } => {
                name.into_iter().for_each(|name| tell("unknown_user", Field::Text(name)));
                tell("user_tag", Field::Word(&format_args!("{tag:08x}")));
            }
        }
    }
}

/// How long a handshake took, and its parts that are the server's. What is missing in their sum is the client, the way to it, and a
/// [`crate::PenaltyStore`] that was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// In queues: for a thread, for whoever is asked elsewhere, and for others' passwords to be decided first ([`crate::Penalties`]).
    pub waited: Duration,
    /// The RSA operation, here or elsewhere.
    pub opened: Duration,
    /// The verifier: a password hash, a look at a store; for further factors, too.
    pub verified: Duration,
    /// From the connection to the decision.
    pub total: Duration,
}

/// The value of a field of an event.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Field<'a> {
    /// A text, perhaps in a stranger's words: it may have any character.
    Text(&'a str),
    /// A word of ours: printable ASCII without spaces or quotes.
    Word(&'a dyn fmt::Display),
    /// A number.
    Count(u64),
    /// A time, in milliseconds.
    Millis(Duration),
}

impl Event<'_> {
    /// The names of all kinds of events.
    pub const NAMES: [&'static str; 6] =
        ["login-accepted", "login-resumed", "login-refused", "turned-away", "handshake-failed", "session-ended"];

    /// A name for this kind of event that stays the same from release to release: one of [`Event::NAMES`].
    pub fn name(&self) -> &'static str {
        self.decision.name()
    }

    /// Why, in a name that stays the same from release to release: [`Reason::code`], [`LoginError::code`], [`End::code`]; for what went well,
    /// `ok`.
    pub fn code(&self) -> &'static str {
        self.decision.code()
    }

    /// Who has logged in, if somebody has.
    pub fn principal(&self) -> Option<&str> {
        match self.decision {
            Decision::Accepted(info) | Decision::Resumed(info) => Some(info.login_grant().principal()),
            Decision::Ended(Ended { principal, .. }) => Some(principal),
            _ => None,
        }
    }

    /// The session's public name, if there is or was one.
    pub fn session(&self) -> Option<SessionId> {
        match self.decision {
            Decision::Accepted(info) | Decision::Resumed(info) => Some(info.id()),
            Decision::Ended(Ended { session, .. }) => Some(session),
            _ => None,
        }
    }

    /// Whether whoever caused it may have spent no more than a connection: with nothing that it has, and without an RSA operation or a password
    /// hash being done for it. Bound how many of these you write anywhere.
    pub fn is_cheap(&self) -> bool {
        match self.decision {
            Decision::TurnedAway(_) | Decision::Failed(_) | Decision::Abandoned => true,
            // A hello of a source that waits is refused before anything is looked at.
            Decision::Refused(_) if self.timings.opened.is_zero() && self.timings.verified.is_zero() => true,
            Decision::Refused(reason) => matches!(reason, Reason::Malformed(_) | Reason::NotAdmitted(_)),
            Decision::Accepted(_) | Decision::Resumed(_) | Decision::Ended(_) => false,
        }
    }

    /// Its fields in order, but for [`Event::name`]: those that are there, by the names that logs and `tracing` have.
    pub fn fields(&self, mut tell: impl FnMut(&'static str, Field<'_>)) {
        match self.principal() {
            Some(principal) => tell("user", Field::Text(principal)),
            None => self.user.fields(&mut tell),
        }
        match self.context.peer() {
            Some(peer) => tell("peer", Field::Word(&canonical(peer))),
            None => tell("source", Field::Text(&self.context.source().to_string())),
        }
        if let Decision::Accepted(info) | Decision::Resumed(info) = self.decision {
            let permissions: Vec<&str> = info.login_grant().permissions().collect();
            tell("permissions", Field::Text(&permissions.join(",")));
        }
        if let Some(suite) = self.suite {
            tell("suite", Field::Word(&suite));
        }
        if let Some(session) = self.session() {
            tell("session", Field::Word(&session));
        }
        if !self.server_name.is_empty() {
            tell("server_name", Field::Text(self.server_name));
        }
        if let Some(key) = self.key_id {
            tell("key", Field::Word(&key));
        }
        if let Some(credential) = self.credential {
            tell("credential", Field::Word(&credential.name()));
        }
        if let Some(key) = self.client_key {
            tell("client_key", Field::Word(&key));
        }
        if self.factors > 0 {
            tell("factors", Field::Count(u64::try_from(self.factors).unwrap_or(u64::MAX)));
        }
        if let Decision::Ended(Ended { lasted, received, sent, .. }) = self.decision {
            tell("seconds", Field::Count(lasted.as_secs()));
            tell("received", Field::Count(received));
            tell("sent", Field::Count(sent));
        }
        if !matches!(self.decision, Decision::Ended(_)) {
            let Timings { waited, opened, verified, total } = self.timings;
            let parts = [("wait_ms", waited), ("rsa_ms", opened), ("verify_ms", verified)];
            parts
                .into_iter()
                .filter(|(_, time)| !time.is_zero())
                .for_each(|(name, time)| tell(name, Field::Millis(time)));
            tell("total_ms", Field::Millis(total));
        }
        tell("code", Field::Word(&self.code()));
        if let Some(reason) = self.decision.reason() {
            tell("reason", Field::Text(&reason));
        }
    }
}

/// An address of IPv4 as such, also where it came over a socket of IPv6.
fn canonical(peer: std::net::SocketAddr) -> std::net::SocketAddr {
    std::net::SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

impl Decision<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "login-accepted",
            Self::Resumed(_) => "login-resumed",
            Self::Refused(_) => "login-refused",
            Self::TurnedAway(_) => "turned-away",
            Self::Failed(_) | Self::Abandoned => "handshake-failed",
            Self::Ended(_) => "session-ended",
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Accepted(_) | Self::Resumed(_) => "ok",
            Self::Refused(reason) => reason.code(),
            Self::TurnedAway(reason) => reason.code(),
            Self::Failed(error) => error.code(),
            Self::Abandoned => "abandoned",
            Self::Ended(Ended { how, .. }) => how.code(),
        }
    }

    /// In words.
    fn reason(&self) -> Option<String> {
        match self {
            Self::Accepted(_) | Self::Resumed(_) => None,
            Self::Refused(reason) => Some(chain(*reason)),
            Self::TurnedAway(reason) => Some(reason.to_string()),
            Self::Failed(error) => Some(chain(*error)),
            Self::Abandoned => Some("the login was given up here".to_owned()),
            Self::Ended(Ended { how: End::Broken(error), .. }) => Some(chain(error)),
            Self::Ended(Ended { how: End::Revoked(revocation), .. }) => Some(chain(*revocation)),
            Self::Ended(_) => None,
        }
    }
}

/// An error, and what caused it, and what caused that.
fn chain(error: &(dyn core::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        // Some say their cause themselves.
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // `Debug` escapes quotes, backslashes, line breaks, control characters, and what reorders or hides text.
            Self::Text(text) => fmt::Debug::fmt(text, f),
            Self::Word(word) => word.fmt(f),
            Self::Count(count) => count.fmt(f),
            Self::Millis(time) => write!(f, "{:.3}", time.as_secs_f64() * 1000.0),
        }
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One line of logfmt, which no peer can break out of.
impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event={}", self.name())?;
        let mut written = Ok(());
        self.fields(|name, value| written = written.and_then(|()| write!(f, " {name}={value}")));
        written
    }
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({self})")
    }
}
