//! The one place that knows that there are two databases: statements go in, rows of texts and numbers come out.

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool, PgRow};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Error, Executor, Postgres, Row as _, SqlSafeStr, Sqlite, Transaction};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// A pool of connections.
#[derive(Clone)]
pub(crate) enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// What is done all or not at all. Dropped, it is undone.
pub(crate) enum Work {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Lent),
}

/// A connection to PostgreSQL, which goes back to its pool when this is dropped: in time, or not at all.
///
/// Before the pool has it back, whatever was begun on it is waited for, and that by itself knows no end: where a network has swallowed a question, all
/// connections that were in use would be missing for as long as TCP goes on trying, a quarter of an hour after it is mended, too.
pub(crate) struct Lent {
    /// Until it is dropped.
    connection: Option<PoolConnection<Postgres>>,
    is_begun: bool,
}

/// How long PostgreSQL is waited for then: longer than it goes on with a statement that nobody waits for (`place::ABANDONED`), so that one that is merely
/// slow has no more of them at once than there are connections.
pub(crate) const RETURN: Duration = Duration::from_secs(12);

impl Lent {
    async fn of(pool: &PgPool) -> Result<Self, Error> {
        Ok(Self { connection: Some(pool.acquire().await?), is_begun: false })
    }

    fn get(&mut self) -> Result<&mut PgConnection, Error> {
        self.connection.as_deref_mut().ok_or(Error::PoolClosed)
    }

    async fn begin(pool: &PgPool) -> Result<Self, Error> {
        let mut lent = Self::of(pool).await?;
        // Whatever becomes of the statement.
        lent.is_begun = true;
        lent.get()?.execute("BEGIN").await?;
        Ok(lent)
    }

    async fn commit(mut self) -> Result<(), Error> {
        self.get()?.execute("COMMIT").await?;
        self.is_begun = false;
        Ok(())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let (Some(mut connection), Ok(runtime), is_begun) =
            (self.connection.take(), Handle::try_current(), self.is_begun)
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
    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// One statement that changes nothing.
    pub(crate) async fn read(&self, statement: impl SqlSafeStr, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        Ok(match self {
            Self::Sqlite(pool) => {
                let mut connection: PoolConnection<Sqlite> = pool.acquire().await?;
                run!(statement, values, &mut *connection).into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(pool) => {
                let mut connection = Lent::of(pool).await?;
                run!(statement, values, connection.get()?).into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub(crate) async fn begin(&self) -> Result<Work, Error> {
        Ok(match self {
            // It waits for other writers now. A transaction that reads first, and wants to write then, may find that it can't.
            Self::Sqlite(pool) => Work::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Work::Postgres(Lent::begin(pool).await?),
        })
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Work {
    pub(crate) async fn run(&mut self, statement: impl SqlSafeStr, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        Ok(match self {
            Self::Sqlite(work) => run!(statement, values, &mut **work).into_iter().map(Row::Sqlite).collect(),
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
