//! A server over TCP: logs clients in, greets them by name, and hangs up.
//!
//! ```text
//! cargo run --example server [KEY.pem]
//! ```
//!
//! The key is read from the file, or made and written there. Without a file it lasts as long as the process, and so does
//! its fingerprint. There is one account: alice, whose password is "correct horse".

use countersign::crypto::rustcrypto;
use countersign::files::{self, Existing};
use countersign::{Accounts, ChannelBinding, KeySize, PrivateKey, ServerConfig, ServerKey, blocking};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use std::error::Error;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const MAX_CONNECTIONS: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let key = read_or_make_key(std::env::args_os().nth(1).as_deref().map(Path::new))?;
    let key = ServerKey::load(&key, rustcrypto::provider())?;
    let config = Arc::new(ServerConfig::new(rustcrypto::provider()));
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"])?;
    accounts.set_password("alice", b"correct horse")?;

    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("cargo run --example client {} {}", listener.local_addr()?, key.public_key().id());
    let open = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        loop {
            // A connection that is gone before it is accepted is no reason to stop.
            let Ok((stream, peer)) = listener.accept() else { continue };
            // A thread for each connection. A silent peer holds its own until the handshake's deadline, so there is a
            // limit; past it newcomers are dropped. (The command `serve` drops the oldest instead: kinder under attack.)
            if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
                open.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let (config, key, accounts, open) = (&config, &key, &accounts, &open);
            scope.spawn(move || {
                match greet(stream, config, key, accounts) {
                    Ok(name) => eprintln!("{peer}: greeted {name}"),
                    Err(error) => eprintln!("{peer}: {error}"), // for this log alone: the peer is never told why
                }
                open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    })
}

fn greet(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
    key: &ServerKey,
    accounts: &Accounts,
) -> Result<String, blocking::Error> {
    let mut session = blocking::accept(stream, config, &ChannelBinding::none(), key, accounts)?;
    let name = session.grant().principal().to_owned();
    writeln!(session, "hello, {name}")?;
    session.finish(Duration::from_secs(1))?;
    Ok(name)
}

fn read_or_make_key(path: Option<&Path>) -> Result<PrivateKey, Box<dyn Error>> {
    if let Some(path) = path.filter(|path| path.exists()) {
        return Ok(files::read_private_key(path)?);
    }
    let key = rustcrypto::provider().generate_key(KeySize::Rsa2048, &mut StdRng::try_from_rng(&mut SysRng)?)?;
    if let Some(path) = path {
        files::write_private_key(path, &key, Existing::Keep)?;
    }
    Ok(key)
}
