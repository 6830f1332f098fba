//! An account in a database, a login to it, and the tables of the first version.

use argon2::{Algorithm, Argon2, Params, Version};
use countersign::accounts::{Account, AccountStore, AccountVerifier};
use countersign::{AsyncVerifier, Attempt, Context, Credential, Grant, Reason};
use std::sync::Arc;

pub(crate) const PASSWORD: &[u8] = b"correct horse";

pub(crate) fn account(name: &str) -> Account {
    let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
    let mut account = Account::new(name, ["read"]).unwrap();
    account.set_password_with(PASSWORD, &cheap).unwrap();
    account
}

pub(crate) async fn log_in<S: AccountStore>(store: &Arc<S>, user: &str) -> Result<Grant, Reason> {
    let (verifier, context) = (AccountVerifier::new(Arc::clone(store)), Context::uncounted());
    verifier.verify(&Attempt::new(Credential::Password { user, password: PASSWORD }, &context)).await
}

/// What makes version 1 of the latest, but for what is in it.
pub(crate) const BACK_TO_1: [&str; 9] = [
    "DROP TABLE account_roles",
    "DROP TABLE roles",
    "DROP TABLE imitated_costs",
    "ALTER TABLE accounts DROP COLUMN stretched",
    "ALTER TABLE accounts DROP COLUMN allowed_from",
    "ALTER TABLE accounts ADD COLUMN password_cost TEXT",
    "CREATE INDEX accounts_by_password_cost ON accounts (password_cost)",
    "DROP TABLE ticket_keys",
    "UPDATE countersign SET version = 1",
];
