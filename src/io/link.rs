//! What a login needs of a connection: bytes both ways, a clock, and deadlines.

use crate::terms::error::Error;
use crate::time::Moment;
use crate::wire::frame::{FrameReader, FrameType};
use core::future::poll_fn;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use super::error::LoginError;
use super::transport::Stopper;

/// A connection as the login's script drives it: non-blocking reads and writes, and a clock.
///
/// The adapters for blocking and tokio streams are two of them. Implement it for any other event loop, and drive the future
/// of [`super::Acceptor::accept_over`] or [`super::Connector::connect_over`] with it: poll the future whenever the socket is
/// ready or [`Link::set_deadline`]'s moment has come.
///
/// Every `poll_` function works as those of `AsyncRead` and `AsyncWrite` do: where it can't go on it arranges for the task to be woken, and
/// gives [`Poll::Pending`]. A link that blocks instead never gives `Pending`.
///
/// The session afterwards is read and written as its transport is, [`io::ErrorKind::WouldBlock`] included, and holds no buffers once a read has
/// given that and nothing waits to leave: read until then.
pub trait Link {
    /// What the session after the login is carried by.
    type Stream;

    /// The time since some origin of the link's own, on a clock that never goes back.
    fn now(&self) -> Moment;

    /// From `deadline` on, reading and writing fail with [`io::ErrorKind::TimedOut`], whatever the peer sends: also a call
    /// that is waiting already. A later call replaces the deadline.
    fn set_deadline(&mut self, deadline: Moment);

