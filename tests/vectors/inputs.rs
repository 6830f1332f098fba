//! Everything that a handshake is made of.

use super::primitives::{lp, ml_kem, unhex, x25519, x25519_public};
use rsa::PrivateKey;
use rsa::pkcs8::der::Document;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::path::Path;

/// In hex but for names. What a handshake does not need is not there.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Inputs {
    pub server_key_pkcs8: String,
    pub server_key_spki: String,
    pub prologue: String,
    pub binding_type: String,
    pub binding_bytes: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_prologue: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_binding_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_binding_bytes: Option<String>,
    pub server_name: String,
    pub client_suites: Vec<String>,
    pub server_suites: Vec<String>,
    pub server_kinds: Vec<u8>,
    /// The SubjectPublicKeyInfo of each key that the client has whole.
    pub known_keys: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_state: Option<TicketState>,
    pub client_nonce: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_x25519: Option<String>,
    /// The ML-KEM-768 seed (d || z), then the X25519 private key, of the share for X25519MLKEM768.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_x25519mlkem768: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hello_rsa_secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hello_oaep_seed: Option<String>,
    pub server_nonce: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_x25519: Option<String>,
    /// What ML-KEM-768 encapsulates (m), then the X25519 private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_x25519mlkem768: Option<String>,
    pub fallback: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rsa_secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oaep_seed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_kind: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_secret: Option<String>,
    /// What is stretched to that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stretching: Option<Stretching>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key_pkcs8: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key_spki: Option<String>,
    /// What it signed, which is not what it should have where L11 is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_signature: Option<String>,
    /// Whether the client trusts the server's key at first use alone.
    #[serde(skip_serializing_if = "is_false")]
    pub first_use: bool,
    /// What the client answers to each request for a further factor; it offers none where this is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor_answers: Option<Vec<String>>,
    /// What the server wants after a good credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factors: Option<Vec<Factor>>,
}

/// What a server knows when a ticket comes back that it does not take: what it sealed into it, and how things are now. Times are in
/// Unix seconds.
#[derive(Clone, Debug, Serialize)]
pub struct TicketState {
    pub principal: &'static str,
    pub epoch: u64,
    pub suite: String,
    pub key_id: String,
    pub server_name: &'static str,
    pub prologue: String,
    pub kind: u8,
    pub authenticated: u64,
    pub made: u64,
    pub expires: u64,
    pub secret: String,
    pub now: u64,
    pub epoch_now: u64,
    pub was_used: bool,
}

/// How a server has its clients stretch passwords.
#[derive(Clone, Debug, Serialize)]
pub struct Stretching {
    pub realm: &'static str,
    pub parameters: Vec<StretchParameters>,
    pub moving: bool,
    /// What the server keeps of the right password, at each set of parameters.
    pub stored: Vec<String>,
}

/// Memory in MiB.
#[derive(Clone, Debug, Serialize)]
pub struct StretchParameters {
    pub memory: u16,
    pub passes: u8,
    pub lanes: u8,
}

/// A further factor that a server wants.
#[derive(Clone, Debug, Serialize)]
pub struct Factor {
    pub form: u8,
    pub prompt: &'static str,
    /// The right answer.
    pub answer: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A key of `tests/keys/signing`: its PKCS#8 and its SubjectPublicKeyInfo.
pub fn signing_key_der(name: &str) -> (Vec<u8>, Vec<u8>) {
    let der = |file: String| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys/signing").join(file);
        Document::from_pem(&std::fs::read_to_string(path).unwrap()).unwrap().1.as_bytes().to_vec()
    };
    (der(format!("{name}.pem")), der(format!("{name}.pub.pem")))
}

/// A key of `tests/keys`: its PKCS#8 and its SubjectPublicKeyInfo, in hex.
pub fn key_der(name: &str) -> (String, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/keys/{name}.pem"));
    let key = PrivateKey::from_pkcs8_pem(&std::fs::read_to_string(path).unwrap()).unwrap();
    let spki = key.to_public_key().to_public_key_der().unwrap();
    (hex::encode(key.to_pkcs8_der().unwrap().as_bytes()), hex::encode(spki.as_bytes()))
}

/// Random-looking bytes that depend on nothing but the vector's name and what they are for.
pub fn random(name: &str, what: &str) -> String {
    hex::encode(Sha256::digest(format!("{name}/{what}")))
}

