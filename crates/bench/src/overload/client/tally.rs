//! What a generator counted, and the lines in which it says so.

use serde::{Deserialize, Serialize};

/// Seconds of a bin.
pub(crate) const BIN_SECS: f64 = 0.1;

/// What a generator says, one JSON value a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    /// A phase begins.
    Begins(usize),
    /// All phases are over and everything sent has ended.
    Done(Counts),
}

/// What was counted in an act.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) phases: Vec<Counted>,
    pub(crate) bins: Vec<Bin>,
}

/// What was counted in a phase, of the requests meant to be sent after it had settled.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) secs: f64,
    pub(crate) sent: u64,
    pub(crate) served: u64,
    /// Sum of what the served needed, over the mean of all: as `served` where all need the same.
    pub(crate) served_work: f64,
    /// The served of each path.
    pub(crate) served_of: Vec<u64>,
    pub(crate) refused: u64,
    pub(crate) timed_out: u64,
    /// Never sent, because the generator was late by more than a client waits.
    pub(crate) unsent: u64,
    /// Ended by a broken connection, another status, or for want of a connection.
    pub(crate) failed: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// From the moment a refused request was really sent.
    pub(crate) refusal_p99_ms: Option<f64>,
    /// How late requests were sent: the generator's own fault.
    pub(crate) lag_p99_ms: Option<f64>,
    pub(crate) probe_p99_ms: Option<f64>,
}

/// What was counted of the requests meant to be sent in one bin.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Bin {
    pub(crate) sent: u32,
    pub(crate) served: u32,
    pub(crate) refused: u32,
    pub(crate) timed_out: u32,
    pub(crate) p99_ms: Option<f64>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Served,
    Refused,
    TimedOut,
    Unsent,
    Failed,
}

/// Counts as requests end.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counted: Counted,
    served_ms: Vec<f32>,
    refused_ms: Vec<f32>,
    lags_ms: Vec<f32>,
    probes_ms: Vec<f32>,
}

impl Tally {
    pub(super) fn sent(&mut self, lag_secs: f64) {
        self.counted.sent += 1;
        self.lags_ms.push(millis(lag_secs));
    }

    /// `since_meant` and `since_sent` in seconds; of a request on this path, which needs so much.
    pub(super) fn ended(
        &mut self,
        ending: Ending,
        since_meant: f64,
        since_sent: f64,
        (path, work): (usize, f64),
    ) {
        let counted = &mut self.counted;
        match ending {
            Ending::Served => {
                counted.served += 1;
                counted.served_work += work;
                if path >= counted.served_of.len() {
                    counted.served_of.resize(path + 1, 0);
                }
                counted.served_of[path] += 1;
                self.served_ms.push(millis(since_meant));
            }
            Ending::Refused => {
                counted.refused += 1;
                self.refused_ms.push(millis(since_sent));
            }
            Ending::TimedOut => counted.timed_out += 1,
            Ending::Unsent => counted.unsent += 1,
            Ending::Failed => counted.failed += 1,
        }
    }

    pub(super) fn probed(&mut self, since_meant: f64) {
        self.probes_ms.push(millis(since_meant));
    }

    pub(super) fn counted(mut self, secs: f64) -> Counted {
        Counted {
            secs,
            p50_ms: quantile(&mut self.served_ms, 0.5),
            p99_ms: quantile(&mut self.served_ms, 0.99),
            refusal_p99_ms: quantile(&mut self.refused_ms, 0.99),
            lag_p99_ms: quantile(&mut self.lags_ms, 0.99),
            probe_p99_ms: quantile(&mut self.probes_ms, 0.99),
            ..self.counted
        }
    }
}

/// Counts in bins, for the drawing and for the time of a recovery.
#[derive(Debug, Default)]
pub(super) struct Bins(Vec<(Bin, Vec<f32>)>);

impl Bins {
    fn at(&mut self, meant_at: f64) -> &mut (Bin, Vec<f32>) {
        let index = (meant_at / BIN_SECS) as usize;
        if index >= self.0.len() {
            self.0.resize(index + 1, (Bin::default(), Vec::new()));
        }
        &mut self.0[index]
    }

    pub(super) fn sent(&mut self, meant_at: f64) {
        self.at(meant_at).0.sent += 1;
    }

    pub(super) fn ended(&mut self, ending: Ending, meant_at: f64, since_meant: f64) {
        let (bin, latencies) = self.at(meant_at);
        match ending {
            Ending::Served => {
                bin.served += 1;
                latencies.push(millis(since_meant));
            }
            Ending::Refused => bin.refused += 1,
            Ending::TimedOut | Ending::Unsent | Ending::Failed => bin.timed_out += 1,
        }
    }

    pub(super) fn finished(self) -> Vec<Bin> {
        let whole = |(bin, mut latencies): (Bin, Vec<f32>)| Bin {
            p99_ms: quantile(&mut latencies, 0.99),
            ..bin
        };
        self.0.into_iter().map(whole).collect()
    }
}

fn millis(secs: f64) -> f32 {
    (secs * 1e3) as f32
}

/// A quantile of what was collected, nothing of nothing.
fn quantile(values: &mut [f32], quantile: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let index = ((values.len() as f64 * quantile) as usize).min(last);
    let (_, value, _) = values.select_nth_unstable_by(index, f32::total_cmp);
    Some(f64::from(*value))
}
