//! The server that a client logs in to: where it is, what is trusted, and as whom.

use crate::client_key::{Key, KeyArgs, Locked};
use crate::crypto;
use crate::dial;
use crate::failure::{Failure, Status};
use crate::prompt;
use crate::secrets::{self, Secret};
use crate::term;
use crate::trust::TrustArgs;
use clap::Args;
use countersign::frame::FrameType;
use countersign::known_hosts::Distrust;
use countersign::{
    ClientConfig, ClientKey, Connector, Credential, Error, KeyId, LoginError, Prompt, PublicKey, Server, limits,
};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::task::spawn_blocking;

#[derive(Args, Clone)]
pub(crate) struct Remote {
    /// The server; host names are looked up
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) server: String,
    /// Who to log in as
    #[arg(long, value_name = "NAME", required_unless_present = "token_stdin", conflicts_with = "token_stdin")]
    #[arg(value_parser = term::user_name)]
    pub(crate) user: Option<String>,
    #[command(flatten)]
    trust: TrustArgs,
    /// Ask for the server of this name, where several are behind one address; it crosses the wire in the clear
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    server_name: Option<String>,
    /// Never send the password itself: only what it is stretched to, to a server that takes that
    #[arg(long, conflicts_with = "token_stdin")]
    stretched_only: bool,
    /// Stretch the password for this realm alone, whatever the server says
    #[arg(long, value_name = "REALM", conflicts_with = "token_stdin")]
    realm: Option<String>,
    /// Read the password from the first line of standard input instead of asking for it
    #[arg(long, conflicts_with = "token_stdin")]
    pub(crate) password_stdin: bool,
    /// Log in with the token on the first line of standard input, without a user name and a password
    #[arg(long)]
    token_stdin: bool,
    #[command(flatten)]
    key: KeyArgs,
    /// Read the answer to the server's question for a second factor, such as a one-time code, from the next line of standard input
    /// instead of asking for it
    #[arg(long)]
    factor_stdin: bool,
    #[arg(skip)]
    factor: Factor,
    /// Show the server no ticket of an earlier login, and keep none of this one
    #[arg(long)]
    pub(crate) no_resume: bool,
    /// How long to wait for the connection, for the login, for each answer, and for the goodbye
    #[arg(long, value_name = "TIME", default_value = term::time(limits::HANDSHAKE_TIMEOUT), value_parser = term::timeout)]
    pub(crate) timeout: Duration,
}

/// The answer to a question for a second factor.
#[derive(Clone, Default)]
struct Factor {
    /// From standard input: good for one question.
    given: Arc<Mutex<Option<Secret>>>,
    /// Somebody was asked on the terminal.
    asked: Arc<AtomicBool>,
    /// The answer that is being typed there. Who has begun to read a line can't be stopped: where a login is over before it comes, it is the next one's.
    typed: Arc<tokio::sync::Mutex<Option<oneshot::Receiver<Option<Secret>>>>>,
}

impl Factor {
    /// Asks the person who is there: one question after the other, whatever logs in at the same time.
    async fn ask(&self, prompt: Prompt) -> Option<Secret> {
        self.asked.store(true, Relaxed);
        let mut typed = self.typed.lock().await;
        // One that was typed when no login was there for it may be old by now.
        let is_open = |typed: &mut oneshot::Receiver<_>| matches!(typed.try_recv(), Err(TryRecvError::Empty));
        if typed.as_mut().is_some_and(is_open) {
            term::note(secrets::question(&prompt));
        } else {
            let (give, take) = oneshot::channel();
            // Not here: the person takes their time, and the server may hang up meanwhile.
            spawn_blocking(move || drop(give.send(secrets::ask_factor(&prompt))));
            *typed = Some(take);
        }
        let answer = match typed.as_mut() {
            Some(typed) => typed.await.ok().flatten(),
            None => None,
        };
        *typed = None;
        answer
    }
}

