//! One-time codes of an authenticator: TOTP (RFC 6238), 6 digits of HMAC-SHA-1 every 30 seconds, as all of them show.

use super::account::{Account, front, random};
use super::{AccountError, StoreError};
use crate::crypto::SecretString;
use crate::terms::error::Reason;
use crate::time::{TimeOfDay, UnixTime};
use core::fmt;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use subtle::ConstantTimeEq;
use totp_rs::{Builder, Secret, Totp};
use zeroize::Zeroizing;

/// Seconds of a step: how long a code is shown.
const STEP: u64 = 30;

/// Steps before and after the present one whose codes are taken: a clock may be off, and typing takes time (RFC 6238, section 5.2).
const WINDOW: u64 = 1;

/// Bytes that a secret may have: no fewer than RFC 4226, section 4, asks for, and no more than HMAC's block has.
const LENGTHS: core::ops::RangeInclusive<usize> = 16..=64;

/// Wrong answers in a row that cost nothing.
const FREE: u32 = 5;

/// How long no answer is looked at after [`FREE`] wrong ones; each further one doubles it, up to [`LONGEST`]. Codes of six digits, of
/// which three are good at a time, take years to guess like that.
const FIRST: u64 = 30;

const LONGEST: u64 = 3600;

/// Users that are remembered.
const USERS: usize = 1 << 16;

/// Authenticators of one account that are remembered: with the one before, should it come back.
const OF_ONE: usize = 2;

/// The secret that an authenticator and the server share. Zeroized, never printed.
///
/// ```
/// use countersign::{UnixTime, accounts::TotpSecret};
///
/// let secret = TotpSecret::parse("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").ok_or("not base32")?;
/// // The last six digits of RFC 6238, appendix B.
/// assert_eq!(secret.code(UnixTime::from_secs(59)).as_str(), "287082");
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret(Secret);

impl TotpSecret {
    /// 160 random bits, as RFC 4226 has it.
    ///
    /// # Errors
    /// [`AccountError::Hashing`] where the system gives no randomness.
    pub fn generate() -> Result<Self, AccountError> {
        random::<20, _>(|bytes| Self(Secret::from(bytes.as_slice())))
    }

    /// From base32 without padding (RFC 4648, section 6), of 16 to 64 bytes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let len = text.len().saturating_mul(5) / GROUP;
        if !LENGTHS.contains(&len) {
            return None;
        }
        // Whole groups fill the library's buffer. What does not is copied to a smaller one, and left behind.
        let whole = text.len().next_multiple_of(GROUP);
        let mut groups = Zeroizing::new(String::with_capacity(whole));
        write!(groups, "{text:A<whole$}").ok()?;
        let read = Secret::try_from_base32(groups.as_str()).ok()?;
        let secret = Secret::from(read.as_bytes().get(..len)?);
        let is_canonical = *base32(secret.as_bytes()) == text;
        is_canonical.then_some(Self(secret))
    }

    /// As base32 without padding: for an authenticator that can't read the QR code of the URL.
    pub fn to_base32(&self) -> SecretString {
        SecretString::new(base32(self.0.as_bytes()))
    }

    /// The URL that authenticators read: `otpauth://totp/ISSUER:USER?secret=...`. It names the server and the user, and holds the
    /// secret.
    pub fn url(&self, issuer: &str, user: &str) -> SecretString {
        // Each byte is three characters at most, and the rest has room in 256: growing would leave the secret behind.
        let room = issuer.len().saturating_mul(2).saturating_add(user.len()).saturating_mul(3).saturating_add(256);
        let mut url = Zeroizing::new(String::with_capacity(room));
        let (issuer, user) = (Escaped(issuer), Escaped(user));
        // Writing to a string does not fail.
        let _ = write!(
            url,
            "otpauth://totp/{issuer}:{user}?secret={}&issuer={issuer}&algorithm=SHA1&digits=6&period={STEP}",
            *base32(self.0.as_bytes())
        );
        SecretString::new(url)
    }

    /// The code that an authenticator shows at this time: six digits.
    pub fn code(&self, at: UnixTime) -> SecretString {
        SecretString::new(Zeroizing::new(self.totp().generate(at.as_secs()).to_string()))
    }

    /// Whether this is the code now, or that of a step before or after. For enrolling alone: it does not remember what was used.
    pub fn confirms(&self, code: &[u8], now: UnixTime) -> bool {
        self.steps(&digits(code), now.into()).flatten().count() > 0
    }

    /// The front of its hash, by which it is told from others.
    fn front(&self) -> u64 {
        front(Sha256::new().chain_update(self.0.as_bytes()))
    }

    /// The step that this is the code of, which must be after the `last` one that was used.
    pub(super) fn judge(&self, code: &[u8], time: TimeOfDay, last: u64) -> Result<u64, Reason> {
        // All are computed, whichever it is.
        let found: Vec<Option<u64>> = self.steps(&digits(code), time).collect();
        match found.iter().flatten().max() {
            None => Err(Reason::WrongFactor),
            Some(step) if *step <= last => Err(Reason::FactorUsed),
            Some(step) => Ok(*step),
        }
    }

    /// For each step whose codes are taken, the step, if this is its code.
    fn steps(&self, code: &str, time: TimeOfDay) -> impl Iterator<Item = Option<u64>> {
        let totp = self.totp();
        let near = |now| step_of(now).saturating_sub(WINDOW)..=step_of(now).saturating_add(WINDOW);
        let times = [Some(time.now()), time.otherwise()].into_iter().flatten();
        times.flat_map(near).map(move |step| totp.check(code, step.saturating_mul(STEP)).map(|_| step))
    }

    fn totp(&self) -> Totp {
        Builder::new().with_secret(self.0.clone()).with_step_duration(STEP).with_skew(0).build_noncompliant()
    }
}

