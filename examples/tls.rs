//! How do I log in inside TLS? Blocking TLS of rustls, with the login bound to that very connection.
//!
//! ```text
//! cargo run --features rustls --example tls
//! ```
//!
//! TLS hides that countersign is spoken, and to whom; countersign says who the client is. The TLS certificate is made on
//! the spot and nobody need check it: that the other end of the TLS connection is the right server follows from the login,
//! since both ends put the connection's exporter (RFC 9266) into the transcript. Somebody who ends TLS in the middle has
//! two connections with two exporters, and the login fails: the example `tls_tokio` tries.

use countersign::PrivateKey;
use countersign::blocking::{Over, Timed, Transport};
use countersign::crypto::rustcrypto;
use countersign::{Acceptor, Attempt, ChannelBinding, ClientConfig, Connector, Context, Credential, Grant, KeySize};
use countersign::{Reason, Server, ServerConfig, ServerKey, Stream};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{
    ClientConnection, ConnectionCommon, RootCertStore, ServerConnection, StreamOwned, SupportedProtocolVersion,
};
use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

/// Whatever went wrong.
pub type AnyError = Box<dyn Error + Send + Sync>;

/// What the two ends of TLS go by.
pub type TlsConfigs = (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>);

/// A TLS connection of which one end is ours: bytes go through TLS, deadlines on the socket.
pub type Tls<C> = Over<StreamOwned<C, Timed<TcpStream>>, TcpStream>;

fn main() -> Result<(), AnyError> {
    let provider = rustcrypto::provider();
    let key = PrivateKey::generate(provider, KeySize::Rsa2048)?;
    let verify = |attempt: &Attempt<'_>| match attempt.credential() {
        Credential::Password { user: "alice", password: b"correct horse" } => {
            Grant::new("alice", ["read"]).map_err(|_| Reason::NotNow("the account can't be used"))
        }
        _ => Err(Reason::UnknownUser),
    };
    let acceptor = Acceptor::new(ServerConfig::new(provider), ServerKey::load(&key, provider)?, verify);
    let connector = Connector::new(ClientConfig::new(provider), Server::pinned(key.public_key().id()));
    let (server_tls, client_tls) = tls_configs(rustls::DEFAULT_VERSIONS)?;

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = std::thread::spawn(move || -> Result<(), AnyError> {
        let mut session = accept(listener.accept()?.0, server_tls, &acceptor)?;
        let name = session.grant().principal().to_owned();
        writeln!(session, "hello, {name}: this is sealed twice")?;
        Ok(session.close()?)
    });

    let mut session = connect(TcpStream::connect(address)?, client_tls, &connector)?;
    let mut greeting = String::new();
    session.read_to_string(&mut greeting)?;
    assert_eq!(greeting, "hello, alice: this is sealed twice\n");
    print!("{greeting}");
    server.join().map_err(|_| "the server panicked")?
}

/// The server: TLS first, then the login, bound to it.
pub fn accept(
    stream: TcpStream,
    tls: Arc<rustls::ServerConfig>,
    acceptor: &Acceptor,
) -> Result<Stream<Tls<ServerConnection>>, AnyError> {
    let context = Context::from(stream.peer_addr()?);
    let (transport, binding) = handshake(stream, ServerConnection::new(tls)?)?;
    Ok(acceptor.accept_blocking(transport, context.with_binding(binding))?)
}

/// The client: the same the other way round.
pub fn connect(
    stream: TcpStream,
    tls: Arc<rustls::ClientConfig>,
    connector: &Connector,
) -> Result<Stream<Tls<ClientConnection>>, AnyError> {
    let name = ServerName::try_from("localhost")?;
    let (transport, binding) = handshake(stream, ClientConnection::new(tls, name)?)?;
    let alice = Credential::Password { user: "alice", password: b"correct horse" };
    Ok(connector.clone().with_binding(binding).connect_blocking(transport, alice)?)
}

/// Completes TLS, and names the connection.
pub fn handshake<C, D>(stream: TcpStream, mut tls: C) -> Result<(Tls<C>, ChannelBinding), AnyError>
where
    C: DerefMut + Deref<Target = ConnectionCommon<D>>,
    D: rustls::SideData,
{
    // The deadlines of the login are countersign's; the one of TLS before it is ours: ten seconds for all of it, whatever the
    // other end drips.
    let mut under = Timed::new(stream);
    under.set_timeouts(Some(Duration::from_secs(10)))?;
    tls.complete_io(&mut under)?;
    let binding = ChannelBinding::rustls(&tls)?;
    Ok((Over::new(StreamOwned::new(tls, under.clone()), under), binding))
}

/// A server with a self-signed certificate, and a client that takes it, both for these versions of TLS.
pub fn tls_configs(versions: &[&'static SupportedProtocolVersion]) -> Result<TlsConfigs, AnyError> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&ring)).with_protocol_versions(versions)?;
    let server = server.with_no_client_auth().with_single_cert(vec![certificate.clone()], key.into())?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let client = rustls::ClientConfig::builder_with_provider(ring).with_protocol_versions(versions)?;
    Ok((server.into(), client.with_root_certificates(roots).with_no_client_auth().into()))
}
