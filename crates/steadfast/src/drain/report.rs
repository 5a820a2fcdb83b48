//! The report of a drain: what was served on the way out, how connections ended, and what
//! had to be cut.
//!
//! An operator reads it after a deployment and asks one question: did this restart lose
//! anything, and if so, what do I change? So the report counts by reason, names what was
//! still running, says which of the phases took how long, and gives the likely
//! misconfiguration for what it saw ([`DrainReport::advice`]).

mod advice;
mod text;

use std::time::Duration;

pub use advice::Advice;

/// Why the lame duck ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LameDuckEnd {
    /// It was asked for none.
    #[default]
    Skipped,
    /// Enough failing probes had been served, and no request came any more.
    BalancersGone,
    /// Its maximum had passed.
    Maximum,
    /// A second signal, or [`hurry`](https://docs.rs/steadfast), ended it.
    Hurried,
}

/// How connections ended while the process left, save those that were cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// After an answer whose header said so.
    pub told_by_header: u64,
    /// After a GOAWAY that the peer acknowledged.
    pub told_by_goaway: u64,
    /// After a GOAWAY whose PING the peer did not acknowledge in time.
    pub goaway_unacknowledged: u64,
    /// Idle, at the end.
    pub idle: u64,
    /// Opened, and silent for the whole grace that a first request has.
    pub unused: u64,
    /// By the peer, in order.
    pub by_peer: u64,
    /// By the peer, with a reset or in the middle of a message.
    pub reset_by_peer: u64,
    /// Upgraded connections that ended by themselves, and over HTTP/2, where a WebSocket is
    /// a stream among others, such streams.
    pub upgraded: u64,
    /// By a bound on slow peers: a head, a preface or a read that took too long.
    pub too_slow: u64,
}

impl Closed {
    /// Returns how many there are.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.told_by_header
            + self.told_by_goaway
            + self.goaway_unacknowledged
            + self.idle
            + self.unused
            + self.by_peer
            + self.reset_by_peer
            + self.upgraded
            + self.too_slow
    }
}

/// What was still going on when the grace was over, and was cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// Connections that waited in the kernel's queue, because the process had no descriptors
    /// for them, and were reset with the listener. Their requests, if they had sent any, were
    /// not looked at.
    pub queued: u64,
    /// A request's head or an HTTP/2 preface was half there. No handler had seen it.
    pub handshake: u64,
    /// The request's body was half there, and the handler waited for it.
    pub request_body: u64,
    /// The handler had not answered.
    pub handler: u64,
    /// The answer's body was not all sent.
    pub body: u64,
    /// Server-sent events, or another answer without an end.
    pub stream: u64,
    /// A WebSocket or another upgraded connection.
    pub upgrade: u64,
    /// A background task that was waited for.
    pub task: u64,
}

impl Cut {
    /// Returns each reason's word with its count, in the order in which a request lives.
    #[must_use]
    pub const fn by_reason(&self) -> [(&'static str, u64); 8] {
        [
            ("queued", self.queued),
            ("handshake", self.handshake),
            ("request-body", self.request_body),
            ("handler", self.handler),
            ("body", self.body),
            ("stream", self.stream),
            ("upgrade", self.upgrade),
            ("task", self.task),
        ]
    }

    /// Returns how many there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_reason().iter().map(|(_, count)| count).sum()
    }

    /// Returns how many of them may have lost somebody a request: a half-sent head has not.
    #[must_use]
    pub fn work(&self) -> u64 {
        self.total() - self.handshake
    }
}

/// Something that was still going on when the grace was over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stuck {
    /// The reason's word, as in [`Cut::by_reason`].
    pub reason: &'static str,
    /// The head of the request's path, without the query; empty if there was none yet.
    pub route: Box<str>,
    /// For how long it had been there.
    pub age: Duration,
}

impl Stuck {
    /// Makes one.
    #[must_use]
    pub fn new(reason: &'static str, route: &str, age: Duration) -> Self {
        Self {
            reason,
            route: route.into(),
            age,
        }
    }
}

/// When a hook runs.
///
/// Complete: a drain has these moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookStage {
    /// As the lame duck begins: everything is still served.
    BeforeDrain,
    /// When nothing new can come: the listener is closed, requests finish.
    AfterListenerClosed,
    /// When the last request has ended or was cut: the place to close pools.
    AfterDrain,
}

impl HookStage {
    /// Returns the stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeDrain => "before-drain",
            Self::AfterListenerClosed => "after-listener-closed",
            Self::AfterDrain => "after-drain",
        }
    }
}

/// How a hook ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HookEnd {
    /// By itself.
    Done,
    /// It panicked.
    Panicked,
    /// Its time was over.
    TimedOut,
    /// The time for all hooks was over before its turn.
    NotRun,
}

/// What became of one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HookReport {
    /// Its name.
    pub name: Box<str>,
    /// When it ran.
    pub stage: HookStage,
    /// How it ended.
    pub end: HookEnd,
    /// For how long it ran.
    pub took: Duration,
}

impl HookReport {
    /// Makes one.
    #[must_use]
    pub fn new(name: &str, stage: HookStage, end: HookEnd, took: Duration) -> Self {
        Self {
            name: name.into(),
            stage,
            end,
            took,
        }
    }
}

/// What happened between the first moment of leaving and the end.
///
/// Its `Display` is what an operator reads, several lines; [`DrainReport::summary`] is one.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Why the process left.
    pub why: Box<str>,
    /// How long the lame duck was.
    pub lame_duck: Duration,
    /// Why it ended.
    pub lame_duck_end: LameDuckEnd,
    /// How long requests had to finish, from the end of the lame duck on.
    pub draining: Duration,
    /// Whether the grace was used up, or ended by a further signal.
    pub forced: bool,
    /// From the first moment to the report.
    pub total: Duration,
    /// Requests answered to the end on the way out, probes included.
    pub served: u64,
    /// Requests whose client left before the end of the answer.
    pub abandoned: u64,
    /// Requests that came in after readiness had begun to fail.
    pub came_late: u64,
    /// How long after that the last of them came.
    pub last_came: Option<Duration>,
    /// Readiness probes that were told no.
    pub failing_probes: u32,
    /// How connections ended.
    pub closed: Closed,
    /// What was cut.
    pub cut: Cut,
    /// The longest-running of what was cut, oldest first, at most [`DrainReport::STUCK_MAX`].
    pub stuck: Vec<Stuck>,
    /// What became of the hooks, in the order in which they ran.
    pub hooks: Vec<HookReport>,
    /// Whether an accept loop of this library saw the connections. Without one, how
    /// connections ended is not known.
    pub connections_seen: bool,
}

impl DrainReport {
    /// Most single things named of those that were cut.
    pub const STUCK_MAX: usize = 8;

    /// Exit status of a process that cut work: `EX_TEMPFAIL` of `sysexits.h`.
    pub const EXIT_CUT: u8 = 75;

    /// Whether nothing that had begun was cut, and every hook ended by itself.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.cut.work() == 0 && self.hooks.iter().all(|hook| hook.end == HookEnd::Done)
    }

    /// Returns 0 for a clean drain and [`DrainReport::EXIT_CUT`] otherwise, for
    /// `std::process::ExitCode::from`.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        if self.is_clean() { 0 } else { Self::EXIT_CUT }
    }
}
