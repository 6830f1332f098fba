//! Both machines over a simulated link: bytes in arbitrary pieces, and a clock that only the simulation moves.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::client::{AwaitChallenge, AwaitVerdict};
use countersign::crypto::Decrypted;
use countersign::frame::{FrameError, FrameReader, FrameType};
use countersign::server::{AwaitHello, AwaitLogin, Hello, Refusal};
use countersign::{
    ChannelBinding, ClientConfig, Credential, Error, Misuse, Moment, Reason, Received, ServerConfig, Session, Suite,
    Violation,
};
use std::collections::BTreeMap;
use support::{
    FLOOR, OTHER2048, RSA2048, RSA3072, RSA4096, Scenario, Sent, TODAY, TOKEN, TestRng, at, provider, sealed, verify,
};

/// Somebody on the way, who gets each frame's bytes as they are sent.
type Attacker = fn(&mut Vec<u8>);

/// What travels, and how: virtual milliseconds.
struct Link {
    latency: u64,
    /// The largest piece that bytes arrive in.
    piece: usize,
    /// How long the server's verifier takes.
    work: u64,
    attacker: Attacker,
    rng: TestRng,
    /// How many pieces were sent: those of the same moment keep their order.
    sent: usize,
}

/// What became of a connection.
struct Outcome {
    client: Client,
    server: Server,
    /// When the server sent its verdict, and when the login had arrived whole.
    verdict: Option<(u64, u64)>,
    /// Whether the server proved that it holds its key before the login left.
    proved: bool,
    client_got: Vec<u8>,
    server_got: Vec<u8>,
}

enum Client {
    Start,
    Challenge(AwaitChallenge),
    Verdict(AwaitVerdict),
    Session(Box<Session>),
    Done,
    Failed(Error),
}

enum Server {
    Hello(AwaitHello),
    Login(Box<AwaitLogin>),
    Session(Box<Session>),
    Done,
    Failed(Error),
    Refused(Reason),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Client,
    Server,
}

/// Bytes on their way, by their time of arrival and the order they were sent in.
type Wire = BTreeMap<(u64, usize), (End, Vec<u8>)>;

const QUESTION: &[u8] = &[b'q'; 50_000];

impl Link {
    fn new() -> Self {
        Self { latency: 5, piece: 100, work: 0, attacker: |_| (), rng: TestRng::new("link"), sent: 0 }
    }

    /// Puts bytes on the wire in pieces that arrive one after the other.
    fn send(&mut self, wire: &mut Wire, to: End, mut bytes: Vec<u8>, now: u64) {
        (self.attacker)(&mut bytes);
        let last = wire.iter().rev().find(|(_, (end, _))| *end == to).map_or(0, |((time, _), _)| *time);
        let arrival = last.max(now + self.latency);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at((1 + self.rng.below(self.piece)).min(rest.len()));
            self.sent += 1;
            wire.insert((arrival, self.sent), (to, piece.to_vec()));
            rest = later;
        }
    }

    /// Runs a connection until nothing is on its way any more. On success the client sends [`QUESTION`] and closes, and
    /// the server sends it back the other way round and closes.
    fn run(mut self, scenario: &Scenario) -> Outcome {
        let mut wire = Wire::new();
        let (mut client_reader, mut server_reader) = (FrameReader::new(), FrameReader::new());
        let mut outcome = Outcome {
            client: Client::Start,
            server: Server::Hello(scenario.await_hello()),
            verdict: None,
            proved: false,
            client_got: Vec::new(),
            server_got: Vec::new(),
        };
        let (hello, state) = scenario.await_challenge();
        outcome.client = Client::Challenge(state);
        self.send(&mut wire, End::Server, hello, 0);
        while let Some(((now, _), (end, bytes))) = wire.pop_first() {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (reader, expects) = match end {
                    End::Client => (&mut client_reader, outcome.client.expects()),
                    End::Server => (&mut server_reader, outcome.server.expects()),
                };
                if expects.is_empty() {
                    break;
                }
                match reader.feed(rest, expects) {
                    Ok(taken) => rest = &rest[taken..],
                    Err(error) => {
                        let out = outcome.bad_frame(end, error, now);
                        self.send_all(&mut wire, out);
                        break;
                    }
                }
                if let Some(frame) = reader.take() {
                    let out = match end {
                        End::Client => outcome.client_frame(scenario, frame, now),
                        End::Server => outcome.server_frame(scenario, frame, now, self.work),
                    };
                    self.send_all(&mut wire, out);
                }
            }
        }
        outcome
    }

    fn send_all(&mut self, wire: &mut Wire, out: Option<(End, Vec<u8>, u64)>) {
        if let Some((to, bytes, when)) = out {
            self.send(wire, to, bytes, when);
        }
    }
}

