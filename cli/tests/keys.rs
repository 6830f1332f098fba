//! `keygen` and `key show`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::process::{Command, Stdio};
use support::{House, run};

#[test]
fn keygen_makes_a_pair_that_key_show_reads() {
    let house = House::empty();
    let said = run(&["keygen", "--bits", "2048", "--out", &house.path("server.pem")], "").ok();
    let fingerprint = said.out.trim_end();
    assert_eq!(said.out.lines().count(), 1);
    assert!(fingerprint.starts_with("SHA256:") && fingerprint.len() == 50, "{fingerprint}");
    assert_eq!((house.mode("server.pem"), house.mode("server.pub.pem")), (0o600, 0o644));
    assert!(house.read("server.pem").starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert!(house.read("server.pub.pem").starts_with("-----BEGIN PUBLIC KEY-----\n"));
    for (file, kind) in [("server.pem", "private"), ("server.pub.pem", "public")] {
        let said = run(&["key", "show", &house.path(file)], "").ok();
        let form = if kind == "private" { "PKCS#8" } else { "SPKI" };
        let lines =
            format!("kind:        {kind}\nform:        {form}\nbits:        2048\nfingerprint: {fingerprint}\n");
        assert_eq!(said.out, lines);
    }
}

#[test]
fn the_default_is_3072_bits_and_a_name_without_pem_gets_an_ending() {
    let house = House::empty();
    run(&["keygen", "--out", &house.path("server")], "").ok();
    let said = run(&["key", "show", &house.path("server.pub.pem")], "").ok();
    assert!(said.out.contains("bits:        3072\n"), "{said:?}");
    assert_eq!(house.mode("server"), 0o600);
}

#[test]
fn keygen_leaves_both_files_alone_if_either_exists() {
    for existing in ["server.pem", "server.pub.pem"] {
        let house = House::empty();
        house.write(existing, b"precious", 0o640);
        let keygen = ["keygen", "--bits", "2048", "--out", &house.path("server.pem")];
        run(&keygen, "").fails(1, &[existing, "--force"]);
        assert_eq!(house.read(existing), "precious");
        assert_eq!(std::fs::read_dir(house.folder.path()).unwrap().count(), 1);

        run(&[&keygen[..], &["--force"]].concat(), "").ok();
        let private = if existing == "server.pem" { 0o640 } else { 0o600 };
        assert_eq!((house.mode("server.pem"), house.mode("server.pub.pem")), (private, 0o644));
        run(&["key", "show", &house.path(existing)], "").ok();
    }
}

#[test]
fn a_private_key_that_replaces_another_is_for_those_who_could_use_that() {
    use std::os::unix::fs::{MetadataExt, chown};
    for kind in [&["--bits", "2048"][..], &["--identity"]] {
        let house = House::empty();
        let (out, link) = (house.write("server.pem", b"old", 0o646), house.path("link.pem"));
        // None but root may give a file away.
        let _ = chown(&out, Some(4321), Some(1234));
        let before = std::fs::metadata(&out).unwrap();
        std::os::unix::fs::symlink(&out, &link).unwrap();
        run(&[&["keygen", "--out", &link, "--force"], kind].concat(), "").ok();
        let after = std::fs::metadata(&out).unwrap();
        assert!(house.read("server.pem").contains("PRIVATE KEY"));
        assert_eq!((after.uid(), after.gid(), house.mode("server.pem")), (before.uid(), before.gid(), 0o640));
    }
}

#[test]
fn keys_that_sign_are_shown_with_their_algorithm() {
    let house = House::empty();
    let out = house.path("identity.pem");
    let id = run(&["keygen", "--identity", "--out", &out], "").ok().out;
    let locked = house.path("locked.pem");
    run(&["keygen", "--identity", "--encrypt", "--passphrase-stdin", "--out", &locked], "correct horse\n").ok();
    let shown = |kind: &str, form: &str| {
        format!("kind:        {kind}\nform:        {form}\nalgorithm:   Ed25519\nfingerprint: {id}")
    };
    assert_eq!(run(&["key", "show", &out], "").ok().out, shown("private", "PKCS#8"));
    let public = house.path("identity.pub.pem");
    assert_eq!(run(&["key", "show", &public], "").ok().out, shown("public", "SPKI"));
    let said = run(&["key", "show", &locked, "--passphrase-stdin"], "correct horse\n").ok().out;
    assert!(said.contains("form:        encrypted PKCS#8\nalgorithm:   Ed25519\n"), "{said}");
    run(&["key", "show", &locked, "--passphrase-stdin"], "wrong\n").fails(1, &["does not open this private key"]);
    for name in ["id_ed25519", "id_ed25519.pub", "id_ecdsa", "id_ecdsa.pub"] {
        let said = run(&["key", "show", &house.key(&format!("signing/{name}"), name)], "").ok().out;
        let kind = if name.ends_with(".pub") { "public" } else { "private" };
        let algorithm = if name.starts_with("id_ed25519") { "Ed25519" } else { "ECDSA P-256" };
        let shown =
            format!("kind:        {kind}\nform:        OpenSSH\nalgorithm:   {algorithm}\nfingerprint: SHA256:");
        assert!(said.starts_with(&shown), "{said}");
    }
    // A server's key is another.
    let users = house.path("users.txt");
    run(&["serve", "--listen", "127.0.0.1:0", "--key", &out, "--users", &users], "")
        .fails(1, &["not an RSA key", "make a new key with: countersign keygen"]);
    for (make, algorithm) in [
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem", "ECDSA P-256"),
        ("ecparam -name prime256v1 -genkey -noout -out key.pem", "ECDSA P-256"),
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out key.pem", ""),
        ("ecparam -name secp384r1 -genkey -noout -out key.pem", ""),
        ("genpkey -algorithm ED448 -out key.pem", ""),
    ] {
        if openssl(&house, make).is_none() {
            return;
        }
        openssl(&house, "pkey -in key.pem -pubout -out key.pub.pem");
        house.write("key.pem", house.read("key.pem").as_bytes(), 0o600);
        let said = ["key.pem", "key.pub.pem"].map(|name| run(&["key", "show", &house.path(name)], ""));
        for said in said {
            if algorithm.is_empty() {
                let said = said.fails(1, &["taken"]);
                assert!(!said.err.contains("make a new key") && !said.err.contains("not an RSA key"), "{said:?}");
            } else {
                assert!(said.ok().out.contains(&format!("algorithm:   {algorithm}\n")));
            }
        }
    }
}

#[test]
fn a_key_that_cannot_be_written_for_good_is_taken_away_again() {
    let house = House::empty();
    for (fails, says) in [("dirsync", "was undone"), ("filesync", "the operating system refused")] {
        for kind in [&["--bits", "2048"][..], &["--identity"]] {
            let new = house.path("new.pem");
            let args = [&["keygen", "--out", &new], kind].concat();
            let Some(mut command) = support::over_failing(&house, fails, "EIO", &args) else { return };
            assert_eq!(support::finish(&mut command, "").fails(1, &[says]).out, "");
            for file in ["new.pem", "new.pub.pem"] {
                assert!(!std::fs::exists(house.path(file)).unwrap(), "{fails}: {file}");
            }
        }
    }
}

/// The public half is there by then; of it the file is synced, and the folder.
#[test]
fn of_a_pair_whose_private_half_cannot_be_written_nothing_is_kept_or_what_there_is_now_is_said() {
    let house = House::empty();
    let out = house.path("new.pem");
    let args = ["keygen", "--bits", "2048", "--out", &out];
    let Some(mut command) = support::over_failing(&house, "third", "EIO", &args) else { return };
    support::finish(&mut command, "").fails(1, &["new.pem: ", "neither file was kept"]);
    for file in ["new.pem", "new.pub.pem"] {
        assert!(!std::fs::exists(house.path(file)).unwrap(), "{file}");
    }

    let old = run(&args, "").ok().out;
    let (private, public) = (house.read("new.pem"), house.read("new.pub.pem"));
    let force = [&args[..], &["--force"]].concat();
    let failing = |fails: &str| support::finish(&mut support::over_failing(&house, fails, "EIO", &force).unwrap(), "");
    failing("filesync").fails(1, &["both files are as they were"]);
    assert_eq!((house.read("new.pem"), house.read("new.pub.pem")), (private.clone(), public));
    let said = failing("third").fails(1, &["new.pub.pem has the new fingerprint ", "new.pem is still the old key"]);
    assert_eq!(house.read("new.pem"), private);
    let new = run(&["key", "show", &house.path("new.pub.pem")], "").ok().out;
    let new = new.lines().last().unwrap().strip_prefix("fingerprint: ").unwrap();
    assert!(new != old.trim() && said.err.contains(&format!("the new fingerprint {new} already")), "{said:?}");
    // What it says helps.
    let command = said.err.split_once("public half back with: ").unwrap().1.trim();
    if Command::new("openssl").arg("version").output().is_err() {
        return support::left_out("openssl", "there is no openssl here");
    }
    assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
    let shown = run(&["key", "show", &house.path("new.pub.pem")], "").ok().out;
    assert!(shown.contains(old.trim()), "{shown}");
}

#[test]
fn keygen_that_cannot_replace_one_file_leaves_the_other_alone() {
    for (folder, file) in [("server.pem", "server.pub.pem"), ("server.pub.pem", "server.pem")] {
        let house = House::empty();
        std::fs::create_dir(house.path(folder)).unwrap();
        house.write(file, b"precious", 0o640);
        for more in [&["--force"][..], &[]] {
            let said = run(&[&["keygen", "--bits", "2048", "--out", &house.path("server.pem")], more].concat(), "");
            if !more.is_empty() || folder == "server.pem" {
                said.fails(1, &[folder, "not a file", "--out"]);
            }
        }
        assert_eq!((house.read(file).as_str(), house.mode(file)), ("precious", 0o640));
        assert_eq!(std::fs::read_dir(house.folder.path()).unwrap().count(), 2);
    }
}

#[test]
fn keygen_says_where_it_cannot_write() {
    let house = House::empty();
    let folder = house.path("no such/folder");
    run(&["keygen", "--bits", "2048", "--out", &format!("{folder}/server.pem")], "")
        .fails(1, &["server.pub.pem", &format!("mkdir -p '{folder}'")]);
    run(&["keygen", "--bits", "1024", "--out", &house.path("server.pem")], "").fails(2, &["1024", "2048"]);
}

/// Runs `openssl` in the house; `None` where there is none on this machine.
fn openssl(house: &House, args: &str) -> Option<()> {
    let mut command = Command::new("openssl");
    command.args(args.split_ascii_whitespace()).current_dir(house.folder.path());
    let Ok(status) = command.stdout(Stdio::null()).stderr(Stdio::null()).status() else {
        support::left_out("openssl", "there is no openssl here");
        return None;
    };
    assert!(status.success(), "openssl {args}");
    Some(())
}

#[test]
fn keys_made_by_openssl_are_read() {
    let house = House::empty();
    if openssl(&house, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem").is_none() {
        return;
    }
    openssl(&house, "pkey -in key.pem -pubout -out key.pub.pem");
    house.write("key.pem", house.read("key.pem").as_bytes(), 0o600);
    let private = run(&["key", "show", &house.path("key.pem")], "").ok().out;
    let public = run(&["key", "show", &house.path("key.pub.pem")], "").ok().out;
    assert_eq!(private.replace("private", "public").replace("PKCS#8", "SPKI"), public);
}

#[test]
fn keys_of_openssl_that_are_no_good_are_refused_with_their_reason() {
    let house = House::empty();
    if openssl(&house, "version").is_none() {
        return;
    }
    for (make, reason) in [
        ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out key.pem", "the key has 1024 bits, too few"),
        ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3 -out key.pem", "exponent"),
        ("genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out key.pem", "RSASSA-PSS"),
        ("genrsa -traditional -aes128 -passout pass:x -out key.pem 2048", "openssl pkcs8 -topk8 -in"),
    ] {
        openssl(&house, make);
        house.write("key.pem", house.read("key.pem").as_bytes(), 0o600);
        let said = run(&["key", "show", &house.path("key.pem")], "").fails(1, &["key.pem", reason]);
        assert!(!said.err.contains("make a new key"), "{said:?}");
    }
}

#[test]
fn crafted_public_keys_are_refused_with_their_reason() {
    let house = House::empty();
    if openssl(&house, "version").is_none() {
        return;
    }
    let odd = format!("0xC{}1", "0".repeat(510));
    let even = format!("0xC{}2", "0".repeat(510));
    for (modulus, exponent, reason) in [
        (&odd, "65537", None),
        (&even, "65537", Some("the modulus is even")),
        (&odd, "1", Some("the public exponent must be odd")),
        (&odd, "3", Some("the public exponent must be odd")),
        (&odd, "65538", Some("the public exponent must be odd")),
    ] {
        let config = format!(
            "asn1=SEQUENCE:spki\n[spki]\nalgorithm=SEQUENCE:rsa\nkey=BITWRAP,SEQUENCE:key\n\
             [rsa]\noid=OID:rsaEncryption\nnull=NULL\n[key]\nmodulus=INTEGER:{modulus}\nexponent=INTEGER:{exponent}\n"
        );
        house.write("key.conf", config.as_bytes(), 0o600);
        openssl(&house, "asn1parse -genconf key.conf -noout -out key.der");
        openssl(&house, "base64 -in key.der -out key.base64");
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}-----END PUBLIC KEY-----\n", house.read("key.base64"));
        house.write("key.pem", pem.as_bytes(), 0o644);
        let said = run(&["key", "show", &house.path("key.pem")], "");
        match reason {
            Some(reason) => said.fails(1, &[reason]),
            None => said.ok(),
        };
    }
}

