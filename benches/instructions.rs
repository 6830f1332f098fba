//! How many instructions each step of a handshake executes, and whether that is more than it used to be.
//!
//! ```text
//! cargo bench --bench instructions                 # compares with benches/instructions.txt; needs valgrind
//! cargo bench --bench instructions -- --record     # writes it anew
//! ```
//!
//! Counting is repeatable where timing is not, so this can be a gate: a step that executes more than 3 % above its record
//! fails the run. The crypto provider is a toy, so that what is counted is this library's own: with real RSA, a step of ours
//! could double and stay within 3 %. Hashing and the key schedule are in it; they are ours to call less often.
//!
//! The record holds for the compiler named in its first line. With another one, make a new record, and look at what changed.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "../tests/support/toy.rs"]
mod toy;

use core::hint::black_box;
use core::time::Duration;
use countersign::client::{self, Answer};
use countersign::server::{Accepted, AwaitHello};
use countersign::{
    ChannelBinding, ClientConfig, Credential, Grant, KeyExchange, Moment, PrivateKey, Reason, Server, ServerConfig,
    Session, Suite, TicketKeys, UnixTime,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use toy::CountingRng;

/// What a step may execute beyond its record.
const TOLERANCE: f64 = 0.03;

const STEPS: [(&str, fn()); 14] = [
    ("client hello, RSA alone", || drop(login(Suite::RSA_AES_256_GCM, Step::Hello))),
    ("client hello", || drop(login(SUITE, Step::Hello))),
    ("server challenge", || drop(login(SUITE, Step::Challenge))),
    ("client login", || drop(login(SUITE, Step::Login))),
    ("server refuses before RSA", refuse),
    ("server opens", || drop(login(SUITE, Step::Open))),
    ("server accepts", || drop(login(SUITE, Step::Accept))),
    ("server rejects", reject),
    ("client verdict", || drop(login(SUITE, Step::Verdict))),
    ("client shows a ticket", || resume(Step::Hello)),
    ("server resumes", || resume(Step::Accept)),
    ("client resumed", || resume(Step::Verdict)),
    ("seal 1 KiB", || record(true)),
    ("open 1 KiB", || record(false)),
];

const SUITE: Suite = Suite::X25519_AES_256_GCM;
const NOW: Moment = Moment::ORIGIN;
const TODAY: UnixTime = UnixTime::from_secs(1_800_000_000);
const ALICE: Credential<'_> = Credential::Password { user: "alice", password: b"correct horse" };

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    if let Some(at) = args.iter().position(|arg| arg == "--step") {
        STEPS.iter().find(|(name, _)| *name == args[at + 1]).expect("a step of this name").1();
        return ExitCode::SUCCESS;
    }
    if has("--test") {
        STEPS.iter().for_each(|(_, step)| step());
        return ExitCode::SUCCESS;
    }
    let counts: Vec<(&str, u64)> = STEPS.iter().map(|(name, _)| (*name, count(name))).collect();
    if has("--record") {
        let lines: String = counts.iter().map(|(name, count)| format!("{name}: {count}\n")).collect();
        std::fs::write(record_path(), format!("{}\n{lines}", compiler())).unwrap();
        print!("{lines}");
        return ExitCode::SUCCESS;
    }
    compare(&counts)
}

fn compare(counts: &[(&str, u64)]) -> ExitCode {
    let record = std::fs::read_to_string(record_path()).expect("benches/instructions.txt");
    let (made_with, lines) = record.split_once('\n').expect("the compiler's line");
    let recorded: BTreeMap<&str, u64> = lines
        .lines()
        .filter_map(|line| line.rsplit_once(": "))
        .map(|(name, count)| (name, count.parse().unwrap()))
        .collect();
    if made_with != compiler() {
        eprintln!("the record was made with {made_with}, this is {}: make a new one with --record", compiler());
        return ExitCode::FAILURE;
    }
    let mut good = true;
    for (name, count) in counts {
        let Some(before) = recorded.get(name) else {
            eprintln!("{name}: {count} instructions, and no record: make a new one with --record");
            good = false;
            continue;
        };
        let change = *count as f64 / *before as f64 - 1.0;
        let verdict = match change {
            change if change > TOLERANCE => "MORE THAN IT MAY",
            change if change < -TOLERANCE => "less: make a new record",
            _ => "",
        };
        good &= change <= TOLERANCE;
        println!("{name:<28} {count:>9} instructions, {:+.2} % {verdict}", change * 100.0);
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The instructions within [`measured`], by callgrind.
fn count(step: &str) -> u64 {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*measured*"])
        .arg(std::env::current_exe().unwrap())
        .args(["--step", step])
        .output()
        .expect("valgrind, from the package of that name");
    let said = String::from_utf8_lossy(&run.stderr);
    let collected =
        said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, count)| count.trim().parse());
    match collected {
        Some(Ok(count)) if run.status.success() && count > 0 => count,
        _ => panic!("{step}: {said}"),
    }
}

fn record_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt")
}

fn compiler() -> String {
    let rustc = Command::new("rustc").arg("--version").output().unwrap();
    String::from_utf8(rustc.stdout).unwrap().trim().to_owned()
}

