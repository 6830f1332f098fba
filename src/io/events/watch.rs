//! What is gathered on the way, and the two moments at which it is told: when a handshake ends, and when a session does.

use super::super::error::LoginError;
use super::super::live::Live;
use super::super::places::SessionPlace;
use super::tally::{Tally, Totals};
use super::{Decision, Ended, Event, Named, Timings};
use crate::crypto::{KeyId, Suite};
use crate::handshake::server::{Claim, Hello};
use crate::session::{SessionId, SessionInfo};
use crate::terms::context::Context;
use crate::terms::credential::{Credential, CredentialKind};
use crate::terms::error::Reason;
use core::time::Duration;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

type Observer = dyn Fn(&Event<'_>) + Send + Sync;

/// Who is told, and what is counted.
#[derive(Clone, Default)]
pub(in crate::io) struct Reports {
    observer: Option<Arc<Observer>>,
    tally: Arc<Tally>,
    tags: Tags,
    pub(in crate::io) names_unknown: bool,
}

impl Reports {
    pub(in crate::io) fn set_observer(&mut self, observer: Arc<Observer>) {
        self.observer = Some(observer);
    }

    pub(in crate::io) fn totals(&self) -> Totals {
        self.tally.totals()
    }

    /// A connection that got no place.
    pub(in crate::io) fn failed(&self, context: &Context, error: &LoginError) {
        self.tell(&Trace::new(context).event(self, context, of_error(error)));
    }

    fn tell(&self, event: &Event<'_>) {
        self.tally.add((event.name(), event.code()));
        #[cfg(feature = "tracing")]
        super::traced::emit(event);
        if let Some(observer) = &self.observer {
            // One that panics ends neither the task of the login nor a loop that drives many.
            let _ = catch_unwind(AssertUnwindSafe(|| observer(event)));
        }
    }

    /// What this acceptor tags names with.
    pub(in crate::io) fn tags(&self) -> Tags {
        self.tags.clone()
    }

    fn named<'a>(&self, name: &'a str, is_known: bool) -> Named<'a> {
        if is_known {
            return Named::Known(name);
        }
        Named::Unknown { name: Some(name).filter(|_| self.names_unknown), tag: self.tags.tag(name) }
    }
}

/// What names are tagged with that nobody vouches for.
#[derive(Clone, Default)]
pub(in crate::io) struct Tags(RandomState);

impl Tags {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "half of the hash says less of the name, and is enough to count by"
    )]
    pub(in crate::io) fn tag(&self, name: &str) -> u32 {
        self.0.hash_one(name) as u32
    }
}

fn of_error(error: &LoginError) -> Decision<'_> {
    match error {
        LoginError::LoginRefused { reason, .. } => Decision::Refused(reason),
        LoginError::Busy(reason) => Decision::TurnedAway(*reason),
        error => Decision::Failed(error),
    }
}

/// What is known of a handshake so far. Shared with the threads that work for it.
pub(in crate::io) struct Trace {
    start: Instant,
    answered: OnceLock<Answered>,
    shown: OnceLock<Shown>,
    /// The verifier has vouched for whoever was named.
    is_known: AtomicBool,
    is_challenged: AtomicBool,
    factors: AtomicUsize,
    waited: Nanos,
    opened: Nanos,
    verified: Nanos,
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

struct Answered {
    server_name: String,
    key_id: KeyId,
    suite: Suite,
}

struct Shown {
    kind: CredentialKind,
    client_key: Option<KeyId>,
    user: Option<String>,
}

#[derive(Default)]
struct Nanos(AtomicU64);

impl Nanos {
    fn add(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Relaxed))
    }
}

