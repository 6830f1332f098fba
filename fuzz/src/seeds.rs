//! The seed corpus, made by the library's own encoder: from nothing, no fuzzer finds a whole login.

mod command;
mod files;

use crate::judge::{Reached, serve};
use crate::peers::{ALICE, ALICES_KEY, LIFETIME, LONG_KEY, NOW, Peers, TODAY, answer, prompt, secret, shown};
use crate::server_machine::requested;
use crate::toy::{self, CountingRng};
use countersign::client::{Answer, AwaitVerdict, Verdict};
use countersign::codec::{self, Bytes, ClientHello, CredentialMessage, Extension, Factor, FactorRequest, GrantMessage};
use countersign::codec::{KeyProof, List, Message, ServerHello, Text, VerdictMessage};
use countersign::codec::{Stretched, StretchedMessage};
use countersign::frame::split;
use countersign::{ClientKey, Credential, limits};
use sha2::{Digest, Sha256};

pub struct Seed {
    pub target: &'static str,
    pub name: String,
    pub bytes: Vec<u8>,
    pub expected: Expected,
}

/// What a seed is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Some decoder takes the bytes.
    Decodes,
    /// A stream that is cut into frames.
    Stream,
    /// The machine gets this far.
    Reaches(Reached),
    /// So many lines, keys or manifests of a file are of use.
    Reads(usize),
}

/// Takes a seed: its name, its first byte, the rest in parts, and how far it gets.
type Add<'a> = dyn FnMut(&str, u8, &[&[u8]], Reached) + 'a;

pub fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    decode(|name: &str, head: [u8; 3], bytes: &[u8], expected| {
        let bytes = [&head, bytes].concat();
        seeds.push(Seed { target: "decode", name: name.to_owned(), bytes, expected });
    });
    let mut machine = |target, add: fn(&mut Add<'_>)| {
        add(&mut |name, what, parts, reached| {
            let bytes = [&[what], &parts.concat()[..]].concat();
            seeds.push(Seed { target, name: name.to_owned(), bytes, expected: Expected::Reaches(reached) });
        });
    };
    machine("server_machine", server_machine);
    machine("client_machine", client_machine);
    machine("tickets", tickets);
    machine("proxy", proxy);
    machine("records", records);
    machine("connection", connection);
    files::add(|name: &str, what: u8, file: &[u8], count: usize| {
        let bytes = [&[what], file].concat();
        seeds.push(Seed { target: "files", name: name.to_owned(), bytes, expected: Expected::Reads(count) });
    });
    files::add_others(|target, name: &str, what: u8, file: &[u8], count: usize| {
        let bytes = [&[what], file].concat();
        seeds.push(Seed { target, name: name.to_owned(), bytes, expected: Expected::Reads(count) });
    });
    command::add(|name: &str, what: u8, file: &[u8], count: usize| {
        let bytes = [&[what], file].concat();
        seeds.push(Seed { target: "command", name: name.to_owned(), bytes, expected: Expected::Reads(count) });
    });
    seeds
}

fn decode(mut add: impl FnMut(&str, [u8; 3], &[u8], Expected)) {
    let frames = frames(4);
    for (index, name) in ["client-hello", "server-hello", "client-login", "server-verdict"].into_iter().enumerate() {
        add(name, [1, 2, index as u8], body(&frames[index]), Expected::Decodes);
    }
    add("server-hello-with-key", [1, 2, 1], body(&self::frames(0)[1]), Expected::Decodes);
    let peers = Peers::new(2);
    let (hello, _) = peers.open(Some(&peers.ticket()));
    let resumption = peers.take(&hello).unwrap().frame;
    add("client-hello-with-ticket", [1, 2, 0], body(&hello), Expected::Decodes);
    add("server-resumption", [1, 2, 7], body(&resumption), Expected::Decodes);
    // With extensions, and what a proof takes.
    let extended = self::frames(8 | 6);
    for (index, name) in
        ["client-hello-for-a-proof", "server-hello-with-proof", "client-login-after-proof"].into_iter().enumerate()
    {
        add(name, [1, 2, index as u8], body(&extended[index]), Expected::Decodes);
    }
    add("busy", [1, 2, 8], &BUSY, Expected::Decodes);
    add("confirm", [1, 2, 9], &[7; 16], Expected::Decodes);
    add("puzzle", [1, 2, 8], &PUZZLE[7..], Expected::Decodes);
    add("busy-with-puzzle", [1, 2, 8], &PUZZLE, Expected::Decodes);
    add("solution", [1, 2, 11], &[7; 128], Expected::Decodes);
    add("credential", [1, 2, 4], &password(), Expected::Decodes);
    add("verdict", [1, 2, 4], &accept(), Expected::Decodes);
    add("manifest", [1, 2, 1], &manifest(), Expected::Decodes);
    let peers = Peers::new(0).with_login(false, 1);
    let (_, answered) = answer_to(&peers, 0);
    add("client-factor", [1, 2, 10], body(&answered), Expected::Decodes);
    add("factor", [1, 2, 10], &factor(b"492039"), Expected::Decodes);
    add("factor-request", [1, 2, 4], &request(0), Expected::Decodes);
    for (name, key) in [("key-proof", &*ALICES_KEY), ("key-proof-of-rsa", &*LONG_KEY)] {
        let credential = key_credential(0, key);
        // Behind kind, user and a length.
        add(name, [1, 2, 4], &credential[10..], Expected::Decodes);
        add(&format!("credential-with-{name}"), [1, 2, 4], &credential, Expected::Decodes);
    }

    let (mut client, _) = Peers::new(0).sessions();
    let mut records = Vec::new();
    client.sealer.seal(b"hello", &mut records).unwrap();
    client.sealer.update_key(&mut records).unwrap();
    client.sealer.close(&mut records).unwrap();
    add("login", [3, 4, 4], &frames.concat(), Expected::Stream);
    add("records", [5, 6, 4], &records, Expected::Stream);
}

/// A manifest of one name and one key, which nobody has signed.
fn manifest() -> Vec<u8> {
    let (key, signature) = ([&[1; 32][..], &time(1), &time(2), &[2]].concat(), [0; 64]);
    let head = [&[7; 32][..], &time(1), &time(1), &time(2), &[1, 0, 10], b"db.example", &[1]].concat();
    [head, key, signature.to_vec()].concat()
}

fn time(seconds: u64) -> [u8; 8] {
    seconds.to_be_bytes()
}

