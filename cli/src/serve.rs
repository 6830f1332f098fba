//! `serve`: logins over TCP, in front of a service.

mod check;
mod clock;
mod config;
mod descriptors;
mod guessing;
mod health;
mod keys;
#[cfg(feature = "ldap")]
mod ldap;
#[cfg(not(feature = "ldap"))]
#[path = "serve/no_ldap.rs"]
mod ldap;
mod listen;
mod log;
mod metrics;
mod options;
mod paced;
mod proxy;
mod reload;
mod server;
mod service;
#[cfg(feature = "redis")]
mod sharing;
#[cfg(not(feature = "redis"))]
#[path = "serve/alone.rs"]
mod sharing;
mod stretch;
mod tickets;
mod users;
mod visit;

pub(crate) use check::CheckConfig;
pub(crate) use config::{NotParsed, parse as command_line};
pub(crate) use guessing::Guessing;
pub(crate) use log::{Format as LogFormat, Log};
pub(crate) use options::{MAX_HANDSHAKES, MAX_SESSIONS, Options};
pub(crate) use proxy::proxied;
pub(crate) use server::Server;
pub(crate) use service::Service;
pub(crate) use sharing::Sharing;
pub(crate) use users::Backend;

use crate::accounts::{Store, Users, UsersArgs};
use crate::failure::Failure;
use crate::prompt;
use crate::term;
use clap::Args;
#[cfg(unix)]
use clap::builder::NonEmptyStringValueParser;
use countersign::accounts::AccountVerifier;
use countersign::{Acceptor, KeySet, ServerKeys, Stretching, TicketKeys};
use health::Health;
use keys::Source;
use ldap::LdapArgs;
use listen::{State, listen, tell};
use log::Entry;
use proxy::Block;
use reload::Reload;
use server::Live;
#[cfg(unix)]
use service::Exec;
use service::Forward;
use sharing::SharingArgs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use stretch::StretchArgs;
use tickets::{Kept, Watch};
use tokio::sync::watch;
use users::{Told, watched};

/// Put a login in front of a service.
///
/// Logged-in clients get another TCP service (--forward), a program (--exec), or else a small demo that answers lines:
/// whoami, echo TEXT, quit.
///
/// Prints the address, the fingerprint, and one line for each login, accepted or refused, with the reason that the client is
/// never told. Changes to accounts are noticed, and changes to keys and configuration at SIGHUP, without dropping a session
/// or refusing a login. Ctrl-C or SIGTERM ends it, a second one at once.
#[derive(Args)]
#[command(override_usage = "\
countersign serve --listen <ADDRESS:PORT> --key <FILE> [OPTIONS]
       countersign serve --config <FILE> [OPTIONS]")]
#[command(after_help = "\
Examples:
  countersign keygen --out server.pem
  countersign user add alice --users users
  countersign serve --listen '[::]:4500' --key server.pem --users users --forward localhost:5432
  countersign serve --listen '[::]:4500' --key server.pem --users users --exec /usr/bin/fortune
  countersign serve --listen '[::]:4500' --key server.pem --ldap ldaps://ldap.example \
    --ldap-base ou=people,dc=example --ldap-bind-dn cn=countersign,dc=example \
    --ldap-password-file ldap-password --ldap-group \"cn=clerks,ou=groups,dc=example orders:read\"
  countersign serve --config /etc/countersign/serve.toml --metrics-listen 127.0.0.1:9450

With --config every flag here, without its dashes, is a name in a file of TOML, as in
max-sessions = 100 or any-server-name = true. Paths are as on the command line, which goes before
the file. `check-config` says what is wrong with a file before a server finds out.

--forward and --exec carry bytes both ways. The client's close is the end of input; the end of
output closes the session. Nothing else is passed on as an end: where a connection breaks or is
cut, where the service can't be reached, or where this server stops and the session does not end
in half a second, a TCP service gets a reset, a program SIGTERM, and the client a session that
was cut; so it does where a program is ended by a signal, or can't be run (status 126 or 127). A
server that is killed resets its services' connections, too, but its programs see the end of their
input. With --send-proxy the service gets a PROXY header of version 2 first, with the client's
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
accounts-away, accounts-back), and /readyz; nothing has to be restarted. Where it can be read and not written, second factors and
recovery codes alone are told `not now` (accounts-read-only, accounts-written). Its tables are made by `db migrate`.
Without --users the accounts are in SQLite in the state directory, and the file is made if it is missing.

