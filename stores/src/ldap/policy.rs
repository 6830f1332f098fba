//! What a directory says of an account beside whether its password is right.

use countersign::Reason;
use ldap3::LdapResult;
use ldap3::controls::RawControl;

/// Password policies, draft-behera-ldap-password-policy.
const POLICY: &str = "1.3.6.1.4.1.42.2.27.8.5.1";

/// Asks the directory to say more than yes or no.
pub(super) fn asked() -> RawControl {
    RawControl { ctype: POLICY.to_owned(), crit: false, val: None }
}

/// What a password policy says beside the answer to a bind.
fn stated(answer: &LdapResult) -> Option<u8> {
    let control = answer.ctrls.iter().find(|control| control.1.ctype == POLICY)?;
    error_of(control.1.val.as_deref()?)
}

/// Whether the answer to a bind is one that is given of an account that there is: in a policy's own words, and not by a code that may mean anything.
pub(super) fn knows_account(answer: &LdapResult) -> bool {
    stated(answer).is_some() || answer.rc == 49 && active_directory(&answer.text) != Reason::WrongPassword
}

/// What the answer to a bind means.
pub(super) fn verdict(answer: &LdapResult) -> Result<(), Reason> {
    match (answer.rc, stated(answer)) {
        // Good, but only to set another one.
        (0, Some(PASSWORD_EXPIRED | CHANGE_AFTER_RESET)) => Err(Reason::AccountExpired),
        (0, Some(ACCOUNT_LOCKED)) => Err(Reason::AccountLocked),
        (0, _) => Ok(()),
        (49, Some(PASSWORD_EXPIRED | CHANGE_AFTER_RESET)) => Err(Reason::AccountExpired),
        (49, Some(ACCOUNT_LOCKED)) => Err(Reason::AccountLocked),
        (49, _) => Err(active_directory(&answer.text)),
        // There is no entry of that name, or none can have it.
        (32 | 34, _) => Err(Reason::UnknownUser),
        // Too many wrong ones (389 Directory Server).
        (19, _) => Err(Reason::AccountLocked),
        // Deactivated (389), or not now, for this one.
        (53, _) => Err(Reason::AccountDisabled),
        (code, _) => Err(away(code)),
    }
}

/// Anything that is no answer must not look like a wrong password.
pub(super) fn away(code: u32) -> Reason {
    Reason::NotNow(trouble(code))
}

pub(super) fn trouble(code: u32) -> &'static str {
    match code {
        3 | 51 | 52 => "the directory is busy or not available",
        8 | 13 => "the directory wants an encrypted connection",
        10 => "the directory refers to another one, which is not followed",
        49 | 50 => "the directory does not let the service account in, or not that far",
        _ => "the directory answers with an error",
    }
}

/// Whether the same question may have another answer in a while: it was busy, not available, or went wrong.
pub(super) fn may_pass(code: u32) -> bool {
    [1, 3, 51, 52, 80].contains(&code)
}

const PASSWORD_EXPIRED: u8 = 0;
const ACCOUNT_LOCKED: u8 = 1;
const CHANGE_AFTER_RESET: u8 = 2;

/// `SEQUENCE { warning [0] .. OPTIONAL, error [1] ENUMERATED OPTIONAL }`, of which all lengths are short.
fn error_of(value: &[u8]) -> Option<u8> {
    let [0x30, _, rest @ ..] = value else { return None };
    let mut rest = rest;
    while let [tag, length, after @ ..] = rest {
        let (content, next) = after.split_at_checked(usize::from(*length))?;
        if *tag == 0x81 {
            return content.first().copied();
        }
        rest = next;
    }
    None
}

/// `80090308: LdapErr: DSID-0C09042A, comment: AcceptSecurityContext error, data 533, v3839`
fn active_directory(text: &str) -> Reason {
    let code = text.split_once(", data ").and_then(|(_, rest)| rest.split([',', ' ']).next());
    match code {
        Some("525") => Reason::UnknownUser,
        Some("533") => Reason::AccountDisabled,
        Some("701" | "532" | "773") => Reason::AccountExpired,
        Some("775") => Reason::AccountLocked,
        Some("530" | "531") => Reason::NetworkNotAdmitted,
        _ => Reason::WrongPassword,
    }
}

#[cfg(test)]
mod tests {
    use super::{POLICY, active_directory, error_of, may_pass, verdict};
    use countersign::Reason;
    use ldap3::LdapResult;
    use ldap3::controls::{Control, RawControl};

    fn answer(rc: u32, text: &str) -> LdapResult {
        LdapResult { rc, matched: String::new(), text: text.to_owned(), refs: Vec::new(), ctrls: Vec::new() }
    }

