//! The second factor of an account: an authenticator, and codes for the day on which it is lost.

use super::line::{Account, hash_token};
use super::{AccountError, Accounts, TotpCheck, TotpSecret};
use crate::crypto::SecretString;
use crate::limits;
use crate::terms::credential::CredentialKind;
use crate::terms::error::Reason;
use crate::terms::factor::{Form, Prompt};
use crate::terms::grant::Grant;
use crate::time::UnixTime;
use rand::TryRng;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use totp_rs::Secret;
use zeroize::Zeroizing;

/// Recovery codes that are issued at once.
const CODES: usize = 10;

/// Random bytes of a recovery code: 100 bits would do, since only their hashes are stored; 120 are whole groups of base32.
const CODE: usize = 15;

/// Characters of a code between two dashes.
const GROUP: usize = 4;

/// What is remembered of second factors: of codes that were used, and of wrong ones.
#[derive(Default)]
pub(super) struct Memory {
    codes: TotpCheck,
    /// Recovery codes that were used, as long as nothing else keeps them from being used again.
    used: Mutex<HashSet<[u8; 32]>>,
}

impl Memory {
    fn use_up(&self, code: [u8; 32]) -> bool {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(code)
    }
}

/// What an account's second factor was shown to be.
pub(super) enum Shown {
    /// The authenticator's code.
    Code,
    /// The recovery code of this hash, which is to be used up.
    Recovery([u8; 32]),
}

impl Account {
    /// Whether a second factor is set: one-time codes of an authenticator.
    pub fn has_totp(&self) -> bool {
        self.totp.is_some()
    }

    /// How many recovery codes are left.
    pub fn recovery_codes(&self) -> usize {
        self.recovery.len()
    }
}

impl Accounts {
    /// Sets a user's second factor: from now on passwords and keys need a code of the authenticator, too. Tokens don't: a machine has
    /// no authenticator. Takes the recovery codes of an earlier one away.
    ///
    /// # Errors
    /// [`AccountError::Unknown`], [`AccountError::Broken`].
    pub fn set_totp(&mut self, name: &str, secret: &TotpSecret) -> Result<(), AccountError> {
        let account = self.get_mut(name)?;
        (account.totp, account.recovery) = (Some(secret.clone()), Vec::new());
        Ok(())
    }

    /// Takes a user's second factor away, with the recovery codes. Gives whether there was one.
    ///
    /// # Errors
    /// [`AccountError::Unknown`], [`AccountError::Broken`].
    pub fn remove_totp(&mut self, name: &str) -> Result<bool, AccountError> {
        if !self.find(name)?.has_totp() {
            return Ok(false);
        }
        let account = self.get_mut(name)?;
        (account.totp, account.recovery) = (None, Vec::new());
        Ok(true)
    }

    /// Gives a user 10 recovery codes of 120 random bits, in the place of those before: each takes the place of an authenticator's
    /// code, once. They are returned this once and stored only as hashes.
    ///
    /// # Errors
    /// [`AccountError::NoTotp`] without a second factor, and others.
    pub fn issue_recovery_codes(&mut self, name: &str) -> Result<Vec<SecretString>, AccountError> {
        if !self.find(name)?.has_totp() {
            return Err(AccountError::NoTotp(name.to_owned()));
        }
        let codes: Result<Vec<_>, AccountError> = (0..CODES).map(|_| recovery_code()).collect();
        let codes = codes?;
        self.get_mut(name)?.recovery = codes.iter().map(|code| hash_of(code.as_bytes())).collect();
        Ok(codes)
    }

    /// Uses a recovery code up. Gives whether there was such a one.
    pub(super) fn use_recovery_code(&mut self, name: &str, hash: &[u8; 32]) -> Result<bool, AccountError> {
        if !self.find(name)?.recovery.contains(hash) {
            return Ok(false);
        }
        self.get_mut(name)?.recovery.retain(|left| left != hash);
        Ok(true)
    }

    /// What is needed beside a good credential of this kind, after so many further factors: a code, where the account has a second
    /// factor, and the credential was no token.
    pub fn next_factor(&self, grant: &Grant, kind: CredentialKind, step: usize) -> Option<Prompt> {
        let has_totp = self.get(grant.principal()).is_some_and(Account::has_totp);
        let is_needed = has_totp && kind != CredentialKind::Token && step == 0;
        // It always is a prompt.
        is_needed.then(|| Prompt::new(Form::Code, "Code of your authenticator, or a recovery code").ok()).flatten()
    }

    /// Checks the answer for a second factor: a code of the authenticator, or a recovery code, each good once. `grant` is what
    /// [`Accounts::check`] gave before; where the account has changed since, no answer is good.
    ///
    /// What was used is remembered as [`super::TotpCheck`] does, in memory; recovery codes, too.
    ///
    /// # Errors
    /// The local reason for a refusal.
    pub fn check_answer(&self, grant: &Grant, answer: &[u8], now: UnixTime) -> Result<(), Reason> {
        match self.judge(grant, answer, now)? {
            Shown::Code => Ok(()),
            Shown::Recovery(hash) if self.factors.use_up(hash) => Ok(()),
            Shown::Recovery(_) => Err(Reason::FactorUsed),
        }
    }

    pub(super) fn judge(&self, grant: &Grant, answer: &[u8], now: UnixTime) -> Result<Shown, Reason> {
        let account = self.get(grant.principal()).ok_or(Reason::UnknownUser)?;
        if account.admit(now)?.epoch() != grant.epoch() {
            return Err(Reason::Application("the account has changed since its credential was checked"));
        }
        let Some(secret) = &account.totp else { return Err(Reason::WrongFactor) };
        let hash = hash_of(answer);
        if account.recovery.contains(&hash) {
            self.factors.codes.attempt(account.name(), now, Ok)?;
            return Ok(Shown::Recovery(hash));
        }
        self.factors.codes.verify(account.name(), secret, answer, now)?;
        Ok(Shown::Code)
    }
}

const _: () = assert!(CODES <= limits::MAX_RECOVERY_CODES);

/// `abcd-efgh-...`, in base32.
fn recovery_code() -> Result<SecretString, AccountError> {
    let mut bytes = Zeroizing::new([0; CODE]);
    rand::rngs::SysRng.try_fill_bytes(bytes.as_mut_slice()).map_err(|_| AccountError::Hashing)?;
    let base32 = Zeroizing::new(Secret::from(bytes.as_slice()).to_base32());
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
