//! The scripts of a login, one for each side: which frames go when, who is asked what, and how long anything may take.
//!
//! They are written once, as futures over a [`Link`]; the adapters drive them.

use super::acceptor::{AnyVerifier, ServerState};
use super::connector::ClientState;
use super::drive::Caught;
use super::error::{BusyReason, LoginError};
use super::link::{Link, VERDICT_TIMEOUT, hang_up, receive, send};
use super::permits::Permit;
use super::places::{Eviction, Place, RefusalPlace, SessionPlace};
use super::workers::Done;
use crate::crypto::{self, CryptoError, CryptoRng, Decrypted};
use crate::handshake::client::{self, Answer, AwaitAnswer, AwaitChallenge, AwaitVerdict};
use crate::handshake::server::{Accepted, AwaitHello, AwaitLogin, ChooseKey, Claim, Login, Open, Refusal};
use crate::session::Session;
use crate::terms::context::Context;
use crate::terms::credential::Credential;
use crate::terms::error::{Error, Reason};
use crate::terms::grant::Grant;
use crate::terms::ticket::{Ticket, TicketClaim};
use crate::terms::verifier::{Asker, Attempt, Returning, Verifier};
use crate::time::{Moment, UnixTime};
use crate::wire::frame::FrameType;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::Poll;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

fn rng() -> Result<impl CryptoRng + Send, Error> {
    Ok(crypto::rng()?)
}

fn unix_now() -> UnixTime {
    UnixTime::from_system(std::time::SystemTime::now())
}

// The server's side.

/// What became of a login.
#[allow(clippy::large_enum_variant, reason = "moved once, on the stack")]
pub(super) enum Decided {
    /// It was accepted, and the client told so.
    Accepted(Session, SessionPlace),
    /// It was refused. The client is told when that is due, by [`refuse`].
    Refused(RefusedLogin, RefusalPlace),
}

/// A refusal for the client, and its reason for us.
pub(super) struct RefusedLogin {
    pub(super) refusal: Refusal,
    pub(super) user: Option<String>,
}

/// What a refused client will be told, and when.
pub(super) struct PendingRefusal {
    frame: Vec<u8>,
    due: Moment,
}

impl PendingRefusal {
    /// The time from the link's origin until it is due.
    pub(super) fn due(&self) -> core::time::Duration {
        self.due.saturating_since(Moment::ORIGIN)
    }
}

impl RefusedLogin {
    /// What the client is told, and what the caller is told.
    pub(super) fn part(self) -> (PendingRefusal, LoginError) {
        let Refusal { frame, not_before, reason } = self.refusal;
        (PendingRefusal { frame, due: not_before }, LoginError::LoginRefused { user: self.user, reason })
    }
}

/// One connection's visit at the door.
struct Visit {
    context: Arc<Context>,
    place: Place,
    /// What the limiter said: it is asked once.
    admitted: OnceLock<Result<(), Reason>>,
}

impl Visit {
    fn admit(&self, server: &ServerState, server_name: &str) -> Result<(), Reason> {
        self.admitted.get_or_init(|| server.admit(&self.context, server_name)).clone()
    }

    /// What a verifier is told of it.
    fn asker<'a>(&'a self, server: &'a ServerState, server_name: &'a str) -> Asker<'a> {
        Asker { server_name, context: &self.context, pool: Some(&server.workers) }
    }

    /// What a verifier on another thread is told of it.
    fn asked(&self, server_name: &str) -> Asked {
        Asked { context: Arc::clone(&self.context), server_name: server_name.to_owned() }
    }
}

/// Everything from the ClientHello to the verdict.
pub(super) async fn accept<L: Link>(
    server: &ServerState,
    link: &mut L,
    context: Arc<Context>,
    place: Place,
) -> Result<Decided, LoginError> {
    let cut = Arc::clone(place.cut());
    let visit = Visit { context, place, admitted: OnceLock::new() };
    let greeted = unless(&cut, pin!(greet(server, link, &visit))).await?;
    match greeted {
        Greeted::Resumed(session, session_place) => Ok(Decided::Accepted(session, session_place)),
        Greeted::Refused(refusal) => Ok(refused(server, RefusedLogin { refusal, user: None }, visit.place)),
        // In a box of its own, so that those who have sent no login hold no room for one.
        Greeted::Login { login, server_name } => {
            Box::pin(settle(server, link, visit, Arrived { login, server_name })).await
        }
    }
}

