//! PROTOCOL.md computed a second time, from the primitives' crates alone: nothing of the library is used here.
//!
//! An [`End`] makes the frames of its side from the inputs and reads those of the other, and notes every hash and key on the way by
//! its name in the document.

use super::inputs::Inputs;
use super::plaintexts::{ACCEPT, VERDICT, has_ticket, padded_verdict, verdict_size};
use super::primitives::{decrypt, encrypt, expand, extract, key_id, lp, modulus_size, open, seal, unhex};
use serde::ser::{Serialize, SerializeMap, Serializer};
use sha2::{Digest, Sha256};

const SEALED_VERDICT: usize = VERDICT + 16;

/// What is computed for each further factor, and for the verdict after it; first, for the one after the login.
const FACTORS: [[&str; 4]; 5] = [
    ["", "", "transcript_3", "verdict_key"],
    ["transcript_f_1", "factor_key_1", "transcript_3_1", "verdict_key_1"],
    ["transcript_f_2", "factor_key_2", "transcript_3_2", "verdict_key_2"],
    ["transcript_f_3", "factor_key_3", "transcript_3_3", "verdict_key_3"],
    ["transcript_f_4", "factor_key_4", "transcript_3_4", "verdict_key_4"],
];

/// Every hash and key by its name in PROTOCOL.md, in hex, in the order in which they come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Secrets(pub Vec<(&'static str, String)>);

impl Secrets {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(noted, _)| *noted == name).map(|(_, hex)| hex.as_str())
    }
}

impl Serialize for Secrets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, hex) in &self.0 {
            map.serialize_entry(name, hex)?;
        }
        map.end()
    }
}

/// One end of a handshake.
pub struct End<'i> {
    inputs: &'i Inputs,
    suite: &'i str,
    context: [u8; 8],
    transcript: Sha256,
    pub secrets: Secrets,
    /// Of the ClientHello: the RSA ciphertext in it, and what it is bound to.
    ciphertext: Vec<u8>,
    bound_to: Vec<u8>,
    /// What the ciphertext in the ClientHello carries, as far as this end knows.
    hello_secret: Option<Vec<u8>>,
    master: Vec<u8>,
    pub is_proved: bool,
    transcript_3: Vec<u8>,
    verdict_key: Vec<u8>,
    factor_key: Vec<u8>,
    /// How many further factors were asked for.
    factor: usize,
}

impl<'i> End<'i> {
    pub fn client(inputs: &'i Inputs, suite: &'i str) -> Self {
        Self::new(inputs, suite, &inputs.prologue, &inputs.binding_type, &inputs.binding_bytes)
    }

    pub fn server(inputs: &'i Inputs, suite: &'i str) -> Self {
        let prologue = inputs.server_prologue.as_ref().unwrap_or(&inputs.prologue);
        let kind = inputs.server_binding_type.as_ref().unwrap_or(&inputs.binding_type);
        let bytes = inputs.server_binding_bytes.as_ref().unwrap_or(&inputs.binding_bytes);
        Self::new(inputs, suite, prologue, kind, bytes)
    }

    fn new(inputs: &'i Inputs, suite: &'i str, prologue: &str, kind: &str, bytes: &str) -> Self {
        let (prologue, kind, bytes) = (lp(&unhex(prologue)), lp(kind.as_bytes()), lp(&unhex(bytes)));
        let half = |label: &[u8], rest: &[&[u8]]| Sha256::digest([&lp(label), &rest.concat()[..]].concat());
        let mut context = [0; 8];
        context[..4].copy_from_slice(&half(b"countersign v1 prologue", &[&prologue])[..4]);
        context[4..].copy_from_slice(&half(b"countersign v1 binding", &[&kind, &bytes])[..4]);
        let transcript = Sha256::new_with_prefix([lp(b"countersign v1"), prologue, kind, bytes].concat());
        Self {
            inputs,
            suite,
            context,
            transcript,
            secrets: Secrets::default(),
            ciphertext: Vec::new(),
            bound_to: Vec::new(),
            hello_secret: None,
            master: Vec::new(),
            is_proved: false,
            transcript_3: Vec::new(),
            verdict_key: Vec::new(),
            factor_key: Vec::new(),
            factor: 0,
        }
    }

    fn note(&mut self, name: &'static str, bytes: &[u8]) {
        self.secrets.0.push((name, hex::encode(bytes)));
    }

    fn hash(&self) -> Vec<u8> {
        self.transcript.clone().finalize().to_vec()
    }

