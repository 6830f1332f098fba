//! Takes each check out of the machines, one at a time, and has the search (`tests/attacker`) or the sequences (`tests/sequences`) find
//! what comes of it. A part of the library's own unit tests, since nothing but those can be built with a check taken out (`src/mutant.rs`).
//!
//! | of | taken out | found | by |
//! |---|---|---|---|
//! | T1 | the key is trusted | the attacker reads the credential | `without_trust_the_attacker_reads_the_credential` |
//! | T2 | the floor | a credential under RSA alone | `without_a_floor_a_credential_leaves_under_rsa_alone` |
//! | T4, C12 | a proof is waited for; it is right | a credential leaves that no server has asked for | `without_a_proof_a_credential_leaves_that_no_server_has_asked_for` |
//! | C4 | the suite was offered | a credential under another | `without_c4_a_credential_leaves_under_a_suite_that_was_not_offered` |
//! | C8 | the key has the id that it says | a challenge that is to be refused | `without_c8_a_key_is_taken_under_another_id` |
//! | C11, T3, T5, T7 | the server means the same, and takes this kind of credential; the key is known well enough for it; no password itself | a login that is not to leave | `without_any_one_of_what_a_credential_waits_for_it_leaves` |
//! | B1, B3 | a puzzle is the first; a solution is one | a second one that is solved; a hello that nobody has worked for | `without_b1_or_b3_puzzles_bound_nothing` |
//! | S12 | the server goes by the name | a hello to somebody else that is answered | `without_s12_a_server_answers_to_any_name` |
//! | L6 | a secret is for this handshake | a login that is bound to another challenge | `without_l6_a_login_is_taken_that_is_bound_to_another_challenge` |
//! | L9, L12 | the credential's kind is taken; whoever is asked for more has offered to answer | a login, and a request, that may not be | `without_l9_or_l12_a_login_goes_on_that_is_to_be_refused` |
//! | L11 | a signature is the key's; the transcript in it | a login as alice, by nobody, or by the server that she has shown it to | `without_its_signature_a_key_logs_anybody_in`, `without_the_transcript_in_a_signature_it_can_be_passed_on` |
//! | V7, V8 | whoever is asked for more has offered to answer; the key is known well enough | an answer to who may not have it | `without_v7_or_v8_a_client_answers_who_may_not_ask` |
//! | K1 to K9 | each rule for tickets | a ticket that is taken out of its scope, twice, or from somebody else | `without_any_one_rule_for_tickets_they_are_taken_out_of_their_scope` |
//! | K10, K11 | the key that its chain began under; the client means the same, and no secret stays closed | a ticket that is taken | `without_k10_or_k11_a_ticket_is_taken_that_is_not_to_be` |
//! | A3 | a resumption is under the ticket's suite | one under another | `without_a3_a_resumption_is_taken_under_another_suite` |
//! | F2 | every tag | a session for a hello that was played again; records that were changed | `without_tags_a_hello_that_is_played_again_is_a_session` |
//! | R2 | every tag; the number of a record in its nonce | a record that was changed, or played again | `without_tags_and_numbers_records_are_changed_and_played_again` |
//! | the transcript: channel binding, prologue | with `context`, at both ends | a login from one channel to another | `without_the_channel_in_context_and_transcript_a_login_is_carried_over` |
//! | ClientHello: versions, suites, nonce, server_name, known_keys, ticket, extensions | in the transcript | two ends that saw different bytes; a replay | `without_a_field_in_the_transcript_it_can_be_changed_unseen` |
//! | ServerHello: suite, nonce, spki, credential_kinds, extensions | in the transcript | the same | `without_a_field_in_the_transcript_it_can_be_changed_unseen` |
//! | ServerResumption: nonce, extensions | in the transcript | the same | `without_a_field_in_the_transcript_it_can_be_changed_unseen` |
//! | labels: binder, proof, verdict, credential, factor, confirm | the transcript in what is expanded (of the credential with L6) | the same; an answer to a request before, a Confirm of another hello | `without_the_transcript_in_a_key_frames_are_taken_that_are_not_of_the_handshake` |
//!
//! What is not there, and why. Each rule among it has tests that bear its number (`tests/rules.rs`).
//!
//! | of | why |
//! |---|---|
//! | S1, B2, L1, N1, F1, A1, C1, V1, R1 | a frame of another type is no message that the state could go on with: the sequences feed all of them |
//! | S2 to S9, S11, S13 to S15, L2 to L4, L8, A2, A4, C2, C3, C5 to C7, C9, C13, C15, V3 | of form: what breaks one keeps nobody out, or leaves nothing to go on with |
//! | S10, B4, L5, N3, F3, A7, C10, V5 | of time, which stands still here |
//! | L7, N2, A5, V2 | an AEAD that opens under any key gives what is no credential, no answer and no verdict |
//! | L10, N4 | whether a credential or an answer is good is not the machines' to say |
//! | A6, A8, C14, V4, V6 | nothing is granted, so there is nothing that could be taken |
//! | T6 | each sequence would cost an Argon2id; of one that was computed before, the parameters are compared besides |
//! | R3 to R6 | of one direction of a session alone, after what the sequences hold or beyond their length |
//! | H1 to H2, M1 to M8, X1 to X3 | of evidence for a key: it is decided on between the machines' steps, and no world has any; of manifests `formal/manifest.pv` |
//! | P1, P2 | of a word and a list, after the login: no frame |
//! | ClientHello: key_shares, rsa_ciphertext | what is changed there is another secret, and so are all keys |
//! | ClientHello: context | each end compares it with its own: no other gets there (C11, K11) |
//! | ClientHello: binder | it follows from all that is before it (K3) |
//! | ServerHello: version, key_id | there is one that passes (C3; C8, T1), and the secret is sealed to this key |
//! | ServerHello: key_share, context, proof | as in ClientHello (C11, C12) |
//! | ClientLogin: rsa_ciphertext, sealed_credential | what is changed there is another secret (L6), or does not open (L7) |
//! | ServerResumption: version, suite, key_share, sealed_verdict | there is one that passes (A3); another secret; does not open (A5) |
//! | labels: resumption, client traffic, server traffic, exporter, session id | `master` is of one handshake, and they come after a verdict that is of this one |
//! | labels: key, iv, update, export | of no transcript: they are expanded from what is |
//!
//! Of K6 one half: that a later ticket of a chain was used before can't be had without the earlier one's use, which says the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects, unreachable_pub, dead_code, unused_imports)]