/// From the login's arrival to the verdict.
async fn settle<L: Link>(
    server: &ServerState,
    link: &mut L,
    visit: Visit,
    login: Arrived,
) -> Result<Decided, LoginError> {
    match decide(server, link, &visit, login).await? {
        Ok((accepted, session_place)) => {
            link.set_deadline(link.now().after(VERDICT_TIMEOUT));
            send(link, &accepted.frame).await?;
            Ok(Decided::Accepted(accepted.session, session_place))
        }
        Err(refusal) => Ok(refused(server, refusal, visit.place)),
    }
}

fn refused(server: &ServerState, refused: RefusedLogin, place: Place) -> Decided {
    if refused.refusal.reason.is_no() {
        server.note_refused(place.source());
    }
    Decided::Refused(refused, place.into_refusal())
}

/// Tells a client that it was refused, when that is due, and lets it hang up.
pub(super) async fn refuse<L: Link>(mut link: L, PendingRefusal { frame, due }: PendingRefusal, place: RefusalPlace) {
    poll_fn(|task| link.poll_wait(task, due)).await;
    link.set_deadline(link.now().after(VERDICT_TIMEOUT));
    // Whatever fails here, the login is refused, and its peer gone.
    if send(&mut link, &frame).await.is_ok() {
        let _ = hang_up(&mut link).await;
    }
    drop(place);
}

/// How far a handshake came by itself.
#[allow(clippy::large_enum_variant, reason = "moved once, on the stack")]
enum Greeted {
    Resumed(Session, SessionPlace),
    Login { login: Login, server_name: String },
    Refused(Refusal),
}

struct Arrived {
    login: Login,
    server_name: String,
}

/// Up to the login's arrival: until then the handshake can be cut.
async fn greet<L: Link>(server: &ServerState, link: &mut L, visit: &Visit) -> Result<Greeted, LoginError> {
    let (state, server_name) = match answer(server, link, visit).await? {
        Answered::Resumed(session, session_place) => return Ok(Greeted::Resumed(session, session_place)),
        Answered::Challenged(state, server_name) => (state, server_name),
    };
    let received = receive(link, AwaitLogin::EXPECTS).await;
    let login = match received {
        Ok(frame) => state.read(frame, link.now()),
        // What came is no login, and the peer may be waiting for its answer: it gets the one there is.
        Err(LoginError::Protocol(error @ Error::Frame(_))) => Err(state.fail(error, link.now())),
        Err(error) => return Err(error),
    };
    visit.place.arrived()?;
    Ok(match login {
        Ok(login) => Greeted::Login { login, server_name },
        Err(refusal) => Greeted::Refused(refusal),
    })
}

/// What a ClientHello was answered with.
#[allow(clippy::large_enum_variant, reason = "moved once, on the stack")]
enum Answered {
    Resumed(Session, SessionPlace),
    Challenged(AwaitLogin, String),
}

/// Up to the answer to the ClientHello. A future of its own, whose room is given back to what comes next.
async fn answer<L: Link>(server: &ServerState, link: &mut L, visit: &Visit) -> Result<Answered, LoginError> {
    let state = AwaitHello::new(&server.config, visit.context.binding(), link.now());
    link.set_deadline(state.deadline());
    let frame = receive(link, AwaitHello::EXPECTS).await?;
    visit.place.greeted();
    let choice = state.read(frame, link.now())?;
    let server_name = choice.server_name().to_owned();
    let key = server.keys.choose(&server_name).ok_or(Error::NoServerKey)?;
    let choice = match shown(server, &choice, visit)? {
        None => choice,
        Some(claim) => match Box::pin(resume(server, link, choice, claim, visit)).await? {
            Resumption::Taken(session, session_place) => return Ok(Answered::Resumed(session, session_place)),
            Resumption::Not(choice) => choice,
        },
    };
    let (challenge, state) = choice.challenge(key, &mut rng()?)?;
    send(link, &challenge).await?;
    Ok(Answered::Challenged(state, server_name))
}

