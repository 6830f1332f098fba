//! Logins: what each end is told, whatever the other does.

use crate::ends::{
    Adapter, Session, accepting, acceptor, asking, client_config, config, connector, disconnected, eventually_empty,
    failed, login, pair, protocol, refused, session,
};
use crate::peer::{Peer, VERDICT};
use crate::support::{ALICE, Counting, OTHER2048, RSA2048, Scenario, TOKEN, at, grant, provider, verifier, wire};
use countersign::crypto::{Decrypted, Decrypting, RemoteDecrypt, RemoteSign, Signing};
use countersign::frame::{FrameError, FrameType, split};
use countersign::{
    Acceptor, AlreadyUsed, Answer, AsyncTrust, AsyncVerifier, Attempt, Bounds, ChannelBinding, ClientKey, Connector,
    Context, Credential, CredentialKind, Differs, Error, Grant, KeyExchange, LoginError, MemoryTickets, Misuse,
    Question, Reason, Recheck, Returning, Server, ServerConfig, ServerKey, ServerKeys, SigningKey, Source, Suite,
    Ticket, TicketKeys, TicketMemory, TicketUse, TrustLevel, UnixTime, Using, Verifier,
};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

for_every_adapter!(
    a_login_gives_both_ends_the_same_session,
    tokens_and_every_suite_log_in,
    a_refusal_arrives_at_the_client_and_its_reason_stays_at_the_server,
    a_key_that_is_not_trusted_gets_nothing,
    a_server_that_leaves_out_a_key_the_client_does_not_list_gets_nothing,
    a_suite_under_the_floor_gets_nothing_even_under_a_known_key,
    a_client_without_a_credential_of_a_kind_the_server_takes_sends_none,
    a_login_that_the_limiter_turns_away_never_reaches_the_private_key,
    the_server_chooses_its_key_by_the_name_that_the_client_wants,
    the_verifier_is_told_the_connection,
    a_peer_that_leaves_is_reported_with_the_frame_that_was_awaited,
    a_peer_that_says_nothing_is_given_up_at_the_deadline,
    a_peer_of_another_protocol_is_told_nothing,
    what_is_no_login_gets_the_refusal_even_where_more_was_sent_than_read,
    whoever_is_turned_away_at_its_hello_is_told_even_where_more_was_sent_than_read,
    a_known_key_is_not_sent_and_works_all_the_same,
    the_session_is_not_read_past_by_the_handshake,
    a_private_key_that_answers_later_opens_logins,
    a_client_s_key_that_signs_elsewhere_logs_in_when_it_has_answered,
    a_user_who_decides_on_a_key_later_is_waited_for,
    an_async_verifier_is_asked_and_computes_on_the_acceptors_threads,
    a_ticket_takes_the_place_of_the_credential,
    whose_account_has_changed_since_their_ticket_is_asked_for_the_credential,
    whoever_the_limiter_turns_away_is_not_let_in_by_a_ticket,
    a_verifier_that_blocks_or_panics_over_a_ticket_holds_up_nobody,
    an_async_verifier_that_panics_or_hangs_over_a_ticket_holds_up_nobody,
    a_resumption_is_no_session_before_its_client_has_spoken,
    a_recorded_hello_is_not_answered_twice,
    a_client_that_has_the_key_whole_makes_the_server_prove_itself,
    a_server_without_the_private_key_proves_nothing_and_gets_no_credential,
    a_server_that_has_another_key_that_is_trusted_proves_itself_at_the_second_connection,
    nobody_dials_again_for_a_proof_that_was_asked_for_and_left_out,
    both_ends_see_that_they_mean_different_connections_before_a_credential_leaves,
    what_a_login_is_bound_to_stays_when_the_connection_is_told_of,
    a_name_that_the_server_does_not_go_by_is_turned_away,
    a_store_that_is_away_says_not_now_to_whoever_asks,
    the_answer_of_a_module_shows_no_earlier_than_a_floor,
    a_memory_of_tickets_that_panics_or_hangs_leads_to_the_full_login,
    every_adapter_understands_every_other,
    a_stopped_server_lets_nobody_in_and_answers_who_has_arrived,
);

fn a_login_gives_both_ends_the_same_session<A: Adapter>() {
    let (client, server) = session::<A>(ALICE);
    let facts = |end: &A::Session| {
        let mut key = [0; 32];
        end.info().export("a test", b"", &mut key).unwrap();
        (end.info().login_grant().clone(), end.info().suite(), end.info().id(), key)
    };
    assert_eq!(facts(&client), facts(&server));
    assert_eq!((client.info().login_grant(), client.info().suite()), (&grant(), Suite::X25519_AES_256_GCM));
}

fn tokens_and_every_suite_log_in<A: Adapter>() {
    for suite in Suite::ALL {
        // Without ML-KEM in the provider there are suites without it.
        let Ok(config) = config().with_suites(&[suite]) else { continue };
        let acceptor = Acceptor::new(config, RSA2048.server.clone(), verifier);
        let server = RSA2048.trust().with_floor(suite.key_exchange);
        let connector = Connector::new(client_config().with_suites(&[suite]).unwrap(), server);
        let (client, server) = login::<A>(&acceptor, &connector, Credential::Token(TOKEN));
        assert_eq!(
            (client.unwrap().info().suite(), server.unwrap().info().login_grant().principal()),
            (suite, "robot")
        );
    }
}

fn a_refusal_arrives_at_the_client_and_its_reason_stays_at_the_server<A: Adapter>() {
    let acceptor = acceptor();
    let curious = acceptor.clone().with_unknown_names();
    for (acceptor, credential, user, reason) in [
        (&acceptor, Credential::Password { user: "alice", password: b"wrong" }, Some("alice"), Reason::WrongPassword),
        // The name that nobody has may be a password.
        (&acceptor, Credential::Password { user: "bob", password: b"password" }, None, Reason::UnknownUser),
        (&curious, Credential::Password { user: "bob", password: b"password" }, Some("bob"), Reason::UnknownUser),
        (&acceptor, Credential::Token(b"wrong"), None, Reason::UnknownToken),
    ] {
        let (client, server) = failed::<A>(acceptor, &connector(), credential);
        assert_eq!(protocol(client), Error::Refused);
        assert_eq!(refused(server), (user.map(str::to_owned), reason));
    }
    eventually_empty(&acceptor);
}

/// A server of one's own, and what a client that logs in to it sends after its hello.
fn sent_after_the_hello<A: Adapter>(connector: &Connector, answer: impl FnOnce(&[u8]) -> Vec<u8>) -> (Error, Vec<u8>) {
    let (client, server) = pair();
    let connector = connector.clone();
    let client = std::thread::spawn(move || A::connect(&connector, client, ALICE).map(drop).unwrap_err());
    let mut peer = Peer::new(server);
    let hello = peer.receive(FrameType::ClientHello);
    peer.send(&answer(&hello));
    let rest = peer.rest();
    (protocol(client.join().unwrap()), rest)
}

