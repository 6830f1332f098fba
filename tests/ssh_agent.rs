//! Keys at an `ssh-agent`: a real one, where one is installed, and one that lies, hangs or goes away.

#![cfg(all(any(feature = "rustcrypto", feature = "aws-lc"), feature = "ssh-agent", feature = "files", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::crypto::SignError;
use countersign::ssh_agent::{self, Agent};
use countersign::{AuthorizedKey, ClientKey, SignatureAlgorithm, SigningKey, VerifyingKey};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use support::{TestRng, left_out, provider};
use tempfile::TempDir;

const MESSAGE: &[u8] = b"a transcript";

fn tool(name: &str) -> Vec<u8> {
    fs::read(format!("{}/tests/keys/signing/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn public(name: &str) -> VerifyingKey {
    AuthorizedKey::read(&tool(name)).unwrap().remove(0).key().clone()
}

fn sign(key: &ClientKey) -> Result<Vec<u8>, SignError> {
    key.sign(MESSAGE, &mut TestRng::new("none is used"))
}

/// An agent of OpenSSH's, with a folder of its own. It ends with this.
struct Real {
    child: Child,
    folder: TempDir,
    agent: Agent,
}

impl Real {
    /// None where OpenSSH is not installed.
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent");
        let mut command = Command::new("ssh-agent");
        let started = command.args(["-D", "-a"]).arg(&socket).stdout(Stdio::piped()).spawn();
        let (Ok(mut child), true) = (started, Command::new("ssh-add").arg("-h").output().is_ok()) else {
            left_out("openssh", "there is no ssh-agent here");
            return None;
        };
        // It says where it listens when it does.
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("SSH_AUTH_SOCK"), "{line}");
        Some(Self { child, folder, agent: Agent::at(socket) })
    }

    fn add(&self, name: &str) {
        let path = self.folder.path().join(name);
        fs::write(&path, tool(name)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self.ssh_add(&[path.to_str().unwrap()]);
    }

    fn ssh_add(&self, args: &[&str]) {
        let askpass = self.folder.path().join("askpass");
        fs::write(&askpass, "#!/bin/sh\necho locked\n").unwrap();
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = Command::new("ssh-add");
        command.args(args).env("SSH_AUTH_SOCK", self.agent.socket());
        command.env("SSH_ASKPASS", askpass).env("SSH_ASKPASS_REQUIRE", "force");
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_real_agent_signs_with_the_keys_that_it_holds() {
    let Some(real) = Real::start() else { return };
    assert_eq!(real.agent.keys(), Ok(Vec::new()));
    for name in ["id_ed25519", "id_ecdsa", "id_rsa"] {
        real.add(name);
    }
    let held = real.agent.keys().unwrap();
    let expected = ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"].map(public);
    assert_eq!(held.iter().map(|held| held.key.clone()).collect::<Vec<_>>(), expected);
    assert!(held.iter().all(|held| held.comment == "alice@laptop"));
    for key in &expected[..2] {
        let client = real.agent.client_key(key, provider()).unwrap();
        assert_eq!((client.public_key(), client.can_sign(), client.is_remote()), (key, true, false));
        // Often enough for numbers of ECDSA that begin with zeros, or have their first bit set.
        for number in 0..60_u8 {
            let message = vec![number; usize::from(number) * 10];
            let signature = client.sign(&message, &mut TestRng::new("none is used")).unwrap();
            assert_eq!(signature.len(), 64);
            assert_eq!(provider().verify(key, &message, &signature), Ok(()));
        }
    }
}

#[test]
fn what_a_real_agent_can_t_do_has_its_own_error() {
    let Some(mut real) = Real::start() else { return };
    real.add("id_rsa");
    let [rsa, ed25519] = ["id_rsa.pub", "id_ed25519.pub"].map(public);
    let unsupported = real.agent.client_key(&rsa, provider()).unwrap_err();
    assert_eq!(unsupported, SignError::Unsupported(SignatureAlgorithm::RsaPss));
    assert!(unsupported.to_string().contains("RSA-PSS"), "{unsupported}");
    assert_eq!(real.agent.client_key(&ed25519, provider()).unwrap_err(), SignError::NotHere);
    real.add("id_ed25519");
    let key = real.agent.client_key(&ed25519, provider()).unwrap();
    real.ssh_add(&["-x"]);
    assert_eq!(sign(&key), Err(SignError::Refused), "it is locked");
    real.ssh_add(&["-X"]);
    assert!(sign(&key).is_ok());
    let hasty = real.agent.clone().with_timeout(Duration::from_millis(300));
    let hasty = hasty.client_key(&ed25519, provider()).unwrap();
    real.signal("-STOP");
    assert_eq!(sign(&hasty), Err(SignError::TimedOut), "it hangs");
    real.signal("-CONT");
    assert!(sign(&key).is_ok());
    real.ssh_add(&["-D"]);
    assert_eq!(sign(&key), Err(SignError::Refused), "it does not hold the key any more");
    real.child.kill().unwrap();
    real.child.wait().unwrap();
    assert_eq!(sign(&key), Err(SignError::Gone));
    assert_eq!(real.agent.keys(), Err(SignError::Gone));
}

/// What an agent does with one question.
#[derive(Clone)]
enum Act {
    /// Sends these bytes as they are, and goes away.
    Sends(Vec<u8>),
    /// Sends nothing, and stays.
    Hangs,
    /// Sends these bytes one by one, and slowly.
    Dribbles(Vec<u8>),
}

/// A message with its length in front of it.
fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 1).unwrap();
    [&len.to_be_bytes()[..], &[kind], body].concat()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// A line's key in the way of SSH.
fn blob(key: &VerifyingKey) -> Vec<u8> {
    let line = key.to_openssh("");
    <base64ct::Base64 as base64ct::Encoding>::decode_vec(line.split(' ').nth(1).unwrap()).unwrap()
}

fn identities(keys: &[(&VerifyingKey, &[u8])]) -> Vec<u8> {
    let mut body = u32::try_from(keys.len()).unwrap().to_be_bytes().to_vec();
    for (key, comment) in keys {
        body.extend([string(&blob(key)), string(comment)].concat());
    }
    framed(12, &body)
}

fn signed(algorithm: &str, signature: &[u8]) -> Vec<u8> {
    framed(14, &string(&[string(algorithm.as_bytes()), string(signature)].concat()))
}

/// An agent that answers each question in turn as it is told to, and takes no more.
fn fake(acts: Vec<Act>) -> (TempDir, Agent) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent");
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        let mut open: Vec<UnixStream> = Vec::new();
        for act in acts {
            let (mut stream, _) = listener.accept().unwrap();
            let mut len = [0; 4];
            stream.read_exact(&mut len).unwrap();
            let mut question = vec![0; u32::from_be_bytes(len) as usize];
            stream.read_exact(&mut question).unwrap();
            match act {
                Act::Sends(bytes) => drop(stream.write_all(&bytes)),
                Act::Hangs => open.push(stream),
                Act::Dribbles(bytes) => {
                    for byte in bytes {
                        thread::sleep(Duration::from_millis(20));
                        let _ = stream.write_all(&[byte]);
                    }
                }
            }
        }
        // What hangs stays open until nobody asks any more.
        let _ = listener.accept();
    });
    let agent = Agent::at(socket).with_timeout(Duration::from_millis(400));
    (folder, agent)
}

