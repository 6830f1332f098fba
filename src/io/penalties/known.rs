//! Who has logged in from where: a source that has keeps a way of its own to the account, whatever others do to that.
//!
//! Only a good login makes an entry, so that nobody without an account can push one out; and a principal has no more than
//! [`SOURCES`], so that nobody with one account or with a few can push out those of others, in however many ways its name can be written. One past that loses
//! the one that was used longest ago, and so do all together past [`PAIRS`]. After [`LOGINS`] without a login from there a source is unknown again.

use super::sketch::{HALF_LIFE, plus};
use super::store::Standing;
use crate::terms::context::Source;
use crate::time::Moment;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};

/// Sources that are remembered of one principal, each with the name that was shown there: one more for each other name.
const SOURCES: usize = 64;

/// Pairs of source and name that are remembered: up to 250 bytes each, and less where a principal has several.
const PAIRS: usize = 1 << 16;

#[derive(Default)]
pub(super) struct Known {
    random: RandomState,
    /// By their principals.
    accounts: HashMap<u64, Account>,
    /// The accounts by when they were used last.
    by_use: BTreeSet<(u64, u64)>,
    /// How many pairs have this source.
    sources: HashMap<u64, usize>,
    /// Whose the pairs are of other names than their principals'.
    others: HashMap<u64, u64>,
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
    pairs: Vec<Pair>,
}

/// A source that has logged in under a name, and its failures at that since.
struct Pair {
    name: u64,
    source: u64,
    used: u64,
    at: Moment,
    level: f32,
    /// The second of its last login.
    login: u32,
}

