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
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::result_large_err)]

#[path = "support/callgrind.rs"]
mod callgrind;
#[path = "../tests/support/toy.rs"]
mod toy;

use callgrind::{count, measured};
use core::hint::black_box;
use core::time::Duration;
use countersign::client::{self, Answer};
use countersign::crypto::Decrypt;
use countersign::server::{Accepted, Admitted, AwaitHello, AwaitLogin, Hello};
use countersign::{
    ChannelBinding, ClientConfig, Credential, Grant, KeyExchange, Moment, PrivateKey, PublicKey, Reason, Server,
    ServerConfig, Session, Suite, TicketKeys, UnixTime,
};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use toy::CountingRng;

/// What a step may execute beyond its record.
const TOLERANCE: f64 = 0.03;

const STEPS: [(&str, fn()); 27] = [
    ("client hello, RSA alone", || drop(login(Suite::RSA_AES_256_GCM, Proof::Without, Step::Hello))),
    ("client hello", || without(Step::Hello)),
    ("server challenge", || without(Step::Challenge)),
    ("client login", || without(Step::Login)),
    ("server refuses before RSA", refuse),
    ("server opens", || without(Step::Claim)),
    ("server accepts", || without(Step::Accept)),
    ("server rejects", reject),
    ("client verdict", || without(Step::Verdict)),
    ("proof: client hello", || with(Step::Hello)),
    ("proof: server opens", || with(Step::Open)),
    ("proof: server challenge", || with(Step::Challenge)),
    ("proof: client checks it", || with(Step::Check)),
    ("proof: client login", || with(Step::Login)),
    ("proof: server claim", || with(Step::Claim)),
    ("client shows a ticket", || resume(Step::Hello)),
    ("server resumes", || resume(Step::Accept)),
    ("client resumed, confirms", || resume(Step::Verdict)),
    ("server confirmed", || resume(Step::Claim)),
    ("seal 1 KiB", || record(true)),
    ("open 1 KiB", || record(false)),
    (CLIENT[0], || without(Step::Client)),
    (CLIENT[1], || with(Step::Client)),
    (SERVER[0], || without(Step::Server)),
    (SERVER[1], || with(Step::Server)),
    (READS_KEY, reads_key),
    (EXPAND_AND_HASH, expand_and_hash),
];

/// Whole sides, without a proof and with one.
const CLIENT: [&str; 2] = ["client, whole login", "proof: client, whole login"];
const SERVER: [&str; 2] = ["server, whole login", "proof: server, whole login"];
/// What a client that knows the key whole need not do.
const READS_KEY: &str = "client reads a key";
/// What a proof may cost either side.
const EXPAND_AND_HASH: &str = "one Expand, one hello hashed";

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
    let counts: Vec<(&str, u64)> = STEPS.iter().map(|(name, _)| (*name, count(&["--step", name]))).collect();
    if has("--record") {
        let lines: String = counts.iter().map(|(name, count)| format!("{name}: {count}\n")).collect();
        std::fs::write(record_path(), format!("{}\n{lines}", compiler())).unwrap();
        print!("{lines}");
        return ExitCode::SUCCESS;
    }
    if compare(&counts) & proof_is_cheap(&counts) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether a login with a proof costs each side at most one Expand and one hash of a hello more than one without. The one RSA
/// operation is the toy's in both.
fn proof_is_cheap(counts: &[(&str, u64)]) -> bool {
    let count = |name| counts.iter().find(|(step, _)| *step == name).expect("it was counted").1 as f64;
    let allowed = count(EXPAND_AND_HASH);
    // The client that knows the key whole is spared the reading of it, which is not the proof's merit.
    let sides = [("client", CLIENT, count(READS_KEY)), ("server", SERVER, 0.0)];
    sides.into_iter().fold(true, |good, (side, [without, with], spared)| {
        let (without, with) = (count(without), count(with));
        let more = with - (without - spared);
        let verdict = if more <= allowed { "" } else { "MORE THAN IT MAY" };
        println!("{side}: {without} without a proof, {with} with one; {more:+} for the proof of {allowed} {verdict}");
        good && more <= allowed
    })
}

