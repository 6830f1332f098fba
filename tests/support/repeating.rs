//! The provider under test, with an RSA encryption that repeats itself: that of AWS-LC draws on randomness of its own, and where a
//! ClientHello has a ciphertext in it, everything after it would be another each time.

use countersign::crypto::{CryptoError, Decrypt, Provider, Rsa};
use countersign::{CryptoRng, KeyError, PrivateKey, PublicKey, limits};
use rsa::Oaep;
use rsa::pkcs8::DecodePublicKey;
use sha2::Sha256;
use std::sync::Arc;

pub fn provider() -> Provider {
    Provider { rsa: &Repeating, ..super::provider() }
}

struct Repeating;

impl Rsa for Repeating {
    fn encrypt(
        &self,
        key: &PublicKey,
        message: &[u8; limits::SEALED_SECRET],
        rng: &mut dyn CryptoRng,
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        let key = rsa::PublicKey::from_public_key_der(key.spki_der()).unwrap();
        out.copy_from_slice(&key.encrypt(rng, Oaep::<Sha256>::new(), message).unwrap());
        Ok(())
    }

    fn load_key(&self, key: &PrivateKey) -> Result<Arc<dyn Decrypt>, KeyError> {
        super::provider().rsa.load_key(key)
    }
}
