//! The store.

use crate::costs::Costs;
use crate::database::{Database, Row, Value, Work};
use crate::place::{OpenError, PATIENCE, Place};
use crate::record::{self, Record, columns};
use crate::schema::{self, Schema};
use countersign::accounts::{Account, AccountError, AccountStore, Imitation, LineError, Role, StoreError};
use countersign::{Misuse, limits};
use rand::TryRng;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Accounts in a database. An [`AccountStore`]: see there for what its methods promise.
///
/// Every call is over within three seconds, or is given up. What is written is written in one transaction, and only where nobody has
/// changed the account since it was read, whatever process or machine they are in. A clone shares the connections.
#[derive(Clone)]
pub struct SqlStore(Arc<Inner>);

struct Inner {
    database: Database,
    /// Whether the tables are known to be as they should be.
    is_ready: AtomicBool,
    costs: Costs,
    /// Whether the last that was heard of the database is that it is away.
    is_away: AtomicBool,
    tell: OnceLock<Box<Tell>>,
}

type Tell = dyn Fn(Availability<'_>) + Send + Sync;

/// Whether a database answers: for the log, and for those who watch a server.
#[derive(Debug)]
#[non_exhaustive]
pub enum Availability<'a> {
    /// It does not, or its tables are not as they should be. Logins are told "not now".
    Away(&'a StoreError),
    /// It does again.
    Back,
}

/// All columns, the tokens' hashes, and the roles.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT name, version, ",
            $crate::record::columns!(),
            ", last_step, wrong_answers, closed_until, \
             (SELECT string_agg(hash, ' ' ORDER BY hash) FROM tokens WHERE account = name) AS tokens, \
             (SELECT string_agg(r.name || ':' || r.version || ':' || coalesce(r.permissions, ''), ' ' ORDER BY r.name) \
                FROM account_roles h JOIN roles r ON r.name = h.role WHERE h.account = accounts.name) AS roles \
             FROM accounts ",
            $rest
        )
    };
}
pub(crate) use select;

const FIND: &str = select!("WHERE name = $1");

impl SqlStore {
    /// Opens the database at a place whose tables are there, and as this version of the library needs them.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::Schema`] where the tables are to be made first: [`Place::migrate`].
    pub async fn open(place: &Place) -> Result<Self, OpenError> {
        let store = Self::at(place)?;
        store.look().await?;
        Ok(store)
    }

    /// As [`SqlStore::open`], also where the database can't be reached now: it is asked again with each call, and whether its tables are as they
    /// should be is looked at before the first that it answers. Gives why it can't be reached, too.
    ///
    /// # Errors
    /// As [`SqlStore::open`], but for [`OpenError::Away`].
    pub async fn open_even_if_away(place: &Place) -> Result<(Self, Option<OpenError>), OpenError> {
        let store = Self::at(place)?;
        match store.look().await {
            Ok(()) => Ok((store, None)),
            Err(error @ OpenError::Away(_)) => {
                store.0.is_away.store(true, Relaxed);
                Ok((store, Some(error)))
            }
            Err(error) => Err(error),
        }
    }

    fn at(place: &Place) -> Result<Self, OpenError> {
        Ok(Self(Arc::new(Inner {
            database: place.database()?,
            is_ready: AtomicBool::new(false),
            costs: Costs::default(),
            is_away: AtomicBool::new(false),
            tell: OnceLock::new(),
        })))
    }

    /// Whether the tables are as they should be, and what unknown names cost.
    async fn look(&self) -> Result<(), OpenError> {
        match schema::look(&self.0.database).await? {
            Schema::Current => {}
            other => return Err(OpenError::Schema(other)),
        }
        let read = tokio::time::timeout(PATIENCE, self.0.costs.read(&self.0.database)).await;
        read.map_err(|late| OpenError::Away(Box::new(late)))?.map_err(OpenError::away)?;
        self.0.is_ready.store(true, Relaxed);
        Ok(())
    }

