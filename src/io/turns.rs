//! Turns to have something done: the queue for them, and its bounds and clock. [`Workers`](super::workers::Workers) do it on threads of
//! ours; for what is done elsewhere there are [`Permits`](super::permits::Permits).

use super::queue::{Origin, Progress, Queue};
use crate::terms::context::Source;
use crate::time::Moment;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How much may be done at once, and wait for that.
#[derive(Clone, Copy)]
pub(super) struct WorkBounds {
    /// At most this many at once, at least 1.
    pub(super) at_once: usize,
    /// And this many in the queue,
    pub(super) waiting: usize,
    /// each for no longer than this.
    pub(super) patience: Duration,
}

/// The queue of jobs `J`, and the rest, `R`, that is under its lock.
pub(super) struct Turns<J, R> {
    start: Instant,
    state: Mutex<State<J, R>>,
}

pub(super) struct State<J, R> {
    pub(super) bounds: WorkBounds,
    pub(super) queue: Queue<J>,
    /// Those whose turn it is.
    pub(super) held: usize,
    pub(super) rest: R,
}

impl<J, R> Turns<J, R> {
    pub(super) fn new(bounds: WorkBounds, rest: R) -> Arc<Self> {
        let state = State { bounds, queue: Queue::new(), held: 0, rest };
        Arc::new(Self { start: Instant::now(), state: Mutex::new(state) })
    }

    /// Queues a job, and gives its place. Another one is shed for it where there are too many: a login is in it, and so it is to be
    /// dropped without the lock.
    pub(super) fn push(
        self: &Arc<Self>,
        state: &mut State<J, R>,
        (source, origin): (&Source, Origin),
        progress: Progress,
        job: J,
    ) -> (QueuePlace<J, R>, Option<J>) {
        let now = self.now();
        let id = state.queue.push((source, origin), progress, now, job);
        let WorkBounds { at_once, waiting, .. } = state.bounds;
        let is_full = state.queue.len().saturating_add(state.held) > at_once.saturating_add(waiting);
        let shed = if is_full { state.queue.shed(now) } else { None };
        (QueuePlace { turns: Arc::clone(self), source: source.clone(), id }, shed)
    }

    /// Whether a login of this source would wait behind some that have waited for half of the patience already.
    pub(super) fn is_pressed(&self, of: (&Source, Origin)) -> bool {
        let state = self.lock();
        state.queue.is_pressed(of, self.now(), state.bounds.patience)
    }

    /// As [`Queue::wait`].
    pub(super) fn wait(&self) -> Duration {
        self.lock().queue.wait(self.now())
    }

    pub(super) fn patience(&self) -> Duration {
        self.lock().bounds.patience
    }

    /// One whose turn it was is done.
    pub(super) fn give_back(&self) {
        let mut state = self.lock();
        state.held = state.held.saturating_sub(1);
    }

    pub(super) fn now(&self) -> Moment {
        Moment::after_origin(self.start.elapsed())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<J, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue, for as long as somebody waits in it.
pub(super) struct QueuePlace<J, R> {
    turns: Arc<Turns<J, R>>,
    source: Source,
    id: u64,
}

impl<J, R> Drop for QueuePlace<J, R> {
    fn drop(&mut self) {
        let job = self.turns.lock().queue.remove(&self.source, self.id);
        // Not under the lock: it may hold a login.
        drop(job);
    }
}
