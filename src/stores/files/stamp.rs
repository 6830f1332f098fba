//! Whether a file is what it was.

use super::access::{Kind, open, read};
use super::{FileError, io_error};
use sha2::{Digest, Sha256};
use std::fs::{self, File, Metadata};
use std::io::Seek;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
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

    /// Whether both are the same file, whatever is in it. Other systems than Unix can't tell.
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
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (bytes, stamp) = read_whole(&mut file, path, kind.most)?;
    let is_settled = stamp.changed_before(begun.saturating_sub(TICK));
    let digest = Sha256::digest(&*bytes).into();
    Ok(Some((bytes, Seen { stamp, is_settled, digest })))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Such as what this was built from.
    #[test]
    fn a_file_that_has_been_as_it_is_for_a_while_is_not_read_again() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let kind = Kind { most: 1 << 20, is_secret: false };
        let (_, seen) = look(&path, kind, None).unwrap().unwrap();
        assert!(look(&path, kind, Some(&seen)).unwrap().is_none());
    }
}
