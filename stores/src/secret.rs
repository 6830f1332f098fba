//! A secret that all servers have, and what they share has not.

use core::fmt;
use countersign::PrivateKey;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What all servers of one service know, and no store of theirs: under it names are hashed in Redis, and ticket keys are encrypted in a database.
/// 32 bytes, wiped when dropped.
#[derive(Clone)]
pub struct SharedSecret(Zeroizing<[u8; 32]>);

impl SharedSecret {
    /// 32 random bytes, the same at all servers.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// One that follows from the servers' private key, where they all have the same: nothing has to be handed out beside that. Whoever has that key is
    /// the server anyway. `HMAC-SHA256("countersign shared secret", the key in PKCS#8)`
    pub fn of(key: &PrivateKey) -> Self {
        Self(Zeroizing::new(mac(b"countersign shared secret", &[key.pkcs8_der()])))
    }

    /// `HMAC-SHA256(secret, part || 0 || part || ...)`
    pub(crate) fn derive(&self, parts: &[&str]) -> [u8; 32] {
        let parts: Vec<&[u8]> = parts.iter().flat_map(|part| [part.as_bytes(), b"\0"]).collect();
        mac(self.0.as_slice(), &parts)
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // It takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSecret").finish_non_exhaustive()
    }
}