crate::opaque_debug!(TotpSecret);

fn step_of(time: UnixTime) -> u64 {
    time.as_secs().checked_div(STEP).unwrap_or(0)
}

/// A step up to which nothing is taken, where it is no further away than codes that are good now. Beyond that it is of a clock that was ahead, and would
/// keep everybody out until it comes: up to the last code of now is enough then.
pub(super) fn at_most_near(step: u64, now: UnixTime) -> u64 {
    step.min(step_of(now).saturating_add(WINDOW))
}

/// Letters of base32 that are whole bytes together, which are five.
const GROUP: usize = 8;

/// In base32 without padding. The library's own buffer for more than five bytes would grow, which leaves a copy behind.
pub(super) fn base32(bytes: &[u8]) -> Zeroizing<String> {
    let len = bytes.len().saturating_mul(GROUP).div_ceil(5);
    let mut letters = Zeroizing::new(String::with_capacity(len.next_multiple_of(GROUP)));
    for chunk in bytes.chunks(5) {
        let mut group = Zeroizing::new([0; 5]);
        group.iter_mut().zip(chunk).for_each(|(slot, byte)| *slot = *byte);
        letters.push_str(&Zeroizing::new(Secret::from(group.as_slice()).to_base32()));
    }
    letters.truncate(len);
    letters
}

/// The digits of a code as it was typed: blanks and dashes between them are not counted.
fn digits(code: &[u8]) -> Zeroizing<String> {
    let mut digits = Zeroizing::new(String::with_capacity(code.len()));
    digits.extend(core::str::from_utf8(code).unwrap_or_default().chars().filter(|c| !matches!(c, ' ' | '-')));
    digits
}

/// Percent-encoded, but for what RFC 3986 leaves as it is everywhere.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.bytes().try_for_each(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => f.write_char(char::from(byte)),
            byte => write!(f, "%{byte:02X}"),
        })
    }
}

/// What is remembered of the answers to an account's second factor: so that a code is good once, and guessing takes years. No part
/// of the account's epoch: a login changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The last step of 30 seconds since 1970 whose code was taken: neither it nor one before it is taken again.
    pub last_step: u64,
    /// Wrong answers since then.
    pub wrong: u32,
    /// Until when none is looked at.
    pub closed_until: UnixTime,
}

impl Answers {
    /// Lets an answer be judged, unless there were too many wrong ones, and remembers the verdict. `judge` is told the last step that
    /// was used, and gives the one that is used now.
    pub(super) fn judge(
        &mut self,
        time: TimeOfDay,
        judge: impl FnOnce(u64) -> Result<u64, Reason>,
    ) -> Result<(), Reason> {
        // Further away than that is no time that was waited for: somebody has set the clock back.
        let now = time.earliest();
        let left = self.closed_until.as_secs().saturating_sub(now.as_secs());
        if (1..=LONGEST).contains(&left) {
            return Err(Reason::FactorLocked);
        }
        let judged = judge(self.last_step);
        *self = match judged {
            Ok(last_step) => Self { last_step, ..Self::default() },
            Err(_) => {
                let wrong = self.wrong.saturating_add(1);
                let closed_until = wait(wrong).map_or(0, |wait| now.as_secs().saturating_add(wait));
                Self { wrong, closed_until: UnixTime::from_secs(closed_until), ..*self }
            }
        };
        judged.map(drop)
    }
}

