//! yescrypt: `$y$j9T$salt$output`, as /etc/shadow has it on Debian, Ubuntu, Fedora and Arch.

use super::{MAX_MEMORY, c_string, crypt64, has_memory};
use crate::stores::accounts::LineError;
use yescrypt::password_hash::Error;
use yescrypt::{Mode, Params, PasswordVerifier, Yescrypt};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stores::accounts) struct Cost {
    n: u64,
    r: u32,
}

/// The salt's bytes: none has more.
const MAX_SALT: usize = 64;

pub(super) fn is(text: &str) -> bool {
    text.starts_with("$y$")
}

impl Cost {
    pub(super) fn of(text: &str) -> Result<Self, LineError> {
        let mut fields = text.split('$').skip(2);
        let (Some(setting), Some(salt), Some(output), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(LineError::CutHash);
        };
        let read: Params = setting.parse().map_err(|_| LineError::Password)?;
        let cost = Self { n: read.n(), r: read.r() };
        let is_affordable = cost.memory().is_some_and(|memory| memory <= MAX_MEMORY) && cost.n >= 1 << 10;
        let is_salt = crypt64(salt).is_some_and(|salt| (1..=MAX_SALT).contains(&salt.len()));
        // What has another length is not as it was made.
        let is_output = output.len() == 43 && crypt64(output).is_some();
        if output.len() < 43 {
            Err(LineError::CutHash)
        } else if is_affordable && is_salt && is_output && cost.params() == Some(read) {
            Ok(cost)
        } else {
            Err(LineError::Password)
        }
    }

    /// As `crypt` makes them: of the default mode, `p` is 1, and nothing else is set. What else can be set takes time that nothing
    /// here bounds.
    fn params(self) -> Option<Params> {
        Params::new(Mode::default(), self.n, self.r, 1).ok()
    }

    /// In bytes.
    fn memory(self) -> Option<usize> {
        usize::try_from(self.n.checked_mul(self.r.into())?.checked_mul(128)?).ok()
    }

    pub(super) fn example(&self) -> String {
        let params = self.params().map(|params| params.to_string()).unwrap_or_default();
        format!("$y${params}${}${}", ".".repeat(22), ".".repeat(43))
    }
}

/// Compared in constant time by the library, which does not wipe its memory.
pub(super) fn verify(text: &str, password: &[u8]) -> Option<bool> {
    if !has_memory(Cost::of(text).ok()?.memory()) {
        return None;
    }
    let (password, can_be) = c_string(password);
    match Yescrypt::default().verify_password(password, text) {
        Ok(()) => Some(can_be),
        Err(Error::PasswordInvalid) => Some(false),
        Err(_) => None,
    }
}
