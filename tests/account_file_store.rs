//! An account file as a store, while something holds it up.

#![cfg(all(unix, feature = "accounts"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

#[path = "support/asked.rs"]
mod asked;

use countersign::accounts::{Account, AccountFile, AccountStore, StoreError};
use countersign::files::{FileError, Missing, edit_accounts};
use std::fs::File;
use std::future::Future;
use std::task::{Context, Waker};

/// Who may hold the lock for long: an editor that was stopped, a server of NFS that does not answer.
#[test]
fn while_a_file_is_locked_eight_edits_wait_for_it_and_all_others_are_told_so_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts");
    edit_accounts(&path, Missing::Make, |accounts| {
        accounts.add("alice", ["read"]).unwrap();
        Ok::<_, FileError>(())
    })
    .unwrap();
    let file = AccountFile::open(&path).unwrap();
    let lock = File::open(&path).unwrap();
    lock.lock().unwrap();
    let new: Vec<Account> = (0..8).map(|number| Account::new(&format!("user-{number}"), ["read"]).unwrap()).collect();
    let mut waiting: Vec<_> = new.iter().map(|account| Box::pin(file.add(account))).collect();
    let mut task = Context::from_waker(Waker::noop());
    assert!(waiting.iter_mut().all(|edit| edit.as_mut().poll(&mut task).is_pending()));
    let remove = || asked::block_on(file.remove("alice"));
    for _ in 0..3 {
        match remove() {
            Err(StoreError::Away { what, .. }) => assert_eq!(what, "the account file is edited by too many at once"),
            other => panic!("{other:?}"),
        }
    }
    drop(lock);
    waiting.into_iter().for_each(|edit| asked::block_on(edit).unwrap());
    // The threads of those end a moment after their answers.
    while let Err(error) = remove() {
        assert_eq!(error.code(), "store-away", "{error}");
    }
    file.refresh().unwrap();
    let mut names: Vec<_> = file.accounts().iter().map(|account| account.name().to_owned()).collect();
    names.sort_unstable();
    assert_eq!(names, new.iter().map(Account::name).collect::<Vec<_>>());
}
