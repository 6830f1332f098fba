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
mod tests {
    use super::*;
    use crate::io::drive::block_on;
    use std::sync::mpsc::{Sender, channel};

    fn start(at_once: usize, waiting: usize, patience: Duration) -> Workers {
        Workers::new(WorkBounds { at_once, waiting, patience })
    }

    fn source() -> Source {
        Source::named("test")
    }

    /// Has a thread at work until it is told to go on.
    fn occupy(workers: &Workers) -> Sender<()> {
        let ((go, wait), (started, starts)) = (channel::<()>(), channel());
        let work = move || {
            started.send(()).unwrap();
            wait.recv().unwrap();
        };
        assert!(workers.submit((&source(), Origin::New), Box::new(work)));
        starts.recv().unwrap();
        go
    }

    fn eventually(mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn work_is_done_on_another_thread_and_a_panic_is_told() {
        let workers = start(1, 1, Duration::from_secs(60));
        let here = std::thread::current().id();
        let there =
            block_on(workers.queue((&source(), Origin::New), Progress::Fresh, (), |()| std::thread::current().id()));
        assert!(matches!(there, Done::Answer(id) if id != here));
        assert_eq!(
            block_on(workers.queue((&source(), Origin::New), Progress::Fresh, (), |()| -> u8 { panic!("on purpose") })),
            Done::Panicked
        );
        assert_eq!(block_on(workers.queue((&source(), Origin::New), Progress::Fresh, 7, |item| item)), Done::Answer(7));
    }

    #[test]
    fn what_is_over_the_bound_is_shed_and_what_is_dropped_is_not_begun() {
        let workers = start(1, 2, Duration::from_secs(60));
        let (go, wait) = channel::<()>();
        let (started, starts) = channel();
        let first = workers.queue((&source(), Origin::New), Progress::Fresh, (), move |()| {
            started.send(()).unwrap();
            wait.recv().unwrap();
            1
        });
        starts.recv().unwrap();
        let second = workers.queue((&source(), Origin::New), Progress::Fresh, 2, |item| item);
        let third = workers.queue((&source(), Origin::New), Progress::Fresh, 3, |item| item);
        // The oldest goes.
        let fourth = workers.queue((&source(), Origin::New), Progress::Fresh, 4, |item| item);
        assert_eq!(block_on(second), Done::Shed);
        drop(third);
        let (ran, runs) = channel();
        // Logins that have begun come first.
        assert!(workers.submit((&source(), Origin::New), Box::new(move || ran.send(()).unwrap())));
        let fifth = workers.queue((&source(), Origin::New), Progress::Fresh, (), move |()| runs.try_recv().is_ok());
        go.send(()).unwrap();
        assert_eq!(
            (block_on(first), block_on(fourth), block_on(fifth)),
            (Done::Answer(1), Done::Answer(4), Done::Answer(true))
        );
    }

    #[test]
    fn as_many_work_at_once_as_may_even_where_one_was_idle() {
        for _ in 0..20 {
            let workers = start(2, 10, Duration::from_secs(60));
            assert_eq!(
                block_on(workers.queue((&source(), Origin::New), Progress::Fresh, 1, |item| item)),
                Done::Answer(1)
            );
            while workers.lock().idle == 0 {
                std::thread::yield_now();
            }
            // Each of two waits for the other.
            let ((to_second, from_first), (to_first, from_second)) = (channel(), channel());
            let meet = Duration::from_secs(20);
            let first = workers.queue((&source(), Origin::New), Progress::Fresh, (), move |()| {
                to_second.send(()).unwrap();
                from_second.recv_timeout(meet).is_ok()
            });
            let second = workers.queue((&source(), Origin::New), Progress::Fresh, (), move |()| {
                to_first.send(()).unwrap();
                from_first.recv_timeout(meet).is_ok()
            });
            assert_eq!((block_on(first), block_on(second)), (Done::Answer(true), Done::Answer(true)));
        }
    }

    #[test]
    fn a_thread_without_work_ends_and_the_next_login_has_another() {
        let workers = start(1, 1, Duration::from_secs(60));
        for number in 0..3 {
            let login = workers.queue((&source(), Origin::New), Progress::Fresh, number, |item| item);
            assert_eq!(block_on(login), Done::Answer(number));
            eventually(|| workers.lock().threads == 0);
        }
    }

    #[test]
    fn a_thread_over_a_lower_bound_ends_and_takes_nothing_more() {
        let workers = start(2, 10, Duration::from_secs(60));
        let (started, starts) = channel();
        let occupied = [(); 2].map(|()| {
            let ((go, wait), started) = (channel::<()>(), started.clone());
            let work = move |()| {
                started.send(()).unwrap();
                wait.recv().unwrap();
            };
            (go, workers.queue((&source(), Origin::New), Progress::Fresh, (), work))
        });
        assert_eq!(starts.iter().take(2).count(), 2);
        workers.set_bounds(WorkBounds { at_once: 1, waiting: 10, patience: Duration::from_secs(60) });
        let next = workers.queue((&source(), Origin::New), Progress::Fresh, 3, |item| item);
        let [(go, first), (go_on, second)] = occupied;
        go.send(()).unwrap();
        assert_eq!(block_on(first), Done::Answer(()));
        eventually(|| workers.lock().threads == 1);
        assert!(!next.is_begun(), "the other one is at work");
        go_on.send(()).unwrap();
        assert_eq!((block_on(second), block_on(next)), (Done::Answer(()), Done::Answer(3)));
    }

    #[test]
    fn a_job_that_wakes_a_thread_over_a_lower_bound_is_taken_by_another_at_once() {
        // Nobody looks at the queue without having been woken.
        let workers = Workers::idling_for(
            Duration::from_secs(3600),
            WorkBounds { at_once: 4, waiting: 10, patience: Duration::from_secs(60) },
        );
        [(); 4].map(|()| occupy(&workers)).into_iter().for_each(|go| go.send(()).unwrap());
        eventually(|| workers.lock().idle == 4);
        workers.set_bounds(WorkBounds { at_once: 1, waiting: 10, patience: Duration::from_secs(60) });
        let (done, runs) = channel();
        assert!(workers.submit((&source(), Origin::New), Box::new(move || done.send(()).unwrap())));
        assert_eq!(runs.recv_timeout(Duration::from_secs(60)), Ok(()), "nobody took it");
        eventually(|| workers.lock().threads == 1);
    }

    #[test]
    fn under_a_higher_bound_what_waits_already_is_begun() {
        let workers = start(1, 10, Duration::from_secs(60));
        let go = occupy(&workers);
        // Each of them keeps a thread.
        let (started, starts) = channel();
        let waiting = [(); 3].map(|()| {
            let ((go, wait), started) = (channel::<()>(), started.clone());
            let work = move || {
                let _ = started.send(());
                let _ = wait.recv();
            };
            assert!(workers.submit((&source(), Origin::New), Box::new(work)));
            go
        });
        assert_eq!(workers.lock().threads, 1);
        workers.set_bounds(WorkBounds { at_once: 3, waiting: 10, patience: Duration::from_secs(60) });
        for _ in 0..2 {
            assert_eq!(starts.recv_timeout(Duration::from_secs(60)), Ok(()), "nobody began it");
        }
        let state = workers.lock();
        assert_eq!((state.threads, state.jobs()), (3, 1), "and no more than may be");
        drop(state);
        go.send(()).unwrap();
        drop(waiting);
    }

    #[test]
    fn what_new_sources_have_begun_waits_for_so_many_known_ones_in_a_row_and_no_more() {
        let workers = start(1, 100, Duration::from_secs(60));
        let go = occupy(&workers);
        let (done, order) = channel();
        let told = |what: &'static str| {
            let done = done.clone();
            move || done.send(what).unwrap()
        };
        assert!(workers.submit((&Source::named("new"), Origin::New), Box::new(told("new"))));
        let _known: Vec<_> = (0..20)
            .map(|number| {
                let known = Source::named(&format!("known {number}"));
                let tell = told("known");
                workers.queue((&known, Origin::Known), Progress::Fresh, (), move |()| tell())
            })
            .collect();
        go.send(()).unwrap();
        let order: Vec<_> = order.iter().take(21).collect();
        assert_eq!(order.iter().position(|what| *what == "new"), Some(IN_A_ROW as usize), "{order:?}");
    }

