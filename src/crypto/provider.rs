//! What a crypto provider is made of: RSA-OAEP, key generation, AEADs, key exchanges and signatures.

use super::{
    Aead, CryptoError, Decrypt, Group, KeyError, KeySize, PrivateKey, PublicKey, SharedSecret, Sign, SigningKey,
};
use super::{Suite, VerifyingKey};
use crate::limits;
use core::fmt;
use rand_core::CryptoRng;
use std::sync::Arc;

/// A set of crypto primitives, as a value that the caller names: `rustcrypto::provider()`. Cheap to copy.
///
/// Each field is a part that can be exchanged alone: for another library's, for one of a hardware module, or in a test for one
/// that counts. What a provider supports follows from the parts it has.
///
/// ```
/// # #[cfg(feature = "rustcrypto")] {
/// use countersign::crypto::{Provider, rustcrypto};
/// use countersign::{ServerConfig, Suite};
///
/// let only_chacha20 = Provider { name: "only ChaCha20", aes_256_gcm: None, ..rustcrypto::provider() };
/// assert!(!only_chacha20.supports(Suite::X25519_AES_256_GCM));
/// assert!(only_chacha20.supports(Suite::X25519_CHACHA20_POLY1305));
/// assert!(ServerConfig::new(only_chacha20).with_suites(&[Suite::X25519_AES_256_GCM]).is_err());
/// # }
/// ```
///
/// Randomness is handed in; a part has none of its own, but for one over a library that insists on its own generator.
#[derive(Clone, Copy)]
pub struct Provider {
    /// A short name for logs and benches.
    pub name: &'static str,
    /// RSA-OAEP, which every suite needs.
    pub rsa: &'static dyn Rsa,
    /// Makes RSA keys, for those who need new ones: no login does.
    pub key_generation: Option<&'static dyn KeyGeneration>,
    /// [`Aead::Aes256Gcm`].
    pub aes_256_gcm: Option<&'static dyn Cipher>,
    /// [`Aead::ChaCha20Poly1305`].
    pub chacha20_poly1305: Option<&'static dyn Cipher>,
    /// [`Group::X25519`].
    pub x25519: Option<&'static dyn Agreement>,
    /// [`Group::MlKem768`].
    pub ml_kem_768: Option<&'static dyn Agreement>,
    /// Signatures of clients' keys, and whatever else is signed.
    pub signatures: Option<&'static dyn Signatures>,
}

impl Provider {
    /// Whether the provider has every part of this suite.
    pub fn supports(&self, suite: Suite) -> bool {
        self.cipher(suite.aead).is_some()
            && suite.key_exchange.groups().iter().all(|&group| self.agreement(group).is_some())
    }

    /// The part that seals and opens with this AEAD.
    pub fn cipher(&self, aead: Aead) -> Option<&'static dyn Cipher> {
        match aead {
            Aead::Aes256Gcm => self.aes_256_gcm,
            Aead::ChaCha20Poly1305 => self.chacha20_poly1305,
        }
    }

    /// The part that exchanges keys in this group.
    pub fn agreement(&self, group: Group) -> Option<&'static dyn Agreement> {
        match group {
            Group::X25519 => self.x25519,
            Group::MlKem768 => self.ml_kem_768,
        }
    }

    /// The same for the inside, where a configuration has made sure of it: one that is missing fails when it is used.
    pub(crate) fn cipher_or_missing(&self, aead: Aead) -> &'static dyn Cipher {
        self.cipher(aead).unwrap_or(&Missing)
    }

    /// Checks a signature, as [`Signatures::verify`].
    ///
    /// # Errors
    /// [`CryptoError::NotAuthentic`] where it does not fit, [`CryptoError::Unsupported`] where the provider has no such part.
    pub fn verify(&self, key: &VerifyingKey, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        self.signatures.ok_or(CryptoError::Unsupported)?.verify(key, message, signature)
    }

    /// Generates a key pair, as [`KeyGeneration::generate_key`].
    ///
    /// # Errors
    /// [`KeyError::Provider`] where the provider fails, or has no such part.
    pub fn generate_key(&self, size: KeySize, rng: &mut dyn CryptoRng) -> Result<PrivateKey, KeyError> {
        self.key_generation.ok_or(KeyError::Provider)?.generate_key(size, rng)
    }
}

/// Prints the name and the suites.
impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suites: Vec<Suite> = Suite::ALL.into_iter().filter(|&suite| self.supports(suite)).collect();
        f.debug_struct("Provider").field("name", &self.name).field("suites", &suites).finish_non_exhaustive()
    }
}

