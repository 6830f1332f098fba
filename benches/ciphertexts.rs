//! Does the private operation take longer for some ciphertexts than for others?
//!
//! ```text
//! cargo bench --bench ciphertexts --features aws-lc              # instructions; needs valgrind, some minutes
//! cargo bench --bench ciphertexts --features aws-lc -- --clock   # times, less than five minutes; --blocks N for more or fewer
//! ```
//!
//! Whoever sends logins chooses what the server's key is put to work on. So the operation is done over ciphertexts of many kinds: as clients seal them;
//! well-formed but for one thing in the padding; 0, 1, n - 1 and other numbers that arithmetic may treat apart; multiples of a prime
//! (which nobody can make who has not the private key: they show what a fault would); numbers that open to small ones. It is done as each provider does it, and
//! by the `rsa` crate without blinding, which nothing here uses.
//!
//! Instructions are counted by callgrind, for one ciphertext of each kind at a time, the blinding's randomness being the same each time where it is
//! given from outside. Times are compared in shuffled blocks, by tests that suppose no distribution, as in `benches/timing.rs`; a control does the operation and
//! some microseconds' work more, and has to be found.
//!
//! By hand, not in the gate: the operation is the libraries'. docs/timing.md has what came of it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "support/callgrind.rs"]
mod callgrind;
#[path = "support/special.rs"]
mod special;
#[path = "support/statistics.rs"]
mod statistics;
#[allow(unused)]
mod support;

use callgrind::{count, measured};
use core::hint::black_box;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rsa::Oaep;
use rsa::pkcs8::DecodePrivateKey;
use sha2::{Digest, Sha256};
use special::{KINDS, Maker, OUT_OF_RANGE};
use statistics::{in_blocks, report};
use std::time::Instant;
use support::{KEYS, private_key, providers};

/// Of the `rsa` crate, without blinding: no provider does that.
const UNBLINDED: &str = "rsa, not blinded";

const CONTROL: &str = "control: hashes 4 KiB more";

/// Of each kind, where instructions are counted: AWS-LC has randomness of its own.
const RUNS: usize = 3;

/// Ciphertexts of a kind that take turns where times are measured.
const POOL: usize = 64;

/// A private key: the ciphertext, and the randomness for blinding.
type Operation = Box<dyn Fn(&[u8], &mut StdRng)>;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    if let Some(at) = args.iter().position(|arg| arg == "--count") {
        let (_, operation) =
            operations().into_iter().find(|(name, _)| *name == args[at + 1]).expect("such an operation");
        let [first, ciphertext] = [2, 3].map(|more| hex::decode(&args[at + more]).unwrap());
        // What is done once for each key or each process.
        operation(&first, &mut StdRng::seed_from_u64(5));
        let rng = &mut StdRng::seed_from_u64(6);
        return measured(|| operation(&ciphertext, rng));
    }
    let maker = Maker::new(private_key(KEYS[0].1).pkcs8_der());
    let kinds = || KINDS.into_iter().chain([OUT_OF_RANGE]);
    if has("--test") {
        for (_, operation) in operations() {
            kinds().for_each(|kind| operation(&maker.make(kind, &mut support::rng()), &mut support::rng()));
        }
        return;
    }
    if has("--clock") {
        let blocks = args.iter().position(|arg| arg == "--blocks").map(|at| args[at + 1].parse().expect("--blocks N"));
        return operations()
            .iter()
            .for_each(|(name, operation)| clock(&maker, name, operation, blocks.unwrap_or(2000)));
    }
    // Made here, so that the programs that are counted have the same history.
    let made = |kind, seed| hex::encode(maker.make(kind, &mut StdRng::seed_from_u64(seed)));
    for (name, _) in operations() {
        println!(
            "{name}: instructions; the fewest and the most of {RUNS} runs, beside the fewest for a ciphertext as a client seals it"
        );
        let mut beside = None;
        for kind in kinds() {
            let run = |_| count(&["--count", name, &made(KINDS[0], 4), &made(kind, 3)]).cast_signed();
            let counted: Vec<i64> = (0..RUNS).map(run).collect();
            let (fewest, most) = (*counted.iter().min().unwrap(), *counted.iter().max().unwrap());
            let beside = *beside.get_or_insert(fewest);
            println!("  {kind:<36} {fewest:>10}  {:+} to {:+}", fewest - beside, most - beside);
        }
    }
}

fn operations() -> Vec<(&'static str, Operation)> {
    let key = private_key(KEYS[0].1);
    let mut operations: Vec<(&str, Operation)> = Vec::new();
    for provider in providers() {
        let loaded = provider.rsa.load_key(&key).unwrap();
        let operation = move |ciphertext: &[u8], rng: &mut StdRng| drop(black_box(loaded.decrypt(ciphertext, rng)));
        operations.push((provider.name, Box::new(operation)));
    }
    let crate_key = rsa::PrivateKey::from_pkcs8_der(key.pkcs8_der()).unwrap();
    let operation = move |ciphertext: &[u8], _: &mut StdRng| {
        let _ = black_box(crate_key.decrypt(Oaep::<Sha256>::new(), ciphertext));
    };
    operations.push((UNBLINDED, Box::new(operation)));
    operations
}

fn clock(maker: &Maker, name: &str, operation: &Operation, blocks: u64) {
    let rng = &mut StdRng::seed_from_u64(3);
    let classes: Vec<&str> = KINDS.into_iter().chain([CONTROL]).collect();
    let pools: Vec<Vec<Vec<u8>>> = classes
        .iter()
        .map(|class| if *class == CONTROL { KINDS[0] } else { class })
        .map(|kind| (0..POOL).map(|_| maker.make(kind, rng)).collect())
        .collect();
    let mut turns = vec![0; classes.len()];
    let rows = in_blocks(blocks, classes.len(), &mut StdRng::seed_from_u64(8), |class| {
        let ciphertext = &pools[class][turns[class] % POOL];
        turns[class] += 1;
        let start = Instant::now();
        operation(black_box(ciphertext), rng);
        if classes[class] == CONTROL {
            black_box(Sha256::digest(black_box([0_u8; 4096])));
        }
        start.elapsed()
    });
    println!("{name}, {blocks} blocks");
    // Without the control nothing is known below its size, and the next operation may see it: docs/timing.md says of which that is.
    report(&classes, &rows, true);
}
