//! SIGHUP: keys and configuration are read again, and taken as a whole or not at all.

use super::config::{self, InForce};
use super::keys::described;
use super::listen::{State, tell};
use super::log::Entry;
use super::server::{Live, Shared};
use super::{Serve, descriptors};
use crate::failure::Failure;
use countersign::ServerKeys;
use std::sync::{Arc, Mutex, PoisonError};

/// What a running server takes over; the rest of what is set waits for a restart.
const LIVE: [&str; 21] = [
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
    "drain",
    "max-handshakes",
    "max-handshakes-per-address",
    "max-wait",
    "max-refusals",
    "max-sessions",
    "max-sessions-per-address",
    "max-sessions-per-user",
];

pub(super) struct Reload {
    server: Arc<Shared>,
    in_force: Mutex<InForce>,
}

/// What is read, and good.
struct Read {
    serve: Serve,
    keys: ServerKeys,
    live: Live,
    warnings: Vec<String>,
}

/// Which of the two could not be taken.
enum NotTaken {
    Config(Failure),
    Keys(Failure),
}

impl Reload {
    pub(super) fn new(server: Arc<Shared>, in_force: InForce) -> Self {
        Self { server, in_force: Mutex::new(in_force) }
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
        let service = serve.service().map_err(NotTaken::Config)?;
        let before = self.server.acceptor.keys();
        let (keys, warnings) = serve.keys.load(before.of("")).map_err(NotTaken::Keys)?;
        let live = Live { service, balancers: serve.proxy_protocol.clone(), drain: serve.options.drain };
        Ok(Read { serve, keys, live, warnings })
    }

    fn take(&self, Read { serve, keys, live, warnings }: Read) {
        let Shared { acceptor, log, .. } = &*self.server;
        let reloaded = keys.of("").map(|set| described(Entry::new("keys-reloaded"), set));
        acceptor.set_keys(keys);
        reloaded.into_iter().for_each(|entry| log.write(entry));
        warnings.iter().for_each(|warning| log.write(Entry::new("keys-warning").text("note", warning)));

        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = in_force.differences(&serve.in_force);
        if changed.is_empty() {
            return;
        }
        let has_balancers = !live.balancers.is_empty();
        let (bounds, more) = (serve.options.bounds(), serve.more_files());
        let fitting = descriptors::fit(bounds, more, live.service.descriptors(), has_balancers);
        acceptor.set_bounds(fitting.bounds);
        self.server.set_live(live);
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
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_over_is_something_that_can_be_set() {
        let all = config::names();
        for name in LIVE.iter().filter(|name| cfg!(feature = "x509") || **name != "certificates") {
            assert!(all.iter().any(|of| of == name), "{name}");
        }
    }
}
