//! A scenario: a world, and what is claimed of it.

#![expect(missing_debug_implementations, reason = "worlds hold closures")]

use crate::peers::{self, Peer};
use crate::world::{self, record::Record, setup::Setup};

/// A world and the figures that judge it.
pub struct Scenario {
    /// What it is called on the command line.
    pub name: String,
    /// The world.
    pub setup: Setup,
    /// The limit that the adaptive one starts from instead of none.
    pub start: Option<u32>,
    /// The figures, from what happened.
    pub figures: Judge,
}

/// Draws figures from what happened.
pub type Judge = Box<dyn Fn(&Record) -> Vec<Figure>>;

/// A number and the bar it must meet.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What it measures.
    pub name: &'static str,
    /// What was measured.
    pub value: f64,
    /// The bar.
    pub bar: Bar,
}

/// Which side of a number is good.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// At least this.
    Least(f64),
    /// At most this.
    Most(f64),
    /// Only printed.
    None,
}

impl Bar {
    /// Whether there is none.
    #[must_use]
    pub const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }
}

impl Figure {
    /// A figure that must be at least `bar`.
    #[must_use]
    pub fn least(name: &'static str, value: f64, bar: f64) -> Self {
        let bar = Bar::Least(bar);
        Self { name, value, bar }
    }

    /// A figure that must be at most `bar`.
    #[must_use]
    pub fn most(name: &'static str, value: f64, bar: f64) -> Self {
        let bar = Bar::Most(bar);
        Self { name, value, bar }
    }

    /// A figure without a bar.
    #[must_use]
    pub fn info(name: &'static str, value: f64) -> Self {
        let bar = Bar::None;
        Self { name, value, bar }
    }

    /// Whether the bar is met.
    #[must_use]
    pub fn holds(&self) -> bool {
        match self.bar {
            Bar::Least(bar) => self.value >= bar,
            Bar::Most(bar) => self.value <= bar,
            Bar::None => true,
        }
    }
}

impl Scenario {
    /// Names a world and what is claimed of it.
    pub fn new(
        name: impl Into<String>,
        setup: Setup,
        figures: impl Fn(&Record) -> Vec<Figure> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            setup,
            start: None,
            figures: Box::new(figures),
        }
    }

    /// The same from a limit that somebody held before.
    #[must_use]
    pub const fn start(mut self, limit: u32) -> Self {
        self.start = Some(limit);
        self
    }

    /// Runs it with a peer of this name, if there is one.
    #[must_use]
    pub fn run(&self, peer: &str, seed: u64) -> Option<Record> {
        self.make(peer, seed)?;
        let make = |seed| self.make(peer, seed).expect("it was made before");
        Some(world::run(&self.setup, &make, seed))
    }

    /// Makes what `peer` is called in this scenario: the adaptive limit where it starts.
    fn make(&self, peer: &str, seed: u64) -> Option<Peer> {
        match (self.start, peer.strip_prefix("adaptive")) {
            (Some(limit), Some(before)) => peers::make(&format!("start-{limit}{before}"), seed),
            _ => peers::make(peer, seed),
        }
    }
}