fn a_key_that_is_not_trusted_gets_nothing<A: Adapter>() {
    let own = || Server::key(OTHER2048.private.public_key().clone());
    for trusted in [OTHER2048.trust(), own(), own().or(OTHER2048.trust())] {
        let connector = Connector::new(client_config(), trusted);
        let (error, sent) = sent_after_the_hello::<A>(&connector, |hello| Scenario::new().answer(hello).unwrap().0);
        assert!(matches!(error, Error::Untrusted(why) if why.key() == RSA2048.private.public_key().id()));
        assert_eq!(sent, b"", "nothing secret, and nothing else");
        let (client, server) = failed::<A>(&acceptor(), &connector, ALICE);
        assert!(matches!(protocol(client), Error::Untrusted(_)));
        assert_eq!(disconnected(server), FrameType::ClientLogin);
    }
}

fn a_server_that_leaves_out_a_key_the_client_does_not_list_gets_nothing<A: Adapter>() {
    for trusted in [RSA2048.trust(), Server::key(OTHER2048.private.public_key().clone()).or(RSA2048.trust())] {
        let connector = Connector::new(client_config(), trusted);
        let (error, sent) = sent_after_the_hello::<A>(&connector, |hello| {
            let challenge = Scenario::new().answer(hello).unwrap().0;
            wire::edit(&challenge, |hello: &mut wire::ServerHello| hello.spki.clear())
        });
        assert_eq!((error, &sent[..]), (countersign::Violation::KeyNotSent.into(), &b""[..]));
    }
    // And one that sends a trusted key's name with a key of its own.
    let connector = Connector::new(client_config(), RSA2048.trust());
    let (error, sent) = sent_after_the_hello::<A>(&connector, |hello| {
        let challenge = Scenario::new().key(&OTHER2048).answer(hello).unwrap().0;
        let id = *RSA2048.private.public_key().id().as_bytes();
        wire::edit(&challenge, |hello: &mut wire::ServerHello| hello.key_id = id)
    });
    assert_eq!((error, &sent[..]), (countersign::Violation::KeyIdMismatch.into(), &b""[..]));
}

fn a_suite_under_the_floor_gets_nothing_even_under_a_known_key<A: Adapter>() {
    let under = Suite::RSA_AES_256_GCM;
    let known = || Server::key(RSA2048.private.public_key().clone());
    // The higher floor of two goes for the keys of both.
    let lowered = || known().with_floor(KeyExchange::Rsa);
    for trusted in [RSA2048.trust(), known(), lowered().or(OTHER2048.trust()), OTHER2048.trust().or(lowered())] {
        let connector = Connector::new(client_config().with_suites(&[under]).unwrap(), trusted);
        let scenario = Scenario::new().server_suites(&[under]);
        let (error, sent) = sent_after_the_hello::<A>(&connector, |hello| scenario.answer(hello).unwrap().0);
        assert_eq!((error, &sent[..]), (Error::UnderFloor(under), &b""[..]));
    }
}

fn a_client_without_a_credential_of_a_kind_the_server_takes_sends_none<A: Adapter>() {
    let tokens = config().with_credential_kinds(&[CredentialKind::Token]).unwrap();
    let acceptor = Acceptor::new(tokens, RSA2048.server.clone(), verifier);
    let (client, server) = failed::<A>(&acceptor, &connector(), ALICE);
    assert_eq!(protocol(client), Error::KindNotTaken(CredentialKind::Password));
    assert_eq!(disconnected(server), FrameType::ClientLogin);
}

fn a_login_that_the_limiter_turns_away_never_reaches_the_private_key<A: Adapter>() {
    let counting = Arc::new(Counting::default());
    let key = ServerKey::with_decrypt(RSA2048.private.public_key().clone(), counting.clone());
    let never = |_: &Attempt<'_>| -> Result<Grant, Reason> { panic!("must not be asked") };
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&asked);
    let keys = ServerKeys::from(key).with_any_name();
    let acceptor = Acceptor::new(config(), keys, never);
    let limited = acceptor.clone().with_limiter(move |context, name| {
        told.lock().unwrap().push((context.source().clone(), name.to_owned()));
        Err(Reason::NotAdmitted("not on a Sunday"))
    });
    let panicking = acceptor.with_limiter(|_, _| panic!("on purpose"));
    // Whether or not there is something sealed in its hello.
    for trust in [RSA2048.trust(), Server::key(RSA2048.private.public_key().clone())] {
        let connector = Connector::new(client_config(), trust.with_name("db.example").unwrap());
        let (client, server) = failed::<A>(&limited, &connector, ALICE);
        assert!(matches!(protocol(client), Error::Busy { retry_after: 2..=4 }));
        assert_eq!(refused(server), (None, Reason::NotAdmitted("not on a Sunday")));
        let (client, server) = failed::<A>(&panicking, &connector, ALICE);
        assert!(matches!(protocol(client), Error::Busy { .. }));
        assert_eq!(refused(server).1.code(), "not-admitted");
    }
    assert_eq!(counting.count(), 0);
    let asked_once = (Source::uncounted(), "db.example".to_owned());
    assert_eq!(*asked.lock().unwrap(), [asked_once.clone(), asked_once]);
}

fn the_server_chooses_its_key_by_the_name_that_the_client_wants<A: Adapter>() {
    let keys = ServerKeys::from(RSA2048.server.clone());
    let keys = keys.with_name("db.example", RSA2048.server.clone()).unwrap();
    let keys = keys.with_name("other.example", OTHER2048.server.clone()).unwrap();
    assert_eq!(
        keys.clone().with_name("db.example", OTHER2048.server.clone()).unwrap_err(),
        Misuse::Duplicate("the server names")
    );
    for bad in ["", "two words"] {
        let refused = keys.clone().with_name(bad, OTHER2048.server.clone()).unwrap_err();
        assert_eq!(refused, Misuse::BadInput("the server name"));
    }
    let acceptor = Acceptor::new(config(), keys, verifier);
    let wanting = |name: &str, key: &crate::support::TestKey| {
        let server = Server::key(key.private.public_key().clone()).with_name(name).unwrap();
        login::<A>(&acceptor, &Connector::new(client_config(), server), ALICE)
    };
    for (name, key) in [("db.example", &RSA2048), ("other.example", &OTHER2048), ("", &RSA2048)] {
        let (client, server) = wanting(name, key);
        assert!(client.is_ok() && server.is_ok(), "{name}");
    }
    let (client, server) = wanting("unknown.example", &RSA2048);
    assert_eq!(disconnected(client.map(drop).unwrap_err()), FrameType::ServerHello);
    assert_eq!(protocol(server.map(drop).unwrap_err()), Error::NoServerKey);
    eventually_empty(&acceptor);
}