    /// Reads at least one byte into `room`, and never more than fit; 0 is the end of the stream.
    ///
    /// # Errors
    /// The transport's.
    fn poll_read(&mut self, task: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes at least one byte from the front of `bytes`.
    ///
    /// # Errors
    /// The transport's.
    fn poll_write(&mut self, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Sends what a buffer of the transport's still holds.
    ///
    /// # Errors
    /// The transport's.
    fn poll_flush(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the sending direction and leaves the other one open, if the transport can do that.
    ///
    /// # Errors
    /// The transport's.
    fn poll_end_sending(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ready once `moment` has come. Asked in turn with other things, so it must not block where those may come first.
    fn poll_wait(&mut self, task: &mut Context<'_>, moment: Moment) -> Poll<()>;

    /// Ready once the peer is known to have left, while nothing is awaited from it. A peer that sends something out of turn
    /// has broken the protocol, and may count as gone. A link that can't tell gives `Pending`.
    fn poll_gone(&mut self, task: &mut Context<'_>) -> Poll<()>;

    /// What has the session looked at when it is ended from outside ([`crate::Recheck`], [`super::Acceptor::revoke`]): in an event loop, what wakes the
    /// loop for this connection. The next read, write or flush then says why, and the peer is told as far as that can be done at once.
    /// Asked for at a server, where a session begins. Without one, the default, the session notices at its next call, however late
    /// that is, and its peer finds the connection cut.
    ///
    /// # Errors
    /// The transport's, where there should be one: no session begins then.
    fn stopper(&mut self) -> io::Result<Option<Stopper>> {
        Ok(None)
    }

    /// The transport, for the session.
    ///
    /// # Errors
    /// The transport's, where it can't be made ready.
    fn into_stream(self) -> io::Result<Self::Stream>;
}

/// How long an end that has sent its last bytes waits for the peer to hang up: closing a connection while something is still to be
/// read resets it, and the peer may lose what was sent.
pub(super) const LINGER: Duration = Duration::from_millis(500);

/// What is read of a peer that should hang up before others get their turn.
const TURN: usize = 64 * 1024;

/// How long sending a verdict may take.
pub(super) const VERDICT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends all of `bytes`.
pub(super) async fn send<L: Link>(link: &mut L, mut bytes: &[u8]) -> Result<(), LoginError> {
    while !bytes.is_empty() {
        match poll_fn(|task| link.poll_write(task, bytes)).await {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(error) => retry(error)?,
        }
    }
    loop {
        match poll_fn(|task| link.poll_flush(task)).await {
            Ok(()) => return Ok(()),
            Err(error) => retry(error)?,
        }
    }
}

/// Receives one whole frame, and never a byte past its end.
pub(super) async fn receive<L: Link>(link: &mut L, expected: &'static [FrameType]) -> Result<Vec<u8>, LoginError> {
    let mut reader = FrameReader::new();
    loop {
        if let Some(frame) = reader.take() {
            return Ok(frame);
        }
        let client = reader.missing().map_err(Error::from)?;
        // The buffer lives within the poll: it is no part of the future of a half-open login.
        let read = poll_fn(|task| {
            let mut scratch = [0; 1024];
            let room = scratch.get_mut(..client.min(1024)).unwrap_or_default();
            link.poll_read(task, room).map_ok(|count| {
                let fed = reader.feed(room.get(..count).unwrap_or_default(), expected);
                (count, fed)
            })
        });
        match read.await {
            Ok((0, _)) => {
                return Err(LoginError::Disconnected {
                    awaited: expected.first().copied().unwrap_or(FrameType::Close),
                });
            }
            Ok((_, fed)) => drop(fed.map_err(Error::from)?),
            Err(error) => retry(error)?,
        }
    }
}

/// Sends the last frame of a handshake that has failed, and lets the peer hang up. Whatever fails here is not why.
pub(super) async fn send_last<L: Link>(link: &mut L, frame: &[u8]) {
    if send(link, frame).await.is_ok() {
        let _ = hang_up(link).await;
    }
}

/// Ends the sending direction, and lets the peer end its own.
async fn hang_up<L: Link>(link: &mut L) -> Result<(), LoginError> {
    link.set_deadline(link.now().after(LINGER));
    poll_fn(|task| link.poll_end_sending(task)).await?;
    let mut turn: usize = 0;
    loop {
        let read = poll_fn(|task| {
            let mut scratch = [0; 1024];
            link.poll_read(task, &mut scratch)
        });
        match read.await {
            Ok(0) => return Ok(()),
            // A peer that never stops must not keep those waiting who share a thread with it.
            Ok(count) => {
                turn = turn.saturating_add(count);
                if turn >= TURN {
                    turn = 0;
                    step_aside().await;
                }
            }
            Err(error) => retry(error)?,
        }
    }
}

/// Gives way to whatever else this thread has to do, once.
async fn step_aside() {
    let mut done = false;
    poll_fn(|task| {
        if core::mem::replace(&mut done, true) {
            return Poll::Ready(());
        }
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn retry(error: io::Error) -> Result<(), LoginError> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(Error::DeadlinePassed.into()),
        _ => Err(error.into()),
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use core::future::Future;
    use core::pin::pin;
    use core::task::Waker;

    /// A peer that always has something to say, on a clock that stands.
    struct Talkative(usize);

    impl Link for Talkative {
        type Stream = ();

        fn now(&self) -> Moment {
            Moment::ORIGIN
        }

        fn set_deadline(&mut self, _: Moment) {}

        fn poll_read(&mut self, _: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
            self.0 = self.0.saturating_add(room.len());
            assert!(self.0 < 10 * TURN, "nobody else got a turn");
            Poll::Ready(Ok(room.len()))
        }

        fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_end_sending(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_wait(&mut self, _: &mut Context<'_>, _: Moment) -> Poll<()> {
            Poll::Pending
        }

        fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }

        fn into_stream(self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_peer_has_half_a_second_to_hang_up_as_the_protocol_says() {
        assert_eq!(LINGER, Duration::from_millis(500));
        let protocol = include_str!("../../PROTOCOL.md").split_whitespace().collect::<Vec<_>>().join(" ");
        let sentence = "reads and throws away what still comes until the client hangs up, for half a second at most, and closes then";
        assert!(protocol.contains(sentence), "PROTOCOL.md does not say: {sentence}");
    }

    #[test]
    fn whoever_takes_no_verdict_is_waited_for_as_long_as_is_documented() {
        let sentence =
            format!("a client that takes no verdict or refusal is cut off after {} s", VERDICT_TIMEOUT.as_secs());
        assert!(include_str!("../../SECURITY.md").contains(&sentence), "SECURITY.md does not say: {sentence}");
        assert_eq!(VERDICT_TIMEOUT, Duration::from_secs(5));
    }

    #[test]
    fn a_peer_that_talks_instead_of_hanging_up_takes_turns_with_others() {
        let mut link = Talkative(0);
        let mut hanging_up = pin!(hang_up(&mut link));
        for _ in 0..3 {
            assert!(hanging_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
    }
}
