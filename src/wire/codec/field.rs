//! What every layout is made of: a field's largest size, its size, and its bytes, written and read.
//!
//! bincode is known to this file alone. It turns integers into bytes and back; the rest is concatenation.

use crate::time::UnixTime;
use crate::wire::codec::{DecodeError, EncodeError};
use bincode::config::{BigEndian, Configuration, Fixint};
use zeroize::Zeroizing;

const CONFIG: Configuration<BigEndian, Fixint> =
    bincode::config::standard().with_big_endian().with_fixed_int_encoding();

/// Something with a place in a layout. [`layout!`](super::layout) makes a field of a struct of fields.
///
/// Public so that `Message` can ask for it, and out of reach, so that nobody else implements that.
pub trait Field<'a>: Sized {
    /// The largest size in bytes. Of a string this is its length alone: how long the content may be is for the layout that
    /// it stands in to say.
    const LARGEST: usize;

    /// How many bytes [`Field::write`] gives.
    fn size(&self) -> usize;

    /// Appends the field's bytes.
    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError>;

    /// Takes the field from the front.
    fn read(from: &mut Reader<'a>) -> Result<Self, DecodeError>;
}

/// Room that is written to from the front.
pub struct Writer<'w> {
    room: &'w mut [u8],
    /// How much room there was.
    len: usize,
}

impl<'w> Writer<'w> {
    pub(super) fn new(room: &'w mut [u8]) -> Self {
        Self { len: room.len(), room }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let room = core::mem::take(&mut self.room);
        let (front, rest) = room.split_at_mut_checked(bytes.len()).ok_or(EncodeError::DoesNotFit(self.len))?;
        front.copy_from_slice(bytes);
        self.room = rest;
        Ok(())
    }

    fn integer(&mut self, integer: impl bincode::Encode) -> Result<(), EncodeError> {
        let room = core::mem::take(&mut self.room);
        let does_not_fit = EncodeError::DoesNotFit(self.len);
        let used = bincode::encode_into_slice(integer, room, CONFIG).map_err(|_| does_not_fit)?;
        self.room = room.get_mut(used..).unwrap_or_default();
        Ok(())
    }

    /// What is left of the room.
    pub(super) fn rest(self) -> &'w mut [u8] {
        self.room
    }
}

/// Bytes that are read from the front.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (front, rest) = self.0.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(front)
    }

    fn integer<T: bincode::Decode<()>>(&mut self) -> Result<T, DecodeError> {
        let (integer, used) = bincode::decode_from_slice(self.0, CONFIG).map_err(|_| DecodeError::Truncated)?;
        self.0 = self.0.get(used..).unwrap_or_default();
        Ok(integer)
    }

    /// The bytes that are left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }
}

crate::opaque_debug!(Writer<'_>, Reader<'_>);

macro_rules! integers {
    ($($integer:ty),*) => { $(
        impl Field<'_> for $integer {
            const LARGEST: usize = size_of::<$integer>();

            fn size(&self) -> usize {
                Self::LARGEST
            }

            fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
                out.integer(*self)
            }

            fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                from.integer()
            }
        }
    )* };
}
integers!(u8, u16, u64);

impl<const N: usize> Field<'_> for [u8; N] {
    const LARGEST: usize = N;

    fn size(&self) -> usize {
        N
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.bytes(self)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        <&[u8; N]>::read(from).copied()
    }
}

/// As the array, and left where it is.
impl<'a, const N: usize> Field<'a> for &'a [u8; N] {
    const LARGEST: usize = N;

    fn size(&self) -> usize {
        N
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.bytes(*self)
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        from.bytes(N)?.try_into().map_err(|_| DecodeError::Truncated)
    }
}

/// As the array, for secrets: read into a place that is zeroized.
impl<const N: usize> Field<'_> for Zeroizing<[u8; N]> {
    const LARGEST: usize = N;

    fn size(&self) -> usize {
        N
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.bytes(self.as_slice())
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut secret = Zeroizing::new([0; N]);
        secret.copy_from_slice(from.bytes(N)?);
        Ok(secret)
    }
}

impl Field<'_> for UnixTime {
    const LARGEST: usize = u64::LARGEST;

    fn size(&self) -> usize {
        Self::LARGEST
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.as_secs().write(out)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u64::read(from).map(Self::from_secs)
    }
}
