//! The gate's handle, and what is asked of it from outside and by the files beside this one.

use std::{
    fmt,
    panic::Location,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    PROBE_AFTER, PoolLease, PoolSettings, PoolTicket,
    slots::{Slots, WakeList},
};
use crate::{
    ConfigError, Deadline, Failure, Name, PoolReading, Refusal,
    sync::{Mutex, lock},
};

/// The gate in front of a connection pool.
pub struct PoolGate {
    pub(super) name: Name,
    pub(super) settings: PoolSettings,
    pub(super) slots: Mutex<Slots>,
    pub(super) last_reading: Mutex<PoolReading>,
}

/// What becomes of a request that wants a connection.
///
/// Complete: whoever asks has to handle each.
#[derive(Debug)]
#[must_use]
pub enum PoolEntry {
    /// There is a place in the pool for it.
    Lend(PoolLease),
    /// It waits for one.
    Wait(PoolTicket),
    /// It will get none in time.
    Refuse(Refusal),
}

impl PoolGate {
    /// Makes the gate of the pool of the dependency with this name.
    ///
    /// # Errors
    /// Every setting that is out of its range.
    pub fn new(
        name: Name,
        settings: &PoolSettings,
        now: Instant,
    ) -> Result<Arc<Self>, ConfigError> {
        let about = |fault| format!("pool of {name}: {fault}");
        ConfigError::check(settings.faults().into_iter().map(about).collect())?;
        Ok(Arc::new(Self {
            name,
            settings: settings.clone(),
            slots: Mutex::new(Slots::new(settings, now)),
            last_reading: Mutex::new(PoolReading::new(settings.size, 0, 0, 0)),
        }))
    }

    /// Returns the name of the dependency.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Returns the settings.
    pub const fn settings(&self) -> &PoolSettings {
        &self.settings
    }

    /// Asks for a place in the pool, on behalf of whoever is at `place`.
    ///
    /// With a free place the answer is a lease. Otherwise the caller waits until `deadline`
    /// or [`PoolSettings::wait_max`], whichever is earlier; but it is refused at once if its
    /// turn cannot come within that time, as far as the turns of the present queue show, or
    /// if as many wait as may.
    pub fn enter(
        self: &Arc<Self>,
        deadline: Option<Deadline>,
        place: &'static Location<'static>,
        now: Instant,
    ) -> PoolEntry {
        match self.admit(u32::MAX, deadline, place, now) {
            Ok((_, Some(start))) => PoolEntry::Lend(start.lease),
            Ok((ticket, None)) => PoolEntry::Wait(ticket),
            Err(refusal) => PoolEntry::Refuse(refusal),
        }
    }

    /// Notes that the server gives no connection, and lets those know who wait for one.
    pub fn connect_failed(&self, failure: Failure, now: Instant) {
        let mut wakes = WakeList::default();
        lock(&self.slots).troubled(failure, now, now, &mut wakes);
        wakes.wake();
    }

    /// Notes that no connection could be opened for one who asked at `asked_at`, while so many
    /// lay idle.
    pub(super) fn note_failed(
        &self,
        failure: &Failure,
        asked_at: Instant,
        idle: u32,
        now: Instant,
    ) {
        let mut wakes = WakeList::default();
        lock(&self.slots).failed(failure.clone(), asked_at, idle, now, &mut wakes);
        wakes.wake();
    }

    /// Notes that the server opened a connection for one who asked at `asked_at`.
    pub fn connect_worked(&self, asked_at: Instant, now: Instant) {
        let mut wakes = WakeList::default();
        lock(&self.slots).answered(asked_at, now, &mut wakes);
        wakes.wake();
    }

    /// Returns how long a connect may be silent, as far as is known.
    pub(super) fn connect_patience(&self) -> Duration {
        lock(&self.slots).connect_patience()
    }

    /// Returns after how long one who has a turn is late: with a new connection, or with the test
    /// of an idle one.
    pub(super) fn late_after(&self, is_new: bool) -> Duration {
        if is_new {
            return PROBE_AFTER;
        }
        lock(&self.slots).patience.test()
    }

    /// Whether connections are lent and come back.
    pub(super) fn works(&self, now: Instant) -> bool {
        lock(&self.slots).works(now)
    }

    /// Returns how many connections serve, if so many lie idle: none, unless one is in use or
    /// has been lately.
    pub(super) fn serving(&self, idle: u32, now: Instant) -> u32 {
        let slots = lock(&self.slots);
        if slots.works(now) || slots.quiet(now) < self.settings.connect_max {
            slots.lent().saturating_add(idle).min(slots.size())
        } else {
            0
        }
    }

    /// Whether connections are lent, or on their way back.
    pub(super) fn has_lent(&self) -> bool {
        lock(&self.slots).lent() > 0
    }

    /// Notes how many connections the driver's pool has lent.
    pub(super) fn note_in_use(&self, in_use: u32) {
        lock(&self.slots).note_in_use(in_use);
    }

    /// Returns how many connections are being opened, and not for too long.
    pub(super) fn opening(&self, now: Instant) -> u32 {
        lock(&self.slots).opening(now)
    }

    /// Whether no connection could be opened lately, and none was since.
    #[must_use]
    pub fn has_trouble(&self, now: Instant) -> bool {
        lock(&self.slots).trouble(now).is_some()
    }

    /// Returns the earlier of the request's deadline and the longest wait.
    #[must_use]
    pub fn wait_until(&self, deadline: Option<Deadline>, now: Instant) -> Deadline {
        let own = Deadline::at(now + self.settings.wait_max);
        deadline.map_or(own, |deadline| deadline.min(own))
    }
}

/// Writes a line of code as people do.
pub(super) fn place(location: &Location<'_>) -> Box<str> {
    format!("{}:{}", location.file(), location.line()).into()
}

impl fmt::Debug for PoolGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = lock(&self.slots);
        f.debug_struct("PoolGate")
            .field("name", &self.name)
            .field("size", &self.settings.size)
            .field("in_use", &slots.lent())
            .field("waiting", &slots.waiting())
            .finish_non_exhaustive()
    }
}
