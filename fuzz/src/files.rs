//! Bytes for everything that is read from files: keys, and who is trusted with what.
//!
//! ```text
//! input = what (1) || the file
//! ```
//!
//! | `what % 6` | the file is |
//! |---|---|
//! | 0 | known hosts |
//! | 1 | lines of `authorized_keys` |
//! | 2 | accounts |
//! | 3 | a key, public or private, in any form |
//! | 4 | a manifest, as bytes or in PEM |
//! | 5 | ticket keys that a server has saved, with what was used |
//!
//! What is read is written again, and read as the same, and takes no more memory than a few times its size. A line that can't be read makes
//! nobody trusted, and no other line less or more. Certificates are in [`crate::certificates`], stored passwords in [`crate::passwords`].

use crate::peers::ticket_keys;
use crate::{memory, toy};
use countersign::crypto::{KeyFile, Provider, rng, rustcrypto};
use countersign::known_hosts::{Entry, Hosts};
use countersign::{
    Accounts, AuthorizedKey, ClientKey, Credential, KeyExchange, KeyId, Manifest, PrivateKey, PublicKey,
    SignatureAlgorithm, SignedManifest, SigningKey, UnixTime, VerifyingKey, limits,
};
use std::sync::LazyLock;

macro_rules! certificates {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../../tests/certificates/", $name, ".pem")))),*]
    };
}

/// Gives how much of the file was of use: lines, keys or manifests.
pub fn run(data: &[u8]) -> usize {
    let Some((what, file)) = data.split_first() else { return 0 };
    // A short line can be a long key, or an account with everything that one has.
    let budget = (64 << 10) + 256 * file.len();
    match what % 6 {
        0 => memory::within(budget, || drop(Hosts::parse(file))),
        1 => memory::within(budget, || drop(AuthorizedKey::read(file))),
        2 => memory::within(budget, || drop(Accounts::parse(file))),
        3 => memory::within(budget, || drop(KeyFile::parse(file))),
        4 => memory::within(budget, || drop(SignedManifest::from_bytes(file))),
        _ => memory::within(budget, || _ = ticket_keys(toy::provider()).load(file)),
    }
    match what % 6 {
        0 => known_hosts(file),
        1 => authorized_keys(file),
        2 => accounts(file),
        3 => key_file(file),
        4 => manifest(file),
        _ => saved_tickets(file),
    }
}

fn known_hosts(file: &[u8]) -> usize {
    let hosts = Hosts::parse(file);
    assert_eq!(hosts.to_bytes(), file, "not the same bytes");
    let entries: Vec<&Entry> = hosts.entries().collect();
    let broken: Vec<_> = hosts.broken_lines().collect();

    // Each line counts by itself, and a last one that has no end trusts nobody.
    let lines: Vec<&[u8]> = file.split(|&byte| byte == b'\n').collect();
    for (line, number) in lines.iter().zip(1..) {
        let entry = entries.iter().find(|entry| entry.line() == number);
        let broken = broken.iter().find(|broken| broken.number == number);
        assert!(entry.is_none() || broken.is_none(), "line {number} is both");
        if number == lines.len() {
            assert!(entry.is_none_or(|entry| entry.is_revoked()), "line {number} has no end");
            continue;
        }
        // The mark in front of a file is in front of its first line alone.
        let blank: &[u8] = if number == 1 { b"" } else { b"\n" };
        let alone = Hosts::parse([blank, line, b"\n"].concat());
        assert_eq!(alone.entries().count(), usize::from(entry.is_some()), "line {number} alone");
        assert_eq!(alone.broken_lines().count(), usize::from(broken.is_some()), "line {number} alone");
        assert!(entry.is_none() || !line.contains(&0) && str::from_utf8(line).is_ok());
        let text = String::from_utf8_lossy(line).to_ascii_lowercase();
        if broken.is_some() && (text.trim_start().starts_with('@') || text.contains("revoked")) {
            assert!(hosts.broken_revocation().is_some(), "line {number} may revoke a key");
        }
        if entry.is_none() {
            continue;
        }
        let printed = format!("{}\n", alone.entries().next().unwrap());
        if printed.len() <= limits::MAX_LINE {
            let again = Hosts::parse(&printed);
            assert_eq!(again.broken_lines().count(), 0, "{printed}");
            assert_eq!(
                again.entries().map(fields).collect::<Vec<_>>(),
                alone.entries().map(fields).collect::<Vec<_>>()
            );
        }
    }

    for name in entries.iter().flat_map(|entry| entry.names()).take(16) {
        let known = hosts.lookup(&name);
        let has_line = |found: &Entry| entries.iter().any(|entry| **entry == *found);
        for key in known.keys() {
            assert!(has_line(key) && !key.is_revoked() && key.accepted().is_some() && key.key().is_some());
            assert_eq!(key.key().map(PublicKey::id), Some(key.id()));
        }
        assert!(known.revoked().iter().all(|entry| has_line(entry) && entry.is_revoked()));
        for key in hosts.keys_of(&name, &entries.iter().map(|entry| entry.id()).collect::<Vec<_>>()) {
            assert!(known.revoked().iter().all(|revoked| revoked.id() != key.id()), "a revoked key");
        }
        for broken in &broken {
            let line = String::from_utf8_lossy(lines[broken.number - 1]).to_ascii_lowercase();
            let is_told = known.broken_lines().contains(broken) || hosts.lookup(&name).is_new() && name.contains('|');
            assert!(
                !line.contains(&name) || is_told || name == "*" || name.starts_with('|'),
                "{name} may be in {line}"
            );
        }
    }
    entries.len()
}

