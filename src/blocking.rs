//! The blocking adapter: a login over any `Read + Write`, and the encrypted stream after it.
//!
//! [`connect`] is the client's one call and [`accept`] the server's. [`receive`] stops a server's login at the point
//! where the private-key operation is about to begin, for admission control.

use crate::binding::ChannelBinding;
use crate::client::{self, ClientConfig};
use crate::credential::Credential;
use crate::crypto::{CryptoError, ServerKey};
use crate::error::{Misuse, Reason, RecordError};
use crate::frame::{FrameReader, FrameType};
use crate::grant::Grant;
use crate::server::{self, ServerConfig};
use crate::session::{Received, Session, SessionId};
use crate::time::Moment;
use crate::trust::ServerTrust;
use crate::verifier::Verifier;
use crate::{Suite, limits};
use core::fmt;
use core::time::Duration;
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

/// Why a login or a stream over a blocking transport failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The transport failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The peer closed the connection in the middle of the handshake.
    #[error("the peer closed the connection before its {awaited}{}", before(*awaited))]
    Disconnected {
        /// The frame that was awaited.
        awaited: FrameType,
    },
    /// The handshake or the session failed.
    #[error(transparent)]
    Protocol(#[from] crate::Error),
    /// Server side: the login was refused, and the refusal sent.
    #[error("login refused: {reason}")]
    Refused {
        /// The user the client named, where the login opened and named one.
        user: Option<String>,
        /// Why, for the audit log alone.
        reason: Reason,
    },
}

fn before(awaited: FrameType) -> &'static str {
    match awaited {
        FrameType::ServerHello => ": it may be busy, share no version or suite, or speak another protocol",
        FrameType::ServerVerdict => ": it may have been stopped, or the login took too long",
        _ => "",
    }
}

/// A byte stream that a deadline can be put on.
///
/// Implemented for [`TcpStream`] and Unix streams, owned and by reference. Wrap anything else in
/// [`Untimed`], and bound its time in some other way.
pub trait Transport: Read + Write {
    /// Makes every later read and write fail with [`io::ErrorKind::WouldBlock`] or [`io::ErrorKind::TimedOut`] after
    /// this long; `None` waits for ever.
    ///
    /// # Errors
    /// As the transport's own.
    fn set_timeouts(&mut self, timeout: Option<Duration>) -> io::Result<()>;
}

macro_rules! transport {
    ($($stream:ty),*) => { $(
        impl Transport for $stream {
            fn set_timeouts(&mut self, timeout: Option<Duration>) -> io::Result<()> {
                self.set_read_timeout(timeout)?;
                self.set_write_timeout(timeout)
            }
        }
    )* };
}
transport!(TcpStream, &TcpStream);
#[cfg(unix)]
transport!(std::os::unix::net::UnixStream, &std::os::unix::net::UnixStream);

/// A stream without timeouts: a handshake over it can be stalled by the peer for ever.
#[derive(Debug)]
pub struct Untimed<S>(pub S);

