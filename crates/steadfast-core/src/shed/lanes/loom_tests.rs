//! The directory of lanes under every interleaving: who looks for one against who makes it and
//! moves routes.

use loom::{sync::Arc, thread};

use super::*;

const ROUTE: u64 = 7 << 32;
const OTHER: u64 = 4 << 32;

fn make(directory: &Directory<&'static str>, name: &'static str) -> LaneId {
    let made = directory.find_or_make(|it| *it == name, |_| name);
    made.expect("there is room")
}

#[test]
fn loom_a_lane_whose_number_is_told_is_there() {
    loom::model(|| {
        let directory = Arc::new(Directory::new());
        let other = Arc::clone(&directory);
        let parts = thread::spawn(move || {
            let (pages, reports) = (make(&other, "pages"), make(&other, "reports"));
            other.replace([(ROUTE, reports), (OTHER, pages)].into_iter());
        });
        if directory.is_parted() {
            let at = directory.find(ROUTE);
            let lane = directory.lane(at);
            assert_eq!(lane, (at != LaneId::COMMON).then_some(&"reports"));
        }
        parts.join().expect("joined");
        assert_eq!(directory.lane(directory.find(ROUTE)), Some(&"reports"));
    });
}

#[test]
fn loom_a_route_that_moves_is_found_where_it_was_or_is() {
    loom::model(|| {
        let directory = Arc::new(Directory::new());
        let (pages, reports) = (make(&directory, "pages"), make(&directory, "reports"));
        directory.replace([(ROUTE, pages)].into_iter());
        let other = Arc::clone(&directory);
        let moves = thread::spawn(move || {
            other.replace([(OTHER, pages), (ROUTE, reports)].into_iter());
        });
        let (seen, new) = (directory.find(ROUTE), directory.find(OTHER));
        assert!([LaneId::COMMON, pages, reports].contains(&seen), "{seen:?}");
        assert!([LaneId::COMMON, pages].contains(&new), "{new:?}");
        moves.join().expect("joined");
        assert_eq!(directory.find(ROUTE), reports);
        directory.join();
        assert!(!directory.is_parted());
    });
}
