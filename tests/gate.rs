//! The gate, `.ci/run`: what fails in it fails it, and it leaves out nothing that it is there for.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// Whether the gate's first lines, with these in the place of its stages, come to a good end; and what is printed.
fn ends_well(stages: &str) -> (bool, String) {
    let (gate, folder) = (read(".ci/run"), tempfile::tempdir().unwrap());
    let (first, _) = gate.split_once("\nstage \"").unwrap();
    fs::create_dir(folder.path().join(".ci")).unwrap();
    let path = folder.path().join(".ci/run");
    fs::write(&path, format!("{first}\n{stages}\necho went on\n")).unwrap();
    let out = Command::new("bash").arg(&path).output().unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.success(), said.ends_with("went on\n"), "{stages}: {said}");
    (out.status.success(), said)
}

#[test]
fn whatever_fails_in_the_gate_fails_it() {
    assert!(ends_well("true; join_asides; aside one true; aside two true; join_asides; join_asides").0);
    for stages in [
        "false",
        "false | true",
        "(cd . && false && true)",
        "echo \"$no_such_name\"",
        "both() { false; true; }; both",
        "aside one false; join_asides",
        "aside one false; aside two true; join_asides",
        "aside one true; aside two false; true; join_asides",
        "both() { false; true; }; aside both both; join_asides",
    ] {
        assert!(!ends_well(stages).0, "{stages}");
    }
    let (_, said) = ends_well("aside one true; aside two bash -c 'echo this is why; exit 3'; join_asides");
    assert!(said.contains("this is why\n") && said.ends_with("failed: two\n"), "{said}");
}

#[test]
fn the_gate_forgives_nothing_and_waits_for_what_it_has_begun() {
    let gate = read(".ci/run");
    let lines: Vec<&str> = gate.lines().map(str::trim).collect();
    for line in [
        "$test_command",
        "export COUNTERSIGN_MAY_LEAVE_OUT=postgres,systemd,mounts",
        "COUNTERSIGN_MAY_LEAVE_OUT=systemd,mounts .ci/postgres cargo test --workspace --all-features --test conformance --test postgres \
         --test shared --test changes --test cluster --test clocks",
        "\"$venv/bin/python\" tests/interop/run.py --countersign target/debug/countersign",
        "\"$venv/bin/python\" tests/interop/rates.py --countersign target/debug/countersign --no-bench --seconds 1 --clients 1",
        "aside \"a peer in another language\" other_language",
        "target/debug/load --quick",
        "target/debug/countersign demo",
        "cargo fmt --all --check",
        "cargo clippy --workspace --all-targets --all-features -- -D warnings",
        "cargo test --workspace --all-features --bench '*' -- --test",
        "cargo bench -p countersign --all-features --bench instructions",
        "cargo bench -p countersign --all-features --bench refusals",
        "cargo bench -p countersign --all-features --bench memcheck",
        "aside \"instructions by step, and what they depend on\" counted",
        "cargo test --release \"${peers[@]}\"",
        "cargo run --release \"${peers[@]}\" -- --quick",
        "BINARY=target/debug/countersign DESTDIR=$PWD/target/package-root contrib/install",
        "formal/run.sh",
        "aside \"feature combinations\" feature_combinations",
        "cargo deny --workspace check licenses bans sources",
        "aside \"licences, bans and sources\" licences",
        "MUTANTS_MINUTES=${MUTANTS_MINUTES:-2} aside \"mutants of this change\" .ci/mutants",
        "(cd fuzz && cargo fmt --check && cargo test --target-dir ../target)",
        "for target in $targets; do",
        "RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none \"$target\" \"fuzz/found/$target\" \"fuzz/corpus/$target\" \"fuzz/seeds/$target\" -- \\",
        "-seed=1 -max_total_time=10 -dict=fuzz/countersign.dict -print_final_stats=1",
        "cargo package -p countersign --allow-dirty --no-verify",
    ] {
        assert!(lines.contains(&line), "{line}");
    }
    let readme = read("README.md");
    for command in ["cargo test --workspace --all-features", "cargo run --release -p countersign-cli -- demo"] {
        assert!(readme.lines().any(|line| line == command), "{command}");
    }
    let warned: Vec<&&str> = lines.iter().filter(|line| line.contains("cargo clippy ")).collect();
    assert!(warned.len() > 4 && warned.iter().all(|line| line.ends_with(" -- -D warnings")), "{warned:#?}");
    assert!(
        gate.contains("RUSTDOCFLAGS=\"--cfg docsrs -D warnings\" cargo doc --workspace --all-features --no-deps\n")
    );
    // What has ended is not killed.
    let forgiven: Vec<&&str> =
        lines.iter().filter(|line| ["|| true", "|| :", "set +"].iter().any(|part| line.contains(part))).collect();
    assert!(forgiven.len() == 1 && forgiven.iter().all(|line| line.starts_with("trap '")), "{forgiven:#?}");
    for (apart, _) in gate.match_indices("bash -c ").map(|(at, start)| gate.split_at(at + start.len()).1.split_at(20)) {
        assert_eq!(apart, "\"set -euo pipefail; ");
    }
    assert!(gate.rfind("\njoin_asides\n") > gate.rfind("aside \""));
}

