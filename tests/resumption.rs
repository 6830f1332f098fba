//! Tickets: a login that needs no credential, and every way in which it falls back or is refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects, missing_docs)]

#[path = "support/drawn.rs"]
mod drawn;
mod support;

use core::pin::pin;
use core::task::{self, Poll, Waker};
use countersign::client::{self, Answer, AwaitAnswer};
use countersign::codec::DecodeError;
use countersign::frame::{FrameError, FrameType};
use countersign::server::{self, AwaitConfirm, Hello};
use countersign::{
    AlreadyUsed, AsyncVerifier, Attempt, ChannelBinding, ClientConfig, Context, CredentialKind, Differs, Error, Grant,
    KeyExchange, KeyId, Misuse, PublicKey, PuzzleDifficulty, Question, Reason, Received, Returning, Server,
    ServerConfig, ServerKey, Session, Suite, Ticket, TicketKeys, TicketMemory, TicketUse, Trust, TrustLevel, UnixTime,
    Untrusted, UsedTickets, Using, Verifier, Violation, limits,
};
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::wire::{ClientHello, Message, ServerResumption, Verdict, edit, padded};
use support::{OTHER2048, RSA2048, SUITES, TestRng, at, frame, provider};

const LIFETIME: u64 = 3600;
const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
const EPOCH: u64 = 7;

fn later(seconds: u64) -> UnixTime {
    UnixTime::from_secs(NOW.as_secs() + seconds)
}

/// A server that gives tickets and a client that has one.
struct World {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    keys: Arc<TicketKeys>,
    binding: ChannelBinding,
    rng: TestRng,
}

fn keys() -> TicketKeys {
    TicketKeys::new(provider(), Duration::from_secs(LIFETIME))
}

impl World {
    fn new(keys: TicketKeys, suites: &[Suite]) -> Self {
        let provider = provider();
        let keys = Arc::new(keys);
        let server = ServerConfig::new(provider).with_suites(suites).unwrap().with_tickets(keys.clone());
        let client = ClientConfig::new(provider).with_suites(suites).unwrap();
        let binding = ChannelBinding::none();
        Self { server: server.into(), client: client.into(), keys, binding, rng: TestRng::new("resumption") }
    }

    /// A full login as alice; gives the client's and the server's end.
    fn login(&mut self, now: UnixTime) -> (Session, Session) {
        self.login_as(alice(), now)
    }

    fn login_as(&mut self, grant: Grant, now: UnixTime) -> (Session, Session) {
        self.login_to(&trust(), grant, now)
    }

    fn login_to(&mut self, trust: &Server, grant: Grant, now: UnixTime) -> (Session, Session) {
        let (hello, client) = client::start(&self.client, trust, &self.binding, &mut self.rng, at(0)).unwrap();
        let server = server::AwaitHello::new(&self.server, &self.binding, at(0)).read(hello, at(0)).unwrap();
        let (challenge, server) = server.choose(&RSA2048.server).unwrap().challenge(&mut self.rng).unwrap();
        let trusted = client.read(&challenge, at(0)).unwrap().trust(trust, NOW).unwrap();
        let (login, client) = trusted.login(support::ALICE, &mut self.rng).unwrap();
        let claim = server.read(login, at(0)).unwrap().admit().open(&mut self.rng);
        let accepted = claim.accept_with_ticket(grant, now, &mut self.rng).unwrap();
        (client.read(&accepted.frame, at(0), now).unwrap(), accepted.session)
    }

    fn ticket(&mut self) -> Ticket {
        self.login(NOW).0.info.ticket().unwrap().clone()
    }

    fn resume(&mut self, ticket: &Ticket) -> (Vec<u8>, AwaitAnswer) {
        let ticket = trust().resume(ticket.clone(), "alice", ticket_time(ticket)).unwrap();
        client::resume(&self.client, &trust(), &self.binding, ticket, &mut self.rng, at(0)).unwrap()
    }

    fn read(&self, hello: &[u8]) -> Hello {
        self.read_under(hello, &RSA2048.server)
    }

    fn read_under(&self, hello: &[u8], key: &ServerKey) -> Hello {
        let state = server::AwaitHello::new(&self.server, &self.binding, at(0));
        state.read(hello.to_vec(), at(0)).unwrap().choose(key).unwrap()
    }

    /// Whether the server takes what this hello shows, if it was not used before.
    fn takes(&self, hello: &[u8], key: &ServerKey, now: UnixTime) -> bool {
        self.read_under(hello, key).ticket(now).is_some()
    }

    /// The server's answer to a good ticket.
    fn answer(&mut self, hello: &[u8], now: UnixTime) -> (Vec<u8>, AwaitConfirm) {
        let hello = self.read(hello);
        let ticket = hello.ticket(now).unwrap().use_up_now().unwrap();
        hello.resume(ticket, alice(), now, &mut self.rng).unwrap()
    }
}

fn default() -> World {
    World::new(keys(), &SUITES)
}

fn alice() -> Grant {
    Grant::new("alice", ["read"]).unwrap().with_epoch(EPOCH)
}

fn bob() -> Grant {
    Grant::new("bob", ["read"]).unwrap().with_epoch(EPOCH)
}

fn trust() -> Server {
    RSA2048.trust().with_floor(KeyExchange::Rsa)
}

/// A moment at which the client still shows this ticket.
fn ticket_time(ticket: &Ticket) -> UnixTime {
    UnixTime::from_secs(ticket.expires().as_secs() - 1)
}

fn resumed(answer: Result<Answer, Error>) -> Session {
    confirmed(answer).0
}

/// The client's session, and its Confirm.
fn confirmed(answer: Result<Answer, Error>) -> (Session, Vec<u8>) {
    match answer.unwrap() {
        Answer::Resumed(resumed) => (resumed.session, resumed.frame),
        Answer::Challenge(_) => panic!("the ticket was not taken"),
    }
}

fn says(from: &mut Session, to: &mut Session, text: &[u8]) {
    let mut record = Vec::new();
    from.sealer.seal(text, &mut record).unwrap();
    assert_eq!(to.opener.open(&mut record).unwrap(), Received::Data(text));
}

#[test]
fn a_ticket_takes_the_place_of_a_credential_in_every_suite() {
    for suite in Suite::ALL {
        let mut world = World::new(keys(), &[suite]);
        let (first, _) = world.login(NOW);
        assert!(!first.info.is_resumed());
        let mut ticket = first.info.ticket().unwrap().clone();
        assert_eq!((ticket.suite(), ticket.expires()), (suite, later(LIFETIME)));
        // Each resumption gives the ticket for the next.
        for round in 1..4 {
            let now = later(round * 1000);
            let (hello, state) = world.resume(&ticket);
            let (frame, server) = world.answer(&hello, now);
            let (mut client, confirm) = confirmed(state.read(&frame, at(0), now));
            assert_eq!((confirm.len(), server.principal()), (19, "alice"));
            let mut server = server.read(confirm, at(0)).unwrap();
            assert!(client.info.is_resumed() && server.info.is_resumed());
            assert_eq!(
                (client.info.login_grant().principal(), client.info.suite(), client.info.id()),
                ("alice", suite, server.info.id())
            );
            says(&mut client, &mut server, b"hello");
            says(&mut server, &mut client, b"alice");
            ticket = client.info.ticket().unwrap().clone();
            assert_eq!(ticket.expires(), later(round * 1000 + LIFETIME));
        }
    }
}

#[test]
fn a_resumption_keeps_the_time_of_the_credential_and_has_the_permissions_of_now() {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, state) = world.resume(&ticket);
    let read = world.read(&hello);
    let fresh = read.ticket(later(10)).unwrap().use_up_now().unwrap();
    assert_eq!((fresh.principal(), fresh.epoch(), fresh.authenticated()), ("alice", EPOCH, NOW));
    assert_eq!(fresh.kind(), CredentialKind::Password);
    let grant = Grant::new("alice", ["read", "admin"]).unwrap().with_epoch(EPOCH);
    let (frame, _) = read.resume(fresh, grant, later(10), &mut TestRng::new("x")).unwrap();
    let session = resumed(state.read(&frame, at(0), later(10)));
    assert!(session.info.login_grant().permits("admin"));
    let next = session.info.ticket().unwrap().clone();
    let (hello, _) = world.resume(&next);
    let fresh = world.read(&hello).ticket(later(20)).unwrap().use_up_now().unwrap();
    assert_eq!((fresh.authenticated(), fresh.kind()), (NOW, CredentialKind::Password));
}

#[test]
fn a_login_gets_no_ticket_without_ticket_keys_or_without_an_epoch() {
    let mut world = default();
    let (hello, client) = client::start(&world.client, &trust(), &world.binding, &mut world.rng, at(0)).unwrap();
    let (challenge, server) = world.read(&hello).challenge(&mut TestRng::new("y")).unwrap();
    let trusted = client.read(&challenge, at(0)).unwrap().trust(&trust(), NOW).unwrap();
    let (login, client) = trusted.login(support::ALICE, &mut world.rng).unwrap();
    let claim = server.read(login, at(0)).unwrap().admit().open(&mut world.rng);
    let no_epoch = Grant::new("alice", ["read"]).unwrap();
    let accepted = claim.accept_with_ticket(no_epoch, NOW, &mut world.rng).unwrap();
    assert!(client.read(&accepted.frame, at(0), NOW).unwrap().info.ticket().is_none());
}

#[test]
fn the_ticket_does_not_show_the_principal_and_neither_does_its_debug() {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    assert!(!hello.windows(5).any(|five| five == b"alice"));
    assert!(!format!("{ticket:?} {:?}", world.keys).contains("alice"));
}

