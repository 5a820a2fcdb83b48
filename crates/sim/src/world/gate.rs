//! The caller's side of the seam, as the real admit path keeps it: a count, the published word, and calls only when the directive asks.
//!
//! Where requests have classes, or a peer asks for it, the real gate keeps the count, with the real queue before it if there is one.

#![expect(missing_debug_implementations, reason = "worlds hold closures")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::peers::Peer;
use steadfast_core::limit::{
    Admitted, Change, Directive, Ended, Ending, Limit, Sampling, Tag, Window,
};
use steadfast_core::{
    Ask, Decision, Local, Name, Outcome, Priority, ShedGate, ShedPermit, ShedSettings, ShedTicket,
    plumbing::{BEAT, BackendChange, LagMode, Tenant},
};

/// Admits requests of one instance.
pub enum Gate {
    /// Counts.
    Plain(Plain),
    /// Is the real one.
    Real(Local<ShedGate>),
}

/// Whose a request is.
#[derive(Clone, Copy, Debug)]
pub struct Whose {
    /// The number of its tenant; with 0 nobody says.
    pub tenant: u32,
    /// Whether it is the one in sixteen that is asked before the limit was met.
    pub drawn: bool,
}

impl Whose {
    fn weighed(self, all: bool) -> Option<Tenant<'static>> {
        let hash = u64::from(self.tenant).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let tenant = Tenant::new(hash, "");
        match (self.tenant, all) {
            (0, _) => None,
            (_, true) => Some(tenant),
            (_, false) => self.drawn.then_some(tenant.sampled()),
        }
    }
}

/// What an admitted request carries.
pub enum Permit {
    /// From a plain count.
    Plain(Carried),
    /// From the real gate.
    Real(Box<ShedPermit>),
}

/// What a gate says to a request, and what became of one that waits.
pub enum Answer<W> {
    /// It may run.
    Run(Permit),
    /// It waits.
    Wait(W),
    /// It may not run.
    Refuse,
}

/// A place in the queue before a gate.
pub struct Ticket(Box<ShedTicket>);

/// Who waits and has been told to ask again, in order.
#[derive(Clone, Default)]
pub struct Wakings(Arc<Mutex<VecDeque<Asker>>>);

/// A slot and its generation.
type Asker = (u32, u32);

struct Waking {
    asker: Asker,
    wakings: Wakings,
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.wakings.lock(|asking| asking.push_back(self.asker));
    }
}

impl Wakings {
    fn lock<T>(&self, what: impl FnOnce(&mut VecDeque<Asker>) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the next one.
    pub fn next(&self) -> Option<Asker> {
        self.lock(VecDeque::pop_front)
    }
}

impl Ticket {
    /// When it has to be asked again at the latest.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.0.until()
    }

    /// Asks what became of it; once that is decided, `asker` is woken.
    pub fn ask(&mut self, wakings: &Wakings, asker: Asker, now: Instant) -> Answer<()> {
        let wakings = wakings.clone();
        let waker = Waker::from(Arc::new(Waking { asker, wakings }));
        match self.0.poll("", &waker, now) {
            Poll::Pending => Answer::Wait(()),
            Poll::Ready(Ok(permit)) => Answer::Run(Permit::Real(Box::new(permit))),
            Poll::Ready(Err(_)) => Answer::Refuse,
        }
    }
}

/// What the first routes are called. The others are one route.
const PATHS: [&str; 4] = ["/one", "/two", "/three", "/four"];

/// What servers are called, as backends.
const SERVERS: [&str; 4] = ["one", "two", "three", "four"];

fn path(route: usize) -> &'static str {
    PATHS.get(route).copied().unwrap_or("/other")
}

/// Between two heartbeats, in seconds.
pub const BEAT_SECS: f64 = BEAT.as_millis() as f64 * 1e-3;

/// When the real gate takes a heartbeat for late.
const LATE: Duration = Duration::from_millis(20);

impl Gate {
    /// Puts an algorithm in charge.
    #[must_use]
    pub fn new(limit: Box<dyn Limit>) -> Self {
        Self::Plain(Plain::new(limit))
    }

    /// The same with the real gate, and with a queue before it.
    ///
    /// # Panics
    /// Where the settings of the queue are out of their bounds.
    #[must_use]
    pub fn real(peer: Peer, tenants: bool, by_backend: bool, now: Instant) -> Self {
        let (queue, again) = (peer.queue, peer.again);
        let first = Mutex::new(Some(peer.limit));
        let settings = ShedSettings::algorithm("sim", move |seed| {
            let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
            first.take().unwrap_or_else(|| again(seed))
        });
        let settings = settings.lag(LagMode::Off).queue(queue).tenants(tenants);
        let settings = settings.by_backend(by_backend);
        let gate = ShedGate::new(&settings, 0, now);
        Self::Real(Local::new(gate.expect("the settings are valid")))
    }

