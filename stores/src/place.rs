//! Where a database is, and how it is opened.

use crate::database::Database;
use crate::schema::{self, Schema};
use core::fmt;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// How long a database may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// How long a writer of SQLite waits for another: within [`PATIENCE`], so that it is known what was waited for.
const BUSY: Duration = Duration::from_millis(2500);

/// Connections at once. What needs more waits: a database that is slow is not helped by more of them.
const CONNECTIONS: u32 = 16;

/// What a database ends a statement of a server's after, whose server has gone on: longer than any is waited for.
const ABANDONED: &str = "10s";

/// Where a database is. Printed without the password that may be in it.
#[derive(Clone)]
pub struct Place(Kind);

#[derive(Clone)]
enum Kind {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
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
        let options = PgConnectOptions::from_str(text).map_err(|_| OpenError::Address)?;
        Ok(Self(Kind::Postgres(Box::new(options))))
    }

    /// The file, where it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Sqlite(path) => Some(path),
            Kind::Postgres(_) => None,
        }
    }

    /// Whether it is a file that is not there.
    pub fn is_missing(&self) -> bool {
        match &self.0 {
            Kind::Sqlite(path) => std::fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound),
            Kind::Postgres(_) => false,
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
        let database = self.connect(1).await?;
        let migrated = schema::migrate(&database).await;
        database.close().await;
        migrated
    }

    /// How far the tables are.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn schema(&self) -> Result<Schema, OpenError> {
        let database = self.connect(1).await?;
        let found = schema::look(&database).await;
        database.close().await;
        found
    }

    pub(crate) async fn open(&self) -> Result<Database, OpenError> {
        let database = self.connect(CONNECTIONS).await?;
        match schema::look(&database).await? {
            Schema::Current => Ok(database),
            other => Err(OpenError::Schema(other)),
        }
    }

    async fn connect(&self, connections: u32) -> Result<Database, OpenError> {
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
                Ok(Database::Sqlite(pool.connect_with(options).await.map_err(OpenError::away)?))
            }
            Kind::Postgres(options) => {
                let options = options.as_ref().clone().application_name("countersign").options([
                    ("statement_timeout", ABANDONED),
                    ("lock_timeout", ABANDONED),
                    ("idle_in_transaction_session_timeout", ABANDONED),
                ]);
                let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE);
                Ok(Database::Postgres(pool.connect_with(options).await.map_err(OpenError::away)?))
            }
        }
    }
}

/// As it is written in a command, without a password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Kind::Postgres(options) => {
                let database = options.get_database().unwrap_or_default();
                match options.get_socket() {
                    Some(socket) => write!(f, "postgres:///{database}?host={}", socket.display()),
                    None => write!(f, "postgres://{}:{}/{database}", options.get_host(), options.get_port()),
                }
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
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
    /// The tables are not as this version of the library needs them.
    #[error("{0}")]
    Schema(Schema),
}

impl OpenError {
    pub(crate) fn away(error: sqlx::Error) -> Self {
        Self::Away(Box::new(error))
    }
}