fn the_verifier_is_told_the_connection<A: Adapter>() {
    let (tell, told) = channel();
    let keys = ServerKeys::from(RSA2048.server.clone()).with_name("db.example", RSA2048.server.clone()).unwrap();
    let acceptor = Acceptor::new(config(), keys, move |attempt: &Attempt<'_>| {
        let context = attempt.context();
        let value = context.value::<&str>().copied();
        tell.send((context.peer(), value, attempt.server_name().to_owned())).unwrap();
        verifier(attempt)
    });
    let (client, server) = pair();
    let peer: SocketAddr = client.local_addr().unwrap();
    let server = accepting::<A>(&acceptor, server, Context::from(peer).with_value("listener 2"));
    let named = Connector::new(client_config(), RSA2048.trust().with_name("db.example").unwrap());
    drop(A::connect(&named, client, ALICE).unwrap());
    drop(server.join().unwrap().unwrap());
    assert_eq!(told.recv().unwrap(), (Some(peer), Some("listener 2"), "db.example".to_owned()));
}

fn a_peer_that_leaves_is_reported_with_the_frame_that_was_awaited<A: Adapter>() {
    let scenario = Scenario::new();
    let acceptor = acceptor();
    let hello = scenario.await_challenge().0;
    // The client leaves.
    let left_after = |leave: &dyn Fn(&mut Peer)| {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Context::uncounted());
        leave(&mut Peer::new(client));
        disconnected(server.join().unwrap().map(drop).unwrap_err())
    };
    assert_eq!(left_after(&|_| ()), FrameType::ClientHello);
    assert_eq!(left_after(&|peer| peer.send(&hello[..20])), FrameType::ClientHello);
    assert_eq!(left_after(&|peer| drop(peer.hello(&scenario))), FrameType::ClientLogin);
    let half = |peer: &mut Peer| {
        let challenged = peer.hello(&scenario);
        let (login, _) = scenario.log_in(challenged.state, &challenged.challenge).unwrap();
        peer.send(&login[..login.len() - 1]);
    };
    assert_eq!(left_after(&half), FrameType::ClientLogin);
    eventually_empty(&acceptor);
    // The server leaves.
    let leaves_after = |leave: &dyn Fn(&mut Peer)| {
        let (client, server) = pair();
        let client = std::thread::spawn(move || A::connect(&connector(), client, ALICE).map(drop).unwrap_err());
        leave(&mut Peer::new(server));
        disconnected(client.join().unwrap())
    };
    let after_hello = |peer: &mut Peer| drop(peer.receive(FrameType::ClientHello));
    assert_eq!(leaves_after(&after_hello), FrameType::ServerHello);
    let after_login = |peer: &mut Peer| {
        let hello = peer.receive(FrameType::ClientHello);
        peer.send(&scenario.answer(&hello).unwrap().0);
        peer.receive(FrameType::ClientLogin);
    };
    assert_eq!(leaves_after(&after_login), FrameType::ServerVerdict);
}

fn a_peer_that_says_nothing_is_given_up_at_the_deadline<A: Adapter>() {
    let short = Duration::from_millis(50);
    let acceptor = Acceptor::new(config().with_handshake_timeout(short), RSA2048.server.clone(), verifier);
    // In each case the silent peer stays until the other has given up.
    let (silent, server) = pair();
    let error = A::accept(&acceptor, server, Context::uncounted()).map(drop).unwrap_err();
    assert_eq!(protocol(error), Error::DeadlinePassed);
    drop(silent);

    let (client, server) = pair();
    let mut silent = Peer::new(client);
    silent.send(&Scenario::new().await_challenge().0);
    let error = A::accept(&acceptor, server, Context::uncounted()).map(drop).unwrap_err();
    assert_eq!(protocol(error), Error::DeadlinePassed);
    // The challenge at the most, and nothing after it.
    let answer = silent.rest();
    assert!(answer.is_empty() || split(&answer).is_ok_and(|(kind, _)| kind == FrameType::ServerHello));
    eventually_empty(&acceptor);

    let hurried = Connector::new(client_config().with_handshake_timeout(short), RSA2048.trust());
    let (client, silent) = pair();
    let error = A::connect(&hurried, client, ALICE).map(drop).unwrap_err();
    assert_eq!(protocol(error), Error::DeadlinePassed);
    drop(silent);
}

fn a_peer_of_another_protocol_is_told_nothing<A: Adapter>() {
    let (client, server) = pair();
    let server = accepting::<A>(&acceptor(), server, Context::uncounted());
    let mut http = Peer::new(client);
    http.send(b"GET / HTTP/1.1\r\n\r\n");
    http.end_sending();
    assert_eq!(http.rest(), b"");
    assert_eq!(protocol(server.join().unwrap().map(drop).unwrap_err()), FrameError::UnknownType(b'G').into());

    let (client, server) = pair();
    let client = std::thread::spawn(move || A::connect(&connector(), client, ALICE).map(drop).unwrap_err());
    let mut ssh = Peer::new(server);
    ssh.send(b"SSH-2.0-x\r\n");
    ssh.receive(FrameType::ClientHello);
    assert_eq!(ssh.rest(), b"", "no login");
    assert_eq!(protocol(client.join().unwrap()), FrameError::UnknownType(b'S').into());
}

fn what_is_no_login_gets_the_refusal_even_where_more_was_sent_than_read<A: Adapter>() {
    let acceptor = acceptor();
    for garbage in [&[9; 1][..], &[9; 100_000], &[1; 5000], &[3, 0xff, 0xff, 0, 0, 0], &[3, 0, 1, 0]] {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Context::uncounted());
        let mut peer = Peer::new(client);
        peer.hello(&Scenario::new());
        peer.send(garbage);
        let verdict = peer.rest_without_reset();
        assert_eq!((verdict.len(), verdict[0]), (VERDICT, FrameType::ServerVerdict.byte()));
        drop(peer);
        assert!(matches!(refused(server.join().unwrap().map(drop).unwrap_err()), (None, Reason::Malformed(_))));
    }
    eventually_empty(&acceptor);
}

fn whoever_is_turned_away_at_its_hello_is_told_even_where_more_was_sent_than_read<A: Adapter>() {
    let busy = acceptor().with_limiter(|_, _| Err(Reason::NotAdmitted("not today")));
    let other = Acceptor::new(config().with_prologue(b"other").unwrap(), RSA2048.server.clone(), verifier);
    for (acceptor, answer) in [(busy, FrameType::Busy), (other, FrameType::ServerHello)] {
        for behind in [1, 5000] {
            let (client, server) = pair();
            let server = accepting::<A>(&acceptor, server, Context::uncounted());
            let mut peer = Peer::new(client);
            // In one piece, so that it is there before the answer is.
            peer.send(&[&Scenario::new().await_challenge().0[..], &vec![9; behind]].concat());
            let (kind, _) = split(&peer.rest_without_reset()).unwrap();
            assert_eq!(kind, answer, "{behind} bytes behind it");
            drop(peer);
            server.join().unwrap().map(drop).unwrap_err();
        }
        eventually_empty(&acceptor);
    }
}

