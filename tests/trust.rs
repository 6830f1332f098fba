//! How a client decides whether a key is its server's: PROTOCOL.md, "Which keys are trusted".

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use core::future::Future;
use core::pin::pin;
use core::task::{Context as Task, Poll, Waker};
use countersign::codec::{self, ClientHello};
use countersign::crypto::PublicKey;
use countersign::{
    Answer, AsyncTrust, ChannelBinding, Context, Credential, CredentialKind, Error, KeyId, Misuse, Question, Server,
    Suite, Trust, TrustLevel, UnixTime, Untrusted, Wants,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::wire::{ServerHello, edit};
use support::{ALICE, CHALLENGE_AT, Hellos, OTHER2048, RSA2048, Scenario, TODAY, TOKEN, at, error};

/// Says always the same, and counts how often it is asked.
#[derive(Clone)]
struct Says(Answer, Arc<AtomicUsize>, Wants);

impl Says {
    fn new(answer: Answer) -> Self {
        Self(answer, Arc::default(), Wants::default())
    }

    fn asked(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }
}

impl Trust for Says {
    fn decide(&self, _: &Question<'_>) -> Answer {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.clone()
    }

    fn wants(&self) -> Wants {
        self.2
    }

    fn recall(&self, _: KeyId, _: Suite, _: &str, _: UnixTime) -> Answer {
        self.0.clone()
    }

    fn scope(&self) -> String {
        "says".to_owned()
    }
}

fn unknown(code: &'static str) -> Answer {
    Answer::Unknown(Untrusted::new(code, std::fmt::Error))
}

fn refused(code: &'static str) -> Answer {
    Answer::Refused(Untrusted::new(code, std::fmt::Error))
}

fn yes(level: TrustLevel) -> Answer {
    Answer::Trusted(level)
}

fn level(server: &Server) -> Result<TrustLevel, &'static str> {
    Scenario::new().challenge().trust(server, TODAY).map(|trusted| trusted.level()).map_err(|error| error.code())
}

#[test]
fn the_highest_level_counts_and_a_refusal_beats_every_other_answer() {
    use TrustLevel::{Certified, FirstUse, Verified};
    let all = |answers: &[Answer]| {
        let servers = answers.iter().map(|answer| Server::trusting(Says::new(answer.clone())));
        level(&servers.reduce(Server::or).unwrap())
    };
    assert_eq!(all(&[yes(FirstUse)]), Ok(FirstUse));
    assert_eq!(all(&[yes(FirstUse), yes(Verified), yes(Certified)]), Ok(Verified));
    assert_eq!(all(&[unknown("a"), yes(Certified)]), Ok(Certified));
    assert_eq!(all(&[yes(Certified), unknown("a")]), Ok(Certified));
    assert_eq!(all(&[unknown("no-certificate")]), Err("no-certificate"), "one reason is told by its name");
    assert_eq!(all(&[unknown("a"), unknown("b")]), Err("untrusted-key"));
    assert_eq!(all(&[yes(Verified), refused("revoked-key")]), Err("revoked-key"));
    assert_eq!(all(&[refused("revoked-key"), yes(Verified)]), Err("revoked-key"));
    assert_eq!(level(&RSA2048.trust().or(Server::trusting(Says::new(refused("revoked-key"))))), Err("revoked-key"));
}

#[test]
fn each_is_asked_once_in_order_and_sees_what_was_said_so_far() {
    struct Sees(Option<TrustLevel>);
    impl Trust for Sees {
        fn decide(&self, question: &Question<'_>) -> Answer {
            assert_eq!(question.so_far(), self.0);
            assert_eq!(question.key().id(), RSA2048.private.public_key().id());
            assert_eq!((question.now(), question.is_bound(), question.is_proved()), (TODAY, false, false));
            assert_eq!((question.certificates().len(), question.manifest()), (0, None));
            unknown("a")
        }

        fn scope(&self) -> String {
            "sees".to_owned()
        }
    }
    let says = Says::new(yes(TrustLevel::FirstUse));
    let server = Server::trusting(Sees(None)).or(Server::trusting(says.clone()));
    let server = server.or(Server::trusting(Sees(Some(TrustLevel::FirstUse)))).or(RSA2048.trust());
    assert_eq!(level(&server.or(Server::trusting(Sees(Some(TrustLevel::Verified))))), Ok(TrustLevel::Verified));
    assert_eq!(says.asked(), 1);
}

#[test]
fn who_decides_is_told_whether_there_is_a_binding_and_whether_the_server_has_proved_itself() {
    struct Sees(bool, bool);
    impl Trust for Sees {
        fn decide(&self, question: &Question<'_>) -> Answer {
            assert_eq!((question.is_bound(), question.is_proved()), (self.0, self.1));
            yes(TrustLevel::Verified)
        }

        fn scope(&self) -> String {
            "sees".to_owned()
        }
    }
    let binding = ChannelBinding::tls_exporter([7; 32]);
    for (is_bound, is_proved) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut scenario = if is_proved { Scenario::new().known_key() } else { Scenario::new() };
        if is_bound {
            scenario = scenario.bindings(binding.clone(), binding.clone());
        }
        assert!(scenario.challenge().trust(&Server::trusting(Sees(is_bound, is_proved)), TODAY).is_ok());
    }
}

