//! Accounts in a file: served while it changes, edited without losing another's edit.

use super::{Accounts, BrokenLine};
use crate::stores::files::{self, FileError};
use crate::terms::credential::Credential;
use crate::terms::error::Reason;
use crate::terms::grant::Grant;
use crate::terms::verifier::{Attempt, Returning, Verifier};
use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::RandomState;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

/// An account file: a [`Verifier`] that notices when the file changes.
///
/// While the file can't be read, nobody is let in: the accounts read last may hold one that has been removed since. A
/// line that can't be read locks out its own account alone.
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

/// What changes when a file does: every edit of ours makes a new file. The mode is part of it, so that a file opened to
/// everyone is noticed.
type Stamp = (Option<SystemTime>, u64, u64, u32);

impl AccountFile {
    /// Opens an account file that others can't read.
    ///
    /// # Errors
    /// [`FileError`]. Broken lines are no error; see [`AccountFile::broken_lines`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        Ok(Self { path: path.to_owned(), current: RwLock::new(read(path, RandomState::new())?) })
    }

    /// Reads the file anew if it has changed. Gives whether it had.
    ///
    /// # Errors
    /// [`FileError`]; [`AccountFile::accounts`] stays as it was, and is not to be served.
    pub fn refresh(&self) -> Result<bool, FileError> {
        let now = stamp(&fs::metadata(&self.path).map_err(files::io_error(&self.path))?);
        if now == self.latest().stamp {
            return Ok(false);
        }
        let fresh = read(&self.path, self.accounts().imitation.clone())?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(true)
    }

    /// The accounts as read last.
    pub fn accounts(&self) -> Arc<Accounts> {
        self.latest().accounts
    }

    /// The lines that could not be read.
    pub fn broken_lines(&self) -> Arc<[BrokenLine]> {
        self.latest().broken
    }

    /// Edits a file in place: reads it, lets `change` work on the accounts, and writes it atomically.
    ///
    /// The file keeps its owner, its group and their permissions; a new one gets mode 0600. Where `path` is a link, its
    /// target is edited. A missing file is made, if `create` says so; broken lines and comments are kept. An error leaves
    /// the file as it was, or missing.
    ///
    /// On Unix, edits wait for each other. On other systems they may not: a file can't be told there from the one that
    /// took its place, and of two edits at once one can be lost.
    ///
    /// # Errors
    /// [`FileError`], and what `change` says.
    pub fn edit<T, E: From<FileError>>(
        path: impl AsRef<Path>,
        create: bool,
        change: impl FnOnce(&mut Accounts) -> Result<T, E>,
    ) -> Result<T, E> {
        let locked = Locked::open(path.as_ref(), create)?;
        let edited = locked.edit(change);
        if edited.is_err() {
            locked.discard();
        }
        edited
    }

    /// A copy that costs two reference counts, so that no lock is held while a password is hashed.
    fn latest(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl AccountFile {
    /// As [`Accounts::check`], after reading the file anew if it has changed.
    ///
    /// # Errors
    /// The local reason; [`Reason::NotNow`] while the file can't be read.
    pub fn check(&self, credential: Credential<'_>) -> Result<Grant, Reason> {
        let read = self.refresh();
        // Even if it can't count, so that a refusal costs what it always does.
        let verdict = self.accounts().check(credential);
        read.map_or(Err(UNREADABLE), |_| verdict)
    }

    /// As [`Accounts::current`], after reading the file anew if it has changed.
    ///
    /// # Errors
    /// As [`AccountFile::check`].
    pub fn current(&self, principal: &str) -> Result<Grant, Reason> {
        self.refresh().map_err(|_| UNREADABLE)?;
        self.accounts().current(principal)
    }
}

const UNREADABLE: Reason = Reason::NotNow("the account file can't be read");

impl Verifier for AccountFile {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self.check(attempt.credential())
    }

    fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        self.current(returning.principal())
    }
}

fn read(path: &Path, imitation: RandomState) -> Result<Current, FileError> {
    let file = File::open(path).map_err(files::io_error(path))?;
    files::check_mode(&file, path)?;
    let stamp = stamp(&file.metadata().map_err(files::io_error(path))?);
    let (mut accounts, broken) = Accounts::parse(&files::read_text(&file, path)?);
    accounts.imitation = imitation;
    Ok(Current { stamp, accounts: Arc::new(accounts), broken: broken.into() })
}

/// A file that other edits keep away from until this is dropped.
struct Locked {
    file: File,
    /// Where it is, links followed.
    path: PathBuf,
    is_new: bool,
}

impl Locked {
    /// Opens and locks the file that `path` names, even while others put new files in its place.
    fn open(path: &Path, create: bool) -> Result<Self, FileError> {
        loop {
            let found = files::resolve(path).map_err(files::io_error(path))?;
            let is_new = create && found.is_none();
            let target = found.unwrap_or_else(|| path.to_owned());
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(is_new);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            // Another edit made the file since, or took away again the one it had made.
            let overtaken = if is_new { ErrorKind::AlreadyExists } else { ErrorKind::NotFound };
            let file = match options.open(&target) {
                Err(error) if create && error.kind() == overtaken => continue,
                opened => opened.map_err(files::io_error(path))?,
            };
            file.lock().map_err(files::io_error(path))?;
            let locked = file.metadata().map_err(files::io_error(path))?;
            match fs::metadata(path) {
                Ok(named) if identity(&named) == identity(&locked) => return Ok(Self { file, path: target, is_new }),
                // Another edit replaced or removed the file while this one waited for its lock.
                _ => continue,
            }
        }
    }

    fn edit<T, E: From<FileError>>(&self, change: impl FnOnce(&mut Accounts) -> Result<T, E>) -> Result<T, E> {
        files::check_mode(&self.file, &self.path)?;
        let (mut accounts, _) = Accounts::parse(&files::read_text(&self.file, &self.path)?);
        let result = change(&mut accounts)?;
        files::replace(&self.path, accounts.to_string().as_bytes(), &self.file)?;
        Ok(result)
    }

    /// Takes a file away again that was made for an edit and not written.
    fn discard(&self) {
        let is_ours = |named: Metadata| {
            named.len() == 0 && self.file.metadata().is_ok_and(|locked| identity(&locked) == identity(&named))
        };
        if self.is_new && fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            // The edit's own error is what its caller should hear of.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.modified().ok(), metadata.len(), identity(metadata), mode(metadata))
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> u64 {
    0
}

#[cfg(unix)]
fn mode(metadata: &Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::mode(metadata)
}

#[cfg(not(unix))]
fn mode(_: &Metadata) -> u32 {
    0
}
