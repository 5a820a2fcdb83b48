//! What platforms put in front: meshes, the load balancers of clouds, Kubernetes.

use std::time::Duration;

use super::proxies::made;
use crate::{
    Confidence::{Likely, Proven},
    Id, Kubernetes, Lasting, Maker, Mark, Observation as O, ProbeKind, Role,
    engine::Strength::Direct,
    knowledge::Row,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::LinkerdShed,
        role: Role::Fault,
        title: "Linkerd sheds load",
        means: "The proxy beside the service has as much as it takes at once and refuses the rest.",
        outside: "503 with `l5d-proxy-error`, empty.",
        inside: "The header's text, and the proxy's metrics.",
        threshold: "The header.",
        fix: "Look why the service is slow; scale it.",
        commands: &["linkerd viz stat deploy"],
        effects: &[],
        judge: |view, found| {
            made(
                view,
                found,
                Maker::Linkerd,
                &[Mark::LinkerdShed],
                Proven,
                "Linkerd's proxy sheds load",
            )
        },
    },
    Row {
        id: Id::LinkerdFailfast,
        role: Role::Fault,
        title: "Linkerd fails fast",
        means: "The proxy has had no endpoint that is ready for a while, and stopped letting requests wait for one.",
        outside: "**504** with `l5d-proxy-error` that says fail-fast.",
        inside: "The header's text; the endpoints of the service.",
        threshold: "The header.",
        fix: "Look at the endpoints of the service and why none is ready.",
        commands: &[
            "linkerd diagnostics endpoints NAME",
            "kubectl get endpointslices",
        ],
        effects: &[],
        judge: |view, found| {
            made(
                view,
                found,
                Maker::Linkerd,
                &[Mark::LinkerdFailfast],
                Proven,
                "Linkerd's proxy has no endpoint that is ready",
            )
        },
    },
    Row {
        id: Id::AlbNoTargets,
        role: Role::Fault,
        title: "The load balancer has no registered target",
        means: "The rule leads to a target group with nobody registered. If targets are registered and all unhealthy, an AWS load balancer asks all of them instead, so that is not this.",
        outside: "503, `server: awselb/2.0`.",
        inside: "The access log has 503 for the balancer and `-` for the target; the targets' state is unused.",
        threshold: "The balancer's own page for 503.",
        fix: "Register targets; look at the auto scaling group or the service that should have.",
        commands: &["aws elbv2 describe-target-health --target-group-arn …"],
        effects: &[],
        judge: |view, found| {
            made(
                view,
                found,
                Maker::Alb,
                &[Mark::AlbUnavailable],
                Likely,
                "The load balancer has no registered target",
            )
        },
    },
    Row {
        id: Id::AlbTarget,
        role: Role::Symptom,
        title: "The load balancer's target failed",
        means: "A target answered 503 itself and the balancer passed it on, or did not answer in time (504), or closed the connection (502).",
        outside: "The target's own answer, or the balancer's page for 502 or 504.",
        inside: "`elb_status_code` beside `target_status_code` in the access log: equal means passed on, `-` means that no answer came.",
        threshold: "Those two fields, or the page.",
        fix: "Ask a target directly. For rare 502s compare keep-alive times (deploy.keepalive_race).",
        commands: &["why503 http://TARGET/"],
        effects: &[],
        judge: |view, found| {
            made(
                view,
                found,
                Maker::Alb,
                &[Mark::AlbBadGateway, Mark::AlbTimeout],
                Likely,
                "The load balancer got no answer from its target",
            )
        },
    },
    Row {
        id: Id::K8sNoEndpoints,
        role: Role::Fault,
        title: "The service has no endpoint that is ready",
        means: "The Kubernetes service selects no pod, or none of its pods is ready, so the ingress or mesh has nobody to ask.",
        outside: "503 from the ingress or the mesh, at once.",
        inside: "The service's endpoint slices; the pods' conditions and events.",
        threshold: "No ready endpoint.",
        fix: "With pods that are not ready, look at their readiness probe and log. With none at all, compare the service's selector with the pods' labels.",
        commands: &[
            "kubectl get endpointslices -l kubernetes.io/service-name=NAME",
            "kubectl describe pods",
            "kubectl get events --sort-by=.lastTimestamp | tail -20",
        ],
        effects: &[
            Id::EnvoyUh,
            Id::TraefikNoServer,
            Id::NgxUnattributed,
            Id::HapEmptyBackend,
            Id::CaddyNoUpstream,
            Id::LinkerdFailfast,
        ],
        judge: |view, found| {
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Kubernetes(Kubernetes::Endpoints {
                    service,
                    ready: 0,
                    all,
                }) => Some(format!(
                    "The service {service} has no endpoint that is ready, of {all}."
                )),
                O::Kubernetes(Kubernetes::SelectsNone { service, selector }) => {
                    Some(format!("The service {service} selects no pod: {selector}."))
                }
                _ => None,
            });
            for fact in view.all(|seen| {
                matches!(
                    seen,
                    O::Kubernetes(Kubernetes::Endpoints { ready: 1.., .. })
                )
            }) {
                found.well(fact);
            }
        },
    },
    Row {
        id: Id::K8sProbeFailing,
        role: Role::Symptom,
        title: "A probe of the pod fails",
        means: "The kubelet asks and does not get what it wants. A readiness probe that fails takes the pod out of the service; a liveness probe that fails restarts it, which under load makes matters worse.",
        outside: "Fewer endpoints, or restarts.",
        inside: "*Unhealthy* events of the pod, with the answer.",
        threshold: "Such an event in the window.",
        fix: "Ask the probe's path in the pod. A time-out of the probe that is shorter than the service's slowest moment restarts healthy pods. Liveness must not ask dependencies.",
        commands: &["kubectl describe pod NAME"],
        effects: &[Id::K8sNoEndpoints],
        judge: |view, found| {
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Kubernetes(Kubernetes::Probe {
                    pod,
                    kind,
                    says,
                    count,
                }) if *count > 0 => {
                    let then = if *kind == ProbeKind::Liveness {
                        ", which restarts it"
                    } else {
                        ""
                    };
                    Some(format!(
                        "The {kind} probe of {pod} failed {count} times{then}: {says}"
                    ))
                }
                _ => None,
            });
        },
    },
    Row {
        id: Id::K8sOomKilled,
        role: Role::Fault,
        title: "The container was killed for memory",
        means: "The container used more than its limit and the kernel ended it.",
        outside: "Cut and refused requests until it is up again.",
        inside: "The last state of the container is OOMKilled.",
        threshold: "Within the last hour.",
        fix: "See what grew, or raise the limit.",
        commands: &["kubectl describe pod NAME", "kubectl top pod"],
        effects: &[
            Id::AppCrashLoop,
            Id::K8sNoEndpoints,
            Id::K8sProbeFailing,
            Id::EnvoyUf,
            Id::EnvoyUc,
            Id::NgxNoLive,
        ],
        judge: |view, found| {
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Kubernetes(Kubernetes::OomKilled {
                    pod,
                    container,
                    ago,
                }) if *ago <= Duration::from_secs(3_600) => Some(format!(
                    "The container {container} of {pod} was killed for memory {} ago.",
                    Lasting(*ago)
                )),
                _ => None,
            });
        },
    },
];
