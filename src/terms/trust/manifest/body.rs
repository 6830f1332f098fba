//! What a manifest says, and its bytes.

use super::{ManifestError, SignedManifest};
use crate::crypto::{KeyExchange, KeyId, Provider, SigningKey, VerifyingKey, VerifyingParts, rng};
use crate::limits;
use crate::terms::trust::server::is_server_name;
use crate::time::UnixTime;
use crate::wire::codec::{self, Bytes, List, Text, layout};
use core::fmt;

/// What a manifest says: which keys the servers of some names have, from when until when.
///
/// ```
/// # #[cfg(feature = "rustcrypto")] {
/// use countersign::crypto::{SigningKey, rustcrypto};
/// use countersign::{KeyExchange, KeyId, ManifestBody, ManifestKey, UnixTime};
///
/// # let (current, next) = (KeyId::from_bytes([1; 32]), KeyId::from_bytes([2; 32]));
/// let (now, in_90_days) = (UnixTime::from_secs(1_800_000_000), UnixTime::from_secs(1_807_776_000));
/// let floor = KeyExchange::X25519.into();
/// let key = |id| ManifestKey { id, not_before: now, not_after: in_90_days, floor };
/// let keys = vec![key(current), key(next)];
/// let body = ManifestBody { sequence: 1, issued: now, expires: in_90_days, names: Vec::new(), keys };
///
/// let identity = SigningKey::generate(rustcrypto::provider())?;
/// let manifest = body.sign(&identity, rustcrypto::provider())?;
/// let read = manifest.verify(identity.public_key().id(), rustcrypto::provider())?;
/// assert_eq!(*read.body(), body);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestBody {
    /// The number of this manifest: at least 1, and higher than those of the ones before it of the same identity.
    pub sequence: u64,
    /// When it was made.
    pub issued: UnixTime,
    /// From when on it is not good any more.
    pub expires: UnixTime,
    /// The server names that it is for, each once; none for any, and for clients that name no server. Up to 16.
    pub names: Vec<String>,
    /// The server keys, each once; 1 to 8.
    pub keys: Vec<ManifestKey>,
}

/// A server key in a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestKey {
    /// Its id.
    pub id: KeyId,
    /// The first second in which it is good.
    pub not_before: UnixTime,
    /// The first second in which it is not good any more.
    pub not_after: UnixTime,
    /// The weakest key exchange to take under it.
    pub floor: ManifestFloor,
}

/// The weakest key exchange to take under a key of a manifest: a [`KeyExchange`], or one that only whoever made the manifest knows. That is taken for a
/// stronger one than any that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ManifestFloor(u8);

impl ManifestFloor {
    /// That of this number ([`KeyExchange::number`]).
    pub const fn from_number(number: u8) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The key exchange, if it is known here.
    pub fn exchange(self) -> Option<KeyExchange> {
        KeyExchange::ALL.into_iter().find(|exchange| exchange.number() == self.0)
    }

    /// Whether this key exchange is not under it.
    #[must_use = "this decides whether the key is taken"]
    pub fn admits(self, exchange: KeyExchange) -> bool {
        exchange.number() >= self.0
    }
}

impl From<KeyExchange> for ManifestFloor {
    fn from(exchange: KeyExchange) -> Self {
        Self(exchange.number())
    }
}

impl fmt::Display for ManifestFloor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exchange() {
            Some(exchange) => exchange.fmt(f),
            None => write!(f, "an unknown one ({:#04x})", self.0),
        }
    }
}

layout! {
    /// The bytes of a manifest, but for its signature.
    pub(super) struct BodyMessage<'a> {
        pub(super) identity: [u8; 32],
        pub(super) sequence: u64,
        pub(super) issued: UnixTime,
        pub(super) expires: UnixTime,
        pub(super) names: List<Text<'a>, { limits::MAX_MANIFEST_NAMES }> [..=limits::MAX_MANIFEST_NAMES * limits::MAX_SERVER_NAME],
        pub(super) keys: List<KeyMessage, { limits::MAX_MANIFEST_KEYS }>,
    }
}

layout! {
    #[derive(Clone, Copy, Default)]
    pub(super) struct KeyMessage {
        id: [u8; limits::KEY_ID],
        not_before: UnixTime,
        not_after: UnixTime,
        floor: u8,
    }
}

