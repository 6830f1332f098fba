//! PROTOCOL.md computed a second time, from the primitives' crates alone: nothing of the library is used here but the
//! names of credentials.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use countersign::{Credential, PrivateKey};
use hkdf::Hkdf;
use ml_kem::KeyExport;
use rsa::pkcs8::{DecodePrivateKey, EncodePublicKey};
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::{Oaep, PrivateKey as RsaPrivateKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::path::Path;

pub const EXPORT_LABEL: &str = "example";
pub const EXPORT_CONTEXT: &[u8] = b"context";

/// Everything a handshake is made of, in hex but for the text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    pub server_key_pkcs8: String,
    pub server_key_spki: String,
    pub prologue: String,
    pub binding_type: String,
    pub binding_bytes: String,
    pub server_name: String,
    pub known_keys: Vec<String>,
    pub client_nonce: String,
    pub client_x25519: String,
    /// The ML-KEM-768 seed (d || z), then the X25519 private key, of the share for X25519MLKEM768.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_x25519mlkem768: Option<String>,
    pub server_nonce: String,
    pub server_x25519: String,
    /// What ML-KEM-768 encapsulates (m), then the X25519 private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_x25519mlkem768: Option<String>,
    pub fallback: String,
    pub rsa_secret: String,
    pub oaep_seed: String,
    pub credential_kind: u8,
    pub credential_user: String,
    pub credential_secret: String,
}

impl Inputs {
    /// Random-looking inputs that depend on nothing but the vector's name.
    pub fn derive(
        name: &str,
        key: &str,
        credential: &Credential<'_>,
        prologue: &[u8],
        knows_key: bool,
        hybrid: bool,
    ) -> Self {
        let random = |what: &str| hex::encode(Sha256::digest(format!("{name}/{what}")));
        let join = |parts: &[&str]| hybrid.then(|| parts.iter().map(|part| random(part)).collect::<String>());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/keys/{key}.pem"));
        let pem = std::fs::read_to_string(path).unwrap();
        let spki = RsaPrivateKey::from_pkcs8_pem(&pem).unwrap().to_public_key().to_public_key_der().unwrap();
        let (kind, user, secret) = match credential {
            Credential::Password { user, password } => (1, *user, *password),
            Credential::Token(token) => (2, "", *token),
            _ => panic!("a kind without vectors"),
        };
        Self {
            server_key_pkcs8: hex::encode(PrivateKey::from_pem(&pem).unwrap().pkcs8_der()),
            server_key_spki: hex::encode(spki.as_bytes()),
            prologue: hex::encode(prologue),
            binding_type: String::new(),
            binding_bytes: String::new(),
            server_name: "db.example".to_owned(),
            known_keys: if knows_key { vec![hex::encode(Sha256::digest(spki.as_bytes()))] } else { Vec::new() },
            client_nonce: random("client nonce"),
            client_x25519: random("client x25519"),
            client_x25519mlkem768: join(&["client d", "client z", "client x25519 beside ml-kem"]),
            server_nonce: random("server nonce"),
            server_x25519: random("server x25519"),
            server_x25519mlkem768: join(&["server m", "server x25519 beside ml-kem"]),
            fallback: random("fallback"),
            rsa_secret: random("rsa secret"),
            oaep_seed: random("oaep seed"),
            credential_kind: kind,
            credential_user: user.to_owned(),
            credential_secret: hex::encode(secret),
        }
    }
}

/// Every hash and key of PROTOCOL.md, in hex, for the frames as they arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Secrets {
    pub transcript_2: String,
    pub transcript_r: String,
    pub transcript_3: String,
    pub transcript_4: Option<String>,
    pub exchange_secret: String,
    pub stage_0: String,
    pub stage_1: String,
    pub master: String,
    pub credential_key: String,
    pub verdict_key: String,
    pub client_traffic: Option<String>,
    pub server_traffic: Option<String>,
    pub exporter: Option<String>,
    pub session_id: Option<String>,
    pub client_key: Option<String>,
    pub client_iv: Option<String>,
    pub client_traffic_updated: Option<String>,
    pub server_key: Option<String>,
    pub server_iv: Option<String>,
}

