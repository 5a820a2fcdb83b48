//! The task that takes a process through its drain, step by step, each with a bound.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use steadfast_core::{Name, Phase};

use super::Control;
use crate::{
    clock,
    drain::{DrainReport, DrainState, HookStage, LameDuckEnd, Reason, Server, Stage},
    meter,
};

/// How long no request must come before balancers count as gone. Longer than the gap
/// between two requests of a service that is used at all; a service used less often than
/// twice a second loses nothing by leaving between two requests.
const QUIET: Duration = Duration::from_millis(500);

/// How often the evidence is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long before the end of the grace handlers are told that it is the end: enough for a
/// close frame, too little to begin anything. At most a quarter of the grace.
const NOTICE: Duration = Duration::from_millis(250);

/// How long the accept loop may take to end what was cut. A task that blocks its thread
/// cannot be ended at all, and does not keep the process.
const CUT_MAX: Duration = Duration::from_millis(500);

const DRAIN: Name = Name::from_static("drain");

/// Which lame duck was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LameDuck {
    /// As long as balancers need, within the settings.
    UntilGone,
    /// None.
    None,
}

/// Takes the process from the lame duck, which has begun, to its end.
pub(crate) async fn drive(control: Control, why: Box<str>, wanted: LameDuck, began: Instant) {
    let drain = control.drain_state();
    let settings = drain.settings;
    let max = wanted.max(&settings);
    let (lame_duck_end, ()) = tokio::join!(
        lame_duck(&control, drain, max, began),
        drain
            .hooks
            .run(HookStage::BeforeDrain, tokio::time::sleep(settings.hooks))
    );
    let closing = clock::now();
    let finished = finish(&control, drain, closing).await;
    let mut report = DrainReport {
        why,
        lame_duck: closing.saturating_duration_since(began),
        lame_duck_end,
        forced: !finished,
        draining: clock::now().saturating_duration_since(closing),
        ..DrainReport::default()
    };
    let time = tokio::time::sleep(settings.hooks);
    drain.hooks.run(HookStage::AfterDrain, time).await;
    complete(&mut report, &control, drain, began);
    control.advance(Phase::Stopped);
    drain.stage.send_replace(Stage::Over);
    tell(&report, &control);
    drain.report.send_replace(Some(Arc::new(report)));
}

impl LameDuck {
    pub(crate) fn max(self, settings: &crate::Drain) -> Duration {
        match self {
            Self::UntilGone => settings.lame_duck_max,
            Self::None => Duration::ZERO,
        }
    }
}

/// Waits until balancers have gone, the maximum has passed, or somebody hurries.
async fn lame_duck(
    control: &Control,
    drain: &DrainState,
    max: Duration,
    began: Instant,
) -> LameDuckEnd {
    if max.is_zero() {
        return LameDuckEnd::Skipped;
    }
    let gone = async {
        tokio::time::sleep_until((began + drain.settings.lame_duck_min.min(max)).into()).await;
        loop {
            let notes = control.readiness().life.leaving_notes();
            let told = notes.failing_probes >= drain.settings.failing_probes;
            if told && notes.quiet_for(began, clock::now()) >= QUIET {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        () = gone => LameDuckEnd::BalancersGone,
        () = tokio::time::sleep_until((began + max).into()) => LameDuckEnd::Maximum,
        () = drain.hurry.notified() => LameDuckEnd::Hurried,
    }
}

/// Lets what runs finish, and cuts what does not. Returns whether everything finished.
async fn finish(control: &Control, drain: &DrainState, closing: Instant) -> bool {
    let grace = drain.settings.grace;
    let until = closing + grace;
    // The stage first: whoever waits for the phase finds it.
    let since = closing;
    drain.stage.send_replace(Stage::Closing { since, until });
    control.advance(Phase::Draining);
    control.readiness().life.refuse_from(until, closing);
    // Without a grace it is over for them at once.
    control.shedder().wake_waiting();
    let notice = NOTICE.min(grace / 4);
    let everything = async {
        let hooks = async {
            let last_moment = || async {
                let mut stages = drain.stage.subscribe();
                let _ = stages.wait_for(|stage| *stage >= Stage::Cancelling).await;
            };
            tokio::select! {
                () = drain.server_reached(Server::Closed) => {}
                () = last_moment() => {}
            }
            let hooks = &drain.hooks;
            hooks
                .run(HookStage::AfterListenerClosed, last_moment())
                .await;
        };
        tokio::join!(
            hooks,
            drain.server_reached(Server::Gone),
            drain.tasks.none(),
            drain.permits.none(),
            drain.sockets.none()
        );
    };
    tokio::pin!(everything);
    tokio::select! {
        _ = &mut everything => return true,
        () = tokio::time::sleep_until((until - notice).into()) => {}
        () = drain.hurry.notified() => {}
    }
    drain.stage.send_replace(Stage::Cancelling);
    tokio::select! {
        // Polled before anything else ends it: hooks whose last moment this is write down
        // what became of them.
        biased;
        _ = &mut everything => return true,
        () = tokio::time::sleep(notice) => {}
    }
    drain.stage.send_replace(Stage::Cutting);
    let tasks = drain.tasks.abort() + drain.permits.count();
    let age = clock::now().saturating_duration_since(closing);
    for _ in 0..tasks {
        drain.tally().cut(Reason::Task, "", age);
    }
    if *drain.server.borrow() == Server::Elsewhere {
        for _ in 0..drain.sockets.count() {
            drain.tally().cut(Reason::Upgrade, "", age);
        }
    } else {
        let _ = tokio::time::timeout(CUT_MAX, drain.server_reached(Server::Gone)).await;
    }
    false
}

/// Fills in what was counted.
fn complete(report: &mut DrainReport, control: &Control, drain: &DrainState, began: Instant) {
    let now = clock::now();
    let notes = control.readiness().life.leaving_notes();
    report.total = now.saturating_duration_since(began);
    report.came_late = notes.requests;
    report.last_came = notes
        .last_request
        .map(|last| last.saturating_duration_since(began));
    report.failing_probes = notes.failing_probes;
    report.hooks = drain.hooks.reports();
    let tally = drain.tally();
    report.connections_seen = tally.connections_seen;
    report.served = tally.served;
    report.abandoned = tally.abandoned;
    report.closed = tally.closed;
    report.cut = tally.cut;
    report.stuck.clone_from(&tally.stuck);
}

/// Says what happened, in the log, the metrics and the ledger.
fn tell(report: &DrainReport, control: &Control) {
    for (reason, count) in report.cut.by_reason() {
        meter::count("steadfast_drain_cut_total", &[("reason", reason)], count);
    }
    let summary = report.summary();
    control.explain().note(&DRAIN, "begun", "over", &summary);
    // One line, as everything in the log.
    let is_clean = report.is_clean();
    let report = report.to_string();
    let lines: Vec<_> = report.lines().map(str::trim).collect();
    let report = lines.join("; ");
    if is_clean {
        tracing::info!(target: crate::log::DRAIN, %report, "drained");
    } else {
        tracing::warn!(target: crate::log::DRAIN, %report, "drained, and cut what did not finish");
    }
}
