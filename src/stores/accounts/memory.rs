//! Accounts in memory, as a store.

use super::account::Account;
use super::imitation::Imitation;
use super::role::Role;
use super::store::{AccountStore, StoreError};
use super::{Accounts, now};
use core::future::{Future, ready};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

impl Accounts {
    /// Those whose names come after `after`, in the order of names: at most `most`.
    pub(super) fn page(&self, after: Option<&str>, most: usize) -> Vec<Account> {
        let mut found: Vec<&Account> =
            self.iter().filter(|account| after.is_none_or(|after| account.name() > after)).collect();
        if found.len() > most {
            // The last of the page in its place, and the smaller ones before it: not all are put in order for each page.
            found.select_nth_unstable_by(most.saturating_sub(1), |one, other| one.name().cmp(other.name()));
            found.truncate(most);
        }
        found.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        found.into_iter().filter_map(|account| self.stored(account.name())).collect()
    }

    /// What `new` becomes in the place of `old`, if that has those fields still.
    fn exchanged(&self, old: &Account, new: &Account) -> Result<Account, StoreError> {
        if !self.get(old.name()).is_some_and(|account| account.is_same(old)) || new.name() != old.name() {
            return Err(StoreError::Conflict);
        }
        Ok(self.changed_to(new.clone())?)
    }

    /// Puts `new` in the place of `old`, if that has those fields still.
    pub(super) fn exchange(&mut self, old: &Account, new: &Account) -> Result<(), StoreError> {
        let new = self.exchanged(old, new)?;
        self.put(new);
        Ok(())
    }

    /// The roles, in the order of their names.
    pub(super) fn sorted_roles(&self) -> Vec<Role> {
        let mut roles: Vec<Role> = self.roles().cloned().collect();
        roles.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        roles
    }

    /// How many accounts have a role.
    pub(super) fn role_users(&self, role: &str) -> u64 {
        let users = self.iter().filter(|account| account.roles().any(|held| held == role)).count();
        u64::try_from(users).unwrap_or(u64::MAX)
    }

    /// Whether a role is as it was read.
    pub(super) fn is_current_role(&self, old: &Role) -> bool {
        self.role(old.name()).is_some_and(|role| role.version() == old.version())
    }

    /// Puts `new` in the place of `old`, if that has those permissions still.
    pub(super) fn exchange_role(&mut self, old: &Role, new: &Role) -> Result<(), StoreError> {
        if !self.role(old.name()).is_some_and(|role| role.is_same(old)) || new.name() != old.name() {
            return Err(StoreError::Conflict);
        }
        Ok(self.put_role(new.clone())?)
    }

    fn update_role(&mut self, old: &Role, new: &Role) -> Result<(), StoreError> {
        if self.is_current_role(old) { self.exchange_role(old, new) } else { Err(StoreError::Conflict) }
    }

    fn update(&mut self, old: &Account, new: &Account) -> Result<Account, StoreError> {
        if self.get(old.name()).is_none_or(|account| account.version() != old.version()) {
            return Err(StoreError::Conflict);
        }
        // What is refused leaves what is remembered as it was.
        let changed = self.exchanged(old, new)?;
        self.answers.replace(old, new, now().now())?;
        self.put(changed);
        self.stored(old.name()).ok_or(StoreError::Conflict)
    }
}

/// As long as the process lives: nothing is written to a disk.
impl AccountStore for RwLock<Accounts> {
    fn find(&self, name: &str) -> impl Future<Output = Result<Option<Account>, StoreError>> + Send {
        ready(Ok(read(self).stored(name)))
    }

    fn find_token(&self, hash: &[u8; 32]) -> impl Future<Output = Result<Option<Account>, StoreError>> + Send {
        let accounts = read(self);
        ready(Ok(accounts.by_token(hash).and_then(|account| accounts.stored(account.name()))))
    }

    fn page(&self, after: Option<&str>, most: usize) -> impl Future<Output = Result<Vec<Account>, StoreError>> + Send {
        ready(Ok(read(self).page(after, most)))
    }

    fn imitation(&self) -> impl Future<Output = Imitation> + Send {
        ready(read(self).imitation())
    }

    fn add(&self, account: &Account) -> impl Future<Output = Result<(), StoreError>> + Send {
        ready(write(self).insert(account).map_err(StoreError::Account))
    }

    fn update(&self, old: &Account, new: &Account) -> impl Future<Output = Result<Account, StoreError>> + Send {
        ready(write(self).update(old, new))
    }

    fn remove(&self, name: &str) -> impl Future<Output = Result<(), StoreError>> + Send {
        ready(write(self).remove(name).map_err(StoreError::Account))
    }

    fn roles(&self) -> impl Future<Output = Result<Vec<Role>, StoreError>> + Send {
        ready(Ok(read(self).sorted_roles()))
    }

    fn role_users(&self, role: &str) -> impl Future<Output = Result<u64, StoreError>> + Send {
        ready(Ok(read(self).role_users(role)))
    }

    fn add_role(&self, role: &Role) -> impl Future<Output = Result<(), StoreError>> + Send {
        ready(write(self).insert_role(role.clone()).map_err(StoreError::Account))
    }

    fn update_role(&self, old: &Role, new: &Role) -> impl Future<Output = Result<(), StoreError>> + Send {
        ready(write(self).update_role(old, new))
    }

    fn remove_role(&self, name: &str) -> impl Future<Output = Result<(), StoreError>> + Send {
        ready(write(self).remove_role(name).map_err(StoreError::Account))
    }
}

fn read(accounts: &RwLock<Accounts>) -> RwLockReadGuard<'_, Accounts> {
    accounts.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(accounts: &RwLock<Accounts>) -> RwLockWriteGuard<'_, Accounts> {
    accounts.write().unwrap_or_else(PoisonError::into_inner)
}
