//! What is made of a directory's answers: of those that come, those that don't, and those that may mean anything. By one that says what a test wants.
#![cfg(all(unix, feature = "ldap"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

#[path = "support/directory.rs"]
mod directory;
#[path = "support/ldap.rs"]
mod ldap;
mod support;

use countersign::crypto::rustcrypto;
use countersign::{
    Acceptor, Bounds, Context, Credential, CredentialKind, Error, Penalties, Reason, Recheck, ServerConfig, Waits,
};
use countersign_stores::{LdapConfig, LdapError, LdapVerifier};
use directory::address_of;
use ldap::{come_back, listen, log_in, searching};
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{PASSWORD, connector, server_key, source, until, why};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// What a directory is asked: a request without its number (RFC 4511, 4.1.1).
struct Asked {
    operation: u8,
    body: Vec<u8>,
}

impl Asked {
    const BIND: u8 = 0x60;
    const SEARCH: u8 = 0x63;

    fn has(&self, part: &str) -> bool {
        self.body.windows(part.len()).any(|window| window == part.as_bytes())
    }

    /// By a user, or in the place of one, and not by the service account.
    fn is_login(&self) -> bool {
        self.operation == Self::BIND && self.has("ou=people")
    }

    fn is_search_of(&self, part: &str) -> bool {
        self.operation == Self::SEARCH && self.has(part)
    }

    /// Of the one entry that is named (baseObject, and neverDerefAliases).
    fn is_of_one(&self) -> bool {
        self.is_search_of("\x0a\x01\x00\x0a\x01\x00")
    }
}

/// What it answers.
#[derive(Clone, Copy)]
enum Answer {
    /// These entries, and this code.
    Entries(&'static [&'static str], u8),
    /// One entry with these attributes, of which the first has its name.
    Entry(&'static [(&'static str, &'static str)]),
    /// This code and this text.
    Code(u8, &'static str),
    Nothing,
    /// It hangs up.
    Cut,
}

const GOOD: Answer = Answer::Code(0, "");
const WRONG: Answer = Answer::Code(49, "");
const ALICE: Answer = Answer::Entries(&["alice"], 0);

/// A directory that answers so, and how it is asked, with so much patience.
fn directory(
    patience: Duration,
    answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
) -> (tempfile::TempDir, LdapConfig) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let answer = Arc::new(answer);
    listen(&socket, move |stream| serve(stream, Arc::clone(&answer)));
    (folder, LdapConfig::parse(&address_of(&socket)).unwrap().with_patience(patience))
}

async fn serve<A: Fn(&Asked) -> Answer>(mut stream: UnixStream, answer: Arc<A>) {
    let mut bytes = Vec::new();
    loop {
        let Some((length, number, asked)) = request(&bytes) else {
            match stream.read_buf(&mut bytes).await {
                Ok(1..) => continue,
                _ => return,
            }
        };
        bytes.drain(..length);
        let (entries, code, text) = match answer(&asked) {
            Answer::Entries(names, code) => (names.iter().map(|name| vec![("uid", *name)]).collect(), code, ""),
            Answer::Entry(attributes) => (vec![attributes.to_vec()], 0, ""),
            Answer::Code(code, text) => (Vec::new(), code, text),
            Answer::Nothing => pending().await,
            Answer::Cut => return,
        };
        let message = |operation: u8, body: &[u8]| part(0x30, &[&[2, 1, number][..], &part(operation, body)].concat());
        for attributes in entries {
            let dn = format!("uid={},ou=people,dc=example", attributes[0].1);
            let attribute = |(kind, value): &(&str, &str)| {
                part(0x30, &[part(4, kind.as_bytes()), part(0x31, &part(4, value.as_bytes()))].concat())
            };
            let attributes: Vec<u8> = attributes.iter().flat_map(attribute).collect();
            let entry = [part(4, dn.as_bytes()), part(0x30, &attributes)].concat();
            let _ = stream.write_all(&message(0x64, &entry)).await;
        }
        let result = [&[0x0a, 1, code, 4, 0][..], &part(4, text.as_bytes())].concat();
        let done = if asked.operation == Asked::SEARCH { 0x65 } else { asked.operation + 1 };
        let _ = stream.write_all(&message(done, &result)).await;
    }
}

fn part(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, 0x81, u8::try_from(content.len()).unwrap()][..], content].concat()
}

/// The first request in these bytes, if all of it is there: its length, its number, and what it asks.
fn request(bytes: &[u8]) -> Option<(usize, u8, Asked)> {
    let (start, end) = extent(bytes)?;
    let message = bytes.get(start..end)?;
    let [2, 1, number, operation, ..] = *message else { panic!("{message:?}") };
    let (body, _) = extent(&message[3..]).unwrap();
    Some((end, number, Asked { operation, body: message[3 + body..].to_vec() }))
}

