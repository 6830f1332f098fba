//! Signature keys as OpenSSL and OpenSSH write them: `tests/keys/signing` has some of each.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::crypto::{Encoded, KeyFile, KeyFileError};
use countersign::{KeyError, PrivateKey, PublicKey, SignatureAlgorithm, SigningKey, VerifyingKey};
use std::fs;
use std::process::Command;
use support::der::{bit_string, integer, pem, sequence, tlv};

fn tool(name: &str) -> Vec<u8> {
    fs::read(format!("{}/tests/keys/signing/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn signing(bytes: &[u8], passphrase: Option<&[u8]>) -> Result<VerifyingKey, KeyFileError> {
    Ok(KeyFile::parse(bytes)?.signing_key(passphrase)?.public_key().clone())
}

fn verifying(bytes: &[u8]) -> Result<Vec<VerifyingKey>, KeyFileError> {
    Ok(KeyFile::parse(bytes)?.verifying_keys()?.into_iter().map(|source| source.key).collect())
}

const KINDS: [(&str, SignatureAlgorithm); 3] = [
    ("ed25519", SignatureAlgorithm::Ed25519),
    ("p256", SignatureAlgorithm::EcdsaP256),
    ("rsa", SignatureAlgorithm::RsaPss),
];

fn public(kind: &str) -> VerifyingKey {
    VerifyingKey::from_pem(&String::from_utf8(tool(&format!("{kind}.pub.pem"))).unwrap()).unwrap()
}

#[test]
fn what_openssl_writes_is_read_with_the_public_half_that_it_has() {
    for (kind, algorithm) in KINDS {
        let (file, public) = (tool(&format!("{kind}.pem")), public(kind));
        assert_eq!(public.algorithm(), algorithm);
        assert_eq!(signing(&file, None), Ok(public.clone()), "{kind}");
        let key = KeyFile::parse(&file).unwrap().signing_key(None).unwrap();
        assert_eq!(signing(key.to_pkcs8_pem().as_bytes(), None), Ok(public.clone()));
        assert_eq!(signing(key.pkcs8_der(), None), Ok(public.clone()), "{kind} in DER");
        assert_eq!(public.to_pem().as_bytes(), tool(&format!("{kind}.pub.pem")), "{kind}");
        assert_eq!(key.to_pkcs8_pem().as_bytes(), file, "{kind}: what is written is what OpenSSL writes");
        assert_eq!(VerifyingKey::from_spki_der(public.spki_der()), Ok(public.clone()));
        assert_eq!(verifying(public.spki_der()), Ok(vec![public]));
    }
    assert_eq!(signing(&tool("p256.sec1.pem"), None), Ok(public("p256")));
    let pkcs1 = include_str!("keys/tools/pkcs1.pem");
    let rsa = SigningKey::from(PrivateKey::from_pem(pkcs1).unwrap());
    assert_eq!(signing(pkcs1.as_bytes(), None), Ok(rsa.public_key().clone()), "as OpenSSL wrote keys of RSA before");
    let with_parameters = signing(&tool("p256-with-parameters.pem"), None).unwrap();
    assert_eq!(with_parameters.algorithm(), SignatureAlgorithm::EcdsaP256);
    let two = [tool("p384.pem"), tool("ed25519.pem")].concat();
    assert_eq!(signing(&two, None), Ok(public("ed25519")), "a key of another kind before it");
}

#[test]
fn pkcs8_of_either_version_is_read_and_a_public_half_that_does_not_fit_refused() {
    let seed = [7; 32];
    let key = SigningKey::from_ed25519(&seed).unwrap();
    let point = key.public_key().spki_der()[12..].to_vec();
    let algorithm = sequence(&[&tlv(6, &[0x2b, 0x65, 0x70])]);
    let inner = tlv(4, &tlv(4, &seed));
    // [1] IMPLICIT BIT STRING (RFC 5958).
    let version_2 = |point: &[u8]| {
        let bits = tlv(0x81, &[&[0], point].concat());
        sequence(&[&integer(&[1]), &algorithm, &inner, &bits])
    };
    assert_eq!(signing(&version_2(&point), None), Ok(key.public_key().clone()));
    let attributes = sequence(&[&integer(&[0]), &algorithm, &inner, &tlv(0xa0, &[])]);
    assert_eq!(signing(&attributes, None), Ok(key.public_key().clone()));
    let mut wrong = point;
    wrong[0] ^= 1;
    let inconsistent = |line| Err(KeyFileError::Key { line, source: KeyError::Inconsistent });
    assert_eq!(signing(&version_2(&wrong), None), inconsistent(0));
    let ec = SigningKey::from_p256(&seed).unwrap();
    let point = ec.public_key().spki_der()[26..].to_vec();
    let curve = tlv(0xa0, &tlv(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]));
    let sec1 = |point: &[u8]| {
        pem("EC PRIVATE KEY", &sequence(&[&integer(&[1]), &tlv(4, &seed), &curve, &tlv(0xa1, &bit_string(point))]))
    };
    assert_eq!(signing(sec1(&point).as_bytes(), None), Ok(ec.public_key().clone()));
    let mut wrong = point;
    wrong[40] ^= 1;
    assert_eq!(signing(sec1(&wrong).as_bytes(), None), inconsistent(1));
    let alone = pem("EC PRIVATE KEY", &sequence(&[&integer(&[1]), &tlv(4, &seed), &curve]));
    assert_eq!(signing(alone.as_bytes(), None), Ok(ec.public_key().clone()));
    for wrong in [[0; 32], [0xff; 32]] {
        let none = pem("EC PRIVATE KEY", &sequence(&[&integer(&[1]), &tlv(4, &wrong), &curve]));
        assert_eq!(signing(none.as_bytes(), None), inconsistent(1));
    }
    let short = sequence(&[&integer(&[0]), &algorithm, &tlv(4, &tlv(4, &seed[1..]))]);
    assert_eq!(signing(&short, None), Err(KeyFileError::Key { line: 0, source: KeyError::NotDer }));
}

#[test]
fn a_key_of_another_kind_is_called_what_it_is() {
    let sentence = |error: KeyFileError| match &error {
        KeyFileError::Key { source, .. } => format!("{error}: {source}"),
        _ => error.to_string(),
    };
    // Where a server's key is wanted.
    let rsa = |name: &str| sentence(KeyFile::parse(&tool(name)).unwrap().private_key(None).unwrap_err());
    for (name, part) in [
        ("ed25519.pem", "its algorithm is Ed25519"),
        ("p256.pem", "its algorithm is elliptic-curve"),
        ("p256.sec1.pem", "this is an elliptic-curve private key; an RSA private key is needed"),
        ("rsa-pss.pem", "an RSASSA-PSS key"),
    ] {
        let said = rsa(name);
        assert!(said.contains(part), "{name}: {said}");
    }
    let error = PublicKey::from_pem(&public("ed25519").to_pem()).unwrap_err();
    assert!(sentence(error).contains("not an RSA key: its algorithm is Ed25519"));
    // Where a key for signatures is.
    for (name, part) in [
        ("p384.pem", "an elliptic-curve key on P-384"),
        ("ed448.pem", "its algorithm is Ed448"),
        ("rsa-pss.pem", "its algorithm is RSASSA-PSS"),
        ("ed25519.pub.pem", "this is a public key; a private key is needed"),
    ] {
        let said = sentence(signing(&tool(name), None).unwrap_err());
        assert!(said.contains(part), "{name}: {said}");
    }
    let said = sentence(verifying(&tool("ed25519.pem")).unwrap_err());
    assert!(said.contains("this is a private key; a public key is needed"), "{said}");
    let said = sentence(verifying(&tool("p256.sec1.pem")).unwrap_err());
    assert!(said.contains("this is an elliptic-curve private key; a public key is needed"), "{said}");
    // Where one of them is.
    let wrong = public("rsa").require(SignatureAlgorithm::Ed25519).unwrap_err();
    assert_eq!(wrong.to_string(), "an RSA key, where an Ed25519 key is wanted");
    let wrong = public("ed25519").require(SignatureAlgorithm::RsaPss).unwrap_err();
    assert_eq!(wrong.to_string(), "an Ed25519 key, where an RSA key is wanted");
    assert_eq!(public("p256").require(SignatureAlgorithm::EcdsaP256), Ok(()));
}

/// What `ssh-keygen -s` makes beside `id_ed25519.pub`, of the same key.
const OPENSSH_CERTIFICATE: &str = "ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAIG9z0BIlDDRYIzdXvLHhXRlrCqWcEFnV1a72OeU1XW5qAAAAIHIw0JsfjCDnS593FO0BZufbn03vu1NxVI4QshZ7Y3e0AAAAAAAAAAAAAAABAAAABHRlc3QAAAAJAAAABWFsaWNlAAAAAAAAAAD//////////wAAAAAAAACCAAAAFXBlcm1pdC1YMTEtZm9yd2FyZGluZwAAAAAAAAAXcGVybWl0LWFnZW50LWZvcndhcmRpbmcAAAAAAAAAFnBlcm1pdC1wb3J0LWZvcndhcmRpbmcAAAAAAAAACnBlcm1pdC1wdHkAAAAAAAAADnBlcm1pdC11c2VyLXJjAAAAAAAAAAAAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIH6CF+o+FUAS2dFrV4PNc1zkoYE8FOU4NBCWN+rpJYxPAAAAUwAAAAtzc2gtZWQyNTUxOQAAAEB08mqXBMOYkYbVjLPAO65MfGqbfpDJiTGAFnz8LY8xUJ40KK18Sh+/bzfhrlrGNbvUGCG4i+fAFH+iUeI4BFUF alice@laptop";

#[test]
fn an_openssh_certificate_is_called_that_and_its_public_key_asked_for() {
    let of_rsa = "ssh-rsa-cert-v01@openssh.com AAAAHHNzaC1yc2EtY2VydC12MDFAb3BlbnNzaC5jb20=";
    for line in [OPENSSH_CERTIFICATE, of_rsa] {
        let error = KeyFileError::Key { line: 1, source: KeyError::OpenSshCertificate };
        assert_eq!(verifying(line.as_bytes()), Err(error.clone()));
        assert_eq!(KeyFile::parse(line.as_bytes()).unwrap().public_keys().unwrap_err(), error);
    }
    #[cfg(feature = "key-formats")]
    {
        use countersign::{AuthorizedKey, AuthorizedKeyError};
        let refused = AuthorizedKey::parse(OPENSSH_CERTIFICATE).unwrap_err();
        assert_eq!(refused, AuthorizedKeyError::Key(KeyError::OpenSshCertificate));
    }
    let said = KeyError::OpenSshCertificate.to_string();
    assert!(said.contains("an OpenSSH certificate") && said.contains("id_ed25519.pub"), "{said}");
}

/// `ssh-keygen -y` reads it, and `openssl pkey` does not.
#[cfg(feature = "key-formats")]
#[test]
fn the_public_half_of_a_private_key_of_openssh_s_is_had_by_a_command_that_reads_it() {
    let error = verifying(&tool("id_ed25519")).unwrap_err();
    assert_eq!(error.to_string(), "line 1: this is an OpenSSH private key; a public key is needed");
    let command = error.cure().unwrap().command("id", "id.pub");
    assert_eq!(command, "ssh-keygen -y -f id > id.pub");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("id");
    fs::write(&path, tool("id_ed25519")).unwrap();
    if Command::new("ssh-keygen").arg("-?").output().is_err() {
        return support::left_out("openssh", "there is no ssh-keygen here");
    }
    let mut made = Command::new("sh");
    assert!(made.args(["-c", &format!("chmod 600 id && {command}")]).current_dir(&folder).status().unwrap().success());
    let made = fs::read(folder.path().join("id.pub")).unwrap();
    assert_eq!(verifying(&made), verifying(&tool("id_ed25519.pub")));
}

/// One in 256 is like that: `ssh-keygen -p -m PKCS8` makes a file of it that is read.
#[cfg(feature = "key-formats")]
#[test]
fn a_key_of_openssh_s_that_is_not_read_for_its_short_number_is_called_that_with_the_way_out() {
    let error = signing(&tool("id_ecdsa.short"), None).unwrap_err();
    assert_eq!(error, KeyFileError::Short { line: 1 });
    let command = error.cure().unwrap().command("id_ecdsa", "id_ecdsa.pkcs8.pem");
    assert_eq!(command, "cp id_ecdsa id_ecdsa.pkcs8.pem && ssh-keygen -p -m PKCS8 -f id_ecdsa.pkcs8.pem");
}

#[test]
fn no_broken_file_makes_it_panic() {
    let mut rng = support::TestRng::new("broken signature keys");
    for name in
        ["ed25519.pem", "p256.pem", "p256.sec1.pem", "id_ed25519", "id_ecdsa", "id_ecdsa.pub", "ed25519.pub.pem"]
    {
        let text = tool(name);
        for _ in 0..500 {
            let mut broken = text.clone();
            for _ in 0..=rng.below(4) {
                let at = rng.below(broken.len());
                match rng.below(3) {
                    0 => broken[at] = rng.below(256) as u8,
                    1 => drop(broken.remove(at)),
                    _ => broken.insert(at, broken[at] ^ (1 << rng.below(8))),
                }
            }
            let _ = (signing(&broken, None).is_ok(), verifying(&broken).is_ok());
        }
    }
    for name in ["ed25519.pem", "p256.pem"] {
        let good = KeyFile::parse(&tool(name)).unwrap().signing_key(None).unwrap().pkcs8_der().to_vec();
        for at in 0..good.len() {
            let mut broken = good.clone();
            broken[at] ^= 1 << rng.below(8);
            if let Ok(key) = SigningKey::from_pkcs8_der(&broken) {
                // Of P-256 the public half is in it, and fits.
                assert!(name == "ed25519.pem", "{at}");
                assert_eq!(SigningKey::from_pkcs8_der(key.pkcs8_der()).unwrap().public_key(), key.public_key());
            }
        }
    }
}

#[cfg(feature = "files")]
#[test]
fn openssl_reads_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    for (name, key) in
        [("ED25519", SigningKey::from_ed25519(&[9; 32]).unwrap()), ("P-256", SigningKey::from_p256(&[9; 32]).unwrap())]
    {
        fs::write(&path, key.to_pkcs8_pem().as_bytes()).unwrap();
        let Ok(public) = Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&path).output() else {
            support::left_out("openssl", "there is no openssl here");
            return;
        };
        assert_eq!(String::from_utf8(public.stdout).unwrap(), key.public_key().to_pem(), "{name}");
    }
}

