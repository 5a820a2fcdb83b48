//! Limiters around a service that answers at once: admitted, and refused.
//!
//! The floors are no peers: what the least limiter can cost that shares one counter, and
//! what one costs whose counters are static and striped. Peers are as their documentation
//! shows, behind tower's `LoadShed` where they queue. `gate-…` rows are core alone: what
//! deciding costs before anything is rendered. tower-resilience's bulkhead refuses after a
//! tick of the clock, a millisecond, which is a matter of waiting; it has no such row.

use std::{
    any::Any,
    convert::Infallible,
    future::{Pending, Ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt, future::Either};
use http::{Request, Response};
use little_loadshedder::LoadShedLayer;
use steadfast::{Explain, Shed, ShedLayer};
use steadfast_core::{Ask, Decision, Local, Outcome, ShedGate, ShedSettings};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer};
use tower_resilience_adaptive::{AdaptiveLimiterLayer, Aimd, Gradient2, Vegas};
use tower_resilience_bulkhead::BulkheadLayer;

use super::{
    Bench, Row,
    bare::{Each, ask},
};
use crate::{clock, congestion};

const BASE: &str = "service-with-body";

const RESILIENCE: &str = "tower-resilience-adaptive";

pub(crate) const ROWS: &[Row] = &[
    Row::new(BASE, "-", || each(Body)),
    Row::new("floor-shared-atomic", "-", || each(Shared(Arc::default()))).over(BASE),
    Row::new("floor-static-striped", "-", || each(Striped)).over(BASE),
    Row::new("limit-steadfast-fixed", "steadfast", || {
        each(ours(Shed::fixed(ROOM)).layer(Body))
    })
    .over(BASE),
    Row::new("limit-steadfast-adaptive", "steadfast", || {
        each(ours(Shed::adaptive()).layer(Body))
    })
    .over(BASE),
    Row::new("limit-tower", "tower", || each(tower(ROOM as usize))).over(BASE),
    Row::new("limit-resilience-aimd", RESILIENCE, || {
        let aimd = Aimd::builder().build().expect("valid settings");
        each(AdaptiveLimiterLayer::new(aimd).layer(Body))
    })
    .over(BASE),
    Row::new("limit-resilience-vegas", RESILIENCE, || {
        let vegas = Vegas::builder().build().expect("valid settings");
        each(AdaptiveLimiterLayer::new(vegas).layer(Body))
    })
    .over(BASE),
    Row::new("limit-resilience-gradient2", RESILIENCE, || {
        let gradient = Gradient2::builder().build().expect("valid settings");
        each(AdaptiveLimiterLayer::new(gradient).layer(Body))
    })
    .over(BASE),
    Row::new(
        "limit-resilience-bulkhead",
        "tower-resilience-bulkhead",
        || {
            let bulkhead = BulkheadLayer::builder().max_concurrent_calls(ROOM as usize);
            let bulkhead = bulkhead.reject_when_full().build().expect("valid settings");
            each(bulkhead.layer(Body))
        },
    )
    .over(BASE),
    Row::new("limit-acc-gradient2", "tower-acc", || {
        let gradient = tower_acc::Gradient2::default();
        each(tower_acc::ConcurrencyLimitLayer::new(gradient).layer(Body))
    })
    .over(BASE),
    Row::new("limit-acc-vegas", "tower-acc", || {
        let vegas = tower_acc::Vegas::default();
        each(tower_acc::ConcurrencyLimitLayer::new(vegas).layer(Body))
    })
    .over(BASE),
    Row::new("limit-little", "little-loadshedder", || {
        each(LoadShedLayer::new(0.01, Duration::from_millis(100)).layer(Body))
    })
    .over(BASE),
    Row::new("limit-congestion-vegas", "congestion-limiter", || {
        each(congestion::vegas(Body))
    })
    .over(BASE),
    Row::new("limit-congestion-window", "congestion-limiter", || {
        each(congestion::windowed(Body))
    })
    .over(BASE),
    Row::new("limit-steadfast-refuses", "steadfast", || {
        full(ours(Shed::fixed(1)).layer(Body))
    })
    .over(BASE),
    Row::new("limit-tower-refuses", "tower", || full(tower(1))).over(BASE),
    Row::new("limit-resilience-aimd-refuses", RESILIENCE, || {
        let aimd = Aimd::builder().initial_limit(1).build();
        let aimd = AdaptiveLimiterLayer::new(aimd.expect("valid settings"));
        full(ServiceBuilder::new().load_shed().layer(aimd).service(Body))
    })
    .over(BASE),
    Row::new("limit-congestion-refuses", "congestion-limiter", || {
        full(congestion::fixed(Body, 1))
    })
    .over(BASE),
    Row::new("gate-admits", "steadfast", || {
        Each::call(gate(ROOM), |gate| {
            let admitted = ShedGate::admit(gate, Ask::new("/"), clock::now());
            let Decision::Admit(permit) = admitted else {
                unreachable!("nobody else is there")
            };
            permit.settle(Outcome::Done, clock::now());
        })
    }),
    Row::new("gate-refuses", "steadfast", || {
        let gate = gate(1);
        let held = ShedGate::admit(&gate, Ask::new("/"), clock::now());
        let calls = Each::call(gate, |gate| {
            let refused = ShedGate::admit(gate, Ask::new("/"), clock::now());
            assert!(matches!(std::hint::black_box(refused), Decision::Refuse(_)));
        });
        Box::new(Full {
            calls,
            held: Arc::new(Mutex::new(Box::new(held))),
        })
    }),
];

