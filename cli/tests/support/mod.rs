//! Runs the real command, over real files and sockets.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::arithmetic_side_effects)]

pub mod databases;
#[path = "../../../tests/support/left_out.rs"]
mod left_out;
pub mod servers;

#[allow(unused_imports, reason = "not every test needs something of the machine's")]
pub use left_out::left_out;

use countersign::blocking::BlockingLink;
use countersign::crypto::rustcrypto;
use countersign::{
    Begun, ChannelBinding, ClientConfig, Connector, Credential, Moment, Stream, Ticket, UnixTime, client,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

/// How long a test waits for something that must come. Not a measurement: only a broken program takes this long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// On a machine that is busy with other things nobody is turned away for want of a turn.
pub const PATIENT: [&str; 6] = ["--refusal-floor", "10ms", "--max-wait", "1m", "--handshake-timeout", "1m"];

/// The command, in an environment that names no place for tickets.
pub fn command<A: AsRef<std::ffi::OsStr>>(args: &[A]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.env_remove("HOME").env_remove("XDG_STATE_HOME");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command that ran to its end said.
#[derive(Debug)]
pub struct Said {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 0, "{self:?}");
        self
    }

    /// Fails with this status, and says each of these on standard error.
    #[track_caller]
    pub fn fails(self, status: i32, parts: &[&str]) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is missing in {self:?}");
        }
        self
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().expect("an exit status, not a signal"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub fn run<A: AsRef<std::ffi::OsStr>>(args: &[A], stdin: impl AsRef<[u8]>) -> Said {
    finish(&mut command(args), stdin)
}

pub fn finish(command: &mut Command, stdin: impl AsRef<[u8]>) -> Said {
    let mut child = command.spawn().unwrap();
    // A command that needs no input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_ref());
    child.wait_with_output().unwrap().into()
}

/// A look at what the command frees, by a library that is put in front of the C library (`support/freed.c`): its own blocks and those of all that is in it.
pub struct Freed {
    library: String,
    told: String,
}

impl Freed {
    /// None where there is no C compiler, or another C library than glibc.
    pub fn new(house: &House) -> Option<Self> {
        if cfg!(not(target_env = "gnu")) {
            left_out("glibc", "this is another C library");
            return None;
        }
        let (library, told) = (house.path("freed.so"), house.path("freed"));
        let source = house.write("freed.c", include_bytes!("freed.c"), 0o644);
        let built = Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o", &library, &source]).status();
        if !built.is_ok_and(|built| built.success()) {
            left_out("cc", "there is no C compiler here");
            return None;
        }
        Some(Self { library, told })
    }

    /// The environment of a command of which blocks with these are told.
    pub fn environment(&self, marks: &[&[u8]]) -> [(&'static str, String); 3] {
        let marks: Vec<String> = marks.iter().map(hex::encode).collect();
        [("LD_PRELOAD", self.library.clone()), ("FREED", self.told.clone()), ("MARKS", marks.join(","))]
    }

    /// What was told since it was last asked: a line for each block.
    pub fn told(&self) -> String {
        let told = fs::read_to_string(&self.told).unwrap_or_default();
        let _ = fs::remove_file(&self.told);
        told
    }

    /// That a command, which succeeds with this input, frees none of these. The input comes in two pieces, of which the first is read alone: what is read
    /// into room that grows is left behind.
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub fn holds_none(&self, marks: &[&[u8]], args: &[&str], stdin: &str) -> Said {
        let mut command = command(args);
        let home = Path::new(&self.told).with_file_name("state");
        let mut child = command.env("XDG_STATE_HOME", home).envs(self.environment(marks)).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let (first, rest) = stdin.split_at(stdin.len() / 2);
        pipe.write_all(first.as_bytes()).unwrap();
        until("it has read that", || rustix::io::ioctl_fionread(&pipe).unwrap() == 0);
        pipe.write_all(rest.as_bytes()).unwrap();
        drop(pipe);
        let said = Said::from(child.wait_with_output().unwrap()).ok();
        assert_eq!(self.told(), "", "{args:?}");
        said
    }
}

/// A command over a file system that is odd or broken, by a library that is put in front of the C library: what `fails` names does
/// (`support/fail.c`), the sync of a folder with this error. Which files it syncs is written to `synced`. None where there is no C compiler.
pub fn over_failing(house: &House, fails: &str, errno: &str, args: &[&str]) -> Option<Command> {
    let library = house.path("fail.so");
    let source = include_str!("fail.c").replace("errno=EINVAL", &format!("errno={errno}"));
    let source = house.write("fail.c", source.as_bytes(), 0o644);
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o", &library, &source]).status();
    if !built.is_ok_and(|built| built.success()) {
        left_out("cc", "there is no C compiler here");
        return None;
    }
    let mut command = command(args);
    command.env("LD_PRELOAD", library).env("FAILS", fails).env("SYNCED", house.path("synced"));
    Some(command)
}

/// A temporary folder with a key and a users file in it.
pub struct House {
    pub folder: tempfile::TempDir,
}

impl House {
    pub fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// With `server.pem`, its public half, and the users alice (permissions read and write, a password) and robot (a
    /// token).
    pub fn new() -> Self {
        let house = Self::empty();
        house.key("rsa2048.pem", "server.pem");
        house.write("server.pub.pem", house.public_key().to_pem().as_bytes(), 0o644);
        let users = house.path("users.txt");
        let add = ["user", "add", "alice", "--permission", "read", "--permission", "write", "--password-stdin"];
        run(&[&add[..], &["--users", &users]].concat(), "secret of alice\n").ok();
        house
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub fn write(&self, name: &str, bytes: &[u8], mode: u32) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
    }

    /// Copies one of the library's test keys here, readable by its owner alone.
    pub fn key(&self, key: &str, name: &str) -> String {
        let keys: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/keys");
        self.write(name, &fs::read(keys.join(key)).unwrap(), 0o600)
    }

    pub fn public_key(&self) -> countersign::PublicKey {
        countersign::PrivateKey::from_pem(&self.read("server.pem")).unwrap().public_key().clone()
    }

    pub fn pin(&self) -> String {
        self.public_key().id().to_string()
    }

    pub fn serve(&self, more: &[&str]) -> Server {
        let (key, users) = (self.path("server.pem"), self.path("users.txt"));
        let listen: &[&str] = if more.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        Server::start(&[&["serve", "--key", &key, "--users", &users], listen, more].concat())
    }

    /// As [`House::serve`], with what a shell's `ulimit` sets before.
    pub fn serve_within(&self, limits: &str, more: &[&str]) -> Server {
        let (key, users) = (self.path("server.pem"), self.path("users.txt"));
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{limits}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_countersign")]);
        shell.args(["serve", "--listen", "127.0.0.1:0", "--key", &key, "--users", &users]).args(more);
        Server::of(shell)
    }

    /// A new token for a user.
    pub fn token(&self, user: &str) -> String {
        run(&["user", "token", user, "--users", &self.path("users.txt")], "").ok().out
    }
}

/// A running `serve`; killed at the end of a test.
pub struct Server {
    pub child: Child,
    pub address: String,
    lines: Receiver<String>,
    /// The lines that were waited for, and those before them.
    pub seen: Vec<String>,
    stderr: Option<std::thread::JoinHandle<String>>,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        Self::of(command(args))
    }

    /// A command that becomes a server.
    pub fn of(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        Self::with_stdin(command)
    }

    /// As [`Server::of`], with the standard input that the command has.
    pub fn with_stdin(mut command: Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut stderr = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || std::io::read_to_string(&mut stderr).unwrap());
        let mut server = Self { child, address: String::new(), lines, seen: Vec::new(), stderr: Some(stderr) };
        let line = server.wait_for(&["listen"]);
        if let Some(address) = line.strip_prefix("listening on ") {
            server.address = address.to_owned();
            server.wait_for(&["fingerprint SHA256:"]);
        } else {
            let started: serde_json::Value = serde_json::from_str(&line).unwrap();
            server.address = started.get("listen").and_then(|address| address.as_str()).unwrap().to_owned();
        }
        server
    }

    /// The next line that has all these parts.
    #[track_caller]
    pub fn wait_for(&mut self, parts: &[&str]) -> String {
        loop {
            let line = match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => line,
                Err(_) => panic!("no line with {parts:?} came; there were {:#?}", self.seen),
            };
            self.seen.push(line.clone());
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
        }
    }

    /// A line that has all these parts, though it may have come before the server said that it listens.
    #[track_caller]
    pub fn said(&mut self, parts: &[&str]) -> String {
        let seen = self.seen.iter().find(|line| parts.iter().all(|part| line.contains(part))).cloned();
        seen.unwrap_or_else(|| self.wait_for(parts))
    }

    /// The status and the body of what is at a path of the listener for those who watch, whose address it has said.
    pub fn get(&self, path: &str) -> (String, String) {
        let started = self.seen.iter().find(|line| line.contains("metrics_listen=")).expect("it has said where");
        let address = started.split("metrics_listen=").nth(1).unwrap().split_whitespace().next().unwrap();
        let mut stream = connect(address);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let text = std::io::read_to_string(&mut stream).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split_whitespace().nth(1).unwrap().to_owned(), body.to_owned())
    }

    pub fn is_ready(&self) -> bool {
        self.get("/readyz").0 == "200"
    }

    /// Sends a signal, waits for the end, and gives the status and what was said on standard error.
    pub fn stop(&mut self, signal: &str) -> (i32, String) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let status = self.child.wait().unwrap().code().expect("an exit status, not a signal");
        self.seen.extend(self.lines.iter());
        (status, self.stderr.take().unwrap().join().unwrap())
    }

    /// Logs in with a password; `more` are further arguments.
    pub fn login(&self, house: &House, user: &str, password: &str, more: &[&str]) -> Said {
        let who = ["--user", user, "--password-stdin", "--pin", &house.pin()];
        self.login_keeping(house, &who, more, &format!("{password}\n"))
    }

    /// Logs in, and keeps tickets in the house.
    pub fn login_keeping(&self, house: &House, who: &[&str], more: &[&str], stdin: &str) -> Said {
        let mut command = command(&[&["login", "--server", &self.address], who, more].concat());
        finish(command.env("XDG_STATE_HOME", house.path("state")), stdin)
    }

    /// Logs in, and keeps no tickets.
    pub fn login_with(&self, who: &[&str], more: &[&str], stdin: &str) -> Said {
        run(&[&["login", "--server", &self.address], who, more].concat(), stdin)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the end of a process, and gives its exit status.
#[track_caller]
pub fn status(child: &mut Child) -> i32 {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().expect("an exit status, not a signal");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    panic!("it did not end");
}

/// Waits until something is so.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "it never was so: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A TCP service that does this with each of its connections, one thread each.
pub fn service(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Sends everything back as it comes, and its end last.
pub fn echo(mut stream: TcpStream) {
    let mut reader = stream.try_clone().unwrap();
    if std::io::copy(&mut reader, &mut stream).is_ok() {
        let _ = stream.shutdown(Shutdown::Write);
    }
}

/// A TCP connection with a bound on every wait.
pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    bounded(&stream);
    stream
}

pub fn bounded(stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
}

impl House {
    pub fn connector(&self) -> Connector {
        let config = ClientConfig::new(rustcrypto::provider()).with_handshake_timeout(PATIENCE);
        Connector::new(config, countersign::Server::pinned(self.public_key().id()))
    }

    /// Alice's session over a connection.
    pub fn session(&self, stream: TcpStream) -> Stream<TcpStream> {
        self.session_as(stream, ALICE)
    }

    /// Somebody's.
    pub fn session_as(&self, stream: TcpStream, credential: Credential<'_>) -> Stream<TcpStream> {
        let session = self.connector().connect_blocking(stream, credential).unwrap();
        bounded(session.get_ref());
        session
    }

    /// Alice's session by this ticket.
    pub fn resume(&self, address: &str, ticket: &Ticket) -> Stream<TcpStream> {
        match self.begin(address, ticket) {
            Begun::Resumed(session) => {
                bounded(session.get_ref());
                session
            }
            Begun::Trusted(_) => panic!("the ticket was not taken"),
        }
    }

    /// The ClientHello of alice with this ticket, and what awaits its answer.
    pub fn hello_with(&self, ticket: &Ticket) -> (Vec<u8>, client::AwaitAnswer) {
        let (config, connector) = (Arc::new(ClientConfig::new(rustcrypto::provider())), self.connector());
        let ticket = connector.server().resume(ticket.clone(), ticket.user(), now()).unwrap();
        let (none, mut rng) = (ChannelBinding::none(), StdRng::seed_from_u64(3));
        client::resume(&config, connector.server(), &none, ticket, &mut rng, Moment::ORIGIN).unwrap()
    }

    /// What comes of alice's ticket.
    pub fn begin(&self, address: &str, ticket: &Ticket) -> Begun<BlockingLink<TcpStream>> {
        let connector = self.connector();
        let ticket = connector.server().resume(ticket.clone(), ticket.user(), now()).unwrap();
        connector.begin_blocking(|| TcpStream::connect(address), Some(ticket)).unwrap()
    }
}

/// Whether the demo's service answers.
pub fn echoes(session: &mut Stream<TcpStream>) -> bool {
    let mut answer = String::new();
    session.write_all(b"echo still here\n").is_ok()
        && BufReader::with_capacity(1, session).read_line(&mut answer).is_ok()
        && answer == "still here\n"
}

fn now() -> UnixTime {
    UnixTime::from_system(SystemTime::now())
}

/// What alice logs in with.
pub const ALICE: Credential<'static> = Credential::Password { user: "alice", password: b"secret of alice" };

/// Binary data that repeats nowhere.
pub fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(7).fill_bytes(&mut bytes);
    bytes
}

