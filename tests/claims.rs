//! SECURITY.md says of each claim what fails if it is not true. What it names is there and is run, and nothing that makes claims is
//! without a line: no section of it, no rule of PROTOCOL.md, and no section of that which says MUST. So is what docs/mutants.md names.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const HEADING: &str = "What checks each claim";

/// A line of the table: its number, what is claimed, and what fails otherwise.
struct Line<'a> {
    number: &'a str,
    claim: &'a str,
    checks: &'a str,
}

impl Line<'_> {
    /// Whether it says what the lines after it are about.
    fn is_heading(&self) -> bool {
        self.number.is_empty() && self.claim.starts_with("**")
    }

    /// Whether it says what is not claimed.
    fn is_given_up(&self) -> bool {
        self.number.is_empty() && self.claim.starts_with("not claimed: ")
    }
}

/// The headings of a document below its title, and what is under each.
fn sections(text: &str) -> Vec<(&str, String)> {
    let (mut found, mut is_code) = (Vec::<(&str, String)>::new(), false);
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        if let Some(heading) =
            line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with("##") && !is_code)
        {
            found.push((heading, String::new()));
        } else if let Some((_, under)) = found.last_mut() {
            under.push_str(line);
            under.push('\n');
        }
    }
    found
}

fn table(section: &str) -> Vec<Line<'_>> {
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = |row| {
        let cells: Vec<&str> = str::split(row, '|').map(str::trim).collect();
        assert_eq!(cells.len(), 5, "three columns: {row}");
        Line { number: cells[1], claim: cells[2], checks: cells[3] }
    };
    rows.map(cells).collect()
}

/// Files and what is named in each: every `file`: `this`, `that`.
fn references(text: &str) -> Vec<(&str, Vec<&str>)> {
    // What is between backquotes is at the odd places.
    let parts: Vec<&str> = text.split('`').collect();
    let mut found = Vec::<(&str, Vec<&str>)>::new();
    for at in (1..parts.len()).step_by(2) {
        if parts.get(at + 1) == Some(&": ") {
            found.push((parts[at], Vec::new()));
        } else if let Some((_, items)) = found.last_mut()
            && (parts[at - 1] == ": " || (parts[at - 1] == ", " && !items.is_empty()))
        {
            items.push(parts[at]);
        }
    }
    found
}

/// The lines that a piece such as `lines 3 to 5, 7` refers to.
fn lines_named(text: &str) -> Option<BTreeSet<usize>> {
    let text = text.strip_prefix("the models of ").unwrap_or(text);
    let text = text.strip_prefix("lines ").or_else(|| text.strip_prefix("line "))?;
    let ranges = text.split(", ").map(|range| {
        let (first, last) = range.split_once(" to ").unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    Some(ranges.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
}

/// What is between commas, and not in brackets within.
fn parts(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let between = move |c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    };
    list.split(between).map(str::trim).filter(|part| !part.is_empty())
}

/// Whether what has this condition is built when everything is tested: on Linux, with all features.
fn is_built(condition: &str) -> bool {
    let within = |word| condition.strip_prefix(word)?.strip_suffix(')');
    if let Some(condition) = within("not(") {
        !is_built(condition)
    } else if let Some(list) = within("all(") {
        parts(list).all(is_built)
    } else if let Some(list) = within("any(") {
        parts(list).any(is_built)
    } else {
        condition.starts_with("feature = ") || ["unix", "test", "target_os = \"linux\""].contains(&condition)
    }
}

/// Whether one of these attributes says that what they stand before is not built.
fn has_condition_that_fails<'a>(attributes: impl IntoIterator<Item = &'a str>) -> bool {
    let condition = |line: &'a str| line.strip_prefix("#[cfg(").or(line.strip_prefix("#![cfg("))?.strip_suffix(")]");
    attributes.into_iter().filter_map(condition).any(|condition| !is_built(condition))
}

/// The attributes and comments right before a line, which is the last of these.
fn before<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let before = lines.iter().rev().skip(1).map(|line| line.trim());
    before.take_while(|line| line.starts_with(['#', '/'])).collect()
}

