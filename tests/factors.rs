//! Further factors, at both ends: rules L12, N1 to N4, V7 and V8.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use core::pin::pin;
use core::task::{self, Poll, Waker};
use core::time::Duration;
use countersign::client::{AwaitVerdict, FactorWanted, Verdict};
use countersign::codec::DecodeError;
use countersign::frame::{FrameError, FrameType};
use countersign::server::{Accepted, Asked, AwaitFactor, Claim, FactorClaim, Refusal};
use countersign::{
    AsyncVerifier, Attempt, ClientKey, Context, Credential, CredentialKind, Error, FactorAttempt, Form, Further, Grant,
    KeyExchange, Misuse, Prompt, Question, Reason, Server, Session, SigningKey, Suite, TicketKeys, Trust, TrustLevel,
    Verifier, Violation, limits,
};
use support::wire::{self, ClientHello, Forger, Message, edit, padded};
use support::{
    DEADLINE, FLOOR, LOGIN_AT, RSA2048, Scenario, Sent, TODAY, TestRng, VERDICT_AT, at, error, frame, grant,
    not_that_frame, provider,
};

/// When an answer is there.
const ANSWER_AT: u64 = 20_000;

/// How long one may take.
const MINUTE: u64 = 60_000;

fn scenario() -> Scenario {
    Scenario::new().factors()
}

/// The client has pinned the key, and has it whole.
fn both() -> [Scenario; 2] {
    [scenario(), scenario().known_key()]
}

/// Suites of RSA alone, so that tests can compute the keys of a handshake.
fn rsa_alone() -> [Scenario; 2] {
    let scenario = scenario().suite(Suite::RSA_AES_256_GCM);
    [scenario.clone(), scenario.known_key_under(KeyExchange::Rsa)]
}

fn prompt() -> Prompt {
    Prompt::new(Form::Code, "The code").unwrap()
}

/// A login up to where a factor is wanted.
struct Wanted {
    frames: Vec<Vec<u8>>,
    client: FactorWanted,
    server: AwaitFactor,
}

impl Wanted {
    fn of(scenario: &Scenario) -> Self {
        let Sent { hello, challenge, login, client, server } = scenario.await_verdict();
        let claim = scenario.open(server, &login).unwrap();
        Self::asked(vec![hello, challenge, login], client, claim.ask(&prompt(), at(VERDICT_AT)), VERDICT_AT)
    }

    fn asked(mut frames: Vec<Vec<u8>>, client: AwaitVerdict, asked: Result<Asked, Refusal>, when: u64) -> Self {
        let Asked { frame, state, .. } = asked.unwrap();
        let client = wanted(client.read_step(&frame, at(when), TODAY));
        frames.push(frame);
        Self { frames, client, server: state }
    }

    fn frames(&self) -> Vec<&[u8]> {
        self.frames.iter().map(Vec::as_slice).collect()
    }

    /// What the client sealed to the server, under a suite of RSA alone.
    fn secret(&self) -> Vec<u8> {
        secret(&self.frames[0], &self.frames[2])
    }

    /// A ClientFactor with this plaintext.
    fn forged(&self, plaintext: &[u8]) -> Vec<u8> {
        wire::sealed_after(&self.secret(), &self.frames(), (11, "factor"), plaintext)
    }
}

fn secret(hello: &[u8], login: &[u8]) -> Vec<u8> {
    use rsa::pkcs8::DecodePrivateKey;
    let sealed = wire::ClientLogin::decode(&login[3..]).unwrap().rsa_ciphertext;
    if sealed.is_empty() {
        return wire::hello_secret(RSA2048.pem, hello);
    }
    let key = rsa::PrivateKey::from_pkcs8_pem(RSA2048.pem).unwrap();
    key.decrypt(rsa::Oaep::<sha2::Sha256>::new(), &sealed).unwrap()[..32].to_vec()
}

fn wanted(verdict: Result<Verdict, Error>) -> FactorWanted {
    match verdict.unwrap() {
        Verdict::Factor(wanted) => wanted,
        Verdict::Accepted(_) => panic!("it was accepted"),
    }
}

