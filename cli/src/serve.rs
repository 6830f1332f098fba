//! `serve`: logins over TCP, in front of a service.

mod check;
mod config;
mod descriptors;
mod guessing;
mod health;
mod keys;
mod listen;
mod log;
mod metrics;
mod proxy;
mod reload;
mod server;
mod service;
mod stretch;
mod tickets;
mod users;
mod visit;

pub(crate) use check::CheckConfig;
pub(crate) use config::{NotParsed, parse as command_line};
pub(crate) use guessing::Guessing;
pub(crate) use log::{Format as LogFormat, Log};
pub(crate) use server::Server;
pub(crate) use service::Service;

use crate::accounts::{Store, Users, UsersArgs};
use crate::crypto;
use crate::failure::Failure;
use crate::prompt;
use crate::term;
use clap::Args;
use countersign::accounts::AccountVerifier;
use countersign::{
    Acceptor, Bounds, CredentialKind, PuzzleDifficulty, Puzzles, Recheck, ServerConfig, ServerKeys, Stretching,
    TicketKeys, limits,
};
use health::Health;
use keys::Source;
use listen::{State, listen, tell};
use log::Entry;
use proxy::Block;
use reload::Reload;
use server::{Live, Unnamed};
#[cfg(unix)]
use service::Exec;
use service::Forward;
use std::io;
use std::net::ToSocketAddrs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use stretch::StretchArgs;
use tickets::Watch;
use tokio::sync::watch;
use users::watched;

/// Put a login in front of a service.
///
/// Logged-in clients get another TCP service (--forward), a program (--exec), or else a small demo that answers lines:
/// whoami, echo TEXT, quit.
///
/// Prints the address, the fingerprint, and one line for each login, accepted or refused, with the reason that the client is
/// never told. Changes to accounts are noticed, and changes to keys and configuration at SIGHUP, without dropping a session
/// or refusing a login. Ctrl-C or SIGTERM ends it, a second one at once.
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign keygen --out server.pem
  countersign user add alice --users users.txt
  countersign serve --listen [::]:4500 --key server.pem --users users.txt --forward localhost:5432
  countersign serve --listen [::]:4500 --key server.pem --users users.txt --exec /usr/bin/fortune
  countersign serve --config /etc/countersign/serve.toml --metrics-listen 127.0.0.1:9450

With --config every flag here, without its dashes, is a name in a file of TOML, as in
max-sessions = 100 or any-server-name = true. Paths are as on the command line, which goes before
the file. `check-config` says what is wrong with a file before a server finds out.

--forward and --exec carry bytes both ways. The client's close is the end of input; the end of
output closes the session. Nothing else is passed on as an end: where a connection breaks or is
cut, where the service can't be reached, or where this server stops and the session does not end
in half a second, a TCP service gets a reset, a program SIGTERM, and the client a session that
was cut. With --send-proxy the service gets a PROXY header of version 2 first, with the client's
address, the session's id (type 0x05), the user (0xE0) and the permissions, joined by commas
(0xE1). A program finds them in COUNTERSIGN_PEER, COUNTERSIGN_SESSION, COUNTERSIGN_PRINCIPAL and
COUNTERSIGN_PERMISSIONS; its errors go to this server's. When it ends, so does the session, and
all that it has left running in its process group.

After a login the client gets a ticket, good for one more login within --ticket-lifetime, that
costs neither an RSA operation nor a password hash. It stops working when the account is changed
or removed, and when this server is restarted, but for --ticket-keys: at an orderly stop the keys
and the memory of used tickets are saved there, and the next start takes them over and removes the
file. A server that was killed has saved nothing, and its clients log in anew. Neither service nor
program is started for a client that comes by ticket before it has shown that it is there.

A session ends when its user is removed, locked or expired, or gets another password: within a
second or so of a change of a users file, and within --recheck in any case. New permissions hold
from then on; a program of --exec, or a service that was told by --send-proxy, has seen the old
ones, so its session ends, too. The log says why (event session-ended), and the client is not told.

With --keys the server has several keys over time: see `keygen --keys`, `key rotate` and docs/runbook.md.
SIGHUP has it read them again, or the file of --key, and the manifest, and the file of --config. Logins
that have begun go on under the key that they began under, and tickets stay good whose key is still there.
It logs what it has taken (events keys-reloaded, config-reloaded), what of it waits for a restart
(needs_restart=), or why it goes on with all that it had (keys-not-reloaded, config-not-reloaded).

