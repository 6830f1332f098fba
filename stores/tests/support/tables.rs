//! An account in a database, a login to it, what is told of it, and the tables of the first version.

use countersign::accounts::{Account, AccountError, AccountStore, AccountVerifier, HashParameters, Role, StoreError};
use countersign::{AsyncVerifier, Attempt, Context, Credential, Grant, Reason};
use countersign_stores::{Availability, Place, SqlStore};
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Barrier;

pub(crate) const PASSWORD: &[u8] = b"correct horse";

pub(crate) fn account(name: &str) -> Account {
    let cheap = HashParameters::new(8, 1, 1).unwrap();
    let mut account = Account::new(name, ["read"]).unwrap();
    account.set_password_with(PASSWORD, cheap).unwrap();
    account
}

pub(crate) async fn log_in<S: AccountStore>(store: &Arc<S>, user: &str) -> Result<Grant, Reason> {
    let (verifier, context) = (AccountVerifier::new(Arc::clone(store)), Context::uncounted());
    verifier.verify(&Attempt::new(Credential::Password { user, password: PASSWORD }, &context)).await
}

/// Whether it is back, each time that something was told.
pub(crate) async fn watched(place: &Place) -> (Arc<SqlStore>, Arc<Mutex<Vec<bool>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let store = SqlStore::open(place).await.unwrap();
    let tell = move |news: Availability<'_>| tell.lock().unwrap().push(matches!(news, Availability::Back));
    (Arc::new(store.with_observer(tell)), told)
}

/// While somebody keeps all changes waiting, many are wanted; and many look at what there is.
pub(crate) async fn read_beside_changes_that_wait(store: &Arc<SqlStore>) {
    let old = store.find("alice").await.unwrap().unwrap();
    let mut new = old.clone();
    new.lock();
    let begun = Arc::new(Barrier::new(33));
    let change = |_| {
        let (store, old, new, begun) = (Arc::clone(store), old.clone(), new.clone(), Arc::clone(&begun));
        tokio::spawn(async move {
            let mut update = Box::pin(store.update(&old, &new));
            // It has asked for a connection by then, before anybody reads.
            assert!(poll_fn(|task| Poll::Ready(update.as_mut().poll(task))).await.is_pending());
            begun.wait().await;
            update.await
        })
    };
    let changes: Vec<_> = (0..32).map(change).collect();
    begun.wait().await;
    while changes.iter().any(|change| !change.is_finished()) {
        assert!(store.find("alice").await.unwrap().is_some());
        store.check().await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for change in changes {
        let given_up = change.await.unwrap();
        assert!(matches!(given_up, Err(StoreError::Away { .. })), "{given_up:?}");
    }
    // Nobody waits for them any more, and they wait still.
    assert!(log_in(store, "alice").await.is_ok());
    store.check().await.unwrap();
}

/// What makes version 1 of the latest, but for what is in it.
pub(crate) const BACK_TO_1: [&str; 10] = [
    "DROP TABLE account_roles",
    "DROP TABLE roles",
    "DROP TABLE imitated_costs",
    "ALTER TABLE accounts DROP COLUMN stretched",
    "ALTER TABLE accounts DROP COLUMN allowed_from",
    "ALTER TABLE accounts ADD COLUMN password_cost TEXT",
    "CREATE INDEX accounts_by_password_cost ON accounts (password_cost)",
    "DROP TABLE ticket_keys",
    "ALTER TABLE countersign DROP COLUMN compatible_from",
    "UPDATE countersign SET version = 1",
];

/// Of several that are added at once, and of several that are changed, one can't be.
pub(crate) async fn all_but_one(store: &SqlStore) {
    let words: Vec<String> = (0..20).map(|number| format!("word{number}")).collect();
    store.add_role(&Role::new("wide", &words).unwrap()).await.unwrap();
    let mut wide = Account::new("bob", (0..10).map(|number| format!("own{number}"))).unwrap();
    wide.add_role("wide").unwrap();
    let mut lost = account("mallory");
    lost.add_role("nobody").unwrap();
    let refused = store.add_all(&[account("alice"), wide, lost, account("carol"), account("alice")]).await.unwrap();
    let unknown = AccountError::UnknownRole("nobody".to_owned());
    let exists = AccountError::Exists("alice".to_owned());
    assert_eq!(refused, [("mallory".to_owned(), unknown), ("alice".to_owned(), exists)]);
    // By themselves they are within what an account may have; with those of the role they would be too many.
    let mut over = Account::new("oscar", (0..15).map(|number| format!("own{number}"))).unwrap();
    over.add_role("wide").unwrap();
    let refused = store.add_all(&[over, account("grace")]).await.unwrap();
    let refused: Vec<_> = refused.iter().map(|(name, error)| (name.as_str(), error.code())).collect();
    assert_eq!(refused, [("oscar", "too-many")]);
    assert!(store.find("oscar").await.unwrap().is_none() && store.find("grace").await.unwrap().is_some());
    let bob = store.find("bob").await.unwrap().unwrap();
    // By itself each is within what an account may have; with those of his role bob's would be too many.
    let change = |account: &mut Account| {
        account.lock();
        (0..5).try_for_each(|number| account.add_permission(&format!("more{number}")).map(drop))
    };
    let failed = store.edit_all(&["alice", "bob", "carol", "nobody"], change).await.unwrap();
    let failed: Vec<_> = failed.iter().map(|(name, error)| (name.as_str(), error.code())).collect();
    assert_eq!(failed, [("bob", "too-many"), ("nobody", "unknown-account")]);
    for name in ["alice", "carol"] {
        let changed = store.find(name).await.unwrap().unwrap();
        assert!(changed.is_locked() && changed.own_grant().permits("more4"), "{name}");
    }
    let as_before = store.find("bob").await.unwrap().unwrap();
    assert!(as_before.is_same(&bob) && as_before.version() == bob.version());
    // Of two of one name the first is kept, and nothing of the other with it.
    let (mut first, mut second) = (account("dora"), account("dora"));
    first.lock();
    second.issue_token().unwrap();
    second.add_role("wide").unwrap();
    let refused = store.add_all(&[account("erin"), first.clone(), second, account("fred")]).await.unwrap();
    assert_eq!(refused, [("dora".to_owned(), AccountError::Exists("dora".to_owned()))]);
    assert!(store.find("dora").await.unwrap().unwrap().is_same(&first));
    assert!(store.find("fred").await.unwrap().is_some());
}
