//! The client's side.

use super::super::connector::{Answerer, ClientState};
use super::super::error::LoginError;
use super::super::link::{Link, receive, send};
use super::{rng, unix_now, within};
use crate::crypto::{CryptoError, PublicKey, SignError};
use crate::handshake::client::{self, Answer, AwaitAnswer, AwaitChallenge, AwaitVerdict, FactorWanted, Verdict};
use crate::session::Session;
use crate::terms::credential::Credential;
use crate::terms::error::Error;
use crate::terms::puzzle::{Puzzle, PuzzleSolution};
use crate::terms::stretch::{StretchError, StretchedPassword, Stretching};
use crate::terms::ticket::TrustedTicket;
use crate::terms::trust::Server;
use crate::time::Moment;
use crate::wire::frame::FrameType;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use futures_channel::oneshot;
use zeroize::Zeroizing;

/// A client's state after its hello.
enum Awaiting {
    Answer(AwaitAnswer),
    Challenge(AwaitChallenge),
}

/// How a login goes on after the server's first answer.
#[allow(clippy::large_enum_variant, reason = "moved once, on the stack")]
pub(in crate::io) enum Begun {
    Resumed(Session),
    Trusted(client::Trusted),
    /// The server has this key, which is trusted, and did not prove that it holds it: asked again it may.
    Unproved(PublicKey),
}

