//! Secrets that leave a function: of a key exchange, as text, and as bytes.

use super::CryptoError;
use core::fmt;
use core::ops::Deref;
use zeroize::Zeroizing;

/// The secret a key exchange gave, up to 64 bytes. Zeroized, never printed.
pub struct SharedSecret {
    bytes: Zeroizing<[u8; 64]>,
    len: usize,
}

impl SharedSecret {
    /// A secret of up to 64 bytes. A group's own has 32; the handshake fails with another.
    ///
    /// # Errors
    /// [`CryptoError::BadKeyShare`] where it is longer.
    pub fn new(secret: &[u8]) -> Result<Self, CryptoError> {
        let mut bytes = Zeroizing::new([0; 64]);
        bytes.get_mut(..secret.len()).ok_or(CryptoError::BadKeyShare)?.copy_from_slice(secret);
        Ok(Self { bytes, len: secret.len() })
    }

    /// `self || other`
    pub(crate) fn append(&mut self, other: &Self) -> Result<(), CryptoError> {
        let end = self.len.saturating_add(other.len);
        let room = self.bytes.get_mut(self.len..end).ok_or(CryptoError::BadKeyShare)?;
        room.copy_from_slice(other.as_bytes());
        self.len = end;
        Ok(())
    }

    /// What the key schedule takes where there is no key exchange: 32 zeros.
    pub(crate) fn none() -> Self {
        Self { bytes: Zeroizing::new([0; 64]), len: 32 }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSecret").finish_non_exhaustive()
    }
}

/// Text that is secret, such as a private key in PEM. Zeroized when dropped, never printed; dereferences to the text.
pub struct SecretString(Zeroizing<String>);

impl SecretString {
    pub(crate) fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for SecretString {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretString").finish_non_exhaustive()
    }
}

/// Bytes that are secret, such as exported ticket keys. Zeroized when dropped, never printed; dereferences to the bytes.
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    pub(crate) fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for SecretBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretBytes").finish_non_exhaustive()
    }
}
