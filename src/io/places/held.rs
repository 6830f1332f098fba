//! What one source holds, and which of it makes way first.

use super::Stage;
use std::time::{Duration, Instant};

/// What one source holds.
#[derive(Default)]
pub(super) struct Held {
    /// Somebody has logged in from there.
    pub(super) is_known: bool,
    pub(super) silent: ByAge,
    pub(super) greeted: ByAge,
    pub(super) logins: usize,
    pub(super) refusals: usize,
    pub(super) sessions: usize,
}

/// Handshakes that wait for their peers, and since when; those that wait longest come first.
#[derive(Default)]
pub(super) struct ByAge(pub(super) Vec<(u64, Instant)>);

/// How long a good client may keep a server waiting before it is counted among those who stall: two round trips around the
/// world.
pub(super) const GRACE: Duration = Duration::from_millis(500);

impl ByAge {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, id: u64, now: Instant) {
        self.0.push((id, now));
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.0.retain(|&(waiting, _)| waiting != id);
    }

    /// How many have waited for longer than [`GRACE`].
    pub(super) fn stalled(&self, now: Instant) -> usize {
        self.0.partition_point(|(_, since)| now.saturating_duration_since(*since) > GRACE)
    }
}

impl Held {
    /// Those from which one is taken.
    pub(super) fn candidates(&self, now: Instant) -> &[(u64, Instant)] {
        let stalled =
            [&self.silent, &self.greeted].map(|waiting| waiting.0.get(..waiting.stalled(now)).unwrap_or_default());
        let classes = [stalled[0], stalled[1], &self.silent.0, &self.greeted.0];
        classes.into_iter().find(|class| !class.is_empty()).unwrap_or_default()
    }

    /// How soon one is taken from this source, among those that hold alike.
    pub(super) fn is_stalling(&self, now: Instant) -> bool {
        self.silent.stalled(now) > 0 || self.greeted.stalled(now) > 0
    }

    /// Those that wait for their peers.
    pub(super) fn handshakes(&self) -> usize {
        self.silent.len().saturating_add(self.greeted.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.handshakes() == 0 && self.logins == 0 && self.refusals == 0 && self.sessions == 0
    }

    pub(super) fn add(&mut self, id: u64, stage: Stage, now: Instant) {
        match stage {
            Stage::Silent => self.silent.push(id, now),
            Stage::Greeted => self.greeted.push(id, now),
            Stage::Arrived => self.logins = self.logins.saturating_add(1),
        }
    }

    pub(super) fn remove(&mut self, id: u64, stage: Stage) {
        match stage {
            Stage::Silent => self.silent.remove(id),
            Stage::Greeted => self.greeted.remove(id),
            Stage::Arrived => self.logins = self.logins.saturating_sub(1),
        }
    }
}
