//! Servers known by certificates. The files are made by the OpenSSL command line: `tests/certificates/make.sh`.
#![cfg(feature = "x509")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

#[path = "support/left_out.rs"]
mod left_out;

use countersign::codec::{self, Bytes, ClientHello, Extension, List, ServerHello};
use countersign::crypto::aws_lc;
use countersign::crypto::{
    Certificate, CertificateChain, CertificateDraft, CertificateFileError, DraftError, NotTimely, SigningKey,
    certificates_of,
};
use countersign::server::AwaitHello;
use countersign::x509::{CertificateError, PinnedCertificate, Roots, X509};
use countersign::{
    Acceptor, Answer, Attempt, ChannelBinding, ClientConfig, Connector, Context, Credential, Grant, KeyError,
    KeyExchange, KeyId, KeySet, LoginError, ManifestBody, ManifestKey, MemoryTickets, Misuse, Moment, PrivateKey,
    PublicKey, Reason, Returning, Server, ServerConfig, ServerKey, ServerKeys, Suite, TicketKeys, Trust, TrustLevel,
    UnixTime, Verifier, client, limits,
};
use left_out::left_out;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

#[path = "support/der.rs"]
#[allow(dead_code, unreachable_pub, clippy::cast_possible_truncation)]
mod der;

/// 2026-11-27: within the dates of all certificates but those that are named for it.
const NOW: UnixTime = UnixTime::from_secs(1_795_737_600);

/// The end of 2099.
const LAST: UnixTime = UnixTime::from_secs(4_102_444_799);

fn file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates");
    fs::read(folder.join(format!("{name}.pem"))).unwrap()
}

fn private_key() -> PrivateKey {
    PrivateKey::from_pem(include_str!("keys/rsa2048.pem")).unwrap()
}

fn key() -> PublicKey {
    private_key().public_key().clone()
}

/// The certificates of these files, one after the other.
fn read(names: &[&str]) -> Vec<Certificate> {
    let read = |name: &&str| certificates_of(&file(name)).unwrap().into_iter().map(|(_, certificate)| certificate);
    names.iter().flat_map(read).collect()
}

fn verify_at(root: &str, sent: &[&str], name: &str, now: UnixTime) -> Result<UnixTime, CertificateError> {
    let sent = read(sent);
    let ders: Vec<&[u8]> = sent.iter().map(Certificate::der).collect();
    X509::new(Roots::parse(&file(root)).unwrap()).verify(&ders, &key(), name, now)
}

fn verify(root: &str, sent: &[&str]) -> Result<UnixTime, CertificateError> {
    verify_at(root, sent, "db.example", NOW)
}

/// That it is refused under this code, with a sentence that has each of these in it.
#[track_caller]
fn refuses<T: std::fmt::Debug>(result: Result<T, CertificateError>, code: &str, says: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    for part in says {
        assert!(error.to_string().contains(part), "{part:?} is missing in: {error}");
    }
}

#[test]
fn a_certificate_of_a_root_makes_its_key_trusted_until_it_expires() {
    assert_eq!(verify("root", &["good"]), Ok(LAST));
    // By roots of other algorithms, and without any word of what it is for.
    assert_eq!(verify("root-ec", &["by-ec"]), Ok(LAST));
    assert_eq!(verify("root-ed25519", &["by-ed25519"]), Ok(LAST));
    assert_eq!(verify("root", &["without-usages"]), Ok(LAST));
}

#[test]
fn x3_the_names_of_a_certificate_are_dns_names_wildcards_and_addresses() {
    for name in ["db.example", "DB.EXAMPLE", "a.cluster.example", "10.0.0.1", "2001:db8::1", "2001:db8:0:0:0:0:0:1"] {
        assert_eq!(verify_at("root", &["good"], name, NOW), Ok(LAST), "{name}");
    }
    for name in ["other.example", "cluster.example", "a.b.cluster.example", "x.db.example", "10.0.0.2", "2001:db8::2"] {
        refuses(
            verify_at("root", &["good"], name, NOW),
            "certificate-name",
            &[name, "db.example, *.cluster.example, 10.0.0.1, 2001:db8::1"],
        );
    }
    refuses(verify("root", &["no-names"]), "certificate-name", &["no name at all", "common name"]);
    for (name, says) in [("", "names no server"), ("db.example:4500", "neither"), ("db example", "neither")] {
        refuses(verify_at("root", &["good"], name, NOW), "certificate-no-name-wanted", &[says]);
    }
}

#[test]
fn a_name_of_its_own_counts_instead_of_the_servers() {
    let x509 = || X509::new(Roots::parse(&file("root")).unwrap());
    let good = read(&["good"]);
    let verify = |x509: X509| x509.verify(&[good[0].der()], &key(), "other.example", NOW);
    assert_eq!(verify(x509().for_name("10.0.0.1").unwrap()), Ok(LAST));
    refuses(verify(x509()), "certificate-name", &["other.example"]);
    assert!(x509().for_name("db.example:4500").is_err());
}

