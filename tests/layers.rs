//! The folders of `src` are layers: each imports only from itself and from those before it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom up: what stands first knows nothing of what comes after.
const LAYERS: [&str; 10] =
    ["limits", "mutant", "time", "wire", "crypto", "terms", "session", "handshake", "io", "stores"];

/// What a layer must not know although it comes before: the two parts of `wire` are apart.
const APART: [(&str, &str); 2] = [("wire/frame", "wire::codec"), ("wire/codec", "wire::frame")];

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

/// Every `crate::path` in the code of a file, wherever it stands; comments may speak of anything.
fn imports(text: &str) -> Vec<(usize, &str)> {
    let code = |line: &str| !line.trim_start().starts_with("//");
    let lines = text.lines().enumerate().filter(|(_, line)| code(line));
    lines.flat_map(|(number, line)| line.split("crate::").skip(1).map(move |path| (number + 1, path))).collect()
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|&layer| layer == name)
}

/// Where `text`, a file of this layer, imports from a layer after it.
fn arrows_upward(file: &str, text: &str) -> Vec<String> {
    let own = file.split(['/', '.']).next().unwrap();
    let own = layer(own).unwrap_or_else(|| panic!("src/{file} is in no layer"));
    let is_upward = |path: &str| {
        let name = path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
        // Macros and what the crate's root defines have no layer.
        layer(name).is_some_and(|imported| imported > own)
            || APART.iter().any(|(part, other)| file.starts_with(part) && path.starts_with(other))
    };
    let upward = imports(text).into_iter().filter(|(_, path)| is_upward(path));
    upward.map(|(line, path)| format!("src/{file}:{line}: crate::{}", path.split(';').next().unwrap())).collect()
}

#[test]
fn no_layer_imports_from_one_after_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut arrows = Vec::new();
    let mut seen = [false; LAYERS.len()];
    for path in files {
        let file = path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
        if file != "lib.rs" {
            seen[layer(file.split(['/', '.']).next().unwrap()).unwrap()] = true;
            arrows.extend(arrows_upward(&file, &fs::read_to_string(&path).unwrap()));
        }
    }
    assert_eq!(arrows, Vec::<String>::new());
    assert_eq!(seen, [true; LAYERS.len()], "a layer without a file");
}

#[test]
fn bincode_is_known_to_one_file() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let in_code = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains("bincode"))
    };
    files.retain(in_code);
    assert_eq!(files, [src.join("wire/codec/field.rs")]);
}

/// The code of these files, without comments and without their unit tests, line by line.
fn code(src: &Path, folders: &[&str]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    sources(src, &mut files);
    let mut lines = Vec::new();
    for path in files {
        let file = path.strip_prefix(src).unwrap().to_str().unwrap().replace('\\', "/");
        if file.ends_with("vectors.rs") || !folders.contains(&file.split(['/', '.']).next().unwrap()) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let tests = ["\n#[cfg(test)]\n", "\nmod tests {"].iter().filter_map(|begin| text.find(begin)).min();
        let code = text[..tests.unwrap_or(text.len())].lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.extend(code.map(|line| (file.clone(), line.to_owned())));
    }
    lines
}

/// Clippy refuses these unless somebody allows them: this says where that is done.
#[test]
fn the_machines_may_panic_in_one_place_and_no_other() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let may_panic = [".expect(", ".unwrap()", "panic!(", "unreachable!(", "todo!(", "unimplemented!("];
    let machines = code(&src, &["limits", "time", "wire", "crypto", "terms", "session", "handshake"]);
    let found: Vec<_> = machines.iter().filter(|(_, line)| may_panic.iter().any(|call| line.contains(call))).collect();
    assert_eq!(found.iter().map(|(file, _)| file.as_str()).collect::<Vec<_>>(), ["crypto/schedule.rs"], "{found:?}");
}

/// So that they repeat: what they do depends on their arguments alone.
#[test]
fn the_machines_know_no_clock_no_socket_and_no_randomness_of_their_own() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let outside = ["std::net", "std::io", "std::fs", "std::thread", "Instant", "SystemTime", "crypto::rng(", "SysRng"];
    let machines = code(&src, &["wire", "session", "handshake"]);
    assert!(machines.len() > 1000);
    let found: Vec<_> = machines.iter().filter(|(_, line)| outside.iter().any(|word| line.contains(word))).collect();
    assert!(found.is_empty(), "{found:?}");
}

/// The library is in other programs than the command, whose users have never heard of it.
#[test]
fn no_message_of_the_library_names_the_command() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let command = fs::read_to_string(root.join("cli/src/lib.rs")).unwrap();
    assert!(command.contains("#[command(name = \"countersign\""), "it goes by another name now");
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let named: Vec<_> =
            code.filter(|line| line.contains("`countersign ") || line.contains("countersign --")).collect();
        assert_eq!(named, Vec::<&str>::new(), "{}", path.display());
    }
}

#[test]
fn an_arrow_upward_is_found() {
    let found = |file, text| arrows_upward(file, text).len();
    assert_eq!(found("wire/frame.rs", "use crate::limits;\n// crate::io\n"), 0);
    assert_eq!(found("wire/frame.rs", "use crate::terms::error::Error;\n"), 1);
    assert_eq!(found("wire/frame.rs", "fn f() -> crate::io::blocking::Error {\n"), 1);
    assert_eq!(found("wire/frame.rs", "use crate::wire::codec::Bytes;\n"), 1);
    assert_eq!(found("io/blocking.rs", "use crate::wire::codec::Bytes;\n"), 0);
}
