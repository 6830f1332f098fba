//! Manifests: every rule of PROTOCOL.md, "Manifest", against bytes that are made here by hand.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::crypto::{
    CryptoError, CryptoRng, KeyError, Provider, Sign, SignError, Signatures, SigningKey, VerifyingKey,
};
use countersign::{
    KeyExchange, KeyId, Manifest, ManifestBody, ManifestError, ManifestFloor, ManifestKey, SignedManifest, UnixTime,
    limits,
};
use std::sync::{Arc, LazyLock};
use support::{TODAY, TestRng, provider};

static IDENTITY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_ed25519(&[7; 32]).unwrap());

fn pin() -> KeyId {
    IDENTITY.public_key().id()
}

fn later(seconds: u64) -> UnixTime {
    UnixTime::from_secs(TODAY.as_secs() + seconds)
}

fn earlier(seconds: u64) -> UnixTime {
    UnixTime::from_secs(TODAY.as_secs() - seconds)
}

const DAY: u64 = 24 * 3600;

fn id(number: u8) -> KeyId {
    KeyId::from_bytes([number; 32])
}

fn key(number: u8) -> ManifestKey {
    ManifestKey {
        id: id(number),
        not_before: earlier(DAY),
        not_after: later(30 * DAY),
        floor: KeyExchange::X25519.into(),
    }
}

fn body() -> ManifestBody {
    let names = vec!["db.example".to_owned(), "mail.example".to_owned()];
    ManifestBody { sequence: 5, issued: TODAY, expires: later(90 * DAY), names, keys: vec![key(1), key(2)] }
}

/// The bytes of a manifest as PROTOCOL.md has them, but for the signature.
fn unsigned(identity: &VerifyingKey, body: &ManifestBody) -> Vec<u8> {
    // The point stands at the end of an SPKI.
    let mut out = identity.spki_der()[12..].to_vec();
    for number in [body.sequence, body.issued.as_secs(), body.expires.as_secs()] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.push(u8::try_from(body.names.len()).unwrap());
    for name in &body.names {
        out.extend_from_slice(&u16::try_from(name.len()).unwrap().to_be_bytes());
        out.extend_from_slice(name.as_bytes());
    }
    out.push(u8::try_from(body.keys.len()).unwrap());
    for key in &body.keys {
        out.extend_from_slice(key.id.as_bytes());
        out.extend_from_slice(&key.not_before.as_secs().to_be_bytes());
        out.extend_from_slice(&key.not_after.as_secs().to_be_bytes());
        out.push(key.floor.number());
    }
    out
}

fn sign(identity: &SigningKey, message: &[u8]) -> Vec<u8> {
    let signer = provider().signatures.unwrap().load_signer(identity).unwrap();
    signer.sign(message, &mut TestRng::new("signature")).unwrap()
}

/// What is signed of a manifest.
fn message(unsigned: &[u8]) -> Vec<u8> {
    [&[0, 23][..], b"countersign v1 manifest", unsigned].concat()
}

/// A manifest with a good signature, whatever it says.
fn by_hand(body: &ManifestBody) -> Vec<u8> {
    let mut out = unsigned(IDENTITY.public_key(), body);
    let signature = sign(&IDENTITY, &message(&out));
    out.extend(signature);
    out
}

fn verify(bytes: &[u8]) -> Result<Manifest, ManifestError> {
    SignedManifest::from_bytes(bytes)?.verify(pin(), provider())
}

fn made(change: impl FnOnce(&mut ManifestBody)) -> Manifest {
    let mut body = body();
    change(&mut body);
    body.sign(&IDENTITY, provider()).unwrap().verify(pin(), provider()).unwrap()
}

