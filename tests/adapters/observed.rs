//! What an observer is told: one event for each connection, one more for the end of each session, and no secret in any.

use crate::elsewhere::{Elsewhere, remote};
use crate::ends::{
    Adapter, AsyncAdapter, Blocking, Session, accepting, acceptor, asking, client_config, config, connector,
    eventually, eventually_empty, failed, login, pair,
};
use crate::peer::{Challenged, Peer};
use crate::penalties::HOUR;
use crate::support::{ALICE, RSA2048, Scenario, TOKEN, verifier};
use countersign::events::{Decision, Named, Timings};
use countersign::{
    Acceptor, AsyncVerifier, Attempt, Bounds, ClientKey, Connector, Context, Credential, CredentialKind, Event,
    FactorAttempt, Form, Further, Grant, Penalties, Prompt, Reason, Server, ServerKeys, SigningKey, Source, TicketKeys,
    Verifier, Waits,
};
use std::io::{ErrorKind, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

for_every_adapter!(
    a_login_is_told_once_with_all_that_is_known_and_its_session_when_it_is_over,
    a_ticket_is_told_as_a_resumption_of_the_same_kind,
    a_refusal_is_told_with_its_reason_and_the_name_of_a_stranger_only_where_it_was_asked_for,
    whoever_comes_to_no_login_is_told_with_the_cause,
    a_login_that_did_not_open_is_told_without_anything_of_a_credential,
    an_observer_that_panics_changes_nothing,
    an_async_verifier_and_its_timings_are_told,
    factors_and_the_time_of_a_remote_key_are_told,
    a_session_whose_connection_was_reset_is_not_told_as_one_that_was_cut_here,
);

for_every_async_adapter!(a_login_that_is_dropped_is_told_as_abandoned);

/// The lines of an acceptor's events.
type Told = Arc<Mutex<Vec<String>>>;

fn observed(acceptor: Acceptor) -> (Acceptor, Told) {
    let told = Told::default();
    let lines = Arc::clone(&told);
    (acceptor.with_observer(move |event| lines.lock().unwrap().push(event.to_string())), told)
}

#[track_caller]
fn taken(told: &Told) -> Vec<String> {
    std::mem::take(&mut told.lock().unwrap())
}

fn field(line: &str, name: &str) -> Option<String> {
    let line = format!(" {line} ");
    let (_, rest) = line.split_once(&format!(" {name}="))?;
    Some(rest.split(' ').next().unwrap().trim_matches('"').to_owned())
}

fn a_login_is_told_once_with_all_that_is_known_and_its_session_when_it_is_over<A: Adapter>() {
    let keys = ServerKeys::from(RSA2048.server.clone()).with_any_name();
    let (acceptor, told) = observed(Acceptor::new(config(), keys, verifier));
    let connector = Connector::new(client_config(), RSA2048.trust().with_name("db.example").unwrap());
    let (client, server) = pair();
    let server = accepting::<A>(&acceptor, server, Context::from(client.local_addr().unwrap()));
    let peer = client.local_addr().unwrap().to_string();
    let mut client = A::connect(&connector, client, ALICE).unwrap();
    let mut server = server.join().unwrap().unwrap();
    let lines = taken(&told);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = &lines[0];
    let session = client.info().id().to_string();
    for (name, value) in [
        ("event", "login-accepted"),
        ("user", "alice"),
        ("peer", &peer),
        ("session", &session),
        ("server_name", "db.example"),
        ("key", &RSA2048.private.public_key().id().to_string()),
        ("suite", &client.info().suite().to_string()),
        ("credential", "password"),
        ("permissions", "read,write"),
        ("code", "ok"),
    ] {
        assert_eq!(field(line, name).as_deref(), Some(value), "{name} in {line}");
    }
    let ms = |name: &str| field(line, name).unwrap().parse::<f64>().unwrap();
    assert!(ms("rsa_ms") > 0.0 && ms("total_ms") >= ms("rsa_ms"), "{line}");
    // The counts are there without an observer, too.
    assert_eq!(acceptor.totals().iter().collect::<Vec<_>>(), [("login-accepted", "ok", 1)]);

    client.write_all(b"hello").unwrap();
    client.flush().unwrap();
    let mut room = [0; 5];
    server.read_exact(&mut room).unwrap();
    server.write_all(b"hi").unwrap();
    server.flush().unwrap();
    client.read_exact(&mut room[..2]).unwrap();
    client.close().unwrap();
    assert_eq!(server.read(&mut room).unwrap(), 0);
    assert_eq!(taken(&told), Vec::<String>::new());
    server.close().unwrap();
    drop(server);
    let lines = taken(&told);
    assert_eq!(lines.len(), 1, "{lines:?}");
    for (name, value) in [
        ("event", "session-ended"),
        ("user", "alice"),
        ("peer", &peer),
        ("session", &session),
        ("received", "5"),
        ("sent", "2"),
        ("code", "closed"),
    ] {
        assert_eq!(field(&lines[0], name).as_deref(), Some(value), "{name} in {lines:?}");
    }
    // One that is cut, and one that is let go.
    for (cut, code) in [(true, "truncated"), (false, "cut")] {
        let (client, server) = login::<A>(&acceptor, &connector, ALICE);
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        if cut {
            client.cut();
            assert!(server.read(&mut room).is_err());
        }
        drop(server);
        assert_eq!(acceptor.totals().with_code("session-ended", code), 1, "{code}");
    }
    // And one that one end alone has closed.
    for (is_ours, code) in [(true, "closed-by-us"), (false, "closed-by-peer")] {
        let (client, server) = login::<A>(&acceptor, &connector, ALICE);
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        if is_ours {
            server.close().unwrap();
        } else {
            client.close().unwrap();
            assert_eq!(server.read(&mut room).unwrap(), 0);
        }
        drop(server);
        assert_eq!(acceptor.totals().with_code("session-ended", code), 1, "{code}");
    }
}

/// Whoever looks for the cause would look at the application, and not at the way.
fn a_session_whose_connection_was_reset_is_not_told_as_one_that_was_cut_here<A: Adapter>() {
    for is_reading in [true, false] {
        let (acceptor, told) = observed(acceptor());
        let (client, server) = login::<A>(&acceptor, &connector(), ALICE);
        let (client, mut server) = (client.unwrap().into_tcp(), server.unwrap());
        server.write_all(b"never read").unwrap();
        server.flush().unwrap();
        // Whoever closes before all is read resets the connection.
        client.peek(&mut [0]).unwrap();
        drop(client);
        let error = loop {
            let done = if is_reading { server.read(&mut [0]) } else { server.write(b"more") };
            if let Err(error) = done.and_then(|_| server.flush()) {
                break error;
            }
        };
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::ConnectionAborted];
        assert!(kinds.contains(&error.kind()) && error.get_ref().is_none(), "{error:?}");
        drop(server);
        let line = taken(&told).remove(1);
        assert_eq!(field(&line, "event").as_deref(), Some("session-ended"), "{line}");
        assert_eq!(field(&line, "code").as_deref(), Some("truncated"), "{line}");
    }
}