impl<S: Read> Read for Untimed<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<S: Write> Write for Untimed<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<S: Read + Write> Transport for Untimed<S> {
    fn set_timeouts(&mut self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}

/// Logs in over `stream`: sends the ClientHello, checks the server's key against `trust`, sends the credential, and
/// waits for the verdict.
///
/// # Errors
/// [`Error`]. Unless it says otherwise, nothing secret has been sent.
pub fn connect<S: Transport>(
    stream: S,
    config: &Arc<ClientConfig>,
    binding: &ChannelBinding,
    trust: &ServerTrust,
    credential: Credential<'_>,
) -> Result<Stream<S>, Error> {
    let mut rng = rng()?;
    let mut link = Link::new(stream);
    let (hello, state) = client::start(config, binding, trust.known_keys(), &mut rng, link.now())?;
    link.deadline = state.deadline();
    link.send(&hello)?;
    let frame = link.receive(client::AwaitChallenge::EXPECTS)?;
    let trusted = state.read(&frame, link.now())?.trust(trust)?;
    let (login, state) = trusted.login(credential, &mut rng)?;
    link.send(&login)?;
    let frame = link.receive(client::AwaitVerdict::EXPECTS)?;
    let session = state.read(&frame, link.now())?;
    link.into_stream(session)
}

/// Accepts a login over `stream` under one server key: everything from the ClientHello to the verdict.
///
/// A refusal is sent before this returns, no earlier than the refusal floor.
///
/// # Errors
/// [`Error`]; [`Error::Refused`] has the reason for the audit log.
pub fn accept<S: Transport>(
    stream: S,
    config: &Arc<ServerConfig>,
    binding: &ChannelBinding,
    key: &ServerKey,
    verifier: &(impl Verifier + ?Sized),
) -> Result<Stream<S>, Error> {
    receive(stream, config, binding, |_| Some(key.clone()))?.verify(verifier)
}

/// Receives a login over `stream`, up to where the private-key operation begins.
///
/// `choose_key` is told the server name that the client wants, and gives the key to use, or `None` to close the
/// connection.
///
/// # Errors
/// [`Error`]; a malformed login was answered with the one refusal.
pub fn receive<S: Transport>(
    stream: S,
    config: &Arc<ServerConfig>,
    binding: &ChannelBinding,
    choose_key: impl FnOnce(&str) -> Option<ServerKey>,
) -> Result<Incoming<S>, Error> {
    let mut rng = rng()?;
    let mut link = Link::new(stream);
    let state = server::AwaitHello::new(config, binding, link.now());
    link.deadline = state.deadline();
    let frame = link.receive(server::AwaitHello::EXPECTS)?;
    let choice = state.read(&frame, link.now())?;
    let key = choose_key(choice.server_name()).ok_or(crate::Error::NoServerKey)?;
    let (challenge, state) = choice.challenge(&key, &mut rng)?;
    drop(frame);
    link.send(&challenge)?;
    match link.receive(server::AwaitLogin::EXPECTS) {
        Ok(frame) => match state.read(frame, link.now()) {
            Ok(login) => Ok(Incoming { link, login, rng }),
            Err(refusal) => Err(link.refuse(refusal, None)),
        },
        // What came is no login, and the peer may be waiting for its answer: it gets the one there is.
        Err(Error::Protocol(error @ crate::Error::Frame(_))) => {
            let refusal = state.fail(error, link.now());
            Err(link.refuse(refusal, None))
        }
        Err(error) => Err(error),
    }
}

/// A well-formed login, not yet opened. *Is it admitted?*
pub struct Incoming<S> {
    link: Link<S>,
    login: server::Login,
    rng: StdRng,
}

impl<S: Transport> Incoming<S> {
    /// Admits the login: does the RSA operation, asks the verifier, and sends the verdict.
    ///
    /// # Errors
    /// [`Error`]; a refusal was sent.
    pub fn verify(mut self, verifier: &(impl Verifier + ?Sized)) -> Result<Stream<S>, Error> {
        let claim = self.login.admit().run(&mut self.rng);
        let credential = claim.credential();
        let user = credential.user().filter(|user| !user.is_empty()).map(str::to_owned);
        let verdict = match verifier.verify(credential) {
            Ok(grant) => claim.accept(grant),
            Err(reason) => Err(claim.reject(reason)),
        };
        match verdict {
            Ok(accepted) => {
                self.link.extend_deadline();
                self.link.send(&accepted.frame)?;
                self.link.into_stream(accepted.session)
            }
            Err(refusal) => Err(self.link.refuse(refusal, user)),
        }
    }

    /// Refuses the login before the RSA operation.
    pub fn refuse(mut self, reason: Reason) -> Error {
        self.link.refuse(self.login.refuse(reason), None)
    }
}

impl<S> fmt::Debug for Incoming<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}

/// A generator seeded by the operating system.
fn rng() -> Result<StdRng, Error> {
    StdRng::try_from_rng(&mut SysRng).map_err(|_| crate::Error::from(CryptoError::Failed).into())
}

/// A transport under a deadline, with a clock that starts when it does.
struct Link<S> {
    stream: S,
    start: Instant,
    deadline: Moment,
}

/// How long sending a verdict may take once the handshake's own deadline no longer bounds it.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(5);

