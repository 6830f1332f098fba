//! Further factors: asked for one after the other, and nobody is let in before the last.

use crate::ends::{
    Adapter, Session, accepting, asking, client_config, config, connector, disconnected, eventually, eventually_empty,
    failed, login, pair, protocol, refused,
};
use crate::peer::{Peer, VERDICT};
use crate::penalties::penalties;
use crate::support::{ALICE, FLOOR, RSA2048, Scenario, grant, provider, verifier};
use countersign::frame::FrameType;
use countersign::{
    Acceptor, AsyncVerifier, Attempt, Bounds, Connector, Context, Credential, CredentialKind, Error, FactorAttempt,
    Form, Further, Grant, LoginError, MemoryTickets, Penalty, PolicyRequest, Prompt, Reason, Returning, Source,
    TicketKeys, Verifier, limits,
};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

for_every_adapter!(
    a_further_factor_is_asked_for_and_then_both_ends_have_the_same_session,
    nobody_has_a_session_before_the_last_of_several_factors,
    a_wrong_answer_is_refused_and_a_new_login_may_be_right,
    a_verifier_that_is_shared_or_under_a_policy_asks_for_the_factors_that_it_asks_for_alone,
    a_client_that_can_t_be_asked_is_refused_without_being_told_why,
    a_client_that_has_no_answer_gives_the_login_up,
    whoever_has_a_password_alone_waits_for_its_further_factor_in_an_eighth_of_the_places_at_most,
    a_verifier_that_asks_without_end_is_stopped,
    a_verifier_that_panics_over_an_answer_refuses_it,
    a_verifier_that_is_away_says_not_now,
    an_async_verifier_that_has_no_answer_about_a_factor_ends_in_not_now,
    wrong_answers_make_the_name_wait_wherever_they_come_from,
    slow_typing_outlasts_the_handshake_s_own_deadline,
    an_answer_that_never_comes_is_given_up_at_its_own_deadline_without_an_answer,
    what_is_no_answer_gets_the_refusal,
    a_refused_answer_is_told_no_earlier_than_the_floor,
    a_ticket_after_the_last_factor_takes_the_place_of_all_of_them,
    an_answer_may_be_asked_for_from_async_code,
    a_client_whose_user_never_answers_gives_the_login_up_in_its_own_time,
);

/// Asks alice for so many factors, each of which is its number; what it is asked and told goes on.
#[derive(Clone)]
struct Store {
    factors: usize,
    checked: Arc<AtomicUsize>,
}

impl Store {
    fn with(factors: usize) -> Self {
        Self { factors, checked: Arc::default() }
    }

    fn checked(&self) -> usize {
        self.checked.load(Ordering::SeqCst)
    }

    fn next(&self, further: &Further<'_>) -> Result<Option<Prompt>, Reason> {
        assert_eq!((further.grant().principal(), further.kind()), ("alice", CredentialKind::Password));
        assert_eq!(further.server_name(), "");
        Ok((further.step() < self.factors).then(|| Prompt::new(Form::Code, further.step().to_string()).unwrap()))
    }

    fn judge(&self, attempt: &FactorAttempt<'_>) -> Result<(), Reason> {
        self.checked.fetch_add(1, Ordering::SeqCst);
        assert_eq!((attempt.grant().principal(), attempt.kind()), ("alice", CredentialKind::Password));
        match attempt.answer() {
            b"panic" => panic!("a quiet panic"),
            b"away" => Err(Reason::NotNow("the store is away")),
            answer if answer == attempt.step().to_string().as_bytes() => Ok(()),
            _ => Err(Reason::WrongFactor),
        }
    }
}

impl Verifier for Store {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        verifier(attempt).map(|grant| grant.with_epoch(1))
    }

    fn further(&self, further: &Further<'_>) -> Result<Option<Prompt>, Reason> {
        self.next(further)
    }

    fn check_factor(&self, attempt: &FactorAttempt<'_>) -> Result<(), Reason> {
        self.judge(attempt)
    }

    fn resume(&self, _: &Returning<'_>) -> Result<Grant, Reason> {
        Ok(grant().with_epoch(1))
    }
}

