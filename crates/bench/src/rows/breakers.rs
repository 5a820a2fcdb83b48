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
use steadfast::{BreakerMode, BreakerService, CallOutcome, Dependency, Trip, classifier};
use steadfast_core::plumbing::{Breaker, stripe};
use tower::{Layer, ServiceExt};
use tower_resilience_circuitbreaker::{CircuitBreaker, CircuitBreakerLayer, DefaultClassifier};

use super::{
    Bench, Row,
    bare::{Answers, BARE, Each, ask},
};

pub(crate) const ROWS: &[Row] = &[
    Row::new("clock-read-twice", "-", clock_twice),
    Row::new("breaker-step-steadfast-core", "steadfast", core_step),
    Row::new("breaker-closed-steadfast-layer", "steadfast", ours_closed).over(BARE),
    Row::new(
        "breaker-closed-steadfast-layer-no-stall",
        "steadfast",
        ours_no_stall,
    )
    .over(BARE),
    Row::new("breaker-closed-steadfast-call", "steadfast", ours_call).over(BARE),
    Row::new("breaker-open-steadfast-layer", "steadfast", ours_open).over(BARE),
    Row::new("breaker-open-steadfast-call", "steadfast", ours_call_open).over(BARE),
    Row::new("breaker-closed-recloser", "recloser", recloser_closed).over(BARE),
    Row::new("breaker-open-recloser", "recloser", recloser_open).over(BARE),
    Row::new("breaker-closed-failsafe", "failsafe", failsafe_closed).over(BARE),
    Row::new("breaker-open-failsafe", "failsafe", failsafe_open).over(BARE),
    Row::new(
        "breaker-closed-tower-resilience",
        TRES,
        tower_resilience_closed,
    )
    .over(BARE),
    Row::new("breaker-open-tower-resilience", TRES, tower_resilience_open).over(BARE),
];

const TRES: &str = "tower-resilience-circuitbreaker";

/// What a breaker pays that measures how long a call takes.
fn clock_twice() -> Box<dyn Bench> {
    Each::call((), |()| {
        std::hint::black_box((crate::clock::now(), crate::clock::now()));
    })
}

fn payments(trip: Trip) -> Dependency {
    let payments = Dependency::builder("payments").trip(trip).build();
    payments.expect("valid settings")
}

/// The defaults, which time each call: the stall rule is on.
fn ours_closed() -> Box<dyn Bench> {
    Each::call(payments(Trip::default()).layer().layer(Answers), layer_call)
}

fn ours_no_stall() -> Box<dyn Bench> {
    let payments = payments(Trip::default().no_stall());
    Each::call(payments.layer().layer(Answers), layer_call)
}

fn ours_open() -> Box<dyn Bench> {
    let payments = payments(Trip::default().mode(BreakerMode::ForcedOpen));
    Each::call(payments.layer().layer(Answers), layer_call)
}

fn layer_call(service: &BreakerService<Answers>) {
    drop(std::hint::black_box(ask(service.clone())));
}

fn ours_call() -> Box<dyn Bench> {
    Each::call(payments(Trip::default()), dependency_call)
}

fn ours_call_open() -> Box<dyn Bench> {
    let trip = Trip::default().mode(BreakerMode::ForcedOpen);
    Each::call(payments(trip), dependency_call)
}

fn dependency_call(payments: &Dependency) {
    let called = payments.call_by(classifier::Http, call());
    drop(std::hint::black_box(called.now_or_never()));
}

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
    let now = crate::clock::now();
    let rules = Trip::default().build().expect("the defaults are valid");
    Each::call(Arc::new((Breaker::new(rules, 4, now), now)), |shared| {
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
