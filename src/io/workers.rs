//! The threads that compute logins: as many as may compute at once, and a bounded queue before them.
//!
//! Each may take as much memory as a password hash does. A thread that is done takes the next login from the queue itself; one
//! that has had nothing to do for a while ends.

use super::queue::{IN_A_ROW, Origin, Progress, Queue};
use super::turns::{self, QueuePlace, Turns, WorkBounds};
use crate::terms::context::Source;
use core::future::Future;
use core::ops::Deref;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use futures_channel::oneshot;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The queue, and the threads that take from it. A clone shares both.
#[derive(Clone)]
pub(super) struct Workers {
    turns: Arc<Turns<Job, Threads>>,
    changed: Arc<Condvar>,
    /// How long a thread without work lives.
    idle: Duration,
}

type Job = Box<dyn FnOnce(&Workers) + Send>;

type State = turns::State<Job, Threads>;

/// The threads, and what comes before the queue.
pub(super) struct Threads {
    /// The rest of logins that have begun: they come first, in the same order among themselves, and none is shed.
    begun: Queue<Job>,
    /// How many of known sources were taken from the queue since, while the rest of new ones' logins waited.
    overtaken: u32,
    count: usize,
    /// Threads that wait for a job.
    idle: usize,
}

const IDLE: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 10_000 });

impl State {
    /// How many wait to be done.
    fn jobs(&self) -> usize {
        self.queue.len().saturating_add(self.rest.begun.len())
    }
}

impl Workers {
    pub(super) fn new(bounds: WorkBounds) -> Self {
        Self::idling_for(IDLE, bounds)
    }

    fn idling_for(idle: Duration, bounds: WorkBounds) -> Self {
        let threads = Threads { begun: Queue::new(), overtaken: 0, count: 0, idle: 0 };
        Self { turns: Turns::new(bounds, threads), changed: Arc::default(), idle }
    }

    /// Others from now on. Threads over a lower bound end when they are done with what they do; under a higher one others begin with what
    /// waits already.
    pub(super) fn set_bounds(&self, bounds: WorkBounds) {
        let mut state = self.lock();
        state.bounds = bounds;
        let missing = state.jobs().min(bounds.at_once.saturating_sub(state.rest.count));
        drop(state);
        (0..missing).for_each(|_| self.wake(self.lock()));
    }

    /// Queues `work` on `item`. It is begun when its turn comes, unless the [`Queued`] is dropped before.
    pub(super) fn queue<T, R>(
        &self,
        of: (&Source, Origin),
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
            workers.give_back();
            if let Some(Ok(done)) = done {
                // Whoever asked may be gone by now.
                drop(answer.send(done));
            }
        });
        let mut state = self.lock();
        let (place, shed) = self.turns.push(&mut state, of, progress, job);
        self.wake(state);
        drop(shed);
        Queued { _place: place, item, answered }
    }

    /// How many wait for a thread.
    pub(super) fn waiting(&self) -> usize {
        self.lock().jobs()
    }

    /// As [`Queue::was_refused`].
    pub(super) fn was_refused(&self, source: &Source) -> bool {
        self.lock().queue.was_refused(source, self.now())
    }

    /// A login of this source was computed and refused: its next ones wait behind those of others.
    pub(super) fn note_refused(&self, source: &Source) {
        let (mut state, now) = (self.lock(), self.now());
        state.queue.note_refused(source, now);
        state.rest.begun.note_refused(source, now);
    }

    /// Does `work` for a login that has begun; false where there is no room.
    pub(super) fn submit(&self, of: (&Source, Origin), work: Box<dyn FnOnce() + Send>) -> bool {
        let mut state = self.lock();
        // Those who ask have logins in the queue's bounds behind them; this is for stores that ask in numbers.
        let WorkBounds { at_once, waiting, .. } = state.bounds;
        if state.rest.begun.len() >= at_once.saturating_add(waiting) {
            return false;
        }
        let job: Job = Box::new(move |workers| {
            // A panic drops the channel, which tells whoever waits.
            drop(catch_unwind(AssertUnwindSafe(work)));
            workers.give_back();
        });
        state.rest.begun.push(of, Progress::Begun, self.now(), job);
        self.wake(state);
        true
    }

    /// Sees to it that some thread looks at the queue.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        // One that was woken for an earlier job counts as idle until it has it.
        if state.rest.idle >= state.jobs() {
            drop(state);
            self.changed.notify_one();
        } else if state.rest.count < state.bounds.at_once.max(1) {
            state.rest.count = state.rest.count.saturating_add(1);
            drop(state);
            let workers = self.clone();
            let started = std::thread::Builder::new().name("countersign".to_owned()).spawn(move || workers.work());
            if started.is_err() {
                // The system has no thread to give. What is queued is shed in time, or a later login finds one.
                let mut state = self.lock();
                state.rest.count = state.rest.count.saturating_sub(1);
            }
        }
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            job(self);
        }
    }

    /// The next job; `None` once there has been none for a while.
    fn next(&self) -> Option<Job> {
        let mut late = Vec::new();
        let mut state = self.lock();
        loop {
            let bounds = state.bounds;
            if state.rest.count > bounds.at_once.max(1) {
                state.rest.count = state.rest.count.saturating_sub(1);
                // It may have been woken for a job, which somebody else has to take then.
                self.changed.notify_one();
                return None;
            }
            let now = self.now();
            // A login that a flood brought as far as its password hash does not hold up those who are known, who come seldom: not for long.
            let overtakes =
                state.rest.overtaken < IN_A_ROW && state.queue.has_known(now) && !state.rest.begun.has_known(now);
            let job = if overtakes { None } else { state.rest.begun.pop(now, Duration::MAX, &mut late) };
            state.rest.overtaken = if overtakes { state.rest.overtaken.saturating_add(1) } else { 0 };
            let job = job.or_else(|| state.queue.pop(now, bounds.patience, &mut late));
            if job.is_some() || !late.is_empty() {
                state.held = state.held.saturating_add(usize::from(job.is_some()));
                drop(state);
                // Each of them is told so, and its login refused.
                late.clear();
                if job.is_some() {
                    return job;
                }
                state = self.lock();
                continue;
            }
            state.rest.idle = state.rest.idle.saturating_add(1);
            let waited = self.changed.wait_timeout_while(state, self.idle, |state| state.jobs() == 0);
            let (after, result) = waited.unwrap_or_else(PoisonError::into_inner);
            state = after;
            state.rest.idle = state.rest.idle.saturating_sub(1);
            if result.timed_out() {
                // Under the same lock, so that whoever queues a job next knows that it needs a thread.
                state.rest.count = state.rest.count.saturating_sub(1);
                return None;
            }
        }
    }
}

impl Deref for Workers {
    type Target = Turns<Job, Threads>;

    fn deref(&self) -> &Turns<Job, Threads> {
        &self.turns
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
    _place: QueuePlace<Job, Threads>,
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

fn take<W>(slot: &Mutex<Option<W>>) -> Option<W> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic)]
mod tests;
