//! The open sessions, and asking about them again: whether their principals are still welcome, and with what grant.
//!
//! One thread sees whose time has come; a few others ask, so that a verifier which hangs holds up neither logins nor the clock. All of
//! them end when there is nothing to do.

mod ask;

use super::acceptor::AnyVerifier;
use super::live::Live;
use super::recheck::Recheck;
use crate::terms::context::Context;
use crate::terms::credential::CredentialKind;
use crate::terms::error::Reason;
use crate::terms::grant::Grant;
use crate::terms::revocation::Revocation;
use crate::time::UnixTime;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Questions at once. A verifier that hangs takes one of these threads for each session that it hangs about.
pub(super) const ASKERS: usize = 4;

/// How long the owner of a session that was ended has to tell its peer before what blocks in writing is ended, too.
const FAREWELL: Duration = Duration::from_secs(1);

/// How soon a no is asked about once more. A store that is just being written, such as a file that is cut and filled again, may look as if
/// nobody were in it; that must not end everybody's session.
const SURE: Duration = Duration::from_millis(100);

/// How long a thread without work lives.
const IDLE: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 10_000 });

/// The open sessions of an acceptor. A clone is the same.
#[derive(Clone)]
pub(super) struct Sessions(Arc<Shared>);

struct Shared {
    verifier: AnyVerifier,
    state: Mutex<State>,
    /// There is somebody to ask about.
    asked: Condvar,
    /// The clock has something to do before its next tick.
    woken: Condvar,
}

#[derive(Default)]
struct State {
    recheck: Recheck,
    next: u64,
    /// How often the application has said that something changed.
    notices: u64,
    open: HashMap<u64, Open>,
    queue: VecDeque<u64>,
    threads: usize,
    idle: usize,
    has_clock: bool,
    random: RandomState,
    revoked: u64,
}

/// An open session.
struct Open {
    live: Arc<Live>,
    shown: Arc<Shown>,
    /// When it is asked about next.
    due: Option<Instant>,
    /// Since when it is in the queue, or asked about.
    asking: Option<Instant>,
    /// Something changed while it was asked about.
    again: bool,
    /// Since when all answers would have ended it.
    doubted: Option<Instant>,
    /// Since when nobody can tell.
    unconfirmed: Option<Instant>,
    /// Where it was ended: when what blocks on it is.
    stop: Option<Instant>,
    /// Where an async verifier is asked about it: the runtime in which it was accepted, whichever call that was.
    #[cfg(feature = "tokio")]
    runtime: Option<tokio::runtime::Handle>,
}

/// What a session began with.
pub(super) struct Shown {
    pub(super) kind: CredentialKind,
    pub(super) authenticated: UnixTime,
    pub(super) server_name: Box<str>,
    pub(super) context: Arc<Context>,
    /// [`Sessions::notices`] when its connection came.
    pub(super) notices: u64,
}

/// A session's entry; dropping it takes it out.
pub(super) struct Entry {
    sessions: Sessions,
    id: u64,
    live: Arc<Live>,
}

impl Sessions {
    pub(super) fn new(recheck: Recheck, verifier: AnyVerifier) -> Self {
        let (asked, woken) = (Condvar::new(), Condvar::new());
        let state = Mutex::new(State { recheck, ..State::default() });
        Self(Arc::new(Shared { verifier, state, asked, woken }))
    }

    /// Goes by this from now on.
    pub(super) fn set_recheck(&self, recheck: Recheck) {
        let now = Instant::now();
        let mut state = self.lock();
        state.recheck = recheck;
        let ids: Vec<u64> = state.open.keys().copied().collect();
        for id in ids {
            let due = state.due(id, now);
            state.open.entry(id).and_modify(|open| open.due = due);
        }
        if !state.open.is_empty() {
            self.start_clock(&mut state);
        }
        self.0.woken.notify_one();
    }

    /// How many changes the application has told of. A login that may have been decided before one is asked about at once.
    pub(super) fn notices(&self) -> u64 {
        self.lock().notices
    }

