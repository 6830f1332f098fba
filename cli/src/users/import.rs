//! `user import`: accounts that there are already, in the file of another program.

#[cfg(feature = "sql")]
mod database;
mod file;
mod read;

use crate::accounts::{Users, UsersArgs};
use crate::failure::Failure;
use crate::fuzzed::told;
use crate::term;
use clap::{Args, ValueEnum};
use countersign::accounts::{Account, AccountError, Accounts};
use indicatif::{ProgressBar, ProgressStyle};
use read::{Record, Rejected};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct ImportArgs {
    /// The file to read; - is standard input
    file: PathBuf,
    #[command(flatten)]
    users: UsersArgs,
    /// What the file is; otherwise its first line tells
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Say what would be imported and what not, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Give users that exist already what the file says of them, too. Their keys, tokens and second factor stay
    #[arg(long)]
    update: bool,
    /// Leave users that exist already as they are, and report none of them: to go on with an import that was stopped
    #[arg(long, conflicts_with = "update")]
    skip_existing: bool,
}

/// What becomes of users that exist already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Reported,
    Updated,
    Skipped,
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

    /// And those of another one.
    fn join(&mut self, other: Self) {
        other.rejected.into_iter().for_each(|rejected| self.add(rejected));
        self.more = self.more.saturating_add(other.more);
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
    skipped: usize,
    report: Report,
}

impl Imported {
    /// A user that is there is not updated.
    fn pass(&mut self, record: &Record, existing: Existing) {
        if existing == Existing::Skipped {
            self.skipped = self.skipped.saturating_add(1);
        } else {
            self.reject(record, &AccountError::Exists(record.name.clone()));
        }
    }

    fn reject(&mut self, record: &Record, error: &AccountError) {
        self.report.add(record.rejected(&read::reason(error)));
    }
}

/// Imports the users of another program's file into accounts that are in memory. Gives how many were added, how many were changed, and
/// what is said of the lines that are not taken, of 10,000 of them at the most.
///
/// # Errors
/// What the user is told where it is no such file.
pub fn imported(accounts: &mut Accounts, file: &[u8], update: bool) -> Result<(usize, usize, Vec<String>), String> {
    let users = UsersArgs::default();
    let import = ImportArgs { file: "-".into(), users, format: None, dry_run: false, update, skip_existing: false };
    let into = Box::new(Memory { accounts, existing: import.existing(), records: Vec::new() });
    let imported = import.records(&mut &*file, into).map_err(told)?;
    let rejected = imported.report.rejected.iter().map(Rejected::to_string).collect();
    Ok((imported.added, imported.updated, rejected))
}

/// Accounts as they are.
struct Memory<'a> {
    accounts: &'a mut Accounts,
    existing: Existing,
    records: Vec<Record>,
}

impl Import for Memory<'_> {
    fn take(&mut self, record: Record) -> Result<(), Failure> {
        self.records.push(record);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Imported, Failure> {
        Ok(file::import(self.accounts, &self.records, self.existing))
    }
}

/// Where records go.
trait Import {
    /// Takes the next one.
    fn take(&mut self, record: Record) -> Result<(), Failure>;

    /// Takes what there is, at the end.
    fn finish(self: Box<Self>) -> Result<Imported, Failure>;
}

impl ImportArgs {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let users = self.users.place()?;
        let into: Box<dyn Import> = match &users {
            Users::File(path) => Box::new(file::Import::new(path, self.dry_run, self.existing())?),
            #[cfg(feature = "sql")]
            Users::Sql(_) => Box::new(database::Import::new(&users, self.dry_run, self.existing())?),
        };
        let Imported { added, updated, skipped, mut report } = self.read(into)?;
        report.print()?;
        let (would, end) = if self.dry_run { ("would import", "; nothing was changed") } else { ("imported", "") };
        let updates = if updated > 0 { format!(", {updated} of them there before") } else { String::new() };
        let skips = if skipped > 0 { format!("; {skipped} there before") } else { String::new() };
        let count = term::count(added.saturating_add(updated), "user");
        term::note(format_args!("{would} {count} into {users}{updates}{skips}{end}"));
        match report.count() {
            0 => Ok(()),
            count => Err(Failure::new(format_args!(
                "{}: {} not taken; the reasons are on standard output",
                self.name(),
                if count == 1 { "1 line was".to_owned() } else { format!("{count} lines were") }
            ))),
        }
    }

    fn existing(&self) -> Existing {
        match (self.update, self.skip_existing) {
            (true, _) => Existing::Updated,
            (false, true) => Existing::Skipped,
            (false, false) => Existing::Reported,
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

    fn read(&self, into: Box<dyn Import + '_>) -> Result<Imported, Failure> {
        let (input, length): (Box<dyn Read>, u64) = if self.is_stdin() {
            (Box::new(io::stdin().lock()), 0)
        } else {
            let file = File::open(&self.file).map_err(|error| self.failure(&error))?;
            let length = file.metadata().map_or(0, |metadata| metadata.len());
            (Box::new(file), length)
        };
        let bar = progress(length);
        let mut input = BufReader::with_capacity(1 << 16, bar.wrap_read(input));
        let read = self.records(&mut input, into);
        bar.finish_and_clear();
        read
    }

    fn records(&self, input: &mut impl BufRead, mut into: Box<dyn Import + '_>) -> Result<Imported, Failure> {
        let (mut reader, mut report) = (None, Report::default());
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
                Ok(Some(record)) => into.take(record)?,
                Ok(None) => {}
                Err(rejected) => report.add(rejected),
            }
        }
        if reader.is_none() {
            return Err(Failure::new(format_args!("{}: there is nothing in it", self.name())));
        }
        let mut imported = into.finish()?;
        imported.report.join(report);
        Ok(imported)
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

/// Gives an account what a record says.
fn set(account: &mut Account, record: &Record) -> Result<(), AccountError> {
    if let Some(permissions) = &record.permissions {
        let held: Vec<String> = account.own_grant().permissions().map(str::to_owned).collect();
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use std::fmt::Write;

    #[test]
    fn of_lines_that_are_not_taken_no_more_are_kept_than_are_told() {
        let mut text = String::new();
        (0..Report::MOST + 20).for_each(|number| writeln!(text, "user{number}:{{SHA}}x").unwrap());
        let mut accounts = Accounts::new();
        for name in 0..Report::MOST + 10 {
            accounts.add(&format!("user{name}"), [""; 0]).unwrap();
        }
        let mut there = String::from("name\n");
        (0..Report::MOST + 10).for_each(|number| writeln!(there, "user{number}").unwrap());
        for (file, count) in [(text, Report::MOST), (there, Report::MOST)] {
            let (added, updated, rejected) = imported(&mut accounts, file.as_bytes(), false).unwrap();
            assert_eq!((added, updated, rejected.len()), (0, 0, count));
        }
    }
}
