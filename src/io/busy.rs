//! Turning hellos away while nothing is lost yet, and keeping account of those that were opened in vain.

use super::acceptor::ServerState;
use super::error::LoginError;
use super::link::{Link, send_last};
use crate::handshake::server::busy;
use crate::terms::context::Source;
use core::time::Duration;

/// Tells a client that there is no room now, and hands the reason back.
pub(super) async fn turn_away<L: Link>(server: &ServerState, link: &mut L, reason: LoginError) -> LoginError {
    // By then whoever waits now is served or gone.
    let retry_after = server.workers.patience().saturating_add(Duration::from_secs(1));
    send_last(link, &busy(retry_after)).await;
    reason
}

/// An RSA operation that a hello asked for. If no login comes of it, its source pays for it as for a refused login: its next ones wait
/// behind those of others.
pub(super) struct Opening<'s> {
    server: &'s ServerState,
    source: &'s Source,
    owed: bool,
}

impl<'s> Opening<'s> {
    pub(super) fn new(server: &'s ServerState, source: &'s Source, owed: bool) -> Self {
        Self { server, source, owed }
    }

    /// A login came.
    pub(super) fn was_worth_it(mut self) {
        self.owed = false;
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if self.owed {
            self.server.note_refused(self.source);
        }
    }
}
