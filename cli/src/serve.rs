//! `serve`: logins over TCP, and a small service of lines behind them.

mod accounts;
mod conn;
mod gate;
mod hashers;
mod log;
mod service;

pub(crate) use log::{Entry, Log};

use crate::crypto;
use crate::failure::Failure;
use crate::{keys, term, users};
use accounts::{Desk, Users};
use clap::Args;
use conn::Conn;
use countersign::accounts::AccountFile;
use countersign::blocking::Arrival;
use countersign::{ChannelBinding, Reason, ServerConfig, ServerKey, TicketKeys, blocking};
use gate::{Gate, Limits, Place, TOO_MANY};
use hashers::Hashers;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Serve logins over TCP, with a small service of lines behind them: whoami, echo TEXT, quit.
///
/// Prints the address, the fingerprint, and one line of logfmt for each login, accepted or refused, with the reason that
/// the client is never told. Changes to the users file are noticed. Ctrl-C or SIGTERM ends it.
#[derive(Args)]
#[command(after_help = "\
Example:
  countersign keygen --out server.pem
  countersign user add alice --users users.txt
  countersign serve --listen 127.0.0.1:4500 --key server.pem --users users.txt

When the table of open handshakes is full, the oldest that still waits for its client is cut to
make room: a flood of idle connections does not keep good clients out. A login that was decided
against keeps its connection until its refusal is due; up to half of --max-handshakes more wait
for that. Each connection takes a thread and a file descriptor: keep one and a half times
--max-handshakes plus --max-sessions below `ulimit -n`.

After a login the client gets a ticket, good for one more login within --ticket-lifetime, that
costs neither an RSA operation nor a password hash. It stops working when the account is changed
or removed, and when this server is restarted.

There is no limit on how often an address may try. A login that is junk costs the server an RSA
operation and a password hash like any other: about 200 of them a second keep two cores busy, and
then good clients wait up to --max-wait, or are not admitted. `countersign bench` tells what this
machine can take. Where strangers can reach the port, put a limiter of
connections per address in front.")]
pub(crate) struct Serve {
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: String,
    /// The server's private key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The users file
    #[arg(long, value_name = "FILE")]
    users: PathBuf,
    #[command(flatten)]
    options: Options,
}

#[derive(Args, Clone, Copy)]
pub(crate) struct Options {
    /// Open handshakes at once; the oldest make way for newcomers
    #[arg(long, value_name = "NUMBER", default_value = "256")]
    max_handshakes: NonZeroUsize,
    /// Sessions at once; further logins are refused before they cost an RSA operation
    #[arg(long, value_name = "NUMBER", default_value = "512")]
    max_sessions: NonZeroUsize,
    /// How long a client may take to log in
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = term::timeout)]
    handshake_timeout: Duration,
    /// How long a login may wait for a core before it is refused as too many
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = term::duration)]
    max_wait: Duration,
    /// How long after a login's arrival a refusal goes out, whatever its reason: keep it above what a password hash takes
    #[arg(long, value_name = "TIME", default_value = "250ms", value_parser = term::duration)]
    refusal_floor: Duration,
    /// How long the ticket of a login lets the same client in again, without a password; 0s gives out none
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = term::duration)]
    ticket_lifetime: Duration,
}

impl Default for Options {
    fn default() -> Self {
        use countersign::limits;
        const MANY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);
        Self {
            max_handshakes: MANY,
            max_sessions: MANY,
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            max_wait: Duration::from_secs(1),
            refusal_floor: limits::REFUSAL_FLOOR,
            ticket_lifetime: Duration::from_secs(3600),
        }
    }
}

/// Used tickets that are remembered: 2 MB or so. Past them a ticket falls back to the full login.
const USED_TICKETS: usize = 1 << 16;

/// A session without a word for this long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// How long an end that has said goodbye waits for the peer's. Less than [`STOP_TIMEOUT`], so that the end is logged.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a server that was told to stop waits for its sessions' goodbyes.
const STOP_TIMEOUT: Duration = Duration::from_millis(800);

impl Serve {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let key = keys::load(&self.key)?;
        let file = users::open(&self.users)?;
        let listener = listen(&self.listen).map_err(|error| {
            Failure::new(format_args!("cannot listen on {}: {error}; pick another --listen address", self.listen))
        })?;
        let address = listener.local_addr().map_err(|error| Failure::new(format_args!("{}: {error}", self.listen)))?;
        let fingerprint = key.public_key().id();
        // Standard output keeps its lines whole when many threads write.
        let log = Log::new(Box::new(io::stdout()))?;
        let server = Server::new(key, &self.users, file, &self.options, log)?;
        server.warnings().iter().for_each(term::note);
        let stopper = server.stopper();
        ctrlc::set_handler(move || stopper.stop())
            .map_err(|error| Failure::new(format_args!("cannot watch for signals: {error}")))?;
        server.start(listener)?;
        term::line(format_args!("listening on {address}"))?;
        term::line(format_args!("fingerprint {fingerprint}"))?;
        server.run_until_stopped();
        Ok(())
    }
}

