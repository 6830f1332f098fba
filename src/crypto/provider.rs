//! What a crypto provider does: RSA-OAEP, AEAD and key exchange.

use super::{Aead, Group, KeyError, KeySize, PrivateKey, PublicKey, Suite};
use crate::limits;
use core::fmt;
use rand_core::CryptoRng;
use std::sync::Arc;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A set of crypto primitives, as a value that the caller names: `rustcrypto::provider()`.
///
/// Randomness is handed in; a provider has none of its own, but for one over a library that insists on its own generator.
/// Implement it to plug in another library, or a toy for a fuzzer.
pub trait Provider: fmt::Debug + Send + Sync {
    /// A short name for logs and benches.
    fn name(&self) -> &'static str;

    /// Whether the provider implements this suite.
    fn supports(&self, suite: Suite) -> bool;

    /// `RSA-OAEP[SHA-256, MGF1-SHA-256, empty label](key, message)`: appends as many bytes as the modulus has to `out`
    /// (RFC 8017, section 7.1.1).
    ///
    /// # Errors
    /// [`CryptoError`] where the provider fails; never because of the message.
    fn encrypt(
        &self,
        key: &PublicKey,
        message: &[u8; limits::SEALED_SECRET],
        rng: &mut dyn CryptoRng,
        out: &mut Vec<u8>,
    ) -> Result<(), CryptoError>;

    /// Loads a private key, with all the precomputation that a server wants done once.
    ///
    /// # Errors
    /// [`KeyError`] where the key is inconsistent or the provider can't use it.
    fn load_key(&self, key: &PrivateKey) -> Result<Arc<dyn Decrypt>, KeyError>;

    /// Generates a key pair with e = 65537. How long it takes is a matter of luck with primes: from some tens of
    /// milliseconds to many seconds, more for larger keys and in builds without optimisation.
    ///
    /// # Errors
    /// [`KeyError::Provider`] where the provider fails.
    fn generate_key(&self, size: KeySize, rng: &mut dyn CryptoRng) -> Result<PrivateKey, KeyError>;

    /// An AEAD under this key.
    ///
    /// # Errors
    /// [`CryptoError`] where the provider does not implement the AEAD.
    fn aead(&self, aead: Aead, key: &[u8; 32]) -> Result<Box<dyn AeadKey>, CryptoError>;

    /// The client's half of a key exchange: an ephemeral key. Appends its share, [`Group::client_share`] bytes, to `out`.
    ///
    /// # Errors
    /// [`CryptoError`] where the provider does not implement the group.
    fn start_exchange(
        &self,
        group: Group,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<u8>,
    ) -> Result<Box<dyn Exchange>, CryptoError>;

    /// The server's half of a key exchange, in the shape of a KEM: appends its share, [`Group::server_share`] bytes, to
    /// `out`, and gives the secret. `share` is the client's, of the right length.
    ///
    /// # Errors
    /// [`CryptoError::BadKeyShare`] where the client's share is malformed or yields no secret.
    fn answer_exchange(
        &self,
        group: Group,
        share: &[u8],
        rng: &mut dyn CryptoRng,
        out: &mut Vec<u8>,
    ) -> Result<SharedSecret, CryptoError>;
}

/// A private key that opens what was sealed to its public key.
///
/// This is the place for a hardware module: implement it, and make a server key with
/// [`super::ServerKey::from_parts`].
pub trait Decrypt: Send + Sync {
    /// Undoes [`Provider::encrypt`]. `ciphertext` is as long as the modulus and below it; `rng` is for blinding.
    ///
    /// There is no error: whatever fails, and for whatever reason, is [`Decrypted::failed`], at the same cost.
    fn decrypt(&self, ciphertext: &[u8], rng: &mut dyn CryptoRng) -> Decrypted;
}

/// What an RSA-OAEP decryption gave: 64 bytes or a failure, which can't be told apart from outside.
pub struct Decrypted {
    bytes: Zeroizing<[u8; limits::SEALED_SECRET]>,
    ok: Choice,
}

