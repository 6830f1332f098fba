//! The sizes that are generated; more are read.

/// The size of a key to generate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySize {
    /// 2048 bits: about 112 bits of security (NIST SP 800-57 part 1, table 2).
    Rsa2048,
    /// 3072 bits: about 128 bits of security. The default.
    #[default]
    Rsa3072,
    /// 4096 bits.
    Rsa4096,
}

impl KeySize {
    /// The size of the modulus in bits.
    pub const fn bits(self) -> usize {
        match self {
            Self::Rsa2048 => 2048,
            Self::Rsa3072 => 3072,
            Self::Rsa4096 => 4096,
        }
    }
}
