//! What is counted, and where the counts of several servers may live.

use crate::terms::context::Source;
use crate::terms::error::codes;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use std::sync::Arc;

/// What is counted. Its text (`Display`) is the same in every process, for stores that want one as a key.
///
/// A name is what a stranger has sent in the place of one: it may be a password that somebody typed there. Keep a keyed hash of it, and print none.
/// Failures are counted by a name that is the same for all ways to write it that a store may take for one (in lower case, among others), and what a
/// good login gives is good for the name as it was written: with an account `Alice` nobody has anything to say about `alice`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PenaltyKey {
    /// Failed logins of this source.
    Source(Source),
    /// Failed logins of all sources in this block of addresses.
    Block(Source),
    /// Wrong passwords for this name, from sources that have not logged in to it.
    Account(Arc<str>),
    /// Wrong passwords for this name, as it was written, from this source, which has.
    KnownSource(Source, Arc<str>),
    /// Wrong passwords for this name from this source, which has not, and is exempt ([`super::Penalties::with_exempt`]).
    ExemptSource(Source, Arc<str>),
    /// Wrong passwords for all names, from sources that have not logged in to them.
    Total,
    /// Good logins to this name, as it was written, from this source.
    Logins(Source, Arc<str>),
    /// Good logins from this source, whoever's.
    LoginsFrom(Source),
}

impl PenaltyKey {
    /// How long until half of such a count is forgotten. What has faded below a hundredth may be forgotten altogether.
    pub fn half_life(&self) -> Duration {
        match self {
            Self::Source(_) | Self::Block(_) | Self::Account(_) | Self::KnownSource(..) | Self::ExemptSource(..) => {
                super::sketch::HALF_LIFE
            }
            Self::Total => super::MINUTE,
            Self::Logins(..) | Self::LoginsFrom(_) => Duration::from_secs(30 * 24 * 3600),
        }
    }
}

impl fmt::Display for PenaltyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(source) => write!(f, "source {source}"),
            Self::Block(block) => write!(f, "block {block}"),
            Self::Account(name) => write!(f, "account {name}"),
            Self::KnownSource(source, name) => write!(f, "known-source {source} {name}"),
            Self::ExemptSource(source, name) => write!(f, "exempt-source {source} {name}"),
            Self::Total => f.write_str("total"),
            Self::Logins(source, name) => write!(f, "logins {source} {name}"),
            Self::LoginsFrom(source) => write!(f, "logins-from {source}"),
        }
    }
}

/// A count: what it came to when it was last added to, and how long ago that was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// What it came to then.
    pub level: f64,
    /// The time since then.
    pub since: Duration,
}

impl Standing {
    /// What is left of it now: `level / 2^(since / half_life)`.
    #[allow(clippy::arithmetic_side_effects, reason = "floating point does not overflow into a panic")]
    pub fn faded(&self, half_life: Duration) -> f64 {
        self.level * 0.5_f64.powf(self.since.as_secs_f64() / half_life.as_secs_f64())
    }
}

/// The store can't be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of failed logins does not answer")]
pub struct StoreAway;

codes!(StoreAway {
    Self => "penalty-store-away",
});

/// A store's answer, some time later.
pub type Stored<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreAway>> + Send + 'a>>;

/// Counts that several servers share: in Redis, say. Each server counts in its own memory, too, so what a store adds is what the
/// others saw; one that is away is treated as [`super::WhenAway`] says.
///
/// It is asked once for a ClientHello that this server's own counts let pass (of a source that they don't, once in ten seconds, and of eight in a block) and that has solved its puzzle, if one was asked for, and once for a password
/// before that is checked; it is asked and told once of each failed login, and told once of each good one. Of what fails without a login (a hello that was
/// opened in vain, a connection that comes to nothing) and of logins whose futures were dropped it is told together, with whatever comes next, or once
/// a second; of the latter again, if it did not answer. Each answer is waited for no longer than [`crate::Bounds::with_patience`], but a store needs a shorter timeout of its
/// own. It is told names of sources and users, and no passwords but those that were typed in the place of a name ([`PenaltyKey`]).
pub trait PenaltyStore: Send + Sync {
    /// How these stand, in their order.
    ///
    /// # Errors
    /// [`StoreAway`].
    fn read<'a>(&'a self, keys: &'a [PenaltyKey]) -> Stored<'a, Vec<Standing>>;

    /// Adds to each of these, atomically each: a count fades first by its [`PenaltyKey::half_life`], then the amount is added, and the time
    /// of it is now, by the store's clock. An amount may be negative; no count falls below zero.
    ///
    /// [`PenaltyKey::Logins`] are among them at each good login. What is taken there from [`PenaltyKey::Source`] and [`PenaltyKey::Block`] is for a first
    /// login of this source to this account, as this server knows it. A store that knows of one takes nothing: otherwise the same login would count
    /// at each server, and after each restart.
    ///
    /// # Errors
    /// [`StoreAway`].
    fn add<'a>(&'a self, amounts: &'a [(PenaltyKey, f64)]) -> Stored<'a, ()>;
}

impl<S: PenaltyStore + ?Sized> PenaltyStore for Arc<S> {
    fn read<'a>(&'a self, keys: &'a [PenaltyKey]) -> Stored<'a, Vec<Standing>> {
        (**self).read(keys)
    }

    fn add<'a>(&'a self, amounts: &'a [(PenaltyKey, f64)]) -> Stored<'a, ()> {
        (**self).add(amounts)
    }
}