/// As [`TcpListener::bind`], with room for more connections that are not accepted yet than its 128: past them the kernel
/// drops a newcomer's first packet, and a client comes again only after a second.
fn listen(address: &str) -> io::Result<TcpListener> {
    const BACKLOG: i32 = 4096;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in address.to_socket_addrs()? {
        let bound = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            // As `TcpListener::bind` does: a restart need not wait for old connections to time out.
            #[cfg(unix)]
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        };
        match bound() {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A running server.
pub(crate) struct Server(Arc<Shared>);

/// What all connections share.
struct Shared {
    gate: Arc<Gate>,
    config: Arc<ServerConfig>,
    key: ServerKey,
    users: Users,
    log: Log,
    accepted: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

/// Stops a server from another thread.
pub(crate) struct Stopper(Arc<Gate>);

impl Stopper {
    pub(crate) fn stop(&self) {
        self.0.stop();
    }
}

impl Server {
    pub(crate) fn new(
        key: ServerKey,
        path: &Path,
        file: AccountFile,
        options: &Options,
        log: Log,
    ) -> Result<Self, Failure> {
        let limits = Limits {
            handshakes: options.max_handshakes.get(),
            sessions: options.max_sessions.get(),
            cores: thread::available_parallelism().map_or(1, NonZeroUsize::get),
            patience: options.max_wait.min(options.handshake_timeout),
        };
        let mut config = ServerConfig::new(crypto::provider())
            .with_handshake_timeout(options.handshake_timeout)
            .with_refusal_floor(options.refusal_floor);
        if !options.ticket_lifetime.is_zero() {
            let keys = TicketKeys::new(crypto::provider(), options.ticket_lifetime);
            // Otherwise whoever recorded a ClientHello could send it again and again, and each would hold a session.
            config = config.with_tickets(Arc::new(keys.with_single_use(USED_TICKETS)));
        }
        Ok(Self(Arc::new(Shared {
            gate: Arc::new(Gate::new(limits)),
            config: Arc::new(config),
            key,
            users: Users::new(path, file, Hashers::start(limits.cores)?),
            log,
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })))
    }

    /// What is wrong with the users file.
    fn warnings(&self) -> Vec<String> {
        self.0.users.warnings()
    }

    pub(crate) fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.0.gate))
    }

    /// Accepts connections from now on, on a thread of its own: it may be stuck in `accept` when the server stops.
    pub(crate) fn start(&self, listener: TcpListener) -> Result<(), Failure> {
        let shared = Arc::clone(&self.0);
        let spawned = thread::Builder::new().name("accept".to_owned()).spawn(move || shared.accept_all(&listener));
        spawned.map(drop).map_err(|error| Failure::new(format_args!("cannot start a thread: {error}")))
    }

    /// Waits until somebody stops the server, then for the sessions' goodbyes, and logs the counts.
    pub(crate) fn run_until_stopped(self) {
        let Self(shared) = self;
        shared.gate.wait_for_stop();
        shared.gate.wait_until_empty(STOP_TIMEOUT);
        let entry = Entry::new("stopped")
            .field("accepted", shared.accepted.load(Ordering::Relaxed))
            .field("refused", shared.refused.load(Ordering::Relaxed))
            .field("failed", shared.failed.load(Ordering::Relaxed))
            .field("pushed_out", shared.gate.evicted());
        shared.log.finish(entry);
    }
}

impl Shared {
    fn accept_all(self: &Arc<Self>, listener: &TcpListener) {
        while !self.gate.is_stopping() {
            match listener.accept() {
                Ok((stream, peer)) => self.take_in(stream, peer),
                // The peer is gone already; nothing of ours is short.
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {
                }
                Err(error) => {
                    self.log.write_stranger(Entry::new("accept-failed").text("reason", &error.to_string()));
                    self.gate.make_room();
                }
            }
        }
    }

