//! Into a users file: all at once, so that whatever stops it leaves the file as it was.

use super::{Existing, Imported, Record, set};
use crate::accounts::{Users, lines, missing, warnings};
use crate::failure::Failure;
use crate::term;
use countersign::accounts::{AccountError, AccountFile, Accounts};
use countersign::files::{FileError, MAX_FILE, Missing, edit_accounts};
use std::path::{Path, PathBuf};

/// Records for a users file.
pub(super) struct Import {
    path: PathBuf,
    /// What a dry run works on.
    trial: Option<Accounts>,
    existing: Existing,
    records: Vec<Record>,
    /// In bytes, of the longest file that there may be.
    room: u64,
}

impl Import {
    /// Looks at the file before a long one is read in vain.
    pub(super) fn new(path: &Path, dry_run: bool, existing: Existing) -> Result<Self, Failure> {
        let users = Users::File(path.to_owned());
        let trial = match AccountFile::open(path) {
            Ok(file) => {
                warnings(&users, &lines(&file.broken_lines())).iter().for_each(term::note);
                dry_run.then(|| Accounts::parse(file.accounts().to_bytes().as_slice()).0)
            }
            Err(error) if error.is_missing() => {
                users.prepare(dry_run)?;
                dry_run.then(Accounts::default)
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path: path.to_owned(), trial, existing, records: Vec::new(), room: MAX_FILE })
    }
}

impl super::Import for Import {
    fn take(&mut self, record: Record) -> Result<(), Failure> {
        // A hostile file may be longer than memory is.
        let size = u64::try_from(record.size()).unwrap_or(u64::MAX);
        self.room = self.room.checked_sub(size).ok_or_else(|| too_many(&self.path))?;
        self.records.push(record);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Imported, Failure> {
        let Self { path, trial, existing, records, .. } = *self;
        if let Some(mut accounts) = trial {
            let imported = import(&mut accounts, &records, existing);
            let is_too_long = u64::try_from(accounts.to_bytes().as_slice().len()).is_ok_and(|length| length > MAX_FILE);
            return if is_too_long { Err(too_many(&path)) } else { Ok(imported) };
        }
        if records.is_empty() {
            return Ok(Imported::default());
        }
        let edited =
            edit_accounts(&path, Missing::Make, |accounts| Ok::<_, FileError>(import(accounts, &records, existing)));
        edited.map_err(|error| match error {
            FileError::TooLong { .. } => too_many(&path),
            error => missing(&path, &error),
        })
    }
}

fn too_many(users: &Path) -> Failure {
    Failure::new(format_args!(
        "{}: a users file has at most {} MiB, which is some 400,000 users with a password; import fewer, or keep them in a database: --users sqlite:FILE",
        users.display(),
        MAX_FILE >> 20
    ))
}

/// Changes the accounts as the records say. Called again where somebody else has changed them meanwhile.
pub(super) fn import(accounts: &mut Accounts, records: &[Record], existing: Existing) -> Imported {
    let mut imported = Imported::default();
    for record in records {
        let is_new = accounts.get(&record.name).is_none();
        let done = match accounts.check_new(&record.name) {
            Err(AccountError::Exists(_)) if existing == Existing::Updated => {
                accounts.edit(&record.name, |account| set(account, record))
            }
            Err(AccountError::Exists(_)) => {
                imported.pass(record, existing);
                continue;
            }
            Err(error) => Err(error),
            Ok(()) => {
                let permissions = record.permissions.iter().flatten();
                accounts
                    .add(&record.name, permissions)
                    .and_then(|()| accounts.edit(&record.name, |account| set(account, record)))
            }
        };
        match done {
            Ok(()) if is_new => imported.added = imported.added.saturating_add(1),
            Ok(()) => imported.updated = imported.updated.saturating_add(1),
            Err(error) => imported.reject(record, &error),
        }
    }
    imported
}