With a database (--users sqlite:FILE, postgres://...) what is in it when a login asks is what counts, and nothing
of it is kept in memory. While it is away, logins are told `not now` and never `wrong password`, the log says so (events
accounts-away, accounts-back), and /readyz; nothing has to be restarted. Its tables are made by `db migrate`.
Without --users the accounts are in SQLite in the state directory, and the file is made if it is missing.

--metrics-listen answers /metrics (for Prometheus), /healthz and /readyz over plain HTTP, without a
login: keep it on an address that only those reach who may know. What is counted, and what each line of
the log means: docs/operating.md.

With --stretch it is the clients that compute password hashes, at parameters that every one of them is told; the users file
keeps a SHA-256 of what comes out (stretched=). The login of a stranger costs an RSA operation then, and no password
hash. To raise the parameters, give the new ones before the old ones, until no account has the old ones (`user list --json`).

A client that asks for a server by name (--server-name there, too) is turned away unless this one
was given that name: whoever trusts the keys of two servers can't be led to the other one.

What strangers can take is bounded, by address before it is bounded in total: IPv4 addresses
count one by one, IPv6 addresses by their /64. When the table of open handshakes is full, one of
the address that has the most makes way, so that a flood of idle connections does not keep good
clients out. Where logins have to wait for a core, those of addresses with the fewest refused ones
of late come first, and where too many wait, one of the address with the most is refused. Each
connection takes a file descriptor: the limit is raised as far as the system lets it, and if the
bounds still need more they are lowered, with a warning.

Guessing is made slow: whoever has failed to log in too often waits, by address and by the network
around it, by user, and in all (see Guessing). An address that waits is told that the server is
busy; a password for a user who waits is refused unseen, as any wrong one is, whether there is
such a user or not. Tickets, keys and tokens can't be guessed, and whoever has logged in to an
account from an address before does not wait there for what others do. The log has a line
(event penalty) with each wait that begins, and each login that nobody looked at has a code that
begins with penalty-.

With --puzzles, clients pay while logins have to wait for a core, before this server does: many
addresses that send junk, each too little to be noticed, have to compute more for it than the
server. The log has a line with code=unsolved for each client that did not, and /metrics how hard
the puzzles are.")]
pub(crate) struct Serve {
    /// Read flags from this file of TOML, but for those that stand here
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen; port 0 picks a free one, and `systemd` takes the socket that a socket unit hands over
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: String,
    #[command(flatten)]
    keys: Source,
    #[command(flatten)]
    users: UsersArgs,
    /// Connect each session to this TCP service
    #[arg(long, value_name = "HOST:PORT", group = "service")]
    forward: Option<String>,
    /// Tell the service of --forward who has logged in, in a PROXY header of version 2
    #[arg(long, requires = "forward")]
    send_proxy: bool,
    /// Start this program, by /bin/sh, for each session
    #[cfg(unix)]
    #[arg(long, value_name = "COMMAND", group = "service")]
    exec: Option<String>,
    /// Answer lines: the default
    #[arg(long, group = "service")]
    demo_service: bool,
    /// Connections from these addresses are a balancer's, and begin with a PROXY header that says whose they are; separated
    /// by commas. From other addresses a header is refused
    #[arg(long, value_name = "ADDRESS[/PREFIX]", value_delimiter = ',')]
    proxy_protocol: Vec<Block>,
    /// Keep the keys of tickets in this file from a stop to the next start, so that clients need not log in anew. Secret: whoever
    /// has it can log in as anybody
    #[arg(long, value_name = "FILE")]
    ticket_keys: Option<PathBuf>,
    /// How the log is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t, help_heading = "Watching it")]
    log_format: LogFormat,
    /// Answer /metrics, /healthz and /readyz here, over HTTP and to everybody who can connect: choose a loopback address
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Watching it")]
    metrics_listen: Option<String>,
    #[command(flatten)]
    stretch: StretchArgs,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    guessing: Guessing,
    /// All that is set, by name.
    #[arg(skip)]
    in_force: config::InForce,
}

const TICKET_LIFETIME: Duration = Duration::from_secs(3600);
const DRAIN: Duration = Duration::ZERO;
const RECHECK: Duration = Duration::from_secs(30);
const RECHECK_GRACE: Duration = Duration::from_secs(600);
const MAX_WAIT: Duration = Duration::from_secs(1);
const HARDEST_PUZZLE: u8 = 16;
pub(crate) const MAX_HANDSHAKES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);
/// Fewer than the library's: each is a connection of the service behind this, too.
pub(crate) const MAX_SESSIONS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(511);

