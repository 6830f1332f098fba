//! `user`: accounts, and how they are edited.

mod access;
mod add;
mod import;
mod keys;
mod password;
mod show;
mod totp;

pub use import::imported;
pub(crate) use show::{json, words};

use crate::accounts::{Opened, UsersArgs};
use crate::failure::{Failure, chain};
use crate::term;
use clap::{Args, Subcommand};
use countersign::UnixTime;
use countersign::accounts::{Account, AccountError, AccountStore, StoreError};
use password::PasswordArgs;

/// Keep accounts, in a users file or a database.
#[derive(Subcommand)]
#[command(after_help = "\
Accounts are where --users says: in a users file, in a file of SQLite's (sqlite:FILE), or in PostgreSQL (postgres://...). Without
it they are in SQLite, in countersign's state directory ($XDG_STATE_HOME/countersign/accounts.db). A running server notices
changes by itself.

A users file is text, one account in a line; `user add` makes it. It can be changed by hand, too, while it is served and
while these commands run: a running server notices changes by itself, and no command undoes what was changed meanwhile. It
has at most 64 MiB, a line at most 64 KiB. A line that can't be read counts for nobody and keeps its name taken; `user check`
says which there are.")]
pub(crate) enum User {
    /// Add a user. Makes the file (mode 0600) if it is missing.
    ///
    /// Asks for the password twice, without showing it.
    #[command(after_help = "\
Examples:
  countersign user add alice --users users --permission read --permission write
  countersign user add guest --users users --expires 30days
  countersign user add carol --users users --no-password --key id_ed25519.pub
  countersign user add robot --users users --no-password    (then: countersign user token)")]
    Add(add::AddArgs),
    /// Change a user's password. Asks for it twice, without showing it.
    #[command(after_help = "\
Examples:
  countersign user passwd alice --users users
  countersign user passwd alice --users users --stretch-realm db.example")]
    Passwd {
        #[command(flatten)]
        account: AccountArgs,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Remove a user, with the password, all keys and tokens, and lines of that name that can't be read.
    #[command(after_help = "Example:\n  countersign user remove alice --users users")]
    Remove {
        #[command(flatten)]
        account: AccountArgs,
    },
    /// List the users, their permissions, and what they can log in with.
    ///
    /// Lines of the file that can't be read are reported on standard error, and the exit status is 1 then.
    #[command(after_help = "Example:\n  countersign user list --users users")]
    List {
        #[command(flatten)]
        users: UsersArgs,
        /// Print JSON, with the lines that can't be read
        #[arg(long)]
        json: bool,
    },
    /// Show one user.
    #[command(after_help = "Example:\n  countersign user show alice --users users")]
    Show {
        #[command(flatten)]
        account: AccountArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say whether every line of the file can be read. If not, the exit status is 1.
    #[command(after_help = "Example:\n  countersign user check --users users")]
    Check {
        #[command(flatten)]
        users: UsersArgs,
    },
    /// Keep the public keys that a user can log in by.
    #[command(subcommand)]
    Key(keys::KeyCommand),
    /// Issue a token for a user: 256 random bits, printed this once on standard output.
    #[command(after_help = "Example:\n  countersign user token robot --users users > robot.token")]
    Token {
        #[command(flatten)]
        account: AccountArgs,
    },
    /// Revoke all of a user's tokens. The password stays.
    #[command(after_help = "Example:\n  countersign user revoke-tokens robot --users users")]
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
  countersign user totp alice --users users
  countersign user totp alice --users users --recovery-codes
  countersign user totp alice --users users --remove

A password then needs a code, too; a token does not. Each code is good once, also within its 30 seconds. After five wrong ones in
a row none is looked at for half a minute, and for twice as long after each further one, up to an hour. The users file holds the
secret as it is: the server computes codes from it. A recovery code is taken out of the file when it is used, so a server that must
not write there takes none.")]
    Totp(totp::TotpArgs),
    /// Import users, with the passwords they have, from a file of another program.
    ///
    /// Says on standard output which lines are not taken and why; the exit status is 1 then, and the others are imported.
    #[command(after_help = "\
Examples:
  countersign user import htpasswd --users users --dry-run
  countersign user import people.csv --users users
  psql --csv -c 'SELECT name, password_hash FROM people' | countersign user import - --format csv --users users

htpasswd is NAME:HASH, a line for each user. CSV has a line first that names its columns: name, password_hash, permissions (words, with
spaces between), expires (2027-01-31), locked (yes or no). name must be there; the others need not be. A value with commas stands in
quotes, and none has a line break; an empty one leaves that as it is.

Taken are Argon2id, Argon2i, Argon2d, bcrypt, scrypt, PBKDF2, SHA-crypt ($5$, $6$) and yescrypt, as their programs, PHC strings, passlib and
Django write them. Not taken are MD5 ($apr1$, $1$), {SHA}, DES and passwords in clear: they protect nothing, and whoever has one needs a new
password. A users file holds at most 64 MiB, some 400,000 users, and gets all of them at once. A database holds any number, and gets
a thousand at a time: where that is stopped, what was written stays, and --skip-existing goes
on.

With --update, a hash in FILE takes the place of the password that the user has now, also of one that was changed since,
or is stretched.")]
    Import(import::ImportArgs),
    /// Give a user permissions. Sessions that are open have them soon, too.
    #[command(after_help = "Example:\n  countersign user grant alice write admin --users users")]
    Grant {
        #[command(flatten)]
        account: AccountArgs,
        #[command(flatten)]
        permissions: PermissionArgs,
    },
    /// Take permissions from a user. Sessions that are open lose them soon, too.
    #[command(after_help = "Example:\n  countersign user revoke alice admin --users users")]
    Revoke {
        #[command(flatten)]
        account: AccountArgs,
        #[command(flatten)]
        permissions: PermissionArgs,
    },
    /// Lock a user out, until `user unlock`: what others call to disable an account.
    ///
    /// Sessions that are open end, and tickets of earlier logins stay dead after that.
    #[command(after_help = "Example:\n  countersign user lock alice --users users")]
    Lock {
        #[command(flatten)]
        account: AccountArgs,
    },
    /// Let a locked user in again.
    #[command(after_help = "Example:\n  countersign user unlock alice --users users")]
    Unlock {
        #[command(flatten)]
        account: AccountArgs,
    },
    /// Give a user roles, or take them away.
    #[command(subcommand)]
    Role(access::UserRole),
    /// Say from where alone a user can log in, whatever they log in with.
    #[command(after_help = "\
Examples:
  countersign user from alice 192.0.2.0/24,2001:db8::/32 --users users
  countersign user from alice anywhere --users users")]
    From(access::FromArgs),
    /// Say from when on a user can't log in.
    #[command(after_help = "\
Examples:
  countersign user expire alice 2027-01-31 --users users
  countersign user expire alice never --users users")]
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

/// When, if ever.
#[derive(Clone, Copy)]
pub(crate) struct Expiry(Option<UnixTime>);

fn expiry(text: &str) -> Result<Expiry, String> {
    if text == "never" { Ok(Expiry(None)) } else { term::date(text).map(|time| Expiry(Some(time))) }
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
            opened.warn();
            opened.wait(|store| store.edit(&self.name, change)).map_err(|error| self.failure(&error))
        })
    }

