//! Who has to wait for what failed before, by what this server has counted, and others.

use super::super::acceptor::ServerState;
use super::super::drive::Caught;
use super::super::error::LoginError;
use super::super::link::Link;
use super::super::penalties::{Amounts, Guard, Guess, Others, PenaltyKey, Shut};
use super::turn::within;
use super::{RefusedLogin, Visit};
use crate::handshake::server::Claim;
use crate::terms::context::Source;
use crate::terms::error::{Error, Penalty, Reason};
use crate::wire::frame::FrameType;

/// Whether a hello is taken.
pub(super) async fn greet<L: Link>(server: &ServerState, link: &mut L, source: &Source) -> Result<(), Shut> {
    let others = ask(server, link, &server.guard.of_hello(source)).await;
    server.guard.greet(source, &others)
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

/// Whether a claim's credential is looked at. What can't be guessed always is.
pub(super) fn check(guard: &Guard, source: &Source, claim: &Claim, others: &Others) -> Result<(), Reason> {
    let credential = claim.credential();
    if !credential.kind().can_be_guessed() {
        return Ok(());
    }
    guard.check(source, credential.user().unwrap_or_default(), others).map_err(|shut| shut.reason)
}

/// A handshake ended before there was a login.
pub(super) async fn note_end<L: Link>(server: &ServerState, link: &mut L, visit: &Visit, error: &LoginError) {
    let is_in_vain = match error {
        LoginError::Protocol(
            Error::Frame(_) | Error::Decode(_) | Error::Violation(_) | Error::DeadlinePassed | Error::NotConfirmed,
        ) => true,
        LoginError::Disconnected { awaited } => *awaited == FrameType::ClientLogin,
        _ => false,
    };
    if is_in_vain {
        let amounts = server.guard.in_vain(visit.place.source());
        tell(server, link, &amounts).await;
    }
}

/// A login was refused.
pub(super) async fn note_refused<L: Link>(server: &ServerState, link: &mut L, source: &Source, refused: &RefusedLogin) {
    let amounts = match &refused.refusal.reason {
        // What the source pays for already, or has a right to, it does not pay for again.
        Reason::Penalty(Penalty::Account | Penalty::Total) => server.guard.in_vain(source),
        reason if reason.is_no() => {
            let user = refused.user.as_deref().map(|user| (user, refused.guess));
            let others = match user {
                Some((user, guess)) if guess != Guess::No => {
                    ask(server, link, &server.guard.of_failure(source, user)).await
                }
                _ => Others::None,
            };
            server.guard.failed(source, user, &others)
        }
        _ => return,
    };
    tell(server, link, &amounts).await;
}

/// A login to this account was good.
pub(super) async fn note_accepted<L: Link>(server: &ServerState, link: &mut L, source: &Source, user: &str) {
    let amounts = server.guard.accepted(source, user);
    tell(server, link, &amounts).await;
}

async fn ask<L: Link>(server: &ServerState, link: &mut L, keys: &[PenaltyKey]) -> Others {
    let Some(store) = server.guard.store().filter(|_| !keys.is_empty()) else { return Others::None };
    let patience = link.now().after(server.workers.patience());
    // Nothing of the store's runs before the first poll: there a panic is caught.
    let answer = within(link, patience, Caught(Box::pin(async { store.read(keys).await }))).await.flatten();
    match answer {
        Some(Ok(standings)) if standings.len() == keys.len() => Others::Counted(standings),
        _ => {
            server.guard.note_store_away();
            Others::Away
        }
    }
}

async fn tell<L: Link>(server: &ServerState, link: &mut L, amounts: &Amounts) {
    let Some(store) = server.guard.store().filter(|_| !amounts.is_empty()) else { return };
    let patience = link.now().after(server.workers.patience());
    let told = within(link, patience, Caught(Box::pin(async { store.add(amounts).await }))).await.flatten();
    if !matches!(told, Some(Ok(()))) {
        server.guard.note_store_away();
    }
}
