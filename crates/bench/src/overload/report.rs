//! The tables of all runs, in Markdown so that a README can show them, and the pictures.

use std::{fs, io, path::Path};

use sim::svg::{Curve, Panel, draw_panels};

use super::{
    client::tally::{BIN_SECS, Bin},
    figures::{Capacity, LATE_MAX_MS, Row},
    peers,
    plan::PHASES,
    spread::{Runs, shown},
};

/// The capacity may move by so much between the start and the end; more, and the machine
/// was busy with something else.
pub(crate) const MOVED_MAX: f64 = 0.1;

/// Whether the machine did something else in between.
pub(super) fn moved(before: &Capacity, after: &Capacity) -> bool {
    let moved = |before: f64, after: f64| (after / before - 1.0).abs() > MOVED_MAX;
    let browned = before.browned_per_sec.zip(after.browned_per_sec);
    moved(before.per_sec, after.per_sec)
        || browned.is_some_and(|(before, after)| moved(before, after))
}

/// What was measured of one backend.
pub(super) struct Measured {
    pub(super) backend: &'static str,
    /// Of all runs.
    pub(super) rows: Vec<Row>,
    /// Before the first run and after each.
    pub(super) capacities: Vec<Capacity>,
    /// All bins of each peer, scene after scene, for each run.
    pub(super) bins: Vec<(String, Vec<Bin>)>,
}