fn alice() -> SigningKey {
    SigningKey::from_ed25519(&[7; 32]).unwrap()
}

#[test]
fn an_agent_that_talks_nonsense_hangs_or_goes_away_has_its_own_error() {
    let key = alice();
    let good = identities(&[(key.public_key(), b"alice")]);
    let body = &good[5..];
    let mut many = body.to_vec();
    many[..4].copy_from_slice(&u32::MAX.to_be_bytes());
    for (act, error) in [
        (Act::Sends(Vec::new()), SignError::Gone),
        (Act::Sends(good[..3].to_vec()), SignError::Gone),
        (Act::Sends(good[..good.len() - 1].to_vec()), SignError::Gone),
        (Act::Sends(framed(5, &[])), SignError::Refused),
        (Act::Sends(framed(30, &[])), SignError::Refused),
        (Act::Sends(framed(102, &[])), SignError::Refused),
        (Act::Sends(framed(6, body)), SignError::Garbled),
        (Act::Sends(framed(14, body)), SignError::Garbled),
        (Act::Sends(vec![0; 4]), SignError::Garbled),
        (Act::Sends(vec![0xff; 4]), SignError::Garbled),
        (Act::Sends([&((256_u32 << 10) + 1).to_be_bytes()[..], &[12; 100]].concat()), SignError::Garbled),
        (Act::Sends(framed(12, &[])), SignError::Garbled),
        (Act::Sends(framed(12, &body[..body.len() - 1])), SignError::Garbled),
        (Act::Sends(framed(12, &[body, &[0]].concat())), SignError::Garbled),
        (Act::Sends(framed(12, &many)), SignError::Garbled),
        (Act::Sends(framed(12, &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff])), SignError::Garbled),
        (Act::Hangs, SignError::TimedOut),
        // Each byte comes in time, and the answer does not.
        (Act::Dribbles(good.clone()), SignError::TimedOut),
    ] {
        let (_folder, agent) = fake(vec![act]);
        let start = Instant::now();
        assert_eq!(agent.keys(), Err(error));
        assert!(start.elapsed() < Duration::from_secs(5));
    }
    let (_folder, agent) = fake(vec![Act::Dribbles(framed(12, &[0; 4]))]);
    assert_eq!(ssh_agent::TIMEOUT, Duration::from_secs(10));
    assert_eq!(agent.with_timeout(ssh_agent::TIMEOUT).keys(), Ok(Vec::new()), "slow is not too slow");
}

