//! The flags that say how long what may take, and how much of it there may be at once.

use super::Sharing;
use crate::crypto;
use crate::failure::Failure;
use crate::term;
use clap::Args;
use countersign::{Bounds, CredentialKind, PuzzleDifficulty, Puzzles, Recheck, ServerConfig, TicketKeys, limits};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

const TICKET_LIFETIME: Duration = Duration::from_secs(3600);
const DRAIN: Duration = Duration::ZERO;
const RECHECK: Duration = Duration::from_secs(30);
const RECHECK_GRACE: Duration = Duration::from_secs(600);
const MAX_WAIT: Duration = Duration::from_secs(1);
const HARDEST_PUZZLE: u8 = 16;
pub(crate) const MAX_HANDSHAKES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);
/// Fewer than the library's: each is a connection of the service behind this, too.
pub(crate) const MAX_SESSIONS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(511);

#[derive(Args, Clone, Copy)]
pub(crate) struct Options {
    /// How long a client may take to log in
    #[arg(long, value_name = "TIME", default_value = term::time(limits::HANDSHAKE_TIMEOUT), value_parser = term::timeout)]
    pub(super) handshake_timeout: Duration,
    /// How long after a login's arrival a refusal goes out, whatever its reason: keep it above what a password hash takes
    #[arg(long, value_name = "TIME", default_value = term::time(limits::REFUSAL_FLOOR), value_parser = term::duration)]
    pub(super) refusal_floor: Duration,
    /// How long the ticket of a login lets the same client in again, without a password; 0s gives out none
    #[arg(long, value_name = "TIME", default_value = term::time(TICKET_LIFETIME), value_parser = term::duration)]
    pub(super) ticket_lifetime: Duration,
    /// How long sessions may go on once the server is told to stop. After that, and half a second to say goodbye, they are cut
    #[arg(long, value_name = "TIME", default_value = term::time(DRAIN), value_parser = term::duration)]
    pub(super) drain: Duration,
    /// Log names of users that do not exist, too. People type passwords there: keep the log as secret as those. Without it,
    /// such a name is a user_tag in the log, the same for the same name until the server is started anew
    #[arg(long, help_heading = "Watching it")]
    pub(super) log_unknown_names: bool,
    /// How soon an open session notices at the latest that its user was removed, locked or changed, or has expired; a change of a users file is
    /// noticed within a second anyway. 0s for the file alone, and with a database or a directory for no change at all
    #[arg(long, value_name = "TIME", default_value = term::time(RECHECK), value_parser = term::duration)]
    pub(super) recheck: Duration,
    /// How long sessions go on while the users file, the database or the directory can't be read
    #[arg(long, value_name = "TIME", default_value = term::time(RECHECK_GRACE), value_parser = term::duration)]
    pub(super) recheck_grace: Duration,
    /// Open handshakes at once: from the connection until the login has arrived
    #[arg(long, value_name = "NUMBER", default_value_t = MAX_HANDSHAKES, help_heading = "Bounds")]
    pub(super) max_handshakes: NonZeroUsize,
    /// Open handshakes of one address [default: half of them]
    #[arg(long, value_name = "NUMBER", help_heading = "Bounds")]
    pub(super) max_handshakes_per_address: Option<NonZeroUsize>,
    /// How long a login may wait for a core before it is turned away
    #[arg(long, value_name = "TIME", default_value = term::time(MAX_WAIT), value_parser = term::duration, help_heading = "Bounds")]
    pub(super) max_wait: Duration,
    /// While logins wait for a core, have clients solve a puzzle before this server does anything costly for them: it gets harder for as long
    /// as they wait. Nobody is asked who comes by ticket, or from an address that has logged in before and of which no login was refused
    /// lately. Clients that solve none are told that the server is busy
    #[arg(long, help_heading = "Bounds")]
    pub(super) puzzles: bool,
    /// How hard the puzzles may get, 1 to 24: 16 bits are a million hashes, a tenth of a second or so; one more doubles that. Clients
    /// go up to 17 unless told otherwise
    #[arg(long, value_name = "BITS", default_value_t = HARDEST_PUZZLE, help_heading = "Bounds", requires = "puzzles",
        value_parser = clap::value_parser!(u8).range(1..=24))]
    pub(super) hardest_puzzle: u8,
    /// Logins that are not decided yet, and refusals that wait until they are told, together; a quarter of them may be of one
    /// address. Past that, a connection is closed when its login arrives; those of addresses with none are let in up to twice
    /// as many [default: twice --max-handshakes]
    #[arg(long, value_name = "NUMBER", help_heading = "Bounds")]
    pub(super) max_refusals: Option<NonZeroUsize>,
    /// Sessions at once; past that, logins are turned away before they cost an RSA operation
    #[arg(long, value_name = "NUMBER", default_value_t = MAX_SESSIONS, help_heading = "Bounds")]
    pub(super) max_sessions: NonZeroUsize,
    /// Sessions of one address; past that, too [default: half of them]
    #[arg(long, value_name = "NUMBER", help_heading = "Bounds")]
    pub(super) max_sessions_per_address: Option<NonZeroUsize>,
    /// Sessions of one user; past that, a login is refused once it is known whose it is [default: an eighth of them]
    #[arg(long, value_name = "NUMBER", help_heading = "Bounds")]
    pub(super) max_sessions_per_user: Option<NonZeroUsize>,
}

