//! Randomness for whoever does not hand in a generator of their own.

use super::stack::wipe_stack;
use super::{CryptoError, CryptoRng};
use core::convert::Infallible;
use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng, TryCryptoRng, TryRng};
use zeroize::Zeroizing;

/// A generator for the machines and the providers, seeded by the operating system: ChaCha with 12 rounds. The seed is wiped, and
/// so is the generator when it is dropped, with what both have left on the stack.
///
/// # Errors
/// [`CryptoError::Failed`] where the operating system has no randomness to give.
pub fn rng() -> Result<impl CryptoRng + Send, CryptoError> {
    let generator = seeded(&mut SysRng);
    wipe_stack();
    generator.map(Generator)
}

/// On the heap: each move of the generator itself would leave a copy of its state behind. Not inlined, so that [`wipe_stack`] finds what
/// it leaves.
#[inline(never)]
fn seeded(system: &mut impl TryCryptoRng) -> Result<Box<StdRng>, CryptoError> {
    let mut seed = Zeroizing::new([0; 32]);
    system.try_fill_bytes(seed.as_mut_slice()).map_err(|_| CryptoError::Failed)?;
    Ok(Box::new(StdRng::from_seed(*seed)))
}

struct Generator(Box<StdRng>);

impl TryRng for Generator {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill_bytes(out);
        Ok(())
    }
}

impl TryCryptoRng for Generator {}

impl Drop for Generator {
    fn drop(&mut self) {
        // The generator wipes itself after this.
        wipe_stack();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Gives 1, 2, 3, and so on.
    struct Ascending(u8);

    impl TryRng for Ascending {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            Ok(u32::from(self.0))
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            Ok(u64::from(self.0))
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
            for slot in out {
                self.0 = self.0.wrapping_add(1);
                *slot = self.0;
            }
            Ok(())
        }
    }

    impl TryCryptoRng for Ascending {}

    #[test]
    fn all_of_a_seed_is_the_system_s() {
        let mut system = Ascending(0);
        let mut generator = seeded(&mut system).unwrap();
        assert_eq!(system.0, 32);
        let mut same = StdRng::from_seed(core::array::from_fn(|at| u8::try_from(at).unwrap().wrapping_add(1)));
        assert_eq!([(); 4].map(|()| generator.next_u64()), [(); 4].map(|()| same.next_u64()));
    }
}
