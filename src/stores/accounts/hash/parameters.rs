//! What a new password hash is to cost.

use super::argon2::is_affordable;
use crate::limits;
use crate::stores::accounts::AccountError;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use core::fmt;

/// The parameters of Argon2id (RFC 9106) that a server hashes a new password at. As text, as PHC strings have them: `m=19456,t=2,p=1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HashParameters {
    memory: u32,
    passes: u32,
    lanes: u32,
}

/// 19 MiB, 2 passes, 1 lane: what OWASP recommends.
impl Default for HashParameters {
    fn default() -> Self {
        Self { memory: Params::DEFAULT_M_COST, passes: Params::DEFAULT_T_COST, lanes: Params::DEFAULT_P_COST }
    }
}

impl HashParameters {
    /// So many KiB of memory, passes over it, and lanes: up to 1 GiB, 32 passes and 16 lanes, and 4 GiB of memory times passes, which is what an account may
    /// have. At least 8 KiB for each lane.
    ///
    /// # Errors
    /// [`AccountError::Hashing`].
    pub fn new(memory: u32, passes: u32, lanes: u32) -> Result<Self, AccountError> {
        let parameters = Self { memory, passes, lanes };
        let is_affordable = is_affordable(memory, passes, lanes);
        parameters.params().filter(|_| is_affordable).map(|_| parameters).ok_or(AccountError::Hashing)
    }

    /// Memory in KiB.
    pub const fn memory(self) -> u32 {
        self.memory
    }

    /// Passes over it.
    pub const fn passes(self) -> u32 {
        self.passes
    }

    /// Lanes.
    pub const fn lanes(self) -> u32 {
        self.lanes
    }

    fn params(self) -> Option<Params> {
        Params::new(self.memory, self.passes, self.lanes, None).ok()
    }

    /// A PHC string, with a fresh salt.
    pub(in crate::stores::accounts) fn hash(self, password: &[u8]) -> Result<String, AccountError> {
        if password.is_empty() || password.len() > limits::MAX_SECRET {
            return Err(AccountError::BadPassword);
        }
        let params = self.params().ok_or(AccountError::Hashing)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password(password).map(|phc| phc.to_string()).map_err(|_| AccountError::Hashing)
    }
}

impl fmt::Display for HashParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={},t={},p={}", self.memory, self.passes, self.lanes)
    }
}
