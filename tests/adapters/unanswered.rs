//! Passwords that somebody has been shown who does not answer: they may be guesses.

use crate::ends::{Adapter, config};
use crate::penalties::{HOUR, gets_in, penalties, why, wrong};
use crate::support::{ALICE, RSA2048, TOKEN, verify};
use countersign::{Acceptor, AsyncVerifier, Attempt, Credential, Grant, Penalty, Reason, Waits};
use std::future::pending;
use std::time::Duration;

for_every_adapter!(
    a_guess_that_nobody_answers_for_in_time_counts_and_is_told_not_now,
    an_outage_costs_nobody_anything_and_a_guess_without_an_answer_what_others_do,
);

/// As those that delay the answer to a wrong password.
struct Slow;

impl AsyncVerifier for Slow {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        match verify(attempt.credential()) {
            Err(Reason::WrongPassword) => pending().await,
            verdict => verdict,
        }
    }
}

fn a_guess_that_nobody_answers_for_in_time_counts_and_is_told_not_now<A: Adapter>() {
    let config = config().with_handshake_timeout(Duration::from_secs(3));
    // One failure, and the name waits.
    let penalties = penalties().with_account(Waits::new(0, HOUR, HOUR));
    let acceptor = Acceptor::new_async(config, RSA2048.server.clone(), Slow).with_penalties(penalties);
    gets_in::<A>(&acceptor, "home", ALICE);
    assert_eq!(why::<A>(&acceptor, "flat", wrong("alice")).code(), "no-answer");
    assert_eq!(why::<A>(&acceptor, "another flat", ALICE), Reason::Penalty(Penalty::Account));
    gets_in::<A>(&acceptor, "home", ALICE);
}

fn an_outage_costs_nobody_anything_and_a_guess_without_an_answer_what_others_do<A: Adapter>() {
    const AWAY: Reason = Reason::NotNow("the database is away");
    const LATE: Reason = Reason::NoAnswer("the directory does not answer in time");
    let verifier = |attempt: &Attempt<'_>| match attempt.credential().user() {
        Some("of the database") => Err(AWAY),
        _ => Err(LATE),
    };
    let acceptor = Acceptor::new(config(), RSA2048.server.clone(), verifier).with_penalties(penalties());
    (0..20).for_each(|_| assert_eq!(why::<A>(&acceptor, "flat", wrong("of the database")), AWAY));
    // Nobody finds a token by trying.
    (0..20).for_each(|_| assert_eq!(why::<A>(&acceptor, "flat", Credential::Token(TOKEN)), LATE));
    for number in 0..11 {
        assert_eq!(why::<A>(&acceptor, &format!("at alice {number}"), wrong("alice")), LATE);
    }
    assert_eq!(why::<A>(&acceptor, "far", wrong("alice")), Reason::Penalty(Penalty::Account));
    (0..9).for_each(|number| assert_eq!(why::<A>(&acceptor, "flat", wrong(&format!("user {number}"))), LATE));
    assert_eq!(why::<A>(&acceptor, "flat", wrong("of the database")), Reason::Penalty(Penalty::Source));
}
