//! Who asks for more than a fair share, and how many places are kept from them. Pure.
//!
//! *Fair* is max-min: what nobody asks for is shared out among those who ask for more, until
//! all is given away. So there is one level; who asks for less gets what it asks for, who asks
//! for more gets the level. Asking is counted in places: requests a second times the seconds
//! that one holds its place (Little's law), so that a slow report weighs what it takes.
//!
//! Who asks for more than the level is *greedy*. At a full limit the next free place goes to
//! whoever comes next, and that is nearly always a greedy one. So the last places of the limit
//! are kept from the greedy, as the reserve keeps them from those who go later: enough that the
//! *modest* find one, no more than two thirds of what the greedy have a right to. Where only the
//! greedy are there nothing is kept.
//!
//! Who has had more than the level lately is *over* it, and has to leave room for all who are
//! still short of what is theirs, the greedy among them, until it is not over any more. That is
//! what makes several greedy ones equal.

use super::table::Work;

/// A greedy tenant asks for so many times the level, for certain. Nearer to it, the two are
/// not told apart, and the limit decides as if there were no tenants.
const GREEDY_FROM: f64 = 1.25;

/// Standard errors by which what was counted is lowered before it counts against a tenant.
const SURE: f64 = 2.0;

/// The share of the modest that may still find no place.
const LOSS: f64 = 1.0 / 1000.0;

/// The same in standard deviations of a Poisson number.
const LOSS_DEVIATIONS: f64 = 3.1;

/// The part of what the greedy have a right to that may be kept from them. Where the limit is all
/// that the service can do, what is kept stands empty.
const KEPT_MAX: f64 = 2.0 / 3.0;

/// A greedy tenant that has so much of the level is over it, and one that has so little is
/// short of it.
const OVER_FROM: f64 = 1.1;
const SHORT_BELOW: f64 = 0.9;

/// What one tenant asks for and has, in places.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Claim {
    pub(super) asks: f64,
    /// What it asks for, as far as that is certain.
    pub(super) asks_surely: f64,
    /// What it asks for at most, seen over a shorter time: who has just calmed down is known.
    pub(super) asks_at_most: f64,
    pub(super) has: f64,
    /// Requests that it sent.
    pub(super) requests: f64,
}

impl Claim {
    /// From what was counted in so many seconds, and in the fewer of what is fresh.
    pub(super) fn of(work: &Work, hold_secs: f64, has: f64, [secs, fresh_secs]: [f64; 2]) -> Self {
        let own = work.own();
        let surely = (own - SURE * work.squares.sqrt()).max(0.0);
        let (fresh, error) = work.fresh();
        let at_most = (fresh + SURE * error + 1.0) * hold_secs / fresh_secs;
        Self {
            asks: (own * hold_secs / secs).min(at_most),
            asks_surely: surely * hold_secs / secs,
            asks_at_most: at_most,
            has,
            requests: own,
        }
    }
}

/// What there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Places.
    pub(super) limit: u32,
    /// Requests that end while the limit is full, in the time of the claims.
    pub(super) ends: f64,
    /// What those ask for of whom nothing is known one by one.
    pub(super) others: Claim,
    /// The level is never below an even share among so many.
    pub(super) tenants_max: usize,
}

/// What follows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Ruling {
    /// The level, in places; `None` where everybody gets what they ask for.
    pub(super) fair: Option<f64>,
    /// Places that are kept from the greedy, and from those of them who are over the level.
    pub(super) kept: u32,
    pub(super) kept_over: u32,
    /// How many of those that are kept are taken at most times.
    pub(super) used: u32,
    /// What a greedy tenant has if all of them have the same, at most the level.
    pub(super) even: f64,
}

