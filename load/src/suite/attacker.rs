//! What attackers have in common: they know the server's key and have an account, and do the same again and again.

use crate::suite::Failure;
use crate::suite::crowd::PASSWORD;
use crate::suite::net::{Line, connect, dial};
use crate::suite::serve::KEY;
use crate::suite::stage::{MALLORY, TRUDY};
use countersign::client::{self, AwaitChallenge, Verdict};
use countersign::crypto::{self, aws_lc};
use countersign::frame::{FrameReader, FrameType};
use countersign::{
    ChannelBinding, ClientConfig, ClientKey, Connector, Credential, Moment, PrivateKey, Server, SigningKey, UnixTime,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

#[derive(Clone)]
pub(crate) struct Attacker {
    pub(crate) server: SocketAddr,
    pub(crate) token: Arc<str>,
    /// Trudy's, who has an authenticator as well.
    key: Arc<ClientKey>,
    config: Arc<ClientConfig>,
    /// By its fingerprint: such a hello costs the server no RSA operation.
    pinned: Server,
    /// By the key: such a hello costs one, also where it is played again.
    keyed: Server,
    recorded: Arc<[u8]>,
    recorded_login: Arc<OnceLock<(Vec<u8>, Vec<u8>)>>,
    /// How often it has arrived, each kind of it by itself.
    arrived: Arc<Mutex<Vec<u64>>>,
    is_over: Arc<AtomicBool>,
}

/// What a peer says between two bytes, where it drips.
const DRIP: Duration = Duration::from_millis(100);

/// How many bytes have to be taken, so that it is a drip: a peer that is hung up on learns it from its second.
const IS_A_DRIP: usize = 2;

pub(crate) fn today() -> UnixTime {
    UnixTime::from_system(SystemTime::now())
}

impl Attacker {
    pub(crate) fn new(server: SocketAddr, token: String, key: &SigningKey) -> Result<Self, Failure> {
        let public = PrivateKey::from_pem(KEY)?.public_key().clone();
        let (pinned, keyed) = (Server::pinned(public.id()), Server::key(public));
        let key = Arc::new(ClientKey::load(key, aws_lc::provider())?);
        let config = Arc::new(ClientConfig::new(aws_lc::provider()));
        let (recorded, _) =
            client::start(&config, &keyed, &ChannelBinding::none(), &mut crypto::rng()?, Moment::ORIGIN)?;
        let (token, recorded) = (token.into(), recorded.into());
        let (recorded_login, arrived, is_over) = (Arc::default(), Arc::new(Mutex::new(vec![0])), Arc::default());
        Ok(Self { server, token, key, config, pinned, keyed, recorded, recorded_login, arrived, is_over })
    }

    /// There are so many kinds of what is done. One that never arrives would make the others look like all of it.
    pub(crate) fn has_kinds(&self, kinds: usize) {
        self.counts().resize(kinds, 0);
    }

    /// One of this kind has arrived: the server has to do with it.
    pub(crate) fn note(&self, kind: usize) {
        if let Some(count) = self.counts().get_mut(kind) {
            *count += 1;
        }
    }

    /// How often each kind has arrived.
    pub(crate) fn arrived(&self) -> Vec<u64> {
        self.counts().clone()
    }

    fn counts(&self) -> MutexGuard<'_, Vec<u64>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The good clients have been here, and whoever acts beside them is to end.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// The server, as clients know it who have its key.
    pub(crate) fn known(&self) -> Server {
        self.keyed.clone()
    }

    pub(crate) fn connector(&self) -> Connector {
        Connector::new(ClientConfig::clone(&self.config), self.pinned.clone())
    }

    /// Begins `one` so many times a second until it is over, whatever becomes of those before. It says itself when it has arrived. What is
    /// under way ends with this.
    pub(crate) async fn again<F>(&self, rate: f64, one: impl Fn(Self, u32) -> F) -> Result<(), Failure>
    where
        F: Future<Output = Option<()>> + Send + 'static,
    {
        // A clock that ticks in milliseconds does not tell them one by one.
        let bundle = (rate * 0.005).ceil();
        let (mut under_way, mut tick) = (JoinSet::new(), interval(Duration::from_secs_f64(bundle / rate)));
        // What the machine is too slow for is left, so that the good clients have their part of it.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut number = 0;
        while !self.is_over() {
            tick.tick().await;
            for _ in 0..bundle as u32 {
                under_way.spawn(one(self.clone(), number));
                number += 1;
            }
            while under_way.try_join_next().is_some() {}
        }
        Ok(())
    }

    /// A connection from there, over a short line.
    pub(crate) async fn dial(&self, from: Ipv4Addr) -> Option<Peer> {
        connect(from, self.server).await.ok().map(|stream| Peer(Box::new(stream)))
    }

    /// A connection from there, over a line of some length: each third has none.
    pub(crate) async fn dial_slowly(&self, from: Ipv4Addr, number: u32) -> Option<Peer> {
        let round_trip = [0, 20, 100].into_iter().cycle().nth((number % 3) as usize).unwrap_or_default();
        dial(from, self.server, Duration::from_millis(round_trip)).await.ok().map(Peer)
    }

    /// A hello that costs the server little.
    pub(crate) fn hello(&self) -> Option<(Vec<u8>, AwaitChallenge)> {
        client::start(&self.config, &self.pinned, &ChannelBinding::none(), &mut crypto::rng().ok()?, Moment::ORIGIN)
            .ok()
    }

    /// One that was recorded, and costs whoever plays it again nothing.
    pub(crate) fn recorded(&self) -> &[u8] {
        &self.recorded
    }

    /// The login that answers a challenge, with a password that is right.
    pub(crate) fn login(&self, state: AwaitChallenge, challenge: &[u8]) -> Option<Vec<u8>> {
        let credential = Credential::Password { user: MALLORY, password: PASSWORD };
        let trusted = state.read(challenge, Moment::ORIGIN).ok()?.trust(&self.pinned, today()).ok()?;
        Some(trusted.login(credential, &mut crypto::rng().ok()?).ok()?.0)
    }

    /// A login that was recorded on another connection, and costs nothing to play again: the server finds that it does not open after its
    /// RSA operation, and then checks a password all the same.
    pub(crate) async fn send_junk_login(&self, peer: &mut Peer) -> Option<()> {
        let Some((hello, login)) = self.recorded_login.get() else {
            let (hello, state) = self.hello()?;
            peer.send(&hello).await?;
            let challenge = peer.receive(&[FrameType::ServerHello]).await?;
            let login = self.login(state, &challenge)?;
            // This one leaves without having sent it.
            drop(self.recorded_login.set((hello, login)));
            return None;
        };
        peer.send(hello).await?;
        peer.receive(&[FrameType::ServerHello]).await?;
        peer.send(login).await
    }

    /// Logs in as somebody who is asked for a code as well, up to where the server does that. By a key, which costs it no password hash.
    pub(crate) async fn be_asked_for_a_code(&self, peer: &mut Peer) -> Option<()> {
        let config = Arc::new(ClientConfig::clone(&self.config).offering_factors());
        let (hello, state) =
            client::start(&config, &self.pinned, &ChannelBinding::none(), &mut crypto::rng().ok()?, Moment::ORIGIN)
                .ok()?;
        peer.send(&hello).await?;
        let challenge = peer.receive(&[FrameType::ServerHello]).await?;
        let trusted = state.read(&challenge, Moment::ORIGIN).ok()?.trust(&self.pinned, today()).ok()?;
        let credential = Credential::Key { user: TRUDY, key: &self.key };
        let (login, state) = trusted.login(credential, &mut crypto::rng().ok()?).ok()?;
        peer.send(&login).await?;
        let verdict = peer.receive(&[FrameType::ServerVerdict]).await?;
        matches!(state.read_step(&verdict, Moment::ORIGIN, today()).ok()?, Verdict::Factor(_)).then_some(())
    }

    /// A hello that shows a ticket.
    pub(crate) fn show(&self, ticket: countersign::Ticket) -> Option<(Vec<u8>, client::AwaitAnswer)> {
        let ticket = self.pinned.resume(ticket, MALLORY, today())?;
        let rng = &mut crypto::rng().ok()?;
        client::resume(&self.config, &self.pinned, &ChannelBinding::none(), ticket, rng, Moment::ORIGIN).ok()
    }
}

/// A connection that is driven by hand.
pub(crate) struct Peer(pub(crate) Box<dyn Line>);

impl Peer {
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Option<()> {
        self.0.write_all(bytes).await.ok()?;
        self.0.flush().await.ok()
    }

    pub(crate) async fn receive(&mut self, kinds: &[FrameType]) -> Option<Vec<u8>> {
        let mut reader = FrameReader::new();
        loop {
            if let Some(frame) = reader.take() {
                return Some(frame);
            }
            let mut room = vec![0; reader.missing().ok()?];
            let count = self.0.read(&mut room).await.ok().filter(|count| *count > 0)?;
            reader.feed(room.get(..count)?, kinds).ok()?;
        }
    }

    /// Says nothing until the server hangs up.
    pub(crate) async fn hold(mut self) -> Option<()> {
        let mut room = [0; 1024];
        while self.0.read(&mut room).await.ok()? > 0 {}
        Some(())
    }

    /// Says one byte after the other, as long as the server listens.
    pub(crate) async fn drip(mut self, bytes: &[u8], attacker: &Attacker) -> Option<()> {
        for (at, byte) in bytes.iter().enumerate() {
            self.send(&[*byte]).await?;
            if at == IS_A_DRIP {
                attacker.note(0);
            }
            sleep(DRIP).await;
        }
        self.hold().await
    }

    /// The longest frame of its kind, byte by byte.
    pub(crate) async fn drip_frame(self, kind: FrameType, attacker: &Attacker) -> Option<()> {
        let [high, low] = u16::try_from(kind.max_body()).ok()?.to_be_bytes();
        let mut frame = vec![kind.byte(), high, low];
        frame.resize(kind.max_body() + 3, 0);
        self.drip(&frame, attacker).await
    }
}
