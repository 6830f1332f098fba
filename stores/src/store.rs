//! The store.

use crate::database::{Database, Row, Value, Work};
use crate::place::{OpenError, PATIENCE, Place};
use crate::record::{self, Record};
use countersign::accounts::{Account, AccountError, AccountStore, Imitation, LineError, StoreError};
use rand::TryRng;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Accounts in a database. An [`AccountStore`]: see there for what its methods promise.
///
/// Every call is over within three seconds, or is given up. What is written is written in one transaction, and only where nobody has
/// changed the account since it was read, whatever process or machine they are in. A clone shares the connections.
#[derive(Clone)]
pub struct SqlStore(std::sync::Arc<Inner>);

struct Inner {
    database: Database,
    /// What was last known of the stored passwords, and when it was asked for.
    imitation: Mutex<(Instant, Imitation)>,
}

/// How long what is known of the stored passwords' costs counts. They hardly ever change.
const FRESH: Duration = Duration::from_secs(10);

/// All columns, and the tokens' hashes.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT name, version, permissions, password, public_keys, totp, recovery_codes, locked, locks, expires, more, last_step, \
             wrong_answers, closed_until, (SELECT string_agg(hash, ' ' ORDER BY hash) FROM tokens WHERE account = name) AS tokens \
             FROM accounts ",
            $rest
        )
    };
}

const FIND: &str = select!("WHERE name = $1");

/// Steps from one cost to the next by the index, however many accounts have them.
const COSTS: &str = "\
    WITH RECURSIVE costs (cost) AS (\
        SELECT min(password_cost) FROM accounts \
        UNION ALL \
        SELECT (SELECT min(password_cost) FROM accounts WHERE password_cost > costs.cost) FROM costs WHERE costs.cost IS NOT NULL\
    ) SELECT (SELECT password FROM accounts WHERE password_cost = costs.cost LIMIT 1) AS password FROM costs WHERE cost IS NOT NULL";

impl SqlStore {
    /// Opens the database at a place whose tables are there, and as this version of the library needs them.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::Schema`] where the tables are to be made first: [`Place::migrate`].
    pub async fn open(place: &Place) -> Result<Self, OpenError> {
        let database = place.open().await?;
        let imitation = look_up_imitation(&database).await.map_err(OpenError::away)?;
        Ok(Self(std::sync::Arc::new(Inner { database, imitation: Mutex::new((Instant::now(), imitation)) })))
    }

    /// Closes all connections. The store is of no use then.
    pub async fn close(&self) {
        self.0.database.close().await;
    }

    pub(crate) fn database(&self) -> &Database {
        &self.0.database
    }

    /// The names of those accounts that can't be read, and why: somebody wrote something into the tables that is none of the library's.
    /// They let nobody in.
    ///
    /// # Errors
    /// [`StoreError::Away`].
    pub async fn unreadable(&self) -> Result<Vec<(String, LineError)>, StoreError> {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let rows = self.page_of(&after, PAGE).await?;
            let Some((last, _)) = rows.last() else { return Ok(found) };
            after.clone_from(last);
            found.extend(rows.into_iter().filter_map(|(name, read)| Some((name, read.err()?))));
        }
    }

    async fn page_of(&self, after: &str, most: usize) -> Result<Vec<(String, Result<Account, LineError>)>, StoreError> {
        const SELECT: &str = select!("WHERE name > $1 ORDER BY name LIMIT $2");
        let values = vec![after.into(), Value::Number(i64::try_from(most).unwrap_or(i64::MAX))];
        within(async { self.0.database.read(SELECT, values).await?.iter().map(record::read).collect() }).await
    }

    async fn one(&self, statement: &'static str, value: &str) -> Result<Option<Account>, StoreError> {
        let rows = within(self.0.database.read(statement, vec![value.into()])).await?;
        account(rows.first())
    }
}

/// Accounts that are read at once.
const PAGE: usize = 1000;

fn account(row: Option<&Row>) -> Result<Option<Account>, StoreError> {
    let Some(row) = row else { return Ok(None) };
    match record::read(row).map_err(away)? {
        (_, Ok(account)) => Ok(Some(account)),
        (name, Err(error)) => Err(AccountError::Unreadable(name, error).into()),
    }
}

/// What goes wrong in the middle of something.
pub(crate) enum Failed {
    Sql(sqlx::Error),
    Store(StoreError),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<AccountError> for Failed {
    fn from(error: AccountError) -> Self {
        Self::Store(error.into())
    }
}

pub(crate) async fn within<T, E: Into<Failed>>(work: impl Future<Output = Result<T, E>>) -> Result<T, StoreError> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(match error.into() {
            Failed::Store(error) => error,
            Failed::Sql(error) => away(error),
        }),
        Err(late) => Err(StoreError::away("the database does not answer in time", late)),
    }
}

fn away(error: sqlx::Error) -> StoreError {
    let what = match error {
        sqlx::Error::PoolTimedOut => "the database has no connection to give",
        _ => "the database is away",
    };
    StoreError::away(what, error)
}

fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation())
}

async fn look_up_imitation(database: &Database) -> Result<Imitation, sqlx::Error> {
    let key = database.read("SELECT imitation_key FROM countersign", Vec::new()).await?;
    let key = key.first().ok_or(sqlx::Error::RowNotFound)?.text("imitation_key")?;
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(key.as_bytes().chunks(2)) {
        let digits = core::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
        *byte = digits.unwrap_or_default();
    }
    let rows = database.read(COSTS, Vec::new()).await?;
    let passwords = rows.iter().map(|row| row.text("password")).collect::<Result<Vec<_>, _>>()?;
    Ok(Imitation::new(bytes, passwords))
}

