//! The vectors of tickets: resumptions, and tickets that are not taken.

use super::cases::{Answer, Case};
use countersign::{Credential, CredentialKind, Suite};

/// A ticket that is shown, and what has become of its server and its account since.
#[derive(Clone)]
pub struct Shown {
    /// The rule by which it is not taken, if it is not.
    pub not_taken: Option<&'static str>,
    /// Alters it as the client keeps it.
    pub alter: fn(&mut Vec<u8>),
    /// The client's other pin: the key that it is from.
    pub from_key: Option<&'static str>,
    /// It was shown before, and taken.
    pub is_used: bool,
    /// How many seconds after it was made it is shown, by the server's clock.
    pub after: u64,
    /// The account's epoch now; it was 1.
    pub epoch: u64,
}

impl Shown {
    pub fn good() -> Self {
        Self { not_taken: None, alter: |_| {}, from_key: None, is_used: false, after: 0, epoch: 1 }
    }

    fn not_taken(rule: &'static str) -> Self {
        Self { not_taken: Some(rule), ..Self::good() }
    }
}

pub fn resumptions() -> Vec<Case> {
    let aes = Suite::X25519_AES_256_GCM;
    let before = "proof-rsa2048-x25519-aes256gcm";
    vec![
        Case::resumed("resumed-x25519-aes256gcm", before, aes, "the ticket of proof-rsa2048-x25519-aes256gcm"),
        Case::resumed(
            "resumed-x25519mlkem768-aes256gcm",
            "proof-rsa2048-x25519mlkem768-aes256gcm",
            Suite::X25519MLKEM768_AES_256_GCM,
            "X25519MLKEM768",
        ),
        Case::resumed(
            "resumed-rsa-aes256gcm",
            "rsa2048-rsa-aes256gcm",
            Suite::RSA_AES_256_GCM,
            "RSA alone: nothing but the ticket's secret is secret",
        ),
        Case {
            known_keys: &["rsa2048"],
            proof_at_resumption: true,
            reserved: true,
            ..Case::resumed(
                "resumed-with-rsa-secret",
                before,
                aes,
                "an rsa_ciphertext beside the ticket; ClientHello and ServerResumption have a reserved extension",
            )
        },
        Case {
            answer: Answer::TicketUnknown,
            shown: Shown { not_taken: Some("K1"), ..Shown::good() },
            ..Case::resumed(
                "ticket-not-taken",
                before,
                aes,
                "a ticket that the server does not know (K1): the full login",
            )
        },
        Case {
            known_keys: &["rsa2048"],
            proof_at_resumption: true,
            answer: Answer::TicketUnknown,
            shown: Shown { not_taken: Some("K1"), ..Shown::good() },
            ..Case::resumed(
                "proof-ticket-not-taken",
                before,
                aes,
                "a ticket that the server does not know (K1), and an rsa_ciphertext beside it: the full login with a proof",
            )
        },
        Case {
            known_keys: &["rsa2048"],
            rule: Some("T4"),
            answer: Answer::TicketUnknown,
            shown: Shown { not_taken: Some("K1"), ..Shown::good() },
            ..Case::resumed(
                "t4-ticket-not-taken",
                before,
                aes,
                "no rsa_ciphertext beside a ticket that is not taken (K1): no proof, though the client has the key whole",
            )
        },
        Case {
            rule: Some("F2"),
            alter: |frame, bytes| {
                if frame == 3 {
                    bytes[3] ^= 1;
                }
            },
            ..Case::resumed("f2-confirm-altered", before, aes, "a bit of the Confirm was flipped")
        },
        Case {
            rule: Some("A2"),
            alter: |frame, bytes| {
                if frame == 2 {
                    bytes.push(0);
                    let length = u16::try_from(bytes.len() - 3).unwrap().to_be_bytes();
                    bytes[1..3].copy_from_slice(&length);
                }
            },
            ..Case::resumed("a2-trailing-byte", before, aes, "one byte too many in the ServerResumption")
        },
        Case {
            rule: Some("A3"),
            alter: |frame, bytes| {
                if frame == 2 {
                    bytes[4] = 2;
                }
            },
            ..Case::resumed(
                "a3-version-not-offered",
                before,
                aes,
                "the picked version was changed from 1 to 2 on the way",
            )
        },
        Case {
            // The share, behind version, suite, nonce, and its length.
            rule: Some("A4"),
            alter: |frame, bytes| {
                if frame == 2 {
                    bytes[3 + 2 + 2 + 32 + 2..][..32].fill(0);
                }
            },
            ..Case::resumed("a4-all-zero-output", before, aes, "the server's share became zeros on the way")
        },
        Case {
            rule: Some("A5"),
            alter: |frame, bytes| {
                if frame == 2 {
                    *bytes.last_mut().unwrap() ^= 1;
                }
            },
            ..Case::resumed("a5-verdict-altered", before, aes, "a bit of the sealed verdict was flipped")
        },
        Case {
            rule: Some("A8"),
            answer: Answer::Busy,
            ..Case::resumed("a8-busy", before, aes, "the server has no room for a ClientHello with a ticket")
        },
    ]
}

