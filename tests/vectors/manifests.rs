//! The vectors of manifests: one that is good and others that are not, for a server key at a time.

use super::inputs::key_der;
use super::primitives::{key_id, lp, unhex};
use countersign::crypto::VerifyingKey;
use countersign::crypto::rustcrypto::provider;
use countersign::{KeyId, Manifest, ManifestError, SignedManifest, Suite, UnixTime};
use ed25519_dalek::{Signer, SigningKey};
use serde::Serialize;

const NOW: u64 = 1_800_000_000;
const HOUR: u64 = 3600;

/// A manifest, and what a client makes of it that has the identity key. Bytes are in hex, and times in Unix seconds.
#[derive(Debug, Serialize)]
pub struct Vector {
    pub name: &'static str,
    about: &'static str,
    /// The identity key's private half (RFC 8032), and its public half, which the client has.
    identity_secret: String,
    identity: String,
    /// What the client has taken before, if anything: a manifest.
    taken: Option<String>,
    /// The manifest that it is shown.
    manifest: String,
    /// Of its ClientHello.
    server_name: &'static str,
    /// The server key in question, and the suite that its server has picked.
    key_id: String,
    suite: String,
    now: u64,
    /// The client has pinned the server key's fingerprint, too.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pinned: bool,
    /// The rule by which the key is not trusted because of the manifest; `null` where it is.
    rule: Option<&'static str>,
    /// By M7 and M8: the rule that the manifest itself breaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<&'static str>,
}

/// What a manifest says.
#[derive(Clone)]
struct Body {
    secret: [u8; 32],
    sequence: u64,
    issued: u64,
    expires: u64,
    names: &'static [&'static str],
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: Vec<u8>,
    not_before: u64,
    not_after: u64,
    floor: u8,
}

struct Case {
    name: &'static str,
    about: &'static str,
    rule: Option<&'static str>,
    broken: Option<&'static str>,
    taken: Option<Body>,
    body: Body,
    alter: fn(&mut Vec<u8>),
    server_name: &'static str,
}

impl Key {
    fn of(file: &str) -> Self {
        let id = key_id(&unhex(&key_der(file).1));
        Self { id, not_before: NOW - HOUR, not_after: NOW + HOUR, floor: 2 }
    }
}

impl Body {
    fn good() -> Self {
        let keys = vec![Key::of("rsa2048"), Key::of("other2048")];
        Self { secret: [7; 32], sequence: 5, issued: NOW - HOUR, expires: NOW + HOUR, names: &["db.example"], keys }
    }

    /// Of the other server key alone.
    fn other_key() -> Self {
        Self { keys: vec![Key::of("other2048")], ..Self::good() }
    }

    fn identity(&self) -> [u8; 32] {
        SigningKey::from_bytes(&self.secret).verifying_key().to_bytes()
    }

    fn signed(&self) -> Vec<u8> {
        let mut bytes = self.identity().to_vec();
        [self.sequence, self.issued, self.expires].iter().for_each(|number| bytes.extend(number.to_be_bytes()));
        bytes.push(u8::try_from(self.names.len()).unwrap());
        self.names.iter().for_each(|name| bytes.extend(lp(name.as_bytes())));
        bytes.push(u8::try_from(self.keys.len()).unwrap());
        for Key { id, not_before, not_after, floor } in &self.keys {
            bytes.extend(id);
            bytes.extend(not_before.to_be_bytes());
            bytes.extend(not_after.to_be_bytes());
            bytes.push(*floor);
        }
        let message = [&lp(b"countersign v1 manifest")[..], &bytes].concat();
        bytes.extend(SigningKey::from_bytes(&self.secret).sign(&message).to_bytes());
        bytes
    }
}

