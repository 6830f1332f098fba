//! The suite finds out a server without bounds and penalties: a check that can't fail would be none.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

fn load(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_load")).args(args).output().unwrap()
}

/// The scenario runs, and the verdict is that good clients suffer.
#[track_caller]
fn is_found_out(name: &str) {
    // One after the other: beside a flood the quiet run would not be one.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // A machine that is busy with other things is slow in the quiet run as well, and may show no difference: but not three times.
    let output = (0..3)
        .map(|_| load(&["--quick", "--without-limits", name]))
        .find(|output| output.status.code() != Some(0))
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said} {}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("FAILED: "), "{said}");
}

#[test]
fn without_bounds_connections_that_say_nothing_keep_good_clients_out() {
    is_found_out("descriptors");
}

#[test]
fn without_penalties_guesses_make_good_clients_wait() {
    is_found_out("guess-one-account");
}

#[test]
fn what_was_run_in_a_hurry_or_without_limits_is_not_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("load.md");
    for flag in ["--quick", "--without-limits"] {
        std::fs::write(&table, "<!-- load:begin -->\n<!-- load:end -->\n").unwrap();
        let output = load(&[flag, "half-open-one", "--record", table.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(flag) && said.contains("--record"), "{said}");
    }
}

#[test]
fn a_name_that_is_no_scenario_is_not_passed_over() {
    assert_eq!(load(&["half-open-one", "half-open"]).status.code(), Some(2));
    let list = load(&["--list"]);
    assert!(list.status.success());
    assert!(String::from_utf8_lossy(&list.stdout).lines().count() > 20);
}
