//! Connections from addresses of one's choice, over lines of some length.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::channel;
use tokio::time::{Instant, sleep, sleep_until};

/// A connection, with a relay in it or without.
pub(crate) trait Line: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Line for T {}

/// Connects from an address of this machine.
pub(crate) async fn connect(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects from an address of this machine, with little room for what is not read.
pub(crate) async fn connect_narrowly(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

/// Connects over a line on which a round trip takes so long, that of the connection counted in.
pub(crate) async fn dial(from: Ipv4Addr, to: SocketAddr, round_trip: Duration) -> io::Result<Box<dyn Line>> {
    if round_trip.is_zero() {
        return Ok(Box::new(connect(from, to).await?));
    }
    sleep(round_trip).await;
    let stream = connect(from, to).await?;
    Ok(Box::new(relayed(stream, round_trip / 2)))
}

/// The near end of a relay that delays whatever comes, each way.
fn relayed(stream: TcpStream, delay: Duration) -> DuplexStream {
    let (near, far) = tokio::io::duplex(ROOM);
    let (from_server, to_server) = stream.into_split();
    let (from_client, to_client) = tokio::io::split(far);
    tokio::spawn(carry(from_client, to_server, delay));
    tokio::spawn(carry(from_server, to_client, delay));
    near
}

const ROOM: usize = 64 * 1024;

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: Duration) {
    let (send, mut on_the_way) = channel::<(Instant, Vec<u8>)>(64);
    let reading = async move {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let bytes = buffer.get(..count).unwrap_or_default().to_vec();
            if send.send((Instant::now() + delay, bytes)).await.is_err() {
                return;
            }
        }
        // The end comes as late as a byte would.
        sleep(delay).await;
    };
    let writing = async move {
        while let Some((due, bytes)) = on_the_way.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        drop(to.shutdown().await);
    };
    tokio::join!(reading, writing);
}
