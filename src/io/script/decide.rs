//! From a login to the verdict on its credential: where it is opened, and who is asked.

use super::super::acceptor::{AnyVerifier, ServerState};
use super::super::error::LoginError;
use super::super::link::Link;
use super::super::penalties::{Checked, Others, Reservation, Waiting};
use super::super::permits::Permit;
use super::super::queue::Progress;
use super::factors::{Verdict, Verified, conclude};
use super::turn::{NotDone, TOO_MANY, Turn, run, within};
use super::{RefusedLogin, Started, Visit, penalised};
use crate::crypto::Caught;
use crate::handshake::server::{Admitted, Claim, Login, Open, Refusal, SealedLogin};
use crate::terms::error::Reason;
use crate::terms::verifier::{Attempt, DynVerifier, Further, Good, Verifier};
use std::sync::Arc;
use std::time::Instant;

/// The verdict to send, and what begins then; or a refusal.
pub(super) type Decision = Result<(Vec<u8>, Box<Started>), RefusedLogin>;

/// Why there is no verdict on a login.
pub(super) enum NoVerdict {
    Refused(Refusal),
    Failed(LoginError),
}

impl From<LoginError> for NoVerdict {
    fn from(error: LoginError) -> Self {
        Self::Failed(error)
    }
}

impl<T: Undecided> From<NotDone<T>> for NoVerdict {
    fn from(not_done: NotDone<T>) -> Self {
        match not_done {
            NotDone::Shed(undecided, reason) => Self::Refused(undecided.refuse(reason)),
            NotDone::Failed(error) => Self::Failed(error),
        }
    }
}

/// A login on which there may be no verdict.
pub(super) trait Undecided {
    fn refuse(self, reason: Reason) -> Refusal;
}

impl Undecided for Admitted {
    fn refuse(self, reason: Reason) -> Refusal {
        match self {
            Self::Sealed(open) => open.refuse(reason),
            Self::Opened(claim) => claim.reject(reason),
        }
    }
}

impl Undecided for Open<SealedLogin> {
    fn refuse(self, reason: Reason) -> Refusal {
        Self::refuse(self, reason)
    }
}

/// Opens a login, has its credential verified, and decides.
pub(super) async fn decide<L: Link>(
    server: &ServerState,
    link: &mut L,
    visit: &Visit,
    (login, server_name): (Login, String),
) -> Result<Decision, LoginError> {
    if !visit.place.has_room_for_session() {
        let refusal = login.refuse(Reason::NotNow("too many sessions"));
        return Ok(Err(RefusedLogin::of_nobody(refusal)));
    }
    let (deadline, admitted) = (login.deadline(), login.admit());
    let progress = if matches!(admitted, Admitted::Opened(_)) { Progress::Begun } else { Progress::Fresh };
    let turn = visit.turn(server, deadline, progress);
    match open_and_verify(turn, link, visit, &server_name, admitted).await {
        Ok(verified) => conclude(server, link, visit, &server_name, verified).await,
        Err(NoVerdict::Refused(refusal)) => Ok(Err(RefusedLogin::of_nobody(refusal))),
        Err(NoVerdict::Failed(error)) => Err(error),
    }
}

/// It has the credential: it may be one that lets those wait who show a wrong one.
pub(super) const LATE_VERIFIER: Reason = Reason::NoAnswer("the verifier did not answer in time");

/// Opens a login where its key is, if that is not done, and asks the verifier where that is asked.
async fn open_and_verify<L: Link>(
    turn: Turn<'_>,
    link: &mut L,
    visit: &Visit,
    server_name: &str,
    admitted: Admitted,
) -> Result<Verified, NoVerdict> {
    let (turn, admitted, permit) = match admitted {
        Admitted::Sealed(open) if open.key().is_remote() => {
            let (claim, permit) = turn.open_remotely(link, open).await?;
            (turn.next(), Admitted::Opened(claim), Some(permit))
        }
        admitted => (turn, admitted, None),
    };
    let (turn, admitted, others) = match admitted {
        // Nobody else can be asked before it is known for whom.
        Admitted::Sealed(open) if turn.server.guard.store().is_some() => {
            let claim = turn.compute(link, open, run).await?;
            let others = penalised::others(turn.server, link, visit.place.source(), &claim).await;
            (turn.next(), Admitted::Opened(claim), others)
        }
        Admitted::Opened(claim) => {
            let others = penalised::others(turn.server, link, visit.place.source(), &claim).await;
            (turn, Admitted::Opened(claim), others)
        }
        admitted => (turn, admitted, Others::None),
    };
    let trial = Trial { visit, server_name, others: Arc::new(others) };
    let (mut turn, mut admitted, mut permit, mut waited) = (turn, admitted, permit, None);
    loop {
        let (claim, waiting) = match trial.verify(turn, link, admitted, permit.take(), waited.take()).await? {
            TrialOutcome::Verified(verified) => return Ok(*verified),
            TrialOutcome::Not(not) => *not,
        };
        // It keeps nobody from a turn or a permit meanwhile. After all that time it is refused like any other: a *not now* must not depend
        // on whose account it is.
        match penalised::wait(link, turn.trace, waiting, turn.deadline).await? {
            Ok(waiting) => waited = Some(waiting),
            Err(reason) => return Ok(Verified { claim, verdict: Err(reason), reservation: None }),
        }
        (turn, admitted) = (turn.next(), Admitted::Opened(claim));
    }
}

