//! Frames: a typed, length-prefixed unit of a byte stream (PROTOCOL.md, "Frames").
//!
//! ```text
//! frame = type (1 byte) || length (u16, big-endian) || body (length bytes)
//! ```
//!
//! This module knows nothing of what a body means. [`FrameReader`] is the one parser that every adapter feeds.

use crate::limits;
use core::fmt;

/// What a frame is. The numbers are the type bytes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum FrameType {
    /// Frame 1, client to server: offers and the client's nonce.
    ClientHello = 1,
    /// Frame 2, server to client: the challenge and the server's key.
    ServerHello = 2,
    /// Frame 3, client to server: the sealed secret and credential.
    ClientLogin = 3,
    /// Frame 4, server to client: the sealed verdict.
    ServerVerdict = 4,
    /// A session's data record.
    Data = 5,
    /// A session's key update.
    KeyUpdate = 6,
    /// A session's authenticated end of one direction.
    Close = 7,
    /// Server to client, in place of frames 2 to 4: a ticket was taken.
    ServerResumption = 8,
    /// Server to client, in place of frame 2: there is no room now. Nothing authenticates it.
    Busy = 9,
    /// Client to server, after a ServerResumption: it has checked it, and is there.
    Confirm = 10,
    /// Client to server, after a ServerVerdict that asks for a further factor: the sealed answer.
    ClientFactor = 11,
    /// Client to server, after a Busy with a puzzle: its solution.
    Solution = 12,
}

impl FrameType {
    /// Every frame type, in the order of the type bytes.
    pub const ALL: [Self; 12] = [
        Self::ClientHello,
        Self::ServerHello,
        Self::ClientLogin,
        Self::ServerVerdict,
        Self::Data,
        Self::KeyUpdate,
        Self::Close,
        Self::ServerResumption,
        Self::Busy,
        Self::Confirm,
        Self::ClientFactor,
        Self::Solution,
    ];

    /// The frame type with this type byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.byte() == byte)
    }

    /// The type byte.
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// The largest body, in bytes, that a frame of this type may have: for a handshake's, that of the fullest message.
    pub const fn max_body(self) -> usize {
        match self {
            Self::ClientHello => 6276,
            Self::ServerHello => 19132,
            Self::ClientLogin => 5652,
            Self::ServerVerdict => limits::SERVER_VERDICT,
            Self::Data => limits::MAX_RECORD + limits::TAG,
            Self::KeyUpdate | Self::Close | Self::Confirm => limits::TAG,
            Self::ServerResumption => 20023,
            Self::Busy => 1027,
            Self::ClientFactor => limits::CLIENT_FACTOR,
            Self::Solution => limits::SOLUTION,
        }
    }

    /// The smallest body, in bytes, that a frame of this type may have: that of a message with everything empty that may be of
    /// any length.
    pub const fn min_body(self) -> usize {
        match self {
            Self::ClientHello => 53,
            Self::ServerHello => 84,
            Self::ClientLogin => 4,
            Self::ServerVerdict => limits::SERVER_VERDICT,
            Self::Data => 1 + limits::TAG,
            Self::KeyUpdate | Self::Close | Self::Confirm => limits::TAG,
            Self::ServerResumption => 2103,
            Self::Busy => 3,
            Self::ClientFactor => limits::CLIENT_FACTOR,
            Self::Solution => limits::SOLUTION,
        }
    }
}

impl fmt::Display for FrameType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Bytes that are not the expected frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// No frame type has this type byte; the peer probably speaks another protocol.
    #[error("{0:#04x} is no frame type; does the peer speak this protocol?")]
    UnknownType(u8),
    /// A frame of another type than this state takes.
    #[error("a {0} frame, which is not expected now")]
    UnexpectedType(FrameType),
    /// The length is outside what a frame of this type may have.
    #[error("a {kind} frame with a body of {len} bytes; it may have {min} to {max}")]
    Length {
        /// The frame's type.
        kind: FrameType,
        /// The body length the header states, in bytes.
        len: usize,
        /// The smallest body of this type, in bytes.
        min: usize,
        /// The largest body of this type, in bytes.
        max: usize,
    },
    /// The bytes end before the frame does.
    #[error("the frame is cut short: {missing} bytes are missing")]
    Truncated {
        /// How many bytes are missing, as far as is known; at least 1.
        missing: usize,
    },
    /// Bytes follow the end of the frame.
    #[error("{0} bytes follow the end of the frame")]
    Trailing(usize),
}

