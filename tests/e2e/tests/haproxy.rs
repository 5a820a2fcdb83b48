//! Instances behind HAProxy: in and out of rotation, and none lost on the way.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(
    clippy::disallowed_methods,
    reason = "clients ask at a pace of their own"
)]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use axum::{Router, extract::Request, routing};
use e2e::{Client, Service, get, hold, wait_for, wait_until};
use http::{Method, Version, header};
use rustix::process::{Signal, getpid, kill_process};
use steadfast::{
    CheckOutcome, Dependency, Drain, FailureClass, Guard, GuardBuilder, Phase, Probes,
};
use support::{HaProxy, free_port};
use tower::util::MapRequestLayer;

/// The check as HAProxy sends it without being told more than the path.
const OLD_CHECK: &str = "    option httpchk OPTIONS /ready/";

/// Longer than any test waits, so that a lame duck ends only when a test is over.
const FOR_GOOD: Duration = Duration::from_secs(600);

fn guard() -> GuardBuilder {
    Guard::builder().without_signals()
}

fn tell_to_go() {
    kill_process(getpid(), Signal::TERM).unwrap();
}

fn leaving_for_good() -> Drain {
    Drain::default().lame_duck_max(FOR_GOOD)
}

fn who(name: &'static str) -> Router {
    Router::new().route("/", routing::get(move || async move { name }))
}

/// An HAProxy in front of these services.
struct Front {
    haproxy: HaProxy,
    address: SocketAddr,
}

impl Front {
    fn of(services: &[&Service], backend: &str) -> Self {
        let port = free_port();
        let servers: Vec<_> = services.iter().map(|service| service.address()).collect();
        Self {
            haproxy: HaProxy::start(&HaProxy::config(port, &servers, backend)),
            address: SocketAddr::from(([127, 0, 0, 1], port)),
        }
    }

    /// The status of a server and the code of its last check.
    fn server(&self, name: &str) -> (String, String) {
        let rows = self.haproxy.show_stat();
        let row = rows.iter().find(|row| row["svname"] == name);
        let row = row.expect("the server is configured");
        (row["status"].clone(), row["check_code"].clone())
    }

    #[track_caller]
    fn wait_for_server(&self, name: &str, status: &str, code: &str) {
        let wanted = (status.to_owned(), code.to_owned());
        wait_for(status, || self.server(name), |seen| *seen == wanted);
    }
}

#[test]
fn the_old_default_check_takes_an_instance_in_and_out() {
    let checks: Arc<Mutex<Vec<_>>> = Arc::default();
    let seen = Arc::clone(&checks);
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let warming = steadfast::check::closure(move || {
        let passes = well.load(Ordering::Relaxed);
        async move {
            if passes {
                CheckOutcome::pass()
            } else {
                CheckOutcome::fail(FailureClass::Loading, "not warm yet")
            }
        }
    });
    let cache = Dependency::builder("cache").check(warming);
    let cache = cache.interval(Duration::from_millis(50)).build().unwrap();
    let guard = guard()
        .dependency(&cache)
        .drain(leaving_for_good())
        .build()
        .unwrap();
    let noting = MapRequestLayer::new(move |request: Request| {
        let host = request.headers().get(header::HOST).is_some();
        let check = (request.method().clone(), request.version(), host);
        if request.uri().path() == "/ready/" {
            seen.lock().unwrap().push(check);
        }
        request
    });
    let service = Service::start_layered(&guard, who("s0"), noting);
    let front = Front::of(&[&service], OLD_CHECK);

    front.wait_for_server("s0", "DOWN", "503");
    assert!(
        checks
            .lock()
            .unwrap()
            .iter()
            .all(|check| *check == (Method::OPTIONS, Version::HTTP_10, false)),
        "{checks:?}"
    );
    is_well.store(true, Ordering::Relaxed);
    front.wait_for_server("s0", "UP", "200");
    assert_eq!(get(front.address, "/").body, "s0");

    service.control().begin_maintenance("new disk", None);
    front.wait_for_server("s0", "DOWN", "503");
    service.control().end_maintenance();
    front.wait_for_server("s0", "UP", "200");
    assert_eq!(get(front.address, "/").body, "s0");

    service.begin_drain();
    front.wait_for_server("s0", "DOWN", "503");
    assert_eq!(service.control().phase(), Some(Phase::LameDuck));
    assert_eq!(get(service.address(), "/").body, "s0", "still serving");
}