impl Inputs {
    /// The client's shares, with their exchanges.
    pub fn client_shares(&self) -> Vec<(u8, Vec<u8>)> {
        let mut shares = Vec::new();
        if let Some(private) = &self.client_x25519 {
            shares.push((2, x25519_public(private).to_vec()));
        }
        if let Some(joined) = &self.client_x25519mlkem768 {
            let (seed, private) = joined.split_at(128);
            let [encapsulation_key, _, _] = ml_kem(seed, &"00".repeat(32));
            let share = [&encapsulation_key[..], &x25519_public(private)].concat();
            assert_eq!(share.len(), 1216);
            shares.push((3, share));
        }
        shares
    }

    /// The server's share for the suite's key exchange.
    pub fn server_share(&self, suite: &str) -> Vec<u8> {
        match &suite[..2] {
            "01" => Vec::new(),
            "02" => x25519_public(self.server_x25519.as_ref().unwrap()).to_vec(),
            _ => {
                let (m, private) = self.server_x25519mlkem768.as_ref().unwrap().split_at(64);
                let [_, ciphertext, _] = ml_kem(&self.client_x25519mlkem768.as_ref().unwrap()[..128], m);
                let share = [&ciphertext[..], &x25519_public(private)].concat();
                assert_eq!(share.len(), 1120);
                share
            }
        }
    }

    pub fn exchange_secret(&self, suite: &str) -> Vec<u8> {
        match &suite[..2] {
            "01" => vec![0; 32],
            "02" => x25519(self.client_x25519.as_ref().unwrap(), self.server_x25519.as_ref().unwrap()),
            _ => {
                let (seed, client) = self.client_x25519mlkem768.as_ref().unwrap().split_at(128);
                let (m, server) = self.server_x25519mlkem768.as_ref().unwrap().split_at(64);
                let [_, _, secret] = ml_kem(seed, m);
                [&secret[..], &x25519(client, server)].concat()
            }
        }
    }

    /// What stands in extension 4 of a ServerHello.
    pub fn announced(&self) -> Option<Vec<u8>> {
        let Stretching { realm, parameters, moving, .. } = self.stretching.as_ref()?;
        let mut bytes = lp(realm.as_bytes());
        bytes.push(u8::try_from(parameters.len()).unwrap());
        for StretchParameters { memory, passes, lanes } in parameters {
            bytes.extend(memory.to_be_bytes());
            bytes.extend([*passes, *lanes]);
        }
        bytes.push(u8::from(*moving));
        Some(bytes)
    }

    /// What stands before an exchange in PROTOCOL.md, but for the server's key: name, and hex or text.
    pub fn printed(&self) -> Vec<(&'static str, String)> {
        let mut parts = vec![("prologue", self.prologue.clone())];
        let optional = [
            ("ticket", &self.ticket),
            ("ticket_secret", &self.ticket_secret),
            ("client's X25519 private key", &self.client_x25519),
        ];
        let split = |joined: &Option<String>, at: &[(&'static str, usize)]| {
            let mut rest = joined.clone().unwrap_or_default();
            let mut parts = Vec::new();
            for (name, length) in at {
                if !rest.is_empty() {
                    let after = rest.split_off(2 * length);
                    parts.push((*name, std::mem::replace(&mut rest, after)));
                }
            }
            parts
        };
        let present = |(name, hex): (&'static str, &Option<String>)| hex.clone().map(|hex| (name, hex));
        parts.extend(optional.into_iter().filter_map(present));
        let client = [("client's ML-KEM d", 32), ("client's ML-KEM z", 32), ("client's X25519 private key", 32)];
        parts.extend(split(&self.client_x25519mlkem768, &client));
        parts.extend(
            [
                ("rsa_secret in ClientHello", &self.hello_rsa_secret),
                ("OAEP seed in ClientHello", &self.hello_oaep_seed),
                ("server's X25519 private key", &self.server_x25519),
            ]
            .into_iter()
            .filter_map(present),
        );
        parts.extend(split(
            &self.server_x25519mlkem768,
            &[("server's ML-KEM m", 32), ("server's X25519 private key", 32)],
        ));
        let login = [("rsa_secret in ClientLogin", &self.rsa_secret), ("OAEP seed in ClientLogin", &self.oaep_seed)];
        parts.extend(login.into_iter().filter_map(present));
        parts
    }
}

/// A nonce whose hello has a reserved extension, or one whose hello has none.
pub fn nonce(name: &str, what: &str, reserved: bool) -> String {
    let mut bytes = unhex(&random(name, what));
    let last = bytes.last_mut().unwrap();
    *last = if reserved { *last & 0xf8 } else { *last | 1 };
    hex::encode(bytes)
}
