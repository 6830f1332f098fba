//! The mutators keep the structure of what they change, and give the same for the same seed.

use countersign_fuzz::mutate::{Kind, mutate};
use countersign_fuzz::{certificates, decode, seeds};

/// What becomes of an input under so many seeds.
fn changed(kind: Kind, input: &[u8]) -> Vec<Vec<u8>> {
    let change = |seed: u32| {
        let mut data = input.to_vec();
        data.resize(8192, 0);
        let size = mutate(kind, &mut data, input.len(), 8192, seed)?;
        data.truncate(size);
        Some(data)
    };
    let all = || (0..400).filter_map(change).collect::<Vec<_>>();
    assert_eq!(all(), all());
    all()
}

fn seed(target: &str, name: &str) -> Vec<u8> {
    seeds::all().into_iter().find(|seed| seed.target == target && seed.name == name).unwrap().bytes
}

#[test]
fn messages_that_are_changed_are_messages_mostly() {
    for name in ["client-hello-for-a-proof", "server-hello-with-proof", "verdict", "server-resumption", "credential"] {
        let changed = changed(Kind::Messages, &seed("decode", name));
        let messages = changed.iter().filter(|input| decode::messages(&input[3..]) > 0).count();
        assert!(changed.len() > 100 && messages * 3 > changed.len(), "{name}: {messages} of {}", changed.len());
    }
}

#[test]
fn certificates_that_are_changed_are_certificates_often() {
    for name in ["file-good", "file-der"] {
        let changed = changed(Kind::Files, &seed("certificates", name));
        let read = changed.iter().filter(|input| certificates::run(input) > 0).count();
        assert!(changed.len() > 100 && read * 5 > changed.len(), "{name}: {read} of {}", changed.len());
    }
}

#[test]
fn lines_that_are_changed_are_others() {
    let input = seed("command", "csv");
    let changed = changed(Kind::Files, &input);
    assert!(changed.len() > 100 && changed.iter().all(|file| *file != input && file[0] == input[0]));
}
