//! Redis and what speaks its protocol. A `PING` that is answered says little: writes can fail
//! all the same, and `redis-cli` ends with 0 on most errors.

use super::{effects::at_the_application, errors_with, gone, hangs, named};
use crate::{
    Bytes,
    Confidence::{Likely, Proven},
    Id, Lasting, Observation as O, Redis, RedisReply as Reply, Role, ServerKind as Kind,
    engine::{
        Found,
        Strength::{Direct, Pressure},
        View,
    },
    knowledge::Row,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::RedisDown,
        role: Role::Fault,
        title: "Redis is not there",
        means: "Nobody listens at its address, or the address is not reached.",
        outside: "Slow answers from what it cached, or 503.",
        inside: "A refused connect.",
        threshold: "Refused, or no answer to the handshake.",
        fix: "Start it. Let the service treat it as something it can do without, where it is only a cache.",
        commands: &[
            "systemctl status redis-server",
            "redis-cli -u redis://NAME ping",
        ],
        effects: at_the_application![Id::PoolUnreachable, Id::PoolApp, Id::DepUnreachable],
        judge: |view, found| gone(view, found, &[Kind::Redis], "Redis"),
    },
    Row {
        id: Id::RedisHung,
        role: Role::Fault,
        title: "Redis takes connections and says nothing",
        means: "Redis does one thing at a time, and is stopped, in one long command (KEYS, a script, a large DEL), or waits for its disk.",
        outside: "Slow, then 503 from pools and breakers.",
        inside: "Connected and no answer to PING; its process in state T; SLOWLOG once it is back.",
        threshold: "No answer in time.",
        fix: "Stopped: SIGCONT. A script can be ended with SCRIPT KILL. Afterwards read SLOWLOG, and take the command out.",
        commands: &[
            "grep State /proc/PID/status",
            "kill -CONT PID",
            "redis-cli slowlog get 10",
        ],
        effects: at_the_application![Id::PoolStuck, Id::PoolUnreachable, Id::PoolApp, Id::DepHung],
        judge: |view, found| {
            hangs(view, found, &[Kind::Redis], "Redis");
            reply(view, found, Reply::Busy, &[], "Redis is busy in a script");
        },
    },
    Row {
        id: Id::RedisMaxclients,
        role: Role::Fault,
        title: "Redis takes no more clients",
        means: "It has as many clients as maxclients allows and closes each new connection with an error. `redis-cli ping` prints that error and ends with 0, so scripts take it for well.",
        outside: "Pools cannot grow, or cannot connect at all.",
        inside: "`-ERR max number of clients reached`; rejected_connections in INFO grows.",
        threshold: "The reply, or a connection refused while one looks. A number of clients near the bound is no fault.",
        fix: "See who has so many (CLIENT LIST by address and name); a leak of connections grows for ever. Raise maxclients, and the descriptors with it; `timeout` closes idle ones.",
        commands: &[
            "redis-cli client list | awk '{print $2}' | cut -d= -f2 | cut -d: -f1 | sort | uniq -c | sort -rn",
            "redis-cli config get maxclients",
        ],
        effects: at_the_application![
            Id::PoolServerFull,
            Id::PoolSessionsRefused,
            Id::PoolUnreachable,
            Id::PoolApp
        ],
        judge: |view, found| {
            reply(
                view,
                found,
                Reply::Maxclients,
                &["max number of clients reached"],
                "Redis takes no more clients",
            );
            for (fact, (now, max, refused)) in view.pick(|seen| match seen {
                O::Redis(Redis::Clients { now, max, refused }) => Some((*now, *max, *refused)),
                _ => None,
            }) {
                if refused > 0 {
                    found.find(fact, Proven, Direct, format!("Redis refused {refused} clients while it was looked at; it has {now} of {max}.")).from("1 refused");
                } else {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::RedisOom,
        role: Role::Fault,
        title: "Redis has no memory for writes",
        means: "It uses as much as maxmemory allows and may not evict (policy noeviction, or nothing that may go), so commands that need memory are refused. Reads and PING work.",
        outside: "Writes fail: sessions, queues, locks, caches.",
        inside: "`-OOM command not allowed`; used_memory beside maxmemory, with the policy.",
        threshold: "The reply, or all of it used with noeviction.",
        fix: "For a cache set an eviction policy. For a queue or a store find what grows, give keys an end, or give it more memory.",
        commands: &[
            "redis-cli info memory | grep -E 'used_memory_human|maxmemory'",
            "redis-cli --bigkeys",
        ],
        effects: at_the_application![Id::DepReadOnly, Id::DepFailing],
        judge: |view, found| {
            reply(
                view,
                found,
                Reply::Oom,
                &["OOM command not allowed"],
                "Redis has no memory for writes",
            );
            for (fact, (used, max, evicts)) in view.pick(|seen| match seen {
                O::Redis(Redis::Memory {
                    used,
                    max: Some(max),
                    evicts,
                }) => Some((*used, *max, *evicts)),
                _ => None,
            }) {
                if used >= max && !evicts && max > Bytes(0) {
                    found.find(fact, Proven, Direct, format!("Redis uses {used} of {max} and may not evict, so writes are refused.")).from(max.to_string());
                } else {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::RedisLoading,
        role: Role::Fault,
        title: "Redis is loading its data",
        means: "It was started and reads its data set from disk; until then it refuses commands.",
        outside: "Errors for as long as it lasts.",
        inside: "`-LOADING`; loading_eta_seconds in INFO.",
        threshold: "The reply.",
        fix: "Wait. Find out why it was restarted. A replica that takes over saves the wait.",
        commands: &["redis-cli info persistence | grep loading"],
        effects: at_the_application![Id::DepFailing, Id::PoolUnreachable],
        judge: |view, found| {
            reply(
                view,
                found,
                Reply::Loading,
                &["LOADING Redis"],
                "Redis is loading its data",
            );
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Redis(Redis::Loading { eta }) => Some(format!(
                    "Redis is loading its data, for another {}.",
                    Lasting(*eta)
                )),
                _ => None,
            });
        },
    },
    Row {
        id: Id::RedisReadonly,
        role: Role::Fault,
        title: "Redis takes no writes: it is a replica",
        means: "The address leads to a replica. After a failover, connections that were open before lead to the old master, which is one now.",
        outside: "Writes fail, reads work, and may be old.",
        inside: "`-READONLY`; the role in INFO replication.",
        threshold: "The reply, or the role while something fails. A replica that is meant to be read is no fault.",
        fix: "Let clients ask Sentinel or the cluster for the master, and open their connections anew after a failover.",
        commands: &["redis-cli info replication | head -5"],
        effects: at_the_application![Id::DepReadOnly],
        judge: |view, found| {
            reply(
                view,
                found,
                Reply::Readonly,
                &["READONLY You can't write"],
                "Redis takes no writes",
            );
            reply(
                view,
                found,
                Reply::MasterDown,
                &["MASTERDOWN"],
                "Redis has lost its master and serves nothing old",
            );
            for (fact, (master, reads_only)) in view.pick(|seen| match seen {
                O::Redis(Redis::Role {
                    master, reads_only, ..
                }) => Some((*master, *reads_only)),
                _ => None,
            }) {
                if !master && reads_only && view.has_trouble() {
                    found.find(
                        fact,
                        Likely,
                        Pressure,
                        format!("Redis{} is a replica that takes no writes.", named(fact)),
                    );
                } else if master {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::RedisMisconf,
        role: Role::Fault,
        title: "Redis stopped writes because it cannot save",
        means: "The last save to disk failed, and stop-writes-on-bgsave-error makes Redis refuse writes rather than lose them. Mostly the disk is full, or a fork was refused for want of memory.",
        outside: "Writes fail, reads work.",
        inside: "`-MISCONF`; rdb_last_bgsave_status is err; the reason is in its log.",
        threshold: "The reply, or the state with that setting on.",
        fix: "Make room on the disk, or let memory be overcommitted (vm.overcommit_memory=1). The next save that works lets writes through again.",
        commands: &[
            "redis-cli info persistence | grep -E 'bgsave|aof'",
            "df -h",
            "redis-cli bgsave",
        ],
        effects: at_the_application![Id::DepReadOnly, Id::DepFailing],
        judge: |view, found| {
            reply(
                view,
                found,
                Reply::Misconf,
                &["MISCONF"],
                "Redis stopped writes because it cannot save",
            );
            found.tell(view, Likely, Direct, |seen| match seen {
                O::Redis(Redis::SaveFailed { stops_writes: true }) => {
                    Some("Redis could not save, and stops writes for that.".to_owned())
                }
                _ => None,
            });
        },
    },
    Row {
        id: Id::RedisClusterDown,
        role: Role::Fault,
        title: "The Redis cluster has lost slots",
        means: "Some hash slots have no master that works, so the cluster refuses commands, all of them or those for such keys.",
        outside: "Errors for some keys or for all.",
        inside: "`-CLUSTERDOWN`; cluster_state in CLUSTER INFO.",
        threshold: "The reply.",
        fix: "Bring the missing master or its replica back. cluster-require-full-coverage decides whether the rest serves meanwhile.",
        commands: &[
            "redis-cli cluster info",
            "redis-cli cluster nodes | grep -E 'fail|noaddr'",
        ],
        effects: at_the_application![Id::DepFailing],
        judge: |view, found| {
            reply(
                view,
                found,
                Reply::ClusterDown,
                &["CLUSTERDOWN"],
                "The Redis cluster has lost slots",
            )
        },
    },
];

/// Looks for a reply, and for its words in what the process was told.
fn reply(view: &View<'_>, found: &mut Found<'_>, which: Reply, texts: &[&str], says: &str) {
    for (fact, text) in view.pick(move |seen| match seen {
        O::Redis(Redis::Reply { is, text }) if *is == which => Some(text),
        _ => None,
    }) {
        found.find(
            fact,
            Proven,
            Direct,
            format!("{says}{}: {text}.", named(fact)),
        );
    }
    for (fact, text) in errors_with(view, texts) {
        found.find(
            fact,
            Proven,
            Direct,
            format!("{says}{}: {text}.", named(fact)),
        );
    }
}
