//! How do I log in inside TLS from async code, and what does the binding protect from? tokio-rustls, and somebody in the middle.
//!
//! ```text
//! cargo run --features tokio,rustls --example tls_tokio
//! ```
//!
//! The relay here has a certificate that the client takes, as that of a company's proxy is taken, or a stolen one. It ends TLS
//! on both sides, and passes on what is inside, unchanged. Without a binding it would go unnoticed, and without countersign it
//! would have the password. With the binding the login fails; on TLS 1.2 there is no binding to be had.

use countersign::PrivateKey;
use countersign::crypto::rustcrypto;
use countersign::{
    Acceptor, Attempt, ChannelBinding, ClientConfig, Connector, Context, Credential, Differs, Error, Grant,
};
use countersign::{KeySize, LoginError, Misuse, Reason, Server, ServerConfig, ServerKey, Stream};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{RootCertStore, SupportedProtocolVersion};
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

type AnyError = Box<dyn StdError + Send + Sync>;

/// A server: TLS first, then the login, bound to it.
#[derive(Clone)]
struct TlsServer {
    tls: TlsAcceptor,
    logins: Acceptor,
}

impl TlsServer {
    /// A login over the next connection; a server for strangers spawns all but the first line.
    async fn accept(&self, listener: &TcpListener) -> Result<Stream<server::TlsStream<TcpStream>>, AnyError> {
        let (stream, peer) = listener.accept().await?;
        let stream = self.tls.accept(stream).await?; // put a deadline of your own on this
        let binding = ChannelBinding::rustls(stream.get_ref().1)?;
        Ok(self.logins.accept(stream, Context::from(peer).with_binding(binding)).await?)
    }
}

/// A client: the same the other way round.
struct TlsClient {
    tls: TlsConnector,
    logins: Connector,
}

impl TlsClient {
    async fn connect(&self, address: SocketAddr) -> Result<Stream<client::TlsStream<TcpStream>>, AnyError> {
        let stream = TcpStream::connect(address).await?;
        let stream = self.tls.connect(ServerName::try_from("localhost")?, stream).await?;
        let binding = ChannelBinding::rustls(stream.get_ref().1)?;
        let alice = Credential::Password { user: "alice", password: b"correct horse" };
        Ok(self.logins.clone().with_binding(binding).connect(stream, alice).await?)
    }
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
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
    let (tls_server, tls_client) = tls_configs(rustls::DEFAULT_VERSIONS)?;
    let server = TlsServer { tls: tls_server.clone(), logins: acceptor.clone() };
    let client = TlsClient { tls: tls_client.clone(), logins: connector.clone() };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;

    // Nobody in the middle.
    let (accepted, connected) = tokio::join!(server.accept(&listener), client.connect(address));
    let (mut ours, mut theirs) = (accepted?, connected?);
    ours.write_all(b"sealed twice").await?;
    ours.shutdown().await?;
    let mut said = String::new();
    theirs.read_to_string(&mut said).await?;
    assert_eq!(said, "sealed twice");

    // A relay, to which the client connects. Its certificate is good enough for the client.
    let (relay_server, fooled) = tls_configs(rustls::DEFAULT_VERSIONS)?;
    let middle = TcpListener::bind("127.0.0.1:0").await?;
    let relay_address = middle.local_addr()?;
    tokio::spawn(async move {
        let mut near = relay_server.accept(middle.accept().await?.0).await?;
        let far = TcpStream::connect(address).await?;
        let mut far = tls_client.connect(ServerName::try_from("localhost")?, far).await?;
        copy_bidirectional(&mut near, &mut far).await?;
        Ok::<_, AnyError>(())
    });
    let client = TlsClient { tls: fooled, logins: connector.clone() };
    let (accepted, connected) = tokio::join!(server.accept(&listener), client.connect(relay_address));
    let refused = accepted.err().and_then(|error| error.downcast::<LoginError>().ok());
    // Both ends see that they are not at the ends of one channel, and no login is sent. (A relay that hid that from them would make the
    // login fail, as if it had been altered on the way.)
    let other_channel = Error::DifferentContext(Differs::Binding);
    assert!(matches!(refused.as_deref(), Some(LoginError::Protocol(error)) if *error == other_channel), "{refused:?}");
    assert!(connected.is_err());

    // TLS 1.2, where two connections can be made to look the same.
    let (old_server, old_client) = tls_configs(&[&rustls::version::TLS12])?;
    let server = TlsServer { tls: old_server, logins: acceptor };
    let client = TlsClient { tls: old_client, logins: connector };
    let (accepted, connected) = tokio::join!(server.accept(&listener), client.connect(address));
    for error in [accepted.err(), connected.err()] {
        assert!(error.is_some_and(|error| error.is::<Misuse>()));
    }
    println!("a login inside TLS, none through a relay, none over TLS 1.2");
    Ok(())
}

/// A server with a self-signed certificate, and a client that takes it, both for these versions of TLS.
fn tls_configs(versions: &[&'static SupportedProtocolVersion]) -> Result<(TlsAcceptor, TlsConnector), AnyError> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&ring)).with_protocol_versions(versions)?;
    let server = server.with_no_client_auth().with_single_cert(vec![certificate.clone()], key.into())?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let client = rustls::ClientConfig::builder_with_provider(ring).with_protocol_versions(versions)?;
    let client = client.with_root_certificates(roots).with_no_client_auth();
    Ok((Arc::new(server).into(), Arc::new(client).into()))
}
