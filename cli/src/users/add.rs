//! `user add`: a user who is not there yet.

use super::password::{NewPassword, PasswordArgs};
use super::{AccountArgs, keys};
use crate::accounts::{NotAdded, Opened, Users};
use crate::failure::Failure;
use crate::term;
use clap::Args;
use countersign::UnixTime;
use countersign::accounts::{Account, AccountError, AccountStore, StoreError};
use std::path::PathBuf;
use std::time::SystemTime;

#[derive(Args)]
pub(crate) struct AddArgs {
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
}

impl AddArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let (account, name, users) = (&self.account, &self.account.name, self.account.users.place()?);
        // Whatever is wrong with the name, the permissions and the keys shows here, before a password is typed or a file made.
        let takes_stdin = !self.no_password && self.password.password_stdin;
        let keys = self.key.as_deref().map(|path| keys::read(path, takes_stdin)).transpose()?.unwrap_or_default();
        let known = |error: AccountError| account.known(&error);
        let mut new = Account::new(name, &self.permissions).map_err(known)?;
        new.set_expiry(self.expires);
        self.roles.iter().try_for_each(|role| new.add_role(role).map(drop)).map_err(known)?;
        keys.iter().try_for_each(|key| new.add_key(key).map(drop)).map_err(known)?;
        self.check_new(&users)?;
        let password = if self.no_password { None } else { Some(self.password.ask(name, None)?) };
        if let Some(password) = &password {
            password.set(&mut new)?;
        }
        users.add(&new).map_err(|failure| match failure {
            NotAdded::Store(error) => account.failure(&error),
            NotAdded::Failed(failure) => failure,
        })?;
        account.note("added");
        password.iter().for_each(NewPassword::note);
        keys.iter().for_each(|key| keys::note("with the key", key));
        if self.expires.is_some_and(|expires| expires <= UnixTime::from_system(SystemTime::now())) {
            term::note("warning: that date is over, so the user can't log in");
        }
        if self.no_password && keys.is_empty() {
            term::note(format_args!("next: {}", account.command("token")));
        }
        Ok(())
    }

    /// Whether the user can be added, as far as can be seen before anyone types a password in vain.
    fn check_new(&self, users: &Users) -> Result<(), Failure> {
        let account = &self.account;
        let unknown = |role: &String| account.known(&AccountError::UnknownRole(role.clone()));
        // Nobody adds a role by the way.
        if users.is_missing() {
            if let Some(role) = self.roles.first() {
                return Err(unknown(role));
            }
            return users.prepare(false);
        }
        let opened = Opened::open(users)?;
        match opened.find(&account.name) {
            Ok(_) => return Err(account.known(&AccountError::Exists(account.name.clone()))),
            Err(StoreError::Account(AccountError::Unknown(_))) => {}
            Err(error) => return Err(account.failure(&error)),
        }
        if !self.roles.is_empty() {
            let there = opened.wait(AccountStore::roles).map_err(|error| account.failure(&error))?;
            if let Some(role) = self.roles.iter().find(|role| there.iter().all(|of| of.name() != role.as_str())) {
                return Err(unknown(role));
            }
        }
        opened.warn();
        Ok(())
    }
}
