//! Hashes that other programs have made. They are checked, and none is made here: what is stored next is Argon2id.

mod bcrypt;
mod pbkdf2;
mod scrypt;
mod sha_crypt;
mod yescrypt;

use super::MIN_OUTPUT;
use crate::stores::accounts::LineError;
use base64ct::{Base64, Base64ShaCrypt, Base64Unpadded, Encoding};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

macro_rules! formats {
    ($($format:ident: $module:ident),*) => {
        /// What computing a hash costs, and all that it depends on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(in crate::stores::accounts) enum Cost {
            $($format($module::Cost)),*
        }

        impl Cost {
            /// `None` where it is none of these formats.
            pub(super) fn of(text: &str) -> Option<Result<Self, LineError>> {
                $(if $module::is(text) {
                    return Some($module::Cost::of(text).map(Self::$format));
                })*
                None
            }

            pub(super) fn example(&self) -> String {
                match self {
                    $(Self::$format(cost) => cost.example()),*
                }
            }
        }

        pub(super) fn verify(text: &str, password: &[u8]) -> Option<bool> {
            $(if $module::is(text) {
                return $module::verify(text, password);
            })*
            None
        }
    };
}
formats!(Bcrypt: bcrypt, Pbkdf2: pbkdf2, Scrypt: scrypt, ShaCrypt: sha_crypt, Yescrypt: yescrypt);

/// Whether no other password is good where this one is.
pub(super) fn is_exact(text: &str, password: &[u8]) -> bool {
    // HMAC, in PBKDF2 and scrypt, fills up what is short with zeros.
    password.last() != Some(&0) && (!bcrypt::is(text) || bcrypt::is_exact(text, password))
}

/// Longest salt, in bytes. Programs make 8 to 32.
const MAX_SALT: usize = 128;

/// Longest output, in bytes.
const MAX_OUTPUT: usize = 64;

/// Most memory that a hash may take, in bytes: 256 MiB.
const MAX_MEMORY: usize = 256 << 20;

/// Whether the system has that much, as far as it says: what a library asks for itself ends the process where there is none.
fn has_memory(bytes: Option<usize>) -> bool {
    bytes.is_some_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok())
}

/// Longest password that `crypt` takes, in bytes (`CRYPT_MAX_PASSPHRASE_SIZE`, without its zero). No hash of a longer one was made with
/// it; and SHA-crypt takes time by password length: a login with 4096 bytes would cost a hundred times what others do.
const MAX_CRYPT_PASSWORD: usize = 511;

/// A password as a C program takes it; and whether it can be one at all: with a zero byte in it, or longer than that, none was ever
/// hashed. The work is done all the same, on as much as can have been.
fn c_string(password: &[u8]) -> (&[u8], bool) {
    let text = password.get(..MAX_CRYPT_PASSWORD).unwrap_or(password);
    (text, text.len() == password.len() && !password.contains(&0))
}

/// What is stored of a password.
struct Stored {
    salt: Vec<u8>,
    output: Vec<u8>,
}

impl Stored {
    fn new(salt: Option<Vec<u8>>, output: Option<Vec<u8>>) -> Result<Self, LineError> {
        let (Some(salt), Some(output)) = (salt, output) else { return Err(LineError::CutHash) };
        let is_whole = output.len() >= MIN_OUTPUT && !salt.is_empty();
        match salt.len() <= MAX_SALT && output.len() <= MAX_OUTPUT {
            true if is_whole => Ok(Self { salt, output }),
            true => Err(LineError::CutHash),
            false => Err(LineError::Password),
        }
    }

    fn is(&self, compute: impl FnOnce(&[u8], &mut [u8]) -> Option<()>) -> Option<bool> {
        let mut computed = Zeroizing::new(vec![0; self.output.len()]);
        compute(&self.salt, &mut computed)?;
        Some(self.output.ct_eq(&computed).into())
    }
}

/// A number in decimal, as it is written by programs: without a sign or a zero in front.
fn number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

/// Base64 of the common alphabet, without padding.
fn b64(text: &str) -> Option<Vec<u8>> {
    Base64Unpadded::decode_vec(text).ok()
}

/// As Python has it: with padding.
fn padded(text: &str) -> Option<Vec<u8>> {
    Base64::decode_vec(text).ok()
}

/// As `crypt` has it.
fn crypt64(text: &str) -> Option<Vec<u8>> {
    Base64ShaCrypt::decode_vec(text).ok()
}

/// The numbers that `crypt` has for characters, six bits each.
fn crypt_digit(byte: u8) -> Option<u32> {
    let digit = match byte {
        b'.'..=b'9' => byte.checked_sub(b'.')?,
        b'A'..=b'Z' => byte.checked_sub(b'A')?.checked_add(12)?,
        b'a'..=b'z' => byte.checked_sub(b'a')?.checked_add(38)?,
        _ => return None,
    };
    Some(digit.into())
}
