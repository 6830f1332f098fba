//! Known-hosts files: what is listed, revoked and broken, and edits that lose nobody's.

#![cfg(feature = "files")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

#[path = "support/folder.rs"]
mod folder;

use countersign::files::FileError;
use countersign::known_hosts::{Accepted, BrokenLine, Hosts, HostsError, KnownHosts, LineError, Listing};
use countersign::{KeyExchange, KeyId, PrivateKey, PublicKey, UnixTime};
use folder::files;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use tempfile::TempDir;

const DB: &str = "db.example:4500";
const WWW: &str = "[2001:db8::1]:4500";

/// Two keys, of different servers or of one.
static KEYS: LazyLock<[PublicKey; 2]> = LazyLock::new(|| {
    [include_str!("keys/rsa2048.pem"), include_str!("keys/other2048.pem")]
        .map(|pem| PrivateKey::from_pem(pem).unwrap().public_key().clone())
});

fn one() -> &'static PublicKey {
    &KEYS[0]
}

fn other() -> &'static PublicKey {
    &KEYS[1]
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("known_hosts");
    (folder, path)
}

fn known(path: &Path) -> KnownHosts {
    KnownHosts::open(path).unwrap()
}

fn first_use(key: &PublicKey) -> Listing {
    Listing::new(key.clone(), Accepted::FirstUse)
}

/// A line as the library writes it, for this name.
fn line(name: &str, key: &PublicKey) -> String {
    let (_folder, path) = folder();
    known(&path).add("x:1", &first_use(key)).unwrap();
    fs::read_to_string(&path).unwrap().replacen("x:1", name, 1)
}

/// The fingerprints that are listed for a name, the newest first.
fn ids(path: &Path, name: &str) -> Vec<KeyId> {
    known(path).lookup(name).unwrap().keys().iter().map(|entry| entry.id()).collect()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// Without the dates, which are of today, and the keys, which are long.
fn outline(path: &Path) -> String {
    let is_short = |word: &&str| !word.starts_with("since=") && !word.starts_with("key=");
    let lines = text(path)
        .lines()
        .map(|line| line.split(' ').filter(is_short).collect::<Vec<_>>().join(" ") + "\n")
        .collect::<Vec<_>>();
    lines.concat()
}

#[test]
fn a_missing_file_is_an_empty_one_and_is_made_by_the_first_line_for_its_owner_alone() {
    let (folder, path) = folder();
    let hosts = known(&path);
    assert!(hosts.lookup(DB).unwrap().is_new() && hosts.entries().unwrap().is_empty());
    assert!(matches!(hosts.remove(DB, None), Err(HostsError::NoSuchName(name)) if name == DB));
    assert!(matches!(hosts.confirm(DB, one().id()), Err(HostsError::NoSuchKey { .. })));
    assert!(!path.exists(), "nothing was added");
    assert!(hosts.add(DB, &first_use(one())).unwrap());
    let today = humantime_today();
    let key = one();
    assert!(text(&path).starts_with(&format!("{DB} accepted=first-use since={today}")), "{}", text(&path));
    assert!(text(&path).contains(" floor=rsa+x25519 key=MIIB") && text(&path).ends_with('\n'));
    let listed = hosts.lookup(DB).unwrap();
    let entry = &listed.keys()[0];
    assert_eq!((entry.line(), entry.key(), entry.accepted()), (1, Some(key), Some(Accepted::FirstUse)));
    assert_eq!((entry.floor(), entry.until(), entry.names()), (KeyExchange::X25519, None, vec![DB.to_owned()]));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    }
    // A folder that is missing is not made.
    let nowhere = known(&folder.path().join("missing/known_hosts"));
    let refused = nowhere.add(DB, &first_use(key)).unwrap_err();
    assert!(matches!(refused, HostsError::File(FileError::NoFolder { .. })), "{refused}");
}

fn humantime_today() -> String {
    let (_folder, path) = folder();
    known(&path).add("x:1", &first_use(one())).unwrap();
    text(&path).split_once("since=").unwrap().1[..10].to_owned()
}

