//! The alphabet: frames by name, all of them from runs of the real machines, or made of such.

use super::ends::{Client, Machine as _, Record, Server, Side, kind, meet};
use super::settings::{Mood, Setting};
use super::support::wire::{
    self, Busy, ClientHello, ClientLogin, FactorRequest, Message, ServerHello, ServerResumption, Verdict, expand, lp,
};
use super::support::{OTHER2048, SUITES, TOKEN, frame};
use super::toy;
use countersign::crypto::Cipher as _;
use countersign::frame::FrameType;
use countersign::{Credential, CredentialKind, Suite, Ticket, UnixTime, server};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// A frame, and what its maker knows of it. What its bytes say is read by the table.
pub struct Letter {
    pub name: String,
    pub bytes: Vec<u8>,
    /// Made for the very connection under test, after just these frames; `None` for all that was made for another.
    pub after: Option<Vec<String>>,
    pub says: Says,
}

/// What a machine can't see from outside, since it is sealed, or only its own server knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Says {
    /// Nothing but what its bytes say.
    Nothing,
    /// A credential, or an answer to a request for a further factor: good or not.
    Good,
    Wrong,
    /// A hello with a ticket that is to be taken.
    Ticket,
    Accept,
    Reject,
    NotNow,
    Ask,
}

/// What is said, beginning with a hello or a challenge, with what a puzzle adds.
fn said(setting: &Setting, side: Side, first: Says, rest: &[Says]) -> Vec<Says> {
    let puzzle = match (setting.puzzle, side) {
        (None, _) => None,
        // The solution of a hello with a good ticket is answered as that would have been.
        (Some(_), Side::Client) => Some(if first == Says::Ticket { first } else { Says::Good }),
        (Some(_), Side::Server) => Some(Says::Nothing),
    };
    let (one, other) = if side == Side::Client { (Some(first), puzzle) } else { (puzzle, Some(first)) };
    one.into_iter().chain(other).chain(rest.iter().copied()).collect()
}

/// What everybody can compute who sees these frames, of a handshake without prologue and binding: the toy's RSA is no lock, and its key
/// exchange no secret. With the secret of the ticket, if one was taken.
fn master(frames: &[Vec<u8>], ticket: Option<&Ticket>) -> Vec<u8> {
    let hello = ClientHello::decode(&frames[0][3..]).unwrap();
    let (suite, share) = match kind(&frames[1]) {
        Some(FrameType::ServerResumption) => {
            ServerResumption::decode(&frames[1][3..]).map(|it| (it.suite, it.key_share)).unwrap()
        }
        _ => ServerHello::decode(&frames[1][3..]).map(|it| (it.suite, it.key_share)).unwrap(),
    };
    let login = frames.get(2).filter(|frame| kind(frame) == Some(FrameType::ClientLogin));
    let in_login = login.and_then(|login| ClientLogin::decode(login.get(3..)?)).map(|it| it.rsa_ciphertext);
    let sealed = in_login.filter(|it| !it.is_empty()).unwrap_or(hello.rsa_ciphertext);
    // The toy's ciphertext: 32 bytes of the key, the secret, and what it is bound to.
    let rsa = sealed.get(32..64).map_or(vec![0; 32], <[u8]>::to_vec);
    let exchange = match hello.key_shares.iter().find(|(exchange, _)| u16::from(*exchange) == suite >> 8) {
        Some((_, theirs)) => Sha256::new_with_prefix(theirs).chain_update(&share).finalize().to_vec(),
        None => vec![0; 32],
    };
    let ticket = ticket.map_or(vec![0; 32], wire::ticket_secret);
    let extract = |salt: &[u8], ikm: &[u8]| Hkdf::<Sha256>::extract(Some(salt), ikm).0.to_vec();
    [&ticket, &rsa, &exchange].into_iter().fold(vec![0; 32], |salt, ikm| extract(&salt, ikm))
}

/// Under the toy's AEAD.
fn seal(suite: Suite, key: &[u8], mut plaintext: Vec<u8>) -> Vec<u8> {
    let key = toy::ToyCipher(suite.aead).key(key.try_into().unwrap()).unwrap();
    let tag = key.seal(&[0; 12], b"", &mut plaintext).unwrap();
    [&plaintext[..], &tag].concat()
}