fn factors_and_the_time_of_a_remote_key_are_told<A: Adapter>() {
    let (elsewhere, asked) = Elsewhere::new();
    let (acceptor, told) = observed(Acceptor::new(config(), remote(&elsewhere), AsksForACode));
    std::thread::spawn(move || asked.into_iter().for_each(|go| go.send(()).unwrap_or_default()));
    let connector = connector().with_factors(|_| Some(b"code".to_vec()));
    let (client, server) = login::<A>(&acceptor, &connector, ALICE);
    let line = taken(&told).remove(0);
    assert_eq!((field(&line, "factors").as_deref(), field(&line, "client_key")), (Some("1"), None), "{line}");
    assert!(field(&line, "rsa_ms").unwrap().parse::<f64>().unwrap() > 0.0, "{line}");
    drop((client.unwrap(), server.unwrap()));
}

#[test]
fn the_client_s_key_that_logged_in_is_told() {
    let config = config().with_credential_kinds(&[CredentialKind::Key]).unwrap();
    let (acceptor, told) = observed(Acceptor::new(config, RSA2048.server.clone(), AsksForACode));
    let signing = SigningKey::from_ed25519(&[7; 32]).unwrap();
    let key = &ClientKey::load(&signing, crate::support::provider()).unwrap();
    let (client, server) = login::<Blocking>(&acceptor, &connector(), Credential::Key { user: "alice", key });
    let line = taken(&told).remove(0);
    let id = signing.public_key().id().to_string();
    assert_eq!((field(&line, "factors"), field(&line, "client_key")), (None, Some(id)), "{line}");
    drop((client.unwrap(), server.unwrap()));
}

/// Asks whoever has a password for a code.
struct AsksForACode;

impl Verifier for AsksForACode {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        match attempt.credential() {
            Credential::Key { .. } => Ok(crate::support::grant()),
            _ => verifier(attempt),
        }
    }

    fn further(&self, further: &Further<'_>) -> Result<Option<Prompt>, Reason> {
        let asks = further.kind() == CredentialKind::Password && further.step() == 0;
        Ok(asks.then(|| Prompt::new(Form::Code, "the code").unwrap()))
    }

    fn check_factor(&self, _: &FactorAttempt<'_>) -> Result<(), Reason> {
        Ok(())
    }
}

