//! Bytes into the server's machine, in any of its states: the input says how far a genuine client goes first.
//!
//! ```text
//! input = what (1) || the rest
//! ```
//!
//! | `what & 7` | the rest is |
//! |---|---|
//! | 0 | length of a hello (2) \|\| the body of a hello \|\| the body of a login |
//! | 1 | the body of a login, after a genuine hello |
//! | 2 | edits of the four genuine frames on their way, 5 bytes each |
//! | 3 | what happens to the records of a session |
//! | 4 | what a client with a good key seals as its credential |
//! | 5 | what a server with a good key seals as its verdict |
//! | 6 | the body of a Confirm, after a genuine hello with a ticket |
//! | 7 | what the server decides (1) \|\| edits of its verdict, 4 bytes each |
//!
//! Four more bits choose the genuine client's suite, extensions, and whether it has the server's key whole and so asks for
//! a proof (`Peers::with`); the top bit is that as well, and takes the header of a frame from the input. Never may anything
//! panic, and never may a server accept, or a client hold a session, unless every byte is what the genuine peer sent.

use crate::judge::{self, Reached, assert_is, decide, finish, serve};
use crate::peers::{ALICE, NOW, Peers, grant};
use crate::toy;
use crate::{Input, edit, frame, hostile, in_frame};
use countersign::client::Answer;
use countersign::codec::{Bytes, CredentialMessage, Text};
use countersign::frame::{FrameType, split};
use countersign::{Credential, Error, Reason, RecordError, Session, limits};
use std::collections::VecDeque;

pub fn run(data: &[u8]) -> Reached {
    let mut input = Input(data);
    let what = input.byte();
    let choice = what >> 3;
    let header = what & 0x80 == 0;
    match what & 7 {
        0 => hello(choice, header, input),
        1 => login(choice, header, input.rest()),
        2 => edits(choice, input),
        3 => records(choice, input),
        4 => credential(choice, input.rest()),
        5 => verdict(choice, input.rest()),
        6 => confirm(choice, in_frame(header, FrameType::Confirm, input.rest())),
        _ => decision(choice, input),
    }
}

fn hello(choice: u8, header: bool, mut input: Input<'_>) -> Reached {
    let peers = Peers::new(choice);
    let len = input.number();
    let hello = in_frame(header, FrameType::ClientHello, input.bytes(len));
    let login = in_frame(header, FrameType::ClientLogin, input.rest());
    let (genuine_hello, client) = peers.hello();
    let Ok((challenge, server)) = peers.challenge(&hello) else {
        assert!(hello != genuine_hello, "a genuine hello was turned away");
        return Reached::AwaitHello;
    };
    assert!(split(&challenge).is_ok_and(|(kind, _)| kind == FrameType::ServerHello));
    if hello != genuine_hello {
        // The genuine client never saw this challenge, so no login is genuine.
        return serve(&peers, server, login, false).map_or_else(|reached| reached, |_| Reached::Accepted);
    }
    let (genuine_login, client) = peers.login(client, &challenge).unwrap();
    let genuine = login == genuine_login;
    serve(&peers, server, login, genuine).map_or_else(|reached| reached, |accepted| finish(&peers, client, &accepted))
}

fn login(choice: u8, header: bool, body: &[u8]) -> Reached {
    let peers = Peers::new(choice);
    let (hello, client) = peers.hello();
    let (challenge, server) = peers.challenge(&hello).unwrap();
    let (genuine_login, client) = peers.login(client, &challenge).unwrap();
    let login = in_frame(header, FrameType::ClientLogin, body);
    let genuine = login == genuine_login;
    serve(&peers, server, login, genuine).map_or_else(|reached| reached, |accepted| finish(&peers, client, &accepted))
}

