//! How do I log clients in from async code? A server that echoes lines until its clients hang up.
//!
//! ```text
//! cargo run --features tokio --example tokio_server
//! cargo run --features tokio --example tokio_server -- 10000   # and how much memory that many idle sessions take
//! ```
//!
//! With a number it plays the clients, too: it logs in that many times, leaves all sessions open, and prints what the
//! process holds for each. Two sockets for each session need the hard limit of open files (`ulimit -Hn`) to allow them.

use countersign::PrivateKey;
use countersign::crypto::rustcrypto;
use countersign::{Acceptor, AccountVerifier, Accounts, Bounds, ClientConfig, Connector, Credential, KeySize, Server};
use countersign::{ServerConfig, ServerKey};
use futures_util::SinkExt;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::RwLock;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::StreamExt;
use tokio_util::codec::{Framed, LinesCodec};

const TOKEN_USER: &str = "robot";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let provider = rustcrypto::provider();
    let key = PrivateKey::generate(provider, KeySize::Rsa2048)?;
    let connector = Connector::new(ClientConfig::new(provider), Server::key(key.public_key().clone()));
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"])?;
    accounts.edit("alice", |account| account.set_password(b"correct horse"))?;
    accounts.add(TOKEN_USER, ["read"])?;
    let token = accounts.edit(TOKEN_USER, |account| account.issue_token())?;
    // All of them from one source and of one principal, which a server for strangers would not let in.
    let bounds = Bounds::default().with_sessions(1_000_000);
    let bounds = bounds.with_sessions_per_source(1_000_000).with_sessions_per_principal(1_000_000);
    let verifier = AccountVerifier::new(RwLock::new(accounts));
    let acceptor = Acceptor::new_async(ServerConfig::new(provider), ServerKey::load(&key, provider)?, verifier);
    // Two for each session: its client's may be in this process, too.
    let acceptor = acceptor.with_bounds(bounds.fitting_process(2, 0));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!("cargo run --example client {address} {}", key.public_key().id());
    let server = tokio::spawn(serve(listener, acceptor));
    match std::env::args().nth(1) {
        Some(count) => hold_sessions(address, &connector, token.as_bytes(), count.parse()?).await,
        None => Ok(server.await?),
    }
}

async fn serve(listener: TcpListener, acceptor: Acceptor) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await; // too many open files, say: some will be closed
            continue;
        };
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let session = match acceptor.accept(stream, peer).await {
                Ok(session) => session,
                Err(error) => return eprintln!("{peer}: {error}: {}", error.code()), // for this log alone
            };
            // A stream like any other: `Framed` runs over it unchanged.
            let mut lines = Framed::new(session, LinesCodec::new_with_max_length(4096));
            while let Some(Ok(line)) = lines.next().await {
                if lines.send(line).await.is_err() {
                    return;
                }
            }
            let _ = SinkExt::<String>::close(&mut lines).await; // the authenticated close
        });
    }
}

/// Logs in again and again, and says what the process holds for each session. Both ends are in it.
async fn hold_sessions(
    server: SocketAddr,
    connector: &Connector,
    token: &[u8],
    count: usize,
) -> Result<(), Box<dyn Error>> {
    let mut sessions = Vec::with_capacity(count);
    let before = resident_bytes()?;
    for _ in 0..count {
        let stream = TcpStream::connect(server).await?;
        sessions.push(connector.connect(stream, Credential::Token(token)).await?);
    }
    let held = resident_bytes()?.saturating_sub(before);
    let each = held.checked_div(count).unwrap_or_default();
    println!("{count} idle sessions: {held} bytes for both ends, {each} for each session");
    // Every one of them is alive.
    for session in &mut sessions {
        let mut lines = Framed::new(session, LinesCodec::new());
        lines.send("still there?".to_owned()).await?;
        let echo = lines.next().await.ok_or("the server is gone")??;
        assert_eq!(echo, "still there?");
    }
    println!("all of them answer");
    Ok(())
}

/// From Linux's /proc.
fn resident_bytes() -> Result<usize, Box<dyn Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = statm.split(' ').nth(1).ok_or("no resident pages in statm")?.parse()?;
    Ok(pages.saturating_mul(4096))
}
