//! The fields of a frame's body, as text.
//!
//! The library's codec is the only reader of bytes here, also of broken ones: zeros are an empty string, an empty list
//! or a zero, so a body that is cut short decodes once enough zeros follow it, and shows the fields that were whole.

use countersign::codec::{
    self, Busy, ClientHello, ClientLogin, DecodeError, Extensions, List, PuzzleMessage, ServerHello, ServerResumption,
    ServerVerdict, Solution, StretchingMessage,
};
use countersign::frame::FrameType;
use countersign::limits::{CONTEXT, CREDENTIAL_BLOCK, MAX_CLIENT_EXTENSIONS, MAX_SERVER_EXTENSIONS, TAG};
use countersign::{CredentialKind, KeyExchange, KeyId, PublicKey, Suite};

/// One field: its size in bytes with what introduces it, its value, and what is wrong with that.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) size: usize,
    pub(crate) value: String,
    pub(crate) problem: Option<String>,
}

/// All fields of a whole body.
pub(crate) fn decode(kind: FrameType, body: &[u8]) -> Result<Vec<Field>, DecodeError> {
    match kind {
        FrameType::ClientHello => codec::decode(body).map(|message| client_hello(&message)),
        FrameType::ServerHello => codec::decode(body).map(|message| server_hello(&message)),
        FrameType::ClientLogin => codec::decode(body).map(|message| client_login(&message)),
        FrameType::ServerVerdict => codec::decode::<ServerVerdict<'_>>(body)
            .map(|message| vec![sealed("sealed_verdict", message.sealed_verdict.len(), 0, "verdict")]),
        FrameType::ClientFactor => Ok(vec![sealed("sealed_factor", body.len(), 0, "factor")]),
        FrameType::ServerResumption => codec::decode(body).map(|message| server_resumption(&message)),
        FrameType::Busy => codec::decode(body).map(|message| busy(&message)),
        FrameType::Solution => codec::decode(body).map(|message| solution(&message)),
        FrameType::Data => Ok(vec![sealed("sealed_data", body.len(), 0, "data")]),
        FrameType::KeyUpdate | FrameType::Close | FrameType::Confirm => {
            Ok(vec![sealed("tag", body.len(), 0, "message")])
        }
        _ => Ok(vec![sealed("body", body.len(), 0, "message")]),
    }
}

/// The fields at the front of a broken body that are whole, and where they end.
pub(crate) fn readable(kind: FrameType, body: &[u8]) -> (Vec<Field>, usize) {
    let mut bytes = body.to_vec();
    bytes.resize(usize::from(u16::MAX), 0);
    for len in (0..=body.len()).rev() {
        if let Some(byte) = bytes.get_mut(len) {
            *byte = 0;
        }
        let fields = match decode(kind, &bytes) {
            Err(DecodeError::Trailing(extra)) => {
                decode(kind, bytes.get(..bytes.len().saturating_sub(extra)).unwrap_or_default())
            }
            other => other,
        };
        if let Ok(fields) = fields {
            let mut end: usize = 0;
            let is_whole = |field: &Field| {
                let next = end.saturating_add(field.size);
                end = if next <= len { next } else { end };
                next <= len
            };
            let whole = fields.into_iter().take_while(is_whole).collect();
            return (whole, end);
        }
    }
    (Vec::new(), 0)
}

/// Where in a broken body decoding fails with `error`.
pub(crate) fn fault(kind: FrameType, body: &[u8], error: DecodeError) -> usize {
    match error {
        DecodeError::Truncated => body.len(),
        DecodeError::Trailing(extra) => body.len().saturating_sub(extra),
        // The shortest front with the same fault ends in the byte that gives it away.
        _ => {
            let fronts = (0..body.len()).filter_map(|end| Some((end, body.get(..=end)?)));
            fronts
                .filter(|(_, front)| decode(kind, front).is_err_and(|found| found == error))
                .map(|(end, _)| end)
                .next()
                .unwrap_or(body.len())
        }
    }
}

/// A suite by name, or as a number this library does not know.
pub(crate) fn suite(number: u16) -> String {
    Suite::from_number(number).map_or_else(|| format!("unknown ({number:#06x})"), |suite| suite.to_string())
}

/// A credential kind by name.
pub(crate) fn credential_kind(number: u8) -> String {
    CredentialKind::from_number(number).map_or_else(|| format!("unknown ({number})"), |kind| kind.to_string())
}

/// Several things, or none of them.
pub(crate) fn join<T>(items: &[T], separator: &str, show: impl Fn(&T) -> String) -> String {
    if items.is_empty() { "none".to_owned() } else { items.iter().map(show).collect::<Vec<_>>().join(separator) }
}

