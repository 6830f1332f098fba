//! PROTOCOL.md a second time, by hand: what the messages look like, and what is sealed under which key. Nothing here
//! uses the library, so that a test can make what the library never would, and disagree with it.

use super::frame;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use hkdf::Hkdf;
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey};
use rsa::rand_core::CryptoRng;
use rsa::traits::PublicKeyParts;
use rsa::{Oaep, PrivateKey, PublicKey};
use sha2::{Digest, Sha256};

/// The rest of a message, from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|pair| u16::from(pair[0]) << 8 | u16::from(pair[1]))
    }

    fn u64(&mut self) -> Option<u64> {
        let bytes = self.take(8)?;
        Some(bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn array(&mut self) -> Option<[u8; 32]> {
        self.take(32)?.try_into().ok()
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = self.u16()?;
        self.take(usize::from(length)).map(<[u8]>::to_vec)
    }

    fn text(&mut self) -> Option<Vec<u8>> {
        self.bytes().filter(|bytes| std::str::from_utf8(bytes).is_ok())
    }

    fn list<T>(&mut self, max: u8, mut entry: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.u8().filter(|&count| count <= max)?;
        (0..count).map(|_| entry(self)).collect()
    }

    fn context(&mut self) -> Option<[u8; 8]> {
        self.take(8)?.try_into().ok()
    }

    fn extensions(&mut self) -> Option<Extensions> {
        self.list(16, |reader| Some((reader.u16()?, reader.bytes()?)))
    }

    /// The value, if nothing is left over.
    fn end<T>(&self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u16::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend_from_slice(bytes);
}

fn list<T>(out: &mut Vec<u8>, entries: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(u8::try_from(entries.len()).unwrap());
    entries.iter().for_each(|entry| write(out, entry));
}

fn numbers(out: &mut Vec<u8>, numbers: &[u16]) {
    list(out, numbers, |out, number| out.extend_from_slice(&number.to_be_bytes()));
}

fn extensions(out: &mut Vec<u8>, extensions: &Extensions) {
    list(out, extensions, |out, (number, data)| {
        out.extend_from_slice(&number.to_be_bytes());
        bytes(out, data);
    });
}

/// A message without the library's bounds: it can be written whatever is in it.
pub trait Message: Sized {
    fn decode(body: &[u8]) -> Option<Self>;
    fn encode(&self) -> Vec<u8>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    pub versions: Vec<u16>,
    pub suites: Vec<u16>,
    pub nonce: [u8; 32],
    pub key_shares: Vec<(u8, Vec<u8>)>,
    pub server_name: Vec<u8>,
    pub known_keys: Vec<[u8; 32]>,
    pub context: [u8; 8],
    pub ticket: Vec<u8>,
    pub extensions: Extensions,
    pub rsa_ciphertext: Vec<u8>,
    pub binder: Vec<u8>,
}

/// Each a number and what it says.
pub type Extensions = Vec<(u16, Vec<u8>)>;

impl Message for ClientHello {
    fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let message = Self {
            versions: reader.list(8, Reader::u16)?,
            suites: reader.list(16, Reader::u16)?,
            nonce: reader.array()?,
            key_shares: reader.list(4, |reader| Some((reader.u8()?, reader.bytes()?)))?,
            server_name: reader.text()?,
            known_keys: reader.list(8, Reader::array)?,
            context: reader.context()?,
            ticket: reader.bytes()?,
            extensions: reader.extensions()?,
            rsa_ciphertext: reader.bytes()?,
            binder: reader.bytes()?,
        };
        reader.end(message)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        numbers(&mut out, &self.versions);
        numbers(&mut out, &self.suites);
        out.extend_from_slice(&self.nonce);
        list(&mut out, &self.key_shares, |out, (exchange, share)| {
            out.push(*exchange);
            bytes(out, share);
        });
        bytes(&mut out, &self.server_name);
        list(&mut out, &self.known_keys, |out, id| out.extend_from_slice(id));
        out.extend_from_slice(&self.context);
        bytes(&mut out, &self.ticket);
        extensions(&mut out, &self.extensions);
        bytes(&mut out, &self.rsa_ciphertext);
        bytes(&mut out, &self.binder);
        out
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHello {
    pub version: u16,
    pub suite: u16,
    pub nonce: [u8; 32],
    pub key_id: [u8; 32],
    pub spki: Vec<u8>,
    pub key_share: Vec<u8>,
    pub credential_kinds: Vec<u8>,
    pub context: [u8; 8],
    pub extensions: Extensions,
    pub proof: Vec<u8>,
}

impl Message for ServerHello {
    fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let message = Self {
            version: reader.u16()?,
            suite: reader.u16()?,
            nonce: reader.array()?,
            key_id: reader.array()?,
            spki: reader.bytes()?,
            key_share: reader.bytes()?,
            credential_kinds: reader.list(8, Reader::u8)?,
            context: reader.context()?,
            extensions: reader.extensions()?,
            proof: reader.bytes()?,
        };
        reader.end(message)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = [self.version.to_be_bytes(), self.suite.to_be_bytes()].concat();
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.key_id);
        bytes(&mut out, &self.spki);
        bytes(&mut out, &self.key_share);
        list(&mut out, &self.credential_kinds, |out, kind| out.push(*kind));
        out.extend_from_slice(&self.context);
        extensions(&mut out, &self.extensions);
        bytes(&mut out, &self.proof);
        out
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLogin {
    pub rsa_ciphertext: Vec<u8>,
    pub sealed_credential: Vec<u8>,
}

impl Message for ClientLogin {
    fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let message = Self { rsa_ciphertext: reader.bytes()?, sealed_credential: reader.bytes()? };
        reader.end(message)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        bytes(&mut out, &self.rsa_ciphertext);
        bytes(&mut out, &self.sealed_credential);
        out
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub kind: u8,
    pub user: Vec<u8>,
    pub secret: Vec<u8>,
}

impl Message for Credential {
    fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let message = Self { kind: reader.u8()?, user: reader.text()?, secret: reader.bytes()? };
        reader.end(message)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.kind];
        bytes(&mut out, &self.user);
        bytes(&mut out, &self.secret);
        out
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerVerdict(pub Vec<u8>);

impl Message for ServerVerdict {
    fn decode(body: &[u8]) -> Option<Self> {
        (body.len() == 2064).then(|| Self(body.to_vec()))
    }

    fn encode(&self) -> Vec<u8> {
        self.0.clone()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub decision: u8,
    pub principal: Vec<u8>,
    pub permissions: Vec<Vec<u8>>,
    pub ticket: Vec<u8>,
    pub ticket_lifetime: u64,
    pub extensions: Extensions,
}

impl Message for Verdict {
    fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let message = Self {
            decision: reader.u8()?,
            principal: reader.text()?,
            permissions: reader.list(32, Reader::text)?,
            ticket: reader.bytes()?,
            ticket_lifetime: reader.u64()?,
            extensions: reader.extensions()?,
        };
        reader.end(message)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.decision];
        bytes(&mut out, &self.principal);
        list(&mut out, &self.permissions, |out, permission| bytes(out, permission));
        bytes(&mut out, &self.ticket);
        out.extend_from_slice(&self.ticket_lifetime.to_be_bytes());
        extensions(&mut out, &self.extensions);
        out
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactorRequest {
    pub form: u8,
    pub prompt: Vec<u8>,
}

impl Message for FactorRequest {
    fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let message = Self { form: reader.u8()?, prompt: reader.text()? };
        reader.end(message)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.form];
        bytes(&mut out, &self.prompt);
        out
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factor {
    pub answer: Vec<u8>,
}

impl Message for Factor {
    fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let message = Self { answer: reader.bytes()? };
        reader.end(message)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        bytes(&mut out, &self.answer);
        out
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerResumption {
    pub version: u16,
    pub suite: u16,
    pub nonce: [u8; 32],
    pub key_share: Vec<u8>,
    pub extensions: Extensions,
    pub sealed_verdict: Vec<u8>,
}

impl Message for ServerResumption {
    fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let message = Self {
            version: reader.u16()?,
            suite: reader.u16()?,
            nonce: reader.array()?,
            key_share: reader.bytes()?,
            extensions: reader.extensions()?,
            sealed_verdict: reader.take(2064)?.to_vec(),
        };
        reader.end(message)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = [self.version.to_be_bytes(), self.suite.to_be_bytes()].concat();
        out.extend_from_slice(&self.nonce);
        bytes(&mut out, &self.key_share);
        extensions(&mut out, &self.extensions);
        out.extend_from_slice(&self.sealed_verdict);
        out
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    pub retry_after: u16,
    pub extensions: Extensions,
}

impl Message for Busy {
    fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let message = Self { retry_after: reader.u16()?, extensions: reader.extensions()? };
        reader.end(message)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = self.retry_after.to_be_bytes().to_vec();
        extensions(&mut out, &self.extensions);
        out
    }
}

/// `frame` with its message changed.
pub fn edit<M: Message>(frame_: &[u8], change: impl FnOnce(&mut M)) -> Vec<u8> {
    let mut message = M::decode(&frame_[3..]).expect("a genuine frame");
    change(&mut message);
    frame(frame_[0], &message.encode())
}

/// The bytes and then zeros up to a multiple of `block`.
pub fn padded(mut bytes: Vec<u8>, block: usize) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(block), 0);
    bytes
}

pub fn lp(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// `SHA-256(seed || frame || ...)`, without a prologue and a channel binding.
pub fn transcript(frames: &[&[u8]]) -> [u8; 32] {
    let seed = [lp(b"countersign v1"), lp(b""), lp(b""), lp(b"")].concat();
    Sha256::digest([&seed, &frames.concat()[..]].concat()).into()
}

pub fn master(rsa_secret: &[u8], exchange_secret: &[u8; 32]) -> [u8; 32] {
    let extract = |salt: &[u8], ikm: &[u8]| -> [u8; 32] { Hkdf::<Sha256>::extract(Some(salt), ikm).0.into() };
    extract(&extract(&extract(&[0; 32], &[0; 32]), rsa_secret), exchange_secret)
}

pub fn expand(prk: &[u8], label: &str, context: &[u8], length: u16) -> Vec<u8> {
    let info = [&length.to_be_bytes()[..], b"countersign v1 ", label.as_bytes(), &[0], context].concat();
    let mut out = vec![0; usize::from(length)];
    Hkdf::<Sha256>::from_prk(prk).unwrap().expand(&info, &mut out).unwrap();
    out
}

/// `suite` is the number of a suite; its low byte is the AEAD.
pub fn seal(suite: u16, key: &[u8], nonce: &[u8; 12], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let payload = Payload { msg: plaintext, aad };
    let sealed = match suite & 0xff {
        1 => aes_gcm::Aes256Gcm::new_from_slice(key).unwrap().encrypt(nonce.into(), payload),
        _ => chacha20poly1305::ChaCha20Poly1305::new_from_slice(key).unwrap().encrypt(nonce.into(), payload),
    };
    sealed.unwrap()
}

/// What was sealed, if this is the key.
pub fn open(suite: u16, key: &[u8], nonce: &[u8; 12], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let payload = Payload { msg: sealed, aad };
    match suite & 0xff {
        1 => aes_gcm::Aes256Gcm::new_from_slice(key).unwrap().decrypt(nonce.into(), payload),
        _ => chacha20poly1305::ChaCha20Poly1305::new_from_slice(key).unwrap().decrypt(nonce.into(), payload),
    }
    .ok()
}

/// A ClientLogin with anything in it, under a suite of RSA alone: a client that knows the protocol and keeps to none of
/// its rules.
pub struct Forger<'a> {
    pub hello: &'a [u8],
    pub challenge: &'a [u8],
    pub rsa_secret: [u8; 32],
}

impl<'a> Forger<'a> {
    pub fn new(hello: &'a [u8], challenge: &'a [u8]) -> Self {
        Self { hello, challenge, rsa_secret: [7; 32] }
    }

    fn server_hello(&self) -> ServerHello {
        ServerHello::decode(&self.challenge[3..]).unwrap()
    }

    /// `rsa_secret || transcript_2`: what a proper client encrypts.
    pub fn bound_secret(&self) -> Vec<u8> {
        [self.rsa_secret, transcript(&[self.hello, self.challenge])].concat()
    }

    pub fn encrypt(&self, plaintext: &[u8], padding: Oaep<Sha256>, rng: &mut impl CryptoRng) -> Vec<u8> {
        let key = PublicKey::from_public_key_der(&self.server_hello().spki).unwrap();
        key.encrypt(rng, padding, plaintext).unwrap()
    }

    /// The frame with this ciphertext and this plaintext sealed under the key that belongs to it.
    pub fn login(&self, rsa_ciphertext: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let sealed = plaintext.len() + 16;
        let body = u16::try_from(4 + rsa_ciphertext.len() + sealed).unwrap();
        let mut frame = [&[3][..], &body.to_be_bytes(), &lp(rsa_ciphertext)].concat();
        let context = transcript(&[self.hello, self.challenge, &frame]);
        let key = expand(&master(&self.rsa_secret, &[0; 32]), "credential", &context, 32);
        let sealed = seal(self.server_hello().suite, &key, &[0; 12], b"", plaintext);
        frame.extend_from_slice(&lp(&sealed));
        frame
    }

    /// A proper login with an improper credential.
    pub fn login_with(&self, plaintext: &[u8], rng: &mut impl CryptoRng) -> Vec<u8> {
        self.login(&self.encrypt(&self.bound_secret(), Oaep::new(), rng), plaintext)
    }
}

/// A ClientHello with something else sealed in it, to the owner of a key; it is told `transcript_h`.
pub fn reseal(
    hello: &[u8],
    spki: &[u8],
    rng: &mut impl CryptoRng,
    plaintext: impl FnOnce([u8; 32]) -> Vec<u8>,
) -> Vec<u8> {
    let key = PublicKey::from_public_key_der(spki).unwrap();
    let mut size = 0;
    let room = edit(hello, |hello: &mut ClientHello| {
        hello.rsa_ciphertext = vec![0; key.size()];
        size = key.size() + 2 + 2 + hello.binder.len();
    });
    let bound_to = transcript(&[&room[..room.len() - size]]);
    let ciphertext = key.encrypt(rng, Oaep::<Sha256>::new(), &plaintext(bound_to)).unwrap();
    edit(&room, |hello: &mut ClientHello| hello.rsa_ciphertext = ciphertext)
}

/// A ServerHello with the proof that belongs to it, under a suite of RSA alone, by somebody who knows the secret that the
/// ClientHello brought.
pub fn prove(rsa_secret: &[u8], hello: &[u8], challenge: &[u8]) -> Vec<u8> {
    let room = edit(challenge, |hello: &mut ServerHello| hello.proof = vec![0; 32]);
    let bound_to = transcript(&[hello, &room[..room.len() - 34]]);
    let proof = expand(&master(rsa_secret, &[0; 32]), "proof", &bound_to, 32);
    edit(&room, |hello: &mut ServerHello| hello.proof = proof)
}

/// The secret that a ClientHello brought, for the owner of the key in `pem`.
pub fn hello_secret(pem: &str, hello: &[u8]) -> Vec<u8> {
    let ciphertext = ClientHello::decode(&hello[3..]).unwrap().rsa_ciphertext;
    let sealed = PrivateKey::from_pkcs8_pem(pem).unwrap().decrypt(Oaep::<Sha256>::new(), &ciphertext).unwrap();
    sealed[..32].to_vec()
}

/// A ServerVerdict with anything in it, under a suite of RSA alone, by the owner of the key in `pem`.
pub fn verdict(pem: &str, frames @ [_, challenge, login]: [&[u8]; 3], plaintext: &[u8]) -> Vec<u8> {
    let ciphertext = ClientLogin::decode(&login[3..]).unwrap().rsa_ciphertext;
    if ciphertext.is_empty() {
        return verdict_after(pem, frames, plaintext);
    }
    let key = PrivateKey::from_pkcs8_pem(pem).unwrap();
    verdict_under(&key.decrypt(Oaep::<Sha256>::new(), &ciphertext).unwrap()[..32], challenge, frames, plaintext)
}

/// The same after a proof, where the secret came with the ClientHello, whatever came in the place of the login.
pub fn verdict_after(pem: &str, frames @ [hello, challenge, _]: [&[u8]; 3], plaintext: &[u8]) -> Vec<u8> {
    verdict_under(&hello_secret(pem, hello), challenge, frames, plaintext)
}

fn verdict_under(secret: &[u8], challenge: &[u8], frames: [&[u8]; 3], plaintext: &[u8]) -> Vec<u8> {
    let suite = ServerHello::decode(&challenge[3..]).unwrap().suite;
    let key = expand(&master(secret, &[0; 32]), "verdict", &transcript(&frames), 32);
    frame(4, &seal(suite, &key, &[0; 12], b"", plaintext))
}

/// A frame of the handshake with anything sealed in it, under a suite of RSA alone, by somebody who knows the secret that the
/// client sealed: after these frames.
pub fn sealed_after(rsa_secret: &[u8], frames: &[&[u8]], (kind, label): (u8, &str), plaintext: &[u8]) -> Vec<u8> {
    let suite = ServerHello::decode(&frames[1][3..]).unwrap().suite;
    let key = expand(&master(rsa_secret, &[0; 32]), label, &transcript(frames), 32);
    frame(kind, &seal(suite, &key, &[0; 12], b"", plaintext))
}

/// A ServerResumption with anything in its verdict, in answer to a hello with this ticket, under a suite of RSA alone.
pub fn resumption(ticket: &countersign::Ticket, hello: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let (suite, secret) = (ticket.suite().number().to_be_bytes(), ticket_secret(ticket));
    let extract = |salt: &[u8], ikm: &[u8]| Hkdf::<Sha256>::extract(Some(salt), ikm).0.to_vec();
    let master = [&[0; 32], &[0; 32]].iter().fold(extract(&[0; 32], &secret), |salt, ikm| extract(&salt, *ikm));
    let body = [&[0, 1][..], &suite, &[0; 32], &[0, 0], &[0]].concat();
    let length = u16::try_from(body.len() + plaintext.len() + 16).unwrap();
    let mut frame = [&[8][..], &length.to_be_bytes(), &body].concat();
    let key = expand(&master, "verdict", &transcript(&[hello, &frame]), 32);
    frame.extend_from_slice(&seal(u16::from_be_bytes(suite), &key, &[0; 12], b"", plaintext));
    frame
}

/// A ClientHello with the binder that belongs to it, by somebody who holds the secret of the ticket in it.
pub fn bind(ticket: &countersign::Ticket, hello: &[u8]) -> Vec<u8> {
    let stage_0 = Hkdf::<Sha256>::extract(Some(&[0; 32][..]), &ticket_secret(ticket)).0;
    let bound_to = transcript(&[&hello[..hello.len() - 34]]);
    let binder = expand(&stage_0, "binder", &bound_to, 32);
    edit(hello, |hello: &mut ClientHello| hello.binder = binder)
}

/// How a ticket is kept: a version, the suite, the key's id, server name and user, three times of eight bytes, the secret, and then
/// the ticket itself.
pub fn ticket_secret(ticket: &countersign::Ticket) -> Vec<u8> {
    let kept = ticket.to_bytes().unwrap();
    let front = 1 + 2 + 32 + 2 + ticket.server_name().len() + 2 + ticket.user().len() + 3 * 8;
    kept[front..front + 32].to_vec()
}