/// The answer on its way, and the client that waits for what becomes of it.
fn answered(wanted: Wanted, answer: &[u8]) -> (Vec<u8>, AwaitVerdict, AwaitFactor) {
    let (frame, client) = wanted.client.answer(answer, at(ANSWER_AT)).unwrap();
    (frame, client, wanted.server)
}

fn claim(server: AwaitFactor, frame: &[u8]) -> Result<FactorClaim, Refusal> {
    server.read(frame.to_vec(), at(ANSWER_AT))
}

fn is_the_refusal(refusal: &Refusal) {
    assert_eq!((refusal.frame.len(), refusal.frame[0]), (2067, 4));
    assert_eq!(refusal.not_before, at(ANSWER_AT + FLOOR));
}

fn same_session(client: &Session, server: &Session) {
    let facts = |session: &Session| {
        let mut key = [0; 32];
        session.info.export("a test", b"", &mut key).unwrap();
        (session.info.login_grant().clone(), session.info.suite(), session.info.id(), key)
    };
    assert_eq!(facts(client), facts(server));
}

#[test]
fn a_login_with_a_further_factor_ends_in_the_same_session_at_both_ends() {
    for scenario in both() {
        let wanted = Wanted::of(&scenario);
        assert_eq!((wanted.client.prompt(), wanted.client.prompt().form()), (&prompt(), Form::Code));
        assert_eq!(wanted.frames[3].len(), 2067, "as any verdict");
        let (frame, client, server) = answered(wanted, b"123456");
        assert_eq!((frame.len(), frame[0]), (531, 11));
        let claim = claim(server, &frame).unwrap();
        assert_eq!((claim.answer(), claim.kind()), (&b"123456"[..], CredentialKind::Password));
        let Accepted { frame, session, .. } = claim.accept(grant()).unwrap();
        assert_eq!(frame.len(), 2067);
        same_session(&client.read(&frame, at(ANSWER_AT + 1), TODAY).unwrap(), &session);
    }
}

#[test]
fn four_factors_may_be_asked_for_one_after_the_other() {
    for scenario in both() {
        let mut wanted = Wanted::of(&scenario);
        for step in 1..limits::MAX_FACTORS {
            let frames = wanted.frames.clone();
            let (frame, client, server) = answered(wanted, format!("answer {step}").as_bytes());
            let claim = claim(server, &frame).unwrap();
            assert_eq!(claim.answer(), format!("answer {step}").as_bytes());
            wanted =
                Wanted::asked([frames, vec![frame]].concat(), client, claim.ask(&prompt(), at(ANSWER_AT)), ANSWER_AT);
        }
        let (frame, client, server) = answered(wanted, b"the last");
        let Accepted { frame, session, .. } = claim(server, &frame).unwrap().accept(grant()).unwrap();
        same_session(&client.read(&frame, at(ANSWER_AT), TODAY).unwrap(), &session);
    }
}

#[test]
fn a_server_asks_for_no_fifth() {
    let mut wanted = Wanted::of(&scenario());
    for _ in 1..limits::MAX_FACTORS {
        let (frame, client, server) = answered(wanted, b"1");
        wanted = Wanted::asked(vec![], client, claim(server, &frame).unwrap().ask(&prompt(), at(ANSWER_AT)), ANSWER_AT);
    }
    let (frame, client, server) = answered(wanted, b"1");
    let refusal = error(claim(server, &frame).unwrap().ask(&prompt(), at(ANSWER_AT)));
    is_the_refusal(&refusal);
    assert_eq!(refusal.reason, Reason::TooManyFactors);
    assert_eq!(error(client.read(&refusal.frame, at(ANSWER_AT), TODAY)), Error::Refused);
}