#[cfg(not(feature = "key-formats"))]
#[test]
fn without_the_feature_more_forms_are_named() {
    for (name, encoded) in [("ed25519.encrypted.pem", Encoded::EncryptedPkcs8), ("id_ed25519", Encoded::OpenSsh)] {
        let error = signing(&tool(name), Some(b"x")).unwrap_err();
        assert_eq!(error, KeyFileError::NotBuiltIn { line: 1, encoded }, "{name}");
    }
    let error = verifying(&tool("id_ed25519.pub")).unwrap_err();
    assert_eq!(error, KeyFileError::NotBuiltIn { line: 1, encoded: Encoded::OpenSshPublic });
}

#[cfg(feature = "key-formats")]
mod formats {
    use super::*;
    use base64ct::{Base64, Encoding};

    #[test]
    fn encrypted_keys_are_opened_by_their_passphrase_alone() {
        let openssl = KINDS.map(|(kind, _)| (format!("{kind}.encrypted.pem"), public(kind)));
        let openssh = ["ed25519", "ecdsa", "rsa"].map(|kind| {
            let public = verifying(&tool(&format!("id_{kind}.pub"))).unwrap().remove(0);
            (format!("id_{kind}.encrypted"), public)
        });
        for (name, public) in openssl.into_iter().chain(openssh) {
            let file = tool(&name);
            assert_eq!(signing(&file, Some(b"x")), Ok(public), "{name}");
            assert_eq!(signing(&file, None), Err(KeyFileError::Encrypted { line: 1 }), "{name}");
            for wrong in [&b""[..], b"X", b"x "] {
                assert_eq!(signing(&file, Some(wrong)), Err(KeyFileError::WrongPassphrase { line: 1 }), "{name}");
            }
        }
        // For a server's key, one of another kind is called what it is when it is open.
        let error = KeyFile::parse(&tool("ed25519.encrypted.pem")).unwrap().private_key(Some(b"x")).unwrap_err();
        assert_eq!(error, KeyFileError::Key { line: 1, source: KeyError::NotRsa("1.3.101.112".to_owned()) });
    }

