//! Where accounts are: a file for people to read, or a database. Everything else is the same for all.

use crate::failure::{Failure, chain};
#[cfg(feature = "sql")]
use crate::state;
use crate::term;
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use countersign::accounts::{Account, AccountError, AccountFile, AccountStore, BrokenLine, Imitation, StoreError};
use countersign::files::FileError;
#[cfg(feature = "sql")]
use countersign_stores::{OpenError, Place, SqlStore};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use tokio::runtime::{self, Runtime};

#[derive(Args, Clone)]
pub(crate) struct UsersArgs {
    /// Where the accounts are: a users file, sqlite:FILE, or postgres://USER@HOST/DATABASE
    ///
    /// A users file is text, for people and their editors; a database is for many accounts (sqlite:) and for several servers
    /// (postgres:). The password of a database is read from PGPASSWORD or ~/.pgpass; in the address, others on this machine can see it.
    #[cfg_attr(feature = "sql", doc = "\n\n[default: sqlite:accounts.db in countersign's state directory]")]
    #[arg(long, value_name = "PLACE", value_parser = OsStringValueParser::new().try_map(Users::parse))]
    users: Option<Users>,
}

impl UsersArgs {
    /// What was given, or where they are if nothing is.
    pub(crate) fn place(&self) -> Result<Users, Failure> {
        self.users.clone().map_or_else(Users::by_default, Ok)
    }
}

/// Where accounts are.
#[derive(Clone)]
pub(crate) enum Users {
    File(PathBuf),
    #[cfg(feature = "sql")]
    Sql(Place),
}

impl Users {
    fn parse(text: OsString) -> Result<Self, String> {
        let is_address =
            |text: &str| ["sqlite:", "postgres:", "postgresql:"].iter().any(|front| text.starts_with(front));
        match text.to_str().filter(|text| is_address(text)) {
            #[cfg(feature = "sql")]
            Some(address) => Place::parse(address).map(Self::Sql).map_err(|error| error.to_string()),
            #[cfg(not(feature = "sql"))]
            Some(_) => {
                Err("this countersign was built without databases (its feature `sql`); give a users file".to_owned())
            }
            None => Ok(Self::File(text.into())),
        }
    }

    #[cfg(feature = "sql")]
    fn by_default() -> Result<Self, Failure> {
        let folder = state::folder()
            .ok_or_else(|| Failure::usage("say where the accounts are, with --users: there is no HOME"))?;
        Ok(Self::Sql(Place::sqlite(folder.join("accounts.db"))))
    }

    #[cfg(not(feature = "sql"))]
    fn by_default() -> Result<Self, Failure> {
        Err(Failure::usage("say where the accounts are, with --users FILE"))
    }

