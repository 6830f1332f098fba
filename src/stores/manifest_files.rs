//! What clients have learnt of identities, in files: one for each.

use super::files::access::Kind;
use super::files::stamp::look;
use super::files::{FileError, edit};
use crate::crypto::KeyId;
use crate::terms::trust::ManifestStore;
use std::fs::DirBuilder;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Everyone may read it, and nobody else change it. More than the longest manifest and all its keys.
const KIND: Kind = Kind { most: 64 * 1024, is_secret: false };

/// Keeps what a client has learnt of identities in a folder: the manifest with the highest number, and the server keys that it was told.
///
/// A file for each identity, named after its fingerprint, of PEM blocks. Several processes may use one folder: edits are atomic, and
/// none replaces a newer manifest by an older one. An edit, at the first login and whenever something changes, takes a tenth of a
/// second. A file that can't be read, or holds something else, has the login fail: remove it only if you know that it is broken, as without it an
/// old manifest is not noticed.
#[derive(Clone, Debug)]
pub struct ManifestFiles {
    folder: PathBuf,
}

impl ManifestFiles {
    /// In this folder, which is made, for its owner alone, when there is something to keep.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The file of an identity.
    pub fn path(&self, identity: KeyId) -> PathBuf {
        let name: String = identity.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(name).with_extension("pem")
    }

    fn make_folder(&self) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&self.folder)
    }
}

impl ManifestStore for ManifestFiles {
    fn place(&self, identity: KeyId) -> String {
        self.path(identity).display().to_string()
    }

    fn load(&self, identity: KeyId) -> io::Result<Option<String>> {
        let path = self.path(identity);
        match look(&path, KIND, None) {
            // One that another process is making now.
            Ok(Some((bytes, _))) if bytes.is_empty() => Ok(None),
            Ok(Some((bytes, _))) => Ok(Some(text(&bytes, &path)?.to_owned())),
            Ok(None) => Ok(None),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn update(&self, identity: KeyId, change: &mut dyn FnMut(Option<&str>) -> Option<String>) -> io::Result<()> {
        let path = self.path(identity);
        self.make_folder().map_err(|source| io::Error::other(FileError::Io { path: path.clone(), source }))?;
        let edited = edit::edit(&path, KIND, true, |old| {
            let there = if old.is_empty() { None } else { Some(text(old, &path)?) };
            let new = change(there).map(String::into_bytes);
            Ok((Zeroizing::new(new.unwrap_or_else(|| old.to_vec())), ()))
        });
        edited.map_err(|Failed(error)| error)
    }
}

/// Why an edit failed.
struct Failed(io::Error);

impl From<FileError> for Failed {
    fn from(error: FileError) -> Self {
        Self(io::Error::other(error))
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

fn text<'b>(bytes: &'b [u8], path: &Path) -> io::Result<&'b str> {
    let broken = || {
        let what = format!("{}: this is no text; it should hold a manifest", path.display());
        io::Error::new(io::ErrorKind::InvalidData, what)
    };
    core::str::from_utf8(bytes).map_err(|_| broken())
}
