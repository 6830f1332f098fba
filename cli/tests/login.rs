//! `serve` and `login`, end to end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use countersign::crypto::rustcrypto;
use countersign::{Acceptor, Attempt, Grant, PrivateKey, Reason, ServerConfig, ServerKey, Stream};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use support::{House, run};

const GOOD: &str = "secret of alice";

#[test]
fn a_password_logs_in_and_answers_go_to_standard_output() {
    let house = House::new();
    let mut server = house.serve(&[]);
    let lines = ["--send", "whoami", "--send", "echo a  b", "--send", "nonsense", "--send", "quit"];
    let said = server.login(&house, "alice", GOOD, &lines).ok();
    let unknown = "error: unknown command; there are: whoami, echo TEXT, quit";
    assert_eq!(said.out, format!("alice permissions=read,write\na  b\n{unknown}\nbye\n"));
    assert!(said.err.contains("logged in as alice (read, write)\n"), "{said:?}");

    let log = server.wait_for(&["event=login-accepted"]);
    let session = log.split("session=").nth(1).unwrap().split(' ').next().unwrap();
    for part in [
        "time=2",
        "Z event=",
        " user=\"alice\" ",
        " peer=127.0.0.1:",
        " permissions=\"read,write\" ",
        " suite=rsa+x25519mlkem768/aes-256-gcm ",
    ] {
        assert!(log.contains(part), "{part:?} is missing in {log}");
    }
    assert!(said.err.contains(session), "{said:?}, {log}");
    server.wait_for(&["event=session-ended", session, "reason=\"quit\""]);
}

#[test]
fn a_token_logs_in_without_a_name() {
    let house = House::new();
    let token = house.token("alice");
    let mut server = house.serve(&[]);
    let who = ["--token-stdin", "--server-key", &house.path("server.pub.pem")];
    assert_eq!(server.login_with(&who, &["--send", "whoami"], &token).ok().out, "alice permissions=read,write\n");
    server.wait_for(&["event=login-accepted", "user=\"alice\""]);
    server.login_with(&who, &["--send", "whoami"], "cst_made-up\n").fails(1, &["refused"]);
    let log = server.wait_for(&["event=login-refused", "reason=\"unknown token\""]);
    assert!(!log.contains("user="), "{log}");
}

#[test]
fn lines_of_standard_input_are_relayed() {
    let house = House::new();
    let mut server = house.serve(&[]);
    let said = server.login(&house, "alice", &format!("{GOOD}\necho one\nwhoami\necho two"), &[]).ok();
    assert_eq!(said.out, "one\nalice permissions=read,write\ntwo\n");
    server.wait_for(&["event=session-ended", "reason=\"the client closed\""]);
    let said = server.login(&house, "alice", &format!("{GOOD}\nquit\necho never"), &[]).ok();
    assert_eq!(said.out, "bye\n");
    // As lines end elsewhere.
    server.login(&house, "alice", &format!("{GOOD}\r\n"), &[]).ok();
    // Nothing to say is fine, too.
    assert_eq!(server.login(&house, "alice", GOOD, &[]).ok().out, "");
}

#[test]
fn a_line_that_is_too_long_ends_the_session() {
    let house = House::new();
    let mut server = house.serve(&[]);
    let fits = "x".repeat(4096 - "echo ".len());
    let said = server.login(&house, "alice", &format!("{GOOD}\necho {fits}\necho {fits}x\necho more"), &[]);
    assert_eq!(said.out, format!("{fits}\nerror: a line has at most 4096 bytes; closing\n"));
    said.fails(4, &["log in again"]);
    server.wait_for(&["event=session-ended", "a line was too long"]);
    server.login(&house, "alice", GOOD, &["--send", &"x".repeat(4097)]).fails(2, &["4096"]);
}

#[test]
fn refusals_exit_with_1_and_the_log_says_why() {
    let house = House::new();
    let mut server = house.serve(&["--refusal-floor", "1ms"]);
    server.login(&house, "alice", "wrong", &[]).fails(1, &["refused this login", "check the user name"]);
    let parts = [
        "event=login-refused",
        "user=\"alice\"",
        "peer=127.0.0.1:",
        "code=wrong-password",
        "reason=\"wrong password\"",
    ];
    server.wait_for(&parts);
    let said = server.login(&house, "bob", GOOD, &["--send", "whoami"]).fails(1, &["refused this login"]);
    assert_eq!(said.out, "");
    server.wait_for(&["event=login-refused", "user_tag=", "reason=\"unknown user\""]);
}

