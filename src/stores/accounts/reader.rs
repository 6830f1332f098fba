//! A thread that reads, so that nobody else has to wait for a file: not for a mount that hangs, and not for a long one.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often it looks where nobody asks.
const PERIOD: Duration = Duration::from_secs(1);

/// The thread's own end of it. The thread ends after this does.
pub(super) struct Reader<T, E>(Arc<Shared<T, E>>);

/// What a look came to.
pub(super) struct View<T, E> {
    /// What was last read without an error.
    pub(super) good: Arc<T>,
    /// What went wrong at the last look.
    pub(super) error: Option<Arc<E>>,
    /// When that look began.
    pub(super) begun: Instant,
}

struct Shared<T, E> {
    state: Mutex<State<T, E>>,
    changed: Condvar,
}

struct State<T, E> {
    /// Questions so far.
    asked: u64,
    /// Those before the last look that has ended.
    answered: u64,
    /// Somebody waited in vain for the look that goes on: nobody else needs to.
    is_late: bool,
    latest: View<T, E>,
    closed: bool,
}

/// Why there is no reader.
pub(super) enum NotStarted<E> {
    /// The first look failed.
    Failed(E),
    /// The first look takes longer than was to be waited.
    Late,
    /// The system has no thread to give.
    Thread(io::Error),
}