#[test]
fn files_that_are_no_keys_are_refused() {
    let house = House::empty();
    let exposed = house.key("rsa2048.pem", "exposed key.pem");
    house.write("exposed key.pem", house.read("exposed key.pem").as_bytes(), 0o644);
    let advice = [&format!("run: chmod 600 '{exposed}'"), "mount it with mode 0440"];
    run(&["key", "show", &exposed], "").fails(1, &[&["0644"], &advice[..]].concat());
    for (bytes, reason) in [
        (&b"hello"[..], "text of another kind"),
        (b"", "it is empty"),
        (b"\xff\xfe\x00", "UTF-16"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "line 1: this key can't be used"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "not valid DER"),
    ] {
        let path = house.write("file", bytes, 0o600);
        run(&["key", "show", &path], "").fails(1, &["file", reason]);
        run(&["key", "show", "-"], bytes).fails(1, &["standard input", reason]);
    }
    run(&["key", "show", &house.path("missing.pem")], "").fails(1, &["missing.pem"]);
    // No advice to open a directory to nobody.
    let said = run(&["key", "show", "/etc"], "").fails(1, &["/etc: this is a directory"]);
    assert!(!said.err.contains("chmod"), "{said:?}");
}

/// Copies one of the keys as tools write them.
fn tool(house: &House, name: &str) -> String {
    house.key(&format!("tools/{name}"), name)
}

