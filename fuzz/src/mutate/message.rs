//! Messages, changed field by field: what comes out decodes, or is only just too much for that.

use super::Dice;
use countersign::codec::{
    self, Busy, Bytes, ClientHello, CredentialMessage, Extension, KeyProof, KeyShare, List, Message, ParametersMessage,
    ServerHello, ServerResumption, Stretched, StretchedMessage, StretchingMessage, Text, VerdictMessage,
};

/// A message somewhere in the input: up to its end, or with a length in front.
pub(super) fn within(input: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let first = dice.below(8);
    for start in (0..8).map(|turn| (first + turn) % 8) {
        let Some((front, rest)) = input.split_at_checked(start) else { continue };
        if let Some((len, rest)) = rest.split_first_chunk::<2>()
            && let Some((body, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
            && let Some(changed) = reshaped(body, dice)
        {
            let len = u16::try_from(changed.len()).ok()?.to_be_bytes();
            return Some([front, &len, &changed, rest].concat());
        }
        if let Some(changed) = reshaped(rest, dice) {
            return Some([front, &changed].concat());
        }
    }
    None
}

/// Every kind that these bytes may be is tried, the longest first: of the short ones anything is one.
fn reshaped(body: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let piece = Piece::new(dice);
    client_hello(body, dice, &piece)
        .or_else(|| server_hello(body, dice, &piece))
        .or_else(|| resumption(body, dice, &piece))
        .or_else(|| verdict(body, dice, &piece))
        .or_else(|| stretching(body, dice, &piece))
        .or_else(|| credential(body, dice, &piece))
        .or_else(|| key_proof(body, dice, &piece))
        .or_else(|| busy(body, dice, &piece))
}

/// Made up, for where something is wanted.
struct Piece {
    bytes: Vec<u8>,
    number: u16,
}

impl Piece {
    fn new(dice: &mut Dice) -> Self {
        let len = dice.length();
        // The numbers that version 1 knows, and others.
        let number = if dice.one_in(4) { dice.below(0x1_0000) } else { dice.below(8) };
        Self { bytes: dice.bytes(len), number: u16::try_from(number).unwrap_or(0) }
    }

    fn bytes(&self) -> Bytes<'_> {
        Bytes(&self.bytes)
    }
}

fn encoded<'a>(message: &impl Message<'a>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    codec::encode(message, &mut out).ok()?;
    Some(out)
}

/// One entry less, twice, elsewhere, or a new one.
fn list<T: Clone + Default, const N: usize>(list: &mut List<T, N>, dice: &mut Dice, new: T) {
    let mut entries = list.to_vec();
    let (one, other) = (dice.below(entries.len()), dice.below(entries.len()));
    match dice.below(5) {
        0 if !entries.is_empty() => drop(entries.remove(one)),
        1 if !entries.is_empty() => entries.insert(other, entries[one].clone()),
        2 if !entries.is_empty() => entries.swap(one, other),
        3 if !entries.is_empty() => entries[one] = new,
        _ => entries.insert(other, new),
    }
    entries.truncate(N);
    *list = List::from_slice(&entries).unwrap_or_default();
}

fn extension<'a>(piece: &'a Piece) -> Extension<'a> {
    Extension { number: piece.number, data: piece.bytes() }
}

fn flip(bytes: &mut [u8], dice: &mut Dice) {
    let at = dice.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << dice.below(8);
    }
}

fn client_hello(body: &[u8], dice: &mut Dice, piece: &Piece) -> Option<Vec<u8>> {
    let mut hello: ClientHello<'_> = codec::decode(body).ok()?;
    let name: String = piece.bytes.iter().map(|byte| char::from(b'!' + byte % 94)).take(300).collect();
    match dice.below(9) {
        0 => list(&mut hello.versions, dice, piece.number),
        1 => list(&mut hello.suites, dice, (piece.number % 3 + 1) << 8 | piece.number % 2 + 1),
        2 => {
            let share = KeyShare { exchange: (piece.number % 5) as u8, share: piece.bytes() };
            list(&mut hello.key_shares, dice, share);
        }
        3 => hello.server_name = Text(&name),
        4 => {
            let mut id = [0; 32];
            id.iter_mut().zip(&piece.bytes).for_each(|(slot, byte)| *slot = *byte);
            list(&mut hello.known_keys, dice, id);
        }
        5 => flip(&mut hello.context, dice),
        6 => hello.ticket = piece.bytes(),
        7 => hello.rsa_ciphertext = if dice.one_in(2) { Bytes(b"") } else { piece.bytes() },
        _ => list(&mut hello.extensions, dice, extension(piece)),
    }
    encoded(&hello)
}