fn a_known_key_is_not_sent_and_works_all_the_same<A: Adapter>() {
    let known = Server::key(RSA2048.private.public_key().clone());
    let second = Server::key(OTHER2048.private.public_key().clone()).or(known.clone()).without_proof();
    for server in [known, second] {
        let connector = Connector::new(client_config(), server);
        let (client, server) = pair();
        let client = std::thread::spawn(move || A::connect(&connector, client, ALICE).map(drop));
        let mut peer = Peer::new(server);
        let hello = peer.receive(FrameType::ClientHello);
        let scenario = Scenario::new();
        let (challenge, state) = scenario.answer(&hello).unwrap();
        assert!(challenge.len() < 200, "the key's own bytes are left out");
        peer.send(&challenge);
        let login = peer.receive(FrameType::ClientLogin);
        peer.send(&scenario.decide(state, &login).unwrap().frame);
        client.join().unwrap().unwrap();
    }
}

/// The server's first record is on the wire together with its verdict.
fn the_session_is_not_read_past_by_the_handshake<A: Adapter>() {
    let (client, server) = pair();
    let client = std::thread::spawn(move || {
        let mut out = Vec::new();
        A::connect(&connector(), client, ALICE).unwrap().read_to_end(&mut out).unwrap();
        out
    });
    let (scenario, mut peer) = (Scenario::new(), Peer::new(server));
    let hello = peer.receive(FrameType::ClientHello);
    let (challenge, state) = scenario.answer(&hello).unwrap();
    peer.send(&challenge);
    let login = peer.receive(FrameType::ClientLogin);
    let mut accepted = scenario.decide(state, &login).unwrap();
    let mut out = accepted.frame;
    accepted.session.sealer.seal(b"hello", &mut out).unwrap();
    accepted.session.sealer.close(&mut out).unwrap();
    peer.send(&out);
    assert_eq!(client.join().unwrap(), b"hello");
    // And the other way: the client's first records come in one piece with each other, right behind its login's verdict.
    let (client, server) = pair();
    let server = accepting::<A>(&acceptor(), server, Context::uncounted());
    let mut session = Peer::new(client);
    let mut ours = session.finish_login(&scenario, ALICE).unwrap();
    let mut records = Vec::new();
    ours.sealer.seal(b"one ", &mut records).unwrap();
    ours.sealer.seal(b"two", &mut records).unwrap();
    ours.sealer.close(&mut records).unwrap();
    session.send(&records);
    let mut out = String::new();
    server.join().unwrap().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(out, "one two");
}

/// A key service that takes logins two at a time, from a queue.
struct Batches(Mutex<std::sync::mpsc::Sender<(Vec<u8>, oneshot::Sender<Decrypted>)>>);

impl RemoteDecrypt for Batches {
    fn decrypt(&self, ciphertext: Vec<u8>) -> Decrypting {
        let (answer, answered) = oneshot::channel();
        self.0.lock().unwrap().send((ciphertext, answer)).unwrap();
        Box::pin(async move { answered.await.unwrap_or_else(|_| Decrypted::failed()) })
    }
}

fn a_private_key_that_answers_later_opens_logins<A: Adapter>() {
    let (queue, waiting) = channel::<(Vec<u8>, oneshot::Sender<Decrypted>)>();
    let service = std::thread::spawn(move || {
        let private = RSA2048.decryptor();
        let mut rng = Scenario::new().rng("key service");
        let mut batches = 0;
        while let (Ok(first), Ok(second)) = (waiting.recv(), waiting.recv()) {
            batches += 1;
            for (ciphertext, answer) in [second, first] {
                drop(answer.send(private.decrypt(&ciphertext, &mut rng)));
            }
        }
        batches
    });
    let key =
        ServerKey::with_remote_decrypt(RSA2048.private.public_key().clone(), Arc::new(Batches(Mutex::new(queue))));
    let acceptor = Acceptor::new(config(), key, verifier);
    let wrong = Credential::Password { user: "alice", password: b"wrong" };
    let ours = acceptor.clone();
    let good = std::thread::spawn(move || {
        let (client, server) = login::<A>(&ours, &connector(), ALICE);
        (client.is_ok(), server.is_ok())
    });
    let (client, server) = failed::<A>(&acceptor, &connector(), wrong);
    assert_eq!(good.join().unwrap(), (true, true));
    assert_eq!((protocol(client), refused(server).1), (Error::Refused, Reason::WrongPassword));
    eventually_empty(&acceptor);
    drop(acceptor);
    assert_eq!(service.join().unwrap(), 1);
}

/// What another thread gives, later.
async fn later<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || drop(tell.send(work())));
    told.await.unwrap()
}

/// An agent of keys.
struct Elsewhere(ClientKey);

impl RemoteSign for Elsewhere {
    fn sign(&self, message: Vec<u8>) -> Signing {
        let key = self.0.clone();
        Box::pin(later(move || key.sign(&message, &mut Scenario::new().rng("agent"))))
    }
}

fn a_client_s_key_that_signs_elsewhere_logs_in_when_it_has_answered<A: Adapter>() {
    let key = SigningKey::from_ed25519(&[7; 32]).unwrap();
    let public = key.public_key().clone();
    let known = public.clone();
    let verifier = move |attempt: &Attempt<'_>| match attempt.credential() {
        Credential::Key { user: "alice", key } if *key.public_key() == known => Ok(grant()),
        _ => Err(Reason::UnknownKey),
    };
    let config = config().with_credential_kinds(&[CredentialKind::Key]).unwrap();
    let acceptor = Acceptor::new(config, RSA2048.server.clone(), verifier);
    let agent = Elsewhere(ClientKey::load(&key, provider()).unwrap());
    let key = ClientKey::with_remote_sign(public, Arc::new(agent));
    let (client, server) = login::<A>(&acceptor, &connector(), Credential::Key { user: "alice", key: &key });
    let (client, server) = (client.unwrap(), server.unwrap());
    assert_eq!((client.info().id(), client.info().login_grant()), (server.info().id(), &grant()));
}

/// Somebody who compares a fingerprint.
struct Asked;

impl AsyncTrust for Asked {
    async fn decide(&self, question: &Question<'_>) -> Answer {
        let id = question.key().id();
        let is_theirs = later(move || id == RSA2048.private.public_key().id()).await;
        assert!(is_theirs);
        Answer::Trusted(TrustLevel::Verified)
    }
}

fn a_user_who_decides_on_a_key_later_is_waited_for<A: Adapter>() {
    let connector = Connector::new(client_config(), Server::trusting_async(Asked));
    let (client, server) = login::<A>(&acceptor(), &connector, ALICE);
    assert_eq!(client.unwrap().info().id(), server.unwrap().info().id());
}

struct Asynchronous;

impl AsyncVerifier for Asynchronous {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        // Somewhere else, and later.
        let (tell, told) = oneshot::channel();
        std::thread::spawn(move || tell.send(std::thread::current().id()).unwrap());
        let elsewhere = told.await.unwrap();
        let name = attempt.compute(|| std::thread::current().name().map(str::to_owned)).await?;
        assert_eq!(name.as_deref(), Some("countersign"));
        assert_ne!(std::thread::current().id(), elsewhere);
        let panicked: Result<(), _> = attempt.compute(|| panic!("on purpose")).await;
        assert_eq!(panicked, Err(Reason::VerifierFailed));
        verifier(attempt)
    }
}