impl Secrets {
    /// The fields, as PROTOCOL.md prints them.
    pub const ORDER: [&'static str; 19] = [
        "transcript_2",
        "transcript_r",
        "transcript_3",
        "transcript_4",
        "exchange_secret",
        "stage_0",
        "stage_1",
        "master",
        "credential_key",
        "verdict_key",
        "client_traffic",
        "server_traffic",
        "exporter",
        "session_id",
        "client_key",
        "client_iv",
        "client_traffic_updated",
        "server_key",
        "server_iv",
    ];
}

/// Gives out the listed bytes first, and then a fixed stream: what draws past the list is blinding, which leaves no
/// trace.
pub struct Script {
    bytes: Vec<u8>,
    at: usize,
}

impl Script {
    pub fn new(parts: &[&String]) -> Self {
        Self { bytes: parts.iter().flat_map(|part| hex::decode(part).unwrap()).collect(), at: 0 }
    }
}

impl TryRng for Script {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            *byte = match self.bytes.get(self.at) {
                Some(byte) => *byte,
                None => Sha256::digest(self.at.to_be_bytes())[0],
            };
            self.at += 1;
        }
        Ok(())
    }
}

impl TryCryptoRng for Script {}

/// `lp(x) = u16(length of x) || x`
fn lp(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn expand(prk: &[u8], label: &str, context: &[u8], length: usize) -> Vec<u8> {
    let mut info = u16::try_from(length).unwrap().to_be_bytes().to_vec();
    info.extend_from_slice(b"countersign v1 ");
    info.extend_from_slice(label.as_bytes());
    info.push(0);
    info.extend_from_slice(context);
    let mut out = vec![0; length];
    Hkdf::<Sha256>::from_prk(prk).unwrap().expand(&info, &mut out).unwrap();
    out
}

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

/// From both private keys, as nobody but a vector can: the server's public key, then the client's side of the exchange.
fn x25519(client: &str, server: &str) -> Vec<u8> {
    let key = |hex: &str| <[u8; 32]>::try_from(unhex(hex)).unwrap();
    let public = x25519_dalek::x25519(key(server), x25519_dalek::X25519_BASEPOINT_BYTES);
    x25519_dalek::x25519(key(client), public).to_vec()
}

/// `ML-KEM secret || X25519 secret`; checks both sides' shares in the frames on the way.
fn x25519mlkem768(client: &str, server: &str, frames: &[Vec<u8>]) -> Vec<u8> {
    let (seed, client) = client.split_at(128);
    let (m, server) = server.split_at(64);
    let seed: [u8; 64] = unhex(seed).try_into().unwrap();
    let m: [u8; 32] = unhex(m).try_into().unwrap();
    let key = ml_kem::DecapsulationKey::<ml_kem::MlKem768>::from_seed(seed.into());
    let (ciphertext, secret) = key.encapsulation_key().encapsulate_deterministic(&m.into());
    let public = |hex: &str| {
        let key: [u8; 32] = unhex(hex).try_into().unwrap();
        x25519_dalek::x25519(key, x25519_dalek::X25519_BASEPOINT_BYTES)
    };
    let shares = [
        [&key.encapsulation_key().to_bytes()[..], &public(client)].concat(),
        [&ciphertext[..], &public(server)].concat(),
    ];
    assert_eq!(shares.each_ref().map(Vec::len), [1216, 1120]);
    for (share, frame) in shares.iter().zip(frames) {
        assert!(frame.windows(share.len()).any(|window| window == share));
    }
    [&secret[..], &x25519(client, server)].concat()
}

/// Computes everything from the inputs and the frames (three or four of them).
pub fn secrets(inputs: &Inputs, suite: &str, frames: &[String]) -> Secrets {
    let frames: Vec<Vec<u8>> = frames.iter().map(|frame| unhex(frame)).collect();
    let size = RsaPrivateKey::from_pkcs8_der(&unhex(&inputs.server_key_pkcs8)).unwrap().size_in_bytes();
    let mut hash = Sha256::new();
    for part in [&b"countersign v1"[..], &unhex(&inputs.prologue), inputs.binding_type.as_bytes(), b""] {
        hash.update(lp(part));
    }
    let mut at = |bytes: &[u8]| -> Vec<u8> {
        hash.update(bytes);
        hash.clone().finalize().to_vec()
    };
    at(&frames[0]);
    let transcript_2 = at(&frames[1]);
    let (prefix, rest) = frames[2].split_at(5 + size);
    let transcript_r = at(prefix);
    let transcript_3 = at(rest);
    let transcript_4 = frames.get(3).map(|frame| at(frame));

    let exchange_secret = match &suite[..2] {
        "01" => vec![0; 32],
        "02" => x25519(&inputs.client_x25519, &inputs.server_x25519),
        _ => {
            let (client, server) = (&inputs.client_x25519mlkem768, &inputs.server_x25519mlkem768);
            x25519mlkem768(client.as_ref().unwrap(), server.as_ref().unwrap(), &frames)
        }
    };
    let stage = |salt: &[u8], ikm: &[u8]| Hkdf::<Sha256>::extract(Some(salt), ikm).0.to_vec();
    let stage_0 = stage(&[0; 32], &[0; 32]);
    let stage_1 = stage(&stage_0, &unhex(&inputs.rsa_secret));
    let master = stage(&stage_1, &exchange_secret);

    let after = |label: &str, length| transcript_4.as_ref().map(|hash| expand(&master, label, hash, length));
    let client_traffic = after("client traffic", 32);
    let server_traffic = after("server traffic", 32);
    let of = |traffic: &Option<Vec<u8>>, label: &str, length| {
        traffic.as_ref().map(|traffic| hex::encode(expand(traffic, label, b"", length)))
    };
    Secrets {
        client_key: of(&client_traffic, "key", 32),
        client_iv: of(&client_traffic, "iv", 12),
        client_traffic_updated: of(&client_traffic, "update", 32),
        server_key: of(&server_traffic, "key", 32),
        server_iv: of(&server_traffic, "iv", 12),
        client_traffic: client_traffic.map(hex::encode),
        server_traffic: server_traffic.map(hex::encode),
        exporter: after("exporter", 32).map(hex::encode),
        session_id: after("session id", 16).map(hex::encode),
        credential_key: hex::encode(expand(&master, "credential", &transcript_r, 32)),
        verdict_key: hex::encode(expand(&master, "verdict", &transcript_3, 32)),
        transcript_2: hex::encode(transcript_2),
        transcript_r: hex::encode(transcript_r),
        transcript_3: hex::encode(transcript_3),
        transcript_4: transcript_4.map(hex::encode),
        exchange_secret: hex::encode(exchange_secret),
        stage_0: hex::encode(stage_0),
        stage_1: hex::encode(stage_1),
        master: hex::encode(master),
    }
}

/// Checks an accepted exchange: what RSA carries, the sealed credential, the verdict, and the client's records.
pub fn check(secrets: &Secrets, suite: &str, frames: &[String], records: &[String]) {
    let login = unhex(&frames[2]);
    let size = usize::from(u16::from_be_bytes([login[3], login[4]]));
    let sealed = &login[5 + size + 2..];
    let credential = open(suite, &secrets.credential_key, &[0; 12], b"", sealed).expect("the credential opens");
    assert_eq!(credential.len() % 256, 0);
    let verdict = verdict(secrets, suite, &frames[3]).expect("the verdict opens");
    assert_eq!((verdict.len(), verdict[0]), (1536, 1));

    let (key, iv) = (secrets.client_key.as_ref().unwrap(), unhex(secrets.client_iv.as_ref().unwrap()));
    let updated = unhex(secrets.client_traffic_updated.as_ref().unwrap());
    let (next_key, next_iv) = (hex::encode(expand(&updated, "key", b"", 32)), expand(&updated, "iv", b"", 12));
    let expected: [(&str, &[u8], u64, &[u8]); 4] = [
        (key, &iv, 0, b"whoami\n"),
        (key, &iv, 1, b""),
        (&next_key, &next_iv, 0, b"quit\n"),
        (&next_key, &next_iv, 1, b""),
    ];
    for (record, (key, iv, number, plaintext)) in records.iter().zip(expected) {
        let frame = unhex(record);
        let mut nonce: [u8; 12] = iv.try_into().unwrap();
        for (slot, byte) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *slot ^= byte;
        }
        assert_eq!(open(suite, key, &nonce, &frame[..3], &frame[3..]).as_deref(), Some(plaintext));
    }
}

