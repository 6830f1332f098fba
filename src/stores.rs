//! The embedded store: accounts, keys and known hosts in files.

#[cfg(feature = "accounts")]
pub mod accounts;
#[cfg(feature = "files")]
mod date;
#[cfg(feature = "files")]
pub mod files;
#[cfg(feature = "files")]
mod key_files;
#[cfg(feature = "files")]
pub mod known_hosts;
