//! What a server keeps of a password that is stretched at the client.

use super::{ParseStretchParametersError, StretchParameters, Stretching, is_realm};
use crate::crypto::hash_secret;
use crate::limits;
use crate::terms::error::codes;
use base64ct::{Base64Unpadded, Encoding};
use core::fmt;
use core::str::FromStr;

/// What a server keeps of a password that is stretched at the client: its SHA-256, with the realm and the parameters. Nobody can log in with
/// it; whoever has it can guess the password, at one Argon2id for each guess.
///
/// As text: `SHA256:base64;m=65536,t=3,p=4;realm=db.example`.
#[derive(Clone, PartialEq, Eq)]
pub struct StretchedHash {
    realm: String,
    parameters: StretchParameters,
    pub(super) hash: [u8; limits::STRETCHED],
}

impl StretchedHash {
    pub(super) fn new(realm: &str, parameters: StretchParameters, hash: [u8; limits::STRETCHED]) -> Self {
        Self { realm: realm.to_owned(), parameters, hash }
    }

    /// `stored = SHA-256(stretched)`
    pub(super) fn digest(value: &[u8; limits::STRETCHED]) -> [u8; limits::STRETCHED] {
        hash_secret(value)
    }

    /// What the password is for.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// What the password was stretched at.
    pub fn parameters(&self) -> StretchParameters {
        self.parameters
    }

    /// Whether a client that is announced this can compute it.
    pub fn is_announced_by(&self, stretching: &Stretching) -> bool {
        stretching.parameters().iter().any(|parameters| self.is_for(stretching, *parameters))
    }

    pub(super) fn is_for(&self, stretching: &Stretching, parameters: StretchParameters) -> bool {
        self.parameters == parameters && self.realm == stretching.realm()
    }
}

impl fmt::Display for StretchedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{};{};realm={}", Base64Unpadded::encode_string(&self.hash), self.parameters, self.realm)
    }
}

/// Prints no hash.
impl fmt::Debug for StretchedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("StretchedHash");
        shown.field("realm", &self.realm).field("parameters", &self.parameters).finish_non_exhaustive()
    }
}

/// Text that is not a [`StretchedHash`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseStretchedHashError {
    /// It does not have the form.
    #[error("not SHA256:BASE64;m=KIB,t=PASSES,p=LANES;realm=REALM")]
    Form,
    /// Its parameters are none.
    #[error(transparent)]
    Parameters(#[from] ParseStretchParametersError),
}

codes!(ParseStretchedHashError {
    Self::Form => "not-a-stretched-hash",
    Self::Parameters(error) => error.code(),
});

impl FromStr for StretchedHash {
    type Err = ParseStretchedHashError;

    fn from_str(text: &str) -> Result<Self, ParseStretchedHashError> {
        let mut parts = text.splitn(3, ';');
        let mut next = |front: &str| parts.next().and_then(|part| part.strip_prefix(front));
        let (hash, parameters, realm) = (next("SHA256:"), next(""), next("realm="));
        let realm = realm.filter(|realm| is_realm(realm)).ok_or(ParseStretchedHashError::Form)?;
        let mut bytes = [0; limits::STRETCHED];
        let decoded = hash.and_then(|hash| Base64Unpadded::decode(hash, &mut bytes).ok());
        if decoded.is_none_or(|decoded| decoded.len() != limits::STRETCHED) {
            return Err(ParseStretchedHashError::Form);
        }
        let parameters = parameters.ok_or(ParseStretchedHashError::Form)?.parse()?;
        Ok(Self::new(realm, parameters, bytes))
    }
}
