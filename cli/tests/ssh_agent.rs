//! Logins by a key that an ssh-agent holds: a real one, where one is installed, and those that lie, hang, or are not there.
#![cfg(all(unix, feature = "ssh-agent"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use support::{House, Said, Server};

/// An agent of OpenSSH's. It ends with this.
struct Agent {
    child: Child,
    socket: String,
}

impl Agent {
    /// None, and a note, where OpenSSH is not installed.
    fn start(house: &House) -> Option<Self> {
        let socket = house.path("agent");
        let started = Command::new("ssh-agent").args(["-D", "-a", &socket]).stdout(Stdio::piped()).spawn();
        let (Ok(mut child), true) = (started, Command::new("ssh-add").arg("-h").output().is_ok()) else {
            support::left_out("openssh", "there is no ssh-agent here");
            return None;
        };
        // It says where it listens when it does.
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Some(Self { child, socket })
    }

    fn ssh_add(&self, house: &House, args: &[&str]) {
        let askpass = house.write("askpass", b"#!/bin/sh\necho locked\n", 0o700);
        let mut command = Command::new("ssh-add");
        command.args(args).env("SSH_AUTH_SOCK", &self.socket);
        command.env("SSH_ASKPASS", askpass).env("SSH_ASKPASS_REQUIRE", "force");
        let done = command.output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    /// Makes a pair of keys for alice, and gives the agent the private half alone; no file has it then.
    fn hold(&self, house: &House, name: &str, kind: &[&str]) {
        let path = house.path(name);
        let made = Command::new("ssh-keygen").args(["-q", "-N", "", "-C", name, "-f", &path]).args(kind).output();
        assert!(made.unwrap().status.success());
        self.ssh_add(house, &[&path]);
        std::fs::remove_file(&path).unwrap();
        let public = house.path(&format!("{name}.pub"));
        support::run(&["user", "key", "add", "alice", "--users", &house.path("users.txt"), "--key", &public], "").ok();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn login(house: &House, server: &Server, socket: Option<&str>, more: &[&str]) -> Said {
    let (key, address) = (house.path("server.pub.pem"), &server.address);
    let args =
        ["login", "--server", address, "--user", "alice", "--server-key", &key, "--send", "whoami", "--no-resume"];
    let mut command = support::command(&[&args[..], more].concat());
    command.env_remove("SSH_AUTH_SOCK");
    if let Some(socket) = socket {
        command.env("SSH_AUTH_SOCK", socket);
    }
    support::finish(&mut command, "")
}

/// The fingerprint that ssh-keygen prints of a public key.
fn printed(house: &House, name: &str) -> String {
    let said = Command::new("ssh-keygen").args(["-l", "-f", &house.path(name)]).output().unwrap();
    String::from_utf8(said.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn a_key_that_an_agent_holds_logs_in_by_its_file_by_its_fingerprint_or_as_the_only_one() {
    let house = House::new();
    let Some(agent) = Agent::start(&house) else { return };
    let socket = Some(&*agent.socket);
    let server = house.serve(&[]);
    login(&house, &server, socket, &["--agent"]).fails(2, &["holds no key", "ssh-add FILE"]);
    agent.hold(&house, "first", &["-t", "ed25519"]);
    let by_agent = |more: &[&str]| login(&house, &server, socket, more);
    assert_eq!(by_agent(&["--agent"]).ok().out, "alice permissions=read,write\n");
    by_agent(&["--identity", &house.path("first.pub")]).ok();

    agent.hold(&house, "second", &["-t", "ecdsa", "-b", "256"]);
    agent.hold(&house, "third", &["-t", "rsa", "-b", "2048"]);
    let (second, third) = (printed(&house, "second.pub"), printed(&house, "third.pub"));
    by_agent(&["--agent"]).fails(2, &["several keys", &second, "second", "which agents can't use"]);
    by_agent(&["--agent", &second]).ok();
    // As `user key list` prints it.
    let list = support::run(&["user", "key", "list", "alice", "--users", &house.path("users.txt"), "--json"], "").ok();
    let list: serde_json::Value = serde_json::from_str(&list.out).unwrap();
    assert_eq!(list[1]["openssh_fingerprint"], second);
    by_agent(&["--agent", list[1]["fingerprint"].as_str().unwrap()]).ok();
    by_agent(&["--agent", &third]).fails(2, &["can't make RSA-PSS signatures"]);
    by_agent(&["--agent", &house.pin()]).fails(2, &["holds no key with the fingerprint", &house.pin(), &second]);

    // Locked, it says that it has none.
    agent.ssh_add(&house, &["-x"]);
    by_agent(&["--identity", &house.path("first.pub")])
        .fails(2, &["does not hold the key", "ssh-add FILE", "ssh-add -X", "public half"]);
    by_agent(&["--agent"]).fails(2, &["holds no key", "ssh-add FILE", "ssh-add -X"]);
}

#[test]
fn an_agent_that_is_not_there_is_told_from_one_that_does_not_hold_the_key() {
    let house = House::new();
    let server = house.serve(&[]);
    login(&house, &server, None, &["--agent"]).fails(2, &["SSH_AUTH_SOCK is not set", "ssh-agent"]);
    let away = house.path("away");
    login(&house, &server, Some(&away), &["--agent"]).fails(2, &[&away, "not there", "SSH_AUTH_SOCK"]);
}

/// An agent that answers each message in this way.
fn fake(house: &House, answer: impl Fn(&[u8], &mut UnixStream) + Send + 'static) -> String {
    let socket = house.path("fake");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut len = [0; 4];
            if stream.read_exact(&mut len).is_err() {
                continue;
            }
            let mut message = vec![0; u32::from_be_bytes(len) as usize];
            stream.read_exact(&mut message).unwrap();
            answer(&message, &mut stream);
            // One that hangs does not hang up.
            open.push(stream);
        }
    });
    socket
}

fn send(stream: &mut UnixStream, answer: &[u8]) {
    let _ = stream.write_all(&u32::try_from(answer.len()).unwrap().to_be_bytes());
    let _ = stream.write_all(answer);
}

/// What an agent says that holds this key: the blob of its line.
fn holds(public: &str) -> Vec<u8> {
    let mut command = Command::new("sh");
    command.args(["-c", "cut -d' ' -f2 | base64 -d"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(public.as_bytes()).unwrap();
    let blob = child.wait_with_output().unwrap().stdout;
    let string = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    [&[12, 0, 0, 0, 1][..], &string(&blob), &string(b"fake")].concat()
}

/// A line of a key of Ed25519, without ssh-keygen.
fn public_key() -> String {
    include_str!("../../tests/keys/signing/id_ed25519.pub").to_owned()
}

#[test]
fn an_agent_that_lies_hangs_or_says_no_is_named_and_nobody_is_logged_in() {
    const LIST: u8 = 11;
    let house = House::new();
    let mut server = house.serve(&[]);
    let public = house.write("id.pub", public_key().as_bytes(), 0o644);
    let signature = |bytes: &[u8]| {
        let inner = [&[0, 0, 0, 11][..], b"ssh-ed25519", &[0, 0, 0, 64], bytes].concat();
        [&[14][..], &u32::try_from(inner.len()).unwrap().to_be_bytes(), &inner].concat()
    };
    type Answer = Box<dyn Fn(&mut UnixStream) + Send>;
    let cases: [(Answer, &[&str]); 4] = [
        (Box::new(|stream| send(stream, &[5])), &["refused to sign", "unlocked", "log anybody in"]),
        (Box::new(move |stream| send(stream, &signature(&[7; 64]))), &["does not verify", "--identity"]),
        (Box::new(|stream| send(stream, b"what?")), &["no answer", "the socket of an ssh-agent?"]),
        (Box::new(|stream| drop(stream.shutdown(std::net::Shutdown::Both))), &["went away"]),
    ];
    for (answer, parts) in cases {
        let listed = holds(&public_key());
        let socket = fake(&house, move |message, stream| match message.first() {
            Some(&LIST) => send(stream, &listed),
            _ => answer(stream),
        });
        login(&house, &server, Some(&socket), &["--identity", &public]).fails(2, parts);
        server.wait_for(&["event=handshake-failed", "before its ClientLogin"]);
        std::fs::remove_file(socket).unwrap();
    }
    // It lets nobody wait for longer than was said, whatever it was asked.
    let socket = fake(&house, |_, _| {});
    let said = login(&house, &server, Some(&socket), &["--identity", &public, "--timeout", "200ms"]);
    said.fails(2, &[&socket, "did not answer in time", "--timeout"]);
    std::fs::remove_file(&socket).unwrap();
    let listed = holds(&public_key());
    let socket = fake(&house, move |message, stream| {
        if message.first() == Some(&LIST) {
            send(stream, &listed);
        }
    });
    let said = login(&house, &server, Some(&socket), &["--identity", &public, "--timeout", "5s"]);
    said.fails(2, &["did not answer in time", "--timeout"]);
}
