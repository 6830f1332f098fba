//! A real Redis: Debian's `redis-server`, on a socket in a folder of its own.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects)]

#[path = "../../../tests/support/left_out.rs"]
mod left_out;

use countersign::{TicketUse, UnixTime};
use countersign_stores::{FleetSecret, RedisConfig, RedisStore};
use left_out::left_out;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

pub fn secret(byte: u8) -> FleetSecret {
    FleetSecret::new([byte; 32])
}

pub fn now() -> UnixTime {
    UnixTime::from_system(SystemTime::now())
}

/// A ticket is shown, of a chain that is good for two hours more.
pub fn used(principal: &str, chain: u8, number: u64, authenticated: UnixTime) -> TicketUse {
    let until = UnixTime::from_secs(now().as_secs() + 7200);
    TicketUse { principal: principal.to_owned(), chain: [chain; 16], number, authenticated, until }
}

/// A Redis of this test's own.
pub struct Redis {
    pub folder: tempfile::TempDir,
    process: Child,
}

impl Redis {
    pub fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let process = Self::run(&folder);
        if process.is_none() {
            left_out("redis", "no redis-server on the PATH (Debian's package redis-server)");
        }
        Some(Self { folder, process: process? })
    }

    fn run(folder: &tempfile::TempDir) -> Option<Child> {
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(folder.path().join("socket"));
        let mut process = command.arg("--dir").arg(folder.path()).stdout(Stdio::piped()).spawn().ok()?;
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        assert!(lines.any(|line| line.contains("eady to accept connections")));
        // It must not wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Some(process)
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.process = Self::run(&self.folder).unwrap();
    }

    pub fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap().success());
    }

    pub fn address(&self) -> String {
        format!("redis+unix://{}", self.folder.path().join("socket").display())
    }

    /// With patience for a machine that is busy.
    pub fn config(&self) -> RedisConfig {
        RedisConfig::parse(&self.address()).unwrap().with_patience(Duration::from_secs(5))
    }

    pub fn store(&self) -> RedisStore {
        RedisStore::new(self.config(), &secret(7)).unwrap()
    }

    pub async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.address()).unwrap();
        // On a machine that is busy it takes as long as it takes.
        let patient = redis::AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let mut connection = client.get_multiplexed_async_connection_with_config(&patient).await.unwrap();
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut connection).await.unwrap()
    }

    /// As if it had been there for an hour.
    pub async fn age(&self) {
        self.store().check().await.unwrap();
        self.age_under("countersign:").await;
    }

    /// As if what is under this prefix had been there for an hour.
    pub async fn age_under(&self, prefix: &str) {
        let since = (now().as_secs() - 3600).to_string();
        let () = self.ask(&["HSET", &format!("{prefix}tickets"), "since", &since]).await;
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.signal_quietly();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Redis {
    /// One that is stopped dies as well, but its children would not.
    fn signal_quietly(&self) {
        let _ = Command::new("kill").args(["-CONT", &self.process.id().to_string()]).stderr(Stdio::null()).status();
    }
}
