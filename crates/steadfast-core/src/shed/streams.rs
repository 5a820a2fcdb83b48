//! Streams: answers that last as long as their clients like, counted apart from requests.
//!
//! Server-sent events, upgraded connections and streaming calls are begun in a moment and
//! then cost memory instead of work. Counted with the requests they would take every place
//! while the service is idle, and what the algorithm of the limit learns from how many are
//! in flight would be wrong. So their permit moves to a pool of its own as soon as the head
//! of the answer is there. The pool has a bound, because memory has one.

use std::time::{Duration, Instant};

use super::{ShedGate, ShedMode, ShedPermit};
use crate::{
    name::Name,
    refusal::{Refusal, cause::Rule, evidence::Pressure},
    shed::inflight::{
        running::PlaceId,
        tokens::{Token, Tokens},
    },
    sync::{
        local::Local,
        stripe::{self, Counter},
    },
};

/// Streams at once, unless configured: at some tens of kilobytes each as much memory as a
/// service has to spare, and far above what one that nobody sized is asked for.
pub const STREAMS_MAX_DEFAULT: u32 = 10_000;

const STREAMS: Name = Name::from_static("streams");

/// The retry hint: when a stream ends is up to its client.
const HINT: Duration = Duration::from_secs(5);

/// What the pool of streams says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamsSnapshot {
    /// Streams that are open.
    pub open: u32,
    /// How many may be.
    pub max: u32,
    /// Streams that were opened since the start.
    pub opened: u64,
    /// Streams that were refused.
    pub refused: u64,
}

#[derive(Debug)]
pub(super) struct StreamPool {
    tokens: Tokens,
    opened: Counter,
    refused: Counter,
}

impl StreamPool {
    pub(super) fn new(max: u32) -> Self {
        Self {
            tokens: Tokens::new(max),
            opened: Counter::new(),
            refused: Counter::new(),
        }
    }

    pub(super) fn give_back(&self, stripe: usize, token: Token) {
        self.tokens.give_back(stripe, token);
    }

    /// Whether there seems to be room for one more. Takes nothing: whoever only looks must
    /// not be in the way of who needs the last place.
    fn has_room(&self) -> bool {
        self.tokens.in_flight() < self.tokens.limit()
    }

    fn snapshot(&self) -> StreamsSnapshot {
        StreamsSnapshot {
            open: self.tokens.in_flight(),
            max: self.tokens.limit(),
            opened: self.opened.sum(),
            refused: self.refused.sum(),
        }
    }
}

impl ShedGate {
    /// Sets how many streams may be open; running ones are never cut.
    pub fn set_streams_max(&self, max: u32) {
        self.streams.tokens.set_limit(max);
    }

    /// Returns how many streams are open, and may be.
    #[must_use]
    pub fn streams(&self) -> StreamsSnapshot {
        self.streams.snapshot()
    }

    /// Opens a stream that no response body stands for: an upgraded connection, whose
    /// handler holds the permit for as long as it uses the connection.
    ///
    /// # Errors
    /// As many are open as may be.
    pub fn stream<T>(owner: &Local<T>, now: Instant) -> Result<StreamPermit<T>, Refusal>
    where
        T: AsRef<Self> + Send + Sync + 'static,
    {
        let this: &Self = (**owner).as_ref();
        let token = this.take_stream(stripe::current(), now)?;
        Ok(StreamPermit {
            owner: owner.clone(),
            token,
        })
    }

    /// Refuses a request whose answer would be a stream while there is no room for one:
    /// before its handler is entered, so that it can be repeated elsewhere.
    #[cold]
    pub(super) fn foresee_stream(&self, stripe: usize, now: Instant) -> Result<(), Refusal> {
        if self.streams.has_room() {
            return Ok(());
        }
        let token = self.take_stream(stripe, now)?;
        self.streams.give_back(stripe, token);
        Ok(())
    }

    fn take_stream(&self, stripe: usize, now: Instant) -> Result<Token, Refusal> {
        if let Some(token) = self.streams.tokens.take(stripe) {
            return Ok(token);
        }
        if self.mode() == ShedMode::Observe {
            self.lanes.common().would_refuse.add_at(stripe, 1);
            return Ok(self.streams.tokens.take_beyond(stripe));
        }
        self.streams.refused.add_at(stripe, 1);
        let pressure = Pressure::Streams {
            open: self.streams.tokens.in_flight(),
            max: self.streams.tokens.limit(),
        };
        Err(self.refuse_for(STREAMS, Rule::Limit, pressure, HINT, now))
    }
}

