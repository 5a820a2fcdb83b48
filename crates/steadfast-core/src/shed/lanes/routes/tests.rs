use super::*;
use crate::testing::origin;
use proptest::prelude::*;

static DB: Name = Name::from_static("db");
static CACHE: Name = Name::from_static("cache");

/// Takes samples of one route in, a tenth of a second apart, and returns what came of them.
struct Rig {
    routes: Routes,
    now: Instant,
}

impl Rig {
    fn new() -> Self {
        let (routes, now) = (Routes::new(), origin());
        Self { routes, now }
    }

    fn saw(&mut self, path: &str, with: Option<&Name>, times: i32) -> Vec<bool> {
        let saw = |_| {
            self.now += Duration::from_millis(100);
            let moved = self.routes.saw(path, with, self.now);
            moved.map(|moved| moved.apart)
        };
        (0..times).filter_map(saw).collect()
    }

    fn is_apart(&self) -> bool {
        self.routes.apart().next().is_some()
    }
}

#[test]
fn a_route_is_apart_once_it_is_sure_and_no_sooner() {
    let mut rig = Rig::new();
    assert_eq!(rig.saw("/report", Some(&DB), SURE - 1), []);
    assert_eq!(rig.saw("/report", Some(&DB), 1), [true]);
    assert_eq!(rig.saw("/report", Some(&DB), 1000), [], "once");
    assert_eq!(rig.routes.names_of(&DB), ["/report"]);
    assert!(rig.routes.names_of(&CACHE).is_empty());
}

#[test]
fn what_was_so_for_long_is_believed_for_a_while_and_not_for_ever() {
    let mut rig = Rig::new();
    rig.saw("/report", Some(&DB), 1000);
    assert_eq!(rig.saw("/report", Some(&CACHE), 10), []);
    assert_eq!(rig.saw("/report", Some(&CACHE), 1), [false]);
    assert_eq!(rig.saw("/report", Some(&CACHE), 200), []);
    rig.saw("/report", Some(&CACHE), 1000);
    assert_eq!(rig.routes.names_of(&CACHE), ["/report"]);
}

#[test]
fn a_route_that_left_its_backend_rests_for_half_a_minute() {
    let mut rig = Rig::new();
    rig.saw("/report", Some(&DB), SURE);
    let mut changes = Vec::new();
    for turn in 0..600 {
        let with = [&CACHE, &DB][turn / 20 % 2];
        for apart in rig.saw("/report", Some(with), 1) {
            changes.push((apart, rig.now));
        }
    }
    assert!(changes.len() > 2, "{changes:?}");
    let rests = |pair: &[(bool, Instant)]| pair[0].0 || pair[1].1.duration_since(pair[0].1) >= REST;
    assert!(changes.windows(2).all(rests), "{changes:?}");
}

#[test]
fn a_route_that_holds_nothing_is_not_remembered() {
    let mut rig = Rig::new();
    rig.saw("/", None, 100);
    assert!(rig.routes.0.is_empty());
    rig.saw("/", Some(&DB), 1);
    rig.saw("/", None, 2);
    assert!(rig.routes.0.is_empty(), "nor one that did once");
}

#[test]
fn paths_without_end_displace_neither_each_other_for_good_nor_one_that_is_sure() {
    let mut rig = Rig::new();
    rig.saw("/report", Some(&DB), SURE);
    let names: Vec<_> = (0..500).map(|n| format!("/p/{}", words(n))).collect();
    for name in &names {
        rig.saw(name, Some(&CACHE), 1);
    }
    assert_eq!(rig.routes.0.len(), ROUTES_MAX);
    assert_eq!(rig.routes.names_of(&DB), ["/report"]);
    // The heavy one among them comes to be known all the same.
    let mut known = false;
    for name in names.iter().cycle().take(2000) {
        rig.saw(name, Some(&CACHE), 1);
        known |= !rig.saw("/heavy", Some(&CACHE), 1).is_empty();
    }
    assert!(known);
}

#[test]
fn where_all_are_sure_a_newcomer_waits_until_one_is_forgotten() {
    let mut rig = Rig::new();
    for n in 0..ROUTES_MAX as u32 {
        rig.saw(&format!("/p/{}", words(n)), Some(&DB), SURE);
    }
    rig.saw("/new", Some(&CACHE), SURE);
    assert!(rig.routes.names_of(&CACHE).is_empty());
    rig.now += FORGOTTEN_AFTER;
    assert_eq!(rig.saw("/new", Some(&CACHE), 1), [false], "one has left");
    assert_eq!(rig.saw("/new", Some(&CACHE), SURE - 1), [true]);
}

#[test]
fn two_backends_are_two_whatever_the_number_of_routes() {
    let mut rig = Rig::new();
    rig.saw("/one", Some(&DB), SURE);
    rig.saw("/two", Some(&DB), SURE);
    assert!(rig.is_apart() && !rig.routes.are_to_part());
    rig.saw("/three", Some(&CACHE), SURE);
    assert!(rig.routes.are_to_part());
}

#[test]
fn what_computes_is_parted_from_whatever_waits() {
    let mut rig = Rig::new();
    rig.saw("/login", Some(&RUNTIME), SURE);
    assert!(rig.is_apart() && rig.routes.are_to_part());
}

/// A name without a digit for each number.
fn words(number: u32) -> String {
    let letter = |digit: char| char::from(b'a' + digit as u8 - b'0');
    number.to_string().chars().map(letter).collect()
}

proptest! {
    /// Goal: whatever comes, the scores keep their bounds, a route is known once, and one that is
    /// apart was sure; a route of which fewer than half agree is seldom apart.
    #[test]
    fn whatever_is_told_the_table_keeps_its_bounds(
        told in prop::collection::vec((0..100_u32, 0..3_usize, 0..20_000_u64), 1..2000)
    ) {
        let (mut routes, mut now) = (Routes::new(), origin());
        let with = [None, Some(&DB), Some(&CACHE)];
        for (path, name, ms) in told {
            now += Duration::from_millis(ms);
            routes.saw(&format!("/{}", words(path)), with[name], now);
            prop_assert!(routes.0.len() <= ROUTES_MAX);
            for (at, route) in routes.0.iter().enumerate() {
                prop_assert!((0..=SCORE_MAX).contains(&route.score));
                prop_assert!(routes.0[..at].iter().all(|other| other.hash != route.hash));
            }
        }
    }

    #[test]
    fn a_route_of_two_backends_in_turn_is_apart_for_less_than_a_tenth_of_the_time(seed in any::<u64>()) {
        let (mut routes, mut now, mut apart) = (Routes::new(), origin(), 0);
        let mut random = seed | 1;
        for _ in 0..20_000 {
            now += Duration::from_millis(100);
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let with = [&DB, &CACHE][(random >> 40) as usize % 2];
            routes.saw("/both", Some(with), now);
            apart += u32::from(routes.apart().next().is_some());
        }
        prop_assert!(apart < 2000, "{}", apart);
    }
}
