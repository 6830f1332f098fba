//! The good clients.

use crate::suite::net::dial;
use crate::suite::serve::Asking;
use countersign::crypto::aws_lc;
use countersign::{ClientConfig, Connector, Credential, Error, LoginError, MemoryTickets, Server};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Who has an account, and comes again and again.
pub(crate) const CLIENTS: u32 = 24;

pub(crate) const PASSWORD: &[u8] = b"correct horse battery";

/// How far away they are: a round trip.
const ROUND_TRIPS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(100)];

/// After that a user gives up.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn user(client: u32) -> String {
    format!("user{client}")
}

/// Where they come from, and by what they log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// By password; every second of them from an address from which nobody has come before.
    Strangers,
    /// By password, each from an address of its own. Where passwords for many names are guessed from many addresses, whoever has not been
    /// there before has to wait by design (SECURITY.md, "Guessing").
    Known,
    /// As known ones, and by ticket where the server takes theirs.
    Tickets,
}

/// How one login went.
pub(crate) struct Visit {
    /// When it was due.
    pub(crate) due: Instant,
    /// What it took, from then until the server had answered a line in the session, without what the way takes.
    pub(crate) outcome: Result<Duration, Lost>,
}

/// What a login came to that did not succeed.
pub(crate) struct Lost {
    pub(crate) code: String,
    /// The server has said that the credential is wrong, which it is not.
    pub(crate) is_refused: bool,
}

impl From<LoginError> for Lost {
    fn from(error: LoginError) -> Self {
        let is_refused = matches!(error, LoginError::Protocol(Error::Refused));
        Self { code: error.code().to_owned(), is_refused }
    }
}

#[derive(Clone)]
pub(crate) struct Crowd {
    connector: Connector,
    habit: Habit,
    /// Whoever has not been there before solves a puzzle first.
    is_asked: bool,
}

impl Crowd {
    pub(crate) fn new(server: Server, habit: Habit, puzzles: Asking) -> Self {
        let config = ClientConfig::new(aws_lc::provider()).with_proof_at_resumption();
        let connector = Connector::new(config, server);
        let connector = match habit {
            Habit::Tickets => connector.with_tickets(MemoryTickets::new()),
            Habit::Strangers | Habit::Known => connector,
        };
        Self { connector, habit, is_asked: puzzles == Asking::Always }
    }

    /// Lets each of them log in once, in no hurry: from then on the server knows them.
    pub(crate) async fn come_first(&self, server: SocketAddr) -> Result<(), String> {
        let known = Self { habit: Habit::Known, ..self.clone() };
        let mut coming = JoinSet::new();
        for first in 0..4 {
            let known = known.clone();
            coming.spawn(async move {
                for client in (first..CLIENTS).step_by(4) {
                    known.get_in(server, client).await?;
                }
                Ok(())
            });
        }
        coming.join_all().await.into_iter().collect()
    }

    /// Logs in, again and again if need be: on a machine that does something else the server may be busy at first.
    async fn get_in(&self, server: SocketAddr, client: u32) -> Result<(), String> {
        let mut last = String::new();
        for _ in 0..5 {
            match timeout(PATIENCE, self.log_in(server, client, Instant::now())).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(lost)) => last = lost.code,
                Err(_) => "it took too long".clone_into(&mut last),
            }
        }
        Err(last)
    }

    /// Lets them log in for a while, so many a second, whenever one is due, whether earlier ones are through or not.
    pub(crate) async fn keep_coming(&self, server: SocketAddr, time: Duration, rate: f64) -> Vec<Visit> {
        let (start, mut visits) = (Instant::now(), JoinSet::new());
        let mut tick = interval(Duration::from_secs_f64(1.0 / rate));
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for number in 0.. {
            let due = tick.tick().await.into_std();
            if start.elapsed() >= time {
                break;
            }
            let crowd = self.clone();
            visits.spawn(async move {
                let outcome = match timeout(PATIENCE, crowd.log_in(server, number, due)).await {
                    Ok(outcome) => outcome,
                    Err(_) => Err(Lost { code: "patience-over".to_owned(), is_refused: false }),
                };
                Visit { due, outcome }
            });
        }
        visits.join_all().await
    }

    async fn log_in(&self, server: SocketAddr, number: u32, due: Instant) -> Result<Duration, Lost> {
        let client = number % CLIENTS;
        let is_stranger = self.habit == Habit::Strangers && number % 2 == 1;
        let [.., high, low] = if is_stranger { number } else { client }.to_be_bytes();
        let from = Ipv4Addr::new(127, if is_stranger { 2 + high } else { 1 }, low, 1);
        let round_trip = ROUND_TRIPS.into_iter().cycle().nth((number / 2 % 3) as usize).unwrap_or_default();
        let name = user(client);
        let credential = Credential::Password { user: &name, password: PASSWORD };
        let mut session = self.connector.dial(|| dial(from, server, round_trip), credential).await?;
        let line = b"are you there?\n";
        let mut answer = [0; 15];
        let answered = async {
            session.write_all(line).await?;
            session.flush().await?;
            session.read_exact(&mut answer).await
        };
        if let Err(error) = answered.await {
            return Err(Lost { code: format!("session-{:?}", error.kind()), is_refused: false });
        }
        let trips = trips(session.info().is_resumed(), self.is_asked && is_stranger);
        let took = due.elapsed().saturating_sub(round_trip * trips);
        drop(session.finish(Duration::from_secs(1)).await);
        if &answer == line { Ok(took) } else { Err(Lost { code: "wrong-answer".to_owned(), is_refused: false }) }
    }
}

/// Round trips: the connection, the hello, the puzzle where one is asked for, the login unless there was a ticket, the line.
fn trips(is_resumed: bool, is_asked: bool) -> u32 {
    if is_resumed { 3 } else { 4 + u32::from(is_asked) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use countersign::PrivateKey;

    #[test]
    fn what_the_way_takes_is_taken_off_a_puzzle_s_too() {
        let ways = [(false, false), (false, true), (true, false), (true, true)];
        assert_eq!(ways.map(|(is_resumed, is_asked)| trips(is_resumed, is_asked)), [4, 5, 3, 3]);
        let server = Server::key(PrivateKey::from_pem(crate::suite::serve::KEY).unwrap().public_key().clone());
        let is_asked = |puzzles| Crowd::new(server.clone(), Habit::Strangers, puzzles).is_asked;
        // Under load nobody knows who was asked.
        assert_eq!([Asking::Never, Asking::UnderLoad, Asking::Always].map(is_asked), [false, false, true]);
    }
}
