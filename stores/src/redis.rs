//! What several servers share, in Redis or Valkey: the counts of failed logins, and which tickets were used.

mod link;
mod penalties;
mod tickets;

use crate::secret::{FleetSecret, Secret};
use core::fmt;
use core::time::Duration;
use link::Link;
use redis::IntoConnectionInfo;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

pub use link::{RedisCounts, RedisEvent};

/// Where a Redis is, and how it is spoken to. Printed without the password that may be in the address.
#[derive(Clone)]
pub struct RedisConfig {
    info: redis::ConnectionInfo,
    prefix: String,
    patience: Duration,
    chains_per_principal: usize,
    observer: Option<Arc<Observer>>,
}

pub(crate) type Observer = dyn Fn(&RedisEvent) + Send + Sync;

impl RedisConfig {
    /// How long Redis may take to answer, unless configured: 250 ms. A login asks it up to five times.
    pub const PATIENCE: Duration = Duration::from_millis(250);

    /// `redis://HOST:PORT/DATABASE` or `redis+unix:///PATH?db=NUMBER`, with `USER:PASSWORD@`, or `?user=` and `&pass=`, where Redis wants
    /// them. Nothing is encrypted: over a network that is not yours alone, put a tunnel between.
    ///
    /// # Errors
    /// [`RedisError::Address`].
    pub fn parse(address: &str) -> Result<Self, RedisError> {
        let is_known = ["redis://", "redis+unix://", "valkey://", "valkey+unix://", "unix://"];
        if !is_known.iter().any(|scheme| address.starts_with(scheme)) {
            return Err(RedisError::Address);
        }
        // What the parser says of it may hold the password.
        let info = address.into_connection_info().map_err(|_| RedisError::Address)?;
        Ok(Self {
            info,
            prefix: "countersign:".to_owned(),
            patience: Self::PATIENCE,
            chains_per_principal: countersign::UsedTickets::OF_A_PRINCIPAL,
            observer: None,
        })
    }

    /// The password that Redis wants, from where fewer can see it than an address; it goes before one that is in there.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        let settings = self.info.redis_settings().clone().set_password(password);
        self.info = self.info.set_redis_settings(settings);
        self
    }

    /// Whether there is one, in the address or beside it.
    pub fn has_password(&self) -> bool {
        self.info.redis_settings().password().is_some()
    }

    /// What all keys begin with (`countersign:`). Services that share a Redis and have accounts of their own each need another, or
    /// another database of it: under one prefix neither's tickets are taken ([`RedisEvent::OtherSecret`]).
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// How long a login waits for an answer. Whoever asks next within as long is told at once that Redis is away.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Remembers this many chains of tickets of one principal, 1 to 262144, about 250 bytes each: as
    /// [`UsedTickets::with_chains_per_principal`](countersign::UsedTickets::with_chains_per_principal). A login takes Redis the same few steps, however
    /// many there are.
    #[must_use]
    pub fn with_chains_per_principal(mut self, chains: usize) -> Self {
        self.chains_per_principal = chains.clamp(1, 1 << 18);
        self
    }

    /// Tells `observer` when Redis goes away, comes back, has lost what it knew of tickets, or is somebody else's, too: for a log. It must not block.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Fn(&RedisEvent) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }
}

/// As [`RedisConfig::parse`] takes it, without a password.
impl fmt::Display for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (settings, db) = (self.info.redis_settings(), self.info.redis_settings().db());
        match self.info.addr() {
            redis::ConnectionAddr::Unix(path) => {
                write!(f, "redis+unix://{}", path.display())?;
                let user = settings.username().map(|user| format!("user={user}"));
                let database = (db != 0).then(|| format!("db={db}"));
                let query: Vec<String> = user.into_iter().chain(database).collect();
                if query.is_empty() { Ok(()) } else { write!(f, "?{}", query.join("&")) }
            }
            address => {
                f.write_str("redis://")?;
                settings.username().map_or(Ok(()), |user| write!(f, "{user}@"))?;
                match address {
                    redis::ConnectionAddr::Tcp(host, port) if host.contains(':') && !host.starts_with('[') => {
                        write!(f, "[{host}]:{port}")
                    }
                    address => write!(f, "{address}"),
                }?;
                if db == 0 { Ok(()) } else { write!(f, "/{db}") }
            }
        }
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is not public of it (a password) is not in its address, either.
        let mut shown = f.debug_struct("RedisConfig");
        shown.field("address", &format_args!("{self}")).field("prefix", &self.prefix).field("patience", &self.patience);
        shown.field("chains_per_principal", &self.chains_per_principal).finish_non_exhaustive()
    }
}

