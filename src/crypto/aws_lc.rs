//! The provider on `aws-lc-rs`: AWS-LC, the fast one. It needs a C compiler to build, and nothing else.
//!
//! AWS-LC has its own random generator for RSA-OAEP, RSA blinding, ML-KEM, and signatures of ECDSA and RSA-PSS, and takes no other.

mod sign;

use super::{AeadKey, Agreement, Cipher, CryptoError, Decrypt, Decrypted, Exchange, KeyError, KeyGeneration, KeySize};
use super::{PrivateKey, Provider, PublicKey, Rsa, SharedSecret};
use crate::limits;
use aws_lc_rs::aead::{self, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use aws_lc_rs::rsa::{
    self, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use rand_core::CryptoRng;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The provider. It holds no state.
pub const fn provider() -> Provider {
    Provider {
        name: "aws-lc-rs",
        rsa: &AwsLc,
        key_generation: Some(&AwsLc),
        aes_256_gcm: Some(&Algorithm(&AES_256_GCM)),
        chacha20_poly1305: Some(&Algorithm(&CHACHA20_POLY1305)),
        x25519: Some(&Curve25519),
        ml_kem_768: Some(&MlKem),
        signatures: Some(&sign::Keys),
    }
}

struct AwsLc;

impl Rsa for AwsLc {
    fn encrypt(
        &self,
        key: &PublicKey,
        message: &[u8; limits::SEALED_SECRET],
        _: &mut dyn CryptoRng,
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        let rsa = PublicEncryptingKey::from_der(key.spki_der()).map_err(|_| CryptoError::Failed)?;
        let rsa = OaepPublicEncryptingKey::new(rsa).map_err(|_| CryptoError::Failed)?;
        rsa.encrypt(&OAEP_SHA256_MGF1SHA256, message, out, None).map(drop).map_err(|_| CryptoError::Failed)
    }

    fn load_key(&self, key: &PrivateKey) -> Result<Arc<dyn Decrypt>, KeyError> {
        // AWS-LC checks that all the numbers of the key fit each other.
        let rsa = PrivateDecryptingKey::from_pkcs8(key.pkcs8_der()).map_err(|_| KeyError::Inconsistent)?;
        let rsa = OaepPrivateDecryptingKey::new(rsa).map_err(|_| KeyError::Provider)?;
        Ok(Arc::new(LoadedKey(rsa)))
    }
}

impl KeyGeneration for AwsLc {
    fn generate_key(&self, size: KeySize, _: &mut dyn CryptoRng) -> Result<PrivateKey, KeyError> {
        let size = match size {
            KeySize::Rsa2048 => rsa::KeySize::Rsa2048,
            KeySize::Rsa3072 => rsa::KeySize::Rsa3072,
            KeySize::Rsa4096 => rsa::KeySize::Rsa4096,
        };
        let rsa = PrivateDecryptingKey::generate(size).map_err(|_| KeyError::Provider)?;
        let der = rsa.as_der().map_err(|_| KeyError::Provider)?;
        PrivateKey::from_pkcs8_der(der.as_ref())
    }
}

struct LoadedKey(OaepPrivateDecryptingKey);

impl Decrypt for LoadedKey {
    fn decrypt(&self, ciphertext: &[u8], _: &mut dyn CryptoRng) -> Decrypted {
        // AWS-LC checks OAEP without branching on secrets up to the verdict, and then takes some instructions more to report
        // a failure than a success; nothing after this tells the two apart (SECURITY.md, "Timing").
        let mut room = Zeroizing::new(vec![0; limits::MAX_MODULUS_BITS / 8]);
        match self.0.decrypt(&OAEP_SHA256_MGF1SHA256, ciphertext, room.as_mut_slice(), None) {
            Ok(plaintext) => Decrypted::new(plaintext),
            Err(_) => Decrypted::failed(),
        }
    }
}

struct Algorithm(&'static aead::Algorithm);

impl Cipher for Algorithm {
    fn key(&self, key: &[u8; 32]) -> Result<Box<dyn AeadKey>, CryptoError> {
        let key = UnboundKey::new(self.0, key).map_err(|_| CryptoError::Failed)?;
        Ok(Box::new(LessSafeKey::new(key)))
    }
}

impl AeadKey for LessSafeKey {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> Result<[u8; limits::TAG], CryptoError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self.seal_in_place_separate_tag(nonce, Aad::from(aad), data).map_err(|_| CryptoError::Failed)?;
        tag.as_ref().try_into().map_err(|_| CryptoError::Failed)
    }

    fn open(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8; limits::TAG]) -> Result<(), CryptoError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.open_in_place_separate_tag(nonce, Aad::from(aad), tag, data);
        opened.map(drop).map_err(|_| CryptoError::NotAuthentic)
    }
}