fn cases() -> Vec<Case> {
    let case = |name, rule, about, body| Case {
        name,
        about,
        rule,
        broken: None,
        taken: None,
        body,
        alter: |_| {},
        server_name: "db.example",
    };
    let good = |name, about, body| case(name, None, about, body);
    let bad = |name, rule, about, body| case(name, Some(rule), about, body);
    let only = |change: fn(&mut Key)| {
        let mut key = Key::of("rsa2048");
        change(&mut key);
        Body { keys: vec![key], ..Body::good() }
    };
    let before = |taken: Body, case: Case| Case { taken: Some(taken), ..case };
    // The one that was taken before names the server key, and is good.
    let kept = |name, broken, about, body| Case {
        broken: Some(broken),
        ..before(Body::good(), case(name, Some("M7"), about, body))
    };
    let next = || Body { sequence: 6, ..Body::good() };
    // So does it here, and the key is pinned besides.
    let pinned = |name, about, body| Case { rule: Some("M8"), ..kept(name, "M3", about, body) };
    vec![
        good("manifest", "the server key is the first of two", Body::good()),
        good("manifest-no-names", "a manifest for any name", Body { names: &[], ..Body::good() }),
        good("manifest-floor-unknown", "another key's floor is one that nobody knows yet", {
            let mut body = Body::good();
            body.keys[1].floor = 9;
            body
        }),
        before(
            Body::other_key(),
            good("manifest-next", "one of a lower sequence was taken before", Body { sequence: 6, ..Body::good() }),
        ),
        before(Body::good(), good("manifest-again", "the same was taken before", Body::good())),
        Case { alter: |bytes| bytes.push(0), ..bad("m1-trailing-byte", "M1", "one byte too many", Body::good()) },
        bad("m1-sequence", "M1", "the sequence is 0", Body { sequence: 0, ..Body::good() }),
        bad("m1-no-key", "M1", "no key", Body { keys: vec![], ..Body::good() }),
        bad("m1-key-twice", "M1", "a key twice", Body { keys: vec![Key::of("rsa2048"); 2], ..Body::good() }),
        bad("m1-name-twice", "M1", "a name twice", Body { names: &["db.example"; 2], ..Body::good() }),
        bad("m1-times", "M1", "it expires in the second in which it was issued", {
            Body { expires: NOW - HOUR, ..Body::good() }
        }),
        bad("m1-key-times", "M1", "a key's time ends where it begins", only(|key| key.not_after = key.not_before)),
        // The client has the key of 7s.
        bad("m2-other-identity", "M2", "another identity's", Body { secret: [8; 32], ..Body::good() }),
        Case {
            alter: |bytes| bytes[39] ^= 1,
            ..bad("m2-altered", "M2", "a bit of the sequence was flipped", Body::good())
        },
        before(
            Body::other_key(),
            bad("m3-rollback", "M3", "one of a higher sequence was taken before", {
                Body { sequence: 4, ..Body::good() }
            }),
        ),
        before(Body::other_key(), bad("m3-fork", "M3", "another of the same sequence was taken before", Body::good())),
        bad("m4-expired", "M4", "it expires in this second", Body { expires: NOW, ..Body::good() }),
        bad("m4-future", "M4", "it was issued 61 seconds from now", Body { issued: NOW + 61, ..Body::good() }),
        bad("m5-other-name", "M5", "for another server name", Body { names: &["mail.example"], ..Body::good() }),
        Case { server_name: "", ..bad("m5-no-name", "M5", "for a name, and the client names none", Body::good()) },
        bad("m6-other-key", "M6", "the server key is not among its keys", Body::other_key()),
        bad("m6-not-yet", "M6", "the server key is good from the next second on", only(|key| key.not_before = NOW + 1)),
        bad(
            "m6-over",
            "M6",
            "the server key is not good any more from this second on",
            only(|key| key.not_after = NOW),
        ),
        bad("m6-floor", "M6", "the key exchange is under the key's floor", only(|key| key.floor = 3)),
        good("manifest-last-times", "it and its key never end", {
            let mut body = Body { expires: u64::MAX, ..Body::good() };
            body.keys[0].not_after = u64::MAX;
            body
        }),
        bad("m4-last-second", "M4", "it was issued in the last second but one that there is", {
            Body { issued: u64::MAX - 1, expires: u64::MAX, ..Body::good() }
        }),
        Case { alter: |bytes| bytes.clear(), ..kept("m7-empty", "M1", "nothing is in the extension", next()) },
        Case { alter: |bytes| bytes.push(0), ..kept("m7-trailing-byte", "M1", "one byte too many", next()) },
        kept("m7-other-identity", "M2", "another identity's", Body { secret: [8; 32], ..next() }),
        Case { alter: |bytes| bytes[39] ^= 1, ..kept("m7-altered", "M2", "a bit of the sequence was flipped", next()) },
        kept("m7-expired", "M4", "it expires in this second", Body { expires: NOW, ..next() }),
        kept("m7-future", "M4", "it was issued 61 seconds from now", Body { issued: NOW + 61, ..next() }),
        kept("m7-other-name", "M5", "for another server name", Body { names: &["mail.example"], ..next() }),
        pinned(
            "m8-rollback",
            "the sequence is lower, and the key is pinned, too",
            Body { sequence: 4, ..Body::good() },
        ),
        pinned("m8-fork", "another of the same sequence, and the key is pinned, too", {
            Body { expires: NOW + HOUR + 1, ..Body::good() }
        }),
    ]
}