#[test]
fn usage_errors_exit_with_2() {
    let house = House::new();
    let server = house.serve(&[]);
    let pin = house.pin();
    let alice = ["--user", "alice", "--password-stdin"];
    server.login_with(&alice, &[], GOOD).fails(2, &["--pin", "--server-key", "countersign key show"]);
    server.login_with(&alice, &["--pin", "SHA256:short"], GOOD).fails(2, &["not a fingerprint"]);
    server.login_with(&alice, &["--server-key", "no-such.pem"], GOOD).fails(2, &["no-such.pem"]);
    server.login_with(&["--pin", &pin], &[], GOOD).fails(2, &["--user"]);
    server.login_with(&["--pin", &pin, "--user", "alice", "--token-stdin"], &[], GOOD).fails(2, &["--user"]);
    server.login(&house, "alice", "", &[]).fails(2, &["empty"]);
    server.login(&house, "ali\nce", GOOD, &[]).fails(2, &["the user name"]);
    server.login(&house, "alice", GOOD, &["--send", "a\nb"]).fails(2, &["--send"]);
    server.login(&house, "alice", GOOD, &["--timeout", "0s"]).fails(2, &["more than zero"]);
    server.login(&house, "alice", GOOD, &["--timeout", "soon"]).fails(2, &["10s"]);
    let no_port = ["login", "--server", "localhost", "--pin", &pin, "--user", "alice", "--password-stdin"];
    run(&no_port, GOOD).fails(2, &["HOST:PORT"]);
}

#[test]
fn a_key_that_is_not_trusted_exits_with_3_and_gets_no_secret() {
    let house = House::new();
    let mut server = house.serve(&[]);
    let other = House::new();
    other.key("other2048.pem", "server.pem");
    server.login(&other, "alice", GOOD, &[]).fails(3, &[&house.pin(), "not trusted", "operator"]);
    server.wait_for(&["event=handshake-failed", "peer=127.0.0.1:", "before its ClientLogin"]);
    // Either of two pins will do.
    server.login(&other, "alice", GOOD, &["--pin", &house.pin()]).ok();
}

/// A server that answers every connection with these bytes and closes.
fn impostor(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer);
        }
    });
    address
}

#[test]
fn network_failures_exit_with_4_and_those_of_the_protocol_with_5() {
    let house = House::new();
    let login = |address: &str, more: &[&str]| {
        let who = ["login", "--server", address, "--user", "alice", "--password-stdin", "--pin", &house.pin()];
        run(&[&who[..], more].concat(), GOOD)
    };
    // Nobody listens on tcpmux.
    login("127.0.0.1:1", &[]).fails(4, &["127.0.0.1:1", "is the server running"]);
    login("no-such-host.invalid:4500", &[]).fails(4, &["no-such-host.invalid", "check the name"]);
    login(&impostor(b"HTTP/1.1 400 Bad Request\r\n\r\n"), &[]).fails(5, &["is no frame type", "countersign server"]);
    login(&impostor(b""), &[]).fails(4, &["before its ServerHello"]);
    login(&impostor(b"\x02\xff\xff"), &[]).fails(5, &["65535"]);
    // Nobody ever accepts here, but the system completes the connection.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    login(&address, &["--timeout", "100ms"]).fails(4, &["deadline", "--timeout"]);
}

/// A server of the right key, with these settings, that asks this verifier.
fn other_server(
    house: &House,
    config: ServerConfig,
    verifier: impl Fn(&Attempt<'_>) -> Result<Grant, Reason> + Send + Sync + 'static,
    change: impl FnOnce(Acceptor) -> Acceptor,
) -> String {
    let key = PrivateKey::from_pem(&house.read("server.pem")).unwrap();
    let key = ServerKey::load(&key, rustcrypto::provider()).unwrap();
    let acceptor = change(Acceptor::new(config.with_refusal_floor(Duration::from_millis(1)), key, verifier));
    support::service(move |stream| {
        let peer = stream.peer_addr().unwrap();
        let _ = acceptor.accept_blocking(stream, peer);
    })
}

#[test]
fn a_server_that_cannot_tell_or_has_no_room_exits_with_a_status_of_its_own() {
    let house = House::new();
    let config = || ServerConfig::new(rustcrypto::provider());
    let login = |address: &str, trust: &[&str]| {
        let who = ["login", "--server", address, "--user", "alice", "--password-stdin"];
        run(&[&who[..], trust].concat(), GOOD)
    };
    let away = other_server(&house, config(), |_| Err(Reason::NotNow("the store is away")), |acceptor| acceptor);
    let anyone = |_: &Attempt<'_>| Ok(Grant::new("alice", ["read"]).unwrap());
    let full = other_server(&house, config(), anyone, |acceptor| {
        acceptor.with_limiter(|_, _| Err(Reason::NotAdmitted("too many of late")))
    });
    for trust in [["--pin", &house.pin()], ["--server-key", &house.path("server.pub.pem")]] {
        login(&away, &trust).fails(8, &["can't decide this login now", "with the same password"]);
        login(&full, &trust).fails(7, &["busy", "somebody on the way", "try again in "]);
    }
    let other = config().with_prologue(b"another application").unwrap();
    let other = other_server(&house, other, anyone, |acceptor| acceptor);
    login(&other, &["--pin", &house.pin()]).fails(5, &["the prologue", "nothing secret was sent", "the right server"]);
}

#[test]
fn a_server_that_takes_no_passwords_is_not_one_that_refuses_them() {
    let house = House::new();
    let config = ServerConfig::new(rustcrypto::provider());
    let config = config.with_credential_kinds(&[countersign::CredentialKind::Token]).unwrap();
    let address = other_server(&house, config, |_| Err(Reason::UnknownUser), |acceptor| acceptor);
    let who = ["login", "--server", &address, "--user", "alice", "--password-stdin", "--pin", &house.pin()];
    run(&who, GOOD).fails(6, &["takes no password credential", "nothing secret was sent", "operator"]);
}

/// A server of the right key that lets alice in, answers her first line with `answer`, and goes on with `then` for as
/// long as she listens.
fn tiresome(house: &House, answer: &'static [u8], then: fn(&mut Stream<TcpStream>) -> std::io::Result<()>) -> String {
    let key = PrivateKey::from_pem(&house.read("server.pem")).unwrap();
    let key = ServerKey::load(&key, rustcrypto::provider()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let anyone = |_: &Attempt<'_>| Ok(Grant::new("alice", ["read"]).unwrap());
        let acceptor = Acceptor::new(ServerConfig::new(rustcrypto::provider()), key, anyone);
        let (stream, peer) = listener.accept().unwrap();
        let mut session = acceptor.accept_blocking(stream, peer).unwrap();
        session.read_exact(&mut [0; 7]).unwrap();
        session.write_all(answer).unwrap();
        while then(&mut session).is_ok() {}
    });
    address
}

