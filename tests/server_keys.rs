//! A server of several names, and of several keys over time: which key answers whom.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::client::{self, Answer};
use countersign::frame::FrameType;
use countersign::server::{AwaitHello, ChooseKey};
use countersign::{
    Acceptor, Attempt, ChannelBinding, ClientConfig, Connector, Context, Error, Grant, KeySet, LoginError,
    MemoryTickets, Misuse, Moment, Reason, Returning, Server, ServerConfig, ServerKeys, Session, Ticket, TicketKeys,
    UnixTime, Verifier, limits,
};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use support::wire::{ClientHello, Message, ServerHello, edit, reseal};
use support::{ALICE, HELLO_AT, OTHER2048, RSA2048, RSA3072, RSA4096, SUITES, Scenario, TODAY, TestKey, TestRng};
use support::{at, provider, verifier};

/// Logs in to a server with these keys as to one of this name: what the client gets, and what the server.
fn login(keys: ServerKeys, server: Server) -> (Result<String, LoginError>, Result<String, LoginError>) {
    // Each name is told to the verifier, who says it back as the principal's.
    let echo = |attempt: &Attempt<'_>| -> Result<Grant, Reason> {
        verifier(attempt)?;
        let name = Some(attempt.server_name()).filter(|name| !name.is_empty()).unwrap_or("nameless");
        Ok(Grant::new(name, [""; 0]).unwrap())
    };
    let config = ServerConfig::new(provider()).with_refusal_floor(Duration::ZERO);
    let acceptor = Acceptor::new(config, keys, echo);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        acceptor.accept_blocking(stream, Context::uncounted()).map(|session| session.grant().principal().to_owned())
    });
    let connector = Connector::new(ClientConfig::new(provider()), server);
    let session = connector.connect_blocking(TcpStream::connect(address).unwrap(), ALICE);
    (session.map(|session| session.grant().principal().to_owned()), accepting.join().unwrap())
}

fn is_let_in(keys: &ServerKeys, key: &TestKey, name: &str, principal: &str) {
    let (client, server) = login(keys.clone(), key.trust().with_name(name).unwrap());
    assert_eq!((client.unwrap().as_str(), server.unwrap().as_str()), (principal, principal));
}

fn is_turned_away(keys: &ServerKeys, key: &TestKey, name: &str) {
    for trust in [key.trust(), Server::key(key.private.public_key().clone())] {
        let (client, server) = login(keys.clone(), trust.with_name(name).unwrap());
        assert!(
            matches!(client, Err(LoginError::Disconnected { awaited: FrameType::ServerHello })),
            "{name}: {client:?}"
        );
        assert!(matches!(server, Err(LoginError::Protocol(Error::NoServerKey))), "{name}: {server:?}");
    }
}

fn three() -> ServerKeys {
    let keys = ServerKeys::from(RSA2048.server.clone());
    let keys = keys.with_name("db.example", OTHER2048.server.clone()).unwrap();
    keys.with_name("mail.example", RSA3072.server.clone()).unwrap()
}

#[test]
fn one_key_answers_to_no_name_and_to_every_name_if_it_was_told_to() {
    let keys = ServerKeys::from(RSA2048.server.clone());
    is_let_in(&keys, &RSA2048, "", "nameless");
    is_turned_away(&keys, &RSA2048, "whatever.example");
    let keys = keys.with_any_name();
    is_let_in(&keys, &RSA2048, "", "nameless");
    is_let_in(&keys, &RSA2048, "whatever.example", "whatever.example");
    // Among several, those that have a key of their own keep it.
    let keys = three().with_any_name();
    is_let_in(&keys, &RSA2048, "whatever.example", "whatever.example");
    is_let_in(&keys, &OTHER2048, "db.example", "db.example");
}

