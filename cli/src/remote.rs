//! The server that a client logs in to: where it is, what is trusted, and as whom.

use crate::crypto;
use crate::dial;
use crate::failure::{Failure, chain};
use crate::secrets::{self, Secret};
use crate::term;
use clap::Args;
use countersign::{ClientConfig, Connector, Credential, Error, KeyId, LoginError, Server, files, limits};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpStream;

#[derive(Args, Clone)]
pub(crate) struct Remote {
    /// The server; host names are looked up
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) server: String,
    /// Who to log in as
    #[arg(long, value_name = "NAME", required_unless_present = "token_stdin", conflicts_with = "token_stdin")]
    #[arg(value_parser = term::user_name)]
    pub(crate) user: Option<String>,
    /// Trust the server key with this fingerprint; can be repeated, for when the key is about to change
    #[arg(long = "pin", value_name = "SHA256:...")]
    pins: Vec<KeyId>,
    /// Trust the server key in this file; can be repeated
    #[arg(long = "server-key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Read the password from the first line of standard input instead of asking for it
    #[arg(long, conflicts_with = "token_stdin")]
    pub(crate) password_stdin: bool,
    /// Log in with the token on the first line of standard input, without a user name and a password
    #[arg(long)]
    token_stdin: bool,
    /// How long to wait for the connection, for the login, for each answer, and for the goodbye
    #[arg(long, value_name = "TIME", default_value = term::time(limits::HANDSHAKE_TIMEOUT), value_parser = term::timeout)]
    pub(crate) timeout: Duration,
}

/// Who logs in, for as long as it may be needed.
pub(crate) struct Identity {
    user: Option<String>,
    secret: Secret,
}

impl Identity {
    pub(crate) fn credential(&self) -> Credential<'_> {
        match &self.user {
            Some(user) => Credential::Password { user, password: &self.secret },
            None => Credential::Token(&self.secret),
        }
    }
}

pub(crate) const REFUSED: u8 = 1;
pub(crate) const UNTRUSTED: u8 = 3;
pub(crate) const NETWORK: u8 = 4;

impl Remote {
    /// Asks for the password, or reads the secret from standard input.
    pub(crate) fn identity(&self) -> Result<Identity, Failure> {
        let secret = match &self.user {
            Some(user) => secrets::ask(format_args!("Password for {user}: "), self.password_stdin, "--password-stdin")?,
            None => secrets::ask("", true, "--token-stdin")?,
        };
        Ok(Identity { user: self.user.clone(), secret })
    }

    pub(crate) fn connector(&self) -> Result<Connector, Failure> {
        let config = ClientConfig::new(crypto::provider()).with_handshake_timeout(self.timeout);
        Ok(Connector::new(config, self.trust()?))
    }

    fn trust(&self) -> Result<Server, Failure> {
        let pinned = self.pins.iter().map(|&pin| Ok(Server::pinned(pin)));
        let read = self.keys.iter().map(|path| match files::read_public_key(path) {
            Ok(key) => Ok(Server::key(key)),
            Err(error) => {
                Err(Failure::missing(&error, "get the server's public key from its operator").status(Failure::USAGE))
            }
        });
        let all = pinned.chain(read).collect::<Result<Vec<_>, _>>()?;
        all.into_iter().reduce(Server::or).ok_or_else(|| {
            Failure::usage(
                "which server key to trust? Give --pin SHA256:... or --server-key server.pub.pem. The fingerprint is \
                 what `countersign key show server.pem` prints on the server, and `countersign serve` when it starts; \
                 get it in a way that nobody can tamper with",
            )
        })
    }

    /// Connects to the server.
    pub(crate) async fn dial(&self) -> Result<TcpStream, Failure> {
        let server = &self.server;
        let end = dial::end(self.timeout);
        let addresses = dial::look_up(server, end).await.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => {
                Failure::usage(format_args!("--server {server}: {error}; write it as HOST:PORT"))
            }
            _ => Failure::with_status(NETWORK, format_args!("cannot look up {server}: {error}; check the name")),
        })?;
        let stream = dial::connect(&addresses, end).await.map_err(|error| {
            let advice = "is the server running there, and nothing in between blocking the port?";
            Failure::with_status(NETWORK, format_args!("cannot connect to {server}: {error}; {advice}"))
        })?;
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

/// The exit status of a login that failed, and what to do next.
pub(crate) fn failure(error: &LoginError) -> Failure {
    let (status, advice) = match error {
        LoginError::Protocol(inner) => match inner {
            Error::Refused | Error::KindNotTaken(_) => (REFUSED, ""),
            Error::Untrusted(_) => (
                UNTRUSTED,
                ". Ask its operator for the fingerprint first: a key that is not the right one is what an attack looks like",
            ),
            Error::UnderFloor(_) | Error::ServerKey(_) => (UNTRUSTED, "; ask the server's operator"),
            Error::Misuse(_) => (Failure::USAGE, ""),
            Error::DeadlinePassed => (NETWORK, "; if the network is slow, give a longer --timeout"),
            Error::VerdictNotAuthentic => (
                NETWORK,
                ". A busy server does that, and so does somebody in between who collects what you send: let no machine \
                 try again and again, and if it stays so, ask the server's operator",
            ),
            _ => (NETWORK, "; is this a countersign server, of the same version?"),
        },
        _ => (NETWORK, "; try again"),
    };
    Failure::with_status(status, format_args!("{}{advice}", chain(error)))
}

/// The session failed after the login.
pub(crate) fn broken(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            Failure::with_status(NETWORK, "the server did not answer in time; give a longer --timeout, or log in again")
        }
        _ => Failure::with_status(NETWORK, format_args!("the session broke: {}; log in again", chain(error))),
    }
}

/// Runs a client to its end. A read of standard input that nobody waits for any more is left behind.
pub(crate) fn block_on<T>(client: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format_args!("cannot start: {error}")))?;
    let done = runtime.block_on(client);
    runtime.shutdown_background();
    done
}
