//! Changing a file that others change, too: by this library, which locks, and by hand, which does not.
//!
//! A lock keeps edits by this library apart. Against all others, what was read is compared with what is there when the new
//! file takes its place. Where the system can, the two are exchanged, so that what was there is in hand, whatever it is: if
//! it is not what was read, they are exchanged back, and the change is made again on what is there. An editor that had read
//! the file before, and writes it only now, is waited for: where the change is gone again, or the old file has become
//! another, it is made once more.

use super::access::{Content, Kind, open, open_with, resolve};
use super::difference::Difference;
use super::lock::{PATIENCE, STEP, WATCH, is_past, lock};
use super::place::{clean, keep_access, not_moved, sync_folder, temporary};
use super::stamp::{Stamp, read_whole};
use super::{FileError, io_error};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Instant;
use tempfile::{NamedTempFile, TempPath};

/// Changes a file: `change` makes new content of the old, and gives a result. It is called again where somebody else
/// changed the file meanwhile; what it gave last is what counts.
///
/// The file keeps its owner, its group and their permissions; a new one gets mode 0600. Where `path` is a link, its target
/// is changed. A missing file is made, if `create` says so. An error leaves the file as it was, or missing.
pub(crate) fn edit<T, E: From<FileError>>(
    path: &Path,
    kind: Kind,
    create: bool,
    mut change: impl FnMut(&[u8]) -> Result<(Content, T), E>,
) -> Result<T, E> {
    let deadline = Instant::now().checked_add(PATIENCE);
    let mut made: Option<(Difference, T)> = None;
    loop {
        let mut locked = Locked::open(path, kind, create, deadline)?;
        match locked.edit(made.as_ref().map(|(difference, _)| difference), &mut change) {
            Ok(Edited::Done(result)) => return Ok(result),
            Ok(Edited::IsThere) => {
                if let Some((_, result)) = made {
                    return Ok(result);
                }
            }
            Ok(Edited::Overtaken) => {}
            Ok(Edited::Gone(difference, result)) => made = Some((difference, result)),
            Err(error) => {
                locked.discard();
                return Err(error);
            }
        }
        if is_past(deadline) {
            return Err(FileError::Unsettled { path: path.to_owned() }.into());
        }
    }
}

/// Takes away what a killed process has left behind, unless the file is being changed.
pub(crate) fn clean_up(path: &Path) {
    let Ok(Some(target)) = resolve(path) else { return };
    let locked = open(&target).ok().filter(|file| file.try_lock().is_ok());
    if locked.is_some() {
        clean(&target);
    }
}

enum Edited<T> {
    Done(T),
    /// What was changed before is in what others made of the file.
    IsThere,
    /// Somebody else changed the file meanwhile: once more.
    Overtaken,
    /// The change was made, and is gone again: once more.
    Gone(Difference, T),
}

/// A file that other edits keep away from until this is dropped.
struct Locked {
    file: File,
    /// What the caller calls it.
    path: PathBuf,
    /// Where it is, links followed.
    target: PathBuf,
    kind: Kind,
    is_new: bool,
}

impl Locked {
    /// Opens and locks the file that `path` names, even while others put new files in its place.
    fn open(path: &Path, kind: Kind, create: bool, deadline: Option<Instant>) -> Result<Self, FileError> {
        let missing_since = Instant::now();
        loop {
            let found = resolve(path).map_err(io_error(path))?;
            let is_new = create && found.is_none();
            let target = found.unwrap_or_else(|| path.to_owned());
            let opened = if is_new {
                make(&target, path)
            } else {
                open_with(&target, OpenOptions::new().read(true).write(true))
            };
            let file = match opened {
                // Another edit made the file since.
                Err(FileError::Io { source, .. }) if is_new && source.kind() == ErrorKind::AlreadyExists => continue,
                // Another edit took away again what it had made, or an editor is about to put a new file there.
                Err(FileError::Io { source, .. })
                    if !is_new && source.kind() == ErrorKind::NotFound && missing_since.elapsed() < WATCH =>
                {
                    sleep(STEP);
                    continue;
                }
                opened => opened?,
            };
            lock(&file, path, deadline)?;
            let locked = Stamp::of(&file.metadata().map_err(io_error(path))?);
            match fs::metadata(path) {
                Ok(named) if Stamp::of(&named).is_same_file(&locked) => {
                    return Ok(Self { file, path: path.to_owned(), target, kind, is_new });
                }
                // Another edit replaced or removed the file while this one waited for its lock.
                _ => continue,
            }
        }
    }