#[test]
fn a_server_has_as_many_keys_as_lines_and_a_line_as_many_servers_as_names() {
    let (_folder, path) = folder();
    let hosts = known(&path);
    hosts.add(DB, &first_use(one())).unwrap();
    hosts.add(DB, &Listing::new(other().clone(), Accepted::Pin)).unwrap();
    // As somebody may have written it.
    fs::write(&path, format!("{}{}", text(&path), line(&format!("{WWW},Www.Example:1"), one()))).unwrap();
    assert_eq!(ids(&path, DB).len(), 2);
    for name in [WWW, "www.example:1", "WWW.EXAMPLE:1"] {
        assert_eq!(ids(&path, name), [one().id()], "{name}");
    }
    for name in ["www.example", "www.example:10", "example:1", "2001:db8::1:4500"] {
        assert!(known(&path).lookup(name).unwrap().is_new(), "{name}");
    }
    for name in ["", "a b", "a,b", "*", "#a", "@a", "caf\u{e9}:1"] {
        assert!(matches!(hosts.lookup(name), Err(HostsError::BadName)), "{name:?}");
        assert!(matches!(hosts.add(name, &first_use(one())), Err(HostsError::BadName)), "{name:?}");
    }
}

#[test]
fn the_newest_key_comes_first() {
    let (_folder, path) = folder();
    let dated = |key, date: &str| {
        let line = line(DB, key);
        let (front, rest) = line.split_once(" since=").unwrap();
        format!("{front}{date} {}", rest.split_once(' ').unwrap().1)
    };
    let [old, new] = [" since=2025-01-01T00:00:00Z", " since=2026-01-01T00:00:00Z"];
    for (lines, newest) in [
        ([dated(one(), old), dated(other(), new)], other()),
        ([dated(one(), new), dated(other(), old)], one()),
        ([dated(one(), ""), dated(other(), old)], other()),
        // Of the same day, what was added later.
        ([dated(one(), old), dated(other(), old)], other()),
    ] {
        fs::write(&path, lines.concat()).unwrap();
        assert_eq!(ids(&path, DB)[0], newest.id(), "{lines:?}");
    }
}

#[test]
fn what_a_key_was_accepted_on_only_becomes_more_and_so_does_its_floor() {
    let (_folder, path) = folder();
    let hosts = known(&path);
    let listing = |accepted| Listing::new(one().clone(), accepted);
    for (new, changes, outlined) in [
        (listing(Accepted::FirstUse), true, "accepted=first-use floor=rsa+x25519"),
        (listing(Accepted::FirstUse), false, "accepted=first-use floor=rsa+x25519"),
        (listing(Accepted::Pin), true, "accepted=pin floor=rsa+x25519"),
        (listing(Accepted::FirstUse), false, "accepted=pin floor=rsa+x25519"),
        (listing(Accepted::Certificate).with_until(UnixTime::from_secs(1)), false, "accepted=pin floor=rsa+x25519"),
        (
            listing(Accepted::FirstUse).with_floor(KeyExchange::X25519MlKem768),
            true,
            "accepted=pin floor=rsa+x25519mlkem768",
        ),
        (listing(Accepted::Pin).with_floor(KeyExchange::Rsa), false, "accepted=pin floor=rsa+x25519mlkem768"),
    ] {
        assert_eq!(hosts.add(DB, &new).unwrap(), changes, "{new:?}");
        assert_eq!(outline(&path), format!("{DB} {outlined}\n"));
    }
    assert!(hosts.confirm(DB, one().id()).unwrap() && !hosts.confirm(DB, one().id()).unwrap());
    assert_eq!(outline(&path), format!("{DB} accepted=confirmed floor=rsa+x25519mlkem768\n"));
}

#[test]
fn a_certificate_that_is_renewed_has_one_line_and_does_not_bound_another_trust() {
    let (_folder, path) = folder();
    let hosts = known(&path);
    let until = |secs| Listing::new(one().clone(), Accepted::Certificate).with_until(UnixTime::from_secs(secs));
    hosts.add(DB, &until(86_400)).unwrap();
    hosts.add(DB, &until(2 * 86_400)).unwrap();
    assert_eq!(outline(&path), format!("{DB} accepted=certificate until=1970-01-03T00:00:00Z floor=rsa+x25519\n"));
    hosts.add(WWW, &first_use(one())).unwrap();
    hosts.add(WWW, &until(86_400)).unwrap();
    assert_eq!(
        known(&path).lookup(WWW).unwrap().keys().len(),
        2,
        "the first use does not run out with the certificate"
    );
}

