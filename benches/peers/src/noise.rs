//! Noise with snow: both ends have a static X25519 key, learn the other's in the handshake, and compare it with the one
//! they know.
//!
//! snow takes AES-GCM and SHA-256 from ring (its feature `ring-accelerated`), and X25519 from curve25519-dalek.

use crate::contender::{Contender, Family, Row};
use crate::meter::Meter;
use snow::{Builder, HandshakeState, Keypair, TransportState};

const PATTERN: &str = "Noise_XX_25519_AESGCM_SHA256";

/// Noise's messages are no longer.
pub const MAX_MESSAGE: usize = 65535;

/// The one pattern.
pub fn all() -> Vec<Box<dyn Contender>> {
    vec![Box::new(Peers::new())]
}

/// A client and a server that know each other's public keys.
pub struct Peers {
    client: Keypair,
    server: Keypair,
}

impl Peers {
    /// Peers with new keys.
    pub fn new() -> Self {
        Self { client: builder().generate_keypair().unwrap(), server: builder().generate_keypair().unwrap() }
    }

    /// A whole handshake: the client's session and the server's, or neither where one end has a key that the other
    /// does not expect.
    pub fn handshake(&self, meter: &mut Meter) -> Option<(TransportState, TransportState)> {
        let (hello, mut client) = meter.client(|| {
            let mut state = builder().local_private_key(&self.client.private).unwrap().build_initiator().unwrap();
            (write(&mut state), state)
        });
        meter.client_sends(&hello);
        let (answer, mut server) = meter.server(|| {
            let mut state = builder().local_private_key(&self.server.private).unwrap().build_responder().unwrap();
            read(&mut state, &hello);
            (write(&mut state), state)
        });
        meter.server_sends(&answer);
        let (last, client) = meter.client(|| {
            read(&mut client, &answer);
            if client.get_remote_static() != Some(&self.server.public) {
                return None;
            }
            let last = write(&mut client);
            Some((last, client.into_transport_mode().unwrap()))
        })?;
        meter.client_sends(&last);
        let server = meter.server(|| {
            read(&mut server, &last);
            if server.get_remote_static() != Some(&self.client.public) {
                return None;
            }
            Some(server.into_transport_mode().unwrap())
        })?;
        Some((client, server))
    }
}

fn builder() -> Builder<'static> {
    Builder::new(PATTERN.parse().unwrap())
}

/// The next message, which carries nothing of the application's.
fn write(state: &mut HandshakeState) -> Vec<u8> {
    let mut message = [0; 256];
    let len = state.write_message(&[], &mut message).unwrap();
    message[..len].to_vec()
}

fn read(state: &mut HandshakeState, message: &[u8]) {
    state.read_message(message, &mut [0; 256]).unwrap();
}

impl Contender for Peers {
    fn row(&self) -> Row {
        Row {
            name: format!("{PATTERN} (snow)"),
            family: Family::Peer,
            round_trips: "1",
            authenticates: "both: static keys",
            forward_secret: "yes",
        }
    }

    fn once(&mut self, meter: &mut Meter) {
        assert!(self.handshake(meter).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_carries_bytes() {
        let (mut client, mut server) = Peers::new().handshake(&mut Meter::default()).unwrap();
        let (mut message, mut out) = ([0; 64], [0; 64]);
        let len = client.write_message(b"hello", &mut message).unwrap();
        let len = server.read_message(&message[..len], &mut out).unwrap();
        assert_eq!(&out[..len], b"hello");
    }

    #[test]
    fn another_key_is_refused() {
        let mut peers = Peers::new();
        peers.client.public = Peers::new().client.public;
        assert!(peers.handshake(&mut Meter::default()).is_none());
        let mut peers = Peers::new();
        peers.server.public = Peers::new().server.public;
        assert!(peers.handshake(&mut Meter::default()).is_none());
    }
}
