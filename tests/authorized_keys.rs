//! Lines of `authorized_keys`: what is taken, and that nothing is passed over.

#![cfg(all(any(feature = "rustcrypto", feature = "aws-lc"), feature = "key-formats"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use base64ct::{Base64, Base64Unpadded, Encoding};
use countersign::crypto::{KeyFileError, OpenSshFingerprint};
use countersign::{
    AddressPatterns, AuthorizedKey, AuthorizedKeyError as Error, AuthorizedKeysError, BadAddressPattern, KeyError,
    SigningKey, UnixTime, VerifyingKey,
};
use sha2::{Digest, Sha256};
use std::net::IpAddr;

fn tool(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/keys/signing/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn alice() -> VerifyingKey {
    SigningKey::from_ed25519(&[7; 32]).unwrap().public_key().clone()
}

/// A line with these options.
fn line(options: &str) -> String {
    format!("{options} {}", alice().to_openssh("alice"))
}

fn with(options: &str) -> Result<AuthorizedKey, Error> {
    AuthorizedKey::parse(&line(options))
}

fn from(key: &AuthorizedKey) -> Option<&str> {
    key.allowed_from().map(AddressPatterns::as_str)
}

fn admits(from: &str, address: &str) -> bool {
    let key = with(&format!("from=\"{from}\"")).unwrap();
    key.admits(Some(address.parse().unwrap()), UnixTime::from_secs(0))
}

#[test]
fn a_line_gives_its_key_and_its_comment() {
    for name in ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"] {
        let text = tool(name);
        let key = AuthorizedKey::parse(&text).unwrap();
        assert_eq!((key.comment(), key.allowed_from(), key.until()), ("alice@laptop", None, None));
        assert_eq!(key.to_string(), text.trim());
        let everywhere = ["192.0.2.1", "::1"].map(|address| Some(address.parse::<IpAddr>().unwrap()));
        assert!(everywhere.iter().chain(&[None]).all(|address| key.admits(*address, UnixTime::from_secs(u64::MAX))));
        for text in [format!("  {text}"), text.replace(' ', "\t "), text.replace('\n', "\r\n")] {
            assert_eq!(AuthorizedKey::parse(&text).as_ref(), Ok(&key), "{text:?}");
        }
    }
    let text = alice().to_openssh("");
    let commented = AuthorizedKey::parse(&format!("{text}  two  words # and \"more\" ")).unwrap();
    assert_eq!(commented.comment(), "two  words # and \"more\"");
    assert_eq!(AuthorizedKey::parse(&text).unwrap().comment(), "");
    let made = AuthorizedKey::new(alice(), "a\nb\u{7}");
    assert_eq!(AuthorizedKey::parse(&made.to_string()), Ok(made));
}

#[test]
fn every_other_option_is_refused_by_its_name() {
    for name in [
        "restrict",
        "no-pty",
        "no-port-forwarding",
        "cert-authority",
        "pty",
        "agent-forwarding",
        "no-touch-required",
        "verify-required",
        "FROMM",
        "expiry",
    ] {
        assert_eq!(with(name).unwrap_err(), Error::Option(name.to_owned()));
        assert_eq!(with(&format!("from=\"192.0.2.1\",{name}")).unwrap_err(), Error::Option(name.to_owned()));
        assert_eq!(with(&format!("{name},from=\"192.0.2.1\"")).unwrap_err(), Error::Option(name.to_owned()));
    }
    for (options, name) in [
        ("command=\"echo \\\"hi, there\\\"\"", "command"),
        ("environment=\"A=from\"", "environment"),
        ("principals=\"alice\"", "principals"),
        ("permitopen=\"192.0.2.1:80\"", "permitopen"),
        ("tunnel=\"0\"", "tunnel"),
        ("", ""),
        ("a\u{1b}[2J", "a[2J"),
    ] {
        assert_eq!(with(&format!("from=\"::1\",{options}")).unwrap_err(), Error::Option(name.to_owned()));
    }
    let error = with("no-pty").unwrap_err();
    assert!(error.to_string().contains("no-pty") && error.to_string().contains("from="), "{error}");
}