#[test]
fn a_certificate_out_of_its_time_is_refused_with_its_dates() {
    let says = ["CN=db.example", "2020-12-31T23:59:59Z", "2026-11-27T"];
    refuses(verify("root", &["expired"]), "certificate-expired", &says);
    let says = ["CN=db.example", "not valid before 2090-01-01T00:00:00Z"];
    refuses(verify("root", &["future"]), "certificate-not-yet-valid", &says);
    // To the second.
    assert_eq!(verify_at("root", &["good"], "db.example", LAST), Ok(LAST));
    let after = UnixTime::from_secs(LAST.as_secs() + 1);
    refuses(verify_at("root", &["good"], "db.example", after), "certificate-expired", &["2099-12-31T23:59:59Z"]);
    let first = UnixTime::from_secs(1_577_836_800);
    assert_eq!(verify_at("root", &["good"], "db.example", first), Ok(LAST));
    let before = UnixTime::from_secs(first.as_secs() - 1);
    refuses(verify_at("root", &["good"], "db.example", before), "certificate-not-yet-valid", &["2020-01-01T00:00:00Z"]);
    refuses(verify_at("root", &["good"], "db.example", UnixTime::from_secs(0)), "certificate-not-yet-valid", &["1970"]);
}

#[test]
fn a_chain_is_valid_until_the_first_of_it_expires_and_says_which_has() {
    let until = UnixTime::from_secs(1_767_225_599);
    assert_eq!(verify_at("root", &["by-middle", "middle-expired"], "db.example", until), Ok(until));
    let after = UnixTime::from_secs(until.as_secs() + 1);
    refuses(
        verify_at("root", &["by-middle", "middle-expired"], "db.example", after),
        "certificate-expired",
        &["CN=Test Middle", "2025-12-31"],
    );
}

#[test]
fn no_certificate_is_not_enough() {
    refuses(verify("root", &[]), "no-certificate", &["--certificates"]);
}

#[test]
fn x1_the_certificate_is_that_of_the_key_in_the_handshake() {
    let other = PublicKey::from_pem(include_str!("keys/other2048.pem"));
    let other =
        other.or_else(|_| PrivateKey::from_pem(include_str!("keys/other2048.pem")).map(|key| key.public_key().clone()));
    let says = [key().id().to_string(), other.unwrap().id().to_string()];
    refuses(verify("root", &["other-key"]), "certificate-of-other-key", &[&says[0], &says[1]]);
}

#[test]
fn a_key_that_no_server_has_is_named_for_what_it_is() {
    refuses(verify("root", &["ec"]), "certificate-key", &["elliptic-curve"]);
    refuses(verify("root", &["small"]), "certificate-key", &["1024 bits"]);
}

#[test]
fn another_authority_is_not_believed_whatever_its_name() {
    refuses(verify("root", &["by-other"]), "certificate-unknown-issuer", &["CN=Other Root", "did not send"]);
    refuses(verify("root", &["by-other", "other-root"]), "certificate-unknown-root", &["CN=Other Root"]);
    refuses(verify("root", &["by-impostor"]), "certificate-signature", &["another authority has the same name"]);
    refuses(verify("root", &["by-impostor", "impostor"]), "certificate-signature", &[]);
    refuses(verify("root", &["self"]), "certificate-self-signed", &["CN=db.example", &key().id().to_string()]);
}

#[test]
fn x2_a_certificate_is_for_servers_and_for_decryption() {
    refuses(verify("root", &["client-only"]), "certificate-purpose", &["serverAuth"]);
    refuses(verify("root", &["by-clients", "clients"]), "certificate-purpose", &["issuers"]);
    refuses(verify("root", &["signs-only"]), "certificate-key-usage", &["keyEncipherment"]);
}

#[test]
fn an_authority_is_no_server_and_a_server_no_authority() {
    refuses(verify("root", &["authority"]), "certificate-of-authority", &["CN=db.example"]);
    refuses(verify("root", &["by-no-authority", "no-authority"]), "certificate-issuer-not-authority", &[]);
}

#[test]
fn a_chain_leads_over_what_the_server_sends_in_whatever_order() {
    assert_eq!(verify("root", &["by-middle", "middle"]), Ok(LAST));
    assert_eq!(verify("root", &["by-middle", "other-root", "root", "middle"]), Ok(LAST));
    // What the server leaves out the client may have, as a root.
    assert_eq!(verify("middle", &["by-middle"]), Ok(LAST));
    refuses(
        verify("root", &["by-middle"]),
        "certificate-unknown-issuer",
        &["CN=db.example", "CN=Test Middle", "did not send"],
    );
    refuses(verify("root", &["by-middle", "root"]), "certificate-unknown-issuer", &["CN=Test Middle"]);
}

#[test]
fn the_path_is_no_longer_than_an_authority_allows() {
    assert_eq!(verify("root", &["by-path0", "path0"]), Ok(LAST));
    refuses(
        verify("root", &["by-under-path0", "under-path0", "path0"]),
        "certificate-path-length",
        &["more authorities"],
    );
}

#[test]
fn an_authority_vouches_for_the_names_that_it_may() {
    assert_eq!(verify_at("root", &["inside", "constrained"], "a.inside.example", NOW), Ok(LAST));
    refuses(verify("root", &["outside", "constrained"]), "certificate-name-constraint", &["name constraints"]);
    let sent = ["inside-and-outside", "constrained"];
    refuses(verify_at("root", &sent, "a.inside.example", NOW), "certificate-name-constraint", &[]);
}

