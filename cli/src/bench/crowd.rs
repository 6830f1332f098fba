//! Clients of a server: each logs in over a connection of its own, by ticket or by password, and leaves.

use super::handshakes::PASSWORD;
use crate::crypto;
use crate::failure::{Failure, chain};
use countersign::frame::FrameType;
use countersign::{
    Begun, ClientConfig, Connector, Credential, Error, KeyId, LoginError, Server, Stream, Suite, Ticket, UnixTime,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
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
    tickets: Mutex<Pool<Ticket>>,
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

impl Outcome {
    /// What came of a login that was not done. Every password here is right: a server that calls one wrong is broken, and not busy.
    fn of(error: &LoginError) -> Self {
        match error {
            LoginError::Protocol(Error::Busy { .. } | Error::NotNow) => Self::Refused,
            // A server that is too busy leaves so whose login brought the RSA operation with it, and has waited too long.
            LoginError::Disconnected { awaited: FrameType::ServerVerdict } => Self::Refused,
            _ => Self::Failed,
        }
    }
}

impl Crowd {
    pub(crate) fn new(address: SocketAddr, suite: Suite, pin: KeyId, users: &[String]) -> Result<Self, Failure> {
        let config = ClientConfig::new(crypto::provider()).with_handshake_timeout(PATIENCE);
        Ok(Self {
            address,
            connector: Connector::new(config.with_suites(&[suite]).map_err(Failure::new)?, Server::pinned(pin)),
            users: users.to_owned(),
            tickets: Mutex::new(Pool::new()),
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
            Err(error) => {
                let outcome = Outcome::of(&error);
                if outcome == Outcome::Failed {
                    lock(&self.trouble).get_or_insert_with(|| chain(&error));
                }
                outcome
            }
        };
        (outcome, knew)
    }

    /// Logs in, keeps the ticket for whoever resumes next, and stays.
    pub(crate) fn enter(&self, index: usize, resume: bool) -> Result<Stream<TcpStream>, LoginError> {
        let ticket = if resume { lock(&self.tickets).take() } else { None };
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
        session.info().ticket().cloned().into_iter().for_each(|ticket| lock(&self.tickets).put(ticket));
        Ok(session)
    }

    /// What the first client that failed said, if one did.
    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// What was before the load is none of its trouble.
    pub(crate) fn forget_trouble(&self) {
        *lock(&self.trouble) = None;
    }
}

/// What clients keep that are away. Each has its own, and whichever of them comes back is any of them: were it the one that left last, the others would
/// never be seen again, and a server that has forgotten them would look as good as one that has not.
pub(super) struct Pool<T> {
    kept: Vec<T>,
    /// The same in each run.
    rng: StdRng,
}

impl<T> Pool<T> {
    pub(super) fn new() -> Self {
        Self { kept: Vec::new(), rng: StdRng::seed_from_u64(1) }
    }

    pub(super) fn put(&mut self, one: T) {
        self.kept.push(one);
    }

    pub(super) fn take(&mut self) -> Option<T> {
        let last = self.kept.len().checked_sub(1)?;
        let index = self.rng.random_range(0..=last);
        Some(self.kept.swap_remove(index))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn a_right_password_that_is_called_wrong_is_a_failure_and_what_a_busy_server_says_is_none() {
        for (said, outcome) in [
            (LoginError::Protocol(Error::Refused), Outcome::Failed),
            (LoginError::Disconnected { awaited: FrameType::ServerHello }, Outcome::Failed),
            (LoginError::Protocol(Error::NotNow), Outcome::Refused),
            (LoginError::Disconnected { awaited: FrameType::ServerVerdict }, Outcome::Refused),
        ] {
            assert_eq!(Outcome::of(&said), outcome, "{said}");
        }
    }

    /// Two thousand come back to where a thousand are, each with something new when it leaves.
    #[test]
    fn those_who_left_long_ago_come_back_as_often_as_others() {
        let mut pool = Pool::new();
        assert_eq!(pool.take(), None);
        (0..1000).for_each(|number| pool.put(number));
        for number in 1000..3000 {
            pool.take().unwrap();
            pool.put(number);
        }
        assert_eq!(pool.kept.len(), 1000);
        // None of two thousand was it with (1 - 1/1000)^2000: of the first thousand some 135 are left, and of the next some 233.
        let left = |from: i32| pool.kept.iter().filter(|number| (from..from + 1000).contains(*number)).count();
        assert!((90..180).contains(&left(0)), "{} of the first", left(0));
        assert!((180..290).contains(&left(1000)), "{} of the second", left(1000));
        let mut all = Vec::new();
        while let Some(one) = pool.take() {
            all.push(one);
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 1000);
    }
}
