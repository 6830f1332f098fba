//! Bytes as stored passwords, of this and of other programs.
//!
//! ```text
//! input = a password (1) || what is stored of it
//! ```
//!
//! A hash is taken only within bounds of what it costs, read here from its text by other means; one that is taken can be computed; and
//! a password is good for a hash only with an output that was made of it.

use crate::memory;
use countersign::Reason;
use countersign::accounts::{Account, PasswordCheck};
use std::sync::LazyLock;

/// What programs have stored: password and hash.
pub(crate) static STORED: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let lines = include_str!("../../tests/password_formats/hashes.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('\t')?.1.split_once('\t')).collect()
});

/// Gives 1 if it is a hash, and 2 if it was computed.
pub fn run(data: &[u8]) -> usize {
    let Some((which, stored)) = data.split_first() else { return 0 };
    let Ok(stored) = str::from_utf8(stored) else { return 0 };
    let mut account = Account::new("alice", [""; 0]).unwrap();
    let taken = memory::within(64 << 10, || account.set_password_hash(stored)).is_ok();
    let check = memory::within(64 << 10, || PasswordCheck::imitating([stored]));
    assert_eq!(check.is_ok(), taken, "a hash is one everywhere, or nowhere");
    let Ok(check) = check else {
        assert!(!PasswordCheck::needs_upgrade(stored));
        return 0;
    };
    let cost = Cost::of(stored);
    cost.check(stored);
    // As cheap as those of the seeds: nobody waits here for others.
    if cost.work > 1 << 18 || cost.memory > 4 << 20 {
        return 1;
    }
    let (password, _) = STORED[usize::from(*which) % STORED.len()];
    let budget = 2 * cost.memory + (256 << 10);
    let verified = memory::within(budget, || check.verify("alice", password.as_bytes(), Some(stored)));
    match verified {
        Ok(()) => {
            let is_output = |(of, genuine): &(&str, &str)| {
                looked_at(of, stored) == looked_at(password, stored) && shares_output(stored, genuine)
            };
            assert!(STORED.iter().any(is_output), "{password:?} is not what {stored} was made of");
        }
        Err(reason) => {
            assert_eq!(reason, Reason::WrongPassword, "a hash that was taken can't be computed: {stored}");
            let is_it = |known: &&(&str, &str)| **known == (password, stored);
            assert!(STORED.iter().find(is_it).is_none(), "the right password was refused");
        }
    }
    // Somebody whom nobody knows costs the same, and is refused.
    let unknown = memory::within(budget, || check.verify("mallory", password.as_bytes(), None));
    assert_eq!(unknown, Err(Reason::UnknownUser));
    2
}

/// What a hash is made of: bcrypt looks at 72 bytes and no more.
fn looked_at<'a>(password: &'a str, stored: &str) -> &'a [u8] {
    let is_bcrypt = stored.trim().strip_prefix("bcrypt$").unwrap_or(stored.trim()).starts_with("$2");
    let most = if is_bcrypt { 72 } else { usize::MAX };
    &password.as_bytes()[..password.len().min(most)]
}

/// Whether the last thing of both begins alike. Outputs may be cut, down to 16 bytes, and what they are encoded in has bits that mean
/// nothing at its end.
fn shares_output(stored: &str, genuine: &str) -> bool {
    let output = |text: &str| {
        let last = text.trim().rsplit('$').next().unwrap_or_default().replace(['.', '='], "+");
        // bcrypt has its salt in front, without anything between.
        let at = if last.len() == 53 { 22 } else { 0 };
        last.get(at..).unwrap_or_default().chars().take(20).collect::<String>()
    };
    output(stored) == output(genuine)
}

/// What a hash costs, by its text: in hashes of a block or so, and in bytes.
struct Cost {
    work: u64,
    memory: usize,
    bound: (u64, usize),
}

