//! The provider on the RustCrypto crates: `rsa`, `aes-gcm`, `chacha20poly1305`, `x25519-dalek`, `ed25519-dalek`, `p256`, and
//! `ml-kem` behind the feature of that name. Pure Rust.
//!
//! `rsa` 0.10 exponentiates in constant time by design; RUSTSEC-2023-0071 ("Marvin") does not list it as patched yet. This
//! provider always blinds the private-key operation, and the protocol turns every failure into the same work; SECURITY.md
//! says what that does and does not buy.

mod sign;

use super::{AeadKey, Agreement, Cipher, CryptoError, Decrypt, Decrypted, Exchange, KeyError, KeyGeneration, KeySize};
use super::{PrivateKey, Provider, PublicKey, Rsa, SharedSecret};
use crate::limits;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use chacha20poly1305::ChaCha20Poly1305;
use core::fmt;
use pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rand_core::CryptoRng;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BoxedUint, Oaep};
use sha2::Sha256;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The provider. It holds no state.
pub const fn provider() -> Provider {
    Provider {
        name: "rustcrypto",
        rsa: &RustCrypto,
        key_generation: Some(&RustCrypto),
        aes_256_gcm: Some(&Aes),
        chacha20_poly1305: Some(&ChaCha20),
        x25519: Some(&X25519),
        #[cfg(feature = "ml-kem")]
        ml_kem_768: Some(&mlkem::MlKem),
        #[cfg(not(feature = "ml-kem"))]
        ml_kem_768: None,
        signatures: Some(&sign::Keys),
    }
}

struct RustCrypto;

impl Rsa for RustCrypto {
    fn encrypt(
        &self,
        key: &PublicKey,
        message: &[u8; limits::SEALED_SECRET],
        rng: &mut dyn CryptoRng,
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        let ciphertext =
            public_key(key)?.encrypt(rng, Oaep::<Sha256>::new(), message).map_err(|_| CryptoError::Failed)?;
        if ciphertext.len() != out.len() {
            return Err(CryptoError::Failed);
        }
        out.copy_from_slice(&ciphertext);
        Ok(())
    }

    fn load_key(&self, key: &PrivateKey) -> Result<Arc<dyn Decrypt>, KeyError> {
        Ok(Arc::new(LoadedKey(private_key(key)?)))
    }
}

fn public_key(key: &PublicKey) -> Result<rsa::PublicKey, CryptoError> {
    let (modulus, exponent) = (BoxedUint::from_be_slice_vartime(key.modulus()), BoxedUint::from(key.exponent()));
    let sizes = limits::MIN_MODULUS_BITS..=limits::MAX_MODULUS_BITS;
    rsa::PublicKey::new_with_size_limits(modulus, exponent, sizes).map_err(|_| CryptoError::Failed)
}

/// That its numbers fit each other is checked.
fn private_key(key: &PrivateKey) -> Result<rsa::PrivateKey, KeyError> {
    let rsa = rsa::PrivateKey::from_pkcs8_der(key.pkcs8_der()).map_err(|_| KeyError::Inconsistent)?;
    rsa.validate().map_err(|_| KeyError::Inconsistent)?;
    // The crate computes these anew and ignores the file's; another provider would use them.
    let numbers = [rsa.dp().cloned(), rsa.dq().cloned(), rsa.crt_coefficient()];
    let is_same = |(ours, filed): (Option<BoxedUint>, &[u8])| {
        ours.is_some_and(|ours| *ours.to_be_bytes_trimmed_vartime() == *filed)
    };
    let consistent = numbers.into_iter().zip(key.crt_numbers()?).all(is_same);
    if !consistent || rsa.n_bytes().as_ref() != key.public_key().modulus() {
        return Err(KeyError::Inconsistent);
    }
    Ok(rsa)
}

impl KeyGeneration for RustCrypto {
    fn generate_key(&self, size: KeySize, rng: &mut dyn CryptoRng) -> Result<PrivateKey, KeyError> {
        let rsa = rsa::PrivateKey::new(rng, size.bits()).map_err(|_| KeyError::Provider)?;
        let der = rsa.to_pkcs8_der().map_err(|_| KeyError::Provider)?;
        PrivateKey::from_pkcs8_der(der.as_bytes())
    }
}

struct LoadedKey(rsa::PrivateKey);

impl Decrypt for LoadedKey {
    fn decrypt(&self, ciphertext: &[u8], rng: &mut dyn CryptoRng) -> Decrypted {
        // Blinding keeps the work from depending on the key. That the crate's error costs what its success costs is the
        // crate's to see to; nothing after this tells the two apart (SECURITY.md, "Timing").
        match self.0.decrypt_blinded(rng, Oaep::<Sha256>::new(), ciphertext) {
            Ok(plaintext) => Decrypted::new(&Zeroizing::new(plaintext)),
            Err(_) => Decrypted::failed(),
        }
    }
}

struct Aes;

impl Cipher for Aes {
    fn key(&self, key: &[u8; 32]) -> Result<Box<dyn AeadKey>, CryptoError> {
        Ok(Box::new(InOut(Aes256Gcm::new(key.into()))))
    }
}

struct ChaCha20;

impl Cipher for ChaCha20 {
    fn key(&self, key: &[u8; 32]) -> Result<Box<dyn AeadKey>, CryptoError> {
        Ok(Box::new(InOut(ChaCha20Poly1305::new(key.into()))))
    }
}

/// Both AEADs have 12-byte nonces and 16-byte tags, so one adapter serves.
struct InOut<A>(A);

