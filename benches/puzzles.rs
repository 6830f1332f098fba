//! What does junk cost who sends it, and what the server, with puzzles and without? And what do good clients notice in a flood?
//!
//! ```text
//! cargo bench --bench puzzles --features tokio,aws-lc
//! ```
//!
//! First, on one thread and in the same rounds: what an attacker spends on one hello that makes the server do its RSA operation, made
//! anew or recorded and played again, and what the server spends on it; then the same with a puzzle before it, solved, not solved, and
//! solved wrong.
//!
//! Then over TCP, in this process: good clients at a steady rate, each from an address that is new to the server, and a flood of hellos
//! from some thirty thousand addresses, each too seldom for anybody to count it. The flood sends the same hello again and again, which it has
//! made once, and either leaves the puzzle or solves it, on one thread. All of them share the processors: what the flood spends on
//! puzzles is missing at the server, too.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[allow(unused)]
mod support;

use core::hint::black_box;
use countersign::client::AwaitChallenge;
use countersign::crypto::Provider;
use countersign::frame::{FrameReader, FrameType};
use countersign::{
    Acceptor, Attempt, Bounds, ClientConfig, Connector, Counts, Grant, PuzzleDifficulty, Puzzles, Reason, Server,
    ServerConfig, ServerKey, Suite,
};
use rand::rngs::StdRng;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};
use support::{ALICE, KEYS, NOW, Peers, grant, private_key, providers, rng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};

const SUITE: Suite = Suite::X25519_AES_256_GCM;

fn main() {
    let quick = std::env::args().any(|arg| arg == "--test");
    costs(if quick { 2 } else { 60 }, if quick { &[4] } else { &[8, 10, 12, 14, 16] });
    flood(if quick { Duration::from_millis(300) } else { Duration::from_secs(15) }, if quick { 50 } else { 3000 });
}

// ---- One hello ------------------------------------------------------------------------------------------------------

fn bits(bits: u8) -> PuzzleDifficulty {
    PuzzleDifficulty::new(bits).unwrap()
}

/// The time of something, added up.
#[derive(Clone, Copy, Default)]
struct Spent(Duration, u32);

impl Spent {
    fn time<R>(&mut self, what: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let done = black_box(what());
        self.0 += start.elapsed();
        self.1 += 1;
        done
    }

    fn micros(self) -> f64 {
        self.0.as_secs_f64() * 1e6 / f64::from(self.1.max(1))
    }
}

fn costs(rounds: u32, difficulties: &[u8]) {
    println!(
        "What one hello that makes the server do its RSA operation costs each side, in microseconds; means of {rounds} rounds"
    );
    println!(
        "{:<12} {:<8} {:>10} {:>10} {:>10} {:>10} {:>10} {:>12}",
        "provider", "key", "puzzle", "attacker", "server", "ratio", "unsolved", "wrong"
    );
    for provider in providers() {
        for (name, pem) in &KEYS[..2] {
            let peers = Peers::new(provider, SUITE, pem).with_proof();
            let rng = &mut rng();
            let (mut made, mut opened) = (Spent::default(), Spent::default());
            let mut with: Vec<_> = difficulties.iter().map(|&bits| (bits, [Spent::default(); 4])).collect();
            for _ in 0..rounds {
                let (hello, _) = made.time(|| peers.hello(rng));
                opened.time(|| peers.challenge(hello, rng));
                for (difficulty, spent) in &mut with {
                    puzzled(&peers, bits(*difficulty), spent, rng);
                }
            }
            let line = |puzzle: &str, attacker: f64, server: f64, rest: String| {
                let ratio = attacker / server;
                println!(
                    "{:<12} {name:<8} {puzzle:>10} {attacker:>10.1} {server:>10.1} {ratio:>10.2} {rest}",
                    provider.name
                );
            };
            line("replayed", 0.0, opened.micros(), String::new());
            line("none", made.micros(), opened.micros(), String::new());
            for (bits, [solving, server, unsolved, wrong]) in with {
                let rest = format!("{:>10.1} {:>12.1}", unsolved.micros(), wrong.micros());
                // It plays a recorded hello again.
                line(&format!("{bits} bits"), solving.micros(), server.micros(), rest);
            }
        }
    }
}

