//! What is known of a dependency: its breaker, its check, its pool, and what it said last.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use steadfast_core::{
    Evidence as Numbers, FailureClass, Health, PoolExhausted, Requirement,
    plumbing::{
        BreakerMode, BreakerState, DependencyReason, DependencyView, LedgerView, PoolHeld,
        PoolPressure, PoolReading,
    },
};
use steadfast_diagnosis::{BreakerIs, CheckIs, Evidence, Own, PoolIs, Text, Tied};

use super::{SOURCE, since};
use crate::Dependency;

/// What a refusal said of a pool is believed for so long: two of the longest waits.
const POOL_WORD_AGE_MAX: Duration = Duration::from_secs(60);

pub(super) fn gather(
    evidence: &mut Evidence,
    dependency: &Dependency,
    view: &DependencyView,
    ledger: &LedgerView,
    now: Instant,
) {
    let tied = Tied::dependency(view.name.as_str());
    let mut say = |seen: Own| evidence.saw(SOURCE, tied.clone(), seen);
    if let Some(seen) = breaker(view, now) {
        say(seen);
    }
    calls(view).into_iter().for_each(&mut say);
    check(view, now).into_iter().for_each(&mut say);
    // While it comes back, what it said last is history.
    if matches!(view.health(now), Health::Failing | Health::Unknown) {
        if let Some(last) = view.last_error() {
            say(Own::LastError {
                class: Text::new(last.class.code()),
                error: Text::new(&last.message),
                ago: since(last.at, now),
            });
        }
    }
    if let Some(read_only) = &view.read_only {
        say(Own::ReadOnly {
            error: Text::new(&read_only.error),
            since: since(read_only.since, now),
        });
    }
    if let Some(refused) = &view.sessions_refused {
        say(Own::SessionsRefused {
            error: Text::new(&refused.error),
            still_serving: refused.still_serving.into(),
        });
    }
    let (known, out) = view.keys;
    if out > 0 {
        say(Own::KeysOut {
            out: out.into(),
            known: known.into(),
        });
    }
    if let Some(reading) = &view.pool {
        let refused = refusal_of(dependency, ledger, now);
        say(pool(reading, refused, view));
        if let Some(fleet) = dependency.fleet() {
            let places = reading.max.saturating_add(fleet.beside_pool());
            say(Own::PoolSum {
                places: places.into(),
                instances: fleet.instances().into(),
                server_max: fleet.shared_max().into(),
            });
        }
        holders(&dependency.state().pool_holders(now))
            .into_iter()
            .for_each(&mut say);
    }
}

fn breaker(view: &DependencyView, now: Instant) -> Option<Own> {
    let seen = view.breaker.as_ref()?;
    let is = match (seen.mode, seen.state) {
        (BreakerMode::ForcedOpen, _) => BreakerIs::ForcedOpen,
        (BreakerMode::ForcedClosed, _) => BreakerIs::ForcedClosed,
        (_, BreakerState::Closed) => BreakerIs::Closed,
        (_, BreakerState::Open) => BreakerIs::Open,
        (_, BreakerState::Probing) => BreakerIs::Probing,
        (_, BreakerState::Ramping) => BreakerIs::Ramping,
    };
    let is_closed = is == BreakerIs::Closed;
    // What ended an earlier outage is history.
    let why = seen
        .reason
        .filter(|_| !is_closed)
        .map(|reason| reason.to_string());
    let last_error = view.last_error().filter(|_| !is_closed);
    Some(Own::Breaker {
        is,
        why: why.unwrap_or_default().into(),
        last_error: last_error
            .map(|it| Text::new(&it.message))
            .unwrap_or_default(),
        retry_in: seen.next_probe_at.map(|at| since(now, at)),
    })
}

fn calls(view: &DependencyView) -> Option<Own> {
    let seen = view.breaker.as_ref()?;
    let is_long = seen
        .oldest
        .is_some_and(|oldest| oldest >= Duration::from_secs(1));
    Some(Own::Calls {
        failed: seen.counts.failed.into(),
        slow: seen.counts.slow.into(),
        of: seen.counts.calls.into(),
        hanging: seen.in_flight.filter(|_| is_long).unwrap_or(0).into(),
    })
}