impl Client {
    fn expects(&self) -> &'static [FrameType] {
        match self {
            Self::Challenge(_) => AwaitChallenge::EXPECTS,
            Self::Verdict(_) => AwaitVerdict::EXPECTS,
            Self::Session(_) => Session::EXPECTS,
            _ => &[],
        }
    }

    fn error(&self) -> &Error {
        match self {
            Self::Failed(error) => error,
            _ => panic!("the client did not fail"),
        }
    }
}

impl Server {
    fn expects(&self) -> &'static [FrameType] {
        match self {
            Self::Hello(_) => AwaitHello::EXPECTS,
            Self::Login(_) => AwaitLogin::EXPECTS,
            Self::Session(_) => Session::EXPECTS,
            _ => &[],
        }
    }
}

/// What to send: to whom, what, and when.
type Out = Option<(End, Vec<u8>, u64)>;

fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.saturating_since(Moment::ORIGIN).as_millis()).unwrap()
}

impl Outcome {
    fn client_frame(&mut self, scenario: &Scenario, mut frame: Vec<u8>, now: u64) -> Out {
        match std::mem::replace(&mut self.client, Client::Done) {
            Client::Challenge(state) => {
                let trusted = state.read(&frame, at(now)).and_then(|challenge| {
                    self.proved = challenge.is_proved();
                    challenge.trust(scenario.trusted(), TODAY)
                });
                match trusted.and_then(|trusted| trusted.login(scenario.credential, &mut scenario.rng("login"))) {
                    Ok((login, state)) => {
                        self.client = Client::Verdict(state);
                        return Some((End::Server, login, now));
                    }
                    Err(error) => self.client = Client::Failed(error),
                }
            }
            Client::Verdict(state) => match state.read(&frame, at(now), TODAY) {
                Ok(mut session) => {
                    let mut out = Vec::new();
                    session.sealer.seal(QUESTION, &mut out).unwrap();
                    session.sealer.update_key(&mut out).unwrap();
                    session.sealer.close(&mut out).unwrap();
                    self.client = Client::Session(Box::new(session));
                    return Some((End::Server, out, now));
                }
                Err(error) => self.client = Client::Failed(error),
            },
            Client::Session(mut session) => match session.opener.open(&mut frame).unwrap() {
                Received::Close => {}
                Received::KeyUpdate => self.client = Client::Session(session),
                Received::Data(data) => {
                    self.client_got.extend_from_slice(data);
                    self.client = Client::Session(session);
                }
            },
            other => self.client = other,
        }
        None
    }

    fn server_frame(&mut self, scenario: &Scenario, mut frame: Vec<u8>, now: u64, work: u64) -> Out {
        match std::mem::replace(&mut self.server, Server::Done) {
            Server::Hello(state) => {
                let mut rng = scenario.rng("server");
                let hello = state.read(frame, at(now)).and_then(|choice| choice.choose(scenario.private_key()));
                let differs = hello.as_ref().map_or(None, Hello::differs);
                let opened = hello.map(|hello| match hello.open(&mut rng) {
                    Ok(open) => open.run(&mut rng),
                    Err(hello) => *hello,
                });
                match opened.and_then(|hello| hello.challenge(&mut rng)) {
                    Ok((challenge, state)) => {
                        self.server = match differs {
                            Some(differs) => Server::Failed(Error::DifferentContext(differs)),
                            None => Server::Login(Box::new(state)),
                        };
                        return Some((End::Client, challenge, now));
                    }
                    Err(error) => self.server = Server::Failed(error),
                }
            }
            Server::Login(state) => {
                let claim = match state.read(frame, at(now)) {
                    Ok(login) => login.admit().open(&mut scenario.rng("blinding")),
                    Err(refusal) => return self.refuse(refusal, now, 0),
                };
                let verdict = match verify(claim.credential()) {
                    Ok(grant) => claim.accept(grant),
                    Err(reason) => Err(claim.reject(reason)),
                };
                match verdict {
                    Ok(accepted) => {
                        self.server = Server::Session(Box::new(accepted.session));
                        self.verdict = Some((now + work, now));
                        return Some((End::Client, accepted.frame, now + work));
                    }
                    Err(refusal) => return self.refuse(refusal, now, work),
                }
            }
            Server::Session(mut session) => match session.opener.open(&mut frame).unwrap() {
                Received::Data(data) => {
                    self.server_got.extend_from_slice(data);
                    self.server = Server::Session(session);
                }
                Received::KeyUpdate => self.server = Server::Session(session),
                Received::Close => {
                    let mut out = Vec::new();
                    let answer: Vec<u8> = self.server_got.iter().rev().copied().collect();
                    session.sealer.seal(&answer, &mut out).unwrap();
                    session.sealer.close(&mut out).unwrap();
                    return Some((End::Client, out, now));
                }
            },
            other => self.server = other,
        }
        None
    }