    fn edit<T, E: From<FileError>>(
        &mut self,
        made: Option<&Difference>,
        change: &mut impl FnMut(&[u8]) -> Result<(Content, T), E>,
    ) -> Result<Edited<T>, E> {
        self.kind.check_mode(&self.file, &self.path)?;
        clean(&self.target);
        let (old, stamp) = read_whole(&mut self.file, &self.path, self.kind.most)?;
        if made.is_some_and(|difference| difference.is_in(&old)) {
            return Ok(Edited::IsThere);
        }
        let (new, result) = match change(&old) {
            // It may be half of what an editor writes in place.
            Err(_) if self.is_being_written(&stamp) => return Ok(Edited::Overtaken),
            changed => changed?,
        };
        if new == old {
            return Ok(Edited::Done(result));
        }
        let Some(mut placed) = self.put(&old, &new)? else { return Ok(Edited::Overtaken) };
        if placed.lasts()? {
            return Ok(Edited::Done(result));
        }
        Ok(Edited::Gone(Difference::between(&old, &new), result))
    }

    /// Whether the file changes in the next moment.
    fn is_being_written(&self, stamp: &Stamp) -> bool {
        sleep(STEP.saturating_mul(4));
        !fs::metadata(&self.target).is_ok_and(|named| Stamp::of(&named) == *stamp)
    }

    /// Puts `new` in the place of `old`; `None` where something else is there by now.
    fn put<'a>(&'a mut self, old: &'a [u8], new: &'a [u8]) -> Result<Option<Placed<'a>>, FileError> {
        let (path, target, kind) = (&self.path, &self.target, self.kind);
        let temporary = temporary(target, path, new, |file| keep_access(file, &self.file, path, kind))?;
        let io = |error| io_error(path)(error);
        // As late as can be: this is all there is where files can't be exchanged.
        let is_there = fs::metadata(target)
            .is_ok_and(|named| self.file.metadata().is_ok_and(|locked| Stamp::of(&named) == Stamp::of(&locked)));
        if !is_there || *read_whole(&mut self.file, path, kind.most)?.0 != *old {
            return Ok(None);
        }
        let own = temporary.as_file().try_clone().map_err(io)?;
        let mut placed = match exchange(temporary.path(), target) {
            Ok(()) => {
                let (_, name) = temporary.into_parts();
                let out = open(&name).inspect_err(|_| drop(exchange(&name, target)))?;
                Placed { path, target, kind, old, new, own, out, name: Some(name) }
            }
            Err(error) if is_missing_call(&error) => {
                temporary.persist(target).map_err(|error| not_moved(path, error.error))?;
                let out = self.file.try_clone().map_err(io)?;
                Placed { path, target, kind, old, new, own, out, name: None }
            }
            // An editor has taken the old file away, and not put its own there yet.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(not_moved(path, error)),
        };
        if !placed.came_out_as_read()? {
            placed.undo()?;
            return Ok(None);
        }
        if let Err(source) = sync_folder(target) {
            placed.undo()?;
            return Err(FileError::Undone { path: path.clone(), source });
        }
        Ok(Some(placed))
    }

    /// Takes a file away again that was made for an edit and not written.
    fn discard(&self) {
        let is_ours = |named: fs::Metadata| {
            let is_same = |locked: fs::Metadata| Stamp::of(&locked).is_same_file(&Stamp::of(&named));
            named.len() == 0 && self.file.metadata().is_ok_and(is_same)
        };
        if self.is_new && fs::symlink_metadata(&self.target).is_ok_and(is_ours) {
            // The edit's own error is what its caller should hear of.
            let _ = fs::remove_file(&self.target);
        }
    }
}

/// A new file in the place of an old one.
struct Placed<'a> {
    path: &'a Path,
    target: &'a Path,
    kind: Kind,
    old: &'a [u8],
    new: &'a [u8],
    /// The new one. Its lock keeps other edits away.
    own: File,
    /// What was there.
    out: File,
    /// What that is called now, if files were exchanged. Its end takes the file away.
    name: Option<TempPath>,
}

