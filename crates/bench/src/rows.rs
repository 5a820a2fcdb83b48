//! What is measured.

mod bare;
mod breakers;
mod ledger;
mod limiters;
mod routers;

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    name: &'static str,
    peer: &'static str,
    base: Option<&'static str>,
    make: fn() -> Box<dyn Bench>,
}

/// A service under measurement.
pub(crate) trait Bench: Send + Sync {
    fn run(&self, calls: u32);
    /// Another handle to the same state.
    fn again(&self) -> Box<dyn Bench>;
}

impl Row {
    const fn new(name: &'static str, peer: &'static str, make: fn() -> Box<dyn Bench>) -> Self {
        Self {
            name,
            peer,
            base: None,
            make,
        }
    }

    /// Names the row of what is guarded, whose cost is not this one's own.
    const fn over(mut self, base: &'static str) -> Self {
        self.base = Some(base);
        self
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        all().into_iter().find(|row| row.name == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        self.name
    }

    pub(crate) const fn peer(self) -> &'static str {
        self.peer
    }

    pub(crate) const fn base(self) -> Option<&'static str> {
        self.base
    }

    pub(crate) fn make(self) -> Box<dyn Bench> {
        (self.make)()
    }
}

/// Returns every row; a base stands before what it is the base of.
pub(crate) fn all() -> Vec<Row> {
    [
        routers::ROWS,
        ledger::ROWS,
        bare::ROWS,
        breakers::ROWS,
        limiters::ROWS,
    ]
    .concat()
}
