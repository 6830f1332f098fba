//! The three shapes of variable length.

use bincode::de::read::BorrowReader;
use bincode::de::{BorrowDecode, BorrowDecoder, Decode};
use bincode::enc::{Encode, Encoder, write::Writer};
use bincode::error::{DecodeError, EncodeError};
use core::fmt;
use core::ops::Deref;

/// What our `Encode` says of a string that a `u16` can't measure.
pub(super) const TOO_LONG: &str = "longer than its length field can state";

/// A byte string: its length as a `u16`, then the bytes. Borrows from the frame it was decoded from.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Deref for Bytes<'a> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0
    }
}

/// Prints the length alone: the bytes may be secret.
impl fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} bytes)", self.0.len())
    }
}

impl Encode for Bytes<'_> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let len = u16::try_from(self.0.len()).map_err(|_| EncodeError::Other(TOO_LONG))?;
        len.encode(encoder)?;
        encoder.writer().write(self.0)
    }
}

impl<'de, C> BorrowDecode<'de, C> for Bytes<'de> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let len = usize::from(u16::decode(decoder)?);
        decoder.claim_bytes_read(len)?;
        decoder.borrow_reader().take_bytes(len).map(Self)
    }
}

/// A UTF-8 string, encoded as [`Bytes`].
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Text<'a>(pub &'a str);

impl<'a> Deref for Text<'a> {
    type Target = str;

    fn deref(&self) -> &str {
        self.0
    }
}

/// Prints the length alone: a user name is nobody else's business.
impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}

impl Encode for Text<'_> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        Bytes(self.0.as_bytes()).encode(encoder)
    }
}

impl<'de, C> BorrowDecode<'de, C> for Text<'de> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let Bytes(bytes) = Bytes::borrow_decode(decoder)?;
        core::str::from_utf8(bytes).map(Self).map_err(|inner| DecodeError::Utf8 { inner })
    }
}

/// At most `N` entries, held inline: their count as a `u8`, then the entries.
///
/// `N` is at most 255.
#[derive(Clone, Copy)]
pub struct List<T, const N: usize> {
    entries: [T; N],
    count: u8,
}

impl<T: Copy + Default, const N: usize> List<T, N> {
    /// A list without entries.
    pub fn new() -> Self {
        const { assert!(N <= u8::MAX as usize) };
        Self { entries: [T::default(); N], count: 0 }
    }

    /// A list of these entries; `None` where there are more than `N`.
    pub fn from_slice(entries: &[T]) -> Option<Self> {
        let mut list = Self::new();
        for &entry in entries {
            list.push(entry)?;
        }
        Some(list)
    }

    /// Adds an entry; `None` where the list is full.
    pub fn push(&mut self, entry: T) -> Option<()> {
        *self.entries.get_mut(usize::from(self.count))? = entry;
        self.count = self.count.saturating_add(1);
        Some(())
    }
}

impl<T: Copy + Default, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Deref for List<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.entries.get(..usize::from(self.count)).unwrap_or_default()
    }
}

impl<T: fmt::Debug, const N: usize> fmt::Debug for List<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: PartialEq, const N: usize> PartialEq for List<T, N> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq, const N: usize> Eq for List<T, N> {}

impl<T: Encode, const N: usize> Encode for List<T, N> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.count.encode(encoder)?;
        self.iter().try_for_each(|entry| entry.encode(encoder))
    }
}

impl<'de, C, T, const N: usize> BorrowDecode<'de, C> for List<T, N>
where
    T: BorrowDecode<'de, C> + Copy + Default,
{
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let count = usize::from(u8::decode(decoder)?);
        let mut list = Self::new();
        for _ in 0..count {
            // A count over N is refused before its entries are read.
            if count > N {
                return Err(DecodeError::ArrayLengthMismatch { required: N, found: count });
            }
            let entry = T::borrow_decode(decoder)?;
            list.push(entry).ok_or(DecodeError::ArrayLengthMismatch { required: N, found: count })?;
        }
        Ok(list)
    }
}
