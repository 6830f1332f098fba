//! The users file under a running server: read anew when it changes, and the change logged.

use super::gate::Place;
use super::hashers::Hashers;
use super::log::{Entry, Log};
use crate::users::broken_line;
use countersign::accounts::{AccountFile, BrokenLine};
use countersign::{Credential, Grant, Reason, Verifier};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// An account file, and what was last logged of it.
pub(crate) struct Users {
    path: PathBuf,
    file: AccountFile,
    /// The trouble with reading the file that was logged last, so that it is logged once. Held while the file is read,
    /// so that one of many logins logs a change.
    trouble: Mutex<Option<String>>,
    hashers: Hashers,
}

impl Users {
    pub(crate) fn new(path: &Path, file: AccountFile, hashers: Hashers) -> Self {
        Self { path: path.to_owned(), file, trouble: Mutex::new(None), hashers }
    }

    /// The lines of the file that can't be read, each as a warning.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.file.broken_lines().iter().map(|line| broken_line(&self.path, line)).collect()
    }

    /// Reads the file anew if it has changed, and logs that. Gives whether what was read last can still count.
    fn refresh(&self, log: &Log) -> bool {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.file.refresh();
        let is_good = read.is_ok();
        match read {
            Ok(false) => *trouble = None,
            Ok(true) => {
                *trouble = None;
                let broken = self.file.broken_lines();
                let entry = Entry::new("users-reloaded")
                    .field("accounts", self.file.accounts().iter().count())
                    .field("broken_lines", broken.len());
                log.write(entry);
                broken.iter().for_each(|line| log.write(broken_entry(line)));
            }
            Err(error) => {
                let error = error.to_string();
                if trouble.as_ref() != Some(&error) {
                    let entry = Entry::new("users-unreadable").text("reason", &error);
                    log.write(entry.text("note", "nobody is let in until it can be read"));
                    *trouble = Some(error);
                }
            }
        }
        is_good
    }
}

fn broken_entry(line: &BrokenLine) -> Entry {
    Entry::new("users-broken-line").field("line", line.number).text("reason", &line.error.to_string())
}

/// The verifier of one login.
pub(crate) struct Desk<'a> {
    users: &'a Users,
    log: &'a Log,
    place: &'a Place,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(users: &'a Users, log: &'a Log, place: &'a Place) -> Self {
        Self { users, log, place }
    }
}

impl Verifier for Desk<'_> {
    fn verify(&self, credential: Credential<'_>) -> Result<Grant, Reason> {
        let is_good = self.users.refresh(self.log);
        // Even if it can't count, so that a refusal costs what it always does.
        let verdict = self.users.hashers.verify(self.users.file.accounts(), credential);
        if is_good { verdict } else { Err(Reason::NotNow("the account store is unavailable")) }
    }

    fn current(&self, principal: &str) -> Option<Grant> {
        // A ticket passes by the queue for a core, and must not pass by the limit: where the house is full it goes the
        // way of a login, which is not admitted.
        let is_good = self.place.has_room() && self.users.refresh(self.log);
        if is_good { self.users.file.accounts().current(principal) } else { None }
    }
}