type Fields<'a> =
    (bool, Vec<String>, KeyId, Option<&'a PublicKey>, Option<&'static str>, [Option<UnixTime>; 2], KeyExchange);

fn fields(entry: &Entry) -> Fields<'_> {
    let accepted = entry.accepted().map(|accepted| accepted.word());
    let dates = [entry.since(), entry.until()];
    (entry.is_revoked(), entry.names(), entry.id(), entry.key(), accepted, dates, entry.floor())
}

fn authorized_keys(file: &[u8]) -> usize {
    let Ok(keys) = AuthorizedKey::read(file) else { return 0 };
    let mut text = String::new();
    for key in &keys {
        let line = key.to_string();
        let again = AuthorizedKey::parse(&line);
        assert_eq!(again.as_ref(), Ok(key), "{line}");
        let last = key.until().map_or(TODAY, |until| UnixTime::from_secs(until.as_secs() - 1));
        assert_eq!(key.admits(None, last), key.allowed_from().is_none(), "{line}");
        if let Some(until) = key.until() {
            assert!(!key.admits(None, until), "{line}");
        }
        text = text + &line + "\n";
    }
    if !keys.is_empty() {
        assert_eq!(AuthorizedKey::read(text.as_bytes()), Ok(keys.clone()));
    }
    keys.len()
}

fn accounts(file: &[u8]) -> usize {
    let (mut accounts, broken) = Accounts::parse(file);
    assert_eq!(*accounts.to_bytes().as_slice(), *file, "not the same bytes");
    let names: Vec<String> = accounts.iter().map(|account| account.name().to_owned()).collect();

    // A line that can't be read lets nobody in, nor does a later one of its name.
    let text = file.strip_prefix("\u{feff}".as_bytes()).unwrap_or(file);
    let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    for broken in &broken {
        let (before, line) = (&lines[..broken.number - 1], lines[broken.number - 1]);
        let Some(name) = word(line) else { continue };
        if !before.iter().any(|line| word(line) == Some(name)) {
            assert!(accounts.get(name).is_none(), "line {} of {name} is broken", broken.number);
        }
    }
    for name in &names {
        let account = accounts.get(name).unwrap();
        let is_closed = account.is_locked() || account.expires().is_some_and(|expires| expires <= TODAY);
        let nobodys = ClientKey::public_only(NOBODYS.public_key().clone());
        let listed = account.keys().iter().map(|listed| ClientKey::public_only(listed.key().clone()));
        for key in listed.chain([nobodys]) {
            let good = accounts.check(Credential::Key { user: name, key: &key }).is_ok();
            let held = account.keys().iter().find(|listed| listed.key() == key.public_key());
            let may = !is_closed && !account.has_totp() && held.is_some_and(|held| held.allowed_from().is_none());
            assert!(!good || may, "{name} got in");
        }
    }

    // A permission is the account's own, or of a role that stands in the file.
    for role in accounts.roles() {
        let (again, broken) = Accounts::parse(format!("{role}\n"));
        assert!(broken.is_empty() && again.role(role.name()).is_some_and(|read| read.is_same(role)), "{role}");
    }
    for name in &names {
        let account = accounts.get(name).unwrap();
        let Ok(granted) = account.granted() else { continue };
        for permission in granted.permissions() {
            let has =
                |role: &str| accounts.role(role).is_some_and(|role| role.permissions().any(|held| held == permission));
            let is_own = account.own_grant().permissions().any(|held| held == permission);
            assert!(is_own || account.roles().any(has), "{name} may {permission}, and why");
        }
    }

    // What an edit writes is read again as the same.
    if lines.iter().any(|line| line.len() > limits::MAX_LINE / 2) {
        return names.len();
    }
    let states: Vec<String> = names.iter().map(|name| state(&accounts, name)).collect();
    for name in &names {
        let is_locked = accounts.get(name).unwrap().is_locked();
        accounts.edit(name, |account| Ok(account.lock())).unwrap();
        accounts.edit(name, |account| Ok(account.unlock())).unwrap();
        if is_locked {
            assert_eq!(accounts.edit(name, |account| Ok(account.lock())), Ok(true));
        }
    }
    let (again, still_broken) = Accounts::parse(accounts.to_bytes().as_slice());
    assert_eq!(still_broken, broken);
    for (name, before) in names.iter().zip(states) {
        assert_eq!(state(&again, name), before);
    }
    names.len()
}

