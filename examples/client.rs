//! How does a client log in over plain TCP? Logs in as alice, and prints what the server has to say.
//!
//! ```text
//! cargo run --example client ADDRESS FINGERPRINT
//! ```
//!
//! Both arguments are what the examples `server` and `tokio_server` print. The fingerprint has to reach the client by a way
//! that nobody else can write to: it is all that tells the right server from any other.

use countersign::crypto::rustcrypto;
use countersign::{ClientConfig, Connector, Credential, Server};
use std::io::Read;
use std::net::TcpStream;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(address), Some(fingerprint)) = (args.next(), args.next()) else {
        return Err("usage: client ADDRESS FINGERPRINT".into());
    };
    let server = Server::pinned(fingerprint.parse()?);
    let alice = Credential::Password { user: "alice", password: b"correct horse" };

    let connector = Connector::new(ClientConfig::new(rustcrypto::provider()), server);
    let mut session = connector.connect_blocking(TcpStream::connect(address)?, alice)?;
    eprintln!("logged in as {}, over {}", session.grant().principal(), session.suite());

    // This end has nothing to say. What the server says ends at its authenticated close; a cut is an error instead.
    session.close()?;
    let mut greeting = String::new();
    session.read_to_string(&mut greeting)?;
    print!("{greeting}");
    Ok(())
}