#[test]
fn an_edit_of_one_server_leaves_the_others_of_its_line() {
    let (_folder, path) = folder();
    let start = format!("# mine\r\n\n{}", line(&format!("{WWW},{DB},c:1"), one()).replace('\n', " # rack 7\n"));
    fs::write(&path, &start).unwrap();
    let hosts = known(&path);
    hosts.confirm(DB, one().id()).unwrap();
    let own = "floor=rsa+x25519";
    let expected = format!("# mine\r\n\n{WWW},c:1 accepted=first-use {own} # rack 7\n{DB} accepted=confirmed {own}\n");
    assert_eq!(outline(&path).replace("# mine\n", "# mine\r\n"), expected);
    hosts.revoke("C:1", one().id()).unwrap();
    assert!(
        outline(&path)
            .contains(&format!("\n{WWW} accepted=first-use {own} # rack 7\n@revoked c:1 accepted=first-use {own}\n"))
    );
    assert_eq!(hosts.remove(WWW, None).unwrap(), 1);
    assert_eq!(ids(&path, DB), [one().id()]);
    assert!(hosts.lookup(WWW).unwrap().is_new());
    assert!(text(&path).starts_with("# mine\r\n\n@revoked c:1 "), "{}", text(&path));
    // So does taking one off the list, also where the others are all servers.
    fs::write(&path, line(&format!("{WWW},{DB}"), one()) + &format!("@revoked *,{DB} id={}\n", other().id())).unwrap();
    assert_eq!(hosts.remove(DB, None).unwrap(), 1);
    assert!(hosts.lookup(DB).unwrap().is_new() && ids(&path, WWW) == [one().id()]);
    assert_eq!(hosts.remove(DB, Some(other().id())).unwrap(), 1);
    assert_eq!(revoked_ids(&hosts, "never.seen:1"), [other().id()]);
}

#[test]
fn the_whole_keys_of_fingerprints_are_those_that_were_asked_for_and_not_revoked_for_the_server() {
    let (_folder, path) = folder();
    let hosts = known(&path);
    hosts.add(DB, &first_use(one())).unwrap();
    hosts.add(WWW, &first_use(one())).unwrap();
    hosts.add(WWW, &first_use(other())).unwrap();
    let found = |name: &str, ids: &[KeyId]| hosts.hosts().unwrap().keys_of(name, ids);
    let both = [one().id(), other().id()];
    assert_eq!(found("new:1", &[]), []);
    assert_eq!(found("new:1", &both[..1]), [one().clone()], "whichever servers it is listed for, and once");
    assert_eq!(found("new:1", &both).len(), 2);
    hosts.revoke("new:1", one().id()).unwrap();
    assert_eq!((found("new:1", &both), found(DB, &both).len()), (vec![other().clone()], 2));
}

