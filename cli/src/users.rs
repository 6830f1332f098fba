//! `user`: the accounts of a users file.

use crate::failure::Failure;
use crate::{secrets, term};
use clap::{Args, Subcommand};
use countersign::accounts::{Account, AccountError, AccountFile, Accounts, BrokenLine};
use countersign::files::FileError;
use std::io;
use std::path::{Path, PathBuf};

/// Keep the accounts of a users file.
#[derive(Subcommand)]
#[command(after_help = "A running server notices changes to its users file by itself.")]
pub(crate) enum User {
    /// Add a user. Makes the file (mode 0600) if it is missing.
    ///
    /// Asks for the password twice, without showing it.
    #[command(after_help = "\
Examples:
  countersign user add alice --users users.txt --permission read --permission write
  countersign user add robot --users users.txt --no-password    (then: countersign user token)")]
    Add {
        #[command(flatten)]
        account: AccountArgs,
        /// What the user may do: a word without spaces and commas; can be repeated
        #[arg(long = "permission", value_name = "WORD")]
        permissions: Vec<String>,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
        /// Set no password: the user can log in with a token alone
        #[arg(long, conflicts_with = "password_stdin")]
        no_password: bool,
    },
    /// Change a user's password. Asks for it twice, without showing it.
    #[command(after_help = "Example:\n  countersign user passwd alice --users users.txt")]
    Passwd {
        #[command(flatten)]
        account: AccountArgs,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Remove a user, with the password and all tokens.
    #[command(after_help = "Example:\n  countersign user remove alice --users users.txt")]
    Remove {
        #[command(flatten)]
        account: AccountArgs,
    },
    /// List the users, their permissions, and what they can log in with.
    ///
    /// Lines of the file that can't be read are reported on standard error.
    #[command(after_help = "Example:\n  countersign user list --users users.txt")]
    List {
        #[command(flatten)]
        file: FileArgs,
    },
    /// Issue a token for a user: 256 random bits, printed this once on standard output.
    #[command(after_help = "Example:\n  countersign user token robot --users users.txt > robot.token")]
    Token {
        #[command(flatten)]
        account: AccountArgs,
    },
    /// Revoke all of a user's tokens. The password stays.
    #[command(after_help = "Example:\n  countersign user revoke robot --users users.txt")]
    Revoke {
        #[command(flatten)]
        account: AccountArgs,
    },
}

#[derive(Args)]
pub(crate) struct FileArgs {
    /// The users file
    #[arg(long, value_name = "FILE")]
    users: PathBuf,
}

#[derive(Args)]
pub(crate) struct AccountArgs {
    /// The user's name
    name: String,
    #[command(flatten)]
    file: FileArgs,
}

impl AccountArgs {
    fn edit<T>(&self, change: impl FnOnce(&mut Accounts, &str) -> Result<T, AccountError>) -> Result<T, Failure> {
        edit(&self.file.users, false, |accounts| change(accounts, &self.name))
    }
}

impl User {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Add { account, permissions, password_stdin, no_password } => {
                add(account, permissions, *password_stdin, *no_password)
            }
            Self::Passwd { account, password_stdin } => {
                // Before anyone types a password in vain.
                if open(&account.file.users)?.accounts().get(&account.name).is_none() {
                    return Err(known(AccountError::Unknown(account.name.clone())));
                }
                let password = secrets::ask_new(&account.name, *password_stdin)?;
                account.edit(|accounts, name| accounts.set_password(name, &password))?;
                term::note(format_args!("changed the password of {}", account.name));
                Ok(())
            }
            Self::Remove { account } => {
                account.edit(|accounts, name| accounts.remove(name))?;
                term::note(format_args!("removed {}", account.name));
                Ok(())
            }
            Self::List { file } => list(&file.users),
            Self::Token { account } => {
                let token = account.edit(|accounts, name| accounts.issue_token(name))?;
                term::line(token.as_str())?;
                term::note("this token will not be shown again: the file holds only its hash");
                Ok(())
            }
            Self::Revoke { account } => {
                let count = account.edit(|accounts, name| accounts.revoke_tokens(name))?;
                term::note(format_args!("revoked {} of {}", term::count(count, "token"), account.name));
                Ok(())
            }
        }
    }
}

