//! `expiry-time=`: dates without a calendar's crate, as the two forms of sshd are all there is.

use crate::time::UnixTime;
use core::fmt;

const DAY: u64 = 24 * 3600;

/// The second after a time of the forms `YYYYMMDD`, `YYYYMMDDHHMM` and `YYYYMMDDHHMMSS`, from 1970 on, with a `Z` or not; in UTC. To sshd that time is
/// the last at which a key is good.
pub(super) fn parse(text: &str) -> Option<UnixTime> {
    let digits = text.strip_suffix('Z').unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || ![8, 12, 14].contains(&digits.len()) {
        return None;
    }
    let number = |at: usize, len: usize| match digits.get(at..at.checked_add(len)?) {
        Some(digits) => digits.parse::<u64>().ok(),
        None => Some(0),
    };
    let (year, month, day) = (number(0, 4)?, number(4, 2)?, number(6, 2)?);
    let (hour, minute, second) = (number(8, 2)?, number(10, 2)?, number(12, 2)?);
    let is_time = year >= 1970 && hour < 24 && minute < 60 && second < 60;
    let is_day = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    if !is_time || !is_day {
        return None;
    }
    let months: u64 = (1..month).map(|month| days_of(year, month)).sum();
    let days = days_before(year).checked_add(months)?.checked_add(day)?.checked_sub(1)?;
    let seconds = hour.checked_mul(3600)?.checked_add(minute.checked_mul(60)?)?.checked_add(second)?;
    days.checked_mul(DAY)?.checked_add(seconds)?.checked_add(1).map(UnixTime::from_secs)
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970 to the first of this year, up to year 9999.
fn days_before(year: u64) -> u64 {
    let leaps = u64::try_from((1970..year).filter(|&year| is_leap(year)).count()).unwrap_or(0);
    year.saturating_sub(1970).saturating_mul(365).saturating_add(leaps)
}

/// The second before a time, as it is written: `YYYYMMDDHHMMSSZ`, and shorter where it is midnight.
pub(super) struct LastSecond(pub(super) UnixTime);

impl fmt::Display for LastSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.as_secs().saturating_sub(1);
        let (mut days, seconds) = (last / DAY, last % DAY);
        let mut year = 1970;
        while days >= 365_u64.saturating_add(is_leap(year).into()) {
            days = days.saturating_sub(365_u64.saturating_add(is_leap(year).into()));
            year = year.saturating_add(1);
        }
        let mut month = 1;
        while days >= days_of(year, month) {
            days = days.saturating_sub(days_of(year, month));
            month = month.saturating_add(1);
        }
        write!(f, "{year:04}{month:02}{:02}", days.saturating_add(1))?;
        if seconds > 0 {
            write!(f, "{:02}{:02}{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        }
        f.write_str("Z")
    }
}