#[derive(Args, Clone, Copy)]
pub(crate) struct Options {
    /// How long a client may take to log in
    #[arg(long, value_name = "TIME", default_value = term::time(limits::HANDSHAKE_TIMEOUT), value_parser = term::timeout)]
    handshake_timeout: Duration,
    /// How long after a login's arrival a refusal goes out, whatever its reason: keep it above what a password hash takes
    #[arg(long, value_name = "TIME", default_value = term::time(limits::REFUSAL_FLOOR), value_parser = term::duration)]
    refusal_floor: Duration,
    /// How long the ticket of a login lets the same client in again, without a password; 0s gives out none
    #[arg(long, value_name = "TIME", default_value = term::time(TICKET_LIFETIME), value_parser = term::duration)]
    ticket_lifetime: Duration,
    /// How long sessions may go on once the server is told to stop. After that, and half a second to say goodbye, they are cut
    #[arg(long, value_name = "TIME", default_value = term::time(DRAIN), value_parser = term::duration)]
    drain: Duration,
    /// Log names of users that do not exist, too. People type passwords there: keep the log as secret as those. Without it,
    /// such a name is a user_tag in the log, the same for the same name until the server is started anew
    #[arg(long, help_heading = "Watching it")]
    log_unknown_names: bool,
    /// How soon an open session notices at the latest that its user was removed, locked or changed, or has expired; a change of a users file is
    /// noticed within a second anyway. 0s for the file alone, and with a database for no change at all
    #[arg(long, value_name = "TIME", default_value = term::time(RECHECK), value_parser = term::duration)]
    recheck: Duration,
    /// How long sessions go on while the users file or the database can't be read
    #[arg(long, value_name = "TIME", default_value = term::time(RECHECK_GRACE), value_parser = term::duration)]
    recheck_grace: Duration,
    /// Open handshakes at once: from the connection until the login has arrived
    #[arg(long, value_name = "NUMBER", default_value_t = MAX_HANDSHAKES, help_heading = "Bounds")]
    max_handshakes: NonZeroUsize,
    /// Open handshakes of one address [default: half of them]
    #[arg(long, value_name = "NUMBER", help_heading = "Bounds")]
    max_handshakes_per_address: Option<NonZeroUsize>,
    /// How long a login may wait for a core before it is refused
    #[arg(long, value_name = "TIME", default_value = term::time(MAX_WAIT), value_parser = term::duration, help_heading = "Bounds")]
    max_wait: Duration,
    /// While logins wait for a core, have clients solve a puzzle before this server does anything costly for them: it gets harder for as long
    /// as they wait. Nobody is asked who comes by ticket, or from an address that has logged in before. Clients that solve none are told that the
    /// server is busy
    #[arg(long, help_heading = "Bounds")]
    puzzles: bool,
    /// How hard the puzzles may get, 1 to 24: 16 bits are a million hashes, a tenth of a second or so; one more doubles that. Clients
    /// go up to 17 unless told otherwise
    #[arg(long, value_name = "BITS", default_value_t = HARDEST_PUZZLE, help_heading = "Bounds",
        value_parser = clap::value_parser!(u8).range(1..=24))]
    hardest_puzzle: u8,
    /// Logins that are not decided yet, and refusals that wait until they are told, together; a quarter of them may be of one
    /// address. Past that, a connection is closed when its login arrives; those of addresses with none are let in up to twice
    /// as many [default: twice --max-handshakes]
    #[arg(long, value_name = "NUMBER", help_heading = "Bounds")]
    max_refusals: Option<NonZeroUsize>,
    /// Sessions at once; past that, logins are refused before they cost an RSA operation
    #[arg(long, value_name = "NUMBER", default_value_t = MAX_SESSIONS, help_heading = "Bounds")]
    max_sessions: NonZeroUsize,
    /// Sessions of one address; past that, too [default: half of them]
    #[arg(long, value_name = "NUMBER", help_heading = "Bounds")]
    max_sessions_per_address: Option<NonZeroUsize>,
    /// Sessions of one user; past that, a login is refused once it is known whose it is [default: an eighth of them]
    #[arg(long, value_name = "NUMBER", help_heading = "Bounds")]
    max_sessions_per_user: Option<NonZeroUsize>,
}

