//! What a process that uses the library says of itself. A fact about one of its dependencies
//! is tied to it by its name.

use std::time::Duration;

use steadfast_core::{Cause, Rule};

use super::{area, words};
use crate::{
    Id,
    text::{Bytes, Lasting, Ratio, Text, Then},
};

words! {
    /// Where the process is in its life.
    PhaseIs {
        NotStarted = "not started",
        Starting = "starting",
        Ready = "ready",
        LameDuck = "lame-duck",
        Draining = "draining",
        Stopped = "stopped",
    }
}

words! {
    /// Where a breaker is.
    BreakerIs {
        Closed = "closed",
        Open = "open",
        Probing = "probing",
        Ramping = "ramping",
        ForcedOpen = "forced open",
        ForcedClosed = "forced closed",
    }
}

words! {
    /// What a check says.
    CheckIs {
        Passing = "passing",
        Warning = "warning",
        Failing = "failing",
        Unknown = "unknown",
    }
}

words! {
    /// How a pool stands.
    PoolIs {
        Well = "well",
        Busy = "all in use, and they come back",
        Stuck = "all in use, and none comes back",
        Unreachable = "no connection can be opened",
        ServerFull = "the server gives no session",
    }
}

words! {
    /// How sure somebody else was.
    Certainty {
        Proven = "proven",
        Likely = "likely",
        Possible = "possible",
    }
}

