//! The results, in the shape that `--json` writes. Times are in milliseconds, rates in logins per second, shares from 0
//! to 1; `null` stands for what this system does not tell, or what was not measured.
//!
//! `version` is raised when a field changes its meaning or goes; new fields may come under the same number.

use super::stats::{number, percentile};
use crate::failure::Failure;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// What was asked for, as far as results depend on it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plan {
    pub(crate) quick: bool,
    pub(crate) argon2: Argon2Parameters,
    /// The share of logins that resume, where some do.
    pub(crate) resumed_share: f64,
    /// A rate is sustained if 99 % of its logins are done within this time.
    pub(crate) within_ms: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Argon2Parameters {
    /// KiB.
    pub(crate) m: u32,
    pub(crate) t: u32,
    pub(crate) p: u32,
}

impl std::fmt::Display for Argon2Parameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "m={},t={},p={}", self.m, self.t, self.p)
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Of this shape.
    pub(crate) version: u32,
    pub(crate) countersign: &'static str,
    pub(crate) machine: Machine,
    pub(crate) plan: Plan,
    /// One password hash, alone on a core.
    pub(crate) password_hash_ms: f64,
    pub(crate) handshakes: Vec<Handshake>,
    pub(crate) relief: Relief,
    pub(crate) load: Option<Load>,
    pub(crate) summary: Summary,
}

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) os: &'static str,
    pub(crate) arch: &'static str,
}

/// One combination, in this process on one core: medians.
#[derive(Debug, Serialize)]
pub(crate) struct Handshake {
    pub(crate) provider: &'static str,
    pub(crate) bits: usize,
    pub(crate) suite: String,
    pub(crate) rounds: usize,
    /// A full login without its password hash.
    pub(crate) server_ms: f64,
    /// The RSA decryption alone: a part of `server_ms`.
    pub(crate) rsa_ms: f64,
    pub(crate) client_ms: f64,
    /// The same of a client that has the server's key whole: the server proves itself first.
    pub(crate) proved_server_ms: f64,
    pub(crate) proved_client_ms: f64,
    /// `proved_server_ms` to `server_ms`.
    pub(crate) proof_ratio: f64,
    /// Up to the client's Confirm.
    pub(crate) resumed_server_ms: f64,
    pub(crate) resumed_client_ms: f64,
    /// Of `server_ms` and the password hash together, as the next one.
    pub(crate) rsa_share: f64,
    pub(crate) hash_share: f64,
    pub(crate) logins_per_second_per_core: f64,
    /// Where `resumed_share` of the logins resume.
    pub(crate) mixed_logins_per_second_per_core: f64,
}

/// Logins by password where the clients stretch them, beside those where the server hashes them; in this process on one core, for the combination
/// of the summary: medians of the server's whole work.
#[derive(Debug, Serialize)]
pub(crate) struct Relief {
    /// What stretching takes of a client.
    pub(crate) parameters: String,
    pub(crate) rounds: usize,
    /// One computation of that, once.
    pub(crate) client_ms: f64,
    /// With the password hash.
    pub(crate) password_server_ms: f64,
    pub(crate) stretched_server_ms: f64,
    /// `password_server_ms` to `stretched_server_ms`.
    pub(crate) ratio: f64,
    /// A login that does not open.
    pub(crate) password_junk_ms: f64,
    pub(crate) stretched_junk_ms: f64,
}

/// What a server process did for clients on the same machine.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Load {
    pub(crate) provider: &'static str,
    pub(crate) bits: usize,
    pub(crate) suite: String,
    pub(crate) seconds_per_rate: f64,
    /// Resident memory of the server for each session that is open and idle.
    pub(crate) memory_per_session_bytes: Option<u64>,
    pub(crate) mixes: Vec<Mix>,
}

/// One share of logins that resume.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Mix {
    pub(crate) resumed_share: f64,
    /// With clients that log in again and again without a pause.
    pub(crate) saturated_per_second: f64,
    pub(crate) saturated_clients: usize,
    /// Measured then: what a login costs the server process in CPU time, and the clients.
    pub(crate) server_cpu_ms: Option<f64>,
    pub(crate) client_cpu_ms: Option<f64>,
    /// What the same login costs in this process, without a network.
    pub(crate) alone_ms: f64,
    /// The cores that something else had meanwhile.
    pub(crate) other_cores: Option<f64>,
    /// What all cores could do for the server alone, by its CPU time.
    pub(crate) capacity_per_second: Option<f64>,
    /// The highest of the rates that was sustained, as all below it were.
    pub(crate) sustained_per_second: Option<f64>,
    pub(crate) rates: Vec<Rate>,
}

/// Logins that came at a rate, whether earlier ones were done or not. `scheduled = done + refused + failed + untried`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    pub(crate) scheduled: usize,
    pub(crate) done: usize,
    /// Of those done.
    pub(crate) resumed: usize,
    /// Turned away: the server was too busy, or said that it can't decide now.
    pub(crate) refused: usize,
    pub(crate) failed: usize,
    /// No client was free until long after the last one was due.
    pub(crate) untried: usize,
    /// Done within `within_ms`.
    pub(crate) within: usize,
    /// Of those done, from the moment each was due.
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) p999_ms: Option<f64>,
    pub(crate) max_ms: Option<f64>,
    /// What the server says of it itself.
    pub(crate) server: Option<Counted>,
    /// How it went in each part of the time: what a few seconds do not show, an hour does.
    pub(crate) over_time: Vec<Slice>,
    /// CPU time for each second: the cores in use.
    pub(crate) server_cores: Option<f64>,
    pub(crate) client_cores: Option<f64>,
    /// What the first client that failed said.
    pub(crate) first_failure: Option<String>,
}

