//! Every store there is, put to the same tests.
#![cfg(feature = "sql")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../../tests/support/left_out.rs"]
mod left_out;

use countersign::accounts::{AccountFile, Accounts};
use countersign::files::FileError;
use countersign_stores::{Place, SqlStore, conformance};
use left_out::left_out;
use std::sync::{Arc, RwLock};

#[tokio::test(flavor = "multi_thread")]
async fn accounts_in_memory() {
    conformance::check(Arc::new(RwLock::new(Accounts::new()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts");
    AccountFile::edit(&path, true, |_| Ok::<_, FileError>(())).unwrap();
    conformance::check(Arc::new(AccountFile::open(&path).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::sqlite(folder.path().join("accounts of a server?#%.db"));
    place.migrate().await.unwrap();
    conformance::check(Arc::new(SqlStore::open(&place).await.unwrap())).await;
}

/// Against the server at `COUNTERSIGN_TEST_POSTGRES`, an address of an empty database.
#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    let Ok(address) = std::env::var("COUNTERSIGN_TEST_POSTGRES") else {
        return left_out("postgres", "no PostgreSQL, whose address COUNTERSIGN_TEST_POSTGRES would have");
    };
    let place = Place::parse(&address).unwrap();
    place.migrate().await.unwrap();
    conformance::check(Arc::new(SqlStore::open(&place).await.unwrap())).await;
}
