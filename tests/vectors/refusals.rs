//! The vectors of what is refused: each is named after its rule.

use super::cases::{Answer, Case};
use super::plaintexts::padded;
use countersign::{Credential, CredentialKind, KeyExchange, Suite};

/// What this library says of a rule that was broken: a server of S, L and F, and a client of the others.
pub fn codes(rule: &str) -> &'static [&'static str] {
    match rule {
        "S2" | "C2" | "A2" => &["message-trailing"],
        "S3" => &["empty-list"],
        "S4" | "C5" => &["duplicate-entry"],
        "S5" => &["key-shares"],
        "S6" => &["bad-string"],
        "S7" => &["no-common-version"],
        "S11" | "V3" => &["bad-ticket"],
        "S8" => &["no-common-suite"],
        "S9" | "C9" | "A4" => &["bad-key-share"],
        "S12" => &["no-server-key"],
        "S13" => &["extensions-too-long"],
        "S14" => &["key-not-named"],
        "S15" => &["ciphertext-range"],
        "L2" => &["malformed: message-trailing"],
        "L3" => &["malformed: ciphertext-range"],
        "L4" => &["malformed: sealed-length"],
        "L6" | "L7" | "L8" => &["not-opened"],
        "L9" | "T3" => &["kind-not-taken"],
        "L10" => &["wrong-password", "unknown-user", "unknown-token", "unknown-key"],
        "L11" => &["bad-signature"],
        "L12" => &["factor-needed"],
        "N2" => &["not-opened"],
        "N4" => &["wrong-factor"],
        "F2" => &["not-confirmed"],
        "A5" | "V2" => &["verdict-not-authentic"],
        "A8" | "C14" => &["busy"],
        "C3" | "A3" => &["version-not-offered"],
        "C4" => &["suite-not-offered"],
        "C6" => &["key-not-sent"],
        "C7" => &["server-key-unusable"],
        "C8" => &["key-id-mismatch"],
        "C11" => &["different-context"],
        "C12" => &["proof-not-authentic"],
        "C13" => &["duplicate-entry"],
        "C15" => &["bad-stretching"],
        "T6" => &["stretch-too-weak", "stretch-too-costly"],
        "T7" => &["stretch-not-taken"],
        "T1" => &["untrusted-key"],
        "T2" => &["under-floor"],
        "T4" => &["no-proof"],
        "T5" | "V8" => &["trust-too-low"],
        "V6" => &["not-now"],
        "V7" => &["factor-not-offered", "bad-factor-request"],
        _ => &[],
    }
}

/// Changes the body, and sets the header's length to what it has then.
fn change(bytes: &mut Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) {
    change(bytes);
    let length = u16::try_from(bytes.len() - 3).unwrap().to_be_bytes();
    bytes[1..3].copy_from_slice(&length);
}

