//! The users file under a running server: read anew when it changes, and the change logged.

use super::log::{Entry, Log};
use crate::failure::chain;
use crate::users::broken_line;
use countersign::accounts::{AccountFile, BrokenLine};
use countersign::{Attempt, Grant, Reason, Returning, Verifier};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// An account file, and what was last logged of it.
pub(crate) struct Users {
    path: PathBuf,
    file: AccountFile,
    log: Arc<Log>,
    /// The trouble with reading the file that was logged last, so that it is logged once. Held while the file is read,
    /// so that one of many logins logs a change.
    trouble: Mutex<Option<String>>,
}

impl Users {
    pub(crate) fn new(path: &Path, file: AccountFile, log: Arc<Log>) -> Self {
        Self { path: path.to_owned(), file, log, trouble: Mutex::new(None) }
    }

    /// The lines of the file that can't be read, each as a warning.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.file.broken_lines().iter().map(|line| broken_line(&self.path, line)).collect()
    }

    /// Reads the file anew if it has changed, and logs that. Gives whether what was read last can still count.
    fn refresh(&self) -> Result<(), Reason> {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match self.file.refresh() {
            Ok(changed) => {
                *trouble = None;
                if changed {
                    self.log_reloaded();
                }
                Ok(())
            }
            Err(error) => {
                let error = chain(&error);
                if trouble.as_ref() != Some(&error) {
                    let entry = Entry::new("users-unreadable").text("reason", &error);
                    self.log.write(entry.text("note", "nobody is let in until it can be read"));
                    *trouble = Some(error);
                }
                Err(Reason::NotNow("the users file can't be read"))
            }
        }
    }

    fn log_reloaded(&self) {
        let broken = self.file.broken_lines();
        let entry = Entry::new("users-reloaded")
            .field("accounts", self.file.accounts().iter().count())
            .field("broken_lines", broken.len());
        self.log.write(entry);
        broken.iter().for_each(|line| self.log.write(broken_entry(line)));
    }
}

fn broken_entry(line: &BrokenLine) -> Entry {
    Entry::new("users-broken-line").field("line", line.number).text("reason", &line.error.to_string())
}

/// Asked on the acceptor's threads: reading a file may take its time.
impl Verifier for Users {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        let read = self.refresh();
        // Even if it can't count, so that a refusal costs what it always does.
        let verdict = self.file.accounts().check(attempt.credential());
        read.and(verdict)
    }

    fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        self.refresh()?;
        self.file.accounts().current(returning.principal())
    }
}
