//! What guessing costs: the flags, and what is logged of it.

use super::log::{Entry, Log};
use super::proxy::Block;
use clap::Args;
use countersign::{Penalties, PenaltyEvent, Waits};
use std::sync::Arc;
use std::time::Duration;

const OF_ADDRESS: u32 = 8;
const OF_USER: u32 = 10;
const A_MINUTE: u32 = 60;

/// What guessing costs.
#[derive(Args, Clone)]
#[command(next_help_heading = "Guessing")]
pub(crate) struct Guessing {
    /// Failed logins of one address that cost nothing. After each further one the address waits, 15 s at first, then twice as long each
    /// time, up to 10 min: but for users who have logged in from there. The /24 or /48 around it may have eight times as many
    #[arg(long, value_name = "NUMBER", default_value_t = OF_ADDRESS, conflicts_with = "no_penalties")]
    failures_per_address: u32,
    /// Wrong passwords for one user that cost nothing. After each further one no password for that user is looked at, for 2 s at
    /// first, then twice as long each time, up to 5 min: but from addresses that have logged in as that user, each of which
    /// has a count of its own
    #[arg(long, value_name = "NUMBER", default_value_t = OF_USER, conflicts_with = "no_penalties")]
    failures_per_user: u32,
    /// Wrong passwords a minute in all, past which none is looked at from addresses that nobody has logged in from
    #[arg(long, value_name = "NUMBER", default_value_t = A_MINUTE, conflicts_with = "no_penalties")]
    failures_per_minute: u32,
    /// Addresses that never wait, whatever comes from them: of a gateway, a monitor, a balancer that tells no
    /// addresses; separated by commas. Wrong passwords are
    /// counted there for each user alone
    #[arg(long, value_name = "ADDRESS[/PREFIX]", value_delimiter = ',', conflicts_with = "no_penalties")]
    penalty_exempt: Vec<Block>,
    /// Count no failures: everybody may guess as fast as the bounds allow
    #[arg(long)]
    no_penalties: bool,
}

/// The demo's.
impl Default for Guessing {
    fn default() -> Self {
        Self {
            failures_per_address: OF_ADDRESS,
            failures_per_user: OF_USER,
            failures_per_minute: A_MINUTE,
            penalty_exempt: Vec::new(),
            no_penalties: false,
        }
    }
}

impl Guessing {
    /// The penalties, each of which is logged; `None` where there are to be none.
    pub(super) fn penalties(&self, log: Arc<Log>) -> Option<Penalties> {
        if self.no_penalties {
            return None;
        }
        let (first, longest) = (Duration::from_secs(15), Duration::from_secs(600));
        let of_user = Waits::new(self.failures_per_user, Duration::from_secs(2), Duration::from_secs(300));
        let penalties = Penalties::default()
            .with_source(Waits::new(self.failures_per_address, first, longest))
            .with_block(Waits::new(self.failures_per_address.saturating_mul(8), first, longest))
            .with_account(of_user)
            .with_total(self.failures_per_minute)
            .with_observer(move |event| log_event(&log, event));
        Some(self.penalty_exempt.iter().fold(penalties, |penalties, block| penalties.with_exempt(block.source())))
    }
}

fn log_event(log: &Log, event: &PenaltyEvent<'_>) {
    if let PenaltyEvent::Wait { penalty, source, user, wait } = event {
        let mut entry = Entry::new("penalty").field("code", penalty.code());
        if let Some(source) = source {
            entry = entry.text("source", &source.to_string());
        }
        user.fields(|name, field| entry.add(name, field));
        // Whoever guesses with many names must not fill the disk.
        log.write_stranger(entry.field("seconds", wait.as_secs()));
    }
}
