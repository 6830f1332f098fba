//! Bytes into the client's machine, in any of its states: the input says what a genuine server has answered before.
//!
//! ```text
//! input = what (1) || the rest
//! ```
//!
//! | `what & 7` | the rest is |
//! |---|---|
//! | 0 | length of a ServerHello (2) \|\| its body \|\| the body of a verdict |
//! | 1 | the same, to a client that has shown a ticket |
//! | 2 | the body of a ServerResumption, to that client |
//! | 3 | the body of a verdict, after a genuine ServerHello |
//! | 4 | what a server with a good ticket seals as its verdict |
//! | 5 | the body of a Busy |
//! | 6 | the body of a ServerHello, to a client that knows its server by a manifest |
//! | 7 | the same, to one that knows it by a certificate |
//!
//! The other bits are as in [`crate::server_machine`]; for 6 and 7 the client has no key of the server's. Never may anything panic, and never may a client hold a session
//! unless every byte is what the genuine server sent. One that has the key whole sends nothing more unless that holds of the
//! ServerHello already.

use crate::judge::{self, Reached, conclude, serve};
use crate::peers::{self, ALICE, NOW, Peers};
use crate::{Input, hostile, in_frame, toy};
use countersign::Error;
use countersign::client::Answer;
use countersign::codec::{self, Busy, ServerHello};
use countersign::frame::{FrameType, split};

pub fn run(data: &[u8]) -> Reached {
    peers::within_budget(data, || meet(data))
}

fn meet(data: &[u8]) -> Reached {
    let mut input = Input(data);
    let what = input.byte();
    let choice = what >> 3;
    let header = what & 0x80 == 0;
    match what & 7 {
        shown @ 0..=1 => {
            let len = input.number();
            let hello = in_frame(header, FrameType::ServerHello, input.bytes(len));
            answer(choice, shown == 1, &hello, &in_frame(header, FrameType::ServerVerdict, input.rest()))
        }
        2 => answer(choice, true, &in_frame(header, FrameType::ServerResumption, input.rest()), b""),
        3 => verdict(choice, &in_frame(header, FrameType::ServerVerdict, input.rest())),
        4 => sealed(choice, input.rest()),
        5 => busy(choice, &in_frame(header, FrameType::Busy, input.rest())),
        6 => vouched(&Peers::new(choice).with_manifest(), 2, &in_frame(header, FrameType::ServerHello, input.rest())),
        _ => {
            vouched(&Peers::new(choice).with_certificate(), 1, &in_frame(header, FrameType::ServerHello, input.rest()))
        }
    }
}

/// A client that knows its server by what it is shown in an extension of the ServerHello: it goes on with what was made for this key, and with nothing
/// else.
fn vouched(peers: &Peers, extension: u16, answer: &[u8]) -> Reached {
    let (hello, client) = peers.hello();
    let (challenge, server) = peers.challenge(&hello).unwrap();
    let genuine = answer == challenge;
    match client.read(answer, NOW).and_then(|challenge| peers.answer(ALICE, challenge)) {
        Ok((login, client)) => {
            assert_eq!(shown(extension, answer), shown(extension, &challenge), "a key for which nobody has vouched");
            let accepted = match serve(peers, server, login, genuine) {
                Ok(accepted) => accepted,
                Err(reached) => return reached,
            };
            let session = client.read(&accepted.frame, NOW, peers.today).expect("a genuine verdict");
            judge::agree(&session, &accepted.session);
            Reached::Session
        }
        Err(error) => {
            assert!(!genuine, "a genuine challenge was turned away: {error:?}");
            judge::blames_the_peer(&error);
            Reached::AwaitAnswer
        }
    }
}

/// The server's key, and what speaks for it: a manifest, or the first of its certificates.
fn shown(extension: u16, hello: &[u8]) -> ([u8; 32], Vec<u8>) {
    let hello: ServerHello<'_> = codec::decode(split(hello).unwrap().1).unwrap();
    let data = hello.extensions.iter().find(|shown| shown.number == extension).map_or(&[][..], |shown| &shown.data);
    let first = |list: &[u8]| {
        let (len, rest) = list.get(1..)?.split_first_chunk::<2>()?;
        rest.get(..u16::from_be_bytes(*len).into()).map(<[u8]>::to_vec)
    };
    (hello.key_id, if extension == 1 { first(data).unwrap_or_default() } else { data.to_vec() })
}

