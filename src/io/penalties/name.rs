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
}
