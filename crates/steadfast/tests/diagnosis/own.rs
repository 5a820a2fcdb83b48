//! What the process sees of itself beside its requests: who asks, what the host leaves it.

use axum::extract::Path;

use super::*;

/// A guarded application whose four places are filled by orders that take two seconds, and
/// are then held by something else.
struct Busy {
    rig: Rig,
    hanging: Vec<JoinHandle<()>>,
}

impl Busy {
    fn new() -> Self {
        let orders = get(|Path(id): Path<u32>| async move {
            tokio::time::sleep(2 * SEC).await;
            id.to_string()
        });
        let app = routes().route("/orders/{id}", orders);
        Self {
            rig: Rig::new(&[], app),
            hanging: Vec::new(),
        }
    }

    fn begins(&mut self, path: &str) {
        let app = self.rig.app.clone();
        let request = request_for(path);
        self.hanging.push(tokio::spawn(async move {
            let _ = app.oneshot(request).await;
        }));
    }

    /// One order a second, each with an id of its own.
    async fn orders(&mut self, seconds: u32) {
        for at in 0..seconds {
            self.begins(&format!("/orders/{at}"));
            tokio::time::sleep(SEC).await;
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.hanging.iter().for_each(JoinHandle::abort);
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_grew_is_told_beside_the_refusals() {
    let mut busy = Busy::new();
    busy.orders(200).await;
    for _ in 0..4 {
        busy.begins("/hang");
    }
    busy.orders(90).await;
    assert_eq!(busy.rig.asks("/").await, 503);
    let told = busy.rig.told();
    let grew = told.findings.iter().find(|it| it.id == Id::TrafficRoute);
    let grew = grew.unwrap_or_else(|| panic!("{:?}", ids(&told)));
    assert!(grew.summary.starts_with("/hang has "), "{}", grew.summary);
    // What has filled the places all along did not grow.
    let mut twin = Busy::new();
    twin.orders(290).await;
    for at in 0..8 {
        twin.begins(&format!("/orders/{at}"));
    }
    tokio::task::yield_now().await;
    assert_eq!(twin.rig.asks("/").await, 503);
    let told = ids(&twin.rig.told());
    assert!(told.contains(&Id::AppShed), "{told:?}");
    assert!(!told.contains(&Id::TrafficRoute), "{told:?}");
}

/// Goal: one tenant in many is named once it sends most. Method: requests are drawn by lot,
/// from a generator with a known seed.
#[tokio::test(start_paused = true)]
async fn a_tenant_that_grew_is_told_beside_the_refusals() {
    fastrand::seed(7);
    for grows in [true, false] {
        let builder = Guard::builder().without_signals();
        let header = http::HeaderName::from_static("x-tenant");
        let builder = builder.shed(Shed::default().tenant_header(header));
        let guard = builder.build().expect("valid");
        let app = guard.protect(routes());
        let _running = guard.start().expect("a runtime");
        let asks = async |tenant: &str, times: u32| {
            for _ in 0..times {
                let request = common::request("GET", "/", &[("x-tenant", tenant)]);
                assert_eq!(ask(&app, request).await.status, 200);
            }
        };
        for _ in 0..200 {
            for tenant in ["acme", "globex", "initech", "umbrella"] {
                asks(tenant, 5).await;
            }
            tokio::time::sleep(SEC).await;
        }
        for _ in 0..60 {
            for tenant in ["globex", "initech", "umbrella"] {
                asks(tenant, 5).await;
            }
            asks("acme", if grows { 100 } else { 5 }).await;
            tokio::time::sleep(SEC).await;
        }
        assert_eq!(ask(&app, request_for("/sorry")).await.status, 503);
        let told = guard.control().diagnosis();
        let grew = told.findings.iter().find(|it| it.id == Id::TrafficTenant);
        assert_eq!(grew.is_some(), grows, "{:?}", ids(&told));
        if let Some(grew) = grew {
            assert!(grew.summary.starts_with("acme has "), "{}", grew.summary);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_come_again_too_soon_are_told() {
    // As long as anybody is told to wait, and longer.
    for (pause, told_so) in [(Duration::from_millis(10), true), (31 * SEC, false)] {
        let mut busy = Busy::new();
        for _ in 0..4 {
            busy.begins("/hang");
        }
        let gate = busy.rig.guard.control();
        until("a full gate", || gate.shedder().in_flight() == 4).await;
        for round in 0..2 {
            // As many as the ledger keeps singly in a second.
            for id in 0..12 {
                let id = format!("request-{id}");
                let request = common::request("GET", "/", &[("x-request-id", &id)]);
                let answer = ask(&busy.rig.app, request).await;
                assert_eq!(answer.status, 503, "round {round}");
            }
            tokio::time::sleep(pause).await;
        }
        tokio::time::sleep(2 * SEC).await;
        let told = ids(&busy.rig.told());
        assert!(told.contains(&Id::AppShed) || !told_so, "{told:?}");
        assert_eq!(told.contains(&Id::TrafficRetries), told_so, "{told:?}");
    }
}

/// Goal: a process that has run out of descriptors says so, and says nothing once it has some
/// again. Method: this test runs itself, because a bound is the whole process's.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn descriptors_that_run_out_are_told() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    if runs_itself("own::descriptors_that_run_out_are_told") {
        return;
    }
    let rig = Rig::new(&[], routes());
    let ruled_out = || {
        rig.told()
            .ruled_out
            .iter()
            .any(|it| it.id == Id::HostFdExhausted)
    };
    // Not that all is well: the machine may have more to compute than processors.
    until("a look", ruled_out).await;
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(128);
    setrlimit(Resource::Nofile, limit).expect("lower is allowed");
    let mut open = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        open.push(file);
    }
    // Whoever counts them may need one.
    open.pop();
    // The first finding of the process's own, and sure; what the machine lacks while this runs,
    // if it lacks anything, may stand before it.
    let is_own =
        |it: &&Finding| it.id == Id::HostFdExhausted || !it.id.as_str().starts_with("host.");
    let mut told = rig.told();
    until("descriptors that ran out", || {
        told = rig.told();
        let first = told.findings.iter().find(is_own);
        first.is_some_and(|it| it.id == Id::HostFdExhausted && it.confidence == Confidence::Proven)
    })
    .await;
    let first = told.findings.iter().find(is_own).expect("it was found");
    let summary = &first.summary;
    assert!(summary.contains("of 128 descriptors"), "{summary}");
    drop(open);
    until("enough of them", ruled_out).await;
}

/// Runs a test of this binary in a process of its own, unless this is that process.
fn runs_itself(test: &str) -> bool {
    const ITSELF: &str = "STEADFAST_TEST_ITSELF";
    if std::env::var_os(ITSELF).is_some() {
        return false;
    }
    let itself = std::env::current_exe().expect("this binary");
    let run = std::process::Command::new(itself)
        .args(["--exact", test, "--nocapture"])
        .env(ITSELF, "yes")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&run.stdout);
    let complained = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}{complained}");
    assert!(
        said.contains("1 passed"),
        "no test is called {test}: {said}"
    );
    true
}
