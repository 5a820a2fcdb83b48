//! failsafe, wired as its documentation shows: the default policy is a success rate and
//! failures in a row together.

use std::time::{Duration, Instant};

use failsafe::{
    Config, Error, FailurePolicy, StateMachine, backoff,
    failure_policy::{consecutive_failures, success_rate_over_time_window},
    futures::CircuitBreaker,
};

use super::{
    call::{Answer, Call, Fault},
    clock,
    pinned::pinned,
    subject::{Peer, Subject, Wiring},
};

pub(crate) struct Failsafe;

impl Peer for Failsafe {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &'static str {
        pinned(NAME)
    }

    fn make(&self, wiring: Wiring) -> Box<dyn Subject> {
        let wait = match wiring {
            // Its backoffs take no less than a second.
            Wiring::Wait(wait) => wait.max(Duration::from_secs(1)),
            _ => clock::SHORT,
        };
        // The default's rates, over its default time or the one asked for.
        let window = match wiring {
            Wiring::Rate(window) => window,
            _ => Duration::from_secs(30),
        };
        match wiring {
            // The default's jitter.
            Wiring::Wait(_) => {
                let waits = || backoff::equal_jittered(wait, wait * 30);
                let rate = success_rate_over_time_window(0.8, 5, window, waits());
                breaker(
                    rate.or_else(consecutive_failures(CONSECUTIVE, waits())),
                    wait,
                )
            }
            _ => {
                let waits = || backoff::constant(wait);
                let rate = success_rate_over_time_window(0.8, 5, window, waits());
                breaker(
                    rate.or_else(consecutive_failures(CONSECUTIVE, waits())),
                    wait,
                )
            }
        }
    }
}

fn breaker<P: FailurePolicy + Send + Sync + 'static>(
    policy: P,
    wait: Duration,
) -> Box<dyn Subject> {
    let breaker = Config::new().failure_policy(policy).build();
    Box::new(Breaker { breaker, wait })
}

struct Breaker<P> {
    breaker: StateMachine<P, ()>,
    wait: Duration,
}

impl<P: FailurePolicy + Send + Sync + 'static> Subject for Breaker<P> {
    fn start(&self) -> Call {
        Call::start(|script| {
            let is_failure = |fault: &Fault| fault.is_failure();
            let call = self.breaker.call_with(is_failure, script.work());
            Box::pin(async move {
                match call.await {
                    Ok(()) => Answer::Served,
                    Err(Error::Rejected) => Answer::Refused,
                    Err(Error::Inner(_)) => Answer::Failed,
                }
            })
        })
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
        CONSECUTIVE
    }

    fn round(&self) -> u32 {
        1
    }

    fn probes(&self) -> Option<u32> {
        None
    }

    fn reports(&self) -> Result<(String, bool), &'static str> {
        let permitted = CircuitBreaker::is_call_permitted(&self.breaker);
        Ok((format!("is_call_permitted() is {permitted}"), !permitted))
    }

    fn refusal(&self) -> String {
        "Error::Rejected, without a time to come back".into()
    }
}

const NAME: &str = "failsafe";
const CONSECUTIVE: u32 = 5;
