//! What happens, and when: the queue of events, at a cost that does not grow with how many wait in it.
//!
//! What is due within a quarter of a second lies in buckets of 66 us, and only the present one is kept in order; what is left for the heap is rare.
//! When clients give up is kept apart, so that those who were answered before take it with them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::patience::Patiences;

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// The next of the open load.
    Arrival,
    /// A closed client sends, if it is active.
    Client(u32),
    /// A burst.
    Burst(u32),
    /// A client tries again.
    Retry { first_sent: u64, tries: u32 },
    /// What a request waited for is there.
    Delayed(u32, u32),
    /// A worker is done.
    Worked(u32, u32),
    /// The first of a shared server is done, if nothing changed since.
    Shared {
        instance: u32,
        server: u32,
        change: u32,
    },
    /// A client leaves.
    Leaves(u32, u32),
    /// Whoever waits before the gate asks what became of it.
    Asks(u32, u32),
    /// A refusal is back at its balancer.
    Refused {
        sent: Sent,
        first_sent: u64,
        tries: u32,
    },
    /// The heartbeat of the gates, due at this moment.
    Beat(u64),
    /// The limit's numbers go to the record.
    Note,
    /// Instances restart.
    Restart,
    /// An outage goes on.
    Outage(u32, Turn),
}

/// Which balancer sent a request where.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Sent {
    pub(super) balancer: u32,
    pub(super) instance: u32,
}

/// How an outage goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// The instances are gone.
    Gone,
    /// The balancers know.
    Known,
    /// The instances are there again, fresh.
    There,
    /// The balancers know that too.
    Back,
}

impl Event {
    /// Whether it is the process that does it, and so waits while the process does.
    pub(super) const fn needs_processor(self) -> bool {
        match self {
            Self::Arrival | Self::Note | Self::Restart | Self::Outage(..) => false,
            Self::Client(_)
            | Self::Burst(_)
            | Self::Retry { .. }
            | Self::Delayed(..)
            | Self::Worked(..)
            | Self::Shared { .. }
            | Self::Leaves(..)
            | Self::Asks(..)
            | Self::Refused { .. }
            | Self::Beat(_) => true,
        }
    }
}

/// An event and its place: by time, and of the same moment by the order in which they were made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scheduled {
    pub(super) at: u64,
    order: u64,
    pub(super) event: Event,
}

/// Everything that will happen.
pub(super) struct Events {
    order: u64,
    /// Those of the present bucket, and of earlier ones.
    present: BinaryHeap<Reverse<Scheduled>>,
    /// The bucket that is present.
    bucket: u64,
    /// The buckets after it, in a ring.
    near: Vec<Vec<Scheduled>>,
    /// Which of them hold anything.
    filled: [u64; BUCKETS / 64],
    /// How many they hold.
    near_len: usize,
    far: BinaryHeap<Reverse<Scheduled>>,
    patiences: Patiences,
}

impl Events {
    pub(super) fn new() -> Self {
        Self {
            order: 0,
            present: BinaryHeap::new(),
            bucket: 0,
            near: (0..BUCKETS).map(|_| Vec::new()).collect(),
            filled: [0; BUCKETS / 64],
            near_len: 0,
            far: BinaryHeap::new(),
            patiences: Patiences::new(),
        }
    }

    pub(super) fn push(&mut self, at: u64, event: Event) {
        self.order += 1;
        let order = self.order;
        self.insert(Scheduled { at, order, event });
    }

    /// Says when the client of the request in this slot leaves. If it is the patience of all, [`Events::answered`] takes it back.
    pub(super) fn leaves(&mut self, at: u64, id: u32, generation: u32, common: bool) {
        if common {
            self.order += 1;
            if self.patiences.join(id, at, self.order) {
                return;
            }
        }
        self.push(at, Event::Leaves(id, generation));
    }

    /// The client of the request in this slot has its answer.
    pub(super) fn answered(&mut self, id: u32) {
        self.patiences.leave(id);
    }

    /// Puts one off, which keeps its place among those of its new moment.
    pub(super) fn postpone(&mut self, due: Scheduled, until: u64) {
        self.insert(Scheduled { at: until, ..due });
    }

