//! Refusals: whatever the reason, they are the same bytes, no earlier than the floor, for the same questions asked.

use crate::ends::{
    Adapter, accepting, client_config, config, connector, eventually_empty, failed, login, pair, protocol, refused,
};
use crate::peer::{Challenged, Peer, VERDICT};
use crate::support::wire::{Forger, padded};
use crate::support::{ALICE, RSA2048, Scenario, TODAY, at, verifier};
use countersign::crypto::{Decrypt, Decrypted, Decrypting, RemoteDecrypt};
use countersign::frame::FrameType;
use countersign::{
    Acceptor, AsyncVerifier, Attempt, Bounds, Connector, Context, Credential, CredentialKind, CryptoRng, Error, Grant,
    LoginError, Reason, Server, ServerConfig, ServerKey, Source, Suite,
};
use std::collections::BTreeSet;
use std::future::{Future, pending};
use std::io::Read;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

for_every_adapter!(
    a_refusal_of_any_kind_is_the_same_bytes_no_earlier_than_the_floor,
    a_login_that_is_shed_is_closed_unopened_and_a_hello_is_told,
    a_login_whose_key_service_never_answers_is_closed,
    a_hello_whose_key_service_never_answers_is_told_that_the_server_is_busy,
    a_login_for_which_no_session_is_left_is_turned_away_or_refused,
    whoever_leaves_after_its_login_holds_nothing,
    a_house_that_fills_up_between_hello_and_login_is_no_wrong_password,
    an_accepted_login_is_not_held_to_the_floor,
);

#[test]
fn not_all_who_are_turned_away_are_told_to_come_back_at_the_same_moment() {
    let acceptor = Acceptor::new(config(), RSA2048.server.clone(), verifier)
        .with_limiter(|_, _| Err(Reason::NotAdmitted("not today")));
    let told: BTreeSet<u16> = (0..40)
        .map(|_| match protocol(failed::<crate::ends::Blocking>(&acceptor, &connector(), ALICE).0) {
            Error::Busy { retry_after } => retry_after,
            other => panic!("{other:?}"),
        })
        .collect();
    // A second of patience, and one to three more at random: all alike once in 10^18 times.
    assert!(told.len() > 1 && told.iter().all(|seconds| (2..=4).contains(seconds)), "{told:?}");
}

const FLOOR: Duration = Duration::from_millis(300);

/// How long a login may take here once it has arrived: for those that nobody answers.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Keeps panics that are meant out of the tests' output.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&ON_PURPOSE) {
                usual(info);
            }
        }));
    });
}

const ON_PURPOSE: &str = "on purpose";

/// Counts how often it is asked.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// The real key, counted.
struct Counted(Arc<dyn Decrypt>, Count);

impl Decrypt for Counted {
    fn decrypt(&self, ciphertext: &[u8], rng: &mut dyn CryptoRng) -> Decrypted {
        self.1.add();
        self.0.decrypt(ciphertext, rng)
    }
}

struct Panics(Count);

impl Decrypt for Panics {
    fn decrypt(&self, _: &[u8], _: &mut dyn CryptoRng) -> Decrypted {
        self.0.add();
        std::panic::panic_any(ON_PURPOSE)
    }
}

/// A key service that does not do its work.
#[derive(Clone, Copy)]
enum Service {
    Fails,
    PanicsAtOnce,
    PanicsLater,
    NeverAnswers,
}

struct Remote(Service, Count);

impl RemoteDecrypt for Remote {
    fn decrypt(&self, _: Vec<u8>) -> Decrypting {
        self.1.add();
        match self.0 {
            Service::Fails => Box::pin(async { Decrypted::failed() }),
            Service::PanicsAtOnce => std::panic::panic_any(ON_PURPOSE),
            Service::PanicsLater => Box::pin(async { std::panic::panic_any(ON_PURPOSE) }),
            Service::NeverAnswers => Box::pin(pending()),
        }
    }
}

/// A verifier that does what the user name says.
fn judge(attempt: &Attempt<'_>, count: &Count) -> Result<Grant, Reason> {
    count.add();
    match attempt.credential().user() {
        Some("disabled") => Err(Reason::AccountDisabled),
        Some("application") => Err(Reason::Application("not before nine")),
        Some("not now") => Err(Reason::NotNow("the database is away")),
        Some("panics") => std::panic::panic_any(ON_PURPOSE),
        // A careless verifier, to whom all are welcome, even those who showed nothing.
        Some("" | "anyone") => Ok(crate::support::grant()),
        _ => verifier(attempt),
    }
}

struct Asynchronous(Count);

