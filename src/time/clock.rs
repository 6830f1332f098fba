//! The time of day that servers go by where something ends, and what becomes of it when the system's clock jumps.

use super::{Moment, UnixTime};
use crate::limits;
use core::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

/// The time of day that a server goes by where something ends: accounts, their keys and their codes, and retired server keys.
///
/// A system's clock can jump: it is corrected when the network is there, set by mistake, or behind after a machine has slept. Which of the
/// two times is right nobody can tell at that moment, and a login must not be refused, nor a session end, because of a wrong one. So this holds the
/// time of day against a clock that is never set. Where they part by more than [`limits::CLOCK_SKEW`], both times count for
/// [`limits::CLOCK_DOUBT`]: what has an end has ended when it has by both, and codes of either are taken, each once. After that the new time is the
/// time, or before, where the clock comes back to the old one.
///
/// All of a process have one between them, [`Clock::system`]. Look at it every few seconds to be told of jumps:
///
/// ```
/// use countersign::Clock;
///
/// let time = Clock::system().look();
/// if let Some(otherwise) = time.otherwise() {
///     eprintln!("the clock has jumped: it says {}, and would say {otherwise}", time.now());
/// }
/// ```
pub struct Clock {
    read: Box<Read>,
    state: Mutex<State>,
}

type Read = dyn Fn() -> (Moment, UnixTime) + Send + Sync;

#[derive(Clone, Copy)]
struct State {
    /// A time of day that is beyond doubt, and when that was.
    sure: Reading,
    doubt: Option<Doubt>,
}

#[derive(Clone, Copy)]
struct Doubt {
    since: Moment,
    /// What the clock has said last.
    said: Reading,
}

#[derive(Clone, Copy)]
struct Reading {
    at: Moment,
    time: UnixTime,
}

impl Reading {
    /// What a clock that said this says then, if it does not jump.
    fn then(self, at: Moment) -> UnixTime {
        self.time.after(at.saturating_since(self.at))
    }

    fn leads_to(self, other: Self) -> bool {
        self.then(other.at).as_secs().abs_diff(other.time.as_secs()) <= limits::CLOCK_SKEW.as_secs()
    }
}

/// What a [`Clock`] says: the time of day, and while that is in doubt, what it would be if the clock had not jumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOfDay {
    now: UnixTime,
    otherwise: Option<UnixTime>,
}

impl TimeOfDay {
    /// What the system's clock says.
    pub fn now(self) -> UnixTime {
        self.now
    }

    /// What it would say without a jump that is in doubt.
    pub fn otherwise(self) -> Option<UnixTime> {
        self.otherwise
    }

    /// The earlier of the two: the time by which something ends.
    pub fn earliest(self) -> UnixTime {
        self.otherwise.map_or(self.now, |otherwise| self.now.min(otherwise))
    }
}

/// Beyond doubt.
impl From<UnixTime> for TimeOfDay {
    fn from(now: UnixTime) -> Self {
        Self { now, otherwise: None }
    }
}

/// The system's.
impl Default for Clock {
    fn default() -> Self {
        let start = Instant::now();
        Self::new(move || (Moment::after_origin(start.elapsed()), UnixTime::from_system(SystemTime::now())))
    }
}

impl Clock {
    /// A clock that `read` reads: the time on a clock that is never set, and the time of day.
    pub fn new(read: impl Fn() -> (Moment, UnixTime) + Send + Sync + 'static) -> Self {
        let (at, time) = read();
        let state = Mutex::new(State { sure: Reading { at, time }, doubt: None });
        Self { read: Box::new(read), state }
    }

    /// The one of this process, which counts from when it is first asked for. What is not given another goes by it.
    pub fn system() -> Arc<Self> {
        static SYSTEM: LazyLock<Arc<Clock>> = LazyLock::new(Arc::default);
        Arc::clone(&SYSTEM)
    }

    /// Looks what time it is. Each login does, and each look at an open session.
    pub fn look(&self) -> TimeOfDay {
        let mut state = self.lock();
        // Under the lock, so that readings are in order.
        let (at, time) = (self.read)();
        *state = state.heard(Reading { at, time });
        TimeOfDay { now: time, otherwise: state.doubt.map(|_| state.sure.then(at)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn heard(self, said: Reading) -> Self {
        // It has not jumped, or is back.
        if self.sure.leads_to(said) {
            return Self { sure: said, doubt: None };
        }
        // Further jumps begin a doubt anew.
        let since = self.doubt.filter(|doubt| doubt.said.leads_to(said)).map_or(said.at, |doubt| doubt.since);
        if said.at.saturating_since(since) >= limits::CLOCK_DOUBT {
            return Self { sure: said, doubt: None };
        }
        Self { doubt: Some(Doubt { since, said }), ..self }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}
