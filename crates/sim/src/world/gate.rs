//! The caller's side of the seam, as the real admit path keeps it: a count, the published word, and calls only when the directive asks.

#![expect(missing_debug_implementations, reason = "worlds hold closures")]

use std::time::Instant;

use steadfast_core::limit::{
    Admitted, Change, Directive, Ended, Ending, Limit, Sampling, Tag, Window,
};

/// Admits requests of one instance.
pub struct Gate {
    /// The algorithm.
    pub limit: Box<dyn Limit>,
    /// Requests in flight.
    pub in_flight: u32,
    /// Every change of the limit.
    pub changes: Vec<Change>,
    /// Calls into the algorithm.
    pub calls: u64,
    word: u64,
    sample: u32,
    admitted: u32,
    refused: u32,
}

/// What an admitted request carries.
#[derive(Clone, Copy)]
pub struct Permit {
    tag: Tag,
    in_flight: u32,
    admitted_at: Instant,
}

impl Gate {
    /// Puts an algorithm in charge.
    #[must_use]
    pub fn new(limit: Box<dyn Limit>) -> Self {
        let word = limit.directive().to_word();
        Self {
            limit,
            in_flight: 0,
            changes: Vec::new(),
            calls: 0,
            word,
            sample: 0,
            admitted: 0,
            refused: 0,
        }
    }

    /// Decides on a request.
    pub fn admit(&mut self, now: Instant) -> Option<Permit> {
        let directive = Directive::from_word(self.word);
        let admitted = directive.admits(self.in_flight);
        let mut permit = None;
        if admitted {
            self.in_flight += 1;
            self.admitted += 1;
            let mut tag = Tag::NONE;
            if let Sampling::OneIn(n) = directive.sampling {
                self.sample += 1;
                if self.sample >= u32::from(n) {
                    self.sample = 0;
                    self.calls += 1;
                    tag = self.limit.admitted(Admitted::new(now, self.in_flight));
                    self.word = self.limit.directive().to_word();
                }
            }
            permit = Some(Permit {
                tag,
                in_flight: self.in_flight,
                admitted_at: now,
            });
        } else {
            self.refused += 1;
        }
        let arrivals = self.admitted + self.refused;
        if directive.window > 0 && arrivals >= u32::from(directive.window) {
            let window = Window::new(now, self.admitted, self.refused, self.in_flight);
            (self.admitted, self.refused) = (0, 0);
            self.calls += 1;
            let change = self.limit.window(window);
            self.heard(change);
        }
        permit
    }

    /// Takes a permit back.
    pub fn settle(&mut self, now: Instant, permit: Permit, ending: Ending) {
        self.in_flight -= 1;
        if !permit.tag.is_none() {
            self.calls += 1;
            let change = self.limit.ended(Ended::new(
                now,
                permit.admitted_at,
                permit.in_flight,
                permit.tag,
                ending,
            ));
            self.heard(change);
        }
    }

    /// The cap in force.
    #[must_use]
    pub fn cap(&self) -> Option<u32> {
        Directive::from_word(self.word).cap
    }

    fn heard(&mut self, change: Option<Change>) {
        self.changes.extend(change);
        self.word = self.limit.directive().to_word();
    }
}
