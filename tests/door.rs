//! Both doors: a login over each kind of stream, and what it must not take with it.

#![cfg(all(any(feature = "rustcrypto", feature = "aws-lc"), feature = "tokio"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::{Acceptor, Bounds, ClientConfig, Connector, Context, Error, LoginError, Reason, ServerConfig};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use support::{ALICE, RSA2048, grant, provider, verifier};

fn acceptor() -> Acceptor {
    let config = ServerConfig::new(provider()).with_refusal_floor(Duration::from_millis(50));
    Acceptor::new(config, RSA2048.server.clone(), verifier)
}

fn connector() -> Connector {
    Connector::new(ClientConfig::new(provider()), RSA2048.trust())
}

#[test]
fn a_blocking_login() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = acceptor();
    let ours = acceptor.clone();
    let server = std::thread::spawn(move || {
        let (stream, peer) = listener.accept().unwrap();
        let mut session = ours.accept_blocking(stream, peer).unwrap();
        assert_eq!((session.grant(), session.is_confirmed()), (&grant(), true));
        let mut line = [0; 5];
        session.read_exact(&mut line).unwrap();
        session.write_all(&line).unwrap();
        session.finish_blocking(Duration::from_secs(5)).unwrap();
        let (stream, peer) = listener.accept().unwrap();
        ours.accept_blocking(stream, peer).map(drop).unwrap_err()
    });
    let mut session = connector().connect_blocking(TcpStream::connect(address).unwrap(), ALICE).unwrap();
    session.write_all(b"hello").unwrap();
    let mut line = Vec::new();
    session.read_to_end(&mut line).unwrap();
    assert_eq!(line, b"hello");
    session.close().unwrap();
    let wrong = countersign::Credential::Password { user: "alice", password: b"wrong" };
    let refused = connector().connect_blocking(TcpStream::connect(address).unwrap(), wrong).map(drop).unwrap_err();
    assert!(matches!(refused, LoginError::Protocol(Error::Refused)), "{refused:?}");
    let error = server.join().unwrap();
    assert!(matches!(error, LoginError::LoginRefused { reason: Reason::WrongPassword, .. }), "{error:?}");
}

#[tokio::test]
async fn a_login_over_tokio() {
    let acceptor = acceptor().with_bounds(Bounds::default().with_working(1));
    let (client, server) = tokio::io::duplex(4096);
    let connector = connector();
    let (client, server) =
        tokio::join!(connector.connect(client, ALICE), acceptor.accept(server, Context::uncounted()));
    let (client, server) = (client.unwrap(), server.unwrap());
    assert_eq!((client.grant(), client.id()), (server.grant(), server.id()));
    assert_eq!(acceptor.counts().sessions, 1);
    let (client, server) = tokio::join!(client.finish(Duration::from_secs(5)), server.finish(Duration::from_secs(5)));
    client.unwrap();
    server.unwrap();
    assert_eq!(acceptor.counts().sessions, 0);
}
