//! The threads that compute logins: as many as may compute at once, and a bounded queue before them.
//!
//! Each may take as much memory as a password hash does. A thread that is done takes the next login from the queue itself; one
//! that has had nothing to do for a while ends.

use super::queue::{IN_A_ROW, Origin, Progress, Queue};
use crate::terms::context::Source;
use crate::time::Moment;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use futures_channel::oneshot;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

/// The queue, and the threads that take from it. A clone shares both.
#[derive(Clone)]
pub(super) struct Workers(Arc<Shared>);

struct Shared {
    bounds: RwLock<WorkBounds>,
    start: Instant,
    state: Mutex<State>,
    changed: Condvar,
    /// How long a thread without work lives.
    idle: Duration,
}

/// How much may be computed at once, and wait for that.
#[derive(Clone, Copy)]
pub(super) struct WorkBounds {
    /// At most this many at once, at least 1.
    pub(super) at_once: usize,
    /// And this many in the queue,
    pub(super) waiting: usize,
    /// each for no longer than this.
    pub(super) patience: Duration,
}

type Job = Box<dyn FnOnce(&Workers) + Send>;

struct State {
    queue: Queue<Job>,
    /// The rest of logins that have begun: they come first, in the same order among themselves, and none is shed.
    begun: Queue<Job>,
    /// How many of known sources were taken from the queue since, while the rest of new ones' logins waited.
    overtaken: u32,
    threads: usize,
    /// Threads that wait for a job.
    idle: usize,
    /// Jobs that are being done.
    working: usize,
}

const IDLE: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 10_000 });

impl State {
    /// How many wait to be done.
    fn jobs(&self) -> usize {
        self.queue.len().saturating_add(self.begun.len())
    }
}

impl Workers {
    pub(super) fn new(bounds: WorkBounds) -> Self {
        Self::idling_for(IDLE, bounds)
    }

    fn idling_for(idle: Duration, bounds: WorkBounds) -> Self {
        let state = State { queue: Queue::new(), begun: Queue::new(), overtaken: 0, threads: 0, idle: 0, working: 0 };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Self(Arc::new(Shared { bounds: RwLock::new(bounds), start: Instant::now(), state, changed, idle }))
    }

    /// Others from now on. Threads over a lower bound end when they are done with what they do; under a higher one others begin with what
    /// waits already.
    pub(super) fn set_bounds(&self, bounds: WorkBounds) {
        *self.0.bounds.write().unwrap_or_else(PoisonError::into_inner) = bounds;
        let state = self.lock();
        let missing = state.jobs().min(bounds.at_once.saturating_sub(state.threads));
        drop(state);
        (0..missing).for_each(|_| self.wake(self.lock()));
    }

    fn bounds(&self) -> WorkBounds {
        *self.0.bounds.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues `work` on `item`. It is begun when its turn comes, unless the [`Queued`] is dropped before.
    pub(super) fn queue<T, R>(
        &self,
        (source, origin): (&Source, Origin),
        progress: Progress,
        item: T,
        work: impl FnOnce(T) -> R + Send + 'static,
    ) -> Queued<T, R>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        // Whoever takes it out decides what becomes of it.
        let item = Arc::new(Mutex::new(Some(item)));
        let theirs = Arc::clone(&item);
        let job: Job = Box::new(move |workers| {
            let done = take(&theirs).map(|item| catch_unwind(AssertUnwindSafe(|| work(item))));
            // Before the answer: whoever has it may come with the next login at once.
            workers.done();
            if let Some(Ok(done)) = done {
                // Whoever asked may be gone by now.
                drop(answer.send(done));
            }
        });
        let now = self.now();
        let mut state = self.lock();
        let id = state.queue.push((source, origin), progress, now, job);
        let WorkBounds { at_once, waiting, .. } = self.bounds();
        let is_full = state.queue.len().saturating_add(state.working) > at_once.saturating_add(waiting);
        let shed = if is_full { state.queue.shed(now) } else { None };
        self.wake(state);
        // Not under the lock: it holds a login.
        drop(shed);
        Queued { workers: self.clone(), source: source.clone(), id, item, answered }
    }

    /// Whether a login of this source would wait behind some that have waited for half of the patience already.
    pub(super) fn is_pressed(&self, of: (&Source, Origin)) -> bool {
        let now = self.now();
        self.lock().queue.is_pressed(of, now, self.patience())
    }

    /// How many wait for a thread.
    pub(super) fn waiting(&self) -> usize {
        self.lock().jobs()
    }

    /// As [`Queue::wait`].
    pub(super) fn wait(&self) -> Duration {
        let now = self.now();
        self.lock().queue.wait(now)
    }

    pub(super) fn patience(&self) -> Duration {
        self.bounds().patience
    }

    /// As [`Queue::was_refused`].
    pub(super) fn was_refused(&self, source: &Source) -> bool {
        let now = self.now();
        self.lock().queue.was_refused(source, now)
    }

