//! Secrets on their way to and from files and people: base64, what a passphrase has opened, tokens and codes as they are issued and typed.

use super::{LEFT, PASSWORD, RSA2048, freed_by};
#[cfg(feature = "accounts")]
use base64ct::Encoding as _;
use countersign::PrivateKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::traits::PrivateKeyParts;
use std::hint::black_box;

fn count(freed: &[u8], mark: &[u8]) -> usize {
    freed.windows(mark.len()).filter(|window| *window == mark).count()
}

/// That none of these stands in what was freed.
fn stands_nowhere(what: &str, freed: &[u8], marks: &[&[u8]]) {
    for (number, mark) in marks.iter().enumerate() {
        let found = count(freed, mark);
        if found > 0 {
            LEFT.lock().unwrap().push(format!("{what}, mark {number}: {found} times"));
        }
    }
}

/// Sixteen bytes of each of a private key's secret numbers, and of two in the middle of its base64.
fn marks_of(pem: &str) -> Vec<Vec<u8>> {
    let key = PrivateKey::from_pem(pem).unwrap();
    let private = rsa::PrivateKey::from_pkcs8_der(key.pkcs8_der()).unwrap();
    let numbers = [
        Some(private.d()),
        private.primes().first().map(|p| &**p),
        private.primes().last().map(|q| &**q),
        private.dp(),
        private.dq(),
    ];
    let mut marks: Vec<Vec<u8>> =
        numbers.map(|number| number.unwrap().to_be_bytes()[8..24].to_vec()).into_iter().collect();
    // What is computed on the way to the exponents of OpenSSH's keys, and leads to a prime, too.
    #[cfg(feature = "key-formats")]
    for prime in private.primes() {
        let less = crypto_bigint::NonZero::new(prime.wrapping_sub(rsa::BoxedUint::one())).unwrap();
        marks.push(private.d().div_rem(&less).0.to_be_bytes()[136..152].to_vec());
    }
    // As they stand in memory to be computed with.
    marks.extend(marks.clone().into_iter().map(|mark| mark.into_iter().rev().collect()));
    let lines: Vec<&str> = pem.lines().filter(|line| line.len() == 64).collect();
    // Within d and within a prime, in lines of 48 bytes.
    marks.extend([9, 13].map(|line: usize| lines[line].as_bytes()[8..24].to_vec()));
    marks
}

pub(super) fn over_key_files() {
    assert_eq!(
        count(&freed_by(|| drop(black_box(PASSWORD.to_vec()))).1, PASSWORD),
        1,
        "does it see what it looks for?"
    );
    let marks = marks_of(RSA2048.pem);
    let text = marks.last().unwrap();
    assert_eq!(count(&freed_by(|| drop(black_box(RSA2048.pem.to_owned()))).1, text), 1, "what is looked for");
    let marks: Vec<&[u8]> = marks.iter().map(Vec::as_slice).collect();
    let (_, freed) = freed_by(|| drop(PrivateKey::from_pem(RSA2048.pem).unwrap().to_pem()));
    stands_nowhere("a private key as text", &freed, &marks);
    #[cfg(feature = "files")]
    {
        use std::io::Write;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(RSA2048.pem.as_bytes()).unwrap();
        let (_, freed) = freed_by(|| drop(countersign::files::read_private_key(file.path()).unwrap()));
        stands_nowhere("a private key's file", &freed, &marks);
    }
    #[cfg(feature = "key-formats")]
    {
        use countersign::SigningKey;
        use countersign::crypto::KeyFile;
        let marks = marks_of(include_str!("../keys/tools/good.pem"));
        let marks: Vec<&[u8]> = marks.iter().map(Vec::as_slice).collect();
        for (what, text, passphrase) in [
            ("encrypted", include_str!("../keys/tools/encrypted-pkcs8.pem"), Some(&b"x"[..])),
            ("OpenSSH's", include_str!("../keys/tools/openssh.pem"), None),
            ("OpenSSH's, encrypted", include_str!("../keys/tools/encrypted-openssh.pem"), Some(b"secret")),
        ] {
            let file = KeyFile::parse(text.as_bytes()).unwrap();
            let (_, freed) = freed_by(|| drop(file.private_key(passphrase).unwrap()));
            stands_nowhere(what, &freed, &marks);
        }
        let (key, freed) = freed_by(|| SigningKey::generate(super::provider()).unwrap());
        let countersign::crypto::SigningParts::Ed25519(seed) = key.parts() else { panic!("it is of Ed25519") };
        stands_nowhere("a signature key that is made", &freed, &[&seed[..16]]);
        let seed = b"a seed that is 32 bytes of text!";
        let key = SigningKey::from_ed25519(seed).unwrap();
        let (_, freed) = freed_by(|| drop(key.to_encrypted_pem(b"correct horse").unwrap()));
        stands_nowhere("a key that is encrypted", &freed, &[&seed[..16]]);
        for (what, text, passphrase) in [
            ("OpenSSH's of Ed25519", include_str!("../keys/signing/id_ed25519"), None),
            ("the same, encrypted", include_str!("../keys/signing/id_ed25519.encrypted"), Some(&b"x"[..])),
            ("OpenSSH's of P-256", include_str!("../keys/signing/id_ecdsa"), None),
        ] {
            let file = KeyFile::parse(text.as_bytes()).unwrap();
            let key = file.signing_key(passphrase).unwrap();
            let secret: &[u8] = match key.parts() {
                countersign::crypto::SigningParts::Ed25519(secret)
                | countersign::crypto::SigningParts::EcdsaP256(secret) => secret,
                _ => panic!("it is of a curve"),
            };
            let (_, freed) = freed_by(|| drop(file.signing_key(passphrase).unwrap()));
            stands_nowhere(what, &freed, &[&secret[..16]]);
        }
    }
}

