//! The scripts of a login, one for each side: which frames go when, who is asked what, and how long anything may take.
//!
//! They are written once, as futures over a [`Link`]; the adapters drive them. The server's is here.

mod asked;
mod client;
mod factors;
mod penalised;
mod turn;

pub(super) use client::{Begun, begin, login};

use asked::Asked;
use factors::{Verdict, conclude};
use turn::{NotDone, TOO_MANY, Turn, run, within};

use super::acceptor::{AnyVerifier, ServerState};
use super::busy::{Opening, retry_after, turn_away};
use super::drive::Caught;
use super::error::{BusyReason, LoginError};
use super::events::{Record, Trace, Watch};
use super::link::{Link, VERDICT_TIMEOUT, receive, send, send_last};
use super::penalties::{Guess, Others};
use super::places::{Eviction, Place, RefusalPlace, SessionPlace};
use super::queue::Progress;
use super::sessions::{self, Sessions};
use crate::crypto::{self, CryptoRng};
use crate::handshake::server::{
    Admitted, AwaitConfirm, AwaitHello, AwaitLogin, AwaitSolution, Claim, Hello, Login, Open, Refusal, SealedLogin,
};
use crate::session::Session;
use crate::terms::context::Context;
use crate::terms::credential::CredentialKind;
use crate::terms::error::{Error, Reason};
use crate::terms::grant::Grant;
use crate::terms::puzzle::PuzzleDifficulty;
use crate::terms::ticket::{FreshTicket, TicketClaim};
use crate::terms::verifier::{Asker, Attempt, Further, Good, Returning};
use crate::time::{Moment, UnixTime};
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::Poll;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

fn rng() -> Result<impl CryptoRng + Send, Error> {
    Ok(crypto::rng()?)
}

pub(super) fn unix_now() -> UnixTime {
    UnixTime::from_system(std::time::SystemTime::now())
}

/// What became of a login.
pub(super) enum Decided {
    /// It was accepted, and the client told so.
    Accepted(Box<Started>, Record),
    /// It was refused. The client is told when that is due, by [`refuse`].
    Refused(RefusedLogin, RefusalPlace),
}

/// A session that begins, and what it is looked at again by.
pub(super) struct Started {
    pub(super) session: Session,
    pub(super) place: SessionPlace,
    pub(super) sessions: Sessions,
    pub(super) shown: sessions::Shown,
}

/// A refusal for the client, and its reason for us.
pub(super) struct RefusedLogin {
    pub(super) refusal: Refusal,
    pub(super) user: Option<String>,
    /// What it was, if it was refused for its credential.
    pub(super) guess: Guess,
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
    /// One that names nobody.
    fn of_nobody(refusal: Refusal) -> Self {
        Self { refusal, user: None, guess: Guess::No }
    }

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
    trace: Arc<Trace>,
    notices: u64,
}

impl Visit {
    /// A turn of its.
    fn turn<'a>(&'a self, server: &'a ServerState, deadline: Moment, progress: Progress) -> Turn<'a> {
        Turn { server, place: &self.place, trace: &self.trace, deadline, progress }
    }

    /// What a verifier is told of it.
    fn asker<'a>(&'a self, server: &'a ServerState, server_name: &'a str) -> Asker<'a> {
        Asker { server_name, context: &self.context, pool: Some(server) }
    }

    /// What its session is looked at again by.
    fn shown(&self, server_name: &str, kind: CredentialKind, authenticated: UnixTime) -> sessions::Shown {
        let (server_name, context) = (server_name.into(), Arc::clone(&self.context));
        sessions::Shown { kind, authenticated, server_name, context, notices: self.notices }
    }

    /// What a verifier on another thread is told of it.
    fn asked(&self, server_name: &str) -> Asked {
        Asked { context: Arc::clone(&self.context), server_name: server_name.to_owned() }
    }
}

