//! The codes of errors stay what they are: logs, metrics and alarms go by them. `docs/codes.txt` has every one.
//!
//! A new one, or one that is renamed on purpose: `UPDATE_CODES=1 cargo test --test codes`, and its users are told in CHANGELOG.md.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// All files of source below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The type that an `impl` or a `codes!` is for.
fn type_of(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("codes!(").or_else(|| line.strip_prefix("impl"))?;
    let rest = rest.rsplit_once(" for ").map_or(rest, |(_, of)| of);
    rest.trim_start().split(|c: char| !c.is_alphanumeric()).next()
}

/// `variant code` for each arm of a `match` that gives a word; what has the code of an inner error gives none.
fn arms(body: &str) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    let mut parts = body.split('"');
    while let (Some(before), Some(code)) = (parts.next(), parts.next()) {
        let Some(arm) = before.trim_end().trim_end_matches('{').trim_end().strip_suffix("=>") else { continue };
        let arm = arm.rsplit_once("=>").map_or(arm, |(_, arm)| arm);
        for variant in arm.split('|') {
            let name = variant.split_once("Self::").map_or("_", |(_, name)| name);
            found.push((name.replace("(_)", "").replace("(..)", "").replace(" { .. }", "").trim().to_owned(), code));
        }
    }
    found
}

/// `Type::Variant code` for each variant that has one, and `Reason code` for what keeps a key from being trusted.
fn codes(source: &str) -> BTreeSet<String> {
    let (mut found, mut of) = (BTreeSet::new(), "");
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        of = type_of(line).unwrap_or(of);
        if let Some((code, why)) = line.split_once("Untrusted::new(\"").and_then(|(_, new)| new.split_once("\", ")) {
            let (why, _) = why.split_once(')').unwrap();
            // Of a test it is any error.
            found.extend((!why.contains("::")).then(|| format!("{why} {code}")));
        }
        let end = match line.split_once(|c: char| c != ' ') {
            _ if line.starts_with("codes!(") => "});".to_owned(),
            Some((indent, _)) if line.contains("fn code(") => format!("{indent}}}"),
            _ => continue,
        };
        let is_code = |line: &&str| !line.trim_start().starts_with("#[") && !line.trim_start().starts_with("//");
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != end).filter(is_code).collect();
        found.extend(arms(&body.join(" ")).into_iter().map(|(variant, code)| format!("{of}::{variant} {code}")));
    }
    found
}

/// The errors that a file makes public, and the types in it that have a code.
fn errors(source: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let (mut errors, mut with_code, mut of, mut is_error) = (BTreeSet::new(), BTreeSet::new(), "", false);
    for line in source.lines() {
        of = type_of(line).unwrap_or(of);
        if line.starts_with("codes!(")
            || ["pub fn code(", "pub const fn code("].iter().any(|front| line.trim_start().starts_with(front))
        {
            with_code.insert(of);
        }
        is_error |= line.starts_with("#[derive(") && line.contains("thiserror::Error");
        let declared = ["pub enum ", "pub struct "].iter().find_map(|front| line.strip_prefix(front));
        if let Some(name) = declared.and_then(|rest| rest.split(|c: char| !c.is_alphanumeric()).next()) {
            errors.extend(std::mem::take(&mut is_error).then_some(name));
        }
        // One that is not public.
        is_error &= !["enum ", "struct ", "pub(", "}"].iter().any(|front| line.starts_with(front));
    }
    (errors, with_code)
}

#[test]
fn every_public_error_has_a_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    ["src", "stores/src"].iter().for_each(|folder| sources(&root.join(folder), &mut paths));
    let texts: Vec<String> = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let (mut count, mut without) = (0, Vec::new());
    for text in &texts {
        let (errors, with_code) = errors(text);
        count += errors.len();
        // What is made of other errors has it where those are.
        let is_made_of_others = |name: &str| text.contains(&format!("pub struct {name}<E>"));
        let has_it_there = |name: &str| texts.iter().any(|text| self::errors(text).1.contains(name));
        let lacks = |name: &&&str| !(is_made_of_others(name) && has_it_there(name));
        without.extend(errors.difference(&with_code).filter(lacks).map(|name| (*name).to_owned()));
    }
    assert!(without.is_empty(), "without a code: {without:?}");
    assert!(count > 30, "does it see what it looks for?");
}

#[test]
fn every_code_is_the_one_that_it_was() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    ["src", "stores/src", "cli/src"].iter().for_each(|folder| sources(&root.join(folder), &mut paths));
    let now: BTreeSet<String> = paths.iter().flat_map(|path| codes(&fs::read_to_string(path).unwrap())).collect();
    let list = root.join("docs/codes.txt");
    if std::env::var_os("UPDATE_CODES").is_some() {
        let lines: String = now.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&list, lines).unwrap();
    }
    let listed = fs::read_to_string(&list).unwrap();
    let listed: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
    let [new, gone] = [now.difference(&listed), listed.difference(&now)].map(|lines| lines.collect::<Vec<_>>());
    assert!(new.is_empty() && gone.is_empty(), "not in docs/codes.txt: {new:#?}; there alone: {gone:#?}");
    assert!(now.len() > 200, "does it see what it looks for?");
}
