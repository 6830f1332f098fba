//! The running server: connections in, logins by the library's acceptor, sessions to the service.

use super::health::Health;
use super::log::{Entry, Log};
use super::metrics::{Metrics, Sources};
use super::number;
use super::paced::Paced;
use super::proxy::{self, Block, HeaderError};
use super::service::{End, Service};
use super::sharing::Watched;
use super::tickets::Watch;
use super::visit::{Connection, Ends, Visit};
use crate::dial;
use crate::relay::Stop;
use countersign::events::{Decision, Field};
use countersign::frame::FrameType;
use countersign::{Acceptor, Counts, Event, LoginError, Stream};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{interval, sleep, timeout};

/// How long a server that was told to stop waits for its sessions' goodbyes, once it has told them.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_millis(800);

/// How long to leave the system alone that could not give a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often it is looked whether operators should be told of something.
const LOOK: Duration = Duration::from_secs(1);

/// A server that does not run yet.
pub(crate) struct Server {
    shared: Arc<Shared>,
    tickets: Option<Watch>,
    redis: Option<Watched>,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) acceptor: Acceptor,
    pub(super) log: Arc<Log>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
    /// What may change while it runs.
    live: RwLock<Arc<Live>>,
    /// Connections whose balancer has not said whose they are.
    unnamed: AtomicUsize,
    pub(super) handshake_timeout: Duration,
    stopping: watch::Sender<bool>,
}

/// What new connections and sessions are served with.
pub(crate) struct Live {
    pub(crate) service: Arc<Service>,
    /// Who may name another as its peer.
    pub(crate) balancers: Vec<Block>,
    /// How many connections may wait for what their balancer says.
    pub(crate) unnamed: usize,
    /// How long sessions may go on once it is told to stop.
    pub(crate) drain: Duration,
}

/// A connection whose balancer has not said whose it is.
struct Unnamed<'a>(&'a AtomicUsize);

impl<'a> Unnamed<'a> {
    /// One more, if there are fewer than so many.
    fn take(count: &'a AtomicUsize, most: usize) -> Option<Self> {
        let one_more = |count: usize| (count < most).then_some(count.saturating_add(1));
        count.fetch_update(Relaxed, Relaxed, one_more).ok()?;
        Some(Self(count))
    }
}

impl Drop for Unnamed<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Server {
    pub(super) fn new(
        acceptor: Acceptor,
        tickets: Option<Watch>,
        live: Live,
        handshake_timeout: Duration,
        (log, health): (Arc<Log>, Arc<Health>),
    ) -> Self {
        let metrics = Arc::new(Metrics::default());
        let (told, counted) = (Arc::clone(&log), Arc::clone(&metrics));
        let acceptor = acceptor.with_observer(move |event| {
            counted.note(event);
            tell(&told, event);
        });
        let shared = Arc::new(Shared {
            acceptor,
            log,
            metrics,
            health,
            live: RwLock::new(Arc::new(live)),
            unnamed: AtomicUsize::new(0),
            handshake_timeout,
            stopping: watch::Sender::new(false),
        });
        Self { shared, tickets, redis: None }
    }

