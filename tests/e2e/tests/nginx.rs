//! Two instances behind nginx: what one refuses safely, the other serves.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{net::SocketAddr, thread};

use axum::{Router, routing};
use e2e::{Answer, Service, get, hold, send, wait_until};
use steadfast::{Cause, Guard, GuardBuilder, Shed};
use support::{Nginx, free_port};

const RETRY: &str = "proxy_next_upstream error timeout http_503;";

fn guard() -> GuardBuilder {
    Guard::builder().without_signals()
}

fn who(name: &'static str) -> Router {
    Router::new().route("/", routing::any(move || async move { name }))
}

/// An nginx that hands a request to each server in turn, whatever they answered before.
fn front(services: [&Service; 2]) -> (Nginx, SocketAddr) {
    let port = free_port();
    let servers = services.map(Service::address);
    let mut config = Nginx::config(port, &servers, RETRY);
    for server in servers {
        config = config.replace(
            &format!("server {server};"),
            &format!("server {server} max_fails=0;"),
        );
    }
    (Nginx::start(&config), ([127, 0, 0, 1], port).into())
}

/// nginx asks in turn, so at least every second one has been refused first.
#[track_caller]
fn all_served_by_the_second(address: SocketAddr) {
    for _ in 0..10 {
        let answer = get(address, "/");
        let (status, body) = (answer.status, &*answer.body);
        assert_eq!((status, body), (200, "s1"), "{}", answer.all());
    }
}

fn recorded(service: &Service) -> Vec<(Cause, String, bool)> {
    let view = service.control().explain().ledger().view();
    let recent = view.recent.iter().map(|it| {
        let refusal = &it.refusal;
        let line = it.request.line.clone().into();
        (refusal.cause(), line, refusal.safe_to_retry())
    });
    recent.collect()
}

fn is_safe_refusal(answer: &Answer, cause: &str) {
    let why = answer.header("why-503").unwrap_or_default();
    assert_eq!(answer.status, 503, "{}", answer.all());
    assert!(why.starts_with(&format!("cause={cause}")), "{why}");
    assert!(why.ends_with(", safe-to-retry"), "{why}");
}

#[test]
fn a_get_that_one_instance_refuses_is_served_by_the_other() {
    let first = Service::start(&guard().build().unwrap(), who("s0"));
    let second = Service::start(&guard().build().unwrap(), who("s1"));
    let (_nginx, address) = front([&first, &second]);
    first.wait_until_ready();
    second.wait_until_ready();
    first.control().begin_maintenance("new disk", None);
    is_safe_refusal(&get(first.address(), "/direct"), "maintenance");

    all_served_by_the_second(address);
    let refused = recorded(&first);
    let by_nginx = (Cause::Maintenance, "GET /".to_owned(), true);
    assert!(
        refused.iter().filter(|it| **it == by_nginx).count() >= 5,
        "{refused:?}"
    );
    assert_eq!(recorded(&second), []);
}

/// nginx does not repeat what may not be repeated, and what the instance says about its
/// refusal comes through to the one who may.
#[test]
fn a_post_that_is_refused_is_not_repeated_and_comes_through_explained() {
    let first = Service::start(&guard().build().unwrap(), who("s0"));
    let second = Service::start(&guard().build().unwrap(), who("s1"));
    let (_nginx, address) = front([&first, &second]);
    first.wait_until_ready();
    second.wait_until_ready();
    first.control().begin_maintenance("new disk", None);

    let answers: Vec<_> = (0..4).map(|_| send(address, "POST", "/", &[])).collect();
    let refused: Vec<_> = answers.iter().filter(|it| it.status == 503).collect();
    assert_eq!(refused.len(), 2, "{answers:?}");
    for answer in refused {
        is_safe_refusal(answer, "maintenance");
        assert_eq!(answer.header("retry-after").map(str::is_empty), Some(false));
        assert!(
            answer.body.contains("\"safe_to_retry\":true"),
            "{}",
            answer.body
        );
    }
}

#[test]
fn what_an_instance_at_its_limit_refuses_is_served_by_the_other() {
    let (held, slow) = hold();
    let full = guard().shed(Shed::fixed(1)).build().unwrap();
    let first = Service::start(&full, who("s0").route("/slow", slow));
    let second = Service::start(&guard().build().unwrap(), who("s1"));
    let (_nginx, address) = front([&first, &second]);
    first.wait_until_ready();
    second.wait_until_ready();
    let held_at = first.address();
    let holding = thread::spawn(move || get(held_at, "/slow"));
    wait_until("the one that runs", || {
        first.control().shedder().in_flight() == 1
    });

    all_served_by_the_second(address);
    let refused = recorded(&first);
    let by_nginx = (Cause::Overloaded, "GET /".to_owned(), true);
    assert!(refused.contains(&by_nginx), "{refused:?}");
    held.release();
    assert_eq!(holding.join().unwrap().body, "true");
    wait_until("its place", || first.control().shedder().in_flight() == 0);
    assert_eq!(get(held_at, "/").body, "s0");
}
