//! Circuit breakers around a service that answers at once: closed, and open.
//!
//! Peers are as their documentation shows; `closed` counts each call, `open` refuses it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use failsafe::{
    Config, StateMachine, backoff,
    failure_policy::{ConsecutiveFailures, OrElse, SuccessRateOverTimeWindow},
    futures::CircuitBreaker as _,
};
use futures_util::FutureExt;
use http::{Request, Response};
use recloser::{AsyncRecloser, Recloser};
use steadfast_core::{Breaker, CallOutcome, Trip, stripe};
use tower::{Layer, ServiceExt};
use tower_resilience_circuitbreaker::{CircuitBreaker, CircuitBreakerLayer, DefaultClassifier};

use super::{
    Bench, Row,
    bare::{Answers, BARE, Each, ask},
};

pub(crate) const ROWS: &[Row] = &[
    Row::new("breaker-step-steadfast-core", "steadfast", core_step),
    Row::new(
        "breaker-step-steadfast-core-no-stall",
        "steadfast",
        core_step_plain,
    ),
    Row::new("breaker-closed-recloser", "recloser", recloser_closed).over(BARE),
    Row::new("breaker-open-recloser", "recloser", recloser_open).over(BARE),
    Row::new("breaker-closed-failsafe", "failsafe", failsafe_closed).over(BARE),
    Row::new("breaker-open-failsafe", "failsafe", failsafe_open).over(BARE),
    Row::new(
        "breaker-closed-tower-resilience",
        "tower-resilience-circuitbreaker",
        tower_resilience_closed,
    )
    .over(BARE),
    Row::new(
        "breaker-open-tower-resilience",
        "tower-resilience-circuitbreaker",
        tower_resilience_open,
    )
    .over(BARE),
];

/// What a breaker of futures is given.
fn call() -> impl Future<Output = Result<Response<()>, Infallible>> {
    Answers.oneshot(Request::new(()))
}

fn recloser_closed() -> Box<dyn Bench> {
    let breaker: AsyncRecloser = Recloser::default().into();
    Each::call(breaker, recloser_call)
}

fn recloser_open() -> Box<dyn Bench> {
    let breaker = Recloser::custom().closed_len(1).open_wait(FOREVER).build();
    for _ in 0..2 {
        let failed = breaker.call(|| Err::<(), ()>(()));
        assert!(failed.is_err());
    }
    Each::call(AsyncRecloser::from(breaker), recloser_call)
}

fn recloser_call(breaker: &AsyncRecloser) {
    drop(std::hint::black_box(breaker.call(call()).now_or_never()));
}

/// The core's step alone: a permit and its end, with a time that somebody else has read.
fn core_step() -> Box<dyn Bench> {
    step(Trip::default())
}

fn core_step_plain() -> Box<dyn Bench> {
    step(Trip::default().no_stall())
}

fn step(trip: Trip) -> Box<dyn Bench> {
    let now = crate::clock::now();
    let breaker = Breaker::new(trip.build().expect("valid"), 4, now);
    Each::call(Arc::new((breaker, now)), |shared| {
        let (breaker, now) = &**shared;
        let permit = breaker.try_acquire(*now, stripe::current(), 0);
        let permit = permit.expect("closed");
        std::hint::black_box(permit.settle(CallOutcome::Success, *now));
    })
}

type Failsafe = StateMachine<
    OrElse<
        SuccessRateOverTimeWindow<backoff::EqualJittered>,
        ConsecutiveFailures<backoff::EqualJittered>,
    >,
    (),
>;

fn failsafe_closed() -> Box<dyn Bench> {
    Each::call(Config::new().build(), failsafe_call)
}

fn failsafe_open() -> Box<dyn Bench> {
    let policy = failsafe::failure_policy::consecutive_failures(1, backoff::constant(FOREVER));
    let breaker = Config::new().failure_policy(policy).build();
    breaker.on_error();
    Each::call(breaker, |breaker| {
        drop(std::hint::black_box(breaker.call(call()).now_or_never()));
    })
}

fn failsafe_call(breaker: &Failsafe) {
    drop(std::hint::black_box(breaker.call(call()).now_or_never()));
}

type TowerResilience = CircuitBreaker<Answers, DefaultClassifier>;

fn tower_resilience_closed() -> Box<dyn Bench> {
    let layer = CircuitBreakerLayer::builder().build();
    let layer = layer.expect("valid settings");
    Each::call(layer.layer(Answers), tower_resilience_call)
}

fn tower_resilience_open() -> Box<dyn Bench> {
    let layer = CircuitBreakerLayer::builder()
        .wait_duration_in_open(FOREVER)
        .build();
    let service = layer.expect("valid settings").layer(Answers);
    let forced = service.force_open().now_or_never();
    assert!(forced.is_some(), "nobody else holds its lock");
    Each::call(service, tower_resilience_call)
}

fn tower_resilience_call(service: &TowerResilience) {
    drop(std::hint::black_box(ask(service.clone())));
}

/// Longer than any measurement.
const FOREVER: Duration = Duration::from_secs(86_400);