#[test]
fn what_openssh_calls_a_key_by_is_no_key_id() {
    let key = alice();
    let line = key.to_openssh("");
    let blob = Base64::decode_vec(line.split(' ').nth(1).unwrap()).unwrap();
    let printed = format!("SHA256:{}", Base64Unpadded::encode_string(&Sha256::digest(blob)));
    assert_eq!(key.openssh_fingerprint().to_string(), printed);
    assert_eq!(printed.parse::<OpenSshFingerprint>(), Ok(key.openssh_fingerprint()));
    assert_ne!(key.id().to_string(), printed);
    for bad in ["", "MD5:00", &printed[..49], &format!("{printed}=")] {
        assert!(bad.parse::<OpenSshFingerprint>().is_err(), "{bad}");
    }
}

/// As editors and people write them: a mark of Windows in front, an old encoding in a comment, a heading.
#[test]
fn no_line_of_a_file_is_left_out_for_what_stands_around_it() {
    let key = alice().to_openssh("");
    let key = key.trim_end().as_bytes();
    let line = |options: &str, comment: &[u8]| [options.as_bytes(), key, b" ", comment, b"\n"].concat();
    let bound = line("from=\"192.0.2.0/24\" ", b"bound");
    for front in [&b"\xef\xbb\xbf"[..], b"", b"# keys\n\n"] {
        for first in [line("", b"andr\xe9"), line("", b"andr\xc3\xa9"), line("from=\"::1\" ", b"\xff")] {
            let keys = AuthorizedKey::read(&[front, &first, &bound].concat()).unwrap();
            assert_eq!(keys.len(), 2);
            assert_eq!((from(&keys[1]), keys[1].comment()), (Some("192.0.2.0/24"), "bound"));
        }
    }
    for heading in ["Keys of alice:\n", "ssh-dss AAAA\n"] {
        let refused = AuthorizedKey::read(&[heading.as_bytes(), &bound].concat()).unwrap_err();
        assert!(matches!(refused, AuthorizedKeysError::Line { line: 1, .. }), "{refused}");
    }
}

