//! Proxies, found by who listens at the target's port.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use support::{Apache, BlackHole, Caddy, Envoy, HaProxy, Nginx, Traefik, Varnish, free_port};

use crate::{App, Told, doctor};

const ALL: &[&str] = &[
    "hap.", "ngx.", "envoy.", "traefik.", "caddy.", "apache.", "varnish.", "dep.", "proxy.",
];

fn at(port: u16, path: &str) -> Told {
    doctor(&[&format!("http://127.0.0.1:{port}{path}")])
}

fn closed() -> std::net::SocketAddr {
    std::net::SocketAddr::from(([127, 0, 0, 1], free_port()))
}

fn get(port: u16, path: &str) -> String {
    let mut answer = Vec::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n\r\n");
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_end(&mut answer);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Waits until something is so; only a machine in trouble needs long.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("no {what} after a minute");
}

/// Waits until the proxy answers with this status; a check needs its time.
fn wait_for(port: u16, path: &str, status: u16) {
    let begin = format!("HTTP/1.1 {status}");
    wait_until(&format!("{status} of {path}"), || {
        get(port, path).starts_with(&begin)
    });
}

#[test]
fn haproxy_says_why_it_has_no_server() {
    let (app, port) = (App::well(), free_port());
    let config = HaProxy::config(port, &[app.address()], "").replace(
        "    default_backend app\n",
        "    http-request deny deny_status 503 if { path_beg /admin }\n    \
         use_backend empty if { path_beg /empty }\n    use_backend out if { path_beg /out }\n    \
         use_backend down if { path_beg /down }\n    default_backend app\n",
    );
    let config = format!(
        "{config}\nbackend empty\nbackend out\n    server o1 {} disabled\nbackend down\n    \
         server s0 {} check inter 200ms\n    server s1 {} check inter 200ms\n",
        app.address(),
        closed(),
        closed()
    );
    let _haproxy = HaProxy::start(&config);
    wait_for(port, "/down", 503);
    at(port, "/down")
        .finds("hap.all_down")
        .is_silent_on(&["hap.refused", "hap.queue"])
        .sees("proxy", "server", "L4CON");
    at(port, "/empty").names("hap.empty_backend");
    at(port, "/out").names("hap.maint");
    at(port, "/admin")
        .names("hap.local_deny")
        .sees("proxy", "rule", "deny_status 503");
    // Its neighbours are down, and it is not.
    let told = at(port, "/");
    told.is_silent_on(ALL);
    assert_eq!(told.code, 0, "{told:?}");
}

#[test]
fn a_check_that_expects_another_answer_is_compared_with_the_one_it_gets() {
    let (app, port) = (App::well(), free_port());
    let caddy = |expects: &str| {
        format!(
            "{{\nadmin 127.0.0.1:{}\nauto_https off\npersist_config off\n}}\nhttp://:{port} {{\nbind 127.0.0.1\n\
             reverse_proxy {} {{\nhealth_uri /\nhealth_interval 200ms\nhealth_status {expects}\n}}\n}}\n",
            free_port(),
            app.address()
        )
    };
    let wrong = Caddy::start(port, &caddy("204"));
    wait_for(port, "/", 503);
    at(port, "/")
        .names("app.health_misconfig")
        .sees("proxy", "check_path", "204")
        .sees("wire", "health_check", "200");
    drop(wrong);
    let _right = Caddy::start(port, &caddy("2xx"));
    wait_for(port, "/", 200);
    let told = at(port, "/");
    told.is_silent_on(ALL).is_silent_on(&["app."]);
    assert_eq!(told.code, 0, "{told:?}");
}

#[test]
fn a_service_that_closes_idle_connections_before_nginx_does_is_a_risk() {
    let port = free_port();
    let keeping = |app: &App| {
        let config = Nginx::config(port, &[app.address()], "");
        config.replacen(
            "upstream app {",
            "upstream app { keepalive 4; keepalive_timeout 30s;",
            1,
        )
    };
    let impatient = App::impatient();
    let nginx = Nginx::start(&keeping(&impatient));
    let told = at(port, "/");
    told.names("deploy.keepalive_race")
        .sees("wire", "keep_alive", "idle");
    assert_eq!(told.code, 13, "{told:?}");
    drop(nginx);
    let patient = App::well();
    let _nginx = Nginx::start(&keeping(&patient));
    assert_eq!(at(port, "/").code, 0);
}

