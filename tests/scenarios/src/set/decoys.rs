//! What looks like a fault and is none: nothing is to be said of it.

use std::{
    io::Read,
    net::TcpListener,
    process::{Child, Command},
    thread,
};

use super::{EXPLAINED, Scenario, UNREACHABLE, WELL};
use crate::{
    app::App,
    stage::{Side, Stage, here},
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "certificate-expired",
        is: "the certificate of a service that is called has expired",
        says: &["tls.expired"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            let stage = Stage::depending(side);
            if side == Side::Well {
                // A certificate that nobody signed would be a fault of its own.
                let upstream = App::start("ok");
                return stage
                    .tell("--upstream", format!("http://127.0.0.1:{}/", upstream.port))
                    .keep(upstream);
            }
            let (nginx, port) = tls();
            stage
                .tell("--upstream", format!("https://localhost:{port}/"))
                .keep(nginx)
        },
    },
    Scenario {
        name: "name-not-found",
        is: "the name of the service is not in DNS",
        says: &["dns.fail"],
        exit: UNREACHABLE,
        quick: false,
        set_up: |side| {
            let app = App::start("ok");
            let mut stage = Stage::at(app.port).keep(app);
            if side == Side::Sick {
                stage.url = "http://shop.invalid/".into();
            }
            stage
        },
    },
    Scenario {
        name: "decoy-time-wait",
        is: "decoy: ten thousand sockets in TIME_WAIT",
        says: &[],
        exit: WELL,
        quick: false,
        set_up: |side| {
            if side == Side::Sick {
                time_wait(10_000);
            }
            let app = App::start("ok");
            Stage::at(app.port).keep(app)
        },
    },
    Scenario {
        name: "decoy-redis-nearly-full",
        is: "decoy: Redis has 90 % of its clients",
        says: &[],
        exit: &[0, 13],
        quick: false,
        set_up: |side| {
            let redis = support::Redis::builder()
                .arg("--maxclients")
                .arg("50")
                .start();
            let count = if side == Side::Sick { 45 } else { 1 };
            let clients = super::redis::clients(&redis, count);
            super::redis::behind(Side::Well, redis).keep(clients)
        },
    },
    Scenario {
        name: "decoy-busy-host",
        is: "decoy: every processor is busy, and the service answers",
        says: &[],
        exit: WELL,
        quick: false,
        set_up: |side| {
            let count = if side == Side::Sick { 4 } else { 0 };
            let spin = |_| {
                Command::new("sh")
                    .args(["-c", "while :; do :; done"])
                    .spawn()
                    .expect("there is a shell")
            };
            let spinning = Children((0..count).map(spin).collect());
            let app = App::start("ok");
            Stage::at(app.port).keep(app).keep(spinning)
        },
    },
];

struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Makes connections that this side closes first.
fn time_wait(count: usize) {
    let listener = TcpListener::bind(here(0)).expect("a free port");
    let addr = listener.local_addr().expect("it listens");
    let server = thread::spawn(move || {
        for stream in listener.incoming().take(count).flatten() {
            drop(stream);
        }
    });
    for _ in 0..count {
        if let Ok(mut stream) = std::net::TcpStream::connect(addr) {
            let _ = stream.read(&mut [0]);
        }
    }
    let _ = server.join();
}

/// nginx with a certificate that was valid until yesterday.
fn tls() -> (support::Nginx, u16) {
    let key = rcgen::KeyPair::generate().expect("a key can be made");
    let mut wanted = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let now = time::OffsetDateTime::now_utc();
    wanted.not_before = now - time::Duration::days(90);
    wanted.not_after = now - time::Duration::days(1);
    let certificate = wanted.self_signed(&key).expect("it can be signed");
    let dir = tempfile::tempdir()
        .expect("there is room for a temporary directory")
        .keep();
    let (file, secret) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&file, certificate.pem()).expect("it can be written");
    std::fs::write(&secret, key.serialize_pem()).expect("it can be written");
    let port = support::free_port();
    let config = support::Nginx::config(port, &[here(1)], "return 200 welcome;").replace(
        &format!("listen 127.0.0.1:{port};"),
        &format!(
            "listen 127.0.0.1:{port} ssl;\nssl_certificate {};\nssl_certificate_key {};",
            file.display(),
            secret.display()
        ),
    );
    (support::Nginx::start(&config), port)
}
