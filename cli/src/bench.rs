//! `bench`: what a login costs on this machine, and how many of them it serves.

mod counted;
mod crowd;
mod handshakes;
mod load;
mod options;
mod pace;
mod process;
mod relief;
mod report;
mod setup;
mod stats;
mod summary;
mod svg;
mod table;

use crate::failure::Failure;
use crate::{keys, term};
use clap::Args;
use countersign::accounts::{AccountFile, HashParameters, PasswordCheck};
use countersign::crypto::Provider;
use countersign::files::{self, Existing, Missing, edit_accounts};
use countersign::{KeySize, PrivateKey, Suite};
use handshakes::{Combinations, PASSWORD};
use indicatif::{ProgressBar, ProgressStyle};
use load::Course;
use process::Stage;
use relief::Measure;
use report::{Handshake, Load, Report};
use setup::Setup;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Measure what a login costs on this machine, and how many logins a second it serves.
///
/// First runs handshakes in this process, for each provider, key size and suite. Then puts a real server, on a loopback
/// port, under a load of logins at several rates. Ends with the answer in a sentence. Takes two minutes or so; what else
/// runs on the machine meanwhile shows in the results.
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign bench
  countersign bench --argon2 m=65536,t=3,p=1 --json bench.json --svg bench.svg
  countersign bench --bits 3072 --suite rsa+x25519/aes-256-gcm --resumed 0.5 --rate 20,40,80
  countersign bench --quick --no-load

The load is on `countersign serve` with its defaults, but that all places may be taken from one
address, and this build's first provider; the key is the one of 3072 bits, or else the first of
--bits, and the suite the first of --suite that `serve` takes. It is tried without resumption and
with the share of --resumed. Logins come at random moments and each one's time counts from when it
was due, so a server that falls behind shows.
Clients and server share this machine: the capacity is computed from the server's own CPU time,
on systems that tell it (Linux).

The server is asked for its own counts, too: what it turned away and why, its memory, and the memory
of used tickets, which has room for two lifetimes of tickets at one new client a second. Where that
fills up at a rate that held, the answer says after how long: from then on the clients that were
forgotten log in anew, and the rate is that of a smaller share. A few seconds do not show it; to see it,
hold one rate for an hour: --rate 100 --duration 1h.")]
pub(crate) struct Bench {
    /// Key sizes, separated by commas
    #[arg(long, value_name = "BITS", value_delimiter = ',', default_value = "2048,3072,4096", value_parser = options::bits)]
    bits: Vec<KeySize>,
    /// Suites, separated by commas, such as rsa+x25519/aes-256-gcm; without it, every one
    #[arg(long = "suite", value_name = "NAME", value_delimiter = ',')]
    suites: Vec<Suite>,
    /// Crypto providers, separated by commas: aws-lc-rs, rustcrypto; without it, all in this build
    #[arg(long = "provider", value_name = "NAME", value_delimiter = ',', value_parser = options::provider)]
    providers: Vec<Provider>,
    /// What a password hash costs: KiB of memory, passes, lanes; the default is what `user add` writes
    #[arg(long, value_name = "PARAMETERS", default_value = "m=19456,t=2,p=1", value_parser = options::argon2)]
    argon2: HashParameters,
    /// The share of logins that come with a ticket, in the second load and in the answer
    #[arg(long, value_name = "SHARE", default_value = "0.9", value_parser = options::share)]
    resumed: f64,
    /// Logins a second to try, separated by commas; without it, 0.2 to 1.2 of what the server takes
    #[arg(long = "rate", value_name = "NUMBER", value_delimiter = ',', value_parser = options::rate, conflicts_with = "no_load")]
    rates: Vec<f64>,
    /// How long each rate is held [default: 5s, or 500ms with --quick]
    #[arg(long, value_name = "TIME", value_parser = term::timeout, conflicts_with = "no_load")]
    duration: Option<Duration>,
    /// A rate holds if 99 % of its logins are done within this time
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = term::timeout)]
    within: Duration,
    /// Run the handshakes alone, without a server
    #[arg(long)]
    no_load: bool,
    /// Write all results as JSON; to standard output if the file is -, and what people read to standard error then
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the times of the load at each rate
    #[arg(long, value_name = "FILE", conflicts_with = "no_load")]
    svg: Option<PathBuf>,
    /// Take seconds instead of minutes: fewer rounds and rates, and results to match
    #[arg(long)]
    quick: bool,
}

/// Accounts that the clients log in to in turn: as many as the memory of used tickets has room for at the least, by what it keeps of
/// one. With fewer it would be they that are full, and not the memory.
const ACCOUNTS: usize = 4096;

impl Bench {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let setup = Setup::of(self)?;
        let (plan, machine) = (&setup.plan, &setup.machine);
        let stage = Stage::set_up()?;
        let keys = self.keys(&setup.sizes)?;
        let users = self.accounts(&stage.users())?;
        self.say([table::machine(machine), String::new()])?;