fn an_async_verifier_is_asked_and_computes_on_the_acceptors_threads<A: Adapter>() {
    let acceptor = Acceptor::new_async(config(), RSA2048.server.clone(), Asynchronous);
    let (client, server) = login::<A>(&acceptor, &connector(), ALICE);
    assert_eq!(client.unwrap().info().id(), server.unwrap().info().id());
    let wrong = Credential::Password { user: "alice", password: b"wrong" };
    let (client, server) = failed::<A>(&acceptor, &connector(), wrong);
    assert_eq!((protocol(client), refused(server).1), (Error::Refused, Reason::WrongPassword));
}

/// Knows alice by her password, and later by her ticket; counts.
#[derive(Default)]
pub struct Returns {
    pub verified: AtomicUsize,
    pub resumed: AtomicUsize,
}

impl Verifier for Returns {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self.verified.fetch_add(1, Ordering::SeqCst);
        verifier(attempt).map(|grant| grant.with_epoch(1))
    }

    fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        self.resumed.fetch_add(1, Ordering::SeqCst);
        assert_eq!((returning.principal(), returning.server_name()), ("alice", ""));
        Ok(grant().with_epoch(1))
    }
}

pub fn with_tickets(config: ServerConfig) -> ServerConfig {
    config.with_tickets(Arc::new(TicketKeys::new(provider(), Duration::from_secs(3600))))
}

fn a_ticket_takes_the_place_of_the_credential<A: Adapter>() {
    let returns = Arc::new(Returns::default());
    let acceptor = Acceptor::new(with_tickets(config()), RSA2048.server.clone(), Arc::clone(&returns))
        .with_recheck(Recheck::never());
    let connector = connector().with_tickets(MemoryTickets::new());
    for round in 0..3 {
        let (client, server) = login::<A>(&acceptor, &connector, ALICE);
        let (client, server) = (client.unwrap(), server.unwrap());
        assert_eq!((client.info().id(), client.info().is_resumed()), (server.info().id(), round > 0));
        assert!(client.info().ticket().is_some());
    }
    assert_eq!((returns.verified.load(Ordering::SeqCst), returns.resumed.load(Ordering::SeqCst)), (1, 2));
    // A token has no name to keep a ticket under.
    let (client, server) = login::<A>(&acceptor, &connector, Credential::Token(TOKEN));
    assert!(!client.unwrap().info().is_resumed() && server.is_ok());
    // A server that does not know the ticket asks for the credential.
    let elsewhere = Acceptor::new(with_tickets(config()), RSA2048.server.clone(), Arc::clone(&returns));
    let (client, server) = login::<A>(&elsewhere, &connector, ALICE);
    assert!(!client.unwrap().info().is_resumed() && server.is_ok());
}

/// Knows alice, whose account may change.
#[derive(Clone, Default)]
struct Changing(Arc<AtomicUsize>);

impl Changing {
    fn current(&self, grant: Grant) -> Grant {
        grant.with_epoch(self.0.load(Ordering::SeqCst) as u64)
    }
}

impl Verifier for Changing {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        verifier(attempt).map(|grant| self.current(grant))
    }

    fn resume(&self, _: &Returning<'_>) -> Result<Grant, Reason> {
        Ok(self.current(grant()))
    }
}

fn whose_account_has_changed_since_their_ticket_is_asked_for_the_credential<A: Adapter>() {
    let account = Changing::default();
    let acceptor = Acceptor::new(with_tickets(config()), RSA2048.server.clone(), account.clone());
    let acceptor = acceptor.with_recheck(Recheck::never());
    let connector = connector().with_tickets(MemoryTickets::new());
    for (epoch, is_resumed) in [(1, false), (1, true), (2, false), (2, true)] {
        account.0.store(epoch, Ordering::SeqCst);
        let (client, server) = login::<A>(&acceptor, &connector, ALICE);
        assert_eq!(client.unwrap().info().is_resumed(), is_resumed);
        drop(server.unwrap());
    }
}

fn whoever_the_limiter_turns_away_is_not_let_in_by_a_ticket<A: Adapter>() {
    let returns = Arc::new(Returns::default());
    let open = Arc::new(AtomicUsize::new(1));
    let is_open = Arc::clone(&open);
    let acceptor = Acceptor::new(with_tickets(config()), RSA2048.server.clone(), Arc::clone(&returns))
        .with_recheck(Recheck::never());
    let acceptor = acceptor.with_limiter(move |_, _| match is_open.load(Ordering::SeqCst) {
        0 => Err(Reason::NotAdmitted("closed")),
        _ => Ok(()),
    });
    let connector = connector().with_tickets(MemoryTickets::new());
    let (client, server) = login::<A>(&acceptor, &connector, ALICE);
    assert!(client.is_ok() && server.is_ok());
    open.store(0, Ordering::SeqCst);
    let (client, server) = failed::<A>(&acceptor, &connector, ALICE);
    assert!(matches!(protocol(client), Error::Busy { .. }), "and it is told why it was turned away");
    assert_eq!(refused(server).1, Reason::NotAdmitted("closed"));
    assert_eq!((returns.verified.load(Ordering::SeqCst), returns.resumed.load(Ordering::SeqCst)), (1, 0));
}

/// Asked about a ticket, says on which thread, and panics.
struct PanicsOverTickets(Mutex<std::sync::mpsc::Sender<Option<String>>>);

impl Verifier for PanicsOverTickets {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        verifier(attempt).map(|grant| grant.with_epoch(1))
    }

    fn resume(&self, _: &Returning<'_>) -> Result<Grant, Reason> {
        self.0.lock().unwrap().send(std::thread::current().name().map(str::to_owned)).unwrap();
        panic!("on purpose");
    }
}

fn a_verifier_that_blocks_or_panics_over_a_ticket_holds_up_nobody<A: Adapter>() {
    let (tell, told) = channel();
    let acceptor = Acceptor::new(with_tickets(config()), RSA2048.server.clone(), PanicsOverTickets(Mutex::new(tell)))
        .with_recheck(Recheck::never());
    let connector = connector().with_tickets(MemoryTickets::new());
    drop(login::<A>(&acceptor, &connector, ALICE));
    let (client, server) = login::<A>(&acceptor, &connector, ALICE);
    // It showed its credential in the end.
    assert!(!client.unwrap().info().is_resumed() && server.is_ok());
    assert_eq!(told.recv().unwrap().as_deref(), Some("countersign"), "on a thread that may block");
}

/// Asked about a ticket, panics or has no answer.
struct NoAnswerAboutTickets {
    panics: bool,
}

impl AsyncVerifier for NoAnswerAboutTickets {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        verifier(attempt).map(|grant| grant.with_epoch(1))
    }

    async fn resume(&self, _: &Returning<'_>) -> Result<Grant, Reason> {
        if self.panics {
            panic!("on purpose");
        }
        std::future::pending().await
    }
}