#[allow(clippy::large_enum_variant, reason = "moved once, on the stack")]
enum Resumption {
    Taken(Session, SessionPlace),
    Not(ChooseKey),
}

/// A good ticket that somebody shows who may come in. It waits for us then, and its place is safe.
fn shown(server: &ServerState, choice: &ChooseKey, visit: &Visit) -> Result<Option<TicketClaim>, LoginError> {
    let Some(key) = server.keys.choose(choice.server_name()) else { return Ok(None) };
    // Where there is no room for a session the ticket is not used up: the client is challenged, and its login refused. The same
    // where the limiter turns it away.
    let claim = if visit.place.has_room_for_session() { choice.ticket(key, unix_now()) } else { None };
    let Some(claim) = claim.filter(|_| visit.admit(server, choice.server_name()).is_ok()) else { return Ok(None) };
    match visit.place.arrived() {
        Ok(()) => Ok(Some(claim)),
        // The login may find room.
        Err(BusyReason::NoRoom) => Ok(None),
        Err(crowded) => Err(crowded.into()),
    }
}

/// Takes a ticket whose principal is still welcome.
async fn resume<L: Link>(
    server: &ServerState,
    link: &mut L,
    choice: ChooseKey,
    claim: TicketClaim,
    visit: &Visit,
) -> Result<Resumption, LoginError> {
    let answer = ask_again(server, link, &choice, &claim, visit).await?;
    let grant = answer.and_then(Result::ok).filter(|grant| claim.is_current(grant));
    let session_place = grant.as_ref().and_then(|grant| visit.place.session_place(grant.principal()));
    let (Some(grant), Some(session_place)) = (grant, session_place) else {
        visit.place.back_to_greeted()?;
        return Ok(Resumption::Not(choice));
    };
    let Accepted { frame, session } = choice.resume(claim, grant, unix_now(), &mut rng()?)?;
    send(link, &frame).await?;
    Ok(Resumption::Taken(session, session_place))
}

/// Asks whether a principal is still welcome. Where nobody has time to look there is no answer, and the client may show a
/// credential.
async fn ask_again<L: Link>(
    server: &ServerState,
    link: &mut L,
    choice: &ChooseKey,
    claim: &TicketClaim,
    visit: &Visit,
) -> Result<Option<Result<Grant, Reason>>, LoginError> {
    let deadline = choice.deadline();
    Ok(match &server.verifier {
        AnyVerifier::Blocking(verifier) => {
            let (verifier, asked) = (Arc::clone(verifier), visit.asked(choice.server_name()));
            let (principal, authenticated) = (claim.principal().to_owned(), claim.authenticated());
            let work = move |()| asked.welcome(&principal, authenticated, &*verifier);
            let mut queued = server.workers.queue(visit.place.source(), (), work);
            let patience = deadline.min(link.now().after(server.workers.patience()));
            let mut done = within(link, patience, &mut queued).await;
            if done.is_none() && queued.is_begun() {
                done = within(link, deadline, &mut queued).await;
            }
            if let Some(Done::Answer(answer)) = done { answer } else { None }
        }
        AnyVerifier::Async(verifier) => {
            let turn = Turn { server, place: &visit.place, deadline };
            let Some(permit) = turn.permit(link).await? else { return Ok(None) };
            let asker = visit.asker(server, choice.server_name());
            let returning = Returning { principal: claim.principal(), authenticated: claim.authenticated(), asker };
            let answer = within(link, deadline, Caught(verifier.resume(&returning))).await.flatten();
            drop(permit);
            answer
        }
    })
}

type Decision = Result<(Accepted, SessionPlace), RefusedLogin>;

/// Why there is no verdict on a login.
enum NoVerdict {
    Refused(Refusal),
    Failed(LoginError),
}

impl From<LoginError> for NoVerdict {
    fn from(error: LoginError) -> Self {
        Self::Failed(error)
    }
}

