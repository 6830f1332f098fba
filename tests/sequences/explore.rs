//! Every sequence of letters, at one machine and in the table.

use super::ends::{Client, End, Machine, Server, Side, Stage, kind};
use super::letters::{Alphabet, token};
use super::settings::Setting;
use super::table::{Case, expected};
use std::collections::BTreeSet;

/// The longest sequences.
pub const DEPTH: usize = 6;

/// What was fed, in one setting at one end.
#[derive(Default)]
pub struct Fed {
    pub letters: usize,
    pub sequences: usize,
    /// Those whose every frame was taken, by the machine and by the table.
    pub taken: BTreeSet<Vec<usize>>,
    pub allowed: BTreeSet<Vec<usize>>,
    pub rows: BTreeSet<usize>,
    pub differences: Vec<String>,
}

fn machine(setting: &Setting, side: Side) -> Box<dyn Machine> {
    match side {
        Side::Client => Box::new(Client::new(setting)),
        Side::Server => Box::new(Server::new(setting)),
    }
}

/// Feeds every sequence of up to [`DEPTH`] letters, and looks each up in the table.
pub fn feed_all(setting: &Setting, side: Side) -> Fed {
    let alphabet = match side {
        Side::Client => Alphabet::for_client(setting),
        Side::Server => Alphabet::for_server(setting),
    };
    let letters = &alphabet.0;
    let mut fed = Fed { letters: letters.len(), ..Fed::default() };
    let mut alive: Vec<(Vec<usize>, Vec<String>)> = vec![(Vec::new(), Vec::new())];
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for (sequence, before) in &alive {
            for (number, letter) in letters.iter().enumerate() {
                let mut machine = machine(setting, side);
                for &earlier in sequence {
                    machine.feed(&letters[earlier].bytes);
                }
                let state = machine.stage();
                let reply = machine.feed(&letter.bytes);
                let sent = kind(&reply.sent).map_or(0, countersign::frame::FrameType::byte);
                let (stage, sends, clauses, row) = expected(state, &Case { setting, before, letter });
                fed.sequences += 1;
                fed.rows.extend(row);
                let whole = [&sequence[..], &[number]].concat();
                if (reply.stage, sent) != (stage, sends) {
                    let names: Vec<&str> = whole.iter().map(|&letter| letters[letter].name.as_str()).collect();
                    let difference = format!(
                        "{names:?} in {state:?}: {:?}, sent {sent}; by {clauses}: {stage:?}, {sends}",
                        reply.stage
                    );
                    fed.differences.push(difference);
                }
                let is_taken = |stage| matches!(stage, Stage::Over(End::Closed)) || !matches!(stage, Stage::Over(_));
                if is_taken(stage) {
                    fed.allowed.insert(whole.clone());
                }
                if is_taken(reply.stage) {
                    fed.taken.insert(whole.clone());
                }
                if !matches!(reply.stage, Stage::Over(_)) {
                    next.push((whole, [&before[..], &[token(&letter.name, &letter.bytes)]].concat()));
                }
            }
        }
        // What a machine takes and should not would be fed on and on.
        if !fed.differences.is_empty() {
            break;
        }
        alive = next;
    }
    fed
}
