//! What the store of all servers is to be told with whatever comes next: what was counted where nothing can be waited for, and where it costs a
//! stranger nothing to be one more.

use super::super::store::PenaltyKey;
use super::Amounts;
use crate::time::Moment;
use core::time::Duration;
use std::collections::HashMap;

/// So many counts; more than these only this server has, while nobody can be told.
const ROOM: usize = 256;

/// It is told no more often, however many connections come to nothing.
const EACH: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Untold {
    amounts: HashMap<PenaltyKey, f64>,
    /// When it was told last.
    told: Moment,
}

impl Untold {
    #[allow(clippy::arithmetic_side_effects, reason = "floating point does not overflow into a panic")]
    pub(super) fn add(&mut self, amounts: Amounts) {
        for (key, amount) in amounts {
            if self.amounts.len() < ROOM || self.amounts.contains_key(&key) {
                *self.amounts.entry(key).or_default() += amount;
            }
        }
    }

    pub(super) fn take(&mut self, now: Moment) -> impl Iterator<Item = (PenaltyKey, f64)> {
        self.told = now;
        self.amounts.drain()
    }

    pub(super) fn is_due(&self, now: Moment) -> bool {
        !self.amounts.is_empty() && now.saturating_since(self.told) >= EACH
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
        let told: Vec<_> = untold.take(at(5000)).map(|(_, amount)| amount.to_bits()).collect();
        assert_eq!(told, [250.0_f64.to_bits()]);
        (0..1000).for_each(|number| untold.add(part(number)));
        assert!(!untold.is_due(at(5999)) && untold.is_due(at(6000)));
        assert_eq!(untold.take(at(6000)).count(), ROOM);
    }
}
