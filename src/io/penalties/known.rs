//! Who has logged in from where: a source that has keeps a way of its own to the account, whatever others do to that.
//!
//! Only a good login makes an entry, so that nobody without an account can push one out; and an account has no more than
//! [`SOURCES`], so that nobody with one or with a few can push out those of others. An account past that loses the one that was used
//! longest ago, and so do all together past [`PAIRS`]. After [`LOGINS`] without a login from there a source is unknown again.

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

/// How long it is remembered where somebody has logged in from: until a count that is halved each 30 days is a hundredth.
const LOGINS: u32 = 200 * 24 * 3600;

#[derive(Default)]
struct Account {
    used: u64,
    /// The second after that at which it last took a failure off a source; 0 where it has not.
    credited: u32,
    sources: Vec<Pair>,
}

/// A source that has logged in to an account, and its failures there since.
struct Pair {
    source: u64,
    used: u64,
    at: Moment,
    level: f32,
    /// The second of its last login.
    login: u32,
}

impl Pair {
    fn is_old(&self, now: Moment) -> bool {
        seconds(now).saturating_sub(self.login) > LOGINS
    }
}

fn seconds(now: Moment) -> u32 {
    u32::try_from(now.saturating_since(Moment::ORIGIN).as_secs()).unwrap_or(u32::MAX)
}

impl Known {
    pub(super) fn has(&self, source: &Source, name: &str, now: Moment) -> bool {
        self.pair(source, name, now).is_some()
    }

    pub(super) fn has_any_from(&self, source: &Source) -> bool {
        self.sources.contains_key(&self.random.hash_one(source))
    }

    /// The failures of a known source; none where it is not known.
    pub(super) fn read(&self, source: &Source, name: &str, now: Moment) -> Option<Standing> {
        let pair = self.pair(source, name, now)?;
        Some(Standing { level: pair.level.into(), since: now.saturating_since(pair.at) })
    }

    /// Adds to the failures of a known source; false where it is not known.
    pub(super) fn add(&mut self, source: &Source, name: &str, amount: f64, now: Moment) -> bool {
        let Some(standing) = self.read(source, name, now) else { return false };
        let (account, source) = (self.random.hash_one(name), self.random.hash_one(source));
        let pairs = self.accounts.get_mut(&account).map(|account| account.sources.as_mut_slice()).unwrap_or_default();
        for pair in pairs.iter_mut().filter(|pair| pair.source == source) {
            #[allow(clippy::cast_possible_truncation, reason = "seven digits are enough of a count")]
            let level = plus(standing.faded(HALF_LIFE), amount) as f32;
            (pair.level, pair.at) = (level, now);
        }
        true
    }

    /// A good login; gives whether it was the first that is known from there, and nothing had to be forgotten for it. With an account of one's own
    /// and one address more than are remembered, every login would be a first one.
    pub(super) fn note(&mut self, source: &Source, name: &str, now: Moment) -> bool {
        self.uses = self.uses.saturating_add(1);
        let (hash, source, used) = (self.random.hash_one(name), self.random.hash_one(source), self.uses);
        self.forget_old(hash, now);
        let account = self.accounts.entry(hash).or_default();
        self.by_use.remove(&(account.used, hash));
        account.used = used;
        self.by_use.insert((used, hash));
        if let Some(pair) = account.sources.iter_mut().find(|pair| pair.source == source) {
            (pair.used, pair.login) = (used, seconds(now));
            return false;
        }
        // Most have one: a list that grows by itself has room for four from the beginning.
        account.sources.reserve_exact(1);
        account.sources.push(Pair { source, used, at: now, level: 0.0, login: seconds(now) });
        let is_over = account.sources.len() > SOURCES;
        self.pairs = self.pairs.saturating_add(1);
        let count = self.sources.entry(source).or_default();
        *count = count.saturating_add(1);
        if is_over {
            self.forget_one_of(hash);
        }
        let is_full = self.pairs > PAIRS;
        if is_full && let Some(&(_, oldest)) = self.by_use.first() {
            self.forget_one_of(oldest);
        }
        !is_over && !is_full
    }

