//! What strangers may make a server do at once.

use core::time::Duration;

/// What strangers may make a server do at once. Whatever may be had in numbers is bounded by source before it is bounded by the
/// total, so that one address can't take the places of all others ([`crate::Source`]).
///
/// | what | default | past it |
/// |---|---|---|
/// | handshakes that wait for their peers | 1024, half of them of one source | the source with the most loses one: first of those that have kept the server waiting for half a second, a connection that has sent nothing before one that has, at random among those alike |
/// | logins computing | as many as there are processors | the next ones wait |
/// | questions to whoever has a remote key, and to an async verifier | 64 | the next ones wait |
/// | questions to a verifier about open sessions ([`crate::Recheck`]) | 16 | the next ones wait; no session ends for that |
/// | hellos and logins waiting for a turn to be computed, and for one to be asked about | 256 each, each for a second | one of the source with the most refused logins of late, and the most waiting, is turned away, of sources from which nobody has logged in before others, a hello before a login whose hello was opened: a hello is told that the server is busy, a login *not now* if it is open, and otherwise closed. Once those before it have waited for half a second, a hello is turned away at once |
/// | logins and good tickets that are not decided, and refusals that are not due | 2048, 512 of one source; a source that has none of them, and an uncounted one, is let in up to 4096 | a login is closed when it arrives, without an answer; a ticket is not taken |
/// | of these, logins that wait for a further factor | 256 of one principal | the login is refused |
/// | sessions | 4096, half of them of one source, an eighth of one principal | a hello is told that the server is busy; where it is the principal who has too many, the login is refused |
///
/// ```
/// use countersign::Bounds;
/// use std::time::Duration;
///
/// let bounds = Bounds::default().with_handshakes(256).with_sessions(100_000).with_sessions_per_principal(2);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub(super) handshakes: usize,
    pub(super) handshakes_per_source: Option<usize>,
    pub(super) working: usize,
    pub(super) remote: usize,
    pub(super) rechecks: usize,
    pub(super) waiting: usize,
    pub(super) patience: Duration,
    pub(super) refusals: usize,
    pub(super) sessions: usize,
    pub(super) sessions_per_source: Option<usize>,
    pub(super) sessions_per_principal: Option<usize>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            handshakes: 1024,
            handshakes_per_source: None,
            working: std::thread::available_parallelism().map_or(1, core::num::NonZero::get),
            remote: 64,
            rechecks: 16,
            waiting: 256,
            patience: Duration::from_secs(1),
            refusals: 2048,
            sessions: 4096,
            sessions_per_source: None,
            sessions_per_principal: None,
        }
    }
}

impl Bounds {
    /// Bounds the handshakes that are open at once: from the connection until the login has arrived. Half of them may be
    /// of one source unless [`Bounds::with_handshakes_per_source`] says otherwise.
    #[must_use]
    pub fn with_handshakes(mut self, handshakes: usize) -> Self {
        self.handshakes = handshakes.max(1);
        self
    }

    /// Bounds the open handshakes of one source.
    #[must_use]
    pub fn with_handshakes_per_source(mut self, handshakes: usize) -> Self {
        self.handshakes_per_source = Some(handshakes.max(1));
        self
    }

    /// Bounds the logins whose RSA operation and password hash run at once on the acceptor's threads, at least 1. Each may take as much memory as the
    /// password hash does: 19 MiB with Argon2id at its defaults.
    #[must_use]
    pub fn with_working(mut self, working: usize) -> Self {
        self.working = working.max(1);
        self
    }

    /// Bounds the logins about which somebody else is asked at once, at least 1: whoever has a remote key
    /// ([`crate::crypto::RemoteDecrypt`]), and a [`crate::AsyncVerifier`], about tickets also. A login holds one of them for both, and
    /// nobody is asked before it has it.
    #[must_use]
    pub fn with_remote(mut self, remote: usize) -> Self {
        self.remote = remote.max(1);
        self
    }

    /// Bounds the questions about open sessions that a verifier is asked at once ([`crate::Recheck`]), at least 2. There are as many as the sessions need:
    /// of a store that answers in 50 ms, 16 hear of 300 sessions a second, which are 6,000 that are looked at each half minute; with fewer, or with
    /// more sessions, each is looked at less often. A blocking verifier is asked on as many threads, at the most.
    #[must_use]
    pub fn with_rechecks(mut self, questions: usize) -> Self {
        self.rechecks = questions.max(2);
        self
    }

    /// Bounds the logins that wait for their turn: for the threads, and as many for whoever is asked elsewhere.
    #[must_use]
    pub fn with_waiting(mut self, waiting: usize) -> Self {
        self.waiting = waiting;
        self
    }