fn server_machine(add: &mut Add<'_>) {
    // Each suite, with the key sent and with the key at hand.
    for choice in 0..16 {
        let what = choice << 3;
        let [hello, _, login, _] = &frames(choice);
        let parts: [&[u8]; 3] = [&len(body(hello)), body(hello), body(login)];
        add(&format!("hello-{choice}"), what, &parts, Reached::Session);
        add(&format!("login-{choice}"), what | 1, &[body(login)], Reached::Session);
        add(&format!("raw-hello-{choice}"), what | 0x80, &[&len(hello), hello, login], Reached::Session);
    }
    add("raw-login", 0x81, &[&frames(0)[2]], Reached::Session);
    // A key that is named, and nothing sealed to it; something sealed to it that is no ciphertext of its owner's.
    let [hello, ..] = &frames(8);
    let at = hello.len() - 2 - 2 - 256;
    let unsealed = [&hello[3..at], &[0, 0, 0, 0]].concat();
    add("hello-unsealed", 8 << 3, &[&len(&unsealed), &unsealed], Reached::AwaitLogin);
    let mut broken = body(hello).to_vec();
    broken[at + 50] ^= 1;
    add("hello-broken", 8 << 3, &[&len(&broken), &broken, body(&frames(8)[2])], Reached::Claim);

    // how, position, byte: flip, cut, insert, remove; 4 puts the length right again.
    add("edit-nothing", 2, &[], Reached::Session);
    add("edit-hello-nonce", 2, &[&[0, 0, 0, 20, 1]], Reached::Claim);
    add("edit-hello-longer", 2, &[&[0, 2 | 4, 0, 20, 1]], Reached::AwaitHello);
    add("edit-challenge-nonce", 2, &[&[1, 0, 0, 20, 1]], Reached::Claim);
    add("edit-challenge-key", 2, &[&[1, 0, 0, 40, 1]], Reached::AwaitLogin);
    add("edit-login-rsa", 2, &[&[2, 0, 0, 100, 1]], Reached::Claim);
    add("edit-login-sealed", 2, &[&[2, 0, 1, 100, 1]], Reached::Claim);
    add("edit-login-cut", 2, &[&[2, 1 | 4, 1, 100, 1]], Reached::AwaitLogin);
    add("edit-verdict", 2, &[&[3, 0, 0, 100, 1]], Reached::Accepted);

    // The server has another prologue: nobody interferes; what either says of it is made what the other one means; and both.
    for choice in [0, 3, 8] {
        let what = 0x80 | choice << 3 | 2;
        let [hello, challenge] = contexts_exchanged(choice);
        let to_a_client = if choice == 8 { Reached::AwaitLogin } else { Reached::Claim };
        add(&format!("elsewhere-{choice}"), what, &[], Reached::AwaitLogin);
        add(&format!("elsewhere-{choice}-hidden-from-server"), what, &[&hello], Reached::AwaitLogin);
        add(&format!("elsewhere-{choice}-hidden-from-client"), what, &[&challenge], to_a_client);
        add(&format!("elsewhere-{choice}-hidden"), what, &[&hello, &challenge], to_a_client);
    }

    // With a proof, the client stops before its login.
    let proof = 8 << 3 | 2;
    let [hello, challenge, ..] = &frames(8);
    add("edit-proved-nothing", proof, &[], Reached::Session);
    add("edit-proved-hello-nonce", proof, &[&[0, 0, 0, 20, 1]], Reached::AwaitLogin);
    add("edit-sealed", proof, &[&[0, 0], &len(&hello[100..]), &[1]], Reached::AwaitLogin);
    add("edit-proved-challenge-nonce", proof, &[&[1, 0, 0, 20, 1]], Reached::AwaitLogin);
    add("edit-proof", proof, &[&[1, 0], &len(&challenge[8..]), &[1]], Reached::AwaitLogin);
    add("edit-proved-login", proof, &[&[2, 0, 0, 100, 1]], Reached::Claim);
    add("edit-proved-login-cut", proof, &[&[2, 1 | 4, 0, 100, 1]], Reached::AwaitLogin);
    add("edit-proved-verdict", proof, &[&[3, 0, 0, 100, 1]], Reached::Accepted);

    for choice in [0, 6, 8] {
        let solution = solution(choice);
        add(&format!("solution-{choice}"), choice << 3 | 3, &[&solution], Reached::Session);
    }
    let mut wrong = solution(0);
    add("solution-raw", 0x83, &[&[12, 0, 128], &wrong], Reached::Session);
    wrong[7] ^= 0xff;
    add("solution-wrong", 3, &[&wrong], Reached::Puzzle);
    wrong.rotate_left(8);
    add("solution-not-ascending", 3, &[&wrong], Reached::Puzzle);
    add("solution-cut", 3, &[&wrong[8..]], Reached::Puzzle);

    add("credential-password", 4, &[&password()], Reached::Session);
    let token = encode(&CredentialMessage { kind: 2, user: Text(""), secret: Bytes(b"cst_token") });
    add("credential-token", 4, &[&token], Reached::Session);
    let long = CredentialMessage { kind: 2, user: Text(""), secret: Bytes(&[b'x'; 600]) };
    add("credential-long", 4, &[&encode(&long)], Reached::Session);
    let empty = encode(&CredentialMessage { kind: 1, user: Text("alice"), secret: Bytes(b"") });
    add("credential-empty", 4, &[&empty], Reached::Claim);
    add("credential-padding", 4, &[&password(), &[0, 1]], Reached::Claim);

    // By a key; for another connection; by more than its own; a proof that is cut.
    let stretched = |values: &[Stretched<'_>], password: &[u8]| {
        let secret = encode(&StretchedMessage { values: List::from_slice(values).unwrap(), password: Bytes(password) });
        encode(&CredentialMessage { kind: 4, user: Text("alice"), secret: Bytes(&secret) })
    };
    let (value, long) = (Stretched(&[7; 32]), [b'x'; 600]);
    add("credential-stretched", 4, &[&stretched(&[value], b"")], Reached::Session);
    add("credential-stretched-moving", 4, &[&stretched(&[value], b"correct horse")], Reached::Session);
    add("credential-stretched-long", 4, &[&stretched(&[value], &long)], Reached::Session);
    add("credential-stretched-none", 4, &[&stretched(&[], b"")], Reached::Claim);
    add("credential-stretched-twice", 4, &[&stretched(&[value, value], b"")], Reached::Claim);
    let key = key_credential(0, &ALICES_KEY);
    add("credential-key", 4, &[&key], Reached::Session);
    add("credential-key-of-rsa", 4, &[&key_credential(0, &LONG_KEY)], Reached::Session);
    add("credential-key-elsewhere", 4, &[&key_credential(1, &ALICES_KEY)], Reached::Claim);
    add("credential-key-cut", 4, &[&key[..key.len() - 1]], Reached::Claim);

    add("verdict-accept", 5, &[&accept()], Reached::Session);
    add("verdict-request", 6 << 3 | 5, &[&asking(0)], Reached::Asked);
    add("verdict-request-not-offered", 5, &[&asking(0)], Reached::Accepted);
    add("verdict-reject", 5, &[&[0, 0, 0, 0]], Reached::Refused);
    add("verdict-not-now", 5, &[&[2, 0, 0, 0]], Reached::NotNow);
    add("verdict-extended", 5, &[&accept_extended()], Reached::Session);
    add(
        "verdict-extended-twice",
        5,
        &[&accept()[..accept().len() - 1], &[2, 9, 9, 0, 0, 9, 9, 0, 0]],
        Reached::Accepted,
    );
    add("verdict-padding", 5, &[&accept(), &[0, 1]], Reached::Accepted);

    for choice in [0, 6, 8, 8 | 6] {
        let peers = Peers::new(choice);
        let (hello, client) = peers.open(Some(&peers.ticket()));
        let taken = peers.take(&hello).unwrap();
        let Ok(Answer::Resumed(resumed)) = client.read(&taken.frame, &peers) else { unreachable!("it is genuine") };
        add(&format!("confirm-{choice}"), choice << 3 | 6, &[body(&resumed.frame)], Reached::Resumed);
    }
    add("confirm-of-nobody", 6, &[&[7; 16]], Reached::AwaitConfirm);

    // wrong password, not now; 2 for before the verifier's work.
    for (proof, names) in [(0, ["rejects", "is-not-ready"]), (8 << 3, ["proved-rejects", "proved-is-not-ready"])] {
        add(names[0], proof | 7, &[&[0]], Reached::Refused);
        add(names[1], proof | 7, &[&[1]], Reached::NotNow);
        add(
            &format!("{}-early", names[0]),
            proof | 7,
            &[&[2]],
            if proof == 0 { Reached::AwaitLogin } else { Reached::Refused },
        );
        add(
            &format!("{}-early", names[1]),
            proof | 7,
            &[&[3]],
            if proof == 0 { Reached::AwaitLogin } else { Reached::NotNow },
        );
    }
    // A request for a further factor, from a client that offers to answer, and from one that does not.
    add("asks", 6 << 3 | 7, &[&[8]], Reached::Asked);
    add("asks-what-is-not-offered", 7, &[&[8]], Reached::Refused);
    add("rejects-edited", 7, &[&[0, 0, 0, 100, 1]], Reached::Accepted);
    further_factors(add);
}

