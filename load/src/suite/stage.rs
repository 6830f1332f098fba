//! What a scenario acts on: the server, what attackers know of it, and when it can't be reached.

use crate::suite::Failure;
use crate::suite::attacker::Attacker;
use crate::suite::crowd::{CLIENTS, PASSWORD, user};
use crate::suite::pace::Pace;
use crate::suite::serve::Store;
use crate::suite::server::{Plan, Recipe, Server};
use countersign::accounts::{Account, AccountError, AccountStore, HashParameters, TotpSecret};
use countersign::{Accounts, AuthorizedKey, SigningKey};
use countersign_stores::{Place, SqlStore};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// An account of somebody who means no good.
pub(crate) const MALLORY: &str = "mallory";

/// One of somebody who means no better, and has a key, and an authenticator that is asked for its code.
pub(crate) const TRUDY: &str = "trudy";

pub(crate) struct Stage {
    pub(crate) recipe: Recipe,
    pub(crate) server: tokio::sync::Mutex<Server>,
    pub(crate) attacker: Attacker,
    pub(crate) pace: Pace,
    /// Times in which nobody can be let in.
    outages: Mutex<Vec<(Instant, Instant)>>,
    _folder: TempDir,
}

/// KiB of memory for a hash that is less than is usual today.
const WEAK: u32 = 8192;

/// Who had come so long before an outage may have been on the way when it began: four round trips, and what is computed.
const ON_THE_WAY: Duration = Duration::from_millis(600);

/// The accounts of everybody: made once, since their hashes take a while.
pub(crate) struct People {
    strong: Accounts,
    weak: Accounts,
    pub(crate) token: String,
    pub(crate) key: SigningKey,
    pub(crate) pace: Pace,
}

impl People {
    pub(crate) fn new() -> Result<Self, Failure> {
        let (mut token, key, start) = (String::new(), SigningKey::from_ed25519(&[7; 32])?, Instant::now());
        let weak = HashParameters::new(WEAK, 1, 1)?;
        let mut hash = Duration::ZERO;
        let [strong, weak] = [HashParameters::default(), weak].map(|parameters| -> Result<Accounts, AccountError> {
            let mut accounts = Accounts::new();
            for name in (0..CLIENTS).map(user).chain([MALLORY.to_owned()]) {
                accounts.add(&name, ["read"])?;
                accounts.edit(&name, |account| account.set_password_with(PASSWORD, parameters))?;
            }
            accounts.add(TRUDY, ["read"])?;
            accounts.edit(TRUDY, |account| {
                account.add_key(&AuthorizedKey::new(key.public_key().clone(), ""))?;
                account.set_totp(&TotpSecret::generate()?);
                Ok(())
            })?;
            if token.is_empty() {
                token = accounts.edit(MALLORY, Account::issue_token)?.as_str().to_owned();
                hash = start.elapsed() / (CLIENTS + 1);
            }
            Ok(accounts)
        });
        Ok(Self { strong: strong?, weak: weak?, token, key, pace: Pace(hash) })
    }
}

impl Stage {
    pub(crate) async fn set_up(plan: Plan, people: &People, without_limits: bool) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("countersign-load-").tempdir()?;
        let accounts = if plan.is_weak { &people.weak } else { &people.strong };
        let path = folder.path().join("accounts");
        if plan.store == Store::Sqlite {
            let place = Place::sqlite(&path);
            place.migrate().await?;
            let store = SqlStore::open(&place).await?;
            store.add_all(&accounts.iter().cloned().collect::<Vec<_>>()).await?;
            store.close().await;
        } else {
            countersign::files::write_secret(&path, accounts.to_bytes().as_slice())?;
        }
        let recipe = Recipe { plan, accounts: path, clock: folder.path().join("clock"), without_limits };
        std::fs::write(&recipe.clock, "+0")?;
        let server = Server::start(&recipe, None).await?;
        let attacker = Attacker::new(server.address, people.token.clone(), &people.key)?;
        let (server, outages) = (tokio::sync::Mutex::new(server), Mutex::default());
        Ok(Self { recipe, server, attacker, pace: people.pace, outages, _folder: folder })
    }

    /// Nobody could be let in since then, nor can for this long from now on.
    pub(crate) fn note_outage(&self, since: Instant, grace: Duration) {
        self.outages.lock().unwrap_or_else(PoisonError::into_inner).push((since - ON_THE_WAY, Instant::now() + grace));
    }

    pub(crate) fn outages(&self) -> Vec<(Instant, Instant)> {
        self.outages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the good clients' hashes are as they were at the beginning, at a server where they were weak.
    pub(crate) async fn has_weak_hashes(&self) -> Result<bool, Failure> {
        let path = &self.recipe.accounts;
        let account = match self.recipe.plan.store {
            Store::Sqlite => SqlStore::open(&Place::sqlite(path)).await?.find(&user(0)).await?,
            Store::File | Store::Memory => Accounts::parse(std::fs::read(path)?).0.get(&user(0)).cloned(),
        };
        let cost = account.and_then(|account| account.password_cost()).unwrap_or_default();
        Ok(cost.contains(&format!("m={WEAK}")))
    }

    /// Has the server do something.
    pub(crate) async fn tell(&self, line: &str) -> Result<(), Failure> {
        self.server.lock().await.tell(line).await?;
        self.attacker.note(0);
        Ok(())
    }
}