fn a_ticket_is_told_as_a_resumption_of_the_same_kind<A: Adapter>() {
    let tickets = Arc::new(TicketKeys::new(crate::support::provider(), Duration::from_secs(3600)));
    let acceptor =
        Acceptor::new(config().with_tickets(tickets), RSA2048.server.clone(), crate::logins::Returns::default());
    let (acceptor, told) = observed(acceptor);
    let (client, server) = login::<A>(&acceptor, &connector(), ALICE);
    let ticket = client.unwrap().info().ticket().cloned().unwrap();
    drop(server);
    taken(&told);
    let (client, server) = pair();
    let server = accepting::<A>(&acceptor, server, Context::uncounted());
    let client = A::resume(&connector(), client, &ticket, ALICE).unwrap();
    let server = server.join().unwrap().unwrap();
    assert!(client.info().is_resumed());
    let lines = taken(&told);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("event=login-resumed user=\"alice\" source=\"uncounted\""), "{lines:?}");
    assert_eq!(field(&lines[0], "credential").as_deref(), Some("password"));
    assert_eq!(field(&lines[0], "rsa_ms"), None, "{lines:?}");
    drop((client, server));
}

fn a_refusal_is_told_with_its_reason_and_the_name_of_a_stranger_only_where_it_was_asked_for<A: Adapter>() {
    let (acceptor, told) = observed(acceptor());
    let user = |user, password| Credential::Password { user, password };
    let mut tags = Vec::new();
    for (credential, code, named) in [
        (user("alice", &b"hunter2"[..]), "wrong-password", Some("alice")),
        (user("correct horse", b"hunter2"), "unknown-user", None),
        (user("correct horse", b"other"), "unknown-user", None),
        (user("battery staple", b"hunter2"), "unknown-user", None),
        (Credential::Token(b"hunter2"), "unknown-token", None),
    ] {
        drop(failed::<A>(&acceptor, &connector(), credential));
        let lines = taken(&told);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line = &lines[0];
        assert!(line.starts_with("event=login-refused ") && line.contains(&format!(" code={code} ")), "{line}");
        assert_eq!(field(line, "user").as_deref(), named, "{line}");
        for secret in ["hunter2", "correct", "staple"] {
            assert!(!line.contains(secret), "{line}");
        }
        tags.push(field(line, "user_tag"));
    }
    assert!(tags[0].is_none() && tags[4].is_none() && tags[1].is_some());
    assert!(tags[1] == tags[2] && tags[1] != tags[3], "{tags:?}");
    assert_eq!(acceptor.totals().of("login-refused"), 5);
    assert_eq!(acceptor.totals().with_code("login-refused", "unknown-user"), 3);
    drop(failed::<A>(&acceptor.clone().with_unknown_names(), &connector(), user("correct horse", b"hunter2")));
    let line = taken(&told).remove(0);
    assert!(line.contains("unknown_user=\"correct horse\"") && !line.contains("hunter2"), "{line}");
    // Counted with the others.
    assert_eq!(acceptor.totals().of("login-refused"), 6);
}

fn whoever_comes_to_no_login_is_told_with_the_cause<A: Adapter>() {
    let (acceptor, told) = observed(asking(verifier).with_bounds(Bounds::default().with_handshakes_per_source(1)));
    let next = |code: &str| {
        eventually("it is told", || !told.lock().unwrap().is_empty());
        let lines = taken(&told);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(field(&lines[0], "code").as_deref(), Some(code), "{lines:?}");
        field(&lines[0], "event").unwrap()
    };
    // Nothing comes.
    let (client, server) = pair();
    let server = accepting::<A>(&acceptor, server, Source::named("one"));
    drop(client);
    drop(server.join().unwrap());
    assert_eq!(next("disconnected"), "handshake-failed");
    // Something else comes.
    let (mut client, server) = pair();
    let server = accepting::<A>(&acceptor, server, Source::named("one"));
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    drop(server.join().unwrap());
    assert_eq!(next("unknown-frame"), "handshake-failed");
    // Too many come.
    let (_first, server) = pair();
    let first = accepting::<A>(&acceptor, server, Source::named("one"));
    eventually("it is in", || acceptor.counts().handshakes == 1);
    let (_second, server) = pair();
    let second = accepting::<A>(&acceptor, server, Source::named("one"));
    drop(first.join().unwrap());
    assert_eq!(next("made-way"), "turned-away");
    // It stops.
    acceptor.stop();
    drop(second.join().unwrap());
    assert_eq!(next("stopping"), "turned-away");
    let (_client, server) = pair();
    drop(accepting::<A>(&acceptor, server, Source::named("one")).join().unwrap());
    assert_eq!(next("stopping"), "turned-away");
    assert_eq!(acceptor.totals().with_code("turned-away", "stopping"), 2);
    // A client that does not trust the key.
    let (acceptor, told) = observed(self::acceptor().with_limiter(|_, _| Err(Reason::NotAdmitted("not today"))));
    drop(failed::<A>(&acceptor, &connector(), ALICE));
    let line = taken(&told).remove(0);
    assert!(line.contains("code=not-admitted reason=\"not admitted: not today\""), "{line}");
}