#[test]
fn a_ticket_survives_being_kept_and_bytes_that_are_none_do_not_become_one() {
    let mut world = default();
    let ticket = world.ticket();
    let bytes = ticket.to_bytes().unwrap();
    let kept = Ticket::from_bytes(&bytes).unwrap();
    let (hello, state) = world.resume(&kept);
    let (frame, _) = world.answer(&hello, NOW);
    resumed(state.read(&frame, at(0), NOW));
    for end in 0..bytes.len() {
        assert_eq!(Ticket::from_bytes(&bytes[..end]).unwrap_err(), Misuse::BadInput("the saved ticket"));
    }
    let trailing = [&bytes[..], &[0]].concat();
    assert!(Ticket::from_bytes(&trailing).is_err());
    // The ticket itself stands at the end, behind its length.
    let front = &bytes[..bytes.len() - 2 - limits::TICKET];
    let of_length = |len: u16| {
        let ticket = vec![1; len.into()];
        Ticket::from_bytes(&[front, &len.to_be_bytes(), &ticket].concat()).is_ok()
    };
    assert_eq!([0, 1, 500, 501].map(of_length), [false, true, true, false]);
    for byte in [0, 1, 2] {
        let mut other = bytes.to_vec();
        other[byte] ^= 0x80;
        assert!(Ticket::from_bytes(&other).is_err(), "version and suite");
    }
}

/// Knows of each key that it is not the server's any more.
struct Refuses;

impl Trust for Refuses {
    fn decide(&self, _: &Question<'_>) -> countersign::Answer {
        refused_key()
    }

    fn recall(&self, _: KeyId, _: Suite, _: &str, _: UnixTime) -> countersign::Answer {
        refused_key()
    }

    fn scope(&self) -> String {
        "refuses".to_owned()
    }
}

/// Trusts every key that is shown, and can't tell anything of it later.
struct Forgets;

impl Trust for Forgets {
    fn decide(&self, _: &Question<'_>) -> countersign::Answer {
        countersign::Answer::Trusted(TrustLevel::Verified)
    }

    fn scope(&self) -> String {
        "forgets".to_owned()
    }
}

fn refused_key() -> countersign::Answer {
    countersign::Answer::Refused(Untrusted::new("revoked-key", std::fmt::Error))
}

#[test]
fn a_ticket_of_a_server_that_is_not_trusted_is_not_shown_and_neither_is_one_under_the_floor() {
    let mut world = World::new(keys(), &[Suite::RSA_AES_256_GCM]);
    let ticket = world.ticket();
    let shows = |server: Server| server.resume(ticket.clone(), "alice", NOW).is_some();
    assert!(!shows(OTHER2048.trust().with_floor(KeyExchange::Rsa)));
    assert!(!shows(RSA2048.trust()), "the floor is X25519");
    assert!(shows(trust()));
    for either in [trust().or(Server::trusting(Refuses)), Server::trusting(Refuses).or(trust())] {
        assert!(!shows(either.with_floor(KeyExchange::Rsa)), "it was revoked since");
    }
    let forgets = || Server::trusting(Forgets).with_floor(KeyExchange::Rsa);
    assert!(!shows(forgets()), "nobody says that it is trusted still");
    assert!(shows(forgets().or(trust())), "nor does that speak against it");
    // A client that no longer offers the suite keeps the ticket to itself.
    world.client = Arc::new(ClientConfig::new(provider()));
    let (hello, _) = world.resume(&ticket);
    let mut shown = Vec::new();
    edit::<ClientHello>(&hello, |hello| shown.clone_from(&hello.ticket));
    assert!(shown.is_empty());
}

#[test]
fn a_ticket_that_one_server_may_see_is_not_shown_to_another() {
    let mut world = default();
    let ticket = world.ticket();
    let others = [OTHER2048.trust(), trust().with_name("db.example").unwrap()];
    for (other, is_shown) in others.into_iter().map(|other| (other, false)).chain([(trust(), true)]) {
        let trusted = trust().resume(ticket.clone(), "alice", NOW).unwrap();
        let (hello, _) = client::resume(&world.client, &other, &world.binding, trusted, &mut world.rng, at(0)).unwrap();
        assert_eq!(!ClientHello::decode(&hello[3..]).unwrap().ticket.is_empty(), is_shown);
    }
}

#[test]
fn a_ticket_that_is_not_taken_leads_to_the_full_login() {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, state) = world.resume(&ticket);
    let (challenge, server) = world.read(&hello).challenge(&mut TestRng::new("z")).unwrap();
    let Answer::Challenge(challenge) = state.read(&challenge, at(0), NOW).unwrap() else { panic!("a challenge") };
    let (login, client) = challenge.trust(&trust(), NOW).unwrap().login(support::ALICE, &mut world.rng).unwrap();
    let claim = server.read(login, at(0)).unwrap().admit().open(&mut world.rng);
    let accepted = claim.accept(alice()).unwrap();
    assert_eq!(client.read(&accepted.frame, at(0), NOW).unwrap().info.login_grant().principal(), "alice");
}

#[test]
fn s11_a_ticket_or_a_binder_of_a_wrong_length_is_refused() {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    for (ticket, binder) in [(0, 32), (0, 1), (100, 0), (100, 31), (100, 33), (501, 32)] {
        let bad = edit::<ClientHello>(&hello, |hello| {
            hello.ticket.resize(ticket, 1);
            hello.binder.resize(binder, 1);
        });
        let read = server::AwaitHello::new(&world.server, &world.binding, at(0)).read(bad, at(0));
        assert_eq!(read.unwrap_err(), Violation::BadTicket.into(), "{ticket}, {binder}");
    }
    let longest = edit::<ClientHello>(&hello, |hello| hello.ticket.resize(limits::MAX_TICKET, 1));
    assert!(!world.takes(&longest, &RSA2048.server, NOW), "another server's, perhaps: no violation");
}

#[test]
fn k1_a_ticket_that_is_altered_or_foreign_is_not_taken() {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    assert!(world.takes(&hello, &RSA2048.server, NOW));
    let other = default();
    assert!(!other.takes(&hello, &RSA2048.server, NOW), "another server's keys");
    let mut length = 0;
    edit::<ClientHello>(&hello, |hello| length = hello.ticket.len());
    for byte in 0..length {
        let altered = edit::<ClientHello>(&hello, |hello| hello.ticket[byte] ^= 1);
        assert!(!world.takes(&altered, &RSA2048.server, NOW), "byte {byte}");
    }
    let nonsense = edit::<ClientHello>(&hello, |hello| hello.ticket = vec![0; 5]);
    assert!(!world.takes(&nonsense, &RSA2048.server, NOW));
}

#[test]
fn k2_an_expired_ticket_is_not_taken() {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    assert!(world.takes(&hello, &RSA2048.server, later(LIFETIME - 1)));
    assert!(!world.takes(&hello, &RSA2048.server, later(LIFETIME)));
    assert!(!world.takes(&hello, &RSA2048.server, later(10 * LIFETIME)));
}

/// How many steps of so many seconds a chain lives.
fn steps(keys: TicketKeys, step: u64) -> u64 {
    let mut world = World::new(keys, &SUITES);
    let mut ticket = world.ticket();
    for count in 1..1000 {
        let now = later(count * step);
        let Some(shown) = trust().resume(ticket.clone(), "alice", now) else { return count };
        let (client, binding, rng) = (&world.client, &world.binding, &mut world.rng);
        let (hello, state) = client::resume(client, &trust(), binding, shown, rng, at(0)).unwrap();
        if !world.takes(&hello, &RSA2048.server, now) {
            return count;
        }
        let (frame, _) = world.answer(&hello, now);
        let session = resumed(state.read(&frame, at(0), now));
        let Some(next) = session.info.ticket() else { return count + 1 };
        ticket = next.clone();
    }
    panic!("it never ends");
}

#[test]
fn k2_a_chain_of_tickets_ends_when_the_credential_is_too_old() {
    let day = 24 * 3600;
    let keys = |days: u64| TicketKeys::new(provider(), Duration::from_secs(days * day));
    assert_eq!(steps(keys(30), day), 7, "a week");
    assert_eq!(steps(keys(30).with_max_age(Duration::from_secs(3 * day)), day), 3);
}

/// A client refuses an accept with a ticket that is good for no time (V3, A6): it would be let in by nobody.
#[test]
fn a_chain_at_its_end_gets_no_ticket_and_its_login_is_good() {
    let never = keys().with_max_age(Duration::ZERO);
    assert!(World::new(never, &SUITES).login(NOW).0.info.ticket().is_none());
    let mut world = World::new(keys().with_max_age(Duration::from_secs(100)), &SUITES);
    let tickets = [world.ticket(), world.ticket()];
    for (ticket, (decided, gives)) in tickets.iter().zip([(99, true), (100, false)]) {
        let (hello, state) = world.resume(ticket);
        let hello = world.read(&hello);
        // It is shown in time, and then it takes a while to look the account up.
        let fresh = hello.ticket(later(98)).unwrap().use_up_now().unwrap();
        let (frame, _) = hello.resume(fresh, alice(), later(decided), &mut world.rng).unwrap();
        assert_eq!(resumed(state.read(&frame, at(0), later(decided))).info.ticket().is_some(), gives);
    }
}

#[test]
fn k2_a_ticket_from_the_future_is_not_taken_but_for_a_small_skew() {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    let before = |seconds| UnixTime::from_secs(NOW.as_secs() - seconds);
    // Another server that shares the keys, and whose clock is behind.
    let behind = |seconds| {
        let other = default();
        other.keys.follow(&world.keys.export(NOW, &mut TestRng::new("export")).unwrap()).unwrap();
        other.takes(&hello, &RSA2048.server, before(seconds))
    };
    assert!(behind(60));
    assert!(!behind(61));
}

/// Of three servers that share keys, the clock of the first is ahead, and that of the last behind.
#[test]
fn k2_a_ticket_whose_credential_was_shown_in_the_future_is_not_taken_but_for_a_small_skew() {
    let skew = limits::CLOCK_SKEW.as_secs();
    for (behind, takes) in [(0, true), (1, false)] {
        let [mut ahead, mut right, last] = [default(), default(), default()];
        let exported = ahead.keys.export(NOW, &mut TestRng::new("export")).unwrap();
        let ticket = ahead.login(later(skew)).0.info.ticket().unwrap().clone();
        right.keys.follow(&exported).unwrap();
        last.keys.follow(&exported).unwrap();
        let (hello, state) = right.resume(&ticket);
        let (frame, _) = right.answer(&hello, NOW);
        let next = resumed(state.read(&frame, at(0), NOW)).info.ticket().unwrap().clone();
        let (hello, _) = right.resume(&next);
        let now = UnixTime::from_secs(NOW.as_secs() - behind);
        assert_eq!(last.takes(&hello, &RSA2048.server, now), takes, "{behind} s behind");
    }
}

