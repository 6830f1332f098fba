//! README.md's first run: what its commands make is what its server and its client read. `.ci/release fresh` follows it as it stands there.
#![cfg(all(unix, feature = "x509"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use countersign::accounts::AccountFile;
use countersign::crypto::{Provider, rustcrypto};
use countersign::x509::{Roots, X509};
use countersign::{Acceptor, AccountVerifier, ClientConfig, Connector, Credential, PublicKey, ServerConfig, ServerKey};
use countersign::{Identity, KnownHosts, Question, Server};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use support::{House, PATIENCE, Said, connect, finish};

const README: &str = include_str!("../../README.md");

/// The blocks of README.md that begin with this line.
fn blocks(first: &str) -> Vec<&'static str> {
    README.split(&format!("\n{first}\n")).skip(1).map(|block| block.split("\n```").next().unwrap()).collect()
}

/// The commands, and the sources of the server and of the client.
fn first_run() -> (&'static str, [&'static str; 2]) {
    let commands = blocks("```sh").into_iter().find(|block| block.contains("cargo new ")).expect("a first run");
    (commands, blocks("```rust,no_run").try_into().expect("a server and a client"))
}

/// What stands in quotes behind this, which is there once.
#[track_caller]
fn behind<'a>(text: &'a str, what: &str) -> &'a str {
    let parts: Vec<&str> = text.split(&format!("{what}\"")).collect();
    assert_eq!(parts.len(), 2, "{what}");
    parts[1].split('"').next().unwrap()
}

/// A line of README.md's, in the house.
fn shell(house: &House, line: &str, stdin: &str) -> Said {
    let path = Path::new(env!("CARGO_BIN_EXE_countersign")).parent().unwrap().display();
    let path = format!("{path}:{}", std::env::var("PATH").unwrap());
    let mut shell = Command::new("/bin/sh");
    shell.args(["-e", "-c", line]).current_dir(house.folder.path()).env("PATH", path);
    shell.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    finish(shell.stderr(std::process::Stdio::piped()), stdin)
}

#[test]
fn who_follows_the_readme_is_greeted() {
    let (commands, [server, client]) = first_run();
    let house = House::empty();
    let (user, password) = (behind(client, "user: "), behind(client, "password: b"));
    // What is asked for at a prompt is in the comment.
    for line in commands.lines().filter(|line| line.starts_with("countersign ")) {
        let (line, comment) = line.split_once("  # ").unwrap();
        if line.contains(" user add ") {
            assert!(comment.contains(password), "{comment}");
            shell(&house, &format!("{line} --password-stdin"), &format!("{password}\n")).ok();
        } else {
            shell(&house, line, "").ok();
        }
    }

    let provider = rustcrypto::provider();
    let key = countersign::files::read_private_key(house.path(behind(server, "read_private_key("))).unwrap();
    let users = AccountVerifier::new(AccountFile::open(house.path(behind(server, "AccountFile::open("))).unwrap());
    let door = Acceptor::new_async(ServerConfig::new(provider), ServerKey::load(&key, provider).unwrap(), users);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = std::thread::spawn(move || {
        let (stream, peer) = listener.accept().unwrap();
        let mut session = door.accept_blocking(stream, peer).unwrap();
        session.require(behind(server, "require(")).unwrap();
        let name = session.grant().principal().to_owned();
        writeln!(session, "{}{name}", behind(server, "format!(").split('{').next().unwrap()).unwrap();
        session.finish_blocking(PATIENCE).unwrap();
    });

    let key = PublicKey::from_pem(&house.read(behind(client, "read_to_string("))).unwrap();
    let connector = Connector::new(ClientConfig::new(provider), Server::key(key));
    let who = Credential::Password { user, password: password.as_bytes() };
    let mut session = connector.connect_blocking(connect(&address), who).unwrap();
    assert_eq!(client.matches("session.shutdown().await?").count(), 1);
    session.close().unwrap();
    let mut greeting = String::new();
    session.read_to_string(&mut greeting).unwrap();
    serving.join().unwrap();
    let printed = README.split("--bin client` prints `").nth(1).unwrap().split('`').next().unwrap();
    assert_eq!(greeting, format!("{printed}\n"));
    assert_eq!(behind(server, "TcpListener::bind("), behind(client, "TcpStream::connect("));
}

/// The sources are compiled as documentation's tests are, with what is on by default and these features.
#[test]
fn the_readme_adds_the_features_that_its_programs_need() {
    let (commands, programs) = first_run();
    let added = |package: &str| -> Vec<&str> {
        let start = format!("cargo add {package} ");
        let line = commands.lines().find(|line| line.starts_with(&start)).unwrap();
        line.split_once("--features ").unwrap().1.split_whitespace().next().unwrap().split(',').collect()
    };
    let manifest = include_str!("../../Cargo.toml");
    let default = manifest.lines().find(|line| line.starts_with("default = ")).unwrap();
    let compiled = include_str!("../../src/lib.rs").split("struct Readme;").next().unwrap();
    let (_, compiled) = compiled.rsplit_once("#[cfg(all(doctest, ").unwrap();
    let features = compiled.lines().next().unwrap().split("feature = \"").skip(1);
    let features: Vec<&str> = features.map(|feature| feature.split('"').next().unwrap()).collect();
    assert!(features.len() > 2, "{features:?}");
    for feature in features {
        let is_default = default.contains(&format!("\"{feature}\""));
        assert!(is_default || added("countersign").contains(&feature), "{feature}");
    }
    // What of tokio's is behind which of its features.
    for (used, of) in [
        ("#[tokio::main]", &["macros", "rt-multi-thread"][..]),
        ("tokio::spawn", &["rt-multi-thread"]),
        ("tokio::net", &["net"]),
        ("tokio::time", &["time"]),
        ("tokio::io", &["io-util"]),
    ] {
        assert!(programs.iter().any(|program| program.contains(used)), "{used}");
        of.iter().for_each(|of| assert!(added("tokio").contains(of), "{used} needs {of}"));
    }
}

/// Ways to know a server, compiled, and their text.
macro_rules! ways {
    (($($name:ident: $type:ty),*) $($way:expr;)*) => {
        #[allow(dead_code, reason = "it compiles")]
        fn compiled($($name: $type),*) -> Result<(), Box<dyn std::error::Error>> {
            $(let _: Server = $way;)*
            Ok(())
        }
        const WAYS: &[&str] = &[$(stringify!($way)),*];
    };
}
ways! {
    (key: PublicKey, provider: Provider, ask: fn(&Question<'_>) -> bool)
    Server::key(key);
    Server::pinned("SHA256:...".parse()?);
    Server::trusting(KnownHosts::open("known_hosts")?.at("db.example:4500")?.asking(ask));
    Server::trusting(X509::new(Roots::parse(&fs::read("ca.crt")?)?)).with_name("db.example")?;
    Server::trusting(Identity::pinned("SHA256:...".parse()?, provider));
}

#[test]
fn the_ways_to_know_a_server_that_the_readme_shows_compile() {
    let without = |text: &str| text.replace([' ', '\n'], "");
    let readme = without(README);
    for way in WAYS {
        assert!(readme.contains(&format!("`{}`", without(way))), "{way}");
    }
}
