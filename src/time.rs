//! Time as data: the machines never read a clock.

mod clock;

pub use clock::{Clock, TimeOfDay};

use core::fmt;
use core::time::Duration;

/// A moment: the time since an origin that the caller picks, on a clock that never goes back.
///
/// The machines compare moments and add durations to them, nothing else; with `std`, an origin is one
/// [`std::time::Instant`] and a moment is its `elapsed()`.
///
/// ```
/// use countersign::Moment;
/// use std::time::Duration;
///
/// let start = Moment::ORIGIN;
/// let later = start.after(Duration::from_secs(10));
/// assert_eq!(later.saturating_since(start), Duration::from_secs(10));
/// assert_eq!(start.saturating_since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The origin of the caller's clock.
    pub const ORIGIN: Self = Self(Duration::ZERO);

    /// The moment this long after the origin.
    pub const fn after_origin(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// The time from `earlier` to `self`; zero where `earlier` is the later one.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `wait` later; saturates at the end of time.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait))
    }
}

/// Wall-clock time as data: whole seconds since 1970, UTC. Tickets outlive connections, so they need a date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub(crate) u64);

impl UnixTime {
    /// This many seconds after 1970 began.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Seconds since 1970 began.
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// What the system's clock says; 1970 if it is set to before that.
    pub fn from_system(time: std::time::SystemTime) -> Self {
        Self(time.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    pub(crate) fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait.as_secs()))
    }
}

/// As RFC 3339 has it, in UTC: `2026-11-27T02:50:04Z`; as the number of seconds where the year has more than four digits.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const YEAR_10000: u64 = 253_402_300_800;
        let time = Some(Duration::from_secs(self.0)).filter(|time| time.as_secs() < YEAR_10000);
        match time.and_then(|time| std::time::UNIX_EPOCH.checked_add(time)) {
            Some(time) => humantime::format_rfc3339_seconds(time).fmt(f),
            None => write!(f, "{} s after 1970", self.0),
        }
    }
}