fn further_factors(add: &mut Add<'_>) {
    // What becomes of the last one, after so many, with a key or not.
    let head = |what: u8, before: u8, key: u8| [4 | key << 3 | what << 4 | before << 6];
    for (choice, before, key) in [(0, 0, 0), (8, 0, 1), (6, 1, 0), (8 | 7, 3, 1)] {
        let peers = Peers::new(choice).with_login(key == 1, usize::from(before) + 1);
        let (_, answered) = answer_to(&peers, usize::from(before));
        let parts: [&[u8]; 2] = [&head(0, before, key), body(&answered)];
        add(&format!("factor-{choice}"), choice << 3 | 7, &parts, Reached::Session);
    }
    add("factor-of-nobody", 7, &[&head(0, 0, 0), &[7; limits::CLIENT_FACTOR]], Reached::AwaitFactor);
    add("factor-none", 7, &[&head(0, 0, 0)], Reached::AwaitFactor);

    add("factor-sealed", 7, &[&head(1, 0, 0), &factor(b"answer 0")], Reached::Session);
    add("factor-sealed-of-before", 7, &[&head(1, 1, 0), &factor(b"answer 0")], Reached::WrongFactor);
    add("factor-sealed-long", 7, &[&head(1, 0, 0), &factor(&[b'x'; limits::MAX_ANSWER])], Reached::WrongFactor);
    add("factor-sealed-empty", 7, &[&head(1, 0, 0), &factor(b"")], Reached::AwaitFactor);
    add("factor-sealed-padding", 7, &[&head(1, 0, 0), &factor(b"answer 0"), &[0, 1]], Reached::AwaitFactor);

    add("factor-verdict-accept", 7, &[&head(2, 0, 0), &accept()], Reached::Session);
    add("factor-verdict-another", 7, &[&head(2, 0, 1), &asking(1)], Reached::Asked);
    add("factor-verdict-fifth", 7, &[&head(2, 3, 0), &asking(4)], Reached::Accepted);
    add("factor-verdict-reject", 7, &[&head(2, 1, 0), &[0, 0, 0, 0]], Reached::Refused);
    add("factor-verdict-not-now", 7, &[&head(2, 1, 0), &[2, 0, 0, 0]], Reached::NotNow);

    add("factor-asked-again", 7, &[&[1 | head(3, 0, 0)[0]]], Reached::Asked);
    add("factor-asked-a-fourth-time", 7, &[&[1 | head(3, 2, 1)[0]]], Reached::Asked);
    add("factor-asked-a-fifth-time", 7, &[&[1 | head(3, 3, 0)[0]]], Reached::Refused);
    add("factor-edit-nothing", 7, &[&head(3, 0, 0)], Reached::Session);
    add("factor-edit-request", 7, &[&head(3, 0, 0), &[0, 0, 0, 100, 1]], Reached::AwaitRequest);
    add("factor-edit-answer", 7, &[&head(3, 0, 0), &[1, 0, 0, 100, 1]], Reached::AwaitFactor);
    add("factor-edit-answer-cut", 7, &[&head(3, 0, 1), &[1, 1 | 4, 0, 100, 1]], Reached::AwaitFactor);
    add("factor-edit-verdict", 7, &[&head(3, 1, 0), &[2, 0, 0, 100, 1]], Reached::Accepted);
}

