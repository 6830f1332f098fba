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
//! | 2 | edits of the four genuine frames on their way, 5 bytes each; with the top bit the server has another prologue than the client |
//! | 3 | the body of a Solution, after a genuine hello and the puzzle for it |
//! | 4 | what a client with a good key seals as its credential |
//! | 5 | what a server with a good key seals as its verdict |
//! | 6 | the body of a Confirm, after a genuine hello with a ticket |
//! | 7 | what the server decides (1) \|\| edits of its verdict, 4 bytes each; or, where it wants further factors, what becomes of those |
//!
//! What the server decides is by its bits: 1 for not now, 2 for before the verifier's work, 8 for a request for a further factor, whether the
//! client offers to answer that or not; 4 for further factors. With those, 1 is for another request after the last one, the bit after 4 for
//! alice's key in place of her password, two more say what the rest is, and the last two how many factors there are before the last one, which
//! it is about:
//!
//! | | the rest is |
//! |---|---|
//! | 0 | the body of a ClientFactor |
//! | 1 | what a client with a good key seals as its answer |
//! | 2 | what a server with a good key seals as its verdict, after the answer |
//! | 3 | edits of the request, the answer and the verdict, 5 bytes each |
//!
//! Four more bits choose the genuine client's suite, extensions, and whether it has the server's key whole and so asks for
//! a proof (`Peers::with`); the top bit is that as well, and takes the header of a frame from the input. Never may anything
//! panic, and never may a server accept, or a client hold a session, unless every byte is what the genuine peer sent, and both ends mean the
//! same connection.

use crate::judge::{self, Reached, assert_is, decide, finish, serve};
use crate::peers::{self, ALICE, ALICES_KEY, LONG_KEY, NOW, Peers, STRETCHED, answer, grant, prompt};
use crate::toy;
use crate::{Input, edit, frame, hostile, in_frame};
use countersign::client::{Answer, AwaitVerdict, Verdict};
use countersign::codec::{self, Bytes, CredentialMessage, Factor, KeyProof, List, Stretched, StretchedMessage, Text};
use countersign::frame::{FrameType, split};
use countersign::server::{Asked, Refusal};
use countersign::{Credential, Error, Reason, limits};
use sha2::{Digest, Sha256};

pub fn run(data: &[u8]) -> Reached {
    peers::within_budget(data, || meet(data))
}

