//! Why a manifest, or a key because of one, is not taken.

use super::ManifestFloor;
use crate::crypto::{KeyExchange, KeyId};
use crate::terms::error::codes;
use crate::time::UnixTime;
use crate::wire::codec::DecodeError;

/// Why a manifest, or a server key because of one, is not taken: by the rules M1 to M6 of PROTOCOL.md, "Manifest".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// M1: these bytes are not exactly one manifest.
    #[error("this is no manifest, or it was altered")]
    Malformed(#[from] DecodeError),
    /// M1: the text has no PEM block of a manifest, or more than one.
    #[error("{0} PEM blocks COUNTERSIGN MANIFEST in this text, where there has to be one")]
    Blocks(usize),
    /// M1: the PEM block is broken.
    #[error("the PEM block that begins in line {0} is broken; get the file again from where it was signed")]
    Pem(usize),
    /// M1: a field of the manifest is out of its bounds.
    #[error("a manifest can't have {0}")]
    Field(&'static str),
    /// M2: the manifest is of another identity.
    #[error(
        "this manifest was signed by the identity {found}, and {expected} is trusted: it is another server's, or an attack"
    )]
    OtherIdentity {
        /// The one that is trusted.
        expected: KeyId,
        /// The manifest's own.
        found: KeyId,
    },
    /// M2: the signature is not the identity key's.
    #[error("the manifest's signature is wrong: it was altered after it was signed, or somebody made it up")]
    Signature,
    /// M3: a manifest with a higher number was taken before.
    #[error(
        "an older manifest, number {found}, where {kept} was seen before: somebody plays an old one back, or a server \
         was not updated"
    )]
    Rollback {
        /// The highest number that was taken.
        kept: u64,
        /// This manifest's.
        found: u64,
    },
    /// M3: another manifest with the same number was taken before.
    #[error(
        "two manifests have the number {0}: the identity key signed both, so ask the server's operator whether it is in other hands"
    )]
    Fork(u64),
    /// M4: the manifest has expired.
    #[error(
        "the manifest expired on {0}; the server's operator has to sign a new one (is this machine's clock right?)"
    )]
    Expired(UnixTime),
    /// M4: the manifest is from the future.
    #[error("the manifest was issued on {0}, which has not come yet: is this machine's clock right?")]
    NotYet(UnixTime),
    /// M5: the manifest is for servers of other names.
    #[error("the manifest is for {for_names}, and not for {}", named(.wanted))]
    OtherName {
        /// The name that the client wants; empty if it named none.
        wanted: String,
        /// Those of the manifest, as a list.
        for_names: String,
    },
    /// M6: the server's key is not among those of the manifest.
    #[error("the server's key {key} is not in the manifest, number {sequence}, of its identity")]
    UnknownKey {
        /// The key.
        key: KeyId,
        /// The manifest's number.
        sequence: u64,
    },
    /// M6: the manifest names the key for later.
    #[error("by its manifest the server's key {key} is good from {from} on: is this machine's clock right?")]
    KeyNotYet {
        /// The key.
        key: KeyId,
        /// Its first second.
        from: UnixTime,
    },
    /// M6: the manifest names the key for an earlier time.
    #[error("by its manifest the server's key {key} was good until {until}: the server has to use a newer one")]
    KeyOver {
        /// The key.
        key: KeyId,
        /// The first second in which it is not good any more.
        until: UnixTime,
    },
    /// M6: the suite's key exchange is under the floor that the manifest has for this key.
    #[error("the server picked {found}, and by its manifest the weakest key exchange to take is {floor}")]
    UnderFloor {
        /// What the server picked.
        found: KeyExchange,
        /// The weakest key exchange to take.
        floor: ManifestFloor,
    },
    /// The server sent no manifest, and none of its identity is kept.
    #[error("the server sent no manifest of the identity {0}; its operator has to give it one")]
    Missing(KeyId),
    /// What the client keeps of earlier manifests can't be read or written. Without it an old manifest would not be noticed.
    #[error("what is kept of earlier manifests can't be used: {0}")]
    Store(String),
    /// The crypto provider has no signatures, or fails at them.
    #[error("the crypto provider does not sign or verify Ed25519")]
    Provider,
    /// The key that was to sign is not of Ed25519.
    #[error("an identity key is of Ed25519, and this one is not")]
    NotEd25519,
}

codes!(ManifestError {
    Self::Malformed(_) => "manifest-malformed",
    Self::Blocks(_) => "manifest-missing-block",
    Self::Pem(_) => "manifest-broken-block",
    Self::Field(_) => "manifest-field",
    Self::OtherIdentity { .. } => "manifest-other-identity",
    Self::Signature => "manifest-signature",
    Self::Rollback { .. } => "manifest-rollback",
    Self::Fork(_) => "manifest-fork",
    Self::Expired(_) => "manifest-expired",
    Self::NotYet(_) => "manifest-not-yet",
    Self::OtherName { .. } => "manifest-other-name",
    Self::UnknownKey { .. } => "manifest-unknown-key",
    Self::KeyNotYet { .. } => "manifest-key-not-yet",
    Self::KeyOver { .. } => "manifest-key-over",
    Self::UnderFloor { .. } => "manifest-under-floor",
    Self::Missing(_) => "manifest-missing",
    Self::Store(_) => "manifest-store",
    Self::Provider => "manifest-provider",
    Self::NotEd25519 => "identity-not-ed25519",
});

impl ManifestError {
    /// Whether it speaks of an attack, or of a mistake that looks like one, rather than of something that is missing or over: then
    /// nothing else that speaks for the key should count.
    pub const fn is_alarm(&self) -> bool {
        matches!(self, Self::Rollback { .. } | Self::Fork(_))
    }
}

fn named(name: &str) -> String {
    if name.is_empty() { "a server without a name".to_owned() } else { format!("the server name {name}") }
}
