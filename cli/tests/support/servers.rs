//! Servers of others that a test needs: a PostgreSQL that is there, and a Redis that it starts.

use super::{Said, left_out, run};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One at a time: they are all at one PostgreSQL, and some of them stop it.
static ALONE: Mutex<()> = Mutex::new(());

/// A database of PostgreSQL's.
pub struct Database {
    pub address: String,
    ctl: String,
    _alone: MutexGuard<'static, ()>,
}

impl Database {
    /// A database of this test's own, with empty tables.
    pub fn open(name: &str) -> Option<Self> {
        let variable = |name| std::env::var(name).ok();
        let (address, ctl) = (variable("COUNTERSIGN_TEST_POSTGRES"), variable("COUNTERSIGN_TEST_POSTGRES_CTL"));
        let (Some(address), Some(ctl)) = (address, ctl) else {
            left_out("postgres", "no PostgreSQL; .ci/postgres starts one");
            return None;
        };
        let address = address.replace("/postgres?", &format!("/{name}?"));
        let database = Self { address, ctl, _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner) };
        database.control(&["createdb", name]);
        run(&["db", "migrate", "--users", &database.address], "").ok();
        Some(database)
    }

    pub fn user(&self, args: &[&str], stdin: &str) -> Said {
        super::databases::user(&self.address, args, stdin)
    }

    pub fn control(&self, what: &[&str]) {
        assert!(Command::new(&self.ctl).args(what).status().unwrap().success(), "{what:?}");
    }
}

/// A Redis on a socket, which wants a password.
pub struct Redis {
    folder: tempfile::TempDir,
    process: Child,
}

impl Redis {
    pub const PASSWORD: &'static str = "hunter22";

    pub fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let Some(process) = Self::run(folder.path()) else {
            left_out("redis", "no redis-server on the PATH (Debian's package redis-server)");
            return None;
        };
        Some(Self { folder, process })
    }

    fn run(folder: &Path) -> Option<Child> {
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--requirepass", Self::PASSWORD, "--unixsocket"]);
        command.arg(folder.join("socket")).arg("--dir").arg(folder);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().ok()?;
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("eady to accept connections")));
        // It must not wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Some(process)
    }

    pub fn address(&self) -> String {
        format!("redis+unix://{}", self.folder.path().join("socket").display())
    }

    /// What it says to this.
    pub fn ask(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.env("REDISCLI_AUTH", Self::PASSWORD).arg("-s").arg(self.folder.path().join("socket"));
        let said = command.args(words).output().unwrap();
        assert!(said.status.success(), "{said:?}");
        String::from_utf8_lossy(&said.stdout).into_owned()
    }

    /// As if its memory of tickets had begun an hour ago: of a new one, tickets of the first minute are not taken.
    pub fn settle(&self) {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() - 3600;
        assert_eq!(self.ask(&["HSET", "countersign:tickets", "since", &since.to_string()]), "0\n");
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.process = Self::run(self.folder.path()).unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
