//! A few rolling restarts of ours under load: behind a proxy nothing is lost, whatever the
//! method, and nothing is done twice.
//!
//! How late answers come is not looked at; that depends on the machine.

use std::{path::PathBuf, time::Duration};

use rollouts::{
    backend::Program,
    front::Front,
    run::{Outcome, Plan, rollout},
    subject::Kind,
};

const RESTARTS: u32 = 4;

const REQUESTS_EACH: u32 = 300;

fn roll(front: Front, first_check: Duration) -> Outcome {
    let plan = Plan {
        subject: Kind::Ours,
        front,
        restarts: RESTARTS,
        requests_each: REQUESTS_EACH,
        first_check,
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
    nothing_is_lost_in(&roll(front, Duration::ZERO));
}

fn nothing_is_lost_in(outcome: &Outcome) {
    let why = outcome.described.join("\n");
    for row in &outcome.rows {
        assert_eq!((row.bad(), row.refused), (0, 0), "{row:?}\n{why}");
        assert_eq!(row.unanswered, 0, "{row:?}\n{why}");
        // A half each, less the streams that some fronts do not carry for POST.
        assert!(
            row.requests >= u64::from(RESTARTS * REQUESTS_EACH * 2 / 5),
            "{row:?}"
        );
    }
    let requests: u64 = outcome.rows.iter().map(|row| row.requests).sum();
    assert!(
        requests >= u64::from(RESTARTS * REQUESTS_EACH - 40),
        "{requests}"
    );
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

#[test]
fn a_restart_behind_a_haproxy_that_hears_late_loses_nothing() {
    loses_nothing(Front::HaProxyFar);
}

#[test]
fn a_restart_behind_a_haproxy_that_is_reloaded_loses_nothing() {
    loses_nothing(Front::HaProxyReload);
}

#[test]
fn a_restart_behind_envoy_loses_nothing() {
    loses_nothing(Front::Envoy);
}

#[test]
fn a_restart_behind_traefik_loses_nothing() {
    loses_nothing(Front::Traefik);
}

#[test]
fn a_restart_behind_a_traefik_that_asks_nothing_loses_nothing() {
    loses_nothing(Front::TraefikPassive);
}

#[test]
fn a_restart_behind_caddy_loses_nothing() {
    loses_nothing(Front::Caddy);
}

#[test]
fn a_restart_behind_a_caddy_that_asks_nothing_loses_nothing() {
    loses_nothing(Front::CaddyPassive);
}

/// Goal: a proxy that probes nobody sends requests to an instance whose first check has not
/// answered; they wait for it, and none is a 503. The check takes longer than nginx keeps an
/// instance out that it found closed, which is why the bound of the wait is longer here.
#[test]
fn a_restart_whose_first_check_takes_a_moment_makes_no_503_behind_a_passive_proxy() {
    nothing_is_lost_in(&roll(Front::Nginx, Duration::from_secs(4)));
}