impl Placed<'_> {
    fn came_out_as_read(&mut self) -> Result<bool, FileError> {
        Ok(*read_whole(&mut self.out, self.path, self.kind.most)?.0 == *self.old)
    }

    /// Puts the old file back.
    fn undo(&mut self) -> Result<(), FileError> {
        let put_back = match &self.name {
            Some(name) => {
                let swap = || exchange(name, self.target).map_err(io_error(self.path));
                swap()?;
                // Somebody put a third one there: it is the newest.
                let is_own = |out: fs::Metadata| {
                    self.own.metadata().is_ok_and(|own| Stamp::of(&own).is_same_file(&Stamp::of(&out)))
                };
                if fs::metadata(name).is_ok_and(is_own) { Ok(()) } else { swap() }
            }
            None => {
                let (bytes, _) = read_whole(&mut self.out, self.path, self.kind.most)?;
                let copy: NamedTempFile = temporary(self.target, self.path, &bytes, |file| {
                    keep_access(file, &self.out, self.path, self.kind)
                })?;
                copy.persist(self.target).map(drop).map_err(|error| not_moved(self.path, error.error))
            }
        };
        // It is what it was before; that it is so after a power failure, too, is as sure as it can be.
        let _ = sync_folder(self.target);
        put_back
    }

    /// Watches for an editor that had read the old file before. False where the change has to be made again.
    fn lasts(&mut self) -> Result<bool, FileError> {
        let stamp = |file: &File| file.metadata().map(|metadata| Stamp::of(&metadata)).map_err(io_error(self.path));
        let (start, own) = (Instant::now(), stamp(&self.own)?);
        // Both may have been written since they were looked at last.
        let (mut seen, mut out, mut is_last) = (None, None, false);
        while !is_last {
            is_last = start.elapsed() >= WATCH;
            let named = fs::metadata(self.target).ok().map(|named| Stamp::of(&named));
            let now = stamp(&self.out)?;
            // Written in place, in what has no name any more. In the end the times alone are not enough.
            if (is_last || out != Some(now)) && !self.came_out_as_read()? {
                if named.is_some_and(|named| named.is_same_file(&own)) {
                    self.undo()?;
                }
                return Ok(false);
            }
            out = Some(now);
            if named.is_some() && (is_last || named != seen) {
                let there = open(self.target).and_then(|mut file| read_whole(&mut file, self.path, self.kind.most));
                if there.is_ok_and(|(bytes, _)| *bytes != *self.new) {
                    return Ok(false);
                }
                seen = named;
            }
            if !is_last {
                sleep(STEP);
            }
        }
        Ok(true)
    }
}

fn make(target: &Path, path: &Path) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(target).map_err(|source| match source.kind() {
        ErrorKind::NotFound => FileError::NoFolder { path: path.to_owned(), source },
        _ => io_error(path)(source),
    })
}

/// Lets two files change places, at one moment.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    #[cfg(test)]
    tests::interfere()?;
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// The system or the file system can't exchange files.
fn is_missing_call(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput)
}

