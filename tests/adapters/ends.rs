//! The adapters under test, made alike: a login and a session over a TCP stream, from a thread that waits.

use crate::events;
use crate::support::{RSA2048, SUITES, provider, verifier};
use countersign::{
    Acceptor, Begun, ClientConfig, ClientKey, Connector, Context, Counts, Credential, CurrentGrant, Error, LoginError,
    Reason, ServerConfig, SessionInfo, Stream, Ticket, TrustedTicket, UnixTime, Verifier,
};
use std::fmt::Debug;
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One way to drive logins and sessions.
pub trait Adapter: 'static {
    type Session: Session;

    fn accept(acceptor: &Acceptor, stream: TcpStream, context: Context) -> Result<Self::Session, LoginError>;

    fn connect(
        connector: &Connector,
        stream: TcpStream,
        credential: Credential<'_>,
    ) -> Result<Self::Session, LoginError>;

    /// Over as many connections as it takes; with a ticket, if there is one, and with the credential where the server does not take
    /// it.
    fn dial(
        connector: &Connector,
        dial: Dial,
        ticket: Option<&Ticket>,
        credential: Credential<'_>,
    ) -> Result<Self::Session, LoginError>;

    /// As [`Adapter::dial`], over one connection.
    fn resume(
        connector: &Connector,
        stream: TcpStream,
        ticket: &Ticket,
        credential: Credential<'_>,
    ) -> Result<Self::Session, LoginError> {
        let stream = Mutex::new(Some(stream));
        let once = move || stream.lock().unwrap().take().expect("one connection is enough");
        Self::dial(connector, Arc::new(once), Some(ticket), credential)
    }

    /// Whether the socket blocks while it is in the adapter's hands.
    const BLOCKS: bool = false;

    /// Whether a refused login is over only once its peer was told.
    const TELLS_FIRST: bool = false;
}

/// An adapter whose logins are futures.
pub trait AsyncAdapter: Adapter {
    /// Accepts, unless `until` is ready first: then the login's future is dropped, and gives nothing.
    fn accept_until(
        acceptor: &Acceptor,
        stream: TcpStream,
        until: impl Future<Output = ()> + Send + 'static,
    ) -> Option<Result<Self::Session, LoginError>>;
}

/// The stream after a login.
pub trait Session: Read + Write + Debug + Send + 'static {
    fn info(&self) -> &SessionInfo;
    fn permits(&self, permission: &str) -> bool;
    fn current_grant(&self) -> CurrentGrant;
    fn update_key(&mut self) -> Result<(), Error>;
    fn close(&mut self) -> Result<(), LoginError>;
    fn finish(self, patience: Duration) -> Result<(), LoginError>;
    /// Ends the TCP connection's sending direction, and says nothing of it in the session.
    fn cut(&mut self);
    /// The TCP stream underneath.
    fn into_tcp(self) -> TcpStream;
}

/// What [`Stream`] says of itself, whatever it is over.
macro_rules! about {
    ($field:tt) => {
        fn info(&self) -> &SessionInfo {
            self.$field.info()
        }

        fn permits(&self, permission: &str) -> bool {
            let required = self.$field.require(permission);
            let permits = [self.$field.permits(permission), self.$field.current_grant().permits(permission)];
            assert_eq!(permits, [required.is_ok(); 2]);
            required.is_ok()
        }

        fn current_grant(&self) -> CurrentGrant {
            self.$field.current_grant()
        }

        fn update_key(&mut self) -> Result<(), Error> {
            self.$field.update_key()
        }
    };
}

/// Makes a connection.
pub type Dial = Arc<dyn Fn() -> TcpStream + Send + Sync>;

/// The ticket, if it may be shown to this connector's server.
fn trusted(connector: &Connector, ticket: Option<&Ticket>) -> Option<TrustedTicket> {
    let ticket = ticket?;
    connector.server().resume(ticket.clone(), ticket.user(), UnixTime::from_system(std::time::SystemTime::now()))
}

/// Blocking streams.
pub struct Blocking;

impl Adapter for Blocking {
    type Session = Whole;

    const BLOCKS: bool = true;

    fn accept(acceptor: &Acceptor, stream: TcpStream, context: Context) -> Result<Whole, LoginError> {
        acceptor.accept_blocking(stream, context).map(Whole)
    }

    fn connect(connector: &Connector, stream: TcpStream, credential: Credential<'_>) -> Result<Whole, LoginError> {
        connector.connect_blocking(stream, credential).map(Whole)
    }

