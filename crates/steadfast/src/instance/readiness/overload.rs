//! The opt-in rule that a service which refuses too much is not ready.
//!
//! Off unless asked for, because all replicas saturate together: if each leaves rotation
//! when it refuses, the last ones get everything. It is for fleets whose balancer can send
//! the excess elsewhere.

use std::{collections::VecDeque, time::Duration};

/// Rounds over which the refused share is taken, one a second.
const WINDOW: usize = 10;

/// Fewest requests in the window: a share of three requests says nothing.
const REQUESTS_MIN: u64 = 100;

/// Follows the refused share of the last ten seconds.
#[derive(Debug)]
pub(crate) struct Overload {
    /// From which share on the instance is overloaded. It is over at half of it.
    threshold: f64,
    rounds: VecDeque<(u64, u64)>,
    overloaded: bool,
}

impl Overload {
    pub(crate) fn new(threshold: f64) -> Self {
        Self {
            threshold,
            rounds: VecDeque::with_capacity(WINDOW + 1),
            overloaded: false,
        }
    }

    /// Takes the totals so far and says whether the instance is overloaded.
    pub(crate) fn observe(&mut self, admitted: u64, refused: u64) -> bool {
        self.rounds.push_back((admitted, refused));
        if self.rounds.len() > WINDOW + 1 {
            self.rounds.pop_front();
        }
        let first = self.rounds.front().copied().unwrap_or_default();
        let (admitted, refused) = (admitted - first.0, refused - first.1);
        let offered = admitted + refused;
        let share = if offered < REQUESTS_MIN {
            0.0
        } else {
            refused as f64 / offered as f64
        };
        let bound = if self.overloaded {
            self.threshold / 2.0
        } else {
            self.threshold
        };
        self.overloaded = share > 0.0 && share >= bound;
        self.overloaded
    }

    /// Returns what is wrong with a threshold.
    pub(crate) fn fault(threshold: f64) -> Option<String> {
        let allowed = threshold > 0.0 && threshold <= 1.0;
        (!allowed).then(|| format!("unready_when_refusing {threshold}; allowed is above 0 to 1"))
    }
}

/// How long one round is.
pub(crate) const ROUND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_a_share_over_ten_seconds_and_ends_at_half_of_it() {
        let mut overload = Overload::new(0.5);
        assert!(!overload.observe(0, 0));
        assert!(!overload.observe(10, 50), "sixty requests say nothing");
        assert!(overload.observe(100, 200));
        assert!(
            overload.observe(400, 200),
            "a third is above half of the threshold"
        );
        assert!(!overload.observe(1000, 200));
        for round in 0..20 {
            assert!(
                !overload.observe(1000 + round * 100, 200),
                "old refusals leave the window"
            );
        }
    }

    #[test]
    fn a_threshold_is_a_ratio() {
        for (threshold, ok) in [
            (0.5, true),
            (1.0, true),
            (0.0, false),
            (1.5, false),
            (f64::NAN, false),
        ] {
            assert_eq!(Overload::fault(threshold).is_none(), ok, "{threshold}");
        }
    }
}
