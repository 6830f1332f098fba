//! Keys that are known beforehand, whole or by their fingerprints.

use super::{Answer, Question, Trust, TrustLevel, Untrusted};
use crate::crypto::{KeyId, PublicKey, Suite};
use crate::time::UnixTime;

/// Fingerprints, and keys.
pub(crate) struct Pins {
    pins: Vec<KeyId>,
    keys: Vec<PublicKey>,
}

impl Pins {
    pub(crate) fn pin(id: KeyId) -> Self {
        Self { pins: vec![id], keys: Vec::new() }
    }

    pub(crate) fn key(key: PublicKey) -> Self {
        Self { pins: vec![key.id()], keys: vec![key] }
    }

    fn answer(&self, key: KeyId) -> Answer {
        if self.pins.contains(&key) {
            Answer::Trusted(TrustLevel::Verified)
        } else {
            Answer::Unknown(Untrusted::new("untrusted-key", NotPinned))
        }
    }
}

/// It may be another server, or the right one with a new key.
#[derive(Debug, thiserror::Error)]
#[error("it is not the one that is pinned (if this is the right server, pin this fingerprint)")]
pub(crate) struct NotPinned;

impl Trust for Pins {
    fn decide(&self, question: &Question<'_>) -> Answer {
        self.answer(question.key().id())
    }

    fn known_keys(&self, _: &str) -> Vec<PublicKey> {
        self.keys.clone()
    }

    fn recall(&self, key: KeyId, _: Suite, _: &str, _: UnixTime) -> Answer {
        self.answer(key)
    }

    fn scope(&self) -> String {
        self.pins.first().map(ToString::to_string).unwrap_or_default()
    }
}
