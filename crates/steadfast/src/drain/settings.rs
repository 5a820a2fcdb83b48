//! How long each step of a drain may take.

use std::time::Duration;

/// How long each step of a drain may take.
///
/// The longest drain is `max(lame_duck_max, hooks) + grace + hooks`: with the defaults 28 s,
/// inside the 30 s that Kubernetes and most process managers grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Drain {
    pub(crate) lame_duck_min: Duration,
    pub(crate) lame_duck_max: Duration,
    pub(crate) failing_probes: u32,
    pub(crate) grace: Duration,
    pub(crate) idle_linger: Duration,
    pub(crate) hooks: Duration,
}

impl Default for Drain {
    /// A lame duck of 1 s to 10 s, a grace of 15 s, and 3 s for hooks.
    fn default() -> Self {
        Self {
            lame_duck_min: Duration::from_secs(1),
            lame_duck_max: Duration::from_secs(10),
            failing_probes: 3,
            grace: Duration::from_secs(15),
            idle_linger: Duration::from_secs(1),
            hooks: Duration::from_secs(3),
        }
    }
}

impl Drain {
    /// Longest step. What takes longer is not a restart any more.
    pub(crate) const LENGTH_MAX: Duration = Duration::from_secs(3600);

    /// Most probes that the end of the lame duck may wait for.
    pub(crate) const FAILING_PROBES_MAX: u32 = 1000;

    /// Sets for how long at most readiness says no while everything is still served, so that
    /// balancers go elsewhere first. It ends sooner once they have: see
    /// [`Drain::failing_probes`]. Zero skips it. Default 10 s.
    ///
    /// Choose it above the time your balancer takes to notice: its probe interval times its
    /// threshold. Where a preStop hook already sleeps for that long, zero is right.
    pub const fn lame_duck_max(mut self, length: Duration) -> Self {
        self.lame_duck_max = length;
        self
    }

    /// Sets the shortest lame duck, whatever the evidence says. Default 1 s; never more
    /// than the maximum.
    pub const fn lame_duck_min(mut self, length: Duration) -> Self {
        self.lame_duck_min = length;
        self
    }

    /// Sets how many readiness probes must have been told no before the lame duck may end
    /// early, which it does once no request has come for half a second. Default 3, the
    /// usual threshold of a balancer; with several balancers, their thresholds' sum.
    pub const fn failing_probes(mut self, count: u32) -> Self {
        self.failing_probes = count;
        self
    }

    /// Sets for how long running requests may take to finish. Default 15 s.
    pub const fn grace(mut self, length: Duration) -> Self {
        self.grace = length;
        self
    }

    /// Sets for how long idle keep-alive connections stay open once the listener is closed.
    /// Default 1 s; it is part of the grace, and over at once if there are none.
    ///
    /// A proxy may be about to use one of them. It notices by refused connections that the
    /// instance has gone, so the later a connection is closed, the less likely it is that a
    /// request and the close cross on the way.
    pub const fn idle_linger(mut self, length: Duration) -> Self {
        self.idle_linger = length;
        self
    }

    /// Sets the time for all hooks of one stage together. Default 3 s.
    pub const fn hooks(mut self, length: Duration) -> Self {
        self.hooks = length;
        self
    }

    /// Returns the longest that the whole drain can take.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.lame_duck_max.max(self.hooks) + self.grace + self.hooks
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let lengths = [
            ("lame_duck_min", self.lame_duck_min),
            ("lame_duck_max", self.lame_duck_max),
            ("idle_linger", self.idle_linger),
            ("hooks", self.hooks),
        ];
        for (key, length) in lengths {
            if length > Self::LENGTH_MAX {
                faults.push(format!("drain: {key} {length:?}; allowed is 0s to 1h"));
            }
        }
        if self.grace.is_zero() || self.grace > Self::LENGTH_MAX {
            faults.push(format!(
                "drain: grace {:?}; allowed is above 0s to 1h",
                self.grace
            ));
        }
        if !(1..=Self::FAILING_PROBES_MAX).contains(&self.failing_probes) {
            faults.push(format!(
                "drain: failing_probes {}; allowed is 1 to {}",
                self.failing_probes,
                Self::FAILING_PROBES_MAX
            ));
        }
        faults
    }
}
