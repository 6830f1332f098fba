//! `user role` and `user from`: which roles a user has, and from where they may log in.

use super::{AccountArgs, new};
use crate::failure::Failure;
use crate::term;
use clap::{Args, Subcommand};

/// Give a user roles, or take them away.
#[derive(Subcommand)]
#[command(
    after_help = "A user has the permissions of all their roles beside their own. See `countersign role --help`."
)]
pub(crate) enum UserRole {
    /// Give a user roles.
    #[command(after_help = "Example:\n  countersign user role add alice clerk --users users")]
    Add {
        #[command(flatten)]
        account: AccountArgs,
        #[command(flatten)]
        roles: RoleNames,
    },
    /// Take roles from a user.
    #[command(after_help = "Example:\n  countersign user role remove alice clerk --users users")]
    Remove {
        #[command(flatten)]
        account: AccountArgs,
        #[command(flatten)]
        roles: RoleNames,
    },
}

#[derive(Args)]
pub(crate) struct RoleNames {
    /// A role; can be repeated
    #[arg(required = true, value_name = "ROLE")]
    roles: Vec<String>,
}

impl UserRole {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Add { account, roles } => {
                let count = account.edit(|account| {
                    roles
                        .roles
                        .iter()
                        .try_fold(0_usize, |count, role| Ok(count.saturating_add(usize::from(account.add_role(role)?))))
                })?;
                account.note(&format!("gave {} to", new(count, "role")));
            }
            Self::Remove { account, roles } => {
                let count =
                    account.edit(|account| Ok(roles.roles.iter().filter(|role| account.remove_role(role)).count()))?;
                account.note(&format!("took {} from", term::count(count, "role")));
            }
        }
        Ok(())
    }
}

#[derive(Args)]
pub(crate) struct FromArgs {
    #[command(flatten)]
    account: AccountArgs,
    /// Addresses, blocks such as 192.0.2.0/24, and patterns such as 10.0.*, with commas between; one with ! before it is excluded.
    /// Or `anywhere`
    patterns: String,
}

impl FromArgs {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let from = Some(self.patterns.as_str()).filter(|from| *from != "anywhere");
        self.account.edit(|account| account.set_from(from))?;
        self.account.note(&format!("can log in from {}:", term::visible(&self.patterns)));
        Ok(())
    }
}