/// What a verdict says that comes after these frames and this one, or after these alone, if it can be opened (*Refusals*).
pub fn decision(frames: &[Vec<u8>], taken: &[u8], verdict: &[u8]) -> Option<u8> {
    let suite = Suite::from_number(ServerHello::decode(&frames.get(1)?[3..])?.suite)?;
    let all = [frames, &[taken.to_vec()]].concat();
    let master = master(&all, None);
    let opened = [&all[..], frames].into_iter().find_map(|frames| {
        let key = expand(&master, "verdict", &wire::transcript(&refs(frames)), 32);
        let (data, tag) = verdict[3..].split_last_chunk::<16>()?;
        let mut data = data.to_vec();
        let key = toy::ToyCipher(suite.aead).key(key.as_slice().try_into().unwrap()).unwrap();
        key.open(&[0; 12], b"", &mut data, tag).ok().map(|()| data)
    });
    opened.map(|verdict| verdict[0])
}

/// Neither is in the transcript.
pub fn is_of_puzzle(frame: &[u8]) -> bool {
    matches!(kind(frame), Some(FrameType::Busy | FrameType::Solution))
}

/// All frames of a run that are in its transcript.
fn frames_of(setting: &Setting) -> Vec<Vec<u8>> {
    let frames = meet(&mut Client::new(setting), &mut Server::new(setting)).into_iter().map(|(_, frame)| frame);
    frames.filter(|frame| !is_of_puzzle(frame)).collect()
}

fn refs(frames: &[Vec<u8>]) -> Vec<&[u8]> {
    frames.iter().map(Vec::as_slice).collect()
}

/// *Puzzle*: whether `work(counter)` of this nonce and hello begins with so many zero bits.
fn is_solved(bits: u8, nonce: &[u8], hello: &[u8], counter: u64) -> bool {
    let start = Sha256::digest([lp(b"countersign v1 puzzle"), lp(nonce), lp(&Sha256::digest(hello))].concat());
    let work = Sha256::digest([&start[..], &counter.to_be_bytes()].concat());
    u64::from_be_bytes(work[..8].try_into().unwrap()).leading_zeros() >= u32::from(bits)
}

#[derive(Default)]
pub struct Alphabet(pub Vec<Letter>);

/// What of that which came before counts for nothing that comes later: neither is in the transcript.
pub const PUZZLE: &str = "a puzzle";
pub const SOLUTION: &str = "a solution";

/// How a frame counts in what came before. Of a record its number and its key follow from it, and what it carries does not matter.
pub fn token(name: &str, frame: &[u8]) -> String {
    match kind(frame) {
        Some(FrameType::Busy) => PUZZLE.to_owned(),
        Some(FrameType::Solution) => SOLUTION.to_owned(),
        Some(FrameType::Data) => "a record".to_owned(),
        Some(FrameType::KeyUpdate) => "an update".to_owned(),
        _ => name.to_owned(),
    }
}

/// What is sent in a session, one run each.
const RECORDS: [&[Record]; 3] = [
    &[Record::Data(b"one"), Record::Data(b"two"), Record::Update, Record::Data(b"three")],
    &[Record::Close],
    &[Record::Data(b"other"), Record::Close],
];

impl Alphabet {
    /// Its name, or the one that it has already.
    fn add(&mut self, mut name: String, bytes: Vec<u8>, after: Option<Vec<String>>, says: Says) -> String {
        if let Some(letter) = self.0.iter().find(|letter| letter.bytes == bytes) {
            return letter.name.clone();
        }
        while self.0.iter().any(|letter| letter.name == name) {
            name.push('\'');
        }
        self.0.push(Letter { name: name.clone(), bytes, after, says });
        name
    }

    /// Letters of a whole run between these two: what `side` sends in it. `here` where the other end of it is the machine under test.
    fn run(&mut self, side: Side, what: &str, here: bool, (client, server): (&Setting, &Setting), says: &[Says]) {
        for records in RECORDS {
            let (mut ends, mut server) = (Client::new(client), Server::new(server));
            let mut frames = meet(&mut ends, &mut server);
            if matches!(ends.stage(), super::ends::Stage::Session) && server.stage() == ends.stage() {
                for record in records {
                    frames.push((Side::Client, record.seal(ends.session())));
                    frames.push((Side::Server, record.seal(server.session())));
                }
            }
            let mut before = Vec::new();
            let sent = frames.into_iter().filter(|(from, _)| *from == side).map(|(_, frame)| frame);
            for (number, bytes) in sent.enumerate() {
                let says = says.get(number).copied().unwrap_or(Says::Nothing);
                let name = format!("{what}: {} {number}", kind(&bytes).unwrap());
                let name = self.add(name, bytes.clone(), here.then(|| before.clone()), says);
                before.push(token(&name, &bytes));
            }
        }
    }

