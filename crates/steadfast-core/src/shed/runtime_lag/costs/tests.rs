use proptest::prelude::*;

use super::*;
use crate::testing::origin;

const MS: Duration = Duration::from_millis(1);

/// Costs where so many requests of each path were told of, and the average was taken.
fn known(costs: &[(&str, Duration, u64)]) -> Costs {
    let made = Costs::new();
    let start = origin();
    let mut since = Ended::default();
    let (mut requests, mut total) = (0, 0);
    made.look(&mut since, (requests, total), start);
    for (path, cost, times) in costs {
        for _ in 0..*times {
            total += made.learn(made.route(path), *cost);
            requests += 1;
        }
    }
    made.look(&mut since, (requests, total), start + AVERAGE_OVER);
    made
}

fn of(costs: &Costs, path: &str) -> u32 {
    costs.of(costs.route(path))
}

#[test]
fn a_request_counts_what_its_route_costs_of_what_one_does_on_average() {
    // 8.02 ms and nine times 0.07 ms are 0.865 ms on average.
    let costs = known(&[("/login", 8 * MS, 10), ("/page", MS / 20, 90)]);
    let shares = [("/login", 8.02 / 0.865), ("/page", 0.07 / 0.865)];
    for (path, share) in shares {
        let counts = f64::from(of(&costs, path)) / f64::from(AVERAGE);
        assert!((counts / share - 1.0).abs() < 0.02, "{path}: {counts}");
    }
    assert_eq!(of(&costs, "/new"), AVERAGE, "nothing is known of it");
}

#[test]
fn who_costs_about_what_all_do_counts_as_they_do() {
    let costs = known(&[("/one", 7 * MS, 16), ("/other", 4 * MS, 16)]);
    assert_eq!(
        (of(&costs, "/one"), of(&costs, "/other")),
        (AVERAGE, AVERAGE)
    );
}

#[test]
fn until_enough_have_ended_everybody_counts_alike() {
    let few = known(&[("/login", 8 * MS, 1), ("/page", MS / 20, AVERAGE_OF - 2)]);
    assert_eq!((of(&few, "/login"), of(&few, "/page")), (AVERAGE, AVERAGE));
}

#[test]
fn what_costs_ever_so_much_more_is_still_a_number() {
    let day = Duration::from_secs(86_400);
    let costs = known(&[("/forever", day, 1), ("/page", Duration::ZERO, 1_000_000)]);
    assert_eq!(of(&costs, "/forever"), COST_MAX);
    assert!(of(&costs, "/page") >= 1);
}

#[test]
fn a_cost_follows_what_is_told_and_is_forgotten_with_the_rest() {
    let costs = known(&[("/was-slow", 8 * MS, 10), ("/page", MS, 90)]);
    assert!(of(&costs, "/was-slow") > AVERAGE);
    let route = costs.route("/was-slow");
    for _ in 0..60 {
        costs.learn(route, MS / 10);
    }
    assert!(of(&costs, "/was-slow") < AVERAGE / 2);
    costs.forget();
    assert_eq!(of(&costs, "/was-slow"), AVERAGE);
}

#[test]
fn routes_have_cells_of_their_own_while_there_are_some() {
    let costs = Costs::new();
    let name = |n: usize| format!("/{}", ["a", "b", "c", "d", "e", "f"][n].repeat(n + 1));
    let mut cells: Vec<_> = (0..6).map(|n| costs.route(&name(n)).0).collect();
    let again: Vec<_> = (0..6).map(|n| costs.route(&name(n)).0).collect();
    assert_eq!(cells, again);
    cells.sort_unstable();
    cells.dedup();
    assert_eq!(cells.len(), 6);
    let ids = ["/orders/1", "/orders/2"].map(|path| costs.route(path));
    assert_eq!(ids[0], ids[1], "one route");
}

fn joined(costs: &Costs, path: &str) -> Joined {
    let route = costs.route(path);
    Joined::for_test(route, costs.of(route))
}

#[test]
fn beyond_the_room_a_route_has_an_even_share_of_it_and_of_what_others_leave() {
    let costs = Costs::new();
    let room = u64::from(AVERAGE) * 9;
    let may = |path| {
        let route = costs.route(path);
        costs.has_share(Some(route), costs.of(route), room)
    };
    let stand = |path, times| {
        for _ in 0..times {
            costs.count(joined(&costs, path), 1);
        }
    };
    stand("/flood", 9);
    assert!(!may("/flood"), "it has all of it");
    for stands in 0..4 {
        assert!(may("/page"), "{stands} of four and a half");
        stand("/page", 1);
    }
    assert!(!may("/page"), "the fifth is more than half");
    stand("/third", 1);
    // The flood and the page deal what the third leaves: eight.
    assert!(may("/third") && !may("/page"));
    costs.count(joined(&costs, "/page"), -1);
    assert!(may("/page"));
    assert!(
        costs.has_share(None, AVERAGE, room),
        "a fourth of nine are two"
    );
    assert!(
        !costs.has_share(None, AVERAGE * 3, room),
        "one that is more"
    );
}

#[test]
fn who_is_refused_takes_no_cell() {
    let costs = Costs::new();
    assert_eq!(costs.known("/new"), None);
    assert_eq!(costs.known("/new"), None);
    let route = costs.route("/new");
    assert_eq!(costs.known("/new"), Some(route));
    costs.forget();
    assert_eq!(costs.known("/new"), None);
}

proptest! {
    /// Goal: however routes and costs are chosen, what stands in line is less than five times the
    /// room, and one request; and nothing is left when all have gone.
    #[test]
    fn what_stands_in_line_is_bounded(
        room in 1_u64..40,
        comes in proptest::collection::vec((0_usize..200, 1_u32..AVERAGE * 4, any::<bool>()), 0..600),
    ) {
        let costs = Costs::new();
        let room = room * u64::from(AVERAGE);
        let mut line: Vec<Joined> = Vec::new();
        let total = |line: &[Joined]| line.iter().map(|it| u64::from(it.cost)).sum::<u64>();
        for (path, cost, leaves) in comes {
            let letters: String = path.to_string().chars().map(|digit| char::from(digit as u8 + 49)).collect();
            let route = costs.route(&format!("/{letters}"));
            if total(&line) < room || costs.has_share(Some(route), cost, room) {
                let joined = Joined::for_test(route, cost);
                costs.count(joined, 1);
                line.push(joined);
            }
            prop_assert!(total(&line) < room * 5 + u64::from(AVERAGE) * 4);
            if leaves && !line.is_empty() {
                costs.count(line.swap_remove(path % line.len()), -1);
            }
        }
        line.drain(..).for_each(|joined| costs.count(joined, -1));
        prop_assert!(costs.routes.iter().all(|route| route.standing.load(Ordering::Relaxed) == 0));
    }
}
