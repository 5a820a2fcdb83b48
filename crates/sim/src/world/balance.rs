//! Balancers: each knows only what it sent itself and has not heard the end of.

use super::setup::Balance;
use crate::rng::Rng;

/// One balancer.
pub(super) struct Balancer {
    how: Balance,
    instances: Vec<Known>,
    /// How long answers of each take, where that is asked for.
    latencies: Vec<PeakEwma>,
    /// Those that it takes for up, in no order.
    up: Vec<u32>,
    least: Option<Least>,
}

/// What it knows of an instance.
#[derive(Clone, Copy)]
struct Known {
    /// Requests that it sent there and has not heard the end of.
    running: u32,
    /// Its place in the list of those that are up, or [`DOWN`].
    place: u32,
}

/// Not up.
const DOWN: u32 = u32::MAX;

impl Balancer {
    pub(super) fn new(how: Balance, instances: usize) -> Self {
        let known = |place: u32| Known { running: 0, place };
        let timed = if how == Balance::PeakEwma {
            instances
        } else {
            0
        };
        let least = (how == Balance::LeastConnections).then(|| Least::new(instances));
        Self {
            how,
            instances: (0..instances as u32).map(known).collect(),
            latencies: vec![PeakEwma::default(); timed],
            up: (0..instances as u32).collect(),
            least,
        }
    }

    /// Where a request goes; nowhere while nothing is up.
    pub(super) fn choose(&mut self, rng: &mut Rng, now_secs: f64) -> Option<usize> {
        let n = self.up.len();
        if n <= 1 {
            return self.up.first().map(|only| *only as usize);
        }
        if let Some(least) = &self.least {
            return Some(least.draw(rng));
        }
        let one = self.up[rng.below(n)] as usize;
        if self.how == Balance::Random {
            return Some(one);
        }
        let two = self.up[rng.below(n)] as usize;
        let load = |instance: usize| {
            let running = f64::from(self.instances[instance].running);
            match self.latencies.get(instance) {
                Some(latency) => latency.now(now_secs) * (running + 1.0),
                None => running,
            }
        };
        Some(if load(two) < load(one) { two } else { one })
    }

    /// A request is on its way.
    pub(super) fn sent(&mut self, instance: usize) {
        self.instances[instance].running += 1;
        self.weigh(instance);
    }

    /// Its answer is there, whatever it is, after so many seconds.
    pub(super) fn heard(&mut self, instance: usize, now_secs: f64, took_secs: f64) {
        self.instances[instance].running -= 1;
        if let Some(latency) = self.latencies.get_mut(instance) {
            latency.observe(now_secs, took_secs);
        }
        self.weigh(instance);
    }

    /// Learns that an instance is up or down.
    pub(super) fn learns(&mut self, instance: usize, up: bool) {
        let place = self.instances[instance].place;
        if up && place == DOWN {
            self.instances[instance].place = self.up.len() as u32;
            self.up.push(instance as u32);
            if let Some(latency) = self.latencies.get_mut(instance) {
                *latency = PeakEwma::default();
            }
        } else if !up && place != DOWN {
            self.instances[instance].place = DOWN;
            self.up.swap_remove(place as usize);
            if let Some(moved) = self.up.get(place as usize) {
                self.instances[*moved as usize].place = place;
            }
        }
        self.weigh(instance);
    }

    fn weigh(&mut self, instance: usize) {
        if let Some(least) = &mut self.least {
            let Known { running, place } = self.instances[instance];
            least.set(instance, if place == DOWN { DOWN } else { running });
        }
    }
}

/// The instances with fewest running, at a cost that grows with the logarithm of how many there are: a tournament.
struct Least {
    /// The first instance is at this index, and the parent of `i` is `i / 2`.
    leaves: usize,
    /// The least below, and how many have it.
    nodes: Vec<(u32, u32)>,
}

impl Least {
    fn new(instances: usize) -> Self {
        let leaves = instances.next_power_of_two();
        let mut nodes = vec![(u32::MAX, 0); 2 * leaves];
        for node in &mut nodes[leaves..leaves + instances] {
            *node = (0, 1);
        }
        let mut tree = Self { leaves, nodes };
        for index in (1..leaves).rev() {
            tree.play(index);
        }
        tree
    }