/// Opens a login, has its credential verified, and decides.
async fn decide<L: Link>(
    server: &ServerState,
    link: &mut L,
    visit: &Visit,
    Arrived { login, server_name }: Arrived,
) -> Result<Decision, LoginError> {
    let admitted = visit.admit(server, &server_name);
    let full = (!visit.place.has_room_for_session()).then_some(Reason::NotAdmitted("too many sessions"));
    if let Some(reason) = admitted.err().or(full) {
        return Ok(Err(RefusedLogin { refusal: login.refuse(reason), user: None }));
    }
    let turn = Turn { server, place: &visit.place, deadline: login.deadline() };
    match open_and_verify(&turn, link, visit, &server_name, login.admit()).await {
        Ok((claim, verdict)) => Ok(conclude(claim, verdict, &visit.place)),
        Err(NoVerdict::Refused(refusal)) => Ok(Err(RefusedLogin { refusal, user: None })),
        Err(NoVerdict::Failed(error)) => Err(error),
    }
}

type Verdict = Result<Grant, Reason>;

/// Opens a login where its key is, and asks the verifier where that is asked.
async fn open_and_verify<L: Link>(
    turn: &Turn<'_>,
    link: &mut L,
    visit: &Visit,
    server_name: &str,
    open: Open,
) -> Result<(Claim, Verdict), NoVerdict> {
    let (undecided, permit) =
        if open.key().is_remote() { turn.open_remotely(link, open).await? } else { (Undecided::Sealed(open), None) };
    match &turn.server.verifier {
        AnyVerifier::Blocking(verifier) => {
            drop(permit);
            let (verifier, asked) = (Arc::clone(verifier), visit.asked(server_name));
            let work = move |undecided: Undecided| {
                let claim = undecided.open();
                let verdict = asked.verify(&claim, &*verifier);
                (claim, verdict)
            };
            turn.compute(link, undecided, work).await
        }
        AnyVerifier::Async(verifier) => {
            let claim = match undecided {
                Undecided::Opened(claim) => claim,
                sealed @ Undecided::Sealed(_) => turn.compute(link, sealed, Undecided::open).await?,
            };
            let permit = match permit {
                Some(permit) => permit,
                None => match turn.permit(link).await? {
                    Some(permit) => permit,
                    None => return Err(NoVerdict::Refused(claim.reject(TOO_MANY))),
                },
            };
            let attempt = Attempt { credential: claim.credential(), asker: visit.asker(turn.server, server_name) };
            let verdict = match within(link, turn.deadline, Caught(verifier.verify(&attempt))).await {
                Some(verdict) => verdict.unwrap_or(Err(Reason::VerifierFailed)),
                None => Err(Reason::NotNow("the verifier did not answer in time")),
            };
            drop(permit);
            Ok((claim, verdict))
        }
    }
}

/// Gives the verdict, with a ticket where the server gives tickets.
fn conclude(claim: Claim, verdict: Result<Grant, Reason>, place: &Place) -> Decision {
    let user = claim.credential().user().filter(|user| !user.is_empty()).map(str::to_owned);
    let seated = verdict.and_then(|grant| match place.session_place(grant.principal()) {
        Some(session_place) => Ok((grant, session_place)),
        None => Err(Reason::NotAdmitted("too many sessions of this principal")),
    });
    let accepted = match (seated, rng()) {
        (Ok((grant, session_place)), Ok(mut rng)) => {
            claim.accept_with_ticket(grant, unix_now(), &mut rng).map(|accepted| (accepted, session_place))
        }
        (Ok(_), Err(_)) => Err(claim.reject(Reason::Failed(CryptoError::Failed))),
        (Err(reason), _) => Err(claim.reject(reason)),
    };
    accepted.map_err(|refusal| RefusedLogin { refusal, user })
}

/// A login that is to be opened by whoever is next to do something about it, or is open already.
enum Undecided {
    Sealed(Open),
    Opened(Claim),
}

impl Undecided {
    /// Does the RSA operation, if it is not done; where even randomness fails, so does the login, like any other.
    fn open(self) -> Claim {
        match self {
            Self::Opened(claim) => claim,
            Self::Sealed(open) => match rng() {
                Ok(mut rng) => open.run(&mut rng),
                Err(_) => open.answer(Decrypted::failed()),
            },
        }
    }

    fn refuse(self, reason: Reason) -> NoVerdict {
        NoVerdict::Refused(match self {
            Self::Sealed(open) => open.refuse(reason),
            Self::Opened(claim) => claim.reject(reason),
        })
    }
}

