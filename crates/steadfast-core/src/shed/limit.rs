//! How many requests may run at once: the seam behind which an algorithm decides.
//!
//! A [`Limit`] decides *how many*; it never sees a single decision.
//! Whoever admits requests keeps the count of those in flight, compares it with the cap that the algorithm publishes in its [`Directive`], and calls the algorithm only for what the directive asks to hear.
//! That keeps the path of a request free of the algorithm: a directive packs into one `u64`, so it can be published in an atomic and read with one relaxed load.
//!
//! The conversation:
//!
//! 1. After every call that takes `&mut self`, publish [`Limit::directive`] again.
//! 2. When a request is admitted and the directive's [`Sampling`] selects it, call [`Limit::admitted`] and keep the [`Tag`] in the permit. A sample may be skipped when the caller's lock is busy.
//! 3. When a request with a tag ends, call [`Limit::ended`]. This one must not be skipped.
//! 4. After every [`Directive::window`] arrivals since the last time, call [`Limit::window`] with the counts.
//! 5. When the process itself was late, call [`Limit::late`].
//!
//! Calls are serialised by the caller, so an algorithm needs no atomics. Time comes as an argument.
//!
//! ```
//! use std::time::Instant;
//! use steadfast_core::limit::{Adaptive, Admitted, Ended, Ending, Limit};
//!
//! # #[expect(clippy::disallowed_methods, reason = "an example needs some moment")]
//! let start = Instant::now();
//! let mut limit = Adaptive::new(7);
//! assert_eq!(limit.directive().cap, None, "it stays out of the way until it has evidence");
//!
//! let tag = limit.admitted(Admitted::new(start, 1));
//! let change = limit.ended(Ended::new(start, start, 1, tag, Ending::Completed));
//! assert!(change.is_none());
//! ```
//!
//! Hazards: an algorithm that is told of refusals that another rule made (a priority, a tenant's share) mistakes them for its own; and one that is told of exempt requests counts what it cannot limit.

use std::fmt;
use std::time::{Duration, Instant};

mod adaptive;
mod change;
mod directive;
mod fixed;
mod snapshot;

pub use adaptive::{Adaptive, AdaptiveBuilder};
pub use change::{Change, ChangeReason};
pub use directive::{Directive, Sampling};
pub use fixed::Fixed;
pub use snapshot::{Experiment, LimitPhase, Snapshot};

/// Decides how many requests may run at once.
///
/// Open for implementation: every method but two has a default, and the arguments grow without breaking.
/// The caller serialises calls; no method may block, allocate for each request, or read a clock.
pub trait Limit: fmt::Debug + Send {
    /// Says what to enforce now and what the algorithm wants to hear.
    fn directive(&self) -> Directive;

    /// Says where the algorithm stands, for the operator's page and the ledger.
    fn snapshot(&self) -> Snapshot;

    /// Hears of a request that was admitted and selected by [`Directive::sampling`].
    ///
    /// [`Tag::NONE`] says that the end of this request is of no interest.
    fn admitted(&mut self, admitted: Admitted) -> Tag {
        let _ = admitted;
        Tag::NONE
    }

    /// Hears that a tagged request has ended.
    fn ended(&mut self, ended: Ended) -> Option<Change> {
        let _ = ended;
        None
    }

    /// Hears how many places of its cap are kept beside those that it is about, whenever that changes: for those who go first, because everybody else stops short of the cap by so many, and for those who stand in the lag loop's line until they begin.
    ///
    /// An algorithm that measures adds them to the cap that it finds, so that it goes on to see as many in flight as it asked for; without that the limit holds and fewer run.
    fn kept(&mut self, places: u32) {
        let _ = places;
    }

    /// Says how many places its cap is lower than its limit for the moment of an experiment.
    ///
    /// Asked whenever the directive changes while some places are kept: those who go first may take these too, so that an experiment costs only the others.
    fn spared(&self) -> u32 {
        0
    }

    /// Hears what was counted since the last call.
    fn window(&mut self, window: Window) -> Option<Change> {
        let _ = window;
        None
    }

    /// Hears that the process itself runs `lag` late: what was measured about now says more about it than about the service.
    ///
    /// Told with each heartbeat that is late, and in no order with the other calls.
    fn late(&mut self, now: Instant, lag: Duration) {
        let _ = (now, lag);
    }
}

/// Marks a request whose end the algorithm wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Tag(u32);

impl Tag {
    /// Asks for nothing.
    pub const NONE: Self = Self(0);

    /// Makes a tag of an algorithm's own meaning; zero is [`Tag::NONE`].
    #[must_use]
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }

    /// Returns what [`Tag::new`] was given.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// Whether the end of the request is of no interest.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// A request at the moment it was admitted.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Admitted {
    /// The moment.
    pub now: Instant,
    /// Requests in flight, this one included; none that stand in line while the runtime is late.
    pub in_flight: u32,
}

impl Admitted {
    /// Describes a request admitted at `now`, with `in_flight` counting it too.
    #[must_use]
    pub const fn new(now: Instant, in_flight: u32) -> Self {
        Self { now, in_flight }
    }
}

/// A tagged request at the moment it ended.
///
/// Ended means that the head of the response is there (or that there will be none); how long the body takes says more about the client than about the service.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Ended {
    /// The moment.
    pub now: Instant,
    /// The moment it was admitted, or had its turn if it stood in line while the runtime was late.
    pub admitted_at: Instant,
    /// Requests in flight at that moment that did not stand in line, itself included.
    pub in_flight: u32,
    /// What [`Limit::admitted`] returned for it.
    pub tag: Tag,
    /// How it ended.
    pub ending: Ending,
}

impl Ended {
    /// Describes the end at `now` of a request admitted at `admitted_at` with `in_flight` in flight.
    #[must_use]
    pub const fn new(
        now: Instant,
        admitted_at: Instant,
        in_flight: u32,
        tag: Tag,
        ending: Ending,
    ) -> Self {
        Self {
            now,
            admitted_at,
            in_flight,
            tag,
            ending,
        }
    }

    /// Seconds from admission to the end; never zero, so that its logarithm exists.
    #[must_use]
    pub fn latency_secs(&self) -> f64 {
        self.now
            .saturating_duration_since(self.admitted_at)
            .as_secs_f64()
            .max(1e-7)
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// The service answered.
    Completed,
    /// The client went away; the request would have taken at least this long.
    Abandoned,
    /// Its duration says nothing about the work, for example an error before any work was done.
    Irrelevant,
}

/// What was counted since the last window.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Window {
    /// The moment at which the window ends.
    pub now: Instant,
    /// Requests admitted in it.
    pub admitted: u32,
    /// Requests refused in it because of the cap of this algorithm, and for no other reason.
    pub refused: u32,
    /// Requests in flight at its end.
    pub in_flight: u32,
}

impl Window {
    /// Describes a window that ends at `now`.
    #[must_use]
    pub const fn new(now: Instant, admitted: u32, refused: u32, in_flight: u32) -> Self {
        Self {
            now,
            admitted,
            refused,
            in_flight,
        }
    }
}
