//! The running server: connections in, logins by the library's acceptor, sessions to the service.

use super::log::{Entry, Log};
use super::proxy::{self, Block, HeaderError};
use super::service::{End, Service};
use super::tickets::Watch;
use super::visit::{Ends, Visit};
use crate::failure::chain;
use crate::relay::Stop;
use countersign::{Acceptor, LoginError, Reason, Stream};
use socket2::{SockRef, TcpKeepalive};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{interval, sleep, timeout};

/// How long a server that was told to stop waits for its sessions' goodbyes.
const STOP_TIMEOUT: Duration = Duration::from_millis(800);

/// How long to leave the system alone that could not give a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A server that does not run yet.
pub(crate) struct Server {
    shared: Shared,
    tickets: Option<Watch>,
}

/// What all connections share.
struct Shared {
    acceptor: Acceptor,
    service: Service,
    log: Arc<Log>,
    balancers: Vec<Block>,
    /// For connections whose balancer has not said whose they are.
    unnamed: Semaphore,
    handshake_timeout: Duration,
    stopping: watch::Sender<bool>,
    accepted: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

/// Who may name another as its peer, and how long, and how many at once, that may take.
pub(crate) struct Balancers {
    pub(crate) blocks: Vec<Block>,
    pub(crate) timeout: Duration,
    pub(crate) count: usize,
}

impl Server {
    pub(super) fn new(
        acceptor: Acceptor,
        tickets: Option<Watch>,
        balancers: Balancers,
        service: Service,
        log: Arc<Log>,
    ) -> Self {
        let shared = Shared {
            acceptor,
            service,
            log,
            balancers: balancers.blocks,
            unnamed: Semaphore::new(balancers.count.min(Semaphore::MAX_PERMITS)),
            handshake_timeout: balancers.timeout,
            stopping: watch::Sender::new(false),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        Self { shared, tickets }
    }

    /// What accepts its logins.
    pub(super) fn acceptor(&self) -> Acceptor {
        self.shared.acceptor.clone()
    }

    /// Accepts connections until `stop`, then waits for the sessions' goodbyes, and logs the counts.
    pub(crate) async fn run(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let Self { shared, mut tickets } = self;
        let shared = Arc::new(shared);
        let mut minutes = interval(Watch::EVERY);
        // Every connection holds one end of it.
        let (open, mut all_gone) = mpsc::channel::<()>(1);
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                _ = minutes.tick() => {
                    tickets.iter_mut().for_each(Watch::look);
                    shared.note_unconfirmed();
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
        drop((listener, open));
        shared.acceptor.stop();
        shared.stopping.send_replace(true);
        let _ = timeout(STOP_TIMEOUT, all_gone.recv()).await;
        tickets.iter_mut().for_each(Watch::finish);
        let counts = shared.acceptor.counts();
        let entry = Entry::new("stopped")
            .field("accepted", shared.accepted.load(Ordering::Relaxed))
            .field("refused", shared.refused.load(Ordering::Relaxed))
            .field("failed", shared.failed.load(Ordering::Relaxed))
            .field("revoked", counts.revoked)
            .field("turned_away", counts.turned_away)
            .field("unchecked", counts.unchecked)
            .field("pushed_out", counts.made_way);
        shared.log.finish(entry);
    }
}

impl Shared {
    fn stop(&self) -> Stop {
        Stop::new(self.stopping.subscribe())
    }

    /// Serves a connection to its end.
    async fn attend(&self, mut stream: TcpStream, peer: SocketAddr) {
        prepare(&stream);
        let Ok(local) = stream.local_addr() else { return };
        let direct = Ends::of(peer, local);
        let ends = match self.ends(&mut stream, direct).await {
            Ok(ends) => ends,
            Err((code, reason)) => return self.failed(&direct, code, &reason),
        };
        match self.acceptor.accept(stream, ends.peer).await {
            // Not a part of the many handshakes' own futures.
            Ok(session) => Box::pin(self.serve(session, ends)).await,
            Err(LoginError::LoginRefused { user, reason }) => self.refused(&ends, user, &reason),
            Err(LoginError::Disconnected { awaited: countersign::frame::FrameType::ClientHello }) if ends.is_check => {}
            Err(error) => self.failed(&ends, error.code(), &chain(&error)),
        }
    }

    /// Once a minute, while nobody can tell whether those who are here are still welcome.
    fn note_unconfirmed(&self) {
        let sessions = self.acceptor.counts().unconfirmed;
        if sessions > 0 {
            let entry = Entry::new("sessions-unconfirmed").field("sessions", sessions);
            self.log.write(entry.text("note", "they end after --recheck-grace"));
        }
    }

    /// Both ends of a connection, as its balancer tells them if there is one.
    async fn ends(&self, stream: &mut TcpStream, direct: Ends) -> Result<Ends, (&'static str, String)> {
        if !self.balancers.iter().any(|block| block.contains(direct.peer.ip())) {
            return Ok(direct);
        }
        let told = |error: &HeaderError| (error.code(), error.to_string());
        let Ok(_permit) = self.unnamed.try_acquire() else {
            return Err(told(&HeaderError::BusyReason));
        };
        let read = tokio::select! {
            read = timeout(self.handshake_timeout, proxy::read(stream, direct)) => read,
            () = async { self.stop().stopped().await } => return Err(("stopping", "the server is stopping".to_owned())),
        };
        read.unwrap_or(Err(HeaderError::Late)).map_err(|error| told(&error))
    }

    fn failed(&self, ends: &Ends, code: &str, reason: &str) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let entry = ends.log(Entry::new("handshake-failed")).field("code", code).text("reason", reason);
        self.log.write_stranger(entry);
    }

    fn refused(&self, ends: &Ends, user: Option<String>, reason: &Reason) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let entry = Entry::new("login-refused");
        // A login that did not open, or a token, names nobody.
        let entry = match user {
            Some(user) => entry.text("user", &user),
            None => entry,
        };
        let entry = ends.log(entry).field("code", reason.code()).text("reason", &chain(reason));
        match reason {
            // No password hash, and mostly no RSA operation: whoever floods the server with these spends nothing.
            Reason::Malformed(_) | Reason::NotAdmitted(_) | Reason::Penalty(_) => self.log.write_stranger(entry),
            _ => self.log.write(entry),
        }
    }

    /// Serves a session from its login to its end.
    async fn serve(&self, stream: Stream<TcpStream>, ends: Ends) {
        let (start, stop) = (Instant::now(), self.stop());
        let visit = Visit::new(&stream, ends);
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.log.write(visit.login());
        let End { reason, code } = self.service.run(stream, &visit, &stop).await;
        let entry = ends.log(Entry::new("session-ended").text("user", &visit.user)).field("session", visit.session);
        self.log.write(entry.field("seconds", start.elapsed().as_secs()).field("code", code).text("reason", &reason));
    }
}

/// Frames are written whole, so waiting to fill a packet would only add to a login's time. And a peer that is gone without a
/// word is noticed in two minutes.
fn prepare(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    // Without them it works, too.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}
