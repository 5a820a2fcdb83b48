//! nginx, which makes a 503 only of its own rules.

use support::{Nginx, free_port};

use super::{EXPLAINED, Scenario};
use crate::{
    app::App,
    stage::{Side, Stage, here, status},
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "nginx-limit-req",
        is: "the rate limit refuses",
        says: &["ngx.limit_req"],
        exit: EXPLAINED,
        quick: true,
        set_up: |side| {
            let app = App::start("ok");
            let limit = if side == Side::Sick {
                "limit_req zone=few;"
            } else {
                ""
            };
            let stage = in_front(app.port, limit).keep(app);
            // The first of a minute is served.
            let port = stage
                .url
                .trim_end_matches('/')
                .rsplit(':')
                .next()
                .and_then(|it| it.parse().ok());
            let _ = status(port.expect("it has a port"), "/");
            stage
        },
    },
    Scenario {
        name: "nginx-return-503",
        is: "the configuration answers 503",
        says: &["ngx.return503"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            let app = App::start("ok");
            in_front(
                app.port,
                if side == Side::Sick {
                    "return 503;"
                } else {
                    ""
                },
            )
            .keep(app)
        },
    },
    Scenario {
        name: "nginx-passed-through",
        is: "the application behind nginx answers 503 itself",
        says: &["ngx.passthrough", "app.foreign_503", "app.own_503"],
        exit: &[10, 11, 12],
        quick: false,
        set_up: |side| {
            let app = App::start(if side == Side::Sick { "busy" } else { "ok" });
            in_front(app.port, "").keep(app)
        },
    },
    Scenario {
        name: "nginx-upstream-dead",
        is: "every server of the upstream refuses: a 502",
        says: &["ngx.no_live", "app.not_listening", "proxy.upstream_down"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            let app = App::start("ok");
            let server = if side == Side::Sick {
                free_port()
            } else {
                app.port
            };
            in_front(server, "").keep(app)
        },
    },
];

fn in_front(server: u16, location: &str) -> Stage {
    let port = free_port();
    let config = Nginx::config(port, &[here(server)], location).replace(
        "upstream app",
        "limit_req_zone $server_port zone=few:1m rate=1r/m;\nupstream app",
    );
    let nginx = Nginx::start(&config);
    let log = nginx.error_log_path();
    let file = log.with_file_name("nginx.conf");
    Stage::at(port)
        .tell("--nginx-error-log", log.display())
        .tell("--nginx-config", file.display())
        .log(log.with_file_name("access.log"))
        .log(log)
        .keep(nginx)
}