impl Trace {
    pub(in crate::io) fn new(context: &Context) -> Self {
        #[cfg(not(feature = "tracing"))]
        let _ = context;
        Self {
            start: Instant::now(),
            answered: OnceLock::new(),
            shown: OnceLock::new(),
            is_known: AtomicBool::new(false),
            is_challenged: AtomicBool::new(false),
            factors: AtomicUsize::new(0),
            waited: Nanos::default(),
            opened: Nanos::default(),
            verified: Nanos::default(),
            #[cfg(feature = "tracing")]
            span: super::traced::span(context),
        }
    }

    /// A ClientHello is here, and the key that it is answered under.
    pub(in crate::io) fn hello(&self, hello: &Hello) {
        let (server_name, key_id, suite) = (hello.server_name().to_owned(), hello.key_id(), hello.suite());
        #[cfg(feature = "tracing")]
        super::traced::record(&self.span, &server_name, key_id, suite);
        // Once for each handshake.
        let _ = self.answered.set(Answered { server_name, key_id, suite });
    }

    /// A challenge is made.
    pub(in crate::io) fn challenged(&self) {
        self.is_challenged.store(true, Relaxed);
    }

    pub(in crate::io) fn is_challenged(&self) -> bool {
        self.is_challenged.load(Relaxed)
    }

    /// A ticket is taken whose chain began with this.
    pub(in crate::io) fn ticket(&self, kind: CredentialKind) {
        let _ = self.shown.set(Shown { kind, client_key: None, user: None });
    }

    /// A login was opened, if it could be.
    pub(in crate::io) fn claim(&self, claim: &Claim) {
        if !claim.is_open() {
            return;
        }
        let credential = claim.credential();
        let client_key = match credential {
            Credential::Key { key, .. } => Some(key.public_key().id()),
            _ => None,
        };
        let user = credential.user().filter(|user| !user.is_empty()).map(str::to_owned);
        let _ = self.shown.set(Shown { kind: credential.kind(), client_key, user });
    }

    /// The credential was good.
    pub(in crate::io) fn known(&self) {
        self.is_known.store(true, Relaxed);
    }

    /// A further factor is asked for.
    pub(in crate::io) fn factor(&self) {
        self.factors.fetch_add(1, Relaxed);
    }

    pub(in crate::io) fn waited(&self, since: Instant) {
        self.waited.add(since.elapsed());
    }

    pub(in crate::io) fn opened(&self, since: Instant) {
        self.opened.add(since.elapsed());
    }

    /// Whether a private key was used for it.
    pub(in crate::io) fn has_opened(&self) -> bool {
        !self.opened.get().is_zero()
    }

    pub(in crate::io) fn verified(&self, since: Instant) {
        self.verified.add(since.elapsed());
    }

    /// Opens a login or a hello, on whichever thread.
    pub(in crate::io) fn opening<R>(&self, open: impl FnOnce() -> R) -> R {
        let since = Instant::now();
        let opened = open();
        self.opened(since);
        opened
    }

    /// Asks the verifier, on whichever thread.
    pub(in crate::io) fn verifying<R>(&self, verify: impl FnOnce() -> R) -> R {
        let since = Instant::now();
        let verified = verify();
        self.verified(since);
        verified
    }

    /// Does work, here or on another thread, as a part of this handshake.
    pub(in crate::io) fn working<R>(&self, work: impl FnOnce() -> R) -> R {
        #[cfg(feature = "tracing")]
        return self.span.in_scope(work);
        #[cfg(not(feature = "tracing"))]
        work()
    }

    /// Whether the user that was named may be spoken of, after this reason.
    pub(in crate::io) fn may_name(&self, reason: &Reason, reports: &Reports) -> bool {
        reports.names_unknown || self.knows(reason)
    }