    fn bad_frame(&mut self, end: End, error: FrameError, now: u64) -> Out {
        match end {
            End::Client => self.client = Client::Failed(error.into()),
            End::Server => match std::mem::replace(&mut self.server, Server::Done) {
                Server::Login(state) => return self.refuse(state.fail(error.into(), at(now)), now, 0),
                _ => self.server = Server::Failed(error.into()),
            },
        }
        None
    }

    fn refuse(&mut self, refusal: Refusal, now: u64, work: u64) -> Out {
        let when = millis(refusal.not_before).max(now + work);
        self.verdict = Some((when, now));
        self.server = Server::Refused(refusal.reason);
        (!refusal.frame.is_empty()).then_some((End::Client, refusal.frame, when))
    }

    fn is_accepted(&self) -> bool {
        let answer: Vec<u8> = QUESTION.iter().rev().copied().collect();
        let done = matches!((&self.client, &self.server), (Client::Done, Server::Done));
        done && self.server_got == QUESTION && self.client_got == answer
    }
}

#[test]
fn every_suite_and_key_size_logs_in_and_talks_both_ways() {
    for key in [&RSA2048, &RSA3072, &RSA4096] {
        for suite in Suite::ALL {
            for known in [false, true] {
                let scenario = Scenario::new().key(key).suite(suite);
                let scenario = if known { scenario.known_key_under(suite.key_exchange) } else { scenario };
                let outcome = Link::new().run(&scenario);
                assert!(outcome.is_accepted(), "{suite}, {} bits", key.private.public_key().bits());
                assert_eq!(outcome.proved, known, "{suite}, {} bits", key.private.public_key().bits());
            }
        }
    }
}

#[test]
fn bytes_may_arrive_in_any_pieces() {
    for piece in [1, 2, 3, 7, 64, 1000, 100_000] {
        for seed in ["one", "another"] {
            for scenario in [Scenario::new(), Scenario::new().known_key()] {
                let outcome = Link { piece, ..Link::new() }.run(&scenario.seed(seed));
                assert!(outcome.is_accepted(), "pieces of {piece}");
            }
        }
    }
}

#[test]
fn a_token_logs_in_too() {
    assert!(Link::new().run(&Scenario::new().credential(Credential::Token(TOKEN))).is_accepted());
}

#[test]
fn prologues_and_channel_bindings_must_be_the_same_at_both_ends() {
    let exporter = |byte| ChannelBinding::tls_exporter([byte; 32]);
    let unique = |bytes: &[u8]| ChannelBinding::new("tls-unique", bytes).unwrap();
    let none = ChannelBinding::none;
    let long = vec![7; 65535];
    for (scenario, same) in [
        (Scenario::new().prologues(b"my protocol 3", b"my protocol 3"), true),
        (Scenario::new().prologues(&long, &long), true),
        (Scenario::new().prologues(b"my protocol 3", b"my protocol 4"), false),
        (Scenario::new().prologues(b"my protocol 3", b""), false),
        (Scenario::new().bindings(exporter(1), exporter(1)), true),
        (Scenario::new().bindings(exporter(1), exporter(2)), false),
        (Scenario::new().bindings(exporter(1), none()), false),
        (Scenario::new().bindings(exporter(1), unique(&[1; 32])), false),
        (Scenario::new().bindings(unique(b""), none()), false),
        (Scenario::new().bindings(unique(&long), unique(&long)), true),
        // The same bytes in another place.
        (Scenario::new().prologues(b"x", b"").bindings(none(), ChannelBinding::new("x", b"").unwrap()), false),
    ] {
        for scenario in [scenario.clone(), scenario.known_key()] {
            let outcome = Link::new().run(&scenario);
            assert_eq!(outcome.is_accepted(), same);
            if !same {
                // Both ends see it, and see the same, before a login is sent.
                let Server::Failed(seen) = outcome.server else { panic!("a server that goes on") };
                assert!(matches!(seen, Error::DifferentContext(_)));
                assert_eq!(*outcome.client.error(), seen);
            }
        }
    }
}