    fn play(&mut self, index: usize) {
        let (left, right) = (self.nodes[2 * index], self.nodes[2 * index + 1]);
        self.nodes[index] = match left.0.cmp(&right.0) {
            std::cmp::Ordering::Less => left,
            std::cmp::Ordering::Greater => right,
            std::cmp::Ordering::Equal => (left.0, left.1 + right.1),
        };
    }

    fn set(&mut self, instance: usize, running: u32) {
        let mut index = self.leaves + instance;
        self.nodes[index] = (running, 1);
        while index > 1 {
            index /= 2;
            self.play(index);
        }
    }

    /// One of those that have fewest, each as likely as the others: whoever is asked first would get the whole burst of all balancers.
    fn draw(&self, rng: &mut Rng) -> usize {
        let (least, many) = self.nodes[1];
        let mut rank = rng.below(many as usize) as u32;
        let mut index = 1;
        while index < self.leaves {
            let left = self.nodes[2 * index];
            let here = if left.0 == least { left.1 } else { 0 };
            index = if rank < here {
                2 * index
            } else {
                rank -= here;
                2 * index + 1
            };
        }
        index - self.leaves
    }
}

/// A latency that rises with a slow answer at once and falls slowly (as Finagle's and linkerd's balancers measure it).
#[derive(Clone, Copy)]
struct PeakEwma {
    secs: f64,
    at: f64,
}

impl Default for PeakEwma {
    /// Nothing is known yet.
    fn default() -> Self {
        Self {
            secs: UNKNOWN_SECS,
            at: 0.0,
        }
    }
}

impl PeakEwma {
    fn now(self, now_secs: f64) -> f64 {
        self.secs * (-(now_secs - self.at).max(0.0) / DECAY_SECS).exp()
    }

    fn observe(&mut self, now_secs: f64, took_secs: f64) {
        let share = (-(now_secs - self.at).max(0.0) / DECAY_SECS).exp();
        self.secs = took_secs.max(self.secs * share + took_secs * (1.0 - share));
        self.at = now_secs;
    }
}

/// What an instance is taken for before it has answered: what a busy one takes.
const UNKNOWN_SECS: f64 = 0.03;
/// In so long an old peak falls to a third, as both have it.
const DECAY_SECS: f64 = 10.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the tournament knows what a look at all of them knows.
    #[test]
    fn the_least_of_all_is_found_and_no_other() {
        let mut rng = Rng::new(5);
        let mut balancer = Balancer::new(Balance::LeastConnections, 37);
        let mut running = [0_u32; 37];
        let mut up = [true; 37];
        for turn in 0..20_000 {
            let chosen = balancer.choose(&mut rng, 0.0).expect("one is up");
            let least = (0..37).filter(|i| up[*i]).map(|i| running[i]).min();
            assert!(up[chosen] && Some(running[chosen]) == least, "turn {turn}");
            balancer.sent(chosen);
            running[chosen] += 1;
            let other = rng.below(37);
            if running[other] > 0 && rng.unit() < 0.97 {
                balancer.heard(other, 0.0, 0.01);
                running[other] -= 1;
            }
            if other > 0 && rng.unit() < 0.05 {
                up[other] = !up[other];
                balancer.learns(other, up[other]);
            }
        }
    }

    #[test]
    fn those_with_equally_few_are_equally_likely() {
        let mut rng = Rng::new(7);
        let mut balancer = Balancer::new(Balance::LeastConnections, 5);
        balancer.sent(2);
        let mut chosen = [0; 5];
        for _ in 0..4000 {
            chosen[balancer.choose(&mut rng, 0.0).expect("all are up")] += 1;
        }
        assert_eq!(chosen[2], 0);
        let even = [0, 1, 3, 4].map(|i| chosen[i]);
        assert!(even.iter().all(|n| (850..1150).contains(n)), "{even:?}");
    }

    #[test]
    fn a_peak_shows_at_once_and_fades() {
        let mut latency = PeakEwma::default();
        latency.observe(1.0, 0.5);
        assert!(latency.now(1.0) >= 0.5);
        latency.observe(1.1, 0.01);
        assert!(latency.now(1.1) > 0.4);
        assert!(latency.now(21.1) < 0.1);
    }
}
