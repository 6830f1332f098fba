//! TLS 1.3 with rustls on aws-lc-rs: the server has a self-signed RSA-2048 certificate that the client trusts; the
//! client has none.
//!
//! A full handshake gives no ticket, and a resumed one gives the next, as in countersign's rows.

use crate::contender::{Contender, Family, KEYS, Row};
use crate::meter::Meter;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ConnectionCommon, HandshakeKind, RootCertStore, ServerConfig};
use rustls::{Error, ServerConnection, SideData};
use std::io::{Read, Write};
use std::ops::DerefMut;
use std::sync::Arc;

/// The name in the server's certificate.
const NAME: &str = "server.example";

/// The only key exchange offered where like is compared with like.
const X25519: &[&dyn SupportedKxGroup] = &[aws_lc_rs::kx_group::X25519];

/// Full and resumed over X25519, and full over the default groups.
pub fn all() -> Vec<Box<dyn Contender>> {
    let full = |name, groups| Box::new(Tls { name, peers: Peers::new(groups, false), kind: HandshakeKind::Full });
    let resumed =
        Tls { name: "TLS 1.3 resumed, X25519 (rustls)", peers: Peers::new(X25519, true), kind: HandshakeKind::Resumed };
    // The first one is full, and gives the ticket for the first that counts.
    resumed.peers.handshake(&mut Meter::default()).unwrap();
    vec![
        full("TLS 1.3 full, RSA-2048, X25519 (rustls)", X25519),
        full("TLS 1.3 full, RSA-2048, X25519MLKEM768 (rustls)", aws_lc_rs::DEFAULT_KX_GROUPS),
        Box::new(resumed),
    ]
}

struct Tls {
    name: &'static str,
    peers: Peers,
    kind: HandshakeKind,
}

impl Contender for Tls {
    fn row(&self) -> Row {
        Row {
            name: self.name.to_owned(),
            family: Family::Peer,
            round_trips: "1",
            authenticates: "server only: certificate",
            forward_secret: "yes",
        }
    }

    fn once(&mut self, meter: &mut Meter) {
        let (client, server) = self.peers.handshake(meter).unwrap();
        assert_eq!(client.handshake_kind(), Some(self.kind));
        assert_eq!(server.handshake_kind(), Some(self.kind));
    }
}

/// A client and a server that know each other's configuration.
pub struct Peers {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Peers {
    /// Peers that speak TLS13_AES_256_GCM_SHA384 over these key exchange groups, and resume or not.
    fn new(groups: &[&'static dyn SupportedKxGroup], resume: bool) -> Self {
        let provider = Arc::new(CryptoProvider {
            kx_groups: groups.to_vec(),
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
            ..aws_lc_rs::default_provider()
        });
        let key = rcgen::KeyPair::from_pkcs8_pem_and_sign_algo(KEYS[0].1, &rcgen::PKCS_RSA_SHA256).unwrap();
        let certificate = rcgen::CertificateParams::new([NAME.to_owned()]).unwrap().self_signed(&key).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());

        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider.clone());
        let client = client.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
        let mut client = client.with_root_certificates(roots).with_no_client_auth();

        let server = ServerConfig::builder_with_provider(provider);
        let server = server.with_protocol_versions(&[&rustls::version::TLS13]).unwrap().with_no_client_auth();
        let mut server = server.with_single_cert(vec![certificate.der().clone()], key.into()).unwrap();
        if resume {
            server.ticketer = aws_lc_rs::Ticketer::new().unwrap();
            server.send_tls13_tickets = 1;
        } else {
            server.send_tls13_tickets = 0;
            client.resumption = Resumption::disabled();
        }
        Self { client: Arc::new(client), server: Arc::new(server) }
    }

    /// Peers for a session, whatever it takes to get there.
    pub fn for_session() -> Self {
        Self::new(X25519, false)
    }

    /// A whole handshake: the client's connection and the server's.
    ///
    /// # Errors
    /// What either end does not take of the other.
    pub fn handshake(&self, meter: &mut Meter) -> Result<(ClientConnection, ServerConnection), Error> {
        let name = ServerName::try_from(NAME).unwrap();
        let mut client = meter.client(|| ClientConnection::new(self.client.clone(), name).unwrap());
        let mut server = meter.server(|| ServerConnection::new(self.server.clone()).unwrap());
        while client.wants_write() || server.wants_write() {
            let flight = meter.client(|| send(&mut client));
            meter.client_sends(&flight);
            meter.server(|| receive(&mut server, &flight))?;
            let flight = meter.server(|| send(&mut server));
            meter.server_sends(&flight);
            meter.client(|| receive(&mut client, &flight))?;
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        Ok((client, server))
    }
}

/// All that this end wants to send.
fn send<D: SideData>(end: &mut impl DerefMut<Target = ConnectionCommon<D>>) -> Vec<u8> {
    let mut out = Vec::new();
    while end.wants_write() {
        end.write_tls(&mut out).unwrap();
    }
    out
}

/// Hands these bytes to this end.
fn receive<D: SideData>(end: &mut impl DerefMut<Target = ConnectionCommon<D>>, mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        end.read_tls(&mut bytes).unwrap();
        end.process_new_packets()?;
    }
    Ok(())
}

/// One payload from the client to the server, through the connections' own buffers; it is in `out` afterwards.
pub fn pass(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
    payload: &[u8],
    wire: &mut Vec<u8>,
    out: &mut [u8],
) {
    client.writer().write_all(payload).unwrap();
    wire.clear();
    while client.wants_write() {
        client.write_tls(wire).unwrap();
    }
    receive(server, wire).unwrap();
    server.reader().read_exact(out).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_carries_bytes() {
        let (mut client, mut server) = Peers::for_session().handshake(&mut Meter::default()).unwrap();
        let mut out = [0; 5];
        pass(&mut client, &mut server, b"hello", &mut Vec::new(), &mut out);
        assert_eq!(&out, b"hello");
    }

    #[test]
    fn the_key_exchange_is_what_the_row_says() {
        for (groups, name) in [(X25519, "X25519"), (aws_lc_rs::DEFAULT_KX_GROUPS, "X25519MLKEM768")] {
            let (client, _) = Peers::new(groups, false).handshake(&mut Meter::default()).unwrap();
            let group = client.negotiated_key_exchange_group().unwrap().name();
            assert_eq!(format!("{group:?}"), name);
        }
    }

    #[test]
    fn another_certificate_is_refused() {
        let mut peers = Peers::for_session();
        let client = ClientConfig::builder_with_provider(peers.client.crypto_provider().clone());
        let client = client.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
        peers.client = Arc::new(client.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
        assert!(matches!(peers.handshake(&mut Meter::default()), Err(Error::InvalidCertificate(_))));
    }
}
