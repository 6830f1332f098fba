//! What both ends must mean alike and never send: the prologue, and the channel underneath (PROTOCOL.md, "Transcript").

use crate::crypto::{Transcript, hash_of};
use crate::limits;
use crate::mutant::{Check, lacks};
use crate::terms::error::{Differs, Misuse};

/// The application's prologue: up to 65535 bytes.
#[derive(Clone)]
pub(crate) struct Prologue {
    bytes: Vec<u8>,
    hash: [u8; 32],
}

impl Prologue {
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, Misuse> {
        let limit = usize::from(u16::MAX);
        if bytes.len() > limit {
            return Err(Misuse::TooLong { what: "the prologue", len: bytes.len(), limit });
        }
        Ok(Self { bytes: bytes.to_vec(), hash: hash_of(&[b"countersign v1 prologue", bytes]) })
    }

    /// What tickets are good for: logins to this server name with this prologue.
    pub(crate) fn scope(&self, server_name: &str) -> [u8; 32] {
        hash_of(&[b"countersign v1 ticket", server_name.as_bytes(), &self.hash])
    }
}

/// No prologue.
impl Default for Prologue {
    fn default() -> Self {
        Self { bytes: Vec::new(), hash: hash_of(&[b"countersign v1 prologue", b""]) }
    }
}

/// What a hello says of prologue and channel binding (PROTOCOL.md, "Context").
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContextHash(pub(crate) [u8; limits::CONTEXT]);

impl ContextHash {
    /// In which half this one and another end's differ, if they do.
    pub(crate) fn differs(self, theirs: [u8; limits::CONTEXT]) -> Option<Differs> {
        let (ours, theirs) = (self.0.split_at(limits::CONTEXT / 2), theirs.split_at(limits::CONTEXT / 2));
        if lacks(Check::Context) {
            return None;
        }
        match (ours.0 != theirs.0, ours.1 != theirs.1) {
            (false, false) => None,
            (true, false) => Some(Differs::Prologue),
            (false, true) => Some(Differs::Binding),
            (true, true) => Some(Differs::Both),
        }
    }
}

/// The channel underneath, if both ends can name it: it enters the transcript and is never sent.
///
/// Both ends must state the same type and bytes, or the login fails.
///
/// ```
/// use countersign::ChannelBinding;
/// let exporter = [7; 32]; // from the TLS library, on both ends
/// let binding = ChannelBinding::tls_exporter(exporter);
/// assert_ne!(binding, ChannelBinding::none());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelBinding {
    kind: String,
    bytes: Vec<u8>,
}

impl ChannelBinding {
    /// No channel to bind to: a bare TCP connection.
    pub const fn none() -> Self {
        Self { kind: String::new(), bytes: Vec::new() }
    }

    /// A TLS connection, by the 32 bytes of its exporter `EXPORTER-Channel-Binding` (RFC 9266).
    pub fn tls_exporter(exporter: [u8; 32]) -> Self {
        Self { kind: "tls-exporter".to_owned(), bytes: exporter.to_vec() }
    }

    /// A TLS connection of the crate `rustls`, on either end, once its handshake is over.
    ///
    /// Only TLS 1.3 binds: on TLS 1.2 two connections can be made to share a secret (RFC 7627), and whoever ends TLS in the middle
    /// could make both ends name the same channel.
    ///
    /// # Errors
    /// [`Misuse::BadInput`] on TLS 1.2, and before the handshake is over.
    #[cfg(feature = "rustls")]
    pub fn rustls<Side>(connection: &rustls::ConnectionCommon<Side>) -> Result<Self, Misuse> {
        let unsafe_to_bind = Misuse::BadInput("the TLS connection, which must be of TLS 1.3 and past its handshake,");
        if connection.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) || connection.is_handshaking() {
            return Err(unsafe_to_bind);
        }
        let exporter = connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""));
        exporter.map(Self::tls_exporter).map_err(|_| unsafe_to_bind)
    }

    /// Another channel: the type's name (1 to 255 bytes) and the bytes that name this channel (up to 65535).
    ///
    /// # Errors
    /// [`Misuse::TooLong`] and [`Misuse::BadInput`].
    pub fn new(kind: &str, bytes: &[u8]) -> Result<Self, Misuse> {
        if kind.is_empty() {
            return Err(Misuse::BadInput("the channel binding's type"));
        }
        if kind.len() > 255 {
            return Err(Misuse::TooLong { what: "the channel binding's type", len: kind.len(), limit: 255 });
        }
        let limit = usize::from(u16::MAX);
        if bytes.len() > limit {
            return Err(Misuse::TooLong { what: "the channel binding", len: bytes.len(), limit });
        }
        Ok(Self { kind: kind.to_owned(), bytes: bytes.to_vec() })
    }

    pub(crate) fn is_none(&self) -> bool {
        self.kind.is_empty()
    }

    /// The transcript at the start of a handshake over this channel.
    pub(crate) fn transcript(&self, prologue: &Prologue) -> Transcript {
        Transcript::new(&prologue.bytes, &self.kind, &self.bytes)
    }

    /// What a hello says of both.
    pub(crate) fn context(&self, prologue: &Prologue) -> ContextHash {
        let binding = hash_of(&[b"countersign v1 binding", self.kind.as_bytes(), &self.bytes]);
        let mut context = [0; limits::CONTEXT];
        let halves = prologue.hash.iter().take(limits::CONTEXT / 2).chain(binding.iter().take(limits::CONTEXT / 2));
        context.iter_mut().zip(halves).for_each(|(slot, byte)| *slot = *byte);
        ContextHash(context)
    }
}

/// Prints the type alone: the bytes may be secret.
impl core::fmt::Debug for ChannelBinding {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ChannelBinding").field("kind", &self.kind).finish_non_exhaustive()
    }
}