/// The same, asked from async code, which computes on the acceptor's threads.
struct Asynchronous(Store);

impl AsyncVerifier for Asynchronous {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        attempt.compute(|| ()).await?;
        Verifier::verify(&self.0, attempt)
    }

    async fn further(&self, further: &Further<'_>) -> Result<Option<Prompt>, Reason> {
        further.compute(|| ()).await?;
        self.0.next(further)
    }

    async fn check_factor(&self, attempt: &FactorAttempt<'_>) -> Result<(), Reason> {
        attempt.compute(|| ()).await?;
        if attempt.answer() == b"hangs" {
            std::future::pending().await
        }
        self.0.judge(attempt)
    }
}

/// Both kinds of verifiers, over the same store.
fn both(factors: usize) -> [(Store, Acceptor); 2] {
    let [blocking, other] = [Store::with(factors), Store::with(factors)];
    let asynchronous = Acceptor::new_async(config(), RSA2048.server.clone(), Asynchronous(other.clone()));
    [(blocking.clone(), asking(blocking)), (other, asynchronous)]
}

/// Answers what is asked with what the prompt says.
fn answering() -> Connector {
    connector().with_factors(|prompt| Some(prompt.text().as_bytes().to_vec()))
}

fn answering_with(answer: &'static [u8]) -> Connector {
    connector().with_factors(move |_| Some(answer.to_vec()))
}

fn a_further_factor_is_asked_for_and_then_both_ends_have_the_same_session<A: Adapter>() {
    for (store, acceptor) in both(1) {
        let (client, server) = login::<A>(&acceptor, &answering(), ALICE);
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        assert_eq!((client.info().id(), server.info().id()), (server.info().id(), client.info().id()));
        assert_eq!(client.info().login_grant(), &grant());
        client.write_all(b"hello").unwrap();
        client.flush().unwrap();
        let mut bytes = [0; 5];
        server.read_exact(&mut bytes).unwrap();
        assert_eq!((&bytes, store.checked()), (b"hello", 1));
    }
}

fn nobody_has_a_session_before_the_last_of_several_factors<A: Adapter>() {
    for (store, acceptor) in both(limits::MAX_FACTORS) {
        let (watched, seen) = (acceptor.clone(), Arc::new(Mutex::new(Vec::new())));
        let noted = Arc::clone(&seen);
        let connector = connector().with_factors(move |prompt| {
            let counts = watched.counts();
            noted.lock().unwrap().push((prompt.text().to_owned(), counts.logins, counts.handshakes, counts.sessions));
            Some(prompt.text().as_bytes().to_vec())
        });
        let (client, server) = login::<A>(&acceptor, &connector, ALICE);
        let sessions = (client.unwrap(), server.unwrap());
        let expected: Vec<_> = (0..4).map(|step: usize| (step.to_string(), 1, 0, 0)).collect();
        assert_eq!((seen.lock().unwrap().clone(), store.checked()), (expected, 4));
        assert_eq!(acceptor.counts().sessions, 1);
        drop(sessions);
        eventually_empty(&acceptor);
    }
}

fn a_wrong_answer_is_refused_and_a_new_login_may_be_right<A: Adapter>() {
    for (store, acceptor) in both(2) {
        for (answer, checked) in [(&b"1"[..], 1), (b"0", 3)] {
            let (client, server) = failed::<A>(&acceptor, &answering_with(answer), ALICE);
            assert_eq!(protocol(client), Error::Refused);
            assert_eq!(refused(server), (Some("alice".to_owned()), Reason::WrongFactor));
            assert_eq!(store.checked(), checked, "no answer is looked at after a wrong one");
        }
        let (client, server) = login::<A>(&acceptor, &answering(), ALICE);
        assert!(client.is_ok() && server.is_ok());
    }
}

