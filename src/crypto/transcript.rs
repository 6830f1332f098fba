//! The transcript: one running SHA-256 over everything both sides must agree on (PROTOCOL.md, "Transcript").

use crate::error::Misuse;
use sha2::{Digest, Sha256};

/// SHA-256 of the transcript at some point of the handshake.
pub(crate) type TranscriptHash = [u8; 32];

/// What the first bytes of every transcript say.
const LABEL: &[u8] = b"countersign v1";

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
}

/// Prints the type alone: the bytes may be secret.
impl core::fmt::Debug for ChannelBinding {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ChannelBinding").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// `SHA-256(lp(label) || lp(prologue) || lp(binding type) || lp(binding bytes) || frame || frame || ...)`, where
/// `lp(x)` is the length of `x` as a `u16` and then `x`.
#[derive(Clone)]
pub(crate) struct Transcript(Sha256);

impl Transcript {
    pub(crate) fn new(prologue: &[u8], binding: &ChannelBinding) -> Self {
        let mut hash = Sha256::new();
        for part in [LABEL, prologue, binding.kind.as_bytes(), &binding.bytes] {
            // Each part is at most 65535 bytes long: checked where the prologue and the binding are made.
            hash.update(u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
            hash.update(part);
        }
        Self(hash)
    }

    /// Adds bytes as they crossed the wire: a frame, or the front part of one.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of everything so far.
    pub(crate) fn hash(&self) -> TranscriptHash {
        self.0.clone().finalize().into()
    }
}
