//! Where accounts are: a file for people to read, or a database. Everything else is the same for all.

mod store;

pub(crate) use store::{Opened, Store, Unreadable, all_read, lines, runtime, warnings};

use crate::failure::{Failure, chain};
#[cfg(feature = "sql")]
use crate::secrets;
use crate::{state, term};
use clap::Args;
#[cfg(feature = "sql")]
use countersign::accounts::AccountStore;
use countersign::accounts::{Account, AccountError, AccountFile, StoreError};
use countersign::files::{FileError, Missing, edit_accounts};
#[cfg(feature = "sql")]
use countersign_stores::{OpenError, Place, Schema};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

#[derive(Args, Clone, Default)]
pub(crate) struct UsersArgs {
    /// Where the accounts are: a users file, sqlite:FILE, or postgres://USER@HOST/DATABASE
    ///
    /// A users file is text, for people and their editors; a database is for many accounts (sqlite:) and for several servers (postgres:). The
    /// password of a database is best left to --users-password-file, PGPASSWORD or ~/.pgpass: in the address, others on this machine can see it.
    #[cfg_attr(feature = "sql", doc = "")]
    #[cfg_attr(feature = "sql", doc = "[default: accounts.db in countersign's state directory, by sqlite]")]
    // Nothing is refused here: what is wrong with a value would be told with the value, and there may be a password in it.
    #[arg(long, value_name = "PLACE")]
    users: Option<OsString>,
    /// Read the password of the database from the first line of this file
    #[cfg(feature = "sql")]
    #[arg(long, value_name = "FILE", requires = "users")]
    users_password_file: Option<PathBuf>,
}

impl UsersArgs {
    /// What was given, or where they are if nothing is.
    pub(crate) fn place(&self) -> Result<Users, Failure> {
        let place = self.users.as_deref().map_or_else(Users::by_default, Users::parse)?;
        #[cfg(feature = "sql")]
        if let Some(path) = &self.users_password_file {
            return match place {
                Users::Sql(place) if place.path().is_none() => {
                    Ok(Users::Sql(place.with_password(&secrets::of_file(path)?)))
                }
                place => Err(Failure::usage(format_args!(
                    "--users-password-file is for PostgreSQL; {place} has no password"
                ))),
            };
        }
        Ok(place)
    }

