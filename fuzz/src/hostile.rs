//! A peer that keeps to the protocol and seals whatever it likes: the toy provider with a plaintext to slip in.
//!
//! No fuzzer guesses an AEAD tag, so this is how its bytes get to what lies behind one.

use crate::toy::{self, ToyCipher};
use countersign::crypto::{AeadKey, Cipher, CryptoError, Provider};
use countersign::{Aead, limits};
use std::cell::RefCell;

thread_local! {
    static PLAINTEXT: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

pub(crate) const fn provider() -> Provider {
    Provider {
        name: "hostile",
        aes_256_gcm: Some(&Hostile(ToyCipher(Aead::Aes256Gcm))),
        chacha20_poly1305: Some(&Hostile(ToyCipher(Aead::ChaCha20Poly1305))),
        ..toy::provider()
    }
}

/// The next thing this provider seals is this, cut or filled up with zeros to the length it should have.
pub(crate) fn slip_in(plaintext: &[u8]) {
    PLAINTEXT.set(Some(plaintext.to_vec()));
}

struct Hostile(ToyCipher);

impl Cipher for Hostile {
    fn key(&self, key: &[u8; 32]) -> Result<Box<dyn AeadKey>, CryptoError> {
        Ok(Box::new(HostileAead(self.0.key(key)?)))
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
