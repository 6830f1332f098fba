//! PROTOCOL.md is the specification: every rule in it has a test that bears its number, and its tables of frames and
//! suites are the code's. What else it says in numbers is in `documents.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

use countersign::frame::FrameType;
use countersign::{Aead, KeyExchange, Suite};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PROTOCOL: &str = include_str!("../PROTOCOL.md");

/// `S4` and the like: a letter of a state and a number.
fn as_rule(text: &str) -> Option<String> {
    let (letter, number) = text.split_at_checked(1)?;
    let number: u8 = number.parse().ok()?;
    "SLNFACTVKRHMXPB".contains(letter).then(|| format!("{letter}{number}"))
}

fn rules() -> BTreeSet<String> {
    let lines = PROTOCOL.lines().filter_map(|line| line.strip_prefix("- **"));
    lines.filter_map(|line| as_rule(line.split("**").next()?)).collect()
}

/// Whether something is called in the test that begins with the first of these lines, and it was not emptied.
fn does_something(lines: &[&str]) -> bool {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let body = lines.iter().skip(1).take_while(|line| line.trim() != "}" || depth(line) != depth(lines[0]));
    !lines[0].ends_with("{}") && body.map(|line| line.trim()).any(|line| line.contains('(') && !line.starts_with("//"))
}

/// What `fn s4_...` under a `#[test]` says it tests, in these tests and in `src/session.rs`.
fn tested() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = fs::read_dir(root.join("tests")).unwrap().map(|entry| entry.unwrap().path());
    let sources = tests.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let mut tested = BTreeSet::new();
    for path in sources.chain([root.join("src/session.rs")]) {
        let source = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = source.lines().collect();
        for (at, pair) in lines.windows(2).enumerate() {
            let Some(name) = pair[1].trim().strip_prefix("fn ") else { continue };
            let Some((rule, _)) = name.split_once('_') else { continue };
            let rule = as_rule(&rule.to_uppercase()).filter(|_| !rule.contains(char::is_uppercase));
            if let Some(rule) = rule.filter(|_| pair[0].trim() == "#[test]") {
                assert!(does_something(&lines[at + 1..]), "{}: the test of {rule} does nothing", path.display());
                tested.insert(rule);
            }
        }
    }
    tested
}

#[test]
fn every_rule_has_a_test_and_every_numbered_test_a_rule() {
    let (rules, tested) = (rules(), tested());
    for (letter, count) in [
        ("S", 15),
        ("L", 12),
        ("N", 4),
        ("F", 3),
        ("C", 15),
        ("T", 7),
        ("V", 8),
        ("R", 6),
        ("A", 8),
        ("K", 11),
        ("H", 2),
        ("M", 8),
        ("X", 3),
        ("P", 2),
        ("B", 4),
    ] {
        let found = rules.iter().filter(|rule| rule.starts_with(letter)).count();
        assert_eq!(found, count, "the rules of {letter} in PROTOCOL.md");
    }
    let untested: Vec<_> = rules.difference(&tested).collect();
    let unknown: Vec<_> = tested.difference(&rules).collect();
    assert!(untested.is_empty(), "rules without a test: {untested:?}");
    assert!(unknown.is_empty(), "tests of rules that do not exist: {unknown:?}");
}

/// Rules that no vector breaks, by why that is so.
const WITHOUT_VECTOR: [(&str, &[&str]); 8] = [
    ("a vector has no clock", &["S10", "B4", "L5", "N3", "F3", "A7", "C10", "V5"]),
    ("refused by a frame's header, before there is a message", &["S1", "B2", "L1", "N1", "F1", "A1", "C1", "V1"]),
    ("about records, of which vectors have good ones", &["R1", "R2", "R3", "R4", "R5", "R6"]),
    ("what a ticket's key is, each server keeps to itself: tests/vectors/README.md", &["K10"]),
    ("the message of V3, and the reject of each vector of L10", &["A6", "V4"]),
    ("about a list that each client keeps to itself", &["H1", "H2"]),
    ("about certificates, whose files are in tests/certificates", &["X1", "X2", "X3"]),
    ("about no message: PROTOCOL.md has a table", &["P1", "P2"]),
];

