//! Randomness for whoever does not hand in a generator of their own.

use super::{CryptoError, CryptoRng};
use rand::rngs::{StdRng, SysRng};
use rand::{SeedableRng, TryRng};
use zeroize::Zeroizing;

/// A generator for the machines and the providers, seeded by the operating system: ChaCha with 12 rounds. The seed is wiped,
/// and so is the generator when it is dropped.
///
/// # Errors
/// [`CryptoError::Failed`] where the operating system has no randomness to give.
pub fn rng() -> Result<impl CryptoRng + Send, CryptoError> {
    let mut seed = Zeroizing::new([0; 32]);
    SysRng.try_fill_bytes(seed.as_mut_slice()).map_err(|_| CryptoError::Failed)?;
    Ok(StdRng::from_seed(*seed))
}