#[test]
fn with_disable_on_404_a_leaving_instance_keeps_its_sessions_and_gets_no_new_ones() {
    let leaving = guard()
        .probes(Probes::default().not_found_while_draining())
        .drain(leaving_for_good())
        .build()
        .unwrap();
    let staying = guard().build().unwrap();
    let services = [
        Service::start(&leaving, who("s0")),
        Service::start(&staying, who("s1")),
    ];
    let backend = format!(
        "{OLD_CHECK}\n    http-check disable-on-404\n    \
         dynamic-cookie-key e2e\n    cookie SERVED insert indirect dynamic"
    );
    let front = Front::of(&[&services[0], &services[1]], &backend);
    front.wait_for_server("s0", "UP", "200");
    front.wait_for_server("s1", "UP", "200");

    let session = wait_for(
        "a session on s0",
        || get(front.address, "/"),
        |it| it.body == "s0",
    );
    let cookie = session.header("set-cookie").expect("a cookie").to_owned();
    let cookie = cookie.split(';').next().unwrap();
    let mut session = Client::connect(front.address).unwrap();
    let mut direct = Client::connect(services[0].address()).unwrap();
    let mut in_session = || session.send("GET", "/", &[("cookie", cookie)]).unwrap();
    assert_eq!(in_session().body, "s0");
    assert_eq!(direct.send("GET", "/", &[]).unwrap().body, "s0");

    services[0].begin_drain();
    front.wait_for_server("s0", "NOLB", "404");
    for _ in 0..20 {
        assert_eq!(in_session().body, "s0", "the session stays");
        assert_eq!(
            get(front.address, "/").body,
            "s1",
            "a new one goes elsewhere"
        );
        let kept = direct.send("GET", "/", &[]).unwrap();
        assert_eq!((kept.status, &*kept.body), (200, "s0"));
    }
    // What is wrong with an instance must not look like leaving.
    services[1].control().begin_maintenance("new disk", None);
    front.wait_for_server("s1", "DOWN", "503");
}

/// Four clients never stop asking while one of two instances leaves, with a request in it
/// that takes until HAProxy has seen it go.
#[test]
fn traffic_moves_to_the_other_instance_and_no_client_sees_it() {
    const CLIENTS: usize = 4;
    const REQUESTS_MAX: usize = 20_000;
    const AFTER_THE_END: usize = 50;

    let (held, slow) = hold();
    // This one alone hears signals.
    let leaving = Guard::builder().drain(leaving_for_good());
    let leaving = leaving.build().unwrap();
    let staying = guard().build().unwrap();
    let first = Service::start(&leaving, who("s0").route("/slow", slow.clone()));
    let second = Service::start(&staying, who("s1").route("/slow", slow));
    let front = Front::of(&[&first, &second], OLD_CHECK);
    front.wait_for_server("s0", "UP", "200");
    front.wait_for_server("s1", "UP", "200");

    let over = Arc::new(AtomicBool::new(false));
    let counts: [Arc<AtomicUsize>; 2] = Default::default();
    let address = front.address;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (over, counts) = (Arc::clone(&over), counts.clone());
            thread::spawn(move || {
                let mut client = Client::connect(address).unwrap();
                let mut left = AFTER_THE_END;
                for _ in 0..REQUESTS_MAX {
                    let answer = client.send("GET", "/", &[]).expect("an answer");
                    assert_eq!(answer.status, 200, "{}", answer.all());
                    let index = usize::from(answer.body == "s1");
                    counts[index].fetch_add(1, Ordering::Relaxed);
                    if over.load(Ordering::Relaxed) {
                        left -= 1;
                        if left == 0 {
                            return;
                        }
                    }
                    // A pace that a balancer has time for.
                    thread::sleep(Duration::from_millis(2));
                }
                panic!("{REQUESTS_MAX} requests, and the instance has not left");
            })
        })
        .collect();
    let count = |index: usize| counts[index].load(Ordering::Relaxed);
    wait_until("traffic on both", || count(0) > 20 && count(1) > 20);
    let address = first.address();
    let in_flight = thread::spawn(move || get(address, "/slow"));
    wait_until("the slow request", || held.entered() == 1);

    tell_to_go();
    front.wait_for_server("s0", "DOWN", "503");
    assert_eq!(first.control().phase(), Some(Phase::LameDuck));
    // A second signal ends the lame duck, so that the test need not guess its length.
    tell_to_go();
    wait_until("the end of the lame duck", || {
        first.control().phase() >= Some(Phase::Draining)
    });
    assert!(!first.has_ended(), "a request is still running");
    held.release();
    let finished = in_flight.join().unwrap();
    assert_eq!((finished.status, &*finished.body), (200, "true"));
    wait_until("the end of the first", || first.has_ended());
    let before = count(1);
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no client has seen an error");
    }
    assert!(count(1) >= before + AFTER_THE_END);
}
