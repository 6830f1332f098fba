//! The private-key operation: who does it, and what it gives.

use crate::limits;
use crate::mutant::{Check, lacks};
use core::fmt;
use core::pin::Pin;
use rand_core::CryptoRng;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

/// A private key that opens what was sealed to its public key, in the thread that asks.
///
/// [`Rsa::load_key`](super::Rsa::load_key) gives one. Implement it for a hardware module whose calls block, and make a server
/// key with [`ServerKey::with_decrypt`](super::ServerKey::with_decrypt).
pub trait Decrypt: Send + Sync {
    /// Undoes [`Rsa::encrypt`](super::Rsa::encrypt). `ciphertext` is as long as the modulus (256 to 1024 bytes) and below
    /// it; `rng` is for blinding.
    ///
    /// There is no error: whatever fails, and for whatever reason, is [`Decrypted::failed`], at the same cost. A panic is
    /// taken for one, too, but it costs more than a failure, and it is printed.
    fn decrypt(&self, ciphertext: &[u8], rng: &mut dyn CryptoRng) -> Decrypted;
}

/// What [`RemoteDecrypt::decrypt`] gives: a decryption under way, for any executor.
pub type Decrypting = Pin<Box<dyn Future<Output = Decrypted> + Send>>;

/// A private key somewhere else, which answers later: a key service, or a hardware module behind a queue.
///
/// Make a server key with [`ServerKey::with_remote_decrypt`](super::ServerKey::with_remote_decrypt). No runtime is asked for:
/// the future is polled by whoever runs the handshake.
///
/// ```
/// use countersign::crypto::{Decrypted, Decrypting, RemoteDecrypt};
///
/// struct KeyService;
///
/// impl RemoteDecrypt for KeyService {
///     fn decrypt(&self, ciphertext: Vec<u8>) -> Decrypting {
///         Box::pin(async move {
///             match ask(&ciphertext).await {
///                 Some(plaintext) => Decrypted::new(&plaintext),
///                 None => Decrypted::failed(),
///             }
///         })
///     }
/// }
/// # async fn ask(_: &[u8]) -> Option<[u8; 64]> { None }
/// ```
pub trait RemoteDecrypt: Send + Sync {
    /// As [`Decrypt::decrypt`], but later: RSA-OAEP with SHA-256, MGF1 with SHA-256 and an empty label. `ciphertext` is as
    /// long as the modulus (256 to 1024 bytes) and below it.
    ///
    /// There is no error: whatever fails, and for whatever reason, is [`Decrypted::failed`], and the one who waits must not
    /// be able to tell by the time it took. A future that never ends holds the login until its deadline.
    fn decrypt(&self, ciphertext: Vec<u8>) -> Decrypting;
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
        let good = if lacks(Check::L6) { self.ok } else { self.ok & bound_to.ct_eq(transcript_hash) };
        let mut out = Zeroizing::new([0; limits::SECRET]);
        for ((slot, ours), theirs) in out.iter_mut().zip(fallback).zip(secret) {
            *slot = u8::conditional_select(ours, theirs, good);
        }
        out
    }
}

/// What no code but a test may look at.
#[cfg(test)]
impl Decrypted {
    pub(super) fn is_ok(&self) -> bool {
        self.ok.into()
    }

    pub(super) fn bytes(&self) -> &[u8; limits::SEALED_SECRET] {
        &self.bytes
    }
}

impl fmt::Debug for Decrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decrypted").finish_non_exhaustive()
    }
}
