//! The queries of the dashboard, taken out of its file.

use serde_json::Value;

const DASHBOARD: &str = include_str!("../../deploy/grafana/steadfast.json");

/// One query of a panel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Query {
    /// The panel's title.
    pub panel: String,
    /// What Prometheus is asked, with all services and instances chosen.
    pub expr: String,
}

/// Returns every query, those of the annotations and of the variables too.
#[must_use]
pub fn queries() -> Vec<Query> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    let mut add = |panel: &Value, expr: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        found.push(Query {
            panel: text(panel),
            expr: filled_in(&text(expr)),
        });
    };
    for panel in list(&dashboard["panels"]) {
        for target in list(&panel["targets"]) {
            add(&panel["title"], &target["expr"]);
        }
    }
    for annotation in list(&dashboard["annotations"]["list"]) {
        add(&annotation["name"], &annotation["expr"]);
    }
    found
}

/// What Grafana would put in for its variables: everything, and windows that fit a fleet that
/// is scraped twice a second.
fn filled_in(expr: &str) -> String {
    expr.replace("$job", ".*")
        .replace("$instance", ".*")
        .replace("$__rate_interval", "3s")
        .replace("$__range", "60s")
}
