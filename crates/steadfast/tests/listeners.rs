//! One guard, any service, several listeners: each serves its own application, and all leave
//! together.

#![cfg(feature = "axum")]

mod common;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use bytes::Bytes;
use common::{PATIENCE, ask, fetch, get as request_for, soon, until};
use http::{Request, Response};
use http_body_util::Full;
use steadfast::{Body, Drain, Guard, GuardBuilder, Phase, Shed};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::service_fn;

fn builder() -> GuardBuilder {
    let drain = Drain::default()
        .lame_duck_max(Duration::ZERO)
        .grace(PATIENCE);
    Guard::builder()
        .without_signals()
        .drain(drain.idle_linger(Duration::from_millis(100)))
}

async fn hello(_: Request<Body>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

#[tokio::test]
async fn several_listeners_serve_and_leave_together() {
    let guard = builder().build().expect("valid");
    let control = guard.control();
    let public = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let internal = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (at, inside) = (
        public.local_addr().expect("bound"),
        internal.local_addr().expect("bound"),
    );
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        "done"
    };
    let app = Router::new().route("/slow", get(slow));
    let server = guard
        .server()
        .listen(public, guard.protect(app))
        .listen(internal, guard.protect_service(service_fn(hello)));
    #[cfg(unix)]
    let directory = tempfile::tempdir().expect("a directory");
    #[cfg(unix)]
    let path = directory.path().join("socket");
    #[cfg(unix)]
    let server = {
        let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
        server.listen(listener, guard.protect_service(service_fn(hello)))
    };
    let served = tokio::spawn(server.run());
    until("the start", || control.phase() == Some(Phase::Ready)).await;
    assert_eq!(fetch(inside, request_for("/")).await.body, "hello");
    assert_eq!(fetch(at, request_for("/")).await.status, 404);
    for address in [at, inside] {
        assert_eq!(fetch(address, request_for("/ready/")).await.status, 200);
    }
    #[cfg(unix)]
    {
        let mut socket = tokio::net::UnixStream::connect(&path)
            .await
            .expect("connected");
        let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        socket.write_all(request).await.expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("text");
        assert!(answer.ends_with("hello"), "{answer}");
    }
    let running = tokio::spawn(fetch(at, request_for("/slow")));
    let shedder = control.shedder().clone();
    until("it to run", || shedder.in_flight() == 1).await;
    control.begin_drain("a test");
    assert_eq!(running.await.expect("no panic").body, "done");
    let report = soon("the report", served).await.expect("no panic");
    let report = report.expect("served");
    assert!(report.is_clean() && !report.forced, "{report}");
    for address in [at, inside] {
        let late = TcpStream::connect(address).await;
        assert!(late.is_err(), "every listener is closed");
    }
}

/// Goal: a service that is no Router has probes, gates, a limit on its time, and explained
/// refusals; its errors are answers.
#[tokio::test(start_paused = true)]
async fn any_service_is_guarded() {
    let guard = builder()
        .shed(Shed::fixed(1))
        .request_timeout(Duration::from_secs(1))
        .build()
        .expect("valid");
    let _running = guard.start().expect("started");
    let service = service_fn(|request: Request<Body>| async move {
        match request.uri().path() {
            "/fails" => Err(std::io::Error::other("no more")),
            "/hangs" => std::future::pending().await,
            _ => Ok(Response::new(Full::from("hello"))),
        }
    });
    let app = guard.protect_service(service);
    for (path, status) in [
        ("/", 200),
        ("/fails", 500),
        ("/hangs", 504),
        ("/ready/", 200),
    ] {
        assert_eq!(ask(&app, request_for(path)).await.status, status, "{path}");
    }
    assert_eq!(guard.control().shedder().in_flight(), 0);
    let app_too = app.clone();
    let hangs = tokio::spawn(async move { ask(&app_too, request_for("/hangs")).await });
    let shedder = guard.control().shedder().clone();
    until("it to hang", || shedder.in_flight() == 1).await;
    let refused = ask(&app, request_for("/")).await;
    assert_eq!(
        (refused.status.as_u16(), refused.cause()),
        (503, "overloaded")
    );
    assert_eq!(hangs.await.expect("no panic").status, 504);
}

