//! One request: how it is sent, what the gate says, and how it ends.

use steadfast_core::Priority;
use steadfast_core::limit::Ending;
use steadfast_core::plumbing::{SPENT_ONE_IN, TENANT_ONE_IN};

use super::events::{Event, Sent};
use super::gate::{Answer, Permit, Ticket, Whose};
use super::setup::Load;
use super::{World, nanos};

pub(super) struct Request {
    pub(super) to: Sent,
    /// Its place among the requests of its instance.
    place: u32,
    pub(super) route: u32,
    permit: Option<Permit>,
    ticket: Option<Ticket>,
    sent: u64,
    tries: u32,
    client: Option<u32>,
    pub(super) stage: Stage,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Stage {
    /// Before the gate.
    Waiting,
    Delay,
    Queued,
    Working,
    /// In a shared server, done when the server's meter shows this.
    Sharing(f64),
}

impl World<'_> {
    pub(super) fn lives(&self, id: u32, generation: u32) -> bool {
        self.generation(id) == generation
    }

    /// Tells a reused slot from its earlier use.
    pub(super) fn generation(&self, id: u32) -> u32 {
        self.generations[id as usize]
    }

    pub(super) fn send(&mut self, first_sent: u64, tries: u32, client: Option<u32>) {
        self.sent += 1;
        let secs = self.secs();
        self.record.bin(secs).sent += 1;
        if tries > 0 {
            self.record.bin(secs).retried += 1;
        }
        let balancer = match self.balancers.len() {
            1 => 0,
            n => self.rng.below(n),
        };
        let Some(instance) = self.balancers[balancer].choose(&mut self.rng, secs) else {
            self.record.bin(secs).lost += 1;
            return self.try_again(first_sent, tries, client);
        };
        let route = self.choose_route();
        let (now, priority) = (self.instant(), self.setup.routes[route].priority);
        self.record.bin(secs).sent_of[priority.index()] += 1;
        let Some(gate) = &mut self.instances[instance].gate else {
            // Nobody listens there any more.
            self.record.bin(secs).lost += 1;
            return self.try_again(first_sent, tries, client);
        };
        let tenant = self.setup.routes[route].tenant;
        // Not from the world's own numbers, so that worlds without tenants stay the same.
        let drawn = tenant > 0 && self.slices.below(TENANT_ONE_IN as usize) == 0;
        let answer = gate.admit(route, priority, Whose { tenant, drawn }, now);
        if tenant > 0 {
            self.record.bin(secs).of(route).sent += 1;
        }
        let to = Sent {
            balancer: balancer as u32,
            instance: instance as u32,
        };
        if matches!(answer, Answer::Refuse) {
            return self.refused(to, priority, first_sent, tries, client);
        }
        self.balancers[balancer].sent(instance);
        let id = self.slot(Request {
            to,
            place: self.instances[instance].requests.len() as u32,
            route: route as u32,
            permit: None,
            ticket: None,
            sent: self.now,
            tries,
            client,
            stage: Stage::Waiting,
        });
        self.instances[instance].requests.push(id);
        let generation = self.generation(id);
        let mut patience = self.setup.deadline;
        let common = self.setup.leaves <= 0.0 || self.rng.unit() >= self.setup.leaves;
        if !common {
            patience *= self.rng.unit();
        }
        let leaves = self.now + nanos(patience);
        self.events.leaves(leaves, id, generation, common);
        match answer {
            Answer::Run(permit) => self.begin(id, permit),
            Answer::Wait(ticket) => {
                self.requests[id as usize].ticket = Some(ticket);
                self.ask(id);
            }
            Answer::Refuse => {}
        }
    }

    /// A refusal goes back to its balancer and to its client.
    fn refused(
        &mut self,
        to: Sent,
        priority: Priority,
        first_sent: u64,
        tries: u32,
        client: Option<u32>,
    ) {
        let secs = self.secs();
        self.record.bin(secs).refused += 1;
        self.record.bin(secs).refused_of[priority.index()] += 1;
        if self.setup.refusal <= 0.0 || client.is_some() {
            return self.try_again(first_sent, tries, client);
        }
        self.balancers[to.balancer as usize].sent(to.instance as usize);
        let sent = to;
        self.schedule(
            self.setup.refusal,
            Event::Refused {
                sent,
                first_sent,
                tries,
            },
        );
    }