impl Ruling {
    pub(super) fn of(claims: &mut [Claim], room: Room) -> Self {
        claims.sort_unstable_by(|a, b| b.asks.total_cmp(&a.asks));
        let Some(fair) = level(claims, room) else {
            return Self::default();
        };
        let ruling = Self {
            fair: Some(fair),
            ..Self::default()
        };
        let greedy = |claim: &&Claim| ruling.is_greedy(claim);
        let (count, have) = (claims.iter().filter(greedy))
            .fold((0.0, 0.0), |(count, have), it| (count + 1.0, have + it.has));
        if count == 0.0 {
            return ruling;
        }
        // Where places stand empty they have less than the level, and are to have as much less.
        let even = fair.min(have / count);
        let modest = claims.iter().filter(|claim| !greedy(claim));
        let mut due = Due::default();
        modest
            .chain([&room.others])
            .for_each(|it| due.add(it, it.asks));
        let right = (f64::from(room.limit) - due.places).max(1.0);
        let (kept, used) = due.kept(room);
        let kept = kept.min((KEPT_MAX * right).ceil() as u32);
        let short = |claim: &&Claim| claim.has < SHORT_BELOW * even;
        let short = claims.iter().filter(greedy).filter(short);
        short.for_each(|it| due.add(it, fair));
        let (kept_over, _) = due.kept(room);
        Self {
            kept,
            kept_over: kept_over.max(kept),
            used: used.min(kept),
            even,
            ..ruling
        }
    }

    pub(super) fn is_greedy(&self, claim: &Claim) -> bool {
        self.fair
            .is_some_and(|fair| claim.asks_surely.min(claim.asks_at_most) > GREEDY_FROM * fair)
    }

    pub(super) fn is_over(&self, claim: &Claim) -> bool {
        claim.has > OVER_FROM * self.even
    }
}

/// The level at which all is given away. The claims are sorted, the largest first.
fn level(claims: &[Claim], room: Room) -> Option<f64> {
    let limit = f64::from(room.limit);
    let mut below: f64 = claims.iter().map(|claim| claim.asks).sum();
    below += room.others.asks;
    if below <= limit {
        return None;
    }
    let floor = limit / room.tenants_max as f64;
    for (at, claim) in claims.iter().enumerate() {
        below -= claim.asks;
        let level = (limit - below) / (at + 1) as f64;
        let next = claims.get(at + 1).map_or(0.0, |next| next.asks);
        if level >= next {
            return Some(level.max(floor));
        }
    }
    Some(floor)
}

/// What is due to those for whom places are kept.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    places: f64,
    requests: f64,
}

impl Due {
    /// Adds one to whom so many of the places that it asks for are due.
    fn add(&mut self, claim: &Claim, places: f64) {
        if claim.asks > 0.0 {
            self.places += places;
            self.requests += claim.requests * (places / claim.asks);
        }
    }

