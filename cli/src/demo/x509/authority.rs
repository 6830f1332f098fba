//! An authority for the demo. For a real one, see docs/certificates.md.

use crate::crypto;
use crate::failure::Failure;
use countersign::{ClientKey, PrivateKey, SigningKey};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyUsagePurpose, PublicKeyData, SerialNumber, SignatureAlgorithm, date_time_ymd,
};

pub(super) struct Authority {
    issuer: Issuer<'static, Signer>,
    der: Vec<u8>,
}

/// A key of Ed25519, with its public half.
struct Signer(ClientKey, Vec<u8>);

/// The public half of a server key.
struct Subject(Vec<u8>);

impl Authority {
    pub(super) fn new(name: &str) -> Result<Self, Failure> {
        let key = ClientKey::load(&SigningKey::generate(crypto::provider())?, crypto::provider())?;
        // What stands last in the SubjectPublicKeyInfo (RFC 8410, section 4).
        let spki = key.public_key().spki_der();
        let signer = Signer(key.clone(), spki.get(spki.len().saturating_sub(32)..).unwrap_or_default().to_vec());
        let mut params = params(name, (2020, 2099), &signer.1);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&signer).map_err(Failure::new)?;
        Ok(Self { der: certificate.der().to_vec(), issuer: Issuer::new(params, signer) })
    }

    /// Its own certificate, in DER.
    pub(super) fn certificate(&self) -> &[u8] {
        &self.der
    }

    /// A certificate for a server, in DER, from the beginning of one year to that of another.
    pub(super) fn issue(&self, name: &str, key: &PrivateKey, years: (i32, i32)) -> Result<Vec<u8>, Failure> {
        // The RSAPublicKey of 2048 bits, behind what every SubjectPublicKeyInfo of such a key begins with.
        const BEFORE: usize = 24;
        let subject = Subject(key.public_key().spki_der().get(BEFORE..).unwrap_or_default().to_vec());
        let mut params = params(name, years, &subject.0);
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().map_err(Failure::new)?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Ok(params.signed_by(&subject, &self.issuer).map_err(Failure::new)?.der().to_vec())
    }
}

fn params(name: &str, (from, to): (i32, i32), key: &[u8]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    params.serial_number = Some(SerialNumber::from(1));
    // Any will do that is the key's.
    params.key_identifier_method = KeyIdMethod::PreSpecified(key.iter().copied().rev().take(20).collect());
    params
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        &self.1
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let failed = |_| rcgen::Error::RemoteKeyError;
        let mut rng = StdRng::try_from_rng(&mut SysRng).map_err(|_| rcgen::Error::RemoteKeyError)?;
        self.0.sign(message, &mut rng).map_err(failed)
    }
}

impl PublicKeyData for Subject {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}