/// What is longer than its length says could be read in two ways: a part of the one in the place of the other.
#[test]
fn no_prologue_and_no_channel_binding_is_longer_than_its_length_can_say() {
    let (limit, long) = (65535, vec![7; 65536]);
    let (kind, of_kind) = ("x".repeat(256), "the channel binding's type");
    let binding = |kind: &str, bytes: &[u8]| ChannelBinding::new(kind, bytes).err();
    assert_eq!(binding(&kind[..255], b""), None);
    let refused = [
        ClientConfig::new(provider()).with_prologue(&long).err(),
        ServerConfig::new(provider()).with_prologue(&long).err(),
        binding("tls-unique", &long),
        binding(&kind, b""),
        // That would be none at all.
        binding("", b"bytes"),
    ];
    let expected = [
        Misuse::TooLong { what: "the prologue", len: 65536, limit },
        Misuse::TooLong { what: "the prologue", len: 65536, limit },
        Misuse::TooLong { what: "the channel binding", len: 65536, limit },
        Misuse::TooLong { what: of_kind, len: 256, limit: 255 },
        Misuse::BadInput(of_kind),
    ];
    assert_eq!(refused, expected.map(Some));
}

#[test]
fn s10_a_hello_that_takes_too_long_is_refused() {
    let outcome = Link { latency: 3000, ..Link::new() }.run(&Scenario::new().timeouts(60_000, 2999));
    assert!(matches!(outcome.server, Server::Failed(Error::DeadlinePassed)));
    assert!(matches!(outcome.client, Client::Challenge(_)), "the server says nothing");
}

#[test]
fn l5_a_login_that_takes_too_long_is_refused_and_not_answered() {
    for scenario in [Scenario::new(), Scenario::new().known_key()] {
        let outcome = Link { latency: 3000, ..Link::new() }.run(&scenario.timeouts(60_000, 8999));
        assert!(matches!(outcome.server, Server::Refused(Reason::Malformed(Error::DeadlinePassed))));
        assert!(matches!(outcome.client, Client::Verdict(_)), "the server says nothing");
        assert_eq!(outcome.verdict, Some((9000, 9000)), "and closes at once");
    }
}

#[test]
fn c10_a_challenge_that_takes_too_long_is_refused() {
    let outcome = Link { latency: 3000, ..Link::new() }.run(&Scenario::new().timeouts(5999, 60_000));
    assert_eq!(*outcome.client.error(), Error::DeadlinePassed);
    assert!(matches!(outcome.server, Server::Login(_)), "no login was sent");
}

#[test]
fn v5_a_verdict_that_takes_too_long_is_refused() {
    let outcome = Link { latency: 3000, ..Link::new() }.run(&Scenario::new().timeouts(11_999, 60_000));
    assert_eq!(*outcome.client.error(), Error::DeadlinePassed);
    let in_time = Link { latency: 3000, ..Link::new() }.run(&Scenario::new().timeouts(12_000, 9000));
    assert!(in_time.is_accepted(), "to the millisecond");
}