#[test]
fn keys_that_are_not_taken_are_passed_over_and_comments_are_harmless() {
    let key = alice();
    let mut body = 3_u32.to_be_bytes().to_vec();
    body.extend([string(b"nonsense"), string(b"x")].concat());
    body.extend([string(&[string(b"sk-ssh-ed25519@openssh.com"), string(b"y")].concat()), string(b"x")].concat());
    body.extend([string(&blob(key.public_key())), string(b"a\x1b[2J\xff\n")].concat());
    let (_folder, agent) = fake(vec![Act::Sends(framed(12, &body))]);
    let held = agent.keys().unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!((&held[0].key, held[0].comment.as_str()), (key.public_key(), "a[2J\u{fffd}"));
}

#[test]
fn a_signature_is_checked_before_anybody_gets_it() {
    let (key, other, ec) =
        (alice(), SigningKey::from_ed25519(&[8; 32]).unwrap(), SigningKey::from_p256(&[7; 32]).unwrap());
    let by = |key: &SigningKey, message: &[u8]| {
        ClientKey::load(key, provider()).unwrap().sign(message, &mut TestRng::new("fake")).unwrap()
    };
    let good = by(&key, MESSAGE);
    // r and s as numbers of SSH, with a zero before a first bit that is set.
    let mpint = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        let bytes = &bytes[zeros..];
        if bytes[0] & 0x80 == 0 { string(bytes) } else { string(&[&[0], bytes].concat()) }
    };
    let of_ec = by(&ec, MESSAGE);
    let numbers = [mpint(&of_ec[..32]), mpint(&of_ec[32..])].concat();
    let ed25519 = |bytes: &[u8]| signed("ssh-ed25519", bytes);
    let p256 = |bytes: &[u8]| signed("ecdsa-sha2-nistp256", bytes);
    for (key, answer, verdict) in [
        (&key, ed25519(&good), Ok(good.clone())),
        (&ec, p256(&numbers), Ok(of_ec.clone())),
        (&key, ed25519(&by(&other, MESSAGE)), Err(SignError::Wrong)),
        (&key, ed25519(&by(&key, b"another transcript")), Err(SignError::Wrong)),
        (&key, ed25519(&[0; 64]), Err(SignError::Wrong)),
        (&key, p256(&numbers), Err(SignError::Wrong)),
        (&key, signed("rsa-sha2-256", &[7; 256]), Err(SignError::Wrong)),
        (&ec, ed25519(&good), Err(SignError::Wrong)),
        (&ec, p256(&[mpint(&of_ec[32..]), mpint(&of_ec[..32])].concat()), Err(SignError::Wrong)),
        (&key, framed(5, &[]), Err(SignError::Refused)),
        (&key, ed25519(&good[1..]), Err(SignError::Garbled)),
        (&key, ed25519(&[&good[..], &[0]].concat()), Err(SignError::Garbled)),
        (&key, signed("ssh-nonsense", &good), Err(SignError::Garbled)),
        (&key, framed(14, &good), Err(SignError::Garbled)),
        (&key, framed(14, &[]), Err(SignError::Garbled)),
        (&key, framed(12, &[0; 4]), Err(SignError::Garbled)),
        (&ec, p256(&[&numbers[..], &[0]].concat()), Err(SignError::Garbled)),
        (&ec, p256(&mpint(&of_ec[..32])), Err(SignError::Garbled)),
        (&ec, p256(&[string(&[0x80; 32]), mpint(&of_ec[32..])].concat()), Err(SignError::Garbled)),
        (&ec, p256(&[string(&[0x7f; 33]), mpint(&of_ec[32..])].concat()), Err(SignError::Garbled)),
    ] {
        let held = Act::Sends(identities(&[(key.public_key(), b"")]));
        let (_folder, agent) = fake(vec![held, Act::Sends(answer)]);
        let client = agent.client_key(key.public_key(), provider()).unwrap();
        assert_eq!(sign(&client), verdict);
    }
    let (_folder, agent) = fake(vec![Act::Sends(identities(&[(other.public_key(), b"alice")]))]);
    assert_eq!(agent.client_key(key.public_key(), provider()).unwrap_err(), SignError::NotHere, "it holds another");
}

#[test]
fn where_no_agent_is_that_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "no socket").unwrap();
    let left = folder.path().join("left behind");
    drop(UnixListener::bind(&left).unwrap());
    for path in [folder.path().join("none"), file, left, folder.path().join("x".repeat(300))] {
        assert_eq!(Agent::at(path).keys(), Err(SignError::Gone));
    }
    match (std::env::var_os("SSH_AUTH_SOCK"), Agent::from_env()) {
        (Some(path), Ok(agent)) => assert_eq!(agent.socket(), path),
        (_, agent) => assert_eq!(agent, Err(SignError::NoAgent)),
    }
    assert!(SignError::NoAgent.to_string().contains("SSH_AUTH_SOCK"));
}