    /// Tells when the database goes away, and when it is back: the first as soon as a login finds it so, the second by [`SqlStore::check`].
    /// The first that is given is told.
    #[must_use]
    pub fn with_watcher(self, tell: impl Fn(Availability<'_>) + Send + Sync + 'static) -> Self {
        let _ = self.0.tell.set(Box::new(tell));
        self
    }

    /// Whether the database answers, and its tables are as they should be: to be asked every few seconds by a server that wants to know.
    ///
    /// # Errors
    /// [`StoreError::Away`].
    pub async fn check(&self) -> Result<(), StoreError> {
        let found = match schema::look(&self.0.database).await {
            Ok(Schema::Current) if self.0.is_ready.load(Relaxed) => Ok(()),
            Ok(Schema::Current) => self.ready().await,
            Ok(other) => {
                // Somebody has migrated them, or put other ones there.
                self.0.is_ready.store(false, Relaxed);
                Err(unfit(OpenError::Schema(other)))
            }
            Err(error) => Err(unfit(error)),
        };
        match &found {
            Ok(()) if self.0.is_away.swap(false, Relaxed) => self.tell(Availability::Back),
            Ok(()) => {}
            Err(error) => self.note_away(error),
        }
        found
    }

    fn tell(&self, news: Availability<'_>) {
        if let Some(tell) = self.0.tell.get() {
            tell(news);
        }
    }

    fn note_away(&self, error: &StoreError) {
        if !self.0.is_away.swap(true, Relaxed) {
            self.tell(Availability::Away(error));
        }
    }

    async fn ready(&self) -> Result<(), StoreError> {
        if self.0.is_ready.load(Relaxed) { Ok(()) } else { self.look().await.map_err(unfit) }
    }

    /// Does something within a time, once the tables are known to be as they should be.
    pub(crate) async fn within<T, E: Into<Failed>>(
        &self,
        patience: Duration,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StoreError> {
        // What is done in one piece would be carried through all the futures around it by value, and they are deep.
        let work = Box::pin(work);
        let done = async {
            self.ready().await?;
            work.await.map_err(Into::into)
        };
        match tokio::time::timeout(patience, done).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(Failed::Store(error))) => Err(error),
            Ok(Err(Failed::Sql(error))) => Err(away(error)),
            Err(late) => Err(StoreError::away("the database does not answer in time", late)),
        }
    }

