//! What is known of a request because of its path.

use crate::request::priority::Priority;

/// What a route's requests are like. Every part that is not said is left to the rules that
/// hold without a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[must_use]
pub struct RouteClass {
    priority: Option<Priority>,
    exempt: bool,
    streams: Streams,
    draining: Option<WhenDraining>,
}

/// Whether answers of a route are streams, which are counted apart from requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Streams {
    /// The answer tells: server-sent events, an upgrade, a gRPC answer that is not there at
    /// once.
    #[default]
    ByAnswer,
    /// Every answer is one: it is counted with the streams as soon as its head is there.
    Always,
    /// None is: each holds its place among the requests to its end, whatever it is.
    Never,
}

/// What becomes of a long answer when the process leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenDraining {
    /// It is waited for, as long as the grace lasts.
    Finish,
    /// It is ended early, because it would not end by itself and its client comes back.
    Leave,
}

impl RouteClass {
    /// Says nothing.
    pub const fn new() -> Self {
        Self {
            priority: None,
            exempt: false,
            streams: Streams::ByAnswer,
            draining: None,
        }
    }

    /// Served until nothing else is.
    pub const fn critical() -> Self {
        Self::new().with_priority(Priority::Critical)
    }

    /// Refused before what nobody classified.
    pub const fn sheddable() -> Self {
        Self::new().with_priority(Priority::Sheddable)
    }

    /// Refused first.
    pub const fn background() -> Self {
        Self::new().with_priority(Priority::Background)
    }

    /// Never refused for load, never counted, and never a sample for any rule. For what
    /// costs nothing and must work when nothing else does; what does work belongs into
    /// [`RouteClass::critical`].
    pub const fn exempt() -> Self {
        Self::new().with_exemption()
    }

    /// Sets who goes first.
    pub const fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Lets its requests pass every rule about load.
    pub const fn with_exemption(mut self) -> Self {
        self.exempt = true;
        self
    }

    /// Says whether the answers are streams.
    pub const fn with_streams(mut self, streams: Streams) -> Self {
        self.streams = streams;
        self
    }

    /// Says what becomes of an answer that is under way when the process leaves.
    pub const fn when_draining(mut self, draining: WhenDraining) -> Self {
        self.draining = Some(draining);
        self
    }

    /// Returns the priority, if the route has one.
    #[must_use]
    pub const fn priority(self) -> Option<Priority> {
        self.priority
    }

    /// Whether its requests pass every rule about load.
    #[must_use]
    pub const fn is_exempt(self) -> bool {
        self.exempt
    }

    /// Returns which of its answers are streams.
    #[must_use]
    pub const fn streams(self) -> Streams {
        self.streams
    }

    /// Returns what becomes of its answers when the process leaves, if that was said.
    #[must_use]
    pub const fn draining(self) -> Option<WhenDraining> {
        self.draining
    }
}

impl Streams {
    /// Every word for a configuration.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("by-answer", Self::ByAnswer),
        ("always", Self::Always),
        ("never", Self::Never),
    ];
}

impl WhenDraining {
    /// Every word for a configuration.
    pub const WORDS: [(&'static str, Self); 2] = [("finish", Self::Finish), ("leave", Self::Leave)];
}
