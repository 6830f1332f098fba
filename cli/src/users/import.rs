//! `user import`: accounts that there are already, in the file of another program.

mod read;

use super::{can_be_made, missing, warn_broken};
use crate::failure::Failure;
use crate::term;
use clap::{Args, ValueEnum};
use countersign::accounts::{Account, AccountError, AccountFile, Accounts};
use countersign::files::{FileError, MAX_FILE};
use indicatif::{ProgressBar, ProgressStyle};
use read::{Record, Rejected};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct ImportArgs {
    /// The file to read; - is standard input
    file: PathBuf,
    #[command(flatten)]
    users: super::FileArgs,
    /// What the file is; otherwise its first line tells
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Say what would be imported and what not, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Give users that exist already what the file says of them, too. Their keys, tokens and second factor stay
    #[arg(long)]
    update: bool,
}

/// What a file of users is.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// As Apache's htpasswd writes it: NAME:HASH
    Htpasswd,
    /// Comma-separated values, the first line with the names of the columns
    Csv,
}

/// Lines that are not taken, as many of them as are worth telling.
#[derive(Default)]
struct Report {
    rejected: Vec<Rejected>,
    more: usize,
}

impl Report {
    /// As many as anybody mends by hand: a file that is not what it was taken for has a million.
    const MOST: usize = 10_000;

