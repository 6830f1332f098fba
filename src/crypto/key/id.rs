//! Key ids, and how they print: as fingerprints.

use crate::limits;
use base64ct::{Base64Unpadded, Encoding};
use core::fmt;
use core::str::FromStr;

/// The name of a server key: SHA-256 of its SubjectPublicKeyInfo in DER.
///
/// Prints and parses as a fingerprint, in the way of OpenSSH: `SHA256:` and unpadded base64, 50 characters.
///
/// ```
/// use countersign::KeyId;
/// let printed = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
/// let id: KeyId = printed.parse()?;
/// assert_eq!(id.to_string(), printed);
/// # Ok::<(), countersign::crypto::ParseKeyIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; limits::KEY_ID]);

impl KeyId {
    /// The key id with these bytes.
    pub const fn from_bytes(bytes: [u8; limits::KEY_ID]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; limits::KEY_ID] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", Base64Unpadded::encode_string(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = ParseKeyIdError;

    fn from_str(text: &str) -> Result<Self, ParseKeyIdError> {
        let encoded = text.strip_prefix("SHA256:").ok_or(ParseKeyIdError)?;
        let mut bytes = [0; limits::KEY_ID];
        match Base64Unpadded::decode(encoded, &mut bytes) {
            Ok(decoded) if decoded.len() == limits::KEY_ID => Ok(Self(bytes)),
            _ => Err(ParseKeyIdError),
        }
    }
}

/// Text that is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a fingerprint: expected SHA256: and 43 characters of unpadded base64")]
pub struct ParseKeyIdError;

impl ParseKeyIdError {
    /// A word for logs and metrics: kebab-case, and the same in every version.
    pub const fn code(&self) -> &'static str {
        match self {
            Self => "not-a-fingerprint",
        }
    }
}
