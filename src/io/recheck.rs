//! When open sessions are looked at again, and what comes of it.

use core::time::Duration;

/// When the sessions of an [`crate::Acceptor`] are looked at again, and what comes of it.
///
/// The verifier is asked about each open session ([`crate::Verifier::resume`]), spread over the time, so that it hears of `sessions / time` a second, as
/// many questions at once as [`crate::Bounds::with_rechecks`] says. Where it can't answer that many, each session is asked about as soon
/// as it can be; that it waits for its turn ends none. An [`crate::AsyncVerifier`] is asked in a task of the tokio runtime in which the session was
/// accepted, by whichever call, if there was one: it has to run, and one that is gone gives no answer. All others are asked on threads of the acceptor's own. What it says:
///
/// | the verifier says | what becomes of the session |
/// |---|---|
/// | the grant that it has | nothing |
/// | other permissions, and the credentials are as they were ([`crate::Grant::with_credential_epoch`]) | it goes on with the new ones, at the server: [`crate::Stream::grant`] |
/// | that the credentials changed; of a store that knows no epoch of theirs, that anything did | it ends |
/// | no: removed, locked, expired, against the policy | it ends, where the verifier says so once more a tenth of a second later: a store that is being written may look empty |
/// | that nobody can tell now ([`crate::Reason::NotNow`]); no epoch of the credentials where it had one; it panics, or does not answer within that time, ten seconds at the most and one at least; it answers about nobody for as long, while others wait for their turns | it goes on, for the grace; about it and its like half of the questions are asked at the most, so that one part of a store that hangs keeps the others from nothing |
/// | that it does not know how ([`crate::Reason::ResumeUnsupported`], the default) | nothing |
///
/// A session that ends fails at its next read or write, or at one that waits, with [`crate::Error::Revoked`]. Its peer reads an
/// authenticated close where the session waited to read, all that was written has left, and no write has failed; a cut otherwise. A blocking stream whose transport can't be woken
/// ([`crate::blocking::Transport::stopper`]) notices at its next call, as does one of another event loop whose link has nothing to wake it by
/// ([`crate::Link::stopper`]).
///
/// ```
/// use countersign::Recheck;
/// use std::time::Duration;
///
/// let hourly = Recheck::every(Duration::from_secs(3600)).with_unlimited_grace().closing_on_change();
/// let by_notice_alone = Recheck::never(); // `Acceptor::recheck` and `Acceptor::revoke` work as ever
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Recheck {
    pub(super) every: Option<Duration>,
    pub(super) grace: Option<Duration>,
    pub(super) closes_on_change: bool,
}

/// Every 30 seconds, with a grace of 10 minutes.
impl Default for Recheck {
    fn default() -> Self {
        Self::every(Duration::from_secs(30))
    }
}

impl Recheck {
    /// Looks at each session within this time, at least 20 milliseconds.
    pub fn every(time: Duration) -> Self {
        let every = time.max(Duration::from_millis(20));
        Self { every: Some(every), grace: Some(Duration::from_secs(600)), closes_on_change: false }
    }

    /// Looks at sessions when the application says so, and not by the clock.
    pub fn never() -> Self {
        Self { every: None, ..Self::default() }
    }

    /// How long a session goes on about which nobody can tell whether its principal is still welcome: the store is away, or does not
    /// answer. Counted by [`crate::Counts::unconfirmed`].
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// Has such a session go on for ever: whoever can keep the store away then keeps sessions that it would end.
    #[must_use]
    pub fn with_unlimited_grace(mut self) -> Self {
        self.grace = None;
        self
    }

    /// Ends sessions whose account has got other permissions, in the place of going on with those: for applications that look at the
    /// permissions once, when a session begins.
    #[must_use]
    pub fn closing_on_change(mut self) -> Self {
        self.closes_on_change = true;
        self
    }

    /// How long an answer may take before it counts as none.
    pub(super) fn late(&self) -> Duration {
        let most = Duration::from_secs(10);
        self.every.map_or(most, |every| every.clamp(Duration::from_secs(1), most))
    }

    /// How often it is looked whose time has come.
    pub(super) fn tick(&self) -> Duration {
        let tick = self.every.map_or(Duration::from_millis(250), |every| every.checked_div(16).unwrap_or(every));
        tick.clamp(Duration::from_millis(5), Duration::from_secs(1))
    }
}
