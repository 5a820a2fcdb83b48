//! What proxies say of themselves: sockets and administration pages, logs, configuration.
//! A fact is tied to its backend (cluster, upstream, service) by its name.

use std::time::Duration;

use super::{Maker, area, words};
use crate::text::{Lasting, Text};

words! {
    /// How a proxy thinks of a server.
    ServerIs {
        Up = "up",
        Down = "down",
        Maintenance = "in maintenance",
        Draining = "draining",
        Unchecked = "not checked",
        Disabled = "set aside after a failure",
    }
}

words! {
    /// The part of HAProxy's termination state that names a cause.
    HaproxyCode {
        NoServer = "SC with <NOSRV>",
        ConnectRefused = "SC with a server",
        ConnectTimeout = "sC",
        QueueTimeout = "sQ",
        Denied = "PR",
        LocalAnswer = "LR",
        Resource = "RC or PC",
        ServerTimeout = "sH",
        ServerClosed = "SH or SD",
        BadAnswer = "PH",
        ClientLeft = "C or c",
        PassedOn = "-- with a server",
    }
}

words! {
    /// What a line of nginx's log is about.
    NginxLog {
        LimitReq = "limiting requests",
        LimitConn = "limiting connections",
        NoLive = "no live upstreams",
        ConnectRefused = "connect() failed (111)",
        ConnectTimeout = "timed out while connecting",
        ReadTimeout = "timed out while reading the answer",
        Closed = "upstream closed the connection early",
        Disabled = "upstream server temporarily disabled",
        WorkerConnections = "worker_connections are not enough",
        NameUnknown = "could not be resolved",
        PassedOn = "upstream_status equals status",
        NoUpstream = "no upstream was asked",
    }
}

words! {
    /// A response flag of Envoy.
    EnvoyFlag {
        Uh = "UH",
        Uf = "UF",
        Uo = "UO",
        Uc = "UC",
        Ur = "UR",
        Lr = "LR",
        Lh = "LH",
        Do = "DO",
        Udo = "UDO",
        Om = "OM",
        Nc = "NC",
        Nr = "NR",
        Ut = "UT",
        Urx = "URX",
        Rl = "RL",
        Dc = "DC",
        ViaUpstream = "via_upstream",
        DirectResponse = "direct_response",
    }
}

words! {
    /// What a line of Apache's error log is about.
    ApacheLog {
        ConnectRefused = "AH00957",
        ConnectFailed = "AH01114",
        WorkerDisabled = "AH00959",
        Timeout = "AH01102",
        MaxRequestWorkers = "AH00484",
    }
}

area! {
    /// What proxies say of themselves.
    Proxy {
        /// A server of a backend: how the proxy thinks of it, and what its last check said.
        Server { by: Maker, name: Text, is: ServerIs, last_check: Text } = "server", "{name}: {is} {last_check}";
        /// A backend as a whole: servers that get traffic, servers that are listed, and
        /// whether the proxy itself calls it up.
        Backend { by: Maker, serving: u64, listed: u64, up: bool }
            = "backend", "{serving} of {listed} servers serve, called {}", if *up { "up" } else { "down" };
        /// Requests that wait in the proxy for a server now.
        Queue { by: Maker, waiting: u64 } = "queue", "{waiting} waiting";
        /// Requests that run on a server, and as many as may.
        ServerLoad { by: Maker, running: u64, max: u64 } = "server connections", "{running} of {max}";
        /// Connections that the proxy has, and as many as it may.
        Connections { by: Maker, now: u64, max: u64 } = "connections", "{now} of {max}";
        /// Failed connects and retries, grown between two samples.
        ConnectErrors { by: Maker, errors: u64, retries: u64 } = "connect errors", "+{errors}, retries +{retries}";
        /// Requests that a rule of the proxy refused, grown between two samples.
        Denied { by: Maker, count: u64 } = "denied by a rule", "+{count}";
        /// HAProxy's log: a termination state, the server if there is one, the time in the
        /// queue and for connecting, retries, and how many lines say so.
        HaproxyEnds { code: HaproxyCode, server: Text, queued: Duration, connecting: Duration, retries: u64, count: u64 }
            = "termination state", "{code} {server}, {count} times (queue {}, {retries} retries)", Lasting(*queued);
        /// nginx's logs: what they say, one of the lines, and how many say so.
        NginxSays { about: NginxLog, line: Text, count: u64 } = "log", "{about}, {count} times: {line}";
        /// Envoy's access log, statistics or `Proxy-Status`: flag, details, upstream host,
        /// and how many requests.
        EnvoyFlagged { flag: EnvoyFlag, details: Text, host: Text, count: u64 }
            = "response flag", "{flag} {details}, {count} times";
        /// Apache's error log: the message's number, the line, and how many.
        ApacheSays { about: ApacheLog, line: Text, count: u64 } = "error log", "{about}, {count} times: {line}";
        /// A rule of the configuration that makes this answer: the file and line, and the rule.
        Rule { by: Maker, at: Text, rule: Text } = "configuration", "{at}: {rule}";
        /// A time-out of the configuration: its name there and its value.
        Timeout { by: Maker, name: Text, value: Duration } = "configuration", "{name} {}", Lasting(*value);
        /// How long the proxy keeps an idle connection to the service.
        KeepAlive { by: Maker, idle: Duration } = "keep-alive to the service", "{}", Lasting(*idle);
        /// The path that the proxy's check asks for, and what it expects.
        CheckPath { by: Maker, path: Text, expects: Text } = "check", "{path}, expects {expects}";
        /// How often the proxy's check asks, and how many failures it waits for.
        CheckPeriod { by: Maker, period: Duration, fall: u64 } = "check", "every {}, {fall} failures", Lasting(*period);
        /// Something else that its log says, with the number of lines.
        Says { by: Maker, line: Text, count: u64 } = "log", "{line}, {count} times";
    }
}
