//! The PROXY protocol: where a connection comes from, told to us by a balancer, and by us to a service.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use super::visit::{Ends, Visit};
use crate::fuzzed::Proxied;
use countersign::Source;
use proxy_header::{ParseConfig, ProxiedAddress, ProxyHeader, Tlv};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::str::FromStr;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A block of addresses.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    network: IpAddr,
    prefix: u8,
}

impl Block {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.source().contains(&Source::block(address, 32, 128))
    }

    pub(crate) fn source(&self) -> Source {
        Source::block(self.network, self.prefix, self.prefix)
    }
}

/// An address, or `ADDRESS/PREFIX`.
impl FromStr for Block {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no block of addresses, such as 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let network: IpAddr = address.parse().map_err(|_| bad())?;
        let network = network.to_canonical();
        let whole = if network.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(whole), str::parse).map_err(|_| bad())?;
        if prefix > whole {
            return Err(bad());
        }
        match network {
            // Under the well-known prefix of NAT64 it is a block of IPv4, as its addresses are.
            IpAddr::V6(nat64) if nat64.segments().starts_with(&[0x64, 0xff9b, 0, 0, 0, 0]) => {
                let [.., a, b, c, d] = nat64.octets();
                let prefix: u8 = prefix;
                Ok(Self { network: IpAddr::from([a, b, c, d]), prefix: prefix.checked_sub(96).ok_or_else(bad)? })
            }
            network => Ok(Self { network, prefix }),
        }
    }
}

/// Why a header was not taken.
#[derive(Debug)]
pub(crate) enum HeaderError {
    Io(io::Error),
    /// The connection ended before there was a whole one.
    Ended,
    Garbled,
    TooLong(usize),
    /// It was not there in time.
    Late,
    /// As many connections as may wait for theirs, and this one.
    BusyReason,
}

impl HeaderError {
    /// A name that stays the same, for logs: none of the library's, which are about the login.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "proxy-io",
            Self::Ended => "proxy-disconnected",
            Self::Garbled | Self::TooLong(_) => "proxy-header",
            Self::Late => "proxy-deadline-passed",
            Self::BusyReason => "proxy-no-room",
        }
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Ended => f.write_str("the balancer closed the connection before its PROXY header"),
            Self::Garbled => f.write_str("no PROXY header came first, although the address is one of --proxy-protocol"),
            Self::TooLong(len) => write!(f, "a PROXY header of {len} bytes; it may have {MAX_HEADER}"),
            Self::Late => f.write_str("no PROXY header came in time"),
            Self::BusyReason => f.write_str("too many connections wait for a PROXY header"),
        }
    }
}

/// More than any balancer sends: addresses, and extensions of a few hundred bytes.
const MAX_HEADER: usize = 4096;

/// What the two versions begin with.
const VERSION_1: &[u8] = b"PROXY ";
const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header of version 1, and what version 2 has in front of its length's worth of bytes.
const MAX_VERSION_1: usize = 107;
const FRONT_VERSION_2: usize = 16;

/// Reads a header, and not a byte past it, from a balancer on the connection with these ends.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin), direct: Ends) -> Result<Ends, HeaderError> {
    let mut header = Vec::with_capacity(MAX_VERSION_1);
    loop {
        let wanted = missing(&header)?;
        if wanted == 0 {
            break;
        }
        let mut room = [0; 256];
        let room = room.get_mut(..wanted.min(256)).unwrap_or_default();
        let count = stream.read(room).await.map_err(HeaderError::Io)?;
        if count == 0 {
            return Err(HeaderError::Ended);
        }
        header.extend_from_slice(room.get(..count).unwrap_or_default());
    }
    let (parsed, _) = ProxyHeader::parse(&header, ParseConfig::default()).map_err(|_| HeaderError::Garbled)?;
    let via = Some(direct.peer);
    Ok(match parsed.proxied_address() {
        Some(ends) => Ends { via, ..Ends::of(ends.source, ends.destination) },
        // The balancer itself, or a client that it can't name.
        None => Ends { is_check: true, ..direct },
    })
}

/// What a header says that is all there; what follows it is left.
pub(crate) fn proxied(bytes: &[u8], peer: SocketAddr, local: SocketAddr) -> Result<Proxied, String> {
    let mut rest = bytes;
    // Bytes that are there are not waited for.
    let read = pin!(read(&mut rest, Ends::of(peer, local))).poll(&mut Context::from_waker(Waker::noop()));
    let ends = match read {
        Poll::Ready(read) => read.map_err(|error| error.to_string())?,
        Poll::Pending => return Err("it waits".to_owned()),
    };
    Ok(Proxied { peer: ends.peer, local: ends.local, is_check: ends.is_check, rest: rest.len() })
}

/// How many bytes the rest of a header has at least; 0 for a whole one.
fn missing(header: &[u8]) -> Result<usize, HeaderError> {
    let begins = |version: &[u8]| header.iter().zip(version).all(|(one, other)| one == other);
    if begins(VERSION_1) {
        return match header.strip_suffix(b"\r\n") {
            Some(_) => Ok(0),
            None if header.len() >= MAX_VERSION_1 => Err(HeaderError::Garbled),
            // Byte for byte past the shortest one: what follows is the client's.
            None => Ok(b"PROXY UNKNOWN\r\n".len().saturating_sub(header.len()).max(1)),
        };
    }
    if !begins(VERSION_2) {
        return Err(HeaderError::Garbled);
    }
    let Some([high, low]) = header.get(14..FRONT_VERSION_2) else {
        return Ok(FRONT_VERSION_2.saturating_sub(header.len()));
    };
    let whole = FRONT_VERSION_2.saturating_add(usize::from(u16::from_be_bytes([*high, *low])));
    if whole > MAX_HEADER { Err(HeaderError::TooLong(whole)) } else { Ok(whole.saturating_sub(header.len())) }
}

