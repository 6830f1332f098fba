use super::*;
use crate::terms::verifier::{Attempt, Returning, Verifier};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// Counts who is asked about, and may hang.
#[derive(Default)]
struct Counting {
    asked: Mutex<HashMap<String, usize>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    hangs: AtomicBool,
}

impl Verifier for Counting {
    fn verify(&self, _: &Attempt<'_>) -> Result<Grant, Reason> {
        Err(Reason::UnknownUser)
    }

    fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        self.most_at_once.fetch_max(self.at_once.fetch_add(1, SeqCst) + 1, SeqCst);
        let name = returning.principal().to_owned();
        *self.asked.lock().unwrap().entry(name.clone()).or_default() += 1;
        while self.hangs.load(SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.at_once.fetch_sub(1, SeqCst);
        Ok(grant(&name))
    }
}

fn grant(name: &str) -> Grant {
    Grant::new(name, ["read"]).unwrap()
}

fn enter(sessions: &Sessions, name: &str) -> (Entry, Arc<Live>) {
    enter_with(sessions, name, Context::uncounted())
}

fn enter_with(sessions: &Sessions, name: &str, context: Context) -> (Entry, Arc<Live>) {
    let live = Arc::new(Live::new(Arc::new(grant(name))));
    let shown = Shown {
        kind: CredentialKind::Password,
        authenticated: UnixTime::from_secs(1_800_000_000),
        server_name: "".into(),
        context: Arc::new(context),
        notices: sessions.notices(),
    };
    (sessions.enter(&live, shown), live)
}

fn sessions(every: Duration) -> (Sessions, Arc<Counting>) {
    let counting = Arc::new(Counting::default());
    let verifier: Arc<dyn Verifier> = Arc::clone(&counting) as Arc<dyn Verifier>;
    (Sessions::new(Recheck::every(every), AnyVerifier::Blocking(verifier)), counting)
}

