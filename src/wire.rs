//! The bytes: frames of a stream, and messages in frames. Neither knows the other.

pub mod codec;
pub mod frame;