    fn dial(
        connector: &Connector,
        dial: Dial,
        ticket: Option<&Ticket>,
        credential: Credential<'_>,
    ) -> Result<Whole, LoginError> {
        match connector.begin_blocking(|| Ok(dial()), trusted(connector, ticket))? {
            Begun::Resumed(stream) => Ok(Whole(stream)),
            Begun::Trusted(trusted) => trusted.login_blocking(credential).map(Whole),
        }
    }
}

#[derive(Debug)]
pub struct Whole(pub Stream<TcpStream>);

impl Session for Whole {
    about!(0);

    fn close(&mut self) -> Result<(), LoginError> {
        self.0.close()
    }

    fn finish(self, patience: Duration) -> Result<(), LoginError> {
        self.0.finish_blocking(patience)
    }

    fn cut(&mut self) {
        self.0.get_ref().shutdown(Shutdown::Write).unwrap();
    }

    fn into_tcp(self) -> TcpStream {
        self.0.into_inner()
    }
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Whole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Streams of tokio, on a runtime that all tests share.
#[cfg(feature = "tokio")]
pub use over_tokio::{OnRuntime, Tokio};

#[cfg(feature = "tokio")]
mod over_tokio {
    use super::*;
    use std::pin::pin;
    use std::sync::LazyLock;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::runtime::{Builder, Runtime};

    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

    pub struct Tokio;

    impl Adapter for Tokio {
        type Session = OnRuntime;

        fn accept(acceptor: &Acceptor, stream: TcpStream, context: Context) -> Result<OnRuntime, LoginError> {
            RUNTIME.block_on(async { acceptor.accept(registered(stream), context).await }).map(OnRuntime)
        }

        fn connect(
            connector: &Connector,
            stream: TcpStream,
            credential: Credential<'_>,
        ) -> Result<OnRuntime, LoginError> {
            RUNTIME.block_on(async { connector.connect(registered(stream), credential).await }).map(OnRuntime)
        }

        fn dial(
            connector: &Connector,
            dial: Dial,
            ticket: Option<&Ticket>,
            credential: Credential<'_>,
        ) -> Result<OnRuntime, LoginError> {
            RUNTIME.block_on(async {
                let dial = || core::future::ready(Ok(registered(dial())));
                match connector.begin(dial, trusted(connector, ticket)).await? {
                    Begun::Resumed(stream) => Ok(OnRuntime(stream)),
                    Begun::Trusted(trusted) => trusted.login(credential).await.map(OnRuntime),
                }
            })
        }
    }

    impl AsyncAdapter for Tokio {
        fn accept_until(
            acceptor: &Acceptor,
            stream: TcpStream,
            until: impl Future<Output = ()> + Send + 'static,
        ) -> Option<Result<OnRuntime, LoginError>> {
            RUNTIME.block_on(async {
                let mut until = pin!(until);
                tokio::select! {
                    biased;
                    () = &mut until => None,
                    session = acceptor.accept(registered(stream), Context::uncounted()) => Some(session.map(OnRuntime)),
                }
            })
        }
    }

    fn registered(stream: TcpStream) -> tokio::net::TcpStream {
        stream.set_nonblocking(true).unwrap();
        tokio::net::TcpStream::from_std(stream).unwrap()
    }

    #[derive(Debug)]
    pub struct OnRuntime(pub Stream<tokio::net::TcpStream>);

    impl Session for OnRuntime {
        about!(0);

        fn close(&mut self) -> Result<(), LoginError> {
            Ok(RUNTIME.block_on(self.0.shutdown())?)
        }

        fn finish(self, patience: Duration) -> Result<(), LoginError> {
            RUNTIME.block_on(self.0.finish(patience))
        }

        fn cut(&mut self) {
            RUNTIME.block_on(self.0.get_mut().shutdown()).unwrap();
        }

        fn into_tcp(self) -> TcpStream {
            let stream = RUNTIME.block_on(async { self.0.into_inner().into_std().unwrap() });
            stream.set_nonblocking(false).unwrap();
            stream
        }
    }

    impl Read for OnRuntime {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            RUNTIME.block_on(self.0.read(buffer))
        }
    }

    impl Write for OnRuntime {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            RUNTIME.block_on(self.0.write(bytes))
        }

        fn flush(&mut self) -> io::Result<()> {
            RUNTIME.block_on(self.0.flush())
        }
    }
}

/// Sockets that do not block, on the event loop of these tests.
pub struct Events;

impl Adapter for Events {
    type Session = Insisting;

    const TELLS_FIRST: bool = true;

