//! What was measured: a row for each subject, protocol, body and number of workers.

use serde_json::{Value, json};

use super::{
    Subject,
    load::{Body, Protocol},
};

/// One window of load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) per_sec: f64,
    /// Processor time of the server a request, in microseconds.
    pub(super) cpu_us: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) subject: Subject,
    pub(super) protocol: Protocol,
    pub(super) body: Body,
    pub(super) workers: usize,
    pub(super) windows: Vec<Window>,
    /// Requests a second, of those of `axum` in the window beside it: the median and the
    /// worst.
    pub(super) ratio: Option<[f64; 2]>,
    /// The processor time of a request of `axum`'s, of that of one of this row.
    pub(super) cpu_ratio: Option<[f64; 2]>,
    pub(super) instructions: Option<u64>,
    /// The same for instructions.
    pub(super) instructions_ratio: Option<f64>,
    pub(super) bytes_per_idle_connection: Option<i64>,
    pub(super) bytes_per_active_connection: Option<i64>,
}

impl Row {
    pub(super) const fn new(
        subject: Subject,
        protocol: Protocol,
        body: Body,
        workers: usize,
    ) -> Self {
        Self {
            subject,
            protocol,
            body,
            workers,
            windows: Vec::new(),
            ratio: None,
            cpu_ratio: None,
            instructions: None,
            instructions_ratio: None,
            bytes_per_idle_connection: None,
            bytes_per_active_connection: None,
        }
    }

    /// Whether it is the row of the same measurement.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.subject == other.subject && self.is_beside(other)
    }

    fn is_beside(&self, other: &Self) -> bool {
        self.protocol == other.protocol && self.body == other.body && self.workers == other.workers
    }

    /// Requests a second: the median and the worst.
    pub(super) fn per_sec(&self) -> Option<[f64; 2]> {
        lowest(self.windows.iter().map(|it| it.per_sec))
    }

    /// Microseconds of processor time a request: the median and the worst.
    pub(super) fn cpu_us(&self) -> Option<[f64; 2]> {
        let lowest = lowest(self.windows.iter().map(|it| -it.cpu_us))?;
        Some(lowest.map(|negative| -negative))
    }

    pub(super) fn json(&self) -> Value {
        let median = |of: Option<[f64; 2]>| of.map(|[median, _]| median);
        let worst = |of: Option<[f64; 2]>| of.map(|[_, worst]| worst);
        json!({
            "bench": "serve",
            "row": self.subject.name(),
            "protocol": self.protocol.name(),
            "body": self.body.name(),
            "workers": self.workers,
            "runs": self.windows.len(),
            "rps": median(self.per_sec()),
            "rps_worst": worst(self.per_sec()),
            "cpu_us": median(self.cpu_us()),
            "cpu_us_worst": worst(self.cpu_us()),
            "ratio_to_axum": median(self.ratio),
            "ratio_to_axum_worst": worst(self.ratio),
            "cpu_ratio_to_axum": median(self.cpu_ratio),
            "instructions": self.instructions,
            "instructions_ratio_to_axum": self.instructions_ratio,
            "bytes_per_idle_connection": self.bytes_per_idle_connection,
            "bytes_per_active_connection": self.bytes_per_active_connection,
        })
    }
}

/// Compares each row with the one of `axum` that was measured beside it, window by window.
pub(super) fn compare(rows: &mut [Row]) {
    let theirs: Vec<Row> = rows
        .iter()
        .filter(|row| row.subject == Subject::Axum)
        .cloned()
        .collect();
    for row in rows {
        let Some(axum) = theirs.iter().find(|axum| axum.is_beside(row)) else {
            continue;
        };
        let pairs = || row.windows.iter().zip(&axum.windows);
        row.ratio = lowest(pairs().map(|(ours, theirs)| ours.per_sec / theirs.per_sec));
        row.cpu_ratio = lowest(pairs().map(|(ours, theirs)| theirs.cpu_us / ours.cpu_us));
        row.instructions_ratio = axum
            .instructions
            .zip(row.instructions)
            .map(|(theirs, ours)| theirs as f64 / ours as f64);
    }
}

/// The median and the lowest.
fn lowest(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    Some([*values.get(values.len() / 2)?, *values.first()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(subject: Subject, windows: &[(f64, f64)]) -> Row {
        let windows = windows.iter().map(|(per_sec, cpu_us)| Window {
            per_sec: *per_sec,
            cpu_us: *cpu_us,
        });
        Row {
            windows: windows.collect(),
            ..Row::new(subject, Protocol::Http1, Body::Small, 1)
        }
    }

    #[test]
    fn a_window_is_compared_with_the_one_beside_it() {
        // The machine became half as fast in the last window.
        let axum = row(Subject::Axum, &[(100.0, 8.0), (100.0, 8.0), (50.0, 16.0)]);
        let ours = row(
            Subject::Guarded,
            &[(90.0, 10.0), (95.0, 10.0), (45.0, 16.0)],
        );
        let mut rows = [axum, ours];
        compare(&mut rows);
        assert_eq!(rows[0].ratio, Some([1.0, 1.0]));
        assert_eq!(rows[1].ratio, Some([0.9, 0.9]));
        assert_eq!(rows[1].cpu_ratio, Some([0.8, 0.8]));
        assert_eq!(rows[1].per_sec(), Some([90.0, 45.0]));
        assert_eq!(rows[1].cpu_us(), Some([10.0, 16.0]));
        assert_eq!(rows[1].json()["ratio_to_axum"], 0.9);
    }
}
