//! What servers do with the requests that were admitted.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use steadfast_core::limit::Ending;

use super::events::Event;
use super::requests::Stage;
use super::setup::Server;
use super::{World, nanos};

#[derive(Default)]
pub(super) struct ServerState {
    busy: u32,
    queue: VecDeque<(u32, u32)>,
    /// Work that each request in a shared server has received since the start.
    meter: f64,
    metered_at: u64,
    sharing: BinaryHeap<Reverse<(u64, u32, u32)>>,
    sharing_len: u32,
    change: u32,
}

impl World<'_> {
    pub(super) fn queue_up(&mut self, id: u32) {
        let secs = self.secs();
        let request = &self.requests[id as usize];
        let (instance, generation) = (request.to.instance, self.generation(id));
        let Some((server, work)) = self.setup.routes[request.route as usize].work else {
            return self.end(id, Ending::Completed);
        };
        match &self.setup.servers[server] {
            Server::Pool(workers) => {
                let state = &mut self.instances[instance as usize].servers[server];
                self.requests[id as usize].stage = Stage::Queued;
                state.queue.push_back((id, generation));
                let workers = workers(secs);
                self.take_work(instance, server, workers);
            }
            Server::Shared(_) => {
                let need = work.draw(&mut self.rng) * (self.setup.slowness)(secs);
                self.advance_meter(instance, server);
                let state = &mut self.instances[instance as usize].servers[server];
                let done = state.meter + need;
                state.sharing.push(Reverse((nanos(done), id, generation)));
                state.sharing_len += 1;
                self.requests[id as usize].stage = Stage::Sharing(done);
                self.schedule_shared(instance, server);
            }
        }
    }

    /// Lets idle workers take the oldest requests that are still wanted.
    fn take_work(&mut self, instance: u32, server: usize, workers: u32) {
        loop {
            let state = &mut self.instances[instance as usize].servers[server];
            if state.busy >= workers {
                return;
            }
            let Some((id, generation)) = state.queue.pop_front() else {
                return;
            };
            if !self.lives(id, generation) {
                continue;
            }
            self.instances[instance as usize].servers[server].busy += 1;
            self.requests[id as usize].stage = Stage::Working;
            let route = self.requests[id as usize].route as usize;
            let Some((_, work)) = self.setup.routes[route].work else {
                return;
            };
            let need = work.draw(&mut self.rng) * (self.setup.slowness)(self.secs());
            self.schedule(need, Event::Worked(id, generation));
        }
    }

    pub(super) fn leave_server(&mut self, id: u32) {
        let request = &self.requests[id as usize];
        let instance = request.to.instance;
        let Some((server, _)) = self.setup.routes[request.route as usize].work else {
            return;
        };
        match request.stage {
            Stage::Waiting | Stage::Delay | Stage::Queued => {}
            Stage::Working => {
                self.instances[instance as usize].servers[server].busy -= 1;
                // The request must be gone before its worker looks for the next.
                self.requests[id as usize].stage = Stage::Queued;
                if let Server::Pool(workers) = &self.setup.servers[server] {
                    let workers = workers(self.secs());
                    self.take_work(instance, server, workers);
                }
            }
            Stage::Sharing(_) => {
                self.advance_meter(instance, server);
                self.instances[instance as usize].servers[server].sharing_len -= 1;
                self.schedule_shared(instance, server);
            }
        }
    }

    fn advance_meter(&mut self, instance: u32, server: usize) {
        let Server::Shared(processors) = &self.setup.servers[server] else {
            return;
        };
        let processors = f64::from(processors(self.secs()));
        let state = &mut self.instances[instance as usize].servers[server];
        let passed = (self.now - state.metered_at) as f64 * 1e-9;
        let speed = (processors / f64::from(state.sharing_len.max(1))).min(1.0);
        state.meter += passed * speed;
        state.metered_at = self.now;
    }

    fn schedule_shared(&mut self, instance: u32, server: usize) {
        let Server::Shared(processors) = &self.setup.servers[server] else {
            return;
        };
        let processors = f64::from(processors(self.secs()));
        while let Some(&Reverse((_, id, generation))) = self.instances[instance as usize].servers
            [server]
            .sharing
            .peek()
        {
            if self.lives(id, generation) {
                break;
            }
            self.instances[instance as usize].servers[server]
                .sharing
                .pop();
        }
        let state = &mut self.instances[instance as usize].servers[server];
        state.change = state.change.wrapping_add(1);
        let change = state.change;
        let Some(&Reverse((done, _, _))) = state.sharing.peek() else {
            return;
        };
        let speed = (processors / f64::from(state.sharing_len.max(1))).min(1.0);
        let left = (done as f64 * 1e-9 - state.meter).max(0.0) / speed.max(1e-9);
        let server = server as u32;
        self.schedule(
            left + 1e-9,
            Event::Shared {
                instance,
                server,
                change,
            },
        );
    }

    pub(super) fn shared(&mut self, instance: u32, server: u32, change: u32) {
        let state = &self.instances[instance as usize].servers[server as usize];
        if state.change != change {
            return;
        }
        let Some(&Reverse((_, id, generation))) = state.sharing.peek() else {
            return;
        };
        if self.lives(id, generation) {
            self.instances[instance as usize].servers[server as usize]
                .sharing
                .pop();
            self.leave_server(id);
            self.end(id, Ending::Completed);
            // The next is scheduled again now that this one no longer lives.
            self.schedule_shared(instance, server as usize);
        }
    }
}
