//! The tokio adapter: a login over any `AsyncRead + AsyncWrite`, and the encrypted stream after it.
//!
//! [`connect`] is the client's one call; an [`Acceptor`] is the server's. The RSA operation and the password hash run on
//! tokio's blocking threads, a bounded number at once.
//!
//! Every call honours the handshake's deadline. Dropping a future in the middle of a handshake ends the handshake; the
//! stream after it may be read and written in `select!` without losing a byte.
#![cfg_attr(
    all(feature = "rustcrypto", feature = "accounts"),
    doc = r#"
```
use countersign::tokio::{Acceptor, connect};
use countersign::{Accounts, ChannelBinding, ClientConfig, Credential, PrivateKey, ServerConfig, ServerKey, ServerTrust};
use countersign::crypto::rustcrypto;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

# #[tokio::main(flavor = "current_thread")]
# async fn main() -> Result<(), Box<dyn std::error::Error>> {
# let key = PrivateKey::from_pem(include_str!("../../tests/keys/rsa2048.pem"))?;
let trust = ServerTrust::pin(key.public_key().id());
let mut accounts = Accounts::new();
accounts.add("alice", ["read"])?;
accounts.set_password("alice", b"correct horse")?;
let provider = rustcrypto::provider();
let acceptor = Acceptor::new(ServerConfig::new(provider), ServerKey::load(&key, provider)?, accounts);

let (ours, theirs) = tokio::io::duplex(4096); // two TCP sockets, usually
let server = tokio::spawn(async move {
    let mut session = acceptor.accept(theirs, &ChannelBinding::none()).await?;
    session.write_all(b"hello, ").await?;
    let name = session.grant().principal().to_owned();
    session.write_all(name.as_bytes()).await?;
    session.shutdown().await?; // the authenticated close
    Ok::<_, countersign::tokio::Error>(())
});

let config = Arc::new(ClientConfig::new(provider));
let alice = Credential::Password { user: "alice", password: b"correct horse" };
let mut session = connect(ours, &config, &ChannelBinding::none(), &trust, alice).await?;
let mut greeting = String::new();
session.read_to_string(&mut greeting).await?;
assert_eq!(greeting, "hello, alice");
# server.await??;
# Ok(())
# }
```
"#
)]

use super::workers;

use crate::crypto::ServerKey;
use crate::handshake::client::{self, Answer, ClientConfig};
use crate::handshake::server::{self, Claim, Login, Open, Refusal, ServerConfig};
use crate::io::script::{self, Decision, Next, Timer, into_io};
use crate::session::Session;
use crate::terms::binding::ChannelBinding;
use crate::terms::credential::Credential;
use crate::terms::error::Reason;
use crate::terms::ticket::Ticket;
use crate::terms::trust::ServerTrust;
use crate::terms::verifier::Verifier;
use crate::wire::frame::{FrameReader, FrameType};
use core::fmt;
use core::future::Future;
use core::mem::MaybeUninit;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use rand::rngs::StdRng;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use workers::{Turn, Waits, Workers};

pub use crate::io::script::Error;
pub use crate::io::stream::Stream;

/// What one read takes from the transport at the most: a full record and the header of the next.
const SCRATCH: usize = 16 * 1024 + 64;

/// Logs in over `stream`: sends the ClientHello, checks the server's key against `trust`, sends the credential, and
/// waits for the verdict.
///
/// # Errors
/// [`Error`]. Only those that say so guarantee that nothing secret has been sent.
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    config: &Arc<ClientConfig>,
    binding: &ChannelBinding,
    trust: &ServerTrust,
    credential: Credential<'_>,
) -> Result<Stream<S>, Error> {
    match begin(stream, config, binding, trust, None).await? {
        Begun::Resumed(stream) => Ok(stream),
        Begun::Trusted(trusted) => trusted.login(credential).await,
    }
}

/// Begins a login over `stream`, with the ticket of an earlier one if there is: sends the ClientHello, and checks the
/// server's answer against `trust`. Only if the server does not take the ticket is a credential needed.
///
/// A ticket of a server that `trust` does not cover is not shown. [`crate::SessionInfo::ticket`] has the next one.
///
/// # Errors
/// [`Error`]. Nothing secret has been sent.
pub async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
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
    link.send(&hello).await?;
    let frame = link.receive(state.expects()).await?;
    match state.read(&frame, link.timer.now())? {
        Answer::Resumed(session) => Ok(Begun::Resumed(link.into_stream(session))),
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

impl<S: AsyncRead + AsyncWrite + Unpin> Trusted<S> {
    /// Sends the credential, and waits for the verdict.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn login(mut self, credential: Credential<'_>) -> Result<Stream<S>, Error> {
        let (login, state) = self.state.login(credential, &mut script::rng()?)?;
        self.link.send(&login).await?;
        let frame = self.link.receive(client::AwaitVerdict::EXPECTS).await?;
        let session = state.read(&frame, self.link.timer.now())?;
        Ok(self.link.into_stream(session))
    }
}

