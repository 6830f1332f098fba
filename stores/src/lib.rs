//! Accounts of [countersign](../countersign/index.html) in a database: SQLite for one machine, with any number of processes; PostgreSQL for
//! several.
//!
//! ```
//! use countersign::Credential;
//! use countersign::accounts::{Account, AccountStore, AccountVerifier};
//! use countersign_stores::{Place, SqlStore};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("accounts.db");
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! let place = Place::sqlite(path); // or Place::parse("postgres://countersign@db.example/accounts")
//! place.migrate().await?; // makes the file, and the tables
//! let store = SqlStore::open(&place).await?;
//! let mut alice = Account::new("alice", ["read"])?;
//! alice.set_password(b"correct horse")?;
//! store.add(&alice).await?;
//! let verifier = AccountVerifier::new(store); // for Acceptor::new_async
//! # drop(verifier); Ok(()) }) }
//! ```
//!
//! It speaks to both by `sqlx`, without its macros, and without the MySQL driver and the RSA crate that this brings. The
//! tables are described in docs/accounts.md.
//!
//! Whatever is not an answer in time is [`StoreError::Away`](countersign::accounts::StoreError::Away): logins are told "not now", and the
//! next ones are answered as soon as the database is back.
#![forbid(unsafe_code)]

mod bulk;
#[cfg(feature = "conformance")]
pub mod conformance;
mod costs;
mod database;
mod place;
mod record;
mod roles;
mod schema;
mod store;

pub use place::{OpenError, Place};
pub use schema::Schema;
pub use store::{Availability, SqlStore};