    /// Whether a login to this account takes a failure off its source: once in a half-life, or whoever has one would have as many guesses as
    /// they have addresses to log in from.
    pub(super) fn take_credit(&mut self, name: &str, now: Moment) -> bool {
        let Some(account) = self.accounts.get_mut(&self.random.hash_one(name)) else { return false };
        let next = seconds(now).saturating_add(1);
        let is_due = account.credited == 0 || u64::from(next.saturating_sub(account.credited)) >= HALF_LIFE.as_secs();
        if is_due {
            account.credited = next;
        }
        is_due
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.sources.is_empty() && self.by_use.is_empty()
    }

    fn pair(&self, source: &Source, name: &str, now: Moment) -> Option<&Pair> {
        let account = self.accounts.get(&self.random.hash_one(name))?;
        let source = self.random.hash_one(source);
        account.sources.iter().find(|pair| pair.source == source && !pair.is_old(now))
    }

    /// Forgets what is old of this account, and of accounts that nobody has used for as long.
    fn forget_old(&mut self, hash: u64, now: Moment) {
        let is_old = |known: &Self, hash| {
            let pairs = known.accounts.get(&hash).map(|account| account.sources.as_slice()).unwrap_or_default();
            pairs.iter().min_by_key(|pair| pair.used).is_some_and(|pair| pair.is_old(now))
        };
        while is_old(self, hash) {
            self.forget_one_of(hash);
        }
        while let Some(&(_, oldest)) = self.by_use.first()
            && is_old(self, oldest)
        {
            self.forget_one_of(oldest);
        }
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
    use core::time::Duration;

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
        assert!(known.has(&source(0), "alice", NOW) && known.has_any_from(&source(0)));
        assert!(!known.has(&source(0), "mallory", NOW) && known.has(&source(10 * SOURCES - 1), "mallory", NOW));
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
        assert!(known.has(&source(0), "0", NOW) && !known.has(&source(1), "1", NOW) && known.has(&source(2), "2", NOW));
        assert_eq!((known.pairs, known.accounts.len(), known.by_use.len()), (PAIRS, PAIRS, PAIRS));
        // As SECURITY.md and `Penalties` have it.
        assert_eq!((SOURCES, PAIRS), (64, 65_536));
        let held = bytes(&known);
        assert!(held < 13 << 20, "{held}");
    }

    #[test]
    fn a_login_for_which_another_is_forgotten_is_no_first_one_and_an_account_takes_one_failure_off_in_a_half_life() {
        let mut known = Known::default();
        let firsts = (0..10 * SOURCES).filter(|number| known.note(&source(*number), "mallory", NOW)).count();
        assert_eq!(firsts, SOURCES);
        assert!(!known.note(&source(0), "mallory", NOW) && !known.take_credit("nobody", NOW));
        assert!(known.take_credit("mallory", NOW) && !known.take_credit("mallory", NOW));
        assert!(!known.take_credit("mallory", NOW.after(HALF_LIFE.saturating_sub(Duration::from_secs(1)))));
        assert!(known.take_credit("mallory", NOW.after(HALF_LIFE)));
    }

    #[test]
    fn a_source_from_which_nobody_logs_in_any_more_is_forgotten_whatever_comes_from_others() {
        let mut known = Known::default();
        let day = |day: u64| NOW.after(Duration::from_secs(day * 24 * 3600));
        known.note(&source(1), "alice", NOW);
        known.note(&source(2), "bob", NOW);
        for number in 0..=20 {
            known.note(&source(3), "alice", day(number * 10));
        }
        assert!(known.has(&source(1), "alice", day(200)) && known.has_any_from(&source(2)));
        known.note(&source(3), "alice", day(201));
        assert!(!known.has(&source(1), "alice", day(201)) && known.has(&source(3), "alice", day(401)));
        assert_eq!((known.has_any_from(&source(1)), known.has_any_from(&source(2)), known.pairs), (false, false, 1));
    }
}
