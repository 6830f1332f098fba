//! Opening and reading: only what is a file, never waiting for one that is none, and whole.

#[cfg(feature = "accounts")]
use super::MAX_FILE;
use super::{FileError, io_error};
use std::fs::{self, File, FileType, OpenOptions};
use std::io;
#[cfg(feature = "accounts")]
use std::io::Read;
use std::path::{Path, PathBuf};
#[cfg(feature = "accounts")]
use zeroize::Zeroizing;

/// Opens a file that is one: to open a pipe would wait for whoever writes it, and to open a device may do something.
pub(crate) fn open(path: &Path) -> Result<File, FileError> {
    open_with(path, OpenOptions::new().read(true))
}

pub(crate) fn open_with(path: &Path, options: &mut OpenOptions) -> Result<File, FileError> {
    check_is_file(path, fs::metadata(path).map_err(io_error(path))?.file_type())?;
    let file = without_waiting(options).open(path).map_err(io_error(path))?;
    // It may be another by now.
    check_is_file(path, file.metadata().map_err(io_error(path))?.file_type())?;
    Ok(file)
}

#[cfg(unix)]
fn without_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
}

#[cfg(not(unix))]
fn without_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

fn check_is_file(path: &Path, kind: FileType) -> Result<(), FileError> {
    if kind.is_file() { Ok(()) } else { Err(FileError::NotFile { path: path.to_owned(), what: name(kind) }) }
}

fn name(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    if kind.is_dir() { "a directory" } else { "something else" }
}

/// Reads a file without leaving copies of it in freed memory: the buffer is as long as the file before it is read, since
/// one that grows leaves its content where it was.
#[cfg(feature = "accounts")]
pub(crate) fn read(file: &File, path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    // Room for a few accounts, where a file system does not know the length beforehand.
    const ROOM: u64 = 16 * 1024;
    let len = file.metadata().map_err(io_error(path))?.len().clamp(ROOM, MAX_FILE);
    // One byte more, in which to see that nothing follows.
    let room = usize::try_from(len).unwrap_or(0).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(MAX_FILE.saturating_add(1)).read_to_end(&mut bytes).map_err(io_error(path))?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len <= MAX_FILE) {
        Ok(bytes)
    } else {
        Err(FileError::TooLong { path: path.to_owned() })
    }
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

/// The file that `path` names, links followed; none, if nothing is there. A link to nowhere is an error: a new file would
/// take the link's place.
pub(crate) fn resolve(path: &Path) -> io::Result<Option<PathBuf>> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(None),
        found => found.map(Some),
    }
}
