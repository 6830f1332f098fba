//! What a client makes of its known hosts: first contact, changed keys, revoked ones, and what speaks beside them.

#![cfg(all(feature = "files", any(feature = "rustcrypto", feature = "aws-lc")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use core::time::Duration;
use countersign::files::FileError;
use countersign::known_hosts::{Accepted, ChangedKey, Distrust, HostsError, KnownHost, KnownHosts, Listing};
use countersign::{
    CredentialKind, Error, KeyExchange, KeyId, PublicKey, Server, ServerConfig, Suite, Ticket, TicketKeys, TrustLevel,
    UnixTime,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use support::at as moment;
use support::{ALICE, OTHER2048, RSA2048, Scenario, TODAY, TestKey, TestRng, VERDICT_AT, grant, provider};
use tempfile::TempDir;

const DB: &str = "db.example:4500";
/// A day, in seconds.
const DAY: u64 = 86_400;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("known_hosts");
    (folder, path)
}

fn known(path: &Path) -> KnownHosts {
    KnownHosts::open(path).unwrap()
}

fn at(path: &Path) -> KnownHost {
    known(path).at(DB).unwrap()
}

fn public(key: &TestKey) -> PublicKey {
    key.private.public_key().clone()
}

fn id(key: &TestKey) -> KeyId {
    public(key).id()
}

fn add(path: &Path, key: &TestKey, accepted: Accepted) {
    known(path).add(DB, &Listing::new(public(key), accepted)).unwrap();
}

/// What comes of meeting a server with this key: how well it is known, and whether it proved itself.
fn meet_on(server: Server, key: &TestKey, date: UnixTime) -> Result<(TrustLevel, bool), Error> {
    let scenario = Scenario::new().server_key(key.server.clone()).trust(server);
    let challenge = scenario.challenge();
    let is_proved = challenge.is_proved();
    challenge.trust(scenario.trusted(), date).map(|trusted| (trusted.level(), is_proved))
}

fn meet(host: KnownHost, key: &TestKey) -> Result<(TrustLevel, bool), Error> {
    meet_on(Server::trusting(host), key, TODAY)
}

/// The code of what the file says against a key, and whether it is told as the error's own type.
fn refused(met: Result<(TrustLevel, bool), Error>) -> &'static str {
    let Err(Error::Untrusted(why)) = &met else { panic!("{met:?}") };
    let distrust = why.reasons().iter().find_map(|reason| reason.reason::<Distrust>()).expect("what the file says");
    distrust.code()
}

/// Asks by counting, and answers so.
fn asked(host: KnownHost, answer: bool) -> (KnownHost, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&count);
    let host = host.asking(move |question| {
        assert_eq!(question.server_name(), "");
        asked.fetch_add(1, Ordering::Relaxed);
        answer
    });
    (host, count)
}

#[test]
fn a_server_that_is_not_known_is_not_trusted_and_not_listed_unless_that_is_asked_for() {
    let (_folder, path) = folder();
    assert_eq!(refused(meet(at(&path), &RSA2048)), "unknown-server-key");
    let (host, count) = asked(at(&path), false);
    assert_eq!(refused(meet(host, &RSA2048)), "server-key-not-confirmed");
    assert_eq!(count.load(Ordering::Relaxed), 1);
    assert!(!path.exists());
}