#[test]
fn from_admits_addresses_blocks_and_patterns() {
    for (from, inside, outside) in [
        ("192.0.2.7", &["192.0.2.7", "::ffff:192.0.2.7"][..], &["192.0.2.70", "192.0.2.8", "::c000:207"][..]),
        ("192.0.2.0/24", &["192.0.2.0", "192.0.2.255"], &["192.0.3.0", "192.0.1.255", "::"]),
        ("0.0.0.0/0", &["192.0.2.1", "0.0.0.0"], &["::1"]),
        ("::/0", &["::1", "2001:db8::1"], &["192.0.2.1", "::ffff:192.0.2.1"]),
        ("192.0.2.7/32", &["192.0.2.7"], &["192.0.2.6"]),
        ("::ffff:192.0.2.0/120", &["192.0.2.7", "::ffff:192.0.2.7"], &["192.0.3.7", "::1", "::c000:207"]),
        ("0.0.0.0/0,!::ffff:192.0.2.0/120", &["192.0.3.7"], &["192.0.2.7", "::ffff:192.0.2.7"]),
        ("*,!::FFFF:c000:207/128", &["192.0.2.8", "::1"], &["192.0.2.7", "::ffff:192.0.2.7"]),
        ("::ffff:0:0/96", &["192.0.2.7"], &["::1", "::fffe:0:1"]),
        ("::/80", &["::1"], &["192.0.2.7"]),
        ("192.0.2.4/31", &["192.0.2.4", "192.0.2.5"], &["192.0.2.6", "192.0.2.3"]),
        ("2001:db8::/32", &["2001:db8::1", "2001:db8:ffff::"], &["2001:db9::", "2001:db7:ffff::"]),
        ("2001:DB8::1", &["2001:db8::1", "2001:db8:0::1"], &["2001:db8::2"]),
        ("::1/128", &["::1"], &["::2"]),
        ("192.0.2.*", &["192.0.2.1", "192.0.2.255"], &["192.0.21.1", "192.0.20.2"]),
        ("10.?.0.1", &["10.5.0.1"], &["10.55.0.1"]),
        ("*", &["192.0.2.1", "::1"], &[]),
        ("2001:DB8:*", &["2001:db8::1"], &["2001:db9::1", "192.0.2.1"]),
        ("*:*", &["::1"], &["192.0.2.1"]),
        ("1*2*3", &["1.0.2.3", "192.2.2.33"], &["2.1.2.3", "1.2.0.4"]),
        ("192.0.2.1,::1", &["192.0.2.1", "::1"], &["192.0.2.2"]),
        ("192.0.2.1, 192.0.2.2", &["192.0.2.1", "192.0.2.2"], &["192.0.2.3"]),
        ("192.0.2.0/24,!192.0.2.13", &["192.0.2.12"], &["192.0.2.13", "::ffff:192.0.2.13", "192.0.3.1"]),
        ("!192.0.2.13,192.0.2.0/24", &["192.0.2.12"], &["192.0.2.13"]),
        ("*,!10.*", &["192.0.2.1"], &["10.0.0.1"]),
        ("!10.0.0.0/8", &[], &["10.0.0.1", "192.0.2.1", "::1"]),
    ] {
        for address in inside {
            assert!(admits(from, address), "{address} is in {from}");
        }
        for address in outside {
            assert!(!admits(from, address), "{address} is not in {from}");
        }
        let key = with(&format!("from=\"{from}\"")).unwrap();
        assert!(!key.admits(None, UnixTime::from_secs(0)), "no address is none of {from}");
        assert_eq!((self::from(&key), AuthorizedKey::parse(&key.to_string()).as_ref()), (Some(from), Ok(&key)));
    }
}

#[test]
fn from_takes_nothing_that_it_can_t_tell() {
    for part in [
        "",
        "!",
        "db.example",
        "*.example.com",
        "*.cafe",
        "localhost",
        "192.0.2.7/24",
        "192.0.2.0/33",
        "::1/129",
        "192.0.2.0/",
        "192.0.2.0/+24",
        "192.0.2.0/0024",
        "192.0.2.0/0240",
        "192.0.2.0/x",
        "/8",
        "::ffff:192.0.3.0/119",
        "::ffff:0:0/95",
        "::ffff:192.0.2.*",
        "!::ffff:192.0.2.*",
        "::FFFF:c000:2*",
        "*:192.0.2.7",
        "192.0.2",
        "192.0.2.256",
        "!!::1",
        "192.0.2.*/24",
        "fe80::1%eth0",
        "[::1]",
        "192.0.2.1:22",
        "1\u{7}",
    ] {
        let printed: String = part.chars().filter(char::is_ascii_graphic).collect();
        for from in [part.to_owned(), format!("::1,{part}"), format!("{part},::1")] {
            assert_eq!(
                with(&format!("from=\"{from}\"")).unwrap_err(),
                Error::From(BadAddressPattern(printed.clone())),
                "{from}"
            );
        }
    }
    // Nor does any take long.
    let stars = "*1".repeat(1000);
    assert!(!admits(&stars, "2001:db8:1:1:1:1:1:1111"));
}

