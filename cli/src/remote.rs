//! The server that a client logs in to: where it is, what is trusted, and as whom.

use crate::crypto;
use crate::dial;
use crate::failure::{Failure, Status};
use crate::keys;
use crate::secrets::{self, Secret};
use crate::term;
use clap::Args;
use countersign::{ClientConfig, Connector, Credential, KeyId, Server, limits};
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
    /// Trust the server keys in this file, any of them; can be repeated. Takes what `key show` takes, also certificates and
    /// the ssh-rsa lines of OpenSSH
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

impl Remote {
    /// Whether somebody has to be asked for the secret.
    pub(crate) fn asks(&self) -> bool {
        self.user.is_some() && !self.password_stdin
    }

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
        let mut all: Vec<Server> = self.pins.iter().map(|&pin| Server::pinned(pin)).collect();
        for path in &self.keys {
            all.extend(keys::trusted(path)?.into_iter().map(Server::key));
        }
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
            _ => {
                Failure::with_status(Status::Network, format_args!("cannot look up {server}: {error}; check the name"))
            }
        })?;
        let stream = dial::connect(&addresses, end).await.map_err(|error| {
            let advice = "is the server running there, and nothing in between blocking the port?";
            Failure::with_status(Status::Network, format_args!("cannot connect to {server}: {error}; {advice}"))
        })?;
        let _ = stream.set_nodelay(true);
        Ok(stream)
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
