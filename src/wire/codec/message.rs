//! The messages, a struct each; the order of the fields is the order of the bytes.

use super::field::Field;
use super::layout::layout;
use super::primitive::{Bytes, List, Stretched, Text};
use crate::limits;

/// A type that [`super::decode`] and [`super::encode`] take: one of the structs beside it, and no other.
pub trait Message<'a>: Field<'a> {
    /// The largest size in bytes of a message that keeps to PROTOCOL.md: every list full, every string as long as it may
    /// be.
    const MAX: usize = Self::LARGEST;

    /// How many bytes [`super::encode`] gives.
    fn encoded_len(&self) -> usize {
        self.size()
    }
}

layout! {
    /// Something that a message may carry beside what version 1 knows (PROTOCOL.md, "Extension").
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Extension<'a> {
        /// What it is.
        pub number: u16,
        /// Its own affair.
        pub data: Bytes<'a>,
    }
}

/// A message's extensions.
pub type Extensions<'a> = List<Extension<'a>, { limits::MAX_EXTENSIONS }>;

/// What is left for the data of extensions that may have so many bytes together.
const fn room_for_data(together: usize) -> usize {
    together.saturating_sub(limits::MAX_EXTENSIONS.saturating_mul(Extension::LARGEST))
}

layout! {
    /// The body of frame 1 (PROTOCOL.md, "ClientHello").
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ClientHello<'a> {
        /// Protocol versions the client speaks, most wanted first.
        pub versions: List<u16, { limits::MAX_VERSIONS }>,
        /// Suite numbers the client takes, most wanted first.
        pub suites: List<u16, { limits::MAX_SUITES }>,
        /// 32 random bytes.
        pub nonce: [u8; limits::NONCE],
        /// One key share for each key exchange among the suites that has one.
        pub key_shares: List<KeyShare<'a>, { limits::MAX_KEY_SHARES }> [..=2 * limits::MAX_KEY_SHARE],
        /// The name of the server that the client wants, up to 255 bytes; empty if it has none.
        pub server_name: Text<'a> [..=limits::MAX_SERVER_NAME],
        /// Ids of server keys that the client has whole, so that they need not be sent.
        pub known_keys: List<[u8; limits::KEY_ID], { limits::MAX_KNOWN_KEYS }>,
        /// Which prologue and channel binding the client means.
        pub context: [u8; limits::CONTEXT],
        /// A ticket of an earlier login, up to 500 bytes; empty for none.
        pub ticket: Bytes<'a> [..=limits::MAX_TICKET],
        /// Up to 1024 bytes together.
        pub extensions: Extensions<'a> [..=room_for_data(limits::MAX_CLIENT_EXTENSIONS)],
        =>
        /// RSA-OAEP, to the first of the known keys, of a secret and the transcript hash; as long as its modulus, or empty.
        pub rsa_ciphertext: Bytes<'a> [..=limits::MAX_MODULUS_BITS / 8],
        =>
        /// 32 bytes that prove that the client holds the ticket's secret; empty without a ticket.
        pub binder: Bytes<'a> [..=limits::BINDER],
    }
}

layout! {
    /// A public share of one key exchange.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct KeyShare<'a> {
        /// The key exchange: the high byte of its suites' numbers.
        pub exchange: u8,
        /// The share, in the key exchange's own encoding.
        pub share: Bytes<'a>,
    }
}

layout! {
    /// The body of frame 2 (PROTOCOL.md, "ServerHello").
    #[derive(Clone, Debug, PartialEq, Eq)]
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
        pub spki: Bytes<'a> [..=limits::MAX_SPKI],
        /// The server's key share; empty if the suite has no key exchange beside RSA.
        pub key_share: Bytes<'a> [..=limits::MAX_KEY_SHARE],
        /// The credential kinds the server takes.
        pub credential_kinds: List<u8, { limits::MAX_CREDENTIAL_KINDS }>,
        /// Which prologue and channel binding the server means.
        pub context: [u8; limits::CONTEXT],
        /// Up to 16384 bytes together.
        pub extensions: Extensions<'a> [..=room_for_data(limits::MAX_SERVER_EXTENSIONS)],
        =>
        /// 32 bytes that prove that the server has opened the ClientHello's `rsa_ciphertext`; empty where it has not.
        pub proof: Bytes<'a> [..=limits::PROOF],
    }
}