/// The scripts that it runs, or that are run beside it, and how often each goes on where something fails.
#[test]
fn the_scripts_beside_the_gate_stop_at_what_fails_too() {
    let forgiving = [("api", 0), ("mutants", 1), ("postgres", 1), ("release", 0), ("run", 1), ("targets", 0)];
    let mut names: Vec<String> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, forgiving.map(|(name, _)| name));
    for (name, times) in forgiving {
        let text = read(&format!(".ci/{name}"));
        let first = text.lines().find(|line| !line.starts_with('#'));
        assert_eq!(first, Some("set -euo pipefail"), "{name}");
        let is_forgiving = |line: &&str| ["|| true", "|| :", "set +"].iter().any(|part| line.contains(part));
        assert_eq!(text.lines().filter(is_forgiving).count(), times, "{name}");
    }
    let (mutants, postgres) = (read(".ci/mutants"), read(".ci/postgres"));
    let tried = "python3 mutants/run.py \"${what[@]}\" --seed \"$seed\" --minutes \"${MUTANTS_MINUTES:-5}\" --fitting-tests || \
                 [ $? = \"${shown:-0}\" ]";
    assert_eq!(mutants.lines().last(), Some(tried));
    assert!(mutants.contains("\n  git diff \"$base\" -- 'src/*.rs' 'stores/src/*.rs' >\"$diff\"\n"));
    assert_eq!(postgres.lines().last(), Some("\"$@\""));
}