/// A key by size, and what is wrong with it: unusable, or not the one that `id` names.
pub(crate) fn key(spki: &[u8], id: KeyId) -> (String, Option<String>) {
    match PublicKey::from_spki_der(spki) {
        _ if spki.is_empty() => ("left out: the client has it".to_owned(), None),
        Ok(key) => {
            let what = format!("{} bytes: RSA {} bits, e = {}", spki.len(), key.bits(), key.exponent());
            let problem =
                (key.id() != id).then(|| format!("the key id does not match the key, whose id is {}", key.id()));
            (what, problem)
        }
        Err(error) => (format!("{} bytes", spki.len()), Some(format!("the server's key is unusable: {error}"))),
    }
}

fn client_hello(message: &ClientHello<'_>) -> Vec<Field> {
    let share = |share: &codec::KeyShare<'_>| {
        let exchange = KeyExchange::ALL.into_iter().find(|exchange| exchange.number() == share.exchange);
        let name = exchange.map_or_else(|| format!("unknown ({})", share.exchange), |exchange| exchange.to_string());
        format!("{name}, {} bytes: {}", share.share.len(), public(&share.share))
    };
    let shares =
        message.key_shares.iter().fold(1_usize, |sum, share| sum.saturating_add(3).saturating_add(share.share.len()));
    vec![
        field("versions", list(&message.versions, 2), join(&message.versions, ", ", u16::to_string)),
        field("suites", list(&message.suites, 2), join(&message.suites, "\n", |&number| suite(number))),
        field("nonce", message.nonce.len(), hex::encode(message.nonce)),
        field("key_shares", shares, join(&message.key_shares, "\n", share)),
        field("server_name", string(message.server_name.as_bytes()), format!("{:?}", message.server_name.0)),
        field(
            "known_keys",
            list(&message.known_keys, 32),
            join(&message.known_keys, "\n", |id| KeyId::from_bytes(*id).to_string()),
        ),
        context(message.context),
        field("ticket", string(&message.ticket), length(&message.ticket)),
        extensions(&message.extensions, MAX_CLIENT_EXTENSIONS),
        ciphertext(&message.rsa_ciphertext),
        field("binder", string(&message.binder), length(&message.binder)),
    ]
}

/// Bytes that mean nothing to anyone but the server.
fn length(bytes: &[u8]) -> String {
    if bytes.is_empty() { "none".to_owned() } else { format!("{} bytes", bytes.len()) }
}

fn key_share(share: &[u8]) -> String {
    if share.is_empty() { "none".to_owned() } else { format!("{} bytes: {}", share.len(), public(share)) }
}

fn server_resumption(message: &ServerResumption<'_>) -> Vec<Field> {
    vec![
        field("version", 2, message.version.to_string()),
        field("suite", 2, suite(message.suite)),
        field("nonce", message.nonce.len(), hex::encode(message.nonce)),
        field("key_share", string(&message.key_share), key_share(&message.key_share)),
        extensions(&message.extensions, MAX_SERVER_EXTENSIONS),
        sealed("sealed_verdict", message.sealed_verdict.len(), 0, "verdict"),
    ]
}

fn server_hello(message: &ServerHello<'_>) -> Vec<Field> {
    let id = KeyId::from_bytes(message.key_id);
    let (spki, problem) = key(&message.spki, id);
    vec![
        field("version", 2, message.version.to_string()),
        field("suite", 2, suite(message.suite)),
        field("nonce", message.nonce.len(), hex::encode(message.nonce)),
        field("key_id", message.key_id.len(), id.to_string()),
        Field { problem, ..field("spki", string(&message.spki), spki) },
        field("key_share", string(&message.key_share), key_share(&message.key_share)),
        field(
            "credential_kinds",
            list(&message.credential_kinds, 1),
            join(&message.credential_kinds, ", ", |&number| credential_kind(number)),
        ),
        context(message.context),
        extensions(&message.extensions, MAX_SERVER_EXTENSIONS),
        field("proof", string(&message.proof), length(&message.proof)),
    ]
}

fn busy(message: &Busy<'_>) -> Vec<Field> {
    vec![
        field("retry_after", 2, format!("{} s", message.retry_after)),
        extensions(&message.extensions, MAX_CLIENT_EXTENSIONS),
    ]
}

fn solution(message: &Solution<'_>) -> Vec<Field> {
    let (counters, _) = message.counters.as_chunks::<8>();
    let counters: Vec<u64> = counters.iter().map(|counter| u64::from_be_bytes(*counter)).collect();
    let is_ascending = counters.is_sorted_by(|one, next| one < next);
    let problem = (!is_ascending).then(|| "the counters of a solution ascend".to_owned());
    let value = join(&counters, ", ", u64::to_string);
    vec![Field { problem, ..field("counters", message.counters.len(), value) }]
}