#[test]
fn each_name_has_its_key_and_who_names_none_gets_the_first() {
    let keys = three();
    is_let_in(&keys, &OTHER2048, "db.example", "db.example");
    is_let_in(&keys, &RSA3072, "mail.example", "mail.example");
    is_let_in(&keys, &RSA2048, "", "nameless");
    // A key of another name is not what was pinned.
    let (client, _) = login(keys, RSA2048.trust().with_name("db.example").unwrap());
    let other = OTHER2048.private.public_key().id();
    assert!(matches!(client, Err(LoginError::Protocol(Error::Untrusted(key))) if key.key() == other));
}

#[test]
fn s12_a_name_that_there_is_not_is_turned_away_and_told_nothing() {
    // Compared byte for byte: DNS would take the second and the third for the same.
    for name in ["www.example", "DB.example", "db.example.", "db.exampl", "db.example2"] {
        is_turned_away(&three(), &RSA2048, name);
        // Who trusts the keys of two servers is not led from one to the other.
        is_turned_away(&ServerKeys::from(RSA2048.server.clone()), &RSA2048, name);
    }
}

#[test]
fn a_name_is_what_a_client_can_ask_for_and_there_once() {
    let add = |name: &str| three().with_name(name, RSA2048.server.clone()).map(drop);
    let long = "x".repeat(limits::MAX_SERVER_NAME);
    for name in ["x", "DB.example", "[2001:db8::1]:7000", long.as_str()] {
        assert_eq!(add(name), Ok(()), "{name}");
        assert!(RSA2048.trust().with_name(name).is_ok(), "{name}");
    }
    let longer = format!("{long}x");
    for name in ["a b", "a\n", "a\0", "caf\u{e9}.example", longer.as_str()] {
        assert_eq!(add(name), Err(Misuse::BadInput("the server name")), "{name:?}");
        assert_eq!(RSA2048.trust().with_name(name).map(drop), Err(Misuse::BadInput("the server name")), "{name:?}");
    }
    assert_eq!(add(""), Err(Misuse::BadInput("the server name")), "whoever names none gets the first");
    assert_eq!(add("db.example"), Err(Misuse::Duplicate("the server names")));
}

/// Seconds after [`TODAY`].
fn day(days: u64) -> UnixTime {
    UnixTime::from_secs(TODAY.as_secs() + days * 24 * 3600)
}

/// RSA2048 is current, OTHER2048 next, and RSA3072 retired until tomorrow.
fn over_time() -> KeySet {
    let keys = KeySet::new(RSA2048.server.clone()).with_next(OTHER2048.server.clone()).unwrap();
    keys.with_retired(RSA3072.server.clone(), day(1)).unwrap()
}

/// A ClientHello that knows these keys, none of them sealed to.
fn knowing(keys: &[&TestKey]) -> ChooseKey {
    let (hello, _) = Scenario::new().await_challenge();
    let ids = keys.iter().map(|key| *key.private.public_key().id().as_bytes()).collect();
    let hello = edit(&hello, |hello: &mut ClientHello| hello.known_keys = ids);
    Scenario::new().await_hello().read(hello, at(HELLO_AT)).unwrap()
}

#[test]
fn a_client_is_answered_under_a_key_that_it_knows_while_that_is_in_time() {
    let (current, next, retired, unknown) = (&*RSA2048, &*OTHER2048, &*RSA3072, &*RSA4096);
    for (known, now, chosen) in [
        (&[][..], day(0), current),
        (&[unknown], day(0), current),
        (&[current], day(0), current),
        (&[next], day(0), next),
        (&[retired], day(0), retired),
        (&[next, current], day(0), next),
        (&[retired, current, next], day(0), retired),
        (&[unknown, next], day(0), next),
        (&[retired], UnixTime::from_secs(day(1).as_secs() - 1), retired),
        // From then on it is as one that is not there.
        (&[retired], day(1), current),
        (&[retired, next], day(1), next),
        (&[retired], UnixTime::from_secs(u64::MAX), current),
    ] {
        let (keys, hello) = (over_time(), knowing(known));
        assert_eq!(
            keys.choose(&hello, now).public_key(),
            chosen.private.public_key(),
            "{known:?} at {now}",
            known = known.len()
        );
        // And the answer is under it.
        let answer = ServerKeys::from(keys).answer(hello, now).unwrap();
        let (frame, _) = answer.challenge(&mut TestRng::new("answer")).unwrap();
        assert_eq!(ServerHello::decode(&frame[3..]).unwrap().key_id, *chosen.private.public_key().id().as_bytes());
    }
}