impl Measured {
    /// Every phase of every peer.
    pub(super) fn runs(&self) -> impl Iterator<Item = Runs<'_>> {
        let pairs = self.names().into_iter().flat_map(|peer| {
            let phases = PHASES.into_iter();
            phases.map(move |phase| (peer, phase))
        });
        pairs.filter_map(|(peer, phase)| self.of(peer, phase))
    }

    fn of(&self, peer: &str, phase: &str) -> Option<Runs<'_>> {
        Runs::of(&self.rows, peer, phase)
    }

    /// Prints what was found.
    pub(super) fn print(&self) {
        println!("\n## {}\n", self.backend);
        self.print_capacity();
        self.print_steady();
        self.print_changes();
        self.print_disturbed();
        self.print_flood();
        self.print_machine();
    }

    fn print_capacity(&self) {
        let range = |of: &dyn Fn(&Capacity) -> Option<f64>| {
            let values = self.capacities.iter().filter_map(of);
            values.fold((f64::INFINITY, 0.0), |(least, most), it| {
                (f64::min(least, it), f64::max(most, it))
            })
        };
        let (least, most) = range(&|it| Some(it.per_sec));
        let (p99_least, p99_most) = range(&|it| Some(it.unloaded_p99_ms));
        println!(
            "Capacity {least:.0} to {most:.0}/s over all runs; unloaded p99 {p99_least:.1} to {p99_most:.1} ms."
        );
        let (least, most) = range(&|it| it.browned_per_sec);
        if most > 0.0 {
            println!("Slowed: {least:.0} to {most:.0}/s.");
        }
        let pairs = self.capacities.windows(2);
        let busy = pairs.filter(|pair| moved(&pair[0], &pair[1])).count();
        if busy > 0 {
            println!(
                "**In {busy} of {} runs the capacity moved by more than {:.0} %: the machine was busy, and their figures are not to be believed.**",
                self.capacities.len() - 1,
                MOVED_MAX * 100.0
            );
        }
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in &self.bins {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// Those of the phases that were run.
    fn phases(&self, among: &[&'static str]) -> Vec<&'static str> {
        let ran = |phase: &&&str| self.rows.iter().any(|row| row.phase == **phase);
        among.iter().filter(ran).copied().collect()
    }

    /// Goodput at each load, and what the admitted felt.
    fn print_steady(&self) {
        let loads = self.phases(&["0.5x", "0.8x", "1x", "cold-2x", "2x", "5x", "10x"]);
        if loads.is_empty() {
            return;
        }
        println!(
            "\nGoodput, as a share of what could be served, and p99 of those served, as a multiple of the unloaded p99 (in brackets); each as median / worst where they differ:\n"
        );
        let heads: Vec<String> = loads.iter().map(|load| format!(" {load} |")).collect();
        println!(
            "| peer |{} refusal p99, 10x (ms) | time-outs/s, 10x | refused below capacity |",
            heads.concat()
        );
        println!("|---|{}---:|---:|---:|", "---:|".repeat(loads.len()));
        for peer in self.names() {
            let cells: Vec<String> = loads
                .iter()
                .map(|load| {
                    format!(
                        " {} |",
                        self.of(peer, load).as_ref().map_or("-".to_owned(), cell)
                    )
                })
                .collect();
            let most = self.of(peer, "10x");
            let below = ["0.5x", "0.8x"].map(|load| self.of(peer, load)?.false_refusals());
            println!(
                "| {peer} |{} {} | {} | {} |",
                cells.concat(),
                shown(most.as_ref().and_then(Runs::refusal_p99_ms), 1),
                shown(most.as_ref().and_then(Runs::timeouts_per_sec), 0),
                below.map(|it| shown(it, 0)).join(", "),
            );
        }
    }

    /// Recovery after ten times the capacity, and the brownout.
    fn print_changes(&self) {
        let probes = self.phases(&["5x", "10x"]);
        if self.phases(&["recovery", "brownout"]).is_empty() && probes.is_empty() {
            return;
        }
        println!(
            "\n| peer | recovery after 10x (s) | brownout: goodput | p99, of the slowed service's | time-outs/s | recovery after it (s) | probe p99, 5x and 10x (ms) |"
        );
        println!("|---|---:|---:|---:|---:|---:|---:|");
        for peer in self.names() {
            let recovery = |phase| shown(self.of(peer, phase).and_then(|it| it.recovery_secs()), 1);
            let brown = self.of(peer, "brownout");
            let probes = ["5x", "10x"]
                .map(|phase| shown(self.of(peer, phase).and_then(|it| it.probe_p99_ms()), 1));
            println!(
                "| {peer} | {} | {} | {} | {} | {} | {} |",
                recovery("recovery"),
                shown(brown.as_ref().and_then(Runs::goodput), 2),
                shown(brown.as_ref().and_then(Runs::p99_ratio), 2),
                shown(brown.as_ref().and_then(Runs::timeouts_per_sec), 1),
                recovery("healed"),
                probes.join(", "),
            );
        }
    }

    /// Ten times the capacity beside neighbours that compute, after them, and over more
    /// connections than are needed.
    fn print_disturbed(&self) {
        if self.phases(&["neighbours", "many-connections"]).is_empty() {
            return;
        }
        println!(
            "\nTen times the capacity, while others compute on the same processors for 4 s, when they have gone, and over 1,500 connections:\n"
        );
        println!(
            "| peer | neighbours | time-outs/s | after them | recovery (s) | many connections | time-outs/s |"
        );
        println!("|---|---:|---:|---:|---:|---:|---:|");
        for peer in self.names() {
            let [during, after, many] = ["neighbours", "neighbours-gone", "many-connections"]
                .map(|phase| self.of(peer, phase));
            let cell = |runs: &Option<Runs<'_>>| runs.as_ref().map_or("-".to_owned(), cell);
            let late =
                |runs: &Option<Runs<'_>>| shown(runs.as_ref().and_then(Runs::timeouts_per_sec), 0);
            println!(
                "| {peer} | {} | {} | {} | {} | {} | {} |",
                cell(&during),
                late(&during),
                cell(&after),
                shown(after.as_ref().and_then(Runs::recovery_secs), 1),
                cell(&many),
                late(&many),
            );
        }
    }

    /// As many requests as so many clients and this machine can make, where an answer of any
    /// kind brings the next one.
    fn print_flood(&self) {
        if self.phases(&["flood"]).is_empty() {
            return;
        }
        println!("\n1,500 clients that ask again as soon as they are answered:\n");
        println!(
            "| peer | goodput | answers/s | time-outs/s | refusal p99 (ms) | probe p99 (ms) |"
        );
        println!("|---|---:|---:|---:|---:|---:|");
        for peer in self.names() {
            let flood = self.of(peer, "flood");
            println!(
                "| {peer} | {} | {} | {} | {} | {} |",
                flood.as_ref().map_or("-".to_owned(), cell),
                shown(flood.as_ref().and_then(Runs::answers_per_sec), 0),
                shown(flood.as_ref().and_then(Runs::timeouts_per_sec), 0),
                shown(flood.as_ref().and_then(Runs::refusal_p99_ms), 1),
                shown(flood.as_ref().and_then(Runs::probe_p99_ms), 1),
            );
        }
    }

    fn print_machine(&self) {
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
                "**`?N` marks N runs of a load that was sent more than {LATE_MAX_MS:.0} ms late, or in which others had the processors that generator or server wanted: those figures say nothing of the peer.**"
            );
        }
    }

    /// The run of a peer in which it served least, since that is what users meet.
    fn worst(&self, peer: &str) -> &[Bin] {
        let runs = self.bins.iter().filter(|(name, _)| name == peer);
        let served = |bins: &[Bin]| bins.iter().map(|bin| u64::from(bin.served)).sum::<u64>();
        let worst = runs.min_by_key(|(_, bins)| served(bins));
        worst.map_or(&[], |(_, bins)| bins.as_slice())
    }

    /// Draws a picture of the worst run of each peer and one of all together; returns how many.
    pub(super) fn draw(&self, dir: &Path) -> io::Result<usize> {
        fs::create_dir_all(dir)?;
        let names = self.names();
        let worst: Vec<(&str, &[Bin])> = names.iter().map(|it| (*it, self.worst(it))).collect();
        for (peer, bins) in &worst {
            let title = format!("{peer} ({}) before {}", peers::version(peer), self.backend);
            let picture = draw_panels(&title, &one(bins), BIN_SECS);
            fs::write(dir.join(format!("{}-{peer}.svg", self.backend)), picture)?;
        }
        let title = format!("all before {}", self.backend);
        let picture = draw_panels(&title, &all(&worst), BIN_SECS);
        fs::write(dir.join(format!("{}.svg", self.backend)), picture)?;
        Ok(worst.len() + 1)
    }
}

/// Goodput and, in brackets, p99.
fn cell(runs: &Runs<'_>) -> String {
    let doubt = match runs.doubtful() {
        0 => String::new(),
        some => format!(" ?{some}"),
    };
    let (goodput, p99) = (runs.goodput(), runs.p99_ratio());
    format!("{} ({}){doubt}", shown(goodput, 2), shown(p99, 1))
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

/// Every peer ran the same scenes, so their curves lie over one another.
fn all<'a>(peers: &[(&'a str, &[Bin])]) -> [Panel<'a>; 2] {
    let curves = |value: fn(&Bin) -> Option<f64>| {
        let each = peers.iter().enumerate();
        each.map(|(index, (name, bins))| {
            let colour = if *name == "steadfast" {
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
