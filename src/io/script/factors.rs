//! From a good credential to the verdict: further factors, one after the other.

use super::super::acceptor::{AnyVerifier, ServerState};
use super::super::drive::Caught;
use super::super::error::LoginError;
use super::super::link::{Link, VERDICT_TIMEOUT, receive, send};
use super::super::penalties::{Guard, Guess, Reservation};
use super::super::queue::Progress;
use super::decide::{Decision, LATE_VERIFIER, NoVerdict, Undecided};
use super::penalised::note_accepted;
use super::turn::{TOO_MANY, within};
use super::{RefusedLogin, Started, Visit, rng, unix_now};
use crate::crypto::CryptoError;
use crate::handshake::server::{Accepted, Asked, AwaitFactor, Claim, FactorClaim, Refusal};
use crate::terms::credential::Credential;
use crate::terms::error::{Error, Reason};
use crate::terms::factor::Prompt;
use crate::terms::grant::Grant;
use crate::terms::verifier::{FactorAttempt, Further, Good};
use crate::time::Moment;
use std::sync::Arc;
use std::time::Instant;

const TOO_MANY_WAIT: Reason = Reason::NotAdmitted("too many logins of this principal wait for a further factor");

/// What a verifier says of a login so far: what is granted, and what more is needed.
pub(super) type Verdict = Result<(Grant, Option<Prompt>), Reason>;

/// A login that was verified, and what its password counts for until it is refused.
pub(super) struct Verified {
    pub(super) claim: Claim,
    pub(super) verdict: Verdict,
    pub(super) reservation: Option<Reservation>,
}

/// What a verdict is given on.
#[allow(clippy::large_enum_variant, reason = "moved once, on the stack")]
enum Step {
    Credential(Claim),
    Factor(FactorClaim),
}

impl Step {
    fn accept(self, grant: Grant) -> Result<Accepted, Refusal> {
        let Ok(mut rng) = rng() else { return Err(self.reject(Reason::Failed(CryptoError::Failed))) };
        match self {
            Self::Credential(claim) => claim.accept_with_ticket(grant, unix_now(), &mut rng),
            Self::Factor(claim) => claim.accept_with_ticket(grant, unix_now(), &mut rng),
        }
    }

    fn ask(self, prompt: &Prompt, now: Moment) -> Result<Asked, Refusal> {
        match self {
            Self::Credential(claim) => claim.ask(prompt, now),
            Self::Factor(claim) => claim.ask(prompt, now),
        }
    }

    fn reject(self, reason: Reason) -> Refusal {
        match self {
            Self::Credential(claim) => claim.reject(reason),
            Self::Factor(claim) => claim.reject(reason),
        }
    }
}

impl Undecided for FactorClaim {
    fn refuse(self, reason: Reason) -> Refusal {
        self.reject(reason)
    }
}

/// Gives the verdict: at once, or after as many further factors as the verifier asks for. With a ticket where the server gives
/// tickets.
pub(super) async fn conclude<L: Link>(
    server: &ServerState,
    link: &mut L,
    visit: &Visit,
    server_name: &str,
    Verified { claim, verdict, reservation }: Verified,
) -> Result<Decision, LoginError> {
    visit.trace.claim(&claim);
    let user = claim.credential().user().filter(|user| !user.is_empty()).map(str::to_owned);
    let kind = claim.credential().kind();
    let refused = |refusal, guess| Ok(Err(RefusedLogin { refusal, user: user.clone(), guess, reservation: None }));
    // Its password was right: what comes after that and is not is counted each time.
    let later = if kind.can_be_guessed() { Guess::New } else { Guess::No };
    let mut step = Step::Credential(claim);
    let (grant, mut prompt) = match verdict {
        Ok(good) => good,
        Err(reason) => {
            let guess = match &step {
                Step::Credential(claim) if reason.is_failure() => guess(&server.guard, claim.credential()),
                _ => Guess::No,
            };
            return Ok(Err(RefusedLogin { refusal: step.reject(reason), user, guess, reservation }));
        }
    };
    visit.trace.known();
    let taken = prompt.as_ref().map(|_| visit.place.factor_place(grant.principal()).ok_or(TOO_MANY_WAIT)).transpose();
    let factor_place = match taken {
        Ok(place) => place,
        Err(reason) => return refused(step.reject(reason), Guess::No),
    };
    let mut given: usize = 0;
    while let Some(wanted) = prompt {
        let asked = match step.ask(&wanted, link.now()) {
            Ok(asked) => asked,
            Err(refusal) => return refused(refusal, later),
        };
        visit.trace.factor();
        let next = Next { server, visit, server_name, grant: &grant, step: given };
        // In a box of its own, as most logins have no such step.
        match Box::pin(next.take(link, asked)).await {
            Ok((claim, more)) => (step, prompt) = (Step::Factor(claim), more),
            Err(NoVerdict::Refused(refusal)) => return refused(refusal, later),
            Err(NoVerdict::Failed(error)) => return Err(error),
        }
        given = given.saturating_add(1);
    }
    drop(factor_place);
    let Some(place) = visit.place.session_place(grant.principal()) else {
        return refused(step.reject(Reason::NotAdmitted("too many sessions of this principal")), Guess::No);
    };
    let name = user.clone().unwrap_or_else(|| grant.principal().to_owned());
    match step.accept(grant) {
        Ok(Accepted { frame, session }) => {
            note_accepted(server, link, visit.place.source(), &name).await;
            let (sessions, shown) = (server.sessions.clone(), visit.shown(server_name, kind, unix_now()));
            Ok(Ok((frame, Box::new(Started { session, place, sessions, shown }))))
        }
        Err(refusal) => refused(refusal, Guess::No),
    }
}

