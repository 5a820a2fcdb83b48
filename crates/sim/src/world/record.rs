//! What happened, in bins of 50 ms, and the questions that claims ask of it.

use std::time::Instant;

use steadfast_core::{
    limit::Change,
    plumbing::{BackendChange, BackendNews},
};

/// Seconds in a bin.
pub const BIN: f64 = 0.05;

/// What happened to the requests of one route in one bin.
#[derive(Clone, Debug, Default)]
pub struct RouteBin {
    /// Requests sent.
    pub sent: u32,
    /// Latencies of those answered, in seconds.
    pub latencies: Vec<f32>,
}

/// What happened in one bin.
#[derive(Clone, Debug, Default)]
pub struct Bin {
    /// Requests sent.
    pub sent: u32,
    /// Those of them of each class.
    pub sent_of: [u32; 4],
    /// Requests of each class that were refused.
    pub refused_of: [u32; 4],
    /// Requests refused.
    pub refused: u32,
    /// Requests answered in time.
    pub done: u32,
    /// Requests whose client gave up, or whose instance went away.
    pub timed_out: u32,
    /// Those sent that had been sent before.
    pub retried: u32,
    /// Requests that found nobody where they were sent, or whose instance went away.
    pub lost: u32,
    /// Latencies of those answered, in seconds.
    pub latencies: Vec<f32>,
    /// The same for each route, where there are tenants.
    pub routes: Vec<RouteBin>,
    /// Cap of the first instance at the end of the bin, if it had one.
    pub cap: Option<u32>,
    /// In flight at the first instance at the end of the bin.
    pub in_flight: u32,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The bins, in order.
    pub bins: Vec<Bin>,
    /// Changes of the first instance's limit.
    pub changes: Vec<Change>,
    /// What became of its limits for one backend.
    pub backends: Vec<BackendChange>,
    /// The zero of virtual time.
    pub base: Option<Instant>,
    /// Calls into the algorithms, over requests sent.
    pub calls_per_request: f64,
    /// Events that happened.
    pub events: u64,
}

impl Bin {
    /// What happened to one route.
    pub fn of(&mut self, route: usize) -> &mut RouteBin {
        if route >= self.routes.len() {
            self.routes.resize(route + 1, RouteBin::default());
        }
        &mut self.routes[route]
    }
}

impl Record {
    /// What happened to one route between two moments, all in one.
    #[must_use]
    pub fn route(&self, route: usize, from: f64, to: f64) -> RouteBin {
        let mut all = RouteBin::default();
        let bins = self.between(from, to).iter();
        for bin in bins.filter_map(|bin| bin.routes.get(route)) {
            all.sent += bin.sent;
            all.latencies.extend(&bin.latencies);
        }
        all
    }

    /// The second at which a limit changed.
    #[must_use]
    pub fn secs_of(&self, change: &Change) -> f64 {
        self.secs_at(change.at)
    }

    /// Every change of a limit, and of which limit a route meets, in order, with its second.
    #[must_use]
    pub fn told(&self) -> Vec<(f64, String)> {
        let common = self.changes.iter();
        let common = common.map(|change| (self.secs_of(change), change.to_string()));
        let backends = self.backends.iter().map(|it| match &it.news {
            BackendNews::Limit(change) => {
                (self.secs_of(change), format!("{}: {change}", it.backend))
            }
            BackendNews::Route { at, route, apart } => {
                let of = if *apart { "its own" } else { "all" };
                let news = format!("{}: {route} meets the limit of {of}", it.backend);
                (self.secs_at(*at), news)
            }
            other => (f64::NAN, format!("{}: {other:?}", it.backend)),
        });
        let mut told: Vec<_> = common.chain(backends).collect();
        told.sort_by(|a, b| a.0.total_cmp(&b.0));
        told
    }

    fn secs_at(&self, at: Instant) -> f64 {
        let base = self.base.unwrap_or(at);
        at.saturating_duration_since(base).as_secs_f64()
    }

    /// The bin of a moment.
    pub fn bin(&mut self, secs: f64) -> &mut Bin {
        let index = (secs / BIN) as usize;
        if index >= self.bins.len() {
            self.bins.resize(index + 1, Bin::default());
        }
        &mut self.bins[index]
    }

    /// The bins between two moments.
    #[must_use]
    pub fn between(&self, from: f64, to: f64) -> &[Bin] {
        let last = self.bins.len();
        let from = ((from / BIN).round() as usize).min(last);
        let to = ((to / BIN).round() as usize).clamp(from, last);
        &self.bins[from..to]
    }

    /// Sum of a count between two moments.
    pub fn sum(&self, from: f64, to: f64, count: impl Fn(&Bin) -> u32) -> f64 {
        self.between(from, to)
            .iter()
            .map(|b| f64::from(count(b)))
            .sum()
    }

    /// Requests answered in time, each second.
    #[must_use]
    pub fn goodput(&self, from: f64, to: f64) -> f64 {
        self.sum(from, to, |b| b.done) / (to - from)
    }

    /// Requests refused.
    #[must_use]
    pub fn refused(&self, from: f64, to: f64) -> f64 {
        self.sum(from, to, |b| b.refused)
    }

    /// Requests whose client gave up, each second.
    #[must_use]
    pub fn time_outs(&self, from: f64, to: f64) -> f64 {
        self.sum(from, to, |b| b.timed_out) / (to - from)
    }

    /// Requests answered in time, of those sent.
    #[must_use]
    pub fn served(&self, from: f64, to: f64) -> f64 {
        self.sum(from, to, |b| b.done) / self.sum(from, to, |b| b.sent).max(1.0)
    }

    /// A quantile of the latency of those answered between two moments, in seconds.
    #[must_use]
    pub fn latency(&self, from: f64, to: f64, quantile: f64) -> f64 {
        let bins = self.between(from, to).iter();
        let all = bins.flat_map(|b| b.latencies.iter().copied());
        self::quantile(all.collect(), quantile)
    }

    /// Seconds after `from` until goodput has been at least `rate` for 100 ms on end.
    #[must_use]
    pub fn recovery(&self, from: f64, to: f64, rate: f64) -> f64 {
        let span = self.between(from, to);
        let good = |pair: &[Bin]| {
            let done: u32 = pair.iter().map(|b| b.done).sum();
            f64::from(done) / (BIN * pair.len() as f64) >= rate
        };
        span.windows(2)
            .position(good)
            .map_or(f64::INFINITY, |bins| bins as f64 * BIN)
    }
}

impl RouteBin {
    /// A quantile of the latency of those answered, in seconds.
    #[must_use]
    pub fn latency(self, quantile: f64) -> f64 {
        self::quantile(self.latencies, quantile)
    }
}

fn quantile(mut all: Vec<f32>, quantile: f64) -> f64 {
    if all.is_empty() {
        return 0.0;
    }
    let index = ((all.len() as f64 * quantile) as usize).min(all.len() - 1);
    let (_, value, _) = all.select_nth_unstable_by(index, f32::total_cmp);
    f64::from(*value)
}
