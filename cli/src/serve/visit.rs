//! Who a connection is from, and whose session it has become.

use super::log::Entry;
use countersign::{SessionId, Stream, Suite};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Both ends of a connection, as the client sees them.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    /// The balancer that says so.
    pub(crate) via: Option<SocketAddr>,
    /// The balancer only looks whether anybody is there.
    pub(crate) is_check: bool,
}

impl Ends {
    /// Of a connection without anybody in between.
    pub(crate) fn of(peer: SocketAddr, local: SocketAddr) -> Self {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Self { peer: canonical(peer), local: canonical(local), via: None, is_check: false }
    }

    /// An entry of the log with the peer in it.
    pub(crate) fn log(&self, entry: Entry) -> Entry {
        let entry = entry.field("peer", self.peer);
        match self.via {
            Some(via) => entry.field("via", via),
            None => entry,
        }
    }
}

/// A login that was accepted.
pub(crate) struct Visit {
    pub(crate) ends: Ends,
    pub(crate) peer: SocketAddr,
    pub(crate) user: String,
    /// Joined by commas.
    pub(crate) permissions: String,
    pub(crate) session: SessionId,
    suite: Suite,
    resumed: bool,
}

impl Visit {
    pub(crate) fn new(stream: &Stream<TcpStream>, ends: Ends) -> Self {
        let grant = stream.grant();
        let permissions: Vec<&str> = grant.permissions().collect();
        Self {
            ends,
            peer: ends.peer,
            user: grant.principal().to_owned(),
            permissions: permissions.join(","),
            session: stream.id(),
            suite: stream.suite(),
            resumed: stream.info().is_resumed(),
        }
    }

    /// The entry of its login.
    pub(crate) fn login(&self) -> Entry {
        let entry = Entry::new(if self.resumed { "login-resumed" } else { "login-accepted" });
        let entry = self.ends.log(entry.text("user", &self.user)).text("permissions", &self.permissions);
        entry.field("suite", self.suite).field("session", self.session)
    }
}