#[test]
fn of_the_keys_that_a_client_knows_the_one_that_its_ticket_is_from_is_named_first() {
    let mut world = default();
    let [own, other] = [&RSA2048, &OTHER2048].map(|key| key.private.public_key().clone());
    let server = |key: &PublicKey| Server::key(key.clone()).with_floor(KeyExchange::Rsa);
    let ticket = world.ticket();
    for trust in [server(&own).or(server(&other)), trust().or(server(&other)).or(server(&own))] {
        let trusted = trust.resume(ticket.clone(), "alice", NOW).unwrap();
        let (hello, _) = client::resume(&world.client, &trust, &world.binding, trusted, &mut world.rng, at(0)).unwrap();
        let named = ClientHello::decode(&hello[3..]).unwrap().known_keys;
        assert_eq!(named, [*own.id().as_bytes(), *other.id().as_bytes()]);
    }
}

#[test]
fn of_more_keys_than_a_hello_has_room_for_the_first_are_named_and_the_one_that_a_ticket_is_from() {
    let mut world = default();
    let own = RSA2048.private.public_key();
    let ticket = world.ticket();
    // Nobody needs to know what they are products of.
    let made = |number: u8| {
        let mut der = own.spki_der().to_vec();
        der[100] ^= number;
        PublicKey::from_spki_der(&der).unwrap()
    };
    let others: Vec<PublicKey> = (1..=9).map(made).collect();
    let ids: Vec<_> = others.iter().map(|key| *key.id().as_bytes()).collect();
    let server = others.into_iter().map(Server::key).reduce(Server::or).unwrap().or(Server::key(own.clone()));
    let named = |hello: &[u8]| ClientHello::decode(&hello[3..]).unwrap().known_keys;
    let (hello, _) = client::start(&world.client, &server, &world.binding, &mut world.rng, at(0)).unwrap();
    assert_eq!(named(&hello), ids[..limits::MAX_KNOWN_KEYS]);
    let trusted = server.resume(ticket, "alice", NOW).unwrap();
    let (hello, _) = client::resume(&world.client, &server, &world.binding, trusted, &mut world.rng, at(0)).unwrap();
    assert_eq!(named(&hello), [&[*own.id().as_bytes()][..], &ids[..limits::MAX_KNOWN_KEYS - 1]].concat());
}

#[test]
fn k2_a_server_that_wants_younger_chains_takes_none_that_another_gave_more_time() {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    let strict = |seconds| {
        let other = World::new(keys().with_max_age(Duration::from_secs(100)), &SUITES);
        other.keys.follow(&world.keys.export(NOW, &mut TestRng::new("export")).unwrap()).unwrap();
        other.takes(&hello, &RSA2048.server, later(seconds))
    };
    assert!(strict(99));
    assert!(!strict(100));
}

#[test]
fn k2_a_clock_that_goes_back_makes_nothing_good_again() {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    assert!(world.takes(&hello, &RSA2048.server, NOW));
    // It jumps ahead, past the ticket's end, and then back, by little and by much.
    assert!(!world.takes(&hello, &RSA2048.server, later(LIFETIME)));
    assert!(!world.takes(&hello, &RSA2048.server, later(LIFETIME - 59)));
    assert!(!world.takes(&hello, &RSA2048.server, NOW));
    assert!(!world.takes(&hello, &RSA2048.server, later(1)));
    // What is given out from then on is good.
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    assert!(world.takes(&hello, &RSA2048.server, NOW));
    // The same where a ticket was used, which is no longer remembered by then.
    let (used, _) = world.resume(&ticket);
    world.answer(&used, NOW);
    assert!(!world.takes(&hello, &RSA2048.server, later(3 * LIFETIME)));
    assert!(!world.takes(&hello, &RSA2048.server, NOW));
}

#[test]
fn k2_a_clock_that_goes_back_by_no_more_than_a_skew_makes_nothing_begin_anew() {
    let skew = limits::CLOCK_SKEW.as_secs();
    for (back, takes) in [(skew, true), (skew + 1, false)] {
        let mut world = default();
        let ticket = world.ticket();
        let (hello, _) = world.resume(&ticket);
        assert!(world.takes(&hello, &RSA2048.server, later(back)));
        assert_eq!(world.takes(&hello, &RSA2048.server, NOW), takes, "{back} s back");
    }
}

#[test]
fn k2_each_ticket_key_seals_for_one_lifetime_and_opens_for_one_more() {
    let mut world = default();
    world.login(NOW);
    let (client, _) = world.login(later(LIFETIME - 1));
    let last_of_the_first_key = client.info.ticket().unwrap().clone();
    world.login(later(LIFETIME));
    let (hello, _) = world.resume(&last_of_the_first_key);
    assert!(world.takes(&hello, &RSA2048.server, later(2 * LIFETIME - 2)));
    let last_of_the_second_key = world.login(later(2 * LIFETIME - 1)).0.info.ticket().unwrap().clone();
    world.login(later(2 * LIFETIME));
    assert!(!world.takes(&hello, &RSA2048.server, later(2 * LIFETIME)), "its key is gone");
    let (hello, _) = world.resume(&last_of_the_second_key);
    assert!(world.takes(&hello, &RSA2048.server, later(2 * LIFETIME)), "the second is not");
}

#[test]
fn k3_a_binder_that_is_not_the_ticket_s_and_this_hello_s_is_not_taken() {
    let mut world = default();
    let (one, two) = (world.ticket(), world.ticket());
    let (hello, _) = world.resume(&one);
    let (other, _) = world.resume(&two);
    for byte in 0..32 {
        let altered = edit::<ClientHello>(&hello, |hello| hello.binder[byte] ^= 1);
        assert!(!world.takes(&altered, &RSA2048.server, NOW));
    }
    // Stolen off the wire, and shown in another hello.
    let mut stolen = Vec::new();
    edit::<ClientHello>(&hello, |hello| stolen = vec![hello.ticket.clone(), hello.binder.clone()]);
    let thief = edit::<ClientHello>(&other, |hello| {
        hello.ticket.clone_from(&stolen[0]);
        hello.binder.clone_from(&stolen[1]);
    });
    assert!(!world.takes(&thief, &RSA2048.server, NOW));
    // Everything else in the hello is bound, too, and so are the prologue and the channel.
    let renamed = edit::<ClientHello>(&hello, |hello| hello.server_name = b"other.example".to_vec());
    assert!(!world.takes(&renamed, &RSA2048.server, NOW));
    world.binding = ChannelBinding::tls_exporter([1; 32]);
    assert!(!world.takes(&hello, &RSA2048.server, NOW));
}

#[test]
fn k4_a_ticket_for_a_suite_that_is_no_longer_taken_is_not_taken() {
    let mut world = default();
    let ticket = world.ticket();
    assert_eq!(ticket.suite(), Suite::X25519_AES_256_GCM);
    let (hello, _) = world.resume(&ticket);
    let chacha = ServerConfig::new(provider()).with_suites(&[Suite::X25519_CHACHA20_POLY1305]).unwrap();
    world.server = Arc::new(chacha.with_tickets(world.keys.clone()));
    assert!(!world.takes(&hello, &RSA2048.server, NOW));
}

#[test]
fn k4_a_ticket_for_a_suite_that_its_own_hello_does_not_offer_is_not_taken() {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    // Shown by its owner, who can make the binder for anything, to a server that takes both suites.
    let takes = |suites: &[Suite]| {
        let suites = suites.iter().map(|suite| suite.number()).collect();
        let other = edit::<ClientHello>(&hello, |hello| hello.suites = suites);
        world.takes(&support::wire::bind(&ticket, &other), &RSA2048.server, NOW)
    };
    assert!(takes(&[Suite::X25519_CHACHA20_POLY1305, ticket.suite()]));
    assert!(!takes(&[Suite::X25519_CHACHA20_POLY1305]));
}

#[test]
fn k5_a_ticket_from_under_another_server_key_is_not_taken() {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    assert!(!world.takes(&hello, &OTHER2048.server, NOW));
}

/// Whether the ticket in this hello is used now for the first time.
fn is_fresh(world: &World, hello: &[u8], now: UnixTime) -> bool {
    world.read(hello).ticket(now).unwrap().use_up_now().is_some()
}

#[test]
fn k6_a_ticket_is_taken_once_unless_the_server_says_otherwise() {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, state) = world.resume(&ticket);
    let (frame, _) = world.answer(&hello, NOW);
    let next = resumed(state.read(&frame, at(0), NOW)).info.ticket().unwrap().clone();
    assert!(!is_fresh(&world, &hello, NOW), "a replay");
    // Its successor is as good; once that is used, so are both.
    let (after, _) = world.resume(&next);
    assert!(is_fresh(&world, &after, NOW));
    assert!(!is_fresh(&world, &after, NOW) && !is_fresh(&world, &hello, NOW));
    // A thief without the secret can't use somebody's ticket up.
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    let guessed = edit::<ClientHello>(&hello, |hello| hello.binder[0] ^= 1);
    assert!(!world.takes(&guessed, &RSA2048.server, NOW));
    assert!(is_fresh(&world, &hello, NOW));
    let counts = world.keys.used().unwrap();
    assert_eq!((counts.chains, counts.used), (2, 3));
    // What has been done since the beginning stays, when a clock that goes back makes everything else begin anew.
    assert!(!world.takes(&hello, &RSA2048.server, later(3 * LIFETIME)));
    assert!(!world.takes(&hello, &RSA2048.server, NOW));
    let counts = world.keys.used().unwrap();
    assert_eq!((counts.chains, counts.used), (0, 3));

    let mut lax = World::new(keys().with_unlimited_reuse(), &SUITES);
    let ticket = lax.ticket();
    let (hello, _) = lax.resume(&ticket);
    assert!(is_fresh(&lax, &hello, NOW) && is_fresh(&lax, &hello, NOW));
}

