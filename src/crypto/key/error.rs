//! Why bytes are not a key of ours.

use crate::limits::{MAX_MODULUS_BITS, MIN_MODULUS_BITS};
use core::fmt;

/// Bytes that are not a key, or a key that this library refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The DER is malformed, or not the canonical encoding.
    #[error("the key is not valid DER")]
    NotDer,
    /// The key is not an RSA encryption key. Has the object identifier of its algorithm.
    #[error("not an RSA key: its algorithm is {}, expected rsaEncryption (1.2.840.113549.1.1.1)", Algorithm(.0))]
    NotRsa(String),
    /// The key is one for RSASSA-PSS signatures alone.
    #[error("an RSASSA-PSS key, which may sign and not decrypt: a plain RSA key (rsaEncryption) is needed")]
    Pss,
    /// The private key has more than two primes.
    #[error("a multi-prime key: only RSA keys of two primes are taken")]
    MultiPrime,
    /// The modulus is too small or too large. Has its size in bits.
    #[error("the key has {0} bits, too {too}: accepted are 2048 to 8192", too = too(*.0))]
    Size(usize),
    /// The modulus is even.
    #[error("the modulus is even")]
    EvenModulus,
    /// The public exponent is even, below 65537, or above 2^33 - 1.
    #[error("the public exponent must be odd, and from 65537 to 2^33 - 1")]
    Exponent,
    /// The key is not one for signatures. Has the object identifier of its algorithm.
    #[error(
        "not a key for signatures that is taken: its algorithm is {}, expected Ed25519, ECDSA on P-256, or RSA (rsaEncryption)",
        Algorithm(.0)
    )]
    NotSigning(String),
    /// It is a certificate of OpenSSH's, as in `id_ed25519-cert.pub`.
    #[error(
        "this is an OpenSSH certificate, and those are not taken: give the public key that it is for, which is in the file \
         without -cert, such as id_ed25519.pub"
    )]
    OpenSshCertificate,
    /// The key is of another elliptic curve than P-256. Has the object identifier of the curve.
    #[error("an elliptic-curve key on {}: of these only keys on P-256 (1.2.840.10045.3.1.7) are taken", Algorithm(.0))]
    Curve(String),
    /// The key is of another algorithm than was wanted.
    #[error("{found}, where {wanted} is wanted")]
    OtherAlgorithm {
        /// What it is: `an Ed25519 key`.
        found: &'static str,
        /// What was wanted.
        wanted: &'static str,
    },
    /// The public key is no point of its curve that can be used.
    #[error("the public key is no point of its curve that can be used: it was damaged, or made to be weak")]
    Point,
    /// The parts of the private key do not fit each other.
    #[error(
        "the private key's numbers do not fit each other (of RSA: modulus, exponents, primes, or the values made of them for \
         the Chinese remainder theorem; of others: the public half): it was damaged or badly made"
    )]
    Inconsistent,
    /// The crypto provider can't use or make the key.
    #[error("the crypto provider can't use or make this key")]
    Provider,
}

impl KeyError {
    /// A word for logs and metrics, such as `key-size`: kebab-case, and the same in every version.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotDer => "key-not-der",
            Self::NotRsa(_) => "key-not-rsa",
            Self::Pss => "key-pss",
            Self::MultiPrime => "key-multi-prime",
            Self::Size(_) => "key-size",
            Self::EvenModulus => "key-even-modulus",
            Self::Exponent => "key-exponent",
            Self::NotSigning(_) => "key-not-signing",
            Self::OpenSshCertificate => "key-openssh-certificate",
            Self::Curve(_) => "key-curve",
            Self::OtherAlgorithm { .. } => "key-other-algorithm",
            Self::Point => "key-point",
            Self::Inconsistent => "key-inconsistent",
            Self::Provider => "key-provider",
        }
    }
}

const fn too(bits: usize) -> &'static str {
    const { assert!(MIN_MODULUS_BITS == 2048 && MAX_MODULUS_BITS == 8192) };
    if bits < MIN_MODULUS_BITS { "few" } else { "many" }
}

/// An object identifier, with its name where people meet it.
struct Algorithm<'a>(&'a str);

impl fmt::Display for Algorithm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            "1.2.840.10045.2.1" => "elliptic-curve",
            "1.2.840.10040.4.1" => "DSA",
            "1.2.840.113549.1.3.1" => "Diffie-Hellman",
            "1.2.840.113549.1.1.7" => "RSAES-OAEP",
            "1.2.840.113549.1.1.10" => "RSASSA-PSS",
            "1.2.840.10045.3.1.7" => "P-256",
            "1.3.132.0.10" => "secp256k1",
            "1.3.132.0.34" => "P-384",
            "1.3.132.0.35" => "P-521",
            "1.3.101.110" => "X25519",
            "1.3.101.111" => "X448",
            "1.3.101.112" => "Ed25519",
            "1.3.101.113" => "Ed448",
            other => return f.write_str(other),
        };
        write!(f, "{name} ({})", self.0)
    }
}
