//! Which tickets were used.

use super::{RedisError, RedisStore};
use countersign::{AlreadyUsed, TicketMemory, TicketUse, UnixTime, Using, limits};
use std::sync::{MutexGuard, PoisonError};
use std::time::SystemTime;

const USE: &str = concat!(include_str!("common.lua"), include_str!("use.lua"));

/// Lua counts with floating point: beyond this it would take two numbers for one. No chain comes to that many.
const COUNTABLE: u64 = 1 << 53;

impl RedisStore {
    /// No ticket, but where the memory begins.
    pub(super) async fn check_tickets(&self) -> Result<(), RedisError> {
        self.use_ticket(
            "",
            &TicketUse {
                principal: String::new(),
                chain: [0; 16],
                number: 0,
                authenticated: UnixTime::from_secs(0),
                until: UnixTime::from_secs(0),
            },
        )
        .await
        .map(drop)
    }

    async fn use_ticket(&self, principal: &str, ticket: &TicketUse) -> Result<Option<String>, RedisError> {
        let principal = if principal.is_empty() {
            Vec::new()
        } else {
            self.hash("principal", principal).into_iter().take(16).collect()
        };
        let seen = self.seen().clone();
        let mut arguments = vec![principal, ticket.chain.to_vec()];
        let numbers = [
            ticket.number,
            ticket.authenticated.as_secs(),
            ticket.until.as_secs(),
            u64::try_from(self.0.chains_per_principal).unwrap_or(COUNTABLE),
            limits::CLOCK_SKEW.as_secs(),
            UnixTime::from_system(SystemTime::now()).as_secs(),
        ];
        arguments.extend(numbers.map(|number| number.to_string().into()));
        arguments.push(seen.into());
        arguments.push(self.hash("secret", "").into_iter().take(8).collect());
        let mut answer = self.call(USE, arguments).await?.into_iter();
        let (verdict, state, memory) = (answer.next(), answer.next(), answer.next());
        if let Some(memory) = memory {
            *self.seen() = memory;
        }
        match state.as_deref() {
            Some("new" | "moved") => self.0.link.note_tickets_forgotten(),
            Some("other secret") => self.0.link.note_other_secret(),
            _ => {}
        }
        Ok(verdict)
    }

    fn seen(&self) -> MutexGuard<'_, String> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TicketMemory for RedisStore {
    fn use_once<'a>(&'a self, ticket: &'a TicketUse) -> Using<'a> {
        Box::pin(async move {
            if ticket.number >= COUNTABLE || ticket.principal.is_empty() {
                return Err(AlreadyUsed::Away);
            }
            match self.use_ticket(&ticket.principal, ticket).await.as_ref().map(Option::as_deref) {
                Ok(Some("first")) => Ok(()),
                Ok(Some("used")) => Err(AlreadyUsed::Used),
                Ok(Some("forgotten")) => Err(AlreadyUsed::Forgotten),
                // Nothing that is not a clear answer makes a ticket good.
                Ok(_) | Err(_) => Err(AlreadyUsed::Away),
            }
        })
    }
}
