//! The accounts under a running server: changes of a file, and a database or a directory that goes away, are logged. After a change of a file
//! open sessions are looked at.

use super::health::Health;
use super::ldap::Directory;
use super::log::{Entry, Log};
use super::{number, stretch};
use crate::accounts::{self, Store, Users};
use crate::failure::chain;
use crate::{state, term};
use countersign::accounts::{Account, AccountFile, BrokenLine, News};
use countersign::{Acceptor, CredentialKind, Stretching};
#[cfg(any(feature = "ldap", feature = "sql"))]
use countersign_stores::Availability;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What decides who is let in.
pub(crate) enum Backend {
    /// Accounts that are kept here, by this library's rules.
    Store(Users, Store),
    /// A directory, by its own.
    #[cfg_attr(not(feature = "ldap"), allow(dead_code, reason = "there are directories with that feature"))]
    Directory(Directory),
}

impl Backend {
    /// The store, if it is one.
    pub(super) fn store(&self) -> Option<&Store> {
        match self {
            Self::Store(_, store) => Some(store),
            Self::Directory(_) => None,
        }
    }

    /// Where it is, if it is one.
    pub(super) fn users(&self) -> Option<&Users> {
        match self {
            Self::Store(users, _) => Some(users),
            Self::Directory(_) => None,
        }
    }

    /// How many accounts there are, if that can be told.
    pub(super) async fn count(&self) -> Option<u64> {
        self.store()?.count().await
    }

    /// Where the accounts are, without a password.
    pub(super) fn named(&self) -> String {
        match self {
            Self::Store(users, _) => users.to_string(),
            Self::Directory(directory) => directory.named().to_owned(),
        }
    }

    /// What its users may log in by.
    pub(super) fn credentials(&self) -> &'static [CredentialKind] {
        match self {
            Self::Store(..) => &[CredentialKind::Password, CredentialKind::Token, CredentialKind::Key],
            Self::Directory(_) => &[CredentialKind::Password],
        }
    }

    /// What is doubtful about the accounts, for who starts a server.
    pub(super) async fn warnings(&self, stretching: Option<&Stretching>, keeps_passwords: bool) -> Vec<String> {
        match self {
            Self::Store(users, Store::File(file)) => {
                let mut warnings = accounts::warnings(users, &accounts::lines(&file.broken_lines()));
                warnings
                    .extend(unchangeable(users, file, |account| stretch::is_due(account, stretching, keeps_passwords)));
                let counts = stretch::Counts::of(file.accounts().iter(), stretching);
                warnings.extend(counts.warnings(stretching));
                warnings
            }
            #[cfg(feature = "sql")]
            Self::Store(users, Store::Sql(store)) => {
                let mut warnings: Vec<String> =
                    store.unwritable().await.ok().flatten().map(|why| read_only(users, &why)).into_iter().collect();
                match store.count_passwords(stretching).await {
                    Ok(counts) => warnings.extend(stretch::Counts::from(counts).warnings(stretching)),
                    // Where it is away, that was said, too.
                    Err(_) => {
                        warnings
                            .push("note: passwords were not counted: the database did not answer in time".to_owned());
                    }
                }
                warnings
            }
            Self::Directory(_) => Vec::new(),
        }
    }
}

/// What is said where logins would change a file that can't be changed: nobody would notice before a recovery code is needed.
fn unchangeable(users: &Users, file: &AccountFile, is_due: impl Fn(&Account) -> bool) -> Option<String> {
    let accounts = file.accounts();
    let count = |has: &dyn Fn(&Account) -> bool| accounts.iter().filter(|account| has(account)).count();
    let recovering = count(&|account| account.recovery_codes() > 0);
    let due = count(&is_due);
    if recovering == 0 && due == 0 {
        return None;
    }
    let error = match users {
        Users::File(path) => state::check_replaceable(path).err()?,
        #[cfg(feature = "sql")]
        Users::Sql(_) => return None,
    };
    let what = [(recovering, "recovery codes are refused"), (due, "old passwords are not hashed anew")];
    let what = what.into_iter().filter(|(count, _)| *count > 0);
    let what: Vec<String> = what.map(|(of, what)| format!("{what} (of {})", term::count(of, "account"))).collect();
    Some(format!(
        "warning: {users}: this process can't change it ({error}), so {}; let it belong to the user that the server runs as, and \
         be in a folder that this may write",
        what.join(" and ")
    ))
}

