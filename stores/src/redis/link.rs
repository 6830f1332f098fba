//! The connection to Redis: what is asked is answered in time, or Redis is away.

use super::{Observer, RedisError};
use crate::circuit::{Asking, Circuit};
use core::time::Duration;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, Script};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::runtime::Handle;

/// What an operator may want to know of a Redis.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RedisEvent {
    /// It does not answer in time, refuses, can't be reached, or takes no writes. Told once, until it is back.
    Away {
        /// What it, or the system, said. No password, name or address of a client is in it.
        what: String,
    },
    /// It answers again, and takes writes.
    Back {
        /// How long it did not.
        after: Duration,
    },
    /// It is new, was started anew, flushed, has evicted something, or is another than before: what was known of used tickets may be gone, and
    /// those of before are no longer taken.
    TicketsForgotten,
    /// Somebody else keeps tickets there, under the same prefix and another [`FleetSecret`](crate::FleetSecret), none that this one knows: a server of this service with
    /// another private key, or another service. Neither finds what the other marks, so tickets of before are no longer taken; as long as both are
    /// there, none are. Told once a minute.
    OtherSecret,
}

/// What a [`super::RedisStore`] was asked, since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisCounts {
    /// Questions.
    pub asked: u64,
    /// Those of them that were not answered in time, or not asked since the one before was not.
    pub away: u64,
    /// How often what was known of used tickets was seen to be gone.
    pub tickets_forgotten: u64,
    /// How often somebody else's marks were seen in the place of them ([`RedisEvent::OtherSecret`]).
    pub other_secret: u64,
}

impl RedisCounts {
    fn count_away(&mut self) {
        self.away = self.away.saturating_add(1);
    }
}

pub(super) struct Link {
    shared: Arc<Shared>,
    runtime: Handle,
}

struct Shared {
    client: Client,
    patience: Duration,
    observer: Option<Arc<Observer>>,
    counts: Mutex<RedisCounts>,
    /// When [`RedisEvent::OtherSecret`] was told.
    other_secret: Mutex<Option<Instant>>,
    circuit: Circuit,
    /// Held by whoever connects.
    connection: tokio::sync::Mutex<Option<MultiplexedConnection>>,
}

/// Why there was no answer. No name, address or password is in it: those are in what was asked.
fn said(error: &redis::RedisError) -> RedisError {
    // Of those who have given no password it takes no long command, and says so without one of its codes. So it does within a script, of 7.0 and of later ones.
    const WITHOUT_CODE: [&str; 3] = ["unauthenticated", "The user executing the script", "ACL failure in script"];
    let text = error.to_string();
    let is_refusal = error.kind() == ErrorKind::AuthenticationFailed
        || error.code().is_some_and(|code| ["NOAUTH", "WRONGPASS", "NOPERM"].contains(&code))
        || WITHOUT_CODE.iter().any(|words| text.contains(words));
    if is_refusal { RedisError::Refused(text) } else { RedisError::Away(text) }
}

/// A script and what it is called with.
pub(super) struct Call {
    pub(super) script: &'static str,
    pub(super) prefix: String,
    pub(super) arguments: Vec<Vec<u8>>,
}

/// Asked again and again: one that answers, and takes no writes, is no better than one that does not answer.
pub(super) const PROBE: &str = include_str!("probe.lua");

/// Asked first, and before anything else of one that is away: nor is one that does some of what is needed.
pub(super) const RIGHTS: &str = include_str!("rights.lua");

const MINUTE: Duration = Duration::from_secs(60);

impl Link {
    pub(super) fn new(client: Client, runtime: Handle, patience: Duration, observer: Option<Arc<Observer>>) -> Self {
        let shared = Shared {
            client,
            patience,
            observer,
            counts: Mutex::default(),
            other_secret: Mutex::default(),
            circuit: Circuit::new(patience),
            connection: tokio::sync::Mutex::default(),
        };
        Self { shared: Arc::new(shared), runtime }
    }