fn version() -> Result<Value, StoreError> {
    let mut bytes = [0; 8];
    let random = |error: rand::rngs::SysError| StoreError::away("the system has no randomness to give", error);
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).map_err(random)?;
    Ok(Value::Number(i64::from_be_bytes(bytes)))
}

/// Gives an account these tokens.
async fn add_tokens(work: &mut Work, name: &str, tokens: Vec<String>) -> Result<(), Failed> {
    for token in tokens {
        let insert = "INSERT INTO tokens (hash, account) VALUES ($1, $2)";
        match work.run(insert, vec![Value::Text(token), name.into()]).await {
            Err(error) if is_taken(&error) => return Err(AccountError::DuplicateToken(name.to_owned()).into()),
            added => added?,
        };
    }
    Ok(())
}

impl AccountStore for SqlStore {
    async fn find(&self, name: &str) -> Result<Option<Account>, StoreError> {
        // What no name has in it, PostgreSQL takes for an error of the query's.
        if name.contains('\0') {
            return Ok(None);
        }
        self.one(FIND, name).await
    }

    async fn find_token(&self, hash: &[u8; 32]) -> Result<Option<Account>, StoreError> {
        const SELECT: &str = select!("WHERE name = (SELECT account FROM tokens WHERE hash = $1)");
        self.one(SELECT, &record::token(hash)).await
    }

    /// Those that can't be read are left out: see [`SqlStore::unreadable`].
    async fn page(&self, after: Option<&str>, most: usize) -> Result<Vec<Account>, StoreError> {
        let (mut found, mut after) = (Vec::new(), after.unwrap_or_default().to_owned());
        // Fewer than were asked for would mean that there are no more.
        while found.len() < most {
            let rows = self.page_of(&after, most.saturating_sub(found.len())).await?;
            let Some((last, _)) = rows.last() else { break };
            after.clone_from(last);
            found.extend(rows.into_iter().filter_map(|(_, read)| read.ok()));
        }
        Ok(found)
    }

    async fn imitation(&self) -> Imitation {
        let known = {
            let mut known = self.0.imitation.lock().unwrap_or_else(PoisonError::into_inner);
            if known.0.elapsed() < FRESH {
                return known.1.clone();
            }
            // Where the database is away, one login in a while waits for this, and not each of them.
            known.0 = Instant::now();
            known.1.clone()
        };
        match within(look_up_imitation(&self.0.database)).await {
            Ok(found) => {
                self.0.imitation.lock().unwrap_or_else(PoisonError::into_inner).1 = found.clone();
                found
            }
            Err(_) => known,
        }
    }

    async fn add(&self, account: &Account) -> Result<(), StoreError> {
        const INSERT: &str = "\
            INSERT INTO accounts (permissions, password, password_cost, public_keys, totp, recovery_codes, locked, locks, expires, more, \
                name, version, last_step, wrong_answers, closed_until) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
        let (name, record) = (account.name(), Record::of(account));
        let mut values = record.values();
        values.extend([name.into(), version()?]);
        values.extend(record::numbers(account.answers()));
        within(async {
            let mut work = self.0.database.begin().await?;
            match work.run(INSERT, values).await {
                Err(error) if is_taken(&error) => return Err(AccountError::Exists(name.to_owned()).into()),
                added => added?,
            };
            add_tokens(&mut work, name, record.tokens).await?;
            Ok::<_, Failed>(work.commit().await?)
        })
        .await
    }

    async fn update(&self, old: &Account, new: &Account) -> Result<Account, StoreError> {
        const FIELDS: &str = "\
            UPDATE accounts SET permissions = $1, password = $2, password_cost = $3, public_keys = $4, totp = $5, recovery_codes = $6, \
                locked = $7, locks = $8, expires = $9, more = $10, version = $11, last_step = $12, wrong_answers = $13, closed_until = $14 \
            WHERE name = $15 AND version = $16 AND last_step = $17 AND wrong_answers = $18 AND closed_until = $19 RETURNING name";
        const ANSWERS: &str = "\
            UPDATE accounts SET last_step = $1, wrong_answers = $2, closed_until = $3 \
            WHERE name = $4 AND version = $5 AND last_step = $6 AND wrong_answers = $7 AND closed_until = $8 RETURNING name";
        if new.name() != old.name() {
            return Err(StoreError::Conflict);
        }
        let (name, is_same) = (old.name(), new.is_same(old));
        let (before, after) = (Record::of(old), Record::of(new));
        let mut values = if is_same { Vec::new() } else { after.values() };
        if !is_same {
            values.push(version()?);
        }
        values.extend(record::numbers(new.answers()));
        values.extend([name.into(), Value::Number(old.version().cast_signed())]);
        values.extend(record::numbers(old.answers()));
        within(async {
            let mut work = self.0.database.begin().await?;
            if work.run(if is_same { ANSWERS } else { FIELDS }, values).await?.is_empty() {
                return Err(StoreError::Conflict.into());
            }
            if before.tokens != after.tokens {
                work.run("DELETE FROM tokens WHERE account = $1", vec![name.into()]).await?;
                add_tokens(&mut work, name, after.tokens).await?;
            }
            // As its next logins find it.
            let stored = work.run(FIND, vec![name.into()]).await?;
            let stored = account(stored.first())?.ok_or(StoreError::Conflict)?;
            work.commit().await?;
            Ok::<_, Failed>(stored)
        })
        .await
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        let delete = "DELETE FROM accounts WHERE name = $1 RETURNING name";
        within(async {
            let mut work = self.0.database.begin().await?;
            if work.run(delete, vec![name.into()]).await?.is_empty() {
                return Err(AccountError::Unknown(name.to_owned()).into());
            }
            Ok::<_, Failed>(work.commit().await?)
        })
        .await
    }
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").finish_non_exhaustive()
    }
}
