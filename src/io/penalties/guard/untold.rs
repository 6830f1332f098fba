//! What the store of all servers is to be told with whatever comes next: what was counted where nothing can be waited for, and where it costs a
//! stranger nothing to be one more.

use super::super::store::PenaltyKey;
use super::Amounts;
use crate::time::Moment;
use core::time::Duration;
use std::collections::HashMap;

/// So many counts of what costs a stranger nothing; more than these only this server has, while nobody can be told.
const ROOM: usize = 256;

/// So many counts of what costs this server an operation, in another: a hello that was opened in vain is not to be lost among connections that come to nothing.
const FAILURES: usize = 512;

/// So many counts of guesses, in a room of their own: a flood must not be where a guess is lost. No more are looked at than may be wrong, so there are
/// few, unless nobody can be told for long.
const GUESSES: usize = 1024;

/// It is told no more often, however many connections come to nothing.
const EACH: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Untold {
    amounts: HashMap<PenaltyKey, f64>,
    failures: HashMap<PenaltyKey, f64>,
    guesses: HashMap<PenaltyKey, f64>,
    /// When it was told last.
    told: Moment,
}

impl Untold {
    pub(super) fn add(&mut self, amounts: Amounts) {
        let (failures, parts) = amounts.into_iter().partition(|(_, amount)| *amount >= 1.0);
        put(&mut self.failures, FAILURES, failures);
        put(&mut self.amounts, ROOM, parts);
    }

    pub(super) fn add_guess(&mut self, amounts: Amounts) {
        put(&mut self.guesses, GUESSES, amounts);
    }

    /// All of it, the guesses apart.
    pub(super) fn take(&mut self, now: Moment) -> (Amounts, Amounts) {
        self.told = now;
        (self.amounts.drain().chain(self.failures.drain()).collect(), self.guesses.drain().collect())
    }

    pub(super) fn is_due(&self, now: Moment) -> bool {
        !(self.amounts.is_empty() && self.failures.is_empty() && self.guesses.is_empty())
            && now.saturating_since(self.told) >= EACH
    }
}

#[allow(clippy::arithmetic_side_effects, reason = "floating point does not overflow into a panic")]
fn put(into: &mut HashMap<PenaltyKey, f64>, room: usize, amounts: Amounts) {
    for (key, amount) in amounts {
        if into.len() < room || into.contains_key(&key) {
            *into.entry(key).or_default() += amount;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::context::Source;

    #[test]
    fn a_flood_is_told_together_once_a_second_and_there_is_so_much_room_for_it() {
        let (mut untold, part) =
            (Untold::default(), |number: u32| vec![(PenaltyKey::Source(Source::named(&number.to_string())), 0.25)]);
        let at = |millis| Moment::after_origin(Duration::from_millis(millis));
        assert!(!untold.is_due(at(5000)));
        (0..1000).for_each(|_| untold.add(part(0)));
        assert!(untold.is_due(at(5000)));
        let told: Vec<_> = untold.take(at(5000)).0.into_iter().map(|(_, amount)| amount.to_bits()).collect();
        assert_eq!(told, [250.0_f64.to_bits()]);
        (0..1000).for_each(|number| untold.add(part(number)));
        // Nor is what cost this server something lost in it.
        let whole = |number: u32| vec![(PenaltyKey::Source(Source::named(&format!("opened {number}"))), 1.0)];
        (0..10_000).for_each(|number| untold.add(whole(number)));
        // A guess is told whatever there is beside it.
        (0..10_000).for_each(|number| untold.add_guess(part(number)));
        assert!(!untold.is_due(at(5999)) && untold.is_due(at(6000)));
        let (amounts, guesses) = untold.take(at(6000));
        assert_eq!((amounts.len(), guesses.len()), (ROOM + FAILURES, GUESSES));
        assert_eq!(amounts.iter().filter(|(_, amount)| *amount >= 1.0).count(), FAILURES);
        untold.add(whole(0));
        assert!(untold.is_due(at(9000)));
        assert_eq!(untold.take(at(9000)).0.len(), 1);
        assert!(!untold.is_due(at(19_000)));
    }
}
