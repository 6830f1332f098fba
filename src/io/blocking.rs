//! The blocking adapter: a login over any `Read + Write`, and the encrypted stream after it.
//!
//! [`connect`] is the client's one call and [`accept`] the server's. [`receive`] stops a server's login at the point
//! where the private-key operation is about to begin, for admission control.

use crate::crypto::ServerKey;
use crate::handshake::client::{self, Answer, ClientConfig};
use crate::handshake::server::{self, ServerConfig};
use crate::io::script::{self, Next, Timer, into_io};
use crate::io::stream::{Inbox, Outbox};
use crate::session::{Session, SessionInfo};
use crate::terms::binding::ChannelBinding;
use crate::terms::credential::Credential;
use crate::terms::error::Reason;
use crate::terms::ticket::Ticket;
use crate::terms::trust::ServerTrust;
use crate::terms::verifier::Verifier;
use crate::time::Moment;
use crate::wire::frame::{FrameReader, FrameType};
use core::fmt;
use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

pub use crate::io::script::Error;
pub use crate::io::stream::Stream;

/// What one read takes from the transport at the most: a full record and the header of the next.
const SCRATCH: usize = 16 * 1024 + 64;

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

    /// Ends the sending direction and leaves the other one open, if the transport can do that.
    ///
    /// # Errors
    /// As the transport's own.
    fn end_sending(&mut self) -> io::Result<()> {
        Ok(())
    }
}

