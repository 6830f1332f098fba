//! The store.

mod asking;

pub(crate) use asking::Failed;
#[cfg(test)]
pub(crate) use asking::WRITE_NOTHING;

use crate::circuit::Circuit;
use crate::costs::Costs;
use crate::database::{Database, Row, Value, Work};
use crate::record::{self, Record, columns};
use crate::watcher::Watcher;
use asking::away;
use countersign::accounts::{Account, AccountError, AccountStore, Imitation, LineError, Role, StoreError};
use countersign::{Misuse, StretchedHash, Stretching, limits};
use rand::TryRng;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Accounts in a database. An [`AccountStore`]: see there for what its methods promise.
///
/// Every call is over within three seconds ([`SqlStore::add_all`], [`SqlStore::edit_all`] and a change of a role: thirty), or is given up; after one that was, others are told at once that the database is away, until one of those
/// that go on asking it, every half second, has its answer. What is written is written in one transaction, and only where nobody has
/// changed the account since it was read, whatever process or machine they are in. A clone shares the connections.
#[derive(Clone)]
pub struct SqlStore(Arc<Inner>);

struct Inner {
    database: Database,
    /// Whether the tables are known to be as they should be.
    is_ready: AtomicBool,
    costs: Costs,
    circuit: Circuit,
    watcher: Watcher,
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
        match work.run(if is_same { ANSWERS } else { FIELDS }, values).await {
            Err(error) if is_no_text(&error) => return Err(AccountError::Encoding(name.to_owned()).into()),
            Ok(rows) if rows.is_empty() => return Err(StoreError::Conflict.into()),
            updated => drop(updated?),
        }
        if (&before.tokens, &before.roles) != (&after.tokens, &after.roles) {
            take_more(work, name).await?;
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

    /// Closes all connections, once what is asked on them is answered or given up. The store and its clones are of no use then, and nobody is told of that.
    ///
    /// The last one to close a file of SQLite's puts all changes into it that are still beside it: where nobody does, a copy of the file alone lacks them.
    pub async fn close(&self) {
        self.0.watcher.silence();
        self.0.database.close().await;
    }

    /// How many accounts there are.
    ///
    /// # Errors
    /// [`StoreError::Away`].
    pub async fn count(&self) -> Result<u64, StoreError> {
        self.read_whole(async {
            let rows = self.0.database.read("SELECT count(*) AS number FROM accounts", Vec::new()).await?;
            let number = rows.first().map_or(Ok(0), |row| row.number("number"))?;
            Ok(u64::try_from(number).unwrap_or_default())
        })
        .await
    }

    /// How many accounts have passwords that a server with this stretching, or with none, does not take: for a warning when it starts. Looks at
    /// every row.
    ///
    /// # Errors
    /// [`StoreError::Away`].
    pub async fn count_passwords(&self, stretching: Option<&Stretching>) -> Result<PasswordCounts, StoreError> {
        // All but the hash: SHA256:, 43 characters, and a semicolon.
        const SELECT: &str = "SELECT coalesce(substr(stretched, 52), '') AS kind, count(*) AS number FROM accounts \
             WHERE stretched IS NOT NULL OR password IS NOT NULL GROUP BY coalesce(substr(stretched, 52), '')";
        self.read_whole(async {
            let mut counts = PasswordCounts::default();
            for row in self.0.database.read(SELECT, Vec::new()).await? {
                let (kind, number) = (row.text("kind")?, row.number("number")?);
                let number = u64::try_from(number).unwrap_or_default();
                let stretched: Option<StretchedHash> = format!("SHA256:{};{kind}", "A".repeat(43)).parse().ok();
                let announced = stretched.and_then(|hash| {
                    let of = stretching.filter(|of| hash.is_announced_by(of))?;
                    Some(of.parameters().first() == Some(&hash.parameters()))
                });
                let count = match announced {
                    _ if kind.is_empty() => &mut counts.plain,
                    Some(true) => continue,
                    Some(false) => &mut counts.older,
                    None => &mut counts.not_announced,
                };
                *count = count.saturating_add(number);
            }
            Ok(counts)
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
            let rows = self.rows(&after, PAGE).await?;
            let Some((last, _)) = rows.last() else { return Ok(found) };
            after.clone_from(last);
            found.extend(rows.into_iter().filter_map(|(name, read)| Some((name, read.err()?))));
        }
    }

    /// At most so many accounts behind this name, in the order of their names by bytes, with those that can't be read, and why; none behind the
    /// last. [`AccountStore::page`] leaves those out.
    ///
    /// # Errors
    /// [`StoreError::Away`].
    pub async fn rows(
        &self,
        after: &str,
        most: usize,
    ) -> Result<Vec<(String, Result<Account, LineError>)>, StoreError> {
        const SELECT: &str = select!("WHERE name > $1 ORDER BY name LIMIT $2");
        let values = vec![after.into(), Value::Number(i64::try_from(most).unwrap_or(i64::MAX))];
        self.read(async { self.0.database.read(SELECT, values).await?.iter().map(record::read).collect() }).await
    }

    async fn one(&self, statement: &'static str, value: &str) -> Result<Option<Account>, StoreError> {
        let rows = self.read(async {
            match self.0.database.read(statement, vec![value.into()]).await {
                // What PostgreSQL can't have as a text, nobody is called.
                Err(error) if is_no_text(&error) => Ok(Vec::new()),
                rows => rows,
            }
        });
        let rows = rows.await?;
        let found = account(rows.first())?;
        if let Some(account) = &found {
            self.learn_late(account).await;
        }
        Ok(found)
    }
}

/// Accounts whose passwords are no good for a server's stretching, or have not moved to the newest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PasswordCounts {
    /// Those with a password that is not stretched, and none that is.
    pub plain: u64,
    /// Those with a password that is stretched at parameters that the server announces, and not the newest of them.
    pub older: u64,
    /// Those with a password that is stretched for another realm, or at other parameters, than the server announces.
    pub not_announced: u64,
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

pub(crate) fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation())
}

/// A value that can't be one (SQLSTATE 22...): a character that the database's encoding has not, or a NUL. Whoever logs in chooses it, so it must not
/// look as if the database were away.
pub(crate) fn is_no_text(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.len() == 5 && code.starts_with("22"))
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

/// Takes an account's tokens and roles away.
async fn take_more(work: &mut Work, name: &str) -> Result<(), sqlx::Error> {
    for delete in ["DELETE FROM tokens WHERE account = $1", "DELETE FROM account_roles WHERE account = $1"] {
        work.run(delete, vec![name.into()]).await?;
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
            let rows = self.rows(&after, most.saturating_sub(found.len())).await?;
            let Some((last, _)) = rows.last() else { break };
            after.clone_from(last);
            found.extend(rows.into_iter().filter_map(|(_, read)| read.ok()));
        }
        Ok(found)
    }

    async fn imitation(&self) -> Imitation {
        if self.0.costs.is_due() {
            // Where it can't be read, what was read before counts.
            let _ = self.read(self.0.costs.read(&self.0.database)).await;
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
                Err(error) if is_no_text(&error) => return Err(AccountError::Encoding(name.to_owned()).into()),
                added => added?,
            };
            // Who deletes a row of SQLite's by hand may leave these to the next one of the name.
            if matches!(work, Work::Sqlite(_)) {
                take_more(&mut work, name).await?;
            }
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