#[cfg(feature = "accounts")]
pub(super) fn over_accounts() {
    use base64ct::{Base64UrlUnpadded, Encoding};
    use countersign::UnixTime;
    use countersign::accounts::{Account, Accounts, TotpCheck, TotpSecret};
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    let (token, freed) = freed_by(|| accounts.edit("alice", Account::issue_token).unwrap());
    let made_of = Base64UrlUnpadded::decode_vec(token.strip_prefix("cst_").unwrap()).unwrap();
    stands_nowhere("a token", &freed, &[&token.as_bytes()[token.len() - 16..], &made_of[..16]]);

    let (secret, freed) = freed_by(|| TotpSecret::generate().unwrap());
    let base32 = secret.to_base32();
    let raw = totp_rs::Secret::try_from_base32(base32.as_str()).unwrap();
    // In groups of eight letters, too.
    let marks = [&base32.as_bytes()[..8], &raw.as_bytes()[..16]];
    stands_nowhere("an authenticator's secret", &freed, &marks);
    let (_, freed) = freed_by(|| {
        drop(secret.to_base32());
        drop(secret.url("db.example", "alice"));
        drop(secret.url(&"the server of ".repeat(20), "alice"));
        drop(TotpSecret::parse(&base32).unwrap());
        drop(secret.clone());
    });
    stands_nowhere("an authenticator's secret as text", &freed, &marks);

    // Another authenticator's need not be whole groups of base32.
    for length in [16, 17, 33] {
        let raw: Vec<u8> = (7..).take(length).collect();
        let text = TotpSecret::parse(&encoded(&raw)).unwrap().to_base32();
        assert_eq!(text.as_str(), encoded(&raw));
        let (_, freed) = freed_by(|| drop(TotpSecret::parse(&text).unwrap().to_base32()));
        stands_nowhere("another secret", &freed, &[&text.as_bytes()[..8], &raw[..16]]);
    }

    accounts
        .edit("alice", |account| {
            account.set_totp(&secret);
            Ok(())
        })
        .unwrap();
    let (codes, freed) = freed_by(|| accounts.edit("alice", Account::issue_recovery_codes).unwrap());
    for code in &codes {
        // As it is issued, as it is compared, and as what it is made of.
        let letters = code.replace('-', "");
        let upper = letters.to_uppercase();
        let made_of = totp_rs::Secret::try_from_base32(upper.as_str()).unwrap();
        let marks = [code.as_bytes(), letters.as_bytes(), upper.as_bytes(), made_of.as_bytes()];
        stands_nowhere("a recovery code", &freed, &marks.map(|mark| &mark[..8]));
    }

    let (start, later) = (UnixTime::from_secs(1_800_000_000), UnixTime::from_secs(1_800_000_060));
    let check = TotpCheck::new(start);
    let code = secret.code(later);
    let typed = format!("{} {}", &code[..3], &code[3..]);
    let (verdict, freed) = freed_by(|| check.verify("alice", &secret, typed.as_bytes(), later));
    assert_eq!(verdict, Ok(()));
    stands_nowhere("a code that was typed", &freed, &[code.as_bytes()]);
    let (_, freed) = freed_by(|| drop(secret.code(later)));
    stands_nowhere("a code that is shown", &freed, &[code.as_bytes()]);

    over_an_account_file(&base32);
    over_hashes();

    #[cfg(feature = "password-formats")]
    {
        use sha2::{Digest, Sha256};
        let hash = format!("bcrypt_sha256$$2b$04${}", ".".repeat(53));
        let hex = hex::encode(Sha256::digest(PASSWORD));
        let passwords = countersign::accounts::PasswordCheck::new();
        let (verdict, freed) = freed_by(|| passwords.verify("alice", PASSWORD, Some(&hash)));
        assert_eq!(verdict, Err(countersign::Reason::WrongPassword));
        stands_nowhere("a password for Django's bcrypt", &freed, &[&hex.as_bytes()[..16], PASSWORD]);
    }
}

