//! What every adapter shares: the errors of a login over a transport, its clock and its randomness.

use crate::crypto::{CryptoError, CryptoRng, ServerKey};
use crate::handshake::client::{self, Answer, AwaitAnswer, AwaitChallenge, ClientConfig};
use crate::handshake::server::{Accepted, AwaitLogin, ChooseKey, Claim, Refusal};
use crate::terms::binding::ChannelBinding;
use crate::terms::credential::Credential;
use crate::terms::error::{Misuse, Reason, RecordError};
use crate::terms::ticket::Ticket;
use crate::terms::trust::ServerTrust;
use crate::terms::verifier::Verifier;
use crate::time::Moment;
use crate::time::UnixTime;
use crate::wire::frame::FrameType;
use core::time::Duration;
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// How long sending a verdict may take, once the handshake's own deadline no longer bounds it.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a login or a stream over a transport failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The transport failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The peer closed the connection in the middle of the handshake.
    #[error("the peer closed the connection before its {awaited}{}", before(*awaited))]
    Disconnected {
        /// The frame that was awaited.
        awaited: FrameType,
    },
    /// Server side, of the tokio adapter: as many handshakes are open as may be. Nothing was read and nothing sent; close the
    /// connection.
    #[error("too many handshakes are open")]
    Busy,
    /// The handshake or the session failed.
    #[error(transparent)]
    Protocol(#[from] crate::Error),
    /// Server side: the login was refused here, and the refusal sent. (A client whose login the server refused gets
    /// [`crate::Error::Refused`].)
    #[error("login refused: {reason}")]
    LoginRefused {
        /// The user the client named, where the login opened and named one.
        user: Option<String>,
        /// Why, for the audit log alone.
        reason: Reason,
    },
}

fn before(awaited: FrameType) -> &'static str {
    match awaited {
        FrameType::ServerHello => ": it may be busy, share no version or suite, or speak another protocol",
        FrameType::ServerVerdict => ": it may have been stopped, or the login took too long",
        _ => "",
    }
}

/// A generator seeded by the operating system.
pub(crate) fn rng() -> Result<StdRng, Error> {
    StdRng::try_from_rng(&mut SysRng).map_err(|_| crate::Error::from(CryptoError::Failed).into())
}

/// How long an end that has said its last word waits for the peer to hang up: closing a connection that still has
/// something to read could take the last word back.
pub(crate) const LINGER: Duration = Duration::from_millis(500);

/// The user's name for the log, where the login opened and named one, and the verdict.
pub(crate) type Decision = (Option<String>, Result<Accepted, Refusal>);

/// Asks the verifier and gives the verdict, with a ticket where the server gives tickets.
pub(crate) fn decide(claim: Claim, verifier: &(impl Verifier + ?Sized), rng: &mut dyn CryptoRng) -> Decision {
    let credential: Credential<'_> = claim.credential();
    let user = credential.user().filter(|user| !user.is_empty()).map(str::to_owned);
    // A verifier that panics must not end the connection sooner than a refusal would: that would tell something.
    let verified = catch_unwind(AssertUnwindSafe(|| verifier.verify(credential)));
    let verdict = match verified.unwrap_or(Err(Reason::VerifierFailed)) {
        Ok(grant) => claim.accept_with_ticket(grant, unix_now(), rng),
        Err(reason) => Err(claim.reject(reason)),
    };
    (user, verdict)
}

/// What a server goes on with after a ClientHello.
#[allow(clippy::large_enum_variant, reason = "moved once, on the stack")]
pub(crate) enum Next {
    Resumed(Accepted),
    Challenged(Vec<u8>, AwaitLogin),
}

/// Takes a good ticket whose principal is still welcome; challenges otherwise.
pub(crate) fn answer(
    choice: ChooseKey<'_>,
    key: &ServerKey,
    verifier: &(impl Verifier + ?Sized),
    rng: &mut dyn CryptoRng,
) -> Result<Next, crate::Error> {
    let now = unix_now();
    if let Some(claim) = choice.ticket(key, now)
        // A panic is no answer: the client may show a credential.
        && let Ok(Some(grant)) = catch_unwind(AssertUnwindSafe(|| verifier.current(claim.principal())))
        && claim.is_current(&grant)
    {
        return choice.resume(claim, grant, now, rng).map(Next::Resumed);
    }
    choice.challenge(key, rng).map(|(frame, state)| Next::Challenged(frame, state))
}

/// The hello frame and the state after it: with the ticket, if there is one that `trust` lets be used.
pub(crate) fn hello(
    config: &Arc<ClientConfig>,
    binding: &ChannelBinding,
    trust: &ServerTrust,
    ticket: Option<&Ticket>,
    rng: &mut dyn CryptoRng,
    now: Moment,
) -> Result<(Vec<u8>, Awaiting), crate::Error> {
    let known = trust.known_keys();
    if let Some(ticket) = ticket.and_then(|ticket| trust.resume(ticket)) {
        let (frame, state) = client::resume(config, binding, known, ticket, rng, now)?;
        return Ok((frame, Awaiting::Answer(state)));
    }
    let (frame, state) = client::start(config, binding, known, rng, now)?;
    Ok((frame, Awaiting::Challenge(state)))
}

/// A client's state after its hello.
pub(crate) enum Awaiting {
    Answer(AwaitAnswer),
    Challenge(AwaitChallenge),
}

impl Awaiting {
    pub(crate) fn expects(&self) -> &'static [FrameType] {
        match self {
            Self::Answer(_) => AwaitAnswer::EXPECTS,
            Self::Challenge(_) => AwaitChallenge::EXPECTS,
        }
    }

    pub(crate) fn deadline(&self) -> Moment {
        match self {
            Self::Answer(state) => state.deadline(),
            Self::Challenge(state) => state.deadline(),
        }
    }

    pub(crate) fn read(self, frame: &[u8], now: Moment) -> Result<Answer, crate::Error> {
        match self {
            Self::Answer(state) => state.read(frame, now),
            Self::Challenge(state) => state.read(frame, now).map(Answer::Challenge),
        }
    }
}

fn unix_now() -> UnixTime {
    UnixTime::from_system(std::time::SystemTime::now())
}

/// A clock that starts with the connection, and the deadline on it.
pub(crate) struct Timer {
    start: Instant,
    deadline: Moment,
}

impl Timer {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), deadline: Moment::ORIGIN }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment::after_origin(self.start.elapsed())
    }

    pub(crate) fn set_deadline(&mut self, deadline: Moment) {
        self.deadline = deadline;
    }

    /// The login is here, and only the verdict is left to send.
    pub(crate) fn allow_for_verdict(&mut self) {
        self.deadline = self.now().after(VERDICT_TIMEOUT);
    }

    /// How long until `moment`; zero if it has passed.
    pub(crate) fn until(&self, moment: Moment) -> Duration {
        moment.saturating_since(self.now())
    }

    /// What is left until the deadline.
    pub(crate) fn left(&self) -> Result<Duration, Error> {
        match self.until(self.deadline) {
            Duration::ZERO => Err(crate::Error::DeadlinePassed.into()),
            left => Ok(left),
        }
    }
}

/// As `Read` and `Write` report it: inside an [`io::Error`] of a fitting kind.
pub(crate) fn into_io(error: crate::Error) -> io::Error {
    let kind = match error {
        crate::Error::Record(RecordError::Truncated) => io::ErrorKind::UnexpectedEof,
        crate::Error::Misuse(Misuse::Closed) => io::ErrorKind::BrokenPipe,
        _ => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, error)
}