With --ldap the passwords are those of an LDAP directory, which checks each of them: in the place of --users, not beside it. Users are
found by their names (--ldap-user-dn) or by a search (--ldap-base) with a service account (--ldap-bind-dn), and may do what stands here for
the directory's groups (--ldap-group) or for everybody (--ldap-permission). `user` and `role` do not go with it: accounts, locks and
expiry are the directory's. Tickets, and --recheck, read the entry again, as the service account. While the directory is away, logins are told
`not now`, as with a database. With --redis the counts of failed logins are shared; tickets are not.

With --redis several servers are one service: a guesser who waits at one waits at all, and, where the accounts are in a
database, a ticket of one is good at the others, and once at all of them. The keys of tickets are in the database then, so that
they outlive a restart (--ticket-keys has no place there), and are made anew by whichever server finds that it is time. All of it
is kept under a secret that follows from the private key. The log says when Redis is away and back (events redis-away, redis-back),
and when it has lost what it knew of used tickets (redis-emptied): those of before are not taken any more. Another service at
the same Redis needs another --redis-prefix; all servers of one need the same Redis, database number and prefix, or used tickets
are good again at those that differ. A user of Redis's needs the rights that docs/cluster.md lists; it has it all in a row: three
servers, PostgreSQL, Redis and a balancer.

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
the address that has the most makes way, and among those alike one from where nobody has logged
in, so that a flood of idle connections does not keep good clients out. Where logins have to wait
for a core, those of addresses with the fewest refused ones of late come first, and where too many
wait, one of the address with the most is turned away. Each connection takes a file descriptor:
the limit is raised as far as the system lets it, and if the bounds still need more they are
lowered, with a warning.

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
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = listen::address)]
    listen: String,
    #[command(flatten)]
    keys: Source,
    #[command(flatten)]
    users: UsersArgs,
    /// Leave stored passwords as they are. Without this, one that was good, and is hashed by older means or more cheaply than new
    /// ones, is hashed anew at its user's login, and with --stretch moves to what is announced first
    #[arg(long)]
    no_password_upgrade: bool,
    #[command(flatten)]
    ldap: LdapArgs,
    /// Connect each session to this TCP service
    #[arg(long, value_name = "HOST:PORT", group = "service", value_parser = listen::target)]
    forward: Option<String>,
    /// Tell the service of --forward who has logged in, in a PROXY header of version 2
    #[arg(long, requires = "forward")]
    send_proxy: bool,
    /// Start this program, by /bin/sh, for each session
    #[cfg(unix)]
    #[arg(long, value_name = "COMMAND", group = "service", value_parser = NonEmptyStringValueParser::new())]
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
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Watching it", value_parser = listen::address)]
    metrics_listen: Option<String>,
    #[command(flatten)]
    stretch: StretchArgs,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    guessing: Guessing,
    #[command(flatten)]
    sharing: SharingArgs,
    /// All that is set, by name.
    #[arg(skip)]
    in_force: config::InForce,
}

/// All that is in force with a configuration, as such a file.
pub(crate) fn in_force(file: &Path) -> Result<String, Failure> {
    config::of_file(file).map(|serve| serve.in_force.to_toml())
}

