//! The keys of a server: read when it starts, and again when it is told that they have changed.

use super::log::Entry;
use crate::failure::Failure;
use crate::keys;
#[cfg(feature = "redis")]
use crate::keys::folder::Role;
use crate::keys::folder::{Folder, Situation, load_again, with_certificates, with_manifest};
use crate::secrets::Passphrase;
use clap::Args;
use countersign::{Clock, KeySet, ServerKey, ServerKeys, UnixTime};
#[cfg(feature = "redis")]
use countersign::{PrivateKey, files};
use std::path::{Path, PathBuf};

/// Where the keys come from, and the names they are for.
#[derive(Args, Clone)]
pub(super) struct Source {
    /// The server's private key: PKCS#8, PKCS#1 or OpenSSH's, in PEM or DER
    #[arg(long, value_name = "FILE", required_unless_present = "keys", conflicts_with = "keys")]
    key: Option<PathBuf>,
    /// A folder of keys, as `keygen --keys` makes it: a current one, a next one, and those that `key rotate` has retired
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// Send this manifest to clients that ask for one (see `manifest sign`); with --keys, that is manifest.pem in the folder
    #[arg(long, value_name = "FILE", conflicts_with = "keys")]
    manifest: Option<PathBuf>,
    /// Send the certificates in this file to clients that ask for them, the key's own first; with --keys those of each key stand
    /// beside it, as NAME.crt
    #[cfg(feature = "x509")]
    #[arg(long, value_name = "FILE", conflicts_with = "keys")]
    certificates: Option<PathBuf>,
    #[command(flatten)]
    passphrase: Passphrase,
    /// A name that this server goes by, for clients that ask for one; can be repeated
    #[arg(long = "server-name", value_name = "NAME")]
    names: Vec<String>,
    /// Answer clients that ask for any other name, too
    #[arg(long)]
    any_server_name: bool,
}

impl Source {
    /// The first of the names.
    pub(super) fn first_name(&self) -> Option<&str> {
        self.names.first().map(String::as_str)
    }

    /// Reads the keys; gives with them what their operator should know.
    pub(super) fn load(&self, before: Option<&KeySet>) -> Result<(ServerKeys, Vec<String>), Failure> {
        // A retired key is not taken out because of a clock that has jumped.
        let now = Clock::system().look().earliest();
        let (set, warnings) = self.set(before, now)?;
        let keys = self.names.iter().try_fold(ServerKeys::from(set.clone()), |keys, name| {
            let why = |error| Failure::usage(format_args!("--server-name {name:?}: {error}"));
            keys.with_name(name, set.clone()).map_err(why)
        })?;
        Ok((if self.any_server_name { keys.with_any_name() } else { keys }, warnings))
    }

    /// The private keys that what servers share is kept under, and what each is for: the current one first, then those that other servers may have for theirs,
    /// still or already.
    #[cfg(feature = "redis")]
    pub(super) fn private_keys(&self) -> Result<Vec<(PrivateKey, Role)>, Failure> {
        let now = Clock::system().look().earliest();
        let keys: Vec<(PathBuf, Role)> = match &self.keys {
            Some(folder) => {
                let folder = Folder::open(folder)?;
                let is_over = |role: &Role| matches!(role, Role::Retired(until) if now >= *until);
                folder
                    .files()
                    .filter(|(_, role)| !is_over(role))
                    .map(|(name, role)| (folder.file(name), role))
                    .collect()
            }
            None => self.key.iter().cloned().map(|path| (path, Role::Current)).collect(),
        };
        keys.into_iter().map(|(path, role)| Ok((self.private_key(&path)?, role))).collect()
    }

    #[cfg(feature = "redis")]
    fn private_key(&self, path: &Path) -> Result<PrivateKey, Failure> {
        // It was asked for once, to load the key, and is not kept.
        if files::read_key_file(path)?.needs_passphrase() && !self.passphrase.is_in_file() {
            let failure = Failure::usage(format_args!(
                "{}: this key is encrypted, and what servers share is kept under a secret that follows from it",
                path.display()
            ));
            return Err(
                failure.and("give its passphrase with --passphrase-file, or a secret of its own with --shared-secret")
            );
        }
        keys::at_rest(path, &self.passphrase)
    }

    fn set(&self, before: Option<&KeySet>, now: UnixTime) -> Result<(KeySet, Vec<String>), Failure> {
        let names = (!self.any_server_name).then_some(self.names.as_slice());
        let situation = Situation { before, names, now };
        if let Some(folder) = &self.keys {
            let loaded = Folder::open(folder)?.load(&self.passphrase, situation)?;
            return Ok((loaded.keys, loaded.warnings));
        }
        let path = self.key.as_deref().ok_or_else(|| Failure::usage("which key? Give --key FILE or --keys FOLDER"))?;
        let mut warnings = Vec::new();
        let mut key = match before {
            Some(before) => load_again(path, &self.passphrase, before)?,
            None => keys::load(path, &self.passphrase)?,
        };
        if let Some(certificates) = self.certificates() {
            let (with, warning) = with_certificates(key, certificates, now)?;
            key = with;
            warnings.extend(warning);
        }
        let mut set = KeySet::new(key);
        if let Some(manifest) = &self.manifest {
            let (with, of_manifest) = with_manifest(set, manifest, situation)?;
            set = with;
            warnings.extend(of_manifest);
        }
        Ok((set, warnings))
    }

    #[cfg(feature = "x509")]
    fn certificates(&self) -> Option<&Path> {
        self.certificates.as_deref()
    }

    #[cfg(not(feature = "x509"))]
    fn certificates(&self) -> Option<&Path> {
        None
    }
}

/// Which keys there are.
pub(super) fn described(entry: Entry, set: &KeySet) -> Entry {
    let id = |key: &ServerKey| key.public_key().id().to_string();
    let mut entry = entry.field("current", id(set.current()));
    if !set.next().is_empty() {
        entry = entry.field("next", set.next().iter().map(id).collect::<Vec<_>>().join(","));
    }
    if !set.retired().is_empty() {
        entry = entry.field("retired", set.retired().iter().map(|(key, _)| id(key)).collect::<Vec<_>>().join(","));
    }
    match set.manifest() {
        Some(manifest) => {
            let body = manifest.unverified_body();
            entry.count("manifest", body.sequence).field("manifest_expires", body.expires)
        }
        None => entry,
    }
}
