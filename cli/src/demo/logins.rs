//! Four logins and four refusals, with a look at every frame.

use super::print::{frame as print_frame, item, print, said, setup, time};
use super::stage::LogLines;
use super::{frames, relay};
use crate::accounts::{Store, Users};
use crate::crypto;
use crate::failure::{Failure, chain};
use crate::login::{Conversation, describe};
use crate::secrets::Passphrase;
use crate::serve::{Backend, Guessing, Log, LogFormat, Options, Plan, Service, Sharing};
use crate::{keys, term};
use countersign::accounts::AccountFile;
use countersign::files::{self, Existing, Missing, edit_accounts};
use countersign::frame::FrameType;
use countersign::limits::{CREDENTIAL_BLOCK, REFUSAL_FLOOR, TAG};
use countersign::{
    Begun, ClientConfig, Connector, Credential, Error, KeyId, KeySize, LoginError, PublicKey, Server, Stream, Ticket,
    UnixTime, Untrusted, UntrustedKey,
};
use relay::Towards;
use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const USER: &str = "alice";
const PASSWORD: &str = "correct horse battery staple";
const NEW_PASSWORD: &str = "another horse, another staple";
const PATIENCE: Duration = Duration::from_secs(10);

/// One try to log in.
struct Scene {
    title: &'static str,
    user: &'static str,
    password: &'static str,
    pin: KeyId,
    /// The client has the server's key whole.
    whole: bool,
    /// Change the password to the right one before.
    change: bool,
    /// Show the ticket of the login before.
    ticket: bool,
    /// Flip the lowest bit of the RSA ciphertext on the way.
    flip: bool,
    /// Say what each frame shows.
    explain: bool,
    /// What it must come to.
    course: Course,
    /// What the server's log must say.
    log: [&'static str; 2],
    moral: &'static str,
}

/// What a try comes to.
enum Course {
    /// The first login: what others send is measured against it.
    Login,
    /// A login of a server that proves itself first.
    Proved,
    /// A login by ticket.
    Resumed,
    /// A login although the ticket was not taken.
    Fallback,
    /// The client must see this.
    Refused(Error),
}

impl Course {
    fn refusal(&self) -> Option<&Error> {
        match self {
            Self::Refused(error) => Some(error),
            _ => None,
        }
    }
}

/// Plays it, in a folder that goes away afterwards.
pub(super) fn play(folder: &Path) -> Result<(), Failure> {
    print("Four logins and four refusals, over real TCP on this machine.")?;
    term::line("\nSetting up")?;
    let mut stage = Stage::set_up(folder)?;
    for (index, scene) in scenes(stage.pin).into_iter().enumerate() {
        stage.play(index.saturating_add(1), &scene)?;
    }
    stage.finish()
}

fn scenes(pin: KeyId) -> [Scene; 8] {
    let right = Scene {
        title: "The right password",
        user: USER,
        password: PASSWORD,
        pin,
        whole: false,
        change: false,
        ticket: false,
        flip: false,
        explain: true,
        course: Course::Login,
        log: ["event=login-accepted user=\"alice\"", "permissions=\"read,write\""],
        moral: "Two round trips. The client knows that it spoke to the owner of the pinned key, the server knows who the \
                client is, and what follows is sealed.",
    };
    let proved = Scene {
        title: "The same client, which has kept the server's key",
        whole: true,
        course: Course::Proved,
        moral: "Two round trips and one RSA operation, as before, but the server proves that it holds the private key before the \
                password leaves: nobody who answers in its place and gets that key later can read it.",
        ..right
    };
    let resumed = Scene {
        title: "The same client again, with the ticket it got",
        ticket: true,
        course: Course::Resumed,
        log: ["event=login-resumed user=\"alice\"", "permissions=\"read,write\""],
        moral: "One round trip, no RSA operation and no password hash: the ticket's secret proves each end to the other, \
                and a fresh key share makes fresh keys. The client's Confirm shows the server that it is there, and no recording.",
        ..right
    };
    let changed = Scene {
        title: "Its next ticket, after the password was changed",
        password: NEW_PASSWORD,
        change: true,
        ticket: true,
        course: Course::Fallback,
        explain: false,
        moral: "The ticket was made for the account as it was, so it is not taken any more. The server answers with a \
                challenge, and the full login goes on from there.",
        ..right
    };
    let wrong = Scene {
        title: "A wrong password",
        password: "incorrect horse",
        course: Course::Refused(Error::Refused),
        log: ["event=login-refused user=\"alice\"", "reason=\"wrong password\""],
        moral: "The reason stays in the server's log. The refusal has the size of the grant above.",
        explain: false,
        ..right
    };
    let unknown = Scene {
        title: "A user that does not exist",
        user: "mallory",
        course: Course::Refused(Error::Refused),
        log: ["event=login-refused user_tag=", "reason=\"unknown user\""],
        moral: "The same answer, of the same size, after the same time: nobody finds out who has an account.",
        explain: false,
        ..right
    };
    let untrusted = Scene {
        title: "A server with another key than the one pinned",
        pin: KeyId::from_bytes([7; 32]),
        course: Course::Refused(Error::Untrusted(UntrustedKey::new(
            pin,
            Untrusted::new("untrusted-key", std::fmt::Error),
        ))),
        log: ["event=handshake-failed", "before its ClientLogin"],
        moral: "The client left before its ClientLogin: a key that is not trusted gets no password, not even sealed.",
        explain: false,
        ..right
    };
    let flipped = Scene {
        title: "The right password, and one bit flipped on the way",
        password: NEW_PASSWORD,
        flip: true,
        course: Course::Refused(Error::VerdictNotAuthentic),
        log: ["event=login-refused", "does not open"],
        moral: "The server goes on with a made-up secret, so that its refusal tells nothing about the RSA decryption. The \
                client sees that the verdict belongs to no handshake of its own.",
        explain: false,
        ..right
    };
    [right, proved, resumed, changed, wrong, unknown, untrusted, flipped]
}

/// Everything that is set up once.
struct Stage {
    pin: KeyId,
    key: PublicKey,
    runtime: Runtime,
    server: JoinHandle<()>,
    stop: oneshot::Sender<()>,
    server_address: SocketAddr,
    relay: TcpListener,
    relay_address: SocketAddr,
    log: Receiver<String>,
    /// Every byte that crossed, for the eavesdropper's search at the end.
    crossed: Vec<u8>,
    /// The handshake frames of the right login: refusals must look the same.
    shape: Vec<(FrameType, usize)>,
    /// How long the right login took.
    full: Duration,
    /// The ticket of the login before.
    ticket: Option<Ticket>,
    users: PathBuf,
}

/// The frames of a full login.
const FULL: [FrameType; 4] =
    [FrameType::ClientHello, FrameType::ServerHello, FrameType::ClientLogin, FrameType::ServerVerdict];

/// The frames of one by ticket.
const RESUMED: [FrameType; 3] = [FrameType::ClientHello, FrameType::ServerResumption, FrameType::Confirm];

/// A frame that crossed the relay.
type Crossed = (FrameType, Vec<u8>);

impl Stage {
    fn set_up(folder: &Path) -> Result<Self, Failure> {
        let start = Instant::now();
        let (key_path, users) = (folder.join("server.pem"), folder.join("users.txt"));
        files::write_private_key(&key_path, &keys::generate(KeySize::Rsa2048)?, Existing::Keep)?;
        let server_key = keys::load(&key_path, &Passphrase::default())?;
        let key = server_key.public_key().clone();
        let pin = key.id();
        let made = time(start.elapsed());
        item("key", format_args!("RSA, 2048 bits, made in {made} (to be quick; keygen makes 3072)"))?;
        item("fingerprint", pin)?;

        let start = Instant::now();
        edit_accounts(&users, Missing::Make, |accounts| -> Result<(), Failure> {
            accounts.add(USER, ["read", "write"])?;
            Ok(accounts.edit(USER, |account| account.set_password(PASSWORD.as_bytes()))?)
        })?;
        let hashed = time(start.elapsed());
        item("account", format_args!("{USER}, password \"{PASSWORD}\", hashed in {hashed}"))?;

        let file = AccountFile::open(&users)?;
        let (lines, log) = channel();
        let log_to = Arc::new(Log::new(Box::new(LogLines(lines)), LogFormat::Logfmt)?);
        let options = Options::default();
        let plan = Plan {
            keys: server_key.into(),
            tickets: options.tickets(&Sharing::default()),
            sharing: Sharing::default(),
            backend: Backend::Store(Users::File(users.clone()), Store::File(file)),
            keeps_passwords: false,
            options: &options,
            guessing: &Guessing::default(),
            balancers: &[],
            service: Service::Lines,
            more_files: 0,
            stretching: None,
        };
        let runtime = Runtime::new().map_err(|error| setup(&error))?;
        let (server, _) = runtime.block_on(plan.prepare(log_to))?;
        let bind = || TcpListener::bind("127.0.0.1:0").and_then(|bound| Ok((bound.local_addr()?, bound)));
        let (relay_address, relay) = bind().map_err(|error| setup(&error))?;
        let (server_address, listener) = runtime
            .block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
                Ok((listener.local_addr()?, listener))
            })
            .map_err(|error| setup(&error))?;
        let (stop, stopped) = oneshot::channel();
        let server = runtime.spawn(server.run(listener, async { drop(stopped.await) }, std::future::pending()));
        item("server", server_address)?;
        item("relay", format_args!("{relay_address}, between the clients and the server: it sees every byte"))?;
        Ok(Self {
            pin,
            key,
            runtime,
            server,
            stop,
            server_address,
            relay,
            relay_address,
            log,
            crossed: Vec::new(),
            shape: Vec::new(),
            full: Duration::ZERO,
            ticket: None,
            users,
        })
    }

    fn play(&mut self, number: usize, scene: &Scene) -> Result<(), Failure> {
        term::line("")?;
        print(&format!("{number}. {}", scene.title))?;
        term::line("")?;
        if scene.change {
            edit_accounts(&self.users, Missing::Fail, |accounts| -> Result<(), Failure> {
                Ok(accounts.edit(scene.user, |account| account.set_password(scene.password.as_bytes()))?)
            })?;
            said("before", &format!("the password of {} was changed to \"{}\"", scene.user, scene.password))?;
            term::line("")?;
        }
        let start = Instant::now();
        let frames: Mutex<Vec<Crossed>> = Mutex::default();
        let watch = |towards: Towards, kind: FrameType, frame: &mut Vec<u8>| {
            if scene.flip && kind == FrameType::ClientLogin {
                flip(frame);
            }
            // The relay goes on if nobody reads what it prints.
            let _ = show(scene, start.elapsed(), towards, kind, frame);
            frames.lock().unwrap_or_else(PoisonError::into_inner).push((kind, frame.clone()));
        };
        let (outcome, carried) = thread::scope(|scope| {
            let relay = scope.spawn(|| relay::carry(&self.relay, self.server_address, &watch));
            let outcome = self.runtime.block_on(self.client(scene));
            let carried = relay.join().unwrap_or_else(|_| Err(io::Error::other("the relay failed")));
            (outcome, carried)
        });
        carried.map_err(|error| unexpected(scene, format_args!("the relay: {error}")))?;
        let line = self.server_says(scene)?;
        let outcome = outcome.map_err(|error| unexpected(scene, error))?;
        let frames = frames.into_inner().unwrap_or_else(PoisonError::into_inner);

        term::line("")?;
        said("client says", &outcome.said)?;
        said("server logs", line.split_once(' ').map_or(line.as_str(), |(_, rest)| rest))?;
        said("time", &format!("{} until the client knew{}", time(outcome.time), self.time_note(scene)))?;
        said("so", scene.moral)?;
        self.check(scene, &frames, &line, &outcome)?;
        // Whether it was taken or not, a ticket is shown once.
        if scene.ticket || outcome.ticket.is_some() {
            self.ticket = outcome.ticket;
        }
        self.crossed.extend(frames.into_iter().flat_map(|(_, frame)| frame));
        Ok(())
    }

    /// The client's part: log in, and if that works, talk a little and close.
    async fn client(&self, scene: &Scene) -> Result<Outcome, String> {
        let start = Instant::now();
        let session = self.log_in(scene).await;
        let time = start.elapsed();
        let session = match session {
            Ok(session) => session,
            Err(LoginError::Protocol(error)) => {
                return Ok(Outcome { said: chain(&error), refusal: Some(error), ticket: None, proved: false, time });
            }
            Err(error) => return Err(chain(&error)),
        };
        let (ticket, proved) = (session.info().ticket().cloned(), session.info().is_proved());
        let how = match () {
            () if session.info().is_resumed() => ", resumed",
            () if proved => ", once the server had proved itself",
            () => "",
        };
        let mut said = format!("logged in as {}{how}, session {}", describe(&session.grant()), session.info().id());
        let mut conversation = Conversation::new(session, PATIENCE);
        let answer = conversation.ask("whoami").await.map_err(|error| error.to_string())?;
        said.push_str(&format!(". Asked whoami, it heard: {}", answer.unwrap_or_default()));
        conversation.close().await.map_err(|error| chain(&error))?;
        Ok(Outcome { said, refusal: None, ticket, proved, time })
    }

    async fn log_in(&self, scene: &Scene) -> Result<Stream<TcpStream>, LoginError> {
        let config = ClientConfig::new(crypto::provider()).with_handshake_timeout(PATIENCE);
        let server = if scene.whole { Server::key(self.key.clone()) } else { Server::pinned(scene.pin) };
        let ticket = self.ticket.clone().filter(|_| scene.ticket);
        let ticket =
            ticket.and_then(|ticket| server.resume(ticket, scene.user, UnixTime::from_system(SystemTime::now())));
        let connector = Connector::new(config, server);
        let credential = Credential::Password { user: scene.user, password: scene.password.as_bytes() };
        let dial = async || {
            let stream = TcpStream::connect(self.relay_address).await?;
            // What is said after a Confirm would wait until the server has got that.
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        match connector.begin(dial, ticket).await? {
            Begun::Resumed(session) => Ok(session),
            Begun::Trusted(trusted) => trusted.login(credential).await,
        }
    }

    /// The server's line about the login.
    fn server_says(&self, scene: &Scene) -> Result<String, Failure> {
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) if line.contains("event=session-ended") || line.contains("event=users-reloaded") => {}
                Ok(line) => return Ok(line),
                Err(_) => return Err(unexpected(scene, "the server logged nothing")),
            }
        }
    }

    fn time_note(&self, scene: &Scene) -> String {
        match scene.course {
            Course::Resumed => format!("; the full login took {}", time(self.full)),
            _ if is_held_back(scene) => {
                format!("; every refusal is held back until {} after the login came", time(REFUSAL_FLOOR))
            }
            _ => String::new(),
        }
    }

    /// Compares what happened with what should have.
    fn check(&mut self, scene: &Scene, frames: &[Crossed], line: &str, outcome: &Outcome) -> Result<(), Failure> {
        let is_record = |kind| matches!(kind, FrameType::Data | FrameType::KeyUpdate | FrameType::Close);
        let handshake = frames.iter().filter(|(kind, _)| !is_record(*kind));
        let shape: Vec<_> = handshake.map(|(kind, frame)| (*kind, frames::size(frame))).collect();
        if matches!(scene.course, Course::Login) {
            self.shape.clone_from(&shape);
            self.full = outcome.time;
        }
        let kinds: Vec<_> = shape.iter().map(|(kind, _)| *kind).collect();
        let as_expected = match scene.course {
            Course::Login => kinds == FULL,
            // What is sealed to the key is in another frame.
            Course::Proved => kinds == FULL && self.shape.get(3..) == shape.get(3..),
            Course::Resumed => kinds == RESUMED,
            // The ticket is in the first frame.
            Course::Fallback => kinds == FULL && self.shape.get(1..) == shape.get(1..),
            Course::Refused(Error::Untrusted(_)) => self.shape.get(..2) == Some(&*shape),
            Course::Refused(_) => self.shape == shape,
        };
        let expectations = [
            (outcome.refusal.as_ref() == scene.course.refusal(), "the client should have seen another end"),
            (scene.log.iter().all(|part| line.contains(part)), "the server should have logged something else"),
            (as_expected, "other frames should have crossed, or of other sizes"),
            (outcome.proved == matches!(scene.course, Course::Proved), "the server should have proved itself, or not"),
            (outcome.refusal.is_some() || outcome.ticket.is_some(), "the server should have given a ticket"),
            (!is_held_back(scene) || outcome.time >= REFUSAL_FLOOR, "the refusal should have been held back"),
        ];
        match expectations.into_iter().find(|(met, _)| !met) {
            Some((_, what)) => Err(unexpected(scene, what)),
            None => Ok(()),
        }
    }

    fn finish(self) -> Result<(), Failure> {
        let _ = self.stop.send(());
        self.runtime.block_on(self.server).map_err(|error| Failure::new(format_args!("the server: {error}")))?;
        let contains = |secret: &str| self.crossed.windows(secret.len()).any(|window| window == secret.as_bytes());
        if [USER, PASSWORD, NEW_PASSWORD].into_iter().any(contains) {
            return Err(Failure::new("the relay found the user name or a password in what crossed"));
        }
        let total = self.crossed.len();
        let found =
            format!("{total} bytes crossed the relay. It looked for the user name and the passwords: not there.");
        term::line("\nThe eavesdropper's catch\n")?;
        print(&format!("  {found}"))
    }
}

/// How a try ended for the client.
struct Outcome {
    said: String,
    refusal: Option<Error>,
    ticket: Option<Ticket>,
    proved: bool,
    time: Duration,
}

/// Flips the lowest bit of the RSA ciphertext: the sealed credential follows it, and its own length of two bytes.
fn flip(frame: &mut [u8]) {
    let after = CREDENTIAL_BLOCK.saturating_add(TAG).saturating_add(3);
    if let Some(byte) = frame.len().checked_sub(after).and_then(|at| frame.get_mut(at)) {
        *byte ^= 1;
    }
}

fn show(scene: &Scene, at: Duration, towards: Towards, kind: FrameType, frame: &[u8]) -> Result<(), Failure> {
    let note = if scene.flip && kind == FrameType::ClientLogin { "  (a bit flipped)" } else { "" };
    print_frame(at, towards, kind, frame, note, scene.explain)
}

fn is_held_back(scene: &Scene) -> bool {
    matches!(scene.course, Course::Refused(Error::Refused | Error::VerdictNotAuthentic))
}

fn unexpected(scene: &Scene, what: impl Display) -> Failure {
    Failure::new(format_args!("\"{}\" did not go as expected: {what}", scene.title))
}
