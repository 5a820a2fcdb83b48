//! What stands behind the limiter: something with a known number of places.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use serde::{Deserialize, Serialize};
use sim::rng::{Dist, Rng};
use sqlx::postgres::{PgPool, PgPoolOptions};
use std::sync::Mutex;
use steadfast::Dependency;
use tokio::sync::{Semaphore, watch};

use super::plan::Path;

/// Simulated workers, and connections of the pool.
const WORKERS: usize = 16;

/// What a request needs of a worker or a connection: mean 10 ms, p99 28 ms.
const WORK: Dist = Dist::Lognormal(0.010, 0.5);

/// Milliseconds of computing. Long enough that ten times the capacity of two cores is what
/// a generator on the same two cores can send.
pub(crate) const SPIN_MS: f64 = 8.0;

/// A backend by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Backend {
    /// So many simulated workers with a queue before them.
    Workers,
    /// Handlers that compute and do not yield.
    Cpu,
    /// A pool of connections to a PostgreSQL that sleeps.
    Postgres,
    /// A route of 2 ms beside one of 200 ms on the same workers.
    Mix,
    /// The same on workers of their own, each behind a dependency.
    Pools,
    /// Pages that wait for workers beside logins that compute.
    Logins,
}

/// What a server process must know of its backend.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) postgres_url: Option<String>,
    /// Rounds of computing, measured once so that every server does the same.
    pub(crate) spins: u64,
    /// Whether our own server says where its gate stands.
    pub(crate) watch: bool,
}

