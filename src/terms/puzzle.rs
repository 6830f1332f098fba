//! Puzzles that a server under load asks its clients to solve (PROTOCOL.md, "Puzzle").

use crate::crypto::hash_of;
use crate::limits;
use crate::mutant::{Check, lacks};
use crate::terms::error::Misuse;
use crate::wire::codec::{self, Extensions, PuzzleMessage};
use core::fmt;
use sha2::{Digest, Sha256};

/// The number of the extension of a Busy in which it stands.
pub(crate) const EXTENSION: u16 = 3;

const LABEL: &[u8] = b"countersign v1 puzzle";

/// How often whoever solves a puzzle looks whether it is still wanted: every so many hashes, a fraction of a millisecond.
const LOOK: u64 = 4096;

/// How hard a puzzle is: how many leading zero bits the hash of each of its sixteen counters must have. One more doubles the work.
///
/// ```
/// use countersign::PuzzleDifficulty;
///
/// let difficulty = PuzzleDifficulty::new(14)?;
/// assert_eq!(difficulty.hashes(), 16 << 14); // some 20 ms of a processor that has instructions for SHA-256
/// assert!(PuzzleDifficulty::new(25).is_err());
/// # Ok::<(), countersign::Misuse>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PuzzleDifficulty(u8);

impl PuzzleDifficulty {
    /// What a client goes along with by default: 2 million hashes, a fraction of a second also where a processor has no instructions for
    /// SHA-256.
    pub const CLIENT: Self = Self(17);

    /// What a server begins with by default.
    pub(crate) const FIRST: Self = Self(10);

    /// What a server goes up to by default: half of what clients go along with.
    pub(crate) const MOST: Self = Self(16);

    /// So many bits, from 1 to [`limits::MAX_PUZZLE_BITS`].
    ///
    /// # Errors
    /// [`Misuse::BadInput`] outside of that.
    pub const fn new(bits: u8) -> Result<Self, Misuse> {
        match bits {
            1..=limits::MAX_PUZZLE_BITS => Ok(Self(bits)),
            _ => Err(Misuse::BadInput("the difficulty of a puzzle")),
        }
    }

    /// The bits.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// How many hashes a solution takes on average.
    pub const fn hashes(self) -> u64 {
        match (limits::PUZZLE_COUNTERS as u64).checked_shl(self.0 as u32) {
            Some(hashes) => hashes,
            // No difficulty comes to that.
            None => u64::MAX,
        }
    }

    /// One bit more, if that can be.
    pub(crate) fn harder(self) -> Self {
        Self::new(self.0.saturating_add(1)).unwrap_or(self)
    }

    /// So many bits less; `None` where nothing is left.
    pub(crate) fn easier(self, bits: u32) -> Option<Self> {
        let bits = u32::from(self.0).checked_sub(bits)?;
        u8::try_from(bits).ok().and_then(|bits| Self::new(bits).ok())
    }
}

/// In bits.
impl fmt::Display for PuzzleDifficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A puzzle: for one ClientHello on one connection, so that nobody can solve it beforehand or use its solution twice.
///
/// It is no secret, and neither is its solution. It holds nothing of the connection but a hash, so it can be solved on any thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Puzzle {
    difficulty: PuzzleDifficulty,
    /// What it is for: the SHA-256 of a ClientHello.
    hello: [u8; 32],
    /// What each counter is hashed with.
    start: [u8; 32],
}

impl Puzzle {
    /// `start = SHA-256(lp("countersign v1 puzzle") || lp(nonce) || lp(SHA-256(ClientHello)))`
    ///
    /// Not of the transcript: ends that differ in their prologue are to find that out, and that comes after the puzzle.
    pub(crate) fn new(difficulty: PuzzleDifficulty, nonce: &[u8; limits::NONCE], hello: &[u8]) -> Self {
        let hello: [u8; 32] = Sha256::digest(hello).into();
        Self { difficulty, hello, start: hash_of(&[LABEL, nonce, &hello]) }
    }

    /// From the extensions of a Busy. What is no puzzle is none.
    pub(crate) fn of(extensions: &Extensions<'_>, hello: &[u8]) -> Option<Self> {
        let extension = extensions.iter().find(|extension| extension.number == EXTENSION)?;
        let PuzzleMessage { bits, nonce } = codec::decode(&extension.data).ok()?;
        Some(Self::new(PuzzleDifficulty::new(bits).ok()?, &nonce, hello))
    }

    /// How hard it is.
    pub fn difficulty(&self) -> PuzzleDifficulty {
        self.difficulty
    }

    /// Solves it, here and now: [`PuzzleDifficulty::hashes`] on average, and hardly ever more than twice as many. `go_on` is asked every
    /// few thousand hashes; once it says no, the answer is `None`.
    pub fn solve(&self, mut go_on: impl FnMut() -> bool) -> Option<PuzzleSolution> {
        let mut counters = [0; limits::PUZZLE_COUNTERS];
        let mut tried: u64 = 0;
        for counter in &mut counters {
            while !self.holds(tried) {
                tried = tried.checked_add(1)?;
                if tried.is_multiple_of(LOOK) && !go_on() {
                    return None;
                }
            }
            *counter = tried;
            tried = tried.checked_add(1)?;
        }
        Some(PuzzleSolution { hello: self.hello, counters })
    }

    /// Whether these counters solve it: sixteen hashes.
    pub(crate) fn check(&self, counters: &[u8; limits::SOLUTION]) -> bool {
        let (counters, _) = counters.as_chunks::<8>();
        let is_ascending = counters.is_sorted_by(|one, next| one < next);
        let is_right = is_ascending && counters.iter().all(|counter| self.holds(u64::from_be_bytes(*counter)));
        is_right || lacks(Check::B3)
    }

    /// Whether `SHA-256(start || u64(counter))` begins with as many zero bits as it must.
    fn holds(&self, counter: u64) -> bool {
        // One block of SHA-256: the shortest way for both ends.
        let hash = Sha256::new_with_prefix(self.start).chain_update(counter.to_be_bytes()).finalize();
        let front = hash.first_chunk().map_or(u64::MAX, |front| u64::from_be_bytes(*front));
        front.leading_zeros() >= u32::from(self.difficulty.0)
    }
}

/// The solution of a [`Puzzle`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PuzzleSolution {
    hello: [u8; 32],
    counters: [u64; limits::PUZZLE_COUNTERS],
}

impl PuzzleSolution {
    /// Whether it is of a puzzle for this ClientHello.
    pub(crate) fn is_for(&self, hello: &[u8]) -> bool {
        self.hello == *Sha256::digest(hello)
    }

    /// The counters, as a Solution has them.
    pub(crate) fn to_bytes(&self) -> [u8; limits::SOLUTION] {
        let mut bytes = [0; limits::SOLUTION];
        for (room, counter) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.counters) {
            *room = counter.to_be_bytes();
        }
        bytes
    }
}
