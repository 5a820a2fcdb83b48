//! A world in virtual time: clients, a balancer, instances, their servers and a queue of events.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use steadfast_core::limit::{Ending, Limit};

use crate::rng::Rng;
use gate::{Gate, Permit};
use record::Record;
use setup::{Balance, Load, Setup};

pub mod gate;
mod processor;
pub mod record;
mod serving;
pub mod setup;

/// Makes the limit of an instance from a seed.
pub type MakeLimit<'a> = &'a dyn Fn(u64) -> Box<dyn Limit>;

/// Runs a world to its end.
#[must_use]
pub fn run(setup: &Setup, make: MakeLimit<'_>, seed: u64) -> Record {
    let mut world = World::new(setup, make, seed);
    world.start();
    while let Some(Reverse(next)) = world.events.pop() {
        if next.at > nanos(setup.secs) {
            break;
        }
        world.now = next.at;
        match world.sleeps_until() {
            Some(wakes) if next.event.needs_processor() => world.postpone(next, wakes),
            _ => world.happen(next.event),
        }
    }
    world.finish()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
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
    /// The heartbeat of the gates, due at this moment.
    Beat(u64),
    /// The limit's numbers go to the record.
    Note,
    /// Instances restart.
    Restart,
}

impl Event {
    /// Whether it is the process that does it, and so waits while the process does.
    const fn needs_processor(self) -> bool {
        match self {
            Self::Arrival | Self::Note | Self::Restart => false,
            Self::Client(_)
            | Self::Burst(_)
            | Self::Retry { .. }
            | Self::Delayed(..)
            | Self::Worked(..)
            | Self::Shared { .. }
            | Self::Leaves(..)
            | Self::Beat(_) => true,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Scheduled {
    at: u64,
    order: u64,
    event: Event,
}

struct Request {
    /// Tells a reused slot from its earlier use.
    generation: u32,
    alive: bool,
    instance: u32,
    route: u32,
    permit: Option<Permit>,
    sent: u64,
    tries: u32,
    client: Option<u32>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Delay,
    Queued,
    Working,
    /// In a shared server, done when the server's meter shows this.
    Sharing(f64),
}

#[derive(Default)]
struct ServerState {
    busy: u32,
    queue: VecDeque<(u32, u32)>,
    /// Work that each request in a shared server has received since the start.
    meter: f64,
    metered_at: u64,
    sharing: BinaryHeap<Reverse<(u64, u32, u32)>>,
    sharing_len: u32,
    change: u32,
}

struct World<'a> {
    setup: &'a Setup,
    make: MakeLimit<'a>,
    seed: u64,
    rng: Rng,
    base: Instant,
    now: u64,
    order: u64,
    events: BinaryHeap<Reverse<Scheduled>>,
    gates: Vec<Gate>,
    servers: Vec<Vec<ServerState>>,
    requests: Vec<Request>,
    free: Vec<u32>,
    asleep: Vec<bool>,
    record: Record,
    sent: u64,
    /// When the present slice of the processor ends, and when the next one begins.
    slice: (u64, u64),
    /// Draws slices apart from everything else, so that worlds without them stay the same.
    slices: Rng,
}

impl<'a> World<'a> {
    fn new(setup: &'a Setup, make: MakeLimit<'a>, seed: u64) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a zero for virtual time; only differences are used"
        )]
        let base = Instant::now();
        let instances = setup.instances as u64;
        Self {
            setup,
            make,
            seed,
            rng: Rng::new(seed),
            base,
            now: 0,
            order: 0,
            events: BinaryHeap::new(),
            gates: (0..instances)
                .map(|i| gate(setup, make(seed * 1000 + i), base))
                .collect(),
            servers: (0..instances)
                .map(|_| {
                    setup
                        .servers
                        .iter()
                        .map(|_| ServerState::default())
                        .collect()
                })
                .collect(),
            requests: Vec::new(),
            free: Vec::new(),
            asleep: Vec::new(),
            record: Record::default(),
            sent: 0,
            slice: (0, 0),
            slices: Rng::new(seed ^ 0x517c_e5e5),
        }
    }

    fn start(&mut self) {
        match &self.setup.load {
            Load::Open { .. } => self.schedule(0.0, Event::Arrival),
            Load::Closed {
                clients_max, think, ..
            } => {
                self.asleep = vec![false; *clients_max as usize];
                for client in 0..*clients_max {
                    let pause = self.rng.exponential(think.max(1e-6));
                    self.schedule(pause, Event::Client(client));
                }
            }
        }
        for &(at, count) in &self.setup.bursts {
            self.schedule(at, Event::Burst(count));
        }
        if let Some((at, _)) = self.setup.restart {
            self.schedule(at, Event::Restart);
        }
        self.schedule(record::BIN * 0.999, Event::Note);
        if self.setup.slices.is_some() || self.setup.has_classes() || !self.setup.stalls.is_empty()
        {
            self.beat(self.now);
        }
    }

    fn finish(mut self) -> Record {
        let calls: u64 = self.gates.iter().map(Gate::calls).sum();
        self.record.calls_per_request = calls as f64 / self.sent.max(1) as f64;
        self.record.base = Some(self.base);
        self.record.changes.extend(self.gates[0].take_changes());
        self.record
    }

    fn schedule(&mut self, after_secs: f64, event: Event) {
        self.schedule_at(self.now + nanos(after_secs), event);
    }

    fn schedule_at(&mut self, at: u64, event: Event) {
        self.order += 1;
        let order = self.order;
        self.events.push(Reverse(Scheduled { at, order, event }));
    }

    fn secs(&self) -> f64 {
        self.now as f64 * 1e-9
    }

    fn instant(&self) -> Instant {
        self.base + Duration::from_nanos(self.now)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival => self.arrival(),
            Event::Client(client) => self.client(client),
            Event::Burst(count) => (0..count).for_each(|_| self.send(self.now, 0, None)),
            Event::Retry { first_sent, tries } => self.send(first_sent, tries, None),
            Event::Delayed(id, generation) if self.lives(id, generation) => self.queue_up(id),
            Event::Worked(id, generation) if self.lives(id, generation) => {
                self.leave_server(id);
                self.end(id, Ending::Completed);
            }
            Event::Shared {
                instance,
                server,
                change,
            } => self.shared(instance, server, change),
            Event::Leaves(id, generation) if self.lives(id, generation) => {
                self.leave_server(id);
                self.end(id, Ending::Abandoned);
            }
            Event::Delayed(..) | Event::Worked(..) | Event::Leaves(..) => {}
            Event::Beat(due) => self.beat(due),
            Event::Note => self.note(),
            Event::Restart => self.restart(),
        }
    }

    fn lives(&self, id: u32, generation: u32) -> bool {
        let request = &self.requests[id as usize];
        request.alive && request.generation == generation
    }

    fn arrival(&mut self) {
        let Load::Open { rate, poisson } = &self.setup.load else {
            return;
        };
        let rate = rate(self.secs());
        if rate <= 0.0 {
            return self.schedule(0.005, Event::Arrival);
        }
        let gap = if *poisson {
            self.rng.exponential(1.0 / rate)
        } else {
            1.0 / rate
        };
        self.schedule(gap, Event::Arrival);
        match self.sleeps_until() {
            // It waits in its socket.
            Some(wakes) => {
                let (first_sent, tries) = (self.now, 0);
                self.schedule_at(wakes, Event::Retry { first_sent, tries });
            }
            None => self.send(self.now, 0, None),
        }
    }

    fn client(&mut self, client: u32) {
        let Load::Closed { clients, .. } = &self.setup.load else {
            return;
        };
        if client < clients(self.secs()) {
            self.send(self.now, 0, Some(client));
        } else {
            self.schedule(0.05, Event::Client(client));
        }
    }

    fn send(&mut self, first_sent: u64, tries: u32, client: Option<u32>) {
        self.sent += 1;
        let secs = self.secs();
        self.record.bin(secs).sent += 1;
        let instance = self.choose_instance();
        let route = self.choose_route();
        let (now, priority) = (self.instant(), self.setup.routes[route].priority);
        self.record.bin(secs).sent_of[priority.index()] += 1;
        let Some(permit) = self.gates[instance].admit(priority, now) else {
            self.record.bin(secs).refused += 1;
            self.record.bin(secs).refused_of[priority.index()] += 1;
            return self.try_again(first_sent, tries, client);
        };
        let id = self.slot();
        let request = &mut self.requests[id as usize];
        request.alive = true;
        request.instance = instance as u32;
        request.route = route as u32;
        request.permit = Some(permit);
        request.sent = self.now;
        request.tries = tries;
        request.client = client;
        request.stage = Stage::Delay;
        let generation = request.generation;
        let mut patience = self.setup.deadline;
        if self.setup.leaves > 0.0 && self.rng.unit() < self.setup.leaves {
            patience *= self.rng.unit();
        }
        self.schedule(patience, Event::Leaves(id, generation));
        let delay = (self.setup.routes[route].delay)(secs).draw(&mut self.rng);
        if delay > 0.0 {
            self.schedule(delay, Event::Delayed(id, generation));
        } else {
            self.queue_up(id);
        }
    }

    fn slot(&mut self) -> u32 {
        if let Some(id) = self.free.pop() {
            return id;
        }
        self.requests.push(Request {
            generation: 0,
            alive: false,
            instance: 0,
            route: 0,
            permit: None,
            sent: 0,
            tries: 0,
            client: None,
            stage: Stage::Delay,
        });
        (self.requests.len() - 1) as u32
    }

    fn choose_instance(&mut self) -> usize {
        let n = self.gates.len();
        if n == 1 {
            return 0;
        }
        let one = self.rng.below(n);
        if self.setup.balance == Balance::Random {
            return one;
        }
        let two = self.rng.below(n);
        if self.gates[two].in_flight() < self.gates[one].in_flight() {
            two
        } else {
            one
        }
    }

    fn choose_route(&mut self) -> usize {
        if self.setup.routes.len() == 1 {
            return 0;
        }
        let secs = self.secs();
        let total: f64 = self.setup.routes.iter().map(|r| (r.weight)(secs)).sum();
        let mut rest = self.rng.unit() * total;
        for (index, route) in self.setup.routes.iter().enumerate() {
            rest -= (route.weight)(secs);
            if rest < 0.0 {
                return index;
            }
        }
        self.setup.routes.len() - 1
    }

    fn end(&mut self, id: u32, ending: Ending) {
        let (secs, now) = (self.secs(), self.instant());
        let request = &mut self.requests[id as usize];
        request.alive = false;
        request.generation = request.generation.wrapping_add(1);
        let latency = (self.now - request.sent) as f64 * 1e-9;
        let (tries, client, sent) = (request.tries, request.client, request.sent);
        let instance = request.instance as usize;
        if let Some(permit) = request.permit.take() {
            self.gates[instance].settle(now, permit, ending);
        }
        self.free.push(id);
        let bin = self.record.bin(secs);
        if ending == Ending::Completed {
            bin.done += 1;
            bin.latencies.push(latency as f32);
            self.next_of(client);
        } else {
            bin.timed_out += 1;
            self.try_again(sent, tries, client);
        }
    }

    fn try_again(&mut self, first_sent: u64, tries: u32, client: Option<u32>) {
        let (tries_max, pause) = self.setup.retries;
        if client.is_none() && tries < tries_max {
            let pause = self.rng.exponential(pause);
            let tries = tries + 1;
            self.schedule(pause, Event::Retry { first_sent, tries });
        }
        self.next_of(client);
    }

    fn next_of(&mut self, client: Option<u32>) {
        if let (Some(client), Load::Closed { think, .. }) = (client, &self.setup.load) {
            let pause = self.rng.exponential(think.max(1e-6));
            self.schedule(pause, Event::Client(client));
        }
    }

    /// How late a heartbeat is says how late everything is.
    fn beat(&mut self, due: u64) {
        let (lag, now) = (Duration::from_nanos(self.now - due), self.instant());
        self.gates.iter_mut().for_each(|gate| gate.beat(lag, now));
        let next = self.now + nanos(gate::BEAT_SECS);
        self.schedule_at(next, Event::Beat(next));
    }

    fn note(&mut self) {
        let now = self.instant();
        let (cap, in_flight) = (self.gates[0].cap(now), self.gates[0].in_flight());
        let changes = self.gates[0].take_changes();
        self.record.changes.extend(changes);
        let bin = self.record.bin(self.now as f64 * 1e-9);
        (bin.cap, bin.in_flight) = (cap, in_flight);
        self.schedule(record::BIN, Event::Note);
    }

    /// A restarted instance loses what it ran and starts with a fresh limit.
    fn restart(&mut self) {
        let Some((_, count)) = self.setup.restart else {
            return;
        };
        for id in 0..self.requests.len() as u32 {
            let request = &self.requests[id as usize];
            if request.alive && (request.instance as usize) < count {
                self.leave_server(id);
                self.end(id, Ending::Abandoned);
            }
        }
        for instance in 0..count {
            let limit = (self.make)(self.seed * 1000 + 500 + instance as u64);
            self.gates[instance] = gate(self.setup, limit, self.instant());
        }
    }
}

/// The gate of an instance.
fn gate(setup: &Setup, limit: Box<dyn Limit>, now: Instant) -> Gate {
    if setup.has_classes() {
        Gate::real(limit, now)
    } else {
        Gate::new(limit)
    }
}

fn nanos(secs: f64) -> u64 {
    (secs.max(0.0) * 1e9) as u64
}
