//! The committed seeds are what the encoder makes today, and each does what it is there for.

use countersign_fuzz::seeds::{self, Expected};
use countersign_fuzz::{
    certificates, client_machine, command, connection, decode, files, passwords, proxy, records, server_machine,
    tickets,
};
use std::path::Path;

#[test]
fn seeds_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let mut made = 0;
    for seed in seeds::all() {
        let bytes = std::fs::read(root.join(seed.target).join(&seed.name)).unwrap_or_default();
        let advice = "run `cargo run --example seeds` in fuzz/ and commit the result";
        assert!(bytes == seed.bytes, "{}/{}: {advice}", seed.target, seed.name);
        made += 1;
    }
    let folders = root.read_dir().unwrap().map(|folder| folder.unwrap().path());
    assert_eq!(folders.map(|folder| folder.read_dir().unwrap().count()).sum::<usize>(), made);
}

#[test]
fn seeds_reach_what_they_are_for() {
    let mut wrong = Vec::new();
    for seed in seeds::all() {
        match seed.expected {
            Expected::Decodes => {
                decode::run(&seed.bytes);
                assert_ne!(decode::messages(&seed.bytes[3..]), 0, "{}", seed.name);
            }
            Expected::Stream => decode::run(&seed.bytes),
            Expected::Reads(count) => {
                let run = match seed.target {
                    "files" => files::run,
                    "certificates" => certificates::run,
                    "passwords" => passwords::run,
                    "command" => command::run,
                    other => panic!("no target is called {other}"),
                };
                let read = run(&seed.bytes);
                if read != count {
                    wrong.push(format!("{}/{} reads {read}, not {count}", seed.target, seed.name));
                }
            }
            Expected::Reaches(depth) => {
                let run = match seed.target {
                    "server_machine" => server_machine::run,
                    "client_machine" => client_machine::run,
                    "tickets" => tickets::run,
                    "proxy" => proxy::run,
                    "records" => records::run,
                    "connection" => connection::run,
                    other => panic!("no target is called {other}"),
                };
                let reached = run(&seed.bytes);
                // A puzzle is solved on a thread of its own: its solution may be there before the client sees that the server has said more.
                let in_time = seed.name == "forged-puzzle" && format!("{reached:?}") == "Refused";
                if reached != depth && !in_time {
                    wrong.push(format!("{}/{} reaches {reached:?}, not {depth:?}", seed.target, seed.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