fn a_login_that_did_not_open_is_told_without_anything_of_a_credential<A: Adapter>() {
    let (acceptor, told) = observed(acceptor());
    let (client, server) = pair();
    let server = accepting::<A>(&acceptor, server, Source::uncounted());
    let (mut peer, scenario) = (Peer::new(client), Scenario::new());
    let Challenged { challenge, state, .. } = peer.hello(&scenario);
    let (mut login, _) = scenario.log_in(state, &challenge).unwrap();
    *login.last_mut().unwrap() ^= 1;
    peer.send(&login);
    drop(server.join().unwrap());
    let line = taken(&told).remove(0);
    assert!(line.starts_with("event=login-refused ") && line.contains(" code=not-opened "), "{line}");
    for name in ["credential", "client_key", "user", "unknown_user", "user_tag"] {
        assert_eq!(field(&line, name), None, "{name} in {line}");
    }
}

/// Whoever reads the log, or is a server themselves, can't try names against its tags.
#[test]
fn the_tag_of_a_name_is_another_in_each_process() {
    let tag = || {
        let (acceptor, told) = observed(acceptor());
        let stranger = Credential::Password { user: "correct horse", password: b"hunter2" };
        drop(failed::<Blocking>(&acceptor, &connector(), stranger));
        field(&taken(&told).remove(0), "user_tag").unwrap()
    };
    // Each acceptor has a key of its own.
    assert_ne!(tag(), tag());
}

#[test]
fn an_address_of_ipv4_is_told_as_one_however_it_came() {
    let (acceptor, told) = observed(acceptor());
    let (client, server) = pair();
    let peer: std::net::SocketAddr = "[::ffff:192.0.2.7]:4711".parse().unwrap();
    let server = accepting::<Blocking>(&acceptor, server, Context::from(peer));
    drop(Blocking::connect(&connector(), client, ALICE).unwrap());
    drop(server.join().unwrap().unwrap());
    for line in taken(&told) {
        assert_eq!(field(&line, "peer").as_deref(), Some("192.0.2.7:4711"), "{line}");
    }
}

