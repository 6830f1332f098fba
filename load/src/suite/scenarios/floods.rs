//! Peers that have not logged in.

use super::{ONE, of_fifty, of_many};
use crate::suite::Failure;
use crate::suite::attacker::{Attacker, Peer};
use crate::suite::crowd::PASSWORD;
use crate::suite::stage::{MALLORY, Stage};
use countersign::client::Answer;
use countersign::frame::FrameType;
use countersign::{Credential, Moment, Ticket};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

pub(super) async fn silent_from_one(stage: &Stage) -> Result<(), Failure> {
    stage.attacker.again(500.0, |attacker, _| async move { attacker.dial(ONE).await?.hold().await }).await
}

pub(super) async fn silent_from_fifty(stage: &Stage) -> Result<(), Failure> {
    let one =
        |attacker: Attacker, number| async move { attacker.dial_slowly(of_fifty(number), number).await?.hold().await };
    stage.attacker.again(500.0, one).await
}

pub(super) async fn greeting(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move {
        let mut peer = attacker.dial_slowly(of_fifty(number), number).await?;
        peer.send(&attacker.hello()?.0).await?;
        peer.hold().await
    };
    stage.attacker.again(200.0, one).await
}

pub(super) async fn dripping_hellos(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move {
        attacker.dial(of_fifty(number)).await?.drip_frame(FrameType::ClientHello).await
    };
    stage.attacker.again(150.0, one).await
}

pub(super) async fn dripping_logins(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move {
        let mut peer = attacker.dial(of_fifty(number)).await?;
        peer.send(&attacker.hello()?.0).await?;
        peer.receive(&[FrameType::ServerHello]).await?;
        peer.drip_frame(FrameType::ClientLogin).await
    };
    stage.attacker.again(100.0, one).await
}

pub(super) async fn dripping_confirms(stage: &Stage) -> Result<(), Failure> {
    // Each ticket that is taken brings the next, whether it is confirmed or not.
    let chain = Arc::new(Mutex::new(None));
    let one = move |attacker: Attacker, number| {
        let chain = Arc::clone(&chain);
        async move { drip_confirm(&attacker, of_fifty(number), &chain).await }
    };
    stage.attacker.again(50.0, one).await
}

async fn drip_confirm(attacker: &Attacker, from: Ipv4Addr, chain: &Mutex<Option<Ticket>>) -> Option<()> {
    let last = chain.lock().unwrap_or_else(PoisonError::into_inner).take();
    let keep = |ticket: Option<&Ticket>| *chain.lock().unwrap_or_else(PoisonError::into_inner) = ticket.cloned();
    let mut peer = attacker.dial(from).await?;
    let Some(ticket) = last else {
        let good = Credential::Password { user: MALLORY, password: PASSWORD };
        let session = attacker.connector().connect(peer.0, good).await.ok()?;
        keep(session.info().ticket());
        return Some(());
    };
    let (hello, state) = attacker.show(ticket)?;
    peer.send(&hello).await?;
    let answer = peer.receive(&[FrameType::ServerResumption, FrameType::ServerHello]).await?;
    let Ok(Answer::Resumed(resumed)) = state.read(&answer, Moment::ORIGIN, crate::suite::attacker::today()) else {
        return None;
    };
    keep(resumed.session.info.ticket());
    let (_, but_the_last) = resumed.frame.split_last()?;
    peer.drip(but_the_last).await
}

pub(super) async fn dripping_solutions(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move {
        let mut peer = attacker.dial(of_fifty(number)).await?;
        peer.send(attacker.recorded()).await?;
        peer.receive(&[FrameType::Busy]).await?;
        peer.drip_frame(FrameType::Solution).await
    };
    stage.attacker.again(150.0, one).await
}

pub(super) async fn junk_from_one(stage: &Stage) -> Result<(), Failure> {
    stage.attacker.again(300.0, |attacker, number| async move { junk(&attacker, ONE, number).await }).await
}

pub(super) async fn junk_from_fifty(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move { junk(&attacker, of_fifty(number / 4), number).await };
    stage.attacker.again(300.0, one).await
}

async fn junk(attacker: &Attacker, from: Ipv4Addr, number: u32) -> Option<()> {
    let mut peer = attacker.dial(from).await?;
    match number % 4 {
        0 => peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await?,
        1 => {
            let bytes = [&[FrameType::ClientHello.byte(), 1, 44][..], &[0x5a; 300]].concat();
            peer.send(&bytes).await?;
        }
        2 => peer.send(attacker.recorded()).await?,
        _ => return junk_login(attacker, peer).await,
    }
    peer.hold().await
}

/// A login that does not open, and waits for its refusal.
pub(super) async fn junk_login(attacker: &Attacker, mut peer: Peer) -> Option<()> {
    attacker.send_junk_login(&mut peer).await?;
    peer.hold().await
}

pub(super) async fn junk_logins_from_thousands(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move {
        junk_login(&attacker, attacker.dial(of_many(number, 30_000)).await?).await
    };
    stage.attacker.again(200.0, one).await
}

pub(super) async fn junk_from_thousands(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move {
        let mut peer = attacker.dial(of_many(number, 30_000)).await?;
        peer.send(attacker.recorded()).await?;
        peer.receive(&[FrameType::ServerHello, FrameType::Busy]).await.map(drop)
    };
    stage.attacker.again(2000.0, one).await
}

pub(super) async fn departed(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move {
        let mut peer = attacker.dial(of_fifty(number)).await?;
        let (hello, state) = attacker.hello()?;
        match number % 3 {
            0 => peer.send(attacker.recorded()).await,
            1 => {
                peer.send(&hello).await?;
                peer.receive(&[FrameType::ServerHello]).await.map(drop)
            }
            _ => {
                peer.send(&hello).await?;
                let challenge = peer.receive(&[FrameType::ServerHello]).await?;
                peer.send(&attacker.login(state, &challenge)?).await
            }
        }
    };
    stage.attacker.again(150.0, one).await
}
