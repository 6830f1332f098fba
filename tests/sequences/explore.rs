//! Every sequence of letters, at one machine and in the table.

use super::ends::{Client, End, Machine, Server, Side, Stage, kind};
use super::letters::{Alphabet, decision, is_of_puzzle, token};
use super::settings::Setting;
use super::table::{ACCEPT, ASK, Case, NOT_NOW, REFUSAL, SERVER_VERDICT, expected};
use countersign::frame::FrameType;
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

/// What is sent, as the table has it: nothing, a type, or what a verdict says. What nobody can open but who sealed it may be either
/// answer that lets nobody in.
fn sent(frames: &[Vec<u8>], taken: &[u8], sent: &[u8]) -> Vec<u8> {
    let kind = kind(sent).map_or(0, FrameType::byte);
    if kind != SERVER_VERDICT {
        return vec![kind];
    }
    match decision(frames, taken, sent) {
        None => vec![REFUSAL, NOT_NOW],
        Some(0) => vec![REFUSAL],
        Some(1) => vec![ACCEPT],
        Some(2) => vec![NOT_NOW],
        Some(3) => vec![ASK],
        Some(_) => Vec::new(),
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
                let mut frames: Vec<Vec<u8>> = machine.hello().into_iter().map(<[u8]>::to_vec).collect();
                for &earlier in sequence {
                    let reply = machine.feed(&letters[earlier].bytes);
                    frames.extend([letters[earlier].bytes.clone(), reply.sent].into_iter().filter(|it| !it.is_empty()));
                }
                frames.retain(|frame| !is_of_puzzle(frame));
                let state = machine.stage();
                let reply = machine.feed(&letter.bytes);
                let case = Case { setting, before, frames: &frames, letter };
                let (stage, sends, clauses, row) = expected(state, &case);
                let sent = sent(&frames, &letter.bytes, &reply.sent);
                fed.sequences += 1;
                fed.rows.extend(row);
                let whole = [&sequence[..], &[number]].concat();
                if reply.stage != stage || !sent.contains(&sends) {
                    let names: Vec<&str> = whole.iter().map(|&letter| letters[letter].name.as_str()).collect();
                    let difference = format!(
                        "{names:?} in {state:?}: {:?}, sent {sent:?}; by {clauses}: {stage:?}, {sends}",
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