    /// Whether a server makes what is missing: nothing was given, so that nothing can be mistyped.
    pub(crate) fn is_made(&self) -> bool {
        cfg!(feature = "sql") && self.users.is_none()
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
    pub(crate) fn parse(text: &OsStr) -> Result<Self, Failure> {
        let is_address = |text: &&str| match text.split_once(':') {
            Some((
                "sqlite" | "postgres" | "postgresql" | "mysql" | "mariadb" | "mssql" | "redis" | "ldap" | "ldaps"
                | "ldapi",
                _,
            )) => true,
            Some((_, rest)) => rest.starts_with("//"),
            None => false,
        };
        match text.to_str().filter(is_address) {
            Some(address) if address.starts_with("ldap") => Err(Failure::usage(
                "--users: an LDAP directory has its own ways to add and change users; `serve --ldap` lets it check their passwords",
            )),
            #[cfg(feature = "sql")]
            Some(address) => Place::parse(address).map(Self::Sql).map_err(|error| match error {
                OpenError::Address => Failure::usage(format_args!("--users: {error}, or a users file")),
                OpenError::Escapes => Failure::usage(format_args!(
                    "--users: {error}; or leave the password out, and give it in --users-password-file"
                )),
                error => Failure::usage(format_args!("--users: {error}")),
            }),
            #[cfg(not(feature = "sql"))]
            Some(_) => Err(Failure::usage(
                "--users: this countersign was built without databases (its feature `sql`); give a users file",
            )),
            None if text.is_empty() => Err(Failure::usage("--users is empty; name a users file or a database")),
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

    /// Whether there is no file of that name.
    pub(crate) fn is_missing(&self) -> bool {
        match self {
            Self::File(path) => AccountFile::open(path).is_err_and(|error| error.is_missing()),
            #[cfg(feature = "sql")]
            Self::Sql(place) => place.is_missing(),
        }
    }

    /// Says that a file which is missing is made, if that can be, as far as can be seen before. A dry run makes nothing.
    pub(crate) fn prepare(&self, is_dry: bool) -> Result<(), Failure> {
        let path = match self {
            Self::File(path) => path,
            #[cfg(feature = "sql")]
            Self::Sql(place) => match place.path() {
                Some(path) => path,
                None => return Ok(()),
            },
        };
        if !is_own(path) {
            can_be_made(path)?;
        }
        if !is_dry {
            term::note(format_args!("{self}: no such file yet; making it"));
        }
        Ok(())
    }

    /// Makes a database's file and tables, where there is no file.
    pub(crate) fn make_missing(&self) -> Result<(), Failure> {
        match self {
            #[cfg(feature = "sql")]
            Self::Sql(place) if place.is_missing() => {
                make_folder(place)?;
                runtime()?.block_on(place.migrate()).map(drop).map_err(|error| cant_open(place, &error))
            }
            _ => Ok(()),
        }
    }

    /// Adds an account; makes the file that it is in, if that is missing.
    pub(crate) fn add(&self, account: &Account) -> Result<(), NotAdded> {
        match self {
            Self::File(path) => {
                let insert = |accounts: &mut countersign::Accounts| Ok::<_, StoreError>(accounts.insert(account)?);
                edit_accounts(path, Missing::Make, insert).map_err(NotAdded::Store)
            }
            #[cfg(feature = "sql")]
            Self::Sql(_) => {
                self.make_missing()?;
                Opened::open(self)?.wait(|store| store.add(account)).map_err(NotAdded::Store)
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

    /// What to say where an account or a role can't be changed as was asked for, whoever it is.
    pub(crate) fn known(&self, error: &AccountError) -> Failure {
        let (failure, users) = (Failure::new(term::visible(&chain(error))), self.word());
        match error {
            AccountError::Unknown(_) => {
                failure.and(format_args!("to see who there is: countersign user list --users {users}"))
            }
            AccountError::UnknownRole(role) => {
                let role = term::word(role);
                failure.and(format_args!("to add it: countersign role add {role} --permission WORD --users {users}"))
            }
            _ => failure,
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

/// Why an account was not added: the store says so, or it was not even asked.
pub(crate) enum NotAdded {
    Store(StoreError),
    Failed(Failure),
}

impl From<Failure> for NotAdded {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What to say of a database that can't be opened.
#[cfg(feature = "sql")]
pub(crate) fn cant_open(place: &Place, error: &OpenError) -> Failure {
    let users = term::word(&place.to_string());
    match error {
        OpenError::Schema(schema @ (Schema::Missing | Schema::Older { .. })) => {
            Failure::new(format_args!("{place}: {schema}"))
                .and(format_args!("run: countersign db migrate --users {users}"))
        }
        OpenError::File { .. } if place.is_missing() => Failure::new(format_args!("{place}: there is no such file"))
            .and(format_args!("make it with: countersign user add NAME --users {users}")),
        OpenError::File { .. } | OpenError::Folder { .. } | OpenError::Exposed { .. } => Failure::new(chain(error)),
        error => Failure::new(format_args!("{place}: {}", chain(error))),
    }
}

/// Whether a file is in countersign's state directory, which is made with it.
fn is_own(path: &Path) -> bool {
    path.parent().is_some_and(|folder| state::folder().is_some_and(|own| own == folder))
}

/// Makes the folder of the file that accounts are in by default.
#[cfg(feature = "sql")]
pub(crate) fn make_folder(place: &Place) -> Result<(), Failure> {
    let Some(folder) = place.path().filter(|path| is_own(path)).and_then(Path::parent) else { return Ok(()) };
    state::make_private(folder).map_err(|error| Failure::new(format_args!("{}: {error}", folder.display())))
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

pub(crate) fn missing(users: &Path, error: &FileError) -> Failure {
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