/// What a command line says.
#[cfg(test)]
fn parsed(more: &[&str]) -> Serve {
    parsed_without_users(&[&["--users", "users"], more].concat())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
fn parsed_without_users(more: &[&str]) -> Serve {
    let words = ["countersign", "serve", "--listen", "127.0.0.1:0", "--key", "server.pem"];
    let words = words.iter().chain(more).map(Into::into).collect();
    match command_line(words).ok().unwrap().command {
        crate::Command::Serve(serve) => *serve,
        _ => panic!("it is no server"),
    }
}

impl Serve {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let service = self.service();
        let stretching = self.stretch.stretching(&self.keys)?;
        let (keys, key_warnings) = self.keys.load(None)?;
        key_warnings.iter().for_each(term::note);
        let set = keys.of("").cloned().ok_or_else(|| Failure::new("there is no key"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(format_args!("cannot start threads: {error}")))?;
        let unwatched = |error: io::Error| Failure::new(format_args!("cannot watch for signals: {error}"));
        // From here on: a start takes as long as a database that is away, and whoever asks for a reload meanwhile must not end it.
        let hangup = runtime.block_on(async { hangup() }).map_err(unwatched)?;
        if let Some(place) = self.missing()? {
            place.make_missing()?;
            term::note(format_args!("{place}: made it; there are no accounts yet: countersign user add NAME"));
        }
        let (backend, warnings) = runtime.block_on(self.backend())?;
        warnings.iter().for_each(term::note);
        let closing = backend.store().map(|store| store.closing(&runtime));
        let accounts = runtime.block_on(backend.count());
        let listener = listen("--listen", &self.listen)?;
        let watching = self.metrics_listen.as_deref();
        let watching = watching.map(|address| listen("--metrics-listen", address)).transpose()?;
        self.check_ticket_keys(backend.users())?;
        let log = Arc::new(Log::new(log::standard_output(), self.log_format)?);
        let (sharing, warning) = runtime.block_on(self.sharing.open(&self.keys, backend.store(), Some(&log)))?;
        warning.iter().for_each(term::note);
        let tickets = self.options.tickets(&sharing);
        let mut kept = self.kept_tickets(tickets.as_ref())?;
        let named = backend.named();
        let plan = Plan {
            keys,
            tickets: tickets.clone(),
            sharing,
            backend,
            keeps_passwords: self.no_password_upgrade,
            options: &self.options,
            guessing: &self.guessing,
            balancers: &self.proxy_protocol,
            service,
            more_files: self.more_files(),
            stretching,
        };
        let redis = plan.sharing.named().map(str::to_owned);
        let (server, warnings) = runtime.block_on(plan.prepare(Arc::clone(&log)))?;
        warnings.iter().for_each(term::note);
        let done = runtime.block_on(async {
            let reload = Reload::new(&server, self.in_force.clone());
            let signalled = signals().map_err(unwatched)?;
            prompt::no_more_questions();
            let (listener, address) = on_runtime(listener, &self.listen)?;
            let watching = watching.map(|watching| on_runtime(watching, "--metrics-listen")).transpose()?;
            kept.as_mut().map_or(Ok(()), Kept::take_over)?;
            let mut started = Entry::new("started").text("version", crate::VERSION).field("listen", address);
            if let Some((listener, address)) = watching {
                started = started.field("metrics_listen", address);
                if !address.ip().is_loopback() {
                    term::note(format_args!("warning: whoever can connect to {address} can read /metrics"));
                }
                tokio::spawn(health::serve(listener, server.sources()));
            }
            if self.log_format == LogFormat::Logfmt {
                // Where that can't be written, the log can't either, and says so: a server serves all the same.
                let _ = introduce(address, &set);
            }
            started = keys::described(started, &set);
            started = started.text("users", &named);
            if let Some(redis) = &redis {
                started = started.text("redis", redis);
            }
            if let Some(accounts) = accounts {
                started = started.count("accounts", accounts);
            }
            if let Some(file) = &self.in_force.file {
                started = started.text("config", &file.display().to_string());
            }
            log.write(started.count("pid", u64::from(std::process::id())));
            tell(&State::Ready);
            reload_at(hangup, move || reload.run());
            let stop = async {
                times(signalled.clone(), 1).await;
                tell(&State::Stopping);
                tell(&State::Status("stopping: sessions may end by themselves"));
            };
            server.run(listener, stop, times(signalled.clone(), 2)).await;
            Ok(())
        });
        drop(closing);
        // Whoever has not said goodbye by now is left.
        runtime.shutdown_timeout(Duration::from_millis(100));
        kept.map_or(Ok(()), |kept| kept.save()).and(done)
    }

    /// What a start makes: the place of accounts by default, if it is missing.
    fn missing(&self) -> Result<Option<Users>, Failure> {
        if self.ldap.is_given() || !self.users.is_made() {
            return Ok(None);
        }
        Ok(Some(self.users.place()?).filter(Users::is_missing))
    }

    /// Opens what the accounts are in, and says what is doubtful.
    async fn backend(&self) -> Result<(Backend, Vec<String>), Failure> {
        if let Some(directory) = self.ldap.directory(self.options.handshake_timeout)? {
            let (directory, warnings) = directory.open().await?;
            return Ok((Backend::Directory(directory), warnings));
        }
        let place = self.users.place()?;
        let (store, warning) = Store::open_to_serve(&place).await?;
        Ok((Backend::Store(place, store), warning.into_iter().collect()))
    }

    /// Whether the file of ticket keys, if one is named, has a purpose.
    fn check_ticket_keys(&self, place: Option<&Users>) -> Result<(), Failure> {
        if self.ticket_keys.is_none() {
            return Ok(());
        }
        if self.options.ticket_lifetime.is_zero() {
            return Err(Failure::usage("--ticket-keys is for tickets, and with --ticket-lifetime 0s there are none"));
        }
        if let Some(place) = place.filter(|place| self.sharing.has_tickets(place)) {
            return Err(Failure::usage(format_args!(
                "--ticket-keys is for a server by itself; with --redis, the keys of tickets are in {place}, and stay there across restarts"
            )));
        }
        Ok(())
    }

    /// What is kept across a restart, as the server before has left it.
    fn kept_tickets<'a>(&'a self, tickets: Option<&'a Arc<TicketKeys>>) -> Result<Option<Kept<'a>>, Failure> {
        tickets.zip(self.ticket_keys.as_deref()).map(|(keys, path)| Kept::load(keys, path)).transpose()
    }

    fn service(&self) -> Service {
        #[cfg(unix)]
        if let Some(command) = &self.exec {
            return Service::Exec(Exec { command: command.clone() });
        }
        match &self.forward {
            Some(address) => Service::Forward(Forward { address: address.clone(), send_proxy: self.send_proxy }),
            None => Service::Lines,
        }
    }
}

/// What a server is made of.
pub(crate) struct Plan<'a> {
    pub(crate) keys: ServerKeys,
    pub(crate) tickets: Option<Arc<TicketKeys>>,
    pub(crate) sharing: Sharing,
    pub(crate) backend: Backend,
    /// Whether passwords stay as they are stored.
    pub(crate) keeps_passwords: bool,
    pub(crate) options: &'a Options,
    pub(crate) guessing: &'a Guessing,
    pub(crate) balancers: &'a [Block],
    pub(crate) service: Service,
    /// How many files may be open for what it asks, and for those who watch it.
    pub(crate) more_files: usize,
    /// How clients stretch their passwords, if they do.
    pub(crate) stretching: Option<Stretching>,
}

