//! Attacks and faults beside good clients: do they keep logging in, and how much longer does it take?
//!
//! ```text
//! cargo run --release -p load                  # everything, some minutes
//! cargo run --release -p load -- --list        # what there is
//! cargo run --release -p load -- half-open-one guess-everything
//! cargo run --release -p load -- --quick       # two minutes or so: what the gate runs
//! ```
//!
//! Each scenario has a server in a process of its own (this program again), good clients at a steady rate, a third of them each 0, 20 and 100 ms
//! away, and whoever attacks beside them. A relay in this process delays what good clients and slow attackers send; every one of
//! 127.0.0.0/8 is an address of the machine on Linux, so nothing here needs root. docs/load.md has the rules of the verdict.
#![forbid(unsafe_code)]
#![allow(clippy::arithmetic_side_effects, reason = "times and counts of some minutes")]

#[cfg(target_os = "linux")]
mod suite;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    suite::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("load: the attackers come from addresses that only Linux gives to everybody");
    ExitCode::from(2)
}
