//! What stands around the guard and the process: layers that hide its answers, the host's
//! bounds and clock, and who asks.

use std::time::{Duration, Instant};

use steadfast_diagnosis::{
    Bytes, Evidence, Host, Id, Maker, Own, Process, Proxy, Ratio, Text, Tied,
};

use super::{
    say,
    settings::{FROM_OUTSIDE, Known},
};
use crate::instance::{
    Control,
    around::{Disk, HostLook},
    probers::Prober,
};

pub(super) fn gather(evidence: &mut Evidence, control: &Control, now: Instant) {
    let around = control.around();
    if around.cors.inside.get().is_some() {
        let (preflights, refused) = (around.cors.preflights.sum(), around.cors.refused.sum());
        say(
            evidence,
            Own::NoCors {
                preflights,
                refused,
            },
        );
    }
    for route in around.hidden() {
        let route = Text::new(&route);
        say(evidence, Own::Shadowed { route });
    }
    let (limited, slowest) = around.probes(now);
    match control.port() {
        Some(_) => say(evidence, Own::ProbesLimited { count: limited }),
        None => evidence.could_not(
            Id::ProbeLimited,
            "the guard does not see what is outside of it",
            "serve with `Guard::serve`, which sees the answers of layers outside",
        ),
    }
    if let Some(longest) = slowest {
        say(evidence, Own::ProbeTook { longest });
    }
    traffic(evidence, control, now);
    if let Some(look) = around.host(now) {
        host(evidence, &look);
    }
    if let Some(step) = around.clock_step(now) {
        let (by, backwards) = (step.by, step.backwards);
        evidence.saw(
            "the wall clock beside the monotonic one",
            Tied::Host,
            Host::ClockStep { by, backwards },
        );
    }
}

fn traffic(evidence: &mut Evidence, control: &Control, now: Instant) {
    let traffic = control.traffic();
    let ratios =
        |share: &crate::instance::traffic::Share| (Ratio::new(share.now), Ratio::new(share.before));
    if let Some(share) = traffic.routes.first(now) {
        let ((now, before), route) = (ratios(&share), Text::new(&share.name));
        say(evidence, Own::RouteShare { route, now, before });
    }
    if let Some(share) = traffic.tenants.first(now) {
        let ((now, before), tenant) = (ratios(&share), Text::new(&share.name));
        say(
            evidence,
            Own::TenantShare {
                tenant,
                now,
                before,
            },
        );
    }
    let (repeated, of) = traffic.retries().lately(now);
    if of > 0 {
        say(evidence, Own::Retries { repeated, of });
    }
}

fn host(evidence: &mut Evidence, look: &HostLook) {
    let ours = Tied::Process(std::process::id());
    if let Some((used, max)) = look.descriptors {
        evidence.saw(
            "/proc/self/fd",
            ours.clone(),
            Process::Descriptors { used, max },
        );
    }
    for disk in &look.disks {
        evidence.saw(&format!("statvfs {}", disk.at), ours.clone(), room(disk));
    }
}

fn room(disk: &Disk) -> Host {
    Host::Disk {
        at: Text::new(&disk.at),
        free: Ratio::of(disk.blocks_free, disk.blocks),
        free_bytes: Bytes(disk.bytes_free),
        free_inodes: match disk.inodes {
            0 => Ratio::new(1.0),
            inodes => Ratio::of(disk.inodes_free, inodes),
        },
    }
}

/// Adds what is known of the balancer by its own word, beside what was set here.
pub(super) fn balancer(
    evidence: &mut Evidence,
    control: &Control,
    known: &Known,
    probers: &[Prober],
) {
    let wait = control.around().balancer_wait();
    if let Some(timeout) = known.request_timeout {
        say(evidence, Own::RequestTimeout { timeout });
    }
    if let Some(value) = wait {
        let name = Text::new("route timeout, as requests say it");
        let by = Maker::Envoy;
        evidence.saw(
            "x-envoy-expected-rq-timeout-ms",
            Tied::Service,
            Proxy::Timeout { by, name, value },
        );
    }
    if known.request_timeout.is_none() || wait.is_none() {
        evidence.could_not(
            Id::ConfigTimeoutOrder,
            "the process does not know how long the balancer waits, or bounds no request itself",
            FROM_OUTSIDE,
        );
    }
    if probers.iter().any(|it| it.agent.starts_with(ELB)) {
        let (by, idle) = (Maker::Alb, ELB_IDLE);
        evidence.saw(
            "the user agent of its probes, and its default",
            Tied::Service,
            Proxy::KeepAlive { by, idle },
        );
    } else {
        evidence.could_not(
            Id::DeployKeepaliveRace,
            "the process does not know how long the balancer keeps connections",
            FROM_OUTSIDE,
        );
    }
}