impl<S> fmt::Debug for Trusted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trusted").finish_non_exhaustive()
    }
}

/// What strangers may make a server do at once.
///
/// Handshakes and computing logins are bounded apart: the first cost memory, the second processors. A login that would wait
/// too long for its turn is refused before the RSA operation, so that under overload those that are taken are still served
/// in time.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    handshakes: usize,
    working: usize,
    waiting: usize,
    patience: Duration,
}

impl Default for Bounds {
    /// 1024 handshakes; as many computing logins as there are processors, 256 waiting ones, and a second of patience.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, core::num::NonZero::get);
        Self { handshakes: 1024, working: processors, waiting: 256, patience: Duration::from_secs(1) }
    }
}

impl Bounds {
    /// Bounds the handshakes that are open at once, from the connection until the verdict is sent, or the refusal and the
    /// peer's end of it; an [`Incoming`] holds its place for as long as it is kept. One past them ends with [`Error::Busy`],
    /// and nothing is sent.
    ///
    /// Strangers who connect and stay silent fill it until their deadline. Bound the connections of each address before it
    /// where that can happen.
    #[must_use]
    pub fn with_handshakes(mut self, handshakes: usize) -> Self {
        self.handshakes = handshakes.min(Semaphore::MAX_PERMITS);
        self
    }

    /// Bounds the logins whose RSA operation and password hash run at once, at least 1. Each may take as much memory as the
    /// password hash does: 19 MiB with Argon2id at its defaults.
    #[must_use]
    pub fn with_working(mut self, working: usize) -> Self {
        self.working = working.max(1);
        self
    }

    /// Bounds the logins that wait for their turn. One past them is refused, as [`Reason::NotAdmitted`].
    #[must_use]
    pub fn with_waiting(mut self, waiting: usize) -> Self {
        self.waiting = waiting;
        self
    }

    /// Bounds how long a login waits for its turn; the handshake's deadline does so, too. After that it is refused, as
    /// [`Reason::NotAdmitted`].
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// What all logins to one server share. Cheap to clone; a clone shares the bounds.
#[derive(Clone)]
pub struct Acceptor(Arc<Shared>);

struct Shared {
    config: Arc<ServerConfig>,
    key: ServerKey,
    verifier: Arc<dyn Verifier + Send + Sync>,
    patience: Duration,
    /// A permit for each handshake.
    handshakes: Arc<Semaphore>,
    workers: Arc<Workers>,
}

impl Acceptor {
    /// Accepts logins under `key`, and asks `verifier` about them on a blocking thread, within [`Bounds::default`].
    pub fn new(config: ServerConfig, key: ServerKey, verifier: impl Verifier + Send + Sync + 'static) -> Self {
        Self::with_bounds(config, key, verifier, Bounds::default())
    }

    /// As [`Acceptor::new`], within bounds of your own.
    pub fn with_bounds(
        config: ServerConfig,
        key: ServerKey,
        verifier: impl Verifier + Send + Sync + 'static,
        bounds: Bounds,
    ) -> Self {
        let Bounds { handshakes, working, waiting, patience } = bounds;
        let handshakes = Arc::new(Semaphore::new(handshakes));
        let workers = Arc::new(Workers::new(working, waiting));
        let (config, verifier) = (Arc::new(config), Arc::new(verifier));
        Self(Arc::new(Shared { config, key, verifier, patience, handshakes, workers }))
    }

    /// Accepts a login over `stream`: everything from the ClientHello to the verdict. A refusal is sent before this
    /// returns, no earlier than the refusal floor.
    ///
    /// # Errors
    /// [`Error`]; [`Error::LoginRefused`] has the reason for the audit log.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        binding: &ChannelBinding,
    ) -> Result<Stream<S>, Error> {
        match self.receive(stream, binding, |_| Some(self.0.key.clone())).await? {
            Arrival::Resumed(stream) => Ok(stream),
            Arrival::Login(login) => login.verify().await,
        }
    }