/// A good ticket of `proof-rsa2048-x25519-aes256gcm`, but for one thing, and the full login that follows.
pub fn not_taken() -> Vec<Case> {
    let aes = Suite::X25519_AES_256_GCM;
    let shown = |name, rule, about| Case {
        shown: Shown::not_taken(rule),
        ..Case::resumed(name, "proof-rsa2048-x25519-aes256gcm", aes, about)
    };
    let k2 = shown("k2-expired", "K2", "the ticket is as old as its lifetime");
    let k3 = shown("k3-other-secret", "K3", "the client has another secret than the ticket's");
    let k4 = shown("k4-suite-not-taken", "K4", "the ticket's suite is 0201; the server takes 0202 alone now");
    let k5 = shown("k5-other-key", "K5", "the server answers under another key than the one that the ticket is from");
    let k6 = shown("k6-used-before", "K6", "the ticket was shown before, and taken");
    let k7 = shown("k7-other-epoch", "K7", "the account has changed since");
    let k8 = shown("k8-other-name", "K8", "the ticket was given out under another of the server's names");
    let k9 = shown("k9-kind-not-taken", "K9", "the ticket's chain began with a password; the server takes tokens now");
    let k11 =
        shown("k11-other-prologue", "K11", "the server has another prologue by now; so the login ends, too (C11)");
    vec![
        Case { shown: Shown { after: 3600, ..k2.shown.clone() }, ..k2 },
        // Its last bytes are the secret, a length, and the ticket.
        Case {
            shown: Shown {
                alter: |kept| {
                    let at = kept.len() - 480 - 2 - 1;
                    kept[at] ^= 1;
                },
                ..k3.shown.clone()
            },
            ..k3
        },
        Case {
            client_suites: vec![aes, Suite::X25519_CHACHA20_POLY1305],
            server_suites: vec![Suite::X25519_CHACHA20_POLY1305],
            ..k4
        },
        Case { key: "other2048", shown: Shown { from_key: Some("rsa2048"), ..k5.shown.clone() }, ..k5 },
        Case { shown: Shown { is_used: true, ..k6.shown.clone() }, ..k6 },
        Case { shown: Shown { epoch: 2, ..k7.shown.clone() }, ..k7 },
        Case {
            server_name: "ws.example",
            shown: Shown {
                alter: |kept| {
                    let at = kept.windows(10).position(|ten| ten == b"db.example").unwrap();
                    kept[at..at + 2].copy_from_slice(b"ws");
                },
                ..k8.shown.clone()
            },
            ..k8
        },
        Case { server_kinds: vec![CredentialKind::Token], credential: Credential::Token(b"an-opaque-token"), ..k9 },
        Case { rule: Some("C11"), server_prologue: b"example/2", ..k11 },
    ]
}