fn an_async_verifier_that_panics_or_hangs_over_a_ticket_holds_up_nobody<A: Adapter>() {
    for panics in [true, false] {
        // So long that only who hangs gets there.
        let config = with_tickets(config()).with_handshake_timeout(Duration::from_secs(if panics { 600 } else { 3 }));
        let acceptor = Acceptor::new_async(config, RSA2048.server.clone(), NoAnswerAboutTickets { panics });
        let acceptor = acceptor.with_recheck(Recheck::never());
        let hello = hello_with(ticket::<A>(&acceptor));
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Context::uncounted());
        let mut peer = Peer::new(client);
        peer.send(&hello);
        if panics {
            // It may show its credential.
            peer.receive(FrameType::ServerHello);
            drop(peer);
            let error = server.join().unwrap().map(drop).unwrap_err();
            assert!(matches!(error, LoginError::Disconnected { awaited: FrameType::ClientLogin }), "{error:?}");
        } else {
            // Its time is over by then.
            let error = server.join().unwrap().map(drop).unwrap_err();
            assert!(matches!(error, LoginError::Protocol(Error::DeadlinePassed)), "{error:?}");
        }
        eventually_empty(&acceptor);
    }
}

/// A login with a ticket, and the ticket for the next.
pub fn ticket<A: Adapter>(acceptor: &Acceptor) -> countersign::Ticket {
    let (client, server) = login::<A>(acceptor, &connector(), ALICE);
    drop(server.unwrap());
    client.unwrap().info().ticket().unwrap().clone()
}

/// A client's hello with this ticket.
pub fn hello_with(ticket: Ticket) -> Vec<u8> {
    let now = UnixTime::from_system(std::time::SystemTime::now());
    let trusted = RSA2048.trust().resume(ticket, "alice", now).unwrap();
    let (config, none, mut rng) = (Arc::new(client_config()), ChannelBinding::none(), Scenario::new().rng("resuming"));
    countersign::client::resume(&config, &RSA2048.trust(), &none, trusted, &mut rng, at(0)).unwrap().0
}

/// The same with a secret that is sealed to the server's key, which has to prove itself.
pub fn hello_with_proof(ticket: Ticket) -> Vec<u8> {
    let now = UnixTime::from_system(std::time::SystemTime::now());
    let known = Server::key(RSA2048.private.public_key().clone());
    let trusted = known.resume(ticket, "alice", now).unwrap();
    let config = Arc::new(client_config().with_proof_at_resumption());
    let (none, mut rng) = (ChannelBinding::none(), Scenario::new().rng("resuming with a proof"));
    countersign::client::resume(&config, &known, &none, trusted, &mut rng, at(0)).unwrap().0
}

fn a_resumption_is_no_session_before_its_client_has_spoken<A: Adapter>() {
    // Every use is the first, so that a recording is answered, too.
    let keys = TicketKeys::new(provider(), Duration::from_secs(3600)).with_unlimited_reuse();
    let acceptor = Acceptor::new(config().with_tickets(keys), RSA2048.server.clone(), Returns::default());
    let hello = hello_with(ticket::<A>(&acceptor));
    let lies: [&dyn Fn(&mut Peer); 4] = [
        // Gone.
        &|_| {},
        // A Confirm of its own making.
        &|replayer| replayer.send(&crate::support::frame(FrameType::Confirm.byte(), &[7; 16])),
        // A record in its place.
        &|replayer| replayer.send(&crate::support::frame(FrameType::Data.byte(), &[7; 40])),
        // A login.
        &|replayer| replayer.send(&crate::support::frame(FrameType::ClientLogin.byte(), &[7; 535])),
    ];
    for lie in lies {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Context::uncounted());
        let mut replayer = Peer::new(client);
        replayer.send(&hello);
        replayer.receive(FrameType::ServerResumption);
        lie(&mut replayer);
        replayer.end_sending();
        assert!(server.join().unwrap().is_err(), "three replays of a recorded hello must not give one session");
        assert_eq!(replayer.rest(), b"");
        assert_eq!(acceptor.counts().sessions, 0);
    }
}

fn a_recorded_hello_is_not_answered_twice<A: Adapter>() {
    let acceptor = Acceptor::new(with_tickets(config()), RSA2048.server.clone(), Returns::default());
    let hello = hello_with(ticket::<A>(&acceptor));
    for answer in [FrameType::ServerResumption, FrameType::ServerHello, FrameType::ServerHello] {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Context::uncounted());
        let mut replayer = Peer::new(client);
        replayer.send(&hello);
        replayer.receive(answer);
        drop(replayer);
        assert!(server.join().unwrap().is_err());
    }
}

fn a_client_that_has_the_key_whole_makes_the_server_prove_itself<A: Adapter>() {
    let connector = Connector::new(client_config(), Server::key(RSA2048.private.public_key().clone()));
    let (client, server) = login::<A>(&acceptor(), &connector, ALICE);
    let (client, server) = (client.unwrap(), server.unwrap());
    assert!(client.info().is_proved() && !server.info().is_proved());
    assert_eq!(client.info().server_key(), Some(RSA2048.private.public_key()));
    // From a fingerprint alone it can't, and is told the key, to keep it for the next time.
    let (client, _) = login::<A>(&acceptor(), &self::connector(), ALICE);
    let client = client.unwrap();
    assert!(!client.info().is_proved());
    assert_eq!(client.info().server_key(), Some(RSA2048.private.public_key()));
    // A refusal is as much of one.
    let wrong = Credential::Password { user: "alice", password: b"wrong" };
    let (client, server) = failed::<A>(&acceptor(), &connector, wrong);
    assert_eq!(protocol(client), Error::Refused);
    assert_eq!(refused(server).1, Reason::WrongPassword);
}

