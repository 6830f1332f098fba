//! What a server knows of a connection before anybody has logged in over it.

use super::binding::ChannelBinding;
use core::any::Any;
use core::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where a connection is counted by: a stranger is bounded by source before anybody is by the total.
///
/// ```
/// use countersign::Source;
/// use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
///
/// // One IPv4 address is a source; whoever has IPv6 has 64 bits of addresses, and all of them are one source.
/// let source = |text: &str| text.parse::<IpAddr>().map(Source::address);
/// assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
/// assert_eq!(source("2001:db8::1"), source("2001:db8::ffff"));
/// assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
/// assert_eq!(source("64:ff9b::192.0.2.1"), source("192.0.2.1"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source(Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Uncounted,
    /// The front of an address: the bits, how many of them count, and whether they are of IPv4.
    Block(u128, u8, bool),
    Named(Arc<str>),
}

impl Source {
    /// The /32 of an IPv4 address, the /64 of an IPv6 address.
    pub fn address(address: IpAddr) -> Self {
        Self::block(address, 32, 64)
    }

    /// The block of an address with prefixes of your own: of 0 to 32 bits for IPv4, of 0 to 128 for IPv6. An IPv4 address
    /// that is written as one of IPv6 is one of IPv4: `::ffff:192.0.2.1`, and what a NAT64 makes of it under the well-known prefix,
    /// `64:ff9b::192.0.2.1` (RFC 6052, section 2.1). Behind a NAT64 with a prefix of its own all IPv4 clients are one /64, so one source: take the
    /// address out, and give the source yourself ([`Context::with_source`]).
    pub fn block(address: IpAddr, ipv4: u8, ipv6: u8) -> Self {
        let (bits, prefix, is_v4) = match embedded(address) {
            IpAddr::V4(address) => (u128::from(u32::from(address)), ipv4.min(32), true),
            IpAddr::V6(address) => (u128::from(address), ipv6.min(128), false),
        };
        Self(Kind::Block(front(bits, is_v4, prefix), prefix, is_v4))
    }

    /// The block around this one, with prefixes as for [`Source::block`]; none where that is no wider, or where the source is no
    /// block of addresses.
    pub fn around(&self, ipv4: u8, ipv6: u8) -> Option<Self> {
        let Kind::Block(bits, prefix, is_v4) = self.0 else { return None };
        let wider = if is_v4 { ipv4 } else { ipv6 };
        (wider < prefix).then(|| Self(Kind::Block(front(bits, is_v4, wider), wider, is_v4)))
    }

    /// Whether `other` is this source, or a part of this block of addresses.
    pub fn contains(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Block(bits, prefix, is_v4), Kind::Block(others, inner, other_v4)) => {
                is_v4 == other_v4 && prefix <= inner && front(*others, *is_v4, *prefix) == *bits
            }
            (own, other) => own == other,
        }
    }

    /// A source by a name of the application's: a tenant, a client certificate, a radio cell.
    pub fn named(name: &str) -> Self {
        Self(Kind::Named(name.into()))
    }

    /// No source: the connection is bounded by the total alone. For peers that are not strangers, such as processes on the
    /// same machine.
    pub fn uncounted() -> Self {
        Self(Kind::Uncounted)
    }

    /// Whether the connection is counted by its source at all.
    pub fn is_counted(&self) -> bool {
        self.0 != Kind::Uncounted
    }
}

/// The IPv4 address that is in one of IPv6, where one is.
fn embedded(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(whole) => match whole.octets() {
            [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => IpAddr::V4([a, b, c, d].into()),
            _ => address,
        },
        canonical => canonical,
    }
}

/// The bits of an address that are of its front.
fn front(bits: u128, is_v4: bool, prefix: u8) -> u128 {
    let host = if is_v4 { 32_u8 } else { 128 }.saturating_sub(prefix);
    // Shifting by all 128 bits is what a prefix of 0 asks for; `checked_shr` calls it an overflow.
    bits.checked_shr(host.into()).and_then(|bits| bits.checked_shl(host.into())).unwrap_or(0)
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Uncounted => f.write_str("uncounted"),
            Kind::Block(bits, prefix, true) => {
                write!(f, "{}/{prefix}", std::net::Ipv4Addr::from(u32::try_from(*bits).unwrap_or(0)))
            }
            Kind::Block(bits, prefix, false) => write!(f, "{}/{prefix}", std::net::Ipv6Addr::from(*bits)),
            Kind::Named(name) => f.write_str(name),
        }
    }
}

/// What a server knows of a connection before the login: where it comes from, the channel underneath, and whatever else the
/// application wants its verifier to see.
///
/// A peer's address is one:
///
/// ```
/// use countersign::{Context, Source};
/// use std::net::SocketAddr;
///
/// # fn main() -> Result<(), std::net::AddrParseError> {
/// let peer: SocketAddr = "192.0.2.1:40000".parse()?;
/// let context = Context::from(peer).with_value("listener 2");
/// assert_eq!(context.source(), &Source::address(peer.ip()));
/// assert_eq!(context.value::<&str>(), Some(&"listener 2"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Context {
    source: Source,
    peer: Option<SocketAddr>,
    binding: ChannelBinding,
    value: Option<Arc<dyn Any + Send + Sync>>,
}

impl Context {
    /// A connection from `source`, bound to nothing.
    pub fn new(source: Source) -> Self {
        Self { source, peer: None, binding: ChannelBinding::none(), value: None }
    }

    /// A connection that is counted by the total alone: [`Source::uncounted`].
    pub fn uncounted() -> Self {
        Self::new(Source::uncounted())
    }

    /// Counts the connection by another source than its address: by a tenant, a client certificate, or the client's address where the peer is
    /// a NAT64 with a prefix of its own, or a proxy.
    #[must_use]
    pub fn with_source(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    /// Binds the login to the channel underneath.
    #[must_use]
    pub fn with_binding(mut self, binding: ChannelBinding) -> Self {
        self.binding = binding;
        self
    }

    /// Hands a value of the application's to its verifier. There is one; a second takes its place.
    #[must_use]
    pub fn with_value<T: Any + Send + Sync>(mut self, value: T) -> Self {
        self.value = Some(Arc::new(value));
        self
    }

    /// Where the connection is counted by.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The peer's address, if the context was made from one.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The channel underneath.
    pub fn binding(&self) -> &ChannelBinding {
        &self.binding
    }

    /// The application's value, if it is of this type.
    pub fn value<T: Any>(&self) -> Option<&T> {
        self.value.as_deref()?.downcast_ref()
    }
}

/// A connection from this peer, counted by [`Source::address`]. Behind a proxy or a balancer all peers have its address, and
/// share what one source may have: take the address that it tells, where it can be trusted, or name the source otherwise.
impl From<SocketAddr> for Context {
    fn from(peer: SocketAddr) -> Self {
        Self { peer: Some(peer), ..Self::new(Source::address(peer.ip())) }
    }
}

/// A connection from this source.
impl From<Source> for Context {
    fn from(source: Source) -> Self {
        Self::new(source)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("source", &self.source).field("peer", &self.peer).finish_non_exhaustive()
    }
}
