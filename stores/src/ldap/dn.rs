//! Distinguished names and filters: what a user types is text in them, and nothing else.

use ldap3::{dn_escape, ldap_escape};

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

/// A distinguished name as it is compared: directories write the same one in upper or lower case, and with blanks after commas or without.
pub(super) fn normal(dn: &str) -> String {
    let mut normal = String::with_capacity(dn.len());
    let (mut is_escaped, mut follows_separator) = (false, true);
    for c in dn.trim().chars().flat_map(char::to_lowercase) {
        if c == ' ' && follows_separator {
            continue;
        }
        follows_separator = [',', '=', '+'].contains(&c) && !is_escaped;
        if follows_separator {
            while normal.ends_with(' ') && !normal.ends_with("\\ ") {
                normal.pop();
            }
        }
        is_escaped = c == '\\' && !is_escaped;
        normal.push(c);
    }
    normal
}

#[cfg(test)]
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
    }
}