    /// Receives a login over `stream`, up to where the private-key operation begins: the place for rate limits.
    ///
    /// `choose_key` is told the server name that the client wants, and gives the key to use, or `None` to close the
    /// connection. The verifier is asked for the account of a client with a ticket ([`Verifier::current`]), on the async
    /// thread: it should not block for long. If it is still welcome, the login is over at once.
    ///
    /// # Errors
    /// [`Error`]; a malformed login was answered with the one refusal.
    pub async fn receive<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        binding: &ChannelBinding,
        choose_key: impl FnOnce(&str) -> Option<ServerKey>,
    ) -> Result<Arrival<S>, Error> {
        let place = Arc::clone(&self.0.handshakes).try_acquire_owned().map_err(|_| Error::Busy)?;
        let mut link = Link::new(stream);
        let state = server::AwaitHello::new(&self.0.config, binding, link.timer.now());
        link.timer.set_deadline(state.deadline());
        let next = {
            let frame = link.receive(server::AwaitHello::EXPECTS).await?;
            let choice = state.read(&frame, link.timer.now())?;
            let key = choose_key(choice.server_name()).ok_or(crate::Error::NoServerKey)?;
            script::answer(choice, &key, &*self.0.verifier, &mut script::rng()?)?
        };
        let state = match next {
            Next::Challenged(challenge, state) => {
                link.send(&challenge).await?;
                state
            }
            Next::Resumed(accepted) => {
                link.send(&accepted.frame).await?;
                return Ok(Arrival::Resumed(link.into_stream(accepted.session)));
            }
        };
        let login = match link.receive(server::AwaitLogin::EXPECTS).await {
            Ok(frame) => state.read(frame, link.timer.now()),
            // What came is no login, and the peer may be waiting for its answer: it gets the one there is.
            Err(Error::Protocol(error @ crate::Error::Frame(_))) => Err(state.fail(error, link.timer.now())),
            Err(error) => return Err(error),
        };
        match login {
            Ok(login) => Ok(Arrival::Login(Incoming { shared: Arc::clone(&self.0), link, login, _place: place })),
            Err(refusal) => Err(link.refuse(refusal, None).await),
        }
    }
}

impl Shared {
    /// Asks the verifier about what `claim` gives, on a blocking thread; `claim` is told whether its turn came in time.
    async fn decide(
        &self,
        timer: &Timer,
        claim: impl FnOnce(Turn, &mut StdRng) -> Result<Claim, Refusal> + Send + 'static,
    ) -> Result<Decision, Error> {
        let verifier = Arc::clone(&self.verifier);
        let mut rng = script::rng()?;
        // A login that came in time is answered even if its turn is asked for only after the deadline.
        let left = timer.left().unwrap_or(Duration::ZERO);
        let waits = Waits { queued: left.min(self.patience), starting: left.max(self.patience) };
        let decided = self.workers.run(waits, move |turn| match claim(turn, &mut rng) {
            Ok(claim) => script::decide(claim, &*verifier, &mut rng),
            Err(refusal) => (None, Err(refusal)),
        });
        decided.await.ok_or_else(|| Error::Io(io::Error::other("the login's work panicked")))
    }
}

/// Too many logins for the bounds.
const BUSY: Reason = Reason::NotAdmitted("too many logins at once");

/// What [`Acceptor::receive`] received.
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
    shared: Arc<Shared>,
    link: Link<S>,
    login: Login,
    _place: OwnedSemaphorePermit,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Incoming<S> {
    /// Admits the login: waits for its turn, does the RSA operation and asks the verifier on a blocking thread, and sends
    /// the verdict.
    ///
    /// # Errors
    /// [`Error`]; a refusal was sent.
    pub async fn verify(self) -> Result<Stream<S>, Error> {
        let login = self.login;
        let claim = |turn, rng: &mut StdRng| match turn {
            Turn::InTime => Ok(login.admit().run(rng)),
            Turn::TooLate => Err(login.refuse(BUSY)),
        };
        let decision = self.shared.decide(&self.link.timer, claim).await?;
        self.link.conclude(decision).await
    }

    /// As [`Incoming::verify`], where the RSA operation is done elsewhere: by a hardware module, a service, or a queue that
    /// opens many logins at once. `open` ends with [`Open::answer`], or with [`Open::refuse`] where there is no room; where the
    /// module does not answer, with `Open::answer(Decrypted::failed())`. The login waits for the verifier's turn after that.
    /// If `open` is not done by the deadline, the connection is closed without a verdict.
    ///
    /// # Errors
    /// [`Error`]; a refusal was sent, but for [`crate::Error::DeadlinePassed`].
    pub async fn verify_with<F>(mut self, open: impl FnOnce(Open) -> F) -> Result<Stream<S>, Error>
    where
        F: Future<Output = Result<Claim, Refusal>>,
    {
        if self.shared.workers.is_full() {
            return Err(self.refuse(BUSY).await);
        }
        let opened = tokio::time::timeout(self.link.timer.left()?, open(self.login.admit())).await;
        let claim = match opened.map_err(|_| crate::Error::DeadlinePassed)? {
            Ok(claim) => claim,
            Err(refusal) => return Err(self.link.refuse(refusal, None).await),
        };
        let claim = |turn, _: &mut StdRng| match turn {
            Turn::InTime => Ok(claim),
            Turn::TooLate => Err(claim.reject(BUSY)),
        };
        let decision = self.shared.decide(&self.link.timer, claim).await?;
        self.link.conclude(decision).await
    }

    /// Refuses the login before the RSA operation.
    pub async fn refuse(mut self, reason: Reason) -> Error {
        self.link.refuse(self.login.refuse(reason), None).await
    }
}