/// One hello with a puzzle: what solving it takes, and what the server spends where it is solved, where it is not, and where it is wrong.
fn puzzled(peers: &Peers, difficulty: PuzzleDifficulty, spent: &mut [Spent; 4], rng: &mut StdRng) {
    let [solving, solved, unsolved, wrong] = spent;
    let (hello, client) = peers.hello(rng);
    let wait = Duration::from_secs(2);
    let ask = |rng: &mut StdRng| peers.read(hello.clone()).puzzle(difficulty, wait, rng).unwrap();
    drop(unsolved.time(|| ask(rng)));
    let bad = [&[12, 0, 128][..], &[7; 128]].concat();
    drop(wrong.time(|| ask(rng).1.read(&bad, NOW)));
    let start = Instant::now();
    let (busy, waits) = ask(rng);
    solved.0 += start.elapsed();
    let (frame, _) = solving.time(|| solve(client, &busy));
    solved.time(|| {
        let hello = waits.read(&frame, NOW).unwrap();
        let hello = hello.open(rng).map_or_else(|hello| *hello, |open| open.run(rng));
        hello.challenge(rng).unwrap()
    });
}

/// What a client, or whoever plays its hello again, spends on a puzzle.
fn solve(client: AwaitChallenge, busy: &[u8]) -> (Vec<u8>, AwaitChallenge) {
    let solution = client.puzzle(busy).unwrap().solve(|| true).unwrap();
    client.solved(&solution).unwrap()
}

// ---- A flood --------------------------------------------------------------------------------------------------------

/// Logins of good clients a second.
const RATE: f64 = 10.0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flood {
    None,
    /// It hangs up where it is asked for work.
    Free,
    /// It solves what it is asked, as fast as one thread can.
    Paying,
}

struct Measured {
    good: usize,
    due: usize,
    p50: Duration,
    p99: Duration,
    hellos: usize,
    opened: f64,
    counts: Counts,
    hardest: u8,
}

fn flood(time: Duration, rate: u32) {
    println!();
    println!("Good clients, {RATE} logins a second, RSA-3072; {rate} hellos a second are due in a flood");
    println!(
        "{:<14} {:<34} {:>9} {:>16} {:>8} {:>8} {:>9} {:>13} {:>8}",
        "provider", "", "puzzles", "good logins", "p50 ms", "p99 ms", "hellos/s", "answered /s", "hardest"
    );
    for provider in providers() {
        for (flood, what, puzzles) in [
            (Flood::None, "no flood", true),
            (Flood::Free, "a flood that pays nothing", false),
            (Flood::Free, "a flood that pays nothing", true),
            (Flood::Paying, "a flood that pays, one thread", true),
        ] {
            let Measured { good, due, p50, p99, hellos, opened, counts, hardest } =
                Stage::new(provider, puzzles).run(flood, time, rate);
            let [p50, p99] = [p50, p99].map(|time| time.as_secs_f64() * 1000.0);
            let share = 100.0 * good as f64 / due.max(1) as f64;
            let (with, hellos) = (if puzzles { "with" } else { "without" }, hellos as f64 / time.as_secs_f64());
            let solved = counts.puzzles_solved;
            println!(
                "{:<14} {what:<34} {with:>9} {good:>5}/{due} {share:>6.1} % {p50:>8.0} {p99:>8.0} {hellos:>9.0} {opened:>13.0} {hardest:>8} ({solved} solved)",
                provider.name
            );
        }
    }
}

struct Stage {
    server: Runtime,
    clients: Runtime,
    acceptor: Acceptor,
    address: SocketAddr,
    connector: Connector,
    peers: Peers,
}

impl Stage {
    fn new(provider: Provider, with_puzzles: bool) -> Self {
        let key = private_key(KEYS[1].1);
        let config = ServerConfig::new(provider).with_suites(&[SUITE]).unwrap();
        let verifier = |_: &Attempt<'_>| -> Result<Grant, Reason> { Ok(grant()) };
        let acceptor = Acceptor::new(config, ServerKey::load(&key, provider).unwrap(), verifier);
        // Half of the machine is the server's, the other half the clients'.
        let acceptor = acceptor.with_bounds(Bounds::default().with_working(1));
        let acceptor = if with_puzzles { acceptor.with_puzzles(Puzzles::default()) } else { acceptor };
        let [server, clients] =
            [0, 1].map(|_| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());
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
        let config = ClientConfig::new(provider).with_suites(&[SUITE]).unwrap();
        let connector = Connector::new(config, Server::key(key.public_key().clone()));
        let peers = Peers::new(provider, SUITE, KEYS[1].1).with_proof();
        Self { server, clients, acceptor, address, connector, peers }
    }

