//! Tickets over real sockets: both adapters, and an account file that changes between two logins.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]
#![cfg(all(feature = "accounts", feature = "tokio"))]

#[path = "support/provider.rs"]
mod provider;

use countersign::{
    Acceptor, Accounts, Attempt, Begun, ClientConfig, Connector, Context, Credential, Grant, LoginError, PrivateKey,
    Reason, Returning, Server, ServerConfig, ServerKey, Ticket, TicketKeys, TrustedTicket, UnixTime, Verifier,
};
use provider::provider;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ALICE: Credential<'static> = Credential::Password { user: "alice", password: b"correct horse" };

fn private() -> PrivateKey {
    PrivateKey::from_pem(include_str!("keys/rsa2048.pem")).unwrap()
}

fn key() -> ServerKey {
    ServerKey::load(&private(), provider()).unwrap()
}

fn trust() -> Server {
    Server::pinned(private().public_key().id())
}

fn server_config() -> ServerConfig {
    let keys = TicketKeys::new(provider(), Duration::from_secs(60));
    let config = ServerConfig::new(provider()).with_refusal_floor(Duration::ZERO);
    config.with_tickets(Arc::new(keys))
}

fn connector() -> Connector {
    Connector::new(ClientConfig::new(provider()), trust())
}

fn trusted(ticket: &Ticket) -> Option<TrustedTicket> {
    trust().resume(ticket.clone(), "alice", UnixTime::from_system(SystemTime::now()))
}

/// Accounts that count how often a credential was verified.
#[derive(Default)]
struct Counted {
    accounts: Mutex<Accounts>,
    verified: AtomicUsize,
}

impl Counted {
    fn new() -> Self {
        let counted = Self::default();
        counted.set_password(b"correct horse");
        counted
    }

    fn set_password(&self, password: &[u8]) {
        let mut accounts = self.accounts.lock().unwrap();
        if accounts.get("alice").is_none() {
            accounts.add("alice", ["read"]).unwrap();
        }
        accounts.edit("alice", |account| account.set_password(password)).unwrap();
    }
}

impl Verifier for Counted {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self.verified.fetch_add(1, Ordering::SeqCst);
        self.accounts.lock().unwrap().check(attempt.credential())
    }

    fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        self.accounts.lock().unwrap().current(returning.principal(), returning.kind())
    }
}

#[test]
fn a_ticket_saves_the_second_login_its_credential_until_the_password_changes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, verifier) = (listener.local_addr().unwrap(), Arc::new(Counted::new()));
    let acceptor = Acceptor::new(server_config(), key(), Arc::clone(&verifier));
    let login = |ticket: Option<&Ticket>, credential: Option<Credential<'_>>| {
        std::thread::scope(|scope| {
            let server = scope.spawn(|| {
                let (stream, peer) = listener.accept().unwrap();
                let mut session = acceptor.accept_blocking(stream, peer)?;
                let mut said = String::new();
                session.read_to_string(&mut said).unwrap();
                session.close().unwrap();
                Ok::<_, LoginError>((said, session.info().is_resumed()))
            });
            let begun = connector().begin_blocking(|| TcpStream::connect(address), ticket.and_then(trusted)).unwrap();
            let session = match (begun, credential) {
                (Begun::Resumed(session), None) => Ok(session),
                (Begun::Trusted(trusted), Some(credential)) => trusted.login_blocking(credential),
                (begun, _) => panic!("{begun:?}"),
            };
            let next = session.ok().map(|mut session| {
                session.write_all(b"it is me").unwrap();
                session.close().unwrap();
                session.read_to_end(&mut Vec::new()).unwrap();
                session.info().ticket().unwrap().clone()
            });
            (next, server.join().unwrap().ok())
        })
    };
    let says = |resumed| Some(("it is me".to_owned(), resumed));

    let (ticket, server) = login(None, Some(ALICE));
    assert_eq!((server, verifier.verified.load(Ordering::SeqCst)), (says(false), 1));
    let (ticket, server) = login(ticket.as_ref(), None);
    assert_eq!((server, verifier.verified.load(Ordering::SeqCst)), (says(true), 1));
    let (ticket, server) = login(ticket.as_ref(), None);
    assert_eq!((server, verifier.verified.load(Ordering::SeqCst)), (says(true), 1));
    // The ticket dies with the password it came from, and the old password with it.
    verifier.set_password(b"battery staple");
    let (none, server) = login(ticket.as_ref(), Some(ALICE));
    assert!(none.is_none() && server.is_none());
    let new = Credential::Password { user: "alice", password: b"battery staple" };
    let (again, server) = login(ticket.as_ref(), Some(new));
    assert!(again.is_some());
    assert_eq!((server, verifier.verified.load(Ordering::SeqCst)), (says(false), 3));
}

#[test]
fn a_verifier_that_panics_over_a_ticket_leads_to_the_full_login() {
    struct Panics;
    impl Verifier for Panics {
        fn verify(&self, _: &Attempt<'_>) -> Result<Grant, Reason> {
            Ok(Grant::new("alice", ["read"]).unwrap().with_epoch(1))
        }

        fn resume(&self, _: &Returning<'_>) -> Result<Grant, Reason> {
            panic!("a bug of the application's");
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = Acceptor::new(server_config(), key(), Panics);
    let mut ticket = None;
    for _ in 0..2 {
        let session = std::thread::scope(|scope| {
            scope.spawn(|| {
                let (stream, peer) = listener.accept().unwrap();
                acceptor.accept_blocking(stream, peer).map(drop).unwrap();
            });
            match connector().begin_blocking(|| TcpStream::connect(address), ticket.as_ref().and_then(trusted)).unwrap()
            {
                Begun::Trusted(trusted) => trusted.login_blocking(ALICE).unwrap(),
                Begun::Resumed(_) => panic!("nobody said that alice is welcome"),
            }
        });
        ticket = session.info().ticket().cloned();
        assert!(ticket.is_some());
    }
}

#[tokio::test]
async fn the_tokio_adapter_resumes_too() {
    let verifier = Arc::new(Counted::new());
    let acceptor = Acceptor::new(server_config(), key(), Arc::clone(&verifier));
    let mut ticket = None;
    for round in 0..3 {
        let (ours, theirs) = tokio::io::duplex(4096);
        let acceptor = acceptor.clone();
        let server = tokio::spawn(async move {
            let mut session = acceptor.accept(theirs, Context::uncounted()).await.unwrap();
            let mut said = String::new();
            session.read_to_string(&mut said).await.unwrap();
            session.shutdown().await.unwrap();
            (said, session.info().is_resumed())
        });
        let mut ours = Some(ours);
        let dial = || core::future::ready(Ok(ours.take().unwrap()));
        let mut session = match connector().begin(dial, ticket.as_ref().and_then(trusted)).await.unwrap() {
            Begun::Resumed(session) => session,
            Begun::Trusted(trusted) => trusted.login(ALICE).await.unwrap(),
        };
        session.write_all(b"it is me").await.unwrap();
        session.shutdown().await.unwrap();
        assert_eq!(server.await.unwrap(), ("it is me".to_owned(), round > 0));
        ticket = session.info().ticket().cloned();
    }
    assert_eq!(verifier.verified.load(Ordering::SeqCst), 1);
}