    #[test]
    fn only_an_answer_about_the_password_is_one() {
        assert_eq!(verdict(&answer(49, "")), Err(Reason::WrongPassword));
        for code in [1, 2, 3, 8, 10, 11, 13, 48, 50, 51, 52, 54, 80, 81, 4096] {
            assert!(matches!(verdict(&answer(code, "")), Err(Reason::NotNow(_))), "{code}");
        }
    }

    /// Whatever else a directory says keeps a server from starting, and is no guess where a password was sent.
    #[test]
    fn what_may_be_otherwise_in_a_while_is_told_from_what_will_not() {
        let passing: Vec<u32> = (0..128).filter(|code| may_pass(*code)).collect();
        // Operations error, time limit exceeded, busy, unavailable, other.
        assert_eq!(passing, [1, 3, 51, 52, 80]);
    }

    #[test]
    fn what_active_directory_says_is_told_apart() {
        let text = |code| {
            format!("80090308: LdapErr: DSID-0C09042A, comment: AcceptSecurityContext error, data {code}, v3839")
        };
        for (code, reason) in [
            ("525", Reason::UnknownUser),
            ("52e", Reason::WrongPassword),
            ("530", Reason::NetworkNotAdmitted),
            ("531", Reason::NetworkNotAdmitted),
            ("532", Reason::AccountExpired),
            ("533", Reason::AccountDisabled),
            ("701", Reason::AccountExpired),
            ("775", Reason::AccountLocked),
            ("773", Reason::AccountExpired),
            ("", Reason::WrongPassword),
        ] {
            assert_eq!(active_directory(&text(code)), reason, "{code}");
        }
    }

    #[test]
    fn what_a_policy_says_counts_beside_a_yes_and_a_no() {
        use Reason::{AccountExpired, AccountLocked, WrongPassword};
        for (said, error, after_yes, after_no) in [
            ("passwordExpired", &[0x81, 1, 0][..], Err(AccountExpired), AccountExpired),
            ("accountLocked", &[0x81, 1, 1], Err(AccountLocked), AccountLocked),
            ("changeAfterReset", &[0x81, 1, 2], Err(AccountExpired), AccountExpired),
            ("insufficientPasswordQuality", &[0x81, 1, 5], Ok(()), WrongPassword),
            // Warnings are none of these, whatever number is in them.
            ("timeBeforeExpiration", &[0xa0, 3, 0x80, 1, 1], Ok(()), WrongPassword),
            ("graceAuthNsRemaining", &[0xa0, 3, 0x81, 1, 0], Ok(()), WrongPassword),
            ("a warning, and an error", &[0xa0, 3, 0x81, 1, 5, 0x81, 1, 0], Err(AccountExpired), AccountExpired),
            ("nothing", &[], Ok(()), WrongPassword),
        ] {
            let said_with = |rc, kind: &str| {
                let len = u8::try_from(error.len()).unwrap_or(u8::MAX);
                let value = [&[0x30, len][..], error].concat();
                let control = RawControl { ctype: kind.to_owned(), crit: false, val: Some(value) };
                verdict(&LdapResult { ctrls: vec![Control(None, control)], ..answer(rc, "") })
            };
            assert_eq!((said_with(0, POLICY), said_with(49, POLICY)), (after_yes, Err(after_no)), "{said}");
            assert_eq!((said_with(0, "1.2.3"), said_with(49, "1.2.3")), (Ok(()), Err(WrongPassword)), "not a policy's");
        }
        let without_value = RawControl { ctype: POLICY.to_owned(), crit: false, val: None };
        let answer = LdapResult { ctrls: vec![Control(None, without_value)], ..answer(0, "") };
        assert_eq!(verdict(&answer), Ok(()));
    }

    #[test]
    fn codes_of_the_answer_that_are_about_the_account_are_refusals() {
        for (code, reason) in [
            (32, Reason::UnknownUser),
            (34, Reason::UnknownUser),
            (19, Reason::AccountLocked),
            (53, Reason::AccountDisabled),
        ] {
            assert_eq!(verdict(&answer(code, "")), Err(reason), "{code}");
        }
    }

    #[test]
    fn a_policys_answer_is_read_and_a_broken_one_is_none() {
        assert_eq!(error_of(&[0x30, 3, 0x81, 1, 1]), Some(1));
        assert_eq!(error_of(&[0x30, 8, 0xa0, 3, 0x80, 1, 5, 0x81, 1, 2]), Some(2));
        for broken in [&[][..], &[0x30], &[0x30, 0], &[0x30, 3, 0x81, 200, 1], &[0x30, 3, 0xa0, 3, 0x80], &[0x81, 1, 1]]
        {
            assert_eq!(error_of(broken), None, "{broken:?}");
        }
    }
}