/// The verdict's plaintext, if it opens under the client's key.
pub fn verdict(secrets: &Secrets, suite: &str, frame: &str) -> Option<Vec<u8>> {
    open(suite, &secrets.verdict_key, &[0; 12], b"", &unhex(frame)[3..])
}

pub fn exported(secrets: &Secrets) -> String {
    let context = Sha256::digest(EXPORT_CONTEXT);
    let exporter = unhex(secrets.exporter.as_ref().unwrap());
    hex::encode(expand(&exporter, &format!("export {EXPORT_LABEL}"), &context, 48))
}

/// A credential and its padding, which `spoil` may alter.
pub fn padded(kind: u8, user: &str, secret: &[u8], spoil: fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = [&[kind][..], &lp(user.as_bytes()), &lp(secret)].concat();
    let used = bytes.len();
    bytes.resize(used.next_multiple_of(256), 0);
    spoil(&mut bytes[used..]);
    bytes
}

/// The ClientLogin of a client that seals these bytes. The first two frames are those before it.
pub fn reseal(inputs: &Inputs, suite: &str, frames: &[String], login: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let size = usize::from(u16::from_be_bytes([login[3], login[4]]));
    let mut body = login[3..5 + size].to_vec();
    let sealed = plaintext.len() + 16;
    body.extend_from_slice(&u16::try_from(sealed).unwrap().to_be_bytes());
    body.resize(body.len() + sealed, 0);
    let mut frame = [&[3][..], &lp(&body)].concat();
    let before = [frames[0].clone(), frames[1].clone(), hex::encode(&frame)];
    let keys = secrets(inputs, suite, &before);
    // The RSA ciphertext must be the real one: check what it carries while at it.
    let private = RsaPrivateKey::from_pkcs8_der(&unhex(&inputs.server_key_pkcs8)).unwrap();
    let carried = private.decrypt(Oaep::<Sha256>::new(), &login[5..5 + size]).unwrap();
    assert_eq!(hex::encode(carried), format!("{}{}", inputs.rsa_secret, keys.transcript_2));
    let at = frame.len() - sealed;
    let sealed = seal(suite, &keys.credential_key, plaintext);
    frame[at..].copy_from_slice(&sealed);
    frame
}