impl FrameError {
    /// A name for this kind of error that stays the same from release to release: lower-case words joined by hyphens.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownType(_) => "unknown-frame",
            Self::UnexpectedType(_) => "unexpected-frame",
            Self::Length { .. } => "frame-length",
            Self::Truncated { .. } => "frame-truncated",
            Self::Trailing(_) => "frame-trailing",
        }
    }
}

/// A frame's header: its type and the length of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// The frame's type.
    pub kind: FrameType,
    /// The length of the body in bytes.
    pub body: usize,
}

impl Header {
    /// Reads a header; `Ok(None)` while the bytes so far are too few to tell.
    ///
    /// A bad type is refused at the first byte and a bad length at the third.
    ///
    /// # Errors
    /// [`FrameError::UnknownType`] and [`FrameError::Length`].
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some(&type_byte) = bytes.first() else {
            return Ok(None);
        };
        let kind = FrameType::from_byte(type_byte).ok_or(FrameError::UnknownType(type_byte))?;
        let (Some(&high), Some(&low)) = (bytes.get(1), bytes.get(2)) else {
            return Ok(None);
        };
        let body = usize::from(u16::from_be_bytes([high, low]));
        let (min, max) = (kind.min_body(), kind.max_body());
        if body < min || body > max {
            return Err(FrameError::Length { kind, len: body, min, max });
        }
        Ok(Some(Self { kind, body }))
    }

    /// The three bytes of a header; a body that no `u16` can state is a [`FrameError::Length`].
    pub(crate) fn to_bytes(self) -> Result<[u8; limits::FRAME_HEADER], FrameError> {
        let Self { kind, body } = self;
        let (min, max) = (kind.min_body(), kind.max_body());
        match u16::try_from(body) {
            Ok(len) if body >= min && body <= max => {
                let [high, low] = len.to_be_bytes();
                Ok([kind.byte(), high, low])
            }
            _ => Err(FrameError::Length { kind, len: body, min, max }),
        }
    }
}

/// Splits one whole frame, header included, into its type and body.
///
/// ```
/// use countersign::frame::{FrameType, split};
///
/// let close = [&[7, 0, 16][..], &[0xaa; 16]].concat();
/// let (kind, body) = split(&close)?;
/// assert_eq!(kind, FrameType::Close);
/// assert_eq!(body.len(), 16);
/// # Ok::<(), countersign::frame::FrameError>(())
/// ```
///
/// # Errors
/// Every [`FrameError`] but [`FrameError::UnexpectedType`].
pub fn split(frame: &[u8]) -> Result<(FrameType, &[u8]), FrameError> {
    let Some(header) = Header::parse(frame)? else {
        let missing = limits::FRAME_HEADER.saturating_sub(frame.len());
        return Err(FrameError::Truncated { missing });
    };
    let body = frame.get(limits::FRAME_HEADER..).unwrap_or_default();
    match body.len().checked_sub(header.body) {
        Some(0) => Ok((header.kind, body)),
        Some(extra) => Err(FrameError::Trailing(extra)),
        None => Err(FrameError::Truncated { missing: header.body.saturating_sub(body.len()) }),
    }
}

/// The body of `frame`, which must be one whole frame of type `expected`.
pub(crate) fn expect(frame: &[u8], expected: FrameType) -> Result<&[u8], FrameError> {
    check_type(frame, &[expected])?;
    split(frame).map(|(_, body)| body)
}