/// Penalties and used tickets in Redis (7) or Valkey, for servers over the same accounts. A clone shares the connection, which is made when it is
/// needed, and anew when it broke.
///
/// ```
/// use countersign::{Penalties, WhenAway};
/// use countersign_stores::{RedisConfig, RedisStore, FleetSecret};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let private_key = countersign::PrivateKey::from_pem(include_str!("../../tests/keys/rsa2048.pem"))?;
/// let secret = FleetSecret::of(&private_key); // all servers have the same key
/// let redis = RedisStore::new(RedisConfig::parse("redis+unix:///run/redis/redis.sock")?, &secret)?;
/// let penalties = Penalties::default().with_store(redis.clone(), WhenAway::GoOn); // for Acceptor::with_penalties
/// # let provider = countersign::crypto::rustcrypto::provider();
/// let tickets = countersign::TicketKeys::new(provider, std::time::Duration::from_secs(3600)).with_shared_memory(redis);
/// # drop((penalties, tickets)); Ok(()) }
/// ```
///
/// **As a [`PenaltyStore`](countersign::PenaltyStore)** it counts failures in a count-min sketch of one size, 2.6 MB (and another for exempt sources, if there are any), as each server does: so no flood makes it
/// grow, and nobody's count is evicted by somebody else's. Where people have logged in from is remembered by principal, 64 sources for each (one more for each other name, or other way to write it, that
/// it has logged in under there), for 200 days. What is kept is where a keyed hash of a name or an address points, or 128 bits of it: whoever reads Redis learns how many
/// there are, and can't try names or addresses without the secret. Passwords are never sent there.
///
/// **As a [`TicketMemory`](countersign::TicketMemory)** it fails closed. Whatever it can't tell sends a client the longer way, to its credential:
/// - Redis is away, or slow.
/// - Redis takes no writes: a replica, one that is full, or one that can't save. It counts as away then, for all that it is asked.
/// - Redis is not the process that it was or that this server asked last, was flushed, or has evicted anything: marks may be missing. Tickets of all
///   chains that began before that was seen, or up to a minute after, are refused, by Redis's clock or the server's, whichever is later. So a restart
///   of Redis, a fail-over to a replica and one that begins with an old RDB file cost each client one login with its credential, and let no ticket in twice.
/// - Another secret is in use under the same prefix, and is none of those that this server knows. Among those all servers go by the one that Redis names.
/// - There are more chains of the principal than are remembered.
///
/// What is not noticed, so that a used ticket can be good once more: keys that somebody deletes one by one; a whole machine that is set back to a snapshot; an
/// eviction between two looks (`serve` looks each two seconds) together with a `CONFIG RESETSTAT`; at an address that moves between two Redis that both take writes, what
/// was used at the other one, by a server that has only just started; a Redis whose clock is more than an hour behind, or jumps ahead by more than a minute. Nor, at two that
/// both take writes at the same time, each for some of the servers, what was used at the other one: `min-replicas-to-write` keeps a master that is cut off from that. Nor
/// at all what was used at servers with another Redis, another database of it, or another prefix: all servers of a service need the same three.
///
/// Redis's clock times how counts fade, and when marks end: not before the asking server's would have.
///
/// Redis needs about 20 KB for an account with as many sources and tickets as are kept, and typically less than 1 KB. Give it a `maxmemory-policy` of `noeviction`, which
/// is its default.
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    link: Link,
    secret: FleetSecret,
    /// Which of those is in use there, as Redis said last.
    in_use: AtomicUsize,
    /// Whether it was seen to let this do all that is needed.
    has_rights: AtomicBool,
    /// Whether nothing is to be said of tickets.
    holds_tickets: AtomicBool,
    prefix: String,
    chains_per_principal: usize,
    /// Which memory of tickets answered last: empty at first.
    seen: Mutex<String>,
}

impl RedisStore {
    /// How many files it may have open at once, for [`Bounds::files`](countersign::Bounds::files): its connection, and the next one.
    pub const FILES: usize = 2;

