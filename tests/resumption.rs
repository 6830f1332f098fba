//! Tickets: a login that needs no credential, and every way in which it falls back or is refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects, missing_docs)]

mod support;

use countersign::client::{self, Answer, AwaitAnswer};
use countersign::codec::DecodeError;
use countersign::frame::{FrameError, FrameType};
use countersign::server::{self, Accepted, ChooseKey};
use countersign::{
    Attempt, ChannelBinding, ClientConfig, Context, Error, Grant, KeyExchange, Misuse, Reason, Received, Returning,
    Server, ServerConfig, ServerKey, Session, Suite, Ticket, TicketKeys, UnixTime, Verifier, Violation,
};
use std::sync::Arc;
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
        let (hello, client) = client::start(&self.client, &trust(), &self.binding, &mut self.rng, at(0)).unwrap();
        let server = server::AwaitHello::new(&self.server, &self.binding, at(0)).read(hello, at(0)).unwrap();
        let (challenge, server) = server.challenge(&RSA2048.server, &mut self.rng).unwrap();
        let trusted = client.read(&challenge, at(0)).unwrap().trust(&trust()).unwrap();
        let (login, client) = trusted.login(support::ALICE, &mut self.rng).unwrap();
        let claim = server.read(login, at(0)).unwrap().admit().run(&mut self.rng);
        let accepted = claim.accept_with_ticket(alice(), now, &mut self.rng).unwrap();
        (client.read(&accepted.frame, at(0)).unwrap(), accepted.session)
    }

    fn ticket(&mut self) -> Ticket {
        self.login(NOW).0.info.ticket().unwrap().clone()
    }

    fn resume(&mut self, ticket: &Ticket) -> (Vec<u8>, AwaitAnswer) {
        let ticket = trust().resume(ticket).unwrap();
        client::resume(&self.client, &trust(), &self.binding, ticket, &mut self.rng, at(0)).unwrap()
    }

    fn read(&self, hello: &[u8]) -> ChooseKey {
        server::AwaitHello::new(&self.server, &self.binding, at(0)).read(hello.to_vec(), at(0)).unwrap()
    }

    /// Whether the server takes what this hello shows.
    fn takes(&self, hello: &[u8], key: &ServerKey, now: UnixTime) -> bool {
        self.read(hello).ticket(key, now).is_some()
    }

    /// The server's answer to a good ticket.
    fn answer(&mut self, hello: &[u8], now: UnixTime) -> Accepted {
        let choice = self.read(hello);
        let claim = choice.ticket(&RSA2048.server, now).unwrap();
        choice.resume(claim, alice(), now, &mut self.rng).unwrap()
    }
}

fn default() -> World {
    World::new(keys(), &SUITES)
}

fn alice() -> Grant {
    Grant::new("alice", ["read"]).unwrap().with_epoch(EPOCH)
}

fn trust() -> Server {
    RSA2048.trust().with_floor(KeyExchange::Rsa)
}

