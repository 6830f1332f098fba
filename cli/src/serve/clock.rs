//! A clock that jumps is told to the operator.

use super::log::{Entry, Log};
use super::users::keep_asking;
use countersign::{Clock, TimeOfDay, limits};
use std::sync::{Arc, Mutex, PoisonError};

/// Looks at the clock that accounts are judged by, for as long as the runtime is there.
pub(super) fn watch(log: Arc<Log>) {
    let clock = Clock::system();
    let last = Arc::new(Mutex::new(clock.look()));
    keep_asking(move || {
        let (log, clock, last) = (Arc::clone(&log), Arc::clone(&clock), Arc::clone(&last));
        async move {
            let now = clock.look();
            let before = core::mem::replace(&mut *last.lock().unwrap_or_else(PoisonError::into_inner), now);
            if let Some(entry) = news(before, now) {
                log.write(entry);
            }
        }
    });
}

/// What is to be said of two looks.
fn news(before: TimeOfDay, now: TimeOfDay) -> Option<Entry> {
    let time = now.now().as_secs();
    match (before.otherwise(), now.otherwise()) {
        (None, Some(otherwise)) => {
            let (seconds, is_ahead) = (time.abs_diff(otherwise.as_secs()), now.now() > otherwise);
            let entry = Entry::new("clock-jumped").count("seconds", seconds);
            let entry = entry.field("direction", if is_ahead { "forward" } else { "back" });
            Some(entry.text(
                "note",
                "the time of before still counts, too, for an hour: what ends by one of them has not ended yet",
            ))
        }
        (Some(otherwise), None) => {
            let is_back = time.abs_diff(otherwise.as_secs()) <= limits::CLOCK_SKEW.as_secs();
            let which = if is_back { "as it was before it jumped" } else { "what it jumped to counts from now on" };
            Some(Entry::new("clock-settled").text("note", which))
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use crate::serve::LogFormat;
    use countersign::{Moment, UnixTime};
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::time::Duration;

    /// What is told from one look to the next, of a clock that says this at these seconds since its start.
    fn told(looks: &[(u64, u64)]) -> Vec<Option<String>> {
        let seconds = Arc::new((AtomicU64::new(0), AtomicU64::new(1_000_000)));
        let read = Arc::clone(&seconds);
        let clock = Clock::new(move || {
            let since = Duration::from_secs(read.0.load(Relaxed));
            (Moment::after_origin(since), UnixTime::from_secs(read.1.load(Relaxed)))
        });
        let mut last = clock.look();
        let mut told = Vec::new();
        for &(since, time) in looks {
            seconds.0.store(since, Relaxed);
            seconds.1.store(1_000_000 + time, Relaxed);
            let now = clock.look();
            told.push(
                news(last, now).map(|entry| entry.line(LogFormat::Logfmt).split_once(" event=").unwrap().1.to_owned()),
            );
            last = now;
        }
        told
    }

    #[test]
    fn a_jump_is_told_with_its_way_and_its_end_with_the_time_that_counts_from_then_on() {
        let jumped = |seconds: u64, direction: &str| {
            Some(format!(
                "clock-jumped seconds={seconds} direction={direction} note=\"the time of before still counts, too, for an hour: what ends by one of \
                 them has not ended yet\""
            ))
        };
        let settled = |note: &str| Some(format!("clock-settled note=\"{note}\""));
        let is_back = settled("as it was before it jumped");
        let is_new = settled("what it jumped to counts from now on");
        assert_eq!(told(&[(2, 2), (4, 64), (6, 70)]), [None, None, None], "so much of a difference is none");
        assert_eq!(told(&[(2, 9002), (4, 9004), (6, 6)]), [jumped(9000, "forward"), None, is_back]);
        assert_eq!(told(&[(10_000, 1000), (13_599, 4599), (13_600, 4600)]), [jumped(9000, "back"), None, is_new]);
    }
}
