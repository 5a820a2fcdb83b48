//! The operator's end of a guard: read its state, declare maintenance, begin a drain.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use steadfast_core::{
    Local, Name, Phase, Verdict,
    plumbing::{Declarer, MaintenanceEnd, Standing, Start},
};
use steadfast_diagnosis::{Diagnosis, diagnose};
use tokio::{runtime::Handle, task::JoinHandle};

use super::{
    around::Around,
    breaker_listener::BreakerListener,
    departing::{LameDuck, drive},
    evidence::{Known, evidence},
    heads::Heads,
    minutes::Minutes,
    past::Past,
    probers::Probers,
    readiness::Readiness,
    traffic::Traffic,
    workers::Workers,
};
use crate::{
    clock,
    drain::{Drain, DrainReport, DrainState, DrainToken, HookStage, Server, Stage, StreamDoor},
    gate::shed::Shedder,
    refusal::Explain,
};

const MAINTENANCE: Name = Name::from_static("maintenance");

/// Longest maintenance that an order may declare.
const MAINTENANCE_MAX: Duration = Duration::from_secs(7 * 86_400);

/// The operator's end. Clones share.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    readiness: Arc<Readiness>,
    shedder: Shedder,
    explain: Explain,
    drain: Local<DrainState>,
    made_at: Instant,
    minutes: Minutes,
    heads: Heads,
    past: Past,
    probers: Probers,
    workers: Workers,
    around: Arc<Around>,
    traffic: Traffic,
    known: OnceLock<Known>,
    port: OnceLock<u16>,
}

impl Control {
    pub(crate) fn new(
        readiness: Readiness,
        shedder: Shedder,
        explain: Explain,
        drain: Drain,
    ) -> Self {
        let life = Arc::clone(&readiness.life);
        let readiness = Arc::new(readiness);
        BreakerListener::listen(&readiness);
        let streams = shedder.clone();
        let door = move || streams.stream().map(|permit| Box::new(permit) as _);
        Self(Arc::new(Inner {
            readiness,
            shedder,
            explain,
            drain: Local::new(DrainState::new(drain, life, StreamDoor(Box::new(door)))),
            made_at: clock::now(),
            minutes: Minutes::default(),
            heads: Heads::default(),
            past: Past::default(),
            probers: Probers::default(),
            workers: Workers::default(),
            around: Arc::default(),
            traffic: Traffic::new(clock::now()),
            known: OnceLock::new(),
            port: OnceLock::new(),
        }))
    }

