//! Where a database is, and how it is opened.

use crate::database::{Connections, Database};
use crate::schema::{self, Schema};
use core::fmt;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use url::Url;

/// How long a database may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// How long a writer of SQLite waits for another: within [`PATIENCE`], so that it is known what was waited for.
const BUSY: Duration = Duration::from_millis(2500);

/// Connections at once. What needs more waits: a database that is slow is not helped by more of them.
const CONNECTIONS: u32 = 16;

/// How many of them writers have at the most. While a lock is on the tables, each change that somebody waited for keeps its connection for longer than that.
const WRITERS: usize = 8;

/// What a database ends a statement of a server's after, whose server has gone on: longer than any is waited for.
const ABANDONED: &str = "10s";

/// And how long such a statement waits for a lock: longer than [`PATIENCE`], so that it is the server that gives up, and calls it an absence.
const LOCKED: &str = "4s";

/// Where a database is. Printed without the password that may be in it.
#[derive(Clone)]
pub struct Place(Kind);

#[derive(Clone)]
enum Kind {
    Sqlite(PathBuf),
    Postgres {
        options: Box<PgConnectOptions>,
        /// The address, without a password.
        shown: String,
    },
}

impl Place {
    /// A file of SQLite's.
    pub fn sqlite(path: impl AsRef<Path>) -> Self {
        Self(Kind::Sqlite(path.as_ref().to_owned()))
    }

    /// `sqlite:PATH`, or `postgres://USER@HOST:PORT/DATABASE` with whatever else PostgreSQL's own tools take in such an address
    /// (`?sslmode=verify-full`, `?host=/run/postgresql`); what is left out there is read from `PGHOST`, `PGUSER`, `PGPASSWORD` and the
    /// like, and the password also from `~/.pgpass`.
    ///
    /// # Errors
    /// [`OpenError::Address`].
    pub fn parse(text: &str) -> Result<Self, OpenError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            return if path.is_empty() { Err(OpenError::Address) } else { Ok(Self::sqlite(path)) };
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(OpenError::Address);
        }
        // What the parser says of it may hold the password.
        let options = Box::new(PgConnectOptions::from_str(text).map_err(|_| OpenError::Address)?);
        let shown = without_password(text).ok_or(OpenError::Address)?;
        Ok(Self(Kind::Postgres { options, shown }))
    }

    /// The password that PostgreSQL wants, from where fewer can see it than an address; it goes before one that is in there, or in
    /// `PGPASSWORD` or `~/.pgpass`. A file of SQLite's has none.
    #[must_use]
    pub fn with_password(self, password: &str) -> Self {
        match self.0 {
            Kind::Postgres { options, shown } => {
                Self(Kind::Postgres { options: Box::new((*options).password(password)), shown })
            }
            kind @ Kind::Sqlite(_) => Self(kind),
        }
    }

    /// The file, where it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Sqlite(path) => Some(path),
            Kind::Postgres { .. } => None,
        }
    }

    /// Whether it is a file that is not there.
    pub fn is_missing(&self) -> bool {
        match &self.0 {
            Kind::Sqlite(path) => std::fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound),
            Kind::Postgres { .. } => false,
        }
    }

    /// How many files a store there may have open at once, for [`Bounds::files`](countersign::Bounds::files): a connection to PostgreSQL is one; one to SQLite is
    /// the file, and two beside it.
    pub fn files(&self) -> usize {
        let connections = usize::try_from(CONNECTIONS).unwrap_or(usize::MAX);
        match &self.0 {
            Kind::Sqlite(_) => connections.saturating_mul(3),
            Kind::Postgres { .. } => connections,
        }
    }

    /// Makes the tables, or brings them to what this version of the library needs; makes a file that is missing, for its owner alone. All
    /// or nothing, and once, whoever else does the same at the time.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn migrate(&self) -> Result<Schema, OpenError> {
        if let Kind::Sqlite(path) = &self.0
            && self.is_missing()
        {
            make(path).map_err(|source| OpenError::File { path: path.clone(), source })?;
        }
        let database = self.pool(1)?;
        let migrated = schema::migrate(&database).await;
        database.close().await;
        migrated
    }

    /// How far the tables are.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn schema(&self) -> Result<Schema, OpenError> {
        let database = self.pool(1)?;
        let found = schema::look(&database).await;
        database.close().await;
        found
    }

    /// For a store. Nothing is connected to yet.
    pub(crate) fn database(&self) -> Result<Database, OpenError> {
        self.pool(CONNECTIONS)
    }

    fn pool(&self, connections: u32) -> Result<Database, OpenError> {
        match &self.0 {
            Kind::Sqlite(path) => {
                check_mode(path)?;
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(false)
                    // Readers do not wait for a writer.
                    .journal_mode(SqliteJournalMode::Wal)
                    // What a command has said is done is not lost with the power.
                    .synchronous(SqliteSynchronous::Full)
                    .foreign_keys(true)
                    .busy_timeout(BUSY);
                let pool = SqlitePoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE);
                Ok(Database::new(Connections::Sqlite(pool.connect_lazy_with(options)), WRITERS))
            }
            Kind::Postgres { options, .. } => {
                let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE);
                Ok(Database::new(Connections::Postgres(pool.connect_lazy_with(impatient(options))), WRITERS))
            }
        }
    }
}

