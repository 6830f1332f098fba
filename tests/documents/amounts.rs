//! Numbers as they are written: in words or digits, with a unit or without, in prose and in sources.

use core::fmt;
use core::time::Duration;
use std::path::Path;

/// A number, in thousandths; or a time, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    Number(u64),
    Time(u64),
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(thousandths) if thousandths % 1000 == 0 => write!(f, "{}", thousandths / 1000),
            Self::Number(thousandths) => write!(f, "{thousandths} thousandths"),
            Self::Time(millis) => write!(f, "{:?}", Duration::from_millis(*millis)),
        }
    }
}

impl From<Duration> for Amount {
    fn from(time: Duration) -> Self {
        Self::Time(time.as_millis().try_into().unwrap())
    }
}

macro_rules! number {
    ($($integer:ty),*) => { $(
        impl From<$integer> for Amount {
            fn from(number: $integer) -> Self {
                Self::Number(u64::try_from(number).unwrap() * 1000)
            }
        }
    )* };
}
number!(u8, u16, u32, i32, u64, usize);

impl Amount {
    /// So many of it.
    pub fn times(self, factor: u64) -> Self {
        match self {
            Self::Number(number) => Self::Number(number * factor),
            Self::Time(time) => Self::Time(time * factor),
        }
    }

    /// One more than what is free is looked at, and means a wait.
    pub fn plus_one(self) -> Self {
        let Self::Number(number) = self else { panic!("{self:?} is a time") };
        Self::Number(number + 1000)
    }

    /// A constant that counts seconds without saying so.
    pub fn as_seconds(self) -> Self {
        let Self::Number(number) = self else { panic!("{self:?} is a time") };
        Self::Time(number)
    }
}

