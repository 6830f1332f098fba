//! `keygen --keys`, `key rotate`, `manifest`, and a server that takes over what they change.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::crypto::rustcrypto;
use countersign::files::read_public_keys;
use countersign::{
    ClientConfig, Connector, Credential, Identity, KeyExchange, KeyId, ManifestBody, ManifestKey, MemoryTickets,
    PublicKey, Stream, UnixTime,
};
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use support::{House, PATIENCE, Said, Server, command, run, until};

/// A house with a folder of keys, small ones, and an identity.
fn house() -> House {
    let house = House::new();
    run(&["keygen", "--bits", "2048", "--keys", &house.path("keys"), "--current", &house.path("server.pem")], "").ok();
    run(&["keygen", "--identity", "--out", &house.path("identity.pem")], "").ok();
    house
}

/// What `key list` says: each line in its words.
fn list(house: &House) -> Vec<Vec<String>> {
    let said = run(&["key", "list", "--keys", &house.path("keys")], "").ok().out;
    said.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

fn pin(house: &House, role: &str) -> String {
    list(house).into_iter().find(|line| line[0] == role).unwrap_or_else(|| panic!("no {role}"))[1].clone()
}

/// The public half of a key of the folder.
fn key(house: &House, role: &str) -> PublicKey {
    let line = list(house).into_iter().find(|line| line[0] == role).unwrap();
    let file = format!("keys/{}", line[2].replace(".pem", ".pub.pem"));
    read_public_keys(house.path(&file)).unwrap().remove(0).key
}

fn sign(house: &House, more: &[&str]) -> Said {
    let (identity, keys, out) = (house.path("identity.pem"), house.path("keys"), house.path("keys/manifest.pem"));
    let args = ["manifest", "sign", "--identity", &identity, "--keys", &keys, "--out", &out];
    run(&[&args[..], more].concat(), "")
}

fn rotate(house: &House, more: &[&str]) -> Said {
    run(&[&["key", "rotate", "--keys", &house.path("keys")], more].concat(), "")
}

fn serve(house: &House, more: &[&str]) -> Server {
    let (keys, users) = (house.path("keys"), house.path("users.txt"));
    let args = ["serve", "--listen", "127.0.0.1:0", "--keys", &keys, "--users", &users];
    Server::of(command(&[&args[..], more].concat()))
}

fn reload(server: &mut Server) -> String {
    assert!(Command::new("kill").args(["-HUP", &server.child.id().to_string()]).status().unwrap().success());
    server.wait_for(&["event=keys-"])
}

fn login(house: &House, server: &Server, trust: &[&str]) -> Said {
    let who = ["--user", "alice", "--password-stdin", "--no-resume", "--send", "whoami"];
    server.login_keeping(house, &who, trust, "secret of alice\n")
}

#[test]
fn a_folder_of_keys_is_made_listed_and_rotated() {
    let house = house();
    let before = list(&house);
    assert_eq!(before.iter().map(|line| line[0].as_str()).collect::<Vec<_>>(), ["current", "next"]);
    assert_eq!(before[0][1], house.pin(), "the key that was there is the current one");
    assert_eq!(house.mode("keys"), 0o700);
    for file in fs::read_dir(house.path("keys")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let mode = house.mode(&format!("keys/{name}"));
        assert_eq!(mode, if name.ends_with(".pub.pem") { 0o644 } else { 0o600 }, "{name}");
    }
    run(&["keygen", "--keys", &house.path("keys")], "")
        .fails(1, &["keys.toml", "was left as it is", "countersign key rotate"]);

    // What somebody has written into the file stays.
    let text = house.read("keys/keys.toml").replace("current = ", "# of rack 7\ncurrent = ");
    house.write("keys/keys.toml", text.as_bytes(), 0o640);
    let now = now();
    let said = rotate(&house, &["--retire-for", "2days"]).ok();
    let after = list(&house);
    let until = after[2].last().unwrap();
    assert!((date(now + 2 * DAY - 60)..=date(now + 2 * DAY + 600)).contains(until), "{until}");
    assert_eq!(after.iter().map(|line| line[0].as_str()).collect::<Vec<_>>(), ["current", "next", "retired"]);
    assert_eq!((&after[0][1], &after[2][1]), (&before[1][1], &before[0][1]));
    assert_ne!(after[1][1], before[1][1]);
    assert!(said.out.contains(&after[1][1]) && said.err.contains("kill -HUP"), "{said:?}");
    assert!(house.read("keys/keys.toml").contains("# of rack 7\n"), "{}", house.read("keys/keys.toml"));
    assert_eq!(house.mode("keys/keys.toml"), 0o640);
    // Once more: two are retired, this one for a month.
    rotate(&house, &[]).ok();
    let listed = list(&house);
    let retired: Vec<&String> =
        listed.iter().filter(|line| line[0] == "retired").flat_map(|line| line.last()).collect();
    let month = date(now + 30 * DAY - 60)..=date(now + 30 * DAY + 600);
    assert!(retired.len() == 2 && retired.iter().filter(|until| month.contains(**until)).count() == 1, "{retired:?}");
    // One that is over goes with the next rotation, which says so.
    let text = house.read("keys/keys.toml");
    assert!(text.contains(until), "{text}");
    house.write("keys/keys.toml", text.replace(until, "2020-01-01T00:00:00Z").as_bytes(), 0o640);
    let gone = after[2][2].clone();
    let said = rotate(&house, &[]).ok();
    assert!(said.err.contains(&gone) && said.err.contains("shred"), "{said:?}");
    assert!(!house.read("keys/keys.toml").contains("2020-01-01"), "{}", house.read("keys/keys.toml"));
}

const DAY: u64 = 24 * 3600;

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// As the command writes it: in the order of the letters, too.
fn date(seconds: u64) -> String {
    UnixTime::from_secs(seconds).to_string()
}

#[test]
fn while_another_process_changes_a_folder_of_keys_nobody_else_does() {
    let house = house();
    let before = (list(&house), fs::read_dir(house.path("keys")).unwrap().count());
    let held = fs::File::open(house.path("keys")).unwrap();
    held.lock().unwrap();
    rotate(&house, &[]).fails(1, &["another process is changing these keys", "try again"]);
    assert_eq!((list(&house), fs::read_dir(house.path("keys")).unwrap().count()), before);
    drop(held);
    rotate(&house, &[]).ok();
}

#[test]
fn a_rotation_is_written_for_good_before_it_is_said() {
    let house = house();
    let keys = house.path("keys");
    let args = ["key", "rotate", "--keys", &keys];
    let Some(mut command) = support::over_failing(&house, "", "EIO", &args) else { return };
    support::finish(&mut command, "").ok();
    // The new key, then what names it: each before it has its place, and the folder after.
    let synced = house.read("synced");
    let synced: Vec<&str> = synced.lines().collect();
    let [.., of_key, after_key, of_names, after_names] = synced[..] else { panic!("{synced:#?}") };
    assert!(of_key.starts_with(&format!("{keys}/.countersign-")) && after_key == keys, "{synced:#?}");
    assert!(of_names.starts_with(&format!("{keys}/.tmp")) && after_names == keys, "{synced:#?}");
    // A disk that is broken.
    let before = list(&house);
    for fails in ["filesync", "dirsync"] {
        let mut command = support::over_failing(&house, fails, "EIO", &args).unwrap();
        assert_eq!(support::finish(&mut command, "").fails(1, &["key-"]).out, "");
        assert_eq!(list(&house), before);
    }
}

#[test]
fn what_is_stolen_is_taken_out_at_once() {
    let house = house();
    let (current, next) = (pin(&house, "current"), pin(&house, "next"));
    let said = rotate(&house, &["--stolen", "current"]).ok();
    assert_eq!(pin(&house, "current"), next);
    assert!(said.err.contains("shred -u") && !said.out.contains(&current), "{said:?}");
    // One that is retired lay beside the others.
    rotate(&house, &[]).ok();
    let stolen: Vec<String> = list(&house).into_iter().map(|line| line[2].clone()).collect();
    assert_eq!(stolen.len(), 3);
    let said = rotate(&house, &["--stolen", "all"]).ok();
    assert!(stolen.iter().all(|file| said.err.contains(file.as_str())), "{stolen:?}: {said:?}");
    let left: Vec<String> = list(&house).into_iter().map(|line| line[1].clone()).collect();
    assert!(left.len() == 2 && !left.contains(&current) && !left.contains(&next), "{left:?}");
    rotate(&house, &["--stolen", "all", "--retire-for", "1day"]).fails(2, &["--retire-for"]);
}

#[test]
fn key_rotate_says_what_is_wrong_and_changes_nothing() {
    let house = house();
    let toml = house.read("keys/keys.toml");
    for (text, says) in [
        (toml.replace("next = ", "nxt = "), "nxt"),
        (toml.replace("next = \"", "next = \"../"), "no name of a file in this folder"),
        (toml.clone() + "\n[[retired]]\nkey = \"a.pem\"\nuntil = 07:00:00\n", "2027-01-31T12:00:00Z"),
        (toml.clone() + "\n[[retired]]\nkey = \"a.pem\"\n", "until"),
        ("nonsense".to_owned(), "keys.toml"),
        (String::new(), "current"),
    ] {
        house.write("keys/keys.toml", text.as_bytes(), 0o600);
        for args in [["key", "rotate"], ["key", "list"]] {
            run(&[&args[..], &["--keys", &house.path("keys")]].concat(), "").fails(1, &["keys.toml", says]);
        }
        assert_eq!(house.read("keys/keys.toml"), text);
    }
    run(&["key", "rotate", "--keys", &house.path("nowhere")], "").fails(1, &["keys.toml", "countersign keygen --keys"]);
    house.write("keys/keys.toml", toml.as_bytes(), 0o600);
    // Its next key is not in the manifest that clients follow.
    sign(&house, &[]).ok();
    rotate(&house, &[]).ok();
    let toml = house.read("keys/keys.toml");
    rotate(&house, &[]).fails(1, &["manifest.pem", "does not name the next key", "nothing was changed"]);
    assert_eq!(house.read("keys/keys.toml"), toml);
    sign(&house, &[]).ok();
    rotate(&house, &[]).ok();
}

#[test]
fn an_encrypted_key_is_taken_into_a_folder_once_it_is_decrypted_as_is_said() {
    let house = House::empty();
    for (name, passphrase) in [("encrypted-pkcs8.pem", "x"), ("encrypted-openssh.pem", "secret")] {
        let (file, new, keys) =
            (house.key(&format!("tools/{name}"), name), house.path("new"), house.path(&name[10..12]));
        let begin = |file: &str| run(&["keygen", "--bits", "2048", "--keys", &keys, "--current", file], "");
        let said = begin(&file).fails(2, &[name, "an encrypted key is not taken over"]);
        let command = said.err.split_once("with: ").unwrap().1.trim().replace("NEW", &new);
        // Both ask for the passphrase, on a terminal.
        let command = command.replace("openssl pkey", &format!("openssl pkey -passin pass:{passphrase}"));
        let command = command.replace("ssh-keygen -p", &format!("ssh-keygen -q -p -P {passphrase}"));
        let program = if command.contains("ssh-keygen") { "ssh-keygen" } else { "openssl" };
        if Command::new(program).arg("-?").output().is_err() {
            support::left_out(if program == "openssl" { program } else { "openssh" }, "there is none here");
            continue;
        }
        let done = Command::new("sh").args(["-c", &command]).output().unwrap();
        assert!(done.status.success(), "{command}: {done:?}");
        assert_eq!(house.mode("new"), 0o600);
        begin(&new).ok();
        fs::remove_file(&new).unwrap();
    }
}

#[test]
fn a_next_key_without_its_own_private_half_does_not_become_the_current_one() {
    let house = house();
    let (toml, next) = (house.read("keys/keys.toml"), format!("keys/{}", list(&house)[1][2]));
    let private = house.read(&next);
    let public = next.replace(".pem", ".pub.pem");
    fs::remove_file(house.path(&next)).unwrap();
    let unchanged = |said: Said| {
        assert!(!said.err.contains("keygen --out"), "such a key would be one that no client knows: {said:?}");
        assert_eq!(house.read("keys/keys.toml"), toml);
        let made = fs::read_dir(house.path("keys")).unwrap().count();
        assert_eq!(made, 4 + usize::from(fs::exists(house.path(&next)).unwrap()));
    };
    let without = [&next[..], "put the private key there"];
    let (keys, users) = (house.path("keys"), house.path("users.txt"));
    unchanged(run(&["serve", "--listen", "127.0.0.1:0", "--keys", &keys, "--users", &users], "").fails(1, &without));
    for (more, says) in [(&[][..], "take `next` out"), (&["--stolen", "current"], "--stolen all")] {
        unchanged(rotate(&house, more).fails(1, &[&without[..], &["nothing was changed", says]].concat()));
    }
    // Another's, and none that can be used.
    house.key("other2048.pem", &next);
    unchanged(rotate(&house, &[]).fails(1, &[&public, "the public half of another key", "nothing was changed"]));
    house.write(&next, b"nonsense", 0o600);
    unchanged(rotate(&house, &[]).fails(1, &[&next, "nothing was changed"]));
    // Whoever has it elsewhere, encrypted, can't be asked for its passphrase here.
    house.key("tools/encrypted-pkcs8.pem", &next);
    rotate(&house, &[]).ok();
    house.write("keys/keys.toml", toml.as_bytes(), 0o600);
    house.write(&next, private.as_bytes(), 0o600);
    rotate(&house, &[]).ok();
}

#[test]
fn where_there_is_no_next_key_one_is_made_for_clients_to_be_told_of_and_nothing_else() {
    let house = house();
    for signed in [false, true] {
        let current = pin(&house, "current");
        let toml = house.read("keys/keys.toml");
        let without: Vec<&str> = toml.lines().filter(|line| !line.starts_with("next = ")).collect();
        house.write("keys/keys.toml", (without.join("\n") + "\n").as_bytes(), 0o640);
        if signed {
            sign(&house, &[]).ok();
        }
        let tell = if signed { "countersign manifest sign" } else { "give clients its fingerprint" };
        let said = rotate(&house, &[]).fails(1, &["there was no next key", "the current key is as it was", tell]);
        assert!(said.out.contains("next     SHA256:"), "{said:?}");
        assert_eq!((pin(&house, "current"), house.mode("keys/keys.toml")), (current, 0o640));
        if signed {
            rotate(&house, &[]).fails(1, &["does not name the next key"]);
            sign(&house, &[]).ok();
        }
        let next = pin(&house, "next");
        rotate(&house, &[]).ok();
        assert_eq!(pin(&house, "current"), next);
    }
    // What is stolen does not wait.
    let toml = house.read("keys/keys.toml");
    let without: Vec<&str> = toml.lines().filter(|line| !line.starts_with("next = ")).collect();
    house.write("keys/keys.toml", without.join("\n").as_bytes(), 0o640);
    let current = pin(&house, "current");
    rotate(&house, &["--stolen", "current"]).ok();
    assert_ne!(pin(&house, "current"), current);
}

#[test]
fn keys_toml_stays_where_it_is_and_whoever_could_read_it_can() {
    let house = house();
    let toml = house.read("keys/keys.toml");
    for (mode, kept) in [(0o644, 0o644), (0o640, 0o640), (0o600, 0o600), (0o666, 0o664)] {
        house.write("keys/keys.toml", toml.as_bytes(), mode);
        rotate(&house, &[]).ok();
        assert_eq!(house.mode("keys/keys.toml"), kept, "of {mode:o}");
    }
    fs::create_dir(house.path("kept")).unwrap();
    fs::rename(house.path("keys/keys.toml"), house.path("kept/keys.toml")).unwrap();
    let (link, next) = (house.path("keys/keys.toml"), house.read("kept/keys.toml"));
    std::os::unix::fs::symlink("../kept/keys.toml", &link).unwrap();
    rotate(&house, &[]).ok();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_ne!(house.read("kept/keys.toml"), next);
    assert_eq!(fs::read_dir(house.path("kept")).unwrap().count(), 1);
    list(&house);
}

#[test]
fn a_public_half_that_is_another_key_s_is_said_and_what_the_server_has_counts() {
    let house = house();
    let name = list(&house)[0][2].clone();
    let public = format!("keys/{}", name.replace(".pem", ".pub.pem"));
    let next = format!("keys/{}", list(&house)[1][2].replace(".pem", ".pub.pem"));
    fs::copy(house.path(&next), house.path(&public)).unwrap();
    let says = [&public[..], "the public half of another key", &house.pin(), "openssl pkey -in"];
    let said = run(&["key", "list", "--keys", &house.path("keys")], "").ok().fails(0, &says);
    assert!(said.out.contains(&format!("current  {}", house.pin())), "{said:?}");
    let said = sign(&house, &[]).ok().fails(0, &says);
    assert!(said.out.contains(&house.pin()), "{said:?}");
    // What it says helps.
    let command = said.err.lines().find_map(|line| line.split_once("with: ")).unwrap().1;
    match Command::new("sh").args(["-c", command]).status() {
        Ok(status) if Command::new("openssl").arg("version").output().is_ok() => assert!(status.success()),
        _ => return support::left_out("openssl", "there is no openssl here"),
    }
    assert_eq!(run(&["key", "list", "--keys", &house.path("keys")], "").ok().err, "");
}

#[test]
fn an_identity_key_is_made_once_and_kept_under_a_passphrase_if_asked() {
    let house = House::empty();
    let out = house.path("identity.pem");
    let said = run(&["keygen", "--identity", "--out", &out], "").ok();
    assert!(said.out.starts_with("SHA256:"), "{said:?}");
    assert_eq!((house.mode("identity.pem"), house.mode("identity.pub.pem")), (0o600, 0o644));
    let before = house.read("identity.pem");
    run(&["keygen", "--identity", "--out", &out], "").fails(1, &["exists", "--force"]);
    assert_eq!(house.read("identity.pem"), before);
    let locked = house.path("locked.pem");
    run(&["keygen", "--identity", "--encrypt", "--passphrase-stdin", "--out", &locked], "correct horse\n").ok();
    assert!(house.read("locked.pem").starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    house.key("rsa2048.pem", "server.pem");
    let sign =
        ["manifest", "sign", "--identity", &locked, "--key", &house.path("server.pem"), "--out", &house.path("m.pem")];
    run(&sign, "").fails(2, &["passphrase"]);
    run(&[&sign[..], &["--passphrase-stdin"]].concat(), "wrong\n").fails(1, &["locked.pem"]);
    run(&[&sign[..], &["--passphrase-stdin"]].concat(), "correct horse\n").ok();
    match Command::new("openssl").args(["pkey", "-passin", "pass:correct horse", "-noout", "-in", &locked]).output() {
        Ok(openssl) => assert!(openssl.status.success(), "{openssl:?}"),
        Err(_) => support::left_out("openssl", "there is no openssl here"),
    }
    for args in [&["--identity", "--keys", "x"][..], &["--encrypt", "--out", "x"], &["--identity"], &[]] {
        assert_eq!(run(&[&["keygen"], args].concat(), "").status, 2, "{args:?}");
    }
}

#[test]
fn manifests_are_signed_numbered_and_shown() {
    let house = house();
    let identity = run(&["keygen", "--identity", "--out", &house.path("other.pem")], "").ok().out.trim().to_owned();
    let now = now();
    let said = sign(&house, &["--name", "db.example", "--days", "30"]).ok();
    let expires = said.out.lines().find_map(|line| line.strip_prefix("expires:")).unwrap().trim().to_owned();
    assert!((date(now + 30 * DAY - 60)..=date(now + 30 * DAY + 600)).contains(&expires), "{said:?}");
    for part in ["number:    1", "names:     db.example", &pin(&house, "current"), &pin(&house, "next")] {
        assert!(said.out.contains(part), "{part} in {said:?}");
    }
    let file = house.path("keys/manifest.pem");
    let shown = run(&["manifest", "show", &file], "").ok().out;
    assert!(shown.contains("signature: good"), "{shown}");
    let ours = shown.lines().next().unwrap().split_whitespace().last().unwrap().to_owned();
    run(&["manifest", "show", &file, "--identity-pin", &ours], "").ok();
    run(&["manifest", "show", &file, "--identity-pin", &identity], "").fails(1, &["manifest.pem", &identity, &ours]);
    // Its number counts on, and nothing else does.
    let said = sign(&house, &[]).ok().out;
    assert!(said.contains("number:    2"), "{said}");
    as_by_default(&said, now, 2);
    assert!(sign(&house, &["--sequence", "7"]).ok().out.contains("number:    7"));
    sign(&house, &["--sequence", "7"]).fails(2, &["--sequence 7", "has the number 7"]);
    sign(&house, &["--sequence", "0"]).fails(2, &["--sequence"]);
    let before = house.read("keys/manifest.pem");
    let args = ["manifest", "sign", "--key", &house.path("server.pem"), "--out", &file, "--identity"];
    run(&[&args[..], &[&house.path("other.pem")]].concat(), "").fails(1, &["another identity", &ours]);
    // A server key signs nothing.
    run(&[&args[..], &[&house.path("server.pem")]].concat(), "").fails(1, &["Ed25519"]);
    assert_eq!(house.read("keys/manifest.pem"), before);

    let of = |key: &str| {
        let out = house.path("of.pem");
        run(&["manifest", "sign", "--identity", &house.path("identity.pem"), "--key", key, "--out", &out], "")
    };
    let server = house.path("server.pub.pem");
    as_by_default(&of(&server).ok().out, now, 1);
    let said = of(&format!("{server},from=2026-01-01,until=2099-01-31,floor=x25519mlkem768"));
    let said = said.ok().out;
    assert!(
        said.contains("from 2026-01-01T00:00:00Z until 2099-01-31T00:00:00Z, rsa+x25519mlkem768 or stronger"),
        "{said}"
    );
    of(&format!("{server},until=yesterday")).fails(2, &["yesterday"]);
    of(&format!("{server},floor=x448")).fails(2, &["x448"]);
    of(&format!("{server},until=2020-01-01")).fails(1, &["a key whose end"]);
    of(&house.path("identity.pub.pem")).fails(1, &["identity.pub.pem"]);
    // Where certificates stand beside the private key, the first may be its issuer's.
    let tool = |name: &str| fs::read(format!("{}/../tests/keys/tools/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let bundle = [tool("cert.pem"), house.read("server.pem").into_bytes()].concat();
    let said = of(&house.write("bundle.pem", &bundle, 0o600)).ok().out;
    assert!(said.contains(&format!("\nkey:       {}  ", house.pin())), "{said}");
    assert_eq!(said.matches("\nkey: ").count(), 1, "{said}");
    let locked = house.write("locked.pem", &[tool("cert.pem"), tool("encrypted-pkcs8.pem")].concat(), 0o600);
    of(&locked).fails(1, &["locked.pem", "give the file of its public half alone"]);
    // A letter of it that is another is seen.
    let mut changed = house.read("keys/manifest.pem").into_bytes();
    let at = changed.len() / 2;
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    let changed = house.write("changed.pem", &changed, 0o644);
    run(&["manifest", "show", &changed], "").fails(1, &["changed.pem"]);
    // Nobody looks for one behind a mebibyte of something else.
    let behind = |len: usize| ["a line\n".repeat(len / 7 + 1), house.read("keys/manifest.pem")].concat();
    run(&["manifest", "show", &house.write("near.pem", behind(1000).as_bytes(), 0o644)], "").ok();
    run(&["manifest", "show", &house.write("far.pem", behind(1 << 20).as_bytes(), 0o644)], "").fails(1, &["far.pem"]);
}

/// All that is said of so many keys that somebody signs for who says nothing of them: clients' clocks may be a day slow, and no client takes a
/// key exchange that whoever steals the key later can open.
#[track_caller]
fn as_by_default(said: &str, now: u64, keys: usize) {
    let around = |time: u64| date(time - 60)..=date(time + 600);
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("key: ")).collect();
    assert_eq!(lines.len(), keys, "{said}");
    for line in lines {
        let (from, rest) = line.split_once(" from ").unwrap().1.split_once(" until ").unwrap();
        let (until, floor) = rest.split_once(", ").unwrap();
        assert!(around(now - DAY).contains(&from.to_owned()), "{line}");
        assert!(around(now + 90 * DAY).contains(&until.to_owned()), "{line}");
        assert_eq!(floor, "rsa+x25519 or stronger");
    }
}

#[test]
fn a_manifest_vouches_for_a_retired_key_for_as_long_as_its_server_has_it() {
    let house = house();
    rotate(&house, &["--retire-for", "1day"]).ok();
    let retired = list(&house).into_iter().find(|line| line[0] == "retired").unwrap();
    let (id, until) = (retired[1].clone(), retired.last().unwrap().clone());
    let said = sign(&house, &["--days", "30"]).ok().out;
    let line = said.lines().find(|line| line.contains(&id)).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains(&format!("until {until}")), "{line}");
    // One that is over is in no manifest any more.
    let text = house.read("keys/keys.toml").replace(&until, &date(now() - 3600));
    house.write("keys/keys.toml", text.as_bytes(), 0o600);
    let said = sign(&house, &[]).ok().out;
    assert!(!said.contains(&id), "{said}");
}

#[test]
fn a_server_reads_its_keys_again_at_sighup_and_says_what_it_took() {
    let house = house();
    sign(&house, &[]).ok();
    let mut server = serve(&house, &[]);
    let (current, next) = (pin(&house, "current"), pin(&house, "next"));
    let identity = house.path("identity.pub.pem");
    login(&house, &server, &["--identity-key", &identity]).ok();
    let said = login(&house, &server, &["--identity-key", &identity]).ok();
    assert!(said.err.contains("server proved itself"), "{said:?}");
    login(&house, &server, &["--pin", &current]).ok();

    // Nothing is taken of what can't be read, and nobody notices.
    let toml = house.read("keys/keys.toml");
    house.write("keys/keys.toml", b"nonsense", 0o600);
    let line = reload(&mut server);
    assert!(line.contains("event=keys-not-reloaded") && line.contains("keys.toml"), "{line}");
    login(&house, &server, &["--pin", &current]).ok();
    house.write("keys/keys.toml", toml.as_bytes(), 0o600);

    rotate(&house, &[]).ok();
    let line = reload(&mut server);
    let shown = run(&["manifest", "show", &house.path("keys/manifest.pem")], "").ok().out;
    let expires = shown.lines().find_map(|line| line.strip_prefix("expires:")).unwrap().trim().to_owned();
    let after_next = pin(&house, "next");
    for part in [
        format!(" current={next} "),
        format!(" next={after_next} "),
        format!(" retired={current} "),
        format!(" manifest=1 manifest_expires={expires}"),
    ] {
        assert!(format!("{line} ").contains(&part), "{part} in {line}");
    }
    // The fingerprint of before was kept with its key; who has no more than the fingerprint sees the current key.
    login(&house, &server, &["--pin", &current]).ok();
    let stranger =
        server.login_with(&["--user", "alice", "--password-stdin"], &["--pin", &current], "secret of alice\n");
    stranger.fails(3, &["not trusted", &next]);
    for trust in [&["--pin", &next][..], &["--identity-key", &identity]] {
        login(&house, &server, trust).ok();
    }
    sign(&house, &[]).ok();
    assert!(reload(&mut server).contains("manifest=2"));
    login(&house, &server, &["--identity-key", &identity]).ok();

    // Somebody plays an old manifest back, by hand.
    let newest = house.read("keys/manifest.pem");
    fs::remove_file(house.path("keys/manifest.pem")).unwrap();
    sign(&house, &["--sequence", "1"]).ok();
    reload(&mut server);
    let said = login(&house, &server, &["--identity-key", &identity]);
    said.fails(3, &["an older manifest, number 1, where 2 was seen before"]);
    house.write("keys/manifest.pem", newest.as_bytes(), 0o644);
    reload(&mut server);
    login(&house, &server, &["--identity-key", &identity]).ok();
    assert_eq!(server.stop("-TERM").0, 0);
}

#[test]
fn operators_are_told_of_a_manifest_and_of_keys_that_are_over_at_each_start_and_reload() {
    let house = house();
    let seconds = UnixTime::from_secs;
    let current = ManifestKey {
        id: key(&house, "current").id(),
        not_before: seconds(0),
        not_after: seconds(now() + DAY),
        floor: KeyExchange::Rsa.into(),
    };
    let expires = now() - 60;
    let (issued, names) = (seconds(expires - 30 * DAY), Vec::new());
    let body = ManifestBody { sequence: 1, issued, expires: seconds(expires), names, keys: vec![current] };
    let identity = countersign::crypto::KeyFile::parse(house.read("identity.pem").as_bytes()).unwrap();
    let identity = identity.signing_key(None).unwrap();
    let manifest = body.sign(&identity, rustcrypto::provider()).unwrap().to_pem();
    house.write("keys/manifest.pem", manifest.as_bytes(), 0o644);
    let listed = house.read("keys/keys.toml");
    let with_one_over = format!("{listed}\n[[retired]]\nkey = \"gone.pem\"\nuntil = 2020-01-01T00:00:00Z\n");
    house.write("keys/keys.toml", with_one_over.as_bytes(), 0o600);
    let over = [
        "gone.pem: its time was over on 2020-01-01T00:00:00Z".to_owned(),
        format!("manifest.pem: this manifest expired on {}; sign a new one", date(expires)),
    ];
    let (keys, users) = (house.path("keys"), house.path("users.txt"));
    let file = format!("listen = \"127.0.0.1:0\"\nkeys = {keys:?}\nusers = {users:?}\n");
    let file = house.write("serve.toml", file.as_bytes(), 0o644);
    let said = run(&["check-config", &file], "").ok().err;
    assert!(over.iter().all(|what| said.contains(what)), "{said}");
    let mut server = serve(&house, &[]);
    assert!(reload(&mut server).contains("event=keys-reloaded"));
    for what in &over {
        server.wait_for(&["event=keys-warning", what]);
    }
    // They are mended, and there is nothing to say any more.
    house.write("keys/keys.toml", listed.as_bytes(), 0o600);
    sign(&house, &["--days", "1"]).ok();
    assert!(reload(&mut server).contains("event=keys-reloaded"));
    let (status, said) = server.stop("-TERM");
    assert_eq!(status, 0);
    assert!(over.iter().all(|what| said.contains(what)), "{said}");
    assert_eq!(server.seen.iter().filter(|line| line.contains("event=keys-warning")).count(), 2, "{:#?}", server.seen);
}

#[test]
fn operators_are_told_for_what_clients_would_refuse_a_manifest() {
    let house = house();
    let (now, seconds) = (now(), UnixTime::from_secs);
    let id = key(&house, "current").id();
    let current = ManifestKey {
        id,
        not_before: seconds(now - DAY),
        not_after: seconds(now + DAY),
        floor: KeyExchange::Rsa.into(),
    };
    let (issued, expires) = (seconds(now - DAY), seconds(now + DAY));
    let good = ManifestBody { sequence: 2, issued, expires, names: Vec::new(), keys: vec![current] };
    let signed = |body: &ManifestBody, by: &str| {
        let identity = countersign::crypto::KeyFile::parse(house.read(by).as_bytes()).unwrap();
        let manifest = body.sign(&identity.signing_key(None).unwrap(), rustcrypto::provider()).unwrap();
        house.write("keys/manifest.pem", manifest.to_pem().as_bytes(), 0o644);
    };
    let check = |more: &str| {
        let (keys, users) = (house.path("keys"), house.path("users.txt"));
        let file = format!("listen = \"127.0.0.1:0\"\nkeys = {keys:?}\nusers = {users:?}\n{more}");
        run(&["check-config", &house.write("serve.toml", file.as_bytes(), 0o644)], "").ok().err
    };
    let named = ManifestBody { names: vec!["db.example".to_owned(), "x.example".to_owned()], ..good.clone() };
    let (soon, later) = (seconds(now + 30), seconds(now + 3600));
    let with = |key: ManifestKey| ManifestBody { keys: vec![key], ..good.clone() };
    for (body, more, says) in [
        (good.clone(), "", None),
        (ManifestBody { issued: soon, ..good.clone() }, "", None),
        (ManifestBody { issued: later, ..good.clone() }, "", Some(format!("was issued on {}", date(now + 3600)))),
        (with(ManifestKey { not_before: later, ..current }), "", Some(format!("has the current key {id} from"))),
        (
            with(ManifestKey { not_after: issued, not_before: seconds(1), ..current }),
            "",
            Some("clients refuse the key".to_owned()),
        ),
        (named.clone(), "", Some("is for db.example, x.example alone".to_owned())),
        (named.clone(), "server-name = [\"y.example\"]\n", Some("goes by no such name (--server-name)".to_owned())),
        (named.clone(), "server-name = [\"y.example\", \"x.example\"]\n", None),
        (named, "any-server-name = true\n", None),
    ] {
        signed(&body, "identity.pem");
        let said = check(more);
        let says_so = said.contains("manifest.pem: this manifest ");
        assert!(says_so == says.is_some() && says.iter().all(|part| said.contains(part)), "{body:?}: {said}");
    }

    // The number of the one before is known to whoever reads the keys again.
    signed(&good, "identity.pem");
    let mut server = serve(&house, &[]);
    let warning = |server: &mut Server, body: &ManifestBody, by: &str| {
        signed(body, by);
        assert!(reload(server).contains("event=keys-reloaded"));
        // What is said of the keys comes before what is said of the next reload.
        reload(server);
        server.seen.iter().filter(|line| line.contains("event=keys-warning")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(warning(&mut server, &ManifestBody { sequence: 3, ..good.clone() }, "identity.pem"), [""; 0]);
    let said = warning(&mut server, &good, "identity.pem");
    assert!(said.len() == 1 && said[0].contains("has the number 2, and the one before it had 3"), "{said:?}");
    assert!(said[0].contains("--sequence 4"), "{said:?}");
    // Another one of the same number, and one of another identity, which counts by itself.
    let said = warning(&mut server, &ManifestBody { issued: seconds(now - 7), ..good.clone() }, "identity.pem");
    assert!(said.len() == 2 && said[1].contains("has the number 2, and the one before it had 2"), "{said:?}");
    run(&["keygen", "--identity", "--out", &house.path("other.pem")], "").ok();
    let said = warning(&mut server, &ManifestBody { sequence: 1, ..good }, "other.pem");
    assert_eq!(said.len(), 2, "{said:?}");
}

#[test]
fn a_manifest_that_does_not_fit_keeps_nobody_out() {
    let house = house();
    let manifest = house.path("other.pem");
    let other = house.key("other2048.pem", "other2048.pem");
    let identity = house.path("identity.pem");
    run(&["manifest", "sign", "--identity", &identity, "--key", &other, "--out", &manifest], "").ok();
    let mut server = house.serve(&["--manifest", &manifest]);
    server.login(&house, "alice", "secret of alice", &["--send", "whoami"]).ok();
    let said = login(&house, &server, &["--identity-key", &house.path("identity.pub.pem")]);
    said.fails(3, &["no manifest"]);
    let (_, err) = server.stop("-TERM");
    assert!(err.contains("does not name the current key"), "{err}");
    // What is no manifest at all is a mistake in the command line.
    let (key, users) = (house.path("server.pem"), house.path("users.txt"));
    let serve = ["serve", "--listen", "127.0.0.1:0", "--key", &key, "--users", &users, "--manifest", &key];
    run(&serve, "").fails(1, &["server.pem", "COUNTERSIGN MANIFEST"]);
}

#[test]
fn nobody_is_asked_for_a_passphrase_at_sighup() {
    let house = house();
    let key = house.path("encrypted.pem");
    let openssl = ["pkcs8", "-topk8", "-passout", "pass:correct horse", "-in", &house.path("server.pem"), "-out", &key];
    match Command::new("openssl").args(openssl).status() {
        Ok(status) => assert!(status.success(), "{status:?}"),
        Err(_) => return support::left_out("openssl", "there is no openssl here"),
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let passphrase = house.write("passphrase", b"correct horse\n", 0o600);
    let users = house.path("users.txt");
    let args = ["serve", "--listen", "127.0.0.1:0", "--users", &users, "--key", &key, "--passphrase-file", &passphrase];
    let mut server = Server::of(command(&args));
    assert!(reload(&mut server).contains("event=keys-reloaded"));
    fs::remove_file(&passphrase).unwrap();
    assert!(reload(&mut server).contains("event=keys-not-reloaded"));
    server.login(&house, "alice", "secret of alice", &["--send", "whoami"]).ok();

    // In a folder the key is known again by its public half, which stands beside it.
    let name = list(&house)[0][2].clone();
    fs::copy(&key, house.path(&format!("keys/{name}"))).unwrap();
    let stdin = house.write("stdin", b"correct horse\n", 0o600);
    let keys = house.path("keys");
    let mut serve =
        command(&["serve", "--listen", "127.0.0.1:0", "--users", &users, "--keys", &keys, "--passphrase-stdin"]);
    serve.stdin(fs::File::open(stdin).unwrap());
    let mut server = Server::with_stdin(serve);
    assert!(reload(&mut server).contains("event=keys-reloaded"));
    fs::remove_file(house.path(&format!("keys/{}", name.replace(".pem", ".pub.pem")))).unwrap();
    let line = reload(&mut server);
    assert!(line.contains("event=keys-not-reloaded") && line.contains("--passphrase-file"), "{line}");
}

#[test]
fn certificates_are_the_key_s_own() {
    let house = house();
    let certificate = house.path("server.crt");
    let made = run(
        &["cert", "self-signed", "--key", &house.path("server.pem"), "--name", "localhost", "--out", &certificate],
        "",
    );
    if made.status == 2 {
        // A build without certificates.
        return;
    }
    made.ok();
    house.serve(&["--certificates", &certificate]);
    let name = list(&house)[0][2].replace(".pem", ".crt");
    fs::copy(&certificate, house.path(&format!("keys/{name}"))).unwrap();
    let mut server = serve(&house, &[]);
    assert!(reload(&mut server).contains("event=keys-reloaded"));
    let next = list(&house)[1][2].replace(".pem", ".crt");
    server.wait_for(&[
        "event=keys-warning",
        &next,
        "the next key has no certificate yet",
        "countersign cert csr --key ",
    ]);
    fs::copy(&certificate, house.path(&format!("keys/{next}"))).unwrap();
    let line = reload(&mut server);
    assert!(line.contains("event=keys-not-reloaded") && line.contains(&next), "{line}");
}

/// A certificate for a key of the folder, beside it.
#[cfg(feature = "x509")]
fn certify(house: &House, role: &str) -> String {
    let key = house.path(&format!("keys/{}", list(house).into_iter().find(|line| line[0] == role).unwrap()[2]));
    let certificate = key.replace(".pem", ".crt");
    run(&["cert", "self-signed", "--key", &key, "--name", "db.example", "--out", &certificate], "").ok();
    certificate
}

#[test]
#[cfg(feature = "x509")]
fn a_key_without_a_certificate_takes_the_place_of_none_that_has_one_unless_that_was_stolen() {
    let house = house();
    let roots = certify(&house, "current");
    let next = house.path(&format!("keys/{}", list(&house)[1][2].replace(".pem", ".crt")));
    let files = || fs::read_dir(house.path("keys")).unwrap().count();
    let before = (list(&house), files());
    rotate(&house, &[]).fails(1, &[&roots, &next, "nothing was changed", "countersign cert csr --key "]);
    assert_eq!((list(&house), files()), before);
    // With one it goes on, and says what is missing now.
    let next_roots = certify(&house, "next");
    let said = rotate(&house, &[]).ok();
    let after_next = list(&house)[1][2].clone();
    assert!(said.err.contains(&format!("{after_next} has no certificate, and it needs one before")), "{said:?}");
    let mut server = serve(&house, &["--server-name", "db.example"]);
    login(&house, &server, &["--server-name", "db.example", "--certificate", &next_roots]).ok();
    // What is stolen goes at once; who is shut out by that is said, by the server, too.
    let said = rotate(&house, &["--stolen", "current"]).ok();
    assert!(said.err.contains(&format!("{after_next} has no certificate, and clients")), "{said:?}");
    assert!(reload(&mut server).contains("event=keys-reloaded"));
    server.wait_for(&["event=keys-warning", &after_next, "the current key has no certificate"]);
    let of_others = format!("{}/../tests/certificates/root.pem", env!("CARGO_MANIFEST_DIR"));
    let said = login(&house, &server, &["--server-name", "db.example", "--roots", &of_others]);
    said.fails(3, &["sent no certificate", "beside each key of --keys"]);
}

#[test]
fn login_by_identity_says_what_is_wrong() {
    let house = house();
    sign(&house, &[]).ok();
    let server = serve(&house, &[]);
    run(&["keygen", "--identity", "--out", &house.path("other.pem")], "").ok();
    let two = house.read("identity.pub.pem") + &house.read("other.pub.pem");
    house.write("two.pub.pem", two.as_bytes(), 0o644);
    for (given, status, says) in [
        ("nowhere.pem", 2, "nowhere.pem"),
        (&*house.path("two.pub.pem"), 2, "more than one key in this file"),
        (&*house.path("server.pub.pem"), 2, "Ed25519"),
        (&*house.path("keys/manifest.pem"), 2, "manifest.pem"),
        ("SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", 3, "another server's, or an attack"),
    ] {
        login(&house, &server, &["--identity-key", given]).fails(status, &[says]);
    }
    // What is kept is a file, and where that is broken the server is not trusted, and the file left alone.
    let identity = house.path("identity.pub.pem");
    login(&house, &server, &["--identity-key", &identity]).ok();
    let folder = house.path("state/countersign/manifests");
    let kept = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(&kept, "nonsense").unwrap();
    login(&house, &server, &["--identity-key", &identity]).fails(3, &[kept.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "nonsense");
}

/// Logins at once.
const CLIENTS: usize = 200;

#[test]
fn keys_rotate_under_load_and_no_login_is_refused() {
    let house = house();
    let token = house.token("alice");
    sign(&house, &[]).ok();
    let more = ["--max-wait", "100s", "--handshake-timeout", "100s", "--max-sessions-per-user", "512"];
    let mut server = serve(&house, &[&more[..], &["--max-sessions", "1024"]].concat());
    let address = server.address.clone();
    let (current, next) = (key(&house, "current"), key(&house, "next"));
    let identity: KeyId = {
        let pem = house.read("identity.pub.pem");
        let keys = countersign::crypto::KeyFile::parse(pem.as_bytes()).unwrap().verifying_keys().unwrap();
        keys[0].key.id()
    };
    let identity = Identity::pinned(identity, rustcrypto::provider());
    let kinds = [
        countersign::Server::key(current.clone()),
        countersign::Server::key(current.clone()).or(countersign::Server::pinned(next.id())),
        countersign::Server::key(next.clone()).or(countersign::Server::key(current.clone())),
        countersign::Server::trusting(identity),
    ];
    let connect = |trust: countersign::Server| {
        let config = ClientConfig::new(rustcrypto::provider()).with_handshake_timeout(PATIENCE);
        Connector::new(config, trust).with_tickets(MemoryTickets::new())
    };
    let dial = || TcpStream::connect(&address);
    let by_password = Credential::Password { user: "alice", password: b"secret of alice" };
    // A ticket from the key that is about to be retired.
    let returning = connect(kinds[0].clone());
    let open: Stream<TcpStream> = returning.dial_blocking(dial, by_password).unwrap();

    let (started, done) = (Arc::new(Barrier::new(CLIENTS + 1)), Arc::new(AtomicUsize::new(0)));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (started, done, token) = (Arc::clone(&started), Arc::clone(&done), token.trim().to_owned());
            let connector = connect(kinds[client % kinds.len()].clone());
            let address = &address;
            scope.spawn(move || {
                started.wait();
                for login in 0..3 {
                    let session =
                        connector.dial_blocking(|| TcpStream::connect(address), Credential::Token(token.as_bytes()));
                    let session = session.unwrap_or_else(|error| panic!("client {client}, login {login}: {error:?}"));
                    assert_eq!(session.grant().principal(), "alice");
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        started.wait();
        until("some are in", || done.load(Ordering::SeqCst) > CLIENTS / 4);
        rotate(&house, &[]).ok();
        assert!(reload(&mut server).contains("event=keys-reloaded"));
        sign(&house, &[]).ok();
        assert!(reload(&mut server).contains("manifest=2"));
    });
    assert_eq!(done.load(Ordering::SeqCst), 3 * CLIENTS);
    assert_eq!(pin(&house, "current"), next.id().to_string());
    // The ticket of before is taken, and the session that was open is.
    assert!(returning.dial_blocking(dial, by_password).unwrap().info().is_resumed());
    drop(open);
    let (status, err) = server.stop("-TERM");
    assert_eq!(status, 0, "{err}");
    let refused: Vec<&String> = server.seen.iter().filter(|line| line.contains("event=login-refused")).collect();
    assert!(refused.is_empty(), "{refused:?}");
}