fn meet(data: &[u8]) -> Reached {
    let mut input = Input(data);
    let what = input.byte();
    let choice = what >> 3;
    let header = what & 0x80 == 0;
    match what & 7 {
        0 => hello(choice, header, input),
        1 => login(choice, header, input.rest()),
        2 => edits(choice, input),
        3 => solution(choice, in_frame(header, FrameType::Solution, input.rest())),
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

    let peers = Peers::new(choice).meaning([0, choice >> 4 & 1]);
    let differs = peers.differs();
    let (hello, client) = peers.hello();
    let (hello, as_sent) = send(0, &hello);
    let state = match peers.read(&hello) {
        Ok(state) => state,
        Err(error) if as_sent => panic!("a genuine hello was turned away: {error:?}"),
        Err(_) => return Reached::AwaitHello,
    };
    assert!(!as_sent || state.differs() == differs, "the server takes {:?} for {differs:?}", state.differs());
    let (challenge, server) = match peers.challenged(state) {
        Ok(next) => next,
        Err(error) if as_sent => panic!("a genuine hello was turned away: {error:?}"),
        Err(_) => return Reached::AwaitHello,
    };
    let (challenge, as_sent) = send(1, &challenge);
    let asked = client.read(&challenge, NOW);
    if let (Some(differs), true) = (differs, as_sent) {
        let is_said = matches!(&asked, Err(Error::DifferentContext(said)) if *said == differs);
        assert!(is_said, "the client does not say that they differ in {differs:?}");
    }
    // Who means another connection is no genuine peer, whatever somebody makes of what either says of that.
    let genuine = as_sent && differs.is_none();
    asked.iter().for_each(|challenge| judge::proof(challenge.is_proved(), genuine));
    let (login, client) = match asked.and_then(|challenge| peers.answer(ALICE, challenge)) {
        Ok(next) => next,
        Err(error) if genuine => panic!("a genuine challenge was turned away: {error:?}"),
        Err(_) => return Reached::AwaitLogin,
    };
    let (login, as_sent) = send(2, &login);
    let accepted = match serve(&peers, server, login, as_sent && differs.is_none()) {
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

/// The server asks for work first. It goes on for a solution of this very puzzle alone, whoever found it, and then with the hello as it was.
fn solution(choice: u8, solution: Vec<u8>) -> Reached {
    let peers = Peers::new(choice);
    let (hello, client) = peers.open(None);
    let (busy, server) = peers.puzzle(&hello, BITS).unwrap();
    let puzzle = client.puzzle(&busy).expect("the puzzle is genuine, and easy");
    let (genuine, client) = client.solved(&puzzle.solve(|| true).unwrap());
    let is_good = split(&solution).is_ok_and(|(kind, body)| kind == FrameType::Solution && solves(&hello, &busy, body));
    assert!(is_good || solution != genuine, "a genuine solution is none");
    let state = match server.read(&solution, NOW) {
        Ok(state) => state,
        Err(error) => {
            assert!(!is_good, "a solution was turned away: {error:?}");
            judge::blames_the_peer(&error);
            assert_eq!(peers.has_opened(), 0, "an RSA operation for nothing");
            return Reached::Puzzle;
        }
    };
    assert!(is_good, "took what solves nothing");
    let (challenge, server) = peers.challenged(peers.opened(state)).unwrap();
    let asked = client.read(&challenge, &peers);
    let Ok(Answer::Challenge(asked)) = asked else { panic!("a genuine challenge was turned away") };
    let (login, client) = peers.answer(ALICE, asked).unwrap();
    serve(&peers, server, login, true).map_or_else(|reached| reached, |accepted| finish(&peers, client, &accepted))
}

/// How many bits the hashes of a puzzle must begin with: a solution is found at once, and one in four that is made up holds.
const BITS: u8 = 2;

/// As PROTOCOL.md, "Puzzle", has it.
fn solves(hello: &[u8], busy: &[u8], counters: &[u8]) -> bool {
    // The nonce is the last of the one extension's data.
    let nonce = &busy[busy.len() - limits::NONCE..];
    let hello = Sha256::digest(hello);
    let lp = |hash: Sha256, part: &[u8]| hash.chain_update((part.len() as u16).to_be_bytes()).chain_update(part);
    let start = [&b"countersign v1 puzzle"[..], nonce, &hello].into_iter().fold(Sha256::new(), lp).finalize();
    let holds = |counter: &[u8]| Sha256::new_with_prefix(start).chain_update(counter).finalize()[0] >> (8 - BITS) == 0;
    let counters: Vec<&[u8]> = counters.chunks(8).collect();
    counters.len() == 16 && counters.is_sorted_by(|one, next| one < next) && counters.into_iter().all(holds)
}

/// A client that seals what it likes under the right key. What the server takes for a credential must encode to it, and a key's
/// be signed for this connection.
fn credential(choice: u8, plaintext: &[u8]) -> Reached {
    let peers = Peers::with(choice, hostile::provider(), toy::provider());
    let peers = if plaintext.first() == Some(&4) { peers.with_stretching() } else { peers };
    let (hello, client) = peers.hello();
    let (challenge, server) = peers.challenge(&hello).unwrap();
    // A genuine credential that is as long: with a key, what it signs is known.
    let (key, longest) = if plaintext.len() <= 256 { (&ALICES_KEY, 256) } else { (&LONG_KEY, 768) };
    let (login, client, signed, plaintext) = if plaintext.first() == Some(&3) {
        let plaintext = &plaintext[..plaintext.len().min(longest)];
        let signing = peers.sign(client, &challenge, key);
        let signed = signing.message().to_vec();
        hostile::slip_in(plaintext);
        let (login, client) = signing.answer(&toy::signature(key.public_key(), &signed)).unwrap();
        (login, client, signed, plaintext)
    } else if plaintext.first() == Some(&4) {
        let (password, longest) = if plaintext.len() <= 256 { (&STRETCHED[0], 256) } else { (&STRETCHED[1], 768) };
        let plaintext = &plaintext[..plaintext.len().min(longest)];
        hostile::slip_in(plaintext);
        let alice = Credential::Stretched { user: "alice", password };
        let (login, client) = peers.login_as(alice, client, &challenge).unwrap();
        (login, client, Vec::new(), plaintext)
    } else {
        // Kind, user and two lengths take 10 bytes.
        let password = vec![b'x'; plaintext.len().clamp(11, 10 + limits::MAX_SECRET) - 10];
        hostile::slip_in(plaintext);
        let alice = Credential::Password { user: "alice", password: &password };
        let (login, client) = peers.login_as(alice, client, &challenge).unwrap();
        (login, client, Vec::new(), plaintext)
    };

    let claim = peers.claim(server, login).unwrap();
    let is_name =
        |user: &str| !user.is_empty() && user.len() <= limits::MAX_USER && !user.chars().any(char::is_control);
    let opened = match claim.credential() {
        Credential::Password { user: "", password: b"" } | Credential::Stretched { user: "", .. } => false,
        Credential::Stretched { user, password } => {
            assert!(is_name(user));
            // One set of parameters was announced. What it is stretched to stays inside: it is taken from where it has to stand.
            let front = 1 + 2 + user.len() + 2 + 1;
            // Whoever sends less has sent zeros.
            let mut padded = plaintext.to_vec();
            padded.resize(if plaintext.len() <= 256 { 256 } else { 768 }, 0);
            let value: [u8; limits::STRETCHED] = padded[front..front + limits::STRETCHED].try_into().unwrap();
            let values = List::from_slice(&[Stretched(&value)]).unwrap();
            let mut shown = Vec::new();
            let message = StretchedMessage { values, password: Bytes(password.password().unwrap_or_default()) };
            codec::encode(&message, &mut shown).unwrap();
            assert_is(&CredentialMessage { kind: 4, user: Text(user), secret: Bytes(&shown) }, &padded, 256);
            true
        }
        Credential::Password { user, password } => {
            assert!(is_name(user));
            assert_is(&CredentialMessage { kind: 1, user: Text(user), secret: Bytes(password) }, plaintext, 256);
            true
        }
        Credential::Token(token) => {
            assert_is(&CredentialMessage { kind: 2, user: Text(""), secret: Bytes(token) }, plaintext, 256);
            true
        }
        Credential::Key { user, key } => {
            assert!(is_name(user));
            let front = &signed[..signed.len() - "\0\x05alice".len()];
            let len = u16::try_from(user.len()).unwrap().to_be_bytes();
            let signature = toy::signature(key.public_key(), &[front, &len, user.as_bytes()].concat());
            let mut proof = Vec::new();
            let message = KeyProof { key: Bytes(key.public_key().spki_der()), signature: Bytes(&signature) };
            codec::encode(&message, &mut proof).unwrap();
            assert_is(&CredentialMessage { kind: 3, user: Text(user), secret: Bytes(&proof) }, plaintext, 256);
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

    judge::verdict(&peers, 0, client.read_step(&accepted.frame, NOW, peers.today), plaintext)
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
    let what = input.byte();
    if what & 4 != 0 {
        return factor(choice, what, input);
    }
    let peers = Peers::new(choice);
    let (hello, client) = peers.hello();
    let (challenge, server) = peers.challenge(&hello).unwrap();
    let (login, client) = peers.login(client, &challenge).unwrap();
    if what & 8 != 0 {
        return wish(&peers, client, peers.claim(server, login).unwrap().ask(&prompt(0), NOW), 0);
    }
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

/// The server wants further factors. Nobody gets in without having answered all of them on this very connection.
fn factor(choice: u8, what: u8, mut input: Input<'_>) -> Reached {
    let (wants_more, has_key) = (what & 1 != 0, what & 8 != 0);
    let (what, before) = (what >> 4 & 3, usize::from(what >> 6));
    let (ours, theirs) = match what {
        1 => (hostile::provider(), toy::provider()),
        2 => (toy::provider(), hostile::provider()),
        _ => (toy::provider(), toy::provider()),
    };
    let peers = Peers::with(choice, ours, theirs).with_login(has_key, before + 1);
    let (client, mut asked) = requested(&peers, before);
    let mut edits: [Vec<[u8; 4]>; 3] = Default::default();
    while what == 3 && !input.is_empty() {
        let which = usize::from(input.byte() % 3);
        edits[which].push([input.byte(), input.byte(), input.byte(), input.byte()]);
    }
    let send = |which: usize, sent: &[u8]| {
        let mut frame = sent.to_vec();
        edits[which].iter().for_each(|change| edit(*change, &mut frame));
        frame
    };

    let request = core::mem::take(&mut asked.frame);
    let arrived = send(0, &request);
    let wanted = match client.read_step(&arrived, NOW, peers.today) {
        Ok(Verdict::Factor(wanted)) if arrived == request => wanted,
        Ok(_) => panic!("a client took what nobody sent"),
        Err(error) => {
            assert!(arrived != request, "a genuine request was refused: {error:?}");
            judge::blames_the_peer(&error);
            return Reached::AwaitRequest;
        }
    };
    assert_eq!(*wanted.prompt(), prompt(before));
    let plaintext = input.rest();
    if what == 1 {
        hostile::slip_in(plaintext);
    }
    let (sent, client) = wanted.answer(&answer(before), NOW).unwrap();
    let arrived = if what == 0 { frame(FrameType::ClientFactor, plaintext) } else { send(1, &sent) };
    let claim = match asked.state.read(arrived.clone(), NOW) {
        Ok(claim) => claim,
        Err(refusal) => {
            assert!(arrived != sent || what == 1, "a genuine answer was turned away: {:?}", refusal.reason);
            judge::check(&refusal);
            assert!(client.read(&refusal.frame, NOW, peers.today).is_err());
            return Reached::AwaitFactor;
        }
    };
    assert!(arrived == sent, "an answer that nobody sent");
    if what == 1 {
        judge::assert_is(&Factor { answer: Bytes(claim.answer()) }, cut(plaintext, limits::FACTOR), limits::FACTOR);
        assert!((1..=limits::MAX_ANSWER).contains(&claim.answer().len()));
        if claim.answer() != answer(before) {
            let refusal = claim.reject(Reason::WrongFactor);
            judge::check(&refusal);
            assert!(matches!(client.read(&refusal.frame, NOW, peers.today), Err(Error::Refused)));
            return Reached::WrongFactor;
        }
    }
    assert_eq!(claim.answer(), answer(before));
    if what == 2 {
        hostile::slip_in(plaintext);
        let accepted = claim.accept(grant()).unwrap();
        return judge::verdict(&peers, before + 1, client.read_step(&accepted.frame, NOW, peers.today), plaintext);
    }
    if wants_more {
        return wish(&peers, client, claim.ask(&prompt(before + 1), NOW), before + 1);
    }
    let accepted = peers.accept_factor(claim).unwrap();
    judge::conclude(&peers, client, &send(2, &accepted.frame), Some(&accepted))
}

/// What comes of it that the server wants a further factor after so many: the client is asked if it offers to answer, and has not been asked as
/// often as may be; and otherwise told no, like everybody.
fn wish(peers: &Peers, client: AwaitVerdict, asked: Result<Asked, Refusal>, before: usize) -> Reached {
    let may_ask = peers.offers_factors() && before < limits::MAX_FACTORS;
    match asked {
        Ok(asked) => {
            assert!(may_ask, "a server asks for a factor where it may not");
            match client.read_step(&asked.frame, NOW, peers.today) {
                Ok(Verdict::Factor(wanted)) => assert_eq!(*wanted.prompt(), prompt(before)),
                Ok(Verdict::Accepted(_)) => panic!("a client took a request for a verdict"),
                Err(error) => panic!("a genuine request was refused: {error:?}"),
            }
            Reached::Asked
        }
        Err(refusal) => {
            assert!(!may_ask, "a server does not ask for a factor that it wants: {:?}", refusal.reason);
            let offered = matches!(refusal.reason, Reason::TooManyFactors);
            assert!(
                offered == peers.offers_factors() && (offered || matches!(refusal.reason, Reason::FactorNotOffered))
            );
            judge::check(&refusal);
            assert!(matches!(client.read(&refusal.frame, NOW, peers.today), Err(Error::Refused)));
            Reached::Refused
        }
    }
}

/// A genuine login, up to the request after so many that were answered.
pub(crate) fn requested(peers: &Peers, before: usize) -> (AwaitVerdict, Asked) {
    let (hello, client) = peers.hello();
    let (challenge, server) = peers.challenge(&hello).unwrap();
    let (login, mut client) = peers.login(client, &challenge).unwrap();
    let mut asked = judge::claim(peers, server, login, true).and_then(|claim| judge::ask(claim, true)).unwrap();
    for turn in 0..before {
        let Ok(Verdict::Factor(wanted)) = client.read_step(&asked.frame, NOW, peers.today) else {
            panic!("a genuine request was not taken")
        };
        let (frame, next) = wanted.answer(&answer(turn), NOW).unwrap();
        let claim = asked.state.read(frame, NOW).unwrap();
        (client, asked) = (next, claim.ask(&prompt(turn + 1), NOW).unwrap());
    }
    (client, asked)
}

fn cut(bytes: &[u8], len: usize) -> &[u8] {
    &bytes[..bytes.len().min(len)]
}