/// The demo's.
impl Default for Options {
    fn default() -> Self {
        const MANY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);
        Self {
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            refusal_floor: limits::REFUSAL_FLOOR,
            ticket_lifetime: TICKET_LIFETIME,
            drain: DRAIN,
            log_unknown_names: false,
            recheck: RECHECK,
            recheck_grace: RECHECK_GRACE,
            max_handshakes: MANY,
            max_handshakes_per_address: Some(MANY),
            max_wait: MAX_WAIT,
            puzzles: false,
            hardest_puzzle: HARDEST_PUZZLE,
            max_refusals: None,
            max_sessions: MANY,
            max_sessions_per_address: None,
            max_sessions_per_user: None,
        }
    }
}

/// The bounds that each take a file descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbers {
    handshakes: usize,
    refusals: usize,
    sessions: usize,
}

impl Options {
    fn config(&self) -> Result<ServerConfig, Failure> {
        let config = ServerConfig::new(crypto::provider())
            .with_handshake_timeout(self.handshake_timeout)
            .with_refusal_floor(self.refusal_floor);
        let kinds = [CredentialKind::Password, CredentialKind::Token, CredentialKind::Key];
        config.with_credential_kinds(&kinds).map_err(Failure::new)
    }

    /// The keys of its tickets; `None` where it gives none.
    pub(crate) fn tickets(&self) -> Option<Arc<TicketKeys>> {
        let keys = || Arc::new(TicketKeys::new(crypto::provider(), self.ticket_lifetime));
        (!self.ticket_lifetime.is_zero()).then(keys)
    }

    fn recheck(&self, looks_once: bool) -> Recheck {
        let recheck = if self.recheck.is_zero() { Recheck::never() } else { Recheck::every(self.recheck) };
        let recheck = recheck.with_grace(Some(self.recheck_grace));
        if looks_once { recheck.closing_on_change() } else { recheck }
    }

    /// The puzzles; `None` where there are to be none.
    fn puzzles(&self) -> Result<Option<Puzzles>, Failure> {
        let most = PuzzleDifficulty::new(self.hardest_puzzle).map_err(Failure::new)?;
        // An eighth of what a login may wait, as for the library's own second.
        let wait = self.max_wait.checked_div(8).unwrap_or_default().max(Duration::from_millis(1));
        Ok(self.puzzles.then(|| Puzzles::default().with_most(most).with_wait(wait)))
    }

    fn numbers(&self) -> Numbers {
        let handshakes = self.max_handshakes.get();
        let refusals = self.max_refusals.map_or(handshakes.saturating_mul(2), NonZeroUsize::get);
        Numbers { handshakes, refusals, sessions: self.max_sessions.get() }
    }

    fn bounds(&self, numbers: Numbers) -> Bounds {
        let mut bounds = Bounds::default()
            .with_handshakes(numbers.handshakes)
            .with_refusals(numbers.refusals)
            .with_sessions(numbers.sessions)
            .with_patience(self.max_wait.min(self.handshake_timeout));
        if let Some(handshakes) = self.max_handshakes_per_address {
            bounds = bounds.with_handshakes_per_source(handshakes.get());
        }
        if let Some(sessions) = self.max_sessions_per_address {
            bounds = bounds.with_sessions_per_source(sessions.get());
        }
        if let Some(sessions) = self.max_sessions_per_user {
            bounds = bounds.with_sessions_per_principal(sessions.get());
        }
        bounds
    }
}