/// Everything from the ClientHello to the verdict, and whoever observes is told what that was.
pub(super) async fn accept<L: Link>(
    server: &ServerState,
    link: &mut L,
    context: Arc<Context>,
    place: Place,
) -> Result<Decided, LoginError> {
    let trace = Arc::new(Trace::new(&context));
    let watch = Watch::new(&server.reports, &context, &trace);
    let mut visiting = pin!(visit(server, link, Visit { context, place, trace, notices: server.sessions.notices() }));
    match poll_fn(|task| watch.working(|| visiting.as_mut().poll(task))).await {
        Ok(Visited::Accepted(started)) => {
            let record = watch.began(&started.session.info);
            Ok(Decided::Accepted(started, record))
        }
        Ok(Visited::Refused(refused, place)) => {
            watch.refused(&refused.refusal.reason);
            Ok(Decided::Refused(refused, place))
        }
        Err(error) => {
            watch.failed(&error);
            Err(error)
        }
    }
}

/// What a visit came to.
enum Visited {
    Accepted(Box<Started>),
    Refused(RefusedLogin, RefusalPlace),
}

/// Not an `async fn`: that would hold its arguments twice.
#[allow(clippy::manual_async_fn, reason = "the arguments are moved into the future once")]
fn visit<L: Link>(
    server: &ServerState,
    link: &mut L,
    visit: Visit,
) -> impl Future<Output = Result<Visited, LoginError>> {
    async move {
        let greeted = meet(server, link, &visit).await?;
        // In a box of its own, so that those who have sent no login hold no room for one.
        Box::pin(settle(server, link, visit, greeted)).await
    }
}

/// Up to the login's arrival, unless the handshake has to make way.
async fn meet<L: Link>(server: &ServerState, link: &mut L, visit: &Visit) -> Result<Greeted, LoginError> {
    let error = match unless(visit.place.cut(), pin!(greet(server, link, visit))).await {
        Ok(greeted) => return Ok(greeted),
        Err(error) => error,
    };
    Box::pin(penalised::note_end(server, link, visit, &error)).await;
    Err(error)
}

/// From the login's arrival, or the confirmed resumption, to the end of the handshake.
async fn settle<L: Link>(
    server: &ServerState,
    link: &mut L,
    visit: Visit,
    greeted: Greeted,
) -> Result<Visited, LoginError> {
    let login = match greeted {
        Greeted::Resumed(started) => {
            let principal = started.session.info.grant().principal();
            penalised::note_accepted(server, link, visit.place.source(), principal).await;
            return Ok(Visited::Accepted(started));
        }
        Greeted::Refused(refusal) => {
            return Ok(refused(server, link, RefusedLogin::of_nobody(refusal), visit).await);
        }
        Greeted::Login { login, server_name } => Arrived { login, server_name },
    };
    match decide(server, link, &visit, login).await? {
        Ok((frame, started)) => {
            link.set_deadline(link.now().after(VERDICT_TIMEOUT));
            send(link, &frame).await?;
            Ok(Visited::Accepted(started))
        }
        Err(refusal) => Ok(refused(server, link, refusal, visit).await),
    }
}

async fn refused<L: Link>(
    server: &ServerState,
    link: &mut L,
    mut refused: RefusedLogin,
    Visit { place, trace, .. }: Visit,
) -> Visited {
    if refused.refusal.reason.is_no() || matches!(refused.refusal.reason, Reason::Penalty(_)) {
        server.note_refused(place.source());
    }
    penalised::note_refused(server, link, place.source(), &refused).await;
    let may_name = trace.may_name(&refused.refusal.reason, &server.reports);
    refused.user = refused.user.filter(|_| may_name);
    Visited::Refused(refused, place.into_refusal())
}

/// Tells a client that it was refused, when that is due, and lets it hang up.
pub(super) async fn refuse<L: Link>(mut link: L, PendingRefusal { frame, due }: PendingRefusal, place: RefusalPlace) {
    poll_fn(|task| link.poll_wait(task, due)).await;
    link.set_deadline(link.now().after(VERDICT_TIMEOUT));
    // Whatever fails here, the login is refused, and its peer gone.
    send_last(&mut link, &frame).await;
    drop(place);
}

