//! `connect`: a local port, and behind it a service that wants a login.

mod pace;

use crate::failure::{Failure, OF_CLIENTS, Status};
use crate::relay::{Broken, Far, Stop, relay};
use crate::remote::{Identity, Remote, block_on};
use crate::{login, term};
use clap::Args;
use countersign::{Connector, Error, LoginError, MemoryTickets, PublicKey};
use pace::{After, Attempt, No, Pace};
use std::future::pending;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU16;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, MutexGuard, Semaphore, mpsc};
use tokio::time::sleep;

const HELP: &str = "\
Examples:
  countersign connect --listen 127.0.0.1:5432 --server db.example:4500 --user alice --pin SHA256:...
  countersign connect --listen '[::1]:0' --server db.example:4500 --token-stdin --pin SHA256:... < token
  countersign connect --listen '[::1]:5432' --server db.example:4500 --user alice --agent --roots system

Each connection is a login, and a session of its own; where that fails it says why, and the
connection is reset. The end of one direction is carried on as its close, and a session that
broke or was cut as a reset. Whoever can connect to the port has your rights at the server: by
default it is open to this machine alone, and to everyone on it.

A login takes the ticket of an earlier one, which costs the server neither an RSA operation nor a
password hash; with --no-resume each is a full one. Where a second factor is asked for, logins come
one after the other, so that those that follow can take the ticket of the first and do not ask again.
Tickets are kept in memory alone. The server's key is known, asked about and kept as by `countersign
login`; see there.

It ends when the server does not have the right key, and, until the first good login, when it
refuses one or gives a verdict that can't be read: no password is tried again and again. Connections
that are open by then go on to their ends. After a good login such a connection is reset, and for a
second so are others, without a login; each time that it happens again this doubles, up to half a
minute, until a login is good. A server that is busy, or can't check logins now, is tried again in
the same way, at the first login, too, and after the time that it says if that is less than half a
minute.";

/// Open a local port, and log in to a server for each connection to it.
///
/// Programs that know nothing of countersign reach the service behind `serve --forward` or `serve --exec` by it. The
/// password, or the passphrase of a key, is asked for once, at the start; the secret is kept in memory. An ssh-agent is asked at
/// each login that takes no ticket.
#[derive(Args)]
#[command(after_help = format!("{HELP}\n\n{OF_CLIENTS}"))]
pub(crate) struct Connect {
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: String,
    #[command(flatten)]
    remote: Remote,
    /// Local connections at once; further ones wait. A server has a bound of its own for each user
    #[arg(long, value_name = "NUMBER", default_value = "32")]
    max_connections: NonZeroU16,
    /// Let other machines connect, too, with your rights at the server
    #[arg(long)]
    allow_remote: bool,
}

/// How long to leave the system alone that could not give a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all connections share.
struct Shared {
    remote: Remote,
    connector: RwLock<Connector>,
    /// Those of all connections, whatever is learnt of the server meanwhile.
    tickets: Arc<MemoryTickets>,
    identity: Identity,
    pace: Pace,
    /// Whose login it is.
    turn: Mutex<()>,
    fatal: mpsc::UnboundedSender<Failure>,
}

impl Connect {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        self.serve().map_err(Failure::on_this_side)
    }

    fn serve(&self) -> Result<(), Failure> {
        let addresses = self.addresses()?;
        let remote = self.remote.clone();
        let mut connector = remote.connector(None)?;
        let who = remote.who()?;
        if who.asks() || (remote.may_ask() && connector.server().known_keys().is_empty()) {
            // Nobody is asked for a password before it is known whom it is for, and nobody about a key while connections wait.
            if let Some(key) = block_on(login::check(&remote, &connector))? {
                connector = remote.connector(Some(&key))?;
            }
        }
        let identity = who.identity()?;
        remote.read_factor()?;
        let (fatal, failures) = mpsc::unbounded_channel();
        let (tickets, pace) = (Arc::<MemoryTickets>::default(), Pace::default());
        let connector = RwLock::new(with_tickets(&remote, connector, &tickets));
        let shared = Shared { remote, connector, tickets, identity, pace, turn: Mutex::new(()), fatal };
        let shared = Arc::new(shared);
        block_on(async {
            let listener = TcpListener::bind(&*addresses).await.map_err(|error| self.cannot_listen(&error))?;
            let address = listener.local_addr().map_err(|error| self.cannot_listen(&error))?;
            term::line(format_args!("listening on {address}"))?;
            self.accept_all(listener, &shared, failures).await
        })
    }

    /// Where to listen: on this machine alone, unless it is to be elsewhere.
    fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        let listen = &self.listen;
        let addresses = listen.to_socket_addrs().map_err(|error| {
            Failure::usage(format_args!("--listen {listen}: {error}; write it as ADDRESS:PORT, such as 127.0.0.1:5432"))
        })?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        if !self.allow_remote && !addresses.iter().all(|address| address.ip().to_canonical().is_loopback()) {
            return Err(Failure::usage(format_args!(
                "--listen {listen} would let other machines use your login; give a loopback address, such as \
                 127.0.0.1, or --allow-remote"
            )));
        }
        Ok(addresses)
    }

    fn cannot_listen(&self, error: &std::io::Error) -> Failure {
        Failure::new(format_args!("cannot listen on {}: {error}; pick another --listen address", self.listen))
    }

    /// Accepts connections until a login fails for good.
    async fn accept_all(
        &self,
        listener: TcpListener,
        shared: &Arc<Shared>,
        mut failures: mpsc::UnboundedReceiver<Failure>,
    ) -> Result<(), Failure> {
        let most = self.max_connections.get();
        let places = Arc::new(Semaphore::new(most.into()));
        let failure = loop {
            let accept = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                Some(failure) = failures.recv() => break failure,
                accepted = accept => accepted,
            };
            match accepted {
                Ok((local, peer)) => {
                    let shared = Arc::clone(shared);
                    tokio::spawn(async move {
                        shared.attend(local, peer).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    term::note(format_args!("countersign: cannot accept a connection: {error}"));
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        };
        drop(listener);
        let open = usize::from(most).saturating_sub(places.available_permits());
        if open > 0 {
            let open = term::count(open, "connection");
            term::note(format_args!("countersign: no more connections are taken; {open} still open"));
        }
        let _ = places.acquire_many(most.into()).await;
        Err(failure)
    }
}

fn with_tickets(remote: &Remote, connector: Connector, tickets: &Arc<MemoryTickets>) -> Connector {
    if remote.no_resume { connector } else { connector.with_tickets(Arc::clone(tickets)) }
}

impl Shared {
    fn connector(&self) -> Connector {
        self.connector.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has the server prove from now on that it holds this key, which it was trusted with.
    fn learn(&self, connector: &Connector, key: &PublicKey) {
        if self.remote.learn(connector, key)
            && let Ok(connector) = self.remote.connector(Some(key))
        {
            let connector = with_tickets(&self.remote, connector, &self.tickets);
            *self.connector.write().unwrap_or_else(PoisonError::into_inner) = connector;
        }
    }

    /// Where a login may take a second factor, one comes after the other: whoever has the ticket of the one before is not asked. Before the first
    /// good login nobody knows whether it does.
    async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        let turn = self.turn.lock().await;
        (self.remote.may_take_factor() || !self.pace.has_logged_in()).then_some(turn)
    }

    /// Serves a local connection to its end.
    async fn attend(&self, mut local: TcpStream, peer: SocketAddr) {
        if let Err(failure) = self.carry(&mut local).await {
            if let Some(message) = failure.message() {
                term::note(format_args!("countersign: connection from {peer}: {message}"));
            }
            // An end would tell it that it has got everything.
            let _ = local.set_zero_linger();
        }
    }

    async fn carry(&self, local: &mut TcpStream) -> Result<(), Failure> {
        let _ = local.set_nodelay(true);
        let turn = self.turn().await;
        let attempt = self.pace.begin(Instant::now()).map_err(|left| {
            let left = seconds(left);
            Failure::new(format_args!("the server did not take a login of late; the next is tried after {left}"))
        })?;
        let connector = self.connector();
        let mut session = match connector.dial(|| self.remote.dial(), self.identity.credential()).await {
            Ok(session) => session,
            Err(error) => return Err(self.failed(&attempt, &error)),
        };
        if let Some(key) = session.info().server_key() {
            self.learn(&connector, key);
        }
        self.pace.succeeded();
        drop(turn);
        let (mut reader, mut writer) = local.split();
        let far = Far { reader: &mut reader, writer: &mut writer, gone: pending() };
        match relay(&mut session, far, &Stop::never()).await {
            Ok(()) | Err(Broken::Stopping) => Ok(()),
            Err(Broken::Session(error)) => Err(Failure::session(&error)),
            Err(Broken::Far(error)) => Err(Failure::new(format_args!("it broke: {error}"))),
        }
    }

    /// What to say of a login that failed; the command ends where trying again would do harm.
    fn failed(&self, attempt: &Attempt, error: &LoginError) -> Failure {
        let failure = self.remote.failed(error);
        let no = match error {
            LoginError::Protocol(Error::Refused | Error::VerdictNotAuthentic) => Some(No::Refused),
            LoginError::Protocol(Error::Busy { retry_after }) => {
                Some(No::Later(Some(Duration::from_secs((*retry_after).into()))))
            }
            LoginError::Protocol(Error::NotNow) => Some(No::Later(None)),
            _ => None,
        };
        let is_final = match no.map(|no| self.pace.failed(attempt, no, Instant::now())) {
            Some(After::Pause(pause)) => {
                return failure.and(format_args!("the next is tried after {}", seconds(pause)));
            }
            Some(After::Stop) => true,
            None => {
                matches!(
                    error,
                    LoginError::Protocol(Error::KindNotTaken(_) | Error::Misuse(_) | Error::FactorWanted(_))
                ) || failure.is(Status::Untrusted)
            }
        };
        if is_final {
            // Nobody listens any more where another connection has found out before.
            let _ = self.fatal.send(failure.clone());
        }
        failure
    }
}

/// A time in whole seconds, and not less than it is.
fn seconds(time: Duration) -> String {
    let whole = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    format!("{whole} s")
}