    /// A passphrase is guessed at the cost of its derivation, against all files at once where they have the same salt.
    #[test]
    fn a_key_is_written_under_a_passphrase_at_the_documented_cost_and_with_fresh_salt() {
        use pkcs8::der::{Decode, Document};
        use pkcs8::pkcs5::pbes2::{EncryptionScheme, Kdf, Pbkdf2Params};
        let key = SigningKey::from_ed25519(&[9; 32]).unwrap();
        let [one, two] = [0, 1].map(|_| {
            let pem = key.to_encrypted_pem(b"correct horse").unwrap();
            assert_eq!(signing(pem.as_bytes(), Some(b"correct horse")), Ok(key.public_key().clone()));
            let (label, der) = Document::from_pem(&pem).unwrap();
            assert_eq!(label, "ENCRYPTED PRIVATE KEY");
            let info = pkcs8::EncryptedPrivateKeyInfoRef::from_der(der.as_bytes()).unwrap();
            let scheme = info.encryption_algorithm.pbes2().unwrap();
            let Kdf::Pbkdf2(kdf) = &scheme.kdf else { panic!("{:?}", scheme.kdf) };
            assert_eq!(kdf.prf, Pbkdf2Params::hmac_sha256(1, b"").unwrap().prf);
            assert!(kdf.iteration_count >= 600_000, "{}", kdf.iteration_count);
            let EncryptionScheme::Aes256Cbc { iv } = &scheme.encryption else { panic!("{:?}", scheme.encryption) };
            assert!(kdf.salt.as_bytes().len() >= 16);
            (kdf.salt.as_bytes().to_vec(), iv.to_vec())
        });
        assert!(one.0 != two.0 && one.1 != two.1, "{one:?} {two:?}");
    }