impl Serve {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let service = self.service()?;
        let stretching = self.stretch.stretching(&self.keys)?;
        let (keys, key_warnings) = self.keys.load(None)?;
        key_warnings.iter().for_each(term::note);
        let set = keys.of("").cloned().ok_or_else(|| Failure::new("there is no key"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(format_args!("cannot start threads: {error}")))?;
        let place = self.users.place()?;
        if self.users.is_made() && place.is_missing() {
            place.make_missing()?;
            term::note(format_args!("{place}: made it; there are no accounts yet: countersign user add NAME"));
        }
        let (users, warning) = runtime.block_on(Store::open_to_serve(&place))?;
        warning.iter().for_each(term::note);
        let accounts = runtime.block_on(users.count());
        let listener = listen(&self.listen)?;
        let tickets = self.options.tickets();
        let saved = self.saved_tickets(tickets.as_ref())?;
        if let Some((keys, path)) = saved {
            tickets::load(keys, path)?;
        }
        // Standard output keeps its lines whole when many threads write.
        let log = Arc::new(Log::new(Box::new(io::stdout()), self.log_format)?);
        let plan = Plan {
            keys,
            tickets: tickets.clone(),
            place: &place,
            users,
            options: &self.options,
            guessing: &self.guessing,
            balancers: &self.proxy_protocol,
            service,
            stretching,
        };
        let (server, warnings) = runtime.block_on(plan.prepare(Arc::clone(&log)))?;
        warnings.iter().for_each(term::note);
        let watching = self.metrics_listen.as_deref().map(listen).transpose()?;
        let done = runtime.block_on(async {
            let reload = Reload::new(server.shared(), self.in_force.clone());
            let signalled = signals(move || reload.run());
            let signalled =
                signalled.map_err(|error| Failure::new(format_args!("cannot watch for signals: {error}")))?;
            prompt::no_more_questions();
            let (listener, address) = on_runtime(listener, &self.listen)?;
            let mut started = Entry::new("started").text("version", crate::VERSION).field("listen", address);
            if let Some(watching) = watching {
                let (listener, address) = on_runtime(watching, "--metrics-listen")?;
                started = started.field("metrics_listen", address);
                if !address.ip().is_loopback() {
                    term::note(format_args!("warning: whoever can connect to {address} can read /metrics"));
                }
                tokio::spawn(health::serve(listener, server.sources()));
            }
            if self.log_format == LogFormat::Logfmt {
                term::line(format_args!("listening on {address}"))?;
                term::line(format_args!("fingerprint {}", set.current().public_key().id()))?;
                for next in set.next() {
                    term::line(format_args!("next fingerprint {}", next.public_key().id()))?;
                }
            }
            started = keys::described(started, &set);
            started = started.text("users", &place.to_string());
            if let Some(accounts) = accounts {
                started = started.count("accounts", accounts);
            }
            if let Some(file) = &self.in_force.file {
                started = started.text("config", &file.display().to_string());
            }
            log.write(started.count("pid", u64::from(std::process::id())));
            tell(&State::Ready);
            let stop = async {
                times(signalled.clone(), 1).await;
                tell(&State::Stopping);
                tell(&State::Status("stopping: sessions may end by themselves"));
            };
            server.run(listener, stop, times(signalled.clone(), 2)).await;
            Ok(())
        });
        // Whoever has not said goodbye by now is left.
        runtime.shutdown_timeout(Duration::from_millis(100));
        // A server that could not begin has used no ticket: what it has loaded is good for the next one.
        match saved {
            Some((keys, path)) => tickets::save(keys, path).and(done),
            None => done,
        }
    }

    /// What is kept across a restart, and where.
    fn saved_tickets<'a>(
        &'a self,
        tickets: Option<&'a Arc<TicketKeys>>,
    ) -> Result<Option<(&'a TicketKeys, &'a Path)>, Failure> {
        match (&self.ticket_keys, tickets) {
            (Some(_), None) => {
                Err(Failure::usage("--ticket-keys is for tickets, and with --ticket-lifetime 0s there are none"))
            }
            (Some(path), Some(keys)) => Ok(Some((keys, path))),
            (None, _) => Ok(None),
        }
    }

    fn service(&self) -> Result<Service, Failure> {
        #[cfg(unix)]
        if let Some(command) = &self.exec {
            return Ok(Service::Exec(Exec { command: command.clone() }));
        }
        let Some(address) = &self.forward else {
            return Ok(Service::Lines);
        };
        // A name that is not known yet may be so later; one without a port never is.
        match address.to_socket_addrs() {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Err(Failure::usage(format_args!("--forward {address}: {error}; write it as HOST:PORT")))
            }
            _ => Ok(Service::Forward(Forward { address: address.clone(), send_proxy: self.send_proxy })),
        }
    }
}

