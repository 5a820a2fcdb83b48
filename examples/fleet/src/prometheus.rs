//! Prometheus over the fleet, with the rules of `examples/deploy`, and questions to it.

use std::collections::BTreeMap;

use example_testing::Caller;
use jiff::Timestamp;
use serde_json::Value;
use support::Prometheus;

use crate::Instance;

const RECORDING: &str = include_str!("../../deploy/prometheus/recording.yaml");
const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yaml");

/// What Prometheus answers: one sample for each series.
pub type Answers = Vec<Sample>;

/// One series, as it is now.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Sample {
    /// Returns a label, empty if it has none of that name.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// Returns its value in RFC 3339 and UTC, to the second, if its name says that it is a
    /// moment: `2026-01-31T10:02:11Z`.
    #[must_use]
    pub fn moment(&self) -> Option<String> {
        let is_moment = self.label("__name__").ends_with("_time_seconds");
        // What is left out is a part of a second.
        let moment = is_moment.then(|| Timestamp::from_second(self.value as i64).ok())??;
        Some(moment.to_string())
    }

    /// Returns its value with at most two digits behind the point: `0.33`, `1`.
    #[must_use]
    pub fn rounded(&self) -> String {
        let text = format!("{:.2}", self.value);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

#[derive(Debug)]
pub(crate) struct Monitoring {
    server: Prometheus,
    caller: Caller,
}

impl Monitoring {
    pub(crate) fn start(instances: &[Instance]) -> Self {
        let config = config(instances);
        let rules = [("recording.yaml", RECORDING), ("alerts.yaml", ALERTS)];
        let server = Prometheus::start(&config, &rules);
        let caller = Caller::new(&server.url());
        Self { server, caller }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub(crate) async fn ask(&self, question: &str) -> Answers {
        let path = format!("/api/v1/query?query={}", encoded(question));
        let answer = self.caller.get(&path).await;
        // It answers so until it has read its own log.
        if answer.status == 503 {
            return Vec::new();
        }
        let said = answer.json();
        assert_eq!(said["status"], "success", "{question}: {said}");
        let data = &said["data"];
        match data["resultType"].as_str() {
            Some("vector") => data["result"]
                .as_array()
                .expect("a list")
                .iter()
                .map(sample)
                .collect(),
            Some("scalar") => vec![Sample {
                labels: BTreeMap::new(),
                value: number(&data["result"]),
            }],
            other => panic!("{question}: {other:?}"),
        }
    }
}

/// An instance is called by the address of its page, so that an alert links to it.
fn config(instances: &[Instance]) -> String {
    let mut config = "global:\n  scrape_interval: 500ms\n  scrape_timeout: 400ms\n  \
                      evaluation_interval: 1s\nrule_files: [recording.yaml, alerts.yaml]\n\
                      scrape_configs:\n  - job_name: shop\n    static_configs:\n"
        .to_owned();
    for instance in instances {
        config.push_str(&format!(
            "      - targets: ['{}']\n        labels: {{instance: '{}'}}\n",
            instance.metrics(),
            instance.name()
        ));
    }
    config
}

fn sample(series: &Value) -> Sample {
    let labels = series["metric"].as_object().expect("labels").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Sample {
        labels: labels
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
        value: number(&series["value"]),
    }
}

/// The second of a pair of a moment and a number that is written as text.
fn number(pair: &Value) -> f64 {
    let text = pair[1].as_str().expect("a number as text");
    text.parse().expect("a number")
}

/// As a query of a URL.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_a_moment_is_told_as_one() {
        let sample = |name: &str, value| Sample {
            labels: BTreeMap::from([("__name__".to_owned(), name.to_owned())]),
            value,
        };
        let since = sample("steadfast_incident_start_time_seconds", 1_769_853_731.25);
        assert_eq!(since.moment().as_deref(), Some("2026-01-31T10:02:11Z"));
        assert_eq!(sample("steadfast_maintenance", 1.0).moment(), None);
    }

    #[test]
    fn a_third_is_told_with_two_digits_and_a_whole_number_with_none() {
        for (value, told) in [
            (1.0 / 3.0, "0.33"),
            (1.0, "1"),
            (0.5, "0.5"),
            (0.0, "0"),
            (100.0, "100"),
        ] {
            let labels = BTreeMap::new();
            assert_eq!(Sample { labels, value }.rounded(), told);
        }
    }
}