#[test]
fn no_server_can_keep_a_client_for_ever() {
    let house = House::new();
    let login = |address: String| {
        let who = ["--user", "alice", "--password-stdin", "--pin", &house.pin(), "--send", "whoami"];
        run(&[&["login", "--server", &address, "--timeout", "6s"], &who[..]].concat(), GOOD)
    };
    std::thread::scope(|scope| {
        // An answer without an end: it would be too long only after minutes.
        scope.spawn(|| {
            let drip = |session: &mut Stream<TcpStream>| {
                std::thread::sleep(Duration::from_millis(100));
                session.write_all(b"a")
            };
            login(tiresome(&house, b"", drip)).fails(4, &["logged in as alice", "in time"]);
        });
        // No end after the answer.
        scope.spawn(|| {
            let said = login(tiresome(&house, b"alice\n", |session| session.write_all(b"and another thing\n")));
            assert_eq!(said.ok().out, "alice\n");
        });
    });
}

#[test]
fn host_names_are_looked_up() {
    let house = House::new();
    let server = house.serve(&[]);
    let port = server.address.rsplit(':').next().unwrap();
    let who = ["--user", "alice", "--password-stdin", "--pin", &house.pin(), "--send", "whoami"];
    run(&[&["login", "--server", &format!("localhost:{port}")], &who[..]].concat(), GOOD).ok();
}

#[test]
fn a_user_name_cannot_forge_the_log() {
    let house = House::new();
    let mut server = house.serve(&["--refusal-floor", "1ms", "--log-unknown-names"]);
    let names =
        ["eve\" event=login-accepted user=\"root", "eve\u{2028}line", "eve\\", "\u{202e}eve", "eve with spaces"];
    for name in names {
        server.login(&house, name, GOOD, &[]).fails(1, &[]);
        let log = server.wait_for(&["event=login-refused"]);
        assert!(log.contains(&format!(" unknown_user={name:?} user_tag=")), "{log}");
        assert!(!log.contains("\" event=login-accepted user=\"root"), "{log}");
        assert!(!log.contains(['\u{2028}', '\u{202e}']), "{log}");
    }
    let (_, _) = server.stop("-TERM");
    assert_eq!(server.seen.iter().filter(|line| line.contains("event=login-")).count(), names.len());
}