    /// Bounds how long a login waits for a turn. After that it is turned away, as [`crate::Reason::NotNow`]. Once some
    /// have waited for half of it, the newest are served first, so that not all wait for as long as this, and hellos are told that the
    /// server is busy before they add to it.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Bounds the logins that have arrived and are not decided, the tickets that are asked about, and the refusals that wait until they are due
    /// ([`crate::ServerConfig::with_refusal_floor`]), together; a quarter of them may be of one source, and an eighth may be logins of one principal that wait for a further factor. So that a few
    /// sources can't keep all others out, one that has none of them is let in up to twice as many, and so are uncounted ones
    /// ([`crate::Source::uncounted`]): [`Bounds::files`] counts with that. A refusal costs a connection and some 2 KiB, and no thread.
    #[must_use]
    pub fn with_refusals(mut self, refusals: usize) -> Self {
        self.refusals = refusals.max(1);
        self
    }

    /// Bounds the sessions that are open at once: half of them may be of one source, an eighth of one principal, unless
    /// the next two say otherwise. A session counts for as long as its [`crate::Stream`] is kept.
    #[must_use]
    pub fn with_sessions(mut self, sessions: usize) -> Self {
        self.sessions = sessions.max(1);
        self
    }

    /// Bounds the open sessions of one source.
    #[must_use]
    pub fn with_sessions_per_source(mut self, sessions: usize) -> Self {
        self.sessions_per_source = Some(sessions.max(1));
        self
    }

    /// Bounds the open sessions of one principal.
    #[must_use]
    pub fn with_sessions_per_principal(mut self, sessions: usize) -> Self {
        self.sessions_per_principal = Some(sessions.max(1));
        self
    }

    /// How many open files a server may need within these bounds, where each session takes `per_session`, its connection counted in: 2 where it is
    /// accepted by [`accept_blocking`](crate::Acceptor::accept_blocking), which keeps a second descriptor to end it by, otherwise 1, and what the application opens for it. What the
    /// process has open besides comes on top: [`OWN_FILES`](crate::limits::OWN_FILES), and what stores and an
    /// [`AsyncVerifier`](crate::AsyncVerifier) open, such as a pool of connections (`Place::files` in countersign-stores), or a connection for each question
    /// ([`Bounds::questions`]).
    pub fn files(&self, per_session: usize) -> usize {
        let refusals = self.refusals_at_the_most();
        self.handshakes.saturating_add(refusals).saturating_add(self.sessions.saturating_mul(per_session))
    }

    /// Lowers those bounds for each of which a file is open, so that [`Bounds::files`] is no more than `files`: a quarter for handshakes, a
    /// quarter for refusals, and what those leave for sessions, of which each takes `per_session`, as there; each at least 1.
    ///
    /// `files` is what the process may have open (`ulimit -n`, often 1024), less what it has open besides. The defaults need more than that: a
    /// flood of connections then meets the system's bound before it meets these, by which those of the flood make way for others, and nobody gets
    /// in until the flood's own deadlines end it. `fitting_process` (feature `files`) finds out what the process may have open, and raises it.
    ///
    /// ```
    /// use countersign::Bounds;
    ///
    /// let bounds = Bounds::default().fitting(1024 - 20, 1);
    /// assert!(bounds.files(1) <= 1004 && bounds.handshakes() == 251 && bounds.sessions() > 500);
    /// ```
    #[must_use]
    pub fn fitting(mut self, files: usize, per_session: usize) -> Self {
        if self.files(per_session) <= files {
            return self;
        }
        let of_a_quarter = |count: usize, each| count.min(part(files, each).checked_div(4).unwrap_or(count)).max(1);
        self.handshakes = of_a_quarter(self.handshakes, 1);
        self.refusals = of_a_quarter(self.refusals, FOR_REFUSAL);
        let left = files.saturating_sub(Self { sessions: 0, ..self }.files(per_session));
        self.sessions = self.sessions.min(left.checked_div(per_session).unwrap_or(usize::MAX)).max(1);
        self
    }

    /// As [`Bounds::fitting`], to what this process may have open, which is raised first as far as the system lets it
    /// ([`raise_open_files`](crate::raise_open_files)). [`OWN_FILES`](crate::limits::OWN_FILES) are left for the process itself, and `besides` for what
    /// else it has open, stores above all (see [`Bounds::files`]).
    ///
    /// ```
    /// use countersign::Bounds;
    ///
    /// let bounds = Bounds::default().fitting_process(1, 0); // where each session is a connection, and nothing else is open
    /// let blocking = Bounds::default().fitting_process(2, 0); // the same with `accept_blocking`, by which a session takes two
    /// ```
    #[cfg(feature = "files")]
    #[must_use]
    pub fn fitting_process(self, per_session: usize, besides: usize) -> Self {
        let own = crate::limits::OWN_FILES.saturating_add(besides);
        match super::raise_open_files() {
            Some(files) => self.fitting(files.saturating_sub(own), per_session),
            None => self,
        }
    }

