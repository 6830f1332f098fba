//! A relay in the middle: it sees every frame, and may alter one.

use countersign::frame::{FrameReader, FrameType};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Where a frame is going.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Towards {
    Server,
    Client,
}

/// What the relay does with a frame before it passes it on.
pub(crate) type Watch<'a> = dyn Fn(Towards, FrameType, &mut Vec<u8>) + Sync + 'a;

/// Carries one connection from `listener` to `server`, until both ends have left.
pub(crate) fn carry(listener: &TcpListener, server: SocketAddr, watch: &Watch<'_>) -> io::Result<()> {
    let (client, _) = listener.accept()?;
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    thread::scope(|scope| {
        let back = scope.spawn(|| pump(&server, &client, Towards::Client, watch));
        let there = pump(&client, &server, Towards::Server, watch);
        let back = back.join().unwrap_or_else(|_| Err(io::Error::other("the relay failed")));
        there.and(back)
    })
}

/// Carries whole frames in one direction, until its end. Where that fails, neither end is left waiting.
fn pump(from: &TcpStream, to: &TcpStream, towards: Towards, watch: &Watch<'_>) -> io::Result<()> {
    let carried = carry_frames(from, to, towards, watch);
    if carried.is_err() {
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
    carried
}

fn carry_frames(mut from: &TcpStream, mut to: &TcpStream, towards: Towards, watch: &Watch<'_>) -> io::Result<()> {
    let mut reader = FrameReader::new();
    let mut chunk = [0; 4096];
    loop {
        let count = match from.read(&mut chunk) {
            Ok(count) => count,
            // An end that drops the connection with bytes unread resets it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error),
        };
        if count == 0 {
            // The other end may have left already.
            let _ = to.shutdown(Shutdown::Write);
            return Ok(());
        }
        let mut bytes = chunk.get(..count).unwrap_or_default();
        while !bytes.is_empty() {
            let taken = reader.feed(bytes, &FrameType::ALL).map_err(io::Error::other)?;
            bytes = bytes.get(taken..).unwrap_or_default();
            if let Some(mut frame) = reader.take()
                && let Some(kind) = frame.first().and_then(|&byte| FrameType::from_byte(byte))
            {
                watch(towards, kind, &mut frame);
                match to.write_all(&frame) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                    other => other?,
                }
            }
        }
    }
}