    /// What no state takes: no bytes, frames with nothing in them, of no type, cut, too long, and with a byte changed.
    fn broken(&mut self) {
        let mut genuine: Vec<(FrameType, String, Vec<u8>)> = Vec::new();
        for letter in self.0.iter().filter(|letter| letter.after.is_some()) {
            let kind = kind(&letter.bytes).unwrap();
            if genuine.iter().all(|(other, ..)| *other != kind) {
                genuine.push((kind, letter.name.clone(), letter.bytes.clone()));
            }
        }
        let mut add = |name: String, bytes| {
            self.add(name, bytes, None, Says::Nothing);
        };
        add("nothing".to_owned(), Vec::new());
        for byte in (0..=12).chain([b'G', 0x16, 0xff]) {
            add(format!("an empty frame of type {byte}"), frame(byte, &[]));
        }
        for (kind, name, bytes) in genuine {
            let (last, rest) = bytes.split_last().unwrap();
            add(format!("{name}, cut"), rest.to_vec());
            add(format!("{name}, and a byte"), [&bytes[..], &[0]].concat());
            // A counter that is changed could be good, too.
            if kind != FrameType::Solution {
                add(format!("{name}, altered"), [rest, &[last ^ 1]].concat());
            }
            add(format!("{kind} that is too long"), frame(kind.byte(), &vec![0xaa; kind.max_body() + 1]));
            add(format!("{kind} of zeros"), frame(kind.byte(), &vec![0; kind.min_body()]));
        }
    }

    /// What a server is fed.
    pub fn for_server(setting: &Setting) -> Self {
        let mut letters = Self::default();
        let (here, wrong) = (setting, setting.clone().wrong());
        let bob = Setting { shown: None, ..setting.clone().seed("another client") };
        let before = setting.clone().seed("a connection before");
        let good = if setting.shown.is_some() { Says::Ticket } else { Says::Nothing };
        let says = |first, rest: &[Says]| said(setting, Side::Client, first, rest);
        letters.run(Side::Client, "alice", true, (here, here), &says(good, &[Says::Good, Says::Good, Says::Good]));
        letters.run(Side::Client, "a wrong one", true, (&wrong, here), &says(good, &[Says::Wrong]));
        let typo = Setting { code: b"654321", ..here.clone() };
        letters.run(Side::Client, "a wrong answer", true, (&typo, here), &says(good, &[Says::Good, Says::Wrong]));
        let goods = [Says::Good, Says::Good, Says::Good];
        letters.run(Side::Client, "another client", true, (&bob, here), &says(Says::Nothing, &goods));
        if setting.names.is_some() {
            for (what, name) in [("without a name", ""), ("of another name", "other.example")] {
                let client = setting.clone().seed(what).scenario(|it| it.server_name(name));
                letters.run(Side::Client, what, true, (&client, here), &says(Says::Nothing, &goods));
            }
        }
        for (name, ticket) in &setting.spent {
            // Its client's clock says that it is still good.
            let today = UnixTime::from_secs(ticket.expires().as_secs() - 1);
            let shown = Setting { shown: Some(ticket.clone()), today, ..here.clone() };
            letters.run(Side::Client, name, true, (&shown, here), &says(Says::Nothing, &[Says::Good]));
        }
        letters.run(Side::Client, "before", false, (&before, &before), &said(setting, Side::Client, good, &[]));
        let elsewhere = Setting { shown: None, ..setting.clone().elsewhere() };
        letters.run(Side::Client, "for another server", false, (&elsewhere, &elsewhere), &[]);
        letters.run(Side::Server, "of a server", false, (here, here), &[]);
        letters.hellos(setting);
        letters.logins(setting);
        letters.solutions(setting);
        letters.broken();
        letters
    }