/// The demo's.
impl Default for Options {
    fn default() -> Self {
        const MANY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);
        Self {
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            refusal_floor: limits::REFUSAL_FLOOR,
            ticket_lifetime: TICKET_LIFETIME,
            drain: DRAIN,
            log_unknown_names: false,
            recheck: RECHECK,
            recheck_grace: RECHECK_GRACE,
            max_handshakes: MANY,
            max_handshakes_per_address: Some(MANY),
            max_wait: MAX_WAIT,
            puzzles: false,
            hardest_puzzle: HARDEST_PUZZLE,
            max_refusals: None,
            max_sessions: MANY,
            max_sessions_per_address: None,
            max_sessions_per_user: None,
        }
    }
}

impl Options {
    /// What is doubtful about them.
    pub(super) fn warning(&self) -> Option<String> {
        (self.refusal_floor >= self.handshake_timeout).then(|| {
            "warning: --refusal-floor is no shorter than --handshake-timeout: clients give up before they hear of a refusal".to_owned()
        })
    }

    /// Of a server that takes these credentials.
    pub(super) fn config(&self, kinds: &[CredentialKind]) -> Result<ServerConfig, Failure> {
        let config = ServerConfig::new(crypto::provider())
            .with_handshake_timeout(self.handshake_timeout)
            .with_refusal_floor(self.refusal_floor);
        config.with_credential_kinds(kinds).map_err(Failure::new)
    }

    /// The keys of its tickets; `None` where it gives none.
    pub(crate) fn tickets(&self, sharing: &Sharing) -> Option<Arc<TicketKeys>> {
        let keys = || Arc::new(sharing.tickets(TicketKeys::new(crypto::provider(), self.ticket_lifetime)));
        (!self.ticket_lifetime.is_zero()).then(keys)
    }

    pub(super) fn recheck(&self, looks_once: bool) -> Recheck {
        let recheck = if self.recheck.is_zero() { Recheck::never() } else { Recheck::every(self.recheck) };
        let recheck = recheck.with_grace(self.recheck_grace);
        if looks_once { recheck.closing_on_change() } else { recheck }
    }

    /// The puzzles; `None` where there are to be none.
    pub(super) fn puzzles(&self) -> Result<Option<Puzzles>, Failure> {
        let most = PuzzleDifficulty::new(self.hardest_puzzle).map_err(Failure::new)?;
        // An eighth of what a login may wait, as for the library's own second.
        let wait = self.max_wait.checked_div(8).unwrap_or_default().max(Duration::from_millis(1));
        Ok(self.puzzles.then(|| Puzzles::default().with_most(most).with_wait(wait)))
    }

