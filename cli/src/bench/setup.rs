//! What is measured, from what was asked for.

use super::report::{self, Argon2Parameters, Handshake, Machine, Plan};
use super::stats::millis;
use super::{Bench, options, pace};
use crate::crypto;
use crate::failure::Failure;
use countersign::crypto::Provider;
use countersign::{KeySize, Suite};
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// What is measured.
pub(crate) struct Setup {
    pub(crate) plan: Plan,
    pub(crate) machine: Machine,
    pub(crate) providers: Vec<Provider>,
    pub(crate) sizes: Vec<KeySize>,
    pub(crate) suites: Vec<Suite>,
    pub(crate) duration: Duration,
    /// The combination that the load and the answer are about.
    pub(crate) provider: Provider,
    pub(crate) bits: KeySize,
    pub(crate) suite: Suite,
}

/// The most logins that one rate may schedule: each one's time is kept.
const MOST_LOGINS: f64 = 1_000_000.0;

/// How long a rate is held.
const DURATION: Duration = Duration::from_secs(5);
const QUICK_DURATION: Duration = Duration::from_millis(500);

impl Setup {
    /// What was asked for, before any work: everything that can be wrong with it is said now.
    pub(crate) fn of(bench: &Bench) -> Result<Self, Failure> {
        for path in bench.json.iter().filter(|path| *path != Path::new("-")).chain(&bench.svg) {
            report::check_target(path)?;
        }
        let duration = bench.duration.unwrap_or(if bench.quick { QUICK_DURATION } else { DURATION });
        for rate in &bench.rates {
            if pace::expected(*rate, duration) > MOST_LOGINS {
                let most = MOST_LOGINS / duration.as_secs_f64();
                return Err(Failure::usage(format_args!(
                    "--rate {rate} for so long is more than {MOST_LOGINS} logins; ask for {most:.0} at the most, or for a \
                     shorter --duration"
                )));
            }
        }
        let providers = if bench.providers.is_empty() { options::built_in() } else { bench.providers.clone() };
        let suites = if bench.suites.is_empty() { Suite::ALL.to_vec() } else { bench.suites.clone() };
        let providers = once(providers, |one, other| one.name == other.name);
        let (sizes, suites) = (once(bench.bits.clone(), KeySize::eq), once(suites, Suite::eq));
        // `serve` has the first provider of the build, and takes the suites that are offered by default.
        let served = crypto::provider();
        let first = providers.iter().copied().find(|provider| provider.name == served.name);
        let provider = first.or_else(|| providers.first().copied().filter(|_| bench.no_load)).ok_or_else(|| {
            let name = served.name;
            Failure::usage(format_args!(
                "the load is on `countersign serve`, which uses {name} in this build; add it with --provider, or leave the \
                 load out with --no-load"
            ))
        })?;
        let is_served = |suite: &&Suite| Suite::DEFAULT.contains(suite) && provider.supports(**suite);
        let suite = suites.iter().find(is_served).or_else(|| suites.first().filter(|_| bench.no_load)).ok_or_else(|| {
            Failure::usage(
                "the load is on `countersign serve`, which takes no suite without forward secrecy; add another --suite, or \
                 leave the load out with --no-load",
            )
        })?;
        let suite = *suite;
        let bits = sizes.iter().find(|bits| **bits == KeySize::Rsa3072).or(sizes.first()).copied();
        Ok(Self {
            plan: Plan {
                quick: bench.quick,
                argon2: Argon2Parameters {
                    m: bench.argon2.memory(),
                    t: bench.argon2.passes(),
                    p: bench.argon2.lanes(),
                },
                resumed_share: bench.resumed,
                within_ms: millis(bench.within),
            },
            machine: Machine {
                cores: thread::available_parallelism().map_or(1, NonZeroUsize::get),
                os: std::env::consts::OS,
                arch: std::env::consts::ARCH,
            },
            duration,
            provider,
            suite,
            bits: bits.unwrap_or_default(),
            providers,
            sizes,
            suites,
        })
    }

    /// What was measured of the combination that the answer is about.
    pub(crate) fn answer<'a>(&self, measured: &'a [Handshake]) -> Result<&'a Handshake, Failure> {
        let suite = self.suite.to_string();
        let is_it =
            |one: &&Handshake| one.provider == self.provider.name && one.bits == self.bits.bits() && one.suite == suite;
        measured.iter().find(is_it).ok_or_else(|| {
            Failure::usage(format_args!("{} does not do {suite}; choose another --suite", self.provider.name))
        })
    }
}

/// Without what was named before.
fn once<T>(list: Vec<T>, same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut found: Vec<T> = Vec::new();
    for item in list {
        if !found.iter().any(|earlier| same(earlier, &item)) {
            found.push(item);
        }
    }
    found
}
