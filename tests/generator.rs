//! What is left on the stack, where whoever reads memory later may find it: nothing from which the library's generator could be made again, with
//! which go the ephemeral keys of every login, so that what was recorded could be opened; and nothing of what a password was stretched to.

#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

use countersign::crypto;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::cell::{OnceCell, RefCell};
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

/// How many times 32 bytes are below from which `work` has got its output.
#[inline(never)]
fn left_by<R>(work: fn() -> R, makes: impl Fn([u8; 32], &R) -> bool) -> usize {
    let mut bytes = vec![0; DEPTH];
    clear();
    let output = deeper(work);
    stack(&mut bytes);
    bytes.windows(32).filter(|secret| makes((*secret).try_into().unwrap(), &output)).count()
}

fn makes(seed: [u8; 32], output: &Output) -> bool {
    let mut again = [0; 64];
    StdRng::from_seed(seed).fill_bytes(&mut again);
    again == *output
}

fn seeds(work: fn() -> Output) -> usize {
    left_by(work, makes)
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

/// One that is kept, and not yet used.
#[inline(never)]
fn held() -> RefCell<Box<dyn Rng>> {
    RefCell::new(Box::new(crypto::rng().unwrap()))
}

#[test]
fn nothing_on_the_stack_makes_a_generator_again() {
    assert!(seeds(careless) > 0, "does it see what it looks for?");
    assert_eq!(seeds(ours), 0);
    let output = OnceCell::new();
    let of = |held: &RefCell<Box<dyn Rng>>| {
        let mut output = [0; 64];
        held.borrow_mut().fill_bytes(&mut output);
        output
    };
    assert_eq!(left_by(held, |seed, held| makes(seed, output.get_or_init(|| of(held)))), 0);
}

#[cfg(feature = "stretch")]
mod stretched {
    use super::left_by;
    use countersign::{StretchParameters, StretchedHash, StretchedPassword, Stretching};
    use sha2::{Digest, Sha256};
    use std::hint::black_box;
    use std::sync::LazyLock;

    static STRETCHING: LazyLock<Stretching> =
        LazyLock::new(|| Stretching::new("db.example", &[StretchParameters::new(7, 5, 1).unwrap()]).unwrap());

    #[inline(never)]
    fn stretches() -> StretchedPassword {
        STRETCHING.stretch("alice", b"correct horse").unwrap()
    }

    #[inline(never)]
    fn careless() -> [u8; 32] {
        Sha256::digest(*black_box(b"32 bytes which stay where it was")).into()
    }

    /// Whether that is what is kept of this.
    fn is_of(value: [u8; 32], stored: &StretchedHash) -> bool {
        use base64ct::{Base64Unpadded, Encoding};
        stored.to_string().starts_with(&format!("SHA256:{};", Base64Unpadded::encode_string(&Sha256::digest(value))))
    }

    #[test]
    fn nothing_on_the_stack_is_what_a_password_was_stretched_to() {
        assert!(left_by(careless, |value, hash| Sha256::digest(value)[..] == hash[..]) > 0, "does it see it?");
        let stored = stretches().newest();
        assert_eq!(left_by(stretches, |value, _| is_of(value, &stored)), 0);
    }
}