macro_rules! transport {
    ($($stream:ty),*) => { $(
        impl Transport for $stream {
            fn set_timeouts(&mut self, timeout: Option<Duration>) -> io::Result<()> {
                self.set_read_timeout(timeout)?;
                self.set_write_timeout(timeout)
            }

            fn end_sending(&mut self) -> io::Result<()> {
                self.shutdown(std::net::Shutdown::Write)
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
/// [`Error`]. Only those that say so guarantee that nothing secret has been sent.
pub fn connect<S: Transport>(
    stream: S,
    config: &Arc<ClientConfig>,
    binding: &ChannelBinding,
    trust: &ServerTrust,
    credential: Credential<'_>,
) -> Result<Stream<S>, Error> {
    match begin(stream, config, binding, trust, None)? {
        Begun::Resumed(stream) => Ok(stream),
        Begun::Trusted(trusted) => trusted.login(credential),
    }
}

/// Begins a login over `stream`, with the ticket of an earlier one if there is: sends the ClientHello, and checks the
/// server's answer against `trust`. Only if the server does not take the ticket is a credential needed.
///
/// A ticket of a server that `trust` does not cover is not shown. [`SessionInfo::ticket`] has the next one.
///
/// # Errors
/// [`Error`]. Nothing secret has been sent.
pub fn begin<S: Transport>(
    stream: S,
    config: &Arc<ClientConfig>,
    binding: &ChannelBinding,
    trust: &ServerTrust,
    ticket: Option<&Ticket>,
) -> Result<Begun<S>, Error> {
    let mut link = Link::new(stream);
    let now = link.timer.now();
    let (hello, state) = script::hello(config, binding, trust, ticket, &mut script::rng()?, now)?;
    link.timer.set_deadline(state.deadline());
    link.send(&hello)?;
    let frame = link.receive(state.expects())?;
    match state.read(&frame, link.timer.now())? {
        Answer::Resumed(session) => Ok(Begun::Resumed(link.into_stream(session)?)),
        Answer::Challenge(challenge) => Ok(Begun::Trusted(Trusted { state: challenge.trust(trust)?, link })),
    }
}

/// How a login goes on after [`begin`].
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "moved once, on the stack")]
pub enum Begun<S> {
    /// The server took the ticket: the login is over.
    Resumed(Stream<S>),
    /// The server wants a credential, and its key is trusted.
    Trusted(Trusted<S>),
}

/// A server whose key is trusted, waiting for a credential until the handshake's deadline.
pub struct Trusted<S> {
    link: Link<S>,
    state: client::Trusted,
}

impl<S: Transport> Trusted<S> {
    /// Sends the credential, and waits for the verdict.
    ///
    /// # Errors
    /// [`Error`].
    pub fn login(mut self, credential: Credential<'_>) -> Result<Stream<S>, Error> {
        let (login, state) = self.state.login(credential, &mut script::rng()?)?;
        self.link.send(&login)?;
        let frame = self.link.receive(client::AwaitVerdict::EXPECTS)?;
        let session = state.read(&frame, self.link.timer.now())?;
        self.link.into_stream(session)
    }
}

impl<S> fmt::Debug for Trusted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trusted").finish_non_exhaustive()
    }
}

/// Accepts a login over `stream` under one server key: everything from the ClientHello to the verdict.
///
/// A refusal is sent before this returns, no earlier than the refusal floor. The transport's timeouts are used for the
/// handshake and cleared after it.
///
/// # Errors
/// [`Error`]; [`Error::LoginRefused`] has the reason for the audit log.
pub fn accept<S: Transport>(
    stream: S,
    config: &Arc<ServerConfig>,
    binding: &ChannelBinding,
    key: &ServerKey,
    verifier: &(impl Verifier + ?Sized),
) -> Result<Stream<S>, Error> {
    match receive(stream, config, binding, |_| Some(key.clone()), verifier)? {
        Arrival::Resumed(stream) => Ok(stream),
        Arrival::Login(login) => login.verify(verifier),
    }
}

/// Receives a login over `stream`, up to where the private-key operation begins.
///
/// `choose_key` is told the server name that the client wants, and gives the key to use, or `None` to close the
/// connection. `verifier` is asked for the account of a client with a ticket ([`Verifier::current`]); if it is still
/// welcome, the login is over at once.
///
/// # Errors
/// [`Error`]; a malformed login was answered with the one refusal.
pub fn receive<S: Transport>(
    stream: S,
    config: &Arc<ServerConfig>,
    binding: &ChannelBinding,
    choose_key: impl FnOnce(&str) -> Option<ServerKey>,
    verifier: &(impl Verifier + ?Sized),
) -> Result<Arrival<S>, Error> {
    let mut rng = script::rng()?;
    let mut link = Link::new(stream);
    let state = server::AwaitHello::new(config, binding, link.now());
    link.timer.set_deadline(state.deadline());
    let frame = link.receive(server::AwaitHello::EXPECTS)?;
    let choice = state.read(&frame, link.now())?;
    let key = choose_key(choice.server_name()).ok_or(crate::Error::NoServerKey)?;
    let (challenge, state) = match script::answer(choice, &key, verifier, &mut rng)? {
        Next::Challenged(challenge, state) => (challenge, state),
        Next::Resumed(accepted) => {
            link.send(&accepted.frame)?;
            return Ok(Arrival::Resumed(link.into_stream(accepted.session)?));
        }
    };
    drop(frame);
    link.send(&challenge)?;
    match link.receive(server::AwaitLogin::EXPECTS) {
        Ok(frame) => match state.read(frame, link.now()) {
            Ok(login) => Ok(Arrival::Login(Incoming { link, login })),
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

/// What [`receive`] received.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "moved once, on the stack")]
pub enum Arrival<S> {
    /// A good ticket of somebody who is still welcome: the login is over.
    Resumed(Stream<S>),
    /// A login, to admit or to refuse.
    Login(Incoming<S>),
}

/// A well-formed login, not yet opened. *Is it admitted?*
pub struct Incoming<S> {
    link: Link<S>,
    login: server::Login,
}

impl<S: Transport> Incoming<S> {
    /// Admits the login and answers it: [`Incoming::decide`], then [`Decided::send`].
    ///
    /// # Errors
    /// As [`Decided::send`].
    pub fn verify(self, verifier: &(impl Verifier + ?Sized)) -> Result<Stream<S>, Error> {
        self.decide(verifier)?.send()
    }

    /// Admits the login: does the RSA operation and asks the verifier. All the work is in here, and none of the waiting:
    /// hold whatever bounds the number of logins that compute at once for as long as this takes.
    ///
    /// # Errors
    /// [`Error::Protocol`] where the operating system gives no randomness.
    pub fn decide(self, verifier: &(impl Verifier + ?Sized)) -> Result<Decided<S>, Error> {
        let mut rng = script::rng()?;
        let claim = self.login.admit().run(&mut rng);
        Ok(Decided { link: self.link, decision: script::decide(claim, verifier, &mut rng) })
    }

    /// Refuses the login before the RSA operation.
    pub fn refuse(mut self, reason: Reason) -> Error {
        self.link.refuse(self.login.refuse(reason), None)
    }
}

/// A login that was decided, and not answered yet.
pub struct Decided<S> {
    link: Link<S>,
    decision: script::Decision,
}

impl<S: Transport> Decided<S> {
    /// Whether the verdict is an accept.
    pub fn is_accepted(&self) -> bool {
        self.decision.1.is_ok()
    }

    /// Sends the verdict: an accept at once, a refusal when it is due.
    ///
    /// # Errors
    /// [`Error::LoginRefused`] once a refusal was sent; otherwise what kept an accept from being sent.
    pub fn send(mut self) -> Result<Stream<S>, Error> {
        match self.decision {
            (_, Ok(accepted)) => {
                self.link.timer.allow_for_verdict();
                self.link.send(&accepted.frame)?;
                self.link.into_stream(accepted.session)
            }
            (user, Err(refusal)) => Err(self.link.refuse(refusal, user)),
        }
    }
}

impl<S> fmt::Debug for Decided<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decided").finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for Incoming<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}

/// A transport under a deadline.
struct Link<S> {
    stream: S,
    timer: Timer,
}

impl<S: Transport> Link<S> {
    fn new(stream: S) -> Self {
        Self { stream, timer: Timer::start() }
    }

    fn now(&self) -> Moment {
        self.timer.now()
    }

    /// Puts what is left of the deadline on the next call of the transport.
    fn arm(&mut self) -> Result<(), Error> {
        Ok(self.stream.set_timeouts(Some(self.timer.left()?))?)
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
        Ok(self.stream.flush()?)
    }

    /// Receives one whole frame, and never a byte past its end.
    fn receive(&mut self, expected: &[FrameType]) -> Result<Vec<u8>, Error> {
        let mut reader = FrameReader::new();
        let mut scratch = [0; 1024];
        loop {
            if let Some(frame) = reader.take() {
                return Ok(frame);
            }
            self.arm()?;
            let wanted = reader.missing().map_err(crate::Error::from)?.min(scratch.len());
            let room = scratch.get_mut(..wanted).unwrap_or_default();
            match self.stream.read(room) {
                Ok(0) => {
                    return Err(Error::Disconnected { awaited: expected.first().copied().unwrap_or(FrameType::Close) });
                }
                Ok(count) => {
                    let bytes = room.get(..count).unwrap_or_default();
                    reader.feed(bytes, expected).map_err(crate::Error::from)?;
                }
                Err(error) => retry(error)?,
            }
        }
    }

    /// Sends a refusal when it is due, and gives the error that says so locally.
    fn refuse(&mut self, refusal: server::Refusal, user: Option<String>) -> Error {
        std::thread::sleep(self.timer.until(refusal.not_before));
        self.timer.allow_for_verdict();
        // The refusal is the news; a peer that has left already changes nothing.
        let _ = self.send(&refusal.frame).and_then(|()| self.hang_up());
        Error::LoginRefused { user, reason: refusal.reason }
    }

    /// Ends the sending direction, and lets the peer end its own.
    fn hang_up(&mut self) -> Result<(), Error> {
        self.stream.end_sending()?;
        self.timer.set_deadline(self.now().after(script::LINGER));
        let mut scratch = [0; 1024];
        loop {
            self.arm()?;
            match self.stream.read(&mut scratch) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) => retry(error)?,
            }
        }
    }

    fn into_stream(mut self, session: Session) -> Result<Stream<S>, Error> {
        self.stream.set_timeouts(None)?;
        Ok(Stream::new(self.stream, session))
    }
}

fn retry(error: io::Error) -> Result<(), Error> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(crate::Error::DeadlinePassed.into()),
        _ => Err(error.into()),
    }
}

