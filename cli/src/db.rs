//! `db`: the tables of a database of accounts.

use crate::accounts::{Users, UsersArgs, cant_open, make_folder, runtime};
use crate::failure::Failure;
use crate::term;
use clap::Subcommand;
use countersign_stores::{OpenError, Place, Schema};

/// Make the tables of a database of accounts, and look at them.
#[derive(Subcommand)]
pub(crate) enum Db {
    /// Make the tables, or bring them to what this version needs: all or nothing.
    ///
    /// A file of SQLite's is made if it is missing. Servers of an earlier version go on where the new tables say that they can (docs/cluster.md);
    /// otherwise they tell logins "not now" from then on. Bring them up to date, one by one. Make a backup first: there is no way back but
    /// that.
    #[command(after_help = "\
Examples:
  countersign db migrate --users sqlite:accounts.db
  PGPASSWORD=... countersign db migrate --users 'postgres://countersign@db.example/accounts?sslmode=verify-full'")]
    Migrate {
        #[command(flatten)]
        users: UsersArgs,
    },
    /// Say how far the tables are. If they are not as this version needs them, the exit status is 1.
    #[command(after_help = "Example:\n  countersign db status --users sqlite:accounts.db")]
    Status {
        #[command(flatten)]
        users: UsersArgs,
    },
}

impl Db {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Migrate { users } => {
                let place = database(users)?;
                make_folder(&place)?;
                let before = runtime()?.block_on(place.migrate()).map_err(|error| cant_open(&place, &error))?;
                match before {
                    Schema::Current | Schema::Compatible { .. } => term::note(format_args!("{place}: nothing to do")),
                    _ => term::note(format_args!("{place}: migrated")),
                }
                Ok(())
            }
            Self::Status { users } => {
                let place = database(users)?;
                match runtime()?.block_on(place.schema()).map_err(|error| cant_open(&place, &error))? {
                    found @ (Schema::Current | Schema::Compatible { .. }) => {
                        term::line(format_args!("{place}: {found}"))
                    }
                    found => Err(cant_open(&place, &OpenError::Schema(found))),
                }
            }
        }
    }
}

fn database(users: &UsersArgs) -> Result<Place, Failure> {
    match users.place()? {
        Users::Sql(place) => Ok(place),
        Users::File(path) => Err(Failure::usage(format_args!(
            "{}: a users file has no tables; a database is sqlite:FILE or postgres://USER@HOST/DATABASE",
            path.display()
        ))),
    }
}