    fn note_hash(&mut self, name: &'static str) -> Vec<u8> {
        let hash = self.hash();
        self.note(name, &hash);
        hash
    }

    /// A key of this name, expanded from the master secret.
    fn key(&mut self, name: &'static str, label: &str, hash: &[u8], length: usize) -> Vec<u8> {
        let key = expand(&self.master, label, hash, length);
        self.note(name, &key);
        key
    }

    fn schedule(&mut self, ticket_secret: &[u8], rsa_secret: &[u8]) {
        let exchange_secret = self.inputs.exchange_secret(self.suite);
        let stage_0 = extract(&[0; 32], ticket_secret);
        let stage_1 = extract(&stage_0, rsa_secret);
        self.master = extract(&stage_1, &exchange_secret);
        self.note("exchange_secret", &exchange_secret);
        self.note("stage_0", &stage_0);
        self.note("stage_1", &stage_1);
        self.note("master", &self.master.clone());
    }

    /// The ClientHello.
    pub fn hello(&mut self) -> Vec<u8> {
        let inputs = self.inputs;
        let mut body = vec![1, 0, 1];
        body.push(u8::try_from(inputs.client_suites.len()).unwrap());
        inputs.client_suites.iter().for_each(|suite| body.extend(unhex(suite)));
        body.extend(unhex(&inputs.client_nonce));
        let shares = inputs.client_shares();
        body.push(u8::try_from(shares.len()).unwrap());
        for (exchange, share) in shares {
            body.push(exchange);
            body.extend(lp(&share));
        }
        body.extend(lp(inputs.server_name.as_bytes()));
        body.push(u8::try_from(inputs.known_keys.len()).unwrap());
        inputs.known_keys.iter().for_each(|spki| body.extend(key_id(&unhex(spki))));
        body.extend(self.context);
        body.extend(lp(&inputs.ticket.as_deref().map(unhex).unwrap_or_default()));
        let mut extensions = reserved(&inputs.client_nonce);
        if inputs.factor_answers.is_some() {
            extensions[0] += 1;
            extensions.extend([0, 5, 0, 0]);
        }
        body.extend(extensions);

        let sealed_to = inputs.hello_rsa_secret.as_ref().map(|_| unhex(&inputs.known_keys[0]));
        let size = sealed_to.as_ref().map_or(0, |spki| modulus_size(spki));
        let binder = if inputs.ticket.is_some() { 32 } else { 0 };
        let length = u16::try_from(body.len() + 2 + size + 2 + binder).unwrap();
        let mut frame = [&[1][..], &length.to_be_bytes(), &body].concat();
        let front = frame.len();
        self.transcript.update(&frame);
        let ciphertext = sealed_to.map_or(Vec::new(), |spki| {
            let secret = unhex(inputs.hello_rsa_secret.as_ref().unwrap());
            let bound_to = self.note_hash("transcript_h");
            let ciphertext =
                encrypt(&spki, &[&secret[..], &bound_to].concat(), inputs.hello_oaep_seed.as_ref().unwrap());
            self.hello_secret = Some(secret);
            ciphertext
        });
        frame.extend(lp(&ciphertext));
        self.transcript.update(&frame[front..]);
        let front = frame.len();
        let binder = self.binder();
        frame.extend(lp(&binder));
        self.transcript.update(&frame[front..]);
        frame
    }

    /// Of everything so far, if there is a ticket.
    fn binder(&mut self) -> Vec<u8> {
        let Some(secret) = &self.inputs.ticket_secret else { return Vec::new() };
        let stage_0 = extract(&[0; 32], &unhex(secret));
        let transcript_b = self.note_hash("transcript_b");
        let binder = expand(&stage_0, "binder", &transcript_b, 32);
        self.note("binder", &binder);
        binder
    }

    /// The server reads a ClientHello that is to be answered.
    pub fn read_hello(&mut self, frame: &[u8]) {
        let binder = if self.inputs.ticket.is_some() { 34 } else { 2 };
        let size = match self.inputs.hello_rsa_secret {
            Some(_) => modulus_size(&unhex(&self.inputs.known_keys[0])),
            None => 0,
        };
        let (rest, binder) = frame.split_at(frame.len() - binder);
        let (front, ciphertext) = rest.split_at(rest.len() - size - 2);
        self.transcript.update(front);
        if size > 0 {
            self.bound_to = self.note_hash("transcript_h");
        }
        self.transcript.update(ciphertext);
        ciphertext[2..].clone_into(&mut self.ciphertext);
        let is_ours = lp(&self.binder()) == binder;
        assert_eq!(is_ours, self.inputs.server_prologue.is_none() || self.inputs.ticket.is_none());
        self.transcript.update(binder);
    }

