//! The sources whose handshakes wait for their peers, in lines of those who hold as many: who makes way is in one of the longest of them, and
//! is found in the same few steps however many sources there are.

use crate::terms::context::Source;
use std::collections::{BTreeMap, HashMap};

#[derive(Default)]
pub(super) struct Waiting {
    strangers: Lines,
    known: Lines,
    at: HashMap<Source, Entry>,
    /// Handshakes of those who are known.
    of_known: usize,
}

/// By how many handshakes they hold; none of them is empty.
type Lines = BTreeMap<usize, Vec<Source>>;

/// Where a source stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stand {
    /// Somebody has logged in from there.
    pub(super) is_known: bool,
    pub(super) handshakes: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    stand: Stand,
    index: usize,
}

impl Waiting {
    /// A source stands there now; nowhere, where it has no handshake that waits.
    pub(super) fn set(&mut self, source: &Source, stand: Option<Stand>) {
        let before = self.at.get(source).copied();
        if before.map(|entry| entry.stand) == stand {
            return;
        }
        if let Some(entry) = before {
            self.leave(source, entry);
        }
        let Some(stand) = stand else { return };
        let line = self.lines(stand.is_known).entry(stand.handshakes).or_default();
        let index = line.len();
        line.push(source.clone());
        self.at.insert(source.clone(), Entry { stand, index });
        if stand.is_known {
            self.of_known = self.of_known.saturating_add(stand.handshakes);
        }
    }

    fn leave(&mut self, source: &Source, Entry { stand: Stand { is_known, handshakes }, index }: Entry) {
        self.at.remove(source);
        if is_known {
            self.of_known = self.of_known.saturating_sub(handshakes);
        }
        let lines = self.lines(is_known);
        let Some(line) = lines.get_mut(&handshakes).filter(|line| index < line.len()) else { return };
        line.swap_remove(index);
        // The last one stands there now.
        let moved = line.get(index).cloned();
        if line.is_empty() {
            lines.remove(&handshakes);
        }
        if let Some(entry) = moved.and_then(|moved| self.at.get_mut(&moved)) {
            entry.index = index;
        }
    }

    fn lines(&mut self, is_known: bool) -> &mut Lines {
        if is_known { &mut self.known } else { &mut self.strangers }
    }

    /// Those of whom one makes way: they hold as many, and no other holds more. Of those who do, strangers come before known sources, as long
    /// as all of these hold no more than `kept`: who comes from more addresses than there are places, with one handshake each, would
    /// otherwise push out whoever is slower than they come.
    pub(super) fn last(&self, kept: usize) -> &[Source] {
        match (self.strangers.last_key_value(), self.known.last_key_value()) {
            (Some((strangers, line)), Some((known, _)))
                if strangers > known || (strangers == known && self.of_known <= kept) =>
            {
                line
            }
            (_, Some((_, line))) | (Some((_, line)), None) => line,
            (None, None) => &[],
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.strangers.is_empty() && self.known.is_empty() && self.at.is_empty() && self.of_known == 0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn source(number: usize) -> Source {
        Source::named(&number.to_string())
    }

    #[test]
    fn a_source_stands_in_one_line_wherever_it_stood_before() {
        let (mut waiting, mut stands) = (Waiting::default(), HashMap::new());
        for step in 0..5000_usize {
            // As good as at random.
            let (number, roll) = (step.wrapping_mul(7919) % 97, step.wrapping_mul(104_729) % 13);
            let stand = Stand { is_known: roll.is_multiple_of(2), handshakes: roll / 2 };
            let now = Some(stand).filter(|stand| stand.handshakes > 0);
            waiting.set(&source(number), now);
            let _ = match now {
                Some(stand) => stands.insert(number, stand),
                None => stands.remove(&number),
            };
            for is_known in [false, true] {
                let of_kind = || stands.iter().filter(|(_, stand)| stand.is_known == is_known);
                let most = of_kind().map(|(_, stand)| stand.handshakes).max();
                let alike = of_kind().filter(|(_, stand)| Some(stand.handshakes) == most);
                let mut alike: Vec<_> = alike.map(|(number, _)| source(*number)).collect();
                let line = waiting.lines(is_known).last_key_value().map(|(_, line)| line.clone());
                let mut line = line.unwrap_or_default();
                alike.sort();
                line.sort();
                assert_eq!(line, alike);
            }
            let of_known: usize = stands.values().filter(|stand| stand.is_known).map(|stand| stand.handshakes).sum();
            assert_eq!(waiting.of_known, of_known);
        }
        (0..97).for_each(|number| waiting.set(&source(number), None));
        assert!(waiting.is_empty());
    }

    #[test]
    fn who_holds_the_most_makes_way_and_known_sources_after_strangers_who_hold_as_many() {
        let last = |strangers: usize, known: usize, kept: usize| {
            let mut waiting = Waiting::default();
            waiting.set(&source(1), Some(Stand { is_known: false, handshakes: strangers }).filter(|_| strangers > 0));
            waiting.set(&source(2), Some(Stand { is_known: true, handshakes: known }).filter(|_| known > 0));
            waiting.last(kept).first().map(|last| if *last == source(2) { "known" } else { "stranger" })
        };
        for (strangers, known, kept, expected) in [
            (0, 0, 9, None),
            (1, 0, 9, Some("stranger")),
            (0, 1, 9, Some("known")),
            (1, 2, 9, Some("known")),
            (2, 1, 9, Some("stranger")),
            (1, 1, 9, Some("stranger")),
            (4, 4, 4, Some("stranger")),
            // Known sources hold more than they may keep.
            (4, 4, 3, Some("known")),
            (5, 4, 3, Some("stranger")),
        ] {
            assert_eq!(last(strangers, known, kept), expected, "{strangers} {known} {kept}");
        }
    }
}
