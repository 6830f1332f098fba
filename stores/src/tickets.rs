//! Keys for tickets in a database, for all servers over it.

use crate::database::Value;
use crate::secret::{FleetSecret, Secret};
use crate::store::SqlStore;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use base64ct::{Base64Unpadded, Encoding};
use core::fmt;
use countersign::accounts::StoreError;
use countersign::{Misuse, TicketKeys, UnixTime, limits};
use rand::rngs::{StdRng, SysRng};
use rand::{SeedableRng, TryRng};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

/// The keys for tickets of all servers over one database: a ticket of one is good at the others.
///
/// They are in one row. Whichever server finds that a key is due makes it, and puts it there if nobody else was first; no server leads, and none
/// is missed. A new key is there for some minutes before anybody seals under it, so a server that looks a little later has it in time. Keys
/// come and go by the database's clock; a server whose own is off by more than a minute takes no tickets (`SharedTicketKeys::with_memory`), and harms nobody. It is told so
/// ([`TicketSharingError::Clock`]), and goes on by itself when its clock is right again.
///
/// What is in the database is encrypted (AES-256-GCM) under the servers' [`FleetSecret`], and stays under the one that it is under until that is retired: whoever steals the database, or a backup, has no ticket key. Whoever can write
/// to it can put an old row back, in which keys are that have ended, or none.
///
/// Used tickets have to be remembered in one place as well ([`TicketKeys::with_shared_memory`]), or each is good once at each server.
///
/// ```no_run
/// use countersign::{ServerConfig, TicketKeys};
/// use countersign_stores::{Place, FleetSecret, SharedTicketKeys, SqlStore};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// # async fn open(private_key: countersign::PrivateKey) -> Result<(), Box<dyn std::error::Error>> {
/// # let provider = countersign::crypto::rustcrypto::provider();
/// let store = SqlStore::open(&Place::parse("postgres://countersign@db.example/accounts")?).await?;
/// let keys = Arc::new(TicketKeys::new(provider, Duration::from_secs(24 * 3600)));
/// let shared = SharedTicketKeys::new(&store, &keys, &FleetSecret::of(&private_key));
/// shared.sync().await?;
/// tokio::spawn(shared.keep(|error| eprintln!("{error}")));
/// let config = ServerConfig::new(provider).with_tickets(keys);
/// # drop(config); Ok(()) }
/// ```
pub struct SharedTicketKeys {
    store: SqlStore,
    keys: Arc<TicketKeys>,
    secret: FleetSecret,
    #[cfg(feature = "redis")]
    memory: Option<crate::RedisStore>,
}

/// How long before its time a new key is there, unless a lifetime is so short that half of it is less.
const LEAD: Duration = Duration::from_secs(300);

/// How often whoever has lost a race looks again.
const TRIES: usize = 8;

impl SharedTicketKeys {
    /// These keys, from now on as they are in the database.
    pub fn new(store: &SqlStore, keys: &Arc<TicketKeys>, secret: &FleetSecret) -> Self {
        Self {
            store: store.clone(),
            keys: Arc::clone(keys),
            secret: secret.clone(),
            #[cfg(feature = "redis")]
            memory: None,
        }
    }