impl Cost {
    fn of(text: &str) -> Self {
        let numbers = numbers(text);
        let named =
            |name: &str| numbers.iter().find(|(before, _)| before.ends_with(name)).map_or(0, |(_, number)| *number);
        let digits = |front: &str| text.split_once(front).map_or(0, |(_, rest)| leading(rest));
        let all = |count: u64| Self { work: count, memory: 1 << 16, bound: (u64::MAX, 1 << 16) };
        if text.contains("$argon2") {
            // What is left out, or said twice, is the library's to read: it is not computed.
            if ["m=", "t=", "p="].iter().any(|name| text.matches(name).count() != 1) {
                return Self { work: u64::MAX, memory: 0, bound: (u64::MAX, 1 << 30) };
            }
            let (memory, passes) = (named("m="), named("t="));
            assert!(passes <= 32 && named("p=") <= 16);
            let bytes = usize::try_from(memory << 10).unwrap();
            return Self { work: memory * passes * 16, memory: bytes, bound: (u64::MAX, 1 << 30) };
        }
        if let Some(front) = ["$2a$", "$2b$", "$2y$"].iter().find(|front| text.contains(*front)) {
            let cost = digits(front);
            assert!((4..=16).contains(&cost));
            return Self { bound: (1 << 26, 1 << 16), ..all(1024 << cost) };
        }
        if text.starts_with("$pbkdf2") || text.starts_with("pbkdf2_") {
            let iterations = text
                .trim_start_matches('$')
                .split_once('$')
                .map_or(0, |(_, rest)| leading(rest.trim_start_matches("i=")));
            assert!((1000..=5_000_000).contains(&iterations), "{iterations}");
            return Self { bound: (5_000_000 * 8, 1 << 16), ..all(iterations * 8) };
        }
        if text.starts_with("$5$") || text.starts_with("$6$") {
            let rounds = if text.contains("rounds=") { digits("rounds=") } else { 5000 };
            assert!((1000..=1_000_000).contains(&rounds), "{rounds}");
            return Self { bound: (1_000_000 * 8, 1 << 16), ..all(rounds * 8) };
        }
        if text.starts_with("$scrypt$") {
            let (n, r, p) = (1_u64 << named("ln=").min(40), named("r="), named("p="));
            return Self::scrypt(n, r, p);
        }
        if let Some(rest) = text.strip_prefix("scrypt$") {
            let fields: Vec<&str> = rest.split('$').collect();
            return Self::scrypt(leading(fields[0]), leading(fields[2]), leading(fields[3]));
        }
        // Of what has its numbers in characters of its own, those of two seeds are computed, and the library's word is taken for others.
        assert!(["$7$", "$y$"].iter().any(|front| text.starts_with(front)), "what is {text}?");
        if ["$y$j75$", "$7$BU..../...."].iter().any(|front| text.starts_with(front)) {
            return Self { work: 1 << 16, memory: 4 << 20, bound: (u64::MAX, 256 << 20) };
        }
        Self { work: u64::MAX, memory: 0, bound: (u64::MAX, 256 << 20) }
    }

    fn scrypt(n: u64, r: u64, p: u64) -> Self {
        assert!(p <= 16 && n * r * p <= 8 << 20, "{n} {r} {p}");
        let memory = usize::try_from(128 * n * r).unwrap();
        Self { work: n * r * p * 4, memory, bound: (u64::MAX, 256 << 20) }
    }

    fn check(&self, text: &str) {
        assert!(self.memory <= self.bound.1, "{text} takes {} bytes", self.memory);
        assert!(self.work <= self.bound.0, "{text} takes too long");
    }
}

/// The number that a text begins with.
fn leading(text: &str) -> u64 {
    text.chars()
        .map_while(|c| c.to_digit(10))
        .fold(0, |sum: u64, digit| sum.saturating_mul(10).saturating_add(digit.into()))
}

/// All numbers of a text, each with what stands before it.
fn numbers(text: &str) -> Vec<(&str, u64)> {
    let is_start = |at: &usize| {
        let is_digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
        is_digit(*at) && !at.checked_sub(1).is_some_and(is_digit)
    };
    (0..text.len()).filter(is_start).filter_map(|at| Some((text.get(..at)?, leading(text.get(at..)?)))).collect()
}
