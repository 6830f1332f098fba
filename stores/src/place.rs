//! Where a database is, and how it is opened.

use crate::address::Address;
use crate::database::{Connections, Database};
use crate::schema::{self, Schema};
use core::fmt;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
        /// What it names of certificates and keys.
        files: Vec<PathBuf>,
    },
}

impl Place {
    /// A file of SQLite's.
    pub fn sqlite(path: impl AsRef<Path>) -> Self {
        Self(Kind::Sqlite(path.as_ref().to_owned()))
    }

    /// `sqlite:PATH`, or `postgres://USER@HOST:PORT/DATABASE` with whatever else PostgreSQL's own tools take in such an address
    /// (`?sslmode=verify-full`, `?host=/run/postgresql`); what is left out there is read from `PGHOST`, `PGUSER`, `PGPASSWORD` and the
    /// like, and the password also from `~/.pgpass`. A parameter that it does not know is refused, and so is what would be no password because one of
    /// `#`, `/`, `?`, `@` and `:` stands in it as it is.
    ///
    /// # Errors
    /// [`OpenError::Address`], [`OpenError::Escapes`], [`OpenError::Parameter`], [`OpenError::SslMode`], [`OpenError::Unchecked`].
    pub fn parse(text: &str) -> Result<Self, OpenError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            return if path.is_empty() { Err(OpenError::Address) } else { Ok(Self::sqlite(path)) };
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(OpenError::Address);
        }
        let Address { options, shown, files } = Address::parse(text)?;
        Ok(Self(Kind::Postgres { options: Box::new(options), shown, files }))
    }

    /// The password that PostgreSQL wants, from where fewer can see it than an address; it goes before one that is in there, or in
    /// `PGPASSWORD` or `~/.pgpass`. A file of SQLite's has none.
    #[must_use]
    pub fn with_password(self, password: &str) -> Self {
        match self.0 {
            Kind::Postgres { options, shown, files } => {
                Self(Kind::Postgres { options: Box::new((*options).password(password)), shown, files })
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
        migrated.map_err(|error| self.explained(error))
    }

    /// How far the tables are.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn schema(&self) -> Result<Schema, OpenError> {
        let database = self.pool(1)?;
        let found = schema::look(&database).await;
        database.close().await;
        found.map_err(|error| self.explained(error))
    }

    /// Why a file can't be opened: SQLite says that it can't, and not that another one beside it is meant, or the folder.
    pub(crate) fn explained(&self, error: OpenError) -> OpenError {
        let (Kind::Sqlite(path), OpenError::Refused(said)) = (&self.0, &error) else { return error };
        if !said.downcast_ref().is_some_and(|said| is_sqlites(said, &[CANT_OPEN, READ_ONLY])) {
            return error;
        }
        let open = |path: &Path, is_written: bool| {
            let opened = OpenOptions::new().read(true).write(is_written).open(path);
            opened.err().filter(|source| source.kind() != io::ErrorKind::NotFound)
        };
        let beside = ["-wal", "-shm"].map(|end| {
            let mut path = path.clone().into_os_string();
            path.push(end);
            (PathBuf::from(path), true)
        });
        let is_written = said.downcast_ref().is_some_and(|said| is_sqlites(said, &[READ_ONLY]));
        for (path, is_written) in [(path.clone(), is_written)].into_iter().chain(beside) {
            if let Some(source) = open(&path, is_written) {
                return OpenError::File { path, source };
            }
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match error {
            OpenError::Refused(source) => OpenError::Folder { path: folder.to_owned(), source },
            error => error,
        }
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
            Kind::Postgres { options, files, .. } => {
                for path in files {
                    File::open(path).map_err(|source| OpenError::File { path: path.clone(), source })?;
                }
                if matches!(options.get_ssl_mode(), PgSslMode::VerifyCa) {
                    // For this alone `sqlx` wants the process to have one, and panics without. Who has chosen another keeps it.
                    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
                }
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
    /// A `#`, or an `@` behind the host, which are of a password that was cut in two by them.
    #[error("in the password of an address, write # / ? @ : as %23 %2F %3F %40 %3A, and % as %25")]
    Escapes,
    /// A parameter that is none; not by name where it may be a part of a password.
    #[error("the address has {} that is not known{}", .0.as_ref().map_or("a parameter".to_owned(), |name| format!("a parameter, {name},")), KNOWN)]
    Parameter(Option<String>),
    /// What should say how far the other end is checked says nothing that is known.
    #[error("{0} is none of disable, allow, prefer, require, verify-ca and verify-full")]
    SslMode(&'static str),
    /// An address that says by which certificates the other end is checked, and not that it is.
    #[error("sslrootcert is of no use without sslmode=verify-full: nothing would be checked by it")]
    Unchecked,
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
    /// SQLite can't make what it keeps beside a database, in the folder of its file.
    #[error("{}: SQLite can't make files in this folder, beside the database; it has to be writable for whoever uses that", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What SQLite said.
        source: Box<dyn core::error::Error + Send + Sync>,
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
            Self::Address | Self::Escapes | Self::Parameter(_) | Self::SslMode(_) | Self::Unchecked => {
                "database-address"
            }
            Self::Away(_) => "database-away",
            Self::Refused(_) => "database-refused",
            Self::File { .. } | Self::Folder { .. } => "database-file",
            Self::Exposed { .. } => "database-exposed",
            Self::Locked { .. } => "database-locked",
            Self::Schema(_) => "database-schema",
        }
    }
}

/// What [`OpenError::Parameter`] ends with.
const KNOWN: &str = ": there are sslmode, sslrootcert, sslcert, sslkey, host, hostaddr, port, dbname, user, password, options and application_name";

/// SQLite's codes, in their lower bits: it is locked, or in use; it can't be written; there is no room; it can't be opened.
const IN_USE: [u32; 2] = [5, 6];
const READ_ONLY: u32 = 8;
const FULL: u32 = 13;
const CANT_OPEN: u32 = 14;

/// Whether SQLite has said one of these, whatever more is said of it in the higher bits. PostgreSQL's codes are of five letters.
fn is_sqlites(error: &sqlx::Error, codes: &[u32]) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    let code = code.filter(|code| code.len() != 5).and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| codes.contains(&(code & 0xff)))
}

