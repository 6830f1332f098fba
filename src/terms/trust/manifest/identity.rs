//! A client that has the identity key of a server, and follows its manifests.

use super::kept::{Kept, ManifestStore, MemoryManifests};
use super::{Manifest, ManifestError, SignedManifest};
use crate::crypto::{KeyId, Provider, PublicKey, Suite};
use crate::terms::trust::{Answer, Question, Trust, TrustLevel, Untrusted, Wants};
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

    /// Whether the server's key is to be trusted, by the manifest that it has shown or, where it has shown none (M7), the one that is kept (M1 to
    /// M6). Keeps what is new.
    fn check(&self, question: &Question<'_>) -> Result<(), ManifestError> {
        let (kept, key, now) = (self.kept()?, question.key(), question.now());
        let (manifest, is_news) = match (question.manifest(), &kept) {
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
        manifest.check_name(question.server_name())?;
        let checked = manifest.check_key(key.id(), now, question.suite().key_exchange);
        let told = checked.is_ok().then_some(key);
        let is_told = |key: &PublicKey| kept.as_ref().is_some_and(|kept| kept.keys.first() == Some(key));
        // Also where this key is not good: the manifest says so, and of other keys, too, that they are none any more.
        if is_news || told.is_some_and(|key| !is_told(key)) {
            self.keep(&manifest, told)?;
        }
        checked
    }

    /// Whether the kept manifest names this key for this server, time and key exchange. It may be a newer one than was there at the login before, and
    /// another server's.
    fn check_again(&self, key: KeyId, suite: Suite, server_name: &str, now: UnixTime) -> Result<(), ManifestError> {
        let kept = self.kept()?.ok_or(ManifestError::Missing(self.pin))?;
        kept.manifest.check_time(now)?;
        kept.manifest.check_name(server_name)?;
        kept.manifest.check_key(key, now, suite.key_exchange)
    }

    /// The server keys that were told, and that the kept manifest names for this server and time: the one that was told last comes first.
    fn known_keys_at(&self, server_name: &str, now: UnixTime) -> Vec<PublicKey> {
        let is_good = |of: &Manifest| of.check_time(now).is_ok() && of.check_name(server_name).is_ok();
        let kept = self.kept().ok().flatten().filter(|kept| is_good(&kept.manifest));
        let Some(Kept { manifest, keys }) = kept else { return Vec::new() };
        keys.into_iter().filter(|key| manifest.valid_key(key.id(), now).is_ok()).collect()
    }

    fn kept(&self) -> Result<Option<Kept>, ManifestError> {
        let text = self.store.load(self.pin).map_err(store_error)?;
        text.map(|text| self.parse(&text)).transpose()
    }

    fn parse(&self, text: &str) -> Result<Kept, ManifestError> {
        Kept::parse(text, self.pin, self.provider).map_err(|error| match error {
            ManifestError::Provider => error,
            _ => ManifestError::Store(format!("{}: {error}", self.store.place(self.pin))),
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

/// A key of a good manifest is as good as one that is pinned. An old manifest, or a second one with the same number, speaks of an attack:
/// then nothing else counts (M8).
impl Trust for Identity {
    fn decide(&self, question: &Question<'_>) -> Answer {
        answer(self.check(question))
    }

    fn known_keys(&self, server_name: &str) -> Vec<PublicKey> {
        self.known_keys_at(server_name, UnixTime::from_system(std::time::SystemTime::now()))
    }

    fn wants(&self) -> Wants {
        Wants::MANIFEST
    }

    fn recall(&self, key: KeyId, suite: Suite, server_name: &str, now: UnixTime) -> Answer {
        answer(self.check_again(key, suite, server_name, now))
    }

    fn scope(&self) -> String {
        format!("identity {}", self.pin)
    }
}

fn answer(checked: Result<(), ManifestError>) -> Answer {
    match checked {
        Ok(()) => Answer::Trusted(TrustLevel::Verified),
        Err(error) if error.is_alarm() => Answer::Refused(Untrusted::new(error.code(), error)),
        Err(error) => Answer::Unknown(Untrusted::new(error.code(), error)),
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
