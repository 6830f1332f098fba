//! A layout, stated once: a struct whose fields stand in the order of the bytes.

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
///         /// The last fields, after an arrow each, are made from the bytes before them; `tails` says where they stand.
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
            )*
        }
    ) => {
        $(#[$about])*
        $vis struct $name $(<$own>)? {
            $( $(#[$field_about])* $field_vis $field: $type, )*
            $( $(#[$tail_about])* $tail_vis $tail: $tail_type, )*
        }

        impl<$lifetime> $crate::wire::codec::Field<$lifetime> for $this {
            const LARGEST: usize = 0
                $( + <$type as $crate::wire::codec::Field<$lifetime>>::LARGEST $( + $room )? )*
                $( + <$tail_type as $crate::wire::codec::Field<$lifetime>>::LARGEST $( + $tail_room )? )*;

            fn size(&self) -> usize {
                [
                    $( $crate::wire::codec::Field::size(&self.$field), )*
                    $( $crate::wire::codec::Field::size(&self.$tail), )*
                ]
                .into_iter()
                .fold(0, usize::saturating_add)
            }

            fn write(
                &self,
                out: &mut $crate::wire::codec::Writer<'_>,
            ) -> Result<(), $crate::wire::codec::EncodeError> {
                $( $crate::wire::codec::Field::write(&self.$field, out)?; )*
                $( $crate::wire::codec::Field::write(&self.$tail, out)?; )*
                Ok(())
            }

            fn read(
                from: &mut $crate::wire::codec::Reader<$lifetime>,
            ) -> Result<Self, $crate::wire::codec::DecodeError> {
                Ok(Self {
                    $( $field: $crate::wire::codec::Field::read(from)?, )*
                    $( $tail: $crate::wire::codec::Field::read(from)?, )*
                })
            }
        }

        $crate::wire::codec::layout! { @tails [$this] $lifetime $($tail)* }
    };
    (@tails [$this:ty] $lifetime:lifetime) => {};
    (@tails [$this:ty] $lifetime:lifetime $($tail:ident)+) => {
        impl<$lifetime> $this {
            /// Where the last fields stand, from the end.
            pub(crate) fn tails(&self) -> [$crate::wire::codec::Tail; [$( stringify!($tail) ),+].len()] {
                $crate::wire::codec::Tail::chain([
                    $( ($crate::wire::codec::Field::size(&self.$tail), self.$tail.len()) ),+
                ])
            }
        }
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

/// Where one of the last fields of a message stands, counted from the end: all that is needed to make it from the bytes
/// before it.
#[derive(Clone, Copy)]
pub(crate) struct Tail {
    /// The size of its length; 0 where its own size is fixed.
    length: usize,
    size: usize,
    /// The size of what follows it.
    after: usize,
}

/// A frame cut around one of its last fields.
pub(crate) struct Parts<'f, F> {
    /// Everything before the field, the frame's header included.
    pub(crate) head: &'f [u8],
    /// The field, its length included.
    pub(crate) field: F,
    length: usize,
}

impl Tail {
    /// The last fields, each by its size and that of its content.
    pub(crate) fn chain<const N: usize>(fields: [(usize, usize); N]) -> [Self; N] {
        let mut tails = fields.map(|(size, content)| Self { length: size.saturating_sub(content), size, after: 0 });
        let mut after: usize = 0;
        for tail in tails.iter_mut().rev() {
            tail.after = after;
            after = after.saturating_add(tail.size);
        }
        tails
    }

    /// Cuts the frame that the message stands in.
    pub(crate) fn cut(self, frame: &[u8]) -> Parts<'_, &[u8]> {
        let (front, _) = frame.split_at(frame.len().saturating_sub(self.after));
        let (head, field) = front.split_at(front.len().saturating_sub(self.size));
        Parts { head, field, length: self.length }
    }

    /// As [`Tail::cut`], to write into the field.
    pub(crate) fn cut_mut(self, frame: &mut [u8]) -> Parts<'_, &mut [u8]> {
        let (front, _) = frame.split_at_mut(frame.len().saturating_sub(self.after));
        let (head, field) = front.split_at_mut(front.len().saturating_sub(self.size));
        Parts { head, field, length: self.length }
    }
}

impl<'f> Parts<'f, &'f [u8]> {
    /// The field without its length.
    pub(crate) fn content(&self) -> &'f [u8] {
        self.field.get(self.length..).unwrap_or_default()
    }
}

impl Parts<'_, &mut [u8]> {
    /// The field without its length.
    pub(crate) fn content_mut(&mut self) -> &mut [u8] {
        self.field.get_mut(self.length..).unwrap_or_default()
    }
}
