//! The examples do what they say: each is run, and those that need a server are given one.
//!
//! `cargo test` builds the examples before it runs this; `cargo test --test examples` does not, and `cargo build --examples`
//! with the same features goes before it.

#![cfg(all(feature = "rustcrypto", feature = "accounts"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// An example as built: beside the folder that this test is in.
fn example(name: &str) -> Command {
    let path: PathBuf = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples").join(name);
    let path = path.with_extension(std::env::consts::EXE_EXTENSION);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name).with_extension("rs");
    let changed = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    let is_built = changed(&path) > changed(&source);
    assert!(is_built, "{} is not built, or older than its source: cargo build --examples", path.display());
    Command::new(path)
}

fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}{err}", output.status);
    out.into_owned()
}

macro_rules! checks_itself {
    ($($(#[$when:meta])* $name:ident),*) => { $(
        $(#[$when])*
        #[test]
        fn $name() {
            assert_ne!(said(&example(stringify!($name)).output().unwrap()), "");
        }
    )* };
}
checks_itself!(
    by_hand,
    event_loop,
    sqlite_store,
    hsm,
    tickets,
    roles,
    guessing,
    #[cfg(feature = "rustls")]
    tls,
    #[cfg(feature = "tokio")]
    async_store,
    #[cfg(feature = "tokio")]
    hyper_service,
    #[cfg(all(feature = "tokio", feature = "rustls"))]
    tls_tokio
);

/// A server that runs until the test is over, whatever comes of it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server, and gives what its first line says a client is to be given.
fn serve(name: &str) -> (Running, Vec<String>) {
    let mut server = Running(example(name).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let args = line.trim_end().strip_prefix("cargo run --example client ").unwrap_or_else(|| panic!("{line:?}"));
    (server, args.split(' ').map(str::to_owned).collect())
}

#[test]
fn the_client_is_greeted_by_the_server() {
    let (_server, args) = serve("server");
    assert_eq!(said(&example("client").args(&args).output().unwrap()), "hello, alice\n");
    // Another server's fingerprint.
    let other = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    assert!(!example("client").args([args[0].as_str(), other]).output().unwrap().status.success());
}

#[test]
#[cfg(feature = "tokio")]
fn the_client_is_let_in_by_the_tokio_server_too() {
    let (_server, args) = serve("tokio_server");
    assert_eq!(said(&example("client").args(&args).output().unwrap()), "");
    let output = said(&example("tokio_server").arg("20").output().unwrap());
    assert!(output.ends_with("all of them answer\n"), "{output}");
}
