//! A store of accounts of any kind, and a command that waits for it.

#[cfg(feature = "sql")]
use super::cant_open;
use super::{Users, missing};
use crate::failure::Failure;
use crate::term;
use countersign::accounts::{
    Account, AccountError, AccountFile, AccountStore, BrokenLine, Imitation, LineError, Role, StoreError,
};
#[cfg(feature = "sql")]
use countersign_stores::SqlStore;
use tokio::runtime::{self, Runtime};

/// A store of accounts of either kind.
pub(crate) enum Store {
    File(AccountFile),
    #[cfg(feature = "sql")]
    Sql(SqlStore),
}

impl Store {
    /// Opens what must be there.
    pub(crate) async fn open(users: &Users) -> Result<Self, Failure> {
        match users {
            Users::File(path) => AccountFile::open(path).map(Self::File).map_err(|error| missing(path, &error)),
            #[cfg(feature = "sql")]
            Users::Sql(place) => SqlStore::open(place).await.map(Self::Sql).map_err(|error| cant_open(place, &error)),
        }
    }

    /// As [`Store::open`]; a database may be away, which is told as a warning.
    pub(crate) async fn open_to_serve(users: &Users) -> Result<(Self, Option<String>), Failure> {
        match users {
            Users::File(_) => Ok((Self::open(users).await?, None)),
            #[cfg(feature = "sql")]
            Users::Sql(place) => {
                let opened = SqlStore::open_even_if_away(place).await.map_err(|error| cant_open(place, &error))?;
                let warn = |error: &_| {
                    format!("warning: {}; until it is back, logins are told \"not now\"", cant_open(place, error))
                };
                Ok((Self::Sql(opened.0), opened.1.as_ref().map(warn)))
            }
        }
    }

    /// How many accounts there are, if that can be told now.
    pub(crate) async fn count(&self) -> Option<u64> {
        match self {
            Self::File(file) => u64::try_from(file.accounts().iter().count()).ok(),
            #[cfg(feature = "sql")]
            Self::Sql(store) => store.count().await.ok(),
        }
    }

    /// What closes it in the end, if it is to be closed.
    pub(crate) fn closing<'a>(&self, runtime: &'a Runtime) -> Closing<'a> {
        Closing {
            runtime,
            #[cfg(feature = "sql")]
            store: match self {
                Self::File(_) => None,
                Self::Sql(store) => Some(store.clone()),
            },
        }
    }

    /// The database, if it is one.
    #[cfg(feature = "redis")]
    pub(crate) fn database(&self) -> Option<&SqlStore> {
        match self {
            Self::File(_) => None,
            Self::Sql(store) => Some(store),
        }
    }
}

/// Does the same with a store of either kind.
macro_rules! either {
    ($($name:ident($($arg:ident: $type:ty),*) -> $gives:ty;)*) => { $(
        async fn $name(&self $(, $arg: $type)*) -> $gives {
            match self {
                Self::File(store) => store.$name($($arg),*).await,
                #[cfg(feature = "sql")]
                Self::Sql(store) => store.$name($($arg),*).await,
            }
        }
    )* };
}

impl AccountStore for Store {
    either! {
        find(name: &str) -> Result<Option<Account>, StoreError>;
        find_token(hash: &[u8; 32]) -> Result<Option<Account>, StoreError>;
        page(after: Option<&str>, most: usize) -> Result<Vec<Account>, StoreError>;
        imitation() -> Imitation;
        add(account: &Account) -> Result<(), StoreError>;
        update(old: &Account, new: &Account) -> Result<Account, StoreError>;
        remove(name: &str) -> Result<(), StoreError>;
        roles() -> Result<Vec<Role>, StoreError>;
        role_users(role: &str) -> Result<u64, StoreError>;
        add_role(role: &Role) -> Result<(), StoreError>;
        update_role(old: &Role, new: &Role) -> Result<(), StoreError>;
        remove_role(name: &str) -> Result<(), StoreError>;
    }
}

/// Closes a database when it goes, in whatever way: SQLite has what was changed last beside its file until then, where no copy of that has it.
pub(crate) struct Closing<'a> {
    #[cfg_attr(not(feature = "sql"), allow(dead_code, reason = "a file is closed by itself"))]
    runtime: &'a Runtime,
    #[cfg(feature = "sql")]
    store: Option<SqlStore>,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        #[cfg(feature = "sql")]
        if let Some(store) = &self.store {
            self.runtime.block_on(store.close());
        }
    }
}

/// A store that a command waits for.
pub(crate) struct Opened<'a> {
    users: &'a Users,
    store: Store,
    runtime: Runtime,
}

/// Accounts that are read at once.
#[cfg(feature = "sql")]
const PAGE: usize = 1000;

