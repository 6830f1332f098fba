//! Over blocking streams: anything that is `Read + Write` and takes deadlines.

use super::acceptor::Acceptor;
use super::connector::{Begun, Connector, ServerTrusted};
use super::drive::block_on;
use super::error::{LoginError, of_write};
use super::events::Seat;
use super::link::Link;
use super::places::Eviction;
use super::script::{self, Decided};
use super::stream::{Inbox, Outbox, Stream};
pub use super::transport::{Over, Stopper, Timed, Transport, Untimed};
use crate::session::SessionInfo;
use crate::terms::context::Context;
use crate::terms::credential::Credential;
use crate::terms::error::Error;
use crate::terms::ticket::TrustedTicket;
use crate::time::Moment;
use core::fmt;
use core::future::{Ready, ready};
use core::task::Poll;
use core::time::Duration;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Instant;

/// What one read takes from the transport at the most: a full record and the header of the next.
const SCRATCH: usize = 16 * 1024 + 64;

/// How long a read or write of a handshake goes on before it looks whether the handshake has to make way.
const SLICE: Duration = Duration::from_millis(200);

/// What a stream is left alone for that says at once that it would have to wait.
const PAUSE: Duration = Duration::from_millis(1);

/// A blocking stream under a deadline: what the login's script drives.
pub struct BlockingLink<S> {
    stream: S,
    start: Instant,
    deadline: Moment,
    cut: Option<Arc<Eviction>>,
    /// Whether calls give `Pending` where the stream would block.
    is_nonblocking: bool,
}

impl<S: Transport> BlockingLink<S> {
    fn new(mut stream: S, cut: Option<Arc<Eviction>>) -> io::Result<Self> {
        // A listener that does not block may hand that on to what it accepts.
        stream.set_nonblocking(false)?;
        Ok(Self { stream, start: Instant::now(), deadline: Moment::ORIGIN, cut, is_nonblocking: false })
    }

    /// From now on no call blocks; false where the transport can't do that.
    fn unblock(&mut self) -> bool {
        self.cut = None;
        self.is_nonblocking = matches!(self.stream.set_nonblocking(true), Ok(true));
        self.is_nonblocking
    }

    /// One read or write, within the deadline.
    fn call(&mut self, mut call: impl FnMut(&mut S) -> io::Result<usize>) -> Poll<io::Result<usize>> {
        loop {
            // Also where the peer always has a byte in time: its place is somebody else's by now.
            if self.cut.as_ref().is_some_and(|cut| cut.reason().is_some()) {
                return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
            }
            let before = self.now();
            let left = self.deadline.saturating_since(before);
            if left.is_zero() {
                return Poll::Ready(Err(ErrorKind::TimedOut.into()));
            }
            if !self.is_nonblocking {
                let slice = if self.cut.is_some() { left.min(SLICE) } else { left };
                self.stream.set_timeouts(Some(slice))?;
            }
            match call(&mut self.stream) {
                Err(error) if is_timeout(&error) && self.is_nonblocking => return Poll::Pending,
                Err(error) if is_timeout(&error) => {
                    // A stream that does not block after all must not keep a core busy.
                    if self.now().saturating_since(before) < PAUSE {
                        std::thread::sleep(PAUSE);
                    }
                }
                done => return Poll::Ready(done),
            }
        }
    }
}

impl<S: Transport> Link for BlockingLink<S> {
    type Stream = S;

    fn now(&self) -> Moment {
        Moment::after_origin(self.start.elapsed())
    }

    fn set_deadline(&mut self, deadline: Moment) {
        self.deadline = deadline;
    }

    fn poll_read(&mut self, _: &mut core::task::Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.call(|stream| stream.read(room))
    }

    fn poll_write(&mut self, _: &mut core::task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.call(|stream| stream.write(bytes))
    }

    fn poll_flush(&mut self, _: &mut core::task::Context<'_>) -> Poll<io::Result<()>> {
        self.call(|stream| stream.flush().map(|()| 0)).map_ok(drop)
    }