/// What is broken in one of the vectors, or why its ticket is not taken.
fn broken() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let folders = [root.clone(), root.join("manifests"), root.join("puzzles")];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let mut broken = BTreeSet::new();
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
        let text = fs::read_to_string(path).unwrap();
        let values = ["rule", "not_taken"].map(|field| text.split_once(&format!("\"{field}\": \"")));
        let values = values.into_iter().flatten().filter_map(|(_, after)| after.split('"').next());
        broken.extend(values.filter_map(as_rule));
    }
    broken
}

#[test]
fn every_rule_is_broken_by_a_vector_or_on_the_list_of_those_that_none_breaks() {
    let listed: Vec<&str> = WITHOUT_VECTOR.iter().flat_map(|(_, rules)| rules.iter().copied()).collect();
    let (rules, broken) = (rules(), broken());
    let missing: Vec<_> = rules.difference(&broken).filter(|rule| !listed.contains(&rule.as_str())).collect();
    assert!(missing.is_empty(), "rules without a vector: {missing:?}");
    let needless: Vec<_> = listed.iter().filter(|rule| broken.contains(**rule) || !rules.contains(**rule)).collect();
    assert!(needless.is_empty(), "on the list, and there is a vector, or no such rule: {needless:?}");
    assert!(broken.is_subset(&rules));
}

/// The cells of the rows of every table in PROTOCOL.md.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let lines = PROTOCOL.lines().filter(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect())
}

#[test]
fn the_table_of_frames_is_the_code_s() {
    let ours = FrameType::ALL.map(|kind| (kind.byte(), kind.to_string(), kind.min_body(), kind.max_body()));
    let theirs: Vec<_> = rows()
        .filter(|row| row.len() == 5)
        .filter_map(|row| {
            let byte = row[0].parse().ok()?;
            Some((byte, row[1].to_owned(), row[3].parse().unwrap(), row[4].parse().unwrap()))
        })
        .collect();
    assert_eq!(theirs, ours);
    for byte in 0..=255 {
        let kind = FrameType::from_byte(byte);
        assert_eq!(kind.map(FrameType::byte), (1..=12).contains(&byte).then_some(byte));
    }
}

#[test]
fn the_table_of_suites_is_the_code_s() {
    let exchange = |exchange: KeyExchange| match exchange {
        KeyExchange::Rsa => "RSA alone",
        KeyExchange::X25519 => "RSA and X25519",
        KeyExchange::X25519MlKem768 => "RSA and X25519MLKEM768",
        _ => "unknown",
    };
    let aead = |aead: Aead| match aead {
        Aead::Aes256Gcm => "AES-256-GCM",
        Aead::ChaCha20Poly1305 => "ChaCha20-Poly1305",
        _ => "unknown",
    };
    let ours: BTreeSet<_> =
        Suite::ALL.map(|suite| (suite.number(), exchange(suite.key_exchange), aead(suite.aead))).into();
    let theirs: BTreeSet<_> = rows()
        .filter(|row| row.len() == 3 && row[0].len() == 4)
        .filter_map(|row| Some((u16::from_str_radix(row[0], 16).ok()?, row[1], row[2])))
        .collect();
    assert_eq!(theirs, ours);
    assert!(Suite::DEFAULT.iter().all(|suite| suite.key_exchange.is_forward_secret()));
    let [first, second, third, fourth] = Suite::DEFAULT.map(|suite| format!("`{:04x}`", suite.number()));
    let offered = format!(
        "{first}, {second}, {third} and {fourth} are forward secret, and what both sides offer, in this order, unless told otherwise."
    );
    assert!(PROTOCOL.contains(&offered), "PROTOCOL.md does not say: {offered}");
}
