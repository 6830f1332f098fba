//! Penalties for failed logins: what guessing costs, and whom.
//!
//! | who is counted | which failures | shut by them |
//! |---|---|---|
//! | a source, and the block of addresses around it | whatever failed there, but at accounts that were logged in to from there | hellos of that source, with Busy, before anything costly; where somebody has logged in from there, passwords for all other names |
//! | a name, known or not | wrong passwords, from sources that have not logged in to it | passwords for it from such sources |
//! | a name and a source that has logged in to it | wrong passwords from there | passwords for it from there |
//! | all wrong passwords of sources that have not logged in to the names | the same | passwords from sources that nobody has logged in from, which are told *not now*; past four times as many, for names that were not logged in to from there |
//!
//! A count fades by half in an hour (the total in a minute). What is past the free failures means a wait, which doubles with each
//! further one. Who is waiting is not looked at, and what is not looked at is not counted as a guess: so nobody can have a
//! wait that has no end, and whoever guesses learns nothing in it. A password is looked at no sooner because it is right.
//!
//! A hundred guesses at once fare no better than a hundred in a row: a password that is being looked at counts as wrong until there is a verdict. Where
//! all those would mean a wait if they were wrong, the next one is not refused, but waits for one of them to be decided.

mod elsewhere;
mod guard;
mod known;
mod name;
mod sketch;
mod store;
mod tried;

pub(super) use guard::{Amounts, Checked, Guard, Guess, Guessed, Others, Reservation, Shut, Waiting};
pub use store::{PenaltyKey, PenaltyStore, Standing, StoreAway, Stored};

use super::events::Named;
use crate::terms::context::Source;
use crate::terms::error::Penalty;
use core::fmt;
use core::time::Duration;
use std::sync::Arc;

const MINUTE: Duration = Duration::from_secs(60);

/// What guessing costs: waits for sources and names with too many failed logins of late, on top of [`crate::Bounds`]. An
/// [`crate::Acceptor`] has them from the beginning.
///
/// | whose failures | free | first wait | longest |
/// |---|---|---|---|
/// | a source's ([`Source`]: an IPv4 address, the /64 of an IPv6 address) | 8 | 15 s | 10 min |
/// | those of the block around it: the /24, the /48 | 64 | 15 s | 10 min |
/// | wrong passwords for a name, whether it exists or not, from sources that have not logged in to it | 10 | 2 s | 5 min |
/// | wrong passwords for a name from a source that has logged in to it | 10 | 2 s | 5 min |
/// | wrong passwords in all, from sources that have not logged in to the names | 60 a minute | | |
///
/// Half of a count is forgotten in an hour. The wait doubles with each failure past the free ones (with each eighth part of them, where there
/// are more than eight). A source that waits is told that the server is busy when it sends a ClientHello, before anything costly. A
/// name that waits shows nothing: a login then is refused like any other, at the same moment, and its password is not looked at
/// ([`crate::Reason::Penalty`]). Past the total, whoever comes from where nobody has logged in is told that nobody can decide now
/// ([`crate::Penalty::Strangers`]), whatever the name. So there are some 230 guesses a day from one
/// source, and 300 at one name from everywhere together.
///
/// **Nobody can be locked out by others for good.** A source that has logged in to an account has a count of its own with it, which
/// is the only one that counts for its passwords there: whatever others do behind the same address, in the same network, or from
/// everywhere. The first login to a name from a source takes a failure off the counts of the source and of the block around it, where the source has any; once an
/// hour for a name. Tickets, keys
/// and tokens can't be guessed, and wait for nothing once a ClientHello is taken; a ticket also where the source waits.
///
/// From a source that has logged in to the account, the same wrong password again is no new guess: a program that has an old one saved does not keep its owner out.
///
/// **At once** no more passwords are looked at than might be wrong: each counts as a failure from the moment at which it is looked at until it is known to be
/// good, or nobody can tell. Whoever comes when all these together would mean a wait is not refused for it: the login waits for one of
/// the others to be decided, and is refused like any other if that takes longer than a handshake may. So a first eleven logins to a name are
/// looked at together, and one at a time once ten were wrong; those who wait come in the order in which they came. A login whose future is dropped in the
/// middle counts as failed.
///
/// **Behind a balancer** that does not tell whose connections they are, all come from one source, and a guesser among them stops everybody who
/// has not logged in since this server's start: give the addresses that it tells ([`crate::Context`]), or exempt it ([`Penalties::with_exempt`]).
///
/// What counts as a failure of a source: a login that was refused, a hello that cost an RSA operation and was followed by no
/// login; and by a quarter a connection that breaks the protocol, that goes on for too long, or that ends after the ServerHello, and a login
/// whose password was not looked at because its name had to wait.
///
/// The counts are in memory, 2 MiB for as many sources and names as there are, and up to 13 MiB for 65,536 pairs of a source
/// and an account that it has logged in to; at a restart they begin anew. Servers that share their accounts can share them:
/// [`Penalties::with_store`]. Where nobody has logged in to an account from for 200 days is not known any more. No clock but the monotonic one is looked at.
///
/// ```
/// use countersign::{Penalties, Source, Waits};
/// use std::net::{IpAddr, Ipv4Addr};
/// use std::time::Duration;
///
/// let proxy = Source::block(IpAddr::V4(Ipv4Addr::new(10, 1, 0, 0)), 16, 64);
/// let penalties = Penalties::default()
///     .with_account(Waits::new(5, Duration::from_secs(10), Duration::from_secs(3600)))
///     .with_exempt(proxy);
/// ```
#[derive(Clone)]
pub struct Penalties {
    source: Waits,
    block: Waits,
    account: Waits,
    blocks: (u8, u8),
    per_minute: u32,
    exempt: Vec<Source>,
    store: Option<(Arc<dyn PenaltyStore>, WhenAway)>,
    observer: Option<Arc<Observer>>,
}

