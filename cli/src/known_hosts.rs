//! `known-hosts`: the servers that this user has met, and their keys.

use crate::failure::{Failure, chain};
use crate::{keys, state, term};
use clap::{Args, Subcommand};
use countersign::known_hosts::{Accepted, BrokenLine, Entry, HostsError, KnownHosts, Listing};
use countersign::{KeyId, PublicKey, UnixTime};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Look after the servers that `login` and `connect` know, and their keys.
#[derive(Subcommand)]
#[command(after_help = "\
The file is text, one key of a server in a line; `login` and `connect` add to it, and it can be changed by hand, too, while these
commands run: none of them undoes what was changed meanwhile. It has at most 1 MiB, a line at most 64 KiB. A line that can't be read
is never trusted, and no new key is taken for a server that it may be about; while one that may revoke a key can't be read,
every key is refused.

NAME is the server as --server has it, such as db.example:4500, with /NAME behind it where a --server-name is given.")]
pub(crate) enum KnownHostsCommand {
    /// List what is known, of all servers or of one.
    ///
    /// Lines of the file that can't be read are reported on standard error, and the exit status is 1 then.
    #[command(after_help = "Example:\n  countersign known-hosts list db.example:4500")]
    List {
        /// The server
        name: Option<String>,
        #[command(flatten)]
        file: FileArgs,
        /// Print JSON, with the lines that can't be read
        #[arg(long)]
        json: bool,
    },
    /// List the key in a file for a server, as one that somebody has checked.
    #[command(after_help = "Example:\n  countersign known-hosts add db.example:4500 server.pub.pem")]
    Add {
        /// The server
        name: String,
        /// A file with the server's public key, as `key show` takes it
        key: PathBuf,
        #[command(flatten)]
        file: FileArgs,
        /// Store the name as a hash, which tells nobody which server it is
        #[arg(long)]
        hash: bool,
    },
    /// Say that a listed key's fingerprint has been compared with what the server's operator says. Passwords can be sent to it then.
    #[command(after_help = "Example:\n  countersign known-hosts confirm db.example:4500 SHA256:...")]
    Confirm {
        /// The server
        name: String,
        /// The key
        #[arg(value_name = "SHA256:...")]
        key: KeyId,
        #[command(flatten)]
        file: FileArgs,
    },
    /// Refuse a key from now on, whatever else speaks for it. NAME can be '*', for all servers.
    #[command(after_help = "\
Examples:
  countersign known-hosts revoke db.example:4500 SHA256:...
  countersign known-hosts revoke '*' SHA256:...")]
    Revoke {
        /// The server, or '*' for all
        name: String,
        /// The key
        #[arg(value_name = "SHA256:...")]
        key: KeyId,
        #[command(flatten)]
        file: FileArgs,
    },
    /// Forget a server's keys, or one of them. What is revoked is forgotten only by its fingerprint.
    #[command(after_help = "\
Examples:
  countersign known-hosts remove db.example:4500
  countersign known-hosts remove db.example:4500 SHA256:...")]
    Remove {
        /// The server; '*' for what is revoked for all
        name: String,
        /// The key; all that are not revoked where it is left out
        #[arg(value_name = "SHA256:...")]
        key: Option<KeyId>,
        #[command(flatten)]
        file: FileArgs,
    },
}

#[derive(Args, Clone)]
pub(crate) struct FileArgs {
    /// The known-hosts file [default: countersign/known_hosts under $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "FILE")]
    known_hosts: Option<PathBuf>,
}

impl FileArgs {
    /// Whether a file is named.
    pub(crate) fn is_given(&self) -> bool {
        self.known_hosts.is_some()
    }

    /// Where the file is; none where nobody says.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.known_hosts.clone().or_else(|| Some(state::folder()?.join("known_hosts")))
    }

    /// Opens the file, or what will be one.
    pub(crate) fn open(&self) -> Result<KnownHosts, Failure> {
        let path = self.path().ok_or_else(|| {
            Failure::usage("where are the known hosts? Neither XDG_STATE_HOME nor HOME is set; give --known-hosts FILE")
        })?;
        Ok(KnownHosts::open(path)?)
    }

    /// Makes the folder of the file where it is the usual one.
    pub(crate) fn make_room(&self) {
        if let (None, Some(folder)) = (&self.known_hosts, state::folder()) {
            // What is wrong with it shows when the file is made.
            let _ = state::make_private(&folder);
        }
    }
}

impl KnownHostsCommand {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::List { name, file, json } => list(&file.open()?, name.as_deref(), *json),
            Self::Add { name, key, file, hash } => add(file, name, key, *hash),
            Self::Confirm { name, key, file } => {
                let hosts = file.open()?;
                check_name(&hosts, name)?;
                let is_news = hosts.confirm(name, *key).map_err(|error| failed(&error))?;
                note(if is_news { "confirmed" } else { "confirmed already:" }, name, Some(*key));
                Ok(())
            }
            Self::Revoke { name, key, file } => {
                file.make_room();
                let hosts = file.open()?;
                check_name(&hosts, name)?;
                let revoked = if name == "*" { hosts.revoke_everywhere(*key) } else { hosts.revoke(name, *key) };
                let is_news = revoked.map_err(|error| failed(&error))?;
                note(if is_news { "revoked for" } else { "revoked already for" }, name, Some(*key));
                Ok(())
            }
            Self::Remove { name, key, file } => {
                let count = file.open()?.remove(name, *key).map_err(|error| failed(&error))?;
                note(&format!("removed {} of", term::count(count, "line")), name, *key);
                Ok(())
            }
        }
    }
}