    /// Tells this memory of used tickets whether the server's clock is right: it takes no ticket, and marks nothing about tickets, until [`SharedTicketKeys::sync`]
    /// has found that, and whenever it finds otherwise. A new Redis would keep out the tickets of all servers for as long as the clock is ahead.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn with_memory(mut self, memory: &crate::RedisStore) -> Self {
        memory.hold_tickets(true);
        self.memory = Some(memory.clone());
        self
    }

    /// Looks at the database, makes a key where one is due, and takes over what is there: each time, as somebody may have put something older back.
    ///
    /// # Errors
    /// [`TicketSharingError`]. The keys stay as they are, but with [`TicketSharingError::Clock`]: then they are those of the database.
    pub async fn sync(&self) -> Result<(), TicketSharingError> {
        let lead = lead(self.keys.lifetime());
        for _ in 0..TRIES {
            let (now, row) = self.read().await?;
            let unix = UnixTime::from_secs(u64::try_from(now).unwrap_or_default());
            let is_same = same_time(UnixTime::from_system(SystemTime::now()), unix);
            #[cfg(feature = "redis")]
            if let Some(memory) = &self.memory {
                memory.hold_tickets(is_same.is_err());
            }
            let (version, (under, kept)) = match &row {
                // What nobody can read blocks others for no longer than a key is good for.
                Some(row) => match self.unwrap(&row.wrapped) {
                    Some(kept) => (Some(row.version), kept),
                    None if row.ends <= now => (Some(row.version), (0, Zeroizing::default())),
                    None => return Err(TicketSharingError::Unreadable),
                },
                None => (None, (0, Zeroizing::default())),
            };
            let is_retired = under >= self.secret.live();
            let under = if is_retired { 0 } else { under };
            let mut rng = StdRng::try_from_rng(&mut SysRng).map_err(|_| TicketSharingError::Random)?;
            let Some(fresh) = self.keys.rotate_shared(&kept, unix, lead, &mut rng)? else {
                // Servers that no longer know that secret are to read them as well.
                if let Some(row) = row.filter(|_| is_retired) {
                    self.write(version, row.ends, self.wrap(under, &kept)?).await?;
                }
                self.keys.follow(&kept)?;
                return is_same;
            };
            let ends = now.saturating_add_unsigned(self.keys.lifetime().as_secs().saturating_mul(3));
            if self.write(version, ends, self.wrap(under, fresh.as_slice())?).await? {
                self.keys.follow(fresh.as_slice())?;
                return is_same;
            }
        }
        Err(TicketSharingError::Store(StoreError::Conflict))
    }

    /// Goes on looking, for as long as this is polled: often enough that no key is seen too late. `observer` is told what went wrong. While the database
    /// is away, the keys go on as they are; a lifetime later no more tickets are given.
    pub async fn keep(self, observer: impl Fn(&TicketSharingError) + Send) {
        let every = every(self.keys.lifetime());
        loop {
            tokio::time::sleep(every).await;
            if let Err(error) = self.sync().await {
                observer(&error);
            }
        }
    }

    async fn read(&self) -> Result<(i64, Option<Row>), StoreError> {
        const SELECT: &str = "SELECT version, wrapped, ends FROM ticket_keys WHERE id = 1";
        let read = self.store.read(async {
            let database = self.store.database();
            let clock = if database.is_sqlite() {
                "SELECT unixepoch() AS now"
            } else {
                "SELECT extract(epoch FROM clock_timestamp())::bigint AS now"
            };
            let now = database.read(clock, Vec::new()).await?;
            let now = now.first().ok_or(sqlx::Error::RowNotFound)?.number("now")?;
            let rows = database.read(SELECT, Vec::new()).await?;
            let Some(row) = rows.first() else { return Ok((now, None)) };
            let (version, wrapped, ends) = (row.number("version")?, row.text("wrapped")?, row.number("ends")?);
            Ok((now, Some(Row { version, wrapped, ends })))
        });
        read.await
    }

    /// Whether it was there before anybody else's. Versions are random: one that counts would come back with a row that is made anew, or a database
    /// that fails over.
    async fn write(&self, version: Option<i64>, ends: i64, wrapped: String) -> Result<bool, StoreError> {
        const INSERT: &str = "INSERT INTO ticket_keys (id, version, wrapped, ends) VALUES (1, $1, $2, $3) \
            ON CONFLICT (id) DO NOTHING RETURNING version";
        const UPDATE: &str = "UPDATE ticket_keys SET version = $1, wrapped = $2, ends = $3 WHERE id = 1 AND version = $4 RETURNING version";
        let mut values = vec![crate::store::version()?, Value::Text(wrapped), ends.into()];
        let statement = if version.is_none() { INSERT } else { UPDATE };
        values.extend(version.map(Value::from));
        let written = self.store.write(async {
            let mut work = self.store.database().begin().await?;
            let is_first = !work.run(statement, values).await?.is_empty();
            work.commit().await?;
            Ok(is_first)
        });
        written.await
    }

    /// `Base64(nonce || AES-256-GCM(Derive(secret), nonce, "countersign ticket keys", keys))`
    fn wrap(&self, under: usize, keys: &[u8]) -> Result<String, TicketSharingError> {
        let secret = self.secret.all().get(under).ok_or(TicketSharingError::Unreadable)?;
        let mut nonce = [0; NONCE];
        SysRng.try_fill_bytes(&mut nonce).map_err(|_| TicketSharingError::Random)?;
        let payload = Payload { msg: keys, aad: AAD };
        let sealed = cipher(secret).encrypt(&nonce.into(), payload).map_err(|_| TicketSharingError::Unreadable)?;
        Ok(Base64Unpadded::encode_string(&[&nonce[..], &sealed].concat()))
    }

    /// With the number of the secret that they are under.
    fn unwrap(&self, wrapped: &str) -> Option<(usize, Zeroizing<Vec<u8>>)> {
        let bytes = Base64Unpadded::decode_vec(wrapped).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
        let open = |secret| cipher(secret).decrypt(&(*nonce).into(), Payload { msg: sealed, aad: AAD }).ok();
        let mut opened = self.secret.all().iter().map(open).enumerate();
        opened.find_map(|(under, keys)| Some((under, Zeroizing::new(keys?))))
    }
}

