//! `login`: a session with a server, in lines or in bytes.

mod pipe;
mod talk;

pub(crate) use talk::Talk;

use crate::failure::Failure;
use crate::lines::MAX_LINE;
use crate::remote::{Identity, Remote, block_on, failure};
use crate::term;
use crate::tickets::Tickets;
use clap::Args;
use countersign::{Begun, Connector, Grant, Stream, Ticket, TokioLink};
use tokio::net::TcpStream;

/// Log in to a server, and talk to it.
///
/// Prints who you are on standard error. Then sends each --send line, or else each line of standard input, and prints
/// each answer on standard output; with --pipe, carries whatever bytes come both ways.
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign login --server 127.0.0.1:4500 --user alice --server-key server.pub.pem
  countersign login --server db.example:4500 --user alice --pin SHA256:... --send whoami
  countersign login --server db.example:4500 --token-stdin --pin SHA256:... < robot.token
  countersign login --server db.example:4500 --user alice --pin SHA256:... --pipe < asked > answered

The fingerprint for --pin is what `countersign keygen`, `key show` and `serve` print on the
server. Get it in a way that nobody can tamper with: whoever can swap it can read your password.

With --pipe, the end of standard input closes your direction and leaves the other one open; the
server's close closes standard output. It ends when both have, or, where standard input is a
terminal, with the server's. What arrives is not escaped, not even for a terminal.

The server may give a ticket for the next login of the same user: no password is asked for then,
and one that --password-stdin reads is not checked. Tickets are kept in countersign/tickets under
$XDG_STATE_HOME or ~/.local/state, readable by you alone; to forget them, delete the file. Logins
with a token keep none. A client that comes by ticket has to speak first, so --pipe shows none
without --resume.

Exit status:
  0  logged in, and every line was answered, or both directions were closed
  1  the server refused the login
  2  the command line can't be right, or a file or the secret can't be used
  3  the server's key is not trusted, or its suite is too weak; nothing secret was sent
  4  the network or the protocol failed, or the session was cut")]
pub(crate) struct Login {
    #[command(flatten)]
    remote: Remote,
    /// Send this line, print its answer, and exit; can be repeated
    #[arg(long = "send", value_name = "LINE", conflicts_with = "pipe")]
    lines: Vec<String>,
    /// Carry standard input to the server and what it says to standard output, byte for byte
    #[arg(long)]
    pipe: bool,
    /// Show the server no ticket of an earlier login, and keep none of this one
    #[arg(long)]
    no_resume: bool,
    /// With --pipe, come back by ticket: for services whose client speaks first
    #[arg(long, requires = "pipe", conflicts_with = "no_resume")]
    resume: bool,
}

impl Login {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let connector = self.remote.connector()?;
        if let Some(line) = self.lines.iter().find(|line| line.contains('\n') || line.len() > MAX_LINE) {
            let len = line.len();
            return Err(Failure::usage(format_args!(
                "--send takes one line of at most {MAX_LINE} bytes, and this has {len} or a line break"
            )));
        }
        block_on(async {
            let session = self.log_in(&connector).await?;
            let how = if session.info().is_resumed() { ", resumed" } else { "" };
            term::note(format_args!("logged in as {}{how}", describe(session.grant())));
            term::note(format_args!("suite {}, session {}", session.suite(), session.id()));
            if self.pipe {
                return pipe::run(session, self.remote.timeout).await;
            }
            Talk::new(session, self.remote.timeout).run(&self.lines).await
        })
    }

    async fn log_in(&self, connector: &Connector) -> Result<Stream<TcpStream>, Failure> {
        let remote = &self.remote;
        let Some(user) = remote.user.as_deref() else {
            return self.finish(connector, None, &remote.identity()?).await;
        };
        let cache = if self.no_resume { None } else { Tickets::of_user() };
        // Kept for a login in lines, but not shown.
        let shown = cache.as_ref().filter(|_| !self.pipe || self.resume);
        let ticket = shown.and_then(|cache| cache.find(&remote.server, user));
        let ticket = ticket.filter(|ticket| connector.server().resume(ticket).is_some());
        let resumed = match &ticket {
            // Nobody is asked before the ticket was tried. A person may take longer to type than a handshake may last, so
            // where it is not taken, this connection ends, and the login is on another.
            Some(ticket) if !remote.password_stdin => match self.begin(connector, Some(ticket)).await? {
                Begun::Resumed(session) => Some(session),
                Begun::Trusted(_) => None,
            },
            _ => None,
        };
        let session = match resumed {
            Some(session) => session,
            None => {
                // Read even if the ticket is taken: the lines after it are what is sent.
                let identity = remote.identity()?;
                let ticket = ticket.filter(|_| remote.password_stdin);
                self.finish(connector, ticket.as_ref(), &identity).await?
            }
        };
        if let Some(cache) = cache {
            cache.keep(&remote.server, user, session.info().ticket());
        }
        Ok(session)
    }

    async fn begin(
        &self,
        connector: &Connector,
        ticket: Option<&Ticket>,
    ) -> Result<Begun<TokioLink<TcpStream>>, Failure> {
        let stream = self.remote.dial().await?;
        connector.begin(stream, ticket).await.map_err(|error| failure(&error))
    }

    /// Logs in with the credential, if the server still wants one.
    async fn finish(
        &self,
        connector: &Connector,
        ticket: Option<&Ticket>,
        identity: &Identity,
    ) -> Result<Stream<TcpStream>, Failure> {
        match self.begin(connector, ticket).await? {
            Begun::Resumed(session) => Ok(session),
            Begun::Trusted(trusted) => trusted.login(identity.credential()).await.map_err(|error| failure(&error)),
        }
    }
}

/// `alice (permissions read, write)`
pub(crate) fn describe(grant: &Grant) -> String {
    let permissions: Vec<&str> = grant.permissions().collect();
    let permissions = if permissions.is_empty() { "no permissions".to_owned() } else { permissions.join(", ") };
    format!("{} ({permissions})", term::visible(grant.principal()))
}
