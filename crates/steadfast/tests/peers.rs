//! Peers that would hold a server for ever, and what becomes of them: at the deadline of a
//! drain, and without one. Over real sockets, as for the races.

#![cfg(feature = "axum")]

mod common;

use common::{
    PATIENCE, TOKEN,
    frames::{Frames, RST_STREAM, SETTINGS},
    leaver::{GET, SECOND, Server, at_once, read_all, read_to, send, short},
    soon, until,
};
use steadfast::{Connections, Guard, Phase, RouteClass, WhenDraining};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// Each awkward peer, what it is cut in, and what it sends. The drain ends when its grace is
/// over, and the report names the one.
#[tokio::test]
async fn awkward_peers_are_cut_at_the_deadline_and_named() {
    let upload = "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nhalf";
    for (bytes, answer, reason) in [
        ("GET / HTTP/1.1\r\nhost: te", "", "handshake"),
        ("PRI * HTTP/2.0\r\n", "", "handshake"),
        (upload, "", "request-body"),
        ("GET /hang HTTP/1.1\r\nhost: test\r\n\r\n", "", "handler"),
        (
            "GET /huge HTTP/1.1\r\nhost: test\r\n\r\n",
            "\r\n\r\n",
            "body",
        ),
        (
            "GET /whole HTTP/1.1\r\nhost: test\r\n\r\n",
            "\r\n\r\n",
            "body",
        ),
    ] {
        let server = Server::start(short()).await;
        let mut stream = server.connect().await;
        send(&mut stream, bytes).await;
        read_to(&mut stream, answer).await;
        server.leave();
        let report = server.report().await;
        let cut: Vec<_> = report
            .cut
            .by_reason()
            .into_iter()
            .filter(|it| it.1 > 0)
            .collect();
        assert_eq!(cut, [(reason, 1)], "{report}");
        assert_eq!(report.stuck[0].reason, reason, "{report}");
        let path = bytes.split(' ').nth(1).filter(|_| reason != "handshake");
        assert_eq!(&*report.stuck[0].route, path.unwrap_or(""), "{report}");
        assert!(report.forced && report.draining >= SECOND, "{report}");
        assert_eq!(report.exit_status() == 0, reason == "handshake", "{report}");
        drop(stream);
    }
}

/// Goal: an endless event stream is ended in order in the first half of the grace, without
/// the handler's help.
#[tokio::test]
async fn server_sent_events_end_with_their_last_chunk() {
    let server = Server::start(at_once().grace(4 * SECOND)).await;
    let mut stream = server.connect().await;
    send(&mut stream, "GET /events HTTP/1.1\r\nhost: test\r\n\r\n").await;
    read_to(&mut stream, "data: 3\n\n").await;
    server.leave();
    let rest = read_all(&mut stream).await;
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "{rest:?}");
    drop(stream);
    let report = server.report().await;
    assert!(report.is_clean() && !report.forced, "{report}");
}

/// Goal: peers that send or read too slowly are closed while nobody leaves.
#[tokio::test]
async fn slow_peers_are_closed_without_a_drain() {
    let limits = Connections::default()
        .first_request(SECOND / 10)
        .header_read(SECOND / 10)
        .idle(SECOND / 10)
        .write_stall(SECOND / 10);
    let server = Server::with(at_once(), limits).await;
    for bytes in [
        "",
        "GET / HT",
        "PRI * HT",
        GET,
        "GET /huge HTTP/1.1\r\nhost: test\r\n\r\n",
    ] {
        let mut stream = server.connect().await;
        send(&mut stream, bytes).await;
        if bytes.contains("huge") {
            // Reads nothing until the server has given up; then there is an end.
            let shedder = server.control.shedder().clone();
            until("the body to be dropped", || shedder.in_flight() == 1).await;
            until("the body to be dropped", || shedder.in_flight() == 0).await;
        }
        let mut all = Vec::new();
        let _ = soon("the close", stream.read_to_end(&mut all)).await;
    }
    server.leave();
    server.report().await;
}