const GOOD: &str = "SHA256:P5+WhS2XpoLS95lrAqrejzTQ027HYYU4B+Qf3kf8Drc";

#[test]
fn keys_in_all_their_clothes_are_shown() {
    let house = House::empty();
    for (name, parts) in [
        ("oneline.pem", &["private", "PKCS#8"][..]),
        ("latin1-attributes.pem", &["private", "PKCS#8"]),
        ("cert-then-key.pem", &["private", "PKCS#8", "public", "certificate"]),
        ("noparams.pem", &["private"]),
        ("pkcs1.pem", &["private", "PKCS#1"]),
        ("openssh.pem", &["private", "OpenSSH"]),
        ("openssh.pub", &["public", "OpenSSH"]),
        ("cert.pem", &["public", "certificate"]),
        ("good.pub.der", &["public", "SPKI"]),
        ("trailing-spaces.pub.pem", &["public", "SPKI"]),
        ("two-other-first.pub.pem", &["SHA256:eiaPaCBv", "SPKI"]),
    ] {
        let path = tool(&house, name);
        let said = run(&["key", "show", &path], "").ok();
        for part in parts.iter().chain(&[GOOD]) {
            assert!(said.out.contains(part), "{part} is missing in {name}: {said:?}");
        }
        assert_eq!(run(&["key", "show", "-"], std::fs::read(&path).unwrap()).ok().out, said.out);
    }
    for (name, reason) in [
        ("multiprime.pem", "multi-prime"),
        ("rsa16384.pub.pem", "the key has 16384 bits, too many"),
        ("truncated.pem", "has no END line of its own up to line 12"),
    ] {
        run(&["key", "show", &tool(&house, name)], "").fails(1, &[name, "line 1: ", reason]);
    }
}