/// Who logs in, for as long as it may be needed.
pub(crate) enum Identity {
    Password { user: String, password: Secret },
    Token(Secret),
    Key { user: String, key: ClientKey },
}

/// Who logs in, as far as that is known before anybody is asked.
pub(crate) enum Who {
    Known(Identity),
    /// The password of this user has to be typed.
    Password(String),
    /// The passphrase of this user's key has to be typed.
    Passphrase(String, Locked),
}

impl Identity {
    pub(crate) fn credential(&self) -> Credential<'_> {
        match self {
            Self::Password { user, password } => Credential::Password { user, password },
            Self::Token(token) => Credential::Token(token),
            Self::Key { user, key } => Credential::Key { user, key },
        }
    }
}

impl Who {
    /// Whether somebody has to be asked for something secret.
    pub(crate) fn asks(&self) -> bool {
        !matches!(self, Self::Known(_))
    }

    /// Asks, where that has to be.
    pub(crate) fn identity(self) -> Result<Identity, Failure> {
        Ok(match self {
            Self::Known(identity) => identity,
            Self::Password(user) => {
                let prompt = format!("Password for {user}: ");
                Identity::Password { password: secrets::ask(prompt, false, "--password-stdin")?, user }
            }
            Self::Passphrase(user, locked) => Identity::Key { key: locked.unlock()?, user },
        })
    }
}

impl Remote {
    /// Who logs in. Reads what comes from standard input and from files.
    pub(crate) fn who(&self) -> Result<Who, Failure> {
        let key = self.key.open(self.timeout)?;
        let Some(user) = self.user.clone() else {
            return Ok(Who::Known(Identity::Token(secrets::ask("", true, "--token-stdin")?)));
        };
        Ok(match key {
            Some(Key::Ready(key)) => Who::Known(Identity::Key { user, key }),
            Some(Key::Locked(locked)) => Who::Passphrase(user, locked),
            None if self.password_stdin => {
                Who::Known(Identity::Password { user, password: secrets::ask("", true, "--password-stdin")? })
            }
            None => Who::Password(user),
        })
    }

    /// What logs in to the server; `told` is a key that it is known to have by now.
    pub(crate) fn connector(&self, told: Option<&PublicKey>) -> Result<Connector, Failure> {
        let config = ClientConfig::new(crypto::provider()).with_handshake_timeout(self.timeout);
        let (is_given, factor) = (self.factor_stdin, self.factor.clone());
        let answer = move |prompt: Prompt| {
            let factor = factor.clone();
            async move {
                if is_given {
                    let given = factor.given.lock().unwrap_or_else(PoisonError::into_inner).take();
                    return given.map(|given| given.to_vec());
                }
                factor.ask(prompt).await.map(|mut answer| core::mem::take(&mut *answer))
            }
        };
        Ok(Connector::new(config, self.trusted(told)?).with_factors_async(answer))
    }

    /// Reads the answer to a question for a second factor, where it comes from standard input. Also where none may be asked: what
    /// follows is read by others.
    pub(crate) fn read_factor(&self) -> Result<(), Failure> {
        if self.factor_stdin {
            let given = secrets::from_stdin()?;
            *self.factor.given.lock().unwrap_or_else(PoisonError::into_inner) = Some(given);
        }
        Ok(())
    }

    /// Whether somebody was asked for a second factor: what was typed then is gone, and who is asked may still be typing.
    pub(crate) fn was_factor_asked(&self) -> bool {
        self.factor.asked.load(Relaxed)
    }

    /// Whether a login may take a second factor as far as is known: logins at the same time would each ask for one.
    pub(crate) fn may_take_factor(&self) -> bool {
        self.factor_stdin || self.was_factor_asked()
    }

