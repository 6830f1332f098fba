//! Names of users: what they may be, and which one a line that can't be read was meant for.

use super::AccountError;
use crate::limits;
use std::borrow::Cow;

/// Names can stand in a line of words, and are what they look like: no white space, nothing that is not seen or turns the
/// direction of text, no colon (other programs' files of users have one behind the name), no equals sign (it is a field then, with
/// a blank missing), and no `#` or `@` in front (comments, roles).
pub(super) fn check(name: &str) -> Result<(), AccountError> {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || is_hidden(c) || ":=".contains(c);
    let allowed = !name.is_empty() && name.len() <= limits::MAX_USER && !name.starts_with(['#', '@']);
    if allowed && !name.chars().any(is_odd) { Ok(()) } else { Err(AccountError::BadName) }
}

/// Whether a character has no shape of its own: Unicode's `Default_Ignorable_Code_Point` (bidirectional controls, joiners,
/// variation selectors, fillers, tags), the blank of Braille, marks of annotations, and what is no character.
pub(super) fn is_hidden(c: char) -> bool {
    matches!(
        u32::from(c),
        0xad | 0x34f
            | 0x61c
            | 0x115f..=0x1160
            | 0x17b4..=0x17b5
            | 0x180b..=0x180f
            | 0x200b..=0x200f
            | 0x202a..=0x202e
            | 0x2060..=0x206f
            | 0x2800
            | 0x3164
            | 0xfdd0..=0xfdef
            | 0xfe00..=0xfe0f
            | 0xfeff
            | 0xffa0
            | 0xfff0..=0xfffb
            | 0xfffe..=0xffff
            | 0x1bca0..=0x1bca3
            | 0x1d173..=0x1d17a
            | 0xe0000..=0xe0fff
    )
}

/// The names that a line may have been meant for which can't be read: none of them comes alive by a later line. A typo would
/// otherwise bring an old line back, with its password and its permissions.
pub(super) fn claimed(line: &[u8]) -> Vec<String> {
    let word = line.split(u8::is_ascii_whitespace).find(|word| !word.is_empty()).unwrap_or_default();
    let word = match core::str::from_utf8(word) {
        Ok(word) => Cow::Borrowed(word),
        Err(_) => word.iter().copied().map(char::from).collect(),
    };
    let short = |word: &str| {
        let end = (0..=LONGEST.min(word.len())).rev().find(|&end| word.is_char_boundary(end));
        word.get(..end.unwrap_or_default()).unwrap_or_default().to_owned()
    };
    // What stands in front of it may be a mistake, or the name's own.
    let bare = short(word.trim_start_matches(|c: char| is_hidden(c) || "\"'<".contains(c)));
    let word = short(&word);
    let is_end = |c: char| c.is_whitespace() || c.is_control() || is_hidden(c) || ":,;=|\"'>".contains(c);
    // A name may have commas, and a typo may have put one behind it.
    let names = |word: &str| -> Vec<String> {
        let ends = word.match_indices(is_end).map(|(end, _)| end).take(MOST).chain([word.len()]);
        ends.filter_map(|end| word.get(..end)).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    let whole = if bare == word { Vec::new() } else { names(&word) };
    [names(&bare), whole].concat()
}

/// No name that is claimed has more bytes than this, and some are shorter.
const LONGEST: usize = 1024;

/// Names that one broken line can claim, but for its whole first word.
const MOST: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_line_claims_whatever_name_it_was_meant_for() {
        let hidden = "\u{feff}".repeat(LONGEST) + "alice permissions";
        assert!(claimed(hidden.as_bytes()).contains(&"alice".to_owned()), "whatever stands in front of it");
        let cases: [(&[u8], &[&str]); 11] = [
            (b"alice permissions", &["alice"]),
            (b"alice,permissions=read", &["alice", "alice,permissions", "alice,permissions=read"]),
            (b"alice:$2y$05$In", &["alice", "alice:$2y$05$In"]),
            ("alice\u{a0}permissions=read".as_bytes(), &["alice"]),
            ("\u{200b}alice x".as_bytes(), &["alice"]),
            ("al\u{202e}ice x".as_bytes(), &["al", "al\u{202e}ice"]),
            (b"\"alice\" x", &["alice"]),
            (b"<bob> x", &["bob", "<bob>"]),
            (b"'", &["'"]),
            (b"andr\xe9 x", &["andr\u{e9}"]),
            (b"", &[]),
        ];
        for (line, names) in cases {
            let claimed = claimed(line);
            assert!(names.iter().all(|name| claimed.iter().any(|claimed| claimed == name)), "{line:?}: {claimed:?}");
        }
    }

    #[test]
    fn names_are_what_they_look_like() {
        for name in ["alice", "-x", "o'brien", "\u{e9}mile", "\u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947}", "a,b+c"] {
            assert!(check(name).is_ok(), "{name:?}");
        }
        let hidden =
            ["al\u{202e}ice", "bob\u{200b}", "\u{feff}bob", "b\u{ad}ob", "b\u{fe0f}ob", "\u{3164}", "\u{e0061}"];
        for name in hidden.into_iter().chain(["", "#a", "@a", "a b", "a:b", "a=b", "a\u{a0}b", "a\u{7f}"]) {
            assert_eq!(check(name), Err(AccountError::BadName), "{name:?}");
        }
    }

    /// Unicode 16's `Default_Ignorable_Code_Point` (DerivedCoreProperties.txt), and what else has no shape: the first and the last of each range, and
    /// nothing beside them.
    #[test]
    fn what_is_not_seen_is_hidden_from_the_first_of_its_range_to_the_last() {
        for (first, last) in [
            (0xad, 0xad),
            (0x34f, 0x34f),
            (0x61c, 0x61c),
            (0x115f, 0x1160),
            (0x17b4, 0x17b5),
            (0x180b, 0x180f),
            (0x200b, 0x200f),
            (0x202a, 0x202e),
            (0x2060, 0x206f),
            (0x2800, 0x2800),
            (0x3164, 0x3164),
            (0xfdd0, 0xfdef),
            (0xfe00, 0xfe0f),
            (0xfeff, 0xfeff),
            (0xffa0, 0xffa0),
            (0xfff0, 0xfffb),
            (0xfffe, 0xffff),
            (0x1bca0, 0x1bca3),
            (0x1d173, 0x1d17a),
            (0xe0000, 0xe0fff),
        ] {
            let is_hidden = |number: u32| char::from_u32(number).is_some_and(is_hidden);
            assert!((first..=last).all(is_hidden), "{first:x}");
            assert!(!is_hidden(first - 1) && !is_hidden(last + 1), "{first:x}");
        }
    }
}
