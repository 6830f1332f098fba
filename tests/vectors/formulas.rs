//! PROTOCOL.md's own formulas, read from it and computed over the frames and secrets of each vector of an accepted login: the transcripts,
//! the stages and the table of keys. What the oracle computes stands in its code; here it is the text that is followed.

use super::primitives::{expand, extract, lp, modulus_size, unhex};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

static PROTOCOL: LazyLock<String> =
    LazyLock::new(|| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("PROTOCOL.md")).unwrap());

/// The lines `NAME = FORMULA` of each block of text under a heading, a block for each.
fn formulas(heading: &str) -> Vec<Vec<(&'static str, &'static str)>> {
    let (_, rest) = PROTOCOL.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let blocks = section.split("```text\n").skip(1).map(|block| block.split("```").next().unwrap());
    blocks
        .map(|block| {
            let lines = block.lines().filter_map(|line| line.split_once(" = "));
            lines.map(|(name, formula)| (name.trim(), formula.trim())).collect()
        })
        .collect()
}

/// What is known of one login: its inputs, frames and secrets.
struct Login {
    values: BTreeMap<String, Vec<u8>>,
    frames: Vec<Vec<u8>>,
    resumes: bool,
}

impl Login {
    /// Of a vector in which both accept what nobody has altered.
    fn of(vector: &Value) -> Option<Self> {
        let outcome = &vector["outcome"];
        if outcome["client"] != "accepted" || outcome["server"] != "accepted" || !vector["altered"].is_null() {
            return None;
        }
        let bytes = |value: &Value| unhex(value.as_str().unwrap());
        let frames: Vec<Vec<u8>> = vector["frames"].as_array().unwrap().iter().map(bytes).collect();
        let secrets = vector["secrets"].as_object().unwrap();
        let mut values: BTreeMap<String, Vec<u8>> =
            secrets.iter().map(|(name, value)| (name.clone(), bytes(value))).collect();
        let inputs = &vector["inputs"];
        let input = |name: &str| inputs.get(name).filter(|value| value.is_string());
        let is_proved = values.contains_key("proof");
        let resumes = values.contains_key("confirm_key");
        // Which one it is, and what stands for one that is not there: *Key schedule*.
        let rsa_secret = if is_proved || resumes { "hello_rsa_secret" } else { "rsa_secret" };
        let ticket_secret = input("ticket_secret").filter(|_| resumes);
        for (name, value) in [("rsa_secret", input(rsa_secret)), ("ticket_secret", ticket_secret)] {
            values.insert(name.to_owned(), value.map_or(vec![0; 32], bytes));
        }
        values.insert("prologue".to_owned(), bytes(&inputs["prologue"]));
        values.insert("binding type".to_owned(), inputs["binding_type"].as_str().unwrap().as_bytes().to_vec());
        values.insert("binding bytes".to_owned(), bytes(&inputs["binding_bytes"]));
        values.insert("0^32".to_owned(), vec![0; 32]);
        // As long as what is sealed to the first known key, in a ClientHello.
        let known = inputs["known_keys"].as_array().and_then(|known| known.first());
        values.insert("modulus".to_owned(), known.map_or(Vec::new(), |known| vec![0; modulus_size(&bytes(known))]));
        Some(Self { values, frames, resumes })
    }

