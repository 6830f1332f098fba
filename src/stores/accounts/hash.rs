//! Stored password hashes: Argon2id, as PHC strings.

use super::LineError;
use crate::terms::error::Reason;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use std::sync::{Mutex, MutexGuard, PoisonError};
use subtle::ConstantTimeEq;

/// Most memory of a stored hash, in KiB: 1 GiB, half of what RFC 9106 (section 4) recommends first, and too much for a
/// server of many logins already. One line with more would take the server down, and any unknown name may imitate it.
pub(super) const MAX_MEMORY: u32 = 1 << 20;

/// Most passes of a stored hash. The usual recommendations are 1 to 5.
pub(super) const MAX_PASSES: u32 = 32;

/// Most lanes of a stored hash. RFC 9106 recommends 4.
pub(super) const MAX_LANES: u32 = 16;

/// What an unknown user's password is hashed like where there is no stored hash to imitate: Argon2id at its defaults. Its salt
/// says "no stored user"; no password has the hash of zeros.
pub(super) const IMITATED: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm8gc3RvcmVkIHVzZXI$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A PHC string that this module can and will verify against, checked now so that it can't fail at a login.
pub(super) fn check(phc: &str) -> Result<(), LineError> {
    let hash = PasswordHash::new(phc).map_err(|_| LineError::Password)?;
    let complete = hash.salt.is_some() && hash.hash.is_some();
    let readable = Params::try_from(&hash).is_ok_and(|params| is_affordable(&params))
        && hash.version.is_none_or(|version| Version::try_from(version).is_ok());
    if hash.algorithm == argon2::ARGON2ID_IDENT && complete && readable { Ok(()) } else { Err(LineError::Password) }
}

pub(super) fn is_affordable(params: &Params) -> bool {
    params.m_cost() <= MAX_MEMORY && params.t_cost() <= MAX_PASSES && params.p_cost() <= MAX_LANES
}

/// Whether the password is the one of this hash.
pub(super) fn matches(phc: &str, password: &[u8]) -> Result<bool, Reason> {
    verify(phc, password).ok_or(Reason::NotNow("a stored password hash can't be computed"))
}

fn verify(phc: &str, password: &[u8]) -> Option<bool> {
    let hash = PasswordHash::new(phc).ok()?;
    let (salt, stored) = (hash.salt.as_ref()?, hash.hash.as_ref()?);
    let params = Params::try_from(&hash).ok()?;
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
    let mut memory = Memory::take(params.block_count())?;
    let argon2 = Argon2::new(Algorithm::Argon2id, version, params);
    let mut room = [0; 64];
    let computed = room.get_mut(..stored.len())?;
    argon2.hash_password_into_with_memory(password, salt.as_ref(), computed, memory.blocks()).ok()?;
    Some(stored.as_bytes().ct_eq(computed).into())
}

/// The memory of a hash, kept for the next one: to map 19 MiB anew costs page faults, and allocators keep more of it than
/// they give back. Wiped before it is kept.
struct Memory(Vec<Block>);

/// What nobody uses now. All of one size, that of the last hash, and no more of them than there are cores: whatever the
/// account file says, its changes leave nothing behind.
static SPARE: Mutex<Vec<Vec<Block>>> = Mutex::new(Vec::new());

/// What is kept, in blocks of 1 KiB. Smaller memory is in good hands with the allocator; larger would be missed elsewhere.
const KEPT: core::ops::RangeInclusive<usize> = (8 << 10)..=(64 << 10);

impl Memory {
    /// `None` where the system has no memory to give.
    fn take(count: usize) -> Option<Self> {
        // A hash of another size leaves what is kept where it is.
        let kept = spare().pop_if(|blocks| blocks.len() == count);
        if let Some(blocks) = kept {
            return Some(Self(blocks));
        }
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(count).ok()?;
        blocks.resize(count, Block::default());
        Some(Self(blocks))
    }

    fn blocks(&mut self) -> &mut [Block] {
        &mut self.0
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut blocks = core::mem::take(&mut self.0);
        blocks.fill(Block::default());
        if !KEPT.contains(&blocks.len()) {
            // Used, or the compiler may leave the wiping of memory out that is about to be freed.
            core::hint::black_box(&blocks);
            return;
        }
        let cores = std::thread::available_parallelism().map_or(1, core::num::NonZero::get);
        let mut spare = spare();
        spare.retain(|kept| kept.len() == blocks.len());
        if spare.len() < cores {
            spare.push(blocks);
        }
    }
}

fn spare() -> MutexGuard<'static, Vec<Vec<Block>>> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_wiped_and_kept_within_its_bounds() {
        let cores = std::thread::available_parallelism().unwrap().get();
        let use_up = |count: usize, at_once: usize| {
            let mut all: Vec<Memory> = (0..at_once).map(|_| Memory::take(count).unwrap()).collect();
            for memory in &mut all {
                assert_eq!(memory.blocks().len(), count);
                memory.blocks().iter_mut().for_each(|block| block.as_mut().fill(7));
            }
        };
        let kept = || -> Vec<usize> {
            let spare = spare();
            assert!(spare.iter().flatten().all(|block| block.as_ref().iter().all(|&word| word == 0)));
            spare.iter().map(Vec::len).collect()
        };
        let (first, second) = (*KEPT.start(), KEPT.start() + 1);
        use_up(first, cores + 2);
        assert_eq!(kept(), vec![first; cores]);
        // What is not worth keeping changes nothing; another size takes the place of the first.
        use_up(1, 1);
        use_up(KEPT.end() + 1, 1);
        assert_eq!(kept(), vec![first; cores]);
        use_up(second, 1);
        assert_eq!(kept(), vec![second]);
    }
}