fn add(file: &FileArgs, name: &str, path: &Path, hash: bool) -> Result<(), Failure> {
    let keys = keys::trusted(path)?;
    let added: Vec<KeyId> = keys.iter().map(PublicKey::id).collect();
    file.make_room();
    let hosts = file.open()?;
    check_name(&hosts, name)?;
    let hosts = if hash { hosts.with_hashed_names() } else { hosts };
    for key in keys {
        let id = key.id();
        let is_news = hosts.add(name, &Listing::new(key, Accepted::Confirmed)).map_err(|error| failed(&error))?;
        note(if is_news { "added to" } else { "listed already for" }, name, Some(id));
    }
    tell_others(&hosts, name, |id| added.contains(&id));
    Ok(())
}

/// Says which other keys are listed for a server: one that was stolen, or was somebody else's, stays good until it is revoked.
pub(crate) fn tell_others(hosts: &KnownHosts, name: &str, is_meant: impl Fn(KeyId) -> bool) {
    let Ok(known) = hosts.lookup(name) else { return };
    for entry in known.keys().iter().filter(|entry| !is_meant(entry.id())) {
        let (id, line, name) = (entry.id(), entry.line(), term::word(name));
        term::note(format_args!(
            "countersign: {id} in line {line} of {} is good for {name}, too; if it was stolen, or another's: \
             countersign known-hosts revoke {name} {id}",
            hosts.path().display()
        ));
    }
}

/// A login has a port in the name of its server, so without one it would never be found.
fn check_name(hosts: &KnownHosts, name: &str) -> Result<(), Failure> {
    let host = name.split_once('/').map_or(name, |(host, _)| host);
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    // What is no name at all is told as that.
    if has_port || hosts.at(name).is_err() {
        return Ok(());
    }
    Err(Failure::usage(format_args!(
        "{}: there is no port in it, and so no login that it would be for; write it as --server has it, HOST:PORT, and with /NAME behind it for a \
         --server-name",
        term::visible(name)
    )))
}

/// What can't be done, and what can.
fn failed(error: &HostsError) -> Failure {
    match error {
        HostsError::File(error) => Failure::file(error),
        HostsError::BadName => Failure::usage(error),
        _ => Failure::new(term::visible(&chain(error))),
    }
}

/// Says what was done.
fn note(done: &str, name: &str, key: Option<KeyId>) {
    let key = key.map(|key| format!(" {key}")).unwrap_or_default();
    term::note(format_args!("{done} {}{key}", term::visible(name)));
}

/// One line, for scripts.
#[derive(Serialize)]
struct Shown {
    line: usize,
    names: Vec<String>,
    fingerprint: String,
    revoked: bool,
    accepted: Option<&'static str>,
    /// RFC 3339, in UTC.
    since: Option<String>,
    until: Option<String>,
    floor: String,
}

/// A line that can't be read, for scripts.
#[derive(Serialize)]
struct Broken {
    line: usize,
    code: &'static str,
    reason: String,
}

#[derive(Serialize)]
struct All {
    keys: Vec<Shown>,
    broken_lines: Vec<Broken>,
}

impl Shown {
    fn of(entry: &Entry) -> Self {
        Self {
            line: entry.line(),
            names: entry.names(),
            fingerprint: entry.id().to_string(),
            revoked: entry.is_revoked(),
            accepted: entry.accepted().map(Accepted::word),
            since: entry.since().map(date),
            until: entry.until().map(date),
            floor: entry.floor().to_string(),
        }
    }

    fn row(&self) -> Vec<String> {
        let accepted = if self.revoked { "revoked" } else { self.accepted.unwrap_or("-") };
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let names = self.names.iter().map(|name| term::visible(name)).collect::<Vec<_>>().join(",");
        vec![names, self.fingerprint.clone(), accepted.to_owned(), or_dash(&self.since), or_dash(&self.until)]
    }
}

fn list(hosts: &KnownHosts, name: Option<&str>, as_json: bool) -> Result<(), Failure> {
    let all = hosts.hosts()?;
    let broken: Vec<BrokenLine> = all.broken_lines().collect();
    let shown: Vec<Shown> = match name {
        None => all.entries().map(Shown::of).collect(),
        Some(name) => {
            let known = all.lookup(name);
            known.keys().iter().chain(known.revoked()).map(Shown::of).collect()
        }
    };
    if as_json {
        let broken =
            |line: &BrokenLine| Broken { line: line.number, code: line.error.code(), reason: line.error.to_string() };
        let all = All { keys: shown, broken_lines: all.broken_lines().map(|line| broken(&line)).collect() };
        let text = serde_json::to_string_pretty(&all);
        term::line(text.map_err(|error| Failure::new(format_args!("this can't be written as JSON: {error}")))?)?;
    } else {
        let mut rows = vec![["SERVER", "KEY", "ACCEPTED", "SINCE", "UNTIL"].map(str::to_owned).to_vec()];
        rows.extend(shown.iter().map(Shown::row));
        term::aligned(&rows, 1, term::width()).into_iter().try_for_each(term::line)?;
    }
    all_read(hosts.path(), &broken)
}

/// Reports the lines that can't be read; a failure if there are any.
fn all_read(path: &Path, broken: &[BrokenLine]) -> Result<(), Failure> {
    for line in broken {
        term::note(format_args!("{}: {}", path.display(), chain(line)));
    }
    if broken.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format_args!("{} of {} can't be read", term::count(broken.len(), "line"), path.display())))
}

/// A date, as RFC 3339 has it.
fn date(time: UnixTime) -> String {
    // What no date can be written for never comes.
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs().min(253_402_300_799)));
    time.map(|time| humantime::format_rfc3339_seconds(time).to_string()).unwrap_or_default()
}
