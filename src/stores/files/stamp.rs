//! Whether a file is what it was.

use super::access::{Kind, open, read};
use super::{FileError, io_error};
use sha2::{Digest, Sha256};
use std::fs::{self, File, Metadata};
use std::io::Seek;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// What is another whenever a file's content is, and its owner or its mode: a change in place can keep its length, and
/// set the time of its change back, but not the time of the change of that (`ctime`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    /// In seconds and nanoseconds since 1970; the last write's, where the system knows no other.
    changed: (i64, i64),
    mode: u32,
}

impl Stamp {
    #[cfg(unix)]
    pub(crate) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            mode: metadata.mode(),
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let since = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let modified = since.map_or((0, 0), |since| {
            (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), i64::from(since.subsec_nanos()))
        });
        let mode = u32::from(metadata.permissions().readonly());
        Self { device: 0, inode: 0, len: metadata.len(), modified, changed: modified, mode }
    }

    /// A number for this file as it is, which is another once it has changed. Without the device: those are numbered anew when
    /// a system starts.
    #[cfg(feature = "accounts")]
    pub(crate) fn number(&self) -> u64 {
        let (seconds, nanoseconds) = self.changed;
        let changed = [seconds, nanoseconds].map(i64::to_be_bytes);
        let numbers = [self.inode, self.len].map(u64::to_be_bytes);
        let hash: [u8; 32] = Sha256::digest([changed, numbers].concat().concat()).into();
        hash.first_chunk().map_or(0, |front| u64::from_be_bytes(*front))
    }

    /// Whether the last change was after that of `other`. A file that was moved away and back may not say that it was.
    #[cfg(feature = "accounts")]
    pub(crate) fn changed_after(&self, other: &Self) -> bool {
        self.changed > other.changed
    }

    /// Whether the last change was before this time since 1970.
    pub(crate) fn changed_before(&self, time: Duration) -> bool {
        let (seconds, nanoseconds) = self.changed;
        (seconds, nanoseconds) < (i64::try_from(time.as_secs()).unwrap_or(i64::MAX), i64::from(time.subsec_nanos()))
    }

    /// Whether both are the same file, whatever is in it.
    #[cfg(unix)]
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// How long after its last change a file may be changed again without a difference in its times: systems count them in
/// ticks, of a hundredth of a second at most.
const TICK: Duration = Duration::from_millis(50);

/// What a file was like when it was read, to see whether it still is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) stamp: Stamp,
    /// By when it was found to have that stamp, and had had it at every look since.
    found: Instant,
    /// Whether a further change would show in the stamp.
    is_settled: bool,
    /// SHA-256 of what is in it.
    pub(crate) digest: [u8; 32],
}

/// What is in a file, and what that was like.
pub(crate) type Read = (Zeroizing<Vec<u8>>, Seen);

/// Reads a file, unless it is as it was `last`.
pub(crate) fn look(path: &Path, kind: Kind, last: Option<&Seen>) -> Result<Option<Read>, FileError> {
    let named = Stamp::of(&fs::metadata(path).map_err(io_error(path))?);
    if last.is_some_and(|last| last.is_settled && last.stamp == named) {
        return Ok(None);
    }
    let mut file = open(path)?;
    kind.check_mode(&file, path)?;
    let begun = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    let (bytes, stamp) = read_whole(&mut file, path, kind.most)?;
    let found = last.filter(|last| last.stamp == stamp).map_or_else(Instant::now, |last| last.found);
    let is_settled = is_settled(&stamp, found, begun);
    let digest = Sha256::digest(&*bytes).into();
    Ok(Some((bytes, Seen { stamp, found, is_settled, digest })))
}

/// Whether a change of a file that began to be read then would show in its stamp: if its last change was a tick before by the time of day, or if it has had
/// this stamp for longer than that. The latter for a clock that was set back after the change, or another machine's that is ahead: until it has caught
/// up, the file would be read anew for each login.
fn is_settled(stamp: &Stamp, found: Instant, (begun, time): (Instant, Duration)) -> bool {
    stamp.changed_before(time.saturating_sub(TICK)) || begun.saturating_duration_since(found) > TICK
}

/// How often a file is read again that changes while it is read.
const READINGS: usize = 8;

/// Reads a file from its start, and not half of one that is written meanwhile.
pub(crate) fn read_whole(file: &mut File, path: &Path, most: u64) -> Result<(Zeroizing<Vec<u8>>, Stamp), FileError> {
    let stamp = |file: &File| file.metadata().map(|metadata| Stamp::of(&metadata)).map_err(io_error(path));
    for _ in 0..READINGS {
        let before = stamp(file)?;
        file.rewind().map_err(io_error(path))?;
        let bytes = read(file, path, most)?;
        if stamp(file)? == before {
            return Ok((bytes, before));
        }
    }
    Err(FileError::Unsettled { path: path.to_owned() })
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn a_file_from_the_future_is_settled_once_it_was_seen_for_a_while() {
        let (start, now) = (Instant::now(), Duration::from_secs(1_800_000_000));
        let changed = |seconds| Stamp { device: 0, inode: 1, len: 1, modified: (0, 0), changed: (seconds, 0), mode: 0 };
        let (past, future) = (changed(1_799_999_999), changed(1_831_536_000));
        let begun = |millis| (start + Duration::from_millis(millis), now);
        assert!(is_settled(&past, start, begun(0)));
        // At once, and a tick later.
        for (millis, is_it) in [(0, false), (50, false), (51, true)] {
            assert_eq!(is_settled(&future, start, begun(millis)), is_it, "{millis}");
        }
        // Just changed, by a clock that is right.
        assert!(!is_settled(&changed(1_800_000_000), start, begun(0)));
    }

    #[test]
    fn a_stamp_is_as_old_as_the_first_look_that_found_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let kind = Kind { most: 1 << 20, is_secret: false };
        let seen = |last: Option<&Seen>| look(&path, kind, last).unwrap().map(|(_, seen)| seen);
        let first = Seen { is_settled: false, ..seen(None).unwrap() };
        let second = Seen { is_settled: false, ..seen(Some(&first)).unwrap() };
        assert_eq!(second.found, first.found);
        std::fs::write(&path, "another").unwrap();
        assert!(seen(Some(&second)).unwrap().found > first.found);
        assert!(seen(Some(&Seen { is_settled: true, ..second })).is_some(), "it is another file than that");
    }

    /// Such as what this was built from.
    #[test]
    fn a_file_that_has_been_as_it_is_for_a_while_is_not_read_again() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let kind = Kind { most: 1 << 20, is_secret: false };
        let (_, seen) = look(&path, kind, None).unwrap().unwrap();
        assert!(look(&path, kind, Some(&seen)).unwrap().is_none());
    }
}
