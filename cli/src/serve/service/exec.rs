//! A program for each session.

use super::End;
use crate::relay::{Broken, Far, GOODBYE_TIMEOUT, Stop, relay};
use crate::serve::visit::Visit;
use countersign::Stream;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// What is run, by the shell.
pub(crate) struct Exec {
    pub(crate) command: String,
}

impl Exec {
    pub(super) async fn run(&self, stream: Stream<TcpStream>, visit: &Visit, stop: &Stop) -> End {
        match self.start(visit) {
            Ok(program) => program.attend(stream, stop).await,
            // Without a close: nothing has been said, and the client is not to take that for everything.
            Err(error) => End::new("exec-failed", format!("cannot start the program: {error}")),
        }
    }

    fn start(&self, visit: &Visit) -> io::Result<Program> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(&self.command);
        command.env("COUNTERSIGN_PRINCIPAL", &visit.user).env("COUNTERSIGN_PERMISSIONS", &visit.permissions);
        command.env("COUNTERSIGN_PEER", visit.peer.to_string()).env("COUNTERSIGN_SESSION", visit.session.to_string());
        // These are between this server and whoever started it.
        for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "WATCHDOG_USEC", "WATCHDOG_PID"] {
            command.env_remove(name);
        }
        // And these open what this server has accounts and counts in.
        for name in ["PGPASSWORD", "REDISCLI_AUTH", "COUNTERSIGN_LDAP_PASSWORD"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // A group of its own: what it starts ends with it.
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let group = Group(id.ok_or(io::ErrorKind::NotFound)?);
        Ok(Program { child, group })
    }
}

struct Program {
    /// Before the child: as long as that was not waited for, the group's number is nobody else's.
    group: Group,
    child: Child,
}

impl Program {
    async fn attend(mut self, mut stream: Stream<TcpStream>, stop: &Stop) -> End {
        // Before the group, so that it outlives it in any case: the program is not to take a cut for an end.
        let (mut input, Some(mut output)) = (Input(self.child.stdin.take()), self.child.stdout.take()) else {
            return End::new("exec-failed", "the program has no output");
        };
        // The last one is dropped first: see above.
        let Self { mut child, group } = self;
        let gone = async {
            let ended = group.ended().await;
            // What it has left behind would keep the session.
            group.signal(Signal::KILL);
            ended
        };
        let told = async {
            stop.stopped().await;
            group.signal(Signal::TERM);
            std::future::pending().await
        };
        let far = Far { reader: &mut output, writer: &mut input, gone: Some(gone) };
        let relayed = tokio::select! {
            relayed = relay(&mut stream, far, stop) => relayed,
            never = told => never,
        };
        if !stop.is_stopping() {
            // It has ended, or closed its output, or lost its peer: it may still have something to put away.
            if relayed.is_err() || timeout(GOODBYE_TIMEOUT, group.ended()).await.is_err() {
                group.signal(Signal::TERM);
                let _ = timeout(GOODBYE_TIMEOUT, group.ended()).await;
            }
        }
        drop(group);
        let status = child.wait().await;
        match (relayed, status) {
            (Ok(()), Ok(status)) => End::new("program-ended", format!("the program ended: {status}")),
            (Ok(()), Err(error)) => End::new("program-ended", format!("the program ended: {error}")),
            (Err(Broken::Far(_)), _) if stop.is_stopping() => End::stopping(),
            (Err(Broken::Far(_)), Ok(status)) if !is_of_its_own(status.code()) => {
                End::new("far-end-broken", format!("the program ended: {status}"))
            }
            (Err(Broken::Far(error)), _) => End::new("far-end-broken", format!("the program's output: {error}")),
            (relayed, _) => End::of(relayed, "the program"),
        }
    }
}

/// Whether a program that has ended with this status, or with none, by a signal, has come to an end of its own: what it has said is all that it
/// had to say. A shell says 126 and 127 of what it can't run, and 128 and a signal's number of what that has ended; SIGTERM's also where it
/// heeds that itself, by a bare `exit`.
fn is_of_its_own(status: Option<i32>) -> bool {
    !matches!(status, None | Some(126 | 127 | 129..=142 | 144..=192))
}

/// A program's standard input: shutting it down closes it.
struct Input(Option<ChildStdin>);

impl AsyncWrite for Input {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Some(input) => Pin::new(input).poll_write(task, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0 = None;
        Poll::Ready(Ok(()))
    }
}

/// A group of processes, killed when this is dropped.
struct Group(Pid);

impl Group {
    /// Whoever is gone already is not there to be told.
    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.0, signal);
    }

    /// Waits for the end of its first process, and leaves it to be waited for again.
    ///
    /// # Errors
    /// That was not an end of its own, or nobody knows.
    async fn ended(&self) -> io::Result<()> {
        let mut changes = signal(SignalKind::child())?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let status = loop {
            match waitid(WaitId::Pid(self.0), options)? {
                Some(status) => break status.exit_status(),
                None => changes.recv().await,
            };
        };
        if is_of_its_own(status) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
