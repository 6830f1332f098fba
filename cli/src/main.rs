//! The `countersign` command; what it does is in `lib.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    countersign_cli::main()
}