/// How long before its time a new key is there.
fn lead(lifetime: Duration) -> Duration {
    LEAD.min(lifetime.checked_div(2).unwrap_or_default())
}

/// How often it is looked for: so that one look that fails, or three, is no matter.
fn every(lifetime: Duration) -> Duration {
    lead(lifetime).checked_div(5).unwrap_or_default().max(Duration::from_millis(100))
}

/// Whether this server's clock is that of the database, by which keys come and go, but for what is allowed.
fn same_time(own: UnixTime, database: UnixTime) -> Result<(), TicketSharingError> {
    let (own, database) = (own.as_secs(), database.as_secs());
    let seconds = own.abs_diff(database);
    if seconds <= limits::CLOCK_SKEW.as_secs() {
        return Ok(());
    }
    Err(TicketSharingError::Clock { seconds, is_ahead: own > database })
}

fn side(is_ahead: &bool) -> &'static str {
    if *is_ahead { "ahead of" } else { "behind" }
}

const NONCE: usize = 12;
const AAD: &[u8] = b"countersign ticket keys";

fn cipher(secret: &Secret) -> Aes256Gcm {
    let key = Zeroizing::new(secret.derive(&["ticket keys in a database"]));
    Aes256Gcm::new((&*key).into())
}

struct Row {
    version: i64,
    wrapped: String,
    ends: i64,
}

impl fmt::Debug for SharedTicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedTicketKeys").finish_non_exhaustive()
    }
}

/// Why ticket keys could not be shared now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TicketSharingError {
    /// The database is away, or others are in the way again and again.
    #[error("the ticket keys in the database can't be looked at: {0}")]
    Store(#[from] StoreError),
    /// They are encrypted under another secret, or are broken. They are replaced when they have ended; `DELETE FROM ticket_keys` does it now.
    #[error("the ticket keys in the database are encrypted under another secret, or are broken")]
    Unreadable,
    /// The keys are shared, and this server's clock is further off from the database's than [`limits::CLOCK_SKEW`]: one of the two is wrong.
    #[error("this server's clock is {seconds} s {} the database's, by which ticket keys come and go; one of the two is wrong", side(.is_ahead))]
    Clock {
        /// How far.
        seconds: u64,
        /// Whether this server's is the later one.
        is_ahead: bool,
    },
    /// They are none.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The system has no randomness to give.
    #[error("the system has no randomness to give")]
    Random,
}

impl TicketSharingError {
    /// A word for logs and metrics: kebab-case, and the same in every version.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Unreadable => "ticket-keys-unreadable",
            Self::Clock { .. } => "clock-off",
            Self::Misuse(error) => error.code(),
            Self::Random => "no-randomness",
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_looked_for_several_times_before_anybody_seals_under_it_and_each_minute() {
        let seconds = Duration::from_secs;
        for (lifetime, ahead, between) in [(86_400, 300, 60), (600, 300, 60), (100, 50, 10)] {
            assert_eq!((lead(seconds(lifetime)), every(seconds(lifetime))), (seconds(ahead), seconds(between)));
        }
        let page = include_str!("../../docs/cluster.md");
        assert!(page.contains("and goes on with tickets within a minute of its clock being right again"));
    }

    #[test]
    fn a_clock_that_is_off_by_more_than_is_allowed_is_told_and_to_which_side() {
        let (now, most) = (1_795_824_000, limits::CLOCK_SKEW.as_secs());
        let off = |own: u64| same_time(UnixTime::from_secs(own), UnixTime::from_secs(now));
        for own in [now, now - most, now + most] {
            assert!(off(own).is_ok(), "{own}");
        }
        for (own, ahead, side) in
            [(now - most - 1, false, " s behind the database's"), (now + most + 1, true, " s ahead of the database's")]
        {
            let error = off(own);
            assert!(
                matches!(error, Err(TicketSharingError::Clock { seconds, is_ahead }) if seconds == most + 1 && is_ahead == ahead),
                "{error:?}"
            );
            assert!(error.is_err_and(|error| error.to_string().contains(side)), "{side}");
        }
    }
}