#[test]
fn a_refusal_is_released_at_the_same_time_after_the_login_whatever_its_reason() {
    let wrong = |user, password| Scenario::new().credential(Credential::Password { user, password });
    let nothing = |_: &mut Vec<u8>| ();
    let login = |change: fn(&mut Vec<u8>)| change;
    let not_opened = Reason::NotOpened;
    let malformed = |error: Error| Reason::Malformed(error);
    let length = FrameError::Length { kind: FrameType::ClientLogin, len: 0xffff, min: 4, max: 5652 };
    let cases: [(Scenario, Attacker, Reason); 9] = [
        (wrong("alice", b"wrong"), nothing, Reason::WrongPassword),
        (wrong("bob", b"password"), nothing, Reason::UnknownUser),
        (Scenario::new().credential(Credential::Token(b"wrong")), nothing, Reason::UnknownToken),
        (Scenario::new(), login(|bytes| flip(bytes, 3, 100)), not_opened.clone()),
        (Scenario::new(), login(|bytes| flip(bytes, 3, 250)), not_opened),
        (Scenario::new(), login(|bytes| set(bytes, 3, 5, 0xff)), malformed(Violation::CiphertextRange.into())),
        (Scenario::new(), login(|bytes| set(bytes, 3, 0, 13)), malformed(FrameError::UnknownType(13).into())),
        (
            Scenario::new(),
            login(|bytes| set(bytes, 3, 0, 1)),
            malformed(FrameError::UnexpectedType(FrameType::ClientHello).into()),
        ),
        (Scenario::new(), login(|bytes| (1..3).for_each(|at| set(bytes, 3, at, 0xff))), malformed(length.into())),
    ];
    let proved = |(scenario, attacker, reason): &(Scenario, Attacker, Reason)| {
        // Where a login has no ciphertext, what is altered in the others is part of the credential.
        let reason = if *reason == malformed(Violation::CiphertextRange.into()) { return None } else { reason };
        Some((scenario.clone().known_key(), *attacker, reason.clone()))
    };
    let proved: Vec<_> = cases.iter().filter_map(proved).collect();
    for (scenario, attacker, reason) in cases.into_iter().chain(proved) {
        for (floor, work) in [(FLOOR, 0), (FLOOR, 200), (FLOOR, FLOOR), (0, 0), (60_000, 3)] {
            let scenario = scenario.clone().refusal_floor(floor).timeouts(100_000, 100_000);
            let outcome = Link { attacker, work, ..Link::new() }.run(&scenario);
            let (sent, arrived) = outcome.verdict.unwrap();
            assert_eq!(sent, arrived + floor.max(work), "{reason}");
            match outcome.server {
                Server::Refused(refused) => assert_eq!(refused, reason),
                _ => panic!("not refused"),
            }
        }
    }
}

#[test]
fn a_grant_is_not_held_back() {
    for floor in [0, FLOOR, 60_000] {
        let outcome = Link::new().run(&Scenario::new().refusal_floor(floor));
        let (sent, arrived) = outcome.verdict.unwrap();
        assert_eq!(sent, arrived);
        assert!(outcome.is_accepted());
    }
}

#[test]
fn a_server_with_another_key_learns_nothing() {
    let outcome = Link::new().run(&Scenario::new().server_key(OTHER2048.server.clone()));
    assert_eq!(*outcome.client.error(), Error::Untrusted(support::untrusted(OTHER2048.private.public_key().id())));
    assert!(matches!(outcome.server, Server::Login(_)));
}

/// Flips a bit in the frame of this type, where it passes by.
fn flip(bytes: &mut [u8], kind: u8, at: usize) {
    if bytes[0] == kind {
        bytes[at] ^= 1;
    }
}

fn set(bytes: &mut [u8], kind: u8, at: usize, value: u8) {
    if bytes[0] == kind {
        bytes[at] = value;
    }
}

/// What a multi-buffer RSA would do: many logins wait in one queue, are opened together, and are answered later, in another
/// order and on another thread.
#[test]
fn logins_can_be_opened_together_and_answered_later() {
    const BROKEN: usize = 3;
    let scenarios: Vec<_> = ["a", "b", "c", "d", "e", "f"].map(|seed| Scenario::new().seed(seed)).into();
    let (mut clients, mut queue) = (Vec::new(), Vec::new());
    for scenario in &scenarios {
        let Sent { login, client, server, .. } = scenario.await_verdict();
        clients.push(Some(client));
        queue.push(sealed(server.read(login, at(1)).unwrap()));
    }
    let opened = std::thread::spawn(move || {
        let rng = &mut TestRng::new("blinding");
        let private = RSA2048.decryptor();
        let decrypted: Vec<_> = queue.iter().map(|open| private.decrypt(open.ciphertext(), rng)).collect();
        queue.into_iter().zip(decrypted).enumerate().collect::<Vec<_>>()
    });
    for (at_queue, (open, decrypted)) in opened.join().unwrap().into_iter().rev() {
        let decrypted = if at_queue == BROKEN { Decrypted::failed() } else { decrypted };
        let claim = open.answer(decrypted);
        let verdict = match verify(claim.credential()) {
            Ok(grant) => claim.accept(grant),
            Err(reason) => Err(claim.reject(reason)),
        };
        let client = clients[at_queue].take().unwrap();
        match verdict {
            Ok(accepted) => {
                assert_eq!(client.read(&accepted.frame, at(2), TODAY).unwrap().info.id(), accepted.session.info.id())
            }
            Err(refusal) => {
                assert_eq!((at_queue, &refusal.reason), (BROKEN, &Reason::NotOpened));
                assert!(client.read(&refusal.frame, at(2), TODAY).is_err());
            }
        }
    }
}
