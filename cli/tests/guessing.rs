//! Guessers at a real server, from many addresses and at many accounts, and good clients among them. Nothing here looks at a
//! clock: what counts is who got in, and how many passwords were looked at.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod support;

use countersign::{Connector, Credential, Error, LoginError, Stream};
use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use support::{ALICE, House, PATIENT, Server, bounded, run};

/// A login from another address of this machine: every one of 127.0.0.0/8 is, on Linux.
fn log_in(
    connector: &Connector,
    server: &str,
    from: Ipv4Addr,
    credential: Credential<'_>,
) -> Result<Stream<TcpStream>, LoginError> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&server.parse::<SocketAddr>().unwrap().into()).unwrap();
    let stream: TcpStream = socket.into();
    bounded(&stream);
    connector.connect_blocking(stream, credential)
}

fn guess(user: &str) -> Credential<'_> {
    Credential::Password { user, password: b"a guess" }
}

/// Of two thousand addresses in as many networks.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x7f80_0001 + number * 256)
}

/// How often a line with this part was logged.
fn count(server: &Server, part: &str) -> usize {
    server.seen.iter().filter(|line| line.contains(part)).count()
}

/// The field of the last line.
fn total(server: &Server, field: &str) -> usize {
    let last = server.seen.last().unwrap();
    let (_, rest) = last.split_once(&format!(" {field}=")).unwrap_or_else(|| panic!("{field} is missing: {last}"));
    rest.split(' ').next().unwrap().parse().unwrap()
}

/// A server with alice and bob.
fn house() -> House {
    let house = House::new();
    let users = house.path("users.txt");
    run(&["user", "add", "bob", "--password-stdin", "--users", &users], "secret of bob\n").ok();
    house
}

const BOB: Credential<'static> = Credential::Password { user: "bob", password: b"secret of bob" };

/// Guesses go on, four at a time, for as long as good clients log in again and again; gives how many there were of each.
fn among(house: &House, server: &Server, guess_next: impl Fn(u32) -> (Ipv4Addr, String) + Sync) -> (u32, u32) {
    const LOGINS: u32 = 30;
    let (connector, address) = (house.connector(), &server.address);
    let homes = [Ipv4Addr::new(127, 1, 0, 1), Ipv4Addr::new(127, 1, 0, 2)];
    let good = |client: usize| log_in(&connector, address, homes[client], [ALICE, BOB][client]);
    // Before anybody guesses, each has been there.
    (0..2).for_each(|client| drop(good(client).unwrap()));
    let (stop, next) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let (from, user) = guess_next(next.fetch_add(1, Ordering::SeqCst));
                    match log_in(&connector, address, from, guess(&user)) {
                        Err(LoginError::Protocol(Error::Refused | Error::Busy { .. } | Error::NotNow)) => {}
                        Err(LoginError::Disconnected { .. } | LoginError::Io(_)) => {}
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
        let done = (0..LOGINS).filter(|round| good(*round as usize % 2).is_ok()).count();
        // By then there have been enough guesses to tell.
        support::until("two hundred guesses", || next.load(Ordering::SeqCst) >= 200);
        stop.store(true, Ordering::SeqCst);
        (u32::try_from(done).unwrap(), LOGINS)
    })
}

#[test]
fn one_account_guessed_at_from_many_addresses_stays_open_to_its_owner_and_nearly_nothing_is_looked_at() {
    let house = house();
    let mut server = house.serve(&PATIENT);
    let (good, all) = among(&house, &server, |number| (address(number % 2000), "alice".to_owned()));
    assert_eq!(good, all);
    // A right guess from elsewhere is refused like any other.
    let stranger = log_in(&house.connector(), &server.address, Ipv4Addr::new(127, 2, 0, 1), ALICE);
    assert!(matches!(stranger, Err(LoginError::Protocol(Error::Refused))), "{stranger:?}");
    assert_eq!(server.stop("-TERM").0, 0);
    assert_eq!(total(&server, "accepted"), 32);
    let looked_at = count(&server, "code=wrong-password");
    // The first ten, those that were being looked at meanwhile, and one or two for each wait.
    assert!((10..=40).contains(&looked_at), "{looked_at}");
    assert!(total(&server, "unchecked") >= 160);
    assert!(count(&server, "event=penalty code=penalty-account user=\"alice\"") >= 1);
    assert!(count(&server, "code=penalty-account") >= 1);
}

#[test]
fn many_accounts_guessed_at_from_one_address_are_turned_away_and_good_clients_are_not() {
    let house = house();
    let mut server = house.serve(&PATIENT);
    let attacker = Ipv4Addr::new(127, 3, 0, 1);
    let (good, all) = among(&house, &server, |number| (attacker, format!("user{number}")));
    assert_eq!(good, all);
    assert_eq!(server.stop("-TERM").0, 0);
    assert_eq!(total(&server, "accepted"), 32);
    let looked_at = count(&server, "code=unknown-user");
    assert!((9..=20).contains(&looked_at), "{looked_at}");
    assert!(total(&server, "turned_away") >= 180);
    assert!(count(&server, "event=penalty code=penalty-source source=\"127.3.0.1/32\" seconds=15") == 1);
}

#[test]
fn good_clients_get_in_from_the_address_that_a_guesser_shares_with_them() {
    let house = house();
    let mut server = house.serve(&PATIENT);
    let (good, all) = among(&house, &server, |number| (Ipv4Addr::new(127, 1, 0, 1), format!("user{number}")));
    assert_eq!(good, all);
    assert_eq!(server.stop("-TERM").0, 0);
    assert!(count(&server, "code=unknown-user") <= 20);
}

