//! Mutators that know what inputs are made of. Half of the time they leave an input to the fuzzer's own, which knows nothing, and
//! what these change is valid as far as its structure goes: lengths fit, messages decode, PEM decodes to DER, lines are lines.

use crate::toy::CountingRng;
use base64ct::{Base64, Encoding};
use rand_core::Rng;

mod der;
mod message;
mod text;

/// Small numbers.
pub(crate) struct Dice(CountingRng);

impl Dice {
    pub(crate) fn new(seed: u32) -> Self {
        Self(CountingRng(u64::from(seed)))
    }

    /// Less than `end`, or 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let number = usize::try_from(self.0.next_u64() >> 1).unwrap_or(0);
        number.checked_rem(end).unwrap_or(0)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A length that is worth trying.
    fn length(&mut self) -> usize {
        let edges = [0, 1, 2, 16, 31, 32, 33, 64, 255, 256, 257, 500, 501, 512, 1024, 1025, 4096, 4097];
        if self.one_in(2) { edges[self.below(edges.len())] } else { self.below(300) }
    }
}

/// How the inputs of a target are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A few bytes that say what, and then messages.
    Messages,
    /// One byte that says what, and then a file: text, PEM or DER.
    Files,
}

/// Changes an input of `size` bytes in place, and gives its new size; `None` where the fuzzer's own mutator had better do it.
pub fn mutate(kind: Kind, data: &mut [u8], size: usize, max_size: usize, seed: u32) -> Option<usize> {
    let mut dice = Dice::new(seed);
    if dice.one_in(2) {
        return None;
    }
    let input = data.get(..size)?;
    let changed = match kind {
        Kind::Messages if dice.one_in(3) => resized(input, &mut dice)?,
        Kind::Messages => message::within(input, &mut dice)?,
        Kind::Files => {
            let (what, file) = input.split_first()?;
            [&[*what][..], &file_changed(file, &mut dice)?].concat()
        }
    };
    if changed.len() > max_size || changed == input {
        return None;
    }
    data.get_mut(..changed.len())?.copy_from_slice(&changed);
    Some(changed.len())
}

fn file_changed(file: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    if file.first() == Some(&0x30)
        && let Some(changed) = der::changed(file, dice)
    {
        return Some(changed);
    }
    let is_text = file.iter().filter(|&&byte| byte >= 0x80 || byte == 0).count() * 8 < file.len();
    if !is_text {
        return resized(file, dice);
    }
    if dice.one_in(2)
        && let Some(changed) = encoded_changed(file, dice)
    {
        return Some(changed);
    }
    text::changed(file, dice)
}

/// A piece of a text that is base64, with other bytes behind it.
fn encoded_changed(file: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    // PEM has line breaks in it; elsewhere they end it.
    let is_pem = file.windows(5).any(|window| window == b"-----");
    let is_inside = |byte: u8| is_digit(byte) || is_pem && (byte == b'\n' || byte == b'\r');
    let (mut runs, mut start) = (Vec::new(), None);
    for (at, &byte) in file.iter().chain([&b'-']).enumerate() {
        match start {
            None if is_inside(byte) => start = Some(at),
            Some(from) if !is_inside(byte) => {
                if at - from >= 24 {
                    runs.push(from..at);
                }
                start = None;
            }
            _ => {}
        }
    }
    let run = dice.pick(&runs)?.clone();
    let digits: String =
        file.get(run.clone())?.iter().filter(|byte| is_digit(**byte)).map(|&byte| byte as char).collect();
    let has_padding = digits.len().is_multiple_of(4);
    let padded = format!("{digits}{}", "=".repeat(digits.len().wrapping_neg() % 4));
    let bytes = Base64::decode_vec(&padded).ok()?;
    let changed = der::changed(&bytes, dice).or_else(|| resized(&bytes, dice))?;
    let encoded = Base64::encode_string(&changed);
    let encoded = if has_padding { &encoded[..] } else { encoded.trim_end_matches('=') };
    let encoded = if is_pem {
        let lines: Vec<&[u8]> = encoded.as_bytes().chunks(64).collect();
        [b"\n", &lines.join(&b'\n')[..], b"\n"].concat()
    } else {
        encoded.as_bytes().to_vec()
    };
    Some([file.get(..run.start)?, &encoded, file.get(run.end..)?].concat())
}

/// Another length of something that has its length in front, in two bytes or in four; what encloses it grows or shrinks with it.
fn resized(input: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let at = |start: usize, width: usize| {
        let front = input.get(start..start + width)?;
        let len = front.iter().fold(0_usize, |len, &byte| len << 8 | usize::from(byte));
        (len > 0 && start + width + len <= input.len()).then_some((start, width, len))
    };
    let fields: Vec<_> = (0..input.len()).flat_map(|start| [at(start, 2), at(start, 4)]).flatten().collect();
    let &(start, width, len) = dice.pick(&fields)?;
    let (body, end) = (start + width, start + width + len);
    let content = input.get(body..end)?;
    let new = match dice.below(5) {
        0 => Vec::new(),
        1 => content[..dice.below(len)].to_vec(),
        2 => [content, &dice.bytes(1)].concat(),
        3 => [content, content].concat(),
        _ => {
            let len = dice.length();
            dice.bytes(len)
        }
    };
    let mut changed = [&input[..body], &new, &input[end..]].concat();
    let mut set = |(start, width, len): (usize, usize, usize)| {
        let bytes = len.to_be_bytes();
        changed.get_mut(start..start + width)?.copy_from_slice(&bytes[bytes.len() - width..]);
        Some(())
    };
    set((start, width, new.len()))?;
    for &(outer, width, len) in
        fields.iter().filter(|(outer, width, len)| outer + width <= start && outer + width + len >= end)
    {
        set((outer, width, (len + new.len()).saturating_sub(content.len())))?;
    }
    Some(changed)
}
