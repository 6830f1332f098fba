//! The attacker's half of the protocol: what can be computed from what is known, and nothing else. Written by hand from PROTOCOL.md
//! over the toy primitives. It keeps to the rules of the game (Dolev and Yao): it opens what was sealed to its own key and nothing
//! else, has its own halves of key exchanges and nobody else's, and the secrets of its own tickets.

use super::ends::kind;
use super::support::wire::{
    ClientHello, ClientLogin, Credential, Message, ServerHello, ServerResumption, Verdict, expand, lp, padded,
};
use super::support::{RSA3072, frame};
use super::world::World;
use countersign::crypto::{Provider, Rsa};
use countersign::frame::FrameType;
use countersign::{Aead, PublicKey, Suite};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};

/// What the attacker draws at random, wherever something random is wanted.
const OWN: [u8; 32] = [0xa7; 32];

/// The attacker's account, at every server.
pub const NAME: &str = "mallory";
pub const PASSWORD: &[u8] = b"mallory's";

/// The attacker's key.
pub fn own_key() -> &'static PublicKey {
    RSA3072.private.public_key()
}

pub struct Attacker<'w> {
    pub world: &'w World,
    pub provider: Provider,
}

/// A credential, as its kind, user and secret.
pub type Known = (u8, Vec<u8>, Vec<u8>);

