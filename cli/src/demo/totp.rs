//! A second factor: one-time codes, each of them once.

use super::print::item;
use super::stage::{ALICE, FULL, PASSWORD, Scene, Stage, TWO_FACTORS, USER, check, connector, loaded, now};
use crate::failure::Failure;
use countersign::accounts::TotpSecret;
use countersign::{Connector, Server, UnixTime};
use std::path::Path;

/// How long a code is shown, in seconds.
const STEP: u64 = 30;

pub(super) fn play(folder: &Path) -> Result<(), Failure> {
    let mut stage = Stage::set_up(folder, "A second factor: a password, and a one-time code (TOTP).")?;
    let own = stage.key("the server's")?;
    let secret = TotpSecret::generate()?;
    let users = stage.users(|account| {
        account.set_password(PASSWORD.as_bytes())?;
        account.set_totp(&secret);
        Ok(())
    })?;
    item("account", "alice, a password, and an authenticator (countersign user totp alice)")?;
    let server = stage.serve("the right one", loaded(&own)?, &users)?;
    // A server that has just started takes no code that was shown before: somebody may have used it.
    let code = secret.code(UnixTime::from_secs(now().as_secs().saturating_add(STEP))).to_string();
    item("code", format_args!("{code}, which an authenticator that is half a minute ahead shows now"))?;
    let without = || connector(Server::key(own.public_key().clone()));
    let with = |code: &str| -> Connector {
        let code = code.to_owned();
        without().with_factors(move |_| Some(code.clone().into_bytes()))
    };

    let right = Scene {
        title: "The password, and the code",
        host: &server,
        connector: with(&code),
        credential: ALICE,
        alter: None,
        explain: true,
        error: None,
        frames: TWO_FACTORS,
        log: &["event=login-accepted user=\"alice\""],
        moral: "The server takes the password, and asks for the code in the same sealed handshake. The name and the permissions come with \
                the last verdict, and not before.",
    };
    let first = stage.play(&right)?;

    let again = Scene {
        title: "The same code, within its half minute",
        connector: with(&code),
        explain: false,
        error: Some("refused"),
        log: &["event=login-refused user=\"alice\"", "was used before"],
        moral: "Whoever looked over alice's shoulder has her password and her code, and is too late. The answer has the size of the grant \
                above, and the reason stays in the server's log.",
        ..right
    };
    let refused = stage.play(&again)?;
    check(refused.sizes() == first.sizes(), "frames have the same sizes whatever the answer")?;

    let wrong = Scene {
        title: "The password, and a wrong code",
        connector: with(if code == "123456" { "654321" } else { "123456" }),
        log: &["event=login-refused user=\"alice\"", "reason=\"wrong answer for the further factor\""],
        moral: "One try for each login, and each costs a password hash. After five in a row no code is looked at for a while, also no right \
                one.",
        ..again
    };
    stage.play(&wrong)?;

    let none = Scene {
        title: "The password alone, by a client that can't be asked",
        connector: without(),
        frames: FULL,
        log: &["event=login-refused user=\"alice\"", "a further factor is needed"],
        moral: "Refused as a wrong password is: it does not even learn that the password was right.",
        ..wrong
    };
    stage.play(&none)?;
    stage.finish(
        vec![server],
        &[("the user name", USER.as_bytes()), ("the password", PASSWORD.as_bytes()), ("the code", code.as_bytes())],
    )
}
