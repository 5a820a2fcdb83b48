//! The shop, a service with the library, in the states that a deployment brings.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use support::free_port;

use super::{EXPLAINED, PROVEN, Scenario};
use crate::{
    app::App,
    stage::{Side, Stage, here, status, until},
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "shop-draining",
        is: "the service was told to go, and its readiness says so",
        says: &["app.draining"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            let shop = Shop::start(&[]);
            until("it is ready", || status(shop.port, "/ready/") == Some(200));
            if side == Side::Sick {
                shop.signal(Signal::TERM);
                until("it leaves", || status(shop.port, "/ready/") == Some(503));
            }
            shop.stage("/ready/")
        },
    },
    Scenario {
        name: "shop-starting",
        is: "the service waits for a cache that it needs to start",
        says: &["app.starting", "redis.down", "dep.unreachable"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            let redis = support::Redis::builder().start();
            let port = if side == Side::Sick {
                free_port()
            } else {
                redis.port()
            };
            let shop = Shop::start(&[("REDIS_URL", format!("redis://127.0.0.1:{port}"))]);
            let expected = if side == Side::Sick { 503 } else { 200 };
            until("its first checks are over", || {
                status(shop.port, "/ready/") == Some(expected)
            });
            shop.stage("/ready/").keep(redis)
        },
    },
    Scenario {
        name: "shop-maintenance",
        is: "the service is in maintenance",
        says: &["app.maintenance"],
        exit: PROVEN,
        quick: false,
        set_up: |side| {
            let shop = Shop::start(&[]);
            until("it is ready", || status(shop.port, "/ready/") == Some(200));
            if side == Side::Sick {
                shop.order("PUT /why503/maintenance?reason=disk&for=10m");
            }
            shop.stage("/products")
        },
    },
    Scenario {
        name: "shop-breaker-open",
        is: "the breaker of a dependency is open, because that was killed",
        says: &["app.breaker_open", "dep.unreachable"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            let payments = App::start("ok");
            let url = format!("http://127.0.0.1:{}", payments.port);
            let shop = Shop::start(&[("PAYMENTS_URL", url)]);
            until("it is ready", || status(shop.port, "/ready/") == Some(200));
            if side == Side::Well {
                return shop.stage("/products").keep(payments);
            }
            drop(payments);
            let order = shop.post("/orders", ORDER);
            let id = order
                .split("\"id\":\"")
                .nth(1)
                .and_then(|it| it.split('"').next())
                .unwrap_or_else(|| panic!("no order in {order}"));
            let path = format!("/pay/{id}");
            until("paying is refused", || {
                shop.post(&path, "")
                    .contains("why-503: cause=dependency-down")
            });
            shop.stage(&path)
        },
    },
];

struct Shop {
    child: Child,
    port: u16,
}

impl Shop {
    /// Starts the example with these variables; it was built beside this program.
    fn start(variables: &[(&str, String)]) -> Self {
        let me = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(me.with_file_name("shop"))
            .env("ADDR", "127.0.0.1:0")
            .env("WHY503_TOKEN", TOKEN)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("`cargo build -p shop` makes it");
        let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        let _ = out.read_line(&mut line);
        let port = line
            .trim()
            .rsplit(':')
            .next()
            .and_then(|it| it.trim_end_matches('/').parse().ok());
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        Self {
            child,
            port: port.unwrap_or_else(|| panic!("no address in {line:?}")),
        }
    }

    fn stage(self, path: &str) -> Stage {
        Stage::at(self.port)
            .path(path)
            .tell("--token", TOKEN)
            .keep(self)
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = kill_process(pid.expect("a pid is positive"), signal);
    }

    /// An operator's order.
    fn order(&self, line: &str) {
        self.send(line, "");
    }

    /// What is answered to JSON that is sent.
    fn post(&self, path: &str, json: &str) -> String {
        self.send(&format!("POST {path}"), json)
    }

    fn send(&self, line: &str, json: &str) -> String {
        let mut answer = Vec::new();
        let Ok(mut stream) = TcpStream::connect(here(self.port)) else {
            return String::new();
        };
        let head = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{json}",
            json.len()
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ORDER: &str = r#"{"customer":"Ada","lines":[{"product":1,"quantity":2}]}"#;
const TOKEN: &str = "a-token-for-scenarios";
