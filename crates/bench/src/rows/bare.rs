//! A service that answers at once, as the base of what guards it.
//!
//! A guard is used as a client's stack is: cloned for each request, made ready, called.

use std::{convert::Infallible, future::Ready, pin::pin, task::Poll};

use futures_util::FutureExt;
use http::{Request, Response};
use tokio::runtime::{Builder, Runtime};
use tower::Service;

use super::{Bench, Row};

pub(crate) const BARE: &str = "service";

pub(crate) const ROWS: &[Row] = &[Row::new(BARE, "-", || {
    Each::call(Answers, |service: &Answers| {
        std::hint::black_box(ask(*service)).unwrap_or_else(|never| match never {});
    })
})];

/// Answers 200 without a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answers;

impl Service<Request<()>> for Answers {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        std::hint::black_box(request);
        std::future::ready(Ok(Response::new(())))
    }
}

/// Makes one call and returns how it ended.
pub(crate) fn ask<S: Service<Request<()>>>(service: S) -> Result<S::Response, S::Error> {
    let mut call = pin!(tower::ServiceExt::oneshot(service, Request::new(())));
    match call.as_mut().now_or_never() {
        Some(answer) => answer,
        // Another thread holds a lock of the guard, which may wait for it with a timer.
        None => RUNTIME.with(|runtime| runtime.block_on(call)),
    }
}

/// Something shared, and what is done with it each time.
pub(crate) struct Each<T> {
    shared: T,
    call: fn(&T),
}

impl<T: Clone + Send + Sync + 'static> Each<T> {
    pub(crate) fn call(shared: T, call: fn(&T)) -> Box<dyn Bench> {
        Box::new(Self { shared, call })
    }
}

impl<T: Clone + Send + Sync + 'static> Bench for Each<T> {
    fn run(&self, calls: u32) {
        // A thread's own handle, as a connection has it.
        let own = self.shared.clone();
        RUNTIME.with(|runtime| {
            let _entered = runtime.enter();
            for _ in 0..calls {
                (self.call)(&own);
            }
        });
    }

    fn again(&self) -> Box<dyn Bench> {
        Self::call(self.shared.clone(), self.call)
    }
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime starts");
}
