//! Time as data: the machines never read a clock.

mod clock;

pub use clock::{Clock, TimeOfDay};

use core::fmt;
use core::time::Duration;
use pkcs8::der::DateTime;

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

    /// A date of the years 1970 to 9999 as RFC 3339 has it, in UTC; what it says of a second is left off. `None` for anything else.
    ///
    /// ```
    /// use countersign::UnixTime;
    ///
    /// assert_eq!(UnixTime::from_rfc3339("2040-01-31T00:00:00Z"), Some(UnixTime::from_secs(2_211_580_800)));
    /// assert_eq!(UnixTime::from_rfc3339("2040-01-31"), None);
    /// ```
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let (date, rest) = text.split_at_checked("2040-01-31T00:00:00".len())?;
        let zone = match rest.strip_prefix('.') {
            Some(fraction) => fraction
                .strip_prefix(|digit: char| digit.is_ascii_digit())?
                .trim_start_matches(|digit: char| digit.is_ascii_digit()),
            None => rest,
        };
        // Of a crate that reckons without the system's clock: on 32 bits others end in 2038.
        let date: DateTime = matches!(zone, "Z" | "+00:00").then(|| format!("{date}Z"))?.parse().ok()?;
        Some(Self(date.unix_duration().as_secs()))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_as_it_is_written_whatever_the_systems_own_time_goes_up_to() {
        for seconds in [0, 951_782_400, i32::MAX as u64, 1 << 31, 1 << 32, 253_402_300_799] {
            let time = UnixTime::from_secs(seconds);
            assert_eq!(UnixTime::from_rfc3339(&time.to_string()), Some(time));
        }
        let expected = Some(UnixTime::from_secs(2_211_580_800));
        for same in ["2040-01-31T00:00:00+00:00", "2040-01-31T00:00:00.9Z", "2040-01-31T00:00:00.123456789+00:00"] {
            assert_eq!(UnixTime::from_rfc3339(same), expected, "{same}");
        }
        for none in [
            "",
            "2040-01-31",
            "2040-01-31T00:00:00",
            "2040-01-31T00:00:00.Z",
            "2040-01-31T00:00:00.é",
            "2040-01-31T00:00:00+02:00",
            "2040-01-31T00:00:00ZZ",
            "2040-02-30T00:00:00Z",
            "2040-01-31T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "+2040-01-31T00:00:00Z",
        ] {
            assert_eq!(UnixTime::from_rfc3339(none), None, "{none}");
        }
    }
}
