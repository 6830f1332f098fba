//! What the demos of trust are played on: servers, a relay in front of one of them, and one login after the other.

use super::frames;
use super::print::{frame as print_frame, item, print, said, setup};
use super::relay::{self, Towards};
use crate::accounts::{Store, Users};
use crate::crypto;
use crate::failure::{Failure, chain};
use crate::keys;
use crate::login::{Conversation, describe};
use crate::serve::{Backend, Guessing, Log, LogFormat, Options, Plan, Service, Sharing};
use crate::term;
use countersign::accounts::{Account, AccountError, AccountFile};
use countersign::files::{Missing, edit_accounts};
use countersign::frame::FrameType;
use countersign::{
    ClientConfig, Connector, Credential, KeySize, LoginError, PrivateKey, Server, ServerKey, ServerKeys, Stretching,
    UnixTime,
};
use std::fmt::Display;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(super) const USER: &str = "alice";
pub(super) const PASSWORD: &str = "correct horse battery staple";
pub(super) const ALICE: Credential<'static> = Credential::Password { user: USER, password: PASSWORD.as_bytes() };
const PATIENCE: Duration = Duration::from_secs(10);

/// The frames of a full login, of one with a second factor, and of one that the client left when it had seen the server's key.
pub(super) const FULL: &[FrameType] =
    &[FrameType::ClientHello, FrameType::ServerHello, FrameType::ClientLogin, FrameType::ServerVerdict];
pub(super) const TWO_FACTORS: &[FrameType] = &[
    FrameType::ClientHello,
    FrameType::ServerHello,
    FrameType::ClientLogin,
    FrameType::ServerVerdict,
    FrameType::ClientFactor,
    FrameType::ServerVerdict,
];
/// Of one that took a second connection, as the server has another key than the one that was known.
pub(super) const AGAIN: &[FrameType] = &[
    FrameType::ClientHello,
    FrameType::ServerHello,
    FrameType::ClientHello,
    FrameType::ServerHello,
    FrameType::ClientLogin,
    FrameType::ServerVerdict,
];
pub(super) const LEFT: &[FrameType] = &[FrameType::ClientHello, FrameType::ServerHello];
pub(super) const LEFT_TWICE: &[FrameType] =
    &[FrameType::ClientHello, FrameType::ServerHello, FrameType::ClientHello, FrameType::ServerHello];

/// Everything that is set up once.
pub(super) struct Stage<'a> {
    folder: &'a Path,
    runtime: Runtime,
    relay: TcpListener,
    relay_address: SocketAddr,
    played: usize,
    /// Every byte that crossed, for the eavesdropper's search at the end.
    crossed: Vec<u8>,
}

/// A running server.
pub(super) struct Host {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
    address: SocketAddr,
    log: Receiver<String>,
}

/// One try to log in.
pub(super) struct Scene<'a> {
    pub(super) title: &'a str,
    /// Who answers at the other end of the relay.
    pub(super) host: &'a Host,
    pub(super) connector: Connector,
    pub(super) credential: Credential<'a>,
    /// What the relay does to a frame on its way.
    pub(super) alter: Option<&'a relay::Watch<'a>>,
    /// Say what each frame shows.
    pub(super) explain: bool,
    /// What the login must fail with, by its code; none where it must not fail.
    pub(super) error: Option<&'static str>,
    /// The frames that must cross before anything is said.
    pub(super) frames: &'static [FrameType],
    /// What the server's log must say of it.
    pub(super) log: &'a [&'a str],
    pub(super) moral: &'a str,
}

/// What came of a try.
pub(super) struct Seen {
    /// The frames of the handshake, as they arrived.
    pub(super) frames: Vec<(FrameType, Vec<u8>)>,
    /// The server proved itself before the credential left.
    pub(super) is_proved: bool,
    /// What the client says of it.
    pub(super) said: String,
}

impl Seen {
    /// The sizes of the handshake's frames, without what asks for evidence.
    pub(super) fn sizes(&self) -> Vec<usize> {
        self.frames.iter().map(|(_, frame)| frames::size(frame)).collect()
    }
}

