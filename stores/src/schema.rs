//! The tables, and how they came to be what they are.

use crate::costs;
use crate::database::{Database, Row, Value, Work};
use crate::place::{OpenError, PATIENCE};
use crate::record::columns;
use core::fmt::{self, Write};
use countersign::accounts::Account;
use rand::TryRng;
use std::time::Duration;
use zeroize::Zeroizing;

/// How far the tables of a database are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Schema {
    /// There are none.
    Missing,
    /// An earlier version made them.
    Older {
        /// Theirs.
        version: i64,
    },
    /// They are as they should be.
    Current,
    /// A later version made them, and says that this one can go on with them: so servers change their version one by one.
    Compatible {
        /// Theirs.
        version: i64,
    },
    /// A later version made them.
    Newer {
        /// Theirs.
        version: i64,
    },
    /// They are not what they say they are: somebody changed them, or gave up in the middle of it.
    Damaged,
    /// There are tables of the same names, and not the one that says that they are of this library: they are another program's.
    Foreign,
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there are no tables of accounts in the database; they have to be made first, by a migration"),
            Self::Older { version } => write!(
                f,
                "the tables are of version {version}, and this program needs {LATEST}; a migration brings them there"
            ),
            Self::Current => write!(f, "the tables are of version {LATEST}, as this program needs them"),
            Self::Compatible { version } => write!(
                f,
                "the tables are of version {version}, and this program, which needs {LATEST}, can go on with them"
            ),
            Self::Newer { version } => write!(
                f,
                "the tables are of version {version}, and this program knows {LATEST} at the most; use the one that made them"
            ),
            Self::Damaged => f.write_str(
                "the tables are not what they say they are: something of them is missing or broken; restore them from a backup, or drop what is \
                 left and migrate",
            ),
            Self::Foreign => f.write_str(
                "the tables in the database are another program's: there is no table `countersign`, and others of the names that this \
                 program gives; use another database, or with PostgreSQL a schema of its own, by its role's search_path (tables of this program \
                 that lost that one are to be restored from a backup)",
            ),
        }
    }
}

/// What version 1 is made of. Names are compared by their bytes, whatever language a database is in.
macro_rules! version_1 {
    ($by_bytes:literal) => {
        &[
            concat!(
                "CREATE TABLE accounts (name TEXT ",
                $by_bytes,
                " PRIMARY KEY,
                    version BIGINT NOT NULL,
                    permissions TEXT,
                    password TEXT,
                    password_cost TEXT,
                    public_keys TEXT,
                    totp TEXT,
                    recovery_codes TEXT,
                    locked BOOLEAN NOT NULL DEFAULT FALSE,
                    locks BIGINT NOT NULL DEFAULT 0,
                    expires TEXT,
                    more TEXT,
                    last_step BIGINT NOT NULL DEFAULT 0,
                    wrong_answers BIGINT NOT NULL DEFAULT 0,
                    closed_until BIGINT NOT NULL DEFAULT 0
                )"
            ),
            "CREATE INDEX accounts_by_password_cost ON accounts (password_cost)",
            concat!(
                "CREATE TABLE tokens (
                    hash TEXT PRIMARY KEY,
                    account TEXT ",
                $by_bytes,
                " NOT NULL REFERENCES accounts (name) ON DELETE CASCADE
                )"
            ),
            "CREATE INDEX tokens_by_account ON tokens (account)",
            "CREATE TABLE countersign (version BIGINT NOT NULL, imitation_key TEXT NOT NULL)",
        ]
    };
}

/// What version 2 adds: roles, the list of costs that unknown names imitate, and columns for what stood in `more`.
macro_rules! version_2 {
    ($by_bytes:literal) => {
        &[
            concat!(
                "CREATE TABLE roles (name TEXT ",
                $by_bytes,
                " PRIMARY KEY,
                    version BIGINT NOT NULL,
                    permissions TEXT
                )"
            ),
            concat!(
                "CREATE TABLE account_roles (
                    account TEXT ",
                $by_bytes,
                " NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
                    role TEXT ",
                $by_bytes,
                " NOT NULL REFERENCES roles (name),
                    PRIMARY KEY (account, role)
                )"
            ),
            "CREATE INDEX account_roles_by_role ON account_roles (role)",
            "CREATE TABLE imitated_costs (cost TEXT PRIMARY KEY, number BIGINT NOT NULL)",
            "ALTER TABLE accounts ADD COLUMN stretched TEXT",
            "ALTER TABLE accounts ADD COLUMN allowed_from TEXT",
            "DROP INDEX accounts_by_password_cost",
            "ALTER TABLE accounts DROP COLUMN password_cost",
        ]
    };
}