#[test]
fn a_password_that_is_typed_in_the_place_of_the_name_is_in_no_line() {
    let house = house();
    let mut server = house.serve(&PATIENT);
    let swapped = Credential::Password { user: "Hunter2 of alice", password: b"alice" };
    for number in 0..14 {
        assert!(log_in(&house.connector(), &server.address, address(number), swapped).is_err());
    }
    server.wait_for(&["event=penalty", "code=penalty-account", "user_tag="]);
    assert_eq!(server.stop("-TERM").0, 0);
    assert!(!server.seen.iter().any(|line| line.to_lowercase().contains("hunter2")));
}

#[test]
fn three_typos_at_a_prompt_cost_nothing() {
    let house = House::new();
    let mut server = house.serve(&["--refusal-floor", "10ms"]);
    (0..3).for_each(|_| drop(server.login(&house, "alice", "a typo", &["--no-resume"]).fails(1, &["refused"])));
    server.login(&house, "alice", "secret of alice", &["--no-resume"]).ok();
    server.stop("-TERM");
    assert_eq!(count(&server, "event=penalty"), 0);
}

#[test]
fn flags_say_what_guessing_costs() {
    let house = House::new();
    let quick = ["--refusal-floor", "10ms"];
    let [wrong, source] = ["wrong-password", "penalty-source"];
    let tries = |more: &[&str], codes: [&str; 3]| {
        let mut server = house.serve(&[&quick[..], more].concat());
        for code in codes {
            let told = format!("code={code}");
            // A wait of two seconds may be over on a slow machine; the next is longer.
            for last in [false, false, true] {
                let _ = log_in(&house.connector(), &server.address, Ipv4Addr::LOCALHOST, guess("alice"));
                let line = server.wait_for(&["event=login-refused"]);
                if line.contains(&told) {
                    break;
                }
                assert!(!last && line.contains(wrong), "{line}");
            }
        }
        let _ = server.stop("-TERM");
    };
    tries(&["--failures-per-address", "1"], [wrong, wrong, source]);
    tries(&["--failures-per-user", "1"], [wrong, wrong, "penalty-account"]);
    tries(&["--failures-per-minute", "0"], [wrong, "penalty-strangers", "penalty-strangers"]);
    tries(&["--failures-per-address", "1", "--penalty-exempt", "127.0.0.0/8,10.0.0.1"], [wrong; 3]);
    tries(&["--no-penalties"], [wrong; 3]);
    let serve = ["serve", "--listen", "127.0.0.1:0", "--key", "x", "--users", "x"];
    let both = run(&[&serve[..], &["--no-penalties", "--failures-per-user", "3"]].concat(), "");
    both.fails(2, &["--no-penalties"]);
}

#[test]
fn the_waits_are_those_that_were_said_and_those_who_wait_are_counted() {
    let house = House::new();
    let server = |more: &[&str]| {
        let waits = ["--penalty-wait", "20m", "--penalty-longest", "1h", "--refusal-floor", "1ms"];
        let mut server = house.serve(&[&waits[..], &["--metrics-listen", "127.0.0.1:0"], more].concat());
        server.said(&["event=started"]);
        server
    };
    let user_waits = ["--failures-per-user", "1", "--user-penalty-wait", "10m", "--user-penalty-longest", "1h"];
    let mut of_user = server(&[&["--failures-per-address", "3"], &user_waits[..]].concat());
    let guess_at = |server: &Server, from: Ipv4Addr, user: &str| {
        assert!(log_in(&house.connector(), &server.address, from, guess(user)).is_err());
    };
    // Two that were looked at, one that was not, which is a quarter of a failure, and one more.
    (0..3).for_each(|_| guess_at(&of_user, Ipv4Addr::LOCALHOST, "alice"));
    of_user.wait_for(&["event=penalty", "code=penalty-account", "user=\"alice\"", "seconds=600"]);
    guess_at(&of_user, Ipv4Addr::LOCALHOST, "nobody");
    of_user.wait_for(&["event=penalty", "code=penalty-source", "source=\"127.0.0.1/32\"", "seconds=1200"]);
    (0..2).for_each(|_| guess_at(&of_user, Ipv4Addr::LOCALHOST, "nobody"));
    let counted = |what: &str| format!("\ncountersign_penalties_total{{what=\"{what}\"}} ");
    for counted in
        [("turned-away", 2), ("unchecked", 1), ("store-away", 0)].map(|(what, n)| counted(what) + &n.to_string())
    {
        support::until(&counted, || of_user.get("/metrics").1.contains(&format!("{counted}\n")));
    }

    // Of a /16, whose /24s and addresses are others each time.
    let mut of_block = server(&["--failures-per-block", "2", "--penalty-blocks", "16,48"]);
    for network in 0..3 {
        guess_at(&of_block, Ipv4Addr::new(127, 5, network, 1), &format!("user{network}"));
    }
    of_block.wait_for(&["event=penalty", "code=penalty-block", "source=\"127.5.0.0/16\"", "seconds=1200"]);
    guess_at(&of_block, Ipv4Addr::new(127, 5, 9, 1), "user9");
    of_block.wait_for(&["code=penalty-block", "peer=127.5.9.1:"]);
    drop(log_in(&house.connector(), &of_block.address, Ipv4Addr::new(127, 6, 0, 1), ALICE).unwrap());
}
