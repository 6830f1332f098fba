//! `role`: permissions under a name, for many users at once.

use crate::accounts::{Opened, Store, Users, UsersArgs, all_read};
use crate::failure::Failure;
use crate::term;
use crate::users::{self, PermissionArgs};
use clap::{Args, Subcommand};
use countersign::accounts::{AccountError, AccountStore, Role, StoreError};
use serde::Serialize;

/// Keep roles: permissions under a name, for many users at once.
#[derive(Subcommand)]
#[command(after_help = "\
A role stands beside the accounts; in a users file it is a line: @clerk permissions=orders:read,orders:write
`user role add` gives it to a user, who has its permissions beside their own. A running server
notices changes: sessions that are open go on with the new permissions.")]
pub(crate) enum RoleCommand {
    /// Add a role. The users file or database must be there.
    #[command(
        after_help = "Example:\n  countersign role add clerk --permission 'orders:*' --permission reports:read --users users"
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
    #[command(after_help = "Example:\n  countersign role list --users users")]
    List {
        #[command(flatten)]
        users: UsersArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a role that no user has.
    #[command(after_help = "Example:\n  countersign role remove clerk --users users")]
    Remove {
        #[command(flatten)]
        role: RoleArgs,
    },
    /// Give a role permissions, and with it all who have it.
    #[command(after_help = "Example:\n  countersign role grant clerk orders:cancel --users users")]
    Grant {
        #[command(flatten)]
        role: RoleArgs,
        #[command(flatten)]
        permissions: PermissionArgs,
    },
    /// Take permissions from a role, and with it from all who have it.
    #[command(after_help = "Example:\n  countersign role revoke clerk orders:cancel --users users")]
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
    users: UsersArgs,
}

/// One role, for scripts.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    permissions: Vec<&'a str>,
    users: u64,
}

impl RoleArgs {
    /// Does something where the roles are.
    fn with<'s, T>(&self, work: impl AsyncFnOnce(&Store, &str) -> Result<T, StoreError>) -> Result<T, Failure> {
        let users = self.users.place()?;
        let opened = Opened::open(&users)?;
        opened.warn();
        opened.wait(|store| work(store, &self.name)).map_err(|error| self.failure(&users, &error))
    }

    fn edit(
        &self,
        permissions: &PermissionArgs,
        change: fn(&mut Role, &str) -> Result<bool, AccountError>,
    ) -> Result<usize, Failure> {
        self.with(async |store, name| {
            store.edit_role(name, |role| users::each(permissions, |word| change(role, word))).await
        })
    }

    /// What can't be done, and what can.
    fn failure(&self, users: &Users, error: &StoreError) -> Failure {
        let (failure, word) = (users.failure(error), users.word());
        match error {
            StoreError::Account(AccountError::UnknownRole(_)) => {
                failure.and(format_args!("to see which there are: countersign role list --users {word}"))
            }
            StoreError::Account(AccountError::RoleExists(_)) => failure
                .and(format_args!("to give it more: countersign role grant {} PERMISSION --users {word}", self.name)),
            StoreError::Account(AccountError::RoleInUse { user, .. }) => failure.and(format_args!(
                "countersign user role remove {} {} --users {word}",
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
                let new =
                    |error: AccountError| role.users.place().map_or_else(|failure| failure, |of| of.known(&error));
                let new = Role::new(&role.name, permissions).map_err(new)?;
                role.with(async |store, _| store.add_role(&new).await)?;
                role.note("added the role");
            }
            Self::List { users, json } => return list(&users.place()?, *json),
            Self::Remove { role } => {
                role.with(async |store, name| store.remove_role(name).await)?;
                role.note("removed the role");
            }
            Self::Grant { role, permissions } => {
                let count = role.edit(permissions, Role::add_permission)?;
                role.note(&format!("granted {} to the role", users::new(count, "permission")));
            }
            Self::Revoke { role, permissions } => {
                let count = role.edit(permissions, Role::remove_permission)?;
                role.note(&format!("revoked {} of the role", term::count(count, "permission")));
            }
        }
        Ok(())
    }
}

fn list(users: &Users, as_json: bool) -> Result<(), Failure> {
    let opened = Opened::open(users)?;
    let roles = opened.wait(async |store| {
        let mut all = Vec::new();
        for role in store.roles().await? {
            let count = store.role_users(role.name()).await?;
            all.push((role, count));
        }
        Ok(all)
    });
    let roles = roles.map_err(|error: StoreError| users.failure(&error))?;
    let shown: Vec<Shown<'_>> = roles
        .iter()
        .map(|(role, users)| Shown { name: role.name(), permissions: role.permissions().collect(), users: *users })
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
    all_read(users, &opened.broken_lines())
}