    fn value(&self, name: &str) -> &[u8] {
        self.values.get(name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    fn frame(&self, name: &str) -> &[u8] {
        let names: &[&str] = match self.resumes {
            true => &["ClientHello", "ServerResumption", "Confirm"],
            false => &["ClientHello", "ServerHello", "ClientLogin", "ServerVerdict"],
        };
        &self.frames[names.iter().position(|known| *known == name).unwrap_or_else(|| panic!("there is no {name}"))]
    }

    /// A part of what a transcript covers; of the further factor of this number, from 1, where it is about one.
    fn part(&self, part: &str, factor: usize) -> Vec<u8> {
        if part == "seed" {
            let (_, seed) = formulas("Transcript")[0][0];
            return seed.split(" || ").flat_map(|field| self.field(field)).collect();
        }
        let upto = match part.strip_prefix("all frames up to and with the ") {
            // Four frames, and two for each further factor.
            Some("ServerVerdict that asks") => 2 + 2 * factor,
            Some("ClientFactor before this verdict") => 3 + 2 * factor,
            Some("ServerVerdict that accepts") => self.frames.len(),
            Some(other) => panic!("up to {other}?"),
            None => return self.part_of_frame(part),
        };
        self.frames[..upto].concat()
    }

    fn field(&self, field: &str) -> Vec<u8> {
        let inner = field.strip_prefix("lp(").and_then(|rest| rest.strip_suffix(')')).unwrap();
        lp(inner
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
            .map_or_else(|| self.value(inner), str::as_bytes))
    }

    fn part_of_frame(&self, part: &str) -> Vec<u8> {
        let Some((name, bound)) = part.split_once(" up to the ") else { return self.frame(part).to_vec() };
        let frame = self.frame(name);
        // The last field of each, with its length.
        let behind = |name: &str| 2 + self.values.get(name).map_or(0, Vec::len);
        let without = match (name, bound) {
            ("ServerHello", "end of its extensions") => behind("proof"),
            ("ClientHello", "end of rsa_ciphertext") => behind("binder"),
            ("ClientHello", "end of its extensions") => {
                let sealed = if self.values.contains_key("transcript_h") { self.value("modulus").len() } else { 0 };
                2 + sealed + behind("binder")
            }
            ("ServerResumption", "start of sealed_verdict") => 2064,
            ("ClientLogin", "end of rsa_ciphertext") => {
                let sealed = usize::from(u16::from_be_bytes([frame[3], frame[4]]));
                return frame[..5 + sealed].to_vec();
            }
            other => panic!("{other:?}"),
        };
        frame[..frame.len() - without].to_vec()
    }

    fn transcript(&self, formula: &str, factor: usize) -> Vec<u8> {
        let parts = formula.strip_prefix("SHA-256(").and_then(|rest| rest.strip_suffix(')')).unwrap();
        Sha256::digest(parts.split(" || ").flat_map(|part| self.part(part, factor)).collect::<Vec<_>>()).to_vec()
    }
}

/// The vectors of accepted logins, by their names.
fn logins() -> Vec<(String, Login, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let vectors = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let logins = vectors.filter_map(|path| {
        let vector: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let login = Login::of(&vector)?;
        Some((vector["name"].as_str().unwrap().to_owned(), login, vector))
    });
    let logins: Vec<_> = logins.collect();
    assert!(logins.len() > 30, "{}", logins.len());
    logins
}

#[test]
fn each_transcript_is_what_the_formula_in_protocol_md_gives() {
    let blocks = formulas("Transcript");
    let [login, factors, resumption] = &blocks[..] else { panic!("{} blocks", blocks.len()) };
    let mut seen = BTreeSet::new();
    for (name, known, _) in logins() {
        let has_factors = known.values.contains_key("transcript_f_1");
        for (block, formulas) in [login, factors, resumption].into_iter().enumerate() {
            for (transcript, formula) in formulas.iter().filter(|(transcript, _)| *transcript != "seed") {
                for factor in 0..=4 {
                    let of_factor = format!("{transcript}_{factor}");
                    let (title, is_meant) = match block {
                        // Where something else comes before the verdict, or in the place of a login, the next blocks have it.
                        0 => (
                            *transcript,
                            factor == 0 && !known.resumes && !(has_factors && *transcript == "transcript_4"),
                        ),
                        1 if *transcript == "transcript_4" => (*transcript, factor == 0 && has_factors),
                        1 => (of_factor.as_str(), factor > 0),
                        _ => (*transcript, factor == 0 && known.resumes),
                    };
                    if let Some(expected) = known.values.get(title).filter(|_| is_meant) {
                        assert!(known.transcript(formula, factor) == *expected, "{name}: {title} is not {formula}");
                        seen.insert((block, *transcript));
                    }
                }
            }
        }
    }
    let all = [login, factors, resumption].into_iter().enumerate();
    let all: BTreeSet<_> =
        all.flat_map(|(block, formulas)| formulas.iter().map(move |(name, _)| (block, *name))).collect();
    let untried: Vec<_> = all.difference(&seen).filter(|(_, name)| *name != "seed").collect();
    assert!(untried.is_empty(), "no vector has {untried:?}");
}

#[test]
fn each_stage_of_the_schedule_is_what_the_formula_in_protocol_md_gives() {
    let blocks = formulas("Key schedule");
    let stages: Vec<_> = blocks[0].iter().filter(|(_, formula)| formula.starts_with("HKDF-Extract")).collect();
    assert_eq!(stages.len(), 3);
    for (name, known, _) in logins() {
        for (stage, formula) in &stages {
            let inner = formula.strip_prefix("HKDF-Extract(salt = ").unwrap().strip_suffix(')').unwrap();
            let (salt, ikm) = inner.split_once(',').unwrap();
            let ikm = known.value(ikm.trim().strip_prefix("ikm = ").unwrap());
            assert!(extract(known.value(salt), ikm) == known.value(stage), "{name}: {stage} is not {formula}");
        }
    }
}

/// What a row of the table of keys calls by another name than the vectors: each key, and the secret that it follows from.
const NAMES: [(&str, &[(&str, &str)]); 4] = [
    ("the ticket_secret of the ticket in this verdict", &[("next_ticket_secret", "master")]),
    ("a traffic secret's key", &[("client_key", "client_traffic"), ("server_key", "server_traffic")]),
    ("a traffic secret's iv", &[("client_iv", "client_traffic"), ("server_iv", "server_traffic")]),
    ("the next traffic secret", &[("client_traffic_updated", "client_traffic")]),
];

#[test]
fn each_key_is_what_its_row_in_protocol_md_gives() {
    let rows: Vec<_> = PROTOCOL.lines().filter(|line| line.starts_with("| ") && line.contains("`Expand(")).collect();
    assert_eq!(rows.len(), 14);
    let logins = logins();
    for row in rows {
        let (title, formula) = row.trim_start_matches("| ").split_once(" | `Expand(").unwrap();
        let title = title.replace('`', "");
        let (formula, _) = formula.split_once(")`").unwrap();
        let (secret, rest) = formula.split_once(", ").unwrap();
        let (rest, length) = rest.rsplit_once(", ").unwrap();
        let (label, context) = rest.split_once(", ").unwrap();
        let mut seen = 0;
        for (name, known, vector) in &logins {
            if title == "exported key" {
                let records = &vector["records"];
                if records.is_null() {
                    continue;
                }
                let text = |field: &str| records[field].as_str().unwrap().to_owned();
                assert_eq!((secret, context, length), ("exporter", "SHA-256(context)", "L"));
                let front = label.strip_prefix('"').and_then(|label| label.strip_suffix("\" || label")).unwrap();
                let (exported, context) = (unhex(&text("exported")), Sha256::digest(unhex(&text("export_context"))));
                let label = format!("{front}{}", text("export_label"));
                assert!(expand(known.value(secret), &label, &context, exported.len()) == exported, "{name}: {row}");
                seen += 1;
                continue;
            }
            let [label, length] = [label.trim_matches('"'), length];
            let renamed = NAMES.iter().find(|(known, _)| *known == title).map(|(_, names)| *names);
            let own = [(title.as_str(), secret)];
            for (key, secret) in renamed.unwrap_or(&own) {
                // Each further factor has a verdict and keys of its own; a ticket comes with the last.
                let last = (1..=4).rev().find(|factor| known.values.contains_key(&format!("transcript_3_{factor}")));
                for factor in 0..=4 {
                    let of =
                        |name: &str, factor| if factor == 0 { name.to_owned() } else { format!("{name}_{factor}") };
                    let Some(expected) = known.values.get(&of(key, factor)) else { continue };
                    let factor = if *key == "next_ticket_secret" { last.unwrap_or(0) } else { factor };
                    let context = match context {
                        "\"\"" => &[],
                        "transcript_4" | "transcript_p" | "transcript_r" => known.value(context),
                        _ => known.value(&of(context, factor)),
                    };
                    let length = length.parse().unwrap();
                    assert!(
                        expand(known.value(secret), label, context, length) == *expected,
                        "{name}: {key} is not {row}"
                    );
                    seen += 1;
                }
            }
        }
        assert!(seen > 0, "no vector has {title}");
    }
}
