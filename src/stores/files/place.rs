//! Writing: beside the target, synced, and moved into its place.
//!
//! A temporary file is locked as long as its process lives. One that a killed process left behind is taken away when the
//! same file is written or opened the next time.

#[cfg(unix)]
use super::access::Kind;
use super::access::{SECRET, open, resolve};
use super::lock::{PATIENCE, STEP, is_past};
use super::{Existing, FileError, io_error};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
#[cfg(any(not(unix), test))]
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Instant;
use tempfile::NamedTempFile;

/// Writes a file of this mode.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32, existing: Existing) -> Result<(), FileError> {
    write_with(path, bytes, existing, |file, _| set_mode(file, mode).map_err(io_error(path)))
}

/// Writes a private key: for those who can use the one in whose place it comes, or for its owner alone.
pub(crate) fn write_private(path: &Path, bytes: &[u8], existing: Existing) -> Result<(), FileError> {
    write_with(path, bytes, existing, |file, target| match (existing, fs::metadata(target)) {
        (Existing::Replace, Ok(old)) if old.is_file() => keep(file, &old, path, SECRET),
        _ => set_mode(file, 0o600).map_err(io_error(path)),
    })
}

fn write_with(
    path: &Path,
    bytes: &[u8],
    existing: Existing,
    set_access: impl FnOnce(&File, &Path) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let target = match existing {
        Existing::Keep => None,
        Existing::Replace => resolve(path).map_err(io_error(path))?,
    };
    let target = target.as_deref().unwrap_or(path);
    clean(target);
    let file = temporary(target, path, bytes, |file| set_access(file, target))?;
    let moved = match existing {
        Existing::Replace => put(file, target, Instant::now().checked_add(PATIENCE)),
        Existing::Keep => file.persist_noclobber(target).map(drop).map_err(|error| error.error),
    };
    moved.map_err(|error| not_moved(path, error))?;
    match sync_folder(target) {
        // What has taken another's place can't be undone, and is there for all to see.
        Err(source) if existing == Existing::Keep => {
            let _ = fs::remove_file(target);
            Err(FileError::Undone { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// A file beside the target that can take its place, synced and locked. `path` is what the caller calls the target.
pub(super) fn temporary(
    target: &Path,
    path: &Path,
    bytes: &[u8],
    set_access: impl FnOnce(&File) -> Result<(), FileError>,
) -> Result<NamedTempFile, FileError> {
    // It has mode 0600 from its first moment.
    let mark = mark(target);
    let made = tempfile::Builder::new().prefix(&mark).suffix(ENDING).tempfile_in(folder(target));
    let mut file = made.map_err(io_error(path))?;
    // Where a file system takes no locks, nothing that is left behind is taken away, either.
    let _ = file.as_file().try_lock();
    file.write_all(bytes).map_err(io_error(path))?;
    set_access(file.as_file())?;
    file.as_file().sync_all().map_err(io_error(path))?;
    Ok(file)
}

/// Puts a file in another's place.
pub(super) fn put(mut file: NamedTempFile, target: &Path, deadline: Option<Instant>) -> io::Result<()> {
    loop {
        match file.persist(target) {
            Ok(_) => return Ok(()),
            Err(error) if may_be_open(target, &error.error) && !is_past(deadline) => file = error.file,
            Err(error) => return Err(error.error),
        }
        sleep(STEP);
    }
}

/// Whether a file could not be replaced as somebody had it open, as whoever reads it has for a moment. On Windows that is in the way.
fn may_be_open(target: &Path, error: &io::Error) -> bool {
    const ERROR_ACCESS_DENIED: i32 = 5;
    const ERROR_SHARING_VIOLATION: i32 = 32;
    cfg!(windows)
        && matches!(error.raw_os_error(), Some(ERROR_ACCESS_DENIED | ERROR_SHARING_VIOLATION))
        && fs::metadata(target).is_ok_and(|there| there.is_file() && !there.permissions().readonly())
}

/// Why a file could not be moved to `path`.
pub(super) fn not_moved(path: &Path, source: io::Error) -> FileError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists { path },
        io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices => FileError::MountPoint { path, source },
        _ => FileError::Io { path, source },
    }
}

const ENDING: &str = ".tmp";

/// What the names of the temporary files of one target begin with. Not with its own name, which may fill a name's length.
fn mark(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default();
    let hash = Sha256::digest(name.as_encoded_bytes());
    let hash: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!(".countersign-{hash}-")
}

/// What edits of a target lock, where they can't lock the target itself.
#[cfg(any(not(unix), test))]
pub(super) fn to_lock(target: &Path) -> PathBuf {
    folder(target).join(mark(target) + "lock")
}

/// Takes away what dead processes left behind that were about to write this file. Whatever is in the way of that is no
/// matter now.
pub(super) fn clean(target: &Path) {
    let mark = mark(target);
    let Ok(entries) = fs::read_dir(folder(target)) else { return };
    let is_ours = |name: &str| name.starts_with(&mark) && name.ends_with(ENDING);
    for entry in entries.flatten() {
        let is_left = entry.file_name().to_str().is_some_and(is_ours)
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && open(&entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if is_left {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The file system has no such thing: locks, or the sync of a directory.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let errors = [Errno::INVAL, Errno::NOLCK, Errno::NOSYS, Errno::NOTSUP, Errno::OPNOTSUPP];
        error.raw_os_error().is_some_and(|raw| errors.iter().any(|errno| errno.raw_os_error() == raw))
    }
    #[cfg(not(unix))]
    {
        error.kind() == io::ErrorKind::Unsupported
    }
}

fn folder(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A rename is only durable once its directory is. Other systems than Unix can't open one, and some file systems can't
/// sync one: they write it as they always do.
pub(super) fn sync_folder(target: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder(target))?.sync_all() {
        Err(error) if is_unsupported(&error) => Ok(()),
        synced => synced,
    }
}

/// What is so already is left alone: some file systems let nobody change it.
#[cfg(unix)]
pub(super) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if file.metadata()?.permissions().mode() & 0o7777 == mode {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
pub(super) fn set_mode(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}

/// Lets those use a file who can use the old one: a service that could read that can read this. The owner first: otherwise the
/// mode would open the file to a group that is about to change. Bits for everyone are kept where it is no secret, but for those
/// to change it.
#[cfg(unix)]
pub(super) fn keep_access(file: &File, old: &File, path: &Path, kind: Kind) -> Result<(), FileError> {
    keep(file, &old.metadata().map_err(io_error(path))?, path, kind.kept_mode())
}

#[cfg(unix)]
fn keep(file: &File, old: &fs::Metadata, path: &Path, kept_mode: u32) -> Result<(), FileError> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let new = file.metadata().map_err(io_error(path))?;
    let (uid, gid) = (old.uid(), old.gid());
    if (new.uid(), new.gid()) != (uid, gid) {
        let refused = |source| FileError::Owner { path: path.to_owned(), uid, gid, source };
        fchown(file, Some(uid), Some(gid)).map_err(refused)?;
    }
    set_mode(file, old.mode() & kept_mode).map_err(io_error(path))
}

#[cfg(not(unix))]
fn keep(_: &File, _: &fs::Metadata, _: &Path, _: u32) -> Result<(), FileError> {
    Ok(())
}