fn client_machine(add: &mut Add<'_>) {
    for choice in 0..16 {
        let what = choice << 3;
        let [_, challenge, _, verdict] = &frames(choice);
        add(
            &format!("hello-{choice}"),
            what,
            &[&len(body(challenge)), body(challenge), body(verdict)],
            Reached::Session,
        );
    }
    let [_, challenge, _, verdict] = &frames(0);
    add("raw-hello", 0x80, &[&len(challenge), challenge, verdict], Reached::Session);
    add("hello-without-verdict", 0, &[&len(body(challenge)), body(challenge)], Reached::Accepted);
    let mut other = body(challenge).to_vec();
    other[10] ^= 1;
    add("hello-of-nobody", 0, &[&len(&other), &other], Reached::Claim);
    add("hello-cut", 0, &[&len(&other), &other[..40]], Reached::AwaitAnswer);
    let [_, challenge, _, proved] = &frames(8);
    let mut other = body(challenge).to_vec();
    other[10] ^= 1;
    add("hello-of-nobody-with-key-known", 8 << 3, &[&len(&other), &other], Reached::AwaitAnswer);
    let unproved = [&body(challenge)[..challenge.len() - 3 - 34], &[0, 0]].concat();
    add("hello-without-proof", 8 << 3, &[&len(&unproved), &unproved], Reached::AwaitAnswer);
    add("verdict-after-proof", 8 << 3 | 3, &[body(proved)], Reached::Session);
    let mut elsewhere = body(&frames(0)[1]).to_vec();
    let context = elsewhere.len() - 2 - 1 - 8;
    elsewhere[context] ^= 1;
    add("hello-of-another-context", 0, &[&len(&elsewhere), &elsewhere], Reached::AwaitAnswer);
    add("busy", 5, &[&BUSY], Reached::Busy);
    add("busy-extended", 5, &[&[0, 9, 1, 9, 9, 0, 1, 7]], Reached::Busy);
    add("busy-cut", 5, &[&[0, 9]], Reached::AwaitAnswer);
    add("busy-with-puzzle", 5, &[&PUZZLE], Reached::Puzzle);
    add("busy-with-hard-puzzle", 5, &[&[&PUZZLE[..7], &[18], &PUZZLE[8..]].concat()], Reached::Busy);
    add("verdict", 3, &[body(verdict)], Reached::Session);
    add("verdict-raw", 0x83, &[verdict], Reached::Session);

    for choice in 0..16 {
        let peers = Peers::new(choice);
        let (hello, _) = peers.open(Some(&peers.ticket()));
        let answer = peers.take(&hello).unwrap().frame;
        add(&format!("resumption-{choice}"), choice << 3 | 2, &[body(&answer)], Reached::Resumed);
        if choice == 0 {
            let (challenge, _) = peers.challenge(&hello).unwrap();
            add("hello-after-ticket", 1, &[&len(body(&challenge)), body(&challenge)], Reached::Accepted);
            add("raw-resumption", 0x82, &[&answer], Reached::Resumed);
        }
        if choice == 8 {
            // It did not ask for a proof beside the ticket.
            let (challenge, _) = peers.challenge(&hello).unwrap();
            let seed: [&[u8]; 2] = [&len(body(&challenge)), body(&challenge)];
            add("unproved-hello-after-ticket", 8 << 3 | 1, &seed, Reached::AwaitAnswer);
        }
    }
    let shown = [("manifest", 6, Peers::new(0).with_manifest()), ("certificate", 7, Peers::new(0).with_certificate())];
    for (name, what, peers) in shown {
        let (challenge, _) = peers.challenge(&peers.hello().0).unwrap();
        // Before a proof, of which there is none: a signature.
        let (body, last) = (body(&challenge), challenge.len() - 3 - 3);
        let mut altered = body.to_vec();
        altered[last] ^= 1;
        let none = self::body(&frames(0)[1]).to_vec();
        add(&format!("shown-{name}"), what, &[body], Reached::Session);
        add(&format!("shown-{name}-raw"), what | 0x80, &[&challenge], Reached::Session);
        add(&format!("shown-{name}-altered"), what, &[&altered], Reached::AwaitAnswer);
        add(&format!("shown-no-{name}"), what, &[&none], Reached::AwaitAnswer);
    }
    add("sealed-accept", 4, &[&accept()], Reached::Resumed);
    add("sealed-reject", 4, &[&[0, 0, 0, 0]], Reached::AwaitAnswer);
    add("sealed-ticket", 4, &[&accept_with(&[7; 480], 1)], Reached::Resumed);
    add("sealed-ticket-extended", 4, &[&accept_extended()], Reached::Resumed);
    add("sealed-ticket-long", 4, &[&accept_with(&[7; 501], 1)], Reached::AwaitAnswer);
}