    /// The server does its RSA operation on the ClientHello.
    pub fn open_hello(&mut self) {
        self.hello_secret = Some(self.decrypted(&self.ciphertext, &self.bound_to));
    }

    /// What a ciphertext carries, or the fallback.
    fn decrypted(&self, ciphertext: &[u8], bound_to: &[u8]) -> Vec<u8> {
        match decrypt(&self.inputs.server_key_pkcs8, ciphertext) {
            Some(plaintext) if plaintext.len() == 64 && plaintext[32..] == *bound_to => plaintext[..32].to_vec(),
            _ => unhex(&self.inputs.fallback),
        }
    }

    /// The ServerHello, with a proof if the server has opened the ClientHello.
    pub fn challenge(&mut self) -> Vec<u8> {
        let inputs = self.inputs;
        let spki = unhex(&inputs.server_key_spki);
        let is_known = inputs.known_keys.contains(&inputs.server_key_spki);
        let mut body = [&[0, 1][..], &unhex(self.suite), &unhex(&inputs.server_nonce), &key_id(&spki)].concat();
        body.extend(lp(if is_known { &[] } else { &spki }));
        body.extend(lp(&inputs.server_share(self.suite)));
        body.push(u8::try_from(inputs.server_kinds.len()).unwrap());
        body.extend(&inputs.server_kinds);
        body.extend(self.context);
        let mut extensions = reserved(&inputs.server_nonce);
        if let Some(announced) = inputs.announced() {
            extensions[0] += 1;
            extensions.extend([0, 4]);
            extensions.extend(lp(&announced));
        }
        body.extend(extensions);
        let proof = if self.hello_secret.is_some() { 32 } else { 0 };
        let length = u16::try_from(body.len() + 2 + proof).unwrap();
        let mut frame = [&[2][..], &length.to_be_bytes(), &body].concat();
        self.transcript.update(&frame);
        let front = frame.len();
        let proof = if proof > 0 { self.proof() } else { Vec::new() };
        frame.extend(lp(&proof));
        self.transcript.update(&frame[front..]);
        self.note_hash("transcript_2");
        frame
    }

    fn proof(&mut self) -> Vec<u8> {
        self.is_proved = true;
        let transcript_p = self.note_hash("transcript_p");
        self.schedule(&[0; 32], &self.hello_secret.clone().unwrap());
        self.key("proof", "proof", &transcript_p, 32)
    }

    /// The client reads a ServerHello; false for a wrong proof.
    pub fn read_challenge(&mut self, frame: &[u8]) -> bool {
        let at = proof_at(frame);
        self.transcript.update(&frame[..at]);
        if frame.len() > at + 2 && frame[at + 2..] != self.proof() {
            return false;
        }
        self.transcript.update(&frame[at..]);
        self.note_hash("transcript_2");
        true
    }

    /// The client goes on after a wrong proof, as none may.
    pub fn ignore_proof(&mut self, frame: &[u8]) {
        self.transcript.update(&frame[proof_at(frame)..]);
        self.note_hash("transcript_2");
    }

    /// The ClientLogin that seals so many bytes: these, made from `transcript_r`.
    pub fn login(&mut self, size: usize, plaintext: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let inputs = self.inputs;
        let rsa_secret = unhex(inputs.rsa_secret.as_deref().unwrap_or_default());
        let ciphertext = match self.is_proved {
            true => Vec::new(),
            false => {
                let message = [&rsa_secret[..], &self.hash()].concat();
                encrypt(&unhex(&inputs.server_key_spki), &message, inputs.oaep_seed.as_ref().unwrap())
            }
        };
        let sealed = size + 16;
        let length = u16::try_from(2 + ciphertext.len() + 2 + sealed).unwrap();
        let mut frame = [&[3][..], &length.to_be_bytes(), &lp(&ciphertext)].concat();
        self.transcript.update(&frame);
        let key = self.credential_key(&rsa_secret);
        let front = frame.len();
        let plaintext = plaintext(&self.known("transcript_r"));
        assert_eq!(plaintext.len(), size);
        frame.extend(lp(&seal(self.suite, &key, &plaintext)));
        self.transcript.update(&frame[front..]);
        self.verdict_key();
        frame
    }

    fn credential_key(&mut self, rsa_secret: &[u8]) -> Vec<u8> {
        let transcript_r = self.note_hash("transcript_r");
        if !self.is_proved {
            self.schedule(&[0; 32], rsa_secret);
        }
        self.key("credential_key", "credential", &transcript_r, 32)
    }

