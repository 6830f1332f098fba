//! `connect`: local ports that log in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::accounts::TotpSecret;
use countersign::crypto::rustcrypto;
use countersign::{Acceptor, Attempt, CredentialKind, PrivateKey, Reason, ServerConfig, ServerKey, UnixTime};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use support::{House, Tunnel, connect, echo, noise, run, service, status, until};

/// Says something, and hears it back, and the end after its own.
#[track_caller]
fn goes_through(mut stream: TcpStream, bytes: &[u8]) {
    let mut writer = stream.try_clone().unwrap();
    let sent = bytes.to_vec();
    let writer = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    writer.join().unwrap();
    assert!(answer == bytes, "{} bytes came back of {}", answer.len(), bytes.len());
}

#[track_caller]
fn is_reset(mut stream: TcpStream) {
    assert_eq!(stream.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn each_connection_is_a_session_of_its_own() {
    let house = House::new();
    let mut server = house.serve(&["--forward", &service(echo)]);
    let tunnel = Tunnel::of_alice(&house, &server.address, &[]);
    let mut open: Vec<TcpStream> = (0..5).map(|_| tunnel.connect()).collect();
    for (index, stream) in open.iter_mut().enumerate() {
        stream.write_all(&[u8::try_from(index).unwrap()]).unwrap();
    }
    for (index, stream) in open.iter_mut().enumerate() {
        let mut byte = [0; 1];
        stream.read_exact(&mut byte).unwrap();
        assert_eq!(usize::from(byte[0]), index);
        server.wait_for(&["event=login-", "user=\"alice\"", "code=ok"]);
    }
    drop(open);
    goes_through(tunnel.connect(), &noise(1024 * 1024));
    let token = house.token("alice");
    let who = ["--token-stdin"];
    let tunnel = Tunnel::start(&house, &server.address, &who, &[], &token);
    goes_through(tunnel.connect(), b"by token");
}

#[test]
fn later_connections_come_by_ticket_also_where_the_service_speaks_first() {
    let house = House::new();
    let speaks_first = service(|mut stream| {
        stream.write_all(b"hello").unwrap();
        echo(stream);
    });
    let mut server = house.serve(&["--forward", &speaks_first]);
    for (more, events) in [
        (&[][..], ["event=login-accepted", "event=login-resumed", "event=login-resumed"]),
        (&["--no-resume"], ["event=login-accepted"; 3]),
    ] {
        let tunnel = Tunnel::of_alice(&house, &server.address, more);
        for event in events {
            let mut stream = tunnel.connect();
            stream.read_exact(&mut [0; 5]).unwrap();
            goes_through(stream, b"hello");
            let log = server.wait_for(&["event=login-"]);
            assert!(log.contains(event), "{log}");
            server.wait_for(&["event=session-ended", "both ends closed"]);
        }
    }
}

#[test]
fn a_key_that_was_told_is_kept_and_proved_from_then_on() {
    let house = House::new();
    let server = house.serve(&["--forward", &service(echo)]);
    let kept = "state/countersign/known_hosts";
    let tunnel = Tunnel::of_alice(&house, &server.address, &["--no-resume"]);
    assert!(!std::fs::exists(house.path(kept)).unwrap());
    goes_through(tunnel.connect(), b"hello");
    assert!(house.read(kept).starts_with(&format!("{} accepted=pin ", server.address)), "{}", house.read(kept));
    // Whoever answers in the server's place has its public key, but not the private one: nothing is sent to it.
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let between = service(move |mut near| {
        let mut hello = vec![0; 3];
        near.read_exact(&mut hello).unwrap();
        hello.resize(3 + usize::from(u16::from_be_bytes([hello[1], hello[2]])), 0);
        near.read_exact(&mut hello[3..]).unwrap();
        let hello = countersign::codec::decode::<countersign::codec::ClientHello<'_>>(&hello[3..]).unwrap();
        tell.lock().unwrap().send((hello.known_keys.len(), hello.rsa_ciphertext.len())).unwrap();
    });
    let tunnel = Tunnel::of_alice(&house, &between, &[]);
    is_reset(tunnel.connect());
    assert_eq!(told.recv_timeout(support::PATIENCE).unwrap(), (1, 256));
}

#[test]
fn a_server_that_is_down_is_told_and_one_that_is_back_is_found() {
    let house = House::new();
    let target = service(echo);
    let mut server = house.serve(&["--forward", &target]);
    let address = server.address.clone();
    let mut tunnel = Tunnel::of_alice(&house, &address, &[]);
    goes_through(tunnel.connect(), b"before");
    server.stop("-TERM");
    let stream = tunnel.connect();
    tunnel.wait_for(&format!("cannot connect to {address}"));
    is_reset(stream);
    let mut server = house.serve(&["--forward", &target, "--listen", &address]);
    // Its ticket is one of the server before.
    goes_through(tunnel.connect(), b"after");
    server.wait_for(&["event=login-accepted"]);
    // A session that is cut is a reset, too.
    let mut stream = tunnel.connect();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0; 1]).unwrap();
    server.child.kill().unwrap();
    tunnel.wait_for("the session broke");
    is_reset(stream);
}