    /// As a shell takes it, without a password.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::File(path) => term::quoted(path),
            #[cfg(feature = "sql")]
            Self::Sql(place) => term::word(&place.to_string()),
        }
    }

    /// Makes room for a first account, where that is to be made by whoever adds it. Says so.
    fn prepare(&self) -> Result<(), Failure> {
        match self {
            Self::File(path) if AccountFile::open(path).is_err_and(|error| error.is_missing()) => {
                can_be_made(path)?;
                term::note(format_args!("{}: no such file yet; making it", path.display()));
            }
            Self::File(_) => {}
            #[cfg(feature = "sql")]
            Self::Sql(place) if place.is_missing() => {
                make_folder(place)?;
                place.path().map_or(Ok(()), can_be_made)?;
                term::note(format_args!("{place}: no such file yet; making it"));
            }
            #[cfg(feature = "sql")]
            Self::Sql(_) => {}
        }
        Ok(())
    }

    /// Whether an account of this name can be added, as far as can be seen before a password is typed. What is missing is made
    /// later, by [`Users::add`].
    pub(crate) fn check_new(&self, name: &str) -> Result<Result<(), AccountError>, Failure> {
        self.prepare()?;
        let is_missing = match self {
            Self::File(path) => AccountFile::open(path).is_err_and(|error| error.is_missing()),
            #[cfg(feature = "sql")]
            Self::Sql(place) => place.is_missing(),
        };
        if is_missing {
            return Ok(Ok(()));
        }
        let opened = Opened::open(self)?;
        opened.warn()?;
        match opened.find(name) {
            Ok(_) => Ok(Err(AccountError::Exists(name.to_owned()))),
            Err(StoreError::Account(AccountError::Unknown(_))) => Ok(Ok(())),
            Err(StoreError::Account(error)) => Ok(Err(error)),
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// Adds an account; makes the file that it is in, if that is missing.
    pub(crate) fn add(&self, account: &Account) -> Result<(), StoreFailure> {
        match self {
            Self::File(path) => {
                AccountFile::edit(path, true, |accounts| Ok::<_, StoreError>(accounts.insert(account)?))
                    .map_err(StoreFailure::Store)
            }
            #[cfg(feature = "sql")]
            Self::Sql(place) => {
                if place.is_missing() {
                    runtime()?
                        .block_on(place.migrate())
                        .map_err(|error| StoreFailure::Failed(cant_open(place, &error)))?;
                }
                Opened::open(self)?.wait(|store| store.add(account)).map_err(StoreFailure::Store)
            }
        }
    }

    /// What to say of a store that failed.
    pub(crate) fn failure(&self, error: &StoreError) -> Failure {
        match error {
            StoreError::File(error) => Failure::file(error),
            StoreError::Away { .. } => Failure::new(format_args!("{self}: {}", chain(error))),
            error => Failure::new(term::visible(&chain(error))),
        }
    }
}

impl fmt::Display for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            #[cfg(feature = "sql")]
            Self::Sql(place) => place.fmt(f),
        }
    }
}

/// Why something was not done: the store says so, or it was not even asked.
pub(crate) enum StoreFailure {
    Store(StoreError),
    Failed(Failure),
}

impl From<Failure> for StoreFailure {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

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
}

macro_rules! either {
    ($self:expr, $store:ident => $call:expr) => {
        match $self {
            Store::File($store) => $call,
            #[cfg(feature = "sql")]
            Store::Sql($store) => $call,
        }
    };
}

impl AccountStore for Store {
    async fn find(&self, name: &str) -> Result<Option<Account>, StoreError> {
        either!(self, store => store.find(name).await)
    }

    async fn find_token(&self, hash: &[u8; 32]) -> Result<Option<Account>, StoreError> {
        either!(self, store => store.find_token(hash).await)
    }

    async fn page(&self, after: Option<&str>, most: usize) -> Result<Vec<Account>, StoreError> {
        either!(self, store => store.page(after, most).await)
    }

    async fn imitation(&self) -> Imitation {
        either!(self, store => store.imitation().await)
    }

    async fn add(&self, account: &Account) -> Result<(), StoreError> {
        either!(self, store => store.add(account).await)
    }

    async fn update(&self, old: &Account, new: &Account) -> Result<Account, StoreError> {
        either!(self, store => store.update(old, new).await)
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        either!(self, store => store.remove(name).await)
    }
}

/// A store that a command waits for.
pub(crate) struct Opened<'a> {
    users: &'a Users,
    store: Store,
    runtime: Runtime,
}

/// Accounts that are read at once.
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

    /// Does something with each account, in the order of names.
    pub(crate) fn each(&self, mut take: impl FnMut(Account)) -> Result<(), Failure> {
        let mut after: Option<String> = None;
        loop {
            let page = self.wait(|store| store.page(after.as_deref(), PAGE));
            let page = page.map_err(|error| self.users.failure(&error))?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|account| account.name().to_owned());
            page.into_iter().for_each(&mut take);
            if is_last {
                return Ok(());
            }
        }
    }

    /// What can't be read.
    pub(crate) fn unreadable(&self) -> Result<Vec<Unreadable>, Failure> {
        Ok(match &self.store {
            Store::File(file) => file.broken_lines().iter().map(Unreadable::line).collect(),
            #[cfg(feature = "sql")]
            Store::Sql(store) => {
                let found = self.runtime.block_on(store.unreadable()).map_err(|error| self.users.failure(&error))?;
                let of = |(name, error): (String, countersign::accounts::LineError)| Unreadable {
                    at: format!(": user {}: {error}; the row lets nobody in", term::visible(&name)),
                    line: None,
                    name: Some(name),
                    code: error.code(),
                    reason: error.to_string(),
                };
                found.into_iter().map(of).collect()
            }
        })
    }

    /// Says what can't be read, of a file: nobody edits one who does not want to know. A database is not read whole for that.
    pub(crate) fn warn(&self) -> Result<(), Failure> {
        if matches!(self.store, Store::File(_)) {
            warnings(self.users, &self.unreadable()?).iter().for_each(term::note);
        }
        Ok(())
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
            name: None,
            code: line.error.code(),
            reason: line.error.to_string(),
        }
    }
}