#[test]
fn a_manifest_is_the_bytes_that_protocol_md_says() {
    let signed = body().sign(&IDENTITY, provider()).unwrap();
    assert_eq!(signed.as_bytes(), by_hand(&body()));
    let manifest = signed.verify(pin(), provider()).unwrap();
    assert_eq!(*manifest.body(), body());
    assert_eq!(*manifest.signed(), signed);
    assert_eq!(signed.identity().unwrap(), pin());
    // The bytes of the text are the same, and whatever stands around them is no matter.
    let pem = signed.to_pem();
    assert!(pem.starts_with("-----BEGIN COUNTERSIGN MANIFEST-----\n"), "{pem}");
    let around = format!("a comment\n{pem}\n-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    assert_eq!(SignedManifest::from_pem(&around).unwrap(), signed);
    // It has no lifetime of its own in the end: two signatures of the same are the same.
    assert_eq!(body().sign(&IDENTITY, provider()).unwrap(), signed);
}

#[test]
fn m1_every_list_and_every_name_is_within_its_bounds() {
    let name = |number: usize| format!("{number:0>255}");
    let longest = ManifestBody {
        names: (0..limits::MAX_MANIFEST_NAMES).map(name).collect(),
        keys: (0..8).map(key).collect(),
        ..body()
    };
    let bytes = by_hand(&longest);
    assert_eq!(bytes.len(), limits::MANIFEST);
    assert_eq!(*verify(&bytes).unwrap().body(), longest);
    assert_eq!(longest.sign(&IDENTITY, provider()).unwrap().as_bytes(), bytes);

    type Change = fn(&mut ManifestBody);
    let good: [Change; 6] = [
        |body| body.names.clear(),
        |body| body.keys.truncate(1),
        |body| (body.sequence, body.issued, body.expires) = (1, UnixTime::from_secs(0), UnixTime::from_secs(1)),
        |body| (body.sequence, body.expires) = (u64::MAX, UnixTime::from_secs(u64::MAX)),
        |body| body.keys[0].floor = ManifestFloor::from_number(255),
        |body| body.names = vec!["[2001:db8::1]:7000".to_owned()],
    ];
    for change in good {
        let mut body = body();
        change(&mut body);
        assert_eq!(*verify(&by_hand(&body)).unwrap().body(), body);
    }
    let bad: [(Change, &str); 14] = [
        (|body| body.sequence = 0, "the number 0"),
        (|body| body.expires = body.issued, "an end"),
        (|body| body.expires = UnixTime::from_secs(0), "an end"),
        (|body| body.names[0] = String::new(), "a name that is empty"),
        (|body| body.names[0] = "x".repeat(256), "a name that is"),
        (|body| body.names[0] = "a b".to_owned(), "a name that is"),
        (|body| body.names[0] = "a\n".to_owned(), "a name that is"),
        (|body| body.names[0] = "caf\u{e9}".to_owned(), "a name that is"),
        (|body| body.names[1] = body.names[0].clone(), "a name twice"),
        (|body| body.keys.clear(), "no key"),
        (|body| body.keys[1].id = body.keys[0].id, "a key twice"),
        (|body| body.keys[1] = body.keys[0], "a key twice"),
        (|body| body.keys[1].not_after = body.keys[1].not_before, "a key whose end"),
        (|body| body.keys[0].not_before = later(31 * DAY), "a key whose end"),
    ];
    for (change, wrong) in bad {
        let mut body = body();
        change(&mut body);
        let expected = |error: &ManifestError| matches!(error, ManifestError::Field(what) if what.starts_with(wrong));
        let read = SignedManifest::from_bytes(&by_hand(&body)).unwrap_err();
        assert!(expected(&read), "{wrong}: {read}");
        let made = body.sign(&IDENTITY, provider()).unwrap_err();
        assert!(expected(&made), "{wrong}: {made}");
        assert_eq!(read.code(), "manifest-field");
    }
}

#[test]
fn m1_more_entries_than_there_may_be_are_refused_before_they_are_read() {
    let bytes = by_hand(&body());
    // The counts: behind identity and three numbers, and behind the names.
    let names = 32 + 24;
    let keys = names + 1 + 2 * 2 + "db.example".len() + "mail.example".len();
    assert_eq!((bytes[names], bytes[keys]), (2, 2));
    for (at, most) in [(names, 16), (keys, 8)] {
        for count in [most + 1, 255] {
            let mut more = bytes.clone();
            more[at] = count;
            let error = SignedManifest::from_bytes(&more).unwrap_err();
            assert_eq!(error.code(), "manifest-malformed", "{error}");
        }
    }
    let many = ManifestBody { names: (0..17).map(|name| name.to_string()).collect(), ..body() };
    assert!(matches!(many.sign(&IDENTITY, provider()), Err(ManifestError::Field("more than 16 names"))));
    let many = ManifestBody { keys: (0..9).map(key).collect(), ..body() };
    assert!(matches!(many.sign(&IDENTITY, provider()), Err(ManifestError::Field("more than 8 keys"))));
}

#[test]
fn m1_it_is_exactly_one_manifest() {
    let bytes = by_hand(&body());
    for len in 0..bytes.len() {
        assert!(SignedManifest::from_bytes(&bytes[..len]).is_err(), "cut to {len}");
    }
    for more in [&[0][..], &[0; 64], &bytes] {
        assert!(verify(&[&bytes, more].concat()).is_err(), "{} more", more.len());
        assert!(verify(&[more, &bytes].concat()).is_err(), "{} before", more.len());
    }
    for text in ["", "nonsense", "-----BEGIN COUNTERSIGN MANIFEST-----\n"] {
        assert!(SignedManifest::from_pem(text).is_err(), "{text:?}");
    }
    let pem = body().sign(&IDENTITY, provider()).unwrap().to_pem();
    let code = |text: &str| SignedManifest::from_pem(text).unwrap_err().code();
    assert_eq!(code(""), "manifest-missing-block");
    assert_eq!(code(&format!("{pem}{pem}")), "manifest-missing-block");
    assert_eq!(code(&pem.replace("COUNTERSIGN MANIFEST", "MANIFEST")), "manifest-missing-block");
    assert_eq!(code(&pem.replace("-----END", "")), "manifest-broken-block");
    assert_eq!(code(&pem.replace('\n', "!\n")), "manifest-broken-block");
}

#[test]
fn m2_no_bit_of_it_can_be_changed() {
    let bytes = by_hand(&body());
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&changed).is_err(), "bit {bit}");
    }
}

