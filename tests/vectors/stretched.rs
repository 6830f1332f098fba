//! The vectors of stretched passwords.

use super::cases::{ALICE, Case};
use super::inputs::{StretchParameters, Stretching};
use super::plaintexts::padded;
use super::primitives::{argon2id, lp};
use base64ct::{Base64Unpadded, Encoding};
use countersign::{Credential, CredentialKind, Suite};
use sha2::{Digest, Sha256};

const REALM: &str = "db.example";

/// What a server says of stretching: memory in MiB, passes and lanes, the newest first; and whether it asks for the password, too.
#[derive(Clone)]
pub struct Stretched {
    pub parameters: &'static [(u16, u8, u8)],
    pub moving: bool,
}

impl Stretched {
    /// As the library has it.
    pub fn announced(&self) -> countersign::Stretching {
        let sets = self
            .parameters
            .iter()
            .map(|&(memory, passes, lanes)| countersign::StretchParameters::new(memory, passes, lanes).unwrap());
        let stretching = countersign::Stretching::new(REALM, &sets.collect::<Vec<_>>()).unwrap();
        if self.moving { stretching.with_moving() } else { stretching }
    }

    /// What a password is stretched to, at each set of parameters.
    fn values(&self, user: &str, password: &[u8]) -> Vec<Vec<u8>> {
        let parts = [b"countersign v1 stretch".as_slice(), REALM.as_bytes(), user.as_bytes()];
        let salt = Sha256::digest(parts.map(lp).concat());
        let sets = self.parameters.iter();
        sets.map(|&(memory, passes, lanes)| {
            argon2id(password, &salt, u32::from(memory) * 1024, passes.into(), lanes.into())
        })
        .collect()
    }

    /// The StretchedPassword.
    pub fn secret(&self, user: &str, password: &[u8]) -> Vec<u8> {
        let values = self.values(user, password);
        let mut bytes = vec![u8::try_from(values.len()).unwrap()];
        values.iter().for_each(|value| bytes.extend(value));
        bytes.extend(lp(if self.moving { password } else { b"" }));
        bytes
    }

    /// The SHA-256 of what alice's password is stretched to.
    fn hashes(&self) -> Vec<Vec<u8>> {
        let Credential::Password { user, password } = ALICE else { panic!("alice has a password") };
        self.values(user, password).iter().map(|value| Sha256::digest(value).to_vec()).collect()
    }

    /// What the server keeps of it, as the library writes it.
    pub fn stored(&self) -> Vec<String> {
        let sets = self.hashes().into_iter().zip(self.parameters);
        sets.map(|(hash, (memory, passes, lanes))| {
            let hash = Base64Unpadded::encode_string(&hash);
            format!("SHA256:{hash};m={},t={passes},p={lanes};realm={REALM}", u32::from(*memory) * 1024)
        })
        .collect()
    }

    pub fn input(&self) -> Stretching {
        let sets = self.parameters.iter();
        let parameters = sets.map(|&(memory, passes, lanes)| StretchParameters { memory, passes, lanes }).collect();
        let stored = self.hashes().iter().map(hex::encode).collect();
        Stretching { realm: REALM, parameters, moving: self.moving, stored }
    }
}

fn accepted(name: &'static str, about: &'static str, stretched: Stretched) -> Case {
    Case {
        server_kinds: vec![CredentialKind::Stretched, CredentialKind::Token],
        stretching: Some(stretched),
        ..Case::accept(name, about, Suite::X25519_AES_256_GCM)
    }
}

fn one() -> Stretched {
    Stretched { parameters: &[(7, 5, 1)], moving: false }
}

fn refused(name: &'static str, rule: &'static str, about: &'static str) -> Case {
    Case { rule: Some(rule), ..accepted(name, about, one()) }
}

/// Alters what stands behind the realm in a ServerHello: the number of sets, memory (2), passes, lanes, moving.
fn behind_realm(number: usize, frame: &mut [u8], at: usize, byte: u8) {
    if number == 2 {
        let realm = frame.windows(REALM.len()).position(|bytes| bytes == REALM.as_bytes()).unwrap();
        frame[realm + REALM.len() + at] = byte;
    }
}

pub fn stretched_passwords() -> Vec<Case> {
    let both = Stretched { parameters: &[(19, 2, 1), (12, 3, 4)], moving: true };
    vec![
        Case { tickets: true, ..accepted("stretched", "a password that the client stretches, and a ticket", one()) },
        Case {
            known_keys: &["rsa2048"],
            ..accepted(
                "proof-stretched-moving",
                "two sets of parameters, and the password beside what it is stretched to, after a proof",
                both,
            )
        },
        Case {
            alter: |number, frame| behind_realm(number, frame, 5, 2),
            ..refused("c15-moving", "C15", "moving is neither 0 nor 1")
        },
        Case {
            alter: |number, frame| behind_realm(number, frame, 2, 6),
            ..refused("t6-too-weak", "T6", "stretching with 6 MiB and 5 passes, less than a client may")
        },
        Case {
            alter: |number, frame| behind_realm(number, frame, 1, 2),
            ..refused("t6-too-costly", "T6", "stretching with more than 512 MiB, more than a client may")
        },
        Case {
            server_kinds: vec![CredentialKind::Password, CredentialKind::Token],
            stretching: None,
            ..refused(
                "t7-not-stretched",
                "T7",
                "the server takes passwords alone; the client was told to send none as it is",
            )
        },
        Case {
            plaintext: Some(|| padded(4, "alice", &[0, 0, 0], |_| {})),
            ..refused("l8-stretched", "L8", "a StretchedPassword without a value")
        },
        Case {
            credential: Credential::Password { user: "alice", password: b"Tr0ub4dor&3" },
            ..refused("l10-stretched", "L10", "another password, stretched")
        },
    ]
}
