//! How do I slow down the guessing of passwords? Five failures a minute for each address, and for each user from anywhere.
//!
//! ```text
//! cargo run --example limiter
//! ```
//!
//! A login or a ticket pays when it arrives, and is paid back if it was good: so a hundred guesses at once fare no better than a hundred
//! in a row. Who may guess at a name may also use its tries up, and lock its owner out for a while: where that is worse than
//! guesses from many addresses, limit by address alone. [`countersign::Bounds`] are there besides.

use countersign::PrivateKey;
use countersign::crypto::rustcrypto;
use countersign::{
    Acceptor, AccountVerifier, Accounts, AsyncVerifier, Attempt, ClientConfig, Connector, Credential, Grant, KeySize,
    LoginError, Reason,
};
use countersign::{Returning, Server, ServerConfig, ServerKey, Source};
use std::collections::HashMap;
use std::error::Error;
use std::hash::Hash;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// A bucket of tokens for each key, kept as the moment at which it will be full again.
struct Buckets<K> {
    size: u32,
    refill: Duration,
    full_at: Mutex<HashMap<K, Instant>>,
}

#[allow(clippy::arithmetic_side_effects, reason = "moments of these days, and minutes")]
impl<K: Hash + Eq> Buckets<K> {
    fn new(size: u32, refill: Duration) -> Self {
        Self { size, refill, full_at: Mutex::default() }
    }

    /// Takes a token, if there is one.
    fn take(&self, key: K) -> bool {
        let (mut buckets, now) = (self.lock(), Instant::now());
        // Those that are full again need not be kept.
        if buckets.len() >= 10_000 {
            buckets.retain(|_, full_at| *full_at > now);
        }
        let full_at = buckets.entry(key).or_insert(now);
        let then = (*full_at).max(now) + self.refill;
        let has_token = then <= now + self.refill * self.size;
        if has_token {
            *full_at = then;
        }
        has_token
    }

    fn give_back(&self, key: &K) {
        if let Some(full_at) = self.lock().get_mut(key) {
            *full_at -= self.refill;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Instant>> {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A verifier behind the limit by user.
struct Limited<V> {
    verifier: V,
    users: Buckets<String>,
}

impl<V: AsyncVerifier> AsyncVerifier for Limited<V> {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        // What did not open has no user, and costs what a wrong password costs. Known and unknown names are limited alike.
        let user = attempt.credential().user().filter(|user| !user.is_empty()).map(str::to_owned);
        if user.clone().is_some_and(|user| !self.users.take(user)) {
            return Err(Reason::NotAdmitted("too many failures of this user"));
        }
        let verdict = self.verifier.verify(attempt).await;
        // Nobody is charged for a database that is away.
        if verdict.as_ref().err().is_none_or(|reason| !reason.is_no()) {
            user.inspect(|user| self.users.give_back(user));
        }
        verdict
    }

    async fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        self.verifier.resume(returning).await // a ticket can't be guessed
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"])?;
    accounts.edit("alice", |account| account.set_password(b"correct horse"))?;
    let refill = Duration::from_secs(60 / 5);
    let sources = Arc::new(Buckets::new(5, refill));
    let verifier = Limited { verifier: AccountVerifier::new(RwLock::new(accounts)), users: Buckets::new(5, refill) };

    let provider = rustcrypto::provider();
    let key = PrivateKey::generate(provider, KeySize::Rsa2048)?;
    let config = ServerConfig::new(provider).with_refusal_floor(Duration::from_millis(50));
    // Asked when a login or a ticket arrives, once about each connection: before the RSA operation, and before anybody knows
    // whose it is.
    let paid = Arc::clone(&sources);
    let acceptor =
        Acceptor::new_async(config, ServerKey::load(&key, provider)?, verifier).with_limiter(move |context, _| {
            let source = context.source();
            let admitted = !source.is_counted() || sources.take(source.clone());
            if admitted { Ok(()) } else { Err(Reason::NotAdmitted("too many failures from this address")) }
        });

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let connector = Connector::new(ClientConfig::new(provider), Server::pinned(key.public_key().id()));
    let log_in = |source: &str, user: &str, password: &[u8]| -> Result<Result<(), Reason>, Box<dyn Error>> {
        std::thread::scope(|scope| {
            let client = TcpStream::connect(address)?;
            scope.spawn(|| connector.connect_blocking(client, Credential::Password { user, password }).map(drop));
            // They all come from 127.0.0.1, so their sources are made up.
            let source = Source::named(source);
            let accepted = acceptor.accept_blocking(listener.accept()?.0, source.clone());
            // Here, where it is over: a ticket that is good and not taken is followed by a login, which must not be paid back
            // twice. Nobody is charged for a database that is away, and nobody who paid nothing is paid back.
            let is_good = match &accepted {
                Ok(_) => true,
                Err(LoginError::LoginRefused { reason: Reason::NotNow(_), .. }) => true,
                Err(_) => false,
            };
            if is_good {
                paid.give_back(&source);
            }
            match accepted {
                Ok(_) => Ok(Ok(())),
                Err(LoginError::LoginRefused { reason, .. }) => Ok(Err(reason)),
                Err(other) => Err(other.into()),
            }
        })
    };
    for _ in 0..10 {
        assert_eq!(log_in("home", "alice", b"correct horse")?, Ok(()), "who is right is never limited");
    }
    for _ in 0..5 {
        assert_eq!(log_in("flat", "bob", b"guess")?, Err(Reason::UnknownUser));
    }
    let of_source = Err(Reason::NotAdmitted("too many failures from this address"));
    assert_eq!(log_in("flat", "alice", b"correct horse")?, of_source);
    let of_user = Err(Reason::NotAdmitted("too many failures of this user"));
    assert_eq!(log_in("elsewhere", "bob", b"guess")?, of_user);
    assert_eq!(log_in("home", "alice", b"correct horse")?, Ok(()));
    println!("guessing stops after five failures, from an address and at a user");
    Ok(())
}
