//! Passwords that a real directory checks, which locks, hangs, dies, and is asked for odd names.
//!
//! The tests start Debian's `slapd` on sockets of their own, and are skipped where there is none.
#![cfg(all(unix, feature = "ldap"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "support/directory.rs"]
mod directory;
#[path = "support/ldap.rs"]
mod ldap;

use countersign::{AsyncVerifier, Attempt, Context, Credential, CredentialKind, Grant, Reason};
use countersign_stores::{Availability, LdapConfig, LdapError, LdapVerifier};
use directory::{Directory, GUESTS, PASSWORD, SERVICE, address_of};
use ldap::{come_back, listen, log_in, searching};
use std::collections::HashSet;
use std::fs;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// How it is asked.
trait Asked {
    fn config(&self) -> LdapConfig;

    /// Searches as a service account, and has permissions for two groups.
    fn verifier(&self) -> LdapVerifier {
        LdapVerifier::new(searching(self.config())).unwrap()
    }
}

impl Asked for Directory {
    fn config(&self) -> LdapConfig {
        patient(&self.socket())
    }
}

/// Waits for longer than any machine should take.
fn patient(address: &str) -> LdapConfig {
    LdapConfig::parse(address).unwrap().with_patience(Duration::from_secs(20))
}

fn permissions(grant: &Grant) -> HashSet<String> {
    grant.permissions().map(str::to_owned).collect()
}