/// Whatever becomes of this process, nothing of it holds a lock for long.
fn impatient(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().application_name("countersign").options([
        ("statement_timeout", ABANDONED),
        ("lock_timeout", LOCKED),
        ("idle_in_transaction_session_timeout", ABANDONED),
    ])
}

/// As it is written in a command, without a password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Kind::Postgres { shown, .. } => f.write_str(shown),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

/// An address of PostgreSQL's as it was given, but for the password: it can stand in two places.
fn without_password(address: &str) -> Option<String> {
    let mut url = Url::parse(address).ok()?;
    if url.password().is_some() {
        url.set_password(None).ok()?;
    }
    let has_more = url.query_pairs().any(|(name, _)| name == "password");
    if has_more {
        let others: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| name != "password")
            .map(|(n, v)| (n.into_owned(), v.into_owned()))
            .collect();
        url.set_query(None);
        if !others.is_empty() {
            url.query_pairs_mut().extend_pairs(others);
        }
    }
    Some(url.into())
}

fn make(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        // Another process was first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

/// Everyone could guess at the passwords of a file that everyone can read. SQLite gives the files beside it the same mode.
fn check_mode(path: &Path) -> Result<(), OpenError> {
    let metadata = std::fs::metadata(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777;
        if mode & 0o007 != 0 {
            return Err(OpenError::Exposed { path: path.to_owned(), mode });
        }
    }
    let _ = metadata;
    Ok(())
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is no address of a database.
    #[error("not a database: expected sqlite:PATH or postgres://USER@HOST/DATABASE")]
    Address,
    /// It can't be reached, or does not answer in time.
    #[error("the database can't be reached")]
    Away(#[source] Box<dyn core::error::Error + Send + Sync>),
    /// It is there, and refuses: a wrong password, no such database, a file that is none.
    #[error("the database refuses")]
    Refused(#[source] Box<dyn core::error::Error + Send + Sync>),
    /// Its file can't be opened.
    #[error("{}: the operating system refused", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Everyone can read its file, or write it.
    #[error("{}: others can use it (mode {mode:04o}); chmod o= it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Somebody has locked the tables, so that they could not be changed within some seconds, again and again. Nothing was changed.
    #[error("the tables are in use by {holders}; nothing was changed: migrate again when that is done")]
    Locked {
        /// Who, as PostgreSQL says: processes, their programs and roles, as far as this role may see them.
        holders: String,
        /// What the database said.
        source: Box<dyn core::error::Error + Send + Sync>,
    },
    /// The tables are not as this version of the library needs them.
    #[error("{0}")]
    Schema(Schema),
}

impl OpenError {
    /// A word for logs and metrics: kebab-case, and the same in every version.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Address => "database-address",
            Self::Away(_) => "database-away",
            Self::Refused(_) => "database-refused",
            Self::File { .. } => "database-file",
            Self::Exposed { .. } => "database-exposed",
            Self::Locked { .. } => "database-locked",
            Self::Schema(_) => "database-schema",
        }
    }
}

impl OpenError {
    /// What a database says, or why it says nothing.
    pub(crate) fn away(error: sqlx::Error) -> Self {
        // Of PostgreSQL's (SQLSTATE): it starts, stops, or has no room; somebody has locked it, or was in the way. Of SQLite's: somebody has locked
        // it, whatever more is said of that in the higher bits.
        let may_pass = |code: &str| {
            let is_sqlites = code.parse::<u32>().is_ok_and(|code| [5, 6].contains(&(code & 0xff)));
            if code.len() == 5 {
                ["57", "53", "08", "55", "40"].iter().any(|class| code.starts_with(class))
            } else {
                is_sqlites
            }
        };
        match error.as_database_error() {
            Some(said) if !said.code().is_some_and(|code| may_pass(&code)) => Self::Refused(Box::new(error)),
            _ => Self::Away(Box::new(error)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use crate::{bulk, circuit, database};

    #[tokio::test]
    async fn a_file_is_written_for_good_and_waited_for_and_readers_wait_for_no_writer() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::sqlite(folder.path().join("accounts.db"));
        place.migrate().await.unwrap();
        let database = place.database().unwrap();
        // 2 is FULL: with the 1 of NORMAL, what was written last is gone after a power failure.
        for (pragma, column, value) in [
            ("PRAGMA synchronous", "synchronous", 2),
            ("PRAGMA foreign_keys", "foreign_keys", 1),
            ("PRAGMA busy_timeout", "timeout", 2500),
        ] {
            let rows = database.read(pragma, Vec::new()).await.unwrap();
            assert_eq!(rows.first().unwrap().number(column).unwrap(), value, "{pragma}");
        }
        let rows = database.read("PRAGMA journal_mode", Vec::new()).await.unwrap();
        assert_eq!(rows.first().unwrap().text("journal_mode").unwrap(), "wal");
        database.close().await;
    }

    #[test]
    fn a_server_is_told_to_end_what_a_process_has_begun_and_waits_for_no_longer() {
        let options = PgConnectOptions::from_str("postgres://countersign@db.example/accounts").unwrap();
        let told = impatient(&options).get_options().unwrap().to_owned();
        for setting in ["statement_timeout=10s", "lock_timeout=4s", "idle_in_transaction_session_timeout=10s"] {
            assert!(told.split(" -c ").any(|set| set.trim_start_matches("-c ") == setting), "{told}");
        }
    }

    #[test]
    fn a_database_is_waited_for_as_long_as_is_documented_and_twice_within_a_handshake() {
        let seconds = |seconds| Duration::from_secs(seconds);
        assert_eq!((PATIENCE, BUSY), (seconds(3), Duration::from_millis(2500)));
        assert!(2 * PATIENCE < countersign::limits::HANDSHAKE_TIMEOUT);
        assert_eq!((circuit::EVERY, database::RETURN), (Duration::from_millis(500), seconds(12)));
        assert_eq!(bulk::PATIENCE, seconds(30));
        let store = include_str!("store.rs");
        assert!(store.contains("[`SqlStore::add_all`], [`SqlStore::edit_all`] and a change of a role: thirty)"));
        // With its line breaks undone.
        let text = include_str!("../../docs/accounts.md").split_whitespace().collect::<Vec<_>>().join(" ");
        for sentence in [
            format!("Every question is given up after {} seconds, and logins are told", PATIENCE.as_secs()),
            format!("keep `--handshake-timeout` above {} seconds", 2 * PATIENCE.as_secs()),
            "one login in each half second goes on asking it".to_owned(),
            format!("one that hangs costs no other login its {} seconds", PATIENCE.as_secs()),
            "is given up twelve seconds after the question on it was".to_owned(),
            format!("writers wait for each other for up to {} seconds", BUSY.as_secs_f64()),
            format!("It is given up after {}.", bulk::PATIENCE.as_secs()),
            format!("At most {CONNECTIONS} connections for each `SqlStore`, and at most {WRITERS} of them to write"),
        ] {
            assert!(text.contains(&sentence), "docs/accounts.md does not say: {sentence}");
        }
    }
}