fn eventually(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn by_default_it_is_asked_every_half_minute_and_nobody_goes_on_unconfirmed_for_longer_than_ten() {
    let Recheck { every, grace, closes_on_change } = Recheck::default();
    assert_eq!((every, grace), (Some(Duration::from_secs(30)), Some(Duration::from_secs(600))));
    assert!(!closes_on_change);
    assert_eq!((Recheck::never().every, Recheck::never().grace), (None, grace));
    // An answer is waited for as long as that, ten seconds at the most and one at least.
    let late = |millis| Recheck::every(Duration::from_millis(millis)).late();
    assert_eq!([20, 5000, 30_000].map(late), [1, 5, 10].map(Duration::from_secs));
    assert_eq!(Recheck::never().late(), Duration::from_secs(10));
    // And a peer that reads nothing keeps whoever writes to it no longer than this in a session that was ended.
    assert_eq!(FAREWELL, Duration::from_secs(1));
}

#[test]
fn threads_without_sessions_end_and_the_next_session_has_others() {
    let (sessions, counting) = sessions(Duration::from_millis(20));
    for round in 0..3 {
        let entered = enter(&sessions, &format!("user {round}"));
        eventually(|| counting.asked.lock().unwrap().len() == round + 1);
        drop(entered);
        eventually(|| {
            let state = sessions.lock();
            (state.threads, state.has_clock) == (0, false)
        });
    }
}

#[test]
fn askers_without_questions_end_and_the_next_question_has_others() {
    let (sessions, counting) = sessions(Duration::from_secs(3600));
    let _open: Vec<_> = (0..100).map(|number| enter(&sessions, &format!("user {number}"))).collect();
    for round in 1..=3 {
        sessions.recheck(None);
        eventually(|| counting.asked.lock().unwrap().values().filter(|asked| **asked == round).count() == 100);
        eventually(|| sessions.lock().threads == 0);
    }
}

#[test]
fn ten_thousand_sessions_are_each_looked_at_by_four_threads_at_the_most() {
    let (sessions, counting) = sessions(Duration::from_millis(500));
    let open: Vec<_> = (0..10_000).map(|number| enter(&sessions, &format!("user {number}"))).collect();
    eventually(|| {
        let asked = counting.asked.lock().unwrap();
        asked.len() == open.len() && asked.values().all(|count| *count > 1)
    });
    assert!(counting.most_at_once.load(SeqCst) <= ASKERS);
    assert!(open.iter().all(|(_, live)| !live.is_revoked()));
    drop(open);
    // What has ended is forgotten, and what was queued for it.
    let state = sessions.lock();
    assert!(state.open.is_empty() && state.threads <= ASKERS);
    drop(state);
    eventually(|| sessions.lock().queue.is_empty());
}

#[test]
fn a_verifier_that_hangs_about_everybody_takes_four_threads_and_no_more() {
    let (sessions, counting) = sessions(Duration::from_millis(20));
    counting.hangs.store(true, SeqCst);
    let open: Vec<_> = (0..100).map(|number| enter(&sessions, &format!("user {number}"))).collect();
    eventually(|| counting.at_once.load(SeqCst) == ASKERS);
    // Nobody can tell of any of them.
    eventually(|| sessions.counts().1 == 100);
    sessions.recheck(None);
    assert_eq!((sessions.lock().threads, counting.at_once.load(SeqCst)), (ASKERS, ASKERS));
    // One can be ended all the same, and others come and go.
    assert_eq!(sessions.revoke("user 99"), 1);
    drop(enter(&sessions, "another"));
    counting.hangs.store(false, SeqCst);
    eventually(|| sessions.counts().1 == 0);
    assert_eq!(open.iter().filter(|(_, live)| live.is_revoked()).count(), 1);
}

#[test]
fn questions_are_spread_over_the_second_half_of_the_time_and_leave_time_for_the_answer() {
    let (every, now) = (Duration::from_secs(32), Instant::now());
    let by = |recheck| State { recheck, ..State::default() };
    let state = by(Recheck::every(every));
    let due: Vec<_> = (0..1000).map(|id| state.due(id, now).unwrap() - now).collect();
    assert_eq!((due.iter().min(), due.iter().max()), (Some(&(every / 2)), Some(&(every * 14 / 16))));
    assert_eq!(by(Recheck::never()).due(0, now), None);
    // However long or short it is.
    for every in [Duration::ZERO, Duration::MAX] {
        let _ = by(Recheck::every(every)).due(0, now);
    }
}

#[test]
fn a_session_is_asked_about_when_it_is_due_and_once() {
    let (sessions, _) = sessions(Duration::from_secs(3600));
    let (_entry, _live) = enter(&sessions, "alice");
    let mut state = sessions.lock();
    let due = state.open.values().next().unwrap().due.unwrap();
    let asked_at = [Instant::now(), due, due].map(|now| {
        state.look(now);
        state.queue.len()
    });
    assert_eq!(asked_at, [0, 1, 1]);
}

#[test]
fn whoever_was_named_is_asked_about_before_all_others() {
    let (sessions, counting) = sessions(Duration::from_secs(3600));
    counting.hangs.store(true, SeqCst);
    let _open: Vec<_> = (0..100).map(|number| enter(&sessions, &format!("user {number}"))).collect();
    sessions.recheck(None);
    eventually(|| counting.at_once.load(SeqCst) == ASKERS);
    let (_entry, _live) = enter(&sessions, "alice");
    sessions.recheck(None);
    sessions.recheck(Some("alice"));
    let state = sessions.lock();
    let first = *state.queue.front().unwrap();
    assert_eq!(state.open[&first].live.grant().principal(), "alice");
    drop(state);
    counting.hangs.store(false, SeqCst);
}

#[test]
fn those_who_are_in_are_asked_about_as_was_said_last() {
    let (sessions, counting) = sessions(Duration::from_secs(3600));
    let (_entry, _live) = enter(&sessions, "alice");
    sessions.set_recheck(Recheck::every(Duration::from_millis(20)));
    eventually(|| counting.asked.lock().unwrap().get("alice").is_some_and(|count| *count > 2));
    sessions.set_recheck(Recheck::never());
    assert!(sessions.lock().open.values().all(|open| open.due.is_none()));
    let (_entry, _live) = enter(&sessions, "bob");
    sessions.set_recheck(Recheck::every(Duration::from_secs(3600)));
    assert!(sessions.lock().open.values().all(|open| open.due.is_some()));
}

#[test]
fn what_changes_while_somebody_is_asked_about_has_them_asked_about_again() {
    let (sessions, counting) = sessions(Duration::from_secs(3600));
    let (_entry, _live) = enter(&sessions, "alice");
    let asked = || counting.asked.lock().unwrap().get("alice").copied().unwrap_or(0);
    counting.hangs.store(true, SeqCst);
    sessions.recheck(Some("alice"));
    eventually(|| asked() == 1);
    (0..5).for_each(|_| sessions.recheck(Some("alice")));
    counting.hangs.store(false, SeqCst);
    eventually(|| asked() == 2);
    eventually(|| sessions.lock().open.values().all(|open| open.asking.is_none()));
    assert_eq!(asked(), 2);
}

/// The application's, as it goes with a session: dropped, it looks at all of them, and panics.
struct Gauge(Sessions, std::sync::mpsc::Sender<(u64, usize)>);

impl Drop for Gauge {
    fn drop(&mut self) {
        self.1.send(self.0.counts()).unwrap();
        panic!("on purpose");
    }
}

#[test]
fn what_the_application_does_as_a_session_goes_holds_up_no_other_and_ends_nobody_who_asks() {
    let (sessions, counting) = sessions(Duration::from_secs(3600));
    let (dropped, drops) = std::sync::mpsc::channel();
    for _ in 0..2 * ASKERS {
        counting.hangs.store(true, SeqCst);
        let gauge = Gauge(sessions.clone(), dropped.clone());
        let (entry, live) = enter_with(&sessions, "alice", Context::uncounted().with_value(gauge));
        sessions.recheck(Some("alice"));
        eventually(|| counting.at_once.load(SeqCst) == 1);
        // It ends while it is asked about: whoever asks is the last to have it.
        drop((entry, live));
        counting.hangs.store(false, SeqCst);
        assert_eq!(drops.recv_timeout(Duration::from_secs(60)), Ok((0, 0)), "whoever drops it has locked all out");
    }
    let (_entry, _live) = enter(&sessions, "bob");
    sessions.recheck(Some("bob"));
    eventually(|| counting.asked.lock().unwrap().contains_key("bob"));
}
