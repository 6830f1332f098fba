//! The private half under a passphrase.

use super::SigningKey;
use crate::crypto::key::encode_pem;
use crate::crypto::{KeyError, SecretString, rng};
use pkcs8::PrivateKeyInfoRef;
use pkcs8::pkcs5::pbes2::Parameters;

impl SigningKey {
    /// A PEM block `ENCRYPTED PRIVATE KEY`, with a final line feed: PBES2 with PBKDF2 (HMAC with SHA-256, 600,000 rounds) and AES-256
    /// in CBC mode (RFC 8018). Not with scrypt: OpenSSL refuses as much memory as would be due. It costs some hundred milliseconds
    /// here and at each reading.
    ///
    /// # Errors
    /// [`KeyError::Provider`] where there is no randomness.
    pub fn to_encrypted_pem(&self, passphrase: &[u8]) -> Result<SecretString, KeyError> {
        let mut rng = rng().map_err(|_| KeyError::Provider)?;
        let info = PrivateKeyInfoRef::try_from(self.pkcs8_der()).map_err(|_| KeyError::NotDer)?;
        let parameters = Parameters::generate_pbkdf2(&mut rng).map_err(|_| KeyError::Provider)?;
        let encrypted = info.encrypt_with_params(parameters, passphrase).map_err(|_| KeyError::Provider)?;
        Ok(SecretString::new(encode_pem("ENCRYPTED PRIVATE KEY", encrypted.as_bytes())))
    }
}
