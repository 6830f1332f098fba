//! `login`: a session with a server, in lines or in bytes.

mod conversation;
mod enter;
mod pipe;

pub(crate) use conversation::Conversation;
pub(crate) use enter::check;

use crate::failure::{Failure, OF_CLIENTS};
use crate::lines::MAX_LINE;
use crate::remote::{Remote, block_on};
use crate::term;
use clap::Args;
use countersign::Grant;
use enter::{Resume, enter};

const HELP: &str = "\
Examples:
  countersign login --server db.example:4500 --user alice
  countersign login --server 127.0.0.1:4500 --user alice --server-key server.pub.pem
  countersign login --server db.example:4500 --user alice --pin SHA256:... --send whoami
  countersign login --server db.example:4500 --user alice --identity ~/.ssh/id_ed25519 --roots ca.crt
  countersign login --server db.example:4500 --user alice --agent
  countersign login --server db.example:4500 --token-stdin --pin SHA256:... < robot.token
  countersign login --server db.example:4500 --user alice --pin SHA256:... --pipe < asked > answered

The fingerprint for --pin is what `countersign keygen`, `key show` and `serve` print on the
server. Get it in a way that nobody can tamper with: whoever can swap it can read your password.

With --pipe, the end of standard input closes your direction and leaves the other one open; the
server's close closes standard output. It ends when both have, or, where standard input is a
terminal, with the server's. Where the server has closed and the session breaks before the end of
standard input, the status is 4: it may have got that in part. What arrives is not escaped, not even
for a terminal.

The server's key is checked before a password is asked for. The server may give a ticket for the
next login of the same user: no password is asked for then. One that --password-stdin gives is
checked by a full login, unless --resume says otherwise. Tickets are kept in countersign/tickets
under $XDG_STATE_HOME or ~/.local/state, readable by you alone; to forget them, delete the file.
Logins with a token keep none.

With --identity or --agent no password is asked for: the client signs what was said on this
connection, which is of no use on any other. The passphrase of a key is asked for only if the server
takes no ticket. An ssh-agent signs with keys of Ed25519 and ECDSA; it can't make the signatures of
RSA that are needed.

With --roots the server is known by its certificates, and may change its key; its host has to be one
of their names. What they vouch for is kept with the known hosts until they expire.

Without any of --pin, --server-key, --identity-key, --roots and --certificate the server is looked up
in a file of known hosts. One that is not in it yet is asked about on the terminal: compare the
fingerprint that is shown, and answer yes, no, or with the right fingerprint. A server that shows
another key than the known one is refused. With --trust accept-new the first key is taken without a
question, and whoever is in the middle then gets the password.

The key is kept there, also that of a --pin: from the next login on the server has to prove that it
holds the private key before the password leaves, so that it stays secret even if that key is stolen
later. The file is countersign/known_hosts under $XDG_STATE_HOME or ~/.local/state, unless
--known-hosts names another; see `countersign known-hosts`.
";

/// Log in to a server, and talk to it.
///
/// Prints who you are on standard error. Then sends each --send line, or else each line of standard input, and prints
/// each answer on standard output; with --pipe, carries whatever bytes come both ways.
#[derive(Args)]
#[command(after_help = format!("{HELP}\n{OF_CLIENTS}"))]
pub(crate) struct Login {
    #[command(flatten)]
    remote: Remote,
    /// Send this line, print its answer, and exit; can be repeated
    #[arg(long = "send", value_name = "LINE", conflicts_with = "pipe")]
    lines: Vec<String>,
    /// Carry standard input to the server and what it says to standard output, byte for byte
    #[arg(long)]
    pipe: bool,
    /// Come back by ticket also with --password-stdin: the password is then for when the server does not take the ticket, and not
    /// checked otherwise
    #[arg(long, conflicts_with = "no_resume")]
    resume: bool,
}

impl Login {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        self.log_in().map_err(Failure::on_this_side)
    }

    fn use_of_tickets(&self) -> Resume {
        match () {
            () if self.remote.no_resume => Resume::Never,
            () if self.remote.password_stdin && !self.resume => Resume::Keep,
            () => Resume::Show,
        }
    }

    fn log_in(&self) -> Result<(), Failure> {
        if let Some(line) = self.lines.iter().find(|line| line.contains('\n') || line.len() > MAX_LINE) {
            let len = line.len();
            return Err(Failure::usage(format_args!(
                "--send takes one line of at most {MAX_LINE} bytes, and this has {len} or a line break"
            )));
        }
        block_on(async {
            let session = enter(&self.remote, self.use_of_tickets()).await?;
            let how = if session.info().is_resumed() { ", resumed" } else { "" };
            term::note(format_args!("logged in as {}{how}", describe(&session.grant())));
            let proved = if session.info().is_proved() { ", server proved itself" } else { "" };
            term::note(format_args!("suite {}, session {}{proved}", session.suite(), session.id()));
            if self.pipe {
                return pipe::run(session, self.remote.timeout).await;
            }
            Conversation::new(session, self.remote.timeout).run(&self.lines).await
        })
    }
}

/// `alice (permissions read, write)`
pub(crate) fn describe(grant: &Grant) -> String {
    let permissions: Vec<&str> = grant.permissions().collect();
    let permissions = if permissions.is_empty() { "no permissions".to_owned() } else { permissions.join(", ") };
    format!("{} ({permissions})", term::visible(grant.principal()))
}