/// A server that takes one connection: that one, which was answered, and another that asks.
async fn full() -> (Server, TcpStream, TcpStream) {
    let server = Server::with(at_once(), Connections::default().max(1)).await;
    let mut first = server.connect().await;
    send(&mut first, GET).await;
    read_to(&mut first, "hello").await;
    let mut second = server.connect().await;
    send(&mut second, GET).await;
    (server, first, second)
}

/// Goal: no more connections than allowed are accepted; the next one is as soon as there is
/// room.
#[tokio::test]
async fn connections_above_the_maximum_wait_for_room() {
    let (server, mut first, mut second) = full().await;
    let shedder = server.control.shedder().clone();
    let admitted = shedder.snapshot().admitted;
    send(&mut first, GET).await;
    read_to(&mut first, "hello").await;
    assert_eq!(
        shedder.snapshot().admitted,
        admitted + 1,
        "the second waits"
    );
    drop(first);
    read_to(&mut second, "hello").await;
    drop(second);
    server.leave();
    server.report().await;
}

/// Goal: one that has long been idle gives way to one that waits, in order.
#[tokio::test]
async fn an_idle_connection_gives_way_where_there_is_no_room() {
    let (server, mut first, mut second) = full().await;
    assert_eq!(read_all(&mut first).await, "", "closed in order");
    drop(first);
    read_to(&mut second, "hello").await;
    drop(second);
    server.leave();
    server.report().await;
}

/// Goal: an event stream of a route that says so is waited for, and is cut only at the end.
#[tokio::test]
async fn a_route_may_say_that_its_streams_finish() {
    let class = RouteClass::new().when_draining(WhenDraining::Finish);
    let builder = Guard::builder().drain(short()).route("/events", class);
    let server = Server::of(builder).await;
    let mut stream = server.connect().await;
    send(&mut stream, "GET /events HTTP/1.1\r\nhost: test\r\n\r\n").await;
    read_to(&mut stream, "data: 3\n\n").await;
    server.leave();
    let report = server.report().await;
    assert_eq!((report.cut.stream, report.cut.total()), (1, 1), "{report}");
    assert!(report.forced, "{report}");
}

/// Goal: a route may also say that any answer of its leaves.
#[tokio::test]
async fn a_route_may_say_that_its_answers_leave() {
    let class = RouteClass::new().when_draining(WhenDraining::Leave);
    let drain = at_once().grace(4 * SECOND);
    let server = Server::of(Guard::builder().drain(drain).route("/trickle", class)).await;
    let mut stream = server.connect().await;
    send(&mut stream, "GET /trickle HTTP/1.1\r\nhost: test\r\n\r\n").await;
    read_to(&mut stream, "3\n").await;
    server.leave();
    assert!(read_all(&mut stream).await.ends_with("\n\r\n0\r\n\r\n"));
    drop(stream);
    assert!(server.report().await.is_clean());
}

