//! The committed seeds are what the encoder makes today, and each does what it is there for.

use countersign_fuzz::seeds::{self, Expected};
use countersign_fuzz::{decode, server_machine};
use std::path::Path;

#[test]
fn seeds_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let mut made = 0;
    for seed in seeds::all() {
        let bytes = std::fs::read(root.join(seed.target).join(&seed.name)).unwrap_or_default();
        let advice = "run `cargo run --example seeds` in fuzz/ and commit the result";
        assert_eq!(bytes, seed.bytes, "{}/{}: {advice}", seed.target, seed.name);
        made += 1;
    }
    let folders = root.read_dir().unwrap().map(|folder| folder.unwrap().path());
    assert_eq!(folders.map(|folder| folder.read_dir().unwrap().count()).sum::<usize>(), made);
}

#[test]
fn seeds_reach_what_they_are_for() {
    for seed in seeds::all() {
        match seed.expected {
            Expected::Decodes => {
                decode::run(&seed.bytes);
                assert_ne!(decode::messages(&seed.bytes[3..]), 0, "{}", seed.name);
            }
            Expected::Stream => decode::run(&seed.bytes),
            Expected::Reaches(depth) => assert_eq!(server_machine::run(&seed.bytes), depth, "{}", seed.name),
        }
    }
}