    /// Well-formed hellos that no client of ours makes.
    fn hellos(&mut self, setting: &Setting) {
        let hello = self.0[0].bytes.clone();
        let has_ticket = !ClientHello::decode(&hello[3..]).unwrap().ticket.is_empty();
        let mut add = |name: &str, change: &dyn Fn(&mut ClientHello)| {
            self.add(format!("a hello {name}"), wire::edit(&hello, |hello| change(hello)), None, Says::Nothing);
        };
        add("with another nonce", &|hello| hello.nonce = [9; 32]);
        add("without suites", &|hello| hello.suites.clear());
        add("with no suite of ours", &|hello| (hello.suites, hello.key_shares) = (vec![0x0901], vec![(9, vec![1])]));
        add("of another version", &|hello| hello.versions = vec![2]);
        add("of another context", &|hello| hello.context[0] ^= 1);
        if has_ticket {
            add("with its ticket altered", &|hello| hello.ticket[40] ^= 1);
            add("with its binder altered", &|hello| hello.binder[0] ^= 1);
        }
        // By the owner of the ticket, who can make the binder for anything.
        let Some(ticket) = setting.shown.as_ref().filter(|_| has_ticket) else { return };
        let mut add = |name: &str, says, change: &dyn Fn(&mut ClientHello)| {
            let bound = wire::bind(ticket, &wire::edit(&hello, |hello| change(hello)));
            self.add(format!("a hello with a ticket and {name}"), bound, None, says);
        };
        let is_alone = ClientHello::decode(&hello[3..]).unwrap().rsa_ciphertext.is_empty();
        // A secret beside the ticket would be bound to the nonce, too.
        add("another nonce", Says::Ticket, &|hello| {
            if is_alone {
                hello.nonce = [9; 32]
            }
        });
        add("another context", Says::Nothing, &|hello| hello.context[7] ^= 1);
        add("a secret for another key", Says::Nothing, &|hello| {
            hello.known_keys = vec![*OTHER2048.private.public_key().id().as_bytes()];
            hello.rsa_ciphertext = vec![1; 256];
        });
    }

    /// Logins that are right in all but one thing: the secret is sealed for another challenge (L6), or the credential is of a kind that is
    /// not taken (L9).
    fn logins(&mut self, setting: &Setting) {
        let frames = frames_of(setting);
        let is_login = frames.get(2).is_some_and(|frame| kind(frame) == Some(FrameType::ClientLogin));
        // Made without a prologue.
        if !is_login || setting.prologues != [b"", b""] {
            return;
        }
        let rsa = ClientLogin::decode(&frames[2][3..]).unwrap().rsa_ciphertext;
        let suite = Suite::from_number(ServerHello::decode(&frames[1][3..]).unwrap().suite).unwrap();
        let master = master(&frames, None);
        let mut add = |name: &str, rsa: &[u8], (kind, user, secret): (u8, &str, &[u8])| {
            let message = wire::Credential { kind, user: user.as_bytes().to_vec(), secret: secret.to_vec() };
            let plaintext = wire::padded(message.encode(), 256);
            let body = u16::try_from(4 + rsa.len() + plaintext.len() + 16).unwrap();
            let front = [&[3][..], &body.to_be_bytes(), &lp(rsa)].concat();
            let bound_to = wire::transcript(&[&frames[0], &frames[1], &front]);
            let key = expand(&master, "credential", &bound_to, 32);
            let bytes = [&front[..], &lp(&seal(suite, &key, plaintext))].concat();
            self.add(format!("a login {name}"), bytes, None, Says::Wrong);
        };
        match setting.scenario.credential {
            Credential::Password { user, password } if !rsa.is_empty() => {
                let mut elsewhere = rsa.clone();
                elsewhere[64] ^= 1;
                add("that is bound to another challenge", &elsewhere, (1, user, password));
            }
            Credential::Key { .. } => add("of a kind that is not taken", &rsa, (2, "", TOKEN)),
            _ => {}
        }
    }

    /// Other good counters than those that a client finds first, and a solution with one that is not good, of alice's hello.
    fn solutions(&mut self, setting: &Setting) {
        let (hello, Some(bits)) = (self.0[0].bytes.clone(), setting.puzzle) else { return };
        let busy = Server::new(setting).feed(&hello).sent;
        let busy = Busy::decode(&busy[3..]).unwrap();
        let nonce = &busy.extensions[0].1[1..];
        let good = (0..).filter(|&counter| is_solved(bits, nonce, &hello, counter)).skip(16).take(16);
        let mut counters: Vec<u64> = good.collect();
        let says = if setting.shown.is_some() { Says::Ticket } else { Says::Good };
        let mut add = |name: &str, counters: &[u64], after, says| {
            let body: Vec<u8> = counters.iter().flat_map(|counter| counter.to_be_bytes()).collect();
            self.add(name.to_owned(), frame(12, &body), after, says);
        };
        add("another solution", &counters, Some(vec!["alice: ClientHello 0".to_owned()]), says);
        let mut twice = counters.clone();
        twice[15] = twice[14];
        add("a solution with a counter twice", &twice, None, Says::Wrong);
        counters[15] = (counters[15]..).find(|&it| !is_solved(bits, nonce, &hello, it)).unwrap();
        add("a solution with a counter that is not good", &counters, None, Says::Wrong);
    }