fn add(account: &AccountArgs, permissions: &[String], from_stdin: bool, no_password: bool) -> Result<(), Failure> {
    let (name, users) = (&account.name, &account.file.users);
    // Whatever is wrong with the name and the permissions shows here, before a password is typed or a file made.
    Accounts::new().add(name, permissions)?;
    match AccountFile::open(users) {
        Ok(file) if file.accounts().get(name).is_some() => return Err(known(AccountError::Exists(name.clone()))),
        Ok(_) => {}
        Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            term::note(format_args!("{}: no such file yet; making it", users.display()));
        }
        Err(error) => return Err(error.into()),
    }
    let password = if no_password { None } else { Some(secrets::ask_new(name, from_stdin)?) };
    edit(users, true, |accounts| {
        accounts.add(name, permissions)?;
        password.as_ref().map_or(Ok(()), |password| accounts.set_password(name, password))
    })?;
    term::note(format_args!("added {name}"));
    if no_password {
        // A name that starts with a dash would be taken for an option.
        let dashes = if name.starts_with('-') { "-- " } else { "" };
        term::note(format_args!("next: countersign user token --users {} {dashes}{name}", users.display()));
    }
    Ok(())
}

fn list(users: &Path) -> Result<(), Failure> {
    let file = open(users)?;
    let accounts = file.accounts();
    let row = |account: &Account| {
        let permissions: Vec<&str> = account.grant().permissions().collect();
        let permissions = if permissions.is_empty() { "-".to_owned() } else { permissions.join(",") };
        let password = if account.has_password() { "yes" } else { "no" };
        [term::visible(account.name()), term::visible(&permissions), password.to_owned(), account.tokens().to_string()]
    };
    let mut rows = vec![["NAME", "PERMISSIONS", "PASSWORD", "TOKENS"].map(str::to_owned)];
    rows.extend(accounts.iter().map(row));
    let width = |column: fn(&[String; 4]) -> &String| {
        rows.iter().map(|row| column(row).chars().count()).max().unwrap_or_default()
    };
    let (names, permissions) = (width(|[name, ..]| name), width(|[_, permissions, ..]| permissions));
    for [name, held, password, tokens] in &rows {
        term::line(format_args!("{name:names$}  {held:permissions$}  {password:8}  {tokens}"))?;
    }
    warn_broken(users, &file.broken_lines());
    Ok(())
}

/// Reports the lines of a users file that can't be read.
fn warn_broken(users: &Path, broken: &[BrokenLine]) {
    for line in broken {
        term::note(broken_line(users, line));
    }
}

/// What is said of a line that can't be read.
pub(crate) fn broken_line(users: &Path, line: &BrokenLine) -> String {
    format!("warning: {}, {line}; the line is kept and ignored", users.display())
}

/// Opens a users file that must be there.
pub(crate) fn open(users: &Path) -> Result<AccountFile, Failure> {
    AccountFile::open(users).map_err(|error| missing(users, &error))
}

fn edit<T>(
    users: &Path,
    create: bool,
    change: impl FnOnce(&mut Accounts) -> Result<T, AccountError>,
) -> Result<T, Failure> {
    if let Ok(file) = AccountFile::open(users) {
        warn_broken(users, &file.broken_lines());
    }
    AccountFile::edit(users, create, |accounts| change(accounts).map_err(EditError::Account)).map_err(|error| {
        match error {
            EditError::File(error) => missing(users, &error),
            EditError::Account(error) => known(error),
        }
    })
}

/// What an edit can fail with.
enum EditError {
    File(FileError),
    Account(AccountError),
}

impl From<FileError> for EditError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

fn missing(users: &Path, error: &FileError) -> Failure {
    Failure::missing(error, format_args!("make it with: countersign user add NAME --users {}", users.display()))
}

fn known(error: AccountError) -> Failure {
    match error {
        AccountError::Exists(_) => {
            Failure::new(format_args!("{error}; to change the password: countersign user passwd"))
        }
        AccountError::Unknown(_) => Failure::new(format_args!("{error}; to see who there is: countersign user list")),
        _ => error.into(),
    }
}