    /// Asks, on the runtime that this was made on: what has begun is done also where whoever asked is gone.
    pub(super) async fn ask(&self, call: Call) -> Result<Vec<String>, RedisError> {
        let shared = Arc::clone(&self.shared);
        let asked = self.runtime.spawn(async move {
            let asking = shared.enter()?;
            let was_away = shared.circuit.is_away();
            let asked = async {
                if was_away {
                    shared.run(&Call { script: RIGHTS, prefix: call.prefix.clone(), arguments: Vec::new() }).await?;
                }
                shared.run(&call).await
            };
            let (answer, is_answer) = match tokio::time::timeout(shared.patience, asked).await {
                Ok(Ok(answer)) => (Ok(answer), true),
                Ok(Err(error)) => (Err(said(&error)), error.code().is_some()),
                Err(_) => {
                    let text = format!("no answer within {} ms", shared.patience.as_millis());
                    (Err(RedisError::Away(text)), false)
                }
            };
            if answer.is_err() {
                // One that hangs may be a connection that nobody is at the other end of.
                if let Ok(mut connection) = shared.connection.try_lock() {
                    *connection = None;
                }
            }
            let event = match &answer {
                Ok(_) if was_away => shared.circuit.answered().map(|after| RedisEvent::Back { after }),
                Ok(_) => {
                    shared.circuit.heard();
                    None
                }
                Err(error) => {
                    shared.counts().count_away();
                    // Others may have been answered meanwhile: where something is only slow, not where it says that it will not.
                    let is_news = if is_answer { shared.circuit.refused() } else { shared.circuit.failed(&asking) };
                    is_news.then(|| RedisEvent::Away { what: error.to_string() })
                }
            };
            if let Some(event) = event {
                shared.tell(&event);
            }
            answer
        });
        asked.await.map_err(|_| RedisError::Away("its runtime has ended".to_owned()))?
    }

    pub(super) fn counts(&self) -> RedisCounts {
        *self.shared.counts()
    }

    pub(super) fn note_tickets_forgotten(&self) {
        let mut counts = self.shared.counts();
        counts.tickets_forgotten = counts.tickets_forgotten.saturating_add(1);
        drop(counts);
        self.shared.tell(&RedisEvent::TicketsForgotten);
    }

    pub(super) fn note_other_secret(&self) {
        let mut counts = self.shared.counts();
        counts.other_secret = counts.other_secret.saturating_add(1);
        drop(counts);
        // Where two take turns, it is so with every second question.
        let is_due = {
            let mut told = self.shared.other_secret.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = told.is_none_or(|last| last.elapsed() >= MINUTE);
            if is_due {
                *told = Some(Instant::now());
            }
            is_due
        };
        if is_due {
            self.shared.tell(&RedisEvent::OtherSecret);
        }
    }
}

impl Shared {
    fn enter(&self) -> Result<Asking, RedisError> {
        let asking = self.circuit.ask();
        let mut counts = self.counts();
        counts.asked = counts.asked.saturating_add(1);
        asking.ok_or_else(|| {
            counts.count_away();
            RedisError::Away("it did not answer a moment ago".to_owned())
        })
    }

    async fn run(&self, call: &Call) -> redis::RedisResult<Vec<String>> {
        let mut connection = self.connect().await?;
        let script = Script::new(call.script);
        let mut invocation = script.key(call.prefix.as_str());
        for argument in &call.arguments {
            invocation.arg(argument.as_slice());
        }
        invocation.invoke_async(&mut connection).await
    }

    async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = &*held {
            return Ok(connection.clone());
        }
        // What bounds this is around it.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        *held = Some(connection.clone());
        Ok(connection)
    }

    fn tell(&self, event: &RedisEvent) {
        if let Some(observer) = &self.observer {
            // One that panics ends no login.
            let _ = catch_unwind(AssertUnwindSafe(|| observer(event)));
        }
    }

    fn counts(&self) -> MutexGuard<'_, RedisCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