#[test]
fn eight_certificates_are_looked_at_and_no_more() {
    let long = read(&["chain-of-50"]);
    assert_eq!(long.len(), 50);
    refuses(verify("root", &["chain-of-50"]), "certificates-too-many", &["50", "up to 8"]);
    // As many as there may be, and a root that is next to the last of them: six authorities in between are the most.
    let ders: Vec<&[u8]> = long.iter().map(Certificate::der).collect();
    let text = String::from_utf8(file("chain-of-50")).unwrap();
    let root = |place: usize| {
        let text = text.split_inclusive("-----END CERTIFICATE-----\n").nth(place).unwrap();
        X509::new(Roots::parse(text.as_bytes()).unwrap())
    };
    assert_eq!(root(7).verify(&ders[..7], &key(), "db.example", NOW), Ok(LAST));
    assert_eq!(root(7).verify(&ders[..8], &key(), "db.example", NOW), Ok(LAST));
    refuses(root(8).verify(&ders[..8], &key(), "db.example", NOW), "certificate-path-length", &["more than 6"]);
    refuses(root(9).verify(&ders[..7], &key(), "db.example", NOW), "certificate-unknown-issuer", &["CN=Long 8"]);
}

#[test]
fn signatures_with_sha1_and_unknown_critical_extensions_are_refused() {
    refuses(verify("root", &["sha1"]), "certificate-signature-algorithm", &["SHA-1"]);
    refuses(verify("root", &["critical"]), "certificate-refused", &["UnsupportedCriticalExtension"]);
}

#[test]
fn a_damaged_certificate_is_refused_wherever_it_is_damaged() {
    let x509 = X509::new(Roots::parse(&file("root")).unwrap());
    let good = read(&["good", "middle"]);
    refuses(x509.verify(&[b""], &key(), "db.example", NOW), "certificate-malformed", &["certificate 1"]);
    refuses(
        x509.verify(&[good[0].der(), b"0"], &key(), "db.example", NOW),
        "certificate-malformed",
        &["certificate 2"],
    );
    let whole = good[0].der();
    for len in 0..whole.len() {
        refuses(x509.verify(&[&whole[..len]], &key(), "db.example", NOW), "certificate-malformed", &[]);
    }
    refuses(x509.verify(&[&[whole, &[0]].concat()], &key(), "db.example", NOW), "certificate-malformed", &[]);
    for at in 0..whole.len() {
        let mut altered = whole.to_vec();
        altered[at] ^= 1;
        x509.verify(&[&altered], &key(), "db.example", NOW).unwrap_err();
    }
    // An issuer is named by its place, whoever finds that it can't be read.
    let sent = read(&["by-middle", "middle"]);
    for (at, bit) in (0..sent[1].der().len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut altered = sent[1].der().to_vec();
        altered[at] ^= 1 << bit;
        let error = x509.verify(&[sent[0].der(), &altered], &key(), "db.example", NOW).unwrap_err();
        assert!(
            error.code() != "certificate-malformed" || error.to_string().contains("certificate 2"),
            "{at}: {error}"
        );
    }
}