/// What version 3 adds: what servers share beside accounts.
const VERSION_3: &[&str] = &[
    "CREATE TABLE ticket_keys (id BIGINT PRIMARY KEY, version BIGINT NOT NULL, wrapped TEXT NOT NULL, ends BIGINT NOT NULL)",
];

/// What version 4 adds: which programs can go on with the tables, of those that need an earlier version of them.
const VERSION_4: &[&str] = &["ALTER TABLE countersign ADD COLUMN compatible_from BIGINT NOT NULL DEFAULT 4"];

/// What each version adds. What was released is not changed any more, only added to.
const SQLITE: [&[&str]; 4] = [version_1!(""), version_2!(""), VERSION_3, VERSION_4];
const POSTGRES: [&[&str]; 4] = [version_1!("COLLATE \"C\""), version_2!("COLLATE \"C\""), VERSION_3, VERSION_4];

/// What this version of the library needs.
pub(crate) const LATEST: i64 = 4;

/// The earliest version of the tables whose programs can go on with these, while servers change theirs one by one: what came since is only added to, and
/// loses nothing where such a program writes.
const COMPATIBLE_FROM: i64 = 4;

const _: () = assert!(SQLITE.len() == 4 && POSTGRES.len() == 4 && COMPATIBLE_FROM <= LATEST);

/// How long all of a migration may take.
const MIGRATION: Duration = Duration::from_secs(600);

/// A number that nobody else locks by, hopefully: `countersign` in the letters' numbers.
const LOCK: i64 = 0x636f_756e_7465_7273;

/// How far the tables are. Each question may take as long as a login's, and not all of them together: it must not look away to whoever checks, and
/// not to those who log in.
pub(crate) async fn look(database: &Database) -> Result<Schema, OpenError> {
    const KEY: &str = "SELECT imitation_key FROM countersign";
    let tables = if database.is_sqlite() {
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('accounts', 'tokens', 'countersign', 'roles', \
         'account_roles', 'imitated_costs')"
    } else {
        "SELECT t AS name FROM unnest(ARRAY['accounts', 'tokens', 'countersign', 'roles', 'account_roles', 'imitated_costs']) \
         AS t WHERE to_regclass(t) IS NOT NULL"
    };
    let tables = ask(database, tables).await.map_err(OpenError::away)?.len();
    let all_is_there = [
        KEY,
        concat!("SELECT name, version, ", columns!(), ", last_step, wrong_answers, closed_until FROM accounts LIMIT 0"),
        "SELECT hash, account FROM tokens LIMIT 0",
        "SELECT name, version, permissions FROM roles LIMIT 0",
        "SELECT account, role FROM account_roles LIMIT 0",
        "SELECT cost, number FROM imitated_costs LIMIT 0",
        "SELECT id, version, wrapped, ends FROM ticket_keys LIMIT 0",
        "SELECT compatible_from FROM countersign LIMIT 0",
    ];
    if tables == 0 {
        return Ok(Schema::Missing);
    }
    let row = match ask(database, "SELECT version FROM countersign").await {
        Ok(rows) => rows.into_iter().next(),
        Err(error) if is_missing(&error, Missing::Table) => return Ok(Schema::Foreign),
        Err(error) if is_missing(&error, Missing::Column) => return Ok(Schema::Damaged),
        Err(error) => return Err(OpenError::away(error)),
    };
    let Some(row) = row else { return Ok(Schema::Damaged) };
    let found = match row.number("version") {
        Ok(version) if version > LATEST => {
            let newer = Schema::Newer { version };
            match ask(database, "SELECT compatible_from FROM countersign").await {
                Ok(rows) => match rows.first().map(|row| row.number("compatible_from")) {
                    Some(Ok(1..=LATEST)) => Schema::Compatible { version },
                    _ => return Ok(newer),
                },
                Err(error) if is_missing(&error, Missing::Column) => return Ok(newer),
                Err(error) => return Err(OpenError::away(error)),
            }
        }
        Ok(version) if (1..LATEST).contains(&version) => return Ok(Schema::Older { version }),
        Ok(version) if version == LATEST => Schema::Current,
        _ => return Ok(Schema::Damaged),
    };
    for statement in all_is_there {
        match ask(database, statement).await {
            Ok(rows) if statement == KEY => {
                let key = rows.first().and_then(|row| row.text("imitation_key").ok()).map(Zeroizing::new);
                if key.is_none_or(|key| costs::parse_key(&key).is_none()) {
                    return Ok(Schema::Damaged);
                }
            }
            Ok(_) => {}
            Err(error) if is_missing(&error, Missing::Table) || is_missing(&error, Missing::Column) => {
                return Ok(Schema::Damaged);
            }
            Err(error) => return Err(OpenError::away(error)),
        }
    }
    Ok(found)
}