/// What a wrong credential was.
fn guess(guard: &Guard, credential: Credential<'_>) -> Guess {
    match credential {
        Credential::Password { user, password } => guard.guess(user, password),
        // All of it: with what is checked against other parameters, and the password itself.
        Credential::Stretched { user, password } => {
            password.to_bytes().map_or(Guess::New, |shown| guard.guess(user, &shown))
        }
        Credential::Token(_) | Credential::Key { .. } => Guess::No,
    }
}

/// The next factor of a login.
struct Next<'a> {
    server: &'a ServerState,
    visit: &'a Visit,
    server_name: &'a str,
    grant: &'a Grant,
    step: usize,
}

impl Next<'_> {
    /// Asks for it, waits for the answer, and has that checked. It is for the client to answer then; but its credential was good, and
    /// its place stays safe.
    async fn take<L: Link>(
        &self,
        link: &mut L,
        Asked { frame, state }: Asked,
    ) -> Result<(FactorClaim, Option<Prompt>), NoVerdict> {
        link.set_deadline(link.now().after(VERDICT_TIMEOUT));
        send(link, &frame).await?;
        link.set_deadline(state.deadline());
        let claim = match receive(link, AwaitFactor::EXPECTS).await {
            Ok(frame) => state.read(frame, link.now()),
            Err(LoginError::Protocol(error @ Error::Frame(_))) => Err(state.fail(error, link.now())),
            Err(error) => return Err(error.into()),
        };
        let (claim, checked) = self.check(link, claim.map_err(NoVerdict::Refused)?).await?;
        match checked {
            Ok(more) => Ok((claim, more)),
            Err(reason) => Err(NoVerdict::Refused(claim.reject(reason))),
        }
    }

    /// Asks the verifier, where that is asked.
    async fn check<L: Link>(
        &self,
        link: &mut L,
        claim: FactorClaim,
    ) -> Result<(FactorClaim, Result<Option<Prompt>, Reason>), NoVerdict> {
        let Self { server, visit, server_name, grant, step } = *self;
        let turn = visit.turn(server, claim.deadline(), Progress::Begun);
        match &server.verifier {
            AnyVerifier::Blocking(verifier) => {
                let (verifier, asked, grant) = (Arc::clone(verifier), visit.asked(server_name), grant.clone());
                let trace = Arc::clone(&visit.trace);
                let work = move |claim: FactorClaim| {
                    let checked = trace.verifying(|| asked.check_factor(&claim, (&grant, step), &*verifier));
                    (claim, checked)
                };
                Ok(turn.compute(link, claim, work).await?)
            }
            AnyVerifier::Async(verifier) => {
                let Some(permit) = turn.permit(link).await? else {
                    return Err(NoVerdict::Refused(claim.reject(TOO_MANY)));
                };
                let asker = visit.asker(server, server_name);
                let good = Good { grant, kind: claim.kind(), step };
                let attempt = FactorAttempt { answer: claim.answer(), good, asker };
                let further = Further { good: Good { step: step.saturating_add(1), ..good }, asker };
                let asking = Box::pin(async {
                    verifier.check_factor(&attempt).await?;
                    verifier.further(&further).await
                });
                let since = Instant::now();
                let checked = match within(link, turn.deadline, Caught(asking)).await {
                    Some(checked) => checked.unwrap_or(Err(Reason::VerifierFailed)),
                    None => Err(LATE_VERIFIER),
                };
                visit.trace.verified(since);
                drop(permit);
                Ok((claim, checked))
            }
        }
    }
}

#[cfg(all(test, feature = "stretch"))]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::io::events::Tags;
    use crate::{Penalties, StretchParameters, StretchedPassword, Stretching};

    #[test]
    fn a_stretched_password_that_differs_anywhere_is_a_new_guess() {
        let guard = Guard::new(Some(Penalties::default()), Tags::default());
        let parameters = [(8, 5, 2), (7, 5, 1)].map(|(kib, t, p)| StretchParameters::new(kib, t, p).unwrap());
        let of = Stretching::new("db.example", &parameters).unwrap().with_moving();
        let own = of.stretch("alice", b"secret").unwrap();
        let of_alice = |password: &StretchedPassword| guess(&guard, Credential::Stretched { user: "alice", password });
        assert_eq!([of_alice(&own), of_alice(&own)], [Guess::New, Guess::Again]);
        let shown = own.to_bytes().unwrap();
        let others = (0..shown.len()).filter_map(|at| {
            let mut other = shown.to_vec();
            other[at] ^= 1;
            StretchedPassword::from_bytes(&other, &of)
        });
        let others: Vec<_> = others.collect();
        assert!(others.len() >= 2 * 32 + "secret".len());
        for other in others {
            assert_eq!([of_alice(&other), of_alice(&other)], [Guess::New, Guess::Again]);
        }
    }
}
