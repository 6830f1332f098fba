//! What is asked on a terminal, and how the terminal is left.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::accounts::TotpSecret;
use countersign::crypto::rustcrypto;
use countersign::{
    Acceptor, Attempt, FactorAttempt, Form, Further, Grant, PrivateKey, Prompt, Reason, ServerConfig, ServerKey,
    Verifier,
};
use rustix::io::ioctl_fionread;
use rustix::process::{Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr, tcgetpgrp};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use support::{Freed, House, PATIENCE, until};

/// A command on a terminal of its own.
struct Terminal {
    keyboard: File,
    /// The command's end.
    line: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    child: Child,
}

impl Terminal {
    fn run(house: &House, args: &[&str]) -> Self {
        Self::of(house, &[&[env!("CARGO_BIN_EXE_countersign")], args].concat())
    }

    /// A line for a shell, in the house.
    fn shell(house: &House, line: &str) -> Self {
        Self::of(house, &["sh", "-c", line])
    }

    fn of(house: &House, args: &[&str]) -> Self {
        Self::typed_ahead(house, "", args)
    }

    /// What was typed before the command began.
    fn typed_ahead(house: &House, typed: &str, args: &[&str]) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let line = OpenOptions::new().read(true).write(true).open(OsStr::from_bytes(name.as_bytes())).unwrap();
        let mut keyboard = File::from(keyboard);
        keyboard.write_all(typed.as_bytes()).unwrap();
        until("it has arrived", || ioctl_fionread(&line).unwrap() > 0 || typed.is_empty());
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).args(args).current_dir(house.folder.path());
        command.env_remove("HOME").env("XDG_STATE_HOME", house.path("state"));
        let end = || line.try_clone().unwrap();
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let (tell, screen) = channel();
        let mut reader = keyboard.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(len @ 1..) = reader.read(&mut bytes) {
                if tell.send(bytes[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { keyboard, line, screen, seen: String::new(), child }
    }

    /// Waits until this is on the screen, behind what was waited for before.
    #[track_caller]
    fn wait_for(&mut self, part: &str) {
        while !self.seen.contains(part) {
            let bytes = self.screen.recv_timeout(PATIENCE);
            let bytes = bytes.unwrap_or_else(|_| panic!("{part:?} never came; there was {:?}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        self.seen = self.seen.split_once(part).unwrap().1.to_owned();
    }

    /// As [`Terminal::wait_for`]; gives what came before it.
    #[track_caller]
    fn before(&mut self, part: &str) -> String {
        while !self.seen.contains(part) {
            let bytes = self.screen.recv_timeout(PATIENCE).unwrap();
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        let seen = std::mem::take(&mut self.seen);
        let (before, after) = seen.split_once(part).unwrap();
        self.seen = after.to_owned();
        before.to_owned()
    }

    fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.line).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    fn signal(&self, signal: Signal) {
        kill_process_group(tcgetpgrp(&self.keyboard).unwrap(), signal).unwrap();
    }

    /// Waits for the end, and gives the status; none where a signal ended it.
    fn end(&mut self) -> Option<i32> {
        let status = self.child.wait().unwrap().code();
        // setsid says so as shells do.
        status.filter(|status| *status < 128)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PROMPT: &str = "New password for bob: ";

fn asked(house: &House) -> Terminal {
    let mut terminal = Terminal::run(house, &["user", "add", "bob", "--users", &house.path("users.txt")]);
    terminal.wait_for(PROMPT);
    assert!(!terminal.echoes());
    terminal
}

#[test]
fn the_echo_is_back_whatever_ends_a_question() {
    let house = House::new();
    let users = house.read("users.txt");
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let mut terminal = asked(&house);
        terminal.signal(signal);
        assert_eq!(terminal.end(), None, "{signal:?} ends it as a signal does");
        assert!(terminal.echoes(), "{signal:?}");
    }
    for key in ["\x03", "\x1c", "half a pass\x03"] {
        let mut terminal = asked(&house);
        terminal.type_in(key);
        assert_eq!(terminal.end(), None, "{key:?}");
        assert!(terminal.echoes(), "{key:?}");
    }
    // At the second question, too.
    let mut terminal = asked(&house);
    terminal.type_in("correct horse battery\n");
    terminal.wait_for("The same again: ");
    assert!(!terminal.echoes());
    terminal.type_in("\x03");
    assert_eq!(terminal.end(), None);
    assert!(terminal.echoes());
    assert_eq!(house.read("users.txt"), users);
}

#[test]
fn what_is_typed_stays_in_no_memory_that_is_given_back() {
    const SECRET: &str = "x-marked correct horse battery";
    let house = House::new();
    let Some(freed) = Freed::new(&house) else { return };
    // A terminal has its environment of `env`.
    let with = freed.environment(&[&SECRET.as_bytes()[..8]]).map(|(name, value)| format!("{name}={value}"));
    let with: Vec<&str> = ["env"].into_iter().chain(with.iter().map(String::as_str)).collect();
    let (users, identity) = (house.path("users.txt"), house.path("identity.pem"));
    for (args, prompt) in [
        (&["user", "add", "bob", "--users", &users][..], PROMPT),
        (&["keygen", "--identity", "--encrypt", "--out", &identity], "Passphrase for "),
    ] {
        let mut terminal = Terminal::of(&house, &[&with[..], &[env!("CARGO_BIN_EXE_countersign")], args].concat());
        for prompt in [prompt, "The same again: "] {
            terminal.wait_for(prompt);
            terminal.type_in(&format!("{SECRET}\n"));
        }
        assert_eq!(terminal.end(), Some(0), "{args:?}");
        assert_eq!(freed.told(), "", "{args:?}");
    }
}

#[test]
fn what_was_mistyped_once_of_two_times_is_not_taken() {
    let house = House::new();
    let (users, identity) = (house.path("users.txt"), house.path("identity.pem"));
    let before = house.read("users.txt");
    let alices = "New password for alice: ";
    for (args, prompt, says) in [
        (&["user", "add", "bob", "--users", &users][..], PROMPT, "the two passwords differ"),
        (&["user", "passwd", "alice", "--users", &users], alices, "the two passwords differ"),
        (&["keygen", "--identity", "--encrypt", "--out", &identity], "Passphrase for ", "the two passphrases differ"),
    ] {
        let mut terminal = Terminal::run(&house, args);
        terminal.wait_for(prompt);
        terminal.type_in("correct horse battery\n");
        terminal.wait_for("The same again: ");
        terminal.type_in("correct horse buttery\n");
        assert_eq!(terminal.end(), Some(1), "{args:?}");
        terminal.wait_for(says);
    }
    assert_eq!(house.read("users.txt"), before);
    assert!(!std::fs::exists(&identity).unwrap());
}

/// The system keeps so many bytes of a line, and drops what comes behind them.
#[test]
fn a_password_that_a_terminal_would_cut_is_not_set_and_a_shorter_one_is_set_whole() {
    let house = House::new();
    let (users, before) = (house.path("users.txt"), house.read("users.txt"));
    let args = ["user", "passwd", "alice", "--users", &users];
    let alices = "New password for alice: ";
    for len in [4095, 5000] {
        let mut terminal = Terminal::run(&house, &args);
        terminal.wait_for(alices);
        terminal.type_in(&format!("{}\n", "x".repeat(len)));
        terminal.wait_for("a terminal takes no line of 4095 bytes or more");
        assert_eq!(terminal.end(), Some(2), "{len}");
        assert_eq!(house.read("users.txt"), before);
    }
    let longest = "x".repeat(4094);
    let mut terminal = Terminal::run(&house, &args);
    for prompt in [alices, "The same again: "] {
        terminal.wait_for(prompt);
        terminal.type_in(&format!("{longest}\n"));
    }
    assert_eq!(terminal.end(), Some(0));
    let server = house.serve(&["--refusal-floor", "1ms"]);
    server.login(&house, "alice", &longest[1..], &[]).fails(1, &["refused"]);
    server.login(&house, "alice", &longest, &["--send", "whoami"]).ok();
}

#[test]
fn what_was_typed_before_a_question_is_not_its_answer() {
    let house = House::new();
    let server = house.serve(&[]);
    let command = env!("CARGO_BIN_EXE_countersign");
    let (users, before) = (house.path("users.txt"), house.read("users.txt"));
    // As somebody does who has pasted too much. It was seen while they typed.
    let args = [command, "user", "add", "bob", "--users", &users];
    let mut terminal = Terminal::typed_ahead(&house, "correct horse battery\ncorrect horse battery\n", &args);
    terminal.wait_for(PROMPT);
    terminal.type_in("\x04");
    assert_eq!(terminal.end(), Some(2));
    assert_eq!(house.read("users.txt"), before);
    let args = [command, "login", "--server", &server.address, "--user", "alice", "--send", "whoami"];
    let mut terminal = Terminal::typed_ahead(&house, "yes\n", &args);
    terminal.wait_for(QUESTION);
    terminal.type_in("no\n");
    terminal.wait_for("was not confirmed");
    assert_eq!(terminal.end(), Some(3));
}

#[test]
fn the_end_of_input_is_no_missing_terminal() {
    let house = House::new();
    let mut terminal = asked(&house);
    terminal.type_in("\x04");
    terminal.wait_for("nothing was typed");
    assert_eq!(terminal.end(), Some(2));
    assert!(terminal.echoes());
}

#[test]
fn a_question_survives_being_stopped() {
    let house = House::new();
    let mut terminal = asked(&house);
    terminal.type_in("\x1a");
    until("the echo is back", || terminal.echoes());
    terminal.signal(Signal::CONT);
    terminal.wait_for(PROMPT);
    for prompt in ["The same again: ", "added bob"] {
        assert!(!terminal.echoes());
        terminal.type_in("correct horse battery\n");
        terminal.wait_for(prompt);
    }
    assert_eq!(terminal.end(), Some(0));
    assert!(!terminal.seen.contains("correct horse"), "{:?}", terminal.seen);
}

fn login(house: &House, address: &str, pin: &str) -> Terminal {
    let who = ["login", "--server", address, "--user", "alice", "--pin", pin, "--send", "whoami"];
    Terminal::run(house, &who)
}

const PASSWORD: &str = "Password for alice: ";

#[test]
fn nobody_is_asked_for_a_password_that_can_t_be_used() {
    let house = House::new();
    let server = house.serve(&[]);
    let other = format!("SHA256:{}", "A".repeat(43));
    for (address, pin, status, said) in
        [(server.address.as_str(), &other, 3, "is not trusted"), ("127.0.0.1:1", &house.pin(), 4, "cannot connect")]
    {
        for command in ["login", "connect"] {
            let mut terminal = match command {
                "login" => login(&house, address, pin),
                _ => {
                    let who = ["--server", address, "--user", "alice", "--pin", pin];
                    Terminal::run(&house, &[&["connect", "--listen", "127.0.0.1:0"][..], &who].concat())
                }
            };
            assert_eq!(terminal.end(), Some(status), "{command}");
            terminal.wait_for(said);
            assert!(!terminal.seen.contains("Password"), "{:?}", terminal.seen);
        }
    }
}

#[test]
fn who_types_slowly_is_let_in_all_the_same() {
    let house = House::new();
    let mut server = house.serve(&["--handshake-timeout", "5s"]);
    let mut terminal = login(&house, &server.address, &house.pin());
    terminal.wait_for(PASSWORD);
    // The server has given this connection up.
    server.wait_for(&["event=handshake-failed", "code=deadline-passed"]);
    terminal.type_in("secret of alice\n");
    terminal.wait_for("alice permissions=read,write");
    assert_eq!(terminal.end(), Some(0));
    // And nobody is asked the next time.
    let mut terminal = login(&house, &server.address, &house.pin());
    terminal.wait_for("resumed");
    assert_eq!(terminal.end(), Some(0));
    // Who types fast needs one connection.
    std::fs::remove_dir_all(house.path("state")).unwrap();
    let mut server = house.serve(&[]);
    let mut terminal = login(&house, &server.address, &house.pin());
    terminal.wait_for(PASSWORD);
    terminal.type_in("secret of alice\n");
    assert_eq!(terminal.end(), Some(0));
    server.stop("-TERM");
    assert!(server.seen.last().unwrap().contains("accepted=1 refused=0 failed=0"), "{:?}", server.seen);
}

/// What is asked of a server that is met for the first time.
const QUESTION: &str = "Is it the server's key? (yes, no, or the fingerprint) ";

fn meet(house: &House, address: &str, more: &[&str]) -> Terminal {
    Terminal::run(house, &[&["login", "--server", address, "--user", "alice", "--send", "whoami"], more].concat())
}

#[test]
fn a_server_that_is_not_known_is_asked_about_with_its_fingerprint_before_any_password() {
    let house = House::new();
    let server = house.serve(&[]);
    let pin = house.pin();
    let other = format!("SHA256:{}\n", "A".repeat(43));
    for answer in ["no\n", "\x04"] {
        let mut terminal = meet(&house, &server.address, &[]);
        terminal.wait_for(&format!("{} is not known yet", server.address));
        terminal.wait_for(&pin);
        terminal.wait_for(QUESTION);
        assert!(terminal.echoes(), "it is no secret");
        terminal.type_in(answer);
        assert_eq!(terminal.end(), Some(3), "{answer:?}");
        terminal.wait_for("was not confirmed");
        assert!(!terminal.seen.contains("Password"), "{:?}", terminal.seen);
    }
    assert!(!std::fs::exists(house.path("state/countersign/known_hosts")).unwrap());
    // What is no answer is asked again; the fingerprint itself is one.
    for (wrong, right) in [("y\n", "yes\n"), (other.as_str(), &format!("{pin}\n"))] {
        let mut terminal = meet(&house, &server.address, &[]);
        terminal.wait_for(QUESTION);
        terminal.type_in(wrong);
        terminal.wait_for("yes, no, or the fingerprint: ");
        terminal.type_in(right);
        terminal.wait_for(PASSWORD);
        terminal.type_in("secret of alice\n");
        terminal.wait_for("alice permissions=read,write");
        assert_eq!(terminal.end(), Some(0));
        assert!(house.read("state/countersign/known_hosts").contains(" accepted=confirmed "));
        // And nobody is asked the next time.
        let mut terminal = meet(&house, &server.address, &["--no-resume"]);
        terminal.wait_for(PASSWORD);
        assert!(!terminal.seen.contains("not known yet"));
        terminal.type_in("secret of alice\n");
        terminal.wait_for("server proved itself");
        assert_eq!(terminal.end(), Some(0));
        std::fs::remove_dir_all(house.path("state")).unwrap();
    }
    // Nobody is asked about another than the known one, and nobody who said not to be.
    let mut terminal = meet(&house, &server.address, &["--trust", "strict"]);
    assert_eq!(terminal.end(), Some(3));
}

#[test]
fn who_looks_at_a_key_for_longer_than_the_server_waits_is_let_in_all_the_same() {
    let house = House::new();
    let mut server = house.serve(&["--handshake-timeout", "5s"]);
    let mut terminal = meet(&house, &server.address, &[]);
    terminal.wait_for(QUESTION);
    server.wait_for(&["event=handshake-failed", "code=deadline-passed"]);
    terminal.type_in("yes\n");
    terminal.wait_for(PASSWORD);
    terminal.type_in("secret of alice\n");
    terminal.wait_for("server proved itself");
    terminal.wait_for("alice permissions=read,write");
    assert_eq!(terminal.end(), Some(0));
    // Where nothing else is asked, too.
    std::fs::remove_dir_all(house.path("state")).unwrap();
    house.write("token", house.token("alice").as_bytes(), 0o600);
    let run = format!(
        "{} login --server {} --token-stdin --send whoami < token",
        env!("CARGO_BIN_EXE_countersign"),
        server.address
    );
    let mut terminal = Terminal::shell(&house, &run);
    terminal.wait_for(QUESTION);
    server.wait_for(&["event=handshake-failed", "code=deadline-passed"]);
    terminal.type_in("yes\n");
    terminal.wait_for("alice permissions=read,write");
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn a_tunnel_asks_before_it_listens() {
    let house = House::new();
    let server = house.serve(&[]);
    let who = ["connect", "--listen", "127.0.0.1:0", "--server", &server.address, "--user", "alice"];
    let mut terminal = Terminal::run(&house, &who);
    terminal.wait_for(QUESTION);
    terminal.type_in("yes\n");
    terminal.wait_for(PASSWORD);
    terminal.type_in("secret of alice\n");
    terminal.wait_for("listening on ");
}

#[test]
fn a_server_asks_for_its_keys_passphrase_and_then_heeds_signals() {
    let house = House::new();
    house.key("tools/encrypted-pkcs8.pem", "server.pem");
    let (key, users) = (house.path("server.pem"), house.path("users.txt"));
    let mut terminal = Terminal::run(&house, &["serve", "--listen", "127.0.0.1:0", "--key", &key, "--users", &users]);
    terminal.wait_for("Passphrase for ");
    terminal.type_in("x\n");
    terminal.wait_for("fingerprint SHA256:P5+WhS2XpoLS");
    assert!(terminal.echoes());
    terminal.signal(Signal::HUP);
    terminal.wait_for("event=keys-");
    terminal.signal(Signal::TERM);
    terminal.wait_for("event=stopped");
    assert_eq!(terminal.end(), Some(0));
}

/// The code of this many seconds from now.
#[test]
fn the_passphrase_of_a_key_is_asked_for_once_the_server_is_trusted_and_again_where_it_was_mistyped() {
    let house = House::new();
    let key = house.key("signing/id_ed25519.encrypted", "id_ed25519");
    let users = house.path("users.txt");
    let public = house.key("signing/id_ed25519.pub", "id_ed25519.pub");
    support::run(&["user", "key", "add", "alice", "--key", &public, "--users", &users], "").ok();
    let mut server = house.serve(&["--handshake-timeout", "5s"]);
    let (pin, address) = (house.pin(), server.address.clone());
    let args = |pin: &str| {
        let args = ["login", "--server", &address, "--user", "alice", "--identity", &key, "--send", "whoami", "--pin"];
        args.iter().map(|&arg| arg.to_owned()).chain([pin.to_owned()]).collect::<Vec<_>>()
    };
    let run = |args: Vec<String>| Terminal::run(&house, &args.iter().map(String::as_str).collect::<Vec<_>>());
    let mut terminal = run(args("SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"));
    terminal.wait_for("is not trusted");
    assert_eq!(terminal.end(), Some(3));

    let prompt = format!("Passphrase for {key}: ");
    let mut terminal = run(args(&pin));
    terminal.wait_for(&prompt);
    assert!(!terminal.echoes());
    terminal.type_in("wrong\n");
    terminal.wait_for("the passphrase does not open this private key");
    terminal.wait_for(&prompt);
    // Longer than the server waits.
    server.wait_for(&["event=handshake-failed"]);
    server.wait_for(&["event=handshake-failed"]);
    terminal.type_in("x\n");
    terminal.wait_for("logged in as alice");
    assert_eq!(terminal.end(), Some(0));

    // A ticket needs no key.
    let mut terminal = run(args(&pin));
    terminal.wait_for("logged in as alice (read, write), resumed");
    assert_eq!(terminal.end(), Some(0));
    let mut terminal = run([args(&pin), vec!["--no-resume".to_owned()]].concat());
    for _ in 0..3 {
        terminal.wait_for(&prompt);
        terminal.type_in("wrong\n");
    }
    terminal.wait_for("countersign: ");
    assert_eq!(terminal.end(), Some(2));
}

fn code(secret: &TotpSecret, seconds: u64) -> String {
    let time = std::time::SystemTime::now() + std::time::Duration::from_secs(seconds);
    secret.code(countersign::UnixTime::from_system(time)).as_str().to_owned()
}

#[test]
fn a_second_factor_is_confirmed_and_then_asked_for_where_it_is_seen() {
    let house = House::new();
    let users = house.path("users.txt");
    let before = house.read("users.txt");
    let enrol = |house: &House| {
        let mut terminal = Terminal::run(house, &["user", "totp", "alice", "--users", &users]);
        let drawn = terminal.before("or type in the secret: ");
        assert!(drawn.contains('\u{2588}') && drawn.lines().count() > 20, "no QR code: {drawn:?}");
        let secret = TotpSecret::parse(terminal.before("\r\n").trim()).unwrap();
        terminal.wait_for("The code that it shows now: ");
        assert!(terminal.echoes());
        (terminal, secret)
    };
    let (mut terminal, _) = enrol(&house);
    for _ in 0..2 {
        terminal.type_in("000000\n");
        terminal.wait_for("that is not the code");
        terminal.wait_for("The code that it shows now: ");
    }
    terminal.type_in("000000\n");
    terminal.wait_for("nothing was changed");
    assert_eq!(terminal.end(), Some(1));
    assert_eq!(house.read("users.txt"), before);

    let (mut terminal, secret) = enrol(&house);
    terminal.type_in(&format!("{}\n", code(&secret, 0)));
    terminal.wait_for("set the second factor of alice");
    assert_eq!(terminal.before("each of these recovery codes").lines().filter(|line| line.contains('-')).count(), 10);
    assert_eq!(terminal.end(), Some(0));

    let server = house.serve(&[]);
    let pin = house.pin();
    let login = ["login", "--server", &server.address, "--user", "alice", "--pin", &pin, "--send", "whoami"];
    let mut terminal = Terminal::run(&house, &login);
    terminal.wait_for("Password for alice: ");
    assert!(!terminal.echoes());
    terminal.type_in("secret of alice\n");
    terminal.wait_for("Code of your authenticator, or a recovery code: ");
    assert!(terminal.echoes());
    terminal.type_in(&format!("{}\n", code(&secret, 30)));
    terminal.wait_for("logged in as alice");
    assert_eq!(terminal.end(), Some(0));
}

/// Has a PIN asked for beside a password, in words that would turn a line round, and lets whoever has it in under such a name.
struct AsksForAPin;

impl Verifier for AsksForAPin {
    fn verify(&self, _: &Attempt<'_>) -> Result<Grant, Reason> {
        Ok(Grant::new("al\u{202e}ice\u{200b}", ["read"]).unwrap())
    }

    fn further(&self, further: &Further<'_>) -> Result<Option<Prompt>, Reason> {
        Ok((further.step() == 0).then(|| Prompt::new(Form::Hidden, "PIN of your \u{202e}card").unwrap()))
    }

    fn check_factor(&self, attempt: &FactorAttempt<'_>) -> Result<(), Reason> {
        if attempt.answer() == b"1234" { Ok(()) } else { Err(Reason::WrongFactor) }
    }
}

#[test]
fn what_a_server_asks_for_hidden_is_not_shown() {
    let house = House::new();
    let key = PrivateKey::from_pem(&house.read("server.pem")).unwrap();
    let key = ServerKey::load(&key, rustcrypto::provider()).unwrap();
    let acceptor = Acceptor::new(ServerConfig::new(rustcrypto::provider()), key, AsksForAPin);
    let address = support::service(move |stream| {
        let peer = stream.peer_addr().unwrap();
        // For as long as the other end is there.
        let _ = acceptor.accept_blocking(stream, peer).map(|mut session| session.read(&mut [0]));
    });
    let pin = house.pin();
    let login = ["login", "--server", &address, "--user", "alice", "--pin", &pin];
    let mut terminal = Terminal::run(&house, &login);
    terminal.wait_for("Password for alice: ");
    terminal.type_in("secret of alice\n");
    terminal.wait_for("PIN of your \\u{202e}card: ");
    assert!(!terminal.echoes());
    terminal.type_in("1234\n");
    assert!(!terminal.before("logged in as al\\u{202e}ice\\u{200b} (read)").contains("1234"));
}

#[test]
fn what_a_server_says_does_nothing_to_the_terminal() {
    let house = House::new();
    let server = house.serve(&[]);
    let pin = house.pin();
    // A title, as an answer; a pipe gets it as it is.
    let send = "echo \u{1b}]0;mine\u{7}!";
    let login = ["login", "--server", &server.address, "--user", "alice", "--pin", &pin, "--send", send];
    let mut terminal = Terminal::run(&house, &login);
    terminal.wait_for("Password for alice: ");
    terminal.type_in("secret of alice\n");
    let shown = terminal.before("!");
    assert!(
        shown.contains("\\u{1b}]0;mine\\u{7}") && !shown.contains('\u{1b}') && !shown.contains('\u{7}'),
        "{shown:?}"
    );
    assert_eq!(terminal.end(), Some(0));
    let said = server.login(&house, "alice", "secret of alice", &["--send", send]).ok();
    assert!(said.out.contains("\u{1b}]0;mine\u{7}!"), "{said:?}");
}
