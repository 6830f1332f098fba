//! Connecting to a host by whichever of its addresses answers.

use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

/// When it is too late for what may take this long from now on.
pub(crate) fn end(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or(now)
}

/// The addresses of `HOST:PORT`.
pub(crate) async fn look_up(host: &str, end: Instant) -> io::Result<Vec<SocketAddr>> {
    let found = timeout_at(end, lookup_host(host)).await.map_err(|_| late("the name was not found in time"))?;
    found.map(Iterator::collect)
}

/// Connects to the first address that can be connected to; where none can, gives the last one's error.
pub(crate) async fn connect(addresses: &[SocketAddr], end: Instant) -> io::Result<TcpStream> {
    let stream = first(addresses, end, TcpStream::connect).await?;
    prepare(&stream);
    Ok(stream)
}

/// Frames are written whole, so waiting to fill a packet would only add to a login's time. And a peer that is gone without a
/// word is noticed in two minutes.
pub(crate) fn prepare(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    // A socket that takes no options serves as well.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

/// Shares the time among the addresses, so that one from which nothing comes back does not take that of the next.
async fn first<T, F>(addresses: &[SocketAddr], end: Instant, connect: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    let shares = (1..=addresses.len()).rev().map(|left| u32::try_from(left).unwrap_or(u32::MAX));
    for (&address, share) in addresses.iter().zip(shares) {
        let left = end.saturating_duration_since(Instant::now());
        let part = left.checked_div(share).unwrap_or(left);
        last = match timeout(part, connect(address)).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => error,
            Err(_) => late("it did not answer in time"),
        };
    }
    Err(last)
}

fn late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::future::pending;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_is_written_leaves_at_once_and_a_peer_that_is_gone_is_noticed_in_two_minutes() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = connect(&[address], end(Duration::from_secs(60))).await.unwrap();
        assert!(stream.nodelay().unwrap());
        let socket = SockRef::from(&stream);
        let times = (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(times, (Duration::from_secs(60), Duration::from_secs(15)));
    }

    /// What comes of trying ports in this order: at 1 nothing answers, 2 refuses, others are connected to. And what was tried.
    async fn try_ports(ports: &[u16]) -> (io::Result<u16>, Vec<u16>) {
        let addresses: Vec<SocketAddr> = ports.iter().map(|&port| ([192, 0, 2, 1], port).into()).collect();
        let tried = RefCell::new(Vec::new());
        let connect = async |address: SocketAddr| {
            tried.borrow_mut().push(address.port());
            match address.port() {
                1 => pending().await,
                2 => Err(io::ErrorKind::ConnectionRefused.into()),
                port => Ok(port),
            }
        };
        let connected = first(&addresses, end(Duration::from_millis(300)), connect).await;
        (connected, tried.into_inner())
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_leaves_time_for_the_next() {
        for (ports, connected, tried) in
            [(&[1, 7][..], 7, &[1, 7][..]), (&[1, 2, 1, 7], 7, &[1, 2, 1, 7]), (&[2, 7, 1], 7, &[2, 7])]
        {
            let (found, all) = try_ports(ports).await;
            assert_eq!((found.unwrap(), &*all), (connected, tried));
        }
        for (ports, error) in [
            (&[1, 2][..], io::ErrorKind::ConnectionRefused),
            (&[2, 1], io::ErrorKind::TimedOut),
            (&[], io::ErrorKind::AddrNotAvailable),
        ] {
            let (found, all) = try_ports(ports).await;
            assert_eq!((found.unwrap_err().kind(), &*all), (error, ports));
        }
    }
}
