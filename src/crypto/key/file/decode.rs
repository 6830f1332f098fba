//! The forms that take more than the RSA crates' own: encrypted PKCS#8, OpenSSH, certificates.

use super::super::{KeyError, PrivateKey, PublicKey};
use super::Encoded;
use super::error::KeyFileError;
use crate::crypto::sign::{SigningKey, VerifyingKey};
use crypto_bigint::{BoxedUint, NonZero};
use pkcs1::RsaPrivateKey;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::asn1::UintRef;
use pkcs8::der::{Decode, Encode, SecretDocument};
use pkcs8::pkcs5::pbes2::Kdf;
use ssh_key::private::{EcdsaKeypair, KeypairData, RsaKeypair};
use ssh_key::public::KeyData;
use x509_cert::certificate::{CertificateInner, Raw};
use zeroize::{Zeroize, Zeroizing};

// What a file may ask for to turn a passphrase into a key: some ten seconds, or 1 GiB. `ssh-keygen -a` and `openssl pkcs8 -iter`
// set them; the defaults are 16 or 24, 2048, and 16 MiB.
const MAX_BCRYPT_ROUNDS: u32 = 2000;
const MAX_PBKDF2_ITERATIONS: u32 = 20_000_000;
const MAX_SCRYPT_BYTES: u64 = 1 << 30;

pub(super) fn private_key(
    encoded: Encoded,
    bytes: &[u8],
    passphrase: Option<&[u8]>,
    line: usize,
) -> Result<PrivateKey, KeyFileError> {
    let bad = |source| KeyFileError::Key { line, source };
    match encoded {
        Encoded::EncryptedPkcs8 => encrypted_pkcs8(bytes, passphrase, line, PrivateKey::from_any_pkcs8_der),
        _ => {
            let key = openssh(bytes, passphrase, line)?;
            match key.key_data() {
                KeypairData::Rsa(pair) => of_rsa_pair(pair).map_err(bad),
                _ => Err(bad(KeyError::NotRsa(key.algorithm().to_string()))),
            }
        }
    }
}

pub(super) fn signing_key(
    encoded: Encoded,
    bytes: &[u8],
    passphrase: Option<&[u8]>,
    line: usize,
) -> Result<SigningKey, KeyFileError> {
    match encoded {
        Encoded::EncryptedPkcs8 => encrypted_pkcs8(bytes, passphrase, line, SigningKey::from_pkcs8_der),
        _ => of_pair(&openssh(bytes, passphrase, line)?).map_err(|source| KeyFileError::Key { line, source }),
    }
}

pub(super) fn public_key(encoded: Encoded, bytes: &[u8], line: usize) -> Result<PublicKey, KeyFileError> {
    let key = match encoded {
        Encoded::Certificate => PublicKey::from_any_spki_der(&of_certificate(bytes, line)?),
        _ => of_ssh_blob(bytes),
    };
    key.map_err(|source| KeyFileError::Key { line, source })
}

pub(super) fn verifying_key(encoded: Encoded, bytes: &[u8], line: usize) -> Result<VerifyingKey, KeyFileError> {
    let key = match encoded {
        Encoded::Certificate => VerifyingKey::from_any_spki_der(&of_certificate(bytes, line)?),
        _ => VerifyingKey::from_openssh_blob(bytes),
    };
    key.map_err(|source| KeyFileError::Key { line, source })
}

fn encrypted_pkcs8<K>(
    bytes: &[u8],
    passphrase: Option<&[u8]>,
    line: usize,
    read: impl Fn(&[u8]) -> Result<K, KeyError>,
) -> Result<K, KeyFileError> {
    let not_taken = || KeyFileError::Encryption { line, encoded: Encoded::EncryptedPkcs8 };
    let encrypted = EncryptedPrivateKeyInfoRef::from_der(bytes).map_err(|_| not_taken())?;
    let scheme = &encrypted.encryption_algorithm;
    let cost_is_taken = match &scheme.pbes2().ok_or(not_taken())?.kdf {
        Kdf::Pbkdf2(pbkdf2) => pbkdf2.iteration_count <= MAX_PBKDF2_ITERATIONS,
        Kdf::Scrypt(scrypt) => {
            let blocks = u64::from(scrypt.block_size).saturating_mul(scrypt.parallelization.into());
            // The crate panics at a cost of 0.
            scrypt.cost_parameter.is_power_of_two()
                && scrypt.cost_parameter.saturating_mul(blocks).saturating_mul(128) <= MAX_SCRYPT_BYTES
        }
        _ => false,
    };
    if !cost_is_taken {
        return Err(not_taken());
    }
    let passphrase = passphrase.ok_or(KeyFileError::Encrypted { line })?;
    let mut plain = Zeroizing::new(encrypted.encrypted_data.as_bytes().to_vec());
    let der = scheme.decrypt_in_place(passphrase, &mut plain).map_err(|error| match error {
        pkcs8::pkcs5::Error::DecryptFailed => KeyFileError::WrongPassphrase { line },
        _ => not_taken(),
    })?;
    // By chance the padding may be right where the passphrase is wrong: then this is no DER.
    read(der).map_err(|source| match source {
        KeyError::NotDer => KeyFileError::WrongPassphrase { line },
        source => KeyFileError::Key { line, source },
    })
}

