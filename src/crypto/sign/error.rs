//! Why there is no signature.

use crate::crypto::CryptoError;

/// Why there is no signature, or none that may be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The provider failed.
    #[error("no signature could be made")]
    Crypto(#[from] CryptoError),
    /// The private half is not here, or answers later.
    #[error("the private half of this key is not here")]
    NotHere,
    /// No agent is named: there is no `SSH_AUTH_SOCK` in the environment.
    #[error("there is no ssh-agent: SSH_AUTH_SOCK is not set in the environment")]
    NoAgent,
    /// The signer panicked.
    #[error("whoever signs with this key panicked")]
    Panicked,
    /// The signature is not one of this key over this message.
    #[error(
        "whoever signs with this key gave a signature that does not verify: of another key, of another message, or damaged"
    )]
    Wrong,
    /// The signer said no: somebody did not confirm, the key is locked, or it does not have it.
    #[error("whoever holds this key refused to sign")]
    Refused,
    /// The signer can't make signatures of the kind that is needed.
    #[error("whoever holds this key can't make {0} signatures")]
    Unsupported(super::SignatureAlgorithm),
    /// The signer did not answer in time.
    #[error("whoever holds this key did not answer in time")]
    TimedOut,
    /// The signer is not there, or went away.
    #[error("whoever holds this key is not there, or went away")]
    Gone,
    /// The signer answered with something that is no answer.
    #[error("whoever holds this key answered with something that is no answer")]
    Garbled,
}

impl SignError {
    /// A word for logs and metrics, such as `sign-refused`: kebab-case, and the same in every version. That of the provider's own
    /// error, where it is that.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Crypto(source) => source.code(),
            Self::NotHere => "sign-not-here",
            Self::NoAgent => "sign-no-agent",
            Self::Panicked => "sign-panicked",
            Self::Wrong => "sign-wrong",
            Self::Refused => "sign-refused",
            Self::Unsupported(_) => "sign-unsupported",
            Self::TimedOut => "sign-timed-out",
            Self::Gone => "sign-gone",
            Self::Garbled => "sign-garbled",
        }
    }
}
