//! Argon2 (RFC 9106), as PHC strings: `$argon2id$v=19$m=19456,t=2,p=1$salt$output`.

use super::memory::Memory;
use super::{MIN_OUTPUT, what_else};
use crate::stores::accounts::LineError;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{ARGON2D_IDENT, ARGON2I_IDENT, ARGON2ID_IDENT, Algorithm, Argon2, Params, Version};
use base64ct::{Base64Unpadded, Encoding};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Most memory of a stored hash, in KiB: 1 GiB, half of what RFC 9106 (section 4) recommends first, and too much for a
/// server of many logins already. One line with more would take the server down, and any unknown name may imitate it.
pub(in crate::stores::accounts) const MAX_MEMORY: u32 = 1 << 20;

/// Most passes of a stored hash. The usual recommendations are 1 to 5.
pub(in crate::stores::accounts) const MAX_PASSES: u32 = 32;

/// Most lanes of a stored hash. RFC 9106 recommends 4.
pub(in crate::stores::accounts) const MAX_LANES: u32 = 16;

/// Most memory times passes of a stored hash, in KiB: 4 GiB, a second or a few of one core.
pub(in crate::stores::accounts) const MAX_WORK: u32 = 1 << 22;

/// What computing a hash costs, and all that it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stores::accounts) struct Cost {
    algorithm: Algorithm,
    memory: u32,
    passes: u32,
    lanes: u32,
    version: u32,
    output: usize,
}

/// What it takes to compute a stored hash.
struct Stored {
    hash: PasswordHash,
    algorithm: Algorithm,
    version: Version,
    params: Params,
}

pub(super) fn is(text: &str) -> bool {
    text.starts_with("$argon2")
}

impl Stored {
    fn read(text: &str) -> Result<Self, LineError> {
        let hash = PasswordHash::new(text).map_err(|_| what_else(text))?;
        let algorithm = match hash.algorithm {
            ARGON2ID_IDENT => Algorithm::Argon2id,
            ARGON2I_IDENT if cfg!(feature = "password-formats") => Algorithm::Argon2i,
            ARGON2D_IDENT if cfg!(feature = "password-formats") => Algorithm::Argon2d,
            _ => return Err(what_else(text)),
        };
        if hash.salt.is_none() || hash.hash.as_ref().is_none_or(|output| output.len() < MIN_OUTPUT) {
            return Err(LineError::CutHash);
        }
        let version = match hash.version {
            Some(version) => Version::try_from(version).map_err(|_| LineError::Password)?,
            // What there was before versions were written.
            None => Version::V0x10,
        };
        let params = Params::try_from(&hash).map_err(|_| LineError::Password)?;
        if !params.keyid().is_empty() {
            return Err(LineError::OtherHash("Argon2 with a secret that does not stand in it"));
        }
        let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
        if !is_affordable(memory, passes, lanes) {
            return Err(LineError::Password);
        }
        Ok(Self { hash, algorithm, version, params })
    }
}

impl Cost {
    pub(super) fn of(text: &str) -> Result<Self, LineError> {
        let Stored { hash, algorithm, version, params } = Stored::read(text)?;
        let output = hash.hash.as_ref().map_or(0, Output::len);
        let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
        Ok(Self { algorithm, memory, passes, lanes, version: version.into(), output })
    }

    /// A hash of this cost that no password is known for.
    pub(super) fn example(&self) -> String {
        let Self { algorithm, memory, passes, lanes, version, output } = self;
        let output = vec![0; *output];
        let (salt, output) = (Base64Unpadded::encode_string(b"no stored user"), Base64Unpadded::encode_string(&output));
        format!("${algorithm}$v={version}$m={memory},t={passes},p={lanes}${salt}${output}")
    }

    /// Whether new hashes may still be made like this: Argon2id of the present version, at one of OWASP's settings or above: 46, 19, 12, 9 and
    /// 7 MiB with 1 to 5 passes.
    pub(super) fn is_up_to_date(&self) -> bool {
        let least = match self.passes {
            0 | 1 => 47_104,
            2 => 19_456,
            3 => 12_288,
            4 => 9_216,
            _ => 7_168,
        };
        self.algorithm == Algorithm::Argon2id
            && self.version == u32::from(Version::V0x13)
            && self.memory >= least
            && self.output >= Params::DEFAULT_OUTPUT_LEN
    }
}

/// Argon2id at its defaults: 19 MiB, 2 passes.
impl Default for Cost {
    fn default() -> Self {
        let (memory, passes, lanes) = (Params::DEFAULT_M_COST, Params::DEFAULT_T_COST, Params::DEFAULT_P_COST);
        let (version, output) = (Version::default().into(), Params::DEFAULT_OUTPUT_LEN);
        Self { algorithm: Algorithm::Argon2id, memory, passes, lanes, version, output }
    }
}

/// Whether a server can spend that on a login.
pub(super) fn is_affordable(memory: u32, passes: u32, lanes: u32) -> bool {
    let work = memory.saturating_mul(passes);
    memory <= MAX_MEMORY && passes <= MAX_PASSES && lanes <= MAX_LANES && work <= MAX_WORK
}

pub(super) fn verify(text: &str, password: &[u8]) -> Option<bool> {
    let Stored { hash, algorithm, version, params } = Stored::read(text).ok()?;
    let (salt, stored) = (hash.salt.as_ref()?, hash.hash.as_ref()?);
    let mut computed = Zeroizing::new(vec![0; stored.len()]);
    let mut memory = Memory::take(params.block_count())?;
    let argon2 = Argon2::new(algorithm, version, params);
    argon2.hash_password_into_with_memory(password, salt.as_ref(), &mut computed, memory.blocks()).ok()?;
    Some(stored.as_bytes().ct_eq(&computed).into())
}
