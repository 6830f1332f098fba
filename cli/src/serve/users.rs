//! The users file under a running server: its changes logged, and open sessions looked at after each.

use super::log::{Entry, Log};
use crate::failure::chain;
use countersign::Acceptor;
use countersign::accounts::{AccountFile, BrokenLine, News};
use std::sync::{Arc, OnceLock};

/// The file, with each of its changes logged, and the trouble with reading it. Once there is an acceptor its sessions are looked at after each
/// change.
pub(super) fn watched(file: AccountFile, log: Arc<Log>, acceptor: Arc<OnceLock<Acceptor>>) -> AccountFile {
    file.with_watcher(move |news| match news {
        News::Read { accounts, broken } => {
            if let Some(acceptor) = acceptor.get() {
                acceptor.recheck_all();
            }
            let entry = Entry::new("users-reloaded").field("accounts", accounts.iter().count());
            log.write(entry.field("broken_lines", broken.len()));
            broken.iter().take(MOST).for_each(|line| log.write(broken_entry(line)));
        }
        News::Unreadable(error) => {
            let entry = Entry::new("users-unreadable").field("code", error.code()).text("reason", &chain(error));
            log.write(entry.text("note", "nobody is let in until it can be read"));
        }
        _ => {}
    })
}

/// Broken lines that are logged of one reading. There may be as many as there are lines.
const MOST: usize = 100;

fn broken_entry(line: &BrokenLine) -> Entry {
    let entry = Entry::new("users-broken-line").field("line", line.number).field("code", line.error.code());
    entry.text("reason", &line.error.to_string())
}