/// Goal: over HTTP/2, streams that run finish, their client hears GOAWAY, and the report
/// counts the connection as told.
#[tokio::test]
async fn http2_streams_finish_and_the_connection_is_told() {
    let server = Server::start(at_once()).await;
    let mut client = common::http2(server.address).await;
    let request = |path: &str| {
        let uri = format!("http://test{path}");
        let request = http::Request::get(uri).body(http_body_util::Full::default());
        request.expect("a request")
    };
    let slow = client.send_request(request("/slow"));
    let shedder = server.control.shedder().clone();
    until("it to run", || shedder.in_flight() == 1).await;
    server.leave();
    let answer = soon("the answer", slow).await.expect("an answer");
    assert_eq!(common::Answer::read(answer).await.body, "done");
    soon("the end of the connection", async {
        while client.ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let report = server.report().await;
    assert_eq!(
        (report.closed.told_by_goaway, report.served),
        (1, 1),
        "{report}"
    );
    assert!(report.is_clean() && !report.forced, "{report}");
}

/// Goal: a handler that never ends over HTTP/2 is cut in the handler, and nobody else's
/// stream with it before the deadline.
#[tokio::test]
async fn an_http2_handler_that_never_ends_is_cut_at_the_deadline() {
    let server = Server::start(short()).await;
    let mut client = common::http2(server.address).await;
    let request = http::Request::get("http://test/hang").body(http_body_util::Full::default());
    let hanging = tokio::spawn(client.send_request(request.expect("a request")));
    let shedder = server.control.shedder().clone();
    until("it to run", || shedder.in_flight() == 1).await;
    server.leave();
    let report = server.report().await;
    assert_eq!((report.cut.handler, report.cut.total()), (1, 1), "{report}");
    assert_eq!(&*report.stuck[0].route, "/hang");
    assert!(soon("the error", hanging).await.expect("no panic").is_err());
    until("its permit to come back", || shedder.in_flight() == 0).await;
}

/// Goal: an order with the token begins the drain, by POST and by the GET that a preStop
/// hook can send; without the token it does not. The state is told.
#[tokio::test]
async fn an_authorised_request_begins_the_drain() {
    for order in ["POST /why503/drain", "GET /why503/drain?begin"] {
        let server = Server::start(at_once().lame_duck_max(PATIENCE).lame_duck_min(PATIENCE)).await;
        let ask = |line: String, token: bool| async move {
            let mut stream = TcpStream::connect(server.address)
                .await
                .expect("a connection");
            let token = if token {
                format!("authorization: Bearer {TOKEN}\r\n")
            } else {
                String::new()
            };
            let head = format!("{line} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{token}\r\n");
            send(&mut stream, head).await;
            read_all(&mut stream).await
        };
        let refused = ask(order.to_owned(), false).await;
        assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
        assert_eq!(server.control.phase(), Some(Phase::Ready));
        let taken = ask(order.to_owned(), true).await;
        assert!(taken.starts_with("HTTP/1.1 202"), "{taken}");
        assert_eq!(server.control.phase(), Some(Phase::LameDuck));
        let state = ask("GET /why503/drain".to_owned(), true).await;
        assert!(state.contains("\"leaving\":true"), "{state}");
        server.control.hurry();
        server.control.reached(Phase::Stopped).await;
    }
}

/// Goal: dropping `serve` ends what it served, and nothing is left behind.
#[tokio::test]
async fn dropping_serve_ends_every_connection() {
    let server = Server::start(at_once()).await;
    let mut stream = server.connect().await;
    send(&mut stream, "GET /hang HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let shedder = server.control.shedder().clone();
    until("it to run", || shedder.in_flight() == 1).await;
    server.end.abort();
    let _ = soon("the close", stream.read_to_end(&mut Vec::new())).await;
    until("its permit to come back", || shedder.in_flight() == 0).await;
}

/// Goal: a head that is longer than allowed is refused and not kept, over both protocols; the
/// setting allows more.
#[tokio::test]
async fn a_head_is_as_long_as_the_setting_allows() {
    let long = "x".repeat(70_000);
    let head =
        format!("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx-long: {long}\r\n\r\n");
    for (limits, expected) in [
        (Connections::default(), "HTTP/1.1 431"),
        (Connections::default().head_max(128 * 1024), "HTTP/1.1 200"),
    ] {
        let server = Server::with(at_once(), limits).await;
        let mut stream = server.connect().await;
        send(&mut stream, &head).await;
        let answer = read_all(&mut stream).await;
        assert!(answer.starts_with(expected), "{answer:?}");
        let mut client = Frames::connect(server.address, 65_535).await;
        let settings = client.until(SETTINGS, 0).await.expect("settings");
        let list = settings.payload.chunks(6).find(|it| it[..2] == [0, 6]);
        let list = u32::from_be_bytes(list.expect("a limit")[2..].try_into().expect("four"));
        assert_eq!(list > 70_000, expected.ends_with("200"));
    }
}

/// Goal: an answer of 101 over HTTP/2, where there is no such thing, leaves the bounds of its
/// connection in force.
#[tokio::test]
async fn an_answer_of_101_over_http2_switches_nothing_off() {
    let limits = Connections::default()
        .write_stall(SECOND / 5)
        .bytes_per_sec_min(1 << 20);
    let server = Server::with(at_once(), limits).await;
    let mut client = Frames::connect(server.address, 0).await;
    client.get(1, "/switch").await;
    client.get(3, "/huge").await;
    assert!(client.until(RST_STREAM, 3).await.is_some(), "it is reset");
    server.leave();
    let report = server.report().await;
    assert_eq!(report.closed.upgraded, 0, "{report}");
}