#[test]
fn a_key_that_is_taken_at_first_use_is_proved_the_next_time_and_stays_at_its_level() {
    let (_folder, path) = folder();
    assert_eq!(meet(at(&path).accepting_new(), &RSA2048), Ok((TrustLevel::FirstUse, false)));
    let listed = known(&path).lookup("DB.example:4500").unwrap();
    assert_eq!((listed.keys()[0].id(), listed.keys()[0].accepted()), (id(&RSA2048), Some(Accepted::FirstUse)));
    for host in [at(&path), at(&path).accepting_new(), asked(at(&path), true).0] {
        assert_eq!(meet(host, &RSA2048), Ok((TrustLevel::FirstUse, true)));
    }
    // No password goes there, by default, until somebody has compared the fingerprint.
    let login = |server: Server| {
        let scenario = Scenario::new().trust(server).credential(ALICE);
        let hellos = scenario.await_login();
        scenario.log_in(hellos.client, &hellos.challenge).map(drop)
    };
    let server = || Server::trusting(at(&path));
    let low = Error::TrustTooLow { kind: CredentialKind::Password, level: TrustLevel::FirstUse };
    assert_eq!(login(server()), Err(low));
    assert_eq!(login(server().with_level_for(CredentialKind::Password, TrustLevel::FirstUse)), Ok(()));
    known(&path).confirm(DB, id(&RSA2048)).unwrap();
    assert_eq!(login(server()), Ok(()));
}

#[test]
fn a_key_that_somebody_confirms_is_listed_as_that_and_asked_about_once() {
    let (_folder, path) = folder();
    let (host, count) = asked(at(&path), true);
    assert_eq!(meet(host.clone(), &RSA2048), Ok((TrustLevel::Verified, false)));
    assert_eq!(meet(host, &RSA2048), Ok((TrustLevel::Verified, true)));
    assert_eq!(count.load(Ordering::Relaxed), 1);
    assert_eq!(known(&path).lookup(DB).unwrap().keys()[0].accepted(), Some(Accepted::Confirmed));
}

#[test]
fn the_level_follows_what_a_key_was_accepted_on() {
    for (accepted, level) in [
        (Accepted::FirstUse, TrustLevel::FirstUse),
        (Accepted::Certificate, TrustLevel::Certified),
        (Accepted::Manifest, TrustLevel::Certified),
        (Accepted::Confirmed, TrustLevel::Verified),
        (Accepted::Pin, TrustLevel::Verified),
    ] {
        let (_folder, path) = folder();
        add(&path, &RSA2048, accepted);
        assert_eq!(meet(at(&path), &RSA2048), Ok((level, true)), "{accepted}");
        assert_eq!(accepted.level(), level);
    }
}

/// Of two who wrote to one file, or of two names of a server.
#[test]
fn of_two_lines_of_one_key_the_better_one_counts_wherever_it_stands() {
    let line = |accepted| {
        let (_folder, path) = folder();
        add(&path, &RSA2048, accepted);
        fs::read_to_string(&path).unwrap()
    };
    let weak = line(Accepted::FirstUse);
    for better in [Accepted::Certificate, Accepted::Pin] {
        let strong = line(better);
        for text in [format!("{weak}{strong}"), format!("{strong}{weak}")] {
            let (_folder, path) = folder();
            fs::write(&path, &text).unwrap();
            assert_eq!(known(&path).lookup(DB).unwrap().keys().len(), 2, "{text}");
            assert_eq!(meet(at(&path), &RSA2048), Ok((better.level(), true)), "{text}");
        }
    }
}

#[test]
fn h2_a_changed_key_is_a_loud_refusal_that_nothing_makes_up_for() {
    for accepted in [Accepted::FirstUse, Accepted::Confirmed, Accepted::Pin] {
        let (_folder, path) = folder();
        add(&path, &RSA2048, accepted);
        let before = fs::read_to_string(&path).unwrap();
        let (asking, count) = asked(at(&path), true);
        for host in [at(&path), at(&path).accepting_new(), asking] {
            assert_eq!(refused(meet(host, &OTHER2048)), "server-key-changed", "{accepted}");
        }
        // Not even somebody who vouches for it, before or after.
        let servers =
            [Server::trusting(at(&path)).or(OTHER2048.trust()), OTHER2048.trust().or(Server::trusting(at(&path)))];
        for server in servers {
            assert_eq!(refused(meet_on(server, &OTHER2048, TODAY)), "server-key-changed", "{accepted}");
        }
        assert_eq!(count.load(Ordering::Relaxed), 0, "nobody is asked");
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
    }
}

