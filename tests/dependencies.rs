//! What docs/dependencies.md says the library is built from is what it is built from.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What the library is built from on 64-bit Linux, without itself: names and versions. The rest of the command line says with what.
fn packages(arguments: &[&str]) -> BTreeSet<(String, String)> {
    let fixed = ["tree", "-p", "countersign", "--prefix", "none", "--format", "{p}", "--locked"];
    let target = ["--target", "x86_64-unknown-linux-gnu"];
    let mut command = Command::new(env!("CARGO"));
    let output = command.args(fixed).args(target).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // `name v1.2.3`, and perhaps what kind it is.
    let package = |line: &str| {
        let (name, rest) = line.split_once(" v")?;
        Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
    };
    text.lines().filter_map(package).filter(|(name, _)| name != "countersign").collect()
}

fn names(arguments: &[&str]) -> BTreeSet<String> {
    packages(arguments).into_iter().map(|(name, _)| name).collect()
}

fn document() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/dependencies.md")).unwrap()
}

/// The first column of each table up to this heading, which names crates.
fn named(text: &str) -> Vec<String> {
    let text = text.split("\n## Fewer").next().unwrap();
    let cells = text.lines().filter(|line| line.starts_with("| `")).map(|line| line.split('|').nth(1).unwrap());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn each_crate_of_the_default_tree_is_named_once_with_what_it_is_for() {
    let named = named(&document());
    let once: BTreeSet<String> = named.iter().cloned().collect();
    assert_eq!(named.len(), once.len(), "one is named twice");
    let tree = names(&["-e", "normal"]);
    let difference = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
    let (unsaid, gone) = (difference(&tree, &once), difference(&once, &tree));
    assert!(unsaid.is_empty() && gone.is_empty(), "not in docs/dependencies.md: {unsaid:?}; no longer there: {gone:?}");
}

#[test]
fn the_numbers_of_crates_are_those_of_the_trees() {
    let text = document();
    let (_, rows) = text.split_once("\n## Fewer").unwrap();
    let rows: Vec<&str> = rows.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| for")).collect();
    let features: [&[&str]; 3] = [
        &["-e", "normal"],
        &["-e", "normal", "--no-default-features", "--features", "rustcrypto,ml-kem"],
        &["-e", "normal", "--no-default-features", "--features", "aws-lc"],
    ];
    assert_eq!(rows.len(), features.len());
    for (row, features) in rows.iter().zip(features) {
        let stated: usize = row.split('|').nth(3).unwrap().trim().parse().unwrap();
        assert_eq!(stated, names(features).len(), "{row}");
    }
}

/// `1.89` or `1.89.0` as numbers.
fn version(text: &str) -> Vec<u64> {
    let mut parts: Vec<u64> = text.split('.').map(|part| part.parse().unwrap()).collect();
    parts.resize(3, 0);
    parts
}

/// No compiler of that age has to be there to ask for it: each crate says what it needs.
#[test]
fn no_crate_of_any_feature_needs_a_newer_rust_than_is_promised() {
    let mut command = Command::new(env!("CARGO"));
    let output =
        command.args(["metadata", "--format-version", "1", "--locked"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let metadata: serde_json::Value = serde_json::from_slice(&output.output().unwrap().stdout).unwrap();
    let promised = version(env!("CARGO_PKG_RUST_VERSION"));
    let tree = packages(&["--all-features", "-e", "normal,build"]);
    let mut seen = 0;
    for package in metadata["packages"].as_array().unwrap() {
        let Some(needs) = package["rust_version"].as_str() else { continue };
        let [name, release] = ["name", "version"].map(|field| package[field].as_str().unwrap().to_owned());
        if tree.contains(&(name.clone(), release.clone())) {
            assert!(version(needs) <= promised, "{name} {release} needs Rust {needs}");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}: few of them say it");
}