/// Whether a database that answers would not have anything changed: a standby, a role that may only read, a file that can't be written, or no room.
pub(crate) fn refuses_to_write(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    is_sqlites(error, &[READ_ONLY, FULL]) || code.is_some_and(|code| ["25006", "42501"].contains(&&*code))
}

impl OpenError {
    /// What a database says, or why it says nothing.
    pub(crate) fn away(error: sqlx::Error) -> Self {
        // Of PostgreSQL's (SQLSTATE): it starts, stops, or has no room; somebody has locked it, or was in the way. Of SQLite's: somebody has locked
        // it, whatever more is said of that in the higher bits.
        let passes =
            |code: &str| code.len() == 5 && ["57", "53", "08", "55", "40"].iter().any(|class| code.starts_with(class));
        let may_pass = |said: &dyn sqlx::error::DatabaseError| {
            said.code().is_some_and(|code| passes(&code)) || is_sqlites(&error, &IN_USE)
        };
        match error.as_database_error() {
            Some(said) if !may_pass(said) => Self::Refused(Box::new(error)),
            _ => Self::Away(Box::new(error)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use crate::{bulk, circuit, database};
    use sqlx::{ConnectOptions, Connection};
    use std::str::FromStr;

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

    #[tokio::test]
    async fn a_file_that_reads_alone_or_a_folder_that_is_not_to_be_written_is_told_from_what_else_sqlite_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::sqlite(folder.path().join("accounts.db"));
        place.migrate().await.unwrap();
        let options = SqliteConnectOptions::new().filename(place.path().unwrap());
        let refused = async |options: SqliteConnectOptions, statement: &'static str| {
            let mut connection = options.connect().await?;
            sqlx::query(statement).execute(&mut connection).await?;
            connection.close().await
        };
        let insert = "INSERT INTO roles (name, version) VALUES ('clerk', 1)";
        assert!(refuses_to_write(&refused(options.clone().read_only(true), insert).await.unwrap_err()));
        // As it is asked whether it would.
        let nothing = crate::store::WRITE_NOTHING;
        assert!(refuses_to_write(&refused(options.clone().read_only(true), nothing).await.unwrap_err()));
        refused(options.clone(), nothing).await.unwrap();
        refused(options.clone(), insert).await.unwrap();
        let full = "PRAGMA max_page_count = 1; CREATE TABLE large AS SELECT zeroblob(1000000) AS x";
        assert!(refuses_to_write(&refused(options.clone(), full).await.unwrap_err()));
        let other = refused(options, insert).await.unwrap_err();
        assert!(!refuses_to_write(&other), "{other}");
        // As SQLite says it where it can't make a file; everything that is there can be opened.
        let nowhere = SqliteConnectOptions::new().filename(folder.path().join("nowhere/accounts.db"));
        let cant_open = OpenError::away(refused(nowhere, insert).await.unwrap_err());
        match place.explained(cant_open) {
            error @ OpenError::Folder { .. } => assert!(error.to_string().starts_with(folder.path().to_str().unwrap())),
            error => panic!("{error}"),
        }
        assert!(matches!(place.explained(OpenError::away(other)), OpenError::Refused(_)));
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