/// Whether a line begins a module of this kind: `;` where it has a file, ` {` where it has none.
fn is_module(line: &str, name: &str, end: &str) -> bool {
    let line =
        line.trim().trim_start_matches("pub(super) ").trim_start_matches("pub(crate) ").trim_start_matches("pub ");
    line.strip_prefix("mod ")
        .and_then(|rest| rest.strip_suffix(end))
        .is_some_and(|found| name.is_empty() || found == name)
}

/// What builds the tests of each package finds without being told.
const FOLDERS: [&str; 4] = ["tests", "cli/tests", "stores/tests", "load/tests"];

/// Why nothing of a file of Rust is built with the tests; `None` where it is.
fn unbuilt(file: &str, read: &impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    const NOWHERE: Option<&str> = Some("is in no program");
    let Some(text) = read(file) else { return NOWHERE };
    if has_condition_that_fails(text.lines().filter(|line| line.starts_with("#![cfg("))) {
        return Some("is not built here");
    }
    let Some((folder, name)) = file.rsplit_once('/') else { return NOWHERE };
    if FOLDERS.contains(&folder) || ["lib.rs", "main.rs"].contains(&name) {
        return None;
    }
    let own = if name == "mod.rs" { folder.rsplit_once('/') } else { Some((folder, name.trim_end_matches(".rs"))) };
    let Some((folder, module)) = own else { return NOWHERE };
    for parent in ["{}.rs", "{}/mod.rs", "{}/lib.rs", "{}/main.rs", "src/lib.rs"] {
        let parent = parent.replace("{}", folder);
        let Some(text) = read(&parent).filter(|text| parent != "src/lib.rs" || folder == "src" || text.contains(file))
        else {
            continue;
        };
        let lines: Vec<&str> = text.lines().collect();
        if let Some(at) = lines.iter().position(|line| is_module(line, module, ";")) {
            let is_out = has_condition_that_fails(before(&lines[..=at]));
            return if is_out { Some("is not built here") } else { unbuilt(&parent, read) };
        }
    }
    NOWHERE
}

/// Whether nothing is called in the function that begins with the first of these lines, as in one that was emptied.
fn does_nothing(lines: &[&str]) -> bool {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let ends = |line: &str| line.trim() == "}" && depth(line) == depth(lines[0]);
    match lines[0].split_once(" {") {
        Some((_, body)) if body.ends_with('}') => !body.contains('('),
        _ => {
            let body = lines.iter().skip(1).take_while(|line| !ends(line));
            !body.map(|line| line.trim()).any(|line| line.contains('(') && !line.starts_with("//"))
        }
    }
}

/// Why a test of this name is not run; `None` where it is.
fn not_run(source: &str, name: &str) -> Option<&'static str> {
    let lines: Vec<&str> = source.lines().collect();
    let function = |line: &str| {
        let line = line.trim().trim_start_matches("pub ").trim_start_matches("async ");
        line.starts_with(&format!("fn {name}(")) || line.starts_with(&format!("fn {name}<"))
    };
    let at = lines.iter().position(|line| function(line));
    if at.is_some_and(|at| does_nothing(&lines[at..])) {
        return Some("does nothing");
    }
    for list in ["for_every_adapter!(", "for_every_async_adapter!(", "checks_itself!("] {
        let lists = source.split(list).skip(1).map(|after| after.split(')').next().unwrap());
        if lists.flat_map(|names| names.split([',', '\n'])).any(|listed| listed.trim() == name) {
            return None;
        }
    }
    let Some(at) = at else { return Some("is not there") };
    let attributes = before(&lines[..=at]);
    if attributes
        .iter()
        .any(|line| line.starts_with("#[ignore") || line.starts_with("#[cfg_attr(") && line.contains("ignore"))
    {
        return Some("is ignored");
    }
    let depth = |line: &str| line.len() - line.trim_start().len();
    let (mut within, mut is_out) = (depth(lines[at]), has_condition_that_fails(attributes.iter().copied()));
    for (at, line) in lines[..at].iter().enumerate().rev() {
        if is_module(line, "", " {") && depth(line) < within {
            within = depth(line);
            is_out |= has_condition_that_fails(before(&lines[..=at]));
        }
    }
    if is_out {
        return Some("is not built here");
    }
    let is_test = attributes.iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
    if is_test { None } else { Some("is no test") }
}

