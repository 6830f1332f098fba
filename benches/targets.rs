//! What the library costs beside the crypto library under it, as ratios, and what they are meant to be.
//!
//! ```text
//! cargo bench --bench targets --features aws-lc
//! ```
//!
//! Each row times this library and the bare operation of the same crypto library in turn, some hundred times, and gives
//! the medians: whatever else the machine does then, it does to both. docs/performance.md says why a row misses its target.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "targets/bare.rs"]
mod bare;
mod support;

use bare::Bare;
use core::hint::black_box;
use core::time::Duration;
use countersign::crypto::Provider;
use countersign::{Reason, Received, Session, Suite};
use std::time::Instant;
use support::{KEYS, NOW, Peers, TODAY, claim, grant, private_key, providers, rng};

/// How long one operation took, or a batch of them on average.
pub(crate) type Timed<'a> = Box<dyn FnMut() -> Duration + 'a>;

/// What a row is meant to be.
enum Target {
    /// At most so many times the bare operation.
    Times(f64),
    /// At most so many microseconds.
    Micros(f64),
    /// Nothing was promised.
    None,
}

struct Row<'a> {
    name: String,
    target: Target,
    ours: Timed<'a>,
    bare: Option<Timed<'a>>,
}

/// What a login with a proof may cost the server beside one without.
const PROOF: f64 = 1.03;

fn main() {
    // `cargo bench -- --test`, and `cargo test --benches`: once, to see that everything works.
    let rounds = if std::env::args().any(|arg| arg == "--test") { 1 } else { 300 };
    println!("{:<58} {:>10} {:>10} {:>7}  target", "", "ours", "bare", "ratio");
    for provider in providers() {
        let peers = world(provider);
        let bare = bare::of(provider.name);
        for row in rows(provider, &peers, &*bare) {
            run(row, rounds);
        }
    }
}

fn run(mut row: Row<'_>, rounds: usize) {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push((row.ours)().as_nanos());
        bare.extend(row.bare.as_mut().map(|bare| bare().as_nanos()));
    }
    let median = |mut times: Vec<u128>| {
        times.sort_unstable();
        times.get(times.len() / 2).map(|&nanos| nanos as f64 / 1000.0)
    };
    let ours = median(ours).unwrap();
    let bare = median(bare);
    let ratio = bare.map(|bare| ours / bare);
    let verdict = match (row.target, ratio) {
        (Target::Times(target), Some(ratio)) => format!("{target:.2}x {}", mark(ratio <= target)),
        (Target::Micros(target), _) => format!("{target:.1} us {}", mark(ours <= target)),
        _ => "-".to_owned(),
    };
    let bare = bare.map_or_else(String::new, |bare| format!("{bare:.2} us"));
    let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}x"));
    println!("{:<58} {:>10} {bare:>10} {ratio:>7}  {verdict}", row.name, format!("{ours:.2} us"));
}

fn mark(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

/// Peers by suite and key, in the order of the rows.
struct World {
    rsa2048: Peers,
    x25519_2048: Peers,
    proved_2048: Peers,
    x25519_3072: Peers,
    hybrid_3072: Peers,
    proved_3072: Peers,
}

fn world(provider: Provider) -> World {
    let [(_, k2048), (_, k3072), _] = KEYS;
    World {
        rsa2048: Peers::new(provider, Suite::RSA_AES_256_GCM, k2048),
        x25519_2048: Peers::new(provider, Suite::X25519_AES_256_GCM, k2048),
        proved_2048: Peers::new(provider, Suite::X25519_AES_256_GCM, k2048).with_proof(),
        x25519_3072: Peers::new(provider, Suite::X25519_AES_256_GCM, k3072),
        hybrid_3072: Peers::new(provider, Suite::X25519MLKEM768_AES_256_GCM, k3072),
        proved_3072: Peers::new(provider, Suite::X25519MLKEM768_AES_256_GCM, k3072).with_proof(),
    }
}

fn rows<'a>(provider: Provider, world: &'a World, bare: &'a dyn Bare) -> Vec<Row<'a>> {
    let name = |what: &str| format!("{}: {what}", provider.name);
    let row = |what: &str, target, ours, bare| Row { name: name(what), target, ours, bare };
    let [(_, k2048), (_, k3072), _] = KEYS;
    let decrypt = |pem| Some(bare.decrypt(&private_key(pem)));
    let encrypt = |pem| Some(bare.parse_and_encrypt(&private_key(pem)));
    let mut rows = vec![
        row("server, login, RSA-2048", Target::Times(1.02), server_login(&world.rsa2048), decrypt(k2048)),
        row(
            "server, login, RSA-2048 and X25519",
            Target::Times(1.15),
            server_login(&world.x25519_2048),
            decrypt(k2048),
        ),
        row(
            "server, login, RSA-3072 and X25519",
            Target::Times(1.06),
            server_login(&world.x25519_3072),
            decrypt(k3072),
        ),
        row(
            "server, login, RSA-3072 and X25519MLKEM768",
            Target::None,
            server_login(&world.hybrid_3072),
            decrypt(k3072),
        ),
        row(
            "server, login with a proof / without, RSA-2048, X25519",
            Target::Times(PROOF),
            server_login(&world.proved_2048),
            Some(server_login(&world.x25519_2048)),
        ),
        row(
            "server, login with a proof / without, RSA-3072, hybrid",
            Target::Times(PROOF),
            server_login(&world.proved_3072),
            Some(server_login(&world.hybrid_3072)),
        ),
        row("client, login, RSA-2048", Target::Times(1.25), client_login(&world.rsa2048), encrypt(k2048)),
        row("client, login, RSA-2048 and X25519", Target::None, client_login(&world.x25519_2048), encrypt(k2048)),
        row("server, resumed, no key exchange", Target::Micros(4.0), server_resume(&world.rsa2048), None),
        row("server, resumed, X25519", Target::Times(1.15), server_resume(&world.x25519_2048), Some(bare.x25519())),
        row("server, resumed, X25519MLKEM768", Target::None, server_resume(&world.hybrid_3072), None),
        row(
            "server, refused: wrong length",
            Target::Micros(2.0),
            refuse(&world.rsa2048, |login| login.truncate(300)),
            None,
        ),
        row(
            "server, refused: not below the modulus",
            Target::Micros(2.0),
            refuse(&world.rsa2048, |login| login[5..261].fill(0xff)),
            None,
        ),
        row("server, refused: not admitted", Target::Micros(2.0), refuse(&world.rsa2048, |_| {}), None),
    ];
    for (size, least) in [(16 * 1024, 0.95), (1024, 0.85)] {
        let [seal, open] = records(&world.rsa2048, size);
        let [bare_seal, bare_open] = bare.aes_256_gcm(size);
        rows.push(row(
            &format!("record, seal in place, {size} bytes"),
            Target::Times(1.0 / least),
            seal,
            Some(bare_seal),
        ));
        rows.push(row(
            &format!("record, open in place, {size} bytes"),
            Target::Times(1.0 / least),
            open,
            Some(bare_open),
        ));
    }
    rows
}

/// Times `work` alone.
pub(crate) fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    let result = work();
    let took = start.elapsed();
    drop(black_box(result));
    took
}

