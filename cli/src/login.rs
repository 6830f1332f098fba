//! `login`: a client of `serve`.

use crate::crypto;
use crate::failure::Failure;
use crate::lines::{Line, Lines, MAX_LINE};
use crate::tickets::Tickets;
use crate::timed::Timed;
use crate::{secrets, term};
use clap::Args;
use countersign::blocking::Begun;
use countersign::{ChannelBinding, ClientConfig, Credential, Error, Grant, KeyId, Server, Ticket, blocking, files};
use std::io::{self, BufRead, IsTerminal, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Log in to a server, and talk to it in lines.
///
/// Prints who you are on standard error. Then sends each --send line, or else each line of standard input, and prints
/// each answer on standard output.
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign login --server 127.0.0.1:4500 --user alice --server-key server.pub.pem
  countersign login --server db.example:4500 --user alice --pin SHA256:... --send whoami
  countersign login --server db.example:4500 --token-stdin --pin SHA256:... < robot.token

The fingerprint for --pin is what `countersign keygen`, `key show` and `serve` print on the server.
Get it in a way that nobody can tamper with: whoever can swap it can read your password.

The server may give a ticket for the next login of the same user: no password is asked for then,
and one that --password-stdin reads is not checked. Tickets are kept in countersign/tickets under
$XDG_STATE_HOME or ~/.local/state, readable by you alone; to forget them, delete the file. Logins
with a token keep none.

Exit status:
  0  logged in, and every line was answered
  1  the server refused the login
  2  the command line can't be right, or a file or the secret can't be used
  3  the server's key is not trusted, or its suite is too weak; nothing secret was sent
  4  the network or the protocol failed")]
pub(crate) struct Login {
    /// The server; host names are looked up
    #[arg(long, value_name = "HOST:PORT")]
    server: String,
    /// Who to log in as
    #[arg(long, value_name = "NAME", required_unless_present = "token_stdin", conflicts_with = "token_stdin")]
    user: Option<String>,
    /// Trust the server key with this fingerprint; can be repeated, for when the key is about to change
    #[arg(long = "pin", value_name = "SHA256:...")]
    pins: Vec<KeyId>,
    /// Trust the server key in this file; can be repeated
    #[arg(long = "server-key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Read the password from the first line of standard input instead of asking for it
    #[arg(long, conflicts_with = "token_stdin")]
    password_stdin: bool,
    /// Log in with the token on the first line of standard input, without a user name and a password
    #[arg(long)]
    token_stdin: bool,
    /// Send this line, print its answer, and exit; can be repeated
    #[arg(long = "send", value_name = "LINE")]
    lines: Vec<String>,
    /// How long to wait for the connection, for the login, for each answer, and for the goodbye
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = term::timeout)]
    timeout: Duration,
    /// Show the server no ticket of an earlier login, and keep none of this one
    #[arg(long)]
    no_resume: bool,
}

const REFUSED: u8 = 1;
const UNTRUSTED: u8 = 3;
const NETWORK: u8 = 4;

impl Login {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let trust = self.trust()?;
        if let Some(line) = self.lines.iter().find(|line| line.contains('\n') || line.len() > MAX_LINE) {
            let len = line.len();
            return Err(Failure::usage(format_args!(
                "--send takes one line of at most {MAX_LINE} bytes, and this has {len} or a line break"
            )));
        }
        let session = self.log_in(&trust)?;
        let how = if session.info().is_resumed() { ", resumed" } else { "" };
        term::note(format_args!("logged in as {}{how}", describe(session.grant())));
        term::note(format_args!("suite {}, session {}", session.info().suite(), session.info().id()));
        Talk::new(session, self.timeout).run(&self.lines)
    }

    fn log_in(&self, trust: &Server) -> Result<blocking::Stream<Timed>, Failure> {
        let Some(user) = self.user.as_deref() else {
            let token = secrets::ask("", true, "--token-stdin")?;
            return finish(self.begin(trust, None)?, Credential::Token(&token));
        };
        let ask = || secrets::ask(format_args!("Password for {user}: "), self.password_stdin, "--password-stdin");
        let cache = if self.no_resume { None } else { Tickets::of_user() };
        let ticket = cache.as_ref().and_then(|cache| cache.find(&self.server, user));
        let ticket = ticket.filter(|ticket| trust.resume(ticket).is_some());
        let resumed = match &ticket {
            // Nobody is asked before the ticket was tried. A person may take longer to type than a handshake may last, so
            // where it is not taken, this connection ends, and the login is on another.
            Some(ticket) if !self.password_stdin => match self.begin(trust, Some(ticket))? {
                Begun::Resumed(session) => Some(session),
                Begun::Trusted(_) => None,
            },
            _ => None,
        };
        let session = match resumed {
            Some(session) => session,
            None => {
                // Read even if the ticket is taken: the lines after it are what is sent.
                let password = ask()?;
                let ticket = ticket.filter(|_| self.password_stdin);
                finish(self.begin(trust, ticket.as_ref())?, Credential::Password { user, password: &password })?
            }
        };
        if let Some(cache) = cache {
            cache.keep(&self.server, user, session.info().ticket());
        }
        Ok(session)
    }

    fn begin(&self, trust: &Server, ticket: Option<&Ticket>) -> Result<Begun<Timed>, Failure> {
        let config = Arc::new(ClientConfig::new(crypto::provider()).with_handshake_timeout(self.timeout));
        let stream = Timed::new(connect(&self.server, self.timeout)?);
        blocking::begin(stream, &config, &ChannelBinding::none(), trust, ticket).map_err(|error| failure(&error))
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
}