#[test]
fn who_knows_no_key_never_sees_one_that_is_not_the_current() {
    let mut keys = over_time();
    for days in [0, 1, 1000] {
        assert_eq!(keys.choose(&knowing(&[]), day(days)).public_key(), RSA2048.private.public_key());
    }
    // What was next is what everybody sees once it is made the current one.
    keys = KeySet::new(OTHER2048.server.clone()).with_retired(RSA2048.server.clone(), day(30)).unwrap();
    assert_eq!(keys.choose(&knowing(&[]), day(0)).public_key(), OTHER2048.private.public_key());
    assert_eq!(keys.choose(&knowing(&[&RSA2048]), day(0)).public_key(), RSA2048.private.public_key());
}

#[test]
fn a_key_is_there_once_and_each_name_has_its_own() {
    let (ours, theirs) = (over_time(), RSA4096.server.clone());
    for key in [&RSA2048, &OTHER2048, &RSA3072] {
        let twice = Some(Misuse::Duplicate("the keys"));
        assert_eq!(over_time().with_next(key.server.clone()).err(), twice);
        assert_eq!(over_time().with_retired(key.server.clone(), day(2)).err(), twice);
    }
    let ids: Vec<_> = ours.all().map(|key| key.public_key().id()).collect();
    assert_eq!(ids, [&RSA2048, &OTHER2048, &RSA3072].map(|key| key.private.public_key().id()));
    let next: Vec<_> = ours.next().iter().map(|key| key.public_key().id()).collect();
    let retired: Vec<_> = ours.retired().iter().map(|(key, until)| (key.public_key().id(), *until)).collect();
    assert_eq!((ours.current().public_key().id(), next, retired), (ids[0], vec![ids[1]], vec![(ids[2], day(1))]));
    // A key of another name is not answered under, whoever knows it.
    let keys = ServerKeys::from(theirs).with_name("db.example", ours).unwrap();
    let hello = knowing(&[&OTHER2048]);
    let of_none = keys.of("").unwrap().choose(&hello, day(0)).public_key().id();
    assert_eq!(of_none, RSA4096.private.public_key().id());
    assert_eq!(keys.of("db.example").unwrap().choose(&hello, day(0)).public_key(), OTHER2048.private.public_key());
    assert!(keys.of("www.example").is_none());
    assert_eq!(keys.answer(hello, day(0)).unwrap().server_name(), "");
}

/// A client that trusts these keys, and a server whose ticket keys live on.
struct World {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    rng: TestRng,
}

impl World {
    fn new() -> Self {
        let tickets = TicketKeys::new(provider(), Duration::from_secs(3600));
        let server = ServerConfig::new(provider()).with_suites(&SUITES).unwrap().with_tickets(tickets);
        let client = ClientConfig::new(provider()).with_suites(&SUITES).unwrap();
        Self { server: server.into(), client: client.into(), rng: TestRng::new("rotation") }
    }

