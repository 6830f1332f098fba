//! The alphabet: frames by name, all of them from runs of the real machines, or made of such.

use super::ends::{Client, Machine as _, Record, Server, Side, kind, meet};
use super::settings::{Mood, Setting};
use super::support::frame;
use super::support::wire::{self, ClientHello, ClientLogin, Message, ServerHello};
use super::toy;
use countersign::crypto::Cipher as _;
use countersign::frame::FrameType;
use countersign::{Aead, Credential, UnixTime, server};
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

#[derive(Default)]
pub struct Alphabet(pub Vec<Letter>);

/// How a record counts in what came before: its number and its key follow from it, what it carries does not matter.
pub fn token(name: &str, frame: &[u8]) -> String {
    match kind(frame) {
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
            add(format!("{name}, altered"), [rest, &[last ^ 1]].concat());
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
        letters.run(Side::Client, "alice", true, (here, here), &[good, Says::Good, Says::Good, Says::Good]);
        letters.run(Side::Client, "a wrong one", true, (&wrong, here), &[good, Says::Wrong]);
        let typo = Setting { code: b"654321", ..here.clone() };
        letters.run(Side::Client, "a wrong answer", true, (&typo, here), &[good, Says::Good, Says::Wrong]);
        letters.run(
            Side::Client,
            "another client",
            true,
            (&bob, here),
            &[Says::Nothing, Says::Good, Says::Good, Says::Good],
        );
        for (name, ticket) in &setting.spent {
            // Its client's clock says that it is still good.
            let today = UnixTime::from_secs(ticket.expires().as_secs() - 1);
            let shown = Setting { shown: Some(ticket.clone()), today, ..here.clone() };
            letters.run(Side::Client, name, true, (&shown, here), &[Says::Nothing, Says::Good]);
        }
        letters.run(Side::Client, "before", false, (&before, &before), &[good]);
        let elsewhere = Setting { shown: None, ..setting.clone().elsewhere() };
        letters.run(Side::Client, "for another server", false, (&elsewhere, &elsewhere), &[]);
        letters.run(Side::Server, "of a server", false, (here, here), &[]);
        letters.hellos();
        letters.login_bound_elsewhere(setting);
        letters.broken();
        letters
    }

    /// Well-formed hellos that no client of ours makes.
    fn hellos(&mut self) {
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
    }

    /// A login whose secret is sealed for another challenge, and that is right in all else (L6). The toy's key exchange is no secret, and
    /// its RSA no lock.
    fn login_bound_elsewhere(&mut self, setting: &Setting) {
        let is_of = |wanted| move |letter: &&Letter| kind(&letter.bytes) == Some(wanted);
        let first = |wanted| self.0.iter().find(is_of(wanted)).map(|letter| letter.bytes.clone());
        let (Some(hello), Some(challenge), Some(login)) =
            (first(FrameType::ClientHello), first(FrameType::ServerHello), first(FrameType::ClientLogin))
        else {
            return;
        };
        let mut rsa = ClientLogin::decode(&login[3..]).unwrap().rsa_ciphertext;
        let Credential::Password { user, password } = setting.scenario.credential else { return };
        if rsa.is_empty() {
            return;
        }
        // The toy's ciphertext: 32 bytes of the key, the secret, and what it is bound to.
        rsa[64] ^= 1;
        let message = wire::Credential { kind: 1, user: user.as_bytes().to_vec(), secret: password.to_vec() };
        let mut plaintext = wire::padded(message.encode(), 256);
        let body = u16::try_from(4 + rsa.len() + plaintext.len() + 16).unwrap();
        let front = [&[3][..], &body.to_be_bytes(), &wire::lp(&rsa)].concat();
        let offer = ClientHello::decode(&hello[3..]).unwrap();
        let answer = ServerHello::decode(&challenge[3..]).unwrap();
        let exchange = Sha256::new_with_prefix(&offer.key_shares[0].1).chain_update(&answer.key_share).finalize();
        let bound_to = wire::transcript(&[&hello, &challenge, &front]);
        let key = wire::expand(&wire::master(&rsa[32..64], &exchange.into()), "credential", &bound_to, 32);
        let key = toy::ToyCipher(Aead::Aes256Gcm).key(&key.try_into().unwrap()).unwrap();
        let tag = key.seal(&[0; 12], b"", &mut plaintext).unwrap();
        let bytes = [&front[..], &wire::lp(&[&plaintext[..], &tag].concat())].concat();
        self.add("a login that is bound to another challenge".to_owned(), bytes, None, Says::Wrong);
    }

    /// What a client is fed.
    pub fn for_client(setting: &Setting) -> Self {
        let mut letters = Self::default();
        let here = setting;
        // Each time it is asked, a factor; after the fourth the server of `factors.rs` has asked for too many.
        let steps = |first: Option<Says>, factors: usize| {
            let asks = if here.factors > 0 { factors.min(4) } else { 0 };
            let last = match () {
                () if here.mood == Mood::Away => Says::NotNow,
                () if asks < factors => Says::Reject,
                () => Says::Accept,
            };
            first.into_iter().chain(std::iter::repeat_n(Says::Ask, asks)).chain([last]).collect::<Vec<_>>()
        };
        let hello = Some(Says::Nothing);
        let first = if here.shown.is_some() { None } else { hello };
        letters.run(Side::Server, "the server", true, (here, here), &steps(first, here.factors));
        // The same server, were it another: what a client under test says to it is the same.
        let usual = Setting { tickets: None, factors: here.factors, ..here.clone() };
        for (name, server, says) in [
            ("a server without tickets", usual.clone(), steps(hello, here.factors)),
            ("a server that proves nothing", usual.clone().mood(Mood::NoProof), vec![Says::Nothing, Says::Accept]),
            ("a server that knows nobody", usual.clone().mood(Mood::Strict), vec![Says::Nothing, Says::Reject]),
            ("a server that can't decide", usual.clone().mood(Mood::Away), vec![Says::Nothing, Says::NotNow]),
            ("a server that asks five times", Setting { factors: 5, ..usual.clone() }, steps(hello, 5)),
            ("a full server", usual.clone().mood(Mood::Full), vec![Says::Nothing]),
        ] {
            letters.run(Side::Server, name, true, (here, &server), &says);
        }
        let before = setting.clone().seed("a connection before");
        letters.run(Side::Server, "before", false, (&before, &before), &[]);
        let elsewhere = Setting { shown: None, ..setting.clone().elsewhere() };
        letters.run(Side::Server, "another server", false, (&elsewhere, &elsewhere), &[]);
        letters.run(Side::Client, "of a client", false, (here, here), &[]);
        letters.add("busy".to_owned(), server::busy(Duration::from_secs(9)), None, Says::Nothing);
        letters.challenges();
        letters.broken();
        letters
    }

    /// Well-formed challenges that no server of ours makes.
    fn challenges(&mut self) {
        let is_challenge = |letter: &&Letter| kind(&letter.bytes) == Some(FrameType::ServerHello);
        let Some(hello) = self.0.iter().find(is_challenge).map(|letter| letter.bytes.clone()) else { return };
        let mut add = |name: &str, change: &dyn Fn(&mut ServerHello)| {
            self.add(format!("a challenge {name}"), wire::edit(&hello, |hello| change(hello)), None, Says::Nothing);
        };
        add("with another nonce", &|hello| hello.nonce = [9; 32]);
        add("under another key's id", &|hello| hello.key_id = [9; 32]);
        add("of another version", &|hello| hello.version = 2);
        add("of a suite that was not offered", &|hello| hello.suite = 0x0101);
        add("without our kind", &|hello| hello.credential_kinds = vec![2]);
        add("of another context", &|hello| hello.context[0] ^= 1);
        add("with a proof of zeros", &|hello| hello.proof = vec![0; 32]);
        add("with its proof struck", &|hello| hello.proof = Vec::new());
    }
}
