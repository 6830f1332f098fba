//! The signature: who makes it.

use super::SignError;
use core::pin::Pin;
use rand_core::CryptoRng;

/// A private key that signs, in the thread that asks.
///
/// [`Signatures::load_signer`](crate::crypto::Signatures::load_signer) gives one. Implement it for a smart card or an agent whose
/// calls block, and make a client's key with [`ClientKey::with_sign`](super::ClientKey::with_sign).
pub trait Sign: Send + Sync {
    /// Signs a message, as [`SignatureAlgorithm`](super::SignatureAlgorithm) says for the key. `rng` is for what takes randomness:
    /// the salt of RSA-PSS, and blinding.
    ///
    /// # Errors
    /// [`SignError`]. A panic is taken for [`SignError::Panicked`].
    fn sign(&self, message: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError>;
}

/// What [`RemoteSign::sign`] gives: a signature under way, for any executor.
pub type Signing = Pin<Box<dyn Future<Output = Result<Vec<u8>, SignError>> + Send>>;

/// A private key somewhere else, which answers later: a key service, or somebody who has to touch a card first.
///
/// Make a client's key with [`ClientKey::with_remote_sign`](super::ClientKey::with_remote_sign). No runtime is asked for: the
/// future is polled by whoever runs the handshake.
///
/// ```
/// use countersign::crypto::{RemoteSign, SignError, Signing};
///
/// struct KeyService;
///
/// impl RemoteSign for KeyService {
///     fn sign(&self, message: Vec<u8>) -> Signing {
///         Box::pin(async move { ask(&message).await.ok_or(SignError::Refused) })
///     }
/// }
/// # async fn ask(_: &[u8]) -> Option<Vec<u8>> { None }
/// ```
pub trait RemoteSign: Send + Sync {
    /// As [`Sign::sign`], but later. A future that never ends holds the login until its deadline.
    fn sign(&self, message: Vec<u8>) -> Signing;
}