#[test]
fn a_changed_users_file_is_noticed_and_its_broken_lines_logged() {
    let house = House::new();
    let mut server = house.serve(&["--refusal-floor", "1ms"]);
    let users = house.path("users.txt");
    run(&["user", "add", "bob", "--users", &users, "--password-stdin"], "secret of bob\n").ok();
    server.login(&house, "bob", "secret of bob", &["--send", "whoami"]).ok();
    server.wait_for(&["event=users-reloaded", "accounts=2", "broken_lines=0"]);

    let text = house.read("users.txt") + "carol\u{7} what=ever\n";
    house.write("users.txt", text.as_bytes(), 0o600);
    server.login(&house, "bob", "secret of bob", &[]).ok();
    server.wait_for(&["event=users-reloaded", "broken_lines=1"]);
    server.wait_for(&["event=users-broken-line", "line=3"]);

    // Nobody is let in while the file can't be read: who was there may have been removed.
    house.write("users.txt", b"", 0o644);
    server.login(&house, "bob", "secret of bob", &[]).fails(8, &["can't decide this login now"]);
    server.wait_for(&["event=users-unreadable", "0644"]);
    server.wait_for(&["event=login-refused", "not now: the account file can't be read"]);
    server.login(&house, "nobody", "secret of bob", &[]).fails(8, &["can't decide this login now"]);
    house.write("users.txt", text.as_bytes(), 0o600);
    server.login(&house, "bob", "secret of bob", &[]).ok();
    server.stop("-TERM");
    assert_eq!(server.seen.iter().filter(|line| line.contains("event=users-unreadable")).count(), 1);
}

#[test]
fn a_server_warns_of_broken_lines_when_it_starts() {
    let house = House::new();
    let text = house.read("users.txt") + "bob nonsense\n";
    house.write("users.txt", text.as_bytes(), 0o600);
    let mut server = house.serve(&[]);
    let (_, err) = server.stop("-TERM");
    assert!(err.contains("line 2: "), "{err}");
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let house = House::new();
    let (key, users) = (house.path("server.pem"), house.path("users.txt"));
    let serve =
        |listen: &str, key: &str, users: &str| run(&["serve", "--listen", listen, "--key", key, "--users", users], "");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    serve(&taken, &key, &users).fails(1, &[&taken, "--listen"]);
    serve("127.0.0.1:0", "missing.pem", &users).fails(1, &["missing.pem", "countersign keygen"]);
    serve("127.0.0.1:0", &house.path("server.pub.pem"), &users)
        .fails(1, &["this is a public key; a private key is needed"]);
    serve("127.0.0.1:0", &key, "missing.txt").fails(1, &["missing.txt", "countersign user add"]);
    house.write("server.pem", house.read("server.pem").as_bytes(), 0o644);
    serve("127.0.0.1:0", &key, &users).fails(1, &["chmod 600"]);
}

/// A client that logs in and stays, with its lines.
fn stay(server: &support::Server, house: &House) -> (std::process::Child, impl FnMut(&str) -> String + use<>) {
    let pin = house.pin();
    let who = ["login", "--server", &server.address, "--user", "alice", "--password-stdin", "--pin", &pin];
    let mut client = support::command(&who).spawn().unwrap();
    let mut stdin = client.stdin.take().unwrap();
    let mut answers = BufReader::new(client.stdout.take().unwrap());
    writeln!(stdin, "{GOOD}").unwrap();
    let ask = move |line: &str| {
        writeln!(stdin, "{line}").unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        answer
    };
    (client, ask)
}

#[test]
fn sessions_past_the_limit_are_refused() {
    let house = House::new();
    let mut server = house.serve(&["--max-sessions", "1", "--refusal-floor", "1ms"]);
    let (mut client, mut ask) = stay(&server, &house);
    assert_eq!(ask("echo here"), "here\n");
    server.login(&house, "alice", GOOD, &[]).fails(7, &["busy", "try again in "]);
    let log = server.wait_for(&["event=login-refused", "not admitted: too many sessions"]);
    assert!(!log.contains("user="), "it was not opened: {log}");
    assert_eq!(ask("quit"), "bye\n");
    drop(ask);
    assert!(client.wait().unwrap().success());
    server.wait_for(&["event=session-ended"]);
}

#[test]
fn signals_end_it_cleanly_with_sessions_open() {
    for signal in ["-TERM", "-INT"] {
        let house = House::new();
        let mut server = house.serve(&[]);
        let (client, mut ask) = stay(&server, &house);
        assert_eq!(ask("whoami"), "alice permissions=read,write\n");
        let half_open = std::net::TcpStream::connect(&server.address).unwrap();
        let (status, err) = server.stop(signal);
        assert_eq!((status, err.as_str()), (0, ""));
        let last = server.seen.last().unwrap();
        assert!(last.contains("event=stopped accepted=1 refused=0 "), "{:#?}", server.seen);
        assert!(server.seen.iter().any(|line| line.contains("session-ended") && line.contains("stopping")));
        drop(half_open);
        // The session was closed, not cut: a client that has nothing more to say ends well.
        drop(ask);
        assert!(client.wait_with_output().unwrap().status.success());
    }
}

#[test]
fn a_name_that_cannot_log_in_is_refused_before_a_secret_is_read() {
    let house = House::new();
    for name in ["", "al\nice", &"x".repeat(256)] {
        let args = ["login", "--server", "127.0.0.1:1", "--user", name, "--pin", &house.pin(), "--password-stdin"];
        run(&args, "").fails(2, &["1 to 255 bytes"]);
    }
}
