//! Does anything branch, or address memory, by what is secret?
//!
//! ```text
//! cargo bench --bench memcheck --features aws-lc              # needs valgrind
//! cargo bench --bench memcheck --features aws-lc -- --show    # with all that valgrind says
//! ```
//!
//! Logins, resumptions and records run under valgrind's memcheck, which takes what is secret for uninitialised: what the RSA operation gives, and whether it
//! failed; whatever is drawn at random, and so every key; passwords, tokens, answers; keys for tickets. Memcheck follows these bytes through whatever is computed
//! from them, and reports each conditional jump and each address that depends on them. What may be is on a list with a reason for each entry,
//! `memcheck.supp`. Anything else fails the run, and so does an entry that nothing needs any more.
//!
//! What is let through without an entry: what was sent, once it is sent; and what an opened message shows of itself to whoever
//! sent it (`support/hidden.rs`): the kind, the name and the lengths in a credential, a ticket but for its secret, a verdict.
//!
//! Handlers that are written carelessly stand beside it, each of which has to be found out, list and all; and of what comes out at the end (refusals, records), memcheck has
//! to say that it is computed from what is secret: or nothing was looked at.
//!
//! What runs is a release's code, with the names of functions. Valgrind has no instructions for SHA-256, so there it is the code for
//! processors without. What the private operation does with the key is the libraries', and not looked at here: see `benches/ciphertexts.rs`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "support/hidden.rs"]
mod hidden;
#[allow(unused)]
#[path = "support/kinds.rs"]
mod kinds;
#[path = "support/memcheck.rs"]
mod memcheck;
#[path = "support/secrets.rs"]
mod secrets;
#[allow(unused)]
mod support;

use hidden::hidden;
use memcheck::{Report, check};
use secrets::{CASES, CONTROLS};
use std::collections::BTreeSet;
use std::process::ExitCode;
use support::providers;

/// What may be: see its head.
const LIST: &str = include_str!("memcheck.txt");

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    if let Some(at) = args.iter().position(|arg| arg == "--run") {
        let provider = providers().into_iter().find(|provider| provider.name == args[at + 1]).expect("such a provider");
        assert!(memcheck::is_running(), "not under valgrind, or its requests are not known for this processor");
        let is_meant = |name: &str| name == args[at + 2] || (args[at + 2] == "controls" && !is_case(name));
        let cases = CASES.iter().chain(&CONTROLS).filter(|(name, _)| is_meant(name));
        cases.for_each(|(_, case)| case(hidden(provider)));
        return ExitCode::SUCCESS;
    }
    if has("--test") {
        for provider in providers() {
            CASES.iter().chain(&CONTROLS).for_each(|(_, case)| case(hidden(provider)));
        }
        return ExitCode::SUCCESS;
    }
    if gate(has("--show")) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_case(name: &str) -> bool {
    CASES.iter().any(|(case, _)| *case == name)
}

fn gate(shows: bool) -> bool {
    let listed: BTreeSet<&str> = LIST.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let (mut good, mut used) = (true, BTreeSet::new());
    for provider in providers() {
        println!("{}", provider.name);
        let reports_of = |case: &str| -> (Vec<Report>, Vec<Report>) {
            let reports = check(&["--run", provider.name, case]);
            reports.into_iter().partition(|report| entry(&listed, &report.site).is_some())
        };
        for (case, _) in CASES {
            let (allowed, others) = reports_of(case);
            println!("  {case}: {} on the list, {} not", allowed.len(), others.len());
            used.extend(allowed.iter().filter_map(|report| entry(&listed, &report.site)));
            let shown = if shows { &allowed[..] } else { &[] };
            for Report { site, text } in shown.iter().chain(&others) {
                println!("{site}\n{text}");
            }
            good &= others.is_empty();
        }
        let found = reports_of("controls").1;
        for (control, _) in CONTROLS {
            let is_found = found.iter().any(|report| report.site.split(' ').any(|word| word == control));
            println!("  control {control}: {}", if is_found { "found out" } else { "NOT FOUND OUT" });
            good &= is_found;
        }
    }
    for entry in listed.difference(&used) {
        println!("on the list, and nothing needs it: {entry}");
        // A build with one provider has no use for what is there for the other.
        good &= providers().len() < 2;
    }
    good
}

/// The entry for it: that of the function, or of all of a crate.
fn entry<'a>(listed: &BTreeSet<&'a str>, site: &str) -> Option<&'a str> {
    let (krate, _) = site.split_once(' ')?;
    listed.get(site).or_else(|| listed.get(format!("{krate} *").as_str())).copied()
}
