//! A manifest as it is kept and sent, and one that was verified.

use super::body::{BodyMessage, to_sign};
use super::{ManifestBody, ManifestError, ManifestKey};
use crate::crypto::{CryptoError, KeyExchange, KeyId, PemBlocks, Provider, VerifyingKey, encode_pem};
use crate::limits;
use crate::time::UnixTime;
use crate::wire::codec::{self, DecodeError};
use core::fmt;
use std::sync::Arc;

/// Length of the signature at the end.
const SIGNATURE: usize = 64;

/// The longest manifest, in bytes.
const MAX: usize = {
    let names = 1 + limits::MAX_MANIFEST_NAMES * (2 + limits::MAX_SERVER_NAME);
    let keys = 1 + limits::MAX_MANIFEST_KEYS * (limits::KEY_ID + 8 + 8 + 1);
    32 + 3 * 8 + names + keys + SIGNATURE
};
const _: () = assert!(MAX == limits::MANIFEST);

const LABEL: &str = "COUNTERSIGN MANIFEST";

/// A manifest as it is kept and sent: well-formed (M1), and not verified. A server has no use for more. Cheap to clone.
#[derive(Clone)]
pub struct SignedManifest {
    bytes: Arc<[u8]>,
    identity: [u8; 32],
    body: Arc<ManifestBody>,
}

impl SignedManifest {
    /// Reads exactly one manifest, up to [`limits::MANIFEST`] bytes.
    ///
    /// # Errors
    /// [`ManifestError::Malformed`] and [`ManifestError::Field`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        let (body, _) = split(bytes)?;
        let message: BodyMessage<'_> = codec::read(body)?;
        let (identity, body) = (message.identity, ManifestBody::of_message(&message));
        body.check()?;
        Ok(Self { bytes: bytes.into(), identity, body: Arc::new(body) })
    }

    /// Reads the one PEM block `COUNTERSIGN MANIFEST` of a text, whatever stands around it.
    ///
    /// # Errors
    /// As [`SignedManifest::from_bytes`]; [`ManifestError::Blocks`] and [`ManifestError::Pem`].
    pub fn from_pem(text: &str) -> Result<Self, ManifestError> {
        let mut found = Vec::new();
        for block in PemBlocks::of(text.as_bytes()) {
            match block {
                Ok(block) if block.label == LABEL => found.push(block),
                Err(broken) if broken.label == LABEL => return Err(ManifestError::Pem(broken.line)),
                Ok(_) | Err(_) => {}
            }
        }
        match found.as_slice() {
            [block] => Self::from_bytes(&block.decode().map_err(|_| ManifestError::Pem(block.line))?),
            blocks => Err(ManifestError::Blocks(blocks.len())),
        }
    }

    /// A PEM block `COUNTERSIGN MANIFEST`, with a final line feed.
    pub fn to_pem(&self) -> String {
        encode_pem(LABEL, &self.bytes).to_string()
    }

    /// The bytes, up to [`limits::MANIFEST`] of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, to be shared.
    pub(crate) fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// The fingerprint of the identity key that it says it is signed by.
    ///
    /// # Errors
    /// [`ManifestError::Signature`] where that is no key.
    pub fn identity(&self) -> Result<KeyId, ManifestError> {
        Ok(self.identity_key()?.id())
    }

    fn identity_key(&self) -> Result<VerifyingKey, ManifestError> {
        VerifyingKey::from_ed25519(&self.identity).map_err(|_| ManifestError::Signature)
    }

    /// What it says, which nobody has looked at yet whether it is true: for whoever made it, or wants to see it.
    pub fn unverified_body(&self) -> &ManifestBody {
        &self.body
    }

    /// What it says, if this identity has signed it (M2).
    ///
    /// # Errors
    /// [`ManifestError::OtherIdentity`] and [`ManifestError::Signature`]; [`ManifestError::Provider`] where the provider has no
    /// signatures.
    pub fn verify(&self, identity: KeyId, provider: Provider) -> Result<Manifest, ManifestError> {
        let key = self.identity_key()?;
        if key.id() != identity {
            return Err(ManifestError::OtherIdentity { expected: identity, found: key.id() });
        }
        let (body, signature) = split(&self.bytes)?;
        let signatures = provider.signatures.ok_or(ManifestError::Provider)?;
        signatures.verify(&key, &to_sign(body), signature).map_err(|error| match error {
            CryptoError::NotAuthentic => ManifestError::Signature,
            _ => ManifestError::Provider,
        })?;
        Ok(Manifest(self.clone()))
    }
}

