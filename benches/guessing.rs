//! What do guessers get, and what do good clients notice of them?
//!
//! ```text
//! cargo bench --bench guessing --features tokio,aws-lc
//! ```
//!
//! Good clients log in with their passwords, each from an address of its own, at a steady rate. Then guessers come besides: at one
//! account from many addresses, at many accounts from one address, and at everything from everywhere, at a rate that they hold
//! whatever they are answered. Once with the penalties and once without. A good client's time counts from when it was due.
//!
//! Everything runs in this process, over TCP, so guessers and good clients take their part of the processors, too. Every one of
//! 127.0.0.0/8 is an address of the machine on Linux, and what is needed here.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[allow(unused)]
mod support;

use countersign::{
    Acceptor, Accounts, Attempt, ClientConfig, Connector, Counts, Credential, Grant, Reason, Server, ServerConfig,
    ServerKey, Verifier,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{KEYS, private_key, providers};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// Good clients, each with an account and an address.
const CLIENTS: u32 = 20;

/// Logins of good clients a second, all together.
const RATE: f64 = 10.0;

#[derive(Clone, Copy)]
enum Guessing {
    Nothing,
    OneAccountFromMany,
    ManyAccountsFromOne,
    Everything,
}

impl Guessing {
    const ALL: [(Self, &str); 4] = [
        (Self::Nothing, "nobody guesses"),
        (Self::OneAccountFromMany, "at one account, from 1000 addresses"),
        (Self::ManyAccountsFromOne, "at many accounts, from one address"),
        (Self::Everything, "at 1000 accounts, from 1000 addresses"),
    ];

    /// From where the next guess comes, and at whom.
    fn next(self, number: u32) -> (Ipv4Addr, String) {
        let everywhere = Ipv4Addr::from(0x7f80_0000 + number % 1000 * 257);
        match self {
            Self::ManyAccountsFromOne => (Ipv4Addr::new(127, 64, 0, 1), format!("user{number}")),
            Self::Everything => (everywhere, format!("user{}", number * 7 % 1000)),
            _ => (everywhere, "user0".to_owned()),
        }
    }
}

/// Counts the passwords that are looked at.
struct Looked(Accounts, Arc<AtomicUsize>);

impl Verifier for Looked {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        let verdict = self.0.verify(attempt);
        self.1.fetch_add(usize::from(verdict.is_err()), Ordering::Relaxed);
        verdict
    }
}

struct Stage {
    server: Runtime,
    clients: Runtime,
    acceptor: Acceptor,
    address: SocketAddr,
    connector: Connector,
    looked: Arc<AtomicUsize>,
}

struct Measured {
    good: usize,
    due: usize,
    p50: Duration,
    p99: Duration,
    guesses: usize,
    looked: f64,
    counts: Counts,
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--test");
    let (time, rate) = if quick { (Duration::from_millis(300), 20.0) } else { (Duration::from_secs(20), 150.0) };
    println!("{CLIENTS} good clients, {RATE} logins a second together; {rate} guesses a second");
    println!(
        "{:<38} {:>9} {:>16} {:>9} {:>9} {:>12} {:>10}",
        "", "penalties", "good logins", "p50 ms", "p99 ms", "looked at /s", "turned away"
    );
    for (guessing, what) in Guessing::ALL {
        for with_penalties in [true, false] {
            let stage = Stage::new(with_penalties);
            let measured = stage.run(guessing, time, rate);
            let Measured { good, due, p50, p99, guesses, looked, counts } = measured;
            let share = 100.0 * good as f64 / due.max(1) as f64;
            let [p50, p99] = [p50, p99].map(|time| time.as_secs_f64() * 1000.0);
            let with = if with_penalties { "with" } else { "without" };
            println!(
                "{what:<38} {with:>9} {good:>5}/{due} {share:>6.1} % {p50:>9.0} {p99:>9.0} {looked:>12.2} {:>6}/{guesses}",
                counts.turned_away
            );
        }
    }
}

