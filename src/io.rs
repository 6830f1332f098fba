//! The machines over a stream, within bounds.

mod acceptor;
pub mod blocking;
mod bounds;
mod busy;
#[cfg(feature = "tokio")]
mod closing;
mod connector;
mod drive;
mod error;
pub mod events;
mod keys;
mod link;
mod live;
#[cfg(feature = "files")]
mod open_files;
mod penalties;
mod permits;
mod places;
mod puzzles;
mod queue;
mod recheck;
mod refusals;
mod script;
mod sessions;
mod stream;
#[cfg(feature = "tokio")]
mod tokio;
mod transport;
mod workers;

#[cfg(feature = "tokio")]
pub use self::tokio::TokioLink;
pub use acceptor::Acceptor;
pub use bounds::Bounds;
#[cfg(feature = "tokio")]
pub use closing::ClosingStream;
pub use connector::{Begun, Connector, MemoryTickets, ServerTrusted, TicketCache};
pub use error::{BusyReason, LoginError};
pub use keys::{KeySet, ServerKeys};
pub use link::Link;
pub use live::CurrentGrant;
#[cfg(feature = "files")]
pub use open_files::raise_open_files;
pub use penalties::{Penalties, PenaltyEvent, PenaltyKey, PenaltyStore, Standing, StoreAway, Stored, Waits, WhenAway};
pub use places::Counts;
pub use puzzles::Puzzles;
pub use recheck::Recheck;
pub use stream::Stream;
