//! An account in a database, a login to it, and the tables of the first version.

use countersign::accounts::{Account, AccountError, AccountStore, AccountVerifier, HashParameters, Role};
use countersign::{AsyncVerifier, Attempt, Context, Credential, Grant, Reason};
use countersign_stores::SqlStore;
use std::sync::Arc;

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
}
