//! What calls leave on the stack, and later ones may carry off: a value that is built there takes what was in its gaps along.

use sha2::{Digest, Sha256};
use zeroize::Zeroize;

/// Writes over what earlier calls have left below the caller's frame: 8 KiB, twice what was seen of theirs without optimisation.
pub(super) fn wipe_stack() {
    wipe_stack_of::<1024>();
}

/// So many words of it.
#[inline(never)]
pub(super) fn wipe_stack_of<const WORDS: usize>() {
    let mut room = [0_u64; WORDS];
    room.zeroize();
}

/// `SHA-256(secret)`. A hasher has the secret in its block, and leaves a copy of that wherever it was moved from.
pub(crate) fn hash_secret(secret: &[u8]) -> [u8; 32] {
    let hash = hash(secret);
    wipe_stack();
    hash
}

/// Not inlined, so that [`wipe_stack`] finds what it leaves.
#[inline(never)]
fn hash(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}
