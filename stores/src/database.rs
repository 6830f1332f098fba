//! The one place that knows that there are two databases: statements go in, rows of texts and numbers come out.

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Connection, Error, Executor, PgConnection, Pool, Postgres, Row as _, SqlSafeStr, Sqlite};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// A pool of connections, of which writers have no more than some: a lock that all of them wait for leaves the others to those who read.
#[derive(Clone)]
pub(crate) struct Database {
    pool: Connections,
    writers: Arc<Semaphore>,
}

#[derive(Clone)]
pub(crate) enum Connections {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// What is done all or not at all. Dropped, it is undone.
pub(crate) enum Work {
    Sqlite(Lent<Sqlite>),
    Postgres(Lent<Postgres>),
}

/// A connection, which goes back to its pool when this is dropped: in time, or not at all.
///
/// Before the pool has it back, whatever was begun on it is waited for, and that by itself knows no end: where a network has swallowed a question, all
/// connections that were in use would be missing for as long as TCP goes on trying, a quarter of an hour after it is mended, too.
pub(crate) struct Lent<D>
where
    D: sqlx::Database,
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
{
    /// Until it is dropped.
    connection: Option<PoolConnection<D>>,
    is_begun: bool,
    /// A writer's, until the pool has the connection back.
    turn: Option<OwnedSemaphorePermit>,
}

/// How long PostgreSQL is waited for then: longer than it goes on with a statement that nobody waits for (`place::ABANDONED`), so that one that is merely
/// slow has no more of them at once than there are connections.
pub(crate) const RETURN: Duration = Duration::from_secs(12);

/// How long PostgreSQL is waited for at the end, and where it has to say why it had no connection.
const GOODBYE: Duration = Duration::from_secs(1);

impl<D> Lent<D>
where
    D: sqlx::Database,
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
{
    async fn of(pool: &Pool<D>) -> Result<Self, Error> {
        Ok(Self { connection: Some(pool.acquire().await?), is_begun: false, turn: None })
    }

    fn get(&mut self) -> Result<&mut D::Connection, Error> {
        self.connection.as_deref_mut().ok_or(Error::PoolClosed)
    }

    async fn begin(pool: &Pool<D>, begin: &'static str, turn: OwnedSemaphorePermit) -> Result<Self, Error> {
        let mut lent = Self::of(pool).await?;
        // Whatever becomes of the statement.
        (lent.is_begun, lent.turn) = (true, Some(turn));
        lent.get()?.execute(begin).await?;
        Ok(lent)
    }

    async fn commit(mut self) -> Result<(), Error> {
        self.get()?.execute("COMMIT").await?;
        self.is_begun = false;
        Ok(())
    }
}

impl<D> Drop for Lent<D>
where
    D: sqlx::Database,
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
{
    fn drop(&mut self) {
        let (Some(mut connection), Ok(runtime), is_begun, turn) =
            (self.connection.take(), Handle::try_current(), self.is_begun, self.turn.take())
        else {
            return;
        };
        runtime.spawn(async move {
            if is_begun && timeout(RETURN, connection.execute("ROLLBACK")).await.is_err() {
                drop(connection.detach());
                return;
            }
            // What the pool does itself, and without an end, where it is dropped.
            let _ = timeout(RETURN, connection.return_to_pool()).await;
            drop(turn);
        });
    }
}

/// What stands for `$1`, `$2` and so on.
#[derive(Clone)]
pub(crate) enum Value {
    Text(String),
    Maybe(Option<String>),
    Number(i64),
    Flag(bool),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

macro_rules! run {
    ($statement:expr, $values:expr, $executor:expr) => {{
        let mut query = sqlx::query($statement);
        for value in $values {
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Maybe(text) => query.bind(text),
                Value::Number(number) => query.bind(number),
                Value::Flag(flag) => query.bind(flag),
            };
        }
        query.fetch_all($executor).await?
    }};
}

impl Database {
    /// With so many writers at once.
    pub(crate) fn new(pool: Connections, writers: usize) -> Self {
        Self { pool, writers: Arc::new(Semaphore::new(writers)) }
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self.pool, Connections::Sqlite(_))
    }

    /// One statement that changes nothing.
    pub(crate) async fn read(&self, statement: impl SqlSafeStr, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        Ok(match &self.pool {
            Connections::Sqlite(pool) => {
                let mut connection: PoolConnection<Sqlite> = pool.acquire().await?;
                run!(statement, values, &mut *connection).into_iter().map(Row::Sqlite).collect()
            }
            Connections::Postgres(pool) => {
                let mut connection = Lent::of(pool).await?;
                run!(statement, values, connection.get()?).into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub(crate) async fn begin(&self) -> Result<Work, Error> {
        let turn = Arc::clone(&self.writers).acquire_owned().await.map_err(|_| Error::PoolClosed)?;
        Ok(match &self.pool {
            // It waits for other writers now. A transaction that reads first, and wants to write then, may find that it can't.
            Connections::Sqlite(pool) => Work::Sqlite(Lent::begin(pool, "BEGIN IMMEDIATE", turn).await?),
            Connections::Postgres(pool) => Work::Postgres(Lent::begin(pool, "BEGIN", turn).await?),
        })
    }

    /// For work that may take this long, each of its statements as well.
    pub(crate) async fn begin_long(&self, patience: Duration) -> Result<Work, Error> {
        let mut work = self.begin().await?;
        if matches!(work, Work::Postgres(_)) {
            let limits = "SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $1, true)";
            work.run(limits, vec![Value::Text(format!("{}ms", patience.as_millis()))]).await?;
        }
        Ok(work)
    }

    /// SQLite's last one puts what stands beside the file into it, which nobody else does before the next one opens it. PostgreSQL is told, for as long as
    /// it listens.
    pub(crate) async fn close(&self) {
        match &self.pool {
            Connections::Sqlite(pool) => pool.close().await,
            Connections::Postgres(pool) => drop(timeout(GOODBYE, pool.close()).await),
        }
    }

    /// Why no connection was to be had in time, where PostgreSQL has said so each time that the pool asked: that there is nobody, or no room.
    pub(crate) async fn explained(&self, error: Error) -> Error {
        let is_late = match &error {
            Error::PoolTimedOut => true,
            Error::Io(error) => error.kind() == io::ErrorKind::TimedOut,
            _ => false,
        };
        let Connections::Postgres(pool) = &self.pool else { return error };
        if !is_late {
            return error;
        }
        match timeout(GOODBYE, PgConnection::connect_with(&pool.connect_options())).await {
            Ok(Err(said)) => said,
            Ok(Ok(connection)) => {
                let _ = timeout(GOODBYE, connection.close()).await;
                error
            }
            Err(_) => error,
        }
    }
}

impl Work {
    pub(crate) async fn run(&mut self, statement: impl SqlSafeStr, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        Ok(match self {
            Self::Sqlite(work) => run!(statement, values, work.get()?).into_iter().map(Row::Sqlite).collect(),
            Self::Postgres(work) => run!(statement, values, work.get()?).into_iter().map(Row::Postgres).collect(),
        })
    }

    pub(crate) async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(work) => work.commit().await,
            Self::Postgres(work) => work.commit().await,
        }
    }
}

macro_rules! column {
    ($($name:ident -> $type:ty),*) => { $(
        pub(crate) fn $name(&self, column: &str) -> Result<$type, Error> {
            match self {
                Self::Sqlite(row) => row.try_get(column),
                Self::Postgres(row) => row.try_get(column),
            }
        }
    )* };
}

impl Row {
    column!(text -> String, maybe -> Option<String>, number -> i64, flag -> bool);
}