/// What is wrong with what is named in a file.
fn fault(file: &str, text: &str, item: &str) -> Option<String> {
    let is_name = item.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let why = if file.ends_with(".pv") {
        let runs = text.lines().filter_map(|line| line.strip_prefix("(*@ run ")?.split(':').next());
        runs.into_iter().all(|run| run != item).then_some("is no run")
    } else if file.ends_with(".rs") && !file.starts_with("benches/") && is_name {
        not_run(text, item)
    } else {
        (!text.contains(item)).then_some("is not there")
    };
    Some(format!("{file}: {item} {}", why?))
}

/// As in a link to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// `S4` and the like.
fn rule(text: &str) -> Option<(char, u8)> {
    let letter = text.chars().next().filter(char::is_ascii_uppercase)?;
    Some((letter, text[1..].parse().ok()?))
}

fn rules_of(protocol: &str) -> BTreeSet<(char, u8)> {
    protocol.lines().filter_map(|line| rule(line.strip_prefix("- **")?.split("**").next()?)).collect()
}

/// The rules in texts such as `S1–S15, P1–P2: what is refused`.
fn rules_named<'a>(claims: impl Iterator<Item = &'a str>) -> BTreeSet<(char, u8)> {
    let words = claims.flat_map(|claim| claim.split([' ', ',', ':', '(', ')']));
    let ranges = words.filter_map(|word| {
        let (first, last) = word.split_once('–')?;
        let ((letter, first), (_, last)) = (rule(first)?, rule(last)?);
        Some((first..=last).map(move |number| (letter, number)))
    });
    ranges.flatten().collect()
}

/// Everything that is wrong with the table in `security`. `read` gives a file's text.
fn faults(security: &str, protocol: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let sections = sections(security);
    let Some((_, section)) = sections.iter().find(|(heading, _)| *heading == HEADING) else {
        return vec!["there is no table".to_owned()];
    };
    let lines = table(section);
    let mut faults = Vec::new();
    let mut count = 0;
    // Of the lines with a number those with a check of their own: others may name them, and nothing goes in circles.
    let has_own = |line: &&Line<'_>| references(line.checks).iter().any(|(_, items)| !items.is_empty());
    let numbered = lines.iter().filter(|line| !line.is_heading() && !line.is_given_up());
    let with_own: BTreeSet<usize> = (1..).zip(numbered).filter(|(_, line)| has_own(line)).map(|(at, _)| at).collect();
    for line in &lines {
        for (file, items) in references(line.claim).into_iter().chain(references(line.checks)) {
            match read(file) {
                Some(text) => {
                    faults.extend(items.into_iter().filter_map(|item| fault(file, &text, item)));
                    let is_ours = file.ends_with(".rs") && !file.starts_with("benches/");
                    faults.extend(is_ours.then(|| unbuilt(file, &read)).flatten().map(|why| format!("{file} {why}")));
                }
                None => faults.push(format!("{file} is not there")),
            }
        }
        if line.is_heading() || line.is_given_up() {
            continue;
        }
        count += 1;
        if line.number != count.to_string() {
            faults.push(format!("line {count} has the number {:?}", line.number));
        }
        // Each piece is a file and what is named there, or other lines.
        for piece in line.checks.split("; ") {
            let names_lines =
                lines_named(piece).is_some_and(|named| !named.contains(&count) && named.is_subset(&with_own));
            if !names_lines && references(piece).iter().all(|(_, items)| items.is_empty()) {
                faults.push(format!("line {count} has no check in {piece:?}"));
            }
        }
    }
    let headings: Vec<&str> = lines.iter().filter(|line| line.is_heading()).map(|line| line.claim).collect();
    for (heading, _) in sections.iter().filter(|(heading, _)| *heading != HEADING) {
        if !headings.iter().any(|line| line.contains(&format!("](#{})", anchor(heading)))) {
            faults.push(format!("no line is about {heading:?}"));
        }
    }
    let claims = || lines.iter().map(|line| line.claim);
    let (rules, named) = (rules_of(protocol), rules_named(claims()));
    faults.extend(rules.symmetric_difference(&named).map(|(letter, number)| format!("{letter}{number}")));
    for (heading, under) in self::sections(protocol) {
        let name = heading.split(',').next().unwrap();
        if under.contains("MUST") && !claims().any(|claim| claim.contains(&format!("*{name}*"))) {
            faults.push(format!("no line is about {name:?} of PROTOCOL.md"));
        }
    }
    faults
}