#[test]
fn m2_another_identity_is_another_s_whatever_it_signed() {
    let other = SigningKey::from_ed25519(&[8; 32]).unwrap();
    let theirs = body().sign(&other, provider()).unwrap();
    let (expected, found) = (pin(), other.public_key().id());
    assert_eq!(theirs.verify(pin(), provider()), Err(ManifestError::OtherIdentity { expected, found }));
    // Ours on the outside, theirs inside.
    let ours = unsigned(IDENTITY.public_key(), &body());
    let signature = sign(&other, &message(&ours));
    assert_eq!(verify(&[ours, signature].concat()), Err(ManifestError::Signature));
    // A point that is none, of small order, or not canonical, is nobody's.
    for point in [[0; 32], [0xff; 32], std::array::from_fn(|at| u8::from(at == 0))] {
        let mut bytes = by_hand(&body());
        bytes[..32].copy_from_slice(&point);
        assert!(verify(&bytes).is_err());
    }
}

#[test]
fn m2_the_signature_is_over_the_label_and_the_manifest_and_nothing_else() {
    let bytes = unsigned(IDENTITY.public_key(), &body());
    for signed in [
        bytes.clone(),
        [b"countersign v1 manifest", &bytes[..]].concat(),
        [&[0, 24][..], b"countersign v1 manifest\0", &bytes].concat(),
        [&[0, 23][..], b"countersign v2 manifest", &bytes].concat(),
        [&[b' '; 64][..], b"countersign v1 client signature\0", &bytes].concat(),
    ] {
        let signature = sign(&IDENTITY, &signed);
        assert_eq!(verify(&[&bytes[..], &signature].concat()), Err(ManifestError::Signature));
    }
    for signature in [[0; 64], [0xff; 64]] {
        assert!(verify(&[&bytes[..], &signature].concat()).is_err());
    }
}

