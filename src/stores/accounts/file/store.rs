//! An account file as a store: whatever has to wait for the file does so on another thread.

use super::super::account::Account;
use super::super::imitation::Imitation;
use super::super::reader::{Reader, View};
use super::super::role::Role;
use super::super::store::{AccountStore, StoreError};
use super::super::{AccountError, Accounts, now};
use super::{AccountFile, FIRST, PATIENCE, Reading, STALE};
use crate::stores::files::{FileError, Missing, edit_accounts};
use core::future::ready;
use futures_channel::oneshot;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

type Seen = View<Reading, FileError>;

/// Edits at once. Each takes a tenth of a second, and they wait for each other.
const EDITS: usize = 8;

/// Where async code asks for what has to be waited for.
pub(super) struct FileThreads {
    looks: Sender<oneshot::Sender<Seen>>,
    file: Arc<File>,
}

/// What an edit needs.
struct File {
    path: PathBuf,
    reader: Arc<Reader<Reading, FileError>>,
}

impl FileThreads {
    /// With a thread that waits for looks, one for all who ask at a time. It ends when this does.
    pub(super) fn open(path: &Path, reader: &Arc<Reader<Reading, FileError>>) -> io::Result<Self> {
        let (looks, asked) = channel::<oneshot::Sender<Seen>>();
        let waiting = Arc::clone(reader);
        let work = move || {
            while let Ok(first) = asked.recv() {
                let all: Vec<_> = [first].into_iter().chain(asked.try_iter()).collect();
                let seen = waiting.ask(PATIENCE);
                // Whoever asked may be gone by now.
                all.into_iter().for_each(|one| drop(one.send(seen.clone())));
            }
        };
        thread::Builder::new().name("accounts-asked".to_owned()).spawn(work)?;
        Ok(Self { looks, file: Arc::new(File { path: path.to_owned(), reader: Arc::clone(reader) }) })
    }

    /// What is in the file now.
    async fn accounts(&self) -> Result<Arc<Accounts>, StoreError> {
        let (give, take) = oneshot::channel();
        let _ = self.looks.send(give);
        take.await.map_err(|_| unreadable(None)).and_then(served)
    }

    /// Has the file edited, by a thread of its own.
    async fn edit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&File) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        // One holds this as long as it lives, and so does every edit.
        if Arc::strong_count(&self.file) > EDITS {
            return Err(StoreError::Away { what: "the account file is edited by too many at once", source: None });
        }
        let (give, take) = oneshot::channel();
        let file = Arc::clone(&self.file);
        let work = move || drop(give.send(work(&file)));
        let spawned = thread::Builder::new().name("accounts-edit".to_owned()).spawn(work);
        spawned.map_err(|error| StoreError::away("there is no thread to edit the account file", error))?;
        take.await.unwrap_or(Err(StoreError::Away { what: "the account file could not be edited", source: None }))
    }
}

impl File {
    /// Edits it. Whoever made the change finds it from then on.
    fn edit(&self, change: impl FnMut(&mut Accounts) -> Result<(), StoreError>) -> Result<(), StoreError> {
        edit_accounts(&self.path, Missing::Fail, change)?;
        drop(self.reader.ask_patiently(FIRST));
        Ok(())
    }

    fn update(&self, old: &Account, new: &Account) -> Result<Account, StoreError> {
        edit_accounts(&self.path, Missing::Fail, |accounts| accounts.exchange(old, new))?;
        // Under the epoch that its next logins have.
        let accounts = served(self.reader.ask_patiently(FIRST))?;
        // As it is written: a key's comment loses its blanks there, for one.
        let is_it = |stored: &Account| stored.to_string() == new.to_string();
        accounts.stored(new.name()).filter(is_it).ok_or(StoreError::Conflict)
    }
}

fn served(View { good, error, begun }: Seen) -> Result<Arc<Accounts>, StoreError> {
    match error {
        Some(error) => Err(unreadable(Some(error))),
        None if begun.elapsed() > STALE => Err(unreadable(None)),
        None => Ok(Arc::clone(&good.accounts)),
    }
}

fn unreadable(error: Option<Arc<FileError>>) -> StoreError {
    StoreError::Away { what: "the account file can't be read", source: error.map(|error| Box::new(error) as _) }
}

