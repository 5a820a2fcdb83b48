//! Draws curves over time, and a run of the simulator with them.

use std::fmt::Write as _;

use crate::world::record::{BIN, Bin, Record};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 70.0;
const GAP: f64 = 45.0;
/// Height of a line of a legend.
const LINE: f64 = 15.0;

/// One curve over time.
#[derive(Clone, Debug)]
pub struct Curve<'a> {
    /// What stands beside it.
    pub name: &'a str,
    /// A colour as SVG names it.
    pub colour: &'a str,
    /// Its value in each bin; nothing interrupts the line.
    pub values: Vec<Option<f64>>,
}

/// Curves that share an axis.
#[derive(Clone, Debug)]
pub struct Panel<'a> {
    /// What the axis counts.
    pub unit: &'a str,
    /// The curves; a later one lies over an earlier one.
    pub curves: Vec<Curve<'a>>,
}

/// Draws a run as an SVG.
#[must_use]
pub fn draw(title: &str, record: &Record) -> String {
    let curve = |name, colour, value: &dyn Fn(&Bin) -> Option<f64>| Curve {
        name,
        colour,
        values: record.bins.iter().map(value).collect(),
    };
    let rate = |count: fn(&Bin) -> u32| move |b: &Bin| Some(f64::from(count(b)) / BIN);
    let panels = [
        Panel {
            unit: "requests/s",
            curves: vec![
                curve("sent", "#bbb", &rate(|b| b.sent)),
                curve("refused", "#e08000", &rate(|b| b.refused)),
                curve("gave up", "#d00000", &rate(|b| b.timed_out)),
                curve("served", "#0a7d32", &rate(|b| b.done)),
            ],
        },
        Panel {
            unit: "in flight",
            curves: vec![
                curve("in flight", "#888", &|b| Some(f64::from(b.in_flight))),
                curve("cap", "#0050c8", &|b| b.cap.map(f64::from)),
            ],
        },
        Panel {
            unit: "latency, ms",
            curves: vec![
                curve("p99", "#8000a0", &|b| quantile(b, 0.99)),
                curve("p50", "#0050c8", &|b| quantile(b, 0.5)),
            ],
        },
    ];
    draw_panels(title, &panels, BIN)
}

/// Draws panels one below the other, as an SVG; a bin lasts `bin_secs`.
#[must_use]
pub fn draw_panels(title: &str, panels: &[Panel<'_>], bin_secs: f64) -> String {
    let heights = panels.iter().map(|panel| height(panel) + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{LEFT}\" y=\"20\" font-size=\"15\">{title}</text>\n",
        WIDTH + LEFT + 160.0,
        40.0 + heights.sum::<f64>(),
    );
    let mut top = 40.0;
    for panel in panels {
        draw_panel(&mut svg, top, panel, bin_secs);
        top += height(panel) + GAP;
    }
    svg.push_str("</svg>\n");
    svg
}

/// High enough for its legend.
fn height(panel: &Panel<'_>) -> f64 {
    HEIGHT.max(LINE * panel.curves.len() as f64)
}

fn quantile(bin: &Bin, quantile: f64) -> Option<f64> {
    let mut all = bin.latencies.clone();
    all.sort_by(f32::total_cmp);
    let index = (all.len() as f64 * quantile) as usize;
    all.get(index.min(all.len().saturating_sub(1)))
        .map(|secs| f64::from(*secs) * 1e3)
}

fn draw_panel(svg: &mut String, top: f64, panel: &Panel<'_>, bin_secs: f64) {
    let height = height(panel);
    let all = || panel.curves.iter().flat_map(|c| c.values.iter().flatten());
    let most = all().copied().fold(1.0, f64::max);
    let bins = panel.curves.iter().map(|c| c.values.len()).max();
    let bins = bins.unwrap_or(0);
    let secs = bins as f64 * bin_secs;
    let x = |index: usize| LEFT + WIDTH * index as f64 / bins.max(1) as f64;
    let y = |value: f64| top + height * (1.0 - value / most);
    let bottom = top + height;
    let unit = panel.unit;
    // Writing to a String cannot fail, so the results are of no interest.
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{height}\" fill=\"none\" stroke=\"#ccc\"/>\n<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{most:.0}</text>\n<text x=\"{}\" y=\"{bottom}\" text-anchor=\"end\">0</text>\n<text x=\"{LEFT}\" y=\"{}\">{unit}</text>\n<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{secs:.0} s</text>",
        LEFT - 6.0,
        top + 10.0,
        LEFT - 6.0,
        top - 5.0,
        LEFT + WIDTH,
        bottom + 15.0,
    );
    for (
        row,
        Curve {
            name,
            colour,
            values,
        },
    ) in panel.curves.iter().enumerate()
    {
        let mut path = String::new();
        let mut pen_down = false;
        for (index, value) in values.iter().enumerate() {
            let Some(value) = value else {
                pen_down = false;
                continue;
            };
            let command = if pen_down { 'L' } else { 'M' };
            let _ = write!(path, "{command}{:.0} {:.1}", x(index), y(*value));
            pen_down = true;
        }
        let label = top + 12.0 + LINE * row as f64;
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\"/>\n<text x=\"{}\" y=\"{label}\" fill=\"{colour}\">{name}</text>",
            LEFT + WIDTH + 8.0
        );
    }
}
