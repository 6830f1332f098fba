//! What is remembered from one run to the next, and kept from others.

use countersign::files::{self, FileError};
use std::env;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// `countersign` in the user's state directory; `None` where the environment names none.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("countersign"))
}

/// Whether this process can put another file in the place of one, for whoever can use that: as an edit does. Leaves nothing behind.
pub(crate) fn check_replaceable(path: &Path) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let old = File::options().read(true).write(true).open(&path)?;
    let new = tempfile::tempfile_in(folder_of(&path))?;
    keep_owner(&new, &old)
}

#[cfg(unix)]
fn keep_owner(new: &File, old: &File) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let (new_meta, old_meta) = (new.metadata()?, old.metadata()?);
    let (uid, gid) = (old_meta.uid(), old_meta.gid());
    if (new_meta.uid(), new_meta.gid()) == (uid, gid) { Ok(()) } else { fchown(new, Some(uid), Some(gid)) }
}

#[cfg(not(unix))]
fn keep_owner(_: &File, _: &File) -> io::Result<()> {
    Ok(())
}

/// Makes a directory, and those above it, for its owner alone.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

/// Reads a secret file of at most so many bytes; `None` where there is none. One that others could read, or have written to, is not
/// trusted with anything.
pub(crate) fn read_private(path: &Path, most: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    // Before it is opened: that would wait for ever at a pipe.
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Err(bad("it is no file".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if let Some(mode) = exposed(&meta) {
        return Err(bad(format!("others can use it (mode {mode:04o}, and it should be 0600)")));
    }
    if meta.len() > most {
        return Err(bad("it is too long".to_owned()));
    }
    // Room for all of it from the start: growing would leave copies of the secrets behind.
    let room = usize::try_from(meta.len()).unwrap_or_default().saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(meta.len()).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Puts a new file, mode 0600, in the place of the old one. The error does not name it.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    files::write_secret(path, bytes).map_err(|error| match error {
        FileError::Io { source, .. } => source,
        error => io::Error::other(error),
    })
}

/// Whatever was put into a directory, or taken out of it, stays so, also if the power goes off. Some file systems have no such thing: they write
/// it as they always do.
#[cfg(unix)]
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    use rustix::io::Errno;
    match File::open(folder)?.sync_all() {
        Err(error)
            if Errno::from_io_error(&error).is_some_and(|errno| [Errno::INVAL, Errno::NOTSUP].contains(&errno)) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

#[cfg(not(unix))]
pub(crate) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// The directory that a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The mode of a file that anyone but its owner can read or write.
#[cfg(unix)]
fn exposed(meta: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    Some(meta.permissions().mode() & 0o7777).filter(|mode| mode & 0o077 != 0)
}

#[cfg(not(unix))]
fn exposed(_: &fs::Metadata) -> Option<u32> {
    None
}