    /// A request runs.
    fn begin(&mut self, id: u32, permit: Permit) {
        let secs = self.secs();
        let request = &mut self.requests[id as usize];
        request.permit = Some(permit);
        request.stage = Stage::Delay;
        let route = request.route as usize;
        let generation = self.generation(id);
        let delay = (self.setup.routes[route].delay)(secs).draw(&mut self.rng);
        if delay > 0.0 {
            self.schedule(delay, Event::Delayed(id, generation));
        } else {
            self.queue_up(id);
        }
    }

    /// A request that waits before the gate asks what became of it.
    pub(super) fn ask(&mut self, id: u32) {
        let now = self.instant();
        let generation = self.generation(id);
        let Some(ticket) = &mut self.requests[id as usize].ticket else {
            return;
        };
        match ticket.ask(&self.wakings, (id, generation), now) {
            Answer::Wait(()) => {
                let until = ticket.until().saturating_duration_since(self.base);
                // Asked a moment too early it would wait for good.
                let until = (until.as_nanos() as u64).max(self.now + 1);
                self.events.push(until, Event::Asks(id, generation));
            }
            Answer::Run(permit) => {
                self.requests[id as usize].ticket = None;
                self.begin(id, permit);
            }
            Answer::Refuse => {
                let request = self.bury(id);
                let priority = self.setup.routes[request.route as usize].priority;
                self.heard(request.to, 0.0);
                let (sent, tries, client) = (request.sent, request.tries, request.client);
                self.refused(request.to, priority, sent, tries, client);
            }
        }
    }

    /// Lets those ask again who have been told to.
    pub(super) fn wake(&mut self) {
        while let Some((id, generation)) = self.wakings.next() {
            if self.lives(id, generation) {
                self.ask(id);
            }
        }
    }

    fn slot(&mut self, request: Request) -> u32 {
        if let Some(id) = self.free.pop() {
            self.requests[id as usize] = request;
            return id;
        }
        self.requests.push(request);
        self.generations.push(0);
        (self.requests.len() - 1) as u32
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

    pub(super) fn end(&mut self, id: u32, ending: Ending) {
        let (secs, now) = (self.secs(), self.instant());
        let mut request = self.bury(id);
        let latency = (self.now - request.sent) as f64 * 1e-9;
        if let Some(permit) = request.permit.take() {
            let route = request.route as usize;
            // Not from the world's own numbers, so that other worlds stay the same.
            let drawn = self.setup.by_backend && self.slices.below(SPENT_ONE_IN as usize) == 0;
            if let Some(gate) = &mut self.instances[request.to.instance as usize].gate {
                if self.setup.by_backend {
                    let work = self.setup.routes[route].work.as_ref();
                    gate.spent(route, work.map(|(server, _)| *server), drawn, now);
                }
                gate.settle(now, permit, ending);
            }
        }
        self.heard(request.to, latency);
        let bin = self.record.bin(secs);
        if ending == Ending::Completed {
            bin.done += 1;
            bin.latencies.push(latency as f32);
            if self.setup.routes[request.route as usize].tenant > 0 {
                bin.of(request.route as usize)
                    .latencies
                    .push(latency as f32);
            }
            self.next_of(request.client);
        } else {
            bin.timed_out += 1;
            self.try_again(request.sent, request.tries, request.client);
        }
    }

    /// Frees the slot of a request that has ended.
    fn bury(&mut self, id: u32) -> Request {
        let generation = &mut self.generations[id as usize];
        *generation = generation.wrapping_add(1);
        let request = &mut self.requests[id as usize];
        let buried = Request {
            permit: request.permit.take(),
            ticket: request.ticket.take(),
            ..*request
        };
        self.events.answered(id);
        self.free.push(id);
        let here = &mut self.instances[buried.to.instance as usize].requests;
        here.swap_remove(buried.place as usize);
        if let Some(moved) = here.get(buried.place as usize) {
            self.requests[*moved as usize].place = buried.place;
        }
        buried
    }

    /// The balancer that sent it hears of the end.
    pub(super) fn heard(&mut self, to: Sent, took_secs: f64) {
        let secs = self.secs();
        self.balancers[to.balancer as usize].heard(to.instance as usize, secs, took_secs);
    }

    pub(super) fn try_again(&mut self, first_sent: u64, tries: u32, client: Option<u32>) {
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
            self.events
                .push(self.now + nanos(pause), Event::Client(client));
        }
    }
}