    /// Returns whether the instance should get traffic, and why not.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.0.readiness.verdict(clock::now()).0
    }

    /// Returns the phase, `None` before the start.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.0.readiness.life.view(clock::now()).phase
    }

    /// Returns the operator's end of load shedding.
    #[must_use]
    pub fn shedder(&self) -> &Shedder {
        &self.0.shedder
    }

    /// Returns the room that explains, with the ledger.
    #[must_use]
    pub fn explain(&self) -> &Explain {
        &self.0.explain
    }

    /// Says what is wrong, ranked, the root first: what the operator's page shows. It is made
    /// of what the process knows of itself, from snapshots in memory.
    ///
    /// ```
    /// use steadfast::{Guard, diagnosis::State};
    ///
    /// let guard = Guard::builder().build()?;
    /// assert_eq!(guard.control().diagnosis().verdict.state, State::Well);
    /// # Ok::<(), steadfast::ConfigError>(())
    /// ```
    #[must_use]
    pub fn diagnosis(&self) -> Diagnosis {
        diagnose(&evidence(self))
    }

    /// Waits until the instance is ready or degraded, that is, until it should get traffic.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn when_ready(&self) {
        let mut standing = self.0.readiness.watch();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = standing
            .wait_for(|standing| *standing != Standing::NotReady)
            .await;
    }

    /// Begins maintenance: requests are refused, readiness says no, `/health/` stays as it
    /// is. It ends after `length` (at most 7 days), or with [`Control::end_maintenance`].
    pub fn begin_maintenance(&self, reason: &str, length: Option<Duration>) {
        self.begin_maintenance_by(Declarer::Operator, reason, length);
    }

    /// Ends the maintenance that was begun by [`Control::begin_maintenance`] or by an
    /// authorised request. One that a file declares ends with the file.
    pub fn end_maintenance(&self) {
        self.end_maintenance_by(Declarer::Operator);
    }

    pub(crate) fn begin_maintenance_by(
        &self,
        by: Declarer,
        reason: &str,
        length: Option<Duration>,
    ) {
        let now = clock::now();
        let until = length.map(|length| now + length.min(MAINTENANCE_MAX));
        let life = &self.0.readiness.life;
        let was_on = life.begin_maintenance(by, reason, until, now);
        self.shedder().wake_waiting();
        let from = if was_on { "on" } else { "off" };
        self.0.explain.note(&MAINTENANCE, from, "on", reason);
        self.0.readiness.publish();
    }

    /// Tells the end of a maintenance whose time is over.
    pub(crate) fn expire_maintenance(&self) {
        if let Some(end) = self.0.readiness.life.expire_maintenance(clock::now()) {
            self.maintenance_ended(Declarer::Operator, "time is over", &end);
        }
    }

    pub(crate) fn end_maintenance_by(&self, by: Declarer) {
        if let Some(end) = self.0.readiness.life.end_maintenance(by, clock::now()) {
            self.maintenance_ended(by, "has ended", &end);
        }
        self.0.readiness.publish();
    }

    /// Writes down that one has ended. It is off only if nobody else has declared one.
    fn maintenance_ended(&self, by: Declarer, how: &str, end: &MaintenanceEnd) {
        let (to, still) = match end {
            MaintenanceEnd::Over => ("off", String::new()),
            MaintenanceEnd::StillOn(other) => ("on", format!("; still: {}", other.reason)),
        };
        let why = format!("the {by}'s {how}{still}");
        self.0.explain.note(&MAINTENANCE, "on", to, &why);
    }

    /// Begins to leave: readiness says no while everything is still served, then running
    /// requests finish. Returns at once; needs a tokio runtime. Later calls do nothing.
    pub fn begin_drain(&self, why: &str) {
        self.leave(why, LameDuck::UntilGone);
    }

    /// Begins to leave without a lame duck: for a Ctrl-C at a terminal, where no balancer
    /// needs to notice.
    pub(crate) fn begin_drain_at_once(&self, why: &str) {
        self.leave(why, LameDuck::None);
    }

    /// Ends the step of the drain that is going on: what a second signal means. For
    /// applications that handle signals themselves; without a drain it does nothing.
    pub fn hurry(&self) {
        // Kept until the step waits for it; kept from before, it would cut a later drain short.
        if self.phase().is_some_and(Phase::is_leaving) {
            self.0.drain.hurry.notify_one();
        }
    }

    fn leave(&self, why: &str, lame_duck: LameDuck) {
        // The one that was started on, since an order may come in on the probe listener's.
        let started_on = self.0.drain.runtime.get().cloned();
        let Some(runtime) = started_on.or_else(|| Handle::try_current().ok()) else {
            tracing::error!(target: crate::log::DRAIN, why, "a drain needs a tokio runtime; nothing was done");
            return;
        };
        if !self.advance(Phase::LameDuck) {
            return;
        }
        let why = steadfast_core::plumbing::redact(why);
        tracing::info!(target: crate::log::DRAIN, %why, "leaving");
        let since = clock::now();
        let length = lame_duck.max(&self.0.drain.settings);
        self.0.readiness.life.ramp(length, since);
        let until = since + length;
        self.0
            .drain
            .stage
            .send_replace(Stage::LameDuck { since, until });
        let why = why.to_string().into_boxed_str();
        runtime.spawn(drive(self.clone(), why, lame_duck, since));
    }

    /// Adds something to do when the process begins to leave, while everything is still
    /// served. Hooks of one stage run one after another, in the order in which they were
    /// added, for at most [`Drain::hooks`] together; one that panics or hangs is an entry in
    /// the report. At most 64 hooks.
    pub fn before_drain<F, R>(&self, name: &str, hook: F)
    where
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.hook(HookStage::BeforeDrain, name, hook);
    }

    /// Adds something to do once nothing new can come, while requests finish. Only an accept
    /// loop of this library ([`crate::Guard::serve`]) knows that moment; without one it is
    /// the moment of [`Control::drained`]. It has the grace, or what a second signal leaves of
    /// it; whatever is not done by then is in the report, also if that moment never came.
    pub fn after_listener_closed<F, R>(&self, name: &str, hook: F)
    where
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.hook(HookStage::AfterListenerClosed, name, hook);
    }

    /// Adds something to do after the last request: close a pool, flush a log.
    pub fn after_drain<F, R>(&self, name: &str, hook: F)
    where
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.hook(HookStage::AfterDrain, name, hook);
    }

    fn hook<F, R>(&self, stage: HookStage, name: &str, hook: F)
    where
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        if !self.0.drain.hooks.add(stage, name, hook) {
            tracing::error!(target: crate::log::DRAIN, name, "more than 64 hooks; this one will not run");
        }
    }

    /// Spawns a background task that the drain waits for, and that is cut when the grace is
    /// over. Needs a tokio runtime, as `tokio::spawn` does.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.drain.tasks.spawn(future)
    }

    /// Returns a token that says when to leave, for the application's state or a task.
    #[must_use]
    pub fn token(&self) -> DrainToken {
        DrainToken::new(self.0.drain.clone())
    }

    /// Returns the report of the drain, once it is over.
    #[must_use]
    pub fn report(&self) -> Option<Arc<DrainReport>> {
        self.0.drain.report.borrow().clone()
    }

    /// Waits for the end of the drain and returns its report. Call it after
    /// `axum::serve(…).with_graceful_shutdown(control.reached(Phase::Draining))` has
    /// returned: it says that the last connection has gone, so that the hooks run. After
    /// [`crate::Guard::serve`] it returns that drain's report at once. It waits for ever if
    /// nobody begins a drain.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn drained(&self) -> Arc<DrainReport> {
        let mut stages = self.0.drain.stage.subscribe();
        let _ = stages.wait_for(Stage::is_closing).await;
        if *self.0.drain.server.borrow() == Server::Elsewhere {
            self.0.drain.server_is(Server::Gone);
        }
        let mut reports = self.0.drain.report.subscribe();
        let found = reports.wait_for(Option::is_some).await;
        let report = found.ok().and_then(|report| report.clone());
        report.expect("the sender lives in self, and the report is there")
    }

    /// Waits until the process has come to this phase or further: give
    /// `control.reached(Phase::Draining)` to `axum::serve(…).with_graceful_shutdown(…)`
    /// if you do not use [`crate::Guard::serve`].
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn reached(self, phase: Phase) {
        let mut phases = self.0.readiness.watch_phase();
        let _ = phases
            .wait_for(|current| current.is_some_and(|current| current >= phase))
            .await;
    }

    /// Moves to a phase if it is ahead. Returns whether it moved.
    pub(crate) fn advance(&self, phase: Phase) -> bool {
        self.0.readiness.advance(phase)
    }

    pub(crate) fn start(&self, start: Start, now: Instant) -> bool {
        let moved = self.0.readiness.life.start(start, now);
        // Until the first round has ended, a client waits for that and not for the hold.
        let longest = self.0.readiness.dependencies.iter();
        if let Some(longest) = longest.map(|it| it.settings().1.timeout).max() {
            self.0.readiness.life.next_round(now + longest);
        }
        self.0.readiness.moved(moved);
        self.0.readiness.publish();
        moved.is_some()
    }

    pub(crate) fn readiness(&self) -> &Arc<Readiness> {
        &self.0.readiness
    }

    /// When the guard was made, which is when the process began, nearly.
    pub(crate) fn made_at(&self) -> Instant {
        self.0.made_at
    }

    pub(crate) fn minutes(&self) -> &Minutes {
        &self.0.minutes
    }

    pub(crate) fn heads(&self) -> &Heads {
        &self.0.heads
    }

    pub(crate) fn past(&self) -> &Past {
        &self.0.past
    }

    pub(crate) fn probers(&self) -> &Probers {
        &self.0.probers
    }

    pub(crate) fn workers(&self) -> &Workers {
        &self.0.workers
    }

    /// What stands around the guard and the process.
    pub(crate) fn around(&self) -> &Arc<Around> {
        &self.0.around
    }

    pub(crate) fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }

    /// Returns what the guard was told, once it has started.
    pub(crate) fn known(&self) -> Option<&Known> {
        self.0.known.get()
    }

    /// Takes what the guard was told. The first word counts.
    pub(crate) fn know(&self, known: Known) {
        let _ = self.0.known.set(known);
    }

    /// Returns the port at which the application is served, once an accept loop of this
    /// library does.
    pub(crate) fn port(&self) -> Option<u16> {
        self.0.port.get().copied()
    }

    /// Takes the port at which the application is served. Of several, the first counts.
    pub(crate) fn listens_at(&self, port: u16) {
        let _ = self.0.port.set(port);
    }

    pub(crate) fn drain_state(&self) -> &Local<DrainState> {
        &self.0.drain
    }

    pub(crate) fn drain_settings(&self) -> Drain {
        self.0.drain.settings
    }
}
