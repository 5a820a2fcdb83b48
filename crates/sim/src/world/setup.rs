//! What a world is made of: servers, routes, load and how they change.

#![expect(missing_debug_implementations, reason = "worlds hold closures")]

use steadfast_core::Priority;

use crate::rng::Dist;

/// A number that changes over time.
pub type Over<T> = Box<dyn Fn(f64) -> T>;

/// A number that never changes.
#[must_use]
pub fn always<T: Copy + 'static>(value: T) -> Over<T> {
    Box::new(move |_| value)
}

/// A number that is `before` until `at` and `after` from then on.
#[must_use]
pub fn step<T: Copy + 'static>(before: T, at: f64, after: T) -> Over<T> {
    Box::new(move |t| if t < at { before } else { after })
}

/// A number that is `inside` from `from` to `to` and `outside` else.
#[must_use]
pub fn during<T: Copy + 'static>(outside: T, from: f64, to: f64, inside: T) -> Over<T> {
    Box::new(move |t| {
        if (from..to).contains(&t) {
            inside
        } else {
            outside
        }
    })
}

/// How a server shares itself out.
pub enum Server {
    /// So many workers and a queue before them, first come, first served.
    Pool(Over<u32>),
    /// So many processors shared evenly by all.
    Shared(Over<u32>),
}

/// One kind of request.
pub struct Route {
    /// Its weight among the routes.
    pub weight: Over<f64>,
    /// Who goes first. Where any route has another class than the default one, requests
    /// pass the real gate with its reserve instead of a plain count.
    pub priority: Priority,
    /// Whose requests they are; with 0 nobody says. Where any route has a tenant, requests
    /// pass the real gate with its fair shares.
    pub tenant: u32,
    /// What it waits for before it needs a server, in seconds.
    pub delay: Over<Dist>,
    /// Index of the server it needs, and for how long; `None` needs none.
    pub work: Option<(usize, Dist)>,
}

/// Where requests come from.
pub enum Load {
    /// Requests each second, whatever happens to them.
    Open {
        /// Requests each second.
        rate: Over<f64>,
        /// Random gaps instead of even ones.
        poisson: bool,
    },
    /// So many clients, each with one request at a time.
    Closed {
        /// How many clients are active.
        clients: Over<u32>,
        /// How many there can be at most.
        clients_max: u32,
        /// Mean pause between an answer and the next request.
        think: f64,
    },
}

/// How requests find an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// At random.
    Random,
    /// The less loaded of two at random.
    TwoChoices,
    /// One of those with fewest, of all.
    LeastConnections,
    /// Of two at random the one with the smaller product of latency and load, where a latency rises at once and falls slowly.
    PeakEwma,
}

/// Instances that go away and come back.
#[derive(Clone, Debug)]
pub struct Outage {
    /// Which.
    pub instances: std::ops::Range<usize>,
    /// Since when, in seconds.
    pub from: f64,
    /// When they are there again, with a limit that knows nothing.
    pub to: f64,
    /// How long the balancers take to see that they are gone, and that they are back.
    pub notice: f64,
    /// Whether the balancers are told at `from`, and what runs may end until `notice` before `to`; otherwise it is lost at once.
    pub warned: bool,
}

/// A world.
pub struct Setup {
    /// Seconds to run.
    pub secs: f64,
    /// Instances behind the balancer.
    pub instances: usize,
    /// How requests find one.
    pub balance: Balance,
    /// How many balancers there are, each of which knows only what it sent itself.
    pub balancers: usize,
    /// Seconds until a balancer and a client hear of a refusal.
    pub refusal: f64,
    /// Servers of each instance.
    pub servers: Vec<Server>,
    /// Kinds of request.
    pub routes: Vec<Route>,
    /// Whether the gate hears which server requests spend their time with, and has limits by
    /// that. Then they pass the real gate instead of a plain count.
    pub by_backend: bool,
    /// How many times longer work takes.
    pub slowness: Over<f64>,
    /// Where requests come from.
    pub load: Load,
    /// So many more requests at these moments, all at once.
    pub bursts: Vec<(f64, u32)>,
    /// When a client gives up.
    pub deadline: f64,
    /// How often a client tries again after a refusal or a time-out, and its mean pause.
    pub retries: (u32, f64),
    /// Share of requests whose client leaves at a random moment before the deadline.
    pub leaves: f64,
    /// How long the processes run and then wait for a processor that others use, in
    /// seconds: means, each drawn between half and one and a half of it.
    pub slices: Option<(f64, f64)>,
    /// Moments from which the processes stand still, and for how long, in seconds: a hiccup of the machine, or a pause of a collector.
    pub stalls: Vec<(f64, f64)>,
    /// Instances `0..n` restart with a fresh limit at a moment.
    pub restart: Option<(f64, usize)>,
    /// Instances that go away and come back.
    pub outages: Vec<Outage>,
}

impl Setup {
    /// One pool of `workers`, one route, `rate` even requests each second, deadline 500 ms.
    #[must_use]
    pub fn pool(workers: u32, work: Dist, rate: f64, secs: f64) -> Self {
        Self {
            secs,
            instances: 1,
            balance: Balance::TwoChoices,
            balancers: 1,
            refusal: 0.0,
            servers: vec![Server::Pool(always(workers))],
            routes: vec![Route {
                weight: always(1.0),
                priority: Priority::Default,
                tenant: 0,
                delay: always(Dist::Constant(0.0)),
                work: Some((0, work)),
            }],
            by_backend: false,
            slowness: always(1.0),
            load: Load::Open {
                rate: always(rate),
                poisson: false,
            },
            bursts: Vec::new(),
            deadline: 0.5,
            retries: (0, 0.0),
            leaves: 0.0,
            slices: None,
            stalls: Vec::new(),
            restart: None,
            outages: Vec::new(),
        }
    }

    /// Whether any request goes before another.
    #[must_use]
    pub fn has_classes(&self) -> bool {
        let classified = |route: &Route| route.priority != Priority::Default;
        self.routes.iter().any(classified)
    }

    /// Whether anybody says whose requests they are.
    #[must_use]
    pub fn has_tenants(&self) -> bool {
        self.routes.iter().any(|route| route.tenant > 0)
    }

    /// No server at all: each request waits for something elsewhere.
    #[must_use]
    pub fn upstream(delay: Dist, rate: f64, secs: f64) -> Self {
        let mut setup = Self::pool(1, Dist::Constant(0.0), rate, secs);
        setup.routes[0].delay = always(delay);
        setup.routes[0].work = None;
        setup.deadline = 1e6;
        setup
    }

    /// The same with random gaps between requests.
    #[must_use]
    pub fn poisson(mut self) -> Self {
        if let Load::Open { poisson, .. } = &mut self.load {
            *poisson = true;
        }
        self
    }

    /// The same with another rate.
    #[must_use]
    pub fn rate(mut self, over: Over<f64>) -> Self {
        if let Load::Open { rate, .. } = &mut self.load {
            *rate = over;
        }
        self
    }
}