/// Each vector, once this library has said the same of it.
pub fn manifests() -> Vec<Vector> {
    cases().into_iter().map(manifest).collect()
}

fn manifest(case: Case) -> Vector {
    let Case { name, about, rule, broken, taken, body, alter, server_name } = case;
    let mut bytes = body.signed();
    alter(&mut bytes);
    let (client, suite) = (Body::good(), Suite::X25519_AES_256_GCM);
    let pin = VerifyingKey::from_ed25519(&client.identity()).unwrap().id();
    let verified = |bytes: &[u8]| SignedManifest::from_bytes(bytes)?.verify(pin, provider());
    let key = Key::of("rsa2048").id;
    let now = UnixTime::from_secs(NOW);
    let judge = || -> Result<(), ManifestError> {
        let manifest: Manifest = verified(&bytes)?;
        if let Some(taken) = &taken {
            manifest.check_follows(&verified(&taken.signed())?)?;
        }
        manifest.check_time(now)?;
        manifest.check_name(server_name)?;
        manifest.check_key(KeyId::from_bytes(key.clone().try_into().unwrap()), now, suite.key_exchange)
    };
    // By which rule such a manifest counts for nothing, or for more, is asked of the client itself: `tests/identity.rs`.
    assert_eq!(judge().err().as_ref().map(breaks), broken.or(rule), "{name}");
    Vector {
        name,
        about,
        identity_secret: hex::encode(client.secret),
        identity: hex::encode(client.identity()),
        taken: taken.map(|taken| hex::encode(taken.signed())),
        manifest: hex::encode(bytes),
        server_name,
        key_id: hex::encode(key),
        suite: format!("{:04x}", suite.number()),
        now: NOW,
        pinned: rule == Some("M8"),
        rule,
        broken,
    }
}

/// The rule of PROTOCOL.md.
fn breaks(error: &ManifestError) -> &'static str {
    use ManifestError::{
        Expired, Field, Fork, KeyNotYet, KeyOver, Malformed, NotYet, OtherIdentity, OtherName, Rollback, Signature,
        UnderFloor, UnknownKey,
    };
    match error {
        Malformed(_) | Field(_) => "M1",
        OtherIdentity { .. } | Signature => "M2",
        Rollback { .. } | Fork(_) => "M3",
        Expired(_) | NotYet(_) => "M4",
        OtherName { .. } => "M5",
        UnknownKey { .. } | KeyNotYet { .. } | KeyOver { .. } | UnderFloor { .. } => "M6",
        error => panic!("{error}"),
    }
}
