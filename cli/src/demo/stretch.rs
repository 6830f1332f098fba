//! Passwords that the client stretches: what the server says of it, and what it keeps.

use super::print::item;
use super::stage::{FULL, Scene, Stage, USER, check, connector, loaded};
use crate::failure::Failure;
use countersign::{Credential, Server, StretchParameters, Stretching};
use std::path::Path;

const PASSWORD: &str = "correct horse battery staple";

pub(super) fn play(folder: &Path) -> Result<(), Failure> {
    let mut stage =
        Stage::set_up(folder, "Stretched passwords: the client computes the password hash, not the server.")?;
    let own = stage.key("the server's")?;
    let stretching = Stretching::new("db.example", &[StretchParameters::DEFAULT]).map_err(Failure::new)?;
    let stretched = stretching.stretch(USER, PASSWORD.as_bytes()).map_err(Failure::new)?;
    let users = stage.users(|account| {
        account.set_stretched(&stretched.newest());
        Ok(())
    })?;
    item("account", format_args!("{USER}, stretched={}", stretched.newest()))?;
    let server = stage.serve_stretching("which takes stretched passwords", loaded(&own)?, &users, Some(&stretching))?;

    let right = Scene {
        title: "Alice logs in with her password",
        host: &server,
        connector: connector(Server::key(own.public_key().clone())),
        credential: Credential::Password { user: USER, password: PASSWORD.as_bytes() },
        alter: None,
        explain: true,
        error: None,
        frames: FULL,
        log: &["event=login-accepted user=\"alice\""],
        moral: "The server says to everybody alike how it is done, before it knows who is there. Alice's client computes an Argon2id hash, \
                salted with her name and the realm, and the server compares the SHA-256 of it: a microsecond of work.",
    };
    let first = stage.play(&right)?;

    let wrong = Scene {
        title: "Somebody guesses her password",
        connector: connector(Server::key(own.public_key().clone())),
        credential: Credential::Password { user: USER, password: b"battery horse" },
        explain: false,
        error: Some("refused"),
        log: &["event=login-refused user=\"alice\"", "reason=\"wrong password\""],
        moral: "The guess costs them an Argon2id hash, and the server none: whoever sends it rubbish pays as much as the server does.",
        ..right
    };
    let guessed = stage.play(&wrong)?;
    check(guessed.sizes() == first.sizes(), "frames have the same sizes whatever the answer")?;

    let stranger = Scene {
        title: "Somebody tries a name that there is not",
        connector: connector(Server::key(own.public_key().clone())),
        credential: Credential::Password { user: "mallory", password: b"battery horse" },
        log: &["event=login-refused user_tag=", "reason=\"unknown user\""],
        moral: "The same answer, in as many bytes, and after the same work.",
        ..wrong
    };
    let unknown = stage.play(&stranger)?;
    check(unknown.sizes() == first.sizes(), "frames have the same sizes whoever asks")?;

    let stored = stretched.newest().to_string();
    let thief = Scene {
        title: "Somebody has stolen the users file, and shows what is in it",
        connector: connector(Server::key(own.public_key().clone())),
        credential: Credential::Password { user: USER, password: stored.as_bytes() },
        log: &["event=login-refused user=\"alice\"", "reason=\"wrong password\""],
        moral: "What is kept is a hash of what has to be shown: it logs nobody in. It can be guessed from, at one Argon2id for each guess.",
        ..stranger
    };
    stage.play(&thief)?;
    stage.finish(vec![server], &[("the user name", USER.as_bytes()), ("the password", PASSWORD.as_bytes())])
}
