//! When a login is to be tried, after others that the server did not take.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long no login is tried after the first that was not taken; each further one doubles it, and so long at most it is, whatever a
/// server says: anybody on the way can say it, too.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// The logins of this process. All are with the same credential, so that after one that was good, those that are refused say
/// more about the server than about it: this user may have no room for one session more.
#[derive(Default)]
pub(super) struct Pace(Mutex<State>);

#[derive(Default)]
struct State {
    has_logged_in: bool,
    /// Logins that were not taken, since the last that was; those tried together count once.
    failed: u32,
    /// The end of the pause, if there is one.
    next: Option<Instant>,
}

/// A login that is tried: how many had failed by then.
pub(super) struct Attempt(u32);

/// How a server did not take a login.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum No {
    /// It said no, or somebody interfered: neither is tried again and again without a good login before.
    Refused,
    /// It has no room, or can't tell now: after this time it may, if it said one.
    Later(Option<Duration>),
}

/// What to do after a login that was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    Stop,
    /// No other is tried for as long as this.
    Pause(Duration),
}

impl Pace {
    /// Whether a login is to be tried now; otherwise how long none is. After a pause one is tried, and for as long again no
    /// other, until it is known what came of it.
    pub(super) fn begin(&self, now: Instant) -> Result<Attempt, Duration> {
        let mut state = self.lock();
        if let Some(next) = state.next {
            let left = next.saturating_duration_since(now);
            if !left.is_zero() {
                return Err(left);
            }
            state.next = now.checked_add(pause(state.failed));
        }
        Ok(Attempt(state.failed))
    }

    pub(super) fn has_logged_in(&self) -> bool {
        self.lock().has_logged_in
    }

    pub(super) fn succeeded(&self) {
        *self.lock() = State { has_logged_in: true, ..State::default() };
    }

    pub(super) fn failed(&self, attempt: &Attempt, no: No, now: Instant) -> After {
        let mut state = self.lock();
        if no == No::Refused && !state.has_logged_in {
            return After::Stop;
        }
        if state.failed == attempt.0 {
            state.failed = state.failed.saturating_add(1);
            let pause = match no {
                No::Later(Some(said)) => said.clamp(SHORTEST, LONGEST),
                No::Later(None) | No::Refused => pause(state.failed),
            };
            state.next = now.checked_add(pause);
        }
        After::Pause(state.next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pause(failed: u32) -> Duration {
    let factor = 1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX);
    SHORTEST.saturating_mul(factor).min(LONGEST)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn before_the_first_good_login_a_refusal_is_final_and_no_room_is_not() {
        let mut now = Instant::now();
        let pace = Pace::default();
        for (no, seconds) in [
            (No::Later(None), 1),
            (No::Later(Some(Duration::from_secs(7))), 7),
            // Whoever says so may be anybody.
            (No::Later(Some(Duration::from_secs(65535))), 30),
            (No::Later(Some(Duration::ZERO)), 1),
            (No::Later(None), 16),
        ] {
            let pause = Duration::from_secs(seconds);
            assert_eq!(pace.failed(&pace.begin(now).unwrap(), no, now), After::Pause(pause));
            assert_eq!(pace.begin(now).err(), Some(pause));
            now += pause;
        }
        assert_eq!(pace.failed(&pace.begin(now).unwrap(), No::Refused, now), After::Stop);
    }

    #[test]
    fn after_it_pauses_double_up_to_a_bound_and_a_good_login_ends_them() {
        let mut now = Instant::now();
        let pace = Pace::default();
        let before = pace.begin(now).unwrap();
        pace.succeeded();
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let pause = Duration::from_secs(seconds);
            let (one, other) = (pace.begin(now).unwrap(), Attempt(pace.lock().failed));
            let no = if seconds % 4 == 0 { No::Refused } else { No::Later(None) };
            assert_eq!(pace.failed(&one, no, now), After::Pause(pause));
            // One that was tried together with it makes it no longer.
            assert_eq!(pace.failed(&other, no, now), After::Pause(pause));
            now += pause / 2;
            assert_eq!(pace.begin(now).err(), Some(pause - pause / 2));
            now += pause;
        }
        // One is tried, and the others wait for what comes of it; where nothing does, the next is tried after as long again.
        pace.begin(now).unwrap();
        assert_eq!(pace.begin(now).err(), Some(LONGEST));
        now += LONGEST;
        pace.begin(now).unwrap();
        pace.succeeded();
        assert!(pace.begin(now).is_ok() && pace.begin(now).is_ok());
        assert_eq!(pace.failed(&before, No::Refused, now), After::Pause(SHORTEST));
    }

    #[test]
    fn many_failures_are_no_overflow() {
        for failed in [30, 31, 32, 33, u32::MAX] {
            assert_eq!(pause(failed), LONGEST);
        }
    }
}
