//! What a trap may do to a breaker, whoever wrote it.

use std::time::{Duration, Instant};

use super::call::{Answer, Call, End};

/// A breaker crate, which makes breakers for the traps.
pub(crate) trait Peer {
    /// The crate's name.
    fn name(&self) -> &'static str;

    /// The version that is measured.
    fn version(&self) -> &'static str;

    /// Makes a fresh, closed breaker.
    fn make(&self, wiring: Wiring) -> Box<dyn Subject>;

    /// Applies the layer anew for each of so many failing calls, as axum does with a layer
    /// behind `HandleErrorLayer`. Returns for each way to build it what it is called and
    /// how many calls were refused.
    fn layered_anew(&self, _calls: u32) -> Result<Vec<(&'static str, u32)>, &'static str> {
        Err("it is no layer")
    }

    /// Makes two breakers for two keys of one dependency.
    fn keyed(&self) -> Result<[Box<dyn Subject>; 2], &'static str> {
        Err("it has no keys; one breaker for each is the user's own map")
    }

    /// Trips it, then sets the clock back and asks again: whether it refuses.
    fn refuses_when_the_clock_steps_back(&self) -> Result<bool, &'static str> {
        Err("it reads `Instant`, which cannot be stepped")
    }
}

/// What a trap needs of a breaker's settings. Everything else is as its documentation
/// shows it, and every breaker is told that only [`super::call::Fault::Down`] is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wiring {
    /// The defaults, with a wait short enough to be waited out.
    Usual,
    /// The rule that looks at a window of calls, alone if it is not the default.
    Window,
    /// A window that holds at least so many results.
    Records(u32),
    /// A rate over this time.
    Rate(Duration),
    /// Opens for about so long.
    Wait(Duration),
}

/// One breaker under test.
pub(crate) trait Subject {
    /// Makes a call and polls it once.
    fn start(&self) -> Call;

    /// Lets time pass. Peers read the real clock, so for them this sleeps.
    fn pass(&self, time: Duration);

    /// Returns the moment on the breaker's own clock.
    fn now(&self) -> Instant;

    /// Returns the longest wait of one opening.
    fn wait(&self) -> Duration;

    /// Lets pass what lies between two calls; nothing, where no rule looks at it.
    fn pace(&self) {}

    /// Returns how many failures in a row open it when it is fresh.
    fn trips_after(&self) -> u32;

    /// Returns how many calls its window holds, at most.
    fn window_calls(&self) -> u32 {
        self.trips_after()
    }

    /// Returns how many answers a round of probes takes to end.
    fn round(&self) -> u32;

    /// Returns how many probes may run at once, `None` if that has no bound.
    fn probes(&self) -> Option<u32>;

    /// Returns what it reports of itself to whoever asks, and whether that says *down*.
    fn reports(&self) -> Result<(String, bool), &'static str> {
        Err("it shows no state")
    }

    /// Opens it by hand.
    fn force_open(&self) -> Result<(), &'static str> {
        Err("it cannot be opened by hand")
    }

    /// Tells it that a health check passed, which never was the real work.
    fn check_passed(&self) -> Result<(), &'static str> {
        Err("it takes no health checks")
    }

    /// Whether an instance that wires it as documented is ready while it is open.
    fn is_ready(&self) -> Result<bool, &'static str> {
        Err("it does not judge readiness")
    }

    /// Shows what a caller is told when it is refused.
    fn refusal(&self) -> String;
}

impl dyn Subject + '_ {
    pub(crate) fn call(&self, end: End) -> Answer {
        self.start().end(end)
    }

    /// Whether a call would get through; the call goes away at once.
    pub(crate) fn admits(&self) -> bool {
        !self.start().is_refused()
    }

    /// Whether it admits a call at last, given several times as long as it ever waits.
    pub(crate) fn admits_in_the_end(&self) -> bool {
        (0..ROUNDS_IN_THE_END).any(|_| {
            let admitted = self.admits();
            if !admitted {
                self.outlast();
            }
            admitted
        })
    }

    /// Lets calls fail until one is refused; returns how many got through, at most `most`.
    ///
    /// It stops at the first refusal, so a slow machine cannot turn a second opening into
    /// more.
    pub(crate) fn failures_until_refused(&self, most: u32) -> u32 {
        for failures in 0..most {
            if self.call(End::Bad) == Answer::Refused {
                return failures;
            }
            self.pace();
        }
        most
    }

    /// Opens it by failures.
    pub(crate) fn trip(&self) {
        let most = 2 * self.trips_after();
        assert!(
            self.failures_until_refused(most) < most,
            "a breaker that never opens cannot be tested"
        );
    }

    /// Lets its wait pass.
    pub(crate) fn outlast(&self) {
        self.pass(self.wait() * 3 / 2);
    }

    /// Lets many times its wait pass.
    pub(crate) fn outlast_by_far(&self) {
        self.pass(self.wait() * MANY_WAITS);
    }

    /// Starts so many calls at once.
    pub(crate) fn crowd(&self, callers: u32) -> Vec<Call> {
        (0..callers).map(|_| self.start()).collect()
    }
}

/// Longer than any lease, hold-off or stall limit that a breaker of the suite has.
const MANY_WAITS: u32 = 25;

/// A breaker that ends a lease, waits and probes needs two.
const ROUNDS_IN_THE_END: u32 = 5;
