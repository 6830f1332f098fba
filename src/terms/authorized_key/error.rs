//! Why a line is not taken.

use crate::crypto::KeyError;
#[cfg(feature = "key-formats")]
use crate::crypto::KeyFileError;
use crate::terms::addresses::BadAddressPattern;

/// Why a line of `authorized_keys` is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorizedKeyError {
    /// It is blank, or a comment.
    #[error("there is no key in this line")]
    Empty,
    /// It is longer than 64 KiB.
    #[error("this line is longer than 64 KiB")]
    TooLong,
    /// An option that is not taken. Has its name.
    #[error(
        "the option {0} is not taken, only from= and expiry-time= are: take it out, if the key may be used without it"
    )]
    Option(String),
    /// An option is there twice.
    #[error("the option {0} is there twice: say all in one")]
    Twice(&'static str),
    /// An option has no value in quotes.
    #[error("the value of the option {0} must stand in double quotes, as in {0}=\"...\"")]
    Unquoted(&'static str),
    /// A part of `from=` that is no address and no pattern of addresses.
    #[error("from=: {0}")]
    From(BadAddressPattern),
    /// The value of `expiry-time=` is no time.
    #[error("expiry-time=: {0:?} is no time such as 20271231 or 202712312359Z")]
    Expiry(String),
    /// There is no key behind the options.
    #[error("there is no key in this line, such as ssh-ed25519 AAAA...")]
    NoKey,
    /// The key is no base64.
    #[error("the key is no base64, or is cut short: copy the line again, unbroken")]
    BadBase64,
    /// The line says another algorithm than its key.
    #[error("the line begins as one of another algorithm than its key's: copy the line again")]
    Mismatch,
    /// The key itself is refused.
    #[error("this key can't be used")]
    Key(#[from] KeyError),
}

impl AuthorizedKeyError {
    /// A word for logs and metrics, such as `authorized-key-option`: kebab-case, and the same in every version. That of the key's
    /// own error, where it is that.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "authorized-key-empty",
            Self::TooLong => "authorized-key-too-long",
            Self::Option(_) => "authorized-key-option",
            Self::Twice(_) => "authorized-key-option-twice",
            Self::Unquoted(_) => "authorized-key-unquoted",
            Self::From(_) => "authorized-key-from",
            Self::Expiry(_) => "authorized-key-expiry",
            Self::NoKey => "authorized-key-without-key",
            Self::BadBase64 => "authorized-key-bad-base64",
            Self::Mismatch => "authorized-key-mismatch",
            Self::Key(source) => source.code(),
        }
    }
}

/// Why a file of them is not taken.
#[cfg(feature = "key-formats")]
#[cfg_attr(docsrs, doc(cfg(feature = "key-formats")))]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorizedKeysError {
    /// One of its lines is not.
    #[error("line {line} is not taken")]
    Line {
        /// Which, counted from 1.
        line: usize,
        /// Why.
        #[source]
        source: AuthorizedKeyError,
    },
    /// It is no file of such lines, and no key file either.
    #[error(transparent)]
    File(#[from] KeyFileError),
}

#[cfg(feature = "key-formats")]
impl AuthorizedKeysError {
    /// As that of the line, or of the file.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Line { source, .. } => source.code(),
            Self::File(source) => source.code(),
        }
    }
}
