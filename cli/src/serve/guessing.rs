//! What guessing costs: the flags, and what is logged of it.

use super::log::{Entry, Log};
use super::proxy::Block;
use super::sharing::Watched;
use crate::failure::Failure;
use crate::term;
use clap::Args;
use countersign::{Penalties, PenaltyEvent, Waits};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

const OF_ADDRESS: u32 = 8;
const OF_USER: u32 = 10;
const A_MINUTE: u32 = 60;
const WAIT: Duration = Duration::from_secs(15);
const LONGEST: Duration = Duration::from_secs(600);
const USER_WAIT: Duration = Duration::from_secs(2);
const USER_LONGEST: Duration = Duration::from_secs(300);
const BLOCKS: Blocks = Blocks { ipv4: 24, ipv6: 48 };

/// What guessing costs.
#[derive(Args, Clone)]
#[command(next_help_heading = "Guessing")]
pub(crate) struct Guessing {
    /// Failed logins of one address that cost nothing. After each further one the address waits, --penalty-wait at first, then twice as long
    /// each time, up to --penalty-longest: but for users who have logged in from there
    #[arg(long, value_name = "NUMBER", default_value_t = OF_ADDRESS, conflicts_with = "no_penalties")]
    failures_per_address: u32,
    /// Those of all addresses of a block around it (see --penalty-blocks), which waits as long [default: eight times --failures-per-address]
    #[arg(long, value_name = "NUMBER", conflicts_with = "no_penalties")]
    failures_per_block: Option<u32>,
    /// Wrong passwords for one user that cost nothing. After each further one no password for that user is looked at, for --user-penalty-wait
    /// at first, then twice as long each time, up to --user-penalty-longest: but from addresses that have logged in as that user, each of
    /// which has a count of its own
    #[arg(long, value_name = "NUMBER", default_value_t = OF_USER, conflicts_with = "no_penalties")]
    failures_per_user: u32,
    /// Wrong passwords a minute in all, past which none is looked at from addresses that nobody has logged in from
    #[arg(long, value_name = "NUMBER", default_value_t = A_MINUTE, conflicts_with = "no_penalties")]
    failures_per_minute: u32,
    /// How long an address waits, or a block of them, after the first failure that is not free
    #[arg(long, value_name = "TIME", default_value = term::time(WAIT), value_parser = term::timeout, conflicts_with = "no_penalties")]
    penalty_wait: Duration,
    /// How long at the most
    #[arg(long, value_name = "TIME", default_value = term::time(LONGEST), value_parser = term::timeout, conflicts_with = "no_penalties")]
    penalty_longest: Duration,
    /// How long passwords for a user wait
    #[arg(long, value_name = "TIME", default_value = term::time(USER_WAIT), value_parser = term::timeout, conflicts_with = "no_penalties")]
    user_penalty_wait: Duration,
    /// How long at the most
    #[arg(long, value_name = "TIME", default_value = term::time(USER_LONGEST), value_parser = term::timeout, conflicts_with = "no_penalties")]
    user_penalty_longest: Duration,
    /// How large a block of addresses is, of IPv4 and of IPv6, as prefixes; 32,64 for no blocks
    #[arg(long, value_name = "IPV4,IPV6", default_value_t = BLOCKS, conflicts_with = "no_penalties")]
    penalty_blocks: Blocks,
    /// Addresses that never wait, whatever comes from them: of a gateway, a monitor, a balancer that tells no
    /// addresses; separated by commas. Wrong passwords are
    /// counted there for each user alone
    #[arg(long, value_name = "ADDRESS[/PREFIX]", value_delimiter = ',', conflicts_with = "no_penalties")]
    penalty_exempt: Vec<Block>,
    /// Count no failures: everybody may guess as fast as the bounds allow
    #[arg(long)]
    no_penalties: bool,
}

/// The prefixes of blocks of addresses.
#[derive(Clone, Copy, Debug)]
struct Blocks {
    ipv4: u8,
    ipv6: u8,
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.ipv4, self.ipv6)
    }
}

impl FromStr for Blocks {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (ipv4, ipv6) = text.split_once(',')?;
            let blocks = Self { ipv4: ipv4.trim().parse().ok()?, ipv6: ipv6.trim().parse().ok()? };
            (blocks.ipv4 <= 32 && blocks.ipv6 <= 128).then_some(blocks)
        };
        read().ok_or("expected two prefixes, of 0 to 32 bits for IPv4 and of 0 to 128 for IPv6, such as 24,48")
    }
}

/// The demo's.
impl Default for Guessing {
    fn default() -> Self {
        Self {
            failures_per_address: OF_ADDRESS,
            failures_per_block: None,
            failures_per_user: OF_USER,
            failures_per_minute: A_MINUTE,
            penalty_wait: WAIT,
            penalty_longest: LONGEST,
            user_penalty_wait: USER_WAIT,
            user_penalty_longest: USER_LONGEST,
            penalty_blocks: BLOCKS,
            penalty_exempt: Vec::new(),
            no_penalties: false,
        }
    }
}

