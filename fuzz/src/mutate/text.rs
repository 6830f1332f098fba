//! Lines and words.

use super::Dice;

/// What readers of text stumble over.
const ODD: [&str; 22] = [
    "\r",
    "\0",
    "\u{feff}",
    "\"",
    "'",
    ",",
    ";",
    ":",
    "=",
    "#",
    "@",
    "|",
    "$",
    "\\",
    "\t",
    " ",
    "..",
    "é",
    "\u{85}",
    "-1",
    "99999999999999999999",
    "\n",
];

pub(super) fn changed(file: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = file.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    let (one, other) = (dice.below(lines.len()), dice.below(lines.len()));
    match dice.below(10) {
        0 => drop(lines.remove(one)),
        1 => lines.insert(other, lines[one].clone()),
        2 => lines.swap(one, other),
        3 if one + 1 < lines.len() => {
            let next = lines.remove(one + 1);
            lines[one].extend(next);
        }
        4 => {
            let at = dice.below(lines[one].len() + 1);
            let odd = dice.pick(&ODD)?.as_bytes();
            lines[one].splice(at..at, odd.iter().copied());
        }
        5 => number(&mut lines[one], dice)?,
        _ => {
            // A word, or what stands at one side of its `=`, in another's place.
            let all: Vec<Vec<u8>> = lines.iter().flat_map(|line| words(line)).map(|range| range.1).collect();
            let word = dice.pick(&all)?.clone();
            let places = words(&lines[one]);
            let (place, _) = dice.pick(&places)?.clone();
            let place = if dice.one_in(4) { place.start..place.start } else { place };
            lines[one].splice(place, word);
        }
    }
    Some(lines.join(&b'\n'))
}

fn words(line: &[u8]) -> Vec<(core::ops::Range<usize>, Vec<u8>)> {
    let is_between = |byte: u8| byte.is_ascii_whitespace() || b",;:=$\"[]()".contains(&byte);
    let mut words = Vec::new();
    let mut start = 0;
    for at in 0..=line.len() {
        if line.get(at).is_none_or(|&byte| is_between(byte)) {
            if at > start {
                words.push((start..at, line[start..at].to_vec()));
            }
            start = at + 1;
        }
    }
    words
}

/// Another number in a number's place.
fn number(line: &mut Vec<u8>, dice: &mut Dice) -> Option<()> {
    let digits: Vec<usize> = (0..line.len()).filter(|&at| line[at].is_ascii_digit()).collect();
    let at = *dice.pick(&digits)?;
    let start = (0..at).rev().take_while(|&at| line[at].is_ascii_digit()).last().unwrap_or(at);
    let end = (at..line.len()).find(|&at| !line[at].is_ascii_digit()).unwrap_or(line.len());
    let old: u64 = str::from_utf8(&line[start..end]).ok()?.parse().unwrap_or(0);
    let new = match dice.below(6) {
        0 => old.wrapping_add(1),
        1 => old.wrapping_sub(1),
        2 => old.wrapping_mul(2),
        3 => 0,
        4 => u64::from(u32::MAX),
        _ => 1 << dice.below(40),
    };
    line.splice(start..end, new.to_string().into_bytes());
    Some(())
}