/// Types of extensions that are left to applications.
const PRINCIPAL: u8 = 0xe0;
const PERMISSIONS: u8 = 0xe1;

/// The header of version 2 for the service behind a login: the client's address, and who it is.
pub(crate) fn header(visit: &Visit) -> io::Result<Vec<u8>> {
    let Ends { peer, local, .. } = visit.ends;
    let session = visit.session.to_string();
    let who = [
        Tlv::UniqueId(session.as_bytes().into()),
        Tlv::Custom(PRINCIPAL, visit.user.as_bytes().into()),
        Tlv::Custom(PERMISSIONS, visit.permissions.as_bytes().into()),
    ];
    let mut bytes = Vec::new();
    let header = ProxyHeader::with_tlvs(Some(ProxiedAddress::stream(peer, same_family(local, peer))), who);
    header.encode_v2(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// A balancer may have been reached over the other family.
fn same_family(local: SocketAddr, peer: SocketAddr) -> SocketAddr {
    if local.is_ipv4() == peer.is_ipv4() {
        return local;
    }
    let unspecified: IpAddr = if peer.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    SocketAddr::new(unspecified, local.port())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn direct() -> Ends {
        Ends::of("192.0.2.1:1000".parse().unwrap(), "192.0.2.2:4500".parse().unwrap())
    }

    #[test]
    fn blocks_hold_the_addresses_of_their_family_alone() {
        for (block, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "::ffff:203.0.113.9", "::1"),
            ("::/0", "::1", "127.0.0.1"),
            ("2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"),
            ("::1", "::1", "::2"),
            ("64:ff9b::/96", "203.0.113.9", "::1"),
            ("64:ff9b::c000:200/120", "64:ff9b::192.0.2.9", "192.0.3.1"),
            ("192.0.2.0/24", "64:ff9b::192.0.2.9", "64:ff9b::192.0.3.1"),
        ] {
            let block: Block = block.parse().unwrap();
            assert!(block.contains(inside.parse().unwrap()), "{block:?} {inside}");
            assert!(!block.contains(outside.parse().unwrap()), "{block:?} {outside}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8", "::/129", "64:ff9b::/95", "host/8", "10.0.0.0/"] {
            assert!(text.parse::<Block>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_header_has_two_addresses_of_the_client_s_family() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (local, peer, said) in [
            ("192.0.2.2:4500", "203.0.113.9:1", "192.0.2.2:4500"),
            ("[2001:db8::2]:4500", "[2001:db8::9]:1", "[2001:db8::2]:4500"),
            ("[2001:db8::2]:4500", "203.0.113.9:1", "0.0.0.0:4500"),
            ("192.0.2.2:4500", "[2001:db8::9]:1", "[::]:4500"),
        ] {
            assert_eq!(same_family(address(local), address(peer)), address(said), "{local} {peer}");
        }
    }

    #[tokio::test]
    async fn both_versions_are_read_to_their_last_byte() {
        let v2 = |command: u8, family: u8, body: &[u8]| {
            let len = u16::try_from(body.len()).unwrap().to_be_bytes();
            [VERSION_2, &[command, family], &len, body].concat()
        };
        let v4 = [&[203, 0, 113, 9, 192, 0, 2, 2][..], &[0x30, 0x39, 0x11, 0x94]].concat();
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[9], &[0; 15], &[1], &[0x30, 0x39, 0x11, 0x94]].concat();
        for (header, peer) in [
            (b"PROXY TCP4 203.0.113.9 192.0.2.2 12345 4500\r\n".to_vec(), "203.0.113.9:12345"),
            (b"PROXY TCP6 2001:db8::9 ::1 12345 4500\r\n".to_vec(), "[2001:db8::9]:12345"),
            (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 12345 4500\r\n".to_vec(), "203.0.113.9:12345"),
            (b"PROXY UNKNOWN\r\n".to_vec(), "192.0.2.1:1000"),
            (v2(0x21, 0x11, &v4), "203.0.113.9:12345"),
            (v2(0x21, 0x21, &v6), "[2001:db8::9]:12345"),
            (v2(0x21, 0x11, &[&v4[..], &[4, 0, 200], &[0; 200]].concat()), "203.0.113.9:12345"),
            (v2(0x20, 0, b""), "192.0.2.1:1000"),
            (v2(0x20, 0x11, &v4), "192.0.2.1:1000"),
        ] {
            let sent = [&header[..], b"\x01rest"].concat();
            let mut rest = &sent[..];
            let ends = read(&mut rest, direct()).await.unwrap();
            assert_eq!((ends.peer.to_string().as_str(), rest), (peer, &b"\x01rest"[..]), "{header:?}");
            // A front of it is no header, and ends without a panic.
            for len in 0..header.len() {
                assert!(read(&mut header.get(..len).unwrap(), direct()).await.is_err());
            }
        }
        for garbage in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\x01\0\x4f",
            b"PROXY TCP4 203.0.113.9\r\n",
            b"PROXY TCP5 1 2 3 4\r\n",
            &[b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(),
            &v2(0x22, 0x11, &v4),
            &v2(0x21, 0x11, b"short"),
            &v2(0x21, 0x41, &v4),
        ] {
            assert!(matches!(read(&mut &garbage[..], direct()).await, Err(HeaderError::Garbled)), "{garbage:?}");
        }
        let long = v2(0x21, 0x11, &[0; MAX_HEADER]);
        assert!(matches!(read(&mut &long[..], direct()).await, Err(HeaderError::TooLong(_))));
    }
}