#[path = "../support/ends.rs"]
mod ends;
#[path = "../support/settings.rs"]
mod settings;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/toy.rs"]
mod toy;

#[path = "../attacker/dolev_yao.rs"]
mod dolev_yao;
#[path = "../attacker/search.rs"]
mod search;
#[path = "../attacker/world.rs"]
mod world;
#[path = "../attacker/worlds.rs"]
mod worlds;

#[path = "../sequences/explore.rs"]
mod explore;
#[path = "../sequences/letters.rs"]
mod letters;
#[path = "../sequences/table.rs"]
mod table;

mod parts;
mod transcripts;

use crate::mutant::{Check, Filter, without};
use countersign::KeyExchange;
use countersign::crypto::Provider;
use countersign::{CredentialKind, Server as Known, TrustLevel};
use ends::Side;
use search::search;
use settings::Setting;
use std::collections::{BTreeMap, BTreeSet};
use worlds::{Parts, world};

/// What a search must find in this world, by how it begins.
fn finds(checks: &[Check], filter: Option<Filter>, parts: Parts, name: &str, what: &str) {
    let found = without(checks, filter, || search(&world(name, parts)));
    match found {
        Err(attack) => {
            println!("without {checks:?}, in {name}: {}; {:?}", attack.broken, attack.steps);
            assert!(attack.broken.starts_with(what), "without {checks:?}, in {name}: {attack:#?}");
        }
        Ok(searched) => panic!("without {checks:?}, in {name}: nothing found, {searched:?}"),
    }
}

fn checks(checks: &[Check], name: &str, what: &str) {
    finds(checks, None, Parts::default(), name, what);
}

fn provider(change: impl FnOnce(Provider) -> Provider) -> Parts {
    Parts { provider: change(toy::provider()), ..Parts::default() }
}

/// What the sequences must find in this setting: a machine and the table that differ.
fn sequences_differ(checks: &[Check], provider: Provider, setting: &str, side: Side) {
    settings_differ(checks, provider, setting, |setting| setting, side);
}

/// The same where the setting, but not what the table knows of it, is changed.
fn settings_differ(checks: &[Check], provider: Provider, name: &str, change: fn(Setting) -> Setting, side: Side) {
    let differences = without(checks, None, || {
        let setting = Setting::all(provider).into_iter().find(|it| it.name == name).unwrap();
        explore::feed_all(&change(setting), side).differences
    });
    println!("without {checks:?}, in {name}: {} sequences, such as {:?}", differences.len(), differences.first());
    assert!(!differences.is_empty(), "without {checks:?}, in {name}: nothing found");
}