#[test]
fn a_ticket_comes_with_the_last_verdict_alone_and_is_good() {
    let rng = &mut TestRng::new("tickets");
    let keys = TicketKeys::new(provider(), Duration::from_secs(3600));
    let config = countersign::ServerConfig::new(provider()).with_tickets(keys);
    let scenario = scenario().server_config_of(config);
    let wanted = Wanted::of(&scenario);
    let (frame, client, server) = answered(wanted, b"123456");
    let accepted = claim(server, &frame).unwrap().accept_with_ticket(grant().with_epoch(1), TODAY, rng).unwrap();
    let session = client.read(&accepted.frame, at(ANSWER_AT), TODAY).unwrap();
    let ticket = session.info.ticket().expect("a ticket").clone();
    let trusted = scenario.trusted().resume(ticket, "alice", TODAY).expect("it is theirs");
    let none = countersign::ChannelBinding::none();
    let (config, trust) = (scenario.client_config(), scenario.trusted());
    let (hello, _) = countersign::client::resume(&config, trust, &none, trusted, rng, at(0)).unwrap();
    assert!(scenario.hello(&hello).unwrap().ticket(TODAY).is_some());
}

#[test]
fn l12_a_client_that_does_not_offer_further_factors_is_refused_as_any_other() {
    for scenario in [Scenario::new(), Scenario::new().known_key()] {
        let Sent { login, client, server, .. } = scenario.await_verdict();
        let claim = scenario.open(server, &login).unwrap();
        assert!(!claim.can_be_asked());
        let refusal = error(claim.ask(&prompt(), at(VERDICT_AT)));
        assert_eq!((refusal.frame.len(), refusal.not_before), (2067, at(LOGIN_AT + FLOOR)));
        assert_eq!(refusal.reason, Reason::FactorNotOffered);
        assert_eq!(error(client.read(&refusal.frame, at(VERDICT_AT), TODAY)), Error::Refused);
    }
    assert!(self::scenario().claim().can_be_asked());
}

#[test]
fn what_stands_in_a_client_s_offer_is_not_looked_at() {
    let scenario = Scenario::new().suite(Suite::RSA_AES_256_GCM);
    let hello = scenario.await_challenge().0;
    for data in [&[][..], &[0], &[7; 300]] {
        let hello = edit(&hello, |hello: &mut ClientHello| hello.extensions = vec![(5, data.to_vec())]);
        let (challenge, server) = scenario.answer(&hello).unwrap();
        let credential = wire::Credential { kind: 1, user: b"alice".to_vec(), secret: b"password".to_vec() };
        let plaintext = padded(credential.encode(), 256);
        let login = Forger::new(&hello, &challenge).login_with(&plaintext, &mut scenario.rng("forger"));
        let claim = scenario.open(server, &login).unwrap();
        assert!(claim.is_open() && claim.can_be_asked(), "{} bytes", data.len());
        assert!(claim.ask(&prompt(), at(VERDICT_AT)).is_ok());
    }
}

#[test]
fn a_login_that_did_not_open_is_not_asked_for_a_factor() {
    let scenario = scenario();
    let Sent { mut login, server, .. } = scenario.await_verdict();
    *login.last_mut().unwrap() ^= 1;
    let claim: Claim = scenario.open(server, &login).unwrap();
    let refusal = error(claim.ask(&prompt(), at(VERDICT_AT)));
    assert_eq!((refusal.reason, refusal.not_before), (Reason::NotOpened, at(LOGIN_AT + FLOOR)));
}

#[test]
fn n1_anything_but_a_client_factor_frame_is_refused() {
    let (genuine, ..) = answered(Wanted::of(&scenario()), b"123456");
    for (bytes, expected) in not_that_frame(FrameType::ClientFactor, &genuine) {
        let Wanted { server, client, .. } = Wanted::of(&scenario());
        let refusal = error(claim(server, &bytes));
        is_the_refusal(&refusal);
        assert_eq!(refusal.reason, Reason::Malformed(Error::Frame(expected)), "{:?}", bytes.get(..8));
        drop(client);
    }
    for len in [16, 272, 527, 529, 2064] {
        let length = FrameError::Length { kind: FrameType::ClientFactor, len, min: 528, max: 528 };
        let refusal = error(claim(Wanted::of(&scenario()).server, &frame(11, &vec![0; len])));
        assert_eq!(refusal.reason, Reason::Malformed(Error::Frame(length)));
    }
    assert_eq!(AwaitFactor::EXPECTS, [FrameType::ClientFactor]);
}

