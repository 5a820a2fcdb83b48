//! A real service: a guarded application on a real port, on a runtime of its own.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use axum::{Router, extract::Request, response::IntoResponse};
use steadfast::{AxumGuard, Control, Guard, Guarded};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tower_layer::Layer;
use tower_service::Service as TowerService;

use crate::{Answer, get, wait_for, wait_until};

/// Threads of a service's runtime: as many as can show that one is not enough.
const WORKERS: usize = 2;

/// What `Guard::serve` takes.
pub trait Application:
    TowerService<Request, Response: IntoResponse, Error: Into<Infallible>> + Clone + Send + 'static
{
}

impl<S> Application for S where
    S: tower_service::Service<Request, Response: IntoResponse, Error: Into<Infallible>>
        + Clone
        + Send
        + 'static
{
}

/// A service that runs until it is dropped or has drained.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    control: Control,
    ended: Arc<AtomicBool>,
    served: mpsc::Receiver<io::Result<()>>,
    runtime: Option<Runtime>,
}

impl Service {
    /// Serves an application behind a guard.
    ///
    /// # Panics
    /// If there is no port, or the guard cannot be started.
    #[must_use]
    pub fn start(guard: &Guard, app: Router) -> Self {
        Self::start_in(new_runtime(), guard, guard.protect(app))
    }

    /// Serves what `make` makes; it runs on the service's runtime, as `main` would, so it
    /// can make pools.
    ///
    /// # Panics
    /// If there is no port, or the guard cannot be started.
    #[must_use]
    pub fn start_with(make: impl FnOnce() -> (Guard, Guarded)) -> Self {
        let runtime = new_runtime();
        let (guard, app) = {
            let _inside = runtime.enter();
            make()
        };
        Self::start_in(runtime, &guard, app)
    }

    /// Serves an application with a layer outside its guard.
    ///
    /// # Panics
    /// If there is no port, or the guard cannot be started.
    #[must_use]
    pub fn start_layered<L>(guard: &Guard, app: Router, layer: L) -> Self
    where
        L: Layer<AxumGuard<Router>>,
        L::Service: Application,
        <L::Service as TowerService<Request>>::Future: Send,
    {
        Self::start_in(new_runtime(), guard, guard.protect(app).layer(layer))
    }

    fn start_in<S>(runtime: Runtime, guard: &Guard, app: Guarded<S>) -> Self
    where
        S: Application,
        S::Future: Send,
    {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("the loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let control = guard.control();
        let (done, served) = mpsc::channel();
        let ended = Arc::new(AtomicBool::new(false));
        let has_ended = Arc::clone(&ended);
        let guard = guard.clone();
        runtime.spawn(async move {
            let result = guard.serve(listener, app).await;
            has_ended.store(true, Ordering::Release);
            let _ = done.send(result.map(drop));
        });
        let service = Self {
            address,
            control,
            ended,
            served,
            runtime: Some(runtime),
        };
        wait_until("the start", || {
            assert!(!service.has_ended(), "{:?}", service.served.try_recv());
            service.control.phase().is_some()
        });
        service
    }

    /// Returns where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the operator's end.
    #[must_use]
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// Begins to leave, as a signal would make it.
    ///
    /// # Panics
    /// If it has been shut down.
    pub fn begin_drain(&self) {
        let _inside = self.runtime.as_ref().expect("until the drop").enter();
        self.control.begin_drain("the test");
    }

    /// Runs something on the service's runtime.
    ///
    /// # Panics
    /// If it has been shut down.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let runtime = self.runtime.as_ref().expect("until the drop");
        runtime.block_on(future)
    }

    /// Wakes a thread of the runtime that has nothing to do. A thread that blocks may have
    /// been the last to look for connections, and then no other looks before it is woken.
    ///
    /// # Panics
    /// If it has been shut down.
    pub fn wake(&self) {
        let runtime = self.runtime.as_ref().expect("until the drop");
        drop(runtime.spawn(async {}));
    }

    /// Whether `serve` has returned.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Waits until `/ready/` answers with this status and line.
    ///
    /// # Panics
    /// If it never does.
    #[track_caller]
    pub fn wait_ready(&self, status: u16, line: &str) -> Answer {
        wait_for(
            line,
            || get(self.address, "/ready/"),
            |answer| answer.status == status && answer.body.trim_end() == line,
        )
    }

    /// Waits until it should get traffic.
    ///
    /// # Panics
    /// If it never should.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        self.wait_ready(200, "ready");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A handler may be blocked for good; it must not block the test as well.
            runtime.shutdown_background();
        }
    }
}

fn new_runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(WORKERS).enable_all();
    builder.build().expect("a process may have threads")
}
