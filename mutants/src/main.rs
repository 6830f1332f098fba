//! Weaves the mutants that `cargo mutants --list --json` names into the sources, all at once, each behind a switch that is read when a
//! test runs. One build then stands for all of them, where a build for each would take days.
//!
//! `countersign-mutants LIST TREE WITHOUT`: the list, the tree whose sources are changed in place, and a file with the numbers of the
//! mutants that are left out, one a line. A mutant's number is its place in the list, from 1. Prints, as JSON, which numbers were woven,
//! which not and why, and which bytes of which file are whose.

mod text;
mod visitor;

use std::collections::{BTreeMap, HashSet};
use std::{env, error::Error, fs, path::Path};

/// What of a mutant the visitor needs.
pub(crate) struct Mutant {
    pub(crate) number: usize,
    pub(crate) replacement: String,
}

/// Mutants by what they change: the genre, and the line and column (both from 1) where it begins.
pub(crate) type Places = BTreeMap<(String, usize, usize), Vec<Mutant>>;

/// The function that the woven code asks, at the end of a crate's first file. One file takes what a whole run has reached.
const SWITCH: &str = r#"
#[doc(hidden)]
#[allow(warnings, clippy::all)]
pub(crate) mod mutant_switch {
    use std::io::Write;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};
    static CHOSEN: OnceLock<(usize, Option<std::fs::File>)> = OnceLock::new();
    static SEEN: [AtomicBool; 20_000] = [const { AtomicBool::new(false) }; 20_000];
    pub(crate) fn on(number: usize) -> bool {
        let (chosen, reached) = CHOSEN.get_or_init(|| {
            let chosen = std::env::var("MUTANT").ok().and_then(|it| it.parse().ok()).unwrap_or(0);
            let reached = std::env::var_os("MUTANTS_REACHED")
                .and_then(|it| std::fs::OpenOptions::new().append(true).create(true).open(it).ok());
            (chosen, reached)
        });
        if let Some(mut file) = reached.as_ref()
            && let Some(seen) = SEEN.get(number)
            && !seen.swap(true, Ordering::Relaxed)
        {
            let _ = file.write_all(format!("{number}\n").as_bytes());
        }
        *chosen == number
    }
}
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [list, tree, without] = arguments.as_slice() else {
        return Err("usage: countersign-mutants LIST TREE WITHOUT".into());
    };
    let without: HashSet<usize> = fs::read_to_string(without)?.lines().filter_map(|it| it.parse().ok()).collect();
    let list: Vec<serde_json::Value> = serde_json::from_str(&fs::read_to_string(list)?)?;
    let mut files: BTreeMap<String, Places> = BTreeMap::new();
    for (index, mutant) in list.iter().enumerate() {
        let number = index + 1;
        if without.contains(&number) {
            continue;
        }
        let text = |key: &str| mutant[key].as_str().unwrap_or_default().to_owned();
        let start = |key: &str| mutant["span"]["start"][key].as_u64().unwrap_or(0) as usize;
        files
            .entry(text("file"))
            .or_default()
            .entry((text("genre"), start("line"), start("column")))
            .or_default()
            .push(Mutant { number, replacement: text("replacement") });
    }
    let mut woven = BTreeMap::new();
    let mut left_out = BTreeMap::new();
    let mut ranges = BTreeMap::new();
    for (file, mut places) in files {
        let path = Path::new(tree).join(&file);
        let source = fs::read_to_string(&path)?;
        let edits = visitor::edits(&source, &mut places, &mut left_out)?;
        for mutant in places.into_values().flatten() {
            left_out.insert(mutant.number, "not found".to_owned());
        }
        let text = text::woven(&source, &edits);
        for (number, range) in &text.ranges {
            woven.insert(*number, file.clone());
            ranges.entry(file.clone()).or_insert_with(Vec::new).push((*number, range.start, range.end));
        }
        fs::write(path, text.text)?;
    }
    for top in ["src/lib.rs", "stores/src/lib.rs"] {
        let path = Path::new(tree).join(top);
        if path.exists() {
            let source = fs::read_to_string(&path)?;
            fs::write(path, source + SWITCH)?;
        }
    }
    println!("{}", serde_json::json!({ "woven": woven, "left_out": left_out, "ranges": ranges }));
    Ok(())
}