    fn run(self, flood: Flood, time: Duration, rate: u32) -> Measured {
        let Self { server, clients, acceptor, address, connector, peers } = self;
        let hello: Arc<[u8]> = peers.hello(&mut rng()).0.into();
        // Whoever pays does so on one thread, in the order in which it is asked. What belongs to the hello is made again there, from the
        // same randomness: a small part of what a puzzle takes.
        let (to_solve, asked) = sync_channel::<Asked>(64);
        let solver = std::thread::spawn(move || {
            for Asked { busy, answer } in asked {
                let (_, client) = peers.hello(&mut rng());
                // The rest of the flood is gone where it has ended.
                drop(answer.send(client.puzzle(&busy).map(|_| solve(client, &busy).0)));
            }
        });
        let measured = clients.block_on(async {
            let (hellos, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let stop = Arc::new(AtomicBool::new(flood == Flood::None));
            let flooding = {
                let (hellos, answered, stop) = (Arc::clone(&hellos), Arc::clone(&answered), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / f64::from(rate)));
                    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                    for number in 0_u32.. {
                        tick.tick().await;
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        hellos.fetch_add(1, Ordering::Relaxed);
                        let (hello, answered) = (Arc::clone(&hello), Arc::clone(&answered));
                        let to_solve = (flood == Flood::Paying).then(|| to_solve.clone());
                        tokio::spawn(async move {
                            let from = Ipv4Addr::from(0x7f80_0000 + number % 30_000 * 257);
                            if visit(from, address, &hello, to_solve).await == Some(FrameType::ServerHello) {
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                        });
                    }
                })
            };
            // The flood is in full swing by then.
            tokio::time::sleep(time / 4).await;
            let before = (hellos.load(Ordering::Relaxed), answered.load(Ordering::Relaxed));
            let (start, mut tick) = (Instant::now(), tokio::time::interval(Duration::from_secs_f64(1.0 / RATE)));
            let (mut visits, mut hardest) = (Vec::new(), 0);
            while start.elapsed() < time {
                let due = tick.tick().await.into_std();
                hardest = hardest.max(acceptor.counts().puzzle_bits);
                let (connector, client) = (connector.clone(), u32::try_from(visits.len()).unwrap());
                visits.push(tokio::spawn(async move {
                    let stream = dial(Ipv4Addr::from(0x7f01_0001 + client * 257), address).await?;
                    connector.connect(stream, ALICE).await.ok().map(|_| due.elapsed())
                }));
            }
            let (seconds, due) = (start.elapsed().as_secs_f64(), visits.len());
            let hellos = hellos.load(Ordering::Relaxed) - before.0;
            let opened = (answered.load(Ordering::Relaxed) - before.1) as f64 / seconds;
            stop.store(true, Ordering::Relaxed);
            let mut times = Vec::new();
            for visit in visits {
                times.extend(visit.await.unwrap());
            }
            flooding.abort();
            times.sort();
            let at = |part: f64| times.get(((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1)));
            let [p50, p99] = [0.5, 0.99].map(|part| at(part).copied().unwrap_or_default());
            Measured { good: times.len(), due, p50, p99, hellos, opened, counts: acceptor.counts(), hardest }
        });
        clients.shutdown_background();
        server.shutdown_background();
        drop(solver);
        measured
    }
}

struct Asked {
    busy: Vec<u8>,
    answer: tokio::sync::oneshot::Sender<Option<Vec<u8>>>,
}

/// One hello of the flood, which hangs up once it has its answer: gives what that was.
async fn visit(from: Ipv4Addr, to: SocketAddr, hello: &[u8], to_solve: Option<SyncSender<Asked>>) -> Option<FrameType> {
    let mut stream = dial(from, to).await?;
    stream.write_all(hello).await.ok()?;
    let busy = receive(&mut stream).await?;
    let kind = FrameType::from_byte(busy[0]);
    let Some(to_solve) = to_solve.filter(|_| kind == Some(FrameType::Busy)) else { return kind };
    let (answer, answered) = tokio::sync::oneshot::channel();
    // What there is no time to solve is left.
    to_solve.try_send(Asked { busy, answer }).ok()?;
    stream.write_all(&answered.await.ok()??).await.ok()?;
    FrameType::from_byte(receive(&mut stream).await?[0])
}

async fn receive(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut reader = FrameReader::new();
    loop {
        if let Some(frame) = reader.take() {
            return Some(frame);
        }
        let mut room = vec![0; reader.missing().ok()?];
        let count = stream.read(&mut room).await.ok().filter(|count| *count > 0)?;
        reader.feed(&room[..count], &[FrameType::ServerHello, FrameType::Busy]).ok()?;
    }
}

async fn dial(from: Ipv4Addr, to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind((from, 0).into()).ok()?;
    let stream = socket.connect(to).await.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}
