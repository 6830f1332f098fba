//! RSA challenge-response login for your own TCP protocol: the server publishes one RSA key, the client seals a
//! password or token to that key and to this very connection, and out comes a named peer on an encrypted stream.
#![cfg_attr(
    all(feature = "rustcrypto", feature = "accounts"),
    doc = r#"
```
use countersign::crypto::rustcrypto;
use countersign::{Acceptor, AccountVerifier, Accounts, Bounds, ClientConfig, Connector, Credential, PrivateKey};
use countersign::{Server, ServerConfig, ServerKey};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::RwLock;

# fn main() -> Result<(), Box<dyn std::error::Error>> {
let provider = rustcrypto::provider();
# let key = PrivateKey::from_pem(include_str!("../tests/keys/rsa2048.pem"))?;
# /*
let key = PrivateKey::from_pem(&std::fs::read_to_string("server.pem")?)?;
# */
let pin = key.public_key().id(); // what the operator hands out; prints as SHA256:...

// The server: accounts, a key, a listener. What strangers can exhaust is bounded.
let mut accounts = Accounts::new();
accounts.add("alice", ["read"])?;
accounts.edit("alice", |account| account.set_password(b"correct horse"))?;
let verifier = AccountVerifier::new(RwLock::new(accounts));
// Async, as a store of accounts may have to be waited for. The acceptor does that by itself, and needs no runtime for it.
let acceptor = Acceptor::new_async(ServerConfig::new(provider), ServerKey::load(&key, provider)?, verifier);
// To what the process may have open, of which a blocking session takes two: the second ends it from outside.
let acceptor = acceptor.with_bounds(Bounds::default().fitting_process(2, 0));
let listener = TcpListener::bind("127.0.0.1:0")?;
let address = listener.local_addr()?;
let server = std::thread::spawn(move || -> Result<(), countersign::LoginError> {
    let (stream, peer) = listener.accept()?;
    let mut session = acceptor.accept_blocking(stream, peer)?;
    let name = session.grant().principal().to_owned();
    writeln!(session, "hello, {name}")?;
    session.close()
});

// The client: what it knows of the server, a credential, a stream.
let connector = Connector::new(ClientConfig::new(provider), Server::pinned(pin));
let alice = Credential::Password { user: "alice", password: b"correct horse" };
let session = connector.connect_blocking(TcpStream::connect(address)?, alice)?;
let mut line = String::new();
BufReader::new(session).read_line(&mut line)?;
assert_eq!(line, "hello, alice\n");
# server.join().expect("the server thread")?;
# Ok(())
# }
```
"#
)]
//!
//! # Map
//!
//! | to | see |
//! |---|---|
//! | accept logins, within bounds | [`Acceptor`], [`Bounds`] |
//! | make guessing slow | [`Penalties`] |
//! | log in | [`Connector`], [`Server`] |
//! | read and write afterwards | [`Stream`]: `Read + Write`, or with tokio's streams `AsyncRead + AsyncWrite` |
//! | put sessions into a pool | `Stream::closing_on_drop`, with the feature `tokio` |
//! | use blocking streams of your own | [`blocking`] |
//! | use another event loop | [`Link`], [`Acceptor::accept_over`]: examples/event_loop.rs |
//! | drive the protocol yourself, without sockets | [`client`], [`server`], [`Session`] |
//! | say who may do what, and have sessions learn of changes | [`Grant`], [`Verifier::with_policy`], [`Recheck`] |
//! | have strangers pay for logins in a flood | [`Acceptor::with_puzzles`], [`Puzzles`] |
//! | verify credentials | [`Verifier`], [`AsyncVerifier`], and `AccountVerifier` over a store of accounts: a file, memory, a database |
//! | check passwords of a store of your own | `accounts::PasswordCheck`, [`StretchedPassword::check`] |
//! | have clients compute the password hashes | [`ServerConfig::with_stretching`], [`Stretching`] |
//! | read and write keys | [`PrivateKey`], [`PublicKey`], [`KeyId`] |
//! | read keys as OpenSSL, OpenSSH and others write them | [`crypto::KeyFile`], and `files` for those on disk |
//! | know servers by a file, as OpenSSH does | `KnownHosts` |
//! | know a server by certificates, and make those | `x509`, `crypto::CertificateChain`, `crypto::CertificateDraft` |
//! | prove a client by its own key | [`ClientKey`], [`SigningKey`], [`VerifyingKey`]; [`AuthorizedKey`] and `ssh_agent` |
//! | change a server's key while it runs | [`KeySet`], [`Acceptor::set_keys`] |
//! | let clients follow the keys by an identity | [`ManifestBody`], [`Identity`] |
//! | keep the private key in an HSM or a key service | [`ServerKey`], [`crypto::Decrypt`], [`crypto::RemoteDecrypt`] |
//! | let clients come back without a credential | [`TicketKeys`], [`TicketCache`] |
//! | log and count what is decided | [`Event`], [`events`], [`Acceptor::with_observer`], [`Acceptor::totals`], [`Acceptor::counts`]; the feature `tracing` |
//! | look at bytes | [`frame`], [`codec`] |
//! | plug in other crypto | [`crypto::Provider`], and the traits of its parts |
//!
//! The bytes are fixed by PROTOCOL.md; what is and is not defended against is in SECURITY.md.
//!
//! # Features
//!
//! Features add abilities. One shows where nobody calls for it, and can be turned on by any crate of a build: with `ml-kem` the pure-Rust provider has
//! X25519MLKEM768, which both ends then offer and take first, as they do with `aws_lc`. [`ClientConfig::with_suites`] and
//! [`ServerConfig::with_suites`] fix what is offered. No other feature changes behaviour.
//!
//! | feature | on by default | what it adds |
//! |---|---|---|
//! | `rustcrypto` | yes | the crypto provider `crypto::rustcrypto`, pure Rust |
//! | `ml-kem` | yes | X25519MLKEM768 for that provider |
//! | `aws-lc` | no | the crypto provider `crypto::aws_lc`, several times faster; it needs a C compiler |
//! | `accounts` | yes | `AccountVerifier` over an account file or a store of your own; `files` with it |
//! | `password-formats` | no | for `accounts`: passwords as other programs have stored them (bcrypt, scrypt, PBKDF2, SHA-crypt, yescrypt, Argon2i and Argon2d) |
//! | `files` | yes | `files`, keys on disk, and `known_hosts`; [`Bounds`] that fit what a process may have open |
//! | `x509` | no | `x509`, servers known by certificates, and `crypto::CertificateDraft`, which makes those; with it `aws-lc` and `key-formats` |
//! | `key-formats` | no | key files that are encrypted or OpenSSH's, [`AuthorizedKey`] as a line of text, and certificates |
//! | `ssh-agent` | no | `ssh_agent`, keys that an `ssh-agent` holds, on Unix; `key-formats` with it |
//! | `stretch` | with `accounts` | clients that stretch passwords for servers that want that ([`Stretching`]) |
//! | `tokio` | no | logins and sessions over tokio's streams |
//! | `rustls` | no | `ChannelBinding::rustls`, for TLS connections of that crate |
//! | `tracing` | no | a span for each handshake and an event for each [`Event`], by that crate; target `countersign` |
//! | `serde` | no | `Serialize` and `Deserialize` for [`KeyId`], [`Suite`] and [`Grant`] |

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

