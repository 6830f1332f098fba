//! Suites: a key exchange and an AEAD (PROTOCOL.md, "Suites").

use core::fmt;

/// How the session's secret comes about, beside what RSA delivers. Ordered by what it guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum KeyExchange {
    /// RSA alone: whoever gets the private key later can read recorded sessions and their passwords.
    Rsa = 1,
    /// RSA and ephemeral X25519 (RFC 7748): forward secret.
    X25519 = 2,
    // 3 is set aside for X25519MLKEM768.
}

impl KeyExchange {
    /// Every key exchange, weakest first.
    pub const ALL: [Self; 2] = [Self::Rsa, Self::X25519];

    /// The number on the wire: the high byte of a suite's number, and the tag of a key share.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Whether a recorded session stays unreadable when the server's RSA key leaks later.
    pub const fn is_forward_secret(self) -> bool {
        !matches!(self, Self::Rsa)
    }
}

impl fmt::Display for KeyExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa => "rsa",
            Self::X25519 => "rsa+x25519",
        })
    }
}

/// The authenticated encryption of a suite. Both have 32-byte keys, 12-byte nonces and 16-byte tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Aead {
    /// AES-256 in Galois/Counter Mode (NIST SP 800-38D).
    Aes256Gcm = 1,
    /// ChaCha20-Poly1305 (RFC 8439).
    ChaCha20Poly1305 = 2,
}

impl Aead {
    /// Every AEAD.
    pub const ALL: [Self; 2] = [Self::Aes256Gcm, Self::ChaCha20Poly1305];

    /// The number on the wire: the low byte of a suite's number.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Aead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aes256Gcm => "aes-256-gcm",
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
        })
    }
}

/// A key exchange and an AEAD.
///
/// ```
/// use countersign::Suite;
/// assert_eq!(Suite::X25519_AES_256_GCM.number(), 0x0201);
/// assert_eq!(Suite::from_number(0x0201), Some(Suite::X25519_AES_256_GCM));
/// assert_eq!(Suite::X25519_AES_256_GCM.to_string(), "rsa+x25519/aes-256-gcm");
/// assert_eq!("rsa+x25519/aes-256-gcm".parse(), Ok(Suite::X25519_AES_256_GCM));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Suite {
    /// How the secret comes about.
    pub key_exchange: KeyExchange,
    /// What seals.
    pub aead: Aead,
}

impl Suite {
    /// RSA and X25519, AES-256-GCM.
    pub const X25519_AES_256_GCM: Self = Self { key_exchange: KeyExchange::X25519, aead: Aead::Aes256Gcm };
    /// RSA and X25519, ChaCha20-Poly1305.
    pub const X25519_CHACHA20_POLY1305: Self = Self { key_exchange: KeyExchange::X25519, aead: Aead::ChaCha20Poly1305 };
    /// RSA alone, AES-256-GCM. Not forward secret; never offered unless asked for.
    pub const RSA_AES_256_GCM: Self = Self { key_exchange: KeyExchange::Rsa, aead: Aead::Aes256Gcm };
    /// RSA alone, ChaCha20-Poly1305. Not forward secret; never offered unless asked for.
    pub const RSA_CHACHA20_POLY1305: Self = Self { key_exchange: KeyExchange::Rsa, aead: Aead::ChaCha20Poly1305 };

    /// What both sides offer unless told otherwise: the forward-secret suites.
    pub const DEFAULT: [Self; 2] = [Self::X25519_AES_256_GCM, Self::X25519_CHACHA20_POLY1305];

    /// Every suite, the defaults first.
    pub const ALL: [Self; 4] =
        [Self::X25519_AES_256_GCM, Self::X25519_CHACHA20_POLY1305, Self::RSA_AES_256_GCM, Self::RSA_CHACHA20_POLY1305];

    /// The number on the wire: the key exchange's, then the AEAD's.
    pub const fn number(self) -> u16 {
        u16::from_be_bytes([self.key_exchange.number(), self.aead.number()])
    }

    /// The suite with this number, if this library knows it.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.number() == number)
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.key_exchange, self.aead)
    }
}

impl core::str::FromStr for Suite {
    type Err = ParseSuiteError;

    fn from_str(name: &str) -> Result<Self, ParseSuiteError> {
        Self::ALL.into_iter().find(|suite| suite.to_string() == name).ok_or(ParseSuiteError)
    }
}

/// Text that names no suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a suite: expected rsa+x25519/ or rsa/, and aes-256-gcm or chacha20-poly1305")]
pub struct ParseSuiteError;