#[test]
fn a_key_that_is_revoked_stays_so_until_it_is_removed_by_its_fingerprint() {
    let (_folder, path) = folder();
    let hosts = known(&path);
    hosts.add(DB, &first_use(one())).unwrap();
    assert!(hosts.revoke(DB, one().id()).unwrap() && !hosts.revoke(DB, one().id()).unwrap());
    assert!(text(&path).starts_with(&format!("@revoked {DB} accepted=first-use")), "{}", text(&path));
    let revoked = |error: HostsError| matches!(error, HostsError::Revoked { line: 1, .. });
    assert!(revoked(hosts.add(DB, &Listing::new(one().clone(), Accepted::Pin)).unwrap_err()));
    assert!(revoked(hosts.confirm(DB, one().id()).unwrap_err()));
    assert!(matches!(hosts.remove(DB, None), Err(HostsError::NoSuchName(_))));
    assert_eq!((hosts.lookup(DB).unwrap().keys().len(), hosts.lookup(DB).unwrap().revoked().len()), (0, 1));
    // For that server alone.
    hosts.add(WWW, &first_use(one())).unwrap();
    assert_eq!(hosts.remove(DB, Some(one().id())).unwrap(), 1);
    hosts.add(DB, &first_use(one())).unwrap();

    // For all, known or not, and by its fingerprint alone.
    assert!(hosts.revoke_everywhere(one().id()).unwrap() && !hosts.revoke_everywhere(one().id()).unwrap());
    assert!(hosts.revoke_everywhere(other().id()).unwrap());
    assert!(text(&path).ends_with(&format!(" id={}\n", other().id())), "{}", text(&path));
    for name in [DB, WWW, "never.seen:1"] {
        assert_eq!(hosts.lookup(name).unwrap().keys(), []);
        assert!(revoked_ids(&hosts, name).contains(&one().id()) && revoked_ids(&hosts, name).contains(&other().id()));
        assert!(hosts.add(name, &first_use(other())).is_err());
    }
    assert!(hosts.remove("never.seen:1", Some(other().id())).is_err(), "not one that stands for all");
    assert_eq!(hosts.remove("*", Some(other().id())).unwrap(), 1);
    assert!(hosts.add("never.seen:1", &first_use(other())).unwrap());
}

fn revoked_ids(hosts: &KnownHosts, name: &str) -> Vec<KeyId> {
    hosts.lookup(name).unwrap().revoked().iter().map(|entry| entry.id()).collect()
}

#[test]
fn hashed_names_are_found_and_tell_nobody_which_they_are() {
    let (_folder, path) = folder();
    let hosts = known(&path).with_hashed_names();
    for name in [DB, WWW] {
        hosts.add(name, &first_use(one())).unwrap();
        hosts.add(name, &first_use(one())).unwrap();
    }
    assert_eq!(text(&path).lines().count(), 2);
    assert!(!text(&path).contains("example") && !text(&path).contains("2001"), "{}", text(&path));
    let salts: Vec<&str> = text(&path).leak().lines().map(|line| line.split('|').nth(2).unwrap()).collect();
    assert_ne!(salts[0], salts[1]);
    // They are found whether new ones are hashed or not, and changed in place.
    let plain = known(&path);
    assert_eq!(ids(&path, "DB.example:4500"), [one().id()]);
    plain.confirm(DB, one().id()).unwrap();
    plain.revoke(WWW, one().id()).unwrap();
    let lines: Vec<String> = text(&path).lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("|hmac-sha256|") && lines[0].contains("accepted=confirmed"), "{lines:?}");
    assert!(lines[1].starts_with("@revoked |hmac-sha256|"), "{lines:?}");
    assert_eq!(plain.remove(DB, None).unwrap(), 1);
    assert!(plain.lookup(DB).unwrap().is_new() && revoked_ids(&plain, WWW) == [one().id()]);
}

/// A key, in base64.
fn base64(key: &PublicKey) -> String {
    line("x:1", key).split_once("key=").unwrap().1.trim_end().to_owned()
}

