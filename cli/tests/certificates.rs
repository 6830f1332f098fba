//! Servers known by certificates: of an authority made as docs/certificates.md says, and self-signed ones.
#![cfg(all(unix, feature = "x509"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::process::Command;
use support::{House, Said, Server, Tunnel, run};

/// Runs the three commands of the documentation in the house; false, and a note, where OpenSSL is not there, or too old.
fn certify(house: &House) -> bool {
    let docs = include_str!("../../docs/certificates.md");
    let block = docs.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(block.lines().filter(|line| line.starts_with("openssl ")).count(), 3);
    let said = Command::new("openssl").arg("version").output();
    let version = said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()).unwrap_or_default();
    let major = version.strip_prefix("OpenSSL ").and_then(|rest| rest.split('.').next()?.parse().ok());
    if major.is_none_or(|major: u32| major < 3) {
        support::left_out("openssl", &format!("OpenSSL 3 or later is needed, and this is {version:?}"));
        return false;
    }
    for line in block.lines() {
        let made = Command::new("sh").args(["-c", line]).current_dir(house.folder.path()).output().unwrap();
        assert!(made.status.success(), "{line}: {made:?}");
    }
    true
}

fn login(house: &House, server: &Server, more: &[&str]) -> Said {
    let who = ["--user", "alice", "--password-stdin", "--send", "whoami"];
    server.login_keeping(house, &who, more, "secret of alice\n")
}

const KNOWN: &str = "state/countersign/known_hosts";

#[test]
fn a_server_of_an_authority_made_with_three_commands_is_known_at_the_first_try() {
    let house = House::new();
    if !certify(&house) {
        return;
    }
    let mut server = house.serve(&["--certificates", &house.path("server.crt")]);
    let address = server.address.clone();
    let roots = house.path("ca.crt");
    let by_roots = ["--roots", &roots, "--certificate-name", "db.example"];
    let said = login(&house, &server, &by_roots).ok();
    assert_eq!(said.out, "alice permissions=read,write\n");
    assert!(!said.err.contains("server proved itself"), "{said:?}");
    // It is kept until it expires: from then on the server proves itself.
    let kept = house.read(KNOWN);
    assert!(kept.starts_with(&format!("{address} accepted=certificate ")) && kept.contains(" until="), "{kept}");
    assert!(login(&house, &server, &by_roots).ok().err.contains(", server proved itself\n"));
    assert_eq!(house.read(KNOWN), kept);
    // And so that a ticket of one run is good in the next.
    let resuming = [&by_roots[..], &["--resume"]].concat();
    assert!(login(&house, &server, &resuming).ok().err.contains("), resumed\n"));
    // Once they are over it is none to show a ticket to, or to prove, before it has shown others.
    let until = kept.split([' ', '\n']).find(|field| field.starts_with("until=")).unwrap();
    house.write(KNOWN, kept.replace(until, "until=2020-01-01T00:00:00Z").as_bytes(), 0o600);
    let said = login(&house, &server, &resuming).ok();
    assert!(!said.err.contains("resumed") && !said.err.contains("server proved itself"), "{said:?}");
    assert!(login(&house, &server, &resuming).ok().err.contains("), resumed\n"));

    // The names are DNS:db.example and IP:10.0.0.1; the host of --server is neither.
    let others = ["--roots", &roots, "--no-resume"];
    login(&house, &server, &others).fails(3, &["is for db.example, 10.0.0.1, and not for 127.0.0.1", "nothing secret"]);
    login(&house, &server, &[&others[..], &["--certificate-name", "10.0.0.1"]].concat()).ok();
    login(&house, &server, &[&others[..], &["--certificate-name", "no name"]].concat()).fails(2, &["no name"]);
    login(&house, &server, &["--certificate-name", "db.example", "--pin", &house.pin()]).fails(2, &["--roots"]);
    // The name that is asked for is the one on the certificate.
    server.stop("-TERM");
    let server = house.serve(&["--certificates", &house.path("server.crt"), "--server-name", "db.example"]);
    login(&house, &server, &["--roots", &roots, "--server-name", "db.example"]).ok();
}

