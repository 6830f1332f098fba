//! Peers that drip, flood, or read nothing: whatever one of them does, in whatever state, everything ends by one absolute bound.
//!
//! No test here looks at a clock. A peer that drips has minutes' worth to say, and is told by a closed connection that nobody
//! listens any more before it has said all.

use crate::ends::{
    Adapter, Session, accepting, acceptor, client_config, config, disconnected, eventually, eventually_empty, failed,
    pair, protocol, refused, session,
};
use crate::peer::Peer;
use crate::support::{ALICE, RSA2048, Scenario, frame, verifier};
use countersign::crypto::{RemoteSign, SignError, Signing};
use countersign::frame::FrameType;
use countersign::{
    Acceptor, Answer, AsyncTrust, Attempt, Bounds, ClientKey, Connector, Context, Credential, CredentialKind, Error,
    LoginError, Question, Reason, Server, SigningKey,
};
use std::future::pending;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

for_every_adapter!(
    a_client_that_drips_its_hello,
    a_client_that_drips_its_login,
    a_client_that_reads_no_challenge,
    a_client_that_reads_no_verdict,
    a_client_that_reads_no_refusal,
    a_refused_client_that_does_not_hang_up,
    a_refused_client_that_floods_holds_up_nobody_elses_refusal,
    a_server_that_drips_its_challenge,
    a_server_that_drips_its_verdict,
    a_server_that_reads_no_hello,
    a_server_that_reads_no_login,
    a_server_that_drips_its_answer_to_a_ticket,
    a_peer_that_drips_while_the_session_is_finished,
    a_peer_that_floods_while_the_session_is_finished,
    a_peer_that_reads_nothing_while_the_session_is_finished,
    a_verifier_that_never_answers,
    a_verifier_that_never_answers_about_somebody_before_holds_up_nobody_past_the_deadline,
    a_signer_that_never_answers,
    a_user_who_never_decides_on_a_key,
    a_handshake_that_made_way_is_over_even_where_its_peer_drips,
);

/// What handshakes and finishes may take here.
const SHORT: Duration = Duration::from_millis(400);

/// Where the other end has to come to its second frame within it.
const LONGER: Duration = Duration::from_secs(2);

/// Between two bytes of a peer that drips.
const DRIP: Duration = Duration::from_millis(20);

fn hurried(timeout: Duration) -> Acceptor {
    Acceptor::new(config().with_handshake_timeout(timeout), RSA2048.server.clone(), verifier)
}

fn hurried_connector(timeout: Duration) -> Connector {
    Connector::new(client_config().with_handshake_timeout(timeout), RSA2048.trust())
}

/// Sends these bytes one by one. Gives whether somebody was there until the last.
fn drip(stream: &TcpStream, bytes: Vec<u8>) -> JoinHandle<bool> {
    let mut stream = stream.try_clone().unwrap();
    stream.set_nodelay(true).unwrap();
    std::thread::spawn(move || {
        bytes.iter().all(|byte| {
            std::thread::sleep(DRIP);
            stream.write_all(&[*byte]).is_ok()
        })
    })
}

/// A frame of this kind that is as long as it may be: minutes of dripping.
fn longest(kind: FrameType) -> Vec<u8> {
    frame(kind.byte(), &vec![0; kind.max_body()])
}

