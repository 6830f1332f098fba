//! Every store there is, put to the same tests, and stores that are to fail them.
#![cfg(feature = "sql")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects, missing_docs)]

#[path = "../../tests/support/left_out.rs"]
mod left_out;
#[path = "support/own.rs"]
mod own;

use countersign::accounts::{AccountFile, AccountStore, Accounts};
use countersign::files::{FileError, Missing, edit_accounts};
use countersign_stores::{Place, SqlStore, conformance};
use left_out::left_out;
use own::{Fault, Gone, Own};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;

#[tokio::test(flavor = "multi_thread")]
async fn accounts_in_memory() {
    conformance::check(Arc::new(RwLock::new(Accounts::new()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts");
    edit_accounts(&path, Missing::Make, |_| Ok::<_, FileError>(())).unwrap();
    conformance::check(Arc::new(AccountFile::open(&path).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::sqlite(folder.path().join("accounts of a server?#%.db"));
    place.migrate().await.unwrap();
    check_sql(&place).await;
}

/// One store, and two as two servers have them.
async fn check_sql(place: &Place) {
    let [one, other] = [SqlStore::open(place).await.unwrap(), SqlStore::open(place).await.unwrap()].map(Arc::new);
    conformance::check(Arc::clone(&one)).await;
    conformance::check_two(one, other).await;
}

/// Against the server at `COUNTERSIGN_TEST_POSTGRES`, an address of an empty database.
#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    let Ok(address) = std::env::var("COUNTERSIGN_TEST_POSTGRES") else {
        return left_out("postgres", "no PostgreSQL, whose address COUNTERSIGN_TEST_POSTGRES would have");
    };
    let place = Place::parse(&address).unwrap();
    place.migrate().await.unwrap();
    check_sql(&place).await;
}

/// Puts a store to the suite. It is no task that could be moved between threads, so it is on one of its own.
fn check(fault: Fault) -> JoinHandle<()> {
    apart(async move || conformance::check(Arc::new(Own::new(fault))).await)
}

fn apart<F: Future<Output = ()>>(check: impl FnOnce() -> F + Send + 'static) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(check());
    })
}

/// Each of these was refused, for that.
fn are_refused<const N: usize>(checked: [(Fault, &str, JoinHandle<()>); N]) {
    for (fault, says, check) in checked {
        let said = check.join().err().unwrap_or_else(|| panic!("{fault:?} passes"));
        let text =
            said.downcast_ref::<String>().map(String::as_str).or_else(|| said.downcast_ref::<&'static str>().copied());
        assert!(text.is_some_and(|text| text.contains(says)), "{fault:?}: {text:?}");
    }
}

#[test]
fn a_store_of_ones_own_passes_and_none_does_with_a_fault_that_lets_somebody_in_or_tells_who_there_is() {
    check(Fault::Nothing).join().unwrap();
    are_refused(
        [
            (Fault::AnotherKeyEachTime, "an unknown name costs the same each time"),
            (Fault::NothingIsImitated, "what each password costs is what some unknown name costs"),
            (Fault::TheListShrinks, "an unknown name costs the same when others have gone"),
            (Fault::TokensStay, "a token of an account that was removed, and added anew without it"),
            (Fault::TokensOfOthers, "an update with a token of somebody else's"),
            (Fault::TokensAreNoChange, "a token: another version"),
            (Fault::RolesAreNoChange, "no epoch comes back with what a role was"),
            (Fault::RefusedAndHalfKept, "of a change that is refused nothing is kept"),
            (Fault::WithoutItsRoles, "a role: an update gives the account with its roles"),
            (Fault::VersionsAreCounted, "an account that was removed and added again is another one"),
            (Fault::VersionsAreOfTheFields, "an account that was removed and added again is another one"),
            (Fault::ChangesForgetAnswers, "what is changed with a change of the fields is remembered"),
            (Fault::ChangesKeepOldAnswers, "what is changed with a change of the fields is remembered"),
            (Fault::ChangesCompareVersionsAlone, "a change that does not know of the last answer"),
            (Fault::ChangesRename, "a change into an account of another name"),
            (Fault::AnswersStay, "who is new is not held to answers of another of the name"),
            (Fault::RefusedAndRemembered, "of a change that is refused nothing is remembered"),
        ]
        .map(|(fault, says)| (fault, says, check(fault))),
    );
}

#[test]
fn a_store_that_loses_something_of_an_account_or_takes_one_for_another_does_not_pass() {
    are_refused(
        [
            (Fault::AddedTwice, "\"alice\" is added once"),
            (Fault::RemovedTwice, "\"alice\" is removed once"),
            (Fault::NewTokensAreInNoIndex, "a token of robot's lets robot in"),
            (Fault::TokensFindNoVersion, "who is found by a token is as by their name"),
            (Fault::RolesComeAlive, "a change of a role that was removed"),
            (Fault::RolesAreFolded, "RoleExists(\"Clerk\")"),
            (Fault::PagesWithoutRoles, "a page has accounts as they are found"),
            (Fault::PagesLookForTheName, "a page after a name that is gone"),
            (Fault::AnswersAreSmall, "answers are found"),
            (Fault::TimesAreShort, "largest: what is added is what is found"),
            (Fault::NamesAreFolded, "\"Alice\" is not \"alice\""),
            (Fault::NamesAreNormalised, "mile\" is not \"\u{e9}mile\""),
            (Fault::PermissionsAreSorted, "alice: what is added is what is found"),
        ]
        .map(|(fault, says)| (fault, says, check(fault))),
    );
}

#[test]
fn two_servers_that_do_not_notice_each_other_do_not_pass() {
    let check = |fault| {
        apart(async move || {
            let [one, other] = Own::two(fault).map(Arc::new);
            conformance::check_two(one, other).await;
        })
    };
    check(Fault::Nothing).join().unwrap();
    // By itself it is as it should be.
    let alone = self::check(Fault::EachServerComparesForItself);
    are_refused(
        [
            (Fault::FoundOnceForEver, "within ten seconds the other one sees"),
            (Fault::AnotherKeyEachServer, "within ten seconds the other one sees what unknown names cost"),
            (Fault::EachServerComparesForItself, "that two servers make at once one is made"),
        ]
        .map(|(fault, says)| (fault, says, check(fault))),
    );
    alone.join().unwrap();
}

#[test]
fn a_store_that_is_away_says_so_and_none_passes_that_says_nobody_is_there() {
    let check = |fault| apart(async move || conformance::check_away(Arc::new(Gone(fault))).await);
    check(Fault::Nothing).join().unwrap();
    are_refused([(Fault::AwayIsAbsence, "a store that is away says so", check(Fault::AwayIsAbsence))]);
}

/// Those that are here: a file that is gone, and a database that takes connections and says nothing.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn stores_that_are_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts");
    edit_accounts(&path, Missing::Make, |_| Ok::<_, FileError>(())).unwrap();
    let file = AccountFile::open(&path).unwrap();
    assert!(file.page(None, 1).await.is_ok());
    std::fs::remove_file(&path).unwrap();
    conformance::check_away(Arc::new(file)).await;

    let listener = tokio::net::UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(one) = listener.accept().await {
            held.push(one);
        }
    });
    let place = Place::parse(&format!("postgres://nobody@localhost/x?host={}", folder.path().display())).unwrap();
    let (store, _) = SqlStore::open_even_if_away(&place).await.unwrap();
    conformance::check_away(Arc::new(store)).await;
}

#[test]
#[should_panic = "a runtime of several threads is needed"]
fn a_runtime_on_which_nothing_is_at_once_is_none_for_the_suite() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(conformance::check(Arc::new(Own::new(Fault::Nothing))));
}
