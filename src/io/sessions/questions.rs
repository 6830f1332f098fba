//! Whose turn it is to be asked about, and what the verifier was asked and has not answered.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

/// The questions about sessions, by the sessions' numbers.
#[derive(Default)]
pub(super) struct Questions {
    first: VecDeque<u64>,
    /// Those about whom the last question got no answer. They have half of the turns at the most: a part of a store that hangs, such as one
    /// tenant's directory, must not take those of all others.
    again: VecDeque<u64>,
    next: u64,
    /// What was put and is not over, and whether it is one of `again`.
    put: HashMap<u64, bool>,
    /// Since when the verifier has been asked, and has given an answer about nobody.
    silent_since: Option<Instant>,
}

impl Questions {
    pub(super) fn queue(&mut self, id: u64, is_again: bool) {
        let queue = if is_again { &mut self.again } else { &mut self.first };
        queue.push_back(id);
    }

    /// Has a session asked about before all others that wait: somebody knows that it has changed.
    pub(super) fn hurry(&mut self, id: u64) {
        let of = |queue: &mut VecDeque<u64>| {
            let at = queue.iter().position(|queued| *queued == id)?;
            queue.remove(at)
        };
        if let Some(id) = of(&mut self.first).or_else(|| of(&mut self.again)) {
            self.first.push_front(id);
        }
    }

    /// Whether anybody's turn has come, of at least two that there are at once.
    pub(super) fn is_ready(&self, at_once: usize) -> bool {
        let is_free = self.put.len() < at_once;
        is_free && (!self.first.is_empty() || !self.again.is_empty() && self.may_ask_again(at_once))
    }

    /// Whose turn it is, and whether that is once more.
    pub(super) fn next(&mut self, at_once: usize) -> Option<(u64, bool)> {
        if !self.is_ready(at_once) {
            return None;
        }
        let again = if self.may_ask_again(at_once) { self.again.pop_front() } else { None };
        again.map(|id| (id, true)).or_else(|| self.first.pop_front().map(|id| (id, false)))
    }

    fn may_ask_again(&self, at_once: usize) -> bool {
        let again = self.put.values().filter(|is_again| **is_again).count();
        again < at_once.checked_div(2).unwrap_or_default().max(1)
    }

    /// A question is put; gives its number.
    pub(super) fn put(&mut self, is_again: bool, now: Instant) -> u64 {
        let number = self.next;
        self.next = number.wrapping_add(1);
        self.put.insert(number, is_again);
        self.silent_since.get_or_insert(now);
        number
    }

    /// A question is over; false where it was before.
    pub(super) fn settle(&mut self, number: u64) -> bool {
        self.put.remove(&number).is_some()
    }

    /// The verifier has told of somebody.
    pub(super) fn heard(&mut self, now: Instant) {
        self.silent_since = (!self.put.is_empty()).then_some(now);
    }

    pub(super) fn silent_since(&self) -> Option<Instant> {
        self.silent_since
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> impl Iterator<Item = &u64> {
        self.first.iter().chain(&self.again)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn those_about_whom_there_was_no_answer_have_half_of_the_turns_at_the_most() {
        let (mut questions, now) = (Questions::default(), Instant::now());
        (0..100).for_each(|id| questions.queue(id, true));
        let turns = |questions: &mut Questions| {
            let mut turns = Vec::new();
            while let Some((id, is_again)) = questions.next(6) {
                turns.push((id, questions.put(is_again, now)));
            }
            assert!(!questions.is_ready(6));
            turns
        };
        // Also where nobody else waits: who comes next is not to wait for them.
        let again = turns(&mut questions);
        assert_eq!(again.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1, 2]);
        (200..300).for_each(|id| questions.queue(id, false));
        assert!(questions.is_ready(6));
        let first = turns(&mut questions);
        assert_eq!(first.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [200, 201, 202]);
        // Each turn that is over goes to one of the same.
        assert!(questions.settle(first[0].1) && !questions.settle(first[0].1));
        assert_eq!(turns(&mut questions)[0].0, 203);
        assert!(questions.settle(again[1].1));
        assert_eq!(turns(&mut questions)[0].0, 3);
        // Whoever was named comes before all others, and takes none of their turns.
        questions.hurry(99);
        questions.hurry(1000);
        assert!(questions.settle(first[1].1));
        assert_eq!(turns(&mut questions)[0].0, 99);
    }

    #[test]
    fn a_verifier_is_silent_from_the_first_question_on_or_from_its_last_answer() {
        let (mut questions, start) = (Questions::default(), Instant::now());
        let at = |seconds| start + core::time::Duration::from_secs(seconds);
        assert_eq!(questions.silent_since(), None);
        let (first, second) = (questions.put(false, at(1)), questions.put(false, at(2)));
        assert_eq!(questions.silent_since(), Some(at(1)));
        assert!(questions.settle(first));
        assert_eq!(questions.silent_since(), Some(at(1)), "no answer");
        questions.heard(at(3));
        assert_eq!(questions.silent_since(), Some(at(3)), "of two");
        assert!(questions.settle(second));
        questions.heard(at(4));
        assert_eq!(questions.silent_since(), None, "nothing is asked");
        questions.put(false, at(100));
        assert_eq!(questions.silent_since(), Some(at(100)));
    }
}
