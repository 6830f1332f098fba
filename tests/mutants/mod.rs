//! Takes each check out of the machines, one at a time, and has the search (`tests/attacker`) or the sequences (`tests/sequences`) find
//! what comes of it. A part of the library's own unit tests, since nothing but those can be built with a check taken out (`src/mutant.rs`).
//!
//! | taken out | found | by |
//! |---|---|---|
//! | T1, the key is trusted | the attacker reads the credential | search |
//! | T2, the floor | a credential under RSA alone | search |
//! | T4, a proof is waited for; C12, it is right | a credential leaves that no server has asked for | search |
//! | C4, the suite was offered | a credential under another | search |
//! | C8, the key has the id that it says | a challenge that is to be refused | sequences |
//! | context, and the channel binding or the prologue in the transcript | a login from one channel to another | search |
//! | any field of the hellos in the transcript | two ends that saw different bytes; a replay, where it is the challenge | search |
//! | the transcripts in the key schedule | the same | search |
//! | L6, a secret is for this handshake | a login that is bound to another challenge | sequences |
//! | L11, a signature is the key's; the transcript in it | a login as alice, by nobody, or by the server that she has shown it to | search |
//! | K2 to K9, each rule for tickets | a ticket that is taken out of its scope, twice, or from somebody else | search |
//! | F2, and every other tag | a session for a hello that was played again; records that were changed | search, sequences |
//! | the number of a record in its nonce | a record that was played again | sequences |
//!
//! L7, V2 and A5 have no line of their own: an AEAD that opens under any key gives what is no credential and no verdict. Nor have rules
//! of form (S2 to S8, L1 to L4 and so on), which keep nobody out.

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
use ends::Side;
use search::search;
use settings::Setting;
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
    let differences = without(checks, None, || {
        let setting = Setting::all(provider).into_iter().find(|it| it.name == setting).unwrap();
        explore::feed_all(&setting, side).differences
    });
    println!("without {checks:?}: {} sequences, such as {:?}", differences.len(), differences.first());
    assert!(!differences.is_empty(), "without {checks:?}: nothing found");
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
    let fields: [(Filter, &str, &str); 8] = [
        (transcripts::suites, "two suites", "agreement"),
        (transcripts::nonce, "two servers", "agreement"),
        (transcripts::server_name, "one server", "agreement"),
        (transcripts::extensions, "one server", "agreement"),
        (transcripts::client_hello, "one server", "agreement"),
        (transcripts::challenge, "one server", "agreement"),
        (transcripts::kinds, "one server", "agreement"),
        (transcripts::server_hello, "one server", "agreement"),
    ];
    for (filter, name, what) in fields {
        finds(&[], Some(filter), Parts::default(), name, what);
    }
}

#[test]
fn without_the_transcript_in_the_keys_a_challenge_can_be_changed_unseen() {
    checks(&[Check::KeyContext], "one server, a proof", "");
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
}

#[test]
fn without_tags_a_hello_that_is_played_again_is_a_session() {
    let parts = provider(|toy| Provider { aes_256_gcm: Some(&parts::AnyTag), ..toy });
    finds(&[], None, parts, "tickets", "agreement");
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
