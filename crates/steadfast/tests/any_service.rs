//! A service of no framework behind the guard: what is here uses nothing of axum, so it also
//! builds and holds where axum is left out.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use steadfast::{Body, Drain, Guard, GuardBuilder, Shed, peer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tower::{Layer, ServiceExt, service_fn};

/// Longest wait for what should come at once; no claim.
const PATIENCE: Duration = Duration::from_secs(30);

fn builder() -> GuardBuilder {
    let drain = Drain::default().lame_duck_max(Duration::ZERO);
    Guard::builder()
        .without_signals()
        .shed(Shed::fixed(1))
        .drain(drain.idle_linger(Duration::from_millis(100)))
}

/// Asks over a connection of its own, and reads to the end.
async fn ask(mut socket: impl AsyncReadExt + AsyncWriteExt + Unpin, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, socket.read_to_string(&mut answer)).await;
    read.expect("an answer").expect("text");
    answer
}

/// Goal: accept loop, probes, refusals, the peer's address and the drain's report, at a TCP
/// port and at a Unix socket.
#[tokio::test]
async fn a_plain_service_is_served_refused_and_drained() {
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, waits) = (Arc::clone(&entered), Arc::clone(&leave));
    let service = service_fn(move |request: Request<Body>| {
        let (told, waits) = (Arc::clone(&told), Arc::clone(&waits));
        async move {
            if request.uri().path() == "/slow" {
                told.notify_one();
                waits.notified().await;
            }
            let who = peer::<SocketAddr>(request.extensions());
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(format!("{who:?}"))))
        }
    });
    let guard = builder().build().expect("valid");
    let control = guard.control();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("bound");
    let server = guard
        .server()
        .listen(listener, guard.protect_service(service.clone()));
    #[cfg(unix)]
    let directory = tempfile::tempdir().expect("a directory");
    #[cfg(unix)]
    let server = {
        let socket = tokio::net::UnixListener::bind(directory.path().join("it")).expect("a socket");
        server.listen(socket, guard.protect_service(service))
    };
    let served = tokio::spawn(server.run());

    let socket = TcpStream::connect(at).await.expect("connected");
    let who = socket.local_addr().expect("connected");
    let answer = ask(socket, "/").await;
    assert!(answer.ends_with(&format!("Some({who})")), "{answer}");
    #[cfg(unix)]
    {
        let socket = tokio::net::UnixStream::connect(directory.path().join("it")).await;
        let answer = ask(socket.expect("connected"), "/").await;
        assert!(answer.ends_with("None"), "{answer}");
    }

    let slow = TcpStream::connect(at).await.expect("connected");
    let slow = tokio::spawn(ask(slow, "/slow"));
    tokio::time::timeout(PATIENCE, entered.notified())
        .await
        .expect("entered");
    let socket = TcpStream::connect(at).await.expect("connected");
    let refused = ask(socket, "/").await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("cause=overloaded;rule=limit"), "{refused}");
    let socket = TcpStream::connect(at).await.expect("connected");
    let probed = ask(socket, "/ready/").await;
    assert!(probed.starts_with("HTTP/1.1 200"), "{probed}");

    control.begin_drain("a test");
    leave.notify_one();
    let answer = slow.await.expect("no panic");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let report = tokio::time::timeout(PATIENCE, served).await;
    let report = report.expect("a report").expect("no panic");
    let report = report.expect("served");
    assert!(report.is_clean(), "{report}");
}

/// Goal: the guard is a layer like any other, around a service with bodies of its own.
#[tokio::test(start_paused = true)]
async fn the_layer_guards_a_stack_with_bodies_of_its_own() {
    let guard = builder().build().expect("valid");
    let _running = guard.start().expect("started");
    let service = guard
        .layer()
        .layer(service_fn(|request: Request<Full<Bytes>>| async move {
            if request.uri().path() == "/hangs" {
                std::future::pending::<()>().await;
            }
            let body = request.into_body().collect().await?.to_bytes();
            Ok::<_, Infallible>(Response::new(Full::from(body)))
        }));
    let request = |path: &str| {
        let request = Request::post(path).body(Full::from(Bytes::from_static(b"echo")));
        request.expect("valid")
    };
    let Ok(answer) = service.clone().oneshot(request("/")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let Ok(body) = answer.into_body().collect().await;
    assert_eq!(body.to_bytes(), "echo");

    let hangs = tokio::spawn(service.clone().oneshot(request("/hangs")));
    tokio::task::yield_now().await;
    let Ok(refused) = service.clone().oneshot(request("/")).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    hangs.abort();
    assert!(hangs.await.is_err());
    let Ok(answer) = service.oneshot(request("/")).await;
    assert_eq!(answer.status(), StatusCode::OK);
}
