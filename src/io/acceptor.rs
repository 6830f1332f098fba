//! Accepting logins over connections, within bounds.

use super::bounds::Bounds;
use super::error::LoginError;
use super::events::{Event, Reports, Totals};
use super::keys::{KeysInUse, ServerKeys};
use super::link::Link;
use super::penalties::{Guard, Penalties};
use super::permits::Permits;
use super::places::{Counts, Place, Places};
use super::puzzles::{PuzzleControl, Puzzles};
use super::queue::Origin;
use super::recheck::Recheck;
use super::refusals::Refusals;
use super::script::{self, Decided};
use super::sessions::Sessions;
use super::stream::Stream;
use super::turns::WorkBounds;
use super::workers::Workers;
use crate::handshake::server::ServerConfig;
use crate::terms::context::{Context, Source};
use crate::terms::error::Reason;
use crate::terms::puzzle::PuzzleDifficulty;
use crate::terms::verifier::{AsyncVerifier, DynVerifier, Pool, Verifier};
use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Accepts logins: everything from the connection to a named peer on an encrypted stream, within [`Bounds`], and with
/// [`Penalties`] for guessing.
///
/// Cheap to clone; a clone shares everything, the bounds among it. Over tokio's streams `accept` (feature `tokio`) is the one
/// call, over blocking ones [`Acceptor::accept_blocking`], over anything else [`Acceptor::accept_over`]; one acceptor may serve all
/// of them.
///
/// A refused login ends at once for the caller; its peer is told when that is due, no earlier than the refusal floor, and no
/// thread or task of the caller's waits for that. RSA operations and blocking verifiers run on threads of the acceptor's own,
/// as many at once as [`Bounds::with_working`] says. Remote keys and async verifiers are asked where the login's future is
/// polled, about as many logins at once as [`Bounds::with_remote`] says.
#[derive(Clone)]
pub struct Acceptor(pub(super) Arc<ServerState>);

/// What all logins to one server share.
#[derive(Clone)]
pub(super) struct ServerState {
    pub(super) config: Arc<ServerConfig>,
    pub(super) keys: KeysInUse,
    pub(super) verifier: AnyVerifier,
    pub(super) places: Places,
    pub(super) workers: Workers,
    pub(super) permits: Permits,
    pub(super) refusals: Refusals,
    pub(super) reports: Reports,
    pub(super) sessions: Sessions,
    pub(super) guard: Guard,
    pub(super) puzzles: PuzzleControl,
    limiter: Option<Arc<Limiter>>,
}

/// Who says whether a credential is good.
#[derive(Clone)]
pub(super) enum AnyVerifier {
    Blocking(Arc<dyn Verifier>),
    Async(Arc<dyn DynVerifier>),
}

type Limiter = dyn Fn(&Context, &str) -> Result<(), Reason> + Send + Sync;

impl ServerState {
    pub(super) fn admit(&self, context: &Context, server_name: &str) -> Result<(), Reason> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        // One that panics lets nobody in, and ends neither the task of the login nor a loop that drives many.
        let admitted = catch_unwind(AssertUnwindSafe(|| limiter(context, server_name)));
        admitted.unwrap_or(Err(Reason::NotAdmitted("the limiter panicked")))
    }

    /// A login of this source was refused: its next ones wait behind those of others.
    pub(super) fn note_refused(&self, source: &Source) {
        self.workers.note_refused(source);
        self.permits.note_refused(source);
    }

    /// Whether a login of this source would wait so long that it had better come back.
    pub(super) fn is_pressed(&self, source: &Source) -> bool {
        let of = (source, self.origin(source));
        self.workers.is_pressed(of) || self.permits.is_pressed(of)
    }

    /// Whether somebody has logged in from this source.
    pub(super) fn origin(&self, source: &Source) -> Origin {
        if self.guard.is_known(source) { Origin::Known } else { Origin::New }
    }

    /// How hard a puzzle a hello of this source has to solve first; `None` where it need not. Whoever has logged in from there before is
    /// spared, as long as nothing from there was refused lately.
    pub(super) fn puzzle_for(&self, source: &Source) -> Option<PuzzleDifficulty> {
        let difficulty = self.puzzles.look(|| self.workers.wait().max(self.permits.wait()))?;
        let is_spared = self.guard.is_known(source) && !self.workers.was_refused(source);
        (!is_spared).then_some(difficulty)
    }

    pub(super) fn enter(&self, context: &Context) -> Result<Place, LoginError> {
        let of = (context.source(), self.origin(context.source()));
        self.places.enter(of).map_err(|busy| self.lost(context, busy.into()))
    }

    /// A connection came to an end before its handshake began: it is told of, too.
    pub(super) fn lost(&self, context: &Context, error: LoginError) -> LoginError {
        self.reports.failed(context, &error);
        error
    }
}

