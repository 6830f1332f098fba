//! Files, made by hand, and those of the tests.

use crate::certificates;
use crate::files::{CERTIFICATES, GENUINE};
use crate::passwords::STORED;
use crate::peers::Peers;
use countersign::{PrivateKey, SignedManifest};

/// What a file of each kind is like: by hand, and of the tests.
pub(super) fn add(mut add: impl FnMut(&str, u8, &[u8], usize)) {
    let key = PrivateKey::from_pem(include_str!("../../../tests/keys/rsa2048.pem")).unwrap();
    let (spki, id) = (base64(&key.public_key().to_pem()), key.public_key().id());
    let hosts = format!(
        "# the rack\n\
         db.example:4500,[2001:db8::1]:4500 accepted=confirmed since=2026-11-27T08:00:00Z floor=rsa+x25519 key={spki} # 7\n\
         DB.example:4500 accepted=certificate until=2027-02-27T00:00:00Z id={id} key={spki}\n\
         {HASHED} accepted=pin key={spki}\n\
         @revoked * id=SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\n"
    );
    add("hosts", 0, hosts.as_bytes(), 4);
    add("hosts-revoked", 0, format!("@revoked a:1,b id={id}").as_bytes(), 1);
    add("hosts-unended", 0, format!("a:1 accepted=pin key={spki}").as_bytes(), 0);
    add(
        "hosts-broken",
        0,
        format!("\u{feff}a:1 accepted=pin key={spki}\na:1 accepted=pin\n@revokd a:1\n").as_bytes(),
        1,
    );
    add("hosts-of-openssh", 0, b"a:1 ssh-ed25519 AAAA\n\xff\nb\0\n", 0);

    let ed25519 = include_str!("../../../tests/keys/signing/id_ed25519.pub");
    let p256 = include_str!("../../../tests/keys/signing/id_ecdsa.pub");
    let rsa = include_str!("../../../tests/keys/signing/id_rsa.pub");
    let bounds = r#"from="192.0.2.0/24,!192.0.2.13,2001:db8::*",expiry-time="202712312359Z""#;
    add("authorized-keys", 1, format!("# alice\n{ed25519}\n{bounds} {p256}{rsa}").as_bytes(), 3);
    add("authorized-keys-option", 1, format!("no-pty {ed25519}").as_bytes(), 0);
    add("authorized-keys-pem", 1, include_bytes!("../../../tests/keys/signing/ed25519.pub.pem"), 1);

    let hash = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    let password = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA";
    // Without its padding.
    let ed25519 = base64(include_str!("../../../tests/keys/signing/ed25519.pub.pem")).replace('=', "");
    let p256 = base64(include_str!("../../../tests/keys/signing/p256.pub.pem")).replace('=', "");
    let accounts = format!(
        "# users\n\
         alice permissions=read,write password={password} token={hash}\n\
         robot locked=yes locks=1 expires=2027-01-31T00:00:00Z\n\
         dave key={ed25519};from=192.0.2.0/24,!192.0.2.13;until=2027-01-31T00:00:00Z;comment=dave@laptop key={p256}\n\
         carol  totp=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ recovery={hash} key={ed25519}\n"
    );
    add("accounts", 2, accounts.as_bytes(), 4);
    add("accounts-broken", 2, b"alice key=AAAA\nalice\nbob recovery=\ncarol totp=A\ndave\neve", 1);
    add("accounts-again", 2, b"alice locked=yes\nalice\nbob permissions=a\r\n", 2);

    for (name, file, count) in [
        ("key-ed25519", &include_bytes!("../../../tests/keys/signing/ed25519.pem")[..], 1),
        ("key-ed25519-public", include_bytes!("../../../tests/keys/signing/ed25519.pub.pem"), 1),
        ("key-ed25519-openssh", include_bytes!("../../../tests/keys/signing/id_ed25519"), 1),
        ("key-ed25519-encrypted", include_bytes!("../../../tests/keys/signing/ed25519.encrypted.pem"), 0),
        ("key-ed25519-openssh-encrypted", include_bytes!("../../../tests/keys/signing/id_ed25519.encrypted"), 0),
        ("key-p256", include_bytes!("../../../tests/keys/signing/p256.pem"), 1),
        ("key-p256-sec1", include_bytes!("../../../tests/keys/signing/p256.sec1.pem"), 1),
        ("key-p256-parameters", include_bytes!("../../../tests/keys/signing/p256-with-parameters.pem"), 1),
        ("key-p256-public", include_bytes!("../../../tests/keys/signing/p256.pub.pem"), 1),
        ("key-p256-openssh", include_bytes!("../../../tests/keys/signing/id_ecdsa"), 1),
        ("key-p384", include_bytes!("../../../tests/keys/signing/p384.pem"), 0),
        ("key-rsa", include_bytes!("../../../tests/keys/rsa2048.pem"), 2),
        ("key-rsa-public", include_bytes!("../../../tests/keys/signing/rsa.pub.pem"), 2),
        ("key-lines", include_bytes!("../../../tests/keys/signing/id_rsa.pub"), 2),
        ("key-certificate", include_bytes!("../../../tests/certificates/small.pem"), 0),
    ] {
        add(name, 3, file, count);
    }

    add(
        "accounts-roles",
        2,
        b"@clerk permissions=orders:read,orders:write\nalice roles=clerk permissions=read\nbob roles=nobody\n",
        1,
    );

    let peers = Peers::new(0);
    let (hello, _) = peers.open(Some(&peers.ticket()));
    let _used = peers.take(&hello);
    add("ticket-keys", 5, &peers.tickets.save().unwrap(), 1);
    add("ticket-keys-unused", 5, &crate::peers::ticket_keys(crate::toy::provider()).save().unwrap(), 1);

    for (number, manifest) in GENUINE.iter().enumerate() {
        add(&format!("manifest-{number}"), 4, manifest, 1);
    }
    let pem = SignedManifest::from_bytes(&GENUINE[0]).unwrap().to_pem();
    add("manifest-pem", 4, pem.as_bytes(), 1);
    let mut altered = GENUINE[0].clone();
    altered[36] ^= 1;
    add("manifest-altered", 4, &altered, 0);
}