impl<T: Send + Sync + 'static, E: Send + Sync + 'static> Reader<T, E> {
    /// Starts a thread that calls `look`, with what it gave last: at once, every second, and whenever somebody asks. Never
    /// twice at a time: there are at most two readings in memory, and none takes the place of a newer one.
    ///
    /// The first look is waited for as long as `patience`, and to its end if `is_sure` says by then that it has one.
    pub(super) fn start(
        patience: Duration,
        is_sure: impl Fn() -> bool,
        mut look: impl FnMut(Option<&Arc<T>>) -> Result<Arc<T>, E> + Send + 'static,
    ) -> Result<Self, NotStarted<E>> {
        let (give_first, first) = channel();
        let (give_shared, shared) = channel::<Arc<Shared<T, E>>>();
        let work = move || {
            let begun = Instant::now();
            let first = look(None).map(|good| View { good, error: None, begun });
            // Nobody may be there any more: it took too long.
            let Ok(()) = give_first.send(first) else { return };
            if let Ok(shared) = shared.recv() {
                shared.work(look);
            }
        };
        thread::Builder::new().name("accounts".to_owned()).spawn(work).map_err(NotStarted::Thread)?;
        let looked = match first.recv_timeout(patience) {
            Err(RecvTimeoutError::Timeout) if is_sure() => first.recv().ok(),
            looked => looked.ok(),
        };
        let latest = looked.ok_or(NotStarted::Late)?.map_err(NotStarted::Failed)?;
        let state = State { asked: 0, answered: 0, is_late: false, latest, closed: false };
        let reader = Self(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }));
        let _ = give_shared.send(Arc::clone(&reader.0));
        Ok(reader)
    }

    /// What a look came to that began after this was called; what an earlier one did, where that takes longer than
    /// `patience`, or than somebody else waited for it.
    pub(super) fn ask(&self, patience: Duration) -> View<T, E> {
        self.wait(patience, true)
    }

    /// As [`Reader::ask`], for as long as this `patience` lasts, whoever else waited in vain: after a change of one's own, which is to be seen.
    pub(super) fn ask_patiently(&self, patience: Duration) -> View<T, E> {
        self.wait(patience, false)
    }

    fn wait(&self, patience: Duration, with_others: bool) -> View<T, E> {
        let start = Instant::now();
        let mut state = self.0.lock();
        state.asked = state.asked.saturating_add(1);
        let question = state.asked;
        self.0.changed.notify_all();
        while state.answered < question && !(with_others && state.is_late) {
            let left = patience.saturating_sub(start.elapsed());
            if left.is_zero() {
                state.is_late |= with_others;
                break;
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.latest.clone()
    }

    /// What was last read.
    pub(super) fn latest(&self) -> Arc<T> {
        Arc::clone(&self.0.lock().latest.good)
    }
}

impl<T, E> Drop for Reader<T, E> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl<T, E> Clone for View<T, E> {
    fn clone(&self) -> Self {
        Self { good: Arc::clone(&self.good), error: self.error.clone(), begun: self.begun }
    }
}

impl<T, E> Shared<T, E> {
    fn lock(&self) -> MutexGuard<'_, State<T, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, mut look: impl FnMut(Option<&Arc<T>>) -> Result<Arc<T>, E>) {
        loop {
            let idle = |state: &mut State<T, E>| state.answered == state.asked && !state.closed;
            let waited = self.changed.wait_timeout_while(self.lock(), PERIOD, idle);
            let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if state.closed {
                return;
            }
            let (question, last, begun) = (state.asked, Arc::clone(&state.latest.good), Instant::now());
            drop(state);
            let looked = look(Some(&last));
            let mut state = self.lock();
            (state.answered, state.is_late, state.latest.begun) = (question, false, begun);
            // The last one is freed after the lock.
            let old = match looked {
                Ok(good) => {
                    state.latest.error = None;
                    Some(core::mem::replace(&mut state.latest.good, good))
                }
                Err(error) => {
                    state.latest.error = Some(Arc::new(error));
                    None
                }
            };
            drop(state);
            self.changed.notify_all();
            drop((old, last));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender};

    /// Longer than any test waits, and no time at all.
    const LONG: Duration = Duration::from_secs(120);

    type Read = Result<u32, u32>;

    /// A reader of the numbers that are sent to it. It says when a look begins.
    fn reader() -> (Reader<u32, u32>, Sender<Read>, Receiver<()>) {
        let (give, take) = channel::<Read>();
        let (begin, begun) = channel();
        give.send(Ok(0)).unwrap();
        let look = move |_: Option<&Arc<u32>>| {
            let _ = begin.send(());
            take.recv().unwrap_or(Err(u32::MAX)).map(Arc::new)
        };
        let Ok(reader) = Reader::start(LONG, || false, look) else { unreachable!() };
        begun.recv().unwrap();
        (reader, give, begun)
    }

    /// How late somebody hears of a change who watches the file and does not ask.
    #[test]
    fn where_nobody_asks_a_file_is_looked_at_each_second() {
        assert_eq!(PERIOD, Duration::from_secs(1));
    }

    #[test]
    fn an_answer_is_from_a_look_that_began_after_the_question() {
        let (reader, give, begun) = reader();
        thread::scope(|scope| {
            // A look by itself, or the first question's.
            let first = scope.spawn(|| *reader.ask(LONG).good);
            begun.recv().unwrap();
            let second = scope.spawn(|| *reader.ask(LONG).good);
            // It has asked when a second look is needed after this.
            while reader.0.lock().asked < 2 {
                thread::yield_now();
            }
            // Looks that began before both questions, perhaps, and some after.
            (1..=3).for_each(|number| give.send(Ok(number)).unwrap());
            let (first, second) = (first.join().unwrap(), second.join().unwrap());
            assert!(first >= 1 && second >= 2, "{first} {second}");
        });
        drop(give);
    }

    #[test]
    fn a_look_that_hangs_is_waited_for_once_and_the_last_answer_stands() {
        let (reader, give, begun) = reader();
        let view = reader.ask(Duration::from_millis(1));
        assert_eq!((*view.good, view.error), (0, None));
        begun.recv().unwrap();
        let before = Instant::now();
        // These would take for ever, did they wait.
        for _ in 0..100 {
            assert_eq!(*reader.ask(LONG).good, 0);
        }
        assert!(reader.ask(LONG).begun < before, "and it is known to be old");
        give.send(Ok(1)).unwrap();
        give.send(Err(7)).unwrap();
        while reader.0.lock().latest.error.is_none() {
            thread::yield_now();
        }
        let view = reader.ask(Duration::ZERO);
        assert_eq!((*view.good, view.error.as_deref()), (1, Some(&7)), "an error leaves what was read");
    }

    #[test]
    fn who_has_changed_something_waits_for_it_however_short_others_have_waited() {
        let (reader, give, begun) = reader();
        assert_eq!(*reader.ask_patiently(Duration::from_millis(1)).good, 0);
        assert!(!reader.0.lock().is_late, "that is no matter of others'");
        assert_eq!(*reader.ask(Duration::from_millis(1)).good, 0);
        begun.recv().unwrap();
        thread::scope(|scope| {
            let patient = scope.spawn(|| *reader.ask_patiently(LONG).good);
            while reader.0.lock().asked < 3 {
                thread::yield_now();
            }
            (1..=2).for_each(|number| give.send(Ok(number)).unwrap());
            assert_eq!(patient.join().unwrap(), 2, "the first look had begun before");
        });
        drop(give);
    }

    #[test]
    fn a_first_look_that_fails_or_hangs_gives_no_reader() {
        let failed = Reader::<u32, u32>::start(LONG, || false, |_| Err(7));
        assert!(matches!(failed, Err(NotStarted::Failed(7))));
        let (give, take) = channel::<()>();
        let late = Reader::<u32, u32>::start(Duration::ZERO, || false, move |_| Err(take.recv().map_or(1, |()| 2)));
        assert!(matches!(late, Err(NotStarted::Late)));
        drop(give);
        // One that is only slow is waited for.
        let (give, take) = channel::<u32>();
        let is_sure = || give.send(7).is_ok();
        let slow = Reader::<u32, u32>::start(Duration::ZERO, is_sure, move |_| Err(take.recv().unwrap_or(0)));
        assert!(matches!(slow, Err(NotStarted::Failed(7))));
    }
}