impl<'a> Stage<'a> {
    pub(super) fn set_up(folder: &'a Path, title: &str) -> Result<Self, Failure> {
        print(title)?;
        term::line("\nSetting up")?;
        let runtime = Runtime::new().map_err(|error| setup(&error))?;
        let relay = TcpListener::bind("127.0.0.1:0").map_err(|error| setup(&error))?;
        let relay_address = relay.local_addr().map_err(|error| setup(&error))?;
        Ok(Self { folder, runtime, relay, relay_address, played: 0, crossed: Vec::new() })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A new server key, small to be quick.
    pub(super) fn key(&self, whose: &str) -> Result<PrivateKey, Failure> {
        let key = keys::generate(KeySize::Rsa2048)?;
        item("key", format_args!("{whose}: {}", key.public_key().id()))?;
        Ok(key)
    }

    /// A users file with alice in it, and this done to her account.
    pub(super) fn users(
        &self,
        mut change: impl FnMut(&mut Account) -> Result<(), AccountError>,
    ) -> Result<PathBuf, Failure> {
        let path = self.path("users.txt");
        edit_accounts(&path, Missing::Make, |accounts| -> Result<(), Failure> {
            let mut alice = Account::new(USER, ["read", "write"])?;
            change(&mut alice)?;
            Ok(accounts.insert(&alice)?)
        })?;
        Ok(path)
    }

    /// Starts a server.
    pub(super) fn serve(&self, who: &str, keys: impl Into<ServerKeys>, users: &Path) -> Result<Host, Failure> {
        self.serve_stretching(who, keys, users, None)
    }

    /// Starts a server whose clients stretch passwords like this.
    pub(super) fn serve_stretching(
        &self,
        who: &str,
        keys: impl Into<ServerKeys>,
        users: &Path,
        stretching: Option<&Stretching>,
    ) -> Result<Host, Failure> {
        let (lines, log) = channel();
        let log_to = Arc::new(Log::new(Box::new(LogLines(lines)), LogFormat::Logfmt)?);
        let options = Options::default();
        let plan = Plan {
            keys: keys.into(),
            tickets: None,
            sharing: Sharing::default(),
            backend: Backend::Store(Users::File(users.to_owned()), Store::File(AccountFile::open(users)?)),
            keeps_passwords: false,
            options: &options,
            guessing: &Guessing::default(),
            balancers: &[],
            service: Service::Lines,
            more_files: 0,
            stretching: stretching.cloned(),
        };
        let (server, _) = self.runtime.block_on(plan.prepare(log_to))?;
        let bound = self.runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            Ok((listener.local_addr()?, listener))
        });
        let (address, listener) = bound.map_err(|error| setup(&error))?;
        let (stop, stopped) = oneshot::channel();
        let task = self.runtime.spawn(server.run(listener, async { drop(stopped.await) }, std::future::pending()));
        item("server", format_args!("{who}, at {address}"))?;
        Ok(Host { task, stop, address, log })
    }

    /// Plays a scene; fails where it does not go as it should.
    pub(super) fn play(&mut self, scene: &Scene<'_>) -> Result<Seen, Failure> {
        self.played = self.played.saturating_add(1);
        term::line("")?;
        print(&format!("{}. {}", self.played, scene.title))?;
        term::line("")?;
        let (start, host, address) = (Instant::now(), scene.host, scene.host.address);
        let (listener, alter, explain) = (&self.relay, scene.alter, scene.explain);
        let crossed: Mutex<Vec<(FrameType, Vec<u8>)>> = Mutex::default();
        let watch = |towards: Towards, kind: FrameType, frame: &mut Vec<u8>| {
            let before = frame.clone();
            if let Some(alter) = alter {
                alter(towards, kind, frame);
            }
            let note = if *frame == before { "" } else { "  (replaced)" };
            // The relay goes on if nobody reads what it prints.
            let _ = print_frame(start.elapsed(), towards, kind, frame, note, explain);
            crossed.lock().unwrap_or_else(PoisonError::into_inner).push((kind, frame.clone()));
        };
        // Two hellos are on two connections.
        let connections = scene.frames.iter().filter(|kind| **kind == FrameType::ClientHello).count();
        let dialled = AtomicUsize::new(0);
        let (outcome, carried) = thread::scope(|threads| {
            let relay = threads.spawn(|| (0..connections).try_for_each(|_| relay::carry(listener, address, &watch)));
            let outcome = self.runtime.block_on(self.client(scene, &dialled));
            // Where there were fewer, the relay is not left waiting.
            for _ in dialled.load(Relaxed)..connections {
                drop(std::net::TcpStream::connect(self.relay_address));
            }
            let carried = relay.join().unwrap_or_else(|_| Err(io::Error::other("the relay failed")));
            (outcome, carried)
        });
        carried.map_err(|error| unexpected(scene, format_args!("the relay: {error}")))?;
        let mut line = String::new();
        for _ in 0..connections {
            line = host.says().ok_or_else(|| unexpected(scene, "the server logged nothing"))?;
        }
        let frames = crossed.into_inner().unwrap_or_else(PoisonError::into_inner);

        let (told, code, is_proved) = match outcome {
            Ok(Ok((told, is_proved))) => (told, None, is_proved),
            Ok(Err(error)) => (chain(&error), Some(error.code()), false),
            Err(what) => return Err(unexpected(scene, what)),
        };
        term::line("")?;
        said("client says", &told)?;
        said("server logs", line.split_once(' ').map_or(line.as_str(), |(_, rest)| rest))?;
        said("so", scene.moral)?;
        self.crossed.extend(frames.iter().flat_map(|(_, frame)| frame));
        let is_record = |kind| matches!(kind, FrameType::Data | FrameType::KeyUpdate | FrameType::Close);
        let frames: Vec<_> = frames.into_iter().filter(|(kind, _)| !is_record(*kind)).collect();
        let kinds: Vec<FrameType> = frames.iter().map(|(kind, _)| *kind).collect();
        let expectations = [
            (code == scene.error, "the client should have seen another end"),
            (kinds == scene.frames, "other frames should have crossed"),
            (scene.log.iter().all(|part| line.contains(part)), "the server should have logged something else"),
        ];
        match expectations.into_iter().find(|(met, _)| !met) {
            Some((_, what)) => Err(unexpected(scene, what)),
            None => Ok(Seen { frames, is_proved, said: told }),
        }
    }

    /// The client's part: log in, and if that works, talk a little and close.
    async fn client(
        &self,
        scene: &Scene<'_>,
        dialled: &AtomicUsize,
    ) -> Result<Result<(String, bool), LoginError>, String> {
        let dial = async || {
            dialled.fetch_add(1, Relaxed);
            let stream = TcpStream::connect(self.relay_address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let session = match scene.connector.dial(dial, scene.credential).await {
            Ok(session) => session,
            Err(error) => return Ok(Err(error)),
        };
        let is_proved = session.info().is_proved();
        let how = if is_proved { ", once the server had proved itself" } else { "" };
        let mut told = format!("logged in as {}{how}", describe(&session.grant()));
        let mut conversation = Conversation::new(session, PATIENCE);
        let answer = conversation.ask("whoami").await.map_err(|error| error.to_string())?;
        told.push_str(&format!(". Asked whoami, it heard: {}", answer.unwrap_or_default()));
        conversation.close().await.map_err(|error| chain(&error))?;
        Ok(Ok((told, is_proved)))
    }

    /// Stops the servers, and has the eavesdropper look for these.
    pub(super) fn finish(self, hosts: Vec<Host>, secrets: &[(&str, &[u8])]) -> Result<(), Failure> {
        for host in hosts {
            let _ = host.stop.send(());
            self.runtime.block_on(host.task).map_err(|error| Failure::new(format_args!("the server: {error}")))?;
        }
        let is_there = |secret: &[u8]| self.crossed.windows(secret.len().max(1)).any(|window| window == secret);
        if let Some((what, _)) = secrets.iter().find(|(_, secret)| is_there(secret)) {
            return Err(Failure::new(format_args!("the relay found {what} in what crossed")));
        }
        let names: Vec<&str> = secrets.iter().map(|(what, _)| *what).collect();
        let (total, names) = (self.crossed.len(), names.join(", "));
        term::line("\nThe eavesdropper's catch\n")?;
        print(&format!("  {total} bytes crossed the relay. It looked for {names}: not there."))
    }
}

impl Host {
    /// The server's next line about a login.
    fn says(&self) -> Option<String> {
        loop {
            let line = self.log.recv_timeout(PATIENCE).ok()?;
            if !["event=session-ended", "event=users-reloaded"].iter().any(|other| line.contains(other)) {
                return Some(line);
            }
        }
    }
}

/// A client of this server.
pub(super) fn connector(server: Server) -> Connector {
    Connector::new(ClientConfig::new(crypto::provider()).with_handshake_timeout(PATIENCE), server)
}

/// A server key at work.
pub(super) fn loaded(key: &PrivateKey) -> Result<ServerKey, Failure> {
    Ok(ServerKey::load(key, crypto::provider())?)
}

pub(super) fn now() -> UnixTime {
    UnixTime::from_system(SystemTime::now())
}

/// Fails where something is not as it is told.
pub(super) fn check(is_so: bool, what: &str) -> Result<(), Failure> {
    if is_so { Ok(()) } else { Err(Failure::new(format_args!("it should be so that {what}, and it is not"))) }
}

fn unexpected(scene: &Scene<'_>, what: impl Display) -> Failure {
    Failure::new(format_args!("\"{}\" did not go as expected: {what}", scene.title))
}

/// Sends each of the server's log lines to whoever listens.
pub(super) struct LogLines(pub(super) Sender<String>);

impl Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Nobody listens any more at the end.
        let _ = self.0.send(String::from_utf8_lossy(bytes).trim_end().to_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