    /// Reads. What can't be read is noticed at once; what can't be written may be so because somebody else writes.
    pub(crate) async fn read<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
        let read = self.within(PATIENCE, work).await;
        if let Err(error @ StoreError::Away { .. }) = &read {
            self.note_away(error);
        }
        read
    }

    /// Writes.
    pub(crate) async fn write<T>(&self, work: impl Future<Output = Result<T, Failed>>) -> Result<T, StoreError> {
        self.within(PATIENCE, work).await
    }

    pub(crate) fn database(&self) -> &Database {
        &self.0.database
    }

    /// Has unknown names imitate a password that costs this.
    pub(crate) async fn learn(&self, work: &mut Work, cost: &str) -> Result<(), sqlx::Error> {
        self.0.costs.learn(work, cost).await
    }

    /// Puts a changed account in the place of what it was.
    pub(crate) async fn put(&self, work: &mut Work, old: &Account, new: &Account) -> Result<Account, Failed> {
        const FIELDS: &str = "\
            UPDATE accounts SET permissions = $1, password = $2, stretched = $3, public_keys = $4, totp = $5, recovery_codes = $6, \
                locked = $7, locks = $8, expires = $9, allowed_from = $10, more = $11, version = $12, last_step = $13, wrong_answers = $14, \
                closed_until = $15 \
            WHERE name = $16 AND version = $17 AND last_step = $18 AND wrong_answers = $19 AND closed_until = $20 RETURNING name";
        const ANSWERS: &str = "\
            UPDATE accounts SET last_step = $1, wrong_answers = $2, closed_until = $3 \
            WHERE name = $4 AND version = $5 AND last_step = $6 AND wrong_answers = $7 AND closed_until = $8 RETURNING name";
        if new.name() != old.name() {
            return Err(StoreError::Conflict.into());
        }
        let (name, is_same) = (old.name(), new.is_same(old));
        let (before, after) = (Record::of(old), Record::of(new));
        let mut values = if is_same { Vec::new() } else { after.values() };
        if !is_same {
            values.push(version()?);
            hold_roles(work, &after.roles).await?;
        }
        values.extend(record::numbers(new.answers()));
        values.extend([name.into(), Value::Number(old.version().cast_signed())]);
        values.extend(record::numbers(old.answers()));
        if work.run(if is_same { ANSWERS } else { FIELDS }, values).await?.is_empty() {
            return Err(StoreError::Conflict.into());
        }
        if (&before.tokens, &before.roles) != (&after.tokens, &after.roles) {
            for delete in ["DELETE FROM tokens WHERE account = $1", "DELETE FROM account_roles WHERE account = $1"] {
                work.run(delete, vec![name.into()]).await?;
            }
            add_more(work, name, after).await?;
        }
        let stored = stored(work, name).await?.ok_or(StoreError::Conflict)?;
        if let Some(cost) = new.password_cost() {
            self.learn(work, &cost).await?;
        }
        Ok(stored)
    }

    /// Of an account that somebody has written by other means: nobody has said what its password costs.
    async fn learn_late(&self, account: &Account) {
        let Some(cost) = account.password_cost().filter(|cost| !self.0.costs.knows(cost)) else { return };
        // Whatever comes of the writing: this process imitates it from now on.
        let _ = self
            .write(async {
                let mut work = self.0.database.begin().await?;
                self.0.costs.learn(&mut work, &cost).await?;
                Ok(work.commit().await?)
            })
            .await;
        self.0.costs.imitate(&cost);
    }

    /// Closes all connections. The store is of no use then.
    pub async fn close(&self) {
        self.0.database.close().await;
    }

    /// How many accounts there are.
    ///
    /// # Errors
    /// [`StoreError::Away`].
    pub async fn count(&self) -> Result<u64, StoreError> {
        self.read(async {
            let rows = self.0.database.read("SELECT count(*) AS number FROM accounts", Vec::new()).await?;
            let number = rows.first().map_or(Ok(0), |row| row.number("number"))?;
            Ok(u64::try_from(number).unwrap_or_default())
        })
        .await
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
        self.read(async { self.0.database.read(SELECT, values).await?.iter().map(record::read).collect() }).await
    }

    async fn one(&self, statement: &'static str, value: &str) -> Result<Option<Account>, StoreError> {
        let rows = self.read(self.0.database.read(statement, vec![value.into()])).await?;
        let found = account(rows.first())?;
        if let Some(account) = &found {
            self.learn_late(account).await;
        }
        Ok(found)
    }
}

/// Accounts that are read at once.
const PAGE: usize = 1000;

pub(crate) fn account(row: Option<&Row>) -> Result<Option<Account>, StoreError> {
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

/// Tables that can't be used.
fn unfit(error: OpenError) -> StoreError {
    let what = match error {
        OpenError::Schema(_) => "the tables of the database are not as this program needs them",
        _ => "the database is away",
    };
    StoreError::away(what, error)
}

fn away(error: sqlx::Error) -> StoreError {
    let what = match error {
        sqlx::Error::PoolTimedOut => "the database has no connection to give",
        _ => "the database is away",
    };
    StoreError::away(what, error)
}

pub(crate) fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation())
}

/// Another one with every change.
pub(crate) fn version() -> Result<Value, StoreError> {
    let mut bytes = [0; 8];
    let random = |error: rand::rngs::SysError| StoreError::away("the system has no randomness to give", error);
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).map_err(random)?;
    Ok(Value::Number(i64::from_be_bytes(bytes)))
}

/// Gives an account its tokens and its roles, which it has none of.
pub(crate) async fn add_more(work: &mut Work, name: &str, record: Record) -> Result<(), Failed> {
    for token in record.tokens {
        let insert = "INSERT INTO tokens (hash, account) VALUES ($1, $2)";
        match work.run(insert, vec![Value::Text(token), name.into()]).await {
            Err(error) if is_taken(&error) => return Err(AccountError::DuplicateToken(name.to_owned()).into()),
            added => added?,
        };
    }
    for role in record.roles {
        let insert = "INSERT INTO account_roles (account, role) VALUES ($1, $2)";
        work.run(insert, vec![name.into(), Value::Text(role)]).await?;
    }
    Ok(())
}

