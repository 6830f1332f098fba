use super::*;
use crate::terms::verifier::{Attempt, Returning, Verifier};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// Questions at once, in these tests.
const AT_ONCE: usize = 4;

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
    (Sessions::new(Recheck::every(every), AT_ONCE, AnyVerifier::Blocking(verifier)), counting)
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
fn ten_thousand_sessions_are_each_looked_at_by_no_more_threads_than_may_ask() {
    let (sessions, counting) = sessions(Duration::from_millis(500));
    let open: Vec<_> = (0..10_000).map(|number| enter(&sessions, &format!("user {number}"))).collect();
    eventually(|| {
        let asked = counting.asked.lock().unwrap();
        asked.len() == open.len() && asked.values().all(|count| *count > 1)
    });
    assert!(counting.most_at_once.load(SeqCst) <= AT_ONCE);
    assert!(open.iter().all(|(_, live)| !live.is_revoked()));
    drop(open);
    // What has ended is forgotten, and what was queued for it.
    let state = sessions.lock();
    assert!(state.open.is_empty() && state.threads <= AT_ONCE);
    drop(state);
    eventually(|| sessions.lock().questions.waiting().count() == 0);
}

#[test]
fn a_verifier_that_hangs_about_everybody_takes_as_many_threads_as_may_ask_and_no_more() {
    let (sessions, counting) = sessions(Duration::from_millis(20));
    counting.hangs.store(true, SeqCst);
    let open: Vec<_> = (0..100).map(|number| enter(&sessions, &format!("user {number}"))).collect();
    eventually(|| counting.at_once.load(SeqCst) == AT_ONCE);
    // Nobody can tell of any of them.
    eventually(|| sessions.counts().1 == 100);
    sessions.recheck(None);
    assert_eq!((sessions.lock().threads, counting.at_once.load(SeqCst)), (AT_ONCE, AT_ONCE));
    // One can be ended all the same, and others come and go.
    assert_eq!(sessions.revoke(Some("user 99")), 1);
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
        state.questions.waiting().count()
    });
    assert_eq!(asked_at, [0, 1, 1]);
}

#[test]
fn whoever_was_named_is_asked_about_before_all_others() {
    let (sessions, counting) = sessions(Duration::from_secs(3600));
    counting.hangs.store(true, SeqCst);
    let _open: Vec<_> = (0..100).map(|number| enter(&sessions, &format!("user {number}"))).collect();
    sessions.recheck(None);
    eventually(|| counting.at_once.load(SeqCst) == AT_ONCE);
    let (_entry, _live) = enter(&sessions, "alice");
    sessions.recheck(None);
    sessions.recheck(Some("alice"));
    let state = sessions.lock();
    let first = *state.questions.waiting().next().unwrap();
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
    for _ in 0..2 * AT_ONCE {
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

#[test]
fn who_waits_for_a_turn_is_confirmed_as_long_as_the_verifier_answers_anybody_and_for_the_grace_after_it() {
    let (sessions, counting) = sessions(Duration::from_secs(3600));
    counting.hangs.store(true, SeqCst);
    let open: Vec<_> = (0..100).map(|number| enter(&sessions, &format!("user {number}"))).collect();
    sessions.recheck(None);
    eventually(|| counting.at_once.load(SeqCst) == AT_ONCE);
    let mut state = sessions.lock();
    // By a clock of the test's own: nothing of this is waited for.
    let (start, late, grace) = (Instant::now(), state.recheck.late(), state.recheck.grace.unwrap());
    let of = |state: &State, now| {
        let silent_since = state.questions.silent_since();
        let is_unconfirmed = |open: &&Open| open.unconfirmed(silent_since, late, now).is_some();
        state.open.values().filter(is_unconfirmed).count()
    };
    let mut now = start;
    while now < start + 10 * (late + grace) {
        now += late / 2;
        state.questions.heard(now);
        // Those who were asked about, and nobody else: a store that needs hours for all of them is none that is away.
        let found = state.look(now);
        assert!(of(&state, now) <= AT_ONCE && found.over.len() <= AT_ONCE);
    }
    // Then it answers nobody any more.
    let (late_at, end) = (now + late, now + late + grace);
    state.look(late_at - Duration::from_millis(1));
    assert_eq!(of(&state, late_at - Duration::from_millis(1)), AT_ONCE);
    assert_eq!(of(&state, late_at), 100);
    assert_eq!(state.look(end - Duration::from_millis(1)).over.len(), AT_ONCE);
    assert_eq!(state.look(end).over.len(), 100);
    // One answer, and all of them wait as before.
    state.questions.heard(end);
    assert_eq!((of(&state, end), state.look(end).over.len()), (AT_ONCE, AT_ONCE));
    drop(state);
    counting.hangs.store(false, SeqCst);
    drop(open);
}

#[test]
fn a_question_that_has_not_begun_is_not_asked_about_a_session_that_is_gone() {
    let (sessions, counting) = sessions(Duration::from_secs(3600));
    let (entry, live) = enter(&sessions, "alice");
    let mut state = sessions.lock();
    state.ask(0, Instant::now());
    let question = state.put(Instant::now()).pop().unwrap();
    drop(state);
    drop((entry, live));
    assert_eq!(question.ask_here(&sessions.0.verifier, Duration::from_secs(3600)), None);
    assert!(counting.asked.lock().unwrap().is_empty());
    sessions.answered(question, None);
    assert!(!sessions.lock().questions.settle(0), "its turn is free for somebody else");
}

#[test]
fn sessions_about_which_there_was_no_answer_keep_no_others_from_being_asked_about() {
    let (sessions, _) = sessions(Duration::from_secs(3600));
    let open: Vec<_> = (0..20).map(|number| enter(&sessions, &format!("user {number}"))).collect();
    let mut state = sessions.lock();
    let now = Instant::now() + Duration::from_secs(3600);
    // The first half of them were asked about before, in vain.
    (0..10).for_each(|id| state.note_none(id, now));
    let later = now + Duration::from_secs(3600);
    state.look(later);
    // Of these none is answered, and of the others each.
    let (mut in_vain, mut answered) = (0, 0);
    loop {
        let questions = state.put(later);
        if questions.is_empty() {
            break;
        }
        for question in &questions {
            if question.id < 10 {
                in_vain += 1;
            } else {
                assert!(state.questions.settle(question.number));
                let grant = Grant::clone(&question.held);
                assert_eq!(state.note(question, Some(Ok(grant)), later), None);
                answered += 1;
            }
        }
        drop(questions);
    }
    assert_eq!((in_vain, answered), (AT_ONCE / 2, 10));
    drop(state);
    drop(open);
}
