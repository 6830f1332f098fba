//! Instructions, counted by valgrind's callgrind: repeatable where time is not.

#![allow(dead_code, unreachable_pub, reason = "each bench uses its part of this module")]

use core::hint::black_box;
use std::process::Command;

/// What callgrind counts: nothing outside of this.
#[inline(never)]
pub fn measured<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

/// The instructions within [`measured`] where this program is run with these arguments.
pub fn count(args: &[&str]) -> u64 {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*measured*"])
        .arg(std::env::current_exe().unwrap())
        .args(args)
        .output()
        .expect("valgrind, from the package of that name");
    let said = String::from_utf8_lossy(&run.stderr);
    let collected =
        said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, count)| count.trim().parse());
    match collected {
        Some(Ok(count)) if run.status.success() && count > 0 => count,
        _ => panic!("{args:?}: {said}"),
    }
}
