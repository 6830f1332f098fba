//! Signatures: `ed25519-dalek`, `p256`, and RSA-PSS of `rsa`.

use crate::crypto::sign::check_form;
use crate::crypto::{CryptoError, KeyError, Sign, SignError, Signatures, SigningKey, SigningParts};
use crate::crypto::{VerifyingKey, VerifyingParts};
use ed25519_dalek::Signer;
use p256::ecdsa::signature::Verifier;
use rand_core::CryptoRng;
use rsa::pss;
use rsa::signature::{RandomizedSigner, SignatureEncoding};
use sha2::Sha256;
use std::sync::Arc;

pub(super) struct Keys;

impl Signatures for Keys {
    fn verify(&self, key: &VerifyingKey, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        check_form(key, signature)?;
        let verified = match key.parts() {
            VerifyingParts::Ed25519(point) => verify_ed25519(point, message, signature),
            VerifyingParts::EcdsaP256(point) => verify_p256(point, message, signature),
            VerifyingParts::Rsa(key) => {
                let key = pss::VerifyingKey::<Sha256>::new(super::public_key(key)?);
                pss::Signature::try_from(signature)
                    .ok()
                    .is_some_and(|signature| key.verify(message, &signature).is_ok())
            }
        };
        if verified { Ok(()) } else { Err(CryptoError::NotAuthentic) }
    }

    fn load_signer(&self, key: &SigningKey) -> Result<Arc<dyn Sign>, KeyError> {
        Ok(match key.parts() {
            SigningParts::Ed25519(seed) => Arc::new(Ed25519(ed25519_dalek::SigningKey::from_bytes(seed))),
            SigningParts::EcdsaP256(scalar) => {
                Arc::new(P256(p256::ecdsa::SigningKey::from_slice(scalar).map_err(|_| KeyError::Inconsistent)?))
            }
            SigningParts::Rsa(key) => Arc::new(Rsa(pss::SigningKey::new(super::private_key(key)?))),
        })
    }
}

/// Without what is of small order, and with the one encoding of each number: what AWS-LC takes, and no more.
fn verify_ed25519(point: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    let signature = ed25519_dalek::Signature::from_slice(signature);
    let key = ed25519_dalek::VerifyingKey::from_bytes(point);
    key.is_ok_and(|key| signature.is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()))
}

fn verify_p256(point: &[u8; 65], message: &[u8], signature: &[u8]) -> bool {
    let signature = p256::ecdsa::Signature::from_slice(signature);
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point);
    key.is_ok_and(|key| signature.is_ok_and(|signature| key.verify(message, &signature).is_ok()))
}

struct Ed25519(ed25519_dalek::SigningKey);

impl Sign for Ed25519 {
    fn sign(&self, message: &[u8], _: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        Ok(self.0.sign(message).to_bytes().to_vec())
    }
}

struct P256(p256::ecdsa::SigningKey);

impl Sign for P256 {
    /// With a nonce that follows from key, message and randomness (RFC 6979, section 3.6): neither a bad generator nor a fault
    /// alone gives the key away.
    fn sign(&self, message: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        let signature: p256::ecdsa::Signature =
            self.0.try_sign_with_rng(rng, message).map_err(|_| CryptoError::Failed)?;
        Ok(signature.to_bytes().to_vec())
    }
}

struct Rsa(pss::SigningKey<Sha256>);

impl Sign for Rsa {
    /// The crate blinds the private-key operation.
    fn sign(&self, message: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        let signature = self.0.try_sign_with_rng(rng, message).map_err(|_| CryptoError::Failed)?;
        Ok(signature.to_vec())
    }
}
