//! Trust: which server keys a client may send a secret to.

use crate::crypto::{KeyExchange, KeyId, PublicKey, Suite};
use crate::terms::error::Error;

/// The server keys a client trusts, and the weakest key exchange it accepts from their owners.
///
/// Nothing is trusted by default: there is no way to make an empty or an all-accepting one. Several pins serve to
/// replace a server's key without a flag day.
///
/// ```
/// use countersign::{KeyId, ServerTrust};
///
/// let pin: KeyId = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU".parse()?;
/// let trust = ServerTrust::pin(pin);
/// # Ok::<(), countersign::crypto::ParseKeyIdError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ServerTrust {
    pins: Vec<KeyId>,
    keys: Vec<PublicKey>,
    floor: KeyExchange,
}

impl ServerTrust {
    /// Trusts the key with this fingerprint.
    pub fn pin(id: KeyId) -> Self {
        // The floor keeps a stolen or coerced key from being used to strip forward secrecy.
        Self { pins: vec![id], keys: Vec::new(), floor: KeyExchange::X25519 }
    }

    /// Trusts this key. As good as its fingerprint, and saves the server from sending the key.
    pub fn key(key: PublicKey) -> Self {
        let mut trust = Self::pin(key.id());
        trust.keys.push(key);
        trust
    }

    /// Trusts what `other` trusts, too, under the higher floor of the two.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.pins.extend(other.pins);
        self.keys.extend(other.keys);
        self.floor = self.floor.max(other.floor);
        self
    }

    /// Sets the weakest key exchange to accept. The default is [`KeyExchange::X25519`]: forward secrecy.
    ///
    /// To log in with a suite without forward secrecy, lower this to [`KeyExchange::Rsa`] and offer such a suite.
    #[must_use]
    pub fn with_floor(mut self, floor: KeyExchange) -> Self {
        self.floor = floor;
        self
    }

    /// The keys given whole.
    pub fn known_keys(&self) -> &[PublicKey] {
        &self.keys
    }

    pub(crate) fn check(&self, key: KeyId, suite: Suite) -> Result<(), Error> {
        if !self.pins.contains(&key) {
            return Err(Error::Untrusted(key));
        }
        if suite.key_exchange < self.floor {
            return Err(Error::UnderFloor(suite));
        }
        Ok(())
    }
}