#[test]
fn what_is_published_has_an_address_for_its_links_and_a_changelog_with_a_date() {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
    for made in [".ci", "bin"] {
        fs::create_dir(folder.path().join(made)).unwrap();
    }
    write(".ci/release", &read(".ci/release"));
    write("bin/cargo", "#!/bin/sh\necho \"cargo $*\"\n");
    fs::set_permissions(folder.path().join("bin/cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().join("bin").display(), std::env::var("PATH").unwrap());
    let said = |manifest: &str, changelog: &str, readme: &str| {
        write(
            "Cargo.toml",
            &format!("[workspace.package]\nversion = \"0.1.0\"\n[package]\nversion.workspace = true\n{manifest}"),
        );
        write("CHANGELOG.md", changelog);
        write("README.md", readme);
        let mut release = Command::new("bash");
        let out = release.arg(folder.path().join(".ci/release")).arg("dry-run").env("PATH", &path).output().unwrap();
        (out.status.success(), String::from_utf8(out.stdout).unwrap())
    };
    let (repository, documentation) =
        ("repository = \"https://x.example\"\n", "documentation = \"https://y.example\"\n");
    let (both, dated, taken) =
        (format!("{repository}{documentation}"), "## 0.1.0, 2027-01-31\n", "cargo add countersign --features tokio\n");
    let (published, out) = said(&both, dated, taken);
    assert!(published && out.contains("cargo publish -p countersign --locked --dry-run\n"), "{out}");
    for (manifest, changelog, readme, names) in [
        (repository, dated, taken, "no documentation"),
        (documentation, dated, taken, "no repository"),
        (&both, "## Unreleased\n", taken, "CHANGELOG.md"),
        (&both, "## 0.2.0, 2027-01-31\n", taken, "CHANGELOG.md"),
        (&both, dated, "cargo add countersign --path \"$OLDPWD\"\n", "README.md"),
    ] {
        let (published, out) = said(manifest, changelog, readme);
        assert!(!published && out.contains(names) && !out.contains("cargo publish"), "{names}: {out}");
    }
    // What is said of the one that there is now.
    assert!(read("RELEASING.md").contains("`.ci/release dry-run`"));
    assert!(read("README.md").lines().any(|line| line.starts_with("cargo add countersign ")));
}

/// Whoever packages it anew runs its tests.
#[test]
fn what_is_published_has_all_files_that_its_sources_and_its_own_tests_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = read("Cargo.toml");
    let (_, include) = manifest.split_once("\ninclude = [").unwrap();
    let include: Vec<&str> = include
        .split_once(']')
        .unwrap()
        .0
        .split('"')
        .skip(1)
        .step_by(2)
        .map(|path| path.trim_start_matches('/'))
        .collect();
    let is_included = |path: &Path| {
        let path = path.to_str().unwrap();
        include.iter().any(|of| match of.split_once('*') {
            Some((start, end)) => path.starts_with(start) && path.ends_with(end),
            None => Path::new(path).starts_with(of),
        })
    };
    let mut folders: Vec<PathBuf> = ["src", "examples", "tests"].map(|folder| root.join(folder)).into();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { files.push(path.strip_prefix(root).unwrap().to_owned()) }
        }
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs") && is_included(file));
    let mut named = 0;
    for file in &files {
        let text = fs::read_to_string(root.join(file)).unwrap();
        for start in ["#[path = \"", "include_str!(\"", "include_bytes!(\""] {
            for other in text.split(start).skip(1).map(|rest| rest.split('"').next().unwrap()) {
                let mut path = file.parent().unwrap().to_owned();
                for part in other.split('/') {
                    if part == ".." { assert!(path.pop(), "{other}") } else { path.push(part) }
                }
                if root.join(&path).exists() {
                    named += 1;
                    assert!(
                        is_included(&path),
                        "{}, which {} names, is not in the package",
                        path.display(),
                        file.display()
                    );
                }
            }
        }
    }
    assert!(named > 20, "{named}");
}

/// Each feature by itself, or with those that it needs.
#[test]
fn every_feature_is_built_without_the_others() {
    let (gate, manifest) = (read(".ci/run"), read("Cargo.toml"));
    let (_, features) = manifest.split_once("\n[features]\n").unwrap();
    let features = features.split("\n[").next().unwrap().lines().filter(|line| !line.starts_with(['#', ' ', ']']));
    let names: Vec<&str> = features.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name).collect();
    let line = gate.lines().find(|line| line.trim().starts_with("for features in \"\" rustcrypto ")).unwrap();
    let combinations: Vec<Vec<&str>> =
        line.trim().trim_end_matches("; do").split(' ').skip(3).map(|word| word.split(',').collect()).collect();
    assert!(names.len() > 10 && combinations.contains(&vec!["\"\""]), "{names:?} {combinations:?}");
    for name in names.into_iter().filter(|name| *name != "default") {
        let is_apart = |of: &&Vec<&str>| of.len() <= 2 && of.contains(&name);
        assert!(combinations.iter().any(|of| is_apart(&of)), "{name} is not built apart");
    }
}

