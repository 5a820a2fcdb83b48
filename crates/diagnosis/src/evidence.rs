//! Evidence: what was seen, and what could not be looked at.

use std::{fmt, time::SystemTime};

use crate::{Id, Observation, text::Text};

/// Most facts that evidence keeps: a host with a hundred backends needs a few hundred, and
/// each rule looks at all of them.
pub const FACTS_MAX: usize = 4_096;

/// Most remarks on what could not be looked at; each names one finding.
pub const NOT_CHECKED_MAX: usize = 256;

/// What a fact is about. A fact that is tied to the service in question weighs more than one
/// about its host.
///
/// Complete: every reader decides on each.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Tied {
    /// The port that was asked.
    Port(u16),
    /// The process behind it.
    Process(u32),
    /// A backend (cluster, upstream, service) of a proxy, by its name.
    Backend(Text),
    /// A dependency: by the name that the process uses for it, else by `host:port`.
    Dependency(Text),
    /// The service as a whole: what its clients see, or what the process says of itself.
    Service,
    /// The host, and whatever runs there.
    Host,
}

impl Tied {
    /// Ties to a backend.
    #[must_use]
    pub fn backend(name: &str) -> Self {
        Self::Backend(Text::new(name))
    }

    /// Ties to a dependency.
    #[must_use]
    pub fn dependency(name: &str) -> Self {
        Self::Dependency(Text::new(name))
    }

    /// Returns the name of the backend or the dependency.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Backend(name) | Self::Dependency(name) => Some(name.as_str()),
            Self::Port(_) | Self::Process(_) | Self::Service | Self::Host => None,
        }
    }
}

impl fmt::Display for Tied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
            Self::Process(pid) => write!(f, "process {pid}"),
            Self::Backend(name) => write!(f, "backend {name}"),
            Self::Dependency(name) => write!(f, "dependency {name}"),
            Self::Service => f.write_str("the service"),
            Self::Host => f.write_str("the host"),
        }
    }
}

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Fact {
    /// Where it was read: a file, a command, a socket, a page.
    pub source: Text,
    /// What was seen.
    pub seen: Observation,
    /// What it is about.
    pub tied: Tied,
    /// When; `None` for now.
    pub at: Option<SystemTime>,
}

impl Fact {
    /// Writes down what was seen, where, and about what.
    ///
    /// ```
    /// use steadfast_diagnosis::{Fact, Host, Tied};
    ///
    /// let fact = Fact::new("/proc/sys/fs/file-nr", Tied::Host, Host::FileTable { used: 1_000, max: 9_000 });
    /// assert_eq!(fact.seen.to_string(), "1000 of 9000");
    /// ```
    #[must_use]
    pub fn new(source: &str, tied: Tied, seen: impl Into<Observation>) -> Self {
        Self {
            source: Text::new(source),
            seen: seen.into(),
            tied,
            at: None,
        }
    }

    /// Says when it was seen.
    #[must_use]
    pub fn at(mut self, at: SystemTime) -> Self {
        self.at = Some(at);
        self
    }
}

/// Something that could not be looked at, so that silence is not taken for health.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct NotChecked {
    /// The finding that could not be looked for.
    pub id: Id,
    /// Why not.
    pub reason: Text,
    /// How to let it: `run as root to see who owns the socket`. May be empty.
    pub remedy: Text,
}

impl NotChecked {
    /// Says what could not be looked for, why not, and how to let it.
    #[must_use]
    pub fn new(id: Id, reason: &str, remedy: &str) -> Self {
        Self {
            id,
            reason: Text::new(reason),
            remedy: Text::new(remedy),
        }
    }
}

/// What the diagnosis is of: fills in the commands that a fix shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct Target {
    /// The URL that was asked for.
    pub url: Option<Text>,
    /// The port of the service.
    pub port: Option<u16>,
    /// The process behind it.
    pub pid: Option<u32>,
    /// The service manager's unit.
    pub unit: Option<Text>,
}

/// Everything that was seen. Bounded; what came after the bound is counted.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Evidence {
    /// What it is of.
    pub target: Target,
    facts: Vec<Fact>,
    not_checked: Vec<NotChecked>,
    dropped: u64,
}

impl Evidence {
    /// Begins with nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fact. Two facts that are alike count as one.
    pub fn push(&mut self, fact: Fact) {
        if self.facts.len() < FACTS_MAX {
            self.facts.push(fact);
        } else {
            self.dropped += 1;
        }
    }

    /// Adds what was seen: where, and about what.
    pub fn saw(&mut self, source: &str, tied: Tied, seen: impl Into<Observation>) {
        self.push(Fact::new(source, tied, seen));
    }

    /// Adds something that could not be looked at.
    pub fn could_not(&mut self, id: Id, reason: &str, remedy: &str) {
        if self.not_checked.len() < NOT_CHECKED_MAX {
            self.not_checked.push(NotChecked::new(id, reason, remedy));
        } else {
            self.dropped += 1;
        }
    }

    /// Takes over everything that was seen elsewhere; the target stays.
    pub fn extend(&mut self, other: Self) {
        for fact in other.facts {
            self.push(fact);
        }
        for not in other.not_checked {
            self.could_not(not.id, not.reason.as_str(), not.remedy.as_str());
        }
        self.dropped += other.dropped;
    }

    /// Returns the facts.
    #[must_use]
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// Returns what could not be looked at.
    #[must_use]
    pub fn not_checked(&self) -> &[NotChecked] {
        &self.not_checked
    }

    /// Returns how many facts came after the bound.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}