/// What a verifier on another thread is told.
struct Asked {
    context: Arc<Context>,
    server_name: String,
}

impl Asked {
    /// Asks a verifier. One that panics must not end the connection sooner than a refusal would: that would tell something.
    fn verify(&self, claim: &Claim, verifier: &dyn Verifier) -> Result<Grant, Reason> {
        let asker = Asker { server_name: &self.server_name, context: &self.context, pool: None };
        let attempt = Attempt { credential: claim.credential(), asker };
        catch_unwind(AssertUnwindSafe(|| verifier.verify(&attempt))).unwrap_or(Err(Reason::VerifierFailed))
    }

    /// Asks a verifier whether a principal is still welcome. A panic is no answer: the client may show a credential.
    fn welcome(
        &self,
        principal: &str,
        authenticated: UnixTime,
        verifier: &dyn Verifier,
    ) -> Option<Result<Grant, Reason>> {
        let asker = Asker { server_name: &self.server_name, context: &self.context, pool: None };
        let returning = Returning { principal, authenticated, asker };
        catch_unwind(AssertUnwindSafe(|| verifier.resume(&returning))).ok()
    }
}

/// A turn to be computed, or to be asked about elsewhere.
struct Turn<'a> {
    server: &'a ServerState,
    place: &'a Place,
    deadline: Moment,
}

const TOO_MANY: Reason = Reason::NotAdmitted("too many logins at once");

impl Turn<'_> {
    /// Waits for the turn, and for the work. Work whose peer leaves before is not begun.
    async fn compute<L: Link, R: Send + 'static>(
        &self,
        link: &mut L,
        undecided: Undecided,
        work: impl FnOnce(Undecided) -> R + Send + 'static,
    ) -> Result<R, NoVerdict> {
        let workers = &self.server.workers;
        let patience = self.deadline.min(link.now().after(workers.patience()));
        let mut queued = workers.queue(self.place.source(), undecided, work);
        let failed = || NoVerdict::Failed(Error::Crypto(CryptoError::Failed).into());
        poll_fn(|task| {
            if let Poll::Ready(done) = Pin::new(&mut queued).poll(task) {
                return Poll::Ready(match done {
                    Done::Answer(answer) => Ok(answer),
                    Done::Shed => Err(queued.take_back().map_or_else(failed, |undecided| undecided.refuse(TOO_MANY))),
                    // Nothing that may panic is left in it.
                    Done::Panicked => Err(failed()),
                });
            }
            // Once begun it is waited for, and what it finds is logged, whatever the peer does.
            if queued.is_begun() {
                let passed = |()| Err(NoVerdict::Failed(Error::DeadlinePassed.into()));
                return link.poll_wait(task, self.deadline).map(passed);
            }
            if link.poll_wait(task, patience).is_ready() {
                // Unless it is begun at this very moment, nobody will do it now.
                return match queued.take_back() {
                    Some(undecided) => Poll::Ready(Err(undecided.refuse(TOO_MANY))),
                    None => {
                        task.waker().wake_by_ref();
                        Poll::Pending
                    }
                };
            }
            link.poll_gone(task).map(|()| Err(NoVerdict::Failed(left())))
        })
        .await
    }

    /// Waits for leave to have something done elsewhere; none where others come first.
    async fn permit<L: Link>(&self, link: &mut L) -> Result<Option<Permit>, LoginError> {
        let permits = &self.server.permits;
        let patience = self.deadline.min(link.now().after(permits.patience()));
        let mut asking = permits.ask(self.place.source());
        poll_fn(|task| {
            if let Poll::Ready(permit) = Pin::new(&mut asking).poll(task) {
                return Poll::Ready(Ok(permit));
            }
            if link.poll_wait(task, patience).is_ready() {
                return Poll::Ready(Ok(None));
            }
            link.poll_gone(task).map(|()| Err(left()))
        })
        .await
    }

    /// Has a login opened by whoever has its key. The permit is good for what is asked next.
    async fn open_remotely<L: Link>(&self, link: &mut L, open: Open) -> Result<(Undecided, Option<Permit>), NoVerdict> {
        let Some(permit) = self.permit(link).await? else {
            return Err(NoVerdict::Refused(open.refuse(TOO_MANY)));
        };
        // Not before there is a permit: this begins it.
        let Some(decrypting) = open.remote() else {
            return Ok((Undecided::Sealed(open), Some(permit)));
        };
        match within(link, self.deadline, decrypting).await {
            Some(decrypted) => Ok((Undecided::Opened(open.answer(decrypted)), Some(permit))),
            None => {
                let reason = Reason::NotNow("whoever has the private key did not answer in time");
                Err(NoVerdict::Refused(open.refuse(reason)))
            }
        }
    }
}

