//! What stands in a row of the tables.

use crate::meter::Meter;

/// A handshake between two ends in one thread, over memory.
pub trait Contender {
    /// What its row says beside the numbers.
    fn row(&self) -> Row;

    /// One whole handshake, with the right password.
    ///
    /// # Panics
    /// Where it does not succeed at both ends: a row measures what its name says.
    fn once(&mut self, meter: &mut Meter);
}

/// What a row of the table of handshakes says beside its numbers.
#[derive(Clone, Debug)]
pub struct Row {
    /// The protocol, its parameters, and whose code does the arithmetic.
    pub name: String,
    /// Whose bar it is in the chart.
    pub family: Family,
    /// Round trips on an open connection before the client may send its application's first byte.
    pub round_trips: &'static str,
    /// Which ends know the other afterwards, and by what.
    pub authenticates: &'static str,
    /// Whether what follows stays unreadable when every long-lived secret leaks later.
    pub forward_secret: &'static str,
}

/// Whose bar it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// This library.
    Ours,
    /// Another protocol.
    Peer,
    /// One RSA operation, with no protocol around it.
    Bare,
}

/// Two ends that exchange sealed records of one size.
pub trait Pipe {
    /// Whose code seals, and how.
    fn name(&self) -> String;

    /// Seals the payload at one end and opens it at the other: what arrived.
    fn pass(&mut self) -> &[u8];
}

/// Whom the client says it is, where a protocol asks for it.
pub const USER: &str = "alice";
/// The password that the server takes.
pub const PASSWORD: &[u8] = b"correct horse";
/// One that it does not take.
#[cfg(test)]
pub const WRONG: &[u8] = b"battery staple";

/// The server's RSA keys (PKCS#8), by what rows call them.
pub const KEYS: [(&str, &str); 2] = [
    ("RSA-2048", include_str!("../../../tests/keys/rsa2048.pem")),
    ("RSA-3072", include_str!("../../../tests/keys/rsa3072.pem")),
];
