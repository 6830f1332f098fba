//! The connection to Redis: what is asked is answered in time, or Redis is away.

use super::{Observer, RedisError};
use crate::circuit::{Asking, Circuit};
use core::time::Duration;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, Script};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;

/// What an operator may want to know of a Redis.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RedisEvent {
    /// It does not answer in time, refuses, or can't be reached. Told once, until it is back.
    Away {
        /// What it, or the system, said. No password, name or address of a client is in it.
        what: String,
    },
    /// It answers again.
    Back {
        /// How long it did not.
        after: Duration,
    },
    /// It is new, was started anew, flushed, or has evicted something: what was known of used tickets may be gone, and those of before
    /// are no longer taken.
    TicketsForgotten,
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
    circuit: Circuit,
    /// Held by whoever connects.
    connection: tokio::sync::Mutex<Option<MultiplexedConnection>>,
}

/// Why there was no answer. No name, address or password is in it: those are in what was asked.
fn said(error: &redis::RedisError) -> RedisError {
    // Of those who have given no password it takes no long command, and says so without one of its codes.
    let is_refusal = error.kind() == ErrorKind::AuthenticationFailed
        || error.code().is_some_and(|code| ["NOAUTH", "WRONGPASS", "NOPERM"].contains(&code))
        || error.to_string().contains("unauthenticated");
    if is_refusal { RedisError::Refused(error.to_string()) } else { RedisError::Away(error.to_string()) }
}

/// A script and what it is called with.
pub(super) struct Call {
    pub(super) script: &'static str,
    pub(super) prefix: String,
    pub(super) arguments: Vec<Vec<u8>>,
}

impl Link {
    pub(super) fn new(client: Client, runtime: Handle, patience: Duration, observer: Option<Arc<Observer>>) -> Self {
        let (counts, connection, circuit) = (Mutex::default(), tokio::sync::Mutex::default(), Circuit::new(patience));
        Self { shared: Arc::new(Shared { client, patience, observer, counts, circuit, connection }), runtime }
    }

    /// Asks, on the runtime that this was made on: what has begun is done also where whoever asked is gone.
    pub(super) async fn ask(&self, call: Call) -> Result<Vec<String>, RedisError> {
        let shared = Arc::clone(&self.shared);
        let asked = self.runtime.spawn(async move {
            let asking = shared.enter()?;
            let answer = tokio::time::timeout(shared.patience, shared.run(&call)).await;
            let answer = match answer {
                Ok(answer) => answer.map_err(|error| said(&error)),
                Err(_) => Err(RedisError::Away(format!("no answer within {} ms", shared.patience.as_millis()))),
            };
            if answer.is_err() {
                // One that hangs may be a connection that nobody is at the other end of.
                if let Ok(mut connection) = shared.connection.try_lock() {
                    *connection = None;
                }
            }
            shared.leave(&asking, answer.as_ref().err());
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
}

impl Shared {
    fn enter(&self) -> Result<Asking, RedisError> {
        let asking = self.circuit.ask();
        let mut counts = self.counts();
        counts.asked = counts.asked.saturating_add(1);
        asking.ok_or_else(|| {
            counts.away = counts.away.saturating_add(1);
            RedisError::Away("it did not answer a moment ago".to_owned())
        })
    }

    fn leave(&self, asking: &Asking, failed: Option<&RedisError>) {
        let event = match failed {
            None => self.circuit.answered().map(|after| RedisEvent::Back { after }),
            Some(what) => {
                let mut counts = self.counts();
                counts.away = counts.away.saturating_add(1);
                drop(counts);
                self.circuit.failed(asking).then(|| RedisEvent::Away { what: what.to_string() })
            }
        };
        if let Some(event) = event {
            self.tell(&event);
        }
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
