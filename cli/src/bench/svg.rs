//! The latency curve as an SVG: for each mix a panel, with the rate across and the time up, on a log scale.

use super::report::{Load, Mix, Rate};
use super::table::percent;

const WIDTH: f64 = 760.0;
const PANEL: f64 = 380.0;
/// The plot within its panel: left, right, top, bottom.
const PLOT: [f64; 4] = [80.0, 640.0, 50.0, 320.0];

/// A line: its name, its colour, its value.
type Series = (&'static str, &'static str, fn(&Rate) -> Option<f64>);

const SERIES: [Series; 3] = [
    ("p50", "#1b6ca8", |rate| rate.p50_ms),
    ("p99", "#d9822b", |rate| rate.p99_ms),
    ("p99.9", "#b3262a", |rate| rate.p999_ms),
];

pub(crate) fn draw(load: &Load) -> String {
    let height = PANEL * super::stats::number(load.mixes.len());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut top = 0.0;
    for mix in &load.mixes {
        svg.push_str(&format!("<g transform=\"translate(0 {top})\">\n{}</g>\n", panel(load, mix)));
        top += PANEL;
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(load: &Load, mix: &Mix) -> String {
    let scale = Scale::of(mix);
    let [left, right, top, bottom] = PLOT;
    let who = if mix.resumed_share > 0.0 { percent(mix.resumed_share) } else { "none".to_owned() };
    let title = format!("RSA-{}, {}, {}; {who} of the logins resume", load.bits, load.suite, load.provider);
    let mut out = text(left, 28.0, "start", &title);
    for (value, label) in scale.decades() {
        let y = scale.y(value);
        out.push_str(&line(left, y, right, y, "#ddd"));
        out.push_str(&text(left - 8.0, y + 4.0, "end", &label));
    }
    let mut rate = 0.0;
    while rate <= scale.fastest {
        let x = scale.x(rate);
        out.push_str(&line(x, bottom, x, bottom + 5.0, "black"));
        out.push_str(&text(x, bottom + 20.0, "middle", &format!("{}", (rate * 100.0).round() / 100.0)));
        rate += scale.step;
    }
    out.push_str(&line(left, bottom, right, bottom, "black"));
    out.push_str(&line(left, top, left, bottom, "black"));
    out.push_str(&text((left + right) / 2.0, bottom + 42.0, "middle", "logins due per second"));
    let middle = (top + bottom) / 2.0;
    out.push_str(&format!(
        "<text x=\"24\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 24 {middle})\">time to log in, ms</text>\n"
    ));
    let mut key = top + 10.0;
    for (name, colour, value) in SERIES {
        let points: Vec<(f64, f64)> = mix
            .rates
            .iter()
            .filter_map(|rate| value(rate).map(|time| (scale.x(rate.per_second), scale.y(time))))
            .collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        out.push_str(&format!(
            "<polyline class=\"{name}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>\n",
            path.join(" ")
        ));
        for (x, y) in points {
            out.push_str(&format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>\n"));
        }
        out.push_str(&line(right + 20.0, key, right + 45.0, key, colour));
        out.push_str(&text(right + 52.0, key + 4.0, "start", name));
        key += 22.0;
    }
    // What was not served stands over its rate: a curve of those that were done alone would look better the more are refused.
    for rate in &mix.rates {
        let lost = rate.not_done();
        let forgotten = rate.server.as_ref().map_or(0, |server| server.tickets.forgotten);
        let x = scale.x(rate.per_second);
        if lost > 0 {
            let share = super::stats::number(lost) / super::stats::number(rate.scheduled.max(1));
            let height = (bottom - top) * share;
            out.push_str(&format!(
                "<rect class=\"lost\" x=\"{:.1}\" y=\"{:.1}\" width=\"10\" height=\"{height:.1}\" fill=\"#b3262a\" fill-opacity=\"0.25\"/>\n",
                x - 5.0,
                bottom - height
            ));
            out.push_str(&text(x, top - 4.0, "middle", &percent(share)));
        }
        if forgotten > 0 {
            out.push_str(&text(x, top + 12.0, "middle", "tickets forgotten"));
        }
    }
    if mix.rates.iter().any(|rate| rate.not_done() > 0) {
        out.push_str(&text(right + 20.0, key + 4.0, "start", "bars: not served"));
    }
    out
}

/// Where a rate and a time are in the plot.
struct Scale {
    /// The end of the axis: a whole number of steps.
    fastest: f64,
    step: f64,
    /// Powers of ten, in milliseconds.
    lowest: i32,
    highest: i32,
}

impl Scale {
    fn of(mix: &Mix) -> Self {
        let times = || mix.rates.iter().flat_map(|rate| SERIES.map(|(_, _, value)| value(rate))).flatten();
        let (least, most) = (times().fold(f64::INFINITY, f64::min), times().fold(0.0, f64::max));
        // Without a single login there is still an empty plot.
        let (least, most) = if most > 0.0 { (least.max(0.001), most) } else { (1.0, 10.0) };
        let lowest = least.log10().floor() as i32;
        let highest = (most.log10().ceil() as i32).max(lowest.saturating_add(1));
        let fastest = mix.rates.iter().map(|rate| rate.per_second).fold(0.0, f64::max);
        // A step that can be said, of which there are five to twelve.
        let decade = 10_f64.powf((fastest.max(0.1) / 5.0).log10().floor());
        let step =
            [5.0, 2.0].into_iter().map(|step| step * decade).find(|step| *step <= fastest / 5.0).unwrap_or(decade);
        Self { fastest: (fastest / step).ceil().max(1.0) * step, step, lowest, highest }
    }

    fn x(&self, rate: f64) -> f64 {
        let [left, right, ..] = PLOT;
        left + (right - left) * rate / self.fastest
    }

    fn y(&self, time: f64) -> f64 {
        let [.., top, bottom] = PLOT;
        let (lowest, highest) = (f64::from(self.lowest), f64::from(self.highest));
        bottom - (bottom - top) * (time.max(0.001).log10() - lowest) / (highest - lowest)
    }

    fn decades(&self) -> impl Iterator<Item = (f64, String)> {
        (self.lowest..=self.highest).map(|power| {
            let value = 10_f64.powi(power);
            (value, format!("{value}"))
        })
    }
}

fn line(x1: f64, y1: f64, x2: f64, y2: f64, colour: &str) -> String {
    format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>\n")
}

/// Texts are ours, and hold nothing that XML would take for its own.
fn text(x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
}
