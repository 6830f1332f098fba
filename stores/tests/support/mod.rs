//! What the tests of several servers have in common: servers and clients in one process, over real sockets.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use countersign::accounts::{Account, HashParameters};
use countersign::crypto::rustcrypto;
use countersign::{
    Acceptor, ClientConfig, Connector, Context, Credential, LoginError, PrivateKey, Server, ServerKey, Source, Ticket,
    TicketCache,
};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UnixStream;

pub const PASSWORD: &[u8] = b"correct horse";

pub fn account(name: &str) -> Account {
    let cheap = HashParameters::new(8, 1, 1).unwrap();
    let mut account = Account::new(name, ["read"]).unwrap();
    account.set_password_with(PASSWORD, cheap).unwrap();
    account
}

pub fn private_key() -> PrivateKey {
    PrivateKey::from_pem(include_str!("../../../tests/keys/rsa2048.pem")).unwrap()
}

pub fn server_key() -> ServerKey {
    ServerKey::load(&private_key(), rustcrypto::provider()).unwrap()
}

/// A place for one ticket, out of which it can be taken more than once.
#[derive(Clone, Default)]
pub struct Copies(pub Arc<Mutex<Option<Ticket>>>);

impl TicketCache for Copies {
    fn take(&self, _: &Server, _: &str) -> Option<Ticket> {
        self.0.lock().unwrap().clone()
    }

    fn put(&self, _: &Server, _: &str, ticket: &Ticket) {
        *self.0.lock().unwrap() = Some(ticket.clone());
    }
}

pub fn source(number: u8) -> Source {
    Source::address(IpAddr::V4(Ipv4Addr::new(192, 0, number, 1)))
}

pub fn connector() -> Connector {
    Connector::new(ClientConfig::new(rustcrypto::provider()), Server::pinned(private_key().public_key().id()))
}

/// Logs in from a source, and says what both ends say: the client whether by ticket.
pub async fn log_in(
    acceptor: &Acceptor,
    from: u8,
    connector: &Connector,
    user: &str,
    password: &[u8],
) -> (Result<bool, LoginError>, Result<(), LoginError>) {
    let (client, server) = UnixStream::pair().unwrap();
    let acceptor = acceptor.clone();
    let accepting = tokio::spawn(async move {
        let mut session = acceptor.accept(server, Context::new(source(from))).await?;
        // Until the client has hung up: a resumption is confirmed by what it sends.
        let _ = tokio::io::AsyncReadExt::read(&mut session, &mut [0; 1]).await;
        Ok(())
    });
    let connected = connector.connect(client, Credential::Password { user, password }).await;
    let said = match connected {
        Ok(mut session) => {
            let resumed = session.info().is_resumed();
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut session).await;
            Ok(resumed)
        }
        Err(error) => Err(error),
    };
    (said, accepting.await.unwrap())
}

/// The code of why a login was refused, or that it was not.
pub async fn why(acceptor: &Acceptor, from: u8, user: &str, password: &[u8]) -> String {
    let (_, server) = log_in(acceptor, from, &connector(), user, password).await;
    match server {
        Ok(()) => "accepted".to_owned(),
        Err(LoginError::LoginRefused { reason, .. }) => reason.code().to_owned(),
        Err(error) => error.code().to_owned(),
    }
}

/// Asks again and again until it is so. Only a broken system takes this long.
pub async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async { while !is_so().await {} };
    tokio::time::timeout(Duration::from_secs(60), asking).await.unwrap();
}
