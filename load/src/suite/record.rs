//! The table: on the screen, and in a file of Markdown.

use crate::suite::Failure;
use crate::suite::measure::Measured;
use crate::suite::scenarios::Scenario;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// What a scenario came to.
pub(crate) struct Row {
    pub(crate) scenario: &'static Scenario,
    pub(crate) measured: Measured,
    pub(crate) quiet: Arc<Measured>,
    pub(crate) attempts: u64,
    pub(crate) ratio: f64,
    pub(crate) faults: Vec<String>,
}

pub(crate) fn heading() -> String {
    format!(
        "{:<20} {:>9} {:>16} {:>7} {:>7} {:>14} {:>6}  verdict; times in ms, without what the way takes",
        "", "attempts", "good logins", "p50", "p99", "quiet p50/p99", "ratio"
    )
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, measured, quiet, attempts, ratio, faults } = self;
        let millis = |time: std::time::Duration| time.as_millis();
        let good = format!("{}/{} {:.1} %", measured.good, measured.due, measured.share());
        let calm = format!("{}/{}", millis(quiet.p50), millis(quiet.p99));
        let (name, p50, p99) = (scenario.name, millis(measured.p50), millis(measured.p99));
        write!(f, "{name:<20} {attempts:>9} {good:>16} {p50:>7} {p99:>7} {calm:>14} {ratio:>6.2}  ")?;
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

/// Writes the table between the two marks of a file.
pub(crate) fn write(path: &Path, rows: &[Row]) -> Result<(), Failure> {
    let text = std::fs::read_to_string(path)?;
    let (before, rest) = text.split_once(BEGIN).ok_or("the file has no mark where the table begins")?;
    let (_, after) = rest.split_once(END).ok_or("the file has no mark where the table ends")?;
    let mut table = String::from(
        "| scenario | good logins | p50 | p99 | quiet p50 / p99 | ratio | verdict |\n|---|--:|--:|--:|--:|--:|---|\n",
    );
    for Row { scenario, measured, quiet, ratio, faults, .. } in rows {
        let [p50, p99, calm, worst] =
            [measured.p50, measured.p99, quiet.p50, quiet.p99].map(|time| format!("{} ms", time.as_millis()));
        let verdict = if faults.is_empty() { "good".to_owned() } else { faults.join("; ") };
        let (name, share) = (scenario.name, measured.share());
        table += &format!("| `{name}` | {share:.1} % | {p50} | {p99} | {calm} / {worst} | {ratio:.1} | {verdict} |\n");
    }
    Ok(std::fs::write(path, [before, BEGIN, &table, END, after].concat())?)
}
