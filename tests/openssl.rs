//! The library beside OpenSSL's command line: each opens what the other has sealed, and verifies what the other has signed. Where there is
//! no `openssl`, these say so and are left out.

#![cfg(all(any(feature = "rustcrypto", feature = "aws-lc"), feature = "files"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::crypto::Provider;
use countersign::{ClientKey, SignatureAlgorithm, SigningKey};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::der::{integer, sequence};
use support::{LOGIN_AT, RSA2048, RSA3072, RSA4096, Scenario, Sent, TestKey, TestRng, at, left_out, sealed};
use tempfile::TempDir;

fn providers() -> Vec<Provider> {
    vec![
        #[cfg(feature = "rustcrypto")]
        countersign::crypto::rustcrypto::provider(),
        #[cfg(feature = "aws-lc")]
        countersign::crypto::aws_lc::provider(),
    ]
}

/// A folder to hand files to `openssl` in.
struct OpenSsl {
    folder: TempDir,
}

impl OpenSsl {
    fn new() -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            left_out("openssl", "there is no openssl here");
            return None;
        }
        Some(Self { folder: tempfile::tempdir().unwrap() })
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// `openssl pkeyutl` with this key and these options: what it writes, or nothing where it says no.
    fn pkeyutl(&self, action: &str, key: &Path, options: &[&str], input: &[u8]) -> Option<Vec<u8>> {
        let input = self.write("input", input);
        let mut command = Command::new("openssl");
        command.args(["pkeyutl", action, "-inkey"]).arg(key).arg("-in").arg(input).current_dir(self.folder.path());
        for option in options {
            // Those with a dash stand alone, the others are for the algorithm.
            if !option.starts_with('-') {
                command.arg("-pkeyopt");
            }
            command.args(option.split(' '));
        }
        let output = command.output().unwrap();
        output.status.success().then_some(output.stdout)
    }
}

const OAEP: [&str; 3] = ["rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256"];

#[test]
fn openssl_opens_what_is_sealed_in_a_login_and_what_it_seals_anew_is_opened() {
    let Some(openssl) = OpenSsl::new() else { return };
    for (key, scenario) in in_every_size() {
        let pem = openssl.write("server.pem", key.pem);
        for provider in providers() {
            let Sent { login, server, .. } = scenario.await_verdict();
            let open = sealed(server.read(login, at(LOGIN_AT)).unwrap());
            let secret = openssl.pkeyutl("-decrypt", &pem, &OAEP, open.ciphertext()).unwrap();
            assert_eq!(secret.len(), 64);
            // Sealed once more, with a seed of OpenSSL's own: the login opens just the same.
            let again = openssl.pkeyutl("-encrypt", &pem, &OAEP, &secret).unwrap();
            assert_ne!(again, open.ciphertext());
            let loaded = provider.rsa.load_key(&key.private).unwrap();
            let opened = loaded.decrypt(&again, &mut TestRng::new("blinding"));
            assert_eq!(open.answer(opened).credential().user(), Some("alice"), "{}", provider.name);
        }
    }
}

#[test]
fn what_openssl_seals_with_other_parameters_is_not_opened() {
    let Some(openssl) = OpenSsl::new() else { return };
    let pem = openssl.write("server.pem", RSA2048.pem);
    let others: [&[&str]; 5] = [
        &["rsa_padding_mode:oaep"],
        &["rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha1"],
        &["rsa_padding_mode:oaep", "rsa_oaep_md:sha384", "rsa_mgf1_md:sha384"],
        &["rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256", "rsa_oaep_label:00"],
        &["rsa_padding_mode:pkcs1"],
    ];
    for provider in providers() {
        for other in others {
            let Sent { login, server, .. } = Scenario::new().await_verdict();
            let open = sealed(server.read(login, at(LOGIN_AT)).unwrap());
            let secret = openssl.pkeyutl("-decrypt", &pem, &OAEP, open.ciphertext()).unwrap();
            let again = openssl.pkeyutl("-encrypt", &pem, other, &secret).unwrap();
            let loaded = provider.rsa.load_key(&RSA2048.private).unwrap();
            let opened = loaded.decrypt(&again, &mut TestRng::new("blinding"));
            assert_eq!(open.answer(opened).credential().user(), Some(""), "a stand-in: {other:?}");
        }
    }
}

