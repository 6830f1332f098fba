//! SIGHUP: keys and configuration are read again, and taken as a whole or not at all.

use super::config::{self, InForce};
use super::keys::described;
use super::listen::{State, tell};
use super::log::Entry;
use super::server::{Live, Server, Shared};
use super::sharing::Watched;
use super::{Options, Serve, Service, descriptors, guessing};
use crate::failure::Failure;
use countersign::{Penalties, Puzzles, ServerKeys};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// What a running server takes over; the rest of what is set waits for a restart.
const LIVE: &[&str] = &[
    "key",
    "keys",
    "manifest",
    "certificates",
    "passphrase-file",
    "server-name",
    "any-server-name",
    "forward",
    "send-proxy",
    "exec",
    "demo-service",
    "proxy-protocol",
    "log-format",
    "recheck",
    "recheck-grace",
    "drain",
    "max-handshakes",
    "max-handshakes-per-address",
    "max-wait",
    "max-refusals",
    "max-sessions",
    "max-sessions-per-address",
    "max-sessions-per-user",
    "puzzles",
    "hardest-puzzle",
    "failures-per-address",
    "failures-per-block",
    "failures-per-user",
    "failures-per-minute",
    "penalty-wait",
    "penalty-longest",
    "penalty-blocks",
    "penalty-exempt",
    "user-penalty-wait",
    "user-penalty-longest",
    "no-penalties",
];

pub(super) struct Reload {
    server: Arc<Shared>,
    redis: Option<Watched>,
    in_force: Mutex<InForce>,
    /// Whether there has been something behind the login that is told of permissions once.
    has_looked_once: AtomicBool,
}

/// What is read, and good.
struct Read {
    serve: Serve,
    keys: ServerKeys,
    service: Service,
    puzzles: Option<Puzzles>,
    penalties: Option<Penalties>,
    warnings: Vec<String>,
}

/// Which of the two could not be taken.
enum NotTaken {
    Config(Failure),
    Keys(Failure),
}

impl Reload {
    pub(super) fn new(server: &Server, in_force: InForce) -> Self {
        let shared = server.shared();
        let has_looked_once = AtomicBool::new(shared.live().service.looks_once());
        Self { server: shared, redis: server.redis(), in_force: Mutex::new(in_force), has_looked_once }
    }

    pub(super) fn run(&self) {
        tell(&State::Reloading);
        let read = self.read();
        self.server.metrics.note_reload(read.is_ok());
        match read {
            Ok(read) => self.take(read),
            Err(NotTaken::Config(failure)) => self.log_failed("config-not-reloaded", &failure),
            Err(NotTaken::Keys(failure)) => self.log_failed("keys-not-reloaded", &failure),
        }
        tell(&State::Ready);
    }

    fn log_failed(&self, event: &'static str, failure: &Failure) {
        let entry = Entry::new(event).text("reason", &failure.to_string());
        self.server.log.write(entry.text("note", "nothing was taken; what was in force before still is"));
    }

    fn read(&self) -> Result<Read, NotTaken> {
        let serve = config::again().map_err(NotTaken::Config)?;
        let service = serve.service();
        let puzzles = serve.options.puzzles().map_err(NotTaken::Config)?;
        let penalties = serve.guessing.penalties().map_err(NotTaken::Config)?;
        let before = self.server.acceptor.keys();
        let (keys, warnings) = serve.keys.load(before.of("")).map_err(NotTaken::Keys)?;
        Ok(Read { serve, keys, service, puzzles, penalties, warnings })
    }

    fn take(&self, Read { serve, keys, service, puzzles, penalties, warnings }: Read) {
        let Shared { acceptor, log, handshake_timeout, .. } = &*self.server;
        let reloaded = keys.of("").map(|set| described(Entry::new("keys-reloaded"), set));
        acceptor.set_keys(keys);
        reloaded.into_iter().for_each(|entry| log.write(entry));
        warnings.iter().for_each(|warning| log.write(Entry::new("keys-warning").text("note", warning)));

        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = in_force.differences(&serve.in_force);
        if changed.is_empty() {
            return;
        }
        // What waits for a restart has no part in what is taken.
        let options = Options { handshake_timeout: *handshake_timeout, ..serve.options };
        let has_balancers = !serve.proxy_protocol.is_empty();
        // Also if what looks once is gone by now: sessions of before may still be open.
        let looks_once = self.has_looked_once.fetch_or(service.looks_once(), Relaxed) || service.looks_once();
        acceptor.set_recheck(options.recheck(looks_once));
        let fitting = descriptors::fit(options.bounds(), serve.more_files(), service.descriptors(), has_balancers);
        acceptor.set_bounds(fitting.bounds);
        acceptor.set_puzzles(puzzles);
        acceptor.set_penalties(penalties.map(|penalties| guessing::over(penalties, log, self.redis.as_ref())));
        let balancers = serve.proxy_protocol.clone();
        self.server.set_live(Live {
            service: Arc::new(service),
            balancers,
            unnamed: fitting.unnamed,
            drain: options.drain,
        });
        let (taken, waits): (Vec<String>, Vec<String>) =
            changed.into_iter().partition(|name| LIVE.contains(&name.as_str()));
        let mut entry = Entry::new("config-reloaded").field("taken", names(&taken));
        if !waits.is_empty() {
            entry = entry.field("needs_restart", names(&waits));
        }
        log.write(entry);
        fitting.warning.iter().for_each(|warning| log.write(Entry::new("config-warning").text("note", warning)));
        log.set_format(serve.log_format);
        // What waits is said again at the next reload, as it is not in force.
        in_force.take(&serve.in_force, &taken);
    }
}

fn names(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(",") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_over_is_something_that_can_be_set() {
        let all = config::names();
        for name in LIVE.iter().filter(|name| cfg!(feature = "x509") || **name != "certificates") {
            assert!(all.iter().any(|of| of == name), "{name}");
        }
    }

    /// Words that end in `...` stand for all that begin like that.
    #[test]
    fn operators_are_told_of_everything_that_can_be_set_whether_it_waits_for_a_restart() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating.md");
        let page = std::fs::read_to_string(page).unwrap();
        let row = page.lines().skip_while(|line| !line.starts_with("| taken over |")).nth(2).unwrap();
        let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let cells: Vec<Vec<String>> = row.trim_matches('|').split(" | ").map(words).collect();
        let [taken, waits] = &cells[..] else { panic!("{row}") };
        let is_in = |cell: &[String], name: &str| {
            cell.iter().any(|word| match word.strip_suffix("...") {
                Some(front) => name.starts_with(front),
                None => word == name,
            })
        };
        for name in config::names() {
            let is_live = LIVE.contains(&name.as_str());
            assert_eq!((is_in(taken, &name), is_in(waits, &name)), (is_live, !is_live), "{name}");
        }
        // And of nothing else.
        if cfg!(all(feature = "x509", feature = "ldap", feature = "redis")) {
            let all = config::names();
            for word in taken.iter().chain(waits) {
                assert!(all.iter().any(|name| is_in(std::slice::from_ref(word), name)), "{word}");
            }
        }
    }
}
