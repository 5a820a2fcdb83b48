//! Which refusals of a storm are kept one by one.
//!
//! All are counted. Of the first in each second every one is kept, so that a client's id leads
//! to its own request as long as refusals are few; of the rest at most one for each cause and
//! route, so that a storm costs little and does not push the rare kinds out. Routes are told
//! apart by a few bits: two that share them share their place.

use crate::refusal::cause::Cause;

/// So many in each second are kept, whatever they are.
const KEPT_WHOLE: u32 = 32;

/// No more than so many in each second, which is what a stripe has room for.
const KEPT_MAX: u32 = super::RECENT_PER_STRIPE as u32;

/// Places for causes and routes.
const PLACES: usize = 64;

/// What a stripe has kept of the present second.
#[derive(Debug)]
pub(super) struct Sample {
    second: u64,
    kept: u32,
    /// The key of what was kept there, zero if nothing was.
    places: [u32; PLACES],
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            second: 0,
            kept: 0,
            places: [0; PLACES],
        }
    }
}

impl Sample {
    /// Whether a refusal that came so many nanoseconds after some origin is kept.
    pub(super) fn keeps(&mut self, nanos: u64, cause: Cause, route: &str) -> bool {
        let second = nanos / 1_000_000_000;
        if second > self.second {
            *self = Self {
                second,
                ..Self::default()
            };
        }
        if self.kept >= KEPT_MAX {
            return false;
        }
        if self.kept >= KEPT_WHOLE {
            let key = key(cause, route);
            let place = &mut self.places[key as usize % PLACES];
            if *place == key {
                return false;
            }
            *place = key;
        }
        self.kept += 1;
        true
    }
}

/// A number that most pairs have for themselves; never zero. The multiplier is the one of the
/// Fx hash (Firefox, rustc): quick, and nothing is lost if somebody makes two routes collide.
fn key(cause: Cause, route: &str) -> u32 {
    const MULTIPLIER: u64 = 0x51_7c_c1_b7_27_22_0a_95;
    let step = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER);
    let mut hash = step(route.len() as u64, cause.index() as u64);
    for chunk in route.as_bytes().chunks(8) {
        let word = chunk
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = step(hash, word);
    }
    (hash >> 32) as u32 | 1
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn few_refusals_are_all_kept() {
        let mut sample = Sample::default();
        let all = (0..1000).all(|n| sample.keeps(n * SECOND / 32, Cause::Overloaded, "/"));
        assert!(all);
    }

    #[test]
    fn in_a_storm_each_cause_and_route_is_kept_once_a_second() {
        let mut sample = Sample::default();
        for second in 0..3 {
            let mut kept = [0; 3];
            for n in 0..10_000 {
                let at = second * SECOND + n;
                let of = [
                    (Cause::Overloaded, "/a"),
                    (Cause::Overloaded, "/a/longer/path"),
                    (Cause::Draining, "/a"),
                ];
                let which = n as usize % 3;
                kept[which] += u32::from(sample.keeps(at, of[which].0, of[which].1));
            }
            assert_eq!(kept.iter().sum::<u32>(), KEPT_WHOLE + 3);
            assert!(kept.iter().all(|kept| *kept >= KEPT_WHOLE / 3));
        }
    }

    proptest! {
        /// Goal: whatever comes, a second has at most so many.
        #[test]
        fn a_second_never_keeps_more_than_there_is_room_for(
            routes in proptest::collection::vec("[a-z/]{0,20}", 1..400),
        ) {
            let mut sample = Sample::default();
            let kept = routes.iter().filter(|route| sample.keeps(5 * SECOND, Cause::Overloaded, route));
            prop_assert!(kept.count() <= KEPT_MAX as usize);
        }
    }
}