impl<'a> Opened<'a> {
    pub(crate) fn open(users: &'a Users) -> Result<Self, Failure> {
        let runtime = runtime()?;
        let store = runtime.block_on(Store::open(users))?;
        Ok(Self { users, store, runtime })
    }

    pub(crate) fn wait<'s, F: Future>(&'s self, ask: impl FnOnce(&'s Store) -> F) -> F::Output {
        self.runtime.block_on(ask(&self.store))
    }

    pub(crate) fn find(&self, name: &str) -> Result<Account, StoreError> {
        let found = self.wait(|store| store.find(name))?;
        Ok(found.ok_or_else(|| AccountError::Unknown(name.to_owned()))?)
    }

    /// All accounts, a page at a time: those of a file in the order of its lines, others in the order of their names. Gives what can't be
    /// read.
    pub(crate) fn each(
        &self,
        mut take: impl FnMut(&Account) -> Result<(), Failure>,
    ) -> Result<Vec<Unreadable>, Failure> {
        match &self.store {
            Store::File(file) => {
                file.accounts().iter().try_for_each(&mut take)?;
                Ok(lines(&file.broken_lines()))
            }
            #[cfg(feature = "sql")]
            Store::Sql(store) => {
                let (mut unreadable, mut after) = (Vec::new(), String::new());
                loop {
                    let rows = self.runtime.block_on(store.rows(&after, PAGE));
                    let rows = rows.map_err(|error| self.users.failure(&error))?;
                    let Some((last, _)) = rows.last() else { return Ok(unreadable) };
                    after.clone_from(last);
                    for (name, read) in rows {
                        match read {
                            Ok(account) => take(&account)?,
                            Err(error) => unreadable.push(Unreadable::row((name, error))),
                        }
                    }
                }
            }
        }
    }

    /// The lines of a file that can't be read: nobody edits one who does not want to know. A database is not read whole for that; `user check`
    /// does.
    pub(crate) fn broken_lines(&self) -> Vec<Unreadable> {
        match &self.store {
            Store::File(file) => lines(&file.broken_lines()),
            #[cfg(feature = "sql")]
            Store::Sql(_) => Vec::new(),
        }
    }

    /// Says what they are.
    pub(crate) fn warn(&self) {
        warnings(self.users, &self.broken_lines()).iter().for_each(term::note);
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        drop(self.store.closing(&self.runtime));
    }
}

/// Something that can't be read, and lets nobody in.
#[derive(serde::Serialize)]
pub(crate) struct Unreadable {
    #[serde(skip)]
    at: String,
    /// Of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// Of a database.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    code: &'static str,
    reason: String,
}

impl Unreadable {
    pub(crate) fn line(line: &BrokenLine) -> Self {
        Self {
            at: format!(", {line}; the line is kept and counts for nobody"),
            line: Some(line.number),
            ..Self::of(line.error)
        }
    }

    #[cfg(feature = "sql")]
    fn row((name, error): (String, LineError)) -> Self {
        let at = format!(": user {}: {error}; the row lets nobody in", term::visible(&name));
        Self { at, name: Some(name), ..Self::of(error) }
    }

    fn of(error: LineError) -> Self {
        Self { at: String::new(), line: None, name: None, code: error.code(), reason: error.to_string() }
    }

    fn noun(all: &[Self]) -> &'static str {
        if all.iter().any(|each| each.line.is_some()) { "line" } else { "account" }
    }
}

/// Those of a file.
pub(crate) fn lines(broken: &[BrokenLine]) -> Vec<Unreadable> {
    broken.iter().map(Unreadable::line).collect()
}

/// What can't be read, each as a warning; not all, where there are many.
pub(crate) fn warnings(users: &Users, unreadable: &[Unreadable]) -> Vec<String> {
    const MOST: usize = 20;
    let warning = |each: &Unreadable| format!("warning: {users}{}", each.at);
    let mut lines: Vec<String> = unreadable.iter().take(MOST).map(warning).collect();
    let more = unreadable.len().saturating_sub(MOST);
    if more > 0 {
        lines.push(format!("warning: {users}: {} more can't be read", term::count(more, Unreadable::noun(unreadable))));
    }
    lines
}

/// Fails, after saying why, where not all can be read.
pub(crate) fn all_read(users: &Users, unreadable: &[Unreadable]) -> Result<(), Failure> {
    if unreadable.is_empty() {
        return Ok(());
    }
    warnings(users, unreadable).iter().for_each(term::note);
    let count = term::count(unreadable.len(), Unreadable::noun(unreadable));
    Err(Failure::new(format_args!("{users}: {count} can't be read; mend or remove what is named above")))
}

/// For a command that waits for a store.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    let built = runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| Failure::new(format_args!("cannot start: {error}")))
}