#[test]
fn a_stranger_s_text_does_nothing_to_a_terminal() {
    refuses(verify("root", &["escapes"]), "certificate-expired", &["CN=db\\1b[31m?.example"]);
    let error = verify("root", &["escapes"]).unwrap_err().to_string();
    assert!(error.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{error:?}");
}

#[test]
fn a_certificate_that_was_given_is_trusted_for_its_names_and_in_its_time() {
    for name in ["self", "good", "by-middle", "self-authority", "client-only"] {
        let pinned = PinnedCertificate::parse(&file(name)).unwrap();
        assert_eq!(pinned.verify(&key(), "db.example", NOW), Ok(()), "{name}");
        refuses(pinned.verify(&key(), "other.example", NOW), "certificate-name", &["other.example", "db.example"]);
        assert!(pinned.clone().for_name("db.example").is_ok());
        refuses(pinned.for_name("other.example"), "certificate-name", &[]);
    }
    let pinned = PinnedCertificate::parse(&file("self")).unwrap().for_name("10.0.0.1").unwrap();
    assert_eq!(pinned.verify(&key(), "", NOW), Ok(()));
    let expired = PinnedCertificate::parse(&file("self-expired")).unwrap();
    refuses(expired.verify(&key(), "db.example", NOW), "certificate-expired", &["2020-12-31"]);
    let other = PinnedCertificate::parse(&file("other-key")).unwrap();
    refuses(other.verify(&key(), "db.example", NOW), "certificate-of-other-key", &[]);
    assert!(matches!(
        PinnedCertificate::parse(&file("ec")),
        Err(CertificateFileError::Key { line: 1, source: KeyError::NotRsa(_) })
    ));
}

#[test]
fn roots_come_from_a_file_with_whatever_around_them() {
    let both = [b"a comment\n".as_slice(), &file("root"), b"\n", &file("root-ec")].concat();
    let roots = Roots::parse(&both).unwrap();
    assert_eq!(roots.count(), 2);
    assert_eq!(Roots::parse(read(&["root"])[0].der()).unwrap().count(), 1);
    assert_eq!(roots.and(Roots::parse(&file("other-root")).unwrap()).count(), 3);

    let says = |bytes: &[u8], parts: &[&str]| {
        let error = Roots::parse(bytes).unwrap_err();
        for part in parts {
            assert!(error.to_string().contains(part), "{part:?} is missing in: {error}");
        }
        error.code()
    };
    // Whoever has the key of one server must not be every server.
    assert_eq!(says(&file("self"), &["CN=db.example", "no authority's"]), "certificate-of-no-authority");
    assert_eq!(says(b" \n", &["empty"]), "certificate-file-empty");
    assert_eq!(
        says(include_bytes!("keys/tools/good.pub.pem"), &["PUBLIC KEY", "BEGIN CERTIFICATE"]),
        "certificate-file-without-certificate"
    );
    assert_eq!(says(b"hello", &["text of another kind"]), "certificate-file-without-certificate");
    let root = file("root");
    assert_eq!(says(&root[..root.len() - 30], &["line 1", "cut short"]), "key-unfinished");
    let garbage = b"-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(says(&[&root, garbage.as_slice()].concat(), &["line 19", "no X.509"]), "certificate-malformed");
    assert_eq!(says(&vec![b'x'; (1 << 20) + 1], &["1 MiB"]), "key-file-too-long");
}

#[test]
fn the_systems_roots_are_read() {
    // Which they are, and whether there are any, is the machine's matter; that none of them is ours is not.
    match Roots::platform() {
        Ok(roots) => {
            let [platform, both] = [roots.clone(), roots.clone().and(Roots::parse(&file("root")).unwrap())];
            let scope = |roots| X509::new(roots).scope();
            assert_ne!(scope(platform), scope(both), "what is kept for one is none of the other's");
            let good = read(&["good"]);
            let verified = X509::new(roots).verify(&[good[0].der()], &key(), "db.example", NOW);
            refuses(verified, "certificate-unknown-issuer", &["CN=Test Root"]);
        }
        Err(error) => assert_eq!(error.code(), "no-system-roots", "{error}"),
    }
}

fn chain(names: &[&str]) -> Result<CertificateChain, CertificateFileError> {
    let text: Vec<Vec<u8>> = names.iter().map(|name| file(name)).collect();
    CertificateChain::parse(&text.concat())
}

#[test]
fn a_server_has_the_certificates_of_its_key_in_order() {
    let server = || ServerKey::load(&private_key(), aws_lc::provider()).unwrap();
    for names in [
        &["good"][..],
        &["good", "root"],
        &["by-middle", "middle"],
        &["by-under-path0", "under-path0", "path0", "root"],
    ] {
        let chain = chain(names).unwrap();
        assert_eq!((chain.ders().len(), chain.key()), (names.len(), Some(&key())), "{names:?}");
        assert_eq!((chain.warning(NOW), chain.expires()), (None, Some(LAST)));
        assert_eq!(server().with_certificates(chain).unwrap().certificates().ders().len(), names.len());
    }
    // With its private key in the same file, as some tools have it.
    let both = [include_bytes!("keys/rsa2048.pem").as_slice(), &file("good")].concat();
    assert_eq!(CertificateChain::parse(&both).unwrap().ders().len(), 1);

    let error = server().with_certificates(chain(&["other-key"]).unwrap()).unwrap_err();
    assert_eq!(error.code(), "certificate-of-other-key");
    assert!(error.to_string().contains(&key().id().to_string()), "{error}");
    assert!(server().certificates().is_empty());
}

#[test]
fn certificates_out_of_order_are_found_with_the_line() {
    let lines = |name: &str| String::from_utf8(file(name)).unwrap().lines().count();
    for (names, line, parts) in [
        (&["root", "good"][..], 1, ["CN=Test Root", "CN=db.example"]),
        (&["by-middle", "root"], 1, ["CN=Test Middle", "CN=Test Root"]),
        (&["by-middle", "middle", "other-root"], 1 + lines("by-middle"), ["CN=Test Middle", "CN=Other Root"]),
    ] {
        let error = chain(names).unwrap_err();
        let CertificateFileError::NotIssuedByNext { line: found, .. } = &error else { panic!("{names:?}: {error}") };
        assert_eq!(*found, line, "{names:?}");
        assert!(parts.iter().all(|part| error.to_string().contains(part)), "{error}");
    }
    // The name fits, the signature does not, or can't be looked at: they are in order.
    for (names, line) in [
        (&["good", "impostor"][..], 1),
        (&["sha1", "root"], 1),
        (&["by-middle", "middle", "impostor"], 1 + lines("by-middle")),
    ] {
        let error = chain(names).unwrap_err();
        let CertificateFileError::NotSignedByNext { line: found, .. } = &error else { panic!("{names:?}: {error}") };
        assert_eq!((*found, error.code()), (line, "certificate-signature-not-verified"), "{names:?}");
        let said = error.to_string();
        assert!(said.contains("CN=Test Root") && said.contains("SHA-1") && !said.contains("in order"), "{said}");
    }
    assert_eq!(chain(&["chain-of-50"]).unwrap_err(), CertificateFileError::TooMany(50));
    assert!(matches!(chain(&["ec"]), Err(CertificateFileError::Key { line: 1, .. })));
    assert_eq!(chain(&[]).unwrap_err(), CertificateFileError::Empty);
}

/// A certificate of so many bytes, by its names.
fn of_size(size: usize) -> String {
    // Behind dots of its own: no part of a name has more than 63.
    let name = |len: usize| {
        let parts = (len - 1) / 50;
        "a".repeat(len - 50 * parts) + &format!(".{}", "a".repeat(49)).repeat(parts)
    };
    let made = |names: &[String]| {
        let pem = CertificateDraft::for_names(names).unwrap().self_signed(&private_key(), NOW, YEAR).unwrap();
        let (_, certificate) = certificates_of(pem.as_bytes()).unwrap().remove(0);
        (certificate.der().len(), pem)
    };
    let mut names = vec![name(100); 100];
    let missing = |found: usize| size - found;
    // Each has two bytes in front, or three from 128 on.
    names.extend(vec![name(100); (missing(made(&names).0) - 150) / 102]);
    let last = missing(made(&names).0) - 3;
    names.push(name(last));
    made(&names).1
}

#[test]
fn certificates_that_are_larger_than_what_is_sent_are_refused_before() {
    let parse = |size| CertificateChain::parse(of_size(size).as_bytes());
    assert_eq!(parse(16_000).unwrap().ders().map(<[u8]>::len).collect::<Vec<_>>(), [limits::MAX_CERTIFICATES_SIZE]);
    assert_eq!(parse(16_001).unwrap_err(), CertificateFileError::TooLarge(16_001));
}

/// The manifest may come first, or the certificates.
#[test]
fn certificates_and_a_manifest_that_do_not_fit_together_are_refused_before() {
    let other = PrivateKey::from_pem(include_str!("keys/other2048.pem")).unwrap();
    let [own, other] = [private_key(), other].map(|key| ServerKey::load(&key, aws_lc::provider()).unwrap());
    let certified = |size: usize| {
        let chain = CertificateChain::parse(of_size(size).as_bytes()).unwrap();
        own.clone().with_certificates(chain).unwrap()
    };
    let identity = SigningKey::from_ed25519(&[7; 32]).unwrap();
    let (not_before, not_after) = (NOW, UnixTime::from_secs(NOW.as_secs() + 1));
    let keys = [&own, &other]
        .map(|key| ManifestKey { id: key.public_key().id(), not_before, not_after, floor: KeyExchange::X25519.into() })
        .to_vec();
    let names = (0..16).map(|number| format!("{number:0>255}")).collect();
    let body = ManifestBody { sequence: 1, issued: not_before, expires: not_after, names, keys };
    let manifest = body.sign(&identity, aws_lc::provider()).unwrap();
    let [small, large] = [certified(11_700), certified(13_000)];
    let fits = |key: &ServerKey| {
        let beside = || KeySet::new(other.clone()).with_manifest(manifest.clone()).unwrap();
        let tries = [
            KeySet::new(key.clone()).with_manifest(manifest.clone()),
            KeySet::new(other.clone()).with_next(key.clone()).unwrap().with_manifest(manifest.clone()),
            beside().with_next(key.clone()),
            beside().with_retired(key.clone(), not_after),
        ];
        tries.map(|keys| keys.err().map(|misuse| matches!(misuse, Misuse::TooLong { .. })))
    };
    assert_eq!(fits(&small), [None; 4]);
    assert_eq!(fits(&large), [Some(true); 4]);
}

#[test]
fn a_server_is_warned_of_certificates_out_of_their_time() {
    let warning = |names: &[&str]| chain(names).unwrap().warning(NOW);
    assert!(matches!(warning(&["expired"]), Some(NotTimely::Expired { .. })));
    assert!(matches!(warning(&["future"]), Some(NotTimely::NotYet { .. })));
    let middle = warning(&["by-middle", "middle-expired"]).unwrap();
    let until = chain(&["by-middle", "middle-expired"]).unwrap().expires();
    assert_eq!(until, Some(UnixTime::from_secs(1_767_225_599)), "that of the first one to end");
    assert!(middle.to_string().contains("CN=Test Middle expired at 2025-12-31T23:59:59Z"), "{middle}");
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

#[test]
fn a_self_signed_certificate_is_for_its_names_its_key_and_its_time() {
    let draft = CertificateDraft::for_names(["localhost", "*.db.example", "10.0.0.1", "::1"]).unwrap();
    let pem = draft.self_signed(&private_key(), NOW, YEAR).unwrap();
    let pinned = PinnedCertificate::parse(pem.as_bytes()).unwrap();
    let certificate = pinned.certificate();
    assert_eq!(certificate.names(), ["localhost", "*.db.example", "10.0.0.1", "::1"]);
    assert_eq!((certificate.subject(), certificate.issuer()), ("CN=localhost", "CN=localhost"));
    assert_eq!(certificate.not_before().as_secs(), NOW.as_secs() - 3600);
    assert_eq!(certificate.not_after().as_secs(), NOW.as_secs() + YEAR.as_secs());
    assert!(!certificate.is_authority() && certificate.may_encipher());
    for name in ["localhost", "a.db.example", "10.0.0.1", "::1"] {
        assert_eq!(pinned.verify(&key(), name, NOW), Ok(()), "{name}");
    }
    // The server takes it. It is no root: whoever has its key must not be every server.
    assert_eq!(CertificateChain::parse(pem.as_bytes()).unwrap().ders().count(), 1);
    let no_root = Roots::parse(pem.as_bytes()).unwrap_err();
    assert!(matches!(no_root, CertificateFileError::NotAuthority { line: 1, .. }), "{no_root}");
    // Another one is another.
    assert_ne!(draft.self_signed(&private_key(), NOW, YEAR).unwrap(), pem);
}

#[test]
fn names_and_times_that_no_certificate_has_are_refused() {
    for name in [
        "",
        "db example",
        "db.example:4500",
        "https://db.example",
        "*",
        "*.*.example",
        "a.*.example",
        "b\u{fc}cher.example",
        // No verifier takes them.
        "*.lan",
        "*.example",
        "*.example.",
        "db.example.",
        "*.db.example.",
        "localhost.",
    ] {
        let error = CertificateDraft::for_names([name]).unwrap_err();
        assert_eq!(error, DraftError::BadName(name.to_owned()), "{name}");
    }
    // What the sentence gives for examples is taken.
    let said = DraftError::BadName(String::new()).to_string();
    for name in ["db.example", "*.db.example"] {
        assert!(said.contains(&format!(" {name}")) && CertificateDraft::for_names([name]).is_ok(), "{name}: {said}");
    }
    assert_eq!(CertificateDraft::for_names::<&str>([]).unwrap_err(), DraftError::NoName);
    let draft = CertificateDraft::for_names(["localhost"]).unwrap();
    for lifetime in [Duration::ZERO, YEAR * 8000, Duration::MAX] {
        assert_eq!(draft.self_signed(&private_key(), NOW, lifetime).unwrap_err(), DraftError::BadTime);
    }
    // A common name has 64 characters at most, a name may have more.
    let long = format!("{}.example", "a".repeat(60));
    let pem = CertificateDraft::for_names([&long]).unwrap().self_signed(&private_key(), NOW, YEAR).unwrap();
    let (_, certificate) = certificates_of(pem.as_bytes()).unwrap().remove(0);
    assert_eq!((certificate.subject(), certificate.names()), ("nobody", [long].as_slice()));
}

/// Runs `openssl` where there is one.
fn openssl(folder: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("openssl").args(args).current_dir(folder).output();
    let output = match output {
        Ok(output) => output,
        Err(_) => {
            left_out("openssl", "there is no openssl here");
            return None;
        }
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    Some(said)
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn openssl_reads_what_is_made() {
    let folder = folder("x509-made");
    let draft = CertificateDraft::for_names(["db.example", "10.0.0.1"]).unwrap();
    fs::write(folder.join("server.crt"), draft.self_signed(&private_key(), NOW, YEAR).unwrap()).unwrap();
    fs::write(folder.join("server.csr"), draft.request(&private_key()).unwrap()).unwrap();
    let Some(said) = openssl(&folder, &["x509", "-in", "server.crt", "-noout", "-text"]) else { return };
    for part in [
        "sha256WithRSAEncryption",
        "CA:FALSE",
        "Key Encipherment",
        "TLS Web Server Authentication",
        "DNS:db.example",
        "IP Address:10.0.0.1",
    ] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    openssl(&folder, &["verify", "-CAfile", "server.crt", "-attime", "1795737700", "server.crt"]).unwrap();
    let said = openssl(&folder, &["req", "-in", "server.csr", "-noout", "-text", "-verify"]).unwrap();
    for part in [
        "CN = db.example",
        "Key Encipherment",
        "TLS Web Server Authentication",
        "DNS:db.example",
        "IP Address:10.0.0.1",
    ] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
}

/// Lets alice in, by password and by ticket.
struct Alice;

impl Verifier for Alice {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        match attempt.credential() {
            Credential::Password { user: "alice", password: b"correct horse" } => Ok(alice()),
            _ => Err(Reason::WrongPassword),
        }
    }

    fn resume(&self, _: &Returning<'_>) -> Result<Grant, Reason> {
        Ok(alice())
    }
}

/// With an epoch, as tickets are for accounts that have one.
fn alice() -> Grant {
    Grant::new("alice", ["read"]).unwrap().with_epoch(1)
}

/// A server with these certificates: where it listens.
fn serve(certificates: &[&str]) -> SocketAddr {
    let provider = aws_lc::provider();
    let mut key = ServerKey::load(&private_key(), provider).unwrap();
    if !certificates.is_empty() {
        key = key.with_certificates(chain(certificates).unwrap()).unwrap();
    }
    let tickets = Arc::new(TicketKeys::new(provider, Duration::from_secs(3600)));
    let config = ServerConfig::new(provider).with_tickets(tickets);
    let acceptor = Acceptor::new(config, ServerKeys::from(key).with_any_name(), Alice);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, peer)) = listener.accept() {
            let session = acceptor.accept_blocking(stream, peer);
            let _ = session.and_then(|session| session.finish_blocking(Duration::from_secs(60)));
        }
    });
    address
}

