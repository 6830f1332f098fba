//! `user key`: the public keys that a user can log in by.

use super::AccountArgs;
use crate::failure::{Failure, chain};
use crate::fingerprint::Fingerprint;
use crate::users::show::{date, json};
use crate::{keys, term};
use clap::{Args, Subcommand};
use countersign::accounts::Account;
use countersign::files::{self, FileError};
use countersign::{AddressPatterns, AuthorizedKey, AuthorizedKeysError, UnixTime};
use serde::Serialize;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The longest file of keys, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Keep the public keys that a user can log in by.
#[derive(Subcommand)]
#[command(after_help = "\
The user keeps the private half, in a file or in an ssh-agent, and logs in with `countersign login --identity FILE` or
--agent. The account has the public half alone, which lets nobody in.")]
pub(crate) enum KeyCommand {
    /// Let a user log in by public keys: all those in a file.
    ///
    /// Takes lines of OpenSSH's authorized_keys, .pub files, and public keys in PEM: Ed25519, ECDSA on P-256, and RSA. Of the
    /// options of such a line from= and expiry-time= are kept, and any other is refused. A key that the user has already gets
    /// the bounds that are given now.
    #[command(after_help = "\
Examples:
  countersign user key add alice --key id_ed25519.pub --users users.txt
  countersign user key add alice --key id_ed25519.pub --from 192.0.2.0/24,2001:db8::/32 --until 2027-01-31 --users users.txt
  ssh-add -L | countersign user key add alice --key - --users users.txt")]
    Add(AddArgs),
    /// List a user's keys.
    #[command(after_help = "Example:\n  countersign user key list alice --users users.txt")]
    List {
        #[command(flatten)]
        account: AccountArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a key from a user. Logins from now on can't use it, nor tickets of earlier ones; sessions by one of their keys end.
    #[command(after_help = "Example:\n  countersign user key remove alice SHA256:... --users users.txt")]
    Remove {
        #[command(flatten)]
        account: AccountArgs,
        /// The key, as `user key list` or ssh-keygen -l prints it
        #[arg(value_name = "SHA256:...")]
        key: Fingerprint,
    },
}

#[derive(Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    account: AccountArgs,
    /// The file of the keys; - is standard input
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// From which addresses alone they may be used: addresses, blocks such as 192.0.2.0/24, and patterns such as 10.0.*, with commas
    /// between; one with ! before it is excluded
    #[arg(long, value_name = "PATTERNS")]
    from: Option<String>,
    /// From when on they can't be used: a date in UTC (2027-01-31, 2027-01-31T12:00:00Z), or a time from now (30days)
    #[arg(long, value_name = "WHEN", value_parser = term::date)]
    until: Option<UnixTime>,
}

impl KeyCommand {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Add(args) => args.run(),
            Self::List { account, json: as_json } => list(&account.find()?, *as_json),
            Self::Remove { account, key } => remove(account, *key),
        }
    }
}

impl AddArgs {
    fn run(&self) -> Result<(), Failure> {
        let read = read(&self.key, false)?;
        let keys = read.iter().map(|key| self.bound(key)).collect::<Result<Vec<_>, _>>()?;
        let news = self
            .account
            .edit(|account| keys.iter().map(|key| account.add_key(key)).collect::<Result<Vec<bool>, _>>())?;
        let name = term::visible(&self.account.name);
        for (key, is_new) in keys.iter().zip(news) {
            note(
                &format!("{} {name}", if is_new { "added to" } else { "there already, and bound as given now:" }),
                key,
            );
        }
        Ok(())
    }

    /// A key with the bounds of the command line. Those of its own line are not loosened without a word.
    fn bound(&self, key: &AuthorizedKey) -> Result<AuthorizedKey, Failure> {
        for (option, is_twice) in [
            ("from", self.from.is_some() && key.allowed_from().is_some()),
            ("until", self.until.is_some() && key.until().is_some()),
        ] {
            if is_twice {
                let id = key.key().id();
                return Err(Failure::usage(format_args!(
                    "the line of {id} has such a bound of its own; leave --{option} away, or take it out of the line"
                )));
            }
        }
        let from = self.from.as_deref().or(key.allowed_from().map(AddressPatterns::as_str));
        let until = self.until.or(key.until());
        AuthorizedKey::bounded(key.key().clone(), key.comment(), from, until).map_err(Failure::usage)
    }
}