    fn poll_end_sending(&mut self, _: &mut core::task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.end_sending())
    }

    fn poll_wait(&mut self, _: &mut core::task::Context<'_>, moment: Moment) -> Poll<()> {
        if self.now() >= moment { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_gone(&mut self, _: &mut core::task::Context<'_>) -> Poll<()> {
        if !matches!(self.stream.set_nonblocking(true), Ok(true)) {
            return Poll::Pending;
        }
        let is_there = matches!(self.stream.read(&mut [0]), Err(error) if is_timeout(&error));
        match self.stream.set_nonblocking(false) {
            Ok(_) if is_there => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    fn stopper(&mut self) -> io::Result<Option<Stopper>> {
        self.stream.stopper()
    }

    fn into_stream(mut self) -> io::Result<S> {
        self.stream.set_timeouts(None)?;
        Ok(self.stream)
    }
}

impl<S> fmt::Debug for BlockingLink<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingLink").finish_non_exhaustive()
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

impl Acceptor {
    /// Accepts a login over a blocking stream: everything from the ClientHello to the verdict, on this thread; what takes a
    /// processor runs on the acceptor's own. `context` says where the connection comes from: its peer's address, usually.
    ///
    /// The transport's timeouts are used for the handshake and cleared after it. A session takes a second descriptor of the socket, by which what
    /// waits on it is woken when it is ended from outside ([`crate::Recheck`]): count two for each where open files are
    /// ([`crate::Bounds::fitting`]). Where there is none left for that, no session begins. A refused login ends at once; its peer is told
    /// later, when that is due, for as long as the process lives.
    ///
    /// # Errors
    /// [`LoginError`]; [`LoginError::LoginRefused`] has the reason for the audit log.
    pub fn accept_blocking<S: Transport + Send + 'static>(
        &self,
        stream: S,
        context: impl Into<Context>,
    ) -> Result<Stream<S>, LoginError> {
        let context = Arc::new(context.into());
        let place = self.0.enter(&context)?;
        let link = BlockingLink::new(stream, Some(Arc::clone(place.cut())));
        let mut link = link.map_err(|error| self.0.lost(&context, error.into()))?;
        match block_on(script::accept(&self.0, &mut link, context, place))? {
            Decided::Accepted(started, record) => Ok(Stream::of_server(link, *started, record)?),
            Decided::Refused(refused, place) => {
                let (waiting, error) = refused.part();
                let (start, due, waits) = (link.start, waiting.due(), link.unblock());
                let pending = script::refuse(link, waiting, place);
                if waits {
                    self.0.refusals.add(start.checked_add(due).unwrap_or(start), Box::pin(pending));
                } else {
                    block_on(pending);
                }
                Err(error)
            }
        }
    }
}

impl Connector {
    /// Logs in over a blocking stream: sends the ClientHello, checks the server's key, sends the credential, and waits for the
    /// verdict; where there is a ticket that the server takes, without the credential. The transport's timeouts are used for
    /// the handshake and cleared after it.
    ///
    /// # Errors
    /// [`LoginError`]. Only those that say so guarantee that nothing secret has been sent.
    pub fn connect_blocking<S: Transport>(
        &self,
        stream: S,
        credential: Credential<'_>,
    ) -> Result<Stream<S>, LoginError> {
        block_on(self.connect_over(BlockingLink::new(stream, None)?, credential))
    }

    /// Logs in over the blocking streams that `dial` makes, as by [`Connector::dial_over`]:
    ///
    /// ```no_run
    /// # fn log_in(connector: countersign::Connector, alice: countersign::Credential<'_>) -> Result<(), countersign::LoginError> {
    /// let session = connector.dial_blocking(|| std::net::TcpStream::connect("db.example:4500"), alice)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`LoginError`], also where no connection could be made.
    pub fn dial_blocking<S: Transport>(
        &self,
        dial: impl FnMut() -> io::Result<S>,
        credential: Credential<'_>,
    ) -> Result<Stream<S>, LoginError> {
        block_on(self.dial_over(linked(dial), credential))
    }

    /// As [`Connector::begin_over`], over the blocking streams that `dial` makes.
    ///
    /// # Errors
    /// As [`Connector::begin_over`].
    pub fn begin_blocking<S: Transport>(
        &self,
        dial: impl FnMut() -> io::Result<S>,
        ticket: Option<TrustedTicket>,
    ) -> Result<Begun<BlockingLink<S>>, LoginError> {
        block_on(self.begin_over(linked(dial), ticket))
    }
}

fn linked<S: Transport>(mut dial: impl FnMut() -> io::Result<S>) -> impl FnMut() -> Ready<io::Result<BlockingLink<S>>> {
    move || ready(dial().and_then(|stream| BlockingLink::new(stream, None)))
}

impl<S: Transport> ServerTrusted<BlockingLink<S>> {
    /// As [`ServerTrusted::login`], on this thread.
    ///
    /// # Errors
    /// As [`ServerTrusted::login`].
    pub fn login_blocking(self, credential: Credential<'_>) -> Result<Stream<S>, LoginError> {
        block_on(self.login(credential))
    }
}

impl<S> Stream<S> {
    /// What is known of the session, and two halves for two threads. `duplicate` makes a second handle of the transport, as [`std::net::TcpStream::try_clone`] does.
    ///
    /// # Errors
    /// As `duplicate`.
    pub fn split(self, duplicate: impl FnOnce(&S) -> io::Result<S>) -> io::Result<(SessionInfo, Reader<S>, Writer<S>)> {
        let Self { transport, info, inbox, outbox, seat } = self;
        let reader = Reader { transport: duplicate(&transport)?, inbox, _seat: seat.clone() };
        Ok((info, reader, Writer { transport, outbox, _seat: seat }))
    }
}

impl<S: Transport> Stream<S> {
    /// Ends the session without losing a byte on the way: closes, lets the peer say the rest, which is thrown away, and
    /// returns at its close, or when `patience` is over, whatever the peer drips and however slowly it reads.
    ///
    /// # Errors
    /// [`LoginError`]: the peer may not have got everything.
    pub fn finish_blocking(mut self, patience: Duration) -> Result<(), LoginError> {
        let start = Instant::now();
        let left = || Some(patience.saturating_sub(start.elapsed())).filter(|left| !left.is_zero());
        self.outbox.close()?;
        while !self.outbox.pending()?.is_empty() {
            let Some(left) = left() else {
                return Err(Error::DeadlinePassed.into());
            };
            self.transport.set_timeouts(Some(left))?;
            match self.transport.write(self.outbox.pending()?) {
                Err(error) if is_timeout(&error) => {}
                taken => self.outbox.written(taken)?,
            }
        }
        // A layer under this stream may hold what it has taken.
        self.transport.set_timeouts(Some(left().unwrap_or(Duration::from_millis(1))))?;
        match self.transport.flush() {
            Err(error) if is_timeout(&error) => return Err(Error::DeadlinePassed.into()),
            flushed => flushed.map_err(|error| self.outbox.live.blame(error))?,
        }
        let mut scratch = [0; 1024];
        // Whoever has not closed by then is left.
        while let Some(left) = left() {
            match self.inbox.read(&mut scratch)? {
                Some(0) => return Ok(()),
                Some(_) => {}
                // One call to the transport at a time: a record may come byte by byte.
                None => {
                    self.transport.set_timeouts(Some(left))?;
                    match fill(&mut self.transport, &mut self.inbox) {
                        Err(error) if !is_timeout(&error) => return Err(self.inbox.live.blame(error).into()),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }
}

impl<S: Write> Stream<S> {
    /// Ends this direction: the peer's next read past the data gives `Ok(0)`. Reading goes on. It waits as long as a write may,
    /// by the transport's timeouts; where not everything was taken in time, call it again. [`Stream::finish_blocking`] has a bound of
    /// its own.
    ///
    /// # Errors
    /// [`LoginError`].
    pub fn close(&mut self) -> Result<(), LoginError> {
        close(&mut self.transport, &mut self.outbox)
    }
}

impl<S: Read + Write> Read for Stream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = read(&mut self.transport, &mut self.inbox, buffer);
        if let Err(error) = &read {
            if is_timeout(error) {
                // Nothing to read and nothing to send: idle.
                self.outbox.release();
            }
            say_farewell(&mut self.transport, &mut self.outbox);
        }
        read
    }
}

impl<S: Write> Write for Stream<S> {
    /// Seals up to 64 KiB and sends them. Where the transport has a timeout and takes only a part in time, the rest goes
    /// out with the next write or flush.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(&mut self.transport, &mut self.outbox, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        flush(&mut self.transport, &mut self.outbox)
    }
}

/// The reading half of a [`Stream`].
pub struct Reader<S> {
    transport: S,
    inbox: Inbox,
    _seat: Option<Arc<Seat>>,
}

impl<S: Read> Read for Reader<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read(&mut self.transport, &mut self.inbox, buffer)
    }
}

impl<S> fmt::Debug for Reader<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

/// The writing half of a [`Stream`].
pub struct Writer<S> {
    transport: S,
    outbox: Outbox,
    _seat: Option<Arc<Seat>>,
}

impl<S: Write> Writer<S> {
    /// As [`Stream::update_key`].
    ///
    /// # Errors
    /// As [`Stream::update_key`].
    pub fn update_key(&mut self) -> Result<(), Error> {
        self.outbox.update_key()
    }

    /// As [`Stream::close`].
    ///
    /// # Errors
    /// As [`Stream::close`].
    pub fn close(&mut self) -> Result<(), LoginError> {
        close(&mut self.transport, &mut self.outbox)
    }
}

impl<S: Write> Write for Writer<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(&mut self.transport, &mut self.outbox, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        flush(&mut self.transport, &mut self.outbox)
    }
}