/// A file with an authenticator's secret in front of many lines, as it is read, edited and written: what grows on the way leaves it behind. And the key by
/// which unknown names are imitated.
#[cfg(feature = "accounts")]
fn over_an_account_file(base32: &str) {
    use countersign::accounts::{AccountFile, Accounts, HashParameters};
    use countersign::files::{FileError, Missing, edit_accounts};
    use std::io::Write;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    // Both are kept as they stand there, until they are changed.
    writeln!(file, "alice permissions=read totp={base32}\ndave permissions=read totp={base32}").unwrap();
    for user in 0..700_u64 {
        let token = base64ct::Base64Unpadded::encode_string(&user.to_be_bytes().repeat(4));
        writeln!(file, "user{user} permissions=read,write token=SHA256:{token}").unwrap();
    }
    assert!(file.as_file().metadata().unwrap().len() > 40_000);
    let mut key = String::new();
    for (user, memory) in [("alice", 8), ("user0", 16)] {
        let parameters = HashParameters::new(memory, 1, 1).unwrap();
        let edit = |accounts: &mut Accounts| -> Result<(), FileError> {
            accounts.edit(user, |account| account.set_password_with(PASSWORD, parameters)).unwrap();
            Ok(())
        };
        let (edited, freed) = freed_by(|| edit_accounts(file.path(), Missing::Fail, edit));
        edited.unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("#imitate key="));
        key = line.map(|line| line.split(' ').next().unwrap().to_owned()).unwrap_or_default();
        let marks = [base32, &key].map(str::as_bytes);
        let known = marks.into_iter().filter(|mark| !mark.is_empty()).collect::<Vec<_>>();
        stands_nowhere("an account file that is edited", &freed, &known);
    }
    assert_eq!(key.len(), 43, "the key of what is imitated");
    let marks = [base32.as_bytes(), key.as_bytes()];
    let (accounts, freed) = freed_by(|| Accounts::parse(std::fs::read(file.path()).unwrap().leak()).0);
    stands_nowhere("accounts that are read", &freed, &marks);
    let (_, freed) = freed_by(|| accounts.get("alice").unwrap().epoch());
    stands_nowhere("an account's epoch", &freed, &marks);
    let (_, freed) = freed_by(|| drop(accounts.to_bytes()));
    stands_nowhere("accounts as a file", &freed, &marks);
    let (_, freed) = freed_by(|| drop(accounts));
    stands_nowhere("accounts", &freed, &marks);
    let (_, freed) = freed_by(|| drop(AccountFile::open(file.path()).unwrap()));
    stands_nowhere("an account file", &freed, &marks);
}

/// What is computed of a password that is wrong, to be compared: with it, the password can be guessed.
#[cfg(feature = "accounts")]
fn over_hashes() {
    use countersign::accounts::{HashParameters, PasswordCheck};
    let check = PasswordCheck::new();
    let stored = PasswordCheck::hash_with(b"another", HashParameters::new(8, 1, 1).unwrap()).unwrap();
    let salt = base64ct::Base64Unpadded::decode_vec(stored.split('$').nth(4).unwrap()).unwrap();
    let params = argon2::Params::new(8, 1, 1, Some(32)).unwrap();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut computed = [0; 32];
    argon2.hash_password_into(PASSWORD, &salt, &mut computed).unwrap();
    let (verdict, freed) = freed_by(|| check.verify("alice", PASSWORD, Some(&stored)));
    assert_eq!(verdict, Err(countersign::Reason::WrongPassword));
    stands_nowhere("what Argon2 computes", &freed, &[&computed[..16]]);
    #[cfg(feature = "password-formats")]
    {
        // PBKDF2's first block is the xor of all its rounds' (RFC 8018, section 5.2).
        let hmac =
            |message: &[u8]| -> [u8; 32] { hkdf::Hkdf::<sha2::Sha256>::extract(Some(PASSWORD), message).0.into() };
        let mut round = hmac(b"salt\0\0\0\x01");
        let mut computed = round;
        for _ in 1..1000 {
            round = hmac(&round);
            computed.iter_mut().zip(round).for_each(|(sum, byte)| *sum ^= byte);
        }
        let stored = format!("pbkdf2_sha256$1000$salt${}", base64ct::Base64::encode_string(&[7; 32]));
        let (verdict, freed) = freed_by(|| check.verify("alice", PASSWORD, Some(&stored)));
        assert_eq!(verdict, Err(countersign::Reason::WrongPassword));
        stands_nowhere("what PBKDF2 computes", &freed, &[&computed[..16]]);
    }
}

/// In base32.
#[cfg(feature = "accounts")]
fn encoded(bytes: &[u8]) -> String {
    totp_rs::Secret::from(bytes).to_base32()
}