/// As often as that, each time by the ticket that it got the last time.
fn come_back(world: &mut World, times: usize) {
    let mut ticket = world.ticket();
    for _ in 0..times {
        let (hello, state) = world.resume(&ticket);
        let (frame, _) = world.answer(&hello, NOW);
        ticket = resumed(state.read(&frame, at(0), NOW)).info.ticket().unwrap().clone();
    }
}

#[test]
fn k6_one_client_that_comes_back_again_and_again_takes_up_the_room_of_one() {
    let mut world = World::new(keys().with_memory(UsedTickets::new(2)), &SUITES);
    come_back(&mut world, 200);
    let counts = world.keys.used().unwrap();
    assert_eq!((counts.chains, counts.room, counts.forgotten), (1, 2, 0));
}

#[test]
fn k6_where_the_memory_is_shared_each_ticket_of_a_chain_is_as_good_as_the_one_before() {
    let memory = Arc::new(UsedTickets::new(2));
    come_back(&mut World::new(keys().with_shared_memory(Arc::clone(&memory)), &SUITES), 20);
    assert_eq!((memory.counts().chains, memory.counts().used), (1, 0));
}

#[test]
fn k6_where_there_is_no_room_the_oldest_are_forgotten_and_not_taken() {
    let mut world = World::new(keys().with_memory(UsedTickets::new(2)), &SUITES);
    let hellos: Vec<_> = (0..3)
        .map(|second| {
            let ticket = world.login(later(second)).0.info.ticket().unwrap().clone();
            world.resume(&ticket).0
        })
        .collect();
    // One that was not used before the others pushed it out of what can be told.
    assert!(is_fresh(&world, &hellos[1], later(3)) && is_fresh(&world, &hellos[2], later(3)));
    assert!(is_fresh(&world, &hellos[0], later(3)), "it began before anything was forgotten");
    assert!(!is_fresh(&world, &hellos[0], later(3)));
    assert!(!is_fresh(&world, &hellos[1], later(3)) && !is_fresh(&world, &hellos[2], later(3)), "never twice");
    let counts = world.keys.used().unwrap();
    assert_eq!(counts.chains, 2);
    assert!(counts.forgotten >= 1 && counts.untold + counts.used >= 3);
    // Newer ones are as good as ever.
    let ticket = world.login(later(4)).0.info.ticket().unwrap().clone();
    let (hello, _) = world.resume(&ticket);
    assert!(is_fresh(&world, &hello, later(4)));
}

#[test]
fn k6_what_was_forgotten_for_want_of_room_is_not_taken_after_a_restart_either() {
    // Room for two in all, or for one of each principal.
    let memories = || [UsedTickets::new(2), UsedTickets::new(100).with_chains_per_principal(1)];
    for (memory, after) in memories().into_iter().zip(memories()) {
        let mut before = World::new(keys().with_memory(memory), &SUITES);
        let hellos: Vec<_> = (0..3)
            .map(|second| {
                let ticket = before.login(later(second)).0.info.ticket().unwrap().clone();
                before.resume(&ticket).0
            })
            .collect();
        assert!(hellos.iter().all(|hello| is_fresh(&before, hello, later(3))));
        let after = World::new(keys().with_memory(after), &SUITES);
        after.keys.load(&before.keys.save().unwrap()).unwrap();
        for (number, hello) in hellos.iter().enumerate() {
            assert!(!is_fresh(&after, hello, later(3)), "{number} was used before");
        }
    }
}

#[test]
fn k6_one_account_empties_no_other_s_memory() {
    // Enough for a fleet under one account, and a small part of the 4096 that there are at the least.
    assert_eq!(UsedTickets::OF_A_PRINCIPAL, 64);
    let mut world = World::new(keys().with_memory(UsedTickets::new(1000)), &SUITES);
    let bob = world.login_as(bob(), NOW).0.info.ticket().unwrap().clone();
    let (bobs, _) = world.resume(&bob);
    assert!(is_fresh(&world, &bobs, NOW));
    for _ in 0..UsedTickets::OF_A_PRINCIPAL + 20 {
        let ticket = world.login(later(1)).0.info.ticket().unwrap().clone();
        let (hello, _) = world.resume(&ticket);
        let _ = is_fresh(&world, &hello, later(1));
    }
    assert_eq!(world.keys.used().unwrap().chains, UsedTickets::OF_A_PRINCIPAL + 1);
    assert!(!is_fresh(&world, &bobs, later(2)), "bob's is remembered");
    let another = world.login_as(self::bob(), later(1)).0.info.ticket().unwrap().clone();
    let (hello, _) = world.resume(&another);
    assert!(is_fresh(&world, &hello, later(2)), "and bob's others are taken");
}

#[test]
fn k6_servers_that_share_keys_can_share_the_memory() {
    let memory = Arc::new(UsedTickets::new(100));
    let mut one = World::new(keys().with_shared_memory(memory.clone()), &SUITES);
    let two = World::new(keys().with_shared_memory(memory), &SUITES);
    let ticket = one.ticket();
    two.keys.follow(&one.keys.export(NOW, &mut TestRng::new("export")).unwrap()).unwrap();
    let (hello, _) = one.resume(&ticket);
    assert!(is_fresh(&two, &hello, NOW));
    assert!(!is_fresh(&one, &hello, NOW) && !is_fresh(&two, &hello, NOW));
}

#[test]
fn k6_a_used_ticket_is_remembered_for_as_long_as_it_is_good_whatever_lifetime_is_configured_by_then() {
    let mut before = World::new(TicketKeys::new(provider(), Duration::from_secs(24 * LIFETIME)), &SUITES);
    let ticket = before.ticket();
    let mut after = default();
    after.keys.load(&before.keys.save().unwrap()).unwrap();
    let (hello, _) = after.resume(&ticket);
    assert!(is_fresh(&after, &hello, later(1)));
    // Somebody else's use, by which what has ended is dropped.
    let others = after.login_as(bob(), later(4 * LIFETIME)).0.info.ticket().unwrap().clone();
    let (others, _) = after.resume(&others);
    assert!(is_fresh(&after, &others, later(4 * LIFETIME)));
    assert!(!is_fresh(&after, &hello, later(4 * LIFETIME)));
    assert!(!is_fresh(&after, &hello, later(24 * LIFETIME - 1)));
}

/// Remembers until when it is to remember.
#[derive(Default)]
struct Until(Mutex<Vec<UnixTime>>);

impl TicketMemory for Until {
    fn use_once<'a>(&'a self, ticket: &'a TicketUse) -> Using<'a> {
        self.0.lock().unwrap().push(ticket.until);
        Box::pin(core::future::ready(Ok(())))
    }
}

#[test]
fn k6_a_used_ticket_is_remembered_until_no_server_whose_clock_is_behind_takes_it() {
    let memory = Arc::new(Until::default());
    // Until the key that its chain began under opens nothing any more, or the credential is too old.
    for keys in [keys(), keys().with_max_age(Duration::from_secs(100))] {
        let mut world = World::new(keys.with_shared_memory(memory.clone()), &SUITES);
        let ticket = world.ticket();
        let (hello, _) = world.resume(&ticket);
        assert!(is_fresh(&world, &hello, later(1)));
    }
    let skew = limits::CLOCK_SKEW.as_secs();
    assert_eq!(*memory.0.lock().unwrap(), [later(2 * LIFETIME + skew), later(100 + skew)]);
}

/// A memory that counts how often it is asked, and may be away.
#[derive(Default)]
struct Asked(AtomicUsize, AtomicBool);

impl TicketMemory for Asked {
    fn use_once<'a>(&'a self, _: &'a TicketUse) -> Using<'a> {
        let before = self.0.fetch_add(1, Ordering::SeqCst);
        let answer = match self.1.load(Ordering::SeqCst) {
            true => Err(AlreadyUsed::Away),
            false if before == 0 => Err(AlreadyUsed::Used),
            false => Ok(()),
        };
        Box::pin(core::future::ready(answer))
    }
}

/// Whoever has recorded a hello plays it as often as they like.
#[test]
fn k6_a_memory_that_is_shared_is_asked_once_at_a_server_about_a_used_ticket() {
    let memory = Arc::new(Asked::default());
    let mut world = World::new(keys().with_shared_memory(memory.clone()), &SUITES);
    let asked = || memory.0.load(Ordering::SeqCst);
    let hellos = [world.ticket(), world.ticket(), world.ticket()].map(|ticket| world.resume(&ticket).0);
    // Used at another server, and here.
    assert!((0..100).all(|_| !is_fresh(&world, &hellos[0], NOW)) && asked() == 1);
    assert!(is_fresh(&world, &hellos[1], NOW));
    assert!((0..100).all(|_| !is_fresh(&world, &hellos[1], NOW)) && asked() == 2);
    // One that could not be asked said nothing of it.
    memory.1.store(true, Ordering::SeqCst);
    assert!((0..3).all(|_| !is_fresh(&world, &hellos[2], NOW)) && asked() == 5);
    memory.1.store(false, Ordering::SeqCst);
    assert!(is_fresh(&world, &hellos[2], NOW) && asked() == 6);
}

#[test]
fn k6_a_memory_that_began_after_the_chain_can_t_tell() {
    let mut leader = default();
    let old = leader.ticket();
    let exported = leader.keys.export(NOW, &mut TestRng::new("export")).unwrap();
    let (old, _) = leader.resume(&old);
    // A server that follows, was used, and begins anew: what was used before is gone, and not taken again.
    for _ in 0..2 {
        let follower = default();
        follower.keys.follow(&exported).unwrap();
        assert!(!is_fresh(&follower, &old, NOW));
        let new = leader.login(later(1)).0.info.ticket().unwrap().clone();
        let (new, _) = leader.resume(&new);
        assert!(is_fresh(&follower, &new, later(1)) && !is_fresh(&follower, &new, later(1)));
        // Later exports of the same keys change nothing about that.
        follower.keys.follow(&exported).unwrap();
        assert!(!is_fresh(&follower, &new, later(1)));
    }
    // The same for keys that were saved where the memory was elsewhere.
    let mut before = World::new(keys().with_shared_memory(UsedTickets::new(100)), &SUITES);
    let ticket = before.ticket();
    let (hello, _) = before.resume(&ticket);
    let after = default();
    after.keys.load(&before.keys.save().unwrap()).unwrap();
    assert!(!is_fresh(&after, &hello, NOW));
}