/// Takes all the room there is for sending on this connection, behind the back of whoever uses it.
fn clog(stream: &TcpStream, blocks: bool) {
    stream.set_nonblocking(true).unwrap();
    let (mut full, block) = (0, [0; 65536]);
    // What is on its way makes room for a while yet.
    while full < 80 {
        match (&*stream).write(if full == 0 { &block } else { &block[..1] }) {
            Ok(count) => full = usize::from(count == 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                full += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    stream.set_nonblocking(!blocks).unwrap();
}

fn passed(error: LoginError) {
    assert_eq!(protocol(error), Error::DeadlinePassed);
}

fn a_client_that_drips_its_hello<A: Adapter>() {
    let (client, server) = pair();
    let dripping = drip(&client, longest(FrameType::ClientHello));
    let acceptor = hurried(SHORT);
    passed(A::accept(&acceptor, server, Context::uncounted()).map(drop).unwrap_err());
    assert!(!dripping.join().unwrap());
    eventually_empty(&acceptor);
}

fn a_client_that_drips_its_login<A: Adapter>() {
    let (client, server) = pair();
    let acceptor = hurried(LONGER);
    let server = accepting::<A>(&acceptor, server, Context::uncounted());
    let mut peer = Peer::new(client);
    peer.hello(&Scenario::new());
    let dripping = drip(&peer.0, longest(FrameType::ClientLogin));
    passed(server.join().unwrap().map(drop).unwrap_err());
    assert!(!dripping.join().unwrap());
    eventually_empty(&acceptor);
}

fn a_client_that_reads_no_challenge<A: Adapter>() {
    let (client, server) = pair();
    let acceptor = hurried(SHORT);
    Peer::new(client.try_clone().unwrap()).send(&Scenario::new().await_challenge().0);
    clog(&server, true);
    passed(A::accept(&acceptor, server, Context::uncounted()).map(drop).unwrap_err());
    eventually_empty(&acceptor);
    drop(client);
}

/// A verifier that leaves no room for its verdict.
fn clogging<A: Adapter>(result: fn() -> Result<countersign::Grant, Reason>) -> Acceptor {
    crate::ends::asking(move |attempt: &Attempt<'_>| {
        clog(attempt.context().value::<TcpStream>().unwrap(), A::BLOCKS);
        result()
    })
}

fn a_client_that_reads_no_verdict<A: Adapter>() {
    let acceptor = clogging::<A>(|| Ok(crate::support::grant()));
    let (client, server) = pair();
    let context = Context::uncounted().with_value(server.try_clone().unwrap());
    let server = accepting::<A>(&acceptor, server, context);
    let mut peer = Peer::new(client);
    peer.login(&Scenario::new(), ALICE);
    passed(server.join().unwrap().map(drop).unwrap_err());
    eventually_empty(&acceptor);
    drop(peer);
}

fn a_client_that_reads_no_refusal<A: Adapter>() {
    let acceptor = clogging::<A>(|| Err(Reason::UnknownUser));
    let (client, server) = pair();
    let context = Context::uncounted().with_value(server.try_clone().unwrap());
    let server = accepting::<A>(&acceptor, server, context);
    let mut peer = Peer::new(client);
    peer.login(&Scenario::new(), ALICE);
    assert_eq!(refused(server.join().unwrap().map(drop).unwrap_err()).1, Reason::UnknownUser);
    eventually_empty(&acceptor);
    drop(peer);
}

fn a_refused_client_that_does_not_hang_up<A: Adapter>() {
    let wrong = Credential::Password { user: "alice", password: b"wrong" };
    for does in ["nothing", "drips", "floods"] {
        let acceptor = acceptor();
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Context::uncounted());
        let mut peer = Peer::new(client);
        peer.login(&Scenario::new(), wrong);
        peer.receive(FrameType::ServerVerdict);
        let busy = match does {
            "drips" => Some(drip(&peer.0, longest(FrameType::Data))),
            "floods" => Some(flood(&peer.0)),
            _ => None,
        };
        assert_eq!(refused(server.join().unwrap().map(drop).unwrap_err()).1, Reason::WrongPassword, "{does}");
        eventually_empty(&acceptor);
        if let Some(busy) = busy {
            assert!(!busy.join().unwrap(), "{does}");
        }
        drop(peer);
    }
}

/// Sends without end. Gives false when nobody is there any more.
fn flood(stream: &TcpStream) -> JoinHandle<bool> {
    let mut stream = stream.try_clone().unwrap();
    std::thread::spawn(move || {
        while stream.write_all(&[0; 4096]).is_ok() {}
        false
    })
}

fn a_refused_client_that_floods_holds_up_nobody_elses_refusal<A: Adapter>() {
    const FLOODS: usize = 6;
    let wrong = Credential::Password { user: "alice", password: b"wrong" };
    let acceptor = Acceptor::new(config().with_refusal_floor(SHORT), RSA2048.server.clone(), verifier);
    let attempts: Vec<_> = (0..=FLOODS)
        .map(|_| {
            let (client, server) = pair();
            let server = accepting::<A>(&acceptor, server, Context::uncounted());
            let mut peer = Peer::new(client);
            peer.login(&Scenario::new(), wrong);
            (peer, server)
        })
        .collect();
    // All are refused, and none is told yet, or not for long.
    eventually("all are refused", || acceptor.counts().handshakes + acceptor.counts().logins == 0);
    let floods: Vec<_> = attempts[..FLOODS].iter().map(|(peer, _)| flood(&peer.0)).collect();
    let mut attempts = attempts.into_iter();
    let held: Vec<_> = attempts.by_ref().take(FLOODS).collect();
    let (mut last, server) = attempts.next().unwrap();
    last.receive(FrameType::ServerVerdict);
    drop(last);
    assert_eq!(refused(server.join().unwrap().map(drop).unwrap_err()).1, Reason::WrongPassword);
    assert!(floods.into_iter().all(|flood| !flood.join().unwrap()));
    for (peer, server) in held {
        drop(peer);
        drop(server.join().unwrap());
    }
    eventually_empty(&acceptor);
}

fn a_server_that_drips_its_challenge<A: Adapter>() {
    let (client, server) = pair();
    let dripping = drip(&server, longest(FrameType::ServerHello));
    passed(A::connect(&hurried_connector(SHORT), client, ALICE).map(drop).unwrap_err());
    drop(server);
    assert!(!dripping.join().unwrap());
}

fn a_server_that_drips_its_verdict<A: Adapter>() {
    let (client, server) = pair();
    let client =
        std::thread::spawn(move || A::connect(&hurried_connector(LONGER), client, ALICE).map(drop).unwrap_err());
    let mut peer = Peer::new(server);
    let hello = peer.receive(FrameType::ClientHello);
    peer.send(&Scenario::new().answer(&hello).unwrap().0);
    peer.receive(FrameType::ClientLogin);
    let dripping = drip(&peer.0, longest(FrameType::ServerVerdict));
    passed(client.join().unwrap());
    drop(peer);
    assert!(!dripping.join().unwrap());
}

fn a_server_that_reads_no_hello<A: Adapter>() {
    let (client, server) = pair();
    clog(&client, true);
    passed(A::connect(&hurried_connector(SHORT), client, ALICE).map(drop).unwrap_err());
    drop(server);
}

fn a_server_that_reads_no_login<A: Adapter>() {
    let (client, server) = pair();
    let behind = client.try_clone().unwrap();
    // What is known is not checked for long, so that the time is for the sending.
    let client =
        std::thread::spawn(move || A::connect(&hurried_connector(LONGER), client, ALICE).map(drop).unwrap_err());
    let mut peer = Peer::new(server);
    let hello = peer.receive(FrameType::ClientHello);
    clog(&behind, A::BLOCKS);
    peer.send(&Scenario::new().answer(&hello).unwrap().0);
    passed(client.join().unwrap());
}

fn a_server_that_drips_its_answer_to_a_ticket<A: Adapter>() {
    let tickets = crate::logins::with_tickets(config());
    let giving = Acceptor::new(tickets, RSA2048.server.clone(), crate::logins::Returns::default());
    let (first, _server) = crate::ends::login::<A>(&giving, &crate::ends::connector(), ALICE);
    let ticket = first.unwrap().info().ticket().unwrap().clone();
    for kind in [FrameType::ServerHello, FrameType::ServerResumption] {
        let (client, server) = pair();
        let dripping = drip(&server, longest(kind));
        passed(A::resume(&hurried_connector(SHORT), client, &ticket, ALICE).map(drop).unwrap_err());
        drop(server);
        assert!(!dripping.join().unwrap());
    }
}

fn a_peer_that_drips_while_the_session_is_finished<A: Adapter>() {
    let (client, server) = session::<A>(ALICE);
    let client = client.into_tcp();
    // The longest record there is, byte by byte.
    let dripping = drip(&client, longest(FrameType::Data));
    server.finish(SHORT).unwrap();
    assert!(!dripping.join().unwrap());
}

fn a_peer_that_floods_while_the_session_is_finished<A: Adapter>() {
    let (mut client, server) = session::<A>(ALICE);
    let flooding = std::thread::spawn(move || while client.write_all(&[0; 4096]).is_ok() {});
    server.finish(SHORT).unwrap();
    flooding.join().unwrap();
}

fn a_peer_that_reads_nothing_while_the_session_is_finished<A: Adapter>() {
    let (client, server) = pair();
    let behind = client.try_clone().unwrap();
    let server = accepting::<A>(&acceptor(), server, Context::uncounted());
    let client = A::connect(&crate::ends::connector(), client, ALICE).unwrap();
    let server = server.join().unwrap().unwrap();
    clog(&behind, A::BLOCKS);
    let error = std::io::Error::from(client.finish(SHORT).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::TimedOut, "the peer may not have got everything");
    drop(server);
}

fn a_verifier_that_never_answers<A: Adapter>() {
    let (_never, answer) = channel::<()>();
    let answer = Mutex::new(answer);
    let silent = move |_: &Attempt<'_>| {
        answer.lock().unwrap().recv().unwrap();
        unreachable!()
    };
    let config = config().with_handshake_timeout(Duration::from_secs(1));
    let acceptor = Acceptor::new(config, RSA2048.server.clone(), silent);
    let (client, server) = pair();
    let server = accepting::<A>(&acceptor, server, Context::uncounted());
    let mut peer = Peer::new(client);
    peer.login(&Scenario::new(), ALICE);
    passed(server.join().unwrap().map(drop).unwrap_err());
    assert_eq!(peer.rest(), b"");
    eventually_empty(&acceptor);
}