impl<S> fmt::Debug for Incoming<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("key", &self.0.key).finish_non_exhaustive()
    }
}

/// A transport under a deadline.
struct Link<S> {
    stream: S,
    timer: Timer,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    fn new(stream: S) -> Self {
        Self { stream, timer: Timer::start() }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        within(self.timer.left()?, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await
    }

    /// Receives one whole frame, and never a byte past its end.
    async fn receive(&mut self, expected: &[FrameType]) -> Result<Vec<u8>, Error> {
        let mut reader = FrameReader::new();
        loop {
            if let Some(frame) = reader.take() {
                return Ok(frame);
            }
            // Small, because it is part of the future of every half-open login.
            let mut scratch = [0; 256];
            let wanted = reader.missing().map_err(crate::Error::from)?.min(scratch.len());
            let room = scratch.get_mut(..wanted).unwrap_or_default();
            let count = within(self.timer.left()?, self.stream.read(room)).await?;
            if count == 0 {
                return Err(Error::Disconnected { awaited: expected.first().copied().unwrap_or(FrameType::Close) });
            }
            reader.feed(room.get(..count).unwrap_or_default(), expected).map_err(crate::Error::from)?;
        }
    }

    /// Sends the verdict.
    async fn conclude(mut self, decision: Decision) -> Result<Stream<S>, Error> {
        match decision {
            (_, Ok(accepted)) => {
                self.timer.allow_for_verdict();
                self.send(&accepted.frame).await?;
                Ok(self.into_stream(accepted.session))
            }
            (user, Err(refusal)) => Err(self.refuse(refusal, user).await),
        }
    }

    /// Sends a refusal when it is due, and gives the error that says so locally.
    async fn refuse(&mut self, refusal: Refusal, user: Option<String>) -> Error {
        tokio::time::sleep(self.timer.until(refusal.not_before)).await;
        self.timer.allow_for_verdict();
        // The refusal is the news; a peer that has left already changes nothing.
        if self.send(&refusal.frame).await.is_ok() {
            let _ = within(script::LINGER, self.hang_up()).await;
        }
        Error::LoginRefused { user, reason: refusal.reason }
    }

    /// Ends the sending direction, and lets the peer end its own.
    async fn hang_up(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let mut scratch = [0; 256];
        while self.stream.read(&mut scratch).await? > 0 {}
        Ok(())
    }

    fn into_stream(self, session: Session) -> Stream<S> {
        Stream::new(self.stream, session)
    }
}

async fn within<T>(left: Duration, work: impl Future<Output = io::Result<T>>) -> Result<T, Error> {
    match tokio::time::timeout(left, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(crate::Error::DeadlinePassed.into()),
    }
}

impl<S: AsyncWrite + Unpin> Stream<S> {
    /// Sends everything that is sealed.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.outbox.pending().map_err(into_io)? {
                [] => return Poll::Ready(Ok(())),
                rest => match ready!(Pin::new(&mut self.transport).poll_write(context, rest))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => self.outbox.advance(count),
                },
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if let Some(count) = this.inbox.read(out.initialize_unfilled()).map_err(into_io)? {
                out.advance(count);
                return Poll::Ready(Ok(()));
            }
            let mut scratch = [const { MaybeUninit::uninit() }; SCRATCH];
            let mut arrived = ReadBuf::uninit(&mut scratch);
            match Pin::new(&mut this.transport).poll_read(context, &mut arrived)? {
                Poll::Pending => {
                    // Nothing to read and nothing to send: idle.
                    this.inbox.release();
                    this.outbox.release();
                    return Poll::Pending;
                }
                Poll::Ready(()) if arrived.filled().is_empty() => this.inbox.finish(),
                Poll::Ready(()) => this.inbox.push(arrived.filled()),
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    /// Takes up to 64 KiB once everything before it is sent. What is taken is sealed, and goes out with this call, a
    /// later write, or a flush.
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drain(context))?;
        let count = this.outbox.seal(bytes).map_err(into_io)?;
        match this.poll_drain(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(context))?;
        Pin::new(&mut this.transport).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // In a broken session there is nothing more to say, but the transport is still to be shut down.
        if this.outbox.close().is_ok() {
            ready!(this.poll_drain(context))?;
        }
        Pin::new(&mut this.transport).poll_shutdown(context)
    }
}