impl Attacker<'_> {
    /// Every key of servers, and the attacker's own.
    fn keys(&self) -> Vec<PublicKey> {
        let mut keys = vec![own_key().clone()];
        for end in &self.world.ends {
            let key = end.setting.scenario.private_key().public_key();
            if keys.iter().all(|known| known.id() != key.id()) {
                keys.push(key.clone());
            }
        }
        keys
    }

    /// Whose seed the transcripts of all ends begin with; there is no prologue and no binding where the attacker computes anything.
    fn transcript(frames: &[&[u8]]) -> [u8; 32] {
        let seed = [lp(b"countersign v1"), lp(b""), lp(b""), lp(b"")].concat();
        Sha256::digest([&seed, &frames.concat()[..]].concat()).into()
    }

    fn extract(salt: &[u8], ikm: &[u8]) -> [u8; 32] {
        Hkdf::<Sha256>::extract(Some(salt), ikm).0.into()
    }

    /// The secret in a ciphertext, if it is sealed to the attacker's key, or the attacker's own.
    fn rsa_secret(ciphertext: &[u8]) -> Option<[u8; 32]> {
        let secret: [u8; 32] = ciphertext.get(32..64)?.try_into().ok()?;
        let is_to_own_key =
            ciphertext.len() == own_key().size() && ciphertext[1..32] == own_key().id().as_bytes()[..31];
        (is_to_own_key || secret == OWN).then_some(secret)
    }

    fn ticket_secret(&self, ticket: &[u8]) -> Option<[u8; 32]> {
        if ticket.is_empty() {
            return Some([0; 32]);
        }
        let own = self.world.own.iter().find(|own| super::worlds::shown(&own.ticket) == ticket)?;
        super::support::wire::ticket_secret(&own.ticket).try_into().ok()
    }

    /// What the two shares give, if one is the attacker's.
    fn exchange_secret(suite: u16, hello: &ClientHello, share: &[u8]) -> Option<[u8; 32]> {
        if suite >> 8 == 1 {
            return Some([0; 32]);
        }
        let client = &hello.key_shares.iter().find(|(exchange, _)| u16::from(*exchange) == suite >> 8)?.1;
        let is_own = client[..] == OWN || share == OWN;
        is_own.then(|| Sha256::new_with_prefix(client).chain_update(share).finalize().into())
    }

    /// `master` of a handshake, as the end that took and sent these frames has it, and its suite; if the attacker can know it.
    fn master(&self, frames: &[&[u8]]) -> Option<(u16, [u8; 32])> {
        let hello = ClientHello::decode(&frames[0][3..])?;
        let answer = frames.get(1)?;
        let (suite, ticket, rsa, share) = match kind(answer)? {
            FrameType::ServerResumption => {
                let answer = ServerResumption::decode(&answer[3..])?;
                let rsa = if hello.rsa_ciphertext.is_empty() {
                    Some([0; 32])
                } else {
                    Self::rsa_secret(&hello.rsa_ciphertext)
                };
                (answer.suite, self.ticket_secret(&hello.ticket)?, rsa?, answer.key_share)
            }
            _ => {
                let answer = ServerHello::decode(&answer[3..])?;
                let rsa = if answer.proof.is_empty() {
                    Self::rsa_secret(&ClientLogin::decode(&frames.get(2)?[3..])?.rsa_ciphertext)
                } else {
                    Self::rsa_secret(&hello.rsa_ciphertext)
                };
                (answer.suite, [0; 32], rsa?, answer.key_share)
            }
        };
        let exchange = Self::exchange_secret(suite, &hello, &share)?;
        let stage_0 = Self::extract(&[0; 32], &ticket);
        Some((suite, Self::extract(&Self::extract(&stage_0, &rsa), &exchange)))
    }

    /// Whether the attacker can read a session that came of these frames.
    pub fn knows_session(&self, frames: &[&[u8]]) -> bool {
        self.master(frames).is_some()
    }

    fn aead(&self, suite: u16, key: &[u8]) -> Box<dyn countersign::crypto::AeadKey> {
        let aead = Suite::from_number(suite).map_or(Aead::Aes256Gcm, |suite| suite.aead);
        self.provider.cipher(aead).unwrap().key(key.try_into().unwrap()).unwrap()
    }

    fn seal(&self, suite: u16, key: &[u8], mut plaintext: Vec<u8>) -> Vec<u8> {
        let tag = self.aead(suite, key).seal(&[0; 12], b"", &mut plaintext).unwrap();
        [&plaintext[..], &tag].concat()
    }

    fn open(&self, suite: u16, key: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (data, tag) = sealed.split_last_chunk::<16>()?;
        let mut data = data.to_vec();
        self.aead(suite, key).open(&[0; 12], b"", &mut data, tag).ok()?;
        Some(data)
    }

    /// `OAEP(own secret || bound_to)`.
    fn seal_secret(&self, key: &PublicKey, bound_to: [u8; 32]) -> Vec<u8> {
        let message: [u8; 64] = [OWN, bound_to].concat().try_into().unwrap();
        let mut out = vec![0; key.size()];
        let rsa: &dyn Rsa = super::toy::provider().rsa;
        rsa.encrypt(key, &message, &mut super::toy::CountingRng(0), &mut out).unwrap();
        out
    }

    /// Hellos of the attacker's own: to each server name, alone, with a secret for each key, and with each ticket.
    pub fn hellos(&self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let mut names: Vec<&str> = self.world.ends.iter().map(|end| end.setting.scenario.trusted().name()).collect();
        names.extend(self.world.ends.iter().flat_map(|end| end.setting.names.unwrap_or_default()));
        names.sort_unstable();
        names.dedup();
        // Without one any server answers: to that there is nothing that a name could be taken for.
        names.retain(|name| !name.is_empty());
        // As the first client says it: its suites, and what it means by no prologue and no channel.
        let theirs = super::ends::Client::new(&self.world.ends[0].setting).hello;
        let ClientHello { suites, context, .. } = ClientHello::decode(&theirs[3..]).unwrap();
        // The least of them alone.
        let suites = suites[suites.len() - 1..].to_vec();
        for name in names {
            let hello = ClientHello {
                versions: vec![1],
                key_shares: if suites.iter().any(|suite| suite >> 8 == 2) {
                    vec![(2, OWN.to_vec())]
                } else {
                    Vec::new()
                },
                suites: suites.clone(),
                nonce: OWN,
                server_name: name.as_bytes().to_vec(),
                known_keys: Vec::new(),
                context,
                ticket: Vec::new(),
                extensions: Vec::new(),
                rsa_ciphertext: Vec::new(),
                binder: Vec::new(),
            };
            out.push(frame(1, &hello.encode()));
            if self.world.wants_proof {
                for key in self.keys() {
                    let known_keys = vec![*key.id().as_bytes()];
                    let room = ClientHello { known_keys, rsa_ciphertext: vec![0; key.size()], ..hello.clone() };
                    let room = frame(1, &room.encode());
                    let bound_to = Self::transcript(&[&room[..room.len() - key.size() - 4]]);
                    let ciphertext = self.seal_secret(&key, bound_to);
                    out.push(super::support::wire::edit(&room, |hello: &mut ClientHello| {
                        hello.rsa_ciphertext = ciphertext
                    }));
                }
            }
            for own in &self.world.own {
                let ticket = super::worlds::shown(&own.ticket);
                let mut with = ClientHello { ticket, binder: vec![0; 32], ..hello.clone() };
                // Whatever the ticket is for.
                let suite = own.ticket.suite().number();
                if !with.suites.contains(&suite) {
                    with.suites.push(suite);
                }
                out.push(super::support::wire::bind(&own.ticket, &frame(1, &with.encode())));
            }
        }
        out
    }

    /// Answers to a client's hello: under each key, in each suite that was offered and one that was not, with each proof that can be
    /// had.
    pub fn challenges(&self, hello: &[u8]) -> Vec<Vec<u8>> {
        let offer = ClientHello::decode(&hello[3..]).unwrap();
        let all = Suite::ALL.iter().map(|suite| suite.number()).filter(|suite| suite >> 8 < 3);
        let mut out = Vec::new();
        for suite in all {
            for key in self.keys() {
                let is_known = offer.known_keys.contains(key.id().as_bytes());
                let answer = ServerHello {
                    version: 1,
                    suite,
                    nonce: OWN,
                    key_id: *key.id().as_bytes(),
                    spki: if is_known { Vec::new() } else { key.spki_der().to_vec() },
                    key_share: if suite >> 8 == 2 { OWN.to_vec() } else { Vec::new() },
                    credential_kinds: vec![1, 3],
                    context: offer.context,
                    // What nobody knows.
                    extensions: vec![(0x0a0a, Vec::new())],
                    proof: Vec::new(),
                };
                let plain = frame(2, &answer.encode());
                out.push(plain.clone());
                let room = frame(2, &ServerHello { proof: vec![0; 32], ..answer.clone() }.encode());
                out.push(room.clone());
                if let Some((_, master)) = self.master(&[hello, &room]) {
                    let proof = expand(&master, "proof", &Self::transcript(&[hello, &room[..room.len() - 34]]), 32);
                    out.push(frame(2, &ServerHello { proof, ..answer.clone() }.encode()));
                }
                // A key that says that it is another.
                for other in self.keys().iter().filter(|other| other.id() != key.id()) {
                    let spki = key.spki_der().to_vec();
                    let answer = ServerHello { key_id: *other.id().as_bytes(), spki, ..answer.clone() };
                    out.push(frame(2, &answer.encode()));
                }
            }
        }
        out
    }

    /// Logins at a server that has taken this hello and sent this challenge, with each credential.
    pub fn logins(&self, hello: &[u8], challenge: &[u8], known: &[Known]) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let Some(answer) = ServerHello::decode(&challenge[3..]) else { return out };
        let key = self.keys().into_iter().find(|key| *key.id().as_bytes() == answer.key_id).unwrap();
        let rsa = match answer.proof.is_empty() {
            true => self.seal_secret(&key, Self::transcript(&[hello, challenge])),
            false => Vec::new(),
        };
        for (kind, user, secret) in known {
            let credential = Credential { kind: *kind, user: user.clone(), secret: secret.clone() };
            let plaintext = padded(credential.encode(), 256);
            let body = u16::try_from(4 + rsa.len() + plaintext.len() + 16).unwrap();
            let front = [&[3][..], &body.to_be_bytes(), &lp(&rsa)].concat();
            let whole = [&front[..], &lp(&vec![0; plaintext.len() + 16])].concat();
            let Some((suite, master)) = self.master(&[hello, challenge, &whole]) else { continue };
            let key = expand(&master, "credential", &Self::transcript(&[hello, challenge, &front]), 32);
            out.push([&front[..], &lp(&self.seal(suite, &key, plaintext))].concat());
        }
        out
    }

    /// The credential in a login, if it can be opened.
    pub fn credential(&self, frames: [&[u8]; 3]) -> Option<Known> {
        let [hello, challenge, login] = frames;
        let (suite, master) = self.master(&frames)?;
        let message = ClientLogin::decode(&login[3..])?;
        let front = &login[..login.len() - 2 - message.sealed_credential.len()];
        let key = expand(&master, "credential", &Self::transcript(&[hello, challenge, front]), 32);
        let plaintext = self.open(suite, &key, &message.sealed_credential)?;
        // Credentials here end on no zero byte.
        let end = plaintext.iter().rposition(|&byte| byte != 0)? + 1;
        let Credential { kind, user, secret } =
            (end..=plaintext.len()).find_map(|end| Credential::decode(&plaintext[..end]))?;
        Some((kind, user, secret))
    }

    /// An accepting verdict at the end of these frames.
    pub fn verdict(&self, frames: &[&[u8]], principal: &str) -> Option<Vec<u8>> {
        let (suite, master) = self.master(frames)?;
        let verdict = Verdict {
            decision: 1,
            principal: principal.as_bytes().to_vec(),
            permissions: Vec::new(),
            ticket: Vec::new(),
            ticket_lifetime: 0,
            extensions: Vec::new(),
        };
        let key = expand(&master, "verdict", &Self::transcript(frames), 32);
        Some(frame(4, &self.seal(suite, &key, padded(verdict.encode(), 2048))))
    }

    /// A Confirm after these two, or one that is none.
    pub fn confirms(&self, frames: &[&[u8]]) -> Vec<Vec<u8>> {
        let real = self.master(frames).map(|(suite, master)| {
            let key = expand(&master, "confirm", &Self::transcript(frames), 32);
            frame(10, &self.seal(suite, &key, Vec::new()))
        });
        real.into_iter().chain([frame(10, &[0; 16])]).collect()
    }
}
