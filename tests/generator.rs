//! What is left on the stack, where whoever reads memory later may find it: nothing from which the library's generator could be made again, with
//! which go the ephemeral keys of every login, so that what was recorded could be opened; nothing of what a password was stretched to; nothing that a
//! token, an authenticator's secret or a signature key was made of; and nothing of an exchange by ML-KEM.

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
fn deeper<R>(work: impl FnOnce() -> R) -> R {
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
fn left_by<R>(work: impl FnOnce() -> R, makes: impl Fn([u8; 32], &R) -> bool) -> usize {
    let (output, left) = left_behind(work);
    left.windows(32).filter(|secret| makes((*secret).try_into().unwrap(), &output)).count()
}

/// What `work` gives, and what it leaves below.
#[inline(never)]
fn left_behind<R>(work: impl FnOnce() -> R) -> (R, Vec<u8>) {
    let mut bytes = vec![0; DEPTH];
    clear();
    let output = deeper(work);
    stack(&mut bytes);
    (output, bytes)
}

/// How often this stands there.
fn count(left: &[u8], secret: &[u8]) -> usize {
    left.windows(secret.len()).filter(|window| *window == secret).count()
}

/// That it is found where somebody is careless with it.
#[track_caller]
fn assert_is_found(secret: &[u8]) {
    let (_, left) = left_behind(|| {
        let mut room = [0; 1024];
        room[..16].copy_from_slice(&secret[..16]);
        black_box(&room);
    });
    assert!(count(&left, &secret[..16]) > 0, "does it see what it looks for?");
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

#[cfg(feature = "accounts")]
#[test]
fn nothing_on_the_stack_is_what_a_token_or_an_authenticator_s_secret_was_made_of() {
    use base64ct::{Base64UrlUnpadded, Encoding};
    use countersign::accounts::{Account, TotpSecret};
    let mut account = Account::new("alice", ["read"]).unwrap();
    let (token, left) = left_behind(|| account.issue_token().unwrap());
    let made_of = Base64UrlUnpadded::decode_vec(token.strip_prefix("cst_").unwrap()).unwrap();
    assert_is_found(&made_of);
    assert_eq!(count(&left, &made_of[..16]), 0);
    let (secret, left) = left_behind(|| TotpSecret::generate().unwrap());
    let secret = totp_rs::Secret::try_from_base32(secret.to_base32().as_str()).unwrap();
    assert_eq!(count(&left, &secret.as_bytes()[..16]), 0);
}

#[cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#[test]
fn nothing_on_the_stack_is_the_seed_of_a_signature_key() {
    use countersign::SigningKey;
    use countersign::crypto::SigningParts;
    for provider in providers() {
        let (key, left) = left_behind(|| SigningKey::generate(provider).unwrap());
        let SigningParts::Ed25519(seed) = key.parts() else { panic!("it is of Ed25519") };
        assert_is_found(seed);
        for half in seed.chunks(16) {
            assert_eq!(count(&left, half), 0, "{}", provider.name);
        }
    }
}

#[cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
fn providers() -> Vec<crypto::Provider> {
    vec![
        #[cfg(feature = "rustcrypto")]
        crypto::rustcrypto::provider(),
        #[cfg(feature = "aws-lc")]
        crypto::aws_lc::provider(),
    ]
}

#[cfg(all(feature = "rustcrypto", feature = "ml-kem"))]
mod ml_kem_768 {
    use super::{assert_is_found, count, left_behind};
    use core::convert::Infallible;
    use countersign::crypto::{Group, rustcrypto};
    use ml_kem::Decapsulate;
    use rand::{TryCryptoRng, TryRng};

    /// The same bytes each time, and no copy of them but where they are wanted.
    struct Repeating(u8);

    impl TryRng for Repeating {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            Ok(0)
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            Ok(0)
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
            (1..).zip(out).for_each(|(number, byte): (u8, _)| *byte = number.wrapping_mul(self.0));
            Ok(())
        }
    }

    impl TryCryptoRng for Repeating {}

    #[test]
    fn nothing_on_the_stack_is_the_key_or_the_secret_of_an_exchange() {
        let agreement = rustcrypto::provider().agreement(Group::MlKem768).unwrap();
        let (mut share, mut answer, mut seed) = (Vec::new(), Vec::new(), [0; 64]);
        Repeating(37).try_fill_bytes(&mut seed).unwrap();
        assert_is_found(&seed);
        let (exchange, started) = left_behind(|| agreement.start(&mut Repeating(37), &mut share).unwrap());
        for part in seed.chunks(16) {
            assert_eq!(count(&started, part), 0, "the client's key");
        }
        let (_, answered) = left_behind(|| agreement.answer(&share, &mut Repeating(41), &mut answer).unwrap());
        let (_, finished) = left_behind(|| exchange.finish(&answer).unwrap());
        let secret = ml_kem::DecapsulationKey768::from_seed(seed.into()).decapsulate_slice(&answer).unwrap();
        for half in secret.chunks(16) {
            assert_eq!((count(&answered, half), count(&finished, half)), (0, 0), "what both have in the end");
        }
    }
}