/// It is ended by a signal, always.
#[test]
fn local_programs_take_its_end_for_no_end_of_what_they_hear() {
    let house = House::new();
    let server = house.serve(&["--forward", &service(echo)]);
    let end = |tunnel: &Tunnel, signal: &str| {
        assert!(Command::new("kill").args([signal, &tunnel.child.id().to_string()]).status().unwrap().success());
    };
    for signal in ["-TERM", "-KILL"] {
        let tunnel = Tunnel::of_alice(&house, &server.address, &[]);
        let mut stream = tunnel.connect();
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
        end(&tunnel, signal);
        is_reset(stream);
    }
    // Nor is it an answer to whoever waits for a login.
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let silent = service(move |mut near| {
        tell.lock().unwrap().send(()).unwrap();
        let _ = std::io::copy(&mut near, &mut std::io::sink());
    });
    let tunnel = Tunnel::of_alice(&house, &silent, &[]);
    let stream = tunnel.connect();
    told.recv_timeout(support::PATIENCE).unwrap();
    end(&tunnel, "-TERM");
    is_reset(stream);
}

#[test]
fn what_a_local_program_reads_after_all_is_over_is_whole_and_has_its_end() {
    let house = House::new();
    let server = house.serve(&["--forward", &service(echo)]);
    let tunnel = Tunnel::of_alice(&house, &server.address, &["--max-connections", "1"]);
    let mut first = tunnel.connect();
    // More than arrives before it is read, and no more than the system keeps for that.
    let data = noise(192 * 1024);
    first.write_all(&data).unwrap();
    first.shutdown(Shutdown::Write).unwrap();
    // The second is served once the first is over.
    goes_through(tunnel.connect(), b"second");
    let mut heard = Vec::new();
    first.read_to_end(&mut heard).unwrap();
    assert!(heard == data, "{} bytes of {}", heard.len(), data.len());
}

#[test]
fn a_password_that_is_refused_is_not_tried_again() {
    let house = House::new();
    let mut server = house.serve(&["--forward", &service(echo), "--refusal-floor", "1ms"]);
    let who = ["--user", "alice", "--password-stdin"];
    let mut tunnel = Tunnel::start(&house, &server.address, &who, &[], "wrong\n");
    is_reset(tunnel.connect());
    tunnel.wait_for("refused this login");
    assert_eq!(status(&mut tunnel.child), 1);
    server.wait_for(&["event=login-refused", "wrong password"]);

    let other = House::new();
    other.key("other2048.pem", "server.pem");
    let mut tunnel = Tunnel::of_alice(&other, &server.address, &[]);
    is_reset(tunnel.connect());
    tunnel.wait_for("is not trusted");
    assert_eq!(status(&mut tunnel.child), 3);
}