    /// Enters a session that begins, where its login was accepted.
    pub(super) fn enter(&self, live: &Arc<Live>, shown: Shown) -> Entry {
        let now = Instant::now();
        #[cfg(feature = "tokio")]
        let runtime = match self.0.verifier {
            AnyVerifier::Async(_) => tokio::runtime::Handle::try_current().ok(),
            AnyVerifier::Blocking(_) => None,
        };
        let mut state = self.lock();
        let id = state.next;
        state.next = id.wrapping_add(1);
        let is_behind = shown.notices != state.notices;
        let due = state.due(id, now);
        let open = Open {
            live: Arc::clone(live),
            shown: Arc::new(shown),
            due,
            asking: None,
            again: false,
            doubted: None,
            unconfirmed: None,
            stop: None,
            #[cfg(feature = "tokio")]
            runtime,
        };
        state.open.insert(id, open);
        if is_behind {
            state.ask(id, now);
            self.start_askers(&mut state);
        }
        if due.is_some() || is_behind {
            self.start_clock(&mut state);
        }
        Entry { sessions: self.clone(), id, live: Arc::clone(live) }
    }

    /// Asks about the sessions of a principal now, or about all.
    pub(super) fn recheck(&self, principal: Option<&str>) {
        let now = Instant::now();
        let mut state = self.lock();
        state.notices = state.notices.wrapping_add(1);
        let ids: Vec<u64> = state.of(principal).collect();
        for id in ids {
            state.ask(id, now);
            if principal.is_some() {
                state.hurry(id);
            }
        }
        self.start_askers(&mut state);
        if !state.queue.is_empty() {
            self.start_clock(&mut state);
        }
    }

    /// Ends the sessions of a principal, and gives how many there were.
    pub(super) fn revoke(&self, principal: &str) -> usize {
        let mut state = self.lock();
        state.notices = state.notices.wrapping_add(1);
        let ids: Vec<u64> = state.of(Some(principal)).collect();
        drop(state);
        ids.into_iter().filter(|id| self.end(*id, Revocation::Ended)).count()
    }

    /// How many were ended so far, and about how many nobody can tell now.
    pub(super) fn counts(&self) -> (u64, usize) {
        let state = self.lock();
        (state.revoked, state.open.values().filter(|open| open.unconfirmed.is_some()).count())
    }

    /// Ends a session; false where it is over.
    fn end(&self, id: u64, revocation: Revocation) -> bool {
        let mut state = self.lock();
        let Some(open) = state.open.get_mut(&id).filter(|open| open.live.revoke(revocation)) else { return false };
        let live = Arc::clone(&open.live);
        (open.due, open.unconfirmed) = (None, None);
        let blocks = live.has_stopper();
        if blocks {
            open.stop = Instant::now().checked_add(FAREWELL);
        }
        state.revoked = state.revoked.saturating_add(1);
        if blocks {
            self.start_clock(&mut state);
        }
        drop(state);
        // Whoever is woken by this may come back here.
        live.wake();
        true
    }

    fn start_askers(&self, state: &mut State) {
        let mut missing = state.queue.len().saturating_sub(state.idle).min(ASKERS.saturating_sub(state.threads));
        while missing > 0 {
            missing = missing.saturating_sub(1);
            let sessions = self.clone();
            let thread = std::thread::Builder::new().name("countersign-sessions".to_owned());
            // Where the system has no thread to give, the clock tries again.
            if thread.spawn(move || sessions.work()).is_err() {
                break;
            }
            state.threads = state.threads.saturating_add(1);
        }
        self.0.asked.notify_all();
    }

    fn start_clock(&self, state: &mut State) {
        if state.has_clock {
            return;
        }
        let sessions = self.clone();
        let thread = std::thread::Builder::new().name("countersign-sessions".to_owned());
        // Where the system has no thread to give, the next session tries again.
        state.has_clock = thread.spawn(move || sessions.keep_time()).is_ok();
    }