    /// Tells those who watch it of this Redis, too.
    pub(super) fn with_redis(mut self, redis: Option<Watched>) -> Self {
        self.redis = redis;
        self
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    pub(super) fn redis(&self) -> Option<Watched> {
        self.redis.clone()
    }

    /// What those who watch it are told.
    pub(super) fn sources(&self) -> Sources {
        let Shared { acceptor, log, metrics, health, .. } = &*self.shared;
        Sources {
            metrics: Arc::clone(metrics),
            acceptor: acceptor.clone(),
            tickets: self.tickets.as_ref().map(Watch::keys),
            redis: self.redis.clone(),
            log: Arc::clone(log),
            health: Arc::clone(health),
        }
    }

    /// Accepts connections until `stop`, then lets its sessions go on for as long as they may, tells them to end, waits for their
    /// goodbyes, and logs the counts. Ends at once at `hurry`.
    pub(crate) async fn run(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) {
        let Self { shared, mut tickets, .. } = self;
        let mut looks = interval(LOOK);
        let (mut forgotten, mut unconfirmed) = (Paced::default(), Paced::default());
        // Every connection holds one end of it.
        let (open, mut all_gone) = mpsc::channel::<()>(1);
        let (mut stop, mut hurry) = (pin!(stop), pin!(hurry));
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                _ = looks.tick() => {
                    forgotten.tell(|| tickets.as_mut().is_some_and(Watch::look));
                    unconfirmed.tell(|| shared.note_unconfirmed());
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (shared, open) = (Arc::clone(&shared), open.clone());
                    tokio::spawn(async move {
                        shared.attend(stream, peer).await;
                        drop(open);
                    });
                }
                // The peer is gone already; nothing of ours is short.
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {
                }
                Err(error) => {
                    shared.log.write_stranger(Entry::new("accept-failed").text("reason", &error.to_string()));
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Before anybody is turned away: whoever asks sends its clients elsewhere.
        shared.health.stopping.store(true, Relaxed);
        drop((listener, open));
        shared.acceptor.stop();
        let drain = shared.live().drain;
        let mut is_hurried = false;
        if !drain.is_zero() {
            let sessions = number(shared.acceptor.counts().sessions);
            let entry = Entry::new("draining").count("sessions", sessions);
            shared.log.write(entry.field("for", crate::term::time(drain).replace(' ', "")));
            is_hurried = tokio::select! {
                _ = timeout(drain, all_gone.recv()) => false,
                () = &mut hurry => true,
            };
        }
        shared.stopping.send_replace(true);
        if !is_hurried {
            tokio::select! {
                _ = timeout(STOP_TIMEOUT, all_gone.recv()) => {}
                () = &mut hurry => {}
            }
        }
        tickets.as_mut().map(Watch::look);
        let (totals, counts) = (shared.acceptor.totals(), shared.acceptor.counts());
        shared.log.finish(stopped(|event| totals.of(event), &counts, shared.metrics.proxy_failures()));
    }
}

/// The last line: how often there was each event, what else was counted, and connections whose balancer had not said whose they were.
fn stopped(of: impl Fn(&str) -> u64, counts: &Counts, unnamed: u64) -> Entry {
    let failed = of("handshake-failed").saturating_add(of("turned-away"));
    Entry::new("stopped")
        .count("accepted", of("login-accepted").saturating_add(of("login-resumed")))
        .count("refused", of("login-refused"))
        .count("failed", failed.saturating_add(unnamed))
        .count("sessions_cut", number(counts.sessions))
        .count("revoked", counts.revoked)
        .count("turned_away", counts.turned_away)
        .count("unchecked", counts.unchecked)
        .count("pushed_out", counts.made_way)
        .count("puzzles_asked", counts.puzzles_asked)
        .count("puzzles_solved", counts.puzzles_solved)
}

/// Logs what the library has decided. How a session ended is told where it is known what it was for: in [`Shared::serve`].
fn tell(log: &Log, event: &Event<'_>) {
    let connection = event.context.value::<Arc<Connection>>();
    match event.decision {
        Decision::Ended(ended) => {
            if let Some(connection) = connection {
                let _ = connection.traffic.set((ended.received, ended.sent));
            }
            return;
        }
        // A balancer has looked whether anybody is there; many take their leave by a reset.
        Decision::Failed(LoginError::Disconnected { awaited: FrameType::ClientHello } | LoginError::Io(_))
            if event.key_id.is_none() && connection.is_some_and(|connection| connection.ends.is_check) =>
        {
            return;
        }
        _ => {}
    }
    let mut entry = Entry::new(event.name());
    let via = connection.and_then(|connection| connection.ends.via);
    event.fields(|name, field| {
        entry.add(name, field);
        if let ("peer", Some(via)) = (name, via) {
            entry.add("via", Field::Word(&via));
        }
    });
    // Whoever floods the server with what costs nothing spends nothing.
    if event.is_cheap() { log.write_stranger(entry) } else { log.write(entry) }
}

impl Shared {
    fn stop(&self) -> Stop {
        Stop::new(self.stopping.subscribe())
    }

    pub(super) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What comes from now on is served with this.
    pub(super) fn set_live(&self, live: Live) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
    }

    /// Serves a connection to its end.
    async fn attend(&self, mut stream: TcpStream, peer: SocketAddr) {
        dial::prepare(&stream);
        let Ok(local) = stream.local_addr() else { return };
        let direct = Ends::of(peer, local);
        let ends = match self.ends(&mut stream, direct).await {
            Ok(ends) => ends,
            Err((code, reason)) => return self.failed(&direct, code, &reason),
        };
        let connection = Connection::new(ends);
        // What becomes of it otherwise, the acceptor's observer has been told.
        if let Ok(session) = self.acceptor.accept(stream, connection.context()).await {
            // Not a part of the many handshakes' own futures.
            Box::pin(self.serve(session, &connection)).await;
        }
    }

    /// Logs a line while nobody can tell whether those who are here are still welcome.
    fn note_unconfirmed(&self) -> bool {
        let sessions = self.acceptor.counts().unconfirmed;
        let is_it = sessions > 0;
        if is_it {
            let entry = Entry::new("sessions-unconfirmed").count("sessions", number(sessions));
            self.log.write(entry.text("note", "they end after --recheck-grace"));
        }
        is_it
    }

    /// Both ends of a connection, as its balancer tells them if there is one.
    async fn ends(&self, stream: &mut TcpStream, direct: Ends) -> Result<Ends, (&'static str, String)> {
        let live = self.live();
        if !live.balancers.iter().any(|block| block.contains(direct.peer.ip())) {
            return Ok(direct);
        }
        let told = |error: &HeaderError| (error.code(), error.to_string());
        let Some(_one) = Unnamed::take(&self.unnamed, live.unnamed) else {
            return Err(told(&HeaderError::BusyReason));
        };
        let read = tokio::select! {
            read = timeout(self.handshake_timeout, proxy::read(stream, direct)) => read,
            () = async { self.stop().stopped().await } => return Err(("stopping", "the server is stopping".to_owned())),
        };
        read.unwrap_or(Err(HeaderError::Late)).map_err(|error| told(&error))
    }

    /// A balancer has not said whose a connection is.
    fn failed(&self, ends: &Ends, code: &'static str, reason: &str) {
        self.metrics.note_proxy(code);
        let entry = ends.log(Entry::new("handshake-failed")).field("code", code).text("reason", reason);
        self.log.write_stranger(entry);
    }

    /// Serves a session from its login to its end.
    async fn serve(&self, stream: Stream<TcpStream>, connection: &Connection) {
        let (start, stop, live) = (Instant::now(), self.stop(), self.live());
        let visit = Visit::new(&stream, connection.ends);
        let End { reason, code } = live.service.run(stream, &visit, &stop).await;
        let entry =
            visit.ends.log(Entry::new("session-ended").text("user", &visit.user)).field("session", visit.session);
        let entry = entry.count("seconds", start.elapsed().as_secs());
        let entry = match connection.traffic.get() {
            Some((received, sent)) => entry.count("received", *received).count("sent", *sent),
            None => entry,
        };
        self.log.write(entry.field("code", code).text("reason", &reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::LogFormat;

    #[test]
    fn each_number_of_the_last_line_stands_under_its_own_name() {
        let of = |event: &str| match event {
            "login-accepted" => 1,
            "login-resumed" => 2,
            "login-refused" => 4,
            "handshake-failed" => 8,
            "turned-away" => 16,
            _ => 0,
        };
        let mut counts = Counts::default();
        (counts.sessions, counts.revoked, counts.turned_away, counts.unchecked) = (32, 33, 34, 35);
        (counts.made_way, counts.puzzles_asked, counts.puzzles_solved) = (36, 37, 38);
        let line = stopped(of, &counts, 64).line(LogFormat::Logfmt);
        let expected = " event=stopped accepted=3 refused=4 failed=88 sessions_cut=32 revoked=33 turned_away=34 unchecked=35 \
                        pushed_out=36 puzzles_asked=37 puzzles_solved=38";
        assert!(line.ends_with(expected), "{line}");
        let page = include_str!("../../../docs/operating.md");
        let row = page.lines().find(|line| line.starts_with("| `draining`, `stopped` |")).unwrap_or_default();
        for (name, _) in
            expected.split(' ').filter_map(|field| field.split_once('=')).filter(|(name, _)| *name != "event")
        {
            assert!(row.contains(&format!("`{name}`")), "{name} is not in {row}");
        }
    }
}
