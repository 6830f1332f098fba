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
use std::time::Duration;

/// More than a full memory of used tickets takes.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// Goes on with the keys that the server before has saved. The file is gone then: whoever would load it a second time would take
/// tickets again that were used in between.
pub(super) fn load(keys: &TicketKeys, path: &Path) -> Result<(), Failure> {
    let wrong = |error: &io::Error, advice: &str| Failure::new(format_args!("{}: {error}; {advice}", path.display()));
    check(path)?;
    let Some(saved) = state::read_private(path, MAX_FILE).map_err(|error| {
        wrong(&error, "if these are ticket keys, remove them: clients then log in with their passwords")
    })?
    else {
        return Ok(());
    };
    // Before it is removed: it may be something else, and dear to somebody.
    keys.load(&saved).map_err(|error| {
        Failure::new(format_args!("{}: {error}; name another file for --ticket-keys", path.display()))
    })?;
    let removed = fs::remove_file(path).and_then(|()| state::sync_folder(folder_of(path)));
    removed.map_err(|error| wrong(&error, "ticket keys that are loaded have to be removed, and these can't be"))
}

/// Whether keys can be saved there: at the stop it would be too late to say that they can't.
pub(super) fn check(path: &Path) -> Result<(), Failure> {
    const ADVICE: &str = "ticket keys can't be saved there; name a file in a folder that can be written";
    let written = tempfile::tempfile_in(folder_of(path)).map(drop);
    written.map_err(|error| Failure::new(format_args!("{}: {error}; {ADVICE}", path.display())))
}

/// Saves the keys for the next server, once no login is accepted any more.
pub(super) fn save(keys: &TicketKeys, path: &Path) -> Result<(), Failure> {
    let saved = keys.save().map_err(|error| Failure::new(chain(&error)))?;
    let written = state::write_private(path, &saved);
    written.map_err(|error| {
        Failure::new(format_args!("{}: {error}; the ticket keys are lost, and clients log in anew", path.display()))
    })
}

/// Logs that the memory of used tickets is too small for what comes.
pub(super) struct Watch {
    keys: Arc<TicketKeys>,
    log: Arc<Log>,
    told: UsedCounts,
}

impl Watch {
    pub(super) const EVERY: Duration = Duration::from_secs(60);

    pub(super) fn keys(&self) -> Arc<TicketKeys> {
        Arc::clone(&self.keys)
    }

    pub(super) fn new(keys: Arc<TicketKeys>, log: Arc<Log>) -> Self {
        let told = keys.used().unwrap_or_default();
        Self { keys, log, told }
    }

    /// Logs a line if more was forgotten since the last one.
    pub(super) fn look(&mut self) {
        let counts = self.keys.used().unwrap_or_default();
        if counts.forgotten > self.told.forgotten || counts.untold > self.told.untold {
            self.told = counts;
            self.tell();
        }
    }

    /// Logs the last line, if anything was forgotten.
    pub(super) fn finish(&mut self) {
        self.told = self.keys.used().unwrap_or_default();
        if self.told.forgotten > 0 || self.told.untold > 0 {
            self.tell();
        }
    }

    fn tell(&self) {
        let UsedCounts { chains, forgotten, untold, .. } = self.told;
        let entry = Entry::new("tickets-forgotten").count("chains", number(chains)).count("forgotten", forgotten);
        let entry = entry.count("not_taken", untold);
        self.log.write(entry.text("note", "the memory of used tickets is full: some clients have to log in anew"));
    }
}
