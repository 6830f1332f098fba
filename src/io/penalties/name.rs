//! What a name is counted by.

use std::sync::Arc;

/// What is the same for all ways to write a name that a store may take for one: or whoever guesses has a fresh count for each of them. Directories tell
/// neither upper from lower case nor one space from several, and see no characters that nobody sees (RFC 4518, sections 2.2 and 2.6.1).
/// Compatibility forms, such as full-width letters, stay names of their own.
///
/// A name that was not opened, or of a token, is none.
pub(super) fn name(user: &str) -> Option<Arc<str>> {
    let visible: String = user.chars().filter(|character| !is_ignored(*character)).collect();
    let words: Vec<_> = visible.split_whitespace().collect();
    let name = words.join(" ").to_lowercase();
    (!name.is_empty()).then(|| name.into())
}

/// A name as it is written: what a good login gives is good for that one. Others may be another's account, who would have a say in what may be
/// guessed at this one.
pub(super) fn exact(user: &str) -> Option<Arc<str>> {
    name(user).map(|_| user.into())
}

/// What RFC 4518, section 2.2, maps to nothing.
fn is_ignored(character: char) -> bool {
    (character.is_control() && !character.is_whitespace())
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{1806}'
                | '\u{180b}'..='\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffc}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0001}'
                | '\u{e0020}'..='\u{e007f}'
        )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_however_it_is_written() {
        let ways = [
            "Alice Smith",
            "alice  smith",
            " alice\tSMITH\r\n",
            "alice\u{a0}\u{2003}smith",
            "al\u{200b}ice\u{feff} \0smi\u{ad}th",
        ];
        for way in ways {
            assert_eq!(&*name(way).unwrap(), "alice smith", "{way:?}");
        }
        for other in ["alicesmith", "alice.smith", "alice smyth", "\u{e4}lice smith"] {
            assert_ne!(name(other).unwrap(), name("alice smith").unwrap());
        }
        for none in ["", " ", "\t\u{200b} "] {
            assert!(name(none).is_none(), "{none:?}");
        }
    }

    /// RFC 4518, section 2.2, and its list, here once more.
    #[test]
    fn what_a_directory_does_not_see_is_seen_from_the_first_of_its_range_to_the_last() {
        let ranges: [(u32, u32); 20] = [
            (0x00, 0x08),
            (0x0e, 0x1f),
            (0x7f, 0x84),
            (0x86, 0x9f),
            (0xad, 0xad),
            (0x34f, 0x34f),
            (0x1806, 0x1806),
            (0x180b, 0x180e),
            (0x200b, 0x200f),
            (0x202a, 0x202e),
            (0x2060, 0x2063),
            (0x206a, 0x206f),
            (0xfe00, 0xfe0f),
            (0xfeff, 0xfeff),
            (0xfff9, 0xfffb),
            (0xfffc, 0xfffc),
            (0x1d173, 0x1d17a),
            (0xe0001, 0xe0001),
            (0xe0020, 0xe0041),
            (0xe0042, 0xe007f),
        ];
        for character in ranges.into_iter().flat_map(|(first, last)| first..=last).filter_map(char::from_u32) {
            assert_eq!(name(&format!("al{character}ice")).as_deref(), Some("alice"), "{character:?}");
        }
        // Just beside them.
        for other in [0xac, 0xae, 0x34e, 0x350, 0x1805, 0x1807, 0x180a, 0x180f, 0x2010, 0x2070, 0xfdff, 0xfe10, 0xfff8]
        {
            let other = char::from_u32(other).unwrap();
            assert_ne!(name(&format!("al{other}ice")).as_deref(), Some("alice"), "{other:?}");
        }
    }
}
