//! Who has to wait for what failed before, by what this server has counted, and others.

use super::super::acceptor::ServerState;
use super::super::error::LoginError;
use super::super::events::Trace;
use super::super::link::Link;
use super::super::penalties::{
    Amounts, Checked, Guard, Guess, Guessed, Others, PenaltyKey, Reservation, Shut, Waiting,
};
use super::turn::{left, within};
use super::{RefusedLogin, Visit};
use crate::crypto::Caught;
use crate::handshake::server::Claim;
use crate::terms::context::Source;
use crate::terms::error::{Error, Penalty, Reason};
use crate::time::Moment;
use crate::wire::frame::FrameType;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use std::time::Instant;

/// Whether it is taken by what others have counted, too.
pub(super) async fn greet_by_others<L: Link>(server: &ServerState, link: &mut L, source: &Source) -> Result<(), Shut> {
    match ask(server, link, &server.guard.of_hello(source)).await {
        Others::None => Ok(()),
        others => server.guard.greet(source, &others),
    }
}

/// What other servers have counted that says whether a claim's password is looked at.
pub(super) async fn others<L: Link>(server: &ServerState, link: &mut L, source: &Source, claim: &Claim) -> Others {
    let credential = claim.credential();
    if !credential.kind().can_be_guessed() {
        return Others::None;
    }
    let user = credential.user().unwrap_or_default().to_owned();
    ask(server, link, &server.guard.of_password(source, &user)).await
}

/// Whether a claim's credential is looked at. What can't be guessed always is. Who has waited for others comes with that.
pub(super) fn check(
    guard: &Guard,
    source: &Source,
    claim: &Claim,
    others: &Others,
    waited: Option<Waiting>,
) -> Checked {
    let credential = claim.credential();
    if !credential.kind().can_be_guessed() {
        return Checked::Go(Reservation::none());
    }
    guard.check(source, credential.user().unwrap_or_default(), others, waited)
}

/// Waits until another password is decided, and gives what to look again with. Where none was by then, this one is not looked at.
pub(super) async fn wait<L: Link>(
    link: &mut L,
    trace: &Trace,
    mut waiting: Waiting,
    until: Moment,
) -> Result<Result<Waiting, Reason>, LoginError> {
    let since = Instant::now();
    let waited = poll_fn(|task| {
        if Pin::new(&mut waiting).poll(task).is_ready() {
            return Poll::Ready(Ok(Ok(())));
        }
        if link.poll_wait(task, until).is_ready() {
            return Poll::Ready(Ok(Err(waiting.give_up())));
        }
        link.poll_gone(task).map(|()| Err(left()))
    })
    .await;
    trace.waited(since);
    Ok(waited?.map(|()| waiting))
}

/// A handshake ended before there was a login.
pub(super) async fn note_end<L: Link>(server: &ServerState, link: &mut L, visit: &Visit, error: &LoginError) {
    let is_in_vain = match error {
        LoginError::Protocol(
            Error::Frame(_) | Error::Decode(_) | Error::Violation(_) | Error::DeadlinePassed | Error::NotConfirmed,
        ) => true,
        LoginError::Disconnected { awaited } => *awaited == FrameType::ClientLogin,
        // A reset in the place of an end must not make it free.
        LoginError::Io(_) => visit.trace.is_challenged(),
        _ => false,
    };
    if is_in_vain {
        server.guard.tell_later(server.guard.in_vain(visit.place.source()));
    }
    // Not each of them: a connection that comes to nothing costs whoever makes it nothing.
    if server.guard.is_due() {
        tell(server, link, Amounts::new()).await;
    }
}

/// There is no decision on a login. If that is as its peer left, or said something where it had nothing to say, what was opened for it, a hello or itself, was opened
/// in vain: whoever leaves the queue must not have that for nothing.
pub(super) async fn note_left<L: Link>(server: &ServerState, link: &mut L, visit: &Visit, error: &LoginError) {
    if !matches!(error, LoginError::Disconnected { awaited: FrameType::Data }) {
        return;
    }
    let source = visit.place.source();
    let amounts = if visit.trace.has_opened() {
        server.note_refused(source);
        server.guard.failed(source, None, &Others::None)
    } else {
        server.guard.in_vain(source)
    };
    server.guard.tell_later(amounts);
    if server.guard.is_due() {
        tell(server, link, Amounts::new()).await;
    }
}

/// A login was refused.
pub(super) async fn note_refused<L: Link>(
    server: &ServerState,
    link: &mut L,
    (source, trace): (&Source, &Trace),
    refused: &mut RefusedLogin,
) {
    let reason = &refused.refusal.reason;
    let amounts = match reason {
        // What the source pays for already, or has a right to, it does not pay for again.
        Reason::Penalty(Penalty::Account | Penalty::Total | Penalty::Strangers) => server.guard.in_vain(source),
        // What can't be guessed, and was not answered for, is no guess.
        Reason::NoAnswer(_) if refused.guess == Guess::No => return,
        reason if reason.is_failure() => {
            let guessed = refused.user.as_deref().filter(|_| refused.guess != Guess::No);
            let others = match guessed {
                Some(user) => ask(server, link, &server.guard.of_failure(source, user)).await,
                None => Others::None,
            };
            let named = |user| trace.named(user, reason, &server.reports);
            let guessed = guessed.map(|user| Guessed { user, guess: refused.guess, named: named(user) });
            let amounts = server.guard.failed(source, guessed, &others);
            // Not before it is counted: whoever comes next sees either.
            if let Some(reservation) = refused.reservation.take() {
                reservation.give_back();
            }
            amounts
        }
        _ => return,
    };
    tell(server, link, amounts).await;
}

/// A login under this name was good, and whose it was.
pub(super) async fn note_accepted<L: Link>(
    server: &ServerState,
    link: &mut L,
    source: &Source,
    (user, principal): (&str, &str),
) {
    let amounts = server.guard.accepted(source, user, principal);
    tell(server, link, amounts).await;
}

async fn ask<L: Link>(server: &ServerState, link: &mut L, keys: &[PenaltyKey]) -> Others {
    let Some(store) = server.guard.store().filter(|_| !keys.is_empty()) else { return Others::None };
    let patience = link.now().after(server.workers.patience());
    // Nothing of the store's runs before the first poll: there a panic is caught.
    let answer = within(link, patience, Caught::new(Box::pin(async { store.read(keys).await }))).await.flatten();
    match answer {
        Some(Ok(standings)) if standings.len() == keys.len() => Others::Counted(standings),
        _ => {
            server.guard.note_store_away();
            Others::Away
        }
    }
}

/// Tells others of these, and of what was counted where nobody could be told.
async fn tell<L: Link>(server: &ServerState, link: &mut L, mut amounts: Amounts) {
    let Some(store) = server.guard.store() else { return };
    let (in_vain, guesses) = server.guard.take_untold();
    amounts.extend(in_vain);
    amounts.extend(guesses.iter().cloned());
    if amounts.is_empty() {
        return;
    }
    let patience = link.now().after(server.workers.patience());
    let told = within(link, patience, Caught::new(Box::pin(async { store.add(&amounts).await }))).await.flatten();
    if !matches!(told, Some(Ok(()))) {
        server.guard.tell_guess_later(guesses);
        server.guard.note_store_away();
    }
}
