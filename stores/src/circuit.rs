//! Whether something that did not answer is asked again yet.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a database or a directory that is away is asked again, by one login each time.
#[cfg(any(feature = "ldap", feature = "sql"))]
pub(crate) const EVERY: Duration = Duration::from_millis(500);

/// A circuit breaker: while something is away, one asker in each `every` asks it, and all others are told at once. Without this every login of
/// a flood would wait for a server that hangs, for as long as the first one did.
///
/// The one is not waited for: where something answers after a while, and no sooner, it is back as soon as one of those answers is there.
pub(crate) struct Circuit {
    every: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When it answered last.
    answered: Option<Instant>,
    away: Option<Away>,
}

struct Away {
    since: Instant,
    /// When somebody may ask.
    again: Instant,
}

/// Somebody who asks, since then.
pub(crate) struct Asking(Instant);

impl Circuit {
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, state: Mutex::default() }
    }

    /// Whether to ask now. Whoever asks says what came of it, by [`Circuit::answered`] or [`Circuit::failed`]; who is gone before is
    /// followed by another.
    pub(crate) fn ask(&self) -> Option<Asking> {
        let (now, mut state) = (Instant::now(), self.lock());
        if let Some(away) = &mut state.away {
            if now < away.again {
                return None;
            }
            away.again = now.checked_add(self.every).unwrap_or(now);
        }
        Some(Asking(now))
    }

    /// It answered. Gives for how long it had not, if it had not.
    pub(crate) fn answered(&self) -> Option<Duration> {
        let (now, mut state) = (Instant::now(), self.lock());
        state.answered = Some(now);
        state.away.take().map(|away| now.saturating_duration_since(away.since))
    }

    /// It did not. Gives whether that is news: not if it is away already, nor if it has answered somebody else since this one asked.
    pub(crate) fn failed(&self, asking: &Asking) -> bool {
        let state = self.lock();
        let is_old = state.answered.is_some_and(|answered| answered >= asking.0);
        !is_old && self.set_away(state)
    }

    /// It said that it will not, whatever it answered to others meanwhile. Gives whether that is news.
    #[cfg(feature = "redis")]
    pub(crate) fn refused(&self) -> bool {
        self.set_away(self.lock())
    }

    /// It answered, and that is no proof that it is back.
    #[cfg(feature = "redis")]
    pub(crate) fn heard(&self) {
        self.lock().answered = Some(Instant::now());
    }

    pub(crate) fn is_away(&self) -> bool {
        self.lock().away.is_some()
    }

    fn set_away(&self, mut state: MutexGuard<'_, State>) -> bool {
        if state.away.is_some() {
            return false;
        }
        let now = Instant::now();
        state.away = Some(Away { since: now, again: now.checked_add(self.every).unwrap_or(now) });
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Circuit;
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn after_a_failure_nobody_asks_and_after_an_answer_everybody() {
        let circuit = Circuit::new(LONG);
        let (first, second) = (circuit.ask().unwrap(), circuit.ask().unwrap());
        assert!(circuit.failed(&first));
        assert!(!circuit.failed(&second), "it is known");
        assert!(circuit.ask().is_none());
        assert!(circuit.answered().is_some());
        assert!(circuit.answered().is_none());
        assert!(circuit.ask().is_some());
    }

    #[test]
    fn one_asks_when_the_time_has_come_whatever_became_of_the_one_before() {
        let circuit = Circuit::new(Duration::ZERO);
        assert!(circuit.failed(&circuit.ask().unwrap()));
        for _ in 0..3 {
            assert!(circuit.ask().is_some());
        }
        let circuit = Circuit { every: LONG, ..circuit };
        assert!(circuit.ask().is_some());
        assert!(circuit.ask().is_none(), "the others wait until that one is late");
    }

    #[test]
    fn whoever_fails_late_does_not_undo_what_came_meanwhile() {
        let circuit = Circuit::new(LONG);
        let late = circuit.ask().unwrap();
        assert!(circuit.answered().is_none());
        assert!(!circuit.failed(&late));
        assert!(circuit.ask().is_some());
    }
}
