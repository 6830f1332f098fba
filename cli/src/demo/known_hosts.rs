//! A file of known servers: first contact, the second login, and those who answer in the server's place.

use super::print::{item, said};
use super::stage::{ALICE, FULL, LEFT, PASSWORD, Scene, Stage, USER, check, connector, loaded};
use crate::failure::Failure;
use countersign::{KnownHosts, Server, ServerKey};
use std::path::Path;

/// The server, as its user calls it.
const NAME: &str = "db.example:4500";

pub(super) fn play(folder: &Path) -> Result<(), Failure> {
    let mut stage = Stage::set_up(folder, "Known hosts: a server that is known by a file, as with OpenSSH.")?;
    let (own, other) = (stage.key("the server's")?, stage.key("somebody else's")?);
    let (id, other_id) = (own.public_key().id(), other.public_key().id());
    let users = stage.users(|account| account.set_password(PASSWORD.as_bytes()))?;
    let server = stage.serve("the right one", loaded(&own)?, &users)?;
    let thief = stage.serve("somebody in the middle, with a key of their own", loaded(&other)?, &users)?;
    let copyist = stage.serve(
        "somebody in the middle, who shows the right key and has not its private half",
        ServerKey::public_only(own.public_key().clone()),
        &users,
    )?;
    let path = stage.path("known_hosts");
    item("file", format_args!("{}, which is not there yet", path.display()))?;
    let hosts = KnownHosts::open(&path)?;
    let known = || hosts.at(NAME).map_err(Failure::new);

    let first = Scene {
        title: "First contact: any key would do, and a password has to wait",
        host: &server,
        connector: connector(Server::trusting(known()?.accepting_new())),
        credential: ALICE,
        alter: None,
        explain: true,
        error: Some("trust-too-low"),
        frames: LEFT,
        log: &["event=handshake-failed", "before its ClientLogin"],
        moral: "The key is kept, whoever showed it, and the client left before its ClientLogin: a password goes to a key that somebody \
                has looked at. A signature, which is of no use to others, could go now. (`login` asks on the terminal instead, and \
                with --trust accept-new sends even a password.)",
    };
    stage.play(&first)?;
    let line = std::fs::read_to_string(&path).unwrap_or_default();
    let (front, _) = line.split_once("key=").unwrap_or_default();
    said("the file", &format!("{front}key=..., the whole key"))?;
    check(front.starts_with(&format!("{NAME} accepted=first-use ")), "the key is kept as one of first use")?;

    hosts.confirm(NAME, id).map_err(Failure::new)?;
    let second = Scene {
        title: "The fingerprint was compared: countersign known-hosts confirm",
        connector: connector(Server::trusting(known()?)),
        error: None,
        frames: FULL,
        log: &["event=login-accepted user=\"alice\""],
        moral: "The file has the whole key, so the server had to prove that it holds the private half before the password left. Nobody \
                was asked anything.",
        ..first
    };
    let seen = stage.play(&second)?;
    check(seen.is_proved, "the server proves itself")?;

    let changed = Scene {
        title: "Somebody in the middle answers with a key of their own",
        host: &thief,
        connector: connector(Server::trusting(known()?)),
        explain: false,
        error: Some("server-key-changed"),
        frames: LEFT,
        log: &["event=handshake-failed", "before its ClientLogin"],
        moral: "Both fingerprints, the file and the line: whoever reads it can find out whether the server was given a new key, or this is \
                an attack. All that the attacker saw is that somebody knows the old key.",
        ..second
    };
    let seen = stage.play(&changed)?;
    let is_named = [id, other_id].iter().all(|id| seen.said.contains(&id.to_string()));
    check(is_named && seen.said.contains("line 1"), "both keys and the line are named")?;

    let copied = Scene {
        title: "Somebody in the middle shows the server's own key, which is public",
        host: &copyist,
        connector: connector(Server::trusting(known()?)),
        error: Some("proof-not-authentic"),
        moral: "The key is the right one, and the proof can't be made without its private half. The password did not leave, not even \
                sealed to that key.",
        ..changed
    };
    stage.play(&copied)?;

    hosts.revoke_everywhere(id).map_err(Failure::new)?;
    let revoked = Scene {
        title: "The key was stolen, and is revoked: countersign known-hosts revoke",
        host: &server,
        connector: connector(Server::trusting(known()?)),
        error: Some("server-key-revoked"),
        moral: "From then on nothing is sent to this key, whoever shows it, and whatever else speaks for it: also --pin is overruled.",
        ..changed
    };
    stage.play(&revoked)?;
    stage.finish(
        vec![server, thief, copyist],
        &[("the user name", USER.as_bytes()), ("the password", PASSWORD.as_bytes())],
    )
}