fn tickets(add: &mut Add<'_>) {
    let expiry = &LIFETIME.to_be_bytes()[6..];
    for choice in 0..16 {
        let what = choice << 3;
        let peers = Peers::new(choice);
        let ticket = peers.ticket();
        let (hello, _) = peers.open(Some(&ticket));
        let (sealed, binder) = (shown(&ticket), &hello[hello.len() - limits::BINDER..]);
        add(&format!("shown-{choice}"), what, &[&[0, 0], &len(&sealed), &sealed, binder], Reached::Resumed);
        add(&format!("kept-{choice}"), what | 2, &[&[0, 0], &ticket.to_bytes().unwrap()], Reached::Resumed);
        if choice > 0 {
            continue;
        }
        add("shown-again", 0x80, &[&[0, 0], &len(&sealed), &sealed, binder], Reached::Resumed);
        add("shown-late", 0, &[expiry, &len(&sealed), &sealed, binder], Reached::NotTaken);
        add("shown-without-binder", 0, &[&[0, 0], &len(&sealed), &sealed], Reached::AwaitHello);
        add("kept-late", 2, &[expiry, &ticket.to_bytes().unwrap()], Reached::NotTaken);

        let keys = peers.tickets.export(peers.today, &mut CountingRng(7)).unwrap();
        add("keys", 3, &[&[0, 0], &keys], Reached::Resumed);
        add("keys-late", 3, &[expiry, &keys], Reached::NotTaken);
        add("keys-none", 3, &[&[0, 0], &[2, 0]], Reached::NotTaken);
        let mut others = keys.to_vec();
        others[20] ^= 1;
        add("keys-of-others", 3, &[&[0, 0], &others], Reached::NotTaken);
        others[1] = 2;
        add("keys-of-both", 3, &[&[0, 0], &others, &keys[2..]], Reached::NotTaken);

        // As the library has it: principal, epoch, suite, key id, scope; of the chain its id, number, kind, beginning and root; two
        // dates and the secret.
        let of_suite_and_key = &ticket.to_bytes().unwrap()[1..35];
        let root = &sealed[..8];
        let [now, end, skew] = [TODAY, ticket.expires().as_secs(), limits::CLOCK_SKEW.as_secs()];
        let week = limits::TICKET_MAX_AGE.as_secs();
        let parts = |name: &[u8], root: &[u8], [authenticated, made, expires]: [u64; 3]| {
            let owner = [b"\0\x05", name, &7u64.to_be_bytes()].concat();
            let chain = [&[3; 16][..], &0u64.to_be_bytes(), &[1], &time(authenticated), root].concat();
            let dates = [time(made), time(expires)].concat();
            [&owner, of_suite_and_key, &scope(), &chain, &dates, &secret(&ticket)].concat()
        };
        add("contents", 4, &[&[0, 0], &parts(b"alice", root, [now, now, end])], Reached::Resumed);
        add("contents-of-mallory", 4, &[&[0, 0], &parts(b"mally", root, [now, now, end])], Reached::NotTaken);
        add("contents-of-another-root", 4, &[&[0, 0], &parts(b"alice", &[7; 8], [now, now, end])], Reached::NotTaken);
        // The last second, and one past it.
        for (name, times, reached) in [
            ("to-the-end", [now, now, now + 1], Reached::Resumed),
            ("ended", [now, now, now], Reached::NotTaken),
            ("of-a-week", [now + 1 - week, now, end], Reached::Resumed),
            ("of-over-a-week", [now - week, now, end], Reached::NotTaken),
            ("ahead", [now + skew, now + skew, end], Reached::Resumed),
            ("of-the-future", [now, now + skew + 1, end], Reached::NotTaken),
            ("begun-in-the-future", [now + skew + 1, now, end], Reached::NotTaken),
        ] {
            add(&format!("contents-{name}"), 4, &[&[0, 0], &parts(b"alice", root, times)], reached);
        }
        // One byte of it is another.
        for (name, at, change) in [
            ("of-another-epoch", 14, 1),
            ("of-another-suite", 16, 3),
            ("of-another-key", 17, 1),
            ("of-another-scope", 49, 1),
            ("by-a-kind-that-is-not-taken", 105, 5),
            ("with-another-secret", 138, 1),
            ("with-something-behind-it", 170, 1),
        ] {
            let mut contents = parts(b"alice", root, [now, now, end]);
            contents.resize(171, 0);
            contents[at] ^= change;
            add(&format!("contents-{name}"), 4, &[&[0, 0], &contents], Reached::NotTaken);
        }
    }
    // Many chains; one ticket after the other, and again.
    add("life", 5, &[&[0, 0, 99], &[0, 0, 1, 0, 1, 1, 1, 2, 1, 0]], Reached::NotTaken);
    add("life-chain", 5, &[&[0, 0, 99], &[0, 1, 0, 2, 1, 3, 2]], Reached::Resumed);
    add("life-again", 0x85, &[&[0, 0, 99], &[0, 1, 0, 2, 0, 3, 0]], Reached::Resumed);
    add("life-late", 5, &[&[0, 0, 99], &[0, 4, 0x0e, 0x10, 1, 0]], Reached::NotTaken);
    // Past the change of keys, and past the end of the one that the chain began under.
    let hours = [0, 4, 0x0d, 0, 1, 0, 4, 0x03, 0, 1, 1, 4];
    add("life-hours", 5, &[&[0, 0, 99], &hours, &[0x0a, 0, 1, 2]], Reached::Resumed);
    add("life-root-retired", 5, &[&[0, 0, 99], &hours, &[0x0e, 0, 1, 2]], Reached::NotTaken);
    // A chain of half an hour.
    let chain = [0, 4, 0x06, 0, 1, 0, 4, 0x01];
    add("life-max-age", 5, &[&[0x07, 0x08, 99], &chain, &[0x07, 1, 1]], Reached::Resumed);
    add("life-max-age-over", 5, &[&[0x07, 0x08, 99], &chain, &[0x08, 1, 1]], Reached::NotTaken);
    add("life-restart", 5, &[&[0, 0, 99], &[0, 0, 1, 0, 6, 1, 1]], Reached::Resumed);
    add("life-restart-used", 5, &[&[0, 0, 99], &[0, 1, 0, 6, 1, 0]], Reached::NotTaken);
    add("life-restart-with-nothing", 5, &[&[0, 0, 99], &[0, 7, 1, 0, 0, 1, 1]], Reached::Resumed);
    add("life-clock-back", 5, &[&[0, 0, 99], &[0, 1, 0, 5 | 8, 0, 30, 1, 0, 5, 0, 30, 1, 0]], Reached::NotTaken);
    add("life-clock-forward-and-back", 5, &[&[0, 0, 99], &[0, 1, 0, 5, 9, 0, 5 | 8, 9, 0, 1, 0]], Reached::NotTaken);
    add("life-no-room", 5, &[&[0, 0, 0], &[0, 0, 0, 1, 0, 1, 1, 1, 0, 1, 2]], Reached::NotTaken);
    // Of the client and the server, two bits each, and of both when the ticket was given out: another prologue, another channel.
    for (name, meant, reached) in [
        ("as-before", 0, Reached::Resumed),
        ("as-before-by-other-names", 0x3f, Reached::Resumed),
        ("over-another-channel", 0x0a, Reached::Resumed),
        ("under-another-prologue", 0x05, Reached::NotTaken),
        ("client-of-another-prologue", 0x01, Reached::AwaitAnswer),
        ("server-of-another-prologue", 0x04, Reached::AwaitAnswer),
        ("server-of-another-channel", 0x08, Reached::AwaitAnswer),
        ("client-of-both", 0x03, Reached::AwaitAnswer),
    ] {
        add(&format!("elsewhere-{name}"), 6, &[&[0, 0, meant]], reached);
        add(&format!("elsewhere-{name}-proved"), 14 << 3 | 6, &[&[0, 0, meant]], reached);
    }
    add("edit-nothing", 1, &[&[0, 0]], Reached::Resumed);
    add("edit-nonce", 1, &[&[0, 0], &[0, 0, 20, 1]], Reached::NotTaken);
    let peers = Peers::new(0);
    let binder = len(&peers.open(Some(&peers.ticket())).0[1..]);
    add("edit-binder", 1, &[&[0, 0, 0], &binder, &[1]], Reached::NotTaken);
    add("edit-cut", 1, &[&[0, 0], &[1 | 4, 1, 0, 1]], Reached::AwaitHello);
}

