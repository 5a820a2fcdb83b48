//! Redis and memcached.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use support::{Redis, RedisCluster};

use crate::{App, Told, doctor};

fn asked(url: &str) -> Told {
    let app = App::failing();
    doctor(&[&app.url(), "--redis", url])
}

#[test]
fn a_server_that_is_well_is_silent() {
    let redis = Redis::builder().start();
    let app = App::well();
    let told = doctor(&[&app.url(), "--redis", &redis.url()]);
    told.is_silent_on(&["redis.", "dep."])
        .sees("redis", "role", "\"master\":true");
    assert_eq!(told.code, 0, "{told:?}");
}

#[test]
fn a_server_that_is_stopped_or_paused_is_told_apart() {
    let mut redis = Redis::builder().start();
    redis.pause();
    asked(&redis.url())
        .names("redis.hung")
        .sees("server", "stopped", "redis");
    redis.resume();
    redis.stop();
    asked(&redis.url()).names("redis.down");
}

#[test]
fn a_full_server_says_so_although_a_ping_exits_well() {
    let redis = Redis::builder().arg("--maxclients").arg("2").start();
    let mut held = Vec::new();
    while held.len() < 2 {
        let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
        stream.write_all(b"PING\r\n").unwrap();
        let mut answer = [0; 7];
        // Those that came before may not have gone yet.
        if stream.read_exact(&mut answer).is_ok() && &answer == b"+PONG\r\n" {
            held.push(stream);
        }
    }
    asked(&redis.url())
        .names("redis.maxclients")
        .sees("redis", "reply", "maxclients");
    drop(held);
}

#[test]
fn writes_that_would_fail_are_known_without_writing() {
    let redis = Redis::builder()
        .arg("--maxmemory")
        .arg("100kb")
        .arg("--maxmemory-policy")
        .arg("noeviction")
        .start();
    asked(&redis.url())
        .finds("redis.oom")
        .sees("redis", "memory", "evicts\":false");

    let primary = Redis::builder().start();
    let replica = Redis::builder().replica_of(&primary).start();
    replica.wait_until_synchronised();
    asked(&replica.url()).finds("redis.readonly");
    asked(&primary.url()).is_silent_on(&["redis."]);
}

#[test]
fn a_server_that_loads_says_so() {
    let redis = Redis::that_loads();
    asked(&redis.url()).names("redis.loading");
}

#[test]
fn a_cluster_that_misses_a_slot_is_down() {
    let cluster = RedisCluster::start(1);
    let url = cluster.urls().remove(0);
    asked(&url).is_silent_on(&["redis."]);
    cluster.lose_slot(0, 7);
    asked(&url).names("redis.cluster_down");
}

#[test]
fn a_password_that_is_missing_is_said_to_be() {
    let redis = Redis::builder().arg("--requirepass").arg("geheim").start();
    asked(&redis.url())
        .could_not("redis.oom")
        .is_silent_on(&["redis."]);
    let told = asked(&format!("redis://:geheim@127.0.0.1:{}/", redis.port()));
    told.is_silent_on(&["redis.", "dep."])
        .keeps_secret("geheim");
}

#[test]
fn a_save_that_failed_stops_writes_and_is_seen() {
    // Nobody can save there, root neither.
    let redis = Redis::builder().arg("--dir").arg("/sys").start();
    let _ = redis.commands("SET k v\r\nSAVE\r\nBGSAVE");
    for _ in 0..100 {
        if redis
            .commands("INFO persistence")
            .contains("rdb_last_bgsave_status:err")
        {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    asked(&redis.url())
        .sees("redis", "save_failed", "stops_writes")
        .finds("redis.misconf");
}