    fn failure(&self, error: &StoreError) -> Failure {
        match error {
            StoreError::Account(error) => self.known(error),
            error => self.users.place().map_or_else(|failure| failure, |users| users.failure(error)),
        }
    }

    /// What can't be done, and what can.
    fn known(&self, error: &AccountError) -> Failure {
        let failure = Failure::new(term::visible(&chain(error)));
        match error {
            AccountError::Exists(_) => failure.and(format_args!("to change the password: {}", self.command("passwd"))),
            AccountError::Broken { .. } | AccountError::Unreadable(..) => {
                failure.and(format_args!("to remove it: {}", self.command("remove")))
            }
            AccountError::TooManyKeys(_) => {
                failure.and(format_args!("to see which there are: {}", self.command("key list")))
            }
            AccountError::TooManyTokens(_) => {
                failure.and(format_args!("to revoke all: {}", self.command("revoke-tokens")))
            }
            error => self.users.place().map_or_else(|failure| failure, |users| users.known(error)),
        }
    }

    /// A command about this user, as a shell takes it.
    fn command(&self, command: &str) -> String {
        // A name that starts with a dash would be taken for an option.
        let dashes = if self.name.starts_with('-') { "-- " } else { "" };
        let users = self.users.place().map(|users| format!("--users {} ", users.word())).unwrap_or_default();
        format!("countersign user {command} {users}{dashes}{}", term::word(&self.name))
    }

    /// Says what was done.
    fn note(&self, done: &str) {
        term::note(format_args!("{done} {}", term::visible(&self.name)));
    }
}

impl User {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Add(args) => args.run(),
            Self::Passwd { account, password } => {
                // Before anyone types a password in vain.
                let found = account.find()?;
                let new = password.ask(&account.name, found.stretched())?;
                account.edit(|account| new.set(account))?;
                account.note("changed the password of");
                new.note();
                Ok(())
            }
            Self::Remove { account } => {
                account.open(|opened| {
                    opened.warn();
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
                term::note("this token will not be shown again: only its hash is kept");
                Ok(())
            }
            Self::Totp(args) => args.run(),
            Self::Import(args) => args.run(),
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
            Self::Role(command) => command.run(),
            Self::From(args) => args.run(),
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
pub(crate) fn new(count: usize, noun: &str) -> String {
    term::count(count, &format!("new {noun}"))
}

/// How many of the permissions changed something. One that can't be leaves everything as it was.
pub(crate) fn each(
    args: &PermissionArgs,
    mut change: impl FnMut(&str) -> Result<bool, AccountError>,
) -> Result<usize, AccountError> {
    args.permissions.iter().try_fold(0_usize, |count, word| Ok(count.saturating_add(usize::from(change(word)?))))
}
