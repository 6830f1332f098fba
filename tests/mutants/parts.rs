//! Parts of a provider, and trust, without the one thing that they are for.

use super::toy::{self, ToyCipher};
use countersign::crypto::{AeadKey, Cipher, CryptoError, Sign, Signatures};
use countersign::{
    Aead, Answer, KeyError, KeyId, Question, SigningKey, Suite, Trust, TrustLevel, UnixTime, VerifyingKey,
};
use std::sync::Arc;

/// Trusts any key.
pub struct Anybody;

impl Trust for Anybody {
    fn decide(&self, _: &Question<'_>) -> Answer {
        Answer::Trusted(TrustLevel::Verified)
    }

    fn scope(&self) -> String {
        String::new()
    }

    fn recall(&self, _: KeyId, _: Suite, _: &str, _: UnixTime) -> Answer {
        Answer::Trusted(TrustLevel::Verified)
    }
}

/// Takes any signature.
pub struct AnySignature;

impl Signatures for AnySignature {
    fn verify(&self, _: &VerifyingKey, _: &[u8], _: &[u8]) -> Result<(), CryptoError> {
        Ok(())
    }

    fn load_signer(&self, key: &SigningKey) -> Result<Arc<dyn Sign>, KeyError> {
        toy::provider().signatures.unwrap().load_signer(key)
    }
}

/// Opens whatever the tag.
pub struct AnyTag;

/// Does not look at nonces.
pub struct NoNumber;

struct Key {
    key: Box<dyn AeadKey>,
    takes_any_tag: bool,
    has_number: bool,
}

impl Key {
    fn nonce(&self, nonce: &[u8; 12]) -> [u8; 12] {
        if self.has_number { *nonce } else { [0; 12] }
    }
}

impl AeadKey for Key {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> Result<[u8; 16], CryptoError> {
        self.key.seal(&self.nonce(nonce), aad, data)
    }

    fn open(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8; 16]) -> Result<(), CryptoError> {
        let nonce = self.nonce(nonce);
        if self.takes_any_tag {
            // The toy's sealing undoes itself.
            return self.key.seal(&nonce, aad, data).map(drop);
        }
        self.key.open(&nonce, aad, data, tag)
    }
}

fn key(key: &[u8; 32], takes_any_tag: bool, has_number: bool) -> Result<Box<dyn AeadKey>, CryptoError> {
    Ok(Box::new(Key { key: ToyCipher(Aead::Aes256Gcm).key(key)?, takes_any_tag, has_number }))
}

impl Cipher for AnyTag {
    fn key(&self, key: &[u8; 32]) -> Result<Box<dyn AeadKey>, CryptoError> {
        self::key(key, true, true)
    }
}

impl Cipher for NoNumber {
    fn key(&self, key: &[u8; 32]) -> Result<Box<dyn AeadKey>, CryptoError> {
        self::key(key, false, false)
    }
}
