//! The transcript: one running SHA-256 over everything both sides must agree on (PROTOCOL.md, "Transcript").

use sha2::{Digest, Sha256};

/// SHA-256 of the transcript at some point of the handshake.
pub(crate) type TranscriptHash = [u8; 32];

/// What the first bytes of every transcript say.
const LABEL: &[u8] = b"countersign v1";

/// `SHA-256(lp(label) || lp(prologue) || lp(binding type) || lp(binding bytes) || frame || frame || ...)`, where
/// `lp(x)` is the length of `x` as a `u16` and then `x`.
#[derive(Clone)]
pub(crate) struct Transcript(Sha256);

impl Transcript {
    pub(crate) fn new(prologue: &[u8], binding_kind: &str, binding: &[u8]) -> Self {
        let mut transcript = Self(Sha256::new());
        for part in [LABEL, prologue, binding_kind.as_bytes(), binding] {
            transcript.add(&part_len(part));
            transcript.add(part);
        }
        transcript
    }

    /// Adds bytes as they crossed the wire: a frame, or the front part of one.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        #[cfg(test)]
        let bytes = &*crate::mutant::hashed(bytes);
        self.0.update(bytes);
    }

    /// The hash of everything so far.
    pub(crate) fn hash(&self) -> TranscriptHash {
        self.0.clone().finalize().into()
    }
}

/// `SHA-256(lp(part) || lp(part) || ...)`.
pub(crate) fn hash_of(parts: &[&[u8]]) -> [u8; 32] {
    joined(parts).finalize().into()
}

fn joined(parts: &[&[u8]]) -> Sha256 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part_len(part));
        hash.update(part);
    }
    hash
}

/// Each part is at most 65535 bytes long: checked where the prologue and the binding are made.
fn part_len(part: &[u8]) -> [u8; 2] {
    u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes()
}
