//! `cert`: certificates of server keys, and requests for them.
#![cfg(feature = "x509")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use countersign::UnixTime;
use countersign::x509::{CertificateError, PinnedCertificate};
use std::path::Path;
use std::time::SystemTime;
use support::{House, run};

fn house() -> House {
    let house = House::empty();
    house.key("rsa2048.pem", "server.pem");
    house
}

fn make(house: &House, kind: &str, more: &[&str]) -> support::Said {
    let out = if kind == "csr" { "server.csr" } else { "server.crt" };
    let (key, out) = (house.path("server.pem"), house.path(out));
    run(&[&["cert", kind, "--key", &key, "--out", &out], more].concat(), "")
}

#[test]
fn a_self_signed_certificate_is_made_shown_and_good_for_its_names() {
    let house = house();
    let names = ["--name", "localhost", "--name", "10.0.0.1"];
    let said = make(&house, "self-signed", &names).ok();
    assert_eq!(said.out, format!("{}\n", house.pin()));
    assert!(said.err.contains("server.crt (valid for 365 days"), "{said:?}");
    assert_eq!(house.mode("server.crt"), 0o644);

    let shown = run(&["cert", "show", &house.path("server.crt")], "").ok();
    assert_eq!(shown.err, "");
    for line in [
        "subject:     CN=localhost\n",
        "names:       localhost, 10.0.0.1\n",
        "kind:        server\n",
        "issuer:      itself\n",
        &format!("fingerprint: {}\n", house.pin()),
    ] {
        assert!(shown.out.contains(line), "{line:?} is missing in {shown:?}");
    }
    let now = UnixTime::from_system(SystemTime::now());
    let pinned = PinnedCertificate::parse(house.read("server.crt").as_bytes()).unwrap();
    assert_eq!(pinned.verify(&house.public_key(), "localhost", now), Ok(()));
    let after = UnixTime::from_secs(now.as_secs() + 366 * 24 * 3600);
    assert!(matches!(pinned.verify(&house.public_key(), "localhost", after), Err(CertificateError::Time(_))));

    make(&house, "self-signed", &[&names[..], &["--days", "1", "--force"]].concat()).ok();
    let pinned = PinnedCertificate::parse(house.read("server.crt").as_bytes()).unwrap();
    let after = UnixTime::from_secs(now.as_secs() + 2 * 24 * 3600);
    assert!(pinned.verify(&house.public_key(), "localhost", after).is_err());
}

#[test]
fn a_request_is_made_that_openssl_reads() {
    let house = house();
    let said = make(&house, "csr", &["--name", "db.example"]).ok();
    assert!(said.err.contains("send it to the certificate authority"), "{said:?}");
    let request = house.path("server.csr");
    let verified = std::process::Command::new("openssl").args(["req", "-verify", "-noout", "-in", &request]).output();
    match verified {
        Ok(verified) => assert!(verified.status.success(), "{verified:?}"),
        Err(_) => support::left_out("openssl", "there is no openssl here"),
    }
    run(&["cert", "show", &request], "").fails(1, &["server.csr", "no certificate in it", "CERTIFICATE REQUEST"]);
}

#[test]
fn nothing_is_overwritten_unless_it_is_said_and_the_key_never() {
    for kind in ["self-signed", "csr"] {
        let house = house();
        let out = house.path(if kind == "csr" { "server.csr" } else { "server.crt" });
        std::fs::write(&out, "precious").unwrap();
        make(&house, kind, &["--name", "localhost"]).fails(1, &[&out, "--force"]);
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "precious");
        make(&house, kind, &["--name", "localhost", "--force"]).ok();
        assert_ne!(std::fs::read_to_string(&out).unwrap(), "precious");

        let (before, key) = (house.read("server.pem"), house.path("server.pem"));
        let link = house.path("link.crt");
        std::os::unix::fs::symlink(&key, &link).unwrap();
        for out in [&key, &link] {
            let args = ["cert", kind, "--key", &key, "--name", "localhost", "--out", out, "--force"];
            run(&args, "").fails(2, &["this is the key"]);
        }
        assert_eq!(house.read("server.pem"), before);
    }
}

#[test]
fn names_keys_and_days_that_are_no_good_are_refused() {
    let house = house();
    make(&house, "csr", &["--name", "db.example:4500"]).fails(2, &["db.example:4500", "no port"]);
    make(&house, "csr", &[]).fails(2, &["--name"]);
    make(&house, "self-signed", &["--name", "localhost", "--days", "0"]).fails(2, &["--days"]);
    std::fs::remove_file(house.path("server.pem")).unwrap();
    make(&house, "csr", &["--name", "localhost"]).fails(1, &["server.pem", "countersign keygen --out"]);
    house.write("server.pem", b"hello", 0o600);
    make(&house, "csr", &["--name", "localhost"]).fails(1, &["server.pem", "no key"]);
    assert!(!Path::new(&house.path("server.csr")).exists());
}

#[test]
fn an_encrypted_key_takes_its_passphrase() {
    let house = House::empty();
    house.key("tools/encrypted-pkcs8.pem", "server.pem");
    let (key, out) = (house.path("server.pem"), house.path("server.csr"));
    let args = ["cert", "csr", "--key", &key, "--name", "localhost", "--out", &out, "--passphrase-stdin"];
    run(&args, "wrong\n").fails(1, &["passphrase"]);
    run(&args, "x\n").ok();
    assert!(house.read("server.csr").starts_with("-----BEGIN CERTIFICATE REQUEST-----\n"));
}

#[test]
fn show_says_of_each_certificate_what_it_is_and_that_it_expired() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/certificates");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let house = House::empty();
    let both = [read("by-middle.pem"), read("middle-expired.pem")].concat();
    let path = house.write("chain.pem", &both, 0o644);
    let said = run(&["cert", "show", &path], "").ok();
    let blocks: Vec<&str> = said.out.split("\n\n").collect();
    assert_eq!(blocks.len(), 2);
    assert!(blocks[0].contains("issuer:      CN=Test Middle\n"), "{said:?}");
    assert!(blocks[0].contains("valid from:  2020-01-01T00:00:00Z\nvalid until: 2099-12-31T23:59:59Z\n"), "{said:?}");
    assert!(blocks[1].contains("kind:        authority\n"), "{said:?}");
    assert!(
        said.err.contains("chain.pem: the certificate of CN=Test Middle expired at 2025-12-31T23:59:59Z"),
        "{said:?}"
    );
    // One of an elliptic curve is shown all the same.
    let path = house.write("ec.pem", &read("ec.pem"), 0o644);
    assert!(run(&["cert", "show", &path], "").ok().out.contains("fingerprint: none (not an RSA key"));
}
