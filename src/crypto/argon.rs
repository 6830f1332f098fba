//! Argon2id (RFC 9106), for passwords that are stretched at the client.

use super::stack::wipe_stack;
use argon2::{Algorithm, Argon2, Block, Params, Version};

/// What one computation takes: memory in KiB, passes, lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Argon {
    pub(crate) memory: u32,
    pub(crate) passes: u32,
    pub(crate) lanes: u32,
}

impl Argon {
    /// `Argon2id(password, salt, memory, passes, lanes)`, written where it is to stay, so that no copy is left on the way; `None` where
    /// there is no memory for it.
    pub(crate) fn hash(self, password: &[u8], salt: &[u8], output: &mut [u8; 32]) -> Option<()> {
        let hashed = self.compute(password, salt, output);
        wipe_stack();
        hashed
    }

    /// Not inlined, so that [`wipe_stack`] finds what it leaves.
    #[inline(never)]
    fn compute(self, password: &[u8], salt: &[u8], output: &mut [u8; 32]) -> Option<()> {
        let params = Params::new(self.memory, self.passes, self.lanes, Some(output.len())).ok()?;
        let mut blocks: Vec<Block> = Vec::new();
        blocks.try_reserve_exact(params.block_count()).ok()?;
        blocks.resize(params.block_count(), Block::default());
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hashed = argon2.hash_password_into_with_memory(password, salt, output.as_mut_slice(), &mut blocks);
        // What is left there depends on the password. Used afterwards, or the compiler may leave the wiping out.
        blocks.fill(Block::default());
        core::hint::black_box(&blocks);
        hashed.ok()
    }
}