/// The acceptor's threads, for what a login's verifier computes: in the order in which logins have their turns.
impl Pool for ServerState {
    fn submit(&self, source: &Source, work: Box<dyn FnOnce() + Send>) -> bool {
        self.workers.submit((source, self.origin(source)), work)
    }
}

impl Acceptor {
    /// Accepts logins under `keys`, one [`ServerKey`](crate::ServerKey) or several by name and over time, and asks `verifier` about them on one of the
    /// acceptor's threads, within [`Bounds::default`] and with [`Penalties::default`].
    pub fn new(config: ServerConfig, keys: impl Into<ServerKeys>, verifier: impl Verifier + 'static) -> Self {
        Self::with_verifier(config, keys.into(), AnyVerifier::Blocking(Arc::new(verifier)))
    }

    /// As [`Acceptor::new`], with a verifier that may have to wait, as one over a store of accounts may. It says nothing of the caller: logins over
    /// blocking streams drive the verifier, too, and need no runtime for that.
    pub fn new_async(
        config: ServerConfig,
        keys: impl Into<ServerKeys>,
        verifier: impl AsyncVerifier + 'static,
    ) -> Self {
        Self::with_verifier(config, keys.into(), AnyVerifier::Async(Arc::new(verifier)))
    }

    fn with_verifier(config: ServerConfig, keys: ServerKeys, verifier: AnyVerifier) -> Self {
        let (places, workers, permits) = within(Bounds::default());
        let reports = Reports::default();
        Self(Arc::new(ServerState {
            config: Arc::new(config),
            keys: KeysInUse::new(keys),
            sessions: Sessions::new(Recheck::default(), Bounds::default().rechecks, verifier.clone()),
            verifier,
            places,
            workers,
            permits,
            refusals: Refusals::default(),
            guard: Guard::new(Some(Penalties::default()), reports.tags()),
            puzzles: PuzzleControl::new(None),
            reports,
            limiter: None,
        }))
    }

    /// Sets bounds of your own, with nothing counted yet: before the first login. A clone that was made before keeps the old ones. While it
    /// serves, [`Acceptor::set_bounds`] changes them.
    #[must_use]
    pub fn with_bounds(self, bounds: Bounds) -> Self {
        let (places, workers, permits) = within(bounds);
        let sessions = self.0.sessions.anew_with_at_once(bounds.rechecks);
        Self(Arc::new(ServerState { places, workers, permits, sessions, ..ServerState::clone(&self.0) }))
    }

    /// Sets what guessing costs, with counts that begin anew. A clone that was made before keeps the old ones.
    #[must_use]
    pub fn with_penalties(self, penalties: Penalties) -> Self {
        self.with_guard(Some(penalties))
    }

    /// Lets everybody guess as fast as the [`Bounds`] allow: where passwords can't be guessed, or where something else counts.
    #[must_use]
    pub fn without_penalties(self) -> Self {
        self.with_guard(None)
    }

    fn with_guard(self, penalties: Option<Penalties>) -> Self {
        let guard = Guard::new(penalties, self.0.reports.tags());
        Self(Arc::new(ServerState { guard, ..ServerState::clone(&self.0) }))
    }

