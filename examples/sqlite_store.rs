//! How do I check passwords of a database of my own? A store over SQLite: one lookup, the library's password check, a grant.
//!
//! ```text
//! cargo run --example sqlite_store
//! ```
//!
//! It logs alice in, lets her come back with a ticket, changes her password, and takes the database away.

use countersign::PrivateKey;
use countersign::accounts::PasswordCheck;
use countersign::crypto::rustcrypto;
use countersign::{Acceptor, Attempt, ClientConfig, Connector, Credential, CredentialKind, Grant, KeySize, LoginError};
use countersign::{MemoryTickets, Reason, Returning, Server, ServerConfig, ServerKey, TicketKeys, Verifier};
use rusqlite::{Connection, OptionalExtension};
use std::error::Error;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// The epoch is another with every change of a row, and for a user of the same name who comes later: tickets die with it.
const SCHEMA: &str = "
    CREATE TABLE users (
        name TEXT PRIMARY KEY,
        password TEXT NOT NULL,    -- as PasswordCheck::hash makes it
        permissions TEXT NOT NULL, -- with spaces between
        epoch INTEGER NOT NULL DEFAULT (random())
    );
    CREATE TRIGGER changed AFTER UPDATE OF name, password, permissions ON users
        BEGIN UPDATE users SET epoch = random() WHERE name = NEW.name; END;";

struct Store {
    database: Mutex<Connection>,
    passwords: PasswordCheck,
}

struct Row {
    password: String,
    permissions: String,
    epoch: i64,
}

impl Store {
    /// What the database says of a user now. It is not held while a password is hashed.
    fn row(&self, user: &str) -> Result<Option<Row>, Reason> {
        let database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let query = "SELECT password, permissions, epoch FROM users WHERE name = ?";
        let row = database.query_row(query, [user], |row| {
            Ok(Row { password: row.get(0)?, permissions: row.get(1)?, epoch: row.get(2)? })
        });
        row.optional().map_err(|_| Reason::NotNow("the database is away"))
    }
}

impl Row {
    fn grant(&self, user: &str) -> Result<Grant, Reason> {
        let grant = Grant::new(user, self.permissions.split_ascii_whitespace());
        Ok(grant.map_err(|_| Reason::NotNow("a row can't be used"))?.with_epoch(self.epoch.cast_unsigned()))
    }
}

impl Verifier for Store {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        let Credential::Password { user, password } = attempt.credential() else {
            return Err(Reason::KindNotTaken(attempt.credential().kind()));
        };
        let row = self.row(user)?;
        // The same work, whether there is such a user or not.
        self.passwords.verify(user, password, row.as_ref().map(|row| row.password.as_str()))?;
        row.ok_or(Reason::UnknownUser)?.grant(user)
    }

    /// A client with a ticket. It is let in if the account's epoch is still the ticket's.
    fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        self.row(returning.principal())?.ok_or(Reason::UnknownUser)?.grant(returning.principal())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let database = Connection::open_in_memory()?;
    database.execute_batch(SCHEMA)?;
    let add = "INSERT INTO users (name, password, permissions) VALUES (?, ?, ?)";
    database.execute(add, ["alice", &PasswordCheck::hash(b"correct horse")?, "orders:read orders:write"])?;
    let store = Arc::new(Store { database: Mutex::new(database), passwords: PasswordCheck::new() });

    let provider = rustcrypto::provider();
    let key = PrivateKey::generate(provider, KeySize::Rsa2048)?;
    let config = ServerConfig::new(provider).with_credential_kinds(&[CredentialKind::Password])?;
    let config = config.with_tickets(Arc::new(TicketKeys::new(provider, Duration::from_secs(3600))));
    let acceptor = Acceptor::new(config, ServerKey::load(&key, provider)?, Arc::clone(&store));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (log, refusals) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((stream, peer)) = listener.accept() {
            // One after the other, for the sake of brevity.
            match acceptor.accept_blocking(stream, peer) {
                Ok(session) => drop(session.finish_blocking(Duration::from_secs(1))),
                Err(error) => drop(log.send(error)),
            }
        }
    });

    let connector = Connector::new(ClientConfig::new(provider), Server::pinned(key.public_key().id()));
    let connector = connector.with_tickets(MemoryTickets::new());
    // Whether a ticket was taken, or why the login was refused. Only the server knows the latter.
    let log_in = |user: &str, password: &str| {
        let credential = Credential::Password { user, password: password.as_bytes() };
        match connector.connect_blocking(TcpStream::connect(address)?, credential) {
            Ok(mut session) => {
                session.require("orders:write")?;
                session.close()?;
                Ok::<_, Box<dyn Error>>(Ok(session.info().is_resumed()))
            }
            Err(_) => match refusals.recv()? {
                LoginError::LoginRefused { reason, .. } => Ok(Err(reason)),
                other => Err(other.into()),
            },
        }
    };
    let change = |sql: &str, value: &[&str]| {
        let database = store.database.lock().unwrap_or_else(PoisonError::into_inner);
        database.execute(sql, rusqlite::params_from_iter(value))
    };
    assert_eq!(log_in("alice", "correct horse")?, Ok(false));
    assert_eq!(log_in("alice", "correct horse")?, Ok(true), "with a ticket, and no password hash");
    assert_eq!(log_in("bob", "correct horse")?, Err(Reason::UnknownUser));
    change("UPDATE users SET password = ?", &[&PasswordCheck::hash(b"battery staple")?])?;
    assert_eq!(log_in("alice", "correct horse")?, Err(Reason::WrongPassword), "the ticket is dead");
    assert_eq!(log_in("alice", "battery staple")?, Ok(false));
    change("DROP TABLE users", &[])?;
    assert!(matches!(log_in("alice", "battery staple")?, Err(Reason::NotNow(_))), "no answer is no wrong password");
    println!("alice came in, came back, changed her password, and waits for the database");
    Ok(())
}
