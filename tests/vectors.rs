//! The vectors of `tests/vectors/`: made here, checked here, and printed into PROTOCOL.md from here.
//!
//! The oracle in `vectors/oracle.rs` computes every byte and every secret from PROTOCOL.md and the primitives' crates
//! alone; the library's machines must agree with it, and both with the files. To write the files anew, after a change
//! of the protocol: `UPDATE_VECTORS=1 cargo test --test vectors`.
//!
//! Only the `rustcrypto` provider draws all its randomness from what is handed in, so only it can make these bytes;
//! `tests/providers.rs` has the other read what this one makes.
#![cfg(all(feature = "rustcrypto", feature = "ml-kem", feature = "stretch"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects, unreachable_pub)]

#[path = "vectors/cases.rs"]
mod cases;
#[path = "vectors/exports.rs"]
mod exports;
#[path = "vectors/factors.rs"]
mod factors;
#[path = "vectors/formulas.rs"]
mod formulas;
#[path = "vectors/inputs.rs"]
mod inputs;
#[path = "vectors/keys.rs"]
mod keys;
#[path = "vectors/login.rs"]
mod login;
#[path = "vectors/manifests.rs"]
mod manifests;
#[path = "vectors/oracle.rs"]
mod oracle;
#[path = "vectors/plaintexts.rs"]
mod plaintexts;
#[path = "vectors/primitives.rs"]
mod primitives;
#[path = "vectors/puzzles.rs"]
mod puzzles;
#[path = "vectors/refusals.rs"]
mod refusals;
#[path = "vectors/run.rs"]
mod run;
#[path = "vectors/setting.rs"]
mod setting;
#[path = "vectors/stretched.rs"]
mod stretched;
#[path = "vectors/tickets.rs"]
mod tickets;

use cases::cases;
use exports::exports;
use manifests::manifests;
use puzzles::puzzles;
use run::{Vector, run};
use serde::Serialize;
use std::path::Path;

#[test]
fn the_machines_and_the_oracle_agree_with_every_vector_file() {
    let texts = cases().iter().map(|case| (case.name.clone(), in_json(&run(case)))).collect();
    are_filed("tests/vectors", texts);
}

#[test]
fn the_library_agrees_with_every_vector_of_a_manifest() {
    let texts = manifests().iter().map(|vector| (vector.name.to_owned(), in_json(vector))).collect();
    are_filed("tests/vectors/manifests", texts);
}

#[test]
fn the_machines_agree_with_every_vector_of_a_puzzle() {
    let texts = puzzles().iter().map(|vector| (vector.name.to_owned(), in_json(vector))).collect();
    are_filed("tests/vectors/puzzles", texts);
}

#[test]
fn both_ends_and_the_formula_agree_with_every_vector_of_an_exported_key() {
    let texts = exports().iter().map(|vector| (vector.name.to_owned(), in_json(vector))).collect();
    are_filed("tests/vectors/exports", texts);
}

fn in_json(vector: &impl Serialize) -> String {
    serde_json::to_string_pretty(vector).unwrap() + "\n"
}

/// These texts, by their names, are the files of this folder, all of them.
fn are_filed(folder: &str, texts: Vec<(String, String)>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut names = Vec::new();
    for (name, text) in texts {
        let name = format!("{name}.json");
        let path = folder.join(&name);
        if is_update() {
            std::fs::write(&path, &text).unwrap();
        }
        let filed = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(filed == text, "{name} has drifted");
        assert!(!names.contains(&name), "two cases are called {name}");
        names.push(name);
    }
    let filed = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for name in filed.filter(|name| name.ends_with(".json")) {
        assert!(names.contains(&name), "{name} belongs to no case");
    }
}

#[test]
fn the_exchanges_in_protocol_md_are_the_vectors() {
    let printed = ["proof-rsa2048-x25519-aes256gcm", "rsa2048-x25519mlkem768-aes256gcm", "resumed-x25519-aes256gcm"];
    let vectors = printed.map(|name| run(&cases().into_iter().find(|case| case.name == name).unwrap()));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("PROTOCOL.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let key = [("PrivateKeyInfo (PKCS#8) of the server's key", vectors[0].inputs.server_key_pkcs8.clone())];
    let mut fresh = between_marks(&text, "key", &in_hex(&key));
    for vector in &vectors {
        assert_eq!(vector.inputs.server_key_pkcs8, key[0].1, "one key serves all");
        fresh = between_marks(&fresh, &vector.name, &in_hex(&printed_parts(vector)));
    }
    if is_update() {
        std::fs::write(&path, &fresh).unwrap();
    }
    assert!(std::fs::read_to_string(&path).unwrap() == fresh, "PROTOCOL.md's exchanges have drifted");
}

fn is_update() -> bool {
    std::env::var_os("UPDATE_VECTORS").is_some()
}

/// The text with this between the marks of that name.
fn between_marks(text: &str, name: &str, fresh: &str) -> String {
    let (begin, end) = (format!("<!-- exchange:begin {name} -->\n"), format!("<!-- exchange:end {name} -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    format!("{before}{begin}{fresh}{end}{after}")
}

/// The inputs, frames and secrets of a vector as PROTOCOL.md prints them.
fn printed_parts(vector: &Vector) -> Vec<(String, String)> {
    let names: &[&str] = match vector.frames.len() {
        3 => &["ClientHello", "ServerResumption", "Confirm"],
        _ => &["ClientHello", "ServerHello", "ClientLogin", "ServerVerdict"],
    };
    let inputs = vector.inputs.printed().into_iter().map(|(name, hex)| (name.to_owned(), hex));
    let frames = names.iter().zip(&vector.frames).map(|(name, hex)| ((*name).to_owned(), hex.clone()));
    let secrets = vector.secrets.as_ref().unwrap().0.iter().map(|(name, hex)| ((*name).to_owned(), hex.clone()));
    let records = vector.records.as_ref().unwrap();
    let last = [
        ("client's first record: \"whoami\\n\"", &records.client[0]),
        ("server's first record: \"alice\\n\"", &records.server[0]),
        ("exported key: label \"example\", context \"context\"", &records.exported),
    ];
    inputs.chain(frames).chain(secrets).chain(last.map(|(name, hex)| (name.to_owned(), hex.clone()))).collect()
}

fn in_hex<S: AsRef<str>>(parts: &[(S, String)]) -> String {
    let mut out = String::from("```text\n");
    for (name, hex) in parts {
        out.push_str(&format!("{} ({} bytes)\n", name.as_ref(), hex.len() / 2));
        for line in hex.as_bytes().chunks(112) {
            out.push_str(&format!("  {}\n", std::str::from_utf8(line).unwrap()));
        }
    }
    out + "```\n"
}