impl Stage {
    fn new(with_penalties: bool) -> Self {
        let provider = *providers().last().unwrap();
        let key = private_key(KEYS[1].1);
        let mut accounts = Accounts::new();
        for client in 0..CLIENTS {
            accounts.add(&format!("user{client}"), ["read"]).unwrap();
            accounts.set_password(&format!("user{client}"), b"correct horse").unwrap();
        }
        let looked = Arc::new(AtomicUsize::new(0));
        let verifier = Looked(accounts, Arc::clone(&looked));
        let acceptor = Acceptor::new(ServerConfig::new(provider), ServerKey::load(&key, provider).unwrap(), verifier);
        let acceptor = if with_penalties { acceptor } else { acceptor.without_penalties() };
        let [server, clients] =
            [0, 1].map(|_| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
        let listener = server.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = acceptor.clone();
        server.spawn(async move {
            loop {
                let Ok((stream, peer)) = listener.accept().await else { continue };
                let acceptor = accepting.clone();
                tokio::spawn(async move { acceptor.accept(stream, peer).await.map(drop) });
            }
        });
        let trust = Server::pinned(key.public_key().id());
        let connector = Connector::new(ClientConfig::new(provider), trust);
        Self { server, clients, acceptor, address, connector, looked }
    }

    fn run(self, guessing: Guessing, time: Duration, rate: f64) -> Measured {
        let Self { server, clients, acceptor, address, connector, looked } = self;
        let measured = clients.block_on(async {
            // Before anybody guesses: each good client has been here.
            for client in 0..CLIENTS {
                log_in(&connector, address, client).await;
            }
            let guesses = Arc::new(AtomicUsize::new(0));
            let guessers = {
                let (connector, guesses) = (connector.clone(), Arc::clone(&guesses));
                tokio::spawn(async move {
                    if matches!(guessing, Guessing::Nothing) {
                        return;
                    }
                    let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
                    for number in 0.. {
                        tick.tick().await;
                        let ((from, user), connector) = (guessing.next(number), connector.clone());
                        guesses.fetch_add(1, Ordering::Relaxed);
                        tokio::spawn(async move {
                            let Some(stream) = dial(from, address).await else { return };
                            let guess = Credential::Password { user: &user, password: b"a guess" };
                            drop(connector.connect(stream, guess).await);
                        });
                    }
                })
            };
            // Those who came first are through by then, and the guessers in full swing.
            tokio::time::sleep(time / 8).await;
            let before = looked.load(Ordering::Relaxed);
            let (start, mut tick) = (Instant::now(), tokio::time::interval(Duration::from_secs_f64(1.0 / RATE)));
            let mut visits = Vec::new();
            while start.elapsed() < time {
                let due = tick.tick().await.into_std();
                let (connector, client) = (connector.clone(), u32::try_from(visits.len()).unwrap() % CLIENTS);
                visits.push(tokio::spawn(
                    async move { log_in(&connector, address, client).await.then(|| due.elapsed()) },
                ));
            }
            let seconds = start.elapsed().as_secs_f64();
            let looked = (looked.load(Ordering::Relaxed) - before) as f64 / seconds;
            let due = visits.len();
            let mut times = Vec::new();
            for visit in visits {
                times.extend(visit.await.unwrap());
            }
            guessers.abort();
            times.sort();
            let at = |part: f64| times.get(((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1)));
            let [p50, p99] = [0.5, 0.99].map(|part| at(part).copied().unwrap_or_default());
            let (good, guesses) = (times.len(), guesses.load(Ordering::Relaxed));
            Measured { good, due, p50, p99, guesses, looked, counts: acceptor.counts() }
        });
        clients.shutdown_background();
        server.shutdown_background();
        measured
    }
}

async fn dial(from: Ipv4Addr, to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind((from, 0).into()).ok()?;
    let stream = socket.connect(to).await.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

/// The first good client is the one whose account everybody guesses at.
async fn log_in(connector: &Connector, address: SocketAddr, client: u32) -> bool {
    let from = Ipv4Addr::from(0x7f01_0001 + client * 256);
    let Some(stream) = dial(from, address).await else { return false };
    let good = Credential::Password { user: &format!("user{client}"), password: b"correct horse" };
    connector.connect(stream, good).await.is_ok()
}
