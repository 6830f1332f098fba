//! A secret that all servers have, and what they share has not.

use core::fmt;
use countersign::PrivateKey;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What all servers of one service know, and no store of theirs: under it names are hashed in Redis, and ticket keys are encrypted in a database.
/// 32 bytes, wiped when dropped.
///
/// One that follows from a private key changes with it. Servers that know the secret of the key to come, and that of the one before, change from one to the other
/// while they run, one after the other, and no ticket ends by it: what is kept stays under the secret that it is under until a server comes to which that is
/// a retired one. `RedisStore` and `SharedTicketKeys` do so.
///
/// ```
/// # fn secret(keys: [&countersign::PrivateKey; 3]) -> countersign_stores::FleetSecret {
/// use countersign_stores::FleetSecret;
///
/// let [current, next, retired] = keys.map(FleetSecret::of);
/// current.with_next(next).with_retired(retired)
/// # }
/// ```
#[derive(Clone)]
pub struct FleetSecret {
    /// The current one, those to come, and those that are retired.
    all: Vec<Secret>,
    /// How many of them are not retired.
    live: usize,
}

impl FleetSecret {
    /// 32 random bytes, the same at all servers.
    pub fn new(secret: [u8; 32]) -> Self {
        Self { all: vec![Secret(Arc::new(Zeroizing::new(secret)))], live: 1 }
    }

    /// One that follows from the servers' private key, where they all have the same: nothing has to be handed out beside that. Whoever has that key is
    /// the server anyway. `HMAC-SHA256("countersign shared secret", the key in PKCS#8)`
    pub fn of(key: &PrivateKey) -> Self {
        Self::new(mac(b"countersign shared secret", &[key.pkcs8_der()]))
    }

    /// Knows this one, too: what is kept under it already stays there.
    #[must_use]
    pub fn with_next(mut self, next: Self) -> Self {
        let retired = self.all.split_off(self.live);
        self.all.extend(next.all.into_iter().take(1));
        self.live = self.all.len();
        self.all.extend(retired);
        self
    }

    /// Knows this one, too, from before: what is kept under it is kept under the current one from now on.
    #[must_use]
    pub fn with_retired(mut self, retired: Self) -> Self {
        self.all.extend(retired.all.into_iter().take(1));
        self
    }

    /// The current one first, then those to come, then those that are retired.
    pub(crate) fn all(&self) -> &[Secret] {
        &self.all
    }

    /// How many of those, from the first on, are not retired.
    pub(crate) fn live(&self) -> usize {
        self.live
    }
}

/// One of them.
#[derive(Clone)]
pub(crate) struct Secret(Arc<Zeroizing<[u8; 32]>>);

impl Secret {
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

impl fmt::Debug for FleetSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetSecret").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Everybody has the public half.
    #[test]
    fn what_follows_from_a_key_follows_from_its_private_half() {
        let key = PrivateKey::from_pem(include_str!("../../tests/keys/rsa2048.pem")).unwrap();
        let secret = FleetSecret::of(&key);
        let hex: String = secret.all().first().unwrap().0.iter().map(|byte| format!("{byte:02x}")).collect();
        // openssl pkcs8 -topk8 -nocrypt -in rsa2048.pem -outform der | openssl dgst -sha256 -hmac "countersign shared secret"
        assert_eq!(hex, "b2cc046360cda5dc33c2cab827a6a9e19c9ff1070454f5eebd5cf777ed760a27");
    }
}