impl Plan<'_> {
    /// A server, and what its operator should know.
    pub(crate) async fn prepare(self, log: Arc<Log>) -> Result<(Server, Vec<String>), Failure> {
        let Self {
            keys,
            tickets,
            sharing,
            backend,
            keeps_passwords,
            options,
            guessing,
            balancers,
            service,
            more_files,
            stretching,
        } = self;
        let doubtful = backend.warnings(stretching.as_ref(), keeps_passwords).await;
        let health = Arc::<Health>::default();
        let told = Told { log: Arc::clone(&log), health: Arc::clone(&health), acceptor: Arc::new(OnceLock::new()) };
        let fitting = descriptors::fit(options.bounds(), more_files, service.descriptors(), !balancers.is_empty());
        let mut warnings: Vec<String> = doubtful.into_iter().chain(fitting.warning).chain(options.warning()).collect();
        let live = Live {
            service: Arc::new(service),
            balancers: balancers.to_vec(),
            unnamed: fitting.unnamed,
            drain: options.drain,
        };
        let mut config = options.config(backend.credentials())?;
        // Whoever announces two sets of parameters, or asks for passwords, wants accounts to move.
        let moves = stretching.as_ref().is_some_and(|of| of.is_moving() || of.parameters().len() > 1);
        if let Some(stretching) = stretching {
            config = config.with_stretching(stretching).map_err(Failure::new)?;
        }
        let (mut watch, watched_redis, shared_tickets) = (None, sharing.watched(), tickets.clone());
        if let Some(keys) = tickets {
            config = config.with_tickets(Arc::clone(&keys));
            watch = Some(Watch::new(keys, Arc::clone(&log)));
        }
        let recheck = options.recheck(live.service.looks_once());
        let whose = Arc::clone(&told.acceptor);
        let acceptor = match backend {
            Backend::Store(_, store) => {
                let verifier = AccountVerifier::new(watched(store, told));
                let verifier = if moves && !keeps_passwords { verifier.with_moving() } else { verifier };
                let verifier = if keeps_passwords { verifier.without_upgrade() } else { verifier };
                Acceptor::new_async(config, keys, verifier)
            }
            #[cfg(feature = "ldap")]
            Backend::Directory(directory) => Acceptor::new_async(config, keys, directory.verifier(told)),
            #[cfg(not(feature = "ldap"))]
            Backend::Directory(directory) => match directory {},
        };
        clock::watch(Arc::clone(&log));
        let acceptor = acceptor.with_bounds(fitting.bounds).with_recheck(recheck);
        let mut acceptor = match guessing.penalties()? {
            Some(penalties) => acceptor.with_penalties(guessing::over(penalties, &log, watched_redis.as_ref())),
            None => acceptor.without_penalties(),
        };
        if let Some(puzzles) = options.puzzles()? {
            acceptor = acceptor.with_puzzles(puzzles);
        }
        if options.log_unknown_names {
            acceptor = acceptor.with_unknown_names();
        }
        let _ = whose.set(acceptor.clone());
        warnings.extend(sharing.begin(shared_tickets.as_ref(), &log).await);
        let server = Server::new(acceptor, watch, live, options.handshake_timeout, (log, health));
        Ok((server.with_redis(watched_redis), warnings))
    }
}