#[test]
fn an_encrypted_key_wants_its_passphrase() {
    let house = House::new();
    let key = tool(&house, "encrypted-pkcs8.pem");
    let (passphrase, wrong) = (house.write("passphrase", b"x\n", 0o600), house.write("wrong", b"y\n", 0o600));
    let show = ["key", "show", &key];
    let said = run(&[&show[..], &["--passphrase-stdin"]].concat(), "x\n").ok();
    assert!(said.out.contains("encrypted PKCS#8") && said.out.contains(GOOD), "{said:?}");
    run(&[&show[..], &["--passphrase-file", &passphrase]].concat(), "").ok();
    run(&[&show[..], &["--passphrase-file", &wrong]].concat(), "").fails(1, &["does not open this private key"]);
    house.write("wrong", b"x\n", 0o644);
    run(&[&show[..], &["--passphrase-file", &wrong]].concat(), "").fails(1, &["0644", "chmod 600"]);
    run(&[&show[..], &["--passphrase-stdin"]].concat(), "").fails(2, &["empty"]);
    run(&["key", "show", "-", "--passphrase-stdin"], "").fails(2, &["--passphrase-file"]);
    run(&["key", "show", "-", "--passphrase-file", &passphrase], std::fs::read(&key).unwrap()).ok();
}