#[test]
fn lines_that_cant_be_read_are_named_kept_and_never_trusted() {
    use LineError as E;
    let key = base64(one());
    let good = format!("accepted=pin key={key}");
    let cases = [
        (format!("a:1,,b:1 {good}"), E::Name),
        (format!("a*:1 {good}"), E::Name),
        (format!("|hmac-sha256|AAAA|AAAA {good}"), E::Name),
        (format!("* {good}"), E::All),
        (format!("a:1 {good} pin"), E::Field),
        (format!("a:1 {good} trust=yes"), E::Field),
        (format!("a:1 {good} accepted=pin"), E::Field),
        (format!("a:1 {key}"), E::Field),
        ("a:1 accepted=pin".to_owned(), E::NoKey),
        (format!("a:1 accepted=pin id={}", one().id()), E::NoKey),
        (format!("a:1 {good} id={}", other().id()), E::OtherId),
        (format!("a:1 {good} id=SHA256:x"), E::Id),
        (format!("a:1 accepted=pin key={}", &key[..key.len() - 8]), E::Key(countersign::KeyError::NotDer)),
        (format!("a:1 accepted=pin key={}!", &key[..40]), E::NotBase64),
        (format!("a:1 key={key}"), E::NotAccepted),
        (format!("a:1 accepted=always key={key}"), E::Accepted),
        (format!("a:1 {good} floor=none"), E::Floor),
        (format!("a:1 {good} until=tomorrow"), E::Date),
        ("a:1 ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ== me@home".to_owned(), E::OfOpenSsh),
        (format!("a:1 {good}{}", " ".repeat(10) + &"x".repeat(70_000)), E::TooLong),
        (format!("a:1 \0{good}"), E::ZeroBytes),
    ];
    // Whatever is in a comment.
    let mut all = b"# @revoked caf\xe9 \0\ncaf\xe9:1\n".to_vec();
    let mut expected = vec![(2, E::NotUtf8 { column: 4 })];
    for (line, error) in &cases {
        let hosts = Hosts::parse(format!("{line}\n"));
        assert_eq!(hosts.entries().count(), 0, "{line}");
        let broken: Vec<BrokenLine> = hosts.broken_lines().collect();
        assert_eq!(faults(&broken), [(1, error.clone())], "{line}");
        assert!(hosts.broken_revocation().is_none(), "{line}");
        all.extend_from_slice(line.as_bytes());
        all.push(b'\n');
        expected.push((expected.len() + 2, error.clone()));
    }
    let (_folder, path) = folder();
    fs::write(&path, &all).unwrap();
    let hosts = known(&path);
    hosts.add(DB, &first_use(one())).unwrap();
    assert!(fs::read(&path).unwrap().starts_with(&all), "they are kept to the byte");
    assert_eq!(faults(&hosts.hosts().unwrap().broken_lines().collect::<Vec<_>>()), expected);
    assert_eq!(ids(&path, DB), [one().id()], "the others count");
    let listed = hosts.lookup("a:1").unwrap();
    assert!(!listed.is_new() && listed.keys().is_empty(), "nobody meets this server for the first time");
    assert!(hosts.lookup("c:1").unwrap().is_new());
}

/// Whatever it was to revoke would be trusted otherwise.
#[test]
fn while_a_line_that_may_revoke_cant_be_read_nothing_in_the_file_counts() {
    let (_folder, path) = folder();
    let good = line(DB, one());
    for broken in [
        "@revoked",
        "@revoked a:1",
        "@revoked a:1 id=SHA256:x",
        "@Revoked a:1 id=SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
        "@revokd a:1 key=x",
        "@cert-authority *.example key=x",
        "\u{feff}@revoked a:1",
        "\u{a0}@revoked a:1 key=x",
        "a:1 @revoked key=x",
        "revoked a:1 key=x",
        "@\0r\0e\0v\0o\0k\0e\0d\0",
    ] {
        fs::write(&path, format!("{good}{broken}\n")).unwrap();
        let hosts = known(&path);
        let refused = hosts.lookup(DB).unwrap_err();
        let HostsError::BrokenRevocation { broken: line, .. } = &refused else { panic!("{broken:?}: {refused}") };
        assert_eq!(line.number, 2, "{broken:?}");
        let said = refused.to_string();
        assert!(said.contains("known_hosts: line 2: ") && said.contains("mended or removed"), "{said}");
    }
    // What only speaks of it is a comment, and one without a line feed is no less clear.
    for fine in ["# @revoked a:1\n".to_owned(), format!("@revoked a:1 id={}", other().id())] {
        fs::write(&path, format!("{good}{fine}")).unwrap();
        assert_eq!(ids(&path, DB), [one().id()], "{fine:?}");
    }
    assert_eq!(revoked_ids(&known(&path), "a:1"), [other().id()]);
}

/// The numbers of lines, and what is wrong with them.
fn faults(broken: &[BrokenLine]) -> Vec<(usize, LineError)> {
    broken.iter().map(|line| (line.number, line.error.clone())).collect()
}

