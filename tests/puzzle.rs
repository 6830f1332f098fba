//! Puzzles: rules B1 to B4, and what a puzzle is bound to, computed a second time by hand.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::client::{self, AwaitChallenge};
use countersign::frame::FrameType;
use countersign::server::{self, AwaitSolution};
use countersign::{
    ClientConfig, Error, Misuse, Moment, Puzzle, PuzzleDifficulty, PuzzleSolution, ServerConfig, ServerKey, Violation,
    limits,
};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use support::{
    CHALLENGE_AT, Counting, DEADLINE, HELLO_AT, LOGIN_AT, OTHER2048, RSA2048, Scenario, VERDICT_AT, at, error, frame,
    not_that_frame, provider,
};

/// When a solution arrives.
const SOLUTION_AT: u64 = CHALLENGE_AT;

fn bits(bits: u8) -> PuzzleDifficulty {
    PuzzleDifficulty::new(bits).unwrap()
}

/// A server that has asked for work, and the client that was asked.
struct Asked {
    hello: Vec<u8>,
    client: AwaitChallenge,
    busy: Vec<u8>,
    server: AwaitSolution,
}

fn ask(scenario: &Scenario, difficulty: u8) -> Asked {
    let (hello, client) = scenario.await_challenge();
    let (busy, server) = ask_about(scenario, &hello, difficulty);
    Asked { hello, client, busy, server }
}

fn ask_about(scenario: &Scenario, hello: &[u8], difficulty: u8) -> (Vec<u8>, AwaitSolution) {
    let hello = scenario.await_hello().read(hello.to_vec(), at(HELLO_AT)).unwrap();
    let hello = hello.choose(scenario.private_key()).unwrap();
    hello.puzzle(bits(difficulty), Duration::from_secs(9), &mut scenario.rng("puzzle")).unwrap()
}

fn solve(puzzle: &Puzzle) -> PuzzleSolution {
    puzzle.solve(|| true).unwrap()
}

/// The Solution frame for what was asked.
fn solution(client: AwaitChallenge, busy: &[u8]) -> (Vec<u8>, AwaitChallenge) {
    let puzzle = client.puzzle(busy).unwrap();
    client.solved(&solve(&puzzle)).unwrap()
}

fn counters(solution: &[u8]) -> Vec<u64> {
    solution[3..].chunks(8).map(|counter| u64::from_be_bytes(counter.try_into().unwrap())).collect()
}

fn with_counters(counters: &[u64]) -> Vec<u8> {
    let body: Vec<u8> = counters.iter().flat_map(|counter| counter.to_be_bytes()).collect();
    frame(12, &body)
}

