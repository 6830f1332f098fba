//! What follows from a known-hosts file for a server's key.

use super::distrust::Distrust;
use super::error::HostsError;
use super::file::KnownHosts;
use super::hosts::{Listing, Standing};
use super::line::Accepted;
use super::name;
use crate::crypto::{KeyExchange, KeyId, PublicKey, Suite};
use crate::terms::trust::{Answer, Question, Trust, TrustLevel, Untrusted};
use crate::time::UnixTime;
use core::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// What to do with the key of a server that is not known.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Unknown {
    /// It is not trusted.
    #[default]
    Strict,
    /// It is listed, as [`Accepted::FirstUse`].
    AcceptNew,
    /// Somebody is asked whether it is the right one. A key that is confirmed is listed, as [`Accepted::Confirmed`].
    Ask(Arc<Ask>),
}

/// Shows somebody a server's key, and says whether they have found it to be the right one. It may block: the server waits for as
/// long as its handshake's deadline, and a key that is confirmed later is listed for the next login.
pub type Ask = dyn Fn(&Question<'_>) -> bool + Send + Sync;

/// A server as a known-hosts file has it: a [`Trust`], made by [`KnownHosts::at`].
///
/// - A key that is listed for its name is trusted: [`Accepted::level`] says how well.
/// - One that is revoked, for this name or for all, is refused, and so is another than the listed ones ([`Distrust::Changed`]),
///   and a suite under the line's floor. So is every key while the file can't be read, or has a line that can't be read and may
///   revoke one.
/// - One whose name is in no line is new: by default it is not trusted; see [`KnownHost::accepting_new`] and
///   [`KnownHost::asking`]. It is trusted only once its line is written.
/// - Where other keys were accepted on a certificate or a manifest alone, or what is listed has run out, or a line that can't be
///   read may be about the server, this can't tell; another way may ([`crate::Server::or`]). Nobody is new then.
///
/// A key that a way before this one trusts already is left to that, and not listed: [`KnownHosts::add`] does so for an
/// application that knows on what, and for how long.
///
/// ```
/// # fn server() -> Result<countersign::Server, Box<dyn std::error::Error>> {
/// use countersign::{KnownHosts, Server};
///
/// let known = KnownHosts::open("known_hosts")?;
/// let server = Server::trusting(known.at("db.example:4500")?.accepting_new());
/// # Ok(server)
/// # }
/// ```
#[derive(Clone)]
pub struct KnownHost {
    hosts: KnownHosts,
    name: String,
    unknown: Unknown,
    floor: KeyExchange,
    only_revokes: bool,
}

impl Accepted {
    /// How well a key is known that was accepted on this.
    pub const fn level(self) -> TrustLevel {
        match self {
            Self::FirstUse => TrustLevel::FirstUse,
            Self::Certificate | Self::Manifest => TrustLevel::Certified,
            Self::Confirmed | Self::Pin => TrustLevel::Verified,
        }
    }
}

impl KnownHosts {
    /// The server of this name, such as `db.example:4500` or `[2001:db8::1]:4500`: as a user types it, not as a name service
    /// completes it. Where several servers are behind one address, each needs a name of its own.
    ///
    /// # Errors
    /// [`HostsError::BadName`].
    pub fn at(&self, name: &str) -> Result<KnownHost, HostsError> {
        let name = name::normal(name).ok_or(HostsError::BadName)?;
        Ok(KnownHost {
            hosts: self.clone(),
            name,
            unknown: Unknown::Strict,
            floor: KeyExchange::X25519,
            only_revokes: false,
        })
    }
}

impl KnownHost {
    /// Says what to do with the key of a server that is not known.
    #[must_use]
    pub fn with_unknown(mut self, unknown: Unknown) -> Self {
        self.unknown = unknown;
        self
    }

    /// Lists the first key that the server shows: trust on first use. Whoever is in the middle then stays trusted.
    #[must_use]
    pub fn accepting_new(self) -> Self {
        self.with_unknown(Unknown::AcceptNew)
    }

    /// Asks somebody about the key of a server that is not known: see [`Ask`].
    #[must_use]
    pub fn asking(self, ask: impl Fn(&Question<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.with_unknown(Unknown::Ask(Arc::new(ask)))
    }

    /// Lists new keys under this floor. The default is [`KeyExchange::X25519`].
    #[must_use]
    pub fn with_floor(mut self, floor: KeyExchange) -> Self {
        self.floor = floor;
        self
    }

    /// Refuses what is revoked, and leaves everything else to others ([`crate::Server::or`]), whatever is listed: for where
    /// somebody gives the server's key.
    #[must_use]
    pub fn only_revoking(mut self) -> Self {
        self.only_revokes = true;
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn judge(&self, question: &Question<'_>) -> Result<Accepted, Distrust> {
        let (key, now) = (question.key(), question.now());
        let standing = self.standing(key.id(), now)?;
        let is_vouched = question.so_far().is_some();
        match (&standing, &self.unknown) {
            (Standing::New, Unknown::AcceptNew) if !is_vouched => self.list(key, Accepted::FirstUse, now),
            (Standing::New | Standing::Expired(_), Unknown::Ask(ask)) if !is_vouched => {
                if !ask(question) {
                    return Err(Distrust::NotConfirmed { name: self.name.clone(), key: key.id() });
                }
                self.list(key, Accepted::Confirmed, now)
            }
            _ => self.listed(standing, key.id(), question.suite()),
        }
    }

    fn standing(&self, key: KeyId, now: UnixTime) -> Result<Standing, Distrust> {
        match self.hosts.lookup(&self.name)?.standing(key, now) {
            Standing::Revoked(entry) => Ok(Standing::Revoked(entry)),
            _ if self.only_revokes => Err(Distrust::LeftToOthers),
            standing => Ok(standing),
        }
    }

    /// What a key of this standing was accepted on.
    fn listed(&self, standing: Standing, key: KeyId, suite: Suite) -> Result<Accepted, Distrust> {
        if let Standing::Listed(entry) = &standing {
            let (floor, line) = (entry.floor(), entry.line());
            if suite.key_exchange < floor {
                return Err(Distrust::UnderFloor { suite, floor, path: self.hosts.path().to_owned(), line });
            }
            return Ok(entry.accepted().unwrap_or(Accepted::FirstUse));
        }
        Distrust::of(standing, &self.name, key, self.hosts.path()).map_or(Ok(Accepted::FirstUse), Err)
    }

    /// Lists a key, unless the file says something else of the server by now.
    fn list(&self, key: &PublicKey, accepted: Accepted, now: UnixTime) -> Result<Accepted, Distrust> {
        let (plain, name) = self.hosts.name(&self.name)?;
        let new = Listing::new(key.clone(), accepted).with_floor(self.floor);
        self.hosts.edit(|hosts| {
            self.hosts.check(hosts)?;
            let standing = hosts.lookup(&plain).standing(key.id(), now);
            match (&standing, accepted) {
                (Standing::New, _) | (Standing::Expired(_) | Standing::Listed(_), Accepted::Confirmed) => {
                    hosts.add(&name, &plain, &new, now)?;
                    Ok(accepted)
                }
                (Standing::Listed(entry), _) => Ok(entry.accepted().unwrap_or(accepted)),
                _ => Distrust::of(standing, &plain, key.id(), self.hosts.path()).map_or(Ok(accepted), Err),
            }
        })
    }
}

impl Trust for KnownHost {
    fn decide(&self, question: &Question<'_>) -> Answer {
        answer(self.judge(question))
    }

    fn known_keys(&self, _: &str) -> Vec<PublicKey> {
        if self.only_revokes {
            return Vec::new();
        }
        let now = UnixTime::from_system(SystemTime::now());
        self.hosts.lookup(&self.name).map(|known| known.live_keys(now)).unwrap_or_default()
    }

    fn recall(&self, key: KeyId, suite: Suite, _: &str, now: UnixTime) -> Answer {
        answer(self.standing(key, now).and_then(|standing| self.listed(standing, key, suite)))
    }

    fn scope(&self) -> String {
        self.name.clone()
    }
}

fn answer(judged: Result<Accepted, Distrust>) -> Answer {
    match judged {
        Ok(accepted) => Answer::Trusted(accepted.level()),
        Err(distrust) => {
            let is_final = distrust.is_final();
            let why = Untrusted::new(distrust.code(), distrust);
            if is_final { Answer::Refused(why) } else { Answer::Unknown(why) }
        }
    }
}

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "Strict",
            Self::AcceptNew => "AcceptNew",
            Self::Ask(_) => "Ask",
        })
    }
}

impl fmt::Debug for KnownHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.hosts.path();
        f.debug_struct("KnownHost")
            .field("name", &self.name)
            .field("unknown", &self.unknown)
            .field("path", &path)
            .finish()
    }
}
