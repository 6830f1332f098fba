//! The vectors of puzzles: computed here by PROTOCOL.md alone, and solved and checked by the library's machines.

use super::cases::{Case, PROLOGUE, cases};
use super::primitives::lp;
use super::setting::{binding, inputs, load, script, trust};
use countersign::client;
use countersign::crypto::rustcrypto::provider;
use countersign::server::{AwaitHello, AwaitSolution};
use countersign::{ClientConfig, Moment, PuzzleDifficulty, ServerConfig, ServerKey};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// A ClientHello, the puzzle that answers it, and a solution. Bytes are in hex.
#[derive(Debug, Serialize)]
pub struct Vector {
    pub name: &'static str,
    about: &'static str,
    /// Frame 1.
    client_hello: String,
    /// Frame 9.
    busy: String,
    /// As PROTOCOL.md names it; empty where there is no puzzle.
    start: String,
    /// Frame 12, where the client sends one: the smallest sixteen counters that are good.
    solution: Option<String>,
    /// The rule that is broken; `null` where the solution is right.
    rule: Option<&'static str>,
}

struct Puzzle {
    name: &'static str,
    about: &'static str,
    rule: Option<&'static str>,
    /// The vector whose ClientHello it is asked for.
    of: &'static str,
    bits: u8,
    /// What stands in the extension in the place of the puzzle.
    data: Option<fn(Vec<u8>) -> Vec<u8>>,
    /// What becomes of the counters on the way.
    alter: fn(&mut [u64]),
}

const NONCE: [u8; 32] = *b"thirty-two bytes which are drawn";

fn puzzles_of() -> Vec<Puzzle> {
    let puzzle = |name, about, of, bits| Puzzle { name, about, rule: None, of, bits, data: None, alter: |_| {} };
    let (pinned, known) = ("rsa2048-x25519-aes256gcm", "proof-rsa2048-x25519mlkem768-aes256gcm");
    let bound = "rsa3072-x25519-chacha20poly1305";
    let wrong = |name, about, alter| Puzzle { rule: Some("B3"), alter, ..puzzle(name, about, pinned, 8) };
    let none = |name, about, data| Puzzle { rule: Some("B1"), data: Some(data), ..puzzle(name, about, pinned, 8) };
    vec![
        puzzle("puzzle", "of a client that has pinned a fingerprint", pinned, 8),
        puzzle("puzzle-proof", "of a client that has the key, and a secret in its hello", known, 11),
        puzzle("puzzle-easy", "1 bit, of a client with a channel binding", bound, 1),
        puzzle("puzzle-hard", "14 bits: a quarter of a million hashes", pinned, 14),
        Puzzle { rule: Some("B1"), ..puzzle("b1-too-hard", "18 bits, more than its client solves", pinned, 18) },
        none("b1-no-bits", "a puzzle of 0 bits", |data| [&[0], &data[1..]].concat()),
        none("b1-too-many-bits", "a puzzle of 25 bits", |data| [&[25], &data[1..]].concat()),
        none("b1-trailing-byte", "a byte after the puzzle", |data| [&data[..], &[0]].concat()),
        wrong("b3-twice", "a counter twice", |counters| counters[7] = counters[6]),
        wrong("b3-swapped", "two counters in the wrong order", |counters| counters.swap(3, 4)),
        wrong("b3-not-good", "a last counter that is not good", |counters| counters[15] += 1),
    ]
}

/// The leading zero bits of `work(n)`.
fn zeros(start: &[u8], counter: u64) -> u32 {
    let work = Sha256::digest([start, &counter.to_be_bytes()].concat());
    u128::from_be_bytes(work[..16].try_into().unwrap()).leading_zeros()
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &lp(body)].concat()
}

pub fn puzzles() -> Vec<Vector> {
    puzzles_of().iter().map(run).collect()
}

fn run(puzzle: &Puzzle) -> Vector {
    let case = cases().into_iter().find(|case| case.name == puzzle.of).unwrap();
    let (hello, client) = begin(&case);

    // By PROTOCOL.md.
    let start = Sha256::digest([lp(b"countersign v1 puzzle"), lp(&NONCE), lp(&Sha256::digest(&hello))].concat());
    let data = [&[puzzle.bits][..], &NONCE].concat();
    let data = puzzle.data.map_or(data.clone(), |change| change(data));
    let busy = frame(9, &[&[0, 2, 1, 0, 3][..], &lp(&data)].concat());

    // By the library.
    let said = client.puzzle(&busy);
    let expects_none = puzzle.rule == Some("B1");
    assert_eq!(said.is_none(), expects_none, "{}", puzzle.name);
    let solution = said.map(|said| {
        let ours: Vec<u64> = (0..).filter(|&counter| zeros(&start, counter) >= puzzle.bits.into()).take(16).collect();
        let body = |counters: &[u64]| counters.iter().flat_map(|counter| counter.to_be_bytes()).collect::<Vec<u8>>();
        let (sent, _) = client.solved(&said.solve(|| true).unwrap()).unwrap();
        assert_eq!(sent, frame(12, &body(&ours)), "{}", puzzle.name);
        let mut arrived = ours;
        (puzzle.alter)(&mut arrived);
        let arrived = frame(12, &body(&arrived));
        let (asked, server) = ask(&case, hello.clone(), puzzle.bits);
        assert_eq!(asked, busy, "{}", puzzle.name);
        assert_eq!(server.read(&arrived, Moment::ORIGIN).is_ok(), puzzle.rule.is_none(), "{}", puzzle.name);
        hex::encode(arrived)
    });
    Vector {
        name: puzzle.name,
        about: puzzle.about,
        client_hello: hex::encode(hello),
        busy: hex::encode(busy),
        start: if expects_none { String::new() } else { hex::encode(start) },
        solution,
        rule: puzzle.rule,
    }
}

fn begin(case: &Case) -> (Vec<u8>, client::AwaitChallenge) {
    let inputs = inputs(case, None, None);
    let mut rng = script([
        Some(&inputs.client_nonce),
        inputs.client_x25519.as_ref(),
        inputs.client_x25519mlkem768.as_ref(),
        inputs.hello_rsa_secret.as_ref(),
        inputs.hello_oaep_seed.as_ref(),
    ]);
    let config = ClientConfig::new(provider()).with_suites(&case.client_suites).unwrap();
    let config = Arc::new(config.with_prologue(PROLOGUE).unwrap());
    let bound_to = binding(&inputs.binding_type, &inputs.binding_bytes);
    client::start(&config, &trust(case), &bound_to, &mut rng, Moment::ORIGIN).unwrap()
}

fn ask(case: &Case, hello: Vec<u8>, bits: u8) -> (Vec<u8>, AwaitSolution) {
    let inputs = inputs(case, None, None);
    let config = ServerConfig::new(provider()).with_suites(&case.server_suites).unwrap();
    let config = Arc::new(config.with_prologue(PROLOGUE).unwrap());
    let waiting = AwaitHello::new(&config, &binding(&inputs.binding_type, &inputs.binding_bytes), Moment::ORIGIN);
    let key = ServerKey::load(&load(case.key), provider()).unwrap();
    let hello = waiting.read(hello, Moment::ORIGIN).unwrap().choose(&key).unwrap();
    let nonce = hex::encode(NONCE);
    let difficulty = PuzzleDifficulty::new(bits).unwrap();
    hello.puzzle(difficulty, Duration::from_secs(2), &mut script([Some(&nonce)])).unwrap()
}