#[test]
fn expiry_time_is_the_last_second_in_utc() {
    for (text, seconds, written) in [
        ("19700101", 0, "19700101Z"),
        ("19700102Z", 86_400, "19700102Z"),
        ("20270115Z", 1_799_971_200, "20270115Z"),
        ("202701150800", 1_800_000_000, "20270115080000Z"),
        ("202701150800Z", 1_800_000_000, "20270115080000Z"),
        ("20270115080000", 1_800_000_000, "20270115080000Z"),
        ("20270115075959Z", 1_799_999_999, "20270115075959Z"),
        ("20000229", 951_782_400, "20000229Z"),
        ("20240229", 1_709_164_800, "20240229Z"),
        ("20231231235959", 1_704_067_199, "20231231235959Z"),
        ("21000301", 4_107_542_400, "21000301Z"),
        ("99991231235959Z", 253_402_300_799, "99991231235959Z"),
    ] {
        let key = with(&format!("expiry-time=\"{text}\"")).unwrap();
        assert_eq!(key.until(), Some(UnixTime::from_secs(seconds + 1)), "{text}");
        assert!(key.admits(None, UnixTime::from_secs(seconds)));
        assert!(!key.admits(None, UnixTime::from_secs(seconds + 1)));
        assert!(key.to_string().starts_with(&format!("expiry-time=\"{written}\" ssh-ed25519 ")), "{key}");
        assert_eq!(AuthorizedKey::parse(&key.to_string()), Ok(key));
    }
    for text in [
        "",
        "Z",
        "2027",
        "202701",
        "2027011",
        "2027011508",
        "2027-01-15",
        "20270132",
        "20270100",
        "20270015",
        "20271315",
        "20230229",
        "21000229",
        "20270431",
        "202701152400",
        "202701150860",
        "20270115080060",
        "20270115z",
        "20270115ZZ",
        "20270115 ",
        "+2027011",
        "19691231",
        "20270115Z0",
        "never",
    ] {
        let error = with(&format!("expiry-time=\"{text}\"")).unwrap_err();
        assert_eq!(error, Error::Expiry(text.trim().to_owned()), "{text}");
    }
}

#[test]
fn both_options_bound_a_key_together_in_any_order_and_case() {
    for options in ["from=\"::1\",expiry-time=\"19700102\"", "Expiry-Time=\"19700102Z\",FROM=\"::1\""] {
        let key = with(options).unwrap();
        let at = |address: &str, seconds| key.admits(Some(address.parse().unwrap()), UnixTime::from_secs(seconds));
        assert!(at("::1", 86_400) && !at("::2", 86_400) && !at("::1", 86_401));
        let expected = format!("from=\"::1\",expiry-time=\"19700102Z\" {}", alice().to_openssh("alice"));
        assert_eq!(key.to_string(), expected);
    }
    assert_eq!(with("from=\"::1\",from=\"::2\"").unwrap_err(), Error::Twice("from"));
    let twice = with("expiry-time=\"20270101\",expiry-time=\"20270101\"").unwrap_err();
    assert_eq!(twice, Error::Twice("expiry-time"));
    for options in
        ["from", "from=", "from=::1", "from=\"::1", "from=\"::1\"x", "from =\"::1\"", "from='::1'", "from\"::1\""]
    {
        assert_eq!(with(options).unwrap_err(), Error::Unquoted("from"), "{options}");
    }
    assert_eq!(with("expiry-time=20270101").unwrap_err(), Error::Unquoted("expiry-time"));
}

#[test]
fn what_is_no_line_of_a_key_says_so() {
    let [ed25519, ecdsa] = ["id_ed25519.pub", "id_ecdsa.pub"].map(tool);
    let (ours, theirs) = (alice().to_openssh(""), ecdsa.split(' ').nth(1).unwrap());
    let blob = ours.split(' ').nth(1).unwrap();
    for (text, error) in [
        (String::new(), Error::Empty),
        (" \t\n".to_owned(), Error::Empty),
        (format!("# {ed25519}"), Error::Empty),
        ("a".repeat((64 << 10) + 1), Error::TooLong),
        ("hello world".to_owned(), Error::NoKey),
        (blob.to_owned(), Error::NoKey),
        ("ssh-ed25519".to_owned(), Error::NoKey),
        (format!("from=\"::1\" {blob} ssh-ed25519"), Error::NoKey),
        (format!("from=\"::1\",ssh-ed25519 {blob} ssh-x"), Error::Option("ssh-ed25519".to_owned())),
        (format!("ssh-ed25519 {}", &blob[..41]), Error::BadBase64),
        ("ssh-ed25519 AAAA*".to_owned(), Error::BadBase64),
        ("ssh-ed25519 AAAA".to_owned(), Error::BadBase64),
        (format!("ssh-ed25519 {theirs}"), Error::Mismatch),
        (format!("ssh-rsa {blob}"), Error::Mismatch),
        (format!("ssh-ed25519 {}", &blob[..40]), Error::Key(KeyError::NotDer)),
        (tool("id_ecdsa384.pub"), Error::Key(KeyError::NotSigning("ecdsa-sha2-nistp384".to_owned()))),
        ("ssh-dss AAAAB3NzaC1kc3M=".to_owned(), Error::Key(KeyError::NotSigning("ssh-dss".to_owned()))),
    ] {
        let found = AuthorizedKey::parse(&text).unwrap_err();
        match (&found, &error) {
            // What exactly is wrong with it, that crate knows.
            (Error::Key(KeyError::NotSigning(_) | KeyError::NotDer), Error::Key(_)) => {}
            _ => assert_eq!(found, error, "{:.80}", text),
        }
        assert!(!found.code().is_empty() && !found.to_string().is_empty());
    }
}

