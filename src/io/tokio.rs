//! Over tokio's streams: anything that is `AsyncRead + AsyncWrite`.

use super::acceptor::Acceptor;
use super::connector::{Begun, Connector};
use super::error::{LoginError, of_write};
use super::link::Link;
use super::live::Way;
use super::script::{self, Decided};
use super::stream::Stream;
use crate::terms::context::Context;
use crate::terms::credential::Credential;
use crate::terms::error::Error;
use crate::terms::ticket::TrustedTicket;
use crate::time::Moment;
use core::fmt;
use core::future::Future;
use core::mem::MaybeUninit;
use core::pin::Pin;
use core::task::{self, Poll, ready};
use core::time::Duration;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What one read takes from the transport at the most: a full record and the header of the next.
const SCRATCH: usize = 16 * 1024 + 64;

/// A tokio stream under a deadline: what the login's script drives.
pub struct TokioLink<S> {
    stream: S,
    start: Instant,
    deadline: Moment,
    /// Set to a moment that somebody waits for; made when there is one.
    timer: Option<(Moment, Pin<Box<Sleep>>)>,
}

impl<S> TokioLink<S> {
    fn new(stream: S) -> Self {
        Self { stream, start: Instant::now(), deadline: Moment::ORIGIN, timer: None }
    }

    fn poll_until(&mut self, task: &mut task::Context<'_>, moment: Moment) -> Poll<()> {
        let at = self.start.checked_add(moment.saturating_since(Moment::ORIGIN));
        // Past the end of time.
        let Some(at) = at else { return Poll::Pending };
        let (set_to, sleep) = self.timer.get_or_insert_with(|| (moment, Box::pin(tokio::time::sleep_until(at))));
        if *set_to != moment {
            *set_to = moment;
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(task)
    }

    /// What `polled` gives, or the deadline.
    fn in_time<T>(&mut self, task: &mut task::Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match polled {
            Poll::Pending => {
                ready!(self.poll_until(task, self.deadline));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            // A peer that always has something to say does not outlast its deadline either.
            Poll::Ready(_) if self.now() >= self.deadline => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            ready => ready,
        }
    }
}

impl<S> TokioLink<S> {
    fn now(&self) -> Moment {
        Moment::after_origin(self.start.elapsed())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link for TokioLink<S> {
    type Stream = S;

    fn now(&self) -> Moment {
        Self::now(self)
    }

    fn set_deadline(&mut self, deadline: Moment) {
        self.deadline = deadline;
    }

    fn poll_read(&mut self, task: &mut task::Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(room);
        let polled = Pin::new(&mut self.stream).poll_read(task, &mut read);
        let count = read.filled().len();
        self.in_time(task, polled.map_ok(|()| count))
    }

    fn poll_write(&mut self, task: &mut task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(task, bytes);
        self.in_time(task, polled)
    }

    fn poll_flush(&mut self, task: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(task);
        self.in_time(task, polled)
    }

    fn poll_end_sending(&mut self, task: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(task);
        self.in_time(task, polled)
    }

    fn poll_wait(&mut self, task: &mut task::Context<'_>, moment: Moment) -> Poll<()> {
        if self.now() >= moment { Poll::Ready(()) } else { self.poll_until(task, moment) }
    }

    fn poll_gone(&mut self, task: &mut task::Context<'_>) -> Poll<()> {
        // Nothing may come now: what comes is the end, or breaks the protocol.
        let mut room = [0];
        Pin::new(&mut self.stream).poll_read(task, &mut ReadBuf::new(&mut room)).map(drop)
    }

    fn into_stream(self) -> io::Result<S> {
        Ok(self.stream)
    }
}

impl<S> fmt::Debug for TokioLink<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokioLink").finish_non_exhaustive()
    }
}

impl Acceptor {
    /// Accepts a login over a tokio stream: everything from the ClientHello to the verdict. `context` says where the
    /// connection comes from: its peer's address, usually.
    ///
    /// Dropping the future ends the handshake. Once the credential is being looked at that counts as a failure ([`crate::Penalties`]), as whoever
    /// gets away in time would guess for nothing: bound what a login may take by [`crate::ServerConfig::with_handshake_timeout`] and a timeout of
    /// the store's own, not by `tokio::time::timeout` around this future.
    ///
    /// A refused login ends at once; its peer is told by a small task of its own when that is due.
    ///
    /// # Errors
    /// [`LoginError`]; [`LoginError::LoginRefused`] has the reason for the audit log.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        context: impl Into<Context>,
    ) -> Result<Stream<S>, LoginError> {
        let context = Arc::new(context.into());
        let place = self.0.enter(&context)?;
        let mut link = TokioLink::new(stream);
        match script::accept(&self.0, &mut link, context, place).await? {
            Decided::Accepted(started, record) => Ok(Stream::of_server(link, *started, record)?),
            Decided::Refused(refused, place) => {
                let (pending, error) = refused.part();
                tokio::spawn(script::refuse(link, pending, place));
                Err(error)
            }
        }
    }
}

impl Connector {
    /// Logs in over a tokio stream: sends the ClientHello, checks the server's key, sends the credential, and waits for the
    /// verdict; where there is a ticket that the server takes, without the credential. Dropping the future ends the handshake.
    ///
    /// # Errors
    /// [`LoginError`]. Only those that say so guarantee that nothing secret has been sent.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        credential: Credential<'_>,
    ) -> Result<Stream<S>, LoginError> {
        self.connect_over(TokioLink::new(stream), credential).await
    }

