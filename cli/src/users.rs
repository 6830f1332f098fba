//! `user`: accounts, wherever they are.

mod keys;
mod show;
mod totp;

use crate::accounts::{Opened, StoreFailure, UsersArgs};
use crate::failure::{Failure, chain};
use crate::{secrets, term};
use clap::{Args, Subcommand};
use countersign::UnixTime;
use countersign::accounts::{self, Account, AccountError, AccountStore, PasswordCheck, StoreError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Keep accounts: in a users file, or a database.
#[derive(Subcommand)]
#[command(after_help = "\
A users file (--users FILE) is text, one account in a line; `user add` makes it. It can be changed by hand, too, while it is served and
while these commands run: a running server notices changes by itself, and no command undoes what was changed meanwhile. It
has at most 64 MiB, a line at most 64 KiB. A line that can't be read counts for nobody and keeps its name taken; `user check`
says which there are.

A database (--users sqlite:FILE, --users postgres://USER@HOST/DATABASE) is for many accounts, and for several servers. `user add` makes
a file of SQLite's; tables of PostgreSQL are made by `db migrate`.")]
pub(crate) enum User {
    /// Add a user. Makes a file (mode 0600) if it is missing.
    ///
    /// Asks for the password twice, without showing it.
    #[command(after_help = "\
Examples:
  countersign user add alice --users users.txt --permission read --permission write
  countersign user add guest --users users.txt --expires 30days
  countersign user add carol --users users.txt --no-password --key id_ed25519.pub
  countersign user add robot --users users.txt --no-password    (then: countersign user token)")]
    Add {
        #[command(flatten)]
        account: AccountArgs,
        /// What the user may do: a word without spaces and commas; can be repeated
        #[arg(long = "permission", value_name = "WORD")]
        permissions: Vec<String>,
        /// From when on the user can't log in: a date in UTC (2027-01-31, 2027-01-31T12:00:00Z), or a time from now (30days)
        #[arg(long, value_name = "WHEN", value_parser = term::date)]
        expires: Option<UnixTime>,
        #[command(flatten)]
        password: PasswordArgs,
        /// Set no password: the user can log in with a key or a token alone
        #[arg(long, conflicts_with_all = ["password_stdin", "allow_weak_password"])]
        no_password: bool,
        /// Let the user log in by the public keys in this file, as `user key add` takes them; - is standard input
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Change a user's password. Asks for it twice, without showing it.
    #[command(after_help = "Example:\n  countersign user passwd alice --users users.txt")]
    Passwd {
        #[command(flatten)]
        account: AccountArgs,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Remove a user, with the password, all keys and tokens, and whatever of that name can't be read.
    #[command(after_help = "Example:\n  countersign user remove alice --users users.txt")]
    Remove {
        #[command(flatten)]
        account: AccountArgs,
    },
    /// List the users, their permissions, and what they can log in with.
    ///
    /// What can't be read is reported on standard error, and the exit status is 1 then.
    #[command(after_help = "Example:\n  countersign user list --users users.txt")]
    List {
        #[command(flatten)]
        users: UsersArgs,
        /// Print JSON, with what can't be read
        #[arg(long)]
        json: bool,
    },
    /// Show one user.
    #[command(after_help = "Example:\n  countersign user show alice --users users.txt")]
    Show {
        #[command(flatten)]
        account: AccountArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say whether every account can be read. If not, the exit status is 1.
    #[command(after_help = "Example:\n  countersign user check --users users.txt")]
    Check {
        #[command(flatten)]
        users: UsersArgs,
    },
    /// Keep the public keys that a user can log in by.
    #[command(subcommand)]
    Key(keys::KeyCommand),
    /// Issue a token for a user: 256 random bits, printed this once on standard output.
    #[command(after_help = "Example:\n  countersign user token robot --users users.txt > robot.token")]
    Token {
        #[command(flatten)]
        account: AccountArgs,
    },
    /// Revoke all of a user's tokens. The password stays.
    #[command(after_help = "Example:\n  countersign user revoke-tokens robot --users users.txt")]
    RevokeTokens {
        #[command(flatten)]
        account: AccountArgs,
    },
    /// Set up a second factor for a user: one-time codes of an authenticator (TOTP).
    ///
    /// Prints the URL that authenticators read, and on a terminal its QR code; asks for a code before anything is saved; and then
    /// prints ten recovery codes, once.
    #[command(after_help = "\
Examples:
  countersign user totp alice --users users.txt
  countersign user totp alice --users users.txt --recovery-codes
  countersign user totp alice --users users.txt --remove

A password then needs a code, too; a token does not. Each code is good once, also within its 30 seconds. After five wrong ones in
a row none is looked at for half a minute, and for twice as long after each further one, up to an hour. The users file holds the
secret as it is: the server computes codes from it. A recovery code is taken out of the file when it is used, so a server that must
not write there takes none.")]
    Totp(totp::TotpArgs),
    /// Give a user permissions. Logins from now on have them.
    #[command(after_help = "Example:\n  countersign user grant alice write admin --users users.txt")]
    Grant {
        #[command(flatten)]
        account: AccountArgs,
        #[command(flatten)]
        permissions: PermissionArgs,
    },
    /// Take permissions from a user. Logins from now on don't have them; sessions that are open keep them.
    #[command(after_help = "Example:\n  countersign user revoke alice admin --users users.txt")]
    Revoke {
        #[command(flatten)]
        account: AccountArgs,
        #[command(flatten)]
        permissions: PermissionArgs,
    },
    /// Lock a user out, until `user unlock`. Tickets of earlier logins stay dead after that; sessions that are open go on.
    #[command(after_help = "Example:\n  countersign user lock alice --users users.txt")]
    Lock {
        #[command(flatten)]
        account: AccountArgs,
    },
    /// Let a locked user in again.
    #[command(after_help = "Example:\n  countersign user unlock alice --users users.txt")]
    Unlock {
        #[command(flatten)]
        account: AccountArgs,
    },
    /// Say from when on a user can't log in.
    #[command(after_help = "\
Examples:
  countersign user expire alice 2027-01-31 --users users.txt
  countersign user expire alice never --users users.txt")]
    Expire {
        #[command(flatten)]
        account: AccountArgs,
        /// A date in UTC (2027-01-31, 2027-01-31T12:00:00Z), a time from now (30days), or `never`
        #[arg(value_parser = expiry)]
        when: Expiry,
    },
}

#[derive(Args)]
pub(crate) struct AccountArgs {
    /// The user's name
    name: String,
    #[command(flatten)]
    users: UsersArgs,
}

#[derive(Args)]
pub(crate) struct PermissionArgs {
    /// A word without spaces and commas; can be repeated
    #[arg(required = true, value_name = "PERMISSION")]
    permissions: Vec<String>,
}

#[derive(Args)]
pub(crate) struct PasswordArgs {
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
    /// Take a password of fewer than 8 characters, too, or one that is the user's name
    #[arg(long)]
    allow_weak_password: bool,
}

/// When, if ever.
#[derive(Clone, Copy)]
pub(crate) struct Expiry(Option<UnixTime>);

fn expiry(text: &str) -> Result<Expiry, String> {
    if text == "never" { Ok(Expiry(None)) } else { term::date(text).map(|time| Expiry(Some(time))) }
}

impl PasswordArgs {
    /// Asks for a new password. Gives its hash.
    fn ask(&self, name: &str) -> Result<String, Failure> {
        let password = secrets::ask_new(name, self.password_stdin)?;
        if !self.allow_weak_password {
            accounts::check_strength(name, &password)
                .map_err(|error| Failure::usage(error).and("take another, or this one with --allow-weak-password"))?;
        }
        // Before the file is locked and read: it takes its time.
        Ok(PasswordCheck::hash(&password)?)
    }
}

impl AccountArgs {
    /// Opens what the account is in.
    fn open<T>(&self, work: impl FnOnce(&Opened<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        let users = self.users.place()?;
        work(&Opened::open(&users)?)
    }

    /// The account as it is now.
    fn find(&self) -> Result<Account, Failure> {
        self.open(|opened| opened.find(&self.name).map_err(|error| self.failure(&error)))
    }

    fn edit<T: Send>(&self, change: impl FnMut(&mut Account) -> Result<T, AccountError> + Send) -> Result<T, Failure> {
        self.open(|opened| {
            opened.warn()?;
            opened.wait(|store| store.edit(&self.name, change)).map_err(|error| self.failure(&error))
        })
    }

    fn failure(&self, error: &StoreError) -> Failure {
        match error {
            StoreError::Account(error) => self.known(error),
            error => self.users.place().map_or_else(|failure| failure, |users| users.failure(error)),
        }
    }

    /// `--users` and what was given, as a shell takes it.
    fn option(&self) -> String {
        self.users.place().map(|users| format!("--users {}", users.word())).unwrap_or_default()
    }

    /// What can't be done, and what can.
    fn known(&self, error: &AccountError) -> Failure {
        let failure = Failure::new(term::visible(&chain(error)));
        match error {
            AccountError::Exists(_) => failure.and(format_args!("to change the password: {}", self.command("passwd"))),
            AccountError::Unknown(_) => {
                failure.and(format_args!("to see who there is: countersign user list {}", self.option()))
            }
            AccountError::Broken { .. } | AccountError::Unreadable(..) => {
                failure.and(format_args!("to remove it: {}", self.command("remove")))
            }
            AccountError::TooManyKeys(_) => {
                failure.and(format_args!("to see which there are: {}", self.command("key list")))
            }
            AccountError::TooManyTokens(_) => {
                failure.and(format_args!("to revoke all: {}", self.command("revoke-tokens")))
            }
            _ => failure,
        }
    }

    /// A command about this user, as a shell takes it.
    fn command(&self, command: &str) -> String {
        // A name that starts with a dash would be taken for an option.
        let dashes = if self.name.starts_with('-') { "-- " } else { "" };
        let (option, name) = (self.option(), term::word(&self.name));
        format!("countersign user {command} {option} {dashes}{name}")
    }

    /// Says what was done.
    fn note(&self, done: &str) {
        term::note(format_args!("{done} {}", term::visible(&self.name)));
    }
}

impl User {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Add { account, permissions, expires, password, no_password, key } => {
                let password = if *no_password { None } else { Some(password) };
                let new = New { permissions, expires: *expires, password, keys: key.as_deref() };
                new.add(account)
            }
            Self::Passwd { account, password } => {
                // Before anyone types a password in vain.
                account.find()?;
                let hash = password.ask(&account.name)?;
                account.edit(|account| account.set_password_hash(&hash))?;
                account.note("changed the password of");
                Ok(())
            }
            Self::Remove { account } => {
                account.open(|opened| {
                    opened.warn()?;
                    opened.wait(|store| store.remove(&account.name)).map_err(|error| account.failure(&error))
                })?;
                account.note("removed");
                Ok(())
            }
            Self::List { users, json } => show::list(&users.place()?, *json),
            Self::Show { account, json } => show::account(&account.find()?, *json),
            Self::Check { users } => show::check(&users.place()?),
            Self::Token { account } => {
                let token = account.edit(Account::issue_token)?;
                term::line(token.as_str())?;
                term::note("this token will not be shown again: only its hash is stored");
                Ok(())
            }
            Self::Totp(args) => args.run(),
            Self::Key(command) => command.run(),
            Self::RevokeTokens { account } => {
                let count = account.edit(|account| Ok(account.revoke_tokens()))?;
                account.note(&format!("revoked {} of", term::count(count, "token")));
                Ok(())
            }
            Self::Grant { account, permissions } => {
                let count = account.edit(|account| each(permissions, |word| account.add_permission(word)))?;
                account.note(&format!("granted {} to", new(count, "permission")));
                Ok(())
            }
            Self::Revoke { account, permissions } => {
                let count = account.edit(|account| each(permissions, |word| account.remove_permission(word)))?;
                account.note(&format!("revoked {} of", term::count(count, "permission")));
                Ok(())
            }
            Self::Lock { account } => {
                let was_open = account.edit(|account| Ok(account.lock()))?;
                account.note(if was_open { "locked" } else { "locked already:" });
                Ok(())
            }
            Self::Unlock { account } => {
                let was_locked = account.edit(|account| Ok(account.unlock()))?;
                account.note(if was_locked { "unlocked" } else { "was not locked:" });
                Ok(())
            }
            Self::Expire { account, when: Expiry(when) } => {
                account.edit(|account| {
                    account.set_expiry(*when);
                    Ok(())
                })?;
                let when = when.map_or("never".to_owned(), show::date);
                account.note(&format!("expires {when}:"));
                Ok(())
            }
        }
    }
}

/// `1 new permission`
fn new(count: usize, noun: &str) -> String {
    term::count(count, &format!("new {noun}"))
}

/// How many of the permissions changed something. One that can't be leaves everything as it was.
fn each(
    args: &PermissionArgs,
    mut change: impl FnMut(&str) -> Result<bool, AccountError>,
) -> Result<usize, AccountError> {
    args.permissions.iter().try_fold(0_usize, |count, word| Ok(count.saturating_add(usize::from(change(word)?))))
}

/// A user to be.
struct New<'a> {
    permissions: &'a [String],
    expires: Option<UnixTime>,
    password: Option<&'a PasswordArgs>,
    /// The file of their keys.
    keys: Option<&'a Path>,
}

impl New<'_> {
    fn add(&self, account: &AccountArgs) -> Result<(), Failure> {
        let (name, users) = (&account.name, account.users.place()?);
        // Whatever is wrong with the name, the permissions and the keys shows here, before a password is typed or a file made.
        let keys = self.keys.map(|path| keys::read(path, self.takes_stdin())).transpose()?.unwrap_or_default();
        let mut new = Account::new(name, self.permissions).map_err(|error| account.known(&error))?;
        new.set_expiry(self.expires);
        keys.iter().try_for_each(|key| new.add_key(key).map(drop)).map_err(|error| account.known(&error))?;
        users.check_new(name)?.map_err(|error| account.known(&error))?;
        if let Some(password) = self.password {
            new.set_password_hash(&password.ask(name)?)?;
        }
        users.add(&new).map_err(|failure| match failure {
            StoreFailure::Store(error) => account.failure(&error),
            StoreFailure::Failed(failure) => failure,
        })?;
        account.note("added");
        keys.iter().for_each(|key| keys::note("with the key", key));
        if self.expires.is_some_and(|expires| expires <= UnixTime::from_system(SystemTime::now())) {
            term::note("warning: that date is over, so the user can't log in");
        }
        if self.password.is_none() && keys.is_empty() {
            term::note(format_args!("next: {}", account.command("token")));
        }
        Ok(())
    }

    /// Whether the password comes from standard input.
    fn takes_stdin(&self) -> bool {
        self.password.is_some_and(|password| password.password_stdin)
    }
}