type Observer = dyn Fn(&PenaltyEvent<'_>) + Send + Sync;

/// How long who has failed too often has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    free: u32,
    first: Duration,
    longest: Duration,
}

impl Waits {
    /// `free` failures cost nothing. The next one means a wait of `first`, and the wait doubles with each further one (with each
    /// eighth part of `free`, where that is more than eight), up to `longest`.
    pub const fn new(free: u32, first: Duration, longest: Duration) -> Self {
        Self { free, first, longest }
    }

    /// The wait after the failure with which a count came to this.
    #[allow(
        clippy::arithmetic_side_effects,
        reason = "floating point neither overflows into a panic nor divides by zero"
    )]
    fn after(&self, level: f64) -> Duration {
        let free = f64::from(self.free);
        // By then some of a count has faded: a failure past the free ones is one also where it is less by that.
        let over = level - free;
        if over <= 0.0 {
            return Duration::ZERO;
        }
        let doublings = (over - 1.0).max(0.0) / (free / 8.0).max(1.0);
        let wait = self.first.as_secs_f64() * doublings.exp2();
        Duration::try_from_secs_f64(wait).map_or(self.longest, |wait| wait.min(self.longest))
    }

    /// What is left of the wait.
    fn left(&self, standing: Standing) -> Option<Duration> {
        let left = self.after(standing.level).saturating_sub(standing.since);
        (!left.is_zero()).then_some(left)
    }
}

/// What becomes of a login while the [`PenaltyStore`] does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenAway {
    /// It goes on, by what this server itself has counted.
    GoOn,
    /// It is turned away (with Busy, or *not now*), unless its source has logged in to the account at this server before.
    TurnAway,
}

/// What an operator may want to know.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum PenaltyEvent<'a> {
    /// One failure more means a wait.
    Wait {
        /// For whom.
        penalty: Penalty,
        /// The source, or the block of addresses, whose count it is, if it is one's.
        source: Option<&'a Source>,
        /// The name whose count it is, if it is one's. What was typed there may be a password: it is told as in an
        /// [`Event`](crate::events::Event), and its tag is the same.
        user: Named<'a>,
        /// How long; a minute where it is the total's.
        wait: Duration,
    },
    /// The store did not answer.
    StoreAway,
}

impl Default for Penalties {
    fn default() -> Self {
        const LONGEST: Duration = Duration::from_secs(600);
        Self {
            source: Waits::new(8, Duration::from_secs(15), LONGEST),
            block: Waits::new(64, Duration::from_secs(15), LONGEST),
            account: Waits::new(10, Duration::from_secs(2), Duration::from_secs(300)),
            blocks: (24, 48),
            per_minute: 60,
            exempt: Vec::new(),
            store: None,
            observer: None,
        }
    }
}

impl Penalties {
    /// Sets what failures of one source mean for it. More free ones for a network address that many share whom you don't know
    /// yet; those whom you do don't mind.
    #[must_use]
    pub fn with_source(mut self, waits: Waits) -> Self {
        self.source = waits;
        self
    }

    /// Sets what failures from one block of addresses mean for it.
    #[must_use]
    pub fn with_block(mut self, waits: Waits) -> Self {
        self.block = waits;
        self
    }

    /// Sets how large these blocks are: prefixes of 0 to 32 bits for IPv4 and of 0 to 128 for IPv6. One that is no wider than the source itself
    /// counts nothing.
    #[must_use]
    pub fn with_blocks(mut self, ipv4: u8, ipv6: u8) -> Self {
        self.blocks = (ipv4, ipv6);
        self
    }

    /// Sets what wrong passwords for a name mean: for those who have not logged in to it, and for each source that has.
    #[must_use]
    pub fn with_account(mut self, waits: Waits) -> Self {
        self.account = waits;
        self
    }

    /// Sets how many wrong passwords a minute there may be in all, of those who have not logged in before from where they are.
    #[must_use]
    pub fn with_total(mut self, per_minute: u32) -> Self {
        self.per_minute = per_minute;
        self
    }

    /// Exempts a source, or all in a block of addresses: a gateway that logs in for its users, a monitor. Nothing is counted by it; and for
    /// each name it has a count of its own, as if it had logged in to it before.
    #[must_use]
    pub fn with_exempt(mut self, source: Source) -> Self {
        self.exempt.push(source);
        self
    }

    /// Shares the counts with other servers.
    #[must_use]
    pub fn with_store(mut self, store: impl PenaltyStore + 'static, when_away: WhenAway) -> Self {
        self.store = Some((Arc::new(store), when_away));
        self
    }

    /// Tells `observer` what happens, for a log: on the thread of the login, which it must not hold up. A second observer takes the first one's place.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Fn(&PenaltyEvent<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    fn is_exempt(&self, source: &Source) -> bool {
        self.exempt.iter().any(|exempt| exempt.contains(source))
    }

    /// The count at which the total is full. So many a minute come to this where a count is halved each minute: `n / ln 2`.
    #[allow(clippy::arithmetic_side_effects, reason = "floating point does not overflow into a panic")]
    fn total(&self) -> f64 {
        f64::from(self.per_minute) / core::f64::consts::LN_2
    }
}

impl fmt::Debug for Penalties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Penalties")
            .field("source", &self.source)
            .field("block", &self.block)
            .field("account", &self.account)
            .field("blocks", &self.blocks)
            .field("per_minute", &self.per_minute)
            .field("exempt", &self.exempt)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests;