fn proxy(add: &mut Add<'_>) {
    // A login's frames: hello, challenge, login, verdict, then five records of the server's and five of the client's.
    for choice in 0..16 {
        add(&format!("login-{choice}"), choice << 1, &[], Reached::Session);
        add(&format!("resumption-{choice}"), choice << 1 | 1, &[], Reached::Resumed);
    }
    add("hello-dropped", 0, &[&[2]], Reached::AwaitHello);
    add("hello-edited", 0, &[&[1, 0, 20, 1]], Reached::Claim);
    add("hello-twice", 0, &[&[3]], Reached::AwaitLogin);
    add("hello-held", 0, &[&[4]], Reached::AwaitHello);
    add("challenge-cut", 0, &[&[0, 6, 0, 99]], Reached::AwaitAnswer);
    add("challenge-forged", 0, &[&[0, 7, 1, 0, 2, 0, 1]], Reached::AwaitAnswer);
    add("challenge-edited", 0, &[&[0, 1, 0, 20, 1]], Reached::Claim);
    add("login-edited", 0, &[&[0, 0, 1, 0, 100, 1]], Reached::Claim);
    add("login-after-hello", 0, &[&[0, 0, 5, 0]], Reached::AwaitLogin);
    add("verdict-edited", 0, &[&[0, 0, 0, 1, 0, 100, 1]], Reached::Accepted);
    add("verdict-swapped", 0, &[&[0, 0, 0, 4]], Reached::Accepted);
    add("records-swapped", 0, &[&[0, 0, 0, 0, 4]], Reached::Cut);
    add("record-replayed", 0, &[&[0, 0, 0, 0, 0, 5, 4]], Reached::Cut);
    add("record-dropped", 0, &[&[0; 9], &[2]], Reached::Cut);
    add("record-reflected", 0, &[&[0; 9], &[5, 4]], Reached::Cut);
    add("close-cut", 0, &[&[0; 8], &[6, 0, 9]], Reached::Cut);

    // The same with a proof: what is changed before it the client notices.
    let proof = 8 << 1;
    add("proved-hello-edited", proof, &[&[1, 0, 20, 1]], Reached::AwaitAnswer);
    add("proved-challenge-edited", proof, &[&[0, 1, 0, 20, 1]], Reached::AwaitAnswer);
    add("proved-login-edited", proof, &[&[0, 0, 1, 0, 100, 1]], Reached::Claim);
    add("proved-verdict-edited", proof, &[&[0, 0, 0, 1, 0, 100, 1]], Reached::Accepted);
    add("busy-forged", proof, &[&[0, 7, 8, 0, 3, 0, 9, 0]], Reached::AwaitAnswer);

    // A puzzle between the hello and its answer.
    for choice in [0, 3, 6, 8, 14] {
        add(&format!("puzzle-{choice}"), choice << 1 | 0x80, &[], Reached::Session);
    }
    add("puzzle-with-factors", 0xe0, &[], Reached::Session);
    add("puzzle-retry-edited", 0x80, &[&[0, 1, 0, 4, 1]], Reached::Session);
    add("puzzle-nonce-edited", 0x80, &[&[0, 1, 0, 20, 1]], Reached::Puzzle);
    add("puzzle-dropped", 0x80, &[&[0, 2]], Reached::Busy);
    add("puzzle-twice", 0x80, &[&[0, 3]], Reached::AwaitAnswer);
    add("solution-edited", 0x80, &[&[0, 0, 1, 0, 9, 0xff]], Reached::Puzzle);
    add("solution-dropped", 0x80, &[&[0, 0, 2]], Reached::Puzzle);
    add("solution-after-hello", 0x80, &[&[0, 0, 5, 0]], Reached::Puzzle);

    // By a key, and with two further factors: between login and verdict a request, its answer, and both again.
    for choice in [0, 8] {
        add(&format!("key-{choice}"), choice << 1 | 0x20, &[], Reached::Session);
        add(&format!("factors-{choice}"), choice << 1 | 0x40, &[], Reached::Session);
        add(&format!("key-and-factors-{choice}"), choice << 1 | 0x60, &[], Reached::Session);
    }
    add("key-and-factors-resumed", 0x61, &[], Reached::Resumed);
    add("key-edited", 0x20, &[&[0, 0, 1, 1, 100, 1]], Reached::Claim);
    add("factors-login-edited", 0x40, &[&[0, 0, 1, 1, 100, 1]], Reached::Claim);
    add("request-edited", 0x40, &[&[0, 0, 0, 1, 0, 100, 1]], Reached::AwaitRequest);
    add("request-dropped", 0x40, &[&[0, 0, 0, 2]], Reached::AwaitRequest);
    add("answer-edited", 0x60, &[&[0, 0, 0, 0, 1, 0, 100, 1]], Reached::AwaitFactor);
    add("answer-again", 0x40, &[&[0; 6], &[5, 4]], Reached::AwaitFactor);
    add("request-again", 0x40, &[&[0; 5], &[5, 3]], Reached::AwaitRequest);
    add("factors-verdict-edited", 0x40, &[&[0; 7], &[1, 0, 100, 1]], Reached::Accepted);

    // And a resumption's: hello, resumption, Confirm, and the records.
    add("resumption-again", 0x81, &[], Reached::Resumed);
    add("confirm-dropped", 1, &[&[0, 0, 2]], Reached::AwaitConfirm);
    add("confirm-edited", 1, &[&[0, 0, 1, 0, 9, 1]], Reached::AwaitConfirm);
    add("confirm-after-hello", 1, &[&[0, 0, 5, 0]], Reached::AwaitConfirm);
    add("unproved-ticket-edited", proof | 1, &[&[1, 0, 0x90, 1]], Reached::AwaitAnswer);
    add("ticket-edited", 1, &[&[1, 0, 0x90, 1]], Reached::Claim);
    add("ticket-cut", 1, &[&[1 | 5 << 3, 0, 0x90, 1]], Reached::AwaitHello);
    add("resumption-edited", 1, &[&[0, 1, 1, 0, 1]], Reached::AwaitAnswer);
    add("resumption-swapped", 1, &[&[0, 4]], Reached::AwaitAnswer);
    add("resumption-dropped", 1, &[&[0, 2]], Reached::AwaitAnswer);
    add("resumed-record-twice", 1, &[&[0, 0, 0, 3]], Reached::Cut);
}

fn records(add: &mut Add<'_>) {
    // Towards the server, and back with the top bit: 0 data, 1 in place, 2 key update, 3 close, 5 deliver, 15 deliver all.
    let down = 0x80;
    add("all", 0, &[&[0, 0, 3, 5, 2, 5, 0, 0, 9, 5, 3, 5]], Reached::Session);
    add("both-ways", 2, &[&[0, 0, 3, down, 0, 4, 15, down | 15, down | 3, down | 15, 0, 0, 5, 15]], Reached::Session);
    add("long", 3, &[&[0, 0x80, 1, 15, 2, 0, 0x40, 0, 15, 3, 15]], Reached::Session);
    add("in-place", 4, &[&[1, 0, 20, 1, 0, 19, 1, 0x40, 0x13, 1, 0x40, 0x14, 15, 3, 1, 0, 20, 15]], Reached::Session);
    add("resting", 0, &[&[0, 0, 3, 4, 15, 4, 2, 4, 15, 0, 0, 3, 15]], Reached::Session);
    add(
        "exported",
        0,
        &[&[13, 0, 32, 1, 13, 0x1f, 0xe0, 2, 13, 0, 0, 1, 13, 0, 32, 0, 13, 0, 32, 3, 13, 0, 32, 4]],
        Reached::Session,
    );
    add("replayed", 0, &[&[0, 0, 3, 5, 11, 0, 5]], Reached::Cut);
    add("reflected", 0, &[&[down, 0, 3, down | 5, 11, 1]], Reached::Cut);
    add("reordered", 0, &[&[0, 0, 1, 0, 0, 2, 10, 15]], Reached::Cut);
    add("lost", 0, &[&[0, 0, 1, 0, 0, 2, 9, 15]], Reached::Cut);
    add("update-lost", 0, &[&[0, 0, 1, 2, 0, 0, 1, 5, 9, 5]], Reached::Cut);
    add("altered", 0, &[&[0, 0, 9, 8, 0, 0, 5, 1, down, 0, 3, down | 15]], Reached::Cut);
    add("made-up", 0, &[&[12, 4, 0, 17], &[0xaa; 17]], Reached::Cut);
    add("update-made-up", 0, &[&[12, 5, 0, 16], &[0xaa; 16]], Reached::Cut);
    add("of-a-handshake", 0, &[&[12, 0, 0, 0]], Reached::Cut);
    add("after-close", 0, &[&[3, 5, 0, 0, 3, 2, 3, 11, 0]], Reached::Session);
}

