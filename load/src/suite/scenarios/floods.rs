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
    let one = |attacker: Attacker, _| async move { keep_silent(&attacker, attacker.dial(ONE).await?).await };
    stage.attacker.again(500.0, one).await
}

pub(super) async fn silent_from_fifty(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move {
        keep_silent(&attacker, attacker.dial_slowly(of_fifty(number), number).await?).await
    };
    stage.attacker.again(500.0, one).await
}

async fn keep_silent(attacker: &Attacker, peer: Peer) -> Option<()> {
    attacker.note(0);
    peer.hold().await
}

/// What a hello is answered with, whether there is room or not.
const ANSWERS: [FrameType; 2] = [FrameType::ServerHello, FrameType::Busy];

pub(super) async fn greeting(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move {
        greet(&attacker, attacker.dial_slowly(of_fifty(number), number).await?).await
    };
    stage.attacker.again(200.0, one).await
}

pub(super) async fn greeting_from_thousands(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move {
        greet(&attacker, attacker.dial(of_many(number, 30_000)).await?).await
    };
    stage.attacker.again(220.0, one).await
}

async fn greet(attacker: &Attacker, mut peer: Peer) -> Option<()> {
    peer.send(&attacker.hello()?.0).await?;
    peer.receive(&ANSWERS).await?;
    attacker.note(0);
    peer.hold().await
}

pub(super) async fn dripping_hellos(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move {
        attacker.dial(of_fifty(number)).await?.drip_frame(FrameType::ClientHello, &attacker).await
    };
    stage.attacker.again(150.0, one).await
}

pub(super) async fn dripping_logins(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move {
        let mut peer = attacker.dial(of_fifty(number)).await?;
        peer.send(&attacker.hello()?.0).await?;
        peer.receive(&[FrameType::ServerHello]).await?;
        peer.drip_frame(FrameType::ClientLogin, &attacker).await
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
    peer.drip(but_the_last, attacker).await
}

pub(super) async fn dripping_solutions(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move {
        let mut peer = attacker.dial(of_fifty(number)).await?;
        peer.send(attacker.recorded()).await?;
        peer.receive(&[FrameType::Busy]).await?;
        peer.drip_frame(FrameType::Solution, &attacker).await
    };
    stage.attacker.again(150.0, one).await
}

pub(super) async fn dripping_factors(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move {
        let mut peer = attacker.dial(of_fifty(number)).await?;
        attacker.be_asked_for_a_code(&mut peer).await?;
        peer.drip_frame(FrameType::ClientFactor, &attacker).await
    };
    stage.attacker.again(100.0, one).await
}

pub(super) async fn junk_from_one(stage: &Stage) -> Result<(), Failure> {
    stage.attacker.has_kinds(JUNK as usize);
    stage.attacker.again(300.0, |attacker, number| async move { junk(&attacker, ONE, number).await }).await
}

pub(super) async fn junk_from_fifty(stage: &Stage) -> Result<(), Failure> {
    stage.attacker.has_kinds(JUNK as usize);
    let one = |attacker: Attacker, number| async move { junk(&attacker, of_fifty(number / JUNK), number).await };
    stage.attacker.again(300.0, one).await
}

/// How many kinds of it there are.
const JUNK: u32 = 4;

async fn junk(attacker: &Attacker, from: Ipv4Addr, number: u32) -> Option<()> {
    let (mut peer, kind) = (attacker.dial(from).await?, number % JUNK);
    match kind {
        0 => peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await?,
        1 => {
            let bytes = [&[FrameType::ClientHello.byte(), 1, 44][..], &[0x5a; 300]].concat();
            peer.send(&bytes).await?;
        }
        2 => {
            peer.send(attacker.recorded()).await?;
            peer.receive(&ANSWERS).await?;
        }
        // It does not open, and waits for its refusal.
        _ => attacker.send_junk_login(&mut peer).await?,
    }
    attacker.note(kind as usize);
    peer.hold().await
}

pub(super) async fn junk_logins_from_thousands(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move {
        let mut peer = attacker.dial(of_many(number, 30_000)).await?;
        attacker.send_junk_login(&mut peer).await?;
        attacker.note(0);
        peer.hold().await
    };
    stage.attacker.again(200.0, one).await
}

pub(super) async fn junk_from_thousands(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move {
        let mut peer = attacker.dial(of_many(number, 30_000)).await?;
        peer.send(attacker.recorded()).await?;
        peer.receive(&ANSWERS).await?;
        attacker.note(0);
        Some(())
    };
    stage.attacker.again(2000.0, one).await
}

pub(super) async fn departed(stage: &Stage) -> Result<(), Failure> {
    stage.attacker.has_kinds(3);
    let one = |attacker: Attacker, number| async move {
        let mut peer = attacker.dial(of_fifty(number)).await?;
        let (hello, state) = attacker.hello()?;
        let kind = number % 3;
        match kind {
            0 => peer.send(attacker.recorded()).await?,
            1 => {
                peer.send(&hello).await?;
                peer.receive(&[FrameType::ServerHello]).await?;
            }
            _ => {
                peer.send(&hello).await?;
                let challenge = peer.receive(&[FrameType::ServerHello]).await?;
                peer.send(&attacker.login(state, &challenge)?).await?;
            }
        }
        attacker.note(kind as usize);
        Some(())
    };
    stage.attacker.again(150.0, one).await
}