#[test]
fn without_trust_the_attacker_reads_the_credential() {
    let parts = Parts {
        trust: |_| countersign::Server::trusting(parts::Anybody).with_floor(KeyExchange::Rsa),
        ..Parts::default()
    };
    finds(&[], None, parts, "two servers", "secrecy");
}

#[test]
fn without_a_floor_a_credential_leaves_under_rsa_alone() {
    let parts = Parts { trust: |known| known.with_floor(KeyExchange::Rsa), ..Parts::default() };
    finds(&[], None, parts, "a floor", "no downgrade");
}

#[test]
fn without_a_proof_a_credential_leaves_that_no_server_has_asked_for() {
    let parts = Parts { trust: countersign::Server::without_proof, ..Parts::default() };
    finds(&[], None, parts, "two servers, a proof", "proof");
    checks(&[Check::C12], "two servers, a proof", "proof");
}

#[test]
fn without_c4_a_credential_leaves_under_a_suite_that_was_not_offered() {
    checks(&[Check::C4], "two servers", "no downgrade");
}

#[test]
fn without_c8_a_key_is_taken_under_another_id() {
    sequences_differ(&[Check::C8], toy::provider(), "a fingerprint", Side::Client);
}

#[test]
fn without_any_one_of_what_a_credential_waits_for_it_leaves() {
    for check in [Check::C11, Check::T3] {
        sequences_differ(&[check], toy::provider(), "a fingerprint", Side::Client);
    }
    let lowered =
        |setting: Setting| setting.trust(|known| known.with_level_for(CredentialKind::Password, TrustLevel::FirstUse));
    settings_differ(&[], toy::provider(), "first use", lowered, Side::Client);
    let plain = |setting: Setting| setting.trust(|_| support::RSA2048.trust());
    settings_differ(&[], toy::provider(), "a password that goes stretched alone", plain, Side::Client);
}

#[test]
fn without_b1_or_b3_puzzles_bound_nothing() {
    sequences_differ(&[Check::B1], toy::provider(), "a key, a proof, and a puzzle", Side::Client);
    sequences_differ(&[Check::B3], toy::provider(), "a key, a proof, and a puzzle", Side::Server);
}

#[test]
fn without_s12_a_server_answers_to_any_name() {
    sequences_differ(&[Check::S12], toy::provider(), "a server name", Side::Server);
}

#[test]
fn without_l9_or_l12_a_login_goes_on_that_is_to_be_refused() {
    sequences_differ(&[Check::L9], toy::provider(), "a client's key", Side::Server);
    sequences_differ(&[Check::L12], toy::provider(), "a factor that nobody can be asked for", Side::Server);
}

#[test]
fn without_v7_or_v8_a_client_answers_who_may_not_ask() {
    sequences_differ(&[Check::V7], toy::provider(), "a factor that nobody can be asked for", Side::Client);
    sequences_differ(&[Check::V7], toy::provider(), "a fingerprint, and two factors", Side::Client);
    sequences_differ(&[Check::V8], toy::provider(), "first use, a client's key, and a factor", Side::Client);
}

#[test]
fn without_k10_or_k11_a_ticket_is_taken_that_is_not_to_be() {
    for check in [Check::K10, Check::K11] {
        sequences_differ(&[check], toy::provider(), "a fingerprint, a ticket", Side::Server);
    }
}

#[test]
fn without_a3_a_resumption_is_taken_under_another_suite() {
    sequences_differ(&[Check::A3], toy::provider(), "a fingerprint, a ticket", Side::Client);
}

#[test]
fn without_l6_a_login_is_taken_that_is_bound_to_another_challenge() {
    sequences_differ(&[Check::L6], toy::provider(), "a fingerprint", Side::Server);
}

#[test]
fn without_the_channel_in_context_and_transcript_a_login_is_carried_over() {
    finds(&[Check::Context], Some(transcripts::channel), Parts::default(), "two channels", "agreement");
    finds(&[Check::Context], Some(transcripts::prologue), Parts::default(), "two prologues", "agreement");
}