impl Backend {
    pub(crate) const ALL: [Self; 6] = [
        Self::Workers,
        Self::Cpu,
        Self::Postgres,
        Self::Mix,
        Self::Pools,
        Self::Logins,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Workers => "workers",
            Self::Cpu => "cpu",
            Self::Postgres => "postgres",
            Self::Mix => "mix",
            Self::Pools => "pools",
            Self::Logins => "logins",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// How many requests it can work on at once.
    pub(crate) fn knee(self) -> usize {
        match self {
            Self::Workers | Self::Postgres | Self::Mix => WORKERS,
            Self::Cpu => cores(),
            Self::Pools => QUICK_WORKERS + SLOW_WORKERS,
            Self::Logins => WORKERS + cores(),
        }
    }

    /// Whether processes of its own do a part of the work.
    pub(crate) const fn works_elsewhere(self) -> bool {
        matches!(self, Self::Postgres)
    }

    /// The limit that an omniscient operator would set: full goodput over the whole sweep
    /// from one to ten times the capacity needs 1.4 places for each worker and one more.
    pub(crate) fn oracle(self) -> usize {
        (1.4 * self.knee() as f64 + 1.0).ceil() as usize
    }

    /// What clients ask for.
    pub(crate) fn paths(self) -> Vec<Path> {
        let path = |path: &str, share, work| Path {
            path: path.to_owned(),
            share,
            work,
        };
        match self {
            Self::Workers | Self::Cpu | Self::Postgres => vec![path("/work", 1.0, 1.0)],
            Self::Pools => vec![path("/quick", 0.5, 1.0), path("/slow", 0.5, 1.0)],
            Self::Logins => vec![path("/page", 0.5, 1.0), path("/login", 0.5, 1.0)],
            Self::Mix => {
                let mean = FAST_SHARE * FAST.mean() + (1.0 - FAST_SHARE) * SLOW.mean();
                vec![
                    path("/fast", FAST_SHARE, FAST.mean() / mean),
                    path("/slow", 1.0 - FAST_SHARE, SLOW.mean() / mean),
                ]
            }
        }
    }

    /// How many times slower it becomes in a brownout. The 200 ms of the mix could not be
    /// answered within the deadline at any load then, so it has none.
    pub(crate) const fn brownout(self) -> Option<f64> {
        match self {
            Self::Workers | Self::Cpu | Self::Postgres => Some(8.0),
            Self::Mix | Self::Pools | Self::Logins => None,
        }
    }

    /// The application, which is as many times slower as `slowness` says.
    pub(crate) async fn app(
        self,
        place: &Place,
        slowness: watch::Receiver<f64>,
    ) -> Result<Router, sqlx::Error> {
        let work = Arc::new(Work {
            workers: Semaphore::new(WORKERS),
            random: Mutex::new(Rng::new(7)),
            slowness,
            spins: place.spins,
            pool: match &place.postgres_url {
                Some(url) => Some(pool(url).await?),
                None => None,
            },
        });
        if self == Self::Pools {
            return Ok(pools(&work));
        }
        Ok(match self {
            Self::Pools => unreachable!("it has an application of its own"),
            Self::Workers => Router::new().route(
                "/work",
                get(async |work: State<Arc<Work>>| work.on(WORK).await),
            ),
            Self::Cpu => {
                Router::new().route("/work", get(async |work: State<Arc<Work>>| work.spin()))
            }
            Self::Logins => Router::new()
                .route(
                    "/page",
                    get(async |work: State<Arc<Work>>| work.on(WORK).await),
                )
                .route("/login", get(async |work: State<Arc<Work>>| work.spin())),
            Self::Postgres => Router::new().route(
                "/work",
                get(async |work: State<Arc<Work>>| work.query().await),
            ),
            Self::Mix => Router::new()
                .route(
                    "/fast",
                    get(async |work: State<Arc<Work>>| work.on(FAST).await),
                )
                .route(
                    "/slow",
                    get(async |work: State<Arc<Work>>| work.on(SLOW).await),
                ),
        }
        .with_state(work))
    }
}

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

const FAST: Dist = Dist::Lognormal(0.002, 0.2);
const SLOW: Dist = Dist::Lognormal(0.200, 0.2);
/// Nine of ten requests are quick, as in most services.
const FAST_SHARE: f64 = 0.9;

async fn pool(url: &str) -> Result<PgPool, sqlx::Error> {
    let connections = u32::try_from(WORKERS).unwrap_or(u32::MAX);
    PgPoolOptions::new()
        .min_connections(connections)
        .max_connections(connections)
        .connect(url)
        .await
}

/// Workers of the quick route and of the slow one: some hundreds of requests a second of the
/// one, and so many of the other that a share of them means something.
const QUICK_WORKERS: usize = 4;
const SLOW_WORKERS: usize = 32;

/// Two routes on workers of their own.
fn pools(work: &Arc<Work>) -> Router {
    let route = |name: &str, workers, takes| {
        let workers = Arc::new(Semaphore::new(workers));
        let dependency = Dependency::builder(name).build();
        let dependency = dependency.expect("the name is valid");
        let work = Arc::clone(work);
        get(move || async move {
            let call = async {
                let _worker = workers.acquire().await?;
                tokio::time::sleep(Duration::from_secs_f64(work.draw(takes))).await;
                Ok::<_, tokio::sync::AcquireError>(())
            };
            match dependency.call(call).await {
                Ok(()) => StatusCode::OK,
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
            }
        })
    };
    Router::new()
        .route("/quick", route("quick", QUICK_WORKERS, FAST))
        .route("/slow", route("slow", SLOW_WORKERS, SLOW))
}

struct Work {
    workers: Semaphore,
    random: Mutex<Rng>,
    slowness: watch::Receiver<f64>,
    spins: u64,
    pool: Option<PgPool>,
}

impl Work {
    fn draw(&self, work: Dist) -> f64 {
        let mut random = self.random.lock().expect("nobody panics with it");
        work.draw(&mut random) * *self.slowness.borrow()
    }

    async fn on(&self, work: Dist) -> StatusCode {
        let Ok(_worker) = self.workers.acquire().await else {
            return StatusCode::INTERNAL_SERVER_ERROR;
        };
        tokio::time::sleep(Duration::from_secs_f64(self.draw(work))).await;
        StatusCode::OK
    }

    fn spin(&self) -> StatusCode {
        let times = *self.slowness.borrow();
        spin((self.spins as f64 * times) as u64);
        StatusCode::OK
    }

    async fn query(&self) -> StatusCode {
        let Some(pool) = &self.pool else {
            return StatusCode::INTERNAL_SERVER_ERROR;
        };
        let slept = sqlx::query("select pg_sleep($1)")
            .bind(self.draw(WORK))
            .execute(pool)
            .await;
        match slept {
            Ok(_) => StatusCode::OK,
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Computes something that the compiler cannot foresee.
pub(crate) fn spin(rounds: u64) {
    let mut word = std::hint::black_box(rounds | 1);
    for _ in 0..rounds {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
    }
    std::hint::black_box(word);
}
