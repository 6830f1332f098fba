//! A client over TCP: logs in as alice, and prints what the server has to say.
//!
//! ```text
//! cargo run --example client ADDRESS FINGERPRINT
//! ```
//!
//! Both arguments are what the example `server` prints. Its fingerprint has to reach the client by a way that nobody
//! else can write to: it is all that tells the right server from any other.

use countersign::crypto::rustcrypto;
use countersign::{ChannelBinding, ClientConfig, Credential, Server, blocking};
use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(address), Some(fingerprint)) = (args.next(), args.next()) else {
        return Err("usage: client ADDRESS FINGERPRINT".into());
    };
    let trust = Server::pinned(fingerprint.parse()?);
    let alice = Credential::Password { user: "alice", password: b"correct horse" };

    let config = Arc::new(ClientConfig::new(rustcrypto::provider()));
    let stream = TcpStream::connect(address)?;
    let mut session = blocking::connect(stream, &config, &ChannelBinding::none(), &trust, alice)?;
    eprintln!("logged in as {}, over {}", session.grant().principal(), session.suite());

    // Ends at the server's authenticated close; a connection that was cut is an error instead.
    let mut greeting = String::new();
    session.read_to_string(&mut greeting)?;
    print!("{greeting}");
    Ok(session.close()?)
}