const WORDS: [&str; 17] = [
    "none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen",
];
const ORDINALS: [&str; 7] = ["", "first", "second", "third", "fourth", "fifth", "sixth"];
/// Of what they stand in front of, in thousandths.
const PARTS: [(&str, u64); 4] = [("half a ", 500), ("half ", 500), ("a quarter of a ", 250), ("a tenth of a ", 100)];
/// In milliseconds.
const TIMES: [(&[&str], u64); 7] = [
    (&["ms", "millisecond", "milliseconds"], 1),
    (&["s", "second", "seconds"], 1000),
    (&["m", "min", "minute", "minutes"], 60_000),
    (&["h", "hour", "hours"], 3_600_000),
    (&["d", "day", "days"], 86_400_000),
    (&["week", "weeks"], 7 * 86_400_000),
    (&["month"], 30 * 86_400_000),
];
const SIZES: [(&str, u64); 7] = [
    ("bytes", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("million", 1_000_000),
    ("thousand", 1000),
    ("hundred", 100),
];

/// What is written there, in thousandths, and what follows it. `2^24 + 1` is one.
fn digits(text: &str) -> Option<(u64, &str)> {
    let end =
        text.find(|c: char| !c.is_ascii_digit() && !matches!(c, ',' | '.' | '_' | '^' | '+')).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let number = number.replace([',', '_'], "");
    let thousandths = if let Some((base, power)) = number.split_once('^') {
        base.parse::<u64>().ok()?.checked_pow(power.parse().ok()?)? * 1000
    } else if let Some((whole, part)) = number.split_once('.') {
        whole.parse::<u64>().ok()? * 1000 + format!("{part:0<3}").get(..3)?.parse::<u64>().ok()?
    } else {
        number.parse::<u64>().ok()? * 1000
    };
    if let Some((added, rest)) = rest.strip_prefix(" + ").and_then(digits) {
        return Some((thousandths + added, rest));
    }
    if let Some((taken, rest)) = rest.strip_prefix(" - ").and_then(digits) {
        return Some((thousandths - taken, rest));
    }
    Some((thousandths, rest))
}

/// An amount as people write it.
pub fn written(text: &str) -> Option<Amount> {
    let text = text.trim().trim_matches(['`', '*']);
    let (thousandths, unit) = if let Some((part, of)) = PARTS.iter().find(|(part, _)| text.starts_with(part)) {
        (*of, text.strip_prefix(part)?)
    } else if let Some(found) = digits(text) {
        found
    } else {
        let (word, unit) = text.split_once(' ').unwrap_or((text, ""));
        let word = word.to_lowercase();
        let number = [&WORDS[..], &ORDINALS].iter().find_map(|words| words.iter().position(|known| *known == word));
        let number = number.or(["a", "an"].contains(&word.as_str()).then_some(1))?;
        (u64::try_from(number).ok()? * 1000, unit)
    };
    let unit = unit.trim();
    if let Some((_, millis)) = TIMES.iter().find(|(units, _)| units.contains(&unit)) {
        return Some(Amount::Time(thousandths * millis / 1000));
    }
    let size = SIZES.iter().find(|(size, _)| *size == unit).map(|(_, size)| *size);
    Some(Amount::Number(thousandths * size.or(unit.is_empty().then_some(1))?))
}

/// The value of an expression of a source: products, sums and shifts of integers, and times of them.
fn valued(text: &str) -> Option<Amount> {
    let text = text.trim();
    let within = |front: &str| text.strip_prefix(front)?.strip_suffix(')');
    if let Some(seconds) = within("Duration::from_secs(") {
        return plain(seconds).map(|seconds| Amount::Time(seconds * 1000));
    }
    if let Some(millis) = within("Duration::from_millis(") {
        return plain(millis).map(Amount::Time);
    }
    plain(within("Self(").unwrap_or(text)).map(Amount::from)
}

fn plain(text: &str) -> Option<u64> {
    for (sign, of) in [
        (" << ", (|a, b| a << b) as fn(u64, u64) -> u64),
        (" + ", |a, b| a + b),
        (" - ", |a, b| a - b),
        (" * ", |a, b| a * b),
    ] {
        if let Some((left, right)) = text.rsplit_once(sign) {
            return Some(of(plain(left)?, plain(right)?));
        }
    }
    let text = text.trim().trim_end_matches(".0").replace('_', "");
    text.parse().ok()
}

pub fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a source says that a constant is, which nobody outside can see.
pub fn constant(file: &str, name: &str) -> Amount {
    let source = read(file);
    let start = format!("const {name}: ");
    let mut found = source.split(&start).skip(1);
    let (declared, other) = (found.next(), found.next());
    assert!(other.is_none(), "{file} has several {name}");
    let value = declared.and_then(|declared| declared.split_once(" = ")?.1.split(';').next());
    value.and_then(valued).unwrap_or_else(|| panic!("{file} has no {name} whose value is plain: {value:?}"))
}

/// What stands at `{}` in a source, where there is one such place.
pub fn literal(file: &str, pattern: &str) -> Amount {
    let source = read(file);
    let (before, after) = pattern.split_once("{}").unwrap();
    let found: Vec<&str> = source.split(before).skip(1).filter_map(|rest| Some(rest.split_once(after)?.0)).collect();
    let [value] = found[..] else { panic!("{file} has {pattern:?} at {} places", found.len()) };
    valued(value).unwrap_or_else(|| panic!("{file}: {pattern:?} is {value:?}"))
}

/// A document in one line: without the signs of a comment, where it is a source.
pub fn in_one_line(file: &str) -> String {
    let text = read(file);
    let lines = text.lines().map(|line| {
        let line = line.trim_start();
        if file.ends_with(".rs") { line.trim_start_matches(['/', '!']).trim_end_matches('\\') } else { line }
    });
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// What stands at each `{}` of this pattern, wherever in the text the rest of it stands around them.
fn matches<'a>(text: &'a str, pattern: &str) -> Vec<Vec<&'a str>> {
    const LONGEST: usize = 32;
    let parts: Vec<&str> = pattern.split("{}").collect();
    assert!(parts.len() > 1 && parts.iter().all(|part| !part.is_empty()), "{pattern:?} begins and ends with text");
    let starts = text.match_indices(parts[0]).map(|(at, part)| &text[at + part.len()..]);
    let values = |mut rest: &'a str| {
        let mut values = Vec::new();
        for part in &parts[1..] {
            let (value, behind) = rest.split_once(part)?;
            if value.len() > LONGEST || value.is_empty() || value.contains('|') {
                return None;
            }
            values.push(value);
            rest = behind;
        }
        Some(values)
    };
    starts.filter_map(values).collect()
}

/// What is wrong with what a document says at so many places: each has these amounts where the pattern has `{}`.
pub fn faults(file: &str, text: &str, count: usize, pattern: &str, amounts: &[Amount]) -> Vec<String> {
    let found = matches(text, pattern);
    let mut faults = Vec::new();
    if found.len() != count {
        faults.push(format!("{file} has {pattern:?} at {} places and not at {count}", found.len()));
    }
    for values in found {
        assert_eq!(values.len(), amounts.len(), "{pattern:?}");
        let wrong = values.iter().zip(amounts).filter(|(value, amount)| written(value) != Some(**amount));
        faults
            .extend(wrong.map(|(value, amount)| format!("{file} says {value:?} in {pattern:?}, and it is {amount:?}")));
    }
    faults
}
