//! Gates decide in `call`, and a refused request goes no further.

use super::*;

/// Goal: the decision is made in `call`. A full gate still says that it is ready, also when
/// the task has used up its budget, which makes every polled semaphore look full.
#[tokio::test]
async fn a_gate_decides_in_call_and_not_in_poll_ready() {
    for (subject, shedder) in holders() {
        let mut service = (subject.wrap)(Strict::new());
        ready(&mut service).await;
        let mut running = service.call(to("/hang"));
        assert!(poll_once(Pin::new(&mut running)).is_pending());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(
            service.poll_ready(&mut cx).is_ready(),
            "{}: full, and ready",
            subject.name
        );
        let refused = service.call(to("/")).await.expect(subject.name);
        assert_eq!(refused.status(), 503, "{}", subject.name);
        drop(running);
        assert_eq!(shedder.in_flight(), 0, "{}", subject.name);
    }
}

#[tokio::test]
async fn a_task_without_budget_is_admitted_all_the_same() {
    for (subject, shedder) in holders() {
        let mut service = (subject.wrap)(Strict::new());
        let admitted = tokio::spawn(std::future::poll_fn(move |cx| {
            while tokio::task::coop::has_budget_remaining() {
                let Poll::Ready(progress) = tokio::task::coop::poll_proceed(cx) else {
                    break;
                };
                progress.made_progress();
            }
            let is_ready = service.poll_ready(cx).is_ready();
            let mut answer = service.call(to("/hang"));
            let hangs = Pin::new(&mut answer).poll(cx).is_pending();
            Poll::Ready((is_ready, hangs, answer))
        }));
        let (is_ready, hangs, running) = admitted.await.expect("no panic");
        assert!(is_ready && hangs, "{}", subject.name);
        assert_eq!(
            shedder.in_flight(),
            1,
            "{}: admitted, not refused",
            subject.name
        );
        drop(running);
    }
}

/// Method: `tower_test::mock`, polled by hand: nothing is sent inside before it is asked for,
/// and a refused request never reaches the inner service.
#[tokio::test]
async fn a_refused_request_never_reaches_the_inner_service() {
    let layer = ShedLayer::new(Shed::fixed(1), Explain::default()).expect("valid");
    let shedder = layer.shedder();
    let (mut service, mut inside) =
        tower_test::mock::spawn_with(|inner: tower_test::mock::Mock<Request, Response>| {
            layer.clone().layer(inner)
        });
    inside.allow(2);
    assert!(service.poll_ready().is_ready());
    let mut first = tokio_test_task(service.call(to("/first")));
    assert!(first.as_mut().now_or_never().is_none());
    let (seen, respond) = inside.next_request().await.expect("the first");
    assert_eq!(seen.uri().path(), "/first");

    assert!(service.poll_ready().is_ready());
    let refused = service.call(to("/second")).await.expect("answered");
    assert_eq!(refused.status(), 503);
    assert!(
        inside.next_request().now_or_never().is_none(),
        "nothing came inside"
    );

    respond.send_response(Response::new(Body::empty()));
    assert_eq!(first.await.expect("answered").status(), 200);
    assert_eq!(shedder.in_flight(), 0);
}

fn tokio_test_task<F: Future>(future: F) -> Pin<Box<F>> {
    Box::pin(future)
}

/// Puts a layer around an inner service.
type Wrap = Box<dyn Fn(Strict) -> Boxed>;

/// Goal: a request that waits for the first round of checks has not gone inside, leaves its
/// caller a clone that is not ready, and goes on with the service that was.
#[tokio::test(start_paused = true)]
async fn who_waits_for_the_start_takes_the_service_along_that_was_ready() {
    let gates: [fn(&Guard) -> Wrap; 2] = [
        |guard| wrapped(guard.layer()),
        |guard| wrapped(guard.drain_layer()),
    ];
    for gate in gates {
        let check = check::closure(|| async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            CheckOutcome::pass()
        });
        let db = Dependency::builder("db").check(check).build();
        let builder = Guard::builder().without_signals();
        let guard = builder.dependency(&db.expect("valid")).build();
        let guard = guard.expect("valid");
        let _running = guard.start().expect("started");
        let wrap = gate(&guard);
        let inner = Strict::new();
        let shared = Arc::clone(&inner.shared);
        let mut service = wrap(inner);
        ready(&mut service).await;
        let mut waiting = service.call(to("/hang"));
        assert!(poll_once(Pin::new(&mut waiting)).is_pending());
        assert_eq!(shared.entered.load(Ordering::SeqCst), 0);
        drop(waiting);
        ready(&mut service).await;
        let waiting = service.call(to("/"));
        let unpolled = std::panic::AssertUnwindSafe(async { service.call(to("/")).await });
        let (served, refused) = tokio::join!(waiting, unpolled.catch_unwind());
        assert_eq!(served.expect("served").status(), 200);
        assert!(refused.is_err(), "what was left behind is not ready");
        assert_eq!(shared.entered.load(Ordering::SeqCst), 1);
    }
}
