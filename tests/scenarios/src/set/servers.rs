//! Traefik, Caddy, Apache and Varnish.

use support::{Apache, Caddy, Traefik, Varnish, free_port};

use super::{EXPLAINED, Scenario};
use crate::{
    app::App,
    stage::{Side, Stage, status, until},
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "traefik-no-server",
        is: "no server passes its check",
        says: &["traefik.no_server"],
        exit: EXPLAINED,
        quick: true,
        set_up: |side| {
            of(side, 503, |port, server| {
                traefik(
                    port,
                    server,
                    "[http.services.app.loadBalancer.healthCheck]\npath = \"/\"\ninterval = \"500ms\"\ntimeout = \"300ms\"\n",
                )
            })
        },
    },
    Scenario {
        name: "traefik-refused",
        is: "the server refuses: a 502",
        says: &[
            "traefik.refused",
            "proxy.upstream_down",
            "app.not_listening",
        ],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| of(side, 502, |port, server| traefik(port, server, "")),
    },
    Scenario {
        name: "caddy-no-upstream",
        is: "no upstream passes its check",
        says: &["caddy.no_upstream"],
        exit: EXPLAINED,
        quick: true,
        set_up: |side| {
            of(side, 503, |port, server| {
                caddy(port, server, "health_uri /\nhealth_interval 300ms\n")
            })
        },
    },
    Scenario {
        name: "caddy-refused",
        is: "the upstream refuses: a 502",
        says: &["caddy.refused", "proxy.upstream_down", "app.not_listening"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| of(side, 502, |port, server| caddy(port, server, "")),
    },
    Scenario {
        name: "apache-worker-disabled",
        is: "the balancer set its only worker aside",
        says: &["apache.worker_error"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            of(side, 503, |port, server| {
                let config = format!(
                    "<Proxy balancer://app>\nBalancerMember http://127.0.0.1:{server} retry=60\n</Proxy>\nProxyPass / balancer://app/\n"
                );
                let apache = Apache::start(port, &config);
                Stage::at(port)
                    .tell(
                        "--apache-status",
                        format!("http://127.0.0.1:{port}/server-status"),
                    )
                    .keep(apache)
            })
        },
    },
    Scenario {
        name: "varnish-backend-dead",
        is: "the backend refuses",
        says: &["varnish.backend"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            of(side, 503, |port, server| {
                let vcl = format!(
                    "vcl 4.1;\nbackend default {{ .host = \"127.0.0.1\"; .port = \"{server}\"; }}\n"
                );
                Stage::at(port).keep(Varnish::start(port, &vcl))
            })
        },
    },
];

/// In front of the application, or of a port where nobody listens.
fn of(side: Side, sick: u16, front: fn(u16, u16) -> Stage) -> Stage {
    let app = App::start("ok");
    let server = if side == Side::Sick {
        free_port()
    } else {
        app.port
    };
    let port = free_port();
    let stage = front(port, server).keep(app);
    let expected = if side == Side::Sick { sick } else { 200 };
    until("the proxy has looked", || {
        status(port, "/") == Some(expected)
    });
    stage
}

fn traefik(port: u16, server: u16, service: &str) -> Stage {
    let admin = free_port();
    let config = format!(
        "[entryPoints.web]\naddress = \"127.0.0.1:{port}\"\n[entryPoints.traefik]\naddress = \"127.0.0.1:{admin}\"\n\
         [api]\ninsecure = true\n[accessLog]\nfilePath = \"{{dir}}/access.log\"\n[global]\ncheckNewVersion = false\nsendAnonymousUsage = false\n"
    );
    let dynamic = format!(
        "[http.routers.app]\nrule = \"PathPrefix(`/`)\"\nservice = \"app\"\nentryPoints = [\"web\"]\n\
         [[http.services.app.loadBalancer.servers]]\nurl = \"http://127.0.0.1:{server}\"\n{service}"
    );
    let traefik = Traefik::start(port, &config, &dynamic);
    Stage::at(port)
        .tell("--traefik-api", format!("http://127.0.0.1:{admin}"))
        .log(traefik.path("access.log"))
        .keep(traefik)
}

fn caddy(port: u16, server: u16, proxy: &str) -> Stage {
    let admin = free_port();
    let config = format!(
        "{{\nadmin 127.0.0.1:{admin}\nauto_https off\npersist_config off\n}}\nhttp://:{port} {{\nbind 127.0.0.1\nlog {{\noutput file {{dir}}/access.log\n}}\n\
         reverse_proxy 127.0.0.1:{server} {{\n{proxy}}}\n}}\n"
    );
    let caddy = Caddy::start(port, &config);
    Stage::at(port)
        .tell("--caddy-admin", format!("http://127.0.0.1:{admin}"))
        .log(caddy.path("access.log"))
        .keep(caddy)
}
