//! The process and its host.

use std::{fs, process::Command, thread, time::Duration};

use support::free_port;

use super::{EXPLAINED, RISK, Scenario, UNREACHABLE};
use crate::{
    app::App,
    stage::{Side, Stage, ask, until},
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "app-not-listening",
        is: "nobody listens at the port",
        says: &["app.not_listening"],
        exit: UNREACHABLE,
        quick: true,
        set_up: |side| match side {
            Side::Sick => Stage::at(free_port()),
            Side::Well => app("ok"),
        },
    },
    Scenario {
        name: "app-wrong-path",
        is: "the page that is asked for does not exist, another does",
        says: &["app.wrong_path"],
        exit: RISK,
        quick: false,
        set_up: |side| {
            app(if side == Side::Sick {
                "elsewhere"
            } else {
                "ok"
            })
        },
    },
    Scenario {
        name: "app-wrong-port",
        is: "the port belongs to a server that speaks something else",
        says: &["app.not_http"],
        exit: UNREACHABLE,
        quick: false,
        set_up: |side| match side {
            Side::Sick => {
                let redis = support::Redis::builder().start();
                Stage::at(redis.port()).keep(redis)
            }
            Side::Well => app("ok"),
        },
    },
    Scenario {
        name: "app-paused",
        is: "the process was stopped by a signal",
        says: &["app.hung"],
        exit: &[10, 20],
        quick: true,
        set_up: |side| {
            let app = App::start("ok");
            if side == Side::Sick {
                app.pause();
            }
            Stage::at(app.port).keep(app)
        },
    },
    Scenario {
        name: "app-own-503",
        is: "the application itself answers 503 and says no more",
        says: &["app.foreign_503", "app.own_503"],
        exit: &[10, 11, 12],
        quick: false,
        set_up: |side| app(if side == Side::Sick { "busy" } else { "ok" }),
    },
    Scenario {
        name: "gunicorn-busy",
        is: "gunicorn, both workers in a handler that takes long",
        says: &["app.workers_busy", "app.hung"],
        exit: &[10, 11, 20],
        quick: false,
        set_up: |side| {
            let gunicorn = Gunicorn::start(2, 60);
            let mut stage = Stage::at(gunicorn.port);
            if side == Side::Sick {
                for _ in 0..4 {
                    stage = stage.keep(ask(gunicorn.port, "/slow"));
                }
                thread::sleep(Duration::from_millis(500));
            }
            stage.keep(gunicorn)
        },
    },
    Scenario {
        name: "gunicorn-timeout",
        is: "gunicorn kills its worker, whose handler takes longer than the time-out",
        says: &["app.worker_timeout"],
        exit: &[10, 11, 13, 20],
        quick: true,
        set_up: |side| {
            // A worker that is well may be late on a machine that stands still for a moment.
            let timeout = if side == Side::Sick { 1 } else { 30 };
            let gunicorn = Gunicorn::start(1, timeout);
            let path = if side == Side::Sick { "/slow" } else { "/" };
            Stage::at(gunicorn.port).path(path).keep(gunicorn)
        },
    },
    Scenario {
        name: "accept-queue-full",
        is: "the queue of accepted connections is full, because nobody accepts",
        says: &["host.accept_queue_full", "app.hung"],
        exit: &[10, 20],
        quick: true,
        set_up: |side| match side {
            Side::Sick => {
                let app = App::start("deaf");
                let mut stage = Stage::at(app.port);
                for _ in 0..3 {
                    stage = stage.keep(ask(app.port, "/"));
                }
                stage.keep(app)
            }
            Side::Well => app("ok"),
        },
    },
    Scenario {
        name: "descriptors-exhausted",
        is: "the process has no file descriptor left, connections are never answered",
        says: &["host.fd_exhausted"],
        exit: &[10, 20],
        quick: true,
        set_up: |side| match side {
            Side::Sick => {
                let app = App::start("hungry");
                let mut stage = Stage::at(app.port);
                for _ in 0..10 {
                    stage = stage.keep(ask(app.port, "/"));
                }
                let pid = app.pid();
                until("every descriptor is taken", || descriptors(pid) >= 12);
                stage.keep(app)
            }
            Side::Well => app("ok"),
        },
    },
    Scenario {
        name: "health-behind-login",
        is: "HAProxy checks a path that wants a login, and takes the server out",
        says: &["app.health_misconfig"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            let app = App::start(if side == Side::Sick { "login" } else { "ok" });
            super::haproxy::in_front(
                &[app.port],
                "    option httpchk GET /health/\n",
                side == Side::Sick,
            )
            .keep(app)
        },
    },
];

fn app(kind: &str) -> Stage {
    let app = App::start(kind);
    Stage::at(app.port).keep(app)
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// The runbook's own example.
struct Gunicorn {
    child: std::process::Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Gunicorn {
    fn start(workers: u32, timeout: u32) -> Self {
        let dir = tempfile::tempdir().expect("there is room for a temporary directory");
        fs::write(dir.path().join("shop.py"), APPLICATION).expect("it can be written");
        let port = free_port();
        let log = fs::File::create(dir.path().join("log")).expect("it can be written");
        let child = Command::new("gunicorn")
            .args([
                "-b",
                &format!("127.0.0.1:{port}"),
                "-w",
                &workers.to_string(),
            ])
            .args(["-t", &timeout.to_string(), "shop:app"])
            .current_dir(dir.path())
            .stdout(log.try_clone().expect("a file has a second handle"))
            .stderr(log)
            .spawn()
            .expect("gunicorn is installed (PyPI)");
        let gunicorn = Self {
            child,
            port,
            _dir: dir,
        };
        until("gunicorn answers", || {
            crate::stage::status(port, "/") == Some(200)
        });
        gunicorn
    }
}

impl Drop for Gunicorn {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        // QUIT ends the workers too, and at once.
        let _ = rustix::process::kill_process(
            pid.expect("a pid is positive"),
            rustix::process::Signal::QUIT,
        );
        let _ = self.child.wait();
    }
}

const APPLICATION: &str = "
import time
def app(environ, start_response):
    if environ['PATH_INFO'] == '/slow':
        time.sleep(20)
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '8')])
    return [b'welcome\\n']
";