fn compare(counts: &[(&str, u64)]) -> bool {
    let record = std::fs::read_to_string(record_path()).expect("benches/instructions.txt");
    let (made_with, lines) = record.split_once('\n').expect("the compiler's line");
    let recorded: BTreeMap<&str, u64> = lines
        .lines()
        .filter_map(|line| line.rsplit_once(": "))
        .map(|(name, count)| (name, count.parse().unwrap()))
        .collect();
    if made_with != compiler() {
        eprintln!("the record was made with {made_with}, this is {}: make a new one with --record", compiler());
        return false;
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
    good
}

fn record_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt")
}

fn compiler() -> String {
    let rustc = Command::new("rustc").arg("--version").output().unwrap();
    String::from_utf8(rustc.stdout).unwrap().trim().to_owned()
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    Hello,
    /// Of a hello.
    Open,
    Challenge,
    /// The client's, of the challenge, without the login.
    Check,
    Login,
    Claim,
    Accept,
    Verdict,
    /// Everything that the client does.
    Client,
    /// Everything that the server does.
    Server,
    None,
}

impl Step {
    /// Counts `work` if it is this step, or a part of it; otherwise just does it.
    fn of<T>(self, counted: &[Self], work: impl FnOnce() -> T) -> T {
        if counted.contains(&self) { measured(work) } else { work() }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Proof {
    With,
    Without,
}

struct Peers {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    key: countersign::ServerKey,
    trust: Server,
    rsa: Arc<dyn Decrypt>,
}

impl Peers {
    fn new(suite: Suite, proof: Proof) -> Self {
        let provider = toy::provider();
        let public = private_key().public_key().clone();
        let trust = match proof {
            Proof::With => Server::key(public.clone()),
            Proof::Without => Server::pinned(public.id()),
        };
        let tickets = Arc::new(TicketKeys::new(provider, Duration::from_secs(3600)));
        Self {
            client: Arc::new(ClientConfig::new(provider).with_suites(&[suite]).unwrap()),
            server: Arc::new(ServerConfig::new(provider).with_suites(&[suite]).unwrap().with_tickets(tickets)),
            trust: trust.with_floor(KeyExchange::Rsa),
            key: toy::server_key(&public),
            rsa: provider.rsa.load_key(&private_key()).unwrap(),
        }
    }
}

fn grant() -> Grant {
    Grant::new("alice", ["read", "write"]).unwrap().with_epoch(7)
}

fn private_key() -> PrivateKey {
    PrivateKey::from_pem(include_str!("../tests/keys/rsa2048.pem")).unwrap()
}

fn with(counted: Step) {
    drop(login(SUITE, Proof::With, counted));
}

fn without(counted: Step) {
    drop(login(SUITE, Proof::Without, counted));
}

/// A whole login, of which one step is counted, or one side.
fn login(suite: Suite, proof: Proof, counted: Step) -> (Peers, Session, Session) {
    use Step::{Accept, Challenge, Check, Claim, Client, Hello, Login, Open, Server, Verdict};
    let peers = Peers::new(suite, proof);
    let (none, rng) = (ChannelBinding::none(), &mut CountingRng(1));
    let start = || client::start(&peers.client, &peers.trust, &none, rng, NOW);
    let (hello, client) = counted.of(&[Hello, Client], start).unwrap();
    // Without a proof there is nothing to open yet: reading the hello is part of the challenge then.
    let opening = if proof == Proof::With { [Open, Server] } else { [Challenge, Server] };
    let hello = counted.of(&opening, || read(&peers, hello));
    let hello = match counted.of(&opening, || hello.open(rng)) {
        Ok(open) => {
            let decrypted = peers.rsa.decrypt(open.ciphertext(), rng);
            counted.of(&opening, || open.answer(decrypted))
        }
        Err(hello) => *hello,
    };
    let (challenge, server) = counted.of(&[Challenge, Server], || hello.challenge(rng)).unwrap();
    let checked = counted.of(&[Check, Login, Client], || client.read(&challenge, NOW)).unwrap();
    let login = || checked.trust(&peers.trust, TODAY).unwrap().login(ALICE, rng);
    let (login, client) = counted.of(&[Login, Client], login).unwrap();
    let claim = match counted.of(&[Claim, Server], || server.read(login, NOW).unwrap().admit()) {
        Admitted::Opened(claim) => claim,
        Admitted::Sealed(open) => {
            let decrypted = peers.rsa.decrypt(open.ciphertext(), rng);
            counted.of(&[Claim, Server], || open.answer(decrypted))
        }
    };
    let grant = grant();
    let accept = || claim.accept_with_ticket(grant, TODAY, rng);
    let Accepted { frame, session, .. } = counted.of(&[Accept, Server], accept).unwrap();
    let client = counted.of(&[Verdict, Client], || client.read(&frame, NOW, TODAY)).unwrap();
    (peers, client, session)
}

/// A resumption, of which one step is counted.
fn resume(counted: Step) {
    let (peers, client, _) = login(SUITE, Proof::Without, Step::None);
    let (none, rng) = (ChannelBinding::none(), &mut CountingRng(2));
    let ticket = peers.trust.resume(client.info.ticket().unwrap().clone(), "alice", TODAY).unwrap();
    let show = || client::resume(&peers.client, &peers.trust, &none, ticket, rng, NOW);
    let (hello, client) = counted.of(&[Step::Hello], show).unwrap();
    let grant = grant();
    let take = || {
        let hello = read(&peers, hello);
        let ticket = hello.ticket(TODAY).unwrap().use_up_now().unwrap();
        hello.resume(ticket, grant, TODAY, rng)
    };
    let (answer, server) = counted.of(&[Step::Accept], take).unwrap();
    let Answer::Resumed(resumed) = counted.of(&[Step::Verdict], || client.read(&answer, NOW, TODAY)).unwrap() else {
        panic!("the ticket was taken");
    };
    counted.of(&[Step::Claim], || server.read(resumed.frame, NOW)).unwrap();
}

fn read(peers: &Peers, hello: Vec<u8>) -> Hello {
    AwaitHello::new(&peers.server, &ChannelBinding::none(), NOW).read(hello, NOW).unwrap().choose(&peers.key).unwrap()
}

/// Up to the login at the server's.
fn arrived() -> (Vec<u8>, AwaitLogin) {
    let peers = Peers::new(SUITE, Proof::Without);
    let (none, rng) = (ChannelBinding::none(), &mut CountingRng(1));
    let (hello, client) = client::start(&peers.client, &peers.trust, &none, rng, NOW).unwrap();
    let (challenge, server) = read(&peers, hello).challenge(rng).unwrap();
    let trusted = client.read(&challenge, NOW).unwrap().trust(&peers.trust, TODAY).unwrap();
    let (login, _) = trusted.login(ALICE, rng).unwrap();
    (login, server)
}

fn refuse() {
    let (mut login, server) = arrived();
    login.truncate(300);
    let _ = measured(|| server.read(login, NOW)).expect_err("it is cut");
}

fn reject() {
    let (login, server) = arrived();
    let claim = server.read(login, NOW).unwrap().admit().open(&mut CountingRng(2));
    let _ = measured(|| claim.reject(Reason::WrongPassword));
}

/// A record of a session that has had one before.
fn record(sealing: bool) {
    let (_, mut client, mut server) = login(SUITE, Proof::Without, Step::None);
    for counted in [Step::None, if sealing { Step::Accept } else { Step::Open }] {
        let mut frame = vec![7; 1024 + Session::OVERHEAD];
        counted.of(&[Step::Accept], || client.sealer.seal_in_place(&mut frame)).unwrap();
        counted.of(&[Step::Open], || server.opener.open(&mut frame).map(drop)).unwrap();
    }
}

fn reads_key() {
    let key = private_key();
    measured(|| PublicKey::from_spki_der(black_box(key.public_key().spki_der()))).unwrap();
}

/// With the crates that do it, and nothing around them.
fn expand_and_hash() {
    let (peers, none) = (Peers::new(SUITE, Proof::With), ChannelBinding::none());
    let (hello, _) = client::start(&peers.client, &peers.trust, &none, &mut CountingRng(1), NOW).unwrap();
    // u16(L), the label and a zero before the transcript's hash.
    let (label, mut key) = (b"\0\x20countersign v1 proof\0", [0; 32]);
    measured(|| {
        let hash = Sha256::digest(black_box(&hello));
        let prk = Hkdf::<Sha256>::from_prk(black_box(&[7; 32])).unwrap();
        prk.expand_multi_info(&[label, &hash], black_box(&mut key)).unwrap();
    });
}