/// A ClientHello of a client that has only a fingerprint ends with three empty fields: extensions (1 byte), `rsa_ciphertext` and
/// `binder` (2 bytes each).
pub fn refused_hellos() -> Vec<Case> {
    vec![
        Case {
            alter: |frame, bytes| {
                if frame == 1 {
                    change(bytes, |bytes| bytes.push(0));
                }
            },
            ..Case::refuse("s2-trailing-byte", "S2", "one byte too many in the ClientHello")
        },
        Case {
            // The suites are behind the one version.
            alter: |frame, bytes| {
                if frame == 1 {
                    change(bytes, |bytes| drop(bytes.splice(6..9, [0])));
                }
            },
            ..Case::refuse("s3-no-suite", "S3", "no suites, and a share")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 1 {
                    change(bytes, |bytes| drop(bytes.splice(6..9, [2, 2, 1, 2, 1])));
                }
            },
            ..Case::refuse("s4-suite-twice", "S4", "the suite 0201, twice")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 1 {
                    bytes[7] = 1;
                }
            },
            ..Case::refuse("s5-share-without-suite", "S5", "the suite 0101 alone, and a share for 02")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 1 {
                    change(bytes, |bytes| drop(bytes.splice(6..9, [2, 2, 1, 3, 1])));
                }
            },
            ..Case::refuse("s5-suite-without-share", "S5", "the suites 0201 and 0301, and a share for 02 alone")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 1 {
                    let at = bytes.len() - 5 - 2 - 8 - 1 - "db.example".len();
                    bytes[at + 2] = b' ';
                }
            },
            ..Case::refuse("s6-server-name", "S6", "a server name with a space in it")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 1 {
                    bytes[5] = 2;
                }
            },
            ..Case::refuse("s7-no-common-version", "S7", "the client offers version 2 alone")
        },
        Case {
            client_suites: vec![Suite::RSA_AES_256_GCM],
            ..Case::refuse("s8-no-common-suite", "S8", "the client offers RSA alone; the server wants X25519")
        },
        Case {
            // The first two coefficients of the encapsulation key become 4095, which is not below 3329. After the share come
            // the name, the known keys, the context, the ticket, and the three fields.
            alter: |frame, bytes| {
                if frame == 1 {
                    let at = bytes.len() - 5 - 2 - 8 - 1 - "db.example".len() - 2 - 1216;
                    bytes[at..at + 3].fill(0xff);
                }
            },
            ..Case::refuse_under(
                Suite::X25519MLKEM768_AES_256_GCM,
                "s9-encapsulation-key",
                "S9",
                "the client's ML-KEM encapsulation key has coefficients that are not reduced",
            )
        },
        Case {
            alter: |frame, bytes| {
                if frame == 1 {
                    change(bytes, |bytes| {
                        let at = bytes.len() - 2;
                        bytes.splice(at.., [&[0, 32][..], &[0x5a; 32]].concat());
                    });
                }
            },
            ..Case::refuse("s11-no-ticket", "S11", "a binder without a ticket")
        },
        Case {
            server_name: "other.example",
            ..Case::refuse(
                "s12-unknown-name",
                "S12",
                "the client names a server that this one is not (it is db.example)",
            )
        },
        Case {
            alter: |frame, bytes| {
                if frame == 1 {
                    change(bytes, |bytes| {
                        // One extension of 1025 bytes with its number and length.
                        let at = bytes.len() - 5;
                        let extension = [&[1, 0xff, 0, 0x03, 0xfd][..], &[0; 1021]].concat();
                        bytes.splice(at..=at, extension);
                    });
                }
            },
            ..Case::refuse("s13-long-extensions", "S13", "the extensions have 1025 bytes together")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 1 {
                    change(bytes, |bytes| {
                        let at = bytes.len() - 4;
                        bytes.splice(at..at + 2, [&[1, 0][..], &[0x5a; 256]].concat());
                    });
                }
            },
            ..Case::refuse("s14-no-known-key", "S14", "an rsa_ciphertext without a known key")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 1 {
                    let at = bytes.len() - 2 - 256;
                    bytes[at..at + 256].fill(0xff);
                }
            },
            ..Case::refuse_proved(
                "s15-ciphertext-range",
                "S15",
                "the RSA ciphertext in the ClientHello is not below the modulus",
            )
        },
        Case {
            alter: |frame, bytes| {
                if frame == 1 {
                    change(bytes, |bytes| {
                        let at = bytes.len() - 2 - 256 - 2;
                        bytes.splice(at..at + 3, [0, 255]);
                    });
                }
            },
            ..Case::refuse_proved(
                "s15-ciphertext-length",
                "S15",
                "the RSA ciphertext in the ClientHello is one byte shorter than the modulus",
            )
        },
    ]
}