/// How far a handshake came by itself.
#[allow(clippy::large_enum_variant, reason = "moved once, on the stack")]
enum Greeted {
    Resumed(Box<Started>),
    Login { login: Login, server_name: String },
    Refused(Refusal),
}

struct Arrived {
    login: Login,
    server_name: String,
}

/// Up to the login's arrival: until then the handshake can be cut.
async fn greet<L: Link>(server: &ServerState, link: &mut L, visit: &Visit) -> Result<Greeted, LoginError> {
    let state = AwaitHello::new(&server.config, visit.context.binding(), link.now());
    link.set_deadline(state.deadline());
    let frame = receive(link, AwaitHello::EXPECTS).await?;
    visit.place.greeted();
    // In a box of its own, which is given back before the login is waited for.
    let answer = Box::pin(answer(server, link, visit, (state, frame)));
    let (state, server_name, opening) = match answer.await? {
        Answered::Resumed(taken) => return Box::pin(confirm(server, link, visit, *taken)).await,
        Answered::Challenged(state, server_name, opening) => (state, server_name, opening),
    };
    let received = receive(link, AwaitLogin::EXPECTS).await;
    let login = match received {
        Ok(frame) => state.read(frame, link.now()),
        // What came is no login, and the peer may be waiting for its answer: it gets the one there is.
        Err(LoginError::Protocol(error @ Error::Frame(_))) => Err(state.fail(error, link.now())),
        Err(error) => return Err(error),
    };
    opening.was_worth_it();
    visit.place.arrived()?;
    Ok(match login {
        Ok(login) => Greeted::Login { login, server_name },
        Err(refusal) => Greeted::Refused(refusal),
    })
}

/// A ticket was taken: from here on it is for the client to show that it is there, and no recording.
async fn confirm<L: Link>(
    server: &ServerState,
    link: &mut L,
    visit: &Visit,
    taken: Taken<'_>,
) -> Result<Greeted, LoginError> {
    let frame = receive(link, AwaitConfirm::EXPECTS).await?;
    let session = taken.state.read(frame, link.now())?;
    taken.opening.was_worth_it();
    // There was room when the ticket was taken.
    let place = visit.place.session_place(session.info.grant().principal()).ok_or(BusyReason::NoSession)?;
    let sessions = server.sessions.clone();
    Ok(Greeted::Resumed(Box::new(Started { session, place, sessions, shown: taken.shown })))
}

