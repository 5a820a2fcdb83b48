//! Where an algorithm stands, for people and for the ledger.

use std::time::Instant;

use super::Change;

/// Where an algorithm stands.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// What it is doing.
    pub phase: LimitPhase,
    /// About the limit it has settled on; `None` is no limit. What is in force moves around it as it is measured again, and differs more for a moment: see [`LimitPhase`].
    pub limit: Option<u32>,
    /// How many requests it believes the service can work on at once.
    pub knee: Option<f64>,
    /// The share of recent arrivals that its cap refused, `0.0..=1.0`.
    pub refused_ratio: f64,
    /// The last comparison that it drew a conclusion from.
    pub experiment: Option<Experiment>,
    /// The last change and its reason.
    pub change: Option<Change>,
}

impl Snapshot {
    /// A snapshot in which nothing is known but the phase.
    #[must_use]
    pub const fn new(phase: LimitPhase) -> Self {
        Self {
            phase,
            limit: None,
            knee: None,
            refused_ratio: 0.0,
            experiment: None,
            change: None,
        }
    }
}

/// What an algorithm is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitPhase {
    /// It refuses nobody and watches.
    Open,
    /// It has a limit and rests.
    Held,
    /// It has just set a limit and makes sure that requests became faster by it.
    Verifying,
    /// It collects what requests take at the limit, to compare.
    Reference,
    /// It admits fewer for a moment, to see whether requests become faster.
    Dip,
    /// It admits more for a moment, to see whether requests become slower.
    Rise,
}

impl LimitPhase {
    /// Returns the stable code, for machines.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Held => "held",
            Self::Verifying => "verifying",
            Self::Reference => "reference",
            Self::Dip => "dip",
            Self::Rise => "rise",
        }
    }
}

/// One comparison of requests admitted with few and with many in flight.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Experiment {
    /// When it was concluded.
    pub at: Instant,
    /// Mean in flight when those of the low side were admitted.
    pub in_flight_low: f64,
    /// Mean in flight when those of the high side were admitted.
    pub in_flight_high: f64,
    /// Mean latency of the low side over that of the high side: 1 says that nobody queued.
    pub latency_ratio: f64,
    /// Standard error of the logarithm of that ratio.
    pub error: f64,
    /// What follows for the knee.
    pub knee: f64,
}

impl Experiment {
    /// Describes a comparison concluded at `at`, whose knee is `in_flight_high * latency_ratio`.
    #[must_use]
    pub fn new(
        at: Instant,
        in_flight_low: f64,
        in_flight_high: f64,
        latency_ratio: f64,
        error: f64,
    ) -> Self {
        Self {
            at,
            in_flight_low,
            in_flight_high,
            latency_ratio,
            error,
            knee: in_flight_high * latency_ratio,
        }
    }
}