/// Where the frame was refused by its header, its refusal covers nothing of it.
#[test]
fn n1_the_refusal_of_a_frame_that_is_none_can_be_opened() {
    for scenario in rsa_alone() {
        let wanted = Wanted::of(&scenario);
        let (frames, secret) = (wanted.frames.clone(), wanted.secret());
        let frames: Vec<_> = frames.iter().map(Vec::as_slice).collect();
        let cut = FrameError::UnexpectedType(FrameType::ClientLogin);
        let refusal = wanted.server.fail(cut.into(), at(ANSWER_AT));
        is_the_refusal(&refusal);
        let plaintext = padded(vec![0; 1 + 2 + 1 + 2 + 8 + 1], 2048);
        assert_eq!(refusal.frame, wire::sealed_after(&secret, &frames, (4, "verdict"), &plaintext));
    }
}

#[test]
fn n2_an_answer_that_does_not_open_is_refused() {
    for scenario in both() {
        let (genuine, ..) = answered(Wanted::of(&scenario), b"123456");
        let (of_another, ..) = answered(Wanted::of(&scenario.clone().seed("another")), b"123456");
        let mut first = genuine.clone();
        first[3] ^= 1;
        let mut last = genuine.clone();
        last[530] ^= 1;
        for bytes in [first, last, of_another, frame(11, &[0; 528])] {
            let refusal = error(claim(Wanted::of(&scenario).server, &bytes));
            is_the_refusal(&refusal);
            assert_eq!(refusal.reason, Reason::NotOpened);
        }
        assert!(claim(Wanted::of(&scenario).server, &genuine).is_ok());
    }
}

#[test]
fn n2_an_answer_that_is_no_factor_is_refused() {
    let with = |answer: &[u8]| padded(wire::Factor { answer: answer.to_vec() }.encode(), 512);
    let mut long = with(b"1");
    long[..2].copy_from_slice(&[0xff, 0xff]);
    let mut unpadded = with(b"123456");
    unpadded[511] = 1;
    let mut within = with(b"123456");
    within[8] = b'7';
    for scenario in rsa_alone() {
        let refused = |plaintext: &[u8]| {
            let wanted = Wanted::of(&scenario);
            let bytes = wanted.forged(plaintext);
            error(claim(wanted.server, &bytes)).reason
        };
        for plaintext in
            [with(b""), with(&[b'1'; 257]), with(&[b'1'; 510]), long.clone(), unpadded.clone(), within.clone()]
        {
            assert_eq!(refused(&plaintext), Reason::NotOpened);
        }
        for good in [&b"1"[..], &[0], &[b'1'; 256]] {
            let wanted = Wanted::of(&scenario);
            let bytes = wanted.forged(&with(good));
            assert_eq!(claim(wanted.server, &bytes).unwrap().answer(), good);
        }
    }
}

#[test]
fn n3_an_answer_after_the_deadline_gets_no_answer() {
    let read = |millis| {
        let wanted = Wanted::of(&scenario());
        assert_eq!(wanted.server.deadline(), at(VERDICT_AT + MINUTE));
        assert_eq!(wanted.client.deadline(), at(VERDICT_AT + MINUTE));
        let (frame, _, server) = answered(wanted, b"123456");
        server.read(frame, at(millis))
    };
    assert!(read(VERDICT_AT + MINUTE).is_ok());
    let refusal = error(read(VERDICT_AT + MINUTE + 1));
    assert_eq!((&refusal.frame[..], refusal.reason), (&[][..], Reason::Malformed(Error::DeadlinePassed)));
}

