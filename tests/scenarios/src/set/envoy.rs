//! Envoy: its flags, told apart from outside and by its administration.

use std::io::Read;

use support::{Envoy, free_port};

use super::{EXPLAINED, Scenario};
use crate::{
    app::App,
    stage::{Side, Stage, ask, status, until},
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "envoy-refused",
        is: "the upstream refuses the connection (UF)",
        says: &["envoy.UF"],
        exit: EXPLAINED,
        quick: true,
        set_up: |side| {
            to(
                side,
                |side, app| if side == Side::Sick { free_port() } else { app },
                ROUTE,
                "",
                Some(503),
            )
        },
    },
    Scenario {
        name: "envoy-unhealthy",
        is: "no endpoint passes its check (UH)",
        says: &["envoy.UH"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            to(
                side,
                |side, app| if side == Side::Sick { free_port() } else { app },
                ROUTE,
                CHECK,
                Some(503),
            )
        },
    },
    Scenario {
        name: "envoy-circuit-breaker",
        is: "the cluster's circuit breaker is full (UO)",
        says: &["envoy.UO"],
        exit: EXPLAINED,
        quick: true,
        set_up: |side| {
            let app = App::start("ok");
            let breaker = if side == Side::Sick { BREAKER } else { "" };
            let (stage, port, admin) = in_front(app.port, ROUTE, breaker);
            until("Envoy answers", || status(port, "/") == Some(200));
            let holders = (side == Side::Sick).then(|| {
                // One runs, one waits: there is no more room.
                ["upstream_rq_active", "upstream_rq_pending_active"].map(|gauge| {
                    let holder = ask(port, "/hold");
                    let line = format!("cluster.app.{gauge}: 1\n");
                    until("Envoy holds it", || stats(admin).contains(&line));
                    holder
                })
            });
            stage.keep(app).keep(holders)
        },
    },
    Scenario {
        name: "envoy-no-cluster",
        is: "the route leads to a cluster that does not exist (NC)",
        says: &["envoy.NC"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            to(
                side,
                |_, app| app,
                if side == Side::Sick {
                    "route: { cluster: gone }"
                } else {
                    ROUTE
                },
                "",
                Some(503),
            )
        },
    },
    Scenario {
        name: "envoy-direct-response",
        is: "the route answers 503 by configuration",
        says: &["envoy.direct_response"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            let direct = "direct_response: { status: 503, body: { inline_string: closed } }";
            to(
                side,
                |_, app| app,
                if side == Side::Sick { direct } else { ROUTE },
                "",
                Some(503),
            )
        },
    },
    Scenario {
        name: "envoy-passed-through",
        is: "the application behind Envoy answers 503 itself",
        says: &["app.foreign_503", "app.own_503", "proxy.passthrough"],
        exit: &[10, 11, 12],
        quick: false,
        set_up: |side| {
            let app = App::start(if side == Side::Sick { "busy" } else { "ok" });
            in_front(app.port, ROUTE, "").0.keep(app)
        },
    },
];

fn to(
    side: Side,
    server: fn(Side, u16) -> u16,
    route: &str,
    cluster: &str,
    sick: Option<u16>,
) -> Stage {
    let app = App::start("ok");
    let (stage, port, _) = in_front(server(side, app.port), route, cluster);
    let expected = if side == Side::Sick { sick } else { Some(200) };
    until("Envoy has looked", || status(port, "/") == expected);
    stage.keep(app)
}

/// The counters of its administration.
fn stats(admin: u16) -> String {
    let mut text = String::new();
    if let Some(mut stream) = ask(admin, "/stats") {
        let _ = stream.set_read_timeout(Some(std::time::Duration::from_millis(500)));
        let _ = stream.read_to_string(&mut text);
    }
    text
}

/// Envoy, its port, and that of its administration.
fn in_front(server: u16, route: &str, cluster: &str) -> (Stage, u16, u16) {
    let (port, admin) = (free_port(), free_port());
    let config = format!(
        "admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {admin} }} }} }}
static_resources:
  listeners:
  - name: web
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          access_log: [ {{ name: file, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: {{dir}}/access.log }} }} ]
          route_config:
            validate_clusters: false
            virtual_hosts: [ {{ name: all, domains: [\"*\"], routes: [ {{ match: {{ prefix: / }}, {route} }} ] }} ]
          http_filters: [ {{ name: envoy.filters.http.router, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }} ]
  clusters:
  - name: app
    type: STATIC
    connect_timeout: 1s
    common_lb_config: {{ healthy_panic_threshold: {{ value: 0 }} }}
    load_assignment: {{ cluster_name: app, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {server} }} }} }} }} ] }} ] }}
{cluster}"
    );
    let envoy = Envoy::start(port, &config);
    let stage = Stage::at(port)
        .tell("--envoy-admin", format!("http://127.0.0.1:{admin}"))
        .log(envoy.path("access.log"))
        .keep(envoy);
    (stage, port, admin)
}

const ROUTE: &str = "route: { cluster: app, timeout: 30s }";
const CHECK: &str = "    health_checks: [ { timeout: 1s, interval: 0.2s, no_traffic_interval: 0.2s, unhealthy_threshold: 1, healthy_threshold: 1, http_health_check: { path: /ready/ } } ]\n";
const BREAKER: &str = "    circuit_breakers: { thresholds: [ { max_connections: 1, max_pending_requests: 1, max_requests: 1 } ] }\n";