/// A part of the time at one rate.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Slice {
    pub(crate) until_seconds: f64,
    pub(crate) done: usize,
    pub(crate) resumed: usize,
    /// Refused, or failed.
    pub(crate) not_done: usize,
    /// Were due in it, and no client was free until long after the last one was.
    pub(crate) untried: usize,
    pub(crate) p99_ms: Option<f64>,
    /// By code: what the server turned away in it, and refused.
    pub(crate) turned_away: Option<BTreeMap<String, u64>>,
    pub(crate) refused: Option<BTreeMap<String, u64>>,
    /// Of the server, at its end.
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) ticket_chains: Option<u64>,
    /// Since the load began.
    pub(crate) tickets_forgotten: Option<u64>,
}

/// What a server has counted while it was under a load.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Counted {
    /// By code: what it turned away before anybody had logged in (made way, no room, pressed, ...).
    pub(crate) turned_away: BTreeMap<String, u64>,
    /// By code: logins that it refused.
    pub(crate) refused: BTreeMap<String, u64>,
    /// By code: handshakes that came to nothing.
    pub(crate) failed: BTreeMap<String, u64>,
    /// Lines of its log that were left out.
    pub(crate) log_lines_dropped: u64,
    /// Its resident memory at the end; `null` where the system does not tell.
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) tickets: TicketMemory,
}

/// The memory of used tickets.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct TicketMemory {
    /// Chains that it held at the end, and has room for.
    pub(crate) chains: u64,
    pub(crate) room: u64,
    /// Chains that came to it meanwhile, and those that it had to forget for others.
    pub(crate) new: u64,
    pub(crate) forgotten: u64,
    /// Tickets that were not taken, as what was known of them may have been forgotten: their clients logged in anew.
    pub(crate) not_taken: u64,
    /// After how many seconds at this rate it is full, if that is before the first chains end; `null` if it never is. Where some were
    /// forgotten it was full, by the end of the part of the time in which that began.
    pub(crate) full_after_seconds: Option<f64>,
}

impl Rate {
    /// Fills in the latencies; `sorted` has one for each login that was done.
    pub(crate) fn with_latencies(self, sorted: &[f64]) -> Self {
        let of = |share| percentile(sorted, share);
        Self { p50_ms: of(0.5), p99_ms: of(0.99), p999_ms: of(0.999), max_ms: of(1.0), ..self }
    }

    /// Whatever of the scheduled ones was not done.
    pub(crate) fn not_done(&self) -> usize {
        self.refused.saturating_add(self.failed).saturating_add(self.untried)
    }

    pub(crate) fn is_sustained(&self) -> bool {
        self.scheduled > 0 && number(self.within) >= 0.99 * number(self.scheduled)
    }
}

impl Mix {
    /// The highest of the rates that was sustained, as all below it were.
    pub(crate) fn sustained(&self) -> Option<&Rate> {
        self.rates.iter().take_while(|rate| rate.is_sustained()).last()
    }
}

/// What the highest rate that was sustained came to, for a share of logins that resume.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Held {
    pub(crate) resumed_share: f64,
    /// `null` if none was, and the next two are 0.
    pub(crate) per_second: Option<f64>,
    pub(crate) scheduled: usize,
    /// Refused, failed or untried.
    pub(crate) not_done: usize,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    pub(crate) provider: &'static str,
    pub(crate) bits: usize,
    pub(crate) suite: String,
    /// What the next two are from: `server-cpu`, `saturated` or `in-process`.
    pub(crate) basis: &'static str,
    pub(crate) logins_per_second: f64,
    pub(crate) mixed_logins_per_second: f64,
    pub(crate) rsa_share: f64,
    pub(crate) hash_share: f64,
    /// For each mix of the load; empty without one.
    pub(crate) held: Vec<Held>,
    /// After how many seconds the memory of used tickets is full at the highest rate that was sustained, or was; `null` if it never is.
    pub(crate) ticket_memory_full_after_seconds: Option<f64>,
    pub(crate) sentence: String,
}

/// Whether a file can be put there, before the work.
pub(crate) fn check_target(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return Err(unwritable(path, "it is a directory"));
    }
    tempfile::NamedTempFile::new_in(folder(path)).map(drop).map_err(|error| unwritable(path, error))
}

/// Puts a file there, whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut builder = tempfile::Builder::new();
    // Nothing in a report is secret: what the umask allows.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let written = builder.tempfile_in(folder(path)).and_then(|mut file| {
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map(drop).map_err(|error| error.error)
    });
    written.map_err(|error| unwritable(path, error))
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn unwritable(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::usage(format_args!("{} can't be written: {error}; name a file in a folder that can be", path.display()))
}