/// The first word of a line, as it would be a user's name.
fn word(line: &[u8]) -> Option<&str> {
    let word = str::from_utf8(line).ok()?.split_ascii_whitespace().next()?.trim_start_matches('\u{feff}');
    (!word.is_empty() && !word.starts_with('#')).then_some(word)
}

/// Everything that an account says, but for how often it was locked, and what stands behind a key.
fn state(accounts: &Accounts, name: &str) -> String {
    let account = accounts.get(name).expect("it was there");
    let key = |key: &AuthorizedKey| {
        let from = key.allowed_from().map(|from| from.as_str().replace(' ', ""));
        format!("{} {from:?} {:?}", key.key(), key.until())
    };
    let keys: Vec<String> = account.keys().iter().map(key).collect();
    let permissions: Vec<&str> = account.own_grant().permissions().collect();
    let closed = (account.is_locked(), account.expires());
    let factors = (account.has_totp(), account.recovery_codes());
    let roles: Vec<&str> = account.roles().collect();
    format!("{permissions:?} {roles:?} {keys:?} {} {} {closed:?} {factors:?}", account.has_password(), account.tokens())
}

fn key_file(file: &[u8]) -> usize {
    let Ok(found) = KeyFile::parse(file) else { return 0 };
    let mut count = 0;
    if let Ok(key) = found.signing_key(None) {
        assert!(found.has_private_key() && found.private_encoded().is_some());
        let again = SigningKey::from_pkcs8_der(key.pkcs8_der()).unwrap();
        assert_eq!((again.pkcs8_der(), again.public_key()), (key.pkcs8_der(), key.public_key()));
        let again = SigningKey::from_pem(key.to_pkcs8_pem().as_str()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        // RSA takes long.
        if key.public_key().algorithm() != SignatureAlgorithm::RsaPss {
            let loaded = ClientKey::load(&key, PROVIDER).unwrap();
            let signature = loaded.sign(file, &mut rng().unwrap()).unwrap();
            assert_eq!(loaded.check(PROVIDER, file, &signature), Ok(()), "the halves are not of one key");
        }
        count += 1;
    }
    if let Ok(key) = found.private_key(None) {
        let again = PrivateKey::from_pkcs8_der(key.pkcs8_der()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        count += 1;
    }
    for source in found.public_keys().unwrap_or_default() {
        assert_eq!(PublicKey::from_spki_der(source.key.spki_der()).as_ref(), Ok(&source.key));
        assert_eq!(PublicKey::from_pem(&source.key.to_pem()).as_ref(), Ok(&source.key));
        count += 1;
    }
    for source in found.verifying_keys().unwrap_or_default() {
        let key = &source.key;
        assert_eq!(VerifyingKey::from_spki_der(key.spki_der()).as_ref(), Ok(key));
        assert_eq!(VerifyingKey::from_pem(&key.to_pem()).as_ref(), Ok(key));
        let line = AuthorizedKey::parse(&key.to_openssh("a comment")).unwrap();
        assert_eq!((line.key(), line.comment()), (key, "a comment"));
        count += 1;
    }
    count
}

/// What was loaded is saved, and loaded as the same; and what is no such file changes nothing.
fn saved_tickets(file: &[u8]) -> usize {
    let keys = ticket_keys(toy::provider());
    let before = keys.save().unwrap();
    if keys.load(file).is_err() {
        assert_eq!(keys.save().unwrap().as_slice(), before.as_slice(), "keys that can't be loaded changed something");
        return 0;
    }
    let saved = keys.save().unwrap();
    assert!(saved.as_slice().len() <= file.len() + 16, "more than was loaded");
    let again = ticket_keys(toy::provider());
    again.load(&saved).expect("what was saved");
    assert_eq!(again.used(), keys.used());
    let resaved = again.save().unwrap();
    assert_eq!(resaved.as_slice().len(), saved.as_slice().len(), "not the same");
    1
}

fn manifest(file: &[u8]) -> usize {
    let of_pem = || SignedManifest::from_pem(str::from_utf8(file).ok()?).ok();
    let Some(signed) = SignedManifest::from_bytes(file).ok().or_else(of_pem) else { return 0 };
    assert_eq!(SignedManifest::from_bytes(signed.as_bytes()).as_ref(), Ok(&signed));
    assert_eq!(SignedManifest::from_pem(&signed.to_pem()).as_ref(), Ok(&signed));
    let identity = NOBODYS.public_key().id();
    let Ok(manifest) = signed.verify(identity, PROVIDER) else { return 0 };
    // Nobody but the identity can make one, and it has made these.
    assert!(GENUINE.contains(&signed.as_bytes().to_vec()), "a manifest that nobody signed");
    assert!(signed.verify(KeyId::from_bytes([0; 32]), PROVIDER).is_err());
    assert_eq!(manifest.check_follows(&manifest), Ok(()));
    good_keys(&manifest);
    1
}

/// At any time, a manifest speaks for the keys that it names for that time, and for no others.
fn good_keys(manifest: &Manifest) {
    let body = manifest.body();
    for now in [body.issued, body.expires, TODAY] {
        assert!(manifest.check_key(KeyId::from_bytes([0; 32]), now, KeyExchange::X25519MlKem768).is_err());
        for key in &body.keys {
            let good = manifest.check_key(key.id, now, KeyExchange::X25519MlKem768).is_ok();
            assert!(!good || (key.not_before..key.not_after).contains(&now));
        }
    }
    assert!(manifest.check_time(body.expires).is_err());
}

/// What signatures of keys from files are checked by. Those of manifests are real, too, so that the files of the tests are good.
const PROVIDER: Provider = Provider { signatures: rustcrypto::provider().signatures, ..toy::provider() };

/// 2026-11-27.
const TODAY: UnixTime = UnixTime::from_secs(1_795_737_600);

/// The key that has signed the manifests of the tests, and that no account has.
static NOBODYS: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_ed25519(&[7; 32]).unwrap());

/// The certificates of the tests.
pub(crate) const CERTIFICATES: [(&str, &[u8]); 42] = certificates![
    "authority",
    "by-clients",
    "by-ec",
    "by-ed25519",
    "by-impostor",
    "by-middle",
    "by-no-authority",
    "by-other",
    "by-path0",
    "by-under-path0",
    "chain-of-50",
    "client-only",
    "clients",
    "constrained",
    "critical",
    "ec",
    "escapes",
    "expired",
    "future",
    "good",
    "impostor",
    "inside",
    "inside-and-outside",
    "middle",
    "middle-expired",
    "no-authority",
    "no-names",
    "other-key",
    "other-root",
    "outside",
    "path0",
    "root",
    "root-ec",
    "root-ed25519",
    "self",
    "self-authority",
    "self-expired",
    "sha1",
    "signs-only",
    "small",
    "under-path0",
    "without-usages",
];

/// The manifests of the tests.
pub(crate) static GENUINE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    [
        include_str!("../../tests/vectors/manifests/manifest.json"),
        include_str!("../../tests/vectors/manifests/manifest-next.json"),
        include_str!("../../tests/vectors/manifests/manifest-no-names.json"),
        include_str!("../../tests/vectors/manifests/manifest-floor-unknown.json"),
    ]
    .map(|vector| {
        let (_, hex) = vector.split_once("\"manifest\": \"").expect("a vector has a manifest");
        let hex = hex.split('"').next().unwrap_or_default().as_bytes();
        let byte = |digits: &[u8]| u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap();
        hex.chunks(2).map(byte).collect()
    })
    .into()
});
