//! `login --pipe`: bytes both ways.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::process::{Child, Command};
use std::time::Duration;
use support::{House, Server, command, echo, service, status, until};

const GOOD: &str = "secret of alice";

fn pipe(house: &House, server: &Server, more: &[&str]) -> Command {
    let pin = house.pin();
    let who = ["login", "--server", &server.address, "--user", "alice", "--password-stdin", "--pin", &pin, "--pipe"];
    let mut command = command(&[&who[..], more].concat());
    command.env("XDG_STATE_HOME", house.path("state"));
    command
}

/// A client whose standard input stays open.
fn open(house: &House, server: &Server) -> Child {
    let mut child = pipe(house, server, &[]).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(format!("{GOOD}\n").as_bytes()).unwrap();
    child
}

#[test]
fn the_end_of_input_leaves_the_other_direction_open() {
    let house = House::new();
    let server = house.serve(&[
        "--forward",
        &service(|mut stream| {
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            heard.reverse();
            stream.write_all(&heard).unwrap();
        }),
    ]);
    let said = support::finish(&mut pipe(&house, &server, &[]), format!("{GOOD}\nabc\n")).ok();
    assert_eq!(said.out, "\ncba");
    // Nothing to say is fine, too.
    assert_eq!(support::finish(&mut pipe(&house, &server, &[]), format!("{GOOD}\n")).ok().out, "");
}

#[test]
fn the_servers_close_closes_standard_output_and_input_goes_on() {
    let house = House::new();
    let (sender, heard) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let server = house.serve(&[
        "--forward",
        &service(move |mut stream| {
            stream.write_all(b"first word\n").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut rest = String::new();
            stream.read_to_string(&mut rest).unwrap();
            sender.lock().unwrap().send(rest).unwrap();
        }),
    ]);
    let mut child = open(&house, &server);
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(out, "first word\n");
    child.stdin.take().unwrap().write_all(b"last word").unwrap();
    assert_eq!(heard.recv_timeout(support::PATIENCE).unwrap(), "last word");
    assert_eq!(status(&mut child), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn a_program_that_has_heard_enough_is_no_failure() {
    let house = House::new();
    let server = house.serve(&["--exec", "head -c 3"]);
    let data = [GOOD.as_bytes(), b"\n", &support::noise(8 * 1024 * 1024)].concat();
    let output = support::finish_large(&mut pipe(&house, &server, &[]), data.clone());
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &data[GOOD.len() + 1..][..3]));
}

#[test]
fn what_is_cut_and_who_is_refused_shows_in_the_exit_status() {
    let house = House::new();
    let target = service(|mut stream| {
        stream.write_all(b"half a sen").unwrap();
        let _ = stream.read(&mut [0; 1]);
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    });
    let server = house.serve(&["--forward", &target, "--refusal-floor", "1ms"]);
    let mut child = open(&house, &server);
    let mut out = [0; 10];
    child.stdout.as_mut().unwrap().read_exact(&mut out).unwrap();
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    assert_eq!(status(&mut child), 4);
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(err.contains("the session broke") && err.contains("without the peer's close"), "{err}");

    support::finish(&mut pipe(&house, &server, &[]), "wrong\n").fails(1, &["refused"]);
    support::finish(&mut pipe(&house, &server, &["--send", "x"]), "").fails(2, &["--send", "--pipe"]);
}

/// Whoever sends something is not told that it has arrived, where nobody has got its end.
#[test]
fn what_breaks_after_the_servers_close_and_before_the_end_of_input_is_a_cut() {
    let house = House::new();
    let (sender, heard) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let target = service(move |mut stream| {
        stream.write_all(b"go on\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let rest = stream.read_to_end(&mut Vec::new());
        sender.lock().unwrap().send(rest.map_err(|error| error.kind())).unwrap();
    });
    for is_killed in [false, true] {
        let mut server = house.serve(&["--forward", &target]);
        let mut child = open(&house, &server);
        let mut out = String::new();
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        assert_eq!(out, "go on\n");
        if is_killed {
            server.child.kill().unwrap();
        } else {
            assert_eq!(server.stop("-TERM").0, 0);
        }
        assert_eq!(heard.recv_timeout(support::PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));
        let mut input = child.stdin.take().unwrap();
        until("nobody reads the input", || input.write_all(b"row\n").is_err());
        assert_eq!(status(&mut child), 4);
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert!(err.contains("the session broke") && err.contains("standard input in part"), "{err}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_server_that_stops_in_the_middle_of_what_a_program_says_is_a_cut() {
    let house = House::new();
    let mut server = house.serve(&["--exec", "while echo row; do sleep 0.05; done"]);
    let mut child = open(&house, &server);
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 4]).unwrap();
    assert_eq!(server.stop("-TERM").0, 0);
    assert_eq!(status(&mut child), 4);
}

#[test]
fn a_reader_that_has_seen_enough_ends_it() {
    let house = House::new();
    let server = house.serve(&[
        "--forward",
        &service(|mut stream| {
            let _ = std::io::copy(&mut std::io::repeat(b'x'), &mut stream);
        }),
    ]);
    let mut child = open(&house, &server);
    let mut out = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut out).unwrap();
    // Its input is still open.
    assert_eq!(status(&mut child), 2);
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(!err.contains("standard output"), "{err}");
}

#[test]
fn a_ticket_is_shown_to_a_service_that_speaks_first() {
    let house = House::new();
    let mut server = house.serve(&[
        "--forward",
        &service(|mut stream| {
            stream.write_all(b"welcome, ").unwrap();
            echo(stream);
        }),
    ]);
    let mut run = |more: &[&str], event: &str| {
        let said = support::finish(&mut pipe(&house, &server, more), format!("{GOOD}\nhello")).ok();
        assert_eq!(said.out, "welcome, hello");
        server.wait_for(&["event=login-"]);
        assert!(server.seen.last().unwrap().contains(event), "{:?}", server.seen.last());
    };
    // A password that is given is checked.
    run(&[], "event=login-accepted");
    run(&[], "event=login-accepted");
    run(&["--resume"], "event=login-resumed");
    run(&["--resume"], "event=login-resumed");
    run(&["--no-resume"], "event=login-accepted");
}