fn a_verifier_that_never_answers_about_somebody_before_holds_up_nobody_past_the_deadline<A: Adapter>() {
    let (_never, answer) = channel::<()>();
    let ((enter, entered), answer) = (channel(), Mutex::new(answer));
    let silent = move |_: &Attempt<'_>| {
        enter.send(()).unwrap();
        answer.lock().unwrap().recv().unwrap();
        unreachable!()
    };
    let bounds = Bounds::default().with_working(1).with_patience(Duration::from_secs(3600));
    // Both logins have to arrive within it.
    let config = config().with_handshake_timeout(Duration::from_secs(6));
    let acceptor = Acceptor::new(config, RSA2048.server.clone(), silent).with_bounds(bounds);
    let login = || {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Context::uncounted());
        let mut peer = Peer::new(client);
        peer.login(&Scenario::new(), ALICE);
        (peer, server)
    };
    let first = login();
    entered.recv().unwrap();
    // Its turn does not come, and its client can open no refusal.
    let (mut peer, second) = login();
    let (_, reason) = refused(second.join().unwrap().map(drop).unwrap_err());
    assert!(reason.is_not_now(), "{reason}");
    assert_eq!(peer.rest(), b"");
    passed(first.1.join().unwrap().map(drop).unwrap_err());
}

