//! What the cluster says.

use std::time::Duration;

use super::{area, words};
use crate::text::{Lasting, Ratio, Text};

words! {
    /// Which probe of a pod.
    ProbeKind {
        Readiness = "readiness",
        Liveness = "liveness",
        Startup = "startup",
    }
}

area! {
    /// The cluster.
    Kubernetes {
        /// Endpoints of a service that are ready, and all there are.
        Endpoints { service: Text, ready: u64, all: u64 } = "endpoints", "{service}: {ready} of {all} ready";
        /// A service selects no pod.
        SelectsNone { service: Text, selector: Text } = "selector", "{service}: {selector} selects no pod";
        /// A probe of a pod fails: what the event says.
        Probe { pod: Text, kind: ProbeKind, says: Text, count: u64 } = "event", "{pod}: {kind} probe failed {count} times: {says}";
        /// A container was killed for memory.
        OomKilled { pod: Text, container: Text, ago: Duration } = "last state", "{pod}/{container}: OOMKilled {} ago", Lasting(*ago);
        /// A container starts again and again: the reason it waits, and restarts.
        Waiting { pod: Text, reason: Text, restarts: u64 } = "waiting", "{pod}: {reason}, {restarts} restarts";
        /// A scaler: replicas now, at most, wanted, and how far its metric is above its target.
        Scaler { name: Text, now: u64, max: u64, wanted: u64, load: Ratio } = "scaler", "{name}: {now} of at most {max}, load {load} of target";
        /// Pods that no node has room for.
        Pending { count: u64, why: Text } = "pending pods", "{count}: {why}";
        /// A rollout that goes on: replicas of the new version, all, and since when.
        Rollout { name: Text, updated: u64, wanted: u64, ago: Duration } = "rollout", "{name}: {updated} of {wanted} since {}", Lasting(*ago);
    }
}
