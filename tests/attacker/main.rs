//! A search for attacks on the real machines, in the style of Dolev and Yao: the attacker is the network.
//!
//! The ends are this library's own, with a toy for crypto: two clients, two servers (or two connections to one), two server names, and
//! an attacker who has an account at each server and a key of their own (`worlds.rs`). What crosses the wire is the attacker's to keep,
//! hold back, repeat, deliver to anybody, and take apart and put together: a frame with one field of another frame. From what is
//! theirs they make hellos, challenges, logins, verdicts and Confirms of their own (`dolev_yao.rs`, by hand from PROTOCOL.md). They open
//! what is sealed to their own key and have their own half of a key exchange; all else of it they don't: this is what makes the toy secret.
//!
//! In each state that can be reached (`search.rs`):
//!
//! - no credential and no session can be read by the attacker (secrecy), unless it was meant for their server;
//! - a client's session is shared with a connection of the server that it means, byte for byte the same frames, and so the same
//!   principal, key, suite, name, context and session id; and with just one;
//! - a server's session is of a login or a resumption that this user began with this very server, and each of just one;
//! - after a proof, the credential leaves only where the server has seen the hello and sent the challenge;
//! - nothing leaves under a suite that was not offered, or under the floor; a session is under the best that both ends take, and so is the
//!   login, after a proof;
//! - a ticket is taken once, from its owner, by the server key and under the name that it is for, and while account, kind and suite are
//!   what they were.
//!
//! `tests/mutants/mod.rs` takes each check out, and has the attack found.
//!
//! **Bounds.** One run of each client, two connections, one spliced frame in a trace, one field of it (key shares go with suites, SPKIs with
//! ids). Within that every order of everything is looked at: a state is what each end has been given, whatever the order between ends.
//! What is refused leads nowhere, and is not followed: nor is the refusal that a server sends. An end is given only frames of the types that
//! its state awaits, so that nothing is reflected here: that a machine takes no other is what `tests/sequences` shows. A hello without a
//! server name, which any server answers, is not made. In the worlds of tickets and of signatures there is one client. The attacker's half of X25519 is one value, and so is every nonce and secret of theirs. Not here: further factors, puzzles, manifests, certificates, stretching, ML-KEM,
//! records, theft of keys, and time, beyond a ticket that has expired; `formal/` has the most of these, in a model, and
//! `tests/sequences` the machines.

#![cfg(all(feature = "stretch", any(feature = "rustcrypto", feature = "aws-lc")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects, unreachable_pub)]

#[path = "../support/ends.rs"]
mod ends;
#[path = "../support/settings.rs"]
mod settings;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/toy.rs"]
mod toy;

mod dolev_yao;
mod search;
mod world;
mod worlds;

use search::{Attack, Searched, search};
use worlds::{Parts, WORLDS, world};

#[test]
fn an_attacker_on_the_network_breaks_nothing() {
    let mut all = Searched { states: 0, sessions: 0, deliveries: 0 };
    for name in WORLDS {
        let world = world(name, Parts::default());
        let searched = match search(&world) {
            Ok(searched) => searched,
            Err(Attack { broken, steps }) => panic!("{}: {broken}, by {steps:#?}", world.name),
        };
        let Searched { states, sessions, deliveries } = searched;
        println!("{name}: {states} states, {sessions} with a session, {deliveries} frames delivered to machines");
        assert_eq!(sessions > 0, !world.is_apart, "{name}: what is searched is what honest ends do, too");
        all.states += searched.states;
        all.sessions += searched.sessions;
        all.deliveries += searched.deliveries;
    }
    println!("{all:?}");
    // The bounds are what these numbers say that they are.
    assert_eq!(all, Searched { states: 52190, sessions: 2754, deliveries: 29903 });
}