impl<S: Transport> Link<S> {
    fn new(stream: S) -> Self {
        Self { stream, start: Instant::now(), deadline: Moment::ORIGIN }
    }

    fn now(&self) -> Moment {
        Moment::after_origin(self.start.elapsed())
    }

    fn extend_deadline(&mut self) {
        self.deadline = self.now().after(VERDICT_TIMEOUT);
    }

    /// Puts what is left of the deadline on the next call of the transport.
    fn arm(&mut self) -> Result<(), Error> {
        match self.deadline.saturating_since(self.now()) {
            Duration::ZERO => Err(crate::Error::DeadlinePassed.into()),
            left => Ok(self.stream.set_timeouts(Some(left))?),
        }
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            self.arm()?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(error) => retry(error)?,
            }
        }
        self.stream.flush()?;
        Ok(())
    }

    fn receive(&mut self, expected: &[FrameType]) -> Result<Vec<u8>, Error> {
        let mut reader = FrameReader::new();
        let mut scratch = [0; 1024];
        loop {
            if let Some(frame) = reader.take() {
                return Ok(frame);
            }
            self.arm()?;
            match fill(&mut self.stream, &mut reader, &mut scratch, expected) {
                Ok(0) => {
                    let awaited = expected.first().copied().unwrap_or(FrameType::Close);
                    return Err(Error::Disconnected { awaited });
                }
                Ok(_) => {}
                Err(Error::Io(error)) => retry(error)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a refusal when it is due, and gives the error that says so locally.
    fn refuse(&mut self, refusal: server::Refusal, user: Option<String>) -> Error {
        std::thread::sleep(refusal.not_before.saturating_since(self.now()));
        self.extend_deadline();
        // The refusal is the news; a peer that has left already changes nothing.
        let _ = self.send(&refusal.frame);
        Error::Refused { user, reason: refusal.reason }
    }

    fn into_stream(mut self, session: Session) -> Result<Stream<S>, Error> {
        self.stream.set_timeouts(None)?;
        Ok(Stream {
            transport: self.stream,
            session,
            reader: FrameReader::new(),
            opened: Vec::new(),
            read: 0,
            outbox: Outbox::default(),
            ended: false,
        })
    }
}

/// Reads once into the frame that `reader` is on, never past its end. Gives the number of bytes; 0 at the end.
fn fill<S: Read>(
    stream: &mut S,
    reader: &mut FrameReader,
    scratch: &mut [u8],
    expected: &[FrameType],
) -> Result<usize, Error> {
    let wanted = reader.missing().map_err(crate::Error::from)?.min(scratch.len());
    let room = scratch.get_mut(..wanted).unwrap_or_default();
    let count = stream.read(room)?;
    let bytes = room.get(..count).unwrap_or_default();
    reader.feed(bytes, expected).map_err(crate::Error::from)?;
    Ok(count)
}

fn retry(error: io::Error) -> Result<(), Error> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(crate::Error::DeadlinePassed.into()),
        _ => Err(error.into()),
    }
}

/// The encrypted stream after a login: `Read + Write`, with the peer's name on it.
///
/// Reading gives `Ok(0)` only after the peer's authenticated close. A stream that was cut, or altered on the way, gives
/// an [`io::Error`] whose inner error is a [`crate::Error`]. Every write is sealed and sent at once; use a
/// [`std::io::BufWriter`] for many small ones. Dropping the stream does not close it: call [`Stream::close`], or the
/// peer will rightly report a cut.
pub struct Stream<S> {
    transport: S,
    session: Session,
    reader: FrameReader,
    opened: Vec<u8>,
    read: usize,
    outbox: Outbox,
    ended: bool,
}

/// Sealed bytes on their way out. What the transport did not take yet is kept: a record is never sent in part.
#[derive(Default)]
struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// The buffer to append to.
    fn room(&mut self) -> &mut Vec<u8> {
        if self.sent >= self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        }
        &mut self.bytes
    }

    /// Sends everything, or fails with the rest kept for the next call.
    fn drain(&mut self, transport: &mut impl Write) -> io::Result<()> {
        loop {
            match self.bytes.get(self.sent..).unwrap_or_default() {
                [] => return Ok(()),
                rest => match transport.write(rest) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => self.sent = self.sent.saturating_add(count),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                },
            }
        }
    }
}