fn in_every_size() -> [(&'static TestKey, Scenario); 3] {
    [&*RSA2048, &RSA3072, &RSA4096].map(|key| (key, Scenario::new().key(key)))
}

const MESSAGE: &[u8] = b"what a client's key signs";

/// The options of `pkeyutl` that make signatures as PROTOCOL.md has them.
fn options(algorithm: SignatureAlgorithm) -> &'static [&'static str] {
    match algorithm {
        SignatureAlgorithm::RsaPss => {
            &["-rawin", "-digest sha256", "rsa_padding_mode:pss", "rsa_pss_saltlen:32", "rsa_mgf1_md:sha256"]
        }
        SignatureAlgorithm::EcdsaP256 => &["-rawin", "-digest sha256"],
        _ => &["-rawin"],
    }
}

/// As OpenSSL writes a signature of ECDSA, from r and s: a SEQUENCE of two INTEGERs (RFC 3279, section 2.2.3).
fn ecdsa_der(signature: &[u8]) -> Vec<u8> {
    sequence(&[&integer(&signature[..32]), &integer(&signature[32..])])
}

/// And back: the INTEGERs are short, so each length is one byte.
fn ecdsa_raw(der: &[u8]) -> Vec<u8> {
    let (r, s) = (&der[4..4 + usize::from(der[3])], &der[4 + usize::from(der[3])..]);
    [r, &s[2..]].iter().flat_map(|number| padded(number)).collect()
}

fn padded(number: &[u8]) -> [u8; 32] {
    let number = &number[number.len().saturating_sub(32)..];
    let mut out = [0; 32];
    out[32 - number.len()..].copy_from_slice(number);
    out
}

#[test]
fn openssl_verifies_the_signatures_made_here_and_its_own_are_verified() {
    let Some(openssl) = OpenSsl::new() else { return };
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys/signing");
    for name in ["ed25519.pem", "p256.pem", "rsa.pem"] {
        let path = keys.join(name);
        let key = SigningKey::from_pem(&fs::read_to_string(&path).unwrap()).unwrap();
        let (public, algorithm) = (key.public_key(), key.public_key().algorithm());
        let is_ecdsa = algorithm == SignatureAlgorithm::EcdsaP256;
        let public_pem = openssl.write("public.pem", public.to_pem());
        for provider in providers() {
            let is = format!("{} {name}", provider.name);
            let client = ClientKey::load(&key, provider).unwrap();
            let ours = client.sign(MESSAGE, &mut TestRng::new("signature")).unwrap();
            let ours = if is_ecdsa { ecdsa_der(&ours) } else { ours };
            openssl.write("signature", ours);
            let verify = [&["-pubin", "-sigfile signature"][..], options(algorithm)].concat();
            assert!(openssl.pkeyutl("-verify", &public_pem, &verify, MESSAGE).is_some(), "{is}");
            assert!(openssl.pkeyutl("-verify", &public_pem, &verify, b"something else").is_none(), "{is}");

            let theirs = openssl.pkeyutl("-sign", &path, options(algorithm), MESSAGE).unwrap();
            let theirs = if is_ecdsa { ecdsa_raw(&theirs) } else { theirs };
            assert_eq!(theirs.len(), public.signature_len(), "{is}");
            assert_eq!(provider.verify(public, MESSAGE, &theirs), Ok(()), "{is}");
            assert!(provider.verify(public, b"something else", &theirs).is_err(), "{is}");
        }
    }
}

/// A salt of another length is a signature to OpenSSL, and none here.
#[test]
fn rsa_pss_signatures_of_openssl_with_another_salt_are_refused() {
    let Some(openssl) = OpenSsl::new() else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys/signing/rsa.pem");
    let key = SigningKey::from_pem(&fs::read_to_string(&path).unwrap()).unwrap();
    for salt in ["0", "20", "31", "33", "max"] {
        let salt = format!("rsa_pss_saltlen:{salt}");
        let options = ["-rawin", "-digest sha256", "rsa_padding_mode:pss", &salt];
        let signature = openssl.pkeyutl("-sign", &path, &options, MESSAGE).unwrap();
        for provider in providers() {
            assert!(provider.verify(key.public_key(), MESSAGE, &signature).is_err(), "{} {salt}", provider.name);
        }
    }
}
