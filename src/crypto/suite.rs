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
    /// RSA, and ephemeral ML-KEM-768 (FIPS 203) and X25519 together: forward secret, and what an observer records today
    /// stays unreadable to a quantum computer later.
    X25519MlKem768 = 3,
}

impl KeyExchange {
    /// Every key exchange, weakest first.
    pub const ALL: [Self; 3] = [Self::Rsa, Self::X25519, Self::X25519MlKem768];

    /// The most groups that a key exchange has.
    pub(crate) const MAX_GROUPS: usize = 2;

    /// The number on the wire: the high byte of a suite's number, and the tag of a key share.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Whether a recorded session stays unreadable when the server's RSA key leaks later.
    pub const fn is_forward_secret(self) -> bool {
        !matches!(self, Self::Rsa)
    }

    /// The groups it runs, in the order in which their shares and secrets are joined; none for RSA alone. The order of
    /// X25519MLKEM768 is that of draft-ietf-tls-ecdhe-mlkem.
    pub const fn groups(self) -> &'static [Group] {
        match self {
            Self::Rsa => &[],
            Self::X25519 => &[Group::X25519],
            Self::X25519MlKem768 => &[Group::MlKem768, Group::X25519],
        }
    }

    /// The size of the client's share in bytes; 0 for RSA alone.
    pub fn client_share(self) -> usize {
        self.groups().iter().map(|group| group.client_share()).sum()
    }

    /// The size of the server's share in bytes; 0 for RSA alone.
    pub fn server_share(self) -> usize {
        self.groups().iter().map(|group| group.server_share()).sum()
    }
}

impl fmt::Display for KeyExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa => "rsa",
            Self::X25519 => "rsa+x25519",
            Self::X25519MlKem768 => "rsa+x25519mlkem768",
        })
    }
}

/// A primitive of which key exchanges are made: one share each way, and a secret of 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Group {
    /// X25519 (RFC 7748).
    X25519,
    /// ML-KEM-768 (FIPS 203): the client sends an encapsulation key, the server a ciphertext.
    MlKem768,
}

impl Group {
    /// The size of the client's share in bytes.
    pub const fn client_share(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::MlKem768 => 1184,
        }
    }

    /// The size of the server's share in bytes.
    pub const fn server_share(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::MlKem768 => 1088,
        }
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
    /// RSA and X25519MLKEM768, AES-256-GCM.
    pub const X25519MLKEM768_AES_256_GCM: Self = Self::of(KeyExchange::X25519MlKem768, Aead::Aes256Gcm);
    /// RSA and X25519MLKEM768, ChaCha20-Poly1305.
    pub const X25519MLKEM768_CHACHA20_POLY1305: Self = Self::of(KeyExchange::X25519MlKem768, Aead::ChaCha20Poly1305);
    /// RSA and X25519, AES-256-GCM.
    pub const X25519_AES_256_GCM: Self = Self::of(KeyExchange::X25519, Aead::Aes256Gcm);
    /// RSA and X25519, ChaCha20-Poly1305.
    pub const X25519_CHACHA20_POLY1305: Self = Self::of(KeyExchange::X25519, Aead::ChaCha20Poly1305);
    /// RSA alone, AES-256-GCM. Not forward secret; never offered unless asked for.
    pub const RSA_AES_256_GCM: Self = Self::of(KeyExchange::Rsa, Aead::Aes256Gcm);
    /// RSA alone, ChaCha20-Poly1305. Not forward secret; never offered unless asked for.
    pub const RSA_CHACHA20_POLY1305: Self = Self::of(KeyExchange::Rsa, Aead::ChaCha20Poly1305);

    /// What both sides offer unless told otherwise, as far as the provider supports them: the forward-secret suites.
    pub const DEFAULT: [Self; 4] = [
        Self::X25519MLKEM768_AES_256_GCM,
        Self::X25519MLKEM768_CHACHA20_POLY1305,
        Self::X25519_AES_256_GCM,
        Self::X25519_CHACHA20_POLY1305,
    ];

    /// Every suite, the defaults first.
    pub const ALL: [Self; 6] = [
        Self::X25519MLKEM768_AES_256_GCM,
        Self::X25519MLKEM768_CHACHA20_POLY1305,
        Self::X25519_AES_256_GCM,
        Self::X25519_CHACHA20_POLY1305,
        Self::RSA_AES_256_GCM,
        Self::RSA_CHACHA20_POLY1305,
    ];

    const fn of(key_exchange: KeyExchange, aead: Aead) -> Self {
        Self { key_exchange, aead }
    }

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
#[error("not a suite: expected rsa+x25519mlkem768/, rsa+x25519/ or rsa/, and aes-256-gcm or chacha20-poly1305")]
pub struct ParseSuiteError;

impl ParseSuiteError {
    /// A word for logs and metrics: kebab-case, and the same in every version.
    pub const fn code(&self) -> &'static str {
        match self {
            Self => "not-a-suite",
        }
    }
}