#[test]
fn t5_a_secret_goes_to_no_key_that_is_trusted_at_first_use_alone() {
    let at = |level| Server::trusting(Says::new(yes(level)));
    let try_login = |server: &Server, credential| {
        let mut rng = Scenario::new().rng("login");
        Scenario::new().challenge().trust(server, TODAY).unwrap().login(credential, &mut rng).map(drop)
    };
    for credential in [ALICE, Credential::Token(TOKEN)] {
        let (kind, level) = (credential.kind(), TrustLevel::FirstUse);
        let first_use = at(level);
        assert_eq!(try_login(&first_use, credential), Err(Error::TrustTooLow { kind, level }));
        for level in [TrustLevel::Certified, TrustLevel::Verified] {
            assert_eq!(try_login(&at(level), credential), Ok(()));
        }
        // The user may say otherwise, for this kind alone.
        assert_eq!(try_login(&first_use.clone().with_level_for(kind, level), credential), Ok(()));
        let other = if kind == CredentialKind::Token { CredentialKind::Password } else { CredentialKind::Token };
        assert!(try_login(&first_use.with_level_for(other, level), credential).is_err());
        let higher = at(TrustLevel::Certified).with_level_for(kind, TrustLevel::Verified);
        assert!(matches!(try_login(&higher, credential), Err(Error::TrustTooLow { .. })));
    }
}

struct Later(Answer);

impl AsyncTrust for Later {
    async fn decide(&self, _: &Question<'_>) -> Answer {
        let mut asked = false;
        core::future::poll_fn(|_| if core::mem::replace(&mut asked, true) { Poll::Ready(()) } else { Poll::Pending })
            .await;
        self.0.clone()
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Task::from_waker(Waker::noop())) {
            return output;
        }
    }
}

#[test]
fn an_application_decides_later_and_the_machine_waits_for_its_approval() {
    let server = Server::trusting_async(Later(yes(TrustLevel::Verified)));
    let challenge = Scenario::new().challenge();
    let approved = wait(server.decide(&challenge.question(&server, TODAY, &Context::uncounted()))).unwrap();
    assert_eq!((approved.key(), approved.level()), (RSA2048.private.public_key().id(), TrustLevel::Verified));
    assert!(challenge.approve(approved).is_ok());
    // Without waiting nobody has decided.
    assert_eq!(level(&server), Err("undecided-key"));
    let no = Server::trusting_async(Later(unknown("declined")));
    let challenge = Scenario::new().challenge();
    assert_eq!(wait(no.decide(&challenge.question(&no, TODAY, &Context::uncounted()))).unwrap_err().code(), "declined");
}

#[test]
fn the_approval_of_one_key_is_none_of_another() {
    let other = Scenario::new().trust(OTHER2048.trust()).server_key(OTHER2048.server.clone());
    let trust = other.trusted().clone();
    let challenge = other.challenge();
    let approved = wait(trust.decide(&challenge.question(&trust, TODAY, &Context::uncounted()))).unwrap();
    assert_eq!(error(Scenario::new().challenge().approve(approved)), Error::Misuse(Misuse::Mismatch));
}

#[test]
fn where_a_binding_is_required_a_bare_connection_is_trusted_with_nothing() {
    let server = RSA2048.trust().with_required_binding();
    assert_eq!(level(&server), Err("no-channel-binding"));
    assert_eq!(level(&RSA2048.trust().or(server.clone())), Err("no-channel-binding"));
    assert_eq!(level(&server.clone().or(RSA2048.trust())), Err("no-channel-binding"));
    let binding = ChannelBinding::tls_exporter([7; 32]);
    let bound = Scenario::new().bindings(binding.clone(), binding);
    assert!(bound.challenge().trust(&server, TODAY).is_ok());
}

