//! Keys as tools write them. `tests/keys/tools` has one key in the clothes of many; the rest is made of it here.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::crypto::{Cure, Encoded, KeyFile, KeyFileError, Provider};
use countersign::{KeyError, KeyId, PrivateKey, PublicKey, ServerKey};
use std::fs;
use support::der::{Numbers, algorithm, bit_string, integer, pem, sequence, tlv};
use support::{OTHER2048, RSA2048};

fn tool(name: &str) -> Vec<u8> {
    fs::read(format!("{}/tests/keys/tools/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn good() -> KeyId {
    "SHA256:P5+WhS2XpoLS95lrAqrejzTQ027HYYU4B+Qf3kf8Drc".parse().unwrap()
}

fn providers() -> Vec<Provider> {
    vec![
        #[cfg(feature = "rustcrypto")]
        countersign::crypto::rustcrypto::provider(),
        #[cfg(feature = "aws-lc")]
        countersign::crypto::aws_lc::provider(),
    ]
}

/// The key that a file holds, as every provider loads it.
fn private(bytes: &[u8], passphrase: Option<&[u8]>) -> Result<KeyId, KeyFileError> {
    let key = KeyFile::parse(bytes)?.private_key(passphrase)?;
    let load = |provider: Provider| ServerKey::load(&key, provider).map(|key| key.public_key().id());
    let loaded: Vec<Result<KeyId, KeyError>> = providers().into_iter().map(load).collect();
    assert!(loaded.iter().all(|of| of == &loaded[0]), "the providers disagree: {loaded:?}");
    loaded[0].clone().map_err(|source| KeyFileError::Key { line: 0, source })
}

fn public(bytes: &[u8]) -> Result<Vec<KeyId>, KeyFileError> {
    Ok(KeyFile::parse(bytes)?.public_keys()?.iter().map(|source| source.key.id()).collect())
}

fn good_pem() -> String {
    String::from_utf8(tool("good.pem")).unwrap()
}

#[test]
fn a_private_key_is_read_in_whatever_clothes() {
    for name in ["good.pem", "oneline.pem", "latin1-attributes.pem", "cert-then-key.pem", "noparams.pem", "pkcs1.pem"] {
        assert_eq!(private(&tool(name), None), Ok(good()), "{name}");
    }
    let pem = good_pem();
    let (lines, pkcs1) = (pem.lines().collect::<Vec<_>>(), String::from_utf8(tool("pkcs1.pem")).unwrap());
    let base64 = lines[1..lines.len() - 1].concat();
    let wide: Vec<&str> = base64.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    for (name, text) in [
        ("Windows", pem.replace('\n', "\r\n")),
        ("old Macs", pem.replace('\n', "\r")),
        ("a byte order mark", format!("\u{feff}{pem}")),
        ("76 columns", format!("{}\n{}\n{}", lines[0], wide.join("\n"), lines[lines.len() - 1])),
        ("one line", pem.trim().replace('\n', " ")),
        ("an environment file", pem.trim().replace('\n', "\\n")),
        ("indented", lines.iter().map(|line| format!("    {line}\t\n")).collect()),
        ("blank lines", pem.replace('\n', "\n\n")),
        ("no padding", pem.replace('=', "")),
        ("headers", pem.replacen('\n', "\nfriendlyName: a key\n\n", 1)),
        ("base64 alone", base64),
        ("a label of PKCS#8 over PKCS#1", pkcs1.replace("RSA PRIVATE", "PRIVATE")),
        ("a label of PKCS#1 over PKCS#8", pem.replace("PRIVATE", "RSA PRIVATE")),
        ("another key behind it", pem.clone() + OTHER2048.pem),
        ("a cut key behind it", pem.clone() + lines[0]),
        ("words that look like a marker", format!("-----BEGIN \n-----BEGIN of a story\n{pem}-----BEGIN")),
        ("a file without a last line feed before it", format!("{}{pem}", PUBLIC_ALONE.trim())),
    ] {
        assert_eq!(private(text.as_bytes(), None), Ok(good()), "{name}");
    }
    let other = pem_of_ec() + &pem;
    assert_eq!(private(other.as_bytes(), None), Ok(good()), "a key of another algorithm before it");
    let der = KeyFile::parse(pem.as_bytes()).unwrap().private_key(None).unwrap().pkcs8_der().to_vec();
    assert_eq!(private(&der, None), Ok(good()));
    assert_eq!(private(&[&der[..], b"\n"].concat(), None), Ok(good()));
    // The form has no influence on what comes of it.
    assert_eq!(PrivateKey::from_pem(&pkcs1).unwrap().pkcs8_der(), der);
}

const PUBLIC_ALONE: &str = "-----BEGIN X-----\nAAAA\n-----END X-----\n";

fn pem_of_ec() -> String {
    pem("EC PRIVATE KEY", &sequence(&[&integer(&[1]), &tlv(4, &[7; 32])]))
}

#[test]
fn public_keys_are_read_in_whatever_clothes_and_all_of_them_count() {
    for name in ["good.pub.pem", "trailing-spaces.pub.pem", "good.pub.der"] {
        assert_eq!(public(&tool(name)), Ok(vec![good()]), "{name}");
    }
    let two = public(&tool("two-other-first.pub.pem")).unwrap();
    assert_eq!((two.len(), two[1]), (2, good()));
    let text = String::from_utf8(tool("good.pub.pem")).unwrap();
    assert_eq!(public(text.replace("PUBLIC", "RSA PUBLIC").as_bytes()), Ok(vec![good()]));
    let key = PublicKey::from_pem(&text).unwrap();
    let inner = sequence(&[&integer(key.modulus()), &integer(&[1, 0, 1])]);
    let pkcs1 = pem("RSA PUBLIC KEY", &inner);
    assert_eq!(public(pkcs1.as_bytes()), Ok(vec![good()]));
    let without_null = sequence(&[&algorithm(support::der::RSA_OID, &[]), &bit_string(&inner)]);
    assert_eq!(public(&without_null), Ok(vec![good()]));
    assert_eq!(PublicKey::from_pem(&pem("PUBLIC KEY", &without_null)).unwrap().spki_der(), key.spki_der());
    // One that can't be used is not passed over: whoever put it there counts on it.
    let broken = text.clone() + &pem("PUBLIC KEY", &[0x30, 0]);
    assert_eq!(public(broken.as_bytes()), Err(KeyFileError::Key { line: 10, source: KeyError::NotDer }));
}

#[test]
fn what_is_refused_says_where_and_what() {
    let cut = good_pem();
    let cut = &cut[..cut.len() / 2];
    let star = good_pem().replacen("MII", "M*I", 1);
    let mixed = good_pem().replace("END PRIVATE", "END PUBLIC");
    let twice = format!("-----BEGIN PRIVATE KEY-----\n{}", good_pem());
    let label = || "PRIVATE KEY".to_owned();
    for (text, error) in [
        (String::new(), KeyFileError::Empty),
        (" \n\t".to_owned(), KeyFileError::Empty),
        (" ".repeat((1 << 20) + 1), KeyFileError::TooLong),
        (cut.to_owned(), KeyFileError::Unfinished { label: label(), line: 1, last: cut.lines().count() }),
        (star, KeyFileError::BadBase64 { line: 2 }),
        (mixed, KeyFileError::Unfinished { label: label(), line: 1, last: 28 }),
        (twice, KeyFileError::Unfinished { label: label(), line: 1, last: 2 }),
        (
            good_pem().replace("KEY-----\nMII", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMII"),
            KeyFileError::OldEncryption { line: 1 },
        ),
    ] {
        assert_eq!(private(text.as_bytes(), None), Err(error), "{:.80}", text);
    }
    let of_a_terminal = PUBLIC_ALONE.replace('X', "\u{1b}[2JX Y");
    for (text, found) in [
        (&tool("good.pub.pem")[..], "a public key"),
        (pem_of_ec().as_bytes(), "an elliptic-curve private key"),
        (PUBLIC_ALONE.as_bytes(), "a PEM block X"),
        (of_a_terminal.as_bytes(), "a PEM block [2JX Y"),
    ] {
        match private(text, None) {
            Err(KeyFileError::Wrong { line: 1, found: said, .. }) => assert_eq!(said, found),
            other => panic!("{other:?}"),
        }
    }
    let error = public(&tool("good.pem")).unwrap_err();
    assert_eq!(error.to_string(), "line 1: this is a private key; a public key is needed");
    assert_eq!(error.cure(), Some(Cure::PublicHalf));
    // A command is named only where it makes a key of what is there.
    let request = pem("CERTIFICATE REQUEST", &[0x30, 0]);
    assert_eq!(public(request.as_bytes()).unwrap_err().cure(), Some(Cure::OfRequest));
    assert_eq!(public(PUBLIC_ALONE.as_bytes()).unwrap_err().cure(), None);
    for (encoded, cure) in [
        (Encoded::Certificate, Cure::OfCertificate),
        (Encoded::OpenSshPublic, Cure::FromOpenSshPublic),
        (Encoded::OpenSsh, Cure::FromOpenSsh),
        (Encoded::EncryptedPkcs8, Cure::ToPkcs8),
    ] {
        assert_eq!(KeyFileError::NotBuiltIn { line: 1, encoded }.cure(), Some(cure), "{encoded}");
    }
}

#[test]
fn each_key_that_is_no_good_has_its_own_sentence() {
    let refused = |bytes: &[u8]| match private(bytes, None) {
        Err(KeyFileError::Key { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&tool("multiprime.pem")), KeyError::MultiPrime);
    let error = public(&tool("rsa16384.pub.pem")).unwrap_err();
    assert_eq!(error, KeyFileError::Key { line: 1, source: KeyError::Size(16384) });
    let numbers = Numbers::of(RSA2048.pem).pkcs1();
    let pss = support::der::pkcs8(&algorithm(support::der::PSS_OID, &[]), &numbers);
    assert_eq!(refused(&pss), KeyError::Pss);
    let mut small = Numbers::of(RSA2048.pem);
    small.0[0] = support::der::modulus(1024);
    assert_eq!(refused(&small.pkcs8()), KeyError::Size(1024));
    for crt in 5..8 {
        let mut wrong = Numbers::of(RSA2048.pem);
        let last = wrong.0[crt].len() - 1;
        wrong.0[crt][last] ^= 2;
        assert_eq!(refused(pem("RSA PRIVATE KEY", &wrong.pkcs1()).as_bytes()), KeyError::Inconsistent, "{crt}");
    }
    let sentences = [
        KeyError::MultiPrime,
        KeyError::Pss,
        KeyError::Inconsistent,
        KeyError::Size(1024),
        KeyError::Size(16384),
        KeyError::Exponent,
    ]
    .map(|error| error.to_string());
    for (index, sentence) in sentences.iter().enumerate() {
        assert!(!sentences[..index].contains(sentence), "{sentence}");
    }
}

#[test]
fn what_is_no_key_is_called_what_it_is() {
    for (bytes, part, cure) in [
        (&b"\xff\xfe-\0-\0"[..], "UTF-16", Some(Cure::FromUtf16)),
        (b"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", "RFC 4716", Some(Cure::FromSsh2)),
        (b"PuTTY-User-Key-File-3: ssh-rsa\n", "PuTTY", Some(Cure::FromPutty)),
        (&sequence(&[&integer(&[3]), &sequence(&[]), &sequence(&[])]), "PKCS#12", Some(Cure::FromPkcs12)),
        (&sequence(&[&integer(&[1]), &tlv(4, &[7; 32])]), "elliptic-curve", None),
        (b"{\"kty\": \"RSA\"}", "JSON Web Key", None),
        (b"SHA256:47DEQpj8HBSa", "fingerprint", None),
        (b"alice $argon2id$v=19$", "accounts", None),
        (b"----BEGIN PRIVATE KEY-----", "five dashes", None),
        ("\u{2014}\u{2013}BEGIN PUBLIC KEY\u{2014}\u{2013}".as_bytes(), "five dashes", None),
        (b"LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0K", "Kubernetes", Some(Cure::FromBase64)),
        (b"<RSAKeyValue>", ".NET", None),
        (b"<!doctype html>", "web page", None),
        (b"\xfe\xed\xfe\xed\0\0\0\x02", "Java keystore", None),
        (b"hello AAAAB3NzaC1yc2EAAAADAQABAAABgQ==", "text", None),
        (b"\x1f\x8b\x08", "compressed", None),
        (b"\x7fELF", "program", None),
        (b"caf\xe9", "text", None),
        (b"\x01\x02\xff", "binary", None),
    ] {
        let error = KeyFile::parse(bytes).unwrap_err();
        assert!(error.to_string().contains(part), "{part} is missing in: {error}");
        assert_eq!(error.cure(), cure, "{part}");
    }
}

#[test]
fn no_text_makes_it_panic() {
    let look = |bytes: &[u8]| {
        if let Ok(file) = KeyFile::parse(bytes) {
            let _ = (file.needs_passphrase(), file.has_private_key(), file.public_keys().is_ok());
            let _ = file.private_key(None);
        }
    };
    let mut rng = support::TestRng::new("broken key files");
    let names = [
        "good.pem",
        "openssh.pem",
        "cert.pem",
        "openssh.pub",
        "encrypted-pkcs8.pem",
        "good.pub.der",
        "encrypted-openssh.pem",
    ];
    for text in names.map(tool) {
        for cut in (0..text.len()).step_by(7) {
            look(&text[..cut]);
            look(&text[cut..]);
            look(&[&text[..cut], b"-----END ", &text[cut..]].concat());
        }
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
            look(&broken);
        }
    }
    // Nor does any take long: each byte is looked at a few times.
    for part in [
        "-----BEGIN A-----",
        "-----BEGIN A-----\n",
        "-----BEGIN A----------END A-----\n",
        "-----BEGIN \n",
        "ssh-rsa AAAA\n",
    ] {
        look(&part.repeat((1 << 20) / part.len()).into_bytes());
    }
    // And what the base64 holds: a private key whose every byte is changed in turn.
    let der = KeyFile::parse(&tool("good.pem")).unwrap().private_key(None).unwrap().pkcs8_der().to_vec();
    for at in 0..der.len() {
        let mut broken = der.clone();
        broken[at] ^= 1 << rng.below(8);
        look(&broken);
    }
}

#[cfg(not(feature = "key-formats"))]
#[test]
fn without_the_feature_more_forms_are_named_with_the_way_to_convert_them() {
    for (name, cure) in [("encrypted-pkcs8.pem", Cure::ToPkcs8), ("openssh.pem", Cure::FromOpenSsh)] {
        assert_eq!(private(&tool(name), Some(b"x")).unwrap_err().cure(), Some(cure), "{name}");
    }
    for (name, cure) in [("cert.pem", Cure::OfCertificate), ("openssh.pub", Cure::FromOpenSshPublic)] {
        assert_eq!(public(&tool(name)).unwrap_err().cure(), Some(cure), "{name}");
    }
}

#[cfg(feature = "key-formats")]
mod formats {
    use super::*;
    use base64ct::{Base64, Encoding};

    #[test]
    fn encrypted_keys_are_opened_by_their_passphrase_alone() {
        for (name, passphrase) in [
            ("encrypted-pkcs8.pem", &b"x"[..]),
            ("encrypted-scrypt.pem", b"x"),
            ("encrypted-des3-sha1.pem", b"x"),
            ("encrypted-openssh.pem", b"secret"),
        ] {
            let bytes = tool(name);
            assert!(KeyFile::parse(&bytes).unwrap().needs_passphrase(), "{name}");
            assert_eq!(private(&bytes, Some(passphrase)), Ok(good()), "{name}");
            // A key of another algorithm before it is no reason not to ask.
            let after_other = [pem_of_ec().as_bytes(), &bytes].concat();
            assert!(KeyFile::parse(&after_other).unwrap().needs_passphrase(), "{name}");
            assert_eq!(private(&bytes, None), Err(KeyFileError::Encrypted { line: 1 }), "{name}");
            for wrong in [&b""[..], b"X", b"x ", &[0xff; 64]] {
                assert_eq!(private(&bytes, Some(wrong)), Err(KeyFileError::WrongPassphrase { line: 1 }), "{name}");
            }
        }
        for name in ["good.pem", "openssh.pem", "cert.pem"] {
            assert!(!KeyFile::parse(&tool(name)).unwrap().needs_passphrase(), "{name}");
        }
        let old = private(&tool("encrypted-pbes1.pem"), Some(b"x")).unwrap_err();
        assert_eq!(
            (old.clone(), old.cure()),
            (KeyFileError::Encryption { line: 1, encoded: Encoded::EncryptedPkcs8 }, Some(Cure::ToPkcs8))
        );
    }

    #[test]
    fn no_file_can_ask_for_more_work_than_a_person_waits_for() {
        // hmacWithSHA256, AES-256-CBC, as `encrypted-pkcs8.pem` has them.
        let oid = |arcs: &[u8]| tlv(6, arcs);
        let pkcs5 = |last: u8| oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, last]);
        let prf = sequence(&[&oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09]), support::der::NULL]);
        let aes = sequence(&[&oid(&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a]), &tlv(4, &[7; 16])]);
        let derived = |kdf: &[u8], parameters: &[u8]| {
            let kdf = sequence(&[kdf, parameters]);
            sequence(&[&sequence(&[&pkcs5(13), &sequence(&[&kdf, &aes])]), &tlv(4, &[0; 32])])
        };
        let number = |number: u32| integer(&number.to_be_bytes());
        let pbkdf2 = |iterations| derived(&pkcs5(12), &sequence(&[&tlv(4, &[1; 8]), &number(iterations), &prf]));
        let scrypt = |n, r, p| {
            let parameters = sequence(&[&tlv(4, &[1; 8]), &number(n), &number(r), &number(p)]);
            derived(&oid(&[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x04, 0x0b]), &parameters)
        };
        // The rounds stand behind 16 bytes of salt.
        let bcrypt = |rounds: u32| {
            let text = String::from_utf8(tool("encrypted-openssh.pem")).unwrap();
            let base64: String = text.lines().filter(|line| !line.starts_with('-')).collect();
            let mut bytes = Base64::decode_vec(&base64).unwrap();
            let at = bytes.windows(10).position(|window| window == b"bcrypt\0\0\0\x18").unwrap() + 10 + 4 + 16;
            bytes[at..at + 4].copy_from_slice(&rounds.to_be_bytes());
            pem("OPENSSH PRIVATE KEY", &bytes)
        };
        let cases = [
            (pbkdf2(20_000_001), pbkdf2(20_000_000)),
            (pbkdf2(0x7fff_ffff), pbkdf2(1)),
            (scrypt(1 << 20, 8, 2), scrypt(1 << 20, 8, 1)),
            (scrypt(1 << 17, 8, 9), scrypt(1 << 17, 8, 8)),
            (scrypt(2, 0xffff, 0xffff), scrypt(2, 8, 1)),
            (bcrypt(2001).into_bytes(), bcrypt(2000).into_bytes()),
            (bcrypt(u32::MAX).into_bytes(), bcrypt(16).into_bytes()),
        ];
        // Nobody is even asked for a passphrase, without which nothing is computed.
        let found = cases.map(|(too_much, enough)| [private(&too_much, None), private(&enough, None)]);
        let expected =
            |line, encoded| [Err(KeyFileError::Encryption { line, encoded }), Err(KeyFileError::Encrypted { line })];
        let (pkcs8, openssh) = (expected(0, Encoded::EncryptedPkcs8), expected(1, Encoded::OpenSsh));
        let expected = [&pkcs8, &pkcs8, &pkcs8, &pkcs8, &pkcs8, &openssh, &openssh].map(Clone::clone);
        assert_eq!(found, expected);
        assert_eq!(private(&pbkdf2(8), Some(b"x")), Err(KeyFileError::WrongPassphrase { line: 0 }));
        // None at all, or what scrypt can't have, is no way to open one either.
        for nonsense in [scrypt(0, 8, 1), scrypt(3, 8, 1), scrypt(16, 0, 1), scrypt(16, 8, 0)] {
            let error = KeyFileError::Encryption { line: 0, encoded: Encoded::EncryptedPkcs8 };
            assert_eq!(private(&nonsense, Some(b"x")), Err(error));
        }
    }

    #[test]
    fn keys_of_openssh_are_read() {
        assert_eq!(private(&tool("openssh.pem"), None), Ok(good()));
        let line = String::from_utf8(tool("openssh.pub")).unwrap();
        assert_eq!(public(line.as_bytes()), Ok(vec![good()]));
        assert_eq!(public(format!("# mine\n\n{line}{line}").as_bytes()), Ok(vec![good(), good()]));
        // Not of every machine that somebody has ever been on, least of all by keys that are revoked.
        for hosts in [format!("db.example,192.0.2.1 {line}"), format!("@revoked * {line}")] {
            let error = public(hosts.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("known_hosts"), "{error}");
        }
        let ed25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me\n";
        let error = KeyFileError::Key { line: 1, source: KeyError::NotRsa("ssh-ed25519".to_owned()) };
        assert_eq!(public(ed25519.as_bytes()), Err(error));
        let cut = KeyFileError::Key { line: 1, source: KeyError::NotDer };
        assert_eq!(public(&line.as_bytes()[..100]), Err(cut));
    }

    #[test]
    fn of_certificates_the_first_ones_key_is_taken() {
        let chain = [tool("cert.pem"), tool("cert.pem")].concat();
        for (bytes, line) in [(tool("cert.pem"), Some(1)), (chain, Some(1))] {
            let sources = KeyFile::parse(&bytes).unwrap().public_keys().unwrap();
            assert_eq!(sources.len(), 1);
            assert_eq!(sources[0].encoded, Encoded::Certificate);
            assert_eq!((sources[0].key.id(), sources[0].line), (good(), line));
        }
        // In base64 alone, or in DER, the label does not say what it is.
        let text = String::from_utf8(tool("cert.pem")).unwrap();
        let base64: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let sources = KeyFile::parse(base64.as_bytes()).unwrap().public_keys().unwrap();
        assert_eq!((sources[0].encoded, sources[0].key.id()), (Encoded::Certificate, good()));
        // A key of its own beside it counts, too.
        let both = [tool("two-other-first.pub.pem"), tool("cert.pem")].concat();
        assert_eq!(public(&both).unwrap().len(), 3);
    }
}