#[test]
fn a_last_line_without_a_line_feed_lists_nothing_and_stays_the_last() {
    let (_folder, path) = folder();
    let unended = line(WWW, one()).trim_end().to_owned();
    fs::write(&path, &unended).unwrap();
    let hosts = known(&path);
    let broken: Vec<BrokenLine> = hosts.hosts().unwrap().broken_lines().collect();
    assert_eq!(faults(&broken), [(1, LineError::Unended)]);
    assert!(ids(&path, WWW).is_empty() && !hosts.lookup(WWW).unwrap().is_new());
    hosts.add(DB, &first_use(one())).unwrap();
    assert!(text(&path).ends_with(&format!("\n{unended}")), "{}", text(&path));
    assert_eq!((ids(&path, DB), ids(&path, WWW)), (vec![one().id()], vec![]));
    fs::write(&path, text(&path) + "\n").unwrap();
    assert_eq!(ids(&path, WWW), [one().id()]);
    // A revocation there can be lifted, and a comment is kept.
    for end in [format!("@revoked {DB} id={}", one().id()), "# the end".to_owned()] {
        fs::write(&path, &end).unwrap();
        hosts.add(WWW, &first_use(one())).unwrap();
        assert!(text(&path).ends_with(&format!("\n{end}")), "{}", text(&path));
    }
    fs::write(&path, format!("{}@revoked {DB} id={}", line(WWW, one()), one().id())).unwrap();
    hosts.remove(DB, Some(one().id())).unwrap();
    assert!(text(&path).ends_with("AQAB\n") && text(&path).lines().count() == 1, "{}", text(&path));
}

#[test]
fn what_is_read_is_written_to_the_byte() {
    let noise: Vec<Vec<u8>> =
        (0..64_u8).map(|seed| (0..=255_u8).map(|byte| byte.wrapping_mul(seed | 1) ^ seed).collect()).collect();
    for text in &noise {
        let hosts = Hosts::parse(text);
        assert_eq!((hosts.to_bytes(), hosts.entries().count(), hosts.lookup(DB).keys().len()), (text.clone(), 0, 0));
    }
    for text in [&b""[..], b"\n", b"\n\n# x", b"\xef\xbb\xbf# x\r\n\r\n", b"nonsense", b"a\nb\n\xff", b"\0"] {
        assert_eq!(Hosts::parse(text).to_bytes(), text, "{text:?}");
    }
    let text = format!("  {}   # x  \n", line(DB, one()).trim_end());
    assert_eq!(Hosts::parse(&text).to_bytes(), text.as_bytes());
    assert_eq!(Hosts::parse(&text).entries().count(), 1);
}

/// A slip of the hand in the marker, whichever: the key is revoked, or nothing counts.
#[test]
fn no_slip_in_a_marker_lets_a_revoked_key_be_trusted() {
    let good = format!("@revoked {DB} id={}\n", one().id());
    for at in 0.."@revoked ".len() {
        for byte in u8::MIN..=u8::MAX {
            // That makes it a comment, which is one of the ways to take a line out.
            if (at, byte) == (0, b'#') {
                continue;
            }
            let mut slipped = good.clone().into_bytes();
            slipped[at] = byte;
            let hosts = Hosts::parse(&slipped);
            let is_revoked = hosts.lookup(DB).revoked().iter().any(|entry| entry.id() == one().id());
            assert!(is_revoked || hosts.broken_revocation().is_some(), "{}", slipped.escape_ascii());
        }
    }
}

#[test]
fn a_line_that_was_cut_short_lists_no_key() {
    let good = line(DB, one());
    for len in 0..good.len() - 1 {
        for end in ["", "\n", "\nx:1 accepted=pin\n"] {
            let hosts = Hosts::parse(format!("{}{end}", &good[..len]));
            assert_eq!(hosts.entries().count(), 0, "{len} {end:?}");
        }
    }
    assert_eq!(Hosts::parse(&good).entries().count(), 1);
}

#[test]
fn a_file_that_changes_by_hand_is_read_anew_at_once() {
    let (_folder, path) = folder();
    let hosts = known(&path);
    let count = || hosts.entries().unwrap().len();
    for number in 1..=5 {
        let old = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, old + &line(&format!("h{number}:1"), one())).unwrap();
        assert_eq!((count(), count()), (number, number));
    }
    // What was only touched is not taken apart again.
    let before = hosts.hosts().unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    assert!(Arc::ptr_eq(&before, &hosts.hosts().unwrap()));
    fs::remove_file(&path).unwrap();
    assert_eq!(count(), 0);
}