    #[test]
    fn keys_of_openssh_are_read_and_written_as_it_writes_them() {
        for kind in ["ed25519", "ecdsa", "rsa"] {
            let line = String::from_utf8(tool(&format!("id_{kind}.pub"))).unwrap();
            let keys = KeyFile::parse(line.as_bytes()).unwrap().verifying_keys().unwrap();
            assert_eq!((keys.len(), keys[0].encoded, keys[0].line), (1, Encoded::OpenSshPublic, Some(1)));
            assert_eq!(signing(&tool(&format!("id_{kind}")), None), Ok(keys[0].key.clone()), "{kind}");
            assert_eq!(keys[0].key.to_openssh("alice@laptop"), line.trim());
            assert_eq!(keys[0].key.to_openssh(""), line.trim().trim_end_matches(" alice@laptop"));
            assert_eq!(keys[0].key.to_openssh("alice\n@lap\u{1b}top\n"), line.trim(), "no comment breaks a line");
            // Whatever the form, the same key has the same id.
            assert_eq!(VerifyingKey::from_pem(&keys[0].key.to_pem()).unwrap().id(), keys[0].key.id());
        }
        let both = [tool("id_ed25519.pub"), b"# mine\n\n".to_vec(), tool("id_ecdsa.pub")].concat();
        let keys = KeyFile::parse(&both).unwrap().verifying_keys().unwrap();
        assert_eq!(keys.iter().map(|key| key.line).collect::<Vec<_>>(), [Some(1), Some(4)]);
        let error = verifying(&tool("id_ecdsa384.pub")).unwrap_err();
        assert_eq!(
            error,
            KeyFileError::Key { line: 1, source: KeyError::NotSigning("ecdsa-sha2-nistp384".to_owned()) }
        );
    }

