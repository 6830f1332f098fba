//! How often what was decided.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};

type Key = (&'static str, &'static str);

/// Counts by event and code. The codes are the library's own words, so there are no more than some dozens of them, whatever peers do.
#[derive(Default)]
pub(super) struct Tally(RwLock<BTreeMap<Key, AtomicU64>>);

impl Tally {
    pub(super) fn add(&self, key: Key) {
        {
            let counts = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = counts.get(&key) {
                count.fetch_add(1, Relaxed);
                return;
            }
        }
        // The first of its kind.
        let mut counts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        counts.entry(key).or_default().fetch_add(1, Relaxed);
    }

    pub(super) fn totals(&self) -> Totals {
        let counts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Totals(counts.iter().map(|(key, count)| (*key, count.load(Relaxed))).collect())
    }
}

/// What an acceptor and its clones have decided since the beginning, by event ([`Event::name`](crate::Event::name)) and code
/// ([`Event::code`](crate::Event::code)). The counts only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals(BTreeMap<Key, u64>);

impl Totals {
    /// Each event and code that has been there, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.0.iter().map(|((event, code), count)| (*event, *code, *count))
    }

    /// How many events of this name there were.
    pub fn of(&self, event: &str) -> u64 {
        self.iter().filter(|(name, ..)| *name == event).fold(0, |sum, (_, _, count)| sum.saturating_add(count))
    }

    /// How many of them had this code.
    pub fn with_code(&self, event: &str, code: &str) -> u64 {
        self.iter().find(|(name, of, _)| *name == event && *of == code).map_or(0, |(_, _, count)| count)
    }
}