/// What can't be read, each as a warning; not all, where there are many.
pub(crate) fn warnings(users: &Users, unreadable: &[Unreadable]) -> Vec<String> {
    const MOST: usize = 20;
    let mut lines: Vec<String> =
        unreadable.iter().take(MOST).map(|each| format!("warning: {users}{}", each.at)).collect();
    let more = unreadable.len().saturating_sub(MOST);
    if more > 0 {
        let what = if unreadable.iter().any(|each| each.line.is_some()) { "line" } else { "account" };
        lines.push(format!("warning: {users}: {} more can't be read", term::count(more, what)));
    }
    lines
}

/// Fails, after saying why, where not all can be read.
pub(crate) fn all_read(users: &Users, unreadable: &[Unreadable]) -> Result<(), Failure> {
    if unreadable.is_empty() {
        return Ok(());
    }
    warnings(users, unreadable).iter().for_each(term::note);
    let what = if unreadable.iter().any(|each| each.line.is_some()) { "line" } else { "account" };
    let count = term::count(unreadable.len(), what);
    Err(Failure::new(format_args!("{users}: {count} can't be read; mend or remove what is named above")))
}

pub(crate) fn runtime() -> Result<Runtime, Failure> {
    let built = runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| Failure::new(format_args!("cannot start: {error}")))
}

/// What to say of a database that can't be opened.
#[cfg(feature = "sql")]
pub(crate) fn cant_open(place: &Place, error: &OpenError) -> Failure {
    let users = term::word(&place.to_string());
    match error {
        OpenError::Schema(_) => Failure::new(format_args!("{place}: {error} --users {users}")),
        OpenError::File { .. } if place.is_missing() => Failure::new(format_args!("{place}: there is no such file"))
            .and(format_args!("make it with: countersign user add NAME --users {users}")),
        OpenError::Away(_) => Failure::new(format_args!("{place}: {}", chain(error))),
        error => Failure::new(chain(error)),
    }
}

/// Makes the folder of the file that accounts are in by default.
#[cfg(feature = "sql")]
pub(crate) fn make_folder(place: &Place) -> Result<(), Failure> {
    let own = state::folder().filter(|folder| place.path().is_some_and(|path| path.parent() == Some(folder)));
    let Some(folder) = own else { return Ok(()) };
    state::make_private(&folder).map_err(|error| Failure::new(format_args!("{}: {error}", folder.display())))
}

/// Whether a file that is missing can be made, as far as can be seen before.
fn can_be_made(users: &Path) -> Result<(), Failure> {
    if users.is_symlink() {
        return Err(leads_nowhere(users));
    }
    match users.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        Some(folder) => {
            let (path, folder) = (users.display(), term::quoted(folder));
            Err(Failure::new(format_args!("{path}: the folder that it would be in is missing; run: mkdir -p {folder}")))
        }
        None => Ok(()),
    }
}

fn missing(users: &Path, error: &FileError) -> Failure {
    if error.is_missing() && users.is_symlink() {
        return leads_nowhere(users);
    }
    let users = term::quoted(users);
    Failure::missing(error, format_args!("make it with: countersign user add NAME --users {users}"))
}

fn leads_nowhere(users: &Path) -> Failure {
    let path = users.display();
    Failure::new(format_args!("{path}: a link to a file that is missing; make that, or remove the link"))
}