/// The handshake's own deadline is over by then.
#[test]
fn n3_slow_typing_is_waited_for_and_each_factor_has_its_own_time() {
    let wanted = Wanted::of(&scenario().factor_timeouts(40_000, 40_000));
    const { assert!(ANSWER_AT > DEADLINE) };
    let (frame, client, server) = answered(wanted, b"123456");
    let claim = claim(server, &frame).unwrap();
    assert_eq!(claim.deadline(), at(ANSWER_AT + DEADLINE));
    assert_eq!(client.deadline(), at(ANSWER_AT + DEADLINE));
    let Asked { frame, state, .. } = claim.ask(&prompt(), at(ANSWER_AT)).unwrap();
    assert_eq!(state.deadline(), at(ANSWER_AT + 40_000));
    let wanted = wanted_at(client, &frame, ANSWER_AT);
    assert_eq!(wanted.deadline(), at(ANSWER_AT + 40_000));
    assert_eq!(error(wanted.answer(b"1", at(ANSWER_AT + 40_001))), Error::DeadlinePassed);
    let Wanted { client, .. } = Wanted::of(&scenario());
    let deadline = client.deadline();
    assert!(client.answer(b"1", deadline).is_ok(), "the last moment is in time");
}

fn wanted_at(client: AwaitVerdict, frame: &[u8], when: u64) -> FactorWanted {
    wanted(client.read_step(frame, at(when), TODAY))
}

#[test]
fn n4_a_wrong_answer_gets_the_refusal_and_ends_the_login() {
    for scenario in both() {
        let (frame, client, server) = answered(Wanted::of(&scenario), b"000000");
        let refusal = claim(server, &frame).unwrap().reject(Reason::WrongFactor);
        is_the_refusal(&refusal);
        assert_eq!(error(client.read(&refusal.frame, at(ANSWER_AT + FLOOR), TODAY)), Error::Refused);
        // Where nobody can tell, that is said.
        let (frame, client, server) = answered(Wanted::of(&scenario), b"000000");
        let refusal = claim(server, &frame).unwrap().reject(Reason::NotNow("the store is away"));
        is_the_refusal(&refusal);
        assert_eq!(error(client.read(&refusal.frame, at(ANSWER_AT + FLOOR), TODAY)), Error::NotNow);
    }
}

/// Asks for a further factor, and can't tell whether an answer is right.
struct Asks;

impl Verifier for Asks {
    fn verify(&self, _: &Attempt<'_>) -> Result<Grant, Reason> {
        Ok(grant())
    }

    fn further(&self, _: &Further<'_>) -> Result<Option<Prompt>, Reason> {
        Ok(Some(prompt()))
    }
}

impl AsyncVerifier for Asks {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        Verifier::verify(self, attempt)
    }

    async fn further(&self, further: &Further<'_>) -> Result<Option<Prompt>, Reason> {
        Verifier::further(self, further)
    }
}

#[test]
fn n4_by_default_a_verifier_takes_no_answer() {
    let (grant, context) = (grant(), Context::uncounted());
    let attempt = FactorAttempt::new(b"any", &grant, CredentialKind::Password, 0, &context);
    assert_eq!(Verifier::check_factor(&Asks, &attempt), Err(Reason::WrongFactor));
    let checked = pin!(AsyncVerifier::check_factor(&Asks, &attempt));
    let checked = checked.poll(&mut task::Context::from_waker(Waker::noop()));
    assert_eq!(checked, Poll::Ready(Err(Reason::WrongFactor)));
}

#[test]
fn v7_a_request_that_the_client_did_not_offer_to_answer_is_refused() {
    // A server that asks all the same: one that was told that it may.
    for [asked, not_asked] in [[scenario(), Scenario::new()], [scenario().known_key(), Scenario::new().known_key()]] {
        let _ = asked;
        let Sent { hello, challenge, login, client, .. } = not_asked.suite(Suite::RSA_AES_256_GCM).await_verdict();
        let request = plaintext(3, &[(5, request(1, b"The code"))]);
        let secret = secret(&hello, &login);
        let frame = wire::sealed_after(&secret, &[&hello, &challenge, &login], (4, "verdict"), &request);
        assert_eq!(error(client.read_step(&frame, at(VERDICT_AT), TODAY)), Violation::FactorNotOffered.into());
    }
}

