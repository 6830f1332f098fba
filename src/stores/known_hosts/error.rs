//! Why known hosts can't be read or changed.

use super::line::BrokenLine;
use super::name::MAX_NAME;
use crate::crypto::KeyId;
use crate::stores::files::FileError;
use crate::terms::error::codes;
use std::path::PathBuf;

/// Why a known-hosts file could not be used or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostsError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line that can't be read may be one that revokes a key. Nothing in the file is trusted while it is there.
    #[error("{}: {broken}; it may be meant to revoke a key, so nothing in this file counts until it is mended or removed", path.display())]
    BrokenRevocation {
        /// The file.
        path: PathBuf,
        /// The line.
        broken: BrokenLine,
    },
    /// The name can't stand in a known-hosts file.
    #[error(
        "not a server's name: 1 to {MAX_NAME} printable ASCII characters without blanks and none of ! \" # ' * , = ? @ \\ |; write an \
         international name in its xn-- form"
    )]
    BadName,
    /// No key is listed for this name.
    #[error("no key is listed for {0}; what is revoked stays so until it is removed by its fingerprint")]
    NoSuchName(String),
    /// This key is not listed for this name.
    #[error("{key} is not listed for {name}")]
    NoSuchKey {
        /// The name.
        name: String,
        /// The key.
        key: KeyId,
    },
    /// The key is revoked.
    #[error("{key} is revoked for {name} in line {line}; remove that first if it is to be trusted again")]
    Revoked {
        /// The name.
        name: String,
        /// The key.
        key: KeyId,
        /// The number of the line that says so; the first is 1.
        line: usize,
    },
    /// The operating system gave no randomness to hash a name with.
    #[error("the operating system gives no randomness")]
    Random,
}

codes!(HostsError {
    Self::File(error) => error.code(),
    Self::BrokenRevocation { .. } => "broken-revocation",
    Self::BadName => "bad-name",
    Self::NoSuchName(_) => "unknown-server",
    Self::NoSuchKey { .. } => "unknown-key",
    Self::Revoked { .. } => "key-revoked",
    Self::Random => "no-randomness",
});