fn a_verifier_that_is_shared_or_under_a_policy_asks_for_the_factors_that_it_asks_for_alone<A: Adapter>() {
    let policy = |request: &PolicyRequest<'_>| -> Result<Grant, Reason> { Ok(request.grant().clone()) };
    let store = Store::with(1);
    let (shared, from_async) = (Arc::new(Asynchronous(store.clone())), Asynchronous(store.clone()));
    let key = || RSA2048.server.clone();
    for acceptor in [
        asking(Arc::new(store.clone())),
        asking(Verifier::with_policy(store.clone(), policy)),
        Acceptor::new_async(config(), key(), shared),
        Acceptor::new_async(config(), key(), AsyncVerifier::with_policy(from_async, policy)),
    ] {
        let checked = store.checked();
        let (client, server) = failed::<A>(&acceptor, &answering_with(b"1"), ALICE);
        assert_eq!(protocol(client), Error::Refused);
        assert_eq!(refused(server), (Some("alice".to_owned()), Reason::WrongFactor));
        let (client, server) = login::<A>(&acceptor, &answering(), ALICE);
        assert!(client.is_ok() && server.is_ok());
        assert_eq!(store.checked(), checked + 2);
    }
}

fn a_client_that_can_t_be_asked_is_refused_without_being_told_why<A: Adapter>() {
    for (store, acceptor) in both(1) {
        let (client, server) = failed::<A>(&acceptor, &connector(), ALICE);
        assert_eq!(protocol(client), Error::Refused);
        assert_eq!(refused(server), (Some("alice".to_owned()), Reason::FactorNotOffered));
        // A wrong password leads nowhere near it.
        let wrong = Credential::Password { user: "alice", password: b"wrong" };
        let (client, server) = failed::<A>(&acceptor, &answering(), wrong);
        assert_eq!(protocol(client), Error::Refused);
        assert_eq!(refused(server), (Some("alice".to_owned()), Reason::WrongPassword));
        assert_eq!(store.checked(), 0);
    }
}

fn a_client_that_has_no_answer_gives_the_login_up<A: Adapter>() {
    for (_, acceptor) in both(1) {
        let (client, server) = failed::<A>(&acceptor, &connector().with_factors(|_| None), ALICE);
        assert_eq!(protocol(client), Error::FactorWanted(Prompt::new(Form::Code, "0").unwrap()));
        assert_eq!(disconnected(server), FrameType::ClientFactor);
        eventually_empty(&acceptor);
    }
}

fn whoever_has_a_password_alone_waits_for_its_further_factor_in_an_eighth_of_the_places_at_most<A: Adapter>() {
    for (_, acceptor) in both(1) {
        let acceptor = acceptor.with_bounds(Bounds::default().with_refusals(23));
        let waiting = [(); 2].map(|()| {
            let (client, server) = pair();
            let server = accepting::<A>(&acceptor, server, Context::uncounted());
            let mut peer = Peer::new(client);
            drop(peer.login(&Scenario::new().factors(), ALICE));
            peer.receive(FrameType::ServerVerdict);
            (peer, server)
        });
        let (client, server) = failed::<A>(&acceptor, &answering(), ALICE);
        assert_eq!(protocol(client), Error::Refused);
        let reason = Reason::NotAdmitted("too many logins of this principal wait for a further factor");
        assert_eq!(refused(server), (Some("alice".to_owned()), reason));
        for (peer, server) in waiting {
            drop(peer);
            assert_eq!(disconnected(server.join().unwrap().map(drop).unwrap_err()), FrameType::ClientFactor);
        }
        let (client, server) = login::<A>(&acceptor, &answering(), ALICE);
        assert!(client.is_ok() && server.is_ok());
    }
}

fn a_verifier_that_asks_without_end_is_stopped<A: Adapter>() {
    for (store, acceptor) in both(usize::MAX) {
        let (client, server) = failed::<A>(&acceptor, &answering(), ALICE);
        assert_eq!(protocol(client), Error::Refused);
        assert_eq!(refused(server).1, Reason::TooManyFactors);
        assert_eq!(store.checked(), limits::MAX_FACTORS);
    }
}

