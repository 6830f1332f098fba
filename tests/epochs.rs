//! Epochs: what ends an account's tickets, and that nothing brings them back.

#![cfg(feature = "accounts")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

#[path = "support/asked.rs"]
mod asked;

use countersign::accounts::{AccountError, AccountFile, Accounts};
use countersign::files::{FileError, Missing, edit_accounts};
use countersign::{Credential, CredentialKind};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

/// Alice, with the hash of the token "token one".
const ALICE: &str = "alice permissions=read token=SHA256:/K6YqKtISs5VNDg8gDFOyFAq+jsTw4ZjBcxFn0Iqiak\n";

/// A folder with an account file in it: alice.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts");
    write(&path, ALICE);
    (folder, path)
}

/// In place, and for nobody else to read.
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

fn open(path: &Path) -> Arc<AccountFile> {
    Arc::new(AccountFile::open(path).unwrap())
}

/// The epoch that a login or a ticket of alice's gets now.
fn epoch(file: &Arc<AccountFile>) -> u64 {
    file.refresh().unwrap();
    let [by_token, by_ticket] =
        [asked::check(file, Credential::Token(b"token one")), asked::resume(file, "alice", CredentialKind::Token)];
    let epoch = by_token.unwrap().epoch().unwrap();
    assert_eq!(by_ticket.unwrap().epoch(), Some(epoch));
    epoch
}

fn are_different(epochs: &[u64]) {
    let distinct: BTreeSet<&u64> = epochs.iter().collect();
    assert_eq!(distinct.len(), epochs.len(), "{epochs:?}");
}

#[test]
fn an_epoch_lasts_as_long_as_the_file_and_in_a_process_as_long_as_the_line() {
    let (folder, path) = folder();
    let file = open(&path);
    let first = epoch(&file);
    assert_eq!(epoch(&open(&path)), first, "tickets survive a restart");
    // Others are added, changed and removed, she moves, there are comments, and the file is touched.
    for text in [
        format!("{ALICE}bob\n"),
        format!("# mine\nbob permissions=read\n{ALICE}"),
        format!("bob ?\n{ALICE}"),
        ALICE.to_owned(),
    ] {
        // In place, she would be gone for a moment.
        let beside = folder.path().join("beside");
        write(&beside, &text);
        fs::rename(&beside, &path).unwrap();
        assert_eq!(epoch(&file), first, "{text}");
    }
    fs::File::options().write(true).open(&path).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    assert_eq!(epoch(&file), first);
    // The file is away for a while: she was never seen to be.
    let away = folder.path().join("away");
    fs::rename(&path, &away).unwrap();
    file.refresh().unwrap_err();
    fs::rename(&away, &path).unwrap();
    assert_eq!(epoch(&file), first);
    let other = folder.path().join("other");
    fs::copy(&path, &other).unwrap();
    assert_ne!(epoch(&open(&other)), first, "who has the text has not the epoch");
}

#[test]
fn an_epoch_never_comes_back_with_an_account_that_is_deleted_and_made_again() {
    let (_folder, path) = folder();
    let file = open(&path);
    let mut epochs = vec![epoch(&file)];
    for gone in ["".to_owned(), ALICE.replace('\n', " ?\n"), ALICE.replace("read", "root"), format!("alice ?\n{ALICE}")]
    {
        write(&path, &gone);
        file.refresh().unwrap();
        write(&path, ALICE);
        epochs.push(epoch(&file));
    }
    are_different(&epochs);
    for is_locked in [true, false] {
        edit_accounts(&path, Missing::Fail, |accounts| {
            let done = if is_locked {
                accounts.edit("alice", |account| Ok(account.lock()))
            } else {
                accounts.edit("alice", |account| Ok(account.unlock()))
            };
            assert_eq!(done, Ok(true));
            Ok::<_, FileError>(())
        })
        .unwrap();
        file.refresh().unwrap();
    }
    epochs.push(epoch(&file));
    // Before `locks=` there was, or by hand.
    write(&path, ALICE);
    epochs.push(epoch(&file));
    are_different(&epochs);
}

/// With `cp`, `cp -p`, `mv`, and a backup that is a link to the file itself; while a server runs, and while none does.
#[cfg(unix)]
#[test]
fn an_epoch_never_comes_back_with_a_backup() {
    let run = |command: &str, from: &Path, to: &Path| {
        let (program, options) = command.split_once(' ').unwrap_or((command, ""));
        let status = Command::new(program).args(options.split_whitespace()).args([from, to]).status().unwrap();
        assert!(status.success(), "{command}");
    };
    for (save, restore) in
        [("cp -p", "cp"), ("cp -p", "cp -p"), ("cp -p", "cp -pf"), ("cp -p", "mv"), ("ln", "mv"), ("mv", "mv")]
    {
        for is_served in [true, false] {
            let (folder, path) = folder();
            let backup = folder.path().join("backup");
            let server = open(&path);
            let before = epoch(&server);
            let running = is_served.then_some(server);
            run(save, &path, &backup);
            let changed = folder.path().join("changed");
            write(&changed, &ALICE.replace("read", "root"));
            run("mv -f", &changed, &path);
            let between = running.as_ref().map(epoch);
            run(restore, &backup, &path);
            assert_eq!(fs::read_to_string(&path).unwrap(), ALICE);
            let after = epoch(&running.unwrap_or_else(|| open(&path)));
            let all: Vec<u64> = [Some(before), between, Some(after)].into_iter().flatten().collect();
            are_different(&all);
        }
    }
}

/// Says whether it changed anything.
type Change = fn(&mut Accounts) -> Result<bool, AccountError>;

#[test]
fn an_epoch_in_memory_is_another_with_each_change_and_each_reading() {
    let read = || Accounts::parse(format!("{ALICE}bob\n")).0;
    let epoch = |accounts: &Accounts, name| accounts.find(name).unwrap().epoch();
    let mut accounts = read();
    let bob = epoch(&accounts, "bob");
    let mut epochs = vec![epoch(&read(), "alice"), epoch(&accounts, "alice")];
    assert_eq!(epoch(&accounts, "alice"), epochs[1]);
    let changes: [Change; 4] = [
        |accounts| accounts.edit("alice", |account| account.add_permission("write")),
        |accounts| accounts.edit("alice", |account| account.remove_permission("write")),
        |accounts| accounts.edit("alice", |account| Ok(account.lock())),
        |accounts| accounts.edit("alice", |account| Ok(account.unlock())),
    ];
    for change in changes {
        assert_eq!(change(&mut accounts), Ok(true));
        epochs.push(epoch(&accounts, "alice"));
        assert_eq!(change(&mut accounts), Ok(false), "no change");
        assert_eq!(Some(&epoch(&accounts, "alice")), epochs.last());
    }
    for _ in 0..2 {
        accounts.remove("alice").unwrap();
        accounts.add("alice", ["read"]).unwrap();
        epochs.push(epoch(&accounts, "alice"));
    }
    are_different(&epochs);
    assert_eq!(epoch(&accounts, "bob"), bob);
}
