//! How do I keep the private key out of the server: in an HSM, another thread, another machine?
//!
//! ```text
//! cargo run --example hsm
//! ```
//!
//! A PKCS#11 session does one operation at a time, and belongs to one thread. So there is one thread with a queue before it;
//! the server has the public key alone. The thread's module is made of software here: where it says `decrypt`, call yours, with
//! RSA-OAEP, SHA-256, MGF1 with SHA-256 and an empty label. A module whose calls may block in any thread is simpler: see
//! [`ServerKey::with_decrypt`].

use countersign::PrivateKey;
use countersign::crypto::{Decrypt, Decrypted, Decrypting, RemoteDecrypt, rng, rustcrypto};
use countersign::{Acceptor, ClientConfig, Connector, Credential, KeySize, Reason, Server, ServerConfig, ServerKey};
use countersign::{Attempt, Grant, LoginError};
use std::error::Error;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use tokio::sync::oneshot; // any channel whose receiver is a future; no runtime is needed

type Question = (Vec<u8>, oneshot::Sender<Decrypted>);

/// The way to the thread that has the key.
struct Module(mpsc::SyncSender<Question>);

impl Module {
    /// Starts the thread. It ends when the last server key that asks it is gone.
    fn start(session: Arc<dyn Decrypt>) -> std::io::Result<Self> {
        let (queue, questions) = mpsc::sync_channel::<Question>(64);
        thread::Builder::new().name("hsm".to_owned()).spawn(move || {
            let Ok(mut rng) = rng() else { return };
            for (ciphertext, answer) in questions {
                // A login that was given up does not hold up the others.
                if !answer.is_closed() {
                    let _ = answer.send(session.decrypt(&ciphertext, &mut rng));
                }
            }
        })?;
        Ok(Self(queue))
    }
}

impl RemoteDecrypt for Module {
    fn decrypt(&self, ciphertext: Vec<u8>) -> Decrypting {
        let (answer, answered) = oneshot::channel();
        // Where the queue is full or the thread is gone nobody answers: a failure like any other, which looks like any other
        // refusal. How many logins can be under way is for the acceptor's bounds to say.
        let _ = self.0.try_send((ciphertext, answer));
        Box::pin(async { answered.await.unwrap_or_else(|_| Decrypted::failed()) })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let provider = rustcrypto::provider();
    let key = PrivateKey::generate(provider, KeySize::Rsa2048)?;
    let public = key.public_key().clone();
    let module = Module::start(provider.rsa.load_key(&key)?)?;
    drop(key); // from here on only the module has it

    let server_key = ServerKey::with_remote_decrypt(public.clone(), Arc::new(module));
    let verify = |attempt: &Attempt<'_>| match attempt.credential() {
        Credential::Password { user: "alice", password: b"correct horse" } => {
            Grant::new("alice", ["read"]).map_err(|_| Reason::NotNow("the account can't be used"))
        }
        _ => Err(Reason::WrongPassword),
    };
    let acceptor = Acceptor::new(ServerConfig::new(provider), server_key, verify);
    let connector = Connector::new(ClientConfig::new(provider), Server::key(public));

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    // Eight clients at once, of whom one has forgotten the password.
    let clients: Vec<_> = (0..8)
        .map(|number| {
            let connector = connector.clone();
            thread::spawn(move || {
                let password: &[u8] = if number == 0 { b"battery staple" } else { b"correct horse" };
                let stream = TcpStream::connect(address)?;
                connector.connect_blocking(stream, Credential::Password { user: "alice", password }).map(drop)
            })
        })
        .collect();
    let servers: Vec<_> = (0..8)
        .map(|_| {
            let (stream, peer) = listener.accept()?;
            let acceptor = acceptor.clone();
            Ok(thread::spawn(move || acceptor.accept_blocking(stream, peer).map(drop)))
        })
        .collect::<std::io::Result<_>>()?;
    let mut refused = Vec::new();
    for server in servers {
        match server.join().map_err(|_| "a server's thread panicked")? {
            Err(LoginError::LoginRefused { reason, .. }) => refused.push(reason),
            other => other?,
        }
    }
    let logged_in = clients.into_iter().filter_map(|client| client.join().ok()?.ok()).count();
    assert_eq!((logged_in, refused), (7, vec![Reason::WrongPassword]), "the module opened all of them");
    println!("the module opened eight logins, of which one was refused");
    Ok(())
}
