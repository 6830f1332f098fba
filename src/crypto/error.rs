//! What a provider can fail at.

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
    /// The provider does not have the part that was asked for.
    #[error("the crypto provider does not implement this")]
    Unsupported,
    /// The provider failed for a reason of its own.
    #[error("the crypto provider failed")]
    Failed,
}
