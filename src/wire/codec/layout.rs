//! A layout, stated once: a struct whose fields stand in the order of the bytes.

use super::field::Field;

/// States a struct and its layout at once: from the fields and their order follow reading, writing, the size beforehand
/// and the largest size.
///
/// ```text
/// layout! {
///     /// A message.
///     pub struct Greeting<'a> {
///         /// Who greets: a string, with room for up to 255 bytes.
///         pub name: Text<'a> [..=255],
///         =>
///         /// The last field, after an arrow, is made from the bytes before it; `tail` says where it stands.
///         pub proof: [u8; 32],
///     }
/// }
/// ```
///
/// The room goes into [`Field::LARGEST`] and is not checked in reading: a longer string breaks a rule of the protocol,
/// which has a name of its own, and is as well-formed as any.
macro_rules! layout {
    (@of $lifetime:lifetime [$this:ty]
        $(#[$about:meta])*
        $vis:vis struct $name:ident $(<$own:lifetime>)? {
            $(
                $(#[$field_about:meta])*
                $field_vis:vis $field:ident: $type:ty $([..=$room:expr])?,
            )*
            $(
                => $(#[$tail_about:meta])*
                $tail_vis:vis $tail:ident: $tail_type:ty $([..=$tail_room:expr])?,
            )?
        }
    ) => {
        $(#[$about])*
        $vis struct $name $(<$own>)? {
            $( $(#[$field_about])* $field_vis $field: $type, )*
            $( $(#[$tail_about])* $tail_vis $tail: $tail_type, )?
        }

        impl<$lifetime> $crate::wire::codec::Field<$lifetime> for $this {
            const LARGEST: usize = 0
                $( + <$type as $crate::wire::codec::Field<$lifetime>>::LARGEST $( + $room )? )*
                $( + <$tail_type as $crate::wire::codec::Field<$lifetime>>::LARGEST $( + $tail_room )? )?;

            fn size(&self) -> usize {
                [
                    $( $crate::wire::codec::Field::size(&self.$field), )*
                    $( $crate::wire::codec::Field::size(&self.$tail), )?
                ]
                .into_iter()
                .fold(0, usize::saturating_add)
            }

            fn write(
                &self,
                out: &mut $crate::wire::codec::Writer<'_>,
            ) -> Result<(), $crate::wire::codec::EncodeError> {
                $( $crate::wire::codec::Field::write(&self.$field, out)?; )*
                $( $crate::wire::codec::Field::write(&self.$tail, out)?; )?
                Ok(())
            }

            fn read(
                from: &mut $crate::wire::codec::Reader<$lifetime>,
            ) -> Result<Self, $crate::wire::codec::DecodeError> {
                Ok(Self {
                    $( $field: $crate::wire::codec::Field::read(from)?, )*
                    $( $tail: $crate::wire::codec::Field::read(from)?, )?
                })
            }
        }

        $(
            impl<$lifetime> $this {
                /// Where the last field stands, from the end.
                pub(crate) fn tail(&self) -> $crate::wire::codec::Tail {
                    $crate::wire::codec::Tail::new(&self.$tail, self.$tail.len())
                }
            }
        )?
    };
    ($(#[$about:meta])* $vis:vis struct $name:ident<$lifetime:lifetime> { $($fields:tt)* }) => {
        $crate::wire::codec::layout! {
            @of $lifetime [$name<$lifetime>] $(#[$about])* $vis struct $name<$lifetime> { $($fields)* }
        }
    };
    ($(#[$about:meta])* $vis:vis struct $name:ident { $($fields:tt)* }) => {
        $crate::wire::codec::layout! { @of 'bytes [$name] $(#[$about])* $vis struct $name { $($fields)* } }
    };
}
pub(crate) use layout;

/// Where the last field of a message stands, counted from the end: all that is needed to make it from the bytes before it.
#[derive(Clone, Copy)]
pub(crate) struct Tail {
    /// The size of its length; 0 where its own size is fixed.
    length: usize,
    size: usize,
}

/// A frame cut where its last field begins.
pub(crate) struct Parts<'f, F> {
    /// Everything before the last field, the frame's header included.
    pub(crate) head: &'f [u8],
    /// The last field, its length included.
    pub(crate) field: F,
    length: usize,
}

impl Tail {
    /// Of a field whose content has this many bytes.
    pub(crate) fn new<'a>(field: &impl Field<'a>, content: usize) -> Self {
        let size = field.size();
        Self { length: size.saturating_sub(content), size }
    }

    /// Cuts the frame that the message stands in.
    pub(crate) fn cut(self, frame: &[u8]) -> Parts<'_, &[u8]> {
        let (head, field) = frame.split_at(frame.len().saturating_sub(self.size));
        Parts { head, field, length: self.length }
    }

    /// As [`Tail::cut`], to write into the last field.
    pub(crate) fn cut_mut(self, frame: &mut [u8]) -> Parts<'_, &mut [u8]> {
        let (head, field) = frame.split_at_mut(frame.len().saturating_sub(self.size));
        Parts { head, field, length: self.length }
    }
}

impl<'f> Parts<'f, &'f [u8]> {
    /// The last field without its length.
    pub(crate) fn content(&self) -> &'f [u8] {
        self.field.get(self.length..).unwrap_or_default()
    }
}

impl Parts<'_, &mut [u8]> {
    /// The last field without its length.
    pub(crate) fn content_mut(&mut self) -> &mut [u8] {
        self.field.get_mut(self.length..).unwrap_or_default()
    }
}
