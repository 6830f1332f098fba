//! Distinguished names and filters: what a user types is text in them, and nothing else.

use ldap3::{dn_escape, ldap_escape};
use std::fmt::Write;

/// Puts a name into a template of a distinguished name (RFC 4514).
pub(super) fn named(template: &str, user: &str) -> String {
    template.replace(super::config::USER, &dn_escape(user))
}

/// Puts values into a filter (RFC 4515). What was put in is not looked through again.
pub(super) fn filter(template: &str, user: &str, dn: &str) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        let value = [(super::config::USER, user), ("{dn}", dn)].into_iter().find(|(name, _)| from.starts_with(name));
        let used = if let Some((name, value)) = value {
            filled.push_str(&ldap_escape(value));
            name.len()
        } else {
            filled.push('{');
            1
        };
        rest = from.get(used..).unwrap_or_default();
    }
    filled.push_str(rest);
    filled
}

/// A distinguished name as it is compared (RFC 4514): directories write the same one in upper or lower case, with blanks after commas or without, and
/// what is escaped in one way or the other.
pub(super) fn normal(dn: &str) -> String {
    let mut normal = String::with_capacity(dn.len());
    let (mut part, mut is_value) = (Vec::new(), false);
    let mut rest = dn.as_bytes();
    while let Some((byte, after)) = next(rest) {
        rest = after;
        let ends = match byte {
            Byte::Plain(b',' | b'+') => true,
            // Another one is of the value.
            Byte::Plain(b'=') => !is_value,
            _ => false,
        };
        if let (true, Byte::Plain(separator)) = (ends, byte) {
            write(&mut normal, &part);
            part.clear();
            normal.push(char::from(separator));
            is_value = separator == b'=';
        } else {
            part.push(byte);
        }
    }
    write(&mut normal, &part);
    normal
}

/// A byte of a name, and whether it could have been a sign as it stood there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Byte {
    Plain(u8),
    Escaped(u8),
}

impl Byte {
    fn value(self) -> u8 {
        match self {
            Self::Plain(byte) | Self::Escaped(byte) => byte,
        }
    }
}

fn next(text: &[u8]) -> Option<(Byte, &[u8])> {
    Some(match text {
        [] => return None,
        [b'\\', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            (Byte::Escaped(hex(*high) << 4 | hex(*low)), rest)
        }
        [b'\\', byte, rest @ ..] => (Byte::Escaped(*byte), rest),
        [b'\\'] => (Byte::Escaped(b'\\'), &[]),
        [byte, rest @ ..] => (Byte::Plain(*byte), rest),
    })
}

fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or_default()
}

/// Writes what is between two separators, in the one form of it.
fn write(normal: &mut String, mut part: &[Byte]) {
    while let [Byte::Plain(b' '), rest @ ..] | [rest @ .., Byte::Plain(b' ')] = part {
        part = rest;
    }
    // What begins with it, unescaped, is no text.
    let is_text = part.first() != Some(&Byte::Plain(b'#'));
    let bytes: Vec<u8> = part.iter().map(|byte| byte.value()).collect();
    let begin = normal.len();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars().flat_map(char::to_lowercase) {
            let is_first = normal.len() == begin;
            match c {
                ',' | '+' | '=' | '"' | '\\' | '<' | '>' | ';' => escape(normal, c.encode_utf8(&mut [0; 4]).as_bytes()),
                '#' if is_first && is_text => escape(normal, b"#"),
                ' ' if is_first => escape(normal, b" "),
                c => normal.push(c),
            }
        }
        escape(normal, chunk.invalid());
    }
    if normal.len() > begin && normal.ends_with(' ') {
        normal.pop();
        escape(normal, b" ");
    }
}

