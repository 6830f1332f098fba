//! Somebody who has an account.

use super::{of_fifty, of_many};
use crate::suite::Failure;
use crate::suite::attacker::{Attacker, Peer};
use crate::suite::crowd::PASSWORD;
use crate::suite::net::{connect, connect_narrowly};
use crate::suite::stage::{MALLORY, Stage};
use countersign::frame::FrameType;
use countersign::{Credential, MemoryTickets};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) async fn dripping(stage: &Stage) -> Result<(), Failure> {
    let one = |attacker: Attacker, number| async move {
        let stream = connect(of_fifty(number), attacker.server).await.ok()?.into_std().ok()?;
        let behind = stream.try_clone().ok()?;
        let stream = TcpStream::from_std(stream).ok()?;
        let session = attacker.connector().connect(stream, Credential::Token(attacker.token.as_bytes())).await.ok()?;
        let peer = Peer(Box::new(TcpStream::from_std(behind).ok()?));
        peer.drip_frame(FrameType::Data, &attacker).await?;
        drop(session);
        Some(())
    };
    stage.attacker.again(50.0, one).await
}

pub(super) async fn one_account(stage: &Stage) -> Result<(), Failure> {
    stage.attacker.has_kinds(3);
    // A bundle of chains of tickets: each that comes takes the newest, and leaves its own.
    let resuming = stage.attacker.connector().with_tickets(MemoryTickets::new());
    let one = move |attacker: Attacker, number| {
        let resuming = resuming.clone();
        async move {
            let peer = attacker.dial(of_fifty(number % 4)).await?;
            let session = if number % 2 == 0 {
                attacker.connector().connect(peer.0, Credential::Token(attacker.token.as_bytes())).await
            } else {
                resuming.connect(peer.0, Credential::Password { user: MALLORY, password: PASSWORD }).await
            };
            let mut session = session.ok()?;
            // By token, by password, by ticket.
            attacker.note(if number % 2 == 0 { 0 } else { 1 + usize::from(session.info().is_resumed()) });
            while session.read(&mut [0; 64]).await.ok()? > 0 {}
            Some(())
        }
    };
    stage.attacker.again(120.0, one).await
}

pub(super) async fn never_reading(stage: &Stage) -> Result<(), Failure> {
    stage.attacker.has_kinds(2);
    let one = |attacker: Attacker, number| async move {
        let stream = connect_narrowly(of_fifty(number), attacker.server).await.ok()?;
        if number % 2 == 0 {
            let token = Credential::Token(attacker.token.as_bytes());
            let mut session = attacker.connector().connect(stream, token).await.ok()?;
            // More than the system keeps for somebody who does not read.
            for piece in 0..64 {
                session.write_all(&[0; 16 * 1024]).await.ok()?;
                if piece == 0 {
                    attacker.note(0);
                }
            }
            return std::future::pending().await;
        }
        let mut peer = Peer(Box::new(stream));
        // It does not open, and its refusal is read by nobody.
        attacker.send_junk_login(&mut peer).await?;
        attacker.note(1);
        std::future::pending().await
    };
    stage.attacker.again(60.0, one).await
}

pub(super) async fn churn(stage: &Stage) -> Result<(), Failure> {
    stage.attacker.has_kinds(2);
    let one = |attacker: Attacker, number| async move {
        let peer = attacker.dial(of_many(number, 200)).await?;
        if number % 4 > 0 {
            attacker.note(0);
            return Some(());
        }
        let session = attacker.connector().connect(peer.0, Credential::Token(attacker.token.as_bytes())).await.ok()?;
        session.finish(std::time::Duration::from_secs(1)).await.ok()?;
        attacker.note(1);
        Some(())
    };
    stage.attacker.again(200.0, one).await
}
