//! Does a tokio server's throughput grow with the cores it has?
//!
//! ```text
//! cargo bench --bench scaling --features tokio,aws-lc
//! ```
//!
//! The same server and the same clients run in a process of their own: bound to one core first, then to two, in turns.
//! Both ends are in it, over TCP on the loopback, so that the one core does everything and the two share everything. There
//! are more clients at once than cores, each logging in again and again with a token: nothing but the handshake is measured,
//! as a password hash would hide it; and then with a password, as most servers do.
//!
//! Binding to cores is done by `taskset`, of util-linux.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[allow(unused)]
mod support;

use countersign::{Acceptor, AccountVerifier, Accounts, ClientConfig, Connector, Credential};
use countersign::{Server, ServerConfig, ServerKey};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};
use support::{KEYS, private_key, providers};
use tokio::net::{TcpListener, TcpStream};

const CLIENTS: usize = 16;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--measure") {
        let (what, seconds) = (&args[at + 1], args[at + 2].parse().unwrap());
        println!("{}", measure(what, Duration::from_secs_f64(seconds)));
        return;
    }
    let quick = args.iter().any(|arg| arg == "--test");
    let (turns, seconds) = if quick { (1, 0.2) } else { (5, 3.0) };
    for what in ["token", "password"] {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for _ in 0..turns {
            let (Some(alone), Some(both)) = (logins_on("0", what, seconds), logins_on("0,1", what, seconds)) else {
                println!("taskset can't bind a process to the cores 0 and 1 here: nothing is measured");
                return;
            };
            one.push(alone);
            two.push(both);
        }
        let [one, two] = [one, two].map(|mut rates| {
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2]
        });
        println!("{what:<9} one core {one:>6.0} logins/s, two cores {two:>6.0} logins/s: {:.2}x", two / one);
    }
}

/// Logins per second of a process that is bound to these cores.
fn logins_on(cores: &str, what: &str, seconds: f64) -> Option<f64> {
    let this = std::env::current_exe().ok()?;
    let seconds = seconds.to_string();
    let run =
        Command::new("taskset").args(["-c", cores]).arg(this).args(["--measure", what, &seconds]).output().ok()?;
    String::from_utf8(run.stdout).ok()?.trim().parse().ok()
}

/// Logins per second with as many threads as this process may use cores.
fn measure(what: &str, time: Duration) -> f64 {
    let cores = std::thread::available_parallelism().unwrap().get();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(cores).enable_all().build().unwrap();
    runtime.block_on(async {
        let provider = *providers().last().unwrap();
        let key = private_key(KEYS[1].1);
        let trust = Server::pinned(key.public_key().id());
        let mut accounts = Accounts::new();
        accounts.add("alice", ["read"]).unwrap();
        accounts.edit("alice", |account| account.set_password(b"correct horse")).unwrap();
        let token: Arc<str> = accounts.edit("alice", |account| account.issue_token()).unwrap().as_str().into();
        let verifier = AccountVerifier::new(RwLock::new(accounts));
        let acceptor =
            Acceptor::new_async(ServerConfig::new(provider), ServerKey::load(&key, provider).unwrap(), verifier);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move { acceptor.accept(stream, peer).await.map(drop) });
            }
        });

        let connector = Connector::new(ClientConfig::new(provider), trust);
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..CLIENTS {
            let (connector, token, done) = (connector.clone(), token.clone(), done.clone());
            let with_password = what == "password";
            tokio::spawn(async move {
                loop {
                    let credential = match with_password {
                        true => Credential::Password { user: "alice", password: b"correct horse" },
                        false => Credential::Token(token.as_bytes()),
                    };
                    let stream = TcpStream::connect(address).await.unwrap();
                    connector.connect(stream, credential).await.unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        tokio::time::sleep(time / 4).await;
        let (before, start) = (done.load(Ordering::Relaxed), Instant::now());
        tokio::time::sleep(time).await;
        (done.load(Ordering::Relaxed) - before) as f64 / start.elapsed().as_secs_f64()
    })
}
