//! The symbolic models in `formal/` speak of this protocol: every label, number and field in them is one of the code's and of
//! PROTOCOL.md's, every query has a claim and an expected result in each run that asks it, and `formal/README.md` tells of all
//! of them. `formal/run.sh` asks ProVerif, where there is one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

use countersign::{CredentialKind, Suite};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const PROTOCOL: &str = include_str!("../PROTOCOL.md");
const README: &str = include_str!("../formal/README.md");

/// What an annotation says that PROTOCOL.md leaves to the server.
const CODE_ALONE: &str = ", in the code alone";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Files with this ending, by their names.
fn files(endings: &[&str]) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder("formal")).unwrap().map(|entry| entry.unwrap().path());
    let ours = entries.filter(|path| endings.iter().any(|ending| path.extension().is_some_and(|have| have == *ending)));
    ours.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect()
}

/// What stands in every `(*@ WORD ... *)`, with the lines before it, in files with these endings.
fn annotations(word: &str, endings: &[&str]) -> Vec<(String, String, String)> {
    let opening = format!("(*@ {word} ");
    let mut found = Vec::new();
    for (file, text) in files(endings) {
        let mut declared = String::new();
        for line in text.lines() {
            if let Some((before, said)) = line.split_once(&opening) {
                let said = said.rsplit_once(" *)").unwrap_or_else(|| panic!("{file}: unclosed: {line}")).0;
                let line = if before.is_empty() { core::mem::take(&mut declared) } else { before.to_owned() };
                found.push((file.clone(), line, said.to_owned()));
            } else {
                line.clone_into(&mut declared);
            }
        }
    }
    assert!(!found.is_empty(), "no {word} in any model");
    found
}