/// Goal: whoever looks at each socket still has the end in which no connection is lost, those
/// that were in the kernel's queue included.
#[tokio::test]
async fn a_tapped_listener_loses_no_connection_of_its_queue() {
    const QUEUED: usize = 20;
    let guard = builder().build().expect("valid");
    let control = guard.control();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("bound");
    let tapped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tapped);
    let tap = move |socket: &mut TcpStream| {
        socket.set_ttl(16).expect("a socket of TCP");
        count.fetch_add(1, Ordering::Relaxed);
    };
    let app = guard.protect_service(service_fn(hello));
    let served = tokio::spawn(guard.server().listen_tapped(listener, tap, app).run());
    until("the start", || control.phase() == Some(Phase::Ready)).await;
    // This thread is the only one, so nobody accepts meanwhile.
    let clients: Vec<_> = (0..QUEUED)
        .map(|_| {
            let mut client = std::net::TcpStream::connect(at).expect("in the queue");
            let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
            std::io::Write::write_all(&mut client, request).expect("sent");
            client.set_nonblocking(true).expect("a socket");
            client
        })
        .collect();
    control.begin_drain("a test");
    for client in clients {
        let mut client = TcpStream::from_std(client).expect("in a runtime");
        let mut answer = String::new();
        let read = client.read_to_string(&mut answer);
        soon("an answer", read).await.expect("not reset");
        assert!(answer.ends_with("hello"), "{answer}");
    }
    soon("the end", served)
        .await
        .expect("no panic")
        .expect("well");
    assert_eq!(tapped.load(Ordering::Relaxed), QUEUED);
}

/// Serves on the thread of the test; it has answered.
#[cfg(target_os = "linux")]
async fn on_this_thread(
    guard: Guard,
) -> (
    std::net::SocketAddr,
    tokio::task::JoinHandle<std::io::Result<steadfast::DrainReport>>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let app = guard.protect_service(service_fn(hello));
    let served = tokio::spawn(async move { guard.serve(listener, app).await });
    assert_eq!(fetch(address, request_for("/")).await.body, "hello");
    (address, served)
}

/// Goal: clients that come all at once wait in the kernel's queue, and not for a second because
/// it was full.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_crowd_waits_in_the_queue_while_nobody_accepts() {
    let guard = builder().build().expect("valid");
    let control = guard.control();
    let (address, served) = on_this_thread(guard).await;
    // On the thread that serves, so that nothing is accepted meanwhile.
    let connect = |number| {
        let connected = std::net::TcpStream::connect_timeout(&address, PATIENCE);
        connected.unwrap_or_else(|error| panic!("connection {number}: {error}"))
    };
    let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("Linux");
    let allowed: usize = allowed.trim().parse().expect("a number");
    // std and tokio ask for 128.
    let crowd: Vec<_> = (0..allowed.min(200)).map(connect).collect();
    control.begin_drain("a test");
    drop(crowd);
    let ended = soon("the end", served).await;
    ended.expect("served").expect("it leaves");
}

/// Goal: who asks for a short queue has one, whatever the listener was made with.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_queue_is_as_long_as_it_was_set() {
    let short = steadfast::Connections::default().backlog(1);
    let guard = builder().connections(short).build().expect("valid");
    let control = guard.control();
    let (address, served) = on_this_thread(guard).await;
    // On the thread that serves, so that nothing is accepted meanwhile. Linux lets one more wait
    // than it was asked for.
    let moment = Duration::from_millis(100);
    let crowd: Vec<_> = (0..8)
        .map(|_| std::net::TcpStream::connect_timeout(&address, moment))
        .collect();
    let waiting = crowd.iter().filter(|it| it.is_ok()).count();
    assert_eq!(waiting, 2, "{crowd:?}");
    control.begin_drain("a test");
    drop(crowd);
    let ended = soon("the end", served).await;
    ended.expect("served").expect("it leaves");
}