/// RSA-OAEP with SHA-256, MGF1 with SHA-256 and an empty label (RFC 8017, section 7.1).
pub trait Rsa: Send + Sync {
    /// `RSA-OAEP[SHA-256, MGF1-SHA-256, empty label](key, message)` (RFC 8017, section 7.1.1). Fills `out`, which is as long as the
    /// modulus, 256 to 1024 bytes; leading zero bytes count.
    ///
    /// # Errors
    /// [`CryptoError`] where the provider fails; never because of the message.
    fn encrypt(
        &self,
        key: &PublicKey,
        message: &[u8; limits::SEALED_SECRET],
        rng: &mut dyn CryptoRng,
        out: &mut [u8],
    ) -> Result<(), CryptoError>;

    /// Loads a private key, with all the precomputation that a server wants done once.
    ///
    /// # Errors
    /// [`KeyError`] where the key is inconsistent or the provider can't use it.
    fn load_key(&self, key: &PrivateKey) -> Result<Arc<dyn Decrypt>, KeyError>;
}

/// Makes RSA keys.
pub trait KeyGeneration: Send + Sync {
    /// Generates a key pair with e = 65537. How long it takes is a matter of luck with primes: from some tens of
    /// milliseconds to many seconds, more for larger keys and in builds without optimisation.
    ///
    /// # Errors
    /// [`KeyError::Provider`] where the provider fails.
    fn generate_key(&self, size: KeySize, rng: &mut dyn CryptoRng) -> Result<PrivateKey, KeyError>;
}

/// Signatures: Ed25519, ECDSA on P-256 with SHA-256, and RSA-PSS with SHA-256 (see
/// [`SignatureAlgorithm`](super::SignatureAlgorithm)).
///
/// What one provider verifies, each does. Of Ed25519 that is: no point of small order, neither the key nor in the signature; s
/// below the order (RFC 8032, section 5.1.7); and the equation without the cofactor. Of ECDSA either s is taken. Of RSA-PSS only
/// a salt of 32 bytes.
pub trait Signatures: Send + Sync {
    /// Checks that `signature` is one of `key` over `message`. Nothing secret is at work here.
    ///
    /// # Errors
    /// [`CryptoError::NotAuthentic`] where it does not fit, for whatever reason.
    fn verify(&self, key: &VerifyingKey, message: &[u8], signature: &[u8]) -> Result<(), CryptoError>;

    /// Loads a private key.
    ///
    /// # Errors
    /// [`KeyError`] where the key is inconsistent or the provider can't use it.
    fn load_signer(&self, key: &SigningKey) -> Result<Arc<dyn Sign>, KeyError>;

    /// Generates a key of Ed25519: a seed of 32 random bytes.
    ///
    /// # Errors
    /// [`KeyError::Provider`] where the provider fails.
    fn generate_ed25519(&self, rng: &mut dyn CryptoRng) -> Result<SigningKey, KeyError> {
        SigningKey::random_ed25519(rng)
    }
}

/// An AEAD with 32-byte keys, 12-byte nonces and 16-byte tags.
pub trait Cipher: Send + Sync {
    /// The AEAD under this key.
    ///
    /// # Errors
    /// [`CryptoError`] where the provider fails.
    fn key(&self, key: &[u8; 32]) -> Result<Box<dyn AeadKey>, CryptoError>;
}

/// Stands for an AEAD that the provider does not have.
struct Missing;

impl Cipher for Missing {
    fn key(&self, _: &[u8; 32]) -> Result<Box<dyn AeadKey>, CryptoError> {
        Err(CryptoError::Unsupported)
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

/// One group of key exchanges, in the shape of a KEM: one share each way, and a secret of 32 bytes.
///
/// The handshake fails where a share or a secret has another size than [`Group`] says.
pub trait Agreement: Send + Sync {
    /// The client's half: an ephemeral key. Appends its share, [`Group::client_share`] bytes, to `out`.
    ///
    /// # Errors
    /// [`CryptoError`] where the provider fails.
    fn start(&self, rng: &mut dyn CryptoRng, out: &mut Vec<u8>) -> Result<Box<dyn Exchange>, CryptoError>;

    /// The server's half: appends its share, [`Group::server_share`] bytes, to `out`, and gives the secret. `share` is the
    /// client's, of the right length.
    ///
    /// # Errors
    /// [`CryptoError::BadKeyShare`] where the client's share is malformed or yields no secret.
    fn answer(&self, share: &[u8], rng: &mut dyn CryptoRng, out: &mut Vec<u8>) -> Result<SharedSecret, CryptoError>;
}

/// An ephemeral key of the client's, waiting for the server's share.
pub trait Exchange: Send {
    /// The secret shared with the owner of `share`, which has the right length: 32 bytes.
    ///
    /// # Errors
    /// [`CryptoError::BadKeyShare`] where the share is malformed or yields no secret.
    fn finish(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, CryptoError>;
}