fn a_verifier_that_panics_over_an_answer_refuses_it<A: Adapter>() {
    for (_, acceptor) in both(1) {
        let (client, server) = failed::<A>(&acceptor, &answering_with(b"panic"), ALICE);
        assert_eq!(protocol(client), Error::Refused);
        assert_eq!(refused(server).1, Reason::VerifierFailed);
        eventually_empty(&acceptor);
    }
}

fn a_verifier_that_is_away_says_not_now<A: Adapter>() {
    for (_, acceptor) in both(1) {
        let (client, server) = failed::<A>(&acceptor, &answering_with(b"away"), ALICE);
        assert_eq!(protocol(client), Error::NotNow);
        assert_eq!(refused(server).1, Reason::NotNow("the store is away"));
    }
}

fn an_async_verifier_that_has_no_answer_about_a_factor_ends_in_not_now<A: Adapter>() {
    let config = config().with_handshake_timeout(Duration::from_secs(3));
    let acceptor = Acceptor::new_async(config, RSA2048.server.clone(), Asynchronous(Store::with(1)));
    let (client, server) = failed::<A>(&acceptor, &answering_with(b"hangs"), ALICE);
    assert_eq!(protocol(client), Error::NotNow);
    assert!(matches!(refused(server).1, Reason::NoAnswer(_)));
    eventually_empty(&acceptor);
}

fn wrong_answers_make_the_name_wait_wherever_they_come_from<A: Adapter>() {
    for (_, acceptor) in both(1) {
        let acceptor = acceptor.with_penalties(penalties());
        let answer = |source: &str, answer| {
            let (client, server) = pair();
            let server = accepting::<A>(&acceptor, server, Source::named(source));
            drop(A::connect(&answering_with(answer), client, ALICE));
            refused(server.join().unwrap().map(drop).unwrap_err()).1
        };
        for number in 0..11 {
            assert_eq!(answer(&format!("flat {number}"), b"wrong"), Reason::WrongFactor, "{number}");
        }
        assert_eq!(answer("another", b"0"), Reason::Penalty(Penalty::Account));
    }
}

/// The time for the handshake is over before the user has typed; and it is long enough for all else on a busy machine.
fn slow_typing_outlasts_the_handshake_s_own_deadline<A: Adapter>() {
    const SHORT: Duration = Duration::from_secs(3);
    let acceptor = Acceptor::new(config().with_handshake_timeout(SHORT), RSA2048.server.clone(), Store::with(1));
    let start = Instant::now();
    let connector = Connector::new(client_config().with_handshake_timeout(SHORT), RSA2048.trust());
    let connector = connector.with_factors(move |prompt| {
        std::thread::sleep((SHORT + Duration::from_millis(200)).saturating_sub(start.elapsed()));
        Some(prompt.text().as_bytes().to_vec())
    });
    let (client, server) = login::<A>(&acceptor, &connector, ALICE);
    assert!(client.is_ok() && server.is_ok() && start.elapsed() > SHORT);
}

fn an_answer_that_never_comes_is_given_up_at_its_own_deadline_without_an_answer<A: Adapter>() {
    let config = config().with_factor_timeout(Duration::from_millis(300));
    let acceptor = Acceptor::new(config, RSA2048.server.clone(), Store::with(1));
    let (client, server) = pair();
    let server = accepting::<A>(&acceptor, server, Context::uncounted());
    let mut peer = Peer::new(client);
    drop(peer.login(&Scenario::new().factors(), ALICE));
    assert_eq!(peer.receive(FrameType::ServerVerdict).len(), VERDICT);
    eventually("it is counted as a login that is not decided", || {
        acceptor.counts().logins == 1 || server.is_finished()
    });
    assert_eq!(peer.rest(), b"");
    assert!(matches!(server.join().unwrap(), Err(LoginError::Protocol(Error::DeadlinePassed))));
    eventually_empty(&acceptor);
}