/// Logs in with the credential, if the server still wants one.
fn finish(begun: Begun<Timed>, credential: Credential<'_>) -> Result<blocking::Stream<Timed>, Failure> {
    match begun {
        Begun::Resumed(session) => Ok(session),
        Begun::Trusted(trusted) => trusted.login(credential).map_err(|error| failure(&error)),
    }
}

/// `alice (permissions read, write)`
pub(crate) fn describe(grant: &Grant) -> String {
    let permissions: Vec<&str> = grant.permissions().collect();
    let permissions = if permissions.is_empty() { "no permissions".to_owned() } else { permissions.join(", ") };
    format!("{} ({permissions})", grant.principal())
}

fn connect(server: &str, timeout: Duration) -> Result<TcpStream, Failure> {
    let failure = |error: &dyn std::fmt::Display| {
        let advice = "is the server running there, and nothing in between blocking the port?";
        Failure::with_status(NETWORK, format_args!("cannot connect to {server}: {error}; {advice}"))
    };
    let addresses = server.to_socket_addrs().map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => {
            Failure::usage(format_args!("--server {server}: {error}; write it as HOST:PORT"))
        }
        _ => Failure::with_status(NETWORK, format_args!("cannot look up {server}: {error}; check the name")),
    })?;
    let start = Instant::now();
    let mut last = None;
    for address in addresses {
        let left = timeout.saturating_sub(start.elapsed());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| failure(&"no address answered in time"), |error| failure(&error)))
}

/// The exit status of a login that failed, and what to do next.
fn failure(error: &blocking::Error) -> Failure {
    let (status, advice) = match error {
        blocking::Error::Protocol(inner) => match inner {
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
    Failure::with_status(status, format_args!("{error}{advice}"))
}

/// The session failed after the login.
fn broken(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            Failure::with_status(NETWORK, "the server did not answer in time; give a longer --timeout, or log in again")
        }
        _ => Failure::with_status(NETWORK, format_args!("the session broke: {error}; log in again")),
    }
}

/// A conversation in lines.
pub(crate) struct Talk {
    stream: blocking::Stream<Timed>,
    answers: Lines,
    /// How long each answer, and the goodbye, may take.
    patience: Duration,
}

impl Talk {
    pub(crate) fn new(stream: blocking::Stream<Timed>, patience: Duration) -> Self {
        Self { stream, answers: Lines::default(), patience }
    }

    fn run(mut self, lines: &[String]) -> Result<(), Failure> {
        if lines.is_empty() {
            self.relay()?;
        } else {
            for line in lines {
                self.send(line)?;
            }
        }
        self.close().map_err(|error| match error {
            blocking::Error::Io(error) => broken(&error),
            error => broken(&io::Error::other(error)),
        })
    }

    /// Sends each line of standard input, until its end or a `quit`.
    fn relay(&mut self) -> Result<(), Failure> {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            term::note("type whoami, echo TEXT, or quit");
        }
        for line in stdin.lock().lines() {
            let line = line
                .map_err(|error| Failure::usage(format_args!("standard input: {error}; lines must be UTF-8 text")))?;
            self.send(&line)?;
            if line == "quit" {
                break;
            }
        }
        Ok(())
    }

    fn send(&mut self, line: &str) -> Result<(), Failure> {
        let answer = self.ask(line).map_err(|error| broken(&error))?;
        match answer {
            Some(answer) => term::line(term::from_peer(&answer)),
            None => Err(Failure::with_status(
                NETWORK,
                format_args!("the server closed the session before it answered {line:?}; log in again to go on"),
            )),
        }
    }

    /// Sends a line and waits for its answer; `None` where the server has closed the session.
    pub(crate) fn ask(&mut self, line: &str) -> io::Result<Option<String>> {
        self.stream.transport().allow(Some(self.patience));
        self.stream.write_all(format!("{line}\n").as_bytes())?;
        match self.answers.next(&mut self.stream)? {
            Line::Text(answer) => Ok(Some(answer)),
            Line::End => Ok(None),
            Line::TooLong | Line::NotUtf8 => Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is no line")),
        }
    }

    /// Ends the session: says so, and waits for the server to say so, too, but not for long. Every line has its answer.
    pub(crate) fn close(mut self) -> Result<(), blocking::Error> {
        self.stream.transport().allow(Some(self.patience));
        // A server that has closed already may be gone.
        if self.stream.close().is_err() {
            return Ok(());
        }
        self.stream.finish(self.patience)
    }
}
