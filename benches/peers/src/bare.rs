//! One RSA operation with no protocol around it, for scale: the client seals 64 bytes to the server's key with
//! RSA-OAEP-SHA-256, and the server opens them. The keys are loaded before.

use crate::contender::{Contender, Family, KEYS, Row};
use crate::meter::Meter;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey};
use pkcs8::{DecodePrivateKey, SecretDocument};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use rsa::Oaep;
use sha2::Sha256;

/// As long as what a countersign login seals.
const MESSAGE: [u8; 64] = [7; 64];

/// Each crate with each key.
pub fn all() -> Vec<Box<dyn Contender>> {
    KEYS.into_iter()
        .flat_map(|key| [Box::new(AwsLc::new(key)) as Box<dyn Contender>, Box::new(RustCrypto::new(key))])
        .collect()
}

fn row(key: &str, krate: &str) -> Row {
    Row {
        name: format!("bare OAEP-SHA-256 decrypt, {key} ({krate})"),
        family: Family::Bare,
        round_trips: "–",
        authenticates: "–",
        forward_secret: "–",
    }
}

/// aws-lc-rs.
struct AwsLc {
    name: &'static str,
    private: OaepPrivateDecryptingKey,
    public: OaepPublicEncryptingKey,
}

impl AwsLc {
    fn new((name, pem): (&'static str, &str)) -> Self {
        let private = aws_lc_key(pem);
        let public = OaepPublicEncryptingKey::new(private.public_key()).unwrap();
        Self { name, private: OaepPrivateDecryptingKey::new(private).unwrap(), public }
    }
}

/// The private key that stands in this PEM text.
pub fn aws_lc_key(pem: &str) -> PrivateDecryptingKey {
    let (_, der) = SecretDocument::from_pem(pem).unwrap();
    PrivateDecryptingKey::from_pkcs8(der.as_bytes()).unwrap()
}

impl Contender for AwsLc {
    fn row(&self) -> Row {
        row(self.name, "aws-lc-rs")
    }

    fn once(&mut self, meter: &mut Meter) {
        let mut sealed = vec![0; self.public.ciphertext_size()];
        meter.client(|| {
            self.public.encrypt(&OAEP_SHA256_MGF1SHA256, &MESSAGE, &mut sealed, None).unwrap();
        });
        meter.client_sends(&sealed);
        let mut opened = vec![0; self.private.min_output_size()];
        let opened =
            meter.server(|| self.private.decrypt(&OAEP_SHA256_MGF1SHA256, &sealed, &mut opened, None).unwrap());
        assert_eq!(opened, MESSAGE);
    }
}

/// The `rsa` crate, blinded.
struct RustCrypto {
    name: &'static str,
    private: rsa::PrivateKey,
    public: rsa::PublicKey,
    rng: StdRng,
}

impl RustCrypto {
    fn new((name, pem): (&'static str, &str)) -> Self {
        let private = rsa::PrivateKey::from_pkcs8_pem(pem).unwrap();
        Self { name, public: private.to_public_key(), private, rng: StdRng::try_from_rng(&mut SysRng).unwrap() }
    }
}

impl Contender for RustCrypto {
    fn row(&self) -> Row {
        row(self.name, "rsa")
    }

    fn once(&mut self, meter: &mut Meter) {
        let rng = &mut self.rng;
        let sealed = meter.client(|| self.public.encrypt(rng, Oaep::<Sha256>::new(), &MESSAGE).unwrap());
        meter.client_sends(&sealed);
        let opened = meter.server(|| self.private.decrypt_blinded(rng, Oaep::<Sha256>::new(), &sealed).unwrap());
        assert_eq!(opened, MESSAGE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crate_opens_what_the_other_sealed() {
        let (aws, mut rust) = (AwsLc::new(KEYS[0]), RustCrypto::new(KEYS[0]));
        let sealed = rust.public.encrypt(&mut rust.rng, Oaep::<Sha256>::new(), &MESSAGE).unwrap();
        let mut opened = vec![0; 256];
        assert_eq!(aws.private.decrypt(&OAEP_SHA256_MGF1SHA256, &sealed, &mut opened, None).unwrap(), MESSAGE);

        let mut sealed = vec![0; 256];
        aws.public.encrypt(&OAEP_SHA256_MGF1SHA256, &MESSAGE, &mut sealed, None).unwrap();
        assert_eq!(rust.private.decrypt_blinded(&mut rust.rng, Oaep::<Sha256>::new(), &sealed).unwrap(), MESSAGE);
    }
}