/// What a server is made of.
pub(crate) struct Plan<'a> {
    pub(crate) keys: ServerKeys,
    pub(crate) tickets: Option<Arc<TicketKeys>>,
    pub(crate) place: &'a Users,
    pub(crate) users: Store,
    pub(crate) options: &'a Options,
    pub(crate) guessing: &'a Guessing,
    pub(crate) balancers: &'a [Block],
    pub(crate) service: Service,
    /// How clients stretch their passwords, if they do.
    pub(crate) stretching: Option<Stretching>,
}

impl Plan<'_> {
    /// A server, and what its operator should know.
    pub(crate) async fn prepare(self, log: Arc<Log>) -> Result<(Server, Vec<String>), Failure> {
        let Self { keys, tickets, place, users, options, guessing, balancers, service, stretching } = self;
        let doubtful = users::warnings(place, &users, stretching.as_ref()).await;
        let (health, told) = (Arc::<Health>::default(), Arc::new(OnceLock::new()));
        let users = watched(users, Arc::clone(&log), Arc::clone(&health), Arc::clone(&told));
        let (numbers, warning) = descriptors::fit(options.numbers(), service.descriptors(), !balancers.is_empty());
        let warnings = doubtful.into_iter().chain(warning).collect();
        let unnamed = Unnamed { count: numbers.handshakes, timeout: options.handshake_timeout };
        let live = Live { service, balancers: balancers.to_vec(), drain: options.drain };
        let mut config = options.config()?;
        // Whoever announces two sets of parameters, or asks for passwords, wants accounts to move.
        let moves = stretching.as_ref().is_some_and(|of| of.is_moving() || of.parameters().len() > 1);
        if let Some(stretching) = stretching {
            config = config.with_stretching(stretching).map_err(Failure::new)?;
        }
        let mut watch = None;
        if let Some(keys) = tickets {
            config = config.with_tickets(Arc::clone(&keys));
            watch = Some(Watch::new(keys, Arc::clone(&log)));
        }
        let recheck = options.recheck(live.service.looks_once());
        let verifier = AccountVerifier::new(users);
        let verifier = if moves { verifier.with_moving() } else { verifier };
        let acceptor = Acceptor::new_async(config, keys, verifier);
        let acceptor = acceptor.with_bounds(options.bounds(numbers)).with_recheck(recheck);
        let mut acceptor = match guessing.penalties(Arc::clone(&log)) {
            Some(penalties) => acceptor.with_penalties(penalties),
            None => acceptor.without_penalties(),
        };
        if let Some(puzzles) = options.puzzles()? {
            acceptor = acceptor.with_puzzles(puzzles);
        }
        if options.log_unknown_names {
            acceptor = acceptor.with_unknown_names();
        }
        let _ = told.set(acceptor.clone());
        Ok((Server::new(acceptor, watch, live, &unnamed, (log, health)), warnings))
    }
}

/// A listener on the runtime, and its address.
fn on_runtime(
    listener: std::net::TcpListener,
    name: &str,
) -> Result<(tokio::net::TcpListener, std::net::SocketAddr), Failure> {
    let listener = tokio::net::TcpListener::from_std(listener).and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    listener.map_err(|error| Failure::new(format_args!("{name}: {error}")))
}

/// As the log has numbers.
fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Waits until the server was told to end so many times.
async fn times(mut signalled: watch::Receiver<u32>, times: u32) {
    if signalled.wait_for(|count| *count >= times).await.is_err() {
        // Nobody will say so any more.
        std::future::pending::<()>().await;
    }
}

/// Watches for signals, from now on: SIGHUP reloads, also where it comes of a terminal that is closed, which is no reason to cut
/// everybody off; the others end a server, and are counted.
#[cfg(unix)]
fn signals(reload: impl Fn() + Send + Sync + 'static) -> io::Result<watch::Receiver<u32>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let reload = Arc::new(reload);
    let (count, counted) = watch::channel(0_u32);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let reload = Arc::clone(&reload);
            // Loading keys takes about as long as a few logins. One that panics is as one that fails.
            let _ = tokio::task::spawn_blocking(move || reload()).await;
        }
    });
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            count.send_modify(|count| *count = count.saturating_add(1));
        }
    });
    Ok(counted)
}

#[cfg(not(unix))]
fn signals(_: impl Fn() + Send + Sync + 'static) -> io::Result<watch::Receiver<u32>> {
    let (count, counted) = watch::channel(0_u32);
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            count.send_modify(|count| *count = count.saturating_add(1));
        }
    });
    Ok(counted)
}
