//! Who attacks, and what goes wrong.

mod faults;
mod floods;
mod guesses;
mod sessions;

use crate::suite::Failure;
use crate::suite::crowd::Habit;
use crate::suite::serve::{Asking, Store};
use crate::suite::server::Plan;
use crate::suite::stage::Stage;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What it does, and what it may not bring about.
    pub(crate) about: &'static str,
    pub(crate) plan: Plan,
    pub(crate) habit: Habit,
    /// What is done to the server takes seconds, in which nobody can be let in: a second or two would show nothing.
    pub(crate) has_outages: bool,
    /// Goes on until the good clients have been there ([`crate::suite::attacker::Attacker::is_over`]).
    pub(crate) act: fn(Arc<Stage>) -> Acting,
}

pub(crate) type Acting = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

const USUAL: Plan = Plan::USUAL;

/// One scenario.
macro_rules! scenario {
    ($name:literal, $act:path, $habit:ident, $plan:expr, $about:literal $(, $has_outages:literal)?) => {
        Scenario {
            name: $name,
            about: $about,
            plan: $plan,
            habit: Habit::$habit,
            has_outages: false $(|| $has_outages)?,
            act: |stage| Box::pin(async move { $act(&stage).await }),
        }
    };
}

pub(crate) const ALL: &[Scenario] = &[
    scenario!(
        "half-open-one",
        floods::silent_from_one,
        Strangers,
        USUAL,
        "connections from one address that never say a word; they may not take the places of others"
    ),
    scenario!(
        "half-open-fifty",
        floods::silent_from_fifty,
        Strangers,
        USUAL,
        "the same from fifty addresses, at 0, 20 and 100 ms"
    ),
    scenario!(
        "half-open-hello",
        floods::greeting,
        Strangers,
        USUAL,
        "hellos from fifty addresses, at 0, 20 and 100 ms, from which no login comes"
    ),
    scenario!(
        "half-open-thousands",
        floods::greeting_from_thousands,
        Known,
        Plan { handshakes: Some(64), ..USUAL },
        "hellos from 30,000 addresses, one connection each that stays, at a server with 64 places; more than three times as many a second as there are places"
    ),
    scenario!("drip-hello", floods::dripping_hellos, Strangers, USUAL, "hellos that come byte by byte, ten a second"),
    scenario!(
        "drip-login",
        floods::dripping_logins,
        Strangers,
        USUAL,
        "logins that come byte by byte, after a good hello"
    ),
    scenario!(
        "drip-factor",
        floods::dripping_factors,
        Strangers,
        USUAL,
        "codes of a second factor that come byte by byte, for which the server waits longest, after a good login of one account"
    ),
    scenario!(
        "drip-confirm",
        floods::dripping_confirms,
        Strangers,
        USUAL,
        "good tickets, one from the other, that are confirmed byte by byte"
    ),
    scenario!(
        "drip-solution",
        floods::dripping_solutions,
        Strangers,
        Plan { puzzles: Asking::Always, ..USUAL },
        "solutions of puzzles that come byte by byte"
    ),
    scenario!(
        "drip-record",
        sessions::dripping,
        Strangers,
        USUAL,
        "sessions of one account whose records come byte by byte"
    ),
    scenario!(
        "junk-one",
        floods::junk_from_one,
        Strangers,
        USUAL,
        "HTTP, bytes, recorded hellos and logins that do not open, from one address; the server may not compute for them first"
    ),
    scenario!("junk-fifty", floods::junk_from_fifty, Strangers, USUAL, "the same from fifty addresses"),
    scenario!(
        "junk-thousands",
        floods::junk_from_thousands,
        Known,
        Plan { puzzles: Asking::UnderLoad, ..USUAL },
        "recorded hellos from 30,000 addresses, each too seldom to be counted, at a server that asks for puzzles"
    ),
    scenario!(
        "junk-logins",
        floods::junk_logins_from_thousands,
        Known,
        USUAL,
        "logins that do not open, for each of which a password hash is due, from 30,000 addresses, more than two cores can hash"
    ),
    scenario!(
        "guess-one-address",
        guesses::from_one,
        Strangers,
        USUAL,
        "passwords for many names from one address; the owners may not wait for it"
    ),
    scenario!("guess-fifty", guesses::from_fifty, Known, USUAL, "passwords for many names from fifty addresses"),
    scenario!(
        "guess-one-account",
        guesses::at_one,
        Strangers,
        USUAL,
        "passwords for one name, that of a good client, from 1000 addresses"
    ),
    scenario!("guess-everything", guesses::at_everything, Known, USUAL, "passwords for 1000 names from 1000 addresses"),
    scenario!(
        "departed",
        floods::departed,
        Strangers,
        USUAL,
        "peers from fifty addresses that leave after a hello, a challenge, or a good login; nothing may be computed for those who are gone"
    ),
    scenario!(
        "one-account",
        sessions::one_account,
        Strangers,
        USUAL,
        "one account that opens, resumes and keeps whatever it can"
    ),
    scenario!(
        "never-readers",
        sessions::never_reading,
        Strangers,
        USUAL,
        "sessions that only write, and refused peers that read nothing and stay"
    ),
    scenario!("churn", sessions::churn, Strangers, USUAL, "connections that come and go, with a login or without"),
    scenario!(
        "descriptors",
        faults::descriptors,
        Strangers,
        Plan { files: Some(256), ..USUAL },
        "a server that may have 256 files open, with bounds that fit, and connections and sessions for all of them"
    ),
    scenario!(
        "disk-full-file",
        faults::full_disk,
        Known,
        Plan { store: Store::File, is_weak: true, has_full_log: true, ..USUAL },
        "no file grows any more (RLIMIT_FSIZE) and the log goes to /dev/full, while hashes in an account file are due to be renewed"
    ),
    scenario!(
        "disk-full-sqlite",
        faults::full_disk,
        Known,
        Plan { store: Store::Sqlite, is_weak: true, has_full_log: true, ..USUAL },
        "the same over SQLite"
    ),
    scenario!(
        "clock-jumps",
        faults::clock_jumps,
        Tickets,
        Plan { store: Store::File, has_clock: true, ..USUAL },
        "a server whose clock jumps by hours and years, both ways (libfaketime); tickets may be lost, and no login"
    ),
    scenario!(
        "stopped",
        faults::stopped,
        Tickets,
        USUAL,
        "a server that stands still for a second and a half, again and again (SIGSTOP); what comes after it may not suffer",
        true
    ),
    scenario!(
        "killed",
        faults::killed,
        Tickets,
        Plan { store: Store::Sqlite, ..USUAL },
        "a server that is killed (SIGKILL) and started again over its database",
        true
    ),
    scenario!(
        "store-away",
        faults::store_away,
        Tickets,
        Plan { store: Store::Sqlite, ..USUAL },
        "accounts that can't be asked for a second or two; nobody may be told that a password is wrong, nor suffer afterwards",
        true
    ),
    scenario!(
        "store-silent",
        faults::store_silent,
        Tickets,
        Plan { store: Store::Sqlite, ..USUAL },
        "accounts that do not answer for a second, and each of whose questions is given up after three",
        true
    ),
    scenario!(
        "shared-away",
        faults::shared_away,
        Tickets,
        Plan { shared: true, ..USUAL },
        "the counts of failed logins and the memory of tickets that servers share are away half of the time; nobody may notice"
    ),
];

/// One of fifty addresses, each in a network of its own.
fn of_fifty(number: u32) -> Ipv4Addr {
    let [.., last] = (number % 50).to_be_bytes();
    Ipv4Addr::new(127, 64, last, 1)
}

/// One of so many, up to 30,000, each in a network of its own.
fn of_many(number: u32, addresses: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x7f80_0000 + number % addresses * 256 + 1)
}

const ONE: Ipv4Addr = Ipv4Addr::new(127, 63, 0, 1);
