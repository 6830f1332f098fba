//! What several servers share: failed logins and used tickets in Redis, keys for tickets in the database.

use super::keys::Source;
use super::log::{Entry, Log};
use super::metrics::RedisNumbers;
use super::paced::Paced;
use crate::accounts::{Store, Users};
use crate::failure::{Failure, chain};
use crate::keys::folder::Role;
use crate::{secrets, term};
use clap::{Args, ValueEnum};
use countersign::files;
use countersign::{Penalties, TicketKeys, WhenAway};
use countersign_stores::{FleetSecret, RedisConfig, RedisError, RedisEvent, RedisStore, SharedTicketKeys, SqlStore};
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

#[derive(Args, Clone)]
#[command(next_help_heading = "Several servers")]
pub(super) struct SharingArgs {
    /// Share the counts of failed logins with all servers at this Redis or Valkey, redis://HOST:PORT or redis+unix:///PATH; and,
    /// where the accounts are in a database, tickets, too
    ///
    /// A ticket of one server is good at the others then, and once at all of them: the keys are in the database, which tickets were used is in Redis.
    /// All servers of a service need exactly one Redis, one database number of it and one --redis-prefix: one that has another lets used tickets in again, and nobody is told.
    /// Without it each server's tickets are good at that one alone. Nothing is encrypted on the way to Redis. Its password is best left to
    /// REDISCLI_AUTH or --redis-password-file: in the address, others on this machine can see it.
    // Nothing is refused here: what is wrong with a value would be told with the value, and there may be a password in it.
    #[arg(long, value_name = "ADDRESS")]
    redis: Option<OsString>,
    /// Read the password of Redis from the first line of this file
    #[arg(long, value_name = "FILE", requires = "redis")]
    redis_password_file: Option<PathBuf>,
    /// Begin all keys in Redis with this, the same at all servers of this service, or used tickets are good again: another service at the same Redis needs another one, or
    /// another database of it (redis://HOST:PORT/NUMBER)
    #[arg(long, value_name = "TEXT", requires = "redis", value_parser = prefix)]
    redis_prefix: Option<String>,
    /// What becomes of logins while Redis is away, or takes no writes. No ticket is taken then in any case: clients show their credentials
    #[arg(long, value_enum, value_name = "HOW", default_value_t, requires = "redis")]
    redis_down: Down,
    /// How long Redis may take for an answer, of which a login needs up to five; then it is taken for away
    #[arg(long, value_name = "TIME", default_value = term::time(RedisConfig::PATIENCE), value_parser = term::timeout, requires = "redis")]
    redis_timeout: Duration,
    /// Keep what is shared under the secret in this file, 64 hexadecimal digits, the same at all servers. Otherwise it follows from
    /// the private key, or those of --keys through their rotations, and a server with another one shares nothing
    #[arg(long, value_name = "FILE", requires = "redis")]
    shared_secret: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Down {
    /// They go on, by what each server has counted itself: who guesses has as many tries as there are servers
    #[default]
    Open,
    /// Whoever has not logged in before at this server from where they are is turned away
    Closed,
}

impl SharingArgs {
    /// Opens what is named, and says what is doubtful: that Redis is away, which it may be. Without a log it is a look, which changes nothing there for
    /// servers that run.
    pub(super) async fn open(
        &self,
        keys: &Source,
        users: Option<&Store>,
        log: Option<&Arc<Log>>,
    ) -> Result<(Sharing, Option<String>), Failure> {
        let Some(mut config) = self.config()? else { return Ok((Sharing::default(), None)) };
        let state = Arc::<State>::default();
        let down = self.redis_down;
        if let Some(log) = log {
            let (log, state) = (Arc::clone(log), Arc::clone(&state));
            config = config.with_observer(move |event| state.note(&log, down, event));
        }
        let secret = self.secret(keys)?;
        let named = config.to_string();
        let wrong = |error: &RedisError| format!("--redis {named}: {}", chain(error));
        let redis = RedisStore::new(config, &secret).map_err(|error| Failure::new(wrong(&error)))?;
        // Nothing is marked there yet: whether this server's clock is right is known later.
        let warning = match redis.is_ours().await {
            // One that serves has the log say so.
            Ok(is_ours) if is_ours || log.is_some() => None,
            Ok(_) => Some(format!("warning: --redis {named}: {OTHER_SECRET}")),
            Err(error @ RedisError::Away(_)) => {
                Some(format!("warning: {}; until it is back, {}", wrong(&error), down.note()))
            }
            Err(error @ RedisError::Refused(_)) => {
                let failure = Failure::new(wrong(&error));
                return Err(failure.and(
                    "give its password in REDISCLI_AUTH, or in a file with --redis-password-file, and its user the rights that docs/cluster.md lists",
                ));
            }
            Err(error) => return Err(Failure::new(wrong(&error))),
        };
        let database = users.and_then(Store::database).cloned();
        Ok((Sharing(Some(Shared { redis, named, down, secret, database, state })), warning))
    }

