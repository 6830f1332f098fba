//! The accounts under a running server: changes of a file, and a database that goes away, are logged, and open sessions looked at after each.

use super::health::Health;
use super::log::{Entry, Log};
use super::{number, stretch};
use crate::accounts::{self, Store, Users};
use crate::failure::chain;
#[cfg(feature = "sql")]
use countersign::accounts::{Account, AccountStore};
use countersign::accounts::{AccountFile, BrokenLine, News};
use countersign::{Acceptor, Stretching};
#[cfg(feature = "sql")]
use countersign_stores::{Availability, SqlStore};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
#[cfg(feature = "sql")]
use std::time::Duration;

/// What is told of a database's accounts before it is served: the first ones stand for all, however many there are.
#[cfg(feature = "sql")]
const SAMPLE: usize = 1000;

/// What is doubtful about the accounts, for who starts a server.
pub(super) async fn warnings(users: &Users, store: &Store, stretching: Option<&Stretching>) -> Vec<String> {
    match store {
        Store::File(file) => {
            let mut warnings = accounts::warnings(users, &accounts::lines(&file.broken_lines()));
            warnings.extend(stretch::warnings(file.accounts().iter(), stretching));
            warnings
        }
        #[cfg(feature = "sql")]
        Store::Sql(_) => {
            // Where it is away, that was said.
            let sample: Vec<Account> = store.page(None, SAMPLE).await.unwrap_or_default();
            stretch::warnings(sample.iter(), stretching)
        }
    }
}

/// The store, with what becomes of it told.
pub(super) fn watched(store: Store, log: Arc<Log>, health: Arc<Health>, acceptor: Arc<OnceLock<Acceptor>>) -> Store {
    match store {
        Store::File(file) => Store::File(watched_file(file, log, health, acceptor)),
        #[cfg(feature = "sql")]
        Store::Sql(store) => Store::Sql(watched_database(store, log, health, acceptor)),
    }
}

/// How often a database is asked whether it is there.
#[cfg(feature = "sql")]
const CHECK: Duration = Duration::from_secs(2);

/// The database, asked every two seconds, with its absences logged and counted. Once it is back, open sessions are looked at.
#[cfg(feature = "sql")]
fn watched_database(
    store: SqlStore,
    log: Arc<Log>,
    health: Arc<Health>,
    acceptor: Arc<OnceLock<Acceptor>>,
) -> SqlStore {
    let store = store.with_watcher(move |news| match news {
        Availability::Back => {
            health.no_accounts.store(false, Relaxed);
            log.write(Entry::new("accounts-back"));
            if let Some(acceptor) = acceptor.get() {
                acceptor.recheck_all();
            }
        }
        Availability::Away(error) => {
            health.note_no_accounts();
            let entry = Entry::new("accounts-away").field("code", error.code()).text("reason", &chain(error));
            log.write(entry.text("note", "logins are told \"not now\" until it is back"));
        }
        _ => {}
    });
    let asked = store.clone();
    tokio::spawn(async move {
        let mut times = tokio::time::interval(CHECK);
        times.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            times.tick().await;
            // The watcher is told.
            let _ = asked.check().await;
        }
    });
    store
}

/// The file, with each of its changes logged, and the trouble with reading it. Once there is an acceptor its sessions are looked at after each
/// change.
fn watched_file(
    file: AccountFile,
    log: Arc<Log>,
    health: Arc<Health>,
    acceptor: Arc<OnceLock<Acceptor>>,
) -> AccountFile {
    file.with_watcher(move |news| match news {
        News::Read { accounts, broken } => {
            health.no_accounts.store(false, Relaxed);
            if let Some(acceptor) = acceptor.get() {
                acceptor.recheck_all();
            }
            let entry = Entry::new("users-reloaded").count("accounts", number(accounts.iter().count()));
            log.write(entry.count("broken_lines", number(broken.len())));
            broken.iter().take(MOST).for_each(|line| log.write(broken_entry(line)));
        }
        News::Unreadable(error) => {
            health.note_no_accounts();
            let entry = Entry::new("users-unreadable").field("code", error.code()).text("reason", &chain(error));
            log.write(entry.text("note", "nobody is let in until it can be read"));
        }
        _ => {}
    })
}

/// Broken lines that are logged of one reading. There may be as many as there are lines.
const MOST: usize = 100;

fn broken_entry(line: &BrokenLine) -> Entry {
    let entry = Entry::new("users-broken-line").count("line", number(line.number)).field("code", line.error.code());
    entry.text("reason", &line.error.to_string())
}