#[test]
fn a_gigantic_file_is_refused_with_the_limit_and_none_is_made() {
    let (_folder, path) = folder();
    fs::write(&path, "").unwrap();
    let hosts = known(&path);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len((1 << 20) + 1).unwrap();
    let too_long = |error: HostsError| match error {
        HostsError::File(error @ FileError::TooLong { .. }) => error.to_string().contains("longer than 1 MiB"),
        _ => false,
    };
    assert!(too_long(hosts.lookup(DB).unwrap_err()) && too_long(hosts.add(DB, &first_use(one())).unwrap_err()));
    assert!(matches!(KnownHosts::open(&path), Err(FileError::TooLong { .. })));
    // Full, but not beyond.
    let full = "#".repeat((1 << 20) - 10) + "\n";
    fs::write(&path, &full).unwrap();
    assert!(too_long(hosts.add(DB, &first_use(one())).unwrap_err()));
    assert_eq!(text(&path), full);
}

#[cfg(unix)]
#[test]
fn a_file_that_everyone_can_change_is_refused_and_one_that_they_can_read_is_not() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path) = folder();
    known(&path).add(DB, &first_use(one())).unwrap();
    let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    for mode in [0o602, 0o666, 0o646] {
        set(mode);
        let refused = KnownHosts::open(&path).map(drop).unwrap_err();
        assert!(matches!(refused, FileError::Writable { mode: named, .. } if named == mode), "{refused}");
        assert_eq!(refused.remedy().unwrap(), format!("chmod o-w {}", path.display()));
        // Nobody is told that it has no such line.
        let hosts = KnownHosts::open(path.with_extension("other")).unwrap();
        fs::copy(&path, hosts.path()).unwrap();
        fs::set_permissions(hosts.path(), fs::Permissions::from_mode(mode)).unwrap();
        for refused in [hosts.confirm(WWW, one().id()).map(usize::from), hosts.remove(WWW, None)] {
            assert!(matches!(refused, Err(HostsError::File(FileError::Writable { .. }))), "{refused:?}");
        }
        fs::remove_file(hosts.path()).unwrap();
    }
    for (mode, name) in [(0o644, "a:1"), (0o640, "b:1"), (0o600, "c:1"), (0o664, "d:1")] {
        set(mode);
        known(&path).add(name, &first_use(one())).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode, "it is kept");
    }
}

#[cfg(unix)]
#[test]
fn a_link_is_followed_and_one_to_nowhere_is_no_empty_file() {
    use std::os::unix::fs::symlink;
    let (folder, path) = folder();
    let (link, lost) = (folder.path().join("link"), folder.path().join("lost"));
    symlink(&path, &link).unwrap();
    symlink("nowhere", &lost).unwrap();
    assert!(KnownHosts::open(&lost).is_err(), "what is behind it may only be away");
    let away = known(&path.with_extension("away"));
    symlink("nowhere", away.path()).unwrap();
    for refused in [away.confirm(DB, one().id()).map(usize::from), away.remove(DB, None)] {
        assert!(matches!(&refused, Err(HostsError::File(error)) if error.is_missing()), "{refused:?}");
    }
    fs::write(&path, "").unwrap();
    known(&link).add(DB, &first_use(one())).unwrap();
    assert!(link.is_symlink() && !path.is_symlink());
    assert_eq!(ids(&path, DB), [one().id()]);
}

/// It would wait for ever.
#[cfg(unix)]
#[test]
fn what_is_no_file_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (path, named) in [(folder.path(), "a directory"), (&pipe, "a pipe"), (Path::new("/dev/zero"), "a device")] {
        let refused = KnownHosts::open(path).map(drop).unwrap_err();
        assert!(matches!(refused, FileError::NotFile { what, .. } if what == named), "{refused}");
    }
}

/// As `sed -i` and most editors do it: a new file in the place of the one that was read.
#[cfg(unix)]
fn edit_by_hand(path: &Path, line: &str) {
    let copy = path.with_extension("by-hand");
    fs::write(&copy, fs::read_to_string(path).unwrap() + line + "\n").unwrap();
    fs::rename(&copy, path).unwrap();
}