impl<A> AeadKey for InOut<A>
where
    A: AeadInOut<NonceSize = aes_gcm::aead::consts::U12, TagSize = aes_gcm::aead::consts::U16> + Send + Sync,
{
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> Result<[u8; limits::TAG], CryptoError> {
        let nonce = Nonce::from(*nonce);
        let tag = self.0.encrypt_inout_detached(&nonce, aad, data.into()).map_err(|_| CryptoError::Failed)?;
        Ok(tag.into())
    }

    fn open(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8; limits::TAG]) -> Result<(), CryptoError> {
        let (nonce, tag) = (Nonce::from(*nonce), Tag::from(*tag));
        self.0.decrypt_inout_detached(&nonce, aad, data.into(), &tag).map_err(|_| CryptoError::NotAuthentic)
    }
}

struct X25519;

impl Agreement for X25519 {
    fn start(&self, rng: &mut dyn CryptoRng, out: &mut Vec<u8>) -> Result<Box<dyn Exchange>, CryptoError> {
        Ok(Box::new(Ephemeral::new(rng, out)))
    }

    fn answer(&self, share: &[u8], rng: &mut dyn CryptoRng, out: &mut Vec<u8>) -> Result<SharedSecret, CryptoError> {
        Ephemeral::new(rng, out).agree(share)
    }
}

/// A key pair for one use.
struct Ephemeral(x25519_dalek::ReusableSecret);

impl Ephemeral {
    /// Appends the public half to `out`.
    fn new(rng: &mut dyn CryptoRng, out: &mut Vec<u8>) -> Self {
        let secret = x25519_dalek::ReusableSecret::random_from_rng(rng);
        out.extend_from_slice(x25519_dalek::PublicKey::from(&secret).as_bytes());
        Self(secret)
    }

    /// By reference: what is moved out of the box that it is in leaves a copy there, which nothing wipes.
    fn agree(&self, share: &[u8]) -> Result<SharedSecret, CryptoError> {
        let share: [u8; 32] = share.try_into().map_err(|_| CryptoError::BadKeyShare)?;
        let shared = self.0.diffie_hellman(&share.into());
        // A share of small order gives the all-zero secret (RFC 7748, section 6.1).
        if !shared.was_contributory() {
            return Err(CryptoError::BadKeyShare);
        }
        SharedSecret::new(shared.as_bytes())
    }
}

impl Exchange for Ephemeral {
    fn finish(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, CryptoError> {
        self.agree(share)
    }
}

#[cfg(feature = "ml-kem")]
mod mlkem {
    use super::super::stack::wipe_stack_of;
    use super::{Agreement, CryptoError, CryptoRng, Exchange, SharedSecret, Zeroizing};
    use ml_kem::{Decapsulate, Encapsulate, KeyExport, MlKem768};

    pub(super) struct MlKem;

    /// Words of the stack that are written over: 24 KiB, twice what was seen of the crate's. It hands keys and secrets on by value, and each of these
    /// moves leaves a copy.
    const DEEP: usize = 3072;

    impl Agreement for MlKem {
        fn start(&self, rng: &mut dyn CryptoRng, out: &mut Vec<u8>) -> Result<Box<dyn Exchange>, CryptoError> {
            let key = generate(rng, out);
            wipe_stack_of::<DEEP>();
            Ok(key)
        }

        fn answer(
            &self,
            share: &[u8],
            rng: &mut dyn CryptoRng,
            out: &mut Vec<u8>,
        ) -> Result<SharedSecret, CryptoError> {
            let secret = encapsulate(share, rng, out);
            wipe_stack_of::<DEEP>();
            secret
        }
    }

    /// A decapsulation key for one use.
    struct Ephemeral(ml_kem::DecapsulationKey<MlKem768>);

    impl Exchange for Ephemeral {
        fn finish(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, CryptoError> {
            let secret = self.decapsulate(share);
            wipe_stack_of::<DEEP>();
            secret
        }
    }

    // None of these is inlined, so that what they leave is found.

    #[inline(never)]
    fn generate(rng: &mut dyn CryptoRng, out: &mut Vec<u8>) -> Box<Ephemeral> {
        let mut seed = Box::new(Zeroizing::new([0; 64]));
        rng.fill_bytes(seed.as_mut_slice());
        let key = ml_kem::DecapsulationKey::from_seed((**seed).into());
        out.extend_from_slice(&key.encapsulation_key().to_bytes());
        Box::new(Ephemeral(key))
    }

    #[inline(never)]
    fn encapsulate(share: &[u8], rng: &mut dyn CryptoRng, out: &mut Vec<u8>) -> Result<SharedSecret, CryptoError> {
        let share = share.try_into().map_err(|_| CryptoError::BadKeyShare)?;
        // Refuses coefficients that are not below q (FIPS 203, section 7.2).
        let key = ml_kem::EncapsulationKey::<MlKem768>::new(share).map_err(|_| CryptoError::BadKeyShare)?;
        let (ciphertext, secret) = key.encapsulate_with_rng(rng);
        out.extend_from_slice(&ciphertext);
        SharedSecret::new(&secret)
    }

    impl Ephemeral {
        #[inline(never)]
        fn decapsulate(&self, share: &[u8]) -> Result<SharedSecret, CryptoError> {
            // A ciphertext that was altered yields another secret, not an error (FIPS 203, section 6.3).
            let secret = self.0.decapsulate_slice(share).map_err(|_| CryptoError::BadKeyShare)?;
            SharedSecret::new(&secret)
        }
    }
}

impl fmt::Debug for LoadedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedKey").finish_non_exhaustive()
    }
}