    /// What a client is fed.
    pub fn for_client(setting: &Setting) -> Self {
        let mut letters = Self::default();
        let here = setting;
        // Each time it is asked, a factor; after the fourth the server of `factors.rs` has asked for too many.
        let steps = |says: &[Says], factors: usize| {
            let asks = if here.factors > 0 && here.offers_factors { factors.min(4) } else { 0 };
            let last = match () {
                () if here.mood == Mood::Away => Says::NotNow,
                () if asks < factors => Says::Reject,
                () => Says::Accept,
            };
            says.iter().copied().chain(std::iter::repeat_n(Says::Ask, asks)).chain([last]).collect::<Vec<_>>()
        };
        let says = |rest: &[Says]| said(here, Side::Server, Says::Nothing, rest);
        let first = says(&[]);
        let of_ticket = &first[..first.len() - 1];
        let resumes = if here.shown.is_some() { of_ticket } else { &first[..] };
        letters.run(Side::Server, "the server", true, (here, here), &steps(resumes, here.factors));
        // The same server, were it another: what a client under test says to it is the same.
        let usual = Setting { tickets: None, factors: here.factors, ..here.clone() };
        let of_rsa_alone = usual.clone().scenario(|it| it.server_suites(&[Suite::RSA_AES_256_GCM]));
        for (name, server, says) in [
            ("a server without tickets", usual.clone(), steps(&first, here.factors)),
            ("a server that proves nothing", usual.clone().mood(Mood::NoProof), steps(&first, here.factors)),
            ("a server that knows nobody", usual.clone().mood(Mood::Strict), says(&[Says::Reject])),
            ("a server that can't decide", usual.clone().mood(Mood::Away), says(&[Says::NotNow])),
            ("a server that asks five times", Setting { factors: 5, ..usual.clone() }, steps(&first, 5)),
            ("a server of RSA alone", of_rsa_alone, steps(&first, here.factors)),
            ("a full server", usual.clone().mood(Mood::Full), says(&[])),
        ] {
            letters.run(Side::Server, name, true, (here, &server), &says);
        }
        let before = setting.clone().seed("a connection before");
        letters.run(Side::Server, "before", false, (&before, &before), &[]);
        let elsewhere = Setting { shown: None, ..setting.clone().elsewhere() };
        letters.run(Side::Server, "another server", false, (&elsewhere, &elsewhere), &[]);
        letters.run(Side::Client, "of a client", false, (here, here), &[]);
        letters.add("busy".to_owned(), server::busy(Duration::from_secs(9)), None, Says::Nothing);
        letters.challenges(setting);
        letters.puzzles(setting);
        letters.requests(setting);
        letters.resumption(setting);
        letters.broken();
        letters
    }

    /// Well-formed challenges that no server of ours makes.
    fn challenges(&mut self, setting: &Setting) {
        let is_challenge = |letter: &&Letter| kind(&letter.bytes) == Some(FrameType::ServerHello);
        let Some(hello) = self.0.iter().find(is_challenge).map(|letter| letter.bytes.clone()) else { return };
        let mut add = |name: &str, change: &dyn Fn(&mut ServerHello)| {
            self.add(format!("a challenge {name}"), wire::edit(&hello, |hello| change(hello)), None, Says::Nothing);
        };
        add("with another nonce", &|hello| hello.nonce = [9; 32]);
        add("under another key's id", &|hello| hello.key_id = [9; 32]);
        add("of another version", &|hello| hello.version = 2);
        add("of a suite that was not offered", &|hello| hello.suite = 0x0101);
        let is_token = setting.scenario.credential.kind() == CredentialKind::Token;
        add("without our kind", &|hello| hello.credential_kinds = vec![if is_token { 1 } else { 2 }]);
        add("of another context", &|hello| hello.context[0] ^= 1);
        add("with a proof of zeros", &|hello| hello.proof = vec![0; 32]);
        add("with its proof struck", &|hello| hello.proof = Vec::new());
    }