#[test]
fn k10_a_retired_key_is_gone_and_no_longer_lifetime_brings_it_back() {
    let mut world = default();
    let ticket = world.ticket();
    let saved = world.keys.save().unwrap();
    let longer = World::new(TicketKeys::new(provider(), Duration::from_secs(24 * LIFETIME)), &SUITES);
    longer.keys.load(&saved).unwrap();
    let (hello, _) = world.resume(&ticket);
    assert!(!longer.takes(&hello, &RSA2048.server, later(2 * LIFETIME)));
    // An idle server rotates no keys, and lets go of those that no longer open all the same.
    assert!(!world.takes(&hello, &RSA2048.server, later(2 * LIFETIME)));
    let left = world.keys.save().unwrap();
    assert_eq!(left[1], 0, "how many keys are kept");
}

#[test]
fn k6_a_server_that_saves_its_keys_takes_tickets_after_a_restart_and_none_that_were_used() {
    let mut before = default();
    let (used, unused) = (before.ticket(), before.ticket());
    let (used, _) = before.resume(&used);
    assert!(is_fresh(&before, &used, NOW));
    let saved = before.keys.save().unwrap();
    let after = default();
    after.keys.load(&saved).unwrap();
    assert!(!is_fresh(&after, &used, NOW));
    let (unused, _) = before.resume(&unused);
    assert!(is_fresh(&after, &unused, NOW));
    // One that goes on after it has saved has its keys as before, and saves them again.
    assert!(before.takes(&unused, &RSA2048.server, NOW));
    assert_eq!(before.keys.save().unwrap().len(), saved.len());
    // It rotates its keys as before, unlike one that follows.
    let mut after = after;
    assert!(after.login(later(LIFETIME)).0.info.ticket().is_some());
    for end in 0..saved.len() {
        let cut = default().keys.load(&saved[..end]);
        assert!(cut.is_err() || end == saved.len() - (2 + 5 + 16 + 8 + 8 + 8), "{end}");
    }
}

#[test]
fn k7_a_ticket_of_another_epoch_or_principal_is_not_taken() {
    let changed = [
        alice().with_epoch(EPOCH + 1),
        Grant::new("alice", ["read"]).unwrap(),
        Grant::new("bob", ["read"]).unwrap().with_epoch(EPOCH),
    ];
    for grant in changed {
        let mut world = default();
        let ticket = world.ticket();
        let (hello, _) = world.resume(&ticket);
        let hello = world.read(&hello);
        let fresh = hello.ticket(NOW).unwrap().use_up_now().unwrap();
        assert!(!fresh.is_current(&grant));
        let taken = hello.resume(fresh, grant, NOW, &mut TestRng::new("w"));
        assert_eq!(taken.unwrap_err(), Misuse::Mismatch.into());
    }
}

#[test]
fn k8_a_ticket_of_another_server_name_or_prologue_is_not_taken() {
    let mut world = default();
    let named = |name: &str| trust().with_name(name).unwrap();
    let ticket = world.login_to(&named("a.example"), alice(), NOW).0.info.ticket().unwrap().clone();
    let show = |world: &mut World, name: &str| {
        // The client's own check is not asked: the server's is what counts.
        let mut renamed = ticket.to_bytes().unwrap().to_vec();
        let begin = renamed.windows(9).position(|nine| nine == b"a.example").unwrap();
        renamed[begin..begin + 9].copy_from_slice(name.as_bytes());
        let ticket = Ticket::from_bytes(&renamed).unwrap();
        let trusted = named(name).resume(ticket, "alice", NOW).unwrap();
        let (config, binding) = (world.client.clone(), world.binding.clone());
        let (hello, _) = client::resume(&config, &named(name), &binding, trusted, &mut world.rng, at(0)).unwrap();
        world.takes(&hello, &RSA2048.server, NOW)
    };
    assert!(show(&mut world, "a.example"));
    assert!(!show(&mut world, "b.example"), "alice of one name is not alice of another");
    // The prologue: both ends have another one now, and share the ticket keys.
    let (server, client) = (ServerConfig::new(provider()), ClientConfig::new(provider()));
    let server = server.with_prologue(b"other").unwrap().with_tickets(world.keys.clone());
    world.server = Arc::new(server.with_suites(&SUITES).unwrap());
    world.client = Arc::new(client.with_prologue(b"other").unwrap().with_suites(&SUITES).unwrap());
    assert!(!show(&mut world, "a.example"));
}

#[test]
fn k9_a_ticket_that_began_with_a_kind_of_credential_that_is_no_longer_taken_is_not_taken() {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    let tokens = ServerConfig::new(provider()).with_credential_kinds(&[CredentialKind::Token]).unwrap();
    world.server = Arc::new(tokens.with_suites(&SUITES).unwrap().with_tickets(world.keys.clone()));
    assert!(!world.takes(&hello, &RSA2048.server, NOW));
}

#[test]
fn k10_a_chain_ends_with_the_ticket_key_that_it_began_under() {
    // Keys seal for an hour and open for one more.
    assert_eq!(steps(keys(), 1000), 8, "7200 seconds");
}

/// A ticket that somebody made who has stolen these keys.
fn minted(exported: &[u8], key: usize, root: usize, to: &Ticket, now: UnixTime) -> Vec<u8> {
    let ring = |index: usize| &exported[2 + index * 56..][..56];
    let (name, secret) = ring(key).split_at(8);
    let lp = |text: &[u8]| [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text].concat();
    let scope = {
        let prologue = Sha256::digest([lp(b"countersign v1 prologue"), lp(b"")].concat());
        Sha256::digest([lp(b"countersign v1 ticket"), lp(b""), lp(&prologue)].concat())
    };
    let second = |time: u64| time.to_be_bytes();
    let held = support::wire::ticket_secret(to);
    let (principal, suite) = (lp(b"alice"), to.suite().number().to_be_bytes());
    let (one, made, end) = (second(1), second(now.as_secs()), second(now.as_secs() + 100));
    let (epoch, key_id) = (second(EPOCH), to.key_id());
    let contents = [
        &principal[..],
        &epoch,
        &suite,
        key_id.as_bytes(),
        &scope,
        &[9; 16],
        &one,
        &[1],
        &made,
        &ring(root)[..8],
        &made,
        &end,
        &held,
    ];
    let nonce = [5; 16];
    let key = support::wire::expand(&secret[..32], "ticket", &nonce, 32);
    let mut plain = contents.concat();
    plain.resize(480 - 8 - 16 - 16, 0);
    [name, &nonce, &support::wire::seal(0x0101, &key, &[0; 12], b"", &plain)].concat()
}

#[test]
fn k10_a_stolen_ticket_key_is_worth_nothing_once_it_is_retired() {
    let mut world = default();
    let ticket = world.ticket();
    let stolen = world.keys.export(NOW, &mut TestRng::new("export")).unwrap();
    world.login(later(LIFETIME));
    let both = world.keys.export(later(LIFETIME), &mut TestRng::new("export")).unwrap();
    assert_eq!(stolen[2..], both[58..], "the first key is the second now");
    let show = |world: &mut World, bytes: Vec<u8>, now: UnixTime| {
        let mut of_thief = ticket.clone().to_bytes().unwrap().to_vec();
        let front = of_thief.len() - 480;
        of_thief.splice(front.., bytes);
        let (hello, state) = world.resume(&Ticket::from_bytes(&of_thief).unwrap());
        (world.takes(&hello, &RSA2048.server, now), hello, state)
    };
    // To say that the chain began under a later key than the one it is sealed under does not help. (Before any other of this chain is
    // taken: after that it would be refused for K6.)
    let now = later(LIFETIME + 1);
    let (is_taken, ..) = show(&mut world, minted(&both, 1, 0, &ticket, now), now);
    assert!(!is_taken);
    // While it opens, it opens everything: that is what a ticket key is.
    let (is_taken, hello, state) = show(&mut world, minted(&both, 1, 1, &ticket, now), now);
    assert!(is_taken);
    // The genuine successor that it gets is sealed under the next key, and ends with the stolen one all the same.
    let (frame, _) = world.answer(&hello, now);
    let successor = resumed(state.read(&frame, at(0), now)).info.ticket().unwrap().clone();
    assert!(successor.expires() <= later(2 * LIFETIME));
    let (hello, _) = world.resume(&successor);
    assert!(world.takes(&hello, &RSA2048.server, later(2 * LIFETIME - 1)));
    assert!(!world.takes(&hello, &RSA2048.server, later(2 * LIFETIME)));
}

#[test]
fn k11_a_hello_that_means_another_context_has_no_ticket_and_no_secret_opened() {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    for byte in 0..8 {
        let other = edit::<ClientHello>(&hello, |hello| hello.context[byte] ^= 1);
        assert!(!world.takes(&other, &RSA2048.server, NOW));
        let differs = world.read(&other).differs();
        assert_eq!(differs, Some(if byte < 4 { Differs::Prologue } else { Differs::Binding }));
    }
    assert_eq!(world.read(&hello).differs(), None);
    // Nor does it help to hold the ticket's secret, and to make the binder for what is shown.
    let takes = |change: &dyn Fn(&mut ClientHello)| {
        let other = support::wire::bind(&ticket, &edit::<ClientHello>(&hello, change));
        world.takes(&other, &RSA2048.server, NOW)
    };
    let other_key = *OTHER2048.private.public_key().id().as_bytes();
    assert!(takes(&|hello| hello.nonce[0] ^= 1), "the forger is no fool");
    assert!(takes(&|hello| hello.known_keys = vec![other_key]));
    for byte in 0..8 {
        assert!(!takes(&|hello| hello.context[byte] ^= 1), "byte {byte}");
    }
    let sealed_to_another = |hello: &mut ClientHello| {
        (hello.known_keys, hello.rsa_ciphertext) = (vec![other_key], vec![1; 256]);
    };
    assert!(!takes(&sealed_to_another));
}

