//! The service's own words: what `/why503/` says.

use std::collections::BTreeMap;

use serde_json::Value;

use super::client::Client;
use crate::Fatal;

/// What the service says that it refused.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    /// How many, by cause.
    pub(super) by_cause: BTreeMap<String, u64>,
    /// Counted, and not kept one by one. Nearly all are in an incident all the same.
    pub(super) not_written_down: u64,
    /// Oldest first.
    pub(super) incidents: Vec<Incident>,
}

/// An unbroken run of refusals.
#[derive(Clone, Debug)]
pub(super) struct Incident {
    pub(super) cause: String,
    pub(super) source: String,
    pub(super) count: u64,
    pub(super) first: String,
    pub(super) last: String,
    /// The numbers at its start, as words.
    pub(super) evidence: String,
}

impl Ledger {
    pub(super) async fn read(client: &Client) -> Result<Self, Fatal> {
        let page = client.operator("/why503/").await?;
        let counts = page["refusals"]["by_cause"].as_object();
        let counts = counts.ok_or_else(|| Fatal::new("/why503/ tells no refusals"))?;
        let incidents = page["incidents"].as_array().into_iter().flatten();
        let mut incidents: Vec<_> = incidents.map(Incident::read).collect();
        incidents.reverse();
        Ok(Self {
            by_cause: counts
                .iter()
                .map(|(cause, count)| (cause.clone(), count.as_u64().unwrap_or_default()))
                .collect(),
            not_written_down: page["refusals"]["not_written_down"]
                .as_u64()
                .unwrap_or_default(),
            incidents,
        })
    }

    /// Returns how many refusals the incidents of one cause hold.
    pub(super) fn in_incidents(&self, cause: &str) -> u64 {
        let of_cause = self
            .incidents
            .iter()
            .filter(|incident| incident.cause == cause);
        of_cause.map(|incident| incident.count).sum()
    }
}

impl Incident {
    fn read(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let time = |name: &str| text(name).get(11..19).unwrap_or_default().to_owned();
        Self {
            cause: text("cause"),
            source: text("source"),
            count: value["count"].as_u64().unwrap_or_default(),
            first: time("first"),
            last: time("last"),
            evidence: words(&value["evidence"]),
        }
    }
}

/// Returns evidence as a line: `in_flight 16, limit 16`.
pub(super) fn words(evidence: &Value) -> String {
    let members = evidence.as_object().into_iter().flatten();
    let word = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let members: Vec<_> = members
        .map(|(name, value)| match name.strip_suffix("_ms") {
            Some(name) => format!("{name} {} ms", word(value)),
            None => format!("{name} {}", word(value)),
        })
        .collect();
    members.join(", ").replace('_', " ")
}
