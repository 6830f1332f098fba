//! Which tickets were used.

use super::{RedisError, RedisStore};
use crate::secret::Secret;
use countersign::{AlreadyUsed, TicketMemory, TicketUse, UnixTime, Using, limits};
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::SystemTime;

const USE: &str = concat!(include_str!("common.lua"), include_str!("use.lua"));
const LOOK: &str = concat!(include_str!("common.lua"), include_str!("look.lua"));

/// Lua counts with floating point: beyond this it would take two numbers for one. No chain comes to that many.
const COUNTABLE: u64 = 1 << 53;

impl RedisStore {
    /// No ticket, but where the memory begins, and which secret is in use.
    pub(super) async fn check_tickets(&self) -> Result<(), RedisError> {
        if self.holds_tickets() {
            return self.look_at_tickets().await.map(drop);
        }
        self.use_ticket(None).await.map(drop)
    }

    /// Whether the memory is under a secret that is known, or there is none.
    pub(super) async fn look_at_tickets(&self) -> Result<bool, RedisError> {
        let known = self.0.secret.all().iter().map(id).collect();
        let mut answer = self.call(LOOK, known).await?.into_iter();
        let is_ours = answer.next().is_some_and(|said| said == "ours");
        self.go_by(answer.next().as_deref());
        Ok(is_ours)
    }

    /// Whether no ticket is taken, and nothing said of tickets, since this server's clock is wrong, or may be: a memory that begins by it would keep out
    /// everybody's tickets for as long as it is ahead.
    fn holds_tickets(&self) -> bool {
        self.0.holds_tickets.load(Ordering::Relaxed)
    }

    #[cfg(feature = "sql")]
    pub(crate) fn hold_tickets(&self, holds: bool) {
        self.0.holds_tickets.store(holds, Ordering::Relaxed);
    }

    /// By the secret of this number from now on, which Redis has named.
    fn go_by(&self, number: Option<&str>) {
        if let Some(number) = number.and_then(|number| number.parse::<usize>().ok()) {
            self.0.in_use.store(number.saturating_sub(1), Ordering::Relaxed);
        }
    }

    async fn use_ticket(&self, ticket: Option<&TicketUse>) -> Result<Option<String>, RedisError> {
        let seen = self.seen().clone();
        let of = |number: fn(&TicketUse) -> u64| ticket.map_or(0, number);
        let mut arguments = vec![ticket.map(|ticket| ticket.chain.to_vec()).unwrap_or_default()];
        let numbers = [
            of(|ticket| ticket.number),
            of(|ticket| ticket.authenticated.as_secs()),
            of(|ticket| ticket.until.as_secs()),
            u64::try_from(self.0.chains_per_principal).unwrap_or(COUNTABLE),
            limits::CLOCK_SKEW.as_secs(),
            UnixTime::from_system(SystemTime::now()).as_secs(),
        ];
        arguments.extend(numbers.map(|number| number.to_string().into()));
        arguments.push(seen.into());
        arguments.push(self.0.secret.live().to_string().into());
        for secret in self.0.secret.all() {
            let principal = |ticket: &TicketUse| super::hash(secret, "principal", &ticket.principal);
            arguments.push(id(secret));
            arguments.push(ticket.map(principal).into_iter().flatten().take(16).collect());
        }
        let mut answer = self.call(USE, arguments).await?.into_iter();
        let (verdict, state, memory, in_use) = (answer.next(), answer.next(), answer.next(), answer.next());
        if let Some(memory) = memory {
            *self.seen() = memory;
        }
        self.go_by(in_use.as_deref());
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

/// What a secret is called in Redis: nothing that it could be found by.
fn id(secret: &Secret) -> Vec<u8> {
    super::hash(secret, "secret", "").into_iter().take(8).collect()
}

impl TicketMemory for RedisStore {
    fn use_once<'a>(&'a self, ticket: &'a TicketUse) -> Using<'a> {
        Box::pin(async move {
            if ticket.number >= COUNTABLE || ticket.principal.is_empty() || self.holds_tickets() {
                return Err(AlreadyUsed::Away);
            }
            match self.use_ticket(Some(ticket)).await.as_ref().map(Option::as_deref) {
                Ok(Some("first")) => Ok(()),
                Ok(Some("used")) => Err(AlreadyUsed::Used),
                Ok(Some("forgotten")) => Err(AlreadyUsed::Forgotten),
                // Nothing that is not a clear answer makes a ticket good.
                Ok(_) | Err(_) => Err(AlreadyUsed::Away),
            }
        })
    }
}