/// For targets of their own.
pub(super) fn add_others(mut add: impl FnMut(&'static str, &str, u8, &[u8], usize)) {
    for (name, file) in CERTIFICATES {
        // Not all of fifty: they are of one kind.
        if name == "chain-of-50" {
            continue;
        }
        let count = file.windows(11).filter(|window| *window == b"-----BEGIN ").count();
        add("certificates", &format!("file-{name}"), 0, file, count);
    }
    let [good, by_middle, middle] = &*certificates::GENUINE;
    add("certificates", "file-der", 0, good, 1);
    add("certificates", "good", 1, good, 1);
    add("certificates", "by-middle-itself", 1, by_middle, 0);
    add("certificates", "middle", 2, middle, 1);
    for name in ["self", "self-expired", "good", "ec"] {
        let pinned = usize::from(name != "ec");
        add("certificates", &format!("pinned-{name}"), 3, &certificates::der(name).unwrap(), pinned);
    }
    for (number, (_, stored)) in STORED.iter().enumerate().take(32) {
        let count = if stored.starts_with("$y$j9T") { 1 } else { 2 };
        add("passwords", &format!("stored-{number}"), number as u8, stored.as_bytes(), count);
    }
    add("passwords", "clear", 0, b"correct horse", 0);
    add("passwords", "bcrypt-dear", 0, b"$2b$16$LD5P6VElShvt4fUJq//Sr.ud.JrqTJ/Bjgozlbc70041f1bLj8GwK", 1);
    add("passwords", "bcrypt-too-dear", 0, b"$2b$17$LD5P6VElShvt4fUJq//Sr.ud.JrqTJ/Bjgozlbc70041f1bLj8GwK", 0);
}

/// A name of the unit tests of known hosts: HMAC-SHA256 of `db.example:4500`.
const HASHED: &str =
    "|hmac-sha256|AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE|nrSDnmrGtzBZw0WfB9tXqrivxTNilyVGlx9Jkhjcnq0";

/// What is in a PEM block.
fn base64(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with('-')).collect()
}
