//! The messages, a struct each; the order of the fields is the order of the bytes.

use super::primitive::{Bytes, List, Text};
use crate::limits;
use bincode::{BorrowDecode, Encode};

/// A type that [`super::decode`] and [`super::encode`] take: one of the structs beside it.
pub trait Message<'a>: Encode + BorrowDecode<'a, ()> {}

/// The body of frame 1 (PROTOCOL.md, "ClientHello").
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct ClientHello<'a> {
    /// Protocol versions the client speaks, most wanted first.
    pub versions: List<u16, { limits::MAX_VERSIONS }>,
    /// Suite numbers the client takes, most wanted first.
    pub suites: List<u16, { limits::MAX_SUITES }>,
    /// 32 random bytes.
    pub nonce: [u8; limits::NONCE],
    /// One key share for each key exchange among the suites that has one.
    pub key_shares: List<KeyShare<'a>, { limits::MAX_KEY_SHARES }>,
    /// The name of the server that the client wants, up to 255 bytes; empty if it has none.
    pub server_name: Text<'a>,
    /// Ids of server keys the client has at hand, so that they need not be sent.
    pub known_keys: List<[u8; limits::KEY_ID], { limits::MAX_KNOWN_KEYS }>,
    /// A ticket of an earlier login, up to 500 bytes; empty for none.
    pub ticket: Bytes<'a>,
    /// 32 bytes that prove that the client holds the ticket's secret; empty without a ticket.
    pub binder: Bytes<'a>,
}

/// A public share of one key exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, BorrowDecode)]
pub struct KeyShare<'a> {
    /// The key exchange: the high byte of its suites' numbers.
    pub exchange: u8,
    /// The share, in the key exchange's own encoding.
    pub share: Bytes<'a>,
}

/// The body of frame 2 (PROTOCOL.md, "ServerHello").
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct ServerHello<'a> {
    /// The version the server picked.
    pub version: u16,
    /// The suite the server picked.
    pub suite: u16,
    /// 32 random bytes: the challenge.
    pub nonce: [u8; limits::NONCE],
    /// SHA-256 of the server key's SubjectPublicKeyInfo.
    pub key_id: [u8; limits::KEY_ID],
    /// The server key's SubjectPublicKeyInfo in DER; empty if the client listed `key_id`.
    pub spki: Bytes<'a>,
    /// The server's key share; empty if the suite has no key exchange beside RSA.
    pub key_share: Bytes<'a>,
    /// The credential kinds the server takes.
    pub credential_kinds: List<u8, { limits::MAX_CREDENTIAL_KINDS }>,
}

/// The body of frame 3 (PROTOCOL.md, "ClientLogin").
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct ClientLogin<'a> {
    /// RSA-OAEP of the secret and the transcript hash; as long as the modulus.
    pub rsa_ciphertext: Bytes<'a>,
    /// The AEAD-sealed [`CredentialMessage`].
    pub sealed_credential: Bytes<'a>,
}

/// What a client seals under the credential key (PROTOCOL.md, "Credential"); zeros follow.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct CredentialMessage<'a> {
    /// A credential kind's number.
    pub kind: u8,
    /// The user name; empty for a token.
    pub user: Text<'a>,
    /// The password or the token.
    pub secret: Bytes<'a>,
}

/// The body of frame 4 (PROTOCOL.md, "ServerVerdict"): the AEAD-sealed [`VerdictMessage`] and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct ServerVerdict {
    /// [`limits::VERDICT`] bytes of ciphertext, then the tag.
    pub sealed_verdict: [u8; limits::SERVER_VERDICT],
}

/// What a server seals under the verdict key (PROTOCOL.md, "Verdict"); zeros follow.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct VerdictMessage<'a> {
    /// 1 for accept, 0 for reject.
    pub decision: u8,
    /// Whom the client is logged in as; empty for reject.
    pub principal: Text<'a>,
    /// What they may do; empty for reject.
    pub permissions: List<Text<'a>, { limits::MAX_PERMISSIONS }>,
    /// A ticket for the next login, up to 500 bytes; empty for none.
    pub ticket: Bytes<'a>,
    /// When the ticket expires, in seconds since 1970; 0 without a ticket.
    pub ticket_expires: u64,
}

/// The body of frame 8 (PROTOCOL.md, "ServerResumption").
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct ServerResumption<'a> {
    /// The version the server picked.
    pub version: u16,
    /// The ticket's suite.
    pub suite: u16,
    /// 32 random bytes.
    pub nonce: [u8; limits::NONCE],
    /// The server's key share; empty if the suite has no key exchange beside RSA.
    pub key_share: Bytes<'a>,
    /// The AEAD-sealed [`VerdictMessage`], always an accept.
    pub sealed_verdict: [u8; limits::SERVER_VERDICT],
}

/// What this library seals into a ticket. Not part of the protocol: tickets are opaque to clients.
#[derive(Clone, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct TicketMessage<'a> {
    pub(crate) principal: Text<'a>,
    pub(crate) epoch: u64,
    pub(crate) suite: u16,
    pub(crate) key_id: [u8; limits::KEY_ID],
    pub(crate) authenticated: u64,
    pub(crate) expires: u64,
    pub(crate) secret: [u8; 32],
}

/// How this library keeps a ticket at the client. Not part of the protocol.
#[derive(Clone, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct SavedTicketMessage<'a> {
    pub(crate) version: u8,
    pub(crate) suite: u16,
    pub(crate) key_id: [u8; limits::KEY_ID],
    pub(crate) expires: u64,
    pub(crate) secret: [u8; 32],
    pub(crate) ticket: Bytes<'a>,
}

/// How servers hand each other their ticket keys. Not part of the protocol.
#[derive(Clone, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct TicketKeysMessage {
    pub(crate) version: u8,
    pub(crate) keys: List<TicketKeyMessage, 2>,
}

/// One of them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct TicketKeyMessage {
    pub(crate) name: [u8; 8],
    pub(crate) key: [u8; 32],
    pub(crate) made: u64,
}

impl<'a> Message<'a> for ClientHello<'a> {}
impl<'a> Message<'a> for ServerHello<'a> {}
impl<'a> Message<'a> for ClientLogin<'a> {}
impl<'a> Message<'a> for CredentialMessage<'a> {}
impl Message<'_> for ServerVerdict {}
impl<'a> Message<'a> for ServerResumption<'a> {}
impl<'a> Message<'a> for TicketMessage<'a> {}
impl<'a> Message<'a> for SavedTicketMessage<'a> {}
impl Message<'_> for TicketKeysMessage {}
impl<'a> Message<'a> for VerdictMessage<'a> {}