fn request(form: u8, prompt: &[u8]) -> Vec<u8> {
    wire::FactorRequest { form, prompt: prompt.to_vec() }.encode()
}

fn plaintext(decision: u8, extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let (principal, permissions, ticket) = (vec![], vec![], vec![]);
    let extensions = extensions.to_vec();
    padded(wire::Verdict { decision, principal, permissions, ticket, ticket_lifetime: 0, extensions }.encode(), 2048)
}

/// What a client that offers to answer says to this verdict.
fn forged(scenario: &Scenario, plaintext: &[u8]) -> Result<Verdict, Error> {
    let Sent { hello, challenge, login, client, .. } = scenario.await_verdict();
    let secret = secret(&hello, &login);
    let frame = wire::sealed_after(&secret, &[&hello, &challenge, &login], (4, "verdict"), plaintext);
    client.read_step(&frame, at(VERDICT_AT), TODAY)
}

#[test]
fn v7_a_request_that_is_not_exactly_one_is_refused() {
    for scenario in rsa_alone() {
        let bad = [
            vec![],
            vec![(6, request(1, b"The code"))],
            vec![(5, vec![])],
            vec![(5, request(0, b"The code"))],
            vec![(5, request(4, b"The code"))],
            vec![(5, request(1, &[b'x'; 256]))],
            vec![(5, request(1, b"\x1b[2J"))],
            vec![(5, request(1, "\u{9b}2J".as_bytes()))],
            vec![(5, request(1, b"\xff"))],
            vec![(5, [request(1, b"The code"), vec![0]].concat())],
            vec![(5, vec![1, 0, 9, b'T'])],
        ];
        for extensions in bad {
            let refused = error(forged(&scenario, &plaintext(3, &extensions)));
            assert_eq!(refused, Violation::BadFactorRequest.into(), "{extensions:?}");
        }
        let twice = plaintext(3, &[(5, request(1, b"")), (5, request(1, b""))]);
        assert_eq!(error(forged(&scenario, &twice)), Violation::Duplicate("the extensions").into());
        let mut unpadded = plaintext(3, &[(5, request(1, b""))]);
        unpadded[2047] = 1;
        assert_eq!(error(forged(&scenario, &unpadded)), Error::Decode(DecodeError::Padding));
        for (form, number) in [(Form::Code, 1), (Form::Visible, 2), (Form::Hidden, 3)] {
            for text in [&b""[..], &[b'x'; 255], "Schl\u{fc}ssel".as_bytes()] {
                // Others beside it are skipped.
                let extensions = [(4, vec![1]), (5, request(number, text)), (0x0a0a, vec![])];
                let wanted = wanted(forged(&scenario, &plaintext(3, &extensions)));
                assert_eq!((wanted.prompt().form(), wanted.prompt().text().as_bytes()), (form, text));
            }
        }
    }
}

#[test]
fn v7_the_fifth_request_is_refused() {
    for scenario in rsa_alone() {
        let mut wanted = Wanted::of(&scenario);
        for _ in 1..limits::MAX_FACTORS {
            let frames = wanted.frames.clone();
            let (frame, client, server) = answered(wanted, b"1");
            let asked = claim(server, &frame).unwrap().ask(&prompt(), at(ANSWER_AT));
            wanted = Wanted::asked([frames, vec![frame]].concat(), client, asked, ANSWER_AT);
        }
        let (frames, secret) = (wanted.frames.clone(), wanted.secret());
        let (frame, client, _) = answered(wanted, b"1");
        let frames: Vec<_> = frames.iter().chain([&frame]).map(Vec::as_slice).collect();
        let fifth = wire::sealed_after(&secret, &frames, (4, "verdict"), &plaintext(3, &[(5, request(1, b""))]));
        assert_eq!(error(client.read_step(&fifth, at(ANSWER_AT), TODAY)), Violation::FactorNotOffered.into());
    }
}