/// A pin, an identity or roots beside it would let in what the user has refused.
#[test]
fn what_somebody_did_not_confirm_or_a_floor_forbids_nothing_after_it_makes_up_for() {
    let (_folder, path) = folder();
    let (asking, count) = asked(at(&path), false);
    let server = Server::trusting(asking).or(RSA2048.trust());
    assert_eq!(refused(meet_on(server, &RSA2048, TODAY)), "server-key-not-confirmed");
    assert_eq!(count.load(Ordering::Relaxed), 1);
    let listing = Listing::new(public(&RSA2048), Accepted::Pin).with_floor(KeyExchange::X25519MlKem768);
    known(&path).add(DB, &listing).unwrap();
    let servers = [Server::trusting(at(&path)).or(RSA2048.trust()), RSA2048.trust().or(Server::trusting(at(&path)))];
    for server in servers {
        let scenario = Scenario::new().trust(server).suite(Suite::X25519_AES_256_GCM);
        let met = scenario.challenge().trust(scenario.trusted(), TODAY).map(|trusted| (trusted.level(), true));
        assert_eq!(refused(met), "under-known-floor");
    }
}

#[test]
fn a_changed_key_is_told_with_both_fingerprints_the_line_and_what_to_do() {
    let (folder, path) = folder();
    fs::write(&path, "# mine\n\n").unwrap();
    add(&path, &RSA2048, Accepted::FirstUse);
    let Err(Error::Untrusted(why)) = meet(at(&path), &OTHER2048) else { panic!("it is refused") };
    let said = why.to_string();
    for part in [
        "HAS CHANGED",
        &id(&RSA2048).to_string(),
        &id(&OTHER2048).to_string(),
        "line 3 of",
        "first-use, since 20",
        "take that line out of the file",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains(path.to_str().unwrap()) && said.contains("nothing secret was sent"), "{said}");
    let Some(Distrust::Changed(changed)) = why.reasons()[0].reason::<Distrust>() else { panic!("{why:?}") };
    let changed: &ChangedKey = changed;
    assert_eq!((changed.name(), changed.shown(), changed.known()[0].line()), (DB, id(&OTHER2048), 3));
    assert_eq!(changed.path(), path);
    drop(folder);
}

#[test]
fn a_second_key_of_a_server_is_no_change_and_either_can_be_proved() {
    let (_folder, path) = folder();
    add(&path, &RSA2048, Accepted::Pin);
    add(&path, &OTHER2048, Accepted::Pin);
    let keys = Server::trusting(at(&path)).known_keys();
    assert_eq!(keys.iter().map(PublicKey::id).collect::<Vec<_>>(), [id(&OTHER2048), id(&RSA2048)], "the newest first");
    assert_eq!(meet(at(&path), &OTHER2048), Ok((TrustLevel::Verified, true)));
    // It proved the other one, and can be asked again.
    assert_eq!(meet(at(&path), &RSA2048), Err(Error::NoProof(id(&RSA2048))));
}

#[test]
fn h1_a_revoked_key_is_refused_for_its_server_or_for_all_whoever_gives_it() {
    for everywhere in [false, true] {
        let (_folder, path) = folder();
        add(&path, &RSA2048, Accepted::Pin);
        let revoked = if everywhere {
            known(&path).revoke_everywhere(id(&RSA2048))
        } else {
            known(&path).revoke(DB, id(&RSA2048))
        };
        assert!(revoked.unwrap());
        assert!(Server::trusting(at(&path)).known_keys().is_empty());
        let (asking, count) = asked(at(&path), true);
        for host in [at(&path), at(&path).accepting_new(), asking, at(&path).only_revoking()] {
            assert_eq!(refused(meet(host.clone(), &RSA2048)), "server-key-revoked");
            let server = RSA2048.trust().or(Server::trusting(host));
            assert_eq!(refused(meet_on(server, &RSA2048, TODAY)), "server-key-revoked");
        }
        assert_eq!(count.load(Ordering::Relaxed), 0);
        let elsewhere = known(&path).at("other.example:1").unwrap().accepting_new();
        let met = meet(elsewhere, &RSA2048);
        if everywhere {
            assert_eq!(refused(met), "server-key-revoked");
        } else {
            assert_eq!(met, Ok((TrustLevel::FirstUse, false)));
        }
    }
}

