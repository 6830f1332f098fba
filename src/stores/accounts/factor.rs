//! The second factor of an account: an authenticator, and codes for the day on which it is lost.

use super::account::{Account, random};
use super::line::hash_token;
use super::totp;
use super::{AccountError, Answers, TotpSecret};
use crate::crypto::SecretString;
use crate::limits;
use crate::terms::credential::CredentialKind;
use crate::terms::error::Reason;
use crate::terms::factor::{Form, Prompt};
use crate::time::TimeOfDay;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// Recovery codes that are issued at once.
const CODES: usize = 10;

/// Random bytes of a recovery code: 100 bits would do, since only their hashes are stored; 120 are whole groups of base32.
const CODE: usize = 15;

/// Characters of a code between two dashes.
const GROUP: usize = 4;

impl Account {
    /// Sets the second factor: from now on passwords and keys need a code of the authenticator, too. Tokens don't: a machine has
    /// no authenticator. Takes the recovery codes of an earlier one away, and forgets which of its codes were used, unless it is the same.
    pub fn set_totp(&mut self, secret: &TotpSecret) {
        if self.totp.as_ref() != Some(secret) {
            self.answers = Answers::default();
        }
        (self.totp, self.recovery) = (Some(secret.clone()), Vec::new());
    }

    /// Takes the second factor away, with the recovery codes. Gives whether there was one.
    pub fn remove_totp(&mut self) -> bool {
        self.recovery = Vec::new();
        self.totp.take().is_some()
    }

    /// Issues 10 recovery codes of 120 random bits, in the place of those before: each takes the place of an authenticator's
    /// code, once. They are returned this once and stored only as hashes.
    ///
    /// # Errors
    /// [`AccountError::NoTotp`] without a second factor, and others.
    pub fn issue_recovery_codes(&mut self) -> Result<Vec<SecretString>, AccountError> {
        if !self.has_totp() {
            return Err(AccountError::NoTotp(self.name().to_owned()));
        }
        let codes: Result<Vec<_>, AccountError> = (0..CODES).map(|_| recovery_code()).collect();
        let codes = codes?;
        self.recovery = codes.iter().map(|code| hash_of(code.as_bytes())).collect();
        Ok(codes)
    }

    /// What is needed beside a good credential of this kind, after so many further factors: a code, where the account has a second
    /// factor, and the credential was no token.
    pub(super) fn next_factor(&self, kind: CredentialKind, step: usize) -> Option<Prompt> {
        let is_needed = self.has_totp() && kind != CredentialKind::Token && step == 0;
        // It always is a prompt.
        is_needed.then(|| Prompt::new(Form::Code, "Code of your authenticator, or a recovery code").ok()).flatten()
    }

    /// Judges an answer: a code of the authenticator, or a recovery code, each good once. What is to be remembered of it, and that
    /// a recovery code is used up, is then in the account: it counts when the store has taken that.
    pub(super) fn judge(&mut self, answer: &[u8], time: TimeOfDay) -> Result<(), Reason> {
        let Some(secret) = &self.totp else { return Err(Reason::WrongFactor) };
        let hash = hash_of(answer);
        let is_recovery = bool::from(is_among(&self.recovery, &hash));
        let judge = |last| {
            if is_recovery { Ok(totp::at_most_near(last, time.now())) } else { secret.judge(answer, time, last) }
        };
        self.answers.judge(time, judge)?;
        self.recovery.retain(|code| !bool::from(code.ct_eq(&hash)));
        Ok(())
    }
}

const _: () = assert!(CODES <= limits::MAX_RECOVERY_CODES);

/// Whether this is the hash of one of the codes. Each is compared, to its end: how many bytes of a hash are right is nobody's business. Apart from what
/// follows from it: that may branch, and the comparison may not (`benches/memcheck.txt`).
fn is_among(codes: &[[u8; 32]], hash: &[u8; 32]) -> Choice {
    codes.iter().fold(Choice::from(0), |found, code| found | code.ct_eq(hash))
}

/// `abcd-efgh-...`, in base32.
fn recovery_code() -> Result<SecretString, AccountError> {
    let base32 = random::<CODE, _>(|bytes| totp::base32(bytes.as_slice()))?;
    let mut code = Zeroizing::new(String::with_capacity(base32.len().saturating_mul(2)));
    for (at, letter) in base32.chars().enumerate() {
        if at > 0 && at % GROUP == 0 {
            code.push('-');
        }
        code.push(letter.to_ascii_lowercase());
    }
    Ok(SecretString::new(code))
}

/// Of a code as it was typed: blanks and dashes are not counted, and letters may be large.
fn hash_of(code: &[u8]) -> [u8; 32] {
    let mut letters = Zeroizing::new(Vec::with_capacity(code.len()));
    letters.extend(code.iter().filter(|byte| !matches!(byte, b' ' | b'-')).map(u8::to_ascii_lowercase));
    hash_token(&letters)
}
