//! Counts as they stand, here and elsewhere together.

use super::super::store::{PenaltyKey, Standing};

/// What other servers have counted.
pub(in crate::io) enum Others {
    /// There are none.
    None,
    /// In the order of the keys that they were asked for.
    Counted(Vec<Standing>),
    /// They can't be asked.
    Away,
}

impl Others {
    pub(super) fn at(&self, index: usize) -> Standing {
        match self {
            Self::Counted(standings) => standings.get(index).copied().unwrap_or_default(),
            Self::None | Self::Away => Standing::default(),
        }
    }
}

/// Counts, here and elsewhere together.
pub(super) struct Standings(pub(super) Vec<(PenaltyKey, Standing, Standing)>);

impl Standings {
    /// Of the two, the one that is more now.
    pub(super) fn of(&self, wanted: impl Fn(&PenaltyKey) -> bool) -> Standing {
        let found = self.0.iter().find(|(key, ..)| wanted(key));
        found.map_or_else(Standing::default, |(key, here, there)| {
            let half_life = key.half_life();
            if here.faded(half_life) >= there.faded(half_life) { *here } else { *there }
        })
    }

    /// What is left of a count now.
    pub(super) fn level(&self, key: &PenaltyKey) -> f64 {
        self.of(|other| other == key).faded(key.half_life())
    }

    pub(super) fn has_logins_from(&self) -> bool {
        self.of(|key| matches!(key, PenaltyKey::LoginsFrom(_))).level > 0.0
    }

    /// As this server itself knows it.
    pub(super) fn has_logins_here(&self) -> bool {
        let is_login = |key: &PenaltyKey| matches!(key, PenaltyKey::LoginsFrom(_));
        self.0.iter().any(|(key, here, _)| is_login(key) && here.level > 0.0)
    }

    pub(super) fn has_logins(&self) -> bool {
        self.of(|key| matches!(key, PenaltyKey::Logins(..))).level > 0.0
    }
}