    fn accept(acceptor: &Acceptor, stream: TcpStream, context: Context) -> Result<Insisting, LoginError> {
        let acceptor = acceptor.clone();
        events::run(async move { acceptor.accept_over(events::link(stream), context).await }).map(Insisting)
    }

    fn connect(connector: &Connector, stream: TcpStream, credential: Credential<'_>) -> Result<Insisting, LoginError> {
        let (connector, credential) = (connector.clone(), Owned::of(credential));
        events::run(async move { connector.connect_over(events::link(stream), credential.lent()).await }).map(Insisting)
    }

    fn dial(
        connector: &Connector,
        dial: Dial,
        ticket: Option<&Ticket>,
        credential: Credential<'_>,
    ) -> Result<Insisting, LoginError> {
        let (connector, ticket, credential) = (connector.clone(), ticket.cloned(), Owned::of(credential));
        events::run(async move {
            let dial = || core::future::ready(Ok(events::link(dial())));
            match connector.begin_over(dial, trusted(&connector, ticket.as_ref())).await? {
                Begun::Resumed(stream) => Ok(Insisting(stream)),
                Begun::Trusted(trusted) => trusted.login(credential.lent()).await.map(Insisting),
            }
        })
    }
}

impl AsyncAdapter for Events {
    fn accept_until(
        acceptor: &Acceptor,
        stream: TcpStream,
        until: impl Future<Output = ()> + Send + 'static,
    ) -> Option<Result<Insisting, LoginError>> {
        let acceptor = acceptor.clone();
        let accept = async move { acceptor.accept_over(events::link(stream), Context::uncounted()).await };
        events::run(events::unless(until, accept)).map(|session| session.map(Insisting))
    }
}

/// A credential that an event loop can keep for as long as it needs it.
enum Owned {
    Password(String, Vec<u8>),
    Token(Vec<u8>),
    Key(String, ClientKey),
}

impl Owned {
    fn of(credential: Credential<'_>) -> Self {
        match credential {
            Credential::Password { user, password } => Self::Password(user.to_owned(), password.to_vec()),
            Credential::Token(token) => Self::Token(token.to_vec()),
            Credential::Key { user, key } => Self::Key(user.to_owned(), key.clone()),
            _ => panic!("of no kind that these tests know"),
        }
    }

    fn lent(&self) -> Credential<'_> {
        match self {
            Self::Password(user, password) => Credential::Password { user, password },
            Self::Token(token) => Credential::Token(token),
            Self::Key(user, key) => Credential::Key { user, key },
        }
    }
}

/// Tries again where the socket was not ready, as an application's event loop would.
#[derive(Debug)]
pub struct Insisting(pub Stream<events::Socket>);

impl Session for Insisting {
    about!(0);

    fn close(&mut self) -> Result<(), LoginError> {
        insist(None, || self.0.close().map_err(io::Error::from)).map_err(LoginError::from)
    }

    fn finish(mut self, patience: Duration) -> Result<(), LoginError> {
        let end = Instant::now().checked_add(patience);
        insist(end, || self.0.close().map_err(io::Error::from))?;
        let mut scratch = [0; 1024];
        loop {
            match insist(end, || self.0.read(&mut scratch)) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn cut(&mut self) {
        self.0.get_ref().0.shutdown(Shutdown::Write).unwrap();
    }

    fn into_tcp(self) -> TcpStream {
        let stream = self.0.into_inner().0;
        stream.set_nonblocking(false).unwrap();
        stream
    }
}

impl Read for Insisting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        insist(None, || self.0.read(buffer))
    }
}

impl Write for Insisting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        insist(None, || self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        insist(None, || self.0.flush())
    }
}

fn insist<T>(end: Option<Instant>, mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        if end.is_some_and(|end| Instant::now() >= end) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(1)),
            done => return done,
        }
    }
}

