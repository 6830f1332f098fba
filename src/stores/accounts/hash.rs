//! Stored password hashes: Argon2id, as PHC strings.

use super::LineError;
use crate::terms::error::Reason;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use subtle::ConstantTimeEq;

/// Most memory of a stored hash, in KiB: 1 GiB, half of what RFC 9106 (section 4) recommends first, and too much for a
/// server of many logins already. One line with more would take the server down, and any unknown name may imitate it.
pub(super) const MAX_MEMORY: u32 = 1 << 20;

/// Most passes of a stored hash. The usual recommendations are 1 to 5.
pub(super) const MAX_PASSES: u32 = 32;

/// Most lanes of a stored hash. RFC 9106 recommends 4.
pub(super) const MAX_LANES: u32 = 16;

/// Least bytes of a stored hash: one with fewer was cut, or can be guessed.
const MIN_OUTPUT: usize = 16;

/// What computing a hash costs, and all that it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Cost {
    memory: u32,
    passes: u32,
    lanes: u32,
    version: u32,
    output: usize,
}

impl Cost {
    /// That of a hash that this module can and will verify against, checked now so that it can't fail at a login.
    pub(super) fn of(phc: &str) -> Result<Self, LineError> {
        let hash = PasswordHash::new(phc).map_err(|_| what_else(phc))?;
        if hash.algorithm != argon2::ARGON2ID_IDENT {
            return Err(what_else(phc));
        }
        let output = match (&hash.salt, &hash.hash) {
            (Some(_), Some(output)) if output.len() >= MIN_OUTPUT => output.len(),
            _ => return Err(LineError::CutHash),
        };
        let version = match hash.version {
            Some(version) => Version::try_from(version).map_err(|_| LineError::Password)?,
            None => Version::default(),
        };
        let params = Params::try_from(&hash).map_err(|_| LineError::Password)?;
        if !is_affordable(&params) {
            return Err(LineError::Password);
        }
        let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
        Ok(Self { memory, passes, lanes, version: version.into(), output })
    }

    /// Of a set of costs, the one that an unknown name imitates: always the same, whatever else comes to the set or leaves
    /// it. (Rendezvous hashing: the cost is taken that has the highest hash together with the name.) The key is random:
    /// which one it is can't be predicted.
    pub(super) fn imitated<'a>(
        costs: impl IntoIterator<Item = &'a Self>,
        random: &impl BuildHasher,
        user: &str,
    ) -> Self {
        let highest = costs.into_iter().max_by_key(|cost| (random.hash_one((user, cost)), **cost));
        highest.copied().unwrap_or_default()
    }

    /// Computes a hash at this cost that no password has: all zeros.
    pub(super) fn spend(&self, password: &[u8]) -> Result<(), Reason> {
        let spent = || {
            let params = Params::new(self.memory, self.passes, self.lanes, Some(self.output)).ok()?;
            let version = Version::try_from(self.version).ok()?;
            let mut room = [0; MAX_OUTPUT];
            compute(params, version, password, b"no stored user", room.get_mut(..self.output)?)
        };
        spent().ok_or(UNCOMPUTED)
    }
}

/// What an unknown user's password costs where there is no stored hash to imitate: Argon2id at its defaults.
impl Default for Cost {
    fn default() -> Self {
        let (memory, passes, lanes) = (Params::DEFAULT_M_COST, Params::DEFAULT_T_COST, Params::DEFAULT_P_COST);
        Self { memory, passes, lanes, version: Version::default().into(), output: Params::DEFAULT_OUTPUT_LEN }
    }
}

/// The longest output of a PHC string.
const MAX_OUTPUT: usize = 64;

/// What stands where an Argon2id hash should, as far as can be seen. Nothing of it is repeated: it may be a password.
fn what_else(text: &str) -> LineError {
    const KINDS: [(&str, &str); 13] = [
        ("$2a$", "bcrypt"),
        ("$2b$", "bcrypt"),
        ("$2x$", "bcrypt"),
        ("$2y$", "bcrypt"),
        ("$1$", "MD5-crypt"),
        ("$apr1$", "Apache MD5"),
        ("$5$", "SHA-256-crypt"),
        ("$6$", "SHA-512-crypt"),
        ("$7$", "scrypt"),
        ("$scrypt$", "scrypt"),
        ("$y$", "yescrypt"),
        ("$argon2i$", "Argon2i"),
        ("$argon2d$", "Argon2d"),
    ];
    let kind = KINDS.iter().find(|(front, _)| text.starts_with(front)).map(|&(_, kind)| kind);
    match kind {
        Some(kind) => LineError::OtherHash(kind),
        None if text.starts_with("$pbkdf2") || text.starts_with("pbkdf2_") => LineError::OtherHash("PBKDF2"),
        None if text.starts_with("{") => LineError::OtherHash("LDAP"),
        None if text.starts_with("$argon2id$") => LineError::CutHash,
        None if text.starts_with('$') => LineError::Password,
        None => LineError::ClearPassword,
    }
}

pub(super) fn is_affordable(params: &Params) -> bool {
    params.m_cost() <= MAX_MEMORY && params.t_cost() <= MAX_PASSES && params.p_cost() <= MAX_LANES
}

const UNCOMPUTED: Reason = Reason::NotNow("a stored password hash can't be computed");

/// Whether the password is the one of this hash.
pub(super) fn matches(phc: &str, password: &[u8]) -> Result<bool, Reason> {
    verify(phc, password).ok_or(UNCOMPUTED)
}

fn verify(phc: &str, password: &[u8]) -> Option<bool> {
    let hash = PasswordHash::new(phc).ok()?;
    let (salt, stored) = (hash.salt.as_ref()?, hash.hash.as_ref()?);
    let params = Params::try_from(&hash).ok()?;
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
    let mut room = [0; MAX_OUTPUT];
    let computed = room.get_mut(..stored.len())?;
    compute(params, version, password, salt.as_ref(), computed)?;
    Some(stored.as_bytes().ct_eq(computed).into())
}

fn compute(params: Params, version: Version, password: &[u8], salt: &[u8], output: &mut [u8]) -> Option<()> {
    let mut memory = Memory::take(params.block_count())?;
    let argon2 = Argon2::new(Algorithm::Argon2id, version, params);
    argon2.hash_password_into_with_memory(password, salt, output, memory.blocks()).ok()
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
