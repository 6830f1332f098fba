//! A server in a process of its own, as operators run it, and what the system says about a process.

use crate::failure::Failure;
use crate::serve::{MAX_HANDSHAKES, MAX_SESSIONS};
use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The folder with the key and the accounts, and the server that runs on it. However the bench ends, both go.
pub(crate) struct Stage {
    folder: tempfile::TempDir,
    running: Running,
}

/// The server that has to be killed. Locked while one is started, so that none slips through.
type Running = Arc<Mutex<Option<Child>>>;

impl Stage {
    pub(crate) fn set_up() -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("countersign-bench-").tempdir().map_err(|error| setup(&error))?;
        let running = Running::default();
        let (path, watched) = (folder.path().to_owned(), Arc::clone(&running));
        // Ctrl-C ends a process without dropping anything.
        ctrlc::set_handler(move || {
            let mut running = lock(&watched);
            end(running.take());
            let _ = fs::remove_dir_all(&path);
            // Below the bar, which stays.
            crate::term::note("\ncountersign: interrupted; the server of the bench and its files are gone");
            // Still locked: nobody starts another one.
            std::process::exit(130);
        })
        .map_err(|error| Failure::new(format_args!("cannot watch for signals: {error}")))?;
        Ok(Self { folder, running })
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }

    pub(crate) fn users(&self) -> PathBuf {
        self.folder.path().join("users.txt")
    }

    /// Starts `serve` on a loopback port of the system's choice, with its defaults, but that one address may have all places.
    pub(crate) fn serve(&self) -> Result<Server<'_>, Failure> {
        let errors = self.folder.path().join("server.err");
        let program = env::current_exe().map_err(|error| setup(&error))?;
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--key"]).arg(self.key()).arg("--users").arg(self.users());
        command.args(["--max-handshakes-per-address", &MAX_HANDSHAKES.to_string()]);
        command.args(["--max-sessions-per-address", &MAX_SESSIONS.to_string()]);
        command.args(["--metrics-listen", "127.0.0.1:0"]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors).map_err(|error| setup(&error))?);
        let (id, output) = {
            let mut running = lock(&self.running);
            end(running.take());
            let mut child = command.spawn().map_err(|error| setup(&error))?;
            let found = (child.id(), child.stdout.take());
            *running = Some(child);
            found
        };
        let none = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Server { stage: self, id, address: none, metrics: none };
        let Some(output) = output else {
            return Err(setup(&io::ErrorKind::BrokenPipe.into()));
        };
        let (sender, addresses) = channel();
        // The log has to be read, or the server has nobody to write it to.
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            let found = (&mut output).lines().map_while(Result::ok).find_map(|line| addresses_in(&line));
            let _ = sender.send(found);
            io::copy(&mut output, &mut io::sink())
        });
        match addresses.recv_timeout(START_TIMEOUT) {
            Ok(Some((address, metrics))) => (server.address, server.metrics) = (address, metrics),
            _ => {
                let said = fs::read_to_string(errors).unwrap_or_default();
                return Err(Failure::new(format_args!(
                    "the server of the bench did not start; does `countersign demo` work? It said: {}",
                    said.trim_end()
                )));
            }
        }
        Ok(server)
    }

    /// Takes everything away, and says so if it can't.
    pub(crate) fn close(self) -> Result<(), Failure> {
        self.folder.close().map_err(|error| Failure::new(format_args!("clearing up: {error}")))
    }
}

/// Only a broken system takes this long.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A server that is under load still answers those who watch it.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that runs until this is dropped.
pub(crate) struct Server<'a> {
    stage: &'a Stage,
    id: u32,
    pub(crate) address: SocketAddr,
    metrics: SocketAddr,
}

/// Where it listens, for clients and for those who watch it, from the log's line about its start.
fn addresses_in(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let of = |name: &str| line.split(' ').find_map(|field| field.strip_prefix(name)?.parse().ok());
    line.contains(" event=started ").then(|| Some((of("listen=")?, of("metrics_listen=")?)))?
}

impl Server<'_> {
    /// An error if the server has ended before its time.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match lock(&self.stage.running).as_mut().map(Child::try_wait) {
            Some(Ok(None)) => Ok(()),
            _ => Err(Failure::new("the server of the bench ended in the middle of it; is the machine out of memory?")),
        }
    }

    pub(crate) fn cpu(&self) -> Option<Duration> {
        cpu(&self.id.to_string())
    }

    /// What it counts, by series as `/metrics` names them; nothing where it does not answer.
    pub(crate) fn counts(&self) -> BTreeMap<String, f64> {
        let page = || -> io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&self.metrics, ASK_TIMEOUT)?;
            stream.set_read_timeout(Some(ASK_TIMEOUT))?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n")?;
            io::read_to_string(stream)
        };
        let page = page().unwrap_or_default();
        let series =
            page.lines().filter(|line| line.starts_with("countersign_")).filter_map(|line| line.rsplit_once(' '));
        series.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }

    /// Resident memory in bytes.
    pub(crate) fn memory(&self) -> Option<u64> {
        let status = fs::read_to_string(Path::new("/proc").join(self.id.to_string()).join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        end(lock(&self.stage.running).take());
    }
}

/// The CPU time that this process has used, and its children have not.
pub(crate) fn own_cpu() -> Option<Duration> {
    cpu("self")
}

/// User and system time of all threads, also those that have ended; Linux alone tells it this way.
fn cpu(process: &str) -> Option<Duration> {
    let stat = fs::read_to_string(Path::new("/proc").join(process).join("stat")).ok()?;
    ticks(&stat).and_then(|ticks| ticks.checked_mul(TICK)).map(Duration::from_millis)
}

/// A tick in milliseconds: USER_HZ is 100 on every architecture that this may run on.
const TICK: u64 = 10;

/// `utime` and `stime` (proc_pid_stat(5)). The name before them may hold anything, parentheses too.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    times.next()?.ok()?.checked_add(times.next()?.ok()?)
}

fn end(child: Option<Child>) {
    if let Some(mut child) = child {
        // It may be gone already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn lock(running: &Running) -> MutexGuard<'_, Option<Child>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

fn setup(error: &io::Error) -> Failure {
    Failure::new(format_args!("setting up the bench: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 250 31 0 0 20 0 1 0";
        for name in ["countersign", "a) R 1 (b", ""] {
            assert_eq!(ticks(&format!("42 ({name}) {fields}")), Some(281));
        }
        assert_eq!(ticks("42 (a) S 1 2"), None);
        assert_eq!(ticks(""), None);
    }
}