    /// A login, and its ticket.
    fn login(&mut self, keys: &ServerKeys, trust: &Server) -> Ticket {
        let none = ChannelBinding::none();
        let (hello, client) = client::start(&self.client, trust, &none, &mut self.rng, Moment::ORIGIN).unwrap();
        let choice = AwaitHello::new(&self.server, &none, at(0)).read(hello, at(0)).unwrap();
        let hello = keys.answer(choice, TODAY).unwrap();
        let hello = match hello.open(&mut self.rng) {
            Ok(open) => open.run(&mut self.rng),
            Err(hello) => *hello,
        };
        let (challenge, server) = hello.challenge(&mut self.rng).unwrap();
        let trusted = client.read(&challenge, at(0)).unwrap().trust(trust, TODAY).unwrap();
        let (login, client) = trusted.login(ALICE, &mut self.rng).unwrap();
        let claim = server.read(login, at(0)).unwrap().admit().open(&mut self.rng);
        let grant = Grant::new("alice", ["read"]).unwrap().with_epoch(1);
        let accepted = claim.accept_with_ticket(grant, TODAY, &mut self.rng).unwrap();
        let session: Session = client.read(&accepted.frame, at(0), TODAY).unwrap();
        session.info.ticket().unwrap().clone()
    }

    /// Whether the server takes this ticket under its keys, all the way to the client's session.
    fn takes(&mut self, keys: &ServerKeys, trust: &Server, ticket: &Ticket, now: UnixTime) -> bool {
        let none = ChannelBinding::none();
        let shown = trust.resume(ticket.clone(), "alice", TODAY).unwrap();
        let (hello, client) = client::resume(&self.client, trust, &none, shown, &mut self.rng, at(0)).unwrap();
        let choice = AwaitHello::new(&self.server, &none, at(0)).read(hello, at(0)).unwrap();
        let hello = keys.answer(choice, now).unwrap();
        let Some(claim) = hello.ticket(TODAY) else { return false };
        let grant = Grant::new("alice", ["read"]).unwrap().with_epoch(1);
        let (frame, _) = hello.resume(claim.use_up_now().unwrap(), grant, TODAY, &mut self.rng).unwrap();
        matches!(client.read(&frame, at(0), TODAY).unwrap(), Answer::Resumed(_))
    }
}

#[test]
fn k5_a_ticket_is_good_while_the_key_that_it_is_from_is_there_and_in_time() {
    let old = ServerKeys::from(RSA2048.server.clone());
    let rotated = KeySet::new(OTHER2048.server.clone()).with_retired(RSA2048.server.clone(), day(1)).unwrap();
    let rotated = ServerKeys::from(rotated);
    let without = ServerKeys::from(KeySet::new(OTHER2048.server.clone()).with_next(RSA3072.server.clone()).unwrap());
    let by_pin = RSA2048.trust();
    let whole = Server::key(RSA2048.private.public_key().clone());
    // As clients do that know both keys, the newer one first.
    let both = Server::key(OTHER2048.private.public_key().clone()).or(whole.clone());
    for trust in [by_pin, whole, both.without_proof()] {
        let ticket = |world: &mut World| world.login(&old, &trust);
        let world = &mut World::new();
        let shown = ticket(world);
        assert!(world.takes(&old, &trust, &shown, day(0)));
        let shown = ticket(world);
        assert!(world.takes(&rotated, &trust, &shown, day(0)), "a retired key is still good");
        let shown = ticket(world);
        assert!(!world.takes(&rotated, &trust, &shown, day(1)), "its time is over");
        let shown = ticket(world);
        assert!(!world.takes(&without, &trust, &shown, day(0)), "it was taken out");
    }
    // So is one from the next key.
    let next = Server::key(RSA3072.private.public_key().clone());
    let world = &mut World::new();
    let shown = world.login(&without, &next);
    assert!(world.takes(&without, &next, &shown, day(0)));
}

