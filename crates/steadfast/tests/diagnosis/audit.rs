//! What cannot work is told before it fails, and what can is not.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_instance_that_nobody_probes_is_told_after_a_while() {
    let rig = Rig::new(&[], routes());
    tokio::time::sleep(60 * SEC).await;
    rig.is_well();
    tokio::time::sleep(90 * SEC).await;
    let told = rig.finds(Id::ProbeMissing).await;
    assert_eq!(told.verdict.state, State::AtRisk);
    let twin = Rig::new(&[], routes());
    probed(&twin, 2 * SEC, 80).await;
    twin.is_well();
}

#[tokio::test(start_paused = true)]
async fn a_lame_duck_that_is_shorter_than_the_balancer_needs_is_a_risk() {
    let rig = Rig::new(&[], routes());
    probed(&rig, 10 * SEC, 5).await;
    let told = rig.finds(Id::DeployLameDuck).await;
    assert!(
        told.verdict.summary.contains("20 s"),
        "{}",
        told.verdict.summary
    );
}

#[tokio::test(start_paused = true)]
async fn a_check_that_may_outlast_its_period_is_a_risk() {
    let check = check::closure(|| std::future::ready(CheckOutcome::pass()));
    let builder = Dependency::builder("orders-db").check(check).degrades();
    let slow = builder
        .interval(2 * SEC)
        .timeout(5 * SEC)
        .build()
        .expect("valid");
    let rig = Rig::new(&[&slow], routes());
    let told = rig.finds(Id::ConfigCheckTimeout).await;
    assert!(
        told.verdict.summary.contains("orders-db"),
        "{}",
        told.verdict.summary
    );
}

/// Goal: a risk is in the log once, although it is looked for twice a minute.
#[tokio::test(start_paused = true)]
async fn a_risk_is_told_in_the_log_once() {
    let lines = Lines::default();
    let log = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_ansi(false)
        .finish();
    let _log = tracing::subscriber::set_default(log);
    let rig = Rig::new(&[], routes());
    probed(&rig, 10 * SEC, 30).await;
    rig.finds(Id::DeployLameDuck).await;
    let text = lines.text();
    let told: Vec<_> = text
        .lines()
        .filter(|line| line.contains("steadfast::audit"))
        .collect();
    assert_eq!(told.len(), 1, "{text}");
    assert!(
        told[0].contains("WARN") && told[0].contains("deploy.lame_duck"),
        "{}",
        told[0]
    );
}

/// Goal: what a drain needs and its manager does not give is in the log once, although two
/// rooms find it. Method: this test binary runs itself, as Kubernetes would run it.
#[test]
fn a_drain_that_outlasts_its_manager_is_told_once() {
    let itself = std::env::current_exe().expect("this binary");
    let run = std::process::Command::new(itself)
        .args(["--exact", "audit::the_child_of_kubernetes", "--nocapture"])
        .env("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        .env(CHILD, "yes")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{text}");
    let told = text.lines().filter(|line| line.contains("config.grace"));
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 1, "{text}");
    assert!(
        told[0].contains("WARN steadfast::audit") && told[0].contains("grace 60s"),
        "{}",
        told[0]
    );
}

const CHILD: &str = "STEADFAST_TEST_AUDIT";

/// The child. As a test among the others it has nothing to do.
#[tokio::test(start_paused = true)]
async fn the_child_of_kubernetes() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let lines = Lines::default();
    let log = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_ansi(false)
        .finish();
    let _log = tracing::subscriber::set_default(log);
    let guard = Guard::builder()
        .without_signals()
        .drain(Drain::default().grace(60 * SEC));
    let guard = guard.build().expect("valid");
    let _running = guard.start().expect("a runtime");
    tokio::time::sleep(100 * SEC).await;
    assert!(ids(&guard.control().diagnosis()).contains(&Id::ConfigGrace));
    println!("{}", lines.text());
}

/// What was logged.
#[derive(Clone, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("whole").clone()).expect("text")
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("whole").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
