//! The memory of a hash.

use argon2::Block;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The memory of a hash, kept for the next one: to map 19 MiB anew costs page faults, and allocators keep more of it than
/// they give back. Wiped before it is kept.
pub(super) struct Memory(Vec<Block>);

/// What nobody uses now. All of one size, that of the last hash, and no more of them than there are cores: whatever the
/// account file says, its changes leave nothing behind.
static SPARE: Mutex<Vec<Vec<Block>>> = Mutex::new(Vec::new());

/// What is kept, in blocks of 1 KiB. Smaller memory is in good hands with the allocator; larger would be missed elsewhere.
const KEPT: core::ops::RangeInclusive<usize> = (8 << 10)..=(64 << 10);

impl Memory {
    /// `None` where the system has no memory to give.
    pub(super) fn take(count: usize) -> Option<Self> {
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

    pub(super) fn blocks(&mut self) -> &mut [Block] {
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
