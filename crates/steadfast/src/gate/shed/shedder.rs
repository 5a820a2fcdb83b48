//! The operator's end of load shedding.

use std::time::{Duration, Instant};

use http::Request;
use steadfast_core::{
    self as core, Ask, ConfigError, Deadline, Decision, Local, Refusal, ShedGate, ShedMode,
    ShedPermit, ShedTicket,
    limit::{Change, Limit},
    plumbing::{
        BEAT, BackendChange, LagChange, LagMode, PacingChange, ReserveChange, ResourceChange,
        ResourceSample, RouteClass, ShedSnapshot, Streams, TenantChange,
    },
};

use super::Shed;
use crate::{
    clock,
    request::{class::Classes, deadlines::Deadlines, tenant::Tenants},
};

/// The operator's end of load shedding: read it, change it while it runs. Clones share.
#[derive(Clone, Debug)]
pub struct Shedder(pub(super) Local<ShedState>);

/// What all handles share.
#[derive(Debug)]
pub(crate) struct ShedState {
    pub(super) gate: ShedGate,
    pub(super) classes: Classes,
    pub(super) deadlines: Deadlines,
    pub(super) tenants: Option<Tenants>,
}

impl ShedState {
    /// Asks the gate for a place for a request, which `owner` then keeps.
    #[inline]
    pub(crate) fn admit<T, A>(
        &self,
        owner: &Local<T>,
        request: &Request<A>,
        class: &RouteClass,
        deadline: Option<Deadline>,
        now: Instant,
    ) -> Decision<ShedPermit<T>, ShedTicket<T>>
    where
        T: AsRef<ShedGate> + Send + Sync + 'static,
    {
        let ask = Ask::new(request.uri().path())
            .priority(class.priority().unwrap_or_default())
            .deadline(deadline)
            .stream(class.streams() == Streams::Always);
        match &self.tenants {
            None => ShedGate::admit(owner, ask, now),
            Some(tenants) => tenants.weigh(request, &self.gate, now, |tenant| {
                ShedGate::admit(owner, ask.tenant(tenant), now)
            }),
        }
    }
}

impl AsRef<ShedGate> for ShedState {
    fn as_ref(&self) -> &ShedGate {
        &self.gate
    }
}

impl Shedder {
    /// Makes a gate.
    ///
    /// # Errors
    /// Every fault of the settings.
    pub fn new(shed: &Shed) -> Result<Self, ConfigError> {
        ConfigError::check(shed.faults())?;
        Ok(Self(Local::new(ShedState {
            gate: ShedGate::new(&shed.settings, fastrand::u64(..), clock::now())?,
            classes: shed.classes()?,
            deadlines: shed.deadlines.clone(),
            tenants: shed.tenants.clone().map(Tenants::new),
        })))
    }

    pub(crate) fn gate(&self) -> &ShedGate {
        &self.0.gate
    }

    pub(crate) fn classes(&self) -> &Classes {
        &self.0.classes
    }

    pub(crate) fn deadlines(&self) -> &Deadlines {
        &self.0.deadlines
    }

    pub(crate) fn state(&self) -> &ShedState {
        &self.0
    }

    /// Returns what is kept of the name of a request's tenant, if it is asked for.
    pub(crate) fn whose<A>(&self, request: &Request<A>) -> Option<String> {
        let tenants = self.0.tenants.as_ref()?;
        Some(tenants.of(request).tenant().shown())
    }

    /// Whether tenants are told apart.
    pub(crate) fn has_tenants(&self) -> bool {
        self.0.tenants.is_some()
    }

    pub(crate) fn take_tenant_changes(&self) -> Vec<TenantChange> {
        self.0.gate.take_tenant_changes()
    }

    /// Returns limit, requests in flight, totals and the request that runs longest.
    #[must_use]
    pub fn snapshot(&self) -> ShedSnapshot {
        self.0.gate.snapshot(clock::now())
    }

    pub(crate) fn take_changes(&self) -> Vec<Change> {
        self.0.gate.take_changes()
    }

