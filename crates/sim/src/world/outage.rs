//! Instances that go away and come back: a zone that fails, a release that is rolled out.

use steadfast_core::limit::Ending;

use super::World;
use super::events::{Event, Turn};
use super::gate;

impl World<'_> {
    pub(super) fn schedule_outages(&mut self) {
        for (index, outage) in self.setup.outages.iter().enumerate() {
            let turn = |turn| Event::Outage(index as u32, turn);
            let (known, gone) = if outage.warned {
                (outage.from, outage.to - outage.notice)
            } else {
                (outage.from + outage.notice, outage.from)
            };
            for (at, event) in [
                (known, turn(Turn::Known)),
                (gone, turn(Turn::Gone)),
                (outage.to, turn(Turn::There)),
                (outage.to + outage.notice, turn(Turn::Back)),
            ] {
                self.schedule(at, event);
            }
        }
    }

    pub(super) fn outage(&mut self, index: usize, turn: Turn) {
        for instance in self.setup.outages[index].instances.clone() {
            match turn {
                Turn::Gone => self.stop(instance),
                Turn::There => self.begin_anew(instance),
                Turn::Known | Turn::Back => {
                    let up = turn == Turn::Back;
                    let balancers = &mut self.balancers;
                    balancers.iter_mut().for_each(|it| it.learns(instance, up));
                }
            }
        }
    }

    /// Restarted instances lose what they ran and are there again at once.
    pub(super) fn restart(&mut self) {
        let Some((_, count)) = self.setup.restart else {
            return;
        };
        for instance in 0..count {
            self.stop(instance);
            self.begin_anew(instance);
        }
    }

    /// What an instance ran is lost with it.
    fn stop(&mut self, instance: usize) {
        while let Some(&id) = self.instances[instance].requests.last() {
            self.leave_server(id);
            let secs = self.secs();
            self.record.bin(secs).lost += 1;
            self.end(id, Ending::Abandoned);
        }
        self.instances[instance].gate = None;
    }

    /// It starts with a limit that knows nothing.
    fn begin_anew(&mut self, instance: usize) {
        let now = self.instant();
        let starts = self.instances[instance].starts;
        let seed = self.seed * 1000 + SEEDS_APART * (starts + 1) + instance as u64;
        self.instances[instance].starts += 1;
        self.instances[instance].gate = Some(gate(self.setup, (self.make)(seed), now));
    }
}

/// Between the seeds of one start and of the next.
const SEEDS_APART: u64 = 1_000_003;