#[test]
fn where_a_key_is_given_the_list_can_only_speak_against_it() {
    let (_folder, path) = folder();
    add(&path, &RSA2048, Accepted::Pin);
    let host = || at(&path).only_revoking().accepting_new();
    assert_eq!(refused(meet(host(), &RSA2048)), "not-revoked", "what is listed does not count");
    let server = OTHER2048.trust().or(Server::trusting(host()));
    assert_eq!(meet_on(server, &OTHER2048, TODAY), Ok((TrustLevel::Verified, false)), "nor does it bind");
    let pins = [id(&OTHER2048), id(&RSA2048)];
    let hosts = known(&path).hosts().unwrap();
    assert_eq!(hosts.keys_of("elsewhere:1", &pins), [public(&RSA2048)], "whole keys of pins");
    known(&path).revoke_everywhere(id(&RSA2048)).unwrap();
    assert_eq!(known(&path).hosts().unwrap().keys_of("elsewhere:1", &pins), []);
}

/// It may vouch for a new key tomorrow. Nobody takes one without it, though.
#[test]
fn a_key_that_a_certificate_vouched_for_is_followed_by_one_that_another_does() {
    for accepted in [Accepted::Certificate, Accepted::Manifest] {
        let (_folder, path) = folder();
        add(&path, &RSA2048, accepted);
        let (asking, count) = asked(at(&path), true);
        for host in [at(&path), at(&path).accepting_new(), asking] {
            assert_eq!(refused(meet(host.clone(), &OTHER2048)), "server-key-not-vouched");
            // What stands for a new certificate here. The server is asked to prove the key that was known.
            let server = Server::trusting(host).or(OTHER2048.trust()).without_proof();
            assert_eq!(meet_on(server, &OTHER2048, TODAY), Ok((TrustLevel::Verified, false)));
        }
        assert_eq!(count.load(Ordering::Relaxed), 0);
        assert_eq!(known(&path).lookup(DB).unwrap().keys().len(), 1);
    }
}

#[test]
fn what_has_run_out_is_not_trusted_and_does_not_make_a_server_new() {
    let (_folder, path) = folder();
    let until = UnixTime::from_secs(TODAY.as_secs() + DAY);
    known(&path).add(DB, &Listing::new(public(&RSA2048), Accepted::Certificate).with_until(until)).unwrap();
    let meet_at = |host, key, secs| meet_on(Server::trusting(host).without_proof(), key, UnixTime::from_secs(secs));
    let last = until.as_secs() - 1;
    assert_eq!(meet_at(at(&path), &RSA2048, last).map(|(level, _)| level), Ok(TrustLevel::Certified));
    for key in [&RSA2048, &OTHER2048] {
        assert_eq!(refused(meet_at(at(&path), key, until.as_secs())), "server-key-expired");
        assert_eq!(refused(meet_at(at(&path).accepting_new(), key, until.as_secs())), "server-key-expired");
    }
    // Whoever is asked may say that it goes on.
    let (host, _) = asked(at(&path), true);
    assert_eq!(meet_at(host, &RSA2048, until.as_secs()).map(|(level, _)| level), Ok(TrustLevel::Verified));
    let listed = known(&path).lookup(DB).unwrap();
    assert_eq!((listed.keys().len(), listed.keys()[0].until()), (1, None));
}

#[test]
fn a_key_that_something_before_it_trusts_is_left_to_that_and_not_listed() {
    let (_folder, path) = folder();
    let (asking, count) = asked(at(&path), true);
    for host in [at(&path).accepting_new(), asking] {
        let server = RSA2048.trust().or(Server::trusting(host));
        assert_eq!(meet_on(server, &RSA2048, TODAY), Ok((TrustLevel::Verified, false)));
    }
    assert_eq!(count.load(Ordering::Relaxed), 0);
    assert!(!path.exists());
}