/// What the client refuses before its credential leaves. A ServerHello without extensions and proof ends with an empty field of
/// each: 1 byte and 2.
pub fn refused_answers() -> Vec<Case> {
    let x25519 = Suite::X25519_AES_256_GCM;
    vec![
        Case {
            alter: |frame, bytes| {
                if frame == 2 {
                    change(bytes, |bytes| bytes.push(0));
                }
            },
            ..Case::refuse("c2-trailing-byte", "C2", "one byte too many in the ServerHello")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 2 {
                    bytes[4] = 2;
                }
            },
            ..Case::refuse("c3-version-not-offered", "C3", "the picked version was changed from 1 to 2 on the way")
        },
        Case {
            // Two kinds, before the context and the two fields.
            alter: |frame, bytes| {
                if frame == 2 {
                    let at = bytes.len() - 3 - 8 - 2;
                    bytes[at + 1] = bytes[at];
                }
            },
            ..Case::refuse("c5-kind-twice", "C5", "one credential kind, twice")
        },
        Case {
            // The key, behind its id.
            alter: |frame, bytes| {
                if frame == 2 {
                    change(bytes, |bytes| {
                        let at = 3 + 2 + 2 + 32 + 32;
                        let len = usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
                        bytes.splice(at..at + 2 + len, [0, 0]);
                    });
                }
            },
            ..Case::refuse("c6-key-not-sent", "C6", "no key, of which the client has the fingerprint alone")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 2 {
                    let at = 3 + 2 + 2 + 32 + 32;
                    let len = usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
                    // The exponent ends the key.
                    bytes[at + 2 + len - 1] = 0;
                }
            },
            ..Case::refuse("c7-even-exponent", "C7", "a key with the exponent 65536")
        },
        Case {
            // The suite's low byte, behind the header and the version.
            alter: |frame, bytes| {
                if frame == 2 {
                    bytes[6] ^= 3;
                }
            },
            ..Case::refuse("c4-suite-not-offered", "C4", "the picked suite was changed from 0201 to 0202 on the way")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 2 {
                    bytes[3 + 2 + 2 + 32] ^= 1;
                }
            },
            ..Case::refuse("c8-key-id-mismatch", "C8", "a bit of the key id was flipped on the way")
        },
        Case {
            // The X25519 part of the server's share, before the credential kinds, the context and the two fields.
            alter: |frame, bytes| {
                if frame == 2 {
                    let at = bytes.len() - 3 - 8 - 3 - 32;
                    bytes[at..at + 32].fill(0);
                }
            },
            ..Case::refuse_under(
                Suite::X25519MLKEM768_AES_256_GCM,
                "c9-all-zero-output",
                "C9",
                "the X25519 part of the server's share became zeros on the way",
            )
        },
        Case {
            server_prologue: b"example/2",
            ..Case::refuse_proved("c11-other-prologue", "C11", "the server has another prologue: it opens nothing")
        },
        Case {
            is_bound: [true, false],
            ..Case::refuse_proved("c11-other-binding", "C11", "the server has no channel binding: it opens nothing")
        },
        Case {
            // The last byte of the ciphertext, before an empty binder.
            alter: |frame, bytes| {
                if frame == 1 {
                    let at = bytes.len() - 3;
                    bytes[at] ^= 1;
                }
            },
            ..Case::refuse_proved(
                "c12-not-decrypted",
                "C12",
                "a bit of the RSA ciphertext was flipped on the way: OAEP fails (L6), and the proof is under the fallback",
            )
        },
        Case {
            // The client's nonce as the server sees it: the plaintext is bound to another transcript.
            alter: |frame, bytes| {
                if frame == 1 {
                    bytes[3 + 3 + 3] ^= 1;
                }
            },
            ..Case::refuse_proved(
                "c12-other-hello",
                "C12",
                "a bit of the client's nonce was flipped on the way: transcript_h is another (L6), and the proof is under the fallback",
            )
        },
        Case {
            alter: |frame, bytes| {
                if frame == 2 {
                    *bytes.last_mut().unwrap() ^= 1;
                }
            },
            ..Case::refuse_proved("c12-proof-altered", "C12", "a bit of the proof was flipped on the way")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 2 {
                    change(bytes, |bytes| {
                        let at = bytes.len() - 2;
                        bytes.splice(at.., [&[0, 32][..], &[0; 32]].concat());
                    });
                }
            },
            ..Case::refuse("c12-unasked-proof", "C12", "a proof, put in on the way, where the client sealed no secret")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 2 {
                    change(bytes, |bytes| {
                        let at = bytes.len() - 3;
                        bytes.splice(at..=at, [2, 0x0a, 0x0a, 0, 0, 0x0a, 0x0a, 0, 0]);
                    });
                }
            },
            ..Case::refuse("c13-extension-twice", "C13", "an extension was put in twice on the way")
        },
        Case {
            answer: Answer::Busy,
            ..Case::refuse_proved("c14-busy", "C14", "the server has no room: try again in 30 seconds")
        },
        Case { pins_other: true, ..Case::refuse("t1-untrusted-key", "T1", "the client has pinned another key") },
        Case {
            client_suites: vec![x25519, Suite::RSA_AES_256_GCM],
            server_suites: vec![Suite::RSA_AES_256_GCM],
            floor: KeyExchange::X25519,
            ..Case::refuse("t2-under-floor", "T2", "the server picks RSA alone; the pin's floor is X25519")
        },
        Case {
            server_kinds: vec![CredentialKind::Token],
            ..Case::refuse("t3-kind-not-taken", "T3", "the server takes tokens; the client has a password")
        },
        Case {
            answer: Answer::Unproved,
            ..Case::refuse_proved(
                "t4-no-proof",
                "T4",
                "the server answers without a proof, though the client has its key whole",
            )
        },
        Case {
            known_keys: &["other2048", "rsa2048"],
            ..Case::refuse(
                "t4-other-key",
                "T4",
                "the server answers under the second key that the client knows: it can't open what is sealed to the first",
            )
        },
    ]
}