/// A limit that two threads do not reach.
const ROOM: u32 = 1_000;

/// What [`Body`] answers with.
type Answer = Either<
    Ready<Result<Response<String>, Infallible>>,
    Pending<Result<Response<String>, Infallible>>,
>;

/// Answers 200 with an empty body, or never if the path is [`NEVER`].
#[derive(Clone, Copy, Debug)]
struct Body;

impl Service<Request<()>> for Body {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        if std::hint::black_box(request).uri().path() == NEVER {
            return Either::Right(std::future::pending());
        }
        Either::Left(std::future::ready(Ok(Response::new(String::new()))))
    }
}

const NEVER: &str = "/never";

fn ours(shed: Shed) -> ShedLayer {
    ShedLayer::new(shed, Explain::default()).expect("valid settings")
}

fn gate(limit: u32) -> Local<ShedGate> {
    let settings = ShedSettings::fixed(limit);
    Local::new(ShedGate::new(&settings, 7, clock::now()).expect("valid settings"))
}

fn tower(limit: usize) -> tower::load_shed::LoadShed<tower::limit::ConcurrencyLimit<Body>> {
    let limit = ConcurrencyLimitLayer::new(limit);
    ServiceBuilder::new().load_shed().layer(limit).service(Body)
}

/// Calls that are admitted.
fn each<S>(service: S) -> Box<dyn Bench>
where
    S: Service<Request<()>> + Clone + Send + Sync + 'static,
    S::Error: std::fmt::Debug,
{
    Each::call(service, |service: &S| {
        drop(std::hint::black_box(
            ask(service.clone()).expect("there is room"),
        ));
    })
}

/// Calls that are refused: one that never ends holds the only place.
fn full<S>(service: S) -> Box<dyn Bench>
where
    S: Service<Request<()>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Response: Send,
    S::Error: Send,
{
    let request = Request::get(NEVER).body(()).expect("a valid request");
    let mut held = service.clone().oneshot(request).boxed();
    assert!((&mut held).now_or_never().is_none(), "it holds its place");
    let calls = Each::call(service, |service: &S| {
        drop(std::hint::black_box(ask(service.clone())));
    });
    Box::new(Full {
        calls,
        held: Arc::new(Mutex::new(Box::new(held))),
    })
}

/// Calls, and what must live for as long.
struct Full {
    calls: Box<dyn Bench>,
    held: Arc<Mutex<Box<dyn Any + Send>>>,
}

impl Bench for Full {
    fn run(&self, calls: u32) {
        self.calls.run(calls);
    }

    fn again(&self) -> Box<dyn Bench> {
        Box::new(Self {
            calls: self.calls.again(),
            held: Arc::clone(&self.held),
        })
    }
}

/// The least that a limiter with one shared counter does.
#[derive(Clone, Debug)]
struct Shared(Arc<AtomicU32>);

impl Service<Request<()>> for Shared {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Counted<Answer, Arc<AtomicU32>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<()>>::poll_ready(&mut Body, cx)
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        // Relaxed: a floor publishes nothing.
        assert!(self.0.fetch_add(1, Ordering::Relaxed) < ROOM);
        Counted(Body.call(request), Arc::clone(&self.0))
    }
}

/// A call and the counter it is on until it ends.
struct Counted<F, C: AsRef<AtomicU32>>(F, C);

impl<F: Future + Unpin, C: AsRef<AtomicU32> + Unpin> Future for Counted<F, C> {
    type Output = F::Output;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.0.poll_unpin(cx)
    }
}

impl<F, C: AsRef<AtomicU32>> Drop for Counted<F, C> {
    fn drop(&mut self) {
        self.1.as_ref().fetch_sub(1, Ordering::Relaxed);
    }
}

/// The least that a limiter with static, striped counters does. It keeps no limit: with
/// stripes alone that takes more than this.
#[derive(Clone, Copy, Debug)]
struct Striped;

impl Service<Request<()>> for Striped {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Counted<Answer, Stripe>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<()>>::poll_ready(&mut Body, cx)
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let stripe = MINE.with(|mine| *mine);
        stripe.as_ref().fetch_add(1, Ordering::Relaxed);
        Counted(Body.call(request), stripe)
    }
}

#[derive(Clone, Copy)]
struct Stripe(&'static Line);

/// A counter on a cache line of its own.
#[repr(align(128))]
struct Line(AtomicU32);

static LINES: [Line; 16] = [const { Line(AtomicU32::new(0)) }; 16];
static NEXT: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static MINE: Stripe = {
        let index = NEXT.fetch_add(1, Ordering::Relaxed) as usize;
        Stripe(&LINES[index % LINES.len()])
    };
}

impl AsRef<AtomicU32> for Stripe {
    fn as_ref(&self) -> &AtomicU32 {
        &self.0.0
    }
}
