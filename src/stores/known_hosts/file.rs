//! Known hosts in a file: read anew when it changes, edited without losing another's edit.

use super::error::HostsError;
use super::hosts::{Hosts, Known, Listing};
use super::line::{BrokenLine, Entry};
use super::name::{self, ALL, Name};
use crate::crypto::KeyId;
use crate::stores::files::access::{Content, Kind};
use crate::stores::files::stamp::{Seen, look};
use crate::stores::files::{FileError, MAX_KNOWN_HOSTS, edit};
use crate::time::UnixTime;
use core::fmt;
use rand::TryRng;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Everyone may read it, and nobody else change it.
const KIND: Kind = Kind { most: MAX_KNOWN_HOSTS, is_secret: false };

/// A known-hosts file.
///
/// Cheap to clone. Each call looks whether the file has changed since, by hand or by another process. A file that is not there is one
/// without lines; what is added makes it, for its owner alone. Calls block on the file system.
///
/// Edits are atomic, and lose nothing that others write meanwhile, as those of account files: an editor that had read the file before
/// an edit and writes it within a tenth of a second after is waited for, so an edit takes that long.
#[derive(Clone)]
pub struct KnownHosts {
    path: Arc<Path>,
    hashes_names: bool,
    last: Arc<Mutex<Last>>,
}

/// What was last in the file, and what that was like.
type Last = Option<(Seen, Arc<Hosts>)>;