/// `lp(x)` of PROTOCOL.md.
fn lp(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// The leading zero bits of `work(n)`, by PROTOCOL.md, "Puzzle".
fn zeros(hello: &[u8], nonce: &[u8], counter: u64) -> u32 {
    let start = Sha256::digest([lp(b"countersign v1 puzzle"), lp(nonce), lp(&Sha256::digest(hello))].concat());
    let work = Sha256::digest([&start[..], &counter.to_be_bytes()].concat());
    let first = work.iter().position(|&byte| byte != 0).unwrap();
    u32::try_from(first).unwrap() * 8 + work[first].leading_zeros()
}

#[test]
fn a_solution_is_what_protocol_md_says() {
    for scenario in [Scenario::new(), Scenario::new().known_key()] {
        let Asked { hello, client, busy, server } = ask(&scenario, 5);
        // Busy for 9 seconds, with one extension: number 3, 33 bytes.
        assert_eq!((&busy[..10], busy.len()), (&[9, 0, 40, 0, 9, 1, 0, 3, 0, 33][..], 43));
        let (difficulty, nonce) = (busy[10], &busy[11..]);
        assert_eq!(difficulty, 5);
        let (frame, _) = solution(client, &busy);
        assert_eq!((&frame[..3], frame.len()), (&[12, 0, 128][..], 131));
        let counters = counters(&frame);
        assert!(counters.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(counters.iter().all(|&counter| zeros(&hello, nonce, counter) >= 5));
        // The first there are, though any would do.
        let good = (0..).filter(|&counter| zeros(&hello, nonce, counter) >= 5);
        assert_eq!(counters, good.clone().take(16).collect::<Vec<u64>>());
        let others: Vec<u64> = good.skip(20).step_by(3).take(16).collect();
        assert!(server.read(&with_counters(&others), at(SOLUTION_AT)).is_ok());
    }
}

#[test]
fn b1_a_second_puzzle_on_a_connection_is_a_busy() {
    let scenario = Scenario::new().known_key();
    let Asked { client, busy, .. } = ask(&scenario, 3);
    let (_, client) = solution(client, &busy);
    assert_eq!(client.puzzle(&busy), None);
    assert_eq!(error(client.read(&busy, at(CHALLENGE_AT))), Error::Busy { retry_after: 9 });
}

#[test]
fn b1_a_puzzle_that_is_harder_than_the_client_s_bound_is_a_busy() {
    let asked = |config: ClientConfig, difficulty: u8| {
        let Asked { busy, .. } = ask(&Scenario::new(), difficulty);
        let (config, scenario) = (Arc::new(config), Scenario::new());
        let mut rng = scenario.rng("client hello");
        let none = countersign::ChannelBinding::none();
        let (_, client) = client::start(&config, scenario.trusted(), &none, &mut rng, Moment::ORIGIN).unwrap();
        let puzzle = client.puzzle(&busy).map(|puzzle| puzzle.difficulty().bits());
        assert_eq!(error(client.read(&busy, at(CHALLENGE_AT))), Error::Busy { retry_after: 9 });
        puzzle
    };
    let config = || ClientConfig::new(provider());
    assert_eq!((asked(config(), 17), asked(config(), 18)), (Some(17), None));
    let with = |most| config().with_puzzles(bits(most));
    assert_eq!((asked(with(4), 4), asked(with(4), 5), asked(with(24), 24)), (Some(4), None, Some(24)));
    assert_eq!(asked(config().without_puzzles(), 1), None);
}

#[test]
fn b1_what_is_no_puzzle_is_a_busy() {
    let puzzle = |body: &[u8]| {
        let (_, client) = Scenario::new().await_challenge();
        let puzzle = client.puzzle(&frame(9, body));
        assert!(client.read(&frame(9, body), at(CHALLENGE_AT)).is_err());
        puzzle
    };
    let good = [&[0, 9, 1, 0, 3, 0, 33, 1][..], &[7; 32]].concat();
    assert!(puzzle(&good).is_some());
    let with = |at: usize, byte: u8| {
        let mut body = good.clone();
        body[at] = byte;
        body
    };
    // Another extension, no difficulty, and too much of it.
    for body in [with(4, 9), with(7, 0), with(7, 25), with(7, 255)] {
        assert_eq!(puzzle(&body), None);
    }
    // Cut short, gone on, empty, and named twice.
    let short = [&[0, 9, 1, 0, 3, 0, 32, 1][..], &[7; 31]].concat();
    let long = [&[0, 9, 1, 0, 3, 0, 34, 1][..], &[7; 33]].concat();
    let twice = [&[0, 9, 2][..], &good[3..], &good[3..]].concat();
    for body in [short, long, vec![0, 9, 1, 0, 3, 0, 0], twice, vec![0, 9, 0], [&good[..], &[0]].concat()] {
        assert_eq!(puzzle(&body), None);
    }
    // Nothing else is one either.
    let (_, client) = Scenario::new().await_challenge();
    let challenge = Scenario::new().await_login().challenge;
    assert_eq!((client.puzzle(&challenge), client.puzzle(&[]), client.puzzle(&[9])), (None, None, None));
}

#[test]
fn b2_anything_but_a_solution_frame_is_refused() {
    let (frame, _) = {
        let Asked { client, busy, .. } = ask(&Scenario::new(), 2);
        solution(client, &busy)
    };
    for (bytes, expected) in not_that_frame(FrameType::Solution, &frame) {
        let Asked { server, .. } = ask(&Scenario::new(), 2);
        assert_eq!(error(server.read(&bytes, at(SOLUTION_AT))), Error::Frame(expected));
    }
    assert_eq!(AwaitSolution::EXPECTS, [FrameType::Solution]);
    assert_eq!(FrameType::Solution.max_body(), limits::SOLUTION);
}

#[test]
fn b3_counters_that_do_not_ascend_or_are_not_good_are_refused() {
    let refused = |counters: &[u64]| {
        let Asked { server, .. } = ask(&Scenario::new(), 6);
        error(server.read(&with_counters(counters), at(SOLUTION_AT)))
    };
    let Asked { hello, client, busy, .. } = ask(&Scenario::new(), 6);
    let good = counters(&solution(client, &busy).0);
    let wrong = Error::Violation(Violation::WrongSolution);
    for at in 0..16 {
        // One that is good and stands there twice, or in the place of its neighbour.
        let mut twice = good.clone();
        twice[at] = good[(at + 1) % 16];
        assert_eq!(refused(&twice), wrong);
        let mut swapped = good.clone();
        swapped.swap(at, (at + 1) % 16);
        assert_eq!(refused(&swapped), wrong);
        // One that lacks a bit, between its neighbours where there is one, and at the end otherwise.
        let after = if at == 0 { 0 } else { good[at - 1] + 1 };
        let nearly = (after..).find(|&counter| zeros(&hello, &busy[11..], counter) == 5).unwrap();
        let mut bad = good.clone();
        bad[at] = nearly;
        assert_eq!(refused(&bad), wrong);
    }
    assert_eq!(refused(&[0; 16]), wrong);
    assert_eq!(refused(&[u64::MAX; 16]), wrong);
}

#[test]
fn b3_a_solution_is_good_for_one_hello_on_one_connection() {
    let Asked { client, busy, .. } = ask(&Scenario::new(), 8);
    let (frame, _) = solution(client, &busy);
    let read = |(_, server): (Vec<u8>, AwaitSolution)| server.read(&frame, at(SOLUTION_AT)).map(drop);
    let genuine = Scenario::new();
    let hello = genuine.await_challenge().0;
    assert_eq!(read(ask_about(&genuine, &hello, 8)), Ok(()));
    // The same hello again, on another connection; another client's hello; and a server that asks for more by now.
    let again = genuine.clone().seed("another nonce");
    let (other, _) = again.await_challenge();
    let wrong = Err(Violation::WrongSolution.into());
    assert_eq!(read(ask_about(&again, &hello, 8)), wrong);
    assert_eq!(read(ask_about(&genuine, &other, 8)), wrong);
    assert_eq!(read(ask_about(&genuine, &hello, 20)), wrong);
}

#[test]
fn b4_a_solution_after_the_deadline_is_refused() {
    let answered = |millis: u64| {
        let Asked { client, busy, server, .. } = ask(&Scenario::new(), 1);
        assert_eq!(server.deadline(), at(DEADLINE));
        server.read(&solution(client, &busy).0, at(millis)).map(drop)
    };
    assert_eq!(answered(DEADLINE), Ok(()));
    assert_eq!(answered(DEADLINE + 1), Err(Error::DeadlinePassed));
}

#[test]
fn a_login_goes_on_after_a_puzzle_as_it_would_have_without() {
    for scenario in [Scenario::new(), Scenario::new().known_key()] {
        let without = scenario.await_login();
        let Asked { hello, client, busy, server } = ask(&scenario, 4);
        assert_eq!(hello, without.hello);
        let (frame, client) = solution(client, &busy);
        let waits = server.read(&frame, at(SOLUTION_AT)).unwrap();
        let waits = match waits.open(&mut scenario.rng("fallback")) {
            Ok(open) => open.run(&mut scenario.rng("blinding")),
            Err(hello) => *hello,
        };
        let (challenge, server) = waits.challenge(&mut scenario.rng("server hello")).unwrap();
        // Not a byte of it is another: neither frame is in the transcript.
        assert_eq!(challenge, without.challenge);
        let (login, client) = scenario.log_in(client, &challenge).unwrap();
        let accepted = scenario.decide(server, &login).unwrap();
        assert!(client.read(&accepted.frame, at(VERDICT_AT), support::TODAY).is_ok());
    }
}

#[test]
fn nothing_is_opened_before_the_solution_and_a_wrong_one_opens_nothing() {
    let counting = Arc::new(Counting::with(&RSA2048));
    let key = ServerKey::with_decrypt(RSA2048.private.public_key().clone(), Arc::clone(&counting) as _);
    let scenario = Scenario::new().known_key().server_key(key);
    let Asked { client, busy, server, .. } = ask(&scenario, 4);
    assert!(server.read(&with_counters(&[1; 16]), at(SOLUTION_AT)).is_err());
    let (frame, _) = solution(client, &busy);
    let Asked { server, .. } = ask(&scenario, 4);
    let hello = server.read(&frame, at(SOLUTION_AT)).unwrap();
    assert_eq!((counting.count(), hello.is_sealed()), (0, true));
    drop(hello.open(&mut scenario.rng("fallback")).unwrap().run(&mut scenario.rng("blinding")));
    assert_eq!(counting.count(), 1);
}

#[test]
fn the_time_that_an_answer_is_held_back_counts_from_the_solution() {
    // Otherwise a client that took its time would see how long the operation took.
    let floor = Duration::from_millis(50);
    let config = ServerConfig::new(provider()).with_answer_floor(floor);
    let scenario = Scenario::new().known_key().server_config_of(config);
    let Asked { client, busy, server, .. } = ask(&scenario, 2);
    let hello = server.read(&solution(client, &busy).0, at(LOGIN_AT)).unwrap();
    let opened = hello.open(&mut scenario.rng("fallback")).unwrap().run(&mut scenario.rng("blinding"));
    assert_eq!(opened.not_before(), at(LOGIN_AT).after(floor));
}

#[test]
fn a_solution_of_another_connection_s_puzzle_is_not_sent() {
    let Asked { client, busy, .. } = ask(&Scenario::new(), 2);
    let other = Scenario::new().seed("another").await_challenge().1;
    let solution = solve(&client.puzzle(&busy).unwrap());
    assert_eq!(error(other.solved(&solution)), Misuse::Mismatch.into());
}

#[test]
fn whoever_solves_a_puzzle_can_stop() {
    let Asked { busy, .. } = ask(&Scenario::new().key(&OTHER2048), 24);
    let config = Arc::new(ClientConfig::new(provider()).with_puzzles(bits(24)));
    let scenario = Scenario::new();
    let none = countersign::ChannelBinding::none();
    let mut rng = scenario.rng("client hello");
    let (_, client) = client::start(&config, scenario.trusted(), &none, &mut rng, Moment::ORIGIN).unwrap();
    let puzzle = client.puzzle(&busy).unwrap();
    let mut looks = 0;
    let solved = puzzle.solve(|| {
        looks += 1;
        looks < 3
    });
    assert_eq!((solved, looks), (None, 3));
}

#[test]
fn difficulties_have_bounds_and_say_what_they_cost() {
    assert!([0, 25, 255].iter().all(|&bits| PuzzleDifficulty::new(bits).is_err()));
    let costs: Vec<u64> = [1, 10, 16, 17, 24].iter().map(|&of| bits(of).hashes()).collect();
    assert_eq!(costs, [32, 16_384, 1_048_576, 2_097_152, 268_435_456]);
    assert_eq!((PuzzleDifficulty::CLIENT.bits(), bits(7).to_string()), (17, "7".to_owned()));
}

#[test]
fn a_busy_without_a_puzzle_is_as_before() {
    let (_, client) = Scenario::new().await_challenge();
    let busy = server::busy(Duration::from_secs(9));
    assert_eq!(client.puzzle(&busy), None);
    assert_eq!(error(client.read(&busy, at(CHALLENGE_AT))), Error::Busy { retry_after: 9 });
}
