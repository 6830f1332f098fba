//! What the library's generator leaves on the stack: nothing from which its output could be made again. With it go the ephemeral keys of
//! every login, and whoever reads memory later could open what was recorded.

#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

use countersign::crypto;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::hint::black_box;

const DEPTH: usize = 32 * 1024;
const PAD: usize = 4 * 1024;

/// So that what is below is mapped, and of no earlier use.
#[inline(never)]
fn clear() {
    black_box(&mut [0_u8; DEPTH + 2 * PAD]);
}

/// Runs `work` so far down that no later call of [`stack`] writes over what it has left.
#[inline(never)]
fn deeper<R>(work: fn() -> R) -> R {
    let mut pad = [0_u8; PAD];
    black_box(&mut pad);
    let result = work();
    black_box(&mut pad);
    result
}

/// The stack below this call, as it is.
#[inline(never)]
fn stack(out: &mut [u8]) {
    let here = black_box(0_u8);
    let below = (&raw const here).wrapping_sub(out.len());
    for (at, byte) in out.iter_mut().enumerate() {
        // SAFETY: `clear` has had these bytes, so they are mapped. What is in them is nobody's.
        *byte = unsafe { below.wrapping_add(at).read_volatile() };
    }
}

type Output = [u8; 64];

/// How many seeds there are below from which `work` has got its output.
#[inline(never)]
fn seeds(work: fn() -> Output) -> usize {
    let mut bytes = vec![0; DEPTH];
    clear();
    let output = deeper(work);
    stack(&mut bytes);
    let makes = |seed: &[u8]| {
        let mut again = [0; 64];
        StdRng::from_seed(seed.try_into().unwrap()).fill_bytes(&mut again);
        again == output
    };
    bytes.windows(32).filter(|seed| makes(seed)).count()
}

#[inline(never)]
fn ours() -> Output {
    let mut output = [0; 64];
    crypto::rng().unwrap().fill_bytes(&mut output);
    output
}

#[inline(never)]
fn careless() -> Output {
    let (mut seed, mut output) = ([0; 32], [0; 64]);
    crypto::rng().unwrap().fill_bytes(&mut seed);
    StdRng::from_seed(*black_box(&seed)).fill_bytes(&mut output);
    output
}

#[test]
fn nothing_on_the_stack_makes_a_generator_again() {
    assert!(seeds(careless) > 0, "does it see what it looks for?");
    assert_eq!(seeds(ours), 0);
}
