//! A server of several names: which key answers whom.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::frame::FrameType;
use countersign::{
    Acceptor, Attempt, ClientConfig, Connector, Context, Error, Grant, LoginError, Misuse, Reason, Server,
    ServerConfig, ServerKeys, limits,
};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use support::{ALICE, OTHER2048, RSA2048, RSA3072, TestKey, provider, verifier};

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
