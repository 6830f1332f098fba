//! Why bytes are not a key of ours.

/// Bytes that are not a key, or a key that this library refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text has no PEM block.
    #[error("not a PEM file: expected -----BEGIN {expected}-----")]
    NotPem {
        /// The label that was looked for.
        expected: &'static str,
    },
    /// The PEM block is of another kind.
    #[error("the PEM block is a {found}, not a {expected}{}", hint(found))]
    WrongPem {
        /// The label found.
        found: String,
        /// The label that was looked for.
        expected: &'static str,
    },
    /// The DER is malformed, or not the canonical encoding.
    #[error("the key is not valid DER")]
    NotDer,
    /// The key is not an RSA encryption key.
    #[error("not an RSA key: its algorithm is {0}, expected rsaEncryption (1.2.840.113549.1.1.1)")]
    NotRsa(String),
    /// The modulus is too small or too large.
    #[error("the key has {0} bits; accepted are 2048 to 8192")]
    Size(usize),
    /// The modulus is even.
    #[error("the modulus is even")]
    EvenModulus,
    /// The public exponent is even, below 65537, or above 2^33 - 1.
    #[error("the public exponent must be odd, and from 65537 to 2^33 - 1")]
    Exponent,
    /// The parts of the private key do not fit each other.
    #[error("the private key is inconsistent")]
    Inconsistent,
    /// The crypto provider can't use or make the key.
    #[error("the crypto provider can't use or make this key")]
    Provider,
}

impl KeyError {
    /// A word for logs and metrics, such as `key-size`: kebab-case, and the same in every version.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotPem { .. } => "key-not-pem",
            Self::WrongPem { .. } => "key-wrong-pem",
            Self::NotDer => "key-not-der",
            Self::NotRsa(_) => "key-not-rsa",
            Self::Size(_) => "key-size",
            Self::EvenModulus => "key-even-modulus",
            Self::Exponent => "key-exponent",
            Self::Inconsistent => "key-inconsistent",
            Self::Provider => "key-provider",
        }
    }
}

fn hint(found: &str) -> &'static str {
    match found {
        "RSA PRIVATE KEY" => "; convert it with: openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW",
        "ENCRYPTED PRIVATE KEY" => "; decrypt it with: openssl pkcs8 -in OLD -out NEW",
        "RSA PUBLIC KEY" => "; convert it with: openssl rsa -RSAPublicKey_in -in OLD -pubout -out NEW",
        _ => "",
    }
}