    fn verdict_key(&mut self) {
        let [_, _, transcript_3, verdict_key] = FACTORS[self.factor];
        self.transcript_3 = self.note_hash(transcript_3);
        self.verdict_key = self.key(verdict_key, "verdict", &self.transcript_3.clone(), 32);
    }

    /// The verdict, which is in the transcript, asks for a further factor.
    pub fn ask(&mut self) {
        self.factor += 1;
        let [transcript_f, factor_key, _, _] = FACTORS[self.factor];
        let transcript_f = self.note_hash(transcript_f);
        self.factor_key = self.key(factor_key, "factor", &transcript_f, 32);
    }

    /// The ClientFactor that seals these bytes.
    pub fn factor(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let frame = [&[11, 0x02, 0x10][..], &seal(self.suite, &self.factor_key, plaintext)].concat();
        self.transcript.update(&frame);
        self.verdict_key();
        frame
    }

    /// The server reads a ClientFactor.
    pub fn read_factor(&mut self, frame: &[u8]) {
        self.transcript.update(frame);
        self.verdict_key();
    }

    /// The server reads a ClientLogin, and gives the padded credential if it opens.
    pub fn read_login(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let size = if self.is_proved { 0 } else { modulus_size(&unhex(&self.inputs.server_key_spki)) };
        let (front, sealed) = frame.split_at(5 + size);
        let rsa_secret = if self.is_proved { Vec::new() } else { self.decrypted(&front[5..], &self.hash()) };
        self.transcript.update(front);
        let key = self.credential_key(&rsa_secret);
        self.transcript.update(sealed);
        self.verdict_key();
        open(self.suite, &key, &[0; 12], b"", &sealed[2..])
    }

    /// The server reads a ClientLogin that breaks one of L1 to L4.
    pub fn read_malformed_login(&mut self, frame: &[u8]) {
        if !self.is_proved {
            self.schedule(&[0; 32], &unhex(&self.inputs.fallback));
        }
        self.transcript.update(frame);
        self.verdict_key();
    }

    fn known(&self, name: &str) -> Vec<u8> {
        unhex(self.secrets.get(name).unwrap())
    }

    /// The ServerVerdict that seals these bytes and zeros after them.
    pub fn verdict(&mut self, front: &[u8]) -> Vec<u8> {
        let frame = [&[4, 0x08, 0x10][..], &seal(self.suite, &self.verdict_key, &padded_verdict(front))].concat();
        self.transcript.update(&frame);
        self.conclude(front);
        frame
    }

    /// What a sealed verdict opens to, up to the zeros.
    pub fn open_verdict(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut plaintext = open(self.suite, &self.verdict_key, &[0; 12], b"", sealed)?;
        assert_eq!(plaintext.len(), VERDICT);
        let front = verdict_size(&plaintext);
        assert!(plaintext[front..].iter().all(|&byte| byte == 0));
        plaintext.truncate(front);
        Some(plaintext)
    }

    /// The client reads a ServerVerdict.
    pub fn read_verdict(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let front = self.open_verdict(&frame[3..])?;
        self.transcript.update(frame);
        self.conclude(&front);
        Some(front)
    }

    /// The keys of the session, if there is one.
    fn conclude(&mut self, front: &[u8]) {
        if front[0] != ACCEPT {
            return;
        }
        let transcript_3 = self.transcript_3.clone();
        if has_ticket(front) {
            self.key("next_ticket_secret", "resumption", &transcript_3, 32);
        }
        let transcript_4 = self.note_hash("transcript_4");
        let client = self.key("client_traffic", "client traffic", &transcript_4, 32);
        let server = self.key("server_traffic", "server traffic", &transcript_4, 32);
        self.key("exporter", "exporter", &transcript_4, 32);
        self.key("session_id", "session id", &transcript_4, 16);
        self.note("client_key", &expand(&client, "key", b"", 32));
        self.note("client_iv", &expand(&client, "iv", b"", 12));
        self.note("client_traffic_updated", &expand(&client, "update", b"", 32));
        self.note("server_key", &expand(&server, "key", b"", 32));
        self.note("server_iv", &expand(&server, "iv", b"", 12));
    }

    /// Everything of a ServerResumption before its sealed verdict.
    fn resumption_front(&self) -> Vec<u8> {
        let mut body = [&[0, 1][..], &unhex(self.suite), &unhex(&self.inputs.server_nonce)].concat();
        body.extend(lp(&self.inputs.server_share(self.suite)));
        body.extend(reserved(&self.inputs.server_nonce));
        let length = u16::try_from(body.len() + SEALED_VERDICT).unwrap();
        [&[8][..], &length.to_be_bytes(), &body].concat()
    }

