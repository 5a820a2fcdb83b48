//! Steadfast, with the settings a user gets who sets none.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use steadfast_core::{
    Breaker, BreakerMode, BreakerPermit, BreakerState, CallOutcome, CheckDepth, FailureClass, Trip,
};

use super::{
    call::{Answer, Call, Fault},
    clock,
    subject::{Peer, Subject, Wiring},
};

pub(crate) struct Ours;

impl Peer for Ours {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn make(&self, wiring: Wiring) -> Box<dyn Subject> {
        let trip = match wiring {
            // The other rules would open long before the window's.
            Wiring::Window => Trip::default().no_consecutive_failures(),
            Wiring::Rate(window) => Trip::default().window(window),
            Wiring::Wait(wait) => Trip::default().open_base(wait),
            Wiring::Usual | Wiring::Records(_) => Trip::default(),
        };
        let breaker = Breaker::new(trip.build().expect("valid settings"), 2, now());
        Box::new(Ourself {
            breaker: Arc::new(breaker),
            pace: if wiring == Wiring::Window {
                DENSE
            } else {
                PACE
            },
        })
    }

    fn refuses_when_the_clock_steps_back(&self) -> Result<bool, &'static str> {
        let start = now();
        let breaker = Breaker::new(Trip::default().build().expect("valid"), 2, start);
        let later = start + Duration::from_secs(60);
        for _ in 0..100 {
            if let Ok(permit) = breaker.try_acquire(later, 0, 0) {
                let _ = permit.settle(CallOutcome::Failure(FailureClass::Other.into()), later);
            }
        }
        Ok(breaker.try_acquire(start, 0, 0).is_err())
    }
}

struct Ourself {
    breaker: Arc<Breaker>,
    pace: Duration,
}

impl Subject for Ourself {
    fn start(&self) -> Call {
        let breaker = Arc::clone(&self.breaker);
        Call::start(|script| {
            Box::pin(async move {
                let admitted = Breaker::try_acquire_owned(breaker, now(), 0, fastrand::u64(..));
                let Ok(permit) = admitted else {
                    return Answer::Refused;
                };
                let mut running = Running(Some(permit), now());
                let result = script.work().await;
                let permit = running.0.take().expect("settled once");
                let (outcome, answer) = match result {
                    Ok(()) => (CallOutcome::Success, Answer::Served),
                    Err(Fault::Down) => (
                        CallOutcome::Failure(FailureClass::Unreachable.into()),
                        Answer::Failed,
                    ),
                    Err(Fault::OwnPool) => (
                        CallOutcome::Failure(FailureClass::Saturated.into()),
                        Answer::Failed,
                    ),
                    Err(Fault::NotFound) => (CallOutcome::Neutral, Answer::Failed),
                };
                let _ = permit.settle(outcome, now());
                answer
            })
        })
    }

    fn pass(&self, time: Duration) {
        clock::advance(time);
        let _ = self.breaker.tick(now(), fastrand::u64(..));
    }

    fn now(&self) -> Instant {
        now()
    }

    fn wait(&self) -> Duration {
        Duration::from_millis(1_500)
    }

    fn pace(&self) {
        clock::advance(self.pace);
    }

    fn trips_after(&self) -> u32 {
        5
    }

    fn window_calls(&self) -> u32 {
        1_000
    }

    fn round(&self) -> u32 {
        2
    }

    fn probes(&self) -> Option<u32> {
        Some(1)
    }

    fn reports(&self) -> Result<(String, bool), &'static str> {
        let state = self.breaker.snapshot(now()).state;
        Ok((
            format!("its snapshot says {state}"),
            state == BreakerState::Open,
        ))
    }

    fn force_open(&self) -> Result<(), &'static str> {
        let _ = self.breaker.set_mode(BreakerMode::ForcedOpen, now());
        Ok(())
    }

    fn check_passed(&self) -> Result<(), &'static str> {
        let _ = self.breaker.check_passed(CheckDepth::Shallow, now());
        Ok(())
    }

    fn refusal(&self) -> String {
        match self.breaker.look(now()) {
            Ok(()) => "nothing, it is not open".into(),
            Err(refusal) => format!(
                "BreakerRefusal: {}, retry after {:?}",
                refusal
                    .reason
                    .map_or_else(String::new, |reason| reason.to_string()),
                refusal.retry_after
            ),
        }
    }
}

struct Running(Option<BreakerPermit<Arc<Breaker>>>, Instant);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(permit) = self.0.take() {
            let now = now();
            let outcome = if std::thread::panicking() {
                CallOutcome::Failure(FailureClass::Panicked.into())
            } else {
                CallOutcome::Abandoned {
                    elapsed: now.saturating_duration_since(self.1),
                }
            };
            let _ = permit.settle(outcome, now);
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(crate) const NAME: &str = "steadfast";
/// Five failures in a row must lie a second apart to be more than one event.
const PACE: Duration = Duration::from_millis(300);
/// What fills a window.
const DENSE: Duration = Duration::from_millis(10);
