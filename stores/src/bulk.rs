//! Many accounts at once: for an import.

use crate::database::{Value, Work};
use crate::record::{self, Record, columns};
use crate::store::{Failed, SqlStore, add_more, hold_roles, is_no_text, stored, version};
use core::fmt::Write;
use countersign::accounts::{Account, AccountError, AccountStore, StoreError};
use sqlx::AssertSqlSafe;
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

/// Rows in one statement: 16 values each, and SQLite takes 32,766.
const ROWS: usize = 500;

/// How long they may take together, on a slow disk.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

impl SqlStore {
    /// Adds those of these accounts that can be added, 500 in one transaction, and gives the names of the others, and why: those that are there
    /// ([`AccountError::Exists`]) are left as they are. What ends it in the middle leaves whole transactions behind.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn add_all(&self, accounts: &[Account]) -> Result<Vec<(String, AccountError)>, StoreError> {
        let mut refused = Vec::new();
        for rows in accounts.chunks(ROWS) {
            // Of a name that comes again nothing is to go with the first: by itself it is one that is there.
            let mut names = HashSet::new();
            let (some, again): (Vec<_>, Vec<_>) = rows.iter().partition(|account| names.insert(account.name()));
            let mut values = Vec::new();
            for &account in &some {
                values.extend(Record::of(account).values());
                values.extend([account.name().into(), version()?]);
                values.extend(record::numbers(account.answers()));
            }
            let insert = format!(
                "INSERT INTO accounts ({}, name, version, last_step, wrong_answers, closed_until) VALUES {} \
                 ON CONFLICT (name) DO NOTHING RETURNING name",
                columns!(),
                self.places(some.len(), 16)
            );
            let added = self.write_within(PATIENCE, async {
                let mut work = self.database().begin_long(PATIENCE).await?;
                let rows = match work.run(AssertSqlSafe(insert), values).await {
                    Err(error) if is_no_text(&error) => return Err(AccountError::Encoding(String::new()).into()),
                    rows => rows?,
                };
                let names = rows.iter().map(|row| row.text("name")).collect::<Result<HashSet<_>, _>>()?;
                let has_leftovers = matches!(work, Work::Sqlite(_)) && !names.is_empty();
                for table in ["tokens", "account_roles"].into_iter().filter(|_| has_leftovers) {
                    let delete = format!("DELETE FROM {table} WHERE account IN {}", self.places(1, names.len()));
                    work.run(AssertSqlSafe(delete), names.iter().map(|name| name.as_str().into()).collect()).await?;
                }
                for account in some.iter().filter(|account| names.contains(account.name())) {
                    let record = Record::of(account);
                    hold_roles(&mut work, &record.roles).await?;
                    let has_roles = !record.roles.is_empty();
                    add_more(&mut work, account.name(), record).await?;
                    if has_roles {
                        stored(&mut work, account.name()).await?;
                    }
                }
                // In one order, as another import may be adding the same.
                let costs: BTreeSet<_> = some.iter().filter_map(|account| account.password_cost()).collect();
                for cost in costs {
                    self.learn(&mut work, &cost).await?;
                }
                work.commit().await?;
                Ok::<_, Failed>(names)
            });
            match added.await {
                Ok(added) => {
                    let others =
                        some.iter().map(|account| account.name().to_owned()).filter(|name| !added.contains(name));
                    refused.extend(others.map(|name| (name.clone(), AccountError::Exists(name))));
                }
                // What is wrong with one of them undoes all.
                Err(StoreError::Account(_)) => self.add_each(&some, &mut refused).await?,
                Err(error) => return Err(error),
            }
            self.add_each(&again, &mut refused).await?;
        }
        Ok(refused)
    }

    async fn add_each(
        &self,
        accounts: &[&Account],
        refused: &mut Vec<(String, AccountError)>,
    ) -> Result<(), StoreError> {
        for account in accounts {
            match self.add(account).await {
                Ok(()) => {}
                Err(StoreError::Account(error)) => refused.push((account.name().to_owned(), error)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Changes the accounts of these names, 500 in one transaction. Gives those that could not be changed, and why: they stay as they are.
    /// Where somebody else changes one meanwhile, `change` is called again on what they made of it, and where one can't be kept as it is then, on all
    /// that are in a transaction with it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn edit_all(
        &self,
        names: &[&str],
        mut change: impl FnMut(&mut Account) -> Result<(), AccountError> + Send,
    ) -> Result<Vec<(String, AccountError)>, StoreError> {
        let (mut failed, mut overtaken) = (Vec::new(), Vec::new());
        for some in names.chunks(ROWS) {
            let edited = self.write_within(PATIENCE, async {
                let mut work = self.database().begin_long(PATIENCE).await?;
                let (mut failed, mut overtaken) = (Vec::new(), Vec::new());
                for name in some {
                    let old = match stored(&mut work, name).await {
                        Ok(Some(old)) => old,
                        Ok(None) => {
                            failed.push(((*name).to_owned(), AccountError::Unknown((*name).to_owned())));
                            continue;
                        }
                        Err(Failed::Store(StoreError::Account(error))) => {
                            failed.push(((*name).to_owned(), error));
                            continue;
                        }
                        // After that nothing more can be asked in this transaction.
                        Err(Failed::Sql(error)) if is_no_text(&error) => {
                            return Err(AccountError::Unknown((*name).to_owned()).into());
                        }
                        Err(error) => return Err(error),
                    };
                    let mut new = old.clone();
                    match change(&mut new) {
                        Err(error) => failed.push(((*name).to_owned(), error)),
                        Ok(()) if new.is_same(&old) => {}
                        Ok(()) => match self.put(&mut work, &old, &new).await {
                            Ok(_) => {}
                            Err(Failed::Store(StoreError::Conflict)) => overtaken.push(*name),
                            Err(error) => return Err(error),
                        },
                    }
                }
                work.commit().await?;
                Ok((failed, overtaken))
            });
            match edited.await {
                Ok((more, late)) => {
                    failed.extend(more);
                    overtaken.extend(late);
                }
                // More permissions than a grant may have, say, with those of its roles. What is wrong with one of them undoes all: each by itself.
                Err(StoreError::Account(_)) => overtaken.extend(some),
                Err(error) => return Err(error),
            }
        }
        for name in overtaken {
            match self.edit(name, &mut change).await {
                Ok(()) => {}
                Err(StoreError::Account(error)) => failed.push((name.to_owned(), error)),
                Err(error) => return Err(error),
            }
        }
        Ok(failed)
    }

    /// Those of these names that no account can be added under, and why: [`AccountError::Exists`], or none could ever have it here.
    ///
    /// # Errors
    /// [`StoreError::Away`].
    pub async fn taken(&self, names: &[&str]) -> Result<Vec<(String, AccountError)>, StoreError> {
        let mut taken = Vec::new();
        for some in names.chunks(ROWS) {
            if let Some(rows) = self.those_of(some).await? {
                taken.extend(rows);
                continue;
            }
            for name in some {
                let bad = || vec![((*name).to_owned(), AccountError::Encoding((*name).to_owned()))];
                taken.extend(self.those_of(&[*name]).await?.unwrap_or_else(bad));
            }
        }
        Ok(taken)
    }

    /// Those of these names that there are; none where one of them can't be a name here.
    async fn those_of(&self, names: &[&str]) -> Result<Option<Vec<(String, AccountError)>>, StoreError> {
        let select = format!("SELECT name FROM accounts WHERE name IN {}", self.places(1, names.len()));
        let values: Vec<Value> = names.iter().map(|name| Value::from(*name)).collect();
        let rows = self.read(async {
            match self.database().read(AssertSqlSafe(select), values).await {
                Err(error) if is_no_text(&error) => Ok(None),
                rows => rows?.iter().map(|row| row.text("name")).collect::<Result<Vec<_>, _>>().map(Some),
            }
        });
        let there = |name: String| (name.clone(), AccountError::Exists(name));
        Ok(rows.await?.map(|names| names.into_iter().map(there).collect()))
    }
}

impl SqlStore {
    /// `($1, $2), ($3, $4)`, and of SQLite `(?, ?), (?, ?)`, as it takes `$1` for a name, and looks for each name among all of them: numbers
    /// alone, and nothing that anybody gave.
    fn places(&self, rows: usize, columns: usize) -> String {
        let (mut text, mut number) = (String::new(), 0_usize);
        let is_sqlite = self.database().is_sqlite();
        for row in 0..rows {
            text.push_str(if row == 0 { "(" } else { ", (" });
            for column in 0..columns {
                number = number.saturating_add(1);
                text.push_str(if column == 0 { "" } else { ", " });
                // Writing to a string does not fail.
                let _ = if is_sqlite { write!(text, "?") } else { write!(text, "${number}") };
            }
            text.push(')');
        }
        text
    }
}