/// What a login's credential is tried with.
struct Trial<'a> {
    visit: &'a Visit,
    server_name: &'a str,
    others: Arc<Others>,
}

/// What came of it.
enum TrialOutcome {
    Verified(Box<Verified>),
    /// It was not looked at: first others are to be decided.
    Not(Box<(Claim, Waiting)>),
}

impl TrialOutcome {
    /// The password was looked at: what it counts for is given back, unless it is a failure, or may be one.
    fn verified(claim: Claim, verdict: Verdict, reservation: Reservation) -> Self {
        let is_failure = matches!(&verdict, Err(reason) if reason.is_failure());
        let reservation = if is_failure {
            Some(reservation)
        } else {
            reservation.give_back();
            None
        };
        Self::Verified(Box::new(Verified { claim, verdict, reservation }))
    }

    fn shut(claim: Claim, reason: Reason) -> Self {
        Self::Verified(Box::new(Verified { claim, verdict: Err(reason), reservation: None }))
    }
}

impl Trial<'_> {
    /// Has the credential verified, unless somebody has to wait, when its turn comes.
    async fn verify<L: Link>(
        &self,
        turn: Turn<'_>,
        link: &mut L,
        admitted: Admitted,
        permit: Option<Permit>,
        waited: Option<Waiting>,
    ) -> Result<TrialOutcome, NoVerdict> {
        match &turn.server.verifier {
            AnyVerifier::Blocking(verifier) => {
                drop(permit);
                Ok(turn.compute(link, admitted, self.blocking(turn, verifier, waited)).await?)
            }
            AnyVerifier::Async(verifier) => {
                self.asynchronously(turn, link, (admitted, permit, waited), &**verifier).await
            }
        }
    }

    /// What is done on another thread.
    fn blocking(
        &self,
        turn: Turn<'_>,
        verifier: &Arc<dyn Verifier>,
        waited: Option<Waiting>,
    ) -> impl FnOnce(Admitted) -> TrialOutcome + Send + use<> {
        let (guard, source) = (turn.server.guard.clone(), self.visit.place.source().clone());
        let (verifier, asked) = (Arc::clone(verifier), self.visit.asked(self.server_name));
        let (trace, others) = (Arc::clone(&self.visit.trace), Arc::clone(&self.others));
        move |admitted| {
            let claim = trace.opening(|| opened(admitted));
            // Now, and not when it was queued: those before it may have been wrong meanwhile.
            match penalised::check(&guard, &source, &claim, &others, waited) {
                Checked::Go(reservation) => {
                    let verdict = trace.verifying(|| asked.verify(&claim, &*verifier));
                    TrialOutcome::verified(claim, verdict, reservation)
                }
                Checked::Shut(shut) => TrialOutcome::shut(claim, shut.reason),
                Checked::Wait(waiting) => TrialOutcome::Not(Box::new((claim, waiting))),
            }
        }
    }

    async fn asynchronously<L: Link>(
        &self,
        turn: Turn<'_>,
        link: &mut L,
        (admitted, permit, waited): (Admitted, Option<Permit>, Option<Waiting>),
        verifier: &dyn DynVerifier,
    ) -> Result<TrialOutcome, NoVerdict> {
        let visit = self.visit;
        let claim = match admitted {
            Admitted::Opened(claim) => claim,
            sealed @ Admitted::Sealed(_) => {
                let trace = Arc::clone(&visit.trace);
                turn.compute(link, sealed, move |sealed| trace.opening(|| opened(sealed))).await?
            }
        };
        let permit = match permit {
            Some(permit) => permit,
            None => match turn.next().permit(link).await? {
                Some(permit) => permit,
                None => return Err(NoVerdict::Refused(claim.reject(TOO_MANY))),
            },
        };
        let (guard, source) = (&turn.server.guard, visit.place.source());
        let reservation = match penalised::check(guard, source, &claim, &self.others, waited) {
            Checked::Go(reservation) => reservation,
            Checked::Shut(shut) => return Ok(TrialOutcome::shut(claim, shut.reason)),
            Checked::Wait(waiting) => return Ok(TrialOutcome::Not(Box::new((claim, waiting)))),
        };
        let asker = visit.asker(turn.server, self.server_name);
        let attempt = Attempt { credential: claim.credential(), asker };
        let asking = Box::pin(async {
            let grant = verifier.verify(&attempt).await?;
            let good = Good { grant: &grant, kind: attempt.credential.kind(), step: 0 };
            let further = verifier.further(&Further { good, asker }).await?;
            Ok((grant, further))
        });
        let since = Instant::now();
        let verdict = match within(link, turn.deadline, Caught::new(asking)).await {
            Some(verdict) => verdict.unwrap_or(Err(Reason::VerifierFailed)),
            None => Err(LATE_VERIFIER),
        };
        visit.trace.verified(since);
        drop(permit);
        Ok(TrialOutcome::verified(claim, verdict, reservation))
    }
}

/// Opens a login, if that is not done.
fn opened(admitted: Admitted) -> Claim {
    match admitted {
        Admitted::Opened(claim) => claim,
        Admitted::Sealed(open) => run(open),
    }
}
