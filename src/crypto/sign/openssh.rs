//! Public keys in the way of OpenSSH (RFC 4253, section 6.6; RFC 5656; RFC 8709).

use super::{VerifyingKey, VerifyingParts};
use crate::crypto::key::{is_openssh_certificate, of_ssh_rsa};
use crate::crypto::{KeyError, KeyId, ParseKeyIdError};
use core::fmt;
use core::str::FromStr;
use sha2::{Digest, Sha256};
use ssh_key::public::{EcdsaPublicKey, Ed25519PublicKey, KeyData, RsaPublicKey};
use ssh_key::{Mpint, PublicKey};

/// What OpenSSH calls a key by: SHA-256 of another encoding than that of a [`KeyId`], so that the two never say the same. It prints and parses alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpenSshFingerprint(KeyId);

impl fmt::Display for OpenSshFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for OpenSshFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for OpenSshFingerprint {
    type Err = ParseKeyIdError;

    fn from_str(text: &str) -> Result<Self, ParseKeyIdError> {
        text.parse().map(Self)
    }
}

impl VerifyingKey {
    /// Reads what stands in base64 in a line of OpenSSH's.
    pub(crate) fn from_openssh_blob(blob: &[u8]) -> Result<Self, KeyError> {
        // The crate would call it by the algorithm of the key that it certifies.
        if algorithm(blob).is_some_and(is_openssh_certificate) {
            return Err(KeyError::OpenSshCertificate);
        }
        // Where the crate does not know the algorithm, that is no error, but a key of another kind.
        match PublicKey::from_bytes(blob).map_err(|_| KeyError::NotDer)?.key_data() {
            KeyData::Ed25519(key) => Self::from_ed25519(&key.0),
            KeyData::Ecdsa(key @ EcdsaPublicKey::NistP256(_)) => {
                Self::from_p256(key.as_sec1_bytes().try_into().map_err(|_| KeyError::Point)?)
            }
            KeyData::Rsa(key) => of_ssh_rsa(key).map(Self::from),
            other => Err(KeyError::NotSigning(other.algorithm().to_string())),
        }
    }

    /// The fingerprint that `ssh-keygen -l` and `ssh-add -l` print, SHA-256 of what stands in base64 in a line of OpenSSH's: for
    /// finding a key that somebody names by it. Everything here goes by [`VerifyingKey::id`], which is another.
    #[cfg_attr(docsrs, doc(cfg(feature = "key-formats")))]
    pub fn openssh_fingerprint(&self) -> OpenSshFingerprint {
        OpenSshFingerprint(KeyId::from_bytes(Sha256::digest(self.openssh_blob()).into()))
    }

    /// What stands in base64 in a line of OpenSSH's.
    pub(crate) fn openssh_blob(&self) -> Vec<u8> {
        self.to_ssh("").and_then(|key| key.to_bytes().ok()).unwrap_or_default()
    }

    /// A line as in `id_ed25519.pub` and `authorized_keys`, without a line feed: `ssh-ed25519`, `ecdsa-sha2-nistp256` or
    /// `ssh-rsa`, base64, comment. Control characters are left out of the comment.
    #[cfg_attr(docsrs, doc(cfg(feature = "key-formats")))]
    pub fn to_openssh(&self, comment: &str) -> String {
        let comment: String = comment.chars().filter(|c| !c.is_control()).collect();
        self.to_ssh(comment.trim()).and_then(|key| key.to_openssh().ok()).unwrap_or_default()
    }

    /// There is none only where a key had passed its own rules and not those of that crate, which are laxer.
    fn to_ssh(&self, comment: &str) -> Option<PublicKey> {
        let data = match self.parts() {
            VerifyingParts::Ed25519(point) => KeyData::Ed25519(Ed25519PublicKey(*point)),
            VerifyingParts::EcdsaP256(point) => KeyData::Ecdsa(EcdsaPublicKey::from_sec1_bytes(point).ok()?),
            VerifyingParts::Rsa(key) => {
                let number = Mpint::from_positive_bytes;
                let (n, e) = (number(key.modulus()), number(&key.exponent().to_be_bytes()));
                KeyData::Rsa(RsaPublicKey::new(e, n).ok()?)
            }
        };
        Some(PublicKey::new(data, comment))
    }
}

/// A string with its length in front of it (RFC 4251, section 5).
fn algorithm(blob: &[u8]) -> Option<&[u8]> {
    let (len, rest) = blob.split_first_chunk::<4>()?;
    rest.get(..usize::try_from(u32::from_be_bytes(*len)).ok()?)
}
