//! The machines over a stream, within bounds.

pub mod blocking;
pub(crate) mod script;
pub(crate) mod stream;
#[cfg(feature = "tokio")]
pub mod tokio;
#[cfg(feature = "tokio")]
mod workers;