/// From the hello to where the credential is due: with the ticket, if there is one that may be shown.
pub(in crate::io) async fn begin<L: Link>(
    link: &mut L,
    client: &ClientState,
    server: &Server,
    ticket: Option<TrustedTicket>,
) -> Result<Begun, LoginError> {
    let (config, binding) = (&client.config, client.context.binding());
    let (hello, state, expects, deadline) = {
        let (mut rng, now) = (rng()?, link.now());
        match ticket {
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
    let mut frame = receive(link, expects).await?;
    let puzzle = match &state {
        Awaiting::Answer(state) => state.puzzle(&frame),
        Awaiting::Challenge(state) => state.puzzle(&frame),
    };
    let state = match puzzle {
        None => state,
        Some(puzzle) => {
            let solution = Box::pin(solve(link, deadline, puzzle)).await?;
            let (solved, state) = match state {
                Awaiting::Answer(state) => {
                    let (solved, state) = state.solved(&solution)?;
                    (solved, Awaiting::Answer(state))
                }
                Awaiting::Challenge(state) => {
                    let (solved, state) = state.solved(&solution)?;
                    (solved, Awaiting::Challenge(state))
                }
            };
            send(link, &solved).await?;
            frame = receive(link, expects).await?;
            state
        }
    };
    let answer = match state {
        Awaiting::Answer(state) => state.read(&frame, link.now(), unix_now())?,
        Awaiting::Challenge(state) => Answer::Challenge(state.read(&frame, link.now())?),
    };
    match answer {
        Answer::Resumed(resumed) => {
            send(link, &resumed.frame).await?;
            Ok(Begun::Resumed(resumed.session))
        }
        Answer::Challenge(challenge) => {
            let key = challenge.key().clone();
            let question = challenge.question(server, unix_now(), &client.context);
            let decided = within(link, deadline, Box::pin(server.decide(&question))).await;
            match decided.ok_or(Error::DeadlinePassed)?.and_then(|approved| challenge.approve(approved)) {
                Ok(trusted) => Ok(Begun::Trusted(trusted)),
                Err(Error::NoProof(_)) => Ok(Begun::Unproved(key)),
                Err(error) => Err(error.into()),
            }
        }
    }
}

/// From the credential to the verdict, with the further factors that the server asks for.
pub(in crate::io) async fn login<L: Link>(
    link: &mut L,
    trusted: client::Trusted,
    credential: Credential<'_>,
    answerer: Option<&Answerer>,
) -> Result<Session, LoginError> {
    let (mut frame, mut state) = match credential {
        Credential::Key { user, key } if key.is_remote() => {
            let signing = trusted.sign(user, key.public_key(), &mut rng()?)?;
            let signed = key.sign_remotely(signing.message().to_vec()).ok_or(Error::Sign(SignError::NotHere))?;
            let signed = Box::pin(within(link, signing.deadline(), signed)).await;
            let signature = signed.unwrap_or(Err(SignError::TimedOut));
            signing.answer(&signature.map_err(Error::Sign)?)?
        }
        Credential::Password { user, password } => match trusted.stretching()? {
            Some(stretching) => {
                // A name or a password that can't be sent shows before it costs anything.
                credential.check().map_err(Error::from)?;
                let stretched = stretch(link, trusted.deadline(), stretching, user, password).await?;
                trusted.login(Credential::Stretched { user, password: &stretched }, &mut rng()?)?
            }
            None => trusted.login(credential, &mut rng()?)?,
        },
        credential => trusted.login(credential, &mut rng()?)?,
    };
    loop {
        link.set_deadline(state.deadline());
        send(link, &frame).await?;
        let verdict = receive(link, AwaitVerdict::EXPECTS).await?;
        let wanted = match state.read_step(&verdict, link.now(), unix_now())? {
            Verdict::Accepted(session) => return Ok(session),
            Verdict::Factor(wanted) => wanted,
        };
        let answer = Box::pin(answer(link, answerer, &wanted)).await?;
        (frame, state) = wanted.answer(&answer, link.now())?;
    }
}

/// Solves a puzzle on a thread of its own, which ends when nobody waits for it any more: also where the login's future is dropped. A
/// server that hangs up meanwhile is noticed, where the link can tell.
async fn solve<L: Link>(link: &mut L, deadline: Moment, puzzle: Puzzle) -> Result<PuzzleSolution, LoginError> {
    let (answer, mut answered) = oneshot::channel();
    let work = move || {
        if let Some(solution) = puzzle.solve(|| !answer.is_canceled()) {
            // Whoever asked may be gone by now.
            let _ = answer.send(solution);
        }
    };
    let spawned = std::thread::Builder::new().name("puzzle".to_owned()).spawn(work);
    spawned.map_err(LoginError::Io)?;
    poll_fn(|task| {
        if let Poll::Ready(solution) = Pin::new(&mut answered).poll(task) {
            return Poll::Ready(solution.map_err(|_| Error::Crypto(CryptoError::Failed).into()));
        }
        if link.poll_wait(task, deadline).is_ready() {
            return Poll::Ready(Err(Error::DeadlinePassed.into()));
        }
        link.poll_gone(task).map(|()| Err(LoginError::Disconnected { awaited: FrameType::ServerHello }))
    })
    .await
}

/// Stretches a password on a thread of its own: whoever else shares this one would wait for it.
async fn stretch<L: Link>(
    link: &mut L,
    deadline: Moment,
    stretching: Stretching,
    user: &str,
    password: &[u8],
) -> Result<StretchedPassword, LoginError> {
    let (answer, answered) = oneshot::channel();
    let (user, password) = (user.to_owned(), Zeroizing::new(password.to_vec()));
    // Whoever asked may be gone when it is done.
    let work = move || drop(answer.send(stretching.stretch(&user, &password)));
    let spawned = std::thread::Builder::new().name("stretch".to_owned()).spawn(work);
    spawned.map_err(|_| Error::from(StretchError::NoMemory))?;
    let stretched = within(link, deadline, answered).await.ok_or(Error::DeadlinePassed)?;
    // Without an answer it has panicked.
    Ok(stretched.map_err(|_| Error::Crypto(CryptoError::Failed))?.map_err(Error::from)?)
}

/// Asks for a further factor whoever can answer. A server that hangs up meanwhile is noticed, where the link can tell.
async fn answer<L: Link>(
    link: &mut L,
    answerer: Option<&Answerer>,
    wanted: &FactorWanted,
) -> Result<Zeroizing<Vec<u8>>, LoginError> {
    let mut asking = answerer.map(|answerer| answerer(wanted.prompt()));
    let answer = poll_fn(|task| {
        match asking.as_mut().map(|asking| asking.as_mut().poll(task)) {
            Some(Poll::Pending) => {}
            Some(Poll::Ready(answer)) => return Poll::Ready(Ok(answer.map(Zeroizing::new))),
            None => return Poll::Ready(Ok(None)),
        }
        if link.poll_wait(task, wanted.deadline()).is_ready() {
            return Poll::Ready(Err(Error::DeadlinePassed.into()));
        }
        link.poll_gone(task).map(|()| Err(LoginError::Disconnected { awaited: FrameType::ServerVerdict }))
    });
    Ok(answer.await?.ok_or_else(|| Error::FactorWanted(wanted.prompt().clone()))?)
}
