//! HAProxy, which has one body for seven causes.

use support::{HaProxy, free_port};

use super::{EXPLAINED, PROVEN, Scenario};
use crate::{
    app::App,
    stage::{Side, Stage, ask, here, status, until},
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "haproxy-all-down",
        is: "every server fails its check",
        says: &["hap.all_down"],
        exit: PROVEN,
        quick: true,
        set_up: |side| match side {
            Side::Sick => in_front(&[free_port(), free_port()], "", true),
            Side::Well => well(""),
        },
    },
    Scenario {
        name: "haproxy-empty-backend",
        is: "the backend has no server",
        says: &["hap.empty_backend"],
        exit: PROVEN,
        quick: false,
        set_up: |side| match side {
            Side::Sick => in_front(&[], "", true),
            Side::Well => well(""),
        },
    },
    Scenario {
        name: "haproxy-maintenance",
        is: "the only server was taken out by hand",
        says: &["hap.maint"],
        exit: PROVEN,
        quick: false,
        set_up: |side| {
            let app = App::start("ok");
            let port = free_port();
            let haproxy = HaProxy::start(&HaProxy::config(port, &[here(app.port)], ""));
            until("the server is up", || status(port, "/") == Some(200));
            if side == Side::Sick {
                let _ = haproxy.command("set server app/s0 state maint");
            }
            told(port, haproxy).keep(app)
        },
    },
    Scenario {
        name: "haproxy-refused",
        is: "the server refuses, and no check takes it out",
        says: &["hap.refused_unchecked"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            let app = App::start("ok");
            let server = if side == Side::Sick {
                free_port()
            } else {
                app.port
            };
            unchecked(server, "").keep(app)
        },
    },
    Scenario {
        name: "haproxy-queue-timeout",
        is: "the server's only place is taken for longer than a request waits",
        says: &["hap.queue_timeout"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            let app = App::start("ok");
            let stage = unchecked_with(app.port, "    timeout queue 300ms\n", " maxconn 1");
            let port = stage.1;
            let holder = (side == Side::Sick).then(|| ask(port, "/hold"));
            stage.0.keep(app).keep(holder)
        },
    },
    Scenario {
        name: "haproxy-deny",
        is: "a rule answers 503",
        says: &["hap.local_deny"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| match side {
            Side::Sick => well("    http-request deny deny_status 503 if TRUE\n"),
            Side::Well => well(""),
        },
    },
    Scenario {
        name: "haproxy-passed-through",
        is: "the application behind HAProxy answers 503 itself",
        says: &["app.foreign_503", "app.own_503", "proxy.passthrough"],
        exit: &[10, 11, 12],
        quick: false,
        set_up: |side| {
            let app = App::start(if side == Side::Sick { "busy" } else { "ok" });
            unchecked(app.port, "").keep(app)
        },
    },
];

/// In front of these servers, which are checked; told to the doctor.
pub(super) fn in_front(servers: &[u16], backend: &str, down: bool) -> Stage {
    let port = free_port();
    let servers: Vec<_> = servers.iter().map(|it| here(*it)).collect();
    let haproxy = HaProxy::start(&HaProxy::config(port, &servers, backend));
    let expected = if down { Some(503) } else { Some(200) };
    until("the checks have spoken", || status(port, "/") == expected);
    told(port, haproxy)
}

fn well(backend: &str) -> Stage {
    let app = App::start("ok");
    let down = backend.contains("503");
    in_front(&[app.port], backend, down).keep(app)
}

fn told(port: u16, haproxy: HaProxy) -> Stage {
    Stage::at(port)
        .tell("--haproxy-socket", haproxy.socket().display())
        .log(haproxy.log_path())
        .keep(haproxy)
}

fn unchecked(server: u16, backend: &str) -> Stage {
    unchecked_with(server, backend, "").0
}

fn unchecked_with(server: u16, backend: &str, line: &str) -> (Stage, u16) {
    let port = free_port();
    let config = HaProxy::config(port, &[], backend);
    let haproxy = HaProxy::start(&format!("{config}    server s0 {}{line}\n", here(server)));
    (told(port, haproxy), port)
}
