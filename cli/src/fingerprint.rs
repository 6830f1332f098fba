//! A client's key as people name it: by its fingerprint, ours or OpenSSH's.

use core::fmt;
use core::str::FromStr;
use countersign::crypto::{OpenSshFingerprint, ParseKeyIdError};
use countersign::{KeyId, VerifyingKey};

/// `SHA256:...`, which of the two it is shows when there is a key to compare it with.
#[derive(Clone, Copy)]
pub(crate) struct Fingerprint {
    ours: KeyId,
    openssh: OpenSshFingerprint,
}

impl Fingerprint {
    pub(crate) fn names(&self, key: &VerifyingKey) -> bool {
        key.id() == self.ours || key.openssh_fingerprint() == self.openssh
    }
}

impl FromStr for Fingerprint {
    type Err = ParseKeyIdError;

    fn from_str(text: &str) -> Result<Self, ParseKeyIdError> {
        Ok(Self { ours: text.parse()?, openssh: text.parse()? })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.ours, f)
    }
}
