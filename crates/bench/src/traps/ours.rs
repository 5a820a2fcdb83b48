//! Steadfast, with the settings a user gets who sets none.

use std::time::{Duration, Instant};

use steadfast::{
    BreakerMode, CallError, CallOutcome, Control, Dependency, FailureClass, Guard, KeyedSettings,
    Running, Standing, Trip, check,
};
use steadfast_core::{CheckOutcome, DependencyState, plumbing::Breaker};
use tower::{Layer, ServiceExt, service_fn};

use super::{
    call::{Answer, Call, End, Fault, Script},
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
        let pace = match wiring {
            Wiring::Window => DENSE,
            _ => PACE,
        };
        Box::new(Ourself {
            payments: dependency(trip),
            pace,
        })
    }

    fn layered_anew(&self, calls: u32) -> Result<Vec<(&'static str, u32)>, &'static str> {
        let trip = Trip::default()
            .consecutive_failures(3)
            .consecutive_spread(Duration::ZERO);
        let layer = dependency(trip).layer().classify(judge);
        let refused = (0..calls).filter(|_| {
            let client = layer.layer(service_fn(|script: Script| script.work()));
            let call = Call::start(|script| {
                Box::pin(async move { answer(&client.oneshot(script).await) })
            });
            call.end(End::Bad) == Answer::Refused
        });
        Ok(vec![("layer()", refused.count() as u32)])
    }

    fn keyed(&self) -> Result<[Box<dyn Subject>; 2], &'static str> {
        let shards = dependency(Trip::default())
            .keyed(KeyedSettings::default())
            .expect("the defaults are valid");
        Ok(["shard-1", "shard-2"].map(|shard| -> Box<dyn Subject> {
            Box::new(Ourself {
                payments: shards.of(shard),
                pace: PACE,
            })
        }))
    }

    fn refuses_when_the_clock_steps_back(&self) -> Result<bool, &'static str> {
        let start = now();
        let rules = Trip::default().build().expect("the defaults are valid");
        let breaker = Breaker::new(rules, 1, start);
        let later = start + Duration::from_secs(60);
        for _ in 0..100 {
            if let Ok(permit) = breaker.try_acquire(later, 0, 0) {
                let _ = permit.settle(CallOutcome::Failure(FailureClass::Other.into()), later);
            }
        }
        let _ = breaker.tick(start, 0);
        Ok(breaker.try_acquire(start, 0, 0).is_err())
    }
}

/// The check is of the port; the guard asks it, where a trap starts one.
fn dependency(trip: Trip) -> Dependency {
    Dependency::builder("payments")
        .check(check::closure(|| async { CheckOutcome::pass() }))
        .trip(trip)
        .build()
        .expect("valid settings")
}

struct Ourself {
    payments: Dependency,
    pace: Duration,
}

impl Ourself {
    fn state(&self) -> &DependencyState {
        self.payments.as_ref()
    }

    /// Starts a guard that knows the dependency, and lets its check pass once.
    fn guarded(&self) -> (Control, Running) {
        let guard = Guard::builder()
            .dependency(&self.payments)
            .without_signals()
            .build()
            .expect("valid settings");
        let running = clock::block_on(async { guard.start() });
        let running = running.expect("it was not started before");
        clock::advance(Duration::from_millis(200));
        (guard.control(), running)
    }
}

impl Subject for Ourself {
    fn start(&self) -> Call {
        let payments = self.payments.clone();
        Call::start(|script| {
            Box::pin(async move { answer(&payments.call_by(judge, script.work()).await) })
        })
    }

    /// What a started guard does as well: it ticks.
    fn pass(&self, time: Duration) {
        clock::advance(time);
        self.state().tick(now(), fastrand::u64(..));
    }

    fn now(&self) -> Instant {
        now()
    }

    fn wait(&self) -> Duration {
        WAIT_MAX
    }

    fn pace(&self) {
        clock::advance(self.pace);
    }

    fn trips_after(&self) -> u32 {
        5
    }

    fn window_calls(&self) -> u32 {
        (WINDOW.as_millis() / DENSE.as_millis()) as u32
    }

    fn round(&self) -> u32 {
        2
    }

    fn probes(&self) -> Option<u32> {
        Some(1)
    }

    fn reports(&self) -> Result<(String, bool), &'static str> {
        let breaker = self.state().breaker().expect("calls were made");
        let state = breaker.snapshot(now()).state;
        let refuses = self.state().refusal(now()).is_some();
        let gate = if refuses { "refuses" } else { "lets pass" };
        Ok((format!("its state is {state}, its gate {gate}"), refuses))
    }

    fn force_open(&self) -> Result<(), &'static str> {
        self.payments.set_mode(BreakerMode::ForcedOpen);
        Ok(())
    }

    fn check_passed(&self) -> Result<(), &'static str> {
        let (_control, running) = self.guarded();
        drop(running);
        Ok(())
    }

    fn is_ready(&self) -> Result<bool, &'static str> {
        let (control, running) = self.guarded();
        let standing = control.verdict().standing;
        drop(running);
        Ok(standing != Standing::NotReady)
    }

    fn refusal(&self) -> String {
        match self.payments.try_acquire() {
            Ok(_) => "nothing, it is not open".into(),
            Err(refusal) => format!(
                "CallError::Refused: {refusal}, retry after {:?}",
                refusal.retry_after()
            ),
        }
    }
}

/// Tells it what every breaker here is told; it knows two more kinds.
fn judge(result: Result<&(), &Fault>) -> CallOutcome {
    match result {
        Ok(()) => CallOutcome::Success,
        // It answers, and badly. One that cannot be reached at all is asked again within the
        // pace of these calls, so none of them would be seen refused.
        Err(Fault::Down) => CallOutcome::Failure(FailureClass::Unhealthy.into()),
        Err(Fault::OwnPool) => CallOutcome::Failure(FailureClass::Saturated.into()),
        Err(Fault::NotFound) => CallOutcome::Neutral,
    }
}

fn answer(result: &Result<(), CallError<Fault>>) -> Answer {
    match result {
        Ok(()) => Answer::Served,
        Err(CallError::Refused(_)) => Answer::Refused,
        Err(CallError::TimedOut(_) | CallError::Inner(_)) => Answer::Failed,
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(crate) const NAME: &str = "steadfast";
/// The default first wait is a second, spread by half.
const WAIT_MAX: Duration = Duration::from_millis(1_500);
/// The default window.
const WINDOW: Duration = Duration::from_secs(10);
/// Five failures in a row must lie a second apart to be more than one event.
const PACE: Duration = Duration::from_millis(300);
/// What fills a window.
const DENSE: Duration = Duration::from_millis(10);
