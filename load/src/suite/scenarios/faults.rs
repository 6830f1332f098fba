//! What goes wrong at the server itself, and around it.

use super::of_fifty;
use crate::suite::Failure;
use crate::suite::attacker::Attacker;
use crate::suite::server::Server;
use crate::suite::stage::Stage;
use countersign::Credential;
use rustix::process::Signal;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::AsyncReadExt;
use tokio::time::sleep;

/// How long logins that are due after an outage may still be lost to it: what had begun in it has to end.
const GRACE: Duration = Duration::from_millis(500);

pub(super) async fn descriptors(stage: &Stage) -> Result<(), Failure> {
    stage.attacker.has_kinds(2);
    let one = |attacker: Attacker, number| async move {
        let peer = attacker.dial(of_fifty(number)).await?;
        if number % 4 > 0 {
            attacker.note(0);
            return peer.hold().await;
        }
        let token = Credential::Token(attacker.token.as_bytes());
        let mut session = attacker.connector().connect(peer.0, token).await.ok()?;
        attacker.note(1);
        while session.read(&mut [0; 64]).await.ok()? > 0 {}
        Some(())
    };
    stage.attacker.again(200.0, one).await
}

pub(super) async fn full_disk(stage: &Stage) -> Result<(), Failure> {
    while !stage.attacker.is_over() {
        sleep(Duration::from_millis(100)).await;
    }
    // With a disk that had room each would have been renewed at its first login.
    if stage.has_weak_hashes().await? { stage.tell("disk well").await } else { Err("the disk was not full".into()) }
}

pub(super) async fn clock_jumps(stage: &Stage) -> Result<(), Failure> {
    // Relative to the right time, as libfaketime reads it.
    for offset in ["+2h", "-1d", "+0", "+400d", "-3650d", "+30s", "-1h"].into_iter().cycle() {
        if stage.attacker.is_over() {
            break;
        }
        let before = off(stage).await?;
        std::fs::write(&stage.recipe.clock, offset)?;
        sleep(Duration::from_millis(1500)).await;
        if (off(stage).await? - before).abs() > 20 {
            stage.attacker.note(0);
        }
    }
    Ok(())
}

/// By how many seconds the server's clock is off.
async fn off(stage: &Stage) -> Result<i64, Failure> {
    let there: i64 = stage.server.lock().await.tell("clock").await?.parse()?;
    Ok(there - i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?)
}

pub(super) async fn stopped(stage: &Stage) -> Result<(), Failure> {
    while !stage.attacker.is_over() {
        let since = Instant::now();
        stage.server.lock().await.signal(Signal::STOP)?;
        stage.attacker.note(0);
        sleep(Duration::from_millis(1500)).await;
        stage.server.lock().await.signal(Signal::CONT)?;
        stage.note_outage(since, GRACE);
        sleep(Duration::from_millis(2500)).await;
    }
    Ok(())
}

pub(super) async fn killed(stage: &Stage) -> Result<(), Failure> {
    while !stage.attacker.is_over() {
        sleep(Duration::from_millis(500)).await;
        let since = Instant::now();
        {
            let mut server = stage.server.lock().await;
            server.kill().await?;
            stage.attacker.note(0);
            *server = Server::start(&stage.recipe, Some(stage.attacker.server)).await?;
        }
        stage.note_outage(since, Duration::ZERO);
        sleep(Duration::from_millis(2500)).await;
    }
    Ok(())
}

pub(super) async fn store_away(stage: &Stage) -> Result<(), Failure> {
    outage(stage, "accounts away", Duration::from_millis(1500), GRACE).await
}

pub(super) async fn store_silent(stage: &Stage) -> Result<(), Failure> {
    // What was asked in it is given up up to three seconds later. By then others have to be served.
    outage(stage, "accounts silent", Duration::from_secs(1), GRACE).await
}

async fn outage(stage: &Stage, begins: &str, time: Duration, grace: Duration) -> Result<(), Failure> {
    while !stage.attacker.is_over() {
        let since = Instant::now();
        stage.tell(begins).await?;
        sleep(time).await;
        stage.tell("accounts well").await?;
        stage.note_outage(since, grace);
        sleep(Duration::from_millis(2500)).await;
    }
    Ok(())
}

pub(super) async fn shared_away(stage: &Stage) -> Result<(), Failure> {
    while !stage.attacker.is_over() {
        stage.tell("shared away").await?;
        sleep(Duration::from_millis(1000)).await;
        stage.tell("shared well").await?;
        sleep(Duration::from_millis(1000)).await;
    }
    Ok(())
}
