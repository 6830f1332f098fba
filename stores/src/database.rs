//! The one place that knows that there are two databases: statements go in, rows of texts and numbers come out.

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Error, Postgres, Row as _, SqlSafeStr, Sqlite, Transaction};

/// A pool of connections.
#[derive(Clone)]
pub(crate) enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// What is done all or not at all. Dropped, it is undone.
pub(crate) enum Work {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
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
                let mut connection: PoolConnection<Postgres> = pool.acquire().await?;
                run!(statement, values, &mut *connection).into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub(crate) async fn begin(&self) -> Result<Work, Error> {
        Ok(match self {
            // It waits for other writers now. A transaction that reads first, and wants to write then, may find that it can't.
            Self::Sqlite(pool) => Work::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Work::Postgres(pool.begin().await?),
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
            Self::Postgres(work) => run!(statement, values, &mut **work).into_iter().map(Row::Postgres).collect(),
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