fn connection(add: &mut Add<'_>) {
    // The frames of a login, and of what is said in the session after it.
    let quiet = [0; 12];
    for (name, client, reached) in [
        ("password", 0, Reached::Session),
        ("wrong-password", 2, Reached::Refused),
        ("token", 3, Reached::Session),
        ("wrong-token", 4, Reached::Refused),
        ("key", 5, Reached::Session),
        ("wrong-key", 6, Reached::Refused),
    ] {
        add(name, 0, &[&[client]], reached);
        add(&format!("{name}-in-pieces"), 8, &[&[client | 0x10]], reached);
        add(&format!("{name}-with-penalties"), 1, &[&[client]], reached);
    }
    add("byte-by-byte", 0, &[&[8]], Reached::Session);
    add("factors", 4, &[&[0]], Reached::Session);
    add("factors-and-proof", 8 | 2, &[&[0]], Reached::Session);
    add("wrong-factor", 4, &[&[7]], Reached::Refused);
    add("stretched", 0x40, &[&[0]], Reached::Session);
    add("stretched-after-proof", 0x48, &[&[0]], Reached::Session);
    add("stretched-and-factors", 0x44, &[&[0]], Reached::Session);
    add("wrong-stretched", 0x40, &[&[2]], Reached::Refused);
    add("token-where-passwords-are-stretched", 0x40, &[&[3]], Reached::Session);
    add("resumption", 0x10, &[&[0], &quiet, &[0], &quiet[1..], &[2]], Reached::Resumed);
    add("resumption-in-pieces", 0x10, &[&[0x10], &quiet, &[0x11]], Reached::Resumed);
    add("resumption-with-proof", 0x38, &[&[0], &quiet, &[0]], Reached::Resumed);
    add("no-resumption-without-proof", 0x18, &[&[0], &quiet, &[0]], Reached::Session);
    add("guessing", 1, &[&[2], &[0; 4], &[2], &[0; 4], &[2], &[0; 4], &[2], &[0; 4], &[0]], Reached::Refused);
    // hello, challenge, login, verdict, and records.
    add("hello-dropped", 0, &[&[0, 2]], Reached::AwaitLogin);
    add("hello-twice", 0, &[&[0, 3]], Reached::Refused);
    add("hello-edited", 0, &[&[0, 1, 0, 20, 1]], Reached::Refused);
    add("hello-cut", 0, &[&[0, 6, 0, 9]], Reached::AwaitLogin);
    add("challenge-dropped", 0, &[&[0, 0, 2]], Reached::AwaitLogin);
    add("challenge-edited", 8, &[&[0, 0, 1, 0, 20, 1]], Reached::AwaitLogin);
    add("login-edited", 0, &[&[0, 0, 0, 1, 0, 100, 1]], Reached::Refused);
    add("login-of-other-type", 0, &[&[0, 0, 0, 1, 0, 0, 1]], Reached::Refused);
    add("verdict-edited", 0, &[&[0, 0, 0, 0, 1, 0, 100, 1]], Reached::Accepted);
    add("verdict-dropped", 0, &[&[0, 0, 0, 0, 2]], Reached::Accepted);
    add("record-edited", 0, &[&[0, 0, 0, 0, 0, 1, 0, 50, 1]], Reached::Cut);
    add("record-dropped", 0, &[&[0, 0, 0, 0, 0, 0, 0, 2]], Reached::Cut);
    add("confirm-edited", 0x10, &[&[0], &quiet, &[0, 0, 0, 1, 0, 9, 1]], Reached::AwaitConfirm);
    add("puzzle", 6, &[&[0]], Reached::Session);
    add("puzzle-after-proof", 6 | 8, &[&[5]], Reached::Session);
    add("puzzle-stuttering", 6, &[&[0x30]], Reached::Session);
    add("puzzle-and-resumption", 6 | 0x10, &[&[0], &quiet, &[0, 0], &[0], &[0]], Reached::Resumed);
    add("puzzle-edited", 6, &[&[0, 0, 1, 0, 20, 1]], Reached::AwaitLogin);
    add("puzzle-spared", 6 | 1, &[&[0], &quiet, &[0, 0], &[2]], Reached::Refused);
    add("solution-dropped", 6, &[&[0, 0, 0, 2]], Reached::AwaitLogin);
    add("solution-twice", 6, &[&[0, 0, 0, 3]], Reached::Refused);

    // Pieces, interruptions and waiting on the way out, too.
    for (name, server, client) in
        [("password", 0, 0), ("byte-by-byte", 0, 8), ("key", 8, 0x15), ("factors", 4, 0x10), ("stretched", 0x48, 0x18)]
    {
        add(&format!("stuttering-{name}"), server, &[&[client | 0x20]], Reached::Session);
    }
    add("stuttering-refusal", 0, &[&[0x22]], Reached::Refused);
    add("stuttering-resumption", 0x10, &[&[0x30], &quiet, &[0x30]], Reached::Resumed);

    // Somebody gives up, in some round; and the next one gets in, or not.
    for (who, name) in ["server", "client", "both"].into_iter().enumerate() {
        let leaving = |round: u8| [0x40, (who as u8) << 6, round];
        for round in 0..10 {
            add(&format!("{name}-gives-up-{round}"), 2, &[&leaving(round), &[0; 8], &[0]], Reached::Session);
        }
        for round in 1..6 {
            let parts: [&[u8]; 4] = [&leaving(round), &[0; 8], &[0], &[0]];
            add(&format!("{name}-gives-up-proved-{round}"), 8 | 6, &parts, Reached::Session);
            let parts: [&[u8]; 5] = [&[0], &quiet, &leaving(round), &[0; 16], &[0]];
            add(&format!("{name}-gives-up-resuming-{round}"), 0x30, &parts, Reached::Resumed);
        }
        // While the verifier is asked: hello, challenge and login have come by then; a server that is still there sends its refusal.
        let frames = if name == "client" { 4 } else { 3 };
        let guess = [&[0x42], &leaving(3)[1..], &vec![0; frames]].concat();
        add(&format!("{name}-gives-up-guessing"), 1, &[&guess, &guess, &guess, &guess, &[0]], Reached::Refused);
    }

    // The server has another prologue, another channel underneath, or both; and the next connection is theirs again.
    for (name, server, client) in [("prologue", 0x80, 0), ("channel", 0, 0x80), ("context", 0x80, 0x80)] {
        for (kind, server) in [("", server), ("-proved", server | 8), ("-puzzle", server | 6)] {
            add(&format!("another-{name}{kind}"), server, &[&[client]], Reached::AwaitAnswer);
        }
    }
    add("another-channel-and-back", 0x10, &[&[0x80, 0, 0], &[0]], Reached::Session);
    add("another-channel-with-ticket", 0x10, &[&[0], &quiet, &[0x80]], Reached::AwaitAnswer);
    add("forged-busy", 0, &[&[0, 0, 7, 8, 0, 3, 0, 9, 0]], Reached::AwaitLogin);
    let puzzle = [&[0, 0, 7, 8, 0, 40][..], &PUZZLE].concat();
    add("forged-puzzle", 0, &[&puzzle], Reached::AwaitLogin);
}

