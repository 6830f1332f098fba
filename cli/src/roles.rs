//! `role`: permissions under a name, for many users at once.

use crate::failure::{Failure, chain};
use crate::term;
use crate::users::{self, EditError, FileArgs, PermissionArgs};
use clap::{Args, Subcommand};
use countersign::accounts::{AccountError, Accounts};
use serde::Serialize;

/// Keep the roles of a users file: permissions under a name, for many users at once.
#[derive(Subcommand)]
#[command(after_help = "\
A role is a line of the users file, such as: @clerk permissions=orders:read,orders:write
`user role add` gives it to a user, who has its permissions beside their own. A running server
notices changes: sessions that are open go on with the new permissions.")]
pub(crate) enum RoleCommand {
    /// Add a role. The users file must be there.
    #[command(
        after_help = "Example:\n  countersign role add clerk --permission 'orders:*' --permission reports:read --users users.txt"
    )]
    Add {
        #[command(flatten)]
        role: RoleArgs,
        /// What whoever has the role may do: a word without spaces and commas, such as orders:read; orders:* is all that begins with orders:.
        /// Can be repeated
        #[arg(long = "permission", value_name = "WORD")]
        permissions: Vec<String>,
    },
    /// List the roles, what they permit, and how many users have them.
    #[command(after_help = "Example:\n  countersign role list --users users.txt")]
    List {
        #[command(flatten)]
        file: FileArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a role that no user has.
    #[command(after_help = "Example:\n  countersign role remove clerk --users users.txt")]
    Remove {
        #[command(flatten)]
        role: RoleArgs,
    },
    /// Give a role permissions, and with it all who have it.
    #[command(after_help = "Example:\n  countersign role grant clerk orders:cancel --users users.txt")]
    Grant {
        #[command(flatten)]
        role: RoleArgs,
        #[command(flatten)]
        permissions: PermissionArgs,
    },
    /// Take permissions from a role, and with it from all who have it.
    #[command(after_help = "Example:\n  countersign role revoke clerk orders:cancel --users users.txt")]
    Revoke {
        #[command(flatten)]
        role: RoleArgs,
        #[command(flatten)]
        permissions: PermissionArgs,
    },
}

#[derive(Args)]
pub(crate) struct RoleArgs {
    /// The role's name
    #[arg(value_name = "ROLE")]
    name: String,
    #[command(flatten)]
    file: FileArgs,
}

/// One role, for scripts.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    permissions: Vec<&'a str>,
    users: usize,
}

impl RoleArgs {
    fn edit<T>(&self, change: impl FnMut(&mut Accounts, &str) -> Result<T, AccountError>) -> Result<T, Failure> {
        let (users, mut change) = (&self.file.users, change);
        users::warn_broken(users, &users::open(users)?.broken_lines());
        users::edit(users, false, |accounts| change(accounts, &self.name)).map_err(|error| match error {
            EditError::File(error) => users::missing(users, &error),
            EditError::Account(error) => self.known(&error),
        })
    }

    /// What can't be done, and what can.
    fn known(&self, error: &AccountError) -> Failure {
        let (failure, users) = (Failure::new(term::visible(&chain(error))), term::quoted(&self.file.users));
        match error {
            AccountError::UnknownRole(_) => {
                failure.and(format_args!("to see which there are: countersign role list --users {users}"))
            }
            AccountError::RoleExists(_) => failure
                .and(format_args!("to give it more: countersign role grant {} PERMISSION --users {users}", self.name)),
            AccountError::RoleInUse { user, .. } => failure.and(format_args!(
                "countersign user role remove {} {} --users {users}",
                term::word(user),
                term::word(&self.name)
            )),
            _ => failure,
        }
    }

    fn note(&self, done: &str) {
        term::note(format_args!("{done} {}", term::visible(&self.name)));
    }
}

impl RoleCommand {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Add { role, permissions } => {
                role.edit(|accounts, name| accounts.add_role(name, permissions))?;
                role.note("added the role");
            }
            Self::List { file, json } => return list(file, *json),
            Self::Remove { role } => {
                role.edit(Accounts::remove_role)?;
                role.note("removed the role");
            }
            Self::Grant { role, permissions } => {
                let grant = |accounts: &mut Accounts, name: &str| {
                    users::each(permissions, |word| accounts.add_role_permission(name, word))
                };
                let count = role.edit(grant)?;
                role.note(&format!("granted {} to the role", users::new(count, "permission")));
            }
            Self::Revoke { role, permissions } => {
                let revoke = |accounts: &mut Accounts, name: &str| {
                    users::each(permissions, |word| accounts.remove_role_permission(name, word))
                };
                let count = role.edit(revoke)?;
                role.note(&format!("revoked {} of the role", term::count(count, "permission")));
            }
        }
        Ok(())
    }
}

fn list(file: &FileArgs, as_json: bool) -> Result<(), Failure> {
    let opened = users::open(&file.users)?;
    let (accounts, broken) = (opened.accounts(), opened.broken_lines());
    let shown: Vec<Shown<'_>> = accounts
        .roles()
        .map(|role| Shown {
            name: role.name(),
            permissions: role.permissions().collect(),
            users: accounts.iter().filter(|account| account.roles().any(|held| held == role.name())).count(),
        })
        .collect();
    if as_json {
        users::json(&shown)?;
    } else {
        let mut rows = vec![["ROLE", "PERMISSIONS", "USERS"].map(str::to_owned).to_vec()];
        rows.extend(
            shown
                .iter()
                .map(|role| vec![role.name.to_owned(), users::words(&role.permissions, ","), role.users.to_string()]),
        );
        term::aligned(&rows, 1, term::width()).into_iter().try_for_each(term::line)?;
    }
    users::all_read(&file.users, &broken)
}
