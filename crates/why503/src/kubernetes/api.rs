//! Asks the API server, and writes down what it says.

use std::{collections::BTreeMap, time::Duration};

use http::Request;
use jiff::Timestamp;
use kube::{Client, Config};
use serde_json::Value;
use steadfast_diagnosis::{Id, Kubernetes, Tied};

use super::{read, unread};
use crate::collect::{Collected, Job};

/// How long one list may take.
const LIST_WAIT: Duration = Duration::from_secs(3);

/// Most objects of one list.
const LIST_MAX: usize = 200;

const REMEDY: &str = "grant `get` and `list` on services, pods, events, endpointslices, deployments and horizontalpodautoscalers";

/// Looks at a service, its endpoints, its pods and what scales and rolls them out.
pub(crate) async fn look(job: &Job<'_>, namespace: &str, service: &str, seen: &mut Collected) {
    let client = match job.bounded(LIST_WAIT, client()).await {
        Some(Ok(client)) => client,
        Some(Err(why)) => return unread(seen, &why, "set KUBECONFIG, or run it in a pod"),
        None => return unread(seen, "no configuration in time", "set KUBECONFIG"),
    };
    let cluster = Cluster {
        job,
        client,
        namespace,
    };
    let path = format!("/api/v1/namespaces/{namespace}/services/{service}");
    let object = match cluster.get(&path).await {
        Ok(object) => object,
        Err(why) => return unread(seen, &format!("the service {service}: {why}"), REMEDY),
    };
    let selector = read::selector(&object);
    let labels = read::written(&selector);
    let slices = format!("kubernetes.io/service-name={service}");
    // A service without a selector has its endpoints from elsewhere, and all pods are not its own.
    let pods = async {
        if selector.is_empty() {
            return Ok(Value::Null);
        }
        cluster
            .list("api/v1", "pods", Some(("labelSelector", &labels)))
            .await
    };
    let reason = Some(("fieldSelector", "reason=Unhealthy"));
    let (slices, pods, events, scalers, deployments) = tokio::join!(
        cluster.list(
            "apis/discovery.k8s.io/v1",
            "endpointslices",
            Some(("labelSelector", &slices))
        ),
        pods,
        cluster.list("api/v1", "events", reason),
        cluster.list("apis/autoscaling/v2", "horizontalpodautoscalers", None),
        cluster.list("apis/apps/v1", "deployments", None),
    );
    let mut take = |id: Id, what: &str, list: Result<Value, String>| {
        list.unwrap_or_else(|why| {
            seen.could_not(id, &format!("{what} of {namespace}: {why}"), REMEDY);
            Value::Null
        })
    };
    let slices = slices.map(|slices| read::endpoints(service, &slices));
    let (slices, unread_slices) = match slices {
        Ok(fact) => (Some(fact), None),
        Err(why) => (None, Some(why)),
    };
    let pods = take(Id::K8sOomKilled, "pods", pods);
    let events = take(Id::K8sProbeFailing, "events", events);
    let scalers = take(Id::ScaleGap, "autoscalers", scalers);
    let deployments = take(Id::DeployRollout, "deployments", deployments);
    if let Some(why) = unread_slices {
        let _ = take(Id::K8sNoEndpoints, "endpoint slices", Err(why));
    }
    let now = Timestamp::now();
    let names = read::selected(&deployments, &selector);
    let mut facts = Vec::from_iter(slices);
    facts.extend(no_pods(service, &selector, &pods));
    facts.extend(read::pods(&pods, now));
    facts.extend(read::probes(&events, &pods, now));
    facts.extend(read::scalers(&scalers, &names));
    facts.extend(read::rollouts(&deployments, &names, now));
    let source = format!("the API server, {namespace}/{service}");
    for fact in facts {
        seen.saw(&source, Tied::backend(service), fact);
    }
}

/// A selector that selects nobody. A service without one has its endpoints from elsewhere.
fn no_pods(service: &str, selector: &BTreeMap<String, String>, pods: &Value) -> Option<Kubernetes> {
    let is_read = pods["items"].is_array();
    (is_read && !selector.is_empty() && read::items(pods).is_empty()).then(|| {
        Kubernetes::SelectsNone {
            service: service.into(),
            selector: read::written(selector).into(),
        }
    })
}

async fn client() -> Result<Client, String> {
    let config = Config::infer().await.map_err(|error| error.to_string())?;
    Client::try_from(config).map_err(|error| error.to_string())
}

struct Cluster<'a> {
    job: &'a Job<'a>,
    client: Client,
    namespace: &'a str,
}

impl Cluster<'_> {
    async fn list(
        &self,
        group: &str,
        kind: &str,
        query: Option<(&str, &str)>,
    ) -> Result<Value, String> {
        let mut all = url::form_urlencoded::Serializer::new(String::new());
        all.append_pair("limit", &LIST_MAX.to_string());
        if let Some((name, value)) = query {
            all.append_pair(name, value);
        }
        let namespace = self.namespace;
        self.get(&format!(
            "/{group}/namespaces/{namespace}/{kind}?{}",
            all.finish()
        ))
        .await
    }

    async fn get(&self, path: &str) -> Result<Value, String> {
        let request = Request::get(path).body(Vec::new());
        let request = request.map_err(|error| error.to_string())?;
        let asked = self.client.request::<Value>(request);
        match self.job.bounded(LIST_WAIT, asked).await {
            Some(Ok(value)) => Ok(value),
            Some(Err(kube::Error::Api(status))) => Err(status.message.clone()),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("no answer in time".to_owned()),
        }
    }
}