impl AccountStore for AccountFile {
    async fn find(&self, name: &str) -> Result<Option<Account>, StoreError> {
        let accounts = self.threads.accounts().await?;
        match accounts.find(name) {
            Err(error @ AccountError::Broken { .. }) => Err(error.into()),
            _ => Ok(accounts.stored(name)),
        }
    }

    async fn find_token(&self, hash: &[u8; 32]) -> Result<Option<Account>, StoreError> {
        let accounts = self.threads.accounts().await?;
        Ok(accounts.by_token(hash).and_then(|account| accounts.stored(account.name())))
    }

    async fn page(&self, after: Option<&str>, most: usize) -> Result<Vec<Account>, StoreError> {
        Ok(self.threads.accounts().await?.page(after, most))
    }

    fn imitation(&self) -> impl Future<Output = Imitation> + Send {
        ready(self.accounts().imitation())
    }

    async fn add(&self, account: &Account) -> Result<(), StoreError> {
        let (account, accounts) = (account.clone(), self.accounts());
        let add = move |file: &File| {
            file.edit(|accounts| Ok(accounts.insert(&account)?))?;
            accounts.answers.adopt(&account, now().now());
            Ok(())
        };
        self.threads.edit(add).await
    }

    async fn update(&self, old: &Account, new: &Account) -> Result<Account, StoreError> {
        // As the file is now: it may have been removed since it was found.
        let accounts = self.threads.accounts().await?;
        let is_current = accounts.get(old.name()).is_some_and(|account| account.version() == old.version());
        if !is_current || new.name() != old.name() {
            return Err(StoreError::Conflict);
        }
        // Before the file is changed: of two who have read the same, one comes first.
        accounts.answers.replace(old, new, now().now())?;
        if new.is_same(old) {
            return Ok(new.clone());
        }
        let (old, new) = (old.clone(), new.clone());
        let update = move |file: &File| {
            let updated = file.update(&old, &new);
            // Of a change that is refused nothing is remembered, either. After an absence nobody knows; and where another change came first, what is
            // remembered may be of that.
            if !matches!(updated, Ok(_) | Err(StoreError::Away { .. } | StoreError::Conflict)) {
                let _ = accounts.answers.replace(&new, &old, now().now());
            }
            updated
        };
        self.threads.edit(update).await
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        let remove = move |file: &File| file.edit(|accounts| Ok(accounts.remove(&name)?));
        self.threads.edit(remove).await
    }

    async fn roles(&self) -> Result<Vec<Role>, StoreError> {
        Ok(self.threads.accounts().await?.sorted_roles())
    }

    async fn role_users(&self, role: &str) -> Result<u64, StoreError> {
        Ok(self.threads.accounts().await?.role_users(role))
    }

    async fn add_role(&self, role: &Role) -> Result<(), StoreError> {
        let role = role.clone();
        let add = move |file: &File| file.edit(|accounts| Ok(accounts.insert_role(role.clone())?));
        self.threads.edit(add).await
    }

    async fn update_role(&self, old: &Role, new: &Role) -> Result<(), StoreError> {
        if !self.threads.accounts().await?.is_current_role(old) {
            return Err(StoreError::Conflict);
        }
        let (old, new) = (old.clone(), new.clone());
        let update = move |file: &File| file.edit(|accounts| accounts.exchange_role(&old, &new));
        self.threads.edit(update).await
    }

    async fn remove_role(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        let remove = move |file: &File| file.edit(|accounts| Ok(accounts.remove_role(&name)?));
        self.threads.edit(remove).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use core::time::Duration;
    use std::time::Instant;

    /// As where the mount under it hangs.
    #[test]
    fn a_file_that_was_looked_at_too_long_ago_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.txt");
        edit_accounts(&path, Missing::Make, |_| Ok::<_, StoreError>(())).unwrap();
        let file = AccountFile::open(&path).unwrap();
        let View { good, .. } = file.reader.ask(FIRST);
        let looked = |ago| {
            served(View { good: Arc::clone(&good), error: None, begun: Instant::now().checked_sub(ago).unwrap() })
        };
        assert!(looked(Duration::ZERO).is_ok());
        assert!(matches!(looked(STALE + Duration::from_secs(1)), Err(StoreError::Away { .. })));
        // SECURITY.md, "The account file": a quarter of a second, and up to ten seconds.
        assert_eq!((PATIENCE, STALE), (Duration::from_millis(250), Duration::from_secs(10)));
        // As long as a server starts, or a change is made.
        assert_eq!(FIRST, Duration::from_secs(10));
    }
}
