//! The ticket keys of a server: kept across a restart where there is a file for them, and their memory watched.

use super::log::{Entry, Log};
use super::number;
use crate::failure::{Failure, chain};
use crate::state::{self, folder_of};
use countersign::{TicketKeys, UsedCounts};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// More than a full memory of used tickets takes.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// Keys that are kept across a restart, and the file for that.
pub(super) struct Kept<'a> {
    keys: &'a TicketKeys,
    path: &'a Path,
    /// Whether there was a file.
    was_saved: bool,
    /// Whether this server may use them, and has to save them.
    is_ours: bool,
}

impl<'a> Kept<'a> {
    /// Goes on with the keys that the server before has saved. The file stays as it is until [`Kept::take_over`]: it is the next start's if this one fails.
    pub(super) fn load(keys: &'a TicketKeys, path: &'a Path) -> Result<Self, Failure> {
        check(path)?;
        let saved = state::read_private(path, MAX_FILE).map_err(|error| {
            wrong(path, &error, "if these are ticket keys, remove them: clients then log in with their passwords")
        })?;
        // Before anything is removed: it may be something else, and dear to somebody.
        saved.as_ref().map_or(Ok(()), |saved| keys.load(saved)).map_err(|error| {
            Failure::new(format_args!("{}: {error}; name another file for --ticket-keys", path.display()))
        })?;
        Ok(Self { keys, path, was_saved: saved.is_some(), is_ours: false })
    }

    /// Removes the file, before any ticket can be used: whoever would load it a second time would take tickets again that were used in between.
    pub(super) fn take_over(&mut self) -> Result<(), Failure> {
        if self.was_saved {
            let removed = fs::remove_file(self.path).and_then(|()| state::sync_folder(folder_of(self.path)));
            removed.map_err(|error| {
                wrong(self.path, &error, "ticket keys that are loaded have to be removed, and these can't be")
            })?;
        }
        self.is_ours = true;
        Ok(())
    }

    /// Saves the keys for the next server, once no login is accepted any more. One that never began has used no ticket, and its file is still there.
    pub(super) fn save(&self) -> Result<(), Failure> {
        if !self.is_ours {
            return Ok(());
        }
        let saved = self.keys.save().map_err(|error| Failure::new(chain(&error)))?;
        state::write_private(self.path, &saved)
            .map_err(|error| wrong(self.path, &error, "the ticket keys are lost, and clients log in anew"))
    }
}

fn wrong(path: &Path, error: &io::Error, advice: &str) -> Failure {
    Failure::new(format_args!("{}: {error}; {advice}", path.display()))
}

/// Whether keys can be saved there: at the stop it would be too late to say that they can't.
fn check(path: &Path) -> Result<(), Failure> {
    let written = tempfile::tempfile_in(folder_of(path)).map(drop);
    written.map_err(|error| {
        wrong(path, &error, "ticket keys can't be saved there; name a file in a folder that can be written")
    })
}

/// Logs that the memory of used tickets is too small for what comes.
pub(super) struct Watch {
    keys: Arc<TicketKeys>,
    log: Arc<Log>,
    told: UsedCounts,
}

impl Watch {
    pub(super) fn keys(&self) -> Arc<TicketKeys> {
        Arc::clone(&self.keys)
    }

    pub(super) fn new(keys: Arc<TicketKeys>, log: Arc<Log>) -> Self {
        let told = keys.used().unwrap_or_default();
        Self { keys, log, told }
    }

    /// Logs a line if more was forgotten since the last one.
    pub(super) fn look(&mut self) -> bool {
        let is_more = is_more(&mut self.told, self.keys.used().unwrap_or_default());
        if is_more {
            self.tell();
        }
        is_more
    }

    fn tell(&self) {
        let UsedCounts { chains, forgotten, untold, .. } = self.told;
        let entry = Entry::new("tickets-forgotten").count("chains", number(chains)).count("forgotten", forgotten);
        let entry = entry.count("not_taken", untold);
        self.log.write(entry.text("note", "the memory of used tickets is full: some clients have to log in anew"));
    }
}

/// Whether more was forgotten than was told, which is told then.
fn is_more(told: &mut UsedCounts, counts: UsedCounts) -> bool {
    let is_more = counts.forgotten > told.forgotten || counts.untold > told.untold;
    if is_more {
        *told = counts;
    }
    is_more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_forgotten_is_told_once() {
        let mut told = UsedCounts::default();
        let counts = |forgotten, untold| {
            let mut counts = UsedCounts::default();
            (counts.forgotten, counts.untold) = (forgotten, untold);
            counts
        };
        for (forgotten, untold, is_news) in
            [(0, 0, false), (3, 0, true), (3, 0, false), (4, 0, true), (4, 1, true), (4, 1, false), (5, 2, true)]
        {
            assert_eq!(is_more(&mut told, counts(forgotten, untold)), is_news, "{forgotten} {untold}");
        }
    }
}