impl<S> Stream<S> {
    /// What is known of the session, and two halves for two threads. `duplicate` makes a second handle of the transport, as [`TcpStream::try_clone`] does.
    ///
    /// # Errors
    /// As `duplicate`.
    pub fn split(self, duplicate: impl FnOnce(&S) -> io::Result<S>) -> io::Result<(SessionInfo, Reader<S>, Writer<S>)> {
        let reader = Reader { transport: duplicate(&self.transport)?, inbox: self.inbox };
        Ok((self.info, reader, Writer { transport: self.transport, outbox: self.outbox }))
    }
}

impl<S: Transport> Stream<S> {
    /// Ends the session without losing a byte on the way: closes, lets the peer say the rest, which is thrown away, and
    /// returns at its close, or when `patience` is over.
    ///
    /// # Errors
    /// [`Error`]: the peer may not have got everything.
    pub fn finish(mut self, patience: Duration) -> Result<(), Error> {
        let timer = Timer::start();
        let end = timer.now().after(patience);
        self.close()?;
        let mut scratch = [0; 1024];
        loop {
            let left = timer.until(end);
            if left.is_zero() {
                return Ok(());
            }
            self.transport.set_timeouts(Some(left))?;
            match self.read(&mut scratch) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl<S: Write> Stream<S> {
    /// Ends this direction: the peer's next read past the data gives `Ok(0)`. Reading goes on. Where the transport did not
    /// take everything in time, call it again.
    ///
    /// # Errors
    /// [`Error`].
    pub fn close(&mut self) -> Result<(), Error> {
        close(&mut self.transport, &mut self.outbox)
    }
}

impl<S: Read> Read for Stream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read(&mut self.transport, &mut self.inbox, buffer)
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
}

impl<S: Write> Writer<S> {
    /// As [`Stream::update_key`].
    ///
    /// # Errors
    /// As [`Stream::update_key`].
    pub fn update_key(&mut self) -> Result<(), crate::Error> {
        self.outbox.update_key()
    }

    /// As [`Stream::close`].
    ///
    /// # Errors
    /// As [`Stream::close`].
    pub fn close(&mut self) -> Result<(), Error> {
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
        if let Some(count) = inbox.read(buffer).map_err(into_io)? {
            return Ok(count);
        }
        fill(transport, inbox)?;
    }
}

/// Reads once from the transport. A function of its own, so that its buffer costs nothing while there is something left.
#[inline(never)]
fn fill(transport: &mut impl Read, inbox: &mut Inbox) -> io::Result<()> {
    let mut scratch = [0; SCRATCH];
    match transport.read(&mut scratch) {
        Ok(0) => inbox.finish(),
        Ok(count) => inbox.push(scratch.get(..count).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

fn write(transport: &mut impl Write, outbox: &mut Outbox, bytes: &[u8]) -> io::Result<usize> {
    drain(transport, outbox)?;
    let count = outbox.seal(bytes).map_err(into_io)?;
    match drain(transport, outbox) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Err(error),
        _ => Ok(count),
    }
}

fn flush(transport: &mut impl Write, outbox: &mut Outbox) -> io::Result<()> {
    drain(transport, outbox)?;
    transport.flush()
}

fn close(transport: &mut impl Write, outbox: &mut Outbox) -> Result<(), Error> {
    outbox.close()?;
    Ok(flush(transport, outbox)?)
}

/// Sends everything that is sealed, or fails and keeps the rest for the next call.
fn drain(transport: &mut impl Write, outbox: &mut Outbox) -> io::Result<()> {
    loop {
        match outbox.pending().map_err(into_io)? {
            [] => return Ok(()),
            rest => match transport.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => outbox.advance(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            },
        }
    }
}
