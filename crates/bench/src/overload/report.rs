//! The tables, in Markdown so that a README can show them, and the pictures.

use std::{fs, io, path::Path};

use sim::svg::{Curve, Panel, draw_panels};

use super::{
    client::tally::{BIN_SECS, Bin},
    figures::{Capacity, LATE_MAX_MS, Recovery, Row},
    peers,
};

/// The capacity may move by so much between the start and the end; more, and the machine
/// was busy with something else.
pub(crate) const MOVED_MAX: f64 = 0.1;

/// What was measured of one backend.
pub(super) struct Measured {
    pub(super) backend: &'static str,
    pub(super) rows: Vec<Row>,
    pub(super) before: Capacity,
    pub(super) after: Capacity,
    /// All bins of each peer, act after act.
    pub(super) bins: Vec<(String, Vec<Bin>)>,
}

impl Measured {
    pub(super) fn moved(&self) -> bool {
        let moved = |before: f64, after: f64| (after / before - 1.0).abs() > MOVED_MAX;
        let browned = self.before.browned_per_sec.zip(self.after.browned_per_sec);
        moved(self.before.per_sec, self.after.per_sec)
            || browned.is_some_and(|(before, after)| moved(before, after))
    }

    /// Prints what was found.
    pub(super) fn print(&self) {
        let Capacity {
            per_sec,
            unloaded_p99_ms,
            ..
        } = self.before;
        println!("\n## {}\n", self.backend);
        let after = self.after.per_sec;
        println!(
            "Capacity {per_sec:.0}/s before, {after:.0}/s after; unloaded p99 {unloaded_p99_ms:.1} ms."
        );
        if let (Some(before), Some(after)) =
            (self.before.browned_per_sec, self.after.browned_per_sec)
        {
            let p99 = self.before.browned_p99_ms.unwrap_or(f64::NAN);
            println!("Slowed: {before:.0}/s before, {after:.0}/s after; unloaded p99 {p99:.0} ms.");
        }
        if self.moved() {
            println!(
                "**The capacity moved by more than {:.0} %: the machine was busy, and these figures are not to be believed.**",
                MOVED_MAX * 100.0
            );
        }
        self.print_steady();
        self.print_changes();
        self.print_generator();
    }

