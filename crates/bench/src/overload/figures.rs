//! Figures from what a generator counted: one row for each phase of each peer.

use serde_json::{Value, json};

use super::{
    client::tally::{BIN_SECS, Bin, Counted},
    plan::Phase,
};

/// A request sent so much later than it was meant to be has lost a tenth of its client's
/// patience to the generator.
pub(crate) const LATE_MAX_MS: f64 = 50.0;

/// What the backend can do, measured in a closed loop against the bare server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    pub(crate) per_sec: f64,
    /// The same while it is slower.
    pub(crate) browned_per_sec: Option<f64>,
    /// p99 with fewer clients than it has places, in ms.
    pub(crate) unloaded_p99_ms: f64,
    /// The same while it is slower.
    pub(crate) browned_p99_ms: Option<f64>,
}

/// CPU seconds for each second of the phase.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cores {
    pub(crate) client: f64,
    pub(crate) server: f64,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) peer: String,
    pub(crate) backend: &'static str,
    pub(crate) phase: String,
    /// Served in time, of what could have been: the smaller of load and capacity. In work,
    /// so that answering only the short ones of a mix is no gain.
    pub(crate) goodput: f64,
    pub(crate) counted: Counted,
    /// p99 of those served, over that of the service itself.
    pub(crate) p99_ratio: Option<f64>,
    /// Refused although the load was below the capacity; nothing where it was not.
    pub(crate) false_refusals: Option<u64>,
    /// After a load that was too much: until at least 98 % are served, in two bins on end.
    pub(crate) recovery_secs: Option<Recovery>,
    pub(crate) cores: Cores,
}

/// How long it took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Recovery {
    After(f64),
    /// Not within the phase.
    Never,
}

impl Row {
    pub(crate) fn new(
        (peer, backend): (&str, &'static str),
        phase: &Phase,
        counted: Counted,
        bins: &[Bin],
        capacity: &Capacity,
        cores: Cores,
    ) -> Self {
        let slow = phase.slowness > 1.0;
        let (able, own_p99) = if slow {
            (
                capacity.browned_per_sec.unwrap_or(capacity.per_sec),
                capacity.browned_p99_ms.unwrap_or(capacity.unloaded_p99_ms),
            )
        } else {
            (capacity.per_sec, capacity.unloaded_p99_ms)
        };
        let rate = phase.rate().unwrap_or(able);
        let recovers = matches!(phase.name.as_str(), "recovery" | "healed");
        let below = rate < able;
        Self {
            peer: peer.to_owned(),
            backend,
            phase: phase.name.clone(),
            goodput: counted.served_work / counted.secs / rate.min(able),
            p99_ratio: counted.p99_ms.map(|p99| p99 / own_p99),
            false_refusals: (below && !recovers).then_some(counted.refused),
            recovery_secs: recovers.then(|| recovery(bins)),
            counted,
            cores,
        }
    }

    /// Whether the generator was so late that the row says more of it than of the peer.
    pub(crate) fn doubtful(&self) -> bool {
        let late = self.counted.lag_p99_ms.is_some_and(|it| it > LATE_MAX_MS);
        late || self.counted.unsent > 0
    }

    fn per_sec(&self, count: u64) -> f64 {
        count as f64 / self.counted.secs
    }

    /// Clients that were not answered in time, each second.
    pub(crate) fn timeouts_per_sec(&self) -> f64 {
        self.per_sec(self.counted.timed_out + self.counted.failed)
    }

    pub(crate) fn json(&self) -> Value {
        let counted = &self.counted;
        json!({
            "bench": "overload",
            "peer": self.peer,
            "backend": self.backend,
            "phase": self.phase,
            "goodput": round(self.goodput, 4),
            "p50_ms": counted.p50_ms.map(|it| round(it, 2)),
            "p99_ms": counted.p99_ms.map(|it| round(it, 2)),
            "p99_ratio": self.p99_ratio.map(|it| round(it, 3)),
            "refusal_p99_ms": counted.refusal_p99_ms.map(|it| round(it, 3)),
            "timeouts_per_s": round(self.timeouts_per_sec(), 1),
            "false_refusals": self.false_refusals,
            "recovery_s": self.recovery_secs.map(|it| match it {
                Recovery::After(secs) => json!(round(secs, 2)),
                Recovery::Never => json!("never"),
            }),
            "sent_per_s": round(self.per_sec(counted.sent), 1),
            "refused_per_s": round(self.per_sec(counted.refused), 1),
            "probe_p99_ms": counted.probe_p99_ms.map(|it| round(it, 1)),
            "doubtful": self.doubtful(),
            "send_lag_p99_ms": counted.lag_p99_ms.map(|it| round(it, 2)),
            "client_cores": round(self.cores.client, 2),
            "server_cores": round(self.cores.server, 2),
        })
    }
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// Seconds until two bins on end have 98 % of their requests served.
fn recovery(bins: &[Bin]) -> Recovery {
    let good = |bin: &Bin| f64::from(bin.served) >= 0.98 * f64::from(bin.sent);
    let at = bins.windows(2).position(|pair| pair.iter().all(good));
    at.map_or(Recovery::Never, |bins| {
        Recovery::After(bins as f64 * BIN_SECS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bin(sent: u32, served: u32) -> Bin {
        Bin {
            sent,
            served,
            ..Bin::default()
        }
    }

    #[test]
    fn a_recovery_needs_two_good_bins_on_end() {
        let bins = [bin(70, 70), bin(70, 10), bin(70, 70), bin(70, 69)];
        assert_eq!(recovery(&bins), Recovery::After(0.2));
        assert_eq!(recovery(&bins[..2]), Recovery::Never);
    }

    #[test]
    fn goodput_is_a_share_of_what_could_have_been_served() {
        let capacity = Capacity {
            per_sec: 1_000.0,
            browned_per_sec: Some(100.0),
            unloaded_p99_ms: 30.0,
            browned_p99_ms: Some(240.0),
        };
        let row = |rate: f64, slowness, served| {
            let act = super::super::plan::acts(super::super::plan::Pace::Full, 2.0 * rate, None);
            let mut phase = act[2][0].clone();
            phase.slowness = slowness;
            let counted = Counted {
                secs: 2.0,
                served,
                served_work: served as f64,
                p99_ms: Some(240.0),
                ..Counted::default()
            };
            Row::new(
                ("a", "b"),
                &phase,
                counted,
                &[],
                &capacity,
                Cores::default(),
            )
        };
        let below = row(500.0, 1.0, 500);
        assert_eq!((below.goodput, below.false_refusals), (0.5, Some(0)));
        let above = row(4_000.0, 1.0, 1_000);
        assert_eq!((above.goodput, above.p99_ratio), (0.5, Some(8.0)));
        assert_eq!(above.false_refusals, None);
        assert!(!above.doubtful());
        let mut late = above.clone();
        late.counted.lag_p99_ms = Some(LATE_MAX_MS + 1.0);
        assert!(late.doubtful());
        let browned = row(500.0, 8.0, 200);
        assert_eq!((browned.goodput, browned.p99_ratio), (1.0, Some(1.0)));
    }
}
