//! What a client knows of a server: its name, which of its keys to send a secret to, and how weak it may be.

use super::error::{Error, Misuse};
use crate::crypto::{KeyExchange, KeyId, PublicKey, Suite};
use crate::limits;

/// A server as its clients know it: its name, the keys it may have, and the weakest key exchange to accept from their
/// owners.
///
/// Nothing is trusted by default: there is no way to make one that trusts no key, or every key. Several pins serve to
/// replace a server's key without a flag day.
///
/// ```
/// use countersign::{KeyId, Server};
///
/// let pin: KeyId = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU".parse()?;
/// let server = Server::pinned(pin).with_name("db.example")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Server {
    name: String,
    pins: Vec<KeyId>,
    keys: Vec<PublicKey>,
    floor: KeyExchange,
    needs_proof: bool,
}

impl Server {
    /// The server whose key has this fingerprint.
    pub fn pinned(id: KeyId) -> Self {
        // The floor keeps a stolen or coerced key from being used to strip forward secrecy.
        Self { name: String::new(), pins: vec![id], keys: Vec::new(), floor: KeyExchange::X25519, needs_proof: true }
    }

    /// The server with this key. Better than its fingerprint: the server then proves that it holds the key before a credential
    /// leaves, so that no credential can be read by whoever steals the key later.
    pub fn key(key: PublicKey) -> Self {
        let mut server = Self::pinned(key.id());
        server.keys.push(key);
        server
    }

    /// Trusts the keys that `other` trusts, too, under the higher floor of the two, and wants a proof if one of the two does. The name
    /// stays.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.pins.extend(other.pins);
        self.keys.extend(other.keys);
        self.floor = self.floor.max(other.floor);
        self.needs_proof |= other.needs_proof;
        self
    }

    /// Goes on, where a key is given whole and the server answers without a proof, as with a fingerprint alone: who answered in the
    /// server's place can read the credential if they get its private key later.
    #[must_use]
    pub fn without_proof(mut self) -> Self {
        self.needs_proof = false;
        self
    }

    /// Names the server that is wanted, for machines with several: up to 255 bytes of printable ASCII without spaces. It crosses
    /// the wire in the clear.
    ///
    /// # Errors
    /// [`Misuse::BadInput`].
    pub fn with_name(mut self, name: &str) -> Result<Self, Misuse> {
        if !is_server_name(name) {
            return Err(Misuse::BadInput("the server name"));
        }
        name.clone_into(&mut self.name);
        Ok(self)
    }

    /// Sets the weakest key exchange to accept. The default is [`KeyExchange::X25519`]: forward secrecy.
    ///
    /// To log in with a suite without forward secrecy, lower this to [`KeyExchange::Rsa`] and offer such a suite.
    #[must_use]
    pub fn with_floor(mut self, floor: KeyExchange) -> Self {
        self.floor = floor;
        self
    }

    /// The name; empty for none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fingerprints of the keys it may have.
    pub fn pins(&self) -> &[KeyId] {
        &self.pins
    }

    /// The keys given whole.
    pub fn known_keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// What a [`crate::TicketCache`] keeps its tickets under: the name and the first fingerprint. Not secret.
    pub fn scope(&self) -> String {
        let first = self.pins.first().map(ToString::to_string).unwrap_or_default();
        format!("{} {first}", self.name)
    }

    /// Knows this key whole, and has the server prove first that it holds this one. Trusts no other key because of it.
    pub(crate) fn with_known_key(&self, key: &PublicKey) -> Self {
        let mut server = self.clone();
        server.keys.retain(|known| known.id() != key.id());
        server.keys.insert(0, key.clone());
        server
    }

    /// Whether a credential waits for a proof.
    pub(crate) fn needs_proof(&self) -> bool {
        self.needs_proof && !self.keys.is_empty()
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

/// Server names are DNS-like: up to 255 bytes of printable ASCII without spaces.
pub(crate) fn is_server_name(name: &str) -> bool {
    name.len() <= limits::MAX_SERVER_NAME && name.bytes().all(|byte| byte.is_ascii_graphic())
}