fn check(view: &DependencyView, now: Instant) -> Vec<Own> {
    let Some(check) = &view.check else {
        return Vec::new();
    };
    let is = match check.health(now) {
        Health::Passing => CheckIs::Passing,
        Health::Warning => CheckIs::Warning,
        Health::Failing => CheckIs::Failing,
        Health::Unknown => CheckIs::Unknown,
    };
    let failed = check
        .last_failure
        .as_ref()
        .filter(|_| check.failing_from.is_some());
    let warns = check.last.as_ref().filter(|_| is == CheckIs::Warning);
    let mut seen = vec![Own::Check {
        is,
        failures: check.failures.into(),
        class: check
            .class(now)
            .map(|class| Text::new(class.code()))
            .unwrap_or_default(),
        error: failed
            .map(|(_, _, message)| Text::new(message))
            .or(warns.map(|last| Text::new(last.message())))
            .unwrap_or_default(),
        took: (check.runs > 0).then_some(check.took),
        required: check.requirement == Requirement::Required || view.gates_start(),
    }];
    if let Some(DependencyReason::CheckDisagrees {
        failures,
        succeeded,
        window,
        ..
    }) = view.reason(now)
    {
        seen.push(Own::CheckDisagrees {
            failures: failures.into(),
            succeeded: succeeded.into(),
            within: window,
        });
    }
    seen.push(Own::CheckTimeout {
        timeout: check.settings.timeout,
        period: check.settings.interval,
    });
    seen
}

/// What the last refusal of this dependency's pool said, if it is fresh.
fn refusal_of<'a>(
    dependency: &Dependency,
    ledger: &'a LedgerView,
    now: Instant,
) -> Option<&'a PoolExhausted> {
    let fresh = ledger
        .recent
        .iter()
        .filter(|it| since(it.refusal.at(), now) <= POOL_WORD_AGE_MAX);
    fresh
        .filter_map(|it| match it.refusal.evidence() {
            Numbers::PoolExhausted(pool) => Some(pool),
            _ => None,
        })
        .find(|pool| pool.dependency == *dependency.name())
}

/// How the pool stands: by its own gauges, and, where it has free places and refuses all the
/// same, by what the last refusal said.
fn pool(reading: &PoolReading, refused: Option<&PoolExhausted>, view: &DependencyView) -> Own {
    let is_full = reading.in_use >= reading.max;
    let is = match (reading.pressure, refused.map(|refused| refused.class)) {
        (PoolPressure::Stuck, _) => PoolIs::Stuck,
        (PoolPressure::Saturated, _) => PoolIs::Busy,
        (PoolPressure::None, Some(FailureClass::RefusedByServer))
            if view.sessions_refused.is_some() || reading.room.is_some() =>
        {
            PoolIs::ServerFull
        }
        (
            PoolPressure::None,
            Some(FailureClass::Unreachable | FailureClass::Timeout | FailureClass::Dns),
        ) if !is_full && reading.idle == 0 => PoolIs::Unreachable,
        (PoolPressure::None, _) => PoolIs::Well,
    };
    let trouble = match is {
        PoolIs::ServerFull | PoolIs::Unreachable => {
            refused.and_then(|refused| refused.last_error.as_deref())
        }
        _ => None,
    };
    Own::Pool {
        is,
        in_use: reading.in_use.into(),
        max: reading.max.into(),
        waiting: reading.waiting.into(),
        trouble: trouble.map(Text::new).unwrap_or_default(),
    }
}

/// Who holds connections beyond the pool's own bound, by lines of code.
fn holders(all: &[PoolHeld]) -> Vec<Own> {
    let mut lines: BTreeMap<&str, (u64, Duration)> = BTreeMap::new();
    for holder in all.iter().filter(|holder| holder.is_long) {
        let (count, age) = lines.entry(&holder.place).or_default();
        (*count, *age) = (*count + 1, holder.held.max(*age));
    }
    let held = |(place, (count, age)): (&str, _)| Own::Held {
        place: Text::new(place),
        age,
        count,
    };
    lines.into_iter().map(held).collect()
}
