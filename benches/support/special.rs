//! Ciphertexts that an implementation of RSA might take longer for, or less long, than for others.

use rand::RngExt;
use rand::rngs::StdRng;
use rsa::BoxedUint;
use rsa::pkcs8::DecodePrivateKey;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use sha2::{Digest, Sha256};

/// The kinds, of which the first is what the others are held against.
pub(crate) const KINDS: [&str; 19] = [
    "as a client seals it",
    "the same each time",
    "nothing sealed",
    "190 bytes sealed",
    "first octet not zero",
    "wrong hash of the label",
    "no 01 in the padding",
    "another octet before the 01",
    "any number",
    "0",
    "1",
    "2",
    "n - 1",
    "a power of two",
    "2^e: opens to 2",
    "opens to a number of 64 bits",
    "a multiple of p",
    "a multiple of q",
    "one more than a multiple of p",
];

/// No ciphertext: the protocol turns it away before the operation.
pub(crate) const OUT_OF_RANGE: &str = "n + 1, which no login brings";

/// Length of a hash.
const HASH: usize = 32;

pub(crate) struct Maker(rsa::PrivateKey);

impl Maker {
    pub(crate) fn new(pkcs8: &[u8]) -> Self {
        Self(rsa::PrivateKey::from_pkcs8_der(pkcs8).unwrap())
    }

    pub(crate) fn make(&self, kind: &str, rng: &mut StdRng) -> Vec<u8> {
        let n = self.0.n().as_ref();
        let small = |number: u64| self.number(&number.to_be_bytes());
        let below_n = |rng: &mut StdRng| self.number(&random::<256>(rng)).div_rem(self.0.n()).1;
        let number = match kind {
            "as a client seals it" => self.sealed(&random::<64>(rng), rng, |_| {}),
            "the same each time" => self.sealed(&[7; 64], &mut rand::SeedableRng::seed_from_u64(1), |_| {}),
            "nothing sealed" => self.sealed(&[], rng, |_| {}),
            "190 bytes sealed" => self.sealed(&random::<190>(rng), rng, |_| {}),
            "first octet not zero" => self.sealed(&random::<64>(rng), rng, |parts| parts.first = 1),
            "wrong hash of the label" => self.sealed(&random::<64>(rng), rng, |parts| parts.block[0] ^= 1),
            "no 01 in the padding" => self.sealed(&[0; 64], rng, |parts| parts.block[HASH..].fill(0)),
            "another octet before the 01" => self.sealed(&random::<64>(rng), rng, |parts| parts.block[HASH] = 2),
            "any number" => below_n(rng),
            "0" => small(0),
            "1" => small(1),
            "2" => small(2),
            "n - 1" => n.wrapping_sub(BoxedUint::one()),
            "a power of two" => self.number(&[&[1][..], &[0; 250]].concat()),
            "2^e: opens to 2" => self.public(&small(2)),
            "opens to a number of 64 bits" => self.public(&small(rng.random())),
            "a multiple of p" => below_n(rng).mul_mod(&self.prime(0), self.0.n()),
            "a multiple of q" => below_n(rng).mul_mod(&self.prime(1), self.0.n()),
            "one more than a multiple of p" => {
                below_n(rng).mul_mod(&self.prime(0), self.0.n()).wrapping_add(BoxedUint::one())
            }
            OUT_OF_RANGE => n.wrapping_add(BoxedUint::one()),
            _ => panic!("{kind}"),
        };
        number.to_be_bytes().to_vec()
    }

    fn number(&self, bytes: &[u8]) -> BoxedUint {
        BoxedUint::from_be_slice(bytes, self.0.n_bits_precision()).unwrap()
    }

    fn prime(&self, which: usize) -> BoxedUint {
        self.number(&self.0.primes()[which].as_ref().to_be_bytes())
    }

    /// `m^65537 mod n`
    fn public(&self, m: &BoxedUint) -> BoxedUint {
        let squared = (0..16).fold(m.clone(), |power, _| power.mul_mod(&power, self.0.n()));
        squared.mul_mod(m, self.0.n())
    }

    /// OAEP (RFC 8017, section 7.1.1), with something wrong in it.
    fn sealed(&self, message: &[u8], rng: &mut StdRng, spoil: impl FnOnce(&mut Parts)) -> BoxedUint {
        let mut parts = Parts { first: 0, seed: random(rng), block: vec![0; self.0.size() - HASH - 1] };
        parts.block[..HASH].copy_from_slice(&Sha256::digest(b""));
        let start = parts.block.len() - message.len();
        parts.block[start - 1] = 1;
        parts.block[start..].copy_from_slice(message);
        spoil(&mut parts);
        let Parts { first, mut seed, mut block } = parts;
        mask(&mut block, &seed);
        mask(&mut seed, &block);
        self.public(&self.number(&[&[first][..], &seed, &block].concat()))
    }
}

struct Parts {
    first: u8,
    seed: [u8; HASH],
    /// The hash of the label, zeros, 01, the message.
    block: Vec<u8>,
}

fn random<const N: usize>(rng: &mut StdRng) -> [u8; N] {
    core::array::from_fn(|_| rng.random())
}

/// XORs MGF1 of `seed` to `bytes` (RFC 8017, appendix B.2.1).
fn mask(bytes: &mut [u8], seed: &[u8]) {
    for (counter, chunk) in (0_u32..).zip(bytes.chunks_mut(HASH)) {
        let hash = Sha256::new().chain_update(seed).chain_update(counter.to_be_bytes()).finalize();
        chunk.iter_mut().zip(hash).for_each(|(byte, mask)| *byte ^= mask);
    }
}