/// Refuses a frame type that is not expected, as soon as its byte is there. Leaves an unknown one to [`Header::parse`].
pub(crate) fn check_type(bytes: &[u8], expected: &[FrameType]) -> Result<(), FrameError> {
    match bytes.first().and_then(|&byte| FrameType::from_byte(byte)) {
        Some(kind) if !expected.contains(&kind) => Err(FrameError::UnexpectedType(kind)),
        _ => Ok(()),
    }
}

/// Cuts a byte stream into frames, whatever pieces the stream comes in.
///
/// It takes only the bytes of the frame it is on and leaves the rest to the caller, so nothing is ever read ahead.
/// Its buffer grows with the bytes that have arrived, never with the length that a header states.
///
/// ```
/// use countersign::frame::{FrameReader, FrameType};
///
/// let mut reader = FrameReader::new();
/// let stream = [&[7, 0, 16][..], &[0xaa; 16], &[7]].concat();
/// // One byte, then the rest: the frame ends where it says, and one byte is left over.
/// assert_eq!(reader.feed(&stream[..1], &[FrameType::Close])?, 1);
/// assert_eq!(reader.feed(&stream[1..], &[FrameType::Close])?, 18);
/// assert_eq!(reader.take(), Some(stream[..19].to_vec()));
/// # Ok::<(), countersign::frame::FrameError>(())
/// ```
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
}

impl FrameReader {
    /// A reader at the start of a frame. It holds no heap memory yet.
    pub const fn new() -> Self {
        Self { buffer: Vec::new() }
    }

    /// Takes bytes of the current frame from the front of `input` and says how many; the rest is the caller's.
    ///
    /// `expected` lists the frame types that may come now. Takes 0 bytes once the frame is complete.
    ///
    /// # Errors
    /// [`FrameError::UnknownType`], [`FrameError::UnexpectedType`] at the first byte; [`FrameError::Length`] at the
    /// third. The stream can't be followed any further then.
    pub fn feed(&mut self, input: &[u8], expected: &[FrameType]) -> Result<usize, FrameError> {
        let mut taken: usize = 0;
        while let Some(rest) = input.get(taken..) {
            let missing = self.missing()?;
            let piece = rest.get(..missing.min(rest.len())).unwrap_or_default();
            if piece.is_empty() {
                break;
            }
            self.buffer.extend_from_slice(piece);
            taken = taken.saturating_add(piece.len());
            check_type(&self.buffer, expected)?;
        }
        self.missing()?;
        Ok(taken)
    }

    /// How many more bytes the current frame certainly needs: up to 3 for its header, then its body's; 0 when complete.
    ///
    /// # Errors
    /// As [`FrameReader::feed`].
    pub fn missing(&self) -> Result<usize, FrameError> {
        Ok(match Header::parse(&self.buffer)? {
            None => limits::FRAME_HEADER.saturating_sub(self.buffer.len()),
            Some(header) => header.body.saturating_add(limits::FRAME_HEADER).saturating_sub(self.buffer.len()),
        })
    }

    /// The complete frame, header included, if there is one; the reader is then at the start of the next.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        match self.missing() {
            Ok(0) => Some(core::mem::take(&mut self.buffer)),
            _ => None,
        }
    }

    /// Whether no byte of a frame has arrived: the stream may end here.
    pub fn is_at_boundary(&self) -> bool {
        self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the peer would refuse is not sent either.
    #[test]
    fn no_header_is_made_for_a_body_that_a_frame_of_its_type_may_not_have() {
        for kind in FrameType::ALL {
            let (min, max) = (kind.min_body(), kind.max_body());
            for body in [min, max] {
                let header = Header { kind, body };
                assert_eq!(header.to_bytes().map(|bytes| Header::parse(&bytes)), Ok(Ok(Some(header))));
            }
            for body in [0, min.saturating_sub(1), max.saturating_add(1), usize::MAX] {
                let error = FrameError::Length { kind, len: body, min, max };
                assert_eq!(Header { kind, body }.to_bytes(), Err(error));
            }
        }
    }
}