fn set(permissions: &[&str]) -> HashSet<String> {
    permissions.iter().map(|permission| (*permission).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_the_directory_knows_gets_what_their_groups_may() {
    let Some(directory) = Directory::on_the_network(false) else { return };
    let tcp = patient(&format!("ldap://127.0.0.1:{}", directory.port()));
    for verifier in [directory.verifier(), LdapVerifier::new(searching(tcp)).unwrap()] {
        verifier.check().await.unwrap();
        let alice = log_in(&verifier, "alice", PASSWORD).await.unwrap();
        assert_eq!((alice.principal(), permissions(&alice)), ("alice", set(&["orders:*", "staff", "orders:read"])));
        let bob = log_in(&verifier, "bob", PASSWORD).await.unwrap();
        assert_eq!(permissions(&bob), set(&["orders:read", "staff"]));
        assert_eq!(log_in(&verifier, "alice", b"guess").await, Err(Reason::WrongPassword));
        assert_eq!(log_in(&verifier, "mallory", PASSWORD).await, Err(Reason::UnknownUser));
        assert_eq!(
            log_in(&verifier, "ALICE", PASSWORD).await.unwrap().principal(),
            "alice",
            "one account has one name"
        );
        assert!(matches!(log_in(&verifier, "nobody's", PASSWORD).await, Err(Reason::Application(_))), "in no group");
        assert_eq!(log_in(&verifier, "locked", PASSWORD).await, Err(Reason::AccountLocked));
        assert_eq!(log_in(&verifier, "fresh", PASSWORD).await, Err(Reason::AccountExpired), "to be changed first");
        assert_eq!(log_in(&verifier, "fresh", b"guess").await, Err(Reason::WrongPassword));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_a_password_or_by_a_name_that_says_more() {
    let Some(directory) = Directory::start() else { return };
    let named = directory.config().with_names("uid={user},ou=people,dc=example").with_permissions(["read"]);
    for verifier in [directory.verifier(), LdapVerifier::new(named).unwrap()] {
        for user in ["alice", "mallory", ""] {
            for password in [&b""[..], b"\0", b"\xff\xfe", b"correct horse\0"] {
                assert_eq!(log_in(&verifier, user, password).await, Err(Reason::UnknownUser), "{user:?} {password:?}");
            }
        }
        for user in [
            "",
            " alice",
            "alice ",
            "*",
            "a*",
            "alice)(uid=*",
            "*)(|(uid=*",
            "alice,ou=people,dc=example",
            "alice+cn=alice",
            "alice\\",
            "\u{0}alice",
            "alice\0",
            "#616c696365",
            "\"alice\"",
            "{user}",
            "{dn}",
            "(",
            ")",
            "\\2a",
            "a=b,c=d",
        ] {
            assert_eq!(log_in(&verifier, user, PASSWORD).await, Err(Reason::UnknownUser), "{user:?}");
        }
        assert!(log_in(&verifier, "alice", PASSWORD).await.is_ok());
        let context = Context::uncounted();
        let token = verifier.verify(&Attempt::new(Credential::Token(b"correct horse"), &context)).await;
        assert_eq!(token, Err(Reason::UnknownToken));
    }
    let (no_service, no_place) =
        (directory.config().with_search("dc=example", "(uid={user})"), directory.config().with_names("uid=alice"));
    let no_password =
        directory.config().with_search("dc=example", "(uid={user})").with_service("cn=countersign,dc=example", "");
    for config in [directory.config(), no_service, no_place, no_password] {
        assert!(matches!(LdapVerifier::new(config), Err(LdapError::People)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_with_names_by_a_template_are_read_as_themselves() {
    let Some(directory) = Directory::start() else { return };
    let config = directory.config().with_names("uid={user},ou=people,dc=example");
    let config = config.with_permissions_of("cn=chiefs,ou=groups,dc=example", ["orders:*"]);
    let verifier = LdapVerifier::new(config.clone()).unwrap();
    let alice = log_in(&verifier, "Alice", PASSWORD).await.unwrap();
    assert_eq!((alice.principal(), permissions(&alice)), ("alice", set(&["orders:*"])), "by memberOf");
    assert_eq!(alice.epoch(), None, "nobody could look her up again");
    assert_eq!(come_back(&verifier, "alice", CredentialKind::Password).await, Err(Reason::ResumeUnsupported));
    assert_eq!(log_in(&verifier, "alice", b"guess").await, Err(Reason::UnknownUser), "it does not say which is wrong");
    assert_eq!(log_in(&verifier, "locked", PASSWORD).await, Err(Reason::AccountLocked));
    assert!(matches!(log_in(&verifier, "bob", PASSWORD).await, Err(Reason::Application(_))));
    // With a service account the same template has tickets.
    let verifier = LdapVerifier::new(config.with_service(SERVICE.0, SERVICE.1)).unwrap();
    let alice = log_in(&verifier, "alice", PASSWORD).await.unwrap();
    assert!(alice.epoch().is_some());
    assert_eq!(come_back(&verifier, "alice", CredentialKind::Password).await.unwrap(), alice);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_service_account_nothing_that_is_wrong_with_an_entry_tells_that_a_password_is_right() {
    let Some(directory) = Directory::start() else { return };
    let named = directory.config().with_names("uid={user},ou=people,dc=example").with_permissions(["read"]);
    // An attribute that the entry has not, or not with this name; groups that users may not search.
    let nowhere = named.clone().with_groups("ou=groups,dc=example", "(member={dn}");
    for config in [named.clone().with_name_attribute("mail"), named.clone().with_name_attribute("objectClass"), nowhere]
    {
        let verifier = LdapVerifier::new(config).unwrap();
        let right = log_in(&verifier, "alice", PASSWORD).await.unwrap_err();
        assert!(matches!(right, Reason::Application(_)) && right.is_failure(), "{right:?}");
        let wrong = log_in(&verifier, "alice", b"guess").await.unwrap_err();
        assert_eq!(wrong, Reason::UnknownUser);
    }
    assert!(log_in(&LdapVerifier::new(named).unwrap(), "alice", PASSWORD).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_is_who_they_are_now() {
    let Some(directory) = Directory::start() else { return };
    let verifier = directory.verifier();
    let first = log_in(&verifier, "alice", PASSWORD).await.unwrap();
    assert!(first.epoch().is_some());
    assert_eq!(come_back(&verifier, "alice", CredentialKind::Password).await.unwrap(), first);
    // Failed guesses of others are no change.
    let _ = log_in(&verifier, "alice", b"guess").await;
    assert_eq!(log_in(&verifier, "alice", PASSWORD).await.unwrap(), first);
    assert_eq!(come_back(&verifier, "alice", CredentialKind::Token).await, Err(Reason::AccountDisabled));
    assert_eq!(come_back(&verifier, "mallory", CredentialKind::Password).await, Err(Reason::UnknownUser));
    let alice = "uid=alice,ou=people,dc=example";
    let out_of_group = ldap3::Mod::Delete("member", HashSet::from([alice]));
    directory.change("cn=Chiefs,ou=groups,dc=example", out_of_group).await;
    let fewer = come_back(&verifier, "alice", CredentialKind::Password).await.unwrap();
    assert_eq!(permissions(&fewer), set(&["orders:read", "staff"]));
    assert_ne!(fewer.epoch(), first.epoch());
    directory.change(alice, ldap3::Mod::Replace("userPassword", HashSet::from(["another"]))).await;
    // It was another's hand: she would have to change it first.
    assert_eq!(log_in(&verifier, "alice", b"another").await, Err(Reason::AccountExpired));
    directory.change(alice, ldap3::Mod::Delete("pwdReset", HashSet::new())).await;
    let changed = come_back(&verifier, "alice", CredentialKind::Password).await.unwrap();
    assert_ne!(changed.epoch(), fewer.epoch());
    assert_ne!(changed.credential_epoch(), fewer.credential_epoch());
    assert_eq!(log_in(&verifier, "alice", PASSWORD).await, Err(Reason::WrongPassword));
    assert_eq!(log_in(&verifier, "alice", b"another").await.unwrap(), changed);
    // To slapd it is a number as any other.
    directory.change(alice, ldap3::Mod::Replace("shadowExpire", HashSet::from(["1"]))).await;
    assert_eq!(log_in(&verifier, "alice", b"another").await, Err(Reason::AccountExpired));
    assert_eq!(come_back(&verifier, "alice", CredentialKind::Password).await, Err(Reason::AccountExpired));
    directory.change(alice, ldap3::Mod::Delete("shadowExpire", HashSet::new())).await;
    directory.change(alice, ldap3::Mod::Replace("pwdAccountLockedTime", HashSet::from(["000001010000Z"]))).await;
    assert_eq!(come_back(&verifier, "alice", CredentialKind::Password).await, Err(Reason::AccountLocked));
}

/// One who is counted, bounded and revoked as one, by whichever name they come.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_with_several_names_is_one_principal() {
    let Some(directory) = Directory::start() else { return };
    let verifier = directory.verifier();
    let alice = "uid=alice,ou=people,dc=example";
    // One that comes before her own by its bytes, and one behind it.
    for name in ["a.smith", "smith"] {
        directory.change(alice, ldap3::Mod::Add("uid", HashSet::from([name]))).await;
    }
    let first = log_in(&verifier, "alice", PASSWORD).await.unwrap();
    assert_eq!(first.principal(), "alice");
    for name in ["a.smith", "smith", "SMITH"] {
        assert_eq!(log_in(&verifier, name, PASSWORD).await.unwrap(), first, "{name}");
    }
    assert_eq!(come_back(&verifier, "alice", CredentialKind::Password).await.unwrap(), first);
}

/// Whoever may make entries somewhere in it could take any name otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_entries_of_one_name_none_is_let_in() {
    let Some(directory) = Directory::start() else { return };
    let below = |base: &str| {
        let config = searching(directory.config()).with_search(base, "(uid={user})").with_permissions(["read"]);
        LdapVerifier::new(config).unwrap()
    };
    let everywhere = below("dc=example");
    for password in [PASSWORD, GUESTS, b"guess"] {
        let verdict = log_in(&everywhere, "bob", password).await;
        assert!(matches!(verdict, Err(Reason::Application(why)) if why.contains("several")), "{verdict:?}");
    }
    let verdict = come_back(&everywhere, "bob", CredentialKind::Password).await;
    assert!(matches!(verdict, Err(Reason::Application(_))), "{verdict:?}");
    assert!(log_in(&everywhere, "alice", PASSWORD).await.is_ok(), "there is one");
    assert!(log_in(&below("ou=people,dc=example"), "bob", PASSWORD).await.is_ok());
    assert!(log_in(&below("ou=guests,dc=example"), "bob", GUESTS).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_can_not_be_asked_says_not_now_whatever_the_password() {
    let Some(mut directory) = Directory::start() else { return };
    let verifier = directory.verifier();
    let patient = |time| LdapVerifier::new(searching(directory.config().with_patience(time))).unwrap();
    let hasty = patient(Duration::from_millis(300));
    let is_away = |verdict: Result<Grant, Reason>| assert!(matches!(verdict, Err(Reason::NotNow(_))), "{verdict:?}");
    directory.signal("-STOP");
    for password in [PASSWORD, b"guess"] {
        is_away(log_in(&hasty, "alice", password).await);
    }
    is_away(come_back(&hasty, "alice", CredentialKind::Password).await);
    directory.signal("-CONT");
    let other = |password: &str| {
        let config = searching(directory.config()).with_service("cn=countersign,dc=example", password);
        LdapVerifier::new(config).unwrap()
    };
    for user in ["alice", "mallory"] {
        is_away(log_in(&other("of nobody"), user, PASSWORD).await);
    }
    let refused = other("of nobody").check().await;
    assert!(matches!(&refused, Err(LdapError::Refused(said)) if said.contains("rc=49")), "{refused:?}");
    for (base, groups) in
        [("ou=peple,dc=example", "ou=groups,dc=example"), ("ou=people,dc=example", "ou=grups,dc=example")]
    {
        let config =
            searching(directory.config()).with_search(base, "(uid={user})").with_groups(groups, "(member={dn})");
        let refused = LdapVerifier::new(config).unwrap().check().await;
        assert!(matches!(&refused, Err(LdapError::Refused(said)) if said.contains("there is no ou=")), "{refused:?}");
    }
    directory.kill();
    assert!(matches!(verifier.check().await, Err(LdapError::Away(_))));
    for (user, password) in [("alice", PASSWORD), ("alice", b"guess"), ("mallory", PASSWORD), ("", b"")] {
        is_away(log_in(&verifier, user, password).await);
    }
    directory.restart();
    back(&verifier).await;
}

/// Waits until it lets people in again.
async fn back(verifier: &LdapVerifier) {
    let end = Instant::now() + Duration::from_secs(60);
    while let Err(reason) = log_in(verifier, "bob", PASSWORD).await {
        assert!(matches!(reason, Reason::NotNow(_)) && Instant::now() < end, "{reason:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a login is told that the directory was not even asked for.
const NOT_ASKED: Reason = Reason::NotNow("the directory did not answer a moment ago");

#[tokio::test(flavor = "multi_thread")]
async fn while_a_directory_takes_connections_and_says_nothing_few_logins_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    // Held, so that nobody is told.
    let asked = listen(&socket, |stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    });
    let config = || LdapConfig::parse(&address_of(&socket)).unwrap().with_patience(Duration::from_millis(300));
    let named = config().with_names("uid={user},ou=people,dc=example");
    for verifier in [searching(config()), named].map(|config| LdapVerifier::new(config).unwrap()) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let verifier = verifier.with_observer(move |news| tell.lock().unwrap().push(format!("{news:?}")));
        let before = asked.load(SeqCst);
        assert!(matches!(log_in(&verifier, "alice", PASSWORD).await, Err(Reason::NotNow(_))));
        let mut not_asked = 0;
        for number in 0..100 {
            let verdict = log_in(&verifier, &format!("user{number}"), b"guess").await;
            assert!(matches!(verdict, Err(Reason::NotNow(_))), "{verdict:?}");
            not_asked += usize::from(verdict == Err(NOT_ASKED));
        }
        assert!(
            not_asked > 50 && asked.load(SeqCst) - before <= 101 - not_asked,
            "{not_asked} of 100 were not asked for"
        );
        let told = told.lock().unwrap();
        assert!(matches!(&told[..], [once] if once.contains("in time")), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_hangs_and_comes_back_is_noticed_by_itself() {
    let Some(directory) = Directory::start() else { return };
    let config = searching(directory.config().with_patience(Duration::from_secs(3)));
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let verifier = LdapVerifier::new(config).unwrap().with_observer(move |news| {
        tell.lock().unwrap().push(matches!(news, Availability::Back));
    });
    assert!(log_in(&verifier, "alice", PASSWORD).await.is_ok());
    directory.signal("-STOP");
    assert!(matches!(log_in(&verifier, "alice", PASSWORD).await, Err(Reason::NotNow(_))));
    assert_eq!(*told.lock().unwrap(), [false]);
    directory.signal("-CONT");
    back(&verifier).await;
    let told = told.lock().unwrap();
    assert_eq!((told.first(), told.last()), (Some(&false), Some(&true)), "on a slow machine there may be more between");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_slow_for_one_account_is_there_for_the_others() {
    let Some(directory) = Directory::start() else { return };
    let (folder, there) = (tempfile::tempdir().unwrap(), directory.folder.path().join("socket"));
    let socket = folder.path().join("socket");
    // As those do that delay the answer to a wrong password: whoever binds as alice is let wait.
    listen(&socket, move |client| {
        let there = there.clone();
        async move {
            let server = UnixStream::connect(there).await.unwrap();
            let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                (client.into_split(), server.into_split());
            let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
                let has = |part: &[u8]| bytes[..count].windows(part.len()).any(|window| window == part);
                if has(b"uid=alice,ou=people") && has(b"guess") {
                    std::future::pending::<()>().await;
                }
                to_server.write_all(&bytes[..count]).await.unwrap();
            }
            back.abort();
        }
    });
    let config = LdapConfig::parse(&address_of(&socket)).unwrap().with_patience(Duration::from_secs(5));
    let verifiers = [searching(config.clone()), config.with_names("uid={user},ou=people,dc=example")];
    let rounds = verifiers.map(|config| {
        let verifier = LdapVerifier::new(config).unwrap();
        tokio::spawn(async move {
            let late = log_in(&verifier, "alice", b"guess").await;
            assert_eq!(late, Err(Reason::NoAnswer("the directory does not answer in time")), "it counts as a guess");
            assert!(log_in(&verifier, "bob", PASSWORD).await.is_ok());
        })
    });
    for round in rounds {
        round.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_base_is_not_there_nobody_loses_a_session_and_nobody_is_refused() {
    let Some(directory) = Directory::start() else { return };
    let verifier = directory.verifier();
    let alice = log_in(&verifier, "alice", PASSWORD).await.unwrap();
    for (base, there) in [("ou=people,dc=example", "ou=people"), ("ou=groups,dc=example", "ou=groups")] {
        // As a replica looks that is being filled, or one whose administrator has made a mistake.
        directory.rename(base, "ou=elsewhere").await;
        for (user, password) in [("alice", PASSWORD), ("alice", b"guess"), ("mallory", PASSWORD)] {
            let verdict = log_in(&verifier, user, password).await;
            assert!(matches!(verdict, Err(Reason::NotNow(_))), "{base} {user} {verdict:?}");
        }
        let verdict = come_back(&verifier, "alice", CredentialKind::Password).await;
        assert!(matches!(verdict, Err(Reason::NotNow(_))), "{base} {verdict:?}");
        let checked = verifier.check().await;
        let says = |said: &String| said.contains(&format!("there is no {base}"));
        assert!(matches!(&checked, Err(LdapError::Refused(said)) if says(said)), "{checked:?}");
        directory.rename("ou=elsewhere,dc=example", there).await;
        verifier.check().await.unwrap();
        assert_eq!(come_back(&verifier, "alice", CredentialKind::Password).await.unwrap(), alice);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_the_machine_goes_to_the_directory_alone() {
    let Some(directory) = Directory::on_the_network(true) else { return };
    let authority = fs::read(directory.authority()).unwrap();
    let secure = format!("ldaps://localhost:{}", directory.tls_port());
    // An address that does not look as if it were this machine's.
    let starting = format!("ldap://127.0.0.2:{}", directory.port());
    for address in [&secure, &starting] {
        let config = || searching(patient(address));
        let trusting = LdapVerifier::new(config().with_roots(&authority).unwrap()).unwrap();
        assert!(log_in(&trusting, "alice", PASSWORD).await.is_ok(), "{address}");
        let doubting = LdapVerifier::new(config()).unwrap();
        assert!(matches!(log_in(&doubting, "alice", PASSWORD).await, Err(Reason::NotNow(_))), "{address}");
    }
    let wrong_name = searching(LdapConfig::parse(&format!("ldaps://127.0.0.1:{}", directory.tls_port())).unwrap());
    let wrong_name = LdapVerifier::new(wrong_name.with_roots(&authority).unwrap()).unwrap();
    assert!(matches!(log_in(&wrong_name, "alice", PASSWORD).await, Err(Reason::NotNow(_))));
    assert!(matches!(LdapConfig::parse(&secure).unwrap().with_roots(b"none"), Err(LdapError::Roots)));
    // Where StartTLS is not to be had, nothing is said in the clear.
    let Some(plain) = Directory::on_the_network(false) else { return };
    let plain = LdapConfig::parse(&format!("ldap://127.0.0.2:{}", plain.port())).unwrap();
    let stubborn = LdapVerifier::new(searching(plain.clone())).unwrap();
    assert!(matches!(log_in(&stubborn, "alice", PASSWORD).await, Err(Reason::NotNow(_))));
}