impl<S> fmt::Debug for Writer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

fn read(transport: &mut impl Read, inbox: &mut Inbox, buffer: &mut [u8]) -> io::Result<usize> {
    if buffer.is_empty() {
        return Ok(0);
    }
    loop {
        if let Some(count) = inbox.read(buffer)? {
            return Ok(count);
        }
        inbox.shrink();
        if let Err(error) = fill(transport, inbox) {
            if is_timeout(&error) {
                inbox.release();
            }
            return Err(inbox.live.blame(error));
        }
    }
}

/// Reads once from the transport. A function of its own, so that its buffer costs nothing while there is something left.
#[inline(never)]
fn fill(transport: &mut impl Read, inbox: &mut Inbox) -> io::Result<()> {
    let mut scratch = [0; SCRATCH];
    match transport.read(&mut scratch) {
        Ok(0) => inbox.finish(),
        Ok(count) => inbox.push(scratch.get(..count).unwrap_or_default()),
        Err(error) if error.kind() == ErrorKind::Interrupted => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Tells the peer of a session that was ended from outside that this is the end.
fn say_farewell(transport: &mut impl Write, outbox: &mut Outbox) {
    // Where nothing could end a write that waits, none is begun for this.
    if outbox.live.has_stopper()
        && let Some(close) = outbox.farewell()
        && transport.write_all(close).is_ok()
    {
        let _ = transport.flush();
    }
}

fn write(transport: &mut impl Write, outbox: &mut Outbox, bytes: &[u8]) -> io::Result<usize> {
    let sealed = drain(transport, outbox).and_then(|()| outbox.seal(bytes).map_err(of_write));
    let count = sealed.inspect_err(|_| outbox.note_lack())?;
    match drain(transport, outbox) {
        Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(error),
        _ => Ok(count),
    }
}

fn flush(transport: &mut impl Write, outbox: &mut Outbox) -> io::Result<()> {
    let drained = drain(transport, outbox);
    if drained.is_err() {
        say_farewell(transport, outbox);
    }
    drained?;
    transport.flush().map_err(|error| outbox.live.blame(error))
}

fn close(transport: &mut impl Write, outbox: &mut Outbox) -> Result<(), LoginError> {
    if let Err(error) = outbox.close() {
        say_farewell(transport, outbox);
        return Err(error.into());
    }
    Ok(flush(transport, outbox)?)
}

/// Sends everything that is sealed, or fails and keeps the rest for the next call.
fn drain(transport: &mut impl Write, outbox: &mut Outbox) -> io::Result<()> {
    loop {
        match outbox.pending().map_err(of_write)? {
            [] => return Ok(()),
            rest => {
                let taken = transport.write(rest);
                outbox.written(taken)?;
            }
        }
    }
}