#[test]
fn k2_by_default_a_chain_ends_after_a_week_at_either_end() {
    const DAY: u64 = 24 * 3600;
    let month = || TicketKeys::new(provider(), Duration::from_secs(30 * DAY));
    let mut world = World::new(month(), &SUITES);
    assert_eq!(world.ticket().expires(), later(7 * DAY));
    // A client goes by its own week, from the credential on, where a server gives it more.
    let mut world = World::new(month().with_max_age(Duration::from_secs(30 * DAY)), &SUITES);
    let ticket = world.ticket();
    let trusted = trust().resume(ticket, "alice", later(4 * DAY)).unwrap();
    let (hello, state) =
        client::resume(&world.client, &trust(), &world.binding, trusted, &mut world.rng, at(0)).unwrap();
    let (frame, _) = world.answer(&hello, later(4 * DAY));
    let next = resumed(state.read(&frame, at(0), later(4 * DAY))).info.ticket().unwrap().clone();
    assert_eq!(next.expires(), later(30 * DAY));
    assert!(trust().resume(next.clone(), "alice", later(7 * DAY - 1)).is_some());
    assert!(trust().resume(next, "alice", later(7 * DAY)).is_none());
}

/// Under one key with one nonce, two tickets would give their contents away.
#[test]
fn each_ticket_is_sealed_under_a_nonce_of_its_own() {
    let mut world = default();
    let parts: Vec<(Vec<u8>, Vec<u8>)> = (0..3)
        .map(|_| {
            let ticket = world.ticket();
            let (hello, _) = world.resume(&ticket);
            let shown = ClientHello::decode(&hello[3..]).unwrap().ticket;
            (shown[..8].to_vec(), shown[8..24].to_vec())
        })
        .collect();
    assert!(parts.iter().all(|(key, _)| *key == parts[0].0), "one ticket key");
    assert!(parts[0].1 != parts[1].1 && parts[1].1 != parts[2].1 && parts[2].1 != parts[0].1);
}

#[test]
fn tickets_have_one_size_whatever_is_in_them() {
    let mut world = default();
    for principal in ["a".to_owned(), "x".repeat(255)] {
        let grant = Grant::new(principal, [""; 0]).unwrap().with_epoch(EPOCH);
        let ticket = world.login_as(grant, NOW).0.info.ticket().unwrap().clone();
        let (hello, _) = world.resume(&ticket);
        assert_eq!(ClientHello::decode(&hello[3..]).unwrap().ticket.len(), limits::TICKET);
    }
}

#[test]
fn a_client_shows_a_ticket_for_the_user_and_the_name_it_was_for_and_while_its_own_clock_lets_it() {
    let mut world = default();
    let ticket = world.ticket();
    let shows = |server: &Server, user: &str, now| server.resume(ticket.clone(), user, now).is_some();
    assert!(shows(&trust(), "alice", NOW) && shows(&trust(), "alice", later(LIFETIME - 1)));
    assert!(!shows(&trust(), "bob", NOW) && !shows(&trust(), "", NOW));
    assert!(!shows(&trust().with_name("db.example").unwrap(), "alice", NOW));
    assert!(!shows(&trust(), "alice", later(LIFETIME)), "expired");
    let before = |seconds: u64| UnixTime::from_secs(NOW.as_secs() - seconds);
    assert!(shows(&trust(), "alice", before(60)) && !shows(&trust(), "alice", before(61)), "a clock that went back");
    // A chain of a week, however fresh its last ticket: a thief of ticket keys can't hold a client captive for longer.
    let week = 7 * 24 * 3600;
    let mut captive = ticket.to_bytes().unwrap().to_vec();
    let times = 1 + 2 + 32 + 2 + 2 + "alice".len();
    captive[times + 8..times + 16].copy_from_slice(&later(week).as_secs().to_be_bytes());
    let captive = Ticket::from_bytes(&captive).unwrap();
    assert_eq!(captive.expires(), later(week + LIFETIME));
    assert!(trust().resume(captive.clone(), "alice", later(week - 61)).is_none(), "received in the future");
    assert!(trust().resume(captive, "alice", later(week)).is_none(), "a week");
    // A chain that begins in the future would last longer than that, whenever its last ticket was received.
    for (ahead, is_shown) in [(60, true), (61, false)] {
        let mut began = ticket.to_bytes().unwrap().to_vec();
        began[times..times + 8].copy_from_slice(&later(ahead).as_secs().to_be_bytes());
        let began = Ticket::from_bytes(&began).unwrap();
        assert_eq!(trust().resume(began, "alice", NOW).is_some(), is_shown, "{ahead} s ahead");
    }
}

#[test]
fn with_the_server_s_key_in_the_resumption_a_stolen_ticket_does_not_play_the_server() {
    let mut world = default();
    let known = || Server::key(RSA2048.private.public_key().clone());
    let ticket = world.ticket();
    let config = ClientConfig::new(provider()).with_suites(&SUITES).unwrap().with_proof_at_resumption();
    world.client = Arc::new(config);
    let show = |world: &mut World, ticket: &Ticket| {
        let trusted = known().resume(ticket.clone(), "alice", NOW).unwrap();
        let (config, binding) = (world.client.clone(), world.binding.clone());
        client::resume(&config, &known(), &binding, trusted, &mut world.rng, at(0)).unwrap()
    };
    // The server does the RSA operation first; without it there is no resumption.
    let (hello, state) = show(&mut world, &ticket);
    let read = world.read(&hello);
    assert!(read.is_sealed());
    let fresh = read.ticket(NOW).unwrap().use_up_now().unwrap();
    let opened = read.open(&mut world.rng).unwrap().run(&mut world.rng);
    let (frame, server) = opened.resume(fresh, alice(), NOW, &mut world.rng).unwrap();
    let (client, confirm) = confirmed(state.read(&frame, at(0), NOW));
    assert!(client.info.is_proved());
    assert!(server.read(confirm, at(0)).is_ok());
    let next = client.info.ticket().unwrap().clone();
    let (hello, state) = show(&mut world, &next);
    let read = world.read(&hello);
    let fresh = read.ticket(NOW).unwrap().use_up_now().unwrap();
    assert_eq!(read.resume(fresh, alice(), NOW, &mut world.rng).unwrap_err(), Misuse::Mismatch.into());
    drop(state);
    // Also where the client would name another key first: the server opens nothing that is sealed to that.
    let both = Server::key(OTHER2048.private.public_key().clone()).or(known());
    let trusted = both.resume(world.ticket(), "alice", NOW).unwrap();
    let (config, binding) = (world.client.clone(), world.binding.clone());
    let (hello, _) = client::resume(&config, &both, &binding, trusted, &mut world.rng, at(0)).unwrap();
    let first = ClientHello::decode(&hello[3..]).unwrap().known_keys[0];
    assert_eq!(first, *RSA2048.private.public_key().id().as_bytes());
    assert!(world.read(&hello).is_sealed());
    // Whoever has the ticket keys, and not the server key, guesses.
    let ticket = world.ticket();
    let (hello, state) = show(&mut world, &ticket);
    let thief = ServerKey::public_only(RSA2048.private.public_key().clone());
    let read = world.read_under(&hello, &thief);
    let fresh = read.ticket(NOW).unwrap().use_up_now().unwrap();
    let opened = read.open(&mut world.rng).unwrap().run(&mut world.rng);
    let (frame, _) = opened.resume(fresh, alice(), NOW, &mut world.rng).unwrap();
    assert_eq!(state.read(&frame, at(0), NOW).unwrap_err(), Error::VerdictNotAuthentic);
}

#[test]
fn beside_a_ticket_no_secret_is_sealed_to_another_key_than_the_one_that_it_is_from() {
    let mut world = default();
    let ticket = world.ticket();
    let config = ClientConfig::new(provider()).with_suites(&SUITES).unwrap().with_proof_at_resumption();
    // The one that it is from is known by its fingerprint alone, and another key whole.
    let server = trust().or(Server::key(OTHER2048.private.public_key().clone()));
    let trusted = server.resume(ticket, "alice", NOW).unwrap();
    let (hello, _) = client::resume(&config.into(), &server, &world.binding, trusted, &mut world.rng, at(0)).unwrap();
    let said = ClientHello::decode(&hello[3..]).unwrap();
    assert_eq!(said.known_keys, [*OTHER2048.private.public_key().id().as_bytes()]);
    assert!(said.rsa_ciphertext.is_empty() && !said.ticket.is_empty());
    assert!(world.takes(&hello, &RSA2048.server, NOW), "it would be left closed, and the ticket not taken (K11)");
}

#[test]
fn k7_by_default_a_verifier_lets_no_ticket_in() {
    struct Later;
    impl AsyncVerifier for Later {
        async fn verify(&self, _: &Attempt<'_>) -> Result<Grant, Reason> {
            Ok(alice())
        }
    }
    let verifier = |_: &Attempt<'_>| -> Result<Grant, Reason> { Ok(alice()) };
    let context = Context::uncounted();
    let returning = Returning::new("alice", CredentialKind::Password, NOW, &context);
    assert_eq!(verifier.resume(&returning), Err(Reason::ResumeUnsupported));
    let resumed = pin!(Later.resume(&returning)).poll(&mut task::Context::from_waker(Waker::noop()));
    assert_eq!(resumed, Poll::Ready(Err(Reason::ResumeUnsupported)));
}

#[cfg(feature = "accounts")]
#[test]
fn k7_every_change_of_an_account_changes_its_epoch() {
    use countersign::{Accounts, Credential};
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    assert_eq!(
        accounts.current("alice", CredentialKind::Password),
        Err(Reason::AccountDisabled),
        "nothing to log in with"
    );
    let mut epochs = vec![accounts.get("alice").unwrap().epoch()];
    accounts.edit("alice", |account| account.set_password(b"one")).unwrap();
    epochs.push(accounts.current("alice", CredentialKind::Password).unwrap().epoch().unwrap());
    accounts.edit("alice", |account| account.set_password(b"one")).unwrap();
    epochs.push(accounts.current("alice", CredentialKind::Password).unwrap().epoch().unwrap());
    let by_token = |accounts: &Accounts| accounts.current("alice", CredentialKind::Token).map(drop);
    assert_eq!(by_token(&accounts), Err(Reason::AccountDisabled), "no ticket of a login with a token that is gone");
    accounts.edit("alice", |account| account.issue_token()).unwrap();
    assert_eq!(by_token(&accounts), Ok(()));
    epochs.push(accounts.current("alice", CredentialKind::Password).unwrap().epoch().unwrap());
    accounts.remove("alice").unwrap();
    assert_eq!(accounts.current("alice", CredentialKind::Password), Err(Reason::UnknownUser));
    accounts.add("alice", ["read", "write"]).unwrap();
    accounts.edit("alice", |account| account.set_password(b"one")).unwrap();
    epochs.push(accounts.current("alice", CredentialKind::Password).unwrap().epoch().unwrap());
    let verified = accounts.check(Credential::Password { user: "alice", password: b"one" }).unwrap();
    assert_eq!(verified.epoch(), epochs.last().copied());
    let distinct: std::collections::BTreeSet<_> = epochs.iter().collect();
    assert_eq!(distinct.len(), epochs.len());
}