#[test]
fn haproxy_whose_queue_is_full_is_told_from_one_without_servers() {
    let (slow, port) = (BlackHole::start(), free_port());
    let config = HaProxy::config(port, &[], "    timeout queue 1s");
    let config = format!("{config}    server s0 {} maxconn 1\n", slow.address());
    let haproxy = HaProxy::start(&config);
    // One request that holds the only place.
    let mut held = TcpStream::connect(("127.0.0.1", port)).unwrap();
    held.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    while slow.taken() == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    // Behind it is a service that hangs, which is the root.
    at(port, "/")
        .finds("hap.queue_timeout")
        .is_silent_on(&["hap.all_down", "hap.empty"]);
    drop((held, haproxy));
}

#[test]
fn nginx_names_the_rule_and_the_upstream() {
    let (well, failing, port) = (App::well(), App::failing(), free_port());
    let config = Nginx::config(port, &[well.address()], "").replace(
        "location / {",
        &format!(
            "location /closed {{ return 503; }}\nlocation /passed {{ proxy_pass http://{}; }}\n\
             location /limited {{ limit_req zone=one; proxy_pass http://app; }}\n\
             location /dead {{ proxy_pass http://{}; }}\nlocation / {{",
            failing.address(),
            closed()
        ),
    );
    let config = config.replace(
        "upstream app",
        "limit_req_zone $server_port zone=one:1m rate=1r/m;\nupstream app",
    );
    let _nginx = Nginx::start(&config);
    let told = at(port, "/");
    told.is_silent_on(ALL);
    assert_eq!(told.code, 0, "{told:?}");
    at(port, "/closed")
        .names("ngx.return503")
        .sees("proxy", "rule", "return 503");
    at(port, "/dead")
        .sees("server", "reached", "refused")
        .finds("ngx.no_live");
    let passed = at(port, "/passed");
    passed.is_silent_on(&["ngx.return503", "ngx.limit"]);
    wait_for(port, "/limited", 503);
    at(port, "/limited")
        .names("ngx.limit_req")
        .sees("proxy", "rule", "1r/m");
}

