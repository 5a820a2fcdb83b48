//! The live table: a row for each second. On a terminal the row that is being counted is
//! redrawn; elsewhere each row is printed once, when it is complete.

use std::{
    env,
    io::{self, IsTerminal, Write},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::tally::{Counts, Tally};

/// Between two looks at the counts.
pub(super) const REDRAW: Duration = Duration::from_millis(100);

const BAR: usize = 12;

/// Escapes that colour text, or nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Colours {
    pub(super) good: &'static str,
    pub(super) warn: &'static str,
    pub(super) bad: &'static str,
    pub(super) dim: &'static str,
    pub(super) bold: &'static str,
    pub(super) off: &'static str,
}

const PLAIN: Colours = Colours {
    good: "",
    warn: "",
    bad: "",
    dim: "",
    bold: "",
    off: "",
};

const COLOURED: Colours = Colours {
    good: "\x1b[32m",
    warn: "\x1b[33m",
    bad: "\x1b[31m",
    dim: "\x1b[2m",
    bold: "\x1b[1m",
    off: "\x1b[0m",
};

pub(super) struct Screen {
    live: bool,
    colours: Colours,
    began: Instant,
    /// The second that is being counted.
    second: u64,
    weather: &'static str,
    tallies: Vec<Arc<Tally>>,
    /// What stood in earlier rows of this weather.
    shown: Counts,
}

impl Screen {
    pub(super) fn begin(url: &str, limit: u32) -> Self {
        let live = io::stdout().is_terminal();
        // https://no-color.org
        let coloured = live && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colours = if coloured { COLOURED } else { PLAIN };
        let Colours { bold, dim, off, .. } = colours;
        say(&format!(
            "{bold}A storm against the shop{off} on {url}, which runs at most {limit} requests at once.\n\n\
             {dim}   time  weather      asked  served  refused  failed  {}/ready/, and why refused{off}\n",
            if live { "              " } else { "" },
        ));
        let (began, second) = (Instant::now(), 0);
        let (tallies, shown) = (Vec::new(), Counts::default());
        Self {
            live,
            colours,
            began,
            second,
            weather: "",
            tallies,
            shown,
        }
    }

    pub(super) const fn colours(&self) -> Colours {
        self.colours
    }

    /// Other weather begins.
    pub(super) fn weather(&mut self, weather: &'static str, tallies: Vec<Arc<Tally>>) {
        self.weather = weather;
        self.tallies = tallies;
        self.shown = Counts::default();
        self.second = self.elapsed().as_secs();
    }

    /// Shows the row as it stands, and ends it if its second is over.
    pub(super) fn draw(&mut self, ready: &str) {
        if self.elapsed().as_secs() > self.second {
            self.row(ready);
        } else if self.live {
            let (row, _) = self.compose(ready);
            say(&format!("\r\x1b[2K{row}"));
        }
    }

    /// Ends the row.
    pub(super) fn row(&mut self, ready: &str) {
        let (row, now) = self.compose(ready);
        let fresh = now.asked > self.shown.asked || ended(&now) > ended(&self.shown);
        if fresh {
            let erase = if self.live { "\r\x1b[2K" } else { "" };
            say(&format!("{erase}{row}\n"));
        }
        self.shown = now;
        self.second = self.elapsed().as_secs();
    }

    pub(super) fn end(&self) {
        say(if self.live { "\r\x1b[2K\n" } else { "\n" });
    }

    fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.began)
    }

    fn compose(&self, ready: &str) -> (String, Counts) {
        let mut now = Counts::default();
        for tally in &self.tallies {
            now.add(&tally.counts());
        }
        let Colours {
            good,
            warn,
            bad,
            off,
            ..
        } = self.colours;
        let served = now.served - self.shown.served;
        let refused = now.refused_sum() - self.shown.refused_sum();
        let failed = now.failed_sum() + now.lost - self.shown.failed_sum() - self.shown.lost;
        let causes: Vec<_> = now
            .refused
            .iter()
            .filter(|(cause, count)| self.shown.refused.get(*cause) != Some(count))
            .map(|(cause, _)| cause.as_str())
            .collect();
        let why = if causes.is_empty() {
            String::new()
        } else {
            format!("; refused: {warn}{}{off}", causes.join(", "))
        };
        let bar = if self.live {
            self.bar(served, refused, failed)
        } else {
            String::new()
        };
        let paint = |count: u64, colour: &'static str| if count == 0 { "" } else { colour };
        let (served_in, refused_in, failed_in) = (
            paint(served, good),
            paint(refused, warn),
            paint(failed, bad),
        );
        let row = format!(
            "{:5.1} s  {:<11} {:6}  {served_in}{served:6}{off}  {refused_in}{refused:7}{off}  \
             {failed_in}{failed:6}{off}  {bar}{ready}{why}",
            self.elapsed().as_secs_f64(),
            self.weather,
            now.asked - self.shown.asked,
        );
        (row, now)
    }

    /// The shares of what was answered.
    fn bar(&self, served: u64, refused: u64, failed: u64) -> String {
        let Colours {
            good,
            warn,
            bad,
            off,
            ..
        } = self.colours;
        let all = served + refused + failed;
        if all == 0 {
            return " ".repeat(BAR + 2);
        }
        // What there is at all is seen: one cell at least.
        let cells = |count: u64| {
            let share = count as f64 / all as f64 * BAR as f64;
            if count == 0 {
                0
            } else {
                (share.round() as usize).max(1)
            }
        };
        let (refused, failed) = (cells(refused), cells(failed));
        let served = BAR.saturating_sub(refused + failed);
        format!(
            "{good}{}{warn}{}{bad}{}{off}  ",
            "█".repeat(served),
            "▒".repeat(refused.min(BAR)),
            "░".repeat(failed.min(BAR - refused.min(BAR))),
        )
    }
}

fn ended(counts: &Counts) -> u64 {
    counts.served + counts.refused_sum() + counts.failed_sum() + counts.lost
}

/// Writes; whoever closed the other end does not want to know.
pub(super) fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