#[test]
fn evidence_is_asked_for_where_somebody_looks_at_it() {
    let asked = |server: Server| {
        let (frame, _) = Scenario::new().trust(server).await_challenge();
        let hello = codec::decode::<ClientHello<'_>>(&frame[3..]).unwrap();
        let numbers: Vec<(u16, usize)> =
            hello.extensions.iter().map(|extension| (extension.number, extension.data.len())).collect();
        numbers.into_iter().filter(|(number, _)| number & 0x0f0f != 0x0a0a).collect::<Vec<_>>()
    };
    let wanting = |wants| Server::trusting(Says(unknown("a"), Arc::default(), wants));
    assert_eq!(asked(RSA2048.trust()), []);
    assert_eq!(asked(wanting(Wants::CERTIFICATES)), [(1, 0)]);
    assert_eq!(asked(wanting(Wants::MANIFEST)), [(2, 0)]);
    assert_eq!(asked(RSA2048.trust().or(wanting(Wants::MANIFEST)).or(wanting(Wants::CERTIFICATES))), [(1, 0), (2, 0)]);
    // Also for who decides later.
    struct Looks(Wants);
    impl AsyncTrust for Looks {
        async fn decide(&self, _: &Question<'_>) -> Answer {
            unknown("a")
        }

        fn wants(&self) -> Wants {
            self.0
        }
    }
    let looking = |wants| Server::trusting_async(Looks(wants));
    assert_eq!(asked(looking(Wants::default())), []);
    assert_eq!(asked(looking(Wants::CERTIFICATES)), [(1, 0)]);
    assert_eq!(asked(looking(Wants::MANIFEST)), [(2, 0)]);
    assert_eq!(asked(wanting(Wants::MANIFEST).or(looking(Wants::CERTIFICATES))), [(1, 0), (2, 0)]);
    assert_eq!(asked(RSA2048.trust().or(looking(Wants::MANIFEST))), [(2, 0)]);
}

#[test]
fn what_was_not_asked_for_is_no_evidence() {
    struct Sees(Wants);
    impl Trust for Sees {
        fn decide(&self, question: &Question<'_>) -> Answer {
            let certificates: Vec<&[u8]> = question.certificates().collect();
            assert_eq!(certificates, if self.0.certificates { vec![&b"one"[..], b"two"] } else { vec![] });
            assert_eq!(question.manifest(), self.0.manifest.then_some(&b"a manifest"[..]));
            yes(TrustLevel::Verified)
        }

        fn wants(&self) -> Wants {
            self.0
        }

        fn scope(&self) -> String {
            "sees".to_owned()
        }
    }
    for wants in [Wants::default(), Wants::CERTIFICATES, Wants::MANIFEST, Wants::CERTIFICATES.or(Wants::MANIFEST)] {
        let scenario = Scenario::new().trust(Server::trusting(Sees(wants)));
        let Hellos { client, challenge, .. } = scenario.await_login();
        // From a server that sends everything to everybody.
        let challenge = edit(&challenge, |hello: &mut ServerHello| {
            hello.extensions = vec![(1, b"\x02\x00\x03one\x00\x03two".to_vec()), (2, b"a manifest".to_vec())];
        });
        let challenge = client.read(&challenge, at(CHALLENGE_AT)).unwrap();
        assert!(challenge.trust(scenario.trusted(), TODAY).is_ok());
    }
}

/// A list that several servers share, say.
#[test]
fn a_trust_that_is_shared_says_what_it_says_alone() {
    struct All;
    impl Trust for All {
        fn decide(&self, _: &Question<'_>) -> Answer {
            yes(TrustLevel::Certified)
        }

        fn known_keys(&self, name: &str) -> Vec<PublicKey> {
            assert_eq!(name, "a");
            vec![RSA2048.private.public_key().clone()]
        }

        fn wants(&self) -> Wants {
            Wants::MANIFEST
        }

        fn recall(&self, _: KeyId, _: Suite, name: &str, _: UnixTime) -> Answer {
            assert_eq!(name, "a");
            yes(TrustLevel::FirstUse)
        }

        fn scope(&self) -> String {
            "all".to_owned()
        }
    }
    fn says(trust: impl Trust + 'static) -> (Answer, Vec<PublicKey>, Wants, String, Result<TrustLevel, &'static str>) {
        let recalled = trust.recall(RSA2048.private.public_key().id(), Suite::X25519_AES_256_GCM, "a", TODAY);
        let server = Server::trusting(trust).with_name("a").unwrap();
        (recalled, server.known_keys(), server.wants(), server.scope(), level(&server.without_proof()))
    }
    let known = vec![RSA2048.private.public_key().clone()];
    let alone = (yes(TrustLevel::FirstUse), known, Wants::MANIFEST, "a all".to_owned(), Ok(TrustLevel::Certified));
    assert_eq!(says(All), alone);
    assert_eq!(says(Arc::new(All)), alone);
    assert_eq!(says(Arc::new(All) as Arc<dyn Trust>), alone);
}

#[test]
fn keys_that_are_known_whole_are_named_once_and_the_first_is_to_be_proved() {
    struct Knows(Vec<PublicKey>);
    impl Trust for Knows {
        fn decide(&self, _: &Question<'_>) -> Answer {
            unknown("a")
        }

        fn known_keys(&self, _: &str) -> Vec<PublicKey> {
            self.0.clone()
        }

        fn scope(&self) -> String {
            "knows".to_owned()
        }
    }
    let (ours, theirs) = (RSA2048.private.public_key(), OTHER2048.private.public_key());
    let server = Server::trusting(Knows(vec![theirs.clone(), ours.clone()])).or(Server::key(ours.clone()));
    let ids: Vec<KeyId> = server.known_keys().iter().map(PublicKey::id).collect();
    assert_eq!(ids, [theirs.id(), ours.id()]);
    assert_eq!(server.scope(), " knows", "tickets are kept by what was given first");
}
