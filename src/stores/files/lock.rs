//! Keeping edits of one file apart.

use super::place::is_unsupported;
use super::{FileError, io_error};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long an edit waits for another to end, and goes on when others are in its way.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// How long an edit watches what becomes of it. `sed -i` takes some milliseconds from its reading to its writing.
pub(super) const WATCH: Duration = Duration::from_millis(100);

/// Between two looks.
pub(super) const STEP: Duration = Duration::from_millis(5);

pub(super) fn is_past(deadline: Option<Instant>) -> bool {
    deadline.is_none_or(|deadline| Instant::now() >= deadline)
}

/// Waits for other edits. Where the file system takes no locks, the comparison is all there is.
pub(super) fn lock(file: &File, path: &Path, deadline: Option<Instant>) -> Result<(), FileError> {
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) if is_unsupported(&error) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(io_error(path)(error)),
            Err(TryLockError::WouldBlock) if is_past(deadline) => {
                return Err(FileError::Locked { path: path.to_owned() });
            }
            Err(TryLockError::WouldBlock) => sleep(STEP),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_another_edit_holds_is_not_edited_and_is_waited_for_as_long_as_is_documented() {
        let held = tempfile::NamedTempFile::new().unwrap();
        held.as_file().lock().unwrap();
        let other = File::open(held.path()).unwrap();
        let lock = || lock(&other, held.path(), Some(Instant::now()));
        assert!(matches!(lock(), Err(FileError::Locked { path }) if path == held.path()));
        held.as_file().unlock().unwrap();
        assert!(lock().is_ok());
        // docs/platforms.md
        assert_eq!(PATIENCE, Duration::from_secs(20));
    }
}
