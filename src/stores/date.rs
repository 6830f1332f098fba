//! Dates in files: as RFC 3339 has them, in UTC.

use crate::time::UnixTime;
use core::fmt;
use std::time::{Duration, UNIX_EPOCH};

/// A date, as RFC 3339 has it, in UTC: `2027-01-31T00:00:00Z`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Date(pub(super) UnixTime);

/// The last second of the year 9999: there is no way to write a later one.
pub(super) const LAST: UnixTime = UnixTime::from_secs(253_402_300_799);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = Duration::from_secs(self.0.min(LAST).as_secs());
        match UNIX_EPOCH.checked_add(since) {
            Some(time) => humantime::format_rfc3339_seconds(time).fmt(f),
            None => Err(fmt::Error),
        }
    }
}