impl KnownHosts {
    /// Opens a file that nobody else can change. Takes away what a killed edit has left behind.
    ///
    /// # Errors
    /// [`FileError`]; none if it is missing. Lines that can't be read are no error; see [`Hosts::broken_lines`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path: Arc<Path> = path.as_ref().into();
        edit::clean_up(&path);
        let opened = Self { path, hashes_names: false, last: Arc::default() };
        opened.hosts()?;
        Ok(opened)
    }

    /// Hashes the names in lines that are added from now on (HMAC-SHA256, with a salt for each): who reads the file learns which
    /// servers are known only by guessing their names.
    #[must_use]
    pub fn with_hashed_names(mut self) -> Self {
        self.hashes_names = true;
        self
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in the file now.
    ///
    /// # Errors
    /// [`FileError`]; none if it is missing.
    pub fn hosts(&self) -> Result<Arc<Hosts>, FileError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = last.as_ref().map(|(seen, _)| seen);
        match (look(&self.path, KIND, seen), last.as_mut()) {
            (Ok(None), Some((_, hosts))) => Ok(Arc::clone(hosts)),
            // Touched, or put back.
            (Ok(Some((_, seen))), Some((old, hosts))) if old.digest == seen.digest => {
                *old = seen;
                Ok(Arc::clone(hosts))
            }
            (Ok(Some((bytes, seen))), _) => {
                let hosts = Arc::new(Hosts::parse(&*bytes));
                *last = Some((seen, Arc::clone(&hosts)));
                Ok(hosts)
            }
            (Ok(None), None) => Err(FileError::Unsettled { path: (*self.path).into() }),
            // What a link to nowhere should lead to may only be away.
            (Err(error), _) if error.is_missing() && !self.path.is_symlink() => {
                *last = None;
                Ok(Arc::default())
            }
            (Err(error), _) => Err(error),
        }
    }

    /// What the file says of the server of this name, such as `db.example:4500` or `[2001:db8::1]:4500`. Upper and lower case are
    /// the same.
    ///
    /// # Errors
    /// [`HostsError`]: the file can't be read, or has a line that may revoke a key and can't be read, or the name can't have a line.
    pub fn lookup(&self, name: &str) -> Result<Known, HostsError> {
        let name = normal(name)?;
        let hosts = self.hosts()?;
        self.check(&hosts)?;
        Ok(hosts.lookup(&name))
    }

    /// The lines that list a key or revoke one.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn entries(&self) -> Result<Vec<Entry>, FileError> {
        Ok(self.hosts()?.entries().cloned().collect())
    }

    /// Lists a key for a server. Gives whether that changed anything: a key that is listed already gets the higher floor of the
    /// two, and what it was accepted on only becomes more.
    ///
    /// # Errors
    /// [`HostsError`]; the file is then as it was. A key that is revoked is not listed.
    pub fn add(&self, name: &str, new: &Listing) -> Result<bool, HostsError> {
        let (plain, name) = self.name(name)?;
        self.edit(|hosts| hosts.add(&name, &plain, new, now()))
    }

    /// Says that somebody has compared the fingerprint of a key that is listed. Gives whether that is news.
    ///
    /// # Errors
    /// [`HostsError`]; the file is then as it was.
    pub fn confirm(&self, name: &str, key: KeyId) -> Result<bool, HostsError> {
        let (plain, name) = self.name(name)?;
        self.edit_old(|hosts| hosts.confirm(&name, &plain, key))
    }

    /// Revokes a key for a server, whether it is listed or not. Gives whether that is news.
    ///
    /// # Errors
    /// [`HostsError`]; the file is then as it was.
    pub fn revoke(&self, name: &str, key: KeyId) -> Result<bool, HostsError> {
        let (plain, name) = self.name(name)?;
        self.edit(|hosts| Ok(hosts.revoke(&name, &plain, key, now())))
    }

    /// Revokes a key for all servers. Gives whether that is news.
    ///
    /// # Errors
    /// [`HostsError`]; the file is then as it was.
    pub fn revoke_everywhere(&self, key: KeyId) -> Result<bool, HostsError> {
        self.edit(|hosts| Ok(hosts.revoke_everywhere(key, now())))
    }

    /// Takes keys of a server off the list, and gives how many: without `key` all that are not revoked, otherwise that one, even
    /// where it is revoked: it may be listed again then. The name `*` stands for the revocations for all servers.
    ///
    /// # Errors
    /// [`HostsError`], also where there is nothing to remove; the file is then as it was.
    pub fn remove(&self, name: &str, key: Option<KeyId>) -> Result<usize, HostsError> {
        let plain = if name == ALL { ALL.to_owned() } else { normal(name)? };
        self.edit_old(|hosts| hosts.remove(&plain, key))
    }

    /// That no line of these is one that revokes and can't be read.
    pub(super) fn check(&self, hosts: &Hosts) -> Result<(), HostsError> {
        match hosts.broken_revocation() {
            Some(broken) => Err(self.broken_revocation(broken)),
            None => Ok(()),
        }
    }

    fn broken_revocation(&self, broken: BrokenLine) -> HostsError {
        HostsError::BrokenRevocation { path: (*self.path).into(), broken }
    }

    /// A name as it is compared, and as it stands in a new line.
    pub(super) fn name(&self, name: &str) -> Result<(String, Name), HostsError> {
        let plain = normal(name)?;
        if !self.hashes_names {
            return Ok((plain.clone(), Name::Plain(plain)));
        }
        let mut salt = [0; 32];
        rand::rngs::SysRng.try_fill_bytes(&mut salt).map_err(|_| HostsError::Random)?;
        let hashed = Name::hashed(salt, &plain);
        Ok((plain, hashed))
    }

    pub(super) fn edit<T, E: From<FileError>>(
        &self,
        mut change: impl FnMut(&mut Hosts) -> Result<T, E>,
    ) -> Result<T, E> {
        edit::edit(&self.path, KIND, true, |text| made(text, &self.path, &mut change))
    }

    /// As [`KnownHosts::edit`], where nothing is added: no file is made for that.
    fn edit_old<T>(&self, mut change: impl FnMut(&mut Hosts) -> Result<T, HostsError>) -> Result<T, HostsError> {
        match edit::edit(&self.path, KIND, false, |text| made(text, &self.path, &mut change)) {
            Err(HostsError::File(error)) if error.is_missing() && !self.path.is_symlink() => {
                change(&mut Hosts::default())
            }
            edited => edited,
        }
    }
}

/// What a change makes of a text. No longer one than can be read again.
fn made<T, E: From<FileError>>(
    text: &[u8],
    path: &Path,
    change: &mut impl FnMut(&mut Hosts) -> Result<T, E>,
) -> Result<(Content, T), E> {
    let mut hosts = Hosts::parse(text);
    let result = change(&mut hosts)?;
    let bytes = hosts.to_content();
    if u64::try_from(bytes.len()).is_ok_and(|len| len <= KIND.most) {
        Ok((bytes, result))
    } else {
        Err(FileError::TooLong { path: path.to_owned(), most: KIND.most }.into())
    }
}

fn normal(name: &str) -> Result<String, HostsError> {
    name::normal(name).ok_or(HostsError::BadName)
}

fn now() -> UnixTime {
    UnixTime::from_system(SystemTime::now())
}

impl fmt::Debug for KnownHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownHosts").field("path", &self.path).finish_non_exhaustive()
    }
}