/// A private key in OpenSSH's own form, decrypted.
fn openssh(bytes: &[u8], passphrase: Option<&[u8]>, line: usize) -> Result<ssh_key::PrivateKey, KeyFileError> {
    let bad = |source| KeyFileError::Key { line, source };
    let not_taken = || KeyFileError::Encryption { line, encoded: Encoded::OpenSsh };
    let key = ssh_key::PrivateKey::from_bytes(bytes).map_err(|error| match error {
        // The crate expects all 32 bytes of the number.
        ssh_key::Error::Encoding(_) if is_ecdsa(bytes) => KeyFileError::Short { line },
        // Where the crate does not know the algorithm, that is no error, but a key of another kind.
        _ => bad(KeyError::NotDer),
    })?;
    if !key.is_encrypted() {
        return Ok(key);
    }
    if let ssh_key::Kdf::Bcrypt { rounds, .. } = key.kdf()
        && *rounds > MAX_BCRYPT_ROUNDS
    {
        return Err(not_taken());
    }
    let passphrase = passphrase.ok_or(KeyFileError::Encrypted { line })?;
    key.decrypt(passphrase).map_err(|error| match error {
        ssh_key::Error::Crypto => KeyFileError::WrongPassphrase { line },
        ssh_key::Error::Encoding(_) if is_ecdsa(bytes) => KeyFileError::Short { line },
        _ => not_taken(),
    })
}

fn is_ecdsa(bytes: &[u8]) -> bool {
    bytes.windows(19).any(|window| window == b"ecdsa-sha2-nistp256")
}

/// Checks that the public half is that of the private one.
fn of_pair(key: &ssh_key::PrivateKey) -> Result<SigningKey, KeyError> {
    match key.key_data() {
        KeypairData::Ed25519(pair) => {
            let seed = Zeroizing::new(pair.private.to_bytes());
            SigningKey::from_ed25519(&seed)?.with_stated(&pair.public.0)
        }
        KeypairData::Ecdsa(pair @ EcdsaKeypair::NistP256 { private, .. }) => {
            let scalar = private.as_slice().try_into().map_err(|_| KeyError::Inconsistent)?;
            SigningKey::from_p256(scalar)?.with_stated(pair.public_key_bytes())
        }
        KeypairData::Rsa(pair) => of_rsa_pair(pair).map(SigningKey::from),
        _ => Err(KeyError::NotSigning(key.algorithm().to_string())),
    }
}

fn of_rsa_pair(pair: &RsaKeypair) -> Result<PrivateKey, KeyError> {
    let der = pkcs1(pair).ok_or(KeyError::Inconsistent)?;
    PrivateKey::from_pkcs1_der(der.as_bytes())
}

/// RSAPrivateKey of a pair: OpenSSH leaves out d mod (p - 1) and d mod (q - 1).
fn pkcs1(pair: &RsaKeypair) -> Option<SecretDocument> {
    let (public, private) = (pair.public(), pair.private());
    let bytes = |number: &'_ ssh_key::Mpint| number.as_positive_bytes().map(|bytes| Zeroizing::new(bytes.to_vec()));
    let [n, e, d] = [bytes(public.n())?, bytes(public.e())?, bytes(private.d())?];
    let [p, q, coefficient] = [bytes(private.p())?, bytes(private.q())?, bytes(private.iqmp())?];
    let (dp, dq) = (exponent(&d, &p)?, exponent(&d, &q)?);
    let number = |bytes| UintRef::new(bytes).ok();
    let key = RsaPrivateKey {
        modulus: number(&n)?,
        public_exponent: number(&e)?,
        private_exponent: number(&d)?,
        prime1: number(&p)?,
        prime2: number(&q)?,
        exponent1: number(&dp)?,
        exponent2: number(&dq)?,
        coefficient: number(&coefficient)?,
        other_prime_infos: None,
    };
    SecretDocument::encode_msg(&key).ok()
}

/// `d mod (prime - 1)`, in constant time.
fn exponent(d: &[u8], prime: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // No modulus that is taken is longer; what is longer takes no time here.
    let fits = d.len().max(prime.len()) <= crate::limits::MAX_MODULUS_BITS / 8;
    let (d, prime) = fits.then_some((d, prime))?;
    let d = Zeroizing::new(BoxedUint::from_be_slice_vartime(d));
    let prime = Zeroizing::new(BoxedUint::from_be_slice_vartime(prime));
    let divisor: Option<NonZero<BoxedUint>> = NonZero::new(prime.wrapping_sub(BoxedUint::one())).into_option();
    let divisor = Zeroizing::new(divisor?);
    // The quotient, too, leads to the prime.
    let (mut quotient, mut rest) = d.div_rem(&*divisor);
    let bytes = Zeroizing::new(rest.to_be_bytes().into_vec());
    quotient.zeroize();
    rest.zeroize();
    Some(bytes)
}

fn of_ssh_blob(bytes: &[u8]) -> Result<PublicKey, KeyError> {
    match ssh_key::PublicKey::from_bytes(bytes).map_err(|_| KeyError::NotDer)?.key_data() {
        KeyData::Rsa(key) => of_ssh_rsa(key),
        other => Err(KeyError::NotRsa(other.algorithm().to_string())),
    }
}

pub(in crate::crypto) fn of_ssh_rsa(key: &ssh_key::public::RsaPublicKey) -> Result<PublicKey, KeyError> {
    match (key.n().as_positive_bytes(), key.e().as_positive_bytes()) {
        (Some(modulus), Some(exponent)) => PublicKey::from_parts(modulus, exponent),
        _ => Err(KeyError::NotDer),
    }
}

/// The SubjectPublicKeyInfo of a certificate, and nothing else: what more it says is not looked at, so no rule of it is checked.
fn of_certificate(der: &[u8], line: usize) -> Result<Vec<u8>, KeyFileError> {
    let bad = |_| KeyFileError::Key { line, source: KeyError::NotDer };
    let certificate = CertificateInner::<Raw>::from_der(der).map_err(bad)?;
    certificate.tbs_certificate().subject_public_key_info().to_der().map_err(bad)
}
