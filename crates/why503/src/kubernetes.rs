//! What the cluster's API says of a workload: endpoints, probes, kills, autoscalers and rollouts.
//!
//! `--kube NAMESPACE/SERVICE` names the service; the cluster and the credentials are those of the
//! kubeconfig, or of the pod's own account. Six lists are read and nothing else: an account with
//! `get` and `list` on them is enough, and what it may not read is said. Without the feature
//! `kubernetes` the command says that it was built without.

#[cfg(feature = "kubernetes")]
mod api;
#[cfg(feature = "kubernetes")]
mod read;

use steadfast_diagnosis::Id;

use crate::collect::{Collected, Job};

/// What cannot be said of the cluster if it is not asked.
const FINDINGS: [Id; 3] = [Id::K8sNoEndpoints, Id::K8sProbeFailing, Id::K8sOomKilled];

/// Looks, and says what it found and what it could not look at.
pub(crate) async fn collect(job: &Job<'_>) -> Collected {
    let mut seen = Collected::new();
    let Some(workload) = &job.options.kube else {
        return seen;
    };
    match workload.split_once('/') {
        Some((namespace, service)) if is_name(namespace) && is_name(service) => {
            look(job, namespace, service, &mut seen).await;
        }
        _ => {
            let why = "a workload is written NAMESPACE/SERVICE";
            unread(&mut seen, why, "--kube default/shop");
        }
    }
    seen
}

#[cfg(feature = "kubernetes")]
async fn look(job: &Job<'_>, namespace: &str, service: &str, seen: &mut Collected) {
    api::look(job, namespace, service, seen).await;
}

#[cfg(not(feature = "kubernetes"))]
async fn look(_: &Job<'_>, _: &str, _: &str, seen: &mut Collected) {
    let remedy = "cargo install why503 --features kubernetes";
    unread(seen, "this why503 was built without Kubernetes", remedy);
}

fn unread(seen: &mut Collected, why: &str, remedy: &str) {
    for id in FINDINGS {
        seen.could_not(id, why, remedy);
    }
}

/// Whether it can be a part of a path: a label of DNS, as all names of Kubernetes here are.
fn is_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_place_in_a_path() {
        assert!(is_name("shop-1"));
        for wrong in ["", "../secrets", "a/b", "A", "a?b", &"a".repeat(64)] {
            assert!(!is_name(wrong), "{wrong}");
        }
    }
}