    /// The Redis that is named, if one is.
    fn config(&self) -> Result<Option<RedisConfig>, Failure> {
        let Some(address) = &self.redis else { return Ok(None) };
        let mut config = parse(address)?.with_patience(self.redis_timeout);
        if let Some(prefix) = &self.redis_prefix {
            config = config.with_prefix(prefix);
        }
        if let Some(path) = &self.redis_password_file {
            config = config.with_password(&secrets::of_file(path)?);
        } else if let Some(password) = env::var("REDISCLI_AUTH").ok().map(Zeroizing::new)
            && !password.is_empty()
            && !config.has_password()
        {
            config = config.with_password(&password);
        }
        Ok(Some(config))
    }

    /// The secret that everything is kept under, and those of before and to come, which servers that were started before or after this one may have.
    fn secret(&self, keys: &Source) -> Result<FleetSecret, Failure> {
        if let Some(path) = &self.shared_secret {
            return read_secret(path);
        }
        let mut all = keys.private_keys()?.into_iter();
        let (current, _) = all.next().ok_or_else(|| Failure::new("there is no key"))?;
        let secret = all.fold(FleetSecret::of(&current), |secret, (key, role)| match role {
            Role::Current | Role::Next => secret.with_next(FleetSecret::of(&key)),
            Role::Retired(_) => secret.with_retired(FleetSecret::of(&key)),
        });
        Ok(secret)
    }

    /// How many files it may have open.
    pub(super) fn files(&self) -> usize {
        self.redis.as_ref().map_or(0, |_| RedisStore::FILES)
    }

    /// Whether tickets are shared, where the accounts are in this place.
    pub(super) fn has_tickets(&self, users: &Users) -> bool {
        self.redis.is_some() && matches!(users, Users::Sql(_))
    }
}

impl Down {
    fn note(self) -> &'static str {
        match self {
            Self::Open => "logins go on by what this server has counted itself, and no ticket is taken",
            Self::Closed => {
                "those who have not logged in here before from where they are are turned away, and no ticket is taken"
            }
        }
    }
}

/// What an operator can type again in redis-cli.
fn prefix(text: &str) -> Result<String, &'static str> {
    let is_good = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_good {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 64 characters of ASCII, without spaces, such as orders:")
    }
}

fn parse(address: &OsStr) -> Result<RedisConfig, Failure> {
    // What is no text is no address, either.
    RedisConfig::parse(address.to_str().unwrap_or_default())
        .map_err(|error| Failure::usage(format_args!("--redis: {error}")))
}

/// An address as it may be printed: without a password, and not at all where it is none.
pub(super) fn shown(address: &OsStr) -> String {
    parse(address).map_or_else(|_| String::new(), |config| config.to_string())
}

fn read_secret(path: &Path) -> Result<FleetSecret, Failure> {
    let mut secret = Zeroizing::new([0; 32]);
    hex::decode_to_slice(files::read_secret(path)?.as_slice(), secret.as_mut_slice()).map_err(|_| {
        let failure = Failure::usage(format_args!("{}: it is not 64 hexadecimal digits", path.display()));
        failure.and(format_args!("make it with: (umask 077; openssl rand -hex 32 > {})", term::quoted(path)))
    })?;
    Ok(FleetSecret::new(*secret))
}

/// What this server shares with others; by default nothing.
#[derive(Default)]
pub(crate) struct Sharing(Option<Shared>);

struct Shared {
    redis: RedisStore,
    /// Where it is.
    named: String,
    down: Down,
    secret: FleetSecret,
    /// Where keys for tickets are, if there are any in a place that servers share.
    database: Option<SqlStore>,
    state: Arc<State>,
}

/// What those who watch a server are told of its Redis.
#[derive(Clone)]
pub(crate) struct Watched {
    redis: RedisStore,
    down: Down,
    state: Arc<State>,
}

/// How often Redis is asked whether it is there.
const CHECK: Duration = Duration::from_secs(2);

impl Sharing {
    /// Where Redis is, without a password.
    pub(super) fn named(&self) -> Option<&str> {
        self.0.as_ref().map(|shared| shared.named.as_str())
    }

    /// The keys with a memory that is shared, where the keys are. One without the other would let a ticket in once at each server.
    pub(super) fn tickets(&self, keys: TicketKeys) -> TicketKeys {
        match &self.0 {
            Some(Shared { redis, database: Some(_), .. }) => keys.with_shared_memory(redis.clone()),
            _ => keys,
        }
    }