impl AsyncVerifier for Asynchronous {
    // By hand, so that it can panic before there is a future.
    #[allow(clippy::manual_async_fn)]
    fn verify(&self, attempt: &Attempt<'_>) -> impl Future<Output = Result<Grant, Reason>> + Send {
        if attempt.credential().user() == Some("panics at once") {
            self.0.add();
            std::panic::panic_any(ON_PURPOSE);
        }
        async move {
            if attempt.credential().user() == Some("silence") {
                self.0.add();
                pending::<()>().await;
            }
            if attempt.credential().user() == Some("computes and panics") {
                self.0.add();
                attempt.compute(|| std::panic::panic_any(ON_PURPOSE)).await?;
            }
            judge(attempt, &self.0)
        }
    }
}

/// What the client sends in the place of a login.
#[derive(Clone, Copy)]
enum Sends {
    Credential(Credential<'static>),
    /// A login that does not decode.
    Malformed,
    /// Another frame, after the header of which nothing is read.
    AnotherFrame,
    /// A login for another connection.
    NotOpened,
    /// A credential of a kind that the server did not name.
    AnotherKind,
}

fn user(user: &'static str) -> Sends {
    Sends::Credential(Credential::Password { user, password: b"password" })
}

/// A way to be refused.
struct Case {
    name: &'static str,
    acceptor: Acceptor,
    sends: Sends,
    scenario: Scenario,
    /// How often the private key and the verifier are asked.
    asks: (usize, usize),
    decrypted: Count,
    verified: Count,
    reason: &'static str,
}

struct Cases(Vec<Case>);

impl Cases {
    fn config() -> ServerConfig {
        config().with_refusal_floor(FLOOR).with_handshake_timeout(TIMEOUT)
    }

    fn add(
        &mut self,
        name: &'static str,
        sends: Sends,
        asks: (usize, usize),
        reason: &'static str,
        make: impl FnOnce(&Count, &Count) -> Acceptor,
    ) {
        let (decrypted, verified) = (Count::default(), Count::default());
        let acceptor = make(&decrypted, &verified);
        let scenario = Scenario::new();
        self.0.push(Case { name, acceptor, sends, scenario, asks, decrypted, verified, reason });
    }

    /// With the real key and [`judge`].
    fn plain(&mut self, name: &'static str, sends: Sends, asks: (usize, usize), reason: &'static str) {
        self.add(name, sends, asks, reason, |decrypted, verified| plain(Self::config(), decrypted, verified));
    }

    fn asynchronous(&mut self, name: &'static str, sends: Sends, reason: &'static str) {
        self.add(name, sends, (1, 1), reason, |decrypted, verified| {
            Acceptor::new_async(Self::config(), counted(decrypted), Asynchronous(verified.clone()))
        });
    }

