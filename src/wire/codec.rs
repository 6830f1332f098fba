//! Messages as bytes: the layouts of PROTOCOL.md, "Messages".
//!
//! A message is a struct, and its bytes are those of its fields, in order, with nothing between. Each layout is stated
//! once; from it follow decoding, encoding, the length beforehand ([`Message::encoded_len`]) and the largest length
//! ([`Message::MAX`]).
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

mod field;
mod layout;
mod message;
mod primitive;

pub(crate) use field::{Field, Reader, Writer};
pub(crate) use layout::{Tail, layout};
pub use message::{
    Busy, ClientFactor, ClientHello, ClientLogin, Confirm, CredentialMessage, Extension, Extensions, Factor,
    FactorRequest, GrantMessage, KeyProof, KeyShare, Message, ParametersMessage, PuzzleMessage, ServerHello,
    ServerResumption, ServerVerdict, Solution, StretchedMessage, StretchingMessage, VerdictMessage,
};
pub use primitive::{Bytes, List, Stretched, Text};

use crate::limits;

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
    /// A number in what the library keeps for itself stands for nothing that it knows. Messages carry any number.
    #[error("a number that stands for nothing known")]
    Unknown,
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
            Self::Unknown => "unknown-value",
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
    /// The message does not fit in the room that there is for it: this many bytes.
    #[error("the message does not fit in {0} bytes")]
    DoesNotFit(usize),
}

impl EncodeError {
    /// A word for logs and metrics: kebab-case, and the same in every version.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::StringTooLong(_) => "string-too-long",
            Self::DoesNotFit(_) => "does-not-fit",
        }
    }
}

/// Decodes one message that takes up all of `bytes`.
///
/// # Errors
/// [`DecodeError`]: anything that [`encode`] would not give.
pub fn decode<'a, M: Message<'a>>(bytes: &'a [u8]) -> Result<M, DecodeError> {
    read(bytes)
}

/// Appends the encoding of `message` to `out`: [`Message::encoded_len`] bytes.
///
/// # Errors
/// [`EncodeError::StringTooLong`]; `out` is then as it was.
pub fn encode<'a, M: Message<'a>>(message: &M, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    append(message, out)
}

/// As [`decode`], for any layout.
pub(crate) fn read<'a, F: Field<'a>>(bytes: &'a [u8]) -> Result<F, DecodeError> {
    let mut reader = Reader::new(bytes);
    let field = F::read(&mut reader)?;
    match reader.rest() {
        [] => Ok(field),
        rest => Err(DecodeError::Trailing(rest.len())),
    }
}

/// As [`encode`], for any layout.
pub(crate) fn append<'a>(field: &impl Field<'a>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    out.resize(start.saturating_add(field.size()), 0);
    let written = fill(field, out.get_mut(start..).unwrap_or_default());
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Writes the encoding of `field` into room for it, and zeros into what is left of the room.
///
/// # Errors
/// As [`encode`], and [`EncodeError::DoesNotFit`].
pub(crate) fn fill<'a>(field: &impl Field<'a>, room: &mut [u8]) -> Result<(), EncodeError> {
    let mut writer = Writer::new(room);
    field.write(&mut writer)?;
    writer.rest().fill(0);
    Ok(())
}

/// How many bytes `message` has with zeros after it up to a multiple of `block`.
pub(crate) fn padded_len<'a>(message: &impl Field<'a>, block: usize) -> usize {
    message.size().checked_next_multiple_of(block).unwrap_or(usize::MAX)
}

/// Decodes a message that is followed by zeros up to a multiple of `block` bytes, and by no more than that.
///
/// # Errors
/// As [`decode`], and [`DecodeError::Padding`].
pub(crate) fn decode_padded<'a, M: Field<'a>>(bytes: &'a [u8], block: usize) -> Result<M, DecodeError> {
    let mut reader = Reader::new(bytes);
    let message = M::read(&mut reader)?;
    if padded_len(&message, block) != bytes.len() || reader.rest().iter().any(|&byte| byte != 0) {
        return Err(DecodeError::Padding);
    }
    Ok(message)
}

/// Zeros, for a field that is filled in where it stands.
///
/// # Errors
/// [`EncodeError::DoesNotFit`] past the longest of them.
pub(crate) fn room(len: usize) -> Result<Bytes<'static>, EncodeError> {
    static ZEROS: [u8; limits::MAX_SEALED_CREDENTIAL] = [0; limits::MAX_SEALED_CREDENTIAL];
    ZEROS.get(..len).map(Bytes).ok_or(EncodeError::DoesNotFit(ZEROS.len()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Whatever was there before: it would be sent along, and the peer takes zeros alone.
    #[test]
    fn what_a_message_leaves_of_its_room_is_zeros() {
        let mut room = [0xff; 10];
        fill(&Bytes(b"hello"), &mut room).unwrap();
        assert_eq!(room, *b"\0\x05hello\0\0\0");
    }
}
