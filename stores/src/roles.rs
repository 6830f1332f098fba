//! Roles as rows.

use crate::bulk::PATIENCE;
use crate::database::{Row, Value, Work};
use crate::record;
use crate::store::{Failed, SqlStore, account, is_taken, select, too_many, version};
use countersign::accounts::{AccountError, Role, StoreError};
use countersign::limits;

/// Accounts that are looked at at once, each as a whole, when a role gets more: those that may come to have more than a grant may have.
const CROWDED: usize = 500;

/// What changes of roles take turns by, in PostgreSQL.
const CHANGES: i64 = 0x636f_756e_726f_6c65;

pub(crate) async fn all(store: &SqlStore) -> Result<Vec<Role>, StoreError> {
    let select = "SELECT name, version, permissions FROM roles ORDER BY name";
    store
        .read(async {
            let rows = store.database().read(select, Vec::new()).await?;
            let roles = rows.iter().map(|row| {
                let permissions = row.maybe("permissions")?.unwrap_or_default();
                Ok(record::role(&row.text("name")?, row.number("version")?, &permissions))
            });
            Ok(roles.collect::<Result<Vec<_>, sqlx::Error>>()?.into_iter().flatten().collect())
        })
        .await
}

pub(crate) async fn users(store: &SqlStore, role: &str) -> Result<u64, StoreError> {
    let select = "SELECT count(*) AS number FROM account_roles WHERE role = $1";
    store
        .read(async {
            let rows = store.database().read(select, vec![role.into()]).await?;
            let number = rows.first().map_or(Ok(0), |row| row.number("number"))?;
            Ok(u64::try_from(number).unwrap_or_default())
        })
        .await
}

pub(crate) async fn add(store: &SqlStore, role: &Role) -> Result<(), StoreError> {
    let insert = "INSERT INTO roles (name, version, permissions) VALUES ($1, $2, $3)";
    let values = vec![role.name().into(), version()?, record::permissions(role)];
    store
        .write(async {
            let mut work = store.database().begin().await?;
            match work.run(insert, values).await {
                Err(error) if is_taken(&error) => return Err(AccountError::RoleExists(role.name().to_owned()).into()),
                added => added?,
            };
            Ok(work.commit().await?)
        })
        .await
}

pub(crate) async fn update(store: &SqlStore, old: &Role, new: &Role) -> Result<(), StoreError> {
    const UPDATE: &str =
        "UPDATE roles SET permissions = $1, version = $2 WHERE name = $3 AND version = $4 RETURNING name";
    // Words are counted by their commas; the roles' may be the same words, so these are the most that there can be.
    const WHO_HAS_MANY: &str = select!(
        "JOIN account_roles o ON o.account = accounts.name AND o.role = $1 \
         WHERE accounts.name > $2 AND (coalesce(length(permissions) - length(replace(permissions, ',', '')) + 1, 0) \
             + (SELECT coalesce(sum(length(r.permissions) - length(replace(r.permissions, ',', '')) + 1), 0) \
                FROM account_roles h JOIN roles r ON r.name = h.role WHERE h.account = accounts.name) > $3 \
         OR length(accounts.name) * 4 + coalesce(length(permissions), 0) \
             + (SELECT coalesce(sum(length(r.permissions) + 1), 0) \
                FROM account_roles h JOIN roles r ON r.name = h.role WHERE h.account = accounts.name) > $4) \
         ORDER BY accounts.name LIMIT $5"
    );
    // The most that any of them can have: far less to look for than how much each has.
    const THE_MOST: &str = "\
        SELECT CAST(own.words + held.words AS BIGINT) AS words, CAST(own.bytes + held.bytes AS BIGINT) AS bytes FROM \
        (SELECT coalesce(max(coalesce(length(permissions) - length(replace(permissions, ',', '')) + 1, 0)), 0) AS words, \
                coalesce(max(length(name) * 4 + coalesce(length(permissions), 0)), 0) AS bytes \
            FROM accounts JOIN account_roles ON account = name WHERE role = $1) own, \
        (SELECT coalesce(sum(length(permissions) - length(replace(permissions, ',', '')) + 1), 0) AS words, \
                coalesce(sum(length(permissions) + 1), 0) AS bytes \
            FROM roles WHERE name IN \
            (SELECT h.role FROM account_roles o JOIN account_roles h ON h.account = o.account WHERE o.role = $1)) held";
    if new.name() != old.name() {
        return Err(StoreError::Conflict);
    }
    let name = old.name();
    let values = vec![record::permissions(new), version()?, name.into(), Value::Number(old.version().cast_signed())];
    let bound = |number: usize| Value::Number(i64::try_from(number).unwrap_or(i64::MAX));
    // Beside the words, a grant has a decision, some lengths and a comma for each word.
    let bytes = limits::MAX_GRANT.saturating_sub(limits::MAX_PERMISSIONS).saturating_sub(16);
    let bounds = [bound(limits::MAX_PERMISSIONS), bound(bytes), bound(CROWDED)];
    store
        .write_within(PATIENCE, async {
            let mut work = store.database().begin_long(PATIENCE).await?;
            if matches!(work, Work::Postgres(_)) {
                // One after the other: two roles that change at once would each be measured beside the other as it was.
                work.run("SELECT pg_advisory_xact_lock($1)::text", vec![CHANGES.into()]).await?;
            }
            if work.run(UPDATE, values).await?.is_empty() {
                return Err(StoreError::Conflict.into());
            }
            let is_within = |row: &Row| {
                let within = |column, most| {
                    Ok::<_, sqlx::Error>(usize::try_from(row.number(column)?).is_ok_and(|has| has <= most))
                };
                Ok::<_, sqlx::Error>(within("words", limits::MAX_PERMISSIONS)? && within("bytes", bytes)?)
            };
            if new.permissions().any(|word| old.permissions().all(|held| held != word))
                && !work.run(THE_MOST, vec![name.into()]).await?.first().map_or(Ok(false), is_within)?
            {
                let mut after = String::new();
                loop {
                    let values = [Value::from(name), after.as_str().into()].into_iter().chain(bounds.clone());
                    let rows = work.run(WHO_HAS_MANY, values.collect()).await?;
                    if rows.iter().any(|row| account(Some(row)).is_err()) {
                        return Err(too_many().into());
                    }
                    match rows.last() {
                        Some(last) if rows.len() == CROWDED => after = last.text("name")?,
                        _ => break,
                    }
                }
            }
            Ok(work.commit().await?)
        })
        .await
}

pub(crate) async fn remove(store: &SqlStore, name: &str) -> Result<(), StoreError> {
    let delete = "DELETE FROM roles WHERE name = $1 RETURNING name";
    let one = "SELECT min(account) AS account FROM account_roles WHERE role = $1";
    let in_use = |user: String| AccountError::RoleInUse { role: name.to_owned(), user };
    store
        .write(async {
            let mut work = store.database().begin().await?;
            let users = work.run(one, vec![name.into()]).await?;
            if let Some(user) = users.first().map_or(Ok(None), |row| row.maybe("account"))? {
                return Err(in_use(user).into());
            }
            match work.run(delete, vec![name.into()]).await {
                // Somebody got it since the line above.
                Err(error) if error.as_database_error().is_some_and(|error| error.is_foreign_key_violation()) => {
                    Err(Failed::from(StoreError::Conflict))
                }
                Err(error) => Err(error.into()),
                Ok(removed) if removed.is_empty() => Err(AccountError::UnknownRole(name.to_owned()).into()),
                Ok(_) => Ok(work.commit().await?),
            }
        })
        .await
}