    /// Logs in over the tokio streams that `dial` makes, as by [`Connector::dial_over`]:
    ///
    /// ```no_run
    /// # async fn log_in(connector: countersign::Connector, alice: countersign::Credential<'_>) -> Result<(), countersign::LoginError> {
    /// let session = connector.dial(|| tokio::net::TcpStream::connect("db.example:4500"), alice).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`LoginError`], also where no connection could be made.
    pub async fn dial<S: AsyncRead + AsyncWrite + Unpin, D: Future<Output = io::Result<S>>>(
        &self,
        dial: impl FnMut() -> D,
        credential: Credential<'_>,
    ) -> Result<Stream<S>, LoginError> {
        self.dial_over(linked(dial), credential).await
    }

    /// As [`Connector::begin_over`], over the tokio streams that `dial` makes.
    ///
    /// # Errors
    /// As [`Connector::begin_over`].
    pub async fn begin<S: AsyncRead + AsyncWrite + Unpin, D: Future<Output = io::Result<S>>>(
        &self,
        dial: impl FnMut() -> D,
        ticket: Option<TrustedTicket>,
    ) -> Result<Begun<TokioLink<S>>, LoginError> {
        self.begin_over(linked(dial), ticket).await
    }
}

/// What `dial` makes, under a deadline.
fn linked<S, D: Future<Output = io::Result<S>>>(mut dial: impl FnMut() -> D) -> impl FnMut() -> Dialing<D> {
    move || Dialing(Box::pin(dial()))
}

/// A connection that is being made. Nothing of it is left when it is made.
struct Dialing<D>(Pin<Box<D>>);

impl<S, D: Future<Output = io::Result<S>>> Future for Dialing<D> {
    type Output = io::Result<TokioLink<S>>;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(task).map_ok(TokioLink::new)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// Ends the session without losing a byte on the way: closes, lets the peer say the rest, which is thrown away, and
    /// returns at its close, or when `patience` is over, whatever the peer drips and however slowly it reads.
    ///
    /// # Errors
    /// [`LoginError`]: the peer may not have got everything.
    pub async fn finish(mut self, patience: Duration) -> Result<(), LoginError> {
        let end = Instant::now().checked_add(patience);
        let said = async {
            self.shutdown().await?;
            Ok::<_, LoginError>(())
        };
        match end {
            Some(end) => tokio::time::timeout_at(end, said).await.map_err(|_| Error::DeadlinePassed)??,
            None => said.await?,
        }
        let heard = async {
            let mut scratch = [0; 1024];
            while self.read(&mut scratch).await? > 0 {
                // A peer that never stops must not keep a worker of the runtime to itself.
                tokio::task::yield_now().await;
            }
            Ok::<_, LoginError>(())
        };
        match end {
            // Whoever has not closed by then is left.
            Some(end) => tokio::time::timeout_at(end, heard).await.unwrap_or(Ok(())),
            None => heard.await,
        }
    }
}

