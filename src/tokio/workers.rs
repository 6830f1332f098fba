//! Computing logins: a bounded number at once, on tokio's blocking threads, and a bounded queue before them.
//!
//! A thread that is done takes the next login from the queue itself. Were each login to wait for a permit instead, and ask
//! for a thread then, every handover would go through the scheduler, and cores would idle meanwhile.

use core::time::Duration;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The queue, and how many threads take from it.
pub(super) struct Workers {
    working: usize,
    waiting: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    /// Threads that take from the queue.
    threads: usize,
    /// Work that they do now.
    working: usize,
}

/// Work, and everything around it.
type Job = Box<dyn FnOnce() + Send>;

/// What became of work on its way to the queue.
enum Pushed {
    NoRoom,
    /// A thread is to be started for it.
    WithThread,
    Queued,
}

/// Whether the turn of some work has come in time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    InTime,
    TooLate,
}

impl Workers {
    /// At most `working` at once (at least 1), and `waiting` in the queue.
    pub(super) fn new(working: usize, waiting: usize) -> Self {
        Self { working: working.max(1), waiting, state: Mutex::default() }
    }

    /// Whether more work would be turned away now.
    pub(super) fn is_full(&self) -> bool {
        self.has_no_room(&self.lock())
    }

    fn has_no_room(&self, state: &State) -> bool {
        state.queue.len().saturating_add(state.working) >= self.working.saturating_add(self.waiting)
    }

    /// Does `work` on a blocking thread when its turn comes. If it does not come within `patience`, or there is no room in the
    /// queue, tells it so on this thread. Work that nobody waits for any more is not begun.
    ///
    /// `None` where the work panicked.
    pub(super) async fn run<R: Send + 'static>(
        self: &Arc<Self>,
        patience: Duration,
        work: impl FnOnce(Turn) -> R + Send + 'static,
    ) -> Option<R> {
        let (answer, mut answered) = oneshot::channel();
        // Whoever takes it out does it: the thread, or the one who lost patience.
        let ours = Arc::new(Mutex::new(Some(work)));
        let theirs = Arc::clone(&ours);
        let pushed = self.push(Box::new(move || {
            if !answer.is_closed()
                && let Some(work) = take(&theirs)
            {
                // Whoever asked may be gone by now.
                let _ = answer.send(work(Turn::InTime));
            }
        }));
        match pushed {
            Pushed::NoRoom => {}
            Pushed::WithThread => {
                let workers = Arc::clone(self);
                tokio::task::spawn_blocking(move || workers.drain());
                return answered.await.ok();
            }
            Pushed::Queued => {
                if let Ok(answer) = tokio::time::timeout(patience, &mut answered).await {
                    return answer.ok();
                }
            }
        }
        match take(&ours) {
            Some(work) => Some(work(Turn::TooLate)),
            // Begun at the last moment.
            None => answered.await.ok(),
        }
    }

    fn push(&self, job: Job) -> Pushed {
        let mut state = self.lock();
        if self.has_no_room(&state) {
            return Pushed::NoRoom;
        }
        state.queue.push_back(job);
        if state.threads >= self.working {
            return Pushed::Queued;
        }
        state.threads = state.threads.saturating_add(1);
        Pushed::WithThread
    }

    /// Works until the queue is empty.
    fn drain(&self) {
        while let Some(job) = self.next() {
            // A panic ends that work alone: its answer is dropped, which whoever waits for it sees.
            let _ = catch_unwind(AssertUnwindSafe(job));
            let mut state = self.lock();
            state.working = state.working.saturating_sub(1);
        }
    }

    /// The next work in the queue; `None` if there is none, and the thread no longer counts then.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        let job = state.queue.pop_front();
        match job {
            Some(_) => state.working = state.working.saturating_add(1),
            None => state.threads = state.threads.saturating_sub(1),
        }
        job
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take<W>(slot: &Mutex<Option<W>>) -> Option<W> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}