    fn resume(&mut self, front: &[u8]) {
        self.transcript.update(front);
        let ticket_secret = unhex(self.inputs.ticket_secret.as_ref().unwrap());
        let rsa_secret = self.hello_secret.clone().unwrap_or_else(|| vec![0; 32]);
        self.schedule(&ticket_secret, &rsa_secret);
        self.verdict_key();
    }

    /// The server takes the ticket: it will seal a verdict next.
    pub fn take_ticket(&mut self) -> Vec<u8> {
        let front = self.resumption_front();
        self.resume(&front);
        front
    }

    /// The ServerResumption's sealed verdict.
    pub fn resumption_verdict(&mut self, front: &[u8]) -> Vec<u8> {
        let sealed = seal(self.suite, &self.verdict_key, &padded_verdict(front));
        self.transcript.update(&sealed);
        self.conclude(front);
        self.note_confirm_key();
        sealed
    }

    /// The client reads a ServerResumption.
    pub fn read_resumption(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let (front, sealed) = frame.split_at(frame.len() - SEALED_VERDICT);
        self.resume(front);
        let verdict = self.open_verdict(sealed)?;
        self.transcript.update(sealed);
        self.conclude(&verdict);
        self.note_confirm_key();
        Some(verdict)
    }

    fn note_confirm_key(&mut self) {
        let transcript_4 = self.known("transcript_4");
        self.key("confirm_key", "confirm", &transcript_4, 32);
    }

    /// The Confirm.
    pub fn confirm(&self) -> Vec<u8> {
        [&[10, 0, 16][..], &seal(self.suite, &self.known("confirm_key"), b"")].concat()
    }

    pub fn is_confirm(&self, frame: &[u8]) -> bool {
        open(self.suite, &self.known("confirm_key"), &[0; 12], b"", &frame[3..]).is_some()
    }

    /// Checks the client's records of an accepted login: Data, KeyUpdate, Data, Close; and the server's: Data, Close.
    pub fn check_records(&self, client: &[String], server: &[String]) {
        let updated = self.known("client_traffic_updated");
        let (key, iv) = (self.known("client_key"), self.known("client_iv"));
        let (next_key, next_iv) = (expand(&updated, "key", b"", 32), expand(&updated, "iv", b"", 12));
        let (server_key, server_iv) = (self.known("server_key"), self.known("server_iv"));
        let expected: [(_, _, u64, _, &[u8]); 6] = [
            (&key, &iv, 0, 5, b"whoami\n"),
            (&key, &iv, 1, 6, b""),
            (&next_key, &next_iv, 0, 5, b"quit\n"),
            (&next_key, &next_iv, 1, 7, b""),
            (&server_key, &server_iv, 0, 5, b"alice\n"),
            (&server_key, &server_iv, 1, 7, b""),
        ];
        assert_eq!(client.len() + server.len(), expected.len());
        for (record, (key, iv, number, kind, plaintext)) in client.iter().chain(server).zip(expected) {
            let frame = unhex(record);
            let mut nonce: [u8; 12] = iv.as_slice().try_into().unwrap();
            for (slot, byte) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
                *slot ^= byte;
            }
            assert_eq!(frame[0], kind);
            assert_eq!(open(self.suite, key, &nonce, &frame[..3], &frame[3..]).as_deref(), Some(plaintext));
        }
    }

    pub fn exported(&self, label: &str, context: &[u8], length: usize) -> String {
        let context = Sha256::digest(context);
        hex::encode(expand(&self.known("exporter"), &format!("export {label}"), &context, length))
    }
}

/// A list with the reserved extension that this library chooses by its nonce, or an empty one.
fn reserved(nonce: &str) -> Vec<u8> {
    match *unhex(nonce).last().unwrap() {
        last if last % 8 == 0 => {
            let byte = last >> 4 << 4 | 0x0a;
            vec![1, byte, byte, 0, 0]
        }
        _ => vec![0],
    }
}

/// Where the field of the proof begins in a ServerHello.
fn proof_at(frame: &[u8]) -> usize {
    let length = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    let mut at = 3 + 2 + 2 + 32 + 32;
    at += 2 + length(at);
    at += 2 + length(at);
    at += 1 + usize::from(frame[at]) + 8;
    let extensions = frame[at];
    at += 1;
    for _ in 0..extensions {
        at += 4 + length(at + 2);
    }
    at
}