/// The client's state after its hello, and a genuine answer.
fn answered() -> (World, AwaitAnswer, Vec<u8>) {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, state) = world.resume(&ticket);
    let (answer, _) = world.answer(&hello, NOW);
    (world, state, answer)
}

fn refused(alter: impl FnOnce(&[u8]) -> Vec<u8>) -> Error {
    let (_, state, answer) = answered();
    state.read(&alter(&answer), at(0), NOW).unwrap_err()
}

#[test]
fn a1_a_frame_of_another_type_or_an_impossible_length_is_refused() {
    for kind in FrameType::ALL.into_iter().filter(|kind| !AwaitAnswer::EXPECTS.contains(kind)) {
        let error = refused(|_| frame(kind.byte(), &vec![0; kind.min_body()]));
        assert_eq!(error, FrameError::UnexpectedType(kind).into());
    }
    let error = refused(|_| frame(8, &[0; 2102]));
    assert!(matches!(error, Error::Frame(FrameError::Length { .. })));
    // Whoever showed no ticket takes no resumption.
    let mut world = default();
    let (_, state) = client::start(&world.client, &trust(), &world.binding, &mut world.rng, at(0)).unwrap();
    let (_, _, answer) = answered();
    assert_eq!(state.read(&answer, at(0)).unwrap_err(), FrameError::UnexpectedType(FrameType::ServerResumption).into());
}

#[test]
fn a2_a_body_that_is_no_resumption_is_refused() {
    let error = refused(|answer| frame(8, &[&answer[3..], &[0]].concat()));
    assert!(matches!(error, Error::Decode(_)));
    let error = refused(|_| frame(8, &[0xff; 2200]));
    assert!(matches!(error, Error::Decode(_)));
}

#[test]
fn a2_extensions_twice_or_too_long_are_refused() {
    let with = |extensions| refused(|answer| edit::<ServerResumption>(answer, |answer| answer.extensions = extensions));
    assert_eq!(with(vec![(9, vec![]), (9, vec![1])]), Violation::Duplicate("the extensions").into());
    // None means anything here; what was not sent does not open.
    for number in 1..=5 {
        assert_eq!(with(vec![(number, vec![0xff; 3])]), Error::VerdictNotAuthentic, "{number}");
    }
    assert_eq!(with(vec![(9, vec![0; 16_381])]), Violation::Extensions(16_385).into());
    // Others are looked at by nobody, and covered by the verdict.
    assert_eq!(with(vec![(9, vec![0; 16_380])]), Error::VerdictNotAuthentic);
}

/// A client that shows a ticket seals no secret unless it was told to: nobody has anything to prove to it.
#[test]
fn c12_a_proof_in_answer_to_a_ticket_without_a_secret_is_refused() {
    let mut world = World::new(keys(), &[Suite::RSA_AES_256_GCM]);
    let ticket = world.ticket();
    let known = Server::key(RSA2048.private.public_key().clone()).with_floor(KeyExchange::Rsa);
    for server in [trust(), known.clone()] {
        let trusted = server.resume(ticket.clone(), "alice", NOW).unwrap();
        let (config, binding) = (world.client.clone(), world.binding.clone());
        let (hello, state) = client::resume(&config, &server, &binding, trusted, &mut world.rng, at(0)).unwrap();
        assert!(ClientHello::decode(&hello[3..]).unwrap().rsa_ciphertext.is_empty());
        let (challenge, _) = world.read(&hello).challenge(&mut world.rng).unwrap();
        let forged = support::wire::prove(&[0; 32], &hello, &challenge);
        assert_eq!(state.read(&forged, at(0), NOW).unwrap_err(), Error::ProofNotAuthentic);
    }
    // Nor does its credential leave where the ticket is not taken: it connects once more, without the ticket.
    let trusted = known.resume(ticket, "alice", NOW).unwrap();
    let (config, binding) = (world.client.clone(), world.binding.clone());
    let (hello, state) = client::resume(&config, &known, &binding, trusted, &mut world.rng, at(0)).unwrap();
    let (challenge, _) = world.read(&hello).challenge(&mut world.rng).unwrap();
    let Answer::Challenge(challenge) = state.read(&challenge, at(0), NOW).unwrap() else { panic!("a challenge") };
    assert_eq!(challenge.trust(&known, NOW).unwrap_err(), Error::NoProof(RSA2048.private.public_key().id()));
}

#[test]
fn a3_another_version_or_suite_is_refused() {
    let version = refused(|answer| edit::<ServerResumption>(answer, |answer| answer.version = 2));
    assert_eq!(version, Violation::VersionNotOffered(2).into());
    let unknown = refused(|answer| edit::<ServerResumption>(answer, |answer| answer.suite = 0x0101));
    assert_eq!(unknown, Violation::SuiteNotOffered(0x0101).into());
    let other = refused(|answer| edit::<ServerResumption>(answer, |answer| answer.suite = 0x0202));
    assert_eq!(other, Violation::ResumedOther.into());
}

#[test]
fn a4_a_key_share_that_is_none_is_refused() {
    for share in [vec![], vec![1; 31], vec![1; 33], vec![0; 32]] {
        let error = refused(|answer| edit::<ServerResumption>(answer, |answer| answer.key_share = share));
        assert_eq!(error, Violation::BadKeyShare.into());
    }
}

#[test]
fn a5_every_other_bit_of_the_answer_is_covered_by_the_verdict() {
    let mut world = World::new(keys().with_unlimited_reuse(), &SUITES);
    let ticket = world.ticket();
    let mut again = |seed: u8| {
        world.rng = TestRng::new([seed]);
        let (hello, state) = world.resume(&ticket);
        (state, world.answer(&hello, NOW).0)
    };
    // One with the extension that nobody may understand, and one without.
    let extensions = 3 + 4 + 32 + 2 + 32;
    for longer in [false, true] {
        let length = extensions + 1 + if longer { 4 } else { 0 } + 2064;
        let seed = (0..=255).find(|&seed| again(seed).1.len() == length).unwrap();
        let number = extensions + 1..extensions + if longer { 3 } else { 1 };
        // Of the sealed verdict the first bytes are enough the second time.
        for bit in 0..if longer { length - 2000 } else { length } * 8 {
            let (state, mut altered) = again(seed);
            altered[bit / 8] ^= 1 << (bit % 8);
            let error = state.read(&altered, at(0), NOW).unwrap_err();
            let nonce = 3 + 4..3 + 4 + 32;
            if nonce.contains(&(bit / 8)) || number.contains(&(bit / 8)) || bit / 8 >= length - 2064 {
                assert_eq!(error, Error::VerdictNotAuthentic, "bit {bit}");
            }
        }
    }
    // An answer to another hello.
    let (mut world, state, _) = answered();
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    let (other, _) = world.answer(&hello, NOW);
    assert_eq!(state.read(&other, at(0), NOW).unwrap_err(), Error::VerdictNotAuthentic);
}

#[test]
fn a6_a_verdict_out_of_bounds_is_refused() {
    let mut world = World::new(keys(), &[Suite::RSA_AES_256_GCM]);
    let ticket = world.ticket();
    let mut read = |plaintext: &[u8]| {
        let (hello, state) = world.resume(&ticket);
        state.read(&support::wire::resumption(&ticket, &hello, plaintext), at(0), NOW)
    };
    let verdict = |ticket: &[u8], ticket_lifetime| {
        let (principal, ticket) = (b"alice".to_vec(), ticket.to_vec());
        let verdict =
            Verdict { decision: 1, principal, permissions: vec![], ticket, ticket_lifetime, extensions: vec![] };
        padded(verdict.encode(), 2048)
    };
    assert_eq!(
        resumed(read(&verdict(b"", 0))).info.login_grant().principal(),
        "alice",
        "a forgery that keeps to the rules"
    );
    assert!(read(&verdict(&[1; limits::MAX_TICKET], 1)).is_ok());
    // A server that does not want a ticket sends a challenge: a reject has no place here.
    assert_eq!(read(&[0; 2048]).unwrap_err(), Violation::UnknownDecision(0).into());
    assert_eq!(read(&[3; 2048]).unwrap_err(), Error::Decode(DecodeError::Truncated));
    assert_eq!(read(&verdict(b"", 1)).unwrap_err(), Violation::BadTicket.into());
    assert_eq!(read(&verdict(&[1; 501], 1)).unwrap_err(), Violation::BadTicket.into());
    let mut padding = verdict(b"", 0);
    padding[2047] = 1;
    assert_eq!(read(&padding).unwrap_err(), Error::Decode(DecodeError::Padding));
}

/// The server's state after its answer, and the client's Confirm.
fn confirming() -> (AwaitConfirm, Vec<u8>) {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, state) = world.resume(&ticket);
    let (answer, server) = world.answer(&hello, NOW);
    (server, confirmed(state.read(&answer, at(0), NOW)).1)
}

#[test]
fn f1_a_frame_that_is_no_confirm_is_refused() {
    let (_, genuine) = confirming();
    for (bytes, error) in support::not_that_frame(FrameType::Confirm, &genuine) {
        assert_eq!(confirming().0.read(bytes, at(0)).unwrap_err(), error.into());
    }
}