/// A login: whether the server's key was proved first, and whether a ticket was taken.
fn log_in(connector: &Connector, address: SocketAddr) -> Result<(bool, bool), LoginError> {
    let alice = Credential::Password { user: "alice", password: b"correct horse" };
    let mut session = connector.connect_blocking(TcpStream::connect(address).unwrap(), alice)?;
    session.close()?;
    Ok((session.info().is_proved(), session.info().is_resumed()))
}

fn connector(server: Server) -> Connector {
    let server = server.with_name("db.example").unwrap();
    Connector::new(ClientConfig::new(aws_lc::provider()), server).with_tickets(MemoryTickets::new())
}

/// A ClientHello with this data in each of its extensions.
fn with_data(hello: &[u8], data: &[u8]) -> Vec<u8> {
    let mut message = codec::decode::<ClientHello<'_>>(&hello[3..]).unwrap();
    let filled = message.extensions.iter().map(|extension| Extension { data: Bytes(data), ..*extension });
    message.extensions = List::from_slice(&filled.collect::<Vec<_>>()).unwrap();
    let mut body = Vec::new();
    codec::encode(&message, &mut body).unwrap();
    [&hello[..1], &u16::try_from(body.len()).unwrap().to_be_bytes(), &body].concat()
}

#[test]
fn certificates_go_to_clients_that_ask_for_them_where_there_are_some() {
    let (binding, now, rng) = (ChannelBinding::none(), Moment::ORIGIN, &mut StdRng::seed_from_u64(1));
    let (client, server) = (ClientConfig::new(aws_lc::provider()).into(), ServerConfig::new(aws_lc::provider()).into());
    let mut shown = |key: &ServerKey, trust: &Server, data: &[u8]| {
        let (hello, _) = client::start(&client, trust, &binding, rng, now).unwrap();
        let hello = with_data(&hello, data);
        let hello = AwaitHello::new(&server, &binding, now).read(hello, now).unwrap().choose(key).unwrap();
        let (frame, _) = hello.challenge(rng).unwrap();
        let extensions = codec::decode::<ServerHello<'_>>(&frame[3..]).unwrap().extensions;
        extensions.iter().filter(|extension| extension.number == 1).count()
    };
    let bare = ServerKey::load(&private_key(), aws_lc::provider()).unwrap();
    let certified = bare.clone().with_certificates(chain(&["good"]).unwrap()).unwrap();
    let asks = Server::trusting(X509::new(Roots::parse(&file("root")).unwrap())).with_name("db.example").unwrap();
    let does_not = Server::pinned(key().id());
    // Data that should be empty is not looked at.
    for data in [&[][..], &[0], &[7; 300]] {
        assert_eq!([shown(&certified, &asks, data), shown(&certified, &does_not, data)], [1, 0]);
        assert_eq!([shown(&bare, &asks, data), shown(&bare, &does_not, data)], [0, 0]);
    }
    let largest = CertificateChain::parse(of_size(limits::MAX_CERTIFICATES_SIZE).as_bytes()).unwrap();
    assert_eq!(shown(&bare.with_certificates(largest).unwrap(), &asks, &[]), 1, "there is room for as much as may be");
}

