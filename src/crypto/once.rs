//! AEAD under a key that seals one message, so that the nonce can be fixed.

use super::{AeadKey, CryptoError};

/// Credential, verdict and ticket keys seal one message each.
const NONCE: [u8; 12] = [0; 12];

/// `AEAD-Seal(key, 0^12, "", plaintext)` in place: `data` is the plaintext and room for the tag.
pub(crate) fn seal(key: &dyn AeadKey, data: &mut [u8]) -> Result<(), CryptoError> {
    let (plaintext, tag) = data.split_last_chunk_mut().ok_or(CryptoError::Failed)?;
    *tag = key.seal(&NONCE, b"", plaintext)?;
    Ok(())
}

/// `AEAD-Open(key, 0^12, "", ciphertext, tag)` in place; gives the plaintext.
pub(crate) fn open<'a>(key: &dyn AeadKey, data: &'a mut [u8]) -> Result<&'a mut [u8], CryptoError> {
    let (ciphertext, tag) = data.split_last_chunk_mut().ok_or(CryptoError::NotAuthentic)?;
    key.open(&NONCE, b"", ciphertext, tag)?;
    Ok(ciphertext)
}
