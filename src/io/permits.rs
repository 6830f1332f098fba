//! Permits for work that is done elsewhere: by whoever has a remote key, and by a verifier that is asked from async code.
//!
//! It takes no thread of ours, and so nothing else bounds how much of it there is at once. Permits are handed out in the order
//! of the same [`Queue`](super::queue::Queue) as turns of the threads are.

use super::queue::{Origin, Progress};
use super::turns::{QueuePlace, Turns, WorkBounds};
use crate::terms::context::Source;
use core::future::Future;
use core::ops::Deref;
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_channel::oneshot;
use std::sync::Arc;

/// The permits, and the queue for them. A clone shares both.
#[derive(Clone)]
pub(super) struct Permits(Arc<Turns<Turn, ()>>);

/// Whoever waits for a permit is told here that there is one.
type Turn = oneshot::Sender<Permit>;

impl Permits {
    pub(super) fn new(bounds: WorkBounds) -> Self {
        Self(Turns::new(bounds, ()))
    }

    /// Others from now on. Permits that are held stay good.
    pub(super) fn set_bounds(&self, bounds: WorkBounds) {
        self.lock().bounds = bounds;
        self.hand_out();
    }

    /// Queues for a permit, unless the [`AwaitedPermit`] is dropped before there is one.
    pub(super) fn ask(&self, of: (&Source, Origin), progress: Progress) -> AwaitedPermit {
        let (turn, answered) = oneshot::channel();
        let (place, shed) = self.0.push(&mut self.lock(), of, progress, turn);
        drop(shed);
        self.hand_out();
        AwaitedPermit { _place: place, answered }
    }

    /// How many wait for one.
    pub(super) fn waiting(&self) -> usize {
        self.lock().queue.len()
    }

    /// A login of this source was refused: its next ones wait behind those of others.
    pub(super) fn note_refused(&self, source: &Source) {
        self.lock().queue.note_refused(source, self.now());
    }

    /// Gives the permits that there are to those who are next.
    fn hand_out(&self) {
        let mut late = Vec::new();
        loop {
            let mut state = self.lock();
            let bounds = state.bounds;
            let is_free = state.held < bounds.at_once.max(1);
            let next = if is_free { state.queue.pop(self.now(), bounds.patience, &mut late) } else { None };
            state.held = state.held.saturating_add(usize::from(next.is_some()));
            drop(state);
            // Each of them is told so, and its login refused.
            late.clear();
            let Some(next) = next else { return };
            if let Err(mut unwanted) = next.send(Permit(Some(self.clone()))) {
                // Whoever asked has just left. Not by its drop, which would come back to here.
                unwanted.0 = None;
                self.give_back();
            }
        }
    }
}

impl Deref for Permits {
    type Target = Turns<Turn, ()>;

    fn deref(&self) -> &Turns<Turn, ()> {
        &self.0
    }
}

/// Leave to have something done elsewhere; dropping it, even in a panic, gives it to the next.
pub(super) struct Permit(Option<Permits>);

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(permits) = self.0.take() {
            permits.give_back();
            permits.hand_out();
        }
    }
}

/// Somebody who waits for a permit. It comes to `None` where others came first.
pub(super) struct AwaitedPermit {
    _place: QueuePlace<Turn, ()>,
    answered: oneshot::Receiver<Permit>,
}

impl Future for AwaitedPermit {
    type Output = Option<Permit>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Permit>> {
        Pin::new(&mut self.answered).poll(task).map(Result::ok)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use core::time::Duration;
    use futures_channel::oneshot::Canceled;

    const LONG: Duration = Duration::from_secs(3600);

    fn start(at_once: usize, waiting: usize, patience: Duration) -> Permits {
        Permits::new(WorkBounds { at_once, waiting, patience })
    }

    fn source(name: &str) -> Source {
        Source::named(name)
    }

    fn now(asking: &mut AwaitedPermit) -> Result<Option<Permit>, Canceled> {
        asking.answered.try_recv()
    }

    #[test]
    fn there_are_so_many_and_each_is_given_back() {
        let permits = start(2, 2, LONG);
        let mut asking: Vec<_> = (0..4).map(|_| permits.ask((&source("one"), Origin::New), Progress::Fresh)).collect();
        let first = now(&mut asking[0]).unwrap().unwrap();
        let second = now(&mut asking[1]).unwrap().unwrap();
        assert!(now(&mut asking[2]).unwrap().is_none());
        drop(first);
        let third = now(&mut asking[2]).unwrap().unwrap();
        assert!(now(&mut asking[3]).unwrap().is_none());
        // One that was given and not taken goes to the next, too.
        drop((second, third));
        drop(asking);
        let state = permits.lock();
        assert_eq!((state.held, state.queue.len()), (0, 0));
    }

    #[test]
    fn those_who_are_too_many_are_shed_and_those_who_leave_hold_nothing() {
        let permits = start(1, 2, LONG);
        let mut first = permits.ask((&source("many"), Origin::New), Progress::Fresh);
        let held = now(&mut first).unwrap().unwrap();
        let mut waiting: Vec<_> =
            (0..2).map(|_| permits.ask((&source("many"), Origin::New), Progress::Fresh)).collect();
        let mut good = permits.ask((&source("good"), Origin::New), Progress::Fresh);
        assert!(now(&mut waiting[0]).is_err(), "the oldest of the most");
        assert!(now(&mut waiting[1]).unwrap().is_none() && now(&mut good).unwrap().is_none());
        drop(waiting);
        permits.note_refused(&source("many"));
        let mut again = permits.ask((&source("many"), Origin::New), Progress::Fresh);
        drop(held);
        let held = now(&mut good).unwrap().unwrap();
        assert!(now(&mut again).unwrap().is_none());
        drop(held);
        assert!(now(&mut again).unwrap().is_some());
        assert_eq!(permits.lock().held, 0);
    }

    #[test]
    fn permits_that_are_added_go_to_those_who_wait() {
        let permits = start(1, 2, LONG);
        let mut first = permits.ask((&source("one"), Origin::New), Progress::Fresh);
        let held = now(&mut first).unwrap();
        let mut second = permits.ask((&source("two"), Origin::New), Progress::Fresh);
        assert!(now(&mut second).unwrap().is_none());
        permits.set_bounds(WorkBounds { at_once: 2, waiting: 2, patience: LONG });
        assert!(now(&mut second).unwrap().is_some());
        drop(held);
    }

    #[test]
    fn the_wait_is_that_of_whoever_waits_and_none_where_nobody_does() {
        let permits = start(1, 2, LONG);
        let mut first = permits.ask((&source("one"), Origin::New), Progress::Fresh);
        let held = now(&mut first).unwrap();
        assert_eq!(permits.wait(), Duration::ZERO);
        let second = permits.ask((&source("two"), Origin::New), Progress::Fresh);
        let asked = permits.now();
        while permits.now() <= asked {
            std::hint::spin_loop();
        }
        assert!(permits.wait() > Duration::ZERO);
        drop(second);
        assert_eq!(permits.wait(), Duration::ZERO);
        drop(held);
    }

    #[test]
    fn nobody_gets_one_after_its_patience() {
        let permits = start(1, 2, Duration::from_millis(200));
        let mut first = permits.ask((&source("one"), Origin::New), Progress::Fresh);
        let held = now(&mut first).unwrap();
        let mut late = permits.ask((&source("one"), Origin::New), Progress::Fresh);
        std::thread::sleep(Duration::from_millis(250));
        drop(held);
        assert!(now(&mut late).is_err());
        assert_eq!(permits.lock().held, 0);
    }
}