async fn ask(database: &Database, statement: &'static str) -> Result<Vec<Row>, sqlx::Error> {
    let late = |_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
    let read = tokio::time::timeout(PATIENCE, database.read(statement, Vec::new())).await.unwrap_or_else(late);
    match read {
        Err(error) => Err(database.explained(error).await),
        read => read,
    }
}

#[derive(Clone, Copy)]
enum Missing {
    Table,
    Column,
}

/// Whether that is what the database says, and not that it may not be read, say, or not now.
fn is_missing(error: &sqlx::Error, what: Missing) -> bool {
    let Some(said) = error.as_database_error() else { return false };
    // PostgreSQL's codes (SQLSTATE). SQLite has none for it.
    let (code, text) = match what {
        Missing::Table => ("42P01", "no such table"),
        Missing::Column => ("42703", "no such column"),
    };
    match said.code() {
        Some(said) if said.len() == 5 => said == code,
        _ => said.message().starts_with(text),
    }
}

/// Brings the tables to the latest version, in one transaction, and gives what was there before.
pub(crate) async fn migrate(database: &Database) -> Result<Schema, OpenError> {
    let migrating = async {
        let before = look(database).await?;
        let from = match before {
            Schema::Missing => 0,
            Schema::Older { version } => version,
            Schema::Current | Schema::Compatible { .. } => return Ok(before),
            other => return Err(OpenError::Schema(other)),
        };
        let mut tries = TRIES;
        loop {
            match step(database, from).await {
                Ok(()) => return Ok(before),
                // A later version of this program was first.
                Err(Failed::Later) => {
                    return match look(database).await? {
                        found @ Schema::Compatible { .. } => Ok(found),
                        other => Err(OpenError::Schema(other)),
                    };
                }
                Err(Failed::Open(error)) => return Err(error),
                Err(Failed::Sql(error)) if is_locked(&error) => {
                    tries = tries.saturating_sub(1);
                    if tries == 0 {
                        return Err(OpenError::Locked { holders: holders(database).await, source: Box::new(error) });
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(Failed::Sql(error)) => return Err(OpenError::away(error)),
            }
        }
    };
    tokio::time::timeout(MIGRATION, migrating).await.map_err(|late| OpenError::Away(Box::new(late)))?
}

/// How often PostgreSQL is asked for a lock that somebody else has, and how long between: all logins wait behind whoever waits for one, so nobody
/// does for long.
const TRIES: usize = 5;
const WAIT: &str = "SET LOCAL lock_timeout = '2s'";
const PAUSE: Duration = Duration::from_secs(2);

/// Why there are no tables yet.
enum Failed {
    Sql(sqlx::Error),
    Later,
    Open(OpenError),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

/// PostgreSQL's lock_not_available.
fn is_locked(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == "55P03")
}

async fn step(database: &Database, from: i64) -> Result<(), Failed> {
    let mut work = database.begin().await?;
    if !database.is_sqlite() {
        for statement in ["SET LOCAL lock_timeout = 0", "SET LOCAL statement_timeout = 0"] {
            work.run(statement, Vec::new()).await?;
        }
        // Nobody but others who migrate waits behind this.
        work.run("SELECT pg_advisory_xact_lock($1)::text", vec![LOCK.into()]).await?;
        work.run(WAIT, Vec::new()).await?;
    }
    // Somebody else may have been at it, and is done now: this sees what they did.
    let is_there = if database.is_sqlite() {
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = 'countersign'"
    } else {
        "SELECT 'countersign' AS name WHERE to_regclass('countersign') IS NOT NULL"
    };
    let is_there = !work.run(is_there, Vec::new()).await?.is_empty();
    let now = if is_there {
        let rows = work.run("SELECT version FROM countersign", Vec::new()).await?;
        rows.first().and_then(|row| row.number("version").ok()).unwrap_or(from)
    } else {
        from
    };
    if now > LATEST {
        return Err(Failed::Later);
    }
    let costs = if now == 1 { costs_of_version_1(&mut work).await? } else { Vec::new() };
    let migrations = if database.is_sqlite() { SQLITE } else { POSTGRES };
    for statements in migrations.into_iter().skip(usize::try_from(now).unwrap_or_default()) {
        for statement in statements {
            work.run(*statement, Vec::new()).await?;
        }
    }
    for cost in costs {
        costs::insert(&mut work, &cost).await?;
    }
    if now == 0 {
        let values = vec![LATEST.into(), Value::Text(key().map_err(Failed::Open)?), COMPATIBLE_FROM.into()];
        let insert = "INSERT INTO countersign (version, imitation_key, compatible_from) VALUES ($1, $2, $3)";
        work.run(insert, values).await?;
    } else {
        let update = "UPDATE countersign SET version = $1, compatible_from = $2";
        work.run(update, vec![LATEST.into(), COMPATIBLE_FROM.into()]).await?;
    }
    Ok(work.commit().await?)
}

/// What unknown names imitated before there was a list: what passwords cost, of which each row had a digest.
async fn costs_of_version_1(work: &mut Work) -> Result<Vec<String>, sqlx::Error> {
    let select =
        "SELECT min(password) AS password FROM accounts WHERE password IS NOT NULL GROUP BY password_cost ORDER BY 1";
    let passwords =
        work.run(select, Vec::new()).await?.iter().map(|row| row.text("password")).collect::<Result<Vec<_>, _>>()?;
    let cost = |password: &String| {
        let mut account = Account::new("anybody", [""; 0]).ok()?;
        account.set_password_hash(password).ok()?;
        account.password_cost()
    };
    // One that can't be read lets nobody in.
    Ok(passwords.iter().filter_map(cost).collect())
}

/// Who has locks on the tables, as far as this role may see it.
async fn holders(database: &Database) -> String {
    const SELECT: &str = "SELECT DISTINCT a.pid::bigint AS pid, coalesce(a.usename::text, '') AS role, \
         coalesce(a.application_name, '') AS program FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
         WHERE l.granted AND l.pid <> pg_backend_pid() AND a.datname = current_database() AND l.relation IN (to_regclass('accounts'), to_regclass('tokens'), \
         to_regclass('roles'), to_regclass('account_roles'), to_regclass('imitated_costs'), to_regclass('countersign'), \
         to_regclass('ticket_keys')) ORDER BY 1 LIMIT 5";
    let rows = database.read(SELECT, Vec::new()).await.unwrap_or_default();
    let one = |row: &Row| {
        let (pid, role, program) = (row.number("pid").ok()?, row.text("role").ok()?, row.text("program").ok()?);
        Some(format!(
            "process {pid} ({})",
            [program, role].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", as ")
        ))
    };
    let named: Vec<String> = rows.iter().filter_map(one).collect();
    if named.is_empty() { "somebody who has let go by now".to_owned() } else { named.join("; ") }
}

/// By which unknown names imitate known ones, as hexadecimal digits.
fn key() -> Result<String, OpenError> {
    let mut bytes = Zeroizing::new([0; 32]);
    let random = |error: rand::rngs::SysError| OpenError::Away(Box::new(error));
    rand::rngs::SysRng.try_fill_bytes(bytes.as_mut_slice()).map_err(random)?;
    let mut text = String::with_capacity(64);
    for byte in bytes.iter() {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{MIGRATION, PAUSE, TRIES, WAIT, costs, key};
    use std::time::Duration;

    #[test]
    fn a_migration_waits_for_locks_as_is_documented_and_ends_in_ten_minutes() {
        assert_eq!((MIGRATION, PAUSE, TRIES), (Duration::from_secs(600), Duration::from_secs(2), 5));
        assert!(WAIT.ends_with("'2s'"));
        let page = include_str!("../../docs/accounts.md");
        assert!(page.contains("a migration waits two seconds at a time for locks that others have"));
        assert!(page.contains("after five tries it changes nothing and says who has them"));
    }

    #[test]
    fn each_bit_of_the_key_of_a_database_is_random() {
        let keys: Vec<_> = (0..64).map(|_| costs::parse_key(&key().unwrap()).unwrap()).collect();
        for place in 0..32 {
            let bytes = || keys.iter().map(|key| key.get(place).copied().unwrap());
            let (any, every) = (bytes().fold(0, |any, byte| any | byte), bytes().fold(u8::MAX, |all, byte| all & byte));
            assert_eq!((any, every), (u8::MAX, 0), "place {place}");
        }
    }
}