#[test]
fn a_suite_under_the_line_s_floor_is_refused() {
    let (_folder, path) = folder();
    let listing = Listing::new(public(&RSA2048), Accepted::Pin).with_floor(KeyExchange::X25519MlKem768);
    known(&path).add(DB, &listing).unwrap();
    let met = |suite| {
        let scenario = Scenario::new().trust(Server::trusting(at(&path))).suite(suite);
        scenario.challenge().trust(scenario.trusted(), TODAY).map(|trusted| (trusted.level(), true))
    };
    assert_eq!(refused(met(Suite::X25519_AES_256_GCM)), "under-known-floor");
    assert!(met(Suite::X25519MLKEM768_AES_256_GCM).is_ok());
    // And new keys are listed under the one that the application names.
    let host = known(&path).at("new.example:1").unwrap().accepting_new().with_floor(KeyExchange::X25519MlKem768);
    meet(host, &OTHER2048).unwrap();
    assert_eq!(known(&path).lookup("new.example:1").unwrap().keys()[0].floor(), KeyExchange::X25519MlKem768);
}

#[test]
fn a_line_that_may_be_about_a_server_and_cant_be_read_lets_no_key_be_its_first() {
    let (_folder, path) = folder();
    for line in ["db.example:4500 accepted=pin key=MIIB", "\"DB.example:4500\"", "x,db.example:4500 y"] {
        fs::write(&path, format!("{line}\n")).unwrap();
        let (asking, count) = asked(at(&path), true);
        for host in [at(&path), at(&path).accepting_new(), asking] {
            assert_eq!(refused(meet(host, &RSA2048)), "known-hosts-line-broken", "{line}");
        }
        assert_eq!(count.load(Ordering::Relaxed), 0);
        let other = known(&path).at("other.example:1").unwrap().accepting_new();
        assert!(meet(other, &RSA2048).is_ok(), "it is nothing to this one");
    }
}

/// What it would say of the key can't be known.
#[test]
fn every_key_is_refused_while_the_file_may_revoke_it_or_cant_be_read() {
    let (folder, path) = folder();
    add(&path, &RSA2048, Accepted::Pin);
    let server = || RSA2048.trust().or(Server::trusting(at(&path).accepting_new()));
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{good}@revoked db.example\n")).unwrap();
    let Err(Error::Untrusted(why)) = meet_on(server(), &RSA2048, TODAY) else { panic!("it is refused") };
    assert_eq!(why.code(), "broken-revocation");
    assert!(why.to_string().contains("line 2"), "{why}");
    fs::write(&path, &good).unwrap();
    let server = server();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let Err(Error::Untrusted(why)) = meet_on(server, &RSA2048, TODAY) else { panic!("it is refused") };
    let reason = why.reasons()[0].reason::<Distrust>();
    assert!(matches!(reason, Some(Distrust::File(HostsError::File(FileError::NotFile { .. })))), "{why}");
    drop(folder);
}

/// Otherwise the next login would take any key again.
#[test]
fn a_key_whose_line_cant_be_written_is_not_trusted() {
    let (folder, _) = folder();
    let path = folder.path().join("missing/known_hosts");
    for host in [at(&path).accepting_new(), asked(at(&path), true).0] {
        let Err(Error::Untrusted(why)) = meet(host, &RSA2048) else { panic!("it is refused") };
        assert_eq!(why.code(), "no-folder");
        assert!(why.to_string().contains("missing/known_hosts"), "{why}");
    }
}