#[test]
fn a_file_is_read_in_either_form_and_whole() {
    let [ed25519, ecdsa] = ["id_ed25519.pub", "id_ecdsa.pub"].map(tool);
    let text = format!("# keys of Alice's\n\n{ed25519}from=\"::1\" {ecdsa}\t# the end");
    let keys = AuthorizedKey::read(text.as_bytes()).unwrap();
    assert_eq!(keys.iter().map(from).collect::<Vec<_>>(), [None, Some("::1")]);
    let pem = tool("ed25519.pub.pem") + &tool("p256.pub.pem");
    let keys = AuthorizedKey::read(pem.as_bytes()).unwrap();
    assert_eq!(keys.iter().map(AuthorizedKey::comment).collect::<Vec<_>>(), ["", ""]);
    assert_eq!(AuthorizedKey::read(keys[0].key().spki_der()).unwrap()[0].key(), keys[0].key());
    let error = AuthorizedKey::read(format!("{ed25519}\nno-pty {ecdsa}").as_bytes()).unwrap_err();
    let source = Error::Option("no-pty".to_owned());
    assert_eq!(error, AuthorizedKeysError::Line { line: 3, source });
    assert_eq!(error.code(), "authorized-key-option");
    for (file, error) in [
        (Vec::new(), KeyFileError::Empty),
        (
            b"\xff\xfe".to_vec(),
            KeyFileError::NoKey { looks_like: "text in UTF-16, as PowerShell writes it", cure: None },
        ),
        (vec![b' '; (1 << 20) + 1], KeyFileError::TooLong),
    ] {
        match (AuthorizedKey::read(&file).unwrap_err(), error) {
            (AuthorizedKeysError::File(KeyFileError::NoKey { .. }), KeyFileError::NoKey { .. }) => {}
            (found, error) => assert_eq!(found, AuthorizedKeysError::File(error)),
        }
    }
    assert!(AuthorizedKey::read(tool("ed25519.pem").as_bytes()).unwrap_err().to_string().contains("private key"));
}

#[test]
fn no_line_makes_it_panic() {
    let mut rng = support::TestRng::new("broken lines");
    let good = line("from=\"192.0.2.0/24,!10.*\",expiry-time=\"20270115080000Z\"");
    for _ in 0..3000 {
        let mut broken: Vec<char> = good.chars().collect();
        for _ in 0..=rng.below(4) {
            let at = rng.below(broken.len());
            match rng.below(3) {
                0 => broken[at] = char::from(rng.below(256) as u8),
                1 => drop(broken.remove(at)),
                _ => broken.insert(at, ['"', ',', ' ', '=', '\u{2028}'][rng.below(5)]),
            }
        }
        let text: String = broken.into_iter().collect();
        if let Ok(key) = AuthorizedKey::parse(&text) {
            assert_eq!(AuthorizedKey::parse(&key.to_string()), Ok(key), "{text}");
        }
        let _ = AuthorizedKey::read(text.as_bytes());
    }
}