#[test]
fn a_server_that_shows_its_certificates_gets_a_password_and_then_its_ticket() {
    let address = serve(&["by-middle", "middle"]);
    let connector = connector(Server::trusting(X509::new(Roots::parse(&file("root")).unwrap())));
    assert_eq!(log_in(&connector, address).unwrap(), (false, false));
    // It is remembered that its key was certified, so that the ticket is shown.
    assert!(log_in(&connector, address).unwrap().1);
}

#[test]
fn a_server_gets_nothing_unless_its_certificates_are_good() {
    let root = || Server::trusting(X509::new(Roots::parse(&file("root")).unwrap()));
    for (certificates, code) in [
        (&[][..], "no-certificate"),
        (&["expired"], "certificate-expired"),
        (&["by-other", "other-root"], "certificate-unknown-root"),
        (&["by-middle"], "certificate-unknown-issuer"),
    ] {
        let error = log_in(&connector(root()), serve(certificates)).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains("nothing secret was sent"), "{error}");
        // Unless its key is known in another way, too.
        log_in(&connector(root().or(Server::pinned(key().id()))), serve(certificates)).unwrap();
    }
}

#[test]
fn a_server_with_a_certificate_that_was_given_proves_itself_first() {
    let pinned = |name: &str| connector(Server::trusting(PinnedCertificate::parse(&file(name)).unwrap()));
    // It need not even show it.
    assert_eq!(log_in(&pinned("self"), serve(&[])).unwrap(), (true, false));
    let error = log_in(&pinned("self-expired"), serve(&["self-expired"])).unwrap_err();
    assert_eq!(error.code(), "certificate-expired", "{error}");
}

