//! Who may read, who may order, and what becomes of those who guess.

use super::*;

#[tokio::test]
async fn a_browser_types_the_token_once_and_keeps_a_cookie_that_orders_nothing() {
    let guard = builder().build().expect("valid");
    let app = guard.protect(app());
    let stranger = ask(&app, request("GET", "/why503/", &[HTML])).await;
    assert_eq!(stranger.status, 200);
    assert!(stranger.body.contains("<form"), "{}", stranger.body);
    assert!(!stranger.body.contains("shop"), "{}", stranger.body);
    let cookie = sign_in(&app).await;
    let signed_in = [HTML, ("cookie", cookie.as_str())];
    let page = ask(&app, request("GET", "/why503/", &signed_in)).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.body.contains("shop 1.2.3"), "{}", page.body);
    for (method, path) in [
        ("PUT", "/why503/maintenance"),
        ("DELETE", "/why503/maintenance"),
        ("POST", "/why503/drain"),
        ("GET", "/why503/drain?begin"),
    ] {
        let order = ask(&app, request(method, path, &signed_in)).await;
        assert_eq!(order.status, 401, "{method} {path}");
    }
    for path in ["/why503/maintenance", "/why503/drain"] {
        for fields in ["", "order=begin", "token=", "token=0123456789abcdeX"] {
            let order = ask(&app, form(path, fields, &signed_in)).await;
            assert_eq!(order.status, 401, "{path} {fields}");
        }
    }
    assert_eq!(guard.control().phase(), None);
    assert_eq!(ask(&app, to("/")).await.status, 200, "nothing was ordered");
    let out = ask(&app, form("/why503/sign-out", "", &signed_in)).await;
    assert_eq!(out.status, 303);
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{out:?}");
}

#[tokio::test]
async fn an_order_by_a_form_needs_the_token_typed_into_it() {
    let guard = builder().build().expect("valid");
    let app = guard.protect(app());
    let fields = format!("order=begin&reason=moving+%26+painting&for=10m&token={TOKEN}");
    let begun = ask(&app, form("/why503/maintenance", &fields, &[HTML])).await;
    assert_eq!(
        (begun.status.as_u16(), begun.header("location")),
        (303, "./")
    );
    let state = ask(&app, with_token("/why503/maintenance", &[]))
        .await
        .json();
    assert_eq!(state["reason"], "moving & painting");
    assert!(state["until"].is_string(), "{state}");
    assert_eq!(ask(&app, to("/")).await.cause(), "maintenance");
    let faulty = format!("order=begin&for=soon&token={TOKEN}");
    let faulty = ask(&app, form("/why503/maintenance", &faulty, &[HTML])).await;
    assert_eq!(faulty.status, 400, "{}", faulty.body);
    let ended = format!("order=end&token={TOKEN}");
    let ended = ask(&app, form("/why503/maintenance", &ended, &[HTML])).await;
    assert_eq!(ended.status, 303);
    assert_eq!(ask(&app, to("/")).await.status, 200);
    let long = "a=".to_owned() + &"x".repeat(9_000);
    let long = ask(&app, form("/why503/drain", &long, &[])).await;
    assert_eq!(long.status, 400, "{}", long.body);
    assert!(long.body.contains("8 KiB"), "{}", long.body);
    let _running = guard.start().expect("started");
    let drain = form("/why503/drain", &format!("token={TOKEN}"), &[HTML]);
    assert_eq!(ask(&app, drain).await.status, 303);
    assert!(
        guard
            .control()
            .phase()
            .is_some_and(steadfast::Phase::is_leaving)
    );
}

/// Goal: each wrong token is answered later than the one before, within a bound, and a right
/// one at once, however many are wrong at the same time.
#[tokio::test(start_paused = true)]
async fn guesses_are_slowed_and_the_right_token_is_not() {
    let guard = builder().build().expect("valid");
    let app = guard.protect(app());
    let wrong = || {
        request(
            "GET",
            "/why503/",
            &[("authorization", "Bearer 0123456789abcdeX")],
        )
    };
    let took = async |request| {
        let began = tokio::time::Instant::now();
        let answer = ask(&app, request).await;
        (answer.status.as_u16(), tokio::time::Instant::now() - began)
    };
    let mut before = Duration::ZERO;
    for attempt in 0..20 {
        let (status, time) = took(wrong()).await;
        assert_eq!(status, 401);
        assert!(time >= before, "{attempt}: {time:?} after {before:?}");
        assert_eq!(time.is_zero(), attempt < 3, "{attempt}: {time:?}");
        before = time;
    }
    assert!(before <= 3 * SECOND, "{before:?}");
    let at_once: Vec<_> = (0..200)
        .map(|_| {
            let app = app.clone();
            let request = wrong();
            tokio::spawn(async move { ask(&app, request).await.status.as_u16() })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(
        took(with_token("/why503/", &[])).await,
        (200, Duration::ZERO)
    );
    let mut full = 0;
    for answer in at_once {
        match answer.await.expect("no panic") {
            401 => {}
            429 => full += 1,
            status => panic!("{status}"),
        }
    }
    assert_eq!(full, 200 - 32, "the rest is not held");
    tokio::time::sleep(120 * SECOND).await;
    assert_eq!(took(wrong()).await, (401, Duration::ZERO), "people mistype");
}

#[tokio::test]
async fn a_page_says_what_a_browser_may_do_with_it() {
    let (_guard, app) = refusing();
    let cookie = sign_in(&app).await;
    let page = ask(
        &app,
        request("GET", "/why503/", &[HTML, ("cookie", &cookie)]),
    )
    .await;
    let policy = page.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'sha256-",
        "style-src 'sha256-",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(part), "{part} in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("cache-control"), "no-store");
    for nothing in [
        "=\"http",
        "=\"//",
        "style=\"",
        "onclick",
        "javascript:",
        "@import",
        "url(",
    ] {
        assert!(!page.body.contains(nothing), "{nothing} in {}", page.body);
    }
    let head = ask(
        &app,
        request("HEAD", "/why503/", &[HTML, ("cookie", &cookie)]),
    )
    .await;
    assert_eq!((head.status.as_u16(), head.body.as_str()), (200, ""));
}

/// Goal: links lead back to the page from wherever a proxy has put it.
#[tokio::test]
async fn links_are_relative_to_the_address_that_was_asked_for() {
    let (_guard, app) = refusing();
    for (path, home) in [
        ("/why503/", "./"),
        ("/why503", "./why503/"),
        ("/why503/find?id=x", "./"),
        ("/why503/0190f5c2", "./"),
        ("/why503/0190f5c2/", "../"),
    ] {
        let page = ask(&app, with_token(path, &[HTML])).await;
        let link = format!("data-home=\"{home}\"");
        assert!(page.body.contains(&link), "{path}: {link} in {}", page.body);
    }
}
