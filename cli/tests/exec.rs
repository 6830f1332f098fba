//! `serve --exec`: a program for each session.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use countersign::Stream;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use support::{House, Server, connect, until};

/// The processes of a group, zombies among them.
fn group(id: &str) -> Vec<String> {
    let listed = Command::new("ps").args(["-eo", "pgid=,pid=,stat=,args="]).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    listed.lines().filter(|line| line.split_whitespace().next() == Some(id)).map(str::to_owned).collect()
}

/// The children of a server, zombies among them.
fn children(server: &Server) -> String {
    let id = server.child.id();
    let listed = Command::new("ps").args(["-o", "pid=,stat=,args=", "--ppid", &id.to_string()]).output().unwrap();
    String::from_utf8_lossy(&listed.stdout).into_owned()
}

/// The first line that a program says: the number of its group.
fn first_line(session: &mut Stream<TcpStream>) -> String {
    let mut line = String::new();
    while !line.ends_with('\n') {
        let mut byte = [0; 1];
        session.read_exact(&mut byte).unwrap();
        line.push(char::from(byte[0]));
    }
    line.trim_end().to_owned()
}

#[test]
fn a_program_learns_who_it_serves_and_its_end_is_logged() {
    let house = House::new();
    let script = "echo \"$COUNTERSIGN_PRINCIPAL|$COUNTERSIGN_PERMISSIONS|$COUNTERSIGN_PEER|$COUNTERSIGN_SESSION\"; cat; \
                  echo trouble >&2; exit 3";
    let mut server = house.serve(&["--exec", script]);
    let mut session = house.session(connect(&server.address));
    session.write_all(b"some words\0and bytes \xff").unwrap();
    session.close().unwrap();
    let (id, peer) = (session.id(), session.get_ref().local_addr().unwrap());
    let mut said = Vec::new();
    session.read_to_end(&mut said).unwrap();
    let expected = format!("alice|read,write|{peer}|{id}\n");
    assert_eq!(said, [expected.as_bytes(), b"some words\0and bytes \xff"].concat());
    server.wait_for(&["event=session-ended", "code=program-ended", "exit status: 3"]);
    assert_eq!(children(&server), "");
    let (status, err) = server.stop("-TERM");
    assert_eq!((status, err.as_str()), (0, "trouble\n"));
}

#[test]
fn a_program_gets_nothing_that_is_between_the_server_and_others() {
    let house = House::new();
    let (key, users) = (house.path("server.pem"), house.path("users.txt"));
    let args = ["serve", "--listen", "127.0.0.1:0", "--key", &key, "--users", &users, "--exec", "env"];
    let mut serve = support::command(&args);
    let of_its_manager =
        ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "WATCHDOG_USEC", "WATCHDOG_PID"];
    let names = of_its_manager.into_iter().chain(["PGPASSWORD", "REDISCLI_AUTH", "COUNTERSIGN_LDAP_PASSWORD"]);
    serve.env("PASSED_ON", "1").envs(names.clone().map(|name| (name, "1")));
    let server = Server::of(serve);
    let mut said = String::new();
    house.session(connect(&server.address)).read_to_string(&mut said).unwrap();
    let has = |name: &str| said.lines().any(|line| line.starts_with(&format!("{name}=")));
    assert!(has("PASSED_ON") && has("COUNTERSIGN_PRINCIPAL"), "{said}");
    for name in names {
        assert!(!has(name), "{name} in {said}");
    }
}

#[test]
fn a_program_that_ends_ends_the_session_and_what_it_left_running() {
    let house = House::new();
    let mut server = house.serve(&["--exec", "echo $$; sleep 1000 & exit 0"]);
    let mut session = house.session(connect(&server.address));
    let id = first_line(&mut session);
    // The client keeps its direction open, and the sleeper the pipe.
    assert_eq!(session.read(&mut [0; 1]).unwrap(), 0);
    server.wait_for(&["event=session-ended", "code=program-ended", "exit status: 0"]);
    until("nothing of the group is left", || group(&id).is_empty());
    drop(session);
    // One that closes its output and stays is not waited for.
    let mut server = house.serve(&["--exec", "echo $$; exec >&-; sleep 1000"]);
    let mut session = house.session(connect(&server.address));
    let id = first_line(&mut session);
    assert_eq!(session.read(&mut [0; 1]).unwrap(), 0);
    session.close().unwrap();
    server.wait_for(&["event=session-ended", "code=program-ended", "signal: 15"]);
    until("nothing of the group is left", || group(&id).is_empty());
    assert_eq!(children(&server), "");
}

/// What it has said may be a part of what it had to say, and what it was sent is put away in part.
#[test]
fn a_program_that_does_not_end_by_itself_is_a_cut_and_no_end() {
    let house = House::new();
    let mut server = house.serve(&["--exec", "read how; echo part; eval \"$how\""]);
    let no_program = house.path("server.pem");
    for (how, status) in [
        ("kill -9 $$", "signal: 9"),
        ("kill -TERM $$", "signal: 15"),
        // One that the shell waits for.
        ("sh -c 'kill -9 $$'; exit $?", "exit status: 137"),
        ("/nonexistent/program", "exit status: 127"),
        (&no_program, "exit status: 126"),
    ] {
        let mut session = house.session(connect(&server.address));
        session.write_all(format!("{how}\n").as_bytes()).unwrap();
        let mut said = Vec::new();
        let end = session.read_to_end(&mut said);
        assert_eq!((&*said, end.unwrap_err().kind()), (&b"part\n"[..], ErrorKind::UnexpectedEof), "{how}");
        server.wait_for(&["event=session-ended", "code=far-end-broken", status]);
    }
    for status in [1, 125, 128, 143, 193, 255] {
        let mut session = house.session(connect(&server.address));
        session.write_all(format!("exit {status}\n").as_bytes()).unwrap();
        let mut said = Vec::new();
        session.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"part\n");
        server.wait_for(&["event=session-ended", "code=program-ended", &format!("exit status: {status}")]);
    }
}