layout! {
    /// The body of frame 3 (PROTOCOL.md, "ClientLogin").
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ClientLogin<'a> {
        =>
        /// RSA-OAEP of the secret and the transcript hash; as long as the modulus. Empty after a proof.
        pub rsa_ciphertext: Bytes<'a> [..=limits::MAX_MODULUS_BITS / 8],
        =>
        /// The AEAD-sealed [`CredentialMessage`].
        pub sealed_credential: Bytes<'a> [..=limits::MAX_SEALED_CREDENTIAL],
    }
}

layout! {
    /// What a client seals under the credential key (PROTOCOL.md, "Credential"); zeros follow.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CredentialMessage<'a> {
        /// A credential kind's number.
        pub kind: u8,
        /// The user name; empty for a token.
        pub user: Text<'a> [..=limits::MAX_USER],
        /// The password or the token; for a key, a [`KeyProof`]; for a stretched password, a [`StretchedMessage`].
        pub secret: Bytes<'a> [..=StretchedMessage::MAX],
    }
}

layout! {
    /// What a client shows of a key of its own (PROTOCOL.md, "KeyProof").
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct KeyProof<'a> {
        /// The public key's SubjectPublicKeyInfo in DER.
        pub key: Bytes<'a> [..=limits::MAX_SPKI],
        /// Its signature over this connection.
        pub signature: Bytes<'a> [..=limits::MAX_MODULUS_BITS / 8],
    }
}

layout! {
    /// What a server says in extension 4 of a ServerHello (PROTOCOL.md, "Stretching").
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StretchingMessage<'a> {
        /// What the passwords are for: 1 to 255 bytes.
        pub realm: Text<'a> [..=limits::MAX_REALM],
        /// The parameters, the newest first.
        pub parameters: List<ParametersMessage, { limits::MAX_STRETCH_PARAMETERS }>,
        /// 1 where the server asks for the password itself, too; otherwise 0.
        pub moving: u8,
    }
}

layout! {
    /// Parameters of Argon2id.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ParametersMessage {
        /// Memory in MiB.
        pub memory: u16,
        /// Passes over it.
        pub passes: u8,
        /// Lanes.
        pub lanes: u8,
    }
}

layout! {
    /// What a client shows of a stretched password (PROTOCOL.md, "StretchedPassword").
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StretchedMessage<'a> {
        /// What it is stretched to, for each set of parameters that was announced.
        pub values: List<Stretched<'a>, { limits::MAX_STRETCH_PARAMETERS }>,
        /// The password itself; empty where it is not asked for, or not given.
        pub password: Bytes<'a> [..=limits::MAX_SECRET],
    }
}

layout! {
    /// The body of frame 4 (PROTOCOL.md, "ServerVerdict"): the AEAD-sealed [`VerdictMessage`] and nothing else.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ServerVerdict<'a> {
        =>
        /// [`limits::VERDICT`] bytes of ciphertext, then the tag.
        pub sealed_verdict: &'a [u8; limits::SERVER_VERDICT],
    }
}

layout! {
    /// What a server seals under the verdict key (PROTOCOL.md, "Verdict"); zeros follow.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct VerdictMessage<'a> {
        /// What was decided, and about whom.
        pub grant: GrantMessage<'a> [..=limits::MAX_GRANT - GrantMessage::LARGEST],
        /// A ticket for the next login, up to 500 bytes; empty for none.
        pub ticket: Bytes<'a> [..=limits::MAX_TICKET],
        /// For how many seconds the server will take the ticket; 0 without a ticket.
        pub ticket_lifetime: u64,
        /// Up to 480 bytes together.
        pub extensions: Extensions<'a> [..=room_for_data(limits::MAX_VERDICT_EXTENSIONS)],
    }
}

layout! {
    /// The front of a [`VerdictMessage`]: up to 1024 bytes together.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct GrantMessage<'a> {
        /// 1 for accept, 0 for reject, 2 for not now, 3 for a further factor.
        pub decision: u8,
        /// Whom the client is logged in as; empty but for accept.
        pub principal: Text<'a>,
        /// What they may do; empty but for accept.
        pub permissions: List<Text<'a>, { limits::MAX_PERMISSIONS }>,
    }
}

layout! {
    /// What a verdict that asks for a further factor has in extension 5 (PROTOCOL.md, "Verdict").
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct FactorRequest<'a> {
        /// What is asked for: 1 for a one-time code, 2 for what may be seen while it is typed, 3 for what may not.
        pub form: u8,
        /// What to show to the user, up to 255 bytes; may be empty.
        pub prompt: Text<'a> [..=limits::MAX_PROMPT],
    }
}

