//! Logins inside TLS: bound to the connection, or not at all. The code is that of `examples/tls.rs`.
#![cfg(all(feature = "rustcrypto", feature = "rustls"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../examples/tls.rs"]
#[allow(dead_code, unreachable_pub)]
mod example;

mod support;

use countersign::{
    Acceptor, Attempt, ChannelBinding, ClientConfig, Connector, Error, Grant, LoginError, Misuse, Reason,
};
use countersign::{ServerConfig, Source};
use example::{AnyError, TlsConfigs, accept, connect, handshake};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use support::{RSA2048, provider};

/// Lets everybody in.
fn acceptor() -> Acceptor {
    let anyone = |_: &Attempt<'_>| Ok(Grant::new("anyone", [""; 0]).unwrap());
    Acceptor::new(ServerConfig::new(provider()), RSA2048.server.clone(), anyone)
}

fn connector() -> Connector {
    Connector::new(ClientConfig::new(provider()), RSA2048.trust())
}

fn was_not_opened(error: AnyError) -> bool {
    let error = error.downcast::<LoginError>().unwrap();
    matches!(*error, LoginError::LoginRefused { reason: Reason::NotOpened, .. })
}

fn tls() -> TlsConfigs {
    example::tls_configs(rustls::DEFAULT_VERSIONS).unwrap()
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn a_login_inside_tls_succeeds_when_both_ends_see_the_same_connection() {
    let (server_tls, client_tls) = tls();
    let (near, far) = pair();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut session = accept(far, server_tls, &acceptor()).unwrap();
            session.write_all(b"sealed twice").unwrap();
            session.close().unwrap();
            session.id()
        });
        let mut session = connect(near, client_tls, &connector()).unwrap();
        let mut said = String::new();
        session.read_to_string(&mut said).unwrap();
        assert_eq!((said.as_str(), session.id()), ("sealed twice", server.join().unwrap()));
    });
}

/// Two TLS connections end in the middle, and what is inside is passed on unchanged: to the client the relay is a TLS
/// server whose certificate it takes, to the server it is any client.
#[test]
fn a_relay_that_ends_tls_in_the_middle_makes_the_login_fail() {
    let ((server_tls, relay_as_client), (relay_as_server, client_tls)) = (tls(), tls());
    let ((near, relay_near), (relay_far, far)) = (pair(), pair());
    std::thread::scope(|scope| {
        let server = scope.spawn(|| accept(far, server_tls, &acceptor()).map(drop).unwrap_err());
        scope.spawn(|| {
            let (mut client, _) = handshake(relay_near, ServerConnection::new(relay_as_server).unwrap()).unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let connection = ClientConnection::new(relay_as_client, name).unwrap();
            let (mut server, _) = handshake(relay_far, connection).unwrap();
            // Frame by frame, in the order of the protocol.
            let pass = |from: &mut dyn Read, to: &mut dyn Write| {
                let mut header = [0; 3];
                from.read_exact(&mut header).unwrap();
                let mut body = vec![0; usize::from(u16::from_be_bytes([header[1], header[2]]))];
                from.read_exact(&mut body).unwrap();
                to.write_all(&[&header[..], &body].concat()).unwrap();
                to.flush().unwrap();
            };
            pass(&mut client, &mut server);
            pass(&mut server, &mut client);
            pass(&mut client, &mut server);
            pass(&mut server, &mut client);
        });
        let client = connect(near, client_tls, &connector()).map(drop).unwrap_err();
        let client = client.downcast::<LoginError>().unwrap();
        assert!(matches!(*client, LoginError::Protocol(Error::VerdictNotAuthentic)), "{client}");
        assert!(was_not_opened(server.join().unwrap()));
    });
}

#[test]
fn an_end_that_states_no_binding_does_not_log_in_with_one_that_does() {
    let (server_tls, client_tls) = tls();
    let (near, far) = pair();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (transport, _) = handshake(far, ServerConnection::new(server_tls).unwrap()).unwrap();
            acceptor().accept_blocking(transport, Source::uncounted()).map(drop).unwrap_err()
        });
        assert!(connect(near, client_tls, &connector()).is_err());
        assert!(was_not_opened(server.join().unwrap().into()));
    });
    // The same exporter under another type is another binding.
    let exporter = ChannelBinding::tls_exporter([7; 32]);
    assert_ne!(ChannelBinding::new("tls-unique", &[7; 32]).unwrap(), exporter);
    assert_eq!(ChannelBinding::new("tls-exporter", &[7; 32]).unwrap(), exporter);
}

#[test]
fn tls_1_2_which_may_lack_extended_master_secret_is_refused_as_a_binding() {
    let (server_tls, client_tls) = example::tls_configs(&[&rustls::version::TLS12]).unwrap();
    let (near, far) = pair();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| accept(far, server_tls, &acceptor()).map(drop).unwrap_err());
        let client = connect(near, client_tls, &connector()).map(drop).unwrap_err();
        assert!(client.is::<Misuse>() && server.join().unwrap().is::<Misuse>());
    });
}