#[cfg(unix)]
#[test]
fn many_edits_by_hand_and_by_this_library_lose_nothing() {
    const EACH: usize = 8;
    let (folder, path) = folder();
    fs::write(&path, "").unwrap();
    std::thread::scope(|scope| {
        let path = &path;
        let adding = scope.spawn(move || {
            for number in 0..EACH {
                assert!(known(path).add(&format!("h{number}:1"), &first_use(one())).unwrap());
            }
        });
        let mut number = 0;
        while !adding.is_finished() {
            edit_by_hand(path, &format!("# edit {number}"));
            number += 1;
            // Other people's edits, one after the other, each with a look at what it came to.
            let text = text(path);
            assert!((0..number).all(|number| text.contains(&format!("# edit {number}\n"))), "{text}");
            std::thread::sleep(std::time::Duration::from_millis(150));
        }
    });
    for number in 0..EACH {
        assert_eq!(ids(&path, &format!("h{number}:1")), [one().id()]);
    }
    assert_eq!(files(&folder), 1);
}

/// What a process does that this test starts several of: see below.
#[test]
fn adds_as_one_of_several_processes() {
    let Ok(path) = std::env::var("COUNTERSIGN_TEST_KNOWN_HOSTS") else { return };
    let own = std::process::id();
    for number in 0..5 {
        known(Path::new(&path)).add(&format!("p{own}-{number}:1"), &first_use(one())).unwrap();
    }
}

#[test]
fn processes_that_add_at_the_same_time_lose_nothing() {
    let (folder, path) = folder();
    let start = || {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "adds_as_one_of_several_processes"]).env("COUNTERSIGN_TEST_KNOWN_HOSTS", &path);
        command.stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut processes = [start(), start(), start()];
    let ids = processes.each_ref().map(std::process::Child::id);
    assert!(processes.iter_mut().all(|process| process.wait().unwrap().success()));
    let hosts = known(&path);
    for (id, number) in ids.into_iter().flat_map(|id| (0..5).map(move |number| (id, number))) {
        assert_eq!(hosts.lookup(&format!("p{id}-{number}:1")).unwrap().keys().len(), 1);
    }
    assert_eq!(hosts.entries().unwrap().len(), 15);
    assert_eq!(files(&folder), 1);
}

/// `kill -9` in the middle of an edit.
#[cfg(unix)]
#[test]
fn what_a_killed_process_left_behind_is_taken_away_and_the_file_is_whole() {
    let (folder, path) = folder();
    let mut start = std::process::Command::new(std::env::current_exe().unwrap());
    start.args(["--exact", "adds_as_one_of_several_processes"]).env("COUNTERSIGN_TEST_KNOWN_HOSTS", &path);
    let look = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).find(|other| *other != path);
    let mut process = start.stdout(std::process::Stdio::null()).spawn().unwrap();
    // Until there is a file that it is about to put in place.
    let mut begun = None;
    while begun.is_none() && process.try_wait().unwrap().is_none() {
        begun = look();
    }
    process.kill().unwrap();
    process.wait().unwrap();
    let hosts = known(&path);
    assert_eq!(look(), None, "{begun:?}");
    assert_eq!(hosts.hosts().unwrap().broken_lines().count(), 0);
    assert!(hosts.add(DB, &first_use(one())).unwrap());
    assert_eq!(ids(&path, DB), [one().id()]);
}

/// A folder in which nothing can be made: said, and the file as it was.
#[cfg(unix)]
#[test]
fn a_file_in_a_folder_that_cant_be_written_is_read_and_not_changed() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = folder();
    known(&path).add(DB, &first_use(one())).unwrap();
    let before = text(&path);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let is_root = fs::write(folder.path().join("probe"), "").is_ok();
    let added = known(&path).add(WWW, &first_use(one()));
    // Nothing keeps root from it.
    if !is_root {
        assert!(matches!(added, Err(HostsError::File(FileError::Io { .. }))), "{added:?}");
        assert_eq!(text(&path), before);
    }
    assert_eq!(ids(&path, DB), [one().id()]);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
}