/// Whatever is changed on the way, on any frame, in either direction, ends the login.
fn edits(choice: u8, mut input: Input<'_>) -> Reached {
    let mut edits: [Vec<[u8; 4]>; 4] = Default::default();
    while !input.is_empty() {
        let which = usize::from(input.byte() & 3);
        edits[which].push([input.byte(), input.byte(), input.byte(), input.byte()]);
    }
    let mut all_genuine = true;
    // Gives the frame as it arrives, and whether everything so far arrived as it was sent.
    let mut send = |which: usize, sent: &[u8]| {
        let mut frame = sent.to_vec();
        edits[which].iter().for_each(|change| edit(*change, &mut frame));
        all_genuine &= frame == sent;
        (frame, all_genuine)
    };

    let peers = Peers::new(choice);
    let (hello, client) = peers.hello();
    let (hello, genuine) = send(0, &hello);
    let (challenge, server) = match peers.challenge(&hello) {
        Ok(next) => next,
        Err(error) if genuine => panic!("a genuine hello was turned away: {error:?}"),
        Err(_) => return Reached::AwaitHello,
    };
    let (challenge, genuine) = send(1, &challenge);
    let asked = client.read(&challenge, NOW);
    asked.iter().for_each(|challenge| judge::proof(challenge.is_proved(), genuine));
    let (login, client) = match asked.and_then(|challenge| peers.answer(ALICE, challenge)) {
        Ok(next) => next,
        Err(error) if genuine => panic!("a genuine challenge was turned away: {error:?}"),
        Err(_) => return Reached::AwaitLogin,
    };
    let (login, genuine) = send(2, &login);
    let accepted = match serve(&peers, server, login, genuine) {
        Ok(accepted) => accepted,
        Err(reached) => return reached,
    };
    let (verdict, genuine) = send(3, &accepted.frame);
    if genuine {
        return finish(&peers, client, &accepted);
    }
    assert!(client.read(&verdict, NOW, peers.today).is_err(), "a client took an altered verdict");
    Reached::Accepted
}

/// A session, and somebody on the wire. The server opens the client's records once each, in order, unchanged, and after
/// anything else nothing more.
fn records(choice: u8, mut input: Input<'_>) -> Reached {
    let (mut client, mut server) = Peers::new(choice).seeded(input.seed()).sessions();
    // What the client sent and means, what is still on the wire, and how many records the server has opened.
    let (mut sent, mut wire, mut opened) = (Vec::new(), VecDeque::new(), 0);
    let (mut last, mut closed, mut over, mut ended_well) = (None, false, false, false);
    while !input.is_empty() {
        let act = input.byte();
        let mut record = Vec::new();
        let frame: Option<Vec<u8>> = match act & 7 {
            what @ 0..=2 => {
                let (sealed, data) = match what {
                    0 => {
                        let len = 1 + usize::from(input.byte());
                        let mut data = input.bytes(len).to_vec();
                        data.resize(len, 0);
                        (client.sealer.seal(&data, &mut record), Some(data))
                    }
                    1 => (client.sealer.update_key(&mut record), None),
                    _ => (client.sealer.close(&mut record), None),
                };
                assert_eq!(sealed.is_err(), closed, "a closed side seals nothing, an open one everything");
                closed |= what == 2;
                // An update of an unused key is none.
                if sealed.is_ok() && !record.is_empty() {
                    wire.push_back(record.clone());
                    sent.push((record, data));
                }
                None
            }
            3 => wire.pop_front(),
            4 => {
                let change = [act >> 3, input.byte(), input.byte(), input.byte()];
                wire.pop_front().map(|mut record: Vec<u8>| {
                    edit(change, &mut record);
                    record
                })
            }
            5 => {
                let kind = Session::EXPECTS[usize::from(act >> 3) % Session::EXPECTS.len()];
                let len = input.number();
                Some(frame(kind, input.bytes(len)))
            }
            6 => {
                wire.rotate_left(usize::from(wire.len() > 1));
                None
            }
            _ => last.clone(),
        };
        let Some(mut frame) = frame else { continue };
        last = Some(frame.clone());

        let next = sent.get(opened).filter(|(record, _)| !over && *record == frame);
        let result = server.opener.open(&mut frame);
        assert!(!over || matches!(result, Err(Error::Record(RecordError::AfterEnd))));
        match judge::received(&result, next) {
            Some(FrameType::Close) => (over, ended_well) = (true, true),
            Some(_) => {}
            None => over = true,
        }
        opened += 1;
    }
    assert_eq!(server.opener.end().is_ok(), ended_well, "the peer's close is the one proper end");
    Reached::Session
}

