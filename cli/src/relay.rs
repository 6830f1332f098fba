//! Bytes both ways between a session and something else, with the end of each direction carried across.

use countersign::Stream;
use socket2::SockRef;
use std::future::{Future, Pending, pending};
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// How long an end that has said goodbye waits for the other's.
pub(crate) const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);

/// How long what a program has left in its pipe may take to reach the client.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a peer that goes on sending what nobody takes any more is heard after all was said to it.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);

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
    /// The other end broke, or was ended before it had come to an end of its own.
    Far(io::Error),
    /// The server is stopping.
    Stopping,
}

/// What a session is relayed to.
pub(crate) struct Far<'a, R, W, G> {
    pub(crate) reader: &'a mut R,
    /// Ended by a shutdown. Where that is not due it stays as it is: dropping it may look like an end.
    pub(crate) writer: &'a mut W,
    /// Ready once it is known to take nothing any more, and to say nothing beyond what it has said; an error where it did not end
    /// by itself. None where its ends are all that there is to know.
    pub(crate) gone: Option<G>,
}

impl<'a, R, W> Far<'a, R, W, Pending<io::Result<()>>> {
    pub(crate) fn new(reader: &'a mut R, writer: &'a mut W) -> Self {
        Self { reader, writer, gone: None }
    }
}

/// From now on whatever ends this connection is a reset to its other end, and no end: also where this process is killed.
pub(crate) fn reset_unless_ended(stream: &TcpStream) {
    // A socket that takes no options serves as well.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// All was said that was to be. The system still sends what its other end has not taken yet.
pub(crate) fn ended(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(None);
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
    G: Future<Output = io::Result<()>>,
{
    let (mut near_reader, mut near_writer) = tokio::io::split(session);
    let Far { reader: far_reader, writer: far_writer, gone } = far;
    let is_watched = gone.is_some();
    let (tell, told) = watch::channel(None);
    let (say, said) = watch::channel(None);
    let there = async {
        let carried = tokio::select! {
            carried = carry(&mut near_reader, far_writer, pending()) => carried,
            _ = known(&told) => Err(Fault::Writing(io::ErrorKind::BrokenPipe.into())),
        };
        let ended = match carried {
            Ok(()) => far_writer.shutdown().await,
            Err(Fault::Reading(error)) => return Err(Broken::Session(error)),
            Err(Fault::Writing(error)) => Err(error),
        };
        if ended.is_ok() {
            return Ok(());
        }
        tokio::select! {
            biased;
            // A peer that is let come to its end would take all for taken.
            torn = async { let torn = torn(&told).await; known(&said).await; torn } => Err(torn),
            // Hanging up on one that is still sending could take back what it was sent last.
            discarded = discard(&mut near_reader, &said) => discarded.map_err(Broken::Session),
        }
    };
    let back = async {
        // What a far end that is gone has said is there to be read: whatever else comes is said by somebody else.
        let over = async {
            let _ = known(&told).await;
            sleep(GOODBYE_TIMEOUT).await;
        };
        carry(far_reader, &mut near_writer, over).await.map_err(|fault| match fault {
            Fault::Reading(error) => Broken::Far(error),
            Fault::Writing(error) => Broken::Session(error),
        })?;
        if is_watched {
            // One that goes on has ended this direction by itself.
            if let Ok(Err(kind)) = timeout(GOODBYE_TIMEOUT, known(&told)).await {
                return Err(Broken::Far(kind.into()));
            }
        }
        near_writer.shutdown().await.map_err(Broken::Session)?;
        say.send_replace(Some(()));
        Ok(())
    };
    // A part of what it has left is not to pass for all of it, and who takes nothing takes no close, either.
    let back = async {
        tokio::select! {
            done = back => done,
            () = async { let _ = known(&told).await; sleep(DRAIN_TIMEOUT).await } => {
                let what = "the client did not take in time what the program has left";
                Err(Broken::Session(io::Error::new(io::ErrorKind::TimedOut, what)))
            }
        }
    };
    let gone = async {
        if let Some(gone) = gone {
            tell.send_replace(Some(gone.await.map_err(|error| error.kind())));
        }
        pending().await
    };
    tokio::select! {
        ended = async { tokio::try_join!(there, back) } => ended.map(|_| ()),
        never = gone => never,
        () = async { stop.stopped().await; sleep(GOODBYE_TIMEOUT).await } => Err(Broken::Stopping),
    }
}

/// What there is, once it is there.
async fn known<T: Copy>(news: &watch::Receiver<Option<T>>) -> T {
    let mut news = news.clone();
    let found = news.wait_for(Option::is_some).await.ok().and_then(|found| *found);
    match found {
        Some(found) => found,
        None => pending().await,
    }
}

/// Ready where the far end did not end by itself.
async fn torn(told: &watch::Receiver<Option<Result<(), io::ErrorKind>>>) -> Broken {
    match known(told).await {
        Err(kind) => Broken::Far(kind.into()),
        Ok(()) => pending().await,
    }
}

enum Fault {
    Reading(io::Error),
    Writing(io::Error),
}

/// Copies whatever comes until its end, or, once it is over, until nothing more is there.
async fn carry(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    over: impl Future<Output = ()>,
) -> Result<(), Fault> {
    let mut buffer = vec![0; CHUNK];
    let mut over = pin!(over);
    loop {
        let read = tokio::select! {
            biased;
            read = from.read(&mut buffer) => read,
            () = &mut over => Ok(0),
        };
        let count = read.map_err(Fault::Reading)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(());
        }
        to.write_all(bytes).await.map_err(Fault::Writing)?;
        to.flush().await.map_err(Fault::Writing)?;
    }
}

/// Throws away what a peer still says until it closes; after all was `said` to it until it pauses, or for a while.
async fn discard(from: &mut (impl AsyncRead + Unpin), said: &watch::Receiver<Option<()>>) -> io::Result<()> {
    let after = |pause| async move {
        known(said).await;
        sleep(pause).await;
    };
    let mut buffer = vec![0; CHUNK];
    let mut enough = pin!(after(DISCARD_TIMEOUT));
    loop {
        let count = tokio::select! {
            count = from.read(&mut buffer) => count?,
            () = after(GOODBYE_TIMEOUT) => 0,
            () = &mut enough => 0,
        };
        if count == 0 {
            return Ok(());
        }
        // A peer that never stops must not keep a worker of the runtime to itself.
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    /// Whoever reads slowly is not to take for everything what it got in some time.
    #[tokio::test]
    async fn what_was_said_before_it_was_over_is_carried_whole_however_slowly_it_is_taken() {
        let (mut program, mut pipe) = duplex(4 * CHUNK);
        let (mut near, mut client) = duplex(16);
        program.write_all(&[7; 4 * CHUNK]).await.unwrap();
        let slowly = async {
            let mut heard = vec![0; 4 * CHUNK];
            client.read_exact(&mut heard).await.map(|_| heard)
        };
        // Somebody else has the pipe still open.
        let carried = async move { carry(&mut pipe, &mut near, async {}).await };
        let (carried, heard) = tokio::join!(carried, slowly);
        assert!(carried.is_ok() && heard.unwrap() == [7; 4 * CHUNK]);
        drop(program);
    }
}