/// Each further connection would be a login that fails, and count as one.
#[test]
fn a_login_that_asks_for_what_nobody_has_given_is_not_tried_again() {
    let house = House::new();
    run(&["user", "totp", "alice", "--no-confirm", "--users", &house.path("users.txt")], "").ok();
    let server = house.serve(&["--forward", &service(echo), "--refusal-floor", "1ms"]);
    // Nobody is there to ask.
    let mut command = Command::new("setsid");
    command.args(["--wait", env!("CARGO_BIN_EXE_countersign"), "connect", "--listen", "127.0.0.1:0"]);
    command.args(["--server", &server.address, "--pin", &house.pin(), "--user", "alice", "--password-stdin"]);
    command.env_remove("HOME").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tunnel = Tunnel::of(command, &house, "secret of alice\n");
    is_reset(tunnel.connect());
    tunnel.wait_for("a further factor");
    assert_eq!(status(&mut tunnel.child), 2);

    let key = PrivateKey::from_pem(&house.read("server.pem")).unwrap();
    let key = ServerKey::load(&key, rustcrypto::provider()).unwrap();
    let tokens = ServerConfig::new(rustcrypto::provider()).with_credential_kinds(&[CredentialKind::Token]).unwrap();
    let acceptor = Acceptor::new(tokens, key, |_: &Attempt<'_>| Err(Reason::UnknownUser));
    let of_tokens = service(move |stream| {
        let peer = stream.peer_addr().unwrap();
        let _ = acceptor.accept_blocking(stream, peer);
    });
    let mut tunnel = Tunnel::of_alice(&house, &of_tokens, &[]);
    is_reset(tunnel.connect());
    tunnel.wait_for("takes no password credential");
    assert_eq!(status(&mut tunnel.child), 6);
}

/// Programs open several connections at once: the others come by the ticket of the one for which the code was given.
#[test]
fn connections_at_once_take_one_answer_for_all_of_them() {
    let house = House::new();
    let said = run(&["user", "totp", "alice", "--no-confirm", "--users", &house.path("users.txt")], "").ok();
    let secret = TotpSecret::parse(said.out.split(['=', '&']).nth(1).unwrap()).unwrap();
    let mut server = house.serve(&["--forward", &service(echo), "--refusal-floor", "1ms"]);
    // That of the next half minute is good already, and was not used before the server's start.
    let code = secret.code(UnixTime::from_system(SystemTime::now() + Duration::from_secs(30)));
    let answers = format!("secret of alice\n{}\n", code.as_str());
    let who = ["--user", "alice", "--password-stdin", "--factor-stdin"];
    let tunnel = Tunnel::start(&house, &server.address, &who, &[], &answers);
    let open: Vec<TcpStream> = (0..5).map(|_| tunnel.connect()).collect();
    open.into_iter().for_each(|stream| goes_through(stream, b"with a code, or a ticket"));
    server.wait_for(&["event=login-accepted", "factors=1"]);
    (0..4).for_each(|_| drop(server.wait_for(&["event=login-resumed"])));
}

/// Whoever finds out that a key was stolen need not end what runs.
#[test]
fn a_key_that_is_revoked_while_it_runs_gets_no_further_login_also_where_it_was_given() {
    let house = House::new();
    let server = house.serve(&["--forward", &service(echo)]);
    let mut tunnel = Tunnel::of_alice(&house, &server.address, &["--no-resume"]);
    goes_through(tunnel.connect(), b"before");
    let mut revoke = support::command(&["known-hosts", "revoke", "*", &house.pin()]);
    assert!(revoke.env("XDG_STATE_HOME", house.path("state")).status().unwrap().success());
    is_reset(tunnel.connect());
    tunnel.wait_for("IS REVOKED");
    assert_eq!(status(&mut tunnel.child), 3);
}

/// A machine that has lost its power says nothing.
#[cfg(target_os = "linux")]
#[test]
fn each_connection_asks_now_and_then_whether_its_peer_is_still_there() {
    let house = House::new();
    let target = service(echo);
    let server = house.serve(&["--forward", &target]);
    let tunnel = Tunnel::of_alice(&house, &server.address, &[]);
    let mut open = tunnel.connect();
    open.write_all(b"x").unwrap();
    open.read_exact(&mut [0]).unwrap();
    // proc(5): local and remote address, state 01 for established, the queues, and the timer that runs: 02 for one of an idle connection.
    let timers = |port: &str| {
        let port = format!(":{:04X}", port.rsplit_once(':').unwrap().1.parse::<u16>().unwrap());
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let rows = table.lines().skip(1).map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
        let rows = rows.filter(|row| row[2].ends_with(&port) && row[3] == "01");
        rows.map(|row| row[5].split(':').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // Once what was said is acknowledged.
    until("the client's end asks", || timers(&server.address) == ["02"]);
    until("the server's end to its target asks", || timers(&target) == ["02"]);
}

#[test]
fn a_server_that_is_full_is_tried_again_later_and_never_given_up() {
    let house = House::new();
    let mut server = house.serve(&["--forward", &service(echo), "--max-sessions", "1", "--refusal-floor", "1ms"]);
    let only = house.session(connect(&server.address));
    let mut tunnel = Tunnel::of_alice(&house, &server.address, &[]);
    is_reset(tunnel.connect());
    let line = tunnel.wait_for("busy");
    // As long as the server says, which spreads those that it sends away.
    assert!(
        (2..=4).any(|wait| line.contains(&format!("try again in {wait} s; the next is tried after {wait} s"))),
        "{line}"
    );
    for _ in 0..4 {
        is_reset(tunnel.connect());
        tunnel.wait_for("the next is tried after ");
    }
    drop(only);
    server.wait_for(&["event=session-ended"]);
    until("a connection goes through", || {
        let mut stream = tunnel.connect();
        stream.write_all(b"z").is_ok() && stream.read_exact(&mut [0; 1]).is_ok()
    });
    assert!(tunnel.child.try_wait().unwrap().is_none());
}

#[test]
fn after_a_good_login_a_user_without_room_is_tried_again_later() {
    let house = House::new();
    let more = ["--max-sessions-per-user", "1", "--refusal-floor", "1ms"];
    let mut server = house.serve(&[&["--forward", &service(echo)], &more[..]].concat());
    let mut tunnel = Tunnel::of_alice(&house, &server.address, &[]);
    let mut first = tunnel.connect();
    first.write_all(b"x").unwrap();
    first.read_exact(&mut [0; 1]).unwrap();
    is_reset(tunnel.connect());
    let line = tunnel.wait_for("refused this login");
    assert!(line.contains("the next is tried after 1 s"), "{line}");
    // More than end it before the first good login, and none of them is a login.
    for _ in 0..4 {
        is_reset(tunnel.connect());
        tunnel.wait_for("the next is tried after ");
    }
    first.write_all(b"y").unwrap();
    first.read_exact(&mut [0; 1]).unwrap();
    drop(first);
    server.wait_for(&["event=session-ended"]);
    until("a connection goes through", || {
        let mut stream = tunnel.connect();
        stream.write_all(b"z").is_ok() && stream.read_exact(&mut [0; 1]).is_ok()
    });
    let refused = server.seen.iter().filter(|line| line.contains("event=login-refused")).count();
    assert!((1..4).contains(&refused), "{:#?}", server.seen);
    assert!(tunnel.child.try_wait().unwrap().is_none());
}

#[test]
fn what_is_open_when_it_ends_goes_on_to_its_end() {
    let (house, other) = (House::new(), House::new());
    other.key("other2048.pem", "server.pem");
    let (right, wrong) = (house.serve(&["--forward", &service(echo)]), other.serve(&[]));
    let (first, then) = (right.address.clone(), wrong.address.clone());
    let is_later = AtomicBool::new(false);
    let between = service(move |mut near| {
        let mut far = connect(if is_later.swap(true, Ordering::Relaxed) { &then } else { &first });
        let (mut from, mut to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        let back = std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut near, &mut far);
        let _ = far.shutdown(Shutdown::Write);
        back.join().unwrap();
    });
    let mut tunnel = Tunnel::of_alice(&house, &between, &[]);
    let mut stream = tunnel.connect();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0; 1]).unwrap();
    is_reset(tunnel.connect());
    tunnel.wait_for("is not trusted");
    tunnel.wait_for("1 connection still open");
    assert!(TcpStream::connect(&tunnel.address).is_err(), "nobody listens any more");
    goes_through(stream, b"more");
    assert_eq!(status(&mut tunnel.child), 3);
}

#[test]
fn local_connections_are_bounded() {
    let house = House::new();
    let mut server = house.serve(&["--forward", &service(echo)]);
    let tunnel = Tunnel::of_alice(&house, &server.address, &["--max-connections", "1"]);
    let mut first = tunnel.connect();
    first.write_all(b"x").unwrap();
    first.read_exact(&mut [0; 1]).unwrap();
    let second = tunnel.connect();
    drop(first);
    // The second is served once the first is over, and not before.
    goes_through(second, b"second");
    server.wait_for(&["event=login-accepted"]);
    server.wait_for(&["event=session-ended"]);
    server.wait_for(&["event=login-resumed"]);
    assert_eq!(server.seen.iter().filter(|line| line.contains("event=login-")).count(), 2);
}

#[test]
fn it_listens_on_this_machine_alone_unless_told_otherwise() {
    let house = House::new();
    let pin = house.pin();
    let connect = |listen: &str, more: &[&str]| {
        let who = ["connect", "--listen", listen, "--server", "127.0.0.1:1", "--user", "alice", "--pin", &pin];
        run(&[&who[..], &["--password-stdin"], more].concat(), "")
    };
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        connect(listen, &[]).fails(2, &[listen, "--allow-remote"]);
    }
    connect("127.0.0.1", &[]).fails(2, &["ADDRESS:PORT"]);
    // Past that, it wants its password.
    connect("0.0.0.0:0", &["--allow-remote"]).fails(2, &["empty"]);
    connect("[::ffff:127.0.0.1]:0", &[]).fails(2, &["empty"]);
    let who = ["connect", "--listen", "127.0.0.1:0", "--server", "127.0.0.1:1", "--user", "alice"];
    run(&who, "").fails(2, &["--pin"]);
}