/// Keeps the roles of an account as they are until the work is done: another may be about to change what they permit, and each of the two
/// alone is within what a grant may have.
pub(crate) async fn hold_roles(work: &mut Work, roles: &[String]) -> Result<(), Failed> {
    for role in roles {
        let select = match work {
            // It is the only one who writes.
            Work::Sqlite(_) => "SELECT name FROM roles WHERE name = $1",
            Work::Postgres(_) => "SELECT name FROM roles WHERE name = $1 FOR SHARE",
        };
        if work.run(select, vec![role.as_str().into()]).await?.is_empty() {
            return Err(AccountError::UnknownRole(role.clone()).into());
        }
    }
    Ok(())
}

/// An account as the next logins find it.
pub(crate) async fn stored(work: &mut Work, name: &str) -> Result<Option<Account>, Failed> {
    let rows = work.run(FIND, vec![name.into()]).await?;
    match account(rows.first()) {
        Err(StoreError::Account(AccountError::Unreadable(_, LineError::TooManyPermissions))) => Err(too_many().into()),
        stored => Ok(stored?),
    }
}

/// More permissions than a grant may have.
pub(crate) fn too_many() -> AccountError {
    Misuse::TooMany { what: "the permissions", limit: limits::MAX_PERMISSIONS }.into()
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
        if self.0.costs.is_due() {
            // Where it can't be read, what was read before counts.
            let _ = self.within(PATIENCE, self.0.costs.read(&self.0.database)).await;
        }
        self.0.costs.imitation()
    }

    async fn add(&self, account: &Account) -> Result<(), StoreError> {
        const INSERT: &str = concat!(
            "INSERT INTO accounts (",
            columns!(),
            ", name, version, last_step, wrong_answers, closed_until) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
        );
        let (name, record) = (account.name(), Record::of(account));
        let mut values = record.values();
        values.extend([name.into(), version()?]);
        values.extend(record::numbers(account.answers()));
        self.write(async {
            let mut work = self.0.database.begin().await?;
            hold_roles(&mut work, &record.roles).await?;
            match work.run(INSERT, values).await {
                Err(error) if is_taken(&error) => return Err(AccountError::Exists(name.to_owned()).into()),
                added => added?,
            };
            let has_roles = !record.roles.is_empty();
            add_more(&mut work, name, record).await?;
            if has_roles {
                stored(&mut work, name).await?;
            }
            if let Some(cost) = account.password_cost() {
                self.learn(&mut work, &cost).await?;
            }
            Ok(work.commit().await?)
        })
        .await
    }

    async fn update(&self, old: &Account, new: &Account) -> Result<Account, StoreError> {
        self.write(async {
            let mut work = self.0.database.begin().await?;
            let stored = self.put(&mut work, old, new).await?;
            work.commit().await?;
            Ok(stored)
        })
        .await
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        let delete = "DELETE FROM accounts WHERE name = $1 RETURNING name";
        self.write(async {
            let mut work = self.0.database.begin().await?;
            if work.run(delete, vec![name.into()]).await?.is_empty() {
                return Err(AccountError::Unknown(name.to_owned()).into());
            }
            Ok(work.commit().await?)
        })
        .await
    }

    /// Those that can't be read are left out: accounts that have them are in [`SqlStore::unreadable`].
    async fn roles(&self) -> Result<Vec<Role>, StoreError> {
        crate::roles::all(self).await
    }

    async fn role_users(&self, role: &str) -> Result<u64, StoreError> {
        crate::roles::users(self, role).await
    }

    async fn add_role(&self, role: &Role) -> Result<(), StoreError> {
        crate::roles::add(self, role).await
    }

    async fn update_role(&self, old: &Role, new: &Role) -> Result<(), StoreError> {
        crate::roles::update(self, old, new).await
    }

    async fn remove_role(&self, name: &str) -> Result<(), StoreError> {
        crate::roles::remove(self, name).await
    }
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").finish_non_exhaustive()
    }
}
