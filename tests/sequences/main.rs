//! Every sequence of frames, to each machine: what it takes is what PROTOCOL.md says, exactly.
//!
//! The machines are the real ones, with a toy for crypto. The alphabet (`letters.rs`) is what the real ends send: here and now, on a
//! connection before (stale), between others (foreign), to the other side (reflected), repeated and out of order, and what is made of
//! that by cutting, lengthening, emptying and changing. `table.rs` says what is to come of each frame in each state, by the clauses
//! of PROTOCOL.md, and shares no code with the library. In each setting (`settings.rs`), at each end, every sequence of up to [`explore::DEPTH`]
//! frames is fed to the machine and looked up in the table; state by state, both must say the same, and send the same: of a verdict, what it
//! says, if it can be opened by whoever sealed the secret.
//!
//! A sequence is not fed on once its machine has ended: each state is consumed by the step out of it, so there is nothing to feed.
//!
//! What is not here: time (S10, L5, N3, F3, A7, C10, V5, B4), contents that no end of ours makes (`tests/codec.rs`, `tests/server_*.rs`
//! and `tests/client_*.rs` have a test for each rule), what a password is stretched with (T6: `tests/stretching.rs`), trust other than pins and
//! keys that were seen before, TLS, and 2^24 records.

#![cfg(all(feature = "stretch", any(feature = "rustcrypto", feature = "aws-lc")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;
#[path = "../support/toy.rs"]
mod toy;

#[path = "../support/ends.rs"]
mod ends;
#[path = "../support/settings.rs"]
mod settings;

mod explore;
mod letters;
mod table;

use ends::{Side, Stage};
use explore::{Fed, feed_all};
use settings::Setting;
use std::collections::BTreeSet;
use table::TABLE;

/// In every setting, at this end: prints what was fed, and gives the rows of the table that were used.
fn check(side: Side) -> (usize, usize, BTreeSet<usize>) {
    let (mut sequences, mut taken, mut rows) = (0, 0, BTreeSet::new());
    for setting in Setting::all(toy::provider()).into_iter().filter(|it| it.only.is_none_or(|only| only == side)) {
        let fed = feed_all(&setting, side);
        let Fed { letters, sequences: number, .. } = fed;
        println!("{side:?}, {}: {letters} letters, {number} sequences fed, {} taken", setting.name, fed.taken.len());
        assert!(
            fed.differences.is_empty(),
            "{}: {:#?}",
            setting.name,
            &fed.differences[..fed.differences.len().min(20)]
        );
        assert_eq!(fed.taken, fed.allowed, "{}", setting.name);
        sequences += number;
        taken += fed.taken.len();
        rows.extend(fed.rows);
    }
    println!("{side:?}: {sequences} sequences, {taken} taken");
    (sequences, taken, rows)
}

/// The rows of the table for one end; those for sessions are for both.
fn rows(side: Side) -> BTreeSet<usize> {
    let is_ours = |state| match state {
        Stage::AwaitHello | Stage::AwaitSolution | Stage::AwaitLogin | Stage::AwaitFactor | Stage::AwaitConfirm => {
            side == Side::Server
        }
        Stage::AwaitAnswer | Stage::AwaitChallenge | Stage::AwaitVerdict => side == Side::Client,
        Stage::Session | Stage::Over(_) => true,
    };
    (0..TABLE.len()).filter(|&row| is_ours(TABLE[row].state)).collect()
}

#[test]
fn a_server_takes_just_the_sequences_that_the_protocol_allows() {
    let (sequences, taken, used) = check(Side::Server);
    assert_eq!(used, rows(Side::Server), "a row that nothing fits says nothing");
    assert_eq!((sequences, taken), (48102, 615));
}

#[test]
fn a_client_takes_just_the_sequences_that_the_protocol_allows() {
    let (sequences, taken, used) = check(Side::Client);
    assert_eq!(used, rows(Side::Client), "a row that nothing fits says nothing");
    assert_eq!((sequences, taken), (28605, 410));
}