    /// Returns how many requests run now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.0.gate.in_flight()
    }

    /// Puts an algorithm in charge of the limit, while requests run.
    pub fn set_algorithm(&self, limit: Box<dyn Limit>) {
        self.0.gate.set_algorithm(limit);
    }

    /// Fixes the limit; values outside 1 to 1,000,000 are brought inside. Running
    /// requests are never cut.
    pub fn set_limit(&self, limit: u32) {
        self.0.gate.set_limit(limit);
    }

    /// Obeys the lag loop, only observes it, or does without.
    pub fn set_lag_mode(&self, mode: LagMode) {
        self.0.gate.set_lag_mode(mode);
    }

    /// Refuses while memory is close to its limit, or only counts who would have been.
    pub fn set_memory_mode(&self, mode: ShedMode) {
        self.0.gate.set_memory_mode(mode);
    }

    /// Keeps the lag loop going on the runtime that it is polled on, for ever. The guard
    /// does this by itself; whoever uses [`ShedLayer`](crate::ShedLayer) alone spawns it on
    /// the runtime that serves. Without it nothing is seen of the runtime's lag.
    pub async fn watch_runtime(&self) {
        self.begins_to_beat(clock::now());
        loop {
            let due = clock::now() + BEAT;
            tokio::time::sleep_until(due.into()).await;
            let now = clock::now();
            self.0.gate.beat(now.saturating_duration_since(due), now);
        }
    }

    /// Tells the lag loop how many threads this runtime has, and that it is well: a runtime whose
    /// first heartbeat is late is late too.
    pub(crate) fn begins_to_beat(&self, now: Instant) {
        let workers = tokio::runtime::Handle::current().metrics().num_workers();
        let gate = &self.0.gate;
        gate.set_workers(u32::try_from(workers).unwrap_or(u32::MAX));
        gate.beat(Duration::ZERO, now);
    }

    /// Lets requests that wait look at what has begun instead of their turn.
    pub(crate) fn wake_waiting(&self) {
        self.0.gate.wake_waiting();
    }

    /// Returns the requests that run, as far as they are written down.
    pub(crate) fn running(&self, now: Instant) -> Vec<steadfast_core::plumbing::RunningRequest> {
        self.0.gate.running(now)
    }

    pub(crate) fn beat(&self, lag: Duration, now: Instant) {
        self.0.gate.beat(lag, now);
    }

    /// Has the gate decide whether hasty clients are paced.
    pub(crate) fn pace(&self, lag: Duration, queued: usize, busy_ratio: f64, now: Instant) {
        let queued = u32::try_from(queued).unwrap_or(u32::MAX);
        self.0.gate.pace(lag, queued, busy_ratio, now);
    }

    /// Hears of a refusal of a hasty client, this long after the one before.
    pub(crate) fn refused_again(&self, after: Duration) {
        self.0.gate.refused_again(after);
    }

    /// Returns for how long such a client is paced, and counts it.
    pub(crate) fn pause(&self) -> Option<Duration> {
        self.0.gate.pause()
    }

    pub(crate) fn take_pacing_changes(&self) -> Vec<PacingChange> {
        self.0.gate.take_pacing_changes()
    }

    pub(crate) fn take_lag_changes(&self) -> Vec<LagChange> {
        self.0.gate.take_lag_changes()
    }

    pub(crate) fn take_sample(
        &self,
        sample: Option<(Instant, ResourceSample)>,
        now: Instant,
    ) -> Option<ResourceChange> {
        self.0.gate.take_sample(sample, now)
    }

    pub(crate) fn take_backend_changes(&self) -> Vec<BackendChange> {
        self.0.gate.take_backend_changes()
    }

    pub(crate) fn take_reserve_changes(&self) -> Vec<ReserveChange> {
        self.0.gate.take_reserve_changes()
    }

    /// Counts a stream that no response body stands for: an upgraded connection, whose
    /// handler keeps the permit for as long as it uses the connection. Ask before the
    /// upgrade is answered.
    ///
    /// # Errors
    /// As many streams are open as may be.
    pub fn stream(&self) -> Result<StreamPermit, Refusal> {
        ShedGate::stream(&self.0, clock::now()).map(StreamPermit)
    }

    /// Sets how many streams may be open; running ones are never cut.
    pub fn set_streams_max(&self, max: u32) {
        self.0.gate.set_streams_max(max);
    }

    /// Starts or stops to refuse.
    pub fn set_mode(&self, mode: ShedMode) {
        self.0.gate.set_mode(mode);
    }
}

/// The right to keep an upgraded connection: see [`Shedder::stream`]. Dropped, it gives its
/// place back.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once lets everything stay open"]
pub struct StreamPermit(
    #[expect(dead_code, reason = "it is held for its drop")]
    core::plumbing::StreamPermit<ShedState>,
);
