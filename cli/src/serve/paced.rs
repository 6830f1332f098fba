//! What goes on and on is told at once, and then once a minute.

use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(60);

/// When one thing was told last.
#[derive(Default)]
pub(super) struct Paced(Option<Instant>);

impl Paced {
    /// Has it told, if that is due; `tell` says whether there was anything to tell.
    pub(super) fn tell(&mut self, tell: impl FnOnce() -> bool) {
        self.tell_at(Instant::now(), tell);
    }

    fn tell_at(&mut self, now: Instant, tell: impl FnOnce() -> bool) {
        if self.0.is_none_or(|last| now.saturating_duration_since(last) >= EVERY) && tell() {
            self.0 = Some(now);
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_told_at_once_and_once_a_minute() {
        let (start, mut paced) = (Instant::now(), Paced::default());
        let mut told = Vec::new();
        for second in 0..200 {
            // From the sixth second on.
            paced.tell_at(start + Duration::from_secs(second), || {
                let is_it = second > 5;
                told.extend(is_it.then_some(second));
                is_it
            });
        }
        assert_eq!(told, [6, 66, 126, 186]);
    }
}
