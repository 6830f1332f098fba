//! Logins inside TLS: bound to the connection, or not at all. Blocking TLS of rustls, over [`Over`].

#![cfg(all(any(feature = "rustcrypto", feature = "aws-lc"), feature = "rustls"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::blocking::{Over, Timed};
use countersign::{
    Acceptor, ChannelBinding, ClientConfig, Connector, Context, Credential, Differs, Error, LoginError, Misuse, Server,
    ServerConfig, Stream, client,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{
    ClientConnection, ConnectionCommon, RootCertStore, ServerConnection, StreamOwned, SupportedProtocolVersion,
};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;
use support::wire::{ClientHello, Message, ServerHello, edit};
use support::{ALICE, RSA2048, TestRng, at, provider, verifier};

/// What the two ends of TLS go by.
type TlsConfigs = (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>);

/// A TLS connection of which one end is ours: bytes go through TLS, deadlines on the socket.
type Tls<C> = Over<StreamOwned<C, Timed<TcpStream>>, TcpStream>;

const BOTH: &[&SupportedProtocolVersion] = rustls::DEFAULT_VERSIONS;

/// A server with a self-signed certificate, and a client that takes it, both for these versions of TLS.
fn tls(versions: &[&'static SupportedProtocolVersion]) -> TlsConfigs {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&ring)).with_protocol_versions(versions);
    let server = server.unwrap().with_no_client_auth().with_single_cert(vec![certificate.clone()], key.into());
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(ring).with_protocol_versions(versions).unwrap();
    (server.unwrap().into(), client.with_root_certificates(roots).with_no_client_auth().into())
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let server = listener.accept().unwrap().0;
    for stream in [&client, &server] {
        // No test waits longer for TLS itself, and no stream without a login under way for its peer.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    }
    (client, server)
}

/// Completes TLS, and gives how the login's channel is named, or that it can't be.
fn handshake<C, D>(stream: TcpStream, mut tls: C) -> (Tls<C>, Result<ChannelBinding, Misuse>)
where
    C: DerefMut + Deref<Target = ConnectionCommon<D>>,
    D: rustls::SideData,
{
    assert!(ChannelBinding::rustls(&tls).is_err(), "before the handshake there is nothing to bind to");
    let mut under = Timed::new(stream);
    tls.complete_io(&mut under).unwrap();
    let binding = ChannelBinding::rustls(&tls);
    (Over::new(StreamOwned::new(tls, under.clone()), under), binding)
}

fn server_side(
    stream: TcpStream,
    tls: Arc<rustls::ServerConfig>,
) -> (Tls<ServerConnection>, Result<ChannelBinding, Misuse>) {
    handshake(stream, ServerConnection::new(tls).unwrap())
}

fn client_side(
    stream: TcpStream,
    tls: Arc<rustls::ClientConfig>,
) -> (Tls<ClientConnection>, Result<ChannelBinding, Misuse>) {
    handshake(stream, ClientConnection::new(tls, ServerName::try_from("localhost").unwrap()).unwrap())
}

fn acceptor() -> Acceptor {
    let config = ServerConfig::new(provider()).with_refusal_floor(Duration::from_millis(1));
    Acceptor::new(config, RSA2048.server.clone(), verifier)
}

fn accept(stream: TcpStream, tls: Arc<rustls::ServerConfig>) -> Result<Stream<Tls<ServerConnection>>, LoginError> {
    let (stream, binding) = server_side(stream, tls);
    acceptor().accept_blocking(stream, Context::uncounted().with_binding(binding.unwrap()))
}

fn connect(
    stream: TcpStream,
    tls: Arc<rustls::ClientConfig>,
    credential: Credential<'_>,
) -> Result<Stream<Tls<ClientConnection>>, LoginError> {
    connect_to(RSA2048.trust(), stream, tls, credential)
}

fn connect_to(
    server: Server,
    stream: TcpStream,
    tls: Arc<rustls::ClientConfig>,
    credential: Credential<'_>,
) -> Result<Stream<Tls<ClientConnection>>, LoginError> {
    let (stream, binding) = client_side(stream, tls);
    let connector = Connector::new(ClientConfig::new(provider()), server);
    connector.with_binding(binding.unwrap()).connect_blocking(stream, credential)
}

#[test]
fn a_login_inside_tls_succeeds_when_both_ends_see_the_same_connection() {
    let (server_tls, client_tls) = tls(BOTH);
    let (near, far) = pair();
    let server = std::thread::spawn(move || {
        let mut session = accept(far, server_tls).unwrap();
        session.write_all(b"sealed twice").unwrap();
        session.close().unwrap();
        session.id()
    });
    let mut session = connect(near, client_tls, ALICE).unwrap();
    let mut said = String::new();
    session.read_to_string(&mut said).unwrap();
    assert_eq!((said.as_str(), session.id()), ("sealed twice", server.join().unwrap()));
}

/// Bytes that TLS has taken and not sent are sent; the refusal, too, which somebody else's thread sends.
#[test]
fn a_session_inside_tls_is_finished_and_a_refusal_inside_it_arrives() {
    let configs = tls(BOTH);
    let (near, far) = pair();
    let server_tls = Arc::clone(&configs.0);
    let server = std::thread::spawn(move || {
        let mut session = accept(far, server_tls).unwrap();
        session.write_all(&vec![7; 1 << 20]).unwrap();
        session.finish_blocking(Duration::from_secs(60))
    });
    let mut session = connect(near, Arc::clone(&configs.1), ALICE).unwrap();
    let mut out = Vec::new();
    session.read_to_end(&mut out).unwrap();
    assert!(out == vec![7; 1 << 20]);
    session.finish_blocking(Duration::from_secs(60)).unwrap();
    server.join().unwrap().unwrap();

    let (near, far) = pair();
    let server = std::thread::spawn(move || accept(far, configs.0).map(drop).unwrap_err());
    let wrong = Credential::Password { user: "alice", password: b"wrong" };
    let client = connect(near, configs.1, wrong).map(drop).unwrap_err();
    assert!(matches!(client, LoginError::Protocol(Error::Refused)), "{client:?}");
    assert_eq!(server.join().unwrap().code(), "wrong-password");
}

/// Two TLS connections end in the middle, and what is inside is passed on unchanged: to the client the relay is a TLS
/// server whose certificate it takes, to the server it is any client.
#[test]
fn a_relay_that_ends_tls_in_the_middle_makes_the_login_fail() {
    let ((server_tls, relay_as_client), (relay_as_server, client_tls)) = (tls(BOTH), tls(BOTH));
    let ((near, relay_near), (relay_far, far)) = (pair(), pair());
    let server = std::thread::spawn(move || accept(far, server_tls).map(drop).unwrap_err());
    let relay = std::thread::spawn(move || {
        // The relay's two ends of TLS don't wait for each other.
        let far = std::thread::spawn(move || client_side(relay_far, relay_as_client).0);
        let mut client = server_side(relay_near, relay_as_server).0;
        let mut server = far.join().unwrap();
        pass(&mut client, &mut server, |hello| hello);
        pass(&mut server, &mut client, |challenge| challenge);
        // There is no login to pass on: both ends have seen that they do not mean the same channel.
        client.read(&mut [0]).unwrap_or(0)
    });
    let client = connect(near, client_tls, ALICE).map(drop).unwrap_err();
    assert!(means_another_channel(&client), "{client:?}");
    assert_eq!(relay.join().unwrap(), 0, "no byte of a login");
    let server = server.join().unwrap();
    assert!(means_another_channel(&server), "{server:?}");
}

/// A frame, changed on the way: in the order of the protocol.
fn pass(from: &mut dyn Read, to: &mut dyn Write, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let mut frame = vec![0; 3];
    from.read_exact(&mut frame).unwrap();
    frame.resize(3 + usize::from(u16::from_be_bytes([frame[1], frame[2]])), 0);
    from.read_exact(&mut frame[3..]).unwrap();
    to.write_all(&change(frame)).unwrap();
    to.flush().unwrap();
}

/// What a hello says of this channel.
fn context(binding: &ChannelBinding) -> [u8; 8] {
    let config = Arc::new(ClientConfig::new(provider()));
    let (hello, _) = client::start(&config, &RSA2048.trust(), binding, &mut TestRng::new("a relay"), at(0)).unwrap();
    ClientHello::decode(&hello[3..]).unwrap().context
}

/// The four bytes about the channel in either hello protect from nobody: whoever ends TLS knows what both ends want to see there. The login is bound
/// by the transcript.
#[test]
fn a_relay_that_shows_each_end_its_own_channel_makes_the_login_fail_all_the_same() {
    for (trust, is_proved) in [(RSA2048.trust(), false), (Server::key(RSA2048.private.public_key().clone()), true)] {
        let ((server_tls, relay_as_client), (relay_as_server, client_tls)) = (tls(BOTH), tls(BOTH));
        let ((near, relay_near), (relay_far, far)) = (pair(), pair());
        let server = std::thread::spawn(move || accept(far, server_tls).map(drop).unwrap_err());
        let relay = std::thread::spawn(move || {
            let far = std::thread::spawn(move || client_side(relay_far, relay_as_client));
            let (mut client, to_client) = server_side(relay_near, relay_as_server);
            let (mut server, to_server) = far.join().unwrap();
            let [at_client, at_server] = [to_client, to_server].map(|binding| context(&binding.unwrap()));
            assert_ne!(at_client, at_server);
            pass(&mut client, &mut server, |hello| edit(&hello, |hello: &mut ClientHello| hello.context = at_server));
            pass(&mut server, &mut client, |answer| edit(&answer, |hello: &mut ServerHello| hello.context = at_client));
            if !is_proved {
                pass(&mut client, &mut server, |login| login);
                pass(&mut server, &mut client, |verdict| verdict);
            }
            client.read(&mut [0]).unwrap_or(0)
        });
        let client = connect_to(trust, near, client_tls, ALICE).map(drop).unwrap_err();
        assert_eq!(relay.join().unwrap(), 0, "no byte more");
        let server = server.join().unwrap();
        if is_proved {
            // What the client has sealed is for another hello: the proof is wrong, and no credential leaves.
            assert!(matches!(client, LoginError::Protocol(Error::ProofNotAuthentic)), "{client:?}");
        } else {
            // The login opens for nobody, and the client sees that somebody has interfered.
            assert!(matches!(client, LoginError::Protocol(Error::VerdictNotAuthentic)), "{client:?}");
            assert_eq!(server.code(), "not-opened", "{server:?}");
        }
    }
}

fn means_another_channel(error: &LoginError) -> bool {
    matches!(error, LoginError::Protocol(Error::DifferentContext(Differs::Binding)))
}

#[test]
fn an_end_that_states_no_binding_does_not_log_in_with_one_that_does() {
    let (server_tls, client_tls) = tls(BOTH);
    let (near, far) = pair();
    let server = std::thread::spawn(move || {
        let (stream, _) = server_side(far, server_tls);
        acceptor().accept_blocking(stream, Context::uncounted()).map(drop).unwrap_err()
    });
    let client = connect(near, client_tls, ALICE).map(drop).unwrap_err();
    assert!(means_another_channel(&client), "{client:?}");
    // Which the server's log says, too, whatever becomes of the connection after that.
    let server = server.join().unwrap();
    assert!(means_another_channel(&server), "{server:?}");
    // The same exporter under another type is another binding.
    let exporter = ChannelBinding::tls_exporter([7; 32]);
    assert_ne!(ChannelBinding::new("tls-unique", &[7; 32]).unwrap(), exporter);
    assert_eq!(ChannelBinding::new("tls-exporter", &[7; 32]).unwrap(), exporter);
}

#[test]
fn tls_1_2_which_may_lack_extended_master_secret_is_refused_as_a_binding() {
    let (server_tls, client_tls) = tls(&[&rustls::version::TLS12]);
    let (near, far) = pair();
    let server = std::thread::spawn(move || server_side(far, server_tls).1);
    let client = client_side(near, client_tls).1;
    for binding in [client, server.join().unwrap()] {
        assert!(matches!(binding, Err(Misuse::BadInput(_))), "{binding:?}");
    }
    // Two connections of 1.3 have two names.
    let configs = tls(BOTH);
    let name = || {
        let (near, far) = pair();
        let tls = Arc::clone(&configs.0);
        let server = std::thread::spawn(move || server_side(far, tls).1.unwrap());
        let client = client_side(near, Arc::clone(&configs.1)).1.unwrap();
        assert_eq!(client, server.join().unwrap());
        client
    };
    assert_ne!(name(), name());
}

/// Peers in other languages ask their TLS library for the exporter by this label; RFC 9266, section 4.
#[test]
fn a_connection_is_named_by_the_exporter_that_rfc_9266_registers() {
    let (server_tls, client_tls) = tls(BOTH);
    let (mut near, far) = pair();
    let server = std::thread::spawn(move || server_side(far, server_tls).1.unwrap());
    let mut tls = ClientConnection::new(client_tls, ServerName::try_from("localhost").unwrap()).unwrap();
    tls.complete_io(&mut near).unwrap();
    let exporter = tls.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap();
    assert_eq!(server.join().unwrap(), ChannelBinding::tls_exporter(exporter));
    assert_eq!(ChannelBinding::rustls(&tls).unwrap(), ChannelBinding::tls_exporter(exporter));
}

/// The socket underneath has the deadlines: a peer that goes silent inside TLS holds nobody up.
#[test]
fn a_peer_that_is_silent_inside_tls_meets_the_deadline() {
    let (server_tls, client_tls) = tls(BOTH);
    let (near, far) = pair();
    let silent = std::thread::spawn(move || client_side(near, client_tls).0);
    let config = ServerConfig::new(provider()).with_handshake_timeout(Duration::from_millis(300));
    let acceptor = Acceptor::new(config, RSA2048.server.clone(), verifier);
    let (stream, _) = server_side(far, server_tls);
    let error = acceptor.accept_blocking(stream, Context::uncounted()).map(drop).unwrap_err();
    assert!(matches!(error, LoginError::Protocol(Error::DeadlinePassed)), "{error:?}");
    drop(silent.join().unwrap());
    assert_eq!(acceptor.counts().handshakes, 0);
}
