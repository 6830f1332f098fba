//! The sources whose handshakes wait for their peers, in lines: who makes way is in the last one, and is found in the same few steps
//! however many there are.

use crate::terms::context::Source;
use std::collections::{BTreeMap, HashMap};

#[derive(Default)]
pub(super) struct Waiting {
    /// None of them is empty.
    lines: BTreeMap<usize, Vec<Source>>,
    at: HashMap<Source, Entry>,
    /// Handshakes of those in the first line, the one of [`SPARED`].
    spared: usize,
}

/// The line of those who make way for nobody as long as there is somebody else.
pub(super) const SPARED: usize = 0;

/// Where a source stands.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    line: usize,
    index: usize,
    handshakes: usize,
}

impl Waiting {
    /// A source stands in this line now, with so many handshakes; in none, where it has none that wait.
    pub(super) fn set(&mut self, source: &Source, stands: Option<(usize, usize)>) {
        let before = self.at.get(source).copied();
        if before.map(|entry| (entry.line, entry.handshakes)) == stands {
            return;
        }
        if let Some(entry) = before {
            self.leave(source, entry);
        }
        let Some((line, handshakes)) = stands else { return };
        let sources = self.lines.entry(line).or_default();
        let entry = Entry { line, index: sources.len(), handshakes };
        sources.push(source.clone());
        self.at.insert(source.clone(), entry);
        if line == SPARED {
            self.spared = self.spared.saturating_add(handshakes);
        }
    }

    fn leave(&mut self, source: &Source, Entry { line, index, handshakes }: Entry) {
        self.at.remove(source);
        if line == SPARED {
            self.spared = self.spared.saturating_sub(handshakes);
        }
        let Some(sources) = self.lines.get_mut(&line).filter(|sources| index < sources.len()) else { return };
        sources.swap_remove(index);
        // The last one stands there now.
        if let Some(entry) = sources.get(index).and_then(|moved| self.at.get_mut(moved)) {
            entry.index = index;
        }
        if sources.is_empty() {
            self.lines.remove(&line);
        }
    }

    /// Those of whom one makes way. It is one of those who are spared where these have more than so many handshakes together.
    pub(super) fn last(&self, spared: usize) -> &[Source] {
        let spared = self.lines.get(&SPARED).filter(|_| self.spared > spared);
        spared.or_else(|| self.lines.values().next_back()).map(Vec::as_slice).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.at.is_empty() && self.spared == 0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_source_stands_in_one_line_wherever_it_stood_before() {
        let (mut waiting, mut stands) = (Waiting::default(), HashMap::new());
        let source = |number: usize| Source::named(&number.to_string());
        for step in 0..5000_usize {
            // As good as at random.
            let (number, line) = (step.wrapping_mul(7919) % 97, step.wrapping_mul(104_729) % 7);
            let now = (line < 5).then_some((line, line.saturating_add(1)));
            waiting.set(&source(number), now);
            let _ = match now {
                Some(stand) => stands.insert(number, stand),
                None => stands.remove(&number),
            };
            let last = stands.values().map(|(line, _)| *line).max().unwrap_or_default();
            let count = stands.values().filter(|(line, _)| *line == last).count();
            assert_eq!(waiting.last(usize::MAX).len(), count);
            let spared: Vec<_> =
                stands.iter().filter(|(_, (line, _))| *line == SPARED).map(|(number, _)| *number).collect();
            if !spared.is_empty() {
                assert_eq!(waiting.last(spared.len().saturating_sub(1)).len(), spared.len());
            }
        }
        (0..97).for_each(|number| waiting.set(&source(number), None));
        assert!(waiting.is_empty());
    }
}
