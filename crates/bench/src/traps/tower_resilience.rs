//! tower-resilience-circuitbreaker, wired as its documentation shows: a builder, a handle
//! and a layer around the client's service.

use std::time::{Duration, Instant};

use tower::{Layer, Service, ServiceExt, service_fn};
use tower_resilience_circuitbreaker::{
    CircuitBreakerError, CircuitBreakerHandle, CircuitBreakerLayer, CircuitState,
    FailureClassifier, SlidingWindowType,
};
use tower_resilience_core::HealthTriggerable;

use super::{
    call::{Answer, Call, End, Fault, Flight, Script},
    clock,
    pinned::pinned,
    subject::{Peer, Subject, Wiring},
};

pub(crate) struct TowerResilience;

impl Peer for TowerResilience {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &'static str {
        pinned(NAME)
    }

    fn make(&self, wiring: Wiring) -> Box<dyn Subject> {
        let wait = match wiring {
            Wiring::Wait(wait) => wait,
            _ => WAIT,
        };
        let builder = CircuitBreakerLayer::builder()
            .failure_classifier_type(Classifier)
            .wait_duration_in_open(wait);
        // The count window is its default; the others need a window in time.
        let builder = match wiring {
            Wiring::Usual | Wiring::Window | Wiring::Wait(_) => builder,
            Wiring::Records(records) => builder
                .sliding_window_type(SlidingWindowType::TimeBased)
                .sliding_window_duration(Duration::from_secs(3_600))
                .minimum_number_of_calls(records as usize * 2),
            Wiring::Rate(window) => builder
                .sliding_window_type(SlidingWindowType::TimeBased)
                .sliding_window_duration(window)
                .minimum_number_of_calls(5),
        };
        let (layer, handle) = builder.build_with_handle().expect("valid settings");
        let service = layer.layer(service_fn(|script: Script| script.work()));
        Box::new(Breaker {
            wait,
            handle,
            call: Box::new(move |script| Box::pin(through(service.clone(), script))),
        })
    }

    fn layered_anew(&self, calls: u32) -> Result<Vec<(&'static str, u32)>, &'static str> {
        let builder = || {
            CircuitBreakerLayer::builder()
                .failure_classifier_type(Classifier)
                .consecutive_failures(3)
        };
        let plain = builder().build().expect("valid settings");
        let (shared, _handle) = builder().build_with_handle().expect("valid settings");
        let refused = |layer: &CircuitBreakerLayer<Classifier>| {
            let answers = (0..calls).map(|_| {
                let service = layer.layer(service_fn(|script: Script| script.work()));
                Call::start(|script| Box::pin(through(service, script))).end(End::Bad)
            });
            answers.filter(|answer| *answer == Answer::Refused).count() as u32
        };
        Ok(vec![
            ("build()", refused(&plain)),
            ("build_with_handle()", refused(&shared)),
        ])
    }
}

struct Breaker {
    wait: Duration,
    handle: CircuitBreakerHandle<Classifier>,
    call: Box<dyn Fn(Script) -> Flight>,
}

impl Subject for Breaker {
    fn start(&self) -> Call {
        Call::start(&self.call)
    }

    fn pass(&self, time: Duration) {
        clock::sleep(time);
    }

    fn now(&self) -> Instant {
        clock::real()
    }

    fn wait(&self) -> Duration {
        self.wait
    }

    fn trips_after(&self) -> u32 {
        WINDOW
    }

    fn round(&self) -> u32 {
        1
    }

    fn probes(&self) -> Option<u32> {
        Some(1)
    }

    fn reports(&self) -> Result<(String, bool), &'static str> {
        let (state, status) = (self.handle.state(), self.handle.http_status());
        let report = format!("state() is {state:?}, http_status() {status}");
        Ok((report, state == CircuitState::Open))
    }

    fn force_open(&self) -> Result<(), &'static str> {
        clock::block_on(self.handle.force_open());
        Ok(())
    }

    fn check_passed(&self) -> Result<(), &'static str> {
        self.handle.trigger_healthy();
        // It spawns the change; this runs what was spawned.
        clock::block_on(tokio::task::yield_now());
        Ok(())
    }

    fn is_ready(&self) -> Result<bool, &'static str> {
        Err("it leaves readiness to its user; http_status() is 503 while open")
    }

    fn refusal(&self) -> String {
        "CircuitBreakerError::OpenCircuit, without a time to come back".into()
    }
}

/// Tells it what every breaker here is told.
#[derive(Clone, Copy, Debug)]
struct Classifier;

impl FailureClassifier<(), Fault> for Classifier {
    fn classify(&self, result: &Result<(), Fault>) -> bool {
        result.is_err_and(Fault::is_failure)
    }
}

async fn through<S>(service: S, script: Script) -> Answer
where
    S: Service<Script, Response = (), Error = CircuitBreakerError<Fault>>,
{
    match service.oneshot(script).await {
        Ok(()) => Answer::Served,
        Err(CircuitBreakerError::OpenCircuit) => Answer::Refused,
        Err(CircuitBreakerError::Inner(_)) => Answer::Failed,
    }
}

const NAME: &str = "tower-resilience-circuitbreaker";
const WAIT: Duration = clock::SHORT;
/// Its default window, and so its default minimum of calls.
const WINDOW: u32 = 100;
