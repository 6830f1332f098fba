//! `user`: the accounts of a users file.

mod access;
mod import;
mod keys;
mod show;
mod totp;

pub(crate) use show::{json, words};

use crate::failure::{Failure, chain};
use crate::{secrets, term};
use clap::{Args, Subcommand};
use countersign::UnixTime;
use countersign::accounts::{self, Account, AccountError, AccountFile, Accounts, BrokenLine, PasswordCheck};
use countersign::files::FileError;
use countersign::{StretchParameters, StretchedHash, Stretching};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Keep the accounts of a users file.
#[derive(Subcommand)]
#[command(after_help = "\
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
  countersign user add alice --users users.txt --permission read --permission write
  countersign user add guest --users users.txt --expires 30days
  countersign user add carol --users users.txt --no-password --key id_ed25519.pub
  countersign user add robot --users users.txt --no-password    (then: countersign user token)")]
    Add {
        #[command(flatten)]
        account: AccountArgs,
        /// What the user may do: a word without spaces and commas, such as orders:read; orders:* is all that begins with orders:.
        /// Can be repeated
        #[arg(long = "permission", value_name = "WORD")]
        permissions: Vec<String>,
        /// A role of the user's, as `role add` makes it; can be repeated
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// From when on the user can't log in: a date in UTC (2027-01-31, 2027-01-31T12:00:00Z), or a time from now (30days)
        #[arg(long, value_name = "WHEN", value_parser = term::date)]
        expires: Option<UnixTime>,
        #[command(flatten)]
        password: PasswordArgs,
        /// Set no password: the user can log in with a key or a token alone
        #[arg(long, conflicts_with_all = ["password_stdin", "allow_weak_password", "stretch_realm", "no_stretch"])]
        no_password: bool,
        /// Let the user log in by the public keys in this file, as `user key add` takes them; - is standard input
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Change a user's password. Asks for it twice, without showing it.
    #[command(after_help = "\
Examples:
  countersign user passwd alice --users users.txt
  countersign user passwd alice --users users.txt --stretch-realm db.example")]
    Passwd {
        #[command(flatten)]
        account: AccountArgs,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Remove a user, with the password, all keys and tokens, and lines of that name that can't be read.
    #[command(after_help = "Example:\n  countersign user remove alice --users users.txt")]
    Remove {
        #[command(flatten)]
        account: AccountArgs,
    },
    /// List the users, their permissions, and what they can log in with.
    ///
    /// Lines of the file that can't be read are reported on standard error, and the exit status is 1 then.
    #[command(after_help = "Example:\n  countersign user list --users users.txt")]
    List {
        #[command(flatten)]
        file: FileArgs,
        /// Print JSON, with the lines that can't be read
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
    /// Say whether every line of the file can be read. If not, the exit status is 1.
    #[command(after_help = "Example:\n  countersign user check --users users.txt")]
    Check {
        #[command(flatten)]
        file: FileArgs,
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
    /// Import users, with the passwords they have, from a file of another program.
    ///
    /// Says on standard output which lines are not taken and why; the exit status is 1 then, and the others are imported, all at
    /// once.
    #[command(after_help = "\
Examples:
  countersign user import htpasswd --users users.txt --dry-run
  countersign user import people.csv --users users.txt
  psql --csv -c 'SELECT name, password_hash FROM people' | countersign user import - --format csv --users users.txt

htpasswd is NAME:HASH, a line for each user. CSV has a line first that names its columns: name, password_hash, permissions (words, with
spaces between), expires (2027-01-31), locked (yes or no). name must be there; the others need not be. A value with commas stands in
quotes, and none has a line break; an empty one leaves that as it is.

Taken are Argon2id, Argon2i, Argon2d, bcrypt, scrypt, PBKDF2, SHA-crypt ($5$, $6$) and yescrypt, as their programs, PHC strings, passlib and
Django write them. Not taken are MD5 ($apr1$, $1$), {SHA}, DES and passwords in clear: they protect nothing, and whoever has one needs a new
password. A users file holds at most 64 MiB: some 400,000 users.

With --update, a hash in FILE takes the place of the password that the user has now, also of one that was changed since.")]
    Import(import::ImportArgs),
    /// Give a user permissions. Sessions that are open have them soon, too.
    #[command(after_help = "Example:\n  countersign user grant alice write admin --users users.txt")]
    Grant {
        #[command(flatten)]
        account: AccountArgs,
        #[command(flatten)]
        permissions: PermissionArgs,
    },
    /// Take permissions from a user. Sessions that are open lose them soon, too.
    #[command(after_help = "Example:\n  countersign user revoke alice admin --users users.txt")]
    Revoke {
        #[command(flatten)]
        account: AccountArgs,
        #[command(flatten)]
        permissions: PermissionArgs,
    },
    /// Lock a user out, until `user unlock`: what others call to disable an account.
    ///
    /// Sessions that are open end, and tickets of earlier logins stay dead after that.
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
    /// Give a user roles, or take them away.
    #[command(subcommand)]
    Role(access::UserRole),
    /// Say from where alone a user can log in, whatever they log in with.
    #[command(after_help = "\
Examples:
  countersign user from alice 192.0.2.0/24,2001:db8::/32 --users users.txt
  countersign user from alice anywhere --users users.txt")]
    From(access::FromArgs),
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
pub(crate) struct FileArgs {
    /// The users file
    #[arg(long, value_name = "FILE")]
    pub(crate) users: PathBuf,
}

#[derive(Args)]
pub(crate) struct AccountArgs {
    /// The user's name
    name: String,
    #[command(flatten)]
    file: FileArgs,
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
    /// Keep what the user's client stretches the password to, for the realm of a server with `serve --stretch`. What an account
    /// has stays so at `user passwd`
    #[arg(long, value_name = "REALM")]
    stretch_realm: Option<String>,
    /// What stretching takes of a client: KiB of memory, passes, lanes; the newest of what the server announces
    #[arg(long, value_name = "PARAMETERS", requires = "stretch_realm", default_value_t = StretchParameters::DEFAULT)]
    stretch_parameters: StretchParameters,
    /// Keep a hash of the password that the server computes, also where it was stretched so far
    #[arg(long, conflicts_with = "stretch_realm")]
    no_stretch: bool,
}

/// A new password, as it is kept.
enum NewPassword {
    Hash(String),
    Stretched(StretchedHash),
}

impl NewPassword {
    fn set(&self, account: &mut Account) -> Result<(), AccountError> {
        match self {
            Self::Hash(hash) => account.set_password_hash(hash),
            Self::Stretched(stretched) => {
                account.set_stretched(stretched);
                Ok(())
            }
        }
    }

    /// How it is kept, for who has not asked for it.
    fn note(&self) {
        if let Self::Stretched(stretched) = self {
            let (realm, parameters) = (stretched.realm(), stretched.parameters());
            term::note(format_args!("it is stretched for {realm} at {parameters}: good with `serve --stretch` alone"));
        }
    }
}

/// When, if ever.
#[derive(Clone, Copy)]
pub(crate) struct Expiry(Option<UnixTime>);

fn expiry(text: &str) -> Result<Expiry, String> {
    if text == "never" { Ok(Expiry(None)) } else { term::date(text).map(|time| Expiry(Some(time))) }
}

impl PasswordArgs {
    /// Asks for a new password. Gives what is kept of it; `kept` is what was so far.
    fn ask(&self, name: &str, kept: Option<&StretchedHash>) -> Result<NewPassword, Failure> {
        let stretching = self.stretching(kept)?;
        let password = secrets::ask_new(name, self.password_stdin)?;
        if !self.allow_weak_password {
            accounts::check_strength(name, &password)
                .map_err(|error| Failure::usage(error).and("take another, or this one with --allow-weak-password"))?;
        }
        // Before the file is locked and read: it takes its time.
        match stretching {
            None => Ok(NewPassword::Hash(PasswordCheck::hash(&password)?)),
            Some(stretching) => {
                let stretched = stretching.stretch(name, &password).map_err(Failure::new)?;
                Ok(NewPassword::Stretched(stretched.newest()))
            }
        }
    }

    fn stretching(&self, kept: Option<&StretchedHash>) -> Result<Option<Stretching>, Failure> {
        let stretching = match (&self.stretch_realm, kept) {
            (Some(realm), _) => Stretching::new(realm, &[self.stretch_parameters]),
            (None, Some(kept)) if !self.no_stretch => Stretching::new(kept.realm(), &[kept.parameters()]),
            (None, _) => return Ok(None),
        };
        stretching.map(Some).map_err(|error| Failure::usage(format_args!("--stretch-realm: {error}")))
    }
}

impl AccountArgs {
    fn edit<T>(&self, mut change: impl FnMut(&mut Account) -> Result<T, AccountError>) -> Result<T, Failure> {
        self.edit_all(|accounts, name| accounts.edit(name, &mut change))
    }

    fn edit_all<T>(
        &self,
        mut change: impl FnMut(&mut Accounts, &str) -> Result<T, AccountError>,
    ) -> Result<T, Failure> {
        let users = &self.file.users;
        warn_broken(users, &open(users)?.broken_lines());
        edit(users, false, |accounts| change(accounts, &self.name)).map_err(|error| self.failure(error, missing))
    }

    fn failure(&self, error: EditError, of_file: fn(&Path, &FileError) -> Failure) -> Failure {
        match error {
            EditError::File(error) => of_file(&self.file.users, &error),
            EditError::Account(error) => self.known(&error),
        }
    }

    /// What can't be done, and what can.
    fn known(&self, error: &AccountError) -> Failure {
        let failure = Failure::new(term::visible(&chain(error)));
        match error {
            AccountError::Exists(_) => failure.and(format_args!("to change the password: {}", self.command("passwd"))),
            AccountError::Unknown(_) => {
                let users = term::quoted(&self.file.users);
                failure.and(format_args!("to see who there is: countersign user list --users {users}"))
            }
            AccountError::Broken { .. } => failure.and(format_args!("to remove it: {}", self.command("remove"))),
            AccountError::UnknownRole(role) => {
                let (users, role) = (term::quoted(&self.file.users), term::word(role));
                failure.and(format_args!("to add it: countersign role add {role} --permission WORD --users {users}"))
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
        let (users, name) = (term::quoted(&self.file.users), term::word(&self.name));
        format!("countersign user {command} --users {users} {dashes}{name}")
    }

    /// Says what was done.
    fn note(&self, done: &str) {
        term::note(format_args!("{done} {}", term::visible(&self.name)));
    }
}

impl User {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Add { account, permissions, roles, expires, password, no_password, key } => {
                let password = if *no_password { None } else { Some(password) };
                let new = New { permissions, roles, expires: *expires, password, keys: key.as_deref() };
                new.add(account)
            }
            Self::Passwd { account, password } => {
                // Before anyone types a password in vain.
                let file = open(&account.file.users)?;
                let accounts = file.accounts();
                let found = accounts.find(&account.name).map_err(|error| account.known(&error))?;
                let new = password.ask(&account.name, found.stretched())?;
                account.edit(|account| new.set(account))?;
                account.note("changed the password of");
                new.note();
                Ok(())
            }
            Self::Remove { account } => {
                account.edit_all(Accounts::remove)?;
                account.note("removed");
                Ok(())
            }
            Self::List { file, json } => show::list(&file.users, *json),
            Self::Show { account, json } => {
                let file = open(&account.file.users)?;
                let accounts = file.accounts();
                let found = accounts.find(&account.name).map_err(|error| account.known(&error))?;
                show::account(found, *json)
            }
            Self::Check { file } => {
                let (users, file) = (&file.users, open(&file.users)?);
                let count = file.accounts().iter().count();
                all_read(users, &file.broken_lines())?;
                term::line(format_args!(
                    "{}: {}, and every line can be read",
                    users.display(),
                    term::count(count, "account")
                ))
            }
            Self::Token { account } => {
                let token = account.edit(Account::issue_token)?;
                term::line(token.as_str())?;
                term::note("this token will not be shown again: the file holds only its hash");
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

/// A user to be.
struct New<'a> {
    permissions: &'a [String],
    roles: &'a [String],
    expires: Option<UnixTime>,
    password: Option<&'a PasswordArgs>,
    /// The file of their keys.
    keys: Option<&'a Path>,
}

impl New<'_> {
    fn add(&self, account: &AccountArgs) -> Result<(), Failure> {
        let (name, users, permissions) = (&account.name, &account.file.users, self.permissions);
        // Whatever is wrong with the name, the permissions and the keys shows here, before a password is typed or a file made.
        let keys = self.keys.map(|path| keys::read(path, self.takes_stdin())).transpose()?.unwrap_or_default();
        let mut new = Account::new(name, permissions).map_err(|error| account.known(&error))?;
        new.set_expiry(self.expires);
        self.roles.iter().try_for_each(|role| new.add_role(role).map(drop)).map_err(|error| account.known(&error))?;
        keys.iter().try_for_each(|key| new.add_key(key).map(drop)).map_err(|error| account.known(&error))?;
        match AccountFile::open(users) {
            Ok(file) => {
                let accounts = file.accounts();
                accounts.check_new(name).map_err(|error| account.known(&error))?;
                // Before anyone types a password in vain.
                if let Some(role) = self.roles.iter().find(|role| accounts.role(role).is_none()) {
                    return Err(account.known(&AccountError::UnknownRole(role.clone())));
                }
                warn_broken(users, &file.broken_lines());
            }
            Err(error) if error.is_missing() => {
                if let Some(role) = self.roles.first() {
                    return Err(account.known(&AccountError::UnknownRole(role.clone())));
                }
                can_be_made(users)?;
                term::note(format_args!("{}: no such file yet; making it", users.display()));
            }
            Err(error) => return Err(error.into()),
        }
        let password = self.password.map(|password| password.ask(name, None)).transpose()?;
        if let Some(password) = &password {
            password.set(&mut new)?;
        }
        let added = edit(users, true, |accounts| accounts.insert(&new));
        added.map_err(|error| account.failure(error, |_, error| Failure::file(error)))?;
        account.note("added");
        password.iter().for_each(NewPassword::note);
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

/// Whether a file that is missing can be made, as far as can be seen before.
fn can_be_made(users: &Path) -> Result<(), Failure> {
    let path = users.display();
    if users.is_symlink() {
        return Err(Failure::new(format_args!(
            "{path}: a link to a file that is missing; make that, or remove the link"
        )));
    }
    match users.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        Some(folder) => {
            let folder = term::quoted(folder);
            Err(Failure::new(format_args!("{path}: the folder that it would be in is missing; run: mkdir -p {folder}")))
        }
        None => Ok(()),
    }
}

/// The lines of a users file that can't be read, each as a warning; not all, where there are many.
pub(crate) fn broken_lines(users: &Path, broken: &[BrokenLine]) -> Vec<String> {
    const MOST: usize = 20;
    let path = users.display();
    let warning = |line| format!("warning: {path}, {line}; the line is kept and counts for nobody");
    let mut lines: Vec<String> = broken.iter().take(MOST).map(warning).collect();
    let more = broken.len().saturating_sub(MOST);
    if more > 0 {
        lines.push(format!("warning: {path}: {} more can't be read", term::count(more, "line")));
    }
    lines
}

pub(crate) fn warn_broken(users: &Path, broken: &[BrokenLine]) {
    broken_lines(users, broken).iter().for_each(term::note);
}

/// Fails, after saying why, where not all lines can be read.
pub(crate) fn all_read(users: &Path, broken: &[BrokenLine]) -> Result<(), Failure> {
    if broken.is_empty() {
        return Ok(());
    }
    warn_broken(users, broken);
    let count = term::count(broken.len(), "line");
    Err(Failure::new(format_args!("{}: {count} can't be read; mend or remove what is named above", users.display())))
}

/// Opens a users file that must be there.
pub(crate) fn open(users: &Path) -> Result<AccountFile, Failure> {
    AccountFile::open(users).map_err(|error| missing(users, &error))
}

pub(crate) fn edit<T>(
    users: &Path,
    create: bool,
    mut change: impl FnMut(&mut Accounts) -> Result<T, AccountError>,
) -> Result<T, EditError> {
    AccountFile::edit(users, create, |accounts| change(accounts).map_err(EditError::Account))
}

/// What an edit can fail with.
pub(crate) enum EditError {
    File(FileError),
    Account(AccountError),
}

impl From<FileError> for EditError {
    fn from(error: FileError) -> Self {
        Self::File(error)
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
