//! What the password of an unknown name costs: as much as a stored one, and always the same.
//!
//! A name costs what the account costs that it belongs to; where parameters are mixed, an unknown name has to look as if it had some
//! of them, too. What gives it away is a cost that changes though nobody has changed the account: when others are added or removed,
//! when passwords of others are upgraded, after a restart, on another server with the same accounts. So what a name imitates depends
//! on the name, on a key that is kept with the accounts, and on a list of costs that grows and does not shrink; and what upgrades end
//! in stands on it before the first of them.

use super::hash::{self, Cost};
use crate::terms::error::Reason;
use base64ct::{Base64Unpadded, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock};
use zeroize::Zeroizing;

/// What the checks of unknown users' passwords imitate: the parameters of stored ones. A name always imitates the same: which one is
/// decided by a secret key. One that is added changes nothing but the names that imitate it from then on.
#[derive(Clone)]
pub struct Imitation {
    key: Key,
    /// Whether it is the key of the accounts themselves, rather than of this process.
    is_kept: bool,
    /// With the text of each, which is what it is ranked by: the same in every process and version.
    costs: Vec<(Cost, Arc<str>)>,
    /// What is imitated where the list is empty.
    fallback: Imitated,
}

/// A hash that no password is known for: what stands in the place of an unknown user's. It is made beforehand, so that a check against it is
/// a check against a stored one from the first instruction.
#[derive(Clone)]
pub(super) struct Imitated(Arc<str>);

impl Imitated {
    /// As it would be stored.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The work of a check.
    pub(super) fn spend(&self, password: &[u8]) -> Result<(), Reason> {
        hash::matches(&self.0, password).map(drop)
    }
}

/// What is imitated in this process: all that was seen so far.
#[derive(Default)]
pub(super) struct Learned(RwLock<Imitation>);

type Key = Zeroizing<[u8; 32]>;

/// In front of the line that keeps it in a file.
pub(super) const FRONT: &str = "#imitate ";

impl Learned {
    /// As it is now.
    pub(super) fn now(&self) -> Imitation {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on, unknown names may cost this, too.
    pub(super) fn learn(&self, cost: Cost) {
        if !self.0.read().unwrap_or_else(PoisonError::into_inner).has(&cost) {
            self.0.write().unwrap_or_else(PoisonError::into_inner).learn(cost);
        }
    }

    /// As [`Imitation::adopt`].
    pub(super) fn adopt(&self, other: &Imitation) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).adopt(other);
    }
}

impl Imitation {
    /// Imitates these costs, one for each [`Account::password_cost`](super::Account::password_cost) that there is or was; the default cost, if
    /// there is none. What can't be read is left out, and what comes after [`Imitation::MOST`] different ones.
    ///
    /// The key of 32 random bytes must stay the same, and be as secret as the accounts: all servers over a store share it, or a name whose
    /// check costs something else at each of them would be known to be unknown. Keep the list with it, let it grow and not shrink, and
    /// begin it with [`Imitation::default_cost`]: each change of it changes the cost of some unknown names at once.
    pub fn new<H: AsRef<str>>(key: [u8; 32], costs: impl IntoIterator<Item = H>) -> Self {
        let mut imitation = Self { key: Zeroizing::new(key), is_kept: true, ..Self::default() };
        costs.into_iter().filter_map(|hash| Cost::of(hash.as_ref()).ok()).for_each(|cost| imitation.learn(cost));
        imitation
    }

    /// Most costs that are imitated, each a microsecond of an unknown user's login. Who has more different ones in one store has made them
    /// for that.
    pub const MOST: usize = 32;

    /// What new passwords cost, and upgrades end in, as [`Account::password_cost`](super::Account::password_cost) has it.
    pub fn default_cost() -> String {
        Cost::default().example()
    }

    /// What the password of this name costs where no account has it, as [`Account::password_cost`](super::Account::password_cost) has it. For
    /// tests of a store of one's own: it stays the same, whoever is added and removed.
    pub fn cost_of(&self, user: &str) -> String {
        self.of(user).as_str().to_owned()
    }

    /// What the password of an unknown name costs: of all costs on the list, the one with the highest MAC together with the name
    /// (rendezvous hashing).
    pub(super) fn of(&self, user: &str) -> Imitated {
        let ranked = self.costs.iter().max_by_key(|(_, text)| self.rank(text, user));
        ranked.map_or_else(|| self.fallback.clone(), |(_, text)| Imitated(Arc::clone(text)))
    }

    /// Also imitates this.
    pub(super) fn learn(&mut self, cost: Cost) {
        if !self.has(&cost) && self.costs.len() < Self::MOST {
            self.costs.push((cost, cost.example().into()));
        }
    }

    fn has(&self, cost: &Cost) -> bool {
        self.costs.iter().any(|(known, _)| known == cost)
    }

    /// Also imitates what another does; with its key, if that is one that is kept.
    pub(super) fn adopt(&mut self, other: &Self) {
        if other.is_kept {
            (self.key, self.is_kept) = (other.key.clone(), true);
        }
        other.costs.iter().for_each(|(cost, _)| self.learn(*cost));
    }

    /// Reads the line that keeps it, behind [`FRONT`].
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let mut key = Key::default();
        let decoded = Base64Unpadded::decode(words.next()?.strip_prefix("key=")?, &mut *key).ok()?;
        if decoded.len() != 32 {
            return None;
        }
        let mut imitation = Self { key, is_kept: true, ..Self::default() };
        words.try_for_each(|word| Cost::of(word).ok().map(|cost| imitation.learn(cost)))?;
        Some(imitation)
    }

    /// The line that keeps it; none where there is nothing to choose.
    pub(super) fn line(&self) -> Option<Zeroizing<String>> {
        if self.costs.len() < 2 {
            return None;
        }
        let key = Zeroizing::new(Base64Unpadded::encode_string(&*self.key));
        let words = self.costs.iter().flat_map(|(_, text)| [" ", text]);
        let parts: Vec<&str> = [FRONT, "key=", key.as_str()].into_iter().chain(words).collect();
        // At once: what grows leaves the key behind.
        Some(Zeroizing::new(parts.concat()))
    }

    /// `HMAC-SHA256(key, length of text || text || user)`
    fn rank(&self, text: &str, user: &str) -> [u8; 32] {
        // Of any length: there is no error to come.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&*self.key) else { return [0; 32] };
        mac.update(&text.len().to_be_bytes());
        mac.update(text.as_bytes());
        mac.update(user.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// With a key of this process's.
impl Default for Imitation {
    fn default() -> Self {
        let mut key = Key::default();
        for (index, bytes) in key.chunks_exact_mut(8).enumerate() {
            // Keyed at random by the standard library, and without an error.
            bytes.copy_from_slice(&RandomState::new().hash_one(index).to_be_bytes());
        }
        let fallback = Imitated(Cost::default().example().into());
        Self { key, is_kept: false, costs: Vec::new(), fallback }
    }
}

crate::opaque_debug!(Imitation);