area! {
    /// What a process that uses the library says of itself.
    Own {
        /// Its phase, and for how long.
        Phase { is: PhaseIs, since: Duration } = "phase", "{is} for {}", Lasting(*since);
        /// Somebody declared maintenance: why, for how long it has been on, and how long it
        /// still is, if that was said.
        Maintenance { reason: Text, since: Duration, left: Option<Duration> } = "maintenance", "on for {}{}", Lasting(*since), Then(": ", reason);
        /// A drain: requests that still run, and how long it has gone on.
        Leaving { running: u64, since: Duration } = "drain", "{running} requests run after {}", Lasting(*since);
        /// The first round of checks is not over: which required ones have not passed.
        StartWaits { checks: Text, since: Duration } = "start", "waits for {checks}, for {}", Lasting(*since);
        /// Requests are refused: why, how many so far, since when, and how long ago the last.
        Refusing {
            #[cfg_attr(feature = "serde", serde(with = "crate::codes::cause"))]
            cause: Cause,
            #[cfg_attr(feature = "serde", serde(with = "crate::codes::rule"))]
            rule: Option<Rule>,
            count: u64, since: Duration, last: Duration, numbers: Text
        } = "incident", "{cause}: {count} since {}, last {} ago{}", Lasting(*since), Lasting(*last), Then("; ", numbers);
        /// What observe mode would have refused since the start.
        WouldRefuse { count: u64 } = "would_refuse", "{count}";
        /// Requests that run and the limit (none: no limit now), and those that wait.
        Limit { in_flight: u64, limit: Option<u64>, waiting: u64 }
            = "in flight", "{in_flight} of {}, {waiting} wait", limit.map_or_else(|| "no limit".to_owned(), |it| it.to_string());
        /// How late the runtime is, and how late it may be.
        Lag { lag: Duration, allowed: Duration } = "runtime lag", "{}", Lasting(*lag);
        /// The runtime has given no heartbeat for so long.
        Silent { since: Duration } = "heartbeat", "none for {}", Lasting(*since);
        /// Worker threads of the runtime that have been in one poll for long, of all; the
        /// longest.
        Blocked { workers: u64, of: u64, longest: Duration } = "blocked workers", "{workers} of {of}, longest {}", Lasting(*longest);
        /// The request that has run longest, its route, and the share of all places that
        /// requests of its route hold.
        Oldest { route: Text, age: Duration, ratio: Ratio } = "longest running", "{route} for {}, {ratio} of the places", Lasting(*age);
        /// Requests a second now and over the time before, and this divided by the limit.
        Demand { now: f64, before: f64, ratio: Ratio } = "requests a second", "{now:.1} now, {before:.1} before, demand {ratio}";
        /// The share that one route has of the requests now, and had before.
        RouteShare { route: Text, now: Ratio, before: Ratio } = "route", "{route}: {now} now, {before} before";
        /// The share that one tenant has of the requests now, and had before.
        TenantShare { tenant: Text, now: Ratio, before: Ratio } = "tenant", "{tenant}: {now} now, {before} before";
        /// A tenant that asks for more than a fair share of a limit that is met, in places.
        TenantHeld { tenant: Text, asks: u64, fair: u64, limit: u64 } = "tenant's share", "{tenant} asks for {asks} of {limit} places, and {fair} are a fair share";
        /// Requests of those who were refused and came again before they were told to.
        Retries { repeated: u64, of: u64 } = "came again at once", "{repeated} of {of}";
        /// Processors that the process uses, of those it may use.
        Cpu { ratio: Ratio } = "processor time", "{ratio} of what is allowed";
        /// Memory of the process's group and its limit, as the memory guard sees it.
        Memory { used: Bytes, max: Bytes, refusing: bool } = "memory", "{used} of {max}";
        /// The breaker of a dependency: its state, why, what it last met, and when it asks
        /// again.
        Breaker { is: BreakerIs, why: Text, last_error: Text, retry_in: Option<Duration> } = "breaker", "{is}{}{}", Then(": ", why), Then("; ", last_error);
        /// What a dependency that is not well was last heard to say: the class and text of the
        /// error, and how long ago.
        LastError { class: Text, error: Text, ago: Duration } = "last error", "{class}: {error}, {} ago", Lasting(*ago);
        /// Calls in the window, those that failed, and those that were slow.
        Calls { failed: u64, slow: u64, of: u64, hanging: u64 } = "calls", "{failed} of {of} failed, {slow} slow, {hanging} hang";
        /// The check of a dependency: what it says, how often in a row, the error's class and
        /// text, how long it took, and whether the instance needs it.
        Check { is: CheckIs, failures: u64, class: Text, error: Text, took: Option<Duration>, required: bool }
            = "check", "{is}, {failures} failures{}{}", Then(": ", class), Then("; ", error);
        /// The check of a dependency fails while this many calls succeed.
        CheckDisagrees { failures: u64, succeeded: u64, within: Duration }
            = "check against calls", "{failures} failures of the check, {succeeded} calls succeeded in {}", Lasting(*within);
        /// A dependency takes no writes.
        ReadOnly { error: Text, since: Duration } = "read-only", "for {}: {error}", Lasting(*since);
        /// A dependency opens no new session while old ones work.
        SessionsRefused { error: Text, still_serving: u64 } = "new sessions", "refused: {error}; {still_serving} old ones serve";
        /// Some keys of a dependency (shards, hosts, tenants) are down.
        KeysOut { out: u64, known: u64 } = "keys", "{out} of {known} refuse calls";
        /// A pool: how it stands, its numbers, and its last trouble.
        Pool { is: PoolIs, in_use: u64, max: u64, waiting: u64, trouble: Text } = "pool", "{is}: {in_use} of {max} in use, {waiting} wait{}", Then("; ", trouble);
        /// Connections that are held for longer than the pool's own bound: by which line of code,
        /// the longest for how long, and how many.
        Held { place: Text, age: Duration, count: u64 } = "connection held", "by {place} for {}, {count} such", Lasting(*age);
        /// The readiness probes that came: how many, the mean time between, how long ago the
        /// last, and who asks.
        Probes { count: u64, period: Option<Duration>, last: Option<Duration>, from: Text } = "readiness probes", "{count} from {from}";
        /// The slowest answer to a probe lately.
        ProbeTook { longest: Duration } = "probe answered", "after {} at the slowest", Lasting(*longest);
        /// The longest lame duck.
        LameDuck { max: Duration } = "lame duck", "at most {}", Lasting(*max);
        /// What a drain may take, and what the process manager allows (none: not known).
        Grace { longest: Duration, allowed: Option<Duration> } = "drain", "at most {}", Lasting(*longest);
        /// Last drains cut requests or met late ones.
        CutByDrain { cut: u64, late: u64 } = "drain report", "{cut} cut, {late} came late";
        /// How long the process keeps an idle connection.
        KeepAlive { idle: Duration } = "keep-alive", "{}", Lasting(*idle);
        /// Connections that the peer used after this process had closed them for idleness.
        ClosedUnderPeer { count: u64 } = "used after an idle close", "{count}";
        /// How long its longest time-out is: for checks, or for requests.
        CheckTimeout { timeout: Duration, period: Duration } = "check time-out", "{}, every {}", Lasting(*timeout), Lasting(*period);
        /// How long a request may take before its answer begins.
        RequestTimeout { timeout: Duration } = "request time-out", "{}", Lasting(*timeout);
        /// Places of a pool times instances, and the server's own bound.
        PoolSum { places: u64, instances: u64, server_max: u64 } = "pool places", "{places} x {instances} instances, the server has {server_max}";
        /// Cross-origin preflights were seen, and refusals went out without their headers.
        NoCors { preflights: u64, refused: u64 } = "refusals without CORS headers", "{refused}, {preflights} preflights seen";
        /// A route of the application that the library answers itself.
        Shadowed { route: Text } = "shadowed route", "{route}";
        /// Probes were refused by a limiter in front of the library.
        ProbesLimited { count: u64 } = "probes refused", "{count}";
        /// The version that runs, and since when.
        Version { version: Text, since: Duration } = "version", "{version} since {}", Lasting(*since);
        /// How the process before this one ended, and how long ago.
        Predecessor { ended: Text, ago: Duration } = "predecessor", "{ended} {} ago", Lasting(*ago);
        /// A finding that the process itself gives.
        Told { id: Id, certainty: Certainty, summary: Text } = "finding of the process", "{summary} ({certainty})";
    }
}