fn a_server_without_the_private_key_proves_nothing_and_gets_no_credential<A: Adapter>() {
    let forger = ServerKey::public_only(RSA2048.private.public_key().clone());
    let acceptor =
        Acceptor::new(config(), forger, |_: &Attempt<'_>| -> Result<Grant, Reason> { panic!("a credential has left") });
    let connector = Connector::new(client_config(), Server::key(RSA2048.private.public_key().clone()));
    let (client, server) = failed::<A>(&acceptor, &connector, ALICE);
    assert_eq!(protocol(client), Error::ProofNotAuthentic);
    assert!(matches!(server, LoginError::Disconnected { awaited: FrameType::ClientLogin }));
}

fn a_server_that_has_another_key_that_is_trusted_proves_itself_at_the_second_connection<A: Adapter>() {
    let server = Server::key(OTHER2048.private.public_key().clone()).or(RSA2048.trust());
    let connector = Connector::new(client_config(), server);
    // On one connection there is nothing to be done about it, and nothing secret is sent.
    let (client, server) = failed::<A>(&acceptor(), &connector, ALICE);
    assert_eq!(protocol(client), Error::NoProof(RSA2048.private.public_key().id()));
    assert!(matches!(server, LoginError::Disconnected { awaited: FrameType::ClientLogin }));
    // With leave to dial again there is. The same where a ticket is not taken.
    let (dials, session) = dial::<A>(&acceptor(), &connector, None);
    assert_eq!((dials, session.unwrap().info().is_proved()), (2, true));
    let tickets = Acceptor::new(with_tickets(config()), RSA2048.server.clone(), Returns::default());
    let connector = Connector::new(client_config(), Server::key(RSA2048.private.public_key().clone()));
    let ticket = ticket::<A>(&tickets);
    let (dials, session) = dial::<A>(&tickets, &connector, Some(&ticket));
    assert_eq!((dials, session.unwrap().info().is_resumed()), (1, true));
    let (dials, session) = dial::<A>(&tickets, &connector, Some(&ticket));
    let session = session.unwrap();
    assert_eq!((dials, session.info().is_resumed(), session.info().is_proved()), (2, false, true));
    // Where there is one connection, no ticket is shown that may lead to a login without a proof, unless a proof comes with it.
    for (config, resumes) in [(client_config(), false), (client_config().with_proof_at_resumption(), true)] {
        let known = Server::key(RSA2048.private.public_key().clone());
        let connector = Connector::new(config, known).with_tickets(MemoryTickets::new());
        for round in 0..2 {
            let (client, server) = login::<A>(&tickets, &connector, ALICE);
            let (client, server) = (client.unwrap(), server.unwrap());
            assert!(client.info().is_proved());
            assert_eq!(client.info().is_resumed(), resumes && round == 1);
            assert_eq!(server.info().is_resumed(), client.info().is_resumed());
        }
    }
    // Nobody dials for ever.
    let liar = Acceptor::new(config(), OTHER2048.server.clone(), verifier);
    let connector = Connector::new(client_config(), Server::key(RSA2048.private.public_key().clone()));
    let (dials, session) = dial::<A>(&liar, &connector, None);
    assert_eq!(dials, 1);
    let untrusted = session.map(drop).unwrap_err();
    assert_eq!(protocol(untrusted), Error::Untrusted(crate::support::untrusted(OTHER2048.private.public_key().id())));
}

fn nobody_dials_again_for_a_proof_that_was_asked_for_and_left_out<A: Adapter>() {
    let connector = Connector::new(client_config(), Server::key(RSA2048.private.public_key().clone()));
    let relays = Arc::new(Mutex::new(Vec::new()));
    let made = Arc::clone(&relays);
    // Somebody in the middle takes the proof out of the answer of the very server that is meant.
    let dial = move || {
        let ((client, victim), (relay, server)) = (pair(), pair());
        let server = accepting::<A>(&acceptor(), server, Context::uncounted());
        made.lock().unwrap().push(std::thread::spawn(move || {
            let (mut victim, mut relay) = (Peer::new(victim), Peer::new(relay));
            relay.send(&victim.receive(FrameType::ClientHello));
            let strip = |hello: &mut wire::ServerHello| {
                assert_eq!(hello.proof.len(), 32);
                hello.proof.clear();
            };
            victim.send(&wire::edit(&relay.receive(FrameType::ServerHello), strip));
            let login = victim.rest();
            drop(relay);
            assert!(server.join().unwrap().is_err());
            login
        }));
        client
    };
    let error = A::dial(&connector, Arc::new(dial), None, ALICE).map(drop).unwrap_err();
    assert_eq!(protocol(error), Error::NoProof(RSA2048.private.public_key().id()));
    let relays = std::mem::take(&mut *relays.lock().unwrap());
    assert_eq!(relays.len(), 1, "once more would be no better");
    relays.into_iter().for_each(|relay| assert_eq!(relay.join().unwrap(), b"", "nothing secret is sent"));
}

/// A login that may dial as often as it wants: how often it did, and the client's end.
fn dial<A: Adapter>(
    acceptor: &Acceptor,
    connector: &Connector,
    ticket: Option<&Ticket>,
) -> (usize, Result<A::Session, LoginError>) {
    let servers = Arc::new(Mutex::new(Vec::new()));
    let (acceptor, made) = (acceptor.clone(), Arc::clone(&servers));
    let dial = move || {
        let (client, server) = pair();
        made.lock().unwrap().push(accepting::<A>(&acceptor, server, Context::uncounted()));
        client
    };
    let session = A::dial(connector, Arc::new(dial), ticket, ALICE);
    let servers = std::mem::take(&mut *servers.lock().unwrap());
    let dials = servers.len();
    servers.into_iter().for_each(|server| drop(server.join().unwrap()));
    (dials, session)
}

fn both_ends_see_that_they_mean_different_connections_before_a_credential_leaves<A: Adapter>() {
    let verifier = |_: &Attempt<'_>| -> Result<Grant, Reason> { panic!("a credential has left") };
    for (prologue, binding, differs) in [
        (&b"other"[..], ChannelBinding::none(), Differs::Prologue),
        (b"", ChannelBinding::tls_exporter([7; 32]), Differs::Binding),
        (b"other", ChannelBinding::tls_exporter([7; 32]), Differs::Both),
    ] {
        for server in [RSA2048.trust(), Server::key(RSA2048.private.public_key().clone())] {
            let acceptor = Acceptor::new(config().with_prologue(prologue).unwrap(), RSA2048.server.clone(), verifier);
            let connector = Connector::new(client_config(), server).with_binding(binding.clone());
            let (client, server) = failed::<A>(&acceptor, &connector, ALICE);
            assert_eq!(protocol(client), Error::DifferentContext(differs));
            assert_eq!(protocol(server), Error::DifferentContext(differs));
        }
    }
}

fn what_a_login_is_bound_to_stays_when_the_connection_is_told_of<A: Adapter>() {
    let acceptor = Acceptor::new(config(), RSA2048.server.clone(), verifier);
    let [one, other] = [7, 8].map(|byte| ChannelBinding::tls_exporter([byte; 32]));
    let bound = |by: &dyn Fn(Connector) -> Connector| {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Context::uncounted().with_binding(one.clone()));
        let client = A::connect(&by(connector()), client, ALICE);
        (client.is_ok(), server.join().unwrap().is_ok())
    };
    let here = || Source::named("here");
    assert_eq!(bound(&|connector| connector.with_binding(one.clone()).with_context(here())), (true, true));
    assert_eq!(bound(&|connector| connector.with_context(here()).with_binding(one.clone())), (true, true));
    let context = |binding: &ChannelBinding| Context::new(here()).with_binding(binding.clone());
    assert_eq!(bound(&|connector| connector.with_binding(other.clone()).with_context(context(&one))), (true, true));
    assert_eq!(bound(&|connector| connector.with_binding(one.clone()).with_context(context(&other))), (false, false));
    // A clone for the next connection is bound to nothing where that is said.
    let unbound = |connector: Connector| connector.with_binding(one.clone()).with_binding(ChannelBinding::none());
    assert_eq!(bound(&unbound), (false, false));
}