fn answer(choice: u8, shown: bool, answer: &[u8], verdict: &[u8]) -> Reached {
    let peers = Peers::new(choice);
    let ticket = shown.then(|| peers.ticket());
    let (hello, client) = peers.open(ticket.as_ref());
    let resumption = peers.take(&hello);
    assert_eq!(resumption.is_some(), shown, "a ticket is taken where there is one");
    let (challenge, server) = peers.challenge(&hello).unwrap();
    let resumption = resumption.filter(|taken| taken.frame == answer);
    let genuine = answer == challenge;

    let asked = match (client.read(answer, &peers), resumption) {
        (Ok(Answer::Resumed(resumed)), Some(taken)) => {
            judge::confirm(&peers, resumed, taken);
            return Reached::Resumed;
        }
        (Ok(Answer::Resumed(_)), None) => panic!("a client took a resumption that nobody sent"),
        // Anybody can ask; whether it goes on depends on the key, and on the proof.
        (Ok(Answer::Challenge(challenge)), None) => {
            judge::proof(challenge.is_proved(), genuine);
            peers.answer(ALICE, challenge)
        }
        (Ok(Answer::Challenge(_)), Some(_)) => panic!("a resumption is no challenge"),
        (Err(error), Some(_)) => panic!("a genuine resumption was refused: {error:?}"),
        (Err(error), None) => Err(error),
    };
    match asked {
        Ok((login, client)) => match serve(&peers, server, login, genuine) {
            Ok(accepted) => conclude(&peers, client, verdict, Some(&accepted)),
            Err(reached) => {
                assert_ne!(conclude(&peers, client, verdict, None), Reached::Session);
                reached
            }
        },
        Err(error) => {
            if genuine {
                judge::may_refuse(&peers, shown, &error);
            }
            judge::blames_the_peer(&error);
            Reached::AwaitAnswer
        }
    }
}

/// Whatever comes in a Busy, nothing comes of it but that the client tries later, or solves one puzzle within its bounds.
fn busy(choice: u8, frame: &[u8]) -> Reached {
    let peers = Peers::new(choice);
    let ticket = peers.ticket();
    let mut is_puzzle = false;
    let results = [None, Some(&ticket)].map(|ticket| {
        let (_, mut client) = peers.open(ticket);
        if let Some(puzzle) = client.puzzle(frame) {
            assert!((1..=17).contains(&puzzle.difficulty().bits()));
            is_puzzle = true;
            // What takes longer is for others to solve.
            if puzzle.difficulty().bits() <= 3 {
                let (solution, solved) = client.solved(&puzzle.solve(|| true).unwrap());
                assert_eq!(solution.len(), 131);
                assert!(solved.puzzle(frame).is_none(), "there is no second");
                client = solved;
            }
        }
        client.read(frame, &peers).map(drop)
    });
    let said = split(frame).ok().filter(|(kind, _)| *kind == FrameType::Busy);
    let said = said.and_then(|(_, body)| codec::decode::<Busy<'_>>(body).ok()).map(|busy| busy.retry_after);
    for result in results {
        match result.expect_err("anybody can send a Busy") {
            Error::Busy { retry_after } => assert_eq!(Some(retry_after), said),
            error => judge::blames_the_peer(&error),
        }
    }
    assert!(said.is_some() || !is_puzzle);
    if is_puzzle {
        return Reached::Puzzle;
    }
    if said.is_some() { Reached::Busy } else { Reached::AwaitAnswer }
}

fn verdict(choice: u8, verdict: &[u8]) -> Reached {
    let peers = Peers::new(choice);
    let (hello, client) = peers.hello();
    let (challenge, server) = peers.challenge(&hello).unwrap();
    let (login, client) = peers.login(client, &challenge).unwrap();
    serve(&peers, server, login, true)
        .map_or_else(|reached| reached, |accepted| conclude(&peers, client, verdict, Some(&accepted)))
}

/// A server that seals what it likes under the right key.
fn sealed(choice: u8, plaintext: &[u8]) -> Reached {
    let peers = Peers::with(choice, toy::provider(), hostile::provider());
    let ticket = peers.ticket();
    let (hello, client) = peers.open(Some(&ticket));
    hostile::slip_in(plaintext);
    let taken = peers.take(&hello).expect("the ticket is good");
    match client.read(&taken.frame, &peers) {
        Ok(Answer::Resumed(resumed)) => {
            assert!(resumed.session.info.is_resumed());
            judge::grant_is(&peers, &resumed.session, plaintext);
            taken.server.read(resumed.frame, NOW).expect("a genuine Confirm");
            Reached::Resumed
        }
        Err(Error::Decode(_) | Error::Violation(_)) => Reached::AwaitAnswer,
        Ok(Answer::Challenge(_)) => panic!("a resumption is no challenge"),
        Err(error) => panic!("an authentic verdict gave: {error:?}"),
    }
}