#[cfg(all(test, any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    const KIND: Kind = Kind { most: 1 << 20, is_secret: true };

    type Interference = Box<dyn FnMut() -> io::Result<()>>;

    thread_local! {
        /// What happens in the last moment before two files change places.
        static INTERFERENCE: RefCell<Option<Interference>> = const { RefCell::new(None) };
    }

    pub(super) fn interfere() -> io::Result<()> {
        INTERFERENCE.with_borrow_mut(|interference| interference.as_mut().map_or(Ok(()), |interfere| interfere()))
    }

    fn with_interference(interfere: impl FnMut() -> io::Result<()> + 'static) {
        INTERFERENCE.set(Some(Box::new(interfere)));
    }

    fn file() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, "first\n");
        (folder, path)
    }

    fn write(path: &Path, text: &str) {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
        io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }

    /// An edit that adds a line, and how often it was made.
    fn add(path: &Path, line: &str) -> (Result<(), FileError>, usize) {
        let mut count = 0_usize;
        let edited = edit(path, KIND, false, |old| {
            count = count.saturating_add(1);
            let new = [old, line.as_bytes(), b"\n"].concat();
            Ok::<_, FileError>((new.into(), ()))
        });
        (edited, count)
    }

    fn is_alone(folder: &tempfile::TempDir) -> bool {
        fs::read_dir(folder.path()).unwrap().count() == 1
    }

    #[test]
    fn what_took_the_old_file_s_place_in_the_last_moment_is_put_back_and_built_on() {
        for in_place in [false, true] {
            let (folder, path) = file();
            let mut left = 2;
            let (at, copy) = (path.clone(), path.with_extension("copy"));
            let mut once = 0;
            with_interference(move || {
                // Every other call is the exchange back.
                once += 1;
                if once % 2 == 1 && left > 0 {
                    left -= 1;
                    let text = fs::read_to_string(&at).unwrap() + "by hand\n";
                    if in_place {
                        write(&at, &text);
                    } else {
                        write(&copy, &text);
                        fs::rename(&copy, &at).unwrap();
                    }
                }
                Ok(())
            });
            let (edited, count) = add(&path, "mine");
            edited.unwrap();
            assert_eq!(count, 3, "in place: {in_place}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "first\nby hand\nby hand\nmine\n");
            assert!(is_alone(&folder));
        }
    }

    /// By another process, which begins an edit, or opens the file, just then.
    #[test]
    fn what_an_edit_has_written_aside_is_not_taken_for_what_a_dead_one_left() {
        let (folder, path) = file();
        let (at, mut is_first) = (path.clone(), true);
        with_interference(move || {
            if core::mem::take(&mut is_first) {
                clean(&at);
            }
            Ok(())
        });
        let (edited, count) = add(&path, "mine");
        edited.unwrap();
        assert_eq!((count, fs::read_to_string(&path).unwrap().as_str()), (1, "first\nmine\n"));
        assert!(is_alone(&folder));
    }

    #[test]
    fn an_editor_that_takes_the_file_away_before_it_writes_is_waited_for() {
        let (folder, path) = file();
        let (at, mut writer) = (path.clone(), None);
        with_interference(move || {
            if writer.is_none() {
                fs::remove_file(&at).unwrap();
                let at = at.clone();
                writer = Some(std::thread::spawn(move || write(&at, "another\n")));
            }
            Ok(())
        });
        add(&path, "mine").0.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "another\nmine\n");
        assert!(is_alone(&folder));
    }

    #[test]
    fn where_files_can_t_be_exchanged_edits_are_kept_as_far_as_can_be() {
        use io::Write;
        for kind in [ErrorKind::Unsupported, ErrorKind::InvalidInput] {
            let (folder, path) = file();
            with_interference(move || Err(kind.into()));
            let (edited, count) = add(&path, "mine");
            edited.unwrap();
            assert_eq!((count, fs::read_to_string(&path).unwrap().as_str()), (1, "first\nmine\n"));
            // By hand while the change is made, and in place after that.
            let mut made = 0_usize;
            let mut old = OpenOptions::new().append(true).open(&path).unwrap();
            edit(&path, KIND, false, |text| {
                made = made.saturating_add(1);
                if made == 1 {
                    old.write_all(b"appended\n").unwrap();
                }
                Ok::<_, FileError>(([text, b"again\n"].concat().into(), ()))
            })
            .unwrap();
            assert_eq!(made, 2);
            let watcher = path.clone();
            std::thread::scope(|scope| {
                let mut old = OpenOptions::new().append(true).open(&path).unwrap();
                scope.spawn(move || {
                    while !fs::read_to_string(&watcher).unwrap().ends_with("late\n") {
                        std::thread::yield_now();
                    }
                    old.write_all(b"written late\n").unwrap();
                });
                add(&path, "late").0.unwrap();
            });
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(text, "first\nmine\nappended\nagain\nwritten late\nlate\n");
            assert!(is_alone(&folder));
        }
    }

    /// An editor in place has emptied the file when it is read, and writes all of it then, with the change that it had seen.
    #[test]
    fn a_file_that_is_half_written_is_read_again_and_no_change_is_made_twice() {
        let (folder, path) = file();
        let (at, watched) = (path.clone(), path.clone());
        with_interference(|| Ok(()));
        let mut calls = 0_usize;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while !fs::read_to_string(&watched).unwrap().contains("mine") {
                    std::thread::yield_now();
                }
                write(&watched, "");
            });
            edit(&path, KIND, false, |old| {
                calls = calls.saturating_add(1);
                if old.is_empty() {
                    write(&at, "mine\nby hand\n");
                    // As for a user who is not there.
                    return Err(FileError::Unsettled { path: at.clone() });
                }
                assert!(!old.starts_with(b"mine"), "it is there already");
                Ok((b"mine\n".to_vec().into(), ()))
            })
            .unwrap();
        });
        assert_eq!((calls, fs::read_to_string(&path).unwrap().as_str()), (2, "mine\nby hand\n"));
        assert!(is_alone(&folder));
    }

    #[test]
    fn a_mount_point_and_whatever_else_can_t_be_replaced_is_said_and_left() {
        let (folder, path) = file();
        for (kind, is_mount) in
            [(ErrorKind::ResourceBusy, true), (ErrorKind::CrossesDevices, true), (ErrorKind::PermissionDenied, false)]
        {
            with_interference(move || Err(kind.into()));
            let refused = add(&path, "mine").0.unwrap_err();
            assert_eq!(matches!(refused, FileError::MountPoint { .. }), is_mount, "{refused}");
            assert!(is_mount || matches!(refused, FileError::Io { .. }), "{refused}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "first\n");
            assert!(is_alone(&folder));
        }
    }
}