/// Its client would be told by nothing else: it has its end of what the program had to say.
#[test]
fn a_program_that_is_killed_after_it_has_closed_its_output_takes_its_client_s_direction_with_it() {
    let house = House::new();
    let mut server = house.serve(&["--exec", "exec >&-; read line; kill -9 $$"]);
    let mut session = house.session(connect(&server.address));
    assert_eq!(session.read(&mut [0; 1]).unwrap(), 0);
    session.write_all(b"line\n").unwrap();
    server.wait_for(&["event=session-ended", "code=far-end-broken", "signal: 9"]);
    until("what is sent arrives nowhere", || session.write_all(b"more\n").and_then(|()| session.flush()).is_err());
}

#[test]
fn what_a_program_leaves_keeps_no_session_and_is_not_cut_without_a_word() {
    let house = House::new();
    // More than the system takes for a client that reads nothing.
    let mut flood = house.serve(&["--exec", "timeout 3 cat /dev/zero"]);
    let mut deaf = house.session(connect(&flood.address));
    // Out of reach, and with the program's output open.
    let mut quiet = house.serve(&["--exec", "setsid sh -c 'echo $$; exec sleep 1000' & read line"]);
    let mut patient = house.session(connect(&quiet.address));
    let left = first_line(&mut patient);
    patient.write_all(b"now end\n").unwrap();
    assert_eq!(patient.read(&mut [0; 1]).unwrap(), 0, "nothing is missing");
    quiet.wait_for(&["event=session-ended", "code=program-ended"]);
    assert!(Command::new("kill").arg(left).status().unwrap().success());
    flood.wait_for(&["event=session-ended", "code=io", "did not take in time what the program has left"]);
    let cut = std::io::copy(&mut deaf, &mut std::io::sink());
    assert_eq!(cut.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn a_client_that_leaves_takes_its_program_with_it() {
    let house = House::new();
    // It does not care for SIGTERM.
    let mut server = house.serve(&["--exec", "trap '' TERM; echo $$; sleep 1000 & sleep 1000"]);
    let mut session = house.session(connect(&server.address));
    let id = first_line(&mut session);
    assert!(group(&id).len() >= 2, "{:?}", group(&id));
    drop(session.into_inner());
    server.wait_for(&["event=session-ended", "code=truncated"]);
    until("nothing of the group is left", || group(&id).is_empty());
    assert_eq!(children(&server), "");
}

#[test]
fn a_server_that_stops_takes_its_programs_with_it() {
    let house = House::new();
    for (trap, is_heard) in [("trap 'echo bye; exit' TERM", true), ("trap '' TERM", false), ("true", false)] {
        let script = format!("{trap}; echo $$; while true; do sleep 0.05; done");
        let mut server = house.serve(&["--exec", &script]);
        let mut session = house.session(connect(&server.address));
        let id = first_line(&mut session);
        assert_eq!(server.stop("-TERM").0, 0);
        let mut rest = String::new();
        let read = BufReader::new(session).read_line(&mut rest);
        // One that is killed was cut, also by the signal that it might have heeded.
        assert_eq!((read.is_ok(), rest.as_str()), (is_heard, if is_heard { "bye\n" } else { "" }));
        until("nothing of the group is left", || group(&id).is_empty());
        assert!(
            server.seen.iter().any(|line| line.contains("session-ended") && line.contains("code=stopping")
                || line.contains("code=program-ended")),
            "{:#?}",
            server.seen
        );
    }
}

#[test]
fn nothing_is_started_for_a_ticket_that_is_not_confirmed() {
    let house = House::new();
    let seen = house.path("seen");
    let mut server = house.serve(&["--exec", &format!("echo \"$COUNTERSIGN_SESSION\" >> {seen}; echo hello; cat")]);
    let greeted = |mut session: Stream<TcpStream>| {
        let mut said = [0; 6];
        session.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"hello\n");
        session
    };
    let ticket = greeted(house.session(connect(&server.address))).info().ticket().unwrap().clone();
    let first = server
        .wait_for(&["event=login-accepted"])
        .rsplit_once("session=")
        .map(|(_, id)| id.split(' ').next().unwrap().to_owned())
        .unwrap();
    // Somebody plays a recorded hello: the answer comes, and nothing that fits it.
    let (hello, _) = house.hello_with(&ticket);
    let mut stranger = connect(&server.address);
    stranger.write_all(&hello).unwrap();
    stranger.read_exact(&mut [0; 3]).unwrap();
    stranger.write_all(&[&[10, 0, 16][..], &[0; 16]].concat()).unwrap();
    server.wait_for(&["event=handshake-failed", "code=not-confirmed"]);
    // The service may speak first to whoever has shown that they are there.
    let other = greeted(house.session(connect(&server.address))).info().ticket().unwrap().clone();
    let second = server
        .wait_for(&["event=login-accepted"])
        .rsplit_once("session=")
        .map(|(_, id)| id.split(' ').next().unwrap().to_owned())
        .unwrap();
    let resumed = greeted(house.resume(&server.address, &other));
    let id = resumed.id().to_string();
    server.wait_for(&["event=login-resumed", &id]);
    let mut expected = [first, second, id];
    expected.sort();
    let mut started: Vec<String> = fs::read_to_string(&seen).unwrap().lines().map(str::to_owned).collect();
    started.sort();
    assert_eq!(started, expected);
}
