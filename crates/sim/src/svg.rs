//! Draws a run: what was sent, served and refused; in flight and the cap; latency.

use std::fmt::Write as _;

use crate::world::record::{BIN, Bin, Record};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 70.0;
const GAP: f64 = 45.0;

/// One curve: its name, its colour and its value in each bin.
type Curve<'a> = (&'a str, &'a str, Box<dyn Fn(&Bin) -> Option<f64>>);

/// Draws a run as an SVG.
#[must_use]
pub fn draw(title: &str, record: &Record) -> String {
    let rate = |count: fn(&Bin) -> u32| move |b: &Bin| Some(f64::from(count(b)) / BIN);
    let panels: [(&str, Vec<Curve<'_>>); 3] = [
        (
            "requests/s",
            vec![
                ("sent", "#bbb", Box::new(rate(|b| b.sent))),
                ("refused", "#e08000", Box::new(rate(|b| b.refused))),
                ("gave up", "#d00000", Box::new(rate(|b| b.timed_out))),
                ("served", "#0a7d32", Box::new(rate(|b| b.done))),
            ],
        ),
        (
            "in flight",
            vec![
                (
                    "in flight",
                    "#888",
                    Box::new(|b| Some(f64::from(b.in_flight))),
                ),
                ("cap", "#0050c8", Box::new(|b| b.cap.map(f64::from))),
            ],
        ),
        (
            "latency, ms",
            vec![
                ("p99", "#8000a0", Box::new(|b| quantile(b, 0.99))),
                ("p50", "#0050c8", Box::new(|b| quantile(b, 0.5))),
            ],
        ),
    ];
    let height = 40.0 + 3.0 * (HEIGHT + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{LEFT}\" y=\"20\" font-size=\"15\">{title}</text>\n",
        WIDTH + LEFT + 90.0
    );
    for (index, (unit, curves)) in panels.iter().enumerate() {
        let top = 40.0 + index as f64 * (HEIGHT + GAP);
        panel(&mut svg, top, unit, curves, &record.bins);
    }
    svg.push_str("</svg>\n");
    svg
}

fn quantile(bin: &Bin, quantile: f64) -> Option<f64> {
    let mut all = bin.latencies.clone();
    all.sort_by(f32::total_cmp);
    let index = (all.len() as f64 * quantile) as usize;
    all.get(index.min(all.len().saturating_sub(1)))
        .map(|secs| f64::from(*secs) * 1e3)
}

fn panel(svg: &mut String, top: f64, unit: &str, curves: &[Curve<'_>], bins: &[Bin]) {
    let all = || {
        curves
            .iter()
            .flat_map(|c| bins.iter().filter_map(|b| (c.2)(b)))
    };
    let most = all().fold(1.0, f64::max);
    let secs = bins.len() as f64 * BIN;
    let x = |index: usize| LEFT + WIDTH * index as f64 / bins.len().max(1) as f64;
    let y = |value: f64| top + HEIGHT * (1.0 - value / most);
    let bottom = top + HEIGHT;
    // Writing to a String cannot fail, so the results are of no interest.
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#ccc\"/>\n<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{most:.0}</text>\n<text x=\"{}\" y=\"{bottom}\" text-anchor=\"end\">0</text>\n<text x=\"{LEFT}\" y=\"{}\">{unit}</text>\n<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{secs:.0} s</text>",
        LEFT - 6.0,
        top + 10.0,
        LEFT - 6.0,
        top - 5.0,
        LEFT + WIDTH,
        bottom + 15.0,
    );
    for (row, (name, colour, value)) in curves.iter().enumerate() {
        let mut path = String::new();
        let mut pen_down = false;
        for (index, bin) in bins.iter().enumerate() {
            let Some(value) = value(bin) else {
                pen_down = false;
                continue;
            };
            let command = if pen_down { 'L' } else { 'M' };
            let _ = write!(path, "{command}{:.1} {:.1}", x(index), y(value));
            pen_down = true;
        }
        let label = top + 12.0 + 15.0 * row as f64;
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\"/>\n<text x=\"{}\" y=\"{label}\" fill=\"{colour}\">{name}</text>",
            LEFT + WIDTH + 8.0
        );
    }
}