#[test]
fn every_claim_has_its_checks_and_every_check_is_there_and_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(root.join(file)).ok();
    let [security, protocol] = ["SECURITY.md", "PROTOCOL.md"].map(|file| read(file).unwrap());
    assert_eq!(faults(&security, &protocol, read), Vec::<String>::new());
    let lines = sections(&security).into_iter().find(|(heading, _)| *heading == HEADING).unwrap().1;
    let named: usize =
        table(&lines).iter().flat_map(|line| references(line.checks)).map(|(_, items)| items.len()).sum();
    assert!(named > 250, "{named}: so few checks are named");
}

/// What the README says that this is against, and how the line that checks it begins, or goes on.
const README: [(&str, &str); 17] = [
    ("somebody in the middle", "the server proves that it holds the private half"),
    ("an eavesdropper, also one who gets the server's key later", "no attempt can be read later"),
    ("an eavesdropper who has a quantum computer later", "X25519MLKEM768 comes first"),
    ("a recorded login played again", "a recording gives no session"),
    ("probing the RSA key (Bleichenbacher, Manger)", "a failure of RSA's is replaced by a fallback"),
    ("a user who was removed and stays connected", "a removed user is out"),
    ("finding out which users exist", "an unknown user costs the password hash"),
    ("junk logins that make the server hash passwords", "a login by stretched password costs no hash"),
    ("many addresses that send junk, each too little to be counted", "the attacker pays before"),
    ("guessing passwords online", "guesses a day"),
    ("guessing lengths", "a length shows as a number of 256-byte blocks"),
    ("downgrades", "nobody strikes it unseen"),
    ("somebody who has stolen a password", "a stolen password is not enough"),
    ("a password sent again and again", "good for one login"),
    ("a relay that ends TLS in the middle", "somebody who ends TLS in the middle"),
    ("hijacking or cutting the connection after the login", "records arrive unchanged"),
    ("thousands of half-open connections", "for a half-open login"),
];

#[test]
fn what_the_readme_says_that_this_defends_against_has_its_line() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let [security, readme] = ["SECURITY.md", "README.md"].map(|file| fs::read_to_string(root.join(file)).unwrap());
    let lines = sections(&security).into_iter().find(|(heading, _)| *heading == HEADING).unwrap().1;
    let claims: Vec<_> =
        table(&lines).into_iter().filter(|line| !line.number.is_empty()).map(|line| line.claim).collect();
    let section =
        sections(&readme).into_iter().find(|(heading, _)| heading.starts_with("What it defends against")).unwrap();
    let rows = section
        .1
        .lines()
        .skip_while(|line| *line != "| against | how |")
        .skip(2)
        .map_while(|line| line.split('|').nth(1));
    assert_eq!(rows.map(str::trim).collect::<Vec<_>>(), README.map(|(against, _)| against));
    for (against, claimed) in README {
        assert!(claims.iter().any(|claim| claim.contains(claimed)), "{against}: no line claims that {claimed}");
    }
}

