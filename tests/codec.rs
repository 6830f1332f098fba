//! The layouts: what follows from stating each of them once. `tests/property.rs` has the bytes themselves, against a second
//! decoder.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use countersign::codec::{
    self, Busy, Bytes, ClientFactor, ClientHello, ClientLogin, Confirm, CredentialMessage, EncodeError, Extension,
    Extensions, Factor, FactorRequest, GrantMessage, KeyShare, List, Message, ParametersMessage, ServerHello,
    ServerResumption, ServerVerdict, Solution, Stretched, StretchedMessage, StretchingMessage, Text, VerdictMessage,
};
use countersign::frame::FrameType;
use countersign::limits;

/// The fullest message of a type: it is as long as the type says, before and after encoding, and so is its frame's body.
fn is_fullest<'a, M: Message<'a>>(message: &M, kind: Option<FrameType>) {
    let mut bytes = b"before".to_vec();
    codec::encode(message, &mut bytes).unwrap();
    let len = bytes.len().checked_sub(b"before".len()).unwrap();
    assert!(bytes.starts_with(b"before"));
    assert_eq!((len, message.encoded_len()), (M::MAX, M::MAX));
    if let Some(kind) = kind {
        assert_eq!(kind.max_body(), len, "{kind}");
    }
}

fn full<T: Copy + Default, const N: usize>(entry: T) -> List<T, N> {
    List::from_slice(&[entry; N]).unwrap()
}

#[test]
fn the_fullest_message_of_each_type_has_its_largest_size() {
    let bytes = [b'x'; 20000];
    let bytes = |len: usize| Bytes(&bytes[..len]);
    // As many as there may be, one of which has all the data that they may have together.
    let extensions = |together: usize| {
        let mut extensions = vec![Extension { number: 1, data: bytes(0) }; limits::MAX_EXTENSIONS];
        extensions[0].data = bytes(together - 4 * limits::MAX_EXTENSIONS);
        Extensions::from_slice(&extensions).unwrap()
    };
    let text = "x".repeat(5000);
    let text = |len: usize| Text(&text[..len]);
    let sealed_verdict = &[7; limits::SERVER_VERDICT];

    // Shares have room together, not each.
    let share = KeyShare { exchange: 1, share: bytes(2 * limits::MAX_KEY_SHARE / limits::MAX_KEY_SHARES) };
    let hello = ClientHello {
        versions: full(1),
        suites: full(1),
        nonce: [0; limits::NONCE],
        key_shares: full(share),
        server_name: text(limits::MAX_SERVER_NAME),
        known_keys: full([0; limits::KEY_ID]),
        context: [0; limits::CONTEXT],
        ticket: bytes(limits::MAX_TICKET),
        extensions: extensions(limits::MAX_CLIENT_EXTENSIONS),
        rsa_ciphertext: bytes(limits::MAX_MODULUS_BITS / 8),
        binder: bytes(limits::BINDER),
    };
    is_fullest(&hello, Some(FrameType::ClientHello));

    let challenge = ServerHello {
        version: 1,
        suite: 1,
        nonce: [0; limits::NONCE],
        key_id: [0; limits::KEY_ID],
        spki: bytes(limits::MAX_SPKI),
        key_share: bytes(limits::MAX_KEY_SHARE),
        credential_kinds: full(1),
        context: [0; limits::CONTEXT],
        extensions: extensions(limits::MAX_SERVER_EXTENSIONS),
        proof: bytes(limits::PROOF),
    };
    is_fullest(&challenge, Some(FrameType::ServerHello));

    let rsa_ciphertext = bytes(limits::MAX_MODULUS_BITS / 8);
    let login = ClientLogin { rsa_ciphertext, sealed_credential: bytes(limits::MAX_SEALED_CREDENTIAL) };
    is_fullest(&login, Some(FrameType::ClientLogin));

    // That of a stretched password, beside which there is room for the longest one.
    let secret = bytes(StretchedMessage::MAX);
    is_fullest(&CredentialMessage { kind: 4, user: text(limits::MAX_USER), secret }, None);
    is_fullest(&StretchedMessage { values: full(Stretched(&[7; 32])), password: bytes(limits::MAX_SECRET) }, None);
    let parameters = full(ParametersMessage { memory: 1, passes: 1, lanes: 1 });
    is_fullest(&StretchingMessage { realm: text(limits::MAX_REALM), parameters, moving: 1 }, None);
    let padded = CredentialMessage::MAX.next_multiple_of(limits::CREDENTIAL_BLOCK);
    assert_eq!(limits::MAX_SEALED_CREDENTIAL, padded.checked_add(limits::TAG).unwrap());

    is_fullest(&ServerVerdict { sealed_verdict }, Some(FrameType::ServerVerdict));

    // The longest principal, a full list of permissions, and as much in those as 1024 bytes leave.
    let mut grant = GrantMessage { decision: 1, principal: text(limits::MAX_PRINCIPAL), permissions: full(text(21)) };
    let mut permissions = [text(21); limits::MAX_PERMISSIONS];
    permissions[0] = text(50);
    grant.permissions = List::from_slice(&permissions).unwrap();
    let extensions_ = extensions(limits::MAX_VERDICT_EXTENSIONS);
    let verdict =
        VerdictMessage { grant, ticket: bytes(limits::MAX_TICKET), ticket_lifetime: 1, extensions: extensions_ };
    is_fullest(&verdict, None);

    let key_share = bytes(limits::MAX_KEY_SHARE);
    let resumption = ServerResumption {
        version: 1,
        suite: 1,
        nonce: [0; limits::NONCE],
        key_share,
        extensions: extensions(limits::MAX_SERVER_EXTENSIONS),
        sealed_verdict,
    };
    is_fullest(&resumption, Some(FrameType::ServerResumption));

    let busy = Busy { retry_after: 1, extensions: extensions(limits::MAX_CLIENT_EXTENSIONS) };
    is_fullest(&busy, Some(FrameType::Busy));
    let solution = Solution { counters: &[0xff; limits::SOLUTION] };
    is_fullest(&solution, Some(FrameType::Solution));
    is_fullest(&ClientFactor { sealed_factor: &[7; limits::CLIENT_FACTOR] }, Some(FrameType::ClientFactor));
    is_fullest(&Factor { answer: bytes(limits::MAX_ANSWER) }, None);
    is_fullest(&FactorRequest { form: 1, prompt: text(limits::MAX_PROMPT) }, None);
    is_fullest(&Confirm { tag: &[0; limits::TAG] }, Some(FrameType::Confirm));
}

#[test]
fn a_string_that_its_length_field_can_t_state_is_not_encoded() {
    let long = vec![0; 65536];
    let login = |len: usize| ClientLogin { rsa_ciphertext: Bytes(&long[..len]), sealed_credential: Bytes(b"") };
    let mut out = Vec::new();
    assert_eq!(codec::encode(&login(65535), &mut out), Ok(()));
    assert_eq!(out.len(), login(65535).encoded_len());
    // And nothing is left behind of it.
    let mut out = b"before".to_vec();
    assert_eq!(codec::encode(&login(65536), &mut out), Err(EncodeError::StringTooLong(65535)));
    assert_eq!(out, b"before");
}

#[test]
fn what_is_longer_than_a_frame_decodes_as_it_was_encoded() {
    let long = vec![7; 65535];
    let login = ClientLogin { rsa_ciphertext: Bytes(&long), sealed_credential: Bytes(&long) };
    let mut out = Vec::new();
    codec::encode(&login, &mut out).unwrap();
    assert_eq!(codec::decode(&out), Ok(login));
}
