//! How fast it goes: a machine that hashes more slowly has fewer logins a second, and so has whoever guesses there.

use crate::suite::serve::workers;
use std::time::Duration;

/// What one password hash takes on this machine.
#[derive(Clone, Copy)]
pub(crate) struct Pace(pub(crate) Duration);

impl Pace {
    /// How many a server can hash in a second, which has half of the processors.
    fn hashes(self) -> f64 {
        workers() as f64 / self.0.as_secs_f64()
    }

    /// Good clients' logins a second, all together: two fifths of what the server can hash, and no more than 20.
    pub(crate) fn logins(self) -> f64 {
        (0.4 * self.hashes()).min(20.0)
    }

    /// Guesses a second: three times what the server can hash.
    pub(crate) fn guesses(self) -> f64 {
        3.0 * self.hashes()
    }
}
