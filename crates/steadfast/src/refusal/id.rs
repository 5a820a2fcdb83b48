//! The ids of refusals, which say enough of themselves to be explained later.
//!
//! Each is a UUIDv7 (RFC 9562, 5.7). In a storm not every refusal is kept one by one, and a
//! client may quote the id of one that was not. So twelve of the bits that the RFC leaves free
//! name the cause, the rule, whether a handler was entered, and a little of the source;
//! with the moment, which every UUIDv7 has, they lead to the incident. Fourteen more are the
//! process's own, so that another instance's id is not taken for one of ours. The other 48 are
//! random. Nothing in it is hidden from the client: the answer says the same.

use std::time::{Duration, Instant};

use steadfast_core::{
    Cause, Name, Refusal, Rule,
    plumbing::{Incident, RefusalId},
};

use crate::clock;

/// Bits of the rest of an id that are the process's own.
const PROCESS_BITS: u32 = 14;

/// Random bits.
const RANDOM_BITS: u32 = 48;

/// How far the clock of an id, which counts milliseconds, and that of an incident may differ.
const MILLISECOND: Duration = Duration::from_millis(1);

/// Makes ids, and reads them.
#[derive(Debug)]
pub(super) struct Ids {
    process: u16,
}

/// What an id says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdFacts {
    at: Instant,
    cause: Cause,
    rule: Option<Rule>,
    entered: bool,
    source: u16,
}

impl Ids {
    pub(super) fn new() -> Self {
        Self {
            process: fastrand::u16(..1 << PROCESS_BITS),
        }
    }

    /// Returns a new id. Not taken from a shared counter: ids of one millisecond need no order
    /// among them, and a counter would be a line that all threads write.
    pub(super) fn make(&self, refusal: &Refusal, at: Instant) -> RefusalId {
        let millis = clock::wall_millis(at) & 0xffff_ffff_ffff;
        let rule = refusal.rule().map_or(0, |rule| rule.index() + 1);
        let entered = u16::from(!refusal.safe_to_retry());
        let source = source_bits(refusal.refused_by());
        let kind =
            (refusal.cause().index() as u16) << 8 | (rule as u16) << 4 | entered << 3 | source;
        let random = fastrand::u64(..) >> (64 - RANDOM_BITS);
        let high = millis << 16 | 0x7 << 12 | u64::from(kind);
        let low = 0b10 << 62 | u64::from(self.process) << RANDOM_BITS | random;
        RefusalId(u128::from(high) << 64 | u128::from(low))
    }

    /// Returns what an id says, `None` if it was not made here.
    pub(super) fn read(&self, id: RefusalId) -> Option<IdFacts> {
        let (high, low) = ((id.0 >> 64) as u64, id.0 as u64);
        let process = 0b10 << PROCESS_BITS | u64::from(self.process);
        if (high >> 12) & 0xf != 0x7 || low >> RANDOM_BITS != process {
            return None;
        }
        let kind = (high & 0xfff) as u16;
        let rule = match usize::from(kind >> 4 & 0xf) {
            0 => None,
            number => Some(*Rule::ALL.get(number - 1)?),
        };
        Some(IdFacts {
            at: clock::moment(Duration::from_millis(high >> 16))?,
            cause: *Cause::ALL.get(usize::from(kind >> 8))?,
            rule,
            entered: kind & 0b1000 != 0,
            source: kind & 0b111,
        })
    }
}

impl IdFacts {
    /// Whether a refusal of this id belongs to that incident.
    pub(super) fn is_of(&self, incident: &Incident) -> bool {
        self.cause == incident.cause
            && self.source == source_bits(&incident.source)
            && self.at + MILLISECOND >= incident.first
            && self.at <= incident.last + MILLISECOND
    }

    pub(crate) const fn at(&self) -> Instant {
        self.at
    }

    pub(crate) const fn cause(&self) -> Cause {
        self.cause
    }

    pub(crate) const fn rule(&self) -> Option<Rule> {
        self.rule
    }

    /// Whether a handler had been entered.
    pub(crate) const fn entered(&self) -> bool {
        self.entered
    }
}

/// Three bits of a source's name, to tell the few of one cause apart.
fn source_bits(source: &Name) -> u16 {
    let fold = |sum: u16, byte: &u8| sum.wrapping_mul(31).wrapping_add(u16::from(*byte));
    let sum = source.as_str().as_bytes().iter().fold(0, fold);
    (sum ^ sum >> 3 ^ sum >> 6) & 0b111
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_core::{Evidence, Overloaded};

    fn refusal(rule: Option<Rule>, entered: bool) -> Refusal {
        let evidence = match rule {
            Some(rule) => Evidence::Overloaded(Overloaded {
                rule,
                in_flight: 1,
                limit: 1,
                stuck: None,
                queue: None,
                pressure: None,
                backend: None,
            }),
            None => Evidence::Application,
        };
        let source = Name::from_static("shed");
        let refusal = Refusal::new(source, evidence, Duration::ZERO, clock::now());
        if entered { refusal.entered() } else { refusal }
    }

    #[test]
    fn an_id_is_a_uuid_of_version_7_that_sorts_by_time() {
        let (ids, of) = (Ids::new(), refusal(None, false));
        let now = clock::now();
        let (first, later) = (ids.make(&of, now), ids.make(&of, now + 2 * MILLISECOND));
        assert!(first.to_string() < later.to_string());
        let text = first.to_string();
        assert_eq!((text.len(), &text[14..15]), (36, "7"));
        assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"), "{text}");
    }

    #[test]
    fn an_id_says_what_it_was_made_of_and_only_to_those_who_made_it() {
        let (ids, others) = (Ids { process: 0x1234 }, Ids { process: 0x1235 });
        let rules = Rule::ALL.map(Some).into_iter().chain([None]);
        for (rule, entered) in rules.flat_map(|rule| [(rule, true), (rule, false)]) {
            let of = refusal(rule, entered);
            let id = ids.make(&of, of.at());
            let facts = ids.read(id).expect("it is ours");
            assert_eq!((facts.cause, facts.rule), (of.cause(), rule));
            assert_eq!(facts.entered, entered);
            assert!(of.at().saturating_duration_since(facts.at()) <= MILLISECOND);
            assert_eq!(others.read(id), None);
        }
        assert_eq!(ids.read(RefusalId(u128::MAX)), None);
    }
}
