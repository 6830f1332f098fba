//! The server of a scenario: a process of its own, which echoes what its sessions say, and does what its standard input says.
//!
//! | line | what it does |
//! |---|---|
//! | `counts` | answers with what [`Acceptor::counts`] says |
//! | `accounts well`, `away`, `silent` | the store of accounts does as usual, answers at once that it is away, or says so after three seconds |
//! | `shared well`, `away` | so do the counts of failed logins and the memory of tickets that servers share |
//! | `clock` | answers with its time of day, in seconds |
//! | `disk full`, `disk well` | no file can grow any more (`RLIMIT_FSIZE`, with its signal ignored); or it can again |
//!
//! It ends with its input.

use crate::suite::Failure;
use crate::suite::store::{Fragile, Health};
use clap::{Args, ValueEnum};
use countersign::accounts::{AccountFile, AccountStore};
use countersign::crypto::aws_lc;
use countersign::{
    Acceptor, AccountVerifier, Accounts, AlreadyUsed, Bounds, CredentialKind, Penalties, PenaltyKey, PenaltyStore,
    PrivateKey, PuzzleDifficulty, Puzzles, ServerConfig, ServerKey, Standing, StoreAway, Stored, TicketKeys,
    TicketMemory, TicketUse, UnixTime, UsedTickets, Using, WhenAway,
};
use countersign_stores::{Place, SqlStore};
use std::collections::HashMap;
use std::io::BufRead;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// The server's key, which is no secret.
pub(crate) const KEY: &str = include_str!("../../../tests/keys/rsa3072.pem");

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Where the accounts are
    #[arg(long)]
    accounts: PathBuf,
    /// How they are kept
    #[arg(long, value_enum)]
    store: Store,
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long, value_enum, default_value_t = Asking::Never)]
    puzzles: Asking,
    /// So many files may be open, and the bounds are lowered to what fits
    #[arg(long)]
    files: Option<u64>,
    /// So many handshakes may be open
    #[arg(long)]
    handshakes: Option<usize>,
    /// With counts of failed logins and a memory of tickets that are somebody else's
    #[arg(long)]
    shared: bool,
    #[arg(long)]
    without_limits: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Memory,
    File,
    Sqlite,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    Never,
    UnderLoad,
    Always,
}

/// What goes wrong, as the input says.
#[derive(Clone, Default)]
struct Faults {
    accounts: Health,
    shared: Health,
    accept_errors: Arc<AtomicU64>,
}

pub(crate) fn run(options: &Serve) -> Result<(), Failure> {
    limit_files(options.files)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(options))
}

async fn serve(options: &Serve) -> Result<(), Failure> {
    let faults = Faults::default();
    let health = faults.accounts.clone();
    match options.store {
        Store::Memory => {
            let (accounts, _) = Accounts::parse(std::fs::read(&options.accounts)?);
            listen(options, Fragile(RwLock::new(accounts), health), faults).await
        }
        Store::File => listen(options, Fragile(AccountFile::open(&options.accounts)?, health), faults).await,
        Store::Sqlite => {
            let store = SqlStore::open(&Place::sqlite(&options.accounts)).await?;
            listen(options, Fragile(store, health), faults).await
        }
    }
}

async fn listen(options: &Serve, store: impl AccountStore + 'static, faults: Faults) -> Result<(), Failure> {
    let acceptor = acceptor(options, store, &faults)?;
    let socket = TcpSocket::new_v4()?;
    // One that was killed leaves connections behind.
    socket.set_reuseaddr(true)?;
    socket.bind(options.listen)?;
    let listener = socket.listen(1024)?;
    println!("{}", listener.local_addr()?);
    let (accepting, errors) = (acceptor.clone(), Arc::clone(&faults.accept_errors));
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => drop(tokio::spawn(visit(accepting.clone(), stream, peer))),
                Err(_) => {
                    errors.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    });
    let _ignored = ignore_full_disks()?;
    tokio::task::spawn_blocking(move || obey(&acceptor, &faults)).await?
}

fn obey(acceptor: &Acceptor, faults: &Faults) -> Result<(), Failure> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let is_known = match line.split_once(' ') {
            Some(("accounts", state)) => faults.accounts.set(state),
            Some(("shared", state)) => faults.shared.set(state),
            Some(("disk", state @ ("full" | "well"))) => limit_disk(state == "full"),
            _ => false,
        };
        match line.as_str() {
            "counts" => {
                let counts = acceptor.counts();
                let held = counts.handshakes + counts.logins + counts.refusals + counts.sessions;
                println!("{held} {} {counts:?}", faults.accept_errors.load(Ordering::Relaxed));
            }
            "clock" => println!("{}", UnixTime::from_system(SystemTime::now()).as_secs()),
            _ if is_known => println!("done"),
            other => return Err(format!("{other:?} is nothing that this server does").into()),
        }
    }
    Ok(())
}