/// A solution of the puzzle that the server sends in `server_machine`.
fn solution(choice: u8) -> Vec<u8> {
    let peers = Peers::new(choice);
    let (hello, client) = peers.open(None);
    let (busy, _) = peers.puzzle(&hello, 2).unwrap();
    let solution = client.puzzle(&busy).unwrap().solve(|| true).unwrap();
    let (frame, _) = client.solved(&solution);
    body(&frame).to_vec()
}

/// Edits of hello and challenge that have each end read there what it means itself, though the server's prologue is another.
fn contexts_exchanged(choice: u8) -> [Vec<u8>; 2] {
    let peers = Peers::new(choice).meaning([0, 1]);
    let (hello, _) = peers.hello();
    let (challenge, _) = peers.challenge(&hello).unwrap();
    let theirs = codec::decode::<ClientHello<'_>>(body(&hello)).unwrap().context;
    let ours = codec::decode::<ServerHello<'_>>(body(&challenge)).unwrap().context;
    let edits = |which: u8, frame: &[u8], said: &[u8]| -> Vec<u8> {
        let place = frame.windows(said.len()).position(|part| part == said).unwrap();
        let change = |(at, (ours, theirs)): (usize, (&u8, &u8))| {
            let [high, low] = u16::try_from(place + at).unwrap().to_be_bytes();
            [which, 0, high, low, ours ^ theirs]
        };
        ours.iter().zip(&theirs).enumerate().filter(|(_, (ours, theirs))| ours != theirs).flat_map(change).collect()
    };
    [edits(0, &hello, &theirs), edits(1, &challenge, &ours)]
}

/// The answer to the request after so many that were answered before, and who sent it.
fn answer_to(peers: &Peers, before: usize) -> (AwaitVerdict, Vec<u8>) {
    let (client, asked) = requested(peers, before);
    let Ok(Verdict::Factor(wanted)) = client.read_step(&asked.frame, NOW, peers.today) else {
        unreachable!("the request is genuine")
    };
    let (frame, client) = wanted.answer(&answer(before), NOW).unwrap();
    (client, frame)
}

fn factor(answer: &[u8]) -> Vec<u8> {
    encode(&Factor { answer: Bytes(answer) })
}

fn request(turn: usize) -> Vec<u8> {
    let prompt = prompt(turn);
    encode(&FactorRequest { form: prompt.form().number(), prompt: Text(prompt.text()) })
}

/// A verdict that asks for a further factor.
fn asking(turn: usize) -> Vec<u8> {
    let request = request(turn);
    let extensions = List::from_slice(&[Extension { number: 5, data: Bytes(&request) }]).unwrap();
    let grant = GrantMessage { decision: 3, principal: Text(""), permissions: List::new() };
    encode(&VerdictMessage { grant, ticket: Bytes(b""), ticket_lifetime: 0, extensions })
}

/// What alice's client seals with a key of hers, for the genuine connection of this choice.
fn key_credential(choice: u8, key: &ClientKey) -> Vec<u8> {
    let peers = Peers::new(choice);
    let (hello, client) = peers.hello();
    let (challenge, _) = peers.challenge(&hello).unwrap();
    let signing = peers.sign(client, &challenge, key);
    let signature = toy::signature(key.public_key(), signing.message());
    let proof = encode(&KeyProof { key: Bytes(key.public_key().spki_der()), signature: Bytes(&signature) });
    encode(&CredentialMessage { kind: 3, user: Text("alice"), secret: Bytes(&proof) })
}

/// A login without a ticket.
fn frames(choice: u8) -> [Vec<u8>; 4] {
    let peers = Peers::new(choice);
    let (hello, client) = peers.hello();
    let (challenge, server) = peers.challenge(&hello).unwrap();
    let (login, _) = peers.login(client, &challenge).unwrap();
    let Ok(accepted) = serve(&peers, server, login.clone(), true) else { unreachable!("the login is genuine") };
    [hello, challenge, login, accepted.frame]
}

fn len(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap().to_be_bytes()
}

fn password() -> Vec<u8> {
    let Credential::Password { user, password } = ALICE else { unreachable!("Alice has a password") };
    encode(&CredentialMessage { kind: 1, user: Text(user), secret: Bytes(password) })
}

fn accept() -> Vec<u8> {
    accept_with(b"", 0)
}

/// With two extensions that nobody knows.
fn accept_extended() -> Vec<u8> {
    let mut accept = accept();
    accept.pop();
    [&accept[..], &[2, 9, 9, 0, 1, 7, 0x0a, 0x0a, 0, 0]].concat()
}

/// A Busy for nine seconds.
const BUSY: [u8; 3] = [0, 9, 0];

/// The same, with a puzzle of two bits.
const PUZZLE: [u8; 40] = {
    let mut busy = [7; 40];
    let head = [0, 9, 1, 0, 3, 0, 33, 2];
    let mut at = 0;
    while at < head.len() {
        busy[at] = head[at];
        at += 1;
    }
    busy
};

/// What a ticket is good for without names: the hash of the server name, and that of the prologue.
pub(crate) fn scope() -> [u8; 32] {
    let hash = |parts: &[&[u8]]| -> [u8; 32] {
        let part = |hash: Sha256, part: &&[u8]| hash.chain_update(len(part)).chain_update(part);
        parts.iter().fold(Sha256::new(), part).finalize().into()
    };
    hash(&[b"countersign v1 ticket", b"", &hash(&[b"countersign v1 prologue", b""])])
}

fn accept_with(ticket: &[u8], ticket_lifetime: u64) -> Vec<u8> {
    let permissions = List::from_slice(&[Text("read"), Text("write")]).unwrap();
    let grant = GrantMessage { decision: 1, principal: Text("alice"), permissions };
    encode(&VerdictMessage { grant, ticket: Bytes(ticket), ticket_lifetime, extensions: List::new() })
}

fn encode<'a>(message: &impl Message<'a>) -> Vec<u8> {
    let mut out = Vec::new();
    codec::encode(message, &mut out).unwrap();
    out
}

fn body(frame: &[u8]) -> &[u8] {
    split(frame).unwrap().1
}