#[test]
fn without_a_field_in_the_transcript_it_can_be_changed_unseen() {
    let fields: [(Filter, &str, &str); 16] = [
        (transcripts::versions, "one server", "agreement"),
        (transcripts::suites, "two suites", "agreement"),
        (transcripts::nonce, "two servers", "agreement"),
        (transcripts::server_name, "one server", "agreement"),
        (transcripts::known_keys, "two servers, a proof", "proof"),
        (transcripts::ticket, "tickets", "agreement"),
        (transcripts::extensions, "one server", "agreement"),
        (transcripts::client_hello, "one server", "agreement"),
        (transcripts::suite, "two suites, a proof", "proof"),
        (transcripts::challenge, "one server", "agreement"),
        (transcripts::spki, "one server, a proof", "proof"),
        (transcripts::kinds, "one server", "agreement"),
        (transcripts::extensions_of_server, "one server", "agreement"),
        (transcripts::server_hello, "one server", "agreement"),
        (transcripts::nonce_of_resumption, "tickets", "agreement"),
        (transcripts::extensions_of_resumption, "tickets", "agreement"),
    ];
    for (filter, name, what) in fields {
        finds(&[], Some(filter), Parts::default(), name, what);
    }
}

#[test]
fn without_the_transcript_in_a_key_frames_are_taken_that_are_not_of_the_handshake() {
    checks(&[Check::KeyContext("proof")], "one server, a proof", "proof");
    checks(&[Check::KeyContext("binder")], "tickets", "tickets");
    checks(&[Check::KeyContext("verdict")], "tickets", "agreement");
    // What is before a credential stands in its secret, too.
    checks(&[Check::KeyContext("credential"), Check::L6], "one server", "agreement");
    for (label, setting) in [("factor", "a fingerprint, and two factors"), ("confirm", "a fingerprint, a ticket")] {
        sequences_differ(&[Check::KeyContext(label)], toy::provider(), setting, Side::Server);
    }
}

#[test]
fn without_its_signature_a_key_logs_anybody_in() {
    let parts = provider(|toy| Provider { signatures: Some(&parts::AnySignature), ..toy });
    finds(&[], None, parts, "signatures", "agreement");
}

#[test]
fn without_the_transcript_in_a_signature_it_can_be_passed_on() {
    checks(&[Check::SignedTranscript], "signatures", "agreement");
}

#[test]
fn without_any_one_rule_for_tickets_they_are_taken_out_of_their_scope() {
    for check in [Check::K2, Check::K3, Check::K4, Check::K7, Check::K9] {
        checks(&[check], "tickets", "tickets");
    }
    for check in [Check::K5, Check::K8] {
        checks(&[check], "tickets, two servers", "tickets");
    }
    let parts = Parts { takes_twice: true, ..Parts::default() };
    finds(&[], None, parts, "tickets", "tickets");
    // K1: a ticket that was altered.
    let any_tag = Provider { aes_256_gcm: Some(&parts::AnyTag), ..toy::provider() };
    finds(&[], None, Parts { ticket_provider: Some(any_tag), ..Parts::default() }, "tickets", "tickets");
}

#[test]
fn without_tags_a_hello_that_is_played_again_is_a_session() {
    // But for those of tickets.
    let parts = provider(|toy| Provider { aes_256_gcm: Some(&parts::AnyTag), ..toy });
    finds(&[], None, Parts { ticket_provider: Some(toy::provider()), ..parts }, "tickets", "agreement");
}

#[test]
fn without_tags_and_numbers_records_are_changed_and_played_again() {
    for cipher in [&parts::AnyTag as &'static dyn countersign::crypto::Cipher, &parts::NoNumber] {
        let provider = Provider { aes_256_gcm: Some(cipher), ..toy::provider() };
        sequences_differ(&[], provider, "a fingerprint", Side::Server);
    }
}

#[test]
fn with_everything_in_its_place_nothing_is_found() {
    let searched = without(&[], None, || search(&world("one server", Parts::default())));
    assert!(searched.is_ok(), "{searched:?}");
}

const HERE: &str = include_str!("mod.rs");
const SWITCHES: &str = include_str!("../../src/mutant.rs");
const PROTOCOL: &str = include_str!("../../PROTOCOL.md");

/// The rows of the tables at the head of this file: with four columns what is taken out, with two what is not.
fn rows(columns: usize) -> Vec<Vec<&'static str>> {
    let lines = HERE.lines().filter_map(|line| line.strip_prefix("//! | ")?.strip_suffix(" |"));
    let rows = lines.map(|line| line.split(" | ").collect::<Vec<_>>());
    rows.filter(|row| row.len() == columns && row[0] != "of").collect()
}

/// `K2` and the like: a letter and a number.
fn rule(text: &str) -> Option<(char, u8)> {
    let letter = text.chars().next().filter(char::is_ascii_uppercase)?;
    Some((letter, text[1..].parse().ok()?))
}