    /// Puzzles that are no such, or not for this client.
    fn puzzles(&mut self, setting: &Setting) {
        // With a ticket, a client does the same.
        if setting.puzzle.is_none() || setting.shown.is_some() {
            return;
        }
        let mut add = |name: &str, extensions: &[(u16, Vec<u8>)]| {
            let busy = Busy { retry_after: 3, extensions: extensions.to_vec() };
            self.add(name.to_owned(), frame(9, &busy.encode()), None, Says::Nothing);
        };
        let puzzle = |bits: u8, nonce: usize| (3, [&[bits][..], &vec![8; nonce]].concat());
        let unknown = (0x0a0a, Vec::new());
        add("a puzzle beside what nobody knows", &[unknown, puzzle(setting.solves.unwrap_or(1), 32)]);
        add("a puzzle that is too hard", &[puzzle(setting.solves.unwrap_or(1) + 1, 32)]);
        add("a puzzle of no bits", &[puzzle(0, 32)]);
        add("a puzzle of 25 bits", &[puzzle(25, 32)]);
        add("a puzzle that is too short", &[puzzle(1, 31)]);
        add("a puzzle that is too long", &[puzzle(1, 33)]);
        add("two puzzles", &[puzzle(1, 32), puzzle(1, 32)]);
    }

    /// Requests for a further factor that no server of ours makes: of a client that does not offer any (V7), and the fifth.
    fn requests(&mut self, setting: &Setting) {
        if setting.factors == 0 {
            return;
        }
        let (mut client, mut server) = (Client::new(setting), Server::new(&Setting { factors: 5, ..setting.clone() }));
        let mut frames = meet(&mut client, &mut server);
        // Where the server says no, it asks.
        let Some((Side::Server, _)) = frames.pop() else { return };
        let mut before = Vec::new();
        for (_, frame) in frames.iter().filter(|(from, _)| *from == Side::Server) {
            let Some(letter) = self.0.iter().find(|letter| letter.bytes == *frame) else { return };
            before.push(token(&letter.name, frame));
        }
        let frames: Vec<Vec<u8>> = frames.into_iter().map(|(_, frame)| frame).collect();
        if frames.len() < 3 || frames.len().is_multiple_of(2) {
            return;
        }
        let verdict = Verdict {
            decision: 3,
            principal: Vec::new(),
            permissions: Vec::new(),
            ticket: Vec::new(),
            ticket_lifetime: 0,
            extensions: vec![(5, FactorRequest { form: 1, prompt: b"code".to_vec() }.encode())],
        };
        let suite = Suite::from_number(ServerHello::decode(&frames[1][3..]).unwrap().suite).unwrap();
        let key = expand(&master(&frames, None), "verdict", &wire::transcript(&refs(&frames)), 32);
        let bytes = frame(4, &seal(suite, &key, wire::padded(verdict.encode(), 2048)));
        self.add("a request that may not be".to_owned(), bytes, Some(before), Says::Ask);
    }

    /// A resumption under the other suite that the client offers, by the server itself (A3).
    fn resumption(&mut self, setting: &Setting) {
        let Some(ticket) = &setting.shown else { return };
        let hello = Client::new(setting).hello;
        let suite = SUITES.into_iter().find(|suite| *suite != ticket.suite()).unwrap();
        let verdict = Verdict {
            decision: 1,
            principal: b"alice".to_vec(),
            permissions: Vec::new(),
            ticket: Vec::new(),
            ticket_lifetime: 0,
            extensions: Vec::new(),
        };
        let answer = ServerResumption {
            version: 1,
            suite: suite.number(),
            nonce: [9; 32],
            key_share: vec![3; 32],
            extensions: Vec::new(),
            sealed_verdict: vec![0; 2064],
        };
        let room = frame(8, &answer.encode());
        let bound_to = wire::transcript(&[&hello, &room[..room.len() - 2064]]);
        let key = expand(&master(&[hello, room.clone()], Some(ticket)), "verdict", &bound_to, 32);
        let sealed_verdict = seal(suite, &key, wire::padded(verdict.encode(), 2048));
        let bytes = wire::edit(&room, |answer: &mut ServerResumption| answer.sealed_verdict = sealed_verdict);
        self.add("a resumption under another suite".to_owned(), bytes, None, Says::Nothing);
    }
}