    /// How many handshakes may be open at once.
    pub fn handshakes(&self) -> usize {
        self.handshakes
    }

    /// How many undecided logins and refusals there may be; of sources that have none yet, and uncounted ones, twice as many
    /// ([`Bounds::with_refusals`]).
    pub fn refusals(&self) -> usize {
        self.refusals
    }

    /// How many questions a verifier may be asked at once: about logins and tickets ([`Bounds::with_remote`]), and about open sessions
    /// ([`Bounds::with_rechecks`]).
    pub fn questions(&self) -> usize {
        self.remote.saturating_add(self.rechecks)
    }

    /// How many sessions may be open at once.
    pub fn sessions(&self) -> usize {
        self.sessions
    }

    pub(super) fn handshakes_of_a_source(&self) -> usize {
        self.handshakes_per_source.unwrap_or_else(|| part(self.handshakes, 2))
    }

    pub(super) fn refusals_at_the_most(&self) -> usize {
        self.refusals.saturating_mul(FOR_REFUSAL)
    }

    pub(super) fn refusals_of_a_source(&self) -> usize {
        part(self.refusals, 4)
    }

    pub(super) fn factors_of_a_principal(&self) -> usize {
        part(self.refusals, 8)
    }

    pub(super) fn sessions_of_a_source(&self) -> usize {
        self.sessions_per_source.unwrap_or_else(|| part(self.sessions, 2))
    }

    pub(super) fn sessions_of_a_principal(&self) -> usize {
        self.sessions_per_principal.unwrap_or_else(|| part(self.sessions, 8))
    }
}

/// Sources with nothing undecided are let in past the bound of refusals, up to twice as many.
const FOR_REFUSAL: usize = 2;

/// A part of a bound, at least 1.
fn part(whole: usize, parts: usize) -> usize {
    whole.checked_div(parts).unwrap_or(whole).max(1)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn by_default_there_is_as_much_as_its_table_says() {
        let table = include_str!("bounds.rs");
        let bounds = Bounds::default();
        assert_eq!(bounds.handshakes_of_a_source() * 2, bounds.handshakes);
        assert_eq!(
            (bounds.sessions_of_a_source() * 2, bounds.sessions_of_a_principal() * 8),
            (bounds.sessions, bounds.sessions)
        );
        let (refusals, of_a_source) = (bounds.refusals, bounds.refusals_of_a_source());
        for row in [
            format!("handshakes that wait for their peers | {}, half of them of one source |", bounds.handshakes),
            format!("to an async verifier | {} |", bounds.remote),
            format!("about open sessions ([`crate::Recheck`]) | {} |", bounds.rechecks),
            format!("for one to be asked about | {} each, each for a second |", bounds.waiting),
            format!("refusals that are not due | {refusals}, {of_a_source} of one source; "),
            format!("and an uncounted one, is let in up to {} |", bounds.refusals_at_the_most()),
            format!("wait for a further factor | {} of one principal |", bounds.factors_of_a_principal()),
            format!("sessions | {}, half of them of one source, an eighth of one principal |", bounds.sessions),
        ] {
            assert!(table.contains(&row), "the table does not say: {row}");
        }
        assert_eq!(bounds.patience, Duration::from_secs(1));
        assert_eq!(bounds.questions(), bounds.remote + bounds.rechecks);
        // Of the two some have half the turns at the most, and the others are never without one.
        assert_eq!(bounds.with_rechecks(0).questions(), bounds.remote + 2);
        let processors = std::thread::available_parallelism().map_or(1, core::num::NonZero::get);
        assert_eq!(bounds.working, processors);
    }

    #[test]
    fn bounds_are_lowered_only_where_they_need_more_open_files_than_there_are() {
        let bounds = Bounds::default().with_handshakes(1024).with_refusals(2048).with_sessions(512);
        let needed = 1024 + 2 * 2048 + 2 * 512;
        assert_eq!(bounds.files(2), needed);
        let numbers = |bounds: Bounds| (bounds.handshakes(), bounds.refusals(), bounds.sessions());
        assert_eq!(numbers(bounds.fitting(needed, 2)), (1024, 2048, 512));
        for files in [0, 5, 28, 236, 1004, needed - 1] {
            let fitting = bounds.fitting(files, 2);
            assert!(fitting.files(2) <= files.max(5), "{files}: {fitting:?}");
            assert!(fitting.handshakes() >= (files / 4).min(1024), "{files}: {fitting:?}");
        }
        // A session may need none, where it is handed to somebody else.
        assert_eq!(bounds.fitting(100, 0).sessions(), 512);
    }
}