fn split(bytes: &[u8]) -> Result<(&[u8], &[u8; SIGNATURE]), ManifestError> {
    Ok(bytes.split_last_chunk().ok_or(DecodeError::Truncated)?)
}

impl fmt::Debug for SignedManifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedManifest").field("body", &self.body).finish_non_exhaustive()
    }
}

/// By its bytes.
impl PartialEq for SignedManifest {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for SignedManifest {}

/// A manifest that its identity has signed. There is no other way to one than [`SignedManifest::verify`].
///
/// Whether it is good at some time, for some name and some key is asked by [`Manifest::check_time`], [`Manifest::check_name`] and
/// [`Manifest::check_key`]; whether it takes the place of another, by [`Manifest::check_follows`]. [`Identity`](super::Identity) asks
/// all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest(SignedManifest);

impl Manifest {
    /// What it says.
    pub fn body(&self) -> &ManifestBody {
        &self.0.body
    }

    /// As it is kept and sent.
    pub fn signed(&self) -> &SignedManifest {
        &self.0
    }

    /// M3: that it can take the place of this one, which was taken before: it has a higher number, or is the same.
    ///
    /// # Errors
    /// [`ManifestError::Rollback`] and [`ManifestError::Fork`].
    pub fn check_follows(&self, kept: &Self) -> Result<(), ManifestError> {
        let (ours, theirs) = (self.body().sequence, kept.body().sequence);
        match ours.cmp(&theirs) {
            core::cmp::Ordering::Less => Err(ManifestError::Rollback { kept: theirs, found: ours }),
            core::cmp::Ordering::Equal if self.0 != kept.0 => Err(ManifestError::Fork(ours)),
            core::cmp::Ordering::Equal | core::cmp::Ordering::Greater => Ok(()),
        }
    }

    /// M4: that it is good at this time. It may be issued up to [`limits::CLOCK_SKEW`] in the future.
    ///
    /// # Errors
    /// [`ManifestError::Expired`] and [`ManifestError::NotYet`].
    pub fn check_time(&self, now: UnixTime) -> Result<(), ManifestError> {
        let ManifestBody { issued, expires, .. } = self.body();
        match () {
            () if now >= *expires => Err(ManifestError::Expired(*expires)),
            () if *issued > now.after(limits::CLOCK_SKEW) => Err(ManifestError::NotYet(*issued)),
            () => Ok(()),
        }
    }

    /// M5: that it is for the server of this name, empty for none.
    ///
    /// # Errors
    /// [`ManifestError::OtherName`].
    pub fn check_name(&self, name: &str) -> Result<(), ManifestError> {
        let names = &self.body().names;
        if names.is_empty() || names.iter().any(|of| of == name) {
            return Ok(());
        }
        Err(ManifestError::OtherName { wanted: name.to_owned(), for_names: names.join(", ") })
    }

    /// M6: that it names this key for this time, and this key exchange is not under the key's floor.
    ///
    /// # Errors
    /// [`ManifestError::UnknownKey`], [`ManifestError::KeyNotYet`], [`ManifestError::KeyOver`] and [`ManifestError::UnderFloor`].
    pub fn check_key(&self, id: KeyId, now: UnixTime, exchange: KeyExchange) -> Result<(), ManifestError> {
        let ManifestKey { floor, .. } = self.valid_key(id, now)?;
        if !floor.admits(exchange) {
            return Err(ManifestError::UnderFloor { found: exchange, floor: *floor });
        }
        Ok(())
    }

    pub(super) fn valid_key(&self, id: KeyId, now: UnixTime) -> Result<&ManifestKey, ManifestError> {
        let ManifestBody { keys, sequence, .. } = self.body();
        let unknown = ManifestError::UnknownKey { key: id, sequence: *sequence };
        let key = keys.iter().find(|key| key.id == id).ok_or(unknown)?;
        match () {
            () if now < key.not_before => Err(ManifestError::KeyNotYet { key: id, from: key.not_before }),
            () if now >= key.not_after => Err(ManifestError::KeyOver { key: id, until: key.not_after }),
            () => Ok(key),
        }
    }
}
