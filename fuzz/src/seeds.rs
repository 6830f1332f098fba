//! The seed corpus, made by the library's own encoder: from nothing, no fuzzer finds a whole login.

use crate::peers::{ALICE, NOW, Peers, grant};
use crate::server_machine::Reached;
use crate::toy::CountingRng;
use countersign::Credential;
use countersign::codec::{self, Bytes, CredentialMessage, List, Message, Text, VerdictMessage};
use countersign::frame::split;

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
}

pub fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    decode(|name: &str, head: [u8; 3], bytes: &[u8], expected| {
        let bytes = [&head, bytes].concat();
        seeds.push(Seed { target: "decode", name: name.to_owned(), bytes, expected });
    });
    server_machine(|name: &str, what: u8, parts: &[&[u8]], reached| {
        let bytes = [&[what], &parts.concat()[..]].concat();
        let expected = Expected::Reaches(reached);
        seeds.push(Seed { target: "server_machine", name: name.to_owned(), bytes, expected });
    });
    seeds
}

fn decode(mut add: impl FnMut(&str, [u8; 3], &[u8], Expected)) {
    let frames = frames(4);
    for (index, name) in ["client-hello", "server-hello", "client-login", "server-verdict"].into_iter().enumerate() {
        add(name, [1, 2, index as u8], body(&frames[index]), Expected::Decodes);
    }
    add("server-hello-with-key", [1, 2, 1], body(&self::frames(0)[1]), Expected::Decodes);
    add("credential", [1, 2, 4], &password(), Expected::Decodes);
    add("verdict", [1, 2, 4], &accept(), Expected::Decodes);

    let (mut client, _) = Peers::new(0).sessions();
    let mut records = Vec::new();
    client.seal(b"hello", &mut records).unwrap();
    client.update_key(&mut records).unwrap();
    client.close(&mut records).unwrap();
    add("login", [3, 4, 4], &frames.concat(), Expected::Stream);
    add("records", [5, 6, 4], &records, Expected::Stream);
}

fn server_machine(mut add: impl FnMut(&str, u8, &[&[u8]], Reached)) {
    // Each suite, with the key sent and with the key at hand.
    for choice in 0..8 {
        let what = choice << 3;
        let [hello, _, login, _] = &frames(choice);
        let len = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let parts: [&[u8]; 3] = [&len(body(hello)), body(hello), body(login)];
        add(&format!("hello-{choice}"), what, &parts, Reached::Session);
        add(&format!("login-{choice}"), what | 1, &[body(login)], Reached::Session);
        add(&format!("raw-hello-{choice}"), what | 0x80, &[&len(hello), hello, login], Reached::Session);
    }
    add("raw-login", 0x81, &[&frames(0)[2]], Reached::Session);

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

    // 0 data, 1 key update, 2 close; 3 deliver, 4 alter, 5 forge, 6 reorder, 7 replay.
    add("records", 3, &[&[0, 2, b'a', b'b', b'c', 3, 1, 3, 0, 0, b'd', 3, 2, 3]], Reached::Session);
    add("records-replayed", 3, &[&[0, 0, b'a', 3, 7, 3]], Reached::Session);
    add("records-reordered", 3, &[&[0, 0, b'a', 0, 0, b'b', 6, 3, 3]], Reached::Session);
    add("records-altered", 3, &[&[0, 0, b'a', 4, 0, 5, 1, 3]], Reached::Session);
    add("records-forged", 3, &[&[5, 0, 17], &[0xaa; 17]], Reached::Session);
    add("records-after-close", 3, &[&[2, 3, 0, 0, b'a', 7]], Reached::Session);

    add("credential-password", 4, &[&password()], Reached::Session);
    let token = encode(&CredentialMessage { kind: 2, user: Text(""), secret: Bytes(b"cst_token") });
    add("credential-token", 4, &[&token], Reached::Session);
    let long = CredentialMessage { kind: 2, user: Text(""), secret: Bytes(&[b'x'; 600]) };
    add("credential-long", 4, &[&encode(&long)], Reached::Session);
    let empty = encode(&CredentialMessage { kind: 1, user: Text("alice"), secret: Bytes(b"") });
    add("credential-empty", 4, &[&empty], Reached::Claim);
    add("credential-padding", 4, &[&password(), &[0, 1]], Reached::Claim);

    add("verdict-accept", 5, &[&accept()], Reached::Session);
    add("verdict-reject", 5, &[&[0, 0, 0, 0]], Reached::Accepted);
    add("verdict-padding", 5, &[&accept(), &[0, 1]], Reached::Accepted);
}

fn frames(choice: u8) -> [Vec<u8>; 4] {
    let peers = Peers::new(choice);
    let (hello, client) = peers.hello();
    let (challenge, server) = peers.challenge(&hello).unwrap();
    let (login, _) = peers.login(client, &challenge).unwrap();
    let claim = server.read(login.clone(), NOW).unwrap().admit().run(&mut CountingRng(4));
    let verdict = claim.accept(grant()).unwrap().frame;
    [hello, challenge, login, verdict]
}

fn password() -> Vec<u8> {
    let Credential::Password { user, password } = ALICE else { unreachable!("Alice has a password") };
    encode(&CredentialMessage { kind: 1, user: Text(user), secret: Bytes(password) })
}

fn accept() -> Vec<u8> {
    let permissions = List::from_slice(&[Text("read"), Text("write")]).unwrap();
    encode(&VerdictMessage { decision: 1, principal: Text("alice"), permissions, ticket: Bytes(b""), ticket_expires: 0 })
}

fn encode<'a>(message: &impl Message<'a>) -> Vec<u8> {
    let mut out = Vec::new();
    codec::encode(message, &mut out).unwrap();
    out
}

fn body(frame: &[u8]) -> &[u8] {
    split(frame).unwrap().1
}