    /// Asks about whoever is in the queue, until there has been nobody for a while.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            let Some(id) = state.queue.pop_front() else {
                state.idle = state.idle.saturating_add(1);
                let waited = self.0.asked.wait_timeout_while(state, IDLE, |state| state.queue.is_empty());
                let (after, result) = waited.unwrap_or_else(PoisonError::into_inner);
                state = after;
                state.idle = state.idle.saturating_sub(1);
                if result.timed_out() && state.queue.is_empty() {
                    state.threads = state.threads.saturating_sub(1);
                    return;
                }
                continue;
            };
            let Some(open) = state.open.get_mut(&id).filter(|open| !open.live.is_revoked()) else { continue };
            open.again = false;
            let (live, shown) = (Arc::clone(&open.live), Arc::clone(&open.shown));
            #[cfg(feature = "tokio")]
            let runtime = open.runtime.clone();
            let late = state.recheck.late();
            drop(state);
            let held = live.grant();
            {
                #[cfg(feature = "tokio")]
                let _runtime = runtime.as_ref().map(tokio::runtime::Handle::enter);
                let answer = ask::ask(&self.0.verifier, late, &held, &shown);
                if let Some(revocation) = self.note(id, &live, &held, answer) {
                    self.end(id, revocation);
                }
            }
            #[cfg(feature = "tokio")]
            drop(runtime);
            // Not under the lock: if its stream has gone meanwhile, these are the last of it, a value of the application's with them.
            let _ = catch_unwind(AssertUnwindSafe(|| drop((held, live, shown))));
            state = self.lock();
        }
    }

    /// Notes what the verifier said; gives why the session ends, if it does.
    fn note(&self, id: u64, live: &Live, held: &Grant, answer: Option<Result<Grant, Reason>>) -> Option<Revocation> {
        let now = Instant::now();
        let mut state = self.lock();
        let (recheck, due) = (state.recheck, state.due(id, now));
        let open = state.open.get_mut(&id)?;
        (open.asking, open.due) = (None, due);
        // A store that knew of the credentials, and has no word of them now, can't tell whether they are as they were.
        let has_lost = |grant: &Grant| {
            grant.principal() == held.principal()
                && held.credential_epoch().is_some()
                && grant.credential_epoch().is_none()
        };
        let ended = match answer.filter(|answer| !answer.as_ref().is_ok_and(has_lost)) {
            None | Some(Err(Reason::NotNow(_) | Reason::NoAnswer(_) | Reason::Failed(_) | Reason::VerifierFailed)) => {
                open.unconfirmed.get_or_insert(now);
                // Who was asked about by a word alone is asked about again, too, until there is an answer.
                open.due = due.or_else(|| now.checked_add(recheck.late()));
                None
            }
            Some(answer) => {
                open.unconfirmed = None;
                let ended = match answer {
                    Ok(grant) if grant == *held => None,
                    Ok(grant) => match change(held, &grant, recheck.closes_on_change) {
                        None => {
                            live.set_grant(grant);
                            None
                        }
                        ended => ended,
                    },
                    Err(Reason::ResumeUnsupported) => None,
                    Err(reason) => Some(Revocation::Refused(Box::new(reason))),
                };
                open.doubted = open.doubted.or(Some(now)).filter(|_| ended.is_some());
                match open.doubted {
                    Some(since) if now.saturating_duration_since(since) < SURE => {
                        open.due = since.checked_add(SURE);
                        self.0.woken.notify_one();
                        None
                    }
                    _ => ended,
                }
            }
        };
        if open.again && ended.is_none() {
            // What it said may be from before the change.
            state.ask(id, now);
        }
        ended
    }

    /// Sees whose time has come, until there has been no session for a while.
    fn keep_time(&self) {
        let mut idle_since = None;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let Due { over, stopped } = state.look(now);
            self.start_askers(&mut state);
            let is_idle = state.open.is_empty();
            let since = *idle_since.get_or_insert(now);
            if !is_idle {
                idle_since = None;
            } else if now.saturating_duration_since(since) >= IDLE {
                // Under the lock, so that whoever comes next knows that it needs a thread.
                state.has_clock = false;
                return;
            }
            drop(state);
            for id in over {
                self.end(id, Revocation::Unconfirmed);
            }
            stopped.into_iter().for_each(|live| live.stop(Shutdown::Both));
            state = self.lock();
            let is_sure = state.open.values().all(|open| open.doubted.is_none() || open.live.is_revoked());
            let tick = state.recheck.tick().min(if is_sure { Duration::MAX } else { SURE });
            state = self.0.woken.wait_timeout(state, tick).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a look at all sessions found.
#[derive(Default)]
struct Due {
    /// About them nobody could tell for too long.
    over: Vec<u64>,
    /// What blocks on them is ended.
    stopped: Vec<Arc<Live>>,
}

impl State {
    /// The sessions of a principal, or all, that were not ended.
    fn of(&self, principal: Option<&str>) -> impl Iterator<Item = u64> {
        let open = self.open.iter().filter(move |(_, open)| {
            !open.live.is_revoked() && principal.is_none_or(|principal| open.live.grant().principal() == principal)
        });
        open.map(|(&id, _)| id)
    }

    /// When a session is asked about next: spread over the second half of the time, so that those that came together do not stay
    /// together, and early enough for the answer to be there in time.
    fn due(&self, id: u64, now: Instant) -> Option<Instant> {
        let every = self.recheck.every?;
        let sixteenths = u32::try_from(self.random.hash_one((id, now)) % 7).unwrap_or(0).saturating_add(8);
        now.checked_add(every.checked_div(16)?.checked_mul(sixteenths)?)
    }

    /// Puts a session into the queue, unless it is there or asked about: then it is asked about once more.
    fn ask(&mut self, id: u64, now: Instant) {
        let Some(open) = self.open.get_mut(&id) else { return };
        if open.asking.is_some() {
            open.again = true;
        } else {
            open.asking = Some(now);
            self.queue.push_back(id);
        }
    }

    /// Has a session asked about before all others that wait: somebody knows that it has changed.
    fn hurry(&mut self, id: u64) {
        if let Some(at) = self.queue.iter().position(|queued| *queued == id) {
            self.queue.remove(at);
            self.queue.push_front(id);
        }
    }

    fn look(&mut self, now: Instant) -> Due {
        let (recheck, mut found) = (self.recheck, Due::default());
        let passed = |since: Option<Instant>, time: Duration| {
            since.is_some_and(|since| now.saturating_duration_since(since) >= time)
        };
        let has_come = |moment: Option<Instant>| moment.is_some_and(|moment| moment <= now);
        for (&id, open) in &mut self.open {
            if has_come(open.stop) {
                open.stop = None;
                found.stopped.push(Arc::clone(&open.live));
            }
            if open.live.is_revoked() {
                continue;
            }
            if open.asking.is_none() && has_come(open.due) {
                open.asking = Some(now);
                self.queue.push_back(id);
            } else if passed(open.asking, recheck.late()) {
                open.unconfirmed.get_or_insert(now);
            }
            if recheck.grace.is_some_and(|grace| passed(open.unconfirmed, grace)) {
                found.over.push(id);
            }
        }
        found
    }
}

/// Whether a session ends that goes from one grant of its account to another.
fn change(held: &Grant, grant: &Grant, closes_on_change: bool) -> Option<Revocation> {
    if grant.principal() != held.principal() {
        return Some(Revocation::Refused(Box::new(Reason::Application("the verifier gave another principal's grant"))));
    }
    let credential_changed = match (held.credential_epoch(), grant.credential_epoch()) {
        (Some(held), Some(now)) => held != now,
        (None, None) => held.epoch() != grant.epoch(),
        _ => true,
    };
    if credential_changed {
        Some(Revocation::CredentialChanged)
    } else {
        // Not for whatever else there is in an account: a recovery code that was used up for this session, say.
        let is_as_it_was = held.permissions().eq(grant.permissions());
        (closes_on_change && !is_as_it_was).then_some(Revocation::PermissionsChanged)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let gone = self.sessions.lock().open.remove(&self.id);
        // Not under the lock: it holds a value of the application's.
        drop(gone);
        self.live.end();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests;