/// What a ClientHello was answered with.
#[allow(clippy::large_enum_variant, reason = "moved once, on the stack")]
enum Answered<'s> {
    /// In a box, as those who come back are few among the half-open.
    Resumed(Box<Taken<'s>>),
    Challenged(AwaitLogin, String, Opening<'s>),
}

/// From a ClientHello to the answer to it.
async fn answer<'s, L: Link>(
    server: &'s ServerState,
    link: &mut L,
    visit: &'s Visit,
    (state, frame): (AwaitHello, Vec<u8>),
) -> Result<Answered<'s>, LoginError> {
    let choice = state.read(frame, link.now())?;
    let hello = server.keys.now().answer(choice, unix_now())?;
    let server_name = hello.server_name().to_owned();
    visit.trace.hello(&hello);
    // Before anything costly, and before anything secret.
    let full = || Err(Reason::NotAdmitted("too many sessions"));
    let admitted = server.admit(&visit.context, &server_name);
    let admitted = admitted.and_then(|()| if visit.place.has_room_for_session() { Ok(()) } else { full() });
    if let Err(reason) = admitted {
        return Err(turn_away(server, link, Duration::ZERO, LoginError::LoginRefused { user: None, reason }).await);
    }
    let hello = match shown(server, link, hello, visit).await? {
        Shown::Taken(taken) => return Ok(Answered::Resumed(taken)),
        Shown::Not(hello) => *hello,
    };
    if let Err(shut) = penalised::greet(server, link, visit.place.source()).await {
        let error = LoginError::LoginRefused { user: None, reason: shut.reason };
        return Err(turn_away(server, link, shut.left, error).await);
    }
    let hello = match server.puzzle_for(visit.place.source()) {
        // Whoever has paid takes its chances in the queue.
        Some(difficulty) => puzzled(server, link, hello, visit, difficulty).await?,
        None if server.is_pressed(visit.place.source()) => {
            return Err(turn_away(server, link, Duration::ZERO, BusyReason::Pressed.into()).await);
        }
        None => hello,
    };
    if let Some(differs) = hello.differs() {
        // The client sees it, too, before it sends anything secret.
        let (challenge, _) = hello.challenge(&mut rng()?)?;
        send_last(link, &challenge).await;
        return Err(Error::DifferentContext(differs).into());
    }
    let (hello, opening) = Box::pin(open_hello(server, link, hello, visit, Progress::Fresh)).await?;
    let not_before = hello.not_before();
    let (challenge, state) = hello.challenge(&mut rng()?)?;
    poll_fn(|task| link.poll_wait(task, not_before)).await;
    send(link, &challenge).await?;
    Ok(Answered::Challenged(state, server_name, opening))
}

/// Has the client solve a puzzle before anything costly is done for it: an RSA operation, a key exchange, a password hash.
async fn puzzled<L: Link>(
    server: &ServerState,
    link: &mut L,
    hello: Hello,
    visit: &Visit,
    difficulty: PuzzleDifficulty,
) -> Result<Hello, LoginError> {
    let (frame, state) = hello.puzzle(difficulty, retry_after(server, Duration::ZERO), &mut rng()?)?;
    server.puzzles.asked();
    send(link, &frame).await?;
    // The time that it takes counts from now. It has no more of it than others have: those who solve nothing would like that, too.
    visit.place.greeted();
    let frame = match receive(link, AwaitSolution::EXPECTS).await {
        // It solves no puzzles, or not such hard ones; to it this was a Busy like any other.
        Err(LoginError::Disconnected { .. }) => return Err(BusyReason::Unsolved.into()),
        received => received?,
    };
    visit.place.greeted();
    let solved = state.read(&frame, link.now());
    server.puzzles.answered(solved.is_ok());
    Ok(solved?)
}

/// Opens what the client sealed to the server's key, if it did. It waits for us then, and its place is safe.
async fn open_hello<'s, L: Link>(
    server: &'s ServerState,
    link: &mut L,
    hello: Hello,
    visit: &'s Visit,
    progress: Progress,
) -> Result<(Hello, Opening<'s>), LoginError> {
    let deadline = hello.deadline();
    let open = match hello.open(&mut rng()?) {
        Ok(open) => open,
        Err(hello) => return Ok((*hello, Opening::none(server, &visit.place))),
    };
    match visit.place.arrived() {
        Ok(()) => {}
        Err(BusyReason::NoRoom) => return Err(turn_away(server, link, Duration::ZERO, BusyReason::NoRoom.into()).await),
        Err(crowded) => return Err(crowded.into()),
    }
    let turn = visit.turn(server, deadline, progress);
    let opened = if open.key().is_remote() {
        turn.open_remotely(link, open).await.map(|(opened, _)| opened)
    } else {
        let trace = Arc::clone(&visit.trace);
        turn.compute(link, open, move |open| trace.opening(|| run(open))).await
    };
    match opened {
        Ok(hello) => {
            visit.place.back_to_greeted()?;
            Ok((hello, Opening::done(server, &visit.place)))
        }
        Err(NotDone::Shed(_, reason)) => {
            // It waits for its peer again, which may never hang up.
            visit.place.back_to_greeted()?;
            let error = match reason {
                TOO_MANY => BusyReason::Pressed.into(),
                reason => LoginError::LoginRefused { user: None, reason },
            };
            Err(turn_away(server, link, Duration::ZERO, error).await)
        }
        Err(NotDone::Failed(error)) => Err(error),
    }
}

