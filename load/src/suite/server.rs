//! A scenario's server, seen from outside.

use crate::suite::Failure;
use crate::suite::serve::{Asking, Store};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// What a scenario wants of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) store: Store,
    /// Passwords are hashed with less than is usual today, and are hashed anew at their next login.
    pub(crate) is_weak: bool,
    pub(crate) puzzles: Asking,
    pub(crate) files: Option<u64>,
    pub(crate) handshakes: Option<usize>,
    pub(crate) shared: bool,
    /// What it logs goes to a disk that is full.
    pub(crate) has_full_log: bool,
    /// Its clock can be set: where libfaketime is installed.
    pub(crate) has_clock: bool,
}

impl Plan {
    pub(crate) const USUAL: Self = Self {
        store: Store::Memory,
        is_weak: false,
        puzzles: Asking::Never,
        files: None,
        handshakes: None,
        shared: false,
        has_full_log: false,
        has_clock: false,
    };
}

/// What is needed to start a server, more than once.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) plan: Plan,
    pub(crate) accounts: PathBuf,
    /// What its clock shows, as libfaketime reads it.
    pub(crate) clock: PathBuf,
    pub(crate) without_limits: bool,
}

pub(crate) struct Server {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    pub(crate) address: SocketAddr,
}

/// Only a broken system takes this long.
const PATIENCE: Duration = Duration::from_secs(30);

impl Server {
    /// Starts one, at an address of the system's choice or this one.
    pub(crate) async fn start(recipe: &Recipe, address: Option<SocketAddr>) -> Result<Self, Failure> {
        let Recipe { plan, accounts, clock, without_limits } = recipe;
        let mut command = Command::new(std::env::current_exe()?);
        let listen = address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        command.args(["serve", "--listen", &listen.to_string(), "--accounts"]).arg(accounts);
        command.args(["--store", &name(plan.store), "--puzzles", &name(plan.puzzles)]);
        command.args(plan.files.map(|files| format!("--files={files}")));
        command.args(plan.handshakes.map(|count| format!("--handshakes={count}")));
        command.args(plan.shared.then_some("--shared")).args(without_limits.then_some("--without-limits"));
        if plan.has_clock {
            let library = faketime().ok_or("libfaketime is not installed")?;
            command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", clock);
            // The clock that never jumps is left alone, and so are the times of files.
            command.envs([("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("DONT_FAKE_MONOTONIC", "1"), ("NO_FAKE_STAT", "1")]);
            command.env("FAKETIME_CACHE_DURATION", "1");
        }
        let log = if plan.has_full_log { "/dev/full" } else { "/dev/null" };
        command.stderr(File::options().write(true).open(log)?);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let (input, output) = child.stdin.take().zip(child.stdout.take()).ok_or("the server has no pipes")?;
        let mut output = BufReader::new(output).lines();
        let first = timeout(PATIENCE, output.next_line()).await.map_err(|_| "the server does not start")??;
        let address: SocketAddr = first.ok_or("the server did not start")?.parse()?;
        Ok(Self { child, input, output, address })
    }

    /// Has it do something, and gives its answer.
    pub(crate) async fn tell(&mut self, line: &str) -> Result<String, Failure> {
        let answer = async {
            self.input.write_all(format!("{line}\n").as_bytes()).await?;
            self.output.next_line().await
        };
        let answer = timeout(PATIENCE, answer).await.map_err(|_| "the server does not answer")??;
        answer.ok_or_else(|| format!("the server has ended, at {line:?}").into())
    }

    /// How many hold places there, and all of its counts.
    pub(crate) async fn counts(&mut self) -> Result<(usize, String), Failure> {
        let line = self.tell("counts").await?;
        let held = line.split(' ').next().unwrap_or_default().parse()?;
        Ok((held, line))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(kill_process(id.ok_or("the server has ended")?, signal)?)
    }

    /// Kills it, in the middle of whatever it does.
    pub(crate) async fn kill(&mut self) -> Result<(), Failure> {
        Ok(self.child.kill().await?)
    }
}

fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Where a library is that has a process see another time of day.
pub(crate) fn faketime() -> Option<PathBuf> {
    let folders =
        ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/lib64", "/usr/local/lib"];
    folders.iter().map(|folder| Path::new(folder).join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}
