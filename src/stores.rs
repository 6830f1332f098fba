//! The embedded store: accounts, keys, known hosts and manifests in files, and keys at an agent.

#[cfg(feature = "accounts")]
pub mod accounts;
#[cfg(all(feature = "files", feature = "x509"))]
mod certificate_files;
#[cfg(feature = "files")]
mod date;
#[cfg(feature = "files")]
pub mod files;
#[cfg(feature = "files")]
mod key_files;
#[cfg(feature = "files")]
pub mod known_hosts;
#[cfg(feature = "files")]
pub(crate) mod manifest_files;
#[cfg(all(feature = "ssh-agent", unix))]
pub mod ssh_agent;
