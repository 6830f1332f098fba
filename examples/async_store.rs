//! How do I check passwords of a store that is asked over a network? An `AsyncVerifier`, and the password hash where it holds
//! up nobody.
//!
//! ```text
//! cargo run --features tokio --example async_store
//! ```
//!
//! The network is a channel here, and the database a task at its other end. It logs alice in, refuses two others, and takes
//! the database away.

use countersign::PrivateKey;
use countersign::accounts::PasswordCheck;
use countersign::crypto::rustcrypto;
use countersign::{Acceptor, AsyncVerifier, Attempt, ClientConfig, Connector, Context, Credential, CredentialKind};
use countersign::{Grant, KeySize, LoginError, Reason, Returning, Server, ServerConfig, ServerKey};
use rand::TryRng;
use rand::rngs::SysRng;
use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;
use tokio::io::duplex;
use tokio::sync::{mpsc, oneshot};

struct Store {
    database: Database,
    passwords: PasswordCheck,
}

impl AsyncVerifier for Store {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        let Credential::Password { user, password } = attempt.credential() else {
            return Err(Reason::KindNotTaken(attempt.credential().kind()));
        };
        let row = self.database.user(user).await?;
        // The same work, whether there is such a user or not, on one of the acceptor's threads.
        let check = self.passwords.prepare(user, password, row.as_ref().map(|row| row.password.clone()));
        attempt.compute(move || check.run()).await??;
        row.ok_or(Reason::UnknownUser)?.grant(user)
    }

    /// Asked when a client shows a ticket, where the server gives tickets.
    async fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        self.database.user(returning.principal()).await?.ok_or(Reason::UnknownUser)?.grant(returning.principal())
    }
}

#[derive(Clone)]
struct Row {
    password: String,
    permissions: Vec<String>,
    /// A random number, written anew with each change: tickets die with it.
    epoch: u64,
}

impl Row {
    fn grant(self, user: &str) -> Result<Grant, Reason> {
        let grant = Grant::new(user, self.permissions).map_err(|_| Reason::NotNow("a row can't be used"))?;
        Ok(grant.with_epoch(self.epoch))
    }
}

type Query = (String, oneshot::Sender<Option<Row>>);

/// A database's client: one question, one answer, or none.
struct Database(mpsc::Sender<Query>);

impl Database {
    async fn user(&self, name: &str) -> Result<Option<Row>, Reason> {
        let (answer, answered) = oneshot::channel();
        let asked = self.0.send((name.to_owned(), answer)).await;
        asked.map_err(|_| Reason::NotNow("the database is away"))?;
        // A store that is slow for one kind of user would tell them apart. One that is too slow for all should say so in time.
        match tokio::time::timeout(Duration::from_secs(2), answered).await {
            Ok(Ok(row)) => Ok(row),
            _ => Err(Reason::NotNow("the database does not answer")),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (password, permissions) = (PasswordCheck::hash(b"correct horse")?, vec!["orders:read".to_owned()]);
    let alice = Row { password, permissions, epoch: SysRng.try_next_u64()? };
    let users = HashMap::from([("alice".to_owned(), alice)]);
    let (queries, mut asked) = mpsc::channel::<Query>(16);
    let database = tokio::spawn(async move {
        while let Some((name, answer)) = asked.recv().await {
            tokio::time::sleep(Duration::from_millis(3)).await; // the network
            let _ = answer.send(users.get(&name).cloned());
        }
    });
    let store = Store { database: Database(queries), passwords: PasswordCheck::new() };

    let provider = rustcrypto::provider();
    let key = PrivateKey::generate(provider, KeySize::Rsa2048)?;
    let config = ServerConfig::new(provider).with_credential_kinds(&[CredentialKind::Password])?;
    let acceptor = Acceptor::new_async(config, ServerKey::load(&key, provider)?, store);
    let connector = Connector::new(ClientConfig::new(provider), Server::pinned(key.public_key().id()));

    // Who comes in, or why not. Only the server knows the latter.
    let log_in = async |user: &str, password: &str| {
        let (client, server) = duplex(4096);
        let credential = Credential::Password { user, password: password.as_bytes() };
        let (_, session) =
            tokio::join!(connector.connect(client, credential), acceptor.accept(server, Context::uncounted()));
        match session {
            Ok(session) => Ok(Ok(session.grant().principal().to_owned())),
            Err(LoginError::LoginRefused { reason, .. }) => Ok(Err(reason)),
            Err(other) => Err(other),
        }
    };
    assert_eq!(log_in("alice", "correct horse").await?, Ok("alice".to_owned()));
    assert_eq!(log_in("alice", "battery staple").await?, Err(Reason::WrongPassword));
    assert_eq!(log_in("bob", "battery staple").await?, Err(Reason::UnknownUser));
    database.abort();
    assert!(matches!(log_in("alice", "correct horse").await?, Err(Reason::NotNow(_))));
    println!("alice came in, two others did not, and nobody does without the database");
    Ok(())
}
