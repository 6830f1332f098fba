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
pub(crate) struct Workers {
    working: usize,
    waiting: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    next: u64,
    /// Threads that take from the queue, or are about to.
    threads: usize,
    /// Work that they do now.
    working: usize,
}

struct Job {
    id: u64,
    work: Box<dyn FnOnce(&Workers) + Send>,
}

/// How long work may wait.
#[derive(Clone, Copy)]
pub(crate) struct Waits {
    /// For its turn, in the queue.
    pub(crate) queued: Duration,
    /// For a thread to start, if it need not queue.
    pub(crate) starting: Duration,
}

/// Whether the turn of some work has come in time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    InTime,
    TooLate,
}

impl Workers {
    /// At most `working` at once (at least 1), and `waiting` in the queue.
    pub(crate) fn new(working: usize, waiting: usize) -> Self {
        Self { working: working.max(1), waiting, state: Mutex::default() }
    }

    /// Whether more work would be turned away now.
    pub(crate) fn is_full(&self) -> bool {
        self.has_no_room(&self.lock())
    }

    /// Does `work` on a blocking thread when its turn comes. If it does not come in time, or there is no room in the queue,
    /// tells it so on this thread. Work that nobody waits for any more is not begun, and leaves the queue.
    ///
    /// `None` where the work panicked.
    pub(crate) async fn run<R: Send + 'static>(
        self: &Arc<Self>,
        waits: Waits,
        work: impl FnOnce(Turn) -> R + Send + 'static,
    ) -> Option<R> {
        let (answer, mut answered) = oneshot::channel();
        // Whoever takes it out does it: the thread, or the one who lost patience.
        let ours = Arc::new(Mutex::new(Some(work)));
        let theirs = Arc::clone(&ours);
        let pushed = self.push(Box::new(move |workers| {
            let result = take(&theirs).map(|work| catch_unwind(AssertUnwindSafe(|| work(Turn::InTime))));
            // Before the answer: whoever has it may come with the next login at once.
            workers.done();
            if let Some(Ok(result)) = result {
                // Whoever asked may be gone by now.
                let _ = answer.send(result);
            }
        }));
        if let Some((id, thread)) = pushed {
            let _queued = Queued { workers: self, id };
            let wait = if thread.is_some() { waits.starting } else { waits.queued };
            let started = thread.is_none_or(Thread::start);
            if started && let Ok(answer) = tokio::time::timeout(wait, &mut answered).await {
                return answer.ok();
            }
        }
        match take(&ours) {
            Some(work) => Some(work(Turn::TooLate)),
            // Begun at the last moment.
            None => answered.await.ok(),
        }
    }

    /// Queues a job, and gives its name, and the thread to start if it needs one. `None` where there is no room.
    fn push(self: &Arc<Self>, work: Box<dyn FnOnce(&Self) + Send>) -> Option<(u64, Option<Thread>)> {
        let mut state = self.lock();
        if self.has_no_room(&state) {
            return None;
        }
        let id = state.next;
        state.next = id.wrapping_add(1);
        state.queue.push_back(Job { id, work });
        let thread = (state.threads < self.working).then(|| {
            state.threads = state.threads.saturating_add(1);
            Thread { workers: Arc::clone(self), counts: true }
        });
        Some((id, thread))
    }

    /// The next job; `None` if there is none.
    fn next(&self, thread: &mut Thread) -> Option<Job> {
        let mut state = self.lock();
        let job = state.queue.pop_front();
        match job {
            Some(_) => state.working = state.working.saturating_add(1),
            None => {
                // Under the same lock, so that whoever queues a job next knows that it needs a thread.
                state.threads = state.threads.saturating_sub(1);
                thread.counts = false;
            }
        }
        job
    }

    fn done(&self) {
        let mut state = self.lock();
        state.working = state.working.saturating_sub(1);
    }

    fn has_no_room(&self, state: &State) -> bool {
        state.queue.len().saturating_add(state.working) >= self.working.saturating_add(self.waiting)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that takes from the queue. It counts until it ends, or until it turns out that it will never begin.
struct Thread {
    workers: Arc<Workers>,
    counts: bool,
}

impl Thread {
    /// False where the system has no thread to give.
    fn start(self) -> bool {
        // tokio panics then.
        catch_unwind(AssertUnwindSafe(|| tokio::task::spawn_blocking(move || self.run()))).is_ok()
    }

    /// Works until the queue is empty.
    fn run(mut self) {
        let workers = Arc::clone(&self.workers);
        while let Some(job) = workers.next(&mut self) {
            (job.work)(&workers);
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if self.counts {
            let mut state = self.workers.lock();
            state.threads = state.threads.saturating_sub(1);
        }
    }
}

/// A job in the queue, for as long as somebody waits for it.
struct Queued<'a> {
    workers: &'a Workers,
    id: u64,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let job = {
            let mut state = self.workers.lock();
            let at = state.queue.iter().position(|job| job.id == self.id);
            at.and_then(|at| state.queue.remove(at))
        };
        // Not under the lock: it holds a login.
        drop(job);
    }
}

fn take<W>(slot: &Mutex<Option<W>>) -> Option<W> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}
