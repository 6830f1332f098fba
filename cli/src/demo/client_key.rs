//! A key of the client's: what it is good for, and what it is not good for in other hands.

use super::print::item;
use super::relay::Towards;
use super::stage::{FULL, Scene, Stage, USER, check, connector, loaded};
use crate::crypto;
use crate::failure::Failure;
use countersign::frame::FrameType;
use countersign::{AuthorizedKey, ClientKey, Credential, Server, SigningKey};
use std::path::Path;

pub(super) fn play(folder: &Path) -> Result<(), Failure> {
    let mut stage = Stage::set_up(folder, "A client's key: nothing that the client sends lets anybody else in.")?;
    let (own, other) = (stage.key("the server's")?, stage.key("another server's")?);
    let (alices, bound, strangers) = (key("alice's")?, key("alice's, at the office")?, key("somebody else's")?);
    let office = AuthorizedKey::bounded(bound.public_key().clone(), "office", Some("192.0.2.0/24"), None);
    let office = office.map_err(Failure::new)?;
    let users = stage.users(|account| {
        account.add_key(&AuthorizedKey::new(alices.public_key().clone(), "laptop"))?;
        account.add_key(&office).map(drop)
    })?;
    item("account", "alice, no password; two public keys, one of them from=\"192.0.2.0/24\"")?;
    let server = stage.serve("the right one", loaded(&own)?, &users)?;
    let elsewhere = stage.serve("another one, where alice has an account, too", loaded(&other)?, &users)?;

    let right = Scene {
        title: "Both ends know the other's key",
        host: &server,
        connector: connector(Server::key(own.public_key().clone())),
        credential: Credential::Key { user: USER, key: &alices },
        alter: None,
        explain: true,
        error: None,
        frames: FULL,
        log: &["event=login-accepted user=\"alice\""],
        moral: "The server proved that it holds its key, and then the client signed all that was said on this connection, that proof \
                among it. The users file has the public half alone: whoever steals it can log in as nobody.",
    };
    let first = stage.play(&right)?;
    check(first.is_proved, "the server proves itself first")?;

    let unknown = Scene {
        title: "A key that is not on the account",
        connector: connector(Server::key(own.public_key().clone())),
        credential: Credential::Key { user: USER, key: &strangers },
        explain: false,
        error: Some("refused"),
        log: &["event=login-refused user=\"alice\"", "reason=\"unknown key\""],
        moral: "Refused as a wrong password is, in as many bytes, and as for a user that there is not: nobody finds out whose keys are on \
                which account.",
        ..right
    };
    let refused = stage.play(&unknown)?;
    check(refused.sizes() == first.sizes(), "frames have the same sizes whatever the answer")?;

    let away = Scene {
        title: "A key of alice's, from another address than it is for",
        connector: connector(Server::key(own.public_key().clone())),
        credential: Credential::Key { user: USER, key: &bound },
        log: &[
            "event=login-refused user=\"alice\"",
            "reason=\"the key may not be used from this address, or no longer\"",
        ],
        moral: "The same answer again. The bound is that of OpenSSH's authorized_keys; options that are not kept are refused when the key \
                is added, and not forgotten.",
        ..unknown
    };
    stage.play(&away)?;

    let visit = Scene {
        title: "Alice logs in to another server",
        host: &elsewhere,
        connector: connector(Server::key(other.public_key().clone())),
        credential: Credential::Key { user: USER, key: &alices },
        error: None,
        log: &["event=login-accepted user=\"alice\""],
        moral: "That server may be anybody's: it sees her signature. What can it do with that?",
        ..away
    };
    let stolen = stage.play(&visit)?;
    let login = stolen.frames.iter().find(|(kind, _)| *kind == FrameType::ClientLogin).map(|(_, frame)| frame.clone());
    let login = login.unwrap_or_default();
    let put_in = |_: Towards, kind: FrameType, frame: &mut Vec<u8>| {
        if kind == FrameType::ClientLogin {
            frame.clone_from(&login);
        }
    };
    let forwarded = Scene {
        title: "It puts her login into a connection of its own to the right server",
        host: &server,
        connector: connector(Server::key(own.public_key().clone())),
        credential: Credential::Key { user: USER, key: &strangers },
        alter: Some(&put_in),
        error: Some("verdict-not-authentic"),
        log: &["event=login-refused", "does not open"],
        moral: "It is sealed for another connection. Opened and sealed anew it would be no better: the signature is over that connection, \
                the other server's key and challenge among it, and fits nothing else.",
        ..visit
    };
    stage.play(&forwarded)?;
    let spki = alices.public_key().spki_der().to_vec();
    let point = spki.get(spki.len().saturating_sub(32)..).unwrap_or_default();
    stage.finish(vec![server, elsewhere], &[("the user name", USER.as_bytes()), ("alice's public key", point)])
}

/// A new key of a client.
fn key(whose: &str) -> Result<ClientKey, Failure> {
    let key = ClientKey::load(&SigningKey::generate(crypto::provider())?, crypto::provider())?;
    item("key", format_args!("{whose}: {}, {}", key.public_key().id(), key.public_key().algorithm()))?;
    Ok(key)
}
