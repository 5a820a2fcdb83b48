//! What several runs of a phase amount to: the median and the worst. Users meet the worst, so
//! a claim is made of that.

use serde_json::{Value, json};

use super::figures::{Recovery, Row, round};

/// A figure over the runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) worst: f64,
    pub(super) best: f64,
}

impl Spread {
    /// Of a figure of which more is better.
    fn of_more(values: impl Iterator<Item = f64>) -> Option<Self> {
        let sorted = sorted(values);
        Some(Self {
            median: median(&sorted)?,
            worst: *sorted.first()?,
            best: *sorted.last()?,
        })
    }

    /// Of a figure of which less is better.
    fn of_less(values: impl Iterator<Item = f64>) -> Option<Self> {
        let Self {
            median,
            worst,
            best,
        } = Self::of_more(values)?;
        Some(Self {
            median,
            worst: best,
            best: worst,
        })
    }

    /// `1.04 / 0.97`, or one figure where both are shown alike.
    pub(super) fn shown(&self, digits: usize) -> String {
        let one = |value: f64| {
            if value.is_finite() {
                format!("{value:.digits$}")
            } else {
                "never".to_owned()
            }
        };
        let (median, worst) = (one(self.median), one(self.worst));
        if median == worst {
            median
        } else {
            format!("{median} / {worst}")
        }
    }

    fn json(&self, digits: i32) -> Value {
        // What is not finite is null in JSON, and never means that here.
        let one = |value: f64| {
            if value.is_finite() {
                json!(round(value, digits))
            } else {
                json!("never")
            }
        };
        json!({
            "median": one(self.median),
            "worst": one(self.worst),
            "best": one(self.best),
        })
    }
}

/// A spread as the tables show it.
pub(super) fn shown(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(|| "-".to_owned(), |it| it.shown(digits))
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[sorted.len() / 2 - 1], upper))
}

/// All runs of one phase of one peer.
#[derive(Clone, Debug)]
pub(super) struct Runs<'a> {
    rows: Vec<&'a Row>,
}

impl<'a> Runs<'a> {
    /// Nothing if the phase was not run.
    pub(super) fn of(rows: &'a [Row], peer: &str, phase: &str) -> Option<Self> {
        let is = |row: &&Row| row.peer == peer && row.phase == phase;
        let rows: Vec<&Row> = rows.iter().filter(is).collect();
        (!rows.is_empty()).then_some(Self { rows })
    }

    pub(super) fn goodput(&self) -> Option<Spread> {
        Spread::of_more(self.rows.iter().map(|row| row.goodput))
    }

    /// Over those runs in which anybody was served.
    pub(super) fn p99_ratio(&self) -> Option<Spread> {
        Spread::of_less(self.rows.iter().filter_map(|row| row.p99_ratio))
    }

    pub(super) fn p99_ms(&self) -> Option<Spread> {
        Spread::of_less(self.rows.iter().filter_map(|row| row.counted.p99_ms))
    }

    pub(super) fn refusal_p99_ms(&self) -> Option<Spread> {
        Spread::of_less(
            self.rows
                .iter()
                .filter_map(|row| row.counted.refusal_p99_ms),
        )
    }

    pub(super) fn probe_p99_ms(&self) -> Option<Spread> {
        Spread::of_less(self.rows.iter().filter_map(|row| row.counted.probe_p99_ms))
    }

    pub(super) fn timeouts_per_sec(&self) -> Option<Spread> {
        Spread::of_less(self.rows.iter().map(|row| row.timeouts_per_sec()))
    }

    pub(super) fn answers_per_sec(&self) -> Option<Spread> {
        Spread::of_more(self.rows.iter().map(|row| row.answers_per_sec()))
    }

    pub(super) fn false_refusals(&self) -> Option<Spread> {
        let refused = self.rows.iter().filter_map(|row| row.false_refusals);
        Spread::of_less(refused.map(|refused| refused as f64))
    }

    /// Seconds; infinite where a run did not recover.
    pub(super) fn recovery_secs(&self) -> Option<Spread> {
        let recoveries = self.rows.iter().filter_map(|row| row.recovery_secs);
        Spread::of_less(recoveries.map(|recovery| match recovery {
            Recovery::After(secs) => secs,
            Recovery::Never => f64::INFINITY,
        }))
    }

    /// Runs that say more of the machine than of the peer.
    pub(super) fn doubtful(&self) -> usize {
        self.rows.iter().filter(|row| row.doubtful()).count()
    }

    /// One line for a program: each figure as median, worst and best.
    pub(super) fn json(&self) -> Value {
        let row = self.rows[0];
        let spread = |spread: Option<Spread>, digits| spread.map(|it| it.json(digits));
        json!({
            "bench": "overload-runs",
            "peer": row.peer,
            "backend": row.backend,
            "phase": row.phase,
            "runs": self.rows.len(),
            "doubtful_runs": self.doubtful(),
            "goodput": spread(self.goodput(), 4),
            "p99_ms": spread(self.p99_ms(), 2),
            "p99_ratio": spread(self.p99_ratio(), 3),
            "refusal_p99_ms": spread(self.refusal_p99_ms(), 3),
            "timeouts_per_s": spread(self.timeouts_per_sec(), 1),
            "false_refusals": spread(self.false_refusals(), 0),
            "recovery_s": spread(self.recovery_secs(), 2),
            "probe_p99_ms": spread(self.probe_p99_ms(), 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_the_least_of_what_should_be_much() {
        let goodput = Spread::of_more([1.0, 0.2, 0.9].into_iter()).expect("three runs");
        assert_eq!((goodput.median, goodput.worst), (0.9, 0.2));
        assert_eq!(goodput.shown(2), "0.90 / 0.20");
        let latency = Spread::of_less([1.0, 5.0, 2.0, 3.0].into_iter()).expect("four runs");
        assert_eq!((latency.median, latency.worst), (2.5, 5.0));
        assert_eq!(Spread::of_less(std::iter::empty()), None);
    }

    #[test]
    fn a_run_that_never_recovers_is_the_worst() {
        let recovery = Spread::of_less([0.1, f64::INFINITY, 0.1].into_iter()).expect("three");
        assert_eq!(recovery.shown(1), "0.1 / never");
    }
}
