//! Peers that try passwords.

use super::{ONE, of_fifty, of_many};
use crate::suite::Failure;
use crate::suite::attacker::Attacker;
use crate::suite::stage::Stage;
use countersign::{Credential, Error, LoginError};
use std::net::Ipv4Addr;

pub(super) async fn from_one(stage: &Stage) -> Result<(), Failure> {
    stage
        .attacker
        .again(stage.pace.guesses(), |attacker, number| async move { guess(&attacker, ONE, number).await })
        .await
}

pub(super) async fn from_fifty(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move { guess(&attacker, of_fifty(number), number).await };
    stage.attacker.again(stage.pace.guesses(), one).await
}

pub(super) async fn at_one(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move { guess(&attacker, of_many(number, 1000), 0).await };
    stage.attacker.again(stage.pace.guesses(), one).await
}

pub(super) async fn at_everything(stage: &Stage) -> Result<(), Failure> {
    let one =
        |attacker: Attacker, number| async move { guess(&attacker, of_many(number, 1000), number * 7 % 1000).await };
    stage.attacker.again(stage.pace.guesses(), one).await
}

/// The first of the names are those of the good clients.
async fn guess(attacker: &Attacker, from: Ipv4Addr, name: u32) -> Option<()> {
    let peer = attacker.dial(from).await?;
    let user = crate::suite::crowd::user(name);
    let guess = Credential::Password { user: &user, password: b"a guess" };
    let said = attacker.connector().connect(peer.0, guess).await.err()?;
    // It was looked at. Most are not, by then.
    matches!(said, LoginError::Protocol(Error::Refused)).then(|| attacker.note(0))
}