/// What a row is of: rules, fields of a message, or labels.
fn named(cell: &str) -> Vec<String> {
    if let Some((of, names)) = cell.split_once(": ") {
        return names.split(", ").map(|name| format!("{of}: {name}")).collect();
    }
    let range = |item: &str| match item.split_once(" to ") {
        None => vec![item.to_owned()],
        Some((first, last)) => {
            let (Some((letter, first)), Some((_, last))) = (rule(first), rule(last)) else { panic!("{item}") };
            (first..=last).map(|number| format!("{letter}{number}")).collect()
        }
    };
    cell.split(", ").flat_map(range).collect()
}

/// All that PROTOCOL.md has of rules, of fields of these messages, and of labels.
fn stated() -> BTreeSet<String> {
    let items = PROTOCOL.lines().filter_map(|line| line.strip_prefix("- **")?.split("**").next());
    let mut stated: BTreeSet<String> = items.filter(|item| rule(item).is_some()).map(str::to_owned).collect();
    for message in ["ClientHello", "ServerHello", "ClientLogin", "ServerResumption"] {
        let (_, section) = PROTOCOL.split_once(&format!("\n### {message}\n")).unwrap();
        let table = section.lines().skip_while(|line| !line.starts_with("| field")).skip(2);
        let fields = table.map_while(|line| line.strip_prefix("| ")?.split(" |").next());
        stated.extend(fields.map(|field| format!("{message}: {field}")));
    }
    for expanded in PROTOCOL.split("Expand(").skip(1) {
        let mut parts = expanded.split('"');
        if !parts.next().unwrap().contains(')') {
            stated.insert(format!("labels: {}", parts.next().unwrap().trim_end()));
        }
    }
    // Not a label of its own: two parts of the transcript's beginning.
    stated.extend(["channel binding", "prologue"].map(|part| format!("the transcript: {part}")));
    stated
}

#[test]
fn each_rule_field_and_label_is_taken_out_or_said_why_not() {
    let mut told = BTreeMap::<String, usize>::new();
    for row in rows(4).iter().chain(&rows(2)) {
        named(row[0]).into_iter().for_each(|name| *told.entry(name).or_default() += 1);
    }
    let stated = stated();
    assert!(stated.len() > 130, "{stated:?}");
    let untold: Vec<_> = stated.iter().filter(|name| !told.contains_key(*name)).collect();
    let unknown: Vec<_> = told.keys().filter(|name| !stated.contains(*name)).collect();
    let twice: Vec<_> = told.iter().filter(|(_, times)| **times > 1).collect();
    assert!(untold.is_empty(), "in neither table: {untold:?}");
    assert!(unknown.is_empty(), "not in PROTOCOL.md: {unknown:?}");
    assert!(twice.is_empty(), "told twice: {twice:?}");
}

#[test]
fn each_row_names_its_test_and_each_switch_is_used() {
    let tests: Vec<&str> =
        rows(4).iter().flat_map(|row| row[3].split(", ")).map(|name| name.trim_matches('`')).collect();
    for name in &tests {
        assert!(HERE.contains(&format!("#[test]\nfn {name}() {{")), "{name}");
    }
    let all = HERE.split("#[test]\nfn ").skip(1).map(|text| text.split('(').next().unwrap());
    let unnamed: Vec<&str> = all.filter(|name| name.starts_with("without") && !tests.contains(name)).collect();
    assert!(unnamed.is_empty(), "in no row: {unnamed:?}");
    let (_, body) = SWITCHES.split_once("enum Check {").unwrap();
    let lines = body.lines().map(str::trim).take_while(|line| *line != "}");
    let lines = lines.filter(|line| !line.starts_with("//") && line.ends_with(','));
    let switches: Vec<&str> = lines.map(|line| line.trim_end_matches(',').split('(').next().unwrap()).collect();
    assert!(switches.len() > 20, "{switches:?}");
    let unused: Vec<_> = switches.iter().filter(|switch| !HERE.contains(&format!("Check::{switch}"))).collect();
    assert!(unused.is_empty(), "switches that nothing uses: {unused:?}");
    // What can be taken out by a switch is told, by its rule.
    let told: BTreeSet<String> = rows(4).iter().flat_map(|row| named(row[0])).collect();
    let untold: Vec<_> = switches.iter().filter(|it| rule(it).is_some() && !told.contains(**it)).collect();
    assert!(untold.is_empty(), "{untold:?}");
}
