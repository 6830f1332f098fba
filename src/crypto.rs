//! Crypto: suites, RSA keys, signature keys, the provider interface, the transcript and the key schedule.
//!
//! No primitive is written here. SHA-256 and HKDF come from `sha2` and `hkdf`; RSA-OAEP, AEAD, key exchange and
//! signatures come from a [`Provider`], a value that the caller names.

#[cfg(feature = "stretch")]
mod argon;
#[cfg(feature = "aws-lc")]
pub mod aws_lc;
mod certificate;
mod decrypt;
mod error;
mod exchange;
mod key;
pub(crate) mod once;
mod provider;
mod random;
#[cfg(feature = "rustcrypto")]
pub mod rustcrypto;
pub(crate) mod schedule;
mod secret;
mod sign;
mod stack;
mod suite;
mod transcript;
#[cfg(all(test, any(feature = "rustcrypto", feature = "aws-lc")))]
mod vectors;

#[cfg(feature = "stretch")]
pub(crate) use argon::Argon;
pub use certificate::CertificateChain;
#[cfg(feature = "x509")]
pub use certificate::{Certificate, CertificateDraft, CertificateFileError, DraftError, NotTimely, certificates_of};
pub use decrypt::{Decrypt, Decrypted, Decrypting, RemoteDecrypt};
pub use error::CryptoError;
pub(crate) use exchange::{Offer, answer};
#[cfg(feature = "files")]
pub(crate) use key::MAX_KEY_FILE;
pub use key::{Cure, Encoded, KeyFile, KeyFileError, PublicSource};
pub use key::{KeyError, KeyId, KeySize, ParseKeyIdError, PrivateKey, PublicKey, ServerKey};
pub(crate) use key::{PemBlocks, encode_pem};
pub use provider::{AeadKey, Agreement, Cipher, Exchange, KeyGeneration, Provider, Rsa, Signatures};
/// The trait of `rand_core` 0.10, which this library hands every random byte through: any generator of `rand` 0.10 will do.
#[doc(inline)]
pub use rand_core::CryptoRng;
pub use random::rng;
pub use secret::{SecretBytes, SecretString, SharedSecret};
#[cfg(feature = "key-formats")]
pub use sign::OpenSshFingerprint;
pub use sign::{ClientKey, RemoteSign, Sign, SignError, SignatureAlgorithm, Signing};
pub use sign::{SigningKey, SigningParts, VerifyingKey, VerifyingParts};
pub(crate) use stack::hash_secret;
pub use suite::{Aead, Group, KeyExchange, ParseSuiteError, Suite};
pub(crate) use transcript::{Transcript, TranscriptHash, hash_of};

/// `rand`'s `StdRng`, which the adapters and the command draw from, is this generator: it wipes its seed and its output in
/// every feature set, or this does not compile.
const _: () = {
    const fn wipes_itself<T: zeroize::ZeroizeOnDrop>() {}
    wipes_itself::<chacha20::ChaCha12Rng>();
};
