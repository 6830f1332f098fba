//! Sealed records after the handshake, all with AES-256-GCM: one payload sealed at the client and opened at the server.
//!
//! The raw rows are the cipher alone, in place. countersign opens in place, and has two ways to seal: in place, for a
//! payload that stands in the buffer for the wire, and with a copy into it. The others copy where their ordinary interfaces
//! do.

use crate::contender::{KEYS, PASSWORD, Pipe};
use crate::meter::Meter;
use crate::{noise, ours, tls};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, UnboundKey};
use countersign::crypto::Provider;
use countersign::{Opener, Received, Sealer, Session, Suite};
use rustls::{ClientConnection, ServerConnection};
use snow::TransportState;

/// The sizes of the payloads that are measured.
pub const SIZES: [usize; 2] = [16 * 1024, 1024];
/// What they consist of.
pub const BYTE: u8 = 7;

/// Every pipe for payloads of `size` bytes.
pub fn all(size: usize) -> Vec<Box<dyn Pipe>> {
    let mut all: Vec<Box<dyn Pipe>> = vec![Box::new(AwsLc::new(size)), Box::new(RustCrypto::new(size))];
    for provider in ours::PROVIDERS {
        all.push(Box::new(Ours::new(provider(), size, true)));
        all.push(Box::new(Ours::new(provider(), size, false)));
    }
    all.push(Box::new(Tls::new(size)));
    all.push(Box::new(Noise::new(size)));
    all
}

/// The cipher of aws-lc-rs alone.
struct AwsLc {
    key: LessSafeKey,
    count: u64,
    data: Vec<u8>,
}

impl AwsLc {
    fn new(size: usize) -> Self {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[1; 32]).unwrap());
        Self { key, count: 0, data: vec![BYTE; size] }
    }
}

impl Pipe for AwsLc {
    fn name(&self) -> String {
        "the cipher alone, in place (aws-lc-rs)".to_owned()
    }

    fn pass(&mut self) -> &[u8] {
        let nonce = next_nonce(&mut self.count);
        let unique = || aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce);
        let tag = self.key.seal_in_place_separate_tag(unique(), Aad::empty(), &mut self.data).unwrap();
        self.key.open_in_place_separate_tag(unique(), Aad::empty(), tag.as_ref(), &mut self.data).unwrap()
    }
}

/// The cipher of RustCrypto alone.
struct RustCrypto {
    key: Aes256Gcm,
    count: u64,
    data: Vec<u8>,
}

impl RustCrypto {
    fn new(size: usize) -> Self {
        Self { key: Aes256Gcm::new(&[1; 32].into()), count: 0, data: vec![BYTE; size] }
    }
}

impl Pipe for RustCrypto {
    fn name(&self) -> String {
        "the cipher alone, in place (aes-gcm)".to_owned()
    }

    fn pass(&mut self) -> &[u8] {
        let nonce = Nonce::from(next_nonce(&mut self.count));
        let tag = self.key.encrypt_inout_detached(&nonce, b"", self.data.as_mut_slice().into()).unwrap();
        self.key.decrypt_inout_detached(&nonce, b"", self.data.as_mut_slice().into(), &tag).unwrap();
        &self.data
    }
}

/// A nonce that was not used before.
fn next_nonce(count: &mut u64) -> [u8; 12] {
    *count += 1;
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&count.to_be_bytes());
    nonce
}

/// A countersign session.
struct Ours {
    provider: Provider,
    sealer: Sealer,
    opener: Opener,
    in_place: bool,
    payload: Vec<u8>,
    wire: Vec<u8>,
}

impl Ours {
    fn new(provider: Provider, size: usize, in_place: bool) -> Self {
        let peers = ours::Peers::new(provider, Suite::X25519_AES_256_GCM, KEYS[0]);
        let (client, server) = peers.login(PASSWORD, false, &mut Meter::default()).unwrap();
        let (Session { sealer, .. }, Session { opener, .. }) = (client, server);
        let wire = vec![BYTE; size + Session::OVERHEAD];
        Self { provider, sealer, opener, in_place, payload: vec![BYTE; size], wire }
    }
}

impl Pipe for Ours {
    fn name(&self) -> String {
        let how = if self.in_place { "in place" } else { "with a copy" };
        format!("countersign, {how} ({})", self.provider.name)
    }

    fn pass(&mut self) -> &[u8] {
        if self.in_place {
            self.sealer.seal_in_place(&mut self.wire).unwrap();
        } else {
            self.wire.clear();
            self.sealer.seal(&self.payload, &mut self.wire).unwrap();
        }
        match self.opener.open(&mut self.wire).unwrap() {
            Received::Data(data) => data,
            other => panic!("{other:?}: no run seals so much that the key changes"),
        }
    }
}

/// A TLS 1.3 connection.
struct Tls {
    client: ClientConnection,
    server: ServerConnection,
    payload: Vec<u8>,
    wire: Vec<u8>,
    out: Vec<u8>,
}

impl Tls {
    fn new(size: usize) -> Self {
        let (client, server) = tls::Peers::for_session().handshake(&mut Meter::default()).unwrap();
        Self { client, server, payload: vec![BYTE; size], wire: Vec::new(), out: vec![0; size] }
    }
}

impl Pipe for Tls {
    fn name(&self) -> String {
        "TLS 1.3 (rustls on aws-lc-rs)".to_owned()
    }

    fn pass(&mut self) -> &[u8] {
        tls::pass(&mut self.client, &mut self.server, &self.payload, &mut self.wire, &mut self.out);
        &self.out
    }
}

/// A Noise session.
struct Noise {
    client: TransportState,
    server: TransportState,
    payload: Vec<u8>,
    wire: Vec<u8>,
    out: Vec<u8>,
}

impl Noise {
    fn new(size: usize) -> Self {
        let (client, server) = noise::Peers::new().handshake(&mut Meter::default()).unwrap();
        let wire = vec![0; noise::MAX_MESSAGE];
        Self { client, server, payload: vec![BYTE; size], out: wire.clone(), wire }
    }
}

impl Pipe for Noise {
    fn name(&self) -> String {
        "Noise transport (snow on ring)".to_owned()
    }

    fn pass(&mut self) -> &[u8] {
        let len = self.client.write_message(&self.payload, &mut self.wire).unwrap();
        let len = self.server.read_message(&self.wire[..len], &mut self.out).unwrap();
        &self.out[..len]
    }
}