fn what_is_no_answer_gets_the_refusal<A: Adapter>() {
    let frames = [crate::support::frame(11, &[7; 528]), crate::support::frame(5, &[7; 17]), vec![13], vec![11, 0, 1]];
    for (bytes, reason) in frames.into_iter().zip(["not-opened", "unexpected-frame", "unknown-frame", "frame-length"]) {
        let acceptor = asking(Store::with(1));
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Context::uncounted());
        let mut peer = Peer::new(client);
        drop(peer.login(&Scenario::new().factors(), ALICE));
        peer.receive(FrameType::ServerVerdict);
        peer.send(&bytes);
        assert_eq!(peer.rest().len(), VERDICT);
        let (user, refused) = refused(server.join().unwrap().map(drop).unwrap_err());
        let code = if let Reason::Malformed(error) = &refused { error.code() } else { refused.code() };
        assert_eq!((user.as_deref(), code), (Some("alice"), reason));
    }
}

fn a_refused_answer_is_told_no_earlier_than_the_floor<A: Adapter>() {
    let floor = Duration::from_millis(FLOOR);
    for answer in [&b"wrong"[..], b"panic", b"away"] {
        let acceptor = Acceptor::new(config().with_refusal_floor(floor), RSA2048.server.clone(), Store::with(1));
        let answered = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&answered);
        let connector = connector().with_factors(move |_| {
            *noted.lock().unwrap() = Some(Instant::now());
            Some(answer.to_vec())
        });
        drop(failed::<A>(&acceptor, &connector, ALICE));
        assert!(answered.lock().unwrap().unwrap().elapsed() >= floor);
    }
}

fn a_ticket_after_the_last_factor_takes_the_place_of_all_of_them<A: Adapter>() {
    let keys = TicketKeys::new(provider(), Duration::from_secs(3600));
    let store = Store::with(1);
    let acceptor = Acceptor::new(config().with_tickets(keys), RSA2048.server.clone(), store.clone());
    let connector = answering().with_tickets(MemoryTickets::new());
    for checked in [false, true] {
        let (client, server) = login::<A>(&acceptor, &connector, ALICE);
        assert_eq!((client.unwrap().info().is_resumed(), server.unwrap().info().is_resumed()), (checked, checked));
    }
    assert_eq!(store.checked(), 1);
}

/// The answer comes from another thread; where the server hangs up before, nobody waits for it.
fn an_answer_may_be_asked_for_from_async_code<A: Adapter>() {
    let (ask, asked): (Sender<tokio::sync::oneshot::Sender<Vec<u8>>>, Receiver<_>) = channel();
    let connector = connector().with_factors_async(move |_| {
        let (give, given) = tokio::sync::oneshot::channel();
        ask.send(give).unwrap();
        async move { given.await.ok() }
    });
    let acceptor = asking(Store::with(1));
    let user = std::thread::spawn(move || {
        asked.recv().unwrap().send(b"0".to_vec()).unwrap();
        asked
    });
    let (client, server) = login::<A>(&acceptor, &connector, ALICE);
    assert!(client.is_ok() && server.is_ok());
    let asked = user.join().unwrap();
    let config = config().with_factor_timeout(Duration::from_millis(200));
    let acceptor = Acceptor::new(config, RSA2048.server.clone(), Store::with(1));
    let user = std::thread::spawn(move || {
        let never = asked.recv().unwrap();
        eventually("nobody waits for it any more", || never.is_closed());
    });
    let (client, server) = failed::<A>(&acceptor, &connector, ALICE);
    assert_eq!(disconnected(client), FrameType::ServerVerdict);
    assert_eq!(protocol(server), Error::DeadlinePassed);
    user.join().unwrap();
}

/// The server would wait for longer.
fn a_client_whose_user_never_answers_gives_the_login_up_in_its_own_time<A: Adapter>() {
    let acceptor = asking(Store::with(1));
    let config = client_config().with_factor_timeout(Duration::from_millis(200));
    let connector = Connector::new(config, RSA2048.trust());
    let connector = connector.with_factors_async(|_| std::future::pending::<Option<Vec<u8>>>());
    let (client, _) = failed::<A>(&acceptor, &connector, ALICE);
    assert_eq!(protocol(client), Error::DeadlinePassed);
    eventually_empty(&acceptor);
}