struct Curve25519;

impl Agreement for Curve25519 {
    fn start(&self, rng: &mut dyn CryptoRng, out: &mut Vec<u8>) -> Result<Box<dyn Exchange>, CryptoError> {
        Ok(Box::new(x25519(rng, out)?))
    }

    fn answer(&self, share: &[u8], rng: &mut dyn CryptoRng, out: &mut Vec<u8>) -> Result<SharedSecret, CryptoError> {
        agree(&x25519(rng, out)?, share)
    }
}

/// A fresh key pair; its public half is appended to `out`.
fn x25519(rng: &mut dyn CryptoRng, out: &mut Vec<u8>) -> Result<agreement::PrivateKey, CryptoError> {
    let mut secret = Box::new(Zeroizing::new([0; 32]));
    rng.fill_bytes(secret.as_mut_slice());
    let key = agreement::PrivateKey::from_private_key(&X25519, secret.as_slice()).map_err(|_| CryptoError::Failed)?;
    out.extend_from_slice(key.compute_public_key().map_err(|_| CryptoError::Failed)?.as_ref());
    Ok(key)
}

/// AWS-LC refuses the all-zero secret (RFC 7748, section 6.1).
fn agree(key: &agreement::PrivateKey, share: &[u8]) -> Result<SharedSecret, CryptoError> {
    agreement::agree(key, UnparsedPublicKey::new(&X25519, share), CryptoError::BadKeyShare, SharedSecret::new)
}

impl Exchange for agreement::PrivateKey {
    fn finish(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, CryptoError> {
        agree(&self, share)
    }
}

struct MlKem;

impl Agreement for MlKem {
    fn start(&self, _: &mut dyn CryptoRng, out: &mut Vec<u8>) -> Result<Box<dyn Exchange>, CryptoError> {
        let key = DecapsulationKey::generate(&ML_KEM_768).map_err(|_| CryptoError::Failed)?;
        let share = key.encapsulation_key().and_then(|key| key.key_bytes()).map_err(|_| CryptoError::Failed)?;
        out.extend_from_slice(share.as_ref());
        Ok(Box::new(key))
    }

    fn answer(&self, share: &[u8], _: &mut dyn CryptoRng, out: &mut Vec<u8>) -> Result<SharedSecret, CryptoError> {
        let key = EncapsulationKey::new(&ML_KEM_768, share).map_err(|_| CryptoError::BadKeyShare)?;
        // It is here that AWS-LC refuses coefficients that are not below q (FIPS 203, section 7.2).
        let (ciphertext, secret) = key.encapsulate().map_err(|_| CryptoError::BadKeyShare)?;
        out.extend_from_slice(ciphertext.as_ref());
        SharedSecret::new(secret.as_ref())
    }
}

impl Exchange for DecapsulationKey {
    fn finish(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, CryptoError> {
        // A ciphertext that was altered yields another secret, not an error (FIPS 203, section 6.3).
        let secret = self.decapsulate(Ciphertext::from(share)).map_err(|_| CryptoError::BadKeyShare)?;
        SharedSecret::new(secret.as_ref())
    }
}