/// What a resumption is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResumedInputs {
    pub prologue: String,
    pub binding_type: String,
    pub binding_bytes: String,
    pub server_name: String,
    pub ticket: String,
    pub ticket_secret: String,
    pub client_nonce: String,
    pub client_x25519: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_x25519mlkem768: Option<String>,
    pub server_nonce: String,
    pub server_x25519: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_x25519mlkem768: Option<String>,
}

impl ResumedInputs {
    /// From a kept ticket: a version, the suite, the key's id, the expiry, the secret, and the ticket with its length.
    pub fn derive(name: &str, prologue: &[u8], kept: &[u8], hybrid: bool) -> Self {
        let random = |what: &str| hex::encode(Sha256::digest(format!("{name}/{what}")));
        let join = |parts: &[&str]| hybrid.then(|| parts.iter().map(|part| random(part)).collect::<String>());
        Self {
            prologue: hex::encode(prologue),
            binding_type: String::new(),
            binding_bytes: String::new(),
            server_name: "db.example".to_owned(),
            ticket: hex::encode(&kept[77..]),
            ticket_secret: hex::encode(&kept[43..75]),
            client_nonce: random("client nonce"),
            client_x25519: random("client x25519"),
            client_x25519mlkem768: join(&["client d", "client z", "client x25519 beside ml-kem"]),
            server_nonce: random("server nonce"),
            server_x25519: random("server x25519"),
            server_x25519mlkem768: join(&["server m", "server x25519 beside ml-kem"]),
        }
    }
}

/// Every hash and key of a resumption, in hex.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResumedSecrets {
    pub transcript_b: String,
    pub binder: String,
    pub transcript_3: String,
    pub transcript_4: String,
    pub exchange_secret: String,
    pub stage_0: String,
    pub stage_1: String,
    pub master: String,
    pub verdict_key: String,
    pub next_ticket_secret: String,
    pub client_traffic: String,
    pub server_traffic: String,
    pub exporter: String,
    pub session_id: String,
}

