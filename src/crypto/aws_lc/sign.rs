//! Signatures. AWS-LC draws what randomness they take from its own generator.

use crate::crypto::sign::check_form;
use crate::crypto::{CryptoError, KeyError, Sign, SignError, Signatures, SigningKey, SigningParts};
use crate::crypto::{VerifyingKey, VerifyingParts};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, RsaKeyPair, RsaPublicKeyComponents, UnparsedPublicKey,
};
use rand_core::CryptoRng;
use std::sync::Arc;

pub(super) struct Keys;

impl Signatures for Keys {
    fn verify(&self, key: &VerifyingKey, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        check_form(key, signature)?;
        let verified = match key.parts() {
            VerifyingParts::Ed25519(point) => UnparsedPublicKey::new(&ED25519, point).verify(message, signature),
            VerifyingParts::EcdsaP256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            VerifyingParts::Rsa(key) => {
                let exponent = key.exponent().to_be_bytes();
                let leading = exponent.iter().take_while(|&&byte| byte == 0).count();
                let e = exponent.get(leading..).unwrap_or_default();
                RsaPublicKeyComponents { n: key.modulus(), e }.verify(&RSA_PSS_2048_8192_SHA256, message, signature)
            }
        };
        verified.map_err(|_| CryptoError::NotAuthentic)
    }

    fn load_signer(&self, key: &SigningKey) -> Result<Arc<dyn Sign>, KeyError> {
        Ok(match key.parts() {
            SigningParts::Ed25519(seed) => {
                Arc::new(Ed25519(Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Provider)?))
            }
            SigningParts::EcdsaP256(_) => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.pkcs8_der());
                Arc::new(P256(pair.map_err(|_| KeyError::Inconsistent)?))
            }
            // AWS-LC checks that all the numbers of the key fit each other.
            SigningParts::Rsa(key) => {
                Arc::new(Rsa(RsaKeyPair::from_pkcs8(key.pkcs8_der()).map_err(|_| KeyError::Inconsistent)?))
            }
        })
    }
}

struct Ed25519(Ed25519KeyPair);

impl Sign for Ed25519 {
    fn sign(&self, message: &[u8], _: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        Ok(self.0.try_sign(message).map_err(|_| CryptoError::Failed)?.as_ref().to_vec())
    }
}

struct P256(EcdsaKeyPair);

impl Sign for P256 {
    fn sign(&self, message: &[u8], _: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        let signature = self.0.sign(&SystemRandom::new(), message).map_err(|_| CryptoError::Failed)?;
        Ok(signature.as_ref().to_vec())
    }
}

struct Rsa(RsaKeyPair);

impl Sign for Rsa {
    fn sign(&self, message: &[u8], _: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        let signed = self.0.sign(&RSA_PSS_SHA256, &SystemRandom::new(), message, &mut signature);
        signed.map_err(|_| CryptoError::Failed)?;
        Ok(signature)
    }
}
