//! Logins and sessions over real sockets: one suite for every adapter, and what is special to each.
//!
//! Whatever is listed with `for_every_adapter` holds for each alike; [`ends`] makes them alike. The third
//! adapter, [`events`], is an event loop of these tests' own, over nothing but `std`: what the library's script asks of one is
//! no more than that.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

#[macro_use]
mod ends;
mod events;
mod peer;

mod at_once;
mod blocking_only;
mod bounds;
mod elsewhere;
mod factors;
mod in_vain;
mod live;
mod logins;
mod observed;
mod penalties;
mod places;
mod policies;
mod pressed;
mod puzzles;
mod refusals;
mod sessions;
mod slow;
#[cfg(feature = "accounts")]
mod stretched;
#[cfg(feature = "tokio")]
mod tokio_only;
mod unanswered;
