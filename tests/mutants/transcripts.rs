//! Transcripts without a part of what they are to cover. Each is given what is added to a transcript, piece by piece: the seed's parts,
//! hellos up to the end of their extensions, and what follows.

use std::ops::Range;

/// Where the fields of a hello or a ServerResumption begin, after its header: of the types 1, 2 and 8. `None` for all other pieces.
fn fields(piece: &[u8], of: u8) -> Option<Vec<usize>> {
    let (header, _) = piece.split_first_chunk::<3>()?;
    let length = usize::from(u16::from_be_bytes([header[1], header[2]]));
    // The front of a frame: what comes behind it is another piece, and that begins with its own length.
    let is_field = usize::from(u16::from_be_bytes([header[0], header[1]])) + 2 == piece.len();
    if header[0] != of || piece.len() < 40 || length + 3 < piece.len() || is_field {
        return None;
    }
    let mut starts = vec![3];
    let mut at = 3;
    let u16_at = |at: usize| usize::from(u16::from_be_bytes([piece[at], piece[at + 1]]));
    let count = |at: usize| usize::from(piece[at]);
    let mut skip = |length: usize, at: &mut usize| {
        *at += length;
        starts.push(*at);
    };
    if of == 1 {
        for _ in 0..2 {
            let length = 1 + 2 * count(at);
            skip(length, &mut at);
        }
        skip(32, &mut at);
        let mut length = 1;
        for _ in 0..count(at) {
            length += 3 + u16_at(at + length + 1);
        }
        skip(length, &mut at);
        let length = 2 + u16_at(at);
        skip(length, &mut at);
        let length = 1 + 32 * count(at);
        skip(length, &mut at);
        skip(8, &mut at);
        let length = 2 + u16_at(at);
        skip(length, &mut at);
    } else if of == 8 {
        for length in [2, 2, 32] {
            skip(length, &mut at);
        }
        let length = 2 + u16_at(at);
        skip(length, &mut at);
    } else {
        for length in [2, 2, 32, 32] {
            skip(length, &mut at);
        }
        for _ in 0..2 {
            let length = 2 + u16_at(at);
            skip(length, &mut at);
        }
        let length = 1 + count(at);
        skip(length, &mut at);
        skip(8, &mut at);
    }
    starts.push(piece.len());
    Some(starts)
}

/// Without these fields, by their numbers, and the header, which has the length.
fn without(piece: &[u8], of: u8, numbers: &[usize]) -> Vec<u8> {
    let Some(starts) = fields(piece, of) else { return piece.to_vec() };
    let kept = (0..starts.len() - 1).filter(|number| !numbers.contains(number));
    let range = |number: usize| -> Range<usize> { starts[number]..starts[number + 1] };
    kept.flat_map(|number| piece[range(number)].iter().copied()).collect()
}

pub fn versions(piece: &[u8]) -> Vec<u8> {
    without(piece, 1, &[0])
}

/// With their shares.
pub fn suites(piece: &[u8]) -> Vec<u8> {
    without(piece, 1, &[1, 3])
}

pub fn nonce(piece: &[u8]) -> Vec<u8> {
    without(piece, 1, &[2])
}

pub fn server_name(piece: &[u8]) -> Vec<u8> {
    without(piece, 1, &[4])
}

pub fn known_keys(piece: &[u8]) -> Vec<u8> {
    without(piece, 1, &[5])
}

pub fn ticket(piece: &[u8]) -> Vec<u8> {
    without(piece, 1, &[7])
}

pub fn extensions(piece: &[u8]) -> Vec<u8> {
    without(piece, 1, &[8])
}

pub fn client_hello(piece: &[u8]) -> Vec<u8> {
    without(piece, 1, &[0, 1, 2, 3, 4, 5, 6, 7, 8])
}

pub fn suite(piece: &[u8]) -> Vec<u8> {
    without(piece, 2, &[1])
}

/// ServerHello's nonce.
pub fn challenge(piece: &[u8]) -> Vec<u8> {
    without(piece, 2, &[2])
}

pub fn spki(piece: &[u8]) -> Vec<u8> {
    without(piece, 2, &[4])
}

pub fn kinds(piece: &[u8]) -> Vec<u8> {
    without(piece, 2, &[6])
}

pub fn extensions_of_server(piece: &[u8]) -> Vec<u8> {
    without(piece, 2, &[8])
}

pub fn server_hello(piece: &[u8]) -> Vec<u8> {
    without(piece, 2, &[0, 1, 2, 3, 4, 5, 6, 7, 8])
}

pub fn nonce_of_resumption(piece: &[u8]) -> Vec<u8> {
    without(piece, 8, &[2])
}

pub fn extensions_of_resumption(piece: &[u8]) -> Vec<u8> {
    without(piece, 8, &[4])
}

/// The binding's bytes, of which there are two in the world where this counts.
pub fn channel(piece: &[u8]) -> Vec<u8> {
    if [[1; 32], [2; 32]].iter().any(|bytes| bytes == piece) { Vec::new() } else { piece.to_vec() }
}

/// The prologue, of which there are two in the world where this counts.
pub fn prologue(piece: &[u8]) -> Vec<u8> {
    if [b"chess 1", b"chess 2"].iter().any(|bytes| &bytes[..] == piece) { Vec::new() } else { piece.to_vec() }
}
