//! Who has logged in from where: a source that has keeps a way of its own to the account, whatever others do to that.
//!
//! Only a good login makes an entry, so that nobody without an account can push one out; and an account has no more than
//! [`SOURCES`], so that nobody with one or with a few can push out those of others. An account past that loses the one that was used
//! longest ago, and so do all together past [`PAIRS`].

use super::sketch::{HALF_LIFE, plus};
use super::store::Standing;
use crate::terms::context::Source;
use crate::time::Moment;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};

/// Sources that are remembered of one account.
const SOURCES: usize = 64;

/// Pairs of source and account that are remembered: up to 200 bytes each, and less where an account has several.
const PAIRS: usize = 1 << 16;

#[derive(Default)]
pub(super) struct Known {
    random: RandomState,
    accounts: HashMap<u64, Account>,
    /// The accounts by when they were used last.
    by_use: BTreeSet<(u64, u64)>,
    /// From how many of its accounts a source is remembered.
    sources: HashMap<u64, usize>,
    pairs: usize,
    uses: u64,
}

#[derive(Default)]
struct Account {
    used: u64,
    sources: Vec<Pair>,
}

/// A source that has logged in to an account, and its failures there since.
struct Pair {
    source: u64,
    used: u64,
    level: f64,
    at: Moment,
}

impl Known {
    pub(super) fn has(&self, source: &Source, name: &str) -> bool {
        self.pair(source, name).is_some()
    }

    pub(super) fn has_any_from(&self, source: &Source) -> bool {
        self.sources.contains_key(&self.random.hash_one(source))
    }

    /// The failures of a known source; none where it is not known.
    pub(super) fn read(&self, source: &Source, name: &str, now: Moment) -> Option<Standing> {
        let pair = self.pair(source, name)?;
        Some(Standing { level: pair.level, since: now.saturating_since(pair.at) })
    }

    /// Adds to the failures of a known source; false where it is not known.
    pub(super) fn add(&mut self, source: &Source, name: &str, amount: f64, now: Moment) -> bool {
        let Some(standing) = self.read(source, name, now) else { return false };
        let (account, source) = (self.random.hash_one(name), self.random.hash_one(source));
        let pairs = self.accounts.get_mut(&account).map(|account| account.sources.as_mut_slice()).unwrap_or_default();
        for pair in pairs.iter_mut().filter(|pair| pair.source == source) {
            (pair.level, pair.at) = (plus(standing.faded(HALF_LIFE), amount), now);
        }
        true
    }

    /// A good login.
    pub(super) fn note(&mut self, source: &Source, name: &str, now: Moment) {
        self.uses = self.uses.saturating_add(1);
        let (hash, source, used) = (self.random.hash_one(name), self.random.hash_one(source), self.uses);
        let account = self.accounts.entry(hash).or_default();
        self.by_use.remove(&(account.used, hash));
        account.used = used;
        self.by_use.insert((used, hash));
        if let Some(pair) = account.sources.iter_mut().find(|pair| pair.source == source) {
            pair.used = used;
            return;
        }
        // Most have one: a list that grows by itself has room for four from the beginning.
        account.sources.reserve_exact(1);
        account.sources.push(Pair { source, used, level: 0.0, at: now });
        let is_over = account.sources.len() > SOURCES;
        self.pairs = self.pairs.saturating_add(1);
        let count = self.sources.entry(source).or_default();
        *count = count.saturating_add(1);
        if is_over {
            self.forget_one_of(hash);
        }
        if self.pairs > PAIRS
            && let Some(&(_, oldest)) = self.by_use.first()
        {
            self.forget_one_of(oldest);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.sources.is_empty() && self.by_use.is_empty()
    }

    fn pair(&self, source: &Source, name: &str) -> Option<&Pair> {
        let account = self.accounts.get(&self.random.hash_one(name))?;
        let source = self.random.hash_one(source);
        account.sources.iter().find(|pair| pair.source == source)
    }

    /// Forgets the source of this account that was used longest ago.
    fn forget_one_of(&mut self, hash: u64) {
        let Some(account) = self.accounts.get_mut(&hash) else { return };
        let oldest = account.sources.iter().enumerate().min_by_key(|(_, pair)| pair.used).map(|(index, _)| index);
        if let Some(index) = oldest {
            let source = account.sources.swap_remove(index).source;
            self.pairs = self.pairs.saturating_sub(1);
            match self.sources.get_mut(&source) {
                Some(count) if *count > 1 => *count = count.saturating_sub(1),
                _ => drop(self.sources.remove(&source)),
            }
        }
        if account.sources.is_empty() {
            self.by_use.remove(&(account.used, hash));
            self.accounts.remove(&hash);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    /// What it holds on the heap, by the layouts of the standard library's collections: tables that are seven eighths full at most, and
    /// nodes that are half full at least.
    fn bytes(known: &Known) -> usize {
        let table = |room: usize, entry: usize| (room * 8).div_ceil(7).next_power_of_two() * (entry + 1);
        let lists = known.accounts.values().map(|account| account.sources.capacity() * size_of::<Pair>());
        table(known.accounts.capacity(), size_of::<(u64, Account)>())
            + table(known.sources.capacity(), size_of::<(u64, usize)>())
            + known.by_use.len() * 2 * size_of::<(u64, u64)>()
            + lists.sum::<usize>()
    }

    const NOW: Moment = Moment::ORIGIN;

    fn source(number: usize) -> Source {
        Source::named(&number.to_string())
    }

    #[test]
    fn an_account_pushes_out_its_own_sources_alone() {
        let mut known = Known::default();
        known.note(&source(0), "alice", NOW);
        for number in 0..10 * SOURCES {
            known.note(&source(number), "mallory", NOW);
        }
        assert!(known.has(&source(0), "alice") && known.has_any_from(&source(0)));
        assert!(!known.has(&source(0), "mallory") && known.has(&source(10 * SOURCES - 1), "mallory"));
        assert_eq!(known.pairs, SOURCES + 1);
        assert!(!known.has_any_from(&source(1)));
    }

    #[test]
    fn past_all_there_is_room_for_what_was_used_longest_ago_goes() {
        let mut known = Known::default();
        for number in 0..PAIRS {
            known.note(&source(number), &number.to_string(), NOW);
        }
        known.note(&source(0), "0", NOW);
        known.note(&source(0), "one more", NOW);
        assert!(known.has(&source(0), "0") && !known.has(&source(1), "1") && known.has(&source(2), "2"));
        assert_eq!((known.pairs, known.accounts.len(), known.by_use.len()), (PAIRS, PAIRS, PAIRS));
        // As SECURITY.md and `Penalties` have it.
        assert_eq!((SOURCES, PAIRS), (64, 65_536));
        let held = bytes(&known);
        assert!(held < 13 << 20, "{held}");
    }
}