/// Runs a command with so much to read that its output has to be taken meanwhile.
pub fn finish_large(command: &mut Command, stdin: Vec<u8>) -> Output {
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        // A command that needs no more may be gone.
        let _ = pipe.write_all(&stdin);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// A running `connect`; killed at the end of a test.
pub struct Tunnel {
    pub child: Child,
    pub address: String,
    errors: Receiver<String>,
    seen: Vec<String>,
}

impl Tunnel {
    /// As [`Tunnel::start_trusting`], with the server's pin.
    pub fn start(house: &House, server: &str, who: &[&str], more: &[&str], stdin: &str) -> Self {
        Self::start_trusting(house, server, who, &[&["--pin", &house.pin()], more].concat(), stdin)
    }

    /// With what `more` says of the server's key.
    pub fn start_trusting(house: &House, server: &str, who: &[&str], more: &[&str], stdin: &str) -> Self {
        let args = ["connect", "--listen", "127.0.0.1:0", "--server", server];
        Self::of(command(&[&args[..], who, more].concat()), house, stdin)
    }

    /// A command that becomes a tunnel.
    pub fn of(mut command: Command, house: &House, stdin: &str) -> Self {
        let mut child = command.env("XDG_STATE_HOME", house.path("state")).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, errors) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on ").map(str::to_owned);
        let Some(address) = address else {
            panic!("it did not listen: {:?}", errors.iter().collect::<Vec<_>>());
        };
        Self { child, address, errors, seen: Vec::new() }
    }

    /// As alice, with her password.
    pub fn of_alice(house: &House, server: &str, more: &[&str]) -> Self {
        Self::start(house, server, &["--user", "alice", "--password-stdin"], more, "secret of alice\n")
    }

    pub fn connect(&self) -> TcpStream {
        connect(&self.address)
    }

    /// The next line on standard error that has this part.
    #[track_caller]
    pub fn wait_for(&mut self, part: &str) -> String {
        loop {
            let Ok(line) = self.errors.recv_timeout(PATIENCE) else {
                panic!("no line with {part:?} came; there were {:#?}", self.seen);
            };
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
