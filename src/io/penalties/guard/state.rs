//! All that a server has counted.

use super::super::elsewhere::Elsewhere;
use super::super::known::Known;
use super::super::sketch::{Sketch, plus};
use super::super::store::{PenaltyKey, Standing};
use super::super::tried::Tried;
use super::reservation::InFlight;
use super::untold::Untold;
use crate::time::Moment;
use core::time::Duration;

pub(super) struct State {
    pub(super) sketch: Sketch,
    /// Of what is exempt, in a table of its own: strangers elsewhere add nothing to it. Where nothing is exempt there is none.
    exempt: Option<Sketch>,
    pub(super) known: Known,
    pub(super) tried: Tried,
    pub(super) total: (f64, Moment),
    pub(super) in_flight: InFlight,
    pub(super) elsewhere: Elsewhere,
    pub(super) untold: Untold,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            sketch: Sketch::new(),
            exempt: None,
            known: Known::default(),
            tried: Tried::new(),
            total: (0.0, Moment::ORIGIN),
            in_flight: InFlight::default(),
            elsewhere: Elsewhere::default(),
            untold: Untold::default(),
        }
    }

    pub(super) fn read(&self, key: &PenaltyKey, now: Moment) -> Standing {
        let is_there = |is_there| Standing { level: if is_there { 1.0 } else { 0.0 }, since: Duration::ZERO };
        match key {
            PenaltyKey::Source(_) | PenaltyKey::Block(_) | PenaltyKey::Account(_) => self.sketch.read(key, now),
            PenaltyKey::ExemptSource(..) => {
                self.exempt.as_ref().map(|sketch| sketch.read(key, now)).unwrap_or_default()
            }
            PenaltyKey::KnownSource(source, name) => {
                self.known.read(source, name, now).unwrap_or_else(|| self.elsewhere.failures(source, name, now))
            }
            PenaltyKey::Total => Standing { level: self.total.0, since: now.saturating_since(self.total.1) },
            PenaltyKey::Logins(source, name) => is_there(self.known.has(source, name, now)),
            PenaltyKey::LoginsFrom(source) => is_there(self.known.has_any_from(source)),
            // Nobody asks.
            PenaltyKey::LoginsOf(_) => Standing::default(),
        }
    }

    pub(super) fn add(&mut self, key: &PenaltyKey, amount: f64, now: Moment) {
        match key {
            PenaltyKey::Source(_) | PenaltyKey::Block(_) | PenaltyKey::Account(_) => self.sketch.add(key, amount, now),
            PenaltyKey::ExemptSource(..) => self.exempt.get_or_insert_with(Sketch::new).add(key, amount, now),
            PenaltyKey::KnownSource(source, name) => {
                if !self.known.add(source, name, amount, now) {
                    self.elsewhere.add_failures(source, name, amount, now);
                }
            }
            PenaltyKey::Total => {
                let level = self.read(key, now).faded(super::super::MINUTE);
                self.total = (plus(level, amount), now);
            }
            // By their good logins: [`Known::note`].
            PenaltyKey::Logins(..) | PenaltyKey::LoginsFrom(_) | PenaltyKey::LoginsOf(_) => {}
        }
    }
}
