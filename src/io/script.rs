//! The scripts of a login, one for each side: which frames go when, who is asked what, and how long anything may take.
//!
//! They are written once, as futures over a [`Link`]; the adapters drive them. The server's is here.

mod asked;
mod client;
mod decide;
mod factors;
mod hello;
mod penalised;
mod turn;

pub(super) use client::{Begun, begin, login};

use asked::Asked;
use hello::Greeted;
use turn::{Turn, within};

use super::acceptor::ServerState;
use super::error::{BusyReason, LoginError};
use super::events::{Record, Trace, Watch};
use super::link::{Link, VERDICT_TIMEOUT, send, send_last};
use super::penalties::{Guess, Reservation};
use super::places::{Eviction, Place, RefusalPlace, SessionPlace};
use super::queue::Progress;
use super::sessions::{self, Sessions};
use crate::crypto::{self, CryptoRng};
use crate::handshake::server::Refusal;
use crate::session::Session;
use crate::terms::context::Context;
use crate::terms::credential::CredentialKind;
use crate::terms::error::{Error, Reason};
use crate::terms::verifier::Asker;
use crate::time::{Moment, UnixTime};
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::Poll;
use std::sync::Arc;

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
    /// It is a failure already, until it is counted as one.
    pub(super) reservation: Option<Reservation>,
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
        Self { refusal, user: None, guess: Guess::No, reservation: None }
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
    let error = match unless(visit.place.cut(), pin!(hello::greet(server, link, visit))).await {
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
            let principal = started.session.info.login_grant().principal();
            penalised::note_accepted(server, link, visit.place.source(), principal).await;
            return Ok(Visited::Accepted(started));
        }
        Greeted::Refused(refusal) => {
            return Ok(refused(server, link, RefusedLogin::of_nobody(refusal), visit).await);
        }
        Greeted::Login { login, server_name } => (login, server_name),
    };
    match decide::decide(server, link, &visit, login).await? {
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
    // No failure, but its credential was computed in vain: an account that has all its sessions could have that done without end.
    let is_in_vain = matches!(refused.refusal.reason, Reason::Penalty(_) | Reason::NotAdmitted(_));
    if refused.refusal.reason.is_failure() || is_in_vain {
        server.note_refused(place.source());
    }
    penalised::note_refused(server, link, (place.source(), &trace), &mut refused).await;
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