/// What is said where logins would change a database that can't be changed: those that would change nothing go on.
#[cfg(feature = "sql")]
fn read_only(users: &Users, why: &str) -> String {
    format!(
        "warning: {users}: it can be read and not changed ({why}), so logins with a second factor or a recovery code are told \"not now\", and \
         old passwords are not hashed anew; what a server may do there is in docs/accounts.md"
    )
}

/// Who is told of what becomes of the accounts.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) log: Arc<Log>,
    pub(super) health: Arc<Health>,
    /// Once there is one: its sessions are looked at.
    pub(super) acceptor: Arc<OnceLock<Acceptor>>,
}

impl Told {
    fn recheck(&self) {
        if let Some(acceptor) = self.acceptor.get() {
            acceptor.recheck_all();
        }
    }

    /// A database or a directory is away, or back.
    #[cfg(any(feature = "ldap", feature = "sql"))]
    pub(super) fn tell(&self, news: &Availability<'_>) {
        match news {
            Availability::Back => {
                self.health.no_accounts.store(false, Relaxed);
                // Sessions are looked at when their time comes: all at once would be much for one that is slow, or has only just begun.
                self.log.write(Entry::new("accounts-back"));
            }
            Availability::Away(error) => {
                self.health.note_no_accounts();
                let entry = Entry::new("accounts-away").field("code", error.code()).text("reason", &chain(*error));
                self.log.write(entry.text("note", "logins are told \"not now\" until it is back"));
            }
            Availability::ReadOnly(error) => {
                let entry = Entry::new("accounts-read-only").field("code", error.code()).text("reason", &chain(*error));
                self.log.write(
                    entry
                        .text("note", "second factors and recovery codes are told \"not now\" until it can be changed"),
                );
            }
            Availability::Written => self.log.write(Entry::new("accounts-written")),
            _ => {}
        }
    }
}

/// The store, with what becomes of it told.
pub(super) fn watched(store: Store, told: Told) -> Store {
    match store {
        Store::File(file) => Store::File(watched_file(file, told)),
        #[cfg(feature = "sql")]
        Store::Sql(store) => {
            let store = store.with_observer(move |news| told.tell(&news));
            let asked = store.clone();
            // Who watches it is told.
            keep_asking(move || {
                let asked = asked.clone();
                async move { drop(asked.check().await) }
            });
            Store::Sql(store)
        }
    }
}

/// How often a database or a directory is asked whether it is there, and the clock is looked at.
const CHECK: Duration = Duration::from_secs(2);

/// Asks every two seconds, for as long as the runtime is there.
pub(super) fn keep_asking<F: Future<Output = ()> + Send>(ask: impl Fn() -> F + Send + 'static) {
    tokio::spawn(async move {
        let mut times = tokio::time::interval(CHECK);
        times.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            times.tick().await;
            ask().await;
        }
    });
}

/// The file, with each of its changes logged, and the trouble with reading it. Sessions are looked at after each change.
fn watched_file(file: AccountFile, told: Told) -> AccountFile {
    file.with_observer(move |news| match news {
        News::Read { accounts, broken } => {
            let Told { log, health, .. } = &told;
            health.no_accounts.store(false, Relaxed);
            told.recheck();
            let entry = Entry::new("users-reloaded").count("accounts", number(accounts.iter().count()));
            log.write(entry.count("broken_lines", number(broken.len())));
            broken.iter().take(MOST).for_each(|line| log.write(broken_entry(line)));
        }
        News::Unreadable(error) => {
            let Told { log, health, .. } = &told;
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
