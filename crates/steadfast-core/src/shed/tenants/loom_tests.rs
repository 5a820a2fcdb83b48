//! A request beside a look.

use loom::{sync::Arc, thread};

use super::*;
use crate::testing::origin;

#[test]
fn loom_who_asks_beside_a_look_is_counted_once_and_finds_a_ruling_that_was_made() {
    // Goal: while a look takes what was counted and acquits a tenant, a request of that tenant
    // is held to the old share or to none, and is counted by this look or by the next, unless
    // it found its stripe taken.
    loom::model(|| {
        let start = origin();
        let shares = Arc::new(TenantShares::new(start));
        let loud = || Tenant::new(1 << 20, "loud");
        let look = || Look {
            limit: 4,
            in_flight: 4,
            hold: Some(Duration::from_millis(100)),
        };
        shares.met(start);
        for _ in 0..60 {
            shares.asks(0, &loud());
        }
        shares.asks(1, &Tenant::new(2 << 20, "other"));
        let _ = shares.look_if_due(look, start + LOOK);
        let before = shares.kept_from(&loud());
        assert!(before.is_some(), "it asks for fifteen times what there is");
        let later = start + Duration::from_secs(20);
        let asker = Arc::clone(&shares);
        let asks = thread::spawn(move || {
            asker.asks(0, &loud());
            asker.kept_from(&loud())
        });
        let _ = shares.look_if_due(look, later);
        let found = asks.join().expect("joined");
        assert!(found.is_none() || found == before, "{found:?}");
        assert_eq!(shares.kept_from(&loud()), None);
        let _ = shares.look_if_due(look, later + LOOK);
        let asked = lock(&shares.inner).table.total().asked;
        assert!(asked < 1.01, "{asked}");
    });
}