/// Everything that the server does, from the connection to the session; the client's half is not timed.
fn server_login(peers: &Peers) -> Timed<'_> {
    let (mut client, mut server) = (rng(), rng());
    Box::new(move || {
        let (hello, state) = peers.hello(&mut client);
        let start = Instant::now();
        let (challenge, waiting) = peers.challenge(black_box(hello), &mut server);
        let mut spent = start.elapsed();
        let (login, _) = peers.seal(state, &challenge, &mut client);
        let grant = grant();
        let start = Instant::now();
        let claim = claim(waiting, login, &mut server);
        black_box(claim.credential());
        let accepted = claim.accept(grant).unwrap();
        spent += start.elapsed();
        drop(black_box(accepted));
        spent
    })
}

fn client_login(peers: &Peers) -> Timed<'_> {
    let (mut client, mut server) = (rng(), rng());
    Box::new(move || {
        let start = Instant::now();
        let (hello, state) = peers.hello(&mut client);
        let mut spent = start.elapsed();
        let (challenge, waiting) = peers.challenge(hello, &mut server);
        let start = Instant::now();
        let (login, state) = peers.seal(state, black_box(&challenge), &mut client);
        spent += start.elapsed();
        let verdict = claim(waiting, login, &mut server).accept(grant()).unwrap().frame;
        spent + time(|| state.read(black_box(&verdict), NOW, TODAY).unwrap())
    })
}

fn server_resume(peers: &Peers) -> Timed<'_> {
    let mut rng = rng();
    let mut ticket = peers.ticket(&mut rng);
    Box::new(move || peers.resume_next(&mut ticket, &mut rng))
}

/// From a login that is spoilt, or not admitted, to the refusal.
fn refuse(peers: &Peers, spoil: fn(&mut Vec<u8>)) -> Timed<'_> {
    let mut rng = rng();
    Box::new(move || {
        let (mut login, waiting, _) = peers.login(&mut rng);
        spoil(&mut login);
        time(|| match waiting.read(login, NOW) {
            Ok(login) => login.refuse(Reason::NotAdmitted("busy")),
            Err(refusal) => refusal,
        })
    })
}

/// How many records one measurement has.
const BATCH: u32 = 64;

fn records(peers: &Peers, size: usize) -> [Timed<'_>; 2] {
    let data = vec![7; size];
    let (mut sealing, _) = peers.sessions();
    let mut frame = vec![7; size + Session::OVERHEAD];
    let seal = Box::new(move || {
        time(|| {
            for _ in 0..BATCH {
                sealing.sealer.seal_in_place(black_box(&mut frame)).unwrap();
            }
        }) / BATCH
    });
    let (mut client, mut server) = peers.sessions();
    let mut frames = vec![Vec::with_capacity(size + 64); BATCH as usize];
    let open = Box::new(move || {
        for frame in &mut frames {
            frame.clear();
            client.sealer.seal(&data, frame).unwrap();
        }
        time(|| {
            for frame in &mut frames {
                assert!(matches!(server.opener.open(black_box(frame)).unwrap(), Received::Data(_)));
            }
        }) / BATCH
    });
    [seal, open]
}
