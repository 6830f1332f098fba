//! The server's time per handshake as bars on a logarithmic scale, in an SVG that needs nothing but a viewer.

use crate::contender::Family;
use crate::run::{Handshake, Results};
use std::fmt::Write;

const WIDTH: f64 = 960.0;
/// The labels end here and the bars begin.
const LEFT: f64 = 470.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = 40.0;
const BAR: f64 = 15.0;
const STEP: f64 = 22.0;

/// The chart, the quickest first.
pub fn svg(results: &Results) -> String {
    let mut rows: Vec<_> = results.handshakes.iter().collect();
    rows.sort_by(|a, b| a.server.median.total_cmp(&b.server.median));
    let height = TOP + STEP * rows.len() as f64 + BOTTOM;
    let axis = Axis::over(&rows);

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" role=\"img\">\n\
         <title>Server time per handshake</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    text(&mut out, 16.0, 26.0, "start", "#111111", "Server time per handshake, µs (logarithmic; less is better)", 16);
    let legend = [(Family::Ours, "countersign"), (Family::Peer, "others"), (Family::Bare, "the RSA operation alone")];
    for (index, (family, label)) in legend.into_iter().enumerate() {
        let x = 16.0 + 110.0 * index as f64;
        rect(&mut out, x, 40.0, 12.0, color(family));
        text(&mut out, x + 18.0, 51.0, "start", "#111111", label, 12);
    }
    for power in axis.low..=axis.high {
        let x = axis.x(10f64.powi(power));
        let bottom = height - BOTTOM + 4.0;
        let _ = writeln!(out, "<path d=\"M{x:.1} {:.1}V{bottom:.1}\" stroke=\"#d0d0d0\"/>", TOP - 6.0);
        text(&mut out, x, bottom + 16.0, "middle", "#444444", &10f64.powi(power).to_string(), 12);
    }
    for (index, row) in rows.into_iter().enumerate() {
        let y = TOP + STEP * index as f64;
        let median = row.server.median;
        let end = axis.x(median);
        text(&mut out, LEFT - 8.0, y + BAR - 3.0, "end", "#111111", &row.row.name, 12);
        rect(&mut out, LEFT, y, end - LEFT, color(row.row.family));
        let value = if median < 10.0 { format!("{median:.1}") } else { format!("{median:.0}") };
        text(&mut out, end + 6.0, y + BAR - 3.0, "start", "#111111", &value, 12);
    }
    out.push_str("</svg>\n");
    out
}

/// Powers of ten, from one at or below the least value to one at or above the greatest.
struct Axis {
    low: i32,
    high: i32,
}

impl Axis {
    fn over(rows: &[&Handshake]) -> Self {
        let logs = || rows.iter().map(|row| row.server.median.max(0.01).log10());
        let (low, high) = (logs().fold(f64::INFINITY, f64::min), logs().fold(f64::NEG_INFINITY, f64::max));
        Self { low: low.floor() as i32, high: high.ceil() as i32 }
    }

    /// Where this value lies.
    fn x(&self, value: f64) -> f64 {
        let share = (value.max(0.01).log10() - f64::from(self.low)) / f64::from((self.high - self.low).max(1));
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }
}

/// Colours that stay apart for eyes that see fewer of them.
fn color(family: Family) -> &'static str {
    match family {
        Family::Ours => "#d55e00",
        Family::Peer => "#0072b2",
        Family::Bare => "#999999",
    }
}

fn rect(out: &mut String, x: f64, y: f64, width: f64, fill: &str) {
    let height = if y < TOP { 12.0 } else { BAR };
    // A String takes whatever is written to it.
    let _ = writeln!(out, "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{fill}\"/>");
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, fill: &str, text: &str, size: u32) {
    let text = escape(text);
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" fill=\"{fill}\">{text}</text>"
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_a_name_is_text() {
        assert_eq!(escape("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
    }
}