/// Makes a test of each of these functions for each adapter.
macro_rules! for_every_adapter {
    ($($test:ident),* $(,)?) => {
        mod over_blocking { $( #[test] fn $test() { $crate::ends::bounded(super::$test::<$crate::ends::Blocking>); } )* }
        #[cfg(feature = "tokio")]
        mod over_tokio { $( #[test] fn $test() { $crate::ends::bounded(super::$test::<$crate::ends::Tokio>); } )* }
        mod over_events { $( #[test] fn $test() { $crate::ends::bounded(super::$test::<$crate::ends::Events>); } )* }
    };
}

/// As [`for_every_adapter`], for those whose logins are futures.
macro_rules! for_every_async_adapter {
    ($($test:ident),* $(,)?) => {
        #[cfg(feature = "tokio")]
        mod over_tokio_futures { $( #[test] fn $test() { $crate::ends::bounded(super::$test::<$crate::ends::Tokio>); } )* }
        mod over_events_futures { $( #[test] fn $test() { $crate::ends::bounded(super::$test::<$crate::ends::Events>); } )* }
    };
}

/// Longer than anything here takes on a machine that is busy with other things; what takes longer hangs.
pub const HANG: Duration = Duration::from_secs(120);

/// Runs a test, and fails it where it hangs.
pub fn bounded<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, finished) = channel();
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    let thread = std::thread::Builder::new().name(name).spawn(move || done.send(test()).unwrap()).unwrap();
    match finished.recv_timeout(HANG) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => panic!("hangs"),
        Err(RecvTimeoutError::Disconnected) => std::panic::resume_unwind(thread.join().unwrap_err()),
    }
}

/// Waits for something that must become true, however long that takes on a busy machine.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < HANG / 2, "still not so: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the acceptor holds nothing of anybody.
pub fn eventually_empty(acceptor: &Acceptor) {
    let mut last = Counts::default();
    let mut look = || {
        last = acceptor.counts();
        (last.handshakes, last.logins, last.refusals, last.sessions) == (0, 0, 0, 0)
    };
    let start = Instant::now();
    while !look() {
        assert!(start.elapsed() < HANG / 2, "places are held: {:?}", acceptor.counts());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Two ends of a TCP connection: the client's, the server's.
pub fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    (client, server)
}

/// Settings of these tests: refusals are not waited for.
/// Refusals are due at once. Handshakes may take as long as a test: a test of their deadline sets its own, and a loaded
/// machine must not meet one in any other.
pub fn config() -> ServerConfig {
    let config = ServerConfig::new(provider()).with_suites(&SUITES).unwrap();
    config.with_refusal_floor(Duration::from_millis(1)).with_handshake_timeout(HANG)
}

pub fn client_config() -> ClientConfig {
    ClientConfig::new(provider()).with_suites(&SUITES).unwrap().with_handshake_timeout(HANG)
}

/// Accepts whom [`crate::support::verify`] knows.
pub fn acceptor() -> Acceptor {
    asking(verifier)
}

pub fn asking(verifier: impl Verifier + 'static) -> Acceptor {
    Acceptor::new(config(), RSA2048.server.clone(), verifier)
}

pub fn connector() -> Connector {
    Connector::new(client_config(), RSA2048.trust())
}

/// Accepts in a thread of its own.
pub fn accepting<A: Adapter>(
    acceptor: &Acceptor,
    stream: TcpStream,
    context: impl Into<Context>,
) -> JoinHandle<Result<A::Session, LoginError>> {
    let (acceptor, context) = (acceptor.clone(), context.into());
    std::thread::spawn(move || A::accept(&acceptor, stream, context))
}

/// A login: what the client gets, and what the server gets.
pub fn login<A: Adapter>(
    acceptor: &Acceptor,
    connector: &Connector,
    credential: Credential<'_>,
) -> (Result<A::Session, LoginError>, Result<A::Session, LoginError>) {
    let (client, server) = pair();
    let server = accepting::<A>(acceptor, server, Context::uncounted());
    let client = A::connect(connector, client, credential);
    (client, server.join().unwrap())
}

/// A login that succeeds.
pub fn session<A: Adapter>(credential: Credential<'_>) -> (A::Session, A::Session) {
    let (client, server) = login::<A>(&acceptor(), &connector(), credential);
    (client.unwrap(), server.unwrap())
}

/// A login that fails at both ends.
pub fn failed<A: Adapter>(
    acceptor: &Acceptor,
    connector: &Connector,
    credential: Credential<'_>,
) -> (LoginError, LoginError) {
    let (client, server) = login::<A>(acceptor, connector, credential);
    (client.map(drop).unwrap_err(), server.map(drop).unwrap_err())
}

pub fn protocol(error: LoginError) -> Error {
    match error {
        LoginError::Protocol(error) => error,
        other => panic!("{other:?}"),
    }
}

/// Whom the server refused, and why.
pub fn refused(error: LoginError) -> (Option<String>, Reason) {
    match error {
        LoginError::LoginRefused { user, reason } => (user, reason),
        other => panic!("{other:?}"),
    }
}

/// What the peer left without.
pub fn disconnected(error: LoginError) -> countersign::frame::FrameType {
    match error {
        LoginError::Disconnected { awaited } => awaited,
        other => panic!("{other:?}"),
    }
}