fn a_name_that_the_server_does_not_go_by_is_turned_away<A: Adapter>() {
    let named = |keys: ServerKeys, name: &str| {
        let acceptor = Acceptor::new(config(), keys, verifier);
        let connector = Connector::new(client_config(), RSA2048.trust().with_name(name).unwrap());
        login::<A>(&acceptor, &connector, ALICE)
    };
    let one = || ServerKeys::from(RSA2048.server.clone());
    let two = || one().with_name("db.example", RSA2048.server.clone()).unwrap();
    for (keys, name, is_welcome) in [
        (one(), "", true),
        (one(), "db.example", false),
        (two(), "db.example", true),
        (two(), "", true),
        (two(), "other.example", false),
        (one().with_any_name(), "other.example", true),
    ] {
        let (client, server) = named(keys, name);
        assert_eq!((client.is_ok(), server.is_ok()), (is_welcome, is_welcome), "{name}");
        if let Err(error) = server {
            assert_eq!(protocol(error), Error::NoServerKey);
        }
    }
}

fn the_answer_of_a_module_shows_no_earlier_than_a_floor<A: Adapter>() {
    let floor = Duration::from_millis(300);
    let private = RSA2048.decryptor();
    let module = ServerKey::with_decrypt(RSA2048.private.public_key().clone(), private);
    for (key, config) in [
        (module.clone(), config().with_refusal_floor(floor)),
        (module, config().with_answer_floor(floor)),
        (RSA2048.server.clone(), config().with_answer_floor(floor)),
    ] {
        let acceptor = Acceptor::new(with_tickets(config), key, Returns::default());
        let with_ticket = hello_with_proof(ticket::<A>(&acceptor));
        let (hello, _) = Scenario::new().known_key().await_challenge();
        for (hello, answer) in [(hello, FrameType::ServerHello), (with_ticket, FrameType::ServerResumption)] {
            let (client, server) = pair();
            let server = accepting::<A>(&acceptor, server, Context::uncounted());
            let mut peer = Peer::new(client);
            let before = std::time::Instant::now();
            peer.send(&hello);
            peer.receive(answer);
            assert!(before.elapsed() >= floor, "{answer}");
            drop(peer);
            assert!(server.join().unwrap().is_err());
        }
    }
}

/// A memory of used tickets that is in trouble.
#[derive(Clone, Copy)]
enum Trouble {
    Panics,
    Hangs,
    Away,
}

impl TicketMemory for Trouble {
    fn use_once<'a>(&'a self, _: &'a TicketUse) -> Using<'a> {
        Box::pin(async move {
            match self {
                Self::Panics => panic!("on purpose"),
                Self::Hangs => std::future::pending().await,
                Self::Away => Err(AlreadyUsed::Away),
            }
        })
    }
}

fn a_memory_of_tickets_that_panics_or_hangs_leads_to_the_full_login<A: Adapter>() {
    for trouble in [Trouble::Panics, Trouble::Hangs, Trouble::Away] {
        let keys = TicketKeys::new(provider(), Duration::from_secs(3600)).with_shared_memory(trouble);
        let acceptor = Acceptor::new(config().with_tickets(keys), RSA2048.server.clone(), Returns::default());
        let acceptor = acceptor.with_bounds(Bounds::default().with_patience(Duration::from_secs(2)));
        let connector = connector().with_tickets(MemoryTickets::new());
        for _ in 0..2 {
            let (client, server) = login::<A>(&acceptor, &connector, ALICE);
            assert!(!client.unwrap().info().is_resumed() && server.is_ok());
        }
    }
}

fn a_store_that_is_away_says_not_now_to_whoever_asks<A: Adapter>() {
    let acceptor = Acceptor::new(config(), RSA2048.server.clone(), |_: &Attempt<'_>| Err(Reason::NotNow("away")));
    for server in [RSA2048.trust(), Server::key(RSA2048.private.public_key().clone())] {
        let connector = Connector::new(client_config(), server);
        for user in ["alice", "nobody"] {
            let (client, server) = failed::<A>(&acceptor, &connector, Credential::Password { user, password: b"x" });
            assert_eq!(protocol(client), Error::NotNow);
            assert_eq!(refused(server).1, Reason::NotNow("away"));
        }
    }
}

/// What an echo says to "ping".
fn echo(mut session: impl Session) -> Vec<u8> {
    let mut out = Vec::new();
    session.read_to_end(&mut out).unwrap();
    session.write_all(&out).unwrap();
    session.close().unwrap();
    out
}

fn speaks_with<A: Adapter, B: Adapter>() {
    let (client, server) = pair();
    let server = accepting::<B>(&acceptor(), server, Context::uncounted());
    let mut client = A::connect(&connector(), client, ALICE).unwrap();
    client.write_all(b"ping").unwrap();
    client.close().unwrap();
    assert_eq!(echo(server.join().unwrap().unwrap()), b"ping");
    let mut out = Vec::new();
    client.read_to_end(&mut out).unwrap();
    assert_eq!(out, b"ping");
}

fn every_adapter_understands_every_other<A: Adapter>() {
    speaks_with::<A, crate::ends::Blocking>();
    speaks_with::<A, crate::ends::Events>();
    #[cfg(feature = "tokio")]
    speaks_with::<A, crate::ends::Tokio>();
}

fn a_stopped_server_lets_nobody_in_and_answers_who_has_arrived<A: Adapter>() {
    let (entered, is_in) = channel();
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let acceptor = asking(move |attempt: &Attempt<'_>| {
        entered.send(()).unwrap();
        may_go.lock().unwrap().recv().unwrap();
        verifier(attempt)
    });
    let (client, server) = pair();
    let arrived = accepting::<A>(&acceptor, server, Context::uncounted());
    let logging_in = std::thread::spawn(move || A::connect(&connector(), client, ALICE));
    is_in.recv().unwrap();
    let (silent, server) = pair();
    let waiting = accepting::<A>(&acceptor, server, Context::uncounted());
    let (client, server) = pair();
    let greeted = accepting::<A>(&acceptor, server, Context::uncounted());
    let mut peer = Peer::new(client);
    peer.hello(&Scenario::new());
    crate::ends::eventually("all three are in", || {
        let counts = acceptor.counts();
        (counts.handshakes, counts.logins) == (2, 1)
    });
    acceptor.stop();
    let stopping = |error: countersign::LoginError| assert_eq!(error.code(), "stopping", "{error:?}");
    stopping(waiting.join().unwrap().map(drop).unwrap_err());
    stopping(greeted.join().unwrap().map(drop).unwrap_err());
    assert_eq!(peer.rest(), b"", "nothing more is said");
    drop(silent);
    let (_late, server) = pair();
    stopping(A::accept(&acceptor, server, Context::uncounted()).map(drop).unwrap_err());
    go.send(()).unwrap();
    let (client, server) = (logging_in.join().unwrap().unwrap(), arrived.join().unwrap().unwrap());
    assert_eq!(acceptor.counts().sessions, 1);
    drop((client, server));
    eventually_empty(&acceptor);
}