/// The peer has left while it had nothing to say.
fn left() -> LoginError {
    LoginError::Disconnected { awaited: FrameType::Data }
}

/// Waits for `future`, but no longer than to `deadline`.
async fn within<L: Link, F: Future>(link: &mut L, deadline: Moment, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|task| match future.as_mut().poll(task) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => link.poll_wait(task, deadline).map(|()| None),
    })
    .await
}

/// Waits for `future`, unless the handshake has to make way.
async fn unless<T>(
    cut: &Eviction,
    mut future: Pin<&mut impl Future<Output = Result<T, LoginError>>>,
) -> Result<T, LoginError> {
    poll_fn(|task| match cut.poll(task) {
        Poll::Ready(reason) => Poll::Ready(Err(LoginError::Busy(reason))),
        Poll::Pending => match future.as_mut().poll(task) {
            // It had to make way in the middle: say that, and not what the transport says of it.
            Poll::Ready(Err(error)) => Poll::Ready(Err(cut.reason().map_or(error, LoginError::Busy))),
            polled => polled,
        },
    })
    .await
}

// The client's side.

/// A client's state after its hello.
enum Awaiting {
    Answer(AwaitAnswer),
    Challenge(AwaitChallenge),
}

/// How a login goes on after the server's first answer.
#[allow(clippy::large_enum_variant, reason = "moved once, on the stack")]
pub(super) enum Begun {
    Resumed(Session),
    Trusted(client::Trusted),
}

/// From the hello to where the credential is due: with the ticket, if there is one that may be used.
pub(super) async fn begin<L: Link>(
    link: &mut L,
    client: &ClientState,
    ticket: Option<&Ticket>,
) -> Result<Begun, LoginError> {
    let (server, config, binding) = (&client.server, &client.config, &client.binding);
    let (hello, state, expects, deadline) = {
        let (mut rng, now) = (rng()?, link.now());
        match ticket.and_then(|ticket| server.resume(ticket)) {
            Some(ticket) => {
                let (hello, state) = client::resume(config, server, binding, ticket, &mut rng, now)?;
                let deadline = state.deadline();
                (hello, Awaiting::Answer(state), AwaitAnswer::EXPECTS, deadline)
            }
            None => {
                let (hello, state) = client::start(config, server, binding, &mut rng, now)?;
                let deadline = state.deadline();
                (hello, Awaiting::Challenge(state), AwaitChallenge::EXPECTS, deadline)
            }
        }
    };
    link.set_deadline(deadline);
    send(link, &hello).await?;
    let frame = receive(link, expects).await?;
    let answer = match state {
        Awaiting::Answer(state) => state.read(&frame, link.now())?,
        Awaiting::Challenge(state) => Answer::Challenge(state.read(&frame, link.now())?),
    };
    Ok(match answer {
        Answer::Resumed(session) => Begun::Resumed(session),
        Answer::Challenge(challenge) => Begun::Trusted(challenge.trust(server)?),
    })
}

/// From the credential to the verdict.
pub(super) async fn login<L: Link>(
    link: &mut L,
    trusted: client::Trusted,
    credential: Credential<'_>,
) -> Result<Session, LoginError> {
    let (login, state) = trusted.login(credential, &mut rng()?)?;
    send(link, &login).await?;
    let frame = receive(link, AwaitVerdict::EXPECTS).await?;
    Ok(state.read(&frame, link.now())?)
}

impl From<BusyReason> for LoginError {
    fn from(crowded: BusyReason) -> Self {
        Self::Busy(crowded)
    }
}