#[test]
fn m2_without_signatures_in_the_provider_nothing_is_good() {
    let none = Provider { signatures: None, ..provider() };
    let signed = body().sign(&IDENTITY, provider()).unwrap();
    assert_eq!(signed.verify(pin(), none), Err(ManifestError::Provider));
    assert_eq!(body().sign(&IDENTITY, none), Err(ManifestError::Provider));
}

#[test]
fn m3_a_lower_number_is_a_rollback_and_the_same_one_with_other_bytes_a_fork() {
    let kept = made(|_| {});
    let of = |sequence| made(|body| body.sequence = sequence);
    for higher in [6, 7, u64::MAX] {
        assert_eq!(of(higher).check_follows(&kept), Ok(()));
        assert_eq!(kept.check_follows(&of(higher)), Err(ManifestError::Rollback { kept: higher, found: 5 }));
    }
    assert_eq!(kept.check_follows(&kept), Ok(()));
    let same = made(|body| body.expires = later(91 * DAY));
    assert_eq!(same.check_follows(&kept), Err(ManifestError::Fork(5)));
    let error = of(3).check_follows(&kept).unwrap_err();
    assert!(error.to_string().starts_with("an older manifest, number 3, where 5 was seen before"), "{error}");
    assert!(error.is_alarm() && same.check_follows(&kept).unwrap_err().is_alarm());
    assert!(!ManifestError::Expired(TODAY).is_alarm());
}

#[test]
fn m4_it_is_good_from_its_issue_less_a_small_skew_until_its_expiry() {
    let manifest = made(|_| {});
    let skew = limits::CLOCK_SKEW.as_secs();
    let (issued, expires) = (TODAY, later(90 * DAY));
    let before = |time: UnixTime| UnixTime::from_secs(time.as_secs() - 1);
    for (now, result) in [
        (issued, Ok(())),
        (earlier(skew), Ok(())),
        (before(expires), Ok(())),
        (earlier(skew + 1), Err(ManifestError::NotYet(issued))),
        (UnixTime::from_secs(0), Err(ManifestError::NotYet(issued))),
        (expires, Err(ManifestError::Expired(expires))),
        (UnixTime::from_secs(u64::MAX), Err(ManifestError::Expired(expires))),
    ] {
        assert_eq!(manifest.check_time(now), result, "{now}");
    }
    let error = manifest.check_time(expires).unwrap_err().to_string();
    assert!(error.starts_with("the manifest expired on 2027-04-15T08:00:00Z"), "{error}");
}

#[test]
fn m5_its_names_are_compared_byte_for_byte() {
    let named = made(|_| {});
    for name in ["db.example", "mail.example"] {
        assert_eq!(named.check_name(name), Ok(()));
    }
    for name in ["", "DB.example", "db.example.", "db.exampl", "x.db.example", "example"] {
        let error = named.check_name(name).unwrap_err();
        assert_eq!(error.code(), "manifest-other-name", "{name}");
        assert!(error.to_string().contains("db.example, mail.example"), "{error}");
    }
    let unnamed = made(|body| body.names.clear());
    for name in ["", "db.example", "anything"] {
        assert_eq!(unnamed.check_name(name), Ok(()));
    }
}