#[test]
fn a_client_that_asks_for_the_session_alone_is_told_what_is_wanted() {
    let Sent { login, client, server, .. } = scenario().await_verdict();
    let asked = scenario().open(server, &login).unwrap().ask(&prompt(), at(VERDICT_AT)).unwrap();
    assert_eq!(error(client.read(&asked.frame, at(VERDICT_AT), TODAY)), Error::FactorWanted(prompt()));
}

#[test]
fn answers_and_prompts_out_of_bounds_are_the_callers_fault() {
    for (answer, misuse) in [
        (vec![], Misuse::BadInput("the answer")),
        (vec![b'1'; 257], Misuse::TooLong { what: "the answer", len: 257, limit: 256 }),
    ] {
        assert_eq!(error(Wanted::of(&scenario()).client.answer(&answer, at(ANSWER_AT))), misuse.into());
    }
    assert!(Prompt::new(Form::Hidden, "x".repeat(255)).is_ok());
    assert!(Prompt::new(Form::Hidden, "x".repeat(256)).is_err());
    assert!(Prompt::new(Form::Hidden, "two\nlines").is_err());
}

#[test]
fn a_request_and_its_answer_are_bound_to_the_handshake() {
    // The answer of one step is none for the next, and no other handshake's verdict asks for one.
    let wanted = Wanted::of(&scenario());
    let (first, client, server) = answered(wanted, b"123456");
    let Asked { frame, state, .. } = claim(server, &first).unwrap().ask(&prompt(), at(ANSWER_AT)).unwrap();
    drop(wanted_at(client, &frame, ANSWER_AT));
    assert_eq!(error(claim(state, &first)).reason, Reason::NotOpened);
    let other = Wanted::of(&scenario().seed("another")).frames[3].clone();
    let Sent { client, .. } = scenario().await_verdict();
    assert_eq!(error(client.read_step(&other, at(VERDICT_AT), TODAY)), Error::VerdictNotAuthentic);
}

#[test]
fn a_wrong_password_is_not_told_from_one_that_was_right_and_not_enough_without_the_offer() {
    let wrong = Scenario::new().credential(Credential::Password { user: "alice", password: b"wrong" }).finish();
    let refused = error(wrong.server);
    let Sent { login, server, .. } = Scenario::new().await_verdict();
    let not_enough = error(Scenario::new().open(server, &login).unwrap().ask(&prompt(), at(VERDICT_AT)));
    assert_eq!((refused.frame.len(), refused.not_before), (not_enough.frame.len(), not_enough.not_before));
}

/// Whoever answers at a first contact may be anybody: a password is not sent to them, and must not be asked for by the back door.
#[test]
fn v8_a_key_that_gets_no_password_gets_no_answer_either() {
    struct At(TrustLevel);
    impl Trust for At {
        fn decide(&self, _: &Question<'_>) -> countersign::Answer {
            countersign::Answer::Trusted(self.0)
        }

        fn scope(&self) -> String {
            String::new()
        }
    }
    let key = SigningKey::from_ed25519(&[7; 32]).unwrap();
    let key = ClientKey::load(&key, provider()).unwrap();
    let asked = |server: Server| {
        let scenario = scenario().server_kinds(&[CredentialKind::Password, CredentialKind::Key]).trust(server);
        let hellos = scenario.await_login();
        let trusted = hellos.client.read(&hellos.challenge, at(20)).unwrap().trust(scenario.trusted(), TODAY).unwrap();
        let credential = Credential::Key { user: "alice", key: &key };
        let (login, client) = trusted.login(credential, &mut scenario.rng("login")).unwrap();
        let asked = scenario.open(hellos.server, &login).unwrap().ask(&prompt(), at(VERDICT_AT)).unwrap();
        client.read_step(&asked.frame, at(VERDICT_AT), TODAY).map(drop)
    };
    let (kind, level) = (CredentialKind::Password, TrustLevel::FirstUse);
    assert_eq!(asked(Server::trusting(At(level))), Err(Error::TrustTooLow { kind, level }));
    assert_eq!(asked(Server::trusting(At(TrustLevel::Certified))), Ok(()));
    assert_eq!(asked(Server::trusting(At(level)).with_level_for(kind, level)), Ok(()), "its user says so");
}
