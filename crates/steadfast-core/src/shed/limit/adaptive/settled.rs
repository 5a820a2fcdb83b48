//! The limit that people are told of: it moves when the limit has moved, and not with each fine step.
//!
//! An experiment ends with an error of some hundredths, so a limit that is right goes on moving by a place or two, at 2x about seven times a minute.
//! That is as it should be, and says nothing to anybody; on a page and in a history it looks like unrest.
//! A limit that stays still instead was tried, and missed what it should have followed (the simulator's README).
//! So what is told stays while the limit stays near, and becomes the mean of the last ones when that has left.

/// What is told, and what it is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    told: Option<u32>,
    /// The limit in force.
    limit: Option<u32>,
    /// The mean of the last limits, and of how many.
    mean: f64,
    n: f64,
}

impl Settled {
    /// Tells of this limit, or of none.
    pub(super) fn at(limit: Option<u32>) -> Self {
        Self {
            told: limit,
            limit,
            mean: f64::from(limit.unwrap_or_default()),
            n: 1.0,
        }
    }

    pub(super) const fn told(&self) -> Option<u32> {
        self.told
    }

    /// Follows the limit; returns what was told before and what is told now, if it moved.
    pub(super) fn follow(&mut self, limit: Option<u32>) -> Option<(Option<u32>, Option<u32>)> {
        if limit == self.limit {
            return None;
        }
        let from = self.told;
        match (from, limit) {
            (Some(told), Some(limit)) if !far(f64::from(limit), told) => {
                self.limit = Some(limit);
                self.n = (self.n + 1.0).min(MEMORY);
                self.mean += (f64::from(limit) - self.mean) / self.n;
                if left(self.mean, told) {
                    self.told = Some(self.mean.round() as u32);
                }
            }
            _ => *self = Self::at(limit),
        }
        (self.told != from).then_some((from, self.told))
    }
}

/// Whether a limit is so far from what is told that this is no fine step.
fn far(limit: f64, told: u32) -> bool {
    apart(limit, told, FAR)
}

/// Whether the mean is no longer about what is told.
fn left(mean: f64, told: u32) -> bool {
    apart(mean, told, ABOUT)
}

fn apart(number: f64, told: u32, factor: f64) -> bool {
    let told = f64::from(told);
    (number / told).max(told / number) > factor && (number - told).abs() >= PLACES
}

/// A limit within this factor of what is told may be a fine step; what is taken in full is more.
const FAR: f64 = 1.35;
/// What is told is about the limit: within this factor of its mean. Limits found twice differ by a fifth at most, their means by half of that.
const ABOUT: f64 = 1.15;
/// And by no less than this, since small limits move by a place at a time.
const PLACES: f64 = 1.5;
/// The mean is over about so many limits.
const MEMORY: f64 = 4.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(limits: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let mut settled = Settled::at(None);
        let moves = |limit| settled.follow(Some(limit))?.1;
        limits.into_iter().filter_map(moves).collect()
    }

    #[test]
    fn a_place_more_or_less_is_not_told() {
        assert_eq!(told([24, 23, 22, 23, 24, 25, 24, 25, 23, 22, 24]), [24]);
        assert_eq!(told([4, 5, 4, 3, 4, 5]), [4]);
    }

    #[test]
    fn a_limit_that_wanders_off_is_followed_by_its_mean() {
        assert_eq!(told([24, 26, 28, 29, 30, 29, 30, 31, 30]), [24, 28]);
    }

    #[test]
    fn what_is_no_fine_step_is_told_at_once() {
        assert_eq!(told([1000, 500, 250, 60, 24]), [1000, 500, 250, 60, 24]);
    }

    #[test]
    fn that_there_is_no_limit_any_more_is_told_at_once() {
        let mut settled = Settled::at(Some(24));
        assert_eq!(settled.follow(Some(25)), None);
        assert_eq!(settled.follow(None), Some((Some(24), None)));
        assert_eq!(settled.follow(None), None);
        assert_eq!(settled.told(), None);
    }
}
