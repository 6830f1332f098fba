//! A client that has the identity key of a server, and follows its manifests.

use super::kept::{Kept, ManifestStore, MemoryManifests};
use super::{Manifest, ManifestError, SignedManifest};
use crate::crypto::{KeyExchange, KeyId, Provider, PublicKey};
use crate::time::UnixTime;
use core::fmt;
use std::sync::Arc;

/// Trusts the server keys that manifests of one identity name.
///
/// It keeps the manifest with the highest number and the server keys that it was told, in memory or where [`Identity::with_store`]
/// says: so the server proves itself from the second login on, and an old manifest that somebody plays back is noticed. Where the server
/// sends no manifest, the one that is kept counts, until it expires.
#[derive(Clone)]
pub struct Identity {
    pin: KeyId,
    provider: Provider,
    store: Arc<dyn ManifestStore>,
}

/// What a server has shown of itself.
pub(crate) struct Shown<'a> {
    pub(crate) key: &'a PublicKey,
    pub(crate) server_name: &'a str,
    pub(crate) exchange: KeyExchange,
    pub(crate) manifest: Option<&'a [u8]>,
}

impl Identity {
    /// Trusts the identity key with this fingerprint: that of a [`VerifyingKey`](crate::crypto::VerifyingKey).
    pub fn pinned(identity: KeyId, provider: Provider) -> Self {
        Self { pin: identity, provider, store: Arc::new(MemoryManifests::new()) }
    }

    /// Keeps what it learns in this store.
    #[must_use]
    pub fn with_store(mut self, store: impl ManifestStore + 'static) -> Self {
        self.store = Arc::new(store);
        self
    }

    /// The fingerprint of the identity key.
    pub fn pin(&self) -> KeyId {
        self.pin
    }

    /// The manifest that is kept, which may have expired meanwhile.
    ///
    /// # Errors
    /// [`ManifestError::Store`].
    pub fn manifest(&self) -> Result<Option<Manifest>, ManifestError> {
        Ok(self.kept()?.map(|kept| kept.manifest))
    }

    /// Whether the server's key is to be trusted, by the manifest that it has shown or the one that is kept (M1 to M6). Keeps what is
    /// new.
    ///
    /// # Errors
    /// [`ManifestError`]: it is not.
    pub(crate) fn decide(&self, shown: &Shown<'_>, now: UnixTime) -> Result<(), ManifestError> {
        let kept = self.kept()?;
        let (manifest, is_news) = match (shown.manifest, &kept) {
            (Some(bytes), kept) => {
                let manifest = SignedManifest::from_bytes(bytes)?.verify(self.pin, self.provider)?;
                if let Some(kept) = kept {
                    manifest.check_follows(&kept.manifest)?;
                }
                let is_news = kept.as_ref().is_none_or(|kept| kept.manifest != manifest);
                (manifest, is_news)
            }
            (None, Some(kept)) => (kept.manifest.clone(), false),
            (None, None) => return Err(ManifestError::Missing(self.pin)),
        };
        manifest.check_time(now)?;
        manifest.check_name(shown.server_name)?;
        let decided = manifest.check_key(shown.key.id(), now, shown.exchange);
        let told = decided.is_ok().then_some(shown.key);
        let is_told = |key: &PublicKey| kept.as_ref().is_some_and(|kept| kept.keys.first() == Some(key));
        // Also where this key is not good: it says so itself that those of before are no longer the ones.
        if is_news || told.is_some_and(|key| !is_told(key)) {
            self.keep(&manifest, told)?;
        }
        decided
    }

    /// The server keys that were told, and that the kept manifest names for this time: the one that was told last comes first.
    pub(crate) fn known_keys(&self, now: UnixTime) -> Vec<PublicKey> {
        let Some(Kept { manifest, keys }) = self.kept().ok().flatten().filter(|kept| kept.manifest.check_time(now).is_ok())
        else {
            return Vec::new();
        };
        keys.into_iter().filter(|key| manifest.valid_key(key.id(), now).is_ok()).collect()
    }

    /// Whether the kept manifest names this key for this time.
    pub(crate) fn still_trusts(&self, key: KeyId, now: UnixTime) -> bool {
        let is_named = |kept: &Kept| kept.manifest.check_time(now).and(kept.manifest.valid_key(key, now).map(drop)).is_ok();
        self.kept().ok().flatten().as_ref().is_some_and(is_named)
    }

    /// The weakest key exchange that the kept manifest lets any of its keys have.
    pub(crate) fn floor(&self) -> Option<KeyExchange> {
        let kept = self.kept().ok()??;
        let lowest = kept.manifest.body().keys.iter().map(|key| key.floor).min()?;
        KeyExchange::ALL.into_iter().filter(|exchange| exchange.number() >= lowest).min()
    }

    fn kept(&self) -> Result<Option<Kept>, ManifestError> {
        let text = self.store.load(self.pin).map_err(store_error)?;
        text.map(|text| self.parse(&text)).transpose()
    }

    fn parse(&self, text: &str) -> Result<Kept, ManifestError> {
        Kept::parse(text, self.pin, self.provider).map_err(|error| match error {
            ManifestError::Provider => error,
            _ => ManifestError::Store(error.to_string()),
        })
    }

    /// Keeps a manifest, and a key, unless somebody else has kept a newer one meanwhile.
    fn keep(&self, manifest: &Manifest, told: Option<&PublicKey>) -> Result<(), ManifestError> {
        let mut done = Ok(());
        let updated = self.store.update(self.pin, &mut |there| {
            let mut kept = match there.map(|text| self.parse(text)).transpose() {
                Ok(kept) => kept.unwrap_or_else(|| Kept::new(manifest.clone())),
                Err(error) => {
                    done = Err(error);
                    return None;
                }
            };
            done = kept.follow(manifest.clone());
            done.as_ref().ok()?;
            told.into_iter().for_each(|key| kept.learn(key.clone()));
            Some(kept.to_text())
        });
        updated.map_err(store_error)?;
        done
    }
}

fn store_error(error: std::io::Error) -> ManifestError {
    use core::error::Error;
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    ManifestError::Store(text)
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("pin", &self.pin).finish_non_exhaustive()
    }
}