impl Account {
    fn at(&self, name: u64, source: u64) -> Option<usize> {
        self.pairs.iter().position(|pair| pair.name == name && pair.source == source)
    }
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
        let Some((owner, at)) = self.found(source, name) else { return false };
        let pair = self.accounts.get_mut(&owner).and_then(|account| account.pairs.get_mut(at));
        if let Some(pair) = pair {
            #[allow(clippy::cast_possible_truncation, reason = "seven digits are enough of a count")]
            let level = plus(standing.faded(HALF_LIFE), amount) as f32;
            (pair.level, pair.at) = (level, now);
        }
        true
    }

    /// A good login under this name; gives whether it was the first of this principal that is known from there, and nothing had to be forgotten for it. With
    /// an account of one's own and one address more than are remembered, or one more way to write its name, every login would be a first one.
    pub(super) fn note(&mut self, source: &Source, name: &str, principal: &str, now: Moment) -> bool {
        self.uses = self.uses.saturating_add(1);
        let owner = self.random.hash_one(principal);
        self.forget_old(owner, now);
        let before = self.found(source, name);
        let (name, source, used) = (self.random.hash_one(name), self.random.hash_one(source), self.uses);
        let is_anothers = before.filter(|(before, _)| *before != owner);
        if let Some((before, at)) = is_anothers {
            self.forget(before, at);
        }
        let account = self.accounts.entry(owner).or_default();
        self.by_use.remove(&(account.used, owner));
        account.used = used;
        self.by_use.insert((used, owner));
        if let Some(pair) = account.at(name, source).and_then(|at| account.pairs.get_mut(at)) {
            (pair.used, pair.login) = (used, seconds(now));
            return false;
        }
        let is_first = is_anothers.is_none() && !account.pairs.iter().any(|pair| pair.source == source);
        // Most have one: a list that grows by itself has room for four from the beginning.
        account.pairs.reserve_exact(1);
        account.pairs.push(Pair { name, source, used, at: now, level: 0.0, login: seconds(now) });
        let is_over = account.pairs.len() > SOURCES;
        self.pairs = self.pairs.saturating_add(1);
        let count = self.sources.entry(source).or_default();
        *count = count.saturating_add(1);
        if name != owner {
            self.others.insert(self.random.hash_one((name, source)), owner);
        }
        if is_over {
            self.forget_one_of(owner);
        }
        let is_full = self.pairs > PAIRS;
        if is_full && let Some(&(_, oldest)) = self.by_use.first() {
            self.forget_one_of(oldest);
        }
        is_first && !is_over && !is_full
    }

    /// Whether a login of this principal takes a failure off its source: once in a half-life, or whoever has one would have as many guesses as
    /// they have addresses to log in from.
    pub(super) fn take_credit(&mut self, principal: &str, now: Moment) -> bool {
        let Some(account) = self.accounts.get_mut(&self.random.hash_one(principal)) else { return false };
        let next = seconds(now).saturating_add(1);
        let is_due = account.credited == 0 || u64::from(next.saturating_sub(account.credited)) >= HALF_LIFE.as_secs();
        if is_due {
            account.credited = next;
        }
        is_due
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.sources.is_empty() && self.by_use.is_empty() && self.others.is_empty()
    }

    fn pair(&self, source: &Source, name: &str, now: Moment) -> Option<&Pair> {
        let (owner, at) = self.found(source, name)?;
        self.accounts.get(&owner)?.pairs.get(at).filter(|pair| !pair.is_old(now))
    }

    /// Whose it is, and which one there.
    fn found(&self, source: &Source, name: &str) -> Option<(u64, usize)> {
        let (name, source) = (self.random.hash_one(name), self.random.hash_one(source));
        let at = |owner: u64| Some((owner, self.accounts.get(&owner)?.at(name, source)?));
        // Most are called as their principals.
        at(name).or_else(|| at(*self.others.get(&self.random.hash_one((name, source)))?))
    }

    /// Forgets what is old of this account, and of accounts that nobody has used for as long.
    fn forget_old(&mut self, hash: u64, now: Moment) {
        let is_old = |known: &Self, hash| {
            let pairs = known.accounts.get(&hash).map(|account| account.pairs.as_slice()).unwrap_or_default();
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

    /// Forgets the pair of this account that was used longest ago.
    fn forget_one_of(&mut self, hash: u64) {
        let pairs = self.accounts.get(&hash).map(|account| account.pairs.as_slice()).unwrap_or_default();
        let oldest = pairs.iter().enumerate().min_by_key(|(_, pair)| pair.used).map(|(index, _)| index);
        if let Some(index) = oldest {
            self.forget(hash, index);
        }
    }

    /// Forgets this pair of this account, which has it.
    fn forget(&mut self, hash: u64, index: usize) {
        let Some(account) = self.accounts.get_mut(&hash) else { return };
        let Pair { name, source, .. } = account.pairs.swap_remove(index);
        if account.pairs.is_empty() {
            self.by_use.remove(&(account.used, hash));
            self.accounts.remove(&hash);
        }
        self.pairs = self.pairs.saturating_sub(1);
        match self.sources.get_mut(&source) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            _ => drop(self.sources.remove(&source)),
        }
        if name != hash {
            self.others.remove(&self.random.hash_one((name, source)));
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
        let lists = known.accounts.values().map(|account| account.pairs.capacity() * size_of::<Pair>());
        table(known.accounts.capacity(), size_of::<(u64, Account)>())
            + table(known.sources.capacity(), size_of::<(u64, usize)>())
            + table(known.others.capacity(), size_of::<(u64, u64)>())
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
        known.note(&source(0), "alice", "alice", NOW);
        for number in 0..10 * SOURCES {
            known.note(&source(number), "mallory", "mallory", NOW);
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
            known.note(&source(number), &number.to_string(), &format!("principal {number}"), NOW);
        }
        known.note(&source(0), "0", "principal 0", NOW);
        known.note(&source(0), "one more", "one more", NOW);
        assert!(known.has(&source(0), "0", NOW) && !known.has(&source(1), "1", NOW) && known.has(&source(2), "2", NOW));
        assert_eq!((known.pairs, known.accounts.len(), known.by_use.len()), (PAIRS, PAIRS, PAIRS));
        assert_eq!(known.others.len(), PAIRS - 1);
        // As SECURITY.md and `Penalties` have it.
        assert_eq!((SOURCES, PAIRS), (64, 65_536));
        let held = bytes(&known);
        assert!(held < 16 << 20, "{held}");
    }

    #[test]
    fn a_login_for_which_another_is_forgotten_is_no_first_one_and_an_account_takes_one_failure_off_in_a_half_life() {
        let mut known = Known::default();
        let firsts = (0..10 * SOURCES).filter(|number| known.note(&source(*number), "mallory", "mallory", NOW)).count();
        assert_eq!(firsts, SOURCES);
        assert!(!known.note(&source(0), "mallory", "mallory", NOW) && !known.take_credit("nobody", NOW));
        assert!(known.take_credit("mallory", NOW) && !known.take_credit("mallory", NOW));
        assert!(!known.take_credit("mallory", NOW.after(HALF_LIFE.saturating_sub(Duration::from_secs(1)))));
        assert!(known.take_credit("mallory", NOW.after(HALF_LIFE)));
    }

    /// As directories have it, and whoever has one account there.
    #[test]
    fn however_a_name_is_written_its_principal_has_as_many_sources_and_one_credit() {
        let mut known = Known::default();
        known.note(&source(0), "alice", "alice", NOW);
        let firsts = (0..PAIRS / 8).filter(|way| known.note(&source(way % 3), &format!("m {way}"), "mallory", NOW));
        assert_eq!(firsts.count(), 3);
        assert!(known.take_credit("mallory", NOW) && !known.take_credit("mallory", NOW));
        assert_eq!((known.pairs, known.others.len()), (SOURCES + 1, SOURCES));
        assert!(known.has(&source(0), "alice", NOW) && !known.has(&source(0), "mallory", NOW));
        let latest = PAIRS / 8 - 1;
        assert!(known.has(&source(latest % 3), &format!("m {latest}"), NOW));
        // Each has a count of its own.
        assert!(known.add(&source(latest % 3), &format!("m {latest}"), 3.0, NOW));
        assert!(!known.add(&source(latest % 3), "mallory", 3.0, NOW));
        let level = |way: usize| known.read(&source(way % 3), &format!("m {way}"), NOW).map(|standing| standing.level);
        assert_eq!((level(latest), level(latest - 3)), (Some(3.0), Some(0.0)));
    }

    /// As a verifier has it that goes by the server's name as well.
    #[test]
    fn a_pair_is_the_principal_s_who_logged_in_last_and_then_no_first_one() {
        let mut known = Known::default();
        assert!(known.note(&source(1), "admin", "a/admin", NOW));
        for principal in ["b/admin", "admin", "a/admin"] {
            assert!(!known.note(&source(1), "admin", principal, NOW));
            assert!(known.has(&source(1), "admin", NOW) && known.has_any_from(&source(1)));
            assert_eq!((known.pairs, known.accounts.len(), known.by_use.len()), (1, 1, 1));
        }
        assert_eq!(known.others.len(), 1);
    }

    #[test]
    fn a_source_from_which_nobody_logs_in_any_more_is_forgotten_whatever_comes_from_others() {
        let mut known = Known::default();
        let day = |day: u64| NOW.after(Duration::from_secs(day * 24 * 3600));
        known.note(&source(1), "alice", "alice", NOW);
        known.note(&source(2), "bob", "bob", NOW);
        for number in 0..=20 {
            known.note(&source(3), "alice", "alice", day(number * 10));
        }
        assert!(known.has(&source(1), "alice", day(200)) && known.has_any_from(&source(2)));
        known.note(&source(3), "alice", "alice", day(201));
        assert!(!known.has(&source(1), "alice", day(201)) && known.has(&source(3), "alice", day(401)));
        assert_eq!((known.has_any_from(&source(1)), known.has_any_from(&source(2)), known.pairs), (false, false, 1));
    }
}
