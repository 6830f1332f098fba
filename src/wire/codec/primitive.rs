//! The three shapes of variable length.

use super::field::{Field, Reader, Writer};
use super::{DecodeError, EncodeError};
use crate::limits;
use core::fmt;
use core::ops::Deref;

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

impl<'a> Field<'a> for Bytes<'a> {
    const LARGEST: usize = u16::LARGEST;

    fn size(&self) -> usize {
        u16::LARGEST.saturating_add(self.0.len())
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        let len = u16::try_from(self.0.len()).map_err(|_| EncodeError::StringTooLong(usize::from(u16::MAX)))?;
        len.write(out)?;
        out.bytes(self.0)
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let len = u16::read(from)?;
        from.bytes(usize::from(len)).map(Self)
    }
}

/// [`Bytes`] that are kept.
impl Field<'_> for Vec<u8> {
    const LARGEST: usize = Bytes::LARGEST;

    fn size(&self) -> usize {
        Bytes(self).size()
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        Bytes(self).write(out)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Bytes::read(from).map(|bytes| bytes.to_vec())
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

impl<'a> Field<'a> for Text<'a> {
    const LARGEST: usize = Bytes::LARGEST;

    fn size(&self) -> usize {
        Bytes(self.0.as_bytes()).size()
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        Bytes(self.0.as_bytes()).write(out)
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let Bytes(bytes) = Bytes::read(from)?;
        core::str::from_utf8(bytes).map(Self).map_err(|_| DecodeError::NotUtf8)
    }
}

/// [`Text`] that is kept.
impl Field<'_> for String {
    const LARGEST: usize = Text::LARGEST;

    fn size(&self) -> usize {
        Text(self).size()
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        Text(self).write(out)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Text::read(from).map(|text| text.0.to_owned())
    }
}

/// The 32 bytes that a password is stretched to. Borrowed, so that decoding leaves no copy of the secret behind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stretched<'a>(pub &'a [u8; limits::STRETCHED]);

/// All zeros.
impl Default for Stretched<'_> {
    fn default() -> Self {
        Self(&[0; limits::STRETCHED])
    }
}

/// Prints nothing of it.
impl fmt::Debug for Stretched<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stretched").finish_non_exhaustive()
    }
}

impl<'a> Field<'a> for Stretched<'a> {
    const LARGEST: usize = limits::STRETCHED;

    fn size(&self) -> usize {
        Self::LARGEST
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.0.write(out)
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        <&[u8; limits::STRETCHED]>::read(from).map(Self)
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

impl<T: Default, const N: usize> List<T, N> {
    /// A list without entries.
    pub fn new() -> Self {
        const { assert!(N <= u8::MAX as usize) };
        Self { entries: core::array::from_fn(|_| T::default()), count: 0 }
    }

    /// A list of these entries; `None` where there are more than `N`.
    pub fn from_slice(entries: &[T]) -> Option<Self>
    where
        T: Clone,
    {
        let mut list = Self::new();
        for entry in entries {
            list.push(entry.clone())?;
        }
        Some(list)
    }

    /// Adds an entry; `None` where the list is full.
    pub fn push(&mut self, entry: T) -> Option<()> {
        *self.entries.get_mut(usize::from(self.count))? = entry;
        self.count = self.count.saturating_add(1);
        Some(())
    }

    /// The entries, in order.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = T> {
        self.entries.into_iter().take(usize::from(self.count))
    }

    /// Puts an entry in front of the others; where the list is full, the last one gives way.
    pub(crate) fn push_front(&mut self, entry: T) {
        self.entries.rotate_right(1);
        if let Some(first) = self.entries.first_mut() {
            *first = entry;
        }
        if usize::from(self.count) < N {
            self.count = self.count.saturating_add(1);
        }
    }
}

impl<T: Default, const N: usize> Default for List<T, N> {
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

impl<'a, T: Field<'a> + Default, const N: usize> Field<'a> for List<T, N> {
    const LARGEST: usize = u8::LARGEST + N * T::LARGEST;

    fn size(&self) -> usize {
        self.iter().map(T::size).fold(u8::LARGEST, usize::saturating_add)
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.count.write(out)?;
        self.iter().try_for_each(|entry| entry.write(out))
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let count = u8::read(from)?;
        let mut list = Self::new();
        // A count over N is refused before an entry is read.
        let entries = list
            .entries
            .get_mut(..usize::from(count))
            .ok_or(DecodeError::TooMany { found: usize::from(count), limit: N })?;
        for entry in entries {
            *entry = T::read(from)?;
        }
        list.count = count;
        Ok(list)
    }
}