#[test]
fn a_name_can_not_look_like_more_of_a_line_than_one_field() {
    let names = |_: &Attempt<'_>| Ok(Grant::new("a\" code=ok \\ \u{202e}", [""; 0]).unwrap());
    let (acceptor, told) = observed(asking(names));
    let user = "b\" user=\"root";
    let credential = Credential::Password { user, password: b"password" };
    let (client, server) = login::<Blocking>(&acceptor, &connector(), credential);
    drop((client.unwrap(), server.unwrap()));
    let refusing = |_: &Attempt<'_>| Err(Reason::UnknownUser);
    let (refusing, refused) = observed(asking(refusing).with_unknown_names());
    drop(failed::<Blocking>(&refusing, &connector(), credential));
    let accepted = taken(&told);
    assert_eq!(accepted.len(), 2);
    for line in accepted {
        assert!(line.contains(r#" user="a\" code=ok \\ \u{202e}" "#), "{line}");
    }
    let line = taken(&refused).remove(0);
    assert!(line.contains(r#" unknown_user="b\" user=\"root" "#), "{line}");
}

/// Who counts lines by what they cost a stranger, as `countersign serve` does, must not take a wrong password for one that is cheap.
#[test]
fn what_a_stranger_can_cause_at_no_cost_is_told_from_what_costs_a_login() {
    let told: Arc<Mutex<Vec<(&str, bool)>>> = Arc::default();
    let lines = Arc::clone(&told);
    let observer = move |event: &Event<'_>| lines.lock().unwrap().push((event.code(), event.is_cheap()));
    let acceptor = acceptor().with_observer(observer);
    drop(failed::<Blocking>(&acceptor, &connector(), Credential::Token(b"wrong")));
    let (client, server) = login::<Blocking>(&acceptor, &connector(), ALICE);
    drop((client.unwrap(), server.unwrap()));
    let (mut client, server) = pair();
    let server = accepting::<Blocking>(&acceptor, server, Source::uncounted());
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    drop(server.join().unwrap());
    let (client, server) = pair();
    let server = accepting::<Blocking>(&acceptor, server, Source::uncounted());
    let mut peer = Peer::new(client);
    peer.hello(&Scenario::new());
    peer.send(b"no login");
    drop(server.join().unwrap());
    // Nothing but the shape of a login.
    let (client, server) = pair();
    let server = accepting::<Blocking>(&acceptor, server, Source::uncounted());
    let (mut peer, scenario) = (Peer::new(client), Scenario::new());
    let challenged = peer.hello(&scenario);
    let mut login = scenario.credential(ALICE).log_in(challenged.state, &challenged.challenge).unwrap().0;
    *login.last_mut().unwrap() ^= 1;
    peer.send(&login);
    drop(server.join().unwrap());
    let limited = acceptor.clone().with_limiter(|_, _| Err(Reason::NotAdmitted("not today")));
    drop(failed::<Blocking>(&limited, &connector(), ALICE));
    // A source that waits, whose hello costs nothing to send and nothing to refuse.
    let waits = acceptor.clone().with_penalties(Penalties::default().with_source(Waits::new(0, HOUR, HOUR)));
    for _ in 0..2 {
        let (client, server) = pair();
        let server = accepting::<Blocking>(&waits, server, Source::named("guesser"));
        drop(Blocking::connect(&connector(), client, Credential::Token(b"wrong")));
        drop(server.join().unwrap());
    }
    acceptor.stop();
    let (_client, server) = pair();
    drop(accepting::<Blocking>(&acceptor, server, Source::uncounted()).join().unwrap());
    let expected = [
        ("unknown-token", false),
        ("ok", false),
        ("cut", false),
        ("unknown-frame", true),
        ("malformed", true),
        ("not-opened", true),
        ("not-admitted", true),
        ("unknown-token", false),
        ("penalty-source", true),
        ("stopping", true),
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}

fn an_observer_that_panics_changes_nothing<A: Adapter>() {
    let acceptor = acceptor().with_observer(|_| panic!("on purpose"));
    let (client, server) = login::<A>(&acceptor, &connector(), Credential::Token(TOKEN));
    drop((client.unwrap(), server.unwrap()));
    drop(failed::<A>(&acceptor, &connector(), Credential::Token(b"wrong")));
    eventually_empty(&acceptor);
    let totals = acceptor.totals();
    assert_eq!((totals.of("login-accepted"), totals.of("login-refused"), totals.of("session-ended")), (1, 1, 1));
}

/// Takes its time.
struct Slow;

impl AsyncVerifier for Slow {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        let work = || std::thread::sleep(Duration::from_millis(20));
        attempt.compute(work).await?;
        verifier(attempt)
    }
}

fn an_async_verifier_and_its_timings_are_told<A: Adapter>() {
    let kinds = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&kinds);
    let acceptor =
        Acceptor::new_async(config(), RSA2048.server.clone(), Slow).with_observer(move |event: &Event<'_>| {
            if let Decision::Accepted(_) = event.decision {
                assert_eq!(event.user, Named::Nobody, "a token names nobody");
                told.lock().unwrap().push((event.credential, event.timings));
            }
        });
    // Whether the hello is sealed or the login.
    for trust in [RSA2048.trust(), Server::key(RSA2048.private.public_key().clone())] {
        let (client, server) = login::<A>(&acceptor, &Connector::new(client_config(), trust), Credential::Token(TOKEN));
        drop((client.unwrap(), server.unwrap()));
    }
    let kinds = kinds.lock().unwrap();
    assert_eq!(kinds.len(), 2);
    for (kind, Timings { waited, verified, opened, .. }) in &*kinds {
        assert_eq!(*kind, Some(CredentialKind::Token));
        assert!(*verified >= Duration::from_millis(20) && !opened.is_zero() && !waited.is_zero());
    }
}

fn a_login_that_is_dropped_is_told_as_abandoned<A: AsyncAdapter>() {
    let (acceptor, told) = observed(acceptor());
    let (_client, server) = pair();
    let counted = acceptor.clone();
    let in_place = async move {
        while counted.counts().handshakes == 0 {
            tokio::task::yield_now().await;
        }
    };
    assert!(A::accept_until(&acceptor, server, in_place).is_none());
    let lines = taken(&told);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("event=handshake-failed") && lines[0].contains("code=abandoned"), "{lines:?}");
}
