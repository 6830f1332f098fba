//! Four logins and four refusals, with a look at every frame.

use super::print::{item, said, time};
use super::relay::Towards;
use super::stage::{ALICE, FULL, Host, LEFT, PASSWORD, RESUMED, Scene, Seen, Stage, USER, check, connector, loaded};
use crate::failure::Failure;
use crate::term;
use countersign::files::{Missing, edit_accounts};
use countersign::frame::FrameType;
use countersign::limits::{CREDENTIAL_BLOCK, TAG};
use countersign::{Credential, KeyId, MemoryTickets, PublicKey, Server};
use std::path::Path;
use std::time::Instant;

const NEW_PASSWORD: &str = "another horse, another staple";

pub(super) fn play(folder: &Path) -> Result<(), Failure> {
    let mut stage = Stage::set_up(folder, "Four logins and four refusals, over real TCP on this machine.")?;
    let start = Instant::now();
    let own = stage.key("the server's")?;
    item("size", format_args!("RSA, 2048 bits, made in {} (to be quick; keygen makes 3072)", time(start.elapsed())))?;
    let start = Instant::now();
    let users = stage.users(|account| account.set_password(PASSWORD.as_bytes()))?;
    item("account", format_args!("{USER}, password \"{PASSWORD}\", hashed in {}", time(start.elapsed())))?;
    let server = stage.serve("the right one", loaded(&own)?, &users)?;

    let right = logins(&mut stage, &server, own.public_key(), &users)?;
    refusals(&mut stage, &server, own.public_key().id(), &right)?;
    stage.finish(
        vec![server],
        &[
            ("the user name", USER.as_bytes()),
            ("the password", PASSWORD.as_bytes()),
            ("the new password", NEW_PASSWORD.as_bytes()),
        ],
    )
}

/// What came of the first login: what others send is measured against it.
fn logins(stage: &mut Stage<'_>, server: &Host, key: &PublicKey, users: &Path) -> Result<Seen, Failure> {
    let keeps_tickets = connector(Server::pinned(key.id())).with_tickets(MemoryTickets::new());
    let right = Scene {
        title: "The right password",
        host: server,
        connector: keeps_tickets.clone(),
        credential: ALICE,
        alter: None,
        explain: true,
        error: None,
        frames: FULL,
        log: &["event=login-accepted user=\"alice\"", "permissions=\"read,write\""],
        moral: "Two round trips. The client knows that it spoke to the owner of the pinned key, the server knows who the \
                client is, and what follows is sealed.",
    };
    let first = stage.play(&right)?;
    check(!first.is_proved, "a server that is known by a pin does not prove itself first")?;

    let proved = Scene {
        title: "A client that has kept the server's key",
        connector: connector(Server::key(key.clone())),
        moral: "Two round trips and one RSA operation, as before, but the server proves that it holds the private key before the \
                password leaves: nobody who answers in its place and gets that key later can read it.",
        ..right
    };
    let seen = stage.play(&proved)?;
    check(seen.is_proved, "the server proves itself first")?;
    // What is sealed to the key is in another frame.
    check(seen.sizes().get(3..) == first.sizes().get(3..), "the verdict has the same size")?;

    let resumed = Scene {
        title: "The first client again, with the ticket it got",
        connector: keeps_tickets.clone(),
        frames: RESUMED,
        log: &["event=login-resumed user=\"alice\"", "permissions=\"read,write\""],
        moral: "One round trip, no RSA operation and no password hash: the ticket's secret proves each end to the other, \
                and a fresh key share makes fresh keys. The client's Confirm shows the server that it is there, and no recording.",
        ..proved
    };
    stage.play(&resumed)?;

    edit_accounts(users, Missing::Fail, |accounts| -> Result<(), Failure> {
        Ok(accounts.edit(USER, |account| account.set_password(NEW_PASSWORD.as_bytes()))?)
    })?;
    term::line("")?;
    said("then", &format!("the password of {USER} is changed to \"{NEW_PASSWORD}\""))?;
    let changed = Scene {
        title: "Its next ticket, after the password was changed",
        connector: keeps_tickets,
        credential: Credential::Password { user: USER, password: NEW_PASSWORD.as_bytes() },
        explain: false,
        frames: FULL,
        log: &["event=login-accepted user=\"alice\"", "permissions=\"read,write\""],
        moral: "The ticket was made for the account as it was, so it is not taken any more. The server answers with a \
                challenge, and the full login goes on from there.",
        ..resumed
    };
    let (sizes, before) = (stage.play(&changed)?.sizes(), first.sizes());
    check(sizes.first() > before.first(), "the ticket is in the first frame")?;
    check(sizes.get(1..) == before.get(1..), "the other frames have the same sizes")?;
    Ok(first)
}

fn refusals(stage: &mut Stage<'_>, server: &Host, pin: KeyId, right: &Seen) -> Result<(), Failure> {
    let client = || connector(Server::pinned(pin));
    let same = "frames have the same sizes whatever the answer";

    let wrong = Scene {
        title: "A wrong password",
        host: server,
        connector: client(),
        credential: Credential::Password { user: USER, password: b"incorrect horse" },
        alter: None,
        explain: false,
        error: Some("refused"),
        frames: FULL,
        log: &["event=login-refused user=\"alice\"", "reason=\"wrong password\""],
        moral: "The reason stays in the server's log. The refusal has the size of the grant above.",
    };
    check(stage.play(&wrong)?.sizes() == right.sizes(), same)?;

    let unknown = Scene {
        title: "A user that does not exist",
        connector: client(),
        credential: Credential::Password { user: "mallory", password: PASSWORD.as_bytes() },
        log: &["event=login-refused user_tag=", "reason=\"unknown user\""],
        moral: "The same answer, of the same size, after the same time: nobody finds out who has an account.",
        ..wrong
    };
    check(stage.play(&unknown)?.sizes() == right.sizes(), same)?;

    let untrusted = Scene {
        title: "A server with another key than the one pinned",
        connector: connector(Server::pinned(KeyId::from_bytes([7; 32]))),
        credential: ALICE,
        error: Some("untrusted-key"),
        frames: LEFT,
        log: &["event=handshake-failed", "before its ClientLogin"],
        moral: "The client left before its ClientLogin: a key that is not trusted gets no password, not even sealed.",
        ..unknown
    };
    check(right.sizes().starts_with(&stage.play(&untrusted)?.sizes()), same)?;

    let flip_one = |_: Towards, kind: FrameType, frame: &mut Vec<u8>| {
        if kind == FrameType::ClientLogin {
            flip(frame);
        }
    };
    let flipped = Scene {
        title: "The right password, and one bit flipped on the way",
        connector: client(),
        credential: Credential::Password { user: USER, password: NEW_PASSWORD.as_bytes() },
        alter: Some(&flip_one),
        error: Some("verdict-not-authentic"),
        frames: FULL,
        log: &["event=login-refused", "does not open"],
        moral: "The server goes on with a made-up secret, so that its refusal tells nothing about the RSA decryption. The \
                client sees that the verdict belongs to no handshake of its own.",
        ..untrusted
    };
    check(stage.play(&flipped)?.sizes() == right.sizes(), same)
}

/// Flips the lowest bit of the RSA ciphertext: the sealed credential follows it, and its own length of two bytes.
fn flip(frame: &mut [u8]) {
    let after = CREDENTIAL_BLOCK.saturating_add(TAG).saturating_add(3);
    if let Some(byte) = frame.len().checked_sub(after).and_then(|at| frame.get_mut(at)) {
        *byte ^= 1;
    }
}
