//! Keys on disk: read with care, written atomically.
//!
//! A file is written beside its target, synced, and moved into place, so that a crash leaves the old file or the new
//! one. Secret files get mode 0600; one that everyone can read is refused.

mod shell;

pub use super::key_files::{read_key_file, read_private_key, read_public_keys, read_secret};
pub use shell::shell_quoted;

use crate::crypto::{KeyFileError, PrivateKey, PublicKey};
use std::fs::{self, File};
#[cfg(feature = "accounts")]
use std::io::Read;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
#[cfg(feature = "accounts")]
use zeroize::{Zeroize, Zeroizing};

/// No account file is anywhere near this long; `/dev/zero` is.
#[cfg(feature = "accounts")]
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Room for a few accounts, where its length is not known beforehand: a pipe has none.
#[cfg(feature = "accounts")]
const MIN_BUFFER: u64 = 16 * 1024;

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
    /// A secret file that everybody on the machine can read or write.
    #[error("{}: mode {mode:04o} opens this secret file to everyone", path.display())]
    Exposed {
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
    /// The file is too long or not UTF-8: not a text file of ours.
    #[error("{}: not a text file", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Nothing can be read from what is there.
    #[error("{}: this is {what}, not a file", path.display())]
    NotFile {
        /// What was to be read.
        path: PathBuf,
        /// What it is.
        what: &'static str,
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
}

/// What to do where the file is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave it, and fail with [`FileError::Exists`].
    Keep,
    /// Replace it; where it is a link, its target.
    Replace,
}

/// Writes a private key in PEM with mode 0600.
///
/// # Errors
/// [`FileError`]; the file is then as it was before.
pub fn write_private_key(path: impl AsRef<Path>, key: &PrivateKey, existing: Existing) -> Result<(), FileError> {
    write(path.as_ref(), key.to_pem().as_bytes(), 0o600, existing)
}

/// Writes a public key in PEM with mode 0644.
///
/// # Errors
/// [`FileError`]; the file is then as it was before.
pub fn write_public_key(path: impl AsRef<Path>, key: &PublicKey, existing: Existing) -> Result<(), FileError> {
    write(path.as_ref(), key.to_pem().as_bytes(), 0o644, existing)
}

/// Refuses a secret file that everyone on the machine can read or write. Group access is left to the operator: it is how
/// a service account is given a key.
#[cfg(unix)]
pub(crate) fn check_mode(file: &File, path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata().map_err(io_error(path))?.permissions().mode() & 0o7777;
    if mode & 0o007 == 0 { Ok(()) } else { Err(FileError::Exposed { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
pub(crate) fn check_mode(_: &File, _: &Path) -> Result<(), FileError> {
    Ok(())
}

/// Reads a text file without leaving copies of it in freed memory: the buffer is as long as the file before it is read,
/// since one that grows leaves its content where it was, and it becomes the text itself.
#[cfg(feature = "accounts")]
pub(crate) fn read_text(file: &File, path: &Path) -> Result<Zeroizing<String>, FileError> {
    let not_text = || FileError::NotText { path: path.to_owned() };
    let len = file.metadata().map_err(io_error(path))?.len().clamp(MIN_BUFFER, MAX_FILE);
    // One byte more, in which to see that nothing follows.
    let room = usize::try_from(len).unwrap_or(0).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(io_error(path))?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len < MAX_FILE) {
        String::from_utf8(core::mem::take(&mut *bytes)).map(Zeroizing::new).map_err(|error| {
            error.into_bytes().zeroize();
            not_text()
        })
    } else {
        Err(not_text())
    }
}

/// The file that `path` names, links followed; none, if nothing is there. A link to nowhere is an error: a new file would
/// take the link's place.
pub(crate) fn resolve(path: &Path) -> io::Result<Option<PathBuf>> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(None),
        found => found.map(Some),
    }
}

/// Writes a file of this mode.
fn write(path: &Path, bytes: &[u8], mode: u32, existing: Existing) -> Result<(), FileError> {
    let target = match existing {
        Existing::Keep => None,
        Existing::Replace => resolve(path).map_err(io_error(path))?,
    };
    place(target.as_deref().unwrap_or(path), bytes, existing, |file| set_mode(file, mode).map_err(io_error(path)))
}

/// Writes a file in the place of `old`, which is at `path`, for the same owner and group: a service that could read the
/// old one can read the new one.
#[cfg(feature = "accounts")]
pub(crate) fn replace(path: &Path, bytes: &[u8], old: &File) -> Result<(), FileError> {
    place(path, bytes, Existing::Replace, |file| keep_access(file, old, path))
}

/// Writes beside the target, syncs, moves into place, and syncs the directory.
fn place(
    path: &Path,
    bytes: &[u8],
    existing: Existing,
    set_access: impl FnOnce(&File) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // A temporary file has mode 0600 from its first moment.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io_error(path))?;
    file.write_all(bytes).map_err(io_error(path))?;
    set_access(file.as_file())?;
    file.as_file().sync_all().map_err(io_error(path))?;
    let moved = match existing {
        Existing::Replace => file.persist(path),
        Existing::Keep => file.persist_noclobber(path),
    };
    if let Err(error) = moved {
        return Err(match error.error.kind() {
            io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_owned() },
            _ => FileError::Io { path: path.to_owned(), source: error.error },
        });
    }
    sync_folder(folder).map_err(io_error(path))
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}

/// The owner first: otherwise the mode would open the file to a group that is about to change. Bits for everyone are never
/// kept.
#[cfg(all(unix, feature = "accounts"))]
fn keep_access(file: &File, old: &File, path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let (new, old) = (file.metadata().map_err(io_error(path))?, old.metadata().map_err(io_error(path))?);
    let (uid, gid) = (old.uid(), old.gid());
    if (new.uid(), new.gid()) != (uid, gid) {
        let refused = |source| FileError::Owner { path: path.to_owned(), uid, gid, source };
        fchown(file, Some(uid), Some(gid)).map_err(refused)?;
    }
    set_mode(file, old.mode() & 0o770).map_err(io_error(path))
}

#[cfg(all(not(unix), feature = "accounts"))]
fn keep_access(_: &File, _: &File, _: &Path) -> Result<(), FileError> {
    Ok(())
}

/// A rename is only durable once its directory is. Other systems than Unix can't open one.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { path, source }
}
