//! The servers come up, pause, stop and leave nothing behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait for real servers, on the real clock"
)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use support::{
    BlackHole, HaProxy, MariaDb, Nginx, PgBouncer, Postgres, Redis, RedisCluster, Relay, free_port,
};

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Waits until something is so; only a machine in trouble needs long.
fn wait_until(is_so: impl Fn() -> bool) {
    let started_at = Instant::now();
    while !is_so() {
        assert!(started_at.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
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

#[test]
fn pgbouncer_lives_on_when_its_server_is_gone() {
    let mut postgres = Postgres::builder().start();
    let bouncer = PgBouncer::builder().start(&postgres);
    assert_eq!(bouncer.sql("SELECT 1"), "1");
    assert!(bouncer.console("SHOW POOLS").contains("postgres|postgres"));
    postgres.stop();
    assert!(bouncer.console("SHOW VERSION").contains("PgBouncer"));
    postgres.start_again();
}

#[test]
fn mariadb_starts_pauses_and_stops() {
    let mut mariadb = MariaDb::builder().setting("max-connections", "12").start();
    assert_eq!(mariadb.sql("SELECT @@max_connections"), "12");
    assert_eq!(mariadb.sql("SHOW DATABASES LIKE 'app'"), "app");
    mariadb.pause();
    drop(TcpStream::connect(("127.0.0.1", mariadb.port())).unwrap());
    mariadb.resume();
    mariadb.stop();
    assert!(TcpStream::connect(("127.0.0.1", mariadb.port())).is_err());
    mariadb.start_again();
    let pid = mariadb.pid();
    drop(mariadb);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_replica_follows_and_is_promoted() {
    let primary = Redis::builder().start();
    assert!(primary.commands("SET k 1").starts_with("+OK"));
    let replica = Redis::builder().replica_of(&primary).start();
    replica.wait_until_synchronised();
    assert!(replica.commands("GET k").starts_with("$1\r\n1"));
    assert!(replica.commands("SET k 2").starts_with("-READONLY"));
    replica.promote();
    primary.demote_to(&replica);
    assert!(replica.commands("SET k 2").starts_with("+OK"));
    assert!(primary.commands("SET k 3").starts_with("-READONLY"));
}

#[test]
fn a_cluster_that_misses_a_slot_is_down() {
    let cluster = RedisCluster::start(3);
    assert_eq!(cluster.urls().len(), 3);
    // `foo` lies in slot 12182, which is the third node's.
    let set = || cluster.nodes()[2].commands("SET foo 1");
    assert!(set().starts_with("+OK"));
    cluster.lose_slot(2, 16_383);
    wait_until(|| set().starts_with("-CLUSTERDOWN"));
    cluster.give_slot(2, 16_383);
    cluster.wait_until_whole();
}

/// Says a line and returns the answer, or `None` if the other side closes.
fn say(stream: &mut TcpStream, line: &str) -> Option<String> {
    stream.write_all(line.as_bytes()).ok()?;
    let mut answer = [0; 64];
    let count = stream.read(&mut answer).ok().filter(|count| *count > 0)?;
    Some(String::from_utf8_lossy(&answer[..count]).into_owned())
}

#[test]
fn a_relay_does_what_it_is_told() {
    let (one, other) = (Redis::builder().start(), Redis::builder().start());
    assert!(other.commands("SET who other").starts_with("+OK"));
    let relay = Relay::start(one.port());
    let connect = || TcpStream::connect(("127.0.0.1", relay.port())).unwrap();
    let mut standing = connect();
    assert_eq!(say(&mut standing, "PING\r\n").unwrap(), "+PONG\r\n");

    relay.lead_to(other.port());
    assert_eq!(say(&mut standing, "GET who\r\n").unwrap(), "$-1\r\n");
    assert!(
        say(&mut connect(), "GET who\r\n")
            .unwrap()
            .contains("other")
    );

    relay.close_new();
    let mut closed = connect();
    assert_eq!(say(&mut closed, "PING\r\n"), None);
    relay.pass_new();

    relay.pause();
    let brief = Some(Duration::from_millis(50));
    standing.set_read_timeout(brief).unwrap();
    assert_eq!(say(&mut standing, "PING\r\n"), None);
    relay.resume();
    standing.set_read_timeout(None).unwrap();
    assert!(say(&mut standing, "PING\r\n").unwrap().starts_with("+PONG"));

    relay.cut();
    let mut rest = Vec::new();
    let _ = standing.read_to_end(&mut rest);
    assert_eq!(say(&mut standing, "PING\r\n"), None);
    assert!(relay.taken() >= 3);

    relay.refuse_new();
    let is_open = || TcpStream::connect(("127.0.0.1", relay.port())).is_ok();
    wait_until(|| !is_open());
    relay.pass_new();
    wait_until(is_open);
}