/// The files of Rust in a folder of the project, and what they hold.
fn sources(folder: &str) -> Vec<(String, String)> {
    fn look(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                look(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    look(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
    found
}

/// In the gate that is a failure, but for what it can't have: `tests/support/left_out.rs`.
#[test]
fn a_test_that_does_nothing_for_want_of_something_says_so_in_one_way() {
    let says = |line: &str| line.contains("println!(\"") && (line.contains("skipped") || line.contains("not tested"));
    let mut found = Vec::new();
    for (file, text) in FOLDERS.into_iter().flat_map(sources) {
        found.extend(text.lines().filter(|line| says(line)).map(|line| format!("{file}: {line}")));
    }
    found.retain(|line| !line.contains("left_out.rs: ") && !line.contains("claims.rs: "));
    assert_eq!(found, Vec::<String>::new());
}

/// The tests that the last column of docs/mutants.md's tables names: what each is in, and its name. What is shorter than a sentence, and is said to
/// be in nothing, is none.
fn tests_named(text: &str) -> Vec<(Vec<&str>, &str)> {
    let mut named = Vec::new();
    for row in text.lines().filter(|line| line.starts_with('|')) {
        let last = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap();
        let parts: Vec<&str> = last.split('`').collect();
        let mut within = Vec::new();
        for at in (1..parts.len()).step_by(2) {
            let after = parts.get(at + 1).copied().unwrap_or_default();
            if parts[at - 1] == ", " && after == ": " || ![": ", ", "].contains(&parts[at - 1]) {
                within.clear();
            }
            let is_name = |part: &str| part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
            let mut path: Vec<&str> = parts[at].split("::").collect();
            if !path.iter().all(|part| is_name(part)) {
                continue;
            }
            if after == ": " {
                within.append(&mut path);
                continue;
            }
            let name = path.pop().unwrap();
            if name.matches('_').count() > 2 || !within.is_empty() {
                path.splice(0..0, within.iter().copied());
                path.retain(|part| *part != "tests" && !part.starts_with("over_"));
                named.push((path, name));
            }
        }
    }
    named
}

/// Of builds with less than everything.
const BY_HAND: [&str; 2] = [
    "a_build_that_can_not_stretch_passwords_says_so_where_the_server_takes_no_others",
    "without_the_feature_more_forms_are_named",
];

#[test]
fn every_test_that_is_said_to_see_a_breakage_is_there_and_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(root.join(file)).ok();
    let sources: Vec<_> = ["src", "tests", "cli", "stores", "load"].into_iter().flat_map(sources).collect();
    let is_run = |(within, name): &(Vec<&str>, &str)| {
        let is_in = |file: &str| {
            let path: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
            within.iter().all(|part| path.contains(part))
        };
        // The tests for any store are called one after the other.
        let is_called =
            |file: &str, text: &str| file == "stores/src/conformance.rs" && text.contains(&format!("Box::pin({name}("));
        let is_there = |file: &str, text: &str| match not_run(text, name) {
            None => true,
            Some(why) => is_called(file, text) || BY_HAND.contains(name) && why == "is not built here",
        };
        let mut there =
            sources.iter().filter(|(file, text)| is_in(file) && text.contains(name) && is_there(file, text));
        there.any(|(file, _)| unbuilt(file, &read).is_none())
    };
    let text = read("docs/mutants.md").unwrap();
    let named = tests_named(&text);
    let missing: Vec<_> = named.iter().filter(|test| !is_run(test)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(named.len() > 420, "{}: so few tests are named", named.len());
    assert!(!is_run(&(vec!["claims"], "no_test_of_this_name_is_there_or_run")));
    assert!(!is_run(&(vec!["rules"], "every_test_that_is_said_to_see_a_breakage_is_there_and_run")));
}

#[test]
fn the_tests_that_a_table_names_are_found() {
    let row = |last: &str| format!("| broken | `first_of_all_in_it` | {last} |");
    for (last, tests) in [
        ("`a`: `b`, `c`", &["a b", "a c"][..]),
        ("nothing did; now `a`: `b::c`; `d`: `e`", &["a b c", "d e"]),
        ("now `stores`, `sql` and `postgres`: `one`", &["postgres one"]),
        (
            "`adapters`: `live`: `one`, `a_sentence_of_words`",
            &["adapters live one", "adapters live a_sentence_of_words"],
        ),
        ("unit tests: `io::places::tests::over_tokio::a_b_c_d`", &["io places a_b_c_d"]),
        ("no test; `src/a.rs` `secret_or`, as `residue`", &[]),
    ] {
        let (text, mut found) = (row(last), Vec::new());
        for (within, name) in tests_named(&text) {
            found.push([&within[..], &[name]].concat().join(" "));
        }
        assert_eq!(found, tests, "{last}");
    }
}

/// A small table of this shape, and what it is about.
fn small(rows: &str) -> Vec<String> {
    let security = format!(
        "# Security\n\n## One & two\n\n## {HEADING}\n\n| | claim | what fails otherwise |\n|--:|---|---|\n\
         | | **[One](#one--two)** | |\n{rows}\n"
    );
    let protocol = "## Frames\n\nIt MUST.\n\n## States, and more\n\n- **S1** one;\n- **S2** two.\n";
    let read = |file: &str| {
        let text = match file {
            "tests/a.rs" => {
                "#[test]\n#[ignore]\nfn ignored() { f() }\n\n#[tokio::test]\n/// Why.\nasync fn good() { f() }\nfn plain() { f() }\n\
                 #[test]\nfn emptied() {}\n#[test]\nfn commented() {\n    // f();\n}\n\
                 for_every_adapter!(\n    listed,\n);\n#[cfg(all(unix, not(feature = \"x\")))]\n#[test]\nfn without() { f() }\n\
                 #[cfg(any(windows, target_os = \"linux\"))]\nmod inner {\n    #[test]\n    fn within() { f() }\n}\n\
                 #[cfg(windows)]\nmod windows {\n    #[test]\n    fn elsewhere() { f() }\n}\n"
            }
            "src/lib.rs" => {
                "mod a;\n#[cfg(test)]\n#[path = \"../tests/c/mod.rs\"]\nmod c;\n#[cfg(windows)]\npub mod w;\n"
            }
            "src/a.rs" => "#[cfg(test)]\npub(crate) mod tests;\n",
            "src/a/tests.rs" | "src/a/forgotten.rs" | "src/w.rs" | "tests/c/mod.rs" | "tests/d/mod.rs" => {
                "#[test]\nfn good() { f() }\n"
            }
            "cli/tests/w.rs" => "//! About it.\n#![cfg(windows)]\n\n#[test]\nfn good() { f() }\n",
            "formal/a.pv" => "(*@ run one: prelude.pvl *)\n",
            ".ci/run" => "cargo deny check\n",
            _ => return None,
        };
        Some(text.to_owned())
    };
    faults(&security, protocol, read)
}

const GOOD: &str =
    "| 1 | S1–S2, in *Frames* | `tests/a.rs`: `good`, `listed`; `formal/a.pv`: `one`; `.ci/run`: `deny check` |";

#[test]
fn what_is_wrong_with_a_table_is_found() {
    assert_eq!(small(GOOD), Vec::<String>::new());
    assert_eq!(
        small(&format!("{GOOD}\n| 2 | more | line 1 |\n| | not claimed: `x` (`formal/a.pv`: `one`) | |")),
        Vec::<String>::new()
    );
    let good_but = |from: &str, to: &str| {
        let changed = GOOD.replace(from, to);
        assert_ne!(changed, GOOD);
        small(&changed)
    };
    assert_eq!(good_but("a.rs", "b.rs"), ["tests/b.rs is not there"]);
    assert_eq!(good_but("`good`", "`better`"), ["tests/a.rs: better is not there"]);
    assert_eq!(good_but("`good`", "`plain`"), ["tests/a.rs: plain is no test"]);
    assert_eq!(good_but("`good`", "`ignored`"), ["tests/a.rs: ignored is ignored"]);
    for emptied in ["emptied", "commented"] {
        assert_eq!(good_but("`good`", &format!("`{emptied}`")), [format!("tests/a.rs: {emptied} does nothing")]);
    }
    assert_eq!(good_but("`good`", "`within`"), Vec::<String>::new());
    assert_eq!(good_but("`good`", "`without`"), ["tests/a.rs: without is not built here"]);
    assert_eq!(good_but("`good`", "`elsewhere`"), ["tests/a.rs: elsewhere is not built here"]);
    for file in ["src/a/tests.rs", "tests/c/mod.rs"] {
        assert_eq!(good_but("tests/a.rs`: `good`, `listed`", &format!("{file}`: `good`")), Vec::<String>::new());
    }
    for (file, why) in [
        ("src/a/forgotten.rs", "is in no program"),
        ("tests/d/mod.rs", "is in no program"),
        ("src/w.rs", "is not built here"),
        ("cli/tests/w.rs", "is not built here"),
    ] {
        assert_eq!(good_but("tests/a.rs`: `good`, `listed`", &format!("{file}`: `good`")), [format!("{file} {why}")]);
    }
    assert_eq!(good_but("`listed`", "`list`"), ["tests/a.rs: list is not there"]);
    assert_eq!(good_but("`one`", "`two`"), ["formal/a.pv: two is no run"]);
    assert_eq!(good_but("deny", "audit"), [".ci/run: audit check is not there"]);
    assert_eq!(good_but("S1–S2", "S1–S1"), ["S2"]);
    assert_eq!(good_but("S1–S2", "S1–S3"), ["S3"]);
    assert_eq!(good_but("*Frames*", "frames"), ["no line is about \"Frames\" of PROTOCOL.md"]);
    assert_eq!(good_but("| 1 |", "| 2 |"), ["line 1 has the number \"2\""]);
    assert_eq!(good_but("`tests/a.rs`: `good`, `listed`", "a good test"), ["line 1 has no check in \"a good test\""]);
    assert_eq!(small(&format!("{GOOD}\n| 2 | more | |")), ["line 2 has no check in \"\""]);
    // There are four rows, and two of them have a number. None may rest upon itself, nor on one that rests upon others.
    for line in ["9", "4", "3", "2", "1 to 2", "0"] {
        let faults = small(&format!("{GOOD}\n| 2 | more | line {line} |\n| | not claimed: more | |"));
        assert_eq!(faults, [format!("line 2 has no check in \"line {line}\"")]);
    }
    let round = small(&format!("{GOOD}\n| 2 | more | line 3 |\n| 3 | more | line 2 |"));
    assert_eq!(round, ["line 2 has no check in \"line 3\"", "line 3 has no check in \"line 2\""]);
    assert_eq!(small(&format!("{GOOD}\n| | not claimed: (`formal/a.pv`: `two`) | |")), ["formal/a.pv: two is no run"]);
    let unlinked = faults(&format!("## Three\n\n## {HEADING}\n"), "", |_| None);
    assert_eq!(unlinked, ["no line is about \"Three\""]);
    assert_eq!(faults("## Three\n", "", |_| None), ["there is no table"]);
}
