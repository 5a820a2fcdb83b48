//! Other people's algorithms, small, to compare with, and what stands before a limit. They show too that the seam is open.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use steadfast_core::limit::{
    Adaptive, Admitted, Change, ChangeReason, Directive, Ended, Ending, Fixed, Limit, LimitPhase,
    Sampling, Snapshot, Tag,
};
use steadfast_core::plumbing::QueueSettings;

/// Makes more of a limit.
pub type Again = Arc<dyn Fn(u64) -> Box<dyn Limit> + Send + Sync>;

/// A limit, and what stands before it.
#[expect(missing_debug_implementations, reason = "it holds a closure")]
pub struct Peer {
    /// The limit.
    pub limit: Box<dyn Limit>,
    /// More of the same, from other seeds.
    pub again: Again,
    /// Whether the real gate keeps its count instead of a plain one.
    pub real: bool,
    /// The queue before it.
    pub queue: Option<QueueSettings>,
}

/// What the command line calls them.
pub const NAMES: [&str; 6] = [
    "adaptive",
    "fixed-24",
    "fixed-100",
    "aimd",
    "gradient2",
    "vegas",
];

/// Makes a peer: an algorithm, behind the real gate if `+gate` follows, and with the real queue before that if `+queue` does.
///
/// `+queue-N` has N places, whatever the limit is, and `+queue-N-M` lets a request wait for M ms in a queue that lasts.
#[must_use]
pub fn make(name: &str, seed: u64) -> Option<Peer> {
    let (name, before) = name.split_once('+').unwrap_or((name, ""));
    let limit = algorithm(name, seed)?;
    let name = name.to_owned();
    Some(Peer {
        limit,
        again: Arc::new(move |seed| algorithm(&name, seed).expect("it was made before")),
        real: !before.is_empty(),
        queue: match before {
            "" | "gate" => None,
            queue => Some(queued(queue.strip_prefix("queue")?)?),
        },
    })
}

fn queued(form: &str) -> Option<QueueSettings> {
    let settings = QueueSettings::default();
    let Some(form) = form.strip_prefix('-') else {
        return form.is_empty().then_some(settings);
    };
    let (places, target) = form.split_once('-').unwrap_or((form, "5"));
    let target = Duration::from_millis(target.parse().ok()?);
    let settings = settings.len_max(places.parse().ok()?).target(target);
    settings.faults().is_empty().then_some(settings)
}

/// Makes an algorithm: one of [`NAMES`], any `fixed-N`, or `start-N` for the adaptive one from a limit of N.
fn algorithm(name: &str, seed: u64) -> Option<Box<dyn Limit>> {
    let number = |prefix: &str| name.strip_prefix(prefix)?.parse::<u32>().ok();
    if let Some(n) = number("fixed-").and_then(NonZeroU32::new) {
        return Some(Box::new(Fixed::new(n)));
    }
    if let Some(n) = number("start-") {
        return Some(Box::new(Adaptive::builder(seed).start(n).build()));
    }
    match name {
        "adaptive" => Some(Box::new(Adaptive::new(seed))),
        "aimd" => Some(Box::new(Sampled::new("aimd", aimd()))),
        "gradient2" => Some(Box::new(Sampled::new("gradient2", gradient2()))),
        "vegas" => Some(Box::new(Sampled::new("vegas", vegas()))),
        _ => None,
    }
}

/// A rule that takes limit, latency in seconds, in flight and whether it failed, and returns the next limit.
type Rule = Box<dyn FnMut(f64, f64, f64, bool) -> f64 + Send>;

struct Sampled {
    name: &'static str,
    limit: f64,
    in_flight: u32,
    rule: Rule,
}

impl Sampled {
    fn new(name: &'static str, rule: Rule) -> Self {
        let limit = 20.0;
        Self {
            name,
            limit,
            in_flight: 0,
            rule,
        }
    }

    fn limit(&self) -> u32 {
        self.limit as u32
    }
}

impl fmt::Debug for Sampled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(self.name)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Limit for Sampled {
    fn directive(&self) -> Directive {
        Directive::new(Some(self.limit()), Sampling::OneIn(1), 0)
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::new(LimitPhase::Held);
        snapshot.limit = Some(self.limit());
        snapshot
    }

    fn admitted(&mut self, admitted: Admitted) -> Tag {
        self.in_flight = admitted.in_flight;
        Tag::new(1)
    }

    fn ended(&mut self, ended: Ended) -> Option<Change> {
        let from = self.limit();
        let failed = ended.ending == Ending::Abandoned;
        let in_flight = f64::from(ended.in_flight);
        self.limit = (self.rule)(self.limit, ended.latency_secs(), in_flight, failed);
        let to = self.limit();
        let why = ChangeReason::Other(self.name);
        (from != to).then(|| Change::new(ended.now, Some(from), Some(to), why))
    }
}

/// Additive increase, multiplicative decrease: a request over 100 ms is a failure.
fn aimd() -> Rule {
    Box::new(|limit, latency, in_flight, failed| {
        let next = if failed || latency > 0.1 {
            limit * 0.9
        } else if in_flight * 2.0 >= limit {
            limit + 1.0
        } else {
            limit
        };
        next.clamp(1.0, 1000.0)
    })
}

/// Netflix' Gradient2 with its defaults (concurrency-limits 78a74b98).
fn gradient2() -> Rule {
    let mut long = 0.0;
    let mut samples = 0.0_f64;
    Box::new(move |limit, latency, in_flight, _| {
        samples += 1.0;
        let weight: f64 = if samples < 10.0 {
            1.0 / samples
        } else {
            2.0 / 601.0
        };
        long += (latency - long) * weight;
        if long / latency > 2.0 {
            long *= 0.95;
        }
        if in_flight < limit / 2.0 {
            return limit;
        }
        let gradient = (1.5 * long / latency).clamp(0.5, 1.0);
        (0.8 * limit + 0.2 * (limit * gradient + 4.0)).clamp(20.0, 200.0)
    })
}

/// Netflix' Vegas with its defaults.
fn vegas() -> Rule {
    let mut least = f64::INFINITY;
    let mut until_probe = 600.0;
    Box::new(move |limit, latency, in_flight, failed| {
        until_probe -= 1.0;
        if until_probe < 0.0 {
            until_probe = 30.0 * limit;
            least = latency;
            return limit;
        }
        if latency < least {
            least = latency;
            return limit;
        }
        if in_flight * 2.0 < limit && !failed {
            return limit;
        }
        let log = limit.log10().floor().max(1.0);
        let queue = (limit * (1.0 - least / latency)).ceil();
        let next = if failed || queue > 6.0 * log {
            limit - log
        } else if queue <= log {
            limit + 6.0 * log
        } else if queue < 3.0 * log {
            limit + log
        } else {
            limit
        };
        next.clamp(1.0, 1000.0)
    })
}