    /// A login of this source was computed and refused: its next ones wait behind those of others.
    pub(super) fn note_refused(&self, source: &Source) {
        let now = self.now();
        let mut state = self.lock();
        state.queue.note_refused(source, now);
        state.begun.note_refused(source, now);
    }

    /// Does `work` for a login that has begun; false where there is no room.
    pub(super) fn submit(&self, of: (&Source, Origin), work: Box<dyn FnOnce() + Send>) -> bool {
        let now = self.now();
        let mut state = self.lock();
        // Those who ask have logins in the queue's bounds behind them; this is for stores that ask in numbers.
        let WorkBounds { at_once, waiting, .. } = self.bounds();
        if state.begun.len() >= at_once.saturating_add(waiting) {
            return false;
        }
        let job: Job = Box::new(move |workers| {
            // A panic drops the channel, which tells whoever waits.
            drop(catch_unwind(AssertUnwindSafe(work)));
            workers.done();
        });
        state.begun.push(of, Progress::Begun, now, job);
        self.wake(state);
        true
    }

    fn now(&self) -> Moment {
        Moment::after_origin(self.0.start.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that some thread looks at the queue.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        // One that was woken for an earlier job counts as idle until it has it.
        if state.idle >= state.jobs() {
            drop(state);
            self.0.changed.notify_one();
        } else if state.threads < self.bounds().at_once.max(1) {
            state.threads = state.threads.saturating_add(1);
            drop(state);
            let workers = self.clone();
            let started = std::thread::Builder::new().name("countersign".to_owned()).spawn(move || workers.work());
            if started.is_err() {
                // The system has no thread to give. What is queued is shed in time, or a later login finds one.
                let mut state = self.lock();
                state.threads = state.threads.saturating_sub(1);
            }
        }
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            job(self);
        }
    }

    fn done(&self) {
        let mut state = self.lock();
        state.working = state.working.saturating_sub(1);
    }

    /// The next job; `None` once there has been none for a while.
    fn next(&self) -> Option<Job> {
        let mut late = Vec::new();
        let mut state = self.lock();
        loop {
            let bounds = self.bounds();
            if state.threads > bounds.at_once.max(1) {
                state.threads = state.threads.saturating_sub(1);
                // It may have been woken for a job, which somebody else has to take then.
                self.0.changed.notify_one();
                return None;
            }
            let now = self.now();
            // A login that a flood brought as far as its password hash does not hold up those who are known, who come seldom: not for long.
            let overtakes = state.overtaken < IN_A_ROW && state.queue.has_known(now) && !state.begun.has_known(now);
            let job = if overtakes { None } else { state.begun.pop(now, Duration::MAX, &mut late) };
            state.overtaken = if overtakes { state.overtaken.saturating_add(1) } else { 0 };
            let job = job.or_else(|| state.queue.pop(now, bounds.patience, &mut late));
            if job.is_some() || !late.is_empty() {
                state.working = state.working.saturating_add(usize::from(job.is_some()));
                drop(state);
                // Each of them is told so, and its login refused.
                late.clear();
                if job.is_some() {
                    return job;
                }
                state = self.lock();
                continue;
            }
            state.idle = state.idle.saturating_add(1);
            let waited = self.0.changed.wait_timeout_while(state, self.0.idle, |state| state.jobs() == 0);
            let (after, result) = waited.unwrap_or_else(PoisonError::into_inner);
            state = after;
            state.idle = state.idle.saturating_sub(1);
            if result.timed_out() {
                // Under the same lock, so that whoever queues a job next knows that it needs a thread.
                state.threads = state.threads.saturating_sub(1);
                return None;
            }
        }
    }
}

/// What became of queued work.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Done<R> {
    /// It was done.
    Answer(R),
    /// It was not begun: it had waited for too long, or others came first.
    Shed,
    /// It panicked.
    Panicked,
}

/// Work in the queue, for as long as somebody waits for it.
pub(super) struct Queued<T, R> {
    workers: Workers,
    source: Source,
    id: u64,
    item: Arc<Mutex<Option<T>>>,
    answered: oneshot::Receiver<R>,
}

impl<T, R> Queued<T, R> {
    /// Takes the item back if its work was not begun.
    pub(super) fn take_back(&self) -> Option<T> {
        take(&self.item)
    }

    /// Whether it was begun; it is then answered whatever becomes of the queue.
    pub(super) fn is_begun(&self) -> bool {
        self.item.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

impl<T, R> Future for Queued<T, R> {
    type Output = Done<R>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Done<R>> {
        let answered = Pin::new(&mut self.answered).poll(task);
        answered.map(|answer| match answer {
            Ok(answer) => Done::Answer(answer),
            Err(_) if self.is_begun() => Done::Panicked,
            Err(_) => Done::Shed,
        })
    }
}

impl<T, R> Drop for Queued<T, R> {
    fn drop(&mut self) {
        let job = self.workers.lock().queue.remove(&self.source, self.id);
        // Not under the lock: it holds a login.
        drop(job);
    }
}

fn take<W>(slot: &Mutex<Option<W>>) -> Option<W> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic)]
mod tests;
