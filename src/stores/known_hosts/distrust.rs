//! Why a key is not taken for a server's, as a known-hosts file has it.

use super::error::HostsError;
use super::hosts::Standing;
use super::line::{BrokenLine, Entry};
use crate::crypto::{KeyExchange, KeyId, Suite};
use crate::stores::date::Date;
use crate::stores::files::FileError;
use crate::terms::error::codes;
use core::fmt;
use std::path::{Path, PathBuf};

/// Why a key is not taken for the server's of this name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// The server is not known, and nobody was to be asked.
    #[error(
        "no key of {name} is known in {}, and it shows {key}: compare that with the fingerprint that its operator gives you",
        path.display()
    )]
    Unknown {
        /// The server.
        name: String,
        /// The key that it showed.
        key: KeyId,
        /// The file.
        path: PathBuf,
    },
    /// The server is known with another key: somebody may be in the middle.
    #[error("{0}")]
    Changed(ChangedKey),
    /// The key is revoked.
    #[error("THE KEY {key} IS REVOKED for {name} by line {line} of {}: whoever shows it may have stolen it", path.display())]
    Revoked {
        /// The server.
        name: String,
        /// The key.
        key: KeyId,
        /// The file.
        path: PathBuf,
        /// The number of the line that says so; the first is 1.
        line: usize,
    },
    /// The server is known with keys that certificates or manifests vouched for; nothing vouches for this one.
    #[error(
        "line {line} of {} has another key of {name}, that a certificate or a manifest vouched for, and nothing does for {key}",
        path.display()
    )]
    NotVouched {
        /// The server.
        name: String,
        /// The key that it showed.
        key: KeyId,
        /// The file.
        path: PathBuf,
        /// The number of the newest such line; the first is 1.
        line: usize,
    },
    /// What the server's keys were listed for has run out.
    #[error("what is known of {name} in line {line} of {} has run out", path.display())]
    Expired {
        /// The server.
        name: String,
        /// The file.
        path: PathBuf,
        /// The number of the newest line; the first is 1.
        line: usize,
    },
    /// A line that may be about the server can't be read.
    #[error("{}: {broken}; it may be about {name}; mend the line, or remove it", path.display())]
    Unreadable {
        /// The server.
        name: String,
        /// The file.
        path: PathBuf,
        /// The line.
        broken: BrokenLine,
    },
    /// The server picked a weaker key exchange than it is to have.
    #[error("{suite} is weaker than floor={floor} in line {line} of {}", path.display())]
    UnderFloor {
        /// The suite.
        suite: Suite,
        /// The weakest key exchange to keep with the server.
        floor: KeyExchange,
        /// The file.
        path: PathBuf,
        /// The number of the line that says so; the first is 1.
        line: usize,
    },
    /// Whoever was asked said no.
    #[error("the key {key} of {name} was not confirmed")]
    NotConfirmed {
        /// The server.
        name: String,
        /// The key that it showed.
        key: KeyId,
    },
    /// The file is asked for what is revoked alone, and this is not.
    #[error("it is not revoked, which says nothing else")]
    LeftToOthers,
    /// The file can't be used.
    #[error(transparent)]
    File(#[from] HostsError),
}

codes!(Distrust {
    Self::Unknown { .. } => "unknown-server-key",
    Self::Changed(_) => "server-key-changed",
    Self::Revoked { .. } => "server-key-revoked",
    Self::NotVouched { .. } => "server-key-not-vouched",
    Self::Expired { .. } => "server-key-expired",
    Self::Unreadable { .. } => "known-hosts-line-broken",
    Self::UnderFloor { .. } => "under-known-floor",
    Self::NotConfirmed { .. } => "server-key-not-confirmed",
    Self::LeftToOthers => "not-revoked",
    Self::File(error) => error.code(),
});

impl From<FileError> for Distrust {
    fn from(error: FileError) -> Self {
        Self::File(error.into())
    }
}

/// A server that is known with other keys than the one that it shows.
#[derive(Clone, Debug)]
pub struct ChangedKey {
    pub(super) name: String,
    pub(super) shown: KeyId,
    pub(super) known: Vec<Entry>,
    pub(super) path: PathBuf,
}

impl ChangedKey {
    /// The server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key that it shows now.
    pub fn shown(&self) -> KeyId {
        self.shown
    }

    /// The lines with the keys that it is known with, the newest first.
    pub fn known(&self) -> &[Entry] {
        &self.known
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for ChangedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, shown, known, path } = self;
        write!(f, "THE KEY OF {name} HAS CHANGED. It shows {shown}, and is known with ")?;
        for (index, entry) in known.iter().enumerate() {
            write!(
                f,
                "{}{} (line {} of {}",
                if index == 0 { "" } else { " and " },
                entry.id(),
                entry.line(),
                path.display()
            )?;
            if let Some(accepted) = entry.accepted() {
                write!(f, ", {accepted}")?;
            }
            if let Some(since) = entry.since() {
                write!(f, ", since {}", Date(since))?;
            }
            f.write_str(")")?;
        }
        let what = if known.len() == 1 { "that line" } else { "those lines" };
        write!(
            f,
            ". SOMEBODY MAY BE IN THE MIDDLE, or the server has a new key: ask its operator for the fingerprint, and if it is the new \
             one, take {what} out of the file"
        )
    }
}

impl Distrust {
    /// Why a key of this standing is not trusted; none where it is.
    pub(super) fn of(standing: Standing, name: &str, key: KeyId, path: &Path) -> Option<Self> {
        let newest = |entries: &[Entry]| entries.first().map_or(0, Entry::line);
        let (name, path) = (name.to_owned(), path.to_owned());
        Some(match standing {
            Standing::Listed(_) => return None,
            Standing::New => Self::Unknown { name, key, path },
            Standing::Revoked(entry) => Self::Revoked { name, key, path, line: entry.line() },
            Standing::Changed(known) => Self::Changed(ChangedKey { name, shown: key, known, path }),
            Standing::Vouched(others) => Self::NotVouched { name, key, path, line: newest(&others) },
            Standing::Expired(old) => Self::Expired { name, path, line: newest(&old) },
            Standing::Unreadable(broken) => Self::Unreadable { name, path, broken },
        })
    }

    /// Whether nothing else can make up for it: the key is a wrong one, or it can't be known that it is none.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Changed(_)
            | Self::Revoked { .. }
            | Self::UnderFloor { .. }
            | Self::NotConfirmed { .. }
            | Self::File(_) => true,
            Self::Unknown { .. }
            | Self::NotVouched { .. }
            | Self::Expired { .. }
            | Self::Unreadable { .. }
            | Self::LeftToOthers => false,
        }
    }
}