#[test]
fn what_is_kept_for_a_server_is_kept_by_its_roots_and_its_name() {
    let x509 = |root: &str| X509::new(Roots::parse(&file(root)).unwrap());
    let both = [file("root"), file("other-root")].concat();
    let other_way = [file("other-root"), file("root")].concat();
    assert_ne!(x509("root").scope(), x509("other-root").scope());
    assert_ne!(x509("root").scope(), x509("root").for_name("db.example").unwrap().scope());
    let scope = |bytes: &[u8]| X509::new(Roots::parse(bytes).unwrap()).scope();
    assert_eq!(scope(&both), scope(&other_way));
    let id = key().id();
    let suite = Suite::X25519_AES_256_GCM;
    assert!(matches!(x509("root").recall(id, suite, NOW), Answer::Unknown(_)), "no certificate was seen yet");
    let pinned = PinnedCertificate::parse(&file("self")).unwrap();
    assert_eq!(pinned.recall(id, suite, NOW), Answer::Trusted(TrustLevel::Verified));
    assert!(matches!(pinned.recall(id, suite, UnixTime::from_secs(LAST.as_secs() + 1)), Answer::Unknown(_)));
}

/// An authority that certifies any key, with any end.
struct Authority {
    root: Vec<u8>,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

/// A key as it stands in a certificate.
struct Certified(Vec<u8>);

impl rcgen::PublicKeyData for Certified {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Made Root");
        let key = rcgen::KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().to_vec();
        Self { root, issuer: rcgen::Issuer::new(params, key) }
    }

