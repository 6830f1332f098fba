//! Changing a file where the system is no Unix: Windows lets nobody read what is locked, and replaces nothing that is open.
//!
//! So what edits lock is an empty file beside it, which stays there, and the file itself is open only while it is read. An
//! editor, which takes no lock, is noticed until the moment before the new file takes the old one's place; and after that, if it
//! undoes the change in the next tenth of a second. What it writes between those two is lost.

use super::access::{Content, Kind, open, resolve};
use super::difference::Difference;
use super::lock::{PATIENCE, STEP, WATCH, is_past, lock};
use super::place::{clean, not_moved, put, temporary, to_lock};
use super::stamp::read_whole;
use super::{FileError, io_error};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;
use std::thread::sleep;
use std::time::Instant;

/// Changes a file: `change` makes new content of the old, and gives a result. It is called again where somebody else
/// changed the file meanwhile; what it gave last is what counts.
///
/// Where `path` is a link, its target is changed. A missing file is made, if `create` says so. An error leaves the file as
/// it was, or missing.
pub(crate) fn edit<T, E: From<FileError>>(
    path: &Path,
    kind: Kind,
    create: bool,
    mut change: impl FnMut(&[u8]) -> Result<(Content, T), E>,
) -> Result<T, E> {
    let deadline = Instant::now().checked_add(PATIENCE);
    let target = match resolve(path).map_err(io_error(path))? {
        Some(target) => target,
        None if create => path.to_owned(),
        None => return Err(io_error(path)(ErrorKind::NotFound.into()).into()),
    };
    let _lock = lock_beside(&target, path, deadline)?;
    clean(&target);
    let read = || match open(&target) {
        Err(FileError::Io { source, .. }) if create && source.kind() == ErrorKind::NotFound => Ok(None),
        file => {
            let mut file = file?;
            kind.check_mode(&file, path)?;
            Ok(Some(read_whole(&mut file, path, kind.most)?.0))
        }
    };
    let mut made: Option<(Difference, T)> = None;
    loop {
        let old = read()?;
        match made.take() {
            // What was changed before is in what others made of the file.
            Some((difference, result)) if difference.is_in(bytes(&old)) => return Ok(result),
            _ => {}
        }
        match change(bytes(&old)) {
            Ok((new, result)) if old.as_ref() == Some(&new) => return Ok(result),
            Ok((new, result)) => {
                let temporary = temporary(&target, path, &new, |_| Ok(()))?;
                // As late as can be.
                if read()? == old {
                    put(temporary, &target, deadline).map_err(|error| not_moved(path, error))?;
                    // An editor that had read the old file may be about to write.
                    sleep(WATCH);
                    if read().is_ok_and(|there| there.as_ref() != Some(&new)) {
                        made = Some((Difference::between(bytes(&old), &new), result));
                    } else {
                        return Ok(result);
                    }
                }
            }
            Err(error) => {
                // It may be half of what an editor writes in place.
                sleep(STEP.saturating_mul(4));
                if read()? == old {
                    return Err(error);
                }
            }
        }
        if is_past(deadline) {
            return Err(FileError::Unsettled { path: path.to_owned() }.into());
        }
    }
}

/// A file that is not there yet is empty.
fn bytes(content: &Option<Content>) -> &[u8] {
    content.as_ref().map_or(&[], |content| content.as_slice())
}

/// Takes away what a killed process has left behind.
pub(crate) fn clean_up(path: &Path) {
    if let Ok(Some(target)) = resolve(path) {
        clean(&target);
    }
}

/// Keeps other edits away until it is dropped.
fn lock_beside(target: &Path, path: &Path, deadline: Option<Instant>) -> Result<File, FileError> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(to_lock(target));
    let file = opened.map_err(|source| match source.kind() {
        ErrorKind::NotFound => FileError::NoFolder { path: path.to_owned(), source },
        _ => io_error(path)(source),
    })?;
    lock(&file, path, deadline)?;
    Ok(file)
}

/// It is held against what it claims here, too, where all tests run.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;

    const KIND: Kind = Kind { most: 1 << 20, is_secret: false };

    fn add(path: &Path, line: &str) -> Result<(), FileError> {
        edit(path, KIND, true, |old| Ok(([old, line.as_bytes(), b"\n"].concat().into(), ())))
    }

    /// What is in the folder but for the file that is locked.
    fn others(folder: &tempfile::TempDir, path: &Path) -> usize {
        let lock = to_lock(path);
        fs::read_dir(folder.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path() != lock).count()
    }

    #[test]
    fn edits_at_the_same_time_lose_nothing_and_leave_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = &path;
                scope.spawn(move || (0..8).for_each(|line| add(path, &format!("{writer}.{line}")).unwrap()));
            }
        });
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 32);
        assert_eq!(others(&folder, &path), 1);
    }

    #[test]
    fn what_an_editor_wrote_meanwhile_is_built_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for is_refused in [false, true] {
            fs::write(&path, "first\n").unwrap();
            let mut calls = 0_usize;
            edit(&path, KIND, false, |old| {
                calls = calls.saturating_add(1);
                if calls == 1 {
                    fs::write(&path, "by hand\n").unwrap();
                    if is_refused {
                        return Err(FileError::Unsettled { path: path.clone() });
                    }
                }
                Ok(([old, b"mine\n"].concat().into(), ()))
            })
            .unwrap();
            assert_eq!((calls, fs::read_to_string(&path).unwrap().as_str()), (2, "by hand\nmine\n"));
        }
    }

    #[test]
    fn what_an_editor_writes_that_knew_the_old_file_alone_is_built_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for has_it in [false, true] {
            fs::write(&path, "first\n").unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !fs::read_to_string(&path).is_ok_and(|text| text.contains("mine")) {
                        std::thread::yield_now();
                    }
                    fs::write(&path, if has_it { "by hand\nmine\n" } else { "by hand\n" }).unwrap();
                });
                add(&path, "mine").unwrap();
            });
            assert_eq!(fs::read_to_string(&path).unwrap(), "by hand\nmine\n", "{has_it}");
        }
    }

    #[test]
    fn an_error_leaves_the_file_as_it_was_or_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let refused = || edit(&path, KIND, true, |_| Err::<(Content, ()), _>(FileError::Exists { path: path.clone() }));
        assert!(matches!(refused(), Err(FileError::Exists { .. })));
        assert_eq!(others(&folder, &path), 0);
        fs::write(&path, "first\n").unwrap();
        assert!(matches!(refused(), Err(FileError::Exists { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\n");
        assert_eq!(others(&folder, &path), 1);
    }

    #[test]
    fn a_missing_file_is_made_only_where_that_is_asked_for_and_where_there_is_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let missing = edit(&path, KIND, false, |_| Ok::<_, FileError>((Content::default(), ()))).unwrap_err();
        assert!(missing.is_missing(), "{missing}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let nowhere = add(&folder.path().join("none").join("file"), "mine").unwrap_err();
        assert!(matches!(nowhere, FileError::NoFolder { .. }), "{nowhere}");
    }

    #[test]
    fn what_a_killed_process_left_behind_is_taken_away_and_what_edits_lock_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        add(&path, "mine").unwrap();
        let left = temporary(&path, &path, b"half", |_| Ok(())).unwrap().keep().unwrap().1;
        clean_up(&path);
        assert!(!left.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(to_lock(&path).exists());
    }
}
