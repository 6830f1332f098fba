//! How does a client come back without its password? It keeps a ticket: in memory, or in a file for its next run.
//!
//! ```text
//! cargo run --example tickets
//! ```
//!
//! Tickets are kept by server and by user, and each is good for one login, which gives the next. A ticket is as secret as
//! a password until it expires.

use countersign::PrivateKey;
use countersign::crypto::rustcrypto;
use countersign::{
    Acceptor, AccountVerifier, Accounts, ClientConfig, Connector, Credential, KeySize, MemoryTickets, Server,
};
use countersign::{ServerConfig, ServerKey, Ticket, TicketCache, TicketKeys};
use sha2::{Digest, Sha256};
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

/// A folder with a file for each user of each server.
struct FileTickets(PathBuf);

impl FileTickets {
    fn path(&self, server: &Server, user: &str) -> PathBuf {
        // A name or a user may hold anything; a hash of them is a file's name.
        let name = Sha256::new().chain_update(server.scope()).chain_update([0]).chain_update(user).finalize();
        self.0.join(hex::encode(name))
    }

    /// Another name for the file, which nobody else uses meanwhile.
    fn aside(path: &Path) -> PathBuf {
        path.with_extension(format!("{}-{:?}", std::process::id(), std::thread::current().id()))
    }

    fn write(path: &Path, ticket: &[u8]) -> io::Result<()> {
        let new = Self::aside(path);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600); // nobody else reads it
        options.open(&new)?.write_all(ticket)?;
        fs::rename(&new, path)
    }
}

// Without its ticket a client shows its password: what goes wrong here is nobody's trouble.
impl TicketCache for FileTickets {
    fn take(&self, server: &Server, user: &str) -> Option<Ticket> {
        let path = self.path(server, user);
        // Of two processes that want it at once, one can rename it, and no more.
        let taken = Self::aside(&path);
        fs::rename(path, &taken).ok()?;
        let ticket = fs::read(&taken).ok().and_then(|bytes| Ticket::from_bytes(&bytes).ok());
        fs::remove_file(taken).ok()?;
        ticket
    }

    fn put(&self, server: &Server, user: &str, ticket: &Ticket) {
        if let Ok(bytes) = ticket.to_bytes() {
            let _ = Self::write(&self.path(server, user), &bytes);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let provider = rustcrypto::provider();
    let key = PrivateKey::generate(provider, KeySize::Rsa2048)?;
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"])?;
    accounts.edit("alice", |account| account.set_password(b"correct horse"))?;
    // The server: keys for tickets that are good for a day. A login's chain of them ends after `TicketKeys::with_max_age`.
    let tickets = Arc::new(TicketKeys::new(provider, Duration::from_secs(24 * 3600)));
    let config = ServerConfig::new(provider).with_tickets(tickets);
    let verifier = AccountVerifier::new(RwLock::new(accounts));
    let acceptor = Acceptor::new_async(config, ServerKey::load(&key, provider)?, verifier);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        while let Ok((stream, peer)) = listener.accept() {
            let session = acceptor.accept_blocking(stream, peer);
            let _ = session.and_then(|session| session.finish_blocking(Duration::from_secs(1)));
        }
    });

    // The client.
    let server = Server::pinned(key.public_key().id());
    let config = ClientConfig::new(provider);
    let forgetful = Connector::new(config.clone(), server.clone());
    assert_eq!([was_resumed(&forgetful, address)?, was_resumed(&forgetful, address)?], [false, false]);

    let in_memory = Connector::new(config.clone(), server.clone()).with_tickets(MemoryTickets::new());
    assert_eq!([was_resumed(&in_memory, address)?, was_resumed(&in_memory, address)?], [false, true]);

    let folder = std::env::temp_dir().join(format!("countersign-tickets-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let in_files = || Connector::new(config.clone(), server.clone()).with_tickets(FileTickets(folder.clone()));
    let runs =
        [was_resumed(&in_files(), address)?, was_resumed(&in_files(), address)?, was_resumed(&in_files(), address)?];
    fs::remove_dir_all(&folder)?;
    assert_eq!(runs, [false, true, true], "whoever comes next finds the ticket of whoever was there before");
    println!("without tickets, with tickets in memory, with tickets in files: all as it should be");
    Ok(())
}

/// Logs in, and says whether a ticket was taken.
fn was_resumed(connector: &Connector, address: SocketAddr) -> Result<bool, Box<dyn Error>> {
    let alice = Credential::Password { user: "alice", password: b"correct horse" };
    let mut session = connector.connect_blocking(TcpStream::connect(address)?, alice)?;
    session.close()?;
    Ok(session.info().is_resumed())
}