const ENVOY: &str = "
admin: { address: { socket_address: { address: 127.0.0.1, port_value: ADMIN } } }
static_resources:
  listeners:
  - name: web
    address: { socket_address: { address: 127.0.0.1, port_value: PORT } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config:
            name: local
            validate_clusters: false
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes:
              - { match: { prefix: /direct }, direct_response: { status: 503, body: { inline_string: closed } } }
              - { match: { prefix: /missing }, route: { cluster: missing } }
              - { match: { prefix: /sick }, route: { cluster: sick } }
              - { match: { prefix: /full }, route: { cluster: full } }
              - { match: { prefix: /refused }, route: { cluster: refused } }
              - { match: { prefix: / }, route: { cluster: well } }
          http_filters:
          - name: envoy.filters.http.router
            typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
  clusters:
CLUSTERS
";

fn cluster(name: &str, address: std::net::SocketAddr, more: &str) -> String {
    let (host, port) = (address.ip(), address.port());
    format!(
        "  - name: {name}\n    type: STATIC\n    connect_timeout: 1s\n{more}    load_assignment: {{ cluster_name: {name}, \
         endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: {host}, port_value: {port} }} }} }} }} ] }} ] }}\n"
    )
}

#[test]
fn envoy_says_which_of_its_reasons_it_is() {
    let (app, slow, port, admin) = (App::well(), BlackHole::start(), free_port(), free_port());
    let check = "    common_lb_config: { healthy_panic_threshold: { value: 0 } }\n    health_checks: [ { timeout: 1s, interval: 0.2s, \
                 no_traffic_interval: 0.2s, unhealthy_threshold: 1, healthy_threshold: 1, http_health_check: { path: /ready/ } } ]\n";
    let full = "    circuit_breakers: { thresholds: [ { max_connections: 1, max_pending_requests: 0, max_requests: 1 } ] }\n";
    let clusters = [
        cluster("well", app.address(), ""),
        cluster("refused", closed(), ""),
        cluster("sick", closed(), check),
        cluster("full", slow.address(), full),
    ];
    let config = ENVOY
        .replace("PORT", &port.to_string())
        .replace("ADMIN", &admin.to_string());
    let _envoy = Envoy::start(port, &config.replace("CLUSTERS", &clusters.concat()));
    wait_for(port, "/sick", 503);
    let told = at(port, "/");
    told.is_silent_on(ALL);
    assert_eq!(told.code, 0, "{told:?}");
    at(port, "/direct")
        .names("envoy.direct_response")
        .sees("proxy", "rule", "direct_response 503");
    at(port, "/missing")
        .names("envoy.NC")
        .sees("proxy", "envoy_flagged", "missing");
    at(port, "/sick")
        .finds("envoy.UH")
        .sees("proxy", "backend", "\"serving\":0");
    at(port, "/refused")
        .finds("envoy.UF")
        .sees("server", "reached", "refused");
    at(port, "/full").names("envoy.UO");
}

#[test]
fn traefik_and_caddy_without_healthy_servers_are_told_from_their_twins() {
    let (app, port, api) = (App::well(), free_port(), free_port());
    // The sick one is found soon, and the other is not taken out by a check that is late.
    let service = |name: &str, url: String, [interval, timeout]: [&str; 2]| {
        let check =
            format!("path = \"/ready/\"\ninterval = \"{interval}\"\ntimeout = \"{timeout}\"\n");
        format!(
            "[http.routers.{name}]\nrule = \"PathPrefix(`/{name}`)\"\nservice = \"{name}\"\n\
             [[http.services.{name}.loadBalancer.servers]]\nurl = \"{url}\"\n\
             [http.services.{name}.loadBalancer.healthCheck]\n{check}"
        )
    };
    let dynamic = service("well", app.url(), ["6s", "5s"])
        + &service("sick", format!("http://{}", closed()), ["300ms", "200ms"]);
    let config = format!(
        "[entryPoints.web]\naddress = \"127.0.0.1:{port}\"\n[entryPoints.traefik]\naddress = \"127.0.0.1:{api}\"\n[api]\ninsecure = true\n"
    );
    let _traefik = Traefik::start(port, &config, &dynamic);
    wait_for(port, "/sick", 503);
    at(port, "/sick")
        .finds("traefik.no_server")
        .sees("proxy", "server", "down");
    wait_for(port, "/well", 200);
    let told = at(port, "/well");
    told.is_silent_on(ALL);
    assert_eq!(told.code, 0, "{told:?}");

    let (port, admin) = (free_port(), free_port());
    let dead = closed();
    let config = format!(
        "{{\n admin localhost:{admin}\n auto_https off\n persist_config off\n}}\nhttp://:{port} {{\n bind 127.0.0.1\n \
         handle /closed* {{\n  respond 503\n }}\n handle /sick* {{\n  reverse_proxy {dead} {{\n   health_uri /ready/\n   health_interval 200ms\n  }}\n }}\n \
         handle {{\n  reverse_proxy {}\n }}\n}}\n",
        app.address()
    );
    let _caddy = Caddy::start(port, &config);
    wait_for(port, "/sick", 503);
    // Its page of metrics follows its checks every ten seconds.
    let sick = format!("upstreams_healthy{{upstream=\"{dead}\"}} 0");
    wait_until("an upstream that is sick", || {
        get(admin, "/metrics").contains(&sick)
    });
    at(port, "/sick")
        .finds("caddy.no_upstream")
        .sees("proxy", "server", "down");
    at(port, "/closed")
        .names("caddy.respond")
        .sees("proxy", "rule", "respond 503");
    let told = at(port, "/");
    told.is_silent_on(ALL);
    assert_eq!(told.code, 0, "{told:?}");
}

#[test]
fn apache_with_a_worker_in_error_and_varnish_with_a_dead_backend_are_named() {
    let (app, port) = (App::well(), free_port());
    let config = format!(
        "<Proxy balancer://sick>\nBalancerMember http://{}\n</Proxy>\n<Proxy balancer://well>\nBalancerMember http://{}\n</Proxy>\n\
         RewriteEngine on\nRewriteRule ^/closed - [R=503,L]\nProxyPass /sick balancer://sick/\nProxyPass / balancer://well/\n",
        closed(),
        app.address()
    );
    let _apache = Apache::start(port, &config);
    wait_for(port, "/sick", 503);
    at(port, "/sick")
        .finds("apache.worker_error")
        .sees("proxy", "server", "balancer://sick");
    at(port, "/closed")
        .names("apache.respond")
        .sees("proxy", "rule", "R=503");
    let told = at(port, "/");
    told.is_silent_on(ALL);
    assert_eq!(told.code, 0, "{told:?}");

    let port = free_port();
    let vcl = |address: std::net::SocketAddr| {
        format!(
            "vcl 4.1;\nbackend app {{ .host = \"{}\"; .port = \"{}\"; }}\nsub vcl_recv {{\nif (req.url ~ \"^/closed\") {{\nreturn (synth(503, \"closed\"));\n}}\nreturn (pass);\n}}\n",
            address.ip(),
            address.port()
        )
    };
    let _dead = Varnish::start(port, &vcl(closed()));
    at(port, "/")
        .finds("varnish.backend")
        .sees("server", "reached", "refused");
    let port = free_port();
    let _well = Varnish::start(port, &vcl(app.address()));
    at(port, "/closed")
        .names("varnish.synth")
        .sees("proxy", "rule", "synth(503");
    let told = at(port, "/");
    told.is_silent_on(ALL);
    assert_eq!(told.code, 0, "{told:?}");
}