/// What callgrind counts: nothing outside of this.
#[inline(never)]
fn measured<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

/// Counts the step, if it is the one; otherwise just does it.
fn step<T>(this: bool, work: impl FnOnce() -> T) -> T {
    if this { measured(work) } else { work() }
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    Hello,
    Challenge,
    Login,
    Open,
    Accept,
    Verdict,
    None,
}

struct Peers {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    key: countersign::ServerKey,
    trust: Server,
    rng: CountingRng,
}

impl Peers {
    fn new(suite: Suite) -> Self {
        let provider = toy::provider();
        let public = PrivateKey::from_pem(include_str!("../tests/keys/rsa2048.pem")).unwrap().public_key().clone();
        let tickets = Arc::new(TicketKeys::new(provider, Duration::from_secs(3600)));
        Self {
            client: Arc::new(ClientConfig::new(provider).with_suites(&[suite]).unwrap()),
            server: Arc::new(ServerConfig::new(provider).with_suites(&[suite]).unwrap().with_tickets(tickets)),
            trust: Server::pinned(public.id()).with_floor(KeyExchange::Rsa),
            key: toy::server_key(&public),
            rng: CountingRng(1),
        }
    }
}

fn grant() -> Grant {
    Grant::new("alice", ["read", "write"]).unwrap().with_epoch(7)
}

/// A whole login, of which one step is counted.
fn login(suite: Suite, counted: Step) -> (Peers, Session, Session) {
    let mut peers = Peers::new(suite);
    let (none, rng) = (ChannelBinding::none(), &mut peers.rng);
    let (hello, client) =
        step(counted == Step::Hello, || client::start(&peers.client, &peers.trust, &none, rng, NOW)).unwrap();
    let (challenge, server) = step(counted == Step::Challenge, || {
        AwaitHello::new(&peers.server, &none, NOW).read(hello, NOW).unwrap().challenge(&peers.key, rng)
    })
    .unwrap();
    let (login, client) = step(counted == Step::Login, || {
        client.read(&challenge, NOW).unwrap().trust(&peers.trust).unwrap().login(ALICE, rng)
    })
    .unwrap();
    let claim = step(counted == Step::Open, || server.read(login, NOW).unwrap().admit().run(rng));
    let grant = grant();
    let Accepted { frame, session } =
        step(counted == Step::Accept, || claim.accept_with_ticket(grant, TODAY, rng)).unwrap();
    let client = step(counted == Step::Verdict, || client.read(&frame, NOW)).unwrap();
    (peers, client, session)
}

/// A resumption, of which one step is counted.
fn resume(counted: Step) {
    let (mut peers, client, _) = login(SUITE, Step::None);
    let (none, rng) = (ChannelBinding::none(), &mut peers.rng);
    let ticket = peers.trust.resume(client.info.ticket().unwrap()).unwrap();
    let (hello, client) =
        step(counted == Step::Hello, || client::resume(&peers.client, &peers.trust, &none, ticket, rng, NOW)).unwrap();
    let grant = grant();
    let accepted = step(counted == Step::Accept, || {
        let choice = AwaitHello::new(&peers.server, &none, NOW).read(hello, NOW).unwrap();
        let claim = choice.ticket(&peers.key, TODAY).unwrap();
        choice.resume(claim, grant, TODAY, rng)
    })
    .unwrap();
    let answer = step(counted == Step::Verdict, || client.read(&accepted.frame, NOW)).unwrap();
    assert!(matches!(answer, Answer::Resumed(_)));
}

/// Up to the login at the server's.
fn arrived() -> (Peers, Vec<u8>, countersign::server::AwaitLogin) {
    let mut peers = Peers::new(SUITE);
    let (none, rng) = (ChannelBinding::none(), &mut peers.rng);
    let (hello, client) = client::start(&peers.client, &peers.trust, &none, rng, NOW).unwrap();
    let choice = AwaitHello::new(&peers.server, &none, NOW).read(hello, NOW).unwrap();
    let (challenge, server) = choice.challenge(&peers.key, rng).unwrap();
    let trusted = client.read(&challenge, NOW).unwrap().trust(&peers.trust).unwrap();
    let (login, _) = trusted.login(ALICE, rng).unwrap();
    (peers, login, server)
}

fn refuse() {
    let (_, login, server) = arrived();
    measured(|| server.read(login, NOW).unwrap().refuse(Reason::NotAdmitted("busy")));
}

fn reject() {
    let (mut peers, login, server) = arrived();
    let claim = server.read(login, NOW).unwrap().admit().run(&mut peers.rng);
    measured(|| claim.reject(Reason::WrongPassword));
}

/// A record of a session that has had one before.
fn record(sealing: bool) {
    let (_, mut client, mut server) = login(SUITE, Step::None);
    for counted in [false, true] {
        let mut frame = vec![7; 1024 + Session::OVERHEAD];
        step(counted && sealing, || client.sealer.seal_in_place(&mut frame)).unwrap();
        step(counted && !sealing, || server.opener.open(&mut frame).map(drop)).unwrap();
    }
}
