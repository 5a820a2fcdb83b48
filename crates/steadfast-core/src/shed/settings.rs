//! How a load-shedding gate is set up: which algorithm decides, and whether it is obeyed.

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use super::STREAMS_MAX_DEFAULT;
use crate::shed::{
    inflight::tokens::LIMIT_MAX,
    limit::{Adaptive, Fixed, Limit},
    runtime_lag::LagMode,
    wait_queue::QueueSettings,
};

/// A permit held for longer than this is evidence of a handler that hangs, unless
/// configured. Ten seconds is longer than any healthy answer that a client still waits for
/// (browsers and balancers give up between 15 and 60 s) and shorter than an incident.
pub const HELD_MAX_DEFAULT: Duration = Duration::from_secs(10);

/// Whether the gate refuses, or only says what it would have refused.
///
/// Complete: it refuses or it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShedMode {
    /// Refuses at the limit.
    Enforce,
    /// Admits everything and counts what it would have refused.
    Observe,
}

/// Makes the algorithm of a gate from a seed.
type MakeLimit = dyn Fn(u64) -> Box<dyn Limit> + Send + Sync;

/// The settings of a [`ShedGate`](super::ShedGate).
#[derive(Clone, Debug)]
#[must_use]
pub struct ShedSettings {
    plan: Plan,
    pub(super) mode: ShedMode,
    pub(super) held_max: Duration,
    pub(super) queue: Option<QueueSettings>,
    lag: Option<LagMode>,
    memory: Option<ShedMode>,
    pub(super) streams_max: u32,
    pub(super) tenants: bool,
    by_backend: bool,
}

#[derive(Clone)]
enum Plan {
    Fixed(u32),
    Made(&'static str, Arc<MakeLimit>),
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(limit) => write!(f, "Fixed({limit})"),
            Self::Made(name, _) => f.write_str(name),
        }
    }
}

impl ShedSettings {
    /// At most `limit` requests run at once, without a queue.
    pub const fn fixed(limit: u32) -> Self {
        Self {
            plan: Plan::Fixed(limit),
            mode: ShedMode::Enforce,
            held_max: HELD_MAX_DEFAULT,
            queue: None,
            lag: None,
            memory: None,
            streams_max: STREAMS_MAX_DEFAULT,
            tenants: false,
            by_backend: false,
        }
    }

    /// An algorithm finds how many may run; `name` is shown to operators. It is called with
    /// a random seed when the gate is made.
    pub fn algorithm(
        name: &'static str,
        make: impl Fn(u64) -> Box<dyn Limit> + Send + Sync + 'static,
    ) -> Self {
        Self {
            plan: Plan::Made(name, Arc::new(make)),
            ..Self::fixed(1)
        }
    }

    /// The algorithm that stays out of the way until requests queue: see
    /// [`crate::shed::limit::Adaptive`].
    pub fn adaptive() -> Self {
        Self::algorithm("Adaptive", |seed| Box::new(Adaptive::new(seed))).by_backend(true)
    }

    /// Sets how many requests run at once at most, without a queue, whatever was chosen
    /// before.
    pub fn limit(mut self, limit: u32) -> Self {
        self.plan = Plan::Fixed(limit);
        self.queue = None;
        self
    }

    /// Refuses, or only counts.
    pub const fn mode(mut self, mode: ShedMode) -> Self {
        self.mode = mode;
        self
    }

    /// Lets requests wait, a few and for a moment, or none.
    pub const fn queue(mut self, queue: Option<QueueSettings>) -> Self {
        self.queue = queue;
        self
    }

    /// Sets after how long a held permit counts as evidence of a handler that hangs.
    pub const fn held_max(mut self, held_max: Duration) -> Self {
        self.held_max = held_max;
        self
    }

    /// Says whether the lag loop is obeyed. Without it, it is when the limit is.
    pub const fn lag(mut self, mode: LagMode) -> Self {
        self.lag = Some(mode);
        self
    }

    /// Says whether requests are refused while memory is close to its limit. Without it,
    /// they are when the limit refuses.
    pub const fn memory(mut self, mode: ShedMode) -> Self {
        self.memory = Some(mode);
        self
    }

    pub(super) fn memory_mode(&self) -> ShedMode {
        self.memory.unwrap_or(self.mode)
    }

    /// Sets how many streams may be open at once. Default [`STREAMS_MAX_DEFAULT`].
    pub const fn streams_max(mut self, max: u32) -> Self {
        self.streams_max = max;
        self
    }

    /// Says that requests will be told whose they are: whoever asks for more than a fair share
    /// is refused first while the limit is met. Without it nothing is kept of tenants.
    pub const fn tenants(mut self, tenants: bool) -> Self {
        self.tenants = tenants;
        self
    }

    /// Says whether requests that mostly wait for different dependencies have limits of their
    /// own, once that has been seen of them; else there is one limit for all. Default: yes with
    /// [`ShedSettings::adaptive`], no with an algorithm of one's own, of which it makes one for
    /// each. A fixed limit is one for all whatever is said here.
    pub const fn by_backend(mut self, by_backend: bool) -> Self {
        self.by_backend = by_backend;
        self
    }

    /// Whether each backend gets a limit of its own.
    pub(super) fn is_by_backend(&self) -> bool {
        self.by_backend && matches!(self.plan, Plan::Made(..))
    }

    pub(super) fn lag_mode(&self) -> LagMode {
        self.lag.unwrap_or(match self.mode {
            ShedMode::Enforce => LagMode::Enforce,
            ShedMode::Observe => LagMode::Observe,
        })
    }

    /// Returns what is wrong with the settings.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        match self.plan {
            Plan::Fixed(limit) if limit == 0 || limit > LIMIT_MAX => {
                faults.push(format!("shed: limit {limit}; allowed is 1 to {LIMIT_MAX}"));
            }
            _ => {}
        }
        if self.streams_max == 0 || self.streams_max > LIMIT_MAX {
            let found = self.streams_max;
            faults.push(format!(
                "shed: streams {found}; allowed is 1 to {LIMIT_MAX}"
            ));
        }
        if self.held_max.is_zero() {
            faults.push("shed: held_max 0s; allowed is any length above zero".to_owned());
        }
        faults.extend(self.queue.iter().flat_map(QueueSettings::faults));
        faults
    }

    pub(super) fn make(&self, seed: u64) -> Box<dyn Limit> {
        match &self.plan {
            Plan::Fixed(limit) => fixed(*limit),
            Plan::Made(_, make) => make(seed),
        }
    }
}

pub(super) fn fixed(limit: u32) -> Box<dyn Limit> {
    let limit = NonZeroU32::new(limit.min(LIMIT_MAX)).unwrap_or(NonZeroU32::MIN);
    Box::new(Fixed::new(limit))
}