/// Computes a resumption from its inputs and frames, checks what can be checked, and gives the verdict's front as well.
pub fn resumed(inputs: &ResumedInputs, suite: &str, frames: &[String]) -> (ResumedSecrets, String) {
    let (hello, answer) = (unhex(&frames[0]), unhex(&frames[1]));
    let mut seed = Vec::new();
    for part in [&b"countersign v1"[..], &unhex(&inputs.prologue), inputs.binding_type.as_bytes(), b""] {
        seed.extend_from_slice(&lp(part));
    }
    let hash = |parts: &[&[u8]]| Sha256::digest([&[&seed[..]], parts].concat().concat()).to_vec();
    let stage = |salt: &[u8], ikm: &[u8]| Hkdf::<Sha256>::extract(Some(salt), ikm).0.to_vec();
    let (covered, binder_field) = hello.split_at(hello.len() - 34);
    let transcript_b = hash(&[covered]);
    let stage_0 = stage(&[0; 32], &unhex(&inputs.ticket_secret));
    let binder = expand(&stage_0, "binder", &transcript_b, 32);
    assert_eq!(binder_field, lp(&binder));
    let (front, sealed) = answer.split_at(answer.len() - 1552);
    let (transcript_3, transcript_4) = (hash(&[&hello, front]), hash(&[&hello, &answer]));
    let exchange_secret = match &suite[..2] {
        "01" => vec![0; 32],
        "02" => x25519(&inputs.client_x25519, &inputs.server_x25519),
        _ => {
            let (client, server) = (&inputs.client_x25519mlkem768, &inputs.server_x25519mlkem768);
            x25519mlkem768(client.as_ref().unwrap(), server.as_ref().unwrap(), &[hello.clone(), answer.clone()])
        }
    };
    let stage_1 = stage(&stage_0, &[0; 32]);
    let master = stage(&stage_1, &exchange_secret);
    let verdict_key = hex::encode(expand(&master, "verdict", &transcript_3, 32));
    let verdict = open(suite, &verdict_key, &[0; 12], b"", sealed).expect("the verdict opens");
    assert_eq!((verdict.len(), verdict[0]), (1536, 1));
    let front = verdict.len() - verdict.iter().rev().take_while(|&&byte| byte == 0).count();
    let key = |label: &str, hash: &[u8], length| hex::encode(expand(&master, label, hash, length));
    let secrets = ResumedSecrets {
        next_ticket_secret: key("resumption", &transcript_3, 32),
        client_traffic: key("client traffic", &transcript_4, 32),
        server_traffic: key("server traffic", &transcript_4, 32),
        exporter: key("exporter", &transcript_4, 32),
        session_id: key("session id", &transcript_4, 16),
        transcript_b: hex::encode(transcript_b),
        binder: hex::encode(binder),
        transcript_3: hex::encode(transcript_3),
        transcript_4: hex::encode(transcript_4),
        exchange_secret: hex::encode(exchange_secret),
        stage_0: hex::encode(stage_0),
        stage_1: hex::encode(stage_1),
        master: hex::encode(master),
        verdict_key,
    };
    (secrets, hex::encode(&verdict[..front]))
}

/// Checks that a direction's first record is the Data frame `whoami\n`.
pub fn check_first_record(suite: &str, traffic: &str, record: &str) {
    let (traffic, frame) = (unhex(traffic), unhex(record));
    let key = hex::encode(expand(&traffic, "key", b"", 32));
    let iv: [u8; 12] = expand(&traffic, "iv", b"", 12).try_into().unwrap();
    assert_eq!(open(suite, &key, &iv, &frame[..3], &frame[3..]).as_deref(), Some(&b"whoami\n"[..]));
}

fn open(suite: &str, key: &str, nonce: &[u8; 12], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (key, payload): ([u8; 32], _) = (unhex(key).try_into().unwrap(), Payload { msg: sealed, aad });
    match &suite[2..] {
        "01" => aes_gcm::Aes256Gcm::new(&key.into()).decrypt(&(*nonce).into(), payload).ok(),
        _ => chacha20poly1305::ChaCha20Poly1305::new(&key.into()).decrypt(&(*nonce).into(), payload).ok(),
    }
}

fn seal(suite: &str, key: &str, plaintext: &[u8]) -> Vec<u8> {
    let key: [u8; 32] = unhex(key).try_into().unwrap();
    match &suite[2..] {
        "01" => aes_gcm::Aes256Gcm::new(&key.into()).encrypt(&[0; 12].into(), plaintext).unwrap(),
        _ => chacha20poly1305::ChaCha20Poly1305::new(&key.into()).encrypt(&[0; 12].into(), plaintext).unwrap(),
    }
}

trait Size {
    fn size_in_bytes(&self) -> usize;
}

impl Size for RsaPrivateKey {
    fn size_in_bytes(&self) -> usize {
        rsa::traits::PublicKeyParts::size(self)
    }
}