fn server_hello(body: &[u8], dice: &mut Dice, piece: &Piece) -> Option<Vec<u8>> {
    let mut hello: ServerHello<'_> = codec::decode(body).ok()?;
    match dice.below(8) {
        0 => hello.version = piece.number,
        1 => hello.suite = (piece.number % 3 + 1) << 8 | piece.number % 2 + 1,
        2 => flip(&mut hello.key_id, dice),
        3 => hello.spki = if dice.one_in(2) { Bytes(b"") } else { piece.bytes() },
        4 => hello.key_share = if dice.one_in(2) { Bytes(b"") } else { piece.bytes() },
        5 => list(&mut hello.credential_kinds, dice, (piece.number % 6) as u8),
        6 => hello.proof = if dice.one_in(2) { Bytes(b"") } else { piece.bytes() },
        _ => list(&mut hello.extensions, dice, extension(piece)),
    }
    encoded(&hello)
}

fn resumption(body: &[u8], dice: &mut Dice, piece: &Piece) -> Option<Vec<u8>> {
    let mut answer: ServerResumption<'_> = codec::decode(body).ok()?;
    match dice.below(4) {
        0 => answer.version = piece.number,
        1 => answer.suite = (piece.number % 3 + 1) << 8 | piece.number % 2 + 1,
        2 => answer.key_share = if dice.one_in(2) { Bytes(b"") } else { piece.bytes() },
        _ => list(&mut answer.extensions, dice, extension(piece)),
    }
    encoded(&answer)
}

fn verdict(body: &[u8], dice: &mut Dice, piece: &Piece) -> Option<Vec<u8>> {
    let mut verdict: VerdictMessage<'_> = codec::decode(body).ok()?;
    let word: String = piece.bytes.iter().map(|byte| char::from(b'!' + byte % 94)).take(70).collect();
    match dice.below(6) {
        0 => verdict.grant.decision = (piece.number % 5) as u8,
        1 => verdict.grant.principal = Text(&word),
        2 => list(&mut verdict.grant.permissions, dice, Text(&word)),
        3 => verdict.ticket = piece.bytes(),
        4 => verdict.ticket_lifetime = u64::from(piece.number) * 600,
        _ => list(&mut verdict.extensions, dice, extension(piece)),
    }
    encoded(&verdict)
}

fn stretching(body: &[u8], dice: &mut Dice, piece: &Piece) -> Option<Vec<u8>> {
    let mut message: StretchingMessage<'_> = codec::decode(body).ok()?;
    let set = ParametersMessage { memory: piece.number, passes: dice.below(40) as u8, lanes: dice.below(20) as u8 };
    match dice.below(3) {
        0 => message.moving = dice.below(3) as u8,
        1 => message.realm = Text(""),
        _ => list(&mut message.parameters, dice, set),
    }
    encoded(&message)
}

fn credential(body: &[u8], dice: &mut Dice, piece: &Piece) -> Option<Vec<u8>> {
    let mut message: CredentialMessage<'_> = codec::decode(body).ok()?;
    let name: String = piece.bytes.iter().map(|byte| char::from(byte % 128)).take(270).collect();
    // What is shown of a key, or of a stretched password, is a message itself.
    let inner = key_proof(&message.secret, dice, piece).or_else(|| stretched(&message.secret, dice, piece));
    match dice.below(4) {
        0 => message.kind = (piece.number % 6) as u8,
        1 => message.user = Text(&name),
        2 => message.secret = piece.bytes(),
        _ => message.secret = Bytes(inner.as_ref()?),
    }
    encoded(&message)
}

fn key_proof(body: &[u8], dice: &mut Dice, piece: &Piece) -> Option<Vec<u8>> {
    let mut proof: KeyProof<'_> = codec::decode(body).ok()?;
    let key = super::der::changed(&proof.key, dice);
    match key.as_deref() {
        Some(key) if dice.one_in(2) => proof.key = Bytes(key),
        _ => proof.signature = piece.bytes(),
    }
    encoded(&proof)
}

fn stretched(body: &[u8], dice: &mut Dice, piece: &Piece) -> Option<Vec<u8>> {
    let mut message: StretchedMessage<'_> = codec::decode(body).ok()?;
    if dice.one_in(2) {
        message.password = piece.bytes();
    } else {
        list(&mut message.values, dice, Stretched(&[7; 32]));
    }
    encoded(&message)
}

fn busy(body: &[u8], dice: &mut Dice, piece: &Piece) -> Option<Vec<u8>> {
    let mut busy: Busy<'_> = codec::decode(body).ok()?;
    if dice.one_in(4) {
        busy.retry_after = piece.number;
    } else {
        list(&mut busy.extensions, dice, extension(piece));
    }
    encoded(&busy)
}
