//! Refusals of blocking streams that wait until they are due: one thread tells all of them.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Telling one peer that it was refused. Never blocks.
pub(super) type Pending = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The refusals that wait, by when something is to be done about them. A clone shares them.
#[derive(Clone, Default)]
pub(super) struct Refusals(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<(Instant, Reverse<u64>), Pending>,
    next: u64,
    has_thread: bool,
}

/// How often it is looked whether a peer that was told has hung up.
const TICK: Duration = Duration::from_millis(20);

/// How long the thread lives without a refusal.
const IDLE: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 10_000 });

impl Refusals {
    /// Leaves a refusal to the thread, which does nothing about it before it is `due`.
    pub(super) fn add(&self, due: Instant, pending: Pending) {
        let mut state = self.lock();
        state.add(due, pending);
        if state.has_thread {
            drop(state);
            self.0.changed.notify_one();
            return;
        }
        let refusals = self.clone();
        let thread = std::thread::Builder::new().name("countersign-refusals".to_owned()).spawn(move || refusals.run());
        // Where the system has no thread to give, the refusals wait for the next one that asks. Their peers can't tell that from
        // a server that is busy.
        state.has_thread = thread.is_ok();
    }

    fn run(&self) {
        let mut idle_since = Instant::now();
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let next = state.waiting.first_key_value().map(|(&(due, _), _)| due);
            match next {
                Some(due) if due <= now => {
                    let Some((_, pending)) = state.waiting.pop_first() else { continue };
                    drop(state);
                    let left = poll(pending);
                    state = self.lock();
                    if let Some(pending) = left {
                        let again = Instant::now();
                        state.add(again.checked_add(TICK).unwrap_or(again), pending);
                    }
                    idle_since = Instant::now();
                }
                None if idle_since.elapsed() >= IDLE => {
                    // Under the lock, so that whoever comes next knows that it needs a thread.
                    state.has_thread = false;
                    return;
                }
                next => {
                    let wait = next.map_or(IDLE, |due| due.saturating_duration_since(now));
                    let waited = self.0.changed.wait_timeout(state, wait);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, due: Instant, pending: Pending) {
        let id = self.next;
        self.next = id.wrapping_add(1);
        self.waiting.insert((due, Reverse(id)), pending);
    }
}

/// Goes on with a refusal; gives it back if it is not done. A transport of the application's that panics ends its own alone.
fn poll(mut pending: Pending) -> Option<Pending> {
    let mut task = Context::from_waker(Waker::noop());
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pending.as_mut().poll(&mut task)));
    matches!(polled, Ok(Poll::Pending)).then_some(pending)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};

    const LONG: Duration = Duration::from_secs(60);

    /// A refusal that says when it is told.
    fn refuse(refusals: &Refusals) -> Receiver<()> {
        let (tell, told) = channel();
        refusals.add(Instant::now(), Box::pin(async move { tell.send(()).unwrap() }));
        told
    }

    #[test]
    fn the_thread_ends_without_refusals_and_the_next_one_has_another() {
        let refusals = Refusals::default();
        for _ in 0..3 {
            refuse(&refusals).recv_timeout(LONG).unwrap();
            let start = Instant::now();
            while refusals.lock().has_thread {
                assert!(start.elapsed() < LONG);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn a_refusal_that_panics_ends_alone() {
        let refusals = Refusals::default();
        refusals.add(Instant::now(), Box::pin(async { panic!("on purpose") }));
        refuse(&refusals).recv_timeout(LONG).unwrap();
        assert_eq!(refusals.lock().waiting.len(), 0);
    }
}