/// A client that seals what it likes under the right key. What the server takes for a credential must encode to it.
fn credential(choice: u8, plaintext: &[u8]) -> Reached {
    let peers = Peers::with(choice, hostile::provider(), toy::provider());
    // A password that makes the genuine credential as long: kind, user and two lengths take 10 bytes.
    let password = vec![b'x'; plaintext.len().clamp(11, 10 + limits::MAX_SECRET) - 10];
    let alice = Credential::Password { user: "alice", password: &password };
    let (hello, client) = peers.hello();
    let (challenge, server) = peers.challenge(&hello).unwrap();
    hostile::slip_in(plaintext);
    let (login, client) = peers.login_as(alice, client, &challenge).unwrap();

    let claim = peers.claim(server, login).unwrap();
    let opened = match claim.credential() {
        Credential::Password { user: "", password: b"" } => false,
        Credential::Password { user, password } => {
            assert!(!user.is_empty() && user.len() <= limits::MAX_USER && !user.chars().any(char::is_control));
            assert_is(&CredentialMessage { kind: 1, user: Text(user), secret: Bytes(password) }, plaintext, 256);
            true
        }
        Credential::Token(token) => {
            assert_is(&CredentialMessage { kind: 2, user: Text(""), secret: Bytes(token) }, plaintext, 256);
            true
        }
        _ => panic!("a kind of credential that this target does not know"),
    };
    decide(&peers, claim, opened).map_or_else(|reached| reached, |accepted| finish(&peers, client, &accepted))
}

/// A server that seals what it likes under the right key. What the client takes for a grant must encode to it.
fn verdict(choice: u8, plaintext: &[u8]) -> Reached {
    let peers = Peers::with(choice, toy::provider(), hostile::provider());
    let (hello, client) = peers.hello();
    let (challenge, server) = peers.challenge(&hello).unwrap();
    let (login, client) = peers.login(client, &challenge).unwrap();
    let claim = peers.claim(server, login).unwrap();
    hostile::slip_in(plaintext);
    let accepted = claim.accept(grant()).unwrap();

    match client.read(&accepted.frame, NOW, peers.today) {
        Ok(session) => {
            judge::grant_is(&peers, &session, plaintext);
            Reached::Session
        }
        Err(Error::Refused) => {
            judge::nothing_is_granted(0, plaintext);
            Reached::Refused
        }
        Err(Error::NotNow) => {
            judge::nothing_is_granted(2, plaintext);
            Reached::NotNow
        }
        Err(Error::Decode(_) | Error::Violation(_)) => Reached::Accepted,
        Err(error) => panic!("an authentic verdict gave: {error:?}"),
    }
}

/// The server took a ticket; it has a session after its client's Confirm alone.
fn confirm(choice: u8, confirm: Vec<u8>) -> Reached {
    let peers = Peers::new(choice);
    let ticket = peers.ticket();
    let (hello, client) = peers.open(Some(&ticket));
    let taken = peers.take(&hello).expect("the ticket is good");
    let Ok(Answer::Resumed(resumed)) = client.read(&taken.frame, &peers) else { panic!("the answer is genuine") };
    if confirm == resumed.frame {
        judge::confirm(&peers, resumed, taken);
        return Reached::Resumed;
    }
    let error = taken.server.read(confirm, NOW).expect_err("a Confirm that nobody sent");
    judge::blames_the_peer(&error);
    Reached::AwaitConfirm
}

/// What the server can say beside yes, before the RSA operation or the verifier's work and after it. The client hears that, or
/// that somebody interfered, and nothing else.
fn decision(choice: u8, mut input: Input<'_>) -> Reached {
    let peers = Peers::new(choice);
    let (hello, client) = peers.hello();
    let (challenge, server) = peers.challenge(&hello).unwrap();
    let (login, client) = peers.login(client, &challenge).unwrap();
    let what = input.byte();
    let reason = if what & 1 == 0 { Reason::WrongPassword } else { Reason::NotNow("away") };
    let is_early = what & 2 != 0;
    let refusal = if is_early {
        server.read(login, NOW).unwrap().refuse(reason)
    } else {
        peers.claim(server, login).unwrap().reject(reason)
    };
    // Without a proof nothing has been opened yet that the client could be answered under: it is told nothing.
    let is_told = !is_early || peers.wants_proof();
    assert_eq!(refusal.frame.is_empty(), !is_told);
    if !is_told {
        return Reached::AwaitLogin;
    }
    judge::check(&refusal);
    let mut frame = refusal.frame.clone();
    while !input.is_empty() {
        edit([input.byte(), input.byte(), input.byte(), input.byte()], &mut frame);
    }
    match client.read(&frame, NOW, peers.today).expect_err("nobody accepted") {
        Error::Refused if frame == refusal.frame && what & 1 == 0 => Reached::Refused,
        Error::NotNow if frame == refusal.frame && what & 1 != 0 => Reached::NotNow,
        Error::VerdictNotAuthentic | Error::Frame(_) if frame != refusal.frame => Reached::Accepted,
        error => panic!("a refusal gave: {error:?}"),
    }
}
