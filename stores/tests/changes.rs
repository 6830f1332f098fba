//! What becomes of a login, and of a session, whose account is changed in the middle of it: in memory, over a file, over SQLite, and over PostgreSQL where there is one (`.ci/postgres COMMAND`).
#![cfg(feature = "sql")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "support/databases.rs"]
mod databases;
mod support;

use argon2::{Algorithm, Argon2, Params, Version};
use countersign::accounts::{Account, AccountFile, AccountStore, AccountVerifier, StoreError};
use countersign::crypto::rustcrypto;
use countersign::files::FileError;
use countersign::{
    Acceptor, Accounts, Answer, ClientConfig, Connector, Context, Credential, Error, KeyId, LoginError, Question,
    Recheck, Server, ServerConfig, Trust, TrustLevel,
};
use countersign_stores::SqlStore;
use databases::databases;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use support::{PASSWORD, account, connector, private_key, server_key, source};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// Does the same over each kind of store.
macro_rules! over_each_store {
    ($name:literal, $test:ident) => {
        $test(Arc::new(RwLock::new(Accounts::new()))).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts");
        AccountFile::edit(&path, true, |_| Ok::<_, FileError>(())).unwrap();
        $test(Arc::new(AccountFile::open(&path).unwrap())).await;
        for (place, _folder) in databases($name).await {
            $test(Arc::new(SqlStore::open(&place).await.unwrap())).await;
        }
    };
}

/// Where somebody who logs in waits until a test has changed something.
struct Gate(UnboundedSender<()>, Mutex<Receiver<()>>);

/// The test's side of it.
struct Keeper(UnboundedReceiver<()>, Sender<()>);

fn gate() -> (Gate, Keeper) {
    let ((reached, arrivals), (go_on, passing)) = (unbounded_channel(), channel());
    (Gate(reached, Mutex::new(passing)), Keeper(arrivals, go_on))
}

impl Gate {
    fn pass(&self) {
        self.0.send(()).unwrap();
        self.1.lock().unwrap().recv().unwrap();
    }
}

/// Trusts the server's key, and lets the login leave when the gate is open.
struct Waiting(Gate, KeyId);

impl Trust for Waiting {
    fn decide(&self, question: &Question<'_>) -> Answer {
        assert_eq!(question.key().id(), self.1);
        self.0.pass();
        Answer::Trusted(TrustLevel::Verified)
    }

    fn scope(&self) -> String {
        "waiting".to_owned()
    }
}

fn acceptor<S: AccountStore + 'static>(verifier: AccountVerifier<Arc<S>>) -> Acceptor {
    let config = ServerConfig::new(rustcrypto::provider()).with_refusal_floor(Duration::ZERO);
    Acceptor::new_async(config, server_key(), verifier).with_recheck(Recheck::every(Duration::from_millis(50)))
}

/// What the server makes of alice: a session that says all back, until it ends by an error.
fn serve(acceptor: Acceptor, end: UnixStream) -> JoinHandle<Result<io::Error, LoginError>> {
    tokio::spawn(async move {
        let mut session = acceptor.accept(end, Context::new(source(1))).await?;
        let mut byte = [0; 1];
        loop {
            let echoed = async {
                session.read_exact(&mut byte).await?;
                session.write_all(&byte).await?;
                session.flush().await
            };
            if let Err(error) = echoed.await {
                return Ok(error);
            }
        }
    })
}

const ALICE: Credential<'static> = Credential::Password { user: "alice", password: PASSWORD };

/// Why a session was ended.
fn ended(error: &io::Error) -> &'static str {
    let error = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    error.unwrap_or_else(|| panic!("it was not ended")).code()
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Remove,
    Lock,
    Password,
}

impl Change {
    async fn make<S: AccountStore>(self, store: &S) {
        match self {
            Self::Remove => store.remove("alice").await,
            Self::Lock => store.edit("alice", |alice| Ok(alice.lock())).await.map(drop),
            Self::Password => {
                let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
                store.edit("alice", |alice| alice.set_password_with(b"battery staple", &cheap)).await
            }
        }
        .unwrap();
    }

    /// The reason at a login, and at a session.
    fn reasons(self) -> (&'static str, &'static str) {
        match self {
            Self::Remove => ("unknown-user", "unknown-user"),
            Self::Lock => ("account-locked", "account-locked"),
            Self::Password => ("wrong-password", "credential-changed"),
        }
    }
}

/// Alice as she was.
async fn renew<S: AccountStore>(store: &S, alice: &Account) {
    match store.remove("alice").await {
        Ok(()) | Err(StoreError::Account(_)) => store.add(alice).await.unwrap(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_is_removed_locked_or_given_another_password_during_a_login_is_not_let_in() {
    over_each_store!("changed", changes_during_logins);
}

async fn changes_during_logins<S: AccountStore + 'static>(store: Arc<S>) {
    let alice = account("alice");
    for change in [Change::Remove, Change::Lock, Change::Password] {
        for is_hashing in [false, true] {
            renew(&*store, &alice).await;
            let (gate, mut keeper) = gate();
            let verifier = AccountVerifier::new(Arc::clone(&store));
            let (acceptor, by) = if is_hashing {
                // Asked where the hash was computed, and was that of the password.
                let hashed = verifier.with_upgrade(move |_, _| {
                    gate.pass();
                    None
                });
                (acceptor(hashed), connector())
            } else {
                // The challenge has come.
                let server = Server::trusting(Waiting(gate, private_key().public_key().id()));
                let by = Connector::new(ClientConfig::new(rustcrypto::provider()), server);
                (acceptor(verifier.without_upgrade()), by)
            };
            let (client, end) = UnixStream::pair().unwrap();
            let server = serve(acceptor, end);
            let connected = tokio::spawn(async move { by.connect(client, ALICE).await.map(drop) });
            keeper.0.recv().await.unwrap();
            change.make(&*store).await;
            keeper.1.send(()).unwrap();
            let refused = connected.await.unwrap();
            assert!(matches!(refused, Err(LoginError::Protocol(Error::Refused))), "{change:?}: {refused:?}");
            match server.await.unwrap() {
                Err(LoginError::LoginRefused { reason, .. }) => {
                    assert_eq!(reason.code(), change.reasons().0, "{change:?}");
                }
                other => panic!("{change:?}: {other:?}"),
            }
        }

        // After the verdict, and before the first look at the session.
        renew(&*store, &alice).await;
        let (client, end) = UnixStream::pair().unwrap();
        let server = serve(acceptor(AccountVerifier::new(Arc::clone(&store)).without_upgrade()), end);
        let mut session = connector().connect(client, ALICE).await.unwrap();
        change.make(&*store).await;
        assert_eq!(session.read(&mut [0; 1]).await.unwrap(), 0, "a close");
        assert_eq!(ended(&server.await.unwrap().unwrap()), change.reasons().1, "{change:?}");
    }
}