    fn names(&self) -> Vec<&str> {
        self.bins.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn row(&self, peer: &str, phase: &str) -> Option<&Row> {
        let is = |row: &&Row| row.peer == peer && row.phase == phase;
        self.rows.iter().find(is)
    }

    /// Goodput at each load, and what the admitted felt.
    fn print_steady(&self) {
        let loads: Vec<&str> = ["0.5x", "0.8x", "1x", "cold-2x", "2x", "5x", "10x"]
            .into_iter()
            .filter(|phase| self.rows.iter().any(|row| row.phase == *phase))
            .collect();
        println!(
            "\nGoodput, as a share of what could be served, and p99 of those served, as a multiple of the unloaded p99 (in brackets):\n"
        );
        let heads: Vec<String> = loads.iter().map(|load| format!(" {load} |")).collect();
        println!(
            "| peer |{} refusal p99, 10x (ms) | time-outs/s, 10x | refused below capacity |",
            heads.concat()
        );
        println!("|---|{}---:|---:|---:|", "---:|".repeat(loads.len()));
        for peer in self.names() {
            let mut line = format!("| {peer} |");
            for load in &loads {
                let cell = self.row(peer, load).map_or("-".to_owned(), |row| {
                    let ratio = row
                        .p99_ratio
                        .map_or("-".to_owned(), |it| format!("{it:.1}"));
                    let doubt = if row.doubtful() { "?" } else { "" };
                    format!("{:.2}{doubt} ({ratio})", row.goodput)
                });
                line += &format!(" {cell} |");
            }
            let worst = self.row(peer, "10x");
            let refusal = worst.and_then(|row| row.counted.refusal_p99_ms);
            let late = worst.map(Row::timeouts_per_sec);
            let falsely: u64 = self
                .rows
                .iter()
                .filter(|row| row.peer == peer)
                .filter_map(|row| row.false_refusals)
                .sum();
            let shown = |value: Option<f64>, digits| {
                value.map_or("-".to_owned(), |it| format!("{it:.digits$}"))
            };
            println!(
                "{line} {} | {} | {falsely} |",
                shown(refusal, 1),
                shown(late, 0)
            );
        }
    }

    /// Recovery after ten times the capacity, and the brownout.
    fn print_changes(&self) {
        println!(
            "\n| peer | recovery after 10x (s) | brownout: goodput | p99, of the slowed service's | time-outs/s | recovery after it (s) | probe p99, 5x and 10x (ms) |"
        );
        println!("|---|---:|---:|---:|---:|---:|---:|");
        for peer in self.names() {
            let recovery = |phase| {
                let row = self.row(peer, phase);
                match row.and_then(|row| row.recovery_secs) {
                    Some(Recovery::After(secs)) => format!("{secs:.1}"),
                    Some(Recovery::Never) => "never".to_owned(),
                    None => "-".to_owned(),
                }
            };
            let brown = self.row(peer, "brownout");
            let shown = |value: Option<f64>, digits| {
                value.map_or("-".to_owned(), |it| format!("{it:.digits$}"))
            };
            let probes = ["5x", "10x"].map(|phase| {
                let row = self.row(peer, phase);
                shown(row.and_then(|row| row.counted.probe_p99_ms), 1)
            });
            println!(
                "| {peer} | {} | {} | {} | {} | {} | {} |",
                recovery("recovery"),
                shown(brown.map(|row| row.goodput), 2),
                shown(brown.and_then(|row| row.p99_ratio), 2),
                shown(brown.map(Row::timeouts_per_sec), 1),
                recovery("healed"),
                probes.join(" / "),
            );
        }
    }

    fn print_generator(&self) {
        let most = |of: &dyn Fn(&Row) -> f64| self.rows.iter().map(of).fold(0.0, f64::max);
        println!(
            "\nThe generator sent at most {:.1} ms late (p99 of the worst phase) and used {:.2} cores at most; the servers used {:.2} of {}.",
            most(&|row| row.counted.lag_p99_ms.unwrap_or(0.0)),
            most(&|row| row.cores.client),
            most(&|row| row.cores.server),
            super::backend::cores(),
        );
        if self.rows.iter().any(Row::doubtful) {
            println!(
                "**A `?` marks a load that was sent more than {LATE_MAX_MS:.0} ms late: the generator lacked a processor, and the figure says nothing of the peer.**"
            );
        }
    }

    /// Draws a picture of each peer and one of all together; returns how many.
    pub(super) fn draw(&self, dir: &Path) -> io::Result<usize> {
        fs::create_dir_all(dir)?;
        for (peer, bins) in &self.bins {
            let title = format!("{peer} ({}) before {}", peers::version(peer), self.backend);
            let picture = draw_panels(&title, &one(bins), BIN_SECS);
            fs::write(dir.join(format!("{}-{peer}.svg", self.backend)), picture)?;
        }
        let title = format!("all before {}", self.backend);
        let picture = draw_panels(&title, &all(&self.bins), BIN_SECS);
        fs::write(dir.join(format!("{}.svg", self.backend)), picture)?;
        Ok(self.bins.len() + 1)
    }
}

fn curve<'a>(
    name: &'a str,
    colour: &'a str,
    bins: &[Bin],
    value: impl Fn(&Bin) -> Option<f64>,
) -> Curve<'a> {
    Curve {
        name,
        colour,
        values: bins.iter().map(value).collect(),
    }
}

fn rate(count: u32) -> Option<f64> {
    Some(f64::from(count) / BIN_SECS)
}

fn one(bins: &[Bin]) -> [Panel<'_>; 2] {
    [
        Panel {
            unit: "requests/s",
            curves: vec![
                curve("meant to be sent", "#bbb", bins, |b| rate(b.sent)),
                curve("refused", "#e08000", bins, |b| rate(b.refused)),
                curve("not in time", "#d00000", bins, |b| rate(b.timed_out)),
                curve("served", "#0a7d32", bins, |b| rate(b.served)),
            ],
        },
        Panel {
            unit: "p99 of those served, ms",
            curves: vec![curve("p99", "#8000a0", bins, |b| b.p99_ms)],
        },
    ]
}

/// Every peer ran the same acts, so their curves lie over one another.
fn all(peers: &[(String, Vec<Bin>)]) -> [Panel<'_>; 2] {
    let curves = |value: fn(&Bin) -> Option<f64>| {
        let each = peers.iter().enumerate();
        each.map(|(index, (name, bins))| {
            let colour = if name == "steadfast" {
                "#000"
            } else {
                COLOURS[index % COLOURS.len()]
            };
            curve(name, colour, bins, value)
        })
        .collect()
    };
    [
        Panel {
            unit: "served in time, requests/s",
            curves: curves(|b| rate(b.served)),
        },
        Panel {
            unit: "p99 of those served, ms",
            curves: curves(|b| b.p99_ms),
        },
    ]
}

const COLOURS: [&str; 12] = [
    "#d00000", "#e08000", "#c0a000", "#70a000", "#0a7d32", "#00a090", "#0090d0", "#0050c8",
    "#5030c0", "#8000a0", "#c00080", "#886644",
];