fn acceptor(options: &Serve, store: impl AccountStore + 'static, faults: &Faults) -> Result<Acceptor, Failure> {
    let provider = aws_lc::provider();
    let mut tickets = TicketKeys::new(provider, Duration::from_secs(3600));
    let mut penalties = Penalties::default();
    if options.shared {
        tickets = tickets.with_shared_memory(Elsewhere::new(&faults.shared));
        penalties = penalties.with_store(Elsewhere::new(&faults.shared), WhenAway::GoOn);
    }
    let kinds = [CredentialKind::Password, CredentialKind::Token, CredentialKind::Key];
    let config = ServerConfig::new(provider).with_tickets(Arc::new(tickets)).with_credential_kinds(&kinds)?;
    let key = ServerKey::load(&PrivateKey::from_pem(KEY)?, provider)?;
    let acceptor = Acceptor::new_async(config, key, AccountVerifier::new(store)).with_penalties(penalties);
    // As the documentation has it. With a log that is full this panics, which is to be nobody's trouble.
    let acceptor = acceptor.with_observer(|event| eprintln!("{event}"));
    let acceptor = match options.puzzles {
        Asking::Never => acceptor,
        Asking::UnderLoad => acceptor.with_puzzles(Puzzles::default()),
        // Not harder while they are asked for: here whoever solves one takes the server's own processors for it.
        Asking::Always => {
            let puzzles = Puzzles::default().with_wait(Duration::ZERO).with_most(PuzzleDifficulty::new(10)?);
            acceptor.with_puzzles(puzzles)
        }
    };
    let bounds = match options.files {
        Some(files) => Bounds::default().fitting(usize::try_from(files)?.saturating_sub(OWN), 1),
        None => Bounds::default(),
    };
    let bounds = options.handshakes.map_or(bounds, |count| bounds.with_handshakes(count));
    let (bounds, acceptor) =
        if options.without_limits { (boundless(), acceptor.without_penalties()) } else { (bounds, acceptor) };
    Ok(acceptor.with_bounds(bounds.with_working(workers())))
}

/// Half of the processors compute logins, so that clients and attackers have the rest, who have their own elsewhere.
pub(crate) fn workers() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (processors / 2).max(1)
}

/// What this process has open beside its connections.
const OWN: usize = 24;

fn boundless() -> Bounds {
    const ALL: usize = 1_000_000;
    let bounds = Bounds::default().with_handshakes(ALL).with_handshakes_per_source(ALL).with_waiting(ALL);
    let bounds = bounds.with_refusals(ALL).with_sessions(ALL).with_sessions_per_source(ALL);
    bounds.with_sessions_per_principal(ALL).with_patience(Duration::from_secs(3600))
}

/// Echoes what a session says, for as long as it says something.
async fn visit(acceptor: Acceptor, stream: TcpStream, peer: SocketAddr) {
    drop(stream.set_nodelay(true));
    let Ok(mut session) = acceptor.accept(stream, peer).await else { return };
    let mut buffer = vec![0; 4096];
    while let Ok(count @ 1..) = session.read(&mut buffer).await {
        let said = buffer.get(..count).unwrap_or_default();
        if session.write_all(said).await.is_err() || session.flush().await.is_err() {
            return;
        }
    }
    drop(session.finish(Duration::from_secs(1)).await);
}

/// What servers share, in memory, and away when this program is told so.
struct Elsewhere {
    health: Health,
    counts: Mutex<HashMap<PenaltyKey, (f64, std::time::Instant)>>,
    used: UsedTickets,
}

impl Elsewhere {
    fn new(health: &Health) -> Self {
        Self { health: health.clone(), counts: Mutex::default(), used: UsedTickets::new(10_000) }
    }
}

impl PenaltyStore for Elsewhere {
    fn read<'a>(&'a self, keys: &'a [PenaltyKey]) -> Stored<'a, Vec<Standing>> {
        Box::pin(async move {
            let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let standing = |key| {
                let found = counts.get(key).map(|(level, at)| Standing { level: *level, since: at.elapsed() });
                found.unwrap_or_default()
            };
            self.health.is_well().then(|| keys.iter().map(standing).collect()).ok_or(StoreAway)
        })
    }

    fn add<'a>(&'a self, amounts: &'a [(PenaltyKey, f64)]) -> Stored<'a, ()> {
        Box::pin(async move {
            if !self.health.is_well() {
                return Err(StoreAway);
            }
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, amount) in amounts {
                let (level, at) = counts.get(key).copied().unwrap_or((0.0, std::time::Instant::now()));
                let faded = Standing { level, since: at.elapsed() }.faded(key.half_life());
                counts.insert(key.clone(), ((faded + amount).max(0.0), std::time::Instant::now()));
            }
            Ok(())
        })
    }
}

impl TicketMemory for Elsewhere {
    fn use_once<'a>(&'a self, ticket: &'a TicketUse) -> Using<'a> {
        Box::pin(async move {
            if self.health.is_well() { self.used.use_once(ticket).await } else { Err(AlreadyUsed::Away) }
        })
    }
}

/// Has so many files be open, or as many as the system allows.
pub(crate) fn limit_files(files: Option<u64>) -> Result<(), Failure> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let current = files.or(limit.maximum);
    Ok(setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum })?)
}

fn limit_disk(is_full: bool) -> bool {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: if is_full { Some(0) } else { maximum }, maximum }).is_ok()
}

/// A write past the limit is an error then, as on a disk that is full, and not the end of the process.
fn ignore_full_disks() -> Result<tokio::signal::unix::Signal, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    Ok(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?)
}
