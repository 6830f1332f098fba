//! What a server knows of logins at others, so that it need not ask the store of all about each hello of a source that has failed too often
//! here.

use super::sketch::{HALF_LIFE, plus};
use super::store::Standing;
use crate::terms::context::Source;
use crate::time::Moment;
use core::time::Duration;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

/// How many sources are remembered from which somebody has logged in elsewhere, and how many counts of such sources.
const SOURCES: usize = 1 << 12;

/// In each of these, every source that has failed too often here is asked about once, so many of the block around it, and so many in all: a flood from
/// many is no flood of questions, and one from a network of somebody's own leaves room for others.
const WINDOW: Duration = Duration::from_secs(10);
const OF_A_BLOCK: u32 = 8;
const QUESTIONS: usize = 256;

#[derive(Default)]
pub(super) struct Elsewhere {
    random: RandomState,
    /// From where somebody has logged in, and when that was told.
    logins: HashMap<u64, Moment>,
    /// The failures here of sources at accounts that they have logged in to elsewhere.
    failures: HashMap<u64, (f64, Moment)>,
    asked: HashSet<u64>,
    /// How often about one of each block.
    blocks: HashMap<u64, u32>,
    window: Moment,
}

impl Elsewhere {
    /// Whether somebody has logged in from there, as was told lately.
    pub(super) fn has(&self, source: &Source, now: Moment) -> bool {
        let told = self.logins.get(&self.random.hash_one(source));
        told.is_some_and(|told| now.saturating_since(*told) < HALF_LIFE)
    }

    /// Past all there is room for it begins anew: only good logins make entries.
    pub(super) fn note(&mut self, source: &Source, now: Moment) {
        if self.logins.len() >= SOURCES {
            self.logins.clear();
        }
        self.logins.insert(self.random.hash_one(source), now);
    }

    /// The failures of a source at an account that it has logged in to elsewhere: not in the table that strangers add to, or they could have it wait.
    pub(super) fn failures(&self, source: &Source, name: &str, now: Moment) -> Standing {
        let found = self.failures.get(&self.random.hash_one((source, name)));
        found.map(|(level, at)| Standing { level: *level, since: now.saturating_since(*at) }).unwrap_or_default()
    }

    /// Adds to them. Past all there is room for it begins anew: only pairs that have logged in make entries, and those that they did so at have their counts.
    pub(super) fn add_failures(&mut self, source: &Source, name: &str, amount: f64, now: Moment) {
        let level = plus(self.failures(source, name, now).faded(HALF_LIFE), amount);
        if self.failures.len() >= SOURCES {
            self.failures.clear();
        }
        self.failures.insert(self.random.hash_one((source, name)), (level, now));
    }

    /// Whether it may be asked now about a source in this block; then it is.
    pub(super) fn may_ask(&mut self, source: &Source, block: &Source, now: Moment) -> bool {
        if now.saturating_since(self.window) >= WINDOW {
            self.asked.clear();
            self.blocks.clear();
            self.window = now;
        }
        let (source, block) = (self.random.hash_one(source), self.random.hash_one(block));
        let of_block = self.blocks.get(&block).copied().unwrap_or_default();
        let may_ask = of_block < OF_A_BLOCK && self.asked.len() < QUESTIONS && self.asked.insert(source);
        if may_ask {
            self.blocks.insert(block, of_block.saturating_add(1));
        }
        may_ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_that_has_logged_in_elsewhere_has_a_count_of_its_own_that_fades() {
        let mut elsewhere = Elsewhere::default();
        let (home, now) = (Source::named("home"), Moment::ORIGIN);
        (0..3).for_each(|_| elsewhere.add_failures(&home, "alice", 1.0, now));
        let level =
            |elsewhere: &Elsewhere, name| elsewhere.failures(&home, name, now.after(HALF_LIFE)).faded(HALF_LIFE);
        assert!((level(&elsewhere, "alice") - 1.5).abs() < 1e-9 && level(&elsewhere, "bob") < 1e-9);
        elsewhere.add_failures(&home, "alice", f64::MIN, now);
        assert!(level(&elsewhere, "alice") < 1e-9);
        (0..2 * SOURCES).for_each(|name| elsewhere.add_failures(&home, &name.to_string(), 1.0, now));
        assert!(elsewhere.failures.len() <= SOURCES);
        assert!(level(&elsewhere, &(2 * SOURCES - 1).to_string()) > 0.4);
    }

    #[test]
    fn a_flood_is_asked_about_no_more_often_than_is_said_here() {
        let mut elsewhere = Elsewhere::default();
        let at = |secs| Moment::after_origin(Duration::from_secs(secs));
        let source = |number: usize| Source::named(&number.to_string());
        let mut ask = |number, block, secs| elsewhere.may_ask(&source(number), &source(block), at(secs));
        assert_eq!((0..100).filter(|_| ask(0, 10_000, 20)).count(), 1);
        // One after the other from a network of somebody's own: others are asked about.
        assert_eq!((1..1000).filter(|number| ask(*number, 10_000, 20)).count(), 7);
        assert_eq!((0..1000).filter(|number| ask(*number, *number, 29)).count(), QUESTIONS - 8);
        assert!(ask(0, 10_000, 30));
        assert!(!elsewhere.has(&source(1), at(30)));
        (0..2 * SOURCES).for_each(|number| elsewhere.note(&source(number), at(30)));
        assert!(elsewhere.logins.len() <= SOURCES);
        assert!((SOURCES..2 * SOURCES).all(|number| elsewhere.has(&source(number), at(30))));
        assert!(!elsewhere.has(&source(2 * SOURCES - 1), at(30).after(HALF_LIFE)));
    }
}