    /// Has clients solve puzzles while there is more to compute than can be: a stranger pays for a login first, then the server. The
    /// default is without. A clone that was made before goes on without them.
    #[must_use]
    pub fn with_puzzles(self, puzzles: Puzzles) -> Self {
        Self(Arc::new(ServerState { puzzles: PuzzleControl::new(Some(puzzles)), ..ServerState::clone(&self.0) }))
    }

    /// Asks `limiter` about whoever has sent a ClientHello, before anything costly is done with it: it is told the
    /// connection and the server name that the client asked for (empty if it named none). An error turns the client away, which is
    /// told that the server is busy. Bounds by source and penalties are there without it; this is for rates, lists and hours of your own.
    /// It must not block.
    #[must_use]
    pub fn with_limiter(self, limiter: impl Fn(&Context, &str) -> Result<(), Reason> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ServerState { limiter: Some(Arc::new(limiter)), ..ServerState::clone(&self.0) }))
    }

    /// Tells `observer` of every decision: for logs and metrics. It is called where the decision falls (on the thread, or in the
    /// task, of the login, and where a stream is dropped), with no lock held; it must not block. A panic in it is caught. A second
    /// observer takes the first one's place.
    ///
    /// ```
    /// # fn observe(acceptor: countersign::Acceptor) -> countersign::Acceptor {
    /// acceptor.with_observer(|event| eprintln!("{event}")) // event=login-accepted user="alice" peer=192.0.2.1:40000 ...
    /// # }
    /// ```
    #[must_use]
    pub fn with_observer(self, observer: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        let mut state = ServerState::clone(&self.0);
        state.reports.set_observer(Arc::new(observer));
        Self(Arc::new(state))
    }

    /// Names users in events and errors also where the verifier has not said that it knows them. Among such names there are
    /// passwords that somebody has typed in the wrong place: treat the log as secret then.
    #[must_use]
    pub fn with_unknown_names(self) -> Self {
        let mut state = ServerState::clone(&self.0);
        state.reports.names_unknown = true;
        Self(Arc::new(state))
    }

    /// Sets when open sessions are looked at again, and what comes of it. A clone that was made before keeps the old way for its
    /// sessions.
    #[must_use]
    pub fn with_recheck(self, recheck: Recheck) -> Self {
        let sessions = self.0.sessions.anew_with_recheck(recheck);
        Self(Arc::new(ServerState { sessions, ..ServerState::clone(&self.0) }))
    }

    /// Looks at the open sessions of a principal now: for applications that are told of changes. It does not wait for what comes of it; a login of
    /// these moments is looked at again, too.
    pub fn recheck(&self, principal: &str) {
        self.0.sessions.recheck(Some(principal));
    }

    /// As [`Acceptor::recheck`], at all sessions.
    pub fn recheck_all(&self) {
        self.0.sessions.recheck(None);
    }

    /// Ends the open sessions of a principal, whatever the verifier says, and gives how many there were. It locks nobody out: have the verifier
    /// refuse the principal first.
    pub fn revoke(&self, principal: &str) -> usize {
        self.0.sessions.revoke(Some(principal))
    }

    /// As [`Acceptor::revoke`], all sessions: of a server that ends, say, once [`Acceptor::stop`] lets nobody in any more.
    pub fn revoke_all(&self) -> usize {
        self.0.sessions.revoke(None)
    }

    /// The keys of the logins from now on. Logins that have got their answer by then go on under the key of that; sessions do not
    /// notice, and tickets stay good that are from a key that is among these, too. All clones of this acceptor share the keys.
    ///
    /// A key that may be stolen is to be left out of `keys`: it answers nobody then, and no ticket from it is taken.
    pub fn set_keys(&self, keys: impl Into<ServerKeys>) {
        self.0.keys.set(keys.into());
    }

    /// Other bounds from now on, for this acceptor and all its clones. Nobody loses a place by it: handshakes and sessions
    /// that are there stay counted, and where there are more of them than may be now, no more come until some have gone.
    pub fn set_bounds(&self, bounds: Bounds) {
        let (here, elsewhere) = work_bounds(bounds);
        self.0.places.set_bounds(bounds);
        self.0.workers.set_bounds(here);
        self.0.permits.set_bounds(elsewhere);
        self.0.sessions.set_at_once(bounds.rechecks);
    }

    /// Other penalties from now on, or none, for this acceptor and all its clones: all of them, a store and an observer among them. What is counted
    /// stays, so an exemption that is new lets in who had to wait, and one that is gone begins with no failures; those of blocks of another size begin
    /// anew. Without penalties nothing is counted.
    pub fn set_penalties(&self, penalties: Option<Penalties>) {
        self.0.guard.set(penalties);
    }

    /// Another way to look at open sessions from now on, for this acceptor and all its clones: those that are open among them.
    pub fn set_recheck(&self, recheck: Recheck) {
        self.0.sessions.set_recheck(recheck);
    }

    /// Other puzzles from now on, or none, for this acceptor and all its clones. Those that were asked for by then stay as they are.
    pub fn set_puzzles(&self, puzzles: Option<Puzzles>) {
        self.0.puzzles.set(puzzles);
    }

    /// The keys of the logins that come now.
    pub fn keys(&self) -> Arc<ServerKeys> {
        self.0.keys.now()
    }

    /// How many hold places now, how many had to make way or to wait, and how many sessions were ended.
    pub fn counts(&self) -> Counts {
        let (revoked, unconfirmed) = self.0.sessions.counts();
        let (turned_away, unchecked, store_away) = self.0.guard.counts();
        let waiting = self.0.workers.waiting().saturating_add(self.0.permits.waiting());
        let counts =
            Counts { waiting, revoked, unconfirmed, turned_away, unchecked, store_away, ..self.0.places.counts() };
        self.0.puzzles.count(counts)
    }

    /// What was decided since the beginning, by event and code. All clones of this acceptor count together.
    pub fn totals(&self) -> Totals {
        self.0.reports.totals()
    }

    /// Lets nobody in any more, and ends the handshakes that wait for their peers. Sessions go on; logins that have arrived
    /// are answered.
    pub fn stop(&self) {
        self.0.places.stop();
    }

    /// Accepts a login over any [`Link`]. The future ends when the session begins; where the login is refused, it ends once
    /// the peer was told so and has hung up.
    ///
    /// Dropping the future ends the handshake. Once the credential is being looked at that counts as a failure ([`Penalties`]), as whoever
    /// gets away in time would guess for nothing: bound what a login may take by [`ServerConfig::with_handshake_timeout`] and a timeout of
    /// the store's own, not by one around this future.
    ///
    /// # Errors
    /// [`LoginError`]; [`LoginError::LoginRefused`] has the reason for the audit log.
    pub async fn accept_over<L: Link>(
        &self,
        mut link: L,
        context: impl Into<Context>,
    ) -> Result<Stream<L::Stream>, LoginError> {
        let context = Arc::new(context.into());
        let place = self.0.enter(&context)?;
        match script::accept(&self.0, &mut link, context, place).await? {
            Decided::Accepted(started, record) => Ok(Stream::of_server(link, *started, record)?),
            Decided::Refused(refused, place) => {
                let (waiting, error) = refused.part();
                script::refuse(link, waiting, place).await;
                Err(error)
            }
        }
    }
}

fn within(bounds: Bounds) -> (Places, Workers, Permits) {
    let (here, elsewhere) = work_bounds(bounds);
    (Places::new(bounds), Workers::new(here), Permits::new(elsewhere))
}

/// For the threads, and for whoever is asked elsewhere.
fn work_bounds(Bounds { working, remote, waiting, patience, .. }: Bounds) -> (WorkBounds, WorkBounds) {
    let at_once = |at_once| WorkBounds { at_once, waiting, patience };
    (at_once(working), at_once(remote))
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("keys", &self.keys()).field("counts", &self.counts()).finish_non_exhaustive()
    }
}