impl<S: Read + Write> Stream<S> {
    /// Who the client is, and what it may do.
    pub fn grant(&self) -> &Grant {
        self.session.grant()
    }

    /// The suite of the session.
    pub fn suite(&self) -> Suite {
        self.session.suite()
    }

    /// The session's public name, the same at both ends: for logs.
    pub fn id(&self) -> SessionId {
        self.session.id()
    }

    /// The session itself, for [`Session::export`].
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The transport underneath, for its addresses and options. Reading from it or writing to it breaks the stream.
    pub fn transport(&self) -> &S {
        &self.transport
    }

    /// Changes the sending key, so that what was sent so far can't be read with what is in memory from now on.
    ///
    /// # Errors
    /// [`Error`].
    pub fn update_key(&mut self) -> Result<(), Error> {
        self.session.update_key(self.outbox.room())?;
        Ok(self.outbox.drain(&mut self.transport)?)
    }

    /// Ends this direction: the peer's next read past the data gives `Ok(0)`. Reading goes on.
    ///
    /// # Errors
    /// [`Error`]; [`Misuse::Closed`] the second time.
    pub fn close(&mut self) -> Result<(), Error> {
        self.session.close(self.outbox.room())?;
        Ok(self.flush()?)
    }

    /// Reads the next record; false after the peer's close.
    fn next_record(&mut self) -> Result<bool, Error> {
        let mut scratch = [0; 4096];
        loop {
            let Some(frame) = self.reader.take() else {
                let count = match fill(&mut self.transport, &mut self.reader, &mut scratch, Session::EXPECTS) {
                    Err(Error::Protocol(crate::Error::Frame(error))) => {
                        return Err(crate::Error::from(RecordError::Frame(error)).into());
                    }
                    other => other?,
                };
                if count == 0 {
                    self.session.end().map_err(crate::Error::from)?;
                    return Ok(false);
                }
                continue;
            };
            self.opened = frame;
            self.read = self.opened.len();
            match self.session.open(&mut self.opened)? {
                Received::Data(data) => {
                    let (start, end) = (limits::FRAME_HEADER, limits::FRAME_HEADER.saturating_add(data.len()));
                    self.opened.truncate(end);
                    self.read = start;
                    return Ok(true);
                }
                Received::KeyUpdate => {}
                Received::Close => {
                    self.ended = true;
                    return Ok(false);
                }
            }
        }
    }
}

impl<S: Read + Write> Read for Stream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.read >= self.opened.len() && (self.ended || !self.next_record().map_err(into_io)?) {
            return Ok(0);
        }
        let ready = self.opened.get(self.read..).unwrap_or_default();
        let count = ready.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), ready.get(..count)) {
            to.copy_from_slice(from);
        }
        self.read = self.read.saturating_add(count);
        Ok(count)
    }
}

impl<S: Read + Write> Write for Stream<S> {
    /// Seals up to 16384 bytes and sends them. Where the transport has a timeout and takes only a part in time, the rest
    /// goes out with the next write or flush.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outbox.drain(&mut self.transport)?;
        let piece = bytes.get(..bytes.len().min(limits::MAX_RECORD)).unwrap_or_default();
        self.session.seal(piece, self.outbox.room()).map_err(|error| into_io(error.into()))?;
        match self.outbox.drain(&mut self.transport) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Err(error),
            _ => Ok(piece.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.outbox.drain(&mut self.transport)?;
        self.transport.flush()
    }
}

/// As `Read` and `Write` report it: the transport's own error as it is, ours inside one of a fitting kind.
fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io(inner) => inner,
        Error::Protocol(inner) => {
            let kind = match inner {
                crate::Error::Record(RecordError::Truncated) => io::ErrorKind::UnexpectedEof,
                crate::Error::Misuse(Misuse::Closed) => io::ErrorKind::BrokenPipe,
                _ => io::ErrorKind::InvalidData,
            };
            io::Error::new(kind, inner)
        }
        other => io::Error::other(other),
    }
}

impl<S> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("session", &self.session.id()).finish_non_exhaustive()
    }
}
