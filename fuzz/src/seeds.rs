//! The seed corpus, made by the library's own encoder: from nothing, no fuzzer finds a whole login.

use crate::judge::{Reached, serve};
use crate::peers::{ALICE, LIFETIME, Peers, shown};
use crate::toy::CountingRng;
use countersign::codec::{self, Bytes, CredentialMessage, GrantMessage, List, Message, Text, VerdictMessage};
use countersign::frame::split;
use countersign::{Credential, limits};

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
    add("credential", [1, 2, 4], &password(), Expected::Decodes);
    add("verdict", [1, 2, 4], &accept(), Expected::Decodes);

    let (mut client, _) = Peers::new(0).sessions();
    let mut records = Vec::new();
    client.sealer.seal(b"hello", &mut records).unwrap();
    client.sealer.update_key(&mut records).unwrap();
    client.sealer.close(&mut records).unwrap();
    add("login", [3, 4, 4], &frames.concat(), Expected::Stream);
    add("records", [5, 6, 4], &records, Expected::Stream);
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

fn client_machine(add: &mut Add<'_>) {
    for choice in 0..8 {
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
    add("verdict", 3, &[body(verdict)], Reached::Session);
    add("verdict-raw", 0x83, &[verdict], Reached::Session);

    for choice in 0..4 {
        let peers = Peers::new(choice);
        let (hello, _) = peers.open(Some(&peers.ticket()));
        let answer = peers.take(&hello).unwrap().frame;
        add(&format!("resumption-{choice}"), choice << 3 | 2, &[body(&answer)], Reached::Resumed);
        if choice == 0 {
            let (challenge, _) = peers.challenge(&hello).unwrap();
            add("hello-after-ticket", 1, &[&len(body(&challenge)), body(&challenge)], Reached::Accepted);
            add("raw-resumption", 0x82, &[&answer], Reached::Resumed);
        }
    }
    add("sealed-accept", 4, &[&accept()], Reached::Resumed);
    add("sealed-reject", 4, &[&[0, 0, 0, 0]], Reached::AwaitAnswer);
    add("sealed-ticket", 4, &[&accept_with(&[7; 150], 1)], Reached::Resumed);
    add("sealed-ticket-long", 4, &[&accept_with(&[7; 501], 1)], Reached::AwaitAnswer);
}

fn tickets(add: &mut Add<'_>) {
    let expiry = &LIFETIME.to_be_bytes()[6..];
    for choice in 0..4 {
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
        add("shown-once", 0x80, &[&[0, 0], &len(&sealed), &sealed, binder], Reached::Resumed);
        add("shown-late", 0, &[expiry, &len(&sealed), &sealed, binder], Reached::NotTaken);
        add("shown-without-binder", 0, &[&[0, 0], &len(&sealed), &sealed], Reached::AwaitHello);
        add("kept-late", 2, &[expiry, &ticket.to_bytes().unwrap()], Reached::NotTaken);

        let keys = peers.tickets.export(peers.today, &mut CountingRng(7)).unwrap();
        add("keys", 3, &[&[0, 0], &keys], Reached::Resumed);
        add("keys-late", 3, &[expiry, &keys], Reached::NotTaken);
        add("keys-none", 3, &[&[0, 0], &[1, 0]], Reached::NotTaken);
        let mut others = keys.to_vec();
        others[20] ^= 1;
        add("keys-of-others", 3, &[&[0, 0], &others], Reached::NotTaken);
        others[1] = 2;
        add("keys-of-both", 3, &[&[0, 0], &others, &keys[2..]], Reached::NotTaken);

        // As the library has it: principal, epoch, suite, key id, two dates, and the secret.
        let saved = ticket.to_bytes().unwrap();
        let dates = [peers.today.as_secs().to_be_bytes(), ticket.expires().as_secs().to_be_bytes()].concat();
        let parts =
            |name: &[u8]| [b"\0\x05", name, &7u64.to_be_bytes(), &saved[1..35], &dates, &saved[43..75]].concat();
        add("contents", 4, &[&[0, 0], &parts(b"alice")], Reached::Resumed);
        add("contents-of-mallory", 4, &[&[0, 0], &parts(b"mally")], Reached::NotTaken);
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
    for choice in 0..8 {
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

    // And a resumption's: hello, resumption, and the records.
    add("ticket-edited", 1, &[&[1, 0, 0x90, 1]], Reached::Claim);
    add("ticket-cut", 1, &[&[1 | 5 << 3, 0, 0x90, 1]], Reached::AwaitHello);
    add("resumption-edited", 1, &[&[0, 1, 1, 0, 1]], Reached::AwaitAnswer);
    add("resumption-swapped", 1, &[&[0, 4]], Reached::AwaitAnswer);
    add("resumption-dropped", 1, &[&[0, 2]], Reached::AwaitAnswer);
    add("resumed-record-twice", 1, &[&[0, 0, 3]], Reached::Cut);
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

fn accept_with(ticket: &[u8], ticket_expires: u64) -> Vec<u8> {
    let permissions = List::from_slice(&[Text("read"), Text("write")]).unwrap();
    let grant = GrantMessage { decision: 1, principal: Text("alice"), permissions };
    encode(&VerdictMessage { grant, ticket: Bytes(ticket), ticket_expires })
}

fn encode<'a>(message: &impl Message<'a>) -> Vec<u8> {
    let mut out = Vec::new();
    codec::encode(message, &mut out).unwrap();
    out
}

fn body(frame: &[u8]) -> &[u8] {
    split(frame).unwrap().1
}