    fn take_in(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        // Frames are written whole; waiting to fill a packet would only add to a login's time.
        let _ = stream.set_nodelay(true);
        let problem = match self.gate.enter(Conn::new(stream, peer)) {
            Some(place) => {
                let shared = Arc::clone(self);
                let spawned = thread::Builder::new().name("connection".to_owned()).spawn(move || shared.serve(&place));
                // The closure, and the connection in it, is dropped on failure.
                spawned.err().map(|error| error.to_string())
            }
            None => Some("too many connections at once".to_owned()),
        };
        if let Some(problem) = problem {
            self.failed.fetch_add(1, Ordering::Relaxed);
            self.log.write_stranger(Entry::new("connection-dropped").field("peer", peer).text("reason", &problem));
        }
    }

    fn serve(&self, place: &Place) {
        let peer = place.conn().peer();
        match self.log_in(place) {
            Ok(stream) => {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                self.attend(place, stream);
            }
            Err(blocking::Error::LoginRefused { user, reason }) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                let entry = Entry::new("login-refused");
                // A login that did not open, or a token, names nobody.
                let entry = match user {
                    Some(user) => entry.text("user", &user),
                    None => entry,
                };
                let entry = entry.field("peer", peer).text("reason", &reason.to_string());
                match reason {
                    // No RSA operation and no password hash: whoever floods the server with these spends nothing.
                    Reason::Malformed(_) | Reason::NotAdmitted(_) => self.log.write_stranger(entry),
                    _ => self.log.write(entry),
                }
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                let reason = match (place.is_stopping(), place.conn().is_cut()) {
                    (true, _) => "the server is stopping".to_owned(),
                    (_, true) => "made way for a newer connection (--max-handshakes)".to_owned(),
                    _ => error.to_string(),
                };
                let entry = Entry::new("handshake-failed").field("peer", peer).text("reason", &reason);
                self.log.write_stranger(entry);
            }
        }
    }

    fn log_in<'a>(&'a self, place: &'a Place) -> Result<blocking::Stream<&'a Place>, blocking::Error> {
        let desk = Desk::new(&self.users, &self.log, place);
        let key = |_: &str| Some(self.key.clone());
        let incoming = match blocking::receive(place, &self.config, &ChannelBinding::none(), key, &desk)? {
            Arrival::Login(incoming) => incoming,
            Arrival::Resumed(stream) if place.become_session_if_room() => return Ok(stream),
            Arrival::Resumed(stream) => {
                let user = Some(stream.grant().principal().to_owned());
                // The peer may be gone.
                let _ = stream.finish(GOODBYE_TIMEOUT);
                return Err(blocking::Error::LoginRefused { user, reason: Reason::NotAdmitted(TOO_MANY) });
            }
        };
        let decided = match place.admit() {
            Err(refusal) => return Err(incoming.refuse(Reason::NotAdmitted(refusal))),
            Ok(permit) => {
                let decided = incoming.decide(&desk)?;
                // Before the core is handed on: the next login counts on it.
                if decided.is_accepted() {
                    place.become_session();
                } else {
                    place.become_refusal();
                }
                drop(permit);
                decided
            }
        };
        // Without a core: a refusal is not due yet.
        decided.send()
    }

    /// Serves a session from its login to its end.
    fn attend(&self, place: &Place, mut stream: blocking::Stream<&Place>) {
        let (peer, start, session) = (place.conn().peer(), Instant::now(), stream.info().id());
        let user = stream.grant().principal().to_owned();
        let permissions: Vec<&str> = stream.grant().permissions().collect();
        let (permissions, suite, resumed) = (permissions.join(","), stream.suite(), stream.info().is_resumed());
        let log = |event| {
            let entry = Entry::new(event).text("user", &user).field("peer", peer).text("permissions", &permissions);
            self.log.write(entry.field("suite", suite).field("session", session));
        };
        if !resumed {
            log("login-accepted");
        }
        // A recorded hello with a ticket can be played again: only the first word shows that the client is there.
        let heard = || {
            if resumed {
                log("login-resumed");
            }
        };
        let served = place.conn().set_timeouts(Some(IDLE_TIMEOUT)).and_then(|()| service::run(&mut stream, heard));
        let end = match served {
            _ if place.is_stopping() => "the server is stopping".to_owned(),
            Ok(end) => end.to_owned(),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                "idle for too long".to_owned()
            }
            Err(error) => error.to_string(),
        };
        // The peer may be gone.
        let _ = stream.finish(GOODBYE_TIMEOUT);
        let seconds = start.elapsed().as_secs();
        let entry = Entry::new("session-ended").text("user", &user).field("peer", peer).field("session", session);
        self.log.write(entry.field("seconds", seconds).text("reason", &end));
    }
}
