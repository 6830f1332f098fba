//! Into a database: a thousand at a time, each thousand as a whole, however many there are.

use super::{Existing, Imported, Record, set};
use crate::accounts::{Opened, Store, Users};
use crate::failure::Failure;
use countersign::accounts::{Account, AccountError, StoreError};
use countersign_stores::SqlStore;
use std::collections::{HashMap, HashSet};

/// Records that are written at once.
const BATCH: usize = 1000;

/// Records for a database.
pub(super) struct Import<'a> {
    users: &'a Users,
    /// None where a dry run would make the file.
    opened: Option<Opened<'a>>,
    dry_run: bool,
    existing: Existing,
    batch: Vec<Record>,
    imported: Imported,
}

impl<'a> Import<'a> {
    /// Makes a file that is missing, but for a dry run.
    pub(super) fn new(users: &'a Users, dry_run: bool, existing: Existing) -> Result<Self, Failure> {
        let is_missing = users.is_missing();
        if is_missing {
            users.prepare(dry_run)?;
        }
        let opened = if is_missing && dry_run {
            None
        } else {
            users.make_missing()?;
            Some(Opened::open(users)?)
        };
        Ok(Self { users, opened, dry_run, existing, batch: Vec::new(), imported: Imported::default() })
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.batch);
        let Some(opened) = &self.opened else {
            self.imported.added = self.imported.added.saturating_add(batch.len());
            return Ok(());
        };
        let (dry_run, existing, imported) = (self.dry_run, self.existing, &mut self.imported);
        let written = opened.wait(async |store| match store {
            Store::Sql(store) if dry_run => try_all(store, &batch, existing, imported).await,
            Store::Sql(store) => write_all(store, &batch, existing, imported).await,
            Store::File(_) => Ok(()),
        });
        written.map_err(|error| {
            let failure = self.users.failure(&error);
            failure.and(match existing {
                Existing::Updated => {
                    "what was written before stays; run it again with --update, which also takes back what was changed meanwhile"
                }
                _ => "what was written before stays; to go on, run it again with --skip-existing",
            })
        })
    }
}

impl super::Import for Import<'_> {
    fn take(&mut self, record: Record) -> Result<(), Failure> {
        self.batch.push(record);
        if self.batch.len() < BATCH { Ok(()) } else { self.flush() }
    }

    fn finish(mut self: Box<Self>) -> Result<Imported, Failure> {
        self.flush()?;
        Ok(self.imported)
    }
}

/// What would become of the records.
async fn try_all(
    store: &SqlStore,
    batch: &[Record],
    existing: Existing,
    imported: &mut Imported,
) -> Result<(), StoreError> {
    let names: Vec<&str> = batch.iter().map(|record| record.name.as_str()).collect();
    let refused: HashMap<String, AccountError> = store.taken(&names).await?.into_iter().collect();
    batch.iter().for_each(|record| count(record, refused.get(&record.name), existing, imported));
    Ok(())
}

async fn write_all(
    store: &SqlStore,
    batch: &[Record],
    existing: Existing,
    imported: &mut Imported,
) -> Result<(), StoreError> {
    let (mut accounts, mut bad) = (Vec::new(), HashSet::new());
    for record in batch {
        let new = Account::new(&record.name, record.permissions.iter().flatten()).and_then(|mut account| {
            set(&mut account, record)?;
            Ok(account)
        });
        match new {
            Ok(account) => accounts.push(account),
            Err(error) => {
                imported.reject(record, &error);
                bad.insert(record.name.as_str());
            }
        }
    }
    let refused: HashMap<String, AccountError> = store.add_all(&accounts).await?.into_iter().collect();
    let is_there = |name: &str| matches!(refused.get(name), Some(AccountError::Exists(_)));
    let good = || batch.iter().filter(|record| !bad.contains(record.name.as_str()));
    if existing == Existing::Updated && !refused.is_empty() {
        let by_name: HashMap<&str, &Record> = good().map(|record| (record.name.as_str(), record)).collect();
        let names: Vec<&str> = by_name.keys().copied().filter(|name| is_there(name)).collect();
        let change = |account: &mut Account| match by_name.get(account.name()) {
            Some(record) => set(account, record),
            None => Ok(()),
        };
        let failed = store.edit_all(&names, change).await?;
        let bad = refused.iter().filter(|(name, _)| !is_there(name));
        for (name, error) in failed.iter().map(|(name, error)| (name, error)).chain(bad) {
            if let Some(record) = by_name.get(name.as_str()) {
                imported.reject(record, error);
            }
        }
        imported.updated = imported.updated.saturating_add(names.len().saturating_sub(failed.len()));
        imported.added = imported.added.saturating_add(accounts.len().saturating_sub(refused.len()));
        return Ok(());
    }
    good().for_each(|record| count(record, refused.get(&record.name), existing, imported));
    Ok(())
}

/// Counts one for what it is: added, unless there is a reason why not.
fn count(record: &Record, refused: Option<&AccountError>, existing: Existing, imported: &mut Imported) {
    match refused {
        None => imported.added = imported.added.saturating_add(1),
        Some(AccountError::Exists(_)) if existing == Existing::Updated => {
            imported.updated = imported.updated.saturating_add(1)
        }
        Some(AccountError::Exists(_)) => imported.pass(record, existing),
        Some(error) => imported.reject(record, error),
    }
}
