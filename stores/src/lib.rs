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
//! | feature | what it adds |
//! |---|---|
//! | `sql` (default) | accounts in SQLite and PostgreSQL ([`SqlStore`]), and keys for tickets that servers share there ([`SharedTicketKeys`]) |
//! | `redis` | failed logins, and which tickets were used, for several servers: `RedisStore` |
//! | `ldap` | passwords that a directory checks: `LdapVerifier` |
//! | `conformance` | tests for any store of accounts |
//!
//! It is on no registry: take it from the repository, by `git` or `path`, and `countersign` from the same place, as one of a registry's would be
//! another crate to it.
//!
//! It speaks to both databases by `sqlx`, without its macros, and without the MySQL driver and the RSA crate that this brings. The
//! tables are described in docs/accounts.md.
//!
//! Whatever is not an answer in time is [`StoreError::Away`](countersign::accounts::StoreError::Away): logins are told "not now". The
//! next ones are told so at once, so that a database, a directory or a Redis that hangs holds up nobody else; every half second (of Redis: as
//! long as a login waits for it) one of them asks again, and all are answered when it is back.
#![forbid(unsafe_code)]

#[cfg(feature = "sql")]
mod address;
#[cfg(feature = "sql")]
mod bulk;
#[cfg(any(feature = "ldap", feature = "redis", feature = "sql"))]
mod circuit;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "sql")]
mod costs;
#[cfg(feature = "sql")]
mod database;
#[cfg(feature = "ldap")]
mod ldap;
#[cfg(feature = "sql")]
mod place;
#[cfg(feature = "sql")]
mod record;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sql")]
mod roles;
#[cfg(feature = "sql")]
mod schema;
#[cfg(any(feature = "redis", feature = "sql"))]
mod secret;
#[cfg(feature = "sql")]
mod store;
#[cfg(feature = "sql")]
mod tickets;
#[cfg(any(feature = "ldap", feature = "sql"))]
mod watcher;

#[cfg(feature = "ldap")]
pub use self::ldap::{LdapConfig, LdapError, LdapVerifier};
#[cfg(feature = "redis")]
pub use self::redis::{RedisConfig, RedisCounts, RedisError, RedisEvent, RedisStore};
#[cfg(feature = "sql")]
pub use place::{OpenError, Place};
#[cfg(feature = "sql")]
pub use schema::Schema;
#[cfg(any(feature = "redis", feature = "sql"))]
pub use secret::FleetSecret;
#[cfg(feature = "sql")]
pub use store::{PasswordCounts, SqlStore};
#[cfg(feature = "sql")]
pub use tickets::{SharedTicketKeys, TicketSharingError};
#[cfg(any(feature = "ldap", feature = "sql"))]
pub use watcher::Availability;