impl Decrypted {
    /// A plaintext. One that is not 64 bytes long is a failure.
    pub fn new(plaintext: &[u8]) -> Self {
        let mut bytes = Zeroizing::new([0; limits::SEALED_SECRET]);
        for (slot, byte) in bytes.iter_mut().zip(plaintext) {
            *slot = *byte;
        }
        Self { bytes, ok: plaintext.len().ct_eq(&limits::SEALED_SECRET) }
    }

    /// A failure: bad padding, or a module that did not answer.
    pub fn failed() -> Self {
        Self { bytes: Zeroizing::new([0; limits::SEALED_SECRET]), ok: Choice::from(0) }
    }

    /// The secret, if this decrypted and is bound to `transcript_hash`; otherwise `fallback`. Does not branch.
    pub(crate) fn secret_or(
        &self,
        transcript_hash: &[u8; 32],
        fallback: &[u8; limits::SECRET],
    ) -> Zeroizing<[u8; limits::SECRET]> {
        let (secret, bound_to) = self.bytes.split_at(limits::SECRET);
        let good = self.ok & bound_to.ct_eq(transcript_hash);
        let mut out = Zeroizing::new([0; limits::SECRET]);
        for ((slot, ours), theirs) in out.iter_mut().zip(fallback).zip(secret) {
            *slot = u8::conditional_select(ours, theirs, good);
        }
        out
    }
}

impl fmt::Debug for Decrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decrypted").finish_non_exhaustive()
    }
}

/// An AEAD under one key. Nonces are never chosen here; the protocol uses each once.
pub trait AeadKey: Send + Sync {
    /// `AEAD-Seal(key, nonce, aad, data)`: encrypts `data` in place and gives the tag.
    ///
    /// # Errors
    /// [`CryptoError`] where the provider fails.
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> Result<[u8; limits::TAG], CryptoError>;

    /// `AEAD-Open(key, nonce, aad, data, tag)`: decrypts `data` in place; on failure `data` is not plaintext.
    ///
    /// # Errors
    /// [`CryptoError::NotAuthentic`] where the tag does not fit.
    fn open(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8; limits::TAG]) -> Result<(), CryptoError>;
}

/// An ephemeral key of the client's, waiting for the server's share.
pub trait Exchange: Send {
    /// The secret shared with the owner of `share`, which has the right length.
    ///
    /// # Errors
    /// [`CryptoError::BadKeyShare`] where the share is malformed or yields no secret.
    fn finish(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, CryptoError>;
}

/// The secret a key exchange gave, up to 64 bytes. Zeroized, never printed.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SharedSecret {
    bytes: [u8; 64],
    len: usize,
}

impl SharedSecret {
    /// A secret of up to 64 bytes.
    ///
    /// # Errors
    /// [`CryptoError::BadKeyShare`] where it is longer.
    pub fn new(secret: &[u8]) -> Result<Self, CryptoError> {
        let mut bytes = [0; 64];
        bytes.get_mut(..secret.len()).ok_or(CryptoError::BadKeyShare)?.copy_from_slice(secret);
        Ok(Self { bytes, len: secret.len() })
    }

    /// `self || other`
    pub(crate) fn append(&mut self, other: &Self) -> Result<(), CryptoError> {
        let end = self.len.saturating_add(other.len);
        let room = self.bytes.get_mut(self.len..end).ok_or(CryptoError::BadKeyShare)?;
        room.copy_from_slice(other.as_bytes());
        self.len = end;
        Ok(())
    }

    /// What the key schedule takes where there is no key exchange: 32 zeros.
    pub(crate) fn none() -> Self {
        Self { bytes: [0; 64], len: 32 }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSecret").finish_non_exhaustive()
    }
}

/// What a provider can fail at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The AEAD tag does not fit the data.
    #[error("the data is not authentic")]
    NotAuthentic,
    /// A key share has the wrong length or yields no secret.
    #[error("unusable key share")]
    BadKeyShare,
    /// The provider does not implement what was asked for.
    #[error("the crypto provider does not implement this")]
    Unsupported,
    /// The provider failed for a reason of its own.
    #[error("the crypto provider failed")]
    Failed,
}
