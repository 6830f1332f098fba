//! From the ClientHello to the login's arrival, or to a confirmed resumption.

use super::super::acceptor::{AnyVerifier, ServerState};
use super::super::busy::{Opening, retry_after, turn_away};
use super::super::drive::Caught;
use super::super::error::{BusyReason, LoginError};
use super::super::link::{Link, receive, send, send_last};
use super::super::penalties::Shut;
use super::super::queue::Progress;
use super::super::sessions;
use super::turn::{NotDone, TOO_MANY, run, within};
use super::{Started, Visit, penalised, rng, unix_now};
use crate::handshake::server::{AwaitConfirm, AwaitHello, AwaitLogin, AwaitSolution, Hello, Login, Refusal};
use crate::terms::error::{Error, Reason};
use crate::terms::grant::Grant;
use crate::terms::puzzle::PuzzleDifficulty;
use crate::terms::ticket::{FreshTicket, TicketClaim};
use crate::terms::verifier::Returning;
use crate::time::Clock;
use core::future::poll_fn;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

/// How far a handshake came by itself.
#[allow(clippy::large_enum_variant, reason = "moved once, on the stack")]
pub(super) enum Greeted {
    Resumed(Box<Started>),
    Login { login: Login, server_name: String },
    Refused(Refusal),
}

/// Up to the login's arrival: until then the handshake can be cut.
pub(super) async fn greet<L: Link>(server: &ServerState, link: &mut L, visit: &Visit) -> Result<Greeted, LoginError> {
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
    let place = visit.place.session_place(session.info.login_grant().principal()).ok_or(BusyReason::NoSession)?;
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
    let hello = server.keys.now().answer(choice, Clock::system().look().earliest())?;
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
    if let Err(shut) = server.guard.greet_here(visit.place.source()) {
        return Err(shut_out(server, link, shut).await);
    }
    let hello = match server.puzzle_for(visit.place.source()) {
        // Whoever has paid takes its chances in the queue.
        Some(difficulty) => puzzled(server, link, hello, visit, difficulty).await?,
        None if server.is_pressed(visit.place.source()) => {
            return Err(turn_away(server, link, Duration::ZERO, BusyReason::Pressed.into()).await);
        }
        None => hello,
    };
    // Not before there was a puzzle to be solved: what all servers share must not be asked about each hello of a flood at all of them.
    if let Err(shut) = penalised::greet_by_others(server, link, visit.place.source()).await {
        return Err(shut_out(server, link, shut).await);
    }
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

/// Turns a client away that has to wait.
async fn shut_out<L: Link>(server: &ServerState, link: &mut L, shut: Shut) -> LoginError {
    let error = LoginError::LoginRefused { user: None, reason: shut.reason };
    turn_away(server, link, shut.left, error).await
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
            let (epochs, trace) = (ticket.epochs(), Arc::clone(&visit.trace));
            let work = move |()| trace.verifying(|| asked.welcome((&principal, epochs), shown, &*verifier));
            match turn.compute(link, (), work).await {
                Ok(answer) => answer,
                Err(NotDone::Shed(..)) => None,
                Err(NotDone::Failed(error)) => return Err(error),
            }
        }
        AnyVerifier::Async(verifier) => {
            let Some(permit) = turn.permit(link).await? else { return Ok(None) };
            let asker = visit.asker(server, hello.server_name());
            let (principal, epochs) = (ticket.principal(), ticket.epochs());
            let (kind, authenticated) = (ticket.kind(), ticket.authenticated());
            let returning = Returning { principal, kind, authenticated, is_session: false, epochs, asker };
            let since = Instant::now();
            let answer = within(link, turn.deadline, Caught(verifier.resume(&returning))).await.flatten();
            visit.trace.verified(since);
            drop(permit);
            answer
        }
    })
}