/// What the gate's tools are told to refuse.
#[test]
fn what_may_not_be_in_the_tree_or_in_the_code_stays_refused() {
    let deny = read("deny.toml");
    let lines: Vec<&str> = deny.lines().map(str::trim).collect();
    for line in [
        "all-features = true",
        "{ name = \"rsa\", version = \"<0.10\" },",
        "{ name = \"openssl-sys\" },",
        "{ name = \"sqlx-mysql\" },",
        "unknown-registry = \"deny\"",
        "unknown-git = \"deny\"",
    ] {
        assert!(lines.contains(&line), "deny.toml: {line}");
    }
    let licenses = lines.iter().find_map(|line| line.strip_prefix("allow = [")).unwrap();
    assert!(!["GPL", "SSPL", "BUSL"].iter().any(|license| licenses.contains(license)), "{licenses}");
    let manifest = read("Cargo.toml");
    let (_, lints) = manifest.split_once("\n[workspace.lints.rust]\n").unwrap();
    let (lints, _) = lints.split_once("\n[lints]\nworkspace = true\n").unwrap();
    for line in
        ["unsafe_code = \"deny\"", "missing_docs = \"warn\"", "unwrap_used = \"warn\"", "expect_used = \"warn\""]
            .into_iter()
            .chain(["panic = \"warn\"", "indexing_slicing = \"warn\"", "arithmetic_side_effects = \"warn\""])
    {
        assert!(lints.lines().any(|of| of == line), "Cargo.toml: {line}");
    }
    for member in ["cli", "load", "stores"] {
        assert!(read(&format!("{member}/Cargo.toml")).contains("\n[lints]\nworkspace = true\n"), "{member}");
    }
    for file in ["src/lib.rs", "stores/src/lib.rs", "cli/src/lib.rs", "cli/src/main.rs", "load/src/main.rs"] {
        assert!(read(file).lines().any(|line| line == "#![forbid(unsafe_code)]"), "{file}");
    }
}

/// What is not tested with the other provider, and why that is enough.
const WITH_ONE_PROVIDER: [(&str, &[&str]); 7] = [
    (
        "of the documents, the sources and the gate",
        &["claims", "codes", "dependencies", "documents", "formal", "gate", "layers", "rules"],
    ),
    ("built with the first one alone, or with both", &["examples", "providers", "vectors"]),
    (
        "accounts, whose hashes no provider computes, and what is in their files",
        &[
            "account_file",
            "account_file_store",
            "account_keys",
            "account_verifier",
            "accounts",
            "authorized_keys",
            "enumeration",
            "epochs",
            "generator",
            "password_check",
            "password_formats",
            "permissions",
            "roles",
            "second_factor",
            "stretching",
        ],
    ),
    (
        "keys that are known by their names, or by what webpki verifies",
        &["damaged_certificates", "host_trust", "known_hosts", "trust", "x509"],
    ),
    (
        "sockets, streams and threads, and bounds of them",
        &["adapters", "closing", "context", "idle", "open_files", "ssh_agent", "tickets", "tls", "tracing"],
    ),
    ("what is remembered of tickets", &["memory_tickets", "ticket_memory"]),
    (
        "bytes, words and times; the hash of a puzzle is no provider's",
        &["clock", "codec", "errors", "property", "puzzle", "serialized"],
    ),
];

#[test]
fn every_test_runs_with_the_other_provider_or_it_is_said_why_not() {
    let tests: BTreeSet<String> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("main.rs").exists() || path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let gate = read(".ci/run").replace("\\\n", " ");
    let command = gate.lines().find(|line| line.starts_with("cargo test -p countersign \"${other[@]}\" ")).unwrap();
    assert!(gate.contains("\nother=(--no-default-features --features aws-lc,"));
    let words: Vec<&str> = command.split_ascii_whitespace().map(|word| word.trim_matches('\'')).collect();
    assert!(words.contains(&"--lib"));
    let mut run = BTreeSet::new();
    for (_, pattern) in words.iter().zip(words.iter().skip(1)).filter(|(option, _)| **option == "--test") {
        let is_meant =
            |test: &&String| pattern.strip_suffix('*').map_or(test == pattern, |start| test.starts_with(start));
        let meant: Vec<_> = tests.iter().filter(is_meant).cloned().collect();
        assert!(!meant.is_empty(), "there is no test {pattern}");
        run.extend(meant);
    }
    let without: Vec<&str> = WITH_ONE_PROVIDER.iter().flat_map(|(_, tests)| tests.iter().copied()).collect();
    for name in &without {
        assert!(!run.contains(*name) && tests.contains(*name), "{name} runs with it, or is not there");
    }
    let unnamed: Vec<&String> = tests.difference(&run).filter(|test| !without.contains(&test.as_str())).collect();
    assert!(unnamed.is_empty(), "neither with the other provider nor on the list of those without: {unnamed:?}");
}
