//! Bytes both ways between a session and something else, with the end of each direction carried across.

use countersign::Stream;
use std::future::{Future, pending};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

/// How long an end that has said goodbye waits for the other's.
pub(crate) const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);

/// How long what a program has left in its pipe may take to reach the client.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What one read takes: a record.
const CHUNK: usize = 16 * 1024;

/// Says when the server is to stop.
#[derive(Clone)]
pub(crate) struct Stop(Option<watch::Receiver<bool>>);

impl Stop {
    pub(crate) fn new(stopping: watch::Receiver<bool>) -> Self {
        Self(Some(stopping))
    }

    pub(crate) fn never() -> Self {
        Self(None)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.0.as_ref().is_some_and(|stopping| *stopping.borrow())
    }

    pub(crate) async fn stopped(&self) {
        if let Some(mut stopping) = self.0.clone()
            && stopping.wait_for(|&stopping| stopping).await.is_ok()
        {
            return;
        }
        pending().await
    }
}

/// Why a relay ended before both directions had.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The session broke, or its peer left without a close.
    Session(io::Error),
    /// The other end broke.
    Far(io::Error),
    /// The server is stopping.
    Stopping,
}

/// What a session is relayed to.
pub(crate) struct Far<'a, R, W, G> {
    pub(crate) reader: &'a mut R,
    /// Ended by a shutdown. Where that is not due it stays as it is: dropping it may look like an end.
    pub(crate) writer: &'a mut W,
    /// Ready once it is known to take nothing any more, and to say nothing beyond what it has said.
    pub(crate) gone: G,
}

/// Relays until both directions have ended: the peer's authenticated close ends what is written to the far end, and the far
/// end's end closes ours. Nothing else does: what broke is no end, and whoever is told of one may rely on it.
///
/// A far end that takes no more may still have something to say; what comes for it is thrown away. Where the server stops,
/// the relay has a moment to end by itself.
pub(crate) async fn relay<R, W, G>(
    session: &mut Stream<TcpStream>,
    far: Far<'_, R, W, G>,
    stop: &Stop,
) -> Result<(), Broken>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    G: Future<Output = ()>,
{
    let (mut near_reader, mut near_writer) = tokio::io::split(session);
    let Far { reader: far_reader, writer: far_writer, gone } = far;
    let (tell, told) = watch::channel(false);
    let (is_gone, is_said) = (Stop::new(told), Notify::new());
    // Something of one end's has been read, and not been taken by the other yet.
    let (is_held_there, is_held) = (AtomicBool::default(), AtomicBool::default());
    let there = async {
        let copied = tokio::select! {
            copied = copy(&mut near_reader, far_writer, &is_held_there) => copied,
            () = is_gone.stopped() => Err(Fault::Writing(io::ErrorKind::BrokenPipe.into())),
        };
        match copied {
            Ok(()) => Ok(()),
            Err(Fault::Reading(error)) => Err(Broken::Session(error)),
            Err(Fault::Writing(_)) => {
                // Hanging up on a peer that is still sending could take back what it was sent last.
                tokio::select! {
                    discarded = discard(&mut near_reader) => discarded.map_err(Broken::Session),
                    () = async { is_said.notified().await; sleep(GOODBYE_TIMEOUT).await } => Ok(()),
                }
            }
        }
    };
    let back = async {
        let copied = tokio::select! {
            copied = copy(far_reader, &mut near_writer, &is_held) => copied,
            () = async { stop.stopped().await; sleep(GOODBYE_TIMEOUT).await } => return Err(Broken::Stopping),
            () = async { is_gone.stopped().await; sleep(DRAIN_TIMEOUT).await } => {
                let_go(&mut near_writer, is_held.load(Relaxed)).await.map_err(Fault::Writing)
            }
        };
        is_said.notify_one();
        copied.map_err(|fault| match fault {
            Fault::Reading(error) => Broken::Far(error),
            Fault::Writing(error) => Broken::Session(error),
        })
    };
    let gone = async {
        gone.await;
        tell.send_replace(true);
        pending().await
    };
    tokio::select! {
        ended = async { tokio::try_join!(there, back) } => ended.map(|_| ()),
        broken = gone => broken,
    }
}

enum Fault {
    Reading(io::Error),
    Writing(io::Error),
}

/// Ends what is said to a client whose program has ended a while ago. A part of what that has left is not to pass for all of it, so where something
/// is held that was not taken, it is cut; and who takes nothing takes no close, either.
async fn let_go(client: &mut (impl AsyncWrite + Unpin), is_held: bool) -> io::Result<()> {
    let what = "the client did not take in time what the program has left";
    let late = || Err(io::Error::new(io::ErrorKind::TimedOut, what));
    if is_held {
        return late();
    }
    timeout(GOODBYE_TIMEOUT, client.shutdown()).await.unwrap_or_else(|_| late())
}

/// Copies whatever comes until its end, and passes that on; says whether it holds something meanwhile.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    is_held: &AtomicBool,
) -> Result<(), Fault> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = from.read(&mut buffer).await.map_err(Fault::Reading)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        is_held.store(true, Relaxed);
        if bytes.is_empty() {
            return to.shutdown().await.map_err(Fault::Writing);
        }
        to.write_all(bytes).await.map_err(Fault::Writing)?;
        to.flush().await.map_err(Fault::Writing)?;
        is_held.store(false, Relaxed);
    }
}

async fn discard(from: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    while from.read(&mut buffer).await? > 0 {
        // A peer that never stops must not keep a worker of the runtime to itself.
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::io::{BufWriter, duplex};

    #[tokio::test]
    async fn a_part_of_what_a_program_has_left_passes_for_no_end_and_nobody_is_waited_for_to_take_one() {
        let late = |ended: io::Result<()>| assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (mut near, mut far) = duplex(16);
        late(let_go(&mut near, true).await);
        near.write_all(b"x").await.unwrap();
        let_go(&mut near, false).await.unwrap();
        let mut heard = Vec::new();
        far.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"x");

        let (near, _far) = duplex(16);
        let mut near = BufWriter::new(near);
        near.write_all(&[0; 17]).await.unwrap();
        late(timeout(Duration::from_secs(60), let_go(&mut near, false)).await.unwrap());
    }
}
