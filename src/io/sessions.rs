//! The open sessions, and asking about them again: whether their principals are still welcome, and with what grant.
//!
//! One thread sees whose time has come. An async verifier is asked in the runtime of each session; for those that have none, and for a verifier
//! that blocks, there are threads that ask, so that one which hangs holds up neither logins nor the clock. All threads end when there is
//! nothing to do.

mod ask;
mod questions;

use self::ask::{Answer, Question};
use self::questions::Questions;
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
    /// There is something for a thread to ask.
    asked: Condvar,
    /// The clock has something to do before its next tick.
    woken: Condvar,
}

#[derive(Default)]
struct State {
    recheck: Recheck,
    /// Questions at once.
    at_once: usize,
    next: u64,
    /// How often the application has said that something changed.
    notices: u64,
    open: HashMap<u64, Open>,
    questions: Questions,
    /// Those of the questions that threads of ours are to ask.
    for_threads: VecDeque<Question>,
    threads: usize,
    idle: usize,
    has_clock: bool,
    /// When the clock looks at all sessions next; at once, if nothing else was said.
    look_at: Option<Instant>,
    random: RandomState,
    revoked: u64,
}

/// An open session.
struct Open {
    live: Arc<Live>,
    shown: Arc<Shown>,
    /// When it is asked about next.
    due: Option<Instant>,
    asking: Option<Asking>,
    /// Something changed while it was asked about.
    again: bool,
    /// Since when all answers would have ended it.
    doubted: Option<Instant>,
    /// Since when nobody can tell: it was asked about, and there was no answer.
    unconfirmed: Option<Instant>,
    /// Where it was ended: when what blocks on it is.
    stop: Option<Instant>,
    /// Where an async verifier is asked about it: the runtime in which it was accepted, whichever call that was.
    #[cfg(feature = "tokio")]
    runtime: Option<tokio::runtime::Handle>,
}

/// How far a question about a session has come.
enum Asking {
    /// It waits for its turn since then.
    Queued(Instant),
    Put(Put),
}

/// A question that was put.
struct Put {
    at: Instant,
    number: u64,
    /// What asks in the session's runtime.
    #[cfg(feature = "tokio")]
    task: Option<tokio::task::AbortHandle>,
}

impl Open {
    /// Since when nobody can tell. Of a session that only waits for its turn that is so where nobody is answered: a verifier that needs a while for all of
    /// them is not away.
    fn unconfirmed(&self, silent_since: Option<Instant>, late: Duration, now: Instant) -> Option<Instant> {
        let unheard = match (&self.asking, silent_since) {
            (Some(Asking::Queued(queued)), Some(silent)) => queued.max(&silent).checked_add(late),
            _ => None,
        };
        let unheard = unheard.filter(|since| *since <= now);
        self.unconfirmed.into_iter().chain(unheard).min()
    }

    /// What asks about it.
    #[cfg(feature = "tokio")]
    fn task(&self) -> Option<&tokio::task::AbortHandle> {
        match &self.asking {
            Some(Asking::Put(put)) => put.task.as_ref(),
            _ => None,
        }
    }

    /// Whether it is asked about in a runtime, and not on a thread.
    fn has_runtime(&self) -> bool {
        #[cfg(feature = "tokio")]
        let has_runtime = self.runtime.is_some();
        #[cfg(not(feature = "tokio"))]
        let has_runtime = false;
        has_runtime
    }
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
    /// Goes by this, with so many questions at once.
    pub(super) fn new(recheck: Recheck, at_once: usize, verifier: AnyVerifier) -> Self {
        let (asked, woken) = (Condvar::new(), Condvar::new());
        let state = Mutex::new(State { recheck, at_once, ..State::default() });
        Self(Arc::new(Shared { verifier, state, asked, woken }))
    }

    /// Others, without a session, that go by this.
    pub(super) fn anew_with_recheck(&self, recheck: Recheck) -> Self {
        let at_once = self.lock().at_once;
        Self::new(recheck, at_once, self.0.verifier.clone())
    }