    /// Decides on a request.
    pub fn admit(
        &mut self,
        route: usize,
        priority: Priority,
        whose: Whose,
        now: Instant,
    ) -> Answer<Ticket> {
        match self {
            Self::Plain(plain) => plain.admit(now).map_or(Answer::Refuse, |carried| {
                Answer::Run(Permit::Plain(carried))
            }),
            Self::Real(gate) => {
                let tenant = whose.weighed(gate.weighs_tenants(now));
                let ask = Ask::new(path(route)).priority(priority).tenant(tenant);
                match ShedGate::admit(gate, ask, now) {
                    Decision::Admit(permit) => Answer::Run(Permit::Real(Box::new(permit))),
                    Decision::Wait(ticket) => Answer::Wait(Ticket(Box::new(ticket))),
                    _ => Answer::Refuse,
                }
            }
        }
    }

    /// Whether it is the real one.
    #[must_use]
    pub const fn is_real(&self) -> bool {
        matches!(self, Self::Real(_))
    }

    /// Takes a permit back.
    pub fn settle(&mut self, now: Instant, permit: Permit, ending: Ending) {
        match (self, permit) {
            (Self::Plain(plain), Permit::Plain(carried)) => plain.settle(now, carried, ending),
            (_, Permit::Real(permit)) => permit.settle(
                match ending {
                    Ending::Abandoned => Outcome::Abandoned,
                    _ => Outcome::Done,
                },
                now,
            ),
            _ => {}
        }
    }

    /// Hears that a request of a route spent its time with this server.
    pub fn spent(&self, route: usize, server: Option<usize>, drawn: bool, now: Instant) {
        if let Self::Real(gate) = self {
            if !gate.asks_what_is_spent(drawn) {
                return;
            }
            let server = server.map(|server| Name::from_static(SERVERS[server % SERVERS.len()]));
            gate.spent(path(route), server.as_ref(), now);
        }
    }

    /// Takes a heartbeat.
    pub fn beat(&mut self, lag: Duration, now: Instant) {
        match self {
            Self::Plain(plain) if lag > LATE => plain.limit.late(now, lag),
            Self::Plain(_) => {}
            Self::Real(gate) => gate.beat(lag, now),
        }
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        match self {
            Self::Plain(plain) => plain.in_flight,
            Self::Real(gate) => gate.in_flight(),
        }
    }

    /// Calls into the algorithm, as far as they are counted.
    #[must_use]
    pub fn calls(&self) -> u64 {
        match self {
            Self::Plain(plain) => plain.calls,
            Self::Real(_) => 0,
        }
    }

    /// Takes the changes of the limit.
    pub fn take_changes(&mut self) -> Vec<Change> {
        match self {
            Self::Plain(plain) => std::mem::take(&mut plain.changes),
            Self::Real(gate) => gate.take_changes(),
        }
    }

    /// Takes what became of the limits for one backend.
    pub fn take_backend_changes(&mut self) -> Vec<BackendChange> {
        match self {
            Self::Plain(_) => Vec::new(),
            Self::Real(gate) => gate.take_backend_changes(),
        }
    }

    /// The cap in force.
    #[must_use]
    pub fn cap(&self, now: Instant) -> Option<u32> {
        match self {
            Self::Plain(plain) => plain.cap(),
            Self::Real(gate) => gate.snapshot(now).limit,
        }
    }
}

/// A plain count.
pub struct Plain {
    limit: Box<dyn Limit>,
    /// Requests in flight.
    in_flight: u32,
    /// Every change of the limit.
    changes: Vec<Change>,
    /// Calls into the algorithm.
    calls: u64,
    word: u64,
    sample: u32,
    admitted: u32,
    refused: u32,
}

/// What a request carries from a plain count.
#[derive(Clone, Copy)]
pub struct Carried {
    tag: Tag,
    in_flight: u32,
    admitted_at: Instant,
}

impl Plain {
    fn new(limit: Box<dyn Limit>) -> Self {
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

    fn admit(&mut self, now: Instant) -> Option<Carried> {
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
            permit = Some(Carried {
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

    fn settle(&mut self, now: Instant, permit: Carried, ending: Ending) {
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

    fn cap(&self) -> Option<u32> {
        Directive::from_word(self.word).cap
    }

    fn heard(&mut self, change: Option<Change>) {
        self.changes.extend(change);
        self.word = self.limit.directive().to_word();
    }
}