impl ManifestBody {
    /// Signs it with an identity key. That belongs into a safe, away from the server.
    ///
    /// # Errors
    /// [`ManifestError::Field`] for a field out of its bounds, [`ManifestError::NotEd25519`], and [`ManifestError::Provider`] where the
    /// provider fails or has no signatures.
    pub fn sign(&self, identity: &SigningKey, provider: Provider) -> Result<SignedManifest, ManifestError> {
        self.check()?;
        let mut bytes = Vec::new();
        let message = self.to_message(point(identity.public_key())?)?;
        codec::append(&message, &mut bytes).map_err(|_| ManifestError::Field("so much in it"))?;
        let signatures = provider.signatures.ok_or(ManifestError::Provider)?;
        let signer = signatures.load_signer(identity).map_err(|_| ManifestError::Provider)?;
        let mut rng = rng().map_err(|_| ManifestError::Provider)?;
        let signature = signer.sign(&to_sign(&bytes), &mut rng).map_err(|_| ManifestError::Provider)?;
        bytes.extend_from_slice(&signature);
        let signed = SignedManifest::from_bytes(&bytes)?;
        // A signer that signs something else is found out here, and not by every client.
        signed.verify(identity.public_key().id(), provider)?;
        Ok(signed)
    }

    /// M1: every field in its bounds, but for how many names and keys there are, which no message with more than that can be made or read.
    pub(super) fn check(&self) -> Result<(), ManifestError> {
        let Self { sequence, issued, expires, names, keys } = self;
        let has_duplicate_key = keys.iter().enumerate().any(|(at, key)| keys.iter().take(at).any(|of| of.id == key.id));
        let has_duplicate_name = names.iter().enumerate().any(|(at, name)| names.iter().take(at).any(|of| of == name));
        let wrong = match () {
            () if *sequence == 0 => "the number 0",
            () if issued >= expires => "an end that is not after its beginning",
            () if names.iter().any(|name| name.is_empty() || !is_server_name(name)) => {
                "a name that is empty, longer than 255 bytes, or not of printable ASCII without spaces"
            }
            () if has_duplicate_name => "a name twice",
            () if keys.is_empty() => "no key",
            () if has_duplicate_key => "a key twice",
            () if keys.iter().any(|key| key.not_before >= key.not_after) => {
                "a key whose end is not after its beginning"
            }
            () => return Ok(()),
        };
        Err(ManifestError::Field(wrong))
    }

    fn to_message(&self, identity: [u8; 32]) -> Result<BodyMessage<'_>, ManifestError> {
        let Self { sequence, issued, expires, names, keys } = self;
        let (mut name_list, mut key_list) = (List::new(), List::new());
        for name in names {
            name_list.push(Text(name)).ok_or(ManifestError::Field("more than 16 names"))?;
        }
        for ManifestKey { id, not_before, not_after, floor } in keys.iter().copied() {
            let key = KeyMessage { id: *id.as_bytes(), not_before, not_after, floor: floor.number() };
            key_list.push(key).ok_or(ManifestError::Field("more than 8 keys"))?;
        }
        let (sequence, issued, expires) = (*sequence, *issued, *expires);
        Ok(BodyMessage { identity, sequence, issued, expires, names: name_list, keys: key_list })
    }

    pub(super) fn of_message(message: &BodyMessage<'_>) -> Self {
        let BodyMessage { sequence, issued, expires, names, keys, .. } = message;
        let key = |key: &KeyMessage| {
            let KeyMessage { id, not_before, not_after, floor } = *key;
            ManifestKey { id: KeyId::from_bytes(id), not_before, not_after, floor: ManifestFloor::from_number(floor) }
        };
        Self {
            sequence: *sequence,
            issued: *issued,
            expires: *expires,
            names: names.iter().map(|name| name.0.to_owned()).collect(),
            keys: keys.iter().map(key).collect(),
        }
    }
}

/// `lp("countersign v1 manifest") || body`: nothing else that an identity key may sign begins like that.
pub(super) fn to_sign(body: &[u8]) -> Vec<u8> {
    const LABEL: &[u8] = b"countersign v1 manifest";
    let mut message = Vec::with_capacity(LABEL.len().saturating_add(body.len()).saturating_add(2));
    // A label this short always fits.
    let _ = codec::append(&Bytes(LABEL), &mut message);
    message.extend_from_slice(body);
    message
}

fn point(identity: &VerifyingKey) -> Result<[u8; 32], ManifestError> {
    match identity.parts() {
        VerifyingParts::Ed25519(point) => Ok(*point),
        _ => Err(ManifestError::NotEd25519),
    }
}
