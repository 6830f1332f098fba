//! What a client keeps from one login to the next: the manifest with the highest number, and the server keys that it was told.

use super::{Manifest, ManifestError, SignedManifest};
use crate::crypto::{KeyFile, KeyId, Provider, PublicKey};
use crate::limits;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Where a client keeps what it has learnt of an identity. Nothing of it is secret; who can change it can make an old manifest look new.
///
/// What is kept is a text, of PEM blocks, up to 24 KiB. That it is not older than what was there before is the library's affair, if
/// `update` lets nobody else in between.
pub trait ManifestStore: Send + Sync {
    /// Where it is kept, for whoever has to look there: the name of a file, say.
    fn place(&self, identity: KeyId) -> String;

    /// What is kept of this identity; none if there is nothing.
    ///
    /// # Errors
    /// Whatever stands in the way: the server is not trusted then, as an old manifest could not be told from a new one.
    fn load(&self, identity: KeyId) -> io::Result<Option<String>>;

    /// Gives `change` what is there, and keeps what it gives, if it gives anything. Where others use the store, too, nobody else
    /// changes it meanwhile, or `change` is called again.
    ///
    /// # Errors
    /// As [`ManifestStore::load`].
    fn update(&self, identity: KeyId, change: &mut dyn FnMut(Option<&str>) -> Option<String>) -> io::Result<()>;
}

impl<S: ManifestStore + ?Sized> ManifestStore for Arc<S> {
    fn place(&self, identity: KeyId) -> String {
        (**self).place(identity)
    }

    fn load(&self, identity: KeyId) -> io::Result<Option<String>> {
        (**self).load(identity)
    }

    fn update(&self, identity: KeyId, change: &mut dyn FnMut(Option<&str>) -> Option<String>) -> io::Result<()> {
        (**self).update(identity, change)
    }
}

/// What was learnt in this process, for as long as it runs.
#[derive(Debug, Default)]
pub struct MemoryManifests(Mutex<HashMap<KeyId, String>>);

impl MemoryManifests {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl ManifestStore for MemoryManifests {
    fn place(&self, _: KeyId) -> String {
        "in memory".to_owned()
    }

    fn load(&self, identity: KeyId) -> io::Result<Option<String>> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&identity).cloned())
    }

    fn update(&self, identity: KeyId, change: &mut dyn FnMut(Option<&str>) -> Option<String>) -> io::Result<()> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(new) = change(kept.get(&identity).map(String::as_str)) {
            kept.insert(identity, new);
        }
        Ok(())
    }
}

/// What is kept of one identity.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) manifest: Manifest,
    /// Those that the manifest names, as far as they were told, the last one first.
    pub(super) keys: Vec<PublicKey>,
}

impl Kept {
    pub(super) fn new(manifest: Manifest) -> Self {
        Self { manifest, keys: Vec::new() }
    }

    pub(super) fn parse(text: &str, identity: KeyId, provider: Provider) -> Result<Self, ManifestError> {
        let manifest = SignedManifest::from_pem(text)?.verify(identity, provider)?;
        let mut kept = Self::new(manifest);
        // Whatever else stands there by now is no matter: each key is one that the manifest names.
        let keys = KeyFile::parse(text.as_bytes()).and_then(|file| file.public_keys()).unwrap_or_default();
        for source in keys.into_iter().rev() {
            kept.learn(source.key);
        }
        Ok(kept)
    }

    pub(super) fn to_text(&self) -> String {
        let keys = self.keys.iter().map(PublicKey::to_pem);
        core::iter::once(self.manifest.signed().to_pem()).chain(keys).collect()
    }

    /// Keeps a key in front of the others, if the manifest names it.
    pub(super) fn learn(&mut self, key: PublicKey) {
        if self.names(key.id()) {
            self.keys.retain(|known| known.id() != key.id());
            self.keys.insert(0, key);
            self.keys.truncate(limits::MAX_MANIFEST_KEYS);
        }
    }

    /// This, under a manifest that is as new or newer.
    pub(super) fn follow(&mut self, manifest: Manifest) -> Result<(), ManifestError> {
        manifest.check_follows(&self.manifest)?;
        self.manifest = manifest;
        let named = |key: &PublicKey| self.manifest.body().keys.iter().any(|of| of.id == key.id());
        self.keys.retain(named);
        Ok(())
    }

    fn names(&self, id: KeyId) -> bool {
        self.manifest.body().keys.iter().any(|key| key.id == id)
    }
}