/// As a token that waits to be touched, or somebody who is asked and has gone.
struct Silent;

impl RemoteSign for Silent {
    fn sign(&self, _: Vec<u8>) -> Signing {
        Box::pin(pending())
    }
}

impl AsyncTrust for Silent {
    async fn decide(&self, _: &Question<'_>) -> Answer {
        pending().await
    }
}

fn a_signer_that_never_answers<A: Adapter>() {
    let config = config().with_credential_kinds(&[CredentialKind::Key]).unwrap();
    let acceptor = Acceptor::new(config, RSA2048.server.clone(), verifier);
    let public = SigningKey::from_ed25519(&[7; 32]).unwrap().public_key().clone();
    let key = ClientKey::with_remote_sign(public, Arc::new(Silent));
    let (client, server) =
        failed::<A>(&acceptor, &hurried_connector(LONGER), Credential::Key { user: "alice", key: &key });
    assert_eq!(protocol(client), Error::Sign(SignError::TimedOut));
    assert_eq!(disconnected(server), FrameType::ClientLogin);
    eventually_empty(&acceptor);
}

fn a_user_who_never_decides_on_a_key<A: Adapter>() {
    let acceptor = acceptor();
    let connector = Connector::new(client_config().with_handshake_timeout(LONGER), Server::trusting_async(Silent));
    let (client, server) = failed::<A>(&acceptor, &connector, ALICE);
    passed(client);
    assert_eq!(disconnected(server), FrameType::ClientLogin);
    eventually_empty(&acceptor);
}

fn a_handshake_that_made_way_is_over_even_where_its_peer_drips<A: Adapter>() {
    // Deadlines that no test outlives.
    let config = config().with_handshake_timeout(Duration::from_secs(3600));
    let acceptor =
        Acceptor::new(config, RSA2048.server.clone(), verifier).with_bounds(Bounds::default().with_handshakes(1));
    let (client, server) = pair();
    let first = accepting::<A>(&acceptor, server, Context::uncounted());
    let dripping = drip(&client, longest(FrameType::ClientHello));
    eventually("it is in", || acceptor.counts().handshakes == 1);
    let (silent, server) = pair();
    let second = accepting::<A>(&acceptor, server, Context::uncounted());
    assert_eq!(first.join().unwrap().map(drop).unwrap_err().code(), "made-way");
    assert!(!dripping.join().unwrap());
    drop(silent);
    assert!(second.join().unwrap().is_err());
    // What was dripped last may be unread: what there is to hear is nothing.
    assert_eq!((&client).read(&mut [0; 8]).unwrap_or(0), 0);
    eventually_empty(&acceptor);
}