#[cfg(all(unix, feature = "files"))]
mod on_disk {
    use super::*;
    use countersign::files::{self, FileError, shell_quoted};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_pipe_that_nobody_writes_to_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = files::read_private_key(&pipe).unwrap_err();
        assert!(matches!(error, FileError::Silent { .. }), "{error}");
    }

    #[test]
    fn a_pipe_is_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let writer = {
            let pipe = pipe.clone();
            std::thread::spawn(move || fs::write(pipe, tool("good.pem")))
        };
        assert_eq!(files::read_private_key(&pipe).unwrap().public_key().id(), good());
        writer.join().unwrap().unwrap();
    }

    /// Sizes and exponents that people choose, and that libraries treat in their own ways.
    #[test]
    fn the_providers_agree_on_keys_that_openssl_makes() {
        let folder = tempfile::tempdir().unwrap();
        for (bits, exponent) in [("2049", "65537"), ("2055", "65537"), ("2056", "65539"), ("3000", "4294967297")] {
            let options = [format!("rsa_keygen_bits:{bits}"), format!("rsa_keygen_pubexp:{exponent}")];
            let path = folder.path().join(bits);
            let mut openssl = std::process::Command::new("openssl");
            openssl.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", &options[0], "-pkeyopt", &options[1], "-out"]);
            match openssl.arg(&path).output() {
                Ok(made) if made.status.success() => {
                    let loaded = private(&fs::read(&path).unwrap(), None);
                    assert!(loaded.is_ok(), "{bits} bits, {exponent}: {loaded:?}");
                }
                made => {
                    assert!(made.is_err(), "{made:?}");
                    return support::left_out("openssl", "there is no openssl here");
                }
            }
        }
    }

    #[test]
    fn devices_and_other_things_end_too() {
        let error = files::read_private_key("/dev/null").unwrap_err();
        assert!(matches!(error, FileError::Key { source: KeyFileError::Empty, .. }), "{error}");
        let error = files::read_private_key("/dev/zero").unwrap_err();
        assert!(matches!(error, FileError::Key { source: KeyFileError::TooLong, .. }), "{error}");
    }

    #[test]
    fn a_remedy_is_quoted_and_writes_over_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("the server's.pem");
        fs::write(&path, tool("good.pem")).unwrap();
        let error = files::read_public_keys(&path).unwrap_err();
        let run = |command: &str| std::process::Command::new("sh").args(["-c", command]).output().unwrap();
        if run("openssl version").status.success() {
            for name in ["the server's.pub.pem", "the server's-2.pub.pem"] {
                let remedy = error.remedy().unwrap();
                assert!(run(&remedy).status.success(), "{remedy}");
                assert_eq!(public(&fs::read(folder.path().join(name)).unwrap()), Ok(vec![good()]));
            }
            assert_eq!(fs::read(&path).unwrap(), tool("good.pem"));
        } else {
            support::left_out("openssl", "there is no openssl here");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let exposed = files::read_private_key(&path).unwrap_err();
        let remedy = exposed.remedy().unwrap();
        assert!(remedy.starts_with("chmod 600 ") && run(&remedy).status.success(), "{remedy}");
        files::read_private_key(&path).unwrap();
        for path in ["a\nb", "a\u{1b}[2Jb"] {
            assert_eq!(shell_quoted(path), None);
        }
        assert_eq!(shell_quoted("-x").as_deref(), Some("./-x"));
    }

    #[test]
    fn a_secret_is_the_first_line_of_a_file_that_others_can_t_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        for (content, secret) in [("x", "x"), ("x\n", "x"), ("x y \r\nz\n", "x y "), ("", "")] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert_eq!(files::read_secret(&path).unwrap().as_slice(), secret.as_bytes());
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(files::read_secret(&path), Err(FileError::Exposed { .. })));
    }
}
