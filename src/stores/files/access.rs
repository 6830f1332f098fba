//! Opening and reading: only what is a file, never waiting for one that is none, and whole.

use super::{FileError, io_error};
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Content of a file of secrets.
pub(crate) type Content = Zeroizing<Vec<u8>>;

/// What kind of file it is: what is asked of it, and kept of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// As long as it may be, in bytes.
    pub(crate) most: u64,
    /// Whether nobody else may read it, either; otherwise everyone may, and nobody else may change it.
    pub(crate) is_secret: bool,
}

/// What a new file in the place of a secret one gets of its mode.
pub(super) const SECRET: u32 = 0o770;

impl Kind {
    /// Refuses a file that everyone on the machine can use as they must not.
    pub(crate) fn check_mode(self, file: &File, path: &Path) -> Result<(), FileError> {
        if self.is_secret { check_mode(file, path) } else { check_not_writable(file, path) }
    }

    /// The bits of its mode that a new file in its place gets.
    #[cfg(unix)]
    pub(super) fn kept_mode(self) -> u32 {
        if self.is_secret { SECRET } else { 0o774 }
    }
}

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
pub(crate) fn read(file: &File, path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    // Room for a few accounts, where a file system does not know the length beforehand.
    const ROOM: u64 = 16 * 1024;
    let len = file.metadata().map_err(io_error(path))?.len().clamp(ROOM, most);
    // One byte more, in which to see that nothing follows.
    let room = usize::try_from(len).unwrap_or(0).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(io_error(path))?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len <= most) {
        Ok(bytes)
    } else {
        Err(FileError::TooLong { path: path.to_owned(), most })
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

#[cfg(unix)]
fn check_not_writable(file: &File, path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata().map_err(io_error(path))?.permissions().mode() & 0o7777;
    if mode & 0o002 == 0 { Ok(()) } else { Err(FileError::Writable { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn check_not_writable(_: &File, _: &Path) -> Result<(), FileError> {
    Ok(())
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