impl<S: AsyncWrite + Unpin> Stream<S> {
    /// Sends everything that is sealed.
    fn poll_drain(&mut self, task: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.outbox.pending().map_err(of_write)? {
                [] => return Poll::Ready(Ok(())),
                rest => match Pin::new(&mut self.transport).poll_write(task, rest) {
                    Poll::Pending if self.outbox.live.wait(Way::Writing, task.waker()) => return Poll::Pending,
                    // It was ended at this moment.
                    Poll::Pending => {}
                    Poll::Ready(taken) => self.outbox.written(taken)?,
                },
            }
        }
    }

    /// Tells the peer of a session that was ended from outside that this is the end, as far as that can be done at once.
    fn say_farewell(&mut self, task: &mut task::Context<'_>) {
        if let Some(close) = self.outbox.farewell()
            && let Poll::Ready(Ok(_)) = Pin::new(&mut self.transport).poll_write(task, close)
        {
            let _ = Pin::new(&mut self.transport).poll_flush(task);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(self: Pin<&mut Self>, task: &mut task::Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            match this.inbox.read(out.initialize_unfilled()) {
                Ok(None) => {}
                Ok(Some(count)) => {
                    out.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) => {
                    this.say_farewell(task);
                    return Poll::Ready(Err(error.into()));
                }
            }
            let mut scratch = [const { MaybeUninit::uninit() }; SCRATCH];
            let mut arrived = ReadBuf::uninit(&mut scratch);
            match Pin::new(&mut this.transport).poll_read(task, &mut arrived) {
                Poll::Pending => {
                    // Nothing to read and nothing to send: idle.
                    this.inbox.release();
                    this.outbox.release();
                    if this.inbox.live.wait(Way::Reading, task.waker()) {
                        return Poll::Pending;
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(this.inbox.live.blame(error))),
                Poll::Ready(Ok(())) if arrived.filled().is_empty() => this.inbox.finish(),
                Poll::Ready(Ok(())) => this.inbox.push(arrived.filled()),
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    /// Takes up to 64 KiB once everything before it is sent. What is taken is sealed, and goes out with this call, a
    /// later write, or a flush.
    fn poll_write(self: Pin<&mut Self>, task: &mut task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let sealed = ready!(this.poll_drain(task)).and_then(|()| this.outbox.seal(bytes).map_err(of_write));
        let count = sealed.inspect_err(|_| this.outbox.note_lack())?;
        match this.poll_drain(task) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if let Err(error) = ready!(this.poll_drain(task)) {
                this.say_farewell(task);
                return Poll::Ready(Err(error));
            }
            match Pin::new(&mut this.transport).poll_flush(task) {
                Poll::Pending if this.outbox.live.wait(Way::Writing, task.waker()) => return Poll::Pending,
                // It was ended at this moment.
                Poll::Pending => {}
                Poll::Ready(flushed) => return Poll::Ready(flushed.map_err(|error| this.outbox.live.blame(error))),
            }
        }
    }

    /// In a session that is broken, or was ended from outside, the transport is shut down all the same, and then it is said why: what
    /// was written may not have left.
    fn poll_shutdown(self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let said = this.outbox.close().map_err(of_write);
            match said {
                Ok(()) => ready!(this.poll_drain(task))?,
                Err(_) => this.say_farewell(task),
            }
            match Pin::new(&mut this.transport).poll_shutdown(task) {
                Poll::Pending if this.outbox.live.wait(Way::Writing, task.waker()) => return Poll::Pending,
                // It was ended at this moment.
                Poll::Pending if said.is_ok() => {}
                // Nobody waits for the transport of a session that was ended from outside.
                Poll::Pending => return Poll::Ready(said),
                Poll::Ready(shut) => {
                    return Poll::Ready(said.and(shut.map_err(|error| this.outbox.live.blame(error))));
                }
            }
        }
    }
}
