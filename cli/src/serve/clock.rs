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
