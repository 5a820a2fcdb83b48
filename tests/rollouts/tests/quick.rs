//! A few rolling restarts of ours under load: behind a proxy nothing is lost, whatever the
//! method, and nothing is done twice.
//!
//! How late answers come is not looked at; that depends on the machine.

use std::path::PathBuf;

use rollouts::{
    backend::Program,
    front::Front,
    run::{Outcome, Plan, rollout},
    subject::Kind,
};

const RESTARTS: u32 = 4;

const REQUESTS_EACH: u32 = 300;

fn roll(front: Front) -> Outcome {
    let plan = Plan {
        subject: Kind::Ours,
        front,
        restarts: RESTARTS,
        requests_each: REQUESTS_EACH,
        rate_per_sec: 200,
    };
    let program = Program {
        path: PathBuf::from(env!("CARGO_BIN_EXE_rollouts")),
        arguments: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a process may have threads");
    runtime.block_on(rollout(plan, &program))
}

fn loses_nothing(front: Front) {
    let outcome = roll(front);
    let why = outcome.described.join("\n");
    for row in &outcome.rows {
        assert_eq!((row.bad(), row.refused), (0, 0), "{row:?}\n{why}");
        assert_eq!(row.unanswered, 0, "{row:?}\n{why}");
        assert!(
            row.requests >= u64::from(RESTARTS * REQUESTS_EACH / 2 - 20),
            "{row:?}"
        );
    }
    assert_eq!(
        outcome.unwritten, 0,
        "answers that no server has written down"
    );
    assert_eq!(outcome.ended.len(), RESTARTS as usize + 2);
    for ended in &outcome.ended {
        assert_eq!(ended.status, Some(0), "{}", ended.label);
    }
    assert_eq!(outcome.accounts.len(), outcome.ended.len(), "each reports");
    for account in &outcome.accounts {
        assert!(account.agrees(), "{account:?}");
    }
}

#[test]
fn a_restart_behind_haproxy_loses_nothing() {
    loses_nothing(Front::HaProxy503);
}

#[test]
fn a_restart_behind_haproxy_that_drains_on_404_loses_nothing() {
    loses_nothing(Front::HaProxy404);
}

#[test]
fn a_restart_behind_nginx_loses_nothing() {
    loses_nothing(Front::Nginx);
}