/// All keys of a file, or of standard input, unless that is taken for something else.
pub(super) fn read(path: &Path, is_stdin_taken: bool) -> Result<Vec<AuthorizedKey>, Failure> {
    if path.as_os_str() != "-" {
        return files::read_authorized_keys(path).map_err(|error| unusable(path, &error));
    }
    if is_stdin_taken {
        return Err(Failure::usage("standard input can't be both the keys and the password; give a file with --key"));
    }
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(MAX_FILE.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| Failure::new(format_args!("standard input: {error}")))?;
    AuthorizedKey::read(&bytes).map_err(|error| match error {
        AuthorizedKeysError::File(error) => keys::key_error(path, error),
        error => Failure::new(format_args!("standard input: {}", chain(&error))),
    })
}

/// What is wrong with a file; where it is a private key, its public half may stand beside it.
fn unusable(path: &Path, error: &FileError) -> Failure {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    let beside = PathBuf::from(beside);
    let is_private = matches!(error, FileError::Key { source, .. } if source.code() == "key-of-other-kind");
    if is_private && beside.is_file() {
        return Failure::new(chain(error)).and(format_args!("the public half is in {}", beside.display()));
    }
    Failure::missing(error, "get it from the user, who makes a pair of keys with: ssh-keygen -t ed25519")
}

/// Says what was done with a key.
pub(super) fn note(done: &str, key: &AuthorizedKey) {
    let comment = match key.comment() {
        "" => String::new(),
        comment => format!(", {}", term::visible(comment)),
    };
    term::note(format_args!("{done} {} ({}{comment})", key.key().id(), key.key().algorithm()));
}

/// One key, for scripts.
#[derive(Serialize)]
pub(super) struct Shown {
    pub(super) fingerprint: String,
    /// As `ssh-keygen -l` prints it.
    openssh_fingerprint: String,
    algorithm: String,
    comment: String,
    from: Option<String>,
    /// RFC 3339, in UTC: from when on it is over.
    until: Option<String>,
}

impl Shown {
    pub(super) fn of(key: &AuthorizedKey) -> Self {
        Self {
            fingerprint: key.key().id().to_string(),
            openssh_fingerprint: key.key().openssh_fingerprint().to_string(),
            algorithm: key.key().algorithm().to_string(),
            comment: key.comment().to_owned(),
            from: key.allowed_from().map(|from| from.as_str().to_owned()),
            until: key.until().map(date),
        }
    }

    fn row(&self) -> Vec<String> {
        let or_dash =
            |text: Option<&str>| text.filter(|text| !text.is_empty()).map_or_else(|| "-".to_owned(), term::visible);
        vec![
            self.fingerprint.clone(),
            self.algorithm.clone(),
            or_dash(self.from.as_deref()),
            or_dash(self.until.as_deref()),
            or_dash(Some(&self.comment)),
        ]
    }
}

fn list(account: &Account, as_json: bool) -> Result<(), Failure> {
    let shown: Vec<Shown> = account.keys().iter().map(Shown::of).collect();
    if as_json {
        return json(&shown);
    }
    let mut rows = vec![["FINGERPRINT", "ALGORITHM", "FROM", "UNTIL", "COMMENT"].map(str::to_owned).to_vec()];
    rows.extend(shown.iter().map(Shown::row));
    term::aligned(&rows, 1, term::width()).into_iter().try_for_each(term::line)
}

fn remove(account: &AccountArgs, wanted: Fingerprint) -> Result<(), Failure> {
    let removed = account.edit(|account| {
        let found = account.keys().iter().find(|held| wanted.names(held.key())).map(|held| held.key().id());
        Ok(found.is_some_and(|id| account.remove_key(id)))
    })?;
    if !removed {
        let name = term::visible(&account.name);
        return Err(Failure::new(format_args!("user {name} has no key {wanted}"))
            .and(format_args!("to see which there are: {}", account.command("key list"))));
    }
    account.note(&format!("removed {wanted} of"));
    Ok(())
}