    #[test]
    fn what_a_source_has_begun_waits_behind_that_of_others_if_its_logins_were_refused() {
        let workers = start(1, 100, Duration::from_secs(60));
        let go = occupy(&workers);
        let (done, order) = channel();
        (0..4).for_each(|_| workers.note_refused(&Source::named("junk")));
        let names = std::iter::once("junk".to_owned()).chain((0..30).map(|number| format!("good {number}")));
        for name in names {
            let (from, done) = (Source::named(&name), done.clone());
            assert!(workers.submit((&from, Origin::New), Box::new(move || done.send(name).unwrap())));
        }
        go.send(()).unwrap();
        let order: Vec<_> = order.iter().take(31).collect();
        assert_eq!(order.last().map(String::as_str), Some("junk"), "{order:?}");
    }

    #[test]
    fn bounds_that_change_hold_for_those_who_are_there() {
        let workers = start(1, 0, Duration::from_secs(60));
        let (go, wait) = channel::<()>();
        let (started, starts) = channel();
        let first = workers.queue((&source(), Origin::New), Progress::Fresh, (), move |()| {
            started.send(()).unwrap();
            wait.recv().unwrap();
        });
        starts.recv().unwrap();
        assert_eq!(block_on(workers.queue((&source(), Origin::New), Progress::Fresh, 2, |item| item)), Done::Shed);
        // Another one may work beside it now.
        workers.set_bounds(WorkBounds { at_once: 2, waiting: 0, patience: Duration::from_secs(60) });
        assert_eq!(block_on(workers.queue((&source(), Origin::New), Progress::Fresh, 3, |item| item)), Done::Answer(3));
        workers.set_bounds(WorkBounds { at_once: 1, waiting: 1, patience: Duration::from_secs(60) });
        go.send(()).unwrap();
        assert_eq!(block_on(first), Done::Answer(()));
        assert_eq!(block_on(workers.queue((&source(), Origin::New), Progress::Fresh, 4, |item| item)), Done::Answer(4));
    }