    /// This key, of which there is no private half, with a certificate that ends with the year before this one.
    fn certify(&self, number: u8, year: i32) -> ServerKey {
        let mut modulus = der::modulus(2048);
        modulus[1] = number;
        let certified = Certified(der::sequence(&[&der::integer(&modulus), &der::integer(&[1, 0, 1])]));
        let key = PublicKey::from_spki_der(&der::spki(&modulus, &[1, 0, 1])).unwrap();
        let mut params = rcgen::CertificateParams::new(["db.example".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&certified, &self.issuer).unwrap();
        let chain = CertificateChain::parse(certificate.der()).unwrap();
        ServerKey::public_only(key).with_certificates(chain).unwrap()
    }
}

/// A client meets a server with this key, and takes it. Gives its id, and the last second of its certificates.
fn take(x509: &Arc<X509>, key: &ServerKey) -> (KeyId, UnixTime) {
    let (binding, now, rng) = (ChannelBinding::none(), Moment::ORIGIN, &mut StdRng::seed_from_u64(1));
    let (config, server) = (ClientConfig::new(aws_lc::provider()).into(), ServerConfig::new(aws_lc::provider()).into());
    let trust = Server::trusting(Arc::clone(x509)).with_name("db.example").unwrap();
    let (hello, client) = client::start(&config, &trust, &binding, rng, now).unwrap();
    let hello = AwaitHello::new(&server, &binding, now).read(hello, now).unwrap().choose(key).unwrap();
    let challenge = client.read(&hello.challenge(rng).unwrap().0, now).unwrap();
    let answer = x509.decide(&challenge.question(&trust, NOW, &Context::uncounted()));
    assert_eq!(answer, Answer::Trusted(TrustLevel::Certified));
    (challenge.key().id(), key.certificates().expires().unwrap())
}

fn recalls(x509: &X509, id: KeyId, now: UnixTime) -> bool {
    x509.recall(id, Suite::X25519_AES_256_GCM, now) == Answer::Trusted(TrustLevel::Certified)
}

#[test]
fn a_ticket_is_shown_until_the_certificates_of_its_key_expire_that_were_seen_last() {
    let authority = Authority::new();
    let x509 = Arc::new(X509::new(Roots::parse(&authority.root).unwrap()));
    for year in [2040, 2030, 2050] {
        let (id, until) = take(&x509, &authority.certify(1, year));
        assert!(recalls(&x509, id, until), "{year}");
        assert!(!recalls(&x509, id, UnixTime::from_secs(until.as_secs() + 1)), "{year}");
    }
}

#[test]
fn of_the_keys_with_good_certificates_the_last_sixteen_are_remembered() {
    let authority = Authority::new();
    let x509 = Arc::new(X509::new(Roots::parse(&authority.root).unwrap()));
    let ids: Vec<KeyId> = (0..17).map(|number| take(&x509, &authority.certify(number, 2040)).0).collect();
    let recalled: Vec<bool> = ids.iter().map(|id| recalls(&x509, *id, NOW)).collect();
    assert!(!recalled[0] && recalled[1..].iter().all(|is_recalled| *is_recalled), "{recalled:?}");
}

/// The commands of a document, one to a line, in its first block for a shell.
fn commands(document: &str) -> Vec<String> {
    let block = document.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    block.lines().map(str::to_owned).collect()
}

#[test]
fn an_authority_made_by_the_three_documented_commands_works_at_the_first_try() {
    let folder = folder("x509-documented");
    fs::write(folder.join("server.pem"), include_str!("keys/rsa2048.pem")).unwrap();
    if openssl(&folder, &["version"]).is_none() {
        return;
    }
    let commands = commands(include_str!("../docs/certificates.md"));
    assert_eq!(commands.len(), 3);
    for command in &commands {
        let output = Command::new("sh").args(["-c", command]).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let chain = CertificateChain::parse(&read("server.crt")).unwrap();
    let now = || UnixTime::from_system(std::time::SystemTime::now());
    assert_eq!(chain.warning(now()), None);
    let server = ServerKey::load(&private_key(), aws_lc::provider()).unwrap().with_certificates(chain).unwrap();
    let x509 = X509::new(Roots::parse(&read("ca.crt")).unwrap());
    let ders: Vec<&[u8]> = server.certificates().ders().collect();
    for name in ["db.example", "10.0.0.1"] {
        assert_eq!(x509.verify(&ders, &key(), name, now()), Ok(server.certificates().expires().unwrap()), "{name}");
    }
    refuses(x509.verify(&ders, &key(), "other.example", now()), "certificate-name", &["db.example, 10.0.0.1"]);
    // The request of our own serves as well as the second command's.
    let request = CertificateDraft::for_names(["db.example", "10.0.0.1"]).unwrap().request(&private_key()).unwrap();
    fs::write(folder.join("server.csr"), request).unwrap();
    assert!(Command::new("sh").args(["-c", &commands[2]]).current_dir(&folder).output().unwrap().status.success());
    let (_, certificate) = certificates_of(&read("server.crt")).unwrap().remove(0);
    assert_eq!(x509.verify(&[certificate.der()], &key(), "db.example", now()), Ok(certificate.not_after()));
}
