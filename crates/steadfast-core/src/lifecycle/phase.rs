//! The words of the lifecycle: phases, maintenance and what both are at one moment.

use std::time::Instant;

/// Longest reason for maintenance, in characters; it is shown to people in one line.
pub const REASON_LEN_MAX: usize = 200;

/// Where the process is in its life.
///
/// Complete: the life of a process has these, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// The first round of checks has not passed yet.
    Starting,
    /// Serving.
    Ready,
    /// Serving, and telling balancers to go elsewhere.
    LameDuck,
    /// Finishing what runs.
    Draining,
    /// Done.
    Stopped,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 5] = [
        Self::Starting,
        Self::Ready,
        Self::LameDuck,
        Self::Draining,
        Self::Stopped,
    ];

    /// Returns the stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::LameDuck => "lame-duck",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }

    /// Whether the process is on its way out.
    #[must_use]
    pub const fn is_leaving(self) -> bool {
        matches!(self, Self::LameDuck | Self::Draining | Self::Stopped)
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who declared a maintenance. Each can only end its own.
///
/// Complete: a person or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Declarer {
    /// A file whose presence means maintenance.
    File,
    /// The application, or an authorised request.
    Operator,
}

impl std::fmt::Display for Declarer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Operator => "operator",
        })
    }
}

/// What there is when one of those who declared a maintenance has ended theirs.
///
/// Complete: it is over or it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MaintenanceEnd {
    /// No maintenance.
    Over,
    /// The one that somebody else declared.
    StillOn(Maintenance),
}

/// A maintenance that is on.
///
/// Complete: who, why and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// Why; at most [`REASON_LEN_MAX`] characters.
    pub reason: Box<str>,
    /// Since when.
    pub since: Instant,
    /// When it ends by itself.
    pub until: Option<Instant>,
}

impl Maintenance {
    pub(super) fn on(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// What the lifecycle says at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LifecycleView {
    /// The phase, `None` before the start.
    pub phase: Option<Phase>,
    /// Since when.
    pub since: Instant,
    /// The maintenance that is on.
    pub maintenance: Option<Maintenance>,
}

impl LifecycleView {
    /// Returns the view as it is later: a maintenance that has ended is gone.
    #[must_use]
    pub fn at(mut self, now: Instant) -> Self {
        self.maintenance = self.maintenance.filter(|maintenance| maintenance.on(now));
        self
    }
}