    fn remote(&mut self, name: &'static str, service: Service, asks: (usize, usize), reason: &'static str) {
        self.add(name, Sends::Credential(ALICE), asks, reason, |decrypted, verified| {
            let key = remote(service, decrypted);
            let verified = verified.clone();
            Acceptor::new(Self::config(), key, move |attempt: &Attempt<'_>| judge(attempt, &verified))
        });
        self.add(name, Sends::Credential(ALICE), asks, reason, |decrypted, verified| {
            Acceptor::new_async(Self::config(), remote(service, decrypted), Asynchronous(verified.clone()))
        });
    }

    fn all() -> Self {
        quiet_panics();
        let mut cases = Self(Vec::new());
        cases.plain("malformed", Sends::Malformed, (0, 0), "malformed");
        cases.plain("another frame", Sends::AnotherFrame, (0, 0), "malformed");
        cases.plain("not opened", Sends::NotOpened, (1, 1), "not-opened");
        cases.plain("unknown user", user("bob"), (1, 1), "unknown-user");
        cases.plain(
            "wrong password",
            Sends::Credential(Credential::Password { user: "alice", password: b"wrong" }),
            (1, 1),
            "wrong-password",
        );
        cases.plain("unknown token", Sends::Credential(Credential::Token(b"wrong")), (1, 1), "unknown-token");
        cases.plain("disabled", user("disabled"), (1, 1), "account-disabled");
        cases.plain("application", user("application"), (1, 1), "application");
        cases.plain("not now", user("not now"), (1, 1), "not-now");
        cases.plain("a verifier that panics", user("panics"), (1, 1), "verifier-failed");
        cases.add("a decryptor that panics", Sends::Credential(ALICE), (1, 1), "not-opened", |decrypted, verified| {
            let panics = Arc::new(Panics(decrypted.clone()));
            let verified = verified.clone();
            let key = ServerKey::with_decrypt(RSA2048.private.public_key().clone(), panics);
            Acceptor::new(Self::config(), key, move |attempt: &Attempt<'_>| judge(attempt, &verified))
        });
        cases.add("nobody's private key", Sends::Credential(ALICE), (0, 1), "not-opened", |_, verified| {
            let verified = verified.clone();
            let key = ServerKey::public_only(RSA2048.private.public_key().clone());
            Acceptor::new(Self::config(), key, move |attempt: &Attempt<'_>| judge(attempt, &verified))
        });
        cases.remote("a key service that fails", Service::Fails, (1, 1), "not-opened");
        cases.remote("a key service that panics at once", Service::PanicsAtOnce, (1, 1), "not-opened");
        cases.remote("a key service that panics later", Service::PanicsLater, (1, 1), "not-opened");
        cases.asynchronous("async: wrong", user("bob"), "unknown-user");
        cases.asynchronous("async: panics", user("panics"), "verifier-failed");
        cases.asynchronous("async: panics at once", user("panics at once"), "verifier-failed");
        cases.asynchronous("async: panics on a thread", user("computes and panics"), "verifier-failed");
        cases.asynchronous("async: never answers", user("silence"), "no-answer");
        cases.add("another kind", Sends::AnotherKind, (1, 1), "kind-not-taken", |decrypted, verified| {
            let config = Self::config().with_suites(&[Suite::RSA_AES_256_GCM]).unwrap();
            plain(config.with_credential_kinds(&[CredentialKind::Token]).unwrap(), decrypted, verified)
        });
        let last = cases.0.last_mut().unwrap();
        last.scenario = Scenario::new().suite(Suite::RSA_AES_256_GCM);
        cases
    }
}

fn counted(decrypted: &Count) -> ServerKey {
    let key = RSA2048.decryptor();
    ServerKey::with_decrypt(RSA2048.private.public_key().clone(), Arc::new(Counted(key, decrypted.clone())))
}

fn remote(service: Service, decrypted: &Count) -> ServerKey {
    let service = Arc::new(Remote(service, decrypted.clone()));
    ServerKey::with_remote_decrypt(RSA2048.private.public_key().clone(), service)
}

fn plain(config: ServerConfig, decrypted: &Count, verified: &Count) -> Acceptor {
    let verified = verified.clone();
    Acceptor::new(config, counted(decrypted), move |attempt: &Attempt<'_>| judge(attempt, &verified))
}

/// Sends a login, or what stands for one; gives the moment before that.
fn send(peer: &mut Peer, scenario: &Scenario, sends: Sends) -> Instant {
    let Challenged { hello, challenge, state } = peer.hello(scenario);
    let login = match sends {
        Sends::Credential(credential) => scenario.clone().credential(credential).log_in(state, &challenge).unwrap().0,
        Sends::Malformed => crate::support::frame(3, &[0xff; 300]),
        Sends::AnotherFrame => hello,
        Sends::NotOpened => scenario.await_verdict().login,
        Sends::AnotherKind => {
            let credential = [&[1, 0, 5][..], b"alice", &[0, 8], b"password"].concat();
            Forger::new(&hello, &challenge).login_with(&padded(credential, 256), &mut scenario.rng("forger"))
        }
    };
    let before = Instant::now();
    peer.send(&login);
    before
}

/// Sends a login, and gives the answer to its end, and how long after the login its beginning came.
fn attempt(stream: TcpStream, scenario: &Scenario, sends: Sends) -> (Vec<u8>, Duration) {
    let mut peer = Peer::new(stream);
    let before = send(&mut peer, scenario, sends);
    let mut first = [0];
    let came = peer.0.read(&mut first).unwrap();
    let took = before.elapsed();
    ([&first[..came], &peer.rest()].concat(), took)
}

fn a_refusal_of_any_kind_is_the_same_bytes_no_earlier_than_the_floor<A: Adapter>() {
    let cases: Vec<_> = Cases::all()
        .0
        .into_iter()
        .map(|case| {
            std::thread::spawn(move || {
                let (client, server) = pair();
                let server = accepting::<A>(&case.acceptor, server, Context::uncounted());
                let (verdict, took) = attempt(client, &case.scenario, case.sends);
                let Err(error) = server.join().unwrap() else { panic!("{}: accepted", case.name) };
                (case, verdict, took, error)
            })
        })
        .collect();
    for case in cases {
        let (case, verdict, took, error) = case.join().unwrap();
        let name = case.name;
        assert_eq!((verdict.len(), verdict.first()), (VERDICT, Some(&4)), "{name}: {error:?}");
        assert!(took >= FLOOR, "{name}: told after {took:?}");
        assert_eq!(error.code(), case.reason, "{name}: {error:?}");
        assert_eq!((case.decrypted.get(), case.verified.get()), case.asks, "{name}: what was asked");
        eventually_empty(&case.acceptor);
    }
}

/// The same, from peers that leave as soon as they have sent their logins.
fn whoever_leaves_after_its_login_holds_nothing<A: Adapter>() {
    let cases = Cases::all().0.into_iter().map(|case| {
        std::thread::spawn(move || {
            let (client, server) = pair();
            let server = accepting::<A>(&case.acceptor, server, Context::from(Source::named("a stranger")));
            send(&mut Peer::new(client), &case.scenario, case.sends);
            assert!(server.join().unwrap().is_err(), "{}", case.name);
            eventually_empty(&case.acceptor);
        })
    });
    let cases: Vec<_> = cases.collect();
    cases.into_iter().for_each(|case| case.join().unwrap());
}

/// There is nothing that could be sent to it that it can open.
/// It is told that it may try again, and the reason is logged.
fn a_hello_whose_key_service_never_answers_is_told_that_the_server_is_busy<A: Adapter>() {
    let decrypted = Count::default();
    let config = config().with_handshake_timeout(TIMEOUT);
    let acceptor = Acceptor::new(config, remote(Service::NeverAnswers, &decrypted), verifier);
    let known = Connector::new(client_config(), Server::key(RSA2048.private.public_key().clone()));
    let (client, server) = failed::<A>(&acceptor, &known, ALICE);
    assert!(matches!(protocol(client), Error::Busy { .. }));
    assert_eq!((refused(server).1.code(), decrypted.get()), ("not-now", 1));
    eventually_empty(&acceptor);
}

fn a_login_whose_key_service_never_answers_is_closed<A: Adapter>() {
    let (decrypted, verified) = (Count::default(), Count::default());
    for is_async in [false, true] {
        let (key, verified) = (remote(Service::NeverAnswers, &decrypted), verified.clone());
        let acceptor = if is_async {
            Acceptor::new_async(Cases::config(), key, Asynchronous(verified.clone()))
        } else {
            let verified = verified.clone();
            Acceptor::new(Cases::config(), key, move |attempt: &Attempt<'_>| judge(attempt, &verified))
        };
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Context::uncounted());
        let mut peer = Peer::new(client);
        send(&mut peer, &Scenario::new(), Sends::Credential(ALICE));
        assert_eq!(peer.rest(), b"");
        drop(peer);
        assert_eq!(refused(server.join().unwrap().map(drop).unwrap_err()).1.code(), "not-now");
        eventually_empty(&acceptor);
    }
    assert_eq!((decrypted.get(), verified.get()), (2, 0));
}

fn a_login_that_is_shed_is_closed_unopened_and_a_hello_is_told<A: Adapter>() {
    let decrypted = Count::default();
    let (entered, is_in) = channel();
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let held = move |attempt: &Attempt<'_>| {
        entered.send(()).unwrap();
        may_go.lock().unwrap().recv().unwrap();
        verifier(attempt)
    };
    let bounds = Bounds::default().with_working(1).with_waiting(0).with_patience(Duration::from_secs(3600));
    let acceptor = Acceptor::new(config().with_refusal_floor(FLOOR), counted(&decrypted), held).with_bounds(bounds);
    let (client, server) = pair();
    let first = accepting::<A>(&acceptor, server, Context::uncounted());
    let logging_in = std::thread::spawn(move || A::connect(&connector(), client, ALICE).map(drop));
    is_in.recv().unwrap();
    let (client, server) = pair();
    let second = accepting::<A>(&acceptor, server, Context::uncounted());
    let (verdict, _) = attempt(client, &Scenario::new(), Sends::Credential(ALICE));
    assert_eq!(verdict, b"");
    let (user, reason) = refused(second.join().unwrap().map(drop).unwrap_err());
    assert_eq!((user, reason.code(), decrypted.get()), (None, "not-now", 1));
    // Whoever wants a proof is turned away before the RSA operation, and told so.
    let known = Connector::new(client_config(), Server::key(RSA2048.private.public_key().clone()));
    let (client, server) = failed::<A>(&acceptor, &known, ALICE);
    assert!(matches!(protocol(client), Error::Busy { .. }));
    assert_eq!((server.code(), decrypted.get()), ("pressed", 1));
    // One that does not hang up holds no place that others can't take.
    let (client, server) = pair();
    let lingering = accepting::<A>(&acceptor, server, Context::uncounted());
    let mut peer = Peer::new(client);
    peer.send(&Scenario::new().known_key().await_challenge().0);
    peer.receive(FrameType::Busy);
    assert_eq!(acceptor.counts().logins, 1, "the one that is computed");
    drop(peer);
    assert_eq!(lingering.join().unwrap().map(drop).unwrap_err().code(), "pressed");
    go.send(()).unwrap();
    logging_in.join().unwrap().unwrap();
    drop(first.join().unwrap().unwrap());
    eventually_empty(&acceptor);
}

fn a_login_for_which_no_session_is_left_is_turned_away_or_refused<A: Adapter>() {
    for (name, bounds, asks) in [
        ("in total", Bounds::default().with_sessions(1), (0, 0)),
        ("of one source", Bounds::default().with_sessions_per_source(1), (0, 0)),
        ("of one principal", Bounds::default().with_sessions_per_principal(1), (1, 1)),
    ] {
        let (decrypted, verified) = (Count::default(), Count::default());
        let acceptor = plain(config().with_refusal_floor(FLOOR), &decrypted, &verified).with_bounds(bounds);
        let source = || Context::from(Source::named("one"));
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, source());
        let client = A::connect(&connector(), client, ALICE).unwrap();
        let held = server.join().unwrap().unwrap();
        let before = (decrypted.get(), verified.get());
        let (again, server) = pair();
        let server = accepting::<A>(&acceptor, server, source());
        if asks == (0, 0) {
            // It does not depend on the account: said before anything secret is sent.
            let error = A::connect(&connector(), again, ALICE).map(drop).unwrap_err();
            assert!(matches!(protocol(error), Error::Busy { .. }), "{name}");
        } else {
            let (verdict, took) = attempt(again, &Scenario::new(), Sends::Credential(ALICE));
            assert_eq!((verdict.len(), verdict[0]), (VERDICT, 4), "{name}");
            assert!(took >= FLOOR, "{name}: {took:?}");
        }
        assert_eq!(refused(server.join().unwrap().map(drop).unwrap_err()).1.code(), "not-admitted", "{name}");
        assert_eq!((decrypted.get() - before.0, verified.get() - before.1), asks, "{name}");
        // It comes free with the session.
        drop((client, held));
        eventually_empty(&acceptor);
        let (client, server) = login::<A>(&acceptor, &connector(), ALICE);
        assert!(client.is_ok() && server.is_ok(), "{name}");
    }
}

fn a_house_that_fills_up_between_hello_and_login_is_no_wrong_password<A: Adapter>() {
    let (decrypted, verified) = (Count::default(), Count::default());
    let acceptor = plain(config(), &decrypted, &verified).with_bounds(Bounds::default().with_sessions(1));
    let (late, server) = pair();
    let server = accepting::<A>(&acceptor, server, Context::uncounted());
    let mut late = Peer::new(late);
    // Opened by then: to a login that is not, nobody can answer.
    let proving = Scenario::new().known_key();
    let Challenged { challenge, state, .. } = late.hello(&proving);
    let (client, held) = login::<A>(&acceptor, &connector(), ALICE);
    let (client, held) = (client.unwrap(), held.unwrap());
    let before = (decrypted.get(), verified.get());
    let (login, state) = proving.credential(ALICE).log_in(state, &challenge).unwrap();
    late.send(&login);
    let verdict = state.read(&late.receive(FrameType::ServerVerdict), at(100), TODAY);
    assert_eq!(verdict.map(drop), Err(Error::NotNow));
    assert_eq!(refused(server.join().unwrap().map(drop).unwrap_err()).1, Reason::NotNow("too many sessions"));
    assert_eq!((decrypted.get(), verified.get()), before);
    drop((client, held));
}

fn an_accepted_login_is_not_held_to_the_floor<A: Adapter>() {
    // A floor that no test outlives.
    let config = config().with_refusal_floor(Duration::from_secs(3600));
    let acceptor = Acceptor::new(config, RSA2048.server.clone(), verifier);
    let (client, server) = login::<A>(&acceptor, &connector(), ALICE);
    assert!(client.is_ok() && server.is_ok());
    drop((client, server));
    // For the caller a refusal is over at once, too, where the adapter has somebody else to tell the peer.
    if !A::TELLS_FIRST {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Context::uncounted());
        let wrong = Credential::Password { user: "alice", password: b"wrong" };
        let mut peer = Peer::new(client);
        peer.login(&Scenario::new(), wrong);
        assert!(matches!(server.join().unwrap(), Err(LoginError::LoginRefused { .. })));
        assert_eq!((acceptor.counts().handshakes, acceptor.counts().refusals), (0, 1), "it waits until it is due");
    }
}
