//! How do I slow down the guessing of passwords? It is slow already ([`Penalties`]): this shows what happens, and what can be set.
//!
//! ```text
//! cargo run --example guessing
//! ```
//!
//! For rates, lists and hours of your own there is [`Acceptor::with_limiter`] besides, which is asked about each ClientHello.

use countersign::crypto::rustcrypto;
use countersign::{
    Acceptor, AccountVerifier, Accounts, ClientConfig, Connector, Credential, Error, KeySize, LoginError, Penalties,
    Penalty, PenaltyEvent, PrivateKey, Reason, Server, ServerConfig, ServerKey, Source, Waits,
};
use std::net::{TcpListener, TcpStream};
use std::sync::RwLock;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"])?;
    accounts.edit("alice", |account| account.set_password(b"correct horse"))?;
    let accounts = AccountVerifier::new(RwLock::new(accounts));

    // Three failures are free, from one address and at one name; then there is a wait of a minute, of two, of four, up to an hour.
    let waits = Waits::new(3, Duration::from_secs(60), Duration::from_secs(3600));
    let penalties = Penalties::default().with_source(waits).with_account(waits).with_observer(|event| {
        if let PenaltyEvent::Wait { penalty, wait, .. } = event {
            println!("{penalty}: {} s to wait", wait.as_secs());
        }
    });

    let provider = rustcrypto::provider();
    let key = PrivateKey::generate(provider, KeySize::Rsa2048)?;
    let config = ServerConfig::new(provider).with_refusal_floor(Duration::from_millis(50));
    let acceptor = Acceptor::new_async(config, ServerKey::load(&key, provider)?, accounts).with_penalties(penalties);

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let connector = Connector::new(ClientConfig::new(provider), Server::pinned(key.public_key().id()));
    // What the client is told, and what the server knows.
    let log_in = |source: &str, user: &str, password: &[u8]| -> Result<_, Box<dyn std::error::Error>> {
        std::thread::scope(|scope| {
            let client = TcpStream::connect(address)?;
            let client =
                scope.spawn(|| connector.connect_blocking(client, Credential::Password { user, password }).map(drop));
            // They all come from 127.0.0.1, so their sources are made up.
            let server = acceptor.accept_blocking(listener.accept()?.0, Source::named(source)).map(drop);
            let client = client.join().map_err(|_| "the client panicked")?;
            Ok((client, server))
        })
    };
    let refused_for = |server: Result<(), LoginError>| match server {
        Err(LoginError::LoginRefused { reason, .. }) => Some(reason),
        _ => None,
    };

    // From one address, at many names: past the free ones nobody there is listened to, not even with the right password.
    log_in("home", "alice", b"correct horse")?.1?;
    for name in ["bob", "carol", "dave", "erin"] {
        assert_eq!(refused_for(log_in("flat", name, b"guess")?.1), Some(Reason::UnknownUser));
    }
    let (client, server) = log_in("flat", "alice", b"correct horse")?;
    assert!(matches!(client, Err(LoginError::Protocol(Error::Busy { retry_after: 60.. }))));
    assert_eq!(refused_for(server), Some(Reason::Penalty(Penalty::Source)));

    // From many addresses, at one name: no password is looked at, and the refusal is the one there is.
    for number in 0..10 {
        assert!(log_in(&format!("bot {number}"), "alice", b"guess")?.1.is_err());
    }
    let (client, server) = log_in("one more bot", "alice", b"correct horse")?;
    assert!(matches!(client, Err(LoginError::Protocol(Error::Refused))));
    assert_eq!(refused_for(server), Some(Reason::Penalty(Penalty::Account)));

    // But who has logged in to the account from there does not wait for what others do.
    log_in("home", "alice", b"correct horse")?.1?;
    println!("guessing stops after four failures, from an address and at a user; alice is let in at home");
    Ok(())
}
