//! A peer that keeps to the protocol and seals whatever it likes: the toy provider with a plaintext to slip in.
//!
//! No fuzzer guesses an AEAD tag, so this is how its bytes get to what lies behind one.

use crate::toy;
use countersign::crypto::{AeadKey, CryptoError, Decrypt, Exchange, Group, Provider, SharedSecret};
use countersign::{Aead, CryptoRng, KeyError, KeySize, PrivateKey, PublicKey, Suite, limits};
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static PLAINTEXT: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

pub(crate) fn provider() -> &'static dyn Provider {
    &Hostile
}

/// The next thing this provider seals is this, cut or filled up with zeros to the length it should have.
pub(crate) fn slip_in(plaintext: &[u8]) {
    PLAINTEXT.set(Some(plaintext.to_vec()));
}

#[derive(Debug)]
struct Hostile;

impl Provider for Hostile {
    fn name(&self) -> &'static str {
        "hostile"
    }

    fn supports(&self, suite: Suite) -> bool {
        toy::Toy.supports(suite)
    }

    fn encrypt(
        &self,
        key: &PublicKey,
        message: &[u8; limits::SEALED_SECRET],
        rng: &mut dyn CryptoRng,
        out: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        toy::Toy.encrypt(key, message, rng, out)
    }

    fn load_key(&self, key: &PrivateKey) -> Result<Arc<dyn Decrypt>, KeyError> {
        toy::Toy.load_key(key)
    }

    fn generate_key(&self, size: KeySize, rng: &mut dyn CryptoRng) -> Result<PrivateKey, KeyError> {
        toy::Toy.generate_key(size, rng)
    }

    fn aead(&self, aead: Aead, key: &[u8; 32]) -> Result<Box<dyn AeadKey>, CryptoError> {
        Ok(Box::new(HostileAead(toy::Toy.aead(aead, key)?)))
    }

    fn start_exchange(
        &self,
        group: Group,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<u8>,
    ) -> Result<Box<dyn Exchange>, CryptoError> {
        toy::Toy.start_exchange(group, rng, out)
    }

    fn answer_exchange(
        &self,
        group: Group,
        share: &[u8],
        rng: &mut dyn CryptoRng,
        out: &mut Vec<u8>,
    ) -> Result<SharedSecret, CryptoError> {
        toy::Toy.answer_exchange(group, share, rng, out)
    }
}

struct HostileAead(Box<dyn AeadKey>);

impl AeadKey for HostileAead {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> Result<[u8; limits::TAG], CryptoError> {
        if let Some(plaintext) = PLAINTEXT.take() {
            let bytes = plaintext.into_iter().chain(core::iter::repeat(0));
            data.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = byte);
        }
        self.0.seal(nonce, aad, data)
    }

    fn open(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8; limits::TAG]) -> Result<(), CryptoError> {
        self.0.open(nonce, aad, data, tag)
    }
}
