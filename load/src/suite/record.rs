//! The table: on the screen, and in a file of Markdown.

use crate::suite::Failure;
use crate::suite::measure::{Attack, Measured};
use crate::suite::scenarios::{ALL, Scenario};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What a scenario came to.
pub(crate) struct Row {
    pub(crate) scenario: &'static Scenario,
    pub(crate) measured: Measured,
    pub(crate) quiet: Arc<Measured>,
    pub(crate) attack: Attack,
    pub(crate) ratio: f64,
    pub(crate) faults: Vec<String>,
}

pub(crate) fn heading() -> String {
    format!(
        "{:<20} {:>8} {:>8} {:>16} {:>7} {:>7} {:>14} {:>6}  verdict; times in ms, without what the way takes",
        "", "begun", "arrived", "good logins", "p50", "p99", "quiet p50/p99", "ratio"
    )
}

impl Row {
    fn arrived(&self) -> u64 {
        self.attack.arrived.iter().sum()
    }

    /// How many attempts were begun; nothing where it is a fault and no attack.
    fn begun(&self) -> String {
        self.attack.begun.map(|begun| begun.count.to_string()).unwrap_or_default()
    }

    /// Its line in a file.
    fn line(&self) -> String {
        let Self { scenario, measured, quiet, ratio, faults, .. } = self;
        let [p50, p99, calm, worst] = [measured.p50, measured.p99, quiet.p50, quiet.p99].map(|time| time.as_millis());
        let verdict = if faults.is_empty() { "good".to_owned() } else { faults.join("; ") };
        let (name, share, begun, arrived) = (scenario.name, measured.share(), self.begun(), self.arrived());
        format!(
            "| `{name}` | {begun} | {arrived} | {share:.1} % | {p50} ms | {p99} ms | {calm} ms / {worst} ms | {ratio:.1} | {verdict} |\n"
        )
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, measured, quiet, ratio, faults, .. } = self;
        let millis = |time: Duration| time.as_millis();
        let good = format!("{}/{} {:.1} %", measured.good, measured.due, measured.share());
        let calm = format!("{}/{}", millis(quiet.p50), millis(quiet.p99));
        let (name, p50, p99) = (scenario.name, millis(measured.p50), millis(measured.p99));
        let (begun, arrived) = (self.begun(), self.arrived());
        write!(f, "{name:<20} {begun:>8} {arrived:>8} {good:>16} {p50:>7} {p99:>7} {calm:>14} {ratio:>6.2}  ")?;
        if faults.is_empty() {
            f.write_str("good")?
        } else {
            write!(f, "FAILED: {}", faults.join("; "))?
        }
        if measured.lost.is_empty() { Ok(()) } else { write!(f, " {:?}", measured.lost) }
    }
}

const BEGIN: &str = "<!-- load:begin -->\n";
const END: &str = "<!-- load:end -->";

const HEAD: &str = "| scenario | begun | arrived | good logins | p50 | p99 | quiet p50 / p99 | ratio | verdict |\n\
                    |---|--:|--:|--:|--:|--:|--:|--:|---|\n";

/// Writes the table between the two marks of a file. What did not run stays as it is there.
pub(crate) fn write(path: &Path, rows: &[Row]) -> Result<(), Failure> {
    let lines = rows.iter().map(|row| (row.scenario.name, row.line())).collect();
    let names: Vec<&str> = ALL.iter().map(|scenario| scenario.name).collect();
    Ok(std::fs::write(path, replaced(&std::fs::read_to_string(path)?, &names, lines)?)?)
}

/// The text with these lines in its table, which has one for each of the names that has one now, or had one before.
fn replaced(text: &str, names: &[&str], mut lines: BTreeMap<&str, String>) -> Result<String, Failure> {
    let (before, rest) = text.split_once(BEGIN).ok_or("the file has no mark where the table begins")?;
    let (table, after) = rest.split_once(END).ok_or("the file has no mark where the table ends")?;
    let old = table.strip_prefix(HEAD);
    if old.is_none() && names.iter().any(|name| !lines.contains_key(name)) {
        return Err("the table there has other columns: run everything, so that none of its lines is left".into());
    }
    let old: Vec<&str> = old.into_iter().flat_map(str::lines).collect();
    let of = |name: &&str| {
        let begins = format!("| `{name}` |");
        let kept = || old.iter().find(|line| line.starts_with(&begins)).map(|line| format!("{line}\n"));
        lines.remove(*name).or_else(kept)
    };
    let table: String = names.iter().filter_map(of).collect();
    Ok([before, BEGIN, HEAD, &table, END, after].concat())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["one", "two", "three"];

    fn lines(list: &[(&'static str, &str)]) -> BTreeMap<&'static str, String> {
        list.iter().map(|(name, line)| (*name, format!("| `{name}` | {line} |\n"))).collect()
    }

    #[test]
    fn what_did_not_run_keeps_its_line() {
        let text = |lines: &str| format!("before\n{BEGIN}{HEAD}{lines}{END}\nafter\n");
        let old = text("| `three` | old |\n| `gone` | old |\n| `two` | old |\n");
        let new = replaced(&old, &NAMES, lines(&[("two", "new"), ("one", "new")])).unwrap();
        assert_eq!(new, text("| `one` | new |\n| `two` | new |\n| `three` | old |\n"));
        assert_eq!(replaced(&new, &NAMES, BTreeMap::new()).unwrap(), new);
    }

    #[test]
    fn under_other_columns_no_line_is_left() {
        let old = format!("{BEGIN}| scenario | p50 |\n|---|--:|\n| `two` | old |\n{END}\n");
        assert!(replaced(&old, &NAMES, lines(&[("one", "new"), ("three", "new")])).is_err());
        let all = lines(&[("one", "1"), ("two", "2"), ("three", "3")]);
        let new = replaced(&old, &NAMES, all).unwrap();
        assert_eq!(new, format!("{BEGIN}{HEAD}| `one` | 1 |\n| `two` | 2 |\n| `three` | 3 |\n{END}\n"));
    }
}
