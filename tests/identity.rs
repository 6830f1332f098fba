//! A client that has the identity key of a server: what it trusts because of manifests, what it keeps, and what it refuses.

#![cfg(all(any(feature = "rustcrypto", feature = "aws-lc"), feature = "files"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::client;
use countersign::crypto::{SigningKey, VerifyingKey};
use countersign::server::AwaitHello;
use countersign::{
    Acceptor, Answer, ChannelBinding, ClientConfig, Connector, Context, Error, Identity, KeyExchange, KeyId, KeySet,
    LoginError, ManifestBody, ManifestFiles, ManifestKey, ManifestStore, MemoryManifests, Misuse, Question, Server,
    ServerConfig, ServerKeys, SignedManifest, Stream, Ticket, TicketKeys, Trust, TrustLevel, UnixTime, Wants, limits,
};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};
use support::wire::{ClientHello, Message, ServerHello, edit};
use support::{
    ALICE, OTHER2048, RSA2048, RSA3072, SUITES, Scenario, TestKey, TestRng, VERDICT_AT, at, grant, provider, verifier,
};

const DAY: u64 = 24 * 3600;

static IDENTITY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_ed25519(&[7; 32]).unwrap());

/// Which keys are known is a question of the clock's.
static NOW: LazyLock<UnixTime> = LazyLock::new(|| UnixTime::from_system(SystemTime::now()));

fn later(seconds: u64) -> UnixTime {
    UnixTime::from_secs(NOW.as_secs() + seconds)
}

fn earlier(seconds: u64) -> UnixTime {
    UnixTime::from_secs(NOW.as_secs() - seconds)
}

fn body(sequence: u64, keys: &[&TestKey]) -> ManifestBody {
    let key = |key: &&TestKey| ManifestKey {
        id: key.private.public_key().id(),
        not_before: earlier(DAY),
        not_after: later(90 * DAY),
        floor: KeyExchange::X25519.into(),
    };
    let keys = keys.iter().map(key).collect();
    ManifestBody { sequence, issued: *NOW, expires: later(90 * DAY), names: Vec::new(), keys }
}

fn manifest(sequence: u64, keys: &[&TestKey]) -> SignedManifest {
    body(sequence, keys).sign(&IDENTITY, provider()).unwrap()
}

/// A server with this current key that sends this manifest.
fn sending(key: &TestKey, manifest: SignedManifest) -> ServerKeys {
    KeySet::new(key.server.clone()).with_manifest(manifest).unwrap().into()
}

fn identity() -> Identity {
    Identity::pinned(IDENTITY.public_key().id(), provider())
}

/// What comes of one connection at this time: the level of trust, and whether the server proved itself.
fn meet(server: &Server, keys: &ServerKeys, now: UnixTime) -> Result<(TrustLevel, bool), Error> {
    meet_over(server, keys, now, |challenge| challenge)
}

/// The same where somebody in the middle changes the ServerHello.
fn meet_over(
    server: &Server,
    keys: &ServerKeys,
    now: UnixTime,
    change: impl FnOnce(Vec<u8>) -> Vec<u8>,
) -> Result<(TrustLevel, bool), Error> {
    let config = Arc::new(ClientConfig::new(provider()).with_suites(&SUITES).unwrap());
    let (none, mut rng) = (ChannelBinding::none(), TestRng::new(format!("a client at {now}")));
    let (hello, client) = client::start(&config, server, &none, &mut rng, at(0))?;
    let config = Arc::new(ServerConfig::new(provider()).with_suites(&SUITES).unwrap());
    let hello = keys.answer(AwaitHello::new(&config, &none, at(0)).read(hello, at(0))?, now)?;
    let hello = match hello.open(&mut rng) {
        Ok(open) => open.run(&mut rng),
        Err(hello) => *hello,
    };
    let (challenge, _) = hello.challenge(&mut rng)?;
    let challenge = client.read(&change(challenge), at(0))?;
    let is_proved = challenge.is_proved();
    Ok((challenge.trust(server, now)?.level(), is_proved))
}