/// For whoever starts it by hand.
fn introduce(address: std::net::SocketAddr, keys: &KeySet) -> Result<(), Failure> {
    term::line(format_args!("listening on {address}"))?;
    term::line(format_args!("fingerprint {}", keys.current().public_key().id()))?;
    keys.next().iter().try_for_each(|next| term::line(format_args!("next fingerprint {}", next.public_key().id())))
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

/// SIGHUP ends nothing from now on, also where it comes of a terminal that is closed, which is no reason to cut everybody off. One that comes before
/// [`reload_at`] is heeded then.
#[cfg(unix)]
fn hangup() -> io::Result<tokio::signal::unix::Signal> {
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())
}

#[cfg(not(unix))]
fn hangup() -> io::Result<()> {
    Ok(())
}

/// Reloads at SIGHUP.
#[cfg(unix)]
fn reload_at(mut hangup: tokio::signal::unix::Signal, reload: impl Fn() + Send + Sync + 'static) {
    let reload = Arc::new(reload);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let reload = Arc::clone(&reload);
            // Loading keys takes about as long as a few logins. One that panics is as one that fails.
            let _ = tokio::task::spawn_blocking(move || reload()).await;
        }
    });
}

#[cfg(not(unix))]
fn reload_at((): (), _: impl Fn() + Send + Sync + 'static) {}

/// Watches for the signals that end a server, from now on, and counts them.
#[cfg(unix)]
fn signals() -> io::Result<watch::Receiver<u32>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (count, counted) = watch::channel(0_u32);
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
fn signals() -> io::Result<watch::Receiver<u32>> {
    let (count, counted) = watch::channel(0_u32);
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            count.send_modify(|count| *count = count.saturating_add(1));
        }
    });
    Ok(counted)
}
