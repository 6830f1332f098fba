//! PROTOCOL.md is the specification: every rule in it has a test that bears its number, and its tables are the code's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

use countersign::frame::FrameType;
use countersign::{Aead, CredentialKind, KeyExchange, PuzzleDifficulty, Suite, VERSION, limits};
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

/// What `fn s4_...` under a `#[test]` says it tests, in these tests and in `src/session.rs`.
fn tested() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = fs::read_dir(root.join("tests")).unwrap().map(|entry| entry.unwrap().path());
    let sources = tests.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let mut tested = BTreeSet::new();
    for path in sources.chain([root.join("src/session.rs")]) {
        let source = fs::read_to_string(path).unwrap();
        for (attribute, function) in source.lines().zip(source.lines().skip(1)) {
            let Some(name) = function.trim().strip_prefix("fn ") else { continue };
            let Some((rule, _)) = name.split_once('_') else { continue };
            if attribute.trim() == "#[test]" && !rule.contains(char::is_uppercase) {
                tested.extend(as_rule(&rule.to_uppercase()));
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

#[test]
fn the_largest_counts_are_the_code_s() {
    let max = |field: &str| -> usize {
        let row = rows().find(|row| row[0] == field).unwrap_or_else(|| panic!("no field {field}"));
        let (_, max) = row[1].trim_end_matches('>').rsplit_once(", ").unwrap();
        max.parse().unwrap()
    };
    for (field, limit) in [
        ("versions", limits::MAX_VERSIONS),
        ("suites", limits::MAX_SUITES),
        ("key_shares", limits::MAX_KEY_SHARES),
        ("known_keys", limits::MAX_KNOWN_KEYS),
        ("credential_kinds", limits::MAX_CREDENTIAL_KINDS),
        ("permissions", limits::MAX_PERMISSIONS),
        ("parameters", limits::MAX_STRETCH_PARAMETERS),
        ("values", limits::MAX_STRETCH_PARAMETERS),
    ] {
        assert_eq!(max(field), limit, "{field}");
    }
}

#[test]
fn the_numbers_in_the_text_are_the_code_s() {
    // Sentences, with their line breaks undone.
    let text = PROTOCOL.split_whitespace().collect::<Vec<_>>().join(" ");
    let seconds = limits::HANDSHAKE_TIMEOUT.as_secs();
    let expected = [
        format!("this document is {VERSION} "),
        format!("has fewer than {} or more than {} bits", limits::MIN_MODULUS_BITS, limits::MAX_MODULUS_BITS),
        format!("at most {}; may be empty", limits::MAX_SERVER_NAME),
        format!(
            "a multiple of {} bytes, at least {} and at most {}, and a {}-byte tag",
            limits::CREDENTIAL_BLOCK,
            limits::CREDENTIAL_BLOCK,
            limits::MAX_SEALED_CREDENTIAL - limits::TAG,
            limits::TAG
        ),
        format!("kinds 1, 3 and 4: 1 to {} bytes without control characters", limits::MAX_USER),
        format!("what the passwords are for: 1 to {} bytes", limits::MAX_REALM),
        format!("| memory, of each set | {} MiB | {} MiB |", limits::MIN_STRETCH_MEMORY, limits::MAX_STRETCH_MEMORY),
        format!("| memory times passes, of each set | {} MiB |", limits::MIN_STRETCH_WORK),
        format!("of all sets together | – | {} MiB |", limits::MAX_STRETCH_WORK),
        format!("| lanes, of each set | 1 | {} |", limits::MAX_STRETCH_LANES),
        format!("passes, lanes), {} bytes", limits::STRETCHED),
        format!("the password or the token, 1 to {} bytes", limits::MAX_SECRET),
        format!("always {} bytes of ciphertext and a {}-byte tag", limits::VERDICT, limits::TAG),
        format!("logged in as, 1 to {} bytes", limits::MAX_PRINCIPAL),
        format!("different words of 1 to {} bytes", limits::MAX_PERMISSION),
        format!("always {} bytes of ciphertext and a {}-byte tag", limits::FACTOR, limits::TAG),
        format!("1 to {} bytes | ### ServerResumption", limits::MAX_ANSWER),
        format!("must have, 1 to {} |", limits::MAX_PUZZLE_BITS),
        format!("goes up to {} bits unless told otherwise", PuzzleDifficulty::CLIENT.bits()),
        format!("`bytes[{}]` | sixteen `u64`, ascending", limits::SOLUTION),
        format!("up to {} bytes without control characters; may be empty", limits::MAX_PROMPT),
        format!("to its answer, by default {} seconds", limits::FACTOR_TIMEOUT.as_secs()),
        format!("carries 1 to {} bytes of plaintext", limits::MAX_RECORD),
        format!("after 2^{} frames of any type under a key", limits::RECORDS_PER_KEY.trailing_zeros()),
        format!("by default {seconds} seconds"),
        format!("at most {} bytes together, numbers and lengths included", limits::MAX_CLIENT_EXTENSIONS),
        format!("at most {} bytes together, as above", limits::MAX_SERVER_EXTENSIONS),
        format!("at most {} bytes together, as above", limits::MAX_VERDICT_EXTENSIONS),
        format!("this library's have {} bytes", limits::TICKET),
        format!("a ticket for the next login, at most {} bytes", limits::MAX_TICKET),
        format!("permissions have at most {} bytes together", limits::MAX_GRANT),
        format!("fixed time, {} milliseconds by default", limits::REFUSAL_FLOOR.as_millis()),
        format!("is even, below {}, or above 2^33 - 1", limits::EXPONENTS.start()),
        format!("by more than a small skew ({} seconds)", limits::CLOCK_SKEW.as_secs()),
        format!("Credential kinds are {}, password; {}, token; {}, key; and {}, stretched password", 1, 2, 3, 4),
    ];
    assert_eq!([1, 2, 3, 4], CredentialKind::ALL.map(CredentialKind::number));
    // In words: "four times at most in a handshake", "sixteen `u64`", "by default, a week".
    assert_eq!((limits::MAX_FACTORS, limits::PUZZLE_COUNTERS), (4, 16));
    assert_eq!(limits::TICKET_MAX_AGE.as_secs(), 7 * 24 * 3600);
    for sentence in expected {
        assert!(text.contains(&sentence), "PROTOCOL.md does not say: {sentence}");
    }
}