    fn trusted(&self, told: Option<&PublicKey>) -> Result<Server, Failure> {
        let mut server = self.trust.server(&self.known_name(), self.called(), told)?;
        if self.stretched_only {
            server = server.with_stretched_only();
        }
        if let Some(realm) = &self.realm {
            server = server.with_realm(realm);
        }
        match &self.server_name {
            Some(name) => {
                server.with_name(name).map_err(|error| Failure::usage(format_args!("--server-name: {error}")))
            }
            None => Ok(server),
        }
    }

    /// What the known hosts call the server: where it is, and which of those there it is.
    fn known_name(&self) -> String {
        match &self.server_name {
            Some(name) => format!("{}/{name}", self.server),
            None => self.server.clone(),
        }
    }

    /// What the server's certificates are to call it, unless another name is given for that: as it is asked for, or else its host.
    fn called(&self) -> &str {
        let host = self.server.rsplit_once(':').map_or(&*self.server, |(host, _)| host);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        self.server_name.as_deref().unwrap_or(host)
    }

    /// Whether somebody may be asked about the server's key.
    pub(crate) fn may_ask(&self) -> bool {
        self.trust.may_ask()
    }

    /// Whether somebody was asked about the server's key: it took its time, and the key is known by now.
    pub(crate) fn has_asked(&self) -> bool {
        self.trust.has_asked()
    }

    /// Keeps a key of the server's, trusted by its pin, for the next login. Says whether it was news.
    pub(crate) fn learn(&self, connector: &Connector, key: &PublicKey) -> bool {
        let is_news = connector.server().known_keys().first().is_none_or(|first| first.id() != key.id());
        if is_news {
            self.trust.learn(&self.known_name(), key);
        }
        is_news
    }

    /// What to say of a login that failed.
    pub(crate) fn failed(&self, error: &LoginError) -> Failure {
        match (&self.server_name, error) {
            (Some(name), LoginError::Disconnected { awaited: FrameType::ServerHello }) => {
                Failure::login(error).and(format_args!(
                    "does this server go by the name {name}? Its operator gives it names with `countersign serve --server-name`"
                ))
            }
            (_, LoginError::Protocol(Error::TrustTooLow { .. })) => {
                let (name, file) = (term::word(&self.known_name()), self.trust.file_option());
                Failure::login(error)
                    .and(format_args!("with the right one, run: countersign known-hosts confirm {name} SHA256:...{file}"))
            }
            (_, LoginError::Protocol(Error::Untrusted(key))) => {
                let found = key.reasons().iter().find_map(|reason| reason.reason::<Distrust>());
                let Some(Distrust::Changed(changed)) = found else { return Failure::login(error) };
                let (name, path) = (term::word(changed.name()), term::quoted(changed.path()));
                Failure::login(error).and(format_args!("to do so: countersign known-hosts remove {name} --known-hosts {path}"))
            }
            _ => Failure::login(error),
        }
    }

    /// Connects to the server. A failure is a [`Failure`] inside of the error.
    pub(crate) async fn dial(&self) -> io::Result<TcpStream> {
        Ok(self.connect().await?)
    }

    async fn connect(&self) -> Result<TcpStream, Failure> {
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
        dial::connect(&addresses, end).await.map_err(|error| {
            let advice = "is the server running there, and nothing in between blocking the port?";
            Failure::with_status(Status::Network, format_args!("cannot connect to {server}: {error}; {advice}"))
        })
    }
}

/// Names that the library takes: the rest is refused at once.
fn server_name(name: &str) -> Result<String, String> {
    let nobody = Server::pinned(KeyId::from_bytes([0; 32]));
    match nobody.with_name(name) {
        Ok(_) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err("a name has 1 to 255 printable ASCII characters without spaces".to_owned()),
    }
}

/// Runs a client to its end. A read of standard input that nobody waits for any more is left behind.
pub(crate) fn block_on<T>(client: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format_args!("cannot start: {error}")))?;
    let done = runtime.block_on(client);
    runtime.shutdown_background();
    prompt::give_up();
    done
}