/// Checks one-time codes, each of which is good once, and counts wrong answers by user.
///
/// It remembers in memory: make one, and keep it. Codes of the 30 seconds in which it was made, and of those before, are refused: an
/// earlier process may have taken them. (Whoever's clock is ahead of the server's may have used the one after them.) Where the clock was ahead when it was
/// made, and has been set right since, those of the next minute are refused instead. Two processes that let in the same users do not know of each other's.
///
/// After 5 wrong answers in a row none is looked at for 30 seconds, and for twice as long after each further one, up to an hour. Only
/// whoever has the password gets that far. What was answered for another secret of the user's is not held against a new one.
///
/// ```
/// use countersign::{Reason, UnixTime, accounts::{TotpCheck, TotpSecret}};
///
/// let (start, later) = (UnixTime::from_secs(1_800_000_000), UnixTime::from_secs(1_800_000_040));
/// let codes = TotpCheck::new(start);
/// let secret = TotpSecret::generate()?; // as it stands in the database
/// let code = secret.code(later);
/// assert_eq!(codes.verify("alice", &secret, code.as_bytes(), later), Ok(()));
/// assert_eq!(codes.verify("alice", &secret, code.as_bytes(), later), Err(Reason::FactorUsed));
/// # Ok::<(), countersign::accounts::AccountError>(())
/// ```
pub struct TotpCheck(Mutex<State>);

struct State {
    /// Codes of this step and those before are not taken of anybody.
    floor: u64,
    /// By name: of which authenticator, the last [`OF_ONE`] of them, and what is remembered of it.
    users: HashMap<String, Vec<(u64, Answers)>>,
}

/// An account's name, and its authenticator: the front of a hash of that's secret. What is remembered of one is not of the next one.
fn whose(account: &Account) -> (&str, u64) {
    (account.name(), account.totp.as_ref().map_or(0, TotpSecret::front))
}

impl Default for TotpCheck {
    fn default() -> Self {
        Self::new(UnixTime::from_system(SystemTime::now()))
    }
}

impl TotpCheck {
    /// Nothing was used since `now`.
    pub fn new(now: UnixTime) -> Self {
        Self(Mutex::new(State { floor: step_of(now), users: HashMap::new() }))
    }

    /// Checks a code, of now or one step of 30 seconds off; blanks and dashes in it are skipped.
    ///
    /// # Errors
    /// [`Reason::WrongFactor`]; [`Reason::FactorUsed`] for a code that was good once, or may have been; [`Reason::FactorLocked`].
    pub fn verify(&self, user: &str, secret: &TotpSecret, code: &[u8], now: UnixTime) -> Result<(), Reason> {
        let (mut state, front) = (self.lock(), secret.front());
        let (mut answers, time) = (state.known((user, front), now), now.into());
        let verdict = answers.judge(time, |last| secret.judge(code, time, last));
        state.put((user, front), answers, now);
        verdict
    }

    /// What is remembered of an account.
    pub(super) fn known(&self, account: &Account, now: UnixTime) -> Answers {
        self.lock().known(whose(account), now)
    }

    /// Remembers of an account that is added what was remembered of it elsewhere.
    pub(super) fn adopt(&self, account: &Account, now: UnixTime) {
        if account.answers != Answers::default() {
            self.lock().put(whose(account), account.answers, now);
        }
    }

    /// Remembers something else of an account that is changed.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where what is remembered is no longer what it was.
    pub(super) fn replace(&self, old: &Account, new: &Account, now: UnixTime) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.known(whose(old), now) != state.floored(old.answers) {
            return Err(StoreError::Conflict);
        }
        if state.known(whose(new), now) != state.floored(new.answers) {
            state.put(whose(new), new.answers, now);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TotpCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TotpCheck").finish_non_exhaustive()
    }
}

/// For how many seconds no answer is looked at after so many wrong ones in a row.
fn wait(wrong: u32) -> Option<u64> {
    let more = wrong.checked_sub(FREE)?;
    Some(FIRST.saturating_mul(1 << more.min(20)).min(LONGEST))
}

/// What is remembered of an authenticator, among an account's.
fn slot(all: &mut [(u64, Answers)], front: u64) -> Option<&mut Answers> {
    all.iter_mut().find(|(of, _)| of.ct_eq(&front).into()).map(|(_, answers)| answers)
}

