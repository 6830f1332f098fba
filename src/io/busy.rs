//! Turning hellos away while nothing is lost yet, and keeping account of those that were opened in vain.

use super::acceptor::ServerState;
use super::error::LoginError;
use super::link::{Link, VERDICT_TIMEOUT, send_last};
use super::penalties::Others;
use super::places::Place;
use crate::crypto;
use crate::handshake::server::busy;
use core::time::Duration;
use rand_core::Rng;

/// Tells a client that there is no room for it now, nor for as long as it has to wait, and hands the reason back.
pub(super) async fn turn_away<L: Link>(
    server: &ServerState,
    link: &mut L,
    wait: Duration,
    reason: LoginError,
) -> LoginError {
    let retry_after = retry_after(server, wait);
    // The handshake's own deadline may be what has just passed.
    link.set_deadline(link.now().after(VERDICT_TIMEOUT));
    send_last(link, &busy(retry_after)).await;
    reason
}

/// After what time it is worth trying again.
pub(super) fn retry_after(server: &ServerState, wait: Duration) -> Duration {
    // By then whoever waits now is served or gone. Not all are to come back at once.
    let spread = crypto::rng().map_or(0, |mut rng| rng.next_u32() % 3);
    let seconds = Duration::from_secs(u64::from(spread).saturating_add(1));
    server.workers.patience().max(wait).saturating_add(seconds)
}

/// An RSA operation that was done for a hello. If no login comes of it, its source pays for it as for a refused login: its next ones
/// wait behind those of others, and it is counted. Not where it was this server that ended the handshake.
pub(super) struct Opening<'s> {
    server: &'s ServerState,
    place: &'s Place,
    owed: bool,
}

impl<'s> Opening<'s> {
    /// There was none.
    pub(super) fn none(server: &'s ServerState, place: &'s Place) -> Self {
        Self { server, place, owed: false }
    }

    pub(super) fn done(server: &'s ServerState, place: &'s Place) -> Self {
        Self { server, place, owed: true }
    }

    /// A login came.
    pub(super) fn was_worth_it(mut self) {
        self.owed = false;
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if self.owed && self.place.cut().reason().is_none() {
            self.server.note_refused(self.place.source());
            // Here nothing can be waited for.
            let amounts = self.server.guard.failed(self.place.source(), None, &Others::None);
            self.server.guard.tell_later(amounts);
        }
    }
}