    /// The user that was named, as they may be spoken of after this reason.
    pub(in crate::io) fn named<'a>(&self, user: &'a str, reason: &Reason, reports: &Reports) -> Named<'a> {
        reports.named(user, self.knows(reason))
    }

    fn knows(&self, reason: &Reason) -> bool {
        reason.knows_account() || self.is_known.load(Relaxed)
    }

    fn event<'a>(&'a self, reports: &Reports, context: &'a Context, decision: Decision<'a>) -> Event<'a> {
        let (answered, shown) = (self.answered.get(), self.shown.get());
        let session = match decision {
            Decision::Accepted(info) | Decision::Resumed(info) => Some(info),
            _ => None,
        };
        let is_known = match decision {
            Decision::Refused(reason) => self.knows(reason),
            _ => self.is_known.load(Relaxed),
        };
        let user = shown.and_then(|shown| shown.user.as_deref());
        let user = user.map_or(Named::Nobody, |name| reports.named(name, is_known));
        let total = self.start.elapsed();
        Event {
            decision,
            context,
            server_name: answered.map_or("", |answered| &answered.server_name),
            key_id: answered.map(|answered| answered.key_id),
            suite: session.map(SessionInfo::suite).or(answered.map(|answered| answered.suite)),
            credential: shown.map(|shown| shown.kind),
            client_key: shown.and_then(|shown| shown.client_key),
            factors: self.factors.load(Relaxed),
            user,
            timings: Timings {
                waited: self.waited.get(),
                opened: self.opened.get(),
                verified: self.verified.get(),
                total,
            },
        }
    }
}

/// A handshake that is told of once, however it ends: also where its future is dropped.
pub(in crate::io) struct Watch<'s> {
    reports: &'s Reports,
    context: Arc<Context>,
    trace: Arc<Trace>,
    is_told: bool,
}

impl<'s> Watch<'s> {
    pub(in crate::io) fn new(reports: &'s Reports, context: &Arc<Context>, trace: &Arc<Trace>) -> Self {
        Self { reports, context: Arc::clone(context), trace: Arc::clone(trace), is_told: false }
    }

    /// As [`Trace::working`].
    pub(in crate::io) fn working<R>(&self, work: impl FnOnce() -> R) -> R {
        self.trace.working(work)
    }

    /// A session has begun: tells of it, and gives what its end is told by.
    pub(in crate::io) fn began(mut self, info: &SessionInfo) -> Record {
        let decision = if info.is_resumed() { Decision::Resumed(info) } else { Decision::Accepted(info) };
        self.tell(decision);
        Record {
            reports: self.reports.clone(),
            context: Arc::clone(&self.context),
            session: info.id(),
            began: Instant::now(),
        }
    }

    pub(in crate::io) fn refused(mut self, reason: &Reason) {
        self.tell(Decision::Refused(reason));
    }

    pub(in crate::io) fn failed(mut self, error: &LoginError) {
        self.tell(of_error(error));
    }

    fn tell(&mut self, decision: Decision<'_>) {
        self.is_told = true;
        self.reports.tell(&self.trace.event(self.reports, &self.context, decision));
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell(Decision::Abandoned);
        }
    }
}

/// A session that is told of when it ends.
pub(in crate::io) struct Record {
    reports: Reports,
    context: Arc<Context>,
    session: SessionId,
    began: Instant,
}

/// A session's place among those that the acceptor bounds, and who is told when it is given back: when the last part of its stream is
/// dropped.
pub(in crate::io) struct Seat {
    record: Record,
    place: SessionPlace,
    live: Arc<Live>,
}

impl Seat {
    pub(in crate::io) fn new(record: Record, place: SessionPlace, live: Arc<Live>) -> Self {
        Self { record, place, live }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Record { reports, context, session, began } = &self.record;
        let (received, sent) = self.live.traffic.bytes();
        let ended = Ended {
            principal: self.place.principal(),
            session: *session,
            how: self.live.end_so_far(),
            lasted: began.elapsed(),
            received,
            sent,
        };
        reports.tell(&Event {
            decision: Decision::Ended(ended),
            context,
            server_name: "",
            key_id: None,
            suite: None,
            credential: None,
            client_key: None,
            factors: 0,
            user: Named::Nobody,
            timings: Timings::default(),
        });
    }
}