    #[test]
    fn of_certificates_the_first_ones_key_is_taken() {
        for name in ["root-ed25519", "ec", "self"] {
            let file = fs::read(format!("{}/tests/certificates/{name}.pem", env!("CARGO_MANIFEST_DIR"))).unwrap();
            let keys = KeyFile::parse(&[&file[..], &file].concat()).unwrap().verifying_keys().unwrap();
            assert_eq!((keys.len(), keys[0].encoded, keys[0].line), (1, Encoded::Certificate, Some(1)), "{name}");
        }
        let rsa = PublicKey::from_pem(include_str!("keys/tools/good.pub.pem")).unwrap();
        assert_eq!(verifying(include_bytes!("keys/tools/cert.pem")), Ok(vec![VerifyingKey::from(rsa)]));
    }

    /// Nothing authenticates what OpenSSH encrypts: what is altered there is altered by as much when it is decrypted.
    #[test]
    fn a_key_of_openssh_s_that_is_damaged_is_called_short_only_where_it_may_be() {
        let not_taken = KeyFileError::Encryption { line: 1, encoded: Encoded::OpenSsh };
        let not_der = KeyFileError::Key { line: 1, source: KeyError::NotDer };
        let short = || KeyFileError::Short { line: 1 };
        for (name, error) in [
            ("id_ed25519", not_der),
            ("id_ed25519.encrypted", not_taken),
            ("id_ecdsa", short()),
            ("id_ecdsa.encrypted", short()),
        ] {
            let text = String::from_utf8(tool(name)).unwrap();
            let base64: String = text.lines().filter(|line| !line.starts_with('-')).collect();
            let mut bytes = Base64::decode_vec(&base64).unwrap();
            // Behind the magic: cipher, its KDF and that one's options, a count of keys, the public half, and then what is encrypted.
            let string = |at: usize| {
                let len: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
                at + 4 + usize::try_from(u32::from_be_bytes(len)).unwrap()
            };
            let public = string(string(string("openssh-key-v1\0".len()))) + 4;
            // Two numbers that are the same, and then how long the name of the algorithm is.
            let len = string(public) + 4 + 8;
            bytes[len] ^= 0x40;
            let damaged = pem("OPENSSH PRIVATE KEY", &bytes);
            assert_eq!(signing(damaged.as_bytes(), Some(b"x")), Err(error), "{name}");
        }
    }

