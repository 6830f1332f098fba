//! What the password of an unknown name costs: as much as a stored one, and always the same.
//!
//! A name costs what the account costs that it belongs to; where parameters are mixed, an unknown name has to look as if it had some
//! of them, too. What gives it away is a cost that changes though nobody has changed the account: when others are added or removed,
//! when passwords of others are upgraded, after a restart, on another server with the same accounts. So what a name imitates depends
//! on the name, on a key that is kept with the accounts, and on a list of costs that grows and does not shrink; and what upgrades end
//! in stands on it before the first of them.

use super::hash::Cost;
use base64ct::{Base64Unpadded, Encoding};
use core::fmt;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::hash::{BuildHasher, RandomState};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use zeroize::Zeroizing;

/// Which cost each unknown name imitates.
pub(super) struct Imitation(RwLock<State>);

#[derive(Clone)]
struct State {
    key: Key,
    /// Whether it is the key of the accounts themselves, rather than of this process.
    is_kept: bool,
    /// With the text of each, which is what it is ranked by: the same in every process and version.
    costs: Vec<(Cost, String)>,
}

type Key = Zeroizing<[u8; 32]>;

/// Most costs that are imitated, each a microsecond of an unknown user's login. Who has more different ones in one table has made
/// them for that.
const MOST: usize = 32;

/// In front of the line that keeps it in a file.
pub(super) const FRONT: &str = "#imitate ";

impl Imitation {
    /// With a key of the caller's, and these costs.
    pub(super) fn new(key: Key, costs: impl IntoIterator<Item = Cost>) -> Self {
        let imitation = Self(RwLock::new(State { key, is_kept: true, costs: Vec::new() }));
        costs.into_iter().for_each(|cost| imitation.learn(cost));
        imitation
    }

    /// From now on, unknown names may cost this, too.
    pub(super) fn learn(&self, cost: Cost) {
        if !self.read().has(&cost) {
            self.write().learn(cost);
        }
    }

    /// What the password of an unknown name costs: of all costs on the list, the one with the highest MAC together with the name
    /// (rendezvous hashing). One that is added changes nothing for the names that don't imitate it then.
    pub(super) fn cost(&self, user: &str) -> Cost {
        let state = self.read();
        let ranked = state.costs.iter().max_by_key(|(_, text)| state.rank(text, user));
        ranked.map_or_else(Cost::default, |(cost, _)| *cost)
    }

    /// Also imitates what another does; with its key, if that is one that is kept.
    pub(super) fn adopt(&self, other: &Self) {
        let other = other.read().clone();
        if other.is_kept {
            let mut state = self.write();
            (state.key, state.is_kept) = (other.key, true);
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
        let costs: Option<Vec<Cost>> = words.map(|word| Cost::of(word).ok()).collect();
        Some(Self::new(key, costs?))
    }

    /// The line that keeps it; none where there is nothing to choose.
    pub(super) fn line(&self) -> Option<Zeroizing<String>> {
        let state = self.read();
        if state.costs.len() < 2 {
            return None;
        }
        let mut line =
            Zeroizing::new(format!("{FRONT}key={}", *Zeroizing::new(Base64Unpadded::encode_string(&*state.key))));
        for (_, text) in &state.costs {
            line.push(' ');
            line.push_str(text);
        }
        Some(line)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has(&self, cost: &Cost) -> bool {
        self.costs.iter().any(|(known, _)| known == cost)
    }

    fn learn(&mut self, cost: Cost) {
        if !self.has(&cost) && self.costs.len() < MOST {
            self.costs.push((cost, cost.example()));
        }
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
        Self(RwLock::new(State { key, is_kept: false, costs: Vec::new() }))
    }
}

impl fmt::Debug for Imitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imitation").finish_non_exhaustive()
    }
}
