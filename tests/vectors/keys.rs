//! The vectors of clients with keys of their own.

use super::cases::Case;
use super::inputs::signing_key_der;
use super::plaintexts::padded;
use super::primitives::{lp, sign};
use countersign::{CredentialKind, Suite};

/// A client that signs, in the place of its credential.
#[derive(Clone)]
pub struct Signer {
    /// Its key, by its file in `tests/keys/signing`.
    pub key: &'static str,
    pub user: &'static str,
    /// Alters what it signs.
    pub over: fn(&mut Vec<u8>),
    /// Alters key and signature.
    pub spoil: fn(&mut Vec<u8>, &mut Vec<u8>),
    /// What it puts behind the KeyProof.
    pub tail: &'static [u8],
    /// Whether it is one that no client of this library would send.
    pub is_spoilt: bool,
}

impl Signer {
    pub fn good(key: &'static str) -> Self {
        Self { key, user: "alice", over: |_| {}, spoil: |_, _| {}, tail: &[], is_spoilt: false }
    }

    fn spoilt(key: &'static str) -> Self {
        Self { is_spoilt: true, ..Self::good(key) }
    }

    /// `signed` of PROTOCOL.md, "KeyProof".
    pub fn message(&self, transcript_r: &[u8]) -> Vec<u8> {
        let words = b"countersign v1 client signature";
        [&[0x20; 64][..], words, &[0], transcript_r, &lp(self.user.as_bytes())].concat()
    }

    /// The padded credential, and the signature in it.
    pub fn credential(&self, transcript_r: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (pkcs8, mut spki) = signing_key_der(self.key);
        let mut message = self.message(transcript_r);
        (self.over)(&mut message);
        let mut signature = sign(&pkcs8, &message);
        (self.spoil)(&mut spki, &mut signature);
        let proof = [&lp(&spki)[..], &lp(&signature), self.tail].concat();
        (padded(3, self.user, &proof, |_| {}), signature)
    }
}

fn by_key(name: &'static str, about: &'static str, key: &'static str) -> Case {
    Case {
        server_kinds: vec![CredentialKind::Password, CredentialKind::Token, CredentialKind::Key],
        signer: Some(Signer::good(key)),
        ..Case::accept(name, about, Suite::X25519_AES_256_GCM)
    }
}

fn refused(name: &'static str, rule: &'static str, about: &'static str, signer: Signer) -> Case {
    Case { rule: Some(rule), signer: Some(signer), ..by_key(name, about, "ed25519") }
}

pub fn logins_by_key() -> Vec<Case> {
    let proved = |case: Case| Case { known_keys: &["rsa2048"], ..case };
    vec![
        by_key("key-ed25519", "an Ed25519 key of the client's", "ed25519"),
        proved(by_key("proof-key-ed25519", "an Ed25519 key of the client's, after a proof", "ed25519")),
        by_key("key-p256", "an ECDSA key on P-256", "p256"),
        proved(Case { tickets: true, ..by_key("proof-key-p256", "an ECDSA key on P-256, after a proof", "p256") }),
        by_key("key-rsa-pss", "an RSA key, which signs with PSS", "rsa"),
        Case {
            first_use: true,
            ..by_key("key-at-first-use", "a key's signature, to a server key that is trusted at first use", "ed25519")
        },
        Case {
            first_use: true,
            ..Case::refuse("t5-password-at-first-use", "T5", "a password, and the server's key is trusted at first use")
        },
        refused("l8-key-proof", "L8", "a byte behind the KeyProof", Signer { tail: &[0], ..Signer::spoilt("ed25519") }),
        Case {
            server_kinds: vec![CredentialKind::Password],
            ..refused("l9-key-not-taken", "L9", "a key, where the server said that it takes passwords", {
                Signer::spoilt("ed25519")
            })
        },
        refused(
            "l10-other-user",
            "L10",
            "a good signature, by a key that is not one of this user's",
            Signer { user: "mallory", ..Signer::good("ed25519") },
        ),
        refused("l11-signature-altered", "L11", "a bit of the signature is another", {
            Signer { spoil: |_, signature| signature[63] ^= 1, ..Signer::spoilt("p256") }
        }),
        refused(
            "l11-other-transcript",
            "L11",
            "a signature made on another connection: its transcript_r is another",
            Signer { over: |message| message[64 + 31 + 1] ^= 1, ..Signer::spoilt("ed25519") },
        ),
        refused("l11-other-user", "L11", "a signature made for another user", {
            let over = |message: &mut Vec<u8>| {
                let at = message.len() - 5;
                message[at..].copy_from_slice(b"carol");
            };
            Signer { over, ..Signer::spoilt("rsa") }
        }),
        refused("l11-other-words", "L11", "a signature of the transcript alone", {
            Signer { over: |message| *message = message[96..128].to_vec(), ..Signer::spoilt("ed25519") }
        }),
        refused("l11-compressed-point", "L11", "a P-256 key with its point compressed", {
            let spoil = |spki: &mut Vec<u8>, _: &mut Vec<u8>| {
                let last = spki.pop().unwrap();
                spki.truncate(27 + 32);
                (spki[1], spki[24], spki[26]) = (57, 34, 2 + (last & 1));
            };
            Signer { spoil, ..Signer::spoilt("p256") }
        }),
        refused("l11-small-order", "L11", "an Ed25519 key and signature of small order, which fit any message", {
            let spoil = |spki: &mut Vec<u8>, signature: &mut Vec<u8>| {
                let neutral = [&[1][..], &[0; 31]].concat();
                spki[12..].copy_from_slice(&neutral);
                signature.fill(0);
                signature[..32].copy_from_slice(&neutral);
            };
            Signer { spoil, ..Signer::spoilt("ed25519") }
        }),
    ]
}
