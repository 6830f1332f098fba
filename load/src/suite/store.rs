//! A store of accounts that can go away.

use countersign::accounts::{Account, AccountStore, Imitation, Role, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::time::sleep;

/// How a store does, as this program was told.
#[derive(Clone, Default)]
pub(crate) struct Health(Arc<AtomicU8>);

const WELL: u8 = 0;
const AWAY: u8 = 1;
const SILENT: u8 = 2;

/// When a store that does not answer is given up: as countersign-stores does.
const PATIENCE: Duration = Duration::from_secs(3);

impl Health {
    /// Whether there is such a state.
    pub(crate) fn set(&self, state: &str) -> bool {
        let state = match state {
            "well" => WELL,
            "away" => AWAY,
            "silent" => SILENT,
            _ => return false,
        };
        self.0.store(state, Ordering::Relaxed);
        true
    }

    pub(crate) fn is_well(&self) -> bool {
        self.0.load(Ordering::Relaxed) == WELL
    }

    async fn ask(&self) -> Result<(), StoreError> {
        match self.0.load(Ordering::Relaxed) {
            WELL => return Ok(()),
            SILENT => sleep(PATIENCE).await,
            _ => {}
        }
        Err(StoreError::Away { what: "the store is away, for the sake of the test", source: None })
    }
}

/// The store within, while that does well.
pub(crate) struct Fragile<S>(pub(crate) S, pub(crate) Health);

impl<S: AccountStore> AccountStore for Fragile<S> {
    async fn find(&self, name: &str) -> Result<Option<Account>, StoreError> {
        self.1.ask().await?;
        self.0.find(name).await
    }

    async fn find_token(&self, hash: &[u8; 32]) -> Result<Option<Account>, StoreError> {
        self.1.ask().await?;
        self.0.find_token(hash).await
    }

    async fn page(&self, after: Option<&str>, most: usize) -> Result<Vec<Account>, StoreError> {
        self.1.ask().await?;
        self.0.page(after, most).await
    }

    fn imitation(&self) -> impl Future<Output = Imitation> + Send {
        self.0.imitation()
    }

    async fn add(&self, account: &Account) -> Result<(), StoreError> {
        self.1.ask().await?;
        self.0.add(account).await
    }

    async fn update(&self, old: &Account, new: &Account) -> Result<Account, StoreError> {
        self.1.ask().await?;
        self.0.update(old, new).await
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.1.ask().await?;
        self.0.remove(name).await
    }

    async fn roles(&self) -> Result<Vec<Role>, StoreError> {
        self.1.ask().await?;
        self.0.roles().await
    }

    async fn role_users(&self, role: &str) -> Result<u64, StoreError> {
        self.1.ask().await?;
        self.0.role_users(role).await
    }

    async fn add_role(&self, role: &Role) -> Result<(), StoreError> {
        self.1.ask().await?;
        self.0.add_role(role).await
    }

    async fn update_role(&self, old: &Role, new: &Role) -> Result<(), StoreError> {
        self.1.ask().await?;
        self.0.update_role(old, new).await
    }

    async fn remove_role(&self, name: &str) -> Result<(), StoreError> {
        self.1.ask().await?;
        self.0.remove_role(name).await
    }
}