    #[test]
    fn a_known_source_waits_for_no_hash_of_a_flood_but_for_the_one_that_is_computed() {
        let workers = start(1, 100, Duration::from_secs(60));
        let go = occupy(&workers);
        let (done, order) = channel();
        let done = move |what: &'static str| {
            let done = done.clone();
            move || done.send(what).unwrap()
        };
        let new = source();
        let known = Source::named("known");
        for _ in 0..4 {
            workers.submit((&new, Origin::New), Box::new(done("a hash of the flood")));
        }
        let hello = done("a known hello");
        let hello = workers.queue((&known, Origin::Known), Progress::Fresh, (), move |()| hello());
        workers.submit((&known, Origin::Known), Box::new(done("a known hash")));
        go.send(()).unwrap();
        assert_eq!(block_on(hello), Done::Answer(()));
        let order: Vec<_> = order.iter().take(6).collect();
        assert_eq!(order[..3], ["a known hash", "a known hello", "a hash of the flood"]);
    }

    #[test]
    fn of_the_work_of_logins_that_have_begun_no_more_waits_than_may() {
        let workers = start(1, 2, Duration::from_secs(60));
        let go = occupy(&workers);
        let (ran, runs) = channel();
        let submit = || {
            let ran = ran.clone();
            workers.submit((&source(), Origin::New), Box::new(move || ran.send(()).unwrap()))
        };
        // As many as may be computed at once, and as many as may wait for that.
        assert_eq!([(); 5].map(|()| submit()), [true, true, true, false, false]);
        go.send(()).unwrap();
        assert_eq!(runs.iter().take(3).count(), 3);
        assert!(submit());
        assert_eq!(runs.iter().take(1).count(), 1);
    }

    #[test]
    fn nobody_waits_longer_than_the_patience() {
        let workers = start(1, 10, Duration::ZERO);
        // Patience of zero: what is queued is taken before it is late only if a thread is quick, so it is not asked for.
        let go = occupy(&workers);
        let late = workers.queue((&source(), Origin::New), Progress::Fresh, 1, |item| item);
        go.send(()).unwrap();
        assert_eq!(block_on(late), Done::Shed);
        // Nothing works here, so it can be taken back.
        let idle = start(1, 1, Duration::from_secs(60));
        let (stop, stopped) = channel::<()>();
        let blocker = idle.queue((&source(), Origin::New), Progress::Fresh, stopped, |stopped| stopped.recv().is_ok());
        let second = idle.queue((&source(), Origin::New), Progress::Fresh, 2, |item| item);
        let back = second.take_back();
        drop(stop);
        assert_eq!(block_on(blocker), Done::Answer(false));
        assert!(back == Some(2) || (back.is_none() && block_on(second) == Done::Answer(2)));
    }
}