        let bar = bar("handshakes {bar:30} {pos}/{len} rounds, {elapsed}");
        let file = AccountFile::open(stage.users())?;
        let combinations = Combinations {
            providers: &setup.providers,
            keys: &keys,
            suites: &setup.suites,
            accounts: &file.accounts(),
            user: users.first().map(String::as_str).unwrap_or_default(),
            budget: Duration::from_secs(if self.quick { 0 } else { 15 }),
            least: if self.quick { 5 } else { 11 },
        };
        let measured = combinations.run(plan, &bar);
        bar.finish_and_clear();
        let (hash, handshakes) = measured?;
        self.say(table::handshakes(plan, hash, &handshakes))?;

        let answer = setup.answer(&handshakes)?;
        let key = self.key(&setup, &keys)?;
        let rounds = if self.quick { 3 } else { 31 };
        let measure = Measure { provider: setup.provider, key, suite: setup.suite, argon2: self.argon2, rounds };
        let relief = measure.run()?;
        self.say([String::new()].into_iter().chain(table::relief(plan, &relief, answer)))?;

        let load = match self.no_load {
            true => None,
            false => Some(self.load(&setup, &stage, &keys, &users, (hash, answer))?),
        };
        if let Some(load) = &load {
            self.say([String::new()].into_iter().chain(table::load(plan, machine, load)))?;
        }
        let summary = summary::summary(&setup, answer, load.as_ref());
        self.say([String::new()].into_iter().chain(term::wrap(&summary.sentence, term::width().unwrap_or(100))))?;
        if let (Some(path), Some(load)) = (&self.svg, &load) {
            report::write(path, svg::draw(load).as_bytes())?;
        }
        if let Some(path) = &self.json {
            let report = Report {
                version: 1,
                countersign: env!("CARGO_PKG_VERSION"),
                machine: setup.machine,
                plan: setup.plan,
                password_hash_ms: hash,
                handshakes,
                relief,
                load,
                summary,
            };
            let json = serde_json::to_string_pretty(&report)
                .map_err(|error| Failure::new(format_args!("the results can't be written as JSON: {error}")))?;
            if path == Path::new("-") {
                term::line(json)?
            } else {
                report::write(path, format!("{json}\n").as_bytes())?
            }
        }
        stage.close()
    }

    fn say(&self, lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
        let to_stderr = self.json.as_deref() == Some(Path::new("-"));
        let width = term::width();
        let folded = lines.into_iter().flat_map(|line| term::folded(&line, width));
        folded.into_iter().try_for_each(|line| {
            if to_stderr {
                term::note(line);
                return Ok(());
            }
            term::line(line)
        })
    }

    /// A key of each size.
    fn keys(&self, sizes: &[KeySize]) -> Result<Vec<(KeySize, PrivateKey)>, Failure> {
        let bar = bar("{spinner} making keys, {pos}/{len}, {elapsed}");
        bar.set_length(u64::try_from(sizes.len()).unwrap_or_default());
        bar.enable_steady_tick(Duration::from_millis(100));
        let make = |&size: &KeySize| {
            let key = keys::generate(size)?;
            bar.inc(1);
            Ok((size, key))
        };
        let keys = sizes.iter().map(make).collect();
        bar.finish_and_clear();
        keys
    }

    /// Makes the users file. Gives the names in it.
    fn accounts(&self, path: &Path) -> Result<Vec<String>, Failure> {
        let names: Vec<String> = (1..=ACCOUNTS).map(|number| format!("user{number}")).collect();
        edit_accounts(path, Missing::Make, |accounts| -> Result<(), Failure> {
            // One hash for all of them: the server computes it anew at each login.
            let hash = PasswordCheck::hash_with(PASSWORD, self.argon2)?;
            names.iter().try_for_each(|name| {
                accounts.add(name, ["read", "write"])?;
                Ok(accounts.edit(name, |account| account.set_password_hash(&hash))?)
            })
        })?;
        Ok(names)
    }

    /// The key that the load and the answer are about.
    fn key<'a>(&self, setup: &Setup, keys: &'a [(KeySize, PrivateKey)]) -> Result<&'a PrivateKey, Failure> {
        let key = keys.iter().find(|(size, _)| *size == setup.bits).map(|(_, key)| key);
        key.ok_or_else(|| Failure::usage("--bits names no key size"))
    }

    fn load(
        &self,
        setup: &Setup,
        stage: &Stage,
        keys: &[(KeySize, PrivateKey)],
        users: &[String],
        (hash, alone): (f64, &Handshake),
    ) -> Result<Load, Failure> {
        let key = self.key(setup, keys)?;
        files::write_private_key(stage.key(), key, Existing::Keep)?;
        let course = Course {
            plan: &setup.plan,
            provider: setup.provider.name,
            bits: setup.bits.bits(),
            suite: setup.suite,
            pin: key.public_key().id(),
            users,
            cores: setup.machine.cores,
            full_ms: alone.server_ms + hash,
            resumed_ms: alone.resumed_server_ms,
            rates: &self.rates,
            duration: setup.duration,
            held: if self.quick { 50 } else { 200 },
        };
        let shares = if self.resumed > 0.0 { &[0.0, self.resumed][..] } else { &[0.0] };
        let bar = bar("load {bar:30} {pos}/{len} s, {elapsed}: {msg}");
        bar.set_length(course.length(shares));
        bar.enable_steady_tick(Duration::from_millis(250));
        let load = course.run(stage, shares, &bar);
        bar.finish_and_clear();
        load
    }
}

/// A bar on standard error; it hides itself where that is no terminal.
fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