/// All of `src`, in one string.
fn code() -> String {
    fn add(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                add(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut text = String::new();
    add(&folder("src"), &mut text);
    text
}

/// Whether `text` has this label in quotes, or with the end that it is given there: a zero byte, a space.
fn quotes(text: &str, label: &str) -> bool {
    ['"', '`'].iter().any(|quote| {
        let ends = ["\"", "`", "\\0", " \"", " {"];
        ends.iter().any(|end| text.contains(&format!("{quote}{label}{end}")))
    })
}

#[test]
fn every_label_is_one_of_the_code_s_and_of_the_specification_s() {
    let code = code();
    for (file, _, label) in annotations("label", &["pv", "pvl"]) {
        let (label, is_specified) = match label.strip_suffix(CODE_ALONE) {
            Some(label) => (label, false),
            None => (label.as_str(), true),
        };
        assert!(quotes(&code, label), "{file}: the code has no label {label:?}");
        assert_eq!(quotes(PROTOCOL, label), is_specified, "{file}: {label:?} in PROTOCOL.md");
    }
    // A label that PROTOCOL.md has and the models lack: each key of the schedule is in them.
    let modelled: BTreeSet<_> = annotations("label", &["pvl"]).into_iter().map(|(_, _, label)| label).collect();
    let specified = PROTOCOL.lines().filter_map(|line| line.split_once("`Expand(")?.1.split('"').nth(1));
    for label in specified {
        assert!(modelled.contains(label.trim_end()), "no model has the label {label:?}");
    }
}

#[test]
fn every_constant_that_names_a_number_or_a_label_is_annotated() {
    for (file, text) in files(&["pv", "pvl"]) {
        for line in text.lines().filter(|line| line.starts_with("const ")) {
            let name = line.trim_start_matches("const ");
            if name.starts_with("label_") {
                assert!(line.contains("(*@ label "), "{file}: which label? {line}");
            }
            if ["suite_", "kind_"].iter().any(|prefix| name.starts_with(prefix)) {
                assert!(line.contains("(*@ number "), "{file}: which number? {line}");
            }
        }
    }
}

#[test]
fn every_number_is_one_of_the_code_s_and_of_the_specification_s() {
    let text = PROTOCOL.split_whitespace().collect::<Vec<_>>().join(" ");
    for (file, _, said) in annotations("number", &["pv", "pvl"]) {
        let (what, said) = said.split_once(' ').unwrap();
        match what {
            "suite" => {
                let number = u16::from_str_radix(said, 16).unwrap();
                assert!(Suite::ALL.iter().any(|suite| suite.number() == number), "{file}: suite {said}");
                assert!(text.contains(&format!("| `{said}` |")), "{file}: suite {said} in PROTOCOL.md");
            }
            "kind" | "decision" | "form" => {
                assert!(text.contains(said), "{file}: {what} {said} in PROTOCOL.md");
                let number = said.split(',').next().unwrap().parse().unwrap();
                if what == "kind" {
                    assert!(CredentialKind::ALL.iter().any(|kind| kind.number() == number), "{file}: kind {said}");
                }
            }
            _ => panic!("{file}: a number of what? {what}"),
        }
    }
}

/// The fields of a struct of a message in the code, in their order; `|` where an `=>` is.
fn fields_in_code(code: &str, name: &str) -> Option<Vec<String>> {
    let declared = code.split("layout! {").skip(1).find_map(|layout| {
        let (_, after) = layout.split_once("struct ")?;
        let name_end = after.find(|c: char| !c.is_alphanumeric())?;
        (&after[..name_end] == name).then_some(after)
    })?;
    let body = declared.split_once('{').unwrap().1;
    let lines = body.lines().map(str::trim).take_while(|line| *line != "}");
    let fields = lines.filter(|line| !line.starts_with('/') && !line.starts_with('#') && !line.is_empty());
    let mut found = Vec::new();
    for line in fields {
        if line == "=>" {
            found.push("|".to_owned());
        } else if let Some((field, _)) = line.split_once(": ") {
            found.push(field.rsplit(' ').next().unwrap().to_owned());
        }
    }
    Some(found)
}

/// The first column of the table under `### name`, or of the one whose first header is the name.
fn fields_in_protocol(name: &str) -> Option<Vec<String>> {
    let section = PROTOCOL.split_once(&format!("\n### {name}\n")).map(|(_, after)| after);
    let section = section.map(|after| after.split("\n##").next().unwrap());
    let table = match section {
        Some(section) => section.split_once("| field | shape | meaning |\n")?.1,
        None => PROTOCOL.split_once(&format!("\n| {name} | shape | meaning |\n"))?.1,
    };
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    Some(rows.map(|row| row.split('|').nth(1).unwrap().trim().to_owned()).collect())
}

#[test]
fn every_message_has_the_fields_of_the_code_and_of_the_specification_in_their_order() {
    let code = code();
    for (file, declared, said) in annotations("fields", &["pv", "pvl"]) {
        let (names, fields) = said.split_once(':').unwrap();
        let (names, is_specified) = match names.strip_suffix(CODE_ALONE) {
            Some(names) => (names, false),
            None => (names, true),
        };
        let fields: Vec<_> = fields.replace('|', ",|,").split(',').map(|field| field.trim().to_owned()).collect();
        let fields: Vec<_> = fields.into_iter().filter(|field| !field.is_empty()).collect();
        let plain: Vec<_> = fields.iter().filter(|field| *field != "|").cloned().collect();
        let mut places = 0;
        for name in names.split(", ") {
            if let Some(ours) = fields_in_code(&code, name) {
                assert_eq!(fields, ours, "{file}: {name} in the code");
                places += 1;
            }
            if let Some(ours) = fields_in_protocol(name).filter(|_| is_specified) {
                assert_eq!(plain, ours, "{file}: {name} in PROTOCOL.md");
                places += 1;
            }
        }
        assert!(places >= names.split(", ").count(), "{file}: {names} is not to be found");
        // The constructor has an argument for each field: for all of them, or for those up to the first cut.
        if let Some(arguments) = declared.strip_prefix("fun ") {
            let arity = arguments.matches("bitstring").count() - 1;
            let front = fields.iter().take_while(|field| *field != "|").count();
            let expected = if front == 0 { plain.len() } else { front };
            assert_eq!(arity, expected, "{file}: {declared}");
        }
    }
}

/// The runs that a model declares.
fn runs(text: &str) -> BTreeSet<&str> {
    let declared = text.lines().filter_map(|line| line.strip_prefix("(*@ run "));
    declared.map(|line| line.split(':').next().unwrap()).collect()
}

#[test]
fn every_run_has_its_libraries_and_results_that_are_expected_of_it() {
    let libraries = files(&["pvl"]);
    for (file, text) in files(&["pv"]) {
        let runs = runs(&text);
        assert!(!runs.is_empty(), "{file} declares no run");
        for line in text.lines().filter_map(|line| line.strip_prefix("(*@ run ")) {
            let named = line.trim_end_matches(" *)").split_once(": ").unwrap().1;
            for library in named.split(' ') {
                assert!(libraries.contains_key(library), "{file}: no library {library}");
            }
        }
        let mut asked = BTreeSet::new();
        for word in ["expect", "equivalence"] {
            let opening = format!("(*@ {word} ");
            for line in text.lines().filter_map(|line| line.strip_prefix(&opening)) {
                for expected in line.trim_end_matches(" *)").split(' ') {
                    let (run, result) = expected.split_once('=').unwrap();
                    assert!(runs.contains(run), "{file}: no run {run}: {line}");
                    assert!(["true", "false"].contains(&result), "{file}: {expected}");
                    asked.insert(run);
                }
            }
        }
        assert_eq!(asked, runs, "{file}: runs of which nothing is expected");
        for word in ["not", "only"] {
            for line in text.lines().filter_map(|line| line.split_once(&format!("(*@ {word} "))) {
                let named = line.1.split([':', '*']).next().unwrap().trim();
                for run in named.split(' ') {
                    assert!(runs.contains(run), "{file}: no run {run}: {word} {named}");
                }
            }
        }
    }
}

#[test]
fn every_query_has_a_claim_and_what_is_expected_of_it() {
    for (file, text) in files(&["pv"]) {
        let mut asked = 0;
        // Blocks are apart by an empty line, and begin with the claim.
        for block in text.split("\n\n") {
            let lines: Vec<_> = block.lines().collect();
            for (at, line) in lines.iter().enumerate() {
                let is_query = ["query ", "weaksecret ", "noninterf "].iter().any(|word| line.starts_with(word));
                let is_process = line.starts_with("process") && text.contains("choice[");
                if !is_query && !is_process {
                    continue;
                }
                asked += 1;
                let before = at.checked_sub(1).map_or("", |at| lines[at]);
                let word = if is_query { "(*@ expect " } else { "(*@ equivalence " };
                assert!(before.starts_with(word), "{file}: what is expected of {line}");
                assert!(lines.first().is_some_and(|line| line.starts_with("(*")), "{file}: what claim is {line}");
            }
        }
        assert!(asked > 0, "{file} asks nothing");
    }
}

/// With what begins a block of queries that ask whether the good end can't be reached.
const END: &str = "(* The model can do what it is about";

/// What is expected in each run of a model: of its claims, and of its good ends.
fn results(text: &str) -> [Vec<(&str, &str)>; 2] {
    let (mut claims, mut ends) = (Vec::new(), Vec::new());
    for block in text.split("\n\n") {
        let lines: Vec<_> = block.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some(said) =
                ["expect", "equivalence"].iter().find_map(|word| line.strip_prefix(&format!("(*@ {word} ")))
            else {
                continue;
            };
            let expected = said.trim_end_matches(" *)").split(' ').map(|expected| expected.split_once('=').unwrap());
            if block.starts_with(END) {
                let query = lines[at + 1];
                assert!(query.contains("event(") && !query.contains("==>"), "no end: {query}");
                ends.extend(expected);
            } else {
                claims.extend(expected);
            }
        }
    }
    [claims, ends]
}

/// Where no login comes to its end, all that is asked of logins is true.
#[test]
fn every_run_that_holds_is_seen_to_reach_its_good_end() {
    for (file, text) in files(&["pv"]) {
        // One that takes no message has no end.
        if !text.contains("in(net, ") {
            continue;
        }
        let [claims, ends] = results(&text);
        for (run, result) in &ends {
            assert_eq!(*result, "false", "{file}: {run} is not expected to reach its end");
        }
        let row = README.lines().find(|line| line.starts_with(&format!("| `{file}` |"))).unwrap();
        let holds: BTreeSet<_> = row.split('|').nth(4).unwrap().split('`').skip(1).step_by(2).collect();
        for run in runs(&text) {
            let has_attack = claims.contains(&(run, "false"));
            if has_attack && !holds.contains(run) {
                continue;
            }
            // An equivalence has no ends. What is asked about is reached where the same processes tell it, and are told apart.
            let told = format!("{run}-told");
            let is_seen = if text.contains("choice[") {
                claims.contains(&(&told, "false"))
            } else {
                ends.contains(&(run, "false"))
            };
            assert!(is_seen, "{file}: nothing shows that {run} does what it is about");
        }
    }
}

#[test]
fn the_readme_tells_of_every_model_and_of_every_run() {
    for (file, text) in files(&["pv", "pvl"]) {
        let row = README.lines().find(|line| line.starts_with(&format!("| `{file}` |")));
        let row = row.unwrap_or_else(|| panic!("formal/README.md has no row for {file}"));
        for run in runs(&text) {
            assert!(row.contains(&format!("`{run}`")), "formal/README.md: {file}: nothing of {run}");
        }
    }
    for line in README.lines().filter_map(|line| line.strip_prefix("| `")) {
        let file = line.split('`').next().unwrap();
        let is_model = file.contains(".pv") && !file.contains(' ');
        assert!(!is_model || folder("formal").join(file).exists(), "formal/README.md tells of {file}");
    }
}