#[test]
fn f2_a_confirm_that_does_not_open_is_refused() {
    let (_, genuine) = confirming();
    for bit in 3 * 8..genuine.len() * 8 {
        let mut altered = genuine.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(confirming().0.read(altered, at(0)).unwrap_err(), Error::NotConfirmed);
    }
    // Of another resumption with the same ticket keys.
    let mut world = default();
    let (one, two) = (world.ticket(), world.ticket());
    let [(server, _), (_, other)] = [one, two].map(|ticket| {
        let (hello, state) = world.resume(&ticket);
        let (answer, server) = world.answer(&hello, NOW);
        (server, confirmed(state.read(&answer, at(0), NOW)).1)
    });
    assert_eq!(server.read(other, at(0)).unwrap_err(), Error::NotConfirmed);
}

#[test]
fn f3_a_confirm_after_the_deadline_is_refused() {
    let (server, confirm) = confirming();
    let deadline = server.deadline();
    assert!(server.read(confirm, deadline).is_ok());
    let (server, confirm) = confirming();
    let error = server.read(confirm, deadline.after(Duration::from_nanos(1))).unwrap_err();
    assert_eq!(error, Error::DeadlinePassed);
}

#[test]
fn a8_a_server_that_is_busy_says_so_and_no_more() {
    let (_, state, _) = answered();
    let busy = server::busy(Duration::from_secs(7));
    assert_eq!(state.read(&busy, at(0), NOW).unwrap_err(), Error::Busy { retry_after: 7 });
    let error = refused(|_| frame(9, &[0, 7, 1]));
    assert_eq!(error, Error::Decode(DecodeError::Truncated));
}

#[test]
fn b1_a_client_with_a_ticket_solves_one_puzzle_and_its_ticket_is_good_after_that() {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, state) = world.resume(&ticket);
    let difficulty = PuzzleDifficulty::new(3).unwrap();
    let (busy, waits) = world.read(&hello).puzzle(difficulty, Duration::from_secs(7), &mut world.rng).unwrap();
    let solution = state.puzzle(&busy).unwrap().solve(|| true).unwrap();
    let (solved, state) = state.solved(&solution).unwrap();
    assert_eq!(state.puzzle(&busy), None);
    let hello = waits.read(&solved, at(0)).unwrap();
    let ticket = hello.ticket(NOW).unwrap().use_up_now().unwrap();
    let (answer, _) = hello.resume(ticket, alice(), NOW, &mut world.rng).unwrap();
    assert_eq!(resumed(state.read(&answer, at(0), NOW)).info.login_grant().principal(), "alice");
    // Without having solved it, and after the first, it is a Busy.
    let ticket = world.ticket();
    let (_, state) = world.resume(&ticket);
    assert_eq!(state.read(&busy, at(0), NOW).unwrap_err(), Error::Busy { retry_after: 7 });
}

#[test]
fn a7_an_answer_after_the_deadline_is_refused() {
    let (_, state, answer) = answered();
    let deadline = state.deadline();
    assert!(state.read(&answer, deadline, NOW).is_ok());
    let (_, state, answer) = answered();
    let error = state.read(&answer, deadline.after(Duration::from_nanos(1)), NOW).unwrap_err();
    assert_eq!(error, Error::DeadlinePassed);
}

/// In an export stand its format and how many keys there are, then a key's name of 8 bytes, the key's 32, and two times.
#[test]
fn each_bit_of_a_ticket_key_and_of_its_name_is_random() {
    let rng = &mut TestRng::new("keys");
    let mut draw = |export: &mut dyn FnMut(&mut TestRng) -> Vec<u8>| {
        let drawn: Vec<Vec<u8>> = (0..64).map(|_| export(rng)).collect();
        assert!(drawn.iter().all(|exported| exported.len() == 2 + 8 + 32 + 16 && exported[1] == 1));
        drawn::each_bit_varies(&drawn.iter().map(|exported| exported[2..42].to_vec()).collect::<Vec<_>>(), 8);
    };
    draw(&mut |rng| keys().export(NOW, rng).unwrap().to_vec());
    draw(&mut |rng| keys().rotate_shared(&[], NOW, Duration::ZERO, rng).unwrap().unwrap().to_vec());
}

#[test]
fn servers_that_share_ticket_keys_take_each_other_s_tickets() {
    let (mut one, two) = (default(), default());
    let ticket = one.ticket();
    let (hello, _) = one.resume(&ticket);
    assert!(!two.takes(&hello, &RSA2048.server, NOW));
    two.keys.follow(&one.keys.export(NOW, &mut TestRng::new("export")).unwrap()).unwrap();
    assert!(two.takes(&hello, &RSA2048.server, NOW));
    for end in 0..10 {
        assert!(two.keys.follow(&vec![1; end]).is_err());
    }
    assert!(two.takes(&hello, &RSA2048.server, NOW), "what it had, it keeps");
    // A follower makes no keys: past the lifetime of the newest it gives out no tickets.
    let mut follower = two;
    assert!(follower.login(NOW).0.info.ticket().is_some());
    assert!(follower.login(later(LIFETIME)).0.info.ticket().is_none());
}

#[test]
fn a_follower_whose_clock_was_ahead_goes_on_once_that_of_all_servers_says_so_and_takes_nothing_twice() {
    let lead = Duration::from_secs(300);
    let leader = default();
    let kept = leader.keys.rotate_shared(&[], NOW, lead, &mut TestRng::new("keys")).unwrap().unwrap();
    let memory: Arc<dyn TicketMemory> = Arc::new(UsedTickets::new(100));
    for (keys, shares_memory) in [(keys(), false), (keys().with_shared_memory(memory), true)] {
        let mut server = World::new(keys, &SUITES);
        let sync = |server: &World, now| {
            assert!(server.keys.rotate_shared(&kept, now, lead, &mut TestRng::new("none")).unwrap().is_none());
            server.keys.follow(&kept).unwrap();
        };
        sync(&server, NOW);
        drop(server.login(NOW));
        let ticket = server.login(later(1)).0.info.ticket().unwrap().clone();
        let unused = server.login(later(1)).0.info.ticket().unwrap().clone();
        let (used, _) = server.resume(&ticket);
        let (unused, _) = server.resume(&unused);
        assert!(is_fresh(&server, &used, later(2)));
        let has_ticket = |server: &mut World, now| server.login(now).0.info.ticket().is_some();
        assert!(!has_ticket(&mut server, later(9 * LIFETIME)));
        // It is ahead still: what is good by the other clock alone is not.
        sync(&server, later(3));
        assert!(!has_ticket(&mut server, later(9 * LIFETIME)));
        assert!(!has_ticket(&mut server, later(4)), "by this one alone, neither");
        sync(&server, later(5));
        assert!(has_ticket(&mut server, later(5)));
        assert!(!is_fresh(&server, &used, later(5)));
        assert_eq!(is_fresh(&server, &unused, later(5)), shares_memory);
        let ticket = server.login(later(120)).0.info.ticket().unwrap().clone();
        let (hello, _) = server.resume(&ticket);
        assert!(is_fresh(&server, &hello, later(121)));
    }
}

/// The clock is ahead by a little, then by so much that its memory lets the chain go, and then right.
#[test]
fn k6_a_follower_that_goes_back_takes_no_ticket_twice_of_a_chain_that_began_within_the_skew() {
    let (lead, mut rng) = (Duration::from_secs(300), TestRng::new("keys"));
    let mut server = default();
    let mut rotate = |kept: &[u8], now| keys().rotate_shared(kept, now, lead, &mut rng).unwrap().unwrap();
    let first = rotate(&[], NOW);
    let both = rotate(&first, later(LIFETIME - 300));
    let sync = |server: &World, now| {
        assert!(server.keys.rotate_shared(&both, now, lead, &mut TestRng::new("none")).unwrap().is_none());
        server.keys.follow(&both).unwrap();
    };
    sync(&server, later(LIFETIME - 100));
    drop(server.login(later(LIFETIME - 100)));
    let a_little_ahead = later(LIFETIME - 40);
    let ticket = server.login(a_little_ahead).0.info.ticket().unwrap().clone();
    let (used, _) = server.resume(&ticket);
    assert!(is_fresh(&server, &used, a_little_ahead));
    // Under the second key, so that it can be used when the first is gone, and with it the chain.
    let ticket = server.login(later(2 * LIFETIME - 1)).0.info.ticket().unwrap().clone();
    let (other, _) = server.resume(&ticket);
    assert!(is_fresh(&server, &other, later(2 * LIFETIME + 60)));
    assert_eq!(server.keys.used().unwrap().chains, 1);
    let right = later(LIFETIME - 90);
    drop(server.login(right));
    sync(&server, right);
    assert!(server.takes(&used, &RSA2048.server, right), "but for what is remembered");
    assert!(!is_fresh(&server, &used, right));
}

/// Servers that look seldom have the next key later than others, and open nothing that is sealed under it before.
#[test]
fn no_ticket_is_sealed_under_a_key_whose_time_has_not_come_where_there_is_another() {
    let (leader, lead, mut rng) = (keys(), Duration::from_secs(300), TestRng::new("keys"));
    let mut rotate = |kept: &[u8], now| leader.rotate_shared(kept, now, lead, &mut rng).unwrap();
    let first = rotate(&[], NOW).unwrap();
    let both = rotate(&first, later(LIFETIME - 300)).unwrap();
    let [mut early, late] = [default(), default()];
    early.keys.follow(&both).unwrap();
    late.keys.follow(&first).unwrap();
    // It would open what is sealed under the next one: that begins within the skew of clocks.
    let now = later(LIFETIME - 10);
    let ticket = early.login(now).0.info.ticket().unwrap().clone();
    let (hello, _) = early.resume(&ticket);
    assert!(late.takes(&hello, &RSA2048.server, now));
}

#[test]
fn a_follower_gives_out_no_ticket_under_a_key_that_it_would_not_take_yet() {
    let skew = limits::CLOCK_SKEW.as_secs();
    for (ahead, gives) in [(skew, true), (skew + 1, false)] {
        let mut follower = default();
        let leader = keys().export(later(ahead), &mut TestRng::new("export")).unwrap();
        follower.keys.follow(&leader).unwrap();
        assert_eq!(follower.login(NOW).0.info.ticket().is_some(), gives, "a key of {ahead} s ahead");
        assert!(follower.login(later(1)).0.info.ticket().is_some());
    }
}