pub fn refused_logins() -> Vec<Case> {
    vec![
        Case {
            alter: |frame, bytes| {
                if frame == 3 {
                    change(bytes, |bytes| bytes.push(0));
                }
            },
            ..Case::refuse("l2-trailing-byte", "L2", "one byte too many in the ClientLogin")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 3 {
                    bytes[5..5 + 256].fill(0xff);
                }
            },
            ..Case::refuse("l3-ciphertext-range", "L3", "the RSA ciphertext is not below the modulus")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 3 {
                    change(bytes, |bytes| {
                        bytes.splice(3..5, [&[1, 0][..], &[0x5a; 256]].concat());
                    });
                }
            },
            ..Case::refuse_proved("l3-after-proof", "L3", "an RSA ciphertext in the ClientLogin after a proof")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 3 {
                    change(bytes, |bytes| {
                        bytes.pop();
                        bytes[5 + 256 + 1] -= 1;
                    });
                }
            },
            ..Case::refuse("l4-sealed-length", "L4", "the sealed credential is one byte short of 256 and a tag")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 3 {
                    bytes[5 + 255] ^= 1;
                }
            },
            ..Case::refuse("l6-not-decrypted", "L6", "a bit of the RSA ciphertext was flipped: OAEP fails")
        },
        Case {
            ignores_proof: true,
            alter: |frame, bytes| {
                if frame == 1 {
                    let at = bytes.len() - 3;
                    bytes[at] ^= 1;
                }
            },
            ..Case::refuse_proved(
                "l6-in-hello",
                "L6",
                "as c12-not-decrypted, and a client that sends its login all the same: the server goes on under the fallback",
            )
        },
        Case {
            // The server's nonce as the client saw it: the OAEP plaintext is bound to another transcript.
            alter: |frame, bytes| {
                if frame == 2 {
                    bytes[7] ^= 1;
                }
            },
            ..Case::refuse("l6-other-challenge", "L6", "a bit of the challenge was flipped on the way to the client")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 3 {
                    bytes[5 + 256 + 2] ^= 1;
                }
            },
            ..Case::refuse("l7-credential-altered", "L7", "a bit of the sealed credential was flipped")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 3 {
                    bytes[5 + 2] ^= 1;
                }
            },
            ..Case::refuse_proved("l7-after-proof", "L7", "a bit of the sealed credential was flipped, after a proof")
        },
        Case {
            plaintext: Some(|| padded(1, "alice", b"correct horse battery staple", |pad| pad[0] = 1)),
            ..Case::refuse("l8-padding", "L8", "the padding is not all zeros")
        },
        Case {
            plaintext: Some(|| padded(1, "", b"correct horse battery staple", |_| {})),
            ..Case::refuse("l8-empty-user", "L8", "a password without a user name")
        },
        Case {
            server_kinds: vec![CredentialKind::Password],
            plaintext: Some(|| padded(2, "", b"an-opaque-token", |_| {})),
            ..Case::refuse("l9-kind-not-taken", "L9", "a token, which the server said it does not take")
        },
        Case {
            credential: Credential::Password { user: "alice", password: b"wrong" },
            ..Case::refuse("l10-wrong-password", "L10", "a wrong password")
        },
        Case {
            credential: Credential::Password { user: "alice", password: b"wrong" },
            ..Case::refuse_proved("l10-after-proof", "L10", "a wrong password, after a proof")
        },
        Case {
            credential: Credential::Password { user: "mallory", password: b"correct horse battery staple" },
            ..Case::refuse("l10-unknown-user", "L10", "an unknown user")
        },
        Case {
            credential: Credential::Token(b"another-token"),
            ..Case::refuse("l10-unknown-token", "L10", "an unknown token")
        },
    ]
}

pub fn refused_verdicts() -> Vec<Case> {
    vec![
        Case {
            alter: |frame, bytes| {
                if frame == 4 {
                    bytes[3] ^= 1;
                }
            },
            ..Case::refuse("v2-verdict-altered", "V2", "a bit of the verdict was flipped")
        },
        Case {
            // Before the lifetime of 8 bytes and no extensions stands the ticket's length, which is 0.
            verdict: Some(|mut verdict| {
                let at = verdict.len() - 2;
                verdict[at] = 60;
                verdict
            }),
            ..Case::refuse("v3-lifetime-without-ticket", "V3", "the verdict has no ticket, but a lifetime of one")
        },
        Case { not_now: true, ..Case::refuse("v6-not-now", "V6", "the server can't decide now") },
        Case {
            not_now: true,
            ..Case::refuse_proved("v6-after-proof", "V6", "the server can't decide now, after a proof")
        },
    ]
}
