//! A stream that closes when it is dropped, for pools of idle connections.

use super::stream::Stream;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use std::io;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A [`Stream`] that sends its close when it is dropped, as far as that can be done without waiting: for pools, which drop
/// connections that idle. [`Stream::closing_on_drop`] makes one.
///
/// The peer then reads a clean end. It still reads a cut where the end is none that was meant, and may have cost data:
///
/// - while the thread panics: half of what was to be said may be missing, and a clean end would make it look whole;
/// - while something that was written is still on its way (write, then flush, before it goes idle);
/// - where the transport does not take the few bytes of a close at once, or fails.
///
/// A connection that is closed while bytes arrive that nobody reads is reset by most systems, and a reset can overtake the
/// close: where the last bytes matter, end the stream with a shutdown or [`Stream::finish`], as ever.
pub struct ClosingStream<S: AsyncWrite + Unpin>(
    /// There until [`ClosingStream::into_inner`] takes it.
    Option<Stream<S>>,
);

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// Makes dropping the stream a proper end, where it is idle then: see [`ClosingStream`].
    pub fn closing_on_drop(self) -> ClosingStream<S> {
        ClosingStream(Some(self))
    }
}

#[allow(clippy::expect_used, reason = "only `into_inner`, which consumes it, takes the stream out")]
impl<S: AsyncWrite + Unpin> ClosingStream<S> {
    /// The stream inside.
    pub fn get_ref(&self) -> &Stream<S> {
        self.0.as_ref().expect("not taken")
    }

    /// The stream inside.
    pub fn get_mut(&mut self) -> &mut Stream<S> {
        self.0.as_mut().expect("not taken")
    }

    /// The stream inside; dropping it is a cut again.
    pub fn into_inner(mut self) -> Stream<S> {
        self.0.take().expect("not taken")
    }

    fn pin(self: Pin<&mut Self>) -> Pin<&mut Stream<S>> {
        Pin::new(self.get_mut().get_mut())
    }
}

impl<S: AsyncWrite + Unpin> Drop for ClosingStream<S> {
    fn drop(&mut self) {
        let Some(stream) = self.0.as_mut().filter(|_| !std::thread::panicking()) else { return };
        if stream.outbox.pending().is_ok_and(<[u8]>::is_empty) && stream.outbox.close().is_ok() {
            // Once, and whatever the task has used up of its turn: there is no other turn.
            let flush = poll_fn(|task| Pin::new(&mut *stream).poll_flush(task));
            let flush = pin!(tokio::task::unconstrained(flush));
            let _ = flush.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ClosingStream<S> {
    fn poll_read(self: Pin<&mut Self>, task: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.pin().poll_read(task, out)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClosingStream<S> {
    fn poll_write(self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.pin().poll_write(task, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pin().poll_flush(task)
    }

    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pin().poll_shutdown(task)
    }
}

impl<S: AsyncWrite + Unpin> fmt::Debug for ClosingStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClosingStream").field(self.get_ref()).finish()
    }
}