    fn insert(&mut self, scheduled: Scheduled) {
        let bucket = scheduled.at >> BUCKET_BITS;
        if bucket <= self.bucket {
            self.present.push(Reverse(scheduled));
        } else if bucket - self.bucket < BUCKETS as u64 {
            let place = bucket as usize % BUCKETS;
            self.near[place].push(scheduled);
            self.filled[place / 64] |= 1 << (place % 64);
            self.near_len += 1;
        } else {
            self.far.push(Reverse(scheduled));
        }
    }

    /// Takes the next one. The slots say which request it is whose client leaves now.
    pub(super) fn pop(&mut self, generations: &[u32]) -> Option<Scheduled> {
        if self.present.is_empty() && self.near_len > 0 {
            self.advance();
        }
        let of = |heap: &BinaryHeap<Reverse<Scheduled>>| heap.peek().map(|Reverse(it)| *it);
        let (present, far) = (of(&self.present), of(&self.far));
        let patience = self.patiences.first().map(|(at, order, id)| {
            let generation = generations.get(id as usize).copied().unwrap_or_default();
            let event = Event::Leaves(id, generation);
            Scheduled { at, order, event }
        });
        let next = [present, far, patience].into_iter().flatten().min()?;
        if present.is_none() {
            // Nothing is near, so the ring may begin anywhere.
            self.bucket = self.bucket.max(next.at >> BUCKET_BITS);
        }
        if present == Some(next) {
            self.present.pop();
        } else if far == Some(next) {
            self.far.pop();
        } else if let Event::Leaves(id, _) = next.event {
            self.patiences.leave(id);
        }
        Some(next)
    }

    /// Makes the next bucket that holds anything the present one.
    fn advance(&mut self) {
        let from = (self.bucket as usize + 1) % BUCKETS;
        let ahead = self.ahead(from);
        let place = (from + ahead) % BUCKETS;
        self.bucket += 1 + ahead as u64;
        self.filled[place / 64] &= !(1 << (place % 64));
        self.near_len -= self.near[place].len();
        self.present.extend(self.near[place].drain(..).map(Reverse));
    }

    /// How many places after `from` the next filled one is.
    fn ahead(&self, from: usize) -> usize {
        let words = self.filled.len();
        let first = self.filled[from / 64] >> (from % 64);
        if first != 0 {
            return first.trailing_zeros() as usize;
        }
        for step in 1..=words {
            let word = self.filled[(from / 64 + step) % words];
            if word != 0 {
                return step * 64 - from % 64 + word.trailing_zeros() as usize;
            }
        }
        0
    }
}

/// A bucket lasts 2^16 ns: with 400,000 requests each second it holds some tens of events.
const BUCKET_BITS: u32 = 16;
/// They reach as far as most work does: 0.27 s.
const BUCKETS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Goal: the order of a plain heap, whatever is pushed and put off while others are taken.
    #[test]
    fn events_come_in_the_order_of_time_and_of_making() {
        let mut rng = Rng::new(3);
        let (mut events, mut plain) = (Events::new(), BinaryHeap::new());
        let mut now = 0;
        for turn in 0..200_000u32 {
            if plain.is_empty() || rng.unit() < 0.55 {
                let after = match turn % 4 {
                    0 => rng.below(50_000),
                    1 => rng.below(100_000_000),
                    2 => rng.below(2) * 1_000_000_000,
                    _ => 500_000_000,
                };
                match turn % 4 {
                    3 => events.leaves(now + after as u64, turn, 0, true),
                    _ => events.push(now + after as u64, Event::Client(turn)),
                }
                plain.push(Reverse((now + after as u64, turn)));
                continue;
            }
            let next = events.pop(&[]).expect("as many as in the plain one");
            let Some(Reverse((at, made))) = plain.pop() else {
                panic!("it was not empty")
            };
            let (Event::Client(number) | Event::Leaves(number, _)) = next.event else {
                panic!("nothing else was pushed")
            };
            assert_eq!((next.at, number), (at, made));
            now = at;
        }
    }
}