/// The code of the reason for which a server is not trusted.
#[track_caller]
fn untrusted(server: &Server, keys: &ServerKeys, now: UnixTime) -> &'static str {
    match meet(server, keys, now) {
        Err(error @ Error::Untrusted(_)) => error.code(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_of_a_good_manifest_is_verified_and_proved_from_the_second_login_on() {
    let (server, keys) = (Server::trusting(identity()), sending(&RSA2048, manifest(1, &[&RSA2048, &OTHER2048])));
    assert_eq!(meet(&server, &keys, *NOW), Ok((TrustLevel::Verified, false)));
    assert_eq!(meet(&server, &keys, *NOW), Ok((TrustLevel::Verified, true)));
    let known: Vec<KeyId> = server.known_keys().iter().map(|key| key.id()).collect();
    assert_eq!(known, [RSA2048.private.public_key().id()]);
    // Another client of the same identity knows nothing of that, and one of another identity trusts nothing of it.
    assert_eq!(meet(&Server::trusting(identity()), &keys, *NOW), Ok((TrustLevel::Verified, false)));
    let other = Identity::pinned(SigningKey::from_ed25519(&[8; 32]).unwrap().public_key().id(), provider());
    assert_eq!(untrusted(&Server::trusting(other), &keys, *NOW), "manifest-other-identity");
}

#[test]
fn a_manifest_is_sent_to_who_asks_and_to_nobody_else() {
    let (none, config) = (ChannelBinding::none(), Arc::new(ServerConfig::new(provider())));
    let signed = manifest(1, &[&RSA2048]);
    for (server, keys, sent) in [
        (Server::trusting(identity()), sending(&RSA2048, signed.clone()), Some(signed.as_bytes())),
        (Server::trusting(identity()), RSA2048.server.clone().into(), None),
        (RSA2048.trust(), sending(&RSA2048, signed.clone()), None),
        (RSA2048.trust().or(Server::trusting(identity())), sending(&RSA2048, signed.clone()), Some(signed.as_bytes())),
    ] {
        let client = Arc::new(ClientConfig::new(provider()));
        let (hello, _) = client::start(&client, &server, &none, &mut TestRng::new("asking"), at(0)).unwrap();
        let asks = ClientHello::decode(&hello[3..]).unwrap().extensions.contains(&(2, Vec::new()));
        assert_eq!(asks, server.wants().manifest);
        // Data that should be empty is not looked at.
        for data in [&[][..], &[0], &[7; 300]] {
            let filled = |hello: &mut ClientHello| hello.extensions.iter_mut().for_each(|(_, it)| *it = data.to_vec());
            let choice = AwaitHello::new(&config, &none, at(0)).read(edit(&hello, filled), at(0)).unwrap();
            let (frame, _) = keys.answer(choice, *NOW).unwrap().challenge(&mut TestRng::new("answer")).unwrap();
            let extensions = ServerHello::decode(&frame[3..]).unwrap().extensions;
            let found = extensions.iter().find(|(number, _)| *number == 2).map(|(_, data)| data.as_slice());
            assert_eq!(found, sent);
        }
    }
}

#[test]
fn the_longest_manifest_there_is_goes_over_the_wire() {
    let mut longest = body(1, &[&RSA2048]);
    let known = longest.keys[0];
    let unknown = |number: u8| ManifestKey { id: KeyId::from_bytes([number; 32]), ..known };
    longest.keys.extend((0..7).map(unknown));
    longest.names = (0..limits::MAX_MANIFEST_NAMES).map(|name| format!("{name:0>255}")).collect();
    let signed = longest.sign(&IDENTITY, provider()).unwrap();
    assert_eq!(signed.as_bytes().len(), limits::MANIFEST);
    let keys = sending(&RSA2048, signed).with_any_name();
    let server = Server::trusting(identity()).with_name(&longest.names[3]).unwrap();
    assert_eq!(meet(&server, &keys, *NOW), Ok((TrustLevel::Verified, false)));
}

#[test]
fn a_server_can_only_be_given_a_manifest_of_its_current_key() {
    let set = || KeySet::new(RSA2048.server.clone()).with_next(OTHER2048.server.clone()).unwrap();
    assert!(set().with_manifest(manifest(1, &[&RSA2048])).is_ok());
    assert!(matches!(set().with_manifest(manifest(1, &[&OTHER2048])), Err(Misuse::Mismatch)));
}

#[test]
fn m3_an_older_manifest_and_a_second_one_of_its_number_are_refused() {
    let keys = |sequence| sending(&RSA2048, manifest(sequence, &[&RSA2048]));
    let server = Server::trusting(identity());
    for sequence in [5, 5, 6, 9] {
        assert!(meet(&server, &keys(sequence), *NOW).is_ok(), "{sequence}");
    }
    for sequence in [8, 6, 1] {
        assert_eq!(untrusted(&server, &keys(sequence), *NOW), "manifest-rollback", "{sequence}");
    }
    let fork = ManifestBody { expires: later(91 * DAY), ..body(9, &[&RSA2048]) };
    let fork = sending(&RSA2048, fork.sign(&IDENTITY, provider()).unwrap());
    assert_eq!(untrusted(&server, &fork, *NOW), "manifest-fork");
    assert!(meet(&server, &keys(9), *NOW).is_ok());
}

/// An alarm is not outvoted by a fingerprint that was pinned long ago, whichever was given first.
#[test]
fn m8_an_older_manifest_is_refused_whatever_else_speaks_for_the_key() {
    let keys = |sequence| sending(&RSA2048, manifest(sequence, &[&RSA2048]));
    let identity = Server::trusting(identity());
    assert!(meet(&identity, &keys(9), *NOW).is_ok());
    let fork = ManifestBody { expires: later(91 * DAY), ..body(9, &[&RSA2048]) };
    let fork = sending(&RSA2048, fork.sign(&IDENTITY, provider()).unwrap());
    let whole = || Server::key(RSA2048.private.public_key().clone());
    for both in [
        identity.clone().or(RSA2048.trust()),
        RSA2048.trust().or(identity.clone()),
        identity.clone().or(whole()),
        whole().or(identity.clone()),
    ] {
        assert_eq!(untrusted(&both, &keys(8), *NOW), "manifest-rollback");
        assert_eq!(untrusted(&both, &fork, *NOW), "manifest-fork");
        assert!(meet(&both, &keys(9), *NOW).is_ok());
        // One that is refused otherwise only says nothing.
        let over = ManifestBody { issued: earlier(2 * DAY), expires: earlier(DAY), ..body(10, &[&RSA2048]) };
        let over = sending(&RSA2048, over.sign(&IDENTITY, provider()).unwrap());
        assert!(meet(&both, &over, *NOW).is_ok());
    }
}

#[test]
fn m4_an_expired_manifest_and_one_from_the_future_are_refused_by_the_client_s_clock() {
    let keys = sending(&RSA2048, manifest(1, &[&RSA2048]));
    for (now, code) in [(later(90 * DAY), "manifest-expired"), (earlier(61), "manifest-not-yet")] {
        assert_eq!(untrusted(&Server::trusting(identity()), &keys, now), code);
    }
    // They were not taken, so that nothing is known because of them.
    let server = Server::trusting(identity());
    assert_eq!(untrusted(&server, &sending(&RSA2048, manifest(9, &[&RSA2048])), later(91 * DAY)), "manifest-expired");
    assert!(meet(&server, &keys, *NOW).is_ok());
}

#[test]
fn m5_a_manifest_for_other_names_is_refused() {
    let named = ManifestBody { names: vec!["db.example".to_owned()], ..body(1, &[&RSA2048]) };
    let keys = sending(&RSA2048, named.sign(&IDENTITY, provider()).unwrap()).with_any_name();
    let server = |name: &str| Server::trusting(identity()).with_name(name).unwrap();
    assert!(meet(&server("db.example"), &keys, *NOW).is_ok());
    for name in ["", "mail.example"] {
        assert_eq!(untrusted(&server(name), &keys, *NOW), "manifest-other-name");
    }
}

#[test]
fn m6_a_key_that_the_manifest_does_not_name_now_is_not_trusted() {
    let server = Server::trusting(identity());
    let good = manifest(1, &[&RSA2048]);
    assert!(meet(&server, &sending(&RSA2048, good.clone()), *NOW).is_ok());
    // A thief passes the real manifest on, with a key of their own.
    let config = |signed: SignedManifest| {
        KeySet::new(RSA2048.server.clone()).with_next(OTHER2048.server.clone()).unwrap().with_manifest(signed).unwrap()
    };
    let thief = Server::trusting(identity()).or(Server::key(RSA3072.private.public_key().clone()));
    assert!(meet(&thief, &RSA3072.server.clone().into(), *NOW).is_ok(), "it is pinned as well");
    let passed_on = ServerKeys::from(config(good));
    // The next key is there, and the manifest does not name it.
    let knows_next = Server::trusting(identity()).or(Server::key(OTHER2048.private.public_key().clone()));
    assert!(meet(&knows_next, &passed_on, *NOW).is_ok(), "pinned");
    for (change, now, code) in [
        ((|key| key.not_before = later(10)) as fn(&mut ManifestKey), *NOW, "manifest-key-not-yet"),
        (|key| key.not_after = later(10), later(10), "manifest-key-over"),
        (|key| key.floor = KeyExchange::X25519MlKem768.into(), *NOW, "manifest-under-floor"),
    ] {
        let mut body = body(2, &[&RSA2048]);
        change(&mut body.keys[0]);
        let keys = sending(&RSA2048, body.sign(&IDENTITY, provider()).unwrap());
        assert_eq!(untrusted(&Server::trusting(identity()), &keys, now), code);
    }
}

#[test]
fn where_the_server_sends_none_the_manifest_that_is_kept_counts_until_it_expires() {
    let server = Server::trusting(identity());
    let none: ServerKeys = RSA2048.server.clone().into();
    assert_eq!(untrusted(&server, &none, *NOW), "manifest-missing");
    assert!(meet(&server, &sending(&RSA2048, manifest(1, &[&RSA2048, &OTHER2048])), *NOW).is_ok());
    assert_eq!(meet(&server, &none, *NOW), Ok((TrustLevel::Verified, true)));
    // A key that it names and that was not seen yet is as good; one that it does not name is not.
    let knowing = |key: &TestKey| -> ServerKeys { key.server.clone().into() };
    assert_eq!(meet(&server.clone().without_proof(), &knowing(&OTHER2048), *NOW), Ok((TrustLevel::Verified, false)));
    assert_eq!(untrusted(&server, &knowing(&RSA3072), *NOW), "manifest-unknown-key");
    assert_eq!(untrusted(&server, &none, later(90 * DAY)), "manifest-expired");
}

/// Whoever holds a key that the kept manifest names must not get by with any manifest that is none.
#[test]
fn m7_the_manifest_that_is_kept_does_not_take_the_place_of_one_that_was_sent_and_is_refused() {
    // By a key that the client does not have whole, so that no proof shows the change.
    let identity = identity();
    let server = Server::trusting(identity.clone()).with_name("db.example").unwrap().without_proof();
    let keys = [&*RSA2048, &*OTHER2048];
    let good = |key: &TestKey| sending(key, manifest(1, &keys)).with_any_name();
    let next = || body(2, &keys);
    let signed = |body: ManifestBody, by: &SigningKey| body.sign(by, provider()).unwrap().as_bytes().to_vec();
    let mut other_signature = signed(next(), &IDENTITY);
    *other_signature.last_mut().unwrap() ^= 1;
    let over = ManifestBody { issued: earlier(2 * DAY), expires: earlier(DAY), ..next() };
    let early = ManifestBody { issued: later(DAY), ..next() };
    let of_another_server = ManifestBody { names: vec!["mail.example".to_owned()], ..next() };
    assert!(meet(&server, &good(&RSA2048), *NOW).is_ok());
    for (sent, code) in [
        (Vec::new(), "manifest-malformed"),
        (b"no manifest".to_vec(), "manifest-malformed"),
        ([signed(next(), &IDENTITY), vec![0]].concat(), "manifest-malformed"),
        (signed(next(), &SigningKey::from_ed25519(&[8; 32]).unwrap()), "manifest-other-identity"),
        (other_signature, "manifest-signature"),
        (signed(over, &IDENTITY), "manifest-expired"),
        (signed(early, &IDENTITY), "manifest-not-yet"),
        (signed(of_another_server, &IDENTITY), "manifest-other-name"),
    ] {
        let replaced = |challenge: Vec<u8>| {
            edit(&challenge, |hello: &mut ServerHello| {
                let (_, data) = hello.extensions.iter_mut().find(|(number, _)| *number == 2).unwrap();
                *data = sent;
            })
        };
        let error = meet_over(&server, &good(&OTHER2048), *NOW, replaced).expect_err(code);
        assert!(matches!(error, Error::Untrusted(_)), "{error:?}");
        assert_eq!(error.code(), code);
        assert_eq!(identity.manifest().unwrap().unwrap().body().sequence, 1, "it was not taken");
    }
    // Where none is sent it does.
    let none = ServerKeys::from(OTHER2048.server.clone()).with_any_name();
    assert_eq!(meet(&server, &none, *NOW), Ok((TrustLevel::Verified, false)));
}

/// The rule that a manifest breaks, by why its key is not trusted.
fn rule(code: &str) -> &'static str {
    match code {
        "manifest-malformed" | "manifest-field" => "M1",
        "manifest-other-identity" | "manifest-signature" => "M2",
        "manifest-rollback" | "manifest-fork" => "M3",
        "manifest-expired" | "manifest-not-yet" => "M4",
        "manifest-other-name" => "M5",
        "manifest-unknown-key" | "manifest-key-not-yet" | "manifest-key-over" | "manifest-under-floor" => "M6",
        code => panic!("{code}"),
    }
}

/// What they say is asked of a client here, as a whole; `tests/vectors` makes them, and asks the checks one by one.
#[test]
fn a_client_makes_of_each_vector_of_a_manifest_what_that_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/manifests");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut seen = 0;
    for path in files {
        let vector: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let text = |field: &str| vector[field].as_str();
        let bytes = |field: &str| text(field).map(|text| hex::decode(text).unwrap());
        let (name, now) = (text("name").unwrap(), UnixTime::from_secs(vector["now"].as_u64().unwrap()));
        let key = KeyId::from_bytes(bytes("key_id").unwrap().try_into().unwrap());
        let pin = VerifyingKey::from_ed25519(&bytes("identity").unwrap().try_into().unwrap()).unwrap().id();
        let suite = text("suite") == Some("0201");
        assert!(suite && key == RSA2048.private.public_key().id() && pin == IDENTITY.public_key().id(), "{name}");
        let store = MemoryManifests::new();
        let taken = bytes("taken");
        if let Some(taken) = &taken {
            let taken = SignedManifest::from_bytes(taken).unwrap().to_pem();
            store.update(pin, &mut |_| Some(taken.clone())).unwrap();
        }
        let identity = Identity::pinned(pin, provider()).with_store(store);
        let server = Server::trusting(identity.clone()).with_name(text("server_name").unwrap()).unwrap();
        let is_pinned = vector["pinned"] == true;
        let server = if is_pinned { server.or(Server::pinned(key)) } else { server };
        // What is sent in the place of one that is good for as long as this server wants.
        let theirs =
            ManifestBody { issued: now, expires: UnixTime::from_secs(now.as_secs() + DAY), ..body(1, &[&RSA2048]) };
        let theirs = sending(&RSA2048, theirs.sign(&IDENTITY, provider()).unwrap()).with_any_name();
        let sent = bytes("manifest").unwrap();
        let replaced = |challenge: Vec<u8>| {
            edit(&challenge, |hello: &mut ServerHello| {
                let (_, data) = hello.extensions.iter_mut().find(|(number, _)| *number == 2).unwrap();
                data.clone_from(&sent);
            })
        };
        let met = meet_over(&server, &theirs, now, replaced);
        let broken = text("broken").or(text("rule"));
        assert_eq!(met.as_ref().err().map(|error| rule(error.code())), broken, "{name}: {met:?}");
        assert!(text("broken").is_none() || !["M6", "M7", "M8"].map(Some).contains(&broken), "{name}");
        // By M7 the one that was taken names the key: without the one that is sent it speaks for it.
        if text("rule") == Some("M7") {
            let none = ServerKeys::from(RSA2048.server.clone()).with_any_name();
            assert_eq!(meet(&server, &none, now), Ok((TrustLevel::Verified, false)), "{name}");
        }
        assert_eq!(is_pinned, text("rule") == Some("M8"), "{name}");
        let kept = identity.manifest().unwrap().map(|manifest| manifest.signed().as_bytes().to_vec());
        let is_taken = matches!(broken, None | Some("M6"));
        assert_eq!(kept, if is_taken { Some(sent.clone()) } else { taken }, "{name}");
        seen += 1;
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn a_key_that_a_newer_manifest_does_not_name_is_forgotten() {
    let server = Server::trusting(identity());
    assert!(meet(&server, &sending(&RSA2048, manifest(1, &[&RSA2048])), *NOW).is_ok());
    let newer = manifest(2, &[&OTHER2048]);
    // It answers under the new key, and the client had the old one: that is to be proved on another connection.
    assert!(matches!(meet(&server, &sending(&OTHER2048, newer), *NOW), Err(Error::NoProof(_))));
    let known: Vec<KeyId> = server.known_keys().iter().map(|key| key.id()).collect();
    assert_eq!(known, [OTHER2048.private.public_key().id()]);
    // Whoever has stolen the old key has the old manifest as well.
    assert_eq!(untrusted(&server, &sending(&RSA2048, manifest(1, &[&RSA2048])), *NOW), "manifest-rollback");
    assert_eq!(untrusted(&server, &RSA2048.server.clone().into(), *NOW), "manifest-unknown-key");
}

/// Keys that its server no longer has, or has lost.
#[test]
fn a_key_is_known_no_longer_than_its_manifest_and_its_time_in_it() {
    let of = |expires: UnixTime, not_after: UnixTime| {
        let mut old = ManifestBody { issued: earlier(100 * DAY), expires, ..body(1, &[&RSA2048]) };
        (old.keys[0].not_before, old.keys[0].not_after) = (earlier(100 * DAY), not_after);
        let keys = sending(&RSA2048, old.sign(&IDENTITY, provider()).unwrap());
        let server = Server::trusting(identity());
        assert!(meet(&server, &keys, earlier(50 * DAY)).is_ok());
        server.known_keys().len()
    };
    assert_eq!(of(later(DAY), later(DAY)), 1);
    assert_eq!(of(earlier(DAY), later(DAY)), 0);
    assert_eq!(of(later(DAY), earlier(DAY)), 0);
}

/// A ticket of alice's from a login to the first key, at a server of this name.
fn ticket(name: &str) -> Ticket {
    let keys = TicketKeys::new(provider(), Duration::from_secs(DAY));
    let scenario = Scenario::new().server_name(name).tickets(keys);
    let sent = scenario.await_verdict();
    let claim = scenario.open(sent.server, &sent.login).unwrap();
    let accepted = claim.accept_with_ticket(grant().with_epoch(1), *NOW, &mut TestRng::new("ticket")).unwrap();
    sent.client.read(&accepted.frame, at(VERDICT_AT), *NOW).unwrap().info.ticket().unwrap().clone()
}

/// Whoever has stolen the server's key would get the ticket.
#[test]
fn a_ticket_is_shown_while_the_kept_manifest_is_good_and_names_its_key_for_its_suite() {
    let (server, ticket) = (Server::trusting(identity()), ticket(""));
    let shows = |now| server.resume(ticket.clone(), "alice", now).is_some();
    let follow = |key: &TestKey, body: ManifestBody| {
        let keys = sending(key, body.sign(&IDENTITY, provider()).unwrap());
        meet(&server, &keys, *NOW).map_err(|error| error.code())
    };
    assert!(!shows(*NOW), "none is kept");
    assert!(follow(&RSA2048, ManifestBody { expires: later(100), ..body(1, &[&RSA2048]) }).is_ok());
    assert!(shows(later(99)) && !shows(later(100)), "the manifest's end");
    let mut over = body(2, &[&RSA2048]);
    over.keys[0].not_after = later(50);
    assert!(follow(&RSA2048, over).is_ok());
    assert!(shows(later(49)) && !shows(later(50)), "the key's end");
    let mut strict = body(3, &[&RSA2048]);
    strict.keys[0].floor = KeyExchange::X25519MlKem768.into();
    assert_eq!(follow(&RSA2048, strict), Err("manifest-under-floor"));
    assert!(!shows(*NOW), "the suite is under the key's floor");
    assert!(follow(&RSA2048, body(4, &[&RSA2048, &OTHER2048])).is_ok());
    assert!(shows(*NOW));
    // The new key is to be proved on another connection; the manifest counts from now on.
    assert_eq!(follow(&OTHER2048, body(5, &[&OTHER2048])), Err("no-proof"));
    assert!(!shows(*NOW), "its key has been replaced");
}

/// One identity for several servers. What is newer came from another of them: the first has its keys, and is not to be taken for it any more.
#[test]
fn a_key_is_known_and_its_ticket_shown_at_the_names_of_the_kept_manifest_alone() {
    let identity = identity();
    let server = |name: &str| Server::trusting(identity.clone()).with_name(name).unwrap();
    let follow = |name: &str, sequence: u64, names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let of = ManifestBody { names, ..body(sequence, &[&RSA2048]) }.sign(&IDENTITY, provider()).unwrap();
        assert!(meet(&server(name), &sending(&RSA2048, of).with_any_name(), *NOW).is_ok());
    };
    let tickets = ["db.example", "mail.example", ""].map(ticket);
    // For each server, whether its ticket is shown, and its key listed as known.
    let said = || {
        let of = |ticket: &Ticket| {
            let server = server(ticket.server_name());
            (server.resume(ticket.clone(), "alice", *NOW).is_some(), server.known_keys().len())
        };
        [of(&tickets[0]), of(&tickets[1]), of(&tickets[2])]
    };
    let (yes, no) = ((true, 1), (false, 0));
    follow("db.example", 1, &["db.example", "mail.example"]);
    assert_eq!(said(), [yes, yes, no]);
    follow("mail.example", 2, &["mail.example"]);
    assert_eq!(said(), [no, yes, no]);
    follow("mail.example", 3, &[]);
    assert_eq!(said(), [yes, yes, yes]);
    // Nor is it shown by the machine, where another Server has let it be shown.
    follow("mail.example", 4, &["mail.example"]);
    let let_be = Server::pinned(RSA2048.private.public_key().id()).with_name("db.example").unwrap();
    let shown = let_be.resume(tickets[0].clone(), "alice", *NOW).unwrap();
    let (config, none) = (Arc::new(ClientConfig::new(provider())), ChannelBinding::none());
    let (hello, _) =
        client::resume(&config, &server("db.example"), &none, shown, &mut TestRng::new("shown"), at(0)).unwrap();
    let hello = ClientHello::decode(&hello[3..]).unwrap();
    assert!(hello.ticket.is_empty() && hello.known_keys.is_empty());
}

/// A server over TCP, and logins to it.
struct House {
    acceptor: Acceptor,
    listener: TcpListener,
}

impl House {
    fn new(keys: ServerKeys) -> Self {
        let acceptor = Acceptor::new(ServerConfig::new(provider()), keys, verifier);
        Self { acceptor, listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    /// A login over as many connections as it takes; gives how many that were.
    fn login(&self, server: &Server) -> (Result<Stream<TcpStream>, LoginError>, usize) {
        let connector = Connector::new(ClientConfig::new(provider()), server.clone());
        let mut dialled = 0;
        let dial = || {
            dialled += 1;
            self.dial()
        };
        let session = connector.dial_blocking(dial, ALICE);
        (session, dialled)
    }

    /// A connection that is served.
    fn dial(&self) -> std::io::Result<TcpStream> {
        let (acceptor, listener) = (self.acceptor.clone(), self.listener.try_clone().unwrap());
        let client = TcpStream::connect(self.listener.local_addr()?)?;
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let _ = acceptor.accept_blocking(stream, Context::uncounted());
        });
        Ok(client)
    }
}

#[test]
fn a_client_with_the_identity_follows_every_rotation() {
    let server = Server::trusting(identity());
    let house = House::new(sending(&RSA2048, manifest(1, &[&RSA2048, &OTHER2048])));
    let (session, dialled) = house.login(&server);
    assert!(!session.unwrap().info().is_proved() && dialled == 1);
    assert!(house.login(&server).0.unwrap().info().is_proved());
    // The planned one: a second connection, once, for the proof of a key that was not seen before.
    house.acceptor.set_keys(sending(&OTHER2048, manifest(2, &[&OTHER2048, &RSA3072])));
    let (session, dialled) = house.login(&server);
    assert!(session.unwrap().info().is_proved() && dialled == 2);
    let (session, dialled) = house.login(&server);
    assert!(session.unwrap().info().is_proved() && dialled == 1);
    // Neither of the old keys is in the next manifest: they were stolen.
    house.acceptor.set_keys(sending(&RSA3072, manifest(3, &[&RSA3072])));
    assert!(house.login(&server).0.unwrap().info().is_proved());
    // Asked once more, in case that it was overtaken by another login: it stays an old one.
    house.acceptor.set_keys(sending(&RSA2048, manifest(2, &[&RSA2048])));
    let (refused, dialled) = house.login(&server);
    assert_eq!((refused.unwrap_err().code(), dialled), ("manifest-rollback", 2));
}

#[test]
fn a_login_that_a_rotation_has_overtaken_is_begun_anew() {
    // Another login of this client sees the new manifest between this one's hello and its decision.
    struct Overtaken(std::sync::Mutex<Option<Acceptor>>, Identity);
    impl Trust for Overtaken {
        fn decide(&self, question: &Question<'_>) -> Answer {
            if let Some(acceptor) = self.0.lock().unwrap().take() {
                let keys = sending(&RSA2048, manifest(2, &[&RSA2048]));
                acceptor.set_keys(keys.clone());
                assert!(meet(&Server::trusting(self.1.clone()), &keys, *NOW).is_ok());
            }
            self.1.decide(question)
        }

        fn wants(&self) -> Wants {
            self.1.wants()
        }

        fn scope(&self) -> String {
            self.1.scope()
        }
    }
    let house = House::new(sending(&RSA2048, manifest(1, &[&RSA2048])));
    let overtaken = Overtaken(Some(house.acceptor.clone()).into(), identity());
    let (session, dialled) = house.login(&Server::trusting(overtaken));
    session.unwrap();
    assert_eq!(dialled, 2);
    // With one connection there is no second try, and it is told why.
    let house = House::new(sending(&RSA2048, manifest(1, &[&RSA2048])));
    let overtaken = Overtaken(Some(house.acceptor.clone()).into(), identity());
    let connector = Connector::new(ClientConfig::new(provider()), Server::trusting(overtaken));
    let refused = connector.connect_blocking(house.dial().unwrap(), ALICE).unwrap_err();
    assert_eq!(refused.code(), "manifest-rollback");
}

#[test]
fn what_was_learnt_is_kept_in_a_file_and_no_old_manifest_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let files = || ManifestFiles::new(folder.path().join("state/manifests"));
    let server = || Server::trusting(identity().with_store(files()));
    let pin = IDENTITY.public_key().id();
    assert!(files().load(pin).unwrap().is_none());
    let keys = |sequence| sending(&RSA2048, manifest(sequence, &[&RSA2048]));
    assert!(meet(&server(), &keys(5), *NOW).is_ok());
    // Whom somebody logs in to is nobody else's business.
    #[cfg(unix)]
    for made in ["state", "state/manifests"] {
        let permissions = std::fs::metadata(folder.path().join(made)).unwrap().permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&permissions) & 0o777, 0o700, "{made}");
    }
    // Another process of the same user.
    assert_eq!(meet(&server(), &keys(5), *NOW), Ok((TrustLevel::Verified, true)));
    assert_eq!(untrusted(&server(), &keys(4), *NOW), "manifest-rollback");
    let text = files().load(pin).unwrap().unwrap();
    assert!(text.contains("BEGIN COUNTERSIGN MANIFEST") && text.contains("BEGIN PUBLIC KEY"), "{text}");
    assert_eq!(identity().with_store(files()).manifest().unwrap().unwrap().body().sequence, 5);
    // Several may have one store.
    let shared = Arc::new(files());
    let [one, another] = [0, 1].map(|_| identity().with_store(Arc::clone(&shared)));
    assert!(meet(&Server::trusting(one), &keys(6), *NOW).is_ok());
    assert_eq!(another.manifest().unwrap().unwrap().body().sequence, 6);
    std::fs::write(shared.path(pin), "nonsense").unwrap();
    let error = meet(&Server::trusting(another), &keys(6), *NOW).unwrap_err();
    assert!(error.to_string().contains(shared.path(pin).to_str().unwrap()), "{error}");
    std::fs::write(shared.path(pin), &text).unwrap();
    // Whatever else is in the file, the server is not trusted, and the file stays as it is.
    for broken in ["nonsense", &text[..100], &text.replace("MANIFEST", "MANIFESTO"), "\0"] {
        std::fs::write(files().path(pin), broken).unwrap();
        let error = meet(&server(), &keys(6), *NOW).unwrap_err();
        assert_eq!(error.code(), "manifest-store", "{broken:?}");
        assert!(error.to_string().contains(files().path(pin).to_str().unwrap()), "{error}");
        assert_eq!(std::fs::read_to_string(files().path(pin)).unwrap(), broken);
    }
    // A manifest of somebody else's is none of ours.
    let other = SigningKey::from_ed25519(&[8; 32]).unwrap();
    let theirs = body(9, &[&RSA2048]).sign(&other, provider()).unwrap();
    std::fs::write(files().path(pin), theirs.to_pem()).unwrap();
    assert_eq!(untrusted(&server(), &keys(6), *NOW), "manifest-store");
    std::fs::write(files().path(pin), text).unwrap();
    assert!(meet(&server(), &keys(6), *NOW).is_ok());
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_change_is_not_believed() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let files = ManifestFiles::new(folder.path());
    let server = Server::trusting(identity().with_store(files.clone()));
    let keys = sending(&RSA2048, manifest(5, &[&RSA2048]));
    assert!(meet(&server, &keys, *NOW).is_ok());
    let path = files.path(IDENTITY.public_key().id());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(untrusted(&server, &keys, *NOW), "manifest-store");
}

#[test]
fn many_at_once_keep_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let files = ManifestFiles::new(folder.path());
    std::thread::scope(|scope| {
        for sequence in 1..=8 {
            let files = files.clone();
            scope.spawn(move || {
                let server = Server::trusting(identity().with_store(files));
                // It may have been overtaken by one with a higher number.
                let _ = meet(&server, &sending(&RSA2048, manifest(sequence, &[&RSA2048])), *NOW);
            });
        }
    });
    let kept = identity().with_store(files).manifest().unwrap().unwrap();
    assert_eq!(kept.body().sequence, 8);
}
