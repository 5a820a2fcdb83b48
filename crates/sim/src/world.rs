//! A world in virtual time: clients, balancers, instances, their servers and a queue of events.

use std::time::{Duration, Instant};

use steadfast_core::limit::Ending;

use crate::peers::Peer;
use crate::rng::Rng;
use balance::Balancer;
use events::{Event, Events};
use gate::{Gate, Wakings};
use record::Record;
use requests::Request;
use serving::ServerState;
use setup::{Load, Setup};

mod balance;
mod events;
pub mod gate;
mod outage;
mod patience;
mod processor;
pub mod record;
mod requests;
mod serving;
pub mod setup;

/// Makes the limit of an instance, and what stands before it, from a seed.
pub type MakePeer<'a> = &'a dyn Fn(u64) -> Peer;

/// Runs a world to its end.
#[must_use]
pub fn run(setup: &Setup, make: MakePeer<'_>, seed: u64) -> Record {
    let mut world = World::new(setup, make, seed);
    world.start();
    while let Some(next) = world.events.pop(&world.generations) {
        if next.at > nanos(setup.secs) {
            break;
        }
        world.now = next.at;
        world.record.events += 1;
        match world.sleeps_until() {
            Some(wakes) if next.event.needs_processor() => world.events.postpone(next, wakes),
            _ => world.happen(next.event),
        }
        world.wake();
    }
    world.finish()
}

struct World<'a> {
    setup: &'a Setup,
    make: MakePeer<'a>,
    seed: u64,
    rng: Rng,
    base: Instant,
    now: u64,
    events: Events,
    balancers: Vec<Balancer>,
    instances: Vec<Instance>,
    requests: Vec<Request>,
    /// How often each slot was left.
    generations: Vec<u32>,
    free: Vec<u32>,
    record: Record,
    sent: u64,
    /// Who waits before a gate and has been told to ask again.
    wakings: Wakings,
    /// When the present slice of the processor ends, and when the next one begins.
    slice: (u64, u64),
    /// Draws slices apart from everything else, so that worlds without them stay the same.
    slices: Rng,
}

/// One process.
struct Instance {
    /// None while it is gone.
    gate: Option<Gate>,
    servers: Vec<ServerState>,
    /// The requests that are at it, in no order.
    requests: Vec<u32>,
    /// How often it was started.
    starts: u64,
}

impl<'a> World<'a> {
    fn new(setup: &'a Setup, make: MakePeer<'a>, seed: u64) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a zero for virtual time; only differences are used"
        )]
        let base = Instant::now();
        let n = setup.instances;
        let servers = || setup.servers.iter().map(|_| ServerState::default());
        let instance = |i: usize| Instance {
            gate: Some(gate(setup, make(seed * 1000 + i as u64), base)),
            servers: servers().collect(),
            requests: Vec::new(),
            starts: 0,
        };
        Self {
            setup,
            make,
            seed,
            rng: Rng::new(seed),
            base,
            now: 0,
            events: Events::new(),
            balancers: (0..setup.balancers.max(1))
                .map(|_| Balancer::new(setup.balance, n))
                .collect(),
            instances: (0..n).map(instance).collect(),
            requests: Vec::new(),
            generations: Vec::new(),
            free: Vec::new(),
            record: Record::default(),
            sent: 0,
            wakings: Wakings::default(),
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
        self.schedule_outages();
        self.schedule(record::BIN * 0.999, Event::Note);
        let real = self.gate(0).is_some_and(|gate| gate.is_real());
        if self.setup.slices.is_some() || real || !self.setup.stalls.is_empty() {
            self.beat(self.now);
        }
    }

    fn finish(mut self) -> Record {
        let gates = self.instances.iter().filter_map(|it| it.gate.as_ref());
        let calls: u64 = gates.map(Gate::calls).sum();
        self.record.calls_per_request = calls as f64 / self.sent.max(1) as f64;
        self.record.base = Some(self.base);
        self.take_changes();
        self.record
    }

    fn schedule(&mut self, after_secs: f64, event: Event) {
        self.events.push(self.now + nanos(after_secs), event);
    }

    fn secs(&self) -> f64 {
        self.now as f64 * 1e-9
    }

    fn instant(&self) -> Instant {
        self.base + Duration::from_nanos(self.now)
    }

    fn gate(&self, instance: usize) -> Option<&Gate> {
        self.instances[instance].gate.as_ref()
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
            Event::Asks(id, generation) if self.lives(id, generation) => self.ask(id),
            Event::Delayed(..) | Event::Worked(..) | Event::Leaves(..) | Event::Asks(..) => {}
            Event::Refused {
                sent,
                first_sent,
                tries,
            } => {
                self.heard(sent, self.setup.refusal);
                self.try_again(first_sent, tries, None);
            }
            Event::Beat(due) => self.beat(due),
            Event::Note => self.note(),
            Event::Restart => self.restart(),
            Event::Outage(outage, turn) => self.outage(outage as usize, turn),
        }
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
                self.events.push(wakes, Event::Retry { first_sent, tries });
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

    /// How late a heartbeat is says how late everything is.
    fn beat(&mut self, due: u64) {
        let (lag, now) = (Duration::from_nanos(self.now - due), self.instant());
        let gates = self.instances.iter_mut().filter_map(|it| it.gate.as_mut());
        gates.for_each(|gate| gate.beat(lag, now));
        let next = self.now + nanos(gate::BEAT_SECS);
        self.events.push(next, Event::Beat(next));
    }

    fn note(&mut self) {
        let now = self.instant();
        let seen = self.gate(0).map(|gate| (gate.cap(now), gate.in_flight()));
        self.take_changes();
        let bin = self.record.bin(self.now as f64 * 1e-9);
        (bin.cap, bin.in_flight) = seen.unwrap_or_default();
        self.schedule(record::BIN, Event::Note);
    }

    fn take_changes(&mut self) {
        if let Some(gate) = &mut self.instances[0].gate {
            self.record.changes.extend(gate.take_changes());
            self.record.backends.extend(gate.take_backend_changes());
        }
    }
}

/// The gate of an instance.
fn gate(setup: &Setup, peer: Peer, now: Instant) -> Gate {
    let tenants = setup.has_tenants();
    if setup.has_classes() || tenants || setup.by_backend || peer.real {
        Gate::real(peer, tenants, setup.by_backend, now)
    } else {
        Gate::new(peer.limit)
    }
}

fn nanos(secs: f64) -> u64 {
    (secs.max(0.0) * 1e9) as u64
}
