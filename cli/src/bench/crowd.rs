//! Clients of a server: each logs in over a connection of its own, by ticket or by password, and leaves.

use super::handshakes::PASSWORD;
use crate::crypto;
use crate::failure::{Failure, chain};
use countersign::frame::FrameType;
use countersign::{
    Begun, ClientConfig, Connector, Credential, Error, KeyId, LoginError, Server, Stream, Suite, Ticket, UnixTime,
};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How long connecting, a login and a goodbye may take each.
const PATIENCE: Duration = Duration::from_secs(10);

/// All clients of one server.
pub(crate) struct Crowd {
    address: SocketAddr,
    connector: Connector,
    users: Vec<String>,
    /// One from each login that is over; a ticket is good once.
    tickets: Mutex<Vec<Ticket>>,
    /// What the first client that failed said.
    trouble: Mutex<Option<String>>,
}

/// How a try went for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done { resumed: bool },
    Refused,
    Failed,
}

impl Crowd {
    pub(crate) fn new(address: SocketAddr, suite: Suite, pin: KeyId, users: &[String]) -> Result<Self, Failure> {
        let config = ClientConfig::new(crypto::provider()).with_handshake_timeout(PATIENCE);
        Ok(Self {
            address,
            connector: Connector::new(config.with_suites(&[suite]).map_err(Failure::new)?, Server::pinned(pin)),
            users: users.to_owned(),
            tickets: Mutex::default(),
            trouble: Mutex::default(),
        })
    }

    /// Logs the `index`th client in, with a ticket if it is to resume and there is one, and out again. Gives the moment in
    /// which the client knew.
    pub(crate) fn visit(&self, index: usize, resume: bool) -> (Outcome, Instant) {
        let entered = self.enter(index, resume);
        let knew = Instant::now();
        let outcome = match entered {
            Ok(session) => {
                let resumed = session.info().is_resumed();
                // The server may be gone already: the login counts all the same.
                let _ = session.finish_blocking(PATIENCE);
                Outcome::Done { resumed }
            }
            Err(LoginError::Protocol(Error::Refused | Error::Busy { .. } | Error::NotNow)) => Outcome::Refused,
            // A server that is too busy leaves so whose login brought the RSA operation with it, and has waited too long.
            Err(LoginError::Disconnected { awaited: FrameType::ServerVerdict }) => Outcome::Refused,
            Err(error) => {
                lock(&self.trouble).get_or_insert_with(|| chain(&error));
                Outcome::Failed
            }
        };
        (outcome, knew)
    }

    /// Logs in, keeps the ticket for whoever resumes next, and stays.
    pub(crate) fn enter(&self, index: usize, resume: bool) -> Result<Stream<TcpStream>, LoginError> {
        // The newest first: the chains of the others are those that a server forgets first.
        let ticket = if resume { lock(&self.tickets).pop() } else { None };
        let ticket = ticket.and_then(|ticket| {
            let user = ticket.user().to_owned();
            self.connector.server().resume(ticket, &user, UnixTime::from_system(SystemTime::now()))
        });
        let dial = || {
            let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let session = match self.connector.begin_blocking(dial, ticket)? {
            Begun::Resumed(session) => session,
            Begun::Trusted(trusted) => {
                let user = index.checked_rem(self.users.len()).and_then(|index| self.users.get(index));
                let user = user.map(String::as_str).unwrap_or_default();
                trusted.login_blocking(Credential::Password { user, password: PASSWORD })?
            }
        };
        lock(&self.tickets).extend(session.info().ticket().cloned());
        Ok(session)
    }

    /// What the first client that failed said, if one did.
    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