/// While somebody thinks, the same server is met elsewhere: what was said of it there counts.
#[test]
fn what_the_file_says_once_somebody_has_answered_is_what_counts() {
    for (meanwhile, expected) in [
        (Accepted::FirstUse, Ok(TrustLevel::Verified)),
        (Accepted::Certificate, Ok(TrustLevel::Verified)),
        (Accepted::Pin, Ok(TrustLevel::Verified)),
    ] {
        let (_folder, path) = folder();
        let thinking = path.clone();
        let host = at(&path).asking(move |_| {
            add(&thinking, &RSA2048, meanwhile);
            true
        });
        assert_eq!(meet(host, &RSA2048).map(|(level, _)| level), expected);
        assert_eq!(known(&path).lookup(DB).unwrap().keys().len(), 1);
    }
    let (_folder, path) = folder();
    let thinking = path.clone();
    let host = at(&path).asking(move |_| {
        add(&thinking, &OTHER2048, Accepted::Pin);
        true
    });
    assert_eq!(refused(meet(host, &RSA2048)), "server-key-changed");
    let (_folder, path) = folder();
    let thinking = path.clone();
    let host = at(&path).asking(move |question| known(&thinking).revoke_everywhere(question.key().id()).unwrap());
    assert_eq!(refused(meet(host, &RSA2048)), "server-key-revoked");
    // Or what may be that, and can't be read.
    let (_folder, path) = folder();
    let thinking = path.clone();
    let host = at(&path).asking(move |_| fs::write(&thinking, "@revoked broken\n").is_ok());
    assert_eq!(refused(meet(host, &RSA2048)), "broken-revocation");
    assert_eq!(fs::read_to_string(&path).unwrap(), "@revoked broken\n");
}

/// Of two first contacts at the same time, with two keys, one is the first.
#[test]
fn two_first_contacts_with_different_keys_list_one() {
    let (_folder, path) = folder();
    let (give, take) = mpsc::channel();
    std::thread::scope(|scope| {
        for key in [&RSA2048, &OTHER2048] {
            let (give, host) = (give.clone(), at(&path).accepting_new());
            scope.spawn(move || give.send(meet(host, key).is_ok()).unwrap());
        }
    });
    drop(give);
    assert_eq!(take.iter().filter(|&is_trusted| is_trusted).count(), 1);
    assert_eq!(known(&path).lookup(DB).unwrap().keys().len(), 1);
}

/// A ticket of alice's from a login to the first key.
fn ticket() -> Ticket {
    let keys = Arc::new(TicketKeys::new(provider(), Duration::from_secs(DAY)));
    let scenario = Scenario::new().server_config_of(ServerConfig::new(provider()).with_tickets(keys));
    let sent = scenario.await_verdict();
    let claim = scenario.open(sent.server, &sent.login).unwrap();
    let accepted = claim.accept_with_ticket(grant().with_epoch(1), TODAY, &mut TestRng::new("ticket")).unwrap();
    sent.client.read(&accepted.frame, moment(VERDICT_AT), TODAY).unwrap().info.ticket().unwrap().clone()
}

/// A ticket is shown only under a key that is still trusted.
#[test]
fn a_ticket_is_shown_as_long_as_its_key_is_listed_and_not_revoked() {
    let (_folder, path) = folder();
    add(&path, &RSA2048, Accepted::Pin);
    let server = Server::trusting(at(&path));
    assert!(server.scope().contains(DB));
    let ticket = ticket();
    let is_shown = || server.resume(ticket.clone(), "alice", TODAY).is_some();
    assert!(is_shown());
    known(&path).revoke(DB, id(&RSA2048)).unwrap();
    assert!(!is_shown(), "without a new start");
    known(&path).remove(DB, Some(id(&RSA2048))).unwrap();
    assert!(!is_shown());
    add(&path, &OTHER2048, Accepted::Pin);
    assert!(!is_shown());
    add(&path, &RSA2048, Accepted::FirstUse);
    assert!(is_shown());
    // Of another suite than the line's floor allows it is not.
    known(&path).remove(DB, Some(id(&RSA2048))).unwrap();
    let listing = Listing::new(public(&RSA2048), Accepted::Pin).with_floor(KeyExchange::X25519MlKem768);
    known(&path).add(DB, &listing).unwrap();
    assert_eq!(ticket.suite().key_exchange, KeyExchange::X25519);
    assert!(!is_shown());
}