/// Where the content of a part begins and ends.
fn extent(bytes: &[u8]) -> Option<(usize, usize)> {
    let (more, length) = match *bytes.get(1)? {
        length @ ..0x80 => (0, usize::from(length)),
        more => {
            let more = usize::from(more & 0x7f);
            (more, bytes.get(2..2 + more)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
    };
    Some((2 + more, 2 + more + length))
}

fn named(config: LdapConfig) -> LdapConfig {
    config.with_names("uid={user},ou=people,dc=example").with_permissions(["read"])
}

fn found(config: LdapConfig) -> LdapConfig {
    searching(config).with_permissions(["read"])
}

/// Where a directory falls silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    First,
    Search,
    Password,
    Own,
}

impl Stage {
    fn of(asked: &Asked, has_service: bool) -> Self {
        match asked.operation {
            Asked::BIND if asked.is_login() => Self::Password,
            Asked::SEARCH if asked.has("ou=") => {
                if has_service {
                    Self::Search
                } else {
                    Self::Own
                }
            }
            _ => Self::First,
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn only_a_password_that_was_sent_and_not_answered_for_counts_and_once_it_is_taken_it_is_no_longer_not_now() {
    use Stage::{First, Own, Password, Search};
    let mut all = Vec::new();
    for silence in [Answer::Nothing, Answer::Cut] {
        for (has_service, stage, code) in [
            (true, First, "not-now"),
            (true, Search, "not-now"),
            (true, Password, "no-answer"),
            (false, First, "not-now"),
            (false, Password, "no-answer"),
            (false, Own, "application"),
        ] {
            all.push(tokio::spawn(async move {
                let (_folder, config) = directory(PATIENCE, move |asked| match Stage::of(asked, has_service) {
                    at if at == stage => silence,
                    Search if asked.has("alice") => ALICE,
                    _ => GOOD,
                });
                let config = if has_service { found(config) } else { named(config) };
                for user in ["alice", "mallory"] {
                    let reason = log_in(&LdapVerifier::new(config.clone()).unwrap(), user, PASSWORD).await.unwrap_err();
                    assert_eq!(reason.code(), code, "{has_service} {stage:?} {user}");
                    assert_eq!(reason.is_failure(), code != "not-now");
                }
            }));
        }
    }
    for one in all {
        one.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_service_account_no_code_that_may_mean_anything_names_somebody() {
    const DISABLED: &str = "80090308: LdapErr: DSID-0C09042A, comment: AcceptSecurityContext error, data 533, v3839";
    const UNWILLING: Answer = Answer::Code(53, "");
    for (of_alice, of_others, says) in [
        (Answer::Code(19, ""), WRONG, "unknown-user"),
        // It is not willing to let her in; or to check any password.
        (UNWILLING, WRONG, "unknown-user"),
        (UNWILLING, UNWILLING, "not-now"),
        (Answer::Code(51, ""), WRONG, "no-answer"),
        (Answer::Code(52, ""), WRONG, "no-answer"),
        (Answer::Code(49, DISABLED), WRONG, "account-disabled"),
    ] {
        let answer = move |asked: &Asked| match asked.is_login() {
            true => {
                if asked.has("alice") {
                    of_alice
                } else {
                    of_others
                }
            }
            false => GOOD,
        };
        let (_folder, config) = directory(Duration::from_secs(20), answer);
        let reason = log_in(&LdapVerifier::new(named(config)).unwrap(), "alice", b"alice's").await.unwrap_err();
        assert_eq!(reason.code(), says);
    }
    // With one it is known who she is.
    for (code, says) in [(19, Reason::AccountLocked), (53, Reason::AccountDisabled)] {
        let answer = move |asked: &Asked| match asked.is_login() {
            true => Answer::Code(code, ""),
            false => {
                if asked.has("alice") {
                    ALICE
                } else {
                    GOOD
                }
            }
        };
        let (_folder, config) = directory(Duration::from_secs(20), answer);
        assert_eq!(log_in(&LdapVerifier::new(found(config)).unwrap(), "alice", PASSWORD).await, Err(says));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_asks_what_logins_ask_and_finds_what_they_find() {
    // The service account may search below the base, and not read the entry that it is.
    let (_folder, config) = directory(Duration::from_secs(20), |asked| match asked.is_of_one() {
        true => Answer::Code(50, ""),
        false => {
            if asked.is_search_of("alice") {
                ALICE
            } else {
                GOOD
            }
        }
    });
    let verifier = LdapVerifier::new(found(config)).unwrap();
    verifier.check().await.unwrap();
    assert!(log_in(&verifier, "alice", PASSWORD).await.is_ok());
    // It refers to another directory, which is not followed.
    let (_folder, config) = directory(Duration::from_secs(20), |asked| match asked.is_search_of("ou=people") {
        true => Answer::Code(10, ""),
        false => GOOD,
    });
    let verifier = LdapVerifier::new(found(config)).unwrap();
    assert!(matches!(verifier.check().await, Err(LdapError::Refused(_))));
    assert!(matches!(log_in(&verifier, "alice", PASSWORD).await, Err(Reason::NotNow(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_gives_some_of_what_there_is_lets_nobody_in_by_that() {
    const CUT: u8 = 4;
    for (people, groups, says) in [
        (ALICE, GOOD, None),
        // As many as were asked for, of more.
        (Answer::Entries(&["alice", "ALICE"], CUT), GOOD, Some("application")),
        // It gives one at a time: the other may be alice, too.
        (Answer::Entries(&["alice"], CUT), GOOD, Some("not-now")),
        (ALICE, Answer::Entries(&["a group"], CUT), Some("not-now")),
        (ALICE, Answer::Entries(&[], CUT), Some("not-now")),
    ] {
        let (_folder, config) = directory(Duration::from_secs(20), move |asked| match asked.operation {
            Asked::SEARCH => {
                if asked.has("ou=groups") {
                    groups
                } else {
                    people
                }
            }
            _ => GOOD,
        });
        let verifier = LdapVerifier::new(found(config)).unwrap();
        let logged_in = log_in(&verifier, "alice", PASSWORD).await;
        assert_eq!(logged_in.err().map(|reason| reason.code()), says);
        let returned = come_back(&verifier, "alice", CredentialKind::Password).await;
        assert_eq!(returned.err().map(|reason| reason.code()), says);
    }
}

/// Which requests are made for a login that is refused.
async fn requests(user: &str, people: Answer) -> Vec<(u8, bool)> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let (_folder, config) = directory(Duration::from_secs(20), move |asked| {
        if [Asked::BIND, Asked::SEARCH].contains(&asked.operation) {
            noted.lock().unwrap().push((asked.operation, asked.has("ou=groups")));
        }
        match asked.operation {
            Asked::SEARCH if asked.has("ou=groups") => GOOD,
            Asked::SEARCH => people,
            _ if asked.has("ou=people") => WRONG,
            _ => GOOD,
        }
    });
    let refused = log_in(&LdapVerifier::new(found(config)).unwrap(), user, b"guess").await.unwrap_err();
    assert!(refused.is_failure(), "{refused:?}");
    let asked = asked.lock().unwrap();
    asked.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_directory_has_of_a_name_a_login_that_is_refused_takes_the_same_requests() {
    let of_alice = requests("alice", ALICE).await;
    let all = [(Asked::BIND, false), (Asked::SEARCH, false), (Asked::SEARCH, true), (Asked::BIND, false)];
    assert_eq!(of_alice, all);
    for (user, people) in [
        ("mallory", GOOD),
        // Found by another attribute, or by a rule of the directory's, in which the name is not.
        ("bob@example.com", Answer::Entries(&["bob"], 0)),
        ("twins", Answer::Entries(&["twins", "TWINS"], 0)),
        // No password that could be anybody's.
        ("", GOOD),
    ] {
        assert_eq!(requests(user, people).await, of_alice, "{user:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_shows_no_more_what_it_has_shown_ends_no_session_within_the_grace() {
    type Entry = &'static [(&'static str, &'static str)];
    const WHOLE: Entry = &[("uid", "alice"), ("entryUUID", "1"), ("pwdChangedTime", "20260101000000Z")];
    const NO_TIME: Entry = &[("uid", "alice"), ("entryUUID", "1")];
    const NO_MARK: Entry = &[("uid", "alice"), ("pwdChangedTime", "20260101000000Z")];
    const NEITHER: Entry = &[("uid", "alice")];
    const CHANGED: Entry = &[("uid", "alice"), ("entryUUID", "1"), ("pwdChangedTime", "20260102000000Z")];
    let (shown, looks) = (Arc::new(Mutex::new(WHOLE)), Arc::new(AtomicUsize::new(0)));
    let (now, count) = (Arc::clone(&shown), Arc::clone(&looks));
    let (_folder, config) = directory(Duration::from_secs(20), move |asked| match asked.operation {
        Asked::SEARCH if !asked.has("ou=groups") => {
            count.fetch_add(1, SeqCst);
            Answer::Entry(*now.lock().unwrap())
        }
        _ => GOOD,
    });
    let server = ServerConfig::new(rustcrypto::provider()).with_refusal_floor(Duration::ZERO);
    let acceptor = Acceptor::new_async(server, server_key(), LdapVerifier::new(found(config)).unwrap());
    let acceptor = acceptor.with_recheck(Recheck::every(Duration::from_millis(50)));
    let (client, end) = UnixStream::pair().unwrap();
    let accepting = acceptor.clone();
    let served = tokio::spawn(async move {
        let mut session = accepting.accept(end, Context::new(source(1))).await.unwrap();
        let mut byte = [0; 1];
        loop {
            let echoed = async {
                session.read_exact(&mut byte).await?;
                session.write_all(&byte).await?;
                session.flush().await
            };
            if let Err(error) = echoed.await {
                return error;
            }
        }
    });
    let alice = Credential::Password { user: "alice", password: PASSWORD };
    let mut session = connector().connect(client, alice).await.unwrap();
    // A right to read is gone, or the address leads to a replica that has other attributes.
    for less in [NO_TIME, NO_MARK, NEITHER] {
        *shown.lock().unwrap() = less;
        until(async || {
            tokio::time::sleep(Duration::from_millis(10)).await;
            acceptor.counts().unconfirmed == 1
        })
        .await;
        // What is asked twice is asked twice.
        let before = looks.load(SeqCst);
        until(async || {
            tokio::time::sleep(Duration::from_millis(10)).await;
            looks.load(SeqCst) > before + 3
        })
        .await;
        let mut byte = [0; 1];
        session.write_all(&[7]).await.unwrap();
        session.read_exact(&mut byte).await.unwrap();
        *shown.lock().unwrap() = WHOLE;
        until(async || {
            tokio::time::sleep(Duration::from_millis(10)).await;
            acceptor.counts().unconfirmed == 0
        })
        .await;
    }
    *shown.lock().unwrap() = CHANGED;
    assert_eq!(session.read(&mut [0; 1]).await.unwrap(), 0, "another password ends it");
    let ended = served.await.unwrap();
    let ended = ended.get_ref().and_then(|error| error.downcast_ref::<Error>()).unwrap();
    assert_eq!(ended.code(), "credential-changed");
}

/// As those that delay the answer to a wrong password, and one that is away for a while.
#[tokio::test(flavor = "multi_thread")]
async fn guesses_that_a_directory_lets_wait_count_and_an_outage_costs_nobody_anything() {
    let is_away = Arc::new(AtomicBool::new(true));
    let away = Arc::clone(&is_away);
    let (_folder, config) = directory(PATIENCE, move |asked| match Stage::of(asked, false) {
        Stage::First if away.load(SeqCst) => Answer::Nothing,
        Stage::Password if asked.has("guess") => Answer::Nothing,
        Stage::Own => ALICE,
        _ => GOOD,
    });
    let config = named(config);
    const HOUR: Duration = Duration::from_secs(3600);
    let waits = |free| Waits::new(free, HOUR, HOUR);
    let penalties = Penalties::default().with_source(waits(8)).with_account(waits(10));
    let server = ServerConfig::new(rustcrypto::provider()).with_refusal_floor(Duration::ZERO);
    let server = server.with_handshake_timeout(Duration::from_secs(60));
    let acceptor = Acceptor::new_async(server, server_key(), LdapVerifier::new(config).unwrap());
    // However long eleven at once take.
    let acceptor = acceptor.with_bounds(Bounds::default().with_patience(Duration::from_secs(60)));
    let acceptor = acceptor.with_penalties(penalties);
    for number in 0..20 {
        assert_eq!(why(&acceptor, 1, "alice", PASSWORD).await, "not-now", "{number}");
    }
    is_away.store(false, SeqCst);
    let end = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let code = why(&acceptor, 1, "alice", PASSWORD).await;
        if code == "accepted" {
            break;
        }
        assert!(code == "not-now" && std::time::Instant::now() < end, "{code}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let guesses = (10..21).map(|from| {
        let acceptor = acceptor.clone();
        tokio::spawn(async move { why(&acceptor, from, "alice", b"guess").await })
    });
    for guess in guesses.collect::<Vec<_>>() {
        assert_eq!(guess.await.unwrap(), "no-answer");
    }
    assert_eq!(why(&acceptor, 30, "alice", PASSWORD).await, "penalty-account");
    assert_eq!(why(&acceptor, 1, "alice", PASSWORD).await, "accepted", "where she has logged in before");
}
