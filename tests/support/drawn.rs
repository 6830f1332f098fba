//! What is drawn at random, looked at bit by bit.

#![allow(unreachable_pub, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// Asserts that of each place's lowest `bits` each is set in some of these, and in others not: of 64, one that is random fails to once in 2^63 times.
#[track_caller]
pub fn each_bit_varies(all: &[Vec<u8>], bits: u32) {
    assert!(all.len() >= 64, "{} are too few", all.len());
    let full = u8::MAX >> (u8::BITS - bits);
    for place in 0..all[0].len() {
        let bytes = || all.iter().map(|one| one[place]);
        let (any, every) = (bytes().fold(0, |any, byte| any | byte), bytes().fold(full, |every, byte| every & byte));
        assert_eq!((any, every), (full, 0), "place {place} of {}", all[0].len());
    }
}

/// Letters of base32 as the five bits that each stands for.
#[allow(dead_code)]
pub fn base32(text: &str) -> Vec<u8> {
    let value = |letter: u8| b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|&other| other == letter);
    text.bytes().map(|letter| value(letter).expect("base32") as u8).collect()
}
