//! `from=`: patterns of addresses, as in ssh_config(5), "PATTERNS".

use crate::terms::error::codes;
use std::net::IpAddr;

/// From where a key or an account may be used, as `from=` of OpenSSH's `authorized_keys` has it: addresses, blocks and patterns of addresses, with commas
/// between; one with `!` before it excludes what it fits, whatever else fits. Host names are refused.
///
/// ```
/// use countersign::AddressPatterns;
/// use std::net::{IpAddr, Ipv4Addr};
///
/// let office = AddressPatterns::parse("192.0.2.0/24,!192.0.2.13,2001:db8::/32")?;
/// let admits = |last| office.admit(Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))));
/// assert!(admits(7) && !admits(13));
/// // One that is not known is none of them.
/// assert!(!office.admit(None));
/// # Ok::<(), countersign::BadAddressPattern>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPatterns {
    written: String,
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    is_negated: bool,
    of: Of,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Of {
    Block(IpAddr, u32),
    /// With `*` and `?`, in lower case; of the address as text.
    Wildcard(String),
}

/// A part of a list of addresses that is no address and no pattern of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no address, no block such as 192.0.2.0/24 (with nothing after the /24), and no pattern such as 192.0.2.*; \
     host names are not taken"
)]
pub struct BadAddressPattern(
    /// The part, without what a terminal would act on.
    pub String,
);

codes!(BadAddressPattern {
    Self(_) => "bad-addresses",
});

impl AddressPatterns {
    /// Reads such a list: `192.0.2.7`, `2001:db8::/32`, `192.0.2.*`, `10.?.0.1`, `!192.0.2.13`. Addresses and blocks of IPv4 that are written as
    /// ones of IPv6 (`::ffff:192.0.2.0/120`) are ones of IPv4; patterns that are (`::ffff:192.0.2.*`) are refused, as they would fit nothing.
    ///
    /// # Errors
    /// [`BadAddressPattern`].
    pub fn parse(written: &str) -> Result<Self, BadAddressPattern> {
        let patterns =
            written.split(',').map(|part| part.trim_matches(' ')).map(Pattern::parse).collect::<Result<_, _>>()?;
        Ok(Self { written: written.to_owned(), patterns })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Whether one fits, and none that is negated. An IPv4 address that is written as one of IPv6 is one of IPv4.
    #[must_use = "this decides whether they may log in"]
    pub fn admit(&self, address: Option<IpAddr>) -> bool {
        let Some(address) = address.map(|address| address.to_canonical()) else { return false };
        let mut fitting = self.patterns.iter().filter(|pattern| pattern.of.fits(address)).peekable();
        fitting.peek().is_some() && fitting.all(|pattern| !pattern.is_negated)
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, BadAddressPattern> {
        let (is_negated, pattern) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let of = Of::parse(pattern).ok_or_else(|| BadAddressPattern(printable(text)))?;
        Ok(Self { is_negated, of })
    }
}

impl Of {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<IpAddr>() {
            let address = address.to_canonical();
            return Some(Self::Block(address, bits(address).1));
        }
        if let Some((address, prefix)) = text.split_once('/') {
            return Self::block(address.parse().ok()?, prefix);
        }
        let is_wildcard = text.contains(['*', '?']);
        // What has letters and no colon is the pattern of a host name.
        let of_v4 = |c: char| c.is_ascii_digit() || matches!(c, '.' | '*' | '?');
        let of_v6 = |c: char| matches!(c, ':' | '*' | '?') || c.is_ascii_hexdigit();
        let text = text.to_ascii_lowercase();
        // What is written so fits no address: one of IPv4 is looked at as one of IPv4, and has no colon.
        let is_of_v6 = text.contains(':') && text.chars().all(of_v6) && !text.starts_with("::ffff:");
        let is_of_addresses = is_of_v6 || text.chars().all(of_v4);
        (is_wildcard && is_of_addresses).then_some(Self::Wildcard(text))
    }

    /// A block, of which nothing is written after its prefix: `192.0.2.7/24` may be meant as one address or as all.
    fn block(address: IpAddr, prefix: &str) -> Option<Self> {
        let is_number = (1..=3).contains(&prefix.len()) && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix: u32 = prefix.parse().ok().filter(|_| is_number)?;
        let (all, len) = bits(address);
        let rest = len.checked_sub(prefix)?;
        // With nothing in front of it, the whole address comes after.
        let front = all.checked_shr(rest).and_then(|front| front.checked_shl(rest)).unwrap_or(0);
        if front != all {
            return None;
        }
        // One of IPv4, written as one of IPv6: what is in front of its address is all ones, so no shorter prefix comes this far.
        match address.to_canonical() {
            IpAddr::V4(inner) if address.is_ipv6() => Some(Self::Block(inner.into(), prefix.checked_sub(MAPPED)?)),
            _ => Some(Self::Block(address, prefix)),
        }
    }

    fn fits(&self, address: IpAddr) -> bool {
        match self {
            Self::Block(block, prefix) => {
                let ((ours, len), (theirs, their_len)) = (bits(*block), bits(address));
                let front = |bits: u128| bits.checked_shr(len.saturating_sub(*prefix)).unwrap_or(0);
                len == their_len && front(ours) == front(theirs)
            }
            Self::Wildcard(pattern) => fits(pattern.as_bytes(), address.to_string().as_bytes()),
        }
    }
}

/// Bits in front of an IPv4 address that is written as one of IPv6.
const MAPPED: u32 = 96;

/// The bits of an address, and how many there are.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u32::from(address).into(), 32),
        IpAddr::V6(address) => (address.into(), 128),
    }
}

/// Whether a text fits a pattern with `*`, any characters or none, and `?`, any one. It goes back to the last `*` alone, so that
/// no pattern takes long.
fn fits(mut pattern: &[u8], mut text: &[u8]) -> bool {
    let mut last: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), text.split_first()) {
            (Some((b'*', rest)), _) => {
                last = Some((rest, text));
                pattern = rest;
            }
            (Some((wanted, rest)), Some((found, after))) if *wanted == b'?' || wanted == found => {
                (pattern, text) = (rest, after);
            }
            (None, None) => return true,
            _ => match last.and_then(|(rest, from)| from.split_first().map(|(_, from)| (rest, from))) {
                Some((rest, from)) => {
                    last = Some((rest, from));
                    (pattern, text) = (rest, from);
                }
                None => return false,
            },
        }
    }
}

/// A word of a stranger's file, without what a terminal would act on.
pub(crate) fn printable(word: &str) -> String {
    word.chars().filter(char::is_ascii_graphic).take(64).collect()
}