    #[cfg(all(feature = "files", unix))]
    #[test]
    fn ssh_keygen_reads_what_is_written() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        for key in [SigningKey::from_ed25519(&[9; 32]).unwrap(), SigningKey::from_p256(&[9; 32]).unwrap()] {
            let path = folder.path().join("id.pub");
            let line = key.public_key().to_openssh("made here");
            fs::write(&path, &line).unwrap();
            let Ok(printed) = Command::new("ssh-keygen").args(["-l", "-f"]).arg(&path).output() else {
                support::left_out("openssh", "there is no ssh-keygen here");
                return;
            };
            let printed = String::from_utf8(printed.stdout).unwrap();
            assert!(printed.starts_with("256 SHA256:") && printed.contains("made here"), "{printed}");
            if key.public_key().algorithm() == SignatureAlgorithm::EcdsaP256 {
                let path = folder.path().join("id");
                fs::write(&path, key.to_pkcs8_pem().as_bytes()).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
                let printed = Command::new("ssh-keygen").args(["-y", "-f"]).arg(&path).output().unwrap();
                assert!(line.starts_with(String::from_utf8(printed.stdout).unwrap().trim()), "{line}");
            }
        }
    }
}

#[cfg(all(feature = "files", unix))]
#[test]
fn files_give_signature_keys_and_name_the_file_where_they_do_not() {
    use countersign::files::{self, FileError};
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("id.pem");
    fs::write(&path, tool("ed25519.pem")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(files::read_signing_key(&path), Err(FileError::Exposed { .. })));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(files::read_signing_key(&path).unwrap().public_key(), &public("ed25519"));
    assert!(matches!(files::read_verifying_keys(&path), Err(FileError::Key { .. })));
    fs::write(&path, tool("p256.pub.pem")).unwrap();
    assert_eq!(files::read_verifying_keys(&path).unwrap()[0].key, public("p256"));
    assert!(files::read_signing_key(&path).unwrap_err().to_string().contains("id.pem"));
}
