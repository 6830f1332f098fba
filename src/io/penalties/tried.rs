//! Passwords that were wrong already: shown again, each is no new guess.
//!
//! A program with an old password saved shows it again and again. Were that counted each time, its owner's account would wait because of
//! her own other computer. Whoever guesses gains nothing by trying a password twice.

use std::hash::{BuildHasher, RandomState};

/// So many of them, in 128 KiB; a later one may take the place of an earlier one.
const SLOTS: usize = 1 << 16;

/// What is kept is 32 bits of a hash under a secret, half of them by its place: too few to find a password by, and one guess in 65,536 passes
/// for an old one at the most.
pub(super) struct Tried {
    random: RandomState,
    marks: Vec<u16>,
}

impl Tried {
    pub(super) fn new() -> Self {
        Self { random: RandomState::new(), marks: vec![0; SLOTS] }
    }

    /// Whether this password was wrong for this name before; from now on it was.
    pub(super) fn note(&mut self, name: &str, password: &[u8]) -> bool {
        let [a, b, c, d, ..] = self.random.hash_one((name, password)).to_be_bytes();
        let (slot, mark) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]).max(1));
        match self.marks.get_mut(usize::from(slot)) {
            Some(kept) => core::mem::replace(kept, mark) == mark,
            None => false,
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.marks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_new_once_for_each_name() {
        let mut tried = Tried::new();
        for name in ["alice", "bob"] {
            assert!(!tried.note(name, b"old"));
            assert!(tried.note(name, b"old"));
            assert!(!tried.note(name, b"older"));
        }
        let seen = (0..10_000_u32).filter(|number| tried.note("alice", &number.to_be_bytes())).count();
        assert!(seen < 10, "{seen} of 10000 that are new");
    }
}