#[test]
fn a_server_and_its_clients_use_keys_in_any_clothes() {
    let house = House::new();
    for (private, public, more) in [
        ("openssh.pem", "openssh.pub", &[][..]),
        ("pkcs1.pem", "cert.pem", &[]),
        ("encrypted-pkcs8.pem", "two-other-first.pub.pem", &["--passphrase-file"]),
        ("cert-then-key.pem", "good.pub.der", &[]),
    ] {
        house.key(&format!("tools/{private}"), "server.pem");
        let passphrase = house.write("passphrase", b"x", 0o600);
        let more: Vec<&str> = more.iter().copied().chain(more.iter().map(|_| passphrase.as_str())).collect();
        let server = house.serve(&more);
        let trusted = tool(&house, public);
        let who = ["--user", "alice", "--password-stdin", "--server-key", &trusted];
        let said = server.login_with(&who, &["--send", "whoami"], "secret of alice\n").ok();
        assert_eq!(said.err.contains("the key of this certificate is trusted"), public == "cert.pem", "{said:?}");
    }
    // A private key is not what a client is given.
    let key = tool(&house, "good.pem");
    let who = ["login", "--server", "127.0.0.1:1", "--user", "alice", "--password-stdin", "--server-key", &key];
    run(&who, "x\n").fails(2, &["this is a private key; a public key is needed", "openssl pkey -in", "good.pub.pem"]);
}

#[test]
fn a_named_pipe_without_a_writer_is_given_up() {
    let house = House::empty();
    let pipe = house.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    run(&["key", "show", &pipe], "").fails(1, &["pipe", "is anybody writing"]);
}