#[test]
fn certificates_go_together_with_pins_and_with_known_hosts() {
    let house = House::new();
    if !certify(&house) {
        return;
    }
    let certified = ["--certificates", &house.path("server.crt")];
    let server = house.serve(&certified);
    let address = server.address.clone();
    house.write("other.crt", include_bytes!("../../tests/certificates/other-root.pem"), 0o644);
    let (roots, others) = (house.path("ca.crt"), house.path("other.crt"));
    let by = |roots: &str, more: &[&str]| {
        login(&house, &server, &[&["--roots", roots, "--certificate-name", "db.example", "--no-resume"], more].concat())
    };
    // Other roots, and nothing else; a pin beside them; both roots.
    by(&others, &[]).fails(3, &["CN=Example CA", "is no root that is trusted here"]);
    by(&others, &["--pin", &house.pin()]).ok();
    by(&others, &["--roots", &roots]).ok();
    std::fs::remove_file(house.path(KNOWN)).unwrap();
    // The known hosts count where that is said.
    by(&others, &["--trust", "strict"]).fails(3, &["is no root", "is known in"]);
    by(&others, &["--trust", "accept-new"]).ok();
    assert!(house.read(KNOWN).contains("accepted=first-use"), "{}", house.read(KNOWN));
    by(&others, &[]).fails(3, &["is no root"]);
    // Where they count, a key in the place of another that was taken on its own is refused, whoever vouches for it; certificates alone are enough.
    let known = house.path(KNOWN);
    std::fs::remove_file(&known).unwrap();
    let other = countersign::PrivateKey::from_pem(include_str!("../../tests/keys/other2048.pem")).unwrap();
    let other = house.write("other.pub.pem", other.public_key().to_pem().as_bytes(), 0o644);
    run(&["known-hosts", "add", &address, &other, "--known-hosts", &known], "").ok();
    for mode in ["strict", "accept-new", "ask"] {
        by(&roots, &["--trust", mode]).fails(3, &["HAS CHANGED"]);
        assert_eq!(house.read(KNOWN).lines().filter(|line| line.starts_with(&address)).count(), 1);
    }
    by(&roots, &[]).ok();
    // What is revoked is refused, whoever vouches for it.
    run(&["known-hosts", "revoke", &address, &house.pin(), "--known-hosts", &known], "").ok();
    by(&roots, &[]).fails(3, &["IS REVOKED"]);
    by(&house.path("missing"), &[]).fails(2, &["missing", "the authority"]);
    by(&house.path("server.pem"), &[]).fails(2, &["server.pem", "no certificate"]);
}

#[test]
fn a_self_signed_certificate_is_trusted_by_itself_for_its_names_while_it_is_valid() {
    let house = House::new();
    let (key, out) = (house.path("server.pem"), house.path("server.crt"));
    run(&["cert", "self-signed", "--key", &key, "--name", "127.0.0.1", "--out", &out], "").ok();
    // The server need not send it.
    let server = house.serve(&[]);
    let said = login(&house, &server, &["--certificate", &out]).ok();
    assert!(said.err.contains(", server proved itself\n"), "{said:?}");
    assert!(login(&house, &server, &["--certificate", &out, "--resume"]).ok().err.contains("resumed"));
    login(&house, &server, &["--certificate", &out, "--certificate-name", "db.example"])
        .fails(2, &["server.crt", "is for 127.0.0.1, and not for db.example", "--certificate-name"]);
    let other = house.key("other2048.pem", "other.pem");
    let other_out = house.path("other.crt");
    run(&["cert", "self-signed", "--key", &other, "--name", "127.0.0.1", "--out", &other_out], "").ok();
    login(&house, &server, &["--certificate", &other_out]).fails(3, &["nothing secret was sent", &house.pin()]);
    login(&house, &server, &["--certificate", &other_out, "--certificate", &out]).ok();
}

#[test]
fn a_tunnel_keeps_to_what_certificates_vouch_for() {
    let house = House::new();
    if !certify(&house) {
        return;
    }
    let mut server =
        house.serve(&["--certificates", &house.path("server.crt"), "--forward", &support::service(support::echo)]);
    let (other, address) = (house.path("other.pub.pem"), server.address.clone());
    run(&["keygen", "--out", &house.path("other.pem"), "--bits", "2048"], "").ok();
    let more = ["--roots", &house.path("ca.crt"), "--certificate-name", "db.example", "--server-key", &other];
    let who = ["--user", "alice", "--password-stdin"];
    let tunnel = Tunnel::start_trusting(&house, &address, &who, &more, "secret of alice\n");
    for how in ["event=login-accepted", "event=login-resumed", "event=login-resumed"] {
        let mut stream = tunnel.connect();
        std::io::Write::write_all(&mut stream, b"hello").unwrap();
        let mut back = [0; 5];
        std::io::Read::read_exact(&mut stream, &mut back).unwrap();
        server.wait_for(&[how]);
    }
}

#[test]
fn a_server_warns_of_its_certificates_and_refuses_those_of_another_key() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/certificates");
    let house = House::new();
    let copy = |name: &str| house.write(name, &std::fs::read(folder.join(name)).unwrap(), 0o644);
    let (expired, roots, other) = (copy("expired.pem"), copy("root.pem"), copy("other-key.pem"));
    let mut server = house.serve(&["--certificates", &expired]);
    let said = login(&house, &server, &["--roots", &roots, "--certificate-name", "db.example"]);
    said.fails(3, &["expired at 2020-12-31T23:59:59Z", "renew it", "nothing secret was sent"]);
    let (status, said) = server.stop("-TERM");
    assert!(status == 0 && said.contains("expired.pem: the certificate of"), "{said}");
    assert!(said.contains("expired at 2020-12-31T23:59:59Z"), "{said}");

    let args =
        ["serve", "--listen", "127.0.0.1:0", "--key", &house.path("server.pem"), "--users", &house.path("users.txt")];
    run(&[&args[..], &["--certificates", &other]].concat(), "").fails(1, &["other-key.pem", &house.pin()]);
    run(&[&args[..], &["--certificates", &house.path("missing")]].concat(), "").fails(1, &["missing"]);
}
