//! The server keys that a client was told: with a key whole, the server proves itself before a credential leaves.
//!
//! A file for each, named after its fingerprint. What is trusted is said by the pins alone: a file that holds another key than its
//! pin's is of no use to anybody.

use crate::failure::chain;
use crate::{state, term};
use countersign::files::{self, FileError};
use countersign::{KeyId, PublicKey};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub(crate) struct KnownKeys {
    folder: PathBuf,
}

impl KnownKeys {
    /// `countersign/keys` in the user's state directory; `None` where the environment names none.
    pub(crate) fn of_user() -> Option<Self> {
        Some(Self { folder: state::folder()?.join("keys") })
    }

    fn path(&self, id: KeyId) -> PathBuf {
        self.folder.join(hex::encode(id.as_bytes())).with_extension("pem")
    }

    /// The keys of these pins, as far as there are files of them. The one that was kept last comes first: it is the one that the
    /// server is asked to prove.
    pub(crate) fn find(&self, pins: &[KeyId]) -> Vec<PublicKey> {
        let mut found: Vec<(SystemTime, PublicKey)> = Vec::new();
        for &pin in pins {
            if found.iter().any(|(_, key)| key.id() == pin) {
                continue;
            }
            let path = self.path(pin);
            match read(&path, pin) {
                Ok(Some(key)) => found.push((kept_at(&path), key)),
                Ok(None) => {}
                Err(why) => term::note(format_args!("countersign: {}: {why}; it is not used", path.display())),
            }
        }
        found.sort_by_key(|(kept, _)| std::cmp::Reverse(*kept));
        found.into_iter().map(|(_, key)| key).collect()
    }

    /// Keeps a key, in front of those that are there. It only makes the next login safer: where it can't be kept, this one goes on.
    pub(crate) fn keep(&self, key: &PublicKey) {
        let path = self.path(key.id());
        let made = state::make_private(&self.folder);
        // No secret, but nobody else's affair either.
        if let Err(error) = made.and_then(|()| state::write_private(&path, key.to_pem().as_bytes())) {
            let path = path.display();
            term::note(format_args!("countersign: {path}: {error}; the server's key is not kept for the next login"));
        }
    }
}

/// The key of this file, if there is one, and why it is not the pin's.
fn read(path: &Path, pin: KeyId) -> Result<Option<PublicKey>, String> {
    let sources = match files::read_public_keys(path) {
        Ok(sources) => sources,
        Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(FileError::Io { source, .. }) => return Err(source.to_string()),
        Err(FileError::Key { source, .. }) => return Err(chain(&source)),
        Err(error) => return Err(chain(&error)),
    };
    match <[_; 1]>::try_from(sources) {
        Ok([source]) if source.key.id() == pin => Ok(Some(source.key)),
        _ => Err(format!("it holds another key than the one of the pin {pin}")),
    }
}

fn kept_at(path: &Path) -> SystemTime {
    fs::metadata(path).and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use countersign::PrivateKey;
    use std::fs::File;
    use std::time::Duration;

    fn key(text: &str) -> PublicKey {
        PrivateKey::from_pem(text).unwrap().public_key().clone()
    }

    #[test]
    fn what_was_kept_last_comes_first_and_another_key_is_of_no_use() {
        let one = key(include_str!("../../tests/keys/rsa2048.pem"));
        let other = key(include_str!("../../tests/keys/other2048.pem"));
        let folder = tempfile::tempdir().unwrap();
        let known = KnownKeys { folder: folder.path().join("countersign/keys") };
        let (pins, find) = ([one.id(), other.id()], |pins: &[KeyId]| -> Vec<KeyId> {
            known.find(pins).iter().map(PublicKey::id).collect()
        });
        assert_eq!(find(&pins), []);
        known.keep(&one);
        known.keep(&other);
        let age = |id: KeyId, seconds| {
            let then = SystemTime::now().checked_sub(Duration::from_secs(seconds)).unwrap();
            File::options().write(true).open(known.path(id)).unwrap().set_modified(then).unwrap();
        };
        age(one.id(), 100);
        assert_eq!(find(&pins), [other.id(), one.id()]);
        age(other.id(), 200);
        assert_eq!(find(&pins), pins);
        assert_eq!(find(&[other.id(), other.id()]), [other.id()]);

        // Its pin decides, not its place.
        fs::copy(known.path(other.id()), known.path(one.id())).unwrap();
        assert_eq!(find(&pins), [other.id()]);
        let both = fs::read_to_string(known.path(other.id())).unwrap() + &one.to_pem();
        for text in [both.as_str(), "", "nonsense", "\0"] {
            fs::write(known.path(other.id()), text).unwrap();
            assert_eq!(find(&pins), [], "{text:?}");
        }
        known.keep(&one);
        assert_eq!(find(&pins), [one.id()]);
    }
}
