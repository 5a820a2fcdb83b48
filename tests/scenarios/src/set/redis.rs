//! Redis, behind an application that answers 503 while it is sick.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use support::Redis;

use super::{EXPLAINED, Scenario};
use crate::stage::{Side, Stage, here};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "redis-down",
        is: "Redis was stopped",
        says: &["redis.down"],
        exit: EXPLAINED,
        quick: true,
        set_up: |side| {
            let mut redis = Redis::builder().start();
            if side == Side::Sick {
                redis.stop();
            }
            behind(side, redis)
        },
    },
    Scenario {
        name: "redis-paused",
        is: "Redis stands still",
        says: &["redis.hung"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            let mut redis = Redis::builder().start();
            if side == Side::Sick {
                redis.pause();
            }
            behind(side, redis)
        },
    },
    Scenario {
        name: "redis-maxclients",
        is: "Redis takes no more clients",
        says: &["redis.maxclients"],
        exit: EXPLAINED,
        quick: true,
        set_up: |side| {
            let redis = Redis::builder().arg("--maxclients").arg("5").start();
            let count = if side == Side::Sick { 8 } else { 1 };
            let clients = clients(&redis, count);
            behind(side, redis).keep(clients)
        },
    },
    Scenario {
        name: "redis-out-of-memory",
        is: "Redis is full and evicts nothing",
        says: &["redis.oom"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            let redis = Redis::builder().start();
            if side == Side::Sick {
                let _ = redis.commands(
                    "set a 1\nconfig set maxmemory-policy noeviction\nconfig set maxmemory 100kb\n",
                );
            }
            behind(side, redis)
        },
    },
    Scenario {
        name: "redis-read-only",
        is: "Redis is a replica now",
        says: &["redis.readonly"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            let primary = Redis::builder().start();
            let redis = Redis::builder().start();
            if side == Side::Sick {
                redis.demote_to(&primary);
            }
            behind(side, redis).keep(primary)
        },
    },
];

/// The application in front of it.
pub(super) fn behind(side: Side, redis: Redis) -> Stage {
    let mut stage = Stage::depending(side).tell("--redis", redis.url());
    stage.redis = Some(redis.port());
    stage.keep(redis)
}

/// Connections that were answered once and are kept.
pub(super) fn clients(redis: &Redis, count: usize) -> Vec<TcpStream> {
    let one = |_| {
        let mut stream = TcpStream::connect(here(redis.port())).expect("redis listens");
        let _ = stream.write_all(b"PING\r\n");
        let mut answer = [0; 5];
        let _ = stream.read(&mut answer);
        stream
    };
    (0..count).map(one).collect()
}