/// What is sealed to another key stays closed, and its client without a proof and without the ticket.
#[test]
fn whoever_has_sealed_a_secret_is_answered_under_its_key_and_not_under_that_of_a_ticket() {
    let keys = KeySet::new(RSA2048.server.clone()).with_next(OTHER2048.server.clone()).unwrap();
    let world = &mut World::new();
    let trust = RSA2048.trust();
    let ticket = world.login(&keys.clone().into(), &trust);
    let none = ChannelBinding::none();
    let shown = trust.resume(ticket, "alice", TODAY).unwrap();
    let (hello, _) = client::resume(&world.client, &trust, &none, shown, &mut world.rng, at(0)).unwrap();
    let other = OTHER2048.private.public_key();
    let known = edit(&hello, |hello: &mut ClientHello| hello.known_keys = vec![*other.id().as_bytes()]);
    let sealed = reseal(&known, other.spki_der(), &mut world.rng, |bound_to| [[7; 32], bound_to].concat());
    for (hello, chosen) in [(known, &RSA2048), (sealed, &OTHER2048)] {
        let choice = AwaitHello::new(&world.server, &none, at(0)).read(hello, at(0)).unwrap();
        assert!(choice.ticket_key(TODAY).is_some());
        assert_eq!(keys.choose(&choice, TODAY).public_key(), chosen.private.public_key());
    }
}

/// Knows alice, also when she comes back.
struct Returns;

impl Verifier for Returns {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        verifier(attempt).map(|grant| grant.with_epoch(1))
    }

    fn resume(&self, _: &Returning<'_>) -> Result<Grant, Reason> {
        Ok(support::grant().with_epoch(1))
    }
}

/// A server that serves `sessions` logins and echoes what comes, one thread each.
fn serve(acceptor: &Acceptor, listener: &TcpListener, sessions: usize) {
    std::thread::scope(|scope| {
        for _ in 0..sessions {
            let (stream, _) = listener.accept().unwrap();
            scope.spawn(move || {
                let mut session = acceptor.accept_blocking(stream, Context::uncounted()).unwrap();
                let mut byte = [0];
                // A client that hangs up without a word is no matter here.
                while session.read(&mut byte).is_ok_and(|count| count == 1) {
                    session.write_all(&byte).unwrap();
                }
            });
        }
    });
}

#[test]
fn keys_are_exchanged_without_dropping_a_session_or_refusing_a_login_that_has_begun() {
    let tickets = TicketKeys::new(provider(), Duration::from_secs(3600));
    let config = ServerConfig::new(provider()).with_tickets(tickets);
    let acceptor = Acceptor::new(config, RSA2048.server.clone(), Returns);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = acceptor.clone();
    let server = std::thread::spawn(move || serve(&serving, &listener, 6));

    let dial = || TcpStream::connect(address);
    let connector = |trust: Server| Connector::new(ClientConfig::new(provider()), trust);
    let old = connector(RSA2048.trust()).with_tickets(MemoryTickets::new());
    let mut open = old.dial_blocking(dial, ALICE).unwrap();
    // This one has its challenge, and the credential is on its way only afterwards.
    let begun = match connector(RSA2048.trust()).begin_blocking(dial, None).unwrap() {
        countersign::Begun::Trusted(trusted) => trusted,
        countersign::Begun::Resumed(_) => panic!("there was no ticket"),
    };

    let tomorrow = UnixTime::from_system(SystemTime::now() + Duration::from_secs(24 * 3600));
    let rotated = KeySet::new(OTHER2048.server.clone()).with_retired(RSA2048.server.clone(), tomorrow).unwrap();
    acceptor.set_keys(rotated);
    assert_eq!(acceptor.keys().of("").unwrap().current().public_key(), OTHER2048.private.public_key());

    begun.login_blocking(ALICE).unwrap();
    open.write_all(b"x").unwrap();
    let mut byte = [0];
    open.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"x", "the session that was open is open");
    assert!(old.dial_blocking(dial, ALICE).unwrap().info().is_resumed(), "its ticket is taken");
    connector(OTHER2048.trust()).dial_blocking(dial, ALICE).unwrap();
    // Who has the old key whole is served it; who has its fingerprint alone knows no key that could be served.
    connector(Server::key(RSA2048.private.public_key().clone())).dial_blocking(dial, ALICE).unwrap();
    connector(RSA2048.trust().or(OTHER2048.trust())).dial_blocking(dial, ALICE).unwrap();
    drop(open);
    server.join().unwrap();
}