/// What became of a ticket, if one was shown.
enum Shown<'s> {
    Taken(Box<Taken<'s>>),
    Not(Box<Hello>),
}

/// A ticket that was taken, and the client told so.
struct Taken<'s> {
    state: AwaitConfirm,
    opening: Opening<'s>,
    shown: sessions::Shown,
}

/// Takes a ticket that is good and whose principal is still welcome.
async fn shown<'s, L: Link>(
    server: &'s ServerState,
    link: &mut L,
    hello: Hello,
    visit: &'s Visit,
) -> Result<Shown<'s>, LoginError> {
    let Some(claim) = hello.ticket(unix_now()) else { return Ok(Shown::Not(Box::new(hello))) };
    // Before the ticket is used up.
    if hello.is_sealed() && server.is_pressed(visit.place.source()) {
        return Err(turn_away(server, link, Duration::ZERO, BusyReason::Pressed.into()).await);
    }
    match visit.place.arrived() {
        Ok(()) => Box::pin(resume(server, link, hello, claim, visit)).await,
        // The login may find room.
        Err(BusyReason::NoRoom) => Ok(Shown::Not(Box::new(hello))),
        Err(crowded) => Err(crowded.into()),
    }
}

async fn resume<'s, L: Link>(
    server: &'s ServerState,
    link: &mut L,
    hello: Hello,
    claim: TicketClaim,
    visit: &'s Visit,
) -> Result<Shown<'s>, LoginError> {
    // The memory may be somebody else's, and away: then the client shows its credential, while there is time for that.
    let patience = hello.deadline().min(link.now().after(server.workers.patience()));
    let fresh = within(link, patience, Caught(Box::pin(claim.use_up()))).await.flatten().flatten();
    let welcome = match fresh {
        None => None,
        Some(ticket) => {
            let answer = ask_again(server, link, &hello, &ticket, visit).await?;
            let grant = answer.and_then(Result::ok).filter(|grant| ticket.is_current(grant));
            let grant = grant.filter(|grant| visit.place.has_room_for_session_of(grant.principal()));
            grant.map(|grant| (ticket, grant))
        }
    };
    visit.place.back_to_greeted()?;
    let Some((ticket, grant)) = welcome else { return Ok(Shown::Not(Box::new(hello))) };
    visit.trace.ticket(ticket.kind());
    let shown = visit.shown(hello.server_name(), ticket.kind(), ticket.authenticated());
    let (hello, opening) = open_hello(server, link, hello, visit, Progress::Begun).await?;
    let not_before = hello.not_before();
    let (frame, state) = hello.resume(ticket, grant, unix_now(), &mut rng()?)?;
    poll_fn(|task| link.poll_wait(task, not_before)).await;
    send(link, &frame).await?;
    Ok(Shown::Taken(Box::new(Taken { state, opening, shown })))
}

/// Asks whether a principal is still welcome. Where nobody has time to look there is no answer, and the client may show a
/// credential.
async fn ask_again<L: Link>(
    server: &ServerState,
    link: &mut L,
    hello: &Hello,
    ticket: &FreshTicket,
    visit: &Visit,
) -> Result<Option<Result<Grant, Reason>>, LoginError> {
    // Its ticket is used up.
    let turn = visit.turn(server, hello.deadline(), Progress::Begun);
    Ok(match &server.verifier {
        AnyVerifier::Blocking(verifier) => {
            let (verifier, asked) = (Arc::clone(verifier), visit.asked(hello.server_name()));
            let (principal, shown) = (ticket.principal().to_owned(), (ticket.kind(), ticket.authenticated()));
            let trace = Arc::clone(&visit.trace);
            let work = move |()| trace.verifying(|| asked.welcome(&principal, shown, &*verifier));
            match turn.compute(link, (), work).await {
                Ok(answer) => answer,
                Err(NotDone::Shed(..)) => None,
                Err(NotDone::Failed(error)) => return Err(error),
            }
        }
        AnyVerifier::Async(verifier) => {
            let Some(permit) = turn.permit(link).await? else { return Ok(None) };
            let asker = visit.asker(server, hello.server_name());
            let (kind, authenticated) = (ticket.kind(), ticket.authenticated());
            let returning = Returning { principal: ticket.principal(), kind, authenticated, is_session: false, asker };
            let since = Instant::now();
            let answer = within(link, turn.deadline, Caught(verifier.resume(&returning))).await.flatten();
            visit.trace.verified(since);
            drop(permit);
            answer
        }
    })
}