#[test]
fn m6_a_key_is_good_in_its_time_and_above_its_floor() {
    let (from, until) = (earlier(DAY), later(30 * DAY));
    let manifest = made(|body| body.keys[1].floor = KeyExchange::X25519MlKem768.into());
    let (x25519, hybrid) = (KeyExchange::X25519, KeyExchange::X25519MlKem768);
    let before = |time: UnixTime| UnixTime::from_secs(time.as_secs() - 1);
    let floor = |found, floor| Err(ManifestError::UnderFloor { found, floor: ManifestFloor::from_number(floor) });
    for (number, now, exchange, result) in [
        (1, TODAY, x25519, Ok(())),
        (1, TODAY, hybrid, Ok(())),
        (1, TODAY, KeyExchange::Rsa, floor(KeyExchange::Rsa, 2)),
        (2, TODAY, hybrid, Ok(())),
        (2, TODAY, x25519, floor(x25519, 3)),
        (1, from, x25519, Ok(())),
        (1, before(from), x25519, Err(ManifestError::KeyNotYet { key: id(1), from })),
        (1, before(until), x25519, Ok(())),
        (1, until, x25519, Err(ManifestError::KeyOver { key: id(1), until })),
        (3, TODAY, x25519, Err(ManifestError::UnknownKey { key: id(3), sequence: 5 })),
    ] {
        assert_eq!(manifest.check_key(id(number), now, exchange), result, "key {number} at {now}");
    }
    // A floor that is not known is one that nothing known reaches; one of no exchange is one that all do.
    let odd = made(|body| [body.keys[0].floor, body.keys[1].floor] = [4, 0].map(ManifestFloor::from_number));
    assert_eq!(odd.body().keys[0].floor.exchange(), None);
    assert_eq!(manifest.body().keys[1].floor.exchange(), Some(hybrid));
    assert_eq!(
        [4, 3].map(|number| ManifestFloor::from_number(number).to_string()),
        ["an unknown one (0x04)", "rsa+x25519mlkem768"]
    );
    assert_eq!(odd.check_key(id(1), TODAY, hybrid), floor(hybrid, 4));
    assert_eq!(odd.check_key(id(2), TODAY, KeyExchange::Rsa), Ok(()));
}

#[test]
fn only_ed25519_keys_sign_manifests() {
    let rsa = SigningKey::from(countersign::PrivateKey::from_pem(support::RSA2048.pem).unwrap());
    assert_eq!(body().sign(&rsa, provider()), Err(ManifestError::NotEd25519));
    let p256 = SigningKey::from_p256(&[7; 32]).unwrap();
    assert_eq!(body().sign(&p256, provider()), Err(ManifestError::NotEd25519));
}

#[test]
fn times_print_as_dates_as_far_as_there_are_any() {
    assert_eq!(TODAY.to_string(), "2027-01-15T08:00:00Z");
    assert_eq!(UnixTime::from_secs(0).to_string(), "1970-01-01T00:00:00Z");
    assert_eq!(UnixTime::from_secs(253_402_300_799).to_string(), "9999-12-31T23:59:59Z");
    assert_eq!(UnixTime::from_secs(253_402_300_800).to_string(), "253402300800 s after 1970");
    assert_eq!(UnixTime::from_secs(u64::MAX).to_string(), format!("{} s after 1970", u64::MAX));
}

/// Signs something else than it was given.
struct Careless;

impl Sign for Careless {
    fn sign(&self, message: &[u8], _: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        Ok(sign(&IDENTITY, &[message, b" "].concat()))
    }
}

impl Signatures for Careless {
    fn verify(&self, key: &VerifyingKey, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        provider().verify(key, message, signature)
    }

    fn load_signer(&self, _: &SigningKey) -> Result<Arc<dyn Sign>, KeyError> {
        Ok(Arc::new(Self))
    }
}

#[test]
fn a_signer_that_signs_something_else_is_found_out_before_any_client_sees_it() {
    let careless = Provider { signatures: Some(&Careless), ..provider() };
    assert_eq!(body().sign(&IDENTITY, careless).unwrap_err(), ManifestError::Signature);
    assert!(body().sign(&IDENTITY, provider()).is_ok());
}