    pub(super) fn watched(&self) -> Option<Watched> {
        let watched = |Shared { redis, down, state, .. }: &Shared| Watched {
            redis: redis.clone(),
            down: *down,
            state: Arc::clone(state),
        };
        self.0.as_ref().map(watched)
    }

    /// Shares from now on, for as long as the runtime is there: asks Redis whether it is there, and has these keys be those of all servers. Says what is
    /// doubtful.
    pub(super) async fn begin(self, tickets: Option<&Arc<TicketKeys>>, log: &Arc<Log>) -> Option<String> {
        let shared = self.0?;
        let redis = shared.redis;
        let keys = match (shared.database, tickets) {
            (Some(database), Some(tickets)) => {
                Some(SharedTicketKeys::new(&database, tickets, &shared.secret).with_memory(&redis))
            }
            _ => None,
        };
        let error = match &keys {
            Some(keys) => keys.sync().await.err(),
            None => None,
        };
        // The observer is told. This is the first look at tickets: a clock that is wrong is known by now.
        let _ = redis.check().await;
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(CHECK).await;
                let _ = redis.check().await;
            }
        });
        let keys = keys?;
        let (log, paced) = (Arc::clone(log), Mutex::new(Paced::default()));
        // Short-lived keys are looked at often.
        tokio::spawn(keys.keep(move |error| {
            paced.lock().unwrap_or_else(PoisonError::into_inner).tell(|| {
                log.write(Entry::new("ticket-keys-not-shared").text("reason", &chain(error)).text("note", UNSHARED));
                true
            });
        }));
        error.map(|error| format!("warning: {}; {}", chain(&error), UNSHARED))
    }
}

const OTHER_SECRET: &str = "another server keeps its tickets there under another secret, and as long as it does, no tickets are taken: where it is \
     of this service, give all the same --shared-secret; where it is of another one, give one of them another --redis-prefix, or \
     another database of the same Redis";

const UNSHARED: &str =
    "until that is over, tickets of this server may be good at no other one, and those of others not here";

impl Watched {
    pub(super) fn penalties(&self, penalties: Penalties) -> Penalties {
        let when_away = match self.down {
            Down::Open => WhenAway::GoOn,
            Down::Closed => WhenAway::TurnAway,
        };
        penalties.with_store(self.redis.clone(), when_away)
    }

    pub(super) fn numbers(&self) -> RedisNumbers {
        let counts = self.redis.counts();
        RedisNumbers {
            is_away: self.state.is_away.load(Relaxed),
            absences: self.state.absences.load(Relaxed),
            answered: counts.asked.saturating_sub(counts.away),
            unanswered: counts.away,
            emptied: counts.tickets_forgotten,
        }
    }
}

#[derive(Default)]
struct State {
    is_away: AtomicBool,
    /// How often it went away.
    absences: AtomicU64,
}

impl State {
    fn note(&self, log: &Log, down: Down, event: &RedisEvent) {
        let entry = match event {
            RedisEvent::Away { what } => {
                self.is_away.store(true, Relaxed);
                self.absences.fetch_add(1, Relaxed);
                Entry::new("redis-away").text("reason", what).text("note", down.note())
            }
            RedisEvent::Back { after } => {
                self.is_away.store(false, Relaxed);
                Entry::new("redis-back").count("seconds", after.as_secs())
            }
            RedisEvent::TicketsForgotten => Entry::new("redis-emptied")
                .text("note", "it is new, another, or has lost what it knew: tickets of before are not taken"),
            RedisEvent::OtherSecret => Entry::new("redis-other-secret").text("note", OTHER_SECRET),
            _ => return,
        };
        log.write(entry);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::parsed;
    use super::*;

    fn shown(more: &[&str]) -> String {
        let words = [&["--redis=redis://db.example:7000/3"], more].concat();
        format!("{:?}", parsed(&words).sharing.config().ok().unwrap())
    }

    #[test]
    fn what_is_said_of_redis_counts_whether_it_may_take_less_time_or_more() {
        let redis = || RedisConfig::parse("redis://db.example:7000/3").unwrap();
        assert_eq!(shown(&[]), format!("{:?}", Some(redis())));
        for (words, millis) in [("--redis-timeout=20ms", 20), ("--redis-timeout=3s", 3000)] {
            let config = redis().with_patience(Duration::from_millis(millis)).with_prefix("ours:");
            assert_eq!(shown(&[words, "--redis-prefix=ours:"]), format!("{:?}", Some(config)));
        }
        assert!(parsed(&[]).sharing.config().ok().unwrap().is_none());
    }
}
