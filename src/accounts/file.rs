//! Accounts in a file: served while it changes, edited without losing another's edit.

use super::{Accounts, BrokenLine};
use crate::credential::Credential;
use crate::error::Reason;
use crate::files::{self, Existing, FileError};
use crate::grant::Grant;
use crate::verifier::Verifier;
use std::fs::{self, File, Metadata, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

/// An account file: a [`Verifier`] that notices when the file changes.
///
/// If the changed file can't be read, the accounts read last go on being served.
#[derive(Debug)]
pub struct AccountFile {
    path: PathBuf,
    current: RwLock<Current>,
}

#[derive(Clone, Debug)]
struct Current {
    stamp: Stamp,
    accounts: Arc<Accounts>,
    broken: Arc<[BrokenLine]>,
}

/// What changes when a file does: every edit of ours makes a new file.
type Stamp = (Option<SystemTime>, u64, u64);

impl AccountFile {
    /// Opens an account file that others can't read.
    ///
    /// # Errors
    /// [`FileError`]. Broken lines are no error; see [`AccountFile::broken_lines`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        Ok(Self { path: path.to_owned(), current: RwLock::new(read(path)?) })
    }

    /// Reads the file anew if it has changed. Gives whether it had.
    ///
    /// # Errors
    /// [`FileError`]; the accounts read last stay.
    pub fn refresh(&self) -> Result<bool, FileError> {
        let now = stamp(&fs::metadata(&self.path).map_err(files::io_error(&self.path))?);
        if now == self.current().stamp {
            return Ok(false);
        }
        let fresh = read(&self.path)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(true)
    }

    /// The accounts as read last.
    pub fn accounts(&self) -> Arc<Accounts> {
        self.current().accounts
    }

    /// The lines that could not be read.
    pub fn broken_lines(&self) -> Arc<[BrokenLine]> {
        self.current().broken
    }

    /// Edits a file in place: reads it, lets `change` work on the accounts, and writes it atomically with mode 0600.
    ///
    /// Edits wait for each other. A missing file is made, if `create` says so; broken lines and comments are kept. An
    /// error from `change` leaves the file as it was.
    ///
    /// # Errors
    /// [`FileError`], and what `change` says.
    pub fn edit<T, E: From<FileError>>(
        path: impl AsRef<Path>,
        create: bool,
        change: impl FnOnce(&mut Accounts) -> Result<T, E>,
    ) -> Result<T, E> {
        let path = path.as_ref();
        let file = lock(path, create)?;
        files::check_mode(&file, path)?;
        let (mut accounts, _) = Accounts::parse(&files::read_text(&file, path)?);
        let result = change(&mut accounts)?;
        files::write(path, accounts.to_string().as_bytes(), 0o600, Existing::Replace)?;
        Ok(result)
    }

    /// A copy that costs two reference counts, so that no lock is held while a password is hashed.
    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Verifier for AccountFile {
    fn verify(&self, credential: Credential<'_>) -> Result<Grant, Reason> {
        // A file that can't be read right now is no reason to lock everyone out.
        let _ = self.refresh();
        self.accounts().verify(credential)
    }
}

fn read(path: &Path) -> Result<Current, FileError> {
    let file = File::open(path).map_err(files::io_error(path))?;
    files::check_mode(&file, path)?;
    let stamp = stamp(&file.metadata().map_err(files::io_error(path))?);
    let (accounts, broken) = Accounts::parse(&files::read_text(&file, path)?);
    Ok(Current { stamp, accounts: Arc::new(accounts), broken: broken.into() })
}

/// Opens and locks the file that `path` names, even while others put new files in its place.
fn lock(path: &Path, create: bool) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    loop {
        let file = options.open(path).map_err(files::io_error(path))?;
        file.lock().map_err(files::io_error(path))?;
        let locked = file.metadata().map_err(files::io_error(path))?;
        match fs::metadata(path) {
            Ok(named) if identity(&named) == identity(&locked) => return Ok(file),
            // Another edit replaced or removed the file while this one waited for its lock.
            _ => continue,
        }
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.modified().ok(), metadata.len(), identity(metadata))
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> u64 {
    0
}
