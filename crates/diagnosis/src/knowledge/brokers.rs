//! Servers of which little more is asked than whether they answer: memcached, RabbitMQ, Kafka.

use super::{effects::at_the_application, gone, hangs};
use crate::{
    Broker, Confidence::Proven, Id, Observation as O, Role, ServerKind as Kind,
    engine::Strength::Direct, knowledge::Row,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::MemcachedDown,
        role: Role::Fault,
        title: "memcached does not answer",
        means: "The cache is not running, or takes connections and says nothing. Whoever cannot do without it, or waits for it on each request, goes down with it.",
        outside: "Slow answers, more load on the database, or 503.",
        inside: "A refused connect, or no answer to `version`.",
        threshold: "No answer in time.",
        fix: "Start it. Let the service treat the cache as something it can do without: a short time-out and a breaker.",
        commands: &["printf 'version\\r\\nquit\\r\\n' | nc NAME"],
        effects: at_the_application![],
        judge: |view, found| {
            gone(view, found, &[Kind::Memcached], "memcached");
            hangs(view, found, &[Kind::Memcached], "memcached");
        },
    },
    Row {
        id: Id::RabbitDown,
        role: Role::Fault,
        title: "RabbitMQ does not answer",
        means: "The broker is not running, or takes connections and does not shake hands.",
        outside: "503 on what publishes within a request.",
        inside: "A refused connect, or no `Connection.Start` after the protocol header.",
        threshold: "No answer in time.",
        fix: "Start it and look at its log; after an unclean stop it may wait for its peers.",
        commands: &[
            "rabbitmq-diagnostics check_running",
            "rabbitmq-diagnostics check_port_connectivity",
        ],
        effects: at_the_application![],
        judge: |view, found| {
            gone(view, found, &[Kind::Rabbitmq], "RabbitMQ");
            hangs(view, found, &[Kind::Rabbitmq], "RabbitMQ");
        },
    },
    Row {
        id: Id::RabbitBlocked,
        role: Role::Fault,
        title: "RabbitMQ blocks those who publish",
        means: "The broker is above its memory mark or below its mark of free disk, and does not read from connections that publish. They hang without an error.",
        outside: "Requests that publish hang.",
        inside: "`Connection.Blocked`, and the alarms of the broker.",
        threshold: "An alarm.",
        fix: "Drain queues or add consumers; make room on the disk. Let publishers have a time-out.",
        commands: &[
            "rabbitmq-diagnostics alarms",
            "rabbitmqctl list_queues name messages memory",
        ],
        effects: at_the_application![Id::DepHung],
        judge: |view, found| {
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Broker(Broker::Blocked { kind, by }) => {
                    Some(format!("{kind} blocks those who publish: {by}."))
                }
                _ => None,
            });
        },
    },
    Row {
        id: Id::KafkaDown,
        role: Role::Fault,
        title: "Kafka does not answer, or has no leader",
        means: "The broker cannot be reached, does not answer, or partitions have no leader, so that nothing can be written to them.",
        outside: "503 or hanging requests on what produces within a request.",
        inside: "A refused connect, no answer to ApiVersions, or partitions without a leader.",
        threshold: "No answer in time, or one such partition.",
        fix: "Look at the brokers that are missing. Advertised addresses that clients cannot reach look the same.",
        commands: &["kafka-topics.sh --bootstrap-server NAME --describe --unavailable-partitions"],
        effects: at_the_application![],
        judge: |view, found| {
            gone(view, found, &[Kind::Kafka], "Kafka");
            hangs(view, found, &[Kind::Kafka], "Kafka");
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Broker(Broker::NoLeader { kind, count }) if *count > 0 => Some(format!(
                    "{kind} has {count} partitions or queues without a leader."
                )),
                _ => None,
            });
        },
    },
];