impl Guessing {
    /// The penalties; `None` where there are to be none.
    pub(super) fn penalties(&self) -> Result<Option<Penalties>, Failure> {
        if self.no_penalties {
            return Ok(None);
        }
        let waits = |free, (name, first): (&str, Duration), longest: Duration| {
            if first <= longest {
                return Ok(Waits::new(free, first, longest));
            }
            Err(Failure::usage(format_args!(
                "--{name}-wait is {}, and --{name}-longest is less: {}",
                term::time(first),
                term::time(longest)
            )))
        };
        let of_block = self.failures_per_block.unwrap_or(self.failures_per_address.saturating_mul(8));
        let of_addresses = |free| waits(free, ("penalty", self.penalty_wait), self.penalty_longest);
        let penalties = Penalties::default()
            .with_source(of_addresses(self.failures_per_address)?)
            .with_block(of_addresses(of_block)?)
            .with_blocks(self.penalty_blocks.ipv4, self.penalty_blocks.ipv6)
            .with_account(waits(
                self.failures_per_user,
                ("user-penalty", self.user_penalty_wait),
                self.user_penalty_longest,
            )?)
            .with_total(self.failures_per_minute);
        Ok(Some(self.penalty_exempt.iter().fold(penalties, |penalties, block| penalties.with_exempt(block.source()))))
    }
}

/// These, each of which is logged, over what servers share, where they do.
pub(super) fn over(penalties: Penalties, log: &Arc<Log>, redis: Option<&Watched>) -> Penalties {
    let log = Arc::clone(log);
    let logged = penalties.with_observer(move |event| log_event(&log, event));
    match redis {
        Some(redis) => redis.penalties(logged),
        None => logged,
    }
}

fn log_event(log: &Log, event: &PenaltyEvent<'_>) {
    if let PenaltyEvent::Wait { penalty, source, user, wait } = event {
        let mut entry = Entry::new("penalty").field("code", penalty.code());
        if let Some(source) = source {
            entry = entry.text("source", &source.to_string());
        }
        user.fields(|name, field| entry.add(name, field));
        // Whoever guesses with many names must not fill the disk, and whoever makes junk connections not hide who is guessed at.
        log.write_penalty(entry.field("seconds", wait.as_secs()));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::parsed;
    use super::*;

    fn shown(guessing: &Guessing) -> String {
        format!("{:?}", guessing.penalties().ok().unwrap())
    }

    #[test]
    fn without_flags_guessing_costs_what_the_library_says() {
        let default = format!("{:?}", Some(Penalties::default()));
        assert_eq!(shown(&Guessing::default()), default);
        assert_eq!(shown(&parsed(&[]).guessing), default);
        assert_eq!(shown(&parsed(&["--no-penalties"]).guessing), "None");
    }

    #[test]
    fn operators_are_told_what_guessing_costs_without_flags() {
        let (page, time) = (include_str!("../../../docs/operating.md"), term::time);
        for part in [
            format!(
                "{OF_ADDRESS} of an address, eight times as many of the block of addresses around it, {OF_USER} wrong passwords"
            ),
            format!("after the next one, and how long at the most: `{}`, `{}`", time(WAIT), time(LONGEST)),
            format!("the same for passwords for a user: `{}`, `{}`", time(USER_WAIT), time(USER_LONGEST)),
            format!("how large a block is: `{BLOCKS}`; `32,64` for none"),
            format!("past which strangers have to wait: {A_MINUTE} |"),
        ] {
            assert!(page.contains(&part), "docs/operating.md does not say: {part}");
        }
    }

    #[test]
    fn each_flag_says_what_guessing_costs() {
        let seconds = Duration::from_secs;
        let exempt: Block = "192.0.2.0/24".parse().unwrap();
        let expected = Penalties::default()
            .with_source(Waits::new(3, seconds(7), seconds(700)))
            .with_block(Waits::new(24, seconds(7), seconds(700)))
            .with_blocks(20, 56)
            .with_account(Waits::new(11, seconds(1), seconds(1000)))
            .with_total(61)
            .with_exempt(exempt.source());
        let flags = [
            "--failures-per-address=3",
            "--failures-per-user=11",
            "--failures-per-minute=61",
            "--penalty-wait=7s",
            "--penalty-longest=700s",
            "--user-penalty-wait=1s",
            "--user-penalty-longest=1000s",
            "--penalty-blocks=20,56",
            "--penalty-exempt=192.0.2.0/24",
        ];
        assert_eq!(shown(&parsed(&flags).guessing), format!("{:?}", Some(expected.clone())));
        let of_block = expected.with_block(Waits::new(5, seconds(7), seconds(700)));
        let flags = [&flags[..], &["--failures-per-block=5"]].concat();
        assert_eq!(shown(&parsed(&flags).guessing), format!("{:?}", Some(of_block)));
    }

    #[test]
    fn a_longest_wait_that_is_less_than_the_first_is_refused() {
        for (flag, name) in
            [("--penalty-wait=11m", "--penalty-longest"), ("--user-penalty-longest=1s", "--user-penalty-wait")]
        {
            let failure = parsed(&[flag]).guessing.penalties().err().unwrap();
            assert!(failure.to_string().contains(name), "{failure}");
        }
    }

    #[test]
    fn blocks_of_addresses_are_two_prefixes() {
        for (text, blocks) in [("24,48", (24, 48)), ("0, 128", (0, 128)), ("32,64", (32, 64))] {
            let read: Blocks = text.parse().unwrap();
            assert_eq!((read.ipv4, read.ipv6), blocks);
        }
        for text in ["", "24", "33,48", "24,129", "24,48,1", "24/48", "-1,48"] {
            assert!(text.parse::<Blocks>().is_err(), "{text}");
        }
    }
}