    fn add(&mut self, rejected: Rejected) {
        if self.rejected.len() < Self::MOST {
            self.rejected.push(rejected);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    fn count(&self) -> usize {
        self.rejected.len().saturating_add(self.more)
    }

    /// On standard output, in the order of the lines. Never with a hash.
    fn print(&mut self) -> Result<(), Failure> {
        self.rejected.sort_by_key(|rejected| rejected.line);
        self.rejected.iter().try_for_each(term::line)?;
        if self.more > 0 {
            term::line(format_args!("and {} more", term::count(self.more, "line")))?;
        }
        Ok(())
    }
}

/// What an import changed, or would change.
#[derive(Default)]
struct Imported {
    added: usize,
    updated: usize,
    rejected: Vec<Rejected>,
}

impl ImportArgs {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let users = &self.users.users;
        let existing = self.existing()?;
        let (records, mut report) = self.read()?;
        let imported = if self.dry_run {
            let mut accounts = existing.unwrap_or_default();
            let imported = import(&mut accounts, &records, self.update);
            let is_too_long = u64::try_from(accounts.to_bytes().as_slice().len()).is_ok_and(|length| length > MAX_FILE);
            if is_too_long { Err(too_many(users)) } else { Ok(imported) }
        } else if records.is_empty() {
            Ok(Imported::default())
        } else {
            // All at once: whatever stops it leaves the file as it was.
            let imported =
                AccountFile::edit(users, true, |accounts| Ok::<_, FileError>(import(accounts, &records, self.update)));
            imported.map_err(|error| match error {
                FileError::TooLong { .. } => too_many(users),
                error => missing(users, &error),
            })
        };
        let Imported { added, updated, rejected } = imported?;
        rejected.into_iter().for_each(|rejected| report.add(rejected));
        report.print()?;
        let (would, end) = if self.dry_run { ("would import", "; nothing was changed") } else { ("imported", "") };
        let updates = if updated > 0 { format!(", {updated} of them there before") } else { String::new() };
        let count = term::count(added.saturating_add(updated), "user");
        term::note(format_args!("{would} {count} into {}{updates}{end}", users.display()));
        match report.count() {
            0 => Ok(()),
            count => Err(Failure::new(format_args!(
                "{}: {} not taken; the reasons are on standard output",
                self.name(),
                if count == 1 { "1 line was".to_owned() } else { format!("{count} lines were") }
            ))),
        }
    }

    /// The accounts that are there, before a long file is read in vain.
    fn existing(&self) -> Result<Option<Accounts>, Failure> {
        let users = &self.users.users;
        match AccountFile::open(users) {
            Ok(file) => {
                warn_broken(users, &file.broken_lines());
                Ok(self.dry_run.then(|| Accounts::parse(file.accounts().to_bytes().as_slice()).0))
            }
            Err(error) if error.is_missing() => {
                can_be_made(users)?;
                if !self.dry_run {
                    term::note(format_args!("{}: no such file yet; making it", users.display()));
                }
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn name(&self) -> String {
        if self.is_stdin() { "standard input".to_owned() } else { self.file.display().to_string() }
    }

    fn is_stdin(&self) -> bool {
        self.file.as_os_str() == "-"
    }

    fn failure(&self, error: &io::Error) -> Failure {
        Failure::new(format_args!("{}: {error}", self.name()))
    }

    fn read(&self) -> Result<(Vec<Record>, Report), Failure> {
        let (input, length): (Box<dyn Read>, u64) = if self.is_stdin() {
            (Box::new(io::stdin().lock()), 0)
        } else {
            let file = File::open(&self.file).map_err(|error| self.failure(&error))?;
            let length = file.metadata().map_or(0, |metadata| metadata.len());
            (Box::new(file), length)
        };
        let bar = progress(length);
        let mut input = BufReader::with_capacity(1 << 16, bar.wrap_read(input));
        let read = self.records(&mut input);
        bar.finish_and_clear();
        read
    }

    fn records(&self, input: &mut impl BufRead) -> Result<(Vec<Record>, Report), Failure> {
        let mut reader = None;
        let (mut records, mut report, mut room) = (Vec::new(), Report::default(), MAX_FILE);
        let mut lines = read::Lines::new(input);
        while let Some((number, line)) = lines.next().map_err(|error| self.failure(&error))? {
            let reader = match &mut reader {
                Some(reader) => reader,
                // Blank lines and comments don't tell.
                None if read::is_blank(line) => continue,
                none => {
                    let is_csv = match self.format {
                        Some(format) => format == Format::Csv,
                        None => read::is_header(line),
                    };
                    let kind = read::Reader::new(is_csv, line)
                        .map_err(|reason| Failure::usage(format_args!("{}: line {number}: {reason}", self.name())))?;
                    let reader = none.insert(kind);
                    if is_csv {
                        continue;
                    }
                    reader
                }
            };
            match reader.read(number, line) {
                Ok(Some(record)) => {
                    // A hostile file may be longer than memory is.
                    let size = u64::try_from(record.size()).unwrap_or(u64::MAX);
                    room = room.checked_sub(size).ok_or_else(|| too_many(&self.users.users))?;
                    records.push(record);
                }
                Ok(None) => {}
                Err(rejected) => report.add(rejected),
            }
        }
        if reader.is_none() {
            return Err(Failure::new(format_args!("{}: there is nothing in it", self.name())));
        }
        Ok((records, report))
    }
}

/// A bar, or something that moves where the length is not known. Hides itself where standard error is no terminal.
fn progress(length: u64) -> ProgressBar {
    let (bar, template) = match length {
        0 => (ProgressBar::new_spinner(), "{spinner} {bytes} read ({elapsed})"),
        length => (ProgressBar::new(length), "{bar:40} {bytes} of {total_bytes} ({eta} left)"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

fn too_many(users: &Path) -> Failure {
    Failure::new(format_args!(
        "{}: a users file has at most {} MiB, which is some 400,000 users with a password; import fewer, or keep them in a database",
        users.display(),
        MAX_FILE >> 20
    ))
}

/// Changes the accounts as the records say. Called again where somebody else has changed them meanwhile.
fn import(accounts: &mut Accounts, records: &[Record], update: bool) -> Imported {
    let mut imported = Imported::default();
    for record in records {
        let is_new = accounts.get(&record.name).is_none();
        let done = match accounts.check_new(&record.name) {
            Err(AccountError::Exists(_)) if update => accounts.edit(&record.name, |account| set(account, record)),
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
            Err(error) => imported.rejected.push(record.rejected(&read::reason(&error))),
        }
    }
    imported
}

/// Gives an account what a record says.
fn set(account: &mut Account, record: &Record) -> Result<(), AccountError> {
    if let Some(permissions) = &record.permissions {
        let held: Vec<String> = account.grant().permissions().map(str::to_owned).collect();
        for old in held.iter().filter(|held| !permissions.contains(held)) {
            account.remove_permission(old)?;
        }
        permissions.iter().try_for_each(|new| account.add_permission(new).map(drop))?;
    }
    if let Some(expires) = record.expires {
        account.set_expiry(expires);
    }
    match record.locked {
        Some(true) => {
            account.lock();
        }
        Some(false) => {
            account.unlock();
        }
        None => {}
    }
    record.hash.as_ref().map_or(Ok(()), |hash| account.set_password_hash(hash))
}
