//! The `countersign` command; what it does is in `lib.rs`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    countersign_cli::main()
}