    /// Speaks to this Redis. `secret` is what names and addresses are hashed under: the same at all servers, or of the same keys in other roles, and nowhere in
    /// Redis. Nothing is sent yet: [`RedisStore::check`] does that.
    ///
    /// It works on the runtime of tokio that this is called on, whoever asks it: servers that block can do so, too.
    ///
    /// # Errors
    /// [`RedisError::NoRuntime`].
    pub fn new(config: RedisConfig, secret: &FleetSecret) -> Result<Self, RedisError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| RedisError::NoRuntime)?;
        let client = redis::Client::open(config.info).map_err(|_| RedisError::Address)?;
        let link = Link::new(client, runtime, config.patience, config.observer);
        let (prefix, chains_per_principal) = (config.prefix, config.chains_per_principal);
        let inner = Inner {
            link,
            secret: secret.clone(),
            in_use: AtomicUsize::new(0),
            has_rights: AtomicBool::new(false),
            holds_tickets: AtomicBool::new(false),
            prefix,
            chains_per_principal,
            seen: Mutex::default(),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Whether Redis answers, takes writes, and lets this do all that it has to do: the first time, and after an absence, each command is run once on keys of its
    /// own. Also marks where its memory of tickets begins, if it is new: best before anybody logs in, and after this server's clock was seen to be right
    /// (`SharedTicketKeys::with_memory`).
    ///
    /// # Errors
    /// [`RedisError::Away`] or [`RedisError::Refused`], with what it said.
    pub async fn check(&self) -> Result<(), RedisError> {
        self.check_writes().await?;
        self.check_tickets().await?;
        self.check_penalties().await
    }

    /// Whether what is kept there is kept under a secret that this knows, or nothing is yet: otherwise a server would end all tickets there ([`RedisEvent::OtherSecret`]).
    /// Also whether Redis takes writes, and lets this do all that it has to do. Leaves nothing there, unlike [`RedisStore::check`]: for a look at what a server would
    /// find, beside others that run.
    ///
    /// # Errors
    /// [`RedisError::Away`] or [`RedisError::Refused`], with what it said.
    pub async fn is_ours(&self) -> Result<bool, RedisError> {
        self.check_rights().await?;
        self.look_at_tickets().await
    }

    /// How often it was asked, and what came of that.
    pub fn counts(&self) -> RedisCounts {
        self.0.link.counts()
    }

    fn hash(&self, kind: &str, text: &str) -> [u8; 32] {
        let all = self.0.secret.all();
        let secret = all.get(self.0.in_use.load(Ordering::Relaxed)).or_else(|| all.first());
        secret.map_or([0; 32], |secret| hash(secret, kind, text))
    }
}

/// Names and addresses are few enough to be tried against a plain hash.
fn hash(secret: &Secret, kind: &str, text: &str) -> [u8; 32] {
    secret.derive(&["redis", kind, text])
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

/// What is wrong with a Redis.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// It is no address of one.
    #[error("not a Redis: expected redis://HOST:PORT or redis+unix:///PATH")]
    Address,
    /// There is no runtime of tokio's here.
    #[error("a Redis has to be opened on a runtime of tokio")]
    NoRuntime,
    /// It can't be reached, does not answer in time, or is not ready.
    #[error("Redis can't be asked: {0}")]
    Away(String),
    /// It is there, and will not be asked: it wants a password, or another one, or forbids this user what is needed. That does not pass by itself.
    #[error("Redis refuses: {0}")]
    Refused(String),
}

impl RedisError {
    /// A word for logs and metrics: kebab-case, and the same in every version.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Address => "redis-address",
            Self::NoRuntime => "no-runtime",
            Self::Away(_) => "redis-away",
            Self::Refused(_) => "redis-refused",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::RedisConfig;

    #[test]
    fn what_is_not_said_is_as_operators_are_told_and_what_is_said_has_its_bounds() {
        let config = || RedisConfig::parse("redis://db.example").unwrap();
        let (shown, patience) = (format!("{:?}", config()), RedisConfig::PATIENCE.as_millis());
        assert_eq!(patience, 250);
        for part in ["prefix: \"countersign:\"", "patience: 250ms", "chains_per_principal: 64"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        for (said, chains) in [(0, 1), (1, 1), (262_144, 262_144), (usize::MAX, 262_144)] {
            let shown = format!("{:?}", config().with_chains_per_principal(said));
            assert!(shown.contains(&format!("chains_per_principal: {chains},")), "{said}: {shown}");
        }
        let page = include_str!("../../docs/cluster.md");
        for sentence in
            ["**A deadline** of 250 ms", "(`RedisConfig::with_chains_per_principal`, up to 262144, 250 bytes each)"]
        {
            assert!(page.contains(sentence), "docs/cluster.md does not say: {sentence}");
        }
        let page = include_str!("../../docs/operating.md");
        for sentence in ["what all keys begin with (`countersign:`)", "after that it counts as away (`250ms`)"] {
            assert!(page.contains(sentence), "docs/operating.md does not say: {sentence}");
        }
    }

    #[test]
    fn an_address_is_printed_without_its_password_and_a_bad_one_not_at_all() {
        for (address, printed) in [
            ("redis://:hunter22@db.example:6380/3", "redis://db.example:6380/3"),
            ("redis://door:hunter22@[::1]:6380", "redis://door@[::1]:6380"),
            ("redis+unix:///run/redis.sock?pass=hunter22", "redis+unix:///run/redis.sock"),
            (
                "redis+unix:///run/redis.sock?db=2&user=door&pass=hunter22",
                "redis+unix:///run/redis.sock?user=door&db=2",
            ),
        ] {
            let config = RedisConfig::parse(address).unwrap();
            assert!(config.has_password());
            assert_eq!(config.to_string(), printed);
            let again = RedisConfig::parse(printed).unwrap();
            assert_eq!((again.has_password(), again.to_string().as_str()), (false, printed));
            assert!(!format!("{config:?}").contains("hunter22"));
        }
        for bad in ["rediss://:hunter22@h", "redis://:hunter22@h:nonsense", "hunter22", ""] {
            let error = RedisConfig::parse(bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter22"), "{bad}");
        }
    }
}