/// The most wrong answers in a row, and the last step that was used, of an account's authenticators.
fn most(all: &[(u64, Answers)]) -> (u32, u64) {
    all.iter().fold((0, 0), |(wrong, step), (_, user)| (user.wrong.max(wrong), user.last_step.max(step)))
}

impl State {
    fn known(&mut self, (user, front): (&str, u64), now: UnixTime) -> Answers {
        // Of a process that began while the clock was ahead: at the time of another zone, say, until the network was there.
        self.floor = at_most_near(self.floor, now);
        let remembered = self.users.get_mut(user).and_then(|all| slot(all, front)).copied();
        self.floored(remembered.unwrap_or_default())
    }

    fn floored(&self, answers: Answers) -> Answers {
        Answers { last_step: answers.last_step.max(self.floor), ..answers }
    }

    fn put(&mut self, (user, front): (&str, u64), answers: Answers, now: UnixTime) {
        let all = self.users.entry(user.to_owned()).or_default();
        if let Some(remembered) = slot(all, front) {
            *remembered = answers;
        } else {
            if all.len() >= OF_ONE {
                all.remove(0);
            }
            all.push((front, answers));
        }
        self.forget_some(now);
    }

    /// Keeps no more than [`USERS`]. What could still be used again stays refused, whoever is forgotten.
    fn forget_some(&mut self, now: UnixTime) {
        if self.users.len() <= USERS {
            return;
        }
        let present = step_of(now);
        let floor = self.floor.max(present.saturating_sub(WINDOW.saturating_add(1)));
        self.users.retain(|_, all| all.iter().any(|(_, user)| user.last_step > floor || user.wrong > 0));
        while self.users.len() > USERS {
            let first = self.users.iter().min_by_key(|(_, all)| most(all));
            let Some((name, last)) = first.map(|(name, all)| (name.clone(), most(all).1)) else { return };
            self.users.remove(&name);
            self.floor = self.floor.max(last);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Somebody who could have a code taken twice is not forgotten without a trace.
    #[test]
    fn what_is_forgotten_stays_refused() {
        // With fewer, a crowd would have honest codes refused as used.
        assert_eq!(USERS, 65_536);
        let start = UnixTime::from_secs(1_800_000_000);
        let later = UnixTime::from_secs(1_800_000_060);
        let (codes, secret) = (TotpCheck::new(start), TotpSecret::generate().unwrap());
        let code = secret.code(later);
        let guess = || codes.verify("guessed at", &secret, b"no code", later);
        assert!((0..FREE).all(|_| guess() == Err(Reason::WrongFactor)));
        for user in 0..USERS {
            codes.verify(&user.to_string(), &secret, code.as_bytes(), later).unwrap();
        }
        assert_eq!(codes.lock().users.len(), USERS);
        assert_eq!(guess(), Err(Reason::FactorLocked), "whoever guesses goes on to wait");
        for user in [0, 1, USERS / 2, USERS - 1] {
            let again = codes.verify(&user.to_string(), &secret, code.as_bytes(), later);
            assert_eq!(again, Err(Reason::FactorUsed));
        }
        // Those whom nothing needs to be remembered of go first.
        let much_later = UnixTime::from_secs(1_800_000_300);
        codes.verify("another", &secret, secret.code(much_later).as_bytes(), much_later).unwrap();
        assert!(codes.lock().users.len() < 10);
    }

    #[test]
    fn of_one_account_two_authenticators_are_remembered_whoever_enrols_how_many() {
        let (start, later) = (UnixTime::from_secs(1_800_000_000), UnixTime::from_secs(1_800_000_060));
        let codes = TotpCheck::new(start);
        let secrets: Vec<TotpSecret> = (0..10).map(|_| TotpSecret::generate().unwrap()).collect();
        let show = |secret: &TotpSecret| codes.verify("alice", secret, secret.code(later).as_bytes(), later);
        assert!(secrets.iter().all(|secret| show(secret).is_ok()), "each begins anew");
        assert_eq!(codes.lock().users.values().map(Vec::len).collect::<Vec<_>>(), [2]);
        // The one before the last may come back: with a copy of the file, say.
        let used: Vec<_> = secrets.iter().rev().take(2).map(show).collect();
        assert_eq!(used, [Err(Reason::FactorUsed), Err(Reason::FactorUsed)]);
    }
}