// The layers, each importing only from those above it; `tests/layers.rs` checks that.
pub mod crypto;
mod handshake;
mod io;
pub mod limits;
mod mutant;
mod session;
mod stores;
mod terms;
mod time;
mod wire;

pub use crypto::{Aead, CryptoRng, KeyError, KeyExchange, KeyId, KeySize, PrivateKey, PublicKey, ServerKey, Suite};
pub use crypto::{ClientKey, SignatureAlgorithm, SigningKey, VerifyingKey};
pub use handshake::VERSION;
pub use handshake::client::{self, ClientConfig};
pub use handshake::server::{self, ServerConfig};
pub use io::events::{self, Event};
#[cfg(feature = "files")]
pub use io::raise_open_files;
pub use io::{
    Acceptor, Begun, Bounds, BusyReason, Connector, Counts, CurrentGrant, KeySet, Link, LoginError, MemoryTickets,
    Puzzles, Recheck, ServerKeys, Stream,
};
#[cfg(feature = "tokio")]
pub use io::{ClosingStream, TokioLink};
pub use io::{Penalties, PenaltyEvent, PenaltyKey, PenaltyStore, Standing, StoreAway, Stored, Waits, WhenAway};
pub use io::{ServerTrusted, TicketCache, blocking};
pub use session::{Opener, Received, Sealer, Session, SessionId, SessionInfo};
#[cfg(feature = "accounts")]
pub use stores::accounts::{self, AccountVerifier, Accounts};
#[cfg(feature = "files")]
pub use stores::files;
#[cfg(feature = "files")]
pub use stores::known_hosts::{self, KnownHosts};
#[cfg(feature = "files")]
pub use stores::manifest_files::ManifestFiles;
#[cfg(all(feature = "ssh-agent", unix))]
pub use stores::ssh_agent;
pub use terms::addresses::{AddressPatterns, BadAddressPattern};
#[cfg(feature = "key-formats")]
pub use terms::authorized_key::AuthorizedKeysError;
pub use terms::authorized_key::{AuthorizedKey, AuthorizedKeyError};
pub use terms::binding::ChannelBinding;
pub use terms::context::{Context, Source};
pub use terms::credential::{Credential, CredentialKind};
pub use terms::error::{Differs, Error, Misuse, Penalty, Reason, RecordError, Violation};
pub use terms::factor::{Form, Prompt};
pub use terms::grant::{Forbidden, Grant};
pub use terms::policy::{PolicyRequest, WithPolicy};
pub use terms::puzzle::{Puzzle, PuzzleDifficulty, PuzzleSolution};
pub use terms::revocation::Revocation;
pub use terms::stretch::{
    ParseStretchParametersError, ParseStretchedHashError, StretchError, StretchParameters, StretchedHash,
    StretchedPassword, Stretching,
};
pub use terms::ticket::{
    AlreadyUsed, FreshTicket, Ticket, TicketClaim, TicketKeys, TicketMemory, TicketUse, TrustedTicket, UsedCounts,
    UsedTickets, Using,
};
#[cfg(feature = "x509")]
pub use terms::trust::x509;
pub use terms::trust::{
    Answer, Approved, AsyncTrust, Question, Server, Trust, TrustLevel, Untrusted, UntrustedKey, Wants,
};
pub use terms::trust::{
    Identity, Manifest, ManifestBody, ManifestError, ManifestFloor, ManifestKey, ManifestStore, MemoryManifests,
    SignedManifest,
};
pub use terms::verifier::{AsyncVerifier, Attempt, FactorAttempt, Further, Returning, Verifier};
pub use time::{Clock, Moment, TimeOfDay, UnixTime};
pub use wire::{codec, frame};

/// `Debug` that prints the name alone, for types that hold secrets.
macro_rules! opaque_debug {
    ($($type:ty),*) => { $(
        impl core::fmt::Debug for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                let name = stringify!($type);
                f.debug_struct(name.split('<').next().unwrap_or(name)).finish_non_exhaustive()
            }
        }
    )* };
}
use opaque_debug;

// The model of the machines, with checks taken out: see `mutant`. It is written for any test, against the public API.
#[cfg(test)]
extern crate self as countersign;
#[cfg(all(test, feature = "stretch", any(feature = "rustcrypto", feature = "aws-lc")))]
#[path = "../tests/mutants/mod.rs"]
mod mutants;

/// The code of README.md compiles.
#[cfg(all(doctest, feature = "rustcrypto", feature = "accounts", feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;