/// The verdict to send, and what begins then; or a refusal.
type Decision = Result<(Vec<u8>, Box<Started>), RefusedLogin>;

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

impl<T: Undecided> From<NotDone<T>> for NoVerdict {
    fn from(not_done: NotDone<T>) -> Self {
        match not_done {
            NotDone::Shed(undecided, reason) => Self::Refused(undecided.refuse(reason)),
            NotDone::Failed(error) => Self::Failed(error),
        }
    }
}

/// A login on which there may be no verdict.
trait Undecided {
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
async fn decide<L: Link>(
    server: &ServerState,
    link: &mut L,
    visit: &Visit,
    Arrived { login, server_name }: Arrived,
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

const LATE_VERIFIER: Reason = Reason::NotNow("the verifier did not answer in time");

/// Opens a login where its key is, if that is not done, and asks the verifier where that is asked.
async fn open_and_verify<L: Link>(
    turn: Turn<'_>,
    link: &mut L,
    visit: &Visit,
    server_name: &str,
    admitted: Admitted,
) -> Result<(Claim, Verdict), NoVerdict> {
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
    let (guard, source) = (turn.server.guard.clone(), visit.place.source().clone());
    match &turn.server.verifier {
        AnyVerifier::Blocking(verifier) => {
            drop(permit);
            let (verifier, asked) = (Arc::clone(verifier), visit.asked(server_name));
            let trace = Arc::clone(&visit.trace);
            let work = move |admitted: Admitted| {
                let claim = trace.opening(|| opened(admitted));
                // Now, and not when it was queued: those before it may have been wrong meanwhile.
                let checked = penalised::check(&guard, &source, &claim, &others);
                let verdict = trace.verifying(|| checked.and_then(|()| asked.verify(&claim, &*verifier)));
                (claim, verdict)
            };
            Ok(turn.compute(link, admitted, work).await?)
        }
        AnyVerifier::Async(verifier) => {
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
            if let Err(reason) = penalised::check(&guard, &source, &claim, &others) {
                return Ok((claim, Err(reason)));
            }
            let asker = visit.asker(turn.server, server_name);
            let attempt = Attempt { credential: claim.credential(), asker };
            let asking = Box::pin(async {
                let grant = verifier.verify(&attempt).await?;
                let good = Good { grant: &grant, kind: attempt.credential.kind(), step: 0 };
                let further = verifier.further(&Further { good, asker }).await?;
                Ok((grant, further))
            });
            let since = Instant::now();
            let verdict = match within(link, turn.deadline, Caught(asking)).await {
                Some(verdict) => verdict.unwrap_or(Err(Reason::VerifierFailed)),
                None => Err(LATE_VERIFIER),
            };
            visit.trace.verified(since);
            drop(permit);
            Ok((claim, verdict))
        }
    }
}

/// Opens a login, if that is not done.
fn opened(admitted: Admitted) -> Claim {
    match admitted {
        Admitted::Opened(claim) => claim,
        Admitted::Sealed(open) => run(open),
    }
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

impl From<BusyReason> for LoginError {
    fn from(crowded: BusyReason) -> Self {
        Self::Busy(crowded)
    }
}