    pub(super) fn bounds(&self) -> Bounds {
        let handshakes = self.max_handshakes.get();
        let mut bounds = Bounds::default()
            .with_handshakes(handshakes)
            .with_refusals(self.max_refusals.map_or(handshakes.saturating_mul(2), NonZeroUsize::get))
            .with_sessions(self.max_sessions.get())
            .with_patience(self.max_wait.min(self.handshake_timeout));
        if let Some(handshakes) = self.max_handshakes_per_address {
            bounds = bounds.with_handshakes_per_source(handshakes.get());
        }
        if let Some(sessions) = self.max_sessions_per_address {
            bounds = bounds.with_sessions_per_source(sessions.get());
        }
        if let Some(sessions) = self.max_sessions_per_user {
            bounds = bounds.with_sessions_per_principal(sessions.get());
        }
        bounds
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::parsed;
    use super::*;

    const KINDS: &[CredentialKind] = &[CredentialKind::Password];

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// As `Debug` shows all that is made of them: the configuration, the lifetime of tickets, the bounds, the puzzles, and when sessions are looked at.
    fn shown(options: &Options) -> [String; 5] {
        [
            format!("{:?}", options.config(KINDS).ok().unwrap()),
            format!("{:?}", options.tickets(&Sharing::default())),
            format!("{:?}", options.bounds()),
            format!("{:?}", options.puzzles().ok().unwrap()),
            format!("{:?}", options.recheck(false)),
        ]
    }

    fn expected(
        [timeout, floor, lifetime]: [Duration; 3],
        bounds: Bounds,
        puzzles: Option<Puzzles>,
        recheck: Recheck,
    ) -> [String; 5] {
        let config = ServerConfig::new(crypto::provider()).with_handshake_timeout(timeout).with_refusal_floor(floor);
        [
            format!("{:?}", config.with_credential_kinds(KINDS).unwrap()),
            format!("{:?}", Some(TicketKeys::new(crypto::provider(), lifetime))),
            format!("{bounds:?}"),
            format!("{puzzles:?}"),
            format!("{recheck:?}"),
        ]
    }

    #[test]
    fn what_is_said_counts_whether_it_is_less_than_by_default_or_more() {
        let less = parsed(&[
            "--handshake-timeout=2s",
            "--refusal-floor=20ms",
            "--ticket-lifetime=1m",
            "--recheck=1s",
            "--recheck-grace=3s",
            "--max-handshakes=5",
            "--max-handshakes-per-address=2",
            "--max-wait=80ms",
            "--puzzles",
            "--hardest-puzzle=3",
            "--max-refusals=7",
            "--max-sessions=9",
            "--max-sessions-per-address=4",
            "--max-sessions-per-user=3",
        ]);
        let bounds = Bounds::default().with_handshakes(5).with_handshakes_per_source(2).with_refusals(7);
        let bounds = bounds.with_sessions(9).with_sessions_per_source(4).with_sessions_per_principal(3);
        let hardest = |bits| PuzzleDifficulty::new(bits).unwrap();
        let puzzles = Puzzles::default().with_most(hardest(3)).with_wait(ms(10));
        let recheck = Recheck::every(ms(1000)).with_grace(ms(3000));
        let times = [ms(2000), ms(20), ms(60_000)];
        assert_eq!(shown(&less.options), expected(times, bounds.with_patience(ms(80)), Some(puzzles), recheck));

        let more = parsed(&[
            "--handshake-timeout=100s",
            "--refusal-floor=3s",
            "--ticket-lifetime=5h",
            "--drain=1m",
            "--log-unknown-names",
            "--recheck=10m",
            "--recheck-grace=1day",
            "--max-handshakes=9000",
            "--max-handshakes-per-address=8000",
            "--max-wait=8s",
            "--puzzles",
            "--hardest-puzzle=20",
            "--max-refusals=50000",
            "--max-sessions=6000",
            "--max-sessions-per-address=5900",
            "--max-sessions-per-user=5800",
        ]);
        let bounds = Bounds::default().with_handshakes(9000).with_handshakes_per_source(8000).with_refusals(50_000);
        let bounds = bounds.with_sessions(6000).with_sessions_per_source(5900).with_sessions_per_principal(5800);
        let puzzles = Puzzles::default().with_most(hardest(20)).with_wait(ms(1000));
        let recheck = Recheck::every(ms(600_000)).with_grace(ms(86_400_000));
        let times = [ms(100_000), ms(3000), ms(5 * 3_600_000)];
        assert_eq!(shown(&more.options), expected(times, bounds.with_patience(ms(8000)), Some(puzzles), recheck));
        assert!(more.options.log_unknown_names && more.options.drain == ms(60_000));
        assert_eq!(format!("{:?}", more.options.recheck(true)), format!("{:?}", recheck.closing_on_change()));
    }

    #[test]
    fn what_is_not_said_is_as_help_says_and_nothing_is_none() {
        let bounds = Bounds::default().with_handshakes(1024).with_refusals(2048).with_sessions(512);
        let bounds = bounds.with_patience(ms(1000));
        let recheck = Recheck::every(ms(30_000)).with_grace(ms(600_000));
        let times = [limits::HANDSHAKE_TIMEOUT, limits::REFUSAL_FLOOR, ms(3_600_000)];
        let options = parsed(&[]).options;
        assert_eq!(shown(&options), expected(times, bounds, None, recheck));
        assert!(!options.log_unknown_names && options.drain.is_zero());
        // Nobody waits for a turn for longer than for a login.
        let impatient = parsed(&["--max-wait=20s", "--handshake-timeout=3s"]).options;
        assert_eq!(format!("{:?}", impatient.bounds()), format!("{:?}", bounds.with_patience(ms(3000))));
        let none = parsed(&["--ticket-lifetime=0s", "--recheck=0s"]).options;
        assert!(none.tickets(&Sharing::default()).is_none());
        assert_eq!(format!("{:?}", none.recheck(false)), format!("{:?}", Recheck::never().with_grace(ms(600_000))));
    }
}
