use proptest::prelude::*;

use super::{
    control::{LOSS, places_for},
    *,
};
use crate::testing::origin;

const CRITICAL: usize = 0;
const DEFAULT: usize = 1;
const BACKGROUND: usize = 3;

/// A tenth of a second at a limit of 16 that serves 1,600 a second and is met.
fn met(critical: u32, background: u32) -> Seen {
    let mut seen = Seen {
        served: 160,
        met: true,
        in_flight: 16,
        limit: 16,
        ..Seen::default()
    };
    seen.arrived[CRITICAL] = critical;
    seen.arrived[BACKGROUND] = background;
    seen.refused[BACKGROUND] = background.saturating_sub(160);
    seen
}

/// The control after so many tenths of a second of the same.
fn after(tenths: u32, seen: Seen) -> (ReserveControl, Instant) {
    let mut now = origin();
    let mut control = ReserveControl::new(now);
    for _ in 0..tenths {
        now += LOOK;
        control.look(seen, now);
    }
    (control, now)
}

#[test]
fn a_tenth_of_what_is_served_is_worth_four_places() {
    // 0.1^3 is more than one in 2,000, 0.1^4 is less.
    assert_eq!(places_for(0.1, 15), 4);
    assert_eq!(after(20, met(16, 1584)).0.kept(), [0, 4, 4, 4]);
}

#[test]
fn nothing_is_kept_before_the_limit_is_met_nor_for_or_from_a_class_that_does_not_come() {
    let calm = Seen {
        met: false,
        refused: [0; CLASSES],
        ..met(16, 140)
    };
    assert_eq!(after(20, calm).0.kept(), [0; CLASSES]);
    assert_eq!(after(20, met(0, 1600)).0.kept(), [0; CLASSES], "for nobody");
    let mut unclassified = met(0, 0);
    (unclassified.arrived[DEFAULT], unclassified.refused[DEFAULT]) = (1600, 1440);
    assert_eq!(
        after(20, unclassified).0.kept(),
        [0; CLASSES],
        "from nobody"
    );
}

#[test]
fn what_is_kept_is_given_up_when_what_is_asked_for_fits_again() {
    let (mut control, mut now) = after(20, met(16, 1584));
    // Those that are refused now are refused by the reserve alone.
    let mut fits = met(16, 150);
    (fits.met, fits.refused[BACKGROUND], fits.in_flight) = (false, 3, 12);
    for _ in 0..11 {
        now += LOOK;
        control.look(fits, now);
    }
    assert_eq!(control.kept(), [0; CLASSES]);
}

#[test]
fn a_class_that_has_not_come_for_ten_seconds_keeps_nothing() {
    let (mut control, mut now) = after(20, met(16, 1584));
    for tenth in 0..130 {
        assert!(
            control.kept()[BACKGROUND] > 0 || tenth > 70,
            "after {tenth}"
        );
        now += LOOK;
        control.look(met(0, 1600), now);
    }
    assert_eq!(control.kept(), [0; CLASSES]);
}

#[test]
fn who_asks_for_all_there_is_gets_all_but_one() {
    let (control, _) = after(20, met(400, 1200));
    assert_eq!(control.kept()[BACKGROUND], 15);
    assert_eq!(control.beside(), 0, "no limit is raised for it");
}

#[test]
fn losses_add_places_and_arrivals_without_one_take_them_away() {
    let (mut control, mut now) = after(20, met(16, 1584));
    let mut lossy = met(16, 1584);
    lossy.refused[CRITICAL] = 2;
    now += LOOK;
    control.look(lossy, now);
    assert_eq!(control.kept()[BACKGROUND], 6);
    // 2,000 arrivals at 16 a look.
    for _ in 0..125 {
        assert_eq!(control.kept()[BACKGROUND], 6);
        now += LOOK;
        control.look(met(16, 1584), now);
    }
    assert_eq!(control.kept()[BACKGROUND], 5);
    // While more run than may, no place could have been kept.
    (lossy.in_flight, lossy.refused[CRITICAL]) = (40, 16);
    control.look(lossy, now + LOOK);
    assert!(control.kept()[BACKGROUND] <= 7, "{control:?}");
}

#[test]
fn with_a_queue_only_losses_keep_places() {
    let queued = Seen {
        queued: true,
        ..met(16, 1584)
    };
    let (mut control, now) = after(20, queued);
    assert_eq!(control.kept(), [0; CLASSES]);
    let mut lossy = queued;
    lossy.refused[CRITICAL] = 1;
    control.look(lossy, now + LOOK);
    assert_eq!(control.kept(), [0, 1, 1, 1]);
}

proptest! {
    #[test]
    fn places_grow_with_the_ratio_stay_in_bounds_and_suffice(
        low in 0.0_f64..2.0, more in 0.0_f64..1.0, bound in 0_u32..2000,
    ) {
        let (few, many) = (places_for(low, bound), places_for(low + more, bound));
        prop_assert!(few <= many && many <= bound);
        prop_assert!(few == bound || low.powi(few as i32) <= LOSS * (1.0 + 1e-9));
        prop_assert!(few <= 1 || low >= 1.0 || low.powi(few as i32 - 1) > LOSS * (1.0 - 1e-9));
    }

    #[test]
    fn whatever_is_seen_one_place_is_for_all(
        looks in proptest::collection::vec(
            (any::<[u32; CLASSES]>(), any::<[u32; CLASSES]>(), any::<u32>(), any::<bool>(),
             any::<u32>(), 1_u32..2000, any::<bool>(), 0_u64..5_000),
            1..60,
        ),
    ) {
        let mut now = origin();
        let mut control = ReserveControl::new(now);
        for (arrived, refused, served, met, in_flight, limit, queued, millis) in looks {
            now += Duration::from_millis(millis);
            control.look(Seen { arrived, refused, served, met, in_flight, limit, queued }, now);
            prop_assert_eq!(control.kept()[CRITICAL], 0);
            prop_assert!(control.kept().into_iter().all(|places| places < limit));
            prop_assert!(control.is_contended() || control.kept() == [0; CLASSES]);
            prop_assert!(control.ratio().into_iter().all(f64::is_finite));
        }
    }
}