    /// How many places are kept for them, and how many of those are taken on average.
    ///
    /// Two bounds, of which either is enough: where in flight only grows by them and shrinks by
    /// the ends of all, `n` places are taken for a share of about `ratio^n` of the time (as in
    /// [`crate::shed::reservation`]); and as many as they ever have at once, which is less
    /// where they are quick and the greedy hold their places for long.
    fn kept(self, room: Room) -> (u32, u32) {
        if self.requests < 0.5 {
            return (0, 0);
        }
        let ratio = (self.requests / room.ends.max(1.0)).clamp(1e-9, 0.999_999);
        let by_ends = (LOSS.ln() / ratio.ln()).ceil();
        let by_places = (self.places + LOSS_DEVIATIONS * self.places.sqrt() + 1.0).ceil();
        let kept = (by_ends.min(by_places) as u32).min(room.limit - 1);
        (kept, (ratio / (1.0 - ratio)) as u32)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(asks: f64) -> Claim {
        Claim {
            asks,
            asks_surely: asks,
            asks_at_most: asks,
            has: 0.0,
            requests: 100.0 * asks,
        }
    }

    fn room(limit: u32) -> Room {
        Room {
            limit,
            ends: 100.0 * f64::from(limit),
            others: Claim::default(),
            tenants_max: 64,
        }
    }

    fn ruling(asks: &[f64], limit: u32) -> Ruling {
        let mut claims: Vec<_> = asks.iter().copied().map(claim).collect();
        Ruling::of(&mut claims, room(limit))
    }

    #[test]
    fn what_nobody_asks_for_is_shared_out() {
        for (asks, fair, kept) in [
            (&[480.0, 4.0, 2.0][..], Some(18.0), 5),
            (&[30.0, 30.0, 4.0], Some(10.0), 4),
            (&[12.0, 6.0, 5.0], None, 0),
            (&[480.0], Some(24.0), 0),
            (&[24.0, 24.0, 24.0], Some(8.0), 0),
            // Who asks for hardly more than the level is modest.
            (&[10.0, 5.0, 5.0, 5.0, 5.0], Some(4.8), 3),
        ] {
            let ruling = ruling(asks, 24);
            assert_eq!((ruling.fair, ruling.kept), (fair, kept), "{asks:?}");
        }
    }

    #[test]
    fn quick_requests_beside_slow_ones_keep_no_more_than_they_ever_need() {
        // The modest send as many requests as end, and ask for two places.
        let mut claims = [claim(480.0), claim(2.0)];
        claims[1].requests = 2_300.0;
        let ruling = Ruling::of(&mut claims, room(24));
        assert_eq!(ruling.kept, 8);
    }

    #[test]
    fn who_may_be_modest_is() {
        let mut claims = [claim(480.0), claim(4.0)];
        claims[0].asks_surely = 20.0;
        let ruling = Ruling::of(&mut claims, room(24));
        assert_eq!((ruling.fair, ruling.kept), (Some(20.0), 0));
    }

    #[test]
    fn of_two_greedy_ones_the_one_that_has_more_waits_for_the_other() {
        let mut claims = [claim(480.0), claim(120.0)];
        (claims[0].has, claims[1].has) = (19.0, 5.0);
        let ruling = Ruling::of(&mut claims, room(24));
        assert_eq!((ruling.fair, ruling.kept), (Some(12.0), 0));
        assert!(ruling.kept_over > 2, "{ruling:?}");
        assert!(ruling.is_over(&claims[0]) && !ruling.is_over(&claims[1]));
        (claims[0].has, claims[1].has) = (12.0, 12.0);
        assert_eq!(Ruling::of(&mut claims, room(24)).kept_over, 0);
    }

    proptest! {
        #[test]
        fn all_is_given_away_and_nobody_is_below_the_level_who_asks_for_more(
            asks in prop::collection::vec(0.0_f64..100.0, 1..20),
            others in 0.0_f64..10.0,
            limit in 1_u32..200,
        ) {
            let mut claims: Vec<_> = asks.iter().copied().map(claim).collect();
            let room = Room { others: claim(others), ..room(limit) };
            let ruling = Ruling::of(&mut claims, room);
            let all: f64 = asks.iter().sum::<f64>() + others;
            prop_assert_eq!(ruling.fair.is_none(), all <= f64::from(limit));
            prop_assert!(ruling.kept < limit);
            if let Some(fair) = ruling.fair {
                let given: f64 = asks.iter().map(|asks| asks.min(fair)).sum::<f64>() + others;
                let floor = f64::from(limit) / 64.0;
                prop_assert!(fair > floor + 1e-9 || given >= f64::from(limit) - 1e-6);
                prop_assert!(fair <= floor + 1e-9 || (given - f64::from(limit)).abs() < 1e-6);
                // The greedy keep a third of their right.
                let modest: f64 = claims.iter().filter(|it| !ruling.is_greedy(it)).map(|it| it.asks).sum();
                let right = f64::from(limit) - modest - others;
                prop_assert!(f64::from(ruling.kept) <= (KEPT_MAX * right).ceil().max(1.0));
            }
        }
    }
}
