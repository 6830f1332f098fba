//! How do I log clients in over plain TCP, with threads? A server that greets them by name, and hangs up.
//!
//! ```text
//! cargo run --example server [KEY.pem]
//! ```
//!
//! The key is read from the file, or made and written there. Without a file it lasts as long as the process, and so does
//! its fingerprint. There is one account: alice, whose password is "correct horse".

use countersign::crypto::rustcrypto;
use countersign::files::{self, Existing};
use countersign::{
    Acceptor, AccountVerifier, Accounts, Bounds, KeySize, LoginError, PrivateKey, ServerConfig, ServerKey,
};
use std::error::Error;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::RwLock;
use std::thread;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let key = read_or_make_key(std::env::args_os().nth(1).as_deref().map(Path::new))?;
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"])?;
    accounts.edit("alice", |account| account.set_password(b"correct horse"))?;
    let provider = rustcrypto::provider();
    let verifier = AccountVerifier::new(RwLock::new(accounts));
    // Async, as a store of accounts may have to be waited for. The acceptor does that by itself, and needs no runtime for it.
    let acceptor = Acceptor::new_async(ServerConfig::new(provider), ServerKey::load(&key, provider)?, verifier);
    // As many connections as the process may have open: in a flood the newcomers make way for others, and not the listener. A session that blocks
    // takes two files: its socket, and the same once more, by which it is ended when its account is.
    let acceptor = acceptor.with_bounds(Bounds::default().fitting_process(2, 0));

    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("cargo run --example client {} {}", listener.local_addr()?, key.public_key().id());
    loop {
        let Ok((stream, peer)) = listener.accept() else {
            // A connection that is gone before it is accepted is no reason to stop, nor are too many open files: some will be closed.
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        let acceptor = acceptor.clone();
        // A thread for each connection, and no more of them than the acceptor's bounds let be open: past those, newcomers
        // take the places of others. Where the system has no thread to give, the connection is dropped.
        let _ = thread::Builder::new().spawn(move || match greet(&acceptor, stream, peer) {
            Ok(name) => eprintln!("{peer}: greeted {name}"),
            Err(error) => eprintln!("{peer}: {error}: {}", error.code()), // for this log alone: the peer is never told why
        });
    }
}

fn greet(acceptor: &Acceptor, stream: TcpStream, peer: SocketAddr) -> Result<String, LoginError> {
    let mut session = acceptor.accept_blocking(stream, peer)?;
    let name = session.grant().principal().to_owned();
    writeln!(session, "hello, {name}")?;
    session.finish_blocking(Duration::from_secs(1))?;
    Ok(name)
}

fn read_or_make_key(path: Option<&Path>) -> Result<PrivateKey, Box<dyn Error>> {
    if let Some(path) = path.filter(|path| path.exists()) {
        return Ok(files::read_private_key(path)?);
    }
    let key = PrivateKey::generate(rustcrypto::provider(), KeySize::Rsa2048)?;
    if let Some(path) = path {
        files::write_private_key(path, &key, Existing::Keep)?;
    }
    Ok(key)
}