impl<T: AsRef<ShedGate> + Send + Sync + 'static> ShedPermit<T> {
    /// Counts the request with the streams from now on, and gives its place among the
    /// requests back. Done once; later calls do nothing. Say first that it was
    /// [answered](ShedPermit::answered).
    ///
    /// # Errors
    /// As many streams are open as may be. The permit stays what it was.
    pub fn become_stream(&mut self, now: Instant) -> Result<(), Refusal> {
        if self.stream {
            return Ok(());
        }
        let gate: &ShedGate = (*self.owner).as_ref();
        let stripe = stripe::current();
        let token = gate
            .take_stream(stripe, now)
            .map_err(|refusal| refusal.entered())?;
        gate.streams.opened.add_at(stripe, 1);
        gate.running
            .leave(std::mem::replace(&mut self.place, PlaceId::NONE));
        gate.lanes.at(self.lane).note_held(stripe, self.since, now);
        self.tenant_ended(stripe, true, now);
        let gate: &ShedGate = (*self.owner).as_ref();
        let lane = gate.lanes.at(self.lane);
        lane.give_back(stripe, std::mem::replace(&mut self.token, token), Some(now));
        self.stream = true;
        Ok(())
    }
}

/// The right to keep an upgraded connection. Dropped, it gives its place back.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once lets everything stay open"]
pub struct StreamPermit<T: AsRef<ShedGate> + Send + Sync + 'static = ShedGate> {
    owner: Local<T>,
    token: Token,
}

impl<T: AsRef<ShedGate> + Send + Sync + 'static> Drop for StreamPermit<T> {
    fn drop(&mut self) {
        let gate: &ShedGate = (*self.owner).as_ref();
        gate.streams.give_back(stripe::current(), self.token);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{
        shed::{Ask, Decision, Outcome, ShedSettings},
        testing::origin,
    };

    fn admitted(gate: &Local<ShedGate>, now: Instant) -> ShedPermit {
        match ShedGate::admit(gate, Ask::new("/events"), now) {
            Decision::Admit(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_stream_gives_its_place_among_the_requests_back() {
        let now = origin();
        let settings = ShedSettings::fixed(1).streams_max(2);
        let gate = Local::new(ShedGate::new(&settings, 7, now).expect("valid"));
        let mut streams = Vec::new();
        for open in 1..=2 {
            let mut permit = admitted(&gate, now);
            permit.become_stream(now).expect("room");
            permit.become_stream(now).expect("it is one");
            streams.push(permit);
            assert_eq!((gate.in_flight(), gate.streams().open), (0, open));
        }
        let mut third = admitted(&gate, now);
        let refusal = third.become_stream(now).expect_err("full");
        assert_eq!(refusal.refused_by().as_str(), "streams");
        assert_eq!(refusal.rule(), Some(Rule::Limit));
        assert!(!refusal.safe_to_retry(), "its handler was entered");
        assert_eq!(gate.in_flight(), 1, "it keeps its place");
        drop(third);
        let ask = Ask::new("/events").stream(true);
        let Decision::Refuse(foreseen) = ShedGate::admit(&gate, ask, now) else {
            panic!("there is no room");
        };
        assert!(foreseen.safe_to_retry());
        let told = ShedGate::stream(&gate, now).expect_err("upgrades share the pool");
        assert_eq!(told.rule(), Some(Rule::Limit));
        streams.pop().expect("two").settle(Outcome::Done, now);
        drop(ShedGate::stream(&gate, now).expect("room again"));
        drop(streams);
        assert_eq!((gate.in_flight(), gate.streams().open), (0, 0));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::{sync::Arc, thread};

    #[test]
    fn loom_who_only_looks_leaves_the_last_place_to_who_needs_it() {
        loom::model(|| {
            let streams = Arc::new(StreamPool::new(1));
            let other = Arc::clone(&streams);
            let looks = thread::spawn(move || other.has_room());
            assert!(streams.tokens.take(0).is_some(), "nobody had it");
            looks.join().expect("joined");
            assert_eq!(streams.snapshot().open, 1);
        });
    }

    #[test]
    fn loom_who_becomes_a_stream_is_in_one_pool_however_the_bound_falls() {
        // Goal: two requests become streams while the bound falls from two to one; both were
        // there before, or one stays a request. None is lost and none counted twice.
        loom::model(|| {
            let requests = Arc::new(Tokens::new(2));
            let streams = Arc::new(StreamPool::new(2));
            let becomes = |requests: &Tokens, streams: &StreamPool, stripe: usize| {
                let request = requests.take(stripe).expect("room for both");
                let stream = streams.tokens.take(stripe);
                if stream.is_some() {
                    requests.give_back(stripe, request);
                }
                stream
            };
            let (theirs, pool) = (Arc::clone(&requests), Arc::clone(&streams));
            let other = thread::spawn(move || becomes(&theirs, &pool, 1));
            let here = becomes(&requests, &streams, 0);
            streams.tokens.set_limit(1);
            let there = other.join().expect("joined");
            let open = u32::from(here.is_some()) + u32::from(there.is_some());
            assert!(here.is_some(), "it asked first, or beside one other");
            assert_eq!(streams.snapshot().open, open);
            assert_eq!(requests.in_flight(), 2 - open);
            for (stripe, stream) in [(0, here), (1, there)] {
                if let Some(stream) = stream {
                    streams.give_back(stripe, stream);
                }
            }
            assert_eq!(streams.snapshot().open, 0);
            assert!(streams.tokens.take(0).is_some() && streams.tokens.take(1).is_none());
        });
    }
}
