//! Keys on disk: read with care, written atomically.
//!
//! A file is written beside its target, synced, and moved into place, so that a crash leaves the old file or the new
//! one. Secret files get mode 0600; one that everyone can read is refused.

pub(crate) mod access;
mod difference;
#[cfg(unix)]
pub(crate) mod edit;
#[cfg(any(not(unix), test))]
pub(crate) mod edit_elsewhere;
mod lock;
pub(super) mod place;
mod shell;
pub(crate) mod stamp;
pub(crate) mod text;

#[cfg(not(unix))]
pub(crate) use edit_elsewhere as edit;

#[cfg(feature = "accounts")]
pub use super::accounts::file::edit_accounts;
#[cfg(feature = "x509")]
pub use super::certificate_files::{
    read_certificate_chain, read_certificates, read_pinned_certificate, read_roots, write_certificate,
};
#[cfg(feature = "key-formats")]
pub use super::key_files::read_authorized_keys;
pub use super::key_files::{read_key_file, read_private_key, read_public_keys, read_secret};
pub use super::key_files::{read_signing_key, read_verifying_keys};
pub use shell::shell_quoted;

#[cfg(feature = "x509")]
use crate::crypto::CertificateFileError;
use crate::crypto::{KeyFileError, PrivateKey, PublicKey};
#[cfg(feature = "key-formats")]
use crate::terms::authorized_key::AuthorizedKeysError;
use crate::terms::error::codes;
use std::io;
use std::path::{Path, PathBuf};

/// The longest account file that is read, in bytes: 64 MiB. None is anywhere near; `/dev/zero` is.
pub const MAX_FILE: u64 = 64 * 1024 * 1024;

/// The longest known-hosts file that is read and written, in bytes: 1 MiB, which is room for some two thousand servers.
pub const MAX_KNOWN_HOSTS: u64 = 1024 * 1024;

/// Why a file could not be used. Every variant names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The operating system refused.
    #[error("{}: the operating system refused", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A directory, a pipe or a device, where a file is needed.
    #[error("{}: this is {what}, not a file", path.display())]
    NotFile {
        /// What was to be read.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The folder that a file was to be made in is missing.
    #[error("{}: the folder that it was to be made in is missing; make that first", path.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is mounted by itself.
    #[error(
        "{}: this file is a mount point, as `docker run -v users:/users` makes one of a single file, and can't be replaced, \
         only read; mount the folder that it is in, or make the change where the file comes from",
        path.display()
    )]
    MountPoint {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another process has held the file's lock for 20 seconds.
    #[error("{}: another process is changing this file and does not end; look for one that is stopped", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// Others change the file faster than it can be read or changed.
    #[error("{}: this file changes all the time; nothing was done, try again when it has come to rest", path.display())]
    Unsettled {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be read in 10 seconds.
    #[error("{}: the file system does not answer; see whether what it is on is still there", path.display())]
    Late {
        /// The file.
        path: PathBuf,
    },
    /// The change was made, the operating system could not write it down for good, and it was taken back.
    #[error("{}: the change could not be written to the disk and was undone", path.display())]
    Undone {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A secret file that everybody on the machine can read or write.
    #[error("{}: mode {mode:04o} opens this secret file to everyone", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file that decides what is trusted, and that everybody on the machine can change.
    #[error("{}: mode {mode:04o} lets everyone change what this file says", path.display())]
    Writable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// What was to take the file's place can't be given to the file's owner and group.
    #[error("{path}: can't keep its owner and group {uid}:{gid}; run this as root", path = path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is there already and was to be left alone.
    #[error("{}: the file exists and was left as it is", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file is longer than its kind may be: 64 MiB for accounts, 1 MiB for known hosts.
    #[error("{}: longer than {} MiB, which is as much as it may have", path.display(), most >> 20)]
    TooLong {
        /// The file.
        path: PathBuf,
        /// As long as it may be, in bytes.
        most: u64,
    },
    /// A pipe or a device from which nothing came in time.
    #[error("{}: nothing came from it in time; is anybody writing to this pipe?", path.display())]
    Silent {
        /// The pipe.
        path: PathBuf,
    },
    /// The file holds no acceptable key.
    #[error("{}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyFileError,
    },
    /// The file has a line of `authorized_keys` that is not taken.
    #[cfg(feature = "key-formats")]
    #[error("{}", path.display())]
    AuthorizedKeys {
        /// The file.
        path: PathBuf,
        /// Which line, and why.
        source: AuthorizedKeysError,
    },
    /// The file does not hold the certificates that are needed.
    #[cfg(feature = "x509")]
    #[error("{}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CertificateFileError,
    },
}

codes!(FileError {
    Self::Io { .. } => "file-io",
    Self::NotFile { .. } => "not-a-file",
    Self::NoFolder { .. } => "no-folder",
    Self::MountPoint { .. } => "file-is-mount-point",
    Self::Locked { .. } => "file-locked",
    Self::Unsettled { .. } => "file-unsettled",
    Self::Late { .. } => "file-late",
    Self::Undone { .. } => "file-undone",
    Self::Exposed { .. } => "file-exposed",
    Self::Writable { .. } => "file-writable",
    Self::Owner { .. } => "file-owner",
    Self::Exists { .. } => "file-exists",
    Self::TooLong { .. } => "file-too-long",
    Self::Silent { .. } => "file-silent",
    Self::Key { source, .. } => source.code(),
    #[cfg(feature = "key-formats")]
    Self::AuthorizedKeys { source, .. } => source.code(),
    #[cfg(feature = "x509")]
    Self::Certificates { source, .. } => source.code(),
});

impl FileError {
    /// Whether the file is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// What to do where there is no file to edit.
#[cfg(feature = "accounts")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// Make one.
    Make,
    /// Fail.
    Fail,
}

/// What to do where the file is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Existing {
    /// Leave it, and fail with [`FileError::Exists`].
    Keep,
    /// Replace it; where it is a link, its target.
    Replace,
}

/// Writes a private key in PEM with mode 0600. One that takes another's place is for those who could use that: it keeps the owner, the
/// group and their permissions.
///
/// # Errors
/// [`FileError`]; the file is then as it was before.
pub fn write_private_key(path: impl AsRef<Path>, key: &PrivateKey, existing: Existing) -> Result<(), FileError> {
    place::write_private(path.as_ref(), key.to_pem().as_bytes(), existing)
}

/// Writes a public key in PEM with mode 0644.
///
/// # Errors
/// [`FileError`]; the file is then as it was before.
pub fn write_public_key(path: impl AsRef<Path>, key: &PublicKey, existing: Existing) -> Result<(), FileError> {
    place::write(path.as_ref(), key.to_pem().as_bytes(), 0o644, existing)
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readers {
    /// Its owner: mode 0600. What takes another file's place is for those who could use that, as with [`write_private_key`].
    Owner,
    /// Everybody: mode 0644.
    All,
}

/// Writes a key, or something else, that is in PEM already.
///
/// # Errors
/// [`FileError`]; the file is then as it was before.
pub fn write_pem(path: impl AsRef<Path>, pem: &[u8], readers: Readers, existing: Existing) -> Result<(), FileError> {
    match readers {
        Readers::Owner => place::write_private(path.as_ref(), pem, existing),
        Readers::All => place::write(path.as_ref(), pem, 0o644, existing),
    }
}

/// Writes a file of secrets, with mode 0600, in the place of one that may be there.
///
/// # Errors
/// [`FileError`]; the file is then as it was before.
pub fn write_secret(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), FileError> {
    place::write(path.as_ref(), bytes, 0o600, Existing::Replace)
}

pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { path, source }
}