/// What a Busy asks for.
pub(crate) fn puzzle(data: &[u8]) -> String {
    match codec::decode::<PuzzleMessage>(data) {
        Ok(PuzzleMessage { bits, nonce }) => format!("a puzzle of {bits} bits for {}", public(&nonce)),
        Err(_) => format!("{} bytes, which are no puzzle", data.len()),
    }
}

/// Two hashes: of the prologue, and of the channel binding.
fn context(context: [u8; CONTEXT]) -> Field {
    let (prologue, binding) = context.split_at(CONTEXT / 2);
    let value = format!("prologue {}, channel binding {}", hex::encode(prologue), hex::encode(binding));
    field("context", context.len(), value)
}

fn extensions(extensions: &Extensions<'_>, most: usize) -> Field {
    let together =
        extensions.iter().fold(0_usize, |sum, extension| sum.saturating_add(4).saturating_add(extension.data.len()));
    let shown = join(extensions, "\n", |extension| {
        let (number, len) = (extension.number, extension.data.len());
        let of = match number.to_be_bytes() {
            [high, low] if high == low && low & 0x0f == 0x0a => ", reserved: means nothing",
            [0xff, _] => ", private use",
            _ => "",
        };
        match len {
            _ if number == PUZZLE => format!("{number:04x}, {}", puzzle(&extension.data)),
            _ if number == STRETCHING => format!("{number:04x}, {}", stretching(&extension.data)),
            0 => format!("{number:04x}, empty{of}"),
            _ => format!("{number:04x}, {len} bytes: {}{of}", public(&extension.data)),
        }
    });
    let numbers = extensions.iter().map(|extension| extension.number);
    let twice =
        numbers.clone().enumerate().any(|(index, number)| numbers.clone().take(index).any(|other| other == number));
    let problem = match () {
        () if twice => Some("the extensions name a number twice".to_owned()),
        () if together > most => Some(format!("extensions of {together} bytes together; they may have {most}")),
        () => None,
    };
    Field { problem, ..field("extensions", together.saturating_add(1), shown) }
}

/// The number of the extension that asks for work.
const PUZZLE: u16 = 3;

/// The number of the extension that says how passwords are stretched.
pub(crate) const STRETCHING: u16 = 4;

/// How a server has its clients stretch passwords.
pub(crate) fn stretching(data: &[u8]) -> String {
    let Ok(message) = codec::decode::<StretchingMessage<'_>>(data) else {
        return format!("{} bytes, which do not say how passwords are stretched", data.len());
    };
    let parameters = join(&message.parameters, " or ", |set| {
        format!("m={},t={},p={}", u32::from(set.memory).saturating_mul(1024), set.passes, set.lanes)
    });
    let moving = if message.moving == 0 { "" } else { ", with the password itself" };
    format!("passwords are stretched for {:?} at {parameters}{moving}", message.realm.0)
}

/// A secret that is sealed to a server's key.
fn ciphertext(ciphertext: &[u8]) -> Field {
    let value = match ciphertext.len() {
        0 => "none".to_owned(),
        len => format!("{len} bytes, sealed to an RSA key of {} bits", len.saturating_mul(8)),
    };
    field("rsa_ciphertext", string(ciphertext), value)
}

fn client_login(message: &ClientLogin<'_>) -> Vec<Field> {
    let credential = message.sealed_credential.len();
    let padded = credential.saturating_sub(TAG);
    let possible = padded > 0 && padded.checked_rem(CREDENTIAL_BLOCK) == Some(0);
    let problem = format!("a sealed credential is a multiple of {CREDENTIAL_BLOCK} bytes and a tag of {TAG}");
    vec![
        ciphertext(&message.rsa_ciphertext),
        Field {
            problem: (!possible).then_some(problem),
            ..sealed("sealed_credential", credential, 2, "padded credential")
        },
    ]
}

fn field(name: &'static str, size: usize, value: String) -> Field {
    Field { name, size, value, problem: None }
}

/// A sealed part of `len` bytes, `header` bytes in front of it.
fn sealed(name: &'static str, len: usize, header: usize, what: &str) -> Field {
    let inside = match len.saturating_sub(TAG) {
        0 => "an empty message".to_owned(),
        inside => format!("{inside} bytes of {what}"),
    };
    field(name, len.saturating_add(header), format!("{len} bytes, sealed: {inside} and a tag of {TAG}"))
}

fn list<T, const N: usize>(list: &List<T, N>, entry: usize) -> usize {
    list.len().saturating_mul(entry).saturating_add(1)
}

fn string(bytes: &[u8]) -> usize {
    bytes.len().saturating_add(2)
}

/// Public bytes in hex, the long ones shortened.
fn public(bytes: &[u8]) -> String {
    const SHOWN: usize = 24;
    match bytes.get(..SHOWN) {
        Some(front) if bytes.len() > SHOWN => format!("{}...", hex::encode(front)),
        _ => hex::encode(bytes),
    }
}
