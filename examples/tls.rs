//! A login inside TLS, bound to that very connection.
//!
//! ```text
//! cargo run --example tls
//! ```
//!
//! TLS hides that countersign is spoken, and to whom; countersign says who the client is. The TLS certificate is made on
//! the spot and nobody checks it: that the other end of the TLS connection is the right server follows from the login,
//! since both ends put the connection's exporter (RFC 9266) into the transcript. Somebody who ends TLS in the middle has
//! two connections with two exporters, and the login fails.

use countersign::blocking::{self, Stream, Untimed};
use countersign::crypto::rustcrypto;
use countersign::{ChannelBinding, ClientConfig, Credential, Grant, KeySize, Reason, Server, ServerConfig, ServerKey};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use rustls::SupportedProtocolVersion;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConnection, ConnectionCommon, ProtocolVersion, RootCertStore, ServerConnection, StreamOwned};
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

/// A TLS connection of which one end is ours.
pub type Tls<C> = Untimed<StreamOwned<C, TcpStream>>;

fn main() -> Result<(), AnyError> {
    let provider = rustcrypto::provider();
    let key = provider.generate_key(KeySize::Rsa2048, &mut StdRng::try_from_rng(&mut SysRng)?)?;
    let trust = Server::pinned(key.public_key().id());
    let key = ServerKey::load(&key, provider)?;
    let (server_tls, client_tls) = tls_configs(rustls::DEFAULT_VERSIONS)?;

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = std::thread::spawn(move || -> Result<(), AnyError> {
        let mut session = accept(listener.accept()?.0, server_tls, &key)?;
        let name = session.grant().principal().to_owned();
        writeln!(session, "hello, {name}: this is sealed twice")?;
        Ok(session.close()?)
    });

    let mut session = connect(TcpStream::connect(address)?, client_tls, &trust)?;
    let mut greeting = String::new();
    session.read_to_string(&mut greeting)?;
    print!("{greeting}");
    server.join().map_err(|_| "the server panicked")?
}

/// The server: TLS first, then the login, bound to it.
pub fn accept(
    stream: TcpStream,
    tls: Arc<rustls::ServerConfig>,
    key: &ServerKey,
) -> Result<Stream<Tls<ServerConnection>>, AnyError> {
    let (transport, binding) = handshake(stream, ServerConnection::new(tls)?)?;
    let config = Arc::new(ServerConfig::new(rustcrypto::provider()));
    let verify = |credential: Credential<'_>| match credential {
        Credential::Password { user: "alice", password: b"correct horse" } => {
            Grant::new("alice", ["read"]).map_err(|_| Reason::NotNow("the account store is unavailable"))
        }
        _ => Err(Reason::UnknownUser),
    };
    Ok(blocking::accept(transport, &config, &binding, key, &verify)?)
}

/// The client: the same the other way round.
pub fn connect(
    stream: TcpStream,
    tls: Arc<rustls::ClientConfig>,
    trust: &Server,
) -> Result<Stream<Tls<ClientConnection>>, AnyError> {
    let name = ServerName::try_from("localhost")?;
    let (transport, binding) = handshake(stream, ClientConnection::new(tls, name)?)?;
    let config = Arc::new(ClientConfig::new(rustcrypto::provider()));
    let alice = Credential::Password { user: "alice", password: b"correct horse" };
    Ok(blocking::connect(transport, &config, &binding, trust, alice)?)
}

/// Completes TLS, and names the connection.
pub fn handshake<C, D>(mut stream: TcpStream, mut tls: C) -> Result<(Tls<C>, ChannelBinding), AnyError>
where
    C: DerefMut + Deref<Target = ConnectionCommon<D>>,
    D: rustls::SideData,
{
    // TLS hides the socket from the login, so its deadline is put here.
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    tls.complete_io(&mut stream)?;
    let binding = binding(&tls)?;
    Ok((Untimed(StreamOwned::new(tls, stream)), binding))
}

/// The exporter of RFC 9266. Only TLS 1.3: without extended master secret (RFC 7627), which TLS 1.2 may lack, somebody in
/// the middle could arrange for two connections with the same exporter.
pub fn binding<D>(tls: &ConnectionCommon<D>) -> Result<ChannelBinding, AnyError> {
    if tls.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Err("no channel binding without TLS 1.3".into());
    }
    let exporter = tls.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""))?;
    Ok(ChannelBinding::tls_exporter(exporter))
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