    /// As [`Sessions::anew_with_recheck`], with so many questions at once.
    pub(super) fn anew_with_at_once(&self, at_once: usize) -> Self {
        let recheck = self.lock().recheck;
        Self::new(recheck, at_once, self.0.verifier.clone())
    }

    /// So many questions at once from now on.
    pub(super) fn set_at_once(&self, at_once: usize) {
        let mut state = self.lock();
        state.at_once = at_once;
        self.begin_questions(&mut state);
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
        state.look_at = None;
        if !state.open.is_empty() {
            self.wake_clock(&mut state);
        }
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
        }
        self.begin_questions(&mut state);
        if due.is_some() {
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
                state.questions.hurry(id);
            }
        }
        self.begin_questions(&mut state);
    }

    /// Ends the sessions of a principal, or all, and gives how many there were.
    pub(super) fn revoke(&self, principal: Option<&str>) -> usize {
        let mut state = self.lock();
        state.notices = state.notices.wrapping_add(1);
        let ids: Vec<u64> = state.of(principal).collect();
        drop(state);
        ids.into_iter().filter(|id| self.end(*id, Revocation::Ended)).count()
    }

    /// How many were ended so far, and about how many nobody can tell now.
    pub(super) fn counts(&self) -> (u64, usize) {
        let (now, state) = (Instant::now(), self.lock());
        let (silent_since, late) = (state.questions.silent_since(), state.recheck.late());
        let is_unconfirmed =
            |open: &&Open| !open.live.is_revoked() && open.unconfirmed(silent_since, late, now).is_some();
        (state.revoked, state.open.values().filter(is_unconfirmed).count())
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

    /// Has the clock put the questions whose turn it is.
    fn begin_questions(&self, state: &mut State) {
        if state.questions.is_ready(state.at_once) {
            self.wake_clock(state);
        }
    }

    fn wake_clock(&self, state: &mut State) {
        self.start_clock(state);
        self.0.woken.notify_one();
    }

    fn start_askers(&self, state: &mut State) {
        if state.for_threads.is_empty() {
            return;
        }
        let room = state.at_once.saturating_sub(state.threads);
        let mut missing = state.for_threads.len().saturating_sub(state.idle).min(room);
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

    /// Asks what there is to ask, until there has been nothing for a while.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            let Some(question) = state.for_threads.pop_front() else {
                state.idle = state.idle.saturating_add(1);
                let waited = self.0.asked.wait_timeout_while(state, IDLE, |state| state.for_threads.is_empty());
                let (after, result) = waited.unwrap_or_else(PoisonError::into_inner);
                state = after;
                state.idle = state.idle.saturating_sub(1);
                if result.timed_out() && state.for_threads.is_empty() {
                    state.threads = state.threads.saturating_sub(1);
                    return;
                }
                continue;
            };
            let late = state.recheck.late();
            drop(state);
            let answer = question.ask_here(&self.0.verifier, late);
            self.answered(question, answer);
            state = self.lock();
        }
    }

    /// Does what follows from an answer.
    fn answered(&self, question: Question, answer: Answer) {
        if let Some(revocation) = self.note(&question, answer) {
            self.end(question.id, revocation);
        }
        // Not under the lock: if its stream has gone meanwhile, these are the last of it, a value of the application's with them.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(question)));
    }

    /// Notes what the verifier said; gives why the session ends, if it does.
    fn note(&self, question: &Question, answer: Answer) -> Option<Revocation> {
        let mut state = self.lock();
        // One that was given up is over.
        let revocation =
            if state.questions.settle(question.number) { state.note(question, answer, Instant::now()) } else { None };
        if state.is_doubtful(question.id) {
            self.wake_clock(&mut state);
        }
        self.begin_questions(&mut state);
        revocation
    }

    /// Has a question asked: in its session's runtime, or on a thread.
    fn begin(&self, question: Question) {
        #[cfg(feature = "tokio")]
        if let Some(runtime) = question.runtime.clone() {
            return self.spawn(question, &runtime);
        }
        let mut state = self.lock();
        state.for_threads.push_back(question);
        self.start_askers(&mut state);
    }

    /// Asks in the session's runtime. One that is gone drops what asks, at once or as it goes, and that is no answer.
    #[cfg(feature = "tokio")]
    fn spawn(&self, question: Question, runtime: &tokio::runtime::Handle) {
        let (id, number) = (question.id, question.number);
        let asking = Asked { sessions: self.clone(), question: Some(question) }.ask();
        let Ok(task) = catch_unwind(AssertUnwindSafe(|| runtime.spawn(asking).abort_handle())) else { return };
        let mut state = self.lock();
        match state.open.get_mut(&id).map(|open| &mut open.asking) {
            Some(Some(Asking::Put(put))) if put.number == number => put.task = Some(task),
            // It was answered, or its session has gone.
            _ => {
                drop(state);
                task.abort();
            }
        }
    }

    /// Sees whose time has come, and puts the questions, until there has been no session for a while.
    fn keep_time(&self) {
        let mut idle_since = None;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let is_time = state.look_at.is_none_or(|at| at <= now);
            let due = if is_time { state.look(now) } else { Due::default() };
            let questions = state.put(now);
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
            for id in due.over {
                self.end(id, Revocation::Unconfirmed);
            }
            due.stopped.into_iter().for_each(|live| live.stop(Shutdown::Both));
            #[cfg(feature = "tokio")]
            due.given_up.into_iter().for_each(|task| task.abort());
            questions.into_iter().for_each(|question| self.begin(question));
            state = self.lock();
            if state.questions.is_ready(state.at_once) {
                continue;
            }
            let left = state.look_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
            state = self.0.woken.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that is asked in a runtime. Dropped without an answer, it has none.
#[cfg(feature = "tokio")]
struct Asked {
    sessions: Sessions,
    question: Option<Question>,
}

#[cfg(feature = "tokio")]
impl Asked {
    async fn ask(mut self) {
        if let (AnyVerifier::Async(verifier), Some(question)) = (&self.sessions.0.verifier, &self.question) {
            let answer = question.ask(&**verifier).await;
            self.end(answer);
        }
    }

    fn end(&mut self, answer: Answer) {
        if let Some(question) = self.question.take() {
            self.sessions.answered(question, answer);
        }
    }
}

#[cfg(feature = "tokio")]
impl Drop for Asked {
    fn drop(&mut self) {
        self.end(None);
    }
}

/// What a look at all sessions found.
#[derive(Default)]
struct Due {
    /// About them nobody could tell for too long.
    over: Vec<u64>,
    /// What blocks on them is ended.
    stopped: Vec<Arc<Live>>,
    /// Questions that had no answer in time.
    #[cfg(feature = "tokio")]
    given_up: Vec<tokio::task::AbortHandle>,
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
            open.asking = Some(Asking::Queued(now));
            self.questions.queue(id, open.unconfirmed.is_some());
        }
    }

    /// The questions whose turn it is.
    fn put(&mut self, now: Instant) -> Vec<Question> {
        let mut questions = Vec::new();
        while let Some((id, is_again)) = self.questions.next(self.at_once) {
            // It may have ended meanwhile.
            let Some(open) = self.open.get_mut(&id).filter(|open| !open.live.is_revoked()) else { continue };
            let number = self.questions.put(is_again, now);
            let put = Put {
                at: now,
                number,
                #[cfg(feature = "tokio")]
                task: None,
            };
            (open.asking, open.again) = (Some(Asking::Put(put)), false);
            let (live, shown) = (Arc::clone(&open.live), Arc::clone(&open.shown));
            questions.push(Question {
                id,
                number,
                held: live.grant(),
                live,
                shown,
                #[cfg(feature = "tokio")]
                runtime: open.runtime.clone(),
            });
        }
        questions
    }

    /// Notes what the verifier said; gives why the session ends, if it does.
    fn note(&mut self, question: &Question, answer: Answer, now: Instant) -> Option<Revocation> {
        let Question { id, live, held, .. } = question;
        // A store that knew of the credentials, and has no word of them now, can't tell whether they are as they were.
        let has_lost = |grant: &Grant| {
            grant.principal() == held.principal()
                && held.credential_epoch().is_some()
                && grant.credential_epoch().is_none()
        };
        let answer = answer.filter(|answer| !answer.as_ref().is_ok_and(has_lost));
        let is_none = matches!(
            answer,
            None | Some(Err(Reason::NotNow(_) | Reason::NoAnswer(_) | Reason::Failed(_) | Reason::VerifierFailed))
        );
        let Some(answer) = answer.filter(|_| !is_none) else {
            self.note_none(*id, now);
            return None;
        };
        self.questions.heard(now);
        let (recheck, due) = (self.recheck, self.due(*id, now));
        let open = self.open.get_mut(id)?;
        (open.asking, open.due, open.unconfirmed) = (None, due, None);
        let ended = match answer {
            Ok(grant) if grant == **held => None,
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
        let ended = match open.doubted {
            Some(since) if now.saturating_duration_since(since) < SURE => {
                open.due = since.checked_add(SURE);
                self.look_at = self.look_at.min(open.due);
                None
            }
            _ => ended,
        };
        if open.again && ended.is_none() {
            // What it said may be from before the change.
            self.ask(*id, now);
        }
        ended
    }

    /// Notes that nobody can tell of a session.
    fn note_none(&mut self, id: u64, now: Instant) {
        let due = self.due(id, now).or_else(|| now.checked_add(self.recheck.late()));
        let Some(open) = self.open.get_mut(&id) else { return };
        open.unconfirmed.get_or_insert(now);
        // Who was asked about by a word alone is asked about again, too, until there is an answer.
        (open.asking, open.due) = (None, due);
        if open.again {
            self.ask(id, now);
        }
    }

    /// Whether a no is to be asked about once more.
    fn is_doubtful(&self, id: u64) -> bool {
        self.open.get(&id).is_some_and(|open| open.doubted.is_some() && open.asking.is_none())
    }

    fn look(&mut self, now: Instant) -> Due {
        let (recheck, mut found, mut is_sure) = (self.recheck, Due::default(), true);
        let (late, silent_since) = (recheck.late(), self.questions.silent_since());
        let passed = |since: Option<Instant>, time: Duration| {
            since.is_some_and(|since| now.saturating_duration_since(since) >= time)
        };
        let has_come = |moment: Option<Instant>| moment.is_some_and(|moment| moment <= now);
        let mut given_up = Vec::new();
        for (&id, open) in &mut self.open {
            if has_come(open.stop) {
                open.stop = None;
                found.stopped.push(Arc::clone(&open.live));
            }
            if open.live.is_revoked() {
                continue;
            }
            is_sure &= open.doubted.is_none();
            match &open.asking {
                None if has_come(open.due) => {
                    open.asking = Some(Asking::Queued(now));
                    self.questions.queue(id, open.unconfirmed.is_some());
                }
                Some(Asking::Put(put)) if passed(Some(put.at), late) => {
                    open.unconfirmed.get_or_insert(now);
                    // A thread gives it up by itself, or is held by it.
                    if open.has_runtime() {
                        given_up.push((id, put.number));
                    }
                }
                _ => {}
            }
            if recheck.grace.is_some_and(|grace| passed(open.unconfirmed(silent_since, late, now), grace)) {
                found.over.push(id);
            }
        }
        for (id, number) in given_up {
            self.questions.settle(number);
            #[cfg(feature = "tokio")]
            found.given_up.extend(self.open.get(&id).and_then(Open::task).cloned());
            self.note_none(id, now);
        }
        let tick = recheck.tick().min(if is_sure { Duration::MAX } else { SURE });
        self.look_at = now.checked_add(tick);
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
        let mut state = self.sessions.lock();
        let gone = state.open.remove(&self.id);
        // Nobody waits for an answer any more.
        #[cfg(feature = "tokio")]
        if let Some(Asking::Put(put)) =
            gone.as_ref().filter(|gone| gone.has_runtime()).and_then(|gone| gone.asking.as_ref())
        {
            state.questions.settle(put.number);
        }
        self.sessions.begin_questions(&mut state);
        drop(state);
        #[cfg(feature = "tokio")]
        gone.as_ref().and_then(Open::task).inspect(|task| task.abort());
        self.live.end();
        // Not under the lock: it holds a value of the application's.
        drop(gone);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests;