fn escape(normal: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(normal, "\\{byte:02x}");
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::{filter, named, normal};

    #[test]
    fn what_a_user_types_stays_a_value() {
        let template = "uid={user},ou=people,dc=example";
        assert_eq!(named(template, "alice"), "uid=alice,ou=people,dc=example");
        assert_eq!(named(template, "alice,ou=chiefs"), "uid=alice\\2cou\\3dchiefs,ou=people,dc=example");
        for odd in ["a+b", "#a", "a\"b", "a\\b", "a<b>", "a;b", "a=b"] {
            let dn = named(template, odd);
            let value = dn.strip_prefix("uid=").and_then(|rest| rest.strip_suffix(",ou=people,dc=example"));
            let value = value.unwrap_or_default();
            assert!(!value.is_empty() && !value.contains(['+', '"', '<', '>', ';', '=', '#']), "{dn}");
        }
        assert_eq!(filter("(uid={user})", "*", ""), "(uid=\\2a)");
        assert_eq!(filter("(uid={user})", "a)(uid=*", ""), "(uid=a\\29\\28uid=\\2a)");
        assert_eq!(filter("(|(member={dn})(memberUid={user}))", "{dn}", "cn=x"), "(|(member=cn=x)(memberUid={dn}))");
        assert_eq!(filter("(a={other}{user})", "b", ""), "(a={other}b)");
    }

    #[test]
    fn names_are_compared_as_directories_do() {
        assert_eq!(normal("CN=Chiefs, OU = Groups,dc=Example"), normal("cn=chiefs,ou=groups,DC=example"));
        assert_ne!(normal("cn=a\\, b,dc=x"), normal("cn=a\\,b,dc=x"));
        assert_ne!(normal("cn=a b,dc=x"), normal("cn=ab,dc=x"));
        assert_eq!(normal("cn=a=b , ou = x = y,dc=z"), normal("CN=a\\3Db,ou=x \\= y,dc=z"));
    }

    #[test]
    fn a_name_is_the_same_however_it_is_escaped() {
        for same in [
            &["cn=Smith\\, John,dc=x", "cn=Smith\\2C John,dc=x", "cn=smith\\2c john, dc=x"][..],
            &["cn=M\u{fc}ller,dc=x", "cn=M\\C3\\BCller,dc=x", "cn=m\\c3\\9cller,dc=x", "cn=M\u{dc}LLER,dc=x"],
            &["cn=a\\+b\\\"c\\\\d\\<e\\>f\\;g,dc=x", "cn=a\\2Bb\\22c\\5Cd\\3Ce\\3Ef\\3Bg,dc=x"],
            &["cn=\\ a\\ ,dc=x", "cn=\\20a\\20,dc=x", "cn= \\20a\\ , dc=x"],
            &["cn=\\#a,dc=x", "cn=\\23a,dc=x"],
            &["cn=\\61\\ b,dc=x", "cn=a b,dc=x", "cn=A\\20b,dc=x"],
            // Bytes that are no text.
            &["cn=\\ff\\00,dc=x", "cn=\\FF\\00,dc=x"],
        ] {
            for name in same {
                assert_eq!(normal(name), normal(same[0]), "{name}");
            }
        }
        for (one, other) in [
            ("cn=a\\,b=c,dc=x", "cn=a,b=c,dc=x"),
            ("cn=a\\2cb=c,dc=x", "cn=a,b=c,dc=x"),
            ("cn=a\\+b=c,dc=x", "cn=a+b=c,dc=x"),
            ("cn=#61,dc=x", "cn=\\#61,dc=x"),
            ("cn=\\ a,dc=x", "cn=a,dc=x"),
            ("cn=a\\20,dc=x", "cn=a,dc=x"),
            ("cn=\\5c2c,dc=x", "cn=\\2c,dc=x"),
            ("cn=\\ff,dc=x", "cn=\\fe,dc=x"),
            ("cn=\\ff,dc=x", "cn=\\5cff,dc=x"),
        ] {
            assert_ne!(normal(one), normal(other), "{one} {other}");
        }
        assert_eq!(normal("cn=a\\"), normal("cn=a\\5c"));
    }
}
