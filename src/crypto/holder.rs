//! Who does what takes a private key. Whatever they do, a panic of theirs takes neither a thread nor a task of ours with it.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What somebody elsewhere does, for any executor.
type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Who has the private half of a key.
#[derive(Clone)]
pub(super) enum Holder<L, R> {
    /// A provider, or something else in the thread that asks.
    Local(L),
    /// Somebody who answers later.
    Remote(R),
    /// Somebody this key does not know.
    Elsewhere,
}

impl<L, R> Holder<L, R> {
    pub(super) fn is_known(&self) -> bool {
        !matches!(self, Self::Elsewhere)
    }

    pub(super) fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
    }

    /// What it does in this thread, or `panicked`; none where it is not here.
    pub(super) fn here<T>(&self, panicked: fn() -> T, work: impl FnOnce(&L) -> T) -> Option<T> {
        let Self::Local(holder) = self else { return None };
        Some(catch_unwind(AssertUnwindSafe(|| work(holder))).unwrap_or_else(|_| panicked()))
    }

    /// What it does elsewhere, or `panicked`; none where it is not remote.
    pub(super) fn later<T: 'static>(
        &self,
        panicked: fn() -> T,
        begin: impl FnOnce(&R) -> Later<T>,
    ) -> Option<Later<T>> {
        let Self::Remote(holder) = self else { return None };
        let mut begun = Caught(catch_unwind(AssertUnwindSafe(|| begin(holder))).ok());
        let answer = move |answer: Option<T>| answer.unwrap_or_else(panicked);
        Some(Box::pin(poll_fn(move |task| Pin::new(&mut begun).poll(task).map(answer))))
    }
}

/// A future of which a panic is an answer, too: `None`. It is gone when it has answered, however it did; whoever asks again gets `None`.
pub(crate) struct Caught<F>(Option<F>);

impl<F> Caught<F> {
    pub(crate) fn new(future: F) -> Self {
        Self(Some(future))
    }
}

impl<F: Future + Unpin> Future for Caught<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let Some(future) = &mut self.0 else { return Poll::Ready(None) };
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(future).poll(task)));
        let polled = polled.map_or(Poll::Ready(None), |polled| polled.map(Some));
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}
