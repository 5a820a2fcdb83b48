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

/// A generator or server that wanted a processor for so much of a second (all its threads
/// together) and had none, while somebody who is no part of the run had it.
const STARVED_MIN: f64 = 0.1;

/// So much of a processor for others, or for the machine below, is a machine that is not quiet.
const OTHERS_MAX: f64 = 0.2;

/// Seconds of processor for each second of the phase.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cores {
    pub(crate) client: f64,
    pub(crate) server: f64,
    /// Wanted and not had, all threads of each together.
    pub(crate) client_waited: f64,
    pub(crate) server_waited: f64,
    /// Used by whoever is no part of the run.
    pub(crate) others: f64,
    /// Taken by the machine below.
    pub(crate) stolen: f64,
}

impl Cores {
    /// Whether generator or server lacked a processor because of others.
    pub(super) fn starved(&self) -> bool {
        let disturbed = self.others.max(self.stolen) > OTHERS_MAX;
        disturbed && self.client_waited.max(self.server_waited) > STARVED_MIN
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) peer: String,
    pub(crate) backend: &'static str,
    /// Which of the runs, from one.
    pub(crate) run: usize,
    pub(crate) phase: String,
    /// Served in time, of what could have been: the smaller of load and capacity. In work,
    /// so that answering only the short ones of a mix is no gain.
    pub(crate) goodput: f64,
    pub(crate) counted: Counted,
    /// p99 of those served, over that of the service itself.
    pub(crate) p99_ratio: Option<f64>,
    /// Refused although the load was below the capacity; nothing where it was not.
    pub(crate) false_refusals: Option<u64>,
    /// After a load or neighbours that were too much: until what can be served is, in two bins
    /// on end.
    pub(crate) recovery_secs: Option<Recovery>,
    pub(crate) cores: Cores,
    /// Whether others had the processors that generator or server wanted.
    disturbed: bool,
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
        (peer, backend, run): (&str, &'static str, usize),
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
        let recovers = matches!(
            phase.name.as_str(),
            "recovery" | "healed" | "neighbours-gone"
        );
        let below = rate < able;
        Self {
            peer: peer.to_owned(),
            backend,
            run,
            phase: phase.name.clone(),
            goodput: counted.served_work / counted.secs / rate.min(able),
            p99_ratio: counted.p99_ms.map(|p99| p99 / own_p99),
            false_refusals: (below && !recovers).then_some(counted.refused),
            recovery_secs: recovers.then(|| recovery(bins, able)),
            counted,
            cores,
            disturbed: phase.neighbours == 0 && cores.starved(),
        }
    }

    /// Whether the row says more of the machine than of the peer: the generator was late, or
    /// others had the processors.
    pub(crate) fn doubtful(&self) -> bool {
        let late = self.counted.lag_p99_ms.is_some_and(|it| it > LATE_MAX_MS);
        late || self.counted.unsent > 0 || self.disturbed
    }

    fn per_sec(&self, count: u64) -> f64 {
        count as f64 / self.counted.secs
    }

    /// Clients that were not answered in time, each second.
    pub(crate) fn timeouts_per_sec(&self) -> f64 {
        self.per_sec(self.counted.timed_out + self.counted.failed)
    }

    /// Requests served and refused in time, each second.
    pub(crate) fn answers_per_sec(&self) -> f64 {
        self.per_sec(self.counted.served + self.counted.refused)
    }

    pub(crate) fn json(&self) -> Value {
        let counted = &self.counted;
        json!({
            "bench": "overload",
            "peer": self.peer,
            "backend": self.backend,
            "phase": self.phase,
            "run": self.run,
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
            "client_waited": round(self.cores.client_waited, 2),
            "server_waited": round(self.cores.server_waited, 2),
            "other_cores": round(self.cores.others, 2),
            "stolen_cores": round(self.cores.stolen, 2),
        })
    }
}

pub(super) fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// Of what is sent, in a bin that has recovered from a load that was below the capacity.
const RECOVERED_MIN: f64 = 0.98;

/// Of the capacity, where more is sent: what ends in a tenth of a second scatters by more.
const RECOVERED_ABOVE_MIN: f64 = 0.9;

/// Seconds until two bins on end serve what they can, of a service that is `able` to serve so
/// many a second.
fn recovery(bins: &[Bin], able: f64) -> Recovery {
    let good = |bin: &Bin| {
        let least = RECOVERED_MIN * f64::from(bin.sent);
        f64::from(bin.served) >= least.min(RECOVERED_ABOVE_MIN * able * BIN_SECS)
    };
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
        assert_eq!(recovery(&bins, 1_000.0), Recovery::After(0.2));
        assert_eq!(recovery(&bins[..2], 1_000.0), Recovery::Never);
    }

    #[test]
    fn above_the_capacity_what_can_be_served_is_a_recovery() {
        let bins = [bin(1_000, 60), bin(1_000, 91), bin(1_000, 95)];
        assert_eq!(recovery(&bins, 1_000.0), Recovery::After(0.1));
    }

    #[test]
    fn a_row_is_doubted_where_others_had_the_processors() {
        let quiet = Cores {
            server_waited: 0.5,
            client: 1.0,
            ..Cores::default()
        };
        assert!(
            !quiet.starved(),
            "generator and server share them by design"
        );
        let others = Cores {
            others: 0.5,
            ..quiet
        };
        let stolen = Cores {
            stolen: 0.5,
            ..quiet
        };
        assert!(others.starved() && stolen.starved());
        let unharmed = Cores {
            server_waited: 0.0,
            ..others
        };
        assert!(!unharmed.starved());
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
            let scenes =
                super::super::plan::scenes(super::super::plan::Pace::Full, 2.0 * rate, None);
            let mut phase = scenes[2].phases[0].clone();
            phase.slowness = slowness;
            let counted = Counted {
                secs: 2.0,
                served,
                served_work: served as f64,
                p99_ms: Some(240.0),
                ..Counted::default()
            };
            Row::new(
                ("a", "b", 1),
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