/// Who probes for AWS' balancers, and how long these keep an idle connection to a service
/// unless somebody has changed it ("connection idle timeout", 60 s).
///
/// The defaults of others are not taken for granted: HAProxy and nginx do not say in a probe
/// who they are, and Envoy's hour is longer than any sensible time here.
const ELB: &str = "ELB-HealthChecker";
const ELB_IDLE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response, StatusCode};
    use steadfast_diagnosis::{Diagnosis, State};
    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::{
        Body, Guard, clock,
        instance::around::{ClockStep, HostLook},
    };

    fn ids(told: &Diagnosis) -> Vec<Id> {
        told.findings.iter().map(|it| it.id).collect()
    }

    fn disk(bytes_free: u64, inodes_free: u64) -> HostLook {
        HostLook {
            descriptors: None,
            disks: vec![Disk {
                at: "/var/lib/shop/shop.db".to_owned(),
                blocks: 1_000,
                blocks_free: bytes_free / 4_096,
                bytes_free,
                inodes: 500,
                inodes_free,
            }],
        }
    }

    /// Goal: a file system without room, or without an inode, is the first finding, and one
    /// with room is none. Method: what was read of it is given; a full one cannot be had in a
    /// test without rights.
    #[tokio::test(start_paused = true)]
    async fn a_full_file_system_is_told_with_its_place() {
        for (bytes_free, inodes_free, is_full) in [
            (0, 400, true),
            (2_000_000, 0, true),
            (2_000_000, 400, false),
        ] {
            let guard = Guard::builder().build().expect("valid");
            let control = guard.control();
            let look = disk(bytes_free, inodes_free);
            control.around().look(look, clock::now());
            let told = control.diagnosis();
            if !is_full {
                assert_eq!(told.verdict.state, State::Well, "{told:#?}");
                continue;
            }
            assert_eq!(ids(&told), [Id::HostDiskFull]);
            let summary = &told.verdict.summary;
            assert!(summary.contains("/var/lib/shop/shop.db"), "{summary}");
            tokio::time::sleep(Duration::from_secs(60)).await;
            let later = control.diagnosis();
            assert_eq!(later.verdict.state, State::Well, "nobody has looked since");
        }
    }

    /// Goal: a clock that was set is told beside what fails, and alone is nothing. Method: the
    /// step is given, because setting the host's clock would move everybody's.
    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_is_told_beside_what_fails() {
        let guard = Guard::builder().without_signals();
        let guard = guard.build().expect("valid");
        let app = guard.protect_service(service_fn(|_: Request<Body>| async {
            let mut sorry = Response::new(String::new());
            *sorry.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            Ok::<_, Infallible>(sorry)
        }));
        let _running = guard.start().expect("a runtime");
        let fails = async || {
            let request = Request::get("/").body(Body::empty()).expect("a request");
            let Ok(answer) = app.clone().oneshot(request).await;
            assert_eq!(answer.status(), 503);
        };
        let control = guard.control();
        let step = ClockStep {
            by: Duration::from_secs(3_600),
            backwards: true,
        };
        control.around().clock_stepped(step, clock::now());
        assert_eq!(control.diagnosis().verdict.state, State::Well);
        fails().await;
        let told = ids(&control.diagnosis());
        assert_eq!(told, [Id::AppOwn503, Id::ClockStep]);
        tokio::time::sleep(Duration::from_secs(601)).await;
        fails().await;
        let later = ids(&control.diagnosis());
        assert!(!later.contains(&Id::ClockStep), "it is long ago: {later:?}");
    }
}
