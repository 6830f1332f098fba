//! The key schedule: HKDF-SHA-256 (RFC 5869) from three secrets to every key (PROTOCOL.md, "Key schedule").

use super::{SharedSecret, TranscriptHash};
use crate::limits;
use crate::mutant::lacks_context;
use hkdf::Hkdf;
use hkdf::hmac::digest::FixedOutput;
use hkdf::hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A 32-byte key, zeroized when dropped. In what is moved, into a future or out of a box, it is boxed: then the bytes are wiped where they are, and what
/// is left behind is a pointer.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// What every `info` begins with, after the length.
const PREFIX: &[u8] = b"countersign v1 ";

/// Longest output that HKDF-Expand can give (RFC 5869, section 2.3).
pub(crate) const MAX_OUTPUT: usize = 255 * 32;

/// What stands in the schedule for a secret that there is not.
const NONE: [u8; 32] = [0; 32];

/// `stage_0` of a login, which has no ticket secret: `HKDF-Extract(0^32, 0^32)`. Every login would compute it anew.
const STAGE_0_OF_LOGIN: [u8; 32] = [
    0x33, 0xad, 0x0a, 0x1c, 0x60, 0x7e, 0xc0, 0x3b, 0x09, 0xe6, 0xcd, 0x98, 0x93, 0x68, 0x0c, 0xe2, 0x10, 0xad, 0xf3,
    0x00, 0xaa, 0x1f, 0x26, 0x60, 0xe1, 0xb2, 0x2e, 0x10, 0xf1, 0x70, 0xf9, 0x2a,
];

/// Where a handshake's secrets are from, beside the key exchange.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    /// What both sides have from an earlier login: its [`stage_0`].
    pub(crate) ticket: Option<&'a Key>,
    /// What the client sealed to the server's key.
    pub(crate) rsa: Option<&'a [u8; limits::SECRET]>,
}

impl<'a> Sources<'a> {
    /// Of a full login.
    pub(crate) fn rsa(rsa: &'a [u8; limits::SECRET]) -> Self {
        Self { ticket: None, rsa: Some(rsa) }
    }
}

/// `HKDF-Extract(0^32, ticket secret)`: what the binder and a resumption's keys are computed from.
pub(crate) fn stage_0(ticket: &[u8; 32]) -> Key {
    extract(&NONE, ticket).0
}

/// `HKDF-Extract(salt, ikm)`, as a key and ready to expand: `HMAC-SHA256(salt, ikm)`, computed where it is wiped. `Hkdf::extract` would give a copy
/// that is not.
fn extract(salt: &[u8; 32], ikm: &[u8]) -> (Key, Secret) {
    let mut key = Key::new([0; 32]);
    // It takes a key of any length, so there always is one.
    if let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(salt) {
        mac.update(ikm);
        mac.finalize_into((&mut *key).into());
    }
    let secret = Secret::from_key(&key);
    (key, secret)
}

/// A pseudo-random key from which others are expanded.
pub(crate) struct Secret(Hkdf<Sha256>);

impl Secret {
    /// The handshake's master secret:
    /// `HKDF-Extract(HKDF-Extract(stage_0, rsa or 0^32), exchange or 0^32)`, where `stage_0` is that of the ticket or of `0^32`.
    pub(crate) fn master(sources: Sources<'_>, exchange: &SharedSecret) -> Self {
        let stage_0 = sources.ticket.map_or(&STAGE_0_OF_LOGIN, |stage_0| &**stage_0);
        let (stage_1, _) = extract(stage_0, sources.rsa.unwrap_or(&NONE));
        extract(&stage_1, exchange.as_bytes()).1
    }

    /// A secret that [`Secret::key`] gave, to expand further.
    pub(crate) fn from_key(key: &[u8; 32]) -> Self {
        // A pseudo-random key of 32 bytes is long enough for SHA-256, so the fallback is never taken.
        Self(Hkdf::from_prk(key).unwrap_or_else(|_| Hkdf::new(None, key)))
    }

    /// `Expand(self, label, context)`, 32 bytes.
    pub(crate) fn key(&self, label: &str, context: &TranscriptHash) -> Key {
        let mut out = Key::new([0; 32]);
        self.fill(label, context, out.as_mut_slice());
        out
    }

    /// `Expand(self, label, context)`:
    /// `HKDF-Expand(self, u16(L) || "countersign v1 " || label || 0x00 || context, L)`, where L is the length of `out`.
    ///
    /// Labels have no zero byte, so no two (label, context) pairs share an info string.
    pub(crate) fn fill(&self, label: &str, context: &[u8], out: &mut [u8]) {
        debug_assert!(out.len() <= MAX_OUTPUT && !label.contains('\0'));
        let context = if lacks_context(label) { &[][..] } else { context };
        let len = u16::try_from(out.len()).unwrap_or(u16::MAX).to_be_bytes();
        let info = [&len[..], PREFIX, label.as_bytes(), &[0], context];
        #[allow(
            clippy::expect_used,
            reason = "callers ask for at most MAX_OUTPUT bytes, the only thing that can fail"
        )]
        self.0.expand_multi_info(&info, out).expect("at most 255 * 32 bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_depends_on_both_parts_of_the_key_exchange() {
        let key = |mlkem: u8, x25519: u8| {
            let secret = SharedSecret::new(&[[mlkem; 32], [x25519; 32]].concat()).ok()?;
            Some(Secret::master(Sources::rsa(&[1; 32]), &secret).key("credential", &[2; 32]))
        };
        let [one, other, third] = [key(3, 4), key(3, 5), key(6, 4)];
        assert!(one.is_some() && other.is_some() && third.is_some());
        assert!(one != other && other != third && third != one);
    }

    #[test]
    fn the_first_stage_of_a_login_is_that_of_no_ticket() {
        assert_eq!(*stage_0(&NONE), STAGE_0_OF_LOGIN);
    }
}