layout! {
    /// The body of frame 11 (PROTOCOL.md, "ClientFactor"): the AEAD-sealed [`Factor`] and nothing else.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ClientFactor<'a> {
        =>
        /// [`limits::FACTOR`] bytes of ciphertext, then the tag.
        pub sealed_factor: &'a [u8; limits::CLIENT_FACTOR],
    }
}

layout! {
    /// What a client seals under the factor key (PROTOCOL.md, "ClientFactor"); zeros follow.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Factor<'a> {
        /// The answer, 1 to 256 bytes.
        pub answer: Bytes<'a> [..=limits::MAX_ANSWER],
    }
}

layout! {
    /// The body of frame 8 (PROTOCOL.md, "ServerResumption").
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ServerResumption<'a> {
        /// The version the server picked.
        pub version: u16,
        /// The ticket's suite.
        pub suite: u16,
        /// 32 random bytes.
        pub nonce: [u8; limits::NONCE],
        /// The server's key share; empty if the suite has no key exchange beside RSA.
        pub key_share: Bytes<'a> [..=limits::MAX_KEY_SHARE],
        /// Up to 16384 bytes together.
        pub extensions: Extensions<'a> [..=room_for_data(limits::MAX_SERVER_EXTENSIONS)],
        =>
        /// The AEAD-sealed [`VerdictMessage`], always an accept.
        pub sealed_verdict: &'a [u8; limits::SERVER_VERDICT],
    }
}

layout! {
    /// The body of frame 9 (PROTOCOL.md, "Busy").
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Busy<'a> {
        /// Seconds after which it is worth trying again.
        pub retry_after: u16,
        /// Up to 1024 bytes together.
        pub extensions: Extensions<'a> [..=room_for_data(limits::MAX_CLIENT_EXTENSIONS)],
    }
}

layout! {
    /// What a server says in extension 3 of a Busy (PROTOCOL.md, "Puzzle").
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct PuzzleMessage {
        /// How many leading zero bits each hash must have, 1 to 24.
        pub bits: u8,
        /// 32 random bytes.
        pub nonce: [u8; limits::NONCE],
    }
}

layout! {
    /// The body of frame 12 (PROTOCOL.md, "Solution").
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Solution<'a> {
        /// Sixteen counters of 8 bytes each, ascending.
        pub counters: &'a [u8; limits::SOLUTION],
    }
}

layout! {
    /// The body of frame 10 (PROTOCOL.md, "Confirm"): a tag and nothing else.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Confirm<'a> {
        =>
        /// The tag over nothing.
        pub tag: &'a [u8; limits::TAG],
    }
}

impl<'a> Message<'a> for ClientHello<'a> {}
impl<'a> Message<'a> for ServerHello<'a> {}
impl<'a> Message<'a> for ClientLogin<'a> {}
impl<'a> Message<'a> for CredentialMessage<'a> {}
impl<'a> Message<'a> for KeyProof<'a> {}
impl<'a> Message<'a> for StretchingMessage<'a> {}
impl<'a> Message<'a> for StretchedMessage<'a> {}
impl<'a> Message<'a> for ServerVerdict<'a> {}
impl<'a> Message<'a> for VerdictMessage<'a> {}
impl<'a> Message<'a> for ServerResumption<'a> {}
impl<'a> Message<'a> for Busy<'a> {}
impl<'a> Message<'a> for Confirm<'a> {}
impl<'a> Message<'a> for PuzzleMessage {}
impl<'a> Message<'a> for Solution<'a> {}
impl<'a> Message<'a> for FactorRequest<'a> {}
impl<'a> Message<'a> for ClientFactor<'a> {}
impl<'a> Message<'a> for Factor<'a> {}

// What is sealed fits into what carries it, padding and tag included.
const _: () = {
    let credential = CredentialMessage::MAX.next_multiple_of(limits::CREDENTIAL_BLOCK);
    assert!(credential + limits::TAG == limits::MAX_SEALED_CREDENTIAL);
    assert!(KeyProof::MAX <= limits::MAX_SECRET);
    assert!(StretchingMessage::MAX + Extension::LARGEST == limits::STRETCHING);
    assert!(VerdictMessage::MAX <= limits::VERDICT);
    assert!(FactorRequest::MAX + Extension::LARGEST <= limits::MAX_VERDICT_EXTENSIONS);
    assert!(Factor::MAX <= limits::FACTOR);
    assert!(PuzzleMessage::MAX + Extension::LARGEST <= limits::MAX_CLIENT_EXTENSIONS);
};