fn resumed(answer: Result<Answer, Error>) -> Session {
    match answer.unwrap() {
        Answer::Resumed(session) => session,
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
            let Accepted { frame, session: mut server } = world.answer(&hello, now);
            let mut client = resumed(state.read(&frame, at(0)));
            assert!(client.info.is_resumed() && server.info.is_resumed());
            assert_eq!(
                (client.info.grant().principal(), client.info.suite(), client.info.id()),
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
    let choice = world.read(&hello);
    let claim = choice.ticket(&RSA2048.server, later(10)).unwrap();
    assert_eq!((claim.principal(), claim.epoch(), claim.authenticated()), ("alice", EPOCH, NOW));
    let grant = Grant::new("alice", ["read", "admin"]).unwrap().with_epoch(EPOCH);
    let accepted = choice.resume(claim, grant, later(10), &mut TestRng::new("x")).unwrap();
    let session = resumed(state.read(&accepted.frame, at(0)));
    assert!(session.info.grant().permits("admin"));
    let next = session.info.ticket().unwrap().clone();
    let (hello, _) = world.resume(&next);
    assert_eq!(world.read(&hello).ticket(&RSA2048.server, later(20)).unwrap().authenticated(), NOW);
}

#[test]
fn a_login_gets_no_ticket_without_ticket_keys_or_without_an_epoch() {
    let mut world = default();
    let (hello, client) = client::start(&world.client, &trust(), &world.binding, &mut world.rng, at(0)).unwrap();
    let (challenge, server) = world.read(&hello).challenge(&RSA2048.server, &mut TestRng::new("y")).unwrap();
    let trusted = client.read(&challenge, at(0)).unwrap().trust(&trust()).unwrap();
    let (login, client) = trusted.login(support::ALICE, &mut world.rng).unwrap();
    let claim = server.read(login, at(0)).unwrap().admit().run(&mut world.rng);
    let no_epoch = Grant::new("alice", ["read"]).unwrap();
    let accepted = claim.accept_with_ticket(no_epoch, NOW, &mut world.rng).unwrap();
    assert!(client.read(&accepted.frame, at(0)).unwrap().info.ticket().is_none());
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
    let accepted = world.answer(&hello, NOW);
    resumed(state.read(&accepted.frame, at(0)));
    for end in 0..bytes.len() {
        assert_eq!(Ticket::from_bytes(&bytes[..end]).unwrap_err(), Misuse::BadInput("the saved ticket"));
    }
    let trailing = [&bytes[..], &[0]].concat();
    assert!(Ticket::from_bytes(&trailing).is_err());
    for byte in [0, 1, 2] {
        let mut other = bytes.to_vec();
        other[byte] ^= 0x80;
        assert!(Ticket::from_bytes(&other).is_err(), "version and suite");
    }
}

#[test]
fn a_ticket_of_a_server_that_is_not_trusted_is_not_shown_and_neither_is_one_under_the_floor() {
    let mut world = World::new(keys(), &[Suite::RSA_AES_256_GCM]);
    let ticket = world.ticket();
    assert!(OTHER2048.trust().with_floor(KeyExchange::Rsa).resume(&ticket).is_none());
    assert!(RSA2048.trust().resume(&ticket).is_none(), "the floor is X25519");
    assert!(trust().resume(&ticket).is_some());
    // A client that no longer offers the suite keeps the ticket to itself.
    world.client = Arc::new(ClientConfig::new(provider()));
    let (hello, _) = world.resume(&ticket);
    let mut shown = Vec::new();
    edit::<ClientHello>(&hello, |hello| shown.clone_from(&hello.ticket));
    assert!(shown.is_empty());
}

#[test]
fn a_ticket_that_is_not_taken_leads_to_the_full_login() {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, state) = world.resume(&ticket);
    let (challenge, server) = world.read(&hello).challenge(&RSA2048.server, &mut TestRng::new("z")).unwrap();
    let Answer::Challenge(challenge) = state.read(&challenge, at(0)).unwrap() else { panic!("a challenge") };
    let (login, client) = challenge.trust(&trust()).unwrap().login(support::ALICE, &mut world.rng).unwrap();
    let claim = server.read(login, at(0)).unwrap().admit().run(&mut world.rng);
    let accepted = claim.accept(alice()).unwrap();
    assert_eq!(client.read(&accepted.frame, at(0)).unwrap().info.grant().principal(), "alice");
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

#[test]
fn k2_a_chain_of_tickets_ends_when_the_credential_is_too_old() {
    let day = 24 * 3600;
    let hours = |keys: TicketKeys| {
        let mut world = World::new(keys, &SUITES);
        let mut ticket = world.ticket();
        (1..=10 * 24)
            .find(|hour| {
                let (hello, state) = world.resume(&ticket);
                let now = later(hour * LIFETIME - hour);
                let taken = world.takes(&hello, &RSA2048.server, now);
                if taken {
                    let frame = world.answer(&hello, now).frame;
                    ticket = resumed(state.read(&frame, at(0))).info.ticket().unwrap().clone();
                }
                !taken
            })
            .unwrap()
    };
    assert_eq!(hours(keys()), 7 * 24 + 1);
    assert_eq!(hours(keys().with_max_age(Duration::from_secs(day))), 24 + 1);
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
    world.login(later(2 * LIFETIME));
    assert!(!world.takes(&hello, &RSA2048.server, later(2 * LIFETIME)), "its key is gone");
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
fn k5_a_ticket_from_under_another_server_key_is_not_taken() {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    assert!(!world.takes(&hello, &OTHER2048.server, NOW));
}

#[test]
fn k6_a_ticket_for_single_use_is_taken_once_and_when_the_memory_is_full_not_at_all() {
    let mut world = World::new(keys().with_single_use(2), &SUITES);
    let tickets = [world.ticket(), world.ticket(), world.ticket()];
    let hellos = tickets.map(|ticket| world.resume(&ticket).0);
    assert!(world.takes(&hellos[0], &RSA2048.server, NOW));
    assert!(!world.takes(&hellos[0], &RSA2048.server, NOW), "a replay");
    assert!(world.takes(&hellos[1], &RSA2048.server, NOW));
    assert!(!world.takes(&hellos[2], &RSA2048.server, NOW), "no room to remember it");
    // A thief without the secret can't use somebody's ticket up.
    let mut world = World::new(keys().with_single_use(2), &SUITES);
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    let guessed = edit::<ClientHello>(&hello, |hello| hello.binder[0] ^= 1);
    assert!(!world.takes(&guessed, &RSA2048.server, NOW));
    assert!(world.takes(&hello, &RSA2048.server, NOW));
    // What has expired needs no remembering.
    let fresh = world.login(later(LIFETIME + 1)).0.info.ticket().unwrap().clone();
    let more = world.login(later(LIFETIME + 1)).0.info.ticket().unwrap().clone();
    for ticket in [fresh, more] {
        let (hello, _) = world.resume(&ticket);
        assert!(world.takes(&hello, &RSA2048.server, later(LIFETIME + 2)));
    }
}

#[test]
fn k7_a_ticket_of_another_epoch_or_principal_is_not_taken() {
    let mut world = default();
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    let changed = [
        alice().with_epoch(EPOCH + 1),
        Grant::new("alice", ["read"]).unwrap(),
        Grant::new("bob", ["read"]).unwrap().with_epoch(EPOCH),
    ];
    for grant in changed {
        let choice = world.read(&hello);
        let claim = choice.ticket(&RSA2048.server, NOW).unwrap();
        assert!(!claim.is_current(&grant));
        let taken = choice.resume(claim, grant, NOW, &mut TestRng::new("w"));
        assert_eq!(taken.unwrap_err(), Misuse::Mismatch.into());
    }
}

#[test]
fn k7_by_default_a_verifier_lets_no_ticket_in() {
    let verifier = |_: &Attempt<'_>| -> Result<Grant, Reason> { Ok(alice()) };
    let context = Context::uncounted();
    assert_eq!(verifier.resume(&Returning::new("alice", NOW, &context)), Err(Reason::AccountDisabled));
}

#[cfg(feature = "accounts")]
#[test]
fn k7_every_change_of_an_account_changes_its_epoch() {
    use countersign::{Accounts, Credential};
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    assert_eq!(accounts.current("alice"), Err(Reason::AccountDisabled), "nothing to log in with");
    let mut epochs = vec![accounts.get("alice").unwrap().epoch()];
    accounts.set_password("alice", b"one").unwrap();
    epochs.push(accounts.current("alice").unwrap().epoch().unwrap());
    accounts.set_password("alice", b"one").unwrap();
    epochs.push(accounts.current("alice").unwrap().epoch().unwrap());
    accounts.issue_token("alice").unwrap();
    epochs.push(accounts.current("alice").unwrap().epoch().unwrap());
    accounts.remove("alice").unwrap();
    assert_eq!(accounts.current("alice"), Err(Reason::UnknownUser));
    accounts.add("alice", ["read", "write"]).unwrap();
    accounts.set_password("alice", b"one").unwrap();
    epochs.push(accounts.current("alice").unwrap().epoch().unwrap());
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
    let answer = world.answer(&hello, NOW).frame;
    (world, state, answer)
}

fn refused(alter: impl FnOnce(&[u8]) -> Vec<u8>) -> Error {
    let (_, state, answer) = answered();
    state.read(&alter(&answer), at(0)).unwrap_err()
}

#[test]
fn a1_a_frame_of_another_type_or_an_impossible_length_is_refused() {
    for kind in FrameType::ALL.into_iter().filter(|kind| !AwaitAnswer::EXPECTS.contains(kind)) {
        let error = refused(|_| frame(kind.byte(), &vec![0; kind.min_body()]));
        assert_eq!(error, FrameError::UnexpectedType(kind).into());
    }
    let error = refused(|_| frame(8, &[0; 1551]));
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
    let error = refused(|_| frame(8, &[0xff; 1600]));
    assert!(matches!(error, Error::Decode(_)));
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
    let mut world = default();
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    let answer = world.answer(&hello, NOW).frame;
    for bit in 0..answer.len() * 8 {
        let (hello, state) = world.resume(&ticket);
        let mut altered = world.answer(&hello, NOW).frame;
        altered[bit / 8] ^= 1 << (bit % 8);
        let error = state.read(&altered, at(0)).unwrap_err();
        if ((3 + 4) * 8..(3 + 4 + 32) * 8).contains(&bit) || bit >= (answer.len() - 1552) * 8 {
            assert_eq!(error, Error::VerdictNotAuthentic, "bit {bit}");
        }
    }
    // An answer to another hello.
    let (mut world, state, _) = answered();
    let ticket = world.ticket();
    let (hello, _) = world.resume(&ticket);
    let other = world.answer(&hello, NOW).frame;
    assert_eq!(state.read(&other, at(0)).unwrap_err(), Error::VerdictNotAuthentic);
}

#[test]
fn a6_a_verdict_out_of_bounds_is_refused() {
    let mut world = World::new(keys(), &[Suite::RSA_AES_256_GCM]);
    let ticket = world.ticket();
    let mut read = |plaintext: &[u8]| {
        let (hello, state) = world.resume(&ticket);
        state.read(&support::wire::resumption(&ticket, &hello, plaintext), at(0))
    };
    let verdict = |ticket: &[u8], ticket_expires| {
        let (principal, ticket) = (b"alice".to_vec(), ticket.to_vec());
        let verdict = Verdict { decision: 1, principal, permissions: vec![], ticket, ticket_expires };
        padded(verdict.encode(), 1536)
    };
    assert_eq!(resumed(read(&verdict(b"", 0))).info.grant().principal(), "alice", "a forgery that keeps to the rules");
    // A server that does not want a ticket sends a challenge: a reject has no place here.
    assert_eq!(read(&[0; 1536]).unwrap_err(), Violation::UnknownDecision(0).into());
    assert_eq!(read(&[2; 1536]).unwrap_err(), Error::Decode(DecodeError::Truncated));
    assert_eq!(read(&verdict(b"", 1)).unwrap_err(), Violation::BadTicket.into());
    assert_eq!(read(&verdict(&[1; 501], 1)).unwrap_err(), Violation::BadTicket.into());
    let mut padding = verdict(b"", 0);
    padding[1535] = 1;
    assert_eq!(read(&padding).unwrap_err(), Error::Decode(DecodeError::Padding));
}

#[test]
fn a7_an_answer_after_the_deadline_is_refused() {
    let (_, state, answer) = answered();
    let deadline = state.deadline();
    assert!(state.read(&answer, deadline).is_ok());
    let (_, state, answer) = answered();
    let error = state.read(&answer, deadline.after(Duration::from_nanos(1))).unwrap_err();
    assert_eq!(error, Error::DeadlinePassed);
}

#[test]
fn servers_that_share_ticket_keys_take_each_other_s_tickets() {
    let (mut one, two) = (default(), default());
    let ticket = one.ticket();
    let (hello, _) = one.resume(&ticket);
    assert!(!two.takes(&hello, &RSA2048.server, NOW));
    two.keys.follow(&one.keys.export(NOW, &mut TestRng::new("export")).unwrap()).unwrap();
    assert!(two.takes(&hello, &RSA2048.server, NOW));
    // A follower makes no keys: past the lifetime of the newest it gives out no tickets.
    let mut follower = two;
    assert!(follower.login(NOW).0.info.ticket().is_some());
    assert!(follower.login(later(LIFETIME)).0.info.ticket().is_none());
    for end in 0..10 {
        assert!(follower.keys.follow(&vec![1; end]).is_err());
    }
    assert!(follower.takes(&hello, &RSA2048.server, NOW), "what it had, it keeps");
}
