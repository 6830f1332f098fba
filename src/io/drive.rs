//! Driving a login's future on a thread of its own.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::Thread;

/// How often a future is polled that nothing has woken: what a blocking stream can't wake for (the peer has left, some moment
/// has come) is noticed this late at the latest.
const TICK: Duration = Duration::from_millis(20);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Drives a future to its end on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut task = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut task) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park_timeout(TICK),
        }
    }
}

/// Drives a future on this thread until it is over; `None` where it has not ended by then.
pub(super) fn block_on_unless<F: Future>(is_over: impl Fn() -> bool, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    block_on(poll_fn(|task| match future.as_mut().poll(task) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if is_over() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    }))
}
