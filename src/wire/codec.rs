//! Messages as bytes: the layouts of PROTOCOL.md, "Messages".
//!
//! The encoding is bincode's with this configuration: big-endian, fixed-size integers, and our own [`Bytes`], [`Text`]
//! and [`List`] for everything of variable length. That makes its output plain concatenation:
//!
//! | type | bytes |
//! |---|---|
//! | `u8`, `u16`, `u64` | 1, 2 or 8 bytes, big-endian |
//! | `[u8; N]` | N bytes |
//! | [`Bytes`], [`Text`] | length as a `u16`, then that many bytes |
//! | [`List`] | count as a `u8`, then the entries |
//! | a message | its fields in order |
//!
//! Decoding borrows from the frame, allocates nothing, and accepts exactly the bytes that encoding gives: whatever
//! [`decode`] accepts, [`encode`] turns back into the same bytes.

mod message;
mod primitive;

pub use message::{
    ClientHello, ClientLogin, CredentialMessage, KeyShare, Message, ServerHello, ServerResumption, ServerVerdict,
    VerdictMessage,
};
pub(crate) use message::{SavedTicketMessage, TicketKeyMessage, TicketKeysMessage, TicketMessage};
pub use primitive::{Bytes, List, Text};

use crate::limits;
use bincode::config::{BigEndian, Configuration, Fixint, Limit};
use bincode::enc::write::Writer;

/// Bytes that are not a message, or not the canonical encoding of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the message does.
    #[error("the message is cut short")]
    Truncated,
    /// Bytes follow the end of the message.
    #[error("{0} bytes follow the end of the message")]
    Trailing(usize),
    /// A list has more entries than it may.
    #[error("a list has {found} entries; it may have {limit}")]
    TooMany {
        /// The count that the bytes state.
        found: usize,
        /// The largest count.
        limit: usize,
    },
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// The padding is not all zeros, or not as long as it must be.
    #[error("the padding is wrong")]
    Padding,
}

impl DecodeError {
    /// A name for this kind of error that stays the same from release to release: lower-case words joined by hyphens.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated => "message-truncated",
            Self::Trailing(_) => "message-trailing",
            Self::TooMany { .. } => "list-too-long",
            Self::NotUtf8 => "not-utf8",
            Self::Padding => "padding",
        }
    }
}

/// A message that its encoding can't carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A byte string or text is longer than a `u16` can state: this many bytes.
    #[error("a string is longer than {0} bytes, too long for its length field")]
    StringTooLong(usize),
    /// The message does not fit in the size it is padded to.
    #[error("the message does not fit in {0} bytes")]
    DoesNotFit(usize),
    /// The codec refused the message.
    #[error("the message can't be encoded")]
    Unencodable,
}

/// No frame is longer than its `u16` length can state.
const LIMIT: usize = u16::MAX as usize;

const CONFIG: Configuration<BigEndian, Fixint, Limit<LIMIT>> =
    bincode::config::standard().with_big_endian().with_fixed_int_encoding().with_limit::<LIMIT>();

/// Decodes one message that takes up all of `bytes`.
///
/// # Errors
/// [`DecodeError`]: anything that [`encode`] would not give.
pub fn decode<'a, M: Message<'a>>(bytes: &'a [u8]) -> Result<M, DecodeError> {
    match decode_prefix(bytes)? {
        (message, []) => Ok(message),
        (_, rest) => Err(DecodeError::Trailing(rest.len())),
    }
}

/// Appends the encoding of `message` to `out`.
///
/// # Errors
/// [`EncodeError::StringTooLong`]; `out` then ends in an incomplete message.
pub fn encode<'a, M: Message<'a>>(message: &M, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    bincode::encode_into_writer(message, VecWriter(out), CONFIG).map_err(|error| match error {
        bincode::error::EncodeError::Other(primitive::TOO_LONG) => EncodeError::StringTooLong(LIMIT),
        _ => EncodeError::Unencodable,
    })
}

/// Decodes a message that is followed by zeros up to a multiple of `block` bytes, and by no more than that.
///
/// # Errors
/// As [`decode`], and [`DecodeError::Padding`].
pub(crate) fn decode_padded<'a, M: Message<'a>>(bytes: &'a [u8], block: usize) -> Result<M, DecodeError> {
    let (message, padding) = decode_prefix(bytes)?;
    let used = bytes.len().saturating_sub(padding.len());
    let right_length = used.checked_next_multiple_of(block) == Some(bytes.len());
    if !right_length || padding.iter().any(|&byte| byte != 0) {
        return Err(DecodeError::Padding);
    }
    Ok(message)
}

/// Appends the encoding of `message` to `out`, then zeros up to a multiple of `block` bytes.
///
/// # Errors
/// As [`encode`], and [`EncodeError::DoesNotFit`] past `limit` bytes.
pub(crate) fn encode_padded<'a, M: Message<'a>>(
    message: &M,
    block: usize,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let start = out.len();
    encode(message, out)?;
    let used = out.len().saturating_sub(start);
    match used.checked_next_multiple_of(block) {
        Some(padded) if padded <= limit => {
            out.resize(start.saturating_add(padded), 0);
            Ok(())
        }
        _ => Err(EncodeError::DoesNotFit(limit)),
    }
}

/// Appends a [`Bytes`] whose content `write` appends.
pub(crate) fn write_bytes<E: From<EncodeError>>(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    out.extend_from_slice(&[0; 2]);
    write(out)?;
    let content = out.len().saturating_sub(start).saturating_sub(2);
    let len = u16::try_from(content).map_err(|_| EncodeError::StringTooLong(LIMIT))?;
    for (slot, byte) in out.iter_mut().skip(start).zip(len.to_be_bytes()) {
        *slot = byte;
    }
    Ok(())
}

fn decode_prefix<'a, M: Message<'a>>(bytes: &'a [u8]) -> Result<(M, &'a [u8]), DecodeError> {
    use bincode::error::DecodeError as Bincode;
    // bincode panics on nothing below its limit; a frame never reaches it, and nothing longer gets past here.
    if bytes.len() > LIMIT {
        return Err(DecodeError::Trailing(bytes.len().saturating_sub(LIMIT)));
    }
    let (message, used) = bincode::borrow_decode_from_slice::<M, _>(bytes, CONFIG).map_err(|error| match error {
        Bincode::ArrayLengthMismatch { required, found } => DecodeError::TooMany { found, limit: required },
        Bincode::Utf8 { .. } => DecodeError::NotUtf8,
        _ => DecodeError::Truncated,
    })?;
    Ok((message, bytes.get(used..).unwrap_or_default()))
}

/// bincode's own writer over a `Vec` makes a new one; this appends.
struct VecWriter<'a>(&'a mut Vec<u8>);

impl Writer for VecWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

const _: () = assert!(limits::MAX_CLIENT_LOGIN <= LIMIT && limits::MAX_RECORD + limits::TAG <= LIMIT);
