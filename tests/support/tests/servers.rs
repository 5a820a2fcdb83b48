//! The servers come up, pause, stop and leave nothing behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use support::{BlackHole, HaProxy, Nginx, Postgres, Redis, free_port};

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn closed() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

#[test]
fn postgres_starts_pauses_and_stops() {
    let mut postgres = Postgres::builder().max_connections(7).start();
    assert_eq!(postgres.sql("SHOW max_connections"), "7");
    postgres.pause();
    // The kernel still takes connections for it.
    drop(TcpStream::connect(("127.0.0.1", postgres.port())).unwrap());
    postgres.resume();
    assert_eq!(postgres.sql("SELECT 1"), "1");
    postgres.stop();
    assert!(TcpStream::connect(("127.0.0.1", postgres.port())).is_err());
    postgres.start_again();
    assert_eq!(postgres.sql("SELECT 2"), "2");
    postgres.pause();
    let pid = postgres.pid();
    drop(postgres);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn redis_starts_pauses_and_stops() {
    let mut redis = Redis::builder().arg("--maxclients").arg("9").start();
    assert!(
        redis
            .commands("CONFIG GET maxclients")
            .contains("\r\n9\r\n")
    );
    redis.pause();
    redis.resume();
    redis.stop();
    assert!(TcpStream::connect(("127.0.0.1", redis.port())).is_err());
    redis.start_again();
    assert!(redis.commands("PING").starts_with("+PONG"));
}

#[test]
fn haproxy_says_that_no_server_is_there() {
    let port = free_port();
    let haproxy = HaProxy::start(&HaProxy::config(port, &[closed()], ""));
    assert!(get(port, "/").starts_with("HTTP/1.1 503"));
    let rows = haproxy.show_stat();
    assert!(
        rows.iter()
            .any(|row| row["svname"] == "s0" && row["pxname"] == "app")
    );
}

#[test]
fn nginx_logs_that_no_server_is_there() {
    let port = free_port();
    let nginx = Nginx::start(&Nginx::config(port, &[closed()], ""));
    assert!(get(port, "/").starts_with("HTTP/1.1 502"));
    assert!(nginx.error_log().contains("connect() failed"));
    assert!(nginx.access_log().contains("\" 502 "));
}

#[test]
fn a_black_hole_takes_and_never_answers() {
    let hole = BlackHole::start();
    let mut stream = TcpStream::connect(hole.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    stream.write_all(b"hello").unwrap();
    assert!(stream.read(&mut [0; 1]).is_err());
    assert!(hole.taken() <= 1);
}
